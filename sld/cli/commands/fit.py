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
    bounds: Annotated[
        options.Names, typer.Option("--bounds", metavar="a=0:1", help="Bounds of constants; open: a=0:")
    ] = None,
    constants: options.Constants = None,
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
        shared=options.split(shared),
        positive=options.split(positive),
        bounds=options.bounds(bounds),
        constants=options.split(constants),
        starts=starts,
        seed=seed,
        out=out,
        outliers=outliers,
    )
    options.say_notes(task.train)
    show.fitted(fitted, api.held_out_scores(fitted, task), out, data, json)
