"""What every formula fitted to one table needs and none has to compute again: rows by group, columns, samples."""

from __future__ import annotations

from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from sld.core.arrays import Mask, Rows
from sld.data.table import Table
from sld.fit.starts import Sample
from sld.formula.evaluation import Array, walk
from sld.formula.expression import Node

_SAMPLE_ROWS = 48  # rows that starting points are drawn from
_MAX_SUBSETS = 64  # of rows; there are about eight folds
_MAX_COLUMNS_MB = 64  # of constant-free sub-expressions remembered for one table


class Prepared:
    """A table's rows in the order of its groups.

    Attributes:
        order: (n_rows,) the table's row numbers, group by group.
        group_of: (n_rows,) group of each row, in that order; so are all columns here.
        offsets: (n_groups + 1,) rows of group g are offsets[g] .. offsets[g + 1] - 1.
        values: Variable symbol to (n_rows,).
    """

    def __init__(self, table: Table) -> None:
        """Order the rows."""
        n_groups = len(table.groups)
        self.n_rows = table.n_rows
        self._Y = table.Y  # not the table itself, which would then never be forgotten
        if n_groups == 1:
            self.order = np.arange(self.n_rows)
            X, self.group_of = table.X, table.group_index
        else:
            self.order = np.argsort(table.group_index, kind="stable")
            X, self.group_of = table.X[self.order], table.group_index[self.order]
        self.values: dict[str, Array] = {s: X[:, j] for j, s in enumerate(table.symbols)}
        self.offsets = np.searchsorted(self.group_of, np.arange(n_groups + 1))
        self._columns: dict[Node, Array] = {}
        self._stacks: dict[tuple[Node, ...], Array] = {}  # many formulas have the same columns
        self._subsets: dict[int, tuple[Rows | Mask, tuple[Rows, Rows, Rows]]] = {}  # by identity, which is kept alive
        self._remembered = 0
        self._targets: dict[tuple[int, bool], tuple[Array, float]] = {}

    def target(self, target: int, log: bool) -> tuple[Array, float]:
        """Return a target (n_rows,), or its logarithm, and the median of its absolute value (1 instead of 0)."""
        found = self._targets.get((target, log))
        if found is None:
            y = np.ascontiguousarray(self._Y[self.order, target])
            with np.errstate(all="ignore"):
                y = np.log(y) if log else y
                scale = median(np.abs(np.exp(y) if log else y)) or 1.0
            found = self._targets[target, log] = y, scale
        return found

    @cached_property
    def sample(self) -> Sample:
        """A few dozen rows, from which starting points are drawn."""
        step = max(1, self.n_rows // _SAMPLE_ROWS)
        # an odd step, so that it does not fall in with an even number of rungs
        pick = np.arange(self.n_rows)[:: step if step % 2 or step == 1 else step + 1][: 2 * _SAMPLE_ROWS]
        return Sample({s: v[pick] for s, v in self.values.items()})

    def subset(self, rows: Rows | Mask) -> tuple[Rows, Rows, Rows]:
        """Return where some rows stand in the order of the groups, the groups among them, and where each begins.

        Args:
            rows: Row numbers of the table, or a mask; not written to afterwards.

        Returns:
            Positions (n_kept,), numbers of the groups that have rows (n_present,), offsets (n_present + 1,).
        """
        known = self._subsets.get(id(rows))
        if known is not None and known[0] is rows:
            return known[1]
        chosen = np.zeros(self.n_rows, dtype=bool)
        chosen[rows] = True
        kept = np.flatnonzero(chosen[self.order])
        offsets = np.searchsorted(kept, self.offsets)
        present = np.flatnonzero(offsets[1:] > offsets[:-1])
        found = kept, present, np.append(offsets[present], len(kept))
        if isinstance(rows, np.ndarray) and not rows.flags.writeable:  # those of a fold: every form is fitted to them
            if len(self._subsets) >= _MAX_SUBSETS:
                self._subsets.clear()
            self._subsets[id(rows)] = rows, found
        return found

    def columns(self, nodes: tuple[Node, ...]) -> Array:
        """Return the values of constant-free sub-expressions: (n_nodes, n_rows), not to be written to."""
        found = self._stacks.get(nodes)
        if found is None:
            found = np.empty((len(nodes), self.n_rows))
            for i, node in enumerate(nodes):
                found[i] = self._column(node)
            if self._fits(found.size):
                self._stacks[nodes] = found
        return found

    def _column(self, node: Node) -> Array | float:
        known = self._columns.get(node)
        if known is not None:
            return known
        with np.errstate(all="ignore"):
            value = walk(node, self.values, {})
        if isinstance(value, np.ndarray) and node.args and self._fits(value.size):
            self._columns[node] = value
        return value

    def _fits(self, n_numbers: int) -> bool:
        """Whether so many numbers more may be remembered; counts them."""
        if (self._remembered + n_numbers) * 8 > _MAX_COLUMNS_MB << 20:
            return False
        self._remembered += n_numbers
        return True


_KNOWN: WeakKeyDictionary[Table, Prepared] = WeakKeyDictionary()


def prepared(table: Table) -> Prepared:
    """Return what was prepared for a table, the first time by preparing it."""
    found = _KNOWN.get(table)
    if found is None:
        found = _KNOWN[table] = Prepared(table)
    return found


def median(values: Array) -> float:
    """Return the (upper) median."""
    # np.median takes ten times as long on a small table
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])
