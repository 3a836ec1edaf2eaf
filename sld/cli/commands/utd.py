"""`sld utd`: the chain of laws of value-based reinforcement learning."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sld.cli import options
from sld.cli.base import Json, command
from sld.core.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "utd",
        "sld utd runs.csv --ratio utd --target return --step env_steps --reach 300,500,700 --batch batch --lr lr "
        "--run seed",
        "sld utd runs.csv --ratio utd --target return --step env_steps --reach 300,500,700 --batch batch "
        "--data-price 300 --budget 1e9",
        "sld utd reached.csv --ratio utd --steps steps --reach return --data-price 300 --budget 1e9,1e10",
    )(utd)


def utd(
    table: Annotated[
        str,
        typer.Argument(metavar="TABLE", help="A row for each evaluation, or each run and performance; - for a pipe."),
    ],
    ratio: Annotated[str, typer.Option("--ratio", metavar="COL", help="Column of updates for each step of data.")],
    reach: Annotated[
        str,
        typer.Option("--reach", metavar="X,X", help="The performances, e.g. 300,500; with --steps the column of them."),
    ],
    target: Annotated[
        str | None, typer.Option("--target", metavar="COL", help="Column of returns, in a table of evaluations.")
    ] = None,
    step: Annotated[
        str | None, typer.Option("--step", metavar="COL", help="Column of steps of the environment, in such a table.")
    ] = None,
    steps: Annotated[
        str | None, typer.Option("--steps", metavar="COL", help="Instead: column of the steps a performance took.")
    ] = None,
    batch: Annotated[str | None, typer.Option("--batch", metavar="COL", help="Column of the batch size.")] = None,
    lr: Annotated[str | None, typer.Option("--lr", metavar="COL", help="Column of the learning rate.")] = None,
    run: Annotated[
        options.Names, typer.Option("--run", metavar="COLS", help="Column(s) that tell runs of a setting apart: seed.")
    ] = None,
    budget: Annotated[
        options.Names, typer.Option("--budget", metavar="F,F", help="How to spend so much compute and data together.")
    ] = None,
    data_price: Annotated[
        float | None, typer.Option("--data-price", metavar="X", help="Compute that a step of data is worth.")
    ] = None,
    sample_cost: Annotated[
        float, typer.Option("--sample-cost", metavar="X", help="Compute of one sample in one update.")
    ] = 1.0,
    level: options.Level = "90",
    drop: options.Drop = None,
    plot: options.Plot = None,
    out: options.Out = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """How many updates for each step of data pay, and at which batch size?

    For value-based reinforcement learning. Laws of the best batch size, the learning rate, the data and the compute to
    a performance, over the ratio of updates to data (UTD), make a chain: what it costs least to reach a performance,
    and the best ratio for a larger budget.
    """
    from sld import api
    from sld.cli.show import files, updates

    asked: dict[str, Any] = {
        "target": target, "step": step, "steps": steps, "batch": batch, "lr": lr, "data_price": data_price,
        "sample_cost": sample_cost, "level": options.level_of(level), "drop": drop or (), "seed": seed,
        "budget": [options.amount(part, "--budget") for part in options.split(budget)],
    }  # fmt: skip
    if run:
        asked["run"] = options.split(run)
    found = api.utd(options.given(table), ratio=ratio, reach=reach if steps else _numbers(reach), **asked)
    files.picture(found, plot)
    files.table(found, out)
    updates.plan(found, json)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in options.split([text])]
    except ValueError:
        raise UsageError(f"--reach wants numbers, e.g. 300,500, or a column with --steps, got {text}") from None
