"""`sld families`: benchmark scores from models of several families."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sld.cli import options, output
from sld.cli.base import Json, command
from sld.core.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "families",
        "sld families models.csv --family family --scale N,D --metric mmlu,arc,gsm8k --at family=llama,N=4e11,D=1.5e13",
        "sld families models.csv --family family --scale C --metric mmlu,arc --floor mmlu=0.25,arc=0.25 --at C=1e25",
        "sld families models.csv --family family --scale N,D --metric mmlu,arc --at family=new,N=7e10,D=1e13 --fill",
    )(families)


def families(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A row for each model; - for a pipe.")],
    family: Annotated[
        str, typer.Option("--family", metavar="COL", help="Column of the family: models of one recipe and data.")
    ],
    scale: Annotated[options.Names, typer.Option("--scale", metavar="COLS", help="One or two columns, e.g. N,D or C.")],
    metric: Annotated[
        options.Names,
        typer.Option("--metric", metavar="COLS", help="Columns of the scores, two or more; cells may be empty."),
    ],
    at: Annotated[
        options.Names,
        typer.Option(
            "--at",
            metavar="FAMILY=NAME,N=X,D=Y",
            help="The model whose scores are asked for; repeatable. Without a family: one of which no model is known.",
        ),
    ],
    floor: Annotated[
        options.Names,
        typer.Option("--floor", metavar="X|COL=X", help="Score of a model that knows nothing, of all or of each."),
    ] = None,
    ceiling: Annotated[
        float | None, typer.Option("--ceiling", metavar="X", help="Best score that is possible; 1 if not given.")
    ] = None,
    better: Annotated[str, typer.Option("--better", metavar="higher|lower", help="Which score is better.")] = "higher",
    law: Annotated[
        str | None,
        typer.Option("--law", metavar="NAME", help='"one curve", "curve by family", components or skills.'),
    ] = None,
    skills: Annotated[
        int | None, typer.Option("--skills", metavar="K", help="Number of skills or components, not chosen then.")
    ] = None,
    fill: Annotated[
        bool, typer.Option("--fill", help="Also foretell the scores that are missing in the table.")
    ] = False,
    level: options.Level = "90",
    drop: options.Drop = None,
    plot: options.Plot = None,
    out: options.Out = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """Which scores will a model reach by those of several families, also where its own has one model so far?"""
    from sld import api
    from sld.cli.show import families as show
    from sld.cli.show import files

    scales = options.split(scale)
    asked: dict[str, Any] = {
        "family": family, "scale": scales, "metric": options.split(metric), "at": _points(at, family),
        "floor": _floor(floor), "ceiling": ceiling, "better": better, "law": law, "skills": skills, "fill": fill,
        "level": options.level_of(level), "drop": drop or (), "seed": seed,
    }  # fmt: skip
    line = output.ProgressLine("")
    try:
        found = api.families(options.given(table), progress=line.show, **asked)
    finally:
        line.close()
    files.picture(found, plot)
    files.table(found, out)
    show.scores(found, json)


def _points(at: options.Names, family: str) -> list[dict[str, float | str]]:
    from sld.data.numbers import number

    points = []
    for text in at or ():
        point: dict[str, float | str] = {}
        for part in options.split([text]):
            name, equals, value = (word.strip() for word in part.partition("="))
            if not (name and equals and value):
                raise UsageError(f"--at wants COLUMN=VALUE, e.g. {family}=NAME,N=7e10, got {part}")
            if name == family:
                point[name] = value
                continue
            try:
                point[name] = number(value)
            except ValueError:
                raise UsageError(f"--at wants COLUMN=NUMBER for a scale, e.g. N=7e10, got {part}") from None
        points.append(point)
    return points


def _floor(floor: options.Names) -> float | dict[str, float] | None:
    parts = options.split(floor)
    if not parts:
        return None
    if any("=" in part for part in parts):
        return options.numbers(floor, "--floor")
    try:
        (one,) = parts
        return float(one)
    except ValueError:
        raise UsageError(f"--floor wants one number, or COLUMN=NUMBER of each, got {','.join(parts)}") from None
