"""How pictures of decisions look: one style for print, slides and grey, and how a picture is written.

Colours come from viridis, whose order survives in grey; what differs by colour differs by line and marker as well.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import UsageError
from sld.core.files import write_bytes_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))  # one for each curve, beside its colour
MARKERS = "os^Dvp"
ACCENT, INK, FAINT = "#b5361f", "0.15", "0.55"  # what a picture is about; text and axes; what stands behind
BAND = 0.22  # how dense a band of uncertainty is
SIZE = (6.6, 4.4)  # inches: a column of print, half a slide
_DPI = 200
_STYLE: dict[str, Any] = {
    "font.size": 10.0,
    "axes.labelsize": 10.5,
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "mathtext.fontset": "dejavusans",
    "svg.hashsalt": "sld",  # the same picture is the same file
}


@contextmanager
def style() -> Iterator[None]:
    """Draw what is inside in the style of all pictures."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


def colours(n: int) -> list[Any]:
    """Return n colours that differ in lightness too; the lightest third of viridis is too pale for lines."""
    import matplotlib

    return [matplotlib.colormaps["viridis"](x) for x in np.linspace(0.05, 0.72, max(n, 2))][:n]


def axes(ax: Axes | None = None) -> Axes:
    """Return the axes to draw on: those given, or new ones of a figure of their own (that a notebook shows)."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    with style():
        return plt.subplots(figsize=SIZE, layout="constrained")[1]


def new_figure(n_rows: int = 1, n_columns: int = 1, *, width: float | None = None, height: float | None = None) -> Any:
    """Return a figure that no window shows, and its axes (n_rows, n_columns); inside `style()`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = (width or SIZE[0] * n_columns, height or SIZE[1] * n_rows)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(n_rows, n_columns, squeeze=False)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, SVG or PDF, by the end of the file's name; whole or not at all.

    Raises:
        UsageError: The name ends otherwise, or the file cannot be written.
    """
    kind = format_of(path)
    buffer = io.BytesIO()
    # no dates and versions: the same picture is the same file
    empty = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None, "Producer": None}}
    figure.savefig(buffer, format=kind, metadata=empty[kind])
    write_bytes_atomic(path, buffer.getvalue())


def format_of(path: str | Path) -> str:
    """Return png, svg or pdf; raises UsageError for any other end of a name."""
    kind = Path(path).suffix.lstrip(".").casefold()
    if kind not in FORMATS:
        raise UsageError(f"a picture is a .png, .svg or .pdf file, got {str(path)!r}")
    return kind


def band(ax: Axes, x: Array, low: Array, high: Array, colour: Any, label: str = "") -> None:
    """Fill the band between two curves; gaps where an end is not known."""
    known = np.isfinite(low) & np.isfinite(high)
    ax.fill_between(x, np.where(known, low, np.nan), np.where(known, high, np.nan), color=colour, alpha=BAND, lw=0,
                    label=label or None)  # fmt: skip
