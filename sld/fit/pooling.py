r"""Partial pooling: groups borrow from one another what their own rows do not say.

The shape of group $g$ (its constants that do not enter linearly: exponents, shifts, rates) is taken as
$\theta_g \sim N(m, T)$ and its rows as normal around the formula with variance $\sigma^2$. $m$, $T$ and $\sigma$ come
from the groups themselves (empirical Bayes), and the constants are those that minimise

$$\sum_i (y_i - \hat y_i)^2 + \sigma^2 \sum_g (\theta_g - m)^\top T^{-1} (\theta_g - m) .$$

Constants that enter linearly (levels, scales) differ between groups by nature and stay free; a formula with no others
has all of them pooled. $m$, $T$ and $\sigma$ are found by expectation maximisation (Dempster, Laird and Rubin 1977) on
the formula linearised at a fit with one shape for all groups, then at the pooled fit (Lindstrom and Bates 1990): a few
matrices of the size of a shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sld.core.arrays import Rows
from sld.data.table import Table
from sld.fit.fitter import FITTING, Fitter, Prior, Solution
from sld.fit.kernel import Array, evaluate, evaluate_tape
from sld.fit.separation import linear_constants
from sld.formula.expression import Expression

LEAST_GROUPS = 3  # two groups say nothing of how far groups are apart
_STEPS = 25  # of expectation maximisation; groups that do not differ are then equal to about a 25th of their noise
_GUESS = 10.0  # variance between groups in units of their uncertainty, to begin with
_WORSE = 1.0001  # a pooled fit has more freedom than one with a shared shape: a larger sum of squares is a failure


def shape_constants(expression: Expression) -> tuple[str, ...]:
    """Return the constants that do not enter linearly; groups tend to have them in common.

    >>> from sld.formula.expression import parse
    >>> shape_constants(parse("E + A*N**-a", ["N"]))
    ('a',)
    """
    linear = linear_constants(expression)[1]
    return tuple(c for c in expression.constants if c not in linear)


@dataclass(frozen=True)
class Spread:
    """How far groups are apart.

    Attributes:
        mean: (n_shape,) over groups.
        covariance: (n_shape, n_shape) between groups, without the uncertainty of the single group.
        noise: Variance of the rows around the formula.
        decided: How many of n_shape constants the rows of an average group decide themselves.
    """

    mean: Array
    covariance: Array
    noise: float
    decided: float


@dataclass(frozen=True)
class Linearised:
    """The formula near one set of constants, its linear constants projected out.

    Attributes:
        point: (n_groups, n_shape) constants of the shape.
        hessian: (n_groups, n_shape, n_shape) J'J.
        gradient: (n_groups, n_shape) J'r.
        rss: Sum of squares.
        n_free: Rows less linear constants.
    """

    point: Array
    hessian: Array
    gradient: Array
    rss: float
    n_free: int


@dataclass(frozen=True)
class Pooled:
    """A partially pooled fit.

    Attributes:
        solution: Constants, in the columns of `Pool.fitter`.
        prior: What the groups were pulled to.
        spread: What the prior says, in other words.
        effective: Constants that an average group's rows decide, its share of what all decide together included.
    """

    solution: Solution
    prior: Prior
    spread: Spread
    effective: float


def spread_of(at: Linearised, start: Spread | None = None, steps: int = _STEPS) -> Spread:
    """Estimate how far groups are apart by expectation maximisation.

    Args:
        at: The formula.
        start: Covariance and noise to begin with; the mean is always that of `at`.
        steps: Of expectation maximisation.

    Raises:
        numpy.linalg.LinAlgError: The formula does not determine its constants at all.
    """
    n_groups, n_shape = at.point.shape
    rows = max(at.n_free, 1)
    least = max(1e-12 * at.rss / rows, 1e-300)
    # units in which all constants vary about equally: shapes that the rows leave open vary by their size at most
    size = 2.0 * np.add.reduce(np.abs(at.point)) / n_groups + 1e-3
    point, gradient = at.point / size, at.gradient * size
    hessian = at.hessian * (size[:, None] * size)
    eye = np.eye(n_shape)
    mean = np.add.reduce(point) / n_groups
    if start is None:
        noise = max(at.rss / rows, 1e-300)
        covariance = _inverse(np.add.reduce(hessian) / (n_groups * _GUESS * noise) + eye)
    else:
        noise, covariance = start.noise, start.covariance / (size[:, None] * size)
    decided = float(n_shape)
    for _ in range(steps):
        precision = _inverse(covariance)
        own = np.linalg.inv(hessian / noise + precision)  # uncertainty of each group, (n_groups, n_shape, n_shape)
        pull = gradient / noise + (mean - point) @ precision
        step = (own @ pull[:, :, None])[:, :, 0]
        shape = point + step
        mean = np.add.reduce(shape) / n_groups
        apart = shape - mean
        covariance = apart.T @ apart / max(n_groups - 1, 1) + np.add.reduce(own) / n_groups
        decided = float((own * hessian).sum()) / noise / n_groups  # both are symmetric: the trace of their product
        bent = float(((hessian @ step[:, :, None])[:, :, 0] * step).sum())
        left = at.rss - 2.0 * float((gradient * step).sum()) + bent
        noise = max(left / max(at.n_free - decided * n_groups, 0.1 * rows), least)
    return Spread(mean * size, covariance * (size[:, None] * size), noise, min(max(decided, 0.0), float(n_shape)))


def _inverse(matrix: Array) -> Array:
    """Inverse of positive matrices (..., n, n) whose rows differ in units by orders of magnitude."""
    size = np.sqrt(np.maximum(np.diagonal(matrix, axis1=-2, axis2=-1), 1e-300))
    units = size[..., :, None] * size[..., None, :]
    inverse: Array = np.linalg.inv(matrix / units + 1e-10 * np.eye(matrix.shape[-1])) / units
    return inverse


class Pool:
    """One formula for one table, its groups partially pooled or with one shape for all.

    Attributes:
        shape: Constants that do not enter linearly.
        joint: Fits with the shape in common; where there is none, each group alone.
        fitter: Fits with a prior on the shape (on all constants, where all are linear).
    """

    def __init__(
        self,
        expression: Expression,
        table: Table,
        target: int = 0,
        weights: Array | None = None,
        *,
        bounds: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        """Compile the formula; `weights` (n_rows,) are relative, mean 1. Raises what `Fitter` raises.

        Constants with bounds must not enter linearly.
        """
        self._target, self._weights = target, weights
        self.shape = shape_constants(expression)
        self.joint = Fitter(expression, table, target, shared=self.shape, weights=weights, bounds=bounds)
        pulled = self.shape or expression.constants
        none = (0.0,) * len(pulled)
        self.fitter = Fitter(
            expression, table, target, weights=weights, prior=Prior(pulled, none, (none,) * len(pulled)), bounds=bounds
        )
        self._linear = [c for c in expression.constants if c not in pulled]

    @cached_property
    def _full(self) -> Fitter:
        return Fitter(self.joint.expression, self.joint.table, self._target, weights=self._weights, project=False)

    def solve(
        self,
        joint: Solution,
        rows: Rows | None = None,
        *,
        start: Spread | None = None,
        rounds: int = 2,
        steps: int = _STEPS,
        max_iterations: int = 60,
        tolerance: float = FITTING,
    ) -> Pooled | None:
        """Return the pooled fit to the given rows (all by default), or None if it fails.

        Args:
            joint: Solution of `self.joint` for the same rows.
            rows: Row numbers of the table.
            start: Where to begin with the covariance between groups.
            rounds: How often the formula is linearised anew.
            steps: Of expectation maximisation in each.
            max_iterations: Levenberg-Marquardt steps.
            tolerance: As in `Fitter.solve`.
        """
        values = joint.values[:, [self.joint.names.index(c) for c in self.fitter.names]]
        names = self.fitter.tape.constants
        most = float(joint.sums.sum()) * _WORSE if self.shape else np.inf
        found: Pooled | None = None
        for _ in range(rounds):
            try:
                start = spread_of(self.linearise(values, rows), start, steps)
                weight = start.noise * _inverse(start.covariance)
            except np.linalg.LinAlgError:
                return found
            if not (np.isfinite(start.mean).all() and np.isfinite(weight).all()):
                return found
            weight = 0.5 * (weight + weight.T)
            prior = Prior(names, tuple(start.mean.tolist()), tuple(tuple(r) for r in weight.tolist()))
            solution = self.fitter.with_prior(prior).solve(
                np.empty((0, len(names))), rows, inherited=values[:, : len(names)], max_iterations=max_iterations,
                tolerance=tolerance, refit_bounds=False,
            )  # fmt: skip
            if not solution.ok:
                return found
            values = solution.values
            present = values[np.isfinite(values).all(axis=1)]
            apart = present[:, : len(names)] - start.mean
            if not solution.sums.sum() - float(((apart @ weight) * apart).sum()) <= most:
                return found
            effective = len(self._linear) + start.decided + len(names) / max(len(present), 1)
            effective = min(effective, float(len(self.fitter.names)))
            found = Pooled(solution, prior, start, effective)
        return found

    def linearise(self, values: Array, rows: Rows | None = None) -> Linearised:
        """Return the formula near `values` (n_groups, n_names), in the columns of `self.fitter`."""
        full = self._full
        columns, y, offsets, roots = full.columns, full.y, full.offsets, full.weights
        if rows is not None:
            chosen = np.zeros(full.n_rows, dtype=bool)
            chosen[rows] = True
            kept = np.flatnonzero(chosen[full.order])
            columns, y, offsets = columns.take(kept, axis=1), y[kept], np.searchsorted(kept, offsets)
            roots = None if roots is None else roots[kept]
        present = np.flatnonzero(offsets[1:] > offsets[:-1])
        offsets = np.append(offsets[present], len(y))
        theta = values[present][:, [self.fitter.names.index(c) for c in full.names]]
        jacobian = np.empty((1, len(full.names), len(y)))
        no_linear = np.empty((1, len(present), 0))
        residual = y - evaluate_tape(full.tape, columns, theta[None], no_linear, offsets, jacobian)[0]
        J = jacobian[0]
        if roots is not None:
            J, residual = J * roots, residual * roots
        starts = offsets[:-1]
        hessian = np.moveaxis(np.add.reduceat(J[:, None] * J[None], starts, axis=2), 2, 0)
        gradient = np.add.reduceat(J * residual, starts, axis=1).T
        s = [full.names.index(c) for c in self.fitter.tape.constants]
        k = [full.names.index(c) for c in self._linear]
        H, b = hessian[:, s][:, :, s], gradient[:, s]
        if k:
            share = hessian[:, s][:, :, k] @ _inverse(hessian[:, k][:, :, k])
            H = H - share @ hessian[:, k][:, :, s]
            b = b - (share @ gradient[:, k, None])[:, :, 0]
        return Linearised(theta[:, s], H, b, float(residual @ residual), len(y) - len(k) * len(present))


def fit_small_groups(
    expression: Expression,
    table: Table,
    target: int,
    constants: Mapping[str, Mapping[str, float]],
    few: Table,
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, dict[str, float]]:
    """Return constants for groups with few rows: the shape that the other groups share, and levels from their own rows.

    Linear constants are the best linear predictor from the group's rows, given how they vary between the other groups:
    one row decides little more than a level, several rows decide a scale as well. A formula without linear constants is
    pulled to the others as a whole; with two other groups or fewer, which cannot say how far groups are apart, the new
    one gets what they share.

    Args:
        expression: The formula.
        table: Rows of the other groups.
        target: Column of the targets.
        constants: Group to constant to value for the groups of `table`.
        few: Rows of the groups that borrow.
        bounds: Constant to (lower, upper), for constants that do not enter linearly.

    Returns:
        Group to constant to value, for the groups of `few`. They are those of the largest other group where nothing
        better can be computed.
    """
    pool = Pool(expression, table, target, bounds=bounds)
    start = np.array([[constants[g][c] for c in pool.joint.tape.constants] for g in table.groups])
    start = start.reshape(len(table.groups), len(pool.joint.tape.constants))
    counts = np.bincount(table.group_index, minlength=len(table.groups))
    largest = table.groups[int(counts.argmax())]
    joint = pool.joint.solve(
        np.vstack([np.median(start, axis=0), start[int(counts.argmax())]]), max_iterations=100, refit_bounds=False
    )
    if not joint.ok:
        return {g: dict(constants[largest]) for g in few.groups}
    linear = [c for c in expression.constants if c not in pool.shape]
    if not linear:
        return _pulled(expression, pool, joint, target, few)
    names = pool.joint.names
    known = joint.values[:, [names.index(c) for c in linear]]  # (n_groups, n_linear)
    mean = known.mean(axis=0)
    # one other group says nothing of how groups vary: by their own size
    apart = np.cov(known.T, ddof=1).reshape(len(linear), -1) if len(known) > 1 else np.diag(mean**2)
    noise = max(float(joint.sums.sum()) / max(table.n_rows - known.size - len(pool.shape), 1), 1e-300)
    shape = {c: float(joint.values[0, names.index(c)]) for c in pool.shape}
    found = {}
    for g, group in enumerate(few.groups):
        rows = few.group_index == g
        columns = {s: np.ascontiguousarray(x) for s, x in zip(few.symbols, few.X[rows].T, strict=True)}
        rest = evaluate(expression, columns, {**shape, **dict.fromkeys(linear, 0.0)})
        bases = [evaluate(expression, columns, {**shape, **{c: float(c == k) for c in linear}}) - rest for k in linear]
        B = np.array(bases).T  # (n_rows, n_linear)
        miss = few.Y[rows, target] - rest - B @ mean
        gain = apart @ B.T @ np.linalg.pinv(B @ apart @ B.T + noise * np.eye(len(miss)), hermitian=True)
        own = mean + gain @ miss
        found[group] = {c: shape[c] if c in shape else float(own[linear.index(c)]) for c in expression.constants}
        if not np.isfinite(list(found[group].values())).all():
            found[group] = dict(constants[largest])
    return found


def _pulled(
    expression: Expression, pool: Pool, joint: Solution, target: int, few: Table
) -> dict[str, dict[str, float]]:
    names = pool.joint.names
    shared = {c: float(joint.values[0, names.index(c)]) for c in expression.constants}
    pooled = pool.solve(joint) if len(joint.values) >= LEAST_GROUPS else None
    if pooled is None:
        return {g: dict(shared) for g in few.groups}
    fitter = Fitter(expression, few, target, prior=pooled.prior, bounds=pool.fitter.bounds)
    middle = np.array(pooled.prior.mean)[None]
    solution = fitter.solve(middle, max_iterations=100, refit_bounds=False)
    found = {}
    for group, row in zip(few.groups, solution.values, strict=True):
        own = {c: float(row[fitter.names.index(c)]) for c in expression.constants}
        found[group] = own if np.isfinite(row).all() else dict(shared)
    return found
