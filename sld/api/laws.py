"""A law that there is: its scores, its predictions, and where not to believe them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sld.api.tasks import is_table_file
from sld.core.card import CARD_FILE
from sld.core.errors import DataError, UsageError, suggest

if TYPE_CHECKING:
    from sld.core.law import Law
    from sld.core.scoring import Scores
    from sld.core.table import Array, Table
    from sld.core.task import Task


def as_law(law: object) -> Law:
    """Return a law from itself, a discovery, a `law.json` or a run directory; raises UsageError."""
    from sld.core.law import Law

    if isinstance(law, Law):
        return law
    if isinstance(law, str | Path):
        return Law.load(law)
    found = getattr(law, "law", None)
    if isinstance(found, Law):
        return found
    raise UsageError(f"wanted a law, a law.json or a run directory, got {type(law).__name__}")


def score(law: object, data: object) -> Scores:
    """Score a law on held-out rows.

    Args:
        law: A Law, a discovery, or the path of a law.json or run directory.
        data: A task (its held-out rows count), its name or folder, or a table with measured targets.

    Raises:
        UsageError: The task has no held-out rows, or a group or target of the rows is unknown to the law.
        DataError: The rows lack a column of the law.
    """
    from sld.core.scoring import scores
    from sld.core.table import Table

    law = as_law(law)
    rows = _rows_to_score(law, data)
    columns = [t.column for t in rows.targets]
    for target in law.targets:
        if target.column not in columns:
            raise DataError(f"the rows to score: {suggest(target.column, columns, kind='target')}")
    assert isinstance(rows, Table)
    Y = rows.Y[:, [columns.index(t.column) for t in law.targets]]
    return scores(Y, law.predict(rows), rows.group_index)


def _rows_to_score(law: Law, data: object) -> Table:
    from sld.core.table import Table, read_table
    from sld.core.task import Task, load_task

    if isinstance(data, Table):
        return data
    if is_table_file(data) or not isinstance(data, Task | str | Path):
        return read_table(data, law.variables, law.targets, law.group_column)
    task = data if isinstance(data, Task) else load_task(data)
    held_out = task.held_out()
    if held_out is None:
        way_out = "score the law on a table of further runs instead"
        raise UsageError(f"task {task.name!r} has no held-out rows (files.held_out in its {CARD_FILE}); {way_out}")
    return held_out


def held_out_scores(law: Law, task: Task) -> Scores | None:
    """Return the scores on the task's held-out rows, or None when it has none."""
    return None if task.held_out() is None else score(law, task)


def predict(law: object, points: object) -> dict[str, Array]:
    """Return predicted columns: each target, and `<target>_low`, `<target>_high` where the law has intervals.

    Args:
        law: A Law, a discovery, or the path of a law.json or run directory.
        points: Path of a table, DataFrame or mapping with the law's variables (and group column).

    Raises:
        UsageError: A group has no constants in the law.
        DataError: A column is missing or a cell is not a number.
    """
    from sld.core.table import Table, read_points

    law = as_law(law)
    table = points if isinstance(points, Table) else read_points(points, law.variables, law.group_column)
    values = law.predict(table)
    predicted = {t.column: values[:, j] for j, t in enumerate(law.targets)}
    if law.intervals is not None:
        from sld.analysis import intervals

        lower, upper = intervals.predict_intervals(law, table)
        for j, target in enumerate(law.targets):
            predicted[f"{target.column}_low"] = lower[:, j]
            predicted[f"{target.column}_high"] = upper[:, j]
    return predicted


def caution(law: object, points: object) -> str:
    """Return what the search's verdict says against predicting these points, in one line; empty when nothing.

    Args:
        law: A Law, a discovery, or the path of a law.json or run directory. A law that was only fitted has no verdict.
        points: Path of a table, DataFrame or mapping with the law's variables (and group column).
    """
    import numpy as np

    from sld.core.table import Table, read_points

    law = as_law(law)
    verdict = law.provenance.get("verdict", {})
    if verdict.get("kind") == "no law":
        return str(verdict["sentence"])
    reach: Mapping[str, float] = verdict.get("reach", {})
    if not reach:
        return ""
    table = points if isinstance(points, Table) else read_points(points, law.variables, law.group_column)
    columns = {v.symbol: table.column(v.column) for v in law.variables}
    by_group: Mapping[str, Mapping[str, float]] = verdict.get("reach_by_group", {})
    ends = {
        s: np.array([by_group.get(g, reach).get(s, reach[s]) for g in table.groups])[table.group_index] for s in reach
    }
    # the record has six digits
    beyond = {s: columns[s] > end + 1e-5 * np.abs(end) for s, end in ends.items() if s in columns}
    n = sum(any(rows) for rows in zip(*beyond.values(), strict=True))
    if not n:
        return ""
    where = ", ".join(_between(s, ends[s][rows]) for s, rows in beyond.items() if rows.any())
    weak = f": {'; '.join(verdict.get('reasons', ()))}" if verdict.get("kind") == "weak" else ""
    return f"beyond {where} the law is not supported, and {n} of {table.n_rows} points lie there{weak}"


def _between(symbol: str, ends: Array) -> str:
    low, high = float(ends.min()), float(ends.max())
    return f"{symbol} = {low:.3g}" + (f" to {high:.3g} (by group)" if high > low else "")
