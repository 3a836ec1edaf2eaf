"""Whether a law has a finite value, without pole, cusp or spike, wherever a run of positive size may lie.

The folds judge a law at the runs that there are. Between their rungs, and for a run that is smaller in one variable
and larger in another, nothing holds it: a shift K < 0 ends the domain at the smallest run, `1/(1 - K/n)` has a pole
between two rungs, a bump narrower than their spacing fits a single point. None of these is a law.

What is checked, for the constants of every group over the data of all groups:

* *a value*: what stands under powers, logarithms and fraction lines keeps its sign from a millionth of the smallest to
  1000 times the largest value of every scale variable, all combinations. (Nobody runs a millionth of the smallest run;
  a strict zero would also refuse `log(N)**-a`, which has a pole at one parameter.)
* *finite*: from a tenth of the smallest to 1000 times the largest, all combinations.
* *no explosion*: a decade below the smallest run of a group the law has not left its data by 100,000 times their range,
  as a power of -30 does that was made for a step between two rungs.
* *no spike*: between two neighbouring rungs a law may leave the values that it has there by no more than its own
  changes over the neighbouring gaps allow, and where it turns at a rung it must not have turned back long before the
  next one.

Other variables than scales are checked within their data and a little beyond.

It has to be cheap, since each candidate comes here: intervals (`formula/domain.py`) prove most forms harmless, and only
the others are evaluated on a grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from sld.core.arrays import Array, Mask, Rows
from sld.core.numbers import short
from sld.data.table import Table
from sld.formula.domain import Interval, domain_bounds, is_even, is_whole, ranges
from sld.formula.expression import Expression, Node
from sld.search.candidates.rejection import Rejection
from sld.search.judging.admissible import ordered_pairs, values_at

_DEFINED = 6.0  # decades below the smallest value in which a law must have a value
_BELOW, _ABOVE = 1.0, 3.0  # decades below and above the data in which it must be finite
_SLIGHTLY = 0.05  # of the range: how far beyond the data what is no scale is checked
_BETWEEN = np.array((0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99))  # of the way from rung to rung
_QUARTERS = (2, 4)  # of these, one quarter and three quarters
_FINEST = 1 / 16  # of the range of the data: closer rungs count as one
_SEGMENTS = 300  # from rung to rung that are looked at: each candidate is, so that few walks are taken in a large table
_CORNERS = 4  # scale variables whose combinations of extremes are all tried
# A smooth optimum half-way between rungs leaves their values by an eighth of the change over the next gap, a corner
# |x - m| by half of it, anything sharper by more.
_SHARP = 0.5
# ranges of the target that a wiggle may have in any case, in the data and beyond them
_SLACK, _SLACK_BEYOND = 0.02, 0.1
_TURNED_BACK = 0.5  # share of the way down that is done a quarter of the way to the next rung; 0.06 for a parabola
EXPLOSION = 1e5  # ranges of the target, a decade below the smallest run: no published exponent comes near 5
_ROOT_STEPS = 40  # half of them halve the interval


@dataclass(frozen=True)
class _Axis:
    """How one variable is walked: by its logarithm, or as it is."""

    logs: bool
    scale: bool
    decade: float
    low: float
    high: float

    @staticmethod
    def of(table: Table, i: int) -> _Axis:
        variable, x = table.variables[i], table.X[:, i]
        logs = variable.log is None and variable.role != "proportion" and bool((x > 0).all())
        t = np.log(x) if logs else x
        decade = variable.units_per_decade
        scale = variable.role == "scale" and (logs or variable.log is not None)
        return _Axis(logs, scale, decade, float(t.min()), float(t.max()))

    def coordinate(self, x: Array) -> Array:
        return np.log(x) if self.logs else x

    def back(self, t: Array) -> Array:
        return np.exp(np.clip(t, -690.0, 690.0)) if self.logs else t

    def box(self, below: float, above: float) -> Interval:
        """Return the smallest and the largest value to be looked at, so many decades beyond the data."""
        slightly = _SLIGHTLY * (self.high - self.low)
        low = self.low - (below * self.decade if self.scale else slightly)
        if not self.logs and self.low >= 0.0 and not self.scale:
            low = max(low, 0.0)  # what is never negative in the data has no value there
        high = self.high + (above * self.decade if self.scale else slightly)
        ends = self.back(np.array([low, high]))
        return float(ends[0]), float(ends[1])


class Domain:
    """The checks of laws on one table."""

    def __init__(self, table: Table) -> None:
        """Lay out the points: along every variable from some rows of each group, and the corners of the data."""
        self.table = table
        self.axes = [_Axis.of(table, i) for i in range(len(table.variables))]
        self.positive = frozenset(
            v.symbol for i, v in enumerate(table.variables) if v.log is None and bool((table.X[:, i] >= 0).all())
        )
        self._ordered = ordered_pairs(table)
        self.box = {s: self._box(i, a, _DEFINED) for i, (s, a) in enumerate(zip(table.symbols, self.axes, strict=True))}
        self.columns: Mapping[str, Array] = {}  # the points, laid out when they are first needed
        self.group_index: Rows = np.zeros(0, dtype=np.intp)
        self._laid_out = False
        spread = np.ptp(table.Y, axis=0)
        own = [np.ptp(table.Y[table.group_index == g], axis=0) for g in range(len(table.groups))]
        self.spread = np.maximum(np.array(own), 0.05 * spread)  # (n_groups, n_targets)
        self.middle = np.array([table.Y[table.group_index == g].mean(axis=0) for g in range(len(table.groups))])
        self._below, self._below_index = self._a_decade_below()

    def bounds(self, expression: Expression) -> dict[str, tuple[float, float]]:
        """Return the bounds of constants that keep the formula defined, see `domain_bounds`."""
        return domain_bounds(expression, self.positive)

    def refusal(
        self, expression: Expression, constants: Sequence[Mapping[str, float]], target: int
    ) -> Rejection | None:
        """Return why a law is none; None where nothing is wrong.

        Args:
            expression: The formula.
            constants: By group, in the table's order.
            target: Number of the target, for what is a large change.
        """
        if self._explodes(expression, constants, target):
            return Rejection.EXPLODES
        names = expression.constants
        box = self.box | {c: _ends([of[c] for of in constants]) for c in names}
        known = ranges(expression.tree, box)
        sharp = [n for n in expression.tree.walk() if _may_be_sharp(n, expression.variables)]
        if known.proven and not sharp:
            return None
        self._lay_out()
        for node in known.unsure:
            if not self._keeps_sign(node, expression, constants):
                return Rejection.NO_VALUE
        values = values_at(expression, constants, self.columns, self.group_index)
        if not np.isfinite(values[: self._n_finite]).all():
            return Rejection.NOT_FINITE
        return Rejection.SPIKE if sharp and self._spike(expression, constants, values, sharp, target) else None

    def _explodes(self, expression: Expression, constants: Sequence[Mapping[str, float]], target: int) -> bool:
        if not len(self._below_index):
            return False
        values = values_at(expression, constants, self._below, self._below_index)
        away = np.abs(values - self.middle[self._below_index, target])
        return bool((away > EXPLOSION * self.spread[self._below_index, target]).any())

    def gap(self, expression: Expression, constants: Sequence[Mapping[str, float]]) -> str:
        """Return in one line where a law has no finite value, or a pole; empty where it has one everywhere.

        Args:
            expression: The formula.
            constants: By group, in the table's order.
        """
        box = self.box | {c: _ends([of[c] for of in constants]) for c in expression.constants}
        known = ranges(expression.tree, box)
        if known.proven:
            return ""
        self._lay_out()
        with np.errstate(all="ignore"):
            for node in known.unsure:
                argument, wrong = self._wrong_sign(node, expression, constants)
                if wrong.any():
                    of = Expression(argument, expression.variables)
                    what = "a pole at" if node.op == "/" else "no value beyond"
                    return f"{what} {self._place(wrong, of, expression, constants)}"
            wrong = ~np.isfinite(values_at(expression, constants, self.columns, self.group_index))
            wrong[self._n_finite :] = False
            return f"no finite value beyond {self._place(wrong, None, expression, constants)}" if wrong.any() else ""

    def _place(
        self,
        wrong: Mask,
        part: Expression | None,
        expression: Expression,
        constants: Sequence[Mapping[str, float]],
    ) -> str:
        """Return in words where it goes wrong on the way from a row to the point next to the data among the wrong ones.

        Where a part is named, that is where it changes its sign; else where the formula stops being finite.
        """
        t = [axis.coordinate(self.columns[s]) for axis, s in zip(self.axes, self.table.symbols, strict=True)]
        away = [
            np.maximum(0.0, np.maximum(a.low - x, x - a.high)) / a.decade for a, x in zip(self.axes, t, strict=True)
        ]
        bad = int(np.argmin(np.where(wrong, np.sum(away, axis=0), np.inf)))
        group = self.group_index[[bad]]
        rows = np.flatnonzero(self.table.group_index == group[0])
        if part is not None:  # one on the other side
            own = self._by_symbol(self.table.X[rows])
            signs = np.sign(values_at(part, constants, own, np.repeat(group, len(rows))))
            there = np.sign(values_at(part, constants, {s: c[[bad]] for s, c in self.columns.items()}, group))
            rows = rows[signs != there] if (signs != there).any() else rows
        row = int(rows[0])
        start = [float(axis.coordinate(self.table.X[[row], i])[0]) for i, axis in enumerate(self.axes)]

        def at(share: float) -> tuple[dict[str, Array], float]:
            X = [a.back(np.array([x + share * (y[bad] - x)])) for a, x, y in zip(self.axes, start, t, strict=True)]
            columns = dict(zip(self.table.symbols, X, strict=True))
            return columns, float(values_at(part or expression, constants, columns, group)[0])

        low, high, first = 0.0, 1.0, at(0.0)[1]
        for _ in range(50):
            middle = (low + high) / 2
            value = at(middle)[1]
            sound = np.isfinite(value) if part is None else np.sign(value) == np.sign(first)
            low, high = (middle, high) if sound else (low, middle)
        columns = at(high)[0]
        where = ", ".join(f"{s} = {short(columns[s][0])}" for s in expression.used_variables)
        return where + (f" (group {self.table.groups[group[0]]})" if len(self.table.groups) > 1 else "")

    # --- signs

    def _keeps_sign(self, node: Node, expression: Expression, constants: Sequence[Mapping[str, float]]) -> bool:
        """Whether what stands under a power, a logarithm or a fraction line keeps the sign that it needs."""
        return not bool(self._wrong_sign(node, expression, constants)[1].any())

    def _wrong_sign(
        self, node: Node, expression: Expression, constants: Sequence[Mapping[str, float]]
    ) -> tuple[Node, Mask]:
        """Return what has to keep its sign, and at which points it has the wrong one, or zero.

        Where either sign will do, of the points of a group those with the rarer one are wrong.
        """

        def values(part: Node) -> Array:
            of = Expression(part, expression.variables)
            return values_at(of, constants, self.columns, self.group_index)

        argument, exponent = node.args[node.op == "/"], node.args[-1]
        may_be_zero = node.op == "sqrt"
        either = node.op == "/" or (node.op == "**" and is_whole(exponent))
        if node.op == "**" and not either:
            may_be_zero = bool((values(exponent) > 0.0).all())  # zero has powers, if they are positive
        while not may_be_zero and (argument.op == "abs" or (argument.op == "**" and is_even(argument.args[1]))):
            # what is squared is never negative, and zero only where its root is
            argument, either = argument.args[0], True
        found = values(argument)
        above, below = found > 0.0, found < 0.0
        if not either:
            return argument, ~above & ~((found == 0.0) & may_be_zero)
        n = len(self.table.groups)
        ups, downs = (np.bincount(self.group_index[side], minlength=n) for side in (above, below))
        rarer = np.where((ups >= downs)[self.group_index], below, above)
        wrong: Mask = ~(above | below) | (rarer & ((ups > 0) & (downs > 0))[self.group_index])
        return argument, wrong

    # --- spikes

    def _spike(
        self,
        expression: Expression,
        constants: Sequence[Mapping[str, float]],
        values: Array,
        sharp: Sequence[Node],
        target: int,
    ) -> bool:
        if not len(self._left):
            return False
        inside = values[self._n_rungs : self._n_rungs + self._left.size * len(_BETWEEN)].reshape(-1, len(_BETWEEN))
        a, b = values[self._left], values[self._right]
        top, bottom = inside.max(axis=1), inside.min(axis=1)
        for node in sharp:
            if node.op in ("**", "abs"):
                segment, at = self._turning(node.args[0], expression, constants)
                np.maximum.at(top, segment, at)
                np.minimum.at(bottom, segment, at)
        slack = self.spread[self.group_index[self._left], target] * np.where(self._beyond, _SLACK_BEYOND, _SLACK)
        change = np.abs(b - a)
        # of the neighbouring gaps of the same walk
        before = np.where(self._follows, np.roll(change, 1), 0.0)
        after = np.where(np.roll(self._follows, -1), np.roll(change, -1), 0.0)
        allowed = np.maximum(_SHARP * np.maximum(change, np.maximum(before, after)), slack)
        if (np.maximum(top - np.maximum(a, b), np.minimum(a, b) - bottom) > allowed).any():
            return True
        # at a rung: up to it and down again, most of both within a quarter of the gap
        up, down = (a - b)[:-1], (b - a)[1:]  # from the rung to its neighbours
        early = inside[:-1, _QUARTERS[1]] - b[:-1], inside[1:, _QUARTERS[0]] - a[1:]
        turns = self._follows[1:] & (np.sign(up) == np.sign(down)) & (np.minimum(np.abs(up), np.abs(down)) > slack[1:])
        back = [e / np.where(turns, whole, 1.0) > _TURNED_BACK for e, whole in zip(early, (up, down), strict=True)]
        return bool((turns & back[0] & back[1]).any())

    def _turning(
        self, inner: Node, expression: Expression, constants: Sequence[Mapping[str, float]]
    ) -> tuple[Rows, Array]:
        """Return segments in which `inner` changes sign, and the law's value there: the tip of a bump, if it is one."""
        part = Expression(inner, expression.variables)
        n, k = self._left.size, len(_BETWEEN)
        u = values_at(part, constants, self.columns, self.group_index)
        path = np.column_stack([u[self._left], u[self._n_rungs : self._n_rungs + n * k].reshape(n, k), u[self._right]])
        at = np.concatenate([[0.0], _BETWEEN, [1.0]])
        segment, step = np.nonzero(np.sign(path[:, 1:]) * np.sign(path[:, :-1]) < 0)
        if not len(segment):
            return segment, np.empty(0)
        low, high = at[step], at[step + 1]
        f_low, f_high = path[segment, step], path[segment, step + 1]
        group = self.group_index[self._left[segment]]
        near = 1e-12 * (np.abs(f_low) + np.abs(f_high))
        for step_number in range(_ROOT_STEPS):
            # most centres are linear in the logarithm, where the first step along the chord arrives
            share = f_low / (f_low - f_high) if step_number % 2 == 0 else 0.5
            middle = low + (high - low) * share
            f = values_at(part, constants, self._points(segment, middle), group)
            if (np.abs(f) <= near).all():
                break
            same = np.sign(f) == np.sign(f_low)
            low, f_low = np.where(same, middle, low), np.where(same, f, f_low)
            high, f_high = np.where(same, high, middle), np.where(same, f_high, f)
        found = values_at(expression, constants, self._points(segment, middle), group)
        known = np.isfinite(found)
        return segment[known], found[known]

    def _points(self, segment: Rows, share: Array) -> dict[str, Array]:
        """Return the points a share of the way along some segments."""
        X = self._X[self._left[segment]].copy()
        for i in np.unique(self._moved[segment]):
            mine = self._moved[segment] == i
            axis = self.axes[i]
            a, b = (axis.coordinate(self._X[side[segment[mine]], i]) for side in (self._left, self._right))
            X[mine, i] = axis.back(a + share[mine] * (b - a))
        return self._by_symbol(X)

    # --- points

    def _box(self, i: int, axis: _Axis, below: float) -> Interval:
        low, high = axis.box(below, _ABOVE)
        if self.table.variables[i].role == "proportion":
            return float(self.table.X[:, i].min()), float(self.table.X[:, i].max())
        return low, high

    def _by_symbol(self, X: Array) -> dict[str, Array]:
        for i, k in self._ordered:
            X[:, i] = np.minimum(X[:, i], X[:, k])
        return {s: np.ascontiguousarray(X[:, i]) for i, s in enumerate(self.table.symbols)}

    def _lay_out(self) -> None:
        """Make the points, once: rungs of all walks, points between them, corners, and what must only have a value."""
        if self._laid_out:
            return
        self._laid_out = True
        table = self.table
        walks = self._walks()
        rungs = [x for _, _, x in walks]
        self._n_rungs = sum(len(x) for x in rungs)
        starts = np.cumsum([0, *(len(x) for x in rungs)])[:-1]
        left = [start + np.arange(len(x) - 1) for start, x in zip(starts, rungs, strict=True)]
        self._left: Rows = np.concatenate(left).astype(np.intp) if left else np.zeros(0, dtype=np.intp)
        self._right: Rows = self._left + 1
        self._moved = np.concatenate([np.full(len(x) - 1, i) for _, i, x in walks]) if walks else np.zeros(0, int)
        self._follows = np.concatenate([np.arange(len(x) - 1) > 0 for x in rungs]) if walks else np.zeros(0, bool)
        X = np.concatenate([self._walk(row, i, x) for row, i, x in walks]) if walks else table.X[:0]
        origin = np.concatenate([np.full(len(x), row) for row, _, x in walks]) if walks else np.zeros(0, dtype=np.intp)
        group = table.group_index[origin.astype(np.intp)]
        self._X = X
        parts, groups = [X], [group]
        if len(self._left):
            n, k = len(self._left), len(_BETWEEN)
            segment = np.repeat(np.arange(n), k)
            between = self._points(segment, np.tile(_BETWEEN, n))
            parts.append(np.column_stack([between[s] for s in table.symbols]))
            groups.append(np.repeat(group[self._left], k))
            ends = np.array([[a.low, a.high] for a in self.axes])[self._moved]
            at = np.array([
                self.axes[i].coordinate(X[[left, left + 1], i])
                for i, left in zip(self._moved, self._left, strict=True)
            ])  # fmt: skip
            self._beyond = (at[:, 1] > ends[:, 1] + 1e-9) | (at[:, 0] < ends[:, 0] - 1e-9)
        for below in (_BELOW, _DEFINED):
            if below == _DEFINED:
                self._n_finite = sum(len(part) for part in parts)
            corners, of = self._corners(below)
            parts.append(corners)
            groups.append(of)
        self.columns = self._by_symbol(np.concatenate(parts))
        self.group_index = np.concatenate(groups).astype(np.intp)

    def _walks(self) -> list[tuple[int, int, Array]]:
        """Return (row, variable, its coordinates at the rungs of the row's group and beyond) for every walk."""
        table = self.table
        chains = []
        for g in range(len(table.groups)):
            rows = np.flatnonzero(table.group_index == g)
            for i, variable in enumerate(table.variables):
                if variable.role != "proportion":
                    chains.append((rows, i, self._chain(rows, i)))
        total = sum(len(x) for _, _, x in chains)
        per_chain = max(1, min(4, _SEGMENTS // max(total, 1)))
        walks = []
        for rows, i, x in chains:
            if len(x) < 2:
                continue
            others = np.delete(table.X[rows], i, axis=1)
            _, first = np.unique(others, axis=0, return_index=True)
            spread = first[np.unique(np.linspace(len(first) - 1, 0, min(per_chain, len(first))).astype(int))]
            walks += [(int(rows[k]), i, x) for k in spread]
        return walks

    def _chain(self, rows: Rows, i: int) -> Array:
        """Return the coordinates of the rungs of a group in one variable, and of steps beyond them to the ends."""
        axis = self.axes[i]
        own = np.unique(axis.coordinate(self.table.X[rows, i]))
        finest = _FINEST * max(axis.high - axis.low, 1e-12)
        rungs = [own[0]]
        for t in own[1:]:
            if t - rungs[-1] >= finest:
                rungs.append(t)
        low, high = axis.coordinate(np.array(axis.box(_BELOW, _ABOVE))).tolist()
        step = axis.decade if axis.scale else max(high - low, 1e-12)
        down = np.arange(rungs[0] - step, low, -step)[::-1] if axis.scale else np.empty(0)
        up = np.arange(rungs[-1] + step, high, step) if axis.scale else np.empty(0)
        return np.unique(np.concatenate([[low], down, rungs, up, [high]]))

    def _walk(self, row: int, i: int, coordinates: Array) -> Array:
        X = np.tile(self.table.X[row], (len(coordinates), 1))
        X[:, i] = self.axes[i].back(coordinates)
        return X

    def _a_decade_below(self) -> tuple[dict[str, Array], Rows]:
        """Return the smallest run of each group in each scale variable, a decade smaller in that one, and its group."""
        points, of = [], []
        for g in range(len(self.table.groups)):
            rows = np.flatnonzero(self.table.group_index == g)
            for i, axis in enumerate(self.axes):
                if axis.scale:
                    x = self.table.X[rows[np.argmin(self.table.X[rows, i])]].copy()
                    x[i] = axis.back(axis.coordinate(x[[i]]) - _BELOW * axis.decade)[0]
                    points.append(x)
                    of.append(g)
        X = np.array(points).reshape(-1, len(self.axes))
        return {s: np.ascontiguousarray(X[:, i]) for i, s in enumerate(self.table.symbols)}, np.array(of, dtype=np.intp)

    def _corners(self, below: float) -> tuple[Array, Rows]:
        """Return the extremes of all scale variables in all combinations, and their middle, for every group."""
        table = self.table
        moving = [i for i, a in enumerate(self.axes) if a.scale][:_CORNERS]
        ends = [
            (*axis.box(below, _ABOVE), float(axis.back(np.array((axis.low + axis.high) / 2)))) for axis in self.axes
        ]
        combinations = list(product(*([0, 1, 2] if len(moving) < _CORNERS else [0, 1] for _ in moving)))
        parts, of = [], []
        for g in range(len(table.groups)):
            rows = np.flatnonzero(table.group_index == g)
            X = np.tile(table.X[rows[len(rows) // 2]], (len(combinations), 1))
            for column, i in enumerate(moving):
                X[:, i] = [ends[i][combination[column]] for combination in combinations]
            parts.append(X)
            of.append(np.full(len(X), g))
        return np.concatenate(parts), np.concatenate(of)


def _ends(values: Sequence[float]) -> Interval:
    return min(values), max(values)


def _may_be_sharp(node: Node, variables: Sequence[str]) -> bool:
    """Whether a node can turn a curve around, or bend it, within less than the spacing of rungs."""
    if node.names.isdisjoint(variables):
        return False
    if node.op == "**":
        return is_even(node.args[1]) and node.args[0].op not in ("name", "log")
    if node.op == "exp":
        return any(n.op in ("**", "exp", "sigmoid", "tanh") for n in node.args[0].walk())
    return node.op in ("abs", "sigmoid", "tanh", "min", "max")
