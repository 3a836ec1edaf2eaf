"""When a few rows lie far off the fitted law: a second fit that they cannot pull, kept only if it extrapolates as well.

Squares let one bad row move every constant. Huber's function (1964) counts it linearly. That is the better fit when the
row is an accident, and the worse one when it is the part of the table that tells what happens next; so the residuals
only raise the question, and the folds answer it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sld.core.arrays import Array
from sld.data.splits import Fold
from sld.data.table import Table
from sld.fit.fitting import FitResult, Fitter, fit, huber_weights
from sld.fit.noise import noise_weights, row_weights
from sld.formula.expression import Expression

FAR = 5.0  # robust standard deviations; one row in two million is farther when residuals are normal
MOST_FAR = 0.1  # share of rows; more than that is a law that does not fit, not an accident
_STARTS = 2  # beside the constants known already
_ROUNDING = 1e-7  # of the target's standard deviation: residuals of an exact law are rounding errors

_LEAST_GAIN = 0.02  # of the fold errors: less is luck, and least squares is the simpler tale
_REWEIGHTINGS = 8  # on a fold: Huber's weights have settled by then
_FINAL_REWEIGHTINGS = 4  # they begin from a fit that is nearly there
_TINY = 1e-300  # so that an error of nothing has a logarithm


@dataclass(frozen=True)
class Constrained:
    """The formula of one target, with what its constants have to keep.

    Attributes:
        expression: The formula.
        target: Number of its target.
        shared: Constants that all groups have in common.
        bounds: Constant to (lower, upper).
    """

    expression: Expression
    target: int = 0
    shared: tuple[str, ...] = ()
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def far_rows(residuals: Array, spread: float) -> int:
    """Return how many rows lie beyond `FAR` robust standard deviations; 0 when too many do, or the law is exact.

    Args:
        residuals: (n_rows,).
        spread: Standard deviation of the target.
    """
    sigma = 1.4826 * float(np.median(np.abs(residuals - np.median(residuals))))
    if not sigma > _ROUNDING * spread:
        return 0
    n = int((np.abs(residuals - np.median(residuals)) > FAR * sigma).sum())
    return n if n <= MOST_FAR * len(residuals) else 0


def robust_fit(
    formula: Constrained,
    table: Table,
    folds: Sequence[Fold],
    squared: FitResult,
    rows: Table,
    *,
    seed: int,
) -> tuple[FitResult, str] | None:
    """Return a fit with Huber's loss and a sentence on why, or None where the squared one is better or as good.

    Args:
        formula: The formula.
        table: The rows that `folds` number.
        folds: Rows to fit and rows to judge.
        squared: The fit to `rows` by least squares.
        rows: The rows of the final fit.
        seed: Seed of the starts.
    """
    target = formula.target
    exact = noise_weights(rows, target)  # what is far is a matter of how exact a row is
    n = far_rows(_root(exact) * (rows.Y[:, target] - squared.prediction), float(rows.Y[:, target].std()))
    if not n:
        return None
    fitter = Fitter(
        formula.expression,
        table,
        target,
        shared=formula.shared,
        bounds=formula.bounds,
        weights=row_weights(table, target),
    )
    gains = []
    with np.errstate(all="ignore"):
        for fold in folds:
            plain, robust = _fold_errors(fitter, table, fold, squared.constants, target)
            if not (math.isfinite(plain) and math.isfinite(robust)):
                return None
            gains.append(math.log(robust + _TINY) - math.log(plain + _TINY))
    # told apart by the folds: by one standard error, as forms are
    error = float(np.std(gains, ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    if not gains or float(np.mean(gains)) > -max(_LEAST_GAIN, error):
        return None
    result = fit(
        formula.expression,
        rows,
        target=target,
        loss="huber",
        starts=_STARTS,
        seed=seed,
        inherit=squared.constants,
        shared=formula.shared,
        bounds=formula.bounds,
        weights=row_weights(rows, target),
    )
    if not result.ok:
        return None
    far = "1 row lies" if n == 1 else f"{n} rows lie"
    name = rows.targets[target].column
    return result, f"{far} far off the law of {name}, so it was fitted with Huber's loss, which such rows pull less"


def huber_beside(
    formula: Constrained, table: Table, rows: Table, weights: Array | None, result: FitResult
) -> FitResult:
    """Return a fit to rows and points of a consensus in which rows far off the law count less (Huber's weights).

    Args:
        formula: The formula; its target is that of `rows`.
        table: The rows with the points after them, one target.
        rows: The rows.
        weights: (n_rows + n_points,) of `table`, None where all count alike.
        result: The fit to `table` by least squares.
    """
    n_rows, root = rows.n_rows, _root(noise_weights(rows, formula.target))
    base = np.ones(table.n_rows) if weights is None else weights
    for _ in range(_FINAL_REWEIGHTINGS):
        trust = np.ones(table.n_rows)
        trust[:n_rows] = huber_weights(root * (table.Y[:, 0] - result.prediction)[:n_rows])
        again = fit(
            formula.expression,
            table,
            weights=base * trust,
            starts=0,
            inherit=result.constants,
            shared=formula.shared,
            bounds=formula.bounds,
        )
        if not again.ok:
            break
        result = again
    return result


def _root(weights: Array | None) -> Array:
    return np.ones(1) if weights is None else np.sqrt(weights)


def _fold_errors(
    fitter: Fitter, table: Table, fold: Fold, constants: Mapping[str, Mapping[str, float]], target: int
) -> tuple[float, float]:
    """Return mean absolute errors on the judged rows, of least squares and of Huber's loss (by reweighting).

    It is the mean of the absolute errors since outliers among the judged rows would dominate that of the squares.
    """
    y, root = table.Y[:, target], _root(noise_weights(table, target))
    start = np.array([[constants[g][c] for c in fitter.tape.constants] for g in table.groups])
    start = start.reshape(len(table.groups), len(fitter.tape.constants))
    errors = []
    weights: Array | None = None
    for k in range(1 + _REWEIGHTINGS):
        solution = fitter.solve(start[:1], fold.train, inherited=start, max_iterations=30, weights=weights)
        if not solution.ok:
            return math.inf, math.inf
        residual = y - fitter.predict(solution.values)
        if k in (0, _REWEIGHTINGS):
            errors.append(float(np.mean(np.abs((root * residual)[fold.test]))))
        trust = np.zeros(len(y))
        trust[fold.train] = huber_weights((root * residual)[fold.train])
        weights = np.sqrt(trust)[fitter.order]
        weights = weights if fitter.weights is None else weights * fitter.weights
        found = fitter.nonlinear(solution)
        start = np.where(np.isfinite(found), found, start)
    return errors[0], errors[1]
