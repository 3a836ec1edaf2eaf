"""trackio: an SQLite file a project, with a row of `metrics` for each call of log() and one of `configs` for each run.

NaN and infinity are texts in it. Runs are told apart by `run_id`: two of one name are two. Resuming without settings
erases them. Integers beyond 64 bits are left out by trackio itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sld.data.importers import database
from sld.data.importers.attempt import Attempt, Cell, Folder, Rows, Unit, flat
from sld.data.importers.wandb import COUNTERS

NAME = "trackio"
_OWN = "_"  # begins the settings that trackio adds itself


def claims(folder: Folder) -> list[Unit]:
    """Return the databases of trackio."""
    found = database.databases(folder, b"configs", b"metrics")
    return [
        Unit(NAME, path, tuple(p for p in (path, path.with_name(path.name + "-wal")) if p.is_file())) for path in found
    ]


def read(unit: Unit) -> list[Attempt]:
    """Return the runs of a project; raises DataError."""
    path = unit.base
    with database.opened(path, "trackio") as connection:
        connection.text_factory = bytes
        columns = {bytes(row[1]).decode() for row in connection.execute("PRAGMA table_info(metrics)")}
        key = "run_id" if "run_id" in columns else "run_name"
        logged = connection.execute(
            f"SELECT {key}, run_name, timestamp, step, metrics FROM metrics ORDER BY {key}, id"
        ).fetchall()
        there = {bytes(row[1]).decode() for row in connection.execute("PRAGMA table_info(configs)")}
        own = key if key in there else "run_name"
        configs = {
            _text(run): _object(config) for run, config in connection.execute(f"SELECT {own}, config FROM configs")
        }
    runs: dict[str, list[tuple[str, float, float, dict[str, Any]]]] = {}
    for run, name, time, step, metrics in logged:
        runs.setdefault(_text(run), []).append((_text(name), _seconds(_text(time)), float(step), _object(metrics)))
    return [
        Attempt(
            id=run,
            name=rows[0][0] or run,
            place=f"{path}, run {rows[0][0]}",
            config=_settings(configs.get(run) or configs.get(rows[0][0]) or {}),
            series=_curves(rows).series(),
            order=rows[0][1],
        )
        for run, rows in runs.items()
    ]


def _curves(rows: list[tuple[str, float, float, dict[str, Any]]]) -> Rows:
    flattened = [(step, dict(flat(metrics))) for _, _, step, metrics in rows]
    counter = next((c for c in COUNTERS if all(c in row for _, row in flattened)), "")
    found = Rows()
    for step, row in flattened:
        at = row.get(counter, step) if counter else step
        found.add(float(at) if isinstance(at, int | float) else step, row.items())
    return found


def _settings(config: Mapping[str, Any]) -> dict[str, Cell]:
    return {k: v for k, v in flat(config) if not k.startswith(_OWN)}


def _text(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else "" if value is None else str(value)


def _object(value: Any) -> dict[str, Any]:
    """Return the object in a cell: JSON, which is bytes in a column of text."""
    found = json.loads(_text(value))
    return found if isinstance(found, dict) else {}


def _seconds(time: str) -> float:
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return 0.0
