"""Judging one proposal: fit on all rows, check far beyond them, fit the lower rungs and score the higher ones.

The stages go from cheap to dear, and most proposals fall at an early one: constants within the limit, finite on the
data, a quick fit that explains something, then the folds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from sld.core.arrays import Array
from sld.data.splits import Fold
from sld.data.table import Table
from sld.fit.fitter import FITTING, SCREENING
from sld.fit.fitting import Fitter, Solution, log_starts, text_seed
from sld.fit.kernel import linear_constants
from sld.formula.canonical import canonical_key, simplify
from sld.formula.expression import Expression
from sld.laws.form import Form
from sld.search.candidates.candidate import INADMISSIBLE, Candidate, Judgement
from sld.search.candidates.limits import Limits
from sld.search.candidates.rejection import OK, Rejection
from sld.search.candidates.selection import EARLY_FOLDS, mean_log, price
from sld.search.judging.context import JudgingContext
from sld.search.judging.degenerate import plays_two_roles
from sld.search.judging.judged import Judged, constants_by_group
from sld.search.judging.sharing import best_sharing

_QUICK = 3  # one start in three for the first look at a form
_NEARLY_EXACT = 1e-9  # training NMSE below which a form may be the law that made the data
_MARGIN = 1.0  # a form whose errors are e times those of the ones that count is not looked at again
# spread of starts around a guess, in logarithms: from rounding to a wrong digit
_NEAR = (0.01, 0.01, 0.02, 0.02, 0.05, 0.05, 0.1, 0.2)
SETTLE = 300  # steps in which a guess at the constants is followed to the end


@dataclass(frozen=True)
class Proposal:
    """One form per target, from one source, with the key that tells families apart."""

    forms: tuple[Form, ...]
    key: str
    thorough: bool = False  # more starting points, on the folds too, and what groups share is decided
    island: int = 0
    bar: float = math.inf  # early score that a form has to come near, see `early_score`
    limits: Limits | None = None  # what a form has to beat to be seen
    lineage: tuple[str, ...] = ()  # see `Candidate`

    @staticmethod
    def of(forms: Sequence[Form]) -> Proposal:
        """Make a proposal; its key joins the canonical keys of the targets, with what groups share."""
        keys = [canonical_key(f.expression) + (f" ~ {','.join(sorted(f.shared))}" if f.shared else "") for f in forms]
        return Proposal(tuple(forms), " | ".join(keys))


class Judge:
    """Judges proposals on one table; the same proposal always gets the same verdict."""

    def __init__(self, table: Table, folds: Sequence[Fold], *, seed: int, max_constants: int) -> None:
        """Measure what all proposals share."""
        self.context = JudgingContext(table, folds, seed=seed, max_constants=max_constants)

    @property
    def table(self) -> Table:
        """The rows."""
        return self.context.table

    @property
    def folds(self) -> tuple[Fold, ...]:
        """Rows to fit and rows to judge."""
        return self.context.folds

    @property
    def seed(self) -> int:
        """Seed of all starting points."""
        return self.context.seed

    @property
    def max_constants(self) -> int:
        """Limit per group and target."""
        return self.context.max_constants

    def judge(self, proposal: Proposal) -> tuple[Candidate, int]:
        """Return the candidate and the number of local fits it took."""
        with np.errstate(all="ignore"):
            return self._judge(proposal)

    def _judge(self, proposal: Proposal) -> tuple[Candidate, int]:
        proposal = replace(proposal, forms=tuple(_shortened(f) for f in proposal.forms))
        columns = [t.column for t in self.table.targets]
        expressions = {c: f.expression for c, f in zip(columns, proposal.forms, strict=True)}
        candidate = Candidate(
            expressions=expressions,
            key=proposal.key,
            origin=proposal.forms[0].origin,
            island=proposal.island,
            lineage=proposal.lineage,
        )
        judged: list[Judged] = []
        for j, form in enumerate(proposal.forms):
            judged.append(self._judge_groups(form, j, proposal))
            if not judged[-1].ok:
                return replace(candidate, status=judged[-1].status), sum(v.n_fits for v in judged)
        judgements = tuple(
            self._judgement(v, f.expression, j) for j, (v, f) in enumerate(zip(judged, proposal.forms, strict=True))
        )
        return (
            replace(
                candidate,
                judgements=judgements,
                constants={c: v.constants or {} for c, v in zip(columns, judged, strict=True)},
                shared={c: v.shared for c, v in zip(columns, judged, strict=True) if v.shared},
                priors={c: v.prior for c, v in zip(columns, judged, strict=True) if v.prior is not None},
            ),
            sum(v.n_fits for v in judged),
        )

    def _judgement(self, judged: Judged, expression: Expression, target: int) -> Judgement:
        return Judgement(
            score=self.context.score(judged, expression, target),
            fold_errors=judged.fold_errors,
            train_nmse=judged.train_nmse,
            admissible=not any(p.hard for p in judged.problems),
            reasons=tuple(dict.fromkeys(p.sentence for p in judged.problems)),
            effective=judged.effective,
            within_bounds=not any(p.slight for p in judged.problems),
        )

    def _judge_groups(self, form: Form, target: int, proposal: Proposal) -> Judged:
        """Return the verdict; what groups share is decided for finalists, unless the form says it."""
        thorough = proposal.thorough
        verdict = self._judge_target(form, target, proposal)
        n_groups = len(self.table.groups)
        verdict = replace(verdict, shared=form.shared, effective=self._effective(form))
        # too many constants for groups that stand alone may be few enough for groups with one shape
        decides = (thorough or verdict.status == Rejection.TOO_MANY_CONSTANTS) and n_groups > 1 and not form.shared
        return best_sharing(self.context, form, target, verdict, pooled=thorough) if decides else verdict

    def _effective(self, form: Form) -> float:
        """Return the constants per group; one that n groups share counts one n-th."""
        n_shared = len(form.shared)
        return len(form.expression.constants) - n_shared + n_shared / len(self.table.groups)

    def _judge_target(self, form: Form, target: int, proposal: Proposal) -> Judged:
        expression, thorough, bar = form.expression, proposal.thorough, proposal.bar
        n_constants = len(expression.constants)
        if n_constants == 0:
            return Judged(Rejection.NO_CONSTANTS, 0)
        if n_constants > self.max_constants:
            return Judged(Rejection.OVER_THE_LIMIT, 0)
        own = n_constants - len(form.shared)
        count = own, own * len(self.table.groups) + len(form.shared)
        if self.context.counting.refuses(*count):
            return Judged(Rejection.TOO_MANY_CONSTANTS, 0)
        silent = self.context.counting.silent_folds(*count)
        if not form.given and plays_two_roles(expression, self.table):
            return Judged(Rejection.TWO_ROLES, 0)
        floor = self.context.soundness.floor(expression, target)
        rng = text_seed(self.seed, expression.text)
        try:
            fitter = Fitter(
                expression, self.table, target, positive=form.positive, shared=form.shared,
                weights=self.context.weights[target], bounds=self.context.soundness.bounds(expression) | floor,
            )  # fmt: skip
        except (OverflowError, ValueError) as error:
            return Judged(f"{Rejection.NOT_COMPILED}: {error}", 0)
        if not np.isfinite(fitter.columns).any(axis=1).all():
            return Judged(Rejection.NOT_FINITE_ON_DATA, 0)
        n_nonlinear = len(fitter.tape.constants)
        n_starts = _n_starts(n_nonlinear, len(self.table.groups)) * (2 if thorough else form.start_multiplier)
        starts = fitter.starts(n_starts, rng)
        self._use_hints(form, fitter, starts, rng)
        first = self._inherited(form, fitter, starts) if form.start else log_starts(fitter, 4, rng)
        n_fits = 0
        if form.warm_start and first is not None and n_nonlinear:
            first, n_fits = self._settled(fitter, first, rng)
        y = self.table.Y[:, target]
        few = starts[: (2 if n_nonlinear > 1 else 1) + thorough]
        if bar < math.inf:
            # a first look: a few starts, the first folds
            quick = self._fit(fitter, starts[: max(1, n_starts // _QUICK)], first)
            n_fits += quick.n_fits
            if quick.ok:
                cost = price(n_constants, expression.complexity, self.context.n_points)
                behind = partial(self._behind, proposal.limits, bar + _MARGIN - cost, silent, target)
                early = self.folds[:EARLY_FOLDS]
                errors, n = self._fold_errors(fitter, quick, few[:1], early, target, silent, behind)
                n_fits += n
                errors = self.context.credited(errors, silent, target)
                if len(errors) < len(early) or mean_log(errors) + cost > bar + _MARGIN:
                    return Judged(Rejection.BEHIND, n_fits)
                starts, first = starts[max(1, n_starts // _QUICK) :], fitter.nonlinear(quick)
        solution = self._fit(fitter, starts, first)
        n_fits += solution.n_fits
        if solution.ok and _broken(fitter, solution, floor):
            # from the free optimum and one start: where the floor is at its bound is what matters, not E
            twin = fitter.holding(tuple(floor))
            few, first = fitter.carried(twin, few[:1], solution)
            fitter, solution = twin, self._fit(twin, few, first)
            n_fits += solution.n_fits
        if not solution.ok:
            return Judged(Rejection.NOT_FINITE_ON_DATA, n_fits)
        miss = y - fitter.predict(solution.values)
        train_nmse = self.context.nmse(miss, target)
        if not self.context.explains(train_nmse, miss, target):
            return Judged(Rejection.EXPLAINS_NOTHING, n_fits)
        constants = constants_by_group(expression, fitter, solution.values)
        if why := self.context.soundness.refusal(expression, constants, target):
            return Judged(why, n_fits)
        problems = self.context.grid.problems(target, self.context.grid.predict(expression, constants))
        stop = None
        if proposal.limits is not None:
            known = Judged(
                OK, 0, train_nmse=train_nmse, problems=problems, effective=self._effective(form), silent=silent
            )
            stop = partial(self._unseen, proposal.limits, known, expression, target)
        errors, n = self._fold_errors(fitter, solution, few, self.folds, target, silent, stop)
        n_fits += n
        if len(errors) < len(self.folds):
            return Judged(Rejection.BEHIND, n_fits)
        if sum(not math.isfinite(e) for e in errors) * 2 > len(errors):
            return Judged(Rejection.NOT_FINITE_ON_FOLDS, n_fits)
        by_group = dict(zip(self.table.groups, constants, strict=True))
        return Judged(OK, n_fits, errors, train_nmse, problems, by_group, silent=silent)

    @staticmethod
    def _fit(fitter: Fitter, starts: Array, first: Array | None) -> Solution:
        return fitter.solve(starts, inherited=first, max_iterations=40, tolerance=SCREENING, refit_bounds=False)

    def _fold_errors(
        self,
        fitter: Fitter,
        solution: Solution,
        starts: Array,
        folds: Sequence[Fold],
        target: int,
        silent: Collection[int] = (),
        stop: Callable[[Sequence[float]], bool] | None = None,
    ) -> tuple[tuple[float, ...], int]:
        """Return the NMSE on the judged rows of each fold, NaN where the fit failed, and the number of fits.

        Folds that are `silent`, by number, are left out: NaN as well. With `stop`, which is asked before each fold with
        the errors so far, there may be fewer.
        """
        y, inherited = self.table.Y[:, target], fitter.nonlinear(solution)
        errors: list[float] = []
        n_fits = 0
        for k, fold in enumerate(folds):
            if stop is not None and stop(errors):
                break
            if k in silent:
                errors.append(math.nan)
                continue
            part = fitter.solve(
                starts, fold.train, inherited=inherited, max_iterations=30, tolerance=SCREENING, refit_bounds=False
            )
            n_fits += part.n_fits
            if part.ok:
                errors.append(self.context.nmse(y - fitter.predict(part.values), target, fold.test))
            else:
                errors.append(math.nan)
        return tuple(errors), n_fits

    def _unseen(
        self, limits: Limits, judged: Judged, expression: Expression, target: int, errors: Sequence[float]
    ) -> bool:
        """Return whether a form will be in no hall whatever its remaining folds say; `judged` has all but errors."""
        if judged.train_nmse < _NEARLY_EXACT or len(limits.least) != len(self.folds):
            return False
        hopeful = replace(judged, fold_errors=(*errors, *limits.least[len(errors) :]))
        hard, slight = judged.checks
        least = self.context.least_score(hopeful, expression, target)
        return limits.exclude(INADMISSIBLE if hard else int(slight), least, expression.complexity)

    def _behind(
        self, limits: Limits | None, bar: float, silent: Collection[int], target: int, errors: Sequence[float]
    ) -> bool:
        """Return whether the mean log error on the early folds will be above a bar whatever the remaining ones say."""
        if limits is None or len(limits.least) != len(self.folds):
            return False
        hopeful = (*errors, *limits.least[len(errors) : EARLY_FOLDS])
        return mean_log(self.context.credited(hopeful, silent, target)) > bar

    @staticmethod
    def _use_hints(form: Form, fitter: Fitter, starts: Array, rng: np.random.Generator) -> None:
        """Start half of the points at the published range of an exponent."""
        for j, c in enumerate(fitter.tape.constants):
            if c in form.hints:
                low, high = form.hints[c]
                starts[::2, j] = rng.uniform(low, high, len(starts[::2]))

    def _inherited(self, form: Form, fitter: Fitter, starts: Array) -> Array:
        """Return the parent's constants as a start; what the parent does not have is drawn."""
        out = np.empty((len(self.table.groups), len(fitter.tape.constants)))
        for g, group in enumerate(self.table.groups):
            known = form.start.get(group, {})
            out[g] = [known.get(c, starts[0, j]) for j, c in enumerate(fitter.tape.constants)]
        return out

    def _settled(self, fitter: Fitter, guess: Array, rng: np.random.Generator) -> tuple[Array, int]:
        """Return where a guess leads when it is followed to the end, and the number of fits.

        Rounded constants lie off a narrow valley: it takes more steps than between parent and child to come back, and
        from some sides of it only.
        A product is also solved in logarithms, as without a guess; each group keeps the better.
        """
        near = guess[:1]
        if len(guess) == 1:  # groups are spread around the guess by themselves
            near = guess * np.exp(rng.normal(size=(len(_NEAR), guess.shape[1])) * np.array(_NEAR)[:, None])
        parts = [
            fitter.solve(near, inherited=first, max_iterations=SETTLE, tolerance=FITTING, refit_bounds=False)
            for first in (guess, log_starts(fitter, 4, rng))
            if first is not None
        ]
        n_fits = sum(part.n_fits for part in parts)
        sums = np.array([part.sums for part in parts])
        if fitter.n_shared:
            sums = np.broadcast_to(sums.sum(axis=1, keepdims=True), sums.shape)
        best = np.argmin(np.where(np.isfinite(sums), sums, np.inf), axis=0)
        reached = np.array([fitter.nonlinear(part) for part in parts])[best, np.arange(len(best))]
        return np.where(np.isfinite(reached), reached, guess), n_fits


def _shortened(form: Form) -> Form:
    """Return the form without redundant constants."""
    if not form.needs_simplify:
        return form
    expression = simplify(form.expression)
    shared = form.shared
    if shared:
        linear = linear_constants(expression)[1]
        shared = tuple(c for c in shared if c in expression.constants and c not in linear)
    return replace(form, expression=expression, shared=shared, needs_simplify=False)


def _broken(fitter: Fitter, solution: Solution, bounds: Mapping[str, tuple[float, float]]) -> bool:
    """Whether a solution has a linear constant below its bound in some group."""
    return any(bool((solution.values[:, fitter.names.index(c)] < low).any()) for c, (low, _) in bounds.items())


def _n_starts(n_nonlinear: int, n_groups: int) -> int:
    if n_nonlinear == 0:
        return 1
    wanted = min(4 + 2 * n_nonlinear, 14)
    return wanted if n_groups <= 4 else max(4, wanted // 2)
