"""What a law says along a scale: at its own optimum for each compute, at settings that all share, or along a column.

A track is what laws are compared by. Its scale is the cost of a run wherever there is a cost, so that laws over other
variables, or with other optima, can be told apart at the same price.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from sld.analysis.decisions.cost import Cost, find
from sld.analysis.decisions.curves import DRAWS, Curve, inverse, optima, second_of
from sld.core.arrays import Array, Mask
from sld.core.errors import GrammarError, UsageError
from sld.data.card import Variable
from sld.formula.evaluation import evaluate
from sld.formula.expression import Expression, parse, substitute
from sld.formula.expression import name as call_name

Mode = Literal["optimum", "settings", "column"]


@dataclass(frozen=True)
class Way:
    """Along what laws are compared.

    Attributes:
        mode: "optimum": each law at its own optimum for the compute; "settings": all at the same split of it;
            "column": along one variable.
        scale: What the scale is called.
        setting: For "settings": the rule as a formula of one variable over the other, e.g. `D = 20*N`.
    """

    mode: Mode
    scale: str
    setting: str = ""

    @property
    def words(self) -> str:
        """How runs are chosen, for people."""
        if self.mode == "optimum":
            return f"each at its own optimum for the compute {self.scale}"
        if self.mode == "settings":
            return f"all at {self.setting}, along the compute {self.scale}"
        return f"along {self.scale}"


@dataclass(frozen=True)
class Track:
    """A law along a scale.

    Attributes:
        curve: The law.
        x: (n_points,) places on the scale, ascending.
        y: (n_points,) the law; NaN where it has no value or no optimum.
        drawn: (n, n_points) draws; none for a law without intervals.
        columns: Symbol to (n_points,) where the law is at each place.
        inside: (n_points,) whether its rows reach there.
    """

    curve: Curve
    x: Array
    y: Array
    drawn: Array
    columns: Mapping[str, Array]
    inside: Mask

    @property
    def sign(self) -> float:
        """1 where less is better, else -1."""
        return 1.0 if self.curve.target.better == "lower" else -1.0


@dataclass(frozen=True)
class Contender:
    """A law in a comparison, with what it costs and where its rows are.

    Attributes:
        curve: The law.
        cost: What a run costs; None where it has one variable.
        names: Symbols of what may be chosen: the size and the data, or the one variable.
        seed: Of its draws.
        spent: (n_rows,) costs of its rows, or their values of the one variable; empty where the rows are not at hand.
    """

    curve: Curve
    cost: Cost | None
    names: tuple[str, ...]
    seed: int = 0
    spent: Array = field(default_factory=lambda: np.empty(0))

    @property
    def reach(self) -> tuple[float, float] | None:
        """The least and largest cost of its rows, as far as they are known; None for a law without rows."""
        if len(self.spent):
            return float(self.spent.min()), float(self.spent.max())
        ranges = self.curve.ranges
        if not set(self.names) <= set(ranges):
            return None
        if self.cost is None:
            return ranges[self.names[0]]
        low, high = (float(self.cost({s: np.array([ranges[s][end]]) for s in self.names})[0]) for end in (0, 1))
        return low, high


def contender(curve: Curve, cost: Cost | None, seed: int = 0, spent: Array | None = None) -> Contender:
    """Return a law ready to be compared: with a cost it has two free variables, without one it has one.

    Raises:
        UsageError: It has more or fewer, or one that is a logarithm.
    """
    free = curve.free
    if logs := [v.column for v in free if v.log]:
        raise UsageError(f"{curve.name}: {logs[0]!r} is a logarithm; laws are compared over the quantity itself")
    if cost is None and len(free) == 1:
        names: tuple[str, ...] = (free[0].symbol,)
    elif cost is not None and len(free) == 2:
        size, data = ordered(free)
        names = (size.symbol, data.symbol)
    else:
        has = ", ".join(v.column for v in free) or "none"
        known = (find(free, "N"), find(free, "D"))
        others = [v.column for v in free if v not in known] or [v.column for v in free[2:]]
        hold = f"; hold the others with --given, e.g. --given {others[0]}=..." if others and len(free) > 2 else ""
        raise UsageError(
            f"{curve.name}: a comparison needs one free variable, or a size and its data; it has {has}{hold}"
        )
    return Contender(curve, cost, names, seed, np.empty(0) if spent is None else spent)


def ordered(free: Sequence[Variable]) -> tuple[Variable, Variable]:
    """Return size and data, by their names or else in their order."""
    first, second = free
    turned = find(free, "D") is first or find(free, "N") is second
    return (second, first) if turned else (first, second)


def along(who: Contender, way: Way, x: Array, n: int = DRAWS) -> Track:
    """Return a law along a scale.

    Args:
        who: The law.
        way: Along what.
        x: (n_points,) places, ascending and positive.
        n: Draws.

    Raises:
        UsageError: The rule of the settings cannot be read.
    """
    curve = who.curve
    draws = curve.draws(n, who.seed)
    if way.mode == "optimum" and who.cost is not None:
        best = optima(curve, x, who.names, second_of(who.cost, *who.names), draws)
        columns = {who.names[0]: best.N, who.names[1]: best.D}
        return Track(curve, x, best.value, best.drawn, columns, _inside(who, columns, x))
    columns = {who.names[0]: x} if who.cost is None else _set(who, way, x)
    drawn = np.empty((0, len(x))) if draws is None else curve.drawn(draws, columns)
    values = curve.values(columns)
    return Track(curve, x, np.where(np.isfinite(values), values, math.nan), drawn, columns, _inside(who, columns, x))


def _set(who: Contender, way: Way, C: Array) -> dict[str, Array]:
    """Return where the rule of the settings and the compute put size and data."""
    assert who.cost is not None
    rule = read_rule(way.setting, who)
    (given,) = {*who.names} - {rule.variables[0]} if not rule.used_variables else rule.used_variables
    (other,) = {*who.names} - {given}
    if not rule.used_variables:
        # one of the two is held: the compute gives the other
        value = np.full(len(C), _number(rule))
        return {other: value, given: second_of(who.cost, other, given)(C, value)}
    tree = substitute(who.cost.expression.tree, {other: rule.tree})
    spent = replace(who.cost, expression=Expression(tree, who.cost.expression.variables))

    def cost(values: Array) -> Array:
        return spent({given: values, other: values})

    found = inverse(cost, C)
    return {given: found, other: evaluate(rule, {given: found}, {})}


def _number(rule: Expression) -> float:
    return float(evaluate(rule, {}, {})[0])


def read_rule(text: str, who: Contender) -> Expression:
    """Return a rule such as `D = 20*N` as a formula over the other variable; its first variable is the one it gives.

    The size and data of any law may be called N and D.

    Raises:
        UsageError: It is no such rule.
    """
    left, equals, right = text.partition("=")
    alias = {"N": who.names[0], "D": who.names[1], **{s: s for s in who.names}}
    for v in who.curve.free:
        alias.setdefault(v.column, v.symbol)
    wanted = f"wanted a rule such as D=20*N or D=1e12 over {' and '.join(who.names)}"
    name = left.strip()
    if not equals or name not in alias:
        raise UsageError(f"{wanted}, got {text!r}")
    given = alias[name]
    try:
        formula = parse(right, list(alias))
    except GrammarError as error:
        raise UsageError(f"{wanted}, got {text!r}: {error}") from error
    tree = substitute(formula.tree, {k: call_name(v) for k, v in alias.items()})
    rule = Expression(tree, (given, *(s for s in who.names if s != given)))
    if rule.constants or given in rule.used_variables:
        raise UsageError(f"{wanted}, got {text!r}")
    return rule


def _inside(who: Contender, columns: Mapping[str, Array], x: Array) -> Mask:
    """Tell at which places a law has rows at least as large, in cost and in each variable."""
    inside = np.ones(len(x), dtype=np.bool_)
    for symbol, values in columns.items():
        low, high = who.curve.ranges.get(symbol, (0.0, math.inf))
        with np.errstate(invalid="ignore"):
            inside &= (values >= low * (1 - 1e-6)) & (values <= high * (1 + 1e-6))
    if (reach := who.reach) is not None:
        inside &= (x >= reach[0] * (1 - 1e-6)) & (x <= reach[1] * (1 + 1e-6))
    else:
        inside[:] = False
    return inside
