"""`sld compare`: which of several laws or recipes wins, and from where on."""

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
        "compare",
        "sld compare sld-runs/dense sld-runs/moe --plot compare.png",
        "sld compare runs.csv --by optimizer --target loss --scale params,tokens",
        "sld compare base.csv better.csv --target loss --scale params,tokens --plot slide.png",
        "sld compare sld-runs/a sld-runs/b --setting D=20*N --between 1e18:1e24",
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
    setting: Annotated[
        str | None,
        typer.Option(
            "--setting", metavar="RULE", help="Compare at one split, e.g. D=20*N, not at each law's own optimum."
        ),
    ] = None,
    at: Annotated[
        options.Names, typer.Option("--given", "--at", metavar="COL=X", help="Variables that are held, e.g. lr=3e-4.")
    ] = None,
    between: Annotated[
        str | None,
        typer.Option(
            "--between", metavar="LOW:HIGH", help="From which to which compute (in the unit of --cost, FLOP)."
        ),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option("--cost", metavar="COST", help="What a run costs: a formula or a model; 6*N*D if not given."),
    ] = None,
    table: options.TableOptions,
    weighing: options.Weighing,
    shared: Annotated[
        options.Names, typer.Option("--shared", metavar="NAMES", help="With --by: constants that all recipes share.")
    ] = None,
    constants: options.Constants = None,
    level: options.Level = "90",
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the comparison: .png, .svg or .pdf.")
    ] = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """Compare laws or recipes: who is better, from where on, worth how much compute."""
    from sld import api
    from sld.cli.show import decisions as show

    show.check_picture(plot)
    more = {"shared": options.split(shared), "constants": options.split(constants)}
    found = api.compare(
        *(laws if by is None else [options.given(name) for name in laws]),
        by=by,
        law=law,
        setting=setting,
        at=options.numbers(at, "--given"),
        between=None if between is None else options.span(between, "--between"),
        cost=cost,
        level=options.level_of(level),
        seed=seed,
        **{k: v for k, v in more.items() if v},  # type: ignore[arg-type]  # lists of names
        **table.keywords(),
        **weighing.keywords(),
    )
    show.draw(found, plot)
    show.comparison(found, plot, json)
