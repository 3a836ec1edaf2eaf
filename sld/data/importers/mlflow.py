"""MLflow: folders of files (`mlruns/`) and SQLite databases (`mlflow.db`), read without the client.

Layout of files: a run is a folder with `meta.yaml`, `metrics/NAME` (lines "time value step"), `params/NAME` and
`tags/`.
Tables: `runs`, `metrics`, `params`, `tags` (github.com/mlflow/mlflow, `mlflow/store/tracking/dbmodels/models.py`).
Infinity is kept as 1.797e308, NaN as a flag; parameters are texts. Deleted runs are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sld.core.errors import DataError
from sld.data.importers import database
from sld.data.importers.attempt import Attempt, Cell, Folder, Rows, State, Unit, as_number, cell_of, read_text
from sld.data.importers.simple_yaml import settings_of

NAME = "mlflow"
_META = "meta.yaml"
# RunStatus of MLflow: RUNNING 1, SCHEDULED 2, FINISHED 3, FAILED 4, KILLED 5
_STATES: Mapping[Any, State] = {
    1: "unfinished", 2: "unfinished", 3: "finished", 4: "unfinished", 5: "unfinished",
    "RUNNING": "unfinished", "SCHEDULED": "unfinished", "FINISHED": "finished", "FAILED": "unfinished",
    "KILLED": "unfinished",
}  # fmt: skip
_NAME_TAG = "mlflow.runName"
_SYSTEM = "system/"  # metrics of the machine


def claims(folder: Folder) -> list[Unit]:
    """Return a run's folder, and databases of MLflow."""
    if _META in folder.files and {"metrics", "params"} & set(folder.folders):
        files = [folder.path / _META]
        for part in ("metrics", "params", "tags"):
            files += sorted(p for p in (folder.path / part).rglob("*") if p.is_file())
        return [Unit(NAME, folder.path, tuple(files), whole=True)]
    return [
        Unit(NAME, path, tuple([path, *_beside(path)]))
        for path in database.databases(folder, b"experiments", b"metrics")
    ]


def _beside(path: Path) -> list[Path]:
    """Return the file of what was written and is not yet in the database."""
    log = path.with_name(path.name + "-wal")
    return [log] if log.is_file() else []


def read(unit: Unit) -> list[Attempt]:
    """Return the runs; raises DataError."""
    return [_run_of_files(unit)] if unit.files[0].name == _META else _runs_of_database(unit.base)


# -- files ------------------------------------------------------------------------------------------------------------


def _run_of_files(unit: Unit) -> Attempt:
    meta = settings_of(read_text(unit.files[0]))
    if str(meta.get("lifecycle_stage", "active")) == "deleted":
        raise DataError(f"{unit.base} is deleted in MLflow")
    rows, notes = Rows(), list[str]()
    config: dict[str, Cell] = {}
    tags: dict[str, str] = {}
    for file in unit.files[1:]:
        kind, *parts = file.relative_to(unit.base).parts
        name = "/".join(parts)
        try:
            text = read_text(file)
        except DataError as error:
            notes.append(str(error))
            continue
        if kind == "metrics" and not name.startswith(_SYSTEM):
            points, bad = _points(text)
            notes += [f"metric {name} of {unit.base.name}: {bad} lines are damaged and were left out"] if bad else []
            for _, value, step in sorted(points, key=lambda p: p[0]):
                rows.add(step, [(name, value)])
        elif kind == "params":
            config[name] = cell_of(text)
        elif kind == "tags":
            tags[name] = text
    identity = str(meta.get("run_id") or meta.get("run_uuid") or unit.base.name)
    return Attempt(
        id=identity,
        name=str(tags.get(_NAME_TAG) or meta.get("run_name") or identity),
        place=str(unit.base),
        config=config,
        series=rows.series(),
        state=_STATES.get(meta.get("status"), "unknown"),
        order=as_number(meta.get("start_time")) or 0.0,
        notes=tuple(notes),
    )


def _points(text: str) -> tuple[list[tuple[float, float, float]], int]:
    """Return (time, value, step) of a metric's lines, and how many could not be read."""
    points, bad = [], 0
    for line in text.splitlines():
        words = line.split(" ")
        try:
            value = float(words[1])
            points.append((float(words[0]), value, float(words[2]) if len(words) > 2 else 0.0))
        except (ValueError, IndexError):
            bad += bool(line.strip())
    if text and not text.endswith("\n") and points:
        # the last line is still being written: its number may lack digits
        points.pop()
        bad += 1
    return points, bad


# -- database ---------------------------------------------------------------------------------------------------------

_RUNS = """SELECT run_uuid, name, status, start_time FROM runs
           WHERE lifecycle_stage = 'active' OR lifecycle_stage IS NULL ORDER BY start_time"""
_METRICS = "SELECT run_uuid, key, value, is_nan, step, timestamp FROM metrics ORDER BY timestamp, step"


def _runs_of_database(path: Path) -> list[Attempt]:
    with database.opened(path, "MLflow") as connection:
        runs = connection.execute(_RUNS).fetchall()
        params = list(connection.execute("SELECT run_uuid, key, value FROM params"))
        tags = list(connection.execute("SELECT run_uuid, key, value FROM tags WHERE key = ?", (_NAME_TAG,)))
        rows = {str(run[0]): Rows() for run in runs}
        for run, key, value, is_nan, step, _ in connection.execute(_METRICS):
            if run in rows and not str(key).startswith(_SYSTEM):
                rows[run].add(float(step), [(str(key), float("nan") if is_nan else float(value))])
    names = {str(run): str(value) for run, _, value in tags}
    return [
        Attempt(
            id=str(run),
            name=names.get(str(run)) or str(name or run),
            place=f"{path}, run {str(run)[:8]}",
            config=dict(_settings(params, run)),
            series=rows[str(run)].series(),
            state=_STATES.get(status, "unknown"),
            order=as_number(start) or 0.0,
        )
        for run, name, status, start in runs
    ]


def _settings(params: Iterable[tuple[Any, ...]], run: Any) -> Iterator[tuple[str, Cell]]:
    for owner, key, value in params:
        if owner == run:
            with suppress(TypeError):
                yield str(key), cell_of(str(value))
