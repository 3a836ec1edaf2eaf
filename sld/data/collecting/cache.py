"""What was read before, beside the output, so that a second collection reads only what changed.

One file: a line of JSON that says which unit stands where, then the numbers. A unit is taken from it only if its files
have the size and time that they had (a run on a server: what the server says of it), its reader is the same, and the
checksum of its numbers is right; else it is read anew. A file that is no cache is none.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sld.core.errors import UsageError
from sld.core.files import write_bytes_atomic
from sld.data.importers.attempt import Attempt, Series, Unit
from sld.data.importers.registry import BY_NAME

_MAGIC = b"sld collect 1\n"
_SETTLED = 2.0  # seconds since the last change: a file that is written right now may keep its size and time
_KINDS = ("<i4", "<f4", "<f8")
_PLAIN = ("id", "name", "place", "config", "summary", "state", "order", "follows", "part_of", "resumes_at", "notes")


@dataclass
class Cache:
    """What is known of units.

    Attributes:
        path: Where it is kept; None for nowhere.
        units: Key of a unit to what is known of it.
        card: Checksum of the card that was drafted last.
        hits: How many units were taken from it.
    """

    path: Path | None = None
    units: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    card: int | None = None
    hits: int = 0
    _blob: bytes = b""
    _new: dict[str, tuple[Mapping[str, Any], list[bytes]]] = field(default_factory=dict)

    @staticmethod
    def at(path: Path | None) -> Cache:
        """Return what is kept at a path: nothing where there is no cache, or a damaged one."""
        if path is None:
            return Cache()
        try:
            data = path.read_bytes()
            if not data.startswith(_MAGIC):
                return Cache(path)
            end = data.index(b"\n", len(_MAGIC))
            head = json.loads(data[len(_MAGIC) : end])
            units: dict[str, Mapping[str, Any]] = {str(k): dict(v) for k, v in head["units"].items()}
            return Cache(path, units, head.get("card"), _blob=data[end + 1 :])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return Cache(path)

    def get(self, unit: Unit) -> list[Attempt] | None:
        """Return the attempts in a unit that has not changed; None where it has to be read."""
        known = self.units.get(_key(unit))
        if known is None:
            return None
        try:
            start, size = int(known["at"]), int(known["size"])
            blob = self._blob[start : start + size]
            if known["sign"] != _signature(unit) or len(blob) != size or zlib.crc32(blob) != known["crc"]:
                return None
            attempts = [_attempt(dict(record), blob) for record in known["attempts"]]
        except (KeyError, TypeError, ValueError, IndexError):
            return None
        self.hits += 1
        self._new[_key(unit)] = ({k: v for k, v in known.items() if k not in ("at",)}, [blob])
        return attempts

    def put(self, unit: Unit, attempts: Sequence[Attempt]) -> None:
        """Keep what was read of a unit, unless its files are still being written."""
        sign = _signature(unit)
        if sign is None or any(t / 1e9 > time.time() - _SETTLED for _, _, t in sign[3:]):
            return
        parts: list[bytes] = []
        records = [_record(attempt, parts) for attempt in attempts]
        crc = 0
        for part in parts:
            crc = zlib.crc32(part, crc)
        known = {"sign": sign, "size": sum(map(len, parts)), "crc": crc, "attempts": records}
        self._new[_key(unit)] = (known, parts)

    def keep(self) -> None:
        """Write what was read so far, beside what an earlier collection knew and this one did not come to."""
        if not self._new:
            return
        for key, known in self.units.items():
            try:
                start, size = int(known["at"]), int(known["size"])
            except (KeyError, TypeError, ValueError):
                continue
            self._new.setdefault(key, (known, [self._blob[start : start + size]]))
        self.save(self.card)

    def save(self, card: int | None) -> None:
        """Write what is known now; where nothing can be written the next collection reads everything."""
        if self.path is None:
            return
        at, units, parts = 0, {}, []
        for key, (known, pieces) in self._new.items():
            units[key] = {**known, "at": at}
            at += sum(map(len, pieces))
            parts += pieces
        head = json.dumps({"card": card, "units": units})
        try:
            write_bytes_atomic(self.path, b"".join((_MAGIC, head.encode(), b"\n", *parts)))
        except UsageError:
            return


def _key(unit: Unit) -> str:
    return f"{unit.reader}:{unit.where}:{unit.root}"  # runs are named below the source that was given


def _signature(unit: Unit) -> list[Any] | None:
    """Return what changes when a unit does: its reader, its stamp, and the size and time of each file."""
    if unit.address and not unit.stamp:
        return None
    try:
        files = [(f.name, f.stat()) for f in unit.files]
    except OSError:
        return None
    return [
        unit.reader,
        BY_NAME[unit.reader].version,
        unit.stamp,
        *([name, s.st_size, s.st_mtime_ns] for name, s in files),
    ]


def _record(attempt: Attempt, parts: list[bytes]) -> dict[str, Any]:
    record = {key: getattr(attempt, key) for key in _PLAIN}
    record["notes"] = list(attempt.notes)
    at = sum(map(len, parts))
    series: dict[str, list[Any]] = {}
    for name, curve in attempt.series.items():
        places = []
        for numbers in (_short(curve.steps), curve.values):
            kind = next(k for k in _KINDS if np.dtype(k) == numbers.dtype)
            data = np.ascontiguousarray(numbers).tobytes()
            places.append([at, len(data), kind])
            parts.append(data)
            at += len(data)
        series[name] = [len(curve), *places]
    return {**record, "series": series}


def _short(steps: NDArray[Any]) -> NDArray[Any]:
    """Return evenly spaced whole steps as their first and their distance; others as they are."""
    if len(steps) > 2 and steps.dtype == np.int32:
        gap = int(steps[1]) - int(steps[0])
        if (np.diff(steps) == gap).all():
            return np.array([steps[0], gap], dtype=np.int32)
    return steps


def _attempt(record: dict[str, Any], blob: bytes) -> Attempt:
    series = {}
    for name, (n, steps, values) in record.pop("series").items():
        x, y = (np.frombuffer(blob[a : a + size], dtype=np.dtype(kind)) for a, size, kind in (steps, values))
        if len(x) == 2 < n:
            x = (int(x[0]) + int(x[1]) * np.arange(n)).astype(np.int32)
        if len(x) != n or len(y) != n:
            raise ValueError("lengths differ")
        series[name] = Series(x, y)
    return Attempt(**{**record, "notes": tuple(record["notes"])}, series=series)
