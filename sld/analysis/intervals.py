r"""Intervals for the constants of a law and for its predictions, honest about extrapolation.

Four things make a prediction uncertain, and each is measured on the training rows:

* *noise* $\sigma$: the residuals of the fit, per group, pulled towards the mean of all groups when rows are few; where
  repeats or standard errors show that noise changes, times how noisy a run at $x$ is (`noise.py`);
* *spread*: how far refits move at $x$ when the points (or runs) of each group are reweighted at random (Rubin 1981, the
  Bayesian bootstrap: every point keeps some weight, so that small groups stay fittable). A refit does what the fit did:
  the law's settings say which loss, weights, bounds and sharing, and a law that follows others has them refitted too;
* *choice*: a search that tries a thousand forms takes one of several that are nearly as good; where the runners-up
  predict something else at $x$, nobody knows better;
* *misfit*: the formula is not the truth, and far from the data that matters most. No resampling shows it, so it is
  measured: the law is refitted on the lower rungs of every fold, and spread and choice are widened by the factor
  $\kappa$ with which the stated share of the judged rows would have been covered.

The interval for a new run at $x$ is $\hat y \pm z \sqrt{\sigma^2 + \kappa^2 s(x)^2}$ with $s$ made of spread, choice
and a quarter of $\sigma$, on the log scale where the residuals are more even there. Measured on 43 tables whose largest
runs were kept aside, intervals with level 0.9 around the law that a search chose held 93 % of those runs; without the
runners-up 81 %. Around a form that was given, not searched for, they held 91 %; without the folds 75 %.

What cannot be measured is not made up: with no more rows than constants, or where refits do not move, nothing is known
of the spread, and the interval ends where the target's declared bounds are, or nowhere. Where a search says that there
is no law at all, an interval is at least as wide as the rows of its group.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sld.analysis.guided import Guided, settings_in_search
from sld.analysis.linearised import standard_errors
from sld.core.card import parse_for
from sld.core.errors import DataError, GrammarError, SldError, UsageError
from sld.core.expression import Expression
from sld.core.fit_settings import FitSettings
from sld.core.fitter import Fitter, form_seed
from sld.core.fitting import worse_sign
from sld.core.kernel import evaluate
from sld.core.law import Constants, Law
from sld.core.noise import FRONTIER, NoiseShape, row_weights
from sld.core.splits import Fold, rung_folds
from sld.core.table import ALL_ROWS, Array, Table, read_points
from sld.search.soundness import Soundness

if TYPE_CHECKING:
    from sld.core.fitter import Solution
    from sld.search.candidate import Candidate, Discovery, Guide

Interval = tuple[float, float]
Rows = NDArray[np.intp]

DEFAULT_WIDENING = 2.5  # without folds to measure it on; the median over published tables
_MAX_WIDENING = 50.0
_LEAST_SPREAD = 0.25  # of the noise: a law of few constants on many rows hardly moves, yet misfits
_PRIOR_ROWS = 10.0  # weight of the pooled noise beside a group's own
_MAX_ROWS = 3000  # more are thinned out, which makes the spread wider, never narrower
_FOLD_REPLICATES = 20
_FOLD_STARTS = 4
_RIVALS = 5
_CHUNK = 65536  # points predicted at once
_LEAST_REFITS = 5  # that succeeded; fewer say nothing
_STILL = 1e-9  # relative: a refit that moves a constant by less has not moved it
_EXACT = 1e-7  # of the range: smaller residuals are rounding errors of an exact law, whose refits need not move
_STUCK = 0.1  # refits that move a constant by less than this share of its standard error do not explore
_REWEIGHTINGS = 5  # of a refit with Huber's loss
_REFIT_STEPS, _FOLD_FIT_STEPS = 30, 100
_LEAST_FREE = 0.5  # rows beyond the constants of all groups

UNMOVED = "refits do not move it"
FAILED = "refits fail"
PINNED = "held at this value"
AT_BOUND = "held by its bound"
OPEN = "the rows do not determine it"


@dataclass(frozen=True)
class Rival:
    """A form that was nearly chosen: target column to formula, to constants by group, to how they were fitted."""

    expressions: Mapping[str, Expression]
    constants: Constants
    settings: Mapping[str, FitSettings] = field(default_factory=dict)


def with_intervals(found: Discovery) -> Discovery:
    """Return a discovery whose laws, the chosen one and the best form by itself, carry their intervals.

    Where they cannot be measured a note says why, and the law is not lost.
    """
    single = found.single
    try:
        law = add_intervals(found)
        if single is not None and found.best is not None:
            single = replace(single, intervals=_measured(found, single, found.best, {}))
    except SldError as error:
        return replace(found, notes=(*found.notes, f"there are no intervals: {error}"))
    return replace(found, law=law, single=single)


def add_intervals(found: Discovery, *, level: float = 0.9) -> Law:
    """Return the law of a discovery with its intervals."""
    return replace(found.law, intervals=_measured(found, found.law, found.chosen, found.guides, level))


def _measured(
    found: Discovery, law: Law, chosen: Candidate, guides: Mapping[str, Guide], level: float = 0.9
) -> dict[str, Any]:
    """Return the intervals of one of the laws of a discovery; groups that borrow get those of another."""
    rows = thinned(found.table, 0)
    table = found.table if len(rows) == found.table.n_rows else found.table.take(rows)
    seed = int(found.config.get("seed", 0))
    others = (c for c in found.hall_of_fame if c.key != chosen.key and c.admissible == chosen.admissible)
    soundness = Soundness(table)
    judged = replace(law, constants={t: {g: by[g] for g in table.groups} for t, by in law.constants.items()})
    rivals = [
        Rival(
            c.expressions,
            c.constants,
            {
                t.column: settings_in_search(c, j, law.settings[t.column].weights, soundness)
                for j, t in enumerate(table.targets)
            },
        )
        for c in others
        if all(set(judged.groups) <= set(by_group) for by_group in c.constants.values())
    ]
    measured = compute(judged, table, rung_folds(table), level=level, seed=seed, rivals=rivals[:_RIVALS], guides=guides)
    return _lent(measured, judged, law)


def _lent(measured: dict[str, Any], judged: Law, law: Law) -> dict[str, Any]:
    """Return the intervals with those of groups that have too few rows, taken from the group with the most.

    They say as much about shape and noise as that group's rows do, and count the noise twice: the level rests on
    one row or little more. Runners-up have no constants for such a group, and so no say.
    """
    few = [g for g in law.groups if g not in judged.groups]
    for column, about in measured["targets"].items() if few else ():
        lender = max(judged.groups, key=lambda g: about["rows"][g])
        ends = np.array([about["range"][g] for g in judged.groups])
        for group in few:
            for key in ("rows", "free"):
                about[key][group] = about[key][lender]
            about["noise"][group] = _six_digits(math.sqrt(2.0) * _known(about["noise"][lender]))
            if lender in about["open"]:
                about["open"][group] = about["open"][lender]
            about["range"][group] = [float(ends[:, 0].min()), float(ends[:, 1].max())]
            shift = {c: law.constants[column][group][c] - v for c, v in law.constants[column][lender].items()}
            about["constants"][group] = {
                c: " ".join(f"{float(x) + shift[c]:.12g}" for x in text.split())
                for c, text in about["constants"][lender].items()
            }
    return measured


def compute(
    law: Law,
    table: Table,
    folds: Sequence[Fold],
    *,
    level: float = 0.9,
    replicates: int = 40,
    seed: int = 0,
    rivals: Sequence[Rival] = (),
    guides: Mapping[str, Guide] | None = None,
) -> dict[str, Any]:
    """Measure what the intervals of `law` are made from; the result belongs under `intervals` in `law.json`.

    It depends neither on the order of rows and groups nor on how columns are called. Whatever differs between groups is
    stored by their names.

    Args:
        law: The law, fitted to `table` with its settings.
        table: The rows that it was fitted to.
        folds: Rows to refit on and rows to judge on (`splits.rung_folds`).
        level: Share of new runs that the intervals shall cover.
        replicates: Refits to reweighted rows.
        seed: Seed of the weights.
        rivals: Forms that were nearly chosen, when the law comes from a search.
        guides: Target column to what the constants follow beside the rows, where they do.

    Raises:
        UsageError: `level` or `replicates` is out of range.
    """
    if not 0.5 <= level < 1.0:
        raise UsageError(f"the level of intervals must be at least 0.5 and below 1, got {level:g}")
    if replicates < 10:
        raise UsageError(f"intervals need at least 10 replicates, got {replicates}")
    place = np.empty(table.n_rows, dtype=np.intp)
    place[table.canonical_order()] = np.arange(table.n_rows)
    table = table.canonical()
    rows = thinned(table, seed)
    some = table if len(rows) == table.n_rows else table.take(rows)
    some_folds = [
        (_renumbered(np.sort(place[fold.train]), rows), _renumbered(np.sort(place[fold.test]), rows)) for fold in folds
    ]
    targets = {}
    for j, target in enumerate(law.targets):
        column = target.column
        settings = law.settings[column]
        guide = (guides or {}).get(column)
        fits = _Refits(
            law.expressions[column], some, j, law.constants[column], settings, seed,
            guided=None if guide is None else Guided(guide, some, j, settings),
        )  # fmt: skip
        others = [
            _Refits(
                r.expressions[column], some, j, r.constants[column], r.settings.get(column, FitSettings()), seed
            )
            for r in rivals
        ]  # fmt: skip
        targets[column] = {
            **fits.measure(some_folds, level, replicates, others),
            "range": _ranges(some, j, level),
            "rivals": [
                {
                    "expression": r.expressions[column].text,
                    "constants": {
                        g: {c: float(f"{r.constants[column][g][c]:.12g}") for c in r.expressions[column].constants}
                        for g in law.groups
                    },
                }
                for r in rivals
            ],
        }
    return {"level": level, "replicates": replicates, "seed": seed, "targets": targets}


def _ranges(table: Table, target: int, level: float) -> dict[str, list[float]]:
    """Return for each group the quantiles between which so many of its rows lie, and a new one if there is no law."""
    ends = [0.5 - level / 2, 0.5 + level / 2]
    return {
        group: [
            float(f"{x:.12g}") for x in np.quantile(table.Y[table.group_index == g, target], ends, method="weibull")
        ]
        for g, group in enumerate(table.groups)
    }


def predict_intervals(law: Law, points: object) -> tuple[Array, Array]:
    """Return lower and upper ends (n_points, n_targets) between which a new run is expected, at the law's level.

    The prediction always lies between them. Where refits fail or leave the domain of the formula the ends are infinite,
    or the declared bounds of the target; where the law itself gives no number they are NaN. Where the search found no
    law they are at least as far apart as the rows of the group.

    Raises:
        UsageError: The law carries no intervals, or a point's group has no constants.
        DataError: A column is missing or a cell is not a number.
    """
    table = points if isinstance(points, Table) else read_points(points, law.variables, law.group_column)
    z = NormalDist().inv_cdf(0.5 + _level(law) / 2)
    predictions = law.predict(table)
    lower, upper = np.empty_like(predictions), np.empty_like(predictions)
    inputs = {v.symbol: table.column(v.column) for v in law.variables}
    lawless = law.provenance.get("verdict", {}).get("kind") == "no law"
    for g, group in enumerate(table.groups):
        name = group if law.grouped else ALL_ROWS
        all_rows = np.flatnonzero(table.group_index == g)
        for j, target in enumerate(law.targets):
            about = _about(law, target.column)
            values = law.constants[target.column][name]
            replicates = [{**values, **r} for r in _moving(about, target.column, name, values)]
            rivals = _rivals(law, about, j, name)
            sigma, inflation = np.array(_known(_entry(about["noise"], name))), _inflation(about, name)
            shape = _shape(about)
            least = _entry(about.get("range", {name: None}), name) if lawless else None
            scale = _Scale(about["scale"] == "log")
            for rows in np.array_split(all_rows, max(1, math.ceil(len(all_rows) / _CHUNK))):
                columns = {symbol: np.ascontiguousarray(values[rows]) for symbol, values in inputs.items()}
                middle = predictions[rows, j]
                noise = sigma if shape is None else sigma * shape.at(table.take(rows), middle, scale.log)
                others = np.empty((len(replicates), len(rows)))
                for k, constants in enumerate(replicates):
                    others[k] = evaluate(law.expressions[target.column], columns, constants)
                choices = [evaluate(expression, columns, constants) for expression, constants in rivals]
                spread = scale.together(middle, inflation * scale.spread(middle, others), choices, noise)
                half = z * np.hypot(noise, float(about["widening"]) * spread)
                lower[rows, j], upper[rows, j] = scale.ends(middle, half)
                if least is not None:
                    lower[rows, j] = np.minimum(lower[rows, j], least[0])
                    upper[rows, j] = np.maximum(upper[rows, j], least[1])
    for j, target in enumerate(law.targets):
        low = -math.inf if target.lower is None else target.lower
        high = math.inf if target.upper is None else target.upper
        # NaN passes through; a prediction beyond a bound is not left outside its own interval
        lower[:, j] = np.minimum(np.clip(lower[:, j], low, high), predictions[:, j])
        upper[:, j] = np.maximum(np.clip(upper[:, j], low, high), predictions[:, j])
    return lower, upper


def constant_intervals(law: Law) -> dict[str, dict[str, dict[str, Interval | None]]]:
    """Return target to group to constant to (lower, upper), at the law's level; None where it is unknown.

    They say how well the rows determine each constant, given that the formula is right. Every interval holds the value;
    `unknown_constants` says why there is none.

    Raises:
        UsageError: The law carries no intervals.
    """
    return {
        target: {
            group: {name: found if isinstance(found, tuple) else None for name, found in by_name.items()}
            for group, by_name in by_group.items()
        }
        for target, by_group in _constants(law).items()
    }


def unknown_constants(law: Law) -> dict[str, dict[str, dict[str, str]]]:
    """Return target to group to constant to why its interval is not known, for those without one.

    Raises:
        UsageError: The law carries no intervals.
    """
    return {
        target: {
            group: {name: found for name, found in by_name.items() if isinstance(found, str)}
            for group, by_name in by_group.items()
        }
        for target, by_group in _constants(law).items()
    }


def _constants(law: Law) -> dict[str, dict[str, dict[str, Interval | str]]]:
    """Return the interval of each constant, or the sentence that says why there is none."""
    level = _level(law)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    found: dict[str, dict[str, dict[str, Interval | str]]] = {}
    for target, by_group in law.constants.items():
        about = _about(law, target)
        found[target] = {}
        for group, values in by_group.items():
            replicates = _replicates(about, target, group)
            # residuals are smaller than errors, and their size is itself uncertain when few rows are left over
            wider = _inflation(about, group) * _student(level, float(about["free"][group])) / z
            exact = _is_exact(about, group)
            held = law.settings[target].at_bounds({group: values})
            loose = about.get("open", {}).get(group, ())
            found[target][group] = {}
            for name, value in values.items():
                ends: Interval | str = PINNED
                if name in replicates[0]:
                    ends = _ends(value, np.array([r[name] for r in replicates]), wider, level, exact, name in held)
                open_ = name in loose and not exact and isinstance(ends, tuple)
                found[target][group][name] = OPEN if open_ else ends
    return found


def _is_exact(about: Mapping[str, Any], group: str) -> bool:
    """Tell whether the law misses its rows by no more than rounding errors."""
    low, high = about.get("range", {}).get(group, (0.0, 0.0))
    return _known(about["noise"][group]) <= (_EXACT if about["scale"] == "log" else _EXACT * (high - low))


def refit_to(law: Law, table: Table, target: int, rows: Rows) -> Array | None:
    """Return what the form of a law predicts (n_rows,) when it is fitted as the law was, but to some rows; None if not.

    A law that follows others beyond the rows is on its own here: the others have seen all rows.
    """
    column = law.targets[target].column
    constants = {g: law.constants[column][g] for g in table.groups}
    fits = _Refits(law.expressions[column], table, target, constants, law.settings[column], 0)
    values = fits.refitted(rows)
    return None if values is None else fits.fitter.predict(values)


# --- refits ---------------------------------------------------------------------------------------------------------


class _Refits:
    """Refits of one formula to one target, from constants that are known, with the settings of the law."""

    def __init__(
        self,
        expression: Expression,
        table: Table,
        target: int,
        constants: Mapping[str, Mapping[str, float]],
        settings: FitSettings,
        seed: int,
        guided: Guided | None = None,
    ) -> None:
        self.settings = settings
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
        # what is far is a matter of how exact a row is; beside points the frontier has no say in it, as in the fit
        kinds = [kind for kind in settings.weights if kind != FRONTIER or guided is None]
        exact = row_weights(table, target, kinds)
        self.root = np.ones(table.n_rows) if exact is None else np.sqrt(exact)
        self.delta = settings.turning_point(self.root * self.residual(self.values))
        self.guided, self.both = guided, self.fitter
        if guided is not None:
            both = _beside(table, target, guided.points)
            self.both = settings.fitter(expression, both, weights=np.ones(both.n_rows))

    def residual(self, values: Array) -> Array:
        """Return the residuals (n_rows,) of constants (n_groups, n_names) as the loss has them."""
        prediction = self.fitter.predict(values)
        with np.errstate(all="ignore"):
            return np.log(self.y / prediction) if self.fitter.log_output else self.y - prediction

    def solved(
        self, starts: Array, begin: Array, weights: Array, rows: Rows | None, steps: int, goal: Array | None = None
    ) -> Solution:
        """Return a refit where rows weigh (n_rows,) more or less than the settings say.

        Args:
            starts: (n_starts, n_nonlinear) tried in every group, beside `begin`.
            begin: (n_groups, n_names) constants to begin with.
            weights: Of every row.
            rows: Row numbers, all if not given.
            steps: The most of one fit.
            goal: (n_points,) targets of the points that the law follows as well; without, it follows the rows alone.
        """
        fitter, more = self.fitter, np.zeros(0)
        if goal is not None:
            fitter = self.both.with_targets(np.concatenate([self.y, goal]))
            more = np.full(len(goal), self.base.sum() / len(goal))
        n_nonlinear = len(fitter.tape.constants)
        values, found = begin, None
        kept = np.zeros(self.table.n_rows, dtype=np.bool_)
        kept[slice(None) if rows is None else rows] = True
        for _ in range(_REWEIGHTINGS if self.settings.reweights else 1):
            residual = np.where(kept, self.residual(values), np.nan)
            trust = self.settings.trust(self.worse * self.root * residual, self.delta)
            own = self.base * weights if trust is None else self.base * weights * trust
            roots = np.sqrt(np.concatenate([own, more]))[fitter.order]
            found = fitter.solve(starts, rows, inherited=values[:, :n_nonlinear], max_iterations=steps, weights=roots)
            if not found.ok:
                break
            values = np.where(np.isfinite(found.values), found.values, values)
        assert found is not None
        return found

    def measure(
        self, folds: Sequence[tuple[Rows, Rows]], level: float, n_replicates: int, rivals: Sequence[_Refits]
    ) -> dict[str, Any]:
        everything = np.arange(self.table.n_rows)
        fitted = self.fitter.predict(self.values)
        scale = _Scale.of(self.y, fitted, self.shape is not None)
        noise = self.noise(everything, fitted, scale)
        if self.table.n_rows - self.n_constants * len(self.table.groups) < _LEAST_FREE:
            noise = np.full(len(noise), math.inf)  # as many constants as rows: what is left over says nothing
        replicates = self.replicates(everything, self.values, n_replicates)
        errors = [self.judged(train, test, scale, n_replicates, rivals) for train, test in folds]
        known = [e for e in errors if e is not None]
        groups = self.table.groups
        names = self.fitter.names
        return {
            "scale": "log" if scale.log else "linear",
            "widening": _widening(known, level) if known else DEFAULT_WIDENING,
            "judged_rows": sum(len(e.error) for e in known),
            "noise": {group: _six_digits(noise[g]) for g, group in enumerate(groups)},
            **({} if self.shape is None else {"noise_shape": self.shape.to_json()}),
            "rows": {group: int(n) for group, n in zip(groups, np.bincount(self.table.group_index), strict=True)},
            "free": {group: round(float(f), 6) for group, f in zip(groups, self.free(everything), strict=True)},
            "open": self.left_open(replicates) if noise.max() > 0 else {},
            # one line of text each: 42 groups with 40 replicates would fill thousands of lines of law.json
            "constants": {
                group: {
                    c: " ".join(f"{r[g, names.index(c)]:.12g}" for r in replicates)
                    for c in self.fitter.expression.constants
                }
                for g, group in enumerate(groups)
            },
        }

    def replicates(self, rows: Rows, values: Array, n: int) -> list[Array]:
        """Return constants (n_groups, n_names) of refits to `rows` with random weights; NaN where one failed.

        A law that follows others does so when all rows are fitted. On the rows of a fold it is on its own: the others
        have seen the rows that are judged there.
        """
        index = self.table.group_index
        start = values[:1, : len(self.fitter.tape.constants)]
        counts = np.maximum(np.bincount(index[rows], minlength=len(self.table.groups)), 1)
        kept = np.zeros(self.table.n_rows, dtype=np.bool_)
        kept[rows] = True
        found = []
        for _ in range(n):
            weights = self.rng.standard_exponential(int(self.clusters.max()) + 1)[self.clusters]
            total = np.bincount(index, weights=np.where(kept, weights, 0.0), minlength=len(counts))
            weights = weights * (counts / np.where(total > 0, total, 1.0))[index]
            if self.guided is not None and kept.all():
                solution = self.solved(start, values, weights, None, _REFIT_STEPS, self.guided.moved(weights))
            else:
                solution = self.solved(start, values, weights, rows, _REFIT_STEPS)
            found.append(np.where(np.isfinite(solution.sums)[:, None], solution.values, np.nan))
        return found

    def refitted(self, train: Rows) -> Array | None:
        """Return constants (n_groups, n_names) fitted to `train`, or None."""
        # fresh starts as well: the constants of all rows have seen the judged ones
        starts = self.fitter.starts(_FOLD_STARTS, self.rng)
        solution = self.solved(starts, self.values, np.ones(self.table.n_rows), train, _FOLD_FIT_STEPS)
        return solution.values if solution.ok else None

    def left_open(self, replicates: Sequence[Array]) -> dict[str, list[str]]:
        """Return group to the constants that refits hardly move, though the rows leave them open by far more."""
        expression = self.settings.formula(self.fitter.expression)
        constants = {
            g: dict(zip(self.fitter.names, row, strict=True))
            for g, row in zip(self.table.groups, self.values.tolist(), strict=True)
        }
        table, weights, residual, clusters = self.table, self.base, self.residual(self.values), self.clusters
        trust = self.settings.trust(residual, self.delta)
        weights = weights if trust is None else weights * trust
        if self.guided is not None:
            n = self.guided.points.n_rows
            table = self.both.table
            weights = np.concatenate([weights, np.full(n, self.base.sum() / n)])
            residual = np.concatenate([residual, np.full(n, np.nan)])
            clusters = np.concatenate([clusters, np.zeros(n, dtype=np.intp)])
        errors = standard_errors(expression, self.settings, table, weights, residual, clusters, constants)
        if errors is None:
            return {}
        with np.errstate(invalid="ignore"):
            moved = np.abs(np.array(replicates) - self.values)  # (n_replicates, n_groups, n_names)
        found: dict[str, list[str]] = {}
        for g, group in enumerate(self.table.groups):
            for k, name in enumerate(self.fitter.names):
                known = moved[np.isfinite(moved[:, g, k]), g, k]
                if len(known) >= _LEAST_REFITS and np.quantile(known, 0.6827) < _STUCK * errors[group][name]:
                    found.setdefault(group, []).append(name)
        return found

    def judged(
        self, train: Rows, test: Rows, scale: _Scale, n_replicates: int, rivals: Sequence[_Refits]
    ) -> _Judged | None:
        """Return the errors on the judged rows of a fold, and what a fit to the others knows about them."""
        values = self.refitted(train) if len(train) and len(test) else None
        if values is None:
            return None
        prediction = self.fitter.predict(values)
        replicates = self.replicates(train, values, min(n_replicates, _FOLD_REPLICATES))
        others = np.array([self.fitter.predict(r)[test] for r in replicates])
        fits = [(rival, rival.refitted(train)) for rival in rivals]
        choices = [rival.fitter.predict(fit)[test] for rival, fit in fits if fit is not None]
        index = self.table.group_index[test]
        inflation = np.sqrt(np.bincount(self.table.group_index[train], minlength=len(values)) / self.free(train))
        noise = self.noise(train, prediction, scale)[index] * self.relative(prediction, scale)[test]
        spread = scale.together(
            prediction[test], inflation[index] * scale.spread(prediction[test], others), choices, noise
        )
        error = np.abs(scale.to(self.y[test]) - scale.to(prediction[test]))
        return _Judged(np.where(np.isnan(error), math.inf, error), noise, spread)

    def noise(self, rows: Rows, prediction: Array, scale: _Scale) -> Array:
        """Return the standard deviation of the residuals per group, pulled towards that of all groups."""
        residual = (scale.to(self.y[rows]) - scale.to(prediction[rows])) / self.relative(prediction, scale)[rows]
        index = self.table.group_index[rows]
        n_groups = len(self.table.groups)
        squares = np.bincount(index, weights=np.where(np.isfinite(residual), residual, 0.0) ** 2, minlength=n_groups)
        free = np.maximum(np.bincount(index, minlength=n_groups) - self.n_constants, 0.0)
        pooled = squares.sum() / max(free.sum(), 1.0)
        own = np.where(free > 0, squares, 0.0)
        return np.asarray(np.sqrt((own + _PRIOR_ROWS * pooled) / (free + _PRIOR_ROWS)))

    def relative(self, prediction: Array, scale: _Scale) -> Array:
        """Return how noisy each row (n_rows,) is; the noise of a group is in this unit."""
        return np.ones(self.table.n_rows) if self.shape is None else self.shape.at(self.table, prediction, scale.log)

    def free(self, rows: Rows) -> Array:
        """Return each group's rows less its constants, at least 1."""
        count = np.bincount(self.table.group_index[rows], minlength=len(self.table.groups))
        return np.asarray(np.maximum(count - self.n_constants, 1.0))


def _beside(table: Table, target: int, points: Table) -> Table:
    """Return rows and points as one table of one target."""
    number = np.array([table.groups.index(g) for g in points.groups], dtype=np.intp)
    return Table(
        variables=table.variables,
        targets=(table.targets[target],),
        X=np.vstack([table.X, points.X]),
        Y=np.vstack([table.Y[:, [target]], points.Y]),
        groups=table.groups,
        group_index=np.concatenate([table.group_index, number[points.group_index]]),
    )


@dataclass(frozen=True)
class _Judged:
    """Errors on the judged rows of one fold, with noise and spread (n_judged,) as the rows trained on give them."""

    error: Array
    noise: Array
    spread: Array


@dataclass(frozen=True)
class _Scale:
    """Where errors are counted: as they are, or as logarithms."""

    log: bool

    @staticmethod
    def of(y: Array, fitted: Array, changes: bool = False) -> _Scale:
        """Return the scale on which a normal distribution gives the residuals the higher likelihood.

        Noise that changes is known on either; then positive values have logarithms, so that their ends are positive.
        """
        if not ((y > 0).all() and (fitted > 0).all()):
            return _Scale(False)
        if changes:
            return _Scale(True)
        n = len(y)
        absolute, relative = float(np.std(y - fitted)), float(np.std(np.log(y / fitted)))
        if absolute == 0 or relative == 0:
            return _Scale(True)
        return _Scale(-n * math.log(relative) - float(np.log(y).sum()) > -n * math.log(absolute))

    def to(self, values: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.log(values) if self.log else values

    def spread(self, middle: Array, others: Array) -> Array:
        """Return how far `others` (n_replicates, n) lie from `middle` (n,): one standard deviation if normal."""
        with np.errstate(all="ignore"):
            distance = np.abs(self.to(others) - self.to(middle))
        # refits that leave the domain of the formula count as infinitely far; failed refits do not count
        failed = np.isnan(others).all(axis=1) if len(others) else np.zeros(0, dtype=np.bool_)
        distance = np.where(np.isnan(distance), math.inf, distance)[~failed]
        if len(distance) < _LEAST_REFITS:
            return np.full(middle.shape, math.inf)
        k = min(math.ceil(0.6827 * len(distance)), len(distance)) - 1
        return np.asarray(np.partition(distance, k, axis=0)[k])

    def together(self, middle: Array, spread: Array, choices: Sequence[Array], noise: Array) -> Array:
        """Return the spread of refits with the distance to the runners-up; at least a share of the noise."""
        # far out the squares of what formulas say may be too large for a number
        with np.errstate(all="ignore"):
            squares = spread**2 + (_LEAST_SPREAD * noise) ** 2
            if choices:
                distance = self.to(np.array(choices)) - self.to(middle)
                # where a rival has no value it says nothing
                known = np.isfinite(distance)
                total = np.square(np.where(known, distance, 0.0)).sum(axis=0)
                squares = squares + total / np.maximum(known.sum(axis=0), 1)
            return np.asarray(np.sqrt(squares))

    def ends(self, middle: Array, half: Array) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):
            if not self.log:
                lower, upper = middle - half, middle + half
            else:
                lower, upper = middle * np.exp(-half), middle * np.exp(half)
                # a law for positive values that turns negative says nothing there
                lost = ~(middle > 0)
                lower, upper = np.where(lost, -math.inf, lower), np.where(lost, math.inf, upper)
        # an infinite prediction, or nothing known of refits: no ends
        lost = np.isinf(middle) | np.isnan(lower) | np.isnan(upper)
        lower, upper = np.where(lost, -math.inf, lower), np.where(lost, math.inf, upper)
        unknown = np.isnan(middle)
        return np.where(unknown, math.nan, lower), np.where(unknown, math.nan, upper)


def _widening(judged: Sequence[_Judged], level: float) -> float:
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


# --- what law.json holds --------------------------------------------------------------------------------------------


def _level(law: Law) -> float:
    if law.intervals is None:
        raise UsageError("this law carries no intervals; discover or fit it again to get them")
    return float(_entry(law.intervals, "level"))


def _about(law: Law, target: str) -> Mapping[str, Any]:
    assert law.intervals is not None
    about = _entry(_entry(law.intervals, "targets"), target)
    for key in ("scale", "widening", "noise", "rows", "free", "constants"):
        _entry(about, key)
    return dict(about)


def _entry(data: Any, key: str) -> Any:
    if not isinstance(data, Mapping) or key not in data:
        raise DataError(f"the law's intervals lack {key!r}; discover or fit it again")
    return data[key]


def _shape(about: Mapping[str, Any]) -> NoiseShape | None:
    if "noise_shape" not in about:
        return None
    try:
        return NoiseShape.from_json(about["noise_shape"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the noise in the law's intervals cannot be read: {error!r}") from error


def _replicates(about: Mapping[str, Any], target: str, group: str) -> list[dict[str, float]]:
    columns = _entry(about["constants"], group)
    if not columns:
        return [{}] * _LEAST_REFITS  # nothing to refit
    try:
        values = {name: [float(x) for x in str(text).split()] for name, text in columns.items()}
        return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    except (AttributeError, ValueError) as error:
        raise DataError(f"the law's intervals of {target!r}, group {group!r}, cannot be read: {error}") from error


def _moving(about: Mapping[str, Any], target: str, group: str, values: Mapping[str, float]) -> list[dict[str, float]]:
    """Return the refits that moved: one that left every constant where it was has failed, unless the law is exact."""
    found = _replicates(about, target, group)
    if not found[0] or _is_exact(about, group):
        return found
    return [r for r in found if any(not abs(r[c] - values[c]) <= _STILL * abs(values[c]) for c in r)]


def _rivals(law: Law, about: Mapping[str, Any], target: int, group: str) -> list[tuple[Expression, dict[str, float]]]:
    """Return what runners-up say in a group, those that have constants for it."""
    found = []
    for rival in about.get("rivals", ()):
        try:
            expression = parse_for(_entry(rival, "expression"), law.variables, len(law.targets), target)
            said = _entry(rival, "constants")
            if all(isinstance(of, str) for of in said.values()):  # before 0.6.0, of one group
                said = {group: {c: text.split()[0] for c, text in said.items()}}
            if group not in said:
                continue
            constants = {c: float(_entry(said[group], c)) for c in expression.constants}
        except (AttributeError, TypeError, ValueError, IndexError, GrammarError) as error:
            raise DataError(f"a rival in the law's intervals cannot be read: {error}") from error
        found.append((expression, constants))
    return found


def _inflation(about: Mapping[str, Any], group: str) -> float:
    return math.sqrt(float(_entry(about["rows"], group)) / float(_entry(about["free"], group)))


def _student(level: float, free: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(free, 0.5 + level / 2))


def _six_digits(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _known(noise: Any) -> float:
    """Return a size as law.json has it, where null stands for one that nothing bounds."""
    return math.inf if noise is None else float(noise)


def _ends(value: float, replicates: Array, wider: float, level: float, exact: bool, held: bool) -> Interval | str:
    """Return the central `level` of the replicates, stretched about the value (about its logarithm if of one sign).

    Args:
        value: The estimate.
        replicates: What refits make of it (n_replicates,), NaN where they failed.
        wider: Factor of the stretch.
        level: Share of the replicates.
        exact: Whether the law is exact, so that refits need not move.
        held: Whether the estimate lies on a bound, so that some refits stay there.

    Returns:
        The ends, or why they are not known.
    """
    known = replicates[np.isfinite(replicates)]
    if len(known) < _LEAST_REFITS:
        return FAILED
    still = np.abs(known - value) <= _STILL * abs(value)
    if not (exact or held) and 2 * int(still.sum()) >= len(known):
        return UNMOVED
    # of 40 replicates, 1 in 41 lies beyond either extreme
    low, high = np.quantile(known, [0.5 - level / 2, 0.5 + level / 2], method="weibull")
    low, high = min(float(low), value), max(float(high), value)
    if held and high - low <= _STILL * abs(value):
        return AT_BOUND
    sign = math.copysign(1.0, value)
    if value != 0 and low * sign > 0 and high * sign > 0:
        # stretched as a ratio, a coefficient that is known to be positive stays positive
        with np.errstate(all="ignore"):
            ends = [float(value * np.power(end / value, wider)) for end in (low, high)]
    else:
        ends = [value + wider * (low - value), value + wider * (high - value)]
    return min(ends[0], value), max(ends[1], value)


def thinned(table: Table, seed: int) -> Rows:
    """Return the row numbers to work with: all, or an even share of each group."""
    if table.n_rows <= _MAX_ROWS:
        return np.arange(table.n_rows)
    rng = np.random.default_rng(seed)
    kept = []
    for rows in _by_group(table):
        n = max(math.ceil(len(rows) * _MAX_ROWS / table.n_rows), min(len(rows), 30))
        kept.append(rng.choice(rows, n, replace=False))
    return np.sort(np.concatenate(kept))


def _by_group(table: Table) -> Iterator[Rows]:
    order = np.argsort(table.group_index, kind="stable")
    edges = np.flatnonzero(np.diff(table.group_index[order])) + 1
    yield from np.split(order, edges)


def _renumbered(rows: Rows, kept: Rows) -> Rows:
    at = np.searchsorted(kept, rows)
    inside = (at < len(kept)) & (kept[np.minimum(at, len(kept) - 1)] == rows)
    return np.asarray(at[inside], dtype=np.intp)
