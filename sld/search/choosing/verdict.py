"""May the law be believed, and how far: what a search says of its own outcome, "no law" included.

The chosen formula is the best of thousands, so nothing that it scored can be taken at face value. Questions are put to
the table instead:

- Is there anything to explain? A permutation test that sees no formula (dependence.py).
- Does the formula predict unseen rungs better than no formula: than the mean of the runs below, than the nearest run's
  value carried over? A fold on which it fails speaks against it, whatever the others say.
- Does the formula describe the rows that it was fitted to, as well as repeats of them allow?
- How far beyond the data do the folds, laws that the folds cannot tell apart, the declared bounds and directions, and
  the law's own interval go along with it? (reach.py)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sld.core.arrays import Array
from sld.core.numbers import short
from sld.data.card import Variable
from sld.data.splits import Fold
from sld.data.table import Table
from sld.fit.noise import ErrorScale
from sld.laws.law import Law
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.selection import FAILED_FOLD
from sld.search.choosing.reach import LEAST_SPAN, Support, span, support, used_scales
from sld.search.choosing.robust import FAR, MOST_FAR
from sld.search.judging.baselines import baselines
from sld.search.screening.counting import Counting, constants_of
from sld.search.screening.dependence import dependence

LEVEL = 0.02  # p-value above which a table counts as noise; so is one noise table in fifty taken for a law
ABSURD = 4.0  # NMSE: errors of twice the spread of the whole table
LEAST_EXPLAINED = 0.5  # of what repeats leave to explain
_MOST_NOISE = 0.95  # of the variation, however much repeats differ: some of it is left to explain
_NAMED_FOLDS = 2  # a sentence with more is not read
_TINY = 1e-12  # NMSE of rounding, so that an error of nothing has a logarithm

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
            column's own units; in the group that goes farthest.
        edge: The same variables' largest values in the table.
        by_group: Group to what `reach` is for it; empty in a table without groups.
        edges: Group to what `edge` is for it; empty in a table without groups.
        down: Symbol to the smallest value down to which the law is supported, in the group that goes farthest; empty
            unless it is a law with intervals.
        start: The same variables' smallest values in the table.
        down_by_group: Group to what `down` is for it; empty in a table without groups.
        missing: What runs the table lacks for a law to be judged, as a sentence without a full stop; empty if none.
        planned: Whether the planned runs lie within what is supported, likewise; empty where none were named.
    """

    kind: Kind
    reasons: tuple[str, ...]
    p_value: float
    p_values: tuple[float, ...]
    versus_mean: float
    versus_nearest: float
    reach: Mapping[str, float] = field(default_factory=dict)
    edge: Mapping[str, float] = field(default_factory=dict)
    by_group: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    edges: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    down: Mapping[str, float] = field(default_factory=dict)
    start: Mapping[str, float] = field(default_factory=dict)
    down_by_group: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    missing: str = ""
    planned: str = ""

    @property
    def downwards(self) -> str:
        """How far down the law is supported, in one sentence; empty where that was not looked at."""
        if not self.down:
            return ""
        uneven = any(dict(by) != dict(self.down) for by in self.down_by_group.values())
        where = ", in the group that goes farthest" if uneven else ""
        starts = ", ".join(f"{symbol} = {short(value)}" for symbol, value in self.start.items())
        if dict(self.down) == dict(self.start):
            return f"downwards, not supported below the runs, which begin at {starts}"
        ends = ", ".join(f"{symbol} = {short(value)}" for symbol, value in self.down.items())
        return f"downwards, supported to {ends}{where} (the runs begin at {starts})"

    @property
    def limit(self) -> str:
        """Where extrapolation ends, e.g. "N = 3e8, D = 1e10"; empty without scale variables."""
        return ", ".join(f"{symbol} = {short(value)}" for symbol, value in self.reach.items())

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        return f"{self._judged}; {self.planned}" if self.planned else self._judged

    @property
    def _judged(self) -> str:
        why = "; ".join((*self.reasons, *([self.missing] if self.missing else [])))
        if self.kind == "no law":
            return f"no law: {why}"
        beyond = f"beyond {self.limit}" if self.limit else "beyond the data"
        if self.kind == "weak":
            return f"weak law, do not extrapolate {beyond}: {why}"
        ends = ", ".join(f"{symbol} = {short(value)}" for symbol, value in self.edge.items())
        uneven = any(dict(by) != dict(self.reach) for by in self.by_group.values())
        where = ", in the group that goes farthest" if uneven else ""
        said = f"law, supported up to {self.limit}{where} (the runs end at {ends})" if self.limit else "law"
        return f"{said}; {why}" if why else said

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
            "reach": _all_rounded(self.reach),
            "edge": _all_rounded(self.edge),
            **({"reach_by_group": {g: _all_rounded(by) for g, by in self.by_group.items()}} if self.by_group else {}),
            **({"down": _all_rounded(self.down), "start": _all_rounded(self.start)} if self.down else {}),
            **(
                {"down_by_group": {g: _all_rounded(by) for g, by in self.down_by_group.items()}}
                if self.down_by_group
                else {}
            ),
            **({"missing": self.missing} if self.missing else {}),
            **({"planned": self.planned} if self.planned else {}),
        }


def _all_rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    return {symbol: _rounded(value) for symbol, value in values.items()}


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

    What the law's own interval says comes afterwards, see `sld.analysis.support.limit_by_intervals`.

    Args:
        table: The rows that the search judged on.
        folds: Its folds; their row numbers are those of `table`.
        chosen: The candidate that was chosen.
        ranked: The hall of fame, best first.
        law: The chosen form fitted to all rows.
        seed: Seed of the shuffles.
    """
    found = dependence(table, seed)
    counting = Counting.of(table, folds)
    silent = {k for t in chosen.expressions for k in counting.silent_folds(*constants_of(chosen, t))}
    speaking = [k for k in range(len(folds)) if k not in silent]
    errors = np.array([e if math.isfinite(e) else FAILED_FOLD for e in chosen.fold_errors])
    mean, nearest = (of.mean(axis=1) for of in baselines(table, folds))
    over_mean, over_nearest = (_log_ratios(errors, other, speaking) for other in (mean, nearest))
    scales = used_scales(table, chosen.expressions)
    far = support(table, folds, chosen, ranked, law)
    reach = far.by_group
    kind: Kind
    if found.p_value > LEVEL:
        kind, reasons = "no law", [_noise(table, found.p_value, found.smallest, found.n_rows)]
    else:
        reasons = [
            *_against_the_folds(table, folds, chosen, over_mean, over_nearest, silent),
            *_missed_rows(table, law),
            *_too_little_range(table, scales),
            *_unphysical(chosen, far),
        ]
        lost = [t.column for t, p in zip(table.targets, found.p_values, strict=True) if p > LEVEL]
        if lost:
            reasons.append(f"nothing shows that {', '.join(lost)} depends on any variable")
        if far.why and not reasons:
            reasons.append(far.why)
        kind = "weak" if reasons else "law"
    if reasons:
        reach = far.edges
    grouped = len(table.groups) > 1
    return Verdict(
        kind=kind,
        reasons=tuple(reasons),
        p_value=found.p_value,
        p_values=found.p_values,
        versus_mean=float(np.exp(over_mean.mean())) if len(over_mean) else math.nan,
        versus_nearest=float(np.exp(over_nearest.mean())) if len(over_nearest) else math.nan,
        reach=far.edge if reasons else far.reach,
        edge=far.edge,
        by_group=reach if grouped and scales else {},
        edges=far.edges if grouped and scales else {},
        missing=counting.missing,
    )


def _noise(table: Table, p_value: float, smallest: float, n_rows: int) -> str:
    if smallest > LEVEL:
        return f"{n_rows} rows are too few to tell a law from chance"
    what = table.targets[0].column if len(table.targets) == 1 else "no target"
    how = "does not depend on the variables" if len(table.targets) == 1 else "depends on the variables"
    within = " within groups" if len(table.groups) > 1 else ""
    return f"{what} {how} more than shuffled rows do{within} (p = {short(p_value, 2)}), so the formula describes chance"


def _against_the_folds(
    table: Table,
    folds: Sequence[Fold],
    chosen: Candidate,
    over_mean: Array,
    over_nearest: Array,
    silent: set[int],
) -> list[str]:
    """Return what the folds say against a law."""
    n = len(chosen.fold_errors)
    if 2 * len(silent) >= n:
        return [f"{len(silent)} of {n} folds have too few distinct points to judge its constants"]
    failed = _failed_folds(table, folds, chosen, silent)
    if failed:
        named = "; ".join(failed[:_NAMED_FOLDS])
        return [f"on {len(failed)} of {n} folds a fit to the lower rungs predicts nothing usable ({named})"]
    if len(over_mean) and float(over_mean.mean()) >= 0.0:
        return ["on unseen rungs it does no better than the mean of the runs below them"]
    if len(over_mean) and float(np.median(over_mean)) >= 0.0:
        worse = int((over_mean >= 0.0).sum())
        return [f"on {worse} of {n} folds it does no better than the mean of the runs below"]
    if len(over_nearest) > 1:
        error = float(np.std(over_nearest, ddof=1)) / math.sqrt(len(over_nearest))
        if float(over_nearest.mean()) > error:
            ratio = math.exp(float(over_nearest.mean()))
            return [f"on unseen rungs the nearest run's value does better ({short(ratio, 2)} times smaller error)"]
    return []


def _failed_folds(table: Table, folds: Sequence[Fold], chosen: Candidate, silent: set[int]) -> list[str]:
    """Return the folds on which some target could not be predicted at all, in words."""
    mean, nearest = baselines(table, folds)
    several = len(table.targets) > 1
    found = []
    for k, fold in enumerate(folds[: len(chosen.fold_errors)]):
        if k in silent:
            continue
        for j, target in enumerate(table.targets):
            judged = chosen.judgements[j].fold_errors if len(chosen.judgements) > j else chosen.fold_errors
            error, trivial = judged[k], min(mean[k, j], nearest[k, j])
            if not error < FAILED_FOLD or error > ABSURD * max(trivial, 1.0):
                size = f"error {short(error, 2)}" if math.isfinite(error) else "no fit"
                found.append(f"{fold.name}: {f'{target.column}, ' if several else ''}{size}")
                break
    return found


def _missed_rows(table: Table, law: Law) -> list[str]:
    """Return which targets' rows the law misses though it was fitted to them."""
    found = []
    predictions = law.by_formula(table)
    index = table.group_index
    for j, target in enumerate(table.targets):
        y, prediction = table.Y[:, j], predictions[:, j]
        lost = int((~np.isfinite(prediction)).sum())
        if lost:
            found.append(f"it gives no number for {lost} of its own {table.n_rows} rows")
            continue
        scale = ErrorScale.of(table, j)
        weights = np.ones(table.n_rows) if scale.weights is None else scale.weights
        miss = y - prediction
        if law.loss(target.column) == "huber":
            weights = weights * _near(miss)
        total = np.maximum(np.bincount(index, weights=weights, minlength=len(table.groups)), 1e-300)
        middle = np.bincount(index, weights=weights * y, minlength=len(table.groups)) / total
        within = float(np.sum(weights * (y - middle[index]) ** 2))
        if not within > 0.0:
            continue
        noise = scale.floor(np.arange(table.n_rows)) * scale.variance * float(weights.sum()) / within
        allowed = 1.0 - min(noise, _MOST_NOISE)
        explained = 1.0 - float(np.sum(weights * miss**2)) / within
        if explained < LEAST_EXPLAINED * allowed:
            several = f" of {target.column}" if len(table.targets) > 1 else ""
            where = " within groups" if len(table.groups) > 1 else ""
            share = f"{100 * explained:.0f} %" if explained > 0 else "nothing"
            repeats = "no repeats tell whether the rest is noise"
            if scale.noise is not None:
                repeats = f"repeats allow {100 * allowed:.0f} %"
            found.append(f"it explains {share} of the variation of its own rows{several}{where} ({repeats})")
    return found


def _near(miss: Array) -> Array:
    """Return 0 for rows (n_rows,) that lie far off the law, by accident, and 1 for the others."""
    off = np.abs(miss - np.median(miss))
    far = off > FAR * 1.4826 * float(np.median(off))
    return np.where(far, 0.0, 1.0) if far.mean() <= MOST_FAR else np.ones(len(miss))


def _too_little_range(table: Table, scales: Sequence[Variable]) -> list[str]:
    narrow = {v.symbol: factor for v in scales if (factor := span(table, v)) < LEAST_SPAN}
    if not scales or len(narrow) < len(scales):
        return []
    factors = ", ".join(f"{symbol} spans a factor of {short(factor, 2)}" for symbol, factor in narrow.items())
    return [f"too little range: {factors}{' within a group' if len(table.groups) > 1 else ''}"]


def _unphysical(chosen: Candidate, far: Support) -> list[str]:
    if far.broken:
        return [far.broken[0]]
    return [] if chosen.admissible else ["it fails a physical check where it would be used"]


def _log_ratios(errors: Array, others: Array, which: Sequence[int]) -> Array:
    kept = [k for k in which if k < min(len(errors), len(others))]
    capped = [np.log(np.minimum(e[kept], FAILED_FOLD) + _TINY) for e in (errors, others)]
    ratios: Array = capped[0] - capped[1]
    return ratios
