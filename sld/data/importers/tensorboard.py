"""TensorBoard's event files (tensorboard, tensorboardX, PyTorch, TensorFlow 2), every point of them.

TensorBoard's own reader keeps a sample of 10,000 points a tag, and 10 of tensors. Here the files are read by their
documented layout: https://github.com/tensorflow/tensorboard, `compat/proto/event.proto` and `summary.proto`. Records of
one shape are decoded together, so that ten million points take seconds. A record whose checksum is wrong gives no
point.

A folder is a run, and each event file in it a stretch of it. `add_hparams` writes settings into a folder below the
run's: they are given to the run above.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sld.core.errors import DataError
from sld.data.importers import wire
from sld.data.importers.attempt import Attempt, Cell, Folder, Series, Unit, run_name

NAME = "tensorboard"
_MARK = "tfevents"
_SPLITS = {"train", "validation", "val", "eval", "test"}  # folders that Keras and others make below a run
_HPARAMS = "_hparams_/"
_START = 1  # of a session: what was logged from its step on is void
_EVENT_WALL, _EVENT_STEP, _EVENT_SUMMARY, _EVENT_SESSION = 1, 2, 5, 7
_VALUE_TAG, _VALUE_SIMPLE, _VALUE_TENSOR, _VALUE_METADATA = 1, 2, 8, 9
_FLOAT, _DOUBLE = 1, 2  # types of tensors
_MOST_SHAPES = 64  # of records of one length; beyond that they are looked at one by one


def claims(folder: Folder) -> list[Unit]:
    """Return the folder, if it has event files, or if those below are the parts of one run."""
    own = [folder.path / name for name in folder.files if _MARK in name]
    if own:
        return [Unit(NAME, folder.path, tuple(own))]
    if folder.folders and set(folder.folders) <= _SPLITS:
        files = [f for name in folder.folders for f in _events_in(folder.path / name)]
        if files:
            return [Unit(NAME, folder.path, tuple(files), whole=True)]
    return []


def _events_in(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if _MARK in name and (folder / name).is_file()]
    except OSError:
        return []


def read(unit: Unit) -> list[Attempt]:
    """Return an attempt for each event file; raises DataError where none can be read."""
    attempts, problems = [], []
    for file in unit.files:
        try:
            attempts.append(_attempt(unit, file))
        except DataError as error:
            problems.append(str(error))
    if not attempts:
        raise DataError(problems[0])
    if problems:
        attempts[0] = _with_notes(attempts[0], problems)
    return attempts


def _with_notes(attempt: Attempt, notes: list[str]) -> Attempt:
    from dataclasses import replace

    return replace(attempt, notes=(*attempt.notes, *notes))


def _attempt(unit: Unit, file: Path) -> Attempt:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"could not read {file}: {error.strerror or error}") from None
    found = _Found()
    records = wire.tfrecords(data)
    if not len(records.starts):
        raise DataError(f"{file} " + ("is empty" if not data else "is no event file, or is damaged from its start on"))
    _decode(data, records, found)
    where = f"{file.parent.name}/{file.name}"
    notes = []
    if records.cut_off:
        notes.append(f"{where} ends inside a record: it is still written, or was cut off; all before was read")
    if records.damaged:
        notes.append(f"{where} is damaged after {len(records.starts)} records; what follows was not read")
    if found.damaged:
        notes.append(f"{where}: {found.damaged} records have a wrong checksum and were left out")
    prefix = "" if file.parent == unit.base else f"{file.parent.name}/"
    series = {prefix + tag: s for tag, s in found.series().items() if not tag.startswith(_HPARAMS)}
    only_settings = bool(found.config) and all(len(s) <= 1 for s in series.values())
    return Attempt(
        id=str(unit.base),
        name=run_name(unit.base, unit.root),
        place=str(unit.base),
        config=found.config,
        series={} if only_settings else series,
        summary={tag: float(s.values[-1]) for tag, s in series.items()} if only_settings else {},
        order=found.first_time,
        part_of=str(unit.base.parent) if only_settings else "",
        resumes_at=found.resumes_at,
        notes=tuple(notes),
    )


@dataclass
class _Found:
    """What was found in a file so far: for each tag, pieces of its curve with the positions of their records."""

    points: dict[str, list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]] = field(default_factory=dict)
    config: dict[str, Cell] = field(default_factory=dict)
    first_time: float = np.inf
    resumes_at: float | None = None
    damaged: int = 0

    def add(self, tag: str, at: Any, steps: Any, values: Any) -> None:
        self.points.setdefault(tag, []).append((np.atleast_1d(at), np.atleast_1d(steps), np.atleast_1d(values)))

    def series(self) -> dict[str, Series]:
        return {tag: _in_order(parts) for tag, parts in self.points.items()}


def _in_order(parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]) -> Series:
    at, steps, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(at, kind="stable")
    return Series.of(steps[order].astype(np.float64), values[order].astype(np.float64))


def _decode(data: bytes, records: wire.Records, found: _Found) -> None:
    array = np.frombuffer(data, dtype=np.uint8)
    for size in np.unique(records.sizes).tolist():
        starts = records.starts[records.sizes == size]
        right = wire.right_content(array, starts, size)
        found.damaged += int((~right).sum())
        starts = starts[right]
        for _ in range(_MOST_SHAPES):
            if not len(starts):
                break
            starts = _decode_alike(data, array, starts, size, found)
        for start in starts.tolist():
            _decode_one(data, start, start + size, found)


class _Shape(NamedTuple):
    """Where in a record of one scalar the things stand that differ from one record to the next."""

    tag: str
    wall: int
    step: tuple[int, int]
    value: int
    double: bool


def _decode_alike(
    data: bytes, array: wire.Bytes, starts: NDArray[np.int64], size: int, found: _Found
) -> NDArray[np.int64]:
    """Decode the first record and all that differ from it in time, step and value only; return the others."""
    first = data[starts[0] : starts[0] + size]
    shape = _shape_of(first)
    if shape is None:
        _decode_one(data, int(starts[0]), int(starts[0]) + size, found)
        return starts[1:]
    free = np.zeros(size, dtype=np.bool_)
    free[shape.wall : shape.wall + 8] = True
    free[shape.step[0] : shape.step[1]] = True
    free[shape.value : shape.value + (8 if shape.double else 4)] = True
    same = np.ones(len(starts), dtype=np.bool_)
    for k in np.flatnonzero(~free).tolist():
        same &= array[starts + k] == first[k]
    for k in range(*shape.step):  # numbers of as many bytes
        more = array[starts + k] >= 0x80
        same &= more if k < shape.step[1] - 1 else ~more
    here = starts[same]
    steps = np.zeros(len(here), dtype=np.int64)
    for k in range(*shape.step):
        steps |= (array[here + k] & np.uint8(0x7F)).astype(np.int64) << (7 * (k - shape.step[0]))
    width, kind = (8, "<f8") if shape.double else (4, "<f4")
    values = array[here[:, None] + np.arange(shape.value, shape.value + width)].copy().view(kind)[:, 0]
    walls = array[here[:, None] + np.arange(shape.wall, shape.wall + 8)].copy().view("<f8")[:, 0]
    found.add(shape.tag, here, steps, values)
    found.first_time = min(found.first_time, float(walls.min()))
    return starts[~same]


def _shape_of(record: bytes) -> _Shape | None:
    """Return the shape of a record with one scalar; None for any other."""
    try:
        event = {p.number: p for p in wire.pieces(record)}
        if not {_EVENT_WALL, _EVENT_SUMMARY} <= set(event) <= {_EVENT_WALL, _EVENT_STEP, _EVENT_SUMMARY}:
            return None
        values = list(wire.pieces(record, event[_EVENT_SUMMARY].start, event[_EVENT_SUMMARY].end))
        if len(values) != 1:
            return None
        value = {p.number: p for p in wire.pieces(record, values[0].start, values[0].end)}
        if _VALUE_TAG not in value or _plugin(record, value.get(_VALUE_METADATA)) not in ("", "scalars"):
            return None
        place = _scalar_place(record, value)
    except wire.Damaged:
        return None
    if place is None or event[_EVENT_WALL].kind != wire.FIXED64:
        return None
    step = event.get(_EVENT_STEP)
    span = (step.start, step.end) if step else (0, 0)
    if span[1] - span[0] > 8:  # a negative step
        return None
    return _Shape(wire.text(record, value[_VALUE_TAG]), event[_EVENT_WALL].start, span, *place)


def _scalar_place(record: bytes, value: dict[int, wire.Piece]) -> tuple[int, bool] | None:
    """Return where the number of a scalar stands, and whether it is a double; None for what is no scalar."""
    if (simple := value.get(_VALUE_SIMPLE)) is not None:
        return (simple.start, False) if simple.kind == wire.FIXED32 else None
    if (tensor := value.get(_VALUE_TENSOR)) is None:
        return None
    parts = {p.number: p for p in wire.pieces(record, tensor.start, tensor.end)}
    if 1 not in parts:
        return None
    kind = int(wire.number(record, parts[1]))
    if kind not in (_FLOAT, _DOUBLE):
        return None
    size = 4 if kind == _FLOAT else 8
    for field_number in (4, 5 if kind == _FLOAT else 6):  # raw bytes, or the packed list of its type
        piece = parts.get(field_number)
        if piece is not None and piece.end - piece.start == size:
            return piece.start, kind == _DOUBLE
    return None


def _plugin(record: bytes, metadata: wire.Piece | None) -> str:
    if metadata is None:
        return ""
    for piece in wire.pieces(record, metadata.start, metadata.end):
        if piece.number == 1:
            for inner in wire.pieces(record, piece.start, piece.end):
                if inner.number == 1:
                    return wire.text(record, inner)
    return ""


def _decode_one(data: bytes, start: int, end: int, found: _Found) -> None:
    """Decode a record of any shape: several values, settings, the start of a session; what is none is passed over."""
    try:
        event = {p.number: p for p in wire.pieces(data, start, end)}
        if _EVENT_WALL in event:
            found.first_time = min(found.first_time, wire.number(data, event[_EVENT_WALL]))
        step = wire.number(data, event[_EVENT_STEP]) if _EVENT_STEP in event else 0
        if (session := event.get(_EVENT_SESSION)) is not None:
            status = [wire.number(data, p) for p in wire.pieces(data, session.start, session.end) if p.number == 1]
            if status == [_START]:
                found.resumes_at = step
        if (summary := event.get(_EVENT_SUMMARY)) is None:
            return
        for piece in wire.pieces(data, summary.start, summary.end):
            value = {p.number: p for p in wire.pieces(data, piece.start, piece.end)}
            if _VALUE_TAG not in value:
                continue
            tag = wire.text(data, value[_VALUE_TAG])
            if tag.startswith(_HPARAMS):
                found.config.update(_settings(data, value.get(_VALUE_METADATA)))
            elif (place := _scalar_place(data, value)) is not None:
                kind = "<d" if place[1] else "<f"
                found.add(tag, start, step, struct.unpack_from(kind, data, place[0])[0])
    except wire.Damaged:
        found.damaged += 1


def _settings(data: bytes, metadata: wire.Piece | None) -> Iterator[tuple[str, Cell]]:
    """Yield the settings in what the plug-in of hyperparameters wrote: metadata 1 > 2 > 3 > map 1 of values."""
    if metadata is None:
        return
    spans = [(metadata.start, metadata.end)]
    for number in (1, 2, 3, 1):
        spans = [
            (p.start, p.end)
            for span in spans
            for p in wire.pieces(data, *span)
            if p.number == number and p.kind == wire.LENGTH
        ]
    for span in spans:
        entry = {p.number: p for p in wire.pieces(data, *span)}
        if 1 in entry and 2 in entry:
            for value in wire.pieces(data, entry[2].start, entry[2].end):
                yield wire.text(data, entry[1]), _setting(data, value)


def _setting(data: bytes, value: wire.Piece) -> Cell:
    if value.number == 2 and value.kind == wire.FIXED64:
        found = wire.number(data, value)
        # the format has doubles only: whole numbers come back as they went in
        return int(found) if np.isfinite(found) and found == int(found) and abs(found) < 2**53 else found
    if value.number == 3:
        return wire.text(data, value)
    return bool(wire.number(data, value)) if value.number == 4 else None
