"""Judging one proposal: fit on all rows, check far beyond them, fit the lower rungs and score the higher ones.

The stages go from cheap to dear, and most proposals fall at an early one: constants within the limit, finite on the
data, a quick fit that explains something, then the folds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.core.canonical import canonical_key, simplify
from sld.core.expression import Expression
from sld.core.fitting import Fitter, Prior, log_starts, text_seed
from sld.core.kernel import Array, linear_constants
from sld.core.splits import Fold
from sld.core.table import Table
from sld.search.admissible import Grid, Problem
from sld.search.candidate import Candidate
from sld.search.forms import Form
from sld.search.selection import fold_score, noise_floor
from sld.search.sharing import best_sharing

_HOPELESS = 1.5  # training NMSE above which a form explains less than the mean does


@dataclass(frozen=True)
class Proposal:
    """One form per target, from one source, with the key that tells families apart."""

    forms: tuple[Form, ...]
    key: str

    @staticmethod
    def of(forms: Sequence[Form]) -> Proposal:
        """Make a proposal; its key joins the canonical keys of the targets, with what groups share."""
        keys = [canonical_key(f.expression) + (f" ~ {','.join(sorted(f.shared))}" if f.shared else "") for f in forms]
        return Proposal(tuple(forms), " | ".join(keys))


@dataclass(frozen=True)
class _Judged:
    """The verdict on one target; `effective` counts constants per group, those that groups share in parts."""

    status: str
    n_fits: int
    fold_errors: tuple[float, ...] = ()
    train_nmse: float = math.nan
    problems: tuple[Problem, ...] = ()
    constants: Mapping[str, Mapping[str, float]] | None = None
    shared: tuple[str, ...] = ()
    prior: Prior | None = None
    effective: float = 0.0


class Judge:
    """Judges proposals on one table; the same proposal always gets the same verdict."""

    def __init__(
        self, table: Table, folds: Sequence[Fold], *, seed: int, max_constants: int, shares: bool = True
    ) -> None:
        """Prepare what all proposals share: the grid, the noise floor, the variances.

        Without `shares` every group has constants of its own unless a form says otherwise.
        """
        self.shares = shares
        self.table = table
        self.folds = tuple(folds)
        self.seed = seed
        self.max_constants = max_constants
        self.grid = Grid.of(table)
        self.noise = [(noise_floor(table, j) or {}).get("nmse", 0.0) for j in range(len(table.targets))]
        self.variance = [max(float(np.var(table.Y[:, j])), 1e-300) for j in range(len(table.targets))]
        self.rows_per_group = int(np.bincount(table.group_index).min())

    def judge(self, proposal: Proposal) -> tuple[Candidate, int]:
        """Return the candidate and the number of local fits it took."""
        with np.errstate(all="ignore"):
            return self._judge(proposal)

    def _judge(self, proposal: Proposal) -> tuple[Candidate, int]:
        proposal = Proposal(tuple(_shortened(f) for f in proposal.forms), proposal.key)
        columns = [t.column for t in self.table.targets]
        expressions = {c: f.expression for c, f in zip(columns, proposal.forms, strict=True)}
        complexity = round(float(np.mean([e.complexity for e in expressions.values()])))
        n_constants = max(len(e.constants) for e in expressions.values())
        candidate = Candidate(
            expressions=expressions,
            key=proposal.key,
            origin=proposal.forms[0].origin,
            complexity=complexity,
            n_constants=n_constants,
        )
        judged: list[_Judged] = []
        for j, form in enumerate(proposal.forms):
            judged.append(self._judge_groups(form, j))
            if judged[-1].status != "ok":
                return _with(candidate, status=judged[-1].status), sum(v.n_fits for v in judged)
        scores = tuple(
            fold_score(v.fold_errors, self.noise[j], v.effective, f.expression.complexity, v.problems)
            for j, (v, f) in enumerate(zip(judged, proposal.forms, strict=True))
        )
        errors = np.array([v.fold_errors for v in judged])
        problems = [p for v in judged for p in v.problems]
        return (
            _with(
                candidate,
                fold_errors=tuple(float(x) for x in errors.mean(axis=0)),
                score=float(np.mean(scores)),
                target_scores=scores,
                train_nmse=float(np.mean([v.train_nmse for v in judged])),
                admissible=not any(p.hard for p in problems),
                reasons=tuple(dict.fromkeys(p.sentence for p in problems)),
                constants={c: v.constants for c, v in zip(columns, judged, strict=True)},
                shared={c: v.shared for c, v in zip(columns, judged, strict=True) if v.shared},
                priors={c: v.prior for c, v in zip(columns, judged, strict=True) if v.prior is not None},
            ),
            sum(v.n_fits for v in judged),
        )

    def _judge_groups(self, form: Form, target: int) -> _Judged:
        """Return the verdict; what groups share is decided here, unless the form says it."""
        verdict = self._judge_target(form, target)
        n_groups, n_shared = len(self.table.groups), len(form.shared)
        effective = len(form.expression.constants) - n_shared + n_shared / n_groups
        verdict = replace(verdict, shared=form.shared, effective=effective)
        decides = self.shares and n_groups > 1 and not form.shared
        return best_sharing(self, form, target, verdict) if decides else verdict

    def _judge_target(self, form: Form, target: int) -> _Judged:
        expression = form.expression
        n_constants = len(expression.constants)
        if n_constants == 0:
            return _Judged("no constants", 0)
        if n_constants > self.max_constants:
            return _Judged("more constants than the task allows", 0)
        if n_constants >= self.rows_per_group:
            return _Judged("as many constants as rows", 0)
        rng = text_seed(self.seed, expression.text)
        try:
            fitter = Fitter(expression, self.table, target, positive=form.positive, shared=form.shared)
        except (OverflowError, ValueError) as error:
            return _Judged(f"not compiled: {error}", 0)
        if not np.isfinite(fitter.columns).any(axis=1).all():
            return _Judged("not finite on the data", 0)
        n_nonlinear = len(fitter.tape.constants)
        starts = fitter.starts(_n_starts(n_nonlinear, len(self.table.groups)), rng)
        self._use_hints(form, fitter, starts, rng)
        first = self._inherited(form, fitter, starts) if form.start else log_starts(fitter, 4, rng)
        solution = fitter.solve(starts, inherited=first, max_iterations=40, tolerance=1e-6, refit_bounds=False)
        n_fits = solution.n_fits
        if not solution.ok:
            return _Judged("not finite on the data", n_fits)
        y = self.table.Y[:, target]
        train_nmse = float(np.mean((y - fitter.predict(solution.values)) ** 2)) / self.variance[target]
        if not train_nmse < _HOPELESS:
            return _Judged("explains nothing", n_fits)
        constants = self._by_group(expression, fitter, solution.values)
        problems = self.grid.problems(target, self.grid.predict(expression, constants))
        inherited = fitter.nonlinear(solution)
        few = starts[: 2 if n_nonlinear > 1 else 1]
        errors = []
        for fold in self.folds:
            part = fitter.solve(
                few, fold.train, inherited=inherited, max_iterations=30, tolerance=1e-6, refit_bounds=False
            )
            n_fits += part.n_fits
            if not part.ok:
                errors.append(math.nan)
                continue
            miss = y[fold.test] - fitter.predict(part.values)[fold.test]
            errors.append(float(np.mean(miss**2)) / self.variance[target])
        if sum(not math.isfinite(e) for e in errors) * 2 > len(errors):
            return _Judged("not finite on most folds", n_fits)
        return _Judged(
            "ok", n_fits, tuple(errors), train_nmse, problems, dict(zip(self.table.groups, constants, strict=True))
        )

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

    @staticmethod
    def _by_group(expression: Expression, fitter: Fitter, values: Array) -> list[dict[str, float]]:
        column = {c: i for i, c in enumerate(fitter.names)}
        return [{c: float(row[column[c]]) for c in expression.constants} for row in values]


def _shortened(form: Form) -> Form:
    """Return the form without redundant constants."""
    if not form.rough:
        return form
    expression = simplify(form.expression)
    linear = linear_constants(expression)[1]
    shared = tuple(c for c in form.shared if c in expression.constants and c not in linear)
    return replace(form, expression=expression, shared=shared, rough=False)


def _n_starts(n_nonlinear: int, n_groups: int) -> int:
    if n_nonlinear == 0:
        return 1
    wanted = min(4 + 2 * n_nonlinear, 14)
    return wanted if n_groups <= 4 else max(4, wanted // 2)


def _with(candidate: Candidate, **changes: object) -> Candidate:
    return Candidate(**{**candidate.__dict__, **changes})
