"""Physical checks on the extrapolation grid: a law that explodes a decade beyond the data is no law.

The grid starts at rows of the table and walks far beyond it: along each scale variable by itself, and along all of
them together; in a table without scale variables away from the middle of the data, shares staying shares. On every
walk a law has to stay finite, within the declared bounds of the target, monotone where the
card declares it, and must not run away to many times the range seen in the data.

How far out a check fails matters. Within `HARD_REACH` (in units of the range of the data, on the log axis) it makes a
law inadmissible: that is where it will be used. Beyond, up to `REACH` times the data, it is reported and priced: a
power law with a negative irreducible loss can be the best description of two decades and wrong after six.

Where runs are planned (`Table.aim`), walks lead from the rows to them and a little further. All checks on the way to a
planned run have to pass, however far it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sld.core.arrays import Array, Mask, Rows
from sld.core.numbers import exact, short
from sld.data.asked import asked_points
from sld.data.axes import position, positions_of, values_at_position
from sld.data.levels import level_walks, shape_in_a_level, two_valued
from sld.data.table import Table
from sld.fit.kernel import evaluate
from sld.formula.expression import Expression

REACH = 1000.0  # how far beyond the data the walks go
HARD_REACH = 0.7  # log ranges beyond the data within which every check must pass; held-out sets reach 0.1 to 0.6
_INSIDE = (0.0, 0.35, 0.7)  # of the way from a row to the top of the data
_OUTSIDE = (1.0, 1.6, 2.5, 4.0, 6.3, 10.0, 30.0, 100.0, REACH)  # times the top
_AWAY = (0.6, 0.8, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 2.0, 2.5)  # times the distance from the middle of the data
RUNAWAY = 8.0  # ranges of the target seen in the data
_RUNAWAY_POWER = 2.0  # or, where that is more, the factor that the data span once more and again
_LARGEST_POWER = 20.0  # of a factor: beyond, no number is a runaway
# Slack in ranges of the target: noisy data near a bound, or a flat stretch, should not condemn a law
_BOUND_SLACK = 0.03
_ROUNDING = 1e-7  # but a law that keeps a bound up to rounding wherever it will be used comes before others
_MONOTONE_SLACK = 0.05  # a wiggle of a twentieth goes with noise
_ONE_WAY = 0.95  # share of all change within the data that goes one way where a law runs that way
# of the way from the nearest row to a planned run; the last ones are beyond it
_TOWARDS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 1.0, 1.05, 1.1, 1.2)
_LAST_STEPS = (0.6, 0.8, 1.0)  # of these: where the law will be used, rather than on the way
_PLANNED = 60  # runs that are walked to, evenly spread: all candidates are evaluated there
_POINTS = 3500  # of the whole grid: every candidate is evaluated on them


@dataclass(frozen=True)
class Problem:
    """A check that fails.

    Attributes:
        sentence: What is wrong and where.
        reach: Distance beyond the data at which it first goes wrong, in log ranges of the data; 0 inside.
        slight: A bound that is passed by less than noise near it may explain; a law that keeps it is preferred.
    """

    sentence: str
    reach: float
    slight: bool = False

    @property
    def hard(self) -> bool:
        """Whether it makes the law inadmissible."""
        return self.reach <= HARD_REACH and not self.slight


@dataclass(frozen=True)
class Grid:
    """Points far beyond a table, ordered in walks.

    Attributes:
        columns: Symbol to values (n_points,).
        group_index: (n_points,) group of each point.
        walk: (n_points,) number of the walk; consecutive points of one walk are one step apart.
        reach: (n_points,) distance beyond the data in log ranges of the variable that has gone farthest.
        direction: (n_walks,) index of the variable that grows along the walk, -1 for all scale variables together.
        spread: Range of each target in the data, (n_targets,), as the scale of what is large.
        centre: Mean of each target in the data, (n_targets,).
        table: The rows.
        planned: (n_points,) whether a point is a planned run, or on the last part of the way to one.
        farthest: The longest step that a planned run asks for, in ranges; 0 without any.
    """

    columns: Mapping[str, Array]
    group_index: Rows
    walk: Rows
    reach: Array
    direction: Rows
    spread: Array
    centre: Array
    table: Table
    planned: Mask = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    farthest: float = 0.0

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Variables of two values, in which a law has no shape."""
        return two_valued(self.table)

    @staticmethod
    def of(table: Table) -> Grid:
        """Build the grid of a table: from the largest rows of each group and from a few others."""
        moving = [i for i, v in enumerate(table.variables) if v.role == "scale"]
        # what is no scale is walked within the data, and only if declared; a share cannot grow alone
        inner = [i for i, v in enumerate(table.variables) if v.monotone and v.role in ("covariate", "hyperparameter")]
        sets = [[i] for i in moving] + ([moving] if len(moving) > 1 else [])
        per_walk = len(_INSIDE) + len(_OUTSIDE)
        per_row = (len(sets) + len(inner)) * per_walk
        rows = _spread_rows(table, moving or inner, max(1, _POINTS // max(per_row, 1)))
        logs = np.column_stack([_log(table, i) for i in range(len(table.variables))])
        # each group goes on from its own data: another group's may lie decades beyond
        ranges = [(logs[mine].min(axis=0), logs[mine].max(axis=0)) for mine in _group_rows(table)]
        beyond = np.log(np.array(_OUTSIDE))
        X: list[Array] = []
        walk: list[int] = []
        reach: list[float] = []
        direction: list[int] = []
        for row in rows:
            low, top = ranges[table.group_index[row]]
            extent = np.maximum(top - low, math.log(2.0))
            for which in sets:
                for k in range(per_walk):
                    x = table.X[row].copy()
                    far = 0.0
                    for i in which:
                        if k < len(_INSIDE):
                            at = logs[row, i] + (top[i] - logs[row, i]) * _INSIDE[k]
                        else:
                            at = top[i] + beyond[k - len(_INSIDE)]
                            far = max(far, (at - top[i]) / extent[i])
                        x[i] = _unlog(table, i, at)
                    X.append(x)
                    walk.append(len(direction))
                    reach.append(far)
                direction.append(which[0] if len(which) == 1 else -1)
            for i in inner:
                mine = table.X[table.group_index == table.group_index[row], i]
                for at in np.linspace(mine.min(), mine.max(), per_walk):
                    x = table.X[row].copy()
                    x[i] = at
                    X.append(x)
                    walk.append(len(direction))
                    reach.append(0.0)
                direction.append(i)
        origin = np.repeat(np.array(rows, dtype=np.intp), per_row)
        levels, along, from_rows = level_walks(table, per_walk)
        X.extend(levels)
        walk.extend((np.arange(len(levels)) // per_walk + len(direction)).tolist())
        reach.extend([0.0] * len(levels))
        direction.extend(along)
        origin = np.concatenate([origin, from_rows])
        if not moving:
            away, far_out, from_rows = walks_away(table)
            X.extend(away)
            reach.extend(far_out)
            walk.extend((np.arange(len(away)) // per_walk + len(direction)).tolist())
            direction.extend([-1] * (len(away) // per_walk))
            origin = np.concatenate([origin, from_rows])
        towards, far_out, from_rows, farthest = _walks_to_planned(table)
        planned = np.zeros(len(X) + len(towards), dtype=np.bool_)
        planned[len(X) :] = np.tile(np.isin(_TOWARDS, _LAST_STEPS), len(towards) // per_walk)
        X.extend(towards)
        reach.extend(far_out)
        walk.extend((np.arange(len(towards)) // per_walk + len(direction)).tolist())
        direction.extend([-1] * (len(towards) // per_walk))
        origin = np.concatenate([origin, from_rows])
        points = np.array(X).reshape(-1, len(table.variables))
        for i, k in ordered_pairs(table):
            points[:, i] = np.minimum(points[:, i], points[:, k])
        return Grid(
            columns={s: np.ascontiguousarray(points[:, i]) for i, s in enumerate(table.symbols)},
            group_index=table.group_index[origin],
            walk=np.array(walk, dtype=np.intp),
            reach=np.array(reach),
            direction=np.array(direction, dtype=np.intp),
            spread=np.ptp(table.Y, axis=0),
            centre=table.Y.mean(axis=0),
            table=table,
            planned=planned,
            farthest=farthest,
        )

    def predict(self, expression: Expression, constants: Sequence[Mapping[str, float]]) -> Array:
        """Return the law's values on the grid (n_points,); `constants` by group, in the table's order."""
        return values_at(expression, constants, self.columns, self.group_index)

    def problems(self, target: int, values: Array) -> tuple[Problem, ...]:
        """Return what is wrong with a law's values on the grid, nearest first; empty if every check passes."""
        if not len(values):
            return ()
        declared = self.table.targets[target]
        spread = self.spread[target] or 1.0
        found: list[Problem] = []

        def check(bad: Mask, what: str, *, slight: bool = False) -> None:
            if bad.any():
                where = np.flatnonzero(bad)
                first = int(where[np.argmin(self.reach[where])])
                point = ", ".join(f"{s} = {short(v[first])}" for s, v in self.columns.items())
                found.append(Problem(f"{what} at {point}", float(self.reach[first]), slight))

        finite = np.isfinite(values)
        check(~finite, "not finite")
        v = np.where(finite, values, self.centre[target])
        near = self.reach <= HARD_REACH
        for bound, past, what in (
            (declared.lower, (declared.lower or 0.0) - v, "falls below"),
            (declared.upper, v - (declared.upper or 0.0), "exceeds"),
        ):
            if bound is not None:
                far_past = past > _BOUND_SLACK * spread
                check(far_past, f"{what} {exact(bound)}")
                if not (far_past & near).any():
                    check((past > _ROUNDING * spread) & near, f"{what} {exact(bound)} slightly", slight=True)
        # where runs are planned many ranges beyond the data, what is a long way there is no runaway
        far = max(RUNAWAY, 2.0 * self.farthest) * spread
        lowest, highest = self.table.Y[:, target].min(), self.table.Y[:, target].max()
        above = far
        if lowest > 0:
            # what spans decades (batch sizes, allocations) grows by factors
            power = max(_RUNAWAY_POWER, 1.0 + self.farthest)
            above = max(far, highest * (highest / lowest) ** min(power, _LARGEST_POWER) - self.centre[target])
        check((v - self.centre[target] > above) | (self.centre[target] - v > far), "runs away from the data's range")
        walks = v.reshape(len(self.direction), -1)
        for i, variable in enumerate(self.table.variables):
            if variable.monotone is not None:
                # from the best value so far on the walk: many small steps the wrong way are one large one
                ahead = walks if variable.monotone == "increasing" else -walks
                fallen = np.maximum.accumulate(ahead, axis=1) - ahead
                wrong = (fallen > _MONOTONE_SLACK * spread) & (self.direction == i)[:, None]
                check(wrong.ravel(), f"not {variable.monotone} in {variable.symbol}")
            if i in self.levels:
                wrong = shape_in_a_level(walks, self.table, i, spread) & (self.direction == i)
                check(
                    np.repeat(wrong, walks.shape[1]), f"has a shape in {variable.symbol}, of which there are two values"
                )
        return tuple(sorted(found, key=lambda p: p.reach))

    def turns(self, target: int, values: Array) -> bool:
        """Return whether a law runs one way in a scale variable within the data and turns around beyond it.

        Nothing forbids it where no direction is declared, but of two forms that say the same of the data it is the odd
        one: a parabola in the logarithm beside a power law.
        """
        if not len(values):
            return False
        walks = values.reshape(len(self.direction), -1)
        begun, top = walks[:, 0], walks[:, len(_INSIDE)]
        for i, variable in enumerate(self.table.variables):
            mine = self.direction == i
            if variable.role != "scale" or variable.monotone is not None or not mine.any():
                continue
            change = (top - begun)[mine]
            way, total = np.sign(change.sum()), np.abs(change).sum()
            if not 0 < total < math.inf or np.abs(change[np.sign(change) == way]).sum() < _ONE_WAY * total:
                continue
            ahead = way * walks[mine]
            fallen = np.maximum.accumulate(ahead, axis=1) - ahead
            if (fallen > _MONOTONE_SLACK * (self.spread[target] or 1.0))[:, len(_INSIDE) :].any():
                return True
        return False


def values_at(
    expression: Expression,
    constants: Sequence[Mapping[str, float]],
    columns: Mapping[str, Array],
    group_index: Rows,
) -> Array:
    """Return a law's values (n_points,) where `columns` say (symbol to (n_points,)), with each group's constants."""
    values = {c: np.array([group[c] for group in constants])[group_index] for c in expression.constants}
    found = evaluate(expression, columns, values)
    return np.broadcast_to(found, group_index.shape)


def walks_away(table: Table) -> tuple[list[Array], list[float], Rows]:
    """Return points (n_walks * 12, n_variables) from the middle of the data through its rows, their reach and rows.

    Proportions keep their sum and stay positive.
    """
    n = min(table.n_rows, _POINTS // len(_AWAY))
    rows = np.unique(np.linspace(0, table.n_rows - 1, n).astype(np.intp))
    shares = [i for i, v in enumerate(table.variables) if v.role == "proportion"]
    points = np.empty((len(rows), len(_AWAY), len(table.variables)))
    for i, v in enumerate(table.variables):
        logs = v.role != "proportion" and v.log is None and bool((table.X[:, i] > 0).all())
        x = np.log(table.X[:, i]) if logs else table.X[:, i]
        moved = x.mean() + np.array(_AWAY) * (x[rows] - x.mean())[:, None]
        points[:, :, i] = np.exp(moved) if logs else moved
    if shares:
        total = table.X[rows][:, shares].sum(axis=1)[:, None, None]
        kept = np.maximum(points[:, :, shares], 0.0)
        points[:, :, shares] = kept * total / np.maximum(kept.sum(axis=2, keepdims=True), 1e-300)
    reach = np.tile(np.maximum(np.array(_AWAY) - 1.0, 0.0), len(rows))
    return list(points.reshape(-1, len(table.variables))), reach.tolist(), np.repeat(rows, len(_AWAY))


def _walks_to_planned(table: Table) -> tuple[list[Array], list[float], Rows, float]:
    """Return points (n_walks * 12, n_variables) from the nearest row of the group to planned runs and beyond.

    Beside them their reach, the row of each, and the longest step asked for. A point on the way to a planned run has a
    reach of `HARD_REACH` at most: whatever is asked is near enough for every check.
    """
    asked = asked_points(table)
    if asked is None:
        return [], [], np.zeros(0, dtype=np.intp), 0.0
    X, group = asked
    some = np.unique(np.linspace(0, len(X) - 1, min(_PLANNED, len(X))).astype(np.intp))
    X, group = X[some], group[some]
    z = np.column_stack([position(table, v)[0] for v in table.variables])
    there = np.column_stack([positions_of(table, v, X[:, i]) for i, v in enumerate(table.variables)])
    there = np.where(np.isfinite(there), there, z.min(axis=0))  # a zero has no logarithm
    spans = np.maximum(np.ptp(z, axis=0), 1e-12)
    share, found, reach, rows = np.array(_TOWARDS), [], [], []
    farthest = 0.0
    for k, own in ((k, np.flatnonzero(table.group_index == group[k])) for k in range(len(X))):
        row = int(own[np.argmin((((z[own] - there[k]) / spans) ** 2).sum(axis=1))])
        on_the_way = z[row] + share[:, None] * (there[k] - z[row])  # (12, n_variables)
        low, top = z[own].min(axis=0), z[own].max(axis=0)
        extent = np.where(top > low, top - low, spans)
        step = (np.maximum(np.maximum(on_the_way - top, low - on_the_way), 0.0) / extent).max(axis=1)
        farthest = max(farthest, float(step[_TOWARDS.index(1.0)]))
        reach += np.where(share <= 1.0, np.minimum(step, HARD_REACH), step).tolist()
        values = [values_at_position(table, v, on_the_way[:, i]) for i, v in enumerate(table.variables)]
        found += list(np.column_stack(values))
        rows += [row] * len(share)
    return found, reach, np.array(rows, dtype=np.intp), farthest


def ordered_pairs(table: Table) -> list[tuple[int, int]]:
    """Return pairs (i, k) of scale variables with x_i <= x_k by nature: unique tokens never exceed tokens seen.

    Nature is inferred where the bound holds in every row and is reached in one row of twenty.
    """
    scales = [i for i, v in enumerate(table.variables) if v.role == "scale" and v.log is None]
    found = []
    for i in scales:
        for k in scales:
            ratio = table.X[:, i] / table.X[:, k]
            if i != k and (ratio < 1.001).all() and (ratio > 0.99).mean() >= 0.05 and ratio.min() < 0.9:
                found.append((i, k))
    return found


def _group_rows(table: Table) -> list[Rows]:
    return [np.flatnonzero(table.group_index == g) for g in range(len(table.groups))]


def _log(table: Table, i: int) -> Array:
    x = table.X[:, i]
    variable = table.variables[i]
    if variable.log:
        return x * variable.nats_per_unit
    return np.log(np.where(x > 0, x, x[x > 0].min() if (x > 0).any() else 1.0))


def _unlog(table: Table, i: int, at: float) -> float:
    variable = table.variables[i]
    return at / variable.nats_per_unit if variable.log else math.exp(at)


def _spread_rows(table: Table, moving: Sequence[int], budget: int) -> list[int]:
    """Choose rows that represent each group: the largest one, then others spread over the group's order of size."""
    if not moving:
        return []
    size = np.zeros(table.n_rows)
    for i in moving:
        x = table.X[:, i]
        if table.variables[i].log:
            size += x * table.variables[i].nats_per_unit
        else:
            size += np.log(np.maximum(x, 1e-300))
    per_group = max(1, budget // len(table.groups))
    chosen: list[int] = []
    for rows in _group_rows(table):
        order = rows[np.argsort(size[rows], kind="stable")]
        take = np.unique(np.linspace(len(order) - 1, 0, min(per_group, len(order))).astype(int))
        chosen.extend(int(order[t]) for t in take)
    return chosen[: max(budget, len(table.groups))]
