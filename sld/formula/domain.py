r"""Where a formula has a value: signs of what stands under powers and logarithms, and bounds that keep them.

`(N + K)**-b` with K < 0 has no value for N < -K, and `1/(1 + C/N)` with C < 0 has a pole at N = -C. Neither shows on
the rows that such a constant was fitted to. Two tools keep formulas away from it:

* `domain_bounds` reads a formula and says which constants must not be negative (or not positive) so that every sum
  under a power, a logarithm or a fraction line is a sum of positive terms. A bounded fit costs no more than a free one.
* `ranges` computes with intervals: for all values of the variables in a box at once it encloses every part of the
  formula (Moore 1966). What it proves positive needs no further look; what it cannot prove is returned.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sld.formula.expression import Expression, Node
from sld.formula.intervals import EVERYTHING, exp_of, multiply, sound
from sld.formula.intervals import Interval as Interval  # rooms that ask for ranges name it from here
from sld.formula.operators import OPERATORS

Limits = tuple[float, float]

_AT_LEAST_ZERO: Limits = (0.0, math.inf)
_AT_MOST_ZERO: Limits = (-math.inf, 0.0)


def is_whole(node: Node) -> bool:
    """Whether a node is a whole number written out: such a power has a value for a negative base too."""
    return node.op == "number" and node.value == int(node.value)


def is_even(node: Node) -> bool:
    """Whether a node is an even number written out."""
    return is_whole(node) and node.value % 2 == 0 and node.value != 0


def restricted(node: Node) -> Node | None:
    """Return the argument whose sign decides whether a node has a value, or None for what always has one."""
    if node.op == "**":
        return None if is_whole(node.args[1]) and node.args[1].value > 0 else node.args[0]
    return node.args[-1] if node.args and OPERATORS[node.op].needs else None


# --- bounds ---------------------------------------------------------------------------------------------------------


def domain_bounds(expression: Expression, positive: Collection[str]) -> dict[str, Limits]:
    """Return the constants whose sign keeps the formula defined for all positive values, with their bounds.

    A sum under a power, a logarithm or a fraction line is kept a sum of terms that are not negative, where that is a
    matter of signs of constants: K >= 0 in `(N + K)**-a`, C >= 0 in `1/(1 + C/N)`. A difference such as
    `log(N) - m` cannot be kept positive by a sign; nothing is returned for it.

    >>> from sld.formula.expression import parse
    >>> domain_bounds(parse("E + A*(N + K)**-a", ["N"]), {"N"})
    {'K': (0.0, inf)}

    Args:
        expression: The formula.
        positive: Variables that only have positive values.
    """
    found: dict[str, int] = {}
    torn: set[str] = set()
    for node in expression.tree.walk():
        argument = restricted(node)
        if argument is None or not argument.args or not _has_sum(argument, expression.variables):
            continue
        needs = _needs(argument, 1, expression.variables, positive)
        for constant, sign in (needs or {}).items():
            if found.setdefault(constant, sign) != sign:
                torn.add(constant)
    return {c: _AT_LEAST_ZERO if sign > 0 else _AT_MOST_ZERO for c, sign in found.items() if c not in torn}


def _has_sum(node: Node, variables: Collection[str]) -> bool:
    return any(n.op in ("+", "-") and not n.names.isdisjoint(variables) for n in node.walk())


def _needs(node: Node, sign: int, variables: Collection[str], positive: Collection[str]) -> dict[str, int] | None:
    """Return the signs of constants that make sign * node >= 0 everywhere; None where signs alone cannot."""
    op, args = node.op, node.args
    match op:
        case "number":
            return {} if sign * node.value >= 0 else None
        case "name":
            if node.name not in variables:
                return {node.name: sign}
            return {} if sign > 0 and node.name in positive else None
        case "neg":
            return _needs(args[0], -sign, variables, positive)
        case "+" | "-":
            second = sign if op == "+" else -sign
            return _both(_needs(args[0], sign, variables, positive), _needs(args[1], second, variables, positive))
        case "*" | "/":
            signs = ((1, sign), (sign, 1))
            ways = (
                _both(_needs(args[0], first, variables, positive), _needs(args[1], second, variables, positive))
                for first, second in signs
            )
            return next((way for way in ways if way is not None), None)
    return _needs_of_function(node, sign, variables, positive)


def _needs_of_function(
    node: Node, sign: int, variables: Collection[str], positive: Collection[str]
) -> dict[str, int] | None:
    """Return what `_needs` returns, for a power or a function."""
    op, args = node.op, node.args
    known = OPERATORS[op].sign
    if known == "odd" or (op == "**" and is_whole(args[1]) and not is_even(args[1])):
        return _needs(args[0], sign, variables, positive)
    if known == "never_negative" or op == "**":
        return {} if sign > 0 else None
    if op == "log":
        rest = _above_one(args[0])
        return None if rest is None or sign < 0 else _needs(rest, 1, variables, positive)
    if op in ("min", "max"):
        return _both(*(_needs(a, sign, variables, positive) for a in args))
    return None


def _above_one(node: Node) -> Node | None:
    """Return x of `1 + x`, whose logarithm has the sign of x."""
    if node.op == "+":
        for one, other in (node.args, node.args[::-1]):
            if one.op == "number" and one.value >= 1.0:
                return other
    return None


def _both(a: dict[str, int] | None, b: dict[str, int] | None) -> dict[str, int] | None:
    if a is None or b is None or any(b.get(c, s) != s for c, s in a.items()):
        return None
    return a | b


# --- intervals ------------------------------------------------------------------------------------------------------


@dataclass
class Ranges:
    """What is known of a formula over a box.

    Attributes:
        value: An interval that holds every value of the formula.
        unsure: Nodes that the intervals do not prove to have a value everywhere in the box.
    """

    value: Interval = EVERYTHING
    unsure: list[Node] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Whether the formula has a finite value everywhere in the box."""
        return not self.unsure and -math.inf < self.value[0] and self.value[1] < math.inf


def ranges(tree: Node, box: Mapping[str, Interval]) -> Ranges:
    """Enclose a formula over a box.

    >>> from sld.formula.expression import parse
    >>> found = ranges(parse("1/(x - 2)", ["x"]).tree, {"x": (0.0, 1.0)})
    >>> found.value, found.proven
    ((-1.0, -0.5), True)
    >>> ranges(parse("1/(x - 2)", ["x"]).tree, {"x": (0.0, 3.0)}).proven
    False

    Args:
        tree: The formula.
        box: Every variable and constant to the interval that it runs through.
    """
    found = Ranges()
    found.value = _range(tree, box, found.unsure)
    return found


def _range(node: Node, box: Mapping[str, Interval], unsure: list[Node]) -> Interval:
    if node.op == "name":
        return box[node.name]
    if node.op == "number":
        return node.value, node.value
    if node.op == "**":
        return _power(node, box, unsure)
    row = OPERATORS[node.op]
    arguments = [_range(arg, box, unsure) for arg in node.args]
    if not row.has_value(*arguments):
        unsure.append(node)
    return row.interval(*arguments)


def _power(node: Node, box: Mapping[str, Interval], unsure: list[Node]) -> Interval:
    base, exponent = node.args
    low, high = _range(base, box, unsure)
    if is_whole(exponent) and abs(exponent.value) <= 64:
        n = int(exponent.value)
        if n < 0 and low <= 0.0 <= high:
            unsure.append(node)
            return EVERYTHING
        ends = [_whole_power(low, n), _whole_power(high, n)]
        if n % 2 == 0 and low < 0.0 < high:
            return 0.0, max(ends)
        return sound(min(ends), max(ends))
    c, d = _range(exponent, box, unsure)
    if low < 0.0 or (low == 0.0 and c <= 0.0):
        unsure.append(node)
        return EVERYTHING
    if low == 0.0:
        return 0.0, exp_of(max(c * math.log(high), d * math.log(high))) if high > 0.0 else 0.0
    logs = multiply((math.log(low), math.log(high)), (c, d)) if high < math.inf else EVERYTHING
    return exp_of(logs[0]), exp_of(logs[1])


def _whole_power(x: float, n: int) -> float:
    try:
        return x**n
    except OverflowError:
        return math.inf if x > 0 or n % 2 == 0 else -math.inf
