"""The value at the end of runs that have only begun, with intervals, and which of them will be best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.curves.across import Larger
from sld.analysis.curves.mixture import Mixture, mixtures
from sld.analysis.curves.runs import Curve, Thinned, thinned
from sld.analysis.curves.schedules import Rates, Schedule
from sld.analysis.curves.shapes import FEW_HABITS, FEW_POINTS, HABITS, Fitted, Habits, fit_shapes, habits_for
from sld.analysis.curves.trunks import Cost, Gain, cooled_forecast
from sld.core.errors import UsageError
from sld.core.numbers import exact, short
from sld.fit.priors import horizon

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

LEAST_POINTS = 3  # of a run: a level, a slope, and one that could contradict them
LEAST_BEFORE = 4  # points of a curve that is to foretell what came next
MOST_MISSED = 3.0  # standard deviations: one run that broke off does not set the width of all
LEAST_WIDTH = 0.3  # of what curves in general need: past luck does not make a future
DRAWS = 2000  # for the probability to be best: 1 % of it is known to 0.2 %
NEARLY = 0.01  # a run within 1 % of the best is as good
HOPELESS = 0.05  # a run that is as good as the best with less probability can be stopped
# of a run's end: the run whose value there is best is chosen. Between 0.6 and 0.7 the choices on learning curves (LCDB,
# fine-tuning) are right most often: the median is taken in by steep curves, the quartile by the best so far
WARY = 0.6
CARE = 0.02  # a prediction is no use beyond so small a part: 50 times the last step


@dataclass(frozen=True)
class Final:
    """What a run will be at its end.

    Attributes:
        run: Its name.
        n_points: Measured points that were used.
        last: Where the last of them is.
        now: The value there.
        at: Where the run ends.
        value: What is foretold there: the median.
        low: Lower end of the interval of a measurement there.
        high: Upper end.
        curve_low: Lower end of the interval of the curve itself, without the noise of one measurement.
        curve_high: Upper end.
        worse: It ends worse than this with a probability of 40 %.
        best: Probability that no other run of the table ends better, or nothing where runs end at different steps.
        as_good: Probability to end within 1 % of the best.
        horizon: Beyond which step nothing is promised, where points are few; nothing where there are more.
        cooled: Whether it is the value after the learning rate has fallen, from a trunk that was not cooled.
    """

    run: str
    n_points: int
    last: float
    now: float
    at: float
    value: float
    low: float
    high: float
    curve_low: float
    curve_high: float
    worse: float
    best: float | None = None
    as_good: float | None = None
    horizon: float | None = None
    cooled: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing is left to foretell: the run has been measured at its end."""
        return self.last >= self.at * (1 - 1e-9) and not self.cooled


@dataclass(frozen=True, eq=False)
class FinalValues:
    """The ends of all runs of a table.

    Attributes:
        target: What is foretold.
        step: What it is measured along.
        level: Level of the intervals.
        better: `lower` or `higher`.
        finals: One for each run, in the order of the table.
        schedule: The learning rate that was reckoned with, in words; empty if none.
        notes: What was noticed, in sentences.
        curves: What was measured, by run.
        mixtures: The forecast of each run, as distributions.
        cost: What the runs cost so far with shared trunks paid once, where some branched from others.
        larger: The ends of runs of other sizes, where they were asked for.
    """

    target: str
    step: str
    level: float
    better: str
    finals: tuple[Final, ...]
    schedule: str = ""
    notes: tuple[str, ...] = ()
    curves: Mapping[str, Curve] = field(default_factory=dict, repr=False)
    mixtures: Mapping[str, Mixture] = field(default_factory=dict, repr=False)
    cost: Cost | None = None
    larger: tuple[Larger, ...] = ()

    def __repr__(self) -> str:
        """Return a short form."""
        return f"FinalValues({self.target} of {len(self.finals)} runs, {self.level:.0%} intervals)"

    def __getitem__(self, run: str) -> Final:
        """Return the end of a run by its name."""
        for final in self.finals:
            if final.run == run:
                return final
        raise KeyError(run)

    @property
    def can_stop(self) -> tuple[str, ...]:
        """The runs that are as good as the best with a probability of less than 5 %: they need not go on."""
        return tuple(f.run for f in self.finals if f.as_good is not None and f.as_good < HOPELESS)

    @property
    def choice(self) -> str | None:
        """The run to bet on: the value that it ends worse than with a probability of 40 % is the best of all.

        None where runs cannot be compared.

        A curve that is steep and little known has the best median by chance more often than the best end.
        """
        known = [f for f in self.finals if f.best is not None]
        if len(known) < 2:
            return None
        sign = 1 if self.better == "lower" else -1
        return min(known, key=lambda f: sign * f.worse).run

    def to_frame(self) -> DataFrame:
        """Return a row for each run, then one for each other size that was asked for, with its `size` and no run."""
        import pandas as pd

        rows = [asdict(f) for f in self.finals]
        if self.larger:
            ends = {f.at for f in self.finals}
            at = ends.pop() if len(ends) == 1 else None
            rows = [{**row, "size": None} for row in rows]
            rows += [{"at": at, "value": m.value, "low": m.low, "high": m.high, "size": m.size} for m in self.larger]
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the curves, in JSON's types."""
        return {
            "target": self.target,
            "step": self.step,
            "level": self.level,
            "better": self.better,
            "schedule": self.schedule or None,
            "runs": [asdict(f) for f in self.finals],
            "choice": self.choice,
            "can_stop": list(self.can_stop),
            "notes": list(self.notes),
            "cost": None if self.cost is None else asdict(self.cost),
            "larger": [asdict(f) for f in self.larger],
        }

    def summary(self) -> str:
        """Return the ends as lines of text."""
        return "\n".join(
            f"{f.run}: {self.target} {short(f.now, 4)} at {self.step} {short(f.last, 4)}, {short(f.value, 4)} "
            f"({short(f.low, 4)} to {short(f.high, 4)}) at {short(f.at, 4)}"
            for f in self.finals
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw what was measured and what is foretold, at most twelve runs; returns the axes."""
        from matplotlib import colormaps
        from matplotlib.figure import Figure

        ax = Figure(figsize=(6.5, 4.3), layout="constrained").subplots() if ax is None else ax
        drawn = self.finals[:12]
        for k, f in enumerate(drawn):
            colour = colormaps["viridis"](0.05 + 0.85 * k / max(len(drawn) - 1, 1))
            curve = self.curves[f.run]
            ax.plot(curve.x, curve.y, color=colour, linewidth=1.1, label=f.run)
            ax.plot([f.last, f.at], [f.now, f.value], color=colour, linewidth=0.8, linestyle=":")
            ax.errorbar(
                [f.at],
                [f.value],
                [[f.value - f.low], [f.high - f.value]],
                color=colour,
                marker="o",
                markersize=4,
                capsize=3,
            )
        ax.set_xscale("log")
        ax.set_xlabel(self.step)
        ax.set_ylabel(self.target)
        ax.set_title(
            f"ends of runs, {100 * self.level:g} % intervals" + _more(len(self.finals) - len(drawn)), fontsize=10
        )
        if len(drawn) > 1:
            ax.legend(frameon=False, fontsize=8)
        return ax


def _more(n: int) -> str:
    return f" ({n} further runs not drawn)" if n > 0 else ""


@dataclass(frozen=True)
class Asked:
    """How runs are continued.

    Attributes:
        better: `lower` or `higher`: which value is better.
        level: Level of the intervals.
        lower: Bound that no value can fall below.
        upper: Bound that no value can exceed.
        pooled: Whether the runs are of one kind, and say something of each other's shape.
        seed: Of the draws behind the probabilities.
        priors: "auto" expects of curves of few points what such curves do; "none" what curves of any length do.
    """

    better: str = "lower"
    level: float = 0.9
    lower: float | None = None
    upper: float | None = None
    pooled: bool = True
    seed: int = 0
    priors: str = "auto"


def final_values(
    curves: Sequence[Curve],
    ends: Mapping[str, float],
    *,
    asked: Asked = Asked(),
    rates: Mapping[str, Rates] | None = None,
    habits: Habits | None = None,
    cooled: Mapping[str, Gain] | None = None,
) -> tuple[list[Final], dict[str, Mixture], list[str]]:
    """Foretell the value at the end of each run.

    Args:
        curves: The runs, each in its part so far.
        ends: Where each ends, by name.
        asked: Bounds, level, which value is better.
        rates: Learning rate along the whole of each run, by name, where it is known.
        habits: What is known of curves in general; by how many points they have if not given.
        cooled: Run to what cooling is worth, where cooled values are asked for and the runs are trunks.

    Returns:
        The ends, the forecast of each as a mixture of distributions, and what is to be said of them, in sentences.

    Raises:
        UsageError: No run has enough points.
    """
    known = [c for c in curves if len(c.x) >= LEAST_POINTS]
    notes = []
    if left := [c.name for c in curves if len(c.x) < LEAST_POINTS]:
        notes.append(
            f"left out, with fewer than {LEAST_POINTS} points: {', '.join(left[:8])}" + _and_more(len(left) - 8)
        )
    if not known:
        raise UsageError(f"no run has {LEAST_POINTS} points, which is the least that can be continued")
    far = [c.name for c in known if c.x[-1] < CARE * ends[c.name]]
    if far:
        notes.append(
            f"asked for more than {1 / CARE:.0f} times what was measured ({', '.join(far[:4])}"
            f"{_and_more(len(far) - 4)}): "
            "the interval holds only if the curve goes on as curves usually do"
        )
    most = max(len(c.x) for c in known)
    if habits is None:
        habits = habits_for(most, asked.priors)
    if most <= FEW_POINTS:
        if habits == FEW_HABITS:
            notes.append(
                f"{most} points at most: what is foretold rests on how curves of so few points go on in other tables"
            )
        notes += _promised(known, ends)
    found = forecasts(known, ends, rates, habits, pooled=asked.pooled, bounds=(asked.lower, asked.upper))
    if cooled is not None:
        found = [cooled_forecast(m, cooled[c.name]) for c, m in zip(known, found, strict=True)]
    a = (1 - asked.level) / 2
    finals = [_final(c, ends[c.name], m, a, asked, cooled is not None) for c, m in zip(known, found, strict=True)]
    if len({f.at for f in finals}) == 1 and len(finals) > 1:
        finals = _compared(finals, found, asked)
    return finals, {c.name: m for c, m in zip(known, found, strict=True)}, notes


def _promised(curves: Sequence[Curve], ends: Mapping[str, float]) -> list[str]:
    """Return what is to be said of ends that lie beyond what so few points promise anything of."""
    known = {c.name: horizon(float(c.x[0]), float(c.x[-1])) for c in curves}
    beyond = [f"{name} ({exact(end)})" for name, end in known.items() if ends[name] > end * (1 + 1e-9)]
    if not beyond:
        return []
    more = _and_more(len(beyond) - 4)
    return [f"asked for beyond where so few points promise anything: {', '.join(beyond[:4])}{more}"]


def _horizon(curve: Curve) -> float | None:
    return horizon(float(curve.x[0]), float(curve.x[-1])) if len(curve.x) <= FEW_POINTS else None


def _and_more(n: int) -> str:
    return f" and {n} more" if n > 0 else ""


def forecasts(
    curves: Sequence[Curve],
    ends: Mapping[str, float],
    rates: Mapping[str, Rates] | None = None,
    habits: Habits = HABITS,
    *,
    pooled: bool = True,
    bounds: tuple[float | None, float | None] = (None, None),
) -> list[Mixture]:
    """Return the forecast of each curve, its width set by how far earlier parts of the curves missed later ones.

    Each curve is cut as far before its last point as it is asked for beyond it, and half as far (in log x); from there
    the last point is foretold. The root mean square of what these miss by, in units of their own standard deviations,
    widens or narrows all intervals of the table; where it rests on few curves, it is drawn towards 1.
    """

    def fitted(parts: Sequence[Curve], at: Mapping[str, float]) -> list[Mixture]:
        each = [_fit(c, at[c.name], None if rates is None else rates[c.name], habits) for c in parts]
        found = mixtures(each, habits, pooled=pooled)
        return [m.within(*_bounds(c, bounds)) for m, c in zip(found, parts, strict=True)]

    found = fitted(curves, ends)
    missed = []
    for share in (1.0, 0.5):
        cut = {c.name: c.x[-1] * (c.x[-1] / max(ends[c.name], c.x[-1])) ** share for c in curves}
        pairs = [(c.until(cut[c.name]), c) for c in curves]
        pairs = [(a, b) for a, b in pairs if LEAST_BEFORE <= len(a.x) < len(b.x)]
        lasts = {b.name: float(b.x[-1]) for _, b in pairs}
        for (_, whole), forecast in zip(pairs, fitted([a for a, _ in pairs], lasts), strict=True):
            low, middle, high = forecast.quantiles([0.16, 0.5, 0.84])
            y = float(whole.y[-1])
            side = (high - middle) if y > middle else (middle - low)
            missed.append(min(abs(y - middle) / max(side, 1e-300), MOST_MISSED))
    width = np.sqrt((habits.doubt + float(np.sum(np.square(missed)))) / (habits.doubt + len(missed)))
    least = LEAST_WIDTH if rates is None else max(LEAST_WIDTH, _unseen_fall(curves, ends, rates))
    return [m.wider(float(np.clip(width, least, MOST_MISSED))) for m in found]


def _unseen_fall(curves: Sequence[Curve], ends: Mapping[str, float], rates: Mapping[str, Rates]) -> float:
    """Return the share of the fall of the rate to come that nothing like it was seen of, over all curves: 0 to 1.

    Earlier parts of the curves foretell how far later parts are missed, unless these have another thing to come: the
    end of a cosine is such a thing. By so much the intervals are not made narrower than what curves in general need.
    """
    seen, to_come = 0.0, 0.0
    for c in curves:
        before = c.x[-1] ** 2 / max(ends[c.name], c.x[-1])
        cut, last, end = rates[c.name].fallen(np.array([before, c.x[-1], ends[c.name]]))
        seen, to_come = seen + max(last - cut, 0.0), to_come + max(end - last, 0.0)
    return float(1 - min(seen / to_come, 1.0)) if to_come > 0 else 0.0


def _bounds(curve: Curve, given: tuple[float | None, float | None]) -> tuple[float, float]:
    """Return the bounds of a curve: those given, and 0 for what has always been above it and falls."""
    lower, upper = given
    if lower is None and (curve.y > 0).all() and curve.y[-1] < curve.y[0]:
        lower = 0.0
    return -np.inf if lower is None else lower, np.inf if upper is None else upper


def _fit(curve: Curve, end: float, rates: Rates | None, habits: Habits) -> Fitted:
    part = thinned(curve.x, curve.y)
    if rates is None:
        return fit_shapes(part, end, habits=habits)
    last = np.array([end])
    kept = part.x > rates.edges[rates.risen] if rates.risen else np.ones(len(part.x), dtype=bool)
    if kept.sum() >= LEAST_POINTS:
        part = Thinned(part.x[kept], part.y[kept], part.precision[kept], part.noise, part.autocorrelation)
    fallen = rates.fallen(part.x), float(rates.fallen(last)[0])
    return fit_shapes(part, float(rates.forward(last)[0]), fallen, habits, rates.forward(part.x))


def _final(curve: Curve, end: float, forecast: Mixture, a: float, asked: Asked, cooled: bool) -> Final:
    wary = WARY if asked.better == "lower" else 1 - WARY
    low, value, high, worse = forecast.quantiles([a, 0.5, 1 - a, wary])
    curve_low, curve_high = forecast.quantiles([a, 1 - a], run=False)
    if curve.x[-1] >= end * (1 - 1e-9) and not cooled:  # the run is over: nothing is left to foretell
        low = value = high = worse = curve_low = curve_high = float(curve.y[-1])
    return Final(
        run=curve.name, n_points=len(curve.x), last=float(curve.x[-1]), now=float(curve.y[-1]), at=float(end),
        value=float(value), low=float(low), high=float(high), curve_low=float(curve_low), curve_high=float(curve_high),
        worse=float(worse), horizon=_horizon(curve), cooled=cooled,
    )  # fmt: skip


def _compared(finals: Sequence[Final], found: Sequence[Mixture], asked: Asked) -> list[Final]:
    """Return the ends with the probability of each to be best, or as good as the best."""
    rng = np.random.default_rng(asked.seed)
    sign = 1.0 if asked.better == "lower" else -1.0
    drawn = np.array([
        np.full(DRAWS, f.value) if f.over else m.draws(DRAWS, rng)
        for f, m in zip(finals, found, strict=True)
    ])  # fmt: skip
    costs = sign * drawn
    best = np.bincount(np.argmin(costs, axis=0), minlength=len(finals)) / DRAWS
    least = costs.min(0)
    as_good = (costs <= least + NEARLY * np.abs(least)).mean(1)
    return [
        Final(**{**asdict(f), "best": float(b), "as_good": float(g)})
        for f, b, g in zip(finals, best, as_good, strict=True)
    ]


def guessed_schedule(curve: Curve, end: float) -> Schedule | None:
    """Return the named schedule that gives the rates of a run so far and ends at `end`; None if none does."""
    rate = curve.rate
    if rate is None or not (rate > 0).any():
        return None
    k = int(np.argmax(rate))
    peak, top = float(rate[k]), float(curve.x[k])
    after = curve.x >= top
    if top >= end or after.sum() < 2:
        return None
    # where the first point has the highest rate, the warm-up ended there or there was none
    warmups = {max(top, 1.0)} if k else {0.0, max(top, 1.0)}
    kinds = [("constant", 0.0), *((kind, e) for kind in ("cosine", "linear") for e in (0.0, 0.1))]
    tried = [Schedule(kind, end, peak, warmup=w, end=e) for w in sorted(warmups) for kind, e in kinds if w < end]
    off = [float(np.abs(s.rate(curve.x[after]) - rate[after]).max()) / peak for s in tried]
    best = int(np.argmin(off))
    return tried[best] if off[best] < 0.02 else None
