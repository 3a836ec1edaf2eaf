"""Rows that count as repeats and are none: they differ in columns that nobody named.

Two rows that agree in every variable are taken for one run made twice, and the spread between them for noise. Where a
column of the source without a role tells them apart (another algorithm, another signal), it may be none, and whoever
forgot the column is told its name. Seeds, folds and row numbers are what repeats are made with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from sld.core.arrays import Array, Rows
from sld.core.errors import DataError
from sld.data.reading import column_names, read_columns

_REPEATS = re.compile(
    r"(?:^|[\W_])(?:seeds?|random_?state|reps?|repeats?|repetition|replicates?|trials?|folds?|splits?|runs?|attempts?|"
    r"ids?|idx|index|uuid|uid|hash|commit|date|time|timestamp|created|host|hostname|checkpoint)(?:$|[\W_\d])",
    re.IGNORECASE,
)
_MOST_COLUMNS = 40  # that are looked at
_MOST_ROWS = 100_000  # beyond, reading all columns once more takes seconds
_LEAST_F = 4.0  # of an analysis of variance; 5 % of columns without an effect reach it with one degree of freedom
_FEW_LEVELS = 6  # a column of numbers with more is no setting that somebody chose
_SHOWN = 5  # columns that a sentence names


def hidden_settings(data: object, named: Sequence[str], rows: Rows, points: Rows, y: Array) -> str:
    """Return a note on the columns without a role that tell rows counted as repeats apart; empty when none does.

    Args:
        data: What the table was read from.
        named: Columns that have a role.
        rows: (n,) of each row of the table its number in the source.
        points: (n,) numbers of the distinct points.
        y: (n,) the target.
    """
    several = np.flatnonzero(np.bincount(points)[points] > 1)
    if not len(several) or len(rows) > _MOST_ROWS:
        return ""
    others = [c for c in column_names(data) if c and c not in named and not _REPEATS.search(c)]
    read = _read(data, others[:_MOST_COLUMNS], int(rows.max()))
    levels = {c: index[rows[several]] for c, (index, _) in read.items()}
    texts = [c for c, (_, labels) in read.items() if not _are_numbers(labels)]
    found = _telling(levels, texts, points[several], y[several])
    if not found:
        return ""
    names = ", ".join([*found[:_SHOWN], *([f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else [])])
    n = _differing([levels[c] for c in found], points[several])
    kinds, numbers = [c for c in found if c in texts], [c for c in found if c not in texts]
    ways = [f"group by {'one of them' if len(found) > 1 else 'it'} (--group {kinds[0]})"] if kinds else []
    ways += [f"name numbers as variables ({_roles(numbers, {c: read[c][1] for c in numbers})})"] if numbers else []
    return (
        f"{n} rows counted as repeats differ in {names} (not named): {', or '.join([*ways, 'keep rows of one kind'])}"
    )


def _read(data: object, columns: Sequence[str], last: int) -> dict[str, tuple[Rows, tuple[str, ...]]]:
    """Return (n_source_rows,) numbers of each column's labels, and the labels; columns with gaps are left out."""
    found = {}
    for column in columns:
        try:
            read = read_columns(data, (), column)
        except DataError:
            continue
        if len(read.label_index) > last:
            found[column] = (read.label_index, read.labels)
    return found


def _are_numbers(labels: Sequence[str]) -> bool:
    try:
        return all(math.isfinite(float(label)) for label in labels)
    except ValueError:
        return False


def _roles(columns: Sequence[str], labels: Mapping[str, Sequence[str]]) -> str:
    """Return the options that give columns of numbers a role: whole numbers over a decade grow with money, it seems."""
    values = {c: [float(label) for label in labels[c]] for c in columns}
    grows = [c for c, x in values.items() if min(x) > 0 and max(x) >= 10 * min(x) and all(v == int(v) for v in x)]
    others = [c for c in columns if c not in grows]
    options = [f"--scale {','.join(grows)}"] if grows else []
    return " ".join([*options, *([f"--covariate {','.join(others)}"] if others else [])])


def _telling(levels: Mapping[str, Rows], texts: Sequence[str], points: Rows, y: Array) -> list[str]:
    """Return the columns that tell repeats apart and whose levels recur, without those that add nothing to others.

    Numbers of many levels may be measurements (epochs until a run was stopped): they have to explain the spread.
    """
    rest = y - (np.bincount(points, weights=y) / np.maximum(np.bincount(points), 1))[points]
    kept: list[str] = []
    cells = np.unique(points, return_inverse=True)[1].ravel()
    for column in sorted(levels, key=lambda c: len(np.unique(levels[c]))):
        index = np.unique(levels[column], return_inverse=True)[1].ravel()
        n_levels = int(index.max()) + 1
        # a level that hardly recurs is a measurement or a row's own name
        if n_levels < 2 or 2 * n_levels > len(index):
            continue
        if column not in texts and n_levels > _FEW_LEVELS and not _explains(index, rest, points):
            continue
        finer = np.unique(np.column_stack([cells, index]), axis=0, return_inverse=True)[1].ravel()
        if finer.max() > cells.max():
            kept.append(column)
            cells = finer
    return [c for c in levels if c in kept]


def _explains(index: Rows, rest: Array, points: Rows) -> bool:
    """Tell whether the levels' means differ by more than the spread within them would make them."""
    sizes = np.bincount(index)
    between = float(np.sum(np.bincount(index, weights=rest) ** 2 / sizes))
    total = float(np.sum(rest**2))
    free = len(rest) - len(np.unique(points)) - (len(sizes) - 1)
    if total == 0.0:
        return False
    return free < 1 or between / (len(sizes) - 1) > _LEAST_F * max(total - between, 1e-12 * total) / free


def _differing(levels: Sequence[Rows], points: Rows) -> int:
    """Return how many rows share a point with a row that differs in one of the columns."""
    pairs = np.unique(np.column_stack([points, *levels]), axis=0)
    kinds = np.bincount(pairs[:, 0])
    return int((kinds[points] > 1).sum())
