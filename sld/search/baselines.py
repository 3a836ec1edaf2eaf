"""Errors on the folds of predictions that take no formula: what a law has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sld.core.splits import Fold
from sld.core.table import Array, Table
from sld.search.dependence import positions

_TINY = 1e-12


class Baselines(NamedTuple):
    """Mean squared error over variance on the judged rows, (n_folds, n_targets)."""

    mean: Array  # of the group's rows that the fold fits
    nearest: Array  # of those the nearest one's value, carried over


def baselines(table: Table, folds: Sequence[Fold]) -> Baselines:
    """Return the errors of the group's mean and of the nearest row, counted as the errors of formulas are."""
    z = positions(table)
    variance = np.maximum(table.Y.var(axis=0), 1e-300)
    mean, nearest = np.zeros((len(folds), len(variance))), np.zeros((len(folds), len(variance)))
    for k, fold in enumerate(folds):
        of_mean, of_nearest = np.empty((len(fold.test), len(variance))), np.empty((len(fold.test), len(variance)))
        for g in range(len(table.groups)):
            here = np.flatnonzero(table.group_index[fold.test] == g)
            train = fold.train[table.group_index[fold.train] == g]
            if not len(here):
                continue
            distance = np.zeros((len(here), len(train)))
            for v in range(z.shape[1]):
                distance += np.square(z[fold.test[here], v][:, None] - z[None, train, v])
            close = distance <= distance.min(axis=1, keepdims=True) + _TINY
            of_mean[here] = table.Y[train].mean(axis=0)
            of_nearest[here] = (close @ table.Y[train]) / close.sum(axis=1, keepdims=True)
        mean[k], nearest[k] = (
            np.mean((table.Y[fold.test] - guess) ** 2, axis=0) / variance for guess in (of_mean, of_nearest)
        )
    return Baselines(mean, nearest)
