"""CSV and TSV, read a thousand rows at a time, so that a file of millions of rows needs little memory."""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice

from sld.core.errors import DataError
from sld.data.formats.source import Batch, Content, RowName, Source, reading

_BATCH = 1024  # rows turned into numbers at a time; larger batches leave the processor's cache and are slower


class TextSource(Source):
    """A header line and one line per row; blank lines are passed over."""

    has_header_line = True

    def __init__(self, content: Content, delimiter: str) -> None:
        """Read the header; raises DataError."""
        self.where = content.where
        self._content, self._delimiter = content, delimiter
        with reading(self.where), self._text() as text:
            self.names = tuple(self._header(csv.reader(text, delimiter=delimiter)))

    def batches(self, wanted: Sequence[int]) -> Iterator[Batch]:
        """Yield the rows a thousand at a time."""
        width = len(self.names)
        with reading(self.where), self._text() as text:
            reader = csv.reader(text, delimiter=self._delimiter)
            self._header(reader)
            while True:
                line = reader.line_num
                try:
                    rows = list(islice(reader, _BATCH))
                except csv.Error as error:
                    raise DataError(f"{self.where} line {reader.line_num} is not CSV: {error}") from None
                if not rows:
                    return
                lines: Sequence[int] = range(line + 1, reader.line_num + 1)
                if len(lines) != len(rows) or set(map(len, rows)) != {width}:
                    rows, lines = _uneven(rows, line, width, self.where)
                if rows:
                    cells = list(zip(*rows, strict=True))
                    yield Batch([cells[k] for k in wanted], _row_namer(lines))

    def _text(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(self._content.open(), encoding="utf-8-sig", newline="")

    def _header(self, rows: Iterator[list[str]]) -> list[str]:
        try:
            for row in rows:
                if any(cell.strip() for cell in row):
                    return [cell.strip() for cell in row]
        except csv.Error as error:
            raise DataError(f"{self.where} is not a CSV file: {error}") from None
        raise DataError(f"{self.where} is empty; wanted a header line and one row per run")


def _uneven(rows: Sequence[list[str]], line: int, width: int, where: str) -> tuple[list[list[str]], array[int]]:
    """Return the rows of a batch with blank lines or line breaks inside quotes, and the line on which each ends."""
    kept = []
    lines = array("q")
    for row in rows:
        line += 1 + sum(cell.count("\n") for cell in row)
        if not row or (len(row) == 1 < width and not row[0].strip()):
            continue
        if len(row) != width:
            cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
            thousands = len(row) > width and any(re.fullmatch(r"\d{3}", cell.strip()) for cell in row[1:])
            hint = "; a number with commas in it needs quotes" if thousands else ""
            raise DataError(f"{where} line {line} has {cells}; the header has {width}{hint}")
        kept.append(row)
        lines.append(line)
    return kept, lines


def _row_namer(lines: Sequence[int]) -> RowName:
    return lambda i: f"line {lines[i]}"
