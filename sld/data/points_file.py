"""A table of points as its owner wrote it, with columns added: what `sld predict` writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import DataError
from sld.data.formats.source import is_missing
from sld.data.reading import open_source


def with_columns(points: object, added: Mapping[str, Array]) -> Iterator[list[str]]:
    """Yield the header and the rows of a table, every cell as it was, with columns added at the end.

    A column that the table has already (measured values, say) stays; the added one of that name becomes
    `<name>_predicted`. Blank lines are left out, as they are when the table is read. Cells that are no text (of
    JSON, Parquet, spreadsheets) are written as Python writes them, missing ones as nothing.

    Args:
        points: What `sld.data.reading.open_source` takes.
        added: Columns with a value for each row.

    Raises:
        DataError: The file has changed since its rows were counted.
    """
    source = open_source(points)
    yield [*source.names, *added_names(list(source.names), added)]
    columns = [values.tolist() for values in added.values()]
    n_rows = 0
    for batch in source.batches(range(len(source.names))):
        rows = zip(*map(_listed, batch.columns), strict=True)
        new = zip(*(column[n_rows : n_rows + batch.n_rows] for column in columns), strict=True)
        n_rows += batch.n_rows
        if n_rows > len(columns[0]):
            break
        for cells, values in zip(rows, new, strict=True):
            yield [*map(_text, cells), *map(repr, values)]
    if n_rows != len(columns[0]):
        raise DataError(f"{source.where} changed while it was read")


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
