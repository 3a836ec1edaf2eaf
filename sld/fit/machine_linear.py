"""The machine's linear algebra: the linear constants projected out, the normal equations, and a step that solves them.

With groups the normal equations have an arrow shape, and are solved by Schur complements: cost grows linearly with
groups. `machine.py` says what these belong to.
"""

from __future__ import annotations

import numpy as np

from sld.fit.machine_rows import row_add, row_copy, row_dot, row_fill, row_multiply
from sld.fit.machine_tape import forward, jacobian
from sld.fit.parts import Flags, Matrix, Row, Stack, Whole, WholeTable, part

TILE = 1024  # rows that are orthogonalised by themselves, so that all that one needs stays in the second-level cache


@part()
def room_behind(n_rows: int, n_linear: int) -> int:
    """Return room for what is left of the tiles of so many rows, in groups of two tiles or more: two for each."""
    return (2 * n_rows + TILE - 1) // TILE * n_linear


@part()
def _bounds(tile: int, n_tiles: int, n_linear: int, lo: int, hi: int, n: int) -> tuple[int, int]:
    """Return where a tile of the rows lo .. hi - 1 begins and ends, or what is left of all of them, the last one."""
    if tile < n_tiles:
        return lo + tile * TILE, min(lo + (tile + 1) * TILE, hi)
    begin = n + room_behind(lo, n_linear)
    return begin, begin + n_tiles * n_linear


@part()
def project(
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
    n_tiles = (hi - lo + TILE - 1) // TILE
    behind = n + room_behind(lo, n_linear)
    total = 0.0
    for tile in range(n_tiles if n_tiles < 2 else n_tiles + 1):
        begin, end = _bounds(tile, n_tiles, n_linear, lo, hi, n)
        m = end - begin
        z = z_all[begin:end]
        if tile < n_tiles:
            forward(row_ops, n_columns, s, rows, begin, end)
            y = y_all[begin:end]
            w = w_all[begin:end] if weighted else w_all
            if rest >= 0:
                f = rows[rest, begin:end]
                for r in range(m):
                    z[r] = y[r] - f[r]
            else:
                row_copy(z, y)
            if weighted:
                row_multiply(z, w)
        for k in range(n_linear):
            qk = q_all[k, begin:end]
            if tile < n_tiles:
                f = rows[outputs[k], begin:end]
                if weighted:
                    for r in range(m):
                        qk[r] = f[r] * w[r]
                else:
                    row_copy(qk, f)
            size = row_dot(qk, qk)
            for j in range(k):
                t = row_dot(q_all[j, begin:end], qk)
                tri[j, k] = t
                row_add(qk, -t, q_all[j, begin:end])
            left = row_dot(qk, qk) if k > 0 else size
            if not left > 1e-22 * size or not left < 1e290:
                if not (size == size and size < 1e290):
                    return np.inf
                tri[k, k] = 0.0
                c[k] = 0.0
                row_fill(qk, 0.0)
                continue
            norm = np.sqrt(left)
            tri[k, k] = norm
            inverse = 1.0 / norm
            for r in range(m):
                qk[r] *= inverse
            t = row_dot(qk, z)
            c[k] = t
            row_add(z, -t, qk)
        total += row_dot(z, z)
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
def normal_equations(
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
        n_tiles = (hi - lo + TILE - 1) // TILE
        room = sbar.shape[1] - (n_tiles * n_linear if n_tiles > 1 else 0)
        for tile in range(n_tiles if n_tiles < 2 else n_tiles + 1):
            begin, end = _bounds(tile, n_tiles, n_linear, lo, hi, n)
            at = 0 if tile < n_tiles else room
            stop = at + end - begin
            if tile < n_tiles:
                jacobian(
                    p, scalar_ops, n_literals, row_ops, outputs, rest, n_columns, rows, s[g], d[g], bar, sbar,
                    filled, c[g], begin, end,
                )  # fmt: skip
            for j in range(p):
                jj = sbar[j, at:stop]
                if weighted and tile < n_tiles:
                    row_multiply(jj, w[begin:end])
                for k in range(n_linear):
                    qk = q[k, begin:end]
                    t = row_dot(qk, jj)
                    row_add(jj, -t, qk)
                    if n_tiles > 1 and tile < n_tiles:
                        sbar[j, room + tile * n_linear + k] = t
            for i in range(p):
                for j in range(i + 2):
                    # the last one is the gradient
                    t = row_dot(sbar[i, at:stop], sbar[j, at:stop] if j <= i else z[begin:end])
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
def prior(
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
def arrow_step(
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
