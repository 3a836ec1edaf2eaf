r"""What a search has to show before its own forms count for more than what is known already.

Thousands of forms are tried on a few rungs, and some of them fit the odd rows there better than any published law.
Whether that is knowledge or luck the rows have to say. Two claims are put to them:

- *The forms that were found predict unseen rungs better than the published laws of these very quantities.* With $d_i$
  the difference of the squared errors at row $i$, relative to the errors of its fold, summed over the folds that judge
  it, $t = \bar d / \mathrm{se}(\bar d)$ over the rows (Diebold and Mariano 1995). Three odd runs among seventeen give
  a $t$ of about 2 however large their errors are, and so does the best of a hundred forms that are all alike.
- *The target turns around in a scale variable.* A law that turns is set beside itself held flat from the turn on; at
  the rows past the turn it has to be the better one. A turn that no row is past shows nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sld.core.arrays import Array, Rows
from sld.data.axes import position, values_at_position
from sld.data.table import Table
from sld.fit.fitter import SCREENING
from sld.fit.fitting import Fitter
from sld.search.candidates.candidate import Candidate
from sld.search.judging.admissible import values_at
from sld.search.judging.context import JudgingContext
from sld.search.proposing.proposers import from_catalogue

LEAST_KNOWN = 5  # published laws of the very quantities of a table; with fewer there is nothing to lean on
WON = 3.0  # standard errors: the best of a thousand forms that are alike is ahead by that much
_SHOWN = 2.0  # standard errors by which a turn has to be better than none: there is one of them, not the best of many
_LEAST_ROWS = 3  # clusters from which a standard error can be told
_WALK = 12  # points from the lowest rung to a row
_SLACK = 0.05  # of the range of the target: less is a flat stretch, not a turn
_PAST = 1e-3  # of it: a row is past the turn


def published_laws(table: Table, target: int = 0) -> Mapping[str, float]:
    """Return the published laws by key, each with how far its quantities are from the table's (`Form.mismatch`).

    None where fewer than `LEAST_KNOWN` speak of all variables of the table and of nothing else, and none in a table of
    one variable: its curve has been seen, and there are few ways to go on.
    """
    found: dict[str, float] = {}
    exact = 0
    if len(table.variables) < 2:
        return found
    for proposal in from_catalogue(table):
        form, key = proposal.forms[target], proposal.key.split(" | ")[target]
        exact += form.mismatch == 0.0 and len(form.expression.used_variables) == len(table.variables)
        found[key] = min(found.get(key, math.inf), form.mismatch)
    return found if exact >= LEAST_KNOWN else {}


def advantage(context: JudgingContext, target: int, found: Sequence[Candidate], known: Sequence[Candidate]) -> float:
    """Return by how many standard errors `found` predicts the judged rows better than `known`; 0 if nothing can tell.

    Either is the mean of its members, weighed by their scores, as in a consensus. Rows of one run, or at one point,
    count as one.
    """
    y = context.table.Y[:, target]
    total, judged = np.zeros(len(y)), np.zeros(len(y), dtype=np.bool_)
    for fold, one, other in zip(
        context.folds, _on_folds(context, target, found), _on_folds(context, target, known), strict=True
    ):
        if one is None or other is None:
            continue
        mine, theirs = (y[fold.test] - one) ** 2, (y[fold.test] - other) ** 2
        size = 0.5 * float(mine.mean() + theirs.mean()) + 1e-12 * context.variance[target]
        total[fold.test] += (theirs - mine) / size
        judged[fold.test] = True
    return in_standard_errors(total[judged], context.table.clusters()[judged])


def in_standard_errors(difference: Array, clusters: Rows) -> float:
    """Return the mean over its standard error, clusters being independent."""
    _, index = np.unique(clusters, return_inverse=True)
    sums = np.bincount(index, weights=difference) if len(index) else np.zeros(0)
    if len(sums) < _LEAST_ROWS:
        return 0.0
    error = float(np.std(sums, ddof=1)) / math.sqrt(len(sums))
    return float(sums.mean()) / error if error > 0 else 0.0


def fitter_of(context: JudgingContext, target: int, candidate: Candidate, weights: Array | None) -> Fitter:
    """Return the fitter of a form of one target as the search judges it, with weights (n_rows,) of the rows."""
    (column, expression), *_ = candidate.expressions.items()
    bounds = context.soundness.bounds(expression) | context.soundness.floor(expression, target)
    shared = candidate.shared.get(column, ())
    return Fitter(expression, context.table, target, shared=shared, weights=weights, bounds=bounds)


def start_of(fitter: Fitter, candidate: Candidate) -> Array:
    """Return the constants of a candidate of one target as where a fit starts, (n_groups, n_nonlinear)."""
    (column, _), *_ = candidate.expressions.items()
    groups, names = fitter.table.groups, fitter.tape.constants
    start = np.array([[candidate.constants[column][g][k] for k in names] for g in groups])
    return start.reshape(len(groups), len(names))


def on_folds(context: JudgingContext, fitter: Fitter, start: Array) -> Iterator[Array | None]:
    """Yield for each fold what a form fitted to its training rows predicts for all rows (n_rows,); None where it fails.

    Args:
        context: Of the search.
        fitter: Of the form.
        start: Where each fit starts, (n_groups, n_nonlinear).
    """
    for fold in context.folds:
        part = fitter.solve(
            start[:1], fold.train, inherited=start, max_iterations=30, tolerance=SCREENING, refit_bounds=False
        )
        yield fitter.predict(part.values) if part.ok else None


def _on_folds(context: JudgingContext, target: int, members: Sequence[Candidate]) -> list[Array | None]:
    """Return what the members together predict for the judged rows of each fold; None where none could be fitted."""
    sums: list[Array | None] = [None] * len(context.folds)
    weight = np.zeros(len(context.folds))
    top = min((c.score for c in members), default=0.0)
    with np.errstate(all="ignore"):
        for c in members:
            share = math.exp(top - c.score)
            fitter = fitter_of(context, target, c, context.weights[target])
            for k, predicted in enumerate(on_folds(context, fitter, start_of(fitter, c))):
                values = np.full(1, np.nan) if predicted is None else predicted[context.folds[k].test]
                if np.isfinite(values).all():
                    before = sums[k]
                    sums[k] = share * values if before is None else before + share * values
                    weight[k] += share
    return [None if s is None or w == 0 else s / w for s, w in zip(sums, weight, strict=True)]


def turn_not_shown(context: JudgingContext, target: int, candidate: Candidate) -> bool:
    """Return whether a law turns around in a scale variable, within the data or beyond, and no rows show it.

    Declared directions are another check, and so are hyperparameters: where the best one moves with scale, a law that
    uses them turns at a fixed one. A law that turns within the data is believed where the rows past the turn
    lie closer to it than to the same law held flat there, by two standard errors.
    """
    (column, expression), *_ = candidate.expressions.items()
    by_group = [candidate.constants[column][g] for g in context.table.groups]
    table, y, spread = context.table, context.table.Y[:, target], context.grid.spread[target] or 1.0
    if any(v.role == "hyperparameter" and v.symbol in expression.used_variables for v in table.variables):
        return False
    with np.errstate(all="ignore"):
        if context.grid.turns(target, context.grid.predict(expression, by_group)):
            return True
        for i, variable in enumerate(table.variables):
            free = variable.role == "scale" and variable.monotone is None
            if not free or variable.symbol not in expression.used_variables:
                continue
            columns, index = _walks(table, i)
            walks = values_at(expression, by_group, columns, index).reshape(table.n_rows, _WALK)
            if not np.isfinite(walks).all():
                continue
            ends = walks[:, -1]
            way = 1.0 if float((ends - walks[:, 0]).sum()) >= 0 else -1.0
            flat = way * (way * walks).max(axis=1)
            if (np.abs(ends - flat) > _SLACK * spread).any():
                past = np.abs(ends - flat) > _PAST * spread
                gain = (y - flat) ** 2 - (y - ends) ** 2
                if in_standard_errors(gain[past], table.clusters()[past]) < _SHOWN:
                    return True
    return False


def _walks(table: Table, i: int) -> tuple[Mapping[str, Array], Rows]:
    """Return points (n_rows * _WALK,) from the lowest rung of variable `i` in each row's group up to the row."""
    variable = table.variables[i]
    z = position(table, variable)[0]
    low = np.array([z[table.group_index == g].min() for g in range(len(table.groups))])[table.group_index]
    at = (low[:, None] + (z - low)[:, None] * np.linspace(0.0, 1.0, _WALK)).ravel()
    X = np.repeat(table.X, _WALK, axis=0)
    X[:, i] = values_at_position(table, variable, at)
    return {s: np.ascontiguousarray(X[:, k]) for k, s in enumerate(table.symbols)}, np.repeat(table.group_index, _WALK)
