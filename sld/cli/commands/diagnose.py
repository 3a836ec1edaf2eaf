"""`sld diagnose`: what the runs behind a law say against it."""

from __future__ import annotations

from typing import Annotated

import typer

from sld.cli import options
from sld.cli.base import Json, command


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "diagnose",
        "sld diagnose sld-runs/nanolm_chinchilla-0 nanolm_chinchilla",
        "sld diagnose sld-runs/runs-0 runs.csv --at N=1e10,D=2e11",
    )(diagnose)


def diagnose(
    law: options.LawPath,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="The runs that it was fitted to: a task, or a table (- for a pipe).")
    ],
    target: options.Target = None,
    at: options.At = None,
    group: options.GroupName = None,
    plot: options.Plot = None,
    drop: options.Drop = None,
    melt: options.Melt = False,
    json: Json = False,
) -> None:
    """What do the runs behind a law say against it?

    Each rung is left out and predicted by the others; each run is left out and the law asked again; mean residuals are
    shown by variable.
    """
    from sld import api
    from sld.cli.show import diagnose as show

    found = api.diagnose(
        law,
        options.given(data),
        target=target,
        at=options.numbers(at, "--at") or None,
        group=group,
        **options.rows(drop, melt),
    )
    show.diagnostics(found, plot, json)
