r"""Folds that imitate the real question: train on the lower rungs, judge on the higher ones.

Every fold is a step of the kind that held-out rows ask for. Along one axis (a variable, or the product of scale
variables, which stands for cost) the rows above a cut are judged by the rows below it. How far such a step goes is its
*reach*: with training rows from `low` to `cut` and judged rows up to `top`, all on the axis (logarithms for scales),

    reach = (top - cut) / (cut - low).

Published held-out sets reach 0.1 to 0.6 of the training range, 0.4 typically, so folds aim at 0.35, 0.6 and 0.15.
Rungs are counted within each group, since groups often cover different ranges; a group that a fold would leave with too
little to fit is trained on and not judged. Everything here is a function of the table alone: no seed.

Where rows are checkpoints of named runs, those of one run are no independent witnesses. A run that a cut goes through
is judged above the cut and left out below it, so that no checkpoint is predicted from its own run. That cannot be
where a cut goes through nearly every run, as one along the steps does. Such a fold asks how runs go on, which is a
question of its own. It keeps the earlier part of each run, less the checkpoints next to the judged ones.

A table with an aim (`sld.data.aim`) says which runs are planned. Then axes, sides and reaches are those of the planned
runs, group by group (`sld.data.asked`), and a fold may leave out what is beyond in one variable only, as the real
question does where runs are planned that are beyond in two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sld.core.errors import UsageError, suggest
from sld.data.asked import Pattern, asked_of
from sld.data.axes import Array, Axis, Mask, Part, Rows, axis_along, levels, position, same_level

if TYPE_CHECKING:
    from sld.data.table import Table

REACHES = (0.35, 0.6, 0.15)  # what published held-out sets ask for, the typical one first (see the module's top)
_MORE_REACHES = (*REACHES, 0.25, 0.08, 1.0, 0.04)  # where these give too few folds
_FINE = 32  # rungs on which cuts are placed; a reach is met more closely on a fine ladder
_LEAST_TRAIN = 0.45  # share of all rows that a fold trains on, at least
_LEAST_TRAIN_IN_GROUP = 0.35  # share of a group's rows, at least; groups differ in how far they reach
_FRONTIER = 2.0  # rows at the top weigh e² = 7 times as much as rows at the bottom
_NEXT_TO = 0.05  # of the range of a variable: a checkpoint that is nearer to another is the same measurement
_OF_PLANNED = (0.5, 0.9, 0.1)  # shares of the planned runs whose steps are imitated: the typical one first
_MOST_TOGETHER = 3  # axes of a pattern that are judged by themselves as well
_SIMILAR = 0.75  # test sets that overlap more (Jaccard) tell the same story twice


@dataclass(frozen=True)
class Fold:
    """Rows to fit on and rows to judge on; rows in neither are left out.

    Attributes:
        name: What is judged, e.g. "N: top 2 of 9 rungs".
        train: Row numbers, ascending.
        test: Row numbers, ascending; every group in it is in `train` too.
    """

    name: str
    train: Rows
    test: Rows


def rungs(table: Table, symbol: str, max_rungs: int = 12) -> Rows:
    """Return the rung of each row along one variable, 0 for the lowest, over all groups together.

    >>> from sld.data.table import table_from
    >>> N = [1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6, 128e6]
    >>> table = table_from({"N": N, "loss": [1.7 + 40 * n**-0.25 for n in N]}, target="loss", scale="N")
    >>> rungs(table, "N").tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]

    Each value is a rung when there are few; values closer than a few per cent are one. A nearly continuous variable is
    cut into at most `max_rungs` rungs, on the log axis for scales, starting from the top.

    Raises:
        UsageError: There is no such variable.
    """
    for variable in table.variables:
        if symbol in (variable.symbol, variable.column):
            z, same = position(table, variable)
            return levels(z, same, max_rungs)
    raise UsageError(suggest(symbol, [v.symbol for v in table.variables], kind="variable"))


def rung_folds(table: Table, *, n_min: int = 5, max_folds: int = 8) -> tuple[Fold, ...]:
    """Return folds along every axis on which the law will be asked to extrapolate, the most telling first.

    >>> from sld.data.table import table_from
    >>> N = [1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6, 128e6]
    >>> table = table_from({"N": N, "loss": [1.7 + 40 * n**-0.25 for n in N]}, target="loss", scale="N")
    >>> for fold in rung_folds(table)[:2]:
    ...     print(fold.name, "| train", fold.train.tolist(), "| test", fold.test.tolist())
    N: top 3 of 8 rungs | train [0, 1, 2, 3, 4] | test [5, 6, 7]
    N: top 3 of 7 rungs below its top | train [0, 1, 2, 3] | test [4, 5, 6]

    With one extrapolated variable: its top rungs at three reaches, the same step made earlier, corners with the other
    scale variables, extremes of every other variable. With several: the top rungs of each, of their product, the corner
    where two are high, and everything beyond a box. Variables marked `extrapolate` are the axes; without marks all
    scale variables are; without scale variables the proportions, then the rest, both ends of each.

    Args:
        table: The training rows.
        n_min: Below this many folds, less telling ones are added (lower ends, two rungs to train on, fewer rows).
        max_folds: The most folds to return.

    Raises:
        UsageError: No variable has enough rungs to train on some and judge on another.
    """
    layout = _Layout(table)
    folds: list[Fold] = []
    least_test = (max(3, layout.enough // 2), 3, 1)
    for tier in (0, 1, 2):
        for name, test, left_out in _candidates(layout, tier):
            if len(folds) >= max_folds or (tier and len(folds) >= n_min):
                break
            fold = layout.fold(name, test, left_out, least_test=least_test[tier])
            if fold is not None and not any(_similar(fold, other) for other in folds):
                folds.append(_renamed(fold, folds))
    if not folds:
        raise UsageError(_too_few_rungs(layout))
    return tuple(folds)


def extrapolation_split(table: Table, *, fraction: float = 0.2) -> Fold:
    """Return one split for a table that came without held-out rows: the top rungs of the extrapolated variables.

    >>> from sld.data.table import table_from
    >>> N = [1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6, 128e6]
    >>> table = table_from({"N": N, "loss": [1.7 + 40 * n**-0.25 for n in N]}, target="loss", scale="N")
    >>> extrapolation_split(table).test.tolist()
    [6, 7]

    Several extrapolated scale variables are taken together, as their product.

    Args:
        table: All rows.
        fraction: Share of the rows to hold out, within each group, as nearly as whole rungs allow.

    Raises:
        UsageError: `fraction` is not between 0 and 0.5, or there are too few rungs to hold one out.
    """
    if not 0 < fraction <= 0.5:
        raise UsageError(f"the held-out fraction must be above 0 and at most 0.5, got {fraction}")
    layout = _Layout(table)
    cost = [layout.cost] if layout.cost is not None else []
    axes = [*layout.primary, *cost] if len(layout.primary) == 1 else [*cost, *layout.primary]
    for axis in (*axes, *layout.other_scales, *layout.other_knobs):
        for least in (3, 2):
            fold = layout.fold("", axis.top_share(fraction, least=least, need=1), None, least_test=1)
            if fold is not None:
                return replace(fold, name=f"top rungs of {axis.label}")
    raise UsageError(_too_few_rungs(layout))


def frontier_weights(table: Table) -> Array | None:
    r"""Return the weight of each row (n_rows,) in fits that are made to extrapolate, mean 1; None for equal weights.

    No formula is the truth, and one that cannot follow all rows should follow those next to where it will be used.
    With $z$ the position of a row between the lowest (0) and the highest rung (1) of its group, averaged over the
    variables in which the law will be asked to extrapolate, the weight is $e^{2z}$, up to a factor. Where runs are
    planned, $z$ is that on the side where they lie, and each variable counts by how far they go beyond the rows.
    """
    layout = _Layout(table)
    nearness = None if layout.asked is None else layout.asked.nearness()
    if nearness is not None:
        near: Array = np.exp(_FRONTIER * nearness)
        return np.asarray(near / near.mean())
    if not layout.one_sided or not table.n_rows:
        return None
    z = np.mean([axis.height() for axis in layout.primary], axis=0)
    weights = np.exp(_FRONTIER * z)
    return np.asarray(weights / weights.mean())


def planned_beyond(table: Table) -> int:
    """Return how many of the planned runs of a table lie beyond its rows, in a variable or in the cost."""
    asked = _Layout(table).asked
    return 0 if asked is None else len(asked.beyond)


class _Layout:
    """The axes of a table and what a fold along them has to respect."""

    def __init__(self, table: Table, max_rungs: int = _FINE) -> None:
        self.n_rows = table.n_rows
        self.group_index = table.group_index
        self.grouped = len(table.groups) > 1
        order = np.argsort(table.group_index, kind="stable")
        edges = np.flatnonzero(np.diff(table.group_index[order])) + 1
        self.group_rows = [np.sort(rows) for rows in np.split(order, edges) if len(rows)]

        positions = {v.symbol: position(table, v) for v in table.variables} if table.n_rows else {}
        axes = {s: axis_along(s, z, same, self.group_rows, max_rungs) for s, (z, same) in positions.items()}
        varying = [v for v in table.variables if v.symbol in axes and axes[v.symbol].varies]
        scales = [v for v in varying if v.role == "scale"]
        shares = [v for v in varying if v.role == "proportion"]
        # the widest first: with more proportions than folds, those that the data move most are judged
        shares.sort(key=lambda v: -float(np.ptp(positions[v.symbol][0])))
        rest = [v for v in varying if v.role in ("covariate", "hyperparameter")]
        primary = [v for v in varying if v.extrapolate] or scales or shares or rest
        self.primary = tuple(axes[v.symbol] for v in primary)
        self.one_sided = bool(scales) or any(v.extrapolate for v in varying)
        self.other_scales = tuple(axes[v.symbol] for v in scales if v not in primary)
        self.other_knobs = tuple(axes[v.symbol] for v in [*rest, *shares] if v not in primary)
        self.every = tuple(axes.values())
        self.runs = table.run_index if table.runs else None
        spans = [float(np.ptp(z)) for z, _ in positions.values()]
        self.places = np.array([z / s for (z, _), s in zip(positions.values(), spans, strict=True) if s > 0])

        costly = [v for v in primary if v.role == "scale"]
        self.held_out_by_cost = len(costly) > 1
        costly = costly if self.held_out_by_cost else scales
        self.cost: Axis | None = None
        if len(costly) > 1:
            z: Array = np.sum([positions[v.symbol][0] for v in costly], axis=0)
            label = "*".join(v.symbol for v in costly)
            self.cost = axis_along(label, z, same_level(z, True), self.group_rows, max_rungs)
        self.asked = asked_of(table, axes, self.cost, [v.symbol for v in costly])

    @property
    def enough(self) -> int:
        """Rows that make the error of a fold a steady number."""
        return max(3, min(30, math.ceil(0.05 * self.n_rows)))

    def fold(self, name: str, test: Mask, left_out: Mask | None, *, least_test: int) -> Fold | None:
        """Return the fold that judges `test`, less the groups that it leaves too little to fit; None if nothing stays.

        A group keeps at least two levels of every variable that has two in it: on one level a variable's
        constants are arbitrary, and so is any prediction for another level.
        """
        train = ~test if left_out is None else ~(test | left_out)
        if self.runs is not None and test.any() and (cut := self._cut(test, train)).any():
            whole = train & ~cut
            enough = whole.sum() >= _LEAST_TRAIN * self.n_rows
            train = whole if enough and self._fits(whole, test) else self._apart(test, train, cut)
        wanted = test.sum()
        spared = []
        for g, rows in enumerate(self.group_rows):
            if test[rows].any() and not self._fits_group(g, rows, train):
                spared.append(rows)
        if spared:
            test, train = test.copy(), train.copy()
            for rows in spared:
                test[rows], train[rows] = False, True
        if test.sum() < max(least_test, wanted / 2) or train.sum() < _LEAST_TRAIN * self.n_rows:
            return None
        return Fold(name, np.flatnonzero(train), np.flatnonzero(test))

    def _fits_group(self, g: int, rows: Rows, train: Mask) -> bool:
        """Tell whether a group keeps enough rows, and two levels of every variable."""
        enough = train[rows].sum() >= _LEAST_TRAIN_IN_GROUP * len(rows) - 1e-9
        return bool(enough) and all(self._two_levels(axis.parts[g], train) for axis in self.every)

    def _fits(self, train: Mask, test: Mask) -> bool:
        """Tell whether every group that is judged could be fitted."""
        return all(self._fits_group(g, rows, train) for g, rows in enumerate(self.group_rows) if test[rows].any())

    def _cut(self, test: Mask, train: Mask) -> Mask:
        """Return the rows to train on whose runs are judged, too."""
        assert self.runs is not None
        return train & np.isin(self.runs, self.runs[test])

    def _apart(self, test: Mask, train: Mask, cut: Mask) -> Mask:
        """Return the rows to train on less those next to judged rows of their run; half of a run's are kept."""
        assert self.runs is not None
        train = train.copy()
        for run in np.unique(self.runs[cut]):
            own, judged = (np.flatnonzero(mask & (self.runs == run)) for mask in (cut, test))
            distance = np.abs(self.places[:, own, None] - self.places[:, None, judged]).max(axis=0).min(axis=1)
            near = own[np.argsort(distance, kind="stable")][: len(own) // 2]
            train[near[np.sort(distance)[: len(near)] < _NEXT_TO]] = False
        return train

    @staticmethod
    def _two_levels(part: Part, train: Mask) -> bool:
        if len(part.count) == 1:
            return True
        level = part.level[train[part.rows]]
        return len(level) > 0 and bool(level.min() != level.max())


# --- which folds ----------------------------------------------------------------------------------------------------

_Candidate = tuple[str, Mask, Mask | None]


def _candidates(layout: _Layout, tier: int) -> Iterator[_Candidate]:
    """Yield (name, test rows, rows left out), the most telling first.

    Tier 0 is what held-out rows look like, tier 1 fills up when axes or rungs are few, tier 2 takes what there is.
    """
    if tier == 0:
        yield from _like_the_question(layout)
        yield from _one_axis(layout) if len(layout.primary) == 1 else _several_axes(layout)
        return
    least, need = (3, 3) if tier == 1 else (2, 1)
    scales = (*layout.primary, *layout.other_scales)
    for axis in scales:
        yield from (_top(axis, reach, least, need) for reach in _MORE_REACHES)
    for axis in layout.primary:
        yield from _earlier(axis, REACHES[0], least, need)
        yield from _earlier(axis, REACHES[1], least, need)
    for one, other in _pairs(scales):
        yield from (_corner(one, other, reach, need) for reach in REACHES)
        yield _corner(one, other.flipped(), REACHES[0], need, "low")
        yield _corner(one.flipped(), other, REACHES[0], need, "high", "low")
    if layout.cost is not None:
        yield from (_top(layout.cost, reach, least, need) for reach in _MORE_REACHES)
    for axis in (*scales, *layout.other_knobs):
        yield from (_bottom(axis, reach, least, need) for reach in REACHES[:2])
    for axis in layout.other_knobs:
        yield _top(axis, REACHES[0], least, need)


def _like_the_question(layout: _Layout) -> Iterator[_Candidate]:
    """Yield what the planned runs ask, a step earlier; nothing where none are planned."""
    if layout.asked is None:
        return
    need, lists = layout.enough, []
    for pattern in layout.asked.patterns():
        own: list[_Candidate] = []
        for share in _OF_PLANNED:
            own += _step_like(pattern, share, need)
        if len(pattern.axes) == 1:
            own[1:1] = _earlier(pattern.axes[0], pattern.reach(0, 0.5), 3, need, pattern.sides[0])
        else:  # each by itself as well: of rows that are beyond in several there may be too few
            own += [_onto(pattern, i, 0.5, need) for i in range(min(len(pattern.axes), _MOST_TOGETHER))]
        lists.append(own)
    yield from _in_turn(*lists)


def _step_like(pattern: Pattern, share: float, need: int) -> list[_Candidate]:
    """Return the step that a share of the planned runs of one pattern do not exceed, along all its axes at once."""
    axes = pattern.axes
    if len(axes) == 1:
        return [_onto(pattern, 0, share, need)]
    label = " and ".join(f"{axis.label} {side}" for axis, side in zip(axes, pattern.sides, strict=True))
    need = max(3, need // 2)  # rows beyond in all are few, and cutting lower leaves too few to fit to
    for wider in (1.0, 1.5, 2.0, 4.0):
        masks = [
            axis.top([r * wider for r in pattern.reaches(i, share)], least=1, need=1)[0] for i, axis in enumerate(axes)
        ]
        test = np.all(masks, axis=0)
        if test.sum() >= need:
            # as in the question, where no row is beyond in any of them; and with these rows, which are many
            return [(f"{label}, from below in all", test, np.any(masks, axis=0) & ~test), (label, test, None)]
    return []


def _onto(pattern: Pattern, axis: int, share: float, need: int) -> _Candidate:
    """Return the step along one axis of a pattern, in each group as far as its planned runs go."""
    mask, size = pattern.axes[axis].top(pattern.reaches(axis, share), least=3, need=need)
    return f"{pattern.axes[axis].label}: {pattern.sides[axis]} {size}", mask, None


def _one_axis(layout: _Layout) -> Iterator[_Candidate]:
    axis, need = layout.primary[0], layout.enough
    steps = [_top(axis, reach, 3, need) for reach in REACHES]
    steps += _earlier(axis, REACHES[0], 3, need)
    if not layout.one_sided:
        steps.insert(1, _bottom(axis, REACHES[0], 3, need))
    corners = [_corner(axis, other, REACHES[0], need) for other in layout.other_scales]
    if layout.cost is not None:
        corners.insert(1, _top(layout.cost, REACHES[0], 3, need))
    corners += [_corner(axis, other, REACHES[0], need, "at its ends") for other in layout.other_knobs]
    extremes = [_ends(other, need) for other in layout.other_knobs]
    extremes[1:1] = [_top(other, REACHES[0], 3, need) for other in layout.other_scales]
    yield from _in_turn(steps, corners, extremes)


def _several_axes(layout: _Layout) -> Iterator[_Candidate]:
    need, axes = layout.enough, layout.primary
    if not layout.one_sided:
        # proportions and hyperparameters alone: both ends of each, one reach
        yield from (_top(axis, REACHES[0], 3, need) for axis in axes)
        yield from (_bottom(axis, REACHES[0], 3, need) for axis in axes)
        yield from (_ends(other, need) for other in layout.other_knobs)
        return
    tops = [_top(axis, reach, 3, need) for reach in REACHES for axis in axes]
    costs = [_top(layout.cost, reach, 3, need) for reach in REACHES] if layout.cost is not None else []
    # held-out rows mostly lie beyond a cost when several scales are extrapolated
    first = int(layout.held_out_by_cost)
    joint = [_corner(axes[0], axes[1], REACHES[0], need), _beyond(axes, REACHES[2]), *costs[first:]]
    extremes = [_ends(other, need) for other in layout.other_knobs]
    extremes += [_top(other, REACHES[0], 3, need) for other in layout.other_scales]
    yield from costs[:first]
    yield from tops[: min(len(axes), 3)]
    yield from _in_turn(joint, extremes)
    yield from tops[min(len(axes), 3) :]
    if layout.cost is not None:
        yield from _earlier(layout.cost, REACHES[0], 3, need)


def _top(axis: Axis, reach: float, least: int, need: int) -> _Candidate:
    mask, size = axis.top(reach, least=least, need=need)
    return f"{axis.label}: top {size}", mask, None


def _bottom(axis: Axis, reach: float, least: int, need: int) -> _Candidate:
    mask, size = axis.flipped().top(reach, least=least, need=need)
    return f"{axis.label}: bottom {size}", mask, None


def _ends(axis: Axis, need: int) -> _Candidate:
    return f"{axis.label}: both ends", _both_ends(axis, REACHES[2], 3, need), None


def _both_ends(axis: Axis, reach: float, least: int, need: int) -> Mask:
    """Return the rows at either end: an optimum inside must be found from the middle."""
    ends = (axis, axis.flipped())
    above, below = (end.top(reach, least=least, need=max(need // 2, 2))[0] for end in ends)
    return above | below


def _earlier(axis: Axis, reach: float, least: int, need: int, side: str = "top") -> list[_Candidate]:
    """The same step made one step earlier: the top is left out altogether."""
    above = axis.top(REACHES[2], least=least, need=1)[0]
    mask, size = axis.without(above).top(reach, least=least, need=need, strict=True)
    before = "below its top" if side == "top" else "above its bottom"
    return [(f"{axis.label}: {side} {size} {before}", mask, above)] if mask.any() else []


def _corner(one: Axis, other: Axis, reach: float, need: int, how: str = "high", first: str = "high") -> _Candidate:
    """Where both are far out; each is seen far out alone, so this judges how they work together."""
    mask = np.zeros(one.n_rows, dtype=np.bool_)
    for wider in (1.0, 2.0, 4.0):
        mask = one.top(reach * wider, least=1, need=1)[0]
        if how == "at its ends":
            mask &= _both_ends(other, reach * wider, 1, 1)
        else:
            mask &= other.top(reach * wider, least=1, need=1)[0]
        if mask.sum() >= need:
            break
    return f"{one.label} {first} and {other.label} {how}", mask, None


def _beyond(axes: Sequence[Axis], reach: float) -> _Candidate:
    """Everything outside a box: some rows lie beyond it in several variables at once."""
    mask = np.any([axis.top(reach, least=3, need=1)[0] for axis in axes], axis=0)
    return f"beyond a box in {', '.join(axis.label for axis in axes)}", mask, None


def _pairs(axes: Sequence[Axis]) -> Iterator[tuple[Axis, Axis]]:
    return ((axes[i], axes[j]) for i in range(len(axes)) for j in range(i + 1, len(axes)))


def _in_turn(*lists: Sequence[_Candidate]) -> Iterator[_Candidate]:
    for k in range(max((len(items) for items in lists), default=0)):
        yield from (items[k] for items in lists if k < len(items))


def _similar(one: Fold, other: Fold) -> bool:
    judged = np.zeros(int(max(one.test[-1], other.test[-1])) + 1, dtype=np.bool_)
    judged[one.test] = True
    common = int(judged[other.test].sum())
    return common > _SIMILAR * (len(one.test) + len(other.test) - common)


def _renamed(fold: Fold, earlier: Sequence[Fold]) -> Fold:
    names = {other.name for other in earlier}
    name, k = fold.name, 2
    while name in names:
        name, k = f"{fold.name} ({k})", k + 1
    return replace(fold, name=name)


def _too_few_rungs(layout: _Layout) -> str:
    best = max(layout.every, key=lambda axis: max(len(part.count) for part in axis.parts), default=None)
    if best is None or not layout.n_rows:
        return "judging a law by extrapolation needs rows at three or more values of some variable, got no rows"
    count = max(len(part.count) for part in best.parts)
    where = " in any group" if layout.grouped else ""
    return (
        f"judging a law by extrapolation needs three rungs of some variable or two of two, but {best.label} has "
        f"{count}{where} and no other variable more; add runs at other values of {best.label}, best at larger ones"
    )
