"""Other ways in which the same law could have been fitted to the same runs, one change at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sld.analysis.decisions.budgets import clustered
from sld.core.arrays import Array
from sld.core.numbers import exact, short
from sld.data.splits import rungs
from sld.data.table import Table
from sld.fit.fitting import HUBER_DELTA_LOG, Loss
from sld.formula.expression import Expression
from sld.laws.fit_settings import FitSettings

_LOSSES: tuple[tuple[Loss, float | None], ...] = (
    ("squared", None),
    ("log", None),
    ("huber", None),
    ("log_huber", 1e-4),
    ("log_huber", HUBER_DELTA_LOG),
    ("log_huber", 1e-2),
)
_SINGLE_STARTS = 8  # tried one by one
_STARTS = 8  # of a refit, beside the constants of the fit
_MOST_LEFT_OUT = 40  # runs that are left out one by one; of more, a tenth at a time
_TENTHS = 10  # parts of the runs, where there are more
_LEAST_LEVELS = 3  # of a column, for one of them to be left out: two fit no power


@dataclass(frozen=True)
class Variation:
    """One other way.

    Attributes:
        factor: What is changed: "loss", "pinned", "rung", "budget", "group", "seed", "run", "start", "column", "rows".
        name: To what, for people.
        table: The rows.
        settings: How the form is fitted.
        starts: Starting points beside the constants of the fit.
        seed: Of these.
        alone: Whether the constants of the fit are no starting point.
    """

    factor: str
    name: str
    table: Table
    settings: FitSettings
    starts: int = _STARTS
    seed: int = 0
    alone: bool = False


@dataclass(frozen=True)
class Asked:
    """What a user adds to the variations that every table has.

    Attributes:
        pins: Constant to the values at which it is held, one after the other.
        columns: Name to symbol and column (n_rows,) that takes its place, such as another count of parameters.
        tables: Name to other rows of the same runs, such as the last checkpoints alone.
        labels: What is left out label by label, such as seeds: name to labels (n_rows,).
        compute: (n_rows,) what the runs cost, to leave out budgets; None where that is not known.
    """

    pins: Mapping[str, Sequence[float]] = field(default_factory=dict)
    columns: Mapping[str, tuple[str, Array]] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    compute: Array | None = None


def variations(
    expression: Expression, table: Table, settings: FitSettings, group: str, asked: Asked
) -> Iterator[Variation]:
    """Yield every other way, one change at a time.

    Args:
        expression: The form.
        table: The rows that it was fitted to.
        settings: How.
        group: Whose answer is looked at.
        asked: What the user adds.
    """
    yield from _losses(table, settings)
    for constant, values in asked.pins.items():
        for value in values:
            bounds = {c: b for c, b in settings.bounds.items() if c != constant}
            pinned = {**settings.pinned, constant: value}
            held = replace(
                settings, pinned=pinned, bounds=bounds, shared=tuple(c for c in settings.shared if c != constant)
            )
            yield Variation("pinned", f"{constant} held at {short(value, 4)}", table, held)
    yield from _levels(expression, table, settings)
    if asked.compute is not None:
        yield from _budgets(table, settings, asked.compute)
    if len(table.groups) > 1 and (settings.shared or settings.pooling == "partial"):
        for other in table.groups:
            if other != group:
                kept = table.take(table.group_index != table.groups.index(other))
                yield Variation("group", f"without {table.group_column} {other}", kept, settings)
    for name, labels in asked.labels.items():
        yield from _labelled("seed", name, np.asarray(labels), table, settings)
    yield from _runs(table, settings)
    for start in range(_SINGLE_STARTS):
        yield Variation("start", f"start {start + 1} alone", table, settings, starts=1, seed=start + 1, alone=True)
    for name, (symbol, column) in asked.columns.items():
        X = table.X.copy()
        X[:, table.symbols.index(symbol)] = column
        yield Variation("column", f"{symbol} counted as {name}", replace(table, X=X), settings, starts=24, alone=True)
    for name, rows in asked.tables.items():
        yield Variation("rows", name, rows, settings)


def _losses(table: Table, settings: FitSettings) -> Iterator[Variation]:
    positive = bool((table.Y > 0).all())
    now = (settings.loss, settings.delta if settings.delta is not None else _delta(settings.loss))
    for loss, delta in _LOSSES:
        if (loss, delta) == now or (loss.startswith("log") and not positive):
            continue
        # weights of a squared loss follow the noise; a robust one sees to it by itself
        own = replace(settings, loss=loss, delta=delta, weights=settings.weights if loss == "squared" else ())
        label = loss if delta is None else f"{loss}, delta {exact(delta)}"
        yield Variation("loss", f"loss {label}", table, own)


def _delta(loss: str) -> float | None:
    return HUBER_DELTA_LOG if loss == "log_huber" else None


def _levels(expression: Expression, table: Table, settings: FitSettings) -> Iterator[Variation]:
    """Yield the table without each rung of each scale variable."""
    for variable in table.variables:
        if variable.role != "scale" or variable.symbol not in expression.used_variables:
            continue
        level = rungs(table, variable.symbol)
        n = int(level.max()) + 1
        for k in range(n) if n >= _LEAST_LEVELS else ():
            x = table.column(variable.symbol)[level == k]
            near = short(x.min()) if x.max() <= 1.001 * x.min() else f"{short(x.min())} to {short(x.max())}"
            name = f"without {variable.column} = {near}"
            yield Variation("rung", name, table.take(level != k), settings)


def _budgets(table: Table, settings: FitSettings, compute: Array) -> Iterator[Variation]:
    budget = clustered(compute, table.X[:, 0])
    n = int(budget.max()) + 1
    for k in range(n) if n >= _LEAST_LEVELS else ():
        C = float(np.exp(np.log(compute[budget == k]).mean()))
        yield Variation("budget", f"without the budget {short(C)}", table.take(budget != k), settings)


def _labelled(
    factor: str, name: str, labels: np.ndarray[tuple[int], np.dtype[np.str_]], table: Table, settings: FitSettings
) -> Iterator[Variation]:
    for label in np.unique(labels).tolist():
        if (labels != label).any():
            yield Variation(factor, f"without {name} {label}", table.take(labels != label), settings)


def _runs(table: Table, settings: FitSettings) -> Iterator[Variation]:
    """Yield the table without each run, or without a tenth of them."""
    index = table.run_index if table.runs else np.arange(table.n_rows)
    names = table.runs or tuple(f"row {k + 1}" for k in range(table.n_rows))
    if len(names) <= _MOST_LEFT_OUT:
        for k, name in enumerate(names):
            label = f"without {table.run_column} {name}" if table.runs else f"without {name}"
            yield Variation("run", label, table.take(index != k), settings)
        return
    part = np.random.default_rng(0).permutation(len(names)) % _TENTHS
    for k in range(_TENTHS):
        yield Variation("run", f"without tenth {k + 1} of the runs", table.take(part[index] != k), settings)
