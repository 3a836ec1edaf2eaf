r"""How far an answer depends on choices that somebody made while fitting.

The same form is fitted again in other ways, one change at a time (`variations.py`), and each fit is asked the same
questions: its constants, the best split of a budget with its exponents, the prediction at a point. An interval says how
far the answer may be off if every choice was right; this says how far it moves with the choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sld.analysis.decisions.answers import Effects, Variant
from sld.analysis.decisions.cost import Cost
from sld.analysis.decisions.curves import DRAWS, Curve, curve_of, optima, second_of
from sld.analysis.decisions.estimate import Estimate
from sld.analysis.decisions.sensitivity_words import said
from sld.analysis.decisions.spans import from_draws
from sld.analysis.decisions.variations import Asked, Variation, variations
from sld.analysis.decisions.words import as_text
from sld.analysis.intervals import constant_intervals
from sld.core.errors import SldError, UsageError
from sld.core.numbers import short
from sld.data.table import Table
from sld.laws.law import Law

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEP = 0.1  # of log C, either side, for the exponents at a budget
_WIDER = 5.0  # times, for draws: their optima are known to a grid only


@dataclass(frozen=True)
class Question:
    """What every fit is asked beside its constants.

    Attributes:
        cost: What a run costs; None for a law of one variable, which has no split.
        names: Symbols of size and data.
        budget: Of which the best split is asked; NaN without one.
        point: Symbol to value of every variable where the target is predicted; empty for nowhere.
        fixed: Symbol to value of variables that are held.
    """

    cost: Cost | None
    names: tuple[str, ...]
    budget: float
    point: Mapping[str, float]
    fixed: Mapping[str, float]


@dataclass(frozen=True, repr=False)
class Sensitivity(Effects):
    """An answer under other ways of fitting: see `Effects` for what it has."""

    def summary(self, answer: str | None = None) -> str:
        """Return what moves an answer, the main one if none is named, as text."""
        return as_text(said(self, answer))

    def plot(self, ax: Axes | None = None, answer: str | None = None) -> Axes:
        """Draw what moves an answer, the largest on top (a tornado); on `ax`, or in a figure of its own."""
        from sld.analysis.decisions.sensitivity_picture import draw

        return draw(self, ax, answer)


def sensitivity(
    law: Law, table: Table, question: Question, asked: Asked, *, group: str, answer: str | None = None, seed: int = 0
) -> Sensitivity:
    """Return how far the answers of a fitted law depend on how it was fitted.

    Args:
        law: The law as it was fitted, with its settings.
        table: The rows that it was fitted to, one target.
        question: What is asked.
        asked: What is varied beside what every table has.
        group: Whose constants count.
        answer: Name of the main answer; the best size of the budget, or the prediction, or the first constant if not
            given.
        seed: Of draws.

    Raises:
        UsageError: There is no such answer, or no variation at all.
    """
    column = law.targets[0].column
    curve = curve_of(law, target=column, group=group, fixed=question.fixed)
    values = answers(curve, question)
    base = _intervals(curve, question, values, seed)
    main = answer if answer is not None else _main(base)
    settings = law.settings[column]
    expression = law.expressions[column]
    found = [_variant(way, law, question, group) for way in variations(expression, table, settings, group, asked)]
    if not found:
        raise UsageError("there is nothing to vary: too few rows and no other settings")
    failed = [v for v in found if v.problem]
    notes = (
        [f"{len(failed)} of {len(found)} other fits failed, e.g. {failed[0].name}: {failed[0].problem}"]
        if failed
        else []
    )
    result = Sensitivity(
        curve.expression.text, base, main, tuple(found), _about(curve, question),
        float((law.intervals or {}).get("level", 0.9)), tuple(notes),
    )  # fmt: skip
    result.effects(main)  # an unknown answer is refused before anything is shown
    return result


def answers(curve: Curve, question: Question) -> dict[str, float]:
    """Return what a law answers: constants, best split with its exponents, prediction; NaN where it has no answer."""
    found = {name: float(value) for name, value in curve.constants.items()}
    if question.cost is not None and math.isfinite(question.budget):
        size, data = _names(curve, question)
        C = question.budget * np.exp([-_STEP, 0.0, _STEP])
        best = optima(curve, C, question.names, second_of(question.cost, *question.names))
        with np.errstate(all="ignore"):
            exponents = [float(np.log(x[2] / x[0]) / (2 * _STEP)) for x in (best.N, best.D)]
        found |= {
            f"best {size}": float(best.N[1]),
            f"best {data}": float(best.D[1]),
            f"{data}/{size}": float(best.D[1] / best.N[1]),
            f"exponent of best {size}": exponents[0],
            f"exponent of best {data}": exponents[1],
            f"{curve.target.column} there": float(best.value[1]),
        }
    if question.point:
        at = {s: np.array([x]) for s, x in question.point.items()}
        found[f"{curve.target.column} at the point"] = float(curve.values(at)[0])
    return found


def _names(curve: Curve, question: Question) -> tuple[str, str]:
    columns = {v.symbol: v.column for v in curve.law.variables}
    return columns[question.names[0]], columns[question.names[1]]


def _main(base: Mapping[str, Estimate]) -> str:
    for begin in ("best ", *[k for k in base if k.endswith(" at the point")]):
        for name in base:
            if name.startswith(begin) and math.isfinite(base[name].value):
                return name
    return next(iter(base))


def _intervals(curve: Curve, question: Question, values: Mapping[str, float], seed: int) -> dict[str, Estimate]:
    """Return the answers of the law itself with their intervals, where it has them."""
    found = {name: Estimate(value) for name, value in values.items()}
    law, draws = curve.law, curve.draws(DRAWS, seed)
    if law.intervals is None or draws is None:
        return found
    level = float(law.intervals["level"])
    for name, ends in constant_intervals(law)[curve.target.column][curve.group].items():
        if ends is not None:
            found[name] = Estimate(values[name], *ends)
    if question.cost is not None and math.isfinite(question.budget):
        size, data = _names(curve, question)
        C = question.budget * np.exp([-_STEP * _WIDER, 0.0, _STEP * _WIDER])
        best = optima(curve, C, question.names, second_of(question.cost, *question.names), draws)
        if len(best.drawn):
            N, D = best.drawn_N, best.drawn_D
            with np.errstate(all="ignore"):
                slopes = [np.log(x[:, 2] / x[:, 0]) / (2 * _WIDER * _STEP) for x in (N, D)]
            drawn = {
                f"best {size}": N[:, 1],
                f"best {data}": D[:, 1],
                f"{data}/{size}": D[:, 1] / N[:, 1],
                f"exponent of best {size}": np.where(np.isfinite(slopes[0]), slopes[0], math.nan),
                f"exponent of best {data}": np.where(np.isfinite(slopes[1]), slopes[1], math.nan),
                f"{curve.target.column} there": best.drawn[:, 1],
            }
            found |= {name: from_draws(values[name], d, level) for name, d in drawn.items()}
    if question.point:
        at = {s: np.array([x]) for s, x in question.point.items()}
        name = f"{curve.target.column} at the point"
        found[name] = from_draws(values[name], curve.drawn(draws, at)[:, 0], level)
    return found


def _variant(way: Variation, law: Law, question: Question, group: str) -> Variant:
    """Return what one other fit answers."""
    column = law.targets[0].column
    expression = law.expressions[column]
    if group not in way.table.groups:
        return Variant(way.factor, way.name, {}, f"{way.name} leaves no rows of {group}")
    inherit = None if way.alone else law.constants[column]
    try:
        fit = way.settings.fit(expression, way.table, starts=way.starts, seed=way.seed, inherit=inherit)
    except SldError as error:  # too few distinct points are left, or a pin is out of bounds
        return Variant(way.factor, way.name, {}, str(error))
    if not fit.ok:
        return Variant(way.factor, way.name, {}, fit.status)
    constants = {column: {g: fit.constants[g] for g in fit.constants}}
    again = replace(law, constants=constants, intervals=None, settings={column: way.settings})
    curve = curve_of(again, target=column, group=group, fixed=question.fixed)
    return Variant(way.factor, way.name, answers(curve, question))


def _about(curve: Curve, question: Question) -> str:
    parts = []
    if question.cost is not None and math.isfinite(question.budget):
        parts.append(f"the best split of C = {short(question.budget)} (cost {question.cost.formula})")
    if question.point:
        columns = {v.symbol: v.column for v in curve.law.variables}
        parts.append("the point " + ", ".join(f"{columns[s]} = {short(x)}" for s, x in question.point.items()))
    if curve.law.grouped:
        parts.append(f"{curve.law.group_column or 'group'} {curve.group}")
    return "; ".join(parts)
