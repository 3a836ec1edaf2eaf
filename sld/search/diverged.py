"""Rows that look like diverged or broken runs, recognised from the table alone before any formula is tried.

One run that blew up pulls every formula towards itself, and every fold that judges it counts against the true law. A
row is set aside when its target lies absurdly far on the bad side of the rows around it, though nothing about its place
explains that: there is a good row that was given no more of any scale variable, and good rows on either side of it in
every other variable. The rows at the edge of a sweep, where a high loss is what the sweep was made to show, stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sld.core.axes import position, same_level
from sld.core.table import Array, Table
from sld.search.dependence import nearest_rows

MOST = 0.05  # share of all rows; more than that is not an accident but the data
_NEIGHBOURS = 8
_LEAST_ROWS = 12  # of a group
_SIGMAS = 12.0  # beyond its neighbours, in robust standard deviations of all rows from theirs
_RANGES = 3.0  # and in ranges of those neighbours
_ALIKE = 0.15  # of its range: how near a hyperparameter or a share has to be
_MAX_GROUP_ROWS = 6000  # distances are computed pair by pair

_Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Diverged:
    """One row set aside.

    Attributes:
        row: Its index in the table.
        target: Index of the target that gives it away.
        value: Its value there.
        usual: The median of its neighbours.
    """

    row: int
    target: int
    value: float
    usual: float


def diverged_rows(table: Table) -> tuple[Diverged, ...]:
    """Return the rows that look diverged, ascending; none when there are more than `MOST` of all rows."""
    found: dict[int, Diverged] = {}
    z = np.array([position(table, v)[0] for v in table.variables]).reshape(len(table.variables), table.n_rows).T
    for g in range(len(table.groups)):
        rows = np.flatnonzero(table.group_index == g)
        if not _LEAST_ROWS <= len(rows) <= _MAX_GROUP_ROWS:
            continue
        for j, target in enumerate(table.targets):
            worse = table.Y[rows, j] if target.better == "lower" else -table.Y[rows, j]
            for i, usual in _in_group(table, z[rows], worse):
                row = int(rows[i])
                usual = usual if target.better == "lower" else -usual
                found.setdefault(row, Diverged(row, j, float(table.Y[row, j]), usual))
    if len(found) > MOST * table.n_rows:
        return ()
    return tuple(found[row] for row in sorted(found))


def sentence(table: Table, found: tuple[Diverged, ...]) -> str:
    """Say which rows were set aside and why."""
    shown = [
        f"row {d.row + 1} ({table.targets[d.target].column} {d.value:.4g} where its neighbours have {d.usual:.4g})"
        for d in found[:5]
    ]
    more = f" and rows {', '.join(str(d.row + 1) for d in found[5:])}" if len(found) > 5 else ""
    runs, they = ("1 run looks", "it was") if len(found) == 1 else (f"{len(found)} runs look", "they were")
    return f"{runs} diverged: {', '.join(shown)}{more}; {they} left out of the search and of the fit"


def _in_group(table: Table, z: Array, worse: Array) -> list[tuple[int, float]]:
    """Return (row of the group, median of its neighbours) for rows far worse than theirs; `worse` grows as runs do."""
    span = np.ptp(z, axis=0)
    near = nearest_rows(z / np.where(span > 0, span, 1.0), _NEIGHBOURS)
    around = np.sort(worse[near], axis=1)
    middle = np.median(around, axis=1)
    sigma = 1.4826 * float(np.median(np.abs(worse - middle)))
    worst = around[:, -2]  # a neighbour may have diverged as well
    excess = worse - worst
    bulk = float(np.subtract(*np.percentile(worse, [90, 10])))  # what the bulk of the runs spans
    far = (excess > _SIGMAS * sigma) & (excess > _RANGES * (worst - around[:, 0])) & (excess > bulk)
    return [(int(i), float(middle[i])) for i in np.flatnonzero(far) if _enclosed(table, z, worse <= worst[i], int(i))]


def _enclosed(table: Table, z: Array, good: NDArray[np.bool_], i: int) -> bool:
    """Tell whether good rows show that the place of row `i` does not explain its target."""
    step = z - z[i]  # (n_rows, n_variables)
    same = np.array([same_level(z[:, v], True) for v in range(z.shape[1])]) + 1e-12
    alike = np.abs(step) <= np.maximum(same, _ALIKE * np.ptp(z, axis=0))
    scale = np.array([variable.role == "scale" for variable in table.variables])
    good = good & (np.arange(len(z)) != i)
    if (good & (np.abs(step) <= same).all(axis=1)).any():
        return True  # the same run again, and it went well
    if scale.any() and not (good & (step <= same)[:, scale].all(axis=1) & alike[:, ~scale].all(axis=1)).any():
        return False  # no run with nearly the same settings was given as little, or less, and did well
    for v in np.flatnonzero(~scale):
        elsewhere_alike = good & np.delete(alike, v, axis=1).all(axis=1)
        below, above = (elsewhere_alike & side for side in (step[:, v] < -same[v], step[:, v] > same[v]))
        if not (below.any() and above.any()):
            return False  # at the edge of a sweep
    return True
