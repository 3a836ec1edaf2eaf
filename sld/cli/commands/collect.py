"""`sld collect`: the runs of a tracker as a tidy table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sld.cli import options, output
from sld.cli.base import Json, command


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "collect",
        "sld collect wandb/ --out runs.csv",
        "sld collect runs/ --summary min:eval/loss --scale N=config.n_params,D=tokens --out runs.csv",
        "sld collect logs/ configs.csv --join on=run --out runs.csv",
        "sld collect runs/ --per step --out checkpoints.csv",
        'sld collect mlflow.db --summary "mean(last 100):loss" --keep lr,seed --out runs.csv',
        "sld collect old_logs/ --as nanogpt --out runs.csv",
        "sld collect wandb://my-team/my-project --out runs.csv",
    )(collect)


def collect(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders and files of a tracker, of logs, or of tables, or wandb://ENTITY/PROJECT[/RUN_ID]; several "
            "make one table.",
        ),
    ],
    as_: Annotated[
        str | None,
        typer.Option("--as", metavar="KIND", help="What the sources are, where they are not recognised; see below."),
    ] = None,
    per: Annotated[str, typer.Option("--per", metavar="run|step", help="A row a run, or a checkpoint.")] = "run",
    summary: Annotated[
        options.Names,
        typer.Option(
            "--summary",
            metavar="WAY:METRIC",
            help="The targets: last, first, min, max, mean, median; mean(last 100):loss; at(tokens=1e9):loss; "
            "NAME=last:loss names the column. The last loss if not given.",
        ),
    ] = None,
    scale: Annotated[
        options.Names,
        typer.Option(
            "--scale",
            metavar="COL=PRODUCT",
            help="What grows with money: N=config.n_params,D=step*config.batch*1024. Found by name if not given.",
        ),
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="The setting by which runs are grouped.")
    ] = None,
    keep: Annotated[
        options.Names,
        typer.Option("--keep", metavar="NAMES", help="Settings or metrics to keep; those that differ if not given."),
    ] = None,
    join: Annotated[
        str | None,
        typer.Option("--join", metavar="on=KEY", help="Runs of several sources with one KEY (run: the name) are one."),
    ] = None,
    keep_unfinished: Annotated[
        bool, typer.Option("--keep-unfinished", help="Keep runs that did not go to their end.")
    ] = False,
    out: Annotated[Path | None, options.out_file("Write the CSV here, and its card beside it.")] = None,
    json: Json = False,
) -> None:
    """Which runs do these folders and logs hold, as one tidy table?

    Resumed runs are joined, diverged ones marked, unfinished ones left out; an account says which.
    Nothing is fetched but from wandb://...; that needs the extra `wandb`, and a login.
    KINDs: wandb, wandb-api, wandb-csv, tensorboard, trainer, lm-eval, mlflow, optuna, trackio, lightning, keras,
    fastai, nanogpt, litgpt, nanochat, megatron, olmo, json, jsonl, csv, parquet.
    """
    from sld.api.collecting import collected
    from sld.cli.show import collection as show
    from sld.core.errors import UsageError

    if join is not None and not join.startswith("on="):
        raise UsageError(f"--join wants on=KEY, e.g. on=run, got {join!r}")
    line = output.ProgressLine("reading runs")
    try:
        found = collected(
            sources,
            reader=as_,
            per=per,
            summary=summary or (),
            scale=scale or (),
            group=group,
            keep=keep or (),
            join=None if join is None else join.removeprefix("on=").strip(),
            keep_unfinished=keep_unfinished,
            out=out,
            progress=lambda done, n, name: line.show(f"{done} of {n} read: {name}"),
        )
    finally:
        line.close()
    show.collection(found, json)
