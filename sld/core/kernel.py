r"""Compiled evaluation: value and Jacobian of any expression, without compiling code per formula.

An expression becomes a `Tape`: a short list of instructions over three kinds of slots.

* scalar slots: fitted constants, literals, and what is computed from those alone (`-a`, `exp(u)`);
* column slots: sub-expressions without constants (`log(N)`, `N*D`), computed once per table;
* row slots: everything that depends on both, one value per row.

Constants that enter linearly are taken out of the tape: the expression is
$\hat y = \varphi_0(x, \theta) + \sum_k c_k \varphi_k(x, \theta)$ and the tape's outputs are the $\varphi$
(variable projection, Golub and Pereyra 1973, solves the $c_k$ in closed form).

The same tape is run by the numba machine (`machine.py`) and by the numpy interpreter here; both give values and
derivatives (reverse mode) that agree to rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sld.core.errors import DataError
from sld.core.expression import Expression, Node, call, evaluate_scalar, number

Array = NDArray[np.float64]
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
_ONE_OPERAND = frozenset(_UNARY.values())
_ONE = number(1.0)


def evaluate(expression: Expression, columns: Mapping[str, Array], constants: Mapping[str, float]) -> Array:
    """Return the value of `expression` for every row; NaN or inf outside its domain.

    Args:
        columns: Variable symbol to values (n_rows,).
        constants: Value of every constant.
    """
    n_rows = len(next(iter(columns.values()))) if columns else 1
    with np.errstate(all="ignore"):
        value = _walk(expression.tree, columns, constants)
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (n_rows,)).copy()


def _walk(node: Node, columns: Mapping[str, Array], constants: Mapping[str, float]) -> Array | float:
    if node.op == "number":
        return node.value
    if node.op == "name":
        if node.name in columns:
            return columns[node.name]
        if node.name in constants:
            return constants[node.name]
        raise DataError(f"the formula needs a value for {node.name!r}")
    args = [np.asarray(_walk(arg, columns, constants), dtype=np.float64) for arg in node.args]
    return apply_operator(node.op, args)


def apply_operator(op: str, args: Sequence[Array]) -> Array:
    match op:
        case "+":
            return np.add(args[0], args[1])
        case "-":
            return np.subtract(args[0], args[1])
        case "*":
            return np.multiply(args[0], args[1])
        case "/":
            return np.divide(args[0], args[1])
        case "**":
            return np.power(args[0], args[1])
        case "min":
            return np.minimum(args[0], args[1])
        case "max":
            return np.maximum(args[0], args[1])
        case "neg":
            return np.negative(args[0])
        case "exp":
            return np.exp(args[0])
        case "log":
            return np.log(args[0])
        case "sqrt":
            return np.sqrt(args[0])
        case "tanh":
            return np.tanh(args[0])
        case "sigmoid":
            return np.asarray(1.0 / (1.0 + np.exp(-args[0])))
        case "abs":
            return np.abs(args[0])
    raise ValueError(f"unknown operator {op!r}")


def linear_constants(expression: Expression, exclude: Collection[str] = ()) -> tuple[Node | None, dict[str, Node]]:
    r"""Split an expression into $\varphi_0 + \sum_k c_k \varphi_k$.

    Args:
        exclude: Constants that must stay nonlinear (shared across groups, or bounded).

    Returns:
        `(rest, bases)`: the part without linear constants (None when there is none) and the factor of each
        linear constant. Together with the remaining constants they reproduce the expression exactly.
    """
    candidates = frozenset(expression.constants).difference(exclude)
    below: _Below = {}
    _names_below(expression.tree, candidates, below)
    while True:
        conflict = _conflicts(expression.tree, candidates, below)
        if not conflict:
            return _split(expression.tree, candidates, below)
        candidates -= conflict


# Candidates that occur below each node, by the node's identity: asked for again and again on the way down.
_Below = dict[int, frozenset[str]]
_NOTHING: frozenset[str] = frozenset()


def _names_below(node: Node, candidates: frozenset[str], below: _Below) -> frozenset[str]:
    if node.op == "name":
        found = frozenset((node.name,)) if node.name in candidates else _NOTHING
    else:
        found = _NOTHING
        for arg in node.args:
            under = _names_below(arg, candidates, below)
            found = found | under if found else under
    below[id(node)] = found
    return found


def _conflicts(node: Node, candidates: frozenset[str], below: _Below) -> frozenset[str]:
    """Return candidates that `node` is not jointly linear in (those of the smaller factor of a product)."""
    here = below[id(node)] & candidates
    if not here or node.op == "name":
        return _NOTHING
    if node.op in ("+", "-", "neg"):
        found = _NOTHING
        for arg in node.args:
            found |= _conflicts(arg, candidates, below)
        return found
    if node.op == "*":
        left, right = (below[id(arg)] & candidates for arg in node.args)
        if left and right and _is_valley(node.args[1]):
            return left
        if left and right and _is_valley(node.args[0]):
            return right
        found = _conflicts(node.args[0], candidates, below) | _conflicts(node.args[1], candidates, below)
        if found or not left or not right:
            return found
        return left if len(left) < len(right) else right
    if node.op == "/":
        return (below[id(node.args[1])] & candidates) | _conflicts(node.args[0], candidates, below)
    return here


def _is_valley(node: Node) -> bool:
    """Return whether node is an even power or an absolute value.

    The factor before one with constants inside stays in the search: solved for while the valley's centre is still
    wrong it comes out as almost nothing, and the centre then drifts away from the data.
    """
    return node.op == "abs" or (node.op == "**" and node.args[1].op == "number" and node.args[1].value in (2.0, 4.0))


def _split(node: Node, linear: frozenset[str], below: _Below) -> tuple[Node | None, dict[str, Node]]:
    if node.op == "name" and node.name in linear:
        return None, {node.name: _ONE}
    if not below[id(node)] & linear:
        return node, {}
    if node.op == "neg":
        rest, bases = _split(node.args[0], linear, below)
        return None if rest is None else call("neg", rest), {c: call("neg", b) for c, b in bases.items()}
    if node.op in ("+", "-"):
        (rest_a, bases_a), (rest_b, bases_b) = (_split(arg, linear, below) for arg in node.args)
        rest = _combine(node.op, rest_a, rest_b)
        bases = dict(bases_a)
        for c, b in bases_b.items():
            combined = _combine(node.op, bases.get(c), b)
            assert combined is not None
            bases[c] = combined
        return rest, bases
    if node.op == "*":
        holder, factor = (0, 1) if below[id(node.args[0])] & linear else (1, 0)
        rest, bases = _split(node.args[holder], linear, below)
        other = node.args[factor]
        return None if rest is None else _times(rest, other), {c: _times(b, other) for c, b in bases.items()}
    rest, bases = _split(node.args[0], linear, below)
    divisor = node.args[1]
    return (
        None if rest is None else call("/", rest, divisor),
        {c: call("/", b, divisor) for c, b in bases.items()},
    )


def _combine(op: str, a: Node | None, b: Node | None) -> Node | None:
    if b is None:
        return a
    if a is None:
        return b if op == "+" else call("neg", b)
    return call(op, a, b)


def _times(a: Node, b: Node) -> Node:
    return b if a == _ONE else a if b == _ONE else call("*", a, b)


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
                out[i] = _walk(node, values, {})
        return out


_Slot = tuple[str, int]


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
        self.scalar_ops: dict[tuple[int, int, int], int] = {}
        self.row_ops: dict[tuple[int, int, int], int] = {}
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
        key = (code, self.code(a), self.code(b) if b else 0)
        return "s", self.scalar_ops.setdefault(key, len(self.scalar_ops))

    def row(self, code: int, a: _Slot, b: _Slot | None = None) -> _Slot:
        key = (code, self.code(self.settled(a)), self.code(self.settled(b)) if b else 0)
        return "r", self.row_ops.setdefault(key, len(self.row_ops))

    def settled(self, slot: _Slot) -> _Slot:
        return self.column(self.free[slot[1]]) if slot[0] == "f" else slot

    @staticmethod
    def code(slot: _Slot) -> int:
        return slot[1] * 8 + "tlscr".index(slot[0])

    def build(self, node: Node) -> _Slot:
        slot = self.seen.get(id(node))
        if slot is None:
            slot = self.seen[id(node)] = self._build(node)
        return slot

    def _build(self, node: Node) -> _Slot:
        if node.op == "number":
            return self.literal(node.value)
        if node.op == "name":
            if node.name in self.variables:
                return self.free_of_constants(node)
            slot = ("t", self.theta[node.name])
            return self.scalar(EXP, slot) if node.name in self.positive else slot
        if node.op == "**":
            return self.power(node)
        a, *rest = (self.build(arg) for arg in node.args)
        if not rest:
            if a[0] == "f":
                return self.free_of_constants(node)
            if a[0] == "l":
                return self.folded(node.op, a)
            return (self.row if a[0] == "r" else self.scalar)(_UNARY[node.op], a)
        b = rest[0]
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
            return self.row(FILL, self.column(_ONE), slot)
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
    order = sorted(bases, key=lambda c: bases[c] != _ONE)
    outputs = [builder.as_row(builder.build(bases[c])) for c in order]
    rest_slot = None if rest is None else builder.as_row(builder.build(rest))
    n_theta, n_literals, n_columns = len(theta), len(builder.literals), len(builder.columns)
    offset = (0, n_theta, n_theta + n_literals, 0, n_columns)  # slots of one kind stand behind those of another

    def final(code: int) -> int:
        return code // 8 + offset[code % 8]

    scalar_ops = [(c, final(a), 0 if c in _ONE_OPERAND else final(b)) for c, a, b in builder.scalar_ops]
    row_ops = [(c, final(a), 0 if c in _ONE_OPERAND else final(b)) for c, a, b in builder.row_ops]
    return Tape(
        constants=tuple(theta),
        positive=tuple(positive),
        linear=tuple(order),
        columns=tuple(builder.columns),
        literals=np.array(list(builder.literals), dtype=np.float64),
        scalar_ops=np.array(scalar_ops, dtype=np.int64).reshape(-1, 3),
        row_ops=np.array(row_ops, dtype=np.int64).reshape(-1, 3),
        outputs=np.array([final(_Builder.code(s)) for s in outputs], dtype=np.int64),
        rest=-1 if rest_slot is None else final(_Builder.code(rest_slot)),
        rest_tree=rest,
        bases=tuple(bases.values()),
    )


def run_numpy(tape: Tape, columns: Array, theta: Array) -> tuple[Array, Array]:
    """Interpret a tape for many parameter vectors at once.

    Args:
        columns: (n_columns, n_rows) from `Tape.column_values`.
        theta: (n_vectors, n_constants); entries of `tape.positive` are logarithms.

    Returns:
        Row slots (n_slots, n_vectors, n_rows) and scalar slots (n_scalars, n_vectors).
    """
    n_vectors, n_rows = theta.shape[0], columns.shape[1]
    n_columns, p = len(tape.columns), len(tape.constants)
    rows = np.empty((tape.n_slots, n_vectors, n_rows))
    scalars = np.empty((p + len(tape.literals) + len(tape.scalar_ops), n_vectors))
    scalars[:p] = theta.T
    scalars[p : p + len(tape.literals)] = tape.literals[:, None]
    rows[:n_columns] = columns[:, None, :]
    with np.errstate(all="ignore"):
        for i, (code, a, b) in enumerate(tape.scalar_ops):
            scalars[p + len(tape.literals) + i] = _numpy_op(code, scalars[a], scalars[b])
        for i, (code, a, b) in enumerate(tape.row_ops):
            second = rows[b] if code in _ROW_SECOND else scalars[b][:, None]
            rows[n_columns + i] = _numpy_op(code, rows[a], second)
    return rows, scalars


_ROW_SECOND = frozenset((ADD_RR, SUB_RR, MUL_RR, DIV_RR, MIN_RR, MAX_RR))


def _numpy_op(code: int, a: Array, b: Array) -> Array:
    match code:
        case 0 | 1:
            return a + b
        case 2 | 3:
            return a - b
        case 4:
            return b - a
        case 5 | 6:
            return a * b
        case 7 | 8:
            return np.asarray(a / b)
        case 9:
            return np.asarray(b / a)
        case 10 | 11:
            return np.minimum(a, b)
        case 12 | 13:
            return np.maximum(a, b)
        case 14:
            return -a
        case 15:
            return np.exp(a)
        case 16:
            return np.log(a)
        case 17:
            return np.sqrt(a)
        case 18:
            return np.tanh(a)
        case 19:
            return np.asarray(1.0 / (1.0 + np.exp(-a)))
        case 20:
            return np.abs(a)
        case 21:
            return np.broadcast_to(b, a.shape)
        case 22:
            return np.exp(a * b)
    raise ValueError(f"unknown instruction {code}")


def value_and_jacobian(
    tape: Tape, columns: Array, theta: Array, coefficients: Array | None = None, *, backend: str = "numba"
) -> tuple[Array, Array]:
    """Return values (n_vectors, n_rows) and derivatives with respect to theta (n_vectors, n_constants, n_rows).

    Args:
        coefficients: (n_vectors, n_linear) values of the linear constants (omit when there are none).
        backend: "numba", or "numpy" for the interpreter in this module.
    """
    n_vectors = theta.shape[0]
    if coefficients is None:
        coefficients = np.zeros((n_vectors, len(tape.linear)))
    if backend == "numba":
        from sld.core import machine

        return machine.value_and_jacobian(tape, columns, theta, coefficients)
    rows, scalars = run_numpy(tape, columns, theta)
    n_columns, p = len(tape.columns), len(tape.constants)
    value = rows[tape.rest].copy() if tape.rest >= 0 else np.zeros(rows.shape[1:])
    row_bar = np.zeros_like(rows)
    scalar_bar = np.zeros((*scalars.shape, rows.shape[2]))
    if tape.rest >= 0:
        row_bar[tape.rest] += 1.0
    for k, slot in enumerate(tape.outputs):
        value += coefficients[:, k, None] * rows[slot]
        row_bar[slot] += coefficients[:, k, None]
    with np.errstate(all="ignore"):
        for i in range(len(tape.row_ops) - 1, -1, -1):
            code, a, b = (int(v) for v in tape.row_ops[i])
            out, bar = rows[n_columns + i], row_bar[n_columns + i]
            second = rows[b] if code in _ROW_SECOND else scalars[b][:, None]
            da, db = _numpy_partials(code, rows[a], second, out)
            row_bar[a] += bar * da
            if code in _ROW_SECOND:
                row_bar[b] += bar * db
            elif code not in _ONE_OPERAND:
                scalar_bar[b] += bar * db
        first = p + len(tape.literals)
        for i in range(len(tape.scalar_ops) - 1, -1, -1):
            code, a, b = (int(v) for v in tape.scalar_ops[i])
            da, db = _numpy_partials(code, scalars[a], scalars[b], scalars[first + i])
            scalar_bar[a] += scalar_bar[first + i] * np.asarray(da)[..., None]
            if code not in _ONE_OPERAND:
                scalar_bar[b] += scalar_bar[first + i] * np.asarray(db)[..., None]
    return value, np.moveaxis(scalar_bar[:p], 0, 1)


def _numpy_partials(code: int, a: Array, b: Array, out: Array) -> tuple[Array | float, Array | float]:
    match code:
        case 0 | 1:
            return 1.0, 1.0
        case 2 | 3:
            return 1.0, -1.0
        case 4:
            return -1.0, 1.0
        case 5 | 6:
            return b, a
        case 7 | 8:
            return 1.0 / b, -out / b
        case 9:
            return -out / a, 1.0 / a
        case 10 | 11:
            return np.where(a <= b, 1.0, 0.0), np.where(a <= b, 0.0, 1.0)
        case 12 | 13:
            return np.where(a >= b, 1.0, 0.0), np.where(a >= b, 0.0, 1.0)
        case 14:
            return -1.0, 0.0
        case 15:
            return out, 0.0
        case 16:
            return 1.0 / a, 0.0
        case 17:
            return 0.5 / out, 0.0
        case 18:
            return 1.0 - out * out, 0.0
        case 19:
            return out * (1.0 - out), 0.0
        case 20:
            return np.sign(a), 0.0
        case 21:
            return 0.0, 1.0
        case 22:
            # a is a logarithm: where the base is zero, out is zero and so is its derivative
            return out * b, np.where(out == 0.0, 0.0, out * a)
    raise ValueError(f"unknown instruction {code}")


