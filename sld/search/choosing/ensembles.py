"""What a law of a search predicts with beside its formula: the finalists' mean, and the rows near a point.

A formula that follows what many laws agree on loses a part of what they know, and all of them together miss at one run
most of what they miss at the next. Both are asked of the folds. Each finalist is fitted to the rows that a fold
fits, and its errors there, carried over to the judged rows (`laws/kriging.py`), are taken off. How far they are
carried is what makes the finalists' errors on the folds smallest, and may be nowhere. Then the finalists are scored
once more, with these errors, and weigh by that score; a quarter of the weight is the law's own formula's. Those that
were ahead at an earlier time of a long search have the same say as those of its end, whose places owe more to luck.

Where the values of a target span orders of magnitude, squared errors are about the largest of them. There each finalist
is fitted by ratios too, with weights $w_i / y_i^2$, and takes part with the fit that has the better score; so does the
plainest law of such values, a product of powers of all variables.

On 138 tables to build on (bench/ensembles.md) the mean R² of held-out rows is 0.72 after 12,000 fits, where the law's
formula alone has 0.61; every kind of table gains. After 60 seconds it is 0.923 beside 0.911 on the 43 old ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.core.arrays import Array, Rows, spread_out
from sld.data.splits import Fold
from sld.data.table import Table
from sld.fit.fitter import SCREENING, Fitter, text_seed
from sld.fit.kernel import evaluate
from sld.formula.canonical import canonical_key
from sld.laws.ensemble import Ensemble, Member
from sld.laws.kriging import MOST, Kriging, correlation, places_of, positions
from sld.laws.law import Law
from sld.search.candidates.candidate import Candidate, Judgement
from sld.search.candidates.selection import FAILED_FOLD, fold_score, is_exact
from sld.search.choosing.consensus import PLAIN, shares, voters
from sld.search.choosing.directions import Directions
from sld.search.choosing.evidence import fitter_of, on_folds, start_of
from sld.search.choosing.finalists import Finalists
from sld.search.judging.context import JudgingContext
from sld.search.judging.judged import constants_by_group

_MEMBERS = 10  # of the best, and as many of those that nobody bred; 25 predict as well, and take longer
# weight of the law's own formula: on tables of training runs any weight is as good after long searches, and everywhere
# else little is better
_OWN = 0.25
_SHARPNESS = 2.0  # a member with twice the error has a quarter of the weight
_WIGGLE = 0.05  # of the range of the target: so far what rows near a point add may go against a declared direction
_SMALLEST = 0.5  # of the smallest measured value: nothing is taken off a positive prediction below that
_FLOOR = 1e-8  # NMSE below which errors are equally small, as on the folds
_BULK, _WIDE = (0.05, 0.95), 3.0  # quantiles of a group's values, and their ratio from where on errors may be ratios
_STARTS = 12  # of the power law
# ranges, in standard deviations of the rows, and nuggets, in sills, that are asked of the folds
_VARIOGRAMS = ((1.0, 0.03), (1.0, 0.3), (3.0, 0.3), (10.0, 0.03), (10.0, 0.3), (10.0, 1.0))

# the judged rows of a group, the rows that a fold fits there, and what turns errors at these into errors at those
_Carried = tuple[Rows, Rows, Array]


@dataclass(frozen=True)
class _Fitted:
    """A member, fitted in one way.

    Attributes:
        candidate: With the constants of this fit.
        by_fold: What it predicts for all rows (n_rows,), fitted to the training rows of each fold; None where it fails.
    """

    candidate: Candidate
    by_fold: tuple[Array | None, ...]


@dataclass(frozen=True)
class Electorate:
    """Who may predict one target beside the law's own formula.

    Attributes:
        finalists: Of the search; None where points are few, and many forms agree on too little.
        early: Those of an earlier time of the search, who owe less to luck on the folds; None where it was short.
        published: The published laws that alone have a say, where the law follows these since nothing found is better.
        directions: What is declared; who does not keep to it has no say.
    """

    finalists: Finalists | None
    early: Finalists | None = None
    published: tuple[Candidate, ...] = ()
    directions: Directions | None = None

    def parts(self, context: JudgingContext, target: int) -> list[tuple[Sequence[Candidate], float]]:
        """Return sets of candidates, the best first, each with its part of the whole."""
        if self.finalists is None:
            return []
        sets: list[tuple[Sequence[Candidate], float]]
        if self.published:
            sets = [(self.published, 1.0)]
        else:
            rounds = [self.finalists]
            if self.early is not None:
                rounds.append(self.early.replaced({c.key: c for c in self.finalists.members}))
            *_, values = voters(context, list({c.key: c for of in rounds for c in of.members}.values()))
            sets = [
                ([c for c in members if c.key in values], part / len(rounds))
                for of in rounds
                for members, part in ((of.best, 1.0 - PLAIN), (of.static, PLAIN))
            ]
        return [([c for c in of if self.directions is None or self.directions.keeps(c, target)], w) for of, w in sets]


def ensemble(
    context: JudgingContext, voting: Electorate, target: int, chosen: Candidate, law: Law, rows: Table
) -> Ensemble | None:
    """Return what predicts one target of a law; None where its formula is exact or nothing can be told.

    Args:
        context: Of the search.
        voting: Who may predict beside the formula.
        target: Number of the target.
        chosen: The form of the law, for this target.
        law: With the constants of the last fit.
        rows: What the law was fitted to, and groups with too few rows to be judged.
    """
    if is_exact(chosen) or (voting.finalists is not None and any(is_exact(c) for c in voting.finalists.members)):
        return None
    with np.errstate(all="ignore"):
        ways = _Ways(context, target)
        parts = _fitted(voting.parts(context, target), ways, None if voting.published else ways.power_law())
        members = {m.candidate.key: m for part, _ in parts for m in part} or {chosen.key: ways.own(chosen)}
        variogram, scores = _carried_best(ways, [*members.values()])
        weight = shares([([m.candidate for m in part], of) for part, of in parts], lambda c: scores[c.key], _SHARPNESS)
        taking = []
        for key in sorted(weight, key=lambda k: (-weight[k], k)):
            ((column, expression),) = members[key].candidate.expressions.items()
            constants = members[key].candidate.constants[column]
            taking.append(Member(expression, constants, float(f"{weight[key]:.6g}")))
        y = rows.Y[:, target]
        found = Ensemble(tuple(taking), _OWN, None, _SMALLEST * float(y.min()) if (y > 0).all() else None)
        told = [] if variogram is None else [replace(found, kriging=_kriging(found, law, target, rows, variogram))]
        told += [found] if taking else []
        # another fit of a member may stray too, so the mean by itself is no safe way out
        aimed = voting.directions
        return next((e for e in told if aimed is None or _strays(e, law, target, aimed) <= _WIGGLE), None)


def _fitted(
    sets: Sequence[tuple[Sequence[Candidate], float]], ways: _Ways, plainest: _Fitted | None
) -> list[tuple[list[_Fitted], float]]:
    """Return the members of each set that take part, each fitted in its better way, and the part of the set.

    The plainest law stands in the last set beside those.
    """
    if not ways.by_ratio:  # no other fit can change the order
        sets = [(of[:_MEMBERS], part) for of, part in sets]
    fitted = {c.key: ways.better(c) for of, _ in sets for c in of}
    found = [({c.key: fitted[c.key] for c in of}, part) for of, part in sets]
    if found and plainest is not None:
        found[-1][0].setdefault(plainest.candidate.key, plainest)
    return [(sorted(of.values(), key=lambda m: m.candidate.score)[:_MEMBERS], part) for of, part in found]


def _strays(found: Ensemble, law: Law, target: int, directions: Directions) -> float:
    """Return how far predictions go against declared directions at most, in ranges of the target."""
    column, groups = law.targets[target], directions.table.groups
    values = np.empty(len(directions.group_index))
    for g, group in enumerate(groups):
        mine = np.flatnonzero(directions.group_index == g)
        columns = {s: np.ascontiguousarray(x[mine]) for s, x in directions.columns.items()}
        own = evaluate(law.expressions[column.column], columns, law.constants[column.column][group])
        values[mine] = found.predict(own, columns, group, column)
    return directions.wrong_way(values, law.expressions[column.column], target)


def _kriging(found: Ensemble, law: Law, target: int, rows: Table, variogram: tuple[float, float]) -> Kriging:
    own, column = law.by_formula(rows)[:, target], law.targets[target].column
    mean = np.full(rows.n_rows, np.nan)
    for g, group in enumerate(rows.groups):
        mine = np.flatnonzero(rows.group_index == g)
        if len(mine) and group in law.constants[column]:
            mean[mine] = found.mean(own[mine], {s: x[mine] for s, x in rows.inputs.items()}, group)
    return Kriging.of(rows, rows.Y[:, target] - mean, places_of(rows), *variogram)


class _Ways:
    """The ways in which members are fitted: as the search does, and by ratios where values span a wide range.

    Attributes:
        by_ratio: Whether they do.
    """

    def __init__(self, context: JudgingContext, target: int) -> None:
        """Look at the values of a target, by its number."""
        self.context, self.target = context, target
        self.y = context.table.Y[:, target]
        self.weights = context.weights[target]
        groups = context.table.group_index
        self.by_ratio = False
        if (self.y > 0).all():
            ends = [np.quantile(self.y[groups == g], _BULK) for g in np.unique(groups)]
            self.by_ratio = float(np.median([high / low for low, high in ends])) >= _WIDE
        self.ratios = np.ones(len(self.y)) if self.weights is None else self.weights.copy()
        if self.by_ratio:
            for g in np.unique(groups):
                self.ratios[groups == g] /= self.y[groups == g] ** 2 * np.mean(self.y[groups == g] ** -2.0)

    def own(self, candidate: Candidate) -> _Fitted:
        """Return a member as the search fitted it."""
        fitter = fitter_of(self.context, self.target, candidate, self.weights)
        return _Fitted(candidate, tuple(on_folds(self.context, fitter, start_of(fitter, candidate))))

    def better(self, candidate: Candidate) -> _Fitted:
        """Return a member fitted in the way that has the better score."""
        own = self.own(candidate)
        if not self.by_ratio:
            return own
        fitter = fitter_of(self.context, self.target, candidate, self.ratios)
        start = start_of(fitter, candidate)
        other = self._fitted(candidate, fitter, start[:1], start)
        return own if other is None or other.candidate.score >= self.score(own, self.errors(own)) else other

    def power_law(self) -> _Fitted | None:
        """Return a product of powers of all variables, fitted by ratios; None where values span no wide range."""
        table = self.context.table
        moving = [v for i, v in enumerate(table.variables) if np.ptp(table.X[:, i]) > 0]
        if not self.by_ratio or any(v.role == "proportion" for v in moving):
            return None
        free = (name for name in map("a{}".format, itertools.count()) if name not in table.symbols)
        scale, *exponents = itertools.islice(free, 1 + len(moving))
        factors = [
            f"{v.symbol}**{a}" if v.log is None else f"exp({a}*{v.symbol})"
            for v, a in zip(moving, exponents, strict=True)
        ]
        expression = table.parse("*".join([scale, *factors]))
        column, key = table.targets[self.target].column, canonical_key(expression)
        judged = Judgement(math.inf, (), math.nan, effective=len(expression.constants))
        candidate = Candidate({column: expression}, key, "enumeration", (judged,))
        fitter = fitter_of(self.context, self.target, candidate, self.ratios)
        starts = fitter.starts(_STARTS, text_seed(self.context.seed, expression.text))
        return self._fitted(candidate, fitter, starts, None)

    def errors(self, member: _Fitted, carried: Sequence[Sequence[_Carried]] | None = None) -> list[float]:
        """Return the error on each fold, NaN where the fit failed, with what is `carried` over on each taken off."""
        found = []
        for k, (fold, predicted) in enumerate(zip(self.context.folds, member.by_fold, strict=True)):
            if predicted is None:
                found.append(math.nan)
                continue
            miss = self.y - predicted
            found.append(
                self.context.nmse(miss if carried is None else _less(miss, carried[k]), self.target, fold.test)
            )
        return found

    def score(self, member: _Fitted, errors: Sequence[float]) -> float:
        """Return the score of a member with errors on the folds, see `fold_score`."""
        context, judged = self.context, member.candidate.judgements[0]
        ((column, expression),) = member.candidate.expressions.items()
        return fold_score(
            errors, context.tested, judged.train_nmse, context.noise[self.target], member.candidate.effective(column),
            expression.complexity, context.n_points, len(judged.reasons),
        )  # fmt: skip

    def _fitted(self, candidate: Candidate, fitter: Fitter, starts: Array, inherited: Array | None) -> _Fitted | None:
        """Return a member as another fitter fits it, judged anew; None where that fails, or a check that it passed."""
        context, target = self.context, self.target
        solution = fitter.solve(starts, inherited=inherited, max_iterations=60, tolerance=SCREENING, refit_bounds=False)
        if not solution.ok:
            return None
        ((column, expression),) = candidate.expressions.items()
        by_group = constants_by_group(expression, fitter, solution.values)
        problems = context.grid.problems(target, context.grid.predict(expression, by_group))
        if any(p.hard for p in problems) or context.soundness.refusal(expression, by_group, target):
            return None
        judged = replace(
            candidate.judgements[0],
            train_nmse=context.nmse(self.y - fitter.predict(solution.values), target),
            reasons=tuple(dict.fromkeys(p.sentence for p in problems)),
        )
        constants: Mapping[str, Mapping[str, float]] = dict(zip(context.table.groups, by_group, strict=True))
        again = replace(candidate, judgements=(judged,), constants={column: constants})
        member = _Fitted(again, tuple(on_folds(context, fitter, fitter.nonlinear(solution))))
        scored = replace(judged, score=self.score(member, self.errors(member)))
        return replace(member, candidate=replace(again, judgements=(scored,)))


def _carried_best(ways: _Ways, members: Sequence[_Fitted]) -> tuple[tuple[float, float] | None, Mapping[str, float]]:
    """Return the range and nugget with which members' errors on the folds are smallest, and their scores with these.

    The range is None where carrying nothing over is best.
    """
    options: list[tuple[tuple[float, float] | None, Sequence[Sequence[_Carried]] | None]] = [(None, None)]
    options += [(v, [_carried(ways.context, fold, *v) for fold in ways.context.folds]) for v in _VARIOGRAMS]
    errors = [[ways.errors(m, carried) for m in members] for _, carried in options]
    top = min(m.candidate.score for m in members)
    weights = np.array([math.exp(max(top - m.candidate.score, -700.0)) for m in members])
    pick = int(np.argmin([float(weights @ _mean_logs(np.array(of))) for of in errors]))
    return options[pick][0], {m.candidate.key: ways.score(m, of) for m, of in zip(members, errors[pick], strict=True)}


def _mean_logs(errors: Array) -> Array:
    """Return the mean logarithm of errors (n_members, n_folds) over the folds."""
    known = np.where(np.isfinite(errors), np.minimum(errors, FAILED_FOLD), FAILED_FOLD)
    return np.asarray(np.log(known + _FLOOR).mean(axis=1))


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
