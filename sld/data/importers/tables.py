"""JSON, JSON lines, CSV and Parquet that people write themselves: a run a file, runs named in a column, or a run a row.

A table with a column of steps (`step`, `iter`, `epoch`, ...) holds curves: of the run that the file is called for, or
of those that a column `run` names. Settings stand in a file beside it (`config.json`, `hparams.yaml`, ...), in lines
before the first step, or in columns that say the same in every row. A table without steps has a run in each row.
"""

from __future__ import annotations

import json
from pathlib import Path

from sld.core.errors import DataError
from sld.data.importers.attempt import Attempt, Cell, Folder, Unit, flat, read_text, run_name
from sld.data.importers.sheet import (
    SIDECARS,
    Origin,
    Sheet,
    attempts_of,
    run_column,
    settings_beside,
    sheet_of,
    slug,
    step_column,
)

JSON, JSONL, CSV, PARQUET = "json", "jsonl", "csv", "parquet"
_SUFFIXES = {
    JSON: (".json",),
    JSONL: (".jsonl", ".ndjson", ".jsonl.gz"),
    CSV: (".csv", ".tsv", ".tab", ".csv.gz", ".tsv.gz"),
    PARQUET: (".parquet", ".pq"),
}
_NOT_RUNS = {*SIDECARS, "tokenizer.json", "tokenizer_config.json", "generation_config.json", "package.json"}


def claims_of(name: str, folder: Folder) -> list[Unit]:
    """Return the tables of one kind in a folder, each with the settings beside it."""
    suffixes = _SUFFIXES[name]
    files = [n for n in folder.files if (folder.forced or n.lower().endswith(suffixes)) and n not in _NOT_RUNS]
    beside = [folder.path / n for n in SIDECARS if n in folder.files]
    return [Unit(name, folder.path / n, (folder.path / n, *beside)) for n in files]


def read(unit: Unit) -> list[Attempt]:
    """Return the attempts in a table; raises DataError."""
    path, notes = unit.base, list[str]()
    sheet = _json_lines(path) if unit.reader == JSONL and path.suffix != ".gz" else sheet_of(path)
    if sheet.torn:
        notes.append(f"{path.name}: the last line is cut off and was left out")
    if not sheet.rows:
        raise DataError(f"{path} has no rows")
    config, _ = settings_beside(path) if len(unit.files) > 1 else ({}, [])
    step, run = step_column(sheet.names), run_column(sheet.names)
    if step is None:
        return [_row(row, k, run, path) for k, row in enumerate(sheet.rows)]
    if run is None or run == step:
        return attempts_of(
            sheet.rows, step, Origin(str(path), run_name(path, unit.root), str(path), config, tuple(notes))
        )
    owned: dict[str, list[dict[str, Cell]]] = {}
    for row in sheet.rows:
        if run in row:
            owned.setdefault(slug(str(row[run])), []).append({k: v for k, v in row.items() if k != run})
    found = []
    for name, rows in owned.items():
        origin = Origin(f"{path}:{name}", name, f"{path}, run {name}", config, tuple(notes))
        found += attempts_of(rows, step, origin)
        notes = []
    return found


def _row(row: dict[str, Cell], k: int, run: str | None, path: Path) -> Attempt:
    name = slug(str(row[run])) if run is not None and run in row else f"{path.stem}-{k + 1}"
    return Attempt(f"{path}:{k}", name, f"{path}, row {k + 1}", config=row, order=float(k))


def _json_lines(path: Path) -> Sheet:
    """Read JSON lines; a last line without an end, of a process that was killed, is left out."""
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    rows: list[dict[str, Cell]] = []
    torn = False
    for k, line in enumerate(lines):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if k == len(lines) - 1 and k:
                torn = True
                break
            raise DataError(f"{path} line {k + 1} is not JSON: {str(error).splitlines()[0]}") from None
        if not isinstance(record, dict):
            raise DataError(f"{path} line {k + 1} is no object with keys")
        rows.append({name: value for name, value in flat(record) if value is not None})
    return Sheet(tuple(dict.fromkeys(name for row in rows for name in row)), rows, torn)
