"""Parquet, and pyarrow's tables; categories are decoded, so that a missing one stays missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from sld.core.errors import DataError
from sld.data.formats.source import Batch, Content, Held, Source


class ParquetSource(Source):
    """A Parquet file; of its columns only the wanted ones are read."""

    def __init__(self, content: Content) -> None:
        """Read the schema; raises DataError."""
        self.where = content.where
        self._content = content
        with self._opened("is not a Parquet file") as file:
            # a group of columns (a struct) is read as its parts, "config.N"
            self._top = list(file.schema_arrow.names)
            self.names = tuple(_flat(file.schema_arrow.empty_table()).column_names)

    def batches(self, wanted: Sequence[int]) -> Iterator[Batch]:
        """Yield all rows at once."""
        names = [self.names[k] for k in wanted]
        needed = [top for top in self._top if any(n == top or n.startswith(f"{top}.") for n in names)]
        with self._opened("is a damaged Parquet file") as file:  # the damage may be further inside
            table = _flat(file.read(columns=needed))
            cells = [_cells(table.column(name)) for name in names]
        yield Batch(cells, _row_name)

    @contextlib.contextmanager
    def _opened(self, problem: str) -> Iterator[Any]:
        with self._content.open() as raw:  # what cannot be opened is said first
            try:
                import pyarrow.parquet
            except ImportError:
                raise DataError(f"reading {self.where} needs pyarrow: pip install 'sld[parquet]'") from None
            try:
                yield pyarrow.parquet.ParquetFile(raw)
            except NotImplementedError as error:  # whole numbers of 128 bits, as polars writes them
                way_out = "cast such columns to 64 bits or to floats and save it again"
                what = f"has columns that pyarrow cannot read ({_line(error)})"
                raise DataError(f"{self.where} {what}; {way_out}") from None
            except (OSError, ValueError, KeyError) as error:  # pyarrow's own errors derive from these
                raise DataError(f"{self.where} {problem}: {_line(error)}") from None


def arrow_source(table: Any, where: str) -> Source:
    """Return a table of pyarrow that is in memory."""
    table = _flat(table)
    return Held(where, table.column_names, [_cells(column) for column in table.columns], _row_name)


def _flat(table: Any) -> Any:
    import pyarrow

    while any(pyarrow.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table


def _cells(column: Any) -> Sequence[Any]:
    import pyarrow

    if pyarrow.types.is_dictionary(column.type):
        # to_numpy looks a missing category up at -1, which is the last one
        column = column.cast(column.type.value_type)
    cells: Sequence[Any] = column.to_numpy()
    return cells


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _row_name(i: int) -> str:
    return f"row {i + 1}"
