"""How `sld utd` looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sld.cli.output import remark, say, say_json, say_table, shown
from sld.core.numbers import exact

if TYPE_CHECKING:
    from sld.analysis.reinforcement.plan import UpdatePlan
    from sld.analysis.reinforcement.recipes import Span

_NAMES = {"batch": "best batch size", "rate": "best learning rate"}


def plan(found: UpdatePlan, json: bool) -> None:
    """Show the chain of laws, what each performance takes, and how to spend budgets."""
    if json:
        say_json(found.to_json())
        return
    low, high = found.ratios
    say(
        f"updates for each step of data: {found.ratio} from {exact(low)} to {exact(high)}, in "
        f"{found.n_settings} settings and {found.n_runs} runs"
    )
    say()
    interval = f"{100 * found.level:g} % interval"
    laws = {law.name: law for law in found.laws}
    rows = [
        [f"{_NAMES[n]} = {shown(law.factor.value, 3)} * {found.ratio}^-a", shown(law.exponent.value, 3),
         _ends(law.exponent)] for n, law in laws.items() if n in _NAMES
    ]  # fmt: skip
    data = laws["data"]
    rows.append([f"steps = D_min + b * {found.ratio}^-a", shown(data.exponent.value, 3), _ends(data.exponent)])
    if "ratio" in laws:
        rows.append(["best ratio ~ budget^-a", shown(laws["ratio"].exponent.value, 3), _ends(laws["ratio"].exponent)])
    say_table(rows, ["law", "a", interval])
    say()
    say("steps to each performance, at the best settings: D_min, which no number of updates saves, and b")
    say_table(
        [[exact(v.reach), shown(v.floor.value), _ends(v.floor), shown(v.factor.value), _ends(v.factor)]
         for v in found.levels],
        ["performance", "D_min", interval, "b", interval],
    )  # fmt: skip
    _priced(found, interval)
    for note in found.notes:
        remark(f"note: {note}")


def _priced(found: UpdatePlan, interval: str) -> None:
    """Show what costs least, where data have a price."""
    if any(v.ratio is None for v in found.levels):
        say()
        say("what a step of data is worth in compute (--data-price) would say which ratio costs least")
        return
    say()
    say("what each performance takes at the ratio that costs least, compute and data together")
    rows = [
        [exact(v.reach), *_value(v.ratio), shown(v.data.value, 3), shown(v.compute.value, 3), shown(v.budget.value, 3)]
        for v in found.levels if v.ratio and v.data and v.compute and v.budget
    ]  # fmt: skip
    say_table(rows, ["performance", found.ratio, interval, "steps", "compute", "budget"])
    if found.budgets:
        say()
        say("how to spend a budget")
        columns = [name for name in ("batch", "rate") if getattr(found.budgets[0], name) is not None]
        rows = [
            [shown(s.budget), *_value(s.ratio), *(_spanned(getattr(s, name)) for name in columns),
             shown(s.data.value, 3), shown(s.compute.value, 3), f"{shown(s.times, 2)} times"]
            for s in found.budgets
        ]  # fmt: skip
        header = [*(_NAMES[name].removeprefix("best ") for name in columns), "steps", "compute", "the dearest measured"]
        say_table(rows, ["budget", found.ratio, interval, *header])
    if found.check is not None:
        say()
        say(
            f"check: foretold from the other performances, the best {found.ratio} for {exact(found.check.reach)} is "
            f"{shown(found.check.foretold, 3)}; its own runs say {shown(found.check.measured, 3)}"
        )


def _value(span: Span | None) -> list[str]:
    return ["-", "-"] if span is None else [shown(span.value, 3), _ends(span)]


def _spanned(span: Span) -> str:
    return f"{shown(span.value, 3)} ({_ends(span)})"


def _ends(span: Span) -> str:
    return f"{shown(span.low, 3)} to {shown(span.high, 3)}"
