"""`sld optimum` and `sld worth`: best settings at each scale, and what one thing is worth in another."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sld.cli import options
from sld.cli.base import Json, command
from sld.core.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands to the others."""
    command(
        app,
        "optimum",
        "sld optimum sld-runs/nanolm_lr_batch-0",
        "sld optimum law.json --of lr --at N=7e9,D=1.4e12",
        "sld optimum mixture.json --at N=1e9 --weights loss_web=0.5,loss_code=0.5",
        "sld optimum '2 + 400*N**-0.3 + 0.02*(log(lr) + 0.3*log(N) - 2)**2' --of lr --at N=1e9",
    )(optimum)
    command(
        app,
        "worth",
        "sld worth parscale --at N=1e9,P=4 --into N --with P=1",
        "sld worth muennighoff_repeats --at N=5e9,D=4e11,U=1e11 --into D --with U=D",
        "sld worth law.json --at N=1e9,D=2e10 --into D --against chinchilla",
        "sld worth distillation_teacher --at N=1e9,D=2e10,NT=7e9,DT=1.4e12 --into C --against distillation_supervised",
    )(worth)


def optimum(
    law: options.AnyLaw,
    of: Annotated[
        list[str] | None,
        typer.Option("--of", metavar="NAMES", help="What is chosen; else every hyperparameter and share."),
    ] = None,
    at: Annotated[
        options.Names,
        typer.Option(
            "--at", metavar="COL=X,...", help="Where: N=7e9,D=1.4e12; repeat it for several values of a name."
        ),
    ] = None,
    weights: options.Sum = None,
    target: options.Target = None,
    group: options.GroupName = None,
    draws: options.Draws = 500,
    seed: options.Seed = 0,
    plot: options.Plot = None,
    json: Json = False,
) -> None:
    """Which hyperparameters, or which mixture, are best at each scale?

    A power law of scale is fitted to them, and what half and twice of each would cost is said.
    """
    from sld import api
    from sld.cli.show import files
    from sld.cli.show import settings as show

    held: dict[str, list[float]] = {}
    for given in at or ():
        for name, value in options.numbers([given], "--at").items():
            held.setdefault(name, []).append(value)
    wanted: dict[str, Any] = {"target": target, "group": group, "weights": options.numbers(weights, "--weights")}
    found = api.optimum(
        law, options.split(of), held or None, draws=draws, seed=seed, **{k: v for k, v in wanted.items() if v}
    )
    files.picture(found, plot)
    show.tuning(found, json)


def worth(
    law: options.AnyLaw,
    at: Annotated[
        list[str], typer.Option("--at", metavar="COL=X,...", help="The run: a value of every variable of the law.")
    ],
    into: Annotated[
        str, typer.Option("--into", metavar="NAME", help="The variable that it is said in, or C for compute.")
    ],
    reference: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME=X", help="What the reference has instead: P=1; or U=D for as large as D."),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="LAW", help="The law of the reference, if another.")
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option("--cost", metavar="COST", help="What the run costs, for --into C: 6ND, distillation, a formula."),
    ] = None,
    target: options.Target = None,
    group: options.GroupName = None,
    draws: options.Draws = 500,
    seed: options.Seed = 0,
    json: Json = False,
) -> None:
    """What is one thing worth in another: streams in parameters, repeats in fresh tokens, a teacher in compute?"""
    from sld import api
    from sld.cli.show import settings as show
    from sld.data.numbers import number

    other: dict[str, float | str] = {}
    for name, text in options.pairs(reference).items():
        try:
            other[name] = number(text)
        except ValueError:
            if text != into:
                same = "" if into == "C" else f", or NAME={into}"  # nothing is as large as a compute
                raise UsageError(f"--with wants NAME=NUMBER{same}, got {name}={text}") from None
            other[name] = text
    wanted: dict[str, Any] = {"target": target, "group": group, "reference": other, "against": against}
    wanted["cost"] = cost
    found = api.worth(
        law,
        options.numbers(at, "--at"),
        into,
        draws=draws,
        seed=seed,
        **{k: v for k, v in wanted.items() if v},
    )
    show.worth(found, json)
