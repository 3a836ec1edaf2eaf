"""How `sld rl` looks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sld.cli.output import remark, say, say_json, say_table, shown

if TYPE_CHECKING:
    from sld.analysis.reinforcement.recipes import Crossing, Difference, Span
    from sld.analysis.reinforcement.result import RecipeCurves

MOST_BESIDE = 12  # recipes that are set beside the leader in words


def recipes(found: RecipeCurves, json: bool, reach: float | None = None) -> None:
    """Show bounded curves and what tells them apart; of one recipe alone what it takes to `reach`, if asked."""
    if json:
        say_json(found.to_json())
        return
    several = len(found.recipes) > 1
    interval = f"{100 * found.level:g} % interval"
    say(f"{found.target} = R0 + (A - R0)/(1 + (C_mid/C)^B), C: {found.compute}")
    say()
    first = ("recipe",) if several else ()
    say("where it ends: A, the asymptote")
    rows = [[r.name] * several + [shown(r.asymptote.value), _ends(r.asymptote), shown(r.start.value)] +
            ([_share(r.highest)] if several else []) for r in found.recipes]  # fmt: skip
    say_table(rows, [*first, "A", interval, "R0 (start)", *(("best",) if several else ())])
    say()
    say("what it takes: C_mid, the compute at half of the gain, and B, how abruptly the gain comes")
    rows = [[r.name] * several + [shown(r.middle.value), _ends(r.middle), shown(r.steepness.value, 3),
             _ends(r.steepness, 3)] for r in found.recipes]  # fmt: skip
    say_table(rows, [*first, "C_mid", interval, "B", interval])
    if several or reach is not None:
        say()
        value = found.compared.value
        say(
            "what it takes to half of the gain of each: no value lies on the way of all recipes"
            if value is None
            else f"what it takes to reach {shown(value)}"
            + (", which all recipes have on their way" if reach is None else "")
        )
        rows = [[r.name] * several + [_or_never(r.reach.value), _ends(r.reach)] +
                ([_share(r.quickest)] if several else []) for r in found.recipes]  # fmt: skip
        say_table(rows, [*first, found.compute, interval, *(("least",) if several else ())])
    if found.until is not None:
        say()
        say(f"at {found.compute} = {shown(found.until)}")
        rows = [[r.name] * several + [shown(r.at.value), _ends(r.at), _ends(r.run_at)] for r in found.recipes
                if r.at is not None and r.run_at is not None]  # fmt: skip
        say_table(rows, [*first, found.target, f"{interval} of the curve", "of one measurement"])
    say()
    _verdicts(found)
    say(f"first part of the runs: {found.discard}")
    for note in found.notes:
        remark(f"note: {note}")


def _verdicts(found: RecipeCurves) -> None:
    if len(found.recipes) > 1:
        for question, leader in (("asymptote", found.highest), ("efficiency", found.quickest)):
            what = "best asymptote" if question == "asymptote" else "most efficient"
            say(f"{what}: {leader}")
            each = [d for d in found.compared.differences if d.question == question]
            for d in each[:MOST_BESIDE]:
                say(f"  {_beside(d, found.compute)}")
            if len(each) > MOST_BESIDE:
                say(f"  and {len(each) - MOST_BESIDE} more (--json has all)")
        if found.compared.crossing is not None:
            _crossing(found.compared.crossing, found.compute)
        elif found.highest != found.quickest:
            say(f"{found.quickest} needs less compute, {found.highest} ends better, but their curves do not cross")
        say("best, least: the probability that no other recipe does better")
    if found.unbent:
        say(
            f"not half of the gain for sure yet: {', '.join(found.unbent[:8])}. What such curves say of their "
            "asymptote rests on their form"
        )


def _beside(d: Difference, compute: str) -> str:
    told = "told apart" if d.apart else "not told apart"
    if d.question == "asymptote":
        return f"{d.other} ends {shown(d.by.value, 3)} worse ({_ends(d.by, 3)}): {told}"
    if math.isinf(d.by.low):
        return f"{d.other} never gets there: {told}"
    if math.isinf(d.by.value):
        return f"{d.other} more likely than not never gets there ({_ends(d.by, 3)} times as much {compute}): {told}"
    return f"{d.other} needs {shown(d.by.value, 3)} times as much {compute} ({_ends(d.by, 3)}): {told}"


def _crossing(c: Crossing, compute: str) -> None:
    say(
        f"{c.early} leads early, {c.late} from {compute} = {shown(c.compute.value, 3)} on "
        f"({_ends(c.compute, 3)}; they cross with a probability of {_share(c.probability)})"
    )


def _ends(span: Span, digits: int = 4) -> str:
    return f"{_or_never(span.low, digits)} to {_or_never(span.high, digits)}"


def _or_never(value: float, digits: int = 4) -> str:
    return shown(value, digits) if math.isfinite(value) else "never"


def _share(value: float) -> str:
    return "< 1 %" if value < 0.01 else "> 99 %" if value > 0.99 else f"{value:.0%}".replace("%", " %")
