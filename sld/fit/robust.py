r"""The end of a fit with Huber's loss: Newton's method, where reweighting no longer gets anywhere.

Reweighted least squares turns slow where $\delta$ is far below the noise: the loss is then nearly $\delta \sum |r_i|$,
whose minimum has about as many residuals at zero as there are constants, and weights near these jump. But between such
jumps Huber's loss is smooth. With $\psi_i = \rho'(r_i)$, $r = y - f(\theta)$ and $J = \partial f / \partial \theta$
its gradient and Hessian are

$$ -J^\top \psi, \qquad \sum_{|r_i| \le \delta} J_i J_i^\top - \sum_i \psi_i \nabla^2 f_i , $$

the second term by differences of $J$. Steps are shortened until the loss falls, and end on the bounds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sld.core.arrays import Mask
from sld.fit.fitter import Fitter
from sld.fit.kernel import Array, evaluate_tape

_MOST_STEPS = 40
_MOST_CONSTANTS = 200  # searched together: matrices of that size take no longer than the fit did
_DIFFERENCE = 1e-5  # of a constant's size
_FLAT = 1e-9  # of the largest curvature: along flatter directions a step is no longer than this allows
_DONE = 1e-12  # of the loss: a step that gains less is rounding


def huber(residual: Array, delta: float) -> Array:
    r"""Return Huber's function of each residual: $r^2/2$ up to $\delta$, beyond $\delta (|r| - \delta/2)$ (Huber 1964).

    >>> huber(np.array([0.5, -3.0]), 1.0)
    array([0.125, 2.5  ])
    """
    a = np.abs(residual)
    return np.where(a <= delta, 0.5 * a * a, delta * (a - 0.5 * delta))


def finished(fitter: Fitter, values: Array, root: Array, delta: float) -> Array:
    """Return constants (n_groups, n_names) with a lower sum of Huber's loss, those given where there are none.

    >>> from sld.data.table import table_from
    >>> N = [1e6, 4e6, 16e6, 64e6, 256e6]
    >>> table = table_from({"N": N, "loss": [1.7 + 40 * n**-0.25 for n in N]}, target="loss", scale="N")
    >>> fitter = Fitter(table.parse("1.7 + 40*N**-a"), table, project=False)
    >>> finished(fitter, np.array([[0.2]]), np.ones(5), 1e-3).round(6)
    array([[0.25]])

    Args:
        fitter: All constants are searched (`project=False`).
        values: (n_groups, n_names) where to begin, near a minimum.
        root: (n_rows,) roots of the rows' weights, in the fitter's order of rows.
        delta: Where the loss turns linear.
    """
    n_shared, n_groups, n_local = len(fitter.shared), fitter.n_groups, fitter.n_local
    scales = [fitter.tape.constants.index(c) for c in fitter.tape.positive]  # searched as logarithms
    theta = values.copy()
    theta[:, scales] = np.log(np.maximum(theta[:, scales], 1e-300))
    # without shared constants every group is a problem of its own
    problems = [range(n_groups)] if n_shared else [range(g, g + 1) for g in range(n_groups)]
    if n_shared + n_local * len(problems[0]) > _MOST_CONSTANTS or not np.isfinite(theta).all():
        return values
    for groups in problems:
        problem = _Problem(fitter, groups.start, groups.stop, root, delta)
        x = np.concatenate([theta[groups.start, :n_shared], theta[groups.start : groups.stop, n_shared:].ravel()])
        theta[groups.start : groups.stop] = problem.spread(_newton(problem, x))
    theta[:, scales] = np.exp(theta[:, scales])
    return theta


class _Problem:
    """Huber's loss of some groups, as a function of their shared constants followed by those of each group."""

    def __init__(self, fitter: Fitter, first: int, stop: int, root: Array, delta: float) -> None:
        begin, end = fitter.offsets[first], fitter.offsets[stop]
        self.tape, self.delta = fitter.tape, delta
        self.columns = fitter.columns[:, begin:end]
        self.y, self.root = fitter.y[begin:end], root[begin:end]
        self.offsets = fitter.offsets[first : stop + 1] - begin
        self.group = np.repeat(np.arange(stop - first), np.diff(self.offsets))
        self.n_shared, self.n_local, self.n_groups = len(fitter.shared), fitter.n_local, stop - first
        self.low, self.high = (
            np.concatenate([ends[: self.n_shared], np.tile(ends[self.n_shared :], self.n_groups)])
            for ends in (fitter.lower, fitter.upper)
        )

    def spread(self, x: Array) -> Array:
        """Return the constants by group (n_groups, n_constants)."""
        own = x[self.n_shared :].reshape(self.n_groups, self.n_local)
        return np.hstack([np.tile(x[: self.n_shared], (self.n_groups, 1)), own])

    def residual(self, x: Array, jacobian: bool = False) -> tuple[Array, Array]:
        """Return the weighted residuals (n_rows,), and the derivatives of the fitted values (n, n_rows) if asked."""
        theta = self.spread(x)[None]
        slopes = np.empty((1, theta.shape[2], len(self.y))) if jacobian else None
        none = np.empty((1, self.n_groups, 0))
        found = evaluate_tape(self.tape, self.columns, theta, none, self.offsets, slopes)[0]
        residual = self.root * (self.y - found)
        if slopes is None:
            return residual, np.empty(0)
        full = np.zeros((len(x), len(self.y)))
        full[: self.n_shared] = slopes[0, : self.n_shared]
        at = self.n_shared + self.group * self.n_local
        rows = np.arange(len(self.y))
        for k in range(self.n_local):
            full[at + k, rows] = slopes[0, self.n_shared + k]
        return residual, full * self.root

    def loss(self, x: Array) -> float:
        """Return the loss; infinite outside the domain of the formula."""
        total = float(huber(self.residual(x)[0], self.delta).sum())
        return total if np.isfinite(total) else np.inf

    def equations(self, x: Array) -> tuple[Array, Array, Array]:
        """Return the gradient (n,), the Hessian (n, n), and the size of the derivatives of each constant (n,)."""
        residual, J = self.residual(x, True)
        psi = np.clip(residual, -self.delta, self.delta)
        inside = np.abs(residual) <= self.delta
        H = J[:, inside] @ J[:, inside].T
        step = _DIFFERENCE * np.maximum(np.abs(x), 1e-3)
        for k in range(len(x)):
            away = np.zeros(len(x))
            away[k] = step[k]
            bent = (self.residual(x + away, True)[1] - self.residual(x - away, True)[1]) @ psi / (2.0 * step[k])
            H[k] -= bent
        return -J @ psi, 0.5 * (H + H.T), np.sqrt((J * J).sum(axis=1))


def _newton(problem: _Problem, x: Array) -> Array:
    loss = problem.loss(x)
    for _ in range(_MOST_STEPS):
        gradient, H, size = problem.equations(x)
        held = (x <= problem.low) & (gradient > 0) | (x >= problem.high) & (gradient < 0)
        step = _step(gradient, H, np.where(size > 0, size, 1.0), ~held)
        found = None if step is None else _shortened(problem.loss, x, step, loss, problem.low, problem.high)
        if found is None:
            break
        gain, x, loss = loss - found[1], *found
        if gain <= _DONE * loss:
            break
    return x


def _step(gradient: Array, H: Array, size: Array, free: Mask) -> Array | None:
    """Return the step to the minimum of the quadratic model, downhill where the model is not convex."""
    g, scaled = (gradient / size)[free], (H / (size[:, None] * size))[free][:, free]
    if not free.any() or not (np.isfinite(g).all() and np.isfinite(scaled).all()):
        return None
    curvature, axes = np.linalg.eigh(scaled)
    curvature = np.maximum(np.abs(curvature), _FLAT * np.abs(curvature).max() + 1e-300)
    step = np.zeros(len(gradient))
    step[free] = -(axes @ ((axes.T @ g) / curvature)) / size[free]
    return step


def _shortened(
    loss_at: Callable[[Array], float], x: Array, step: Array, loss: float, low: Array, high: Array
) -> tuple[Array, float] | None:
    """Return the point on the way along a step where the loss has fallen, and the loss; None where it does not."""
    for _ in range(30):
        trial = np.clip(x + step, low, high)
        found = loss_at(trial)
        if found < loss:
            return trial, found
        step = 0.5 * step
    return None
