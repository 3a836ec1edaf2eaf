"""The machine's tapes: what a formula gives on rows, and its derivatives with respect to the constants.

A new operator (`formula/operators.py`) needs one branch in each of `scalars`, `forward` and `_reverse`. `machine.py`
says what these belong to.
"""

from __future__ import annotations

import numpy as np

from sld.fit.machine_rows import fast_exp, fast_log, row_add, row_fill, row_multiply
from sld.fit.opcodes import (
    ABS,
    ADD_RR,
    DIV_RR,
    DIV_RS,
    DIV_SR,
    EXP,
    EXPMUL_RS,
    FILL,
    FIRST_UNARY,
    LAST_RR,
    LAST_UNARY,
    LOG,
    MAX_RR,
    MAX_RS,
    MIN_RR,
    MIN_RS,
    MUL_RR,
    MUL_RS,
    NEG,
    SIGMOID,
    SQRT,
    SUB_RR,
    SUB_RS,
    SUB_SR,
    TANH,
)
from sld.fit.parts import Flags, Matrix, Row, Whole, WholeTable, part

BLOCK = 256  # rows worked on together, so that a tape's slots stay in the first-level cache


@part()
def scalars(p: int, literals: Row, scalar_ops: WholeTable, theta: Row, s: Row, d: Matrix) -> None:
    """Fill scalar slots `s` and their derivatives with respect to theta `d` (n_scalars, p)."""
    n_literals = literals.shape[0]
    for i in range(p):
        s[i] = theta[i]
    for i in range(n_literals):
        s[p + i] = literals[i]
    for i in range(scalar_ops.shape[0]):
        code, a, b = scalar_ops[i, 0], scalar_ops[i, 1], scalar_ops[i, 2]
        x, y = s[a], s[b]
        da, db = 0.0, 0.0
        if code == ADD_RR:
            v, da, db = x + y, 1.0, 1.0
        elif code == SUB_RR:
            v, da, db = x - y, 1.0, -1.0
        elif code == MUL_RR:
            v, da, db = x * y, y, x
        elif code == DIV_RR:
            v = x / y
            da, db = 1.0 / y, -v / y
        elif code == MIN_RR:
            v = x if x <= y or x != x else y
            da, db = (1.0, 0.0) if x <= y else (0.0, 1.0)
        elif code == MAX_RR:
            v = x if x >= y or x != x else y
            da, db = (1.0, 0.0) if x >= y else (0.0, 1.0)
        elif code == NEG:
            v, da = -x, -1.0
        elif code == EXP:
            v = np.exp(x)
            da = v
        elif code == LOG:
            v, da = np.log(x), 1.0 / x
        elif code == SQRT:
            v = np.sqrt(x)
            da = 0.5 / v
        elif code == TANH:
            v = np.tanh(x)
            da = 1.0 - v * v
        elif code == SIGMOID:
            v = 1.0 / (1.0 + np.exp(-x))
            da = v * (1.0 - v)
        else:
            v = abs(x)
            da = 1.0 if x > 0.0 else -1.0 if x < 0.0 else 0.0
        o = p + n_literals + i
        s[o] = v
        for j in range(p):
            d[o, j] = da * d[a, j] + (db * d[b, j] if db != 0.0 else 0.0)


@part()
def forward(row_ops: WholeTable, n_columns: int, s: Row, rows: Matrix, lo: int, hi: int) -> None:
    """Run the row instructions on rows lo .. hi - 1.

    Instructions that differ only in a factor share one loop: each loop is compiled to vector code several times
    over, and their number decides how long the first run waits for the compiler.
    """
    for start in range(lo, hi, BLOCK):
        end = min(start + BLOCK, hi)
        m = end - start
        for i in range(row_ops.shape[0]):
            code = row_ops[i, 0]
            o = rows[n_columns + i, start:end]
            x = rows[row_ops[i, 1], start:end]
            two = code <= LAST_RR
            y = rows[row_ops[i, 2] if two else 0, start:end]
            c = 0.0 if two else s[row_ops[i, 2]]
            if code == ADD_RR or code == SUB_RR:
                sign = 1.0 if code == ADD_RR else -1.0
                for r in range(m):
                    o[r] = x[r] + sign * y[r]
            elif code == MUL_RR:
                for r in range(m):
                    o[r] = x[r] * y[r]
            elif code == DIV_RR:
                for r in range(m):
                    o[r] = x[r] / y[r]
            elif code == DIV_SR:
                for r in range(m):
                    o[r] = c / x[r]
            elif code == MIN_RR or code == MAX_RR:
                sign = 1.0 if code == MIN_RR else -1.0
                for r in range(m):
                    v = x[r] if sign * x[r] <= sign * y[r] else y[r]
                    o[r] = v if x[r] == x[r] else x[r]
            elif code == MIN_RS or code == MAX_RS:
                sign = 1.0 if code == MIN_RS else -1.0
                for r in range(m):
                    v = x[r] if sign * x[r] <= sign * c else c
                    o[r] = v if x[r] == x[r] else x[r]
            elif code == LOG:
                for r in range(m):
                    o[r] = fast_log(x[r])
            elif code == SQRT:
                for r in range(m):
                    o[r] = np.sqrt(x[r])
            elif code == ABS:
                for r in range(m):
                    o[r] = abs(x[r])
            elif code == EXP or code == TANH or code == SIGMOID or code == EXPMUL_RS:
                c = 1.0 if code == EXP else 2.0 if code == TANH else -1.0 if code == SIGMOID else c
                for r in range(m):
                    o[r] = fast_exp(c * x[r])
                if code == TANH:
                    for r in range(m):
                        t = x[r] * x[r]
                        p = 1.0 + t * (-1.0 / 3.0 + t * (2.0 / 15.0 + t * (-17.0 / 315.0 + t * 62.0 / 2835.0)))
                        o[r] = x[r] * p if t < 0.0025 else 1.0 - 2.0 / (o[r] + 1.0)
                elif code == SIGMOID:
                    for r in range(m):
                        o[r] = 1.0 / (1.0 + o[r])
            else:
                # x + c, x - c, c - x, c * x, x / c, -x and c itself
                slope, shift = 1.0, c
                if code == SUB_RS:
                    shift = -c
                elif code == SUB_SR:
                    slope = -1.0
                elif code == MUL_RS:
                    slope, shift = c, 0.0
                elif code == DIV_RS:
                    slope, shift = 1.0 / c, 0.0
                elif code == NEG:
                    slope, shift = -1.0, 0.0
                elif code == FILL:
                    slope = 0.0
                for r in range(m):
                    o[r] = slope * x[r] + shift


@part()
def _give(target: Row, filled: bool, k: float, g: Row, times: int, h: Row) -> None:
    """Add k * g, times h unless `times` is 0, to a row; or set it to that where nothing is in it yet."""
    if times == 0 and filled:
        row_add(target, k, g)
    elif times == 0:
        for r in range(target.shape[0]):
            target[r] = k * g[r]
    elif filled:
        for r in range(target.shape[0]):
            target[r] += k * g[r] * h[r]
    else:
        for r in range(target.shape[0]):
            target[r] = k * g[r] * h[r]


@part()
def _give_exponent(target: Row, filled: bool, g: Row, o: Row, x: Row) -> None:
    """Multiply the adjoint g of a power o by it, and give the exponent that times x, the logarithm of the base.

    Where the base is zero x is -inf: there the power is zero, and so is its derivative.
    """
    if filled:
        for r in range(target.shape[0]):
            g[r] *= o[r]
            target[r] += g[r] * x[r] if o[r] != 0.0 else 0.0
    else:
        for r in range(target.shape[0]):
            g[r] *= o[r]
            target[r] = g[r] * x[r] if o[r] != 0.0 else 0.0


@part()
def _reverse(
    p: int, n_literals: int, row_ops: WholeTable, n_columns: int, s: Row, rows: Matrix, bar: Matrix, sbar: Matrix,
    filled: Flags, start: int, end: int, at: int,
) -> None:  # fmt: skip
    """Propagate adjoints of row slots `bar` (filled at the outputs) to those of scalar slots `sbar`.

    The rows are start .. end - 1. They begin at 0 in `bar`, which holds row results only (slot minus n_columns), and at
    `at` in `sbar`. Columns and literals do not depend on theta. The adjoint g of an instruction is not needed once its
    operands have theirs, so it is overwritten by what both share.

    Nothing is set to zero before: `filled` says of each row of `bar`, and then of `sbar`, whether something is there
    already, to which more is added.
    """
    m = end - start
    for i in range(row_ops.shape[0] - 1, -1, -1):
        code, a, b = row_ops[i, 0], row_ops[i, 1], row_ops[i, 2]
        if not filled[i]:
            continue
        o, x = rows[n_columns + i, start:end], rows[a, start:end]
        g = bar[i, 0:m]
        two = code <= LAST_RR
        unary = code >= FIRST_UNARY and code <= LAST_UNARY
        y = rows[b if two else 0, start:end]
        c = 0.0 if two else s[b]
        first = a >= n_columns
        second = b >= n_columns if two else not unary and (b < p or b >= p + n_literals)
        ia, ib = a - n_columns if first else 0, b - n_columns if two else b + row_ops.shape[0]
        ga = bar[ia, 0:m]
        gb = sbar[0, at : at + m]
        if second:
            gb = bar[ib, 0:m] if two else sbar[b, at : at + m]
        # derivative by operand: factor ka (times a row: 1 = x, 2 = y, 3 = o), likewise kb
        ka, kb, times_a, times_b = 1.0, 1.0, 0, 0
        if code == SUB_RR or code == SUB_RS:
            kb = -1.0
        elif code == SUB_SR or code == NEG:
            ka = -1.0
        elif code == MUL_RR:
            times_a, times_b = 2, 1
        elif code == MUL_RS:
            ka, times_b = c, 1
        elif code == DIV_RR or code == DIV_SR or code == LOG or code == SQRT:
            h = y if code == DIV_RR else o if code == SQRT else x
            for r in range(m):
                g[r] /= h[r]
            if code == DIV_RR:
                kb, times_b = -1.0, 3
            elif code == DIV_SR:
                ka, times_a = -1.0, 3
            elif code == SQRT:
                ka = 0.5
        elif code == DIV_RS:
            ka, kb, times_b = 1.0 / c, -1.0 / c, 3
        elif code == EXP:
            times_a = 3
        elif code == TANH or code == SIGMOID:
            t = 1.0 if code == TANH else 0.0
            for r in range(m):
                g[r] *= (1.0 - o[r]) * (t + o[r])
        elif code == ABS:
            for r in range(m):
                g[r] = g[r] if x[r] > 0.0 else -g[r] if x[r] < 0.0 else 0.0
        elif code == FILL:
            first = False
        elif code == EXPMUL_RS:
            if second:
                _give_exponent(gb, filled[ib], g, o, x)
                filled[ib] = True
            else:
                row_multiply(g, o)
            ka, second = c, False
        elif code == MIN_RR or code == MIN_RS or code == MAX_RR or code == MAX_RS:
            sign = 1.0 if code == MIN_RR or code == MIN_RS else -1.0
            if first and not filled[ia]:
                row_fill(ga, 0.0)
                filled[ia] = True
            if second and not filled[ib]:
                row_fill(gb, 0.0)
                filled[ib] = True
            for r in range(m):
                other = y[r] if two else c
                keeps = sign * x[r] <= sign * other
                if first:
                    ga[r] += g[r] if keeps else 0.0
                if second:
                    gb[r] += 0.0 if keeps else g[r]
            first, second = False, False
        for side in range(2):
            if not (first if side == 0 else second):
                continue
            target, slot = ga, ia
            k, times = ka, times_a
            if side == 1:
                target, slot = gb, ib
                k, times = kb, times_b
            _give(target, filled[slot], k, g, times, x if times == 1 else y if times == 2 else o)
            filled[slot] = True


@part()
def jacobian(
    p: int, scalar_ops: WholeTable, n_literals: int, row_ops: WholeTable, outputs: Whole, rest: int, n_columns: int,
    rows: Matrix, s: Row, d: Matrix, bar: Matrix, sbar: Matrix, filled: Flags, c: Row, lo: int, hi: int,
) -> None:  # fmt: skip
    """Derivative of the prediction with respect to theta on rows lo .. hi - 1, linear constants held.

    It is left in the first p rows of `sbar`, from 0 on: the adjoints of theta, to which those of scalar results are
    added. Adjoints of row results are needed in one block only, and stay in the first-level cache.
    """
    n_ops = row_ops.shape[0]
    for start in range(lo, hi, BLOCK):
        end = min(start + BLOCK, hi)
        m = end - start
        for i in range(filled.shape[0]):
            filled[i] = False
        for k in range(outputs.shape[0] + 1):
            slot = (outputs[k] if k < outputs.shape[0] else rest) - n_columns
            if slot >= 0:
                gi = bar[slot, 0:m]
                t = c[k] if k < outputs.shape[0] else 1.0
                if filled[slot]:
                    for r in range(m):
                        gi[r] += t
                else:
                    row_fill(gi, t)
                filled[slot] = True
        _reverse(p, n_literals, row_ops, n_columns, s, rows, bar, sbar, filled, start, end, start - lo)
        for i in range(sbar.shape[0]):
            if not filled[n_ops + i] and (i < p or i >= p + n_literals):
                row_fill(sbar[i, start - lo : end - lo], 0.0)
    first = p + n_literals
    for j in range(p):
        for i in range(scalar_ops.shape[0]):
            t = d[first + i, j]
            if t != 0.0:
                row_add(sbar[j, 0 : hi - lo], t, sbar[first + i, 0 : hi - lo])
