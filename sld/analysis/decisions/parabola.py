r"""One parabola for each budget (approach 2 of Hoffmann et al. 2022), its minimum with an interval, and the line.

With $x = \log N$, the losses of a budget are fitted by least squares to $c_0 + c_1 x + c_2 x^2$. The minimum lies at
$x^* = -c_1 / 2 c_2$. Its interval holds every $x$ at which the slope $c_1 + 2 c_2 x$ does not differ from zero (Fieller
1954): unlike a standard error it stays right where the curvature is hardly known, and is then open. The variance of a
row is that of the residuals of all budgets together.

The line through the minima, $\log N^* = k + a \log C$, is fitted by least squares, as in the paper. The variance of its
slope follows from those of the minima. Where the minima scatter about the line by more than that, it is widened to what
the scatter shows (Birge 1932).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sld.analysis.decisions.budgets import LEAST_SIZES, Sweep
from sld.analysis.decisions.estimate import Estimate
from sld.analysis.decisions.spans import UNKNOWN
from sld.core.arrays import Array
from sld.core.errors import UsageError

Status = Literal["ok", "too few sizes", "no interior minimum", "off-centre"]

# of the sizes' range, on the log axis: a minimum next to the smallest or largest size is one side of a parabola only,
# and what it hides of the other side moves it
_EDGE = 0.1
_LARGEST = 709.0  # logarithm of the largest number that there is


@dataclass(frozen=True)
class Parabola:
    """The parabola of one budget.

    Attributes:
        budget: Compute.
        status: "ok", or why there is no minimum to be used.
        reason: The same as a sentence; empty where it is ok.
        N: (n_rows,) sizes of its runs.
        D: (n_rows,) their data.
        loss: (n_rows,) their losses.
        coefficients: c0, c1, c2 of the parabola in log N; NaN where there is none.
        best_N: The minimum with its interval; where the status is not ok, the value that is not to be used, or NaN.
        best_D: Data at the minimum.
        best_loss: Loss at the minimum.
        lowest: Number of the run with the lowest loss.
        variance: Of the logarithm of the minimum.
    """

    budget: float
    status: Status
    reason: str
    N: Array
    D: Array
    loss: Array
    coefficients: Array
    best_N: Estimate
    best_D: Estimate
    best_loss: float
    lowest: int
    variance: float

    @property
    def ok(self) -> bool:
        """Whether the minimum can be used."""
        return self.status == "ok"

    @property
    def n_sizes(self) -> int:
        """How many sizes were trained."""
        return len(np.unique(self.N))

    def curve(self, N: Array) -> Array:
        """Return the parabola at sizes."""
        c0, c1, c2 = self.coefficients
        x = np.log(N)
        return np.asarray(c0 + x * (c1 + x * c2))


@dataclass(frozen=True)
class Line:
    """A power of compute through optima, `exp(intercept) * C**slope`.

    Attributes:
        slope: The exponent with its interval.
        intercept: Of the logarithm.
        center: Mean of log C of the optima.
        variances: Of the value at the centre, and of the slope; NaN where nothing is known.
        quantile: How many standard errors the interval reaches.
    """

    slope: Estimate
    intercept: float
    center: float
    variances: tuple[float, float]
    quantile: float

    def at(self, compute: float) -> Estimate:
        """Return the value at a compute, with its interval."""
        z = math.log(compute)
        value = self.intercept + self.slope.value * z
        own, of_slope = self.variances
        half = self.quantile * math.sqrt(own + of_slope * (z - self.center) ** 2)
        if math.isnan(half):
            return Estimate(math.exp(value))
        return Estimate(math.exp(value), _exp(value - half), _exp(value + half))


def line_through(compute: Array, values: Array, variances: Array, level: float, more_free: int = 0) -> Line:
    """Return the power of compute through optima.

    >>> C = np.array([1e18, 1e19, 1e20])
    >>> line = line_through(C, 2.0 * C**0.5, np.full(3, 1e-4), 0.9)
    >>> round(line.slope.value, 6), round(line.at(1e22).value / 2e11, 6)
    (0.5, 1.0)

    Args:
        compute: (n,) of at least two budgets.
        values: (n,) optima, positive.
        variances: (n,) of their logarithms; NaN where unknown.
        level: Of the interval.
        more_free: Degrees of freedom behind the variances.

    Raises:
        UsageError: There are fewer than two different budgets.
    """
    x, y = np.log(compute), np.log(values)
    if len(x) < 2 or not np.ptp(x) > 0:
        raise UsageError(f"a line needs optima of two budgets, got {len(x)}")
    center = float(x.mean())
    away = x - center
    weights = away / float(away @ away)
    slope = float(weights @ y)
    intercept = float(y.mean()) - slope * center
    residual = y - (intercept + slope * x)
    free = len(x) - 2
    variance = np.asarray(variances, dtype=np.float64)
    if not np.isfinite(variance).all():
        # nothing known of each: their scatter says all there is
        variance = np.full(len(x), float(residual @ residual) / free if free else math.nan)
        more_free = 0
    elif free and (variance > 0).all():
        birge = float(np.sum(residual**2 / variance)) / free
        variance = variance * max(1.0, birge)
    n_free = free + more_free
    quantile = student(level, n_free) if n_free > 0 else math.nan
    of_slope, own = float(weights**2 @ variance), float(variance.sum()) / len(x) ** 2
    half = quantile * math.sqrt(of_slope)
    ends = () if math.isnan(half) else (slope - half, slope + half)
    return Line(Estimate(slope, *ends), intercept, center, (own, of_slope), quantile)


def student(level: float, free: int) -> float:
    """Return how many standard errors reach to each side at a level."""
    from scipy.special import stdtrit

    return float(stdtrit(free, 0.5 + level / 2))


def parabolas(sweep: Sweep, level: float = 0.9, loss: Array | None = None) -> tuple[Parabola, ...]:
    """Return the parabola of each budget.

    Args:
        sweep: The rows by budget.
        level: Of the intervals.
        loss: (n_rows,) in place of the measured ones, e.g. simulated.
    """
    y = sweep.loss if loss is None else loss
    fits = [_Fit.of(np.log(sweep.N[rows]), y[rows]) for rows in map(sweep.of, range(len(sweep.budgets)))]
    free, variance = residual_variance(fits)
    t = student(level, free) if free else math.nan
    return tuple(_parabola(sweep, k, fit, y, variance, t) for k, fit in enumerate(fits))


@dataclass(frozen=True)
class _Fit:
    """Least squares about the middle of the sizes: c0, c1, c2, their covariance per unit of variance, the residuals."""

    middle: float
    coefficients: Array
    covariance: Array
    squares: float
    free: int

    @staticmethod
    def of(x: Array, y: Array) -> _Fit | None:
        """Return the fit; None where three sizes are not there."""
        if len(np.unique(x)) < LEAST_SIZES:
            return None
        middle = float(x.min() + x.max()) / 2
        X = np.vander(x - middle, 3, increasing=True)
        inverse: Array = np.asarray(np.linalg.inv(X.T @ X), dtype=np.float64)
        coefficients = inverse @ (X.T @ y)
        residual = y - X @ coefficients
        # of as many rows as coefficients the residual is rounding
        free = len(x) - 3
        return _Fit(middle, coefficients, inverse, float(residual @ residual) if free else 0.0, free)


def residual_variance(fits: Sequence[_Fit | None]) -> tuple[int, float]:
    """Return degrees of freedom and variance of the residuals of all budgets together."""
    free = sum(f.free for f in fits if f is not None)
    squares = sum(f.squares for f in fits if f is not None)
    return free, squares / free if free else math.nan


def _parabola(sweep: Sweep, k: int, fit: _Fit | None, y: Array, variance: float, t: float) -> Parabola:
    rows = sweep.of(k)
    N, D, loss = sweep.N[rows], sweep.D[rows], y[rows]
    budget, lowest = float(sweep.budgets[k]), int(np.argmin(loss))

    def refused(status: Status, reason: str) -> Parabola:
        no = np.full(3, math.nan)
        return Parabola(budget, status, reason, N, D, loss, no, UNKNOWN, UNKNOWN, math.nan, lowest, math.nan)

    if fit is None:
        n = len(np.unique(N))
        return refused("too few sizes", f"{n} sizes: a parabola needs {LEAST_SIZES} or more")
    _, c1, c2 = fit.coefficients
    low, high = float(np.log(N).min()), float(np.log(N).max())
    plain = _about_zero(fit.coefficients, fit.middle)
    if not c2 > 0:
        why = "the losses do not rise on both sides: the parabola opens downwards"
        return replace(refused("no interior minimum", why), coefficients=plain)
    x = -c1 / (2 * c2)
    at = fit.middle + x
    place = (at - low) / (high - low)
    V = variance * fit.covariance
    own = float(V[1, 1] + 4 * x * V[1, 2] + 4 * x * x * V[2, 2]) / (4 * c2 * c2)
    ends = fieller(c1, c2, V, t)
    N_best = Estimate(math.exp(at), *(_exp(fit.middle + e) for e in ends))
    # within a budget the data follow the size: log D is a line in log N, of slope -1 where the cost is 6ND
    slope, start = np.polyfit(np.log(N), np.log(D), 1)
    D_ends = sorted(_exp(start + slope * (fit.middle + e)) for e in ends)
    D_best = Estimate(_exp(start + slope * at), *D_ends)
    least = float(fit.coefficients @ [1.0, x, x * x])
    found = Parabola(budget, "ok", "", N, D, loss, plain, N_best, D_best, least, lowest, own)
    side = "smaller" if place < 0.5 else "larger"
    if not 0 <= place <= 1:
        why = f"the loss is lowest at the {side.replace('er', 'est')} size that was trained: train {side} ones"
        return replace(found, status="no interior minimum", reason=why)
    if not _EDGE <= place <= 1 - _EDGE:
        why = f"the minimum is next to the {side.replace('er', 'est')} size: train {side} ones"
        return replace(found, status="off-centre", reason=why)
    return found


def fieller(c1: float, c2: float, V: Array, t: float) -> tuple[float, ...]:
    """Return the ends between which the slope c1 + 2 c2 x may be zero; infinite where the curvature may be none.

    Nothing is returned where nothing is known of the variance.

    Args:
        c1: Slope at x = 0.
        c2: Half the curvature, positive.
        V: (3, 3) covariance of c0, c1, c2.
        t: How many standard errors count as nothing.
    """
    if math.isnan(t) or not np.isfinite(V).all():
        return ()
    a = 4 * (c2 * c2 - t * t * V[2, 2])
    b = 4 * (c1 * c2 - t * t * V[1, 2])
    c = c1 * c1 - t * t * V[1, 1]
    if not a > 0:
        return -math.inf, math.inf
    root = math.sqrt(max(b * b - 4 * a * c, 0.0))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def _about_zero(coefficients: Array, middle: float) -> Array:
    """Return c0, c1, c2 in x from those in x - middle."""
    c0, c1, c2 = coefficients
    return np.array([c0 - c1 * middle + c2 * middle**2, c1 - 2 * c2 * middle, c2])


def _exp(x: float) -> float:
    """Return exp, infinite where it is too large."""
    return math.exp(x) if x < _LARGEST else math.inf
