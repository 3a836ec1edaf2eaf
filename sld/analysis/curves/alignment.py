r"""Curves of several runs laid over one another, by one column or another: how far apart they are, and by which least.

Where a score is a function of compute alone, the curves of small and large models fall together over compute and lie
apart over tokens; where models learn the same from the same tokens, it is the other way round (the comparison of
checkpoints of models of several sizes in Yang et al. 2024, "The Fine Line", arXiv:2404.01204). With $f_a$ and $f_b$ two
runs, interpolated without overshoot in $u = \log x$, and $[l, h]$ the part of the column that both cover,

$$ D^2 = \frac{1}{h - l} \int_l^h (f_b - f_a)^2 \, du = \bar d^2 + \operatorname{var}(f_b - f_a) , $$

where $\bar d$ is the mean of $f_b - f_a$: the offset. Nothing is said of what lies beyond the common part.

Two columns have different common parts, and curves are steeper in one part than in another. Which column brings curves
closest is therefore asked at the same checkpoints: those of either run that lie in the common part of every column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from sld.analysis.curves.overlay import Alignment, CurveAlignment, Versus, pair_of
from sld.analysis.curves.runs import Curve, thinned
from sld.core.arrays import Array
from sld.core.errors import DataError, UsageError
from sld.core.numbers import exact

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator

MOST_RUNS = 100  # runs that are compared: 4950 pairs, some seconds; more lines than that no picture shows
_DRAWS = 200  # redraws: a share of 95 % is known to 1.5 %
_CELLS = 48  # of the common part, each counted by its middle: curves of 40 points have no more detail
_POOLED = 4.0  # squared differences that the noise of all runs counts as, beside those of a run itself
_MIDDLES = (np.arange(_CELLS) + 0.5) / _CELLS
_LEAST_WIDTH = 1e-9  # of a common part, in log x: what is narrower is rounding
_MARGIN = 0.1  # how much closer a redraw has to be: where two columns are equally good, their curves' bends make less
_TOLD = 0.95  # share of redraws in which a column has to be the closer one
_NAMED = 6  # pairs that a note names


@dataclass(frozen=True, eq=False)
class _Laid:
    """A run over one column: itself, and as it might have come out with other noise.

    Attributes:
        name: Of the run.
        u: Logarithms of the column (n_points,), rising.
        noise: Standard deviation of each point (n_points,); 0 where it is not known.
        between: Goes through the points, and through each redraw of them (1 + draws columns).
        steps: Logarithms of the steps (n_steps,), rising.
        column: Logarithms of the column at the steps (n_steps,), never falling.
    """

    name: str
    u: Array
    noise: Array
    between: PchipInterpolator = field(repr=False)
    steps: Array
    column: Array

    def at(self, u: Array) -> Array:
        """Return run and redraws at points within (n_points, 1 + n_draws)."""
        return np.asarray(self.between(np.clip(u, self.u[0], self.u[-1])))

    def steps_at(self, u: float) -> float:
        """Return where along the run the column has a value."""
        return float(np.interp(u, self.column, self.steps))


def align_curves(
    by_column: Mapping[str, Sequence[Curve]],
    along: Mapping[str, Sequence[Curve]],
    *,
    target: str,
    step: str,
    notes: Sequence[str] = (),
    seed: int = 0,
) -> CurveAlignment:
    """Lay runs over one another by each column, and tell by which they lie closest.

    Args:
        by_column: Column to the runs over it, the same runs in the same order for each.
        along: Column to its own values over the steps of each run, in that order.
        target: What was measured.
        step: What orders the checkpoints of a run.
        notes: What was noticed before, in sentences.
        seed: Of the redraws.

    Raises:
        UsageError: No two runs have a part of a column in common.
    """
    names = [c.name for c in next(iter(by_column.values()))]
    laid = {column: _laid(curves, along[column], seed) for column, curves in by_column.items()}
    ranges = {column: _ranges(runs) for column, runs in laid.items()}
    said = [*notes, *_without(laid, ranges, names)]
    alignments = tuple(_alignment(column, laid[column], ranges[column]) for column in laid)
    if any(a.noise is None for a in alignments):
        said.append("what noise alone gives is not known: no run has four checkpoints")
    closest: str | None = None
    versus: tuple[Versus, ...] = ()
    if len(laid) > 1:
        matched, n_pairs = _matched(laid, ranges, _weights(len(names), seed))
        if n_pairs:
            # two runs whose noise is not known: nothing was redrawn
            sure = len(names) > 2 or all(a.noise is not None for a in alignments)
            closest, versus = _closest(matched, sure)
        if 0 < n_pairs < (every := len(names) * (len(names) - 1) // 2):
            said.append(
                f"which column is closest is told from {n_pairs} of {every} pairs: the others cannot be compared"
            )
        least = min(alignments, key=lambda a: a.distance)
        if closest is not None and least.column != closest:
            said.append(
                f"the mean distance is smaller by {least.column}, whose common parts are others; at the same "
                f"checkpoints it is smaller by {closest}"
            )
    curves = {column: {c.name: c for c in runs} for column, runs in by_column.items()}
    return CurveAlignment(target, step, alignments, closest, versus, tuple(said), tuple(names), curves)


def check_runs(n_runs: int) -> None:
    """Refuse fewer than two runs, which cannot be compared, and more than `MOST_RUNS`."""
    if n_runs < 2:
        raise UsageError(
            f"to lay runs over one another takes at least two, got {n_runs}; name the column that tells them "
            "apart (run)"
        )
    if n_runs > MOST_RUNS:
        raise UsageError(f"at most {MOST_RUNS} runs are laid over one another, got {n_runs}; drop some")


def _without(
    laid: Mapping[str, Sequence[_Laid]], ranges: Mapping[str, Mapping[tuple[int, int], object]], names: Sequence[str]
) -> list[str]:
    """Return which pairs have no common part, in sentences; refuses a column of which none has."""
    said = []
    for column, known in ranges.items():
        if not known:
            a, b = sorted(laid[column], key=lambda r: float(r.u[0]))[:2]
            raise UsageError(
                f"no two runs have a part of {column} in common: {a.name} goes from {_ends(a)}, {b.name} from "
                f"{_ends(b)}; leave {column} out of align, or bring checkpoints that overlap"
            )
        if missing := [p for p in combinations(range(len(names)), 2) if p not in known]:
            pairs = "; ".join(f"{names[a]} and {names[b]}" for a, b in missing[:_NAMED])
            more = f"; and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            said.append(f"pairs without a part of {column} in common, left out there: {pairs}{more}")
    return said


def over_column(column: str, along: Mapping[str, Curve], values: Sequence[Curve]) -> tuple[list[Curve], list[Curve]]:
    """Return runs over a column, and the column over the steps of each.

    Args:
        column: Its name, for messages.
        along: Run to the column over its steps.
        values: The target over the steps of each run.

    Raises:
        DataError: The column is missing for a run, is 0 or below, falls along a run or stays the same.
    """
    found, ways = [], []
    for value in values:
        if value.name not in along:
            raise DataError(f"column {column!r} is empty for run {value.name!r}")
        own = along[value.name]
        steps, here, there = np.intersect1d(value.x, own.x, return_indices=True)
        x, y = own.y[there], value.y[here]
        if not len(x):
            raise DataError(f"column {column!r} is empty where run {value.name!r} was measured")
        low, where_it_is = float(x.min()), f"run {value.name!r}"
        if low <= 0:
            raise DataError(f"column {column!r} has {exact(low)} in {where_it_is}: a logarithmic axis wants it above 0")
        if (np.diff(x) < 0).any():
            raise DataError(f"column {column!r} falls along {where_it_is}: runs are laid over what rises")
        if len(x) > 1 and x[0] == x[-1]:
            raise DataError(f"column {column!r} is {exact(low)} all along {where_it_is}: runs are laid over what rises")
        once, where = np.unique(x, return_inverse=True)
        found.append(Curve(value.name, once, np.bincount(where, weights=y) / np.bincount(where)))
        ways.append(Curve(value.name, steps, x))
    return found, ways


def _ends(run: _Laid) -> str:
    return f"{exact(float(np.exp(run.u[0])))} to {exact(float(np.exp(run.u[-1])))}"


def _laid(curves: Sequence[Curve], along: Sequence[Curve], seed: int) -> list[_Laid]:
    """Return runs with their redraws; points that follow each other closely are averaged first."""
    from scipy.interpolate import PchipInterpolator

    thin = [thinned(c.x, c.y) for c in curves]
    squares = [_squares(np.log(t.x), t.y, t.precision) for t in thin]
    every = np.concatenate(squares)
    mean = float(every.mean()) if len(every) else 0.0
    runs = []
    for k, (c, way, t, own) in enumerate(zip(curves, along, thin, squares, strict=True)):
        noise = np.sqrt((own.sum() + _POOLED * mean) / (len(own) + _POOLED) / t.precision)
        u, y = np.log(t.x), t.y
        # the same for each column: what tells columns apart is not that they were redrawn otherwise
        errors = noise[:, None] * np.random.default_rng([seed, k]).standard_normal((len(u), _DRAWS))
        drawn = np.concatenate([y[:, None], y[:, None] + errors], axis=1)
        if len(u) == 1:  # a point has no part in common with anything; two equal ones let it be drawn all the same
            u, drawn = np.array([u[0], u[0] + _LEAST_WIDTH / 2]), np.repeat(drawn, 2, axis=0)
        runs.append(_Laid(c.name, u, noise, PchipInterpolator(u, drawn, axis=0), np.log(way.x), np.log(way.y)))
    return runs


def _squares(u: Array, y: Array, precision: Array) -> Array:
    """Return the squared third differences of four neighbours each, in units of a point's variance (n_points - 3,).

    A third difference is what is left of four points beside the parabola nearest to them, so that a smooth curve gives
    next to nothing and noise all of it.
    """
    if len(u) < 4:
        return np.empty(0)
    four = np.stack([np.arange(len(u) - 3) + j for j in range(4)], axis=1)
    apart = u[four][:, :, None] - u[four][:, None, :] + np.eye(4)
    weight = 1 / apart.prod(axis=2)
    return np.asarray((weight * y[four]).sum(axis=1) ** 2 / (weight**2 / precision[four]).sum(axis=1))


def _ranges(runs: Sequence[_Laid]) -> dict[tuple[int, int], tuple[float, float]]:
    """Return the common part of each pair that has one, in log x."""
    found = {}
    for a, b in combinations(range(len(runs)), 2):
        low, high = max(runs[a].u[0], runs[b].u[0]), min(runs[a].u[-1], runs[b].u[-1])
        if high - low > _LEAST_WIDTH:
            found[a, b] = (float(low), float(high))
    return found


def _weights(n_runs: int, seed: int) -> Array:
    """Return how often each run is drawn (n_runs, n_draws); with two runs there is one pair, and nothing to draw."""
    if n_runs < 3:
        return np.ones((n_runs, _DRAWS))
    return np.random.default_rng(seed).multinomial(n_runs, np.full(n_runs, 1 / n_runs), _DRAWS).T.astype(float)


def _alignment(column: str, runs: Sequence[_Laid], ranges: Mapping[tuple[int, int], tuple[float, float]]) -> Alignment:
    known = any(len(r.u) >= 4 for r in runs)
    pairs = []
    for (a, b), (low, high) in ranges.items():
        u = low + (high - low) * _MIDDLES
        first, second = runs[a].at(u), runs[b].at(u)
        apart = second - first
        noise = float(np.sqrt(np.mean((apart[:, 1:] - apart[:, :1]) ** 2))) if known else None
        span = float(np.ptp(np.concatenate([first[:, 0], second[:, 0]])))
        inside = sum(
            int(((r.u >= low - _LEAST_WIDTH) & (r.u <= high + _LEAST_WIDTH)).sum()) for r in (runs[a], runs[b])
        )
        part = (float(np.exp(low)), float(np.exp(high)))
        pairs.append(pair_of((runs[a].name, runs[b].name), part, inside, apart[:, 0], (span, noise)))
    return Alignment.of(column, pairs)


def _matched(
    laid: Mapping[str, Sequence[_Laid]],
    ranges: Mapping[str, Mapping[tuple[int, int], tuple[float, float]]],
    weights: Array,
) -> tuple[dict[str, Array], int]:
    """Return column to the mean distance at the same checkpoints, and to its redraws (1 + n_draws,); and the pairs.

    Either run of a pair is followed where its checkpoints lie in the common part of every column, and is compared with
    the other at the same value of a column.
    """
    n_draws = weights.shape[1]
    total = {column: np.zeros(1 + n_draws) for column in laid}
    count, n_pairs = np.zeros(1 + n_draws), 0
    for pair in set.intersection(*(set(known) for known in ranges.values())):
        ways = []
        for k in pair:
            own = {column: runs[k] for column, runs in laid.items()}
            low = max(run.steps_at(ranges[column][pair][0]) for column, run in own.items())
            high = min(run.steps_at(ranges[column][pair][1]) for column, run in own.items())
            if high - low > _LEAST_WIDTH:
                ways.append((own, low + (high - low) * _MIDDLES))
        if not ways:
            continue
        weight = np.concatenate([[1.0], weights[pair[0]] * weights[pair[1]]])
        n_pairs += 1
        count += weight
        for column, runs in laid.items():
            at = np.concatenate([np.interp(s, own[column].steps, own[column].column) for own, s in ways])
            apart = runs[pair[1]].at(at) - runs[pair[0]].at(at)
            total[column] += weight * np.sqrt(np.mean(apart**2, axis=0))
    empty = np.full(1 + n_draws, np.nan)
    return {c: np.divide(t, count, out=empty.copy(), where=count > 0) for c, t in total.items()}, n_pairs


def _closest(matched: Mapping[str, Array], sure: bool) -> tuple[str, tuple[Versus, ...]]:
    """Return the column by which the pairs lie closest, and how surely beside each other column."""
    best = min(matched, key=lambda column: matched[column][0])
    own, found = matched[best], []
    for column, other in matched.items():
        if column == best:
            continue
        known = np.isfinite(own[1:])  # a redraw that has a single run has no pair
        closer = own[1:][known] < other[1:][known] * (1 - _MARGIN)
        probability = float(closer.mean()) if sure and known.any() else None
        told = probability is not None and probability >= _TOLD
        found.append(Versus(column, float(own[0]), float(other[0]), probability, told))
    return best, tuple(found)
