r"""Scores that follow one number: a loss, or the logarithm of compute; with draws of the whole curve.

With $v$ rising as models get better (a loss with a minus sign, or $\log C$), the shapes are

$$ m = f + h\,\sigma(k(v - v_0)), \qquad m = a + h\,e^{k v}, \qquad m = a + h\,v, \qquad m = f + h\,\exp(-e^{-k(v -
v_0)}) , $$

a sigmoid with floor $f$ at chance, the exponential of Gadre et al. (2024, arXiv:2403.08540: error $= \varepsilon -
\kappa e^{-\gamma L}$), a line, and the pass-rate law of Hu et al. (2023, arXiv:2310.03262). Floor and height are linear
where they are not given; the rest is a grid whose weights are the posterior (`grids.py`). A score without a ceiling
may be another loss with a minus sign: then the shifted power of Brandfonbrener et al. (2024, arXiv:2411.12925) is tried
as well, $L' = E' + \kappa (L - E)^{\gamma}$.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sld.analysis.curves.counts import RateLaw, fit_rate
from sld.analysis.curves.grids import Posterior, posterior
from sld.core.arrays import Array
from sld.core.errors import UsageError

# with the weight of each before any row is seen: scores between chance and 1 were mostly published as sigmoids
SHAPES = {"sigmoid": 0.6, "exponential": 0.15, "line": 0.1, "pass-rate": 0.15, "shifted power": 0.6}
LEAST_ROWS = 4  # level, height, place and steepness of a curve
_NOISE_ROWS = 1.0  # what is known of noise before rows are seen, in rows
_NOISE = 0.03  # of the spread of the scores: how large it is then
_PLACES = (-1.0, 2.5)  # of its middle, in spreads of v from the mean: half a spread below the rows, two above
_STEEP = (0.7, 40.0)  # of a sigmoid over the spread of v: from nearly a line to a step between two rows


@dataclass(frozen=True)
class Bounds:
    """What is known of a score.

    Attributes:
        floor: Its value for a model that knows nothing (chance); None if it is to be found.
        ceiling: The most that it can be; None without a limit.
        lowest: The least that it can be, where the floor is to be found; None without a limit.
    """

    floor: float | None = None
    ceiling: float | None = None
    lowest: float | None = None


@dataclass(frozen=True, eq=False)
class _Part:
    """One shape: its posterior over (k, v0), and the linear constants at each point of the grid."""

    shape: str
    grid: Posterior
    constants: Array  # (n_points, 2): floor and height
    covariance: Array  # (n_points, 2, 2), without the variance of the noise
    noise: Array  # (n_points,): standard deviation


@dataclass(frozen=True, eq=False)
class Link:
    """A score as a curve of one number, with draws.

    Attributes:
        parts: The shapes.
        weight: Of each shape.
        bounds: Floor and ceiling that are known.
        centre: What is taken from v.
        spread: What it is divided by then.
        rates: The law of counts instead, where the score is a share of trials.
    """

    parts: tuple[_Part, ...]
    weight: tuple[float, ...]
    bounds: Bounds
    centre: float
    spread: float
    rates: RateLaw | None = None

    @property
    def shape(self) -> str:
        """The shape with the highest weight."""
        if self.rates is not None:
            return ("pass-rate", "sigmoid")[int(np.argmax(self.rates.weight))]
        return self.parts[int(np.argmax(self.weight))].shape

    @property
    def noise(self) -> float:
        """Standard deviation of a score about the curve; of counts, 0: their noise depends on how many there are."""
        if self.rates is not None:
            return 0.0
        return float(sum(w * (p.grid.weight @ p.noise) for w, p in zip(self.weight, self.parts, strict=True)))

    def draws(self, v: Array, rng: np.random.Generator) -> Array:
        """Return scores, one curve a row.

        Args:
            v: What it follows (n_draws, n_points): row k is put through curve k.
            rng: Where chance comes from.
        """
        n = len(v)
        if self.rates is not None:
            return self._rates(v, rng)
        counts = rng.multinomial(n, self.weight)
        found = np.empty_like(v)
        order = rng.permutation(n)
        at = 0
        for part, m in zip(self.parts, counts, strict=True):
            rows = order[at : at + m]
            at += m
            if m:
                found[rows] = self._drawn(part, v[rows], rng)
        return self.clipped(found)

    def _rates(self, v: Array, rng: np.random.Generator) -> Array:
        assert self.rates is not None
        return self.rates.drawn(v, rng)

    def _drawn(self, part: _Part, v: Array, rng: np.random.Generator) -> Array:
        k = part.grid.indices(len(v), rng)
        phi = _phi(part.shape, part.grid.points[k], (v - self.centre) / self.spread)
        cov, noise = part.covariance[k], part.noise[k]
        # Cholesky's root by hand: a floor that is given has no variance, and rounding may take that of the height
        first = np.sqrt(cov[:, 0, 0])
        beside = np.divide(cov[:, 0, 1], first, out=np.zeros(len(v)), where=first > 0)
        second = np.sqrt(np.maximum(cov[:, 1, 1] - beside**2, 0.0))
        e = rng.standard_normal((2, len(v))) * noise
        floor = part.constants[k, 0] + first * e[0]
        height = part.constants[k, 1] + beside * e[0] + second * e[1]
        return np.asarray(floor[:, None] + height[:, None] * phi)

    def at(self, v: Array) -> Array:
        """Return the mean score over all curves (n_points,)."""
        if self.rates is not None:
            return self.rates.at(v)
        total = np.zeros_like(v)
        for w, part in zip(self.weight, self.parts, strict=True):
            kept = np.argsort(part.grid.weight)[::-1][:200]
            share = part.grid.weight[kept] / part.grid.weight[kept].sum()
            z = np.broadcast_to((v - self.centre) / self.spread, (len(kept), len(v)))
            phi = _phi(part.shape, part.grid.points[kept], z)
            c = part.constants[kept]
            total += w * (share @ self.clipped(c[:, :1] + c[:, 1:] * phi))
        return total

    def clipped(self, values: Array) -> Array:
        """Return scores no lower than a known floor and no higher than the ceiling."""
        known = [b for b in (self.bounds.floor, self.bounds.lowest) if b is not None]
        low = max(known, default=-np.inf)
        return np.asarray(np.clip(values, low, np.inf if self.bounds.ceiling is None else self.bounds.ceiling))


def _phi(shape: str, points: Array, z: Array) -> Array:
    """Return a shape (n_points, n_rows), about 0 to 1 on the rows, from points (k, v0) and z (n_points, n_rows)."""
    if shape == "line":
        return z
    k = np.exp(points[:, :1])
    if shape == "shifted power":
        return np.asarray(-(np.maximum(np.exp(points[:, 1:]) - z, 0.0) ** k))
    if shape == "exponential":
        return np.asarray(np.exp(np.clip(k * (z - 1), -700, 50)))
    t = np.clip(k * (z - points[:, 1:]), -50, 50)
    return np.asarray(1 / (1 + np.exp(-t)) if shape == "sigmoid" else np.exp(-np.exp(-t)))


def fit_link(
    v: Array,
    score: Array,
    bounds: Bounds = Bounds(),
    *,
    trials: Array | None = None,
    shapes: Sequence[str] = tuple(SHAPES),
    weight: Array | None = None,
) -> Link:
    """Fit a score as a curve of one number that rises as models get better.

    Args:
        v: The number (n_rows,).
        score: The score, higher is better (n_rows,); with `trials`, the number of right answers.
        bounds: Floor and ceiling, where they are known.
        trials: Number of trials of each row: the binomial likelihood is used then, and 0 right answers count.
        shapes: The shapes that are tried.
        weight: Of each row (n_rows,); even if not given.

    Raises:
        UsageError: There are too few rows, or v does not vary.
    """
    if len(v) < LEAST_ROWS or np.ptp(v) == 0:
        raise UsageError(f"a score needs {LEAST_ROWS} rows at different sizes at least, got {len(np.unique(v))}")
    centre, spread = float(v.mean()), float(np.ptp(v))
    if trials is not None:
        floor, ceiling = bounds.floor or 0.0, 1.0 if bounds.ceiling is None else bounds.ceiling
        rates = fit_rate(v, score, trials, floor=floor, ceiling=ceiling)
        return Link((), (), Bounds(floor, ceiling, 0.0), centre, spread, rates)
    z = (v - centre) / spread
    w = np.ones(len(v)) if weight is None else weight / weight.mean()
    # from one loss to another; a score with a ceiling bends the other way
    kept = [shape for shape in shapes if shape != "shifted power" or bounds.ceiling is None]
    tried = [_part(shape, z, score, bounds, w) for shape in kept]
    parts = [p for p in tried if p is not None]
    if not parts:
        raise UsageError("the score falls as models get better, or every curve leaves the bounds that were given")
    # Akaike's weights: each free constant costs 1. The full evidence would punish a sigmoid for all the places where
    # its middle could have been, although a curve that has not bent yet says nothing against one
    log = np.array([p.grid.best - p.grid.points.shape[1] + np.log(SHAPES[p.shape]) for p in parts])
    share = np.exp(log - log.max())
    return Link(tuple(parts), tuple((share / share.sum()).tolist()), bounds, centre, spread)


def _part(shape: str, z: Array, score: Array, bounds: Bounds, w: Array) -> _Part | None:
    limits = {
        "line": [(0.0, 1e-9)],
        "exponential": [(np.log(0.1), np.log(30.0))],
        "sigmoid": [(np.log(_STEEP[0]), np.log(_STEEP[1])), _PLACES],
        "pass-rate": [(np.log(_STEEP[0] / 2), np.log(_STEEP[1])), _PLACES],
        "shifted power": [(np.log(0.3), np.log(3.0)), (np.log(0.15), np.log(20.0))],
    }[shape]
    prior = (_NOISE * max(float(np.std(score)), 1e-12)) ** 2 * _NOISE_ROWS
    fixed = None if shape in ("line", "shifted power") else bounds.floor
    n = float(len(z))

    def solved(points: Array) -> tuple[Array, Array, Array, Array]:
        phi = _phi(shape, points, np.broadcast_to(z, (len(points), len(z))))
        y = score - (fixed or 0.0) if fixed is not None else score
        if fixed is not None:
            s = np.maximum((phi * phi) @ w, 1e-12)
            h = (phi * y) @ w / s
            c = np.stack([np.full(len(points), fixed), h], axis=1)
            cov = np.zeros((len(points), 2, 2))
            cov[:, 1, 1] = 1 / s
            rest = np.maximum((y * y) @ w - h * ((phi * y) @ w), 0.0)
        else:
            sw, sp, spp = w.sum(), phi @ w, (phi * phi) @ w
            det = np.maximum(sw * spp - sp**2, 1e-12)
            sy, spy = float(y @ w), (phi * y) @ w
            h = (sw * spy - sp * sy) / det
            a = (sy - h * sp) / sw
            c = np.stack([a, h], axis=1)
            cov = np.stack([np.stack([spp, -sp], 1), np.stack([-sp, np.full(len(points), sw)], 1)], 1)
            cov = cov / det[:, None, None]
            rest = np.maximum((y * y) @ w - a * sy - h * spy, 0.0)
        scale2 = (rest + prior) / (n + _NOISE_ROWS - c.shape[1])
        log = -0.5 * (n + _NOISE_ROWS - c.shape[1]) * np.log(rest + prior)
        log = np.where(c[:, 1] > 0, log, -np.inf)
        log = np.where(_outside(shape, c, bounds), -np.inf, log)
        return log, c, cov, np.sqrt(scale2)

    try:
        grid = posterior(lambda points: solved(points)[0], limits)
    except FloatingPointError:
        return None
    _, c, cov, noise = solved(grid.points)
    return _Part(shape, grid, c, cov, noise)


def _outside(shape: str, c: Array, bounds: Bounds) -> Array:
    """Return which curves leave what is known: a sigmoid with a floor below chance or a top above the ceiling."""
    out = np.zeros(len(c), dtype=bool)
    if shape not in ("sigmoid", "pass-rate"):
        return out
    if bounds.ceiling is not None:
        out |= c.sum(1) > bounds.ceiling + 1e-9
    if bounds.lowest is not None:
        out |= c[:, 0] < bounds.lowest - 1e-9
    return out
