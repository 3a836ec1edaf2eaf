r"""How a curve goes on: every shape that a curve of learning is known to take, weighed by how it fits so far.

A curve is measured up to $x_c$ and asked for at $x_* = h\,x_c$. In $u = x/x_c$ it is written as

$$ T(y(u)) = \ell - s\, g_\theta(u) - \rho\,[d(u) - d(1)], \qquad g_\theta(1) = 0,\; g_\theta'(1) = 1 , $$

with the level $\ell$ and the slope $s$ at the end of what is known, a shape $g_\theta$, and, where the learning rate is
known, the share $d$ of its peak by which it has fallen, times what that is worth, $\rho$, a share of the level. $T$
is the identity or the logarithm. The shapes are shifted powers,

$$ g(u) \propto \frac{1 - (u + k)^{-\alpha}}{\alpha} , $$

which hold a power law with offset ($k = 0$), a logarithm ($\alpha = 0$) and, for large $k$ and $\alpha$, an
exponential; and sigmoids in $\log u$ (Hill, `mmf4`). Given the shape, $\ell$ and $s$ follow by linear regression,
exactly and with their covariance. What the table does not tell apart keeps its weight: the forecast is the mixture of
all shapes, weighed by the probability that each gives the points (Bayes). Several curves of one table share the weights
of the shapes, as far as they agree (empirical Bayes, expectation maximisation).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sld.analysis.curves.runs import Thinned
from sld.core.arrays import Array

# fine where exponents of real curves lie: a grid too coarse for a clean power law misses by more than its noise
EXPONENTS = (
    *(-0.3, -0.15, 0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(0.55, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 2.5, 4.0),
)
SHIFTS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.4, 1.5)  # in units of the last step
# of sigmoids, in units of the last step; too coarse a grid takes a score that has levelled off for one that still rises
MIDPOINTS = (0.05, 0.1, 0.17, 0.3, 0.55, 1.0, 1.8, 3.0)
STEEPNESS = (1.0, 1.5, 2.2, 3.0, 5.0)
EARLY = (0.0, 0.03, 0.12, 0.4, 1.2)  # where misfit of the early part has the size of the noise, in last steps
# powers of the fall of the rate that what it brings may follow: in step with the rate, or mostly at the end
LATE = (1.0, 2.0)
FALLS = (0.0, 0.03, 0.06, 0.12, 0.25, 0.45)  # what a learning rate that falls to 0 is worth, as a share of the level


@dataclass(frozen=True)
class Habits:
    """What is known of curves in general, before any is seen; chosen on tables and simulations (`bench/curves.py`).

    Attributes:
        temper: How far the points of a curve count as independent, beyond the autocorrelation that is measured.
        flat: Prior weight of a curve that has stopped to move.
        sigmoid: Prior weight of the sigmoids together.
        logarithm: Prior weight of values that are fitted as logarithms.
        rising: The same, for values that rise: their logarithms have no limit above.
        exponent: Prior mean and standard deviation of the exponent.
        shift: Prior weight of a shift, for each step away from none.
        misfit: Share of the change foretold by which it is off, one standard deviation.
        pooling: How many curves the prior weighs as much as.
        falls: Median of what a learning rate that falls to 0 is worth, as a share of the level, and the spread of its
            logarithm.
        late: Prior weight of each power of `LATE`.
        doubt: How many misses in earlier parts of the curves the prior width counts as.
        wider: What the standard deviations are multiplied by.
    """

    temper: float = 0.5
    flat: float = 0.3
    sigmoid: float = 0.15
    logarithm: float = 0.3
    rising: float = 0.05
    exponent: tuple[float, float] = (0.4, 0.32)
    shift: float = 0.75
    misfit: float = 0.32
    pooling: float = 33.0
    falls: tuple[float, float] = (0.08, 0.8)
    late: tuple[float, ...] = (0.35, 0.65)
    doubt: float = 4.0
    wider: float = 1.45


HABITS = Habits()
# where no curve has more than five points: chosen on the first 3, 4 and 5 points of tables to build on, where hardly
# any curve had stopped to move, and the usual width held too little (`bench/few_points.py`)
FEW_HABITS = Habits(flat=0.02, exponent=(0.3, 0.25), wider=1.8)
FEW_POINTS = 5


def habits_for(most_points: int, priors: str = "auto") -> Habits:
    """Return what is known of curves in general, by how many points the longest has.

    >>> habits_for(4) == FEW_HABITS, habits_for(40) == HABITS, habits_for(4, "none") == HABITS
    (True, True, True)

    Args:
        most_points: Of any curve of the table, in its part so far.
        priors: "auto", or "none" for what holds for curves of any length.
    """
    return FEW_HABITS if priors == "auto" and most_points <= FEW_POINTS else HABITS


def powers(u: Array, exponent: float, shift: float) -> Array:
    """Return a shifted power that is 0 with slope 1 (in log u) at u = 1."""
    z = (u + shift) / (1 + shift)
    g = np.log(z) if exponent == 0 else -np.expm1(-exponent * np.log(z)) / exponent
    return np.asarray(g * (1 + shift))


def sigmoids(u: Array, midpoint: float, steepness: float) -> Array:
    """Return a sigmoid in log u that is 0 with slope 1 (in log u) at u = 1."""

    def hill(v: Array) -> Array:
        return np.asarray(1 / (1 + (midpoint / v) ** steepness))

    one = float(hill(np.ones(1))[0])
    return np.asarray((hill(u) - one) / (steepness * one * (1 - one)))


@lru_cache(maxsize=4)
def log_prior(habits: Habits, with_rate: bool, rises: bool = False) -> Array:
    """Return the logarithm of the prior (n_spaces, n_shapes, n_falls, n_early) of every combination."""
    mean, sd = habits.exponent
    moving = [
        np.log(width) - 0.5 * ((a - mean) / sd) ** 2 + k * np.log(habits.shift)
        for a, width in zip(EXPONENTS, np.gradient(EXPONENTS), strict=True)
        for k in range(len(SHIFTS))
    ]
    shapes = np.array(moving)
    shapes += np.log(1 - habits.flat - habits.sigmoid) - np.logaddexp.reduce(shapes)
    n_sigmoids = len(MIDPOINTS) * len(STEEPNESS)
    shapes = np.concatenate([shapes, np.full(n_sigmoids, np.log(habits.sigmoid / n_sigmoids)), [np.log(habits.flat)]])
    logarithm = habits.rising if rises else habits.logarithm
    space = np.log([1 - logarithm, logarithm])
    falls = np.zeros(1)
    if with_rate:
        worth = np.log(np.maximum(FALLS, 0.01))
        falls = -0.5 * ((worth - np.log(habits.falls[0])) / habits.falls[1]) ** 2
        # a rate whose fall brings nothing does so in one way
        falls = np.concatenate([np.log(habits.late[k]) + (falls[1:] if k else falls) for k in range(len(LATE))])
    falls = falls - np.logaddexp.reduce(falls)
    early = np.full(len(EARLY), -np.log(len(EARLY)))
    return np.asarray(space[:, None, None, None] + shapes[None, :, None, None] + falls[None, None, :, None] + early)


def _all_shapes(u: Array) -> Array:
    """Return every shape at u (n_shapes, n_points); the last is flat."""
    found = [powers(u, a, k) for a in EXPONENTS for k in SHIFTS]
    found += [sigmoids(u, m, g) for m in MIDPOINTS for g in STEEPNESS]
    return np.array([*found, np.zeros_like(u)])


@dataclass(frozen=True, eq=False)
class Fitted:
    """Every shape fitted to one curve: (n_spaces, n_shapes, n_falls, n_early) arrays, and where it is asked for.

    Attributes:
        evidence: Logarithm of the probability of the points, up to a constant.
        middle: What is foretold, on the scale of the space.
        spread: Standard deviation of `middle`, on that scale, with the misfit that curves have.
        noise: Standard deviation of a single new point, on that scale.
        logs: Whether the second space is there (all values above 0).
        rises: Whether the last value is above the first.
    """

    evidence: Array
    middle: Array
    spread: Array
    noise: Array
    logs: bool
    rises: bool = False


def fit_shapes(
    curve: Thinned,
    at: float,
    fallen: tuple[Array, float] | None = None,
    habits: Habits = HABITS,
    area: Array | None = None,
) -> Fitted:
    """Fit every shape to a curve.

    Args:
        curve: What was measured.
        at: Where it is asked for, in the unit of `curve.x` (or of `area`).
        fallen: By how much of its peak the learning rate has fallen at each point (n_points,), and at `at`.
        habits: What is known of curves in general.
        area: Forward area at each point (n_points,), in place of the steps.
    """
    x = curve.x if area is None else area
    u = x / x[-1]
    G, H = _all_shapes(u), _all_shapes(np.array([at / x[-1]]))[:, 0]
    early = np.array(EARLY)
    W = curve.precision[:, None] ** 0.5 / (1 + (early[None, :] / u[:, None]) ** 2)  # (n_points, n_early)
    spaces = [curve.y]
    logs = bool((curve.y > 0).all())
    if logs:
        spaces.append(np.log(curve.y))
    # of each power: what was brought before the last point, and what is to come
    powers_of = [(np.zeros(len(x)), 0.0)]
    if fallen is not None:
        d, last = np.maximum(fallen[0], 0.0), max(float(fallen[0][-1]), 0.0)
        powers_of = [(d**k - last**k, max(fallen[1], 0.0) ** k - last**k) for k in LATE]
    better = np.sign(curve.y[-1] - curve.y[0])
    parts = []
    for k, t in enumerate(spaces):
        one = better * (1.0 if k == 1 else abs(float(t[-1])))
        worth = [0.0] if fallen is None else [one * share for share in FALLS]
        moved = []
        for which, (before, after) in enumerate(powers_of):
            for v in worth[1:] if which else worth:
                evidence, middle, spread, change, noise = _regress(G, H, W, t - v * before, curve, habits, k == 1)
                # what a curve is off by grows with what is to come
                spread = habits.wider * np.hypot(spread, habits.misfit * (change + v * after))
                moved.append((evidence, middle + v * after, spread, noise))
        parts.append([np.stack(values, axis=1) for values in zip(*moved, strict=True)])
    evidence, middle, spread, noise = (np.stack([p[i] for p in parts]) for i in range(4))
    return Fitted(evidence, middle, spread, noise, logs, bool(better > 0))


def _regress(
    G: Array, H: Array, W: Array, t: Array, curve: Thinned, habits: Habits, log: bool
) -> tuple[Array, Array, Array, Array, Array]:
    """Return evidence, middle, spread, change (from the level now) and noise of the regressions on every shape.

    Args:
        G: Shapes at the points (n_shapes, n_points).
        H: Shapes where they are asked for (n_shapes,).
        W: Weights of the points (n_points, n_early).
        t: Values on the scale of the space (n_points,).
        curve: The curve.
        habits: What is known of curves in general.
        log: Whether the scale is logarithmic.
    """
    n = len(t)
    centre = float(t[-1])
    t = t - centre
    span = float(np.ptp(t)) or max(abs(centre), 1e-12) * 1e-6
    sw, swt, swtt = W.sum(0), t @ W, (t * t) @ W
    swg, swgg, swgt = G @ W, (G * G) @ W, (G * t) @ W
    # the slope is expected within a few spans of the curve for each factor e in x
    ridge = 0.01 * sw / n
    Sgg = np.maximum(swgg - swg**2 / sw, 0.0) + ridge
    Sgt, Stt = swgt - swg * swt / sw, np.maximum(swtt - swt**2 / sw, 0.0)
    slope = Sgt / Sgg
    rest = np.maximum(Stt - slope * Sgt, 0.0)
    count = n * habits.temper
    floor = (1e-4 * span) ** 2 * sw / n
    scale2 = (count * rest / n + floor) / max(count - 1.0, 1.0)
    evidence = (
        0.5 * habits.temper * np.log(W).sum(0)
        - 0.5 * np.log(sw)
        - 0.5 * np.log(Sgg / ridge)
        - 0.5 * count * np.log(rest / n + floor)
    )
    if log:
        evidence = evidence - habits.temper * float(np.sum(np.log(curve.y)))
    mean_g, mean_t = swg / sw, swt / sw
    level = mean_t - slope * mean_g
    change = slope * H[:, None]
    middle = level + change
    spread = np.sqrt(scale2 * (1 / sw + (H[:, None] - mean_g) ** 2 / Sgg) * max(1.0, 1.0 / habits.temper))
    noise = np.sqrt(scale2)
    if curve.precision.max() > 1 and np.isfinite(curve.noise):
        # bins are means: what single points scatter by was measured before they were averaged
        noise = np.maximum(noise, curve.noise / (abs(float(curve.y[-1])) if log else 1.0))
    return evidence, middle + centre, spread, change, noise
