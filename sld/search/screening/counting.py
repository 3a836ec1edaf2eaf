"""How many constants the distinct points of a table can carry and leave room to judge a formula by.

A formula with a constant for every point follows anything, and measuring a point again does not help: repeats tell
the noise, not the shape. So constants are counted against *distinct points* (rows of one group that are not on the
same level of every variable), with room to judge:

- the constants that a group has for itself are at most half of its points, rounded up, and leave two points over: a
  fold takes away one at least, and its fit has to leave one over, too; that is for the median group, and the smallest
  has one point over at least;
- those of all groups together are at most half of all points, and with the ones that groups share three fifths;
- a fold whose fit would have as many constants as distinct points says nothing: the formula is credited with what no
  formula would have predicted there, and where most folds say nothing it is not considered.

Three constants are the most for five points of one group, two for four, twelve need twenty-four. With partial pooling
the effective number counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sld.core.arrays import Array, Rows
from sld.data.axes import position
from sld.data.splits import Fold
from sld.data.table import Table
from sld.search.candidates.candidate import Candidate

_SAME = 0.015  # of a group's range along a variable: closer values are one level (see axes.py)
_SHARED_TOO = 0.6  # share of all points that own and shared constants may have together
_TIGHT = 0.25  # share of the groups that a fold judges
_OF_A_SCALE = 2  # constants that a scale variable takes beside the limit of the law: a factor and an exponent
_MOST_SCALES = 2  # a law in three scales is seldom wanted before one in two can be judged


def distinct_points(table: Table) -> Rows:
    """Return (n_rows,) numbers of the distinct points: rows of one group on one level of every variable.

    Values within 1.5 % of the group's range, and within 5 % of a logarithmic scale, are one level: tokens counted a
    little differently from seed to seed make no new point.
    """
    keys = np.empty((table.n_rows, 1 + len(table.variables)), dtype=np.intp)
    keys[:, 0] = table.group_index
    groups = [np.flatnonzero(table.group_index == g) for g in range(len(table.groups))]
    for i, variable in enumerate(table.variables):
        if not table.n_rows:
            break
        z, same = position(table, variable)
        for rows in groups:
            keys[rows, 1 + i] = _levels(z[rows], min(same, _SAME * float(np.ptp(z[rows]))) if len(rows) else 0.0)
    return np.asarray(np.unique(keys, axis=0, return_inverse=True)[1], dtype=np.intp).reshape(-1)


def points_per_group(table: Table) -> Rows:
    """Return the number of distinct points of each group (n_groups,)."""
    return _per_group(table, distinct_points(table), np.arange(table.n_rows))


def _levels(z: Array, width: float) -> Rows:
    """Number the levels of `z` from below: each takes what lies within `width` of its smallest value."""
    unique, inverse = np.unique(z, return_inverse=True)
    starts = [0] if len(unique) else []
    while starts and (after := int(np.searchsorted(unique, unique[starts[-1]] + width, side="right"))) < len(unique):
        starts.append(after)
    return np.asarray((np.searchsorted(starts, np.arange(len(unique)), side="right") - 1)[inverse], dtype=np.intp)


def _per_group(table: Table, points: Rows, rows: Rows) -> Rows:
    chosen = np.unique(np.column_stack([table.group_index[rows], points[rows]]), axis=0)
    return np.bincount(chosen[:, 0], minlength=len(table.groups))


def constants_of(candidate: Candidate, target: str) -> tuple[int, float]:
    """Return the constants that each group has for itself, and those of all groups together."""
    prior = candidate.priors.get(target)
    not_own = len(candidate.shared.get(target, ())) if prior is None else len(prior.constants)
    n_groups = max(len(candidate.constants[target]), 1)
    return len(candidate.expressions[target].constants) - not_own, candidate.effective(target) * n_groups


@dataclass(frozen=True)
class Counting:
    """The distinct points of a table and of its folds.

    Attributes:
        points: (n_groups,) distinct points.
        in_folds: For each fold (n_groups,) distinct points that it fits; 0 for a group that it does not judge.
        fitted: For each fold the distinct points that it fits, all groups together.
        n_scales: Scale variables that vary.
        n_variables: Variables that vary.
    """

    points: Rows
    in_folds: tuple[Rows, ...]
    fitted: tuple[int, ...]
    n_scales: int
    n_variables: int
    _silent: dict[tuple[float, float], tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def of(table: Table, folds: Sequence[Fold]) -> Counting:
        """Count the points of a table; the folds' row numbers are the table's."""
        points = distinct_points(table)
        in_folds, fitted = [], []
        for fold in folds:
            kept = _per_group(table, points, fold.train)
            judged = np.isin(np.arange(len(table.groups)), table.group_index[fold.test])
            in_folds.append(np.where(judged, kept, 0))
            fitted.append(int(kept.sum()))
        varying = [v for i, v in enumerate(table.variables) if table.n_rows and np.ptp(table.X[:, i]) > 0]
        return Counting(
            points=_per_group(table, points, np.arange(table.n_rows)),
            in_folds=tuple(in_folds),
            fitted=tuple(fitted),
            n_scales=sum(v.role == "scale" for v in varying),
            n_variables=len(varying),
        )

    @cached_property
    def most(self) -> int:
        """The most constants that every group can have for itself."""
        n = int(np.median(self.points))
        each = math.ceil(int(self.points.sum()) / 2) // len(self.points)
        return max(min(n - 2, math.ceil(n / 2), int(self.points.min()) - 1, max(each, 1)), 0)

    @cached_property
    def _most_in_all(self) -> float:
        return _SHARED_TOO * float(self.points.sum()) + 1e-9

    def refuses(self, own: float, total: float) -> bool:
        """Return whether a form has more constants than the points can judge.

        Args:
            own: Constants that each group has for itself.
            total: Constants of all groups together, shared ones counted once, pooled ones by their effective number.
        """
        if own > self.most or total > self._most_in_all:
            return True
        return 2 * len(self.silent_folds(own, total)) > len(self.in_folds)

    def silent_folds(self, own: float, total: float) -> tuple[int, ...]:
        """Return the folds, by number, that say nothing of such a form: they have no distinct point to spare.

        One group in four may have none, as long as its points determine its constants.
        """
        known = self._silent.get((own, total))
        if known is not None:
            return known  # every form asks, and few counts are possible
        found = []
        for k, (kept, fitted) in enumerate(zip(self.in_folds, self.fitted, strict=True)):
            judged = kept[kept > 0]
            if (judged < own).any() or (len(judged) and np.mean(judged <= own) > _TIGHT) or total >= fitted:
                found.append(k)
        self._silent[own, total] = tuple(found)
        return tuple(found)

    def judged_by_all(self, own: float, total: float) -> bool:
        """Return whether every fold says something of such a form."""
        return not self.refuses(own, total) and not self.silent_folds(own, total)

    @property
    def judged(self) -> int:
        """The most constants per group of which every fold says something."""
        n_groups = len(self.points)
        return next((k for k in range(self.most, 0, -1) if not self.silent_folds(k, k * n_groups)), 0)

    @property
    def wanted(self) -> int:
        """Distinct points per group with which every fold can judge a usual law: a limit and a term for each scale."""
        return self._needed(1 + _OF_A_SCALE * self._terms)

    @property
    def few(self) -> bool:
        """Whether points are so few that a law has to do with the fewest constants.

        Groups can share the exponents, so with many of them each needs less.
        """
        shared = 1.0 - 1.0 / len(self.points)
        return float(self.points.mean()) < self._needed(1 + (_OF_A_SCALE - shared) * self._terms)

    @property
    def _terms(self) -> int:
        return min(max(self.n_scales, 1), _MOST_SCALES)

    @staticmethod
    def _needed(constants: float) -> int:
        # a fold leaves half of the rows to fit at least, one more than there are constants
        return math.ceil(2 * (constants + 1) - 1e-9)

    @property
    def missing(self) -> str:
        """What the table lacks, in a sentence without a full stop; empty where it has points enough."""
        if not self.few:
            return ""
        low, high = int(self.points.min()), int(self.points.max())
        n = f"{low}" if low == high else f"{low} to {high}"
        per_group = " per group" if len(self.points) > 1 else ""
        enough = f"enough for {self.judged} constant{'s' * (self.judged != 1)}" if self.judged else "too few for a law"
        more = max(self.wanted - low, 1)
        what = "size" if self.n_scales == 1 and self.n_variables == 1 else "point"
        return f"{n} distinct points{per_group}: {enough}; add runs at {more} further {what}{'s' * (more != 1)}"
