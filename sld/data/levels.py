"""Variables with two values: a level, not a shape.

Two values of a learning rate say which of them is better, and nothing of an optimum between or beyond them: through two
points go a valley, a hill and a wall. Such a hyperparameter takes part like a covariate, by one value or the other: the
search builds no valleys in it, and a law that turns around between the two values or beyond them, or that leaves them
far behind where one more such step is made, is inadmissible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sld.core.arrays import Rows
from sld.core.numbers import exact
from sld.data.table import Array, Table

_ROLES = ("hyperparameter", "covariate")  # what may be a choice between two
_STEPS = 3.0  # how many times the change from one value to the other the law may change in one more such step
_TURN = 0.05  # of the target's range: what a law may fall back before it has turned around
_FAR = math.log(30.0)  # how far the walks go; there only what runs away is refused
_ROWS = 60  # that walks begin from, evenly spread: many more tell nothing new


def two_valued(table: Table) -> tuple[int, ...]:
    """Return the indices of hyperparameters and covariates with no more than two values within every group."""
    found = []
    for i, variable in enumerate(table.variables):
        if variable.role not in _ROLES:
            continue
        most = max(len(np.unique(table.X[table.group_index == g, i])) for g in range(len(table.groups)))
        if most == 2:
            found.append(i)
    return tuple(found)


def as_levels(table: Table) -> Table:
    """Return the table with its hyperparameters of two values as covariates: they have no optimum to be found."""
    levels = two_valued(table)
    if not levels:
        return table
    variables = tuple(replace(v, role="covariate") if i in levels else v for i, v in enumerate(table.variables))
    return replace(table, variables=variables)


def level_notes(table: Table, symbols: Sequence[str] | None = None) -> list[str]:
    """Return a note for each hyperparameter of which the rows show no shape.

    Args:
        table: The rows, with their roles as declared.
        symbols: The variables of interest; all if not given.
    """
    notes = []
    levels = two_valued(table)
    for i, variable in enumerate(table.variables):
        if variable.role != "hyperparameter" or (symbols is not None and variable.symbol not in symbols):
            continue
        values = np.unique(table.X[:, i])
        ways = f"runs at a third value would show one, and --group {variable.column} fits each value by itself"
        if i in levels:
            few = f"{exact(values[0])} and {exact(values[-1])}" if len(values) == 2 else "in each group"
            notes.append(
                f"{variable.column} has two values ({few}), which say nothing of a shape: it counts as a level, no "
                f"optimum is looked for, and outside them nothing is known; {ways}"
            )
        elif len(values) > 2 and _most_at_one_setting(table, i) == 2:
            notes.append(
                f"{variable.column} has {len(values)} values, but no more than two where everything else is the same: "
                f"its optimum rests on comparing runs that differ in other ways too"
            )
    return notes


def _most_at_one_setting(table: Table, i: int) -> int:
    """Return the most values of a variable among rows that agree in all others."""
    others = np.column_stack([table.group_index, np.delete(table.X, i, axis=1)])
    _, setting = np.unique(others, axis=0, return_inverse=True)
    pairs = np.unique(np.column_stack([np.ravel(setting), table.X[:, i]]), axis=0)
    return int(np.bincount(pairs[:, 0].astype(np.intp)).max())


# --- walks for the grid of physical checks ----------------------------------------------------------------------------


def level_walks(table: Table, length: int) -> tuple[list[Array], list[int], Rows]:
    """Return points along each variable of two values, through some of the rows: (n_walks * length) points.

    A walk goes from 1/30 of the lower value to 30 times the upper one in logarithms. Where a value is not positive, as
    of a flag, it goes from one value to the other.

    Returns:
        The points, the variable of each walk, and the row that each point started from.
    """
    points: list[Array] = []
    direction: list[int] = []
    rows: list[int] = []
    for i in two_valued(table):
        for row in np.unique(np.linspace(0, table.n_rows - 1, min(_ROWS, table.n_rows)).astype(np.intp)):
            mine = table.X[table.group_index == table.group_index[row], i]
            steps = _steps(float(mine.min()), float(mine.max()), table.variables[i].log is not None)
            for at in np.interp(np.linspace(0, len(steps) - 1, length), np.arange(len(steps)), steps):
                x = table.X[row].copy()
                x[i] = at if table.variables[i].log or mine.min() <= 0 else math.exp(at)
                points.append(x)
            direction.append(i)
            rows.extend([int(row)] * length)
    return points, direction, np.array(rows, dtype=np.intp)


def _steps(low: float, high: float, on_logs: bool) -> Array:
    """Return twelve places: four beyond each value, the second of them one step between the values away."""
    if low <= 0 and not on_logs:
        return np.linspace(low, high, 12)
    a, b = (low, high) if on_logs else (math.log(low), math.log(high))
    w, far = b - a, max(b - a, _FAR)
    return np.array([a - far, a - w, a - w / 2, a, *(a + w * np.arange(1, 5) / 5), b, b + w / 2, b + w, b + far])


def shape_in_a_level(walks: Array, table: Table, i: int, spread: float) -> NDArray[np.bool_]:
    """Tell for each walk (n_walks, length) along variable i whether the law has a shape there.

    Args:
        walks: The law's values.
        table: The rows.
        i: The variable of two values.
        spread: Range of the target.
    """
    up = np.maximum.accumulate(walks, axis=1) - walks
    down = walks - np.minimum.accumulate(walks, axis=1)
    turns = np.minimum(up.max(axis=1), down.max(axis=1)) > _TURN * spread
    n = walks.shape[1] - 1
    at = [round(k * n / 11) for k in (1, 3, 8, 10)]
    below, low, high, above = (walks[:, k] for k in at)
    allowed = _STEPS * np.abs(high - low) + 2 * _TURN * spread
    leaves = (np.abs(low - below) > allowed) | (np.abs(above - high) > allowed)
    flag = table.variables[i].log is None and bool((table.X[:, i] <= 0).any())
    return np.asarray(turns if flag else turns | leaves)
