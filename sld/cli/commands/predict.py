"""`sld predict` and `sld score`: what a law says of further runs."""

from __future__ import annotations

from collections.abc import Mapping
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
        "sld predict sld-runs/nanolm_chinchilla-0 nanolm_chinchilla",
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
            metavar="POINTS",
            help="Table with the law's variables, of any type that discover reads; - for a pipe; or a task, whose "
            "held-out runs are predicted from their inputs.",
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
    level: Annotated[str | None, options.level_option] = None,
    by_formula: options.ByFormula = False,
    drop: options.Drop = None,
    out: Annotated[Path | None, options.out_csv("Write the CSV here, not on stdout.")] = None,
    json: Json = False,
) -> None:
    """Which values will runs have that are not made yet?

    Prints the table of points with a column per target, and <target>_low and <target>_high if the law has intervals.
    A law that a search chose predicts with several formulas and the rows near a point; its own is their summary.
    """
    from sld import api
    from sld.analysis.few_points import promised_by
    from sld.cli.show import predictions as show
    from sld.data.points_file import with_columns
    from sld.data.table import read_points

    loaded = api.as_law(law).bare if by_formula else api.as_law(law)
    given = api.points_to_predict(loaded, options.given(points), drop=drop or ())
    table = read_points(given, loaded.variables, loaded.group_column)
    predicted = api.predicted_columns(
        loaded, table, level=None if level is None else options.level_of(level), interval=options.interval_of(interval)
    )
    options.say_notes(table)
    show.warn_of_verdict(api.caution(loaded, table))
    for sentence in api.warnings(loaded, table):
        output.remark(f"warning: {sentence}")
    show.warn_of_gaps(predicted)
    if loaded.intervals is None and not loaded.notes:
        published = isinstance(loaded.provenance.get("published"), Mapping)
        output.remark(f"note: no intervals: {'published constants have none' if published else 'the law carries none'}")
    if out is not None:
        show.predictions(with_columns(given, predicted), out)
    elif not json:
        show.predictions(with_columns(given, show.rounded(predicted)), None)
    if json:
        show.predictions_json(predicted, str(law), out, promised_by(loaded.provenance))


def score(
    law: options.LawPath,
    data: Annotated[
        str, typer.Argument(metavar="TASK", help="Its held-out rows count; or a table of further runs (- for a pipe).")
    ],
    by_formula: options.ByFormula = False,
    drop: options.Drop = None,
    melt: options.Melt = False,
    json: Json = False,
) -> None:
    """How well does a law predict runs that it was not fitted to?"""
    from sld import api
    from sld.cli.show import predictions as show

    loaded = api.as_law(law).bare if by_formula else api.as_law(law)
    rows = api.rows_to_score(loaded, options.given(data), **options.rows(drop, melt))
    scored = api.score(loaded, rows)
    options.say_notes(rows)
    show.scores(scored, json)
