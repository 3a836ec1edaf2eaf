"""`sld isoflop`: which split of a budget is best, as an isoFLOP sweep says it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sld.cli import options
from sld.cli.base import Json, command


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "isoflop",
        "sld isoflop runs.csv --target loss --scale params,tokens --budget 1e22",
        "sld isoflop runs.csv --target loss --scale params --budget-column flops --plot sweep.png",
        "sld isoflop curves.csv --target loss --scale params,tokens --run name",
        'sld isoflop nanolm_chinchilla --law "E + (A*N**-a + B*D**-b)**c"',
    )(isoflop)


def isoflop(
    data: options.Data,
    *,
    law: Annotated[
        str,
        typer.Option(
            "--law",
            metavar="LAW",
            help="What is fitted to all runs: a law of `sld laws`, or a formula; or a law.json or run folder.",
        ),
    ] = "chinchilla",
    budget: Annotated[
        options.Names,
        typer.Option(
            "--budget", metavar="C", help="Compute (FLOP) to carry the answer to; ten times the largest if not given."
        ),
    ] = None,
    budget_column: Annotated[
        str | None, typer.Option("--budget-column", metavar="COL", help="Column with the compute of each run.")
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option("--cost", metavar="FORMULA", help="What a run costs, over size and data; 6*N*D if not given."),
    ] = None,
    table: options.TableOptions,
    weighing: options.Weighing,
    loss: Annotated[
        str, typer.Option("--loss", metavar="LOSS", help="squared, huber, log, log_huber or envelope.")
    ] = "squared",
    delta: Annotated[
        float | None, typer.Option("--delta", metavar="X", help="Where Huber's loss turns linear, as for sld fit.")
    ] = None,
    constants: options.Constants = None,
    level: options.Level = "90",
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the sweep: .png, .svg or .pdf.")
    ] = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """Find the best size and data of each budget: by lowest run, by parabola, by law."""
    from sld import api
    from sld.cli.show import decisions as show

    show.check_picture(plot)
    found = api.isoflop(
        options.given(data),
        law,
        budget=options.amounts(budget, "--budget"),
        budget_column=budget_column,
        cost=cost,
        loss=loss,
        level=options.level_of(level),
        seed=seed,
        delta=delta,
        constants=options.split(constants),
        **table.keywords(),
        **weighing.keywords(),
    )
    show.draw(found, plot)
    show.isoflop(found, plot, json)
