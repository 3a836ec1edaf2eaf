r"""How good predictions are: R², NMSE, NMAE and ARE, pooled over all rows and within groups.

With $y_j$ the rows of target $j$ from all groups together:

    NMSE      = mean over targets of  mean (y_j - ŷ_j)²  /  Var y_j            (0 perfect, 1 as good as the mean)
    R²        = 1 - NMSE
    R² within = mean over groups and targets of the R² of the group's own rows
    NMAE      = mean over targets of  mean |y_j - ŷ_j|  /  mean |y_j - median y_j|   (1 as good as the median)
    ARE       = mean over targets of  mean |y_j - ŷ_j| / |y_j|                  (rows with y = 0 are left out)

Pooled R² flatters a table whose groups differ in level, because telling the groups apart already explains most of
the variance; R² within is the number to look at there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sld.core.arrays import Array
from sld.core.errors import DataError


@dataclass(frozen=True)
class Scores:
    """Scores of one set of predictions.

    A number that is not defined (no variance in the measured values, a failed prediction) is NaN.

    Attributes:
        r2: Pooled R²; -1 when the prediction failed.
        r2_within: Mean R² within groups; None when no group has two different values, -1 when the prediction failed.
        nmse: Mean squared error over variance.
        nmae: Mean absolute error over mean absolute deviation from the median.
        are: Mean absolute relative error.
        n_rows: Rows scored.
        failed: Some prediction is not a finite number (or so large that its square is not).
    """

    r2: float
    r2_within: float | None
    nmse: float
    nmae: float
    are: float
    n_rows: int
    failed: bool

    def to_json(self) -> dict[str, float | int | bool | None]:
        """Return the scores with None for what is not defined, since JSON has no NaN."""

        def plain(value: float | None) -> float | None:
            return None if value is None or not math.isfinite(value) else value

        return {
            "r2": plain(self.r2),
            "r2_within": plain(self.r2_within),
            "nmse": plain(self.nmse),
            "nmae": plain(self.nmae),
            "are": plain(self.are),
            "n_rows": self.n_rows,
            "failed": self.failed,
        }


def scores(Y_true: ArrayLike, Y_pred: ArrayLike, group_index: ArrayLike | None = None) -> Scores:
    """Score predictions against measured values; the formulas are at the top of this module.

    >>> found = scores([3.0, 2.5, 2.2, 2.0], [3.0, 2.5, 2.2, 2.1])
    >>> round(found.r2, 4), round(found.are, 4), found.failed
    (0.9824, 0.0125, False)
    >>> scores([3.0, 2.5], [3.0, float("nan")]).r2
    -1.0

    Args:
        Y_true: Measured values (n_rows, n_targets), or (n_rows,) for one target.
        Y_pred: Predictions of the same shape. One that is not finite fails the whole prediction.
        group_index: Number of each row's group (n_rows,); absent means one group.

    Raises:
        DataError: Shapes differ, there are no rows, or a measured value is not finite.
    """
    Y, P = _columns(Y_true, "measured values"), _columns(Y_pred, "predictions")
    if Y.shape != P.shape:
        raise DataError(f"scoring needs one prediction per measured value {Y.shape}, got predictions {P.shape}")
    if not Y.size:
        raise DataError("scoring needs at least one row, got none")
    if not np.isfinite(Y).all():
        row, column = np.argwhere(~np.isfinite(Y))[0]
        raise DataError(f"measured values must be finite, got {Y[row, column]} in row {row + 1}, target {column + 1}")
    groups = np.zeros(len(Y), dtype=np.intp) if group_index is None else np.asarray(group_index)
    if groups.shape != (len(Y),):
        raise DataError(f"scoring needs one group per row ({len(Y)}), got {groups.shape}")

    failure = Scores(-1.0, -1.0, math.nan, math.nan, math.nan, len(Y), True)
    if not np.isfinite(P).all():
        return failure
    with np.errstate(over="ignore"):
        nmse = _mean([_normalised(Y[:, j], P[:, j], _variance, np.square) for j in range(Y.shape[1])])
        nmae = _mean([_normalised(Y[:, j], P[:, j], _deviation, np.abs) for j in range(Y.shape[1])])
        are = _mean([_relative(Y[:, j], P[:, j]) for j in range(Y.shape[1])])
        within = _within(Y, P, groups)
    if math.isinf(nmse) or (within is not None and math.isinf(within)):
        return failure
    return Scores(1.0 - nmse, within, nmse, nmae, are, len(Y), False)


def _columns(values: ArrayLike, what: str) -> Array:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must be numbers: {error}") from error
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise DataError(f"{what} must have one row per run and one column per target, got shape {array.shape}")
    return array


def _variance(y: Array) -> float:
    # values that are all equal leave a rounding error instead of zero, which must not become a huge ratio
    return 0.0 if y.min() == y.max() else float(y.var())


def _deviation(y: Array) -> float:
    return float(np.abs(y - np.median(y)).mean())


def _normalised(y: Array, p: Array, spread: Callable[[Array], float], size: Callable[[Array], Array]) -> float:
    scale = spread(y)
    return float(size(y - p).mean()) / scale if scale > 0 else math.nan


def _relative(y: Array, p: Array) -> float:
    known = y != 0
    return float((np.abs(y - p)[known] / np.abs(y[known])).mean()) if known.any() else math.nan


def _within(Y: Array, P: Array, groups: NDArray[np.int64]) -> float | None:
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    parts = [
        1.0 - _normalised(Y[rows, j], P[rows, j], _variance, np.square)
        for rows in np.split(order, starts)
        for j in range(Y.shape[1])
    ]
    mean = _mean(parts)
    return None if math.isnan(mean) else mean


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
