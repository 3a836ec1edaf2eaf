"""Which curves of a law a reader should see: one variable along the axis, and a few lines through the others.

Most laws have more variables than a page has dimensions. A section picks the variable along the axis (the one that the
held-out rows extrapolate, a hyperparameter when the law has a valley in one, a proportion when the task is a mixture)
and what tells the lines apart (groups, equal compute, or the rungs of a second variable). All other variables stay at
the middle of the rows behind a line; each measured value is moved along the law by as much as its row differs from
that, so that its distance from the line is its residual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.core.arrays import Rows
from sld.core.numbers import short
from sld.data.axes import levels, position
from sld.data.card import Target, Variable
from sld.data.table import ALL_ROWS, Array, Table
from sld.laws.law import Law

MAX_LINES = 6
WIDE = 3.0  # ratio of the largest to the smallest value from which an axis of a target is logarithmic
_MOST_FAINT = 60
_TIGHT = 0.05  # of a natural logarithm: rows this close are at one level
_GRID = 160
_LEAST_EFFECT = 0.05  # of the target's range, for a hyperparameter to be worth the axis
_LEAST_REACH = 0.02  # of the training range, for held-out rows to count as beyond it


@dataclass(frozen=True)
class Line:
    """One curve of the law with the rows behind it.

    Attributes:
        label: What tells it from the others: a value, or a group.
        points: Where it is evaluated: a table of the law's variables.
        x: Positions along the axis (n_points,).
        y: The law (n_points,).
        measured: Training rows: positions and values (2, n_rows).
        held_out: The same for held-out rows.
        known: Range of the training rows along the axis, or None when the line has none.
        faint: Drawn thin, without rows and label.
    """

    label: str
    points: Table
    x: Array
    y: Array
    measured: Array
    held_out: Array
    known: tuple[float, float] | None
    faint: bool = False


@dataclass(frozen=True)
class Section:
    """The lines of one target.

    Attributes:
        variable: Along the axis.
        told_apart_by: Heading of the lines' labels; empty for a single line.
        beyond: Range of the axis beyond the training rows, or None.
        notes: What a reader has to know, in short sentences.
    """

    variable: Variable
    target: Target
    lines: tuple[Line, ...]
    told_apart_by: str
    beyond: tuple[float, float] | None
    notes: tuple[str, ...]


def main_variable(law: Law, table: Table, held_out: Table | None = None) -> Variable:
    """Return the variable that the law is asked to extrapolate."""
    used = [v for v in table.variables if v.symbol in law.used_variables] or list(table.variables)
    if held_out is not None and held_out.n_rows:
        reach = {v.symbol: _reach(v, table, held_out) for v in used}
        farthest = max(used, key=lambda v: reach[v.symbol])
        if reach[farthest.symbol] > _LEAST_REACH:
            return farthest
    for some in ([v for v in used if v.extrapolate], [v for v in used if v.role == "scale"], used):
        if some:
            return max(some, key=lambda v: float(np.ptp(position(table, v)[0])))
    raise AssertionError("a table has variables")


def section(law: Law, table: Table, target: int = 0, held_out: Table | None = None) -> Section:
    """Choose and evaluate the lines that show one target of a law."""
    return _Chooser(law, table, target, held_out).section()


def level_of_rows(table: Table, variable: Variable, most: int) -> Rows:
    """Return the level of each row along `variable`, 0 for the lowest; at most `most` of them."""
    z, same = position(table, variable)
    return levels(z, same, most)


def joined(one: Table, other: Table | None) -> Table:
    """Return the rows of both tables, those of `other` last."""
    if other is None or not other.n_rows:
        return one
    groups = tuple(dict.fromkeys((*one.groups, *other.groups)))
    at = np.array([groups.index(g) for g in other.groups], dtype=np.intp)
    return replace(
        one,
        X=np.concatenate([one.X, other.X]),
        Y=np.concatenate([one.Y, other.Y]),
        groups=groups,
        group_index=np.concatenate([one.group_index, at[other.group_index]]),
    )


def magnitude(value: float) -> str:
    """Return a number as people write it: 1.3M, 70B, 0.0003."""
    value = float(f"{value:.4g}" if 1e3 <= abs(value) < 1e4 else f"{value:.3g}")  # 999.9M is 1B
    size = abs(value)
    for limit, unit, suffix in ((1e12, 1e12, "T"), (1e9, 1e9, "B"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if limit <= size < 1e16:
            return f"{short(value / unit)}{suffix}"
    return short(value, 4)


def range_of(values: Array) -> str:
    """Return the smallest and the largest value, or the one there is."""
    low, high = magnitude(float(values.min())), magnitude(float(values.max()))
    return low if low == high else f"{low} to {high}"


def round_positions(low: float, high: float) -> list[float]:
    """Return round positions on a logarithmic axis, as coarse as gives four; fewer on a short axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        found = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
        if len(found) >= 4:
            break
    return found


def axis_label(column: Variable | Target) -> str:
    """Return the name of a column with its unit."""
    unit = "" if column.unit in ("", "1", "-") else column.unit
    logarithm = column.log if isinstance(column, Variable) else None
    if logarithm and not unit.startswith("log"):
        unit = f"{logarithm} of {unit}" if unit else str(logarithm)
    return column.column if not unit else f"{column.column}, {unit}" if "(" in unit else f"{column.column} ({unit})"


def near(values: Array, about: Array, reach: float = 0.3) -> Array:
    """Return `values` cut to the range of `about` and a little beyond: one wild curve must not flatten the rest."""
    low, high = float(about.min()), float(about.max())
    if low > 0 and high >= WIDE * low:
        room = (high / low) ** reach
        return np.clip(values, low / room, high * room)
    room = reach * ((high - low) or abs(high) or 1.0)
    return np.clip(values, low - room if low - room > 0 or low <= 0 else 0.5 * low, high + room)


def _reach(variable: Variable, table: Table, held_out: Table) -> float:
    both = joined(table, held_out)
    z, _ = position(both, variable)
    inside, outside = z[: table.n_rows], z[table.n_rows :]
    span = float(np.ptp(inside)) or 1.0
    return max(float(outside.max() - inside.max()), float(inside.min() - outside.min())) / span


@dataclass(frozen=True)
class _Plan:
    """Rows behind a line and where the line runs: the values of all variables for each position on the axis."""

    label: str
    rows: Rows  # of the joined table
    group: str
    product: float | None = None  # of the axis and the second variable, where that is what stays equal
    moved: tuple[tuple[int, float], ...] = ()  # variables put at other values than their middle
    faint: bool = False


class _Chooser:
    def __init__(self, law: Law, table: Table, target: int, held_out: Table | None) -> None:
        self.law, self.table, self.target = law, table, target
        self.all = joined(table, held_out)
        self.is_training = np.arange(self.all.n_rows) < table.n_rows
        self.expression = law.expressions[law.targets[target].column]
        self.main = main_variable(law, table, held_out)
        self.index = {v.symbol: i for i, v in enumerate(table.variables)}
        self.y = self.all.Y[:, target]
        self.fitted = law.by_formula(self.all)[:, target]
        self.notes: list[str] = []
        self.moved = False

    def section(self) -> Section:
        axis = self._mixture_axis() or self._valley_axis() or self.main
        told_apart_by, plans = self._plans(axis)
        grid, beyond = self._grid(axis)
        lines = tuple(self._line(axis, plan, grid) for plan in plans)
        if self.moved:
            self.notes.append("points are moved along the law to each line's values of the other variables")
        return Section(axis, self.law.targets[self.target], lines, told_apart_by, beyond, tuple(self.notes))

    # --- along the axis

    def _mixture_axis(self) -> Variable | None:
        shares = [v for v in self.table.variables if v.role == "proportion" and v.symbol in self._symbols()]
        own = self.table.own_share(self.target)
        if not shares or (self.main.role == "scale" and self._effect(shares[0]) < _LEAST_EFFECT and own is None):
            return None
        return next((v for v in shares if v.symbol == own), None) or max(shares, key=self._effect)

    def _valley_axis(self) -> Variable | None:
        if self.main.role != "scale":
            return None
        knobs = [v for v in self.table.variables if v.role == "hyperparameter" and v.symbol in self._symbols()]
        best = max(knobs, key=self._effect, default=None)
        return best if best is not None and self._effect(best) >= _LEAST_EFFECT else None

    def _symbols(self) -> tuple[str, ...]:
        return self.expression.used_variables

    def _effect(self, variable: Variable) -> float:
        """Return how far the law moves along a variable's range, all else fixed, in ranges of the target."""
        step = max(1, self.table.n_rows // 40)
        rows = np.arange(0, self.table.n_rows, step)
        values = np.quantile(self.table.column(variable.symbol), [0.0, 0.25, 0.5, 0.75, 1.0])
        sample = self.table.take(rows)
        found = []
        for value in values:
            X = sample.X.copy()
            self._set(X, variable, np.full(len(X), value))
            found.append(self.law.by_formula(replace(sample, X=X))[:, self.target])
        with np.errstate(all="ignore"):
            moves = np.ptp(np.array(found), axis=0)
        moves = moves[np.isfinite(moves)]
        span = float(np.ptp(self.y)) or 1.0
        return float(np.median(moves)) / span if len(moves) else 0.0

    def _set(self, X: Array, variable: Variable, values: Array) -> None:
        """Put a variable at `values`; other proportions keep their ratios."""
        i = self.index[variable.symbol]
        if variable.role == "proportion":
            others = [k for k, v in enumerate(self.table.variables) if v.role == "proportion" and k != i]
            rest = X[:, others].sum(axis=1)
            even = np.full((len(X), len(others)), 1.0 / max(len(others), 1))
            ratio = np.divide(X[:, others], rest[:, None], out=even, where=rest[:, None] > 0)
            X[:, others] = ratio * (1.0 - values)[:, None]
        X[:, i] = values

    def _grid(self, axis: Variable) -> tuple[Array, tuple[float, float] | None]:
        """Return the positions of the lines, past the data on the axis that is extrapolated, and where that begins."""
        x = self.all.column(axis.symbol)
        inside = x[self.is_training]
        low, high = float(x.min()), float(x.max())
        logarithmic = is_logarithmic(axis, x)
        beyond = None
        if axis.symbol == self.main.symbol:
            z = np.log(x) if logarithmic else x
            margin = 0.04 * float(np.ptp(z))
            above, below = high > inside.max(), low < inside.min()
            if above:
                high = float(np.exp(z.max() + margin)) if logarithmic else high + margin
                beyond = (float(inside.max()), high)
            elif below:
                low = float(np.exp(z.min() - margin)) if logarithmic else low - margin
                beyond = (low, float(inside.min()))
            elif axis.role == "scale" or (axis.extrapolate and low > 0):
                far = 10.0 if axis.role == "scale" else 3.0
                beyond = (high, high + axis.units_per_decade if axis.log else high * far)
                high = beyond[1]
        if axis.role == "proportion":
            low, high = max(low, 0.0), min(high, 1.0)
        grid = np.geomspace(low, high, _GRID) if logarithmic else np.linspace(low, high, _GRID)
        return grid, beyond

    # --- what tells the lines apart

    def _plans(self, axis: Variable) -> tuple[str, list[_Plan]]:
        everything = np.arange(self.all.n_rows)
        grouped = len(self.all.groups) > 1 and self.law.grouped
        if grouped and (axis.symbol == self.main.symbol or axis.role == "proportion"):
            return (self.law.group_column or "group"), self._by_group()
        rows, group = everything, self.all.groups[0] if self.law.grouped else ALL_ROWS
        if grouped:
            counts = np.bincount(self.all.group_index)
            rows, group = self._rows_of(int(counts.argmax())), self.all.groups[int(counts.argmax())]
            self.notes.append(f"{self.law.group_column or 'group'}: {group}, one of {len(self.all.groups)}")
        if axis.symbol != self.main.symbol and self.main.symbol in self._symbols():
            return self._by_rung(self.main, rows, group, with_beyond=axis.role == "hyperparameter")
        second = self._second(axis)
        if second is None:
            return "", [_Plan("", rows, group)]
        if products := self._by_product(axis, second, rows, group):
            return f"{axis.symbol} × {second.symbol}", products
        return self._by_rung(second, rows, group)

    def _rows_of(self, group: int) -> Rows:
        return np.flatnonzero(self.all.group_index == group)

    def _by_group(self) -> list[_Plan]:
        counts = np.bincount(self.all.group_index, minlength=len(self.all.groups))
        height = {g: float(np.median(self.y[self._rows_of(g)])) for g in np.flatnonzero(counts).tolist()}
        groups = [(g, self._rows_of(g)) for g in sorted(height, key=lambda g: height[g])]
        shown = {groups[k][0] for k in _spread_out(len(groups), MAX_LINES)}
        plans = [_Plan(self.all.groups[g], rows, self.all.groups[g], faint=g not in shown) for g, rows in groups]
        if len(groups) > MAX_LINES:
            faint = "the others are thin" if len(groups) <= _MOST_FAINT else "the others are not shown"
            self.notes.append(f"{MAX_LINES} of {len(groups)} groups have markers, {faint}")
            if len(groups) > _MOST_FAINT:
                plans = [p for p in plans if not p.faint]
        return plans

    def _second(self, axis: Variable) -> Variable | None:
        others = [v for v in self.table.variables if v.symbol in self._symbols() and v.symbol != axis.symbol]
        others = [v for v in others if v.role != "proportion"]
        return max(others, key=lambda v: (v.role == "scale", self._effect(v)), default=None)

    def _by_product(self, axis: Variable, second: Variable, rows: Rows, group: str) -> list[_Plan]:
        """Return lines of equal compute, if the rows were laid out along such lines."""
        if axis.role != "scale" or second.role != "scale" or axis.log or second.log:
            return []
        product = np.log(self.all.column(axis.symbol)[rows]) + np.log(self.all.column(second.symbol)[rows])
        level = levels(product, _TIGHT, 40)
        other = level_of_rows(self.all.take(rows), second, 10_000)
        n = int(level.max()) + 1
        wide = max(float(np.ptp(product[level == k])) for k in range(n))
        # a grid in both variables has few levels of each and many products
        if n < 2 or wide > 3 * _TIGHT or n * 3 > int(other.max()) + 1:
            return []
        plans = []
        for k in _spread_out(n, MAX_LINES):
            value = float(np.exp(np.median(product[level == k])))
            plans.append(_Plan(magnitude(value), rows[level == k], group, product=value))
        return plans

    def _by_rung(self, by: Variable, rows: Rows, group: str, *, with_beyond: bool = False) -> tuple[str, list[_Plan]]:
        some = self.all.take(rows)
        x = some.column(by.symbol)
        z, same = position(some, by)
        level = levels(z, same, 40)
        tight = all(float(np.ptp(z[level == k])) <= max(same, 1e-12) * 1.5 for k in range(int(level.max()) + 1))
        if not tight:
            level = levels(z, same, MAX_LINES)
        n_held_out = np.bincount(level[~self.is_training[rows]], minlength=int(level.max()) + 1)
        chosen = _spread_out(
            int(level.max()) + 1, MAX_LINES, wanted=int(n_held_out.argmax()) if n_held_out.any() else 0
        )
        if len(chosen) <= int(level.max()):
            self.notes.append(f"{len(chosen)} of {int(level.max()) + 1} rungs of {by.symbol} are shown")
        plans = [_Plan(magnitude(_middle(x[level == k])), rows[level == k], group) for k in chosen]
        if with_beyond and bool(self.is_training.all()) and not by.log and by.role == "scale":
            value = 10 * float(x.max())
            at = ((self.index[by.symbol], value),)
            plans.append(_Plan(f"{magnitude(value)} (10 × the data)", plans[-1].rows, group, moved=at))
        return by.symbol, plans

    # --- lines

    def _line(self, axis: Variable, plan: _Plan, grid: Array) -> Line:
        middle = np.array([_middle(column[plan.rows]) for column in self.all.X.T])
        shares = [i for i, v in enumerate(self.table.variables) if v.role == "proportion"]
        if shares and middle[shares].sum() > 0:
            middle[shares] /= middle[shares].sum()
        for i, value in plan.moved:
            middle[i] = value
        rows = np.array([], dtype=np.intp) if plan.moved or plan.faint else plan.rows
        training = rows[self.is_training[rows]]
        held_out = rows[~self.is_training[rows]]
        x = self.all.column(axis.symbol)
        points = self._points(axis, plan, middle, grid)
        known = plan.rows[self.is_training[plan.rows]]
        return Line(
            label=plan.label,
            points=points,
            x=grid,
            y=self.law.by_formula(points)[:, self.target],
            measured=np.array([x[training], self._values(axis, plan, middle, training)]),
            held_out=np.array([x[held_out], self._values(axis, plan, middle, held_out)]),
            known=(float(x[known].min()), float(x[known].max())) if len(known) and not plan.moved else None,
            faint=plan.faint,
        )

    def _points(self, axis: Variable, plan: _Plan, middle: Array, x: Array) -> Table:
        X = np.tile(middle, (len(x), 1))
        if plan.product is not None:
            second = self._second(axis)
            assert second is not None
            X[:, self.index[second.symbol]] = plan.product / x
        self._set(X, axis, x)
        return Table(
            self.table.variables, (), X, np.empty((len(x), 0)), (plan.group,), group_column=self.law.group_column
        )

    def _values(self, axis: Variable, plan: _Plan, middle: Array, rows: Rows) -> Array:
        """Return the measured values, moved along the law to the line."""
        if not len(rows):
            return np.empty(0)
        y, own = self.y[rows], self.fitted[rows]
        line = self.law.by_formula(self._points(axis, plan, middle, self.all.column(axis.symbol)[rows]))[:, self.target]
        with np.errstate(all="ignore"):
            ratios = bool((y > 0).all() and (own > 0).all() and (line > 0).all())
            moved: Array = y * (line / own) if ratios else y + (line - own)
        moved = np.where(np.isfinite(moved), moved, y)
        if float(np.median(np.abs(moved - y))) > 0.01 * float(np.ptp(self.y)):
            self.moved = True
        return moved


def is_logarithmic(variable: Variable, values: Array) -> bool:
    """Tell whether an axis should be logarithmic: a scale, or anything positive over a wide range."""
    if variable.log is not None or variable.role == "proportion" or not (values > 0).all():
        return False
    return bool(values.max() >= (2 if variable.role == "scale" else 8) * values.min())


def _middle(values: Array) -> float:
    """Return the lower median: a value that occurs."""
    return float(np.sort(values)[(len(values) - 1) // 2])


def _spread_out(n: int, most: int, wanted: int = 0) -> Sequence[int]:
    """Return at most `most` of 0 .. n - 1, evenly spread, with both ends and `wanted` among them."""
    if n <= most:
        return range(n)
    spread = [round(k * (n - 1) / (most - 1)) for k in range(most)]
    if wanted not in spread:
        nearest = min(spread[1:-1], key=lambda k: abs(k - wanted))
        spread[spread.index(nearest)] = wanted
    return sorted(set(spread))
