"""Tasks: a card and its rows. The only reader of task folders; held-out rows are read when asked for, not before."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sld.core.arguments import checked
from sld.core.errors import DataError, UsageError, suggest
from sld.data.bundled import SUITES, bundled_tasks, named_tasks, tasks_root
from sld.data.card import CARD_FILE, Card, PublishedLaw, Role, Target, Variable
from sld.data.formats.source import Source
from sld.data.plausibility import plausibility
from sld.data.points_file import Without
from sld.data.reading import TYPES, is_table, name_of, prepared, stem_of
from sld.data.table import Array, Declared, Table, constant_columns, outside_bounds, read_points, read_table, table_from

__all__ = [
    "Array",
    "Card",
    "PublishedLaw",
    "Role",
    "Table",
    "Target",
    "Task",
    "Variable",
    "bundled_tasks",
    "check_task",
    "load_task",
    "read_points",
    "table_from",
    "task_from",
    "tasks_root",
]


@dataclass(frozen=True, eq=False)
class Task:
    """A card with its training rows.

    Attributes:
        card: What is known of the table.
        train: The rows that laws are fitted to.
        path: The task's folder, if it came from one.
        options: How a bare table was read beyond the roles of its columns, as words of the command line.
    """

    card: Card
    train: Table
    path: Path | None = None
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    def held_out(self) -> Table | None:
        """Read the held-out rows, for scoring and plots only; None when the task has none."""
        if self.path is None or self.card.held_out_file is None:
            return None
        return _read(self.card, self.path, self.card.held_out_file, lenient=True)

    def held_out_points(self) -> Source | None:
        """Return the held-out rows without what was measured there, to be predicted; None when the task has none."""
        if self.path is None or self.card.held_out_file is None:
            return None
        rows = prepared(self.path / self.card.held_out_file, drop=self.card.drop)
        return Without(rows, {t.column for t in self.card.targets})


@checked()
def load_task(name_or_path: str | Path) -> Task:
    """Load a bundled or fetched task by name, or any task by its folder or `task.toml`.

    >>> task = load_task("nanolm_chinchilla")
    >>> task.train.symbols, [target.column for target in task.card.targets]
    (('N', 'D'), ['loss'])

    Raises:
        UsageError: There is no such task; the message suggests a name.
        DataError: The card or the training rows are not as they must be.
    """
    path = task_folder(name_or_path)
    card = Card.read(path)
    folder = path if path.is_dir() else path.parent
    train = _read(card, folder, card.train_file, fitted=True)
    remarks = (*constant_columns(train), *outside_bounds(train))
    return Task(card, replace(train, notes=(*train.notes, *remarks)), folder)


def task_folder(name_or_path: str | Path) -> Path:
    """Return the folder (or card) that a name or path stands for; raises UsageError."""
    text, path = str(name_or_path), Path(name_or_path)
    known = named_tasks()
    if isinstance(name_or_path, str) and text in known:
        return known[text]
    if path.is_dir():
        if not (path / CARD_FILE).is_file():
            wanted = f"a task folder holds {CARD_FILE} and train.csv"
            raise DataError(f"folder {text!r} has no {CARD_FILE}; {wanted}, a folder of tables {TYPES}")
        return path
    if path.suffix == ".toml":
        return path
    if path.is_file() and not is_table(path):
        raise UsageError(f"{path.name}: cannot read {path.suffix} files; a table is {TYPES}")
    if is_table(path) and path.exists():
        way_out = "name its columns (e.g. --target loss --scale N,D) or write a task.toml beside it"
        raise UsageError(f"{path.name} is a table, not a task: {way_out}")
    if path.suffix or (len(path.parts) > 1 and text.partition("/")[0] not in SUITES):
        raise UsageError(f"no file or task folder {text!r}")
    raise UsageError(_no_task(text, known))


def _no_task(name: str, known: Iterable[str]) -> str:
    names = list(known)
    for suite in SUITES:
        if suite in name.casefold() and not any(other.startswith(f"{suite}_") for other in names):
            return f"no task {name!r}; `sld tasks fetch {suite}` downloads the tasks of {suite}"
    listing = f"sld tasks lists all {len(names)}"
    # the short name, or the suite as if it were a folder
    ends = [known for known in names if known.endswith(f"_{name.casefold()}") or known == name.replace("/", "_")]
    if ends:
        return f"no task {name!r}; did you mean {' or '.join(repr(end) for end in ends[:3])}? ({listing})"
    return suggest(name, names, kind="task", listing=listing)


def _read(card: Card, folder: Path, file: str, *, lenient: bool = False, fitted: bool = False) -> Table:
    """Read rows; weights, standard errors and runs only of those that laws are fitted to."""
    where = f"{folder.name}/{file}" if folder.name else file
    run, weights = (card.run, card.weights) if fitted else (None, None)
    declared = Declared(card.variables, card.targets, card.group, run, weights)
    rows = prepared(folder / file, drop=card.drop) if card.drop else folder / file
    return read_table(rows, declared, where=where, lenient=lenient, fitted=fitted)


def described(rows: object, card: str) -> Task:
    """Return the task of rows in memory that come with the text of their card; raises DataError.

    That is what `sld.collect` returns: a DataFrame with the card in its `attrs`.
    """
    import tomllib

    try:
        read = Card.from_dict(tomllib.loads(card), "the card of the table")
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"the card of the table is not valid TOML: {error}") from None
    kept = prepared(rows, drop=read.drop) if read.drop else rows
    declared = Declared(read.variables, read.targets, read.group, read.run, read.weights)
    return Task(read, read_table(kept, declared, fitted=True))


def card_beside(table: str | Path) -> Path | None:
    """Return the card that stands beside a table and is of it: `runs.toml` beside `runs.csv`, naming it as its rows.

    That is what `sld collect` writes. Another file of that name, a settings file say, is no card of the table.
    """
    import tomllib

    path = Path(table)
    card = path.with_name(f"{path.name.partition('.')[0]}.toml") if path.name.partition(".")[0] else path
    try:
        files = tomllib.loads(card.read_text(encoding="utf-8-sig")).get("files")
    except (OSError, ValueError, RecursionError):
        return None
    return card if isinstance(files, dict) and files.get("train") == path.name else None


@checked()
def task_from(data: object, *, name: str | None = None, **columns: Any) -> Task:
    """Wrap a bare table (see `table_from` for `columns`) in a task with a minimal card and no held-out rows.

    >>> task = task_from({"N": [1e6, 1e7], "loss": [3.9, 3.1]}, target="loss", scale="N", name="two_runs")
    >>> task.name, task.train.n_rows, task.held_out() is None
    ('two_runs', 2, True)
    """
    train = table_from(data, **columns)
    impossible = tuple(finding.text for finding in plausibility(train) if finding.grade == "impossible")
    train = replace(train, notes=(*train.notes, *impossible)) if impossible else train
    if name is None:
        name = re.sub(r"[^\w.-]+", "_", stem_of(data)).strip("._") or "table"
    # the card says where the rows came from; groups and roles are as the caller named them
    provenance = str(data) if isinstance(data, str | Path) else name_of(data).replace("the table", "a table in memory")
    card = Card(
        name=name,
        row="one run",
        provenance=provenance,
        group=train.group_column,
        variables=train.variables,
        targets=train.targets,
        train_file=name_of(data) if isinstance(data, str | Path | Source) else "train.csv",
        run=train.run_column,
        weights=train.weights_column,
    )
    return Task(card, train, options=_reading_options(**columns))


def _reading_options(
    missing: str = "error", drop: str | Iterable[str] = (), melt: bool = False, **_: Any
) -> tuple[str, ...]:
    filters = [drop] if isinstance(drop, str) else drop
    words = [] if missing == "error" else ["--missing", missing]
    words += [word for text in filters for word in ("--drop", text)]
    return (*words, *(["--melt"] if melt else []))


def check_task(path: str | Path) -> list[str]:
    """Return what is wrong or doubtful with a task, in sentences; empty when nothing is.

    Raises:
        UsageError: There is no task there at all.
    """
    folder = task_folder(path)
    try:
        task = load_task(folder)
    except DataError as error:
        return [str(error)]
    card, train = task.card, task.train
    assert task.path is not None
    problems = list(_card_problems(card, task.path))
    problems += [f"{card.train_file}: {s}" for s in constant_columns(train)]
    problems += [f"{card.train_file}: {s}" for s in outside_bounds(train)]
    problems += [f"{card.train_file}: {found}" for found in plausibility(train) if found.grade == "impossible"]
    if card.held_out_file is None:
        return [*problems, "no held-out rows: laws can be discovered but not scored (files.held_out)"]
    try:
        held_out = task.held_out()
        assert held_out is not None
        _read(card, task.path, card.held_out_file)
    except DataError as error:
        return [*problems, str(error)]
    return problems + [f"{card.held_out_file}: {s}" for s in _held_out_problems(train, held_out)]


def _card_problems(card: Card, folder: Path) -> list[str]:
    problems = []
    if card.name != folder.resolve().name:
        problems.append(f"the card's name {card.name!r} differs from the folder's, {folder.resolve().name!r}")
    for key in ("title", "row", "licence", "provenance"):
        if not getattr(card, key):
            problems.append(f"the card says nothing under {key!r}")
    if card.held_out_file is not None and not card.extrapolation:
        problems.append("the card does not say how the held-out rows were chosen (extrapolation)")
    marked, scales = any(v.extrapolate for v in card.variables), any(v.role == "scale" for v in card.variables)
    if card.held_out_file is not None and scales and not marked:
        problems.append("no variable is marked extrapolate = true")
    return problems + [problem for law in card.laws for problem in _law_problems(card, law)]


def _law_problems(card: Card, law: PublishedLaw) -> list[str]:
    problems = []
    expressions = card.expressions(law)
    used = {name for e in expressions.values() for name in e.constants}
    if missing := [c for c in law.constants if c not in used]:
        problems.append(f"law {law.name!r} lists constants its formula lacks: {', '.join(missing)}")
    if unlisted := sorted(used - set(law.constants)):
        problems.append(f"law {law.name!r} has names that are neither variables nor listed: {', '.join(unlisted)}")
    n = max(len(e.constants) for e in expressions.values())
    if n > card.max_constants:
        problems.append(f"law {law.name!r} has {n} constants, over max_constants = {card.max_constants}")
    for name in sorted(_value_names(law.values) - used):
        problems.append(f"law {law.name!r} gives a value for {name!r}, which its formula lacks")
    return problems


def _value_names(values: Any) -> set[str]:
    if not isinstance(values, dict):
        return set()
    leaves = {k for k, v in values.items() if not isinstance(v, dict)}
    return leaves.union(*(_value_names(v) for v in values.values()))


def _held_out_problems(train: Table, held_out: Table) -> list[str]:
    problems = list(outside_bounds(held_out))
    if unseen := [g for g in held_out.groups if g not in train.groups]:
        problems.append(f"groups without training rows: {', '.join(unseen[:5])}")
    known = {(train.groups[g], *row) for g, row in zip(train.group_index, train.X.tolist(), strict=True)}
    shared = sum(
        (held_out.groups[g], *row) in known for g, row in zip(held_out.group_index, held_out.X.tolist(), strict=True)
    )
    if shared:
        problems.append(f"{shared} of {held_out.n_rows} rows stand at a point that has training rows")
    marked = [i for i, v in enumerate(train.variables) if v.extrapolate]
    if marked and not _goes_beyond(train.X[:, marked], held_out.X[:, marked]):
        names = ", ".join(train.variables[i].column for i in marked)
        problems.append(f"no row lies beyond the training range of the variables marked extrapolate ({names})")
    return problems


def _goes_beyond(train: Array, held_out: Array) -> bool:
    """Tell whether a held-out row leaves the training range of a column, or of the columns' product (compute)."""
    inside = np.column_stack([train, train.prod(axis=1)])
    asked = np.column_stack([held_out, held_out.prod(axis=1)])
    return bool(((asked < inside.min(axis=0)) | (asked > inside.max(axis=0))).any())
