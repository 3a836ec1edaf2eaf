"""How `sld optimum` and `sld worth` look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sld.cli.output import say, say_json
from sld.cli.show.decisions import best, say_brackets

if TYPE_CHECKING:
    from sld.analysis.decisions.equivalents import Worth
    from sld.analysis.decisions.tuning import Tuning


def tuning(found: Tuning, json: bool) -> None:
    """Show best settings."""
    best(found, json)


def worth(found: Worth, json: bool) -> None:
    """Show what a run is worth."""
    if json:
        say_json(found.to_json())
        return
    say(found.summary())
    say_brackets(0.9, found.draws)
