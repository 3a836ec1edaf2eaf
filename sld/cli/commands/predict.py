"""`sld predict` and `sld score`: what a law says of further runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sld.cli import options, output
from sld.cli.base import Json, command


def register(app: typer.Typer) -> None:
    """Add the commands to the others."""
    command(
        app,
        "predict",
        "sld predict sld-runs/nanolm_chinchilla-0 points.csv",
        "sld predict law.json points.csv --out predictions.csv",
        "sld predict law.json points.csv --interval law --level 50",
        "cat points.csv | sld predict law.json -",
    )(predict)
    command(
        app,
        "score",
        "sld score sld-runs/nanolm_chinchilla-0 nanolm_chinchilla",
        "sld score law.json further_runs.csv --json",
    )(score)


def predict(
    law: options.LawPath,
    points: Annotated[
        str,
        typer.Argument(
            metavar="POINTS", help="Table with the law's variables, of any type that discover reads; - for a pipe."
        ),
    ],
    interval: Annotated[
        str,
        typer.Option(
            "--interval",
            metavar="run|law",
            help="Whose interval: a new run's, with its noise, or the law's own, where the curve is.",
        ),
    ] = "run",
    level: Annotated[
        str | None,
        typer.Option("--level", metavar="90", help="Per cent that the interval shall hold, such as 50, 80, 90, 95."),
    ] = None,
    drop: options.Drop = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the CSV here, not on stdout.")
    ] = None,
    json: Json = False,
) -> None:
    """Predict runs not yet made.

    Prints the table of points with a column per target, and <target>_low and <target>_high if the law has intervals.
    """
    from sld import api
    from sld.cli.show import predictions as show
    from sld.data.points_file import with_columns
    from sld.data.reading import prepared
    from sld.data.table import read_points

    loaded = api.as_law(law)
    given = prepared(options.given(points), drop=drop or ())
    table = read_points(given, loaded.variables, loaded.group_column)
    predicted = api.predicted_columns(
        loaded, table, level=None if level is None else options.level_of(level), interval=options.interval_of(interval)
    )
    options.say_notes(table)
    show.warn_of_verdict(api.caution(loaded, table))
    for sentence in api.warnings(loaded, table):
        output.remark(f"warning: {sentence}")
    show.warn_of_gaps(predicted)
    rows = with_columns(given, predicted)
    if out is not None or not json:
        show.predictions(rows, out)
    if json:
        show.predictions_json(predicted, str(law), out, loaded.provenance.get("priors"))


def score(
    law: options.LawPath,
    data: Annotated[
        str, typer.Argument(metavar="TASK", help="Its held-out rows count; or a table of further runs (- for a pipe).")
    ],
    drop: options.Drop = None,
    melt: options.Melt = False,
    json: Json = False,
) -> None:
    """Score a law on rows that it was not fitted to."""
    from sld import api
    from sld.cli.show import predictions as show

    loaded = api.as_law(law)
    rows = api.rows_to_score(loaded, options.given(data), **options.rows(drop, melt))
    scored = api.score(loaded, rows)
    options.say_notes(rows)
    show.scores(scored, json)
