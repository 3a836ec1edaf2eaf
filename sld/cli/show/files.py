"""What commands write beside what they print: a picture and a table, before anything is printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sld.cli.output import remark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


class Drawn(Protocol):
    """A result that has a picture."""

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw it."""


@runtime_checkable
class Panelled(Protocol):
    """A result whose picture has several panels."""

    def save_plot(self, path: str | Path) -> None:
        """Draw it and write the picture."""


class Tabled(Protocol):
    """A result that is a table as well."""

    def to_frame(self) -> DataFrame:
        """Return the table."""


def picture(found: Drawn | Panelled, path: Path | None) -> None:
    """Write the picture of a result, if one is wanted."""
    if path is None:
        return
    if isinstance(found, Panelled):
        found.save_plot(path)
    else:
        import matplotlib as mpl

        from sld.analysis.decisions import style

        mpl.use("Agg")  # no window, wherever this runs
        style.save(found.plot().get_figure(), path)  # type: ignore[arg-type]
    written(path)


def table(found: Tabled, path: Path | None) -> None:
    """Write the table of a result as CSV, if that is wanted."""
    if path is not None:
        frame(found.to_frame(), path)


def frame(of: DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all."""
    from sld.core.files import write_text_atomic

    write_text_atomic(path, of.to_csv(index=False, lineterminator="\n"))
    written(path)


def written(path: Path) -> None:
    """Say where a file is."""
    remark(f"written to {path}")
