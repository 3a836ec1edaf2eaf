"""What is looked at when the rows of a table are read: gaps, values that a role does not allow, repeats.

Messages name file, line and column, since whoever reads them has the file open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sld.core.arrays import Array, Mask, Rows
from sld.core.errors import DataError
from sld.core.numbers import exact, short
from sld.data.card import Variable
from sld.data.logarithms import question
from sld.data.reading import Columns

Missing = Literal["error", "drop"]

SHARES_TOLERANCE = 0.02  # proportions in published tables are rounded to two digits


def finite_rows(columns: Columns, missing: Missing, notes: list[str]) -> Rows:
    """Return the indices of rows without empty or infinite cells; refuse or note the others."""
    bad = np.zeros(columns.n_rows, dtype=np.bool_)
    for values in columns.values.values():
        bad |= ~np.isfinite(values)
    if not bad.any():
        return np.arange(columns.n_rows)
    first = int(np.argmax(bad))
    culprit = next(c for c, values in columns.values.items() if not np.isfinite(values[first]))
    value = columns.values[culprit][first]
    what = "empty or not a number" if np.isnan(value) else "infinite"
    place = f"{columns.where} {columns.row_name(first)}"
    if missing == "error":
        others = f" ({bad.sum()} such rows)" if bad.sum() > 1 else ""
        way_out = "fill it in, or leave such rows out with missing = drop"
        raise DataError(f"{place}: column {culprit!r} is {what}{others}; {way_out}{columns.melt_offer}")
    if bad.all():
        raise DataError(f"{columns.where}: every row has an empty or infinite cell ({culprit!r} in the first)")
    dropped = "1 row was" if bad.sum() == 1 else f"{bad.sum()} rows were"
    notes.append(f"{dropped} left out: empty or not finite (first: {columns.row_name(first)}, column {culprit!r})")
    return np.flatnonzero(~bad)


def first_wrong_value(columns: Columns, rows: Rows, variables: Sequence[Variable], X: Array) -> str | None:
    """Return the first value that its variable's role does not allow, in a sentence."""

    def place(bad: Mask) -> str:
        return f"{columns.where} {columns.row_name(int(rows[np.argmax(bad)]))}"

    shares = []
    for i, variable in enumerate(variables):
        values = X[:, i]
        if variable.role == "scale" and variable.log is None and (bad := values <= 0).any():
            value = values[np.argmax(bad)]
            negative = bool((values < 0).any())
            if negative and (asked := question(variable.column, float(values.min()), float(values.max()))):
                return f"{place(bad)}: {asked}"
            is_log = "if the column is a logarithm, say so (log), or " if negative else ""
            leave = f'leave such rows out with --drop "{variable.column}{"<=" if negative else "=="}0"'
            wanted = f"scale variable {variable.column!r} must be positive, got {exact(value)}"
            return f"{place(bad)}: {wanted}; {is_log}{leave}{columns.melt_offer}"
        if variable.role == "proportion":
            shares.append(i)
            if (bad := (values < 0) | (values > 1 + SHARES_TOLERANCE)).any():
                value = values[np.argmax(bad)]
                return f"{place(bad)}: proportion {variable.column!r} must be between 0 and 1, got {exact(value)}"
    if len(shares) > 1:
        total = X[:, shares].sum(axis=1)
        if (bad := np.abs(total - 1) > SHARES_TOLERANCE).any():
            return f"{place(bad)}: proportions must sum to 1, got {short(total[np.argmax(bad)], 4)}"
    return None


def check_sign(columns: Columns, rows: Rows, column: str, rule: str, *, zero: bool) -> None:
    """Refuse negative values of a column, and zeros: any, or only nothing but zeros."""
    values = columns.values[column][rows]
    bad = values < 0 if zero else values <= 0
    if bad.any():
        place = f"{columns.where} {columns.row_name(int(rows[np.argmax(bad)]))}"
        ways = "" if zero else "; leave the row out where it is unknown"
        raise DataError(f"{place}: column {column!r} is {exact(values[np.argmax(bad)])}, but {rule}{ways}")
    if zero and not values.any():
        raise DataError(f"{columns.where}: column {column!r} is 0 in every row; some weight must be above 0")


def numbered(keys: Sequence[NDArray[Any]]) -> tuple[Rows, Rows]:
    """Return (n_rows,) numbers, equal for rows equal in all keys, and the first row of each number."""
    order = np.lexsort(keys[::-1])  # stable, so the first of equal rows comes first
    new = np.ones(len(order), dtype=np.bool_)
    if len(order):
        new[1:] = False
    for key in keys:
        new[1:] |= key[order[1:]] != key[order[:-1]]
    numbers = np.empty(len(order), dtype=np.intp)
    numbers[order] = np.cumsum(new) - 1
    return numbers, order[new]


def repeats(columns: Columns, rows: Rows, group_index: Rows, X: Array, Y: Array) -> list[str]:
    """Return notes on rows that occur twice, and on points measured more than once."""
    numbers, first = numbered([group_index, *X.T])
    if len(first) == len(rows) or not Y.shape[1]:
        return []
    notes = []
    several = np.flatnonzero(np.bincount(numbers)[numbers] > 1)
    outcomes, outcome_first = numbered([numbers[several], *Y[several].T])
    copies = len(several) - len(outcome_first)
    if copies:
        # rows ascend within `several`, so the first row that is not the first of its kind is the first copy
        is_copy = np.ones(len(several), dtype=np.bool_)
        is_copy[outcome_first] = False
        k = int(np.argmax(is_copy))
        copy, original = rows[several[k]], rows[several[outcome_first[outcomes[k]]]]
        many = "1 row is an exact copy" if copies == 1 else f"{copies} rows are exact copies"
        place = f"first: {columns.row_name(int(copy))} copies {columns.row_name(int(original))}"
        notes.append(f"{many} of an earlier row ({place}); kept")
    outcomes_per_point = np.bincount(numbers[several[outcome_first]])
    repeated = int((outcomes_per_point > 1).sum())
    if repeated:
        n = int(outcomes_per_point[outcomes_per_point > 1].sum())
        many = "1 point was" if repeated == 1 else f"{repeated} points were"
        notes.append(f"{many} measured more than once ({n} rows), so the noise floor is known")
    return notes
