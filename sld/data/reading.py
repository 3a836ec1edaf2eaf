"""Tables from wherever people keep them, as columns of numbers, with the line and column in every refusal.

`open_source` finds the format (one file each in `sld/data/formats`) from the name, or from the first bytes where it
tells none; `prepared` leaves rows out and melts; `read_columns` turns cells into numbers and labels.
"""

from __future__ import annotations

import bisect
import gzip
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from sld.core.arrays import Array, Rows
from sld.core.errors import DataError, suggest
from sld.data.card import CARD_FILE
from sld.data.formats.frame import frame_source
from sld.data.formats.parquet import ParquetSource
from sld.data.formats.records import json_source
from sld.data.formats.source import Batch, Content, Source, reading
from sld.data.formats.spreadsheet import xlsx_source
from sld.data.formats.text import TextSource
from sld.data.numbers import NumberColumn, label_of, number
from sld.data.row_filter import Filtered
from sld.data.wide import melted, offer

_comma, _tab = partial(TextSource, delimiter=","), partial(TextSource, delimiter="\t")
FORMATS: Mapping[str, Callable[[Content], Source]] = {
    ".csv": _comma,
    ".tsv": _tab,
    ".tab": _tab,
    ".json": json_source,
    ".jsonl": json_source,
    ".ndjson": json_source,
    ".parquet": ParquetSource,
    ".pq": ParquetSource,
    ".xlsx": xlsx_source,
    ".xlsm": xlsx_source,
}
COMPRESSED = ".gz"
TYPES = ".csv, .tsv, .json, .jsonl, .parquet or .xlsx (text also as .csv.gz and so on)"
FILE = "file"  # the column of the files' names, where several make one table
STANDARD_INPUT = "standard input"  # what is piped in, in messages


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns read from one source, not yet judged: a missing or infinite cell is NaN or inf here.

    Attributes:
        where: The source in messages, e.g. `runs.csv`.
        values: Numbers by column.
        labels: Distinct labels of the label column in order of appearance; empty without one.
        label_index: (n_rows,) index into `labels`.
        row_name: "line 7" for a row index; lines count from 1 with the header, as an editor shows them.
        notes: What was noticed, in sentences: numbers as people write them, rows left out, what was melted.
        melt_offer: The end of a refusal where the table looks like one with a column per run; empty otherwise.
    """

    where: str
    n_rows: int
    values: Mapping[str, Array]
    labels: tuple[str, ...]
    label_index: Rows
    row_name: Callable[[int], str]
    notes: tuple[str, ...] = ()
    melt_offer: str = ""


def read_columns(
    data: object, numbers: Sequence[str], label: str | None = None, *, where: str | None = None, answers: str = ""
) -> Columns:
    """Read the named columns of whatever `open_source` takes; in the column `answers` true and false are 1 and 0.

    Raises:
        DataError: A file, column or cell is not as it must be; the message names file, line and column.
    """
    source = open_source(data, where)
    _check_names(source, numbers, label)
    wanted = [source.names.index(name) for name in (*numbers, *(() if label is None else (label,)))]
    columns = [NumberColumn(name, source.where, answers=name == answers) for name in numbers]
    labels: dict[str, int] = {}
    label_index: list[Rows] = []
    starts, batches = [0], list[Batch]()
    for batch in source.batches(wanted):
        for column, cells in zip(columns, batch.columns, strict=False):
            column.add(cells, batch.row_name)
        if label is not None:
            label_index.append(_labels(batch, labels, f"{source.where} {{}}: group column {label!r} is empty"))
        starts.append(starts[-1] + batch.n_rows)
        batches.append(Batch((), batch.row_name))
    if not starts[-1]:
        raise DataError(f"{source.where} has a header but no rows")

    def row_name(i: int) -> str:
        k = bisect.bisect_right(starts, i) - 1
        return batches[k].row_name(i - starts[k])

    finished = [column.finish(row_name) for column in columns]
    return Columns(
        where=source.where,
        n_rows=starts[-1],
        values=dict(zip(numbers, (values for values, _ in finished), strict=True)),
        labels=tuple(labels),
        label_index=np.concatenate(label_index) if label_index else np.zeros(starts[-1], dtype=np.intp),
        row_name=row_name,
        notes=(*source.notes(), *(note for _, notes in finished for note in notes)),
        melt_offer=offer(source.names, sure=True),
    )


def _labels(batch: Batch, labels: dict[str, int], message: str) -> Rows:
    cells = batch.columns[-1]
    keys = list(map(label_of, cells.tolist() if isinstance(cells, np.ndarray) else cells))
    if "" in keys:
        raise DataError(message.format(batch.row_name(keys.index(""))))
    return np.array([labels.setdefault(key, len(labels)) for key in keys], dtype=np.intp)


def column_names(data: object) -> tuple[str, ...]:
    """Return the names of all columns; raises DataError."""
    source = open_source(data)
    if source.has_header_line and _looks_like_data(source.names):
        raise DataError(_headless(source))
    return source.names


def name_of(data: object) -> str:
    """Return a table's name in messages."""
    if isinstance(data, Source):
        return data.where
    return Path(data).name if isinstance(data, str | Path) else "the table"


def stem_of(data: object) -> str:
    """Return what a task made of a table is called: a file's name without its types, a folder's name."""
    if isinstance(data, Source):
        return data.stem
    if not isinstance(data, str | Path):
        return "table"
    path = Path(data)
    while path.suffix.lower() in (*FORMATS, COMPRESSED):
        path = path.with_suffix("")
    if _is_pattern(data) and not re.search(r"\w", path.name):  # runs/*.csv
        path = path.parent
    return path.name or "table"


# -- where rows come from ---------------------------------------------------------------------------------------------


def is_table(data: object) -> bool:
    """Whether a path stands for rows: a file of a type that is read, a pattern, a folder of such that is no task.

    A file that is missing counts by its type, so that a mistyped name is refused as a table.
    """
    if not isinstance(data, str | Path):
        return False
    path = Path(data)
    if _is_pattern(data):
        return True
    try:
        if path.is_dir():
            return not (path / CARD_FILE).is_file() and bool(_files_in(path))
        return _type_of(path) in FORMATS or (path.exists() and not _type_of(path))
    except ValueError:  # a null character in the path
        return _type_of(path) in FORMATS


def open_source(data: object, where: str | None = None) -> Source:
    """Return a table as its owner wrote it.

    Args:
        data: A path (.csv, .tsv, .json, .jsonl, .parquet, .xlsx; text also compressed, `.csv.gz`), a folder of such
            files or a pattern (`runs/*.csv`), a DataFrame of pandas, polars or pyarrow, a mapping of columns, a list
            of records.
        where: The table in messages, instead of the file's name.

    Raises:
        DataError: There is no such file, or it is not what its name says.
    """
    if isinstance(data, Source):
        return data
    if not isinstance(data, str | Path):
        return frame_source(data, where or "the table")
    path = Path(data)
    if _is_pattern(data):
        files = sorted(p for p in _matches(path) if p.is_file())
        if not files:
            raise DataError(f"no file matches {str(data)!r}")
        return _joined(files, where or str(data), stem_of(data))
    if path.is_dir():
        if (path / CARD_FILE).is_file():
            raise DataError(f"{path} is a task folder, not a table; load it as a task")
        files = _files_in(path)
        if not files:
            raise DataError(f"{path} is a folder without tables; wanted a table ({TYPES}) or a folder of such")
        return _joined(files, where or path.name or str(path), stem_of(path.resolve()))
    source = _open_file(path, where or path.name)
    source.stem = stem_of(data)
    return source


def piped_source(data: bytes) -> Source:
    """Return what came on standard input; its format is told by how it begins."""
    source = _sniffed(Content(STANDARD_INPUT, lambda: io.BytesIO(data)))
    source.stem = "stdin"
    return source


def prepared(
    data: object,
    *,
    drop: Sequence[str] = (),
    melt: bool = False,
    keep: Sequence[str] = (),
    targets: Sequence[str] = (),
) -> Source:
    """Return a table melted if asked for (`sld.data.wide`), without rows that a filter names (`sld.data.row_filter`).

    Raises:
        UsageError: A filter cannot be read.
        DataError: A column of a filter is not there, or there is nothing to melt.
    """
    source = open_source(data)
    if melt:
        source = melted(source, keep, targets)
    return Filtered(source, drop) if drop else source


def _is_pattern(data: str | Path) -> bool:
    text = str(data)
    try:
        return any(c in text for c in "*?[") and not Path(text).exists()
    except (OSError, ValueError):  # too long for a name: no pattern either
        return False


def _matches(pattern: Path) -> Iterator[Path]:
    import glob

    return (Path(p) for p in glob.glob(str(pattern), recursive=True))


def _files_in(folder: Path) -> list[Path]:
    try:
        there = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"could not read {folder}: {error.strerror or error}") from None
    return [p for p in there if p.is_file() and not p.name.startswith(".") and _type_of(p) in FORMATS]


def _type_of(path: Path) -> str:
    """Return the type that a name tells: its last suffix, below the one of a compressed file."""
    if path.suffix.lower() == COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower()


def _open_file(path: Path, where: str) -> Source:
    kind = _type_of(path)
    form = FORMATS.get(kind)
    if form is None and kind:
        raise DataError(f"{where}: cannot read {kind} files; a table is {TYPES}")
    content = _content(path, where)
    if form is None:
        return _sniffed(content)
    return form(content)


def _content(path: Path, where: str) -> Content:
    """Return how to read a file; a pipe is read at once, since it cannot be read twice."""
    with _opened(path, where) as file:
        if not path.is_file():
            with reading(where):
                data = file.read()
            return _unpacked(Content(where, lambda: io.BytesIO(data)), path)
    return _unpacked(Content(where, lambda: _opened(path, where)), path)


def _unpacked(content: Content, path: Path) -> Content:
    if path.suffix.lower() != COMPRESSED:
        return content
    return Content(content.where, lambda: cast(BinaryIO, _Unzipped(content.open())))


class _Unzipped(gzip.GzipFile):
    """A compressed file that takes the packed one along when it is closed."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(fileobj=packed)
        self._packed = packed

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._packed.close()


def _opened(path: Path, where: str) -> BinaryIO:
    try:
        return path.open("rb")
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


def _sniffed(content: Content) -> Source:
    """Read bytes without a type: packed and binary ones are known by their first bytes, text by its first line."""
    with reading(content.where), content.open() as file:
        start = file.read(4096)
    if start.startswith(b"\x1f\x8b"):
        return _sniffed(Content(content.where, lambda: cast(BinaryIO, _Unzipped(content.open()))))
    for magic, form in ((b"PAR1", ParquetSource), (b"PK\x03\x04", xlsx_source)):
        if start.startswith(magic):
            return form(content)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        return json_source(content)
    first = text.splitlines()[0] if text else b""
    return (_tab if b"\t" in first and b"," not in first else _comma)(content)


# -- several files ----------------------------------------------------------------------------------------------------


def _joined(files: Sequence[Path], where: str, stem: str) -> Source:
    sources = [_open_file(path, path.name) for path in files]
    source = sources[0] if len(sources) == 1 else Joined(sources, where)
    source.stem = stem
    return source


class Joined(Source):
    """Several files with the same columns, in the order of their names; a column `file` says which a row is from."""

    def __init__(self, sources: Sequence[Source], where: str) -> None:
        """Compare the columns; raises DataError."""
        first, self.where = sources[0], where
        for other in sources[1:]:
            for a, b in ((first, other), (other, first)):
                if lacking := [name for name in b.names if name and name not in a.names]:
                    raise DataError(
                        f"{where}: {a.where} has no column {lacking[0]!r}, which {b.where} has; "
                        "files of one table have the same columns"
                    )
        self._sources = sources
        self._first = first.names
        self.has_header_line = first.has_header_line
        self.names = first.names if FILE in first.names else (*first.names, FILE)

    def batches(self, wanted: Sequence[int]) -> Iterator[Batch]:
        """Yield the rows of one file after the other."""
        for source in self._sources:
            own = [source.names.index(self._first[k]) for k in wanted if k < len(self._first)]
            for batch in source.batches(own or [0]):
                columns = iter(batch.columns)
                named = [Path(source.where).name.partition(".")[0]] * batch.n_rows
                cells = [next(columns) if k < len(self._first) else named for k in wanted]
                yield Batch(cells, partial(_in_file, source.where, batch.row_name))

    def notes(self) -> tuple[str, ...]:
        """Return how many files there are, and what was noticed in each."""
        first, last = self._sources[0].where, self._sources[-1].where
        own = (f"{source.where}: {note}" for source in self._sources for note in source.notes())
        return (f"{len(self._sources)} files were read as one table ({first} to {last})", *own)


def _in_file(where: str, row_name: Callable[[int], str], i: int) -> str:
    return f"in {where} {row_name(i)}"


# -- what a table calls its columns -----------------------------------------------------------------------------------


def _check_names(source: Source, numbers: Sequence[str], label: str | None) -> None:
    """Refuse unknown and repeated columns; unnamed ones (trailing commas, an index) may repeat."""
    names, where = source.names, source.where
    named = {n for n in names if n}
    wanted = [*numbers, *(() if label is None else (label,))]
    if source.has_header_line and not named.issuperset(wanted) and _looks_like_data(names):
        raise DataError(_headless(source))
    if len(named) < sum(1 for n in names if n):
        twice = next(n for i, n in enumerate(names) if n and n in names[:i])
        raise DataError(f"{where} has two columns named {twice!r}")
    for name in wanted:
        if name in named:
            continue
        separator = next((s for s in ";\t|" if len(names) == 1 and s in names[0]), None)
        if separator:
            raise DataError(f"{where} is separated by {separator!r}; save it with commas (.csv) or tabs (.tsv)")
        raise DataError(f"{where}: {_unknown(name, names)}")


def _unknown(name: str, names: Sequence[str]) -> str:
    """Return what to say of a column that is not there: another spelling, or that the table looks wide."""
    if (surely := offer(names, name, sure=True)) and "did you mean" not in suggest(name, names[:1], kind="column"):
        return f"no column {name!r}{surely}"
    unknown = suggest(name, [n for n in names if n], kind="column")
    return unknown if "did you mean" in unknown else unknown + offer(names, name)


def _looks_like_data(names: Sequence[str]) -> bool:
    """Whether at least half of a header are numbers."""
    cells = [name for name in names if name]
    return bool(cells) and 2 * sum(map(_is_number, cells)) >= len(cells) and not offer(names)


def _is_number(text: str) -> bool:
    try:
        return not np.isnan(number(text))
    except ValueError:
        return False


def _headless(source: Source) -> str:
    shown = ", ".join(source.names[:4]) + (", ..." if len(source.names) > 4 else "")
    return f"{source.where}: the first line looks like data ({shown}): is the header missing?"
