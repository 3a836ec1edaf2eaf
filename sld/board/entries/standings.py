"""Who stands where: rows per task and over all tasks, as pure data for the terminal, the pages and the JSON.

Only what we computed ourselves has a rank. Figures that others report stand below, marked, in an order of their own.

Conventions: a row's R² is as computed, without limit below; in means over tasks each task's R² is clipped to at least
-1, as the published benchmark does, so that one failure does not decide everything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sld.board.entries.entry import Entry, slug_of, task_digest
from sld.board.entries.store import Board
from sld.core.errors import DataError
from sld.data.bundled import bundled_tasks

if TYPE_CHECKING:
    from sld.board.entries.reported import Figure
    from sld.data.card import Card
    from sld.data.task import Task

REPORTED = "reported, not verified here"
BEST_PUBLISHED = "published laws of the card"
FLOOR = -1.0  # of a task's R² in means over tasks; the benchmark clips there


@dataclass(frozen=True)
class Row:
    """One line of a task's table.

    Attributes:
        rank: Place among the verified entries; None for figures that others report.
        name: Who or what; free text, as are author, url and note: escape it.
        kind: "formula", "program" or "reported".
        label: "refitted", "as published", "as given", "program" or "reported, not verified here".
        r2_low: Lower end of the 90 % interval over held-out rows; `r2_high` the upper one.
        source: Of reported figures.
        entry: None for reported figures.
        slug: Unique within the task, safe in file names and URLs.
    """

    rank: int | None
    name: str
    author: str
    url: str
    note: str
    kind: str
    label: str
    r2: float | None
    r2_low: float | None
    r2_high: float | None
    r2_within: float | None
    nmse: float | None
    nmae: float | None
    are: float | None
    complexity: int | None
    n_constants: int | None
    source: str
    entry: Entry | None
    slug: str


@dataclass(frozen=True)
class TaskStandings:
    """A task and its rows: ranked ones first, best R² first, then reported ones.

    Attributes:
        card: None for a task that is known from entries or reported figures only; so is `task`.
        suite: "bundled", "sldbench" or "" for others; means are taken within a suite.
    """

    name: str
    title: str
    version: int
    card: Card | None
    task: Task | None
    rows: tuple[Row, ...]
    suite: str = ""


@dataclass(frozen=True)
class OverallRow:
    """One name over the tasks of a suite: mean R² over the tasks it has, each clipped at -1."""

    name: str
    label: str
    mean_r2: float
    n_tasks: int
    per_task: Mapping[str, float | None]
    suite: str = ""


@dataclass(frozen=True)
class Standings:
    """All tables.

    Attributes:
        problems: Files that are left out, and why, a sentence each.
    """

    tasks: tuple[TaskStandings, ...]
    overall: tuple[OverallRow, ...]
    problems: tuple[str, ...] = ()


def standings(board: Board, tasks: Sequence[Task]) -> Standings:
    """Return the tables of a board for these tasks, and for those that are known from figures or entries only.

    Scores are those that the entries record; `verify` says whether they are right. Entries of another version of a
    task, and formulas that cannot be read for it, are left out and named.
    """
    from sld.board.entries.reported import Figure, reported

    known = {task.name: task for task in tasks}
    problems: list[str] = []
    figures: dict[tuple[str, str], list[Figure]] = {}
    for figure in reported(board):
        if isinstance(figure, Figure):
            figures.setdefault((figure.suite, figure.task), []).append(figure)
        else:
            problems.append(str(figure))
    entries: dict[str, list[Entry]] = {}
    for path, entry in board.entries():
        if not isinstance(entry, Entry):
            problems.append(str(entry))
        elif trouble := _trouble(entry, known.get(entry.task["name"])):
            problems.append(f"{path.parent.name}/{path.name}: {trouble}")
        else:
            entries.setdefault(entry.task["name"], []).append(entry)
    suites = {task_of_suite(suite, task, known): suite for suite, task in figures}
    by_task = {task_of_suite(suite, task, known): found for (suite, task), found in figures.items()}
    bundled = set(bundled_tasks())
    tables = []
    for name in dict.fromkeys([*known, *entries, *by_task]):
        task = known.get(name)
        own = entries.get(name, [])
        rows = (*_ranked(own), *_reported_rows(by_task.get(name, [])))
        version = task.card.version if task is not None else max((e.task["version"] for e in own), default=1)
        suite = suites.get(name, "bundled" if name in bundled else "")
        card = None if task is None else task.card
        title = _title_in_suite(name, suite) if card is None else card.title
        tables.append(TaskStandings(name, title, version, card, task, rows, suite))
    return Standings(tuple(tables), tuple(_overall(tables)), tuple(problems))


def task_of_suite(suite: str, task: str, known: Collection[str]) -> str:
    """Return the name under which a suite's task is known here; with the suite's name before it if not by itself."""
    full = f"{suite}_{task}"
    return task if task in known and full not in known else full


def _title_in_suite(name: str, suite: str) -> str:
    """Return the title of a suite's task whose rows are not here, from the card that we ship."""
    from sld.board.suites.fetch import load_suite, suites

    cards = [task.card for task in load_suite(suite).tasks] if suite in suites() else []
    return next((card.title for card in cards if card.name == name), "")


def _trouble(entry: Entry, task: Task | None) -> str:
    if task is None:
        return ""
    if entry.task["version"] != task.card.version:
        return f"scored on version {entry.task['version']} of the task, which now has version {task.card.version}"
    if entry.task["digest"] != task_digest(task):
        return f"scored on other rows than those of task {task.name!r} here"
    try:
        if entry.kind == "formula":
            entry.law(task)
    except DataError as error:
        return str(error)
    return ""


def _ranked(entries: Sequence[Entry]) -> list[Row]:
    # equal scores: the shorter law first, and then always in the same order
    def order(entry: Entry) -> tuple[float, int, str]:
        return -float(entry.scores["r2"]), entry.complexity or 0, entry.hash

    rows = []
    for place, entry in enumerate(sorted(entries, key=order), start=1):
        scores = entry.scores
        low, high = scores["r2_interval"] or (None, None)
        rows.append(
            Row(
                rank=place,
                name=entry.name,
                author=entry.author,
                url=entry.url,
                note=entry.note,
                kind=entry.kind,
                label=entry.label,
                r2=scores["r2"],
                r2_low=low,
                r2_high=high,
                r2_within=scores["r2_within"],
                nmse=scores["nmse"],
                nmae=scores["nmae"],
                are=scores["are"],
                complexity=entry.complexity,
                n_constants=entry.n_constants,
                source="",
                entry=entry,
                slug=entry.file_stem,
            )
        )
    return rows


def _reported_rows(figures: Sequence[Figure]) -> list[Row]:
    rows: list[Row] = []
    for figure in sorted(figures, key=lambda f: (-f.mean_r2, f.name)):
        slug = slug_of(f"reported {figure.name}")
        taken = sum(row.slug == slug or row.slug.startswith(f"{slug}-") for row in rows)
        rows.append(
            Row(
                rank=None,
                name=figure.name,
                author="",
                url="",
                note=figure.note,
                kind="reported",
                label=REPORTED,
                r2=figure.mean_r2,
                r2_low=None,
                r2_high=None,
                r2_within=None,
                nmse=None,
                nmae=None,
                are=None,
                complexity=None,
                n_constants=None,
                source=figure.source,
                entry=None,
                slug=f"{slug}-{taken + 1}" if taken else slug,
            )
        )
    return rows


def _overall(tables: Sequence[TaskStandings]) -> list[OverallRow]:
    rows = []
    for suite in dict.fromkeys(table.suite for table in tables):
        of_suite = [table for table in tables if table.suite == suite]
        cells: dict[tuple[str, str], dict[str, list[float]]] = {}
        for table in of_suite:
            for row in table.rows:
                if row.r2 is None:
                    continue
                cells.setdefault((row.name, row.label), {}).setdefault(table.name, []).append(max(row.r2, FLOOR))
            published = [r for r in table.rows if r.entry is not None and is_row_zero(r.entry)]
            if published:
                best = max(max(float(r.r2 or 0.0), FLOOR) for r in published)
                cells.setdefault((BEST_PUBLISHED, "best of each task"), {})[table.name] = [best]
        found = []
        for (name, label), scores in cells.items():
            if len(scores) < min(2, len(of_suite)):
                continue
            # several entries of one name count with their mean: trying often earns nothing
            means = {task: sum(values) / len(values) for task, values in scores.items()}
            per_task = {table.name: means.get(table.name) for table in of_suite}
            found.append(OverallRow(name, label, sum(means.values()) / len(means), len(means), per_task, suite))
        # means over different numbers of tasks do not compare
        rows += sorted(found, key=lambda row: (row.label == REPORTED, -row.n_tasks, -row.mean_r2, row.name))
    return rows


def is_row_zero(entry: Entry) -> bool:
    """Whether an entry is a law of the task's own card."""
    return entry.provenance.get("origin") == "card"
