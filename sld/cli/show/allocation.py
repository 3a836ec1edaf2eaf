"""How `sld allocate` looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sld.cli.output import remark, say, say_json, say_table

if TYPE_CHECKING:
    from sld.analysis.decisions.plan import Allocation


def allocation(found: Allocation, json: bool) -> None:
    """Show what to train."""
    if json:
        say_json(found.to_json())
        return
    for line in found.law.splitlines():
        say(line)
    say(f"cost = {found.cost_formula} ({found.unit})")
    print()
    header, *rows = found.rows()
    say_table(rows, header, indent="")
    print()
    for sentence in found.sentences():
        if sentence.startswith("warning: "):
            remark(sentence)
        else:
            say(sentence)
    if found.draws:
        say(f"in brackets: {100 * found.level:g} % of {found.draws} draws of the law")
    for note in found.notes:
        remark(f"note: {note}")
