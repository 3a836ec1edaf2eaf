"""JSON and JSON lines: lists of records, objects of columns, and what pandas and W&B write."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sld.core.errors import DataError
from sld.data.formats.source import Content, Held, RowName, Source

_WANTED = "wanted a list of objects, an object of columns, or one object per line"
_DEEPEST = 20  # objects inside objects; configurations have three or four


class _Twice(ValueError):
    """An object has a key twice; JSON allows it, and the first value would be lost."""


def json_source(content: Content) -> Source:
    """Read a JSON document or JSON lines, whichever the text is.

    Read are: a list of objects; one object per line; an object of columns (lists of one length, or what pandas'
    `to_json` writes); an object with one key that holds such a list; an object with `columns` and `data` (W&B tables).
    Objects inside a record become columns `outer.inner`. NaN and Infinity are read; a key that a record lacks is empty.

    Raises:
        DataError: The text is none of these.
    """
    data = content.read()
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{content.where} is not UTF-8 text; save it as JSON in UTF-8") from None
    if not text.strip():
        raise DataError(f"{content.where} is empty; {_WANTED}")
    lines = [(k, line) for k, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if _is_lines(lines):
        return _lines(lines, content.where)
    return _document(_parsed(text, content.where, ""), content.where)


def records_source(records: Sequence[Any], where: str, row_name: RowName, notes: Sequence[str] = ()) -> Source:
    """Return records as a table; raises DataError for what is no record."""
    columns: dict[str, list[Any]] = {}
    for k, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise DataError(f"{where} {row_name(k)} is {_kind(record)}, wanted an object with a key per column")
        flat: dict[str, Any] = {}
        _flatten(record, "", flat, f"{where} {row_name(k)}")
        for name, value in flat.items():
            if name not in columns:
                columns[name] = [None] * k
            columns[name].append(value)
        for cells in columns.values():
            if len(cells) == k:
                cells.append(None)
    return Held(where, tuple(columns), tuple(columns.values()), row_name, notes=notes)


def _flatten(record: Mapping[Any, Any], prefix: str, flat: dict[str, Any], place: str, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise DataError(f"{place}: objects are nested more than {_DEEPEST} deep; save the columns that you need")
    for key, value in record.items():
        name = f"{prefix}{key}".strip()
        if isinstance(value, Mapping):
            _flatten(value, f"{name}.", flat, place, depth + 1)
        elif name in flat:
            raise DataError(f"{place} has the key {name!r} twice")
        else:
            flat[name] = value


def _is_lines(lines: Sequence[tuple[int, str]]) -> bool:
    """Whether the first line is an object by itself and others follow, or it is the only one and holds one record."""
    try:
        first = json.loads(lines[0][1])
    except (ValueError, RecursionError):
        return False
    if not isinstance(first, dict):
        return False
    return len(lines) > 1 or (bool(first) and not any(isinstance(v, list | dict) for v in first.values()))


def _lines(lines: Sequence[tuple[int, str]], where: str) -> Source:
    numbers = [number for number, _ in lines]

    def row_name(i: int) -> str:
        return f"line {numbers[i]}"

    return records_source([_parsed(text, where, f" line {number}") for number, text in lines], where, row_name)


def _parsed(text: str, where: str, place: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_doubles)
    except _Twice as error:
        raise DataError(f"{where}{place} has the key {error.args[0]!r} twice in one object") from None
    except json.JSONDecodeError as error:
        line = place or f" line {error.lineno}"
        raise DataError(f"{where}{line} is not JSON: {error.msg} (column {error.colno})") from None
    except ValueError:  # Python refuses whole numbers of more than 4300 digits
        raise DataError(f"{where}{place} has a number that is too long to be read") from None
    except RecursionError:
        raise DataError(f"{where}{place} is nested too deep to be a table; {_WANTED}") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        raise _Twice(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return found


def _document(document: Any, where: str) -> Source:
    if isinstance(document, list):
        if not document:
            raise DataError(f"{where} is an empty list; {_WANTED}")
        return records_source(document, where, _record_name)
    if not isinstance(document, dict):
        raise DataError(f"{where} is {_kind(document)}; {_WANTED}")
    if not document:
        raise DataError(f"{where} is an empty object; {_WANTED}")
    for shape in _SHAPES:
        if (source := shape(document, where)) is not None:
            return source
    raise DataError(f"{where} is an object of {_kinds(document)}; {_WANTED}")


def _split_table(document: dict[str, Any], where: str) -> Source | None:
    """Read {"columns": [...], "data": [[...], ...]}."""
    names, rows = document.get("columns"), document.get("data")
    if not isinstance(names, list) or not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        return None
    if not rows:
        raise DataError(f"{where} has columns but no rows")
    for k, row in enumerate(rows):
        if len(row) != len(names):
            raise DataError(f"{where} {_record_name(k)} has {len(row)} values; there are {len(names)} columns")
    return Held(where, [str(name).strip() for name in names], list(zip(*rows, strict=True)), _record_name)


def _columns(document: dict[str, Any], where: str) -> Source | None:
    """Read {"N": [...], "loss": [...]}: lists without objects."""
    if not all(isinstance(values, list) for values in document.values()):
        return None
    if any(isinstance(value, dict) for values in document.values() for value in values):
        return None
    lengths = {name: len(values) for name, values in document.items()}
    if len(set(lengths.values())) > 1:
        (first, n), (other, m) = next(
            (a, b) for a in lengths.items() for b in lengths.items() if a[1] != b[1]
        )  # the first two that differ
        raise DataError(f"{where}: column {other!r} has {m} values, column {first!r} has {n}")
    if not next(iter(lengths.values())):
        raise DataError(f"{where} has columns but no rows")
    return Held(where, [name.strip() for name in document], list(document.values()), _record_name)


def _pandas_columns(document: dict[str, Any], where: str) -> Source | None:
    """Read {"N": {"0": ..., "1": ...}, ...}, which is how pandas writes a table unless told otherwise."""
    values = list(document.values())
    if not all(isinstance(column, dict) for column in values):
        return None
    index = list(values[0])
    if not index or not all(key.isdigit() for key in index) or any(list(column) != index for column in values):
        return None
    return Held(where, [n.strip() for n in document], [list(column.values()) for column in values], _record_name)


def _records_under_a_key(document: dict[str, Any], where: str) -> Source | None:
    """Read {"runs": [{...}, ...], "note": ...}."""
    holding = [k for k, v in document.items() if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)]
    if len(holding) > 1:
        raise DataError(f"{where} holds records under {', '.join(map(repr, holding))}; save the one to be read alone")
    if not holding:
        return None
    others = [repr(key) for key in document if key != holding[0]]
    left = f"; {', '.join(others[:5])} {'was' if len(others) == 1 else 'were'} not" if others else ""
    notes = [f"the records under {holding[0]!r} were read{left}"] if others else []
    return records_source(document[holding[0]], where, _record_name, notes)


def _one_record(document: dict[str, Any], where: str) -> Source | None:
    """Read {"N": 1e6, "config": {"lr": 0.1}, "loss": 3.2}: one run."""
    if not any(not isinstance(value, dict | list) for value in document.values()):
        return None
    return records_source([document], where, _record_name)


_SHAPES: tuple[Callable[[dict[str, Any], str], Source | None], ...] = (
    _split_table,
    _columns,
    _pandas_columns,
    _records_under_a_key,
    _one_record,
)


def _record_name(i: int) -> str:
    return f"record {i + 1}"


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _kinds(document: dict[str, Any]) -> str:
    kinds = sorted({_kind(value).split(" ", 1)[-1] + "s" for value in document.values()})
    return " and ".join(kinds)
