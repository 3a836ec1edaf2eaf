r"""Standard errors of constants from the formula's derivatives: what the rows leave open, whatever refits say.

With $J = U S V^\top$ the derivatives of the weighted predictions (one row per run, the weight of a prior below) and $r$
the weighted residuals, reweighting the rows of cluster $c$ moves the constants by $V S^{-1} \sum_{i \in c} U_i r_i$ to
first order. The squares of these, summed over the clusters, are the variances (the cluster-robust sandwich, Liang and
Zeger 1986). It is crude far from the optimum and for few rows, but it knows one thing that refits from the optimum do
not: along a direction that the rows leave open nothing drives a refit away from where it starts, and it stays there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sld.data.table import Array, Table
from sld.fit.fitter import Prior
from sld.fit.kernel import value_and_jacobian
from sld.fit.tape import compile_tape
from sld.formula.expression import Expression
from sld.laws.fit_settings import FitSettings

_MOST = 400  # columns of a Jacobian of all groups at once
_SINGULAR = 1e-12  # of the largest singular value: below it derivatives are rounding errors
_HIDDEN = 1e-4  # squared share of a constant in directions that the rows do not tell


def standard_errors(
    expression: Expression,
    settings: FitSettings,
    table: Table,
    weights: Array,
    residual: Array,
    clusters: NDArray[np.intp],
    constants: Mapping[str, Mapping[str, float]],
) -> dict[str, dict[str, float]] | None:
    """Return group to constant to standard error; infinite where the rows leave it open, None where there are too many.

    Args:
        expression: The formula in its free constants, see `FitSettings.formula`.
        settings: How these were fitted (`FitSettings.free`): sharing, prior and loss. Those on a bound count as known.
        table: The rows; points that the law follows beside them are rows like others.
        weights: (n_rows,) of the fit.
        residual: (n_rows,) of the target, or of its logarithm for a loss of logarithms; NaN for what is no measurement.
        clusters: (n_rows,) numbers of what is independent of one another (`Table.clusters`).
        constants: Group to constant to value.
    """
    shared = tuple(c for c in expression.constants if c in settings.shared) if len(table.groups) > 1 else ()
    tape = compile_tape(expression, shared=shared, project=False)
    names, n_shared = tape.constants, len(shared)
    n_own = len(names) - n_shared
    if not names or n_shared + n_own * len(table.groups) > _MOST:
        return None
    columns = tape.column_values(table.inputs, table.n_rows)
    J = np.zeros((table.n_rows, n_shared + n_own * len(table.groups)))
    for g, group in enumerate(table.groups):
        rows = np.flatnonzero(table.group_index == g)
        theta = np.array([[constants[group][c] for c in names]])
        values, slopes = value_and_jacobian(tape, columns.take(rows, axis=1), theta)
        block = slopes[0].T / values[0][:, None] if settings.loss.startswith("log") else slopes[0].T
        J[rows, :n_shared] = block[:, :n_shared]
        J[rows, n_shared + g * n_own : n_shared + (g + 1) * n_own] = block[:, n_shared:]
    roots = np.sqrt(weights)
    J *= roots[:, None]
    if not np.isfinite(J).all():
        return None
    if settings.prior is not None:
        J = np.vstack([J, *_pulls(settings.prior, names[n_shared:], n_shared, len(table.groups))])
    held = settings.at_bounds(constants)
    at = {
        group: {c: k if k < n_shared else k + g * n_own for k, c in enumerate(names)}
        for g, group in enumerate(table.groups)
    }
    out = {k for of in at.values() for c, k in of.items() if c in held}
    errors = _spread(J, np.where(np.isfinite(residual), residual * roots, 0.0), clusters, out)
    return {group: {c: float(errors[k]) for c, k in of.items()} for group, of in at.items()}


def _pulls(prior: Prior, own: tuple[str, ...], n_shared: int, n_groups: int) -> list[Array]:
    """Return rows whose squares are what a prior adds to the sum of squares."""
    values, vectors = np.linalg.eigh(np.array(prior.weight))
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    rows = []
    for g in range(n_groups):
        block = np.zeros((len(root), n_shared + len(own) * n_groups))
        block[:, [n_shared + g * len(own) + own.index(c) for c in prior.constants]] = root
        rows.append(block)
    return rows


def _spread(J: Array, residual: Array, clusters: NDArray[np.intp], out: set[int]) -> Array:
    """Return the standard error of each column: 0 for those left out, infinite where J does not tell them apart."""
    kept = [k for k in range(J.shape[1]) if k not in out]
    found = np.zeros(J.shape[1])
    if not kept:
        return found
    size = np.sqrt((J[:, kept] ** 2).sum(axis=0))
    units = np.where(size > 0, size, 1.0)
    U, singular, V = np.linalg.svd(J[:, kept] / units, full_matrices=False)
    told = singular > _SINGULAR * singular[0]
    scores = np.zeros((int(clusters.max()) + 1, int(told.sum())))
    np.add.at(scores, clusters, U[: len(residual), told] * residual[:, None])
    errors = np.sqrt(((scores / singular[told] @ V[told]) ** 2).sum(axis=0)) / units
    # what lies along directions that J does not tell: the rest of each unit vector
    hidden = 1.0 - (V[told] ** 2).sum(axis=0) > _HIDDEN
    found[kept] = np.where(hidden, math.inf, errors)
    return found
