"""How far planned runs lie beyond the rows: what folds, weights and checks imitate when a table has an aim.

Along an axis (a variable, or the product of scale variables) with rows of the run's group from `low` to `top`, a
planned run at `z` asks for a step of

    (z - top) / (top - low)  above the rows,   (z - low) / (top - low)  below them,   0 between.

Runs that go beyond the rows on the same sides of the same variables ask one question, a *pattern*: larger in N alone;
larger in N and smaller in D; within both but beyond their product. Each pattern has folds of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sld.core.arrays import Array, Rows
from sld.data.axes import Axis, positions_of

if TYPE_CHECKING:
    from sld.data.table import Table

NO_STEP = 0.02  # of the range: so close to the rows is no step beyond them
_FEW = 0.1  # share of the runs beyond the data: rarer patterns are not worth a fold where folds are few


@dataclass(frozen=True)
class Pattern:
    """Planned runs that go beyond the rows on the same sides.

    Attributes:
        axes: The axes that they go beyond, pointing the way they go.
        sides: "top" or "bottom" for each axis: which end of the rows lies there.
        steps: (n_axes, n_runs), all above 0.
        part: (n_runs,) number of the group of each.
    """

    axes: tuple[Axis, ...]
    sides: tuple[str, ...]
    steps: Array
    part: Rows

    def reach(self, axis: int, share: float) -> float:
        """Return the step along one of the axes that a share of the runs do not exceed."""
        return float(np.quantile(self.steps[axis], share))

    def reaches(self, axis: int, share: float) -> list[float]:
        """Return the same for each group; one that no run is asked of is like all together."""
        overall = self.reach(axis, share)
        return [
            float(np.quantile(self.steps[axis][mine], share)) if (mine := self.part == g).any() else overall
            for g in range(len(self.axes[axis].parts))
        ]


@dataclass(frozen=True)
class Asked:
    """The planned runs of a table.

    Attributes:
        axes: An axis for each variable.
        steps: (n_axes, n_runs) signed.
        cost: The product of scale variables, if there are several.
        beyond_cost: (n_runs,) signed steps along it; zeros without it.
        part: (n_runs,) number of the group of each.
    """

    axes: tuple[Axis, ...]
    steps: Array
    cost: Axis | None
    beyond_cost: Array
    part: Rows

    @property
    def beyond(self) -> Rows:
        """Numbers of the runs that lie beyond the rows in something."""
        return np.flatnonzero((self.steps != 0).any(axis=0) | (self.beyond_cost > 0))

    def patterns(self) -> list[Pattern]:
        """Return the questions, that of most runs first; none where all runs lie within the rows."""
        sides = np.sign(self.steps).T.astype(int)  # (n_runs, n_axes)
        found: dict[tuple[int, ...], list[int]] = {}
        for k in self.beyond.tolist():
            found.setdefault(tuple(sides[k].tolist()), []).append(k)
        total = max(sum(map(len, found.values())), 1)
        ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
        return [self._pattern(which, runs) for which, runs in ordered if len(runs) >= _FEW * total]

    def _pattern(self, which: Sequence[int], runs: Sequence[int]) -> Pattern:
        moved = [i for i, side in enumerate(which) if side]
        if not moved:
            assert self.cost is not None
            return Pattern((self.cost,), ("top",), self.beyond_cost[None, runs], self.part[runs])
        axes = tuple(self.axes[i] if which[i] > 0 else self.axes[i].flipped() for i in moved)
        sides = tuple("top" if which[i] > 0 else "bottom" for i in moved)
        return Pattern(axes, sides, np.abs(self.steps[np.ix_(moved, runs)]), self.part[runs])

    def nearness(self) -> Array | None:
        """Return how near each row (n_rows,) is to the planned runs: 1 on the side that they lie on, 0 on the other.

        The mean over the axes, the cost among them, of the position between the ends of the group, each weighed by how
        far the runs go beyond that end. None where they lie within the rows.
        """
        axes, steps = self.axes, self.steps
        if self.cost is not None:
            axes, steps = (*axes, self.cost), np.vstack([steps, self.beyond_cost])
        up, down = np.maximum(steps, 0.0).mean(axis=1), np.maximum(-steps, 0.0).mean(axis=1)
        total = float(up.sum() + down.sum())
        if not total > 0:
            return None
        heights = np.array([axis.height() for axis in axes])
        nearness: Array = (up @ heights + down @ (1.0 - heights)) / total
        return nearness


def asked_of(table: Table, axes: Mapping[str, Axis], cost: Axis | None, costly: Sequence[str]) -> Asked | None:
    """Return the planned runs of a table; None where it has none.

    Runs of groups that the table does not have are left out.

    Args:
        table: The rows, with their aim.
        axes: Symbol to axis of every variable.
        cost: The axis of a product, if there is one.
        costly: Symbols of its variables.
    """
    points = asked_points(table)
    if points is None or not axes:
        return None
    X, part = points
    z = {v.symbol: positions_of(table, v, X[:, i]) for i, v in enumerate(table.variables)}

    def steps(axis: Axis, at: Array) -> Array:
        found = np.nan_to_num(axis.beyond(at, part))
        return np.where(np.abs(found) > NO_STEP, found, 0.0)

    along = np.array([steps(axis, z[symbol]) for symbol, axis in axes.items()])
    total: Array = np.sum([z[symbol] for symbol in costly], axis=0) if cost is not None else np.zeros(len(X))
    beyond_cost = np.zeros(len(X)) if cost is None else np.maximum(steps(cost, total), 0.0)
    return Asked(tuple(axes.values()), along, cost, beyond_cost, part)


def asked_points(table: Table) -> tuple[Array, Rows] | None:
    """Return (n_runs, n_variables) values of the planned runs and the number of each one's group; None without any."""
    if table.aim is None:
        return None
    aim, number = table.aim, {g: k for k, g in enumerate(table.groups)}
    part = np.array([number.get(g, -1) for g in aim.groups], dtype=np.intp)[aim.group_index]
    known = part >= 0
    if not known.any():
        return None
    X = np.column_stack([aim.column(v.symbol) for v in table.variables])
    return np.ascontiguousarray(X[known]), part[known]
