"""May the law be believed, and how far: what a search says of its own outcome, "no law" included.

The chosen formula is the best of thousands, so nothing that it scored can be taken at face value. Three questions are
put to the table instead:

- Is there anything to explain? A permutation test that sees no formula (dependence.py).
- Does the formula predict unseen rungs better than no formula: than the mean of the runs below, than the nearest run's
  value carried over?
- How far beyond the data do laws that the folds cannot tell apart still agree? Never farther than the longest step that
  a fold has tested, relative to the range below it: nothing in the table speaks of a longer one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sld.core.axes import position
from sld.core.card import Variable
from sld.core.evaluation import evaluate
from sld.core.law import Law
from sld.core.noise import ErrorScale
from sld.core.splits import Fold
from sld.core.table import Array, Table
from sld.search.dependence import dependence, positions
from sld.search.selection import FAILED_FOLD

if TYPE_CHECKING:
    from sld.core.expression import Expression
    from sld.search.candidate import Candidate

LEVEL = 0.02  # p-value above which a table counts as noise; so is one noise table in fifty taken for a law
LEAST_SPAN = 2.0  # factor that a scale variable has to span in some group
_CLOSE = 0.7  # difference of scores: laws whose errors on the folds are within a factor of two, prices included
_RIVALS = 10
_STEPS = 24  # per variable, on the way to as far as the folds have tested
_APART = 0.5  # laws disagree when they differ by half of the change that the law predicts beyond the data
_ALIKE = 0.1  # and by more than this share of the standard deviation in the group
_TINY = 1e-12

Kind = Literal["law", "weak", "no law"]


@dataclass(frozen=True)
class Verdict:
    """Whether there is a law, and how far it may be extrapolated.

    Attributes:
        kind: "law"; "weak" (the target does depend on the variables, but do not extrapolate); "no law".
        reasons: Why it is not a plain "law", as sentences without a full stop.
        p_value: Of the permutation test, for the whole table.
        p_values: Of each target, as the table's.
        versus_mean: Error on unseen rungs over that of the mean of the rows below (geometric mean over the folds).
        versus_nearest: The same over the nearest row's value carried over.
        reach: Symbol of each scale variable in the law to the largest value up to which it is supported, in the
            column's own units.
        edge: The same variables' largest values in the table.
    """

    kind: Kind
    reasons: tuple[str, ...]
    p_value: float
    p_values: tuple[float, ...]
    versus_mean: float
    versus_nearest: float
    reach: Mapping[str, float] = field(default_factory=dict)
    edge: Mapping[str, float] = field(default_factory=dict)

    @property
    def limit(self) -> str:
        """Where extrapolation ends, e.g. "N = 3e+08, D = 1e+10"; empty without scale variables."""
        return ", ".join(f"{symbol} = {value:.3g}" for symbol, value in self.reach.items())

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        why = "; ".join(self.reasons)
        if self.kind == "no law":
            return f"no law: {why}"
        beyond = f"beyond {self.limit}" if self.limit else "beyond the data"
        if self.kind == "weak":
            return f"weak law, do not extrapolate {beyond}: {why}"
        ends = ", ".join(f"{symbol} = {value:.3g}" for symbol, value in self.edge.items())
        return f"law, supported up to {self.limit} (the runs end at {ends})" if self.limit else "law"

    def to_json(self) -> dict[str, Any]:
        """Return what law.json's provenance and `--json` hold."""
        # six digits: the last bits may depend on the machine, and nothing rests on them
        return {
            "kind": self.kind,
            "sentence": self.sentence,
            "reasons": list(self.reasons),
            "p_value": self.p_value,
            "p_values": list(self.p_values),
            "versus_mean": _rounded(self.versus_mean),
            "versus_nearest": _rounded(self.versus_nearest),
            "reach": {symbol: _rounded(value) for symbol, value in self.reach.items()},
            "edge": {symbol: _rounded(value) for symbol, value in self.edge.items()},
        }


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def verdict(
    table: Table,
    folds: Sequence[Fold],
    chosen: Candidate,
    ranked: Sequence[Candidate],
    law: Law,
    *,
    seed: int = 0,
) -> Verdict:
    """Judge the outcome of a search; the same outcome and seed give the same verdict.

    Args:
        table: The rows that the search judged on.
        folds: Its folds; their row numbers are those of `table`.
        chosen: The candidate that was chosen.
        ranked: The hall of fame, best first.
        law: The chosen form fitted to all rows.
        seed: Seed of the shuffles.
    """
    found = dependence(table, seed)
    mean, nearest = _trivial_errors(table, folds)
    errors = np.array([e if math.isfinite(e) else FAILED_FOLD for e in chosen.fold_errors])
    over_mean, over_nearest = (_log_ratios(errors, other) for other in (mean, nearest))
    scales = [
        v
        for v in table.variables
        if v.role == "scale" and any(v.symbol in e.used_variables for e in chosen.expressions.values())
    ]
    edge = {v.symbol: float(table.column(v.symbol).max()) for v in scales}
    reach = {v.symbol: _reach(table, folds, v, chosen, ranked, law) for v in scales}
    kind: Kind
    if found.p_value > LEVEL:
        kind, reasons = "no law", [_noise(table, found.p_value, found.smallest, found.n_rows)]
    else:
        reasons = _weaknesses(table, scales, chosen, over_mean, over_nearest)
        lost = [t.column for t, p in zip(table.targets, found.p_values, strict=True) if p > LEVEL]
        if lost:
            reasons.append(f"nothing shows that {', '.join(lost)} depends on any variable")
        if scales and not reasons and all(reach[symbol] <= edge[symbol] for symbol in reach):
            reasons.append("laws that do as well on the folds part ways at the edge of the data")
        kind = "weak" if reasons else "law"
    if reasons:
        reach = edge
    return Verdict(
        kind=kind,
        reasons=tuple(reasons),
        p_value=found.p_value,
        p_values=found.p_values,
        versus_mean=float(np.exp(over_mean.mean())) if len(over_mean) else math.nan,
        versus_nearest=float(np.exp(over_nearest.mean())) if len(over_nearest) else math.nan,
        reach=reach,
        edge=edge,
    )


def _noise(table: Table, p_value: float, smallest: float, n_rows: int) -> str:
    if smallest > LEVEL:
        return f"{n_rows} rows are too few to tell a law from chance"
    what = table.targets[0].column if len(table.targets) == 1 else "no target"
    how = "does not depend on the variables" if len(table.targets) == 1 else "depends on the variables"
    within = " within groups" if len(table.groups) > 1 else ""
    return f"{what} {how} more than shuffled rows do{within} (p = {p_value:.2g}), so the formula describes chance"


def _weaknesses(
    table: Table, scales: Sequence[Variable], chosen: Candidate, over_mean: Array, over_nearest: Array
) -> list[str]:
    found = []
    failed = sum(not e < FAILED_FOLD for e in chosen.fold_errors)
    if 2 * failed > len(chosen.fold_errors):
        found.append(f"on {failed} of {len(chosen.fold_errors)} folds a fit to the lower rungs predicts nothing usable")
    elif len(over_mean) and float(over_mean.mean()) >= 0.0:
        found.append("on unseen rungs it does no better than the mean of the runs below them")
    elif len(over_nearest) > 1:
        error = float(np.std(over_nearest, ddof=1)) / math.sqrt(len(over_nearest))
        if float(over_nearest.mean()) > error:
            ratio = math.exp(float(over_nearest.mean()))
            found.append(f"on unseen rungs the nearest run's value does better ({ratio:.2g} times smaller error)")
    narrow = {v.symbol: span for v in scales if (span := _span(table, v)) < LEAST_SPAN}
    if scales and len(narrow) == len(scales):
        factors = ", ".join(f"{symbol} spans a factor of {span:.2g}" for symbol, span in narrow.items())
        found.append(f"too little range: {factors}{' within a group' if len(table.groups) > 1 else ''}")
    if not chosen.admissible:
        found.append("it fails a physical check where it would be used")
    return found


def _span(table: Table, variable: Variable) -> float:
    """Return the factor between the smallest and the largest value, in the group where it is largest."""
    z = position(table, variable)[0]
    spans = [float(np.ptp(z[table.group_index == g])) for g in range(len(table.groups))]
    return math.exp(min(max(spans), 700.0))


# --- better than no formula -----------------------------------------------------------------------------------------


def _trivial_errors(table: Table, folds: Sequence[Fold]) -> tuple[Array, Array]:
    """Return the NMSE (n_folds,) of the group's mean and of the nearest row, counted as the errors of formulas are."""
    z = positions(table)
    scales = [ErrorScale.of(table, j) for j in range(len(table.targets))]
    mean, nearest = np.zeros(len(folds)), np.zeros(len(folds))
    for k, fold in enumerate(folds):
        of_mean, of_nearest = np.empty((len(fold.test), len(scales))), np.empty((len(fold.test), len(scales)))
        for g in range(len(table.groups)):
            here = np.flatnonzero(table.group_index[fold.test] == g)
            train = fold.train[table.group_index[fold.train] == g]
            if not len(here):
                continue
            distance = np.zeros((len(here), len(train)))
            for v in range(z.shape[1]):
                distance += np.square(z[fold.test[here], v][:, None] - z[None, train, v])
            close = distance <= distance.min(axis=1, keepdims=True) + _TINY
            carried = (close @ table.Y[train]) / close.sum(axis=1, keepdims=True)
            of_mean[here] = table.Y[train].mean(axis=0)
            of_nearest[here] = carried
        for errors, guess in ((mean, of_mean), (nearest, of_nearest)):
            miss = np.zeros(table.Y.shape)
            miss[fold.test] = table.Y[fold.test] - guess
            errors[k] = float(np.mean([scale.nmse(miss[:, j], fold.test) for j, scale in enumerate(scales)]))
    return mean, nearest


def _log_ratios(errors: Array, others: Array) -> Array:
    n = min(len(errors), len(others))
    capped = [np.log(np.minimum(e[:n], FAILED_FOLD) + _TINY) for e in (errors, others)]
    ratios: Array = capped[0] - capped[1]
    return ratios


# --- how far --------------------------------------------------------------------------------------------------------


def _tested(table: Table, folds: Sequence[Fold], z: Array) -> float:
    """Return the longest step along `z` (n_rows,) that a fold asked for, over the range of the rows fitted to."""
    longest = 0.0
    for fold in folds:
        for g in range(len(table.groups)):
            test, train = (z[rows[table.group_index[rows] == g]] for rows in (fold.test, fold.train))
            if len(test) and len(train) and np.ptp(train) > 0:
                longest = max(longest, float((test.max() - train.max()) / np.ptp(train)))
    return min(longest, 1.0)


def _reach(
    table: Table, folds: Sequence[Fold], variable: Variable, chosen: Candidate, ranked: Sequence[Candidate], law: Law
) -> float:
    """Return the largest value of `variable` up to which laws that do as well as the chosen one agree with it."""
    rivals = [
        c
        for c in ranked
        if c.key != chosen.key and c.admissible == chosen.admissible and c.score <= chosen.score + _CLOSE
    ][:_RIVALS]
    i = table.variables.index(variable)
    z = position(table, variable)[0]
    per_unit = {"log10": math.log(10), "log2": math.log(2)}.get(variable.log or "", 1.0)
    span = max(float(np.ptp(z[table.group_index == g])) for g in range(len(table.groups)))
    steps = np.linspace(0.0, span * _tested(table, folds, z), _STEPS + 1)
    limit = _STEPS
    for j, target in enumerate(table.targets):
        apart = np.zeros((len(table.groups), _STEPS + 1))
        for g, group in enumerate(table.groups):
            rows = np.flatnonzero(table.group_index == g)
            start = table.X[_largest(table, rows, z, j)]
            points = np.tile(start, (_STEPS + 1, 1))
            points[:, i] = start[i] + steps / per_unit if variable.log else start[i] * np.exp(steps)
            columns = {s: np.ascontiguousarray(points[:, k]) for k, s in enumerate(table.symbols)}
            expression, constants = chosen.expressions[target.column], law.constants[target.column]
            change = _change(expression, columns, constants.get(group))
            others = [
                _change(c.expressions[target.column], columns, c.constants[target.column].get(group)) for c in rivals
            ]
            allowed = np.maximum(_APART * np.abs(change), _ALIKE * float(np.std(table.Y[rows, j])) + _TINY)
            difference = np.abs(np.array(others).reshape(len(others), len(steps)) - change)
            difference[~np.isfinite(difference)] = np.inf
            # four of five rivals count: one odd form in ten says little
            spread = np.quantile(difference, 0.8, axis=0, method="lower") if others else np.zeros(len(steps))
            apart[g] = np.where(np.isfinite(change), spread / allowed, np.inf)
        typical = np.quantile(apart, 0.5, axis=0, method="lower")  # over the groups
        limit = min(limit, int(np.argmax(typical > 1.0)) - 1 if (typical > 1.0).any() else _STEPS)
    largest = float(table.X[:, i].max())
    if limit <= 0 or math.exp(min(span, 700.0)) < LEAST_SPAN:
        return largest
    step = float(steps[limit])
    return largest + step / per_unit if variable.log else largest * math.exp(step)


def _largest(table: Table, rows: Any, z: Array, target: int) -> int:
    """Return the row of the group that is farthest along; of several the one that did best."""
    y = table.Y[rows, target] if table.targets[target].better == "lower" else -table.Y[rows, target]
    return int(rows[np.lexsort((y, -z[rows]))[0]])


def _change(expression: Expression, columns: Mapping[str, Array], constants: Mapping[str, float] | None) -> Array:
    """Return what a law predicts to change from the first point on; NaN for a group that it has no constants for."""
    if constants is None:
        return np.full(len(next(iter(columns.values()))), np.nan)
    values = evaluate(expression, columns, constants)
    with np.errstate(invalid="ignore"):
        change: Array = values - values[0]
    return change
