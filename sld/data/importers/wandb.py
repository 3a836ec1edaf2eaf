"""W&B's run folders, offline or synced: the `.wandb` file in them holds settings, every row and how the run ended.

The file is a LevelDB log of messages of `wandb_internal.proto` (github.com/wandb/wandb, `wandb/proto`); it is read
without the client. A run that was killed lacks the row that it was building and the record of its end. One resumed
offline is a second file of the same id, which counts from zero and has no settings; how they are joined is decided
elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sld.core.errors import DataError
from sld.data.importers import wire
from sld.data.importers.attempt import Attempt, Cell, Folder, Rows, Series, State, Unit, as_number, flat, read_bytes

NAME = "wandb"
_HEADER = b":W&B"
_HEADER_SIZE = 7
_HISTORY, _SUMMARY, _CONFIG, _RUN, _EXIT = 2, 3, 5, 17, 18  # kinds of records
_ITEMS, _STEP = 1, 2  # of a history record
_KEY, _NESTED_KEY, _VALUE_JSON = 1, 2, 16  # of an item
_RUN_ID, _RUN_CONFIG, _RUN_NAME, _RUN_START = 1, 4, 8, 17
_OWN = "_"  # begins the metrics that the client adds itself
# how a run ended, in the words of W&B's server
STATES: Mapping[str, State] = {
    "finished": "finished", "crashed": "unfinished", "failed": "unfinished", "killed": "unfinished",
    "running": "unfinished", "pending": "unfinished", "preempting": "unfinished", "preempted": "unfinished",
}  # fmt: skip
# counters of training steps that people log beside their metrics: `_step` counts calls of log()
COUNTERS = ("trainer/global_step", "train/global_step", "global_step", "train/step", "iter", "iteration", "step")


def claims(folder: Folder) -> list[Unit]:
    """Return a run folder with its `.wandb` file."""
    files = [
        name for name in folder.ending(".wandb") if folder.forced or folder.head(name)[:4] == _HEADER or "run-" in name
    ]
    run_folder = folder.path.name.startswith(("run-", "offline-run-"))
    return [Unit(NAME, folder.path, (folder.path / name,), whole=run_folder) for name in files]


def read(unit: Unit) -> list[Attempt]:
    """Return the attempt in a `.wandb` file; raises DataError."""
    (file,) = unit.files
    data = read_bytes(file)
    if data[:4] != _HEADER:
        raise DataError(f"{file} is not a file of W&B" if data else f"{file} is empty: W&B had not begun to write")
    log = wire.leveldb_records(data, _HEADER_SIZE)
    found = _Found()
    for record in log.records:
        try:
            found.take(record)
        except wire.Damaged:
            log.damaged += 1
    if not found.id:
        raise DataError(f"{file} has no run in it: nothing had been written when the process ended")
    where = file.name
    notes = [f"{where}: {log.damaged} damaged records were left out"] if log.damaged else []
    if log.cut_off:
        notes.append(f"{where} ends inside a record: the process was killed, or still writes; all before was read")
    if found.clashes:
        twins = ", ".join(sorted(found.clashes))
        notes.append(
            f"{where}: {twins} is two metrics, one nested and one with a dot; the second is marked in its name"
        )
    series = curves(found.history)
    return [
        Attempt(
            id=found.id,
            name=found.name or found.id,
            place=str(unit.base),
            config=dict(_settings(found.config)),
            series=series,
            summary={k: v for k, v in found.summary.items() if k not in series},
            state=found.state,
            order=found.started,
            notes=tuple(notes),
        )
    ]


def _settings(config: dict[str, Any]) -> Iterator[tuple[str, Cell]]:
    for key, value in config.items():
        if key not in ("_wandb", "wandb_version"):
            yield from flat({key: value})


class _Found:
    """What the records said so far."""

    def __init__(self) -> None:
        self.id = self.name = ""
        self.started = 0.0
        self.state: State = "unfinished"  # until there is a record of its end
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Cell] = {}
        self.history: list[tuple[float, dict[str, float]]] = []
        self.clashes: set[str] = set()
        self._keys: dict[str, tuple[str, ...]] = {}

    def take(self, record: bytes) -> None:
        """Read a record; raises Damaged."""
        for piece in wire.pieces(record):
            if piece.kind != wire.LENGTH:
                continue
            if piece.number == _HISTORY:
                self._take_history(record, piece)
            elif piece.number == _CONFIG:
                self._take_config(record, piece)
            elif piece.number == _RUN:
                self._take_run(record, piece)
            elif piece.number == _EXIT:
                # a code of zero is not written
                codes = [wire.number(record, p) for p in wire.pieces(record, piece.start, piece.end) if p.number == 1]
                self.state = "unfinished" if any(codes) else "finished"
            elif piece.number == _SUMMARY:
                for key, value in _items(record, piece, 1):
                    if not key[0].startswith(_OWN) and not (isinstance(value, dict) and "_type" in value):
                        self.summary.update(flat({".".join(key): value}))

    def _take_run(self, record: bytes, run: wire.Piece) -> None:
        for piece in wire.pieces(record, run.start, run.end):
            if piece.number == _RUN_ID:
                self.id = wire.text(record, piece)
            elif piece.number == _RUN_NAME:
                self.name = wire.text(record, piece)
            elif piece.number == _RUN_CONFIG:
                self._take_config(record, piece)
            elif piece.number == _RUN_START:
                parts = {p.number: wire.number(record, p) for p in wire.pieces(record, piece.start, piece.end)}
                self.started = parts.get(1, 0) + 1e-9 * parts.get(2, 0)

    def _take_config(self, record: bytes, config: wire.Piece) -> None:
        for key, value in _items(record, config, 1):
            # a later record replaces a whole key: update({"model": {"d": 2}}) drops model.n_layer
            place = self.config
            for outer in key[:-1]:
                inner = place.get(outer)
                place = inner if isinstance(inner, dict) else place.setdefault(outer, {})
                if not isinstance(place, dict):
                    break
            else:
                place[key[-1]] = value

    def _take_history(self, record: bytes, history: wire.Piece) -> None:
        row: dict[str, float] = {}
        step = None
        for key, value in _items(record, history, _ITEMS):
            self._put(row, key, value)
        for piece in wire.pieces(record, history.start, history.end):
            if piece.number == _STEP and piece.kind == wire.LENGTH:
                parts = [wire.number(record, p) for p in wire.pieces(record, piece.start, piece.end) if p.number == 1]
                step = parts[0] if parts else 0
        step = row.get("_step", step)
        if step is not None:
            self.history.append((step, row))

    def _put(self, row: dict[str, float], key: tuple[str, ...], value: Any) -> None:
        if isinstance(value, dict):
            if "_type" not in value:  # histograms, images, tables
                for inner, item in value.items():
                    self._put(row, (*key, str(inner)), item)
            return
        number = as_number(value)
        if number is None:
            return
        name = ".".join(key)
        if self._keys.setdefault(name, key) != key:
            # {"a": {"b": 1}} and {"a.b": 1} are two metrics that look alike; the one that comes second is marked
            self.clashes.add(name)
            name = f"{name} (nested)" if len(key) > len(self._keys[name]) else f"{name} (with a dot)"
        row[name] = number


def curves(history: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, Series]:
    """Return the curves in rows of metrics, by the run's own counter of steps where every row of metrics has it."""
    counter = _counter(history)
    rows = Rows()
    for step, row in history:
        at = row.get(counter, step) if counter else step
        rows.add(at, ((k, v) for k, v in row.items() if not k.startswith(_OWN)))
    return rows.series()


def _counter(history: Sequence[tuple[float, Mapping[str, float]]]) -> str:
    metrics = [row for _, row in history if any(not k.startswith(_OWN) for k in row)]
    for name in COUNTERS:
        if metrics and all(name in row for row in metrics):
            return name
    return ""


def _items(record: bytes, within: wire.Piece, number: int) -> Iterable[tuple[tuple[str, ...], Any]]:
    """Yield key and value of the items of a record; what is no JSON is passed over."""
    for piece in wire.pieces(record, within.start, within.end):
        if piece.number != number or piece.kind != wire.LENGTH:
            continue
        key, nested, value = "", list[str](), ""
        for part in wire.pieces(record, piece.start, piece.end):
            if part.number == _KEY:
                key = wire.text(record, part)
            elif part.number == _NESTED_KEY:
                nested.append(wire.text(record, part))
            elif part.number == _VALUE_JSON:
                value = wire.text(record, part)
        try:
            yield tuple(nested) or (key,), json.loads(value)
        except (ValueError, RecursionError):
            continue
