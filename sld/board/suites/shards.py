"""The files that hold a split of a data set, and the rows in them, checked against a card.

Data sets are laid out in several ways: by `datasets` when it uploads or saves, by the hub when it converts, by people
who copy tables. What is wrong with a file is a `SourceError`: one line, and the other tasks go on.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.core.errors import DataError, SldError
from sld.data.card import Card

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MISSING_PYARROW = "reading Parquet needs pyarrow: pip install 'sld[sldbench]'"

# below the data set's top or its data/; the first that is there is read
_LAYOUTS = (
    r"{config}/{split}(?:-(?P<part>\d+)-of-(?P<parts>\d+)(?:-[0-9a-f]+)?)?\.parquet",  # uploaded by `datasets`
    r"{config}/{split}/(?P<part>\d+)\.parquet",  # converted by the hub
    r"{config}/{split}/data-(?P<part>\d+)-of-(?P<parts>\d+)\.arrow",  # DatasetDict.save_to_disk
    r"{config}/{split}\.(?:csv|tsv)",
)
LAYOUTS_IN_WORDS = "{config}/{split}-*.parquet, {config}/{split}/0000.parquet or {config}/{split}.csv"


class SourceError(SldError):
    """A file of the source is missing or not as it must be."""


def find_shards(paths: Iterable[str], configs: Sequence[str], split: str) -> tuple[str, ...]:
    """Return the files of a split, in order; empty when there are none.

    Args:
        paths: Files of the data set, relative to its top, with forward slashes.
        configs: Names that the configuration may go by.
        split: `train` or `test`.

    Raises:
        SourceError: Some parts of the split are missing.
    """
    listed = list(paths)
    either = "(?:" + "|".join(re.escape(config) for config in configs) + ")"
    for layout in _LAYOUTS:
        pattern = re.compile("(?:data/)?" + layout.format(config=either, split=re.escape(split)))
        found = [(match, path) for path in listed if (match := pattern.fullmatch(path))]
        if found:
            # several names or places may match: one folder is read, not all of them
            folder = min(path.rpartition("/")[0] for _, path in found)
            return _complete([(m, p) for m, p in found if p.rpartition("/")[0] == folder], f"{folder}/{split}")
    return ()


def _complete(found: Sequence[tuple[re.Match[str], str]], where: str) -> tuple[str, ...]:
    parts: dict[int, str] = {}
    wanted = 0
    for match, path in found:
        groups = match.groupdict()
        part = int(groups.get("part") or 0)
        if part in parts:
            raise SourceError(f"{where}: both {parts[part]} and {path} claim to be part {part}; remove one")
        parts[part] = path
        wanted = max(wanted, int(groups.get("parts") or 0))
    wanted = wanted or max(parts) + 1
    if absent := [str(k) for k in range(wanted) if k not in parts]:
        raise SourceError(f"{where} is incomplete: part {', '.join(absent[:5])} of {wanted} (from 0) is missing")
    return tuple(parts[k] for k in range(wanted))


@dataclass(frozen=True, eq=False)
class SplitRows:
    """The rows of a split, by the card's columns; `labels` are the groups' names, row by row."""

    columns: Mapping[str, Array]
    labels: tuple[str, ...] | None
    n_rows: int

    def to_csv(self, card: Card) -> str:
        """Return the text of the task's table: the card's columns in its order, numbers with all their digits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(card.columns)
        cells: list[Sequence[str]] = [] if self.labels is None else [self.labels]
        cells += [[_number(x) for x in self.columns[name].tolist()] for name in self.columns]
        writer.writerows(zip(*cells, strict=True))
        return text.getvalue()


def _number(x: float) -> str:
    return str(int(x)) if x.is_integer() and abs(x) < 1e15 else repr(x)


def read_rows(
    files: Sequence[tuple[Path, str]],
    card: Card,
    *,
    aliases: Mapping[str, Sequence[str]] | None = None,
    n_rows: int | None = None,
) -> SplitRows:
    """Read a split.

    Args:
        files: Each part, with its name in messages.
        card: The card whose columns are wanted; further columns are left out.
        aliases: Other names that a column may go by, in order of preference.
        n_rows: How many rows there must be; None for any number.

    Raises:
        SourceError: A file cannot be read, lacks a column, holds something else than numbers, or the rows are too few
            or too many.
        UsageError: A package is missing.
    """
    import numpy as np

    parts = [_read_part(path, name, card, aliases or {}) for path, name in files]
    total = sum(part.n_rows for part in parts)
    shown = files[0][1] if len(files) == 1 else f"{files[0][1]} and {len(files) - 1} more"
    if n_rows is not None and total != n_rows:
        way_out = "the data set has changed, or this is not the benchmark's copy; --revision can pick an earlier state"
        raise SourceError(f"{shown}: wanted {n_rows} rows, got {total} ({way_out})")
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    labels = None if card.group is None else tuple(label for part in parts for label in part.labels or ())
    return SplitRows(columns, labels, total)


def _read_part(path: Path, name: str, card: Card, aliases: Mapping[str, Sequence[str]]) -> SplitRows:
    import numpy as np

    from sld.data.reading import column_names, read_columns

    try:
        data = _arrow_columns(path, name) if path.suffix == ".arrow" else path
        there = column_names(data)
        came = {column: _match(column, aliases.get(column, ()), there) for column in card.columns}
        if lacking := [column for column, match in came.items() if match is None]:
            raise SourceError(
                f"{name}: no column for {', '.join(lacking)}; wanted {', '.join(card.columns)}, "
                f"got {', '.join(there[:30]) or 'none'}"
            )
        numbers = {column: str(match) for column, match in came.items() if column != card.group}
        label = None if card.group is None else came[card.group]
        read = read_columns(data, list(numbers.values()), label, where=name)
    except DataError as error:
        if "needs pyarrow" in str(error):
            raise
        text = str(error)
        raise SourceError(text if name in text else text.replace(path.name, name)) from None
    columns = {column: read.values[match] for column, match in numbers.items()}
    for column, values in columns.items():
        if not (finite := np.isfinite(values)).all():
            first = int(np.flatnonzero(~finite)[0])
            raise SourceError(f"{name} {read.row_name(first)}: column {numbers[column]!r} holds no finite number")
    labels = None if label is None else tuple(read.labels[k] for k in read.label_index.tolist())
    return SplitRows(columns, labels, read.n_rows)


def _match(column: str, others: Sequence[str], there: Sequence[str]) -> str | None:
    """Return the name that a column came under: its own, an alias, or either in another spelling."""
    names = (column, *others)
    for name in names:
        if name in there:
            return name
    plain = {_plain(name): name for name in reversed(there)}
    return next((plain[_plain(name)] for name in names if _plain(name) in plain), None)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def _arrow_columns(path: Path, name: str) -> dict[str, Any]:
    """Read what `datasets` saves to disk."""
    try:
        import pyarrow.ipc
    except ImportError:
        raise DataError(MISSING_PYARROW) from None
    try:
        with pyarrow.OSFile(str(path)) as file:
            whole = file.read(6) == b"ARROW1"  # the file format; `datasets` writes the other, the stream format
            file.seek(0)
            table = (pyarrow.ipc.open_file if whole else pyarrow.ipc.open_stream)(file).read_all()
            return {column: table.column(column).to_numpy() for column in table.column_names}
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own errors derive from these
        raise SourceError(f"{name} is not an Arrow file that can be read: {str(error).splitlines()[0]}") from None
