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
    for line in (*found.law.splitlines(), *more):
        say(line)
    print()
    header, *rows = found.rows()
    say_table(rows, header, indent="")
    print()
    say_all(found.sentences())
    say_brackets(found.level, found.draws)
    notes(found.notes)


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
    if json:
        say_json({**found.to_json(), "plot": None if plot is None else str(plot)})
        return
    from sld.analysis.decisions.isoflop_words import said

    for k, part in enumerate(found):
        if k:
            print()
        say_all(said(part))
    for note in found.notes:
        say(f"note: {note}")


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
