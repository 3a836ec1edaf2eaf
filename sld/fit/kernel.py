"""Values and derivatives of any formula, for many sets of constants at once.

A formula is compiled to a tape (`tape.py`), which the compiled machine (`machine.py`) and the numpy interpreter here
both run; their values and derivatives (reverse mode) agree to rounding.
"""

from __future__ import annotations

import numpy as np

from sld.fit.opcodes import EXPMUL_RS, FILL, ONE_OPERAND, ROW_ROW, ROW_SCALAR, SCALAR_ROW
from sld.fit.separation import linear_constants
from sld.fit.tape import Ints, Tape, compile_tape
from sld.formula.evaluation import Array, evaluate
from sld.formula.operators import OPERATORS

__all__ = ["Array", "Tape", "compile_tape", "evaluate", "linear_constants", "run_numpy", "value_and_jacobian"]

NO_VECTOR, NO_MATRIX, NO_STACK = np.empty(0), np.empty((0, 0)), np.empty((0, 0, 0))  # what a call leaves out


def run_numpy(tape: Tape, columns: Array, theta: Array) -> tuple[Array, Array]:
    """Interpret a tape for many parameter vectors at once.

    Args:
        tape: The formula.
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


_ROW_SECOND = frozenset(ROW_ROW.values())
_ONE_OPERAND = frozenset(ONE_OPERAND.values())
# which operator an instruction runs, and whether its operands stand the other way round
_MEANING = {code: (OPERATORS[op], False) for codes in (ONE_OPERAND, ROW_ROW, ROW_SCALAR) for op, code in codes.items()}
_MEANING |= {code: (OPERATORS[op], True) for op, code in SCALAR_ROW.items()}


def _numpy_op(code: int, a: Array, b: Array) -> Array:
    """Return the value of one instruction."""
    if code == FILL:
        return np.broadcast_to(b, a.shape)
    if code == EXPMUL_RS:
        return np.exp(a * b)
    row, turned = _MEANING[code]
    if row.n_args == 1:
        return np.asarray(row.array(a))
    return np.asarray(row.array(b, a) if turned else row.array(a, b))


def _numpy_partials(code: int, a: Array, b: Array, out: Array) -> tuple[Array | float, Array | float]:
    """Return the derivatives of one instruction by its first and its second operand (0 where it has none)."""
    if code == FILL:
        return 0.0, 1.0
    if code == EXPMUL_RS:
        # a is a logarithm: where the base is zero, out is zero and so is its derivative
        return out * b, np.where(out == 0.0, 0.0, out * a)
    row, turned = _MEANING[code]
    if row.n_args == 1:
        return row.partials(a, out)[0], 0.0
    first, second = row.partials(b, a, out) if turned else row.partials(a, b, out)
    return (second, first) if turned else (first, second)


def evaluate_tape(
    tape: Tape, columns: Array, theta: Array, coefficients: Array, offsets: Ints, jacobians: Array | None = None
) -> Array:
    """Return values (n_vectors, n_rows), every group of rows with constants of its own.

    Args:
        tape: The formula.
        columns: (n_columns, n_rows) from `Tape.column_values`.
        theta: (n_vectors, n_groups, n_constants).
        coefficients: (n_vectors, n_groups, n_linear) values of the linear constants.
        offsets: Rows of group g are offsets[g] .. offsets[g + 1] - 1.
        jacobians: (n_vectors, n_constants, n_rows), filled with the derivatives if given.
    """
    from sld.fit import machine

    # through the machine's one compiled entry: a second one would make the first run wait longer
    values = np.empty((theta.shape[0], columns.shape[1]))
    unbounded = np.empty(theta.shape[2])
    machine.solve(
        0, theta.shape[2], offsets, tape.literals, tape.scalar_ops, tape.row_ops, tape.outputs, tape.rest,
        np.ascontiguousarray(columns), NO_VECTOR, NO_VECTOR, False, NO_MATRIX, np.ascontiguousarray(theta), unbounded,
        unbounded, 0, 0.0, NO_STACK, np.ascontiguousarray(coefficients), NO_VECTOR, np.empty(0, dtype=np.int64),
        values, NO_STACK if jacobians is None else jacobians, NO_VECTOR, NO_MATRIX,
    )  # fmt: skip
    return values


def value_and_jacobian(
    tape: Tape, columns: Array, theta: Array, coefficients: Array | None = None, *, backend: str = "machine"
) -> tuple[Array, Array]:
    """Return values (n_vectors, n_rows) and derivatives with respect to theta (n_vectors, n_constants, n_rows).

    Args:
        tape: The formula.
        columns: (n_columns, n_rows) from `Tape.column_values`.
        theta: (n_vectors, n_constants); entries of `tape.positive` are logarithms.
        coefficients: (n_vectors, n_linear) values of the linear constants (omit when there are none).
        backend: "machine", or "numpy" for the interpreter in this module.
    """
    n_vectors = theta.shape[0]
    if coefficients is None:
        coefficients = np.zeros((n_vectors, len(tape.linear)))
    if backend == "machine":
        jacobians = np.empty((n_vectors, len(tape.constants), columns.shape[1]))
        one_group = np.array([0, columns.shape[1]])
        values = evaluate_tape(tape, columns, theta[:, None], coefficients[:, None], one_group, jacobians)
        return values, jacobians
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
