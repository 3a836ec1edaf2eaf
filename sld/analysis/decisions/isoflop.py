r"""An isoFLOP sweep read in three ways, side by side, and which of them to believe.

Approach 1 takes the run with the lowest loss of each budget (or, along training curves, of each moment). Approach 2
lays a parabola through the runs of each budget. Approach 3 fits a law to all runs and asks it for its optimum
(Hoffmann et al. 2022, sections 3.1 to 3.3). All three give $N^* \propto C^a$ and $D^* \propto C^b$.

A loss along a budget is no parabola: where the exponents of size and data differ, one side rises faster. The minimum of
a parabola is therefore off even without noise, by more the wider the sizes are spread and the farther their middle is
from the optimum (arXiv 2603.22339). How far is found by simulation: the fitted law is asked for the losses of the very
same runs, parabolas are laid through them, and the optima compared with the law's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sld.analysis.decisions.budgets import ALIKE, Sweep
from sld.analysis.decisions.cost import Cost
from sld.analysis.decisions.curves import DRAWS, Curve, Optima, optima, second_of
from sld.analysis.decisions.envelope import envelope_of_budgets, envelope_of_curves
from sld.analysis.decisions.estimate import Estimate
from sld.analysis.decisions.isoflop_words import said
from sld.analysis.decisions.parabola import Line, Parabola, line_through, parabolas
from sld.analysis.decisions.readings import Approach, Bias, Name, Optimum, Reading
from sld.analysis.decisions.spans import UNKNOWN, from_draws
from sld.analysis.decisions.words import as_text
from sld.core.arrays import Array
from sld.core.errors import UsageError
from sld.core.numbers import exact, short
from sld.data.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# how many times as far from the rows as the parabolas a law may be, and still be the one to believe: parabolas have
# three constants for each budget and follow part of the noise
_AS_CLOSE = 1.5
LEAST_FOR_EXPONENT = 2  # budgets: a line has two ends
_WORTH_SAYING = 0.005  # of a size: a bias below is smaller than what anybody trains exactly


@dataclass(frozen=True, repr=False)
class Isoflop(Reading):
    """A sweep of budgets of one group, read in three ways: see `Reading` for what it has."""

    def summary(self) -> str:
        """Return what it says, as text."""
        return as_text(said(self))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the runs, the parabolas and the optima; on `ax`, or in a figure of its own."""
        from sld.analysis.decisions.isoflop_picture import draw

        return draw(self, ax)


def isoflop(
    sweep: Sweep,
    curve: Curve,
    cost: Cost,
    *,
    at: Sequence[float] = (),
    level: float = 0.9,
    seed: int = 0,
    curves: Table | None = None,
) -> Isoflop:
    """Return what a sweep says in all three ways.

    Args:
        sweep: The rows by budget.
        curve: The law that was fitted to them.
        cost: What a run costs.
        at: Budgets to carry the answer to; ten times the largest one if none is given.
        level: Of the intervals.
        seed: Of draws.
        curves: Rows along training curves, if there are any: approach 1 then reads these.

    Raises:
        UsageError: A budget is not a positive number.
    """
    if bad := [c for c in at if not (math.isfinite(c) and c > 0)]:
        raise UsageError(f"a budget must be a number above 0, got {exact(bad[0])}")
    asked = np.array(list(at) or [10.0 * float(sweep.budgets[-1])])
    names = (sweep.size.symbol, sweep.data.symbol)
    second = second_of(cost, *names)
    lines = parabolas(sweep, level)
    quadratic = _quadratic(lines, asked, level)
    draws = curve.draws(DRAWS, seed)
    everything = np.concatenate([sweep.budgets, asked])
    best = optima(curve, everything, names, second, draws)
    law = _law(curve, best, len(sweep.budgets), level)
    columns = {names[0]: sweep.N, names[1]: sweep.D}
    used = np.flatnonzero(sweep.budget >= 0)
    expected = curve.values(columns)
    misfit = _parabola_rms(lines), float(np.sqrt(np.mean(np.square(sweep.loss[used] - expected[used]))))
    bias = _bias(sweep, expected, best, asked, quadratic) if law.ok else None
    if curves is None:
        optima_1 = envelope_of_budgets(sweep, misfit[0], level, seed)
    else:
        optima_1 = envelope_of_curves(curves, cost, names, level, seed)
    envelope = Approach(
        "envelope", optima_1.status, optima_1.reason, optima_1.a, optima_1.b,
        tuple(Optimum(c, *optima_1.at(c)) for c in asked.tolist()) if optima_1.status == "ok" else (),
        tuple(Optimum(c, n, d) for c, n, d in optima_1.points),
    )  # fmt: skip
    believe, why = _believed(envelope, quadratic, law, misfit, bias)
    return Isoflop(
        curve.group if curve.law.grouped else "", sweep, curve, lines, envelope, quadratic, law, bias, misfit, believe,
        why, level, tuple(_notes(sweep, lines)),
    )  # fmt: skip


def _quadratic(lines: Sequence[Parabola], asked: Array, level: float) -> Approach:
    """Return approach 2: the lines through the minima that can be used."""
    good = [p for p in lines if p.ok]
    measured = tuple(Optimum(p.budget, p.best_N, p.best_D, Estimate(p.best_loss)) for p in good)
    if len(good) < LEAST_FOR_EXPONENT:
        refused = sorted({p.status for p in lines if not p.ok})
        why = f" ({', '.join(refused)} at the others)" if refused else ""
        reason = f"an exponent needs minima at {LEAST_FOR_EXPONENT} budgets, got {len(good)}{why}"
        return Approach("parabolas", "budgets too few", reason, UNKNOWN, UNKNOWN, (), measured)
    for_N, for_D = lines_of(good, level)
    at = tuple(Optimum(c, for_N.at(c), for_D.at(c)) for c in asked.tolist())
    return Approach("parabolas", "ok", "", for_N.slope, for_D.slope, at, measured)


def lines_of(good: Sequence[Parabola], level: float) -> tuple[Line, Line]:
    """Return the lines of size and data through the minima of parabolas."""
    C = np.array([p.budget for p in good])
    variances = np.array([p.variance for p in good])
    free = sum(len(p.N) - 3 for p in good)
    return (
        line_through(C, np.array([p.best_N.value for p in good]), variances, level, free),
        line_through(C, np.array([p.best_D.value for p in good]), variances, level, free),
    )


def _law(curve: Curve, best: Optima, n: int, level: float) -> Approach:
    """Return approach 3: the law's own optima at the budgets of the sweep, the first n, and those asked for."""
    if not np.isfinite(best.N[:n]).any():
        reason = f"{curve.expression.text} has no lowest loss between small and large sizes of one budget"
        return Approach("law", "no interior minimum", reason, UNKNOWN, UNKNOWN, (), ())

    def estimate(values: Array, drawn: Array, k: int) -> Estimate:
        return from_draws(float(values[k]), drawn[:, k], level) if len(drawn) else Estimate(float(values[k]))

    found = [
        Optimum(
            float(best.C[k]),
            estimate(best.N, best.drawn_N, k),
            estimate(best.D, best.drawn_D, k),
            estimate(best.value, best.drawn, k),
        )
        for k in range(len(best.C))
        if math.isfinite(best.N[k])
    ]
    inside = np.flatnonzero(np.isfinite(best.N[:n]))
    measured, asked = tuple(found[: len(inside)]), tuple(found[len(inside) :])
    # one budget has no slope, so the next decade serves as the second
    near = inside if len(inside) > 1 else np.flatnonzero(np.isfinite(best.N))
    a = _slope(best.C[near], best.N[near], best.drawn_N[:, near], level)
    b = _slope(best.C[near], best.D[near], best.drawn_D[:, near], level)
    if math.isnan(a.value):
        return Approach("law", "budgets too few", "the law has an optimum at one budget only", a, b, asked, measured)
    return Approach("law", "ok", "", a, b, asked, measured)


def _slope(C: Array, values: Array, drawn: Array, level: float) -> Estimate:
    """Return the least-squares slope of log values in log C, and its interval from draws (n, n_costs)."""
    away = np.log(C) - np.log(C).mean()
    if not np.ptp(away) > 0:
        return UNKNOWN
    weights = away / float(away @ away)
    with np.errstate(all="ignore"):
        slopes = np.log(drawn) @ weights if len(drawn) else np.empty(0)
    slopes = np.where(np.isfinite(slopes), slopes, math.nan)
    value = float(np.log(values) @ weights)
    return from_draws(value, slopes, level) if len(slopes) else Estimate(value)


def _parabola_rms(lines: Sequence[Parabola]) -> float:
    """Return the root mean square of what the parabolas miss, per degree of freedom; NaN where there are none."""
    fitted = [p for p in lines if np.isfinite(p.coefficients).all()]
    free = sum(len(p.N) - 3 for p in fitted)
    squares = sum(float(np.sum(np.square(p.loss - p.curve(p.N)))) for p in fitted)
    return math.sqrt(squares / free) if free > 0 else math.nan


def _bias(sweep: Sweep, expected: Array, best: Optima, asked: Array, quadratic: Approach) -> Bias | None:
    """Return how far parabolas are off where the law gives the losses of the same runs.

    Args:
        sweep: The rows by budget.
        expected: (n_rows,) the law.
        best: Its optima at the budgets of the sweep, and then at those asked for.
        asked: These.
        quadratic: What the parabolas say of the measured losses: the same budgets are used.
    """
    if not np.isfinite(expected).all():
        return None
    used = {o.C for o in quadratic.measured}
    simulated = parabolas(sweep, loss=expected)
    off = [p.best_N.value / float(best.N[k]) - 1 for k, p in enumerate(simulated)]
    good = [p for p in simulated if p.budget in used and math.isfinite(p.best_N.value)]
    n = len(sweep.budgets)
    if len(good) < LEAST_FOR_EXPONENT or not np.isfinite(best.N).all():
        return None
    for_N, for_D = lines_of(good, 0.9)
    at = [k for k, p in enumerate(simulated) if p in good]
    a = _slope(best.C[at], best.N[at], np.empty((0, len(at))), 0.9).value
    b = _slope(best.C[at], best.D[at], np.empty((0, len(at))), 0.9).value
    return Bias(
        tuple(off),
        tuple(for_N.at(c).value / float(best.N[n + k]) - 1 for k, c in enumerate(asked.tolist())),
        tuple(for_D.at(c).value / float(best.D[n + k]) - 1 for k, c in enumerate(asked.tolist())),
        for_N.slope.value - a,
        for_D.slope.value - b,
    )


def _believed(
    envelope: Approach, quadratic: Approach, law: Approach, misfit: tuple[float, float], bias: Bias | None
) -> tuple[Name | None, str]:
    """Return which approach to believe, and why."""
    of_parabolas, of_law = misfit
    # with exact rows both miss by rounding
    close = not of_law > max(_AS_CLOSE * of_parabolas, 1e-9) if math.isfinite(of_parabolas) else True
    off = ""
    if bias is not None and abs(bias.N[-1]) >= _WORTH_SAYING:
        too = "large" if bias.N[-1] > 0 else "small"
        off = f", and parabolas through these runs give a size {short(100 * abs(bias.N[-1]), 2)} % too {too}"
    if law.ok and (close or not quadratic.ok):
        if not quadratic.ok:
            return "law", f"parabolas give no exponents here: {quadratic.reason}"
        if math.isnan(of_parabolas):
            return "law", f"it uses all runs together (typically {short(of_law, 2)} away){off}"
        how = f"typically {short(of_law, 2)} away, parabolas {short(of_parabolas, 2)}"
        return "law", f"it is as close to the runs as parabolas are ({how}){off}"
    if quadratic.ok:
        if not law.ok:
            return "parabolas", f"the law gives no optimum: {law.reason}"
        times = of_law / of_parabolas
        return "parabolas", (
            f"the law misses the runs by {short(times, 2)} times as much as parabolas do (typically "
            f"{short(of_law, 2)} against "
            f"{short(of_parabolas, 2)}), so its form is not right; sld discover looks for a better one"
        )
    if envelope.ok:
        return "envelope", "neither parabolas nor the law give exponents here"
    return None, "no approach gives exponents here: each budget needs sizes on both sides of its lowest loss"


def _notes(sweep: Sweep, lines: Sequence[Parabola]) -> list[str]:
    notes = []
    if n := int((sweep.budget < 0).sum()):
        notes.append(f"{n} of {len(sweep.budget)} runs share a budget with too few others: only the law uses them")
    if sweep.widest > math.exp(ALIKE):
        notes.append(
            f"runs that were taken for one budget differ in compute by up to {100 * (sweep.widest - 1):.0f} %: "
            "parabolas suffer from it; say what a run costs (--cost), or which column holds its budget "
            "(--budget-column)"
        )
    if not sum(len(p.N) - 3 for p in lines if np.isfinite(p.coefficients).all()):
        notes.append("three sizes a budget leave nothing to judge a parabola by, so its minimum has no interval")
    return notes
