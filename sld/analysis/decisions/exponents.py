"""Whether one exponent serves several groups: shared against separate, judged by folds.

Two recipes with one exponent differ by a factor of compute that stays; with two exponents the lead grows or shrinks.
Fits with separate exponents always follow the rows more closely, so they are judged on larger runs that they have not
seen: on every fold both are fitted to the lower rungs, and asked for the higher ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sld.core.arrays import Array, Rows
from sld.core.errors import UsageError
from sld.core.numbers import short
from sld.data.splits import Fold
from sld.data.table import Table
from sld.fit.kernel import evaluate
from sld.formula.expression import Expression
from sld.laws.conditions import exponents_of
from sld.laws.fit_settings import FitSettings

_STARTS = 12  # of each fit on a fold
_LEAST_FOLDS = 2  # of which both fits succeed
_LEAST_POINTS = 4  # that are judged, for a standard error
# what separate exponents have to gain to be preferred: they have more constants, and are judged on few points
_SURE = 2.0  # standard errors
_WORTH = 1.02  # times: an error that is 2 % smaller is no reason for another formula


@dataclass(frozen=True)
class ExponentTest:
    """Shared exponents against separate ones.

    Attributes:
        constants: The exponents.
        shared: Root mean square of the errors on judged rows, in logarithms where `log`, with shared exponents.
        separate: The same with exponents for each group.
        gain: By how much the squared error of a row is smaller with separate ones, on average, in the errors' unit.
        error: Standard error of the gain, over judged points.
        n_rows: Judged rows.
        n_folds: Folds.
        log: Whether errors are of logarithms.
        serves: Whether one exponent serves all.
    """

    constants: tuple[str, ...]
    shared: float
    separate: float
    gain: float
    error: float
    n_rows: int
    n_folds: int
    log: bool
    serves: bool

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        names = " and ".join(self.constants)
        unit = " of the logarithm" if self.log else ""
        how = (
            f"on {self.n_rows} larger runs that fits had not seen ({self.n_folds} folds) the typical error{unit} is "
            f"{short(self.shared)} with {names} shared, {short(self.separate)} with separate ones"
        )
        if self.serves:
            return f"one {names} serves all: {how}"
        return f"separate {names} predict better: {how}"

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {
            "constants": [*self.constants], "shared": self.shared, "separate": self.separate, "gain": self.gain,
            "error": self.error, "n_rows": self.n_rows, "n_folds": self.n_folds, "log": self.log, "serves": self.serves,
        }  # fmt: skip


def shared_or_separate(
    expression: Expression,
    table: Table,
    folds: Sequence[Fold],
    settings: FitSettings | None = None,
    *,
    target: int = 0,
    seed: int = 0,
) -> ExponentTest | None:
    """Judge whether one set of exponents serves all groups of a table; None where it cannot be told.

    Args:
        expression: The form.
        table: Rows of two groups or more.
        folds: Rows to fit to and rows to judge (`splits.rung_folds`).
        settings: How the form is fitted.
        target: Column of the targets.
        seed: Of starting points.
    """
    names = exponents_of(expression)
    if len(table.groups) < 2 or not names:
        return None
    plain = settings or FitSettings()
    free = tuple(n for n in names if n not in plain.pinned and n not in plain.tied)
    kinds = replace(plain, shared=tuple(c for c in plain.shared if c not in free))
    common = replace(plain, shared=tuple(dict.fromkeys((*plain.shared, *free))))
    y = table.Y[:, target]
    log = bool((y > 0).all())
    # a point is judged by several folds, which is no more evidence than once: its gain is their mean
    gains: dict[int, list[float]] = {}
    squares = []
    judged = 0
    for fold in folds:
        errors = [_errors(expression, table, fold, s, target, seed, log) for s in (common, kinds)]
        if errors[0] is None or errors[1] is None:
            continue
        both = np.square(np.array([errors[0], errors[1]]))
        for point, gain in zip(table.points()[fold.test].tolist(), (both[0] - both[1]).tolist(), strict=True):
            gains.setdefault(point, []).append(gain)
        squares.append(both.mean(axis=1))
        judged += both.shape[1]
    if len(squares) < _LEAST_FOLDS or len(gains) < _LEAST_POINTS:
        return None
    shared, separate = np.sqrt(np.mean(squares, axis=0)).tolist()
    own = np.array([np.mean(of) for of in gains.values()])
    gain, error = float(own.mean()), float(own.std(ddof=1)) / math.sqrt(len(own))
    serves = gain <= _SURE * error or shared < _WORTH * separate
    return ExponentTest(free, shared, separate, gain, error, judged, len(squares), log, serves)


def _errors(
    expression: Expression, table: Table, fold: Fold, settings: FitSettings, target: int, seed: int, log: bool
) -> Array | None:
    """Return what a fit to the rows of a fold misses its judged rows by; None where it fails."""
    train = table.take(fold.train)
    try:
        found = settings.fit(expression, train, target=target, starts=_STARTS, seed=seed)
    except UsageError:  # the fold leaves a group fewer points than constants
        return None
    if not found.ok:
        return None
    predicted = np.full(len(fold.test), math.nan)
    for g, group in enumerate(table.groups):
        here: Rows = np.flatnonzero(table.group_index[fold.test] == g)
        if len(here) and group in found.constants:
            columns = {s: np.ascontiguousarray(x[fold.test[here]]) for s, x in table.inputs.items()}
            predicted[here] = evaluate(expression, columns, found.constants[group])
    y = table.Y[fold.test, target]
    with np.errstate(all="ignore"):
        errors = np.log(predicted / y) if log else predicted - y
    return np.asarray(errors) if np.isfinite(errors).all() else None
