"""What to train for a budget: the verb behind `sld allocate`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack

from sld.api.laws import as_law
from sld.core.arguments import Misfit, checked, fitted, hints_of
from sld.core.errors import SldError, UsageError, suggest
from sld.core.numbers import exact

if TYPE_CHECKING:
    from sld.analysis.decisions.allocation import Allocator, Found, Question
    from sld.analysis.decisions.cost import Cost
    from sld.analysis.decisions.minima import Curves
    from sld.analysis.decisions.plan import Allocation, Plan
    from sld.analysis.decisions.surface import Surface
    from sld.core.arrays import Array
    from sld.laws.law import Law

_UNITS = {"gpu_hours": "gpu-hours", "dollars": "dollars", "days": "days"}


class AllocateOptions(TypedDict, total=False):
    """What a budget can be, and what is asked of a run beside its cost.

    Attributes:
        gpu_hours: The budget in hours of one GPU, turned into operations by `hardware`.
        dollars: The budget in money, by the price of a GPU for an hour.
        days: The budget as days of training on `hardware`'s GPUs.
        hardware: `gpu` (a name such as "h100", or operations per second), `mfu` (share of them that training reaches,
            0.4), `gpus` (1), `price` (of one for an hour, 2).
        target_loss: What the target shall reach, at the least cost.
        cost: A cost by name (6ND, attention, vocabulary, moe, ...) or a formula over the law's variables.
        settings: Values of names in the cost that are no variables, e.g. {"context": 8192}.
        demand: Tokens that will be served, at 2 operations per weight.
        prices: What an operation of "train" and of "inference" costs relative to one another; 1 and 1.
        given: Symbol to value that it has, or "D/N" to a ratio; without a budget the budget is looked for at which that
            is the best.
        maximum: Symbol, cost or formula to the largest value that it may have.
        choices: Symbol to the values among which it may be chosen.
        target: Column of the target; needed where there are several.
        weights: Column to weight of several targets, whose sum counts.
        group: One group; all of them if not given.
        draws: How many curves the intervals are made from; 500.
        seed: Of the draws; 0.
    """

    gpu_hours: float | Sequence[float]
    dollars: float | Sequence[float]
    days: float | Sequence[float]
    hardware: Mapping[str, str | float]
    target_loss: float
    cost: str
    settings: Mapping[str, float]
    demand: float
    prices: Mapping[str, float]
    given: Mapping[str, float]
    maximum: Mapping[str, float]
    choices: Mapping[str, Sequence[float]]
    target: str
    weights: Mapping[str, float]
    group: str
    draws: int
    seed: int


@checked()
def allocate(
    law: object, budget: float | Sequence[float] | None = None, **options: Unpack[AllocateOptions]
) -> Allocation:
    r"""Return what to train for a budget: the run of least loss that the cost allows, with its interval.

    $$ x^*(C) = \arg\min_x L(x) \quad \text{with} \quad c(x) = C . $$

    For $L = E + A N^{-\alpha} + B D^{-\beta}$, $c = 6 N D$ and $G = (\alpha A / \beta B)^{1/(\alpha+\beta)}$ that is

    $$ N^* = G (C/6)^{\beta/(\alpha+\beta)}, \qquad D^* = G^{-1} (C/6)^{\alpha/(\alpha+\beta)} $$

    (Hoffmann et al. 2022, equation 4); any other law, cost and number of variables is solved by numbers, and certified
    by derivatives. Hyperparameters are set to their best. Intervals hold 90 % of the law's joint draws, each with an
    optimum of its own.

    Args:
        law: A Law, a discovery, the path of a law.json or run directory, the name of a published law ("chinchilla"), or
            a formula without constants.
        budget: One or several, in the unit of the cost: operations (FLOP) for the named ones.
        **options: See `AllocateOptions`.

    Returns:
        The runs, how they grow with the budget, and up to where the law is supported.

    Raises:
        UsageError: Names or numbers that do not fit the law, a cost that cannot be had, several ways to say the budget.
        SldError: The law names no best run: its target keeps getting better towards an end; or no budget reaches what
            was asked for.

    Examples:
        >>> import sld
        >>> plan = sld.allocate("chinchilla_replication", 5.76e23)
        >>> [f"{plan.plans[0].point[s].value:.3g}" for s in ("N", "D")]
        ['7.22e+10', '1.33e+12']
        >>> round(plan.growth["all"].exponents["N"].value, 4)
        0.5126
        >>> sld.allocate("chinchilla", target_loss=2.0).plans[0].budget.text()
        '1.11e23'
    """
    from sld.analysis.decisions.plan import allocated, growth_of

    found_law = as_law(law)
    budgets = _budgets(budget, options)
    allocators: dict[str, Allocator] = {}
    runs: dict[str, list[Plan]] = {}
    growth = {}
    refused: list[str] = []
    groups = [options["group"]] if options.get("group") is not None else list(found_law.groups)
    for group in groups:
        allocator = _allocator(found_law, group, options)
        try:
            allocator, found = _found(allocator, budgets, options)
        except SldError as error:
            if len(groups) == 1 or error.exit_code != 1:
                raise
            refused.append(f"{group}: {error}")
            continue
        allocators[group] = allocator
        runs[group] = [_plan(allocator, run, options) for run in found]
        growth[group] = growth_of(allocator, [(f, c) for f, c, _ in found])
    if not runs:
        raise SldError(f"no group has a best run; {refused[0]}" if refused else "the law has no group")
    notes = [*refused, *_notes(next(iter(allocators.values())), options)]
    return allocated(allocators, runs, growth, notes)


def _plan(allocator: Allocator, run: tuple[Found, Curves | None, Array | None], options: AllocateOptions) -> Plan:
    from sld.analysis.decisions.plan import plan_of

    found, curves, budgets = run
    demand = (options["demand"], options.get("prices", {}).get("inference", 1.0)) if options.get("demand") else None
    return plan_of(allocator, found, curves, demand=demand, budgets=budgets)


def _found(
    allocator: Allocator, budgets: Sequence[float], options: AllocateOptions
) -> tuple[Allocator, list[tuple[Found, Curves | None, Array | None]]]:
    """Return the runs that were asked for and whose they are: for budgets, a loss, or where something given is best."""
    from sld.analysis.decisions.plan import drawn_where

    if budgets:
        near = None
        found: list[tuple[Found, Curves | None, Array | None]] = []
        for one in budgets:
            run = allocator.solve(one, near)
            near = run.best.z
            found.append((run, allocator.drawn(run), None))
        return allocator, found
    if (wanted := options.get("target_loss")) is not None:
        value = allocator.surface.sign * wanted
        run = allocator.budget_where(lambda f: value - f.best.value, f"{allocator.surface.name} = {exact(wanted)}")
        curves, drawn = drawn_where(allocator, run, value)
        return allocator, [(run, curves, drawn)]
    return _where_given(allocator)


def _where_given(allocator: Allocator) -> tuple[Allocator, list[tuple[Found, Curves | None, Array | None]]]:
    """Return the run on the path of best runs at which something has a given value."""
    from sld.analysis.decisions.allocation import Allocator, Question
    from sld.analysis.decisions.plan import drawn_where

    q = allocator.question
    asked = {s: x for s, x in q.held.items() if s in allocator.cost.uses}
    if len(asked) + len(q.ratios) != 1:
        raise UsageError(
            "say what there is to spend (a budget, hours, money or days), a target loss, or one value or ratio whose "
            "best budget is wanted (--given)"
        )
    path = Allocator(
        allocator.surface,
        allocator.cost,
        Question({s: x for s, x in q.held.items() if s not in asked}, {}, q.most, q.most_of, q.choices),
    )
    if asked:
        ((symbol, value),) = asked.items()
        other, what = "", f"{symbol} = {exact(value)}"
    else:
        ((symbol, (other, value)),) = q.ratios.items()
        what = f"{symbol}/{other} = {exact(value)}"

    def excess(f: Found) -> float:
        return math.log(f.best.point[symbol] / (f.best.point[other] if other else 1.0) / value)

    run = path.budget_where(excess, f"a best run with {what}")
    curves, drawn = drawn_where(path, run, symbol, other)
    return path, [(run, curves, drawn)]


def _budgets(budget: float | Sequence[float] | None, options: AllocateOptions) -> list[float]:
    """Return the budgets in the unit of the cost."""
    from sld.analysis.decisions.cost import Hardware

    said = [name for name in _UNITS if options.get(name) is not None] + (["budget"] if budget is not None else [])
    if options.get("target_loss") is not None:
        said.append("target_loss")
    if (wanted := options.get("target_loss")) is not None and not math.isfinite(wanted):
        raise UsageError(f"what the target shall reach must be a number, got {exact(wanted)}")
    if len(said) > 1:
        raise UsageError(f"say what there is to spend in one way, not as {' and '.join(said)}")
    if not said or said == ["target_loss"]:
        return []
    if said == ["budget"]:
        found = _numbers(budget)
    else:
        about = dict(options.get("hardware", {}))
        if unknown := [k for k in about if k not in ("gpu", "mfu", "gpus", "price")]:
            raise UsageError(f"hardware has gpu, mfu, gpus and price, not {unknown[0]!r}")
        hints = hints_of(Hardware)
        try:
            machine = Hardware(**{k: fitted(v, hints[k]) for k, v in about.items() if v is not None})
        except Misfit as error:
            raise UsageError(f"hardware must have {error}") from None
        found = [machine.flop(x, _UNITS[said[0]]) for x in _numbers(options[said[0]])]  # type: ignore[literal-required]
    for one in found:
        if not (math.isfinite(one) and one > 0):
            raise UsageError(f"a budget must be a number above 0, got {exact(one)}")
    return found


def _numbers(given: float | Sequence[float] | None) -> list[float]:
    import numpy as np

    try:
        return [] if given is None else sorted(float(x) for x in np.atleast_1d(given))  # arrays and numpy's numbers too
    except (TypeError, ValueError) as error:
        raise UsageError(f"what there is to spend is a number, or several, got {given!r}") from error


def _allocator(law: Law, group: str, options: AllocateOptions) -> Allocator:
    """Return what solves the question for one group."""
    from sld.analysis.decisions.allocation import Allocator
    from sld.analysis.decisions.surface import surface_of

    surface = surface_of(
        law,
        target=options.get("target"),
        weights=options.get("weights"),
        group=group,
        n=options.get("draws", 500),
        seed=options.get("seed", 0),
    )
    cost = _cost(law, surface, options)
    question = _question(law, options)
    used = [*cost.assumed, *(s for limit, _ in question.most_of.values() for s in limit.assumed)]
    if unknown := [s for s in options.get("settings", {}) if s not in used]:
        raise UsageError(suggest(unknown[0], used, kind="setting of this cost"))
    return Allocator(surface, cost, question)


def _cost(law: Law, surface: Surface, options: AllocateOptions) -> Cost:
    from sld.analysis.decisions.cost import FLOP, cost_of, with_demand
    from sld.analysis.decisions.surface import seen

    used = {s for c in surface.weights for s in law.expressions[c].used_variables}
    variables = [v for v in law.variables if v.symbol in used] if options.get("cost") is None else list(law.variables)
    ends = {s: high for s, (_, high) in seen(law, surface.group).items()}
    cost = cost_of(options.get("cost"), variables, settings=options.get("settings"), ends=ends)
    if cost.unit != FLOP and any(options.get(name) is not None for name in _UNITS):
        raise UsageError(f"hours, money and days buy operations, and {cost.text!r} counts {cost.unit}; say a budget")
    if (demand := options.get("demand")) is not None:
        prices = dict(options.get("prices", {}))
        if unknown := [k for k in prices if k not in ("train", "inference")]:
            raise UsageError(f"prices are of train and inference, not {unknown[0]!r}")
        if not (math.isfinite(demand) and demand >= 0) or not all(0 < x < math.inf for x in prices.values()):
            raise UsageError(f"demand must be a number of tokens and prices above 0, got {exact(demand)} and {prices}")
        cost = with_demand(cost, law.variables, demand, prices.get("train", 1.0), prices.get("inference", 1.0))
    elif options.get("prices"):
        raise UsageError("prices are for what is served: say the demand, in tokens")
    return cost


def _question(law: Law, options: AllocateOptions) -> Question:
    from sld.analysis.decisions.allocation import Question, limit_of

    held: dict[str, float] = {}
    ratios: dict[str, tuple[str, float]] = {}
    for name, value in options.get("given", {}).items():
        above, slash, below = name.partition("/")
        if slash:
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"the ratio {name} must be a number above 0, got {exact(value)}")
            ratios[above.strip()] = (below.strip(), float(value))
        else:
            held[name.strip()] = float(value)
    symbols = [v.symbol for v in law.variables]
    most, most_of = {}, {}
    for name, value in options.get("maximum", {}).items():
        if name in symbols:
            most[name] = float(value)
        else:
            most_of[name] = (limit_of(name, law.variables, options.get("settings", {})), float(value))
    choices = {s: tuple(float(x) for x in values) for s, values in options.get("choices", {}).items()}
    if empty := [s for s, values in choices.items() if not values]:
        raise UsageError(f"choices of {empty[0]} are none; list values, e.g. {empty[0]}=1e9,3e9")
    return Question(held, ratios, most, most_of, choices)


def _notes(allocator: Allocator, options: AllocateOptions) -> list[str]:
    """Return what a reader should know of the law and of what was assumed."""
    law = allocator.law
    notes = list(law.notes)
    published = law.provenance.get("published")
    if isinstance(published, Mapping):
        source = f" ({published['source']})" if published["source"] else ""
        notes.append(f"constants of {published['id']}: {published['label'] or 'it has none'}{source}")
        if published["others"]:
            there = "; ".join(published["others"])
            notes.append(f"other constants of it are {published['id']}@LABEL, with the start of a label: {there}")
    if not allocator.surface.n and options.get("draws") != 0:
        why = "published constants have none" if isinstance(published, Mapping) else "the law carries none"
        notes.append(f"no intervals: {why}")
    if allocator.cost.assumed:
        notes.append("assumed: " + ", ".join(f"{s} = {exact(x)}" for s, x in allocator.cost.assumed.items()))
    return notes
