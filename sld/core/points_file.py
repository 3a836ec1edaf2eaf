"""A table of points as its owner wrote it, with columns added: what `sld predict` writes."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sld.core.errors import DataError
from sld.core.reading import SUFFIXES

Array = NDArray[np.float64]


def with_columns(path: str | Path, added: Mapping[str, Array]) -> Iterator[list[str]]:
    """Yield the header and the rows of a table file, every cell as it was, with columns added at the end.

    A column that the file has already (measured values, say) stays; the added one of that name becomes
    `<name>_predicted`. Blank lines are left out, as they are when the file is read.

    Raises:
        DataError: The file has changed since its rows were counted.
    """
    path = Path(path)
    rows = _parquet_rows(path) if SUFFIXES.get(path.suffix.lower()) == "parquet" else _text_rows(path)
    header = next(rows)
    yield [*header, *added_names(header, added)]
    columns = [values.tolist() for values in added.values()]
    n_rows = 0
    for cells, new in zip(rows, zip(*columns, strict=True), strict=False):
        n_rows += 1
        yield [*cells, *map(repr, new)]
    if n_rows != len(columns[0]) or next(rows, None) is not None:
        raise DataError(f"{path.name} changed while it was read")


def added_names(header: list[str], added: Mapping[str, Any]) -> list[str]:
    """Return the names of the added columns, changed where the header has them already."""
    names = []
    for name in added:
        free = name
        while free in header:
            free += "_predicted"
        names.append(free)
    return names


def _text_rows(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header: list[str] = []
        for row in csv.reader(file, delimiter=SUFFIXES[path.suffix.lower()]):
            if not header:
                header = [cell.strip() for cell in row]
                if any(header):
                    yield header
                else:
                    header = []
            elif row and not (len(row) == 1 < len(header) and not row[0].strip()):
                yield row


def _parquet_rows(path: Path) -> Iterator[list[str]]:
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path)
    yield list(file.schema_arrow.names)
    for batch in file.iter_batches():
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield ["" if cell is None else str(cell) for cell in row]
