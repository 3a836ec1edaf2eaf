"""Tasks: what stands for one, what is known of it, and which ones go by a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.core.errors import DataError, UsageError
from sld.data.card import Card

if TYPE_CHECKING:
    from sld.data.table import Table
    from sld.data.task import Task


def as_task(data: object, **columns: Any) -> Task:
    """Return the task that `data` stands for.

    Args:
        data: A Task or Table, the name of a bundled task, a task folder; or, with `target`, a bare table: a path (CSV,
            TSV, JSON, JSON lines, Parquet, xlsx, compressed text), a folder or pattern of such files, a DataFrame, a
            mapping of columns, a list of records. A table with a card beside it (`runs.toml`, as `sld collect` writes
            it) needs no roles, nor does a DataFrame of `sld.collect`.
        **columns: Roles of a bare table's columns, see `sld.api.options.ColumnOptions`.

    Raises:
        UsageError: There is no such task, or roles are given for a task that has a card, or missing for one without.
        DataError: The data are not as they must be.
    """
    from sld.data.table import Table
    from sld.data.task import Task, card_beside, described, load_task, task_folder, task_from

    given = [name for name, value in columns.items() if value not in (None, (), [], "", {}, False)]
    bare = not isinstance(data, Task | Table | str | Path) or is_table_file(data)
    if bare and "target" in given:
        return task_from(data, **columns)
    if given and not bare:
        if isinstance(data, str | Path):
            task_folder(data)  # what is no task at all is said to be none
        what = f"task {str(data)!r}" if isinstance(data, str | Path) else "this task"
        raise UsageError(f"{given[0]!r} is for bare tables; the rows and columns of {what} are described by its card")
    if isinstance(data, Task):
        return data
    if isinstance(data, Table):
        return Task(_card_of(data), data)
    if isinstance(data, str | Path) and not bare:
        return load_task(data)
    if isinstance(data, str | Path) and not given and (card := card_beside(data)) is not None:
        return load_task(card)
    if not given and (text := getattr(data, "attrs", {}).get("card")):
        return described(data, str(text))
    from sld.data.reading import column_names, name_of

    what = "this is a table" if name_of(data) == "the table" else f"{name_of(data)} is a table, not a task"
    there = ", ".join(column_names(data)[:20])
    raise UsageError(f"{what}: name the column to predict (--target) and the variables (--scale, ...); it has {there}")


@dataclass(frozen=True)
class Source:
    """What a task's rows came from, for messages: its name, and its columns that have no role."""

    name: str
    unnamed: tuple[str, ...] = ()

    @staticmethod
    def of(task: Task, data: object = None) -> Source:
        """Describe the source of a task; `data` is what `as_task` was given, if it is at hand."""
        from sld.data.reading import column_names
        from sld.data.task import Task

        if task.path is not None:
            return Source(f"task {task.name}")
        if data is None or isinstance(data, Task):
            # the card of a bare table says where its rows came from
            came_from = Path(task.card.provenance) if task.card.provenance else None
            data = came_from if came_from is not None and came_from.is_file() else task.train
        if isinstance(data, str | Path) and not Path(data).is_file():
            return Source(f"task {task.name}")
        named = set(task.card.columns)
        try:
            there = column_names(data)
        except DataError:  # a Table, or a file that has gone meanwhile
            there = ()
        name = Path(data).name if isinstance(data, str | Path) else "the table"
        return Source(name, tuple(c for c in there if c and c not in named))


def is_table_file(data: object) -> bool:
    """Return whether `data` names rows (a file, a folder or a pattern of files), rather than a task."""
    from sld.data.bundled import named_tasks
    from sld.data.reading import is_table

    return isinstance(data, str | Path) and str(data) not in named_tasks() and is_table(data)


def _card_of(table: Table) -> Card:
    return Card(
        name="table", group=table.group_column, variables=table.variables, targets=table.targets,
        run=table.run_column, weights=table.weights_column,
    )  # fmt: skip


def task_list() -> list[dict[str, Any]]:
    """Return a summary of every task that goes by a name, from the cards alone; the rows are counted, not read.

    A card that cannot be read gives a summary with the reason under `problem`, since it may be anybody's file.
    """
    from sld.data.bundled import named_tasks

    return [_summary_of(name, folder) for name, folder in named_tasks().items()]


def _summary_of(name: str, folder: Path) -> dict[str, Any]:
    from sld.data.bundled import ORIGIN_FILE, tasks_root

    origin = "bundled" if folder.parent == tasks_root() else "fetched" if (folder / ORIGIN_FILE).is_file() else "added"
    place = {"origin": origin, "path": str(folder)}
    try:
        return {**_summary(Card.read(folder), folder), "name": name, **place}
    except DataError as error:
        return {"name": name, "title": "", **place, "problem": str(error)}


def _summary(card: Card, folder: Path | None) -> dict[str, Any]:
    def count(file: str | None) -> int | None:
        if folder is None or file is None:
            return None
        try:
            lines = (folder / file).read_bytes().splitlines()
        except OSError:
            return None
        return sum(1 for line in lines if line.strip()) - 1

    return {
        "name": card.name,
        "title": card.title,
        "targets": [t.column for t in card.targets],
        "variables": [v.column for v in card.variables],
        "group": card.group,
        "n_rows": count(card.train_file),
        "n_held_out_rows": count(card.held_out_file),
    }


def task_details(data: object) -> dict[str, Any]:
    """Return what there is to know of a task: its card, and counts and ranges of its training rows."""
    import numpy as np

    task = as_task(data)
    table, held_out = task.train, task.held_out()
    names = [*(v.column for v in table.variables), *(t.column for t in table.targets)]
    ranges = {
        name: {"min": float(values.min()), "max": float(values.max()), "n_values": len(np.unique(values))}
        for name, values in ((name, table.column(name)) for name in names)
    }
    sizes = np.bincount(table.group_index, minlength=len(table.groups)).tolist()
    return {
        "card": task.card.to_dict(),
        "n_rows": table.n_rows,
        "n_held_out_rows": None if held_out is None else held_out.n_rows,
        "groups": dict(zip(table.groups, sizes, strict=True)) if table.group_column is not None else None,
        "ranges": ranges,
        "notes": list(table.notes),
        "path": None if task.path is None else str(task.path),
    }


def check(path: str | Path) -> list[str]:
    """Return what is wrong or doubtful with a task folder, or not plausible in a table of runs, in sentences.

    Raises:
        UsageError: There is no task or table there at all.
        DataError: The table cannot be read.
    """
    if not is_table_file(path):
        from sld.data.task import check_task

        return check_task(path)
    from sld.data.plausibility import plausibility_lines

    return list(plausibility_lines(path))


def known_tasks(more: Sequence[str | Path] = ()) -> list[Task]:
    """Return the tasks that go by a name and have held-out rows, and those of the folders in `more`.

    A named task that cannot be read is left out: entries for it are then of an unknown task.
    """
    from sld.data.bundled import named_tasks
    from sld.data.task import load_task

    tasks = {}
    for name in named_tasks():
        try:
            task = load_task(name)
        except DataError:
            continue
        if task.card.held_out_file is not None:
            tasks[task.name] = task
    for folder in more:
        task = load_task(folder)
        tasks[task.name] = task
    return list(tasks.values())
