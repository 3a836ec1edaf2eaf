"""Reading columns of numbers from files, data frames and mappings, with the line and column in every refusal."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from sld.core.errors import DataError, suggest

Array = NDArray[np.float64]

SUFFIXES = {".csv": ",", "": ",", ".tsv": "\t", ".tab": "\t", ".parquet": "parquet", ".pq": "parquet"}
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>"})
_BATCH = 1024  # rows turned into numbers at a time; larger batches leave the processor's cache and are slower


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns read from one source, not yet judged: a missing or infinite cell is NaN or inf here.

    Attributes:
        where: The source in messages, e.g. `runs.csv`.
        values: Numbers by column.
        labels: Distinct labels of the label column in order of appearance; empty without one.
        label_index: (n_rows,) index into `labels`.
        row_name: "line 7" for a row index; lines count from 1 with the header, as an editor shows them.
    """

    where: str
    n_rows: int
    values: Mapping[str, Array]
    labels: tuple[str, ...]
    label_index: NDArray[np.intp]
    row_name: Callable[[int], str]


def read_columns(
    data: object, numbers: Sequence[str], label: str | None = None, *, where: str | None = None
) -> Columns:
    """Read the named columns of a path (.csv, .tsv, .parquet), a DataFrame or a mapping of columns.

    Raises:
        DataError: A file, column or cell is not as it must be; the message names file, line and column.
    """
    if isinstance(data, str | Path):
        columns = _read_file(Path(data), numbers, label, where or Path(data).name)
    else:
        columns = _read_frame(data, numbers, label, where or "the table")
    if not columns.n_rows:
        raise DataError(f"{columns.where} has a header but no rows")
    return columns


def column_names(data: object) -> tuple[str, ...]:
    """Return the names of all columns of a path, DataFrame or mapping; raises DataError."""
    if isinstance(data, str | Path):
        path = Path(data)
        if _format_of(path) == "parquet":
            return tuple(_parquet(path, path.name).schema_arrow.names)
        with _opened(path, path.name) as file:
            return tuple(_header(csv.reader(file, delimiter=_format_of(path)), path.name))
    return _frame_names(data, "the table")


def _format_of(path: Path) -> str:
    form = SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise DataError(f"{path.name}: cannot read {path.suffix} files; save the table as .csv, .tsv or .parquet")
    return form


def _read_file(path: Path, numbers: Sequence[str], label: str | None, where: str) -> Columns:
    if path.is_dir():
        raise DataError(f"{path} is a folder; wanted a table (.csv, .tsv or .parquet)")
    form = _format_of(path)
    if form == "parquet":
        file = _parquet(path, where)
        names = file.schema_arrow.names
        _check_names(names, numbers, label, where)
        wanted = [*numbers] if label is None else [*numbers, label]
        try:
            table = file.read(columns=wanted)
            columns = {name: table.column(name).to_numpy() for name in wanted}
        except (OSError, ValueError, NotImplementedError) as error:  # as in _parquet: the damage may be further inside
            raise DataError(f"{where} is a damaged Parquet file: {str(error).splitlines()[0]}") from None
        return _from_arrays(columns, numbers, label, where)
    with _opened(path, where) as text:
        try:
            return _read_csv(text, form, numbers, label, where)
        except UnicodeDecodeError:
            raise DataError(f"{where} is not UTF-8 text; save it as CSV in UTF-8") from None


def _opened(path: Path, where: str) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except FileNotFoundError:
        try:
            near = [p.name for p in path.parent.iterdir() if p.is_file()]
        except OSError:
            near = []
        raise DataError(suggest(path.name, near, kind="file") if len(near) < 1000 else f"no file {where!r}") from None
    except OSError as error:
        raise DataError(f"could not read {path}: {error.strerror or error}") from None
    except ValueError:  # a null character in the path
        raise DataError(f"no file {where!r}") from None


def _parquet(path: Path, where: str) -> Any:
    with _opened(path, where):
        pass
    try:
        import pyarrow.parquet
    except ImportError:
        raise DataError(f"reading {where} needs pyarrow: pip install 'sld[parquet]'") from None
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from these two
        raise DataError(f"{where} is not a Parquet file: {str(error).splitlines()[0]}") from None


def _header(rows: Iterator[list[str]], where: str) -> list[str]:
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                return [cell.strip() for cell in row]
    except UnicodeDecodeError:
        raise DataError(f"{where} is not UTF-8 text; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{where} is not a CSV file: {error}") from None
    raise DataError(f"{where} is empty; wanted a header line and one row per run")


def _check_names(names: Sequence[str], numbers: Sequence[str], label: str | None, where: str) -> None:
    """Refuse unknown and repeated columns; unnamed ones (trailing commas, an index) may repeat."""
    repeated = {n for n in names if n}
    if len(repeated) < sum(1 for n in names if n):
        twice = next(n for i, n in enumerate(names) if n and n in names[:i])
        raise DataError(f"{where} has two columns named {twice!r}")
    for name in (*numbers, *(() if label is None else (label,))):
        if name in repeated:
            continue
        separator = next((s for s in ";\t|" if len(names) == 1 and s in names[0]), None)
        if separator:
            raise DataError(f"{where} is separated by {separator!r}; save it with commas (.csv) or tabs (.tsv)")
        raise DataError(f"{where}: {suggest(name, [n for n in names if n], kind='column')}")


def _read_csv(text: TextIO, delimiter: str, numbers: Sequence[str], label: str | None, where: str) -> Columns:
    reader = csv.reader(text, delimiter=delimiter)
    names = _header(reader, where)
    _check_names(names, numbers, label, where)
    at = [names.index(name) for name in numbers]
    at_label = None if label is None else names.index(label)
    lines = array("q")  # the line on which each row ends
    parts: list[list[Array]] = [[] for _ in numbers]
    labels: dict[str, int] = {}
    label_index = array("q")
    while True:
        line = reader.line_num
        try:
            batch = list(islice(reader, _BATCH))
        except csv.Error as error:
            raise DataError(f"{where} line {reader.line_num} is not CSV: {error}") from None
        if not batch:
            break
        first = len(lines)
        if reader.line_num == line + len(batch) and set(map(len, batch)) == {len(names)}:
            lines.extend(range(line + 1, reader.line_num + 1))
        else:
            batch = _uneven_batch(batch, line, len(names), lines, where)
            if not batch:
                continue
        cells = list(zip(*batch, strict=True))
        for part, k, name in zip(parts, at, numbers, strict=True):
            part.append(_floats(cells[k], _row_namer(lines, first), name, where))
        if at_label is not None:
            keys = [cell.strip() for cell in cells[at_label]]
            if "" in keys:
                raise DataError(f"{where} line {lines[first + keys.index('')]}: group column {label!r} is empty")
            label_index.extend([labels.setdefault(key, len(labels)) for key in keys])
    return Columns(
        where=where,
        n_rows=len(lines),
        values={n: np.concatenate(p) if p else np.empty(0) for n, p in zip(numbers, parts, strict=True)},
        labels=tuple(labels),
        label_index=np.array(label_index, dtype=np.intp),
        row_name=_row_namer(lines, 0),
    )


def _uneven_batch(batch: Sequence[list[str]], line: int, width: int, lines: array[int], where: str) -> list[list[str]]:
    """Return the rows of a batch with blank lines or line breaks inside quotes, and append the rows' last lines."""
    rows = []
    for row in batch:
        line += 1 + sum(cell.count("\n") for cell in row)
        if not row or (len(row) == 1 < width and not row[0].strip()):
            continue
        if len(row) != width:
            cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
            raise DataError(f"{where} line {line} has {cells}; the header has {width}")
        rows.append(row)
        lines.append(line)
    return rows


def _row_namer(lines: Sequence[int], first: int) -> Callable[[int], str]:
    return lambda i: f"line {lines[first + i]}"


def _row_name(i: int) -> str:
    return f"row {i + 1}"


def _is_missing(value: object) -> bool:
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):  # pandas' NA has no truth value
        return True


def _cell(cell: str) -> float:
    # Python reads 1_000 as a number; in a table it is a slip
    return math.nan if cell.strip().casefold() in _MISSING else float(cell.replace("_", "?"))


def _floats(cells: Sequence[str], row_name: Callable[[int], str], name: str, where: str) -> Array:
    if "_" not in "".join(cells):
        try:
            return np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
        except ValueError:
            pass
    values = np.empty(len(cells))
    for i, cell in enumerate(cells):
        try:
            values[i] = _cell(cell)
        except ValueError:
            shown = repr(cell if len(cell) <= 40 else cell[:37] + "...")
            raise DataError(f"{where} {row_name(i)}: column {name!r} must be a number, got {shown}") from None
    return values


def _frame_names(data: object, where: str) -> tuple[str, ...]:
    if isinstance(data, Mapping):
        return tuple(str(key) for key in data)
    names = getattr(data, "columns", None)
    if names is None or callable(names):
        raise DataError(f"{where}: wanted a path, a DataFrame or a mapping of columns, got {type(data).__name__}")
    return tuple(str(name) for name in names)


def _read_frame(data: Any, numbers: Sequence[str], label: str | None, where: str) -> Columns:
    names = _frame_names(data, where)
    _check_names(names, numbers, label, where)
    keys = dict(zip(names, data if isinstance(data, Mapping) else data.columns, strict=True))
    wanted = [*numbers] if label is None else [*numbers, label]
    columns = {}
    for name in wanted:
        try:
            columns[name] = np.atleast_1d(np.asarray(data[keys[name]]))  # single numbers make a table of one row
        except ValueError:
            raise DataError(f"{where}: column {name!r} is not one value per row") from None
    return _from_arrays(columns, numbers, label, where)


def _from_arrays(columns: Mapping[str, NDArray[Any]], numbers: Sequence[str], label: str | None, where: str) -> Columns:
    shapes = {name: column.shape for name, column in columns.items()}
    n_rows = next((shape[0] for shape in shapes.values() if shape), 0)
    for name, shape in shapes.items():
        if shape != (n_rows,):
            size = f"{shape[0]} rows" if len(shape) == 1 else f"shape {shape}"
            raise DataError(f"{where}: column {name!r} has {size}, wanted {n_rows} (as the first column)")
    values = {name: _as_floats(columns[name], name, where) for name in numbers}
    labels: dict[str, int] = {}
    index = np.zeros(n_rows, dtype=np.intp)
    if label is not None:
        for i, value in enumerate(columns[label].tolist()):
            if isinstance(value, np.ndarray):  # a label of several parts, as Parquet's lists come
                value = tuple(value.tolist())
            if _is_missing(value) or not str(value).strip():
                raise DataError(f"{where} {_row_name(i)}: group column {label!r} is empty")
            # 70.0 and 70 are one group: whole numbers turn into floats when a frame has gaps
            key = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
            index[i] = labels.setdefault(key, len(labels))
    return Columns(where, n_rows, values, tuple(labels), index, _row_name)


def _as_floats(column: NDArray[Any], name: str, where: str) -> Array:
    if column.dtype.kind in "fiu":
        return np.ascontiguousarray(column, dtype=np.float64)
    if column.dtype.kind in "bmM":
        got = "true and false" if column.dtype.kind == "b" else "dates or times"
        raise DataError(f"{where}: column {name!r} must be numbers, got {got}")
    values = np.empty(len(column))
    for i, value in enumerate(column.tolist()):
        try:
            if isinstance(value, str):
                values[i] = _cell(value)
            elif _is_missing(value):
                values[i] = math.nan
            elif isinstance(value, bool):
                raise TypeError
            else:
                values[i] = float(value)
        except (TypeError, ValueError, OverflowError):
            message = f"{where} {_row_name(i)}: column {name!r} must be a number, got {str(value)[:40]!r}"
            raise DataError(message) from None
    return values
