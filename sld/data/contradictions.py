"""Where the rows go against a declared direction: pairs of runs that differ in one variable alone.

Somebody declares that loss falls as models grow, and among runs with the same data every third larger model is worse:
data was repeated until models of that size learned it by heart. The declaration is about what should be, the pair
about what was measured. A formula keeps to what was declared; a correction by neighbouring rows cannot do both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array, Rows, spread_out
from sld.data.card import Target, Variable
from sld.data.table import Table

_PAIRS = 20  # fewer say little
_MOST = 500  # rows that differ in the variable alone and are compared with each other, spread over its values
_WRONG = 0.2  # of the pairs; noise turns around 5 % of them on most tables of training runs, 15 % on some


@dataclass(frozen=True)
class Contradiction:
    """A declared direction of one target that its rows go against.

    Attributes:
        variable: What the direction is declared for.
        target: Whose values are meant.
        wrong: Pairs of rows, equal in all else, whose values go the other way.
        pairs: All pairs of rows that are equal in all else.
    """

    variable: Variable
    target: Target
    wrong: int
    pairs: int

    @property
    def sentence(self) -> str:
        """What a user should know."""
        v = self.variable
        other = "higher" if v.monotone == "decreasing" else "lower"
        return (
            f"{self.target.column} is declared {v.monotone} in {v.column}, but of {self.pairs} pairs of rows that "
            f"differ in {v.column} alone {self.wrong} have the {other} {self.target.column} where {v.column} is "
            f"larger: the law's formula keeps to the direction, its predictions near such rows need not"
        )


def contradictions(table: Table) -> tuple[Contradiction, ...]:
    """Return the declared directions of a table that at least a fifth of its pairs of rows go against.

    Where fewer than 20 pairs differ in the variable alone, the rows have no say.
    """
    found = []
    for i, variable in enumerate(table.variables):
        if variable.monotone is None or variable.role == "proportion":
            continue
        signs = table.Y if variable.monotone == "increasing" else -table.Y
        others = np.column_stack([table.group_index, np.delete(table.X, i, axis=1)])
        _, line = np.unique(others, axis=0, return_inverse=True)
        wrong, pairs = np.zeros(len(table.targets), dtype=np.intp), 0
        for mine in _lines(line.ravel(), table.X[:, i]):
            larger = np.less.outer(table.X[mine, i], table.X[mine, i])
            pairs += int(larger.sum())
            for t in range(len(table.targets)):
                wrong[t] += int((larger & np.greater.outer(signs[mine, t], signs[mine, t])).sum())
        for target, count in zip(table.targets, wrong.tolist(), strict=True):
            if pairs >= _PAIRS and count >= _WRONG * pairs:
                found.append(Contradiction(variable, target, count, pairs))
    return tuple(found)


def _lines(line: Rows, x: Array) -> list[Rows]:
    """Return the rows of each line that has at least two, by numbers of lines (n_rows,); of long ones some."""
    order = np.lexsort((x, line))
    parts = np.split(order, np.flatnonzero(np.diff(line[order])) + 1)
    return [spread_out(part, _MOST) for part in parts if len(part) > 1]
