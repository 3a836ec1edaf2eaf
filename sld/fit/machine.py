r"""The machine: runs tapes and fits their constants, for any formula, with one compilation.

Levenberg-Marquardt on the nonlinear constants with the linear ones projected out (variable projection; the Jacobian
is Kaufman's 1975 approximation). With groups, the nonlinear constants are split in shared and per-group ones and the
normal equations, which then have an arrow shape, are solved by Schur complements: cost grows linearly with groups.

`solve` is compiled at its first call, which takes about 3 s, and kept on disk (`machine_cache.py`). What is compiled is
here and nowhere else, but for the numbers of the instructions; `translation.py` says which Python it may be. Loops that
many callers need (`inline=False`) are compiled once and not in each of them: that keeps the first wait short. Nothing
allocates inside the iterations.

A new operator (`formula/operators.py`) needs one branch in each of `_scalars`, `_forward` and `_reverse`.
"""

from __future__ import annotations

import numpy as np

from sld.fit.machine_cache import compiled
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
    NUMBERING,
    SIGMOID,
    SQRT,
    SUB_RR,
    SUB_RS,
    SUB_SR,
    TANH,
)
from sld.fit.parts import Flags, Matrix, Row, Stack, Whole, WholeTable, bits, double, part

_MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the rounded integer in the low bits
_LOG2E = 1.4426950408889634  # 1/log(2)
_LN2_HI = 6.93147180369123816490e-01  # log(2) to 33 bits, so that k * _LN2_HI is exact for |k| < 2**20; after fdlibm
_LN2_LO = 1.90821492927058770002e-10  # log(2) less those bits
_REACHED = 1e-6  # a start reached the best value when its sum of squares is within this fraction of it
_FLOOR = 1e-30  # of the data's own sum of squares: nothing is left to fit
_HOPE = 1e-5  # over the tolerance: how many times its last gain each step left to a start is expected to gain
_PATIENCE = 12  # steps that every start may take, whatever they gain
_BLOCK = 256  # rows worked on together, so that a tape's slots stay in the first-level cache
_TILE = 1024  # rows that are orthogonalised by themselves, so that all that one needs stays in the second-level cache


@part(inline=True)
def _exp(x: float) -> float:
    """Exp without branches, so that loops over it become vector code; relative error below 3e-16.

    The polynomial interpolates exp at the Chebyshev points of [-log(2)/2, log(2)/2]: two terms fewer than Taylor's.
    """
    t = -708.0 if x < -708.0 else x  # lets NaN pass
    t = 709.0 if t > 709.0 else t
    z = t * _LOG2E + _MAGIC
    k = z - _MAGIC
    r = (t - k * _LN2_HI) - k * _LN2_LO
    p = 2.5110049204818658e-08
    p = p * r + 2.763265472252779e-07
    p = p * r + 2.755724088722987e-06
    p = p * r + 2.4801485441561313e-05
    p = p * r + 1.9841269890076403e-04
    p = p * r + 1.3888888952352863e-03
    p = p * r + 8.333333333319589e-03
    p = p * r + 4.166666666648795e-02
    p = p * r + 1.666666666666668e-01
    p = p * r + 5.000000000000019e-01
    p = p * r + 1.0
    p = p * r + 1.0
    v = p * double((bits(z) + 1023) << 52)
    v = np.inf if x > 709.0 else v
    return 0.0 if x < -708.0 else v


@part(inline=True)
def _log(x: float) -> float:
    """Natural logarithm without branches; NaN below zero, -inf at zero."""
    b = bits(x)
    e = double((b >> 52) + 0x4338000000000000) - _MAGIC - 1023.0
    m = double((b & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    big = m > 1.4142135623730951
    m = 0.5 * m if big else m
    e = e + 1.0 if big else e
    s = (m - 1.0) / (m + 1.0)
    q = s * s
    p = 1.0 / 21.0
    p = p * q + 1.0 / 19.0
    p = p * q + 1.0 / 17.0
    p = p * q + 1.0 / 15.0
    p = p * q + 1.0 / 13.0
    p = p * q + 1.0 / 11.0
    p = p * q + 1.0 / 9.0
    p = p * q + 1.0 / 7.0
    p = p * q + 1.0 / 5.0
    p = p * q + 1.0 / 3.0
    v = e * _LN2_HI + (2.0 * s + (2.0 * s * q * p + e * _LN2_LO))
    v = np.inf if x == np.inf else v
    v = -np.inf if x < 2.3e-308 else v
    v = np.nan if x < 0.0 else v
    return v if x == x else x


@part()
def _fill(x: Row, value: float) -> None:
    for r in range(x.shape[0]):
        x[r] = value


@part()
def _copy(x: Row, y: Row) -> None:
    for r in range(x.shape[0]):
        x[r] = y[r]


@part()
def _multiply(x: Row, y: Row) -> None:
    for r in range(x.shape[0]):
        x[r] *= y[r]


@part()
def _add(x: Row, t: float, y: Row) -> None:
    """Add t * y to x."""
    for r in range(x.shape[0]):
        x[r] += t * y[r]


@part(reassociate=True, inline=False)
def _dot(x: Row, y: Row) -> float:
    total = 0.0
    for r in range(x.shape[0]):
        total += x[r] * y[r]
    return total


@part()
def _behind(n_rows: int, n_linear: int) -> int:
    """Return room for what is left of the tiles of so many rows, in groups of two tiles or more: two for each."""
    return (2 * n_rows + _TILE - 1) // _TILE * n_linear


@part()
def _bounds(tile: int, n_tiles: int, n_linear: int, lo: int, hi: int, n: int) -> tuple[int, int]:
    """Return where a tile of the rows lo .. hi - 1 begins and ends, or what is left of all of them, the last one."""
    if tile < n_tiles:
        return lo + tile * _TILE, min(lo + (tile + 1) * _TILE, hi)
    begin = n + _behind(lo, n_linear)
    return begin, begin + n_tiles * n_linear


@part()
def _scalars(p: int, literals: Row, scalar_ops: WholeTable, theta: Row, s: Row, d: Matrix) -> None:
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
def _forward(row_ops: WholeTable, n_columns: int, s: Row, rows: Matrix, lo: int, hi: int) -> None:
    """Run the row instructions on rows lo .. hi - 1.

    Instructions that differ only in a factor share one loop: each loop is compiled to vector code several times
    over, and their number decides how long the first run waits for the compiler.
    """
    for start in range(lo, hi, _BLOCK):
        end = min(start + _BLOCK, hi)
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
                    o[r] = _log(x[r])
            elif code == SQRT:
                for r in range(m):
                    o[r] = np.sqrt(x[r])
            elif code == ABS:
                for r in range(m):
                    o[r] = abs(x[r])
            elif code == EXP or code == TANH or code == SIGMOID or code == EXPMUL_RS:
                c = 1.0 if code == EXP else 2.0 if code == TANH else -1.0 if code == SIGMOID else c
                for r in range(m):
                    o[r] = _exp(c * x[r])
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
        _add(target, k, g)
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
                _multiply(g, o)
            ka, second = c, False
        elif code == MIN_RR or code == MIN_RS or code == MAX_RR or code == MAX_RS:
            sign = 1.0 if code == MIN_RR or code == MIN_RS else -1.0
            if first and not filled[ia]:
                _fill(ga, 0.0)
                filled[ia] = True
            if second and not filled[ib]:
                _fill(gb, 0.0)
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
def _project(
    row_ops: WholeTable, n_columns: int, s: Row, rows: Matrix, outputs: Whole, rest: int, y_all: Row, w_all: Row,
    weighted: bool, q_all: Matrix, tri: Matrix, z_all: Row, c: Row, lo: int, hi: int, n: int,
) -> float:  # fmt: skip
    """Solve the linear constants of one group by modified Gram-Schmidt; return the residual sum of squares.

    q_all (n_linear, n_rows) gets the orthonormal basis, z_all the residual y - prediction (times w), c the constants.
    A basis column that adds nothing to the earlier ones is dropped (its constant is 0).

    A group of many rows is worked on in tiles: each is orthogonalised by itself, then what is left of all of them, the
    triangles and the constants of each, as the rows of one more tile, which stands behind all n rows in q_all and z_all
    (the QR factorisation of tall, narrow matrices; Demmel et al. 2012). A group of one tile needs no other.
    """
    n_linear = outputs.shape[0]
    n_tiles = (hi - lo + _TILE - 1) // _TILE
    behind = n + _behind(lo, n_linear)
    total = 0.0
    for tile in range(n_tiles if n_tiles < 2 else n_tiles + 1):
        begin, end = _bounds(tile, n_tiles, n_linear, lo, hi, n)
        m = end - begin
        z = z_all[begin:end]
        if tile < n_tiles:
            _forward(row_ops, n_columns, s, rows, begin, end)
            y = y_all[begin:end]
            w = w_all[begin:end] if weighted else w_all
            if rest >= 0:
                f = rows[rest, begin:end]
                for r in range(m):
                    z[r] = y[r] - f[r]
            else:
                _copy(z, y)
            if weighted:
                _multiply(z, w)
        for k in range(n_linear):
            qk = q_all[k, begin:end]
            if tile < n_tiles:
                f = rows[outputs[k], begin:end]
                if weighted:
                    for r in range(m):
                        qk[r] = f[r] * w[r]
                else:
                    _copy(qk, f)
            size = _dot(qk, qk)
            for j in range(k):
                t = _dot(q_all[j, begin:end], qk)
                tri[j, k] = t
                _add(qk, -t, q_all[j, begin:end])
            left = _dot(qk, qk) if k > 0 else size
            if not left > 1e-22 * size or not left < 1e290:
                if not (size == size and size < 1e290):
                    return np.inf
                tri[k, k] = 0.0
                c[k] = 0.0
                _fill(qk, 0.0)
                continue
            norm = np.sqrt(left)
            tri[k, k] = norm
            inverse = 1.0 / norm
            for r in range(m):
                qk[r] *= inverse
            t = _dot(qk, z)
            c[k] = t
            _add(z, -t, qk)
        total += _dot(z, z)
        if n_tiles > 1 and tile < n_tiles:
            at = behind + tile * n_linear
            for k in range(n_linear):
                z_all[at + k] = c[k]
                for j in range(n_linear):
                    q_all[j, at + k] = tri[k, j] if j >= k else 0.0
    for k in range(n_linear - 1, -1, -1):
        if tri[k, k] == 0.0:
            continue
        t = c[k]
        for j in range(k + 1, n_linear):
            t -= tri[k, j] * c[j]
        c[k] = t / tri[k, k]
    return total


@part()
def _jacobian(
    p: int, scalar_ops: WholeTable, n_literals: int, row_ops: WholeTable, outputs: Whole, rest: int, n_columns: int,
    rows: Matrix, s: Row, d: Matrix, bar: Matrix, sbar: Matrix, filled: Flags, c: Row, lo: int, hi: int,
) -> None:  # fmt: skip
    """Derivative of the prediction with respect to theta on rows lo .. hi - 1, linear constants held.

    It is left in the first p rows of `sbar`, from 0 on: the adjoints of theta, to which those of scalar results are
    added. Adjoints of row results are needed in one block only, and stay in the first-level cache.
    """
    n_ops = row_ops.shape[0]
    for start in range(lo, hi, _BLOCK):
        end = min(start + _BLOCK, hi)
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
                    _fill(gi, t)
                filled[slot] = True
        _reverse(p, n_literals, row_ops, n_columns, s, rows, bar, sbar, filled, start, end, start - lo)
        for i in range(sbar.shape[0]):
            if not filled[n_ops + i] and (i < p or i >= p + n_literals):
                _fill(sbar[i, start - lo : end - lo], 0.0)
    first = p + n_literals
    for j in range(p):
        for i in range(scalar_ops.shape[0]):
            t = d[first + i, j]
            if t != 0.0:
                _add(sbar[j, 0 : hi - lo], t, sbar[first + i, 0 : hi - lo])


@part()
def _cholesky_solve(a: Matrix, b: Matrix) -> bool:
    """Solve a x = b in place for right-hand sides b (n, m); False if a is not positive definite."""
    n, m = b.shape
    for i in range(n):
        for j in range(i + 1):
            t = a[i, j]
            for k in range(j):
                t -= a[i, k] * a[j, k]
            if i == j:
                if not t > 0.0:
                    return False
                a[i, i] = np.sqrt(t)
            else:
                a[i, j] = t / a[j, j]
    for col in range(m):
        for i in range(n):
            t = b[i, col]
            for k in range(i):
                t -= a[i, k] * b[k, col]
            b[i, col] = t / a[i, i]
        for i in range(n - 1, -1, -1):
            t = b[i, col]
            for k in range(i + 1, n):
                t -= a[k, i] * b[k, col]
            b[i, col] = t / a[i, i]
    return True


@part()
def _step(
    hss: Matrix, hgs: Stack, hgg: Stack, grad: Row, damping: float, n_shared: int, n_local: int, fixed: Flags,
    a_s: Matrix, a_g: Matrix, b_s: Matrix, b_g: Matrix, keep: Stack, delta: Row,
) -> bool:  # fmt: skip
    """Solve the damped arrow system for delta; constants marked in `fixed` do not move. False on failure."""
    n_groups = hgg.shape[0]
    for i in range(n_shared):
        for j in range(n_shared):
            a_s[i, j] = hss[i, j]
        a_s[i, i] = hss[i, i] * (1.0 + damping) + 1e-300
        b_s[i, 0] = grad[i]
    for g in range(n_groups):
        if n_local == 0:
            break
        base = n_shared + g * n_local
        for i in range(n_local):
            for j in range(n_local):
                a_g[i, j] = hgg[g, i, j]
            a_g[i, i] = hgg[g, i, i] * (1.0 + damping) + 1e-300
            for j in range(n_shared):
                b_g[i, j] = hgs[g, i, j]
            b_g[i, n_shared] = grad[base + i]
        for i in range(n_local):
            if fixed[base + i]:
                for j in range(n_local):
                    a_g[i, j] = 0.0
                    a_g[j, i] = 0.0
                a_g[i, i] = 1.0
                for j in range(n_shared + 1):
                    b_g[i, j] = 0.0
        if not _cholesky_solve(a_g, b_g):
            return False
        for i in range(n_local):
            for j in range(n_shared + 1):
                keep[g, i, j] = b_g[i, j]
        for i in range(n_shared):
            for k in range(n_local):
                if fixed[base + k]:
                    continue
                for j in range(n_shared):
                    a_s[i, j] -= hgs[g, k, i] * b_g[k, j]
                b_s[i, 0] -= hgs[g, k, i] * b_g[k, n_shared]
    for i in range(n_shared):
        if fixed[i]:
            for j in range(n_shared):
                a_s[i, j] = 0.0
                a_s[j, i] = 0.0
            a_s[i, i] = 1.0
            b_s[i, 0] = 0.0
    if n_shared > 0 and not _cholesky_solve(a_s, b_s):
        return False
    for i in range(n_shared):
        delta[i] = b_s[i, 0]
    for g in range(n_groups):
        for i in range(n_local):
            t = keep[g, i, n_shared]
            for j in range(n_shared):
                t -= keep[g, i, j] * delta[j]
            delta[n_shared + g * n_local + i] = 0.0 if fixed[n_shared + g * n_local + i] else t
    return True


@part()
def _normal_equations(
    n_shared: int, n_local: int, offsets: Whole, p: int, scalar_ops: WholeTable, n_literals: int, row_ops: WholeTable,
    outputs: Whole, rest: int, n_columns: int, rows: Matrix, s: Matrix, d: Stack, bar: Matrix, sbar: Matrix,
    filled: Flags, c: Matrix, q: Matrix, z: Row, w: Row, weighted: bool, hss: Matrix, hgs: Stack, hgg: Stack,
    grad: Row, n: int,
) -> None:  # fmt: skip
    """Fill the blocks of J'J (hss, hgs, hgg) and J'z (grad), the linear constants projected out of J."""
    for i in range(grad.shape[0]):
        grad[i] = 0.0
    for i in range(n_shared):
        for j in range(n_shared):
            hss[i, j] = 0.0
    n_linear = q.shape[0]
    for g in range(offsets.shape[0] - 1):
        lo, hi = offsets[g], offsets[g + 1]
        n_tiles = (hi - lo + _TILE - 1) // _TILE
        room = sbar.shape[1] - (n_tiles * n_linear if n_tiles > 1 else 0)
        for tile in range(n_tiles if n_tiles < 2 else n_tiles + 1):
            begin, end = _bounds(tile, n_tiles, n_linear, lo, hi, n)
            at = 0 if tile < n_tiles else room
            stop = at + end - begin
            if tile < n_tiles:
                _jacobian(
                    p, scalar_ops, n_literals, row_ops, outputs, rest, n_columns, rows, s[g], d[g], bar, sbar,
                    filled, c[g], begin, end,
                )  # fmt: skip
            for j in range(p):
                jj = sbar[j, at:stop]
                if weighted and tile < n_tiles:
                    _multiply(jj, w[begin:end])
                for k in range(n_linear):
                    qk = q[k, begin:end]
                    t = _dot(qk, jj)
                    _add(jj, -t, qk)
                    if n_tiles > 1 and tile < n_tiles:
                        sbar[j, room + tile * n_linear + k] = t
            for i in range(p):
                for j in range(i + 2):
                    # the last one is the gradient
                    t = _dot(sbar[i, at:stop], sbar[j, at:stop] if j <= i else z[begin:end])
                    if j > i:
                        if i < n_shared:
                            grad[i] += t
                        else:
                            grad[g * n_local + i] = t if tile == 0 else grad[g * n_local + i] + t
                    elif i < n_shared:
                        hss[i, j] += t
                        if i != j:
                            hss[j, i] += t
                    elif j < n_shared:
                        hgs[g, i - n_shared, j] = t if tile == 0 else hgs[g, i - n_shared, j] + t
                    else:
                        t = t if tile == 0 else hgg[g, i - n_shared, j - n_shared] + t
                        hgg[g, i - n_shared, j - n_shared] = t
                        hgg[g, j - n_shared, i - n_shared] = t


@part()
def _prior(
    theta: Row, mean: Row, weight: Matrix, n_shared: int, n_local: int, n_groups: int, hgg: Stack, grad: Row, add: bool
) -> float:
    """Return the sum over groups of d' weight d, d = theta - mean; if `add`, add it to the normal equations as well."""
    total = 0.0
    for g in range(n_groups):
        base = n_shared + g * n_local
        for i in range(n_local):
            t = 0.0
            for j in range(n_local):
                t += weight[i, j] * (theta[base + j] - mean[j])
                if add:
                    hgg[g, i, j] += weight[i, j]
            total += t * (theta[base + i] - mean[i])
            if add:
                grad[base + i] -= t
    return total


# Positional arguments and not records, which Python would have to take apart at each call.
@compiled(NUMBERING)
@part()
def solve(
    n_shared: int, n_local: int, offsets: Whole, literals: Row, scalar_ops: WholeTable, row_ops: WholeTable,
    outputs: Whole, rest: int, columns: Matrix, y: Row, w: Row, weighted: bool, starts: Matrix, inherited: Stack,
    lower: Row, upper: Row, max_iterations: int, tolerance: float, thetas: Stack, coefficients: Stack, sums: Row,
    at_best: Whole, values: Matrix, jacobians: Stack, prior_mean: Row, prior_weight: Matrix,
) -> None:  # fmt: skip
    """Fit from every start; the best result of each problem goes to thetas, coefficients, sums and at_best.

    With shared constants all groups are one problem; without, each group is a problem of its own. The constants of a
    group are its theta: the shared ones, then its own (p = n_shared + n_local).

    - offsets: rows of group g are offsets[g] .. offsets[g + 1] - 1
    - columns (n_columns, n_rows), y (n_rows,), w (n_rows,): square roots of the weights, used if `weighted`
    - starts (n_starts, p): tried in every group
    - inherited (n_inherited, n_groups, p): tried before `starts`; one that is not finite is left out
    - lower, upper (p,): bounds of theta
    - tolerance: stop when an accepted step lowers the sum of squares by less than this fraction
    - thetas (1, n_groups, p): NaN where no start gave a finite sum of squares; coefficients (1, n_groups, n_linear)
    - sums (n_groups,): weighted sum of squares of the group's problem, split evenly among its groups; or inf
    - a start that could not reach the best earlier one with all its steps left is given up: by a search, with its loose
      tolerance, soon; by a full fit hardly ever (`_HOPE`)
    - at_best (n_groups,): starts whose sum of squares is within a fraction of 1e-6 of the best
    - values (n_inherited, n_rows): when not empty, nothing is fitted: the values at `inherited` and `coefficients`
      (n_inherited, ...) are written here, and the derivatives to jacobians (n_inherited, p, n_rows) if not empty
    - prior_mean (n_local,), prior_weight (n_local, n_local): when not empty, d' weight d is added to the sum of squares
      of each group, d being its own constants minus the mean
    """
    n_columns = columns.shape[0]
    n_problems = offsets.shape[0] - 1
    n_groups = 1
    if n_shared > 0:
        n_groups, n_problems = n_problems, 1
    n = 0
    for problem in range(n_problems):
        n = max(n, offsets[problem * n_groups + n_groups] - offsets[problem * n_groups])
    p = n_shared + n_local
    n_literals, n_row_ops, n_linear = literals.shape[0], row_ops.shape[0], outputs.shape[0]
    n_scalars = p + n_literals + scalar_ops.shape[0]
    n_theta = n_shared + n_groups * n_local
    n_inherited = inherited.shape[0]
    n_starts = n_inherited + starts.shape[0]
    totals = np.empty(n_starts)
    rows = np.empty((n_columns + n_row_ops, n))
    m = min(n, _TILE)
    behind = _behind(n, n_linear) if n > _TILE else 0
    bar = np.empty((n_row_ops, min(n, _BLOCK)))
    sbar = np.empty((n_scalars, m + behind))
    filled = np.empty(n_row_ops + n_scalars, dtype=np.bool_)
    s = np.empty((n_groups, n_scalars))
    d = np.zeros((n_groups, n_scalars, p))
    for g in range(n_groups):
        for j in range(p):
            d[g, j, j] = 1.0
    local = np.empty(p)
    q = np.empty((n_linear, n + behind))
    tri = np.zeros((n_linear, n_linear))
    z = np.empty(n + behind)
    c = np.zeros((n_groups, n_linear))
    best = np.zeros((n_groups, n_linear))
    hss = np.empty((n_shared, n_shared))
    hgs = np.empty((n_groups, n_local, n_shared))
    hgg = np.empty((n_groups, n_local, n_local))
    grad = np.empty(n_theta)
    a_s, b_s = np.empty((n_shared, n_shared)), np.empty((n_shared, 1))
    a_g, b_g = np.empty((n_local, n_local)), np.empty((n_local, n_shared + 1))
    keep = np.empty((n_groups, n_local, n_shared + 1))
    theta, trial, delta = np.empty(n_theta), np.empty(n_theta), np.empty(n_theta)
    low, high = np.empty(n_theta), np.empty(n_theta)
    fixed = np.zeros(n_theta, dtype=np.bool_)
    at = np.empty(n_groups + 1, dtype=np.int64)
    for i in range(n_theta):
        j = i if i < n_shared else n_shared + (i - n_shared) % n_local
        low[i], high[i] = lower[j], upper[j]
    for problem in range(n_problems):
        first = problem * n_groups  # its first group
        begin, stop = offsets[first], offsets[first + n_groups]
        for g in range(n_groups + 1):
            at[g] = offsets[first + g] - begin
        for i in range(n_columns):
            _copy(rows[i, : stop - begin], columns[i, begin:stop])
        if values.shape[0] > 0:
            for k in range(n_inherited):
                for g in range(n_groups):
                    _scalars(p, literals, scalar_ops, inherited[k, first + g], s[g], d[g])
                    lo, hi = at[g], at[g + 1]
                    _forward(row_ops, n_columns, s[g], rows, lo, hi)
                    for r in range(lo, hi):
                        t = rows[rest, r] if rest >= 0 else 0.0
                        for i in range(n_linear):
                            t += coefficients[k, first + g, i] * rows[outputs[i], r]
                        values[k, begin + r] = t
                    for from_row in range(lo, hi if jacobians.shape[0] > 0 else lo, _TILE):
                        to_row = min(from_row + _TILE, hi)
                        _jacobian(
                            p, scalar_ops, n_literals, row_ops, outputs, rest, n_columns, rows, s[g], d[g], bar, sbar,
                            filled, coefficients[k, first + g], from_row, to_row,
                        )  # fmt: skip
                        for j in range(p):
                            for r in range(to_row - from_row):
                                jacobians[k, j, begin + from_row + r] = sbar[j, r]
            continue
        y_p = y[begin:stop]
        w_p = w[begin:stop] if weighted else w
        scale = 0.0
        for r in range(stop - begin):
            t = y_p[r] * w_p[r] if weighted else y_p[r]
            scale += t * t
        lowest = np.inf
        for start in range(n_starts):
            finite = True
            for i in range(n_theta):
                g = 0 if i < n_shared else (i - n_shared) // n_local
                j = i if i < n_shared else n_shared + (i - n_shared) % n_local
                t = inherited[start, first + g, j] if start < n_inherited else starts[start - n_inherited, j]
                theta[i] = min(max(t, low[i]), high[i])
                finite = finite and t - t == 0.0
            total = np.inf
            damping = 1e-2
            small = 0
            slow = 0
            done = -1
            # the first round only evaluates the starting point
            while finite and done < max_iterations:
                if done >= 0:
                    if n_theta == 0 or not total > _FLOOR * scale:
                        break
                    _normal_equations(
                        n_shared, n_local, at, p, scalar_ops, n_literals, row_ops, outputs, rest, n_columns, rows, s, d,
                        bar, sbar, filled, c, q, z, w_p, weighted, hss, hgs, hgg, grad, n,
                    )  # fmt: skip
                    if prior_weight.shape[0] > 0:
                        _prior(theta, prior_mean, prior_weight, n_shared, n_local, n_groups, hgg, grad, True)
                    for i in range(n_theta):
                        finite = finite and abs(grad[i]) < 1e290
                        fixed[i] = (theta[i] <= low[i] and grad[i] < 0.0) or (theta[i] >= high[i] and grad[i] > 0.0)
                    if not finite:
                        break
                done += 1
                accepted = False
                new = np.inf
                for _ in range(12):
                    if done == 0:
                        for i in range(n_theta):
                            trial[i] = theta[i]
                    else:
                        solved = _step(
                            hss, hgs, hgg, grad, damping, n_shared, n_local, fixed, a_s, a_g, b_s, b_g, keep, delta
                        )
                        if not solved:
                            damping = max(damping * 10.0, 1e-8)
                            continue
                        for i in range(n_theta):
                            trial[i] = min(max(theta[i] + delta[i], low[i]), high[i])
                    new = 0.0
                    for g in range(n_groups):
                        for i in range(n_shared):
                            local[i] = trial[i]
                        for i in range(n_local):
                            local[n_shared + i] = trial[n_shared + g * n_local + i]
                        _scalars(p, literals, scalar_ops, local, s[g], d[g])
                        new += _project(
                            row_ops, n_columns, s[g], rows, outputs, rest, y_p, w_p, weighted, q, tri, z, c[g],
                            at[g], at[g + 1], n,
                        )  # fmt: skip
                        if not new < np.inf:
                            new = np.inf
                            break
                    if prior_weight.shape[0] > 0:
                        new += _prior(trial, prior_mean, prior_weight, n_shared, n_local, n_groups, hgg, grad, False)
                    if new < total:
                        accepted = True
                        break
                    damping *= 8.0
                    if damping > 1e10 or done == 0:
                        break
                if not accepted:
                    break
                gain = total - new
                for i in range(n_theta):
                    theta[i] = trial[i]
                total = new
                for g in range(n_groups):
                    for k in range(n_linear):
                        best[g, k] = c[g, k]
                if done > 0:
                    damping = max(damping * 0.1, 1e-15)
                    slow = slow + 1 if total - _HOPE / tolerance * gain * (max_iterations - done) > lowest else 0
                    if slow >= 2 and done >= _PATIENCE:
                        break  # out of reach of the best start so far
                    # two small steps in a row: one alone may only mean that the damping was high
                    small = small + 1 if gain < tolerance * total else 0
                    if small >= 2 or gain < 1e-3 * tolerance * total:
                        break
            totals[start] = total
            if total < lowest or start == 0:
                lowest = total
                for g in range(n_groups):
                    for i in range(p):
                        j = i if i < n_shared else g * n_local + i
                        thetas[0, first + g, i] = theta[j] if total < np.inf else np.nan
                    for k in range(n_linear):
                        coefficients[0, first + g, k] = best[g, k] if total < np.inf else np.nan
        reached = 0
        for start in range(n_starts):
            if totals[start] < np.inf and totals[start] <= lowest * (1.0 + _REACHED) + 1e-22 * scale:
                reached += 1
        for g in range(first, first + n_groups):
            sums[g] = lowest / n_groups
            at_best[g] = reached
