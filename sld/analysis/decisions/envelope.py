"""Approach 1: which size had the lowest loss at each compute, and the power of compute through these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sld.analysis.decisions.budgets import Sweep
from sld.analysis.decisions.cost import Cost
from sld.analysis.decisions.estimate import Estimate
from sld.analysis.decisions.spans import UNKNOWN, from_draws
from sld.core.arrays import Array, Rows
from sld.data.table import Table

_DRAWS = 400  # of the noise; quantiles to a few per cent of the interval
_MOMENTS = 200  # of compute along training curves: Hoffmann et al. take 1500, which are no more independent
_LEAST_RUNS = 3  # whose curves reach a moment: among fewer the best one says little
_LEAST_SHARE = 0.1  # of the moments that a size is best at anywhere inside


@dataclass(frozen=True)
class Envelope:
    """Optima of approach 1.

    Attributes:
        status: "ok", or why there are no exponents.
        reason: The same as a sentence.
        points: Compute, size and data of each optimum.
        a: Exponent of the size.
        b: Exponent of the data.
        lines: (n, 4) slope and value at C = 1 of the logarithms of size and data: the centre first, then the draws.
        level: Of the intervals.
    """

    status: str
    reason: str
    points: tuple[tuple[float, Estimate, Estimate], ...]
    a: Estimate
    b: Estimate
    lines: Array
    level: float

    def at(self, compute: float) -> tuple[Estimate, Estimate]:
        """Return size and data at a compute."""
        z = math.log(compute)
        N = np.exp(self.lines[:, 1] + self.lines[:, 0] * z)
        D = np.exp(self.lines[:, 3] + self.lines[:, 2] * z)
        return from_draws(float(N[0]), N[1:], self.level), from_draws(float(D[0]), D[1:], self.level)


def envelope_of_budgets(sweep: Sweep, noise: float, level: float, seed: int = 0) -> Envelope:
    """Return approach 1 over the runs of a sweep: the size with the lowest loss of each budget.

    It is known to the sizes that were trained, so anything up to halfway to its neighbours is as good; and noise may
    have let another one win. Both go into the interval.

    Args:
        sweep: The rows by budget.
        noise: Standard deviation of a loss.
        level: Of the intervals.
        seed: Of the draws of the noise.
    """
    rng = np.random.default_rng([seed, 1])
    sd = noise if math.isfinite(noise) else 0.0
    found: list[tuple[float, Array, Array]] = []
    points = []
    for k, budget in enumerate(sweep.budgets.tolist()):
        rows = sweep.of(k)
        sizes, place = np.unique(np.log(sweep.N[rows]), return_inverse=True)
        count = np.bincount(place)
        loss = np.bincount(place, weights=sweep.loss[rows]) / count
        data = np.bincount(place, weights=np.log(sweep.D[rows])) / count
        best = int(np.argmin(loss))
        if best in (0, len(sizes) - 1):
            continue
        drawn = np.argmin(loss + sd / np.sqrt(count) * rng.standard_normal((_DRAWS, len(sizes))), axis=1)
        edges = np.concatenate([sizes[:1], (sizes[1:] + sizes[:-1]) / 2, sizes[-1:]])
        z = edges[drawn] + rng.random(_DRAWS) * (edges[drawn + 1] - edges[drawn])
        # the data follow the size within a budget
        at = np.interp(z, sizes, data)
        found.append((budget, np.concatenate([sizes[[best]], z]), np.concatenate([data[[best]], at])))
        ends = np.exp([z, at])
        points.append(
            (
                budget,
                from_draws(math.exp(sizes[best]), ends[0], level),
                from_draws(math.exp(data[best]), ends[1], level),
            )
        )
    return _with_lines(found, tuple(points), level, "budgets whose lowest loss lies between two other sizes")


def envelope_of_curves(table: Table, cost: Cost, names: Sequence[str], level: float, seed: int = 0) -> Envelope:
    """Return approach 1 along training curves: at each compute, the run whose loss is lowest there.

    A run counts between its first and last checkpoint, its loss a line between checkpoints in log compute. A moment at
    which the smallest or the largest of the runs is best says only that the optimum lies beyond. The interval comes
    from runs drawn with repeats.

    Args:
        table: Checkpoints, with their runs.
        cost: What a checkpoint cost.
        names: Symbols of size and data.
        level: Of the intervals.
        seed: Of the draws.
    """
    compute = cost(table.inputs)
    size, data, loss = table.column(names[0]), table.column(names[1]), table.Y[:, 0]
    runs = [np.flatnonzero(table.run_index == r) for r in range(len(table.runs))]
    runs = [rows[np.argsort(compute[rows])] for rows in runs if len(rows) > 1]
    z = np.linspace(math.log(float(compute.min())), math.log(float(compute.max())), _MOMENTS)
    losses, tokens = (np.full((len(runs), len(z)), math.nan) for _ in range(2))
    for r, rows in enumerate(runs):
        x = np.log(compute[rows])
        inside = (z >= x[0]) & (z <= x[-1])
        losses[r, inside] = np.interp(z[inside], x, loss[rows])
        tokens[r, inside] = np.interp(z[inside], x, np.log(data[rows]))
    sizes = np.log(np.array([size[rows[-1]] for rows in runs]))
    sign = 1.0 if table.targets[0].better == "lower" else -1.0
    rng = np.random.default_rng([seed, 1])

    def best(chosen: Rows) -> tuple[Array, Array, Array]:
        """Return moments, log sizes and log data where a run inside is best."""
        some = np.where(np.isnan(losses[chosen]), math.inf, sign * losses[chosen])
        alive = np.isfinite(some)
        winner = np.argmin(some, axis=0)
        own = sizes[chosen]
        low = np.min(np.where(alive, own[:, None], math.inf), axis=0)
        high = np.max(np.where(alive, own[:, None], -math.inf), axis=0)
        good = (alive.sum(axis=0) >= _LEAST_RUNS) & (own[winner] > low) & (own[winner] < high)
        at = np.flatnonzero(good)
        return z[at], own[winner[at]], tokens[chosen][winner[at], at]

    everything = np.arange(len(runs), dtype=np.intp)
    x, log_N, log_D = best(everything)
    points = tuple(
        (math.exp(a), Estimate(math.exp(b)), Estimate(math.exp(c))) for a, b, c in zip(x, log_N, log_D, strict=True)
    )
    if len(x) < max(2, _LEAST_SHARE * _MOMENTS) or len(np.unique(log_N)) < 2:
        reason = f"a size between others is best at {len(x)} of {_MOMENTS} moments along the curves"
        return Envelope("budgets too few", reason, points, UNKNOWN, UNKNOWN, np.empty((0, 4)), level)
    lines = [_line(x, log_N, log_D)]
    for _ in range(_DRAWS):
        drawn = best(rng.integers(0, len(runs), len(runs)))
        lines.append(_line(*drawn) if len(np.unique(drawn[0])) > 1 else np.full(4, math.nan))
    found = np.array(lines)
    return Envelope("ok", "", points, *_exponents(found, level), found, level)


def _with_lines(
    found: Sequence[tuple[float, Array, Array]],
    points: tuple[tuple[float, Estimate, Estimate], ...],
    level: float,
    wanted: str,
) -> Envelope:
    """Return the envelope through optima: compute, and the centre and draws of log size and log data."""
    if len(found) < 2:
        reason = f"an exponent needs 2 {wanted}, got {len(found)}"
        return Envelope("budgets too few", reason, points, UNKNOWN, UNKNOWN, np.empty((0, 4)), level)
    x = np.log([budget for budget, _, _ in found])
    log_N, log_D = (np.array([of[k] for of in found]) for k in (1, 2))  # (n_budgets, 1 + n_draws)
    away = x - x.mean()
    weights = away / float(away @ away)
    slopes = weights @ log_N, weights @ log_D
    lines = np.column_stack(
        [slopes[0], log_N.mean(axis=0) - slopes[0] * x.mean(), slopes[1], log_D.mean(axis=0) - slopes[1] * x.mean()]
    )
    return Envelope("ok", "", points, *_exponents(lines, level), lines, level)


def _line(x: Array, log_N: Array, log_D: Array) -> Array:
    """Return slope and value at C = 1 of both."""
    (a, k), (b, m) = np.polyfit(x, log_N, 1), np.polyfit(x, log_D, 1)
    return np.array([a, k, b, m])


def _exponents(lines: Array, level: float) -> tuple[Estimate, Estimate]:
    return from_draws(float(lines[0, 0]), lines[1:, 0], level), from_draws(float(lines[0, 2]), lines[1:, 2], level)
