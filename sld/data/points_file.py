"""A table of points as its owner wrote it, with columns added: what `sld predict` writes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import DataError
from sld.data.formats.source import Batch, Source, is_missing
from sld.data.reading import open_source


def with_columns(points: object, added: Mapping[str, Array | list[str]]) -> Iterator[list[str]]:
    """Yield the header and the rows of a table, every cell as it was, with columns added at the end.

    A column that the table has already (measured values, say) stays; the added one of that name becomes
    `<name>_predicted`. Blank lines are left out, as they are when the table is read. Cells that are no text (of
    JSON, Parquet, spreadsheets) are written as Python writes them, missing ones as nothing.

    Args:
        points: What `sld.data.reading.open_source` takes.
        added: Columns with a value for each row: numbers, which get all their digits, or texts.

    Raises:
        DataError: The file has changed since its rows were counted.
    """
    source = open_source(points)
    yield [*source.names, *added_names(list(source.names), added)]
    columns = [values if isinstance(values, list) else list(map(repr, values.tolist())) for values in added.values()]
    n_rows = 0
    for batch in source.batches(range(len(source.names))):
        rows = zip(*map(_listed, batch.columns), strict=True)
        new = zip(*(column[n_rows : n_rows + batch.n_rows] for column in columns), strict=True)
        n_rows += batch.n_rows
        if n_rows > len(columns[0]):
            break
        for cells, values in zip(rows, new, strict=True):
            yield [*map(_text, cells), *values]
    if n_rows != len(columns[0]):
        raise DataError(f"{source.where} changed while it was read")


class Without(Source):
    """A table without some of its columns."""

    def __init__(self, source: Source, left_out: Collection[str]) -> None:
        """Take the table, and the names of what is not looked at."""
        self._source = source
        self._kept = [k for k, name in enumerate(source.names) if name not in left_out]
        self.names = tuple(source.names[k] for k in self._kept)
        self.where, self.stem, self.has_header_line = source.where, source.stem, source.has_header_line

    def batches(self, wanted: Sequence[int]) -> Iterator[Batch]:
        """Yield the rows of the columns at these positions."""
        return self._source.batches([self._kept[k] for k in wanted])

    def notes(self) -> tuple[str, ...]:
        """Return what was noticed while the table was read."""
        return self._source.notes()


def added_names(header: list[str], added: Mapping[str, Any]) -> list[str]:
    """Return the names of the added columns, changed where the header has them already."""
    names = []
    for name in added:
        free = name
        while free in header:
            free += "_predicted"
        names.append(free)
    return names


def _listed(cells: Any) -> Any:
    return cells.tolist() if isinstance(cells, np.ndarray) else cells


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else "" if is_missing(cell) else str(cell)
