"""`sld curve`: the end of runs under way, the loss along a run under another schedule, runs over one another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sld.cli import options, output
from sld.cli.base import Json, command
from sld.core.errors import UsageError
from sld.core.numbers import exact

Table = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="A row for each checkpoint: CSV, TSV, JSON, JSON lines, Parquet, xlsx; a folder or "
        "'runs/*.csv'; - for a pipe.",
    ),
]

Until = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="X", help="Foretell the value at X: a step, 10x the last step, or a column that says it."
    ),
]
Schedule = Annotated[
    list[str] | None,
    typer.Option(
        "--schedule",
        metavar="WORDS",
        help="The learning rate by name: constant, cosine, linear, multistep or wsd, with peak, warmup, total, "
        "end, decay (see the guide); or RUN=WORDS for one run, repeatable.",
    ),
]
First = Annotated[
    float | None,
    typer.Option(
        "--first", metavar="P", help="Use this first part of each run only, e.g. 0.4: to see how well it does."
    ),
]
Cooled = Annotated[
    str | None,
    typer.Option(
        "--cooled",
        metavar="COL",
        help="Column that marks checkpoints whose learning rate had fallen (yes or no): the cooled value is foretold.",
    ),
]
Trunk = Annotated[
    str | None,
    typer.Option(
        "--trunk", metavar="COL", help="Column with the run that a run branched from: its shared part costs once."
    ),
]
Larger = Annotated[
    options.Names,
    typer.Option(
        "--larger",
        metavar="N=X,X",
        help="Column with the sizes of the models, and sizes whose ends are foretold as well, from those of the runs.",
    ),
]
Priors = Annotated[
    str,
    typer.Option(
        "--priors",
        metavar="WORD",
        help="auto expects of runs of at most five points what such runs do in other tables, none does not.",
    ),
]
Align = Annotated[
    options.Names,
    typer.Option(
        "--align",
        metavar="COLS",
        help="Without --until: lay the runs over one another by each of these columns, e.g. tokens,flops.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "curve",
        "sld curve runs.csv --target loss --step step --run run --until 20000",
        "sld curve runs.csv --target loss --step step --until 20000 --schedule cosine:warmup=500 --watch",
        "sld curve runs.csv --target loss --step step --run run --until 20000 --cooled cooled --trunk trunk",
        "sld curve runs.csv --target loss --step tokens --run run --until 2x --larger N=1e9,4e9",
        "sld curve models.csv --target error --step rows --run model --until 10x",
        "sld curve finished.csv --target loss --step step --lr lr --predict wsd:peak=3e-4,warmup=500,total=20000",
        "sld curve runs.csv --target acc --step tokens --run size --align tokens,flops --plot overlay.png",
    )(curve)


def curve(
    table: Table,
    target: Annotated[str, typer.Option("--target", metavar="COL", help="Column of the values.")],
    step: Annotated[
        str, typer.Option("--step", metavar="COL", help="Column of steps, tokens, samples, or rows of training data.")
    ],
    run: Annotated[
        options.Names, typer.Option("--run", metavar="COLS", help="Column(s) that tell the runs apart.")
    ] = None,
    until: Until = None,
    lr: Annotated[str | None, typer.Option("--lr", metavar="COL", help="Column of the learning rate.")] = None,
    schedule: Schedule = None,
    better: Annotated[str, typer.Option("--better", metavar="lower|higher", help="Which value is better.")] = "lower",
    lower: Annotated[float | None, typer.Option("--lower", metavar="X", help="No value falls below X.")] = None,
    upper: Annotated[float | None, typer.Option("--upper", metavar="X", help="No value exceeds X.")] = None,
    level: options.Level = "90",
    alone: Annotated[
        bool, typer.Option("--alone", help="The runs are of different kinds: each is continued by itself.")
    ] = False,
    first: First = None,
    cooled: Cooled = None,
    trunk: Trunk = None,
    larger: Larger = None,
    priors: Priors = "auto",
    law: Annotated[
        str, typer.Option("--law", metavar="NAME", help="Without --until: annealing, multi-power, or auto.")
    ] = "auto",
    size: Annotated[
        str | None, typer.Option("--size", metavar="COL", help="Without --until: rows of one value share L0 and A.")
    ] = None,
    skip: Annotated[
        float, typer.Option("--skip", metavar="P", help="Without --until: leave out this first part of each run.")
    ] = 0.0,
    predict: Annotated[
        str | None,
        typer.Option("--predict", metavar="WORDS", help="Without --until: the loss along a run of another schedule."),
    ] = None,
    align: Align = None,
    drop: options.Drop = None,
    melt: options.Melt = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Read the table again when it changes, until the runs have ended.")
    ] = False,
    every: Annotated[float, typer.Option("--every", metavar="S", help="With --watch: seconds between looks.")] = 10.0,
    plot: options.Plot = None,
    out: options.Out = None,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """Where will runs under way end, and what would another learning rate schedule bring?

    With --until: what each run will be at its end, from its part so far. With --align: how far apart the runs lie, over
    tokens or compute. With neither: a law of the loss along whole runs under their learning rates, which foretells
    other schedules.
    """
    from sld.cli.show import curves as show
    from sld.cli.show import files

    shared: dict[str, Any] = {"target": target, "step": step, "lr": lr, "schedule": _by_run(schedule)}
    shared |= {"drop": drop or (), "melt": melt}
    if run:
        shared["run"] = options.split(run)
    share = options.level_of(level)
    if align is not None:
        others = {
            "--until": until, "--lr": lr, "--schedule": schedule, "--lower": lower, "--upper": upper, "--alone": alone,
            "--first": first, "--cooled": cooled, "--trunk": trunk, "--larger": larger, "--size": size,
            "--predict": predict, "--watch": watch, "--skip": skip,
        }  # fmt: skip
        _aligned(table, {**shared, "align": options.split(align), "seed": seed}, others, (plot, out, json))
        return
    ends: dict[str, Any] = {"better": better, "lower": lower, "upper": upper, "level": share, "pooled": not alone}
    ends |= {
        "first": first,
        "priors": priors,
        "cooled": cooled,
        "trunk": trunk,
        "larger": options.several(larger, "--larger", "N=1e9,4e9"),
    }
    if until is None and not (watch and schedule):
        if watch:
            raise UsageError("--watch needs to know where the runs end: --until, or total=... in --schedule")
        _law(table, {**shared, "law": law, "size": size, "skip": skip}, predict, (plot, out, json))
        return
    for flag, given in (("--predict", predict), ("--size", size)):
        if given is not None:
            raise UsageError(f"{flag} belongs to the law of whole runs; leave --until and --watch out, or {flag}")
    asked = {**shared, **ends, "until": until, "seed": seed}
    if watch:
        for flag, place in (("--plot", plot), ("--out", out)):
            if place is not None:
                raise UsageError(f"{flag} is written once; leave --watch out, or {flag}")
        _watched(table, asked, every, json)
        return
    from sld import api

    found = api.curve(options.given(table), **asked)
    files.picture(found, plot)
    files.table(found, out)
    show.finals(found, json)


def _by_run(schedule: list[str] | None) -> Any:
    """Return the words for all runs, or by run: in RUN=WORDS an equals sign comes before the colon."""
    if not schedule:
        return None
    by_run = {}
    for text in schedule:
        name, equals, words = text.partition("=")
        if not equals or ":" in name:
            if len(schedule) > 1:
                raise UsageError("--schedule: give one for all runs, or RUN=WORDS for each run")
            return text
        by_run[name.strip()] = words.strip()
    return by_run


def _law(table: str, asked: dict[str, Any], predict: str | None, places: tuple[Path | None, Path | None, bool]) -> None:
    from sld import api
    from sld.cli.show import curves as show
    from sld.cli.show import files

    plot, out, json = places
    found = api.curve_law(options.given(table), **asked)
    foretold = None
    if predict is not None:
        foretold = {size: found.at(predict, size=size) for size in found.sizes}
    files.picture(found, plot)
    if foretold is not None and out is not None:
        import pandas as pd

        files.frame(pd.concat([f.to_frame().assign(size=size) for size, f in foretold.items()]), out)
    else:
        files.table(found, out)
    show.law(found, predict, foretold, json)


def _aligned(
    table: str, asked: dict[str, Any], others: dict[str, Any], places: tuple[Path | None, Path | None, bool]
) -> None:
    """Lay runs over one another; what belongs to their ends or to a law of them is refused."""
    from sld import api
    from sld.cli.show import curves as show
    from sld.cli.show import files

    for flag, given in others.items():
        if given is not None and given is not False and given != 0.0:
            raise UsageError(f"{flag} says nothing of runs laid over one another; leave --align out, or {flag}")
    plot, out, json = places
    words = {name: value for name, value in asked.items() if name not in ("lr", "schedule")}
    found = api.curve_alignment(options.given(table), **words)
    files.picture(found, plot)
    files.table(found, out)
    show.alignment(found, json)


def _watched(table: str, asked: dict[str, Any], every: float, json: bool) -> None:
    """Foretell anew whenever the table has changed, until every run has reached its end."""
    import time

    from sld import api
    from sld.cli.show import curves as show
    from sld.core.errors import DataError

    if table == "-":
        raise UsageError("--watch reads a file again; a pipe can be read once")
    if not every > 0:
        raise UsageError(f"--every is a time in seconds, above 0, got {exact(every)}")
    before = None
    while True:
        stamp = show.stamp_of(table)
        if stamp != before:
            try:
                found = api.curve(table, **asked)
            except DataError as error:
                if before is None:
                    raise
                output.remark(f"not read this time: {error}")  # a row that is half written
            else:
                show.watched(found, json)
                if all(f.last >= f.at * (1 - 1e-9) for f in found.finals):
                    return
            before = stamp
        time.sleep(every)
