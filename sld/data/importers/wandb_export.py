"""Tables that W&B's web pages export: the table of runs (a row a run), and charts (a column a run).

A chart is drawn from at most some 1,500 points a run, so an export of it lacks points, and its `__MIN` and `__MAX` are
ranges of what was merged, not values of the run. The table of runs has settings and last values in one row.
"""

from __future__ import annotations

import re

import numpy as np

from sld.core.errors import DataError
from sld.data.importers.attempt import Attempt, Folder, Rows, Unit, as_number
from sld.data.importers.sheet import sheet_of, slug
from sld.data.importers.wandb import STATES
from sld.data.reading import open_source

NAME = "wandb-csv"
_OF_RUNS = {"Name", "State"}
_OWN = {"Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", "End Time", "ID"}
_SEPARATOR = " - "  # between run and metric
_RANGE = re.compile(r"__(?:MIN|MAX)$")
_AXES = ("Step", "_step", "trainer/global_step", "train/global_step", "global_step", "Relative Time (Process)")


def claims(folder: Folder) -> list[Unit]:
    """Return the exported tables, told by their headers."""
    names = [name for name in folder.ending(".csv") if folder.forced or _kind(folder.head(name))]
    return [Unit(NAME, folder.path / name, (folder.path / name,)) for name in names]


def _kind(head: bytes) -> str:
    first = head.decode("utf-8", errors="replace").removeprefix("\ufeff").split("\n", 1)[0]
    names = [name.strip().strip('"') for name in first.split(",")]
    if set(names) >= _OF_RUNS:
        return "runs"
    chart = sum(" - " in name for name in names[1:])
    return "chart" if chart and chart >= len(names) - 2 else ""


def read(unit: Unit) -> list[Attempt]:
    """Return the runs of an export; raises DataError."""
    path = unit.base
    try:
        with path.open("rb") as file:
            kind = _kind(file.read(2**20))
    except OSError as error:
        raise DataError(f"could not read {path}: {error.strerror or error}") from None
    return _runs(unit) if kind == "runs" else _chart(unit)


def _runs(unit: Unit) -> list[Attempt]:
    sheet = sheet_of(unit.base)
    return [
        Attempt(
            id=str(row.get("ID") or f"{unit.base}:{k}"),
            name=slug(str(row.get("Name", f"run-{k + 1}"))),
            place=f"{unit.base}, row {k + 1}",
            # settings and last values are not told apart in the export: both are found by name
            config={name: value for name, value in row.items() if name not in _OWN},
            state=STATES.get(str(row.get("State", "")).casefold(), "unknown"),
            order=float(k),
        )
        for k, row in enumerate(sheet.rows)
    ]


def _chart(unit: Unit) -> list[Attempt]:
    source = open_source(unit.base)
    names = list(source.names)
    # "RUN - METRIC"; a name of a run may have " - " in it too
    owners = {k: name.rpartition(_SEPARATOR) for k, name in enumerate(names) if _SEPARATOR in name}
    owners = {k: parts for k, parts in owners.items() if not _RANGE.search(parts[2])}
    axes = [k for k, name in enumerate(names) if name and _SEPARATOR not in name]
    if not owners or not axes:
        raise DataError(f"{unit.base} is no chart of runs; wanted a column Step and columns 'RUN - METRIC'")
    axis = next((k for wanted in _AXES for k in axes if names[k] == wanted), axes[0])
    runs: dict[str, Rows] = {slug(run): Rows() for run, _, _ in owners.values()}
    for batch in source.batches(range(len(names))):
        columns = [c.tolist() if isinstance(c, np.ndarray) else c for c in batch.columns]
        for i, at in enumerate(columns[axis]):
            step = as_number(at)
            if step is not None:
                # an empty cell is no point, a NaN is one: the run has diverged
                for k, (run, _, metric) in owners.items():
                    runs[slug(run)].add(step, [(metric.strip(), columns[k][i])])
    note = f"{unit.base.name} is a chart: W&B draws some 1,500 points a run at most, so points may be gone between them"
    return [
        Attempt(f"{unit.base}:{run}", run, f"{unit.base}, run {run}", series=rows.series(), notes=() if k else (note,))
        for k, (run, rows) in enumerate(runs.items())
    ]
