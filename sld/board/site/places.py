"""Tasks and laws with the pages they have: file names, rows, and what is drawn."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from sld.analysis.pages.figures import law_figures
from sld.analysis.pages.html import Html
from sld.board.entries.standings import Row, TaskStandings
from sld.core.errors import SldError
from sld.data.table import Table
from sld.laws.law import Law

_SAFE_STEM = re.compile(r"[a-z0-9][a-z0-9_-]{0,90}")


@dataclass(frozen=True)
class Placed:
    """A row with the page of its law and what is drawn there."""

    row: Row
    stem: str
    law: Law | None
    figures: tuple[Html, ...]
    trouble: str = ""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.row.name or "a law without a name"

    @property
    def failed(self) -> bool:
        """Whether a prediction for the held-out rows is no number."""
        return self.row.entry is not None and bool(self.row.entry.scores.get("failed"))


@dataclass(frozen=True)
class Placement:
    """A task with its page and the rows it has here."""

    table: TaskStandings
    stem: str
    held_out: Table | None
    verified: tuple[Placed, ...]
    reported: tuple[Row, ...]

    @property
    def title(self) -> str:
        """What it is called."""
        return self.table.title or self.table.name

    @property
    def grouped(self) -> bool:
        """Whether its rows are in groups with constants of their own."""
        return self.table.task is not None and len(self.table.task.train.groups) > 1


def place_of(table: TaskStandings, taken: set[str]) -> Placement:
    """Return a task with its page, its laws and their charts; `taken` are the file names already given."""
    held_out, trouble = None, ""
    if table.task is not None:
        try:
            held_out = table.task.held_out()
        except SldError as error:
            trouble = str(error)
    used: set[str] = set()
    verified = [_placed(row, table, held_out, used, trouble) for row in table.rows if row.entry is not None]
    reported = tuple(row for row in table.rows if row.entry is None)
    return Placement(table, stem_of(table.name, taken), held_out, tuple(verified), reported)


def _placed(row: Row, table: TaskStandings, held_out: Table | None, used: set[str], trouble: str) -> Placed:
    stem = stem_of(row.slug, used)
    if row.entry is None or row.kind != "formula" or table.task is None:
        return Placed(row, stem, None, ())
    try:
        law = row.entry.law(table.task)
        return Placed(row, stem, law, law_figures(law, table.task.train, held_out, row.name, stem), trouble)
    except SldError as error:
        return Placed(row, stem, None, (), str(error))


def stem_of(name: str, taken: set[str]) -> str:
    """Return a file name without suffix for a name, safe in every file system and URL, and not yet in `taken`."""
    stem = name
    if not _SAFE_STEM.fullmatch(name) or name in taken:
        plain = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[:60]
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        stem = next(s for n in range(8, 65) if (s := f"{plain}-{digest[:n]}".lstrip("-")) not in taken)
    taken.add(stem)
    return stem
