"""What a law that follows others would have followed, had the rows weighed otherwise.

A law may follow, beside the rows, what several laws predict beyond the data (`consensus.py`). These laws know
of the future from the same rows only, so a refit to reweighted rows has to ask them again: every one is refitted with
the same weights, and the points move by as much as their mean does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sld.data.table import Array, Table
from sld.fit.fitter import Fitter
from sld.fit.kernel import evaluate
from sld.laws.fit_settings import FitSettings
from sld.search.candidates.candidate import Candidate
from sld.search.judging.soundness import Soundness
from sld.search.outcome import Guide

MEMBERS = 10  # of the heaviest laws are refitted: the mean of fewer moves more, which widens intervals, never narrows
_STEPS = 20


def settings_in_search(candidate: Candidate, target: int, weights: Sequence[str], soundness: Soundness) -> FitSettings:
    """Return how a search fits the constants of a candidate to one target (number of the table's targets)."""
    column = soundness.table.targets[target].column
    expression, prior = candidate.expressions[column], candidate.priors.get(column)
    # the shapes of groups are pulled together, levels follow their rows
    floor = {} if prior is not None else soundness.floor(expression, target)
    return FitSettings(
        weights=tuple(weights),
        pooling="none" if prior is None else "partial",
        shared=candidate.shared.get(column, ()),
        bounds=soundness.bounds(expression) | floor,
        prior=prior,
    )


class Guided:
    """The points that one law follows, and the laws that say what they are.

    Attributes:
        points: The points, with the common prediction as their target.
    """

    def __init__(self, guide: Guide, table: Table, target: int, settings: FitSettings) -> None:
        """Compile the members; `table` has the rows of the law, `settings` are the law's."""
        self.points = guide.points
        self.rows = np.flatnonzero(np.isin(table.groups, guide.points.groups)[table.group_index])
        some = table.take(self.rows)
        seen = np.concatenate([table.Y[:, target], guide.points.Y[:, 0]])
        self.range = float(np.ptp(seen))
        soundness = Soundness(some)
        self.members = [
            _Member(m, some, target, guide.points, settings_in_search(m, target, settings.weights, soundness))
            for m in guide.members[:MEMBERS]
        ]
        self.shares = np.array(guide.weights[:MEMBERS])

    def moved(self, weights: Array) -> Array:
        """Return the targets (n_points,) where rows weigh (n_rows,) more or less than usual, mean 1.

        NaN where none of the laws could be refitted.
        """
        shifts = np.array([member.shift(weights[self.rows]) for member in self.members])
        sound = np.isfinite(shifts).all(axis=1)
        if not sound.any():
            return np.full(self.points.n_rows, np.nan)
        # a search asks no law that goes far beyond everything seen; how far a refit goes says no more than that it does
        shifts = np.clip(shifts[sound], -self.range, self.range)
        return np.asarray(self.points.Y[:, 0] + self.shares[sound] @ shifts / self.shares[sound].sum())


class _Member:
    """One of the laws, ready to be refitted."""

    def __init__(self, law: Candidate, table: Table, target: int, points: Table, settings: FitSettings) -> None:
        (column, self.expression), *_ = law.expressions.items()
        self.fitter: Fitter = settings.fitter(self.expression, table, target)
        base = settings.row_weights(table, target)
        self.base = np.ones(table.n_rows) if base is None else base
        self.groups = table.groups
        self.points = [
            (rows, {s: np.ascontiguousarray(points.X[rows, i]) for i, s in enumerate(points.symbols)})
            for g in table.groups
            for rows in (np.flatnonzero(points.group_index == points.groups.index(g)),)
        ]
        self.n_points = points.n_rows
        known = law.constants[column]
        start = np.array([[known[g][c] for c in self.fitter.tape.constants] for g in table.groups])
        self.start = start.reshape(len(table.groups), len(self.fitter.tape.constants))
        self.usual = self.predicted(np.ones(table.n_rows), steps=3 * _STEPS)

    def shift(self, weights: Array) -> Array:
        """Return by how much the prediction (n_points,) changes with these weights of the rows; NaN if it cannot."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.predicted(weights) - self.usual)

    def predicted(self, weights: Array, steps: int = _STEPS) -> Array:
        roots = np.sqrt(weights * self.base)[self.fitter.order]
        found = self.fitter.solve(
            self.start[:1], inherited=self.start, max_iterations=steps, weights=roots, refit_bounds=False
        )
        values = np.full(self.n_points, np.nan)
        if not found.ok:
            return values
        for row, (rows, columns) in zip(found.values, self.points, strict=True):
            constants = dict(zip(self.fitter.names, row.tolist(), strict=True))
            values[rows] = evaluate(self.expression, columns, constants)
        return values
