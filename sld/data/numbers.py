"""Numbers as people write them: 125M, 1.5B, 350k, 125,000,000, 12.5 %, 3×10^8; what was read as what is said.

Conventions:

    K M B G T      thousand, million, billion (B and G), trillion, in either case; also bn, mn, and as words
    m alone        refused: 70m may be seventy million or seventy thousandths; beside 1b or 350k it is a million
    12.5 %         a fraction, 0.125: shares sum to one, and a spreadsheet holds 0.125 where it shows 12.5 %
    125,000,000    groups of three; `4,123` alone may be a decimal comma, and is refused where nothing else in the
                   column says that commas separate thousands
    1_000          refused: in a table an underscore stands in names (12_3), and Python would read any of them

One column is written one way: percent beside plain numbers, or 125M beside 0.125, is refused.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sld.core.arrays import Array, Rows
from sld.core.errors import DataError
from sld.core.numbers import exact
from sld.data.formats.source import RowName, is_missing

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>"})

_SCALES = {"k": 3, "m": 6, "mn": 6, "b": 9, "bn": 9, "g": 9, "t": 12, "tn": 12}
_WORDS = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SPACES = "\u0020\u00a0\u2009\u202f"
_NUMBER = re.compile(
    rf"""(?P<sign>[+-]?)
    (?P<digits>\d{{1,3}}(?:(?P<by>[,'\u2019{_SPACES}])\d{{3}}(?:(?P=by)\d{{3}})*)(?:\.\d*)?|\d+\.?\d*|\.\d+)
    \s*(?P<suffix>%|[a-z]+)?""",
    re.VERBOSE | re.IGNORECASE,
)
_POWER = re.compile(
    r"(?:(?P<factor>[+-]?(?:\d+\.?\d*|\.\d+))\s*[×x*·⋅]\s*)?(?P<base>10|2)\s*(?:\^|\*\*)\s*(?P<e>[+-]?\d{1,4})"
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


class _Reading(NamedTuple):
    """A number and how it was written: the kinds are those of the checks in `NumberColumn.finish`."""

    value: float
    kind: str  # "%", "k", "M", "m" (lower case), "B", "T", "," (surely thousands), ",?" (perhaps), "other"


def plain_number(text: str) -> float:
    """Read a number as programs write it, or NaN for an empty cell; raises ValueError."""
    # Python reads 1_000 as a number; in a table it is a slip
    return math.nan if text.strip().casefold() in MISSING else float(text.replace("_", "?"))


def number(text: str) -> float:
    """Read one number in any of the notations that are read, 70m as a million; raises ValueError.

    >>> number("24.6k"), number("1.2B"), number("3e8"), number("45%")
    (24600.0, 1200000000.0, 300000000.0, 0.45)
    """
    try:
        return plain_number(text)
    except ValueError:
        return _read(text).value


def _read(text: str) -> _Reading:
    """Read a number that `float` does not; raises ValueError."""
    text = text.strip().replace("\u2212", "-")
    if match := _POWER.fullmatch(text):
        return _Reading(_power(match["factor"] or "1", match["base"], int(match["e"])), "other")
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError
    suffix = match["suffix"] or ""
    digits = match["sign"] + match["digits"]
    kind = "other"
    if by := match["by"]:
        if by == "," and match["digits"].startswith("0"):
            raise ValueError  # 0,125
        if by == ",":
            sure = digits.count(",") > 1 or "." in digits or digits.endswith(",000")
            kind = "," if sure else ",?"
        digits = digits.replace(by, "")
    if suffix == "%":
        return _Reading(float(f"{digits}e-2"), "%")
    if suffix:
        exponent = _WORDS.get(suffix.casefold(), _SCALES.get(suffix.casefold()))
        if exponent is None:
            raise ValueError
        lower_m = suffix == "m"
        return _Reading(float(f"{digits}e{exponent}"), "m" if lower_m else {3: "k", 6: "M", 9: "B", 12: "T"}[exponent])
    return _Reading(float(digits), kind)


def _power(factor: str, base: str, exponent: int) -> float:
    if base == "10":
        return float(f"{factor}e{exponent}")
    try:
        return math.ldexp(float(factor), exponent)
    except OverflowError:
        return math.inf


@dataclass
class _Seen:
    """One way of writing in a column: how often, and the first of its kind."""

    text: str
    value: float
    place: str
    count: int = 1


def _as_numbers(cells: Sequence[Any] | NDArray[Any]) -> Sequence[Any] | NDArray[Any]:
    """Return cells with 1 and 0 for true and false, however these are written."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind == "b":
        return cells.astype(np.float64)
    if isinstance(cells, np.ndarray) and cells.dtype.kind != "O":
        return cells
    known = {"true": 1.0, "false": 0.0}
    return [
        float(c) if isinstance(c, bool | np.bool_) else known.get(c.strip().lower(), c) if isinstance(c, str) else c
        for c in (cells.tolist() if isinstance(cells, np.ndarray) else cells)
    ]


class NumberColumn:
    """A column of numbers in the making: cells go in by batches, and a look at all of them comes last."""

    def __init__(self, name: str, where: str, *, answers: bool = False) -> None:
        """Keep the names for messages; with `answers`, true and false count as 1 and 0."""
        self._name, self._where, self._answers = name, where, answers
        self._parts: list[Array] = []
        self._n = 0
        self._seen: dict[str, _Seen] = {}
        self._special = array("q")  # rows that `float` does not read

    def add(self, cells: Sequence[Any] | NDArray[Any], row_name: RowName) -> None:
        """Read further cells; raises DataError with the row's name."""
        if self._answers:
            cells = _as_numbers(cells)
        values = self._quick(cells)
        if values is None:
            values = self._slow(cells.tolist() if isinstance(cells, np.ndarray) else cells, row_name)
        self._parts.append(values)
        self._n += len(values)

    def _quick(self, cells: Sequence[Any] | NDArray[Any]) -> Array | None:
        """Read cells that need no thought."""
        if isinstance(cells, np.ndarray):
            if cells.dtype.kind in "fiu":
                return np.ascontiguousarray(cells, dtype=np.float64)
            if cells.dtype.kind in "bmM":
                got = "true and false" if cells.dtype.kind == "b" else "dates or times"
                raise DataError(f"{self._where}: column {self._name!r} must be numbers, got {got}")
            return None
        kinds = set(map(type, cells))
        try:
            if kinds <= {float, int} or (kinds == {str} and "_" not in "".join(cells)):
                return np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
        except (ValueError, OverflowError):
            pass
        return None

    def _slow(self, cells: Sequence[Any], row_name: RowName) -> Array:
        values = np.empty(len(cells))
        for i, cell in enumerate(cells):
            try:
                values[i] = self._cell(cell, i, row_name)
            except (TypeError, ValueError):
                text = str(cell)
                shown = repr(text if len(text) <= 40 else text[:37] + "...")
                comma = isinstance(cell, str) and _DECIMAL_COMMA.fullmatch(text.strip())
                way_out = "; write decimals with a point" if comma else ""
                place = f"{self._where} {row_name(i)}"
                raise DataError(f"{place}: column {self._name!r} must be a number, got {shown}{way_out}") from None
        return values

    def _cell(self, cell: Any, i: int, row_name: RowName) -> float:
        if not isinstance(cell, str):
            if is_missing(cell):
                return math.nan
            if isinstance(cell, bool | np.bool_):
                raise TypeError
            try:
                return float(cell)
            except OverflowError:  # a whole number beyond 1e308
                return math.inf if cell > 0 else -math.inf
        try:
            return plain_number(cell)
        except ValueError:
            if "_" in cell:
                raise
        value, kind = _read(cell)
        self._special.append(self._n + i)
        if kind in self._seen:
            self._seen[kind].count += 1
        else:
            self._seen[kind] = _Seen(cell.strip(), value, row_name(i))
        return value

    def finish(self, row_name: RowName) -> tuple[Array, list[str]]:
        """Return the numbers, and a note on what was not written plainly.

        Raises:
            DataError: The column mixes ways of writing, or one of them may mean two things.
        """
        values = np.concatenate(self._parts) if self._parts else np.empty(0)
        if not self._seen:
            return values, []
        plain = np.isfinite(values) & (values != 0)
        plain[np.frombuffer(self._special, dtype=np.int64)] = False
        rows = np.flatnonzero(plain)
        for check in (self._percent, self._milli, self._commas, self._small):
            if wrong := check(values, rows, row_name):
                raise DataError(f"{self._where}: column {self._name!r} {wrong}")
        shown = [
            f"{seen.text} was read as {exact(seen.value)} ({seen.count} value{'' if seen.count == 1 else 's'})"
            for seen in self._seen.values()
        ]
        others = ""
        if len(rows) and set(self._seen) & set("kmMBT"):
            others = f"; {len(rows)} stand{'s' if len(rows) == 1 else ''} there without a suffix"
            others += f" ({exact(values[rows[0]])}, {row_name(int(rows[0]))})"
        return values, [f"column {self._name!r}: {', '.join(shown)}{others}"]

    def _percent(self, values: Array, rows: Rows, row_name: RowName) -> str | None:
        percent = self._seen.get("%")
        if percent is None:
            return None
        other = next((seen for kind, seen in self._seen.items() if kind != "%"), None)
        if other is None and len(rows):
            other = _Seen(exact(values[rows[0]]), 0.0, row_name(int(rows[0])))
        if other is None:
            return None
        return (
            f"mixes percent ({percent.text}, {percent.place}) with numbers that are none "
            f"({other.text}, {other.place}); write all of them one way"
        )

    def _milli(self, _values: Array, _rows: Rows, _row_name: RowName) -> str | None:
        seen = self._seen.get("m")
        if seen is None or ("M" not in self._seen and set(self._seen) & set("kBT")):
            return None
        if "M" in self._seen:
            return f"has both {self._seen['M'].text} and {seen.text} ({seen.place}); write all of them with M"
        digits = seen.text.rstrip("m").strip()
        milli = exact(seen.value / 1e9)
        return f"has {seen.text} ({seen.place}), which may be millions or thousandths; write {digits}M or {milli}"

    def _commas(self, values: Array, rows: Rows, _row_name: RowName) -> str | None:
        seen = self._seen.get(",?")
        # 512 beside 1,024 is a whole number below a thousand; 512 beside the decimal 1.024 would be far from it
        if seen is None or "," in self._seen or bool(((values[rows] >= 100) & (values[rows] % 1 == 0)).any()):
            return None
        point = seen.text.replace(",", ".")
        return f"has {seen.text} ({seen.place}), which may be {exact(seen.value)} or {point}; write one of these"

    def _small(self, values: Array, rows: Rows, row_name: RowName) -> str | None:
        """Find a plain number that cannot be in the unit of its neighbours: 0.125 beside 125M, 0.5 beside 2K."""
        least = 1e3 if set(self._seen) & set("mMBT") else 1.0 if "k" in self._seen else 0.0
        small = rows[np.abs(values[rows]) < least]
        if not len(small):
            return None
        seen = next(seen for kind, seen in self._seen.items() if kind in "kmMBT")
        where = row_name(int(small[0]))
        return (
            f"has {seen.text} ({seen.place}) beside {exact(values[small[0]])} ({where}); write all of them in one unit"
        )


def label_of(value: Any) -> str:
    """Return the name of a group as text: 70.0 and 70 are one; empty for a missing one."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, np.ndarray):  # a label of several parts, as Parquet's lists come
        value = tuple(value.tolist())
    if is_missing(value):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    # whole numbers turn into floats when a frame has gaps
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
