r"""The constants of a sum of powers given few rows and what other tables say of such constants.

With roles as in `roles.py`, the constants of

$$ f(x) = E + \sum_k A_k \prod_i x_i^{-a_{ki}} $$

are searched as $\log a$, $\operatorname{logit}(E / y_{\min})$, the logarithms of the terms in the middle of the rows as
shares of $y_{\min}$, and $\log \sigma$. Each has a normal prior (`priors.py`), rows are taken to be
$\log y \sim N(\log f(x), \sigma^2)$. A target that rises to a ceiling has $y_{\max} / E$ in place of $E / y_{\min}$ and
terms below 0. The posterior is drawn by sequential Monte Carlo (Del Moral, Doucet and Jasra 2006): draws from the prior
are carried to the posterior in steps of the likelihood's exponent, each followed by moves of Metropolis. The estimate
is the most probable set of constants (MAP) at the median of the noise: with as many constants as rows the noise has no
mode of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array
from sld.fit.priors import ConstantPriors
from sld.fit.roles import Roles
from sld.formula.evaluation import walk
from sld.formula.expression import Expression

TAILS = 3.0  # degrees of freedom of what is foretold from few rows: 3, 5 and infinity were tried on tables to build on
_ENOUGH = 0.5  # of the draws count after a step of the exponent: fewer would be copies of a few
_MOVES = 6  # of Metropolis after each step
_LAST_MOVES = 20  # at the end, so that copies part
_STEPS = 60  # of the exponent at most; rows that agree to six digits take about 30
_ROUNDS = 300  # of the simplex that finds the mode, for each constant
_FAR = 6.0  # standard deviations of a prior: nothing is expected beyond


@dataclass(frozen=True, eq=False)
class Posterior:
    """Constants given the rows.

    Attributes:
        estimate: The most probable value of each constant.
        draws: Constant to its draws (n_draws,).
        noise: Draws of the standard deviation of rows about the law, of their logarithms (n_draws,).
        free: Draws in the units of the search (n_draws, n_free).
    """

    estimate: dict[str, float]
    draws: dict[str, Array]
    noise: Array
    free: Array


class Problem:
    """A sum of powers and the rows of one group.

    Attributes:
        names: What is searched: the exponents, `offset` if there is one, the amplitudes, `noise`.
        rising: Whether the target rises towards a ceiling.
    """

    def __init__(
        self,
        expression: Expression,
        roles: Roles,
        priors: ConstantPriors,
        columns: Mapping[str, Array],
        y: Array,
        *,
        rising: bool = False,
        errors: Array | None = None,
    ) -> None:
        """Take the rows: symbol of each variable to its column (n_rows,), and the target (n_rows,), all above 0.

        Args:
            expression: The formula.
            roles: What its constants are for.
            priors: What is known of them.
            columns: The rows of each variable.
            y: The target.
            rising: Whether it rises towards a ceiling.
            errors: Standard deviation of the logarithm of each value (n_rows,), beside the noise; none if not given.
        """
        self.expression, self.roles, self.stretch = expression, roles, priors.stretch
        self.columns = {s: np.asarray(x, dtype=float) for s, x in columns.items()}
        self.log_y, self.errors = np.log(y), errors
        self.middle = {s: np.array([np.exp(np.mean(np.log(x)))]) for s, x in self.columns.items()}
        self.rising = rising
        self.best = float(y.max() if self.rising else y.min())
        self.signs = {c: sign for term in roles.terms for c, (_, sign) in term.exponents.items()}
        self.names = [*self.signs, *(["offset"] if roles.offset else []), *(t.amplitude for t in roles.terms), "noise"]
        own = [*(priors.exponents[c] for c in self.signs), *([priors.offset] if roles.offset else [])]
        own += [*(priors.terms[t.amplitude] for t in roles.terms), priors.noise]
        self.mean, self.sd = np.array(own).T

    def constants(self, free: Array) -> dict[str, Array]:
        """Return each constant (n,) of points of the search (n, n_free)."""
        at = dict(zip(self.names, free.T, strict=True))
        found = {c: sign * np.exp(at[c]) for c, sign in self.signs.items()}
        if self.roles.offset is not None:
            share = 1.0 / (1.0 + np.exp(-at["offset"]))
            found[self.roles.offset] = self.best / share if self.rising else self.best * share
        with np.errstate(all="ignore"):
            for term in self.roles.terms:
                size = np.exp(at[term.amplitude]) * self.best * (-1.0 if self.rising else 1.0)
                found[term.amplitude] = size / walk(term.basis, self.middle, found)
        return found

    def free_of(self, constants: Mapping[str, float], log_noise: float) -> Array:
        """Return the point of the search (n_free,) of some constants."""
        found = {c: math.log(sign * constants[c]) for c, sign in self.signs.items()}
        if self.roles.offset is not None:
            value = constants[self.roles.offset]
            share = self.best / value if self.rising else value / self.best
            found["offset"] = math.log(share / (1 - share))
        for term in self.roles.terms:
            size = constants[term.amplitude] * float(np.squeeze(walk(term.basis, self.middle, constants)))
            found[term.amplitude] = math.log(abs(size) / self.best)
        return np.array([*(found[c] for c in self.names[:-1]), log_noise])

    def values(self, constants: Mapping[str, Array], columns: Mapping[str, Array]) -> Array:
        """Return what the law says (n, n_points) for each set of constants."""
        wide = {c: np.asarray(v)[:, None] for c, v in constants.items()}
        with np.errstate(all="ignore"):
            found = walk(self.expression.tree, {s: np.asarray(x)[None] for s, x in columns.items()}, wide)
        n = len(next(iter(constants.values())))
        return np.broadcast_to(np.asarray(found), (n, len(next(iter(columns.values())))))

    def log_prior(self, free: Array) -> Array:
        """Return the logarithm of the prior (n,), up to a constant."""
        z = (free - self.mean) / self.sd
        return np.where((np.abs(z) < _FAR).all(1), -0.5 * np.sum(z * z, axis=1), -np.inf)

    def log_likelihood(self, free: Array) -> Array:
        """Return the logarithm of the likelihood (n,), up to a constant."""
        found = self.values(self.constants(free), self.columns)
        noise = free[:, -1]
        with np.errstate(all="ignore"):
            miss = self.log_y - np.log(np.where(found > 0, found, np.nan))
            if self.errors is None:
                miss = miss * np.exp(-noise)[:, None]
                log = -len(self.log_y) * noise - 0.5 * np.sum(miss * miss, axis=1)
            else:
                variance = np.exp(2 * noise)[:, None] + self.errors**2
                log = -0.5 * np.sum(np.log(variance) + miss * miss / variance, axis=1)
        return np.where(np.isfinite(log), log, -np.inf)

    def posterior(self, n: int, rng: np.random.Generator) -> Posterior:
        """Return `n` draws of the constants given the rows, and the most probable ones."""
        free = self.mean + self.sd * rng.standard_normal((n, len(self.mean)))
        prior, likelihood = self.log_prior(free), self.log_likelihood(free)
        done, scale = 0.0, 1.0
        for _ in range(_STEPS):
            step = _next_step(likelihood, 1.0 - done)
            done += step
            weight = np.exp(step * (likelihood - likelihood.max()))
            kept = _resampled(weight / weight.sum(), rng)
            free, prior, likelihood = free[kept], prior[kept], likelihood[kept]
            last = done >= 1.0
            for _ in range(_LAST_MOVES if last else _MOVES):
                scale = self._move(free, prior, likelihood, done, scale, rng)
            if last:
                break
        best = self._most_probable(free, prior + likelihood)
        draws = self.constants(free)
        return Posterior(
            {c: float(v[0]) for c, v in self.constants(best[None]).items()}, draws, np.exp(free[:, -1]), free
        )

    def _move(
        self, free: Array, prior: Array, likelihood: Array, done: float, scale: float, rng: np.random.Generator
    ) -> float:
        """Move the draws where they stand by one step of Metropolis; returns how far the next one should go."""
        n, d = free.shape
        root = np.linalg.cholesky(np.cov(free, rowvar=False).reshape(d, d) + 1e-12 * np.eye(d))
        asked = free + scale * 2.38 / math.sqrt(d) * rng.standard_normal((n, d)) @ root.T
        new_prior, new = self.log_prior(asked), self.log_likelihood(asked)
        with np.errstate(invalid="ignore"):
            taken = np.log(rng.random(n)) < new_prior - prior + done * (new - likelihood)
        free[taken], prior[taken], likelihood[taken] = asked[taken], new_prior[taken], new[taken]
        return float(np.clip(scale * math.exp(taken.mean() - 0.25), 0.05, 3.0))

    def _most_probable(self, free: Array, log: Array) -> Array:
        """Return the mode (n_free,) at the median of the noise."""
        from scipy.optimize import minimize

        noise = float(np.median(free[:, -1]))

        def cost(point: Array) -> float:
            whole = np.append(point, noise)[None]
            return -float(min(self.log_prior(whole)[0] + self.log_likelihood(whole)[0], 1e300))

        begin = np.append(free[np.argmax(log), :-1], noise)
        sd = np.maximum(free[:, :-1].std(axis=0), 1e-6)
        corners = np.vstack([begin[:-1], begin[:-1] + np.diag(0.5 * sd)])
        found = minimize(
            cost, begin[:-1], method="Nelder-Mead",
            options={"initial_simplex": corners, "maxfev": _ROUNDS * len(begin), "xatol": 1e-7, "fatol": 1e-9},
        )  # fmt: skip
        return np.append(found.x, noise)


def rises(columns: Mapping[str, Array], y: Array) -> bool:
    """Return whether a target rises with the size of the runs: with the sum of the logarithms of their columns."""
    size = np.sum([np.log(x) for x in columns.values()], axis=0)
    return bool(np.sum((size - size.mean()) * (y - y.mean())) > 0)


def _next_step(likelihood: Array, most: float) -> float:
    """Return the largest step of the exponent after which enough draws count, at most `most`."""
    top = likelihood - likelihood.max()

    def share(step: float) -> float:
        weight = np.exp(step * top)
        return float(weight.sum() ** 2 / np.sum(weight * weight)) / len(top)

    if share(most) >= _ENOUGH:
        return most
    low, high = 0.0, most
    for _ in range(40):
        middle = 0.5 * (low + high) if low > 0 else high * 0.1
        low, high = (middle, high) if share(middle) >= _ENOUGH else (low, middle)
    return max(low, 1e-12)


def _resampled(weight: Array, rng: np.random.Generator) -> np.ndarray:
    """Return numbers of draws (n,), each as often as it counts, with one random number (systematic resampling)."""
    n = len(weight)
    at = (rng.random() + np.arange(n)) / n
    return np.minimum(np.searchsorted(np.cumsum(weight), at), n - 1)
