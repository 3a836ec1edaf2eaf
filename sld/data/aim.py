"""Planned runs, read and put beside the rows of a table: what a search is then made to answer.

Planned runs have inputs only. A target among their columns is never read, so measured values cannot reach a search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import UsageError, suggest
from sld.core.numbers import short
from sld.data.axes import position, positions_of
from sld.data.reading import column_names, name_of
from sld.data.splits import planned_beyond
from sld.data.table import Table, read_points

FAR = 1000.0  # times the data: farther than any check of a law goes
_SHOWN = 5  # groups that a sentence names


@dataclass(frozen=True)
class Aimed:
    """A table with its planned runs.

    Attributes:
        table: The rows, with `aim` where some run lies beyond them; else as they came.
        notes: What was noticed, in sentences.
    """

    table: Table
    notes: tuple[str, ...]


def with_aim(table: Table, points: object) -> Aimed:
    """Put planned runs beside the rows of a table.

    >>> from sld.data.table import table_from
    >>> N = [1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6, 128e6]
    >>> table = table_from({"N": N, "loss": [1.7 + 40 * n**-0.25 for n in N]}, target="loss", scale="N")
    >>> with_aim(table, "N=1e9").table.aim.column("N").tolist()
    [1000000000.0]
    >>> with_aim(table, {"N": 3e6}).notes[0].split(":")[0]
    'the planned run lies within the rows'

    Every scale variable is needed. Another variable that is not given is that of the largest run of the group, and
    without a column of groups each run is planned in every group; a note says so.

    Args:
        table: The rows.
        points: A table of runs (a path, a DataFrame, a Table, a mapping of columns, a list of records), a mapping of
            variables to numbers, or text such as `"N=1e11,D=2e12"`, or several such texts.

    Raises:
        UsageError: A scale variable is missing, a group is none of the table's, or there are no runs.
        DataError: The runs cannot be read.
    """
    given, written_out = _as_table(points)
    where = name_of(given)
    where = "the planned runs" if where == "the table" else where
    names = set(column_names(given))
    if written_out:  # a table may have columns for other uses, a name that somebody typed is meant
        known_names = [n for v in table.variables for n in dict.fromkeys((v.column, v.symbol))]
        known_names += [t.column for t in table.targets] + ([table.group_column] if table.group_column else [])
        for name in sorted(names - set(known_names)):
            raise UsageError(f"{where}: {suggest(name, known_names, kind='variable')}")
    notes = []
    known = [_named(v, names) for v in table.variables]
    for own, variable in zip(known, table.variables, strict=True):
        if variable.role == "scale" and own is None:
            there = ", ".join(sorted(names)[:_SHOWN])
            raise UsageError(f"{where}: every planned run needs {variable.column}, a scale variable; there is {there}")
    measured = [t.column for t in table.targets if t.column in names]
    if measured:
        notes.append(f"{where}: {', '.join(measured)} was not read: planned runs have no result")
    group = table.group_column if table.group_column in names else None
    runs = read_points(given, [v for v in known if v is not None], group, where=where)
    if not runs.n_rows:
        raise UsageError(f"{where} has no runs; give one line for each, or --for N=1e11,D=2e12")
    if group is not None:
        for name in runs.groups:
            if name not in table.groups:
                raise UsageError(f"{where}: {suggest(name, table.groups, kind='group')}")
    elif table.group_column is not None and len(table.groups) > 1:
        notes.append(
            f"{where}: no column {table.group_column}, so each run is planned in all {len(table.groups)} groups"
        )
    aim = _aim(table, runs, known, group is not None)
    absent = [v.column for v, own in zip(table.variables, known, strict=True) if own is None]
    if absent:
        notes.append(f"{where}: {', '.join(absent)} is taken as in the largest run of the group")
    aimed = replace(table, aim=aim)
    n_beyond = planned_beyond(aimed)
    several = aim.n_rows > 1
    if not n_beyond:
        what = "the planned runs lie" if several else "the planned run lies"
        notes.append(f"{what} within the rows: nothing is extrapolated, and the search goes on as it does without them")
        return Aimed(table, tuple(notes))
    if several and n_beyond < aim.n_rows:
        notes.append(f"{n_beyond} of {aim.n_rows} planned runs lie beyond the rows; the search imitates these")
    return Aimed(aimed, (*notes, *_far(aimed)))


def record(aim: Table) -> dict[str, Any]:
    """Return planned runs as a run folder's record holds them: how many, where, and a digest of all."""
    ends = {v.column: [float(aim.X[:, i].min()), float(aim.X[:, i].max())] for i, v in enumerate(aim.variables)}
    groups = {"groups": list(aim.groups)} if aim.group_column is not None else {}
    return {"runs": aim.n_rows, "from_to": ends, **groups, "digest": aim.digest()}


def _as_table(points: object) -> tuple[Any, bool]:
    """Return what can be read as a table, and whether it was written out: texts and a mapping of numbers are."""
    if isinstance(points, Table):
        columns: dict[str, Any] = {v.column: points.X[:, i] for i, v in enumerate(points.variables)}
        labels = {points.group_column: [points.groups[g] for g in points.group_index]}
        return columns | (labels if points.group_column is not None else {}), False
    texts = [points] if isinstance(points, str) else points
    if isinstance(texts, Sequence) and texts and all(isinstance(t, str) for t in texts):
        if not all(t.strip() for t in texts):
            raise UsageError("planned runs are a table or NAME=NUMBER,... such as N=1e11,D=2e12, got nothing")
        named = [t for t in texts if "=" in t and not Path(t).exists()]
        if named and len(named) < len(texts):
            raise UsageError(f"planned runs are a table or NAME=NUMBER,..., not both; got {' and '.join(texts)}")
        if not named:
            if len(texts) > 1:
                raise UsageError(f"planned runs come from one table, got {len(texts)}: {', '.join(texts)}")
            return texts[0], False
        return _columns([_run(t) for t in named]), True
    if isinstance(points, Mapping) and all(isinstance(v, int | float | str | np.number) for v in points.values()):
        return {name: [value] for name, value in points.items()}, True
    return points, False


def _run(text: str) -> dict[str, float | str]:
    """Return what `N=1e11,D=2e12` says; values that are no numbers may name a group."""
    found: dict[str, float | str] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name and equals and value) or "=" in value or name in found:
            raise UsageError(f"a planned run is NAME=NUMBER,... such as N=1e11,D=2e12, got {text!r}")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = value
    return found


def _columns(runs: Sequence[Mapping[str, float | str]]) -> dict[str, list[float | str]]:
    for run in runs:
        if set(run) != set(runs[0]):
            raise UsageError(
                f"planned runs name the same variables each, got {', '.join(runs[0])} and {', '.join(run)}"
            )
    return {name: [run[name] for run in runs] for name in runs[0]}


def _named(variable: Any, names: set[str]) -> Any:
    """Return a variable under the name that the planned runs have for it, its column or its symbol; None without."""
    if variable.column in names:
        return variable
    return replace(variable, column=variable.symbol) if variable.symbol in names else None


def _aim(table: Table, runs: Table, known: Sequence[Any], grouped: bool) -> Table:
    """Return the planned runs with all variables and groups of the table."""
    n, names = runs.n_rows, list(table.groups)
    if grouped:
        group_index = np.array([names.index(g) for g in runs.groups], dtype=np.intp)[runs.group_index]
        rows = np.arange(n)
    else:
        group_index, rows = np.repeat(np.arange(len(names)), n), np.tile(np.arange(n), len(names))
    largest = _largest(table)
    given = {own.symbol: runs.column(own.symbol) for own in known if own is not None}
    columns = [
        given[v.symbol][rows] if v.symbol in given else table.X[largest[group_index], i]
        for i, v in enumerate(table.variables)
    ]
    kept, index = np.unique(group_index, return_inverse=True)
    return Table(
        variables=table.variables,
        targets=(),
        X=np.column_stack(columns),
        Y=np.empty((len(rows), 0)),
        groups=tuple(names[k] for k in kept),
        group_index=index,
        group_column=table.group_column,
    )


def _largest(table: Table) -> Array:
    """Return the number of the largest row of each group, by the product of the scale variables."""
    size = np.zeros(table.n_rows)
    for v in table.variables:
        if v.role == "scale":
            size += position(table, v)[0]
    rows = [np.flatnonzero(table.group_index == g) for g in range(len(table.groups))]
    return np.array([own[np.argmax(size[own])] for own in rows], dtype=np.intp)


def _far(table: Table) -> list[str]:
    """Return a warning where a planned run lies a thousand times beyond the rows."""
    aim = table.aim
    assert aim is not None
    found = []
    for i, v in enumerate(table.variables):
        if v.role != "scale":
            continue
        z, there = position(table, v)[0], positions_of(table, v, aim.X[:, i])
        times = float(np.nanmax(there)) - float(z.max())
        if times > math.log(FAR) * (1 + 1e-9):
            factor = short(math.exp(times), 2) if times < math.log(1e300) else "over 1e300"
            found.append(
                f"beware: a planned run has {factor} times the largest {v.column} of the rows; no check of a law goes "
                f"farther than {FAR:g} times, and what the law says there is a guess"
            )
    return found
