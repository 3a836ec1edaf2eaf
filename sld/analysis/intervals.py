r"""Intervals for the constants of a law and for its predictions, honest about extrapolation.

Four things make a prediction uncertain, and each is measured on the training rows:

* *noise* $\sigma$: the residuals of the fit, per group, pulled towards the mean of all groups when rows are few; where
  repeats or standard errors show that noise changes, times how noisy a run at $x$ is (`noise.py`);
* *spread*: how far refits move at $x$ when the points (or runs) of each group are reweighted at random (Rubin 1981, the
  Bayesian bootstrap: every point keeps some weight, so that small groups stay fittable). A refit does what the fit did:
  the law's settings say which loss, weights, bounds and sharing;
* *choice*: a search that tries a thousand forms takes one of several that are nearly as good; where the runners-up
  predict something else at $x$, nobody knows better;
* *misfit*: the formula is not the truth, and far from the data that matters most. No resampling shows it. Around a form
  that was given the spread is stretched by the factor with which refits to the lower rungs of every fold would have
  covered the stated share of the rows above. Around a law that a search chose the runners-up tell more than folds by
  which it was chosen, and the factor is one number, measured on many tables (`sld/laws/calibration.py`).

How these make an interval, and curves that might as well be the law, stands in `sld/laws/uncertainty.py`. The interval
for a new run at $x$ is $\hat y \pm q \sqrt{\sigma^2 + S(x)^2}$, on the log scale where the residuals are more even.
`bench/intervals.md` has what it held on tables that had no say in it.

What cannot be measured is not made up: with no more rows than constants nothing is known of the noise, and the interval
ends where the target's declared bounds are, or nowhere. Where a search says that there is no law at all, an interval is
at least as wide as the rows of its group.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.refits import Refits
from sld.core.arrays import Rows
from sld.core.errors import SldError, UsageError
from sld.data.splits import Fold, rung_folds
from sld.data.table import ALL_ROWS, Array, Table, read_points
from sld.formula.expression import Expression
from sld.laws.calibration import STRETCH, TAILS
from sld.laws.draws import Of
from sld.laws.interval_record import (
    LEAST_REFITS,
    STILL,
    about_target,
    entry,
    inflation_of,
    is_exact,
    known_size,
    level_of,
    replicates_of,
    six_digits,
)
from sld.laws.law import Constants, Law
from sld.laws.uncertainty import Surroundings

if TYPE_CHECKING:
    from sld.search.candidates.candidate import Candidate
    from sld.search.outcome import Discovery

Interval = tuple[float, float]

_MAX_ROWS = 3000  # more are thinned out, which makes the spread wider, never narrower
_RIVALS = 10  # more change the score of intervals by less than one per cent
_CHUNK = 65536  # points predicted at once

UNMOVED = "refits do not move it"
FAILED = "refits fail"
PINNED = "held at this value"
AT_BOUND = "held by its bound"
OPEN = "the rows do not determine it"


@dataclass(frozen=True)
class Rival:
    """A form that was nearly chosen: target column to formula, and to constants by group.

    Attributes:
        share: What it counts beside the best one: the ratio of their squared errors on the folds, at most 1.
    """

    expressions: Mapping[str, Expression]
    constants: Constants
    share: float = 1.0


def with_intervals(found: Discovery) -> Discovery:
    """Return a discovery whose laws, the chosen one and the best form by itself, carry their intervals.

    Where they cannot be measured a note says why, and the law is not lost.
    """
    single = found.single
    try:
        law = add_intervals(found)
        if single is not None and found.best is not None:
            single = replace(single, intervals=_measured(found, single, found.best))
    except SldError as error:
        return replace(found, notes=(*found.notes, f"there are no intervals: {error}"))
    return replace(found, law=law, single=single)


def add_intervals(found: Discovery, *, level: float = 0.9) -> Law:
    """Return the law of a discovery with its intervals."""
    return replace(found.law, intervals=_measured(found, found.law, found.chosen, level))


def _measured(found: Discovery, law: Law, chosen: Candidate, level: float = 0.9) -> dict[str, Any]:
    """Return the intervals of one of the laws of a discovery; groups that borrow get those of another."""
    rows = drawn_rows(found.table, 0)
    table = found.table if len(rows) == found.table.n_rows else found.table.take(rows)
    seed = int(found.config.get("seed", 0))
    others = (c for c in found.hall_of_fame if c.key != chosen.key and c.admissible == chosen.admissible)
    judged = replace(law, constants={t: {g: by[g] for g in table.groups} for t, by in law.constants.items()})
    best = min(c.score for c in (chosen, *found.hall_of_fame))
    rivals = [
        Rival(c.expressions, c.constants, math.exp(min(best - c.score, 0.0)))
        for c in others
        if all(set(judged.groups) <= set(by_group) for by_group in c.constants.values())
    ]
    measured = compute(judged, table, rung_folds(table), level=level, seed=seed, rivals=rivals[:_RIVALS])
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
            about["noise"][group] = six_digits(math.sqrt(2.0) * known_size(about["noise"][lender]))
            if lender in about["open"]:
                about["open"][group] = about["open"][lender]
            about["range"][group] = [float(ends[:, 0].min()), float(ends[:, 1].max())]
            about["spans"][group] = about["spans"][lender]
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

    Raises:
        UsageError: `level` or `replicates` is out of range.
    """
    _checked_level(level)
    if replicates < 10:
        raise UsageError(f"intervals need at least 10 replicates, got {replicates}")
    place = np.empty(table.n_rows, dtype=np.intp)
    place[table.canonical_order()] = np.arange(table.n_rows)
    table = table.canonical()
    rows = drawn_rows(table, seed)
    some = table if len(rows) == table.n_rows else table.take(rows)
    some_folds = [
        (_renumbered(np.sort(place[fold.train]), rows), _renumbered(np.sort(place[fold.test]), rows)) for fold in folds
    ]
    targets = {}
    for j, target in enumerate(law.targets):
        column = target.column
        settings = law.settings[column]
        fits = Refits(law.expressions[column], some, j, law.constants[column], settings, seed)
        about = fits.measure([] if rivals else some_folds, level, replicates)
        if rivals:
            about |= {"widening": STRETCH, "tails": TAILS}
        targets[column] = {
            **about,
            "range": _ranges(some, j, level),
            "rivals": [
                {
                    "expression": r.expressions[column].text,
                    "share": float(f"{r.share:.6g}"),
                    "constants": {
                        g: {c: float(f"{r.constants[column][g][c]:.12g}") for c in r.expressions[column].constants}
                        for g in law.groups
                    },
                }
                for r in rivals
            ],
        }
    return {"level": level, "replicates": replicates, "seed": seed, "targets": targets}


def _checked_level(level: float) -> float:
    if not 0.5 <= level < 1.0:
        raise UsageError(f"the level of intervals must be at least 0.5 and below 1, got {level:g}")
    return level


def _ranges(table: Table, target: int, level: float) -> dict[str, list[float]]:
    """Return for each group the quantiles between which so many of its rows lie, and a new one if there is no law."""
    ends = [0.5 - level / 2, 0.5 + level / 2]
    return {
        group: [
            float(f"{x:.12g}") for x in np.quantile(table.Y[table.group_index == g, target], ends, method="weibull")
        ]
        for g, group in enumerate(table.groups)
    }


def predict_intervals(law: Law, points: object, *, level: float | None = None, of: Of = "run") -> tuple[Array, Array]:
    """Return lower and upper ends (n_points, n_targets) between which a new run, or the law itself, is expected.

    The prediction always lies between them. Where refits fail or leave the domain of the formula the ends are what the
    rows span, and more with the distance; where the law itself gives no number they are NaN. Where the search found no
    law they are at least as far apart as the rows of the group.

    Args:
        law: A law with intervals.
        points: Where: a table, DataFrame, mapping of columns, or path.
        level: Share of what is expected inside; the law's own if not given, which is 0.9.
        of: "run" for where a new run will be, with its noise; "law" for where the curve is.

    Raises:
        UsageError: The law carries no intervals, a point's group has no constants, or `level` is out of range.
        DataError: A column is missing or a cell is not a number.
    """
    level = level_of(law) if level is None else _checked_level(level)
    if of not in ("law", "run"):
        raise UsageError(
            f"an interval is of the 'law' (where is the curve?) or a 'run' (where will it be?), got {of!r}"
        )
    table = points if isinstance(points, Table) else read_points(points, law.variables, law.group_column)
    predictions = law.predict(table)
    lower, upper = np.empty_like(predictions), np.empty_like(predictions)
    inputs = {v.symbol: table.column(v.column) for v in law.variables}
    lawless = law.provenance.get("verdict", {}).get("kind") == "no law"
    for g, group in enumerate(table.groups):
        name = group if law.grouped else ALL_ROWS
        all_rows = np.flatnonzero(table.group_index == g)
        for j, target in enumerate(law.targets):
            around = Surroundings(law, j, name)
            least = entry(about_target(law, target.column).get("range", {name: None}), name) if lawless else None
            for rows in np.array_split(all_rows, max(1, math.ceil(len(all_rows) / _CHUNK))):
                columns = {symbol: np.ascontiguousarray(values[rows]) for symbol, values in inputs.items()}
                at = around.at(columns)
                width = np.hypot(at.noise, at.spread) if of == "run" else at.spread
                half = around.quantile(level) * width
                # the formula's own interval, moved to where the law predicts
                predicted = predictions[rows, j]
                centre = at.centre + around.scale.difference(predicted, at.middle)
                lower[rows, j], upper[rows, j] = around.scale.ends(predicted, centre, half)
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
    level = level_of(law)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    found: dict[str, dict[str, dict[str, Interval | str]]] = {}
    for target, by_group in law.constants.items():
        about = about_target(law, target)
        found[target] = {}
        for group, values in by_group.items():
            replicates = replicates_of(about, target, group)
            # residuals are smaller than errors, and their size is itself uncertain when few rows are left over
            wider = inflation_of(about, group) * _student(level, float(about["free"][group])) / z
            if law.settings[target].learned:
                wider = 1.0  # draws from few rows know how few they are
            exact = is_exact(about, group)
            held = law.settings[target].at_bounds({group: values})
            loose = about.get("open", {}).get(group, ())
            found[target][group] = {}
            for name, value in values.items():
                ends: Interval | str = PINNED
                if name in replicates[0]:
                    moved = np.array([r[name] for r in replicates])
                    if law.settings[target].points:
                        moved = _around(value, moved)
                    ends = _ends(value, moved, wider, level, exact, name in held)
                open_ = name in loose and not exact and isinstance(ends, tuple)
                found[target][group][name] = OPEN if open_ else ends
    return found


def refit_to(law: Law, table: Table, target: int, rows: Rows) -> Array | None:
    """Return what the form of a law predicts (n_rows,) when it is fitted as the law was, but to some rows; None if not.

    A law that follows others beyond the rows is on its own here: the others have seen all rows.
    """
    column = law.targets[target].column
    constants = {g: law.constants[column][g] for g in table.groups}
    fits = Refits(law.expressions[column], table, target, constants, law.settings[column], 0)
    values = fits.refitted(rows)
    return None if values is None else fits.fitter.predict(values)


def _student(level: float, free: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(free, 0.5 + level / 2))


def _around(value: float, replicates: Array) -> Array:
    """Return replicates of a constant as they lie around an estimate that follows more than the rows.

    Refits are to the rows alone, so their middle is another one; how far they scatter about it is what the rows tell.
    """
    known = replicates[np.isfinite(replicates)]
    if not len(known):
        return replicates
    middle = float(np.median(known))
    if value * middle > 0 and (known * middle > 0).all():
        return np.asarray(value * (replicates / middle))
    return np.asarray(value + (replicates - middle))


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
    if len(known) < LEAST_REFITS:
        return FAILED
    still = np.abs(known - value) <= STILL * abs(value)
    if not (exact or held) and 2 * int(still.sum()) >= len(known):
        return UNMOVED
    # of 40 replicates, 1 in 41 lies beyond either extreme
    low, high = np.quantile(known, [0.5 - level / 2, 0.5 + level / 2], method="weibull")
    low, high = min(float(low), value), max(float(high), value)
    if held and high - low <= STILL * abs(value):
        return AT_BOUND
    sign = math.copysign(1.0, value)
    if value != 0 and low * sign > 0 and high * sign > 0:
        # stretched as a ratio, a coefficient that is known to be positive stays positive
        with np.errstate(all="ignore"):
            ends = [float(value * np.power(end / value, wider)) for end in (low, high)]
    else:
        ends = [value + wider * (low - value), value + wider * (high - value)]
    return min(ends[0], value), max(ends[1], value)


def drawn_rows(table: Table, seed: int) -> Rows:
    """Return the row numbers to work with: all, or an even share of each group where there are many."""
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
