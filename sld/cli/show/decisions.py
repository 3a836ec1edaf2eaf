"""How decisions look: paragraphs and small tables, one JSON document, a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sld.cli.output import notes, remark, say, say_json, say_table

if TYPE_CHECKING:
    from sld.analysis.decisions.comparison import Comparison
    from sld.analysis.decisions.plan import Allocation
    from sld.analysis.decisions.sensitivity import Sensitivity
    from sld.analysis.decisions.sweeps import Isoflops
    from sld.analysis.decisions.tuning import Tuning
    from sld.analysis.decisions.words import Said


def best(found: Allocation | Tuning, json: bool, *more: str) -> None:
    """Show best runs or settings; `more` comes below the law."""
    if json:
        say_json(found.to_json())
        return
    say_law(found.law, *more)
    header, *rows = found.rows()
    say_table(rows, header, indent="")
    print()
    say_all(found.sentences())
    say_brackets(found.level, found.draws)
    notes(found.notes)


def say_law(law: str, *more: str) -> None:
    """Say the law that was asked, a line for each target, and what belongs to it."""
    for line in (*law.splitlines(), *more):
        say(line)
    print()


def say_brackets(level: float, draws: int) -> None:
    """Say what the intervals in brackets are, where there are any."""
    if draws:
        say(f"in brackets: {100 * level:g} % of {draws} draws of the law")


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
    from sld.analysis.decisions.isoflop_words import said

    if json:
        _say_json(found, plot)
        return
    for k, part in enumerate(found):
        if k:
            print()
        say_all(said(part))
    for note in found.notes:
        say(f"note: {note}")


def comparison(found: Comparison, plot: Path | None, json: bool) -> None:
    """Show `sld compare`."""
    from sld.analysis.decisions.comparison_words import said

    _say_json(found, plot) if json else say_all(said(found))


def sensitivity(found: Sensitivity, plot: Path | None, json: bool) -> None:
    """Show `sld sensitivity`."""
    from sld.analysis.decisions.sensitivity_words import said

    _say_json(found, plot) if json else say_all(said(found))


def _say_json(found: Isoflops | Comparison | Sensitivity, plot: Path | None) -> None:
    say_json({**found.to_json(), "plot": None if plot is None else str(plot)})
