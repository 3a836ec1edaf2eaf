"""How `sld next` looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sld.cli.output import notes, say, say_json, say_table
from sld.core.numbers import short

if TYPE_CHECKING:
    from sld.analysis.decisions.design import DesignCheck
    from sld.analysis.decisions.next_runs import NextRuns


def plan(found: NextRuns, json: bool) -> None:
    """Show which runs to pay for."""
    if json:
        say_json(found.to_json())
        return
    for line in found.law.splitlines():
        say(line)
    say(f"cost = {found.cost} ({found.unit})" if found.unit != found.cost else f"cost = {found.cost}")
    print()
    for sentence in found.sentences():
        say(sentence)
    if found.runs:
        header, rows = found.rows()
        print()
        say_table(rows, header, indent="")
        print()
        say(
            f"{len(found.runs)} of {found.candidates} candidates, for {short(found.spent)} of "
            f"{short(found.budget)}; widths "
            "are of the widest interval that holds 90 %, as expected after that run and those before it"
        )
    notes(found.notes)


def check(found: DesignCheck, json: bool) -> None:
    """Show what runs can and cannot tell."""
    if json:
        say_json(found.to_json())
        return
    for line in found.law.splitlines():
        say(line)
    print()
    for sentence in found.words:
        say(sentence)
    notes(found.notes)
