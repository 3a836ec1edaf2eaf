"""What a law of a search predicts with beside its formula: the finalists' mean, and the rows near a point.

A formula that follows what many laws agree on loses a part of what they know, and all of them together miss at one run
most of what they miss at the next. Both are asked of the folds. Each finalist is fitted to the rows that a fold
fits, and its errors there, carried over to the judged rows (`laws/kriging.py`), are taken off. How far they are
carried is what makes the finalists' errors on the folds smallest, and may be nowhere. Then the finalists are scored
once more, with these errors, and weigh by that score.

On 131 tables to build on (bench/ensembles.md) this predicts held-out rows with a mean R² of 0.70, where the formula
that follows a consensus has 0.60; every kind of table gains, most those whose rows have several variables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sld.core.arrays import Array, Rows
from sld.data.splits import Fold
from sld.data.table import Table
from sld.laws.ensemble import Ensemble, Member
from sld.laws.kriging import MOST, Kriging, correlation, places_of, positions, spread_out
from sld.laws.law import Law
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.selection import FAILED_FOLD, fold_score, is_exact
from sld.search.choosing.consensus import PLAIN, shares, voters
from sld.search.choosing.evidence import on_folds
from sld.search.choosing.finalists import Finalists
from sld.search.judging.context import JudgingContext

_MEMBERS = 10  # of the best, and as many of those that nobody bred; 25 predict as well, and take longer
_SHARPNESS = 2.0  # a member with twice the error has a quarter of the weight
_SMALLEST = 0.5  # of the smallest measured value: nothing is taken off a positive prediction below that
_FLOOR = 1e-8  # NMSE below which errors are equally small, as on the folds
# ranges, in standard deviations of the rows, and nuggets, in sills, that are asked of the folds
_VARIOGRAMS = ((1.0, 0.03), (1.0, 0.3), (3.0, 0.3), (10.0, 0.03), (10.0, 0.3), (10.0, 1.0))

# the judged rows of a group, the rows that a fold fits there, and what turns errors at these into errors at those
_Carried = tuple[Rows, Rows, Array]


def ensemble(
    context: JudgingContext, finalists: Finalists, target: int, chosen: Candidate, law: Law, rows: Table, *, alone: bool
) -> Ensemble | None:
    """Return what predicts one target of a law; None where its formula is exact or nothing can be told.

    Args:
        context: Of the search.
        finalists: For this target.
        target: Its number.
        chosen: The form of the law, for this target.
        law: With the constants of the last fit.
        rows: What the law was fitted to, and groups with too few rows to be judged.
        alone: Take the law's own formula alone: where points are few, many forms agree on too little.
    """
    if is_exact(chosen) or any(is_exact(c) for c in finalists.members):
        return None
    parts = [] if alone else _parts(context, finalists)
    members = tuple({c.key: c for part, _ in parts for c in part}.values()) or (chosen,)
    with np.errstate(all="ignore"):
        errors = _Errors(context, target, members)
        weight = shares(parts, errors.score, _SHARPNESS)
        taking = tuple(
            Member(c.expressions[column], c.constants[column], float(f"{weight[c.key]:.6g}"))
            for c in sorted(members, key=lambda c: (-weight.get(c.key, 0.0), c.key))
            for column in c.expressions
            if weight.get(c.key, 0.0) > 0
        )
        y = rows.Y[:, target]
        found = Ensemble(taking, None, _SMALLEST * float(y.min()) if (y > 0).all() else None)
        if errors.variogram is not None:
            found = Ensemble(taking, _kriging(found, law, target, rows, errors.variogram), found.floor)
    return None if not taking and found.kriging is None else found


def _parts(context: JudgingContext, finalists: Finalists) -> list[tuple[list[Candidate], float]]:
    """Return the best finalists and the best that nobody bred, of those that have a say, each set with its part."""
    *_, values = voters(context, finalists)
    best, static = ([c for c in part if c.key in values] for part in (finalists.best, finalists.static))
    return [(best[:_MEMBERS], 1.0 - PLAIN), (static[:_MEMBERS], PLAIN)]


def _kriging(found: Ensemble, law: Law, target: int, rows: Table, variogram: tuple[float, float]) -> Kriging:
    own, column = law.by_formula(rows)[:, target], law.targets[target].column
    mean = np.full(rows.n_rows, np.nan)
    for g, group in enumerate(rows.groups):
        mine = np.flatnonzero(rows.group_index == g)
        if len(mine) and group in law.constants[column]:
            mean[mine] = found.mean(own[mine], {s: x[mine] for s, x in rows.inputs.items()}, group)
    return Kriging.of(rows, rows.Y[:, target] - mean, places_of(rows), *variogram)


class _Errors:
    """Errors of members on the folds, with what errors at fitted rows carry over taken off.

    Attributes:
        variogram: Range and nugget with which they are smallest; None where carrying nothing over is best.
    """

    def __init__(self, context: JudgingContext, target: int, members: Sequence[Candidate]) -> None:
        """Fit each member on each fold and choose the variogram."""
        self.context, self.target = context, target
        carried = [[_carried(context, fold, *variogram) for fold in context.folds] for variogram in _VARIOGRAMS]
        y = context.table.Y[:, target]
        found: dict[str, Array] = {}
        for c in members:
            errors = np.full((1 + len(_VARIOGRAMS), len(context.folds)), np.nan)
            for k, (fold, predicted) in enumerate(zip(context.folds, on_folds(context, target, c), strict=True)):
                if predicted is None:
                    continue
                miss = y - predicted
                errors[0, k] = context.nmse(miss, target, fold.test)
                for v, by_fold in enumerate(carried):
                    errors[1 + v, k] = context.nmse(_less(miss, by_fold[k]), target, fold.test)
            found[c.key] = errors
        top = min((c.score for c in members), default=0.0)
        total = sum(math.exp(top - c.score) * _logs(found[c.key]).mean(axis=1) for c in members)
        pick = int(np.argmin(total)) if len(context.folds) else 0
        self.variogram = _VARIOGRAMS[pick - 1] if pick else None
        self._errors = {key: errors[pick] for key, errors in found.items()}

    def score(self, candidate: Candidate) -> float:
        """Return the score of a member (`fold_score`) with these errors in place of its own."""
        context, judged = self.context, candidate.judgements[0]
        (column, expression), *_ = candidate.expressions.items()
        return fold_score(
            self._errors[candidate.key].tolist(), context.tested, judged.train_nmse, context.noise[self.target],
            candidate.effective(column), expression.complexity, context.n_points, len(judged.reasons),
        )  # fmt: skip


def _logs(errors: Array) -> Array:
    known = np.where(np.isfinite(errors), np.minimum(errors, FAILED_FOLD), FAILED_FOLD)
    logs: Array = np.log(known + _FLOOR)
    return logs


def _carried(context: JudgingContext, fold: Fold, length: float, nugget: float) -> list[_Carried]:
    """Return for each group of a fold what carries errors at its fitted rows over to its judged rows."""
    table = context.table
    z = positions(places_of(table), table)
    found: list[_Carried] = []
    for g in range(len(table.groups)):
        test = fold.test[table.group_index[fold.test] == g]
        train = spread_out(fold.train[table.group_index[fold.train] == g], MOST)
        if len(test) and len(train):
            among = correlation(z[train], z[train], length) + nugget * np.eye(len(train))
            weights = np.linalg.solve(among, correlation(z[train], z[test], length)).T
            found.append((test, train, np.asarray(weights, dtype=np.float64)))
    return found


def _less(miss: Array, carried: Sequence[_Carried]) -> Array:
    """Return errors (n_rows,) with what is carried over to judged rows taken off."""
    left = miss.copy()
    for test, train, weights in carried:
        left[test] -= weights @ miss[train]
    return left
