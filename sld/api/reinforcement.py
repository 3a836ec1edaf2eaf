"""Reinforcement learning: bounded curves in compute, and the chain of laws of value-based methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from sld.core.arguments import checked
from sld.core.errors import DataError, UsageError
from sld.core.numbers import exact

if TYPE_CHECKING:
    from sld.analysis.reinforcement.chain import Settings
    from sld.analysis.reinforcement.plan import UpdatePlan
    from sld.analysis.reinforcement.result import RecipeCurves
    from sld.core.arrays import Array


class RecipeOptions(TypedDict, total=False):
    """What the rows of a table of reinforcement learning are, and what is asked.

    Attributes:
        run: Column(s) that tell runs of one recipe apart, such as the seed; without one, each recipe is one run.
        better: "higher" (the default) or "lower": which value is better.
        lower: Bound that no value falls below; 0 if not given and all values lie between 0 and 1.
        upper: Bound that no value exceeds; 1 if not given and all values lie between 0 and 1.
        start: The value before training, where it is known; rows at a compute of 0 say it too.
        discard: What is left out at the beginning of runs: "auto" (the default), "none", a share such as "5%", or an
            amount of compute.
        reach: The value at which efficiency is compared; half-way from the best start to the worst asymptote if not
            given.
        first: Use the first part of each run only, e.g. 0.5: to see what would have been foretold.
        level: Level of the intervals, 0.9 if not given.
        drop: Rows to leave out, e.g. "step<1000".
    """

    run: str | Sequence[str]
    better: Literal["higher", "lower"]
    lower: float | None
    upper: float | None
    start: float | None
    discard: str | float
    reach: float | None
    first: float | None
    level: float
    drop: str | Sequence[str]


@checked()
def rl(
    data: object,
    *,
    target: str,
    compute: str,
    recipe: str | None = None,
    until: float | None = None,
    seed: int = 0,
    **options: Unpack[RecipeOptions],
) -> RecipeCurves:
    r"""Fit bounded curves in compute to runs of reinforcement learning, and compare recipes.

    Each run has the curve of arXiv:2510.13786, equation 1,

    $$ R(C) = R_0 + \frac{A - R_0}{1 + (C_{\text{mid}}/C)^B} , $$

    and the answer keeps apart what it keeps apart: the asymptote $A$, where a recipe ends, and the efficiency, how
    much compute it takes, by $C_{\text{mid}}$, by $B$, and by the compute to reach a value that all recipes reach. The
    first part of runs is left out by a rule, since what happens there is not yet on the curve.

    Args:
        data: A table with a row for each evaluation (path, DataFrame, mapping of columns, list of records).
        target: Column of the values, such as the pass rate on held-out prompts.
        compute: Column of compute, in any unit (GPU-hours, FLOP, steps). A row at 0 measures the start.
        recipe: Column of the recipe; without one, all rows are of one.
        until: Compute at which the curves are asked for.
        seed: Of the draws.
        **options: `run`, `better`, `lower`, `upper`, `start`, `discard`, `reach`, `first`, `level`, `drop`:
            see `sld.api.reinforcement.RecipeOptions`.

    Returns:
        The constants of each recipe with intervals (`recipes`), which leads in asymptote and in efficiency, whether
        it can be told apart from the others, and where the lead changes.

    Raises:
        UsageError: A word is not understood, no run has five points or goes the way that is better, or a bound is
            broken by the values.
        DataError: A column is missing or a cell is no number.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> C = np.arange(1, 61) * 1000.0
        >>> rows = {"hours": C, "passed": 0.2 + 0.41 / (1 + (8000 / C) ** 1.5) + 0.005 * np.cos(7 * np.arange(60))}
        >>> found = sld.rl(rows, target="passed", compute="hours")
        >>> a = found.recipes[0].asymptote
        >>> round(a.value, 2), a.low < 0.61 < a.high
        (0.61, True)
    """
    from sld.analysis.reinforcement.fitting import Asked, fitted_recipes

    better = options.get("better", "higher")
    if better not in ("lower", "higher"):
        raise UsageError(f"better must be higher or lower, got {better!r}")
    level, first = options.get("level", 0.9), options.get("first")
    if not 0 < level < 1:
        raise UsageError(f"level must lie between 0 and 1, got {level:g}")
    if first is not None and not 0 < first <= 1:
        raise UsageError(f"first is a share of each run, above 0 and at most 1, got {exact(first)}")
    if until is not None and not 0 < until < math.inf:
        raise UsageError(f"until is an amount of compute, above 0, got {exact(until)}")
    runs, notes = _read_runs(data, target, compute, recipe, options)
    if first is not None:
        runs = [(name, x[x <= first * x[-1]], y[x <= first * x[-1]]) for name, x, y in runs]
    asked = Asked(
        rises=better == "higher", lower=options.get("lower"), upper=options.get("upper"), level=level,
        start=options.get("start"),
        discard=options.get("discard", "auto"), reach=options.get("reach"), until=until, seed=seed,
    )  # fmt: skip
    return fitted_recipes(runs, (target, compute), asked, notes)


def _read_runs(
    data: object, target: str, compute: str, recipe: str | None, options: RecipeOptions
) -> tuple[list[tuple[str, Array, Array]], list[str]]:
    """Return recipe, compute (n,) and value (n,) of each run, by rising compute, and what was noticed."""
    import numpy as np

    from sld.data.reading import prepared, read_columns
    from sld.data.roles import listed

    by = list(listed(options.get("run", ())))
    columns = [target, compute, *([recipe] if recipe else []), *by]
    doubled = [name for name in columns if columns.count(name) > 1]
    if doubled:
        raise UsageError(f"column {doubled[0]!r} is named twice (target, compute, recipe and run must differ)")
    source = prepared(data, drop=listed(options.get("drop", ())))
    read = read_columns(source, [compute, target], recipe)
    x, y = read.values[compute], read.values[target]
    if (x < 0).any():
        raise DataError(f"{read.where}: compute must be 0 or more, got {exact(x[x < 0][0])} in column {compute!r}")
    notes = list(read.notes)
    used = np.isfinite(x) & np.isfinite(y)
    if not (used & (x > 0)).any():
        raise DataError(f"{read.where}: no row has both {compute!r} above 0 and a value of {target!r}")
    if n := int((~used).sum()):
        notes.append(f"{n} of {read.n_rows} rows have no {target} or no {compute}, and were left out")
    of = read.label_index.astype(int)
    key = of.copy()
    for column in by:
        other = read_columns(source, [], column)
        key = key * len(other.labels) + other.label_index
    runs, repeated = [], 0
    for number in dict.fromkeys(key[used].tolist()):
        rows = np.flatnonzero(used & (key == number))
        steps, where = np.unique(x[rows], return_inverse=True)
        repeated += len(rows) - len(steps)
        name = read.labels[of[rows[0]]] if recipe else "all"
        runs.append((name, steps, np.bincount(where, weights=y[rows]) / np.bincount(where)))
    if repeated:
        several = "" if by else "; if they are of several runs, name the column that tells these apart (run)"
        notes.append(f"{repeated} rows have a {compute} that another row of their run has, and were averaged{several}")
    return runs, notes


class UpdateOptions(TypedDict, total=False):
    """What the rows of a table of value-based reinforcement learning are, and what a budget is charged with.

    Attributes:
        target: Column of returns, in a table with a row for each evaluation.
        step: Column of steps of the environment, in such a table.
        steps: Column of the steps that a performance took, in a table with a row for each run and performance.
        batch: Column of the batch size.
        lr: Column of the learning rate.
        run: Column(s) that tell runs of one setting apart, such as the seed.
        data_price: Compute that a step of the environment is worth; without it no ratio costs least.
        sample_cost: Compute of one sample in one update; 1 if not given, so that compute counts samples.
        level: Level of the intervals, 0.9 if not given.
        drop: Rows to leave out, e.g. "env==hopper".
    """

    target: str | None
    step: str | None
    steps: str | None
    batch: str | None
    lr: str | None
    run: str | Sequence[str]
    data_price: float | None
    sample_cost: float
    level: float
    drop: str | Sequence[str]


@checked()
def utd(
    data: object,
    *,
    ratio: str,
    reach: float | str | Sequence[float],
    budget: float | Sequence[float] = (),
    seed: int = 0,
    **options: Unpack[UpdateOptions],
) -> UpdatePlan:
    r"""Fit the chain of laws of value-based reinforcement learning, and say how to spend a budget.

    With $\sigma$, the ratio of updates to data (UTD), after arXiv:2502.04327,

    $$ D_J(\sigma) = D_J^{\min} + (\beta_J/\sigma)^{\alpha} , \quad C_J(\sigma) = k\,B^*(\sigma)\,\sigma\,D_J(\sigma) ,
    \quad F = C + \delta D , \quad \sigma^*(F) = (\beta_\sigma/F)^{\alpha_\sigma} , $$

    with power laws for the best batch size $B^*$ and the best learning rate. Returns are made to rise only before the
    first step that has a performance is looked for. Where three batch sizes or learning rates were run, the best is the
    bottom of a parabola through all settings nearby, not the luckiest of them.

    Args:
        data: A table with a row for each evaluation (options `target`, `step`), or for each run and performance
            (option `steps`).
        ratio: Column of the ratio of updates to data.
        reach: The performances: numbers, or, with `steps`, the column that says which a row is about.
        budget: What there is to spend, in units of compute; needs `data_price`.
        seed: Of the draws behind the intervals.
        **options: `target`, `step`, `steps`, `batch`, `lr`, `run`, `data_price`, `sample_cost`, `level`, `drop`: see
            `sld.api.reinforcement.UpdateOptions`.

    Returns:
        The laws with intervals, what each performance takes, and how to spend each budget.

    Raises:
        UsageError: A word is not understood, a price is missing, or fewer than three ratios reach every performance.
        DataError: A column is missing or a cell is no number.

    Examples:
        >>> import sld
        >>> rows = [
        ...     {"utd": s, "return": J, "steps": 1e5 * t + 6e4 * t**1.5 * s**-0.6}
        ...     for s in (0.5, 1, 2, 4, 8) for J, t in ((300, 1), (500, 2), (700, 4))
        ... ]
        >>> found = sld.utd(rows, ratio="utd", reach="return", steps="steps", data_price=1.0, budget=5e6)
        >>> round(found.chain.exponent, 1), len(found.budgets)
        (0.6, 1)
    """
    from sld.analysis.reinforcement.chain import Prices
    from sld.analysis.reinforcement.plan import Question, plan

    level, price, sample = options.get("level", 0.9), options.get("data_price"), options.get("sample_cost", 1.0)
    if not 0 < level < 1:
        raise UsageError(f"level must lie between 0 and 1, got {level:g}")
    budgets = (float(budget),) if isinstance(budget, int | float) else tuple(float(b) for b in budget)
    for name, values in (
        ("budget", budgets),
        ("data_price", (1.0 if price is None else price,)),
        ("sample_cost", (sample,)),
    ):
        if not all(0 < v < math.inf for v in values):
            raise UsageError(f"{name} must be above 0, got {', '.join(f'{exact(v)}' for v in values)}")
    if budgets and price is None:
        raise UsageError("a budget pays for compute and data: say what a step of the environment is worth (data_price)")
    settings, values, notes = _read_settings(data, ratio, reach, options)
    if budgets and len(values) < 2:
        raise UsageError("a law of the best ratio in the budget needs two performances at least: name more (reach)")
    asked = Question(values, None if price is None else Prices(sample, price), budgets, level, seed)
    return plan(settings, ratio, asked, notes)


def _read_settings(
    data: object, ratio: str, reach: float | str | Sequence[float], options: UpdateOptions
) -> tuple[Settings, tuple[float, ...], list[str]]:
    """Return what was run, the performances in rising order, and what was noticed."""
    import numpy as np

    from sld.analysis.reinforcement.settings import gathered
    from sld.data.reading import prepared, read_columns
    from sld.data.roles import listed

    steps, step, target = options.get("steps"), options.get("step"), options.get("target")
    if (steps is None) == (step is None or target is None):
        raise UsageError(
            "name the columns of returns and steps (target, step) of a table of evaluations, or the column of the "
            "steps that a performance took (steps)"
        )
    named = isinstance(reach, str)
    if named != (steps is not None):
        raise UsageError(
            "with steps, reach names the column that says which performance a row is about"
            if not named
            else f"reach wants numbers for a table of evaluations, got {reach!r}"
        )
    known = [c for c in (options.get("batch"), options.get("lr")) if c]
    values = [steps, str(reach)] if steps is not None else [step, target]
    numbers = [str(c) for c in (ratio, *known, *values)]
    by = list(listed(options.get("run", ())))
    doubled = [name for name in (*numbers, *by) if [*numbers, *by].count(name) > 1]
    if doubled:
        raise UsageError(f"column {doubled[0]!r} is named twice (each part of the table has a column of its own)")
    source = prepared(data, drop=listed(options.get("drop", ())))
    read = read_columns(source, numbers)
    key = np.zeros(read.n_rows, dtype=int)
    for column in by:
        other = read_columns(source, [], column)
        key = key * len(other.labels) + other.label_index
    levels = () if named else tuple(float(v) for v in ([reach] if isinstance(reach, int | float) else reach))
    columns = {name: read.values[c] for name, c in zip(("ratio", "a", "b"), (ratio, *values), strict=True)}
    for name, given in (("batch", options.get("batch")), ("lr", options.get("lr"))):
        columns[name] = read.values[given] if given else np.full(read.n_rows, np.nan)
    for name in ("ratio", "batch", "lr"):
        bad = columns[name] <= 0
        if bad.any():
            raise DataError(f"{read.where}: {name} must be above 0, got {exact(columns[name][bad][0])}")
    settings, levels, notes = gathered(columns, key, levels, named)
    return settings, levels, [*read.notes, *notes]
