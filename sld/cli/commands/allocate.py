"""`sld allocate`: what to train for a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sld.cli import options
from sld.cli.base import Json, command
from sld.core.errors import UsageError

if TYPE_CHECKING:
    from sld.laws.law import Law


@dataclass(frozen=True)
class Machines:
    """A budget in hours, money or days, and what they buy."""

    gpu_hours: Annotated[
        list[str] | None, typer.Option("--gpu-hours", metavar="H,...", help="The budget in hours of one GPU.")
    ] = None
    dollars: Annotated[list[str] | None, typer.Option("--dollars", metavar="X,...", help="The budget in dollars.")] = (
        None
    )
    days: Annotated[
        list[str] | None, typer.Option("--days", metavar="T,...", help="The budget in days on all GPUs.")
    ] = None
    gpu: Annotated[
        str, typer.Option("--gpu", metavar="NAME", help="For hours, money, days: h100, a100, ... or FLOP per second.")
    ] = "h100"
    mfu: Annotated[float, typer.Option("--mfu", metavar="X", help="Share of the GPU's FLOP that is reached.")] = 0.4
    gpus: Annotated[int, typer.Option("--gpus", metavar="N", help="GPUs that train at once, for days.")] = 1
    gpu_price: Annotated[float, typer.Option("--gpu-price", metavar="X", help="Dollars for an hour of one GPU.")] = 2.0


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "allocate",
        "sld allocate sld-runs/nanolm_chinchilla-0 --budget 1e16,1e17",
        "sld allocate chinchilla --budget 5.76e23 --plot chinchilla.png",
        "sld allocate law.json --target-loss 2.0 --demand 1e12",
        "sld allocate law.json --gpu-hours 1e5 --gpu h100 --max D=2e12",
        "sld allocate law.json --budget 1e22 --choices N=1e9,3e9,7e9",
    )(allocate)


def allocate(
    law: options.AnyLaw,
    machines: Machines,
    budget: Annotated[
        list[str] | None,
        typer.Option("--budget", metavar="C,...", help="What there is to spend, in the unit of the cost (FLOP)."),
    ] = None,
    target_loss: Annotated[
        float | None,
        typer.Option("--target-loss", metavar="L", help="What the target shall reach, at the least cost."),
    ] = None,
    cost: options.Cost = None,
    set_: options.CostSettings = None,
    demand: Annotated[
        float | None, typer.Option("--demand", metavar="TOKENS", help="Count serving so many tokens as well.")
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option("--price", metavar="train=X,inference=Y", help="What a FLOP of either costs; 1 and 1."),
    ] = None,
    given: options.Given = None,
    maximum: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="NAME=X", help="The most of a variable or a cost: D=2e12, memory=6.4e11."),
    ] = None,
    choices: Annotated[
        list[str] | None,
        typer.Option("--choices", metavar="NAME=X,Y,...", help="Values among which it may be chosen; repeatable."),
    ] = None,
    target: options.Target = None,
    weights: options.Sum = None,
    group: options.GroupName = None,
    draws: options.Draws = 500,
    seed: options.Seed = 0,
    plot: options.Plot = None,
    runs: Annotated[str | None, typer.Option("--runs", metavar="TABLE", help="Runs to show in the picture.")] = None,
    out: options.Out = None,
    json: Json = False,
) -> None:  # fmt: skip
    """What should I train for a budget: which size, how many tokens, which hyperparameters?

    LAW is a run folder, a law.json, a published law (sld laws) with its constants, or a formula without constants.
    Each number has the interval that holds 90 % of what the law's uncertainty allows.
    """
    from sld import api
    from sld.cli.show import allocation as show
    from sld.cli.show import files

    asked: dict[str, Any] = {
        "gpu_hours": options.amounts(machines.gpu_hours, "--gpu-hours"),
        "dollars": options.amounts(machines.dollars, "--dollars"),
        "days": options.amounts(machines.days, "--days"), "target_loss": target_loss, "cost": cost, "demand": demand,
        "settings": options.numbers(set_, "--set"), "prices": options.numbers(price, "--price"),
        "given": options.numbers(given, "--given"), "maximum": options.numbers(maximum, "--max"),
        "choices": options.several(choices, "--choices", "N=1e9,3e9"), "target": target, "group": group,
        "weights": options.numbers(weights, "--weights"),
    }  # fmt: skip
    if any(asked[name] for name in ("gpu_hours", "dollars", "days")):
        about = (_gpu(machines.gpu), machines.mfu, machines.gpus, machines.gpu_price)
        asked["hardware"] = dict(zip(("gpu", "mfu", "gpus", "price"), about, strict=True))
    wanted = {name: value for name, value in asked.items() if value not in (None, {}, [])}
    if runs is not None and plot is None:
        raise UsageError("--runs are shown in the picture; name it with --plot FILE")
    loaded = api.as_law(law)
    found = api.allocate(loaded, options.amounts(budget, "--budget") or None, draws=draws, seed=seed, **wanted)
    if plot is not None:
        found.save_plot(plot, runs=None if runs is None else _table(loaded, runs))
        files.written(plot)
    files.table(found, out)
    show.allocation(found, json)


def _table(law: Law, runs: str) -> Any:
    from sld.data.table import read_points

    return read_points(options.given(runs), law.variables, law.group_column)


def _gpu(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
