"""What `sld.next_runs` can be told: what is asked, which runs could be made, and how a plan is made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sld.api.options import ColumnOptions
from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact

if TYPE_CHECKING:
    from sld.analysis.decisions.next_runs import Wish
    from sld.analysis.decisions.offers import Offer

GOALS = ("points", "allocation", "comparison", "exponents")
RUNS = 20  # of a plan


class NextOptions(ColumnOptions, total=False):
    """What is asked, which runs could be made, and how a plan is made; and the roles of a bare table's columns.

    Attributes:
        at: One or several budgets, for goal "allocation" (whose best run is asked for) and "comparison" (where the laws
            are compared, each at its best run).
        points: Symbol to value of what shall be predicted, or a list of these; another word for `goal`.
        grid: Runs that could be made, as text: "N=1e7:1e9:8,D=20N:200N:5".
        candidates: Runs that could be made, as a table with the variables' columns.
        pool: The same, but each row can be run once.
        cost: What a run costs: a name (6ND, ...), a formula over the variables, or over columns of the pool.
        settings: Values of names in the cost that are no variables.
        law: For a bare table: the form to plan with (a name, a formula, one for each target); a quick search without.
        search: Budget of that search, "3000fits".
        against: The other law of a comparison.
        between: Two groups of one law to compare.
        rows: The runs that a law was fitted to, where `data` is a law.
        of: Column of the target that is asked about, of several.
        only: One group; all of them if not given.
        fixed: Symbol to the value that it has in every run.
        swept: Symbols of hyperparameters to be tried at several values.
        minimum: Symbol (or "cost") to the least value that a run may have.
        maximum: The same for the largest.
        repeats: How often a run may be made; 2, and 1 in a pool.
        runs: At most so many; 20.
        slots: Runs at one time; 1.
        guard: Share of the budget for places where nothing is known, whatever formulas say; 0.1.
        until: Width of the intervals asked for below which nothing more is paid for; nothing then fills empty places.
        noise: Relative spread of single runs, for a first design; 0.005.
        seed: Of everything random; 0.
    """

    at: float | Sequence[float]
    points: Mapping[str, float] | Sequence[Mapping[str, float]]
    grid: str
    candidates: object
    pool: object
    cost: str
    settings: Mapping[str, float]
    law: str | Mapping[str, str]
    search: str
    against: object
    between: Sequence[str]
    rows: object
    of: str
    only: str
    fixed: Mapping[str, float]
    swept: Sequence[str]
    minimum: Mapping[str, float]
    maximum: Mapping[str, float]
    repeats: int
    runs: int
    slots: int
    guard: float
    until: float
    noise: float
    seed: int


@dataclass(frozen=True)
class Question:
    """What is asked: the goal, the points of predictions, the budgets of best runs."""

    goal: str
    points: tuple[Mapping[str, float], ...] = ()
    at: tuple[float, ...] = ()


def question_of(goal: object, options: NextOptions) -> Question:
    """Return what is asked; raises UsageError where the words do not go together."""
    at = options.get("at")
    budgets = () if at is None else (float(at),) if isinstance(at, int | float) else tuple(float(x) for x in at)
    if bad := [x for x in budgets if not (math.isfinite(x) and x > 0)]:
        raise UsageError(f"at wants budgets above 0, got {exact(bad[0])}")
    points = options.get("points")
    if points is not None and goal not in (None, "points", "comparison"):
        raise UsageError(f"points are for predictions and comparisons, not for the goal {goal!r}")
    if isinstance(goal, str):
        if goal not in GOALS:
            raise UsageError(f"{suggest(goal, GOALS, kind='goal')}; or a point, e.g. N=1e11,D=2e12")
        kind: str = goal
    else:
        if goal is not None:
            points = goal  # type: ignore[assignment]
        kind = "points"
    several = () if points is None else (points,) if isinstance(points, Mapping) else tuple(points)
    if kind == "allocation" and not budgets:
        raise UsageError("for an allocation say the budget whose best run is wanted: at=1e24 (--at 1e24)")
    if budgets and kind in ("points", "exponents"):
        raise UsageError("at is the budget of an allocation or a comparison; say the goal (--for allocation)")
    if kind == "comparison" and bool(budgets) == bool(several):
        raise UsageError("compare at points, or at the best runs for budgets (at); say one of the two")
    return Question(kind, several, budgets)


def wish_of(budget: float, options: NextOptions) -> Wish:
    """Return how the plan is to be made; raises UsageError for a number out of range."""
    from sld.analysis.decisions.choosing_runs import GUARD
    from sld.analysis.decisions.next_runs import Wish

    for name in ("repeats", "runs", "slots"):
        if (value := options.get(name, 1)) < 1:  # type: ignore[operator]
            raise UsageError(f"{name} must be 1 or more, got {value}")
    guard = options.get("guard", GUARD)
    if not 0 <= guard <= 1:
        raise UsageError(f"guard is a share of the budget, from 0 to 1, got {exact(guard)}")
    if (until := options.get("until")) is not None and not (math.isfinite(until) and until > 0):
        raise UsageError(f"until is a width above 0, got {exact(until)}")
    return Wish(budget, options.get("slots", 1), options.get("runs", RUNS), guard, options.get("until"))


def offer_of(options: NextOptions) -> Offer:
    """Return which runs could be made, as the options say it."""
    from sld.analysis.decisions.offers import Offer

    return Offer(
        options.get("grid"), options.get("candidates"), options.get("pool"), options.get("cost"),
        {s: float(x) for s, x in options.get("fixed", {}).items()}, tuple(options.get("swept", ())),
        options.get("repeats"),
    )  # fmt: skip
