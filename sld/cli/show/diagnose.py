"""How `sld diagnose` looks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sld.cli.output import fill, say, say_json, say_table, shown

if TYPE_CHECKING:
    from sld.analysis.diagnostics import Diagnostics

_RUNS = 8  # lines


def diagnostics(found: Diagnostics, plot: Path | None, json: bool) -> None:
    """Show rungs, runs and levels, and what they come to; draw them where asked."""
    if plot is not None:
        from sld.analysis.decisions.style import save
        from sld.analysis.diagnostics_picture import figure
        from sld.cli.show.files import written

        save(figure(f"{found.target}: what the law does not follow", found.levels, found.rungs), plot)
        written(plot)
    if json:
        say_json(found.to_json())
        return
    say("Rungs, each predicted by a fit to the others (missed: in standard deviations of the residuals)")
    say_table(
        [
            [
                r.variable,
                _between(r.low, r.high),
                str(r.n_rows),
                shown(r.measured),
                shown(r.predicted),
                shown(r.missed, 2),
            ]
            for r in found.rungs
        ],
        header=("", "value", "runs", "measured", "predicted", "missed"),
    )
    say()
    place = ", ".join(f"{s} = {shown(v)}" for s, v in found.where.items())
    say(f"Runs that move the law most at {place}, where it says {shown(found.predicted)} ± {shown(found.spread, 2)}")
    say_table(
        [
            [r.run, ", ".join(f"{s} = {shown(v, 3)}" for s, v in r.at.items()), shown(r.without), f"{r.moved:+.2f}"]
            for r in found.runs[:_RUNS]
        ],
        header=("without", "at", "the law says", "moved, in spreads"),
    )
    say()
    for line in found.summary().splitlines():
        say(fill(line))


def _between(low: float, high: float) -> str:
    return shown(low, 3) if high <= low * 1.001 else f"{shown(low, 3)} to {shown(high, 3)}"
