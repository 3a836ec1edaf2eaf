"""`sld downstream`: from loss to benchmark score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sld.cli import options, output
from sld.cli.base import Json, command
from sld.core.errors import UsageError

if TYPE_CHECKING:
    from sld.analysis.curves.forecast import Downstream
    from sld.analysis.curves.items import ItemForecast


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "downstream",
        "sld downstream models.csv --scale N,D --through loss --metric hellaswag,arc --at N=7e10,D=1.4e12",
        "sld downstream models.csv --scale C --metric acc --task task --floor 0.25 --at C=1e24",
        "sld downstream models.csv --scale N --metric passed --trials tried --at N=2.4e9",
        "sld downstream answers.csv --scale C --metric solved --items item --floor 0.25 --at C=1e24",
    )(downstream)


def downstream(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="A row for each model, or each model and task; - for a pipe.")
    ],
    scale: Annotated[options.Names, typer.Option("--scale", metavar="COLS", help="One or two columns, e.g. N,D or C.")],
    metric: Annotated[options.Names, typer.Option("--metric", metavar="COLS", help="Column(s) of the scores.")],
    at: Annotated[
        options.Names,
        typer.Option("--at", metavar="N=X,D=Y", help="The model whose score is asked for; repeatable."),
    ],
    through: Annotated[
        str | None, typer.Option("--through", metavar="COL", help="Column of the loss, for laws in two stages.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="COL", help="Column of the task.")] = None,
    trials: Annotated[
        str | None,
        typer.Option(
            "--trials", metavar="COL", help="The metric counts right answers out of so many; 0 counts as well."
        ),
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(
            "--items", metavar="COL", help="Column of the item: a row is one model's answer to one item, 0 to 1."
        ),
    ] = None,
    chain: Annotated[
        options.Names,
        typer.Option(
            "--chain", metavar="COLS", help="Say how well each of these follows compute, e.g. loglik,prob,acc."
        ),
    ] = None,
    floor: Annotated[
        float | None, typer.Option("--floor", metavar="X", help="Score of a model that knows nothing (chance).")
    ] = None,
    ceiling: Annotated[
        float | None, typer.Option("--ceiling", metavar="X", help="Best score that is possible.")
    ] = None,
    better: Annotated[str, typer.Option("--better", metavar="higher|lower", help="Which score is better.")] = "higher",
    level: options.Level = "90",
    drop: options.Drop = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw a picture (PNG).")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the numbers as CSV.")] = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """Foretell benchmark scores of larger models, through the loss or straight from compute."""
    from sld import api
    from sld.cli.show import downstream as show

    asked: dict[str, Any] = {
        "scale": options.split(scale), "metric": options.split(metric), "at": _points(at), "through": through,
        "task": task, "trials": trials, "chain": options.split(chain), "floor": floor, "ceiling": ceiling,
        "better": better, "level": options.level_of(level), "drop": drop or (), "seed": seed,
    }  # fmt: skip
    if items is not None:
        by_items = api.downstream_items(options.given(table), items=items, **_of_items(asked))
        show.items(by_items, json)
        _written(by_items, out, plot)
        return
    found = api.downstream(options.given(table), **asked)
    show.scores(found, json)
    _written(found, out, plot)


def _of_items(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked of items; raises UsageError for words that belong to scores of whole benchmarks."""
    for word in ("task", "trials", "chain", "ceiling"):
        if asked[word]:
            raise UsageError(f"--{word} is for scores of whole benchmarks; leave it out with --items")
    if asked["better"] != "higher" or len(asked["metric"]) != 1:
        raise UsageError("with --items there is one --metric, which says how often an item was solved: 1 is best")
    kept = {key: asked[key] for key in ("scale", "at", "through", "floor", "level", "drop", "seed")}
    return {**kept, "metric": asked["metric"][0]}


def _written(found: Downstream | ItemForecast, out: Path | None, plot: Path | None) -> None:
    from sld.cli.show import curves as pictures

    if out is not None:
        from sld.core.files import write_text_atomic

        write_text_atomic(out, found.to_frame().to_csv(index=False))
        output.remark(f"written to {out}")
    if plot is not None:
        pictures.picture(found.plot(), plot)


def _points(at: options.Names) -> list[dict[str, float]]:
    from sld.data.numbers import number

    points = []
    for text in at or ():
        point = {}
        for part in options.split([text]):
            name, equals, value = (word.strip() for word in part.partition("="))
            try:
                point[name] = number(value)
            except ValueError:
                equals = ""
            if not equals:
                raise UsageError(f"--at wants COLUMN=NUMBER, e.g. N=7e10,D=1.4e12, got {part}")
        points.append(point)
    return points
