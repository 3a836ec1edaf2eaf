"""What a decision looks at: a target of a law (or a weighted sum of them) in one group, with its draws and its limits.

A surface is what is to be small: a target of which more is better is turned round. Its draws are the joint draws of the
law, so what is computed for each of them has the law's uncertainty; a law without intervals has none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sld.analysis.decisions.minimise import Axis
from sld.core.arrays import Array
from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact, short
from sld.data.card import Variable
from sld.formula.evaluation import evaluate
from sld.laws.catalogue import kind_of
from sld.laws.draws import CurveDraws, curve_draws
from sld.laws.law import Law

BELOW = 100.0  # times smaller than the smallest run: where a scale variable is looked for at least
BESIDE = 10.0  # times beyond the runs: where a hyperparameter is looked for
_COUNTED = ("parameters", "data", "compute", "unique_data", "steps")  # what is never below one
_SMALLEST = 1e-9  # of a scale variable of which nothing is known
_ROUNDED = 0.02  # by how much shares that somebody wrote down may sum to more or less than one


@dataclass(frozen=True)
class Surface:
    """A target of a law in one group, as something to be small.

    Attributes:
        law: The law.
        weights: Column of each target to its weight in the sum; one target of weight 1 if nothing else is wanted.
        group: Whose constants count.
        sign: -1 where more is better.
        draws: Column of each target to its joint draws; empty for a law without intervals.
        n: Number of draws.
    """

    law: Law
    weights: Mapping[str, float]
    group: str
    sign: float
    draws: Mapping[str, CurveDraws]
    n: int = 0

    def value(self, columns: Mapping[str, Array]) -> Array:
        """Return (n_points,) values, to be small: symbol to column of each variable."""
        total: Array | float = 0.0
        for column, weight in self.weights.items():
            constants = self.law.constants[column][self.group]
            total = total + weight * evaluate(self.law.expressions[column], columns, constants)
        return np.asarray(self.sign * np.asarray(total))

    def drawn(self, columns: Mapping[str, Array]) -> Array:
        """Return (n_draws, n_points) values; row k is one curve."""
        return np.asarray(self.sign * sum(w * self.draws[c].values(columns) for c, w in self.weights.items()))

    def own(self, columns: Mapping[str, Array]) -> Array:
        """Return (n_draws, n_points) values of columns (n_draws, n_points): each curve at points of its own."""
        return np.asarray(self.sign * sum(w * self.draws[c].own(columns) for c, w in self.weights.items()))

    @property
    def name(self) -> str:
        """What the values are of."""
        if len(self.weights) == 1:
            return next(iter(self.weights))
        return " + ".join(f"{short(w)}*{c}" for c, w in self.weights.items())


def surface_of(
    law: Law,
    *,
    target: str | None = None,
    weights: Mapping[str, float] | None = None,
    group: str | None = None,
    n: int = 500,
    seed: int = 0,
) -> Surface:
    """Return what a decision about a law looks at.

    Args:
        law: The law.
        target: Column of the target; needed only where there are several and no weights.
        weights: Column to weight of several targets whose sum counts.
        group: Needed only where there are several.
        n: Draws; 0 for none.
        seed: Of the draws.

    Raises:
        UsageError: There is no such target or group, several and none named, or more of some and less of others of the
            targets is better.
    """
    columns = [t.column for t in law.targets]
    if weights is None:
        if target is None and len(columns) > 1:
            raise UsageError(f"the law has targets {', '.join(columns)}; name one, or weights of several")
        weights = {columns[0] if target is None else target: 1.0}
    for column in weights:
        if column not in columns:
            raise UsageError(suggest(column, columns, kind="target"))
    if any(not (math.isfinite(w) and w >= 0) for w in weights.values()) or not any(weights.values()):
        said = ", ".join(f"{c}={exact(w)}" for c, w in weights.items())
        raise UsageError(f"weights of targets are numbers from 0 on, and one of them is above 0, got {said}")
    if len({t.better for t in law.targets if t.column in weights}) > 1:
        raise UsageError("a weighted sum needs targets of which less is better, or of which more is, not some of each")
    if group is None:
        if len(law.groups) > 1:
            raise UsageError(f"the law has {len(law.groups)} groups ({', '.join(law.groups[:3])} ...); name one")
        group = law.groups[0]
    if group not in law.groups:
        raise UsageError(suggest(group, law.groups, kind="group"))
    better = next(t.better for t in law.targets if t.column in weights)
    # two targets of a law share their draws by the seed
    drawn = {c: curve_draws(law, c, group, n=n, seed=seed) for c in weights} if law.intervals and n else {}
    return Surface(law, dict(weights), group, 1.0 if better == "lower" else -1.0, drawn, n if drawn else 0)


def check_shares(given: Mapping[str, float], n_shares: int, whose: str) -> None:
    """Refuse shares of a mixture that are below 0, or sum to more than one, or to less where all are given.

    >>> check_shares({"web": 0.3, "code": 0.7}, 2, "the run")

    Raises:
        UsageError: The shares are those of no mixture.
    """
    total = sum(given.values())
    if any(x < 0 for x in given.values()) or total > 1 + _ROUNDED or (len(given) == n_shares and total < 1 - _ROUNDED):
        known = ", ".join(f"{s} = {exact(x)}" for s, x in given.items())
        if known:
            raise UsageError(f"{whose}: shares of a mixture are 0 or more and sum to 1, got {known}")


def seen(law: Law, group: str | None = None) -> dict[str, tuple[float, float]]:
    """Return symbol to the least and largest value in the rows behind a law; empty where that is not recorded."""
    record = law.provenance
    by_group = record.get("group_ranges")
    own = by_group.get(group) if isinstance(by_group, Mapping) and group is not None else None
    ranges = own if isinstance(own, Mapping) else record.get("ranges")
    if not isinstance(ranges, Mapping):
        return {}
    return {s: (float(e[0]), float(e[1])) for s, e in ranges.items() if _is_range(e)}


def _is_range(ends: object) -> bool:
    """Whether an entry of the record is two numbers, the smaller one first."""
    if not isinstance(ends, Sequence) or len(ends) != 2 or not all(isinstance(x, int | float) for x in ends):
        return False
    return math.isfinite(ends[0]) and math.isfinite(ends[1]) and ends[0] <= ends[1]


@dataclass(frozen=True)
class Limits:
    """Up to where a law is supported.

    Attributes:
        ends: Symbol of a scale variable to the largest supported value.
        why: What the ends are.
        against: What the search itself says against the law, or nothing.
    """

    ends: Mapping[str, float]
    why: str
    against: str = ""

    def beyond(self, point: Mapping[str, float]) -> list[str]:
        """Return the symbols in which a point lies beyond the ends."""
        # the record has six digits
        return [s for s, end in self.ends.items() if s in point and point[s] > end + 1e-5 * abs(end)]


def limits(law: Law, group: str | None = None) -> Limits:
    """Return up to where a law is supported: what its verdict says, or else where its rows end."""
    verdict = law.provenance.get("verdict", {})
    against = ""
    if isinstance(verdict, Mapping) and verdict.get("kind") == "no law":
        against = str(verdict.get("sentence", "the search found no law"))
    elif isinstance(verdict, Mapping) and verdict.get("kind") == "weak":
        against = "; ".join(str(r) for r in verdict.get("reasons", ()))
    reach = None
    if isinstance(verdict, Mapping):
        by_group = verdict.get("reach_by_group")
        reach = (by_group.get(group) if isinstance(by_group, Mapping) else None) or verdict.get("reach")
    if isinstance(reach, Mapping) and reach:
        return Limits({s: float(x) for s, x in reach.items()}, "as the search found", against)
    scales = {v.symbol for v in law.variables if v.role == "scale"}
    known = seen(law, group)
    ends = {v.symbol: known[v.symbol][1] for v in law.variables if v.symbol in scales and v.symbol in known}
    return Limits(ends, "its rows end there" if ends else "", against)


def axis_of(law: Law, variable: Variable, group: str | None = None) -> Axis:
    """Return where a variable is looked for.

    A scale variable from a hundredth of its smallest value on, as far as the budget goes; a hyperparameter up to ten
    times beyond the rows on either side; both within the bounds that were declared. A law of the catalogue has the
    range on which its formula is known to have values in place of rows.
    """
    ranges = seen(law, group)
    domain = law.provenance.get("domain")
    known = ranges.get(variable.symbol)
    published = None
    if known is None and isinstance(domain, Mapping) and variable.symbol in domain:
        published = (float(domain[variable.symbol][0]), float(domain[variable.symbol][1]))
    low, high, log = _span(variable, known, published)
    if variable.lower is not None:
        low = max(low, variable.lower) if not log or variable.lower > 0 else low
    if variable.upper is not None:
        high = min(high, variable.upper)
    return Axis(variable.symbol, low, high, log)


def _span(
    variable: Variable, known: tuple[float, float] | None, published: tuple[float, float] | None
) -> tuple[float, float, bool]:
    if variable.log is not None:
        decade = variable.units_per_decade
        ends = known or published or (0.0, 12 * decade)
        wide = 2 * decade if variable.role == "scale" else decade
        return ends[0] - wide, ends[1] + (30 * decade if variable.role == "scale" else wide), False
    if variable.role == "scale":
        if known is not None and known[0] > 0:
            return known[0] / BELOW, math.inf, True
        if published is not None and published[0] > 0:
            return published[0] / BELOW, math.inf, True
        return (1.0 if kind_of(variable) in _COUNTED else _SMALLEST), math.inf, True
    if published is not None:
        return published[0], published[1], published[0] > 0 and published[1] >= 50 * published[0]
    if known is None:
        return 1e-12, 1e12, True
    low, high = known
    if low > 0:
        return low / BESIDE, high * BESIDE, True
    span = max(high - low, 1e-300)
    return low - span, high + span, False
