r"""The machine: runs tapes and fits their constants, for any formula, with one compilation.

Levenberg-Marquardt on the nonlinear constants with the linear ones projected out (variable projection; the Jacobian
is Kaufman's 1975 approximation). With groups, the nonlinear constants are split in shared and per-group ones.

Its rooms: `machine_rows.py` has loops over rows, `machine_tape.py` formulas and their derivatives, `machine_linear.py`
the linear algebra, and this file the loop over problems, starts and steps.

`solve` is compiled at its first call, which takes about 3 s, and kept on disk (`machine_cache.py`). What is compiled is
in these four files and nowhere else, but for the numbers of the instructions; `translation.py` says which Python it may
be. Loops that many callers need (`inline=False`) are compiled once and not in each of them: that keeps the first wait
short. Nothing allocates inside the iterations.
"""

from __future__ import annotations

import numpy as np

from sld.fit.machine_cache import compiled
from sld.fit.machine_linear import TILE, arrow_step, normal_equations, prior, project, room_behind
from sld.fit.machine_rows import row_copy
from sld.fit.machine_tape import BLOCK, forward, jacobian, scalars
from sld.fit.opcodes import NUMBERING
from sld.fit.parts import Matrix, Row, Stack, Whole, WholeTable, part

_REACHED = 1e-6  # a start reached the best value when its sum of squares is within this fraction of it
_FLOOR = 1e-30  # of the data's own sum of squares: nothing is left to fit
_HOPE = 1e-5  # over the tolerance: how many times its last gain each step left to a start is expected to gain
_PATIENCE = 12  # steps that every start may take, whatever they gain


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
    m = min(n, TILE)
    behind = room_behind(n, n_linear) if n > TILE else 0
    bar = np.empty((n_row_ops, min(n, BLOCK)))
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
            row_copy(rows[i, : stop - begin], columns[i, begin:stop])
        if values.shape[0] > 0:
            for k in range(n_inherited):
                for g in range(n_groups):
                    scalars(p, literals, scalar_ops, inherited[k, first + g], s[g], d[g])
                    lo, hi = at[g], at[g + 1]
                    forward(row_ops, n_columns, s[g], rows, lo, hi)
                    for r in range(lo, hi):
                        t = rows[rest, r] if rest >= 0 else 0.0
                        for i in range(n_linear):
                            t += coefficients[k, first + g, i] * rows[outputs[i], r]
                        values[k, begin + r] = t
                    for from_row in range(lo, hi if jacobians.shape[0] > 0 else lo, TILE):
                        to_row = min(from_row + TILE, hi)
                        jacobian(
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
                    normal_equations(
                        n_shared, n_local, at, p, scalar_ops, n_literals, row_ops, outputs, rest, n_columns, rows, s, d,
                        bar, sbar, filled, c, q, z, w_p, weighted, hss, hgs, hgg, grad, n,
                    )  # fmt: skip
                    if prior_weight.shape[0] > 0:
                        prior(theta, prior_mean, prior_weight, n_shared, n_local, n_groups, hgg, grad, True)
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
                        solved = arrow_step(
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
                        scalars(p, literals, scalar_ops, local, s[g], d[g])
                        new += project(
                            row_ops, n_columns, s[g], rows, outputs, rest, y_p, w_p, weighted, q, tri, z, c[g],
                            at[g], at[g + 1], n,
                        )  # fmt: skip
                        if not new < np.inf:
                            new = np.inf
                            break
                    if prior_weight.shape[0] > 0:
                        new += prior(trial, prior_mean, prior_weight, n_shared, n_local, n_groups, hgg, grad, False)
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
