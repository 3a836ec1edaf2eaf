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

from sld.fit.opcodes import DIV_RR, DIV_SR, EXP, EXPMUL_RS, FILL, MUL_RR, ONE_OPERAND, ROW_ROW, ROW_SCALAR, SCALAR_ROW
from sld.fit.separation import ONE, is_one, linear_constants
from sld.formula.evaluation import Array, walk
from sld.formula.expression import Expression, Node, call, number
from sld.formula.operators import OPERATORS, evaluate_scalar

Ints = NDArray[np.int64]


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


# A slot while the tape is being made: its number among those of its kind, plus the kind. Rows come last, so that one
# comparison tells them from scalars.
_THETA, _LITERAL, _SCALAR, _COLUMN, _ROW = (kind << 20 for kind in range(5))
_NUMBER = (1 << 20) - 1  # the bits of a slot that are its number; a formula has 600 nodes at most
_NO_SLOT = -1  # in place of an operand that is not there
_Instruction = tuple[int, int, int]


class _Builder:
    """Turns trees into slots; equal instructions share one slot."""

    def __init__(self, theta: Sequence[str], positive: Collection[str], variables: Collection[str]) -> None:
        self.theta = {c: i for i, c in enumerate(theta)}
        self.positive = positive
        self.variables = frozenset(variables)
        self.literals: dict[float, int] = {}
        self.columns: dict[Node, int] = {}
        self.scalar_ops: dict[_Instruction, int] = {}
        self.row_ops: dict[_Instruction, int] = {}
        self.seen: dict[int, int] = {}  # by the node's identity: hashing trees costs more than building twice
        self.made: list[Node] = []

    def literal(self, value: float) -> int:
        return _LITERAL + self.literals.setdefault(value, len(self.literals))

    def folded(self, op: str, *slots: int) -> int:
        values = list(self.literals)
        return self.literal(evaluate_scalar(op, *(values[slot - _LITERAL] for slot in slots)))

    def column(self, node: Node) -> int:
        if node.op == "**" and node.args[1].op == "number" and node.args[1].value == 0.5:
            node = call("sqrt", node.args[0])
        return _COLUMN + self.columns.setdefault(node, len(self.columns))

    def scalar(self, code: int, a: int, b: int = _NO_SLOT) -> int:
        return _SCALAR + self.scalar_ops.setdefault((code, a, b), len(self.scalar_ops))

    def row(self, code: int, a: int, b: int = _NO_SLOT) -> int:
        return _ROW + self.row_ops.setdefault((code, a, b), len(self.row_ops))

    def build(self, node: Node) -> int:
        op = node.op
        if op == "name":
            word = node.name
            if word in self.variables:
                return self.column(node)
            slot = self.theta[word]
            return self.scalar(EXP, slot) if word in self.positive else slot
        if op == "number":
            return self.literal(node.value)
        known = self.seen.get(id(node))
        if known is None:
            if node.names <= self.variables and node.names:
                known = self.column(node)
            else:
                known = self.power(node) if op == "**" else self._build(node)
            self.seen[id(node)] = known
        return known

    def _build(self, node: Node) -> int:
        op, args = node.op, node.args
        a = self.build(args[0])
        if len(args) == 1:
            if a >= _COLUMN:
                return self.row(ONE_OPERAND[op], a)
            return self.folded(op, a) if _LITERAL <= a < _SCALAR else self.scalar(ONE_OPERAND[op], a)
        b = self.build(args[1])
        if a >= _COLUMN:
            return self.row(ROW_ROW[op] if b >= _COLUMN else ROW_SCALAR[op], a, b)
        if b >= _COLUMN:
            return self.row(ROW_SCALAR[op] if OPERATORS[op].commutes else SCALAR_ROW[op], b, a)
        if _LITERAL <= a < _SCALAR and _LITERAL <= b < _SCALAR:
            return self.folded(op, a, b)
        return self.scalar(ROW_ROW[op], a, b)

    def power(self, node: Node) -> int:
        base, exponent = node.args
        if exponent.op == "number":
            if exponent.value == int(exponent.value) and 0 < abs(exponent.value) <= 16:
                return self.whole_power(node, int(exponent.value))
            if exponent.value == 0.5:
                return self.build(self.kept(call("sqrt", base)))
        b = self.build(exponent)
        if b < _COLUMN and (base.names <= self.variables and base.names):
            return self.row(EXPMUL_RS, self.build(self.kept(call("log", base))), b)
        a = self.build(base)
        if _LITERAL <= a < _SCALAR and _LITERAL <= b < _SCALAR:
            return self.folded("**", a, b)
        logarithm = self.kept(call("log", base))
        if b < _COLUMN <= a:
            return self.row(EXPMUL_RS, self.build(logarithm), b)
        return self.build(self.kept(call("exp", call("*", exponent, logarithm))))

    def whole_power(self, node: Node, power: int) -> int:
        """Multiply out: whole powers keep the sign of a negative base, exp(k*log(x)) would not."""
        base = self.build(node.args[0])
        if _LITERAL <= base < _SCALAR:
            return self.folded("**", base, self.literal(float(power)))
        multiply = self.row if base >= _COLUMN else self.scalar
        product = _NO_SLOT
        square, k = base, abs(power)
        while k:
            if k & 1:
                product = square if product == _NO_SLOT else multiply(MUL_RR, product, square)
            k >>= 1
            if k:
                square = multiply(MUL_RR, square, square)
        if power > 0:
            return product
        one = self.literal(1.0)
        return self.row(DIV_SR, product, one) if base >= _COLUMN else self.scalar(DIV_RR, one, product)

    def kept(self, node: Node) -> Node:
        """Keep a node made here alive: `seen` goes by identity."""
        self.made.append(node)
        return node

    def as_row(self, node: Node) -> int:
        """Return a row slot for an output."""
        slot = self.build(node)
        if slot >= _COLUMN:
            return slot
        if slot < _LITERAL or slot >= _SCALAR:
            # a scalar becomes a row by filling; the column operand only lends its length
            return self.row(FILL, self.column(ONE), slot)
        return self.column(number(list(self.literals)[slot - _LITERAL]))


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

    >>> from sld.formula.expression import parse
    >>> tape = compile_tape(parse("E + A*N**-a", ["N"]))
    >>> tape.constants, tape.linear, [str(column) for column in tape.columns]
    (('a',), ('E', 'A'), ['1', 'log(N)'])
    >>> len(tape.scalar_ops), len(tape.row_ops)  # -a; then exp(-a * log(N))
    (1, 1)

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
    constants = expression.constants
    theta = [c for c in constants if c not in bases]
    if shared:
        first = [c for c in shared if c in constants]
        theta = first + [c for c in theta if c not in first]
    positive = [c for c in theta if c in positive] if positive else []
    builder = _Builder(theta, positive, expression.variables)
    # the constant basis first: what is left of the others is then centred, which conditions exponents near zero
    order = sorted(bases, key=lambda c: not is_one(bases[c]))
    outputs = [builder.as_row(bases[c]) for c in order]
    rest_slot = _NO_SLOT if rest is None else builder.as_row(rest)
    n_theta, n_literals, n_columns = len(theta), len(builder.literals), len(builder.columns)
    # slots of one kind stand behind those of another
    behind = (0, n_theta, n_theta + n_literals, 0, n_columns)

    def final(slot: int) -> int:
        return 0 if slot == _NO_SLOT else (slot & _NUMBER) + behind[slot >> 20]

    # one array cut in three: numpy takes longer to make an array than to fill it
    numbers = [x for code, a, b in (*builder.scalar_ops, *builder.row_ops) for x in (code, final(a), final(b))]
    codes: Ints = np.array(numbers + [final(slot) for slot in outputs], dtype=np.int64)
    first_row, first_output = 3 * len(builder.scalar_ops), len(numbers)
    return Tape(
        constants=tuple(theta),
        positive=tuple(positive),
        linear=tuple(order),
        columns=tuple(builder.columns),
        literals=np.array(list(builder.literals), dtype=np.float64),
        scalar_ops=codes[:first_row].reshape(-1, 3),
        row_ops=codes[first_row:first_output].reshape(-1, 3),
        outputs=codes[first_output:],
        rest=-1 if rest is None else final(rest_slot),
        rest_tree=rest,
        bases=tuple(bases.values()),
    )
