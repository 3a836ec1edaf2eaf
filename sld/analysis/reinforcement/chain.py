r"""The chain of laws of value-based reinforcement learning: batch size, learning rate, data, compute, and their budget.

With the ratio $\sigma$ of updates to data (UTD: gradient steps for each step of the environment), after
arXiv:2502.04327,

$$ B^*(\sigma) = (\beta_B/\sigma)^{\alpha_B} , \quad \eta^*(\sigma) = (\beta_\eta/\sigma)^{\alpha_\eta} , \quad
D_J(\sigma) = D_J^{\min} + (\beta_J/\sigma)^{\alpha} , \quad C_J(\sigma) = k\, B^*(\sigma)\, \sigma\, D_J(\sigma) , $$

for the best batch size, the best learning rate, the steps of data to a performance $J$ and the compute that they take.
A budget $F = C + \delta D$ charges for both. Of all ratios that reach $J$, one costs least, and from one $J$ to the
next these follow a power law, which is continued to budgets that were not tried:

$$ \sigma^*(F) = (\beta_\sigma/F)^{\alpha_\sigma} . $$

The other way to go on is to continue floors and factors, $(\beta_J)^\alpha$ as a power of $D_J^{\min}$, and to look for
the least cost again. Where these two differ, nothing in the runs says which is right: the answer lies half-way (in
logarithms), and the interval holds both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import UsageError

LEAST_RATIOS = 3  # of updates to data: a floor, a factor and an exponent
LEAST_VALUES = 3  # of batch size or learning rate, for a parabola
NEAR = 2.0  # settings that need more than so many times the steps of the best say little of the bottom
LEAST_LEVELS = 2  # of performance, for a power law of the best ratio in the budget
EXPONENTS = np.geomspace(0.05, 4.0, 81)  # of D_J that are looked at; published ones lie between 0.3 and 2
BEYOND = 4.0  # the best ratio is looked for up to so many times beyond those that were run
FURTHER, LEVELS = 7.0, 60  # how far floors are continued, in logarithms (a thousandfold), and in how many levels
RATIOS = 400  # points that it is looked for at: steps of 2 % or so, refined by a parabola


@dataclass(frozen=True, eq=False)
class Settings:
    """What was run, one entry for each ratio, batch size and learning rate.

    Attributes:
        ratio: Updates for each step of data (n_settings,).
        batch: Batch size (n_settings,); NaN where the table does not have it.
        rate: Learning rate (n_settings,); NaN where the table does not have it.
        steps: Logarithm of the steps to each level of performance, the mean over runs (n_settings, n_levels); infinite
            where a run never got there.
        runs: How many each rests on (n_settings,).
        deviations: What single runs are off by, scaled to the variance of a run (n_runs, n_levels); none where no
            setting has two runs that reach every level.
    """

    ratio: Array
    batch: Array
    rate: Array
    steps: Array
    runs: Array
    deviations: Array


@dataclass(frozen=True, eq=False)
class Prices:
    r"""What a budget is charged with.

    Attributes:
        sample: Compute of one sample in one update, $k$.
        data: $\delta$: compute that a step of the environment is worth.
    """

    sample: float
    data: float


@dataclass(frozen=True, eq=False)
class Power:
    """A power law, exp(level - exponent log x); constant where the exponent is 0."""

    level: float
    exponent: float

    def at(self, x: Array | float) -> Array:
        """Return values at x."""
        return np.asarray(np.exp(self.level - self.exponent * np.log(x)))

    @classmethod
    def through(cls, x: Array, y: Array) -> Power:
        """Return the power law through points, by least squares of logarithms."""
        if len(x) < 2 or np.ptp(np.log(y)) == 0:
            return cls(float(np.log(y).mean()), 0.0)
        slope, level = np.polyfit(np.log(x), np.log(y), 1)
        return cls(float(level), -float(slope))


@dataclass(frozen=True, eq=False)
class Chain:
    r"""The chain of laws from one set of runs.

    Attributes:
        batch: $B^*(\sigma)$; None where the table has no batch size.
        rate: $\eta^*(\sigma)$; None where the table has no learning rate.
        floor: $D_J^{min}$ (n_levels,).
        factor: $\beta_J^\alpha$ (n_levels,).
        exponent: $\alpha$, the same for all levels.
        ratios: The ratios that were run.
        misfit: Standard deviation of the logarithm of the steps about the law.
    """

    batch: Power | None
    rate: Power | None
    floor: Array
    factor: Array
    exponent: float
    ratios: Array
    misfit: float

    def data(self, ratio: Array) -> Array:
        """Return the steps (n_levels, n_ratios) to each level."""
        return np.asarray(self.floor[:, None] + self.factor[:, None] * np.asarray(ratio)[None, :] ** -self.exponent)

    def compute(self, ratio: Array, prices: Prices) -> Array:
        """Return the compute (n_levels, n_ratios) to each level."""
        batch = 1.0 if self.batch is None else self.batch.at(ratio)
        return np.asarray(prices.sample * batch * ratio * self.data(ratio))

    def cheapest(self, prices: Prices) -> tuple[Array, Array, Array]:
        """Return the best ratio, its budget and its steps (n_levels,) for each level."""
        low, high = self.ratios.min() / BEYOND, self.ratios.max() * BEYOND
        ratio = np.geomspace(low, high, RATIOS)
        data = self.data(ratio)
        log = np.log(self.compute(ratio, prices) + prices.data * data)
        k = np.argmin(log, axis=1)
        rows, inner = np.arange(len(k)), np.clip(k, 1, RATIOS - 2)
        before, there, after = (log[rows, inner + d] for d in (-1, 0, 1))
        bend = before - 2 * there + after
        shift = np.where((k == inner) & (bend > 0), 0.5 * (before - after) / np.where(bend > 0, bend, 1.0), 0.0)
        best = ratio[k] * (ratio[1] / ratio[0]) ** shift
        steps = self.floor + self.factor * best**-self.exponent
        batch = 1.0 if self.batch is None else self.batch.at(best)
        spent = (prices.sample * batch * best + prices.data) * steps
        return best, spent, steps


def fit_chain(settings: Settings) -> Chain:
    r"""Fit the chain to what was run: best batch size and learning rate of each ratio, then the steps at these.

    Where at least three batch sizes were run (and the same for learning rates), the logarithm of the steps is a
    parabola in that of the batch size whose bottom moves with the ratio as a power law,

    $$ \log D = c_{\sigma J} + q\,[\log B - \log B^*(\sigma)]^2 + \ldots , $$

    which is a linear regression: all settings within `NEAR` of the best of their ratio tell where the bottom is and
    what it costs to be off. With fewer values the best setting of each ratio is taken as it is.

    Raises:
        UsageError: Fewer than `LEAST_RATIOS` ratios reach a level.
    """
    mean = _means(settings)
    ratios = np.array([s for s in np.unique(settings.ratio) if np.isfinite(mean[settings.ratio == s]).any()])
    _check(len(ratios), "any")
    best = np.array([_best_of(settings, mean, s) for s in ratios])
    laws: dict[str, Power | None] = {}
    off = np.zeros(len(mean))  # what each setting loses by not being at the bottom
    near = np.isfinite(mean)
    near[near] = mean[near] <= mean[best][np.searchsorted(ratios, settings.ratio[near])] + np.log(NEAR)
    parabolas = _bottoms(settings, mean, near, ratios)
    for name in ("batch", "rate"):
        values = getattr(settings, name)
        if np.isnan(values).any():
            laws[name] = None
        elif name in parabolas:
            laws[name], curvature = parabolas[name]
            off += curvature * (np.log(values) - np.log(laws[name].at(settings.ratio))) ** 2  # type: ignore[union-attr]
        else:
            laws[name] = Power.through(ratios, values[best])
    if parabolas:
        weight = settings.runs * near
        steps = np.stack([
            np.average((settings.steps - off[:, None])[of], axis=0, weights=weight[of])
            for of in ((settings.ratio == s) & near for s in ratios)
        ])  # fmt: skip
    else:
        steps = settings.steps[best]
    _check(int(np.isfinite(steps).sum(0).min()), "the highest")
    floor, factor, exponent, misfit = _fit_data(ratios, np.exp(steps).T)
    return Chain(laws["batch"], laws["rate"], floor, factor, exponent, ratios, misfit)


def _check(n_ratios: int, which: str) -> None:
    if n_ratios < LEAST_RATIOS:
        raise UsageError(
            f"{n_ratios} ratios of updates to data reach {which} performance; {LEAST_RATIOS} are needed: ask for lower "
            "performances, or run more ratios"
        )


def _means(settings: Settings) -> Array:
    """Return the steps of each setting, averaged over the levels that its ratio reaches; infinite where it does not."""
    found = np.full(len(settings.ratio), np.inf)
    for ratio in np.unique(settings.ratio):
        of = np.flatnonzero(settings.ratio == ratio)
        there = np.isfinite(settings.steps[of])  # (n_of, n_levels)
        levels = there[int(np.argmax(there.sum(1)))]
        if levels.any():
            found[of] = settings.steps[of][:, levels].mean(1)
    return found


def _best_of(settings: Settings, mean: Array, ratio: float) -> int:
    of = np.flatnonzero(settings.ratio == ratio)
    return int(of[int(np.argmin(mean[of]))])


def _bottoms(settings: Settings, mean: Array, near: Array, ratios: Array) -> dict[str, tuple[Power, float]]:
    """Return where the bottom of the parabola lies and how it is bent, for batch size and rate where both are known."""
    values = {"batch": settings.batch, "rate": settings.rate}
    names = [name for name, v in values.items() if not np.isnan(v).any() and len(np.unique(v[near])) >= LEAST_VALUES]
    while names:
        columns = [(settings.ratio == s)[near].astype(float) for s in ratios]
        for name in names:
            log = np.log(values[name][near])
            columns += [log**2, log, log * np.log(settings.ratio[near])]
        X = np.stack(columns, axis=1)
        weight = np.sqrt(settings.runs[near])
        found, _, rank, _ = np.linalg.lstsq(X * weight[:, None], mean[near] * weight, rcond=None)
        bent = {name: found[len(ratios) + 3 * k : len(ratios) + 3 * k + 3] for k, name in enumerate(names)}
        wrong = [name for name, (q, _, _) in bent.items() if q <= 0]
        if rank == X.shape[1] and len(X) > rank and not wrong:
            # -(p0 + p1 log ratio)/(2 q) is the logarithm of the bottom
            return {n: (Power(float(-p0 / (2 * q)), float(p1 / (2 * q))), float(q)) for n, (q, p0, p1) in bent.items()}
        names = [name for name in names if name not in wrong] if wrong else names[:-1]
    return {}


def _fit_data(ratio: Array, steps: Array) -> tuple[Array, Array, float, float]:
    """Return floors, factors, the exponent that all levels share, and the misfit, by relative least squares.

    Given the exponent, floor and factor of a level are linear and not negative.

    Args:
        ratio: (n_ratios,).
        steps: (n_levels, n_ratios); infinite where a ratio never gets there, which then does not count.
    """
    basis = ratio[None, :] ** -EXPONENTS[:, None]  # (n_exponents, n_ratios)
    w = steps**-2.0
    aa, one = w.sum(1)[None, :], (1 / steps).sum(1)[None, :]  # (1, n_levels)
    ab, bb, b1 = basis @ w.T, basis**2 @ w.T, basis @ (1 / steps).T  # (n_exponents, n_levels)
    det = np.maximum(aa * bb - ab**2, 1e-300)
    floor, factor = (bb * one - ab * b1) / det, (aa * b1 - ab * one) / det
    only_factor, only_floor = floor < 0, factor < 0
    floor = np.where(only_factor, 0.0, np.where(only_floor, one / aa, floor))
    factor = np.where(only_factor, b1 / bb, np.where(only_floor, 0.0, factor))
    # the squares of what is left, relative to each level's steps
    known = np.isfinite(steps)
    rest = (
        known.sum(1)[None, :]
        - 2 * (floor * one + factor * b1)
        + floor**2 * aa
        + 2 * floor * factor * ab
        + factor**2 * bb
    )
    k = int(np.argmin(rest.sum(1)))
    free = max(int(known.sum()) - 2 * len(steps) - 1, 1)
    return floor[k], factor[k], float(EXPONENTS[k]), float(np.sqrt(max(rest[k].sum(), 0.0) / free))


def drawn(settings: Settings, chain: Chain, n: int, rng: np.random.Generator) -> list[Chain]:
    """Return chains that might as well be it, from other runs of the same settings.

    Each setting's mean is moved by the mean of as many deviations of single runs as it has runs, drawn from those of
    all settings; all levels of a run move together. Where no setting has two runs, deviations are normal with the
    misfit of the chain.
    """
    found = []
    shape, counts = settings.steps.shape, settings.runs.astype(int)
    for _ in range(n):
        moved = settings.steps.copy()
        if len(settings.deviations):
            of = settings.deviations[rng.integers(0, len(settings.deviations), counts.sum())]
            moved += np.add.reduceat(of, np.cumsum(counts) - counts, axis=0) / counts[:, None]
        else:
            moved += chain.misfit * rng.standard_normal((shape[0], 1))
        found.append(
            fit_chain(
                Settings(
                    settings.ratio, settings.batch, settings.rate, moved, settings.runs, settings.deviations
                )
            )
        )  # fmt: skip
    return found


@dataclass(frozen=True, eq=False)
class Optimum:
    r"""The best ratio over budgets, continued in two ways.

    Attributes:
        ratio: $\sigma^*(F)$, the power law through the cheapest ratio of each level.
        spent: Budgets of levels whose floors and factors are continued (n_further,), rising; none where one is 0.
        best: The cheapest ratio of each of these (n_further,).
    """

    ratio: Power
    spent: Array
    best: Array

    @classmethod
    def of(cls, chain: Chain, prices: Prices, levels: Sequence[int] | None = None) -> Optimum:
        """Return it from the cheapest ratio of each level (or of some)."""
        best, spent, _ = chain.cheapest(prices)
        kept = np.arange(len(best)) if levels is None else np.asarray(levels)
        law = Power.through(spent[kept], best[kept])
        floor, factor = chain.floor[kept], chain.factor[kept]
        if (floor <= 0).any() or (factor <= 0).any() or np.ptp(np.log(floor)) == 0:
            return cls(law, np.zeros(0), np.zeros(0))
        slope, level = np.polyfit(np.log(floor), np.log(factor), 1)
        further = np.linspace(np.log(floor.min()) - FURTHER, np.log(floor.max()) + FURTHER, LEVELS)
        going_on = replace(chain, floor=np.exp(further), factor=np.exp(level + slope * further))
        best, spent, _ = going_on.cheapest(prices)
        rising = (np.diff(spent) > 0).all()
        return cls(law, spent, best) if rising else cls(law, np.zeros(0), np.zeros(0))

    def at(self, budget: float) -> tuple[float, float]:
        """Return the best ratio of a budget, by the power law and by floors and factors (the same where these end)."""
        by_law = float(self.ratio.at(budget))
        if not len(self.spent) or not self.spent[0] <= budget <= self.spent[-1]:
            return by_law, by_law
        return by_law, float(np.exp(np.interp(np.log(budget), np.log(self.spent), np.log(self.best))))
