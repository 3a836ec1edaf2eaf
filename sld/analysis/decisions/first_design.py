r"""The first runs, when there are none yet: a design for a stated goal from what other people's laws say.

What is believed before any run is a cloud of laws: the published constants of one formula, with exponents spread by a
quarter, the size of each term in the middle of the design by a half, and everything else by a third. Every draw is a
curve $f_k$, and with $\bar f$ their mean on the scale of logarithms the deviations are $(\log f_k - \bar f)/\sqrt n$:
from there on runs are chosen as they are beside existing ones (`choosing_runs.py`).

A design with one ratio of tokens to parameters cannot tell N from D (arXiv 2605.08541): its power laws in N and in D
are one power law. No plan of this file has fewer than three ratios, or ratios within a factor of four.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.analysis.decisions.allocation import Allocator
from sld.analysis.decisions.belief import Answer, Belief, Points
from sld.analysis.decisions.candidates import Candidates
from sld.analysis.decisions.cost import Cost, find
from sld.analysis.decisions.minima import minima
from sld.core.arrays import Array, Mask
from sld.core.errors import UsageError
from sld.core.numbers import short
from sld.data.card import Variable
from sld.fit.separation import linear_constants
from sld.formula.evaluation import evaluate
from sld.formula.expression import Expression
from sld.laws.catalogue import CatalogueLaw
from sld.laws.conditions import exponents_of
from sld.laws.law import Law

NOISE = 0.005  # of the target: what two seeds of one run differ by where nobody says otherwise
DRAWS = 400  # curves of the prior
_EXPONENT, _SIZE, _REST, _FLOOR = 0.25, 0.5, 0.3, 0.15  # spread (of logarithms) of exponents, terms, others, constants
LEAST_RATIOS, LEAST_SPAN = 3, 4.0  # of tokens to parameters
_RATIOS = np.geomspace(2.0, 512.0, 9)  # tokens per parameter that are looked at: on either side of every published best
_SIZES = 9  # of the costs of runs that are looked at
_CHEAPEST, _DEAREST = 1e-3, 1 / 3  # of the budget


@dataclass(frozen=True)
class Prior:
    """Curves that anybody's law may be.

    Attributes:
        law: The published law in the middle.
        target: Column of its target.
        constants: One set of constants a draw.
    """

    law: Law
    target: str
    constants: tuple[Mapping[str, float], ...]

    @property
    def expression(self) -> Expression:
        """The formula."""
        return self.law.expressions[self.target]

    def values(self, columns: Mapping[str, Array]) -> Array:
        """Return (n_draws, n_points) values."""
        with np.errstate(all="ignore"):
            return np.array([evaluate(self.expression, columns, c) for c in self.constants])

    def own(self, columns: Mapping[str, Array]) -> Array:
        """Return (n_draws, n_points) values at columns (n_draws, n_points): each curve at points of its own."""
        with np.errstate(all="ignore"):
            return np.array([
                evaluate(self.expression, {s: np.ascontiguousarray(x[k]) for s, x in columns.items()}, c)
                for k, c in enumerate(self.constants)
            ])  # fmt: skip

    def kept(self, sound: Mask) -> Prior:
        """Return some of the draws."""
        return replace(self, constants=tuple(c for c, s in zip(self.constants, sound, strict=True) if s))


def prior_of(
    law: Law, published: Sequence[Mapping[str, float]], middle: Mapping[str, float], *, n: int = DRAWS, seed: int = 0
) -> Prior:
    """Return draws around published sets of constants, whose terms have their size at a point in the middle.

    Args:
        law: The law with one of the sets.
        published: Sets with a value for every constant.
        middle: Symbol to value: where terms keep their size, in the middle of the design.
        n: How many draws.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    target = law.targets[0].column
    expression = law.expressions[target]
    linear = set(linear_constants(expression)[1])
    exponents = set(exponents_of(expression))
    columns = {s: np.array([x]) for s, x in middle.items()}
    found = []
    for k in range(n):
        base = dict(published[k % len(published)])
        new = dict(base)
        for c in expression.constants:
            if c in exponents:
                new[c] = base[c] * math.exp(_EXPONENT * rng.standard_normal())
            elif c not in linear:
                new[c] = base[c] * math.exp(_REST * rng.standard_normal())
        for c in expression.constants:
            if c in linear:
                before, after = (_basis(expression, columns, constants, c, linear) for constants in (base, new))
                alone = abs(after - 1.0) < 1e-12 and abs(before - 1.0) < 1e-12  # a constant by itself: the floor
                spread = _FLOOR if alone else _SIZE
                ratio = before / after if after != 0 and math.isfinite(before / after) else 1.0
                new[c] = base[c] * ratio * math.exp(spread * rng.standard_normal())
        found.append(new)
    return Prior(law, target, tuple(found))


def _basis(
    expression: Expression, columns: Mapping[str, Array], constants: Mapping[str, float], c: str, linear: set[str]
) -> float:
    """Return what a linear constant multiplies at a point."""
    zero = {**constants, **dict.fromkeys(linear, 0.0)}
    one = {**zero, c: 1.0}
    with np.errstate(all="ignore"):
        return float(evaluate(expression, columns, one)[0] - evaluate(expression, columns, zero)[0])


def designs(
    variables: Sequence[Variable], cost: Cost, budget: float, others: Mapping[str, float], groups: tuple[str, ...]
) -> Candidates:
    """Return runs of many costs and ratios of tokens to parameters.

    Raises:
        UsageError: The law is not one of parameters and tokens, so that somebody has to name a grid.
    """
    size, data = find(variables, "N"), find(variables, "D")
    if size is None or data is None or size.log is not None or data.log is not None:
        raise UsageError(
            "a first design by itself is one of parameters and tokens; for these variables name the runs that could be "
            "made: --grid NAME=LOW:HIGH:COUNT,..."
        )
    costs = np.geomspace(_CHEAPEST * budget, _DEAREST * budget, _SIZES)
    c, r = (x.ravel() for x in np.meshgrid(costs, _RATIOS, indexing="ij"))
    low, high = np.full(len(c), 1.0), np.full(len(c), 1e18)
    fixed = {s: np.full(len(c), x) for s, x in others.items()}
    for _ in range(200):
        middle = np.sqrt(low * high)
        over = cost({**fixed, size.symbol: middle, data.symbol: r * middle}) > c
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    columns = {**fixed, size.symbol: low, data.symbol: r * low}
    ordered = {v.symbol: columns[v.symbol] for v in variables}
    return Candidates(ordered, groups, np.zeros(len(c), dtype=np.intp), cost(ordered), 2, "designs")


def believed(prior: Prior, candidates: Candidates, ask: Sequence[Ask], noise: float) -> tuple[Belief, Prior]:
    """Return what is believed of candidates and answers before any run, and the draws that it is made of.

    Args:
        prior: Draws; those that have no answer do not count.
        candidates: Runs that could be made.
        ask: What is asked.
        noise: Standard deviation of the logarithm of a single run.
    """
    columns = {s: np.ascontiguousarray(x) for s, x in candidates.columns.items()}
    values = prior.values(columns)
    answers = [a.of(prior) for a in ask]
    sound: Mask = np.asarray(np.isfinite(values).all(axis=1) & (values > 0).all(axis=1))
    for said in answers:
        sound = sound & np.isfinite(said)
    if sound.sum() < max(30, len(sound) // 4):
        raise UsageError(
            f"only {int(sound.sum())} of {len(sound)} published-like laws answer that; ask for a prediction, or for "
            "a budget nearer to what laws are known for"
        )
    features = _deviations(np.log(values[sound]))  # (n_draws, n)
    places = np.zeros((candidates.n, 1))
    points = Points(features.T, places, np.zeros(candidates.n), np.zeros(candidates.n, dtype=np.intp))
    found = []
    for one, all_ in zip(ask, answers, strict=True):
        said = np.log(all_[sound]) if one.ratio else all_[sound]
        low, middle, high = np.quantile(all_[sound], [0.05, 0.5, 0.95])
        weights = _deviations(said[:, None])[:, 0]
        kind = "ratio" if one.ratio else "value"
        found.append(Answer(one.name, float(middle), kind, None, np.zeros(0), weights, float(low), float(high)))
    importance = np.array([1.0 / max(a.variance(), 1e-300) for a in found])
    belief = Belief(points, np.full(candidates.n, noise**2), tuple(found), importance)
    return belief, prior.kept(sound)


def _deviations(values: Array) -> Array:
    return np.asarray((values - values.mean(axis=0)) / math.sqrt(len(values)))


@dataclass(frozen=True)
class Ask:
    """Something asked of every draw.

    Attributes:
        name: For people.
        ratio: Whether its logarithm is what counts.
        point: Where a value is asked for.
        best: Whose best run for a budget: the allocator, the budget, and the variable.
        constant: Which constant is asked for.
    """

    name: str
    ratio: bool
    point: Mapping[str, float] | None = None
    best: tuple[Allocator, float, str] | None = None
    constant: str = ""

    def of(self, prior: Prior) -> Array:
        """Return (n_draws,) answers; NaN where a draw has none."""
        if self.point is not None:
            return prior.values({s: np.array([x]) for s, x in self.point.items()})[:, 0]
        if self.best is not None:
            allocator, budget, symbol = self.best
            found = allocator.solve(budget)
            curves = minima(found.problem, prior.values, prior.own, budget, found.best)
            return curves.point[symbol]
        return np.array([c[self.constant] for c in prior.constants])


def ratios_told_apart(variables: Sequence[Variable], runs: Sequence[Mapping[str, float]]) -> bool:
    """Tell whether runs have three ratios of tokens to parameters at least, over a factor of four."""
    size, data = find(variables, "N"), find(variables, "D")
    if size is None or data is None:
        return True
    ratios = sorted({float(f"{run[data.symbol] / run[size.symbol]:.3g}") for run in runs})
    return len(ratios) >= LEAST_RATIOS and ratios[-1] / ratios[0] >= LEAST_SPAN


def complete_sets(law: CatalogueLaw) -> list[Mapping[str, float]]:
    """Return the published sets that have a value for every constant."""
    return [p.values for p in law.published if set(law.expression.constants) <= set(p.values)]


def about(law_id: str, n_sets: int, noise: float) -> str:
    """Return what a first design rests on, in a sentence."""
    sets = "one published set" if n_sets == 1 else f"{n_sets} published sets"
    return (
        f"there are no runs yet: the plan rests on {sets} of constants of {law_id}, spread widely, and on runs that "
        f"differ by {short(100 * noise)} % from seed to seed; plan again when the first runs are there"
    )
