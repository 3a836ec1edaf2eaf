"""`sld next`: which runs to pay for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from sld.cli import options
from sld.cli.base import Json, command
from sld.core.errors import UsageError

_GOALS = ("allocation", "comparison", "exponents")


@dataclass(frozen=True)
class Offered:
    """Which runs could be made, and what they cost."""

    grid: Annotated[
        str | None,
        typer.Option("--grid", metavar="GRID", help="Runs that could be made: N=1e7:1e9:8,D=20N:200N:5,lr=1e-3/3e-3."),
    ] = None
    candidates: Annotated[
        str | None, typer.Option("--candidates", metavar="TABLE", help="The same as a table of the variables.")
    ] = None
    pool: Annotated[
        str | None, typer.Option("--pool", metavar="TABLE", help="The same, but each row can be run once.")
    ] = None
    cost: Annotated[
        str | None,
        typer.Option("--cost", metavar="COST", help="6ND, ..., a formula over the variables, or columns of the table."),
    ] = None
    set_: options.CostSettings = None
    fix: Annotated[
        list[str] | None, typer.Option("--fix", metavar="NAME=X", help="Value of a variable in every run.")
    ] = None
    sweep: Annotated[
        list[str] | None, typer.Option("--sweep", metavar="COLS", help="Hyperparameters to try at several values.")
    ] = None
    minimum: Annotated[
        list[str] | None, typer.Option("--min", metavar="NAME=X", help="The least of a variable, or of cost.")
    ] = None
    maximum: Annotated[
        list[str] | None, typer.Option("--max", metavar="NAME=X", help="The most of a variable, or of cost.")
    ] = None
    repeats: Annotated[
        int | None, typer.Option("--repeats", metavar="N", help="How often a run may be made; 2, in a pool 1.")
    ] = None


@dataclass(frozen=True)
class Planning:
    """How the plan is made."""

    runs: Annotated[int, typer.Option("--runs", metavar="N", help="At most so many runs.")] = 20
    slots: Annotated[int, typer.Option("--slots", metavar="N", help="Runs at one time; the plan comes in batches.")] = 1
    guard: Annotated[
        float, typer.Option("--guard", metavar="X", help="Share of the budget for places where nothing is known.")
    ] = 0.1
    until: Annotated[
        float | None,
        typer.Option("--until", metavar="W", help="Stop once every interval asked for is narrower than W."),
    ] = None
    noise: Annotated[
        float | None, typer.Option("--noise", metavar="X", help="First design: relative spread of runs; 0.005.")
    ] = None


@dataclass(frozen=True)
class Asking:
    """What is asked, and of which law."""

    for_: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="WHAT",
            help="N=1e11,D=2e12 (a run to predict, repeatable), allocation, comparison or exponents.",
        ),
    ] = None
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="C,...", help="Budgets whose best run is asked for, or where laws are compared."),
    ] = None
    law: Annotated[
        str | None, typer.Option("--law", metavar="LAW", help="Bare table: the form to plan with; else a quick search.")
    ] = None
    search: Annotated[
        str | None, typer.Option("--search", metavar="BUDGET", help="Bare table: of the quick search, 3000fits.")
    ] = None
    rows: Annotated[
        str | None, typer.Option("--rows", metavar="TABLE", help="For a law: the runs that it was fitted to.")
    ] = None
    against: Annotated[str | None, typer.Option("--against", metavar="LAW", help="Comparison: the other law.")] = None
    between: Annotated[
        str | None, typer.Option("--between", metavar="A,B", help="Comparison: two groups of the law.")
    ] = None
    of: Annotated[str | None, typer.Option("--of", metavar="COL", help="The target asked about, of several.")] = None
    only: Annotated[str | None, typer.Option("--only", metavar="GROUP", help="One group; else all.")] = None


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "next",
        "sld next sld-runs/nanolm_chinchilla-0 --budget 1e17 --for N=1e8,D=2e9",
        "sld next runs.csv --target loss --scale N,D --budget 1e20 --for allocation --at 1e23",
        "sld next law.json --budget 1e20 --grid N=1e7:1e9:8,D=20N:200N:5 --for exponents",
        "sld next law.json --budget 500 --pool pool.csv --cost gpu_hours --until 0.05 --json",
        "sld next law.json --budget 1e20 --for comparison --against other.json --at 1e23",
        "sld next --budget 1e20 --for allocation --at 1e23",
        "sld next runs.csv --target loss --scale N,D --check",
    )(next_)


def next_(
    table: options.TableOptions,
    weighing: options.Weighing,
    asking: Asking,
    offered: Offered,
    planning: Planning,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A run folder or law.json; a task or a table of runs (a quick law comes first); nothing for a first "
            "design from published laws.",
        ),
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="B", help="What the runs may cost together, in the cost's unit.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say what the runs that there are can and cannot tell, and what mends it.")
    ] = False,
    seed: options.Seed = 0,
    plot: options.Plot = None,
    out: options.Out = None,
    json: Json = False,
) -> None:
    """Which runs should I pay for next, and how much surer will each make the answer?

    The plan comes in the order in which runs teach most for their cost, so that one may stop at any point. Afterwards
    collect the runs and plan again: expectations rest on what is known now.
    """
    from sld import api
    from sld.cli.show import files
    from sld.cli.show import next as show

    asked = _asked(asking, offered, planning) | {"seed": seed, **table.keywords(), **weighing.keywords()}
    given = None if data is None else options.given(data)
    if check:
        if given is None:
            raise UsageError("a check needs runs to look at: name a table or a task")
        not_asked = ("minimum", "maximum", "repeats", "runs", "slots", "guard", "until", "noise", "at", "points")
        show.check(api.check_design(given, **{k: v for k, v in asked.items() if k not in not_asked}), json)
        return
    if budget is None:
        raise UsageError("next needs --budget: what the runs may cost together (or --check for what there is)")
    found = api.next_runs(given, budget, _goal(asking), **asked)
    files.picture(found, plot)
    files.table(found, out)
    show.plan(found, json)


def _asked(asking: Asking, offered: Offered, planning: Planning) -> dict[str, Any]:
    """Return the keywords of `sld.next_runs` that were given."""
    points = [_point(text) for text in asking.for_ or () if text.strip() not in _GOALS]
    asked: dict[str, Any] = {
        "at": options.amounts(asking.at, "--at"), "points": points, "law": asking.law, "search": asking.search,
        "rows": asking.rows, "against": asking.against, "between": options.split([asking.between or ""]),
        "of": asking.of, "only": asking.only, "grid": offered.grid, "candidates": offered.candidates,
        "pool": offered.pool, "cost": offered.cost, "settings": options.numbers(offered.set_, "--set"),
        "fixed": options.numbers(offered.fix, "--fix"), "swept": options.split(offered.sweep),
        "minimum": options.numbers(offered.minimum, "--min"), "maximum": options.numbers(offered.maximum, "--max"),
        "repeats": offered.repeats, "until": planning.until, "noise": planning.noise,
    }  # fmt: skip
    kept = {name: value for name, value in asked.items() if value not in (None, {}, [])}
    return kept | {"runs": planning.runs, "slots": planning.slots, "guard": planning.guard}


def _goal(asking: Asking) -> str | None:
    goals = [text.strip() for text in asking.for_ or () if text.strip() in _GOALS]
    if len(goals) > 1:
        raise UsageError(f"one goal at a time, not {' and '.join(goals)}")
    return goals[0] if goals else None


def _point(text: str) -> dict[str, float]:
    if "=" not in text:
        wanted = f"a point such as N=1e11,D=2e12, or {', '.join(_GOALS)}"
        raise UsageError(f"--for wants {wanted}, got {text!r}")
    return options.numbers([text], "--for")
