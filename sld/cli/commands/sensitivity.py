"""`sld sensitivity`: how far an answer depends on how the law was fitted."""

from __future__ import annotations

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
    law: options.Form,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget", metavar="C", help="Compute (FLOP) whose best split is asked; else ten times the largest run's."
        ),
    ] = None,
    at: options.At = None,
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
    given: Annotated[
        options.Names,
        typer.Option("--given", metavar="COL=X", help="Variables held while the split is looked for, e.g. lr=3e-4."),
    ] = None,
    cost: options.Cost = None,
    table: options.TableOptions,
    weighing: options.Weighing,
    loss: options.Loss,
    shared: options.Shared = None,
    constants: options.Constants = None,
    plot: options.Plot = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """How far would the answer move if the law were fitted in another way?"""
    from sld import api
    from sld.cli.show import decisions as show
    from sld.cli.show import files

    more: dict[str, Any] = {
        "hold": options.several(hold, "--hold"),
        "alternatives": options.pairs(alternative),
        "where": where,
        "seed_column": seed_column,
        "of": of,
        "given": options.numbers(given, "--given"),
        "cost": cost,
        "shared": options.split(shared),
        "constants": options.split(constants),
        **table.keywords(),
        **weighing.keywords(),
        **loss.keywords(),
    }
    found = api.sensitivity(
        options.given(data),
        law,
        budget=budget,
        at=options.numbers(at, "--at"),
        answer=answer,
        seed=seed,
        **{k: v for k, v in more.items() if v not in (None, [], {})},
    )
    files.picture(found, plot)
    show.sensitivity(found, plot, json)
