"""`sld compare`: which of several laws or recipes wins, and from where on."""

from __future__ import annotations

from typing import Annotated

import typer

from sld.cli import options
from sld.cli.base import Json, command


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "compare",
        "sld compare sld-runs/dense sld-runs/moe --plot compare.png",
        "sld compare runs.csv --by optimizer --target loss --scale params,tokens",
        "sld compare base.csv better.csv --target loss --scale params,tokens --plot slide.png",
        "sld compare sld-runs/a sld-runs/b --given D/N=20 --between 1e18:1e24",
        "sld compare chinchilla sld-runs/mine --given lr=3e-4 --json",
    )(compare)


def compare(
    laws: Annotated[
        list[str],
        typer.Argument(
            metavar="LAW...",
            help="Run folders, law.json files, laws of `sld laws`, formulas; tables, one each; one table with --by.",
        ),
    ],
    *,
    by: Annotated[
        str | None, typer.Option("--by", metavar="COL", help="Column of the table that tells the recipes apart.")
    ] = None,
    law: Annotated[
        str | None, typer.Option("--law", metavar="LAW", help="Of tables: what is fitted, as for sld fit.")
    ] = None,
    given: options.Given = None,
    between: Annotated[
        str | None,
        typer.Option(
            "--between", metavar="LOW:HIGH", help="From which to which compute (in the unit of --cost, FLOP)."
        ),
    ] = None,
    cost: options.Cost = None,
    table: options.TableOptions,
    weighing: options.Weighing,
    shared: options.Shared = None,
    constants: options.Constants = None,
    level: options.Level = "90",
    plot: options.Plot = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """Which law or recipe is better, from where on, and worth how much compute?"""
    from sld import api
    from sld.cli.show import decisions as show
    from sld.cli.show import files

    more = {"shared": options.split(shared), "constants": options.split(constants)}
    found = api.compare(
        *(laws if by is None else [options.given(name) for name in laws]),
        by=by,
        law=law,
        given=options.numbers(given, "--given"),
        between=None if between is None else options.span(between, "--between"),
        cost=cost,
        level=options.level_of(level),
        seed=seed,
        **{k: v for k, v in more.items() if v},  # type: ignore[arg-type]  # lists of names
        **table.keywords(),
        **weighing.keywords(),
    )
    files.picture(found, plot)
    show.comparison(found, plot, json)
