"""`sld rl`: bounded curves of reinforcement learning, recipes compared."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sld.cli import options
from sld.cli.base import Json, command


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "rl",
        "sld rl runs.csv --target pass_rate --compute gpu_hours",
        "sld rl runs.csv --target pass_rate --compute gpu_hours --recipe recipe --run seed --until 100k",
        "sld rl runs.csv --target pass_rate --compute gpu_hours --discard 1500 --first 0.5 --until 100k",
    )(rl)


def rl(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A row for each evaluation; - for a pipe.")],
    target: Annotated[str, typer.Option("--target", metavar="COL", help="Column of the values, e.g. a pass rate.")],
    compute: Annotated[
        str, typer.Option("--compute", metavar="COL", help="Column of compute: GPU-hours, FLOP, steps.")
    ],
    recipe: Annotated[str | None, typer.Option("--recipe", metavar="COL", help="Column of the recipe.")] = None,
    run: Annotated[
        options.Names, typer.Option("--run", metavar="COLS", help="Column(s) that tell runs of a recipe apart: seed.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="C", help="Foretell the value at this compute, e.g. 100k.")
    ] = None,
    start: Annotated[
        float | None,
        typer.Option("--start", metavar="X", help="The value before training, if known; rows at compute 0 say it too."),
    ] = None,
    discard: Annotated[
        str,
        typer.Option(
            "--discard", metavar="RULE", help="The first part left out: auto, none, a share (5%), or compute (1500)."
        ),
    ] = "auto",
    reach: Annotated[
        float | None, typer.Option("--reach", metavar="X", help="Compare the compute that it takes to reach X.")
    ] = None,
    better: Annotated[str, typer.Option("--better", metavar="higher|lower", help="Which value is better.")] = "higher",
    lower: Annotated[float | None, typer.Option("--lower", metavar="X", help="No value falls below X.")] = None,
    upper: Annotated[float | None, typer.Option("--upper", metavar="X", help="No value exceeds X.")] = None,
    first: Annotated[
        float | None,
        typer.Option("--first", metavar="P", help="Use this first part of each run only, e.g. 0.5: how well it does."),
    ] = None,
    level: options.Level = "90",
    drop: options.Drop = None,
    plot: options.Plot = None,
    out: options.Out = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """Where does reinforcement learning end, how much compute does it take, and which recipe leads?

    Each run has a sigmoid in compute, R0 + (A - R0)/(1 + (C_mid/C)^B). Its asymptote A and its efficiency (C_mid, B)
    are reported apart, and which recipe leads in which.
    """
    from sld import api
    from sld.cli.show import files, reinforcement

    asked: dict[str, Any] = {
        "recipe": recipe, "until": None if until is None else options.amount(until, "--until"), "start": start,
        "discard": discard, "reach": reach, "better": better, "lower": lower, "upper": upper, "first": first,
        "level": options.level_of(level), "drop": drop or (), "seed": seed,
    }  # fmt: skip
    if run:
        asked["run"] = options.split(run)
    found = api.rl(options.given(table), target=target, compute=compute, **asked)
    files.picture(found, plot)
    files.table(found, out)
    reinforcement.recipes(found, json, reach)
