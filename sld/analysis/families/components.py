r"""Principal components of scores of which some are missing, by alternating least squares.

Of a table $Y$ (models × benchmarks) the components are the $S$, $W$ that make $\sum_{\text{measured}} (Y_{ij} - \mu_j
- S_i \cdot W_j)^2$ least, found by solving for the models with the benchmarks held, and the other way round. Without
missing scores this is the ordinary decomposition (Ruan et al. 2024, arXiv:2405.10938, take it of scores).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array

_ROUNDS = 200  # of alternating; stopped sooner where nothing moves
_STILL = 1e-9  # of the sum of squares: what counts as nothing
_RIDGE = 1e-3  # of the variance of a score: a model with fewer scores than components stays near the mean


@dataclass(frozen=True, eq=False)
class Components:
    """Components of scores.

    Attributes:
        mean: Of each benchmark (n_benchmarks,).
        scores: Of each model, uncorrelated, the largest first (n_models, n_components).
        loadings: Of each benchmark, orthonormal columns (n_benchmarks, n_components).
    """

    mean: Array
    scores: Array
    loadings: Array


def components(Y: Array, rank: int, *, rounds: int = _ROUNDS) -> Components:
    """Return the components of a table.

    Args:
        Y: (n_models, n_benchmarks); NaN where a score is missing.
        rank: How many, no more than benchmarks.
        rounds: Of alternating, at most.
    """
    known = np.isfinite(Y)
    W = known.astype(float)
    mean = np.asarray(np.nanmean(Y, axis=0))
    filled = np.where(known, Y, mean)
    ridge = _RIDGE * float(np.var(filled)) + 1e-12
    eye = ridge * np.eye(rank)
    _, _, V = np.linalg.svd(filled - mean, full_matrices=False)
    load = V[:rank].T.copy()
    last = np.inf
    for _ in range(rounds):
        R = np.where(known, Y - mean, 0.0)
        S = np.linalg.solve(np.einsum("nj,jk,jl->nkl", W, load, load) + eye, (R @ load)[..., None])[..., 0]
        load = np.linalg.solve(np.einsum("nj,nk,nl->jkl", W, S, S) + eye, (R.T @ S)[..., None])[..., 0]
        rest = np.where(known, Y - mean - S @ load.T, 0.0)
        mean = mean + rest.sum(0) / W.sum(0)
        total = float((rest**2).sum())
        if last - total < _STILL * max(total, 1e-12):
            break
        last = total
    shift = S.mean(0)
    mean = mean + load @ shift
    U, d, V = np.linalg.svd((S - shift) @ load.T, full_matrices=False)
    return Components(mean, U[:, :rank] * d[:rank], V[:rank].T)


def explained(Y: Array, most: int = 3) -> Array:
    """Return the share of the variance of scores that the first components explain, each alone (at most `most`,).

    Each is the variance of its scores over that of all, where missing scores are filled from `most` components.
    """
    rank = min(most, Y.shape[1], len(Y) - 1)
    found = components(Y, rank)
    filled = np.where(np.isfinite(Y), Y, found.mean + found.scores @ found.loadings.T)
    d = np.linalg.svd(filled - filled.mean(0), compute_uv=False)
    return np.asarray((d**2 / max((d**2).sum(), 1e-300))[:rank])
