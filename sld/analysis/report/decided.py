"""What was decided with a law, as the page tells it: heading, sentences and table, from the result of any verb."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sld.core.errors import UsageError

_MOST_ROWS = 60  # of a table on the page
_MOST_COLUMNS = 12
_NO_CONTENT = ("law", "run_dir", "out", "files")  # keys of a command's document that say where things are


@dataclass(frozen=True)
class Decided:
    """One decision.

    Attributes:
        title: Its heading.
        sentences: What was decided.
        head: Names of the table's columns; empty without a table.
        rows: The cells.
    """

    title: str
    sentences: tuple[str, ...]
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def decided(given: object) -> Decided:
    """Return a decision from a result with `summary()` (and `to_frame()`), or from the JSON document of a command.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(given, Decided):
        return given
    if isinstance(given, Mapping):
        return _from_document(given)
    summary = getattr(given, "summary", None)
    if not callable(summary):
        raise UsageError(
            f"a decision has a method summary(), or is the JSON document of a command; got {type(given).__name__}"
        )
    said = summary()
    to_frame = getattr(given, "to_frame", None)
    frame = to_frame() if callable(to_frame) else None
    if not isinstance(said, str):  # a DataFrame: the table itself
        said, frame = "", said
    head, rows = _of_frame(frame)
    title = " ".join(_words(type(given).__name__))
    return Decided(title, tuple(line.strip() for line in said.splitlines() if line.strip()), head, rows)


def _of_frame(frame: Any) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    if frame is None or not len(frame):
        return (), ()
    head = tuple(str(name) for name in frame.columns[:_MOST_COLUMNS])
    some = frame.iloc[:_MOST_ROWS, :_MOST_COLUMNS]
    return head, tuple(tuple(_cell(value) for value in row) for row in some.itertuples(index=False))


def _from_document(document: Mapping[str, Any]) -> Decided:
    title = str(document.get("title") or document.get("command") or "Decision")
    sentences = [str(document[key]) for key in ("summary", "sentence", "verdict") if isinstance(document.get(key), str)]
    sentences += [
        str(note) for key in ("notes", "warnings") for note in _list(document.get(key)) if isinstance(note, str)
    ]
    tables = [(k, v) for k, v in document.items() if _list(v) and all(isinstance(row, Mapping) for row in _list(v))]
    if tables:
        rows = _list(max(tables, key=lambda pair: len(pair[1]))[1])
        head = tuple(dict.fromkeys(str(key) for row in rows for key in row))[:_MOST_COLUMNS]
        return Decided(
            title, tuple(sentences), head, tuple(tuple(_cell(row.get(k)) for k in head) for row in rows[:_MOST_ROWS])
        )
    told = ("title", "command", "summary", "sentence", "verdict", "notes", "warnings", *_NO_CONTENT)
    facts = list(_flat({k: v for k, v in document.items() if k not in told}))
    if not facts and not sentences:
        raise UsageError("a decision's document says nothing: wanted what a command printed with --json")
    return Decided(title, tuple(sentences), ("what", "value") if facts else (), tuple(facts[:_MOST_ROWS]))


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}, ")
        elif value is not None and value != [] and value != "":
            yield name, _cell(value)


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5g}" if math.isfinite(value) else "-"
    if isinstance(value, list | tuple):
        return " to ".join(_cell(v) for v in value) if len(value) == 2 else ", ".join(_cell(v) for v in value)
    item = getattr(value, "item", None)  # a number of numpy
    return _cell(item()) if callable(item) and not isinstance(value, int) else str(value)


def _words(name: str) -> Iterator[str]:
    """Yield the words of a class's name: OptimalAllocation is "Optimal", "allocation"."""
    begin = 0
    for k in range(1, len(name) + 1):
        if k == len(name) or name[k].isupper():
            yield name[begin:k] if begin == 0 else name[begin:k].lower()
            begin = k
