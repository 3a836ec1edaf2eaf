"""Wide exports, one column per run, and the long form of them: one row per step and run.

Charts of W&B export `Step, run-1 - loss, run-1 - loss__MIN, run-1 - loss__MAX, run-2 - loss, ...`; others have bare
names of runs. The long form has the columns that belong to all runs (Step), `run`, and one column per metric. Cells
that are empty in the export are no rows: runs log at steps of their own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sld.core.errors import DataError
from sld.data.formats.source import Held, Source
from sld.data.numbers import MISSING, label_of, number

RUN = "run"  # the column of the runs' names
VALUE = "value"  # the metric, where neither the header nor the caller names it

_SEPARATOR = " - "  # W&B's, between run and metric
_ENDS = re.compile(r"__(?:MIN|MAX)$")
_AXES = re.compile(
    r"_?(?:global|trainer|train|eval|training)?[ _/]*"
    r"(?:steps?|iter|iters|iterations?|epochs?|batch(?:es)?|updates?|tokens?|tokens[ _]seen|samples|timestamp|runtime)"
    r"|(?:relative|wall)[ _]time.*|index|",
    re.IGNORECASE,
)
# words of ordinary columns: a table that has one is not taken for one of runs
_ORDINARY = frozenset(
    "loss losses acc accuracy err error ppl perplexity bpb nll ce score reward metric val valid validation test train "
    "eval lr learning rate wd grad gradient norm size sizes batch bs params parameters flops compute time seed width "
    "depth layers n d c x y".split()
)


def runs_of(names: Sequence[str], *, sure: bool = False) -> list[str]:
    """Return the runs that columns seem to be named for; empty where a table does not look wide.

    `sure` asks for more than a first column like Step and others beside it.
    """
    exported = _exported(names)
    if len(exported) >= 2:
        return list(dict.fromkeys(run for run, _ in exported.values()))
    others = [name for name in names[1:] if name and not _AXES.fullmatch(name) and not _ENDS.search(name)]
    if not names or not names[0] or not _AXES.fullmatch(names[0]):
        return []
    if sure and any(word in _ORDINARY for name in others for word in re.split(r"[^a-z]+", name.casefold())):
        return []
    return others


def offer(names: Sequence[str], target: str = "", *, sure: bool = False) -> str:
    """Return the end of a refusal that offers to melt, or "" where the table does not look wide."""
    runs = runs_of(names, sure=sure)
    if len(runs) < 2:
        return ""
    shown = ", ".join(runs[:4]) + (", ..." if len(runs) > 4 else "")
    return (
        f"; if its columns are runs ({shown}), --melt makes rows with columns {names[0]}, {RUN} and {target or VALUE}"
    )


def melted(source: Source, keep: Collection[str] = (), targets: Sequence[str] = ()) -> Source:
    """Return the long form of a table with one column per run.

    Args:
        source: The wide table.
        keep: Columns that belong to all runs, besides those that are recognised (Step, epoch, tokens, ...).
        targets: Metrics that are asked for. The only metric of an export takes the name of the only target.

    Raises:
        DataError: There are no columns of runs.
    """
    cells, row_names = _all_cells(source)
    plan = _plan(source, cells, keep, targets)
    rows: list[list[Any]] = []
    places: list[tuple[int, str]] = []
    for run, columns in plan.runs.items():
        for i in range(len(row_names)):
            if any(m in columns and not _is_empty(cells[columns[m]][i]) for m in plan.needed):
                values = [cells[columns[m]][i] if m in columns else None for m in plan.metrics]
                rows.append([*(cells[k][i] for k in plan.shared), run, *values])
                places.append((i, run))
    if not rows:
        raise DataError(f"{source.where}: every cell of the columns of runs is empty")

    def row_name(i: int) -> str:
        line, run = places[i]
        return f"{row_names[line]} of run {run!r}"

    what = ", ".join(plan.metrics[m] for m in plan.needed)
    note = f"melted: the columns of {len(plan.runs)} runs became {len(rows)} rows of {what}, named in column {RUN!r}"
    names = [*(source.names[k] for k in plan.shared), RUN, *plan.metrics.values()]
    held = Held(source.where, names, list(zip(*rows, strict=True)), row_name, notes=(*source.notes(), note))
    held.stem = source.stem
    return held


@dataclass(frozen=True)
class _Plan:
    """Which columns are whose: positions of the shared ones, and of each run's metrics, with the metrics' new names."""

    shared: list[int]
    runs: dict[str, dict[str, int]]
    metrics: dict[str, str]
    needed: list[str]  # a row without any of these is none


def _plan(source: Source, cells: Sequence[Sequence[Any]], keep: Collection[str], targets: Sequence[str]) -> _Plan:
    names = source.names
    owners = {k: pair for k, pair in _exported(names).items() if names[k] not in keep}
    if not owners:
        shared = {k for k, name in enumerate(names) if name in keep or _AXES.fullmatch(name)} or {0}
        owners = {k: _bare(name) for k, name in enumerate(names) if k not in shared and _is_numeric(cells[k])}
    if not owners:
        wanted = "wanted a column such as Step, and one with numbers for each run"
        raise DataError(f"{source.where}: no columns of runs to melt; {wanted}, got {', '.join(names[:12])}")
    runs: dict[str, dict[str, int]] = {}
    for k, (run, metric) in owners.items():
        if metric in runs.setdefault(run, {}):
            raise DataError(f"{source.where} has two columns of run {run!r} and metric {metric!r}")
        runs[run][metric] = k
    metrics = _named(list(dict.fromkeys(metric for _, metric in owners.values())), targets)
    plan = _Plan([k for k in range(len(names)) if k not in owners], runs, metrics, _needed(metrics, targets))
    clash = {RUN, *metrics.values()} & {names[k] for k in plan.shared}
    if clash:
        raise DataError(f"{source.where}: melting makes a column {min(clash)!r}, and there is one already; rename it")
    return plan


def _exported(names: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Return run and metric of the columns that W&B names so, by position."""
    parts = {k: name.rpartition(_SEPARATOR) for k, name in enumerate(names)}
    return {k: (run.strip(), metric.strip()) for k, (run, _, metric) in parts.items() if run.strip() and metric.strip()}


def _bare(name: str) -> tuple[str, str]:
    """Return run and metric of a column that is called like its run: "run-1", "run-1__MIN"."""
    end = _ENDS.search(name)
    return (name[: end.start()], VALUE + end[0]) if end else (name, VALUE)


def _named(metrics: Sequence[str], targets: Sequence[str]) -> dict[str, str]:
    """Return the column of each metric: the only one that is measured takes the name of the only target."""
    measured = [m for m in metrics if not _ENDS.search(m) and not _AXES.fullmatch(m)]
    if len(measured) != 1 or len(targets) != 1 or targets[0] in metrics:
        return {m: m for m in metrics}
    return {m: targets[0] + m.removeprefix(measured[0]) if m.startswith(measured[0]) else m for m in metrics}


def _needed(metrics: dict[str, str], targets: Sequence[str]) -> list[str]:
    asked = [m for m, name in metrics.items() if name in targets]
    return asked or [m for m in metrics if not _ENDS.search(m) and not _AXES.fullmatch(m)] or list(metrics)


def _all_cells(source: Source) -> tuple[list[list[Any]], list[str]]:
    cells: list[list[Any]] = [[] for _ in source.names]
    row_names: list[str] = []
    for batch in source.batches(range(len(source.names))):
        for column, more in zip(cells, batch.columns, strict=True):
            column.extend(more.tolist() if isinstance(more, np.ndarray) else more)
        row_names.extend(map(batch.row_name, range(batch.n_rows)))
    return cells, row_names


def _is_empty(cell: Any) -> bool:
    return label_of(cell).casefold() in MISSING


def _is_numeric(cells: Sequence[Any]) -> bool:
    """Whether a column holds numbers: at least one, and nothing else."""
    filled = [cell for cell in cells if not _is_empty(cell)]
    return bool(filled) and all(map(_is_number, filled))


def _is_number(cell: Any) -> bool:
    if not isinstance(cell, str):
        return isinstance(cell, int | float) and not isinstance(cell, bool)
    try:
        number(cell)
    except ValueError:
        return False
    return True
