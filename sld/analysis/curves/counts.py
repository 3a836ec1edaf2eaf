r"""Counts, not means: rates with their binomial likelihood, passes among many samples, and what more samples bring.

A model that solves 0 of 1,000 is not the same as one that solves 0 of 10, and a rate of 1e-4 is a number like any other
once enough was sampled (Hu et al. 2023, arXiv:2310.03262). Nothing here takes the logarithm of a measured rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sld.analysis.curves.grids import Posterior, posterior
from sld.core.arrays import Array
from sld.core.errors import UsageError
from sld.core.numbers import exact

MOST_SAMPLES = 10_000_000  # that are looked at when the best number of samples is asked for
CLAIM = 2.0  # of the logarithm of a likelihood: what one more constant has to bring (Akaike, with one for caution)
LINKS = ("pass-rate", "sigmoid")
_PRIOR = (0.7, 0.3)  # of the two: the first was found where rates were measured down to 1e-5 (arXiv:2310.03262)


def pass_at_k(solved: object, tried: object, k: int) -> Array:
    r"""Return the unbiased estimate of pass@k of each problem, from `solved` of `tried` samples.

    $$ \text{pass@}k = 1 - \binom{n - c}{k} \Big/ \binom{n}{k} $$

    (Chen et al. 2021, arXiv:2107.03374, equation 1). Putting $\hat p = c/n$ into $1 - (1-\hat p)^k$ instead is biased.

    Args:
        solved: Right samples $c$ of each problem (n_problems,), or one number.
        tried: Samples $n$ of each problem (n_problems,), or one number.
        k: How many samples there would be, at most `tried`.

    Returns:
        (n_problems,).

    Raises:
        UsageError: A count is not possible, or k is larger than a number of samples.

    Examples:
        >>> pass_at_k([0, 1, 5], 10, 2).round(4)
        array([0.    , 0.2   , 0.7778])
    """
    from scipy.special import gammaln

    c, n = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, dtype=float)) for v in (solved, tried)))
    check_counts(c, n)
    if k < 1 or k != int(k):
        raise UsageError(f"k must be a whole number of samples, at least 1, got {exact(k)}")
    if (n < k).any():
        least = int(n.min())
        raise UsageError(
            f"pass@{k} needs at least {k} samples of each problem, and one has {least}; ask for k <= {least}"
        )
    left = np.maximum(n - c, 0)
    with np.errstate(invalid="ignore"):
        log = gammaln(left + 1) - gammaln(np.maximum(left - k, 0) + 1) - gammaln(n + 1) + gammaln(n - k + 1)
    return np.asarray(np.where(left < k, 1.0, np.abs(np.expm1(log))))


def check_counts(solved: Array, tried: Array) -> None:
    """Raise UsageError unless every pair is `solved` of `tried`, whole and possible."""
    bad = ~np.isfinite(solved) | ~np.isfinite(tried) | (solved < 0) | (tried < 1) | (solved > tried)
    bad |= (solved != np.round(solved)) | (tried != np.round(tried))
    if bad.any():
        k = int(np.argmax(bad))
        raise UsageError(
            f"counts must be whole numbers with 0 <= solved <= tried, got {exact(solved[k])} of "
            f"{exact(tried[k])} in row {k + 1}"
        )


def rate_interval(solved: float, tried: float, level: float = 0.9) -> tuple[float, float]:
    """Return the interval of a rate from `solved` of `tried` (Jeffreys 1946; its end is 0 or 1 where all agree).

    Examples:
        >>> [round(x, 5) for x in rate_interval(0, 1000)]
        [0.0, 0.00192]
    """
    from scipy.special import betaincinv

    check_counts(np.array([solved]), np.array([tried]))
    a = (1 - level) / 2
    low = 0.0 if solved == 0 else float(betaincinv(solved + 0.5, tried - solved + 0.5, a))
    high = 1.0 if solved == tried else float(betaincinv(solved + 0.5, tried - solved + 0.5, 1 - a))
    return low, high


@dataclass(frozen=True, eq=False)
class RateLaw:
    r"""How a rate grows with one variable $x$ that gets better as it grows, with `floor` and `ceiling` given.

    `pass-rate`: $p = f + (c - f)\exp(-e^{a - b z})$, the law of Hu et al. 2023 with $z = \log x$: $-\log p$ is a
    power of
    $x$. `sigmoid`: $p = f + (c - f)/(1 + e^{a - b z})$. The two are weighed by their likelihood.

    Attributes:
        floor: Rate of a model that knows nothing (chance).
        ceiling: Rate of a perfect model.
        weight: Of each link.
        posteriors: Of (a, b), for each link.
        dispersion: Variance of the counts beside a binomial one, at least 1: runs differ by more than their counts.
        centre: What is taken from z.
    """

    floor: float
    ceiling: float
    weight: tuple[float, ...]
    posteriors: tuple[Posterior, ...]
    dispersion: float
    centre: float

    def drawn(self, z: Array, rng: np.random.Generator) -> Array:
        """Return rates (n_draws, n_points): row k of z (n_draws, n_points) is put through curve k."""
        which = rng.choice(len(LINKS), len(z), p=self.weight)
        found = np.empty_like(z)
        for k, (link, p) in enumerate(zip(LINKS, self.posteriors, strict=True)):
            rows = np.flatnonzero(which == k)
            if len(rows):
                constants = p.draws(len(rows), rng)
                found[rows] = rate_of(link, constants, z[rows] - self.centre, self.floor, self.ceiling)
        return found

    def at(self, z: Array) -> Array:
        """Return the middle of the posterior of the rate (n_points,): its median."""
        values = np.concatenate(
            [
                rate_of(link, p.points, z - self.centre, self.floor, self.ceiling)
                for link, p in zip(LINKS, self.posteriors, strict=True)
            ]
        )
        weight = np.concatenate([w * p.weight for w, p in zip(self.weight, self.posteriors, strict=True)])
        middle = []
        for column in values.T:
            order = np.argsort(column)
            cumulative = np.cumsum(weight[order])
            middle.append(column[order][int(np.searchsorted(cumulative, 0.5))])
        return np.array(middle)


def rate_of(link: str, ab: Array, z: Array, floor: float, ceiling: float) -> Array:
    """Return rates (n_curves, n_points) from constants (n_curves, 2) and z (n_points,)."""
    t = ab[:, :1] - ab[:, 1:] * z
    with np.errstate(over="ignore"):
        p = np.exp(-np.exp(np.minimum(t, 700))) if link == "pass-rate" else 1 / (1 + np.exp(np.minimum(t, 700)))
    return np.asarray(floor + (ceiling - floor) * p)


def fit_rate(z: Array, solved: Array, tried: Array, *, floor: float = 0.0, ceiling: float = 1.0) -> RateLaw:
    r"""Fit a rate law to counts by their binomial likelihood; rows with 0 solved count as they should.

    Args:
        z: What the rate grows with, e.g. the logarithm of compute, or a loss with a minus sign (n_rows,).
        solved: Right answers (n_rows,).
        tried: Trials (n_rows,).
        floor: Rate of a model that knows nothing.
        ceiling: Rate of a perfect model.

    Raises:
        UsageError: Counts are not possible, or z does not vary.
    """
    check_counts(solved, tried)
    if not 0 <= floor < ceiling <= 1:
        raise UsageError(
            f"floor and ceiling must be rates with 0 <= floor < ceiling <= 1, got {exact(floor)} and {exact(ceiling)}"
        )
    centre, spread = float(z.mean()), float(np.ptp(z))
    if spread == 0:
        raise UsageError("a rate law needs rows at two sizes at least")

    def likelihood(link: str, tempered: float) -> Any:
        def of(points: Array) -> Array:
            p = np.clip(rate_of(link, points, z - centre, floor, ceiling), 1e-300, 1 - 1e-16)
            return np.asarray((solved * np.log(p) + (tried - solved) * np.log1p(-p)).sum(1) / tempered)

        return of

    # -log p from e^-12 to e^12 in the middle; over the rows it changes by a factor of e^15 at most
    limits = [(-12.0, 12.0), (0.0, 15.0 / spread)]
    found = [posterior(likelihood(link, 1.0), limits) for link in LINKS]
    best = int(np.argmax([p.best for p in found]))
    fitted = rate_of(LINKS[best], found[best].mean[None], z - centre, floor, ceiling)[0]
    expected = np.maximum(tried * fitted * (1 - fitted), 1e-12)
    # rows that expect less than one success say nothing of dispersion
    told = expected > 1
    free = int(told.sum()) - 2
    chi2 = float(np.sum((solved - tried * fitted)[told] ** 2 / expected[told]))
    dispersion = max(1.0, chi2 / free) if free >= 2 else 1.0
    if dispersion > 1:
        found = [posterior(likelihood(link, dispersion), limits) for link in LINKS]
    log = np.array([p.best for p in found]) + np.log(_PRIOR)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    return RateLaw(floor, ceiling, tuple(weight.tolist()), tuple(found), dispersion, centre)


@dataclass(frozen=True)
class Ceiling:
    """What a verifier that accepts wrong answers leaves of more samples (Stroebl et al. 2024, arXiv:2411.17501)."""

    rate: float
    false_positive: float

    @property
    def limit(self) -> float:
        r"""Share of right answers among accepted ones, $p/(p + (1-p) f)$: no number of samples passes it.

        Examples:
            >>> round(Ceiling(0.3, 0.1).limit, 3)
            0.811
        """
        accepted = self.rate + (1 - self.rate) * self.false_positive
        return self.rate / accepted if accepted > 0 else 0.0

    def right(self, k: Array) -> Array:
        """Return the probability that the first accepted of k samples is right (n_k,)."""
        refused = (1 - self.rate) * (1 - self.false_positive)
        return np.asarray(self.limit * -np.expm1(k * np.log(refused))) if refused > 0 else np.full(len(k), self.limit)

    def wrong(self, k: Array) -> Array:
        """Return the probability that the first accepted of k samples is wrong (n_k,)."""
        refused = (1 - self.rate) * (1 - self.false_positive)
        share = -np.expm1(k * np.log(refused)) if refused > 0 else np.ones(len(k))
        return np.asarray((1 - self.limit) * share if self.rate + self.false_positive > 0 else np.zeros(len(k)))

    def samples(self, k: Array) -> Array:
        """Return how many samples are drawn on average until one is accepted, k at most (n_k,)."""
        accepted = self.rate + (1 - self.rate) * self.false_positive
        return (
            np.asarray(-np.expm1(k * np.log1p(-accepted)) / accepted)
            if 0 < accepted < 1
            else np.minimum(k, 1.0 if accepted else k)
        )


@dataclass(frozen=True, eq=False)
class Difficulty:
    r"""How often problems are solved, over problems: a Beta distribution, and a share that is never solved.

    $$ \text{pass@}k = (1 - z)\Bigl(1 - \frac{B(a, b + k)}{B(a, b)}\Bigr) $$

    Its tail near rate 0 gives the power laws of repeated sampling (Schaeffer et al. 2025, arXiv:2502.17578).
    """

    a: float
    b: float
    never: float

    def coverage(self, k: object) -> Array:
        """Return the share of problems with at least one right sample among k (n_k,)."""
        from scipy.special import betaln

        k = np.asarray(k, dtype=float)
        return np.asarray((1 - self.never) * -np.expm1(betaln(self.a, self.b + k) - betaln(self.a, self.b)))

    def rates(self, n: int) -> Array:
        """Return rates of problems at the middles of n equal shares (n,), those never solved included."""
        from scipy.special import betaincinv

        share = (np.arange(n) + 0.5) / n
        solved = np.clip((share - self.never) / (1 - self.never), 0, 1) if self.never < 1 else np.zeros(n)
        return np.where(share < self.never, 0.0, betaincinv(self.a, self.b, solved))


def fit_difficulty(solved: Array, tried: Array, start: Difficulty | None = None) -> Difficulty:
    """Return the distribution of rates over problems that makes the counts most likely.

    Args:
        solved: Right samples of each problem (n_problems,).
        tried: Samples of each problem (n_problems,).
        start: A distribution to begin at; several of our own otherwise.
    """
    from scipy.optimize import minimize
    from scipy.special import betaln

    check_counts(solved, tried)
    pairs, counts = np.unique(np.stack([solved, tried], 1), axis=0, return_counts=True)
    c, n = pairs.T

    def cost(theta: Array) -> float:
        a, b = np.exp(np.clip(theta[:2], -7, 12))
        log = betaln(a + c, b + n - c) - betaln(a, b)
        if len(theta) > 2:
            never = 1 / (1 + np.exp(-np.clip(theta[2], -30, 30)))
            log = np.where(c == 0, np.logaddexp(log + np.log1p(-never), np.log(never)), log + np.log1p(-never))
        return float(-(counts @ log))

    def best(starts: Sequence[tuple[float, ...]], most: int) -> Any:
        asked = {"maxiter": most, "xatol": 1e-2, "fatol": 1e-2}
        return min((minimize(cost, s, method="Nelder-Mead", options=asked) for s in starts), key=lambda r: float(r.fun))

    if start is not None:
        begun = (float(np.log(start.a)), float(np.log(start.b)))
        return _difficulty(best([(*begun, np.log(start.never / (1 - start.never)))] if start.never else [begun], 80).x)
    plain = best([(-1.0, 0.5), (0.5, 2.0), (-1.5, 2.5)], 400)
    never = best([(*plain.x, -3.0), (*plain.x, -0.5), (0.5, 2.0, -0.5)], 600) if (c == 0).any() else plain
    # problems that nothing will ever solve are a claim: it has to explain the counts clearly better
    return _difficulty(never.x if never.fun < plain.fun - CLAIM else plain.x)


def _difficulty(theta: Array) -> Difficulty:
    a, b = np.exp(np.clip(theta[:2], -7, 12))
    return Difficulty(float(a), float(b), float(1 / (1 + np.exp(-theta[2]))) if len(theta) > 2 else 0.0)


@dataclass(frozen=True)
class BestSamples:
    """How many samples of a problem pay.

    Attributes:
        k: The best number.
        worth: What it is worth, for each problem, in units of a right answer.
        right: Share of problems answered rightly.
        wrong: Share of problems answered wrongly.
        sampled: Samples drawn for a problem, on average.
        at_end: Whether the most that is looked at is still the best: then nothing says where to stop.
    """

    k: int
    worth: float
    right: float
    wrong: float
    sampled: float
    at_end: bool


def best_samples(
    rates: Array,
    *,
    sample_cost: float,
    wrong_cost: float = 0.0,
    false_positive: float = 0.0,
    stop: bool = False,
    most: int = MOST_SAMPLES,
) -> BestSamples:
    r"""Return the number of samples $k$ that maximises right answers minus costs, in units of a right answer.

    $$ \max_k \; \operatorname{mean}_i\; P_i(\text{right} \mid k) - w\,P_i(\text{wrong} \mid k) - s\,n_i(k) $$

    The answer to a problem is its first sample that the verifier accepts. All $k$ samples are drawn, $n_i(k) = k$, or,
    with `stop`, no more than up to that one.

    Args:
        rates: How often a sample of each problem is right (n_problems,).
        sample_cost: Cost $s$ of one sample.
        wrong_cost: Cost $w$ of a wrong answer that was accepted.
        false_positive: How often the verifier accepts a wrong answer.
        stop: Whether sampling of a problem ends at the first accepted sample.
        most: Largest number that is looked at.

    Raises:
        UsageError: A cost is negative or a rate no rate.

    Examples:
        The gain of one more, 0.3 * 0.7**k, falls below the cost of one after 16:

        >>> best_samples(np.array([0.3]), sample_cost=0.001).k
        16
    """
    if not (sample_cost >= 0 and wrong_cost >= 0 and 0 <= false_positive < 1):
        raise UsageError("costs are at least 0, and the share of wrong answers accepted is at least 0 and below 1")
    if not ((rates >= 0) & (rates <= 1)).all():
        raise UsageError("rates must lie between 0 and 1")

    def worth(k: Array) -> tuple[Array, Array, Array, Array]:
        each = [Ceiling(float(p), false_positive) for p in rates]
        right = np.mean([c.right(k) for c in each], axis=0)
        wrong = np.mean([c.wrong(k) for c in each], axis=0)
        drawn = np.mean([c.samples(k) for c in each], axis=0) if stop else k
        return right - wrong_cost * wrong - sample_cost * drawn, right, wrong, drawn

    k = np.unique(np.round(np.geomspace(1, most, 400)))
    i = int(np.argmax(worth(k)[0]))
    low, high = float(k[max(i - 1, 0)]), float(k[min(i + 1, len(k) - 1)])
    near = np.unique(np.round(np.linspace(low, high, 400)))
    fine = worth(near)
    j = int(np.argmax(fine[0]))
    value, right, wrong, drawn = (float(v[j]) for v in fine)
    return BestSamples(int(near[j]), value, right, wrong, drawn, at_end=bool(near[j] >= most))


def monkeys(coverage: tuple[float, float], k: tuple[float, float]) -> tuple[float, float]:
    r"""Return $(a, b)$ of $\log(\text{coverage}) = a k^b$ through two points (Brown et al. 2024, arXiv:2407.21787).

    Examples:
        >>> [round(x, 3) for x in monkeys((0.159, 0.56), (1, 250))]
        [-1.839, -0.209]
    """
    t = np.log(-np.log(np.array(coverage)))
    b = float((t[1] - t[0]) / np.log(k[1] / k[0]))
    return -float(np.exp(t[0] - b * np.log(k[0]))), b
