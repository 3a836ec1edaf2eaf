r"""What further runs shall answer: predictions, the best run for a budget, exponents, or which of two laws is better.

Each answer is written as a linear function of what is believed (`belief.py`). A prediction is one already. The best run
$z^*$ for a budget moves with the curve: where the law has gradient zero and second derivatives $H$ along the surface of
equal cost, a deviation $\delta$ of the curve moves it by

$$ z^* \mapsto z^* - H^{-1} \nabla \delta(z^*) , $$

and the value there by $\delta(z^*)$ itself, since the gradient is zero. An exponent moves with the refits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.analysis.decisions.allocation import Allocator, Found
from sld.analysis.decisions.belief import Answer, Part, Parts, Points
from sld.analysis.decisions.estimate import LEVEL, estimate
from sld.core.arrays import Array
from sld.core.errors import UsageError
from sld.core.numbers import short
from sld.laws.conditions import exponents_of
from sld.laws.law import Law

WIDTH = 0.15  # of the differences along a surface of equal cost, in logarithms: kinks of a deviation do not count
_FAR = 3.0  # spreads a refit's constant may be away; one that explodes would stand for all others


@dataclass(frozen=True)
class Side:
    """A law in one group, under the name that a plan gives it."""

    name: str
    law: Law
    target: str
    group: str


def prediction(parts: Parts, side: Side, columns: Mapping[str, Array]) -> list[Answer]:
    """Return the law's values at points (n_points,) as answers.

    Where the law has no value, ends are NaN, and the level that rows have nearby stands for it: its rivals and what
    runs span still say how much a run would teach.
    """
    part = parts.part(side.law, side.target, side.group)
    points, _, middle = parts.points(part, columns)
    at = part.around.at(columns)
    with np.errstate(all="ignore"):
        half = part.around.quantile(LEVEL) * at.spread
        low, high = part.around.scale.ends(at.middle, at.centre, half)
        level = (
            np.where(np.isfinite(middle), middle, np.exp(at.centre)) if part.around.scale.log else np.ones(len(middle))
        )
    answers = []
    for i in range(len(middle)):
        where = ", ".join(f"{s} = {short(float(x[i]))}" for s, x in columns.items())
        name = f"{side.target} at {where}" + (f" ({side.name})" if side.name != "all" else "")
        kept = points.take(np.array([i]))
        answers.append(
            Answer(name, float(middle[i]), "value", kept, level[i : i + 1], None, float(low[i]), float(high[i]))
        )
    return answers


def optima(parts: Parts, side: Side, allocator: Allocator, budget: float) -> list[Answer]:
    """Return where the best run for a budget is, a scale variable each, as answers.

    Raises:
        NoOptimum: There is none.
        UsageError: Nothing is free, or choices are listed.
    """
    found = allocator.solve(budget)
    free = found.problem.axes
    if not free:
        raise UsageError("nothing is free on the surface of equal cost, so no run can tell where the best one is")
    H, points = _stencil(found, budget)
    part = parts.part(side.law, side.target, side.group)
    probes, _, middle = parts.points(part, points)
    k = len(free)
    sign = allocator.surface.sign * (middle if part.around.scale.log else np.ones(len(middle)))
    gradient = np.zeros((k, len(middle)))
    for i in range(k):
        gradient[i, 1 + 2 * i], gradient[i, 2 + 2 * i] = -1 / (2 * WIDTH), 1 / (2 * WIDTH)
    moves = -np.linalg.solve(H, gradient * sign)  # (k, n_probes)
    curves = allocator.drawn(found)
    answers = []
    for variable in allocator.variables:
        symbol = variable.symbol
        if variable.role != "scale" or symbol in found.problem.held:
            continue
        ratio = variable.log is None
        with np.errstate(all="ignore"):
            moved = np.log(points[symbol]) if ratio else points[symbol]
        slope = np.array([(moved[2 + 2 * i] - moved[1 + 2 * i]) / (2 * WIDTH) for i in range(k)])
        own = slope @ moves
        if not np.isfinite(own).all():
            continue
        value = found.best.point[symbol]
        drawn = estimate(value, None if curves is None else curves.point[symbol])
        name = f"best {symbol} for {short(budget)}" + (f" ({side.name})" if side.name != "all" else "")
        kind = "ratio" if ratio else "value"
        ends = (math.nan, math.nan) if drawn.low is None or drawn.high is None else (drawn.low, drawn.high)
        answers.append(Answer(name, value, kind, probes, own, None, *ends))
    return answers


def _stencil(found: Found, budget: float) -> tuple[Array, dict[str, Array]]:
    """Return second derivatives at the optimum, and the points of the differences."""
    problem, z = found.problem, found.best.z
    k = len(z)
    unit = WIDTH * np.eye(k)
    shifts = [np.zeros(k), *(s * unit[i] for i in range(k) for s in (-1.0, 1.0))]
    pairs = list(itertools.combinations(range(k), 2))
    shifts += [a * unit[i] + b * unit[j] for i, j in pairs for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    points = problem.columns(z + np.array(shifts), budget)
    f = np.asarray(problem.value(points))
    H = np.zeros((k, k))
    for i in range(k):
        H[i, i] = (f[1 + 2 * i] - 2 * f[0] + f[2 + 2 * i]) / WIDTH**2
    for p, (i, j) in enumerate(pairs):
        four = f[1 + 2 * k + 4 * p : 5 + 2 * k + 4 * p]
        H[i, j] = H[j, i] = (four[0] - four[1] - four[2] + four[3]) / (4 * WIDTH**2)
    if not (np.isfinite(H).all() and np.linalg.eigvalsh(H)[0] > 0):
        raise UsageError(
            f"the best run for {short(budget, 4)} lies at a kink or an end of what the law has values "
            "for, so no linear step "
            "says how it would move"
        )
    return H, points


def exponents(parts: Parts, side: Side) -> list[Answer]:
    """Return the exponents of a law's formula as answers.

    Raises:
        UsageError: No constant is an exponent by itself, or none of them is free.
    """
    from sld.analysis.intervals import constant_intervals

    part = parts.part(side.law, side.target, side.group)
    known = constant_intervals(side.law)[side.target][side.group]
    settings = side.law.settings[side.target]
    free = [c for c in exponents_of(side.law.expressions[side.target]) if c not in settings.pinned]
    if not free:
        raise UsageError(f"no free constant of {side.law.expressions[side.target].text} is an exponent by itself")
    answers = []
    for name in free:
        value = part.around.values[name]
        ends = known.get(name) or (math.nan, math.nan)
        answers.append(Answer(_of(name, side), value, "value", None, np.zeros(0), constant(parts, part, name), *ends))
    return answers


def _of(name: str, side: Side) -> str:
    return name if side.name == "all" else f"{name} ({side.name})"


def constant(parts: Parts, part: Part, name: str) -> Array:
    """Return (n_features,) how a constant moves with the weights: as the refits move it, stretched as curves are."""
    around = part.around
    moved = np.array([r[name] - around.values[name] for r in around.refits])
    weights = np.zeros(parts.n_features)
    places = part.columns[0][: len(moved)]
    sound = np.abs(moved[np.isfinite(moved)])
    if not len(sound):
        return weights
    spread = around.inflation * float(np.quantile(sound, 0.6827))
    cut = np.clip(np.nan_to_num(moved, nan=0.0, posinf=0.0, neginf=0.0), -_FAR * spread, _FAR * spread)
    size = math.sqrt(float(cut @ cut))
    if size > 0:
        weights[places] = around.widening * spread * cut / size
    return weights


def differences(a: Sequence[Answer], b: Sequence[Answer], names: tuple[str, str]) -> list[Answer]:
    """Return the answers of one law less those of another."""
    found = []
    for one, other in zip(a, b, strict=True):
        assert one.probes is not None and other.probes is not None
        half = math.hypot(one.high - one.low, other.high - other.low) / 2
        value = one.value - other.value
        found.append(
            Answer(
                f"{one.name.partition(' (')[0]}: {names[0]} less {names[1]}", value, "value",
                Points.joined([one.probes, other.probes]), np.concatenate([one.parts, -other.parts]), None,
                value - half, value + half,
            )
        )  # fmt: skip
    return found


def at_best(parts: Parts, side: Side, allocator: Allocator, budget: float) -> Answer:
    """Return what the best run for a budget reaches, as an answer."""
    found = allocator.solve(budget)
    symbols = [v.symbol for v in parts.variables]
    columns = {s: np.array([found.best.point[s]]) for s in symbols if s in found.best.point}
    for v in parts.variables:
        # what neither law nor cost uses may be anything
        low, high = parts.ends[v.symbol]
        columns.setdefault(v.symbol, np.array([math.sqrt(low * high) if low > 0 else 0.5 * (low + high)]))
    answer = prediction(parts, side, columns)[0]
    return replace(answer, name=f"{side.target} of the best run for {short(budget)}")
