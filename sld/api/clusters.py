"""Many searches on a cluster: each table a task of its own, its run folder written here as it is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.api.discovery import discover, write_run
from sld.core.errors import SldError, UsageError
from sld.core.files import write_bytes_atomic

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.search.judging.cluster import Cluster
    from sld.search.outcome import Discovery

_LOCKED = ".lock"  # how the name of a file ends that says that somebody writes in a folder


@dataclass(frozen=True)
class Searched:
    """What became of the search of one table.

    Attributes:
        task: The table.
        folder: Its run folder.
        found: The outcome; None where the search failed.
        failed: Why it did, in one line.
    """

    task: Task
    folder: Path
    found: Discovery | None = None
    failed: str = ""


def discover_many(
    tasks: Sequence[Task], folders: Sequence[Path], cluster: Cluster, **search: Any
) -> Iterator[Searched]:
    """Search the law of each of several tasks, a worker for each; yield them as they are done.

    A worker that dies loses its search, which another one begins again; where the run folder holds an earlier search,
    it is taken up. With a budget in fits every law is the one that `discover` gives here, to the bit.

    Args:
        tasks: What is searched. Rows travel with them: workers need no disk in common.
        folders: Run folder of each, written here.
        cluster: Where, connected.
        **search: Keywords of `discover`; one of a process here, such as `progress`, cannot be among them.

    Raises:
        UsageError: Two searches have one folder.
        SldError: The cluster is gone; what is done is written.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("two of the tables would have one run folder: give them different names")
    jobs = [
        (replace(task, path=None), _files(folder), dict(search)) for task, folder in zip(tasks, folders, strict=True)
    ]
    for k, (found, files) in cluster.each(searched_there, jobs):
        task, folder = tasks[k], folders[k]
        if isinstance(found, str):
            yield Searched(task, folder, failed=found)
            continue
        _write(folder, files)
        if task.held_out() is not None:  # rows that no worker has seen
            write_run(found, task, folder)
        yield Searched(task, folder, found)


def searched_there(
    task: Task, files: Mapping[str, bytes], search: Mapping[str, Any]
) -> tuple[Discovery | str, dict[str, bytes]]:
    """Search one task on a worker, in a folder of its own; return the outcome, or why there is none, and the files."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="sld-run-") as place:
        folder = Path(place) / "run"
        _write(folder, files)
        try:
            found = discover(task, out=folder, workers=1, **search)
        except SldError as error:
            return str(error), {}
        return found, _files(folder)


def _files(folder: Path) -> dict[str, bytes]:
    there = [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(_LOCKED)]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in there}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(path, content)
    if not files:
        folder.mkdir(parents=True, exist_ok=True)
