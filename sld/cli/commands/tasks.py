"""`sld tasks`: list, show and check tasks, and fetch those of a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sld.cli import options, output
from sld.cli.base import PLAIN, Group, Json, command, examples, json_wanted, tasks_folder
from sld.core.errors import UsageError

tasks_app = typer.Typer(cls=Group, **PLAIN)


def register(app: typer.Typer) -> None:
    """Add the commands to the others."""
    app.add_typer(tasks_app, name="tasks")


@tasks_app.callback(
    invoke_without_command=True,
    epilog=examples(
        "sld tasks",
        "sld tasks show nanolm_chinchilla",
        "sld tasks check my_task/",
        "sld tasks fetch sldbench",
    ),
)
def tasks(ctx: typer.Context, json: Json = False) -> None:
    """Which tasks (tables of runs with a card) are there, and are they sound?

    Lists them; the commands show one, check one, or download those of a benchmark.
    """
    ctx.obj = json
    if ctx.invoked_subcommand is None:
        from sld import api
        from sld.cli.show import tasks as show

        show.tasks(api.task_list(), json)


@command(tasks_app, "show", "sld tasks show nanolm_chinchilla", "sld tasks show my_task/ --json")
def tasks_show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Task of `sld tasks`, or a task folder.")],
    json: Json = False,
) -> None:
    """What is in a task: which columns, rows, published laws and defects?"""
    from sld import api
    from sld.cli.show import tasks as show

    show.task(api.task_details(name), json_wanted(ctx, json))


@command(tasks_app, "check", "sld tasks check my_task/", "sld tasks check my_task/ --json", "sld tasks check runs.csv")
def tasks_check(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Task folder, its task.toml, or a table of runs.")],
    json: Json = False,
) -> None:
    """Is anything wrong with a task folder, or with a table of runs?

    The exit code is 0 when nothing is wrong, and 1 with a line per problem.

    Of a table of runs it is checked whether its numbers can be: compute against size and tokens, counters, units, runs
    that occur twice. Columns are known by their names.
    """
    from sld import api
    from sld.cli.show import tasks as show

    problems = api.check(path)
    show.problems(path, problems, json_wanted(ctx, json))
    if problems:
        raise typer.Exit(1)


@command(
    tasks_app,
    "fetch",
    "sld tasks fetch sldbench",
    "sld tasks fetch sldbench --from sldbench_copy/",
    "sld tasks fetch sldbench --revision refs/convert/parquet --to my_tasks/",
)
def tasks_fetch(
    ctx: typer.Context,
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="Name of the benchmark: sldbench.")],
    to: Annotated[
        Path | None,
        options.out_folder("--to", metavar="DIR", text="Where the task folders go; below $SLD_DATA if not given."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="A copy of the data set, instead of the hub.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="REV", help="Branch, tag or commit of the data set.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write every task anew, whatever is in its folder.")] = False,
    json: Json = False,
) -> None:
    """How do I get the tasks of a benchmark?

    Downloads them from the Hugging Face hub. They go by their names afterwards. What is there already is left alone, so
    the same command resumes and updates. HF_ENDPOINT names a mirror, HF_TOKEN logs in, HF_HOME moves the cache of the
    hub's client.
    """
    import os

    from sld.board.suites.fetch import Origin, fetch
    from sld.cli.show import tasks as show

    folder = to or tasks_folder()
    if folder is None:
        raise UsageError("there is no home folder to put tasks in; say where with --to DIR, or set SLD_DATA")
    cache = os.environ.get("HF_HUB_CACHE") or (os.environ.get("HF_HOME") and os.path.join(os.environ["HF_HOME"], "hub"))
    origin = Origin(
        folder=source,
        endpoint=os.environ.get("HF_ENDPOINT"),
        revision=revision,
        token=os.environ.get("HF_TOKEN") or None,
        cache=cache or None,
    )
    line = output.ProgressLine("")
    try:
        fetched = fetch(suite, to=folder, origin=origin, force=force, progress=line.show)
    finally:
        line.close()
    show.fetched(fetched, suite, folder, folder == tasks_folder(), json_wanted(ctx, json))
