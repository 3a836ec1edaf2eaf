"""TOML with types: a value of a wrong type is refused with its key, what was wanted and what came; and written back."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from sld.core.errors import DataError, suggest
from sld.core.numbers import exact

_MAX_NESTING = 6  # of tables and lists whose keys are free


def kind_of(value: object) -> str:
    """Return what a TOML value is, in words, with the value when it is short."""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list"}
    word = words.get(type(value), "a table" if isinstance(value, Mapping) else type(value).__name__)
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to print thousands of digits
        return "a whole number of very many digits"
    shown = repr(value) if isinstance(value, bool | int | float | str) else ""
    return f"{shown[:40]} ({word})" if shown else word


class Keys:
    """Typed access to one table of a card; every failure is a DataError that names the key."""

    def __init__(self, data: object, where: str, known: Sequence[str]) -> None:
        """Refuse what is not a table, and keys that are not in `known`."""
        self.where = where
        if not isinstance(data, Mapping):
            raise DataError(f"{where}: wanted a table of keys, got {kind_of(data)}")
        for key in data:
            if key not in known:
                raise DataError(f"{where}: {suggest(str(key)[:80], known, kind='key')}")
        self.data: Mapping[str, Any] = data

    def wrong(self, key: str, wanted: str) -> DataError:
        """Return the error that says what `key` must be and what it is."""
        got = kind_of(self.data[key]) if key in self.data else "nothing"
        return DataError(f"{self.where}: key {key!r} must be {wanted}, got {got}")

    def text(self, key: str) -> str:
        """Return a text; empty when absent."""
        value = self.data.get(key, "")
        if not _is_text(value):
            raise self.wrong(key, "text")
        return str(value)

    def name(self, key: str) -> str:
        """Return a text that must be there, on one line, without spaces around it."""
        value = self.text(key)
        if not value.strip() or value != value.strip() or not value.isprintable():
            raise self.wrong(key, "a name without spaces around it")
        return value

    def task_name(self, key: str) -> str:
        """Return a name that can also be a folder's."""
        value = self.name(key)
        if len(value) > 100 or value.startswith(".") or any(c in '/\\:*?"<>|' for c in value):
            raise self.wrong(key, "a name that can also be a folder's")
        return value

    def file_name(self, key: str) -> str | None:
        """Return a path that stays inside the task folder."""
        if key not in self.data:
            return None
        value = self.name(key)
        paths = (PurePosixPath(value), PureWindowsPath(value))
        if any(p.is_absolute() or p.drive or ".." in p.parts for p in paths) or not paths[0].name:
            raise self.wrong(key, "a file inside the task folder")
        return value

    def choice(self, key: str, options: Sequence[Any]) -> Any:
        """Return one of a few texts, or None when absent."""
        value = self.data.get(key)
        if key in self.data and not (isinstance(value, str) and value in options):
            close = suggest(value, options, kind=key) if isinstance(value, str) else ""
            hint = close[close.index(";") :] if "did you mean" in close else ""
            raise DataError(str(self.wrong(key, " or ".join(repr(o) for o in options))) + hint)
        return value

    def flag(self, key: str) -> bool:
        """Return true or false; false when absent."""
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def whole(self, key: str, default: int) -> int:
        """Return a whole number of at least 1."""
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
            raise self.wrong(key, "a whole number of at least 1")
        return value

    def number(self, key: str) -> float | None:
        """Return a finite number, or None when absent."""
        if key not in self.data:
            return None
        value = _finite(self.data[key])
        if value is None:
            raise self.wrong(key, "a finite number (leave the key out for none)")
        return value

    def ordered_bounds(self, lower: float | None, upper: float | None) -> None:
        """Refuse a lower bound that is not below the upper one."""
        if lower is not None and upper is not None and lower >= upper:
            raise DataError(f"{self.where}: lower = {exact(lower)} must be below upper = {exact(upper)}")

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; empty when absent."""
        value = self.data.get(key, ())
        if not isinstance(value, list | tuple) or not all(_is_text(v) for v in value):
            raise self.wrong(key, "a list of texts")
        return tuple(value)

    def table(self, key: str) -> Mapping[str, Any]:
        """Return a table; empty when absent."""
        value = self.data.get(key, {})
        if not isinstance(value, Mapping):
            raise self.wrong(key, "a table")
        return value

    def tables(self, key: str) -> list[tuple[object, str]]:
        """Return the items of a list of tables, each with its place in messages."""
        value = self.data.get(key, ())
        if not isinstance(value, list | tuple):
            raise self.wrong(key, f"a list of tables ([[{key}]])")
        return [(v, f"{self.where}: {key} {i}") for i, v in enumerate(value, start=1)]

    def free_table(self, key: str) -> dict[str, Any]:
        """Return a table whose keys are free but whose values can be written back."""
        try:
            return {str(k): v for k, v in _plain(dict(self.table(key))).items()}
        except ValueError as error:
            raise DataError(f"{self.where}: key {key!r} holds {error}") from None

    def numbers_tree(self, key: str) -> dict[str, Any]:
        """Return a table whose leaves are numbers."""

        def tree(value: object, depth: int) -> Any:
            if isinstance(value, Mapping) and depth < _MAX_NESTING and all(_is_text(k) for k in value):
                return {k: tree(v, depth + 1) for k, v in value.items()}
            leaf = _finite(value)
            if leaf is None or not depth:
                raise self.wrong(key, "a table of numbers by constant, or of such tables by label")
            return leaf

        return dict(tree(self.data[key], 0))


def _is_text(value: object) -> bool:
    # lone surrogates cannot be written to a file
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _plain(value: Any, depth: int = 0) -> Any:
    """Return `value` when TOML can hold it; raise ValueError saying what it cannot."""
    if depth > _MAX_NESTING:
        raise ValueError("tables nested too deeply")
    if isinstance(value, Mapping):
        if not all(_is_text(k) for k in value):
            raise ValueError("a key that is not text")
        return {k: _plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, depth + 1) for v in value]
    if isinstance(value, int) and value.bit_length() > 63:
        raise ValueError("a whole number beyond 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value}; wanted a finite number")
    if _is_text(value) or isinstance(value, bool | int | float | datetime.date | datetime.time):
        return value
    raise ValueError(f"{kind_of(value)}; wanted texts, numbers, dates, lists and tables")


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}


def _toml_text(text: str) -> str:
    quoted = "".join(_ESCAPES.get(c) or (f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c) for c in text)
    return f'"{quoted}"'


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_text(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml_key(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        items = [_toml_value(v) for v in value]
        flat = f"[{', '.join(items)}]"
        return flat if len(flat) <= 100 else "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return repr(value)


def to_toml(table: Mapping[str, Any]) -> str:
    """Return the text of a TOML file."""
    lines: list[str] = []
    _write_table(table, "", lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _write_table(table: Mapping[str, Any], prefix: str, lines: list[str]) -> None:
    """Append the lines of a TOML table: values first, then its tables and lists of tables."""

    def is_tables(value: Any) -> bool:
        return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) for v in value) and not prefix

    for key, value in table.items():
        if not isinstance(value, Mapping) and not is_tables(value):
            lines.append(f"{_toml_key(key)} = {_toml_value(value)}")
    for key, value in table.items():
        path = f"{prefix}{_toml_key(key)}"
        if isinstance(value, Mapping):
            lines.extend(("", f"[{path}]"))
            _write_table(value, f"{path}.", lines)
        elif is_tables(value):
            for item in value:
                lines.extend(("", f"[[{path}]]"))
                _write_table(item, f"{path}.", lines)
