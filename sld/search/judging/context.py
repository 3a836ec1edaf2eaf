"""What the judgement of every form on one table rests on: rows, folds, the grid beyond them, noise, baselines."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from sld.core.arrays import Array, Rows
from sld.data.splits import Fold
from sld.data.table import Table
from sld.fit.noise import ErrorScale, row_weights, standard_deviations
from sld.formula.expression import Expression
from sld.search.candidates.selection import FAILED_FOLD, FLOOR, LUCK, PRICE_PER_PROBLEM, fold_score, price
from sld.search.judging.admissible import Grid
from sld.search.judging.baselines import baselines
from sld.search.judging.judged import Judged
from sld.search.judging.resolution import rounding_nmse
from sld.search.judging.soundness import Soundness
from sld.search.screening.counting import Counting

_HOPELESS = 1.5  # training NMSE above which a form explains less than the mean does, with some room for odd rows


class JudgingContext:
    """A table with its folds, and what is measured on them once for all forms; nothing in it changes.

    Attributes:
        table: The rows.
        folds: Rows to fit and rows to judge, by number.
        seed: Seed of all starting points.
        max_constants: Limit per group and target.
        grid: Points far beyond the rows, where a law must not go wrong.
        soundness: Bounds that keep forms defined, and what makes constants no law.
        counting: How many constants the distinct points can carry.
        n_points: Distinct points.
        rounding: For each target the NMSE of its last digit.
        weights: For each target (n_rows,), None where all rows count alike.
        scales: For each target how its errors are counted.
        variance: For each target the variance that errors are divided by.
        deviations: For each target (n_rows,) known standard deviations, or None.
        tested: Judged rows of each fold.
        noise: For each target the NMSE of noise on each fold.
        no_formula: (n_folds, n_targets) NMSE of what takes no formula.
    """

    def __init__(self, table: Table, folds: Sequence[Fold], *, seed: int, max_constants: int) -> None:
        """Measure what all forms share."""
        targets = range(len(table.targets))
        self.table, self.folds = table, tuple(folds)
        for fold in self.folds:
            fold.train.setflags(write=False)  # what is prepared for its rows then holds for every form
        self.seed, self.max_constants = seed, max_constants
        self.grid = Grid.of(table)
        self.soundness = Soundness(table)
        self.counting = Counting.of(table, self.folds)
        self.n_points = int(table.points().max()) + 1
        self.rounding = [rounding_nmse(table, j) for j in targets]
        self.weights = tuple(row_weights(table, j) for j in targets)
        self.scales = tuple(ErrorScale.of(table, j) for j in targets)
        self.variance = [scale.variance for scale in self.scales]
        self.deviations = tuple(standard_deviations(table, j) for j in targets)
        self.tested = tuple(len(fold.test) for fold in self.folds)
        self.noise = [[scale.floor(fold.test) for fold in self.folds] for scale in self.scales]
        self.no_formula = np.minimum(*baselines(table, self.folds))
        self._judged = {  # by the identity of the row numbers
            id(rows): (rows, [_weighing(scale, rows, table.n_rows) for scale in self.scales])
            for rows in (None, *(fold.test for fold in self.folds))
        }
        # a form that misses one absurd row, and nothing else, still explains something
        self._whole = [max(float(np.var(table.Y[:, j])), 1e-300) for j in targets]

    def nmse(self, miss: Array, target: int, rows: Rows | None = None) -> float:
        """Return the mean squared error over the variance, at least that of the last digit that the table has.

        Args:
            miss: (n_rows,) of all rows.
            target: Number of the target.
            rows: The rows that count, all if not given.
        """
        known, prepared = self._judged.get(id(rows), (rows, None))
        if prepared is None or known is not rows:
            found = self.scales[target].nmse(miss, rows)
        else:  # the same with what all forms have in common prepared: numpy's means have 10 µs of their own
            weights, total = prepared[target]
            off = miss.take(rows) if rows is not None else miss
            off = off * off if weights is None else off * off * weights
            found = float(np.add.reduce(off) / total) / self.variance[target]
        return max(found, self.rounding[target]) if math.isfinite(found) else found

    def explains(self, train_nmse: float, miss: Array, target: int) -> bool:
        """Tell whether a fit is better than the mean of the rows: as errors are counted, or as they are."""
        return train_nmse < _HOPELESS or float(np.mean(miss**2)) < _HOPELESS * self._whole[target]

    def credited(self, errors: Sequence[float], silent: Collection[int], target: int) -> tuple[float, ...]:
        """Return the errors with those of no formula where a fold says nothing: no credit, and no blame either."""
        return tuple(float(self.no_formula[k, target]) if k in silent else e for k, e in enumerate(errors))

    def least_score(self, judged: Judged, expression: Expression, target: int) -> float:
        """Return what `score` returns, up to rounding and a little less, in a tenth of the time."""
        total = 0.0
        for k, (n, error) in enumerate(zip(self.tested, judged.fold_errors, strict=True)):
            if k in judged.silent:
                error = float(self.no_formula[k, target])
            e = min(error, FAILED_FOLD) if math.isfinite(error) else FAILED_FOLD
            mixed = (n * e + LUCK * judged.train_nmse) / (n + LUCK)
            total += math.log(mixed + FLOOR + 0.5 * self.noise[target][k])
        prices = price(judged.effective, expression.complexity, self.n_points)
        return total / max(len(self.tested), 1) + prices + PRICE_PER_PROBLEM * len(judged.problems) - 1e-9

    def score(self, judged: Judged, expression: Expression, target: int) -> float:
        """Return what selection minimises, see `fold_score`."""
        errors = self.credited(judged.fold_errors, judged.silent, target)
        return fold_score(
            errors, self.tested, judged.train_nmse, self.noise[target], judged.effective,
            expression.complexity, self.n_points, len(judged.problems),
        )  # fmt: skip


def _weighing(scale: ErrorScale, rows: Rows | None, n_rows: int) -> tuple[Array | None, float]:
    """Return the weights of some rows (None where all count alike), and their sum."""
    weights = scale.weights if rows is None or scale.weights is None else scale.weights[rows]
    if weights is None or not weights.any():
        return None, float(n_rows if rows is None else len(rows))
    return weights, float(weights.sum())
