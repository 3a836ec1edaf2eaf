"""How many digits of its constants a law needs in print, so that what is printed is the law."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sld.data.table import Table
from sld.formula.evaluation import evaluate
from sld.formula.expression import Expression

LEAST, ENOUGH = 4, 17  # seventeen digits give any number back
_OF_SPREAD = 1e-4  # of the range of the target: what rounding may change a prediction by
_OF_NOISE = 0.25  # and of the residuals, where these are smaller
_FINEST = 1e-7  # of the range: what residuals of an exact law are is rounding
_FARTHER = 10.0  # times the rows: predictions there come out as well


def digits_needed(
    expression: Expression, constants: Mapping[str, Mapping[str, float]], table: Table, target: int
) -> int:
    """Return the significant digits with which a reader of the printed constants predicts what the law predicts.

    The rows of the table are tried, and the same with every scale variable ten times as large.
    """
    far = table.X.copy()
    for i, v in enumerate(table.variables):
        if v.role == "scale" and v.log is None:
            far[:, i] *= _FARTHER
    spread = float(np.ptp(table.Y[:, target])) or 1.0
    rows, values = [], []
    for k, group in enumerate(table.groups):
        mine = table.group_index == k
        X = np.concatenate([table.X[mine], far[mine]])
        rows.append({s: np.ascontiguousarray(X[:, i]) for i, s in enumerate(table.symbols)})
        values.append(evaluate(expression, rows[-1], constants[group]))
    own = [v[: len(v) // 2] - table.Y[table.group_index == k, target] for k, v in enumerate(values)]
    noise = float(np.sqrt(np.mean(np.concatenate(own) ** 2)))
    most = max(min(_OF_SPREAD * spread, _OF_NOISE * noise), _FINEST * spread)
    for digits in range(LEAST, ENOUGH):
        if all(
            _close(expression, constants[g], x, v, digits, most)
            for g, x, v in zip(table.groups, rows, values, strict=True)
        ):
            return digits
    return ENOUGH


def rounded(value: float, digits: int) -> float:
    """Return a constant as it is printed."""
    return float(f"{value:.{digits}g}")


def _close(
    expression: Expression,
    constants: Mapping[str, float],
    columns: Mapping[str, np.ndarray],
    values: np.ndarray,
    digits: int,
    most: float,
) -> bool:
    printed = evaluate(expression, columns, {c: rounded(v, digits) for c, v in constants.items()})
    known = np.isfinite(values)
    # far out a law may be large: there it counts in proportion
    allowed = np.maximum(most, 1e-4 * np.abs(values) * (np.arange(len(values)) >= len(values) // 2))
    return bool((np.abs(printed - values)[known] <= allowed[known]).all())
