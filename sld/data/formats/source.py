"""What every format hands on: the names of the columns, and rows in batches with the place that each stands at.

A cell is what its owner wrote: text in CSV, Python's own values in JSON and xlsx, arrays in Parquet and DataFrames.
Nothing is judged here: `sld.data.reading` turns cells into numbers and labels.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from sld.core.errors import DataError

RowName = Callable[[int], str]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows, column by column.

    Attributes:
        columns: The cells of each wanted column: a list, a tuple or an array, all of one length.
        row_name: "line 7" for a row index; lines count from 1 with the header, as an editor shows them.
    """

    columns: Sequence[Sequence[Any]]
    row_name: RowName

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0]) if self.columns else 0


class Source(ABC):
    """A table as it was given; it can be read more than once.

    Attributes:
        where: The table in messages, e.g. `runs.csv`.
        stem: What a task made of it is called, e.g. `runs`.
        names: All columns in order; an unnamed one is "".
        has_header_line: Names come from a first line, which may be missing; keys of JSON and Parquet may not.
    """

    where: str
    stem: str = "table"
    names: tuple[str, ...]
    has_header_line: bool = False

    @abstractmethod
    def batches(self, wanted: Sequence[int]) -> Iterator[Batch]:
        """Yield the rows of the columns at these positions; raises DataError."""

    def notes(self) -> tuple[str, ...]:
        """Return what was noticed, in sentences; complete after the batches were read."""
        return ()


class Held(Source):
    """Columns that are in memory."""

    def __init__(
        self,
        where: str,
        names: Sequence[str],
        columns: Sequence[Sequence[Any]],
        row_name: RowName,
        *,
        notes: Sequence[str] = (),
        has_header_line: bool = False,
    ) -> None:
        """Take columns of one length, as many as names."""
        self.where, self.names, self.has_header_line = where, tuple(names), has_header_line
        self._columns, self._row_name, self._notes = columns, row_name, tuple(notes)

    def batches(self, wanted: Sequence[int]) -> Iterator[Batch]:
        """Yield all rows at once."""
        yield Batch([self._columns[k] for k in wanted], self._row_name)

    def notes(self) -> tuple[str, ...]:
        """Return what was noticed when the columns were read."""
        return self._notes


@dataclass(frozen=True)
class Content:
    """The bytes of a file, of standard input or of a compressed file; `open` begins at their start each time."""

    where: str
    open: Callable[[], BinaryIO]

    def read(self) -> bytes:
        """Return all bytes; raises DataError."""
        with reading(self.where), self.open() as file:
            return file.read()


@contextlib.contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn what can go wrong while bytes are read into one line."""
    try:
        yield
    except UnicodeDecodeError:
        raise DataError(f"{where} is not UTF-8 text; save it as CSV in UTF-8") from None
    except EOFError:
        raise DataError(f"{where} is cut off: the compressed file ends early; copy it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{where} is not a gzip file, or a damaged one: {error}") from None
    except OSError as error:
        raise DataError(f"could not read {where}: {error.strerror or error}") from None


def is_missing(value: object) -> bool:
    """Whether a cell that is no text holds nothing: None, NaN, pandas' NA."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):  # pandas' NA has no truth value; nor have lists as arrays, which are something
        return not hasattr(value, "__len__")
