r"""The numba machine: runs tapes and fits their constants, for any formula, with one compilation.

Levenberg-Marquardt on the nonlinear constants with the linear ones projected out (variable projection; the Jacobian
is Kaufman's 1975 approximation). With groups, the nonlinear constants are split in shared and per-group ones and the
normal equations, which then have an arrow shape, are solved by Schur complements: cost grows linearly with groups.

Everything here is compiled on first use and cached on disk. Nothing allocates inside the iterations.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sld.core.kernel import Array, Tape

# No reordering that could hide a NaN: only contraction to fused multiply-add, and reordered sums where marked.
_OPTIONS: dict[str, Any] = {"cache": True, "fastmath": {"contract"}, "error_model": "numpy"}
_SUMS: dict[str, Any] = {"cache": True, "fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}

_MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the rounded integer in the low bits
_LOG2E = 1.4426950408889634
_LN2_HI = 6.93147180369123816490e-01
_LN2_LO = 1.90821492927058770002e-10
_BLOCK = 256  # rows worked on together, so that a tape's slots stay in the first-level cache


@intrinsic  # type: ignore[untyped-decorator]
def _bits(typingctx: Any, x: Any) -> Any:
    """Reinterpret a double as a 64-bit integer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _double(typingctx: Any, x: Any) -> Any:
    """Reinterpret a 64-bit integer as a double."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@numba.njit(inline="always", **_OPTIONS)
def _exp(x):  # type: ignore[no-untyped-def]
    """exp without branches, so that loops over it become vector code; relative error below 3e-16."""
    t = x if x > -708.0 else -708.0
    t = t if t < 709.0 else 709.0
    z = t * _LOG2E + _MAGIC
    k = z - _MAGIC
    r = (t - k * _LN2_HI) - k * _LN2_LO
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    v = p * _double((_bits(z) + 1023) << 52)
    v = np.inf if x > 709.0 else v
    v = 0.0 if x < -708.0 else v
    return v if x == x else x


@numba.njit(inline="always", **_OPTIONS)
def _log(x):  # type: ignore[no-untyped-def]
    """Natural logarithm without branches; NaN below zero, -inf at zero."""
    b = _bits(x)
    e = _double((b >> 52) + 0x4338000000000000) - _MAGIC - 1023.0
    m = _double((b & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
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


@numba.njit(**_OPTIONS)
def _scalars(p, literals, scalar_ops, theta, s, d):  # type: ignore[no-untyped-def]
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
        if code == 0:
            v, da, db = x + y, 1.0, 1.0
        elif code == 2:
            v, da, db = x - y, 1.0, -1.0
        elif code == 5:
            v, da, db = x * y, y, x
        elif code == 7:
            v = x / y
            da, db = 1.0 / y, -v / y
        elif code == 10:
            v = min(x, y)
            da, db = (1.0, 0.0) if x <= y else (0.0, 1.0)
        elif code == 12:
            v = max(x, y)
            da, db = (1.0, 0.0) if x >= y else (0.0, 1.0)
        elif code == 14:
            v, da = -x, -1.0
        elif code == 15:
            v = np.exp(x)
            da = v
        elif code == 16:
            v, da = np.log(x), 1.0 / x
        elif code == 17:
            v = np.sqrt(x)
            da = 0.5 / v
        elif code == 18:
            v = np.tanh(x)
            da = 1.0 - v * v
        elif code == 19:
            v = 1.0 / (1.0 + np.exp(-x))
            da = v * (1.0 - v)
        else:
            v = abs(x)
            da = 1.0 if x > 0 else -1.0
        o = p + n_literals + i
        s[o] = v
        for j in range(p):
            d[o, j] = da * d[a, j] + (db * d[b, j] if db != 0.0 else 0.0)


@numba.njit(**_OPTIONS)
def _forward(row_ops, n_columns, s, rows, lo, hi):  # type: ignore[no-untyped-def]
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
            two = code == 0 or code == 2 or code == 5 or code == 7 or code == 10 or code == 12
            y = rows[row_ops[i, 2] if two else 0, start:end]
            c = 0.0 if two else s[row_ops[i, 2]]
            if code == 0 or code == 2:
                sign = 1.0 if code == 0 else -1.0
                for r in range(m):
                    o[r] = x[r] + sign * y[r]
            elif code == 5:
                for r in range(m):
                    o[r] = x[r] * y[r]
            elif code == 7:
                for r in range(m):
                    o[r] = x[r] / y[r]
            elif code == 9:
                for r in range(m):
                    o[r] = c / x[r]
            elif code == 10 or code == 12:
                sign = 1.0 if code == 10 else -1.0
                for r in range(m):
                    o[r] = x[r] if sign * x[r] <= sign * y[r] else y[r]
            elif code == 11 or code == 13:
                sign = 1.0 if code == 11 else -1.0
                for r in range(m):
                    o[r] = x[r] if sign * x[r] <= sign * c else c
            elif code == 16:
                for r in range(m):
                    o[r] = _log(x[r])
            elif code == 17:
                for r in range(m):
                    o[r] = np.sqrt(x[r])
            elif code == 20:
                for r in range(m):
                    o[r] = abs(x[r])
            elif code == 15 or code == 18 or code == 19 or code == 22:
                c = 1.0 if code == 15 else 2.0 if code == 18 else -1.0 if code == 19 else c
                for r in range(m):
                    o[r] = _exp(c * x[r])
                if code == 18:
                    for r in range(m):
                        t = x[r] * x[r]
                        p = 1.0 + t * (-1.0 / 3.0 + t * (2.0 / 15.0 + t * (-17.0 / 315.0 + t * 62.0 / 2835.0)))
                        o[r] = x[r] * p if t < 0.0025 else 1.0 - 2.0 / (o[r] + 1.0)
                elif code == 19:
                    for r in range(m):
                        o[r] = 1.0 / (1.0 + o[r])
            else:
                # x + c, x - c, c - x, c * x, x / c, -x and c itself
                slope, shift = 1.0, c
                if code == 3:
                    shift = -c
                elif code == 4:
                    slope = -1.0
                elif code == 6:
                    slope, shift = c, 0.0
                elif code == 8:
                    slope, shift = 1.0 / c, 0.0
                elif code == 14:
                    slope, shift = -1.0, 0.0
                elif code == 21:
                    slope = 0.0
                for r in range(m):
                    o[r] = slope * x[r] + shift


@numba.njit(**_OPTIONS)
def _reverse(row_ops, n_columns, s, rows, bar, sbar, lo, hi):  # type: ignore[no-untyped-def]
    """Propagate adjoints of row slots `bar` (filled at the outputs) to those of scalar slots `sbar`.

    `bar` holds row results only (slot minus n_columns); columns do not depend on theta. The adjoint g of an
    instruction is not needed once its operands have theirs, so it is overwritten by what both share.
    """
    for start in range(lo, hi, _BLOCK):
        end = min(start + _BLOCK, hi)
        m = end - start
        for i in range(row_ops.shape[0] - 1, -1, -1):
            code, a, b = row_ops[i, 0], row_ops[i, 1], row_ops[i, 2]
            o, g, x = rows[n_columns + i, start:end], bar[i, start:end], rows[a, start:end]
            two = code == 0 or code == 2 or code == 5 or code == 7 or code == 10 or code == 12
            unary = code >= 14 and code <= 20
            y = rows[b if two else 0, start:end]
            c = 0.0 if two else s[b]
            first = a >= n_columns
            second = b >= n_columns if two else not unary
            ga = bar[a - n_columns if first else 0, start:end]
            gb = sbar[0, start:end]
            if second:
                gb = bar[b - n_columns, start:end] if two else sbar[b, start:end]
            # derivative by operand: factor ka (times a row: 1 = x, 2 = y, 3 = o), likewise kb
            ka, kb, times_a, times_b = 1.0, 1.0, 0, 0
            if code == 2 or code == 3:
                kb = -1.0
            elif code == 4 or code == 14:
                ka = -1.0
            elif code == 5:
                times_a, times_b = 2, 1
            elif code == 6:
                ka, times_b = c, 1
            elif code == 7 or code == 9 or code == 16 or code == 17:
                h = y if code == 7 else o if code == 17 else x
                for r in range(m):
                    g[r] /= h[r]
                if code == 7:
                    kb, times_b = -1.0, 3
                elif code == 9:
                    ka, times_a = -1.0, 3
                elif code == 17:
                    ka = 0.5
            elif code == 8:
                ka, kb, times_b = 1.0 / c, -1.0 / c, 3
            elif code == 15:
                times_a = 3
            elif code == 18 or code == 19:
                t = 1.0 if code == 18 else 0.0
                for r in range(m):
                    g[r] *= (1.0 - o[r]) * (t + o[r])
            elif code == 20:
                for r in range(m):
                    g[r] = g[r] if x[r] > 0.0 else -g[r]
            elif code == 21:
                ka = 0.0
            elif code == 22:
                # x is a logarithm: where the base is zero it is -inf, the value is zero and so is its derivative
                for r in range(m):
                    g[r] *= o[r]
                    gb[r] += g[r] * x[r] if o[r] != 0.0 else 0.0
                ka, second = c, False
            elif code >= 10 and code <= 13:
                sign = 1.0 if code <= 11 else -1.0
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
                target = ga if side == 0 else gb
                k = ka if side == 0 else kb
                times = times_a if side == 0 else times_b
                if times == 0:
                    for r in range(m):
                        target[r] += k * g[r]
                else:
                    h = x if times == 1 else y if times == 2 else o
                    for r in range(m):
                        target[r] += k * g[r] * h[r]


@numba.njit(**_SUMS)
def _dot(x, y):  # type: ignore[no-untyped-def]
    total = 0.0
    for r in range(x.shape[0]):
        total += x[r] * y[r]
    return total


@numba.njit(**_OPTIONS)
def _project(rows, outputs, rest, y_all, w_all, weighted, q_all, tri, z_all, c, lo, hi):  # type: ignore[no-untyped-def]
    """Solve the linear constants of one group by modified Gram-Schmidt; return the residual sum of squares.

    q_all (n_linear, n_rows) gets the orthonormal basis, z_all the residual y - prediction (times w), c the constants.
    A basis column that adds nothing to the earlier ones is dropped (its constant is 0).
    """
    n_linear = outputs.shape[0]
    m = hi - lo
    y, z = y_all[lo:hi], z_all[lo:hi]
    w = w_all[lo:hi] if weighted else w_all
    if rest >= 0:
        f = rows[rest, lo:hi]
        for r in range(m):
            z[r] = y[r] - f[r]
    else:
        for r in range(m):
            z[r] = y[r]
    if weighted:
        for r in range(m):
            z[r] *= w[r]
    for k in range(n_linear):
        qk = q_all[k, lo:hi]
        f = rows[outputs[k], lo:hi]
        if weighted:
            for r in range(m):
                qk[r] = f[r] * w[r]
        else:
            for r in range(m):
                qk[r] = f[r]
        size = _dot(qk, qk)
        for j in range(k):
            t = _dot(q_all[j, lo:hi], qk)
            tri[j, k] = t
            qj = q_all[j, lo:hi]
            for r in range(m):
                qk[r] -= t * qj[r]
        left = _dot(qk, qk)
        if not left > 1e-22 * size or not left < 1e290:
            if not (size == size and size < 1e290):
                return np.inf
            tri[k, k] = 0.0
            c[k] = 0.0
            for r in range(m):
                qk[r] = 0.0
            continue
        norm = np.sqrt(left)
        tri[k, k] = norm
        inverse = 1.0 / norm
        t = 0.0
        for r in range(m):
            qk[r] *= inverse
        t = _dot(qk, z)
        c[k] = t
        for r in range(m):
            z[r] -= t * qk[r]
    for k in range(n_linear - 1, -1, -1):
        if tri[k, k] == 0.0:
            continue
        t = c[k]
        for j in range(k + 1, n_linear):
            t -= tri[k, j] * c[j]
        c[k] = t / tri[k, k]
    return _dot(z, z)


@numba.njit(**_OPTIONS)
def _value(  # type: ignore[no-untyped-def]
    theta, n_shared, n_local, offsets, p, literals, scalar_ops, row_ops, outputs, rest, n_columns, y, w, weighted,
    rows, s, d, local, q, tri, z, c,
):
    """Sum of squares over all groups at theta; fills rows, q, z and c on the way."""
    total = 0.0
    for g in range(offsets.shape[0] - 1):
        for i in range(n_shared):
            local[i] = theta[i]
        for i in range(n_local):
            local[n_shared + i] = theta[n_shared + g * n_local + i]
        _scalars(p, literals, scalar_ops, local, s[g], d[g])
        lo, hi = offsets[g], offsets[g + 1]
        _forward(row_ops, n_columns, s[g], rows, lo, hi)
        total += _project(rows, outputs, rest, y, w, weighted, q, tri, z, c[g], lo, hi)
        if not total < np.inf:
            return np.inf
    return total


@numba.njit(**_OPTIONS)
def _jacobian(  # type: ignore[no-untyped-def]
    p, scalar_ops, n_literals, row_ops, outputs, rest, n_columns, rows, s, d, bar, sbar, c, jac, lo, hi
):
    """Derivative of the prediction with respect to theta on rows lo .. hi - 1, linear constants held: jac (p, n)."""
    m = hi - lo
    for i in range(bar.shape[0]):
        gi = bar[i, lo:hi]
        for r in range(m):
            gi[r] = 0.0
    for i in range(sbar.shape[0]):
        gi = sbar[i, lo:hi]
        for r in range(m):
            gi[r] = 0.0
    for k in range(outputs.shape[0]):
        slot = outputs[k] - n_columns
        if slot >= 0:
            gi = bar[slot, lo:hi]
            for r in range(m):
                gi[r] += c[k]
    if rest >= n_columns:
        gi = bar[rest - n_columns, lo:hi]
        for r in range(m):
            gi[r] += 1.0
    _reverse(row_ops, n_columns, s, rows, bar, sbar, lo, hi)
    first = p + n_literals
    for j in range(p):
        jj = jac[j, lo:hi]
        direct = sbar[j, lo:hi]
        for r in range(m):
            jj[r] = direct[r]
        for i in range(scalar_ops.shape[0]):
            t = d[first + i, j]
            if t != 0.0:
                gi = sbar[first + i, lo:hi]
                for r in range(m):
                    jj[r] += t * gi[r]


@numba.njit(**_OPTIONS)
def _cholesky_solve(a, n, b, m):  # type: ignore[no-untyped-def]
    """Solve a x = b in place for m right-hand sides b (n, m); False if a is not positive definite."""
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


@numba.njit(**_OPTIONS)
def _step(  # type: ignore[no-untyped-def]
    hss, hgs, hgg, grad, damping, n_shared, n_local, fixed, a_s, a_g, b_s, b_g, keep, delta
):
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
        if not _cholesky_solve(a_g, n_local, b_g, n_shared + 1):
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
    if n_shared > 0 and not _cholesky_solve(a_s, n_shared, b_s, 1):
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


@numba.njit(**_OPTIONS)
def solve(  # type: ignore[no-untyped-def]
    n_shared, n_local, offsets, literals, scalar_ops, row_ops, outputs, rest, columns, y, w, weighted,
    starts, lower, upper, max_iterations, tolerance, floor, thetas, coefficients, sums, iterations, values, jacobians,
):
    """Fit every start; results go to thetas, coefficients (n_starts, n_groups, n_linear), sums and iterations.

    Args:
        offsets: Rows of group g are offsets[g] .. offsets[g + 1] - 1.
        columns: (n_columns, n_rows).
        w: Square roots of the weights (used if `weighted`).
        starts: (n_starts, n_shared + n_groups * n_local).
        lower, upper: Bounds of theta.
        tolerance: Stop when an accepted step lowers the sum of squares by less than this fraction.
        floor: Stop when the sum of squares is below this (noise-free data).
        values: (n_starts, n_rows): when not empty, nothing is fitted: the values at `starts` and `coefficients`
            are written here, and the derivatives to `jacobians` (n_starts, p, n_rows) if that is not empty.
    """
    n_columns, n = columns.shape
    n_groups = offsets.shape[0] - 1
    p = n_shared + n_local
    n_rows_ops, n_linear = row_ops.shape[0], outputs.shape[0]
    n_scalars = p + literals.shape[0] + scalar_ops.shape[0]
    n_theta = starts.shape[1]
    rows = np.empty((n_columns + n_rows_ops, n))
    for i in range(n_columns):
        for r in range(n):
            rows[i, r] = columns[i, r]
    bar = np.empty((max(n_rows_ops, 1), n))
    sbar = np.empty((n_scalars, n))
    s = np.empty((n_groups, n_scalars))
    d = np.zeros((n_groups, n_scalars, p))
    for g in range(n_groups):
        for j in range(p):
            d[g, j, j] = 1.0
    local = np.empty(p)
    q = np.empty((n_linear, n))
    tri = np.zeros((n_linear, n_linear))
    z = np.empty(n)
    jac = np.empty((p, n))
    c = np.zeros((n_groups, n_linear))
    hss = np.empty((n_shared, n_shared))
    hgs = np.empty((n_groups, n_local, n_shared))
    hgg = np.empty((n_groups, n_local, n_local))
    grad = np.empty(n_theta)
    a_s, b_s = np.empty((n_shared, n_shared)), np.empty((n_shared, 1))
    a_g, b_g = np.empty((n_local, n_local)), np.empty((n_local, n_shared + 1))
    keep = np.empty((n_groups, n_local, n_shared + 1))
    theta, trial, delta = np.empty(n_theta), np.empty(n_theta), np.empty(n_theta)
    fixed = np.zeros(n_theta, dtype=np.bool_)
    for start in range(starts.shape[0]):
        if values.shape[0] > 0:
            for g in range(n_groups):
                _scalars(p, literals, scalar_ops, starts[start], s[g], d[g])
                lo, hi = offsets[g], offsets[g + 1]
                _forward(row_ops, n_columns, s[g], rows, lo, hi)
                for r in range(lo, hi):
                    t = rows[rest, r] if rest >= 0 else 0.0
                    for k in range(n_linear):
                        t += coefficients[start, g, k] * rows[outputs[k], r]
                    values[start, r] = t
                if jacobians.shape[0] > 0:
                    _jacobian(p, scalar_ops, literals.shape[0], row_ops, outputs, rest, n_columns, rows, s[g], d[g],
                              bar, sbar, coefficients[start, g], jacobians[start], lo, hi)
            continue
        for i in range(n_theta):
            theta[i] = min(max(starts[start, i], lower[i]), upper[i])
        total = _value(theta, n_shared, n_local, offsets, p, literals, scalar_ops, row_ops, outputs, rest, n_columns,
                       y, w, weighted, rows, s, d, local, q, tri, z, c)
        done = 0
        for g in range(n_groups):
            for k in range(n_linear):
                coefficients[start, g, k] = c[g, k]
        if total < np.inf and n_theta > 0:
            damping = 1e-2
            small = 0
            while done < max_iterations and total > floor:
                done += 1
                for i in range(n_theta):
                    grad[i] = 0.0
                for i in range(n_shared):
                    for j in range(n_shared):
                        hss[i, j] = 0.0
                for g in range(n_groups):
                    lo, hi = offsets[g], offsets[g + 1]
                    _jacobian(p, scalar_ops, literals.shape[0], row_ops, outputs, rest, n_columns, rows, s[g], d[g],
                              bar, sbar, c[g], jac, lo, hi)
                    for j in range(p):
                        jj = jac[j, lo:hi]
                        if weighted:
                            wg = w[lo:hi]
                            for r in range(hi - lo):
                                jj[r] *= wg[r]
                        for k in range(n_linear):
                            qk = q[k, lo:hi]
                            t = _dot(qk, jj)
                            for r in range(hi - lo):
                                jj[r] -= t * qk[r]
                    for i in range(p):
                        for j in range(i + 1):
                            t = _dot(jac[i, lo:hi], jac[j, lo:hi])
                            if i < n_shared:
                                hss[i, j] += t
                                if i != j:
                                    hss[j, i] += t
                            elif j < n_shared:
                                hgs[g, i - n_shared, j] = t
                            else:
                                hgg[g, i - n_shared, j - n_shared] = t
                                hgg[g, j - n_shared, i - n_shared] = t
                        t = _dot(jac[i, lo:hi], z[lo:hi])
                        if i < n_shared:
                            grad[i] += t
                        else:
                            grad[n_shared + g * n_local + i - n_shared] = t
                finite = True
                for i in range(n_theta):
                    if not abs(grad[i]) < 1e290:
                        finite = False
                    fixed[i] = (theta[i] <= lower[i] and grad[i] < 0.0) or (theta[i] >= upper[i] and grad[i] > 0.0)
                if not finite:
                    break
                accepted = False
                for _ in range(12):
                    if not _step(hss, hgs, hgg, grad, damping, n_shared, n_local, fixed, a_s, a_g, b_s, b_g, keep,
                                 delta):
                        damping = max(damping * 10.0, 1e-8)
                        continue
                    for i in range(n_theta):
                        trial[i] = min(max(theta[i] + delta[i], lower[i]), upper[i])
                    new = _value(trial, n_shared, n_local, offsets, p, literals, scalar_ops, row_ops, outputs, rest,
                                 n_columns, y, w, weighted, rows, s, d, local, q, tri, z, c)
                    if new < total:
                        accepted = True
                        break
                    damping *= 8.0
                    if damping > 1e10:
                        break
                if not accepted:
                    break
                gain = total - new
                for i in range(n_theta):
                    theta[i] = trial[i]
                total = new
                for g in range(n_groups):
                    for k in range(n_linear):
                        coefficients[start, g, k] = c[g, k]
                damping = max(damping * 0.1, 1e-15)
                # two small steps in a row: one alone may only mean that the damping was high
                small = small + 1 if gain < tolerance * total else 0
                if small >= 2 or gain < 1e-3 * tolerance * total:
                    break
        for i in range(n_theta):
            thetas[start, i] = theta[i]
        sums[start] = total
        iterations[start] = done


def _evaluate(
    tape: Tape, columns: Array, theta: Array, coefficients: Array, jacobians: Array
) -> Array:
    # through the one compiled entry: a second one would double the first run's wait
    n_vectors, n = theta.shape[0], columns.shape[1]
    p = len(tape.constants)
    values = np.empty((n_vectors, n))
    none = np.empty(0)
    solve(
        p, 0, np.array([0, n]), tape.literals, tape.scalar_ops, tape.row_ops, tape.outputs, tape.rest, columns,
        none, none, False, theta, none, none, 0, 0.0, 0.0,
        np.empty((0, 0)), np.ascontiguousarray(coefficients[:, None, :]), none, np.empty(0, dtype=np.int64),
        values, jacobians,
    )  # fmt: skip
    return values


def value_and_jacobian(tape: Tape, columns: Array, theta: Array, coefficients: Array) -> tuple[Array, Array]:
    """See `kernel.value_and_jacobian`."""
    jacobians = np.empty((theta.shape[0], len(tape.constants), columns.shape[1]))
    return _evaluate(tape, columns, theta, coefficients, jacobians), jacobians


def value(tape: Tape, columns: Array, theta: Array, coefficients: Array) -> Array:
    """Return values (n_vectors, n_rows) for parameter vectors (n_vectors, p) and linear constants (n_vectors, k)."""
    return _evaluate(tape, columns, theta, coefficients, np.empty((0, 0, 0)))


NO_VALUES = np.empty((0, 0))
NO_JACOBIANS = np.empty((0, 0, 0))
