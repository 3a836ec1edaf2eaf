"""`sld isoflop`: which split of a budget is best, as an isoFLOP sweep says it."""

from __future__ import annotations

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
    cost: options.Cost = None,
    table: options.TableOptions,
    weighing: options.Weighing,
    loss: options.Loss,
    constants: options.Constants = None,
    level: options.Level = "90",
    plot: options.Plot = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """Which size and how many tokens are best for each budget: by lowest run, parabola and law?"""
    from sld import api
    from sld.cli.show import decisions as show
    from sld.cli.show import files

    found = api.isoflop(
        options.given(data),
        law,
        budget=options.amounts(budget, "--budget"),
        budget_column=budget_column,
        cost=cost,
        level=options.level_of(level),
        seed=seed,
        constants=options.split(constants),
        **table.keywords(),
        **weighing.keywords(),
        **loss.keywords(),
    )
    files.picture(found, plot)
    show.isoflop(found, plot, json)
