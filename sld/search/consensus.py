r"""One closed form out of many: what the best laws together predict beyond the data, put into a single formula.

The best of thousands of forms owes part of its score to luck on the folds, and the luck does not come along to the
larger runs. The mean of many good forms is steadier. It is taken over two halves: the best forms of all, most of them
bred on those very folds, and the best of those that were proposed as they stand, which had fewer chances to be lucky.
Within a half a form weighs $e^{-s}$ with $s$ its score, so that a form with twice the error on the folds counts half.

The mean is no formula. So each form is fitted once more, to the rows and to the mean at points beyond them, and the
one that follows both best, at the usual price and with a little credit for known forms, becomes the law. On 43
tables with the largest runs kept aside this raised the mean R² of those runs from 0.86 to 0.90 (bench/LOG.md), though
on the folds the best form by itself always looks better: it was chosen for that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sld.core.fitting import Fitter, text_seed
from sld.core.kernel import Array
from sld.core.table import Table
from sld.search.admissible import HARD_REACH, Grid, values_at
from sld.search.candidate import Candidate
from sld.search.hall_of_fame import HallOfFame
from sld.search.judge import Judge
from sld.search.selection import PRICE_PER_PROBLEM, distinct, is_exact, price, rank

MEMBERS = 25  # of each half
_LEAST_MEMBERS = 3
_PLAIN = 0.5  # weight of the half that nobody bred
_BETWEEN_HALVES = 4.0  # units of score that make one half weigh 1/e of the other
_BINS = 15.0  # per decade of fold error: what is closer on every fold is one form in other words
_POINTS = 300
_SHARE = 1.0  # weight of all points together, beside all rows together
_FORMS = 32  # members that are tried as the one formula
_STARTS = 3
_FOLLOWS, _CLOSE = 2.0, 0.005  # as well as twice the smallest miss, and half a per cent of the target's variance
_UNFAMILIAR = 0.1  # units of log error that a published form may follow less closely than an enumerated one, and so on
_FOUND = 1e-7  # mean NMSE on the folds below which a law is the law, and nothing is left to agree on
_FLOOR = 1e-8


@dataclass(frozen=True)
class Halves:
    """Candidates for one target that take part: the best of all, and the best that nobody bred."""

    best: tuple[Candidate, ...]
    static: tuple[Candidate, ...]

    @staticmethod
    def of(hall: HallOfFame, own: HallOfFame | None = None) -> Halves:
        """Return the finalists of a search: candidates that behave differently, best first.

        Args:
            hall: What was judged.
            own: The same without a guest's proposals and their descendants, which take nobody's place; `hall` itself
                by default.
        """
        own = own or hall
        best = distinct(hall.ranked(), MEMBERS, _BINS)
        if own is not hall:
            best = rank({c.key: c for c in (*distinct(own.ranked(), MEMBERS, _BINS), *best)}.values())
        return Halves(tuple(best), tuple(distinct(own.static(), MEMBERS, _BINS)))

    @property
    def members(self) -> tuple[Candidate, ...]:
        """Every candidate once, best half first."""
        return tuple({c.key: c for c in (*self.best, *self.static)}.values())

    def replaced(self, candidates: Mapping[str, Candidate]) -> Halves:
        """Return the same with newer judgements, by key."""
        return Halves(
            tuple(candidates.get(c.key, c) for c in self.best), tuple(candidates.get(c.key, c) for c in self.static)
        )


@dataclass(frozen=True)
class Consensus:
    """What several laws together predict for one target at points beyond the data.

    Attributes:
        points: The points, with the common prediction as their target.
        members: The laws, the heaviest first.
        weights: (n_members,) their weights, sum 1.
    """

    points: Table
    members: tuple[Candidate, ...]
    weights: Array

    @staticmethod
    def of(judge: Judge, halves: Halves, target: int) -> Consensus | None:
        """Return the consensus of the halves; None when there are too few laws, or one that is exact."""
        if any(is_exact(c) for c in halves.members):
            return None
        admissible = any(c.admissible for c in halves.members)
        columns, group_index = _beyond(judge)
        values: dict[str, Array] = {}
        for c in halves.members:
            if c.admissible == admissible and (found := _values(c, judge, columns, group_index)) is not None:
                values[c.key] = found
        best, static = ([c for c in half if c.key in values] for half in (halves.best, halves.static))
        enough = max(_FOUND, 1.5 * judge.rounding[target])
        if len(values) < _LEAST_MEMBERS or any(float(np.mean(c.fold_errors)) < enough for c in best):
            return None
        weight = dict.fromkeys(values, 0.0)
        top = min(c.score for c in (*best, *static))
        for half, part in ((best, 1.0 - _PLAIN), (static, _PLAIN)):
            if half:
                scores = np.array([c.score for c in half])
                shares = np.exp(scores.min() - scores)
                shares *= part * math.exp((top - scores.min()) / _BETWEEN_HALVES) / shares.sum()
                for c, share in zip(half, shares, strict=True):
                    weight[c.key] += float(share)
        members = sorted((c for c in halves.members if c.key in values), key=lambda c: (-weight[c.key], c.key))
        weights = np.array([weight[c.key] for c in members])
        weights /= weights.sum()
        mean = weights @ np.array([values[c.key] for c in members])
        table = judge.table
        points = Table(
            variables=table.variables,
            targets=(table.targets[target],),
            X=np.column_stack([columns[s] for s in table.symbols]),
            Y=mean[:, None],
            groups=table.groups,
            group_index=group_index,
        )
        return Consensus(points, tuple(members), weights)

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

    def distilled(self, judge: Judge, target: int) -> Candidate | None:
        """Return the member whose formula follows rows and points best, with the constants that do so.

        Its judgement on the folds stays that of the form by itself. None when no member can be fitted to both and
        still passes the physical checks that it passed before.
        """
        table, weights = self.joined(judge.table, target, judge.weights)
        y, n_rows = table.Y[:, 0], judge.table.n_rows
        found: list[tuple[float, float, Candidate]] = []  # miss at the points, cost, the member with its new constants
        for member in self.members[:_FORMS]:
            (column, expression), *_ = member.expressions.items()
            shared = member.shared.get(column, ())
            bounds = judge.soundness.bounds(expression) | judge.soundness.floor(expression, target)
            fitter = Fitter(expression, table, shared=shared, weights=weights, bounds=bounds)
            known = member.constants[column]
            nonlinear = fitter.tape.constants
            start = np.array([[known[g][c] for c in nonlinear] for g in table.groups])
            starts = fitter.starts(_STARTS, text_seed(judge.seed, expression.text))
            solution = fitter.solve(
                starts,
                inherited=start.reshape(len(table.groups), len(nonlinear)),
                max_iterations=60,
                tolerance=1e-6,
            )
            if not solution.ok:
                continue
            squares = (y - fitter.predict(solution.values)) ** 2 / judge.variance[target]
            constants = judge.by_group(expression, fitter, solution.values)
            problems = judge.grid.problems(target, judge.grid.predict(expression, constants))
            if member.admissible and any(p.hard for p in problems):
                continue
            if judge.soundness.refusal(expression, constants, target):
                continue
            cost = math.log(float(np.average(squares, weights=weights)) + _FLOOR)
            cost += price(len(expression.constants), expression.complexity, judge.n_points)
            cost += PRICE_PER_PROBLEM * len(problems) + _UNFAMILIAR * _unfamiliar(member)
            judged = replace(
                member.judgements[0],
                train_nmse=float(squares[:n_rows].mean()),
                reasons=tuple(dict.fromkeys(p.sentence for p in problems)),
                consensus=len(self.members),
            )
            law = replace(
                member,
                train_nmse=judged.train_nmse,
                reasons=judged.reasons,
                judgements=(judged,),
                constants={column: dict(zip(table.groups, constants, strict=True))},
                priors={},  # the points steady the groups
            )
            found.append((float(squares[n_rows:].mean()), cost, law))
        if not found:
            return None
        # a short law that fits the rows is no substitute for one that says what the others say
        limit = _FOLLOWS * min(miss for miss, _, _ in found) + _CLOSE
        return min((f for f in found if f[0] <= limit), key=lambda f: f[1])[2]


def _unfamiliar(candidate: Candidate) -> int:
    """Return 0 for a form that somebody wrote down, 1 for one put together from the usual parts, 2 for a bred one."""
    return 2 if not candidate.static else 1 if candidate.origin.startswith("enumeration") else 0


def _values(
    candidate: Candidate, judge: Judge, columns: Mapping[str, Array], group_index: NDArray[np.intp]
) -> Array | None:
    """Return a law's predictions at the points, or None if some are not finite."""
    (column, expression), *_ = candidate.expressions.items()
    by_group: Sequence[Mapping[str, float]] = [candidate.constants[column][g] for g in judge.table.groups]
    with np.errstate(all="ignore"):
        found = values_at(expression, by_group, columns, group_index)
    return found if np.isfinite(found).all() else None


def _beyond(judge: Judge) -> tuple[Mapping[str, Array], NDArray[np.intp]]:
    """Return points where the law will be used: a little beyond the data, in every group."""
    grid: Grid = judge.grid
    near = np.flatnonzero((grid.reach > 0) & (grid.reach <= HARD_REACH))
    some = near[np.linspace(0, len(near) - 1, min(len(near), _POINTS)).astype(np.intp)]
    return {s: values[some] for s, values in grid.columns.items()}, grid.group_index[some]
