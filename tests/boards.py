"""A small task, entries for it, and ways of damaging their files: for the tests of the leaderboard."""

import contextlib
import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from sld.board.entries.entry import Entry, content_hash
from sld.board.entries.scored_task import ScoredTask
from sld.board.entries.submission import Signature, refitted_entry
from sld.data.task import Task, load_task
from sld.laws.form import Form
from sld.laws.law import Law

CARD = """name = "{name}"
version = 1
title = "Powers of N"
row = "one run"
licence = "CC0-1.0"
provenance = "made by a test"
max_constants = 4
extrapolation = "up: N > 1e4"

[files]
train = "train.csv"
held_out = "held_out.csv"

[[variable]]
column = "N"
role = "scale"
extrapolate = true

[[target]]
column = "loss"
better = "lower"

[[law]]
name = "true law"
expression = "E + A*N**-a"
constants = ["E", "A", "a"]
source = "this test"
values = {{E = 1.5, A = 8.0, a = 0.3}}
"""
GROUPED = '\n[group]\ncolumn = "family"\n'


def write_task(folder: Path, name: str = "powers", *, held_out: bool = True, groups: tuple[str, ...] = ()) -> Path:
    """Write a task whose rows follow 1.5 + 8*N**-0.3 (times 1, 2, ... for each group) and a little noise."""
    path = folder / name
    path.mkdir(parents=True)
    card = CARD.format(name=name)
    if not held_out:
        card = card.replace('held_out = "held_out.csv"\n', "")
    (path / "task.toml").write_text(card + (GROUPED if groups else ""), encoding="utf-8")
    rng = np.random.default_rng(0)
    for file, sizes in (("train.csv", np.geomspace(10, 1e4, 16)), ("held_out.csv", np.geomspace(2e4, 1e6, 9))):
        lines = ["family,N,loss" if groups else "N,loss"]
        for k, group in enumerate(groups or ("",), start=1):
            for n in sizes:
                value = (1.5 + 8.0 * n**-0.3) * k + 0.002 * rng.normal()
                lines.append(f"{group},{n:.6g},{value:.6f}" if groups else f"{n:.6g},{value:.6f}")
        (path / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def law_of(task: Task, text: str, **constants: float) -> Law:
    """Return a law with the same constants in all groups; 1 where none is given."""
    train = task.train
    expression = train.parse(text)
    values = {c: constants.get(c, 1.0) for c in expression.constants}
    return Law(
        expressions={"loss": expression},
        constants={"loss": {group: values for group in train.groups}},
        variables=train.variables,
        targets=train.targets,
        group_column=train.group_column,
    )


def entry_of(rows: ScoredTask, text: str, name: str = "a law", **keywords: Any) -> Entry:
    """Return the refitted entry of a formula."""
    start = keywords.pop("start", None)
    form = Form(rows.train.parse(text), "user", start={} if start is None else start.constants["loss"])
    keywords.setdefault("provenance", {"origin": "formula"})
    return refitted_entry(rows, {"loss": form}, Signature(name), **keywords)


def rows_in(folder: Path, **keywords: Any) -> ScoredTask:
    """Write the task and read it."""
    return ScoredTask(load_task(write_task(folder, **keywords)))


def rehashed(data: dict[str, Any]) -> Entry:
    """Return the entry of a document whose content was changed, with a hash that is right."""
    content = {k: v for k, v in data.items() if k != "hash"}
    return Entry.from_json({**content, "hash": content_hash(content)}, "a file")


def edited(entry: Entry, *path: str, value: Any) -> Entry:
    """Return the entry with one value changed and a hash that is right."""
    data = copy.deepcopy(entry.to_json())
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return rehashed(data)


_JUNK: list[Any] = [
    None, True, -1, 0, 1e308, 10**30, "", "x" * 3000, "\x00", "\u202e", "<script>", "../../etc/passwd", [], [[]], {},
    {"a": {}},
    "__import__('os')", [1, "a", None], "N**" * 40, "9" * 500, "=1+1", "\ud7ff", -0.0,
]  # fmt: skip


def damaged(content: bytes, rng: random.Random, *, clever: bool = False) -> bytes:
    """Return the content of an entry's file after one to three random accidents; clever ones change one value only."""
    if clever:
        return _damage(content, rng, rng.choice((4, 5, 6, 6, 7)))
    for _ in range(rng.randint(1, 3)):
        content = _damage(content, rng, rng.randrange(8))
    return content


def _damage(content: bytes, rng: random.Random, kind: int) -> bytes:
    if kind == 0:  # bytes changed
        changed = bytearray(content or b" ")
        for _ in range(rng.randint(1, 8)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    if kind == 1:  # cut short
        return content[: rng.randrange(len(content) + 1)]
    if kind == 2:  # something in between
        at = rng.randrange(len(content) + 1)
        junk = rng.choice([b"NaN", b"Infinity", b"1e999", b"[" * 5000, b'"\\ud800"', b"\x00", b"{}", b",", b"-" * 9])
        return content[:at] + junk + content[at:]
    if kind == 3:
        return rng.choice(
            [b"", b"null", b"[]", b"{" * 2000, b'{"a":' * 3000, b"1" * 5000, b"\xff\xfe", b'"' + b"a" * 99]
        )
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return content[::-1]
    place, key = _random_place(data, rng)
    if place is None:
        return content + b"x"
    if kind == 4:
        del place[key]
    elif kind == 5 and isinstance(place, dict):
        place[str(rng.choice(_JUNK))[:50]] = rng.choice(_JUNK)
    elif kind == 7 and isinstance(place[key], int | float):
        place[key] = place[key] * rng.choice((0.5, 1.0001, -1.0, 1e6)) + rng.choice((0, 1))
    else:
        place[key] = rng.choice(_JUNK)
    if isinstance(data, dict) and rng.random() < 0.7:  # an attacker knows how to hash
        with contextlib.suppress(ValueError):  # an accident before this one left a NaN
            data["hash"] = content_hash({k: v for k, v in data.items() if k != "hash"})
    return json.dumps(data).encode()


def _random_place(data: Any, rng: random.Random) -> tuple[Any, Any]:
    places = []
    stack = [data]
    while stack:
        value = stack.pop()
        keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
        for key in keys:
            places.append((value, key))
            stack.append(value[key])
    return rng.choice(places) if places else (None, None)
