r"""Posterior distributions of two or fewer unbounded numbers, by a grid that is drawn anew around what fits.

Laws of scores have few constants that are not linear. A grid over these finds every optimum, needs no start, and its
weights are the posterior itself, so that intervals need neither refits nor normal approximations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array

_SIDE = {1: 161, 2: 31}  # points a side, by the number of sides
_ROUNDS = 6  # of drawing it anew; each can shrink a side fivefold
_WIDTH = 5.0  # half of a side, in standard deviations of the posterior


@dataclass(frozen=True, eq=False)
class Posterior:
    """Points and their weights.

    Attributes:
        points: (n_points, n_sides).
        weight: (n_points,), summing to 1.
        best: Logarithm of the highest likelihood.
    """

    points: Array
    weight: Array
    best: float

    def draws(self, n: int, rng: np.random.Generator) -> Array:
        """Return points drawn by weight, spread evenly within their cells (n, n_sides)."""
        k = rng.choice(len(self.weight), n, p=self.weight)
        cell = np.array([_spacing(side) for side in self.points.T])
        return np.asarray(self.points[k] + (rng.random((n, self.points.shape[1])) - 0.5) * cell)

    def indices(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return numbers of points drawn by weight (n,)."""
        return rng.choice(len(self.weight), n, p=self.weight)

    @property
    def mean(self) -> Array:
        """The mean (n_sides,)."""
        return np.asarray(self.weight @ self.points)


def _spacing(side: Array) -> float:
    values = np.unique(side)
    return float(values[1] - values[0]) if len(values) > 1 else 0.0


def posterior(log_likelihood: Callable[[Array], Array], limits: Sequence[tuple[float, float]]) -> Posterior:
    """Return the posterior under an even prior between limits.

    Args:
        log_likelihood: Takes points (n_points, n_sides), returns the logarithm of their likelihoods (n_points,).
        limits: Lowest and highest value of each side.
    """
    sides = [(float(a), float(b)) for a, b in limits]
    for k in range(_ROUNDS):
        axes = [np.linspace(a, b, _SIDE[len(sides)]) for a, b in sides]
        points = np.stack([m.ravel() for m in np.meshgrid(*axes, indexing="ij")], axis=1)
        log = log_likelihood(points)
        log = np.where(np.isfinite(log), log, -np.inf)
        top = float(log.max())
        if not np.isfinite(top):
            raise FloatingPointError("no point of the grid has a likelihood")
        weight = np.exp(log - top)
        weight /= weight.sum()
        new = []
        for (a, b), values, (low, high) in zip(sides, points.T, limits, strict=True):
            mean = float(weight @ values)
            sd = float(np.sqrt(weight @ (values - mean) ** 2))
            half = max(_WIDTH * sd, 1.5 * (b - a) / (_SIDE[len(sides)] - 1))
            new.append((max(mean - half, low), min(mean + half, high)))
        if all((n[1] - n[0]) > 0.7 * (s[1] - s[0]) for n, s in zip(new, sides, strict=True)):
            break
        if k < _ROUNDS - 1:
            sides = new
    return Posterior(points, weight, top)
