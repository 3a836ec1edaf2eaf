"""`sld bench`: all tasks of a suite searched and scored."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from sld.cli import options, output
from sld.cli.base import Json, command

RUNS_FOLDER = "sld-runs"  # below it, a folder per task, as of `sld discover`
DEFAULT_BUDGET = "30s"  # in the help; the search holds the number


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "bench",
        "sld bench bundled --budget 20000fits",
        "sld bench sldbench --budget 5min --json",
        "sld bench my_tasks/ --budget 200000fits --executor dask://127.0.0.1:8786",
    )(bench)


def bench(
    suite: Annotated[
        str,
        typer.Argument(
            metavar="SUITE",
            help="bundled (the tasks that come with sld), one of `sld tasks fetch`, or a folder of task folders.",
        ),
    ],
    seed: options.Seed = 0,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME|FITS",
            help=f"Of each search: 60s, 5min, or 20000fits (repeatable to the bit); {DEFAULT_BUDGET}.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes to fit with.")] = 2,
    executor: Annotated[
        str | None,
        typer.Option(
            "--executor",
            metavar="dask://HOST:PORT|FILE",
            help="Search on a cluster of Dask, a task a worker; dask starts one here, and a file such as "
            "dask-slurm.yaml says how a queue of jobs starts one.",
        ),
    ] = None,
    out: Annotated[
        Path, options.out_folder("--out", metavar="DIR", text="Where the run folders are written, one per task.")
    ] = Path(RUNS_FOLDER),
    json: Json = False,
) -> None:
    """How good are the laws that a search finds for every task of a suite?

    Each task is searched, and its law scored on the held-out rows, which no search sees. The same command takes up
    searches that were ended, as `sld discover` does.
    """
    from sld import api
    from sld.cli.show import search as show
    from sld.core.errors import SldError
    from sld.search.judging.cluster import Cluster

    tasks = api.suite_tasks(suite)
    done: list[api.Searched] = []
    place = None if executor is None else Cluster(executor, workers)
    if place is not None and place.asks:
        output.remark(place.asks)
    with nullcontext() if place is None else place as cluster:
        searches = api.search_suite(tasks, out, cluster, workers, seed=seed, budget=budget)
        n, by = (workers, "process") if cluster is None else (cluster.n_workers(), "worker of the cluster")
        by = by if n == 1 else by.replace("process", "processes").replace("worker", "workers")
        what = "the only task" if len(tasks) == 1 else f"the {len(tasks)} tasks"
        output.remark(f"searching {what} of {suite} with {n} {by}; writing to {out}")
        for one in searches:
            done.append(one)
            output.remark(f"{len(done)} of {len(tasks)}: {one.task.name}")
    names = [task.name for task in tasks]
    done.sort(key=lambda one: names.index(one.task.name))
    show.benchmark(
        suite,
        [(one, None if one.found is None else api.held_out_scores(one.found.law, one.task)) for one in done],
        json,
    )
    if failed := [one for one in done if one.found is None]:
        raise SldError(f"{len(failed)} of {len(done)} searches failed; {failed[0].task.name}: {failed[0].failed}")
