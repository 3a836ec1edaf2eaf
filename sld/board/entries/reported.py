"""Figures that others published, kept beside our own and never among them: `reported/<suite>.csv` of a board.

Columns: agent, model, task, n_runs, mean_r2, max_r2, source. They are shown as "reported, not verified here": the
laws or programs behind them were not run by us.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass

from sld.board.entries.entry import MAX_BYTES, MAX_NAME, check_words
from sld.board.entries.store import Board
from sld.core.errors import DataError, UsageError

REPORTED = "reported"
COLUMNS = ("agent", "model", "task", "n_runs", "mean_r2", "max_r2", "source")
_MAX_ROWS = 10_000


@dataclass(frozen=True)
class Figure:
    """One published figure: the mean over a system's runs on one task of a suite."""

    suite: str
    task: str
    name: str
    n_runs: int
    mean_r2: float
    max_r2: float | None
    source: str

    @property
    def note(self) -> str:
        """What the figure is the mean of."""
        if self.n_runs == 1:
            return "one run"
        return f"mean of {self.n_runs} runs" + ("" if self.max_r2 is None else f", the best {self.max_r2:.3f}")


def reported(board: Board) -> Iterator[Figure | DataError]:
    """Yield the figures of all roots; a suite in an earlier root hides that of a later one."""
    seen = set()
    for root in board.roots:
        for path in sorted((root / REPORTED).glob("*.csv")):
            if path.stem in seen:
                continue
            seen.add(path.stem)
            where = f"{REPORTED}/{path.name}"
            try:
                if path.stat().st_size > MAX_BYTES:
                    raise DataError(f"{where} is larger than {MAX_BYTES} bytes")
                text = path.read_text(encoding="utf-8")
                yield from _figures(text, path.stem, where)
            except OSError as error:
                yield DataError(f"could not read {where}: {error.strerror or error}")
            except UnicodeDecodeError as error:
                yield DataError(f"{where} is not UTF-8 text (byte {error.start})")
            except DataError as error:
                yield error


def _figures(text: str, suite: str, where: str) -> list[Figure]:
    try:
        rows = list(csv.reader(text.splitlines(), strict=True))
    except csv.Error as error:
        raise DataError(f"{where} is not CSV: {error}") from None
    if not rows or tuple(rows[0]) != COLUMNS:
        raise DataError(f"{where}: wanted the columns {', '.join(COLUMNS)}")
    if len(rows) > _MAX_ROWS:
        raise DataError(f"{where} has more than {_MAX_ROWS} rows")
    figures = []
    for number, row in enumerate(rows[1:], start=2):
        try:
            if len(row) != len(COLUMNS):
                raise ValueError(f"wanted {len(COLUMNS)} cells, got {len(row)}")
            agent, model, task, source = (check_words(row[k], COLUMNS[k], MAX_NAME) for k in (0, 1, 2, 6))
            mean, best, n_runs = float(row[4]), float(row[5]) if row[5] else None, int(row[3])
            if not (math.isfinite(mean) and math.isfinite(best or 0.0) and n_runs >= 1 and agent and task):
                raise ValueError("wanted names, finite numbers and at least one run")
        except (ValueError, UsageError) as error:
            raise DataError(f"{where}, line {number}: {error}") from None
        name = agent if model in ("", agent) else f"{agent}, {model}"
        figures.append(Figure(suite, task, name, n_runs, mean, best, source))
    return figures
