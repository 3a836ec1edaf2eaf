"""How `sld passk` looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sld.cli.output import say, say_json, say_table, shown

if TYPE_CHECKING:
    from sld.analysis.curves.samples import PassAtK, Sampled


def coverage(found: PassAtK, json: bool) -> None:
    """Show pass@k."""
    if json:
        say_json(found.to_json())
        return
    several = len(found.groups) > 1
    header = [*(("group",) if several else ()), "samples", "solved", f"{100 * found.level:g} % interval", ""]
    rows = [
        [
            *((c.group,) if several else ()),
            str(c.k),
            shown(c.value),
            f"{shown(c.low)} to {shown(c.high)}",
            "" if c.measured else "beyond the samples drawn",
        ]
        for c in found.coverage
    ]
    say("share of problems with a right one among so many samples (pass@k)")
    say()
    say_table(rows, header)
    say()
    for group in found.groups:
        _group(group, several)
    if not all(c.measured for c in found.coverage):
        say("beyond the samples drawn: from the fitted difficulty of the problems, which must hold for the hardest too")


def _group(g: Sampled, several: bool) -> None:
    of = f"{g.group}: " if several else ""
    never = f"; {shown(100 * g.difficulty.never, 2)} % of all seem never to be" if g.difficulty.never else ""
    say(
        f"{of}{g.n_problems} problems, {g.n_samples} samples, a share of {shown(g.rate)} right; "
        f"{g.unsolved} problems not solved yet{never}"
    )
    if g.limit is not None:
        say(f"{of}with no end of samples {shown(g.limit)} of the accepted answers are right: the verifier's ceiling")
    if g.best is not None:
        end = "; more would still pay, and nothing here says where to stop" if g.best.at_end else ""
        say(
            f"{of}{g.best.k} samples pay best: {shown(g.best.right)} right, {shown(g.best.wrong)} wrong, "
            f"{shown(g.best.sampled)} drawn for a problem, worth {shown(g.best.worth)} of a right answer{end}"
        )
