r"""Laws of the loss along a run under a schedule: fitted to curves of one schedule, they foretell another.

*Annealing law* (Tissue, Wang, Wang 2024, arXiv:2408.11029), with the areas of `schedules.py`:

$$ L(s) = L_0 + A\,S_1(s)^{-\alpha} - C\,S_2(s) . $$

*Multi-power law* (Luo, Wen, Hu et al. 2025, arXiv:2503.12811): every fall of the rate, from $\eta_{k-1}$ to $\eta_k$,
lowers the loss by a power of the area $S_k$ that was run since,

$$ L(t) = L_0 + A\,(S_1(t) + S_W)^{-\alpha} - B \sum_{k \le t} (\eta_{k-1} - \eta_k)\,
   \bigl(1 - (1 + C\,\eta_k^{-\gamma} S_k(t))^{-\beta}\bigr) . $$

Given the exponents, $L_0$, $A$ and $C$ (or $B$) are linear: they are solved exactly for each run, and only the rest is
searched. Runs share exponents and what annealing brings; each size has its own $L_0$ and $A$.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sld.analysis.curves.runs import Curve, thinned
from sld.analysis.curves.schedules import Rates
from sld.core.arrays import Array
from sld.core.errors import UsageError, suggest
from sld.core.numbers import short

LAWS = ("annealing", "multi-power")
POINTS = 120  # of a run that are fitted: a bend of the schedule is some hundredths of the run wide
_MEMORY = (0.0005, 0.2)  # 1 - lambda: falls of the rate that work for 2,000 steps, or for 5
_HUBER = 1e-3  # on the logarithm of the loss, as both papers do
DRAWS = 48  # laws that might as well be it: their spread is known to a tenth
_FALLEN = 0.02  # of the peak: by less, nothing is learned of what falling brings
_ROUNDS = 6  # of reweighting: the weights of the Huber loss have settled


@dataclass(frozen=True, eq=False)
class Observed:
    """One run as the fit takes it: thinned points of the loss after the warm-up, and the rates behind them.

    Attributes:
        name: Of the run.
        size: Index of what shares its $L_0$ and $A$.
        x: Steps (n_points,).
        y: Loss (n_points,).
        rates: Learning rate along the run.
        noise: Standard deviation of a single point about the curve, NaN where it is not known.
        autocorrelation: Of neighbouring points.
    """

    name: str
    size: int
    x: Array
    y: Array
    rates: Rates
    noise: float
    autocorrelation: float


def observe(curve: Curve, rates: Rates, size: int = 0, skip: float = 0.0) -> Observed:
    """Return a run as the fit takes it; points of the warm-up, and of the first `skip` of the run, are left out."""
    start = max(float(rates.edges[rates.risen]), skip * float(curve.x[-1]))
    kept = curve.x > start
    if kept.sum() < 4:
        raise UsageError(
            f"run {curve.name!r} has {int(kept.sum())} points after step {short(start, 4)}: four are needed"
        )
    x, y = curve.x[kept], curve.y[kept]
    noise = thinned(x, y)
    if len(x) > 2 * POINTS:  # below that, a mean of one or two points would be off its place
        # even in steps, not in their logarithm: a decay at the end is a small part of log(step)
        parts = np.array_split(np.arange(len(x)), POINTS)
        x, y = np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])
    return Observed(curve.name, size, x, y, rates, noise.noise, noise.autocorrelation)


@dataclass(frozen=True)
class CurveConstants:
    """Constants of a law of curves.

    Attributes:
        law: `annealing` or `multi-power`.
        shared: Name to value, of what all runs share.
        own: Size (its index) to its $L_0$ and $A$.
    """

    law: str
    shared: dict[str, float]
    own: dict[int, tuple[float, float]]

    def at(self, rates: Rates, step: Array, size: int = 0) -> Array:
        """Return the loss (n_steps,) under a schedule."""
        L0, A = self.own[size]
        power, drop = _features(self.law, self.shared, rates, step)
        return L0 + A * power - self.shared["C" if self.law == "annealing" else "B"] * drop


def _features(law: str, shared: dict[str, float], rates: Rates, step: Array) -> tuple[Array, Array]:
    """Return what A and C (or B) are multiplied by, at steps (n_steps,)."""
    area = rates.forward(step)
    if law == "annealing":
        return area ** -shared["alpha"], rates.annealing(step, shared["lambda"])
    power = np.maximum(area - rates.forward(rates.edges[rates.risen : rates.risen + 1]) + shared["S_W"], 1e-300)
    return power ** -shared["alpha"], _drops(rates, area, shared)


def _drops(rates: Rates, area: Array, shared: dict[str, float]) -> Array:
    size, after, when = rates.falls()
    if not len(size):
        return np.zeros_like(area)
    since = np.maximum(area[:, None] - when, 0.0)  # (n_steps, n_falls)
    # at a rate of 0 the power has no value, and no area is run either
    push = shared["C"] * np.maximum(after, 1e-9 * rates.peak) ** -shared["gamma"]
    return np.asarray((1 - (1 + push * since) ** -shared["beta"]) @ size)


@dataclass(frozen=True, eq=False)
class Fit:
    """A law of curves fitted to runs, with laws that might as well be it.

    Attributes:
        runs: What it was fitted to.
        constants: The best ones.
        drawn: Constants drawn from their distribution, autocorrelation of the points reckoned with.
        noise: Standard deviation of a single measurement about the law, relative.
    """

    runs: tuple[Observed, ...]
    constants: CurveConstants
    drawn: tuple[CurveConstants, ...]
    noise: float

    def spread(self, rates: Rates, step: Array, size: int) -> Array:
        """Return the standard deviation of the law itself at steps (n_steps,) under a schedule."""
        if not self.drawn:
            return np.zeros_like(step)
        return np.asarray(np.std([c.at(rates, step, size) for c in self.drawn], axis=0))


def fit_annealing(runs: Sequence[Observed], law: str = "annealing", *, seed: int = 0) -> Fit:
    """Fit a law of curves to runs.

    Minimises the Huber loss (delta 1e-3) of the logarithm of the loss, each run weighing the same.

    Args:
        runs: At least one; sizes are numbered from 0.
        law: `annealing` or `multi-power`.
        seed: Of the constants that are drawn.

    Raises:
        UsageError: The rate never falls in any run, so that nothing says what annealing brings.
    """
    if law not in LAWS:
        raise UsageError(suggest(law, LAWS, kind="law of curves"))
    if not any(r.rates.fallen(r.x[-1:])[0] > _FALLEN for r in runs):
        raise UsageError(
            "the learning rate never falls while these runs were measured: nothing tells what its fall brings"
        )
    search = _Search(runs, law)
    theta = search.best()
    constants = search.solved(theta)
    off = search.off(theta)
    noise = float(np.sqrt(np.mean(off**2)))
    return Fit(tuple(runs), constants, search.drawn(theta, off, np.random.default_rng(seed)), noise)


class _Search:
    """Exponents by least squares from several starts, the linear constants solved for each."""

    def __init__(self, runs: Sequence[Observed], law: str) -> None:
        self.runs, self.law = runs, law
        self.sizes = sorted({r.size for r in runs})
        self.Y = np.concatenate([r.y for r in runs])
        self.weight = np.concatenate([np.full(len(r.x), len(r.x) ** -0.5) for r in runs])
        self.weight /= self.weight.mean()
        self.peak = max(r.rates.peak for r in runs)
        self.area = max(float(r.rates.forward(r.x[-1:])[0]) for r in runs)
        self.steps = max(float(r.x[-1]) for r in runs)

    def named(self, theta: Array) -> dict[str, float]:
        """Return the constants that are searched, from numbers without bounds."""
        alpha = 2.0 / (1 + np.exp(-theta[0]))
        if self.law == "annealing":
            low = max(np.log(_MEMORY[0]), float(np.log(0.5 / self.steps)))
            high = np.log(_MEMORY[1])
            memory = 1 - np.exp(low + (high - low) / (1 + np.exp(-theta[1])))
            return {"alpha": float(alpha), "lambda": float(memory)}
        beta = float(2.0 / (1 + np.exp(-theta[3])))  # the catalogue's bounds of the law
        gamma = float(1.5 / (1 + np.exp(-theta[4])))
        # C is per area at the peak rate, so that its start does not depend on the unit of the rate
        push = float(np.exp(np.clip(theta[2], -8, 12))) / self.area * self.peak**gamma
        warm = float(np.exp(np.clip(theta[1], -12, 2))) * self.area
        return {"alpha": float(alpha), "S_W": warm, "C": push, "beta": beta, "gamma": gamma}

    def starts(self) -> list[list[float]]:
        if self.law == "annealing":
            return [[a, b] for a in (-2.0, -0.5) for b in (-2.0, 0.0, 2.0)]
        return [[-1.0, -5.0, c, -0.9, g] for c in (1.0, 4.0) for g in (-1.0, 0.0)]

    def design(self, shared: dict[str, float]) -> Array:
        """Return the matrix of the linear constants (n_points, 2 * n_sizes + 1)."""
        rows = []
        for r in self.runs:
            power, drop = _features(self.law, shared, r.rates, r.x)
            row = np.zeros((len(r.x), 2 * len(self.sizes) + 1))
            k = self.sizes.index(r.size)
            row[:, 2 * k], row[:, 2 * k + 1], row[:, -1] = 1.0, power, -drop
            rows.append(row)
        return np.concatenate(rows)

    def linear(self, shared: dict[str, float], weight: Array) -> tuple[Array, Array]:
        """Return the linear constants and the prediction; what annealing brings is not negative."""
        X = self.design(shared)
        norm = np.maximum(np.abs(X).max(0), 1e-300)
        w = weight / self.Y  # errors are relative
        found = np.linalg.lstsq((X / norm) * w[:, None], self.Y * w, rcond=None)[0] / norm
        if found[-1] < 0:
            found[:-1] = np.linalg.lstsq((X / norm)[:, :-1] * w[:, None], self.Y * w, rcond=None)[0] / norm[:-1]
            found[-1] = 0.0
        return found, X @ found

    def errors(self, theta: Array) -> Array:
        _, fitted = self.linear(self.named(theta), self.weight)
        return np.asarray((np.log(np.maximum(fitted, 1e-12)) - np.log(self.Y)) * self.weight)

    def off(self, theta: Array) -> Array:
        """Return the relative errors (n_points,) of the law as it is given out."""
        _, fitted = self.linear(self.named(theta), self._robust(theta))
        return np.asarray(np.log(np.maximum(fitted, 1e-12)) - np.log(self.Y))

    def best(self) -> Array:
        """Return the numbers that fit best."""
        from scipy.optimize import least_squares

        asked: dict[str, object] = {"loss": "huber", "f_scale": _HUBER}
        found = [least_squares(self.errors, start, max_nfev=25, **asked) for start in self.starts()]
        best = min(found, key=lambda r: float(r.cost))
        return np.asarray(least_squares(self.errors, best.x, max_nfev=200, **asked).x)

    def _robust(self, theta: Array) -> Array:
        weight = self.weight
        for _ in range(_ROUNDS):
            _, fitted = self.linear(self.named(theta), weight)
            off = np.abs(np.log(np.maximum(fitted, 1e-12)) - np.log(self.Y))
            weight = self.weight * np.sqrt(np.minimum(1.0, _HUBER / np.maximum(off, 1e-300)))
        return np.asarray(weight)

    def solved(self, theta: Array, weight: Array | None = None) -> CurveConstants:
        """Return the constants behind the numbers."""
        shared = self.named(theta)
        found, _ = self.linear(shared, self._robust(theta) if weight is None else weight)
        own = {s: (float(found[2 * k]), float(found[2 * k + 1])) for k, s in enumerate(self.sizes)}
        return CurveConstants(self.law, {**shared, "C" if self.law == "annealing" else "B": float(found[-1])}, own)

    def drawn(self, theta: Array, off: Array, rng: np.random.Generator) -> tuple[CurveConstants, ...]:
        """Return laws refitted to points with errors drawn anew, in blocks as long as errors keep their sign.

        The searched numbers follow by one linear step (they move little), the linear constants exactly.
        """
        step = 1e-4
        base = self.errors(theta)
        J = np.stack([(self.errors(theta + step * e) - base) / step for e in np.eye(len(theta))], axis=1)
        # what points cannot tell stays within a third of the searched range
        inverse = np.linalg.inv(J.T @ J + np.eye(len(theta)) * float(np.mean(off**2) + 1e-16) * 0.5)
        starts = np.cumsum([0, *(len(r.x) for r in self.runs)])
        Y, found = self.Y, []
        for _ in range(DRAWS):
            drawn = np.concatenate([_blocks(off[a:b], rng) for a, b in pairwise(starts)])
            moved = theta - inverse @ (J.T @ (-drawn * self.weight))
            self.Y = Y * np.exp(drawn)
            found.append(self.solved(np.clip(moved, theta - 3, theta + 3), self.weight))
        self.Y = Y
        return tuple(found)


def _blocks(errors: Array, rng: np.random.Generator) -> Array:
    """Return errors of the same length and autocorrelation: blocks of the given ones, with signs drawn."""
    n = len(errors)
    d = errors - errors.mean()
    rho = float(np.clip(np.mean(d[1:] * d[:-1]) / max(float(np.mean(d**2)), 1e-300), 0.0, 0.97)) if n > 4 else 0.0
    length = int(min(max(1, round(2 / (1 - rho))), max(n // 3, 1)))
    starts = rng.integers(0, n - length + 1, math.ceil(n / length))
    return np.concatenate([errors[s : s + length] * rng.choice((-1.0, 1.0)) for s in starts])[:n]
