"""Event files of TensorBoard, written by their layout and many records at once: for long runs, and for damage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sld.data.importers.wire import crc32c

Curve = tuple[Sequence[float] | NDArray[Any], Sequence[float] | NDArray[Any]]


def event_file(curves: Mapping[str, Curve], time: float = 1.7e9) -> bytes:
    """Return the bytes of a file with these curves: tag to (steps, values), one tag after the other."""
    parts = [_records(np.array([_version(time)], dtype=np.uint8))]
    for tag, (steps, values) in curves.items():
        x = np.asarray(steps, dtype=np.int64)
        y = np.asarray(values, dtype="<f4")
        # numbers of one length in bytes make records of one length
        sizes = np.maximum(1, (np.log2(np.maximum(x, 1)) // 7 + 1).astype(int))
        for size in np.unique(sizes):
            parts.append(_records(_scalars(tag, x[sizes == size], y[sizes == size], int(size), time)))
    return b"".join(parts)


def _version(time: float) -> list[int]:
    return [0x09, *np.float64(time).tobytes(), 0x1A, 13, *b"brain.Event:2"]


def _scalars(tag: str, steps: NDArray[np.int64], values: NDArray[Any], size: int, time: float) -> NDArray[np.uint8]:
    """Return (n, length) the events: time 1, step 2, summary 5 > value 1 > tag 1 and simple_value 2."""
    name = tag.encode()
    value = bytes([0x0A, len(name)]) + name + b"\x15" + bytes(4)
    summary = bytes([0x0A, len(value)]) + value
    event = b"\x09" + np.float64(time).tobytes() + b"\x10" + bytes(size) + bytes([0x2A, len(summary)]) + summary
    rows = np.tile(np.frombuffer(event, dtype=np.uint8), (len(steps), 1))
    for k in range(size):
        rows[:, 10 + k] = ((steps >> (7 * k)) & 0x7F) | (0x80 if k < size - 1 else 0)
    rows[:, -4:] = values.view(np.uint8).reshape(-1, 4)
    return rows


def _records(events: NDArray[np.uint8]) -> bytes:
    """Return events as TFRecords: length, its checksum, content, its checksum."""
    n, size = events.shape
    records = np.zeros((n, size + 16), dtype=np.uint8)
    records[:, :8] = np.frombuffer(np.uint64(size).tobytes(), dtype=np.uint8)
    records[:, 12:-4] = events
    flat = records.reshape(-1)
    starts = np.arange(n, dtype=np.int64) * (size + 16)
    for at, begin, length in ((8, 0, 8), (size + 12, 12, size)):
        crc = crc32c(flat, starts + begin, length)
        masked = (((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)).astype("<u4")
        records[:, at : at + 4] = masked.view(np.uint8).reshape(-1, 4)
    return records.tobytes()
