"""The ranges in which a law was fitted, and the points that lie outside them.

A law is made to be carried further in its scale variables. In everything else (a hyperparameter, a share, a covariate)
nothing is known beyond the training rows: whoever asks there is told so, whatever the law is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sld.core.numbers import exact
from sld.data.table import Array, Table
from sld.laws.law import Law

_SLACK = 1e-6  # of the range: what is printed and read again is at the edge, not outside


def ranges_of(table: Table) -> dict[str, Any]:
    """Return what a law's provenance says of its training rows: least and largest value of each variable.

    `ranges` holds them by symbol; `group_ranges` by group and symbol, where rows are grouped.
    """
    record: dict[str, Any] = {"ranges": _spans(table.X, table)}
    if table.group_column is not None:
        record["group_ranges"] = {
            group: _spans(table.X[table.group_index == g], table) for g, group in enumerate(table.groups)
        }
    return record


def _spans(X: Array, table: Table) -> dict[str, list[float]]:
    return {v.symbol: [float(X[:, i].min()), float(X[:, i].max())] for i, v in enumerate(table.variables)}


def outside(law: Law, points: Table) -> tuple[str, ...]:
    """Return a sentence for each variable, scales aside, in which points lie outside the rows behind the law.

    Args:
        law: Any law; of one that does not say where it was fitted nothing is known, and nothing is said.
        points: The points that predictions are asked for, with the law's variables.
    """
    everywhere = law.provenance.get("ranges")
    by_group = law.provenance.get("group_ranges")
    if not isinstance(everywhere, Mapping):
        return ()
    sentences = []
    for variable in law.variables:
        if variable.role == "scale":
            continue
        x = points.column(variable.column)
        away: list[tuple[int, str]] = []
        for g, group in enumerate(points.groups):
            own = by_group.get(group) if isinstance(by_group, Mapping) else None
            ends = (own if isinstance(own, Mapping) else everywhere).get(variable.symbol)
            if not isinstance(ends, list | tuple) or len(ends) != 2:
                continue
            low, high = float(ends[0]), float(ends[1])
            slack = _SLACK * max(high - low, abs(high) * _SLACK)
            bad = (points.group_index == g) & ((x < low - slack) | (x > high + slack))
            of = f" of group {group}" if own is not None else ""
            away += [
                (int(row), f"{exact(low)}..{exact(high)}, where the law{of} was fitted") for row in np.flatnonzero(bad)
            ]
        if not away:
            continue
        row, where = min(away)
        many = f" ({len(away)} of {points.n_rows} points)" if points.n_rows > 1 else ""
        sentences.append(f"{variable.column} = {exact(x[row])} lies outside {where}{many}")
    return tuple(sentences)
