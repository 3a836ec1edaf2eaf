"""`sld downstream`: from loss to benchmark score."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sld.cli import options
from sld.cli.base import Json, command


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "downstream",
        "sld downstream models.csv --scale N,D --through loss --metric hellaswag,arc --at N=7e10,D=1.4e12",
        "sld downstream models.csv --scale C --metric acc --task task --floor 0.25 --at C=1e24",
        "sld downstream models.csv --scale N --metric passed --trials tried --at N=2.4e9",
    )(downstream)


def downstream(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="A row for each model, or each model and task; - for a pipe.")
    ],
    scale: Annotated[options.Names, typer.Option("--scale", metavar="COLS", help="One or two columns, e.g. N,D or C.")],
    metric: Annotated[options.Names, typer.Option("--metric", metavar="COLS", help="Column(s) of the scores.")],
    at: options.At,
    through: Annotated[
        str | None, typer.Option("--through", metavar="COL", help="Column of the loss, for laws in two stages.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="COL", help="Column of the task.")] = None,
    trials: Annotated[
        str | None,
        typer.Option(
            "--trials", metavar="COL", help="The metric counts right answers out of so many; 0 counts as well."
        ),
    ] = None,
    chain: Annotated[
        options.Names,
        typer.Option(
            "--chain", metavar="COLS", help="Say how well each of these follows compute, e.g. loglik,prob,acc."
        ),
    ] = None,
    floor: Annotated[
        float | None, typer.Option("--floor", metavar="X", help="Score of a model that knows nothing (chance).")
    ] = None,
    ceiling: Annotated[
        float | None, typer.Option("--ceiling", metavar="X", help="Best score that is possible.")
    ] = None,
    better: Annotated[str, typer.Option("--better", metavar="higher|lower", help="Which score is better.")] = "higher",
    level: options.Level = "90",
    drop: options.Drop = None,
    plot: options.Plot = None,
    out: options.Out = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """Which benchmark scores will larger models reach, through their loss or straight from compute?"""
    from sld import api
    from sld.cli.show import downstream as show
    from sld.cli.show import files

    asked: dict[str, Any] = {
        "scale": options.split(scale), "metric": options.split(metric), "at": options.points(at, "--at"),
        "through": through, "task": task, "trials": trials, "chain": options.split(chain),
        "floor": floor, "ceiling": ceiling,
        "better": better, "level": options.level_of(level), "drop": drop or (), "seed": seed,
    }  # fmt: skip
    found = api.downstream(options.given(table), **asked)
    files.picture(found, plot)
    files.table(found, out)
    show.scores(found, json)
