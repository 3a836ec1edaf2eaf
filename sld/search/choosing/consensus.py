r"""One closed form out of many: what the best laws together predict beyond the data, put into a single formula.

The best of thousands of forms owes part of its score to luck on the folds, and the luck does not come along to the
larger runs. The mean of many good forms is steadier. It is taken over two sets: the best forms of all, most of them
bred on those very folds, and the best of those that were proposed as they stand, which had fewer chances to be lucky.
Within a set a form weighs $e^{-s}$ with $s$ its score, so that a form with twice the error on the folds counts half.

Where published laws speak of just the quantities of the table, they are what is known before the search, and they had
no chance to be lucky on it. Then the mean is theirs alone, unless the forms that the search found predict the judged
rows better by more than luck would (`evidence.py`). A longer search finds more forms that fit odd rows, and without
this it ends worse: on isoFLOP curves cut once more the law that follows both sets has an R² of 0.79, the one that
follows the published laws 0.85 (bench/LOG.md).

The mean is no formula. So each form is fitted once more, to the rows and to the mean at points beyond them, and the
one that follows both best, at the usual price and with a little credit for known forms, becomes the law. On 43
tables with the largest runs kept aside this raised the mean R² of those runs from 0.86 to 0.90 (bench/LOG.md), though
on the folds the best form by itself always looks better: it was chosen for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.core.arrays import Array, Rows
from sld.data.table import Table
from sld.fit.fitter import SCREENING
from sld.fit.fitting import Fitter, text_seed
from sld.formula.domain import Limits
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.selection import PRICE_PER_PROBLEM, is_exact, price
from sld.search.choosing.directions import Directions, fit_positive
from sld.search.choosing.evidence import WON, advantage, turn_not_shown
from sld.search.choosing.finalists import Finalists
from sld.search.judging.admissible import HARD_REACH, Grid, values_at
from sld.search.judging.context import JudgingContext
from sld.search.judging.judged import constants_by_group

_LEAST_MEMBERS = 3  # two have no majority
PLAIN = 0.5  # weight of the set that nobody bred
_FAR_BEHIND = 2.0  # units of score: published laws with errors e² times those of the best of them do not take part
_KNOWS_ENOUGH = -2.0  # score: laws that leave an eighth of the variance of unseen rungs know too little of the table
_TRIMMED = 0.05  # of the weight of published laws, at either end
_BETWEEN_SETS = 4.0  # units of score that make one set weigh 1/e of the other
_POINTS = 300  # beyond the data: each member is evaluated and fitted on them
_SHARE = 1.0  # weight of all points together, beside all rows together
_FORMS = 32  # members that are tried as the one formula
_STARTS = 3  # beside the constants that the search found
_FOLLOWS, _CLOSE = 2.0, 0.005  # as well as twice the smallest miss, and half a per cent of the target's variance
_UNFAMILIAR = 0.1  # units of log error that a published form may follow less closely than an enumerated one, and so on
_FOUND = 1e-7  # mean NMSE on the folds below which a law is the law, and nothing is left to agree on
_FLOOR = 1e-8  # mean square over the variance, as on the folds: below it laws are equally good


@dataclass(frozen=True)
class Consensus:
    """What several laws together predict for one target at points beyond the data.

    Attributes:
        points: The points, with the common prediction as their target.
        members: The laws, the heaviest first.
        weights: (n_members,) their weights, sum 1.
        known: Whether they are published laws of just these quantities, since nothing that was found is better.
    """

    points: Table
    members: tuple[Candidate, ...]
    weights: Array
    known: bool = False

    @staticmethod
    def of(context: JudgingContext, finalists: Finalists, target: int) -> Consensus | None:
        """Return the consensus of the finalists; None when there are too few laws, or one that is exact."""
        if any(is_exact(c) for c in finalists.members):
            return None
        columns, group_index, values = voters(context, finalists.members)
        best, static, published = (
            [c for c in part if c.key in values] for part in (finalists.best, finalists.static, finalists.published)
        )
        enough = max(_FOUND, 1.5 * context.rounding[target])
        if len(values) < _LEAST_MEMBERS or any(float(np.mean(c.fold_errors)) < enough for c in best):
            return None
        parts = [(best, 1.0 - PLAIN), (static, PLAIN)]
        published = _knowing(finalists, published)
        known = bool(published) and advantage(context, target, best, published) < WON
        if known:
            parts = [(published, 1.0)]
            values = {c.key: values[c.key] for c in published}
        weight = shares(parts, finalists.in_reading if known else lambda c: c.score)
        members = sorted((c for c in finalists.members if weight.get(c.key)), key=lambda c: (-weight[c.key], c.key))
        weights = np.array([weight[c.key] for c in members])
        weights /= weights.sum()
        each = np.array([values[c.key] for c in members])
        # a law that is read with other quantities than it speaks of can be far out
        mean = _trimmed(each, weights) if known else weights @ each
        table = context.table
        points = Table(
            variables=table.variables,
            targets=(table.targets[target],),
            X=np.column_stack([columns[s] for s in table.symbols]),
            Y=mean[:, None],
            groups=table.groups,
            group_index=group_index,
        )
        return Consensus(points, tuple(members), weights, known)

    def joined(self, table: Table, target: int, weights: Array | None) -> tuple[Table, Array]:
        """Return the rows of `table` and the points as one table of one target, and the weight of each row in fits."""
        rows = np.ones(table.n_rows) if weights is None else weights
        points = np.full(self.points.n_rows, _SHARE * rows.sum() / self.points.n_rows)
        number = np.array([table.groups.index(g) for g in self.points.groups])
        both = replace(
            self.points,
            X=np.vstack([table.X, self.points.X]),
            Y=np.vstack([table.Y[:, [target]], self.points.Y]),
            groups=table.groups,
            group_index=np.concatenate([table.group_index, number[self.points.group_index]]),
        )
        return both, np.concatenate([rows, points])

    def distilled(self, context: JudgingContext, target: int, directions: Directions | None = None) -> Candidate | None:
        """Return the member whose formula follows rows and points best, with the constants that do so.

        Its judgement on the folds stays that of the form by itself. Of the formulas that follow both, one that turns
        around where no rows show it comes last. None when no member can be fitted to both and still passes the physical
        checks that it passed before.

        Args:
            context: Of the search.
            target: Number of the target.
            directions: What is declared; as long as some member keeps to it, no other counts.
        """
        table, weights = self.joined(context.table, target, context.weights[target])
        y, n_rows = table.Y[:, 0], context.table.n_rows
        found: list[_Follower] = []
        for member in self.members[:_FORMS]:
            (column, expression), *_ = member.expressions.items()
            own = len(expression.constants) - len(member.shared.get(column, ()))
            if not context.counting.judged_by_all(own, own * len(table.groups) + len(member.shared.get(column, ()))):
                continue  # some fold says nothing of it, or it needs the pull of the other groups
            bounds = context.soundness.bounds(expression) | context.soundness.floor(expression, target)
            constants = _fitted(context, member, table, weights, bounds)
            if constants is None:
                continue
            straight = True
            if directions is not None and directions.broken(expression, constants, target) is not None:
                shared = member.shared.get(column, ())
                bounded = fit_positive(expression, table, 0, weights, shared, constants, bounds)
                straight = bounded is not None and directions.broken(expression, bounded, target) is None
                constants = bounded if bounded is not None and straight else constants
            by_group = [constants[g] for g in table.groups]
            problems = context.grid.problems(target, context.grid.predict(expression, by_group))
            if member.admissible and any(p.hard or (p.slight and member.within_bounds) for p in problems):
                continue
            if context.soundness.refusal(expression, by_group, target):
                continue
            with np.errstate(all="ignore"):
                squares = (y - values_at(expression, by_group, table.inputs, table.group_index)) ** 2
            squares = squares / context.variance[target]
            cost = math.log(float(np.average(squares, weights=weights)) + _FLOOR)
            cost += price(len(expression.constants), expression.complexity, context.n_points)
            cost += PRICE_PER_PROBLEM * len(problems) + _UNFAMILIAR * _unfamiliar(member)
            judged = replace(
                member.judgements[0],
                train_nmse=float(squares[:n_rows].mean()),
                reasons=tuple(dict.fromkeys(p.sentence for p in problems)),
                within_bounds=not any(p.slight for p in problems),
                consensus=len(self.members),
            )
            law = replace(
                member,
                judgements=(judged,),
                constants={column: constants},
                priors={},  # the points steady the groups
            )
            if math.isfinite(cost):
                found.append(_Follower(float(squares[n_rows:].mean()), cost, straight, law))
        found = [f for f in found if f.straight] or found
        if not found:
            return None
        if any(f.law.within_bounds for f in found):
            found = [f for f in found if f.law.within_bounds]
        # a short law that fits the rows is no substitute for one that says what the others say
        limit = _FOLLOWS * min(f.miss for f in found) + _CLOSE
        close = [f.law for f in sorted(found, key=lambda f: f.cost) if f.miss <= limit]
        return next((law for law in close if not turn_not_shown(context, target, law)), close[0])


def voters(context: JudgingContext, members: Sequence[Candidate]) -> tuple[Mapping[str, Array], Rows, dict[str, Array]]:
    """Return points beyond the data (columns, group of each), and by key what each law that has a say predicts there.

    Where some pass every check the others have none, nor has a law without a finite value at one of the points.
    """
    admissible = any(c.admissible for c in members)
    columns, group_index = _beyond(context)
    values: dict[str, Array] = {}
    for c in members:
        if c.admissible == admissible and (found := _values(c, context, columns, group_index)) is not None:
            values[c.key] = found
    return columns, group_index, values


def shares(
    parts: Sequence[tuple[Sequence[Candidate], float]], score: Callable[[Candidate], float], sharpness: float = 1.0
) -> dict[str, float]:
    """Return the weight of each candidate by key: $e^{-s}$ to the power of `sharpness`, within sets that share too.

    Args:
        parts: Sets of candidates, each with its part of the whole; a set that is worse at its best has less.
        score: What the weights fall with.
        sharpness: How much more than that.
    """
    weight: dict[str, float] = {}
    top = min((score(c) for members, _ in parts for c in members), default=0.0)
    for members, part in parts:
        if members:
            scores = np.array([score(c) for c in members])
            own = np.exp(sharpness * (scores.min() - scores))
            own *= part * math.exp((top - scores.min()) / _BETWEEN_SETS) / own.sum()
            for c, share in zip(members, own, strict=True):
                weight[c.key] = weight.get(c.key, 0.0) + float(share)
    return weight


@dataclass(frozen=True)
class _Follower:
    """A member fitted to rows and points: its miss at the points, its cost, whether it keeps to declared directions."""

    miss: float
    cost: float
    straight: bool
    law: Candidate


def _fitted(
    context: JudgingContext, member: Candidate, table: Table, weights: Array, bounds: Mapping[str, Limits]
) -> Mapping[str, Mapping[str, float]] | None:
    """Return the constants of a member (group to constant to value) fitted to rows and points; None where it fails."""
    (column, expression), *_ = member.expressions.items()
    fitter = Fitter(expression, table, shared=member.shared.get(column, ()), weights=weights, bounds=bounds)
    known, nonlinear = member.constants[column], fitter.tape.constants
    start = np.array([[known[g][c] for c in nonlinear] for g in table.groups])
    solution = fitter.solve(
        fitter.starts(_STARTS, text_seed(context.seed, expression.text)),
        inherited=start.reshape(len(table.groups), len(nonlinear)),
        max_iterations=60,
        tolerance=SCREENING,
    )
    if not solution.ok:
        return None
    return dict(zip(table.groups, constants_by_group(expression, fitter, solution.values), strict=True))


def _knowing(finalists: Finalists, published: Sequence[Candidate]) -> list[Candidate]:
    """Return the published laws that take part where they are what is known; none where even the best know nothing."""
    if not published or min(c.score for c in published) > _KNOWS_ENOUGH:
        return []
    limit = min(finalists.in_reading(c) for c in published) + _FAR_BEHIND
    return [c for c in published if finalists.in_reading(c) <= limit]


def _trimmed(values: Array, weights: Array) -> Array:
    """Return the mean (n_points,) of values (n_members, n_points) without `_TRIMMED` of the weight at either end."""
    order = np.argsort(values, axis=0, kind="stable")
    sorted_weights = weights[order]
    upto = np.cumsum(sorted_weights, axis=0)
    low, high = (np.clip(ends, _TRIMMED, 1.0 - _TRIMMED) for ends in (upto - sorted_weights, upto))
    kept = np.maximum(high - low, 0.0)
    mean: Array = (kept * np.take_along_axis(values, order, axis=0)).sum(axis=0) / kept.sum(axis=0)
    return mean


def _unfamiliar(candidate: Candidate) -> int:
    """Return 0 for a form that somebody wrote down, 1 for one put together from the usual parts, 2 for a bred one."""
    return 2 if not candidate.static else 1 if candidate.origin.startswith("enumeration") else 0


def _values(
    candidate: Candidate, context: JudgingContext, columns: Mapping[str, Array], group_index: Rows
) -> Array | None:
    """Return a law's predictions at the points, or None if some are not finite."""
    (column, expression), *_ = candidate.expressions.items()
    by_group: Sequence[Mapping[str, float]] = [candidate.constants[column][g] for g in context.table.groups]
    with np.errstate(all="ignore"):
        found = values_at(expression, by_group, columns, group_index)
    return found if np.isfinite(found).all() else None


def _beyond(context: JudgingContext) -> tuple[Mapping[str, Array], Rows]:
    """Return points where the law will be used: a little beyond the data, in every group.

    Where runs are planned, up to half of the points are these, or on the last part of the way to them. Not all are:
    planned runs often lie on a line, and what is agreed on a line does not hold a formula beside it.
    """
    grid: Grid = context.grid
    near, planned = np.flatnonzero((grid.reach > 0) & (grid.reach <= HARD_REACH)), np.flatnonzero(grid.planned)
    if len(planned):
        planned = _spread(planned, _POINTS // 2)
        near = np.setdiff1d(near, np.flatnonzero(grid.planned))
    some = np.concatenate([_spread(near, _POINTS - len(planned)), planned])
    return {s: values[some] for s, values in grid.columns.items()}, grid.group_index[some]


def _spread(points: Rows, most: int) -> Rows:
    """Return at most so many of the points, evenly spread."""
    return points[np.linspace(0, len(points) - 1, min(len(points), most)).astype(np.intp)]
