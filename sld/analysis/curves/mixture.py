"""Forecasts of curves: the shapes of all runs weighed together, and the quantiles of their mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.analysis.curves.shapes import HABITS, Fitted, Habits, log_prior
from sld.core.arrays import Array

_ROUNDS = 12  # of expectation and maximisation; the weights of the shapes move by less than 1 % after ten
LEAST_INSIDE = 1e-6  # of a forecast within its bounds
_ENOUGH = 0.998  # of the weight: what is left moves no quantile that is printed
_KEPT = 150  # components of a mixture that are kept for quantiles: the rest weigh less than 1e-3 together


@dataclass(frozen=True, eq=False)
class Mixture:
    """What one curve will be at its end: normal distributions, some of the value and some of its logarithm.

    Attributes:
        weight: Of each component (n_components,), summing to 1.
        middle: Of each component (n_components,), on its scale.
        spread: Standard deviation of each (n_components,): the curve's own.
        noise: Standard deviation of a single new point about the curve, of each component (n_components,).
        log: Whether a component is of the logarithm (n_components,).
        lower: Bound that no value falls below: what components give beyond it counts as nothing.
        upper: Bound that no value exceeds.
    """

    weight: Array
    middle: Array
    spread: Array
    noise: Array
    log: Array
    lower: float = -np.inf
    upper: float = np.inf

    def quantiles(self, shares: Sequence[float], *, run: bool = True) -> Array:
        """Return quantiles (n_shares,): of a new measurement, or (`run=False`) of the curve itself."""
        sd = np.hypot(self.spread, self.noise) if run else self.spread
        sd = np.maximum(sd, 1e-12 * np.maximum(np.abs(self.middle), 1e-300))
        lower, upper = (self._below(np.array([end]), sd)[0] for end in (self.lower, self.upper))
        if upper - lower < LEAST_INSIDE:  # every shape runs out of the bounds: the nearer one is what is left
            return np.full(len(shares), self.lower if 1 - upper < lower else self.upper)
        shares = np.clip(lower + np.asarray(shares) * (upper - lower), 1e-12, 1 - 1e-12)
        at = self._points(sd)
        found = np.interp(shares, self._below(at, sd), at)
        return np.asarray(np.clip(found, self.lower, self.upper))

    def _points(self, sd: Array) -> Array:
        """Return values (n_values,) that lie densely where the distribution does, and reach to its ends."""
        z = np.linspace(-4, 4, 17)
        each = self.middle[:, None] + z * sd[:, None]  # (n_components, n_z)
        each = np.where(self.log[:, None], np.exp(np.clip(each, -700, 700)), each).ravel()
        weight = (self.weight[:, None] * np.exp(-0.5 * z**2)).ravel()
        order = np.argsort(each)
        cumulative = np.cumsum(weight[order])
        # the tails need points of their own: an end of an interval is one of them
        share = np.concatenate(
            [np.geomspace(1e-5, 0.02, 20), np.linspace(0.02, 0.98, 160), 1 - np.geomspace(0.02, 1e-5, 20)]
        )
        inside = np.interp(share * cumulative[-1], cumulative, each[order])
        return np.unique(np.concatenate([each[order[:1]], inside, each[order[-1:]]]))

    def _below(self, values: Array, sd: Array) -> Array:
        """Return the probability of what lies below values (n_values,), bounds left aside."""
        from scipy.special import ndtr

        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(self.log, np.log(np.maximum(values[:, None], 1e-300)), values[:, None])
        return np.asarray(ndtr((t - self.middle) / sd) @ self.weight)

    def within(self, lower: float, upper: float) -> Mixture:
        """Return the same, of values between bounds."""
        return replace(self, lower=lower, upper=upper)

    def wider(self, factor: float) -> Mixture:
        """Return the same with all spreads multiplied."""
        return replace(self, spread=self.spread * factor)

    def draws(self, n: int, rng: np.random.Generator) -> Array:
        """Return values of the curve itself (n,), drawn at random."""
        grid = np.linspace(0.0005, 0.9995, 401)
        return np.asarray(np.interp(rng.random(n), grid, self.quantiles(grid.tolist(), run=False)))


def mixtures(fitted: Sequence[Fitted], habits: Habits = HABITS, *, pooled: bool = True) -> list[Mixture]:
    """Return the forecast of each curve, with the weights of the shapes shared by all curves as far as they agree.

    Args:
        fitted: Every shape fitted to each curve, all with a learning rate or all without.
        habits: What is known of curves in general.
        pooled: Whether the curves are of one kind; each stands alone otherwise.
    """
    if not fitted:
        return []
    logs = all(f.logs for f in fitted)
    rises = 2 * sum(f.rises for f in fitted) > len(fitted)
    prior = log_prior(habits, fitted[0].evidence.shape[2] > 1, rises)[: 2 if logs else 1]
    prior = prior - np.logaddexp.reduce(prior.ravel())
    evidence = np.array([f.evidence[: len(prior)].ravel() for f in fitted])  # (n_curves, n_combinations)
    base = np.exp(prior.ravel())
    weights = base
    for _ in range(_ROUNDS if pooled and len(fitted) > 1 else 0):
        found = _posterior(evidence, weights)
        weights = (habits.pooling * base + found.sum(0)) / (habits.pooling + len(fitted))
    posterior = _posterior(evidence, weights)
    return [_mixture(f, p, len(prior)) for f, p in zip(fitted, posterior, strict=True)]


def _posterior(evidence: Array, weights: Array) -> Array:
    found = evidence + np.log(weights)  # (n_curves, n_combinations): 100 MB for 500 curves, so it is not copied
    found -= found.max(1, keepdims=True)
    np.exp(found, out=found)
    found /= found.sum(1, keepdims=True)
    return found


def _mixture(f: Fitted, posterior: Array, n_spaces: int) -> Mixture:
    def flat(values: Array) -> Array:
        return np.broadcast_to(values, f.evidence.shape)[:n_spaces].reshape(-1)

    kept = np.argsort(posterior)[::-1][:_KEPT]
    kept = kept[: 1 + int(np.searchsorted(np.cumsum(posterior[kept]), _ENOUGH))]
    weight = posterior[kept] / posterior[kept].sum()
    is_log = np.repeat([False, True][:n_spaces], posterior.size // n_spaces)
    return Mixture(weight, flat(f.middle)[kept], flat(f.spread)[kept], flat(f.noise)[kept], is_log[kept])
