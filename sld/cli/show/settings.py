"""How `sld optimum` and `sld worth` look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sld.cli.output import remark, say, say_json, say_table

if TYPE_CHECKING:
    from sld.analysis.decisions.equivalents import Worth
    from sld.analysis.decisions.tuning import Tuning


def tuning(found: Tuning, json: bool) -> None:
    """Show best settings."""
    if json:
        say_json(found.to_json())
        return
    for line in found.law.splitlines():
        say(line)
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


def worth(found: Worth, json: bool) -> None:
    """Show what a run is worth."""
    if json:
        say_json(found.to_json())
        return
    say(found.summary())
    if found.draws:
        say(f"in brackets: 90 % of {found.draws} draws of the law")
