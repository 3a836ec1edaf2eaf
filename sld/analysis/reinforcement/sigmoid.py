r"""A bounded curve in compute: where it starts, where it ends, and how much compute lies between.

Equation 1 of arXiv:2510.13786 (ScaleRL),

$$ R(C) = R_0 + \frac{A - R_0}{1 + (C_{\text{mid}}/C)^B} , $$

has the start $R_0$, the asymptote $A$, and two constants of efficiency: the compute $C_{\text{mid}}$ at which half of
the gain is there, and the exponent $B$, which says how abruptly it comes. Given $C_{\text{mid}}$ and $B$, start and
asymptote follow by linear regression, exactly and with their covariance; the two others have a grid
(`sld.analysis.curves.grids`). So the result is the whole posterior distribution, as draws of all four together: a curve
that has not bent yet says little of its asymptote, and the draws show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sld.analysis.curves.grids import posterior
from sld.analysis.curves.runs import thinned
from sld.core.arrays import Array

LEAST_POINTS = 5  # of a run: four constants, and one point that could contradict them
BEFORE, BEYOND = 10.0, 100.0  # C_mid may lie so many times before the first point, or beyond the last
STEEPEST = (0.1, 8.0)  # exponents B that are looked at
# exponents that were published lie between 0.7 and 3 (arXiv:2510.13786); weak beside ten points of a bent curve
STEEPNESS, STEEPNESS_SPREAD = 1.3, 0.6
UNBOUNDED = 3.0  # where no bound is known, A may lie so many spans of the data beyond the last value
KNOWN = 1e4  # points that a start counts as which is given: it is not asked whether the curve agrees
_LEAST_NOISE = 1e-4  # of the span: points without noise would make the grid finer than it can be
LEAST_KNOWN = 7.0  # points that count, however much neighbours agree: with fewer nothing at all could be said
_ROUNDS = 2  # the autocorrelation of what is left changes how far points count, which changes what is left


@dataclass(frozen=True, eq=False)
class Bounded:
    """Draws of one bounded curve: row k of each is one curve that might as well be it.

    Attributes:
        start: $R_0$ (n,).
        asymptote: $A$ (n,).
        middle: $C_{mid}$, compute at half of the gain (n,).
        steepness: $B$ (n,).
        noise: Standard deviation of a single measurement about the curve (n,).
    """

    start: Array
    asymptote: Array
    middle: Array
    steepness: Array
    noise: Array

    def at(self, compute: Array) -> Array:
        """Return values (n, n_points) at compute (n_points,)."""
        gained = gain(np.asarray(compute, dtype=float)[None, :], self.middle[:, None], self.steepness[:, None])
        return np.asarray(self.start[:, None] + (self.asymptote - self.start)[:, None] * gained)

    def reaching(self, value: float) -> Array:
        """Return the compute (n,) at which each curve has a value; infinite where it never has."""
        share = (value - self.start) / (self.asymptote - self.start)
        with np.errstate(all="ignore"):
            found = self.middle * (share / (1 - share)) ** (1 / self.steepness)
        return np.asarray(np.where(share <= 0, 0.0, np.where(share >= 1, np.inf, found)))


def gain(compute: Array, middle: Array, steepness: Array) -> Array:
    """Return the share of the gain that is there, 1/(1 + (C_mid/C)^B); 0 at no compute."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(1 / (1 + np.exp(np.clip(steepness * (np.log(middle) - np.log(compute)), -700, 700))))


@dataclass(frozen=True, eq=False)
class Points:
    """What a fit sees of one run.

    Attributes:
        compute: (n,), rising; 0 for what was measured before training.
        value: (n,).
        precision: How exact each is beside a single point (n,).
        noise: Standard deviation of a single point, from neighbours; NaN where these are too few.
    """

    compute: Array
    value: Array
    precision: Array
    noise: float

    @classmethod
    def of(cls, compute: Array, value: Array, after: float, start: float | None = None) -> Points:
        """Return a run thinned in log C, without what lies before `after` (but with what has no compute at all).

        Args:
            compute: (n,), rising.
            value: (n,).
            after: From which compute on points are used.
            start: The value before training where it is known, exact as `KNOWN` points; it replaces those measured.
        """
        kept, none = compute >= max(after, 1e-300), compute == 0
        part = thinned(compute[kept], value[kept])
        first, exact = (value[none], 1.0) if start is None else (np.array([start]), KNOWN)
        return cls(
            np.concatenate([np.zeros(len(first)), part.x]), np.concatenate([first, part.y]),
            np.concatenate([np.full(len(first), exact), part.precision]), part.noise,
        )  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What a value can be, and which way it goes.

    Attributes:
        lower: No value falls below it.
        upper: No value exceeds it.
        rises: Whether higher is better.
    """

    lower: float
    upper: float
    rises: bool = True


@dataclass(frozen=True, eq=False)
class _Regression:
    """Start and gain by linear regression on the share of the gain, for many (C_mid, B): arrays (n_candidates,)."""

    start: Array
    gained: Array
    rest: Array
    inverse: tuple[Array, Array, Array]  # of the normal matrix: start-start, start-gain, gain-gain
    log_det: Array


def _regress(points: Points, at: Array, ridge: float) -> _Regression:
    """Regress on the shares of the gain at (n_candidates, 2) of log C_mid and log B."""
    s = gain(points.compute[None, :], np.exp(at[:, :1]), np.exp(at[:, 1:]))
    w, y = points.precision, points.value
    sw, ss, sss = w.sum(), s @ w, (s * s) @ w + ridge
    sy, ssy = float(w @ y), s @ (w * y)
    det = np.maximum(sw * sss - ss**2, 1e-300)
    start, gained = (sss * sy - ss * ssy) / det, (sw * ssy - ss * sy) / det
    left = y - start[:, None] - gained[:, None] * s
    rest = (left**2) @ w + ridge * gained**2
    return _Regression(start, gained, np.maximum(rest, 0.0), (sss / det, -ss / det, sw / det), np.log(det))


def fit_bounded(points: Points, limits: Limits, n: int, rng: np.random.Generator) -> Bounded | None:
    """Return draws of the bounded curve of one run; None where the points do not go the way that is better.

    Args:
        points: At least `LEAST_POINTS` of them with compute above 0.
        limits: What values can be. Where no bound is known, `UNBOUNDED` spans beyond the data.
        n: Draws.
        rng: Of the draws.
    """
    from scipy.special import ndtr

    span = float(np.ptp(points.value))
    if span == 0:
        return None  # a constant goes no way at all, and a curve through it would be made of rounding
    x = points.compute[points.compute > 0]
    floor = (_LEAST_NOISE * span) ** 2
    ridge = max(floor, points.noise**2 if np.isfinite(points.noise) else 1e-4 * span**2) / (4 * span) ** 2
    ranges = [(np.log(x[0] / BEFORE), np.log(x[-1] * BEYOND)), (np.log(STEEPEST[0]), np.log(STEEPEST[1]))]
    count = len(points.value)
    temper = 1.0

    def scale(found: _Regression) -> Array:
        return np.asarray(temper * (found.rest + count * floor) / _degrees(temper, count))

    def log_posterior(at: Array) -> Array:
        found = _regress(points, at, ridge)
        sd = np.sqrt(scale(found) / temper * (found.inverse[0] + 2 * found.inverse[1] + found.inverse[2]))
        end = found.start + found.gained
        inside = ndtr((limits.upper - end) / sd) - ndtr((limits.lower - end) / sd)
        log = -0.5 * found.log_det - 0.5 * _degrees(temper, count) * np.log(found.rest / count + floor)
        prior = -0.5 * ((at[:, 1] - np.log(STEEPNESS)) / STEEPNESS_SPREAD) ** 2
        return np.asarray(log + prior + np.log(np.maximum(inside, 1e-300)))

    for _ in range(_ROUNDS):
        grid = posterior(log_posterior, ranges)
        best = _regress(points, grid.points[[int(np.argmax(grid.weight))]], ridge)
        at = grid.points[[int(np.argmax(grid.weight))]]
        s = gain(points.compute[None, :], np.exp(at[:, :1]), np.exp(at[:, 1:]))[0]
        left = (points.value - best.start[0] - best.gained[0] * s) * np.sqrt(points.precision)
        # neighbours that miss alike are no two witnesses: four constants take some of that away (4/n)
        rho = float(np.clip((left[1:] @ left[:-1]) / max(left @ left, 1e-300) + 4 / count, 0.0, 0.8))
        if left @ left > count * floor:  # less is what the grid leaves, not noise
            temper = (1 - rho) / (1 + rho)
    return _drawn(points, limits, (grid.draws(6 * n, rng), ridge, temper, count * floor), n, rng)


def _degrees(temper: float, count: int) -> float:
    """Return the degrees of freedom that the noise is known from: the points that count, less the constants."""
    return max(temper * count, min(count, LEAST_KNOWN)) - 3.0


def _drawn(
    points: Points, limits: Limits, found: tuple[Array, float, float, float], n: int, rng: np.random.Generator
) -> Bounded | None:
    """Draw start and asymptote for each pair of C_mid and B, and keep what is possible."""
    at, ridge, temper, floor = found
    fit = _regress(points, at, ridge)
    variance = temper * (fit.rest + floor) / rng.chisquare(_degrees(temper, len(points.value)), len(at))
    aa, ag, gg = (variance / temper * v for v in fit.inverse)
    z = rng.standard_normal((2, len(at)))
    start = fit.start + np.sqrt(aa) * z[0]
    gained = fit.gained + ag / np.sqrt(aa) * z[0] + np.sqrt(np.maximum(gg - ag**2 / aa, 0.0)) * z[1]
    end = start + gained
    possible = (start >= limits.lower) & (start <= limits.upper) & (end >= limits.lower) & (end <= limits.upper)
    right_way = gained > 0 if limits.rises else gained < 0
    if right_way[possible].mean() < 0.5 if possible.any() else not right_way.any():
        return None  # it goes the other way as likely as not
    kept = np.flatnonzero(possible & right_way)
    if not len(kept):
        kept = np.flatnonzero(right_way)
        start, end = (np.clip(v, limits.lower, limits.upper) for v in (start, end))
    kept = kept[rng.integers(0, len(kept), n)] if len(kept) < n else kept[:n]
    noise = np.sqrt(variance[kept])
    if np.isfinite(points.noise) and points.precision.max() > 1:  # bins are means: single points scatter more
        noise = np.maximum(noise, points.noise)
    return Bounded(start[kept], end[kept], np.exp(at[kept, 0]), np.exp(at[kept, 1]), noise)


def misfit(points: Points, limits: Limits) -> float:
    """Return the standard deviation of single points about the best bounded curve, by its degrees of freedom."""
    x = points.compute[points.compute > 0]
    side = (
        np.linspace(np.log(x[0] / BEFORE), np.log(x[-1] * BEYOND), 61),
        np.linspace(np.log(STEEPEST[0]), np.log(STEEPEST[1]), 25),
    )
    at = np.stack([m.ravel() for m in np.meshgrid(*side, indexing="ij")], axis=1)
    fit = _regress(points, at, 1e-9)
    end = fit.start + fit.gained
    possible = (end >= limits.lower) & (end <= limits.upper) & (fit.start >= limits.lower) & (fit.start <= limits.upper)
    rest = float((fit.rest[possible] if possible.any() else fit.rest).min())
    return float(np.sqrt(rest / max(len(points.value) - 4, 1)))
