"""What a law says in plain numbers: the effect of doubling a variable, optima, limits, and where rivals part ways."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.analysis.sections import magnitude, main_variable
from sld.core.numbers import exact, short
from sld.data.axes import position
from sld.data.card import Target, Variable
from sld.data.table import ALL_ROWS, Array, Table
from sld.formula.expression import Expression
from sld.laws.law import Constants, Law

_FAR = (1e6, 1e9)  # where a law is asked for its limit, times the data
_GRID = 400


@dataclass(frozen=True)
class Reach:
    """Predictions at the largest run and beyond it.

    Attributes:
        where: What each point is, e.g. "N ×10".
        predictions: (n_laws, n_points, n_targets), in the order of the laws.
        points: The points, a table of the variables.
    """

    where: tuple[str, ...]
    predictions: Array
    points: Table


def reference_run(law: Law, table: Table) -> tuple[Array, str, str]:
    """Return the values of all variables at a run of the group with the most rows, the group, and what run it is.

    It is the largest run, or one in the middle when there is no scale variable; of several, the most ordinary one.
    """
    g = int(np.bincount(table.group_index).argmax())
    rows = np.flatnonzero(table.group_index == g)
    group = table.groups[g] if law.grouped else ALL_ROWS
    name = "a run in the middle"
    if scales := [v for v in table.variables if v.role == "scale"]:
        size = np.sum([position(table, v)[0][rows] for v in scales], axis=0)
        rows, name = rows[size >= size.max() - 1e-9 * abs(size.max())], "the largest run"
    X = table.X[rows]
    span = np.ptp(table.X, axis=0)
    far = np.abs((X - np.median(X, axis=0)) / np.where(span > 0, span, 1.0)).sum(axis=1)
    return X[int(np.argmin(far))], group, name


def sentences(law: Law, table: Table, target: int) -> list[str]:
    """Say what the law does at the largest run, variable by variable, and far beyond it."""
    x, group, _ = reference_run(law, table)
    column = law.targets[target].column
    used = [v for v in table.variables if v.symbol in law.expressions[column].used_variables]
    here = _at(law, table, x[None, :], group)[0, target]
    if not math.isfinite(here):
        return []
    found = [s for v in used if (s := _effect(law, table, x, group, here, v, target))]
    scales = [v for v in used if v.role == "scale"]
    if scales:
        found.append(_limit(law, table, x, group, scales, target))
    return found


def beyond(laws: Sequence[Law], table: Table) -> Reach | None:
    """Return what several laws predict at the largest run and 10 and 100 times beyond it; None without scales."""
    x, group, _ = reference_run(laws[0], table)
    scales = [v for v in table.variables if v.role == "scale" and any(v.symbol in law.used_variables for law in laws)]
    if not scales:
        return None
    main = main_variable(laws[0], table)
    walks = [(main.symbol, [main])] if main.role == "scale" else []
    if len(scales) > 1 or not walks:
        walks.append((" and ".join(v.symbol for v in scales) if len(scales) < 4 else "all scale variables", scales))
    rows, where = [x], ["the largest run"]
    for name, moving in walks:
        for factor in (10.0, 100.0):
            rows.append(_moved(x, table, moving, factor))
            where.append(f"{name} ×{exact(factor)}")
    X = np.array(rows)
    predictions = np.array([_at(law, table, X, group) for law in laws])
    return Reach(tuple(where), predictions, _table(laws[0], table, X, group))


def describe(table: Table, x: Array) -> str:
    """Return the values of the variables at a point."""
    return ", ".join(f"{v.symbol} = {magnitude(float(value))}" for v, value in zip(table.variables, x, strict=True))


def _table(law: Law, table: Table, X: Array, group: str) -> Table:
    groups = (group,) if law.grouped else (ALL_ROWS,)
    return Table(table.variables, (), X, np.empty((len(X), 0)), groups, group_column=law.group_column)


def _at(law: Law, table: Table, X: Array, group: str) -> Array:
    return law.by_formula(_table(law, table, X, group))


def _moved(x: Array, table: Table, moving: Sequence[Variable], factor: float) -> Array:
    out = x.copy()
    for v in moving:
        i = table.variables.index(v)
        out[i] = out[i] + v.units_per_decade * math.log10(factor) if v.log else out[i] * factor
    return out


def _effect(law: Law, table: Table, x: Array, group: str, here: float, variable: Variable, target: int) -> str | None:
    i = table.variables.index(variable)
    goal = law.targets[target]
    if variable.role == "scale":
        there = _at(law, table, _moved(x, table, [variable], 2.0)[None, :], group)[0, target]
        return f"Doubling `{variable.symbol}` {_change(goal, here, there)}."
    low, high = float(table.X[:, i].min()), float(table.X[:, i].max())
    if variable.role == "hyperparameter":
        values = np.geomspace(low, high, _GRID) if low > 0 and high > 4 * low else np.linspace(low, high, _GRID)
        X = np.tile(x, (_GRID, 1))
        X[:, i] = values
        y = _at(law, table, X, group)[:, target]
        if not np.isfinite(y).all() or float(np.ptp(y)) == 0.0:
            return None
        best = int(np.argmax(y) if goal.better == "higher" else np.argmin(y))
        where = f"about {short(values[best])}"
        if best in (0, _GRID - 1):
            where = f"at the {'lower' if best == 0 else 'upper'} end of the range tried, {short(values[best])}"
        return (
            f"The best `{variable.symbol}` there is {where}; over its range the {goal.column} moves "
            f"by {short(np.ptp(y))}."
        )
    if variable.role == "proportion":
        others = [k for k, v in enumerate(table.variables) if v.role == "proportion" and k != i]
        rest = float(x[others].sum())
        if not others or rest < 0.1:
            return None
        moved = x.copy()
        moved[i] += 0.1
        moved[others] *= (rest - 0.1) / rest
        there = _at(law, table, moved[None, :], group)[0, target]
        return (
            f"A tenth more of `{variable.symbol}`, taken from the others in proportion, {_change(goal, here, there)}."
        )
    first, last = np.quantile(table.X[:, i], [0.25, 0.75])
    X = np.tile(x, (2, 1))
    X[:, i] = first, last
    y = _at(law, table, X, group)[:, target]
    return (
        f"From `{variable.symbol}` = {short(first)} to {short(last)} the law {_change(goal, float(y[0]), float(y[1]))}."
    )


def _change(goal: Target, here: float, there: float) -> str:
    if not math.isfinite(there):
        return f"leads where the law gives no number for the {goal.column}"
    if abs(there - here) <= 1e-9 * max(abs(here), abs(there)):
        return f"leaves the {goal.column} as it is"
    verb = "raises" if there > here else "lowers"
    if here > 0 and there > 0:
        return f"{verb} the {goal.column} by {short(100 * abs(there / here - 1), 2)} %"
    return f"{verb} the {goal.column} by {short(abs(there - here))}"


def _limit(law: Law, table: Table, x: Array, group: str, scales: Sequence[Variable], target: int) -> str:
    far = np.array([_moved(x, table, scales, factor) for factor in _FAR])
    one, two = _at(law, table, far, group)[:, target]
    name = f"`{scales[0].symbol}`" if len(scales) == 1 else "all scale variables"
    if not (math.isfinite(one) and math.isfinite(two)):
        return f"As {name} grow{'s' if len(scales) == 1 else ''} without end the law gives no finite number."
    grows = "grows" if len(scales) == 1 else "grow"
    if abs(two - one) <= 0.01 * max(abs(one), 1e-12):
        return f"As {name} {grows} without end the {law.targets[target].column} approaches {short(two, 4)}."
    return f"A million times farther out ({name}) it says {short(one, 4)}, and it does not level off there."


def with_formula(law: Law, expressions: Mapping[str, Expression], constants: Constants) -> Law:
    """Return the law with another formula; what was known of the first one's making goes."""
    return replace(law, expressions=expressions, constants=constants, intervals=None, provenance={}, settings={})
