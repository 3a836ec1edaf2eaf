"""Initial points for the nonlinear constants, drawn from the formula's structure and the table's own magnitudes.

A constant is drawn where it stands: an exponent is of order one, a number added to a quantity is of that quantity's
size, the centre of a sigmoid or of a valley lies among the data. The formula is walked bottom up with a few rows of
the table, for all starts at once; whenever a constant meets a quantity that is already known, it is drawn to suit it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

from sld.formula.evaluation import Array, apply_operator
from sld.formula.expression import Node, call
from sld.formula.operators import OPERATORS, Use

_SPREAD_FLOOR = 1e-12  # of a sum that is constant: in place of zero, under a fraction line
_NO_SPREAD: Array = np.array([_SPREAD_FLOOR])  # known by identity: nothing has been added yet
_ONE: Array = np.ones((1, 1))  # for values that nobody looks at
_NOTHING: Array = np.zeros((1, 1))  # known by identity: the empty sum
_MAX_REMEMBERED = 1000  # sub-expressions; of a few dozen rows each


def draw_starts(
    rest: Node | None,
    bases: Sequence[Node],
    constants: Sequence[str],
    positive: Collection[str],
    sample: Sample,
    n_starts: int,
    rng: np.random.Generator,
    *,
    scale: float = 1.0,
) -> Array:
    """Return initial values (n_starts, n_constants) in natural units.

    Args:
        rest: The part of the expression that has the size of the target.
        bases: Parts that come with a linear constant, which takes care of their size.
        constants: The constants to draw, in the order of the result's columns.
        positive: Constants that must come out positive.
        sample: A few dozen rows.
        n_starts: How many to draw.
        rng: Where the draws come from.
        scale: Typical size of the target.
    """
    sampler = _Sampler(frozenset(constants), frozenset(positive), sample, n_starts, rng)
    with np.errstate(all="ignore"):
        if rest is not None:
            sampler.scale = scale
            sampler.visit(rest, "linear", needed=False)
            sampler.scale = 1.0
        for basis in bases:
            sampler.visit(basis, "linear", needed=False)
    out = np.ones((n_starts, len(constants)))
    for i, constant in enumerate(constants):
        value = sampler.values.get(constant)
        if value is not None:
            out[:, i] = value
    out[~np.isfinite(out)] = 1.0
    if positive:
        for i, constant in enumerate(constants):
            if constant in positive:
                out[:, i] = np.maximum(np.abs(out[:, i]), 1e-300)
    return out


def _between(low: float, high: float, at: Array) -> Array:
    """Return the numbers at 0 to 1 of the way from low to high, on the logarithmic axis."""
    first, length = _logarithms(low, high)
    return np.asarray(np.exp(at * length + first))


@lru_cache
def _logarithms(low: float, high: float) -> tuple[float, float]:
    first, last = float(np.log(low)), float(np.log(high))
    return first, last - first


class Sample:
    """A few rows of a table, and what was computed from them for earlier formulas.

    Attributes:
        columns: Variable symbol to values (n_rows,).
    """

    def __init__(self, columns: Mapping[str, Array]) -> None:
        """Start from the variables."""
        self.columns = columns
        self.symbols = frozenset(columns)
        self._values: dict[Node, Array] = {}
        # by the identity of the values, which stay alive above
        self._statistics: dict[int, dict[Callable[[Array], Array], Array]] = {}

    def of(self, node: Node) -> Array:
        """Return the values of a constant-free node: (1, n_rows) or (1, 1)."""
        known = self._values.get(node)
        if known is None:
            if len(self._values) >= _MAX_REMEMBERED:
                self._values.clear()
                self._statistics.clear()
            if node.op == "number":
                known = np.full((1, 1), node.value)
            elif node.op == "name":
                known = self.columns[node.name][None, :]
            else:
                known = apply_operator(node.op, [self.of(arg) for arg in node.args])
            self._values[node] = known
            self._statistics[id(known)] = {}
        return known

    def statistic(self, compute: Callable[[Array], Array], u: Array) -> Array:
        """Return `compute(u)`, from memory where u came from here."""
        known = self._statistics.get(id(u))
        if known is None:
            return compute(u)
        found = known.get(compute)
        if found is None:
            found = known[compute] = compute(u)
        return found


def _size(u: Array) -> Array:
    """Return the typical magnitude of u per start: exp of the mean log, zeros left out."""
    logs = np.log(np.abs(u))
    known = np.isfinite(logs)
    if known.all():
        return np.asarray(np.exp(np.add.reduce(logs, axis=1) / logs.shape[1]))
    return np.asarray(np.exp(np.where(known, logs, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)))


def _spread(u: Array) -> Array:
    """Return the standard deviation of u per start, at least a little."""
    clean = u if np.isfinite(u).all() else np.where(np.isfinite(u), u, 0.0)
    n = clean.shape[1]
    away = clean - np.add.reduce(clean, axis=1, keepdims=True) / n  # as np.std, which has 8 µs of its own
    return np.asarray(np.maximum(np.sqrt(np.add.reduce(away * away, axis=1) / n), _SPREAD_FLOOR))


def _log_spread(u: Array) -> Array:
    """Return the spread of log(u), zero where there is none."""
    return _spread(_finite_log(u))


def _steepest(u: Array) -> Array:
    """Return the largest exponent that keeps a power of u within 25 units of the logarithm."""
    return np.asarray(25.0 / np.maximum(np.ptp(_finite_log(u), axis=1), 1.0))


def _finite_log(u: Array) -> Array:
    logs = np.log(np.where(u > 0, u, np.nan))
    return np.where(np.isfinite(logs), logs, 0.0)


def _inverse(op: str, wanted: Array) -> Array:
    """Return an argument for which an operator has about the value wanted; the value itself where none is known."""
    inverse = OPERATORS[op].inverse
    return wanted if inverse is None else inverse(wanted)


class _Sampler:
    def __init__(
        self,
        constants: frozenset[str],
        positive: frozenset[str],
        sample: Sample,
        n: int,
        rng: np.random.Generator,
    ) -> None:
        self.constants = constants
        self.undrawn = set(constants)
        self.positive = positive
        self.sample = sample
        self.n = n
        self.rng = rng
        self.scale = 1.0  # what the part being visited should be worth
        self.values: dict[str, Array] = {}  # constant -> (n,)
        self.seen: dict[int, Array] = {}  # values by the node's identity: once drawn, constants stay
        self.made: list[Node] = []  # nodes made here, kept alive for `seen`
        self.reach: Array | None = None  # (n,) or (1,): spread of the data whose centre is being drawn

    # -- drawing -------------------------------------------------------------------------------------------------

    def log_uniform(self, low: float, high: float) -> Array:
        return _between(low, high, self.rng.random(self.n))

    def sign(self, share_negative: float, size: Array) -> Array:
        """Return positive sizes, a share of them turned negative."""
        return np.asarray(np.copysign(size, self.rng.random(self.n) - share_negative))

    def signed(self, share_negative: float, low: float, high: float) -> Array:
        first, second = self.rng.random((2, self.n))  # for the sign, then for the size
        return np.asarray(np.copysign(_between(low, high, second), first - share_negative))

    def pick(self, u: Array) -> Array:
        """Return the value of u at a random row, one per start."""
        rows = self.rng.integers(0, u.shape[1], self.n)
        return np.asarray(u[np.arange(self.n) if len(u) > 1 else 0, rows])

    def size(self, u: Array) -> Array:
        return self.sample.statistic(_size, u)

    def spread(self, u: Array) -> Array:
        return self.sample.statistic(_spread, u)

    def reach_or_one(self) -> Array | float:
        if self.reach is None or self.reach is _NO_SPREAD:
            return 1.0
        return np.where(self.reach > _SPREAD_FLOOR, self.reach, 1.0)

    # -- the walk ------------------------------------------------------------------------------------------------

    def free(self, node: Node) -> bool:
        """Return whether node is made of constants alone and one of them has no value yet."""
        names = node.names
        return names <= self.constants and not self.undrawn.isdisjoint(names)

    def visit(self, node: Node, use: Use, needed: bool = True) -> Array:
        """Return the values of node, (n, m), (n, 1) or (1, m), drawing the constants in it.

        Where the values are not needed, to draw the constants is all; what comes back then is no value.
        """
        if not needed and self.reach is None and self.undrawn.isdisjoint(node.names):
            return _ONE
        if not node.args:
            return self.leaf(node)
        known = self.seen.get(id(node))
        if known is None:
            known = self.first_visit(node, use, needed)
            if needed:
                self.seen[id(node)] = known
        return known

    def leaf(self, node: Node) -> Array:
        word = node.name
        if word in self.constants:
            if word not in self.values:
                self.assign(node, self.signed(0.3, 0.1, 3.0))
            return self.values[word][:, None]
        # what is neither is a linear constant: solved for, never drawn
        return self.sample.of(node) if not word or word in self.sample.symbols else _ONE

    def first_visit(self, node: Node, use: Use, needed: bool) -> Array:
        op, args = node.op, node.args
        # a sum on the way would forget the reach
        if node.names <= self.sample.symbols and (self.reach is None or (len(args) == 1 and not args[0].args)):
            return self.sample.of(node)
        if op == "**":
            return self.power(node, use, needed)
        sums = op == "+" or op == "-"
        if sums and (use == "argument" or use == "centre"):
            self.settle_chain(node, use)
        inner = use if sums or op == "*" or op == "/" else self.inner(node, use)
        if len(args) == 2:
            a, b = args
            first, second = self.free(a), self.free(b)
            if first and not second:
                self.assign(a, self.draw(node, self.visit(b, inner), use, first=True))
            elif second and not first:
                self.assign(b, self.draw(node, self.visit(a, inner), use, first=False))
        if needed:
            return apply_operator(op, [self.visit(arg, inner) for arg in args])
        for arg in args:
            self.visit(arg, inner, False)
        return _ONE

    def settle_chain(self, node: Node, use: Use) -> None:
        """Draw a sum that is a centre or an argument: the slopes first, then the constant that brings it to zero.

        In `log(lr) - c - g*log(N)` the optimum must lie among the data whatever g is, so c is drawn last.
        """
        terms = list(self.terms(node, 1.0))
        level = next((i for i, (_, term) in enumerate(terms) if self.free(term)), -1)
        total, spread = _NOTHING, _NO_SPREAD
        # what has no constants first: the size of the data tells how far the slopes may move the centre
        for i in sorted(range(len(terms)), key=lambda i: not self.constants.isdisjoint(terms[i][1].names)):
            if i != level:
                sign, term = terms[i]
                self.reach = spread
                value = self.visit(term, use)
                # of one quantity the spread is known
                spread = self.spread(value if total is _NOTHING else total + sign * value)
                total = total + sign * value
        self.reach = None
        if level >= 0:
            sign, term = terms[level]
            noise = self.rng.normal(0.0, 1.0 if use == "argument" else 0.3, self.n) * spread
            self.assign(term, sign * (noise - self.pick(total)))

    def terms(self, node: Node, sign: float) -> Iterator[tuple[float, Node]]:
        """Yield the signed terms of a sum; the logarithm of a product is the sum of the logarithms."""
        if node.op in ("+", "-"):
            yield from self.terms(node.args[0], sign)
            yield from self.terms(node.args[1], -sign if node.op == "-" else sign)
        elif node.op == "neg":
            yield from self.terms(node.args[0], -sign)
        elif node.op == "log" and node.args[0].op in ("*", "/"):
            a, b = (call("log", arg) for arg in node.args[0].args)
            self.made += [a, b]
            yield from self.terms(a, sign)
            yield from self.terms(b, -sign if node.args[0].op == "/" else sign)
        else:
            yield sign, node

    @staticmethod
    def inner(node: Node, use: Use) -> Use:
        if node.op in ("min", "max") and any(arg.op == "number" for arg in node.args):
            return "centre"  # a hinge: max(log(N) - c, 0)
        return OPERATORS[node.op].use or use

    def draw(self, node: Node, u: Array, use: Use, *, first: bool) -> Array:
        """Return what the free operand of a binary node should be worth beside the other one, u."""
        match node.op:
            case "+" | "-":
                wanted = self.size(u) * self.log_uniform(0.01, 10.0)
                if use != "base" or not (u > 0).all():
                    return self.sign(0.1, wanted)
                if first and node.op == "-":
                    return np.asarray(u.max(axis=1) + wanted)
                # the base of a power stays positive: a shift downwards ends short of the smallest value
                short = 0.9 * self.rng.random(self.n) * u.min(axis=1)
                shift = np.where(self.rng.random(self.n) < 0.1, -short, wanted)
                return -shift if node.op == "-" else shift
            case "*":
                if use == "argument":
                    return self.signed(0.4, 0.1, 3.0) * self.reach_or_one() / self.spread(u)
                if use == "centre":
                    spread = np.maximum(self.spread(u), 0.01 * self.size(u))
                    return self.signed(0.4, 0.003, 0.3) * self.reach_or_one() / spread
                if use == "linear":
                    return self.signed(0.2, 0.05, 1.0) * self.scale / self.size(u)
                # the product of order one, or the constant itself: it may be a pure number, such as a count of epochs
                pure = self.rng.random(self.n) < 0.4
                return self.signed(0.1, 0.02, 20.0) / np.where(pure, 1.0, self.size(u))
            case "/":
                if use == "argument" and not first:
                    return self.signed(0.2, 0.3, 10.0) * self.spread(u)
                return self.signed(0.1, 0.05, 20.0) * self.size(u)
            case "min" | "max":
                return self.pick(u)
        return self.signed(0.3, 0.1, 3.0)

    def power(self, node: Node, use: Use, needed: bool) -> Array:
        base, exponent = node.args
        if exponent.op == "number":
            even = exponent.value == 2.0 or exponent.value == 4.0
            u = self.visit(base, "centre" if even else "base", needed)
            return np.power(u, exponent.value) if needed else _ONE
        drawn = not self.free(exponent)
        if drawn and self.free(base):
            u = self.visit(exponent, "base")
            self.assign(base, np.exp(self.rng.normal(0.0, 1.0, self.n) / self.spread(u)))
            return np.power(self.visit(base, "base"), u) if needed else _ONE
        u = self.visit(base, "base", needed or not drawn)
        if drawn or not self.free(exponent):  # the base may have the same constant
            v = self.visit(exponent, "argument", needed)
            return np.power(u, v) if needed else _ONE
        if self.reach is not None:  # the logarithm of this power is a slope
            _, size, turned = self.rng.random((3, self.n))
            value = _between(0.003, 0.3, size) * self.reach_or_one() / self.sample.statistic(_log_spread, u)
        else:
            size, turned = self.rng.random((2, self.n))
            value = _between(0.04, 1.6, size)
            if use == "argument":
                value *= 0.5
        value = np.minimum(value, self.sample.statistic(_steepest, u))
        # mostly a decline, whichever way it is written
        value = np.copysign(value, turned - 0.12)
        if exponent.op == "neg":
            self.assign(exponent.args[0], value)
        else:
            self.assign(exponent, value)
        return np.power(u, self.visit(exponent, "linear")) if needed else _ONE

    def assign(self, node: Node, wanted: Array) -> None:
        """Give the constants of a constant-only node values such that it is worth `wanted` (roughly)."""
        if node.op == "name":
            if node.name not in self.values:
                self.values[node.name] = np.abs(wanted) if node.name in self.positive else wanted
                self.undrawn.discard(node.name)
            return
        if node.op == "number":
            return
        if len(node.args) == 1:
            self.assign(node.args[0], np.asarray(_inverse(node.op, wanted)))
            return
        a, b = node.args
        if self.free(a) and self.free(b):
            # the second gets a plain value, the first makes up for it
            neutral = 0.0 if node.op in ("+", "-") else 1.0
            self.assign(b, np.full(self.n, neutral) + self.rng.normal(0.0, 0.3, self.n))
        first = self.free(a)
        other, target = (b, a) if first else (a, b)
        v = self.visit(other, "linear")[:, 0]
        v = v if len(v) == self.n else np.repeat(v, self.n)
        match node.op:
            case "+":
                rest = wanted - v
            case "-":
                rest = wanted + v if first else v - wanted
            case "*":
                rest = wanted / v
            case "/":
                rest = wanted * v if first else v / wanted
            case "**":
                rest = (
                    np.abs(wanted) ** (1.0 / v)
                    if first
                    else np.log(np.maximum(np.abs(wanted), 1e-300)) / np.log(np.maximum(np.abs(v), 1e-300))
                )
            case _:
                rest = wanted
        self.assign(target, np.where(np.isfinite(rest), rest, 1.0))
