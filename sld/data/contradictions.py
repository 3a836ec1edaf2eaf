"""Where the rows go against a declared direction: pairs of runs that differ in one variable alone.

Somebody declares that loss falls as models grow, and among runs with the same data every third larger model is worse:
data was repeated until models of that size learned it by heart. The declaration is about what should be, the pair
about what was measured. A formula keeps to what was declared; a correction by neighbouring rows cannot do both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array, Rows, spread_out
from sld.data.axes import position
from sld.data.card import Target, Variable
from sld.data.rows import numbered
from sld.data.table import Table

_PAIRS = 20  # of a group; fewer say little
_WRONG = 0.2  # of the pairs; noise turns around 5 % of them on most tables of training runs, 15 % on some
_BEYOND = 2.0  # standard deviations between two repeats of a run, where there are such: so far a pair is noise
_MOST = 500  # rows that differ in the variable alone and are compared with each other, spread over its values
_BLOCK = 1_000_000  # comparisons at a time


@dataclass(frozen=True)
class Contradiction:
    """A declared direction of one target that the rows of a group go against.

    Attributes:
        variable: What the direction is declared for.
        target: Whose values are meant.
        group: Of the rows.
        wrong: Pairs of rows, equal in all else, whose values go the other way.
        pairs: All pairs of rows that are equal in all else.
    """

    variable: Variable
    target: Target
    group: str
    wrong: int
    pairs: int


def contradictions(table: Table) -> tuple[Contradiction, ...]:
    """Return the declared directions that at least a fifth of a group's pairs of rows go against.

    Where fewer than 20 pairs of a group differ in the variable alone, its rows have no say. Sizes that are one rung are
    no pair, nor are rows without weight. Where runs were repeated, a difference within their noise goes no way.
    """
    found = []
    usable = np.arange(table.n_rows) if table.weights is None else np.flatnonzero(table.weights > 0)
    noise = _BEYOND * np.sqrt(2.0 * np.array([table.variance_of_repeats(t) or 0.0 for t in range(len(table.targets))]))
    for i, variable in enumerate(table.variables):
        if variable.monotone is None or variable.role == "proportion":
            continue
        z, same = position(table, variable)
        ahead = table.Y if variable.monotone == "increasing" else -table.Y
        line = numbered([table.group_index, *np.delete(table.X, i, axis=1).T])[0][usable]
        pairs = np.zeros(len(table.groups), dtype=np.intp)
        wrong = np.zeros((len(table.groups), len(table.targets)), dtype=np.intp)
        for lines in _lines(usable, line, z[usable]):
            larger = z[lines][:, None, :] > z[lines][:, :, None] + same  # the second of a pair is the larger one
            groups = table.group_index[lines[:, 0]]
            np.add.at(pairs, groups, larger.sum(axis=(1, 2)))
            for t in range(len(table.targets)):
                y = ahead[lines, t]
                fallen = y[:, :, None] - y[:, None, :] > noise[t]
                np.add.at(wrong[:, t], groups, (larger & fallen).sum(axis=(1, 2)))
        for t, target in enumerate(table.targets):
            against = np.flatnonzero((pairs >= _PAIRS) & (wrong[:, t] >= _WRONG * pairs))
            found += [
                Contradiction(variable, target, table.groups[g], int(wrong[g, t]), int(pairs[g])) for g in against
            ]
    return tuple(found)


def sentence_of(same: Sequence[Contradiction], grouped: bool) -> str:
    """Return what a user should know of the contradictions of one variable and target.

    Args:
        same: In one or several groups.
        grouped: Whether the table has several groups, so that these are named.
    """
    v, y = same[0].variable, same[0].target.column
    other = "higher" if v.monotone == "decreasing" else "lower"
    where = ", ".join(c.group for c in same[:3]) + (f" and {len(same) - 3} more" if len(same) > 3 else "")
    pairs, wrong = sum(c.pairs for c in same), sum(c.wrong for c in same)
    return (
        f"{y} is declared {v.monotone} in {v.column}, but rows go against that{f' ({where})' if grouped else ''}: of "
        f"{pairs} pairs that differ in {v.column} alone {wrong} have the {other} {y} where {v.column} is larger"
    )


def _lines(rows: Rows, line: Rows, z: Array) -> list[Rows]:
    """Return blocks (n_lines, n_rows) of lines of one length, of those that have at least two rows."""
    order = np.lexsort((z, line))
    parts = np.split(rows[order], np.flatnonzero(np.diff(line[order])) + 1)
    by_length: dict[int, list[Rows]] = {}
    for part in parts:
        if len(part) > 1:
            by_length.setdefault(min(len(part), _MOST), []).append(spread_out(part, _MOST))
    return [
        np.array(of[start : start + max(1, _BLOCK // length**2)])
        for length, of in sorted(by_length.items())
        for start in range(0, len(of), max(1, _BLOCK // length**2))
    ]
