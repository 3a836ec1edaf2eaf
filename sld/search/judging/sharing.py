"""What the groups of a table have in common, decided by evidence: each group alone, one shape, or partial pooling.

The same formula is judged in each way on the same folds; the best score wins, with a price for each constant that
the data have to determine: one that all groups share costs one n-th of a constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from sld.core.arrays import Array, Rows
from sld.fit.fitter import SCREENING
from sld.fit.fitting import Solution, text_seed
from sld.fit.pooling import LEAST_GROUPS, Pool
from sld.laws.form import Form
from sld.search.candidates.rejection import OK, Rejection
from sld.search.candidates.selection import mean_log
from sld.search.judging.admissible import Problem
from sld.search.judging.context import JudgingContext
from sld.search.judging.judged import Judged

_STARTS = 4  # of the fit with one shape; half as many with a start from the groups' own shapes
_FOLD_STEPS = 4  # of the spread of groups on a fold, which begins at that of all rows
_FAR = 0.7  # scores of groups alone and of one shape differ so much: pooling in between has not been better
_RACE, _BEHIND = 2, 1.0  # folds, and log error behind groups alone after them, when a way is given up


def best_sharing(context: JudgingContext, form: Form, target: int, alone: Judged, *, pooled: bool = True) -> Judged:
    """Return the best verdict on the form over the ways to share, with the fits of all of them counted.

    Args:
        context: The table and the folds.
        form: A formula that does not say what is shared.
        target: Column of the targets.
        alone: The verdict when every group has constants of its own.
        pooled: Whether to try partial pooling as well.
    """
    verdicts = [alone, *_Ways(context, form, target, alone, pooled).verdicts()]
    n_fits = sum(v.n_fits for v in verdicts)
    usable = [v for v in verdicts if v.ok]
    if not usable:
        return replace(alone, n_fits=n_fits)
    best = min(usable, key=lambda v: (*v.checks, context.score(v, form.expression, target)))
    return replace(best, n_fits=n_fits)


class _Ways:
    """One formula under judgement, its groups with one shape and partially pooled."""

    def __init__(self, context: JudgingContext, form: Form, target: int, alone: Judged, pooled: bool) -> None:
        self.context, self.form, self.target, self.alone, self.pooled = context, form, target, alone, pooled
        self.names = form.expression.constants
        self.table = context.table
        self.y = self.table.Y[:, target]
        self.pool: Pool

    def verdicts(self) -> list[Judged]:
        """Return the verdicts that are worth the fits, one shape first."""
        context, alone = self.context, self.alone
        if not self.names or len(self.names) > context.max_constants:
            return []
        try:
            bounds = context.soundness.bounds(self.form.expression)
            weights = context.weights[self.target]
            self.pool = Pool(self.form.expression, self.table, self.target, weights, bounds=bounds)
        except (OverflowError, ValueError):
            return []
        shape, joint = self.pool.shape, self.pool.joint
        if not np.isfinite(joint.columns).any(axis=1).all():
            return []
        own = len(self.names) - len(shape)
        one_shape = own, own * len(self.table.groups) + len(shape)
        if context.counting.refuses(*one_shape) or (not shape and not alone.ok):
            return []
        self.starts = self._starts()
        first = joint.solve(self.starts, max_iterations=40, tolerance=SCREENING, refit_bounds=False)
        if not first.ok:
            return [replace(alone, status=Rejection.NOT_FINITE_ON_DATA, n_fits=first.n_fits)]
        train = self._nmse(joint.predict(first.values))
        if not context.explains(train, self.y - joint.predict(first.values), self.target):
            return [replace(alone, status=Rejection.EXPLAINS_NOTHING, n_fits=first.n_fits)]
        self.parts: list[Solution | None] = [None] * len(context.folds)
        if not shape:
            return [self._partial(first)]
        effective = len(self.names) - len(shape) * (1.0 - 1.0 / len(self.table.groups))
        constants, problems = self._checked(first.values, joint.names)
        if context.soundness.below_floor(self.form.expression, list(constants.values()), self.target):
            return [replace(alone, status=Rejection.BELOW_FLOOR, n_fits=first.n_fits)]
        silent = context.counting.silent_folds(*one_shape)
        errors, n_fits = self._raced(self._shared_error(first, silent))
        one = replace(
            alone, status=self._status(errors, constants), n_fits=first.n_fits + n_fits, fold_errors=errors,
            train_nmse=train, problems=problems, constants=constants, shared=shape, effective=effective,
            silent=silent,
        )  # fmt: skip
        far = alone.ok and one.ok and abs(self._score(one) - self._score(alone)) > _FAR
        # what is far from both is not in between
        return [one] if far or one.status == Rejection.GROUPS_ALONE or not self.pooled else [one, self._partial(first)]

    def _score(self, verdict: Judged) -> float:
        return self.context.score(verdict, self.form.expression, self.target)

    def _starts(self) -> Array:
        joint = self.pool.joint
        if not self.pool.shape:
            return np.zeros((1, 0))
        drawn = joint.starts(_STARTS, text_seed(self.context.seed, self.form.expression.text))
        if not self.alone.constants:
            return drawn
        own = np.array([[by_name[c] for c in joint.tape.constants] for by_name in self.alone.constants.values()])
        return np.vstack([np.median(own, axis=0), drawn[: _STARTS // 2]])

    def _nmse(self, predicted: Array, rows: Rows | None = None) -> float:
        return self.context.nmse(self.y - predicted, self.target, rows)

    def _checked(
        self, values: Array, columns: tuple[str, ...]
    ) -> tuple[dict[str, dict[str, float]], tuple[Problem, ...]]:
        at = [columns.index(c) for c in self.names]
        constants = [dict(zip(self.names, row, strict=True)) for row in values[:, at].tolist()]
        grid = self.context.grid
        problems = grid.problems(self.target, grid.predict(self.form.expression, constants))
        return dict(zip(self.table.groups, constants, strict=True)), problems

    def _raced(self, error_of: Callable[[int], tuple[float, int]]) -> tuple[tuple[float, ...], int]:
        """Return the errors on the folds and the fits; fewer errors when it is clear early that alone is better."""
        errors: list[float] = []
        n_fits = 0
        rival = self.alone.fold_errors
        for k in range(len(self.context.folds)):
            error, n = error_of(k)
            errors.append(error)
            n_fits += n
            if k + 1 == _RACE and len(rival) > _RACE and not any(p.hard for p in self.alone.problems):
                behind = mean_log(errors) - mean_log(rival[:_RACE])
                if behind > _BEHIND:
                    break
        return tuple(errors), n_fits

    def _status(self, errors: Sequence[float], constants: Mapping[str, Mapping[str, float]]) -> str:
        if why := self.context.soundness.refusal(self.form.expression, list(constants.values()), self.target):
            return why
        if len(errors) < len(self.context.folds):
            return Rejection.GROUPS_ALONE
        lost = sum(not math.isfinite(e) for e in errors)
        return Rejection.NOT_FINITE_ON_FOLDS if lost * 2 > len(errors) else OK

    def _shared_error(self, first: Solution, silent: Collection[int]) -> Callable[[int], tuple[float, int]]:
        joint = self.pool.joint
        inherited = joint.nonlinear(first)

        def error(k: int) -> tuple[float, int]:
            if k in silent:
                return math.nan, 0
            fold = self.context.folds[k]
            part = self.parts[k] = joint.solve(
                self.starts[:1],
                fold.train,
                inherited=inherited,
                max_iterations=30,
                tolerance=SCREENING,
                refit_bounds=False,
            )
            if not part.ok:
                return math.nan, part.n_fits
            return self._nmse(joint.predict(part.values), fold.test), part.n_fits

        return error

    def _partial(self, first: Solution) -> Judged:
        """Return the verdict on partial pooling."""
        alone, pool = self.alone, self.pool
        failed = replace(alone, status=Rejection.NOT_POOLED, n_fits=0)
        if len(self.table.groups) < LEAST_GROUPS:
            return failed
        together = pool.solve(first, max_iterations=40, tolerance=SCREENING)
        if together is None:
            return failed
        train = self._nmse(pool.fitter.predict(together.solution.values))
        constants, problems = self._checked(together.solution.values, pool.fitter.names)
        n_groups, counting = len(self.table.groups), self.context.counting
        own = len(self.names) - len(pool.shape)
        # what the prior gives is no constant that a group's rows have to decide
        pooled = (own if pool.shape else 0), together.effective * n_groups
        if counting.refuses(*pooled):
            return replace(failed, status=Rejection.TOO_MANY_CONSTANTS)
        silent = counting.silent_folds(*pooled)
        shared_error = self._shared_error(first, silent)

        def error(k: int) -> tuple[float, int]:
            if k in silent:
                return math.nan, 0
            fold = self.context.folds[k]
            n_fits = 0 if self.parts[k] is not None else shared_error(k)[1]
            part = self.parts[k]
            assert part is not None
            if not part.ok:
                return math.nan, n_fits
            # how far groups are apart comes from all rows, where they are is this fold's own
            again = pool.solve(
                part,
                fold.train,
                start=together.spread,
                rounds=1,
                steps=_FOLD_STEPS,
                max_iterations=30,
                tolerance=SCREENING,
            )
            if again is None:
                predicted, n = pool.joint.predict(part.values), 0
            else:
                predicted, n = pool.fitter.predict(again.solution.values), again.solution.n_fits
            return self._nmse(predicted, fold.test), n_fits + n

        if self.context.soundness.below_floor(self.form.expression, list(constants.values()), self.target):
            return replace(failed, status=Rejection.BELOW_FLOOR, n_fits=together.solution.n_fits)
        errors, n_fits = self._raced(error)
        n_fits += together.solution.n_fits
        return replace(
            alone, status=self._status(errors, constants), n_fits=n_fits, fold_errors=errors, train_nmse=train,
            problems=problems, constants=constants, prior=together.prior, effective=together.effective,
            silent=silent,
        )  # fmt: skip
