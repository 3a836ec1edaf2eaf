"""How far beyond the data a law is supported, group by group.

Four things end it, whichever comes first:

- the longest step that a fold has tested, relative to the range below it: nothing in the table speaks of a longer one;
  and a thousand times the largest value in any case;
- laws that do as well on the folds predict another change;
- the law breaks a declared bound of the target, or a declared direction, or gives no number;
- its own interval says less than the data do (`sld.analysis.support`, which knows the intervals).

A group is taken beyond its own runs, not those of another group.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sld.core.arrays import Array, Rows
from sld.core.numbers import exact, short
from sld.data.axes import position
from sld.data.card import Variable
from sld.data.splits import Fold
from sld.data.table import Table
from sld.formula.evaluation import evaluate
from sld.formula.expression import Expression
from sld.laws.law import Law
from sld.search.candidates.candidate import Candidate

MOST = 1000.0  # times the largest value of a variable, however far the folds have tested
LEAST_SPAN = 2.0  # factor that a scale variable has to span in some group

_CLOSE = 0.7  # difference of scores: laws whose errors on the folds are within a factor of two, prices included
_RIVALS = 10  # of the laws that do as well; they get more alike down the list
_STEPS = 24  # per variable, on the way to as far as the folds have tested
_APART = 0.5  # laws disagree when they differ by half of the change that the law predicts beyond the data
_ALIKE = 0.1  # and by more than this share of the standard deviation in the group
_TINY = 1e-12  # so that a flat group allows rounding
_ROUNDING = 1e-6  # of the range of a target: bounds and directions hold up to it
_STARTS = 12  # rows of a group from which the law is followed
_NO_STEP = 0.05  # five per cent beyond the data is the same level
_INSIDE = (0.0, 0.5)  # of the way from a row to the largest values of its group
_BOX = {1: 9, 2: 5, 3: 3}  # values of each variable on the box that is looked at; of more variables, the corners
_SHRINKING = 12  # tries at a smaller box


@dataclass(frozen=True)
class Support:
    """How far a law is supported.

    Attributes:
        by_group: Group to symbol of each scale variable in the law to the largest supported value, in the column's
            units; never less than the largest in the data.
        edges: The same of the largest values in the data.
        broken: What the law breaks within the data, as sentences without a full stop.
        why: What keeps half of the groups or more from being supported beyond their data, likewise; empty if nothing.
    """

    by_group: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    edges: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    why: str = ""

    @property
    def reach(self) -> dict[str, float]:
        """The largest supported value of each variable in any group."""
        return largest(self.by_group)

    @property
    def edge(self) -> dict[str, float]:
        """The largest value of each variable in any group's data."""
        return largest(self.edges)


def largest(by_group: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the largest value of each symbol over the groups."""
    symbols = dict.fromkeys(s for ends in by_group.values() for s in ends)
    return {s: max(ends[s] for ends in by_group.values() if s in ends) for s in symbols}


def goes_beyond(steps: Sequence[Mapping[str, float]]) -> bool:
    """Return whether half of the groups are supported beyond their data; steps are natural logarithms, by symbol."""
    return 2 * sum(any(step > _NO_STEP for step in of.values()) for of in steps) >= max(len(steps), 1)


def support(table: Table, folds: Sequence[Fold], chosen: Candidate, ranked: Sequence[Candidate], law: Law) -> Support:
    """Return how far a law is supported by the folds, its rivals, and what was declared of the target.

    Args:
        table: The rows that the search judged on.
        folds: Its folds; their row numbers are those of `table`.
        chosen: The candidate that was chosen.
        ranked: The hall of fame, best first.
        law: The chosen form fitted to all rows.
    """
    scales = used_scales(table, chosen.expressions)
    tested = {v.symbol: steps_tested(table, folds, v) for v in scales}
    agreed = {v.symbol: _agreed(table, tested[v.symbol], v, chosen, ranked, law) for v in scales}
    by_group: dict[str, dict[str, float]] = {}
    edges: dict[str, dict[str, float]] = {}
    broken: list[str] = []
    sound: list[dict[str, float]] = []
    for g, group in enumerate(table.groups):
        frontier = Frontier(table, scales, g)
        edges[group] = {v.symbol: float(table.column(v.symbol)[frontier.rows].max()) for v in scales}
        wrong = _broken(frontier, frontier.inside(), law, group)
        taken = {s: float(by_step[g]) for s, by_step in agreed.items()}
        if wrong:
            broken.append(wrong)
            taken = dict.fromkeys(taken, 0.0)
        taken = _sound(frontier, taken, law, group) if scales else {}
        sound.append(taken)
        by_group[group] = {v.symbol: farther(v, edges[group][v.symbol], taken[v.symbol]) for v in scales}
    why = ""
    if scales and not goes_beyond(sound):
        why = "it breaks a declared bound or direction, or gives no number, just beyond the data"
        if not goes_beyond([{s: float(steps[g]) for s, steps in agreed.items()} for g in range(len(table.groups))]):
            why = "laws that do as well on the folds part ways at the edge of the data"
        if not any(steps.any() for steps in tested.values()):
            why = "no fold asks for larger runs than it was fitted to"
    return Support(by_group, edges, tuple(dict.fromkeys(broken)), why)


def farther(variable: Variable, value: float, step: float) -> float:
    """Return the value, in the column's units, that lies a factor e^step beyond another."""
    return value + step / variable.nats_per_unit if variable.log else value * math.exp(step)


def used_scales(table: Table, expressions: Mapping[str, Expression]) -> list[Variable]:
    """Return the scale variables that some formula uses."""
    used = {s for e in expressions.values() for s in e.used_variables}
    return [v for v in table.variables if v.role == "scale" and v.symbol in used]


def span(table: Table, variable: Variable) -> float:
    """Return the factor between the smallest and the largest value, in the group where it is largest."""
    z = position(table, variable)[0]
    spans = [float(np.ptp(z[table.group_index == g])) for g in range(len(table.groups))]
    return math.exp(min(max(spans), 700.0))


class Frontier:
    """The rows of one group from which a law is followed beyond the data; positions are natural logarithms."""

    def __init__(self, table: Table, scales: Sequence[Variable], group: int) -> None:
        """Choose the rows: the largest along each variable and in their product, and others spread between."""
        self.table, self.scales = table, list(scales)
        self.rows: Rows = np.flatnonzero(table.group_index == group)
        self.z = {v.symbol: position(table, v)[0] for v in scales}
        self.edge = {s: float(z[self.rows].max()) for s, z in self.z.items()}
        size = np.sum([z[self.rows] for z in self.z.values()], axis=0) if scales else np.zeros(len(self.rows))
        order = self.rows[np.argsort(size, kind="stable")]
        spread = order[np.linspace(len(order) - 1, 0, min(_STARTS, len(order))).astype(np.intp)]
        tops = [int(self.rows[np.argmax(z[self.rows])]) for z in self.z.values()]
        self.starts = np.array(list(dict.fromkeys([*tops, *spread.tolist()]))[:_STARTS], dtype=np.intp)
        self.tops = np.array(list(dict.fromkeys([*tops, int(order[-1])])), dtype=np.intp)

    def points(self, positions: Mapping[str, Array], rows: Rows | None = None) -> Array:
        """Return (n_rows, n, n_variables): the rows with some variables moved to positions (n_rows, n)."""
        rows = self.starts if rows is None else rows
        n = next(iter(positions.values())).shape[1] if positions else 1
        X = np.repeat(self.table.X[rows][:, None, :], n, axis=1)
        for i, v in enumerate(self.table.variables):
            if v.symbol in positions:
                z = positions[v.symbol]
                X[:, :, i] = z / v.nats_per_unit if v.log else np.exp(np.minimum(z, 700.0))
        return X

    def inside(self) -> Array:
        """Return points within the data: the rows, and between them and the largest values of the group."""
        found = [self.table.X[self.rows][:, None, :]]
        names = [v.symbol for v in self.scales]
        for which in [[s] for s in names] + ([names] if len(names) > 1 else []):
            at = {}
            for s in which:
                low = self.z[s][self.starts][:, None]
                at[s] = low + (self.edge[s] - low) * np.array(_INSIDE)
            found.append(self.points(at))
        return np.concatenate([X.reshape(-1, 1, X.shape[2]) for X in found])

    def box(self, taken: Mapping[str, float]) -> Array:
        """Return (n_starts, n, ..., n, n_variables): a grid in all variables from the edge of the data outwards."""
        names = [v.symbol for v in self.scales]
        n = _BOX.get(len(names), 2)
        axes = [self.edge[s] + taken[s] * np.linspace(0.0, 1.0, n) for s in names]
        grid = np.array(list(itertools.product(*axes))).reshape(-1, len(names))
        at = {s: np.broadcast_to(grid[:, i], (len(self.starts), len(grid))) for i, s in enumerate(names)}
        return self.points(at).reshape(len(self.starts), *([n] * len(names)), len(self.table.variables))


def _values(table: Table, expression: Expression, constants: Mapping[str, float], X: Array) -> Array:
    flat = X.reshape(-1, X.shape[-1])
    columns = {s: np.ascontiguousarray(flat[:, i]) for i, s in enumerate(table.symbols)}
    return evaluate(expression, columns, constants).reshape(X.shape[:-1])


def _broken(frontier: Frontier, X: Array, law: Law, group: str) -> str:
    """Return which bound a law breaks at points, and where it does so most; empty where it breaks none."""
    table = frontier.table
    for j, target in enumerate(table.targets):
        values = _values(table, law.expressions[target.column], law.constants[target.column][group], X).ravel()
        slack = _ROUNDING * (float(np.ptp(table.Y[:, j])) or 1.0)
        where = ", ".join(f"{s}" for s in table.symbols)
        flat = X.reshape(-1, X.shape[-1])
        for bound, past, what in (
            (target.lower, (target.lower or 0.0) - values, "falls below"),
            (target.upper, values - (target.upper or 0.0), "exceeds"),
        ):
            if bound is not None and (past > slack).any():
                at = int(np.nanargmax(past))
                where = ", ".join(f"{s} = {short(x)}" for s, x in zip(table.symbols, flat[at], strict=True))
                return f"it {what} {exact(bound)} within the data ({target.column} = {short(values[at], 4)} at {where})"
    return ""


def _sound(frontier: Frontier, taken: Mapping[str, float], law: Law, group: str) -> dict[str, float]:
    """Return steps of at most `taken` within which bounds and directions hold, along each variable and together."""
    found = dict(taken)
    for s in found:
        for share in np.linspace(1.0, 0.0, _STEPS + 1):
            alone = {name: share * found[s] if name == s else 0.0 for name in found}
            if share == 0.0 or _holds(frontier, frontier.box(alone), law, group):
                found[s] = alone[s]
                break
    for share in np.linspace(1.0, 0.0, _SHRINKING + 1):
        smaller = {s: share * step for s, step in found.items()}
        if share == 0.0 or _holds(frontier, frontier.box(smaller), law, group):
            return smaller
    return found


def _holds(frontier: Frontier, X: Array, law: Law, group: str) -> bool:
    """Return whether a law keeps what was declared on a grid (n_starts, n, ..., n, n_variables)."""
    table = frontier.table
    for j, target in enumerate(table.targets):
        values = _values(table, law.expressions[target.column], law.constants[target.column][group], X)
        slack = _ROUNDING * (float(np.ptp(table.Y[:, j])) or 1.0)
        if not np.isfinite(values).all():
            return False
        if target.lower is not None and values.min() < target.lower - slack:
            return False
        if target.upper is not None and values.max() > target.upper + slack:
            return False
        for axis, v in enumerate(frontier.scales, start=1):
            if v.monotone is not None:
                ahead = np.diff(values, axis=axis) * (1.0 if v.monotone == "increasing" else -1.0)
                if ahead.size and ahead.min() < -slack:
                    return False
    return True


# --- what the folds have tested, and what rivals say ----------------------------------------------------------------


def steps_tested(table: Table, folds: Sequence[Fold], variable: Variable) -> Array:
    """Return how far each group (n_groups,) may go along a variable: as far as folds have gone, in its own ranges."""
    z = position(table, variable)[0]
    n_groups = len(table.groups)
    longest, ranges = np.zeros(n_groups), np.zeros(n_groups)
    for g in range(n_groups):
        ranges[g] = np.ptp(z[table.group_index == g])
        for fold in folds:
            test, train = (z[rows[table.group_index[rows] == g]] for rows in (fold.test, fold.train))
            if len(test) and len(train) and np.ptp(train) > 0:
                longest[g] = max(longest[g], float((test.max() - train.max()) / np.ptp(train)))
    known = longest[longest > 0]
    if not len(known) or math.exp(min(float(ranges.max()), 700.0)) < LEAST_SPAN:
        return np.zeros(n_groups)
    # a group that no fold could judge is like the others
    ratio = np.minimum(np.where(longest > 0, longest, np.median(known)), 1.0)
    return np.asarray(np.minimum(ratio * ranges, math.log(MOST)))


def _agreed(
    table: Table, steps: Array, variable: Variable, chosen: Candidate, ranked: Sequence[Candidate], law: Law
) -> Array:
    """Return how far each group (n_groups,) may go, at most `steps`, while laws that do as well agree with the law."""
    rivals = [
        c
        for c in ranked
        if c.key != chosen.key and c.admissible == chosen.admissible and c.score <= chosen.score + _CLOSE
    ][:_RIVALS]
    i = table.variables.index(variable)
    z = position(table, variable)[0]
    per_unit = variable.nats_per_unit
    limit = _STEPS
    for j, target in enumerate(table.targets):
        apart = np.zeros((len(table.groups), _STEPS + 1))
        for g, group in enumerate(table.groups):
            rows = np.flatnonzero(table.group_index == g)
            start = table.X[_largest(table, rows, z, j)]
            points = np.tile(start, (_STEPS + 1, 1))
            taken = np.linspace(0.0, steps[g], _STEPS + 1)
            points[:, i] = start[i] + taken / per_unit if variable.log else start[i] * np.exp(taken)
            columns = {s: np.ascontiguousarray(points[:, k]) for k, s in enumerate(table.symbols)}
            expression, constants = chosen.expressions[target.column], law.constants[target.column]
            change = _change(expression, columns, constants.get(group))
            others = [
                _change(c.expressions[target.column], columns, c.constants[target.column].get(group)) for c in rivals
            ]
            allowed = np.maximum(_APART * np.abs(change), _ALIKE * float(np.std(table.Y[rows, j])) + _TINY)
            difference = np.abs(np.array(others).reshape(len(others), len(taken)) - change)
            difference[~np.isfinite(difference)] = np.inf
            # four of five rivals count: one odd form in ten says little
            spread = np.quantile(difference, 0.8, axis=0, method="lower") if others else np.zeros(len(taken))
            apart[g] = np.where(np.isfinite(change), spread / allowed, np.inf)
        typical = np.quantile(apart, 0.5, axis=0, method="lower")  # over the groups
        limit = min(limit, int(np.argmax(typical > 1.0)) - 1 if (typical > 1.0).any() else _STEPS)
    return steps * (max(limit, 0) / _STEPS)


def _largest(table: Table, rows: Rows, z: Array, target: int) -> int:
    """Return the row of the group that is farthest along; of several the one that did best."""
    y = table.Y[rows, target] if table.targets[target].better == "lower" else -table.Y[rows, target]
    return int(rows[np.lexsort((y, -z[rows]))[0]])


def _change(expression: Expression, columns: Mapping[str, Array], constants: Mapping[str, float] | None) -> Array:
    """Return what a law predicts to change from the first point on; NaN for a group that it has no constants for."""
    if constants is None:
        return np.full(len(next(iter(columns.values()))), np.nan)
    values = evaluate(expression, columns, constants)
    with np.errstate(invalid="ignore"):
        change: Array = values - values[0]
    return change
