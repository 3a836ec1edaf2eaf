"""The CSV logs of Keras (`CSVLogger`) and fastai (`CSVLogger`, `history.csv`): a row an epoch, a file a run.

Keras writes `NA` for metrics that an epoch does not have. fastai repeats the header inside the file where it appends.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from sld.core.errors import DataError
from sld.data.importers.attempt import Attempt, Cell, Folder, Unit, cell_of, read_text, run_name
from sld.data.importers.sheet import Origin, attempts_of, settings_beside

KERAS, FASTAI = "keras", "fastai"
_EPOCH = "epoch"
_OF_FASTAI = {"train_loss", "valid_loss"}


def claims_of(name: str, folder: Folder) -> list[Unit]:
    """Return the CSV files whose first column is the epoch, as one of the two tools writes them."""
    units = []
    for file in folder.files if folder.forced else folder.ending(".csv", ".log", ".tsv"):
        head = _header(folder.head(file))
        fastai = head[:1] == [_EPOCH] and set(head) >= _OF_FASTAI
        keras = head[:1] == [_EPOCH] and "step" not in head and not fastai
        if folder.forced or (fastai if name == FASTAI else keras):
            units.append(Unit(name, folder.path / file, (folder.path / file,)))
    return units


def _header(head: bytes) -> list[str]:
    first = head.decode("utf-8", errors="replace").removeprefix("\ufeff").split("\n", 1)[0].strip()
    return [name.strip() for name in first.replace(";", ",").replace("\t", ",").split(",")]


def read(unit: Unit) -> list[Attempt]:
    """Return the run of a file; raises DataError."""
    path = unit.base
    text = read_text(path)
    notes: list[str] = []
    rows = list(_rows(text, path, notes))
    if not rows:
        raise DataError(f"{path} has a header but no epochs" if text.strip() else f"{path} is empty")
    config, _ = settings_beside(path)
    return attempts_of(rows, _EPOCH, Origin(str(path), run_name(path, unit.root), str(path), config, tuple(notes)))


def _rows(text: str, path: Path, notes: list[str]) -> Iterator[dict[str, Cell]]:
    names: list[str] = []
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=_delimiter(text)))
    except csv.Error as error:
        raise DataError(f"{path} is not CSV: {error}") from None
    torn = bool(text) and not text.endswith(("\n", "\r"))
    for k, line in enumerate(lines):
        cells = [cell.strip() for cell in line]
        if not any(cells):
            continue
        if _EPOCH in cells:
            names = cells
        elif not names:
            raise DataError(f"{path} has no header with a column {_EPOCH!r}")
        elif len(cells) != len(names) or (torn and k == len(lines) - 1):
            if k < len(lines) - 1:
                raise DataError(f"{path} line {k + 1} has {len(cells)} cells; the header has {len(names)}")
            notes.append(f"{path.name}: the last line is cut off and was left out")
        else:
            yield {name: cell for name, text in zip(names, cells, strict=True) if (cell := cell_of(text)) is not None}


def _delimiter(text: str) -> str:
    first = text.split("\n", 1)[0]
    return max(",;\t", key=first.count)
