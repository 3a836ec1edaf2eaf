"""From many judged candidates to one: scores on rung folds, prices, and the rules that choose.

The training error picks forms that explode outside the data; what counts here is the error on rungs that a fit has not
seen. Errors on folds differ by orders of magnitude, so their logarithms are averaged: halving the error counts the
same on an easy fold as on a hard one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from sld.core.kernel import Array
from sld.core.table import Table
from sld.search.admissible import Problem
from sld.search.candidate import Candidate

PRICE_PER_CONSTANT = 0.06  # in units of log error: a constant has to lower the fold errors by 6 %
PRICE_PER_NODE = 0.006
PRICE_PER_PROBLEM = 0.05  # for each check that fails far beyond the data
FAILED_FOLD = 25.0  # NMSE charged for a fold that could not be fitted or predicted
_EQUAL = 0.2  # mean log error that separates two candidates whatever the spread over folds
_FLOOR = 1e-8  # NMSE below which laws are equally good: rounding of published tables


def noise_floor(table: Table, target: int = 0) -> dict[str, float] | None:
    """Return the spread between repeated points, or None if no point is repeated.

    Returns:
        "relative_sd": standard deviation over the mean; "nmse": variance over the variance of the target;
        "n_points": points with repeats.
    """
    index = table.points()
    counts = np.bincount(index)
    repeated = counts[index] > 1
    if not repeated.any():
        return None
    y = table.Y[:, target]
    means = np.bincount(index, weights=y) / np.maximum(counts, 1)
    deviation = (y - means[index])[repeated]
    n_points = int((counts > 1).sum())
    freedom = int(repeated.sum()) - n_points
    variance = float(np.sum(deviation**2) / freedom) if freedom > 0 else 0.0
    total = float(np.var(y))
    scale = float(np.abs(y).mean())
    return {
        "relative_sd": float(np.sqrt(variance)) / scale if scale > 0 else 0.0,
        "nmse": variance / total if total > 0 else 0.0,
        "n_points": float(n_points),
    }


def fold_score(
    errors: Sequence[float], noise: float, n_constants: float, complexity: float, problems: Sequence[Problem] = ()
) -> float:
    """Return the score that selection minimises.

    Args:
        errors: NMSE on each fold; NaN for a fold that failed.
        noise: NMSE of repeated points: differences below it are luck.
        n_constants: Constants per group; of one that n groups share, one n-th.
        complexity: Nodes of the expression.
        problems: Checks that fail on the extrapolation grid.
    """
    e = np.array([FAILED_FOLD if not np.isfinite(x) else min(x, FAILED_FOLD) for x in errors])
    mean = float(np.mean(np.log(e + _FLOOR + 0.5 * noise))) if len(e) else 0.0
    prices = PRICE_PER_CONSTANT * n_constants + PRICE_PER_NODE * complexity + PRICE_PER_PROBLEM * len(problems)
    return mean + prices


def best_admissible(candidates: Iterable[Candidate]) -> Candidate | None:
    """Return the admissible candidate with the lowest score; the best of all if none is admissible."""
    ranked = rank(candidates)
    return ranked[0] if ranked else None


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return usable candidates, admissible ones first, each by score; ties by complexity, then by key."""
    usable = [c for c in candidates if c.status == "ok" and np.isfinite(c.score)]
    return sorted(usable, key=lambda c: (not c.admissible, c.score, c.complexity, c.key))


def one_standard_error(candidates: Iterable[Candidate]) -> Candidate | None:
    """Return the simplest admissible candidate that the folds cannot tell from the best one.

    The best of thousands owes part of its score to luck. Two candidates are told apart when their log errors differ,
    averaged over the folds, by more than one standard error of that mean (Breiman et al. 1984, section 3.4.3) or by
    more than `_EQUAL` in any case.
    """
    ranked = rank(candidates)
    if not ranked:
        return None
    best = ranked[0]
    base = _log_errors(best)
    equal = [best]
    for candidate in ranked[1:]:
        if candidate.admissible != best.admissible or len(candidate.fold_errors) != len(base):
            continue
        difference = _log_errors(candidate) - base
        spread = float(np.std(difference, ddof=1)) / np.sqrt(len(base)) if len(base) > 1 else 0.0
        if float(difference.mean()) <= min(spread, _EQUAL):
            equal.append(candidate)
    return min(equal, key=lambda c: (c.n_constants + 0.1 * c.complexity, c.score, c.key))


def _log_errors(candidate: Candidate) -> Array:
    errors = np.array([e if np.isfinite(e) else FAILED_FOLD for e in candidate.fold_errors])
    logs: Array = np.log(np.minimum(errors, FAILED_FOLD) + _FLOOR)
    return logs


RULES: dict[str, Callable[[Iterable[Candidate]], Candidate | None]] = {
    "one_standard_error": one_standard_error,
    "best_admissible": best_admissible,
}
