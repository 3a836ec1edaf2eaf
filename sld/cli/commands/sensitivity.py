"""`sld sensitivity`: how far an answer depends on how the law was fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sld.cli import options
from sld.cli.base import Json, command


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "sensitivity",
        'sld sensitivity nanolm_chinchilla --law "E + A*N**-a + B*D**-b" --plot tornado.png',
        "sld sensitivity runs.csv --target loss --scale N,D --law chinchilla --budget 1e22 --hold E=1.6,1.7,1.8",
        "sld sensitivity runs.csv --target loss --scale N,D --law chinchilla --alternative N=N_total",
        'sld sensitivity curves.csv --target loss --scale N,D --run name --law chinchilla --where "step>=1000"',
    )(sensitivity)


def sensitivity(
    data: options.Data,
    *,
    law: Annotated[
        str, typer.Option("--law", metavar="NAME|FORMULA", help="A law of the card or of `sld laws`, or a formula.")
    ],
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget", metavar="C", help="Compute (FLOP) whose best split is asked; else ten times the largest run's."
        ),
    ] = None,
    point: Annotated[
        options.Names,
        typer.Option("--point", metavar="COL=X", help="Where the target is predicted, e.g. N=1e11,D=2e12."),
    ] = None,
    answer: Annotated[
        str | None, typer.Option("--answer", metavar="NAME", help='The main answer, e.g. "best N" or a constant.')
    ] = None,
    hold: Annotated[
        options.Names, typer.Option("--hold", metavar="E=1.6,1.7", help="Hold a constant at these values in turn.")
    ] = None,
    alternative: Annotated[
        options.Names, typer.Option("--alternative", metavar="N=COL", help="Another column in place of a scale column.")
    ] = None,
    where: Annotated[
        options.Names, typer.Option("--where", metavar='"COL>=X"', help="Fit to such rows alone; repeatable.")
    ] = None,
    seed_column: Annotated[
        str | None, typer.Option("--seed-column", metavar="COL", help="Leave out each seed of this column in turn.")
    ] = None,
    of: Annotated[
        str | None, typer.Option("--of", metavar="GROUP", help="The group whose answer is looked at.")
    ] = None,
    at: Annotated[
        options.Names,
        typer.Option("--given", "--at", metavar="COL=X", help="Variables held when the split is looked for."),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option("--cost", metavar="COST", help="What a run costs: a formula or a model; 6*N*D if not given."),
    ] = None,
    table: options.TableOptions,
    weighing: options.Weighing,
    loss: Annotated[
        str, typer.Option("--loss", metavar="LOSS", help="squared, huber, log, log_huber or envelope.")
    ] = "squared",
    delta: Annotated[
        float | None, typer.Option("--delta", metavar="X", help="Where Huber's loss turns linear, as for sld fit.")
    ] = None,
    shared: Annotated[
        options.Names, typer.Option("--shared", metavar="NAMES", help="Constants that all groups share.")
    ] = None,
    constants: options.Constants = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw what moves the answer: .png, .svg or .pdf.")
    ] = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """Fit the same law in other ways: which choice moves the answer, and how far."""
    from sld import api
    from sld.cli.show import decisions as show

    show.check_picture(plot)
    more: dict[str, Any] = {
        "hold": options.several(hold, "--hold"),
        "alternatives": options.pairs(alternative),
        "where": where,
        "seed_column": seed_column,
        "of": of,
        "at": options.numbers(at, "--given"),
        "cost": cost,
        "delta": delta,
        "shared": options.split(shared),
        "constants": options.split(constants),
        **table.keywords(),
        **weighing.keywords(),
    }
    found = api.sensitivity(
        options.given(data),
        law,
        budget=budget,
        point=options.numbers(point, "--point"),
        answer=answer,
        loss=loss,
        seed=seed,
        **{k: v for k, v in more.items() if v not in (None, [], {})},
    )
    show.draw(found, plot)
    show.sensitivity(found, plot, json)
