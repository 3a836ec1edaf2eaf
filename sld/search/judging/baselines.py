"""Errors on the folds of predictions that take no formula: what a law has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sld.core.arrays import Array
from sld.data.splits import Fold
from sld.data.table import Table
from sld.fit.noise import ErrorScale
from sld.search.screening.dependence import positions

_TINY = 1e-12  # squared distance: rows as near as the nearest one count with it


class Baselines(NamedTuple):
    """Mean squared error over variance on the judged rows, (n_folds, n_targets)."""

    mean: Array  # of the group's rows that the fold fits
    nearest: Array  # of those the nearest one's value, carried over


def baselines(table: Table, folds: Sequence[Fold]) -> Baselines:
    """Return the errors of the group's mean and of the nearest row, counted as the errors of formulas are."""
    z = positions(table)
    scales = [ErrorScale.of(table, j) for j in range(len(table.targets))]
    mean, nearest = np.zeros((len(folds), len(scales))), np.zeros((len(folds), len(scales)))
    for k, fold in enumerate(folds):
        of_mean, of_nearest = np.empty((len(fold.test), len(scales))), np.empty((len(fold.test), len(scales)))
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
        for errors, guess in ((mean, of_mean), (nearest, of_nearest)):
            miss = np.zeros(table.Y.shape)
            miss[fold.test] = table.Y[fold.test] - guess
            errors[k] = [scale.nmse(miss[:, j], fold.test) for j, scale in enumerate(scales)]
    return Baselines(mean, nearest)
