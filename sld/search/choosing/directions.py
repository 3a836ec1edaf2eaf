"""Declared directions: a law runs the declared way wherever its predictions may be supported.

While a search runs, a law that goes the wrong way by less than a twentieth of the target's range may stay (see
`admissible.py`): it may still be right about what happens next, and its voice in the consensus is worth having. The law
that is handed out may not. It is walked along each declared variable by itself, from the lowest rung to as far beyond
the data as a verdict can support (the longest step that a fold has tested, see `reach.py`), past rows of every group:
as they are, and with the other scale variables at the largest runs and as far beyond them.

A formula with a hyperparameter is no such matter: where the best learning rate moves with scale, the larger of two runs
at the same rate may well be the worse one, and so it says.

Rows may go against what was declared. A formula still may not; what is taken off its errors at rows near a point may.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.core.arrays import Array, Mask, Rows
from sld.core.numbers import short
from sld.data.axes import position, values_at_position
from sld.data.contradictions import Contradiction, contradictions, sentence_of
from sld.data.splits import Fold
from sld.data.table import Table
from sld.fit.fitter import FITTING
from sld.fit.fitting import Fitter
from sld.formula.domain import Limits
from sld.formula.expression import Expression
from sld.search.candidates.candidate import Candidate
from sld.search.choosing.reach import steps_tested
from sld.search.judging.admissible import ordered_pairs, values_at

_STEPS = 24  # of a walk: a turn that falls between two of them is smaller than the slack
_ROWS = 40  # from which the walks of a variable start, all groups together; at least one of each group
_SLACK = 1e-3  # of what the law changes along the walk
_ROUNDING = 1e-9  # of the target's range
_STARTS = 6  # beside the constants known already


@dataclass(frozen=True)
class Directions:
    """Walks along the declared variables of a table; consecutive points belong to one walk.

    Attributes:
        table: The table.
        columns: Symbol to values (n_walks * steps,).
        group_index: (n_walks * steps,) group of each point.
        variable: (n_walks,) index of the variable that grows.
        contradicted: What the rows themselves go against.
    """

    table: Table
    columns: Mapping[str, Array]
    group_index: Rows
    variable: Rows
    contradicted: tuple[Contradiction, ...] = ()

    @staticmethod
    def of(table: Table, folds: Sequence[Fold], rows: Table | None = None) -> Directions | None:
        """Return the walks of a table; None where no direction is declared, or none can be walked.

        A share cannot grow alone; whatever is no scale is walked within the data.

        Args:
            table: The rows.
            folds: What was judged on them: no verdict supports a longer step than theirs.
            rows: All rows, where these are a part of them.
        """
        declared = [i for i, v in enumerate(table.variables) if v.monotone and v.role != "proportion"]
        if not declared or not table.n_rows:
            return None
        scales = [i for i, v in enumerate(table.variables) if v.role == "scale"]
        z = {i: position(table, table.variables[i])[0] for i in {*declared, *scales}}
        tested = {i: steps_tested(table, folds, table.variables[i]) for i in scales}
        parts: list[Array] = []
        groups: list[int] = []
        variable: list[int] = []
        for row in _rows(table, scales or declared, z):
            group = int(table.group_index[row])
            mine = table.group_index == group
            for i in declared:
                low, high = float(z[i][mine].min()), float(z[i][mine].max())
                high += float(tested[i][group]) if i in scales else 0.0
                if not high > low:
                    continue
                others = [k for k in scales if k != i]
                tops = {k: float(z[k][mine].max()) for k in others}
                beyond = {k: top + float(tested[k][group]) for k, top in tops.items()}
                for moved in ({}, tops, beyond) if others else ({},):
                    points = np.tile(table.X[row], (_STEPS, 1))
                    points[:, i] = values_at_position(table, table.variables[i], np.linspace(low, high, _STEPS))
                    for k, at in moved.items():
                        points[:, k] = values_at_position(table, table.variables[k], np.full(_STEPS, at))
                    parts.append(points)
                    groups.append(group)
                    variable.append(i)
        if not parts:
            return None
        X = np.concatenate(parts)
        for i, k in ordered_pairs(table):
            X[:, i] = np.minimum(X[:, i], X[:, k])
        return Directions(
            table,
            {s: np.ascontiguousarray(X[:, k]) for k, s in enumerate(table.symbols)},
            np.repeat(np.array(groups, dtype=np.intp), _STEPS),
            np.array(variable, dtype=np.intp),
            contradictions(table if rows is None else rows),
        )

    def broken(
        self, expression: Expression, constants: Mapping[str, Mapping[str, float]], target: int = 0
    ) -> str | None:
        """Return where a law goes the wrong way, as a sentence without a full stop; None where it keeps its directions.

        Args:
            expression: The formula.
            constants: Group to constant to value.
            target: Number of the target, for the size of its range.
        """
        by_group = [constants[g] for g in self.table.groups]
        with np.errstate(all="ignore"):
            ahead, fallen = self._fallen(values_at(expression, by_group, self.columns, self.group_index))
            spread = float(np.ptp(self.table.Y[:, target])) or 1.0
            allowed = _SLACK * (ahead.max(axis=1, keepdims=True) - ahead.min(axis=1, keepdims=True))
            wrong = np.flatnonzero((fallen > allowed + _ROUNDING * spread) & self._matters(expression)[:, None])
        if not len(wrong):
            return None
        first = int(wrong[0])
        moving = self.table.variables[self.variable[first // _STEPS]]
        where = ", ".join(f"{s} = {short(v[first])}" for s, v in self.columns.items())
        return f"not {moving.monotone} in {moving.symbol} at {where}"

    def wrong_way(self, values: Array, expression: Expression, target: int) -> float:
        """Return how far values go the wrong way at most, in ranges of the target, where the rows do not go so too.

        Args:
            values: At the points of the walks, (n_points,).
            expression: Of the law that they belong to.
            target: Number of the target.
        """
        spread = float(np.ptp(self.table.Y[:, target])) or 1.0
        with np.errstate(all="ignore"):
            _, fallen = self._fallen(values)
        column = self.table.targets[target].column
        measured = {(c.variable.symbol, c.group) for c in self.contradicted if c.target.column == column}
        walks = zip(self.variable.tolist(), self.group_index[::_STEPS].tolist(), strict=True)
        asked = [(self.table.variables[i].symbol, self.table.groups[g]) not in measured for i, g in walks]
        return float(np.max(fallen[self._matters(expression) & np.array(asked)], initial=0.0)) / spread

    def remarks(self, expressions: Mapping[str, Expression], following: Collection[str]) -> list[str]:
        """Say where rows go against what a law is held to.

        Args:
            expressions: Target to formula.
            following: Targets whose predictions take off what is missed at rows near a point.
        """
        found = []
        columns = [t.column for t in self.table.targets]
        for variable, column in dict.fromkeys((c.variable, c.target.column) for c in self.contradicted):
            walks = self.variable == self.table.variables.index(variable)
            if column not in columns or not (self._matters(expressions[column]) & walks).any():
                continue
            same = [c for c in self.contradicted if (c.variable, c.target.column) == (variable, column)]
            then = "; predictions near such rows may go their way" if column in following else ""
            found.append(sentence_of(same, len(self.table.groups) > 1) + then)
        return found

    def _fallen(self, values: Array) -> tuple[Array, Array]:
        """Return values (n_walks, n_steps) turned so that they should rise, and how far each is below one before it."""
        walks = values.reshape(-1, _STEPS)
        finite = np.asarray(np.isfinite(walks).all(axis=1))
        signs = np.array([1.0 if v.monotone == "increasing" else -1.0 for v in self.table.variables])
        ahead = np.where(finite[:, None], signs[self.variable][:, None] * walks, 0.0)
        return ahead, np.maximum.accumulate(ahead, axis=1) - ahead

    def _matters(self, expression: Expression) -> Mask:
        """Return (n_walks,) whether a walk says something about this formula."""
        role = np.array([v.role for v in self.table.variables])[self.variable]
        tuned = any(v.role == "hyperparameter" and v.symbol in expression.used_variables for v in self.table.variables)
        return np.asarray((role != "scale") | (not tuned))

    def keeps(self, candidate: Candidate, target: int) -> bool:
        """Return whether a candidate of one target keeps all directions."""
        (column, expression), *_ = candidate.expressions.items()
        return self.broken(expression, candidate.constants[column], target) is None

    def straightened(
        self, candidate: Candidate, target: int, weights: Array | None, bounds: Mapping[str, Limits]
    ) -> Candidate | None:
        """Return a candidate of one target with constants that keep all directions; None where that is not so simple.

        Sums of powers and exponentials run one way where all constants are positive, and that is a bound on a fit. The
        judgement on the folds stays that of the form without the bound.

        Args:
            candidate: The candidate.
            target: Its number.
            weights: Of the table's rows.
            bounds: Of its constants, besides.
        """
        if self.keeps(candidate, target):
            return candidate
        (column, expression), *_ = candidate.expressions.items()
        known, shared = candidate.constants[column], candidate.shared.get(column, ())
        found = fit_positive(expression, self.table, target, weights, shared, known, bounds)
        if found is None or self.broken(expression, found, target) is not None:
            return None
        return replace(candidate, constants={column: found}, priors={})


def fit_positive(
    expression: Expression,
    rows: Table,
    target: int,
    weights: Array | None,
    shared: Sequence[str],
    constants: Mapping[str, Mapping[str, float]],
    bounds: Mapping[str, Limits],
) -> Mapping[str, Mapping[str, float]] | None:
    """Return the constants (by group) of a fit in which all of them are positive; None if it fails."""
    fitter = Fitter(
        expression, rows, target, shared=tuple(shared), positive=expression.constants, bounds=bounds, weights=weights
    )
    start = np.array([[abs(constants[g][c]) for c in fitter.tape.constants] for g in rows.groups])
    start = start.reshape(len(rows.groups), len(fitter.tape.constants))
    starts = fitter.starts(_STARTS, np.random.default_rng(0))
    with np.errstate(all="ignore"):
        solution = fitter.solve(starts, inherited=start, max_iterations=100, tolerance=FITTING)
        if not solution.ok or not np.isfinite(fitter.predict(solution.values)).all():
            return None
    column = {c: k for k, c in enumerate(fitter.names)}
    return {
        g: {c: float(row[column[c]]) for c in expression.constants}
        for g, row in zip(rows.groups, solution.values, strict=True)
    }


def _rows(table: Table, axes: Sequence[int], z: Mapping[int, Array]) -> list[int]:
    """Return rows spread over the order of size within each group, the largest of each always."""
    size = sum((z[i] for i in axes), np.zeros(table.n_rows))
    per_group = max(1, _ROWS // len(table.groups))
    chosen: list[int] = []
    for g in range(len(table.groups)):
        mine = np.flatnonzero(table.group_index == g)
        order = mine[np.argsort(size[mine], kind="stable")]
        take = np.unique(np.linspace(len(order) - 1, 0, min(per_group, len(order))).astype(int))
        chosen.extend(int(order[t]) for t in take)
    return chosen
