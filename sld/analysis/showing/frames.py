"""Laws and discoveries as DataFrames."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.intervals import constant_intervals, unknown_constants
from sld.analysis.report.text import typical
from sld.data.table import Table
from sld.laws.law import Law

if TYPE_CHECKING:
    from pandas import DataFrame

    from sld.search.outcome import Discovery


def constants_frame(law: Law) -> DataFrame:
    """Return the constants with their intervals, a row for each."""
    import pandas

    known = constant_intervals(law) if law.intervals is not None else {}
    unknown = unknown_constants(law) if law.intervals is not None else {}
    rows = []
    for target in law.targets:
        for group, values in law.constants[target.column].items():
            for name, value in values.items():
                ends = known.get(target.column, {}).get(group, {}).get(name)
                why = unknown.get(target.column, {}).get(group, {}).get(name, "")
                low, high = (math.nan, math.nan) if ends is None or why else ends
                rows.append((target.column, group, name, value, low, high, why))
    return pandas.DataFrame(rows, columns=["target", "group", "constant", "value", "low", "high", "note"])


def residuals_frame(law: Law, table: Table) -> DataFrame:
    """Return measured minus predicted values, a row for each row and target."""
    import pandas

    predicted = law.by_formula(table)
    columns: dict[str, Any] = {v.column: table.column(v.column) for v in law.variables}
    if law.grouped:
        columns[law.group_column or "group"] = np.array(table.groups)[table.group_index]
    parts = []
    for j, target in enumerate(law.targets):
        measured, expected = table.column(target.column), predicted[:, j]
        with np.errstate(all="ignore"):
            relative = (measured - expected) / expected
        own = {"target": target.column, "measured": measured, "predicted": expected}
        parts.append(pandas.DataFrame(columns | own | {"residual": measured - expected, "relative": relative}))
    return parts[0] if len(parts) == 1 else pandas.concat(parts, ignore_index=True)


def formulas_frame(found: Discovery) -> DataFrame:
    """Return the front and the chosen formula, the simplest first."""
    import pandas

    candidates = {c.key: c for c in (*found.front, found.chosen)}
    rows = [
        (
            c.text,
            c.key == found.chosen.key,
            c.complexity,
            c.n_constants,
            c.score,
            typical(c.fold_errors),
            c.train_nmse,
            c.admissible,
            c.origin,
        )
        for c in sorted(candidates.values(), key=lambda c: (c.complexity, c.score))
    ]
    head = ["formula", "chosen", "complexity", "n_constants", "score", "fold_error", "train_error", "sound", "origin"]
    return pandas.DataFrame(rows, columns=head)
