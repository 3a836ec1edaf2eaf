"""How decisions look: paragraphs and small tables, one JSON document, a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sld.cli.output import remark, say, say_json, say_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sld.analysis.decisions.comparison import Comparison
    from sld.analysis.decisions.sensitivity import Sensitivity
    from sld.analysis.decisions.sweeps import Isoflops
    from sld.analysis.decisions.words import Said


class Drawn(Protocol):
    """A decision that has a picture."""

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw it."""


def check_picture(path: Path | None) -> None:
    """Refuse a picture of a type that there is not, or without a place, before the work is done; raises UsageError."""
    if path is not None:
        from sld.analysis.decisions import style
        from sld.core.files import check_writable

        style.format_of(path)
        check_writable(path)


def draw(found: Drawn, path: Path | None) -> None:
    """Write the picture of a decision, if one is wanted."""
    if path is None:
        return
    import matplotlib as mpl

    from sld.analysis.decisions import style

    mpl.use("Agg")  # no window, wherever this runs
    figure = found.plot().get_figure()
    style.save(figure, path)  # type: ignore[arg-type]
    remark(f"written to {path}")


def say_all(said: Said) -> None:
    """Print paragraphs and tables as wide as the terminal is."""
    for part in said:
        if isinstance(part, str):
            # what speaks against a result is for the reader, not part of it
            remark(part) if part.startswith("warning: ") else say(part)
        else:
            say_table(part.rows, part.header)


def isoflop(found: Isoflops, plot: Path | None, json: bool) -> None:
    """Show `sld isoflop`."""
    if json:
        say_json({**found.to_json(), "plot": None if plot is None else str(plot)})
        return
    from sld.analysis.decisions.isoflop_words import said

    for k, part in enumerate(found):
        if k:
            print()
        say_all(said(part))
    _notes(found.notes)


def comparison(found: Comparison, plot: Path | None, json: bool) -> None:
    """Show `sld compare`."""
    if json:
        say_json({**found.to_json(), "plot": None if plot is None else str(plot)})
        return
    from sld.analysis.decisions.comparison_words import said

    say_all(said(found))


def sensitivity(found: Sensitivity, plot: Path | None, json: bool) -> None:
    """Show `sld sensitivity`."""
    if json:
        say_json({**found.to_json(), "plot": None if plot is None else str(plot)})
        return
    from sld.analysis.decisions.sensitivity_words import said

    say_all(said(found))


def _notes(notes: Any) -> None:
    for note in notes:
        say(f"note: {note}")
