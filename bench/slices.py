"""Rows of many tables as curves along one column: what priors are learned from and judged on.

A slice holds the rows of a table that agree in everything but one scale column (and in the group), averaged where they
share its value too, with six different values at least that span a factor of four. Only slices that rise or fall
(rank correlation of 0.8 or more) and lie above 0 count: what has no trend has no law.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import SldError
from sld.data.table import Table
from sld.data.task import load_task
from sld.fit.roles import kind_of

HERE = Path(__file__).resolve().parent
LEAST_POINTS, LEAST_SPAN, LEAST_TREND = 6, 4.0, 0.8
MOST_POINTS = 12  # of a slice: neighbours along a run say the same again
MOST_OF_TABLE = 6  # slices


@dataclass(frozen=True, eq=False)
class Slice:
    """Rows along one column, sorted by it.

    Attributes:
        table: Where they are from.
        kind: Of what the column is a count, see `sld.fit.roles.KINDS`.
        x: (n_points,).
        y: (n_points,).
        better: Which value is better: `lower` or `higher`.
    """

    table: str
    kind: str
    x: Array
    y: Array
    better: str


def halves() -> tuple[list[str], list[str]]:
    """Return the tables of `open2` to build on, and those to confirm on, as `split.md` names them."""
    text = (HERE / "split.md").read_text(encoding="utf-8")
    parts = re.split(r"\*\*To (?:build|confirm) on \(\d+\):\*\*", text)[1:]
    build, confirm = (re.findall(r"`([A-Za-z0-9_]+)`", part.split("\n\n")[0]) for part in parts)
    return build, confirm


def folders(data: Path, half: str) -> list[Path]:
    """Return the task folders of a half; the older ones and the bundled ones are all to build on."""
    build, confirm = halves()
    if half == "confirm":
        return [data / "open2" / name for name in confirm if (data / "open2" / name).is_dir()]
    found = [data / "open2" / name for name in build if (data / "open2" / name).is_dir()]
    for suite in ("open", "sldbench-train"):
        found += sorted(p for p in (data / suite).glob("*") if (p / "task.toml").exists())
    return found + sorted(p for p in (HERE.parent / "tasks").glob("nanolm_*") if (p / "task.toml").exists())


def tables(folder: Path) -> list[Table]:
    """Return the rows of a task that were fitted and those held out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            task = load_task(folder)
            held_out = task.held_out()
        except SldError:
            return []
    return [task.train, *([held_out] if held_out is not None else [])]


def slices(folder: Path, seed: int = 0) -> list[Slice]:
    """Return the slices of a table, at most six."""
    found: list[Slice] = []
    parts = tables(folder)
    if not parts:
        return []
    first = parts[0]
    for j, target in enumerate(first.targets):
        for i, variable in enumerate(first.variables):
            if variable.role == "scale" and variable.log is None:
                kind = kind_of(variable.column)
                if kind == "other":
                    kind = kind_of(variable.meaning) if variable.meaning else kind
                found += [Slice(folder.name, kind, x, y, target.better) for x, y in _along(parts, i, j)]
    if len(found) > MOST_OF_TABLE:
        chosen = np.random.default_rng(seed).choice(len(found), MOST_OF_TABLE, replace=False)
        found = [found[k] for k in sorted(chosen)]
    return found


def _along(parts: Sequence[Table], variable: int, target: int) -> Iterator[tuple[Array, Array]]:
    rows: dict[tuple[object, ...], list[tuple[float, float]]] = {}
    for table in parts:
        for k in range(table.n_rows):
            rest = tuple(float(x) for i, x in enumerate(table.X[k]) if i != variable)
            key = (table.groups[table.group_index[k]], *rest)
            rows.setdefault(key, []).append((float(table.X[k, variable]), float(table.Y[k, target])))
    for pairs in rows.values():
        values, y = np.array(pairs).T
        x, where = np.unique(values, return_inverse=True)
        y = np.bincount(where, weights=y) / np.bincount(where)
        if len(x) < LEAST_POINTS or not (x > 0).all() or not (y > 0).all() or x[-1] / x[0] < LEAST_SPAN:
            continue
        if len(x) > MOST_POINTS:
            near = np.abs(np.log(x)[:, None] - np.linspace(np.log(x[0]), np.log(x[-1]), MOST_POINTS))
            kept = np.unique(near.argmin(0))
            x, y = x[kept], y[kept]
        if len(x) >= LEAST_POINTS and abs(_rank_correlation(x, y)) >= LEAST_TREND:
            yield x, y


def _rank_correlation(x: Array, y: Array) -> float:
    a, b = (np.argsort(np.argsort(v)).astype(float) for v in (x, y))
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(y) > 0 else 0.0
