"""From many judged candidates to one: scores on rung folds, prices, and the rules that choose.

The training error picks forms that explode outside the data; what counts here is the error on rungs that a fit has not
seen. Errors on folds differ by orders of magnitude, so their logarithms are averaged: halving the error counts the
same on an easy fold as on a hard one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import attrgetter

import numpy as np

from sld.core.arrays import Array
from sld.data.table import Table
from sld.search.candidates.candidate import Candidate

PRICE = 1.0  # of a constant, in units of log(n) / n, see `price`
PRICE_PER_NODE = 0.1  # of the price of a constant
PRICE_PER_PROBLEM = 0.05  # in units of log error, for each check that fails far beyond the data
FAILED_FOLD = 25.0  # NMSE charged for a fold that could not be fitted or predicted
EARLY_FOLDS = 3  # a first look at a form
_EQUAL = 0.2  # mean log error that separates two candidates whatever the spread over folds
LUCK = 4  # rows: the weight of the training error beside the error on a fold's judged rows
FLOOR = 1e-8  # NMSE below which laws are equally good: rounding of published tables


def noise_floor(table: Table, target: int = 0) -> dict[str, float] | None:
    """Return the spread between repeated points, or None if no point is repeated.

    Returns:
        "relative_sd": standard deviation over the mean; "nmse": variance over the variance of the target;
        "n_points": points with repeats.
    """
    variance = table.variance_of_repeats(target)
    if variance is None:
        return None
    y = table.Y[:, target]
    n_points = int((np.bincount(table.points()) > 1).sum())
    total = float(np.var(y))
    scale = float(np.abs(y).mean())
    return {
        "relative_sd": float(np.sqrt(variance)) / scale if scale > 0 else 0.0,
        "nmse": variance / total if total > 0 else 0.0,
        "n_points": float(n_points),
    }


def price(n_constants: float, complexity: float, n_points: int) -> float:
    """Return what constants and nodes cost, in units of log error.

    A constant has to lower the log error by log(n) / n, as in Schwarz's criterion (1978) for n independent points: 5 %
    with 100 points, next to nothing with thousands, where twelve constants may be what a table of learning rates and
    batch sizes takes. Fewer than eight points count as eight.
    """
    n = max(n_points, 8)
    return PRICE * math.log(n) / n * (n_constants + PRICE_PER_NODE * complexity)


def fold_score(
    errors: Sequence[float],
    tested: Sequence[int],
    train_nmse: float,
    noise: float | Sequence[float],
    n_constants: float,
    complexity: float,
    n_points: int,
    n_problems: int = 0,
) -> float:
    """Return the score that selection minimises: the mean log error over the folds, plus prices.

    A few judged rows can be met by luck far better than any row of the training set, and the best of thousands of
    forms has such luck. Each fold's error is therefore taken together with the training error, which counts as
    `LUCK` further rows.

    Args:
        errors: NMSE on each fold; NaN for a fold that failed.
        tested: Judged rows of each fold.
        train_nmse: NMSE on all training rows.
        noise: NMSE of repeated points, or of each fold's: differences below it are luck.
        n_constants: Constants per group; of one that n groups share, one n-th.
        complexity: Nodes of the expression.
        n_points: Different points in the training rows.
        n_problems: Checks that fail on the extrapolation grid.
    """
    e = np.array([FAILED_FOLD if not math.isfinite(x) else min(x, FAILED_FOLD) for x in errors])
    n = np.array(tested, dtype=np.float64)
    e = (n * e + LUCK * train_nmse) / (n + LUCK)
    mean = float(np.mean(np.log(e + FLOOR + 0.5 * np.asarray(noise)))) if len(e) else 0.0
    return mean + price(n_constants, complexity, n_points) + PRICE_PER_PROBLEM * n_problems


def early_score(errors: Sequence[float], n_constants: int, complexity: float, n_points: int) -> float:
    """Return the mean log error over the first `EARLY_FOLDS` folds plus prices: what a first look at a form tells."""
    return mean_log(errors[:EARLY_FOLDS]) + price(n_constants, complexity, n_points)


def bar(ranked: Sequence[Candidate], n: int, n_points: int) -> float:
    """Return the early score that a form has to come near to be one of the best n; infinity while there are fewer.

    Args:
        ranked: Candidates, best first.
        n: How many count.
        n_points: Different points in the training rows.
    """
    if len(ranked) < n or len(ranked[0].fold_errors) <= EARLY_FOLDS:
        return math.inf
    return max(early_score(c.fold_errors, c.n_constants, c.complexity, n_points) for c in ranked[:n])


def best_admissible(candidates: Iterable[Candidate]) -> Candidate | None:
    """Return the admissible candidate with the lowest score; the best of all if none is admissible."""
    return min([c for c in candidates if c.ok and math.isfinite(c.score)], key=_PLACE, default=None)


def is_exact(candidate: Candidate) -> bool:
    """Return whether a candidate reproduces every fold to rounding: it is the law that made the data."""
    return candidate.exact


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return usable candidates, admissible and exact ones first, each by score; ties by complexity, then by key.

    Of admissible ones those come first that keep the declared bounds up to rounding.
    """
    return sorted([c for c in candidates if c.ok and math.isfinite(c.score)], key=_PLACE)


_PLACE = attrgetter("place")


def one_standard_error(candidates: Iterable[Candidate]) -> Candidate | None:
    """Return the simplest admissible candidate that the folds cannot tell from the best one.

    The best of thousands owes part of its score to luck. Two candidates are told apart when their log errors differ,
    averaged over the folds, by more than one standard error of that mean (Breiman et al. 1984, section 3.4.3) or by
    more than `_EQUAL` in any case. Among candidates that are exact, those with the fewest constants are the law itself
    and not a more general one that contains it.
    """
    ranked = rank(candidates)
    if not ranked:
        return None
    if exact := [c for c in ranked if is_exact(c)]:
        return min(exact, key=lambda c: (c.n_constants, c.complexity, c.score, c.key))
    best = ranked[0]
    base = _log_errors(best)
    equal = [best]
    for candidate in ranked[1:]:
        if candidate.checks != best.checks or len(candidate.fold_errors) != len(base):
            continue
        difference = _log_errors(candidate) - base
        spread = float(np.std(difference, ddof=1)) / np.sqrt(len(base)) if len(base) > 1 else 0.0
        if float(difference.mean()) <= min(spread, _EQUAL):
            equal.append(candidate)
    return min(equal, key=lambda c: (c.n_constants + PRICE_PER_NODE * c.complexity, c.score, c.key))


def fewest_constants(candidates: Iterable[Candidate], rounding: float = 0.0) -> Candidate | None:
    """Return the admissible candidate with the fewest constants that the folds support, for tables of few points.

    Where a constant is a large part of the points, the best of many forms is the one that had the luck. So a law with
    more constants has to be told from all with fewer on the folds that say something of both: by more than one standard
    error of the mean log error and on most folds, or because the other fails one. Of laws with equally many constants
    the simplest counts.

    Args:
        candidates: Of one target.
        rounding: NMSE of the rounding of the table's numbers: differences below it are none.
    """
    ranked = rank(candidates)
    if not ranked:
        return None
    exact = [c for c in ranked if is_exact(c)]
    best = ranked[0]
    equal = exact or [c for c in ranked if c.checks == best.checks and _supported(c, best, rounding)]

    def constants(c: Candidate) -> float:
        return round(sum(c.effective(t) for t in c.expressions), 6)

    return min(equal, key=lambda c: (constants(c), not c.static, c.complexity, c.score, c.key))


def _supported(candidate: Candidate, best: Candidate, rounding: float) -> bool:
    """Return whether the folds cannot tell a candidate from the best one."""
    if candidate is best:
        return True
    errors, others = np.array(candidate.fold_errors), np.array(best.fold_errors)
    if errors.shape != others.shape:
        return False
    both = np.isfinite(errors) & np.isfinite(others)
    difference = (_log_errors(candidate, rounding) - _log_errors(best, rounding))[both]
    if not both.any() or (both & (errors >= 1.0) & (others < 1.0)).any():
        return False
    spread = float(np.std(difference, ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return float(difference.mean()) <= max(spread, _EQUAL) and float(np.median(difference)) <= _EQUAL


def distinct(ranked: Iterable[Candidate], n: int, bins: float = 20.0) -> list[Candidate]:
    """Return up to n candidates that behave differently: of those with nearly equal fold errors, the simplest.

    Two forms whose errors agree on every fold are the same curve in other words. `bins` per decade of error are told
    apart.
    """
    chosen: dict[tuple[int, ...], Candidate] = {}
    for candidate in ranked:
        mark = _mark(candidate.fold_errors, bins)
        held = chosen.get(mark)
        if held is None:
            if len(chosen) >= n:
                continue
            chosen[mark] = candidate
        elif (candidate.n_constants, candidate.complexity) < (held.n_constants, held.complexity):
            chosen[mark] = candidate
    return sorted(chosen.values(), key=lambda c: (not c.admissible, c.score, c.key))


@lru_cache(maxsize=1 << 12)  # of most candidates it is asked for every batch
def _mark(errors: tuple[float, ...], bins: float) -> tuple[int, ...]:
    return tuple(int(np.floor(bins * np.log10(max(e, 1e-12)))) if math.isfinite(e) else 99 for e in errors)


def mean_log(errors: Sequence[float]) -> float:
    """Return the mean log error over folds."""
    known = np.array([e if math.isfinite(e) else FAILED_FOLD for e in errors])
    return float(np.mean(np.log(np.minimum(known, FAILED_FOLD) + FLOOR)))


def _log_errors(candidate: Candidate, rounding: float = 0.0) -> Array:
    errors = np.array([e if np.isfinite(e) else FAILED_FOLD for e in candidate.fold_errors])
    logs: Array = np.log(np.minimum(errors, FAILED_FOLD) + FLOOR + rounding)
    return logs


# by the name that law.json says: a search uses the first or the last, benchmarks compare all
RULES: dict[str, Callable[[Iterable[Candidate]], Candidate | None]] = {
    "one_standard_error": one_standard_error,
    "best_admissible": best_admissible,
    "fewest_constants": fewest_constants,
}
