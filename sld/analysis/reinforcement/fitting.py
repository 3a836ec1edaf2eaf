"""From runs of recipes to their bounded curves: bounds, the first part, each run, then each recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from sld.analysis.reinforcement.discard import read_discard
from sld.analysis.reinforcement.recipes import Question, between_runs, compare_recipes, together
from sld.analysis.reinforcement.result import RecipeCurves
from sld.analysis.reinforcement.sigmoid import LEAST_POINTS, UNBOUNDED, Bounded, Limits, Points, fit_bounded
from sld.core.arrays import Array
from sld.core.errors import UsageError
from sld.core.numbers import exact, short

DRAWS = 2000  # the ends of a 90 % interval are known to a thirtieth of its width
FAR = 4.0  # times the last compute: beyond, a forecast is said to rest on the form

Run = tuple[str, Array, Array]  # recipe, compute (n,) and value (n,)


@dataclass(frozen=True)
class Asked:
    """What is asked of runs.

    Attributes:
        rises: Whether higher is better.
        lower: Bound that no value falls below, where it is known.
        upper: Bound that no value exceeds, where it is known.
        start: The value before training, where it is known.
        level: Level of the intervals.
        discard: What is left out at the beginning, as `read_discard` takes it.
        reach: The common value of efficiency; None for the one of `compare_recipes`.
        until: Compute at which curves are asked for; None for nowhere.
        seed: Of the draws.
    """

    rises: bool = True
    lower: float | None = None
    upper: float | None = None
    start: float | None = None
    level: float = 0.9
    discard: str | float = "auto"
    reach: float | None = None
    until: float | None = None
    seed: int = 0


def fitted_recipes(runs: Sequence[Run], columns: tuple[str, str], asked: Asked, notes: Sequence[str]) -> RecipeCurves:
    """Return the bounded curves of all recipes, compared.

    Args:
        runs: What was measured, by rising compute.
        columns: Names of the target and of compute.
        asked: What is asked.
        notes: What was noticed so far.

    Raises:
        UsageError: No run can be fitted, or a bound is broken by the values.
    """
    target, compute = columns
    said = list(notes)
    limits = _limits(runs, asked, target, said)
    rng = np.random.default_rng(asked.seed)
    discard = read_discard(asked.discard, [(x, y) for _, x, y in runs], limits)
    by_recipe: dict[str, list[Bounded]] = {}
    used: dict[str, list[tuple[int, float]]] = {}
    short, wrong, kept = [], [], []
    for name, x, y in runs:
        cuts = discard.of(float(x[-1]))
        n = int(((x > 0) & (x >= cuts[0])).sum())
        if n < LEAST_POINTS:
            short.append(name)
            continue
        each = [fit_bounded(Points.of(x, y, cut, asked.start), limits, DRAWS, rng) for cut in cuts]
        found = _mixed([b for b in each if b is not None], rng)
        if found is None:
            wrong.append(name)
            continue
        by_recipe.setdefault(name, []).append(found)
        used.setdefault(name, []).append((n, float(x[-1])))
        kept.append((name, x, y))
    way = "rises" if asked.rises else "falls"
    if not by_recipe:
        other = "--better lower" if asked.rises else "--better higher"
        reason = (
            f"no run has {LEAST_POINTS} points beyond the part that is left out; --discard none keeps all"
            if not wrong
            else f"no run {way} with {compute}, so none has a bounded curve; if {target} is meant to, try {other}"
        )
        raise UsageError(reason)
    if short:
        said.append(f"left out, with fewer than {LEAST_POINTS} points: {_names(short)}")
    if wrong:
        said.append(f"left out, since {target} no more {way} than not: {_names(wrong)}")
    scatter = between_runs(list(by_recipe.values()))
    single = [name for name, each in by_recipe.items() if len(each) < 2]
    if not scatter.degrees:
        said.append(
            "no recipe has two runs (--run names the column that tells them apart): the intervals do not hold what "
            "another seed would change"
        )
    elif single:
        said.append(f"one run each: {_names(single)}; how far runs differ is taken from the other recipes")
    curves = {name: together(each, scatter, limits, rng) for name, each in by_recipe.items()}
    facts = {name: (len(f), sum(n for n, _ in f), max(last for _, last in f)) for name, f in used.items()}
    if asked.until is not None and (far := [n for n, f in facts.items() if asked.until > FAR * f[2]]):
        said.append(
            f"asked for more than {exact(FAR)} times what was measured: {_names(far)}; there all rests on the form"
        )
    asks = Question(limits, asked.level, asked.reach, asked.until)
    compared = compare_recipes(curves, facts, asks, rng)
    better = "higher" if asked.rises else "lower"
    return RecipeCurves(
        target, compute, asked.level, better, discard.rule, asked.until, compared, tuple(said), tuple(kept), curves
    )


def _mixed(each: Sequence[Bounded], rng: np.random.Generator) -> Bounded | None:
    """Return draws from all of them alike: which part is left out is not known better than the data tell."""
    if len(each) < 2:
        return each[0] if each else None
    of = rng.integers(0, len(each), DRAWS)
    rows = np.arange(DRAWS)
    names = [f.name for f in fields(Bounded)]
    return Bounded(**{name: np.stack([getattr(b, name) for b in each])[of, rows] for name in names})


def _names(names: Sequence[str]) -> str:
    each = list(dict.fromkeys(names))
    return ", ".join(each[:8]) + (f" and {len(each) - 8} more" if len(each) > 8 else "")


def _limits(runs: Sequence[Run], asked: Asked, target: str, said: list[str]) -> Limits:
    """Return what values can be: as given, 0 to 1 where all values lie there, else some spans beyond the data."""
    values = np.concatenate([y for _, _, y in runs])
    low, high = float(values.min()), float(values.max())
    if any(b is not None and not np.isfinite(b) for b in (asked.lower, asked.upper)):
        raise UsageError("lower and upper are numbers that no value falls below, or exceeds")
    if (asked.lower is not None and low < asked.lower) or (asked.upper is not None and high > asked.upper):
        raise UsageError(
            f"{target} goes from {short(low, 4)} to {short(high, 4)}, beyond what lower and upper say of all values"
        )
    if asked.start is not None:
        if not np.isfinite(asked.start):
            raise UsageError("start is the value before training, a number")
        low, high = min(low, asked.start), max(high, asked.start)
    share = low >= 0 and high <= 1
    span = UNBOUNDED * ((high - low) or max(abs(high), 1.0))
    lower = asked.lower if asked.lower is not None else 0.0 if share else low - span
    upper = asked.upper if asked.upper is not None else 1.0 if share else high + span
    if (asked.upper if asked.rises else asked.lower) is None:
        far = short(upper if asked.rises else lower, 4)
        word, flag = ("upper", "--upper") if asked.rises else ("lower", "--lower")
        said.append(
            f"{target} is taken to lie between 0 and 1"
            if share
            else f"no {word} bound is given ({flag}): the asymptote is looked for up to {far}"
        )
    return Limits(lower, upper, asked.rises)
