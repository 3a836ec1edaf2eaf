"""DataFrames (pandas, polars, or anything with columns), mappings of columns, lists of records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sld.core.errors import DataError
from sld.data.formats.records import records_source
from sld.data.formats.source import Batch, Source


def frame_source(data: Any, where: str) -> Source:
    """Return a table in memory; raises DataError for what is none."""
    if isinstance(data, list | tuple) and data and all(isinstance(record, Mapping) for record in data):
        return records_source(data, where, _row_name)
    if hasattr(data, "schema") and hasattr(data, "column_names") and hasattr(data, "to_pandas"):
        from sld.data.formats.parquet import arrow_source

        return arrow_source(data, where)
    return FrameSource(data, where)


class FrameSource(Source):
    """A DataFrame or a mapping; of its columns only the wanted ones are turned into arrays."""

    def __init__(self, data: Any, where: str) -> None:
        """Keep the table and the names of its columns; raises DataError."""
        self.where, self._data = where, data
        keys = data if isinstance(data, Mapping) else getattr(data, "columns", None)
        if keys is None or callable(keys):
            raise DataError(f"{where}: wanted a path, a DataFrame or a mapping of columns, got {type(data).__name__}")
        self._keys = list(keys)
        self.names = tuple(str(key) for key in self._keys)

    def batches(self, wanted: Sequence[int]) -> Iterator[Batch]:
        """Yield all rows at once."""
        columns = [(self.names[k], self._column(k)) for k in wanted]
        n_rows = next((column.shape[0] for _, column in columns if column.shape), 0)
        for name, column in columns:
            if column.shape != (n_rows,):
                size = f"{len(column)} rows" if column.ndim == 1 else f"shape {column.shape}"
                raise DataError(f"{self.where}: column {name!r} has {size}, wanted {n_rows} (as the first column)")
        cells: list[Any] = [column for _, column in columns]
        yield Batch(cells, _row_name)

    def _column(self, k: int) -> NDArray[Any]:
        try:
            column = self._data[self._keys[k]]
        except TypeError:  # a LazyFrame of polars
            raise DataError(f"{self.where}: a {type(self._data).__name__} has no columns to read; collect it") from None
        if str(getattr(column, "dtype", "")) in ("Int128", "UInt128"):  # polars has them, numpy does not
            column = np.array([None if x is None else float(x) for x in column.to_list()], dtype=np.float64)
        try:
            return np.atleast_1d(np.asarray(column))  # single numbers make a table of one row
        except ValueError:
            raise DataError(f"{self.where}: column {self.names[k]!r} is not one value per row") from None


def _row_name(i: int) -> str:
    return f"row {i + 1}"
