r"""Intervals for the constants of a law and for its predictions, honest about extrapolation.

Four things make a prediction uncertain, and each is measured on the training rows:

* *noise* $\sigma$: the residuals of the fit, per group, pulled towards the mean of all groups when rows are few; where
  repeats or standard errors show that noise changes, times how noisy a run at $x$ is (`noise.py`);
* *spread*: how far refits move at $x$ when the points of each group are reweighted at random (Rubin 1981, the Bayesian
  bootstrap: every point keeps some weight, so that small groups stay fittable);
* *choice*: a search that tries a thousand forms takes one of several that are nearly as good; where the runners-up
  predict something else at $x$, nobody knows better;
* *misfit*: the formula is not the truth, and far from the data that matters most. No resampling shows it, so it is
  measured: the law is refitted on the lower rungs of every fold, and spread and choice are widened by the factor
  $\kappa$ with which the stated share of the judged rows would have been covered.

The interval for a new run at $x$ is $\hat y \pm z \sqrt{\sigma^2 + \kappa^2 s(x)^2}$ with $s$ made of spread, choice
and a quarter of $\sigma$, on the log scale where the residuals are more even there. Measured on 43 tables whose largest
runs were kept aside, intervals with level 0.9 around the law that a search chose held 93 % of those runs; without the
runners-up 81 %. Around a form that was given, not searched for, they held 91 %; without the folds 75 %.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sld.core.card import parse_for
from sld.core.errors import DataError, GrammarError, UsageError
from sld.core.expression import Expression
from sld.core.kernel import evaluate
from sld.core.law import Constants, Law
from sld.core.noise import FRONTIER, NoiseShape, row_weights
from sld.core.pooling import prior_of
from sld.core.splits import Fold, rung_folds
from sld.core.table import ALL_ROWS, Array, Table, read_points

if TYPE_CHECKING:
    from sld.core.fitting import Fitter, Prior
    from sld.search.candidate import Discovery

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


@dataclass(frozen=True)
class Rival:
    """A form that was nearly chosen: target column to formula, to constants by group, to what groups share or pool."""

    expressions: Mapping[str, Expression]
    constants: Constants
    shared: Mapping[str, Collection[str]] = field(default_factory=dict)
    priors: Mapping[str, Prior] = field(default_factory=dict)


def add_intervals(found: Discovery, *, level: float = 0.9) -> Law:
    """Return the law of a discovery with its intervals."""
    rows = thinned(found.table, 0)
    table = found.table if len(rows) == found.table.n_rows else found.table.take(rows)
    seed, chosen = int(found.config.get("seed", 0)), found.chosen
    others = (c for c in found.hall_of_fame if c.key != chosen.key and c.admissible == chosen.admissible)
    judged = replace(
        found.law, constants={t: {g: by[g] for g in table.groups} for t, by in found.law.constants.items()}
    )
    rivals = [
        Rival(c.expressions, c.constants, c.shared, c.priors)
        for c in others
        if all(set(judged.groups) <= set(by_group) for by_group in c.constants.values())
    ]
    measured = compute(judged, table, rung_folds(table), level=level, seed=seed, rivals=rivals[:_RIVALS])
    return replace(found.law, intervals=_lent(measured, judged, found.law))


def _lent(measured: dict[str, Any], judged: Law, law: Law) -> dict[str, Any]:
    """Return the intervals with those of groups that have too few rows, taken from the group with the most.

    They say as much about shape and noise as that group's rows do, and count the noise twice: the level rests on
    one row or little more.
    """
    few = [g for g in law.groups if g not in judged.groups]
    for column, about in measured["targets"].items() if few else ():
        lender = max(judged.groups, key=lambda g: about["rows"][g])
        for group in few:
            for key in ("rows", "free"):
                about[key][group] = about[key][lender]
            about["noise"][group] = float(f"{math.sqrt(2.0) * about['noise'][lender]:.6g}")
            shift = {c: law.constants[column][group][c] - v for c, v in law.constants[column][lender].items()}
            about["constants"][group] = {
                c: " ".join(f"{float(x) + shift[c]:.12g}" for x in text.split())
                for c, text in about["constants"][lender].items()
            }
            for rival in about["rivals"]:
                # a rival has no constants for this group: those that it has elsewhere would only tell levels apart
                rival["constants"] = {c: f"{text} nan" for c, text in rival["constants"].items()}
    return measured


def compute(
    law: Law,
    table: Table,
    folds: Sequence[Fold],
    *,
    level: float = 0.9,
    replicates: int = 40,
    seed: int = 0,
    shared: Mapping[str, Collection[str]] | None = None,
    positive: Collection[str] = (),
    rivals: Sequence[Rival] = (),
) -> dict[str, Any]:
    """Measure what the intervals of `law` are made from; the result belongs under `intervals` in `law.json`.

    Args:
        law: The law, fitted to `table`.
        table: The rows that it was fitted to.
        folds: Rows to refit on and rows to judge on (`splits.rung_folds`).
        level: Share of new runs that the intervals shall cover.
        replicates: Refits to reweighted rows.
        seed: Seed of the weights.
        shared: Target to constants that all groups have in common; as the law's provenance says if not given.
        positive: Constants that must be positive.
        rivals: Forms that were nearly chosen, when the law comes from a search.

    Raises:
        UsageError: `level` or `replicates` is out of range.
    """
    if not 0.5 <= level < 1.0:
        raise UsageError(f"the level of intervals must be at least 0.5 and below 1, got {level:g}")
    if replicates < 10:
        raise UsageError(f"intervals need at least 10 replicates, got {replicates}")
    rows = thinned(table, seed)
    some = table if len(rows) == table.n_rows else table.take(rows)
    some_folds = [(_renumbered(fold.train, rows), _renumbered(fold.test, rows)) for fold in folds]
    tied = law.provenance.get("shared", {}) if shared is None else shared
    kinds = [kind for kind in law.provenance.get("weights", ()) if kind != FRONTIER]
    targets = {}
    for j, target in enumerate(law.targets):
        column = target.column
        expression, constants = law.expressions[column], law.constants[column]
        own = tied.get(column, ())
        huber = law.loss(column) == "huber"
        prior = prior_of(law.provenance, column)
        fits = _Refits(
            expression, some, j, constants, shared=own, prior=prior, positive=positive, seed=seed, huber=huber,
            kinds=kinds,
        )  # fmt: skip
        others = [
            _Refits(
                r.expressions[column], some, j, r.constants[column], shared=r.shared.get(column, ()),
                prior=r.priors.get(column), seed=seed, kinds=kinds,
            )
            for r in rivals
        ]  # fmt: skip
        targets[column] = {
            **fits.measure(some_folds, level, replicates, others),
            "rivals": [
                {
                    "expression": r.expressions[column].text,
                    "constants": {
                        c: " ".join(f"{r.constants[column][g][c]:.12g}" for g in law.groups)
                        for c in r.expressions[column].constants
                    },
                }
                for r in rivals
            ],
        }
    return {"level": level, "replicates": replicates, "seed": seed, "targets": targets}


def predict_intervals(law: Law, points: object) -> tuple[Array, Array]:
    """Return lower and upper ends (n_points, n_targets) between which a new run is expected, at the law's level.

    Where refits leave the domain of the formula the ends are infinite, or the declared bounds of the target; where the
    law itself gives no number they are NaN.

    Raises:
        UsageError: The law carries no intervals, or a point's group has no constants.
        DataError: A column is missing or a cell is not a number.
    """
    table = points if isinstance(points, Table) else read_points(points, law.variables, law.group_column)
    z = NormalDist().inv_cdf(0.5 + _level(law) / 2)
    predictions = law.predict(table)
    lower, upper = np.empty_like(predictions), np.empty_like(predictions)
    inputs = {v.symbol: table.column(v.column) for v in law.variables}
    for g, group in enumerate(table.groups):
        name = group if law.grouped else ALL_ROWS
        all_rows = np.flatnonzero(table.group_index == g)
        for j, target in enumerate(law.targets):
            about = _about(law, target.column)
            replicates = _replicates(about, target.column, name)
            rivals = _rivals(law, about, j, name)
            sigma, inflation, shape = float(about["noise"][name]), _inflation(about, name), _shape(about)
            scale = _Scale(about["scale"] == "log")
            for rows in np.array_split(all_rows, max(1, math.ceil(len(all_rows) / _CHUNK))):
                columns = {symbol: np.ascontiguousarray(values[rows]) for symbol, values in inputs.items()}
                middle = predictions[rows, j]
                noise = np.array(sigma) if shape is None else sigma * shape.at(table.take(rows), middle, scale.log)
                others = np.array([evaluate(law.expressions[target.column], columns, c) for c in replicates])
                choices = [evaluate(expression, columns, constants) for expression, constants in rivals]
                spread = scale.together(middle, inflation * scale.spread(middle, others), choices, noise)
                half = z * np.hypot(noise, float(about["widening"]) * spread)
                lower[rows, j], upper[rows, j] = scale.ends(middle, half)
    for j, target in enumerate(law.targets):
        low = -math.inf if target.lower is None else target.lower
        high = math.inf if target.upper is None else target.upper
        # np.clip passes NaN on
        lower[:, j], upper[:, j] = np.clip(lower[:, j], low, high), np.clip(upper[:, j], low, high)
    return lower, upper


def constant_intervals(law: Law) -> dict[str, dict[str, dict[str, Interval]]]:
    """Return target to group to constant to (lower, upper), at the law's level.

    They say how well the rows determine each constant, given that the formula is right.

    Raises:
        UsageError: The law carries no intervals.
    """
    level = _level(law)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    found: dict[str, dict[str, dict[str, Interval]]] = {}
    for target, by_group in law.constants.items():
        about = _about(law, target)
        found[target] = {}
        for group, values in by_group.items():
            replicates = _replicates(about, target, group)
            # residuals are smaller than errors, and their size is itself uncertain when few rows are left over
            wider = _inflation(about, group) * _student(level, float(about["free"][group])) / z
            found[target][group] = {
                name: _ends(value, np.array([r[name] for r in replicates]), wider, level)
                for name, value in values.items()
            }
    return found


# --- refits ---------------------------------------------------------------------------------------------------------


class _Refits:
    """Refits of one formula to one target, from constants that are known."""

    def __init__(
        self,
        expression: Expression,
        table: Table,
        target: int,
        constants: Mapping[str, Mapping[str, float]],
        *,
        shared: Collection[str],
        prior: Prior | None = None,
        positive: Collection[str] = (),
        seed: int,
        huber: bool = False,
        kinds: Collection[str] = (),
    ) -> None:
        from sld.core.fitting import Fitter, huber_weights, text_seed

        own = [c for c in positive if c in expression.constants]
        self.weights = row_weights(table, target, kinds)
        self.fitter: Fitter = Fitter(
            expression, table, target, shared=shared, positive=own, prior=prior, weights=self.weights
        )
        self.table = table
        self.y = table.Y[:, target]
        self.clusters = table.clusters()
        self.constants = constants
        self.rng = text_seed(seed, expression.text)
        n_groups = len(table.groups)
        n_shared = len(self.fitter.shared)
        n_local = len(expression.constants) - n_shared
        self.n_constants = n_local + n_shared / n_groups  # per group
        self.values = np.array([[constants[g][c] for c in self.fitter.names] for g in table.groups])
        self.values = self.values.reshape(n_groups, len(self.fitter.names))
        self.shape = NoiseShape.of(table, target, self.fitter.predict(self.values))
        # rows that the law's own fit held down stay so
        self.trust = huber_weights(self.y - self.fitter.predict(self.values)) if huber else None
        if self.trust is not None and self.weights is not None:
            self.trust = self.trust * self.weights
        elif self.trust is None:
            self.trust = self.weights

    def measure(
        self, folds: Sequence[tuple[Rows, Rows]], level: float, n_replicates: int, rivals: Sequence[_Refits]
    ) -> dict[str, Any]:
        everything = np.arange(self.table.n_rows)
        fitted = self.fitter.predict(self.values)
        scale = _Scale.of(self.y, fitted, self.shape is not None)
        noise = self.noise(everything, fitted, scale)
        replicates = self.replicates(everything, self.values, n_replicates)
        errors = [self.judged(train, test, scale, n_replicates, rivals) for train, test in folds]
        known = [e for e in errors if e is not None]
        groups = self.table.groups
        names = self.fitter.names
        return {
            "scale": "log" if scale.log else "linear",
            "widening": _widening(known, level) if known else DEFAULT_WIDENING,
            "judged_rows": sum(len(e.error) for e in known),
            "noise": {group: float(f"{noise[g]:.6g}") for g, group in enumerate(groups)},
            **({} if self.shape is None else {"noise_shape": self.shape.to_json()}),
            "rows": {group: int(n) for group, n in zip(groups, np.bincount(self.table.group_index), strict=True)},
            "free": {group: round(float(f), 6) for group, f in zip(groups, self.free(everything), strict=True)},
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
        """Return constants (n_groups, n_names) of refits to `rows` with random weights; NaN where one failed."""
        index = self.table.group_index
        start = values[:, : len(self.fitter.tape.constants)]
        counts = np.maximum(np.bincount(index[rows], minlength=len(self.table.groups)), 1)
        kept = np.zeros(self.table.n_rows, dtype=np.bool_)
        kept[rows] = True
        found = []
        for _ in range(n):
            weights = self.rng.standard_exponential(int(self.clusters.max()) + 1)[self.clusters]
            total = np.bincount(index, weights=np.where(kept, weights, 0.0), minlength=len(counts))
            weights = weights * (counts / np.where(total > 0, total, 1.0))[index]
            if self.trust is not None:
                weights = weights * self.trust
            roots = np.sqrt(weights)[self.fitter.order]
            solution = self.fitter.solve(start[:1], rows, inherited=start, max_iterations=30, weights=roots)
            found.append(np.where(np.isfinite(solution.sums)[:, None], solution.values, np.nan))
        return found

    def refitted(self, train: Rows) -> Array | None:
        """Return constants (n_groups, n_names) fitted to `train`, or None."""
        start = self.values[:, : len(self.fitter.tape.constants)]
        # fresh starts as well: the constants of all rows have seen the judged ones
        starts = self.fitter.starts(_FOLD_STARTS, self.rng)
        weights = None if self.trust is None else np.sqrt(self.trust)[self.fitter.order]
        solution = self.fitter.solve(starts, train, inherited=start, max_iterations=100, weights=weights)
        return solution.values if solution.ok else None

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
        if not len(distance):
            return np.full(middle.shape, math.inf)
        k = min(math.ceil(0.6827 * len(distance)), len(distance)) - 1
        return np.asarray(np.partition(distance, k, axis=0)[k])

    def together(self, middle: Array, spread: Array, choices: Sequence[Array], noise: Array) -> Array:
        """Return the spread of refits with the distance to the runners-up; at least a share of the noise."""
        squares = spread**2 + (_LEAST_SPREAD * noise) ** 2
        if choices:
            with np.errstate(all="ignore"):
                distance = self.to(np.array(choices)) - self.to(middle)
            # where a rival has no value it says nothing
            known = np.isfinite(distance)
            squares = squares + np.square(np.where(known, distance, 0.0)).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
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
        return [{}]  # nothing to refit
    try:
        values = {name: [float(x) for x in str(text).split()] for name, text in columns.items()}
        return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    except (AttributeError, ValueError) as error:
        raise DataError(f"the law's intervals of {target!r}, group {group!r}, cannot be read: {error}") from error


def _rivals(law: Law, about: Mapping[str, Any], target: int, group: str) -> list[tuple[Expression, dict[str, float]]]:
    at = law.groups.index(group)
    found = []
    for rival in about.get("rivals", ()):
        try:
            expression = parse_for(_entry(rival, "expression"), law.variables, len(law.targets), target)
            constants = {c: float(text.split()[at]) for c, text in _entry(rival, "constants").items()}
        except (AttributeError, TypeError, ValueError, IndexError, GrammarError) as error:
            raise DataError(f"a rival in the law's intervals cannot be read: {error}") from error
        found.append((expression, constants))
    return found


def _inflation(about: Mapping[str, Any], group: str) -> float:
    return math.sqrt(float(_entry(about["rows"], group)) / float(_entry(about["free"], group)))


def _student(level: float, free: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(free, 0.5 + level / 2))


def _ends(value: float, replicates: Array, wider: float, level: float) -> Interval:
    """Return the central `level` of the replicates, stretched about the value (about its logarithm if of one sign)."""
    known = replicates[np.isfinite(replicates)]
    if len(known) < 5:
        return -math.inf, math.inf
    # of 40 replicates, 1 in 41 lies beyond either extreme
    low, high = np.quantile(known, [0.5 - level / 2, 0.5 + level / 2], method="weibull")
    low, high = min(low, value), max(high, value)
    sign = math.copysign(1.0, value)
    if value != 0 and low * sign > 0 and high * sign > 0:
        # stretched as a ratio, a coefficient that is known to be positive stays positive
        return value * (low / value) ** wider, value * (high / value) ** wider
    return value + wider * (low - value), value + wider * (high - value)


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
