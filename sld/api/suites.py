"""All tasks of a suite searched and scored, here or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.api.clusters import Searched, discover_many
from sld.api.discovery import discover
from sld.core.errors import SldError, UsageError, suggest

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.search.judging.cluster import Cluster

BUNDLED = "bundled"  # the suite of the tasks that come with sld


def suite_tasks(suite: str) -> list[Task]:
    """Return the tasks of a suite, in the order of their names.

    Args:
        suite: "bundled"; a suite that `sld tasks fetch` downloads, of which those count that are here; or a folder of
            task folders.

    Raises:
        UsageError: There is no such suite, or none of its tasks is here.
        DataError: A task is not as it must be.
    """
    from sld.data.bundled import SUITES, bundled_tasks, named_tasks
    from sld.data.card import CARD_FILE
    from sld.data.task import load_task

    if suite == BUNDLED:
        return [load_task(name) for name in bundled_tasks()]
    if suite in SUITES:
        names = [name for name in sorted(named_tasks()) if name.startswith(f"{suite}_")]
        if not names:
            raise UsageError(f"no task of {suite} is here; `sld tasks fetch {suite}` downloads them")
        return [load_task(name) for name in names]
    if not Path(suite).is_dir():
        known = suggest(suite, (BUNDLED, *SUITES), kind="suite")
        raise UsageError(f"{known}; or name a folder of task folders")
    cards = sorted(Path(suite).glob(f"*/{CARD_FILE}"))
    if not cards:
        raise UsageError(f"no task in {suite}: wanted task folders, each with a {CARD_FILE}")
    return [load_task(card.parent) for card in cards]


def search_suite(
    tasks: list[Task], out: Path, cluster: Cluster | None, workers: int, **search: Any
) -> Iterator[Searched]:
    """Search every task of a suite; yield them as they are done, each with its run folder below `out`.

    With a budget in fits the laws are the same here and on a cluster, to the bit.

    Args:
        tasks: What is searched.
        out: Where the run folders are written.
        cluster: Where whole searches are made, connected; here, one after the other, if it is None.
        workers: Processes of a search that is made here.
        **search: Keywords of `discover`.

    Raises:
        UsageError: At once: a budget, a number of workers or a seed that cannot be, or two tasks of one name.
        SldError: The cluster is gone; what is done is written.
    """
    from sld.search.budget import Budget
    from sld.search.discovery import SearchSettings
    from sld.search.run_folder import default_folder

    if (budget := search.get("budget")) is not None:
        Budget.parse(budget)
    SearchSettings(seed=int(search["seed"]), workers=workers).check()
    folders = [default_folder(out, task.name, task.train, int(search["seed"])) for task in tasks]
    if len(set(folders)) < len(folders):
        raise UsageError("two of the tasks would have one run folder: give them different names")
    if cluster is not None:
        return discover_many(tasks, folders, cluster, **search)
    return _searched_here(tasks, folders, workers, search)


def _searched_here(tasks: list[Task], folders: list[Path], workers: int, search: dict[str, Any]) -> Iterator[Searched]:
    for task, folder in zip(tasks, folders, strict=True):
        try:
            yield Searched(task, folder, discover(task, out=folder, workers=workers, **search))
        except SldError as error:
            yield Searched(task, folder, failed=str(error))
