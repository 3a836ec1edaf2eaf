"""`sld fit`: the constants of one given formula."""

from __future__ import annotations

from typing import Annotated

import typer

from sld.cli import options
from sld.cli.base import Json, command


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "fit",
        "sld fit nanolm_chinchilla --law Chinchilla",
        'sld fit nanolm_chinchilla --law "E + A*N**-a + B*D**-b" --out my_law/',
        'sld fit runs.csv --target loss --scale N --law "E + A*N**-a" --bounds a=0:1 --loss huber',
        'sld fit four_runs.csv --target loss --scale N --law "E + A*N**-a" --priors learned',
        "sld fit nanolm_chinchilla --law Chinchilla --loss log_huber --delta 1e-3 --pin alpha=beta",
    )(fit)


def fit(
    data: options.Data,
    *,
    law: options.Form,
    table: options.TableOptions,
    loss: options.Loss,
    weighing: options.Weighing,
    outliers: options.Outliers = "keep",
    shared: options.Shared = None,
    positive: Annotated[
        options.Names, typer.Option("--positive", metavar="NAMES", help="Constants that are positive.")
    ] = None,
    pin: Annotated[
        options.Names,
        typer.Option("--pin", metavar="E=1.69|a=b", help="Hold a constant at a value, or equal to another constant."),
    ] = None,
    bounds: Annotated[
        options.Names,
        typer.Option(
            "--bounds", metavar="a=0:1", help="Bounds of constants; open: a=0: - of all exponents: exponents=0:1"
        ),
    ] = None,
    constants: options.Constants = None,
    priors: Annotated[
        str,
        typer.Option(
            "--priors",
            metavar="WORD",
            help="learned draws the constants of a sum of powers towards what such constants are in other tables; "
            "auto does where no group has more than five rows and nothing else is said of the fit; none does not.",
        ),
    ] = "auto",
    starts: Annotated[int, typer.Option("--starts", metavar="N", help="Starting points per group.")] = 32,
    seed: options.Seed = 0,
    out: options.OutLaw = None,
    json: Json = False,
) -> None:
    """Which constants does a formula that I know have for these runs?"""
    from sld import api
    from sld.cli.show import law as show

    task = options.task_of(data, table, weighing)
    fitted = api.fit(
        task,
        law,
        pins=options.pins(pin),
        shared=options.split(shared),
        positive=options.split(positive),
        bounds=options.bounds(bounds),
        constants=options.split(constants),
        starts=starts,
        seed=seed,
        out=out,
        outliers=outliers,
        priors=priors,
        **loss.keywords(),
    )
    if json:  # the text has them
        options.say_notes(task.train)
    show.fitted(fitted, api.held_out_scores(fitted, task), out, data, json)
