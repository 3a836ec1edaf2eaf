"""Seconds and rates of work on data: tables, databases, sorting, writing out, compression."""

from __future__ import annotations

import bz2
import contextlib
import itertools
import json
import lzma
import pickle
import sqlite3
import sysconfig
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import other, scale, target
from systems_tables import SECONDS, Array, Registry, Rows, doubling, drawn, seconds

TABLES = Registry()


@TABLES.table(
    lambda r: r["rows"] >= 400_000,
    ["polars"],
    title="Group-by of a data frame: rows per second",
    row="one query, timed once",
    variables=[
        scale("rows", "rows of the table", "rows", up=True),
        scale("groups", "different keys", "keys"),
        scale("columns", "columns that are averaged", "columns"),
    ],
    targets=[target("rate", "rows per second", "rows/s", "higher")],
    max_constants=9,
    extrapolation="up in rows: 4e5 to 3e6",
    notes=["sizes drawn at random, even in log", "one thread"],
)
def group_by_rate() -> Rows:
    import polars as pl

    rng = np.random.default_rng(11)
    for _ in range(80):
        rows, groups, columns = drawn(rng, 1e3, 3e6), drawn(rng, 2, 1e5), drawn(rng, 1, 8)
        data = {f"x{i}": rng.normal(size=rows) for i in range(columns)}
        frame = pl.DataFrame({"key": rng.integers(groups, size=rows), **data})
        taken = seconds(partial(frame.group_by("key").agg, pl.all().mean()))
        yield {"rows": rows, "groups": groups, "columns": columns, "rate": rows / taken}


@TABLES.table(
    lambda r: r["left"] + r["right"] > 250_000,
    title="Hash join in plain Python: seconds",
    row="one join, timed once",
    variables=[
        scale("left", "rows of the table that is hashed", "rows", up=True),
        scale("right", "rows of the table that is looked up", "rows", up=True),
        other("matching", "share of the looked-up rows that have a partner", "fraction"),
    ],
    targets=[SECONDS],
    max_constants=8,
    extrapolation="up: more than 250000 rows in both tables together",
    notes=["sizes drawn at random, even in log"],
)
def hash_join() -> Rows:
    rng = np.random.default_rng(12)
    for _ in range(60):
        n_left, n_right = drawn(rng, 1e3, 6e5), drawn(rng, 1e3, 6e5)
        matching = float(rng.choice([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]))
        left = list(zip(rng.permutation(n_left).tolist(), range(n_left), strict=True))
        keys = rng.integers(n_left, size=n_right) + n_left * (rng.random(n_right) >= matching)
        right = list(zip(keys.tolist(), range(n_right), strict=True))

        def join(left: list[tuple[int, int]] = left, right: list[tuple[int, int]] = right) -> list[Any]:
            index = dict(left)
            return [(key, value, index[key]) for key, value in right if key in index]

        yield {"left": n_left, "right": n_right, "matching": matching, "seconds": seconds(join)}


@TABLES.table(
    lambda r: r["rows"] >= 30000,
    title="SQLite in memory: rows inserted per second",
    row="one table filled, timed once",
    variables=[
        scale("rows", "rows inserted", "rows", up=True),
        scale("batch", "rows of a transaction", "rows"),
        other("indices", "indices kept", "indices"),
    ],
    targets=[target("rate", "rows per second", "rows/s", "higher")],
    max_constants=9,
    extrapolation="up in rows: 30000",
)
def sqlite_inserts() -> Rows:
    rng = np.random.default_rng(13)
    for rows, batch, indices in itertools.product((300, 1000, 3000, 10000, 30000), (1, 10, 100, 1000), range(4)):
        values = [tuple(row) for row in rng.integers(10**6, size=(rows, 4)).tolist()]
        with contextlib.closing(sqlite3.connect(":memory:")) as base:
            base.execute("create table t (a integer, b integer, c integer, d integer)")
            for column in "abc"[:indices]:
                base.execute(f"create index i{column} on t ({column})")

            def fill(base: sqlite3.Connection = base, values: list[Any] = values, batch: int = batch) -> None:
                for begin in range(0, len(values), batch):
                    with base:
                        base.executemany("insert into t values (?, ?, ?, ?)", values[begin : begin + batch])

            yield {"rows": rows, "batch": batch, "indices": indices, "rate": rows / seconds(fill)}


@TABLES.table(
    lambda r: r["n"] >= 500_000,
    title="Sorting: seconds over the length",
    row="one sort of random numbers; three of each length",
    variables=[scale("n", "numbers", "numbers", up=True, monotone="increasing")],
    targets=[SECONDS],
    group="method",
    group_meaning="what sorts",
    max_constants=4,
    extrapolation="up in length: 5e5 to 2e6",
)
def sort_methods() -> Rows:
    rng = np.random.default_rng(14)
    methods: dict[str, Callable[[Array], Callable[[], object]]] = {
        "list": lambda x: partial(sorted, x.tolist()),
        "numpy float64": lambda x: partial(np.sort, x),
        "numpy float64 stable": lambda x: partial(np.sort, x, kind="stable"),
        "numpy int16 stable": lambda x: partial(np.sort, (x * 3e4).astype(np.int16), kind="stable"),
        "numpy text": lambda x: partial(np.sort, x.astype("S12")),
    }
    lengths = [500, 1000, 2000, 5000, 10000, 20000, 50000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000]
    for (name, prepare), n in itertools.product(methods.items(), lengths):
        for _ in range(3 if name != "numpy text" else 1):
            yield {"method": name, "n": n, "seconds": seconds(prepare(rng.random(n)))}


@TABLES.table(
    lambda r: r["n"] >= 400_000,
    title="Filling a dictionary: keys per second",
    row="one dictionary filled, median of three",
    variables=[scale("n", "keys", "keys", up=True)],
    targets=[target("rate", "keys per second", "keys/s", "higher")],
    group="key",
    group_meaning="kind of the keys",
    max_constants=6,
    extrapolation="up in keys: 4e5 to 1.6e6",
    notes=["falls in steps where the table no longer fits a cache"],
)
def dictionary_fill() -> Rows:
    rng = np.random.default_rng(15)
    kinds: dict[str, Callable[[list[int]], list[Any]]] = {
        "int": lambda numbers: numbers,
        "text": lambda numbers: [f"{number:x}" for number in numbers],
        "pair": lambda numbers: [(number, -number) for number in numbers],
    }
    for (name, make), n in itertools.product(kinds.items(), doubling(100, 1_638_400)):
        keys = make(rng.integers(2**60, size=n).tolist())
        yield {"key": name, "n": n, "rate": n / seconds(partial(dict.fromkeys, keys), 3)}


@TABLES.table(
    lambda r: r["records"] >= 16000,
    title="Writing objects out: megabytes per second",
    row="one object, timed once",
    variables=[
        scale("records", "records in a list", "records", up=True),
        scale("fields", "fields of a record", "fields"),
    ],
    targets=[target("rate", "bytes written per second", "MB/s", "higher")],
    group="format",
    group_meaning="pickle or JSON",
    max_constants=6,
    extrapolation="up in records: 16000 and 64000",
)
def serialising_rate() -> Rows:
    rng = np.random.default_rng(16)
    formats: dict[str, Callable[[Any], bytes | str]] = {"pickle": pickle.dumps, "json": json.dumps}
    for records, fields in itertools.product((4, 16, 60, 250, 1000, 4000, 16000, 64000), (2, 6, 18)):
        thing = [{f"field_{i}": value for i, value in enumerate(row)} for row in rng.random((records, fields)).tolist()]
        for name, dump in formats.items():
            size = len(dump(thing))
            rate = size / seconds(partial(dump, thing)) / 1e6
            yield {"format": name, "records": records, "fields": fields, "rate": rate}


# Compression


def _contents(size: int) -> dict[str, bytes]:
    """Return `size` bytes each of program text, of numbers as text and of slowly changing binary numbers."""
    rng = np.random.default_rng(17)
    text = b""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text += path.read_bytes()
        if len(text) >= size:
            break
    walk = rng.normal(size=size // 4 + 1).cumsum()
    return {
        "program text": text[:size],
        "numbers as text": "\n".join(f"{value:.3f}" for value in walk).encode()[:size],
        "binary numbers": walk.astype(np.float32).tobytes()[:size],
    }


@TABLES.table(
    lambda r: r["size"] >= 2**19,
    timed=False,
    title="Deflate: compression ratio over size and level",
    row="one content compressed",
    variables=[
        scale("size", "bytes of the content", "bytes", up=True),
        scale("level", "level of compression", "1"),
    ],
    targets=[target("ratio", "bytes before over bytes after", "1", "higher")],
    group="content",
    group_meaning="kind of the content",
    max_constants=6,
    extrapolation="up in size: 512 KiB to 2 MiB",
    notes=["exact for one content; a longer content begins with the shorter ones"],
)
def deflate_ratio() -> Rows:
    whole = _contents(2**21)
    for (name, data), size, level in itertools.product(whole.items(), doubling(2**9, 2**21), (1, 3, 6, 9)):
        packed = len(zlib.compress(data[:size], level))
        yield {"content": name, "size": size, "level": level, "ratio": size / packed}


@TABLES.table(
    lambda r: r["size"] >= 2**19,
    title="Three ways to compress program text: seconds",
    row="one content compressed, timed once",
    variables=[
        scale("size", "bytes of the content", "bytes", up=True, monotone="increasing"),
        scale("level", "level of compression", "1"),
    ],
    targets=[SECONDS],
    group="method",
    group_meaning="compression method",
    max_constants=6,
    extrapolation="up in size: 512 KiB and 1 MiB",
)
def compression_seconds() -> Rows:
    data = _contents(2**20)["program text"]
    methods: dict[str, Callable[[bytes, int], bytes]] = {
        "zlib": zlib.compress,
        "bz2": bz2.compress,
        "lzma": lambda content, level: lzma.compress(content, preset=level),
    }
    for (name, pack), size, level in itertools.product(methods.items(), doubling(2**12, 2**20), (1, 5, 9)):
        part = data[:size]
        taken = seconds(partial(pack, part, level))
        yield {"method": name, "size": size, "level": level, "seconds": taken}
