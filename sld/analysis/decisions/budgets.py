"""Which rows of a table were trained with the same compute: the budgets of an isoFLOP sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.analysis.decisions.cost import Cost
from sld.core.arrays import Array, Rows
from sld.core.errors import DataError, UsageError, suggest
from sld.core.numbers import exact
from sld.data.card import Variable
from sld.data.table import Table
from sld.laws.catalogue import kind_of

# of a natural logarithm: how far apart two rows may be and still have one budget; tokens are rounded to whole batches,
# and figures that were read off a page are a few per cent off
_WIDTHS = (0.01, 0.03, 0.06, 0.12, 0.2)
_APART = 1.3  # how many times as far budgets lie from each other as neighbours within one
_WIDEST = 0.5  # from the first row of a budget to its last: no more than 65 %, or a cloud of runs would be one budget
ALIKE = 0.1  # of a natural logarithm: budgets that are wider are worth a word
LEAST_SIZES = 3  # of a budget: through fewer goes every parabola
_LEAST_SHARED = 2  # sizes that make a budget at all; with two it has no parabola, and that is said


@dataclass(frozen=True)
class Sweep:
    """The rows of an isoFLOP table, by budget.

    Attributes:
        size: Variable along which the runs of a budget differ, e.g. parameters.
        data: The other one, e.g. tokens.
        N: (n_rows,) sizes.
        D: (n_rows,) data.
        C: (n_rows,) compute.
        loss: (n_rows,) of the target.
        budget: (n_rows,) number of each row's budget, from the smallest; -1 for a row that belongs to none.
        budgets: (n_budgets,) compute of each: geometric means.
        rows: (n_rows,) numbers of the rows in the table.
    """

    size: Variable
    data: Variable
    N: Array
    D: Array
    C: Array
    loss: Array
    budget: Rows
    budgets: Array
    rows: Rows

    @property
    def widest(self) -> float:
        """By what factor the computes of a budget differ, at most."""
        spans = [float(np.ptp(np.log(self.C[self.of(k)]))) for k in range(len(self.budgets))]
        return math.exp(max(spans))

    def of(self, k: int) -> Rows:
        """Return the numbers of the rows of a budget."""
        return np.flatnonzero(self.budget == k)


def size_and_data(table: Table) -> tuple[Variable, Variable]:
    """Return the two scale variables that share a budget: the size of the model, and the data it sees.

    Names decide where they say it (`kind_of`), else the order in which the columns were declared.

    Raises:
        UsageError: There are not two.
    """
    scales = [v for v in table.variables if v.role == "scale" and kind_of(v) != "compute"]
    if len(scales) != 2:
        got = ", ".join(v.column for v in scales) or "none"
        raise UsageError(
            f"a sweep of budgets needs two scale columns, the size of the model and its data (e.g. --scale N,D), "
            f"got {got}"
        )
    if logs := [v.column for v in scales if v.log]:
        raise UsageError(f"a sweep of budgets needs sizes and data as they are, and {logs[0]!r} is a logarithm")
    first, second = scales
    turned = kind_of(first) == "data" or kind_of(second) == "parameters"
    return (second, first) if turned else (first, second)


def sweep_of(table: Table, cost: Cost, *, target: int = 0, compute: Array | None = None) -> Sweep:
    """Return the rows of a table by budget.

    Args:
        table: Rows with two scale variables.
        cost: What a run costs, over both.
        target: Column of the targets.
        compute: (n_rows,) budget of each row, where a column says it.

    Raises:
        UsageError: There are not two scale variables, or the cost does not have both.
        DataError: No three sizes share a budget.
    """
    size, data = size_and_data(table)
    if cost.uses != {size.symbol, data.symbol}:
        raise UsageError(f"cost {cost.text!r} must use both {size.symbol} and {data.symbol}: they share the budget")
    N, D = table.column(size.symbol), table.column(data.symbol)
    if compute is None:
        compute = cost(table.inputs)
    if not (np.isfinite(compute).all() and (compute > 0).all()):
        row = int(np.argmin(np.where(np.isfinite(compute), compute, -math.inf)))
        raise DataError(f"the compute of every run must be above 0, got {exact(compute[row])} in row {row + 1}")
    budget = clustered(compute, N)
    n = int(budget.max()) + 1
    if n == 0:
        raise DataError(
            f"no {LEAST_SIZES} sizes share a budget: the {table.n_rows} rows have "
            f"{len(np.unique(np.round(np.log(compute), 2)))} different computes; name the column that holds the budget "
            "(--budget-column), or fit a law (sld fit), which needs no budgets"
        )
    log_c = np.log(compute)
    budgets = np.array([math.exp(float(log_c[budget == k].mean())) for k in range(n)])
    return Sweep(size, data, N, D, compute, table.Y[:, target], budget, budgets, np.arange(table.n_rows, dtype=np.intp))


def clustered(compute: Array, sizes: Array) -> Rows:
    """Return the number of each row's budget, from the smallest; -1 for a row that shares it with no other size.

    Rows next to each other belong together when they are closer than a width; of several widths the widest is taken at
    which most rows have a budget of three sizes, and budgets are narrow and lie apart.

    >>> clustered(np.array([1e18, 1.01e18, 0.99e18, 3e18, 3e18, 3.02e18, 8e18]), np.array([1., 2, 3, 1, 2, 3, 1]))
    array([ 0,  0,  0,  1,  1,  1, -1])

    Args:
        compute: (n_rows,), positive.
        sizes: (n_rows,) of the models.
    """
    z = np.log(compute)
    order = np.argsort(z, kind="stable")
    best, most = np.full(len(z), -1, dtype=np.intp), 0
    for width in _WIDTHS:
        found = np.empty(len(z), dtype=np.intp)
        found[order] = np.concatenate([[0], np.cumsum(np.diff(z[order]) > width)])
        if not _apart(z[order], found[order]):
            continue
        covered = int((_with_sizes(found, sizes, LEAST_SIZES) >= 0).sum())
        if covered and covered >= most:
            best, most = _with_sizes(found, sizes, _LEAST_SHARED), covered
    return best


def _apart(z: Array, number: Rows) -> bool:
    """Tell whether clusters of rows in order are narrow, and lie farther from each other than rows within."""
    gaps, between = np.diff(z), np.diff(number) > 0
    first = np.concatenate([[0], np.flatnonzero(between) + 1])
    last = np.concatenate([first[1:] - 1, [len(z) - 1]])
    widest = float((z[last] - z[first]).max())
    inside = float(gaps[~between].max(initial=0.0))
    return widest <= _WIDEST and bool(gaps[between].min(initial=math.inf) >= _APART * inside)


def _with_sizes(number: Rows, sizes: Array, least: int) -> Rows:
    """Return clusters numbered anew, those of too few sizes left out as -1."""
    pairs = np.unique(np.column_stack([number, sizes]), axis=0)
    enough = np.bincount(pairs[:, 0].astype(np.intp), minlength=int(number.max()) + 1) >= least
    place = np.where(enough, np.cumsum(enough) - 1, -1)
    return np.asarray(place[number], dtype=np.intp)


def without(table: Table, columns: Sequence[str]) -> Table:
    """Return a table without some of its variables, by column."""
    kept = [i for i, v in enumerate(table.variables) if v.column not in columns]
    return replace(table, variables=tuple(table.variables[i] for i in kept), X=table.X[:, kept], own_shares=())


def compute_column(table: Table, named: str | None) -> str | None:
    """Return the column that holds the budget: the one that was named, or a scale column that is compute by its name.

    Raises:
        UsageError: The column named is no variable of the table.
    """
    columns = [v.column for v in table.variables]
    if named is not None:
        if named not in columns:
            raise UsageError(f"budget column: {suggest(named, columns, kind='column')}")
        return named
    found = [v.column for v in table.variables if v.role == "scale" and kind_of(v) == "compute" and not v.log]
    return found[0] if found and len([v for v in table.variables if v.role == "scale"]) > 1 else None
