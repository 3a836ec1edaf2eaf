"""Draws of what models will score: constants from resampled models, a family's own from its posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sld.analysis.families.judging import Together
from sld.analysis.families.latent import Latent, Rated, family_posterior, model_posterior, resampled
from sld.analysis.families.scores import ScoreTable
from sld.core.arrays import Array, Rows

RESAMPLES = 60  # of the models; the ends of a 90 % interval are then known to a tenth of its width
EACH = 30  # draws of each family and model, from what other constants one resample gives


@dataclass(frozen=True, eq=False)
class Asked:
    """Models whose scores are asked for.

    Attributes:
        family: Number of each one's family; -1 for a family of which nothing is known (n_asked,).
        logs: Logarithms of their scales (n_asked, n_scales).
        share: Their scores that are known (n_asked, n_benchmarks); None for models that were not measured.
    """

    family: Rows
    logs: Array
    share: Array | None = None


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws, the same law in each row of all of them.

    Attributes:
        law: Of the mean score of such models (n_draws, n_asked, n_benchmarks).
        run: Of a measured score.
        gain: Logarithm of the compute that a typical family needs for the same scores, over that of this family
            (n_draws, n_asked).
    """

    law: Array
    run: Array
    gain: Array


def drawn(fitted: Together, table: ScoreTable, asked: Asked, rng: np.random.Generator) -> Drawn:
    """Draw scores.

    Each resample weighs all models anew (weights of the Bayesian bootstrap: exponential), fits the constants that
    families share again, and takes a family's own constants from their posterior given its models. Models whose other
    scores are known take their own difference from the family from these.
    """
    n, m = len(asked.family), len(table.benchmarks)
    law, run = (np.empty((RESAMPLES * EACH, n, m)) for _ in range(2))
    gain = np.zeros((RESAMPLES * EACH, n))
    weights = rng.exponential(size=(RESAMPLES, len(table.index)))
    parts = []
    for columns, one in zip(fitted.columns(m), fitted.laws, strict=True):
        own = ScoreTable(
            table.family, table.index, table.logs, table.share[:, columns], table.benchmarks[columns],
            table.floor[columns],
        )  # fmt: skip
        parts.append((columns, one, own, np.asarray(own.known.any(1))))
    for k in range(RESAMPLES):
        at = slice(k * EACH, (k + 1) * EACH)
        for columns, one, own, measured in parts:
            seen = own.take(measured)
            again = resampled(one, seen, weights[k, measured] / weights[k, measured].mean(), rng)
            share = None if asked.share is None else asked.share[:, columns]
            law[at, :, columns], run[at, :, columns], more = _scores(again, seen, asked, share, rng)
            gain[at] += more / len(parts)
    return Drawn(law, run, gain)


def _scores(
    law: Latent, table: ScoreTable, asked: Asked, share: Array | None, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return draws of scores, of measured scores (EACH, n_asked, m), and of the gain (EACH, n_asked)."""
    n, m, K = len(asked.family), len(table.benchmarks), len(law.variances.model)
    laws, runs, gain = np.empty((EACH, n, m)), np.empty((EACH, n, m)), np.zeros((EACH, n))
    rows = law.rated(asked.logs, np.maximum(asked.family, 0))
    shared = rows.features @ law.constants.slope.T  # (n, K)
    slope = _growth(law)
    noise = np.sqrt(law.variances.noise)
    known: dict[int, tuple[Array, Array]] = {}
    for i, f in enumerate(asked.family.tolist()):
        if f not in known:
            own = table.index == f
            of = law.rated(table.logs[own], table.index[own])
            mean, C = family_posterior(law, of, table.share[own])
            known[f] = mean, _root(C)
        mean, root = known[f]
        a = (mean + rng.standard_normal((EACH, mean.size)) @ root.T).reshape(EACH, K, -1)
        effect = a @ rows.own[i]  # (EACH, K)
        skills = shared[i] + effect
        if slope != 0:
            gain[:, i] = (effect @ law.constants.loading.mean(0)) / slope
        laws[:, i] = law.shares(skills)
        if share is None:
            skills = skills + np.sqrt(law.variances.model) * rng.standard_normal((EACH, K))
        elif np.isfinite(share[i]).any():
            delta, C = model_posterior(law, skills.mean(0), share[i])
            # what the family has more, the model has less: together they are what its scores say
            skills = skills.mean(0) + delta + rng.standard_normal((EACH, K)) @ _root(C).T
            laws[:, i] = law.shares(skills)
        runs[:, i] = law.shares(skills) + noise * rng.standard_normal((EACH, m))
    return laws, runs, gain


def _growth(law: Latent) -> float:
    """Return how much the mean of the benchmarks, on the logistic scale, rises with the logarithm of compute.

    Taken in the middle of all models, all scales growing alike; 0 where it does not rise.
    """
    n_scales = len(law.centre) - 1
    step = np.linspace(-0.5, 0.5, 2)[:, None] / n_scales * np.ones(n_scales)
    rows: Rated = law.rated(law.centre[:-1] + step, np.zeros(2, dtype=np.intp))
    up = np.diff(rows.features @ law.constants.slope.T, axis=0)[0] @ law.constants.loading.mean(0)
    return max(float(up), 0.0)


def _root(C: Array) -> Array:
    """Return a root of a covariance, also where rounding has taken its last digits."""
    if not C.size:
        return C
    values, vectors = np.linalg.eigh((C + C.T) / 2)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
