"""Rows that are left out on request: `Step==0`, `lr>1`, `status!=finished`, read by a grammar of three parts.

    COLUMN OP VALUE      OP is one of == != < <= > >=

The column is any of the table's, with spaces too; either side may be quoted. A value that is a number is compared as
one (`0` equals `0.0`, and `N<1M` works); any other is text, and knows only == and !=. An empty value (`loss==`) finds
empty cells. Nothing is evaluated.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sld.core.arrays import Rows
from sld.core.errors import DataError, UsageError, suggest
from sld.data.formats.source import Batch, Source
from sld.data.numbers import MISSING, label_of, number

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>")
_SHAPE = 'wanted COLUMN OP VALUE with one of == != < <= > >=, e.g. "Step==0"'


@dataclass(frozen=True)
class RowFilter:
    """One comparison; `value` is a float, a text, or None for an empty cell."""

    text: str
    column: str
    operator: str
    value: float | str | None

    def holds(self, cells: Sequence[Any] | NDArray[Any], place: Callable[[int], str]) -> NDArray[np.bool_]:
        """Return (n_rows,) whether each cell is to be left out.

        Raises:
            DataError: A text is asked whether it is larger or smaller than a number.
        """
        compare = _OPERATORS[self.operator]
        if isinstance(self.value, float) and isinstance(cells, np.ndarray) and cells.dtype.kind in "fiu":
            with np.errstate(invalid="ignore"):
                found: NDArray[np.bool_] = compare(cells.astype(np.float64), self.value)
            return found
        listed = cells.tolist() if isinstance(cells, np.ndarray) else cells
        return np.array([self._holds(cell, compare, place, i) for i, cell in enumerate(listed)], dtype=np.bool_)

    def _holds(self, cell: Any, compare: Callable[[Any, Any], Any], place: Callable[[int], str], i: int) -> bool:
        text = label_of(cell)
        if text.casefold() in MISSING:
            return bool(compare(True, self.value is None)) if self.operator in ("==", "!=") else False
        if self.value is None:
            return self.operator == "!="
        if isinstance(self.value, str):
            # true is written in many ways: True by Python, true by JSON
            same = text == self.value or (text in ("True", "False") and text.casefold() == self.value.casefold())
            return same == (self.operator == "==")
        try:
            return bool(compare(math.nan if isinstance(cell, bool) else number(text), self.value))
        except ValueError:
            if self.operator in ("==", "!="):
                return self.operator == "!="
            wanted = f"{self.operator} needs numbers, got {text[:40]!r}"
            raise DataError(f"{place(i)}: column {self.column!r}: drop {self.text!r}: {wanted}") from None


def parse_filter(text: str, names: Sequence[str], where: str) -> RowFilter:
    """Read a filter over the columns of a table; raises UsageError or, for an unknown column, DataError.

    >>> parse_filter("Step==0", ["Step", "loss"], "runs.csv")
    RowFilter(text='Step==0', column='Step', operator='==', value=0.0)
    """
    column, rest = _column(text, names, where)
    match = _OPERATOR.match(rest)
    assert match is not None
    value, quoted = _unquoted(rest[match.end() :].strip())
    if not quoted and (_OPERATOR.search(value) or value.startswith("=") or re.search(r"\s(?:and|or)\s|&&|\|\|", value)):
        raise UsageError(f"drop {text!r}: one comparison at a time; give drop once for each, a row that meets any goes")
    meant = value if quoted else _value(value)
    if not isinstance(meant, float) and match[0] not in ("==", "!="):
        raise UsageError(f"drop {text!r}: {match[0]} needs a number, got {value!r}")
    return RowFilter(text.strip(), column, match[0], meant)


def _value(text: str) -> float | str | None:
    if text.casefold() in MISSING:
        return None
    try:
        return number(text)
    except ValueError:
        return text


def _column(text: str, names: Sequence[str], where: str) -> tuple[str, str]:
    """Split a filter after its column: the longest name that an operator follows."""
    stripped = text.strip()
    for name in sorted((n for n in names if n), key=len, reverse=True):
        for written in (name, f"'{name}'", f'"{name}"'):
            rest = stripped[len(written) :].lstrip()
            if stripped.startswith(written) and _OPERATOR.match(rest):
                return name, rest
    match = _OPERATOR.search(stripped)
    if match is None or not match.start():
        hint = f"; did you mean {stripped.replace('=', '==', 1)!r}?" if re.fullmatch(r"[^=]+=[^=]+", stripped) else ""
        raise UsageError(f"cannot read drop {text!r}: {_SHAPE}{hint}")
    column, _ = _unquoted(stripped[: match.start()].strip())
    raise DataError(f"{where}: drop {text!r}: {suggest(column, [n for n in names if n], kind='column')}")


def _unquoted(text: str) -> tuple[str, bool]:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1], True
    return text, False


class Filtered(Source):
    """A table without the rows that meet any of some filters; how many each one took is noted."""

    def __init__(self, source: Source, filters: Sequence[str]) -> None:
        """Read the filters; raises UsageError, DataError."""
        self.where, self.stem, self.names = source.where, source.stem, source.names
        self.has_header_line = source.has_header_line
        self._source = source
        self._filters = [parse_filter(text, source.names, source.where) for text in filters]
        self._counts = [0] * len(filters)

    def batches(self, wanted: Sequence[int]) -> Iterator[Batch]:
        """Yield the rows that stay."""
        counts, n_left, n_rows = [0] * len(self._filters), 0, 0
        positions = [self.names.index(f.column) for f in self._filters]
        for batch in self._source.batches([*wanted, *positions]):
            n_rows += batch.n_rows
            goes = np.zeros(batch.n_rows, dtype=np.bool_)
            for k, (row_filter, cells) in enumerate(zip(self._filters, batch.columns[len(wanted) :], strict=True)):
                found = row_filter.holds(cells, self._placer(batch)) & ~goes
                counts[k] += int(found.sum())
                goes |= found
            stay = np.flatnonzero(~goes)
            n_left += len(stay)
            if len(stay):
                columns = [_taken(cells, stay) for cells in batch.columns[: len(wanted)]]
                yield Batch(columns, _renamed(batch, stay))
        self._counts = counts
        if n_rows and not n_left:
            texts = ", ".join(repr(f.text) for f in self._filters)
            raise DataError(f"{self.where}: drop {texts} leaves no row of {n_rows}")

    def notes(self) -> tuple[str, ...]:
        """Return what each filter left out."""
        said = []
        for row_filter, count in zip(self._filters, self._counts, strict=True):
            rows = {0: "no row was", 1: "1 row was"}.get(count, f"{count} rows were")
            said.append(f"{rows} left out by drop {row_filter.text!r}")
        return (*self._source.notes(), *said)

    def _placer(self, batch: Batch) -> Callable[[int], str]:
        return lambda i: f"{self.where} {batch.row_name(i)}"


def _taken(cells: Sequence[Any], rows: Rows) -> Sequence[Any]:
    if isinstance(cells, np.ndarray):
        taken: Sequence[Any] = cells[rows]
        return taken
    return [cells[i] for i in rows.tolist()]


def _renamed(batch: Batch, rows: Rows) -> Callable[[int], str]:
    return lambda i: batch.row_name(int(rows[i]))
