r"""Formulas as tapes: lists of instructions that one compiled machine runs, so that no formula is compiled itself.

An expression becomes a `Tape`: a short list of instructions over three kinds of slots.

* scalar slots: fitted constants, literals, and what is computed from those alone (`-a`, `exp(u)`);
* column slots: sub-expressions without constants (`log(N)`, `N*D`), computed once per table;
* row slots: everything that depends on both, one value per row.

Constants that enter linearly are taken out of the tape: the expression is
$\hat y = \varphi_0(x, \theta) + \sum_k c_k \varphi_k(x, \theta)$ and the tape's outputs are the $\varphi$
(variable projection, Golub and Pereyra 1973, solves the $c_k$ in closed form).

`kernel.py` and `machine.py` run tapes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sld.core.evaluation import Array, walk
from sld.core.expression import Expression, Node, call, evaluate_scalar, number
from sld.core.separation import ONE, linear_constants

Ints = NDArray[np.int64]

# Scalar instructions and row instructions share these codes; for rows the suffix tells the operands
# (R: row or column slot, S: scalar slot). The numba machine repeats the numbers: keep them in step.
ADD_RR, ADD_RS, SUB_RR, SUB_RS, SUB_SR = 0, 1, 2, 3, 4
MUL_RR, MUL_RS, DIV_RR, DIV_RS, DIV_SR = 5, 6, 7, 8, 9
MIN_RR, MIN_RS, MAX_RR, MAX_RS = 10, 11, 12, 13
NEG, EXP, LOG, SQRT, TANH, SIGMOID, ABS, FILL, EXPMUL_RS = 14, 15, 16, 17, 18, 19, 20, 21, 22

_UNARY = {"neg": NEG, "exp": EXP, "log": LOG, "sqrt": SQRT, "tanh": TANH, "sigmoid": SIGMOID, "abs": ABS}
_BINARY = {"+": ADD_RR, "-": SUB_RR, "*": MUL_RR, "/": DIV_RR, "min": MIN_RR, "max": MAX_RR}
_COMMUTATIVE = frozenset(("+", "*", "min", "max"))
_WITH_SCALAR = {"+": ADD_RS, "-": SUB_RS, "*": MUL_RS, "/": DIV_RS, "min": MIN_RS, "max": MAX_RS}
_SCALAR_FIRST = {"-": SUB_SR, "/": DIV_SR}
ONE_OPERAND = frozenset(_UNARY.values())


@dataclass(frozen=True)
class Tape:
    """An expression as instructions.

    Attributes:
        constants: Nonlinear constants in the order of the parameter vector theta.
        positive: Those of them that live in log space (theta holds the logarithm).
        linear: Linear constants, in the order of the outputs.
        columns: Constant-free sub-expressions; they fill row slots 0 .. n_columns - 1.
        literals: Values of the scalar slots after the constants.
        scalar_ops: (n, 3) code, slot, slot; the results fill the scalar slots after the literals.
        row_ops: (n, 3) the same for rows; the results fill the slots after the columns.
        outputs: Row slot of each basis, in the order of `linear`.
        rest: Row slot of the part without linear constants, or -1.
        rest_tree: That part, or None.
        bases: The factor of each linear constant.
    """

    constants: tuple[str, ...]
    positive: tuple[str, ...]
    linear: tuple[str, ...]
    columns: tuple[Node, ...]
    literals: Array
    scalar_ops: Ints
    row_ops: Ints
    outputs: Ints
    rest: int
    rest_tree: Node | None
    bases: tuple[Node, ...]

    @property
    def n_slots(self) -> int:
        """Number of row slots, columns included."""
        return len(self.columns) + len(self.row_ops)

    def column_values(self, values: Mapping[str, Array], n_rows: int) -> Array:
        """Return the column slots for a table: (n_columns, n_rows)."""
        out = np.empty((len(self.columns), n_rows))
        with np.errstate(all="ignore"):
            for i, node in enumerate(self.columns):
                out[i] = walk(node, values, {})
        return out


_Slot = tuple[str, int]
_Instruction = tuple[int, _Slot, _Slot | None]


class _Builder:
    """Turns trees into slots; equal instructions share one slot.

    A slot is a kind and a number within the kind: "t" theta, "l" literal, "s" scalar result, "c" column, "r" row
    result, and "f" for a sub-expression free of constants that becomes a column if an instruction needs it.
    """

    def __init__(self, theta: Sequence[str], positive: Collection[str], variables: Collection[str]) -> None:
        self.theta = {c: i for i, c in enumerate(theta)}
        self.positive = frozenset(positive)
        self.variables = frozenset(variables)
        self.literals: dict[float, int] = {}
        self.free: list[Node] = []
        self.columns: dict[Node, int] = {}
        self.scalar_ops: dict[_Instruction, int] = {}
        self.row_ops: dict[_Instruction, int] = {}
        self.seen: dict[int, _Slot] = {}  # by the node's identity: hashing trees costs more than building twice
        self.made: list[Node] = []

    def literal(self, value: float) -> _Slot:
        return "l", self.literals.setdefault(value, len(self.literals))

    def folded(self, op: str, *slots: _Slot) -> _Slot:
        values = list(self.literals)
        return self.literal(evaluate_scalar(op, *(values[i] for _, i in slots)))

    def free_of_constants(self, node: Node) -> _Slot:
        self.free.append(node)
        return "f", len(self.free) - 1

    def column(self, node: Node) -> _Slot:
        return "c", self.columns.setdefault(node, len(self.columns))

    def scalar(self, code: int, a: _Slot, b: _Slot | None = None) -> _Slot:
        return "s", self.scalar_ops.setdefault((code, a, b), len(self.scalar_ops))

    def row(self, code: int, a: _Slot, b: _Slot | None = None) -> _Slot:
        if a[0] == "f":
            a = self.settled(a)
        if b is not None and b[0] == "f":
            b = self.settled(b)
        return "r", self.row_ops.setdefault((code, a, b), len(self.row_ops))

    def settled(self, slot: _Slot) -> _Slot:
        return self.column(self.free[slot[1]]) if slot[0] == "f" else slot

    def build(self, node: Node) -> _Slot:
        op = node.op
        if op == "number":
            return self.literal(node.value)
        if op == "name":
            if node.name in self.variables:
                return self.free_of_constants(node)
            slot = ("t", self.theta[node.name])
            return self.scalar(EXP, slot) if node.name in self.positive else slot
        known = self.seen.get(id(node))
        if known is None:
            known = self.seen[id(node)] = self.power(node) if op == "**" else self._build(node)
        return known

    def _build(self, node: Node) -> _Slot:
        a = self.build(node.args[0])
        if len(node.args) == 1:
            if a[0] == "f":
                return self.free_of_constants(node)
            if a[0] == "l":
                return self.folded(node.op, a)
            return (self.row if a[0] == "r" else self.scalar)(_UNARY[node.op], a)
        b = self.build(node.args[1])
        kinds = a[0] + b[0]
        if kinds == "ll":
            return self.folded(node.op, a, b)
        if kinds in ("ff", "fl", "lf"):
            return self.free_of_constants(node)
        if a[0] in "fr":
            return self.row((_BINARY if b[0] in "fr" else _WITH_SCALAR)[node.op], a, b)
        if b[0] not in "fr":
            return self.scalar(_BINARY[node.op], a, b)
        return self.row(_WITH_SCALAR[node.op] if node.op in _COMMUTATIVE else _SCALAR_FIRST[node.op], b, a)

    def power(self, node: Node) -> _Slot:
        base, exponent = node.args
        if exponent.op == "number" and exponent.value == int(exponent.value) and 0 < abs(exponent.value) <= 16:
            return self.whole_power(node, int(exponent.value))
        if exponent.op == "number" and exponent.value == 0.5:
            return self.build(self.kept(call("sqrt", base)))
        a, b = self.build(base), self.build(exponent)
        if a[0] + b[0] == "ll":
            return self.folded("**", a, b)
        if a[0] in "fl" and b[0] in "fl":
            return self.free_of_constants(node)
        logarithm = self.kept(call("log", base))
        if b[0] in "tls" and a[0] in "fr":
            return self.row(EXPMUL_RS, self.build(logarithm), b)
        return self.build(self.kept(call("exp", call("*", exponent, logarithm))))

    def whole_power(self, node: Node, power: int) -> _Slot:
        """Multiply out: whole powers keep the sign of a negative base, exp(k*log(x)) would not."""
        base = self.build(node.args[0])
        if base[0] == "f":
            return self.free_of_constants(node)
        if base[0] == "l":
            return self.folded("**", base, self.literal(float(power)))
        multiply = self.row if base[0] == "r" else self.scalar
        product: _Slot | None = None
        square, k = base, abs(power)
        while k:
            if k & 1:
                product = square if product is None else multiply(MUL_RR, product, square)
            k >>= 1
            if k:
                square = multiply(MUL_RR, square, square)
        assert product is not None
        if power > 0:
            return product
        one = self.literal(1.0)
        return self.row(DIV_SR, product, one) if base[0] == "r" else self.scalar(DIV_RR, one, product)

    def kept(self, node: Node) -> Node:
        """Keep a node made here alive: `seen` goes by identity."""
        self.made.append(node)
        return node

    def as_row(self, slot: _Slot) -> _Slot:
        """Return a row slot for an output."""
        if slot[0] == "l":
            return self.column(number(list(self.literals)[slot[1]]))
        if slot[0] in "ts":
            # a scalar becomes a row by filling; the column operand only lends its length
            return self.row(FILL, self.column(ONE), slot)
        return self.settled(slot)


def compile_tape(
    expression: Expression,
    *,
    shared: Sequence[str] = (),
    nonlinear: Collection[str] = (),
    positive: Collection[str] = (),
    project: bool = True,
    log_output: bool = False,
) -> Tape:
    """Compile an expression.

    Args:
        expression: The formula.
        shared: Constants shared across groups: they come first in theta and are never projected out.
        nonlinear: Further constants that must not be projected out.
        positive: Nonlinear constants searched in log space.
        project: Take linear constants out; False leaves every constant in theta and one output.
        log_output: Compile the logarithm of the expression instead (implies no projection).
    """
    rest: Node | None
    if project and not log_output:
        rest, bases = linear_constants(expression, {*shared, *nonlinear})
    else:
        rest, bases = (call("log", expression.tree) if log_output else expression.tree), {}
    theta = [c for c in shared if c in expression.constants]
    theta += [c for c in expression.constants if c not in bases and c not in theta]
    positive = [c for c in theta if c in positive]
    builder = _Builder(theta, positive, expression.variables)
    # the constant basis first: what is left of the others is then centred, which conditions exponents near zero
    order = sorted(bases, key=lambda c: bases[c] != ONE)
    outputs = [builder.as_row(builder.build(bases[c])) for c in order]
    rest_slot = None if rest is None else builder.as_row(builder.build(rest))
    n_theta, n_literals, n_columns = len(theta), len(builder.literals), len(builder.columns)
    # slots of one kind stand behind those of another
    offset = {"t": 0, "l": n_theta, "s": n_theta + n_literals, "c": 0, "r": n_columns}

    def final(slot: _Slot) -> int:
        return slot[1] + offset[slot[0]]

    def flat(instructions: Collection[_Instruction]) -> list[int]:
        return [x for c, a, b in instructions for x in (c, final(a), 0 if b is None else final(b))]

    # one array cut in three: numpy takes longer to make an array than to fill it
    scalars, rows = flat(builder.scalar_ops), flat(builder.row_ops)
    codes: Ints = np.array(scalars + rows + [final(s) for s in outputs], dtype=np.int64)
    first, second = len(scalars), len(scalars) + len(rows)
    return Tape(
        constants=tuple(theta),
        positive=tuple(positive),
        linear=tuple(order),
        columns=tuple(builder.columns),
        literals=np.array(list(builder.literals), dtype=np.float64),
        scalar_ops=codes[:first].reshape(-1, 3),
        row_ops=codes[first:second].reshape(-1, 3),
        outputs=codes[second:],
        rest=-1 if rest_slot is None else final(rest_slot),
        rest_tree=rest,
        bases=tuple(bases.values()),
    )
