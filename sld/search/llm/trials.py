"""A candidate fitted again in other ways: to some of the rows, or under another loss.

Cheap, since every fit begins where the search left the constants. What a law's owner asks after the search
(`sld.analysis.diagnostics`, `sld.analysis.decisions.sensitivity`) begins from a law with intervals, which costs seconds
and which no candidate has. So nothing of it is asked here: constants, a `Fitter` and how a loss trusts rows
(`FitSettings`) are all that is needed, and both lie below the search.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sld.core.arrays import Array, Rows
from sld.data.axes import position, values_at_position
from sld.data.card import Variable
from sld.data.table import Table
from sld.fit.fitter import Fitter, Prior
from sld.fit.fitting import Loss, worse_sign
from sld.fit.kernel import compile_tape, evaluate, value_and_jacobian
from sld.fit.noise import COLUMN, FRONTIER, OF_SEARCH, row_weights
from sld.laws.fit_settings import FitSettings
from sld.search.candidates.candidate import Candidate
from sld.search.judging.soundness import Soundness

EDGE = 0.35  # of what the scale variables span, beyond the largest run: a typical step of published held-out sets
_STEPS = 60  # of one refit, which begins next to its end
_REWEIGHTINGS = 5  # of a loss that follows the residuals: the constants then move by less than what is printed

_ROUNDING = 1e-10  # of the target's size: residuals below it come from the last digits of floats

Constants = Mapping[str, float]


class Trial:
    """One candidate on one target and for one group, ready to be fitted again.

    Rows are those of the group alone, unless its constants depend on other groups.

    Attributes:
        table: The rows that decide the constants.
        target: Column of the table's targets.
        group: Whose constants are looked at.
        mine: (n_rows,) which rows are the group's.
        fitted: The candidate's constants in the group, fitted again in the way of all other fits here, so that what
            the way itself moves is not laid to what is varied.
        sd: Root mean square of the residuals in the group, in units of the target.
        exact: Whether that is rounding.
        unit: What differences are counted in: `sd`, or the standard deviation of the target where that is rounding.
        n_fits: Local fits so far.
    """

    def __init__(self, candidate: Candidate, table: Table, target: int, group: str) -> None:
        """Compile the form and fit it once more; raises ValueError or OverflowError where it cannot be compiled."""
        self.column = table.targets[target].column
        self.expression = candidate.expressions[self.column]
        self.target, self.group = target, group
        self.shared = tuple(candidate.shared.get(self.column, ()))
        self._prior: Prior | None = candidate.priors.get(self.column)
        self.joint = bool(self.shared) or self._prior is not None
        rows = np.arange(table.n_rows)
        if not self.joint:
            rows = np.flatnonzero(table.group_index == table.groups.index(group))
        # what a row weighs is a matter of the whole table
        self._weights = {
            kinds: None if (found := row_weights(table, target, kinds)) is None else found[rows]
            for kinds in (OF_SEARCH, (FRONTIER, COLUMN))
        }
        self.clusters = table.clusters()[rows]
        sound = Soundness(table)
        self._bounds = sound.bounds(self.expression) | sound.floor(self.expression, target)
        self.table = table.take(rows) if len(rows) < table.n_rows else table
        self.mine = self.table.group_index == self.table.groups.index(group)
        self.y = self.table.Y[:, target]
        self._known = candidate.constants[self.column]
        self._fitters: dict[tuple[Loss, float | None], tuple[Fitter, FitSettings]] = {}
        self.n_fits = 0
        self.fitted: Constants = self._known[group]
        again = self.refitted()
        self.fitted = again or self.fitted
        miss = self.residual()[self.mine]
        self.sd = float(np.sqrt(np.mean(miss**2)))
        self.exact = not self.sd > _ROUNDING * float(np.abs(self.y).max())
        self.unit = (float(np.std(self.y[self.mine])) if self.exact else self.sd) or 1.0

    def losses(self) -> tuple[tuple[str, Loss, float | None], ...]:
        """Return other losses than squares: name, loss and where it turns linear; those of logarithms if y > 0."""
        found: list[tuple[str, Loss, float | None]] = [("Huber's loss", "huber", None)]
        # a prior weighs squares of the target, not of its logarithm
        if bool((self.y > 0).all()) and self._prior is None:
            found += [("squares of logarithms", "log", None), ("Huber's loss of logarithms", "log_huber", None)]
        return tuple(found)

    def refitted(
        self, rows: Rows | None = None, loss: Loss = "squared", delta: float | None = None
    ) -> Constants | None:
        """Return the group's constants fitted to some rows (all if None) under a loss; None where no fit is possible.

        Too few rows for the constants of the group, or a group that is left without any, is no fit.
        """
        own = len(self.expression.constants) - len(self.shared)
        kept = np.arange(self.table.n_rows) if rows is None else rows
        left = np.bincount(self.table.group_index[kept], minlength=len(self.table.groups))
        if left.min() < 1 or (rows is not None and left[self.table.groups.index(self.group)] <= own):
            return None
        fitter, settings = self._fitter(loss, delta)
        values = np.array([[self._start(g)[c] for c in fitter.names] for g in self.table.groups])
        n_nonlinear = len(fitter.tape.constants)
        base = self._base(loss)
        root = worse_sign(self.table, self.target) * np.sqrt(base)
        turn = settings.turning_point((root * self._miss(fitter, values))[kept]) if settings.reweights else 0.0
        found = None
        for _ in range(_REWEIGHTINGS if settings.reweights else 1):
            weights = base
            if settings.reweights:
                trust = settings.trust(root * self._miss(fitter, values), turn)
                weights = base if trust is None else base * trust
            found = fitter.solve(
                values[:1, :n_nonlinear], kept, inherited=values[:, :n_nonlinear], max_iterations=_STEPS,
                weights=np.sqrt(weights)[fitter.order],
            )  # fmt: skip
            self.n_fits += found.n_fits
            if not found.ok:
                return None
            values = np.where(np.isfinite(found.values), found.values, values)
        row = values[self.table.groups.index(self.group)]
        return dict(zip(fitter.names, row.tolist(), strict=True)) if np.isfinite(row).all() else None

    def said(self, constants: Constants, X: Array) -> Array:
        """Return what the group's law says at points (n_points, n_variables): (n_points,)."""
        columns = {s: np.ascontiguousarray(X[:, i]) for i, s in enumerate(self.table.symbols)}
        found: Array = np.broadcast_to(evaluate(self.expression, columns, constants), (len(X),))
        return found

    def residual(self) -> Array:
        """Return measured less fitted (n_rows,), with the group's constants everywhere; NaN where there is no value."""
        return np.asarray(self.y - self.said(self.fitted, self.table.X))

    def influences(self, point: Array) -> Array:
        r"""Return about how much each of the group's rows moves what the law says at a point (n_variables,): (n_rows,).

        To first order: with J the derivatives of the rows by the constants, g those of the point and r the residuals,
        row i moves the answer by $g^\top (J^\top J)^{-1} J_i r_i$. Rows of other groups are 0.
        """
        tape = compile_tape(self.expression, project=False)
        X = np.concatenate([self.table.X[self.mine], point[None]])
        columns = {s: np.ascontiguousarray(X[:, i]) for i, s in enumerate(self.table.symbols)}
        theta = np.array([[self.fitted[c] for c in tape.constants]])
        jacobian = value_and_jacobian(tape, tape.column_values(columns, len(X)), theta)[1][0].T  # (n_rows + 1, n)
        found = np.zeros(self.table.n_rows)
        if np.isfinite(jacobian).all():
            size = np.maximum(np.abs(jacobian[:-1]).max(axis=0), 1e-300)
            moves = np.linalg.pinv(jacobian[:-1] / size, rcond=1e-10).T @ (jacobian[-1] / size)
            found[self.mine] = moves * self.residual()[self.mine]
        return np.nan_to_num(found)

    def _start(self, group: str) -> Constants:
        return self.fitted if group == self.group else self._known[group]

    def _miss(self, fitter: Fitter, values: Array) -> Array:
        prediction = fitter.predict(values)
        return np.asarray(np.log(self.y / prediction) if fitter.log_output else self.y - prediction)

    def _base(self, loss: Loss) -> Array:
        """Return what rows weigh (n_rows,): weights that follow the noise of the target are none of its logarithm."""
        found = self._weights[(FRONTIER, COLUMN) if loss.startswith("log") else OF_SEARCH]
        return np.ones(self.table.n_rows) if found is None else found

    def _fitter(self, loss: Loss, delta: float | None) -> tuple[Fitter, FitSettings]:
        known = self._fitters.get((loss, delta))
        if known is None:
            settings = FitSettings(
                loss=loss, delta=delta, shared=self.shared, bounds=self._bounds, prior=self._prior,
                pooling="none" if self._prior is None else "partial",
            )  # fmt: skip
            fitter = settings.fitter(self.expression, self.table, self.target, weights=self._base(loss))
            known = self._fitters[loss, delta] = fitter, settings
        return known


def edge(table: Table, group: str, symbols: tuple[str, ...]) -> tuple[Array, Array, list[Variable]]:
    """Return the largest run of a group (n_variables,), the same moved a typical step outwards, and in what it moved.

    Args:
        table: The rows.
        group: Whose.
        symbols: Variables of the formulas; those with the role of a scale are moved.
    """
    rows = np.flatnonzero(table.group_index == table.groups.index(group))
    scales = [v for v in table.variables if v.role == "scale" and v.symbol in symbols]
    place = {v.symbol: position(table, v)[0] for v in scales}
    size = np.sum([place[v.symbol][rows] for v in scales], axis=0) if scales else np.zeros(len(rows))
    top = int(rows[int(np.argmax(size))])
    outwards = table.X[top].copy()
    for v in scales:
        z = place[v.symbol][top] + EDGE * float(np.ptp(place[v.symbol][rows]))
        outwards[table.symbols.index(v.symbol)] = values_at_position(table, v, np.array([z]))[0]
    return table.X[top].copy(), outwards, scales


def times(table: Table, point: Array, factors: Mapping[str, float]) -> Array:
    """Return a point (n_variables,) with the quantities of some variables, by symbol, so many times as large."""
    found = point.copy()
    for i, v in enumerate(table.variables):
        if v.symbol in factors:
            by = factors[v.symbol]
            found[i] = found[i] + np.log(by) / v.nats_per_unit if v.log else found[i] * by
    return found
