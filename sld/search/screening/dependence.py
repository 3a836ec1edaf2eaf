r"""Do the targets depend on the variables at all? A permutation test, before any formula is believed.

The best of thousands of formulas always fits something, so its own errors cannot say that there is something to fit.
This test never sees a formula. It measures how much of a target a fixed set of simple regressions explains (straight
lines, parabolas and products in the positions of the variables, each variable by itself, a slope per group, the mean of
the nearest rows), and does the same to targets shuffled among the rows of their group. Under the hypothesis that the
rows of a group are exchangeable, the rank of the real table among the shuffled ones is an exact p-value, whatever the
statistics are (Good 2005, section 3); the largest of several statistics, each in standard deviations, is ranked in the
same way (max T, Westfall and Young 1993), so trying many costs nothing but power.

Rows that are not exchangeable without a law (checkpoints of one run, say) look dependent to it. Where the runs are
named, whole runs trade places, and each is turned around within itself: checkpoints keep their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array, Rows
from sld.data.axes import position
from sld.data.table import Table

N_SHUFFLES = 499  # p-values down to 0.002
_MAX_COLUMNS = 60  # of one regression
_ROWS_PER_COLUMN = 3  # with fewer a regression follows shuffled rows nearly as well, and the test says nothing
_NEIGHBOURS = 3  # one is as noisy as a row, many see no bend
_MAX_ROWS_FOR_NEIGHBOURS = 3000  # the matrix of their means has the square of it: 72 MB
_BLOCK = 256  # rows whose distances are held at once


@dataclass(frozen=True)
class Dependence:
    """The outcome of the test.

    Attributes:
        p_value: Of the whole table: how often a shuffled one looks at least as dependent.
        p_values: Of each target.
        smallest: The smallest p-value that so few rows allow; above 0.02 nothing can be shown.
        n_rows: Distinct rows that were shuffled.
    """

    p_value: float
    p_values: tuple[float, ...]
    smallest: float
    n_rows: int


def dependence(table: Table, seed: int, *, shuffles: int = N_SHUFFLES) -> Dependence:
    """Test whether any target depends on any variable, within groups.

    Args:
        table: The rows. Exact copies of a row count once, since they are not independent runs.
        seed: Seed of the shuffles.
        shuffles: How often the targets are shuffled.
    """
    table = _without_copies(table)
    rng = np.random.default_rng(seed)
    group_rows = [np.flatnonzero(table.group_index == g) for g in range(len(table.groups))]
    order = np.tile(np.arange(table.n_rows), (shuffles + 1, 1))  # the first is the table itself
    for rows in group_rows:
        if table.runs:
            order[1:, rows] = _runs_shuffled(table, rows, shuffles, rng)
        else:
            order[1:, rows] = rng.permuted(np.tile(rows, (shuffles, 1)), axis=1)
    bases = list(_bases(table, group_rows))
    neighbours = _neighbour_means(table, group_rows)
    largest = []
    for j in range(len(table.targets)):
        statistics: list[Array] = []
        for y in _versions(table.Y[:, j], group_rows):
            shuffled = y[order].T  # (n_rows, 1 + shuffles)
            total = float(np.sum(y**2))
            for basis in bases:
                explained = np.square(basis.T @ shuffled).sum(axis=0)
                # explained over left, as in an F test: a close fit counts for far more than a fair one
                statistics.append(explained / np.maximum(total - explained, 1e-9 * total + 1e-300))
            if neighbours is not None:
                statistics.append((shuffled * (neighbours @ shuffled)).sum(axis=0))
        largest.append(np.max([_surprise(s) for s in statistics], axis=0) if statistics else np.zeros(shuffles + 1))
    targets = np.array(largest)
    return Dependence(
        p_value=_p_value(targets.max(axis=0)),
        p_values=tuple(_p_value(row) for row in targets),
        smallest=_smallest(table, group_rows, shuffles),
        n_rows=table.n_rows,
    )


def _without_copies(table: Table) -> Table:
    rows = np.column_stack([table.group_index, table.X, table.Y])
    first = np.unique(rows, axis=0, return_index=True)[1]
    return table if len(first) == table.n_rows else table.take(np.sort(first))


def _runs_of(table: Table, rows: Rows) -> list[Rows]:
    """Return the rows of each run of a group, in the order of their variables, the longest run first."""
    order = np.lexsort([*table.X[rows].T[::-1], table.run_index[rows]])
    runs = np.split(rows[order], np.flatnonzero(np.diff(table.run_index[rows][order])) + 1)
    return sorted(runs, key=len, reverse=True)


def _runs_shuffled(table: Table, rows: Rows, shuffles: int, rng: np.random.Generator) -> Rows:
    """Return (shuffles, n_rows) rows to take the targets from: runs of one length trade places, and each is turned.

    A run is turned as a ring: without a law, where its curve begins says nothing.
    """
    runs = _runs_of(table, rows)
    lengths = np.array([len(run) for run in runs])
    place = np.empty(table.n_rows, dtype=np.intp)
    place[rows] = np.arange(len(rows))
    out = np.empty((shuffles, len(rows)), dtype=np.intp)
    for length in np.unique(lengths):
        block = np.array([run for run in runs if len(run) == length])  # (n_runs, length)
        for s in range(shuffles):
            starts = rng.integers(length, size=len(block))
            turned = (np.arange(length) + starts[:, None]) % length
            out[s, place[block]] = np.take_along_axis(block[rng.permutation(len(block))], turned, axis=1)
    return out


def _smallest(table: Table, group_rows: list[Rows], shuffles: int) -> float:
    """Return one over the number of arrangements; a target and its mirror image look equally dependent."""
    if table.runs:
        log_count = 0.0
        for rows in group_rows:
            lengths = np.array([len(run) for run in _runs_of(table, rows)])
            _, alike = np.unique(lengths, return_counts=True)
            log_count += float(np.log(lengths).sum() + sum(np.log(np.arange(1, n + 1)).sum() for n in alike))
    else:
        log_count = sum(float(np.log(np.arange(1, len(rows) + 1)).sum()) for rows in group_rows)
    return max(2.0 * float(np.exp(-min(log_count, 50.0))), 1.0 / (shuffles + 1))


def _surprise(statistic: Array) -> Array:
    """Return how many standard deviations each entry (1 + shuffles,) lies above their mean: one scale for all."""
    spread = float(statistic.std())
    out: Array = (statistic - statistic.mean()) / spread if spread > 0 else np.zeros(len(statistic))
    return out


def _p_value(statistic: Array) -> float:
    """Return the share of entries at least as large as the first, itself included; ties count against it."""
    # equal up to rounding: sums of the same terms in another order
    slack = 1e-9 * (abs(float(statistic[0])) + 1e-300)
    return float(np.mean(statistic >= statistic[0] - slack))


def _versions(y: Array, group_rows: list[Rows]) -> Iterator[Array]:
    """Yield the target as it is and its ranks (which no outlier moves), each standardised within its group."""
    plain, ranks = np.zeros(len(y)), np.zeros(len(y))
    for rows in group_rows:
        plain[rows] = _standardised(y[rows])
        values, inverse = np.unique(y[rows], return_inverse=True)
        counts = np.bincount(inverse, minlength=len(values))
        ranks[rows] = _standardised((np.cumsum(counts) - 0.5 * counts)[inverse])
    yield plain
    yield ranks


def _standardised(values: Array) -> Array:
    centred = values - values.mean()
    spread = float(np.sqrt(np.mean(centred**2)))
    out: Array = centred / spread if spread > 1e-12 * (abs(float(values.mean())) + 1e-300) else np.zeros(len(values))
    return out


def positions(table: Table) -> Array:
    """Return (n_rows, n_varying) positions of the rows, 0 to 1 along each variable that varies (log for scales)."""
    columns = []
    for variable in table.variables:
        z = position(table, variable)[0]
        if np.ptp(z) > 0:
            columns.append((z - z.min()) / np.ptp(z))
    return np.array(columns).reshape(len(columns), table.n_rows).T


def _bases(table: Table, group_rows: list[Rows]) -> Iterator[Array]:
    """Yield orthonormal bases (n_rows, rank) of what each regression can explain."""
    z = positions(table)
    n, p = z.shape
    if not p:
        return
    squares = z**2
    products = np.array([z[:, i] * z[:, k] for i in range(p) for k in range(i)]).reshape(-1, n).T
    designs = [z, np.hstack([z, squares]), np.hstack([z, products]), np.hstack([z, squares, products])]
    designs += [np.column_stack([z[:, i], squares[:, i]]) for i in range(p)] if p > 1 else []
    if len(group_rows) > 1:
        for i in range(p):
            own = np.zeros((n, len(group_rows)))
            for g, rows in enumerate(group_rows):
                own[rows, g] = z[rows, i]
            designs.append(own)
    shapes: set[tuple[int, float]] = set()
    for design in designs:
        most = n // _ROWS_PER_COLUMN
        if design.shape[1] > min(most, max(_MAX_COLUMNS, len(group_rows))):
            continue
        centred = design.copy()
        for rows in group_rows:
            centred[rows] -= centred[rows].mean(axis=0)
        u, singular, _ = np.linalg.svd(centred, full_matrices=False)
        kept = u[:, singular > 1e-9 * max(float(singular[0]), 1e-300)] if len(singular) else u
        seen = (kept.shape[1], round(float(singular.sum()), 9))
        if kept.shape[1] and seen not in shapes:
            shapes.add(seen)
            yield kept


def _neighbour_means(table: Table, group_rows: list[Rows]) -> Array | None:
    """Return the matrix (n_rows, n_rows) that averages the nearest rows of the same group, or None for many rows."""
    if table.n_rows > _MAX_ROWS_FOR_NEIGHBOURS:
        return None
    z = positions(table)
    matrix = np.zeros((table.n_rows, table.n_rows))
    for rows in group_rows:
        k = min(_NEIGHBOURS, len(rows) - 1)
        if k < 1:
            continue
        nearest = nearest_rows(z[rows], k)
        matrix[rows[:, None], rows[nearest]] = 1.0 / k
    return matrix


def nearest_rows(z: Array, k: int) -> Rows:
    """Return (n_rows, k) numbers of the rows nearest to each in `z` (n_rows, n_dims), itself left out; k < n_rows."""
    out = np.empty((len(z), k), dtype=np.intp)
    for start in range(0, len(z), _BLOCK):
        block = z[start : start + _BLOCK]
        distance = np.zeros((len(block), len(z)))
        for v in range(z.shape[1]):
            distance += np.square(block[:, v, None] - z[None, :, v])
        here = np.arange(len(block))
        distance[here, start + here] = np.inf
        out[start : start + _BLOCK] = np.argpartition(distance, k - 1, axis=1)[:, :k]
    return out
