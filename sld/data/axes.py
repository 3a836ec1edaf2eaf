"""Directions in which the rows of a table can be ordered, and the rungs along them, group by group."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sld.core.arrays import Array as Array
from sld.core.arrays import Mask as Mask
from sld.core.arrays import Rows as Rows

if TYPE_CHECKING:
    from sld.data.card import Variable
    from sld.data.table import Table


_SAME_LEVEL = 0.015  # of the spread: "535.8M" and "538.2M" parameters are one level of N
_LEAST_BELOW_CUT = 0.5  # share of a group's rows


@dataclass(frozen=True)
class Part:
    """The rows of one group along one axis, sorted into levels."""

    rows: Rows
    level: Rows  # (n_rows,) of the group, 0 for the lowest
    low: Array  # (n_levels,)
    high: Array
    count: Rows

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest position."""
        return float(self.low[0]), float(self.high[-1])

    @cached_property
    def reach(self) -> Array:
        """Reach of the step onto the top k levels, for k = 1 to n_levels - 1."""
        cut = self.high[-2::-1]
        span = cut - self.low[0]
        # one level left to train on: any step from it reaches infinitely far
        reach: Array = np.divide(self.high[-1] - cut, span, out=np.full_like(span, np.inf), where=span > 0)
        return reach

    @cached_property
    def kept(self) -> Array:
        """Share of the rows below the top k levels, for k = 1 to n_levels - 1."""
        kept: Array = 1.0 - np.cumsum(self.count[::-1])[:-1] / self.count.sum()
        return kept

    @cached_property
    def blur(self) -> Array:
        """How little of a step is a jump: 0 onto a single level, near 1 for a cut through the middle of a cluster."""
        cut = self.high[-2::-1]
        blur: Array = 1.0 - (self.low[:0:-1] - cut) / (self.high[-1] - cut)
        return blur

    def cuts(self, least: int, strict: bool) -> Rows:
        """Return the numbers k of top levels that leave enough below, ascending."""
        # with few levels, keeping three would leave nothing to judge on
        n_train = least if strict else max(min(least, len(self.count) - 1), min(least, 2))
        k = np.arange(1, len(self.count) - n_train + 1)
        return k[self.kept[: len(k)] >= _LEAST_BELOW_CUT - 1e-9]


@dataclass(frozen=True)
class Axis:
    """One direction in which rows can be ordered: a variable, or a product of variables."""

    label: str
    n_rows: int
    parts: tuple[Part, ...]

    @property
    def varies(self) -> bool:
        """Whether some group has more than one level."""
        return any(len(part.count) > 1 for part in self.parts)

    def height(self) -> Array:
        """Return where each row (n_rows,) lies between the lowest (0) and the highest level (1) of its group."""
        height = np.zeros(self.n_rows)
        for part in self.parts:
            middle = (part.low + part.high) / 2
            span = middle[-1] - middle[0]
            if span > 0:
                height[part.rows] = ((middle - middle[0]) / span)[part.level]
        return height

    def flipped(self) -> Axis:
        """Return the axis pointing down."""
        parts = (
            Part(p.rows, len(p.count) - 1 - p.level, -p.high[::-1], -p.low[::-1], p.count[::-1]) for p in self.parts
        )
        return replace(self, parts=tuple(parts))

    def without(self, rows: Mask) -> Axis:
        """Return the axis without `rows`, which are whole top levels."""
        parts = []
        for p in self.parts:
            left = ~rows[p.rows]
            n = int(p.level[left].max()) + 1 if left.any() else 0
            if n:
                parts.append(Part(p.rows[left], p.level[left], p.low[:n], p.high[:n], p.count[:n]))
        return replace(self, parts=tuple(parts))

    def beyond(self, z: Array, part_index: Rows) -> Array:
        """Return how far positions lie beyond the rows of their group, in ranges of these rows.

        Args:
            z: (n_points,) positions on this axis.
            part_index: (n_points,) number of the part of each.

        Returns:
            (n_points,): above 0 beyond the top, below 0 beyond the bottom, 0 between. Where a group has one level only,
            the range is the widest of any group.
        """
        low, top = np.array([part.ends for part in self.parts])[part_index].T
        widest = max(p.ends[1] - p.ends[0] for p in self.parts) or 1.0
        span = np.where(top > low, top - low, widest)
        steps: Array = (np.maximum(z - top, 0.0) - np.maximum(low - z, 0.0)) / span
        return steps

    def top(self, reach: float | Sequence[float], *, least: int, need: int, strict: bool = False) -> tuple[Mask, str]:
        """Return the rows of the top levels of each group, cut where the step onto them comes nearest to `reach`.

        A sequence has the reach of each group.
        """
        choices = []
        reaches = [reach] * len(self.parts) if isinstance(reach, int | float) else reach
        for part, wanted in zip(self.parts, reaches, strict=True):
            cuts = part.cuts(least, strict)
            # half a factor e of reach is worth giving up to cut between clusters (budgets, model sizes)
            miss = np.abs(np.log(part.reach[cuts - 1] / wanted)) + 0.5 * part.blur[cuts - 1]
            choices.append((cuts, int(np.argmin(miss)) if len(cuts) else 0))
        return self._above(choices, need)

    def top_share(self, share: float, *, least: int, need: int) -> Mask:
        """Return the rows of the top levels of each group, cut where they come nearest to `share` of its rows."""
        choices = []
        for part in self.parts:
            cuts = part.cuts(least, False)
            miss = np.abs(1.0 - part.kept[cuts - 1] - share)
            choices.append((cuts, int(np.argmin(miss)) if len(cuts) else 0))
        return self._above(choices, need)[0]

    def _above(self, choices: Sequence[tuple[Rows, int]], need: int) -> tuple[Mask, str]:
        # too few rows to judge on: every group gives one more level, as long as one can
        deepest = max((len(cuts) - at for cuts, at in choices), default=0)
        mask = np.zeros(self.n_rows, dtype=np.bool_)
        sizes: list[tuple[int, int]] = []
        for deeper in range(max(deepest, 1)):
            sizes = []
            for part, (cuts, at) in zip(self.parts, choices, strict=True):
                if len(cuts):
                    k = int(cuts[min(at + deeper, len(cuts) - 1)])
                    mask[part.rows[part.level >= len(part.count) - k]] = True
                    sizes.append((k, len(part.count)))
            if mask.sum() >= need:
                break
        # the name quotes the most common group, the larger one in a tie
        common = Counter(sizes)
        k, n = max(common, key=lambda size: (common[size], size)) if sizes else (0, 0)
        return mask, f"{k} of {n} rungs"


def axis_along(label: str, z: Array, same: float, group_rows: Sequence[Rows], max_rungs: int) -> Axis:
    """Return the axis of positions `z` (n_rows,), with the levels of each group.

    Args:
        label: What the axis is called.
        z: Position of each row.
        same: How far apart two positions are still one level.
        group_rows: Row numbers of each group.
        max_rungs: The most levels of one group.
    """
    parts = []
    for rows in group_rows:
        level = levels(z[rows], same, max_rungs)
        order = np.lexsort((z[rows], level))
        starts = np.flatnonzero(np.diff(level[order], prepend=-1))
        ends = np.append(starts[1:], len(rows)) - 1
        values = z[rows][order]
        parts.append(Part(rows, level, values[starts], values[ends], np.diff(starts, append=len(rows))))
    return Axis(label, len(z), tuple(parts))


def position(table: Table, variable: Variable) -> tuple[Array, float]:
    """Return where each row lies along `variable`, and how far apart two values are still the same level."""
    x = table.column(variable.symbol)
    if variable.log:
        z, logarithmic = x * variable.nats_per_unit, True
    elif logarithmic := _is_logarithmic(variable, x):
        z = np.log(x)
    else:
        z = x
    return z, same_level(z, logarithmic)


def positions_of(table: Table, variable: Variable, values: Array) -> Array:
    """Return where other values of `variable` lie, on the axis of the table's rows; NaN for what has no logarithm."""
    if variable.log:
        return np.asarray(values * variable.nats_per_unit)
    if not _is_logarithmic(variable, table.column(variable.symbol)):
        return np.asarray(values)
    return np.log(values, out=np.full(len(values), np.nan), where=values > 0)


def values_at_position(table: Table, variable: Variable, z: Array) -> Array:
    """Return the values of `variable`'s column at positions `z`: the inverse of `position`."""
    if variable.log:
        return np.asarray(z / variable.nats_per_unit)
    return np.exp(z) if _is_logarithmic(variable, table.column(variable.symbol)) else z


def _is_logarithmic(variable: Variable, x: Array) -> bool:
    spread_out = variable.role == "scale" or (variable.role != "proportion" and x.min() * 8 <= x.max())
    return bool(spread_out and x.min() > 0)


def same_level(z: Array, logarithmic: bool) -> float:
    """Return how far apart two positions are still the same level."""
    same = _SAME_LEVEL * float(np.ptp(z))
    # five per cent is one level however many decades the column spans
    return min(same, 0.05) if logarithmic else same


def levels(z: Array, same: float, max_rungs: int) -> Rows:
    """Number the levels of `z` (n_rows,) from below, 0 upwards.

    Values closer than `same` are one level, and so are the values of clusters up to four times as wide that lie well
    apart (budgets met within ten per cent). With more levels than `max_rungs`, the range is cut coarser, from the top.
    """
    unique, inverse = np.unique(z, return_inverse=True)
    spread = float(unique[-1] - unique[0])
    same = min(same, spread / max_rungs)
    first: list[int] | None = None
    for width in (same, 2 * same, 4 * same):
        starts = _leaders(unique.tolist(), width, max_rungs)
        if starts is not None and _apart(unique, starts):
            break
        first = first or starts
    else:
        starts = first
        for width in np.linspace(same, spread / max(max_rungs, 2), 12).tolist():
            starts = starts or _leaders(unique.tolist(), width, max_rungs)
    assert starts is not None  # the last width makes few enough
    number = np.searchsorted(starts, np.arange(len(unique)), side="right") - 1
    return np.asarray(number[inverse], dtype=np.intp).reshape(-1)


def _leaders(values: list[float], width: float, most: int) -> list[int] | None:
    """Return where clusters begin when each takes all within `width` below its largest; None when too many."""
    starts: list[int] = []
    end = len(values)
    while end > 0:
        if len(starts) == most:
            return None
        end = bisect_left(values, values[end - 1] - width, 0, end)
        starts.append(end)
    return starts[::-1]


def _apart(values: Array, starts: list[int]) -> bool:
    """Tell whether gaps between clusters are at least twice as wide as the clusters."""
    ends = [*(start - 1 for start in starts[1:]), len(values) - 1]
    widest = float((values[ends] - values[starts]).max())
    gaps = values[starts[1:]] - values[ends[:-1]]
    return len(gaps) == 0 or float(gaps.min()) >= 2 * widest
