"""The answer to "what to train for a budget": runs with their intervals, and what is to be said beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.decisions.allocation import FLAT, Allocator, Found, NoOptimum, Question
from sld.analysis.decisions.allocation_picture import Panel, Spot, draw, save
from sld.analysis.decisions.cost import find, quantity_name
from sld.analysis.decisions.estimate import LEVEL, Estimate, estimate
from sld.analysis.decisions.minima import SHARE_INSIDE, Curves
from sld.analysis.decisions.surface import Limits, limits
from sld.core.arrays import Array
from sld.core.numbers import short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from sld.data.table import Table

# times: exponents are measured this far to either side; nearer, draws bend more than they grow. Where the law has no
# optimum that far, nearer all the same
_BESIDE = (10.0, 10**0.25)
_FURTHER = 8  # decades beyond `_AROUND` that are looked at where draws end there
_LEFT_OUT = 0.01  # share of the draws that may end further out; the ends of intervals do not feel them
_AROUND = 10.0 ** np.linspace(-2.0, 2.0, 9)  # budgets around one that is looked for, where its draws are looked for


@dataclass(frozen=True)
class Plan:
    """The best run of one group for one budget.

    Attributes:
        group: Whose constants count; "all" where rows are not grouped.
        cost: What it costs, with everything that counts.
        budget: What it costs; with an interval where a loss was wanted and not a budget.
        point: Symbol to value of every variable.
        loss: What the law predicts of it, in the units of the target.
        ratio: Tokens per parameter, where the law knows both.
        flat: A variable and between which values of it, the others at their best, the target is at most 0.1 % worse.
        limited: What a limit holds.
        beyond: Variables in which it lies beyond what the law is supported for.
        serving: Share of the cost that serving has.
        worse: By how much the target is worse than at the best run that could be had for the same without what was
            asked for; None where nothing was asked for.
        wasted: Share of the budget that this best run could do without.
        options: Each combination of listed values: what it is, the target, and in which share of the draws it is best.
        refused: Those that give no run, and why.
        move: How far Newton's method would still move, relative; below 1e-6 where derivatives certify the optimum.
        curvature: Least second derivative of the target by the logarithm of a variable, in any direction.
        status: "interior", "kink", or "given" where nothing was free.
        drawn: Share of the draws that have a best run for this; None for a law without intervals. Below half there are
            no intervals.
        parts: Share of the cost that each of its parts has, where the cost says what they are.
        outside: Of a published law: variables that lie outside the range that it is written down for, and that range.
    """

    group: str
    budget: Estimate
    point: Mapping[str, Estimate]
    loss: Estimate
    ratio: Estimate | None = None
    flat: tuple[str, float, float] | None = None
    limited: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    serving: float | None = None
    worse: float | None = None
    wasted: float | None = None
    options: tuple[tuple[Mapping[str, float], float, float], ...] = ()
    refused: tuple[tuple[Mapping[str, float], str], ...] = ()
    move: float = 0.0
    curvature: float = math.nan
    status: str = "interior"
    drawn: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    outside: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Growth:
    r"""How the best run grows with the budget in one group.

    Attributes:
        exponents: Symbol to the exponent b of $x^* \propto C^b$ over the budgets, or around the only one.
        supported: The largest budget whose best run the law is supported for; None where nothing is known.
        why: Where that is from.
        against: What the search says against the law.
    """

    exponents: Mapping[str, Estimate] = field(default_factory=dict)
    supported: float | None = None
    why: str = ""
    against: str = ""


@dataclass(frozen=True, repr=False)
class Allocation:
    """What to train: the best runs of a law for budgets, with the joint intervals of the law's draws.

    Attributes:
        law: The formula with its constants.
        target: What is to be low (or high).
        cost: The cost as it was named, `cost_formula` over the law's variables, `unit` what it counts.
        level: Share of draws inside an interval.
        draws: How many draws; 0 for a law without intervals.
        plans: One for each budget and group.
        growth: Group to how the best run grows.
        notes: What a reader should know, in sentences.
    """

    law: str
    target: str
    cost: str
    cost_formula: str
    unit: str
    level: float
    draws: int
    plans: tuple[Plan, ...]
    growth: Mapping[str, Growth]
    notes: tuple[str, ...] = ()
    allocators: Mapping[str, Allocator] = field(default_factory=dict, compare=False)

    def to_frame(self) -> pd.DataFrame:
        """Return a row per run: budget, variables and target, with `_low` and `_high` where there are intervals."""
        import pandas as pd

        rows = []
        for plan in self.plans:
            row: dict[str, Any] = {"group": plan.group} if len(self.growth) > 1 else {}
            cells = {"budget": plan.budget, **plan.point, self.target: plan.loss}
            if plan.ratio is not None:
                cells["tokens_per_parameter"] = plan.ratio
            for name, cell in cells.items():
                row[name] = cell.value
                if cell.low is not None and (name != "budget" or cell.low != cell.high):
                    row[f"{name}_low"], row[f"{name}_high"] = cell.low, cell.high
            row["supported"] = None if not self.growth[plan.group].why else not plan.beyond
            rows.append(row)
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Return everything in JSON's own types."""
        return {
            "law": self.law, "target": self.target, "cost": self.cost, "cost_formula": self.cost_formula,
            "unit": self.unit, "level": self.level, "draws": self.draws,
            "plans": [asdict(p) for p in self.plans],
            "growth": {g: asdict(a) for g, a in self.growth.items()},
            "notes": list(self.notes),
        }  # fmt: skip

    def summary(self) -> str:
        """Return what was found, as text."""
        return "\n".join([self.law, f"cost: {self.cost_formula} ({self.unit})", "", *self.lines(), *self.notes])

    def rows(self) -> list[list[str]]:
        """Return the table of runs as text, its header first."""
        grouped = len(self.growth) > 1
        symbols = list(dict.fromkeys(s for p in self.plans for s in p.point))
        rated = any(p.ratio for p in self.plans)
        flat = next((p.flat[0] for p in self.plans if p.flat is not None), "")
        header = [*(["group"] if grouped else []), "budget", *symbols, *([self._rate()] if rated else []), self.target]
        rows = [[*header, *([f"{flat} within {100 * FLAT:g} %"] if flat else [])]]
        for p in self.plans:
            cells = [p.budget, *(p.point[s] for s in symbols), *([p.ratio] if p.ratio is not None else [])]
            text = [c.text() for c in cells]
            rows.append([*([p.group] if grouped else []), *text, p.loss.text(5), *([_span(p)] if flat else [])])
        return rows

    def _rate(self) -> str:
        """Return what tokens per parameter are called in the law's own words."""
        named = [find(a.variables, s) for a in self.allocators.values() for s in ("D", "N")]
        return "/".join(v.symbol for v in named[:2] if v) or "D/N"

    def lines(self) -> list[str]:
        """Return the table and what is said of each run, as lines."""
        rows = self.rows()
        widths = [max(len(r[k]) for r in rows) for k in range(len(rows[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
        return [*lines, "", *self.sentences()]

    def sentences(self) -> list[str]:
        """Return what is said of the runs, in sentences."""
        found = []
        for flat in dict.fromkeys(p.flat[0] for p in self.plans if p.flat is not None):
            within = f"{100 * FLAT:g} %"
            found.append(f"{flat} within {within}: any {flat} between these makes {self.target} at most {within} worse")
        for group, growth in self.growth.items():
            of = f" in {group}" if len(self.growth) > 1 else ""
            if growth.exponents:
                powers = ", ".join(f"{s} as C**{e.text()}" for s, e in growth.exponents.items())
                found.append(f"with the budget C{of} grow: {powers}")
            for plan in (p for p in self.plans if p.group == group):
                found += _said(plan, self.target, of)
            found += self._support(group, of)
            if growth.against:
                found.append(f"against the law{of}: {growth.against}")
        return found

    def _support(self, group: str, of: str) -> list[str]:
        """Return up to where the law is supported, and how many of the runs lie beyond."""
        growth, plans = self.growth[group], [p for p in self.plans if p.group == group]
        beyond = [p for p in plans if p.beyond]
        many = ""
        if beyond:
            names = ", ".join(dict.fromkeys(s for p in beyond for s in p.beyond))
            many = f"{len(beyond)} of {len(plans)} planned runs lie beyond that, in {names}"
        if growth.supported is not None:
            return [
                f"supported up to a budget of {short(growth.supported)}{of} ({growth.why})" + (many and f"; {many}")
            ]
        return (
            [f"warning: {many.replace('beyond that', f'beyond what the law is supported for ({growth.why})')}"]
            if many
            else []
        )

    def plot(self, ax: Axes | None = None, *, runs: Table | None = None) -> Axes:
        """Draw the best runs on contours of equal loss and lines of equal cost, or the loss along budgets; return axes.

        Args:
            ax: Axes to draw on; new ones if not given.
            runs: Table of runs to show as points.
        """
        return draw(self._panels()[0], ax, runs)

    def save_plot(self, path: str | Path, *, runs: Table | None = None) -> None:
        """Write the picture as PNG, SVG or PDF, whole or not at all; raises UsageError."""
        save(self._panels(), path, runs)

    def _panels(self) -> list[Panel]:
        return [
            Panel(
                group,
                allocator,
                [
                    Spot(p.budget.value, {s: e.value for s, e in p.point.items()}, p.loss.value)
                    for p in self.plans
                    if p.group == group
                ],
            )
            for group, allocator in self.allocators.items()
        ]

    def __repr__(self) -> str:
        """Return the runs in a line each."""
        runs = "; ".join(
            f"{short(p.budget.value)}: " + ", ".join(f"{s} = {e.text()}" for s, e in p.point.items())
            for p in self.plans
        )
        return f"Allocation({self.target} under {self.cost}: {runs})"

    def _repr_html_(self) -> str:
        frame: str = self.to_frame().to_html(index=False, float_format=lambda x: short(x, 4))
        return frame


def _said(plan: Plan, target: str, of: str) -> list[str]:
    at = f"at {short(plan.budget.value)}{of}"
    said = []
    for limit in plan.limited:
        said.append(f"{at} {limit} is at its limit")
    if plan.worse is not None and abs(plan.worse) > 0:
        spared = 100.0 if plan.wasted is None else 100 * (1 - plan.wasted)
        said.append(
            f"{at} {target} is {short(plan.worse)} worse than without what was asked for; the best run of all would "
            f"reach it with {short(spared)} % of the cost"
        )
    if plan.drawn is not None and plan.drawn < SHARE_INSIDE:
        said.append(f"{at} only {100 * plan.drawn:.0f} % of the draws have a best run, so no interval is said")
    if plan.serving is not None:
        said.append(f"{at} serving takes {short(100 * plan.serving)} % of the cost")
    for s, (low, high) in plan.outside.items():
        said.append(
            f"warning: {at} {s} = {short(plan.point[s].value)} lies outside the range that the law is written down "
            f"for, {short(low)} to {short(high)}"
        )
    if shares := [f"{part} {short(100 * share)} %" for part, share in plan.parts.items() if share > 0]:
        said.append(f"at {short(plan.budget.value)}{of} the cost is " + ", ".join(shares))
    for option, value, share in plan.options:
        best = "" if math.isnan(share) else f", best in {100 * share:.0f} % of the draws"
        said.append(f"{at} {_named(option)} gives {target} {short(value, 5)}{best}")
    said += [f"{at} {_named(option)} gives no run: {why}" for option, why in plan.refused]
    return said


def _named(values: Mapping[str, float]) -> str:
    return ", ".join(f"{s} = {short(x)}" for s, x in values.items())


def _span(plan: Plan) -> str:
    """Return between which values of a variable the target hardly changes."""
    if plan.flat is None:
        return ""
    _, low, high = plan.flat
    return f"{'0' if low == 0 else short(low)} to {'any' if math.isinf(high) else short(high)}"


def growth_of(allocator: Allocator, runs: Sequence[tuple[Found, Curves | None]]) -> Growth:
    """Return how the best run grows over the budgets of runs, and how far the law is supported."""
    about = limits(allocator.law, allocator.surface.group)
    exponents: dict[str, Estimate] = {}
    free = [(f, c) for f, c in runs if not f.limited]
    # where one variable alone takes the budget, how it grows is a matter of the cost
    if free and not allocator.question.choices and (len(allocator.payers) > 1 or allocator.question.ratios):
        try:
            exponents = _exponents(allocator, free)
        except NoOptimum:
            exponents = {}
    return Growth(exponents, _supported(allocator, about), about.why, about.against)


def _exponents(allocator: Allocator, runs: Sequence[tuple[Found, Curves | None]]) -> dict[str, Estimate]:
    runs = _far_enough(allocator, runs)
    logs = np.log([f.budget for f, _ in runs])
    weights = (logs - logs.mean()) / ((logs - logs.mean()) ** 2).sum()
    found = {}
    held = allocator.question.held
    for symbol in (s for s in allocator.cost.uses if s not in held):
        axis = allocator.axes[symbol]
        # a column that holds a logarithm grows as its quantity does
        variable = next(v for v in allocator.variables if v.symbol == symbol)
        unit = variable.nats_per_unit if variable.log else 1.0
        x = unit * np.array([float(axis.coordinate(f.best.point[symbol])) for f, _ in runs])
        if np.ptp(x) < 1e-9:
            continue
        draws = None
        if all(c is not None and c.tell for _, c in runs):
            draws = sum(
                unit * w * axis.coordinate(c.point[symbol]) for w, (_, c) in zip(weights, runs, strict=True) if c
            )
        found[symbol] = estimate(float(weights @ x), None if draws is None else np.asarray(draws))
    names = {v.symbol: quantity_name(v) for v in allocator.variables}
    return {names[v.symbol]: found[v.symbol] for v in allocator.variables if v.symbol in found}


def _far_enough(
    allocator: Allocator, runs: Sequence[tuple[Found, Curves | None]]
) -> Sequence[tuple[Found, Curves | None]]:
    """Return the runs, or such for a smaller and a larger budget where theirs lie close together.

    Raises:
        NoOptimum: There is one budget only, and none beside it has a best run that is free.
    """
    low, high = (of(f.budget for f, _ in runs) for of in (min, max))
    for by in _BESIDE:
        if high >= low * by**2 * (1 - 1e-9):
            return runs
        try:
            beside = [allocator.solve(budget) for budget in (math.sqrt(low * high) / by, math.sqrt(low * high) * by)]
        except NoOptimum:
            continue
        if not any(found.limited for found in beside):
            return [(found, allocator.drawn(found)) for found in beside]
    if high == low:
        raise NoOptimum("no budget beside this one has a best run that is free")
    return runs


def _supported(allocator: Allocator, about: Limits) -> float | None:
    ends = {
        s: end for s, end in about.ends.items() if s in allocator.axes and s not in allocator.question.held and end > 0
    }
    if not ends:
        return None

    def excess(found: Found) -> float:
        return max(math.log(found.best.point[s] / end) for s, end in ends.items())

    try:
        return allocator.budget_where(excess, "the end of what is supported").budget
    except NoOptimum:
        return None


def plan_of(
    allocator: Allocator, found: Found, curves: Curves | None, *, demand: tuple[float, float] | None = None,
    budgets: Array | None = None,
) -> Plan:  # fmt: skip
    """Return a run with its intervals and what is to be said of it.

    Args:
        allocator: What found it.
        found: The run.
        curves: The best runs of the draws.
        demand: Tokens served and the price of inference, where the cost has them.
        budgets: (n_draws,) what the run of each draw costs, where that was looked for.
    """
    surface = allocator.surface
    known = curves if curves is not None and curves.tell else None
    order = [v.symbol for v in allocator.variables]
    point = {
        s: estimate(found.best.point[s], None if known is None or s in allocator.question.held else known.point[s])
        for s in sorted(found.best.point, key=order.index)
    }
    loss = estimate(surface.sign * found.best.value, None if known is None else surface.sign * known.value)
    size, data = find(allocator.variables, "N"), find(allocator.variables, "D")
    ratio = None
    if size and data and not (size.log or data.log):
        both = None if known is None else known.point[data.symbol] / known.point[size.symbol]
        ratio = estimate(found.best.point[data.symbol] / found.best.point[size.symbol], both)
    price = float(allocator.cost({s: np.array([x]) for s, x in found.best.point.items()})[0])
    worse, wasted = _against_free(allocator, found)
    serving = None
    if demand is not None and size is not None:
        serving = 2 * demand[0] * demand[1] * found.best.point[size.symbol] / price
    return Plan(
        surface.group,
        estimate(price, None if known is None else budgets),
        point,
        loss,
        ratio,
        allocator.flat(found),
        found.limited,
        tuple(limits(allocator.law, surface.group).beyond(found.best.point)),
        serving,
        worse,
        wasted,
        tuple(allocator.how_often(found)) if found.tried else (),
        found.refused,
        found.best.move if math.isfinite(found.best.move) else 0.0,
        found.best.curvature,
        found.best.status,
        None if curves is None else curves.share,
        allocator.cost.shares(found.best.point),
        _outside(allocator, found.best.point),
    )


def _outside(allocator: Allocator, point: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return the variables of a run outside the range that a published law is written down for, with that range."""
    domain = allocator.law.provenance.get("domain")
    ends = domain if isinstance(domain, Mapping) else {}
    known = {s: (float(ends[s][0]), float(ends[s][1])) for s in point if s in ends}
    # what somebody gave is their own affair
    return {s: e for s, e in known.items() if not e[0] <= point[s] <= e[1] and s not in allocator.question.held}


def _against_free(allocator: Allocator, found: Found) -> tuple[float | None, float | None]:
    """Return how much worse a run is than the best for its budget, and the share of it that this could spare."""
    q = allocator.question
    roles = {v.symbol: v.role for v in allocator.variables}
    needed = {s: x for s, x in q.held.items() if s not in allocator.cost.uses and roles[s] != "hyperparameter"}
    if not (q.ratios or q.choices or found.limited or set(q.held) - set(needed)):
        return None, None
    free = Allocator(allocator.surface, allocator.cost, Question(needed))
    try:
        best = free.solve(found.budget)
        worse = found.best.value - best.best.value
        same = free.budget_where(lambda f: found.best.value - f.best.value, "the same")
    except NoOptimum:
        return None, None
    return max(worse, 0.0), max(0.0, 1.0 - same.budget / found.budget)


def drawn_where(
    allocator: Allocator, found: Found, excess: str | float, symbol: str = ""
) -> tuple[Curves | None, Array | None]:
    """Return the runs and costs of the draws where each of them reaches a value of the target, or of a ratio.

    Args:
        allocator: What found the run.
        found: The run on the path of budgets.
        excess: A value of what is to be small, or the symbol of a variable.
        symbol: Of the variable below the line of a ratio.
    """
    if not allocator.surface.n:
        return None, None
    grid = {by: c for by in _AROUND if (c := _drawn_at(allocator, found.budget * float(by))) is not None}

    def excesses() -> Array:
        if not isinstance(excess, str):
            return np.array([excess - grid[by].value for by in sorted(grid)])
        of = found.best.point[excess] / (found.best.point[symbol] if symbol else 1.0)
        below = [grid[by].point[symbol] if symbol else 1.0 for by in sorted(grid)]
        return np.array([np.log(grid[by].point[excess] / b / of) for by, b in zip(sorted(grid), below, strict=True)])

    at = _crossings(np.log(sorted(grid)), excesses()) if len(grid) > 1 else np.zeros(0)
    for end, by in ((-math.inf, 0.1), (math.inf, 10.0)):
        # draws that end further out than was looked: an interval with an open end says less than is known
        for _ in range(_FURTHER):
            if not (at == end).mean() > _LEFT_OUT if len(at) else True:
                break
            next_one = by * (min(grid) if by < 1 else max(grid))
            if (curves := _drawn_at(allocator, found.budget * float(next_one))) is None:
                break
            grid[next_one] = curves
            at = _crossings(np.log(sorted(grid)), excesses())
    if not len(at):
        return None, None
    at = at + math.log(found.budget)
    return _on_path(allocator, [grid[by] for by in sorted(grid)], np.log(found.budget * np.array(sorted(grid))), at)


def _drawn_at(allocator: Allocator, budget: float) -> Curves | None:
    """Return the best runs of all draws for a budget; None where the law itself has none."""
    try:
        return allocator.drawn(allocator.solve(budget))
    except NoOptimum:
        return None


def _on_path(allocator: Allocator, grid: Sequence[Curves], logs: Array, at: Array) -> tuple[Curves, Array]:
    """Return the runs of draws where each is at a budget of its own, whose logarithms are `at`, and these budgets."""
    point = {}
    for s in grid[0].point:
        rows = np.array([allocator.axes[s].coordinate(c.point[s]) if s in allocator.axes else c.point[s] for c in grid])
        on_path = np.array([np.interp(a, logs, rows[:, k]) if math.isfinite(a) else math.nan for k, a in enumerate(at)])
        point[s] = allocator.axes[s].quantity(on_path) if s in allocator.axes else on_path
    values = np.array([c.value for c in grid])
    value = np.array([np.interp(a, logs, values[:, k]) if math.isfinite(a) else math.nan for k, a in enumerate(at)])
    return Curves(point, value, np.isfinite(at)), np.exp(at)


def _crossings(x: Array, F: Array) -> Array:
    """Return where each column of F (n_x, n), growing, crosses zero; infinite beyond the ends, NaN where not known."""
    found = np.full(F.shape[1], math.nan)
    for k in range(F.shape[1]):
        f = F[:, k]
        known = np.isfinite(f)
        if known.sum() < 2:
            continue
        xs, fs = x[known], f[known]
        up = np.flatnonzero((fs[:-1] <= 0) & (fs[1:] > 0))
        if len(up):
            i = int(up[0])
            found[k] = xs[i] - fs[i] * (xs[i + 1] - xs[i]) / (fs[i + 1] - fs[i])
        else:
            found[k] = math.inf if fs[-1] <= 0 else -math.inf
    return found


def allocated(allocators: Mapping[str, Allocator], runs: Mapping[str, Sequence[Plan]], growth: Mapping[str, Growth],
              notes: Sequence[str]) -> Allocation:  # fmt: skip
    """Put the answers of groups together."""
    first = next(iter(allocators.values()))
    law = first.law
    text = "\n".join(law.text(c) if law.grouped else f"{c} = {law.text(c)}" for c in first.surface.weights)
    return Allocation(
        text, first.surface.name, first.cost.text, first.cost.formula, first.cost.unit, LEVEL, first.surface.n,
        tuple(p for plans in runs.values() for p in plans), dict(growth), tuple(notes), dict(allocators),
    )  # fmt: skip


def with_budget(plan: Plan, budget: Estimate) -> Plan:
    """Return a plan with another estimate of what it costs."""
    return replace(plan, budget=budget)
