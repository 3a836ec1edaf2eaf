"""Tables as rows of cells, for the readers of CSV, JSON and Parquet: curves with a counter of steps, or a run a row."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sld.core.errors import DataError
from sld.data.formats.source import Content
from sld.data.formats.text import TextSource
from sld.data.importers.attempt import (
    Attempt,
    Cell,
    Rows,
    as_number,
    beside,
    cell_of,
    flat,
    plain,
    read_bytes,
    read_object,
    read_text,
)
from sld.data.importers.simple_yaml import settings_of
from sld.data.reading import open_source

STEP_NAMES = (
    *("step", "global_step", "steps", "train_step", "training_step", "iter", "iteration", "iterations", "it"),
    *("update", "updates", "trainer/global_step", "train/global_step", "_step", "batch", "epoch"),
)
RUN_NAMES = (
    "run",
    "run_id",
    "run_name",
    "runs",
    "run id",
    "run name",
    "experiment",
    "exp",
    "id",
    "name",
    "model",
    "trial",
)
_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
SIDECARS = (
    *("config.json", "hparams.json", "params.json", "args.json", "run.json", "settings.json"),
    *("config.yaml", "config.yml", "hparams.yaml", "params.yaml", "args.yaml"),
)


@dataclass(frozen=True)
class Sheet:
    """The rows of a table.

    Attributes:
        names: Its columns.
        rows: A mapping a row, of what its cells stand for; empty cells are left out.
        torn: The last line was cut off and left out.
    """

    names: tuple[str, ...]
    rows: list[dict[str, Cell]]
    torn: bool = False


def sheet_of(path: Path) -> Sheet:
    """Read a table of any type that `sld` reads; raises DataError.

    The last line of a growing CSV, of a process that still writes or was killed, may lack cells or digits: where a
    table of curves has no end of line there, it is left out.
    """
    source = open_source(path)
    torn = False
    if path.suffix.lower() in _DELIMITERS and step_column(source.names) is not None:
        data = read_bytes(path)
        if torn := not data.endswith((b"\n", b"\r")):
            whole = data[: max(data.rfind(b"\n"), data.rfind(b"\r")) + 1]
            source = TextSource(Content(path.name, lambda: io.BytesIO(whole)), _DELIMITERS[path.suffix.lower()])
    if not any(source.names):
        raise DataError(f"{path} has no named columns")
    rows: list[dict[str, Cell]] = []
    places = [k for k, name in enumerate(source.names) if name]
    for batch in source.batches(places):
        columns = [c.tolist() if isinstance(c, np.ndarray) else c for c in batch.columns]
        for cells in zip(*columns, strict=True):
            row = {source.names[k]: _cell(v) for k, v in zip(places, cells, strict=True)}
            rows.append({k: v for k, v in row.items() if v is not None})
    return Sheet(tuple(n for n in source.names if n), rows, torn)


def _cell(value: Any) -> Cell:
    return cell_of(value) if isinstance(value, str) else plain(value)


def step_column(names: Sequence[str]) -> str | None:
    """Return the column that counts steps, or None for a table with a run a row."""
    folded = {name.casefold(): name for name in reversed(names)}
    return next((folded[name] for name in STEP_NAMES if name in folded), None)


def run_column(names: Sequence[str]) -> str | None:
    """Return the column that names runs, if there is one."""
    folded = {name.casefold(): name for name in reversed(names)}
    return next((folded[name] for name in RUN_NAMES if name in folded), None)


def settings_beside(path: Path) -> tuple[dict[str, Cell], list[Path]]:
    """Return the settings that stand in a file beside the metrics, and which files these are; raises DataError."""
    files = beside(path.parent, SIDECARS)
    config: dict[str, Cell] = {}
    for file in files:
        config |= dict(flat(read_object(file))) if file.suffix == ".json" else settings_of(read_text(file))
    return config, files


@dataclass(frozen=True)
class Origin:
    """What the attempts of a table are called."""

    id: str
    name: str
    place: str
    config: Mapping[str, Cell]
    notes: tuple[str, ...] = ()


def attempts_of(rows: Sequence[Mapping[str, Cell]], step: str, origin: Origin) -> list[Attempt]:
    """Return the stretches of one run's rows: where the counter falls back, the run was started again."""
    stretches: list[list[Mapping[str, Cell]]] = [[]]
    config = dict(origin.config)
    last = -math.inf
    for row in rows:
        at = as_number(row.get(step))
        if at is None:
            if last == -math.inf:  # lines before the first step are settings
                config |= {k: v for k, v in row.items() if k != step}
            continue
        if at < last:
            stretches.append([])
        stretches[-1].append(row)
        last = at
    constant = _constant_texts(rows, step)
    config |= constant
    found = []
    for k, stretch in enumerate(stretches):
        points = Rows()
        for row in stretch:
            at = as_number(row[step])
            assert at is not None
            points.add(at, ((name, value) for name, value in row.items() if name != step and name not in constant))
        said = origin.notes if not k else ()
        series = points.series()
        found.append(Attempt(origin.id, origin.name, origin.place, config, series, order=float(k), notes=said))
    return found


def _constant_texts(rows: Sequence[Mapping[str, Cell]], step: str) -> dict[str, Cell]:
    """Return the columns that say the same in every row of a run: settings that were written beside each metric."""
    first = next((row for row in rows if step in row), {})
    many = sum(step in row for row in rows)
    same = {k: v for k, v in first.items() if k != step and (isinstance(v, str | bool) or many > 2)}
    for row in rows:
        if step not in row:
            continue
        same = {k: v for k, v in same.items() if row.get(k) == v and type(row.get(k)) is type(v)}
        if not same:
            break
    return {k: v for k, v in same.items() if v == v}


def slug(text: str) -> str:
    """Return a name without spaces around it, and on one line."""
    return re.sub(r"\s+", " ", text).strip()
