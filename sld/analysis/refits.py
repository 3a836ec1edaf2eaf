"""Refits of one formula to one target: how far they move, how far they miss, and on what scale that is counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.linearised import standard_errors
from sld.core.arrays import Mask, Rows
from sld.data.table import Array, Table
from sld.fit.fitter import Fitter, form_seed
from sld.fit.fitting import worse_sign
from sld.fit.noise import FRONTIER, NoiseShape, row_weights
from sld.formula.expression import Expression
from sld.laws.calibration import LEVEL
from sld.laws.error_scale import Scale
from sld.laws.fit_settings import FitSettings
from sld.laws.interval_record import LEAST_REFITS, six_digits

if TYPE_CHECKING:
    from sld.fit.fitter import Solution


DEFAULT_WIDENING = 2.5  # without folds to measure it on; the median over published tables
_MAX_WIDENING = 50.0
_PRIOR_ROWS = 10.0  # weight of the pooled noise beside a group's own
_FOLD_REPLICATES = 20
_FOLD_STARTS = 4
_STUCK = 0.1  # refits that move a constant by less than this share of its standard error do not explore
_REWEIGHTINGS = 5  # of a refit with Huber's loss
_REFIT_STEPS, _FOLD_FIT_STEPS = 30, 100
_LEAST_FREE = 0.5  # rows beyond the constants of all groups


class Refits:
    """Refits of one formula to one target, from constants that are known, with the settings of the law."""

    def __init__(
        self,
        expression: Expression,
        table: Table,
        target: int,
        constants: Mapping[str, Mapping[str, float]],
        settings: FitSettings,
        seed: int,
    ) -> None:
        """Compile the form; `constants` are where refits begin."""
        self.settings, self.expression = settings, expression
        self.fitter: Fitter = settings.fitter(expression, table, target)
        self.table = table
        self.y = table.Y[:, target]
        self.clusters = table.clusters()
        self.rng = form_seed(seed, expression)
        n_groups = len(table.groups)
        n_shared = len(self.fitter.shared)
        n_local = len(self.fitter.names) - n_shared
        self.n_constants = n_local + n_shared / n_groups  # per group
        self.values = np.array([[constants[g][c] for c in self.fitter.names] for g in table.groups])
        self.values = self.values.reshape(n_groups, len(self.fitter.names))
        weights = settings.row_weights(table, target)
        self.shape = NoiseShape.of(table, target, self.fitter.predict(self.values))
        self.base = np.ones(table.n_rows) if weights is None else weights
        self.worse = worse_sign(table, target)
        # what is far is a matter of how exact a row is; where a law follows points the frontier has no say in it
        kinds = [kind for kind in settings.weights if kind != FRONTIER or not settings.points]
        exact = row_weights(table, target, kinds)
        self.root = np.ones(table.n_rows) if exact is None else np.sqrt(exact)
        self.delta = settings.turning_point(self.root * self.residual(self.values))

    def residual(self, values: Array) -> Array:
        """Return the residuals (..., n_rows) of constants (..., n_groups, n_names) as the loss has them."""
        prediction = self.fitter.predict(values)
        with np.errstate(all="ignore"):
            return np.log(self.y / prediction) if self.fitter.log_output else self.y - prediction

    def solved(self, starts: Array, begin: Array, weights: Array, rows: Rows | None, steps: int) -> Solution:
        """Return a refit where rows weigh (n_rows,) more or less than the settings say.

        Args:
            starts: (n_starts, n_nonlinear) tried in every group, beside `begin`.
            begin: (n_groups, n_names) constants to begin with.
            weights: Of every row.
            rows: Row numbers, all if not given.
            steps: The most of one fit.
        """
        fitter = self.fitter
        n_nonlinear = len(fitter.tape.constants)
        values, found = begin, None
        kept = np.zeros(self.table.n_rows, dtype=np.bool_)
        kept[slice(None) if rows is None else rows] = True
        for _ in range(_REWEIGHTINGS if self.settings.reweights else 1):
            own = self.base * weights
            if self.settings.reweights:
                residual = np.where(kept, self.residual(values), np.nan)
                trust = self.settings.trust(self.worse * self.root * residual, self.delta)
                own = own if trust is None else own * trust
            roots = np.sqrt(own)[fitter.order]
            found = fitter.solve(starts, rows, inherited=values[:, :n_nonlinear], max_iterations=steps, weights=roots)
            if not found.ok:
                break
            values = np.where(np.isfinite(found.values), found.values, values)
        assert found is not None
        return found

    def measure(self, folds: Sequence[tuple[Rows, Rows]], level: float, n_replicates: int) -> dict[str, Any]:
        """Return what law.json holds of one target, but for its runners-up.

        Args:
            folds: Rows to refit on and rows to judge on, by which the spread of a form that was given is stretched;
                none for one that a search chose, whose rivals tell more than folds that it was chosen by.
            level: Share of the judged rows that the stretched spread shall cover.
            n_replicates: Refits to reweighted rows.
        """
        everything = np.arange(self.table.n_rows)
        fitted = self.fitter.predict(self.values)
        scale = Scale.of(self.y, fitted, self.shape is not None)
        noise = self.noise(everything, fitted, scale)
        if self.table.n_rows - self.n_constants * len(self.table.groups) < _LEAST_FREE:
            noise = np.full(len(noise), math.inf)  # as many constants as rows: what is left over says nothing
        replicates = self.replicates(everything, self.values, n_replicates)
        known = [e for e in (self.judged(train, test, scale, n_replicates) for train, test in folds) if e is not None]
        groups = self.table.groups
        names = self.fitter.names
        # a constant that equals another one moves with it; one that is pinned has no refits
        free = {c: self.settings.tied.get(c, c) for c in self.expression.constants if c not in self.settings.pinned}
        return {
            "scale": "log" if scale.log else "linear",
            "widening": widening(known, level) if known else DEFAULT_WIDENING,
            "judged_rows": sum(len(e.error) for e in known),
            "spans": {group: self.spanned(g) for g, group in enumerate(groups)},
            "noise": {group: six_digits(noise[g]) for g, group in enumerate(groups)},
            **({} if self.shape is None else {"noise_shape": self.shape.to_json()}),
            "rows": {group: int(n) for group, n in zip(groups, np.bincount(self.table.group_index), strict=True)},
            "free": {group: round(float(f), 6) for group, f in zip(groups, self.free(everything), strict=True)},
            "open": self.left_open(replicates) if noise.max() > 0 else {},
            # one line of text each: 42 groups with 40 replicates would fill thousands of lines of law.json
            "constants": {
                group: {
                    c: " ".join(f"{r[g, names.index(leader)]:.12g}" for r in replicates) for c, leader in free.items()
                }
                for g, group in enumerate(groups)
            },
        }

    def replicates(self, rows: Rows, values: Array, n: int) -> Array:
        """Return constants (n, n_groups, n_names) of refits to `rows` with random weights; NaN where one failed.

        A law that follows others is on its own here: what refits of these others would say hardly moves, and intervals
        made of it held too little.
        """
        index = self.table.group_index
        n_groups = len(self.table.groups)
        # a group may be better off where the first one is; one alone begins there anyway, unless nothing is searched
        n_nonlinear = len(self.fitter.tape.constants)
        start = values[: int(n_groups > 1 or not n_nonlinear), :n_nonlinear]
        kept = np.zeros(self.table.n_rows, dtype=np.bool_)
        kept[rows] = True
        counts = np.bincount(index[kept], minlength=n_groups)
        weights = self.rng.standard_exponential((n, int(self.clusters.max()) + 1))[:, self.clusters]
        place = (np.arange(n)[:, None] * n_groups + index).ravel()
        total = np.bincount(place, weights=np.where(kept, weights, 0.0).ravel(), minlength=n * n_groups)
        total = total.reshape(n, n_groups)
        weights = weights * (np.maximum(counts, 1) / np.where(total > 0, total, 1.0))[:, index]
        if not self.fitter.shared and counts.all() and n:
            return self.solved_together(start, values, weights, kept)
        found = []
        for own in weights:
            solution = self.solved(start, values, own, rows, _REFIT_STEPS)
            found.append(np.where(np.isfinite(solution.sums)[:, None], solution.values, np.nan))
        return np.array(found)

    def solved_together(self, start: Array, begin: Array, weights: Array, kept: Mask) -> Array:
        """Return constants (n, n_groups, n_names) of refits to the rows kept, as `solved` finds them one by one.

        Args:
            start: (1, n_nonlinear) tried in every group, beside `begin`.
            begin: (n_groups, n_names) constants to begin with.
            weights: (n, n_rows) of every row in each refit.
            kept: (n_rows,) which rows are fitted.
        """
        n, shape = len(weights), begin.shape
        many = self.fitter.copies(n, kept)
        order = self.fitter.order[kept[self.fitter.order]]
        values = np.tile(begin, (n, 1, 1))
        found, going = np.full(values.shape, math.nan), np.ones(n, dtype=np.bool_)
        for _ in range(_REWEIGHTINGS if self.settings.reweights else 1):
            own = self.base * weights
            if self.settings.reweights:
                trust = self.settings.trust(self.worse * self.root * self.residual(values), self.delta)
                own = own if trust is None else own * trust
            solution = many.solve(
                start, inherited=values[:, :, : start.shape[1]].reshape(n * shape[0], start.shape[1]),
                max_iterations=_REFIT_STEPS, weights=np.sqrt(own[:, order].ravel()),
            )  # fmt: skip
            sound = np.isfinite(solution.sums).reshape(n, shape[0])
            new = np.where(sound[:, :, None], solution.values.reshape(values.shape), math.nan)
            # a refit that fails stays as it failed
            found = np.where(going[:, None, None], new, found)
            going &= sound.all(axis=1)
            values = np.where(np.isfinite(new), new, values)
        return found

    def refitted(self, train: Rows) -> Array | None:
        """Return constants (n_groups, n_names) fitted to `train`, or None."""
        # fresh starts as well: the constants of all rows have seen the judged ones
        starts = self.fitter.starts(_FOLD_STARTS, self.rng)
        solution = self.solved(starts, self.values, np.ones(self.table.n_rows), train, _FOLD_FIT_STEPS)
        return solution.values if solution.ok else None

    def left_open(self, replicates: Array) -> dict[str, list[str]]:
        """Return group to the constants that refits hardly move, though the rows leave them open by far more."""
        constants = {
            g: dict(zip(self.fitter.names, row, strict=True))
            for g, row in zip(self.table.groups, self.values.tolist(), strict=True)
        }
        table, weights, residual, clusters = self.table, self.base, self.residual(self.values), self.clusters
        trust = self.settings.trust(residual, self.delta)
        weights = weights if trust is None else weights * trust
        own = self.settings.free
        errors = standard_errors(self.fitter.expression, own, table, weights, residual, clusters, constants)
        if errors is None:
            return {}
        with np.errstate(invalid="ignore"):
            moved = np.abs(replicates - self.values)  # (n_replicates, n_groups, n_names)
        found: dict[str, list[str]] = {}
        for g, group in enumerate(self.table.groups):
            for k, name in enumerate(self.fitter.names):
                known = moved[np.isfinite(moved[:, g, k]), g, k]
                if len(known) >= LEAST_REFITS and np.quantile(known, 0.6827) < _STUCK * errors[group][name]:
                    alike = (c for c, leader in self.settings.tied.items() if leader == name)
                    found.setdefault(group, []).extend((name, *alike))
        return found

    def spanned(self, group: int) -> dict[str, Any]:
        """Return what the rows of a group span, in each variable and in the target, as law.json has it."""
        rows = self.table.group_index == group
        X, y = self.table.X[rows], self.y[rows]
        return {
            "variables": {
                v.symbol: [float(f"{x:.12g}") for x in (X[:, i].min(), X[:, i].max())]
                for i, v in enumerate(self.table.variables)
            },
            "target": [float(f"{x:.12g}") for x in (y.min(), y.max())],
        }

    def judged(self, train: Rows, test: Rows, scale: Scale, n_replicates: int) -> Judged | None:
        """Return the errors on the judged rows of a fold, and what a fit to the others knows about them."""
        values = self.refitted(train) if len(train) and len(test) else None
        if values is None:
            return None
        replicates = self.replicates(train, values, min(n_replicates, _FOLD_REPLICATES))
        prediction, *moved = self.fitter.predict(np.concatenate([values[None], replicates]))
        index = self.table.group_index[test]
        inflation = np.sqrt(np.bincount(self.table.group_index[train], minlength=len(values)) / self.free(train))
        noise = self.noise(train, prediction, scale)[index] * self.relative(prediction, scale)[test]
        spread = np.hypot(inflation[index] * scale.spread(prediction[test], np.array(moved)[:, test]), LEVEL * noise)
        error = np.abs(scale.to(self.y[test]) - scale.to(prediction[test]))
        return Judged(np.where(np.isnan(error), math.inf, error), noise, spread)

    def noise(self, rows: Rows, prediction: Array, scale: Scale) -> Array:
        """Return the standard deviation of the residuals per group, pulled towards that of all groups."""
        residual = (scale.to(self.y[rows]) - scale.to(prediction[rows])) / self.relative(prediction, scale)[rows]
        index = self.table.group_index[rows]
        n_groups = len(self.table.groups)
        squares = np.bincount(index, weights=np.where(np.isfinite(residual), residual, 0.0) ** 2, minlength=n_groups)
        free = np.maximum(np.bincount(index, minlength=n_groups) - self.n_constants, 0.0)
        pooled = squares.sum() / max(free.sum(), 1.0)
        own = np.where(free > 0, squares, 0.0)
        return np.asarray(np.sqrt((own + _PRIOR_ROWS * pooled) / (free + _PRIOR_ROWS)))

    def relative(self, prediction: Array, scale: Scale) -> Array:
        """Return how noisy each row (n_rows,) is; the noise of a group is in this unit."""
        return np.ones(self.table.n_rows) if self.shape is None else self.shape.at(self.table, prediction, scale.log)

    def free(self, rows: Rows) -> Array:
        """Return each group's rows less its constants, at least 1."""
        count = np.bincount(self.table.group_index[rows], minlength=len(self.table.groups))
        return np.asarray(np.maximum(count - self.n_constants, 1.0))


@dataclass(frozen=True)
class Judged:
    """Errors on the judged rows of one fold, with noise and spread (n_judged,) as the rows trained on give them."""

    error: Array
    noise: Array
    spread: Array


def widening(judged: Sequence[Judged], level: float) -> float:
    """Return the factor on the spread with which `level` of the judged rows are covered; every fold weighs the same."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    with np.errstate(all="ignore"):
        needed = [np.sqrt(np.maximum((e.error / z) ** 2 - e.noise**2, 0.0)) / e.spread for e in judged]
    # 0/0: exact data; inf/inf: infinitely wide already
    factors = np.nan_to_num(np.concatenate(needed), nan=1.0, posinf=_MAX_WIDENING)
    weights = np.concatenate([np.full(len(e.error), 1.0 / len(e.error)) for e in judged])
    order = np.argsort(factors, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    at = min(int(np.searchsorted(reached, level)), len(factors) - 1)
    return float(f"{min(max(float(factors[order][at]), 1.0), _MAX_WIDENING):.6g}")
