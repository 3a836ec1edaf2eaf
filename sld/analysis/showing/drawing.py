"""A law on axes that somebody gives: its curves past the data, the rows behind them, its intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis import sections
from sld.analysis.plot import curves
from sld.core.errors import UsageError
from sld.data.table import ALL_ROWS, Array, Table
from sld.laws.law import Law

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STOOD_IN = 400  # points that stand in for rows
_MOST_LEVELS = 6  # of a variable among them
_MOST_GROUPS = 60  # among them; more are not drawn anyway


def drawn(law: Law, ax: Axes | None, table: Table | None, target: str) -> Axes:
    """Draw one target of a law.

    Args:
        law: The law.
        ax: Axes; a new figure of pyplot's where there are none.
        table: Rows to show; without any the curves run over the ranges that the law was fitted in.
        target: Its column.

    Raises:
        UsageError: Nothing says where to draw.
    """
    j = [t.column for t in law.targets].index(target)
    rows = stand_in(law) if table is None else _as_fitted(law, table)
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")[1]
    curves(ax, law, sections.section(law, rows, j), rows=table is not None, title=False)
    return ax


def stand_in(law: Law) -> Table:
    """Return points all over the ranges that a law was fitted in, with its own predictions as their targets.

    Raises:
        UsageError: The law does not say where it was fitted.
    """
    ranges = law.provenance.get("ranges")
    if not isinstance(ranges, Mapping) or any(v.symbol not in ranges for v in law.variables):
        raise UsageError("the law does not say in which ranges it was fitted: give rows, law.plot(data=...)")
    groups = law.groups[:_MOST_GROUPS]
    own = law.provenance.get("group_ranges", {})
    n = max(_STOOD_IN // len(groups), 40)
    rng = np.random.default_rng(0)
    X = np.concatenate([_points(law, own.get(group, ranges), n, rng) for group in groups])
    table = Table(
        law.variables,
        (),
        X,
        np.empty((len(X), 0)),
        groups if law.grouped else (ALL_ROWS,),
        np.repeat(np.arange(len(groups)), n),
        group_column=law.group_column,
    )
    Y = law.by_formula(table)
    finite = np.isfinite(Y).all(axis=1)
    if not finite.any():
        raise UsageError("the law has no finite value where it was fitted: give rows, law.plot(data=...)")
    known = table.take(finite)
    return Table(
        law.variables, law.targets, known.X, Y[finite], known.groups, known.group_index, group_column=law.group_column
    )


def _points(law: Law, ranges: Mapping[str, Any], n: int, rng: np.random.Generator) -> Array:
    """Return n points on a few levels of each variable; shares sum to one."""
    columns = []
    for v in law.variables:
        low, high = (float(end) for end in ranges[v.symbol])
        even = low <= 0 or v.log is not None or v.role == "proportion"
        levels = np.linspace(low, high, _MOST_LEVELS) if even else np.geomspace(low, high, _MOST_LEVELS)
        columns.append(rng.choice(levels, n))
    X = np.column_stack(columns)
    shares = [i for i, v in enumerate(law.variables) if v.role == "proportion"]
    if shares:
        X[:, shares] /= np.maximum(X[:, shares].sum(axis=1, keepdims=True), 1e-12)
    return X


def _as_fitted(law: Law, table: Table) -> Table:
    """Return the rows of groups that the law knows, with the law's columns in its order."""
    if law.grouped:
        known = np.isin(np.array(table.groups), law.groups)[table.group_index]
        if not known.any():
            raise UsageError("no row is of a group that the law has constants for")
        table = table if known.all() else table.take(known)
    X = np.column_stack([table.column(v.column) for v in law.variables])
    Y = np.column_stack([table.column(t.column) for t in law.targets])
    groups, index = (table.groups, table.group_index) if law.grouped else ((ALL_ROWS,), np.zeros(len(X), dtype=np.intp))
    return Table(law.variables, law.targets, X, Y, groups, index, group_column=law.group_column)
