"""`sld fit`: the constants of one given formula."""

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
    law: Annotated[
        str, typer.Option("--law", metavar="NAME|FORMULA", help="A law of the card or of `sld laws`, or a formula.")
    ],
    table: options.TableOptions,
    loss: Annotated[
        str, typer.Option("--loss", metavar="LOSS", help="squared, huber, log, log_huber or envelope.")
    ] = "squared",
    delta: Annotated[
        float | None,
        typer.Option(
            "--delta",
            metavar="X",
            help="Where Huber's loss turns linear, in units of the target (huber; 1.345 robust standard deviations "
            "of the residuals if not given) or of its logarithm (log_huber; 1e-3 if not given).",
        ),
    ] = None,
    weighing: options.Weighing,
    outliers: Annotated[
        str, typer.Option("--outliers", metavar="drop|keep", help="What to do with runs that look diverged.")
    ] = "keep",
    shared: Annotated[
        options.Names, typer.Option("--shared", metavar="NAMES", help="Constants that all groups share.")
    ] = None,
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
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN_DIR", help="Folder for law.json and plot.png, or a .json file.")
    ] = None,
    json: Json = False,
) -> None:
    """Fit the constants of one given formula."""
    from sld import api
    from sld.cli.show import law as show

    task = options.task_of(data, table, weighing)
    fitted = api.fit(
        task,
        law,
        loss=loss,
        delta=delta,
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
    )
    if json:  # the text has them
        options.say_notes(task.train)
    show.fitted(fitted, api.held_out_scores(fitted, task), out, data, json)
