"""Recipes of reinforcement learning compared: which ends higher, which gets there with less compute, and what is known.

Asymptote and efficiency are reported apart, since a recipe that leads early need not lead in the end
(arXiv:2510.13786). Every number is computed draw by draw from the joint draws of the curves and summarised by
quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.analysis.reinforcement.sigmoid import Bounded, Limits, gain
from sld.core.arrays import Array
from sld.core.errors import UsageError
from sld.core.numbers import exact, short

LEAST_RUNS = 2  # of a recipe, to say how far runs of one recipe differ
FARTHEST = 100.0  # times the last compute: where curves may still cross


@dataclass(frozen=True)
class Span:
    """A number and its interval.

    Attributes:
        value: The median of the draws.
        low: Lower end.
        high: Upper end; infinite where a curve may never get there.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: Array, level: float) -> Span:
        """Return the quantiles of draws, some of which may be infinite."""
        a = (1 - level) / 2
        # between a number and infinity there is nothing to interpolate
        low, value, high = (float(np.quantile(draws, q, method="nearest")) for q in (a, 0.5, 1 - a))
        return cls(value, low, high)


@dataclass(frozen=True)
class Recipe:
    """The bounded curve of one recipe.

    Attributes:
        name: Of the recipe.
        n_runs: Runs that it rests on.
        n_points: Points that were used.
        last: The largest compute that was measured.
        start: $R_0$.
        asymptote: $A$.
        middle: $C_{mid}$, the compute at half of the gain.
        steepness: $B$.
        reach: Compute to reach the common value, `Compared.value`.
        gained: Share of the whole gain that is there at `last`.
        at: The curve where it was asked for; None if nowhere.
        run_at: A single measurement there.
        highest: Probability that no other recipe has a better asymptote.
        quickest: Probability that no other reaches the common value with less compute.
    """

    name: str
    n_runs: int
    n_points: int
    last: float
    start: Span
    asymptote: Span
    middle: Span
    steepness: Span
    reach: Span
    gained: Span
    at: Span | None = None
    run_at: Span | None = None
    highest: float = 1.0
    quickest: float = 1.0

    @property
    def before(self) -> tuple[float, float]:
        """What efficiency is ranked by: the compute, and the probability where by the median nobody gets there."""
        return self.reach.value, -self.quickest


@dataclass(frozen=True)
class Difference:
    """A recipe beside the leader of one question.

    Attributes:
        question: `asymptote` or `efficiency`.
        leader: The recipe that leads by the median.
        other: The other.
        by: How much better the leader's asymptote is; for efficiency, how many times as much compute the other needs.
        apart: Whether the interval leaves out that both are alike.
    """

    question: str
    leader: str
    other: str
    by: Span
    apart: bool


@dataclass(frozen=True)
class Crossing:
    """Where the recipe with the better asymptote overtakes the more efficient one.

    Attributes:
        early: The recipe that reaches the common value first.
        late: The recipe with the better asymptote.
        compute: Where the curves cross, among draws in which they do.
        probability: That they cross up to `FARTHEST` times the last compute.
    """

    early: str
    late: str
    compute: Span
    probability: float


@dataclass(frozen=True)
class Scatter:
    """How far runs of one recipe differ.

    Attributes:
        found: Variance of the medians of runs about their recipe's, of `start` and `asymptote`, and of the logarithms
            of `middle` and `steepness`; empty where no recipe has several runs.
        own: Variance of a run's own draws about its median, which is part of the former.
        degrees: Of freedom that they rest on.
    """

    found: Mapping[str, float]
    own: Mapping[str, float]
    degrees: int = 0

    def draws(self, name: str, n: int, rng: np.random.Generator) -> Array:
        r"""Return draws (n,) of how far a run is from its recipe.

        The variance of medians is itself known from few runs: it is drawn as $\nu s^2/\chi^2_\nu$, and what runs owe to
        their own noise is taken off.
        """
        if name not in self.found:
            return np.zeros(n)
        whole = self.degrees * self.found[name] / rng.chisquare(self.degrees, n)
        return np.asarray(np.sqrt(np.maximum(whole - self.own[name], 0.0)) * rng.standard_normal(n))


def together(runs: Sequence[Bounded], scatter: Scatter, limits: Limits, rng: np.random.Generator) -> Bounded:
    r"""Return draws of a recipe's curve from those of its runs.

    The constants of a recipe are the means over its $m$ runs. What other runs of it would change, $1/\sqrt{m}$ of how
    far a run is from its recipe, is added to every draw.

    Args:
        runs: Draws of each run, as many of each.
        scatter: Between runs of one recipe.
        limits: What values can be.
        rng: Of what is added.
    """
    n = len(runs[0].start)

    def mean(name: str, log: bool) -> Array:
        each = np.array([getattr(b, name) for b in runs])  # (n_runs, n)
        centre = (np.log(each) if log else each).mean(0)
        moved = centre + scatter.draws(name, n, rng) / np.sqrt(len(runs))
        return np.asarray(np.exp(moved) if log else np.clip(moved, limits.lower, limits.upper))

    start, asymptote = mean("start", False), mean("asymptote", False)
    # a gain that is lost in the scatter of runs stays a gain, or no share of it could be told
    least = 1e-9 * max(abs(limits.upper), 1.0)
    gained = np.maximum(asymptote - start, least) if limits.rises else np.minimum(asymptote - start, -least)
    noise = np.sqrt(np.mean([b.noise**2 for b in runs], axis=0))
    return Bounded(start, start + gained, mean("middle", True), mean("steepness", True), noise)


def between_runs(by_recipe: Sequence[Sequence[Bounded]]) -> Scatter:
    """Return how far runs of one recipe differ, pooled over recipes that have several."""
    several = [runs for runs in by_recipe if len(runs) >= LEAST_RUNS]
    degrees = sum(len(runs) - 1 for runs in several)
    found, own = {}, {}
    for name in ("start", "asymptote", "middle", "steepness") if several else ():
        squares = within = 0.0
        for runs in several:
            each = [np.log(v) if name in ("middle", "steepness") else v for v in (getattr(b, name) for b in runs)]
            medians = np.array([np.median(v) for v in each])
            squares += float(np.sum((medians - medians.mean()) ** 2))
            within += (len(runs) - 1) * float(np.mean([np.var(v) for v in each]))
        found[name], own[name] = squares / degrees, within / degrees
    return Scatter(found, own, degrees)


@dataclass(frozen=True)
class Compared:
    """The recipes, and what tells them apart.

    Attributes:
        recipes: One for each, in the order of the table.
        value: The common value that efficiency is measured at; None where no value lies on the way of all, and
            efficiency is measured by `middle`, each at half of its own gain.
        differences: The leader of each question beside every other recipe.
        crossing: Where the lead changes; None where one recipe leads both questions.
    """

    recipes: tuple[Recipe, ...]
    value: float | None
    differences: tuple[Difference, ...]
    crossing: Crossing | None


@dataclass(frozen=True)
class Question:
    """What is asked of the recipes.

    Attributes:
        limits: What values can be.
        level: Level of the intervals.
        value: The common value of efficiency; None takes the one half-way from the best start to the worst asymptote.
        until: Compute at which curves are asked for; None for nowhere.
    """

    limits: Limits
    level: float = 0.9
    value: float | None = None
    until: float | None = None


def compare_recipes(
    curves: Mapping[str, Bounded],
    facts: Mapping[str, tuple[int, int, float]],
    asked: Question,
    rng: np.random.Generator,
) -> Compared:
    """Compare recipes by asymptote and by efficiency.

    Args:
        curves: Draws of each recipe, as many of each.
        facts: Number of runs, number of points and last compute of each.
        asked: What is asked.
        rng: Of the noise of single measurements.

    Raises:
        UsageError: No curve has the value that efficiency was to be measured at.
    """
    sign = 1.0 if asked.limits.rises else -1.0
    value = asked.value if asked.value is not None else _common(curves, sign)
    reach = {name: b.middle if value is None else b.reaching(value) for name, b in curves.items()}
    spans = [Span.of(c, asked.level) for c in reach.values()]
    if asked.value is not None and all(s.low == np.inf or s.high == 0 for s in spans):
        raise UsageError(_nowhere(curves, asked.value, sign))
    asymptotes = sign * np.array([b.asymptote for b in curves.values()])  # (n_recipes, n)
    computes = np.array(list(reach.values()))
    n = asymptotes.shape[1]
    highest = np.bincount(np.argmax(asymptotes, axis=0), minlength=len(curves)) / n
    ever = np.isfinite(computes).any(0)
    first = np.bincount(np.argmin(computes[:, ever], axis=0), minlength=len(curves)) / max(int(ever.sum()), 1)
    found = []
    for k, (name, b) in enumerate(curves.items()):
        recipe = _recipe(name, b, facts[name], reach[name], asked, rng)
        found.append(replace(recipe, highest=float(highest[k]), quickest=float(first[k])))
    recipes = tuple(found)
    if len(recipes) < 2:
        return Compared(recipes, value, (), None)
    best = max(recipes, key=lambda r: sign * r.asymptote.value)
    quick = min(recipes, key=lambda r: r.before)
    differences = [_asymptotes(curves, best.name, r.name, sign, asked.level) for r in recipes if r is not best]
    differences += [_computes(reach, quick.name, r.name, asked.level) for r in recipes if r is not quick]
    last = max(r.last for r in recipes)
    crossing = None if best is quick else _crossing(curves, quick.name, best.name, last, asked, sign)
    return Compared(recipes, value, tuple(differences), crossing)


def _common(curves: Mapping[str, Bounded], sign: float) -> float | None:
    """Return the value half-way from the best start to the worst asymptote; None if one ends where another starts."""
    start = max(sign * float(np.median(b.start)) for b in curves.values())
    end = min(sign * float(np.median(b.asymptote)) for b in curves.values())
    return sign * 0.5 * (start + end) if end > start else None


def _nowhere(curves: Mapping[str, Bounded], value: float, sign: float) -> str:
    """Say that no curve has a value, and from where to where they go."""
    first = sign * min(sign * float(np.median(b.start)) for b in curves.values())
    last = sign * max(sign * float(np.median(b.asymptote)) for b in curves.values())
    ends = f"the curves go from {short(first, 4)} to {short(last, 4)}"
    return f"reach is a value that a curve has on its way, and none has {exact(value)}: {ends}"


def _recipe(
    name: str, b: Bounded, fact: tuple[int, int, float], reach: Array, asked: Question, rng: np.random.Generator
) -> Recipe:
    n_runs, n_points, last = fact
    at = run_at = None
    if asked.until is not None:
        there = b.at(np.array([asked.until]))[:, 0]
        at = Span.of(there, asked.level)
        seen = there + b.noise * rng.standard_normal(len(there))
        run_at = Span.of(np.clip(seen, asked.limits.lower, asked.limits.upper), asked.level)

    def span(draws: Array) -> Span:
        return Span.of(draws, asked.level)

    return Recipe(
        name=name, n_runs=n_runs, n_points=n_points, last=last, start=span(b.start), asymptote=span(b.asymptote),
        middle=span(b.middle), steepness=span(b.steepness), reach=span(reach), gained=span(_gained(b, last)), at=at,
        run_at=run_at,
    )  # fmt: skip


def _gained(b: Bounded, compute: float) -> Array:
    return gain(np.array([compute]), b.middle, b.steepness)


def _asymptotes(curves: Mapping[str, Bounded], best: str, other: str, sign: float, level: float) -> Difference:
    by = Span.of(sign * (curves[best].asymptote - curves[other].asymptote), level)
    return Difference("asymptote", best, other, by, by.low > 0)


def _computes(reach: Mapping[str, Array], quick: str, other: str, level: float) -> Difference:
    with np.errstate(all="ignore"):
        ratio = reach[other] / reach[quick]
    # where neither gets there, or both are there from the start, neither is ahead
    by = Span.of(np.where(np.isnan(ratio), 1.0, ratio), level)
    return Difference("efficiency", quick, other, by, by.low > 1)


def _crossing(
    curves: Mapping[str, Bounded], early: str, late: str, last: float, asked: Question, sign: float
) -> Crossing | None:
    """Return where the late recipe overtakes for good: the last change of sign of the difference of two curves."""
    start = min(float(np.median(curves[r].middle)) for r in (early, late))
    compute = np.geomspace(min(start, last) / 30, last * FARTHEST, 400)
    ahead = sign * (curves[late].at(compute) - curves[early].at(compute)) > 0  # (n, n_points)
    changes = ahead[:, 1:] & ~ahead[:, :-1]
    crosses = changes.any(1) & ahead[:, -1]
    if not crosses.any():
        return None
    # the last change from behind to ahead
    at = compute[1:][changes.shape[1] - 1 - np.argmax(changes[:, ::-1], axis=1)]
    return Crossing(early, late, Span.of(at[crosses], asked.level), float(crosses.mean()))
