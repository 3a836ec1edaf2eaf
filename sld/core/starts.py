"""Initial points for the nonlinear constants, drawn from the formula's structure and the table's own magnitudes.

A constant is drawn where it stands: an exponent is of order one, a number added to a quantity is of that quantity's
size, the centre of a sigmoid or of a valley lies among the data. The formula is walked bottom up with a few rows of
the table, for all starts at once; whenever a constant meets a quantity that is already known, it is drawn to suit it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np

from sld.core.expression import Node
from sld.core.kernel import Array, apply_operator

# What the value of a sub-expression is used for, which decides the size of the constants in it.
Use = Literal["linear", "base", "argument", "centre"]

_SPREAD_FLOOR = 1e-12


def draw_starts(
    parts: Sequence[Node],
    constants: Sequence[str],
    positive: Collection[str],
    columns: Mapping[str, Array],
    n_starts: int,
    rng: np.random.Generator,
    *,
    scale: float = 1.0,
) -> Array:
    """Return initial values (n_starts, n_constants) in natural units.

    Args:
        parts: The trees in which the constants occur (bases and rest of the expression).
        positive: Constants that must come out positive.
        columns: Variable symbol to values (n_rows,); a few dozen rows are enough.
        scale: Typical size of the target.
    """
    sampler = _Sampler(frozenset(constants), frozenset(positive), columns, n_starts, rng, scale)
    with np.errstate(all="ignore"):
        for part in parts:
            sampler.visit(part, "linear")
    out = np.ones((n_starts, len(constants)))
    for i, constant in enumerate(constants):
        value = sampler.values.get(constant)
        if value is not None:
            out[:, i] = np.abs(value) if constant in positive else value
    out[~np.isfinite(out)] = 1.0
    for i, constant in enumerate(constants):
        if constant in positive:
            out[:, i] = np.maximum(out[:, i], 1e-300)
    return out


class _Sampler:
    def __init__(
        self,
        constants: frozenset[str],
        positive: frozenset[str],
        columns: Mapping[str, Array],
        n: int,
        rng: np.random.Generator,
        scale: float,
    ) -> None:
        self.constants = constants
        self.positive = positive
        self.columns = columns
        self.n = n
        self.rng = rng
        self.scale = scale
        self.values: dict[str, Array] = {}  # constant -> (n,)

    # -- drawing -------------------------------------------------------------------------------------------------

    def log_uniform(self, low: float, high: float) -> Array:
        return np.asarray(np.exp(self.rng.uniform(np.log(low), np.log(high), self.n)))

    def sign(self, share_negative: float) -> Array:
        return np.where(self.rng.random(self.n) < share_negative, -1.0, 1.0)

    def pick(self, u: Array) -> Array:
        """Return the value of u at a random row, one per start."""
        full = np.broadcast_to(u, (self.n, u.shape[1]))
        return np.asarray(full[np.arange(self.n), self.rng.integers(0, u.shape[1], self.n)])

    @staticmethod
    def size(u: Array) -> Array:
        """Return the typical magnitude of u per start: exp of the mean log, zeros left out."""
        a = np.abs(u)
        logs = np.where((a > 0) & np.isfinite(a), np.log(a), np.nan)
        if np.isnan(logs).all():
            return np.ones(u.shape[0])
        with np.errstate(all="ignore"):
            count = np.maximum((~np.isnan(logs)).sum(axis=1), 1)
            return np.asarray(np.exp(np.nansum(logs, axis=1) / count))

    @staticmethod
    def spread(u: Array) -> Array:
        clean = np.where(np.isfinite(u), u, 0.0)
        return np.asarray(np.maximum(clean.std(axis=1), _SPREAD_FLOOR))

    # -- the walk ------------------------------------------------------------------------------------------------

    def free(self, node: Node) -> bool:
        """Return whether node is made of constants alone and one of them has no value yet."""
        names = [x.name for x in node.walk() if x.op == "name"]
        if not names or any(x not in self.constants for x in names):
            return False
        return any(x not in self.values for x in names)

    def visit(self, node: Node, use: Use) -> Array:
        """Return the values of node, (n, m), (n, 1) or (1, m), drawing the constants in it."""
        if node.op == "number":
            return np.full((1, 1), node.value)
        if node.op == "name":
            if node.name in self.columns:
                return self.columns[node.name][None, :]
            if node.name not in self.constants:
                return np.ones((1, 1))  # a linear constant: solved for, never drawn
            if node.name not in self.values:
                self.assign(node, self.sign(0.3) * self.log_uniform(0.1, 3.0))
            return self.values[node.name][:, None]
        if node.op == "**":
            return self.power(node, use)
        if len(node.args) == 2:
            a, b = node.args
            if self.free(a) and not self.free(b):
                self.assign(a, self.draw(node, a, self.visit(b, self.inner(node, use)), use, first=True))
            elif self.free(b) and not self.free(a):
                self.assign(b, self.draw(node, b, self.visit(a, self.inner(node, use)), use, first=False))
            return apply_operator(node.op, [self.visit(arg, self.inner(node, use)) for arg in node.args])
        return apply_operator(node.op, [self.visit(node.args[0], self.inner(node, use))])

    @staticmethod
    def inner(node: Node, use: Use) -> Use:
        match node.op:
            case "exp" | "sigmoid" | "tanh":
                return "argument"
            case "log" | "sqrt":
                return "base"
            case "abs":
                return "centre"
        return use

    def draw(self, node: Node, free: Node, u: Array, use: Use, *, first: bool) -> Array:
        """Return what the free operand of a binary node should be worth beside the other one, u."""
        size, spread = self.size(u), self.spread(u)
        match node.op:
            case "+" | "-":
                # node = sign_free * free + sign_u * u
                sign_free, sign_u = (1.0, -1.0 if node.op == "-" else 1.0) if first else (
                    -1.0 if node.op == "-" else 1.0,
                    1.0,
                )
                if use in ("argument", "centre"):
                    noise = self.rng.normal(0.0, 1.0, self.n) * spread * (1.0 if use == "argument" else 0.3)
                    return sign_free * (-sign_u * self.pick(u) + noise)
                return self.sign(0.1) * size * self.log_uniform(0.01, 10.0)
            case "*":
                if use == "argument":
                    return self.sign(0.4) * self.log_uniform(0.1, 3.0) / spread
                if use == "centre":
                    return self.sign(0.4) * self.log_uniform(0.1, 3.0) / np.maximum(spread, 0.01 * size)
                if use == "linear":
                    return self.sign(0.2) * self.scale * self.log_uniform(0.05, 5.0) / size
                return self.sign(0.1) * self.log_uniform(0.02, 20.0) / size
            case "/":
                if use == "argument" and not first:
                    return self.sign(0.2) * self.log_uniform(0.3, 10.0) * spread
                return self.sign(0.1) * self.log_uniform(0.05, 20.0) * size
            case "min" | "max":
                return self.pick(u)
        return self.sign(0.3) * self.log_uniform(0.1, 3.0)

    def power(self, node: Node, use: Use) -> Array:
        base, exponent = node.args
        if exponent.op == "number":
            even = exponent.value == 2.0 or exponent.value == 4.0
            return apply_operator("**", [self.visit(base, "centre" if even else "base"), self.visit(exponent, "base")])
        if self.free(base) and not self.free(exponent):
            u = self.visit(exponent, "base")
            self.assign(base, np.exp(self.rng.normal(0.0, 1.0, self.n) / self.spread(u)))
            return apply_operator("**", [self.visit(base, "base"), u])
        u = self.visit(base, "base")
        if self.free(exponent):
            logs = np.log(np.where(u > 0, u, np.nan))
            finite = np.where(np.isfinite(logs), logs, 0.0)
            reach = np.ptp(finite, axis=1)
            value = self.log_uniform(0.04, 1.6)
            if use == "argument":
                value *= 0.5
            value = np.minimum(value, 25.0 / np.maximum(reach, 1.0))
            if exponent.op == "neg":
                value = -value
            self.assign(exponent, value * self.sign(0.12))
            return apply_operator("**", [u, self.visit(exponent, "linear")])
        return apply_operator("**", [u, self.visit(exponent, "argument")])

    def assign(self, node: Node, wanted: Array) -> None:
        """Give the constants of a constant-only node values such that it is worth `wanted` (roughly)."""
        if node.op == "name":
            if node.name not in self.values:
                self.values[node.name] = np.abs(wanted) if node.name in self.positive else wanted
            return
        if node.op == "number":
            return
        inverse = {
            "neg": lambda v: -v,
            "exp": lambda v: np.log(np.maximum(np.abs(v), 1e-300)),
            "log": lambda v: np.exp(np.clip(v, -600, 600)),
            "sqrt": lambda v: v * v,
            "abs": lambda v: v,
            "tanh": lambda v: np.arctanh(np.clip(v, -0.99, 0.99)),
            "sigmoid": lambda v: np.log(np.clip(v, 1e-6, 1 - 1e-6)) - np.log1p(-np.clip(v, 1e-6, 1 - 1e-6)),
        }
        if len(node.args) == 1:
            self.assign(node.args[0], np.asarray(inverse[node.op](wanted)))
            return
        a, b = node.args
        if self.free(a) and self.free(b):
            # the second gets a plain value, the first makes up for it
            neutral = 0.0 if node.op in ("+", "-") else 1.0
            self.assign(b, np.full(self.n, neutral) + self.rng.normal(0.0, 0.3, self.n))
        other, target = (b, a) if self.free(a) else (a, b)
        v = np.broadcast_to(self.visit(other, "linear"), (self.n, 1))[:, 0]
        first = target is a
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
