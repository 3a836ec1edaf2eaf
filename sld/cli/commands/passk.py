"""`sld passk`: what more samples of a problem bring."""

from __future__ import annotations

from typing import Annotated

import typer

from sld.cli import options
from sld.cli.base import Json, command
from sld.core.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "passk",
        "sld passk problems.csv --solved right --tried samples --k 1,10,100",
        "sld passk problems.csv --solved right --tried samples --group model --k 1000",
        "sld passk problems.csv --solved right --tried samples --sample-cost 0.001 --false-positive 0.05",
    )(passk)


def passk(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A row for each problem; - for a pipe.")],
    solved: Annotated[str, typer.Option("--solved", metavar="COL", help="Column of right samples of a problem.")],
    tried: Annotated[str, typer.Option("--tried", metavar="COL", help="Column of samples of a problem.")],
    group: Annotated[
        str | None, typer.Option("--group", metavar="COL", help="Column of the model, or the set of problems.")
    ] = None,
    k: Annotated[str, typer.Option("--k", metavar="N,N", help="Numbers of samples.")] = "1,10,100",
    sample_cost: Annotated[
        float | None,
        typer.Option("--sample-cost", metavar="X", help="Cost of a sample, in right answers: how many samples pay?"),
    ] = None,
    wrong_cost: Annotated[
        float, typer.Option("--wrong-cost", metavar="X", help="Cost of a wrong answer that was accepted.")
    ] = 0.0,
    false_positive: Annotated[
        float, typer.Option("--false-positive", metavar="P", help="How often a wrong answer is accepted.")
    ] = 0.0,
    stop: Annotated[
        bool, typer.Option("--stop", help="Sampling of a problem ends at the first accepted sample.")
    ] = False,
    level: options.Level = "90",
    drop: options.Drop = None,
    plot: options.Plot = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """What share of problems do k samples solve (pass@k), and how many samples pay?"""
    from sld import api
    from sld.cli.show import files, samples

    found = api.passk(
        options.given(table), solved=solved, tried=tried, group=group, k=_whole(k), sample_cost=sample_cost,
        wrong_cost=wrong_cost, false_positive=false_positive, stop=stop, level=options.level_of(level), drop=drop or (),
        seed=seed,
    )  # fmt: skip
    files.picture(found, plot)
    samples.coverage(found, json)


def _whole(text: str) -> list[int]:
    try:
        return [int(part) for part in options.split([text])]
    except ValueError:
        raise UsageError(f"--k wants whole numbers, e.g. 1,10,100, got {text}") from None
