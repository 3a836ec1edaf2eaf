r"""Items of a benchmark by how hard they are: classes of items that models of growing size solve alike.

Item $i$ belongs to class $k$ with weight $\pi_k$, and model $m$ solves items of the class at the rate $p_{km}$,

$$ L = \prod_i \sum_k \pi_k \prod_m p_{km}^{y_{im}} (1 - p_{km})^{1 - y_{im}} . $$

The pattern over models is what Xu et al. (2025, arXiv:2502.17262) cluster items by. They take many samples of each
item; the likelihood above also holds for items that were answered once, which tell fewer classes apart. Classes are
found by the EM algorithm, and their number by the Bayesian information criterion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array

MOST_CLASSES = 8  # more patterns than that are not told apart by a dozen models
LEAST_ITEMS = 20  # fewer items are no distribution of difficulty
_LEAST_CLASS = 5.0  # items of a class: of fewer, a rate is a matter of luck
_ROUNDS = 200  # of the EM algorithm at most
_STILL = 1e-6  # of the log-likelihood, as a share: what counts as still
_TEMPERS, _ALIKE = 3, 1.2  # times that the worth of an answer is found again, unless it hardly changes
_MOST_SAMPLES = 100.0  # that an answer stands for at most
_SMOOTH = 0.5  # right and wrong answers that a rate begins with (Jeffreys)


@dataclass(frozen=True, eq=False)
class Classes:
    """Items by class.

    Attributes:
        share: Of the items, by class, the hardest first (n_classes,).
        rate: At which each model solves items of a class (n_classes, n_models).
        belongs: Probability that an item belongs to a class (n_items, n_classes).
        criterion: What was least (Bayesian information criterion).
        error: Standard error of the rates (n_classes, n_models).
    """

    share: Array
    rate: Array
    belongs: Array
    criterion: float
    error: Array


def find_classes(right: Array, *, most: int = MOST_CLASSES) -> Classes:
    """Return classes of items.

    Args:
        right: Whether an item was solved, or how often, from 0 to 1 (n_models, n_items); NaN where it was not tried.
        most: Classes at most.
    """
    known = np.isfinite(right).astype(float)  # (n_models, n_items)
    y = np.where(known > 0, right, 0.0)
    largest = max(1, min(most, int(right.shape[1] / _LEAST_CLASS)))
    # answers that are means of many samples say more than single ones: as many times as they scatter less
    often, found = 1.0, _best(y, known, 1.0, largest)
    for _ in range(_TEMPERS):
        again = 1 / max(min(_scatter(y, known, found.belongs), 1.0), 1 / _MOST_SAMPLES)
        if again < _ALIKE * often:
            break
        often, found = again, _best(y, known, again, largest)
    order = np.argsort(found.rate.mean(1))
    return Classes(found.share[order], found.rate[order], found.belongs[:, order], found.criterion, found.error[order])


def _best(y: Array, known: Array, often: float, largest: int) -> Classes:
    """Return as many classes as the criterion asks for, where each answer stands for `often` samples."""
    n_models, n_items = y.shape
    share, belongs, log = _em(y, known, often, np.ones((n_items, 1)))
    found: Classes | None = None
    for k in range(1, largest + 1):
        value = -2 * log + (k * n_models + k - 1) * np.log(n_items)
        if found is None or (value < found.criterion and share.min() * n_items >= _LEAST_CLASS):
            rate = _rates(y, known, belongs)
            answers = belongs.T @ known.T
            error = np.sqrt(rate * (1 - rate) / (often * answers + 1))
            # what a class starts with keeps logarithms finite; laws are fitted to what was seen
            seen = np.divide(belongs.T @ y.T, answers, out=rate.copy(), where=answers > _SMOOTH)
            found = Classes(share, seen, belongs, float(value), error)
        if k < largest:
            share, belongs, log = _split(y, known, often, belongs)
    assert found is not None  # one class always has all items
    return found


def _rates(y: Array, known: Array, belongs: Array) -> Array:
    return np.asarray((belongs.T @ y.T + _SMOOTH) / (belongs.T @ known.T + 2 * _SMOOTH))


def _split(y: Array, known: Array, often: float, belongs: Array) -> tuple[Array, Array, float]:
    """Return one class more: each is split in turn, across the direction in which its items differ most."""
    rate = _rates(y, known, belongs)
    best: tuple[Array, Array, float] | None = None
    for k in range(belongs.shape[1]):
        own = belongs[:, k]
        if own.sum() < 2 * _LEAST_CLASS:
            continue
        rest = np.where(known > 0, y - rate[k][:, None], 0.0)  # (n_models, n_items)
        _, vectors = np.linalg.eigh((rest * own) @ rest.T)
        along = vectors[:, -1] @ rest
        upper = along > np.average(along, weights=own)
        parts = np.stack([own * upper, own * ~upper], axis=1)
        found = _em(y, known, often, np.concatenate([np.delete(belongs, k, axis=1), parts], axis=1))
        if best is None or found[2] > best[2]:
            best = found
    return best if best is not None else _em(y, known, often, np.concatenate([belongs, belongs[:, :1]], axis=1) / 2)


def _em(y: Array, known: Array, often: float, belongs: Array) -> tuple[Array, Array, float]:
    """Return shares, to which class each item belongs, and the log-likelihood, from where items belong at first."""
    last, log = -np.inf, -np.inf
    share = belongs.mean(0)
    for _ in range(_ROUNDS):
        share = np.maximum(belongs.mean(0), 1e-9)
        rate = _rates(y, known, belongs)
        each = often * (y.T @ np.log(rate).T + (known - y).T @ np.log1p(-rate).T) + np.log(share)
        top = each.max(1, keepdims=True)
        total = top[:, 0] + np.log(np.exp(each - top).sum(1))
        belongs = np.exp(each - total[:, None])
        log = float(total.sum())
        if log - last < _STILL * abs(log):
            break
        last = log
    return share, belongs, log


def _scatter(y: Array, known: Array, belongs: Array) -> float:
    """Return the variance of answers about the rates of their classes, over that of single answers."""
    rate = _rates(y, known, belongs)
    expected = belongs @ rate  # (n_items, n_models)
    spread = (belongs @ (rate * (1 - rate))).T
    rest = belongs @ rate**2 - 2 * expected * y.T + y.T**2
    return float((rest.T * known).sum() / max(float((spread * known).sum()), 1e-12))
