"""Protocol buffers, LevelDB logs and TFRecords by their documented layout, so that no tracker has to be installed.

Layouts: protobuf.dev/programming-guides/encoding · github.com/google/leveldb/blob/main/doc/log_format.md (W&B's files
have a header of seven bytes and a plain CRC-32) · tensorflow.org/tutorials/load_data/tfrecord (masked CRC-32C).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types
_MOST_VARINT = 10  # bytes of a number of 64 bits
_BLOCK = 32768  # bytes of a block of a LevelDB log
_CHUNK_HEAD = 7  # bytes before a chunk: checksum, length, type
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4  # types of chunks
_CRC32C = 0x82F63B78  # Castagnoli's polynomial, reversed
_MASK_DELTA = 0xA282EAD8  # added to a rotated checksum in TFRecords
_RECORD_HEAD, _RECORD_FOOT = 12, 4  # bytes around the content of a TFRecord
_FEW = 32  # rows below which a loop over bytes is not worth numpy's overhead


class Damaged(ValueError):
    """Bytes that are no message of this layout."""


class Piece(NamedTuple):
    """A field of a message: its number, wire type, and where its content stands."""

    number: int
    kind: int
    start: int
    end: int


def pieces(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Piece]:
    """Yield the fields of a message; raises Damaged."""
    end = len(data) if end is None else end
    at = start
    while at < end:
        key, at = varint(data, at, end)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            _, after = varint(data, at, end)
            yield Piece(number, kind, at, after)
        elif kind == LENGTH:
            size, at = varint(data, at, end)
            after = at + size
            if after <= end:
                yield Piece(number, kind, at, after)
        elif kind in (FIXED32, FIXED64):
            after = at + (4 if kind == FIXED32 else 8)
            if after <= end:
                yield Piece(number, kind, at, after)
        else:
            raise Damaged(f"wire type {kind}")
        if after > end or number == 0:
            raise Damaged("a field goes beyond its message")
        at = after


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the number that begins at a byte, and the byte after it; raises Damaged."""
    value = 0
    for k in range(_MOST_VARINT):
        if at + k >= end:
            break
        byte = data[at + k]
        value |= (byte & 0x7F) << (7 * k)
        if byte < 0x80:
            return value, at + k + 1
    raise Damaged("a number does not end")


def text(data: bytes, piece: Piece) -> str:
    """Return a field's text."""
    return data[piece.start : piece.end].decode("utf-8", errors="replace")


def number(data: bytes, piece: Piece) -> float:
    """Return a field's number: a signed whole number, a float or a double, by its wire type."""
    if piece.kind == VARINT:
        value = varint(data, piece.start, piece.end)[0]
        return value - 2**64 if value >= 2**63 else value
    return float(struct.unpack_from("<d" if piece.kind == FIXED64 else "<f", data, piece.start)[0])


# -- W&B's files: LevelDB logs ----------------------------------------------------------------------------------------


@dataclass
class Log:
    """The records of a LevelDB log, and what is wrong with its end."""

    records: list[bytes]
    damaged: int = 0
    cut_off: bool = False


def leveldb_records(data: bytes, head: int) -> Log:
    """Return the records of a log that begins with `head` bytes of its own; broken ones are counted, not returned."""
    log = Log([])
    at, parts = head, list[bytes]()
    while at < len(data):
        room = _BLOCK - at % _BLOCK
        if room < _CHUNK_HEAD:
            at += room
            continue
        if at + _CHUNK_HEAD > len(data):
            log.cut_off = True
            break
        checksum, size, kind = struct.unpack_from("<IHB", data, at)
        if kind == 0 and size == 0 and checksum == 0:  # padding, or a file that was made longer than it is
            at += room
            continue
        content = data[at + _CHUNK_HEAD : at + _CHUNK_HEAD + size]
        if len(content) < size:
            log.cut_off = True
            break
        if zlib.crc32(bytes([kind]) + content) != checksum or not _FULL <= kind <= _LAST:
            log.damaged += 1
            parts = []
            at += room  # lengths cannot be trusted any more: the next block begins with a chunk
            continue
        at += _CHUNK_HEAD + size
        if kind == _FULL:
            log.records.append(content)
        elif kind == _FIRST:
            parts = [content]
        elif parts:
            parts.append(content)
            if kind == _LAST:
                log.records.append(b"".join(parts))
                parts = []
    log.cut_off = log.cut_off or bool(parts)
    return log


# -- TensorBoard's files: TFRecords -----------------------------------------------------------------------------------


@dataclass
class Records:
    """Where the contents of TFRecords stand.

    Attributes:
        starts: (n,) first byte of each content.
        sizes: (n,) its length.
        cut_off: The file ends inside a record.
        damaged: A length is wrong, so that what follows cannot be found.
    """

    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    cut_off: bool
    damaged: bool


def tfrecords(data: bytes) -> Records:
    """Return the records of a file whose lengths have the right checksum."""
    unpack = struct.Struct("<Q").unpack_from
    starts, sizes = list[int](), list[int]()
    at, end, cut_off = 0, len(data), False
    while at < end:
        if at + _RECORD_HEAD > end:
            cut_off = True
            break
        (size,) = unpack(data, at)
        after = at + _RECORD_HEAD + size + _RECORD_FOOT
        starts.append(at + _RECORD_HEAD)
        sizes.append(size if size < 2**62 else 2**62)
        if after > end:
            cut_off = True
            break
        at = after
    found = np.array(starts, dtype=np.int64), np.array(sizes, dtype=np.int64)
    array = np.frombuffer(data, dtype=np.uint8)
    heads = found[0] - _RECORD_HEAD
    right = crc32c(array, heads, 8) == _stored(array, heads + 8)
    whole = len(heads) if right.all() else int(np.argmin(right))
    damaged = whole < len(heads)
    if cut_off and len(heads) and not damaged and heads[-1] + _RECORD_HEAD + sizes[-1] + _RECORD_FOOT > end:
        whole -= 1
    return Records(found[0][:whole], found[1][:whole], cut_off and not damaged, damaged)


def right_content(array: Bytes, starts: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Return (n,) whether contents of one size have the checksum that stands behind them."""
    return np.asarray(crc32c(array, starts, size) == _stored(array, starts + size))


def _stored(array: Bytes, at: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return (n,) the checksums at these bytes, their mask taken off."""
    parts = [array[at + k].astype(np.uint32) << np.uint32(8 * k) for k in range(4)]
    turned = (parts[0] | parts[1] | parts[2] | parts[3]) - np.uint32(_MASK_DELTA)
    return np.asarray((turned >> np.uint32(17)) | (turned << np.uint32(15)))


@cache
def _table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(_CRC32C), table >> np.uint32(1))
    return table.astype(np.uint32)


@cache
def _listed_table() -> list[int]:
    return [int(x) for x in _table()]


def crc32c(array: Bytes, starts: NDArray[np.int64], size: int) -> NDArray[np.uint32]:
    """Return (n,) the CRC-32C of `size` bytes from each start."""
    if len(starts) < _FEW:
        return np.array([_crc32c(array[s : s + size].tobytes()) for s in starts.tolist()], dtype=np.uint32)
    table, crc = _table(), np.full(len(starts), 0xFFFFFFFF, dtype=np.uint32)
    for k in range(size):
        crc = table[(crc ^ array[starts + k]) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


def _crc32c(data: bytes) -> int:
    table, crc = _listed_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF
