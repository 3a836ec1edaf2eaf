"""A law of the loss along a run, fitted to some schedules and asked about others, with its intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.curves.annealing import LAWS, CurveConstants, Fit, Observed, fit_annealing
from sld.analysis.curves.schedules import Rates, Schedule, read_schedule
from sld.core.arrays import Array
from sld.core.errors import UsageError, suggest
from sld.core.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

_FORMULA = {
    "annealing": "L0 + A*S1**-alpha - C*S2",
    "multi-power": "L0 + A*(S1 + S_W)**-alpha - B*sum(fall*(1 - (1 + C*rate**-gamma*S_k)**-beta))",
}
_SPLIT = 2 / 3  # where runs are cut to compare the laws: the last third of a cosine holds half of its fall


@dataclass(frozen=True, eq=False)
class Foretold:
    """The loss under a schedule.

    Attributes:
        step: (n_steps,).
        value: (n_steps,).
        low: Lower end of the interval of a measurement (n_steps,).
        high: Upper end (n_steps,).
        rate: Learning rate at the steps (n_steps,).
    """

    step: Array
    value: Array
    low: Array
    high: Array
    rate: Array

    def to_frame(self) -> DataFrame:
        """Return a row for each step."""
        import pandas as pd

        return pd.DataFrame(
            {"step": self.step, "rate": self.rate, "value": self.value, "low": self.low, "high": self.high}
        )


@dataclass(frozen=True, eq=False)
class CurveLaw:
    r"""A law of the loss along a run.

    Attributes:
        law: `annealing` or `multi-power`.
        target: Column of the loss.
        step: Column of the steps.
        sizes: Names of the sizes, each with its own $L_0$ and $A$.
        constants: The constants.
        error: Root mean square of the relative error on the runs that it was fitted to.
        r2: Share of the variance that is explained, over all points.
        level: Level of the intervals.
        fits: What each law that was tried left on the last third of the runs, fitted to the rest (relative error).
        notes: What was noticed, in sentences.
    """

    law: str
    target: str
    step: str
    sizes: tuple[str, ...]
    constants: CurveConstants
    error: float
    r2: float
    level: float
    fits: dict[str, float]
    notes: tuple[str, ...]
    _fit: Fit = field(repr=False)

    @property
    def formula(self) -> str:
        """The law in words of the formula; the areas are explained in `sld.analysis.curves.schedules`."""
        return _FORMULA[self.law]

    def __repr__(self) -> str:
        """Return a short form."""
        return f"CurveLaw({self.target} = {self.formula}, {len(self._fit.runs)} runs)"

    def at(self, schedule: Schedule | Rates | str, step: object = None, *, size: str | None = None) -> Foretold:
        """Return the loss under a schedule.

        Args:
            schedule: A schedule, its words ("wsd:peak=3e-4,total=20000"), or rates.
            step: Steps (n_steps,); 200 over the run after its warm-up if not given.
            size: Which size; needed where there are several.

        Raises:
            UsageError: There is no such size or schedule.
        """
        if isinstance(schedule, str):
            schedule = read_schedule(schedule)
        rates = schedule if isinstance(schedule, Rates) else Rates.of(schedule)
        start, end = float(rates.edges[rates.risen]), float(rates.edges[-1])
        x = np.linspace(start, end, 201)[1:] if step is None else np.atleast_1d(np.asarray(step, dtype=float))
        k = self._size(size)
        value = self.constants.at(rates, x, k)
        sd = np.hypot(self._fit.spread(rates, x, k), self._fit.noise * np.abs(value))
        half = NormalDist().inv_cdf(0.5 + self.level / 2) * sd
        cells = np.clip(np.searchsorted(rates.edges, x) - 1, 0, len(rates.rate) - 1)
        return Foretold(x, value, value - half, value + half, rates.rate[cells])

    def _size(self, size: str | None) -> int:
        if size is None and len(self.sizes) == 1:
            return 0
        if size is None:
            raise UsageError(f"say which size: {', '.join(self.sizes)}")
        if size not in self.sizes:
            raise UsageError(suggest(size, self.sizes, kind="size"))
        return self.sizes.index(size)

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the interval of each shared constant."""
        z = NormalDist().inv_cdf(0.5 + self.level / 2)
        drawn = self._fit.drawn
        found = {}
        for name, value in self.constants.shared.items():
            values = np.array([c.shared[name] for c in drawn])
            low, high = (
                np.quantile(values, [0.5 - self.level / 2, 0.5 + self.level / 2]) if len(values) else (value, value)
            )
            found[name] = (min(float(low), value), max(float(high), value))
        assert z > 0
        return found

    def to_frame(self) -> DataFrame:
        """Return a row for each constant."""
        import pandas as pd

        ends = self.intervals()
        rows = [
            {"constant": n, "size": "", "value": v, "low": ends[n][0], "high": ends[n][1]}
            for n, v in self.constants.shared.items()
        ]
        for k, (L0, A) in self.constants.own.items():
            rows += [{"constant": n, "size": self.sizes[k], "value": v} for n, v in (("L0", L0), ("A", A))]
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Return the law in JSON's types."""
        return {
            "law": self.law,
            "formula": self.formula,
            "target": self.target,
            "step": self.step,
            "constants": self.constants.shared,
            "intervals": {name: list(ends) for name, ends in self.intervals().items()},
            "sizes": {self.sizes[k]: {"L0": L0, "A": A} for k, (L0, A) in self.constants.own.items()},
            "relative_error": self.error,
            "r2": self.r2,
            "level": self.level,
            "compared": self.fits,
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """Return formula and constants as text."""
        shared = ", ".join(f"{n} = {short(v, 5)}" for n, v in self.constants.shared.items())
        return f"{self.target} = {self.formula}\n{shared}; relative error {self.error:.2%}"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the runs and the law along them, at most eight; returns the axes."""
        from matplotlib import colormaps
        from matplotlib.figure import Figure

        ax = Figure(figsize=(6.5, 4.3), layout="constrained").subplots() if ax is None else ax
        runs = self._fit.runs[:8]
        for k, r in enumerate(runs):
            colour = colormaps["viridis"](0.05 + 0.85 * k / max(len(runs) - 1, 1))
            ax.plot(r.x, r.y, ".", markersize=3, color=colour, label=r.name)
            ax.plot(r.x, self.constants.at(r.rates, r.x, r.size), color=colour, linewidth=1.2)
        ax.set_xlabel(self.step)
        ax.set_ylabel(self.target)
        ax.set_title(f"{self.law} law, points measured and curve fitted", fontsize=10)
        if len(runs) > 1:
            ax.legend(frameon=False, fontsize=8)
        return ax


def fit_curve_law(
    runs: Sequence[Observed],
    law: str = "auto",
    *,
    target: str = "loss",
    step: str = "step",
    sizes: Sequence[str] = ("all",),
    notes: Sequence[str] = (),
    level: float = 0.9,
) -> CurveLaw:
    """Fit a law of curves; `auto` takes the one that better foretells the last third of the runs from the rest."""
    tried: dict[str, float] = {}
    if law == "auto":
        tried = {name: _left_out(runs, name) for name in LAWS}
        law = min(tried, key=lambda name: tried[name])
    fit = fit_annealing(runs, law)
    y = np.concatenate([r.y for r in runs])
    fitted = np.concatenate([fit.constants.at(r.rates, r.x, r.size) for r in runs])
    off = fitted - y
    variance = float(np.var(y))
    r2 = 1 - float(np.mean(off**2)) / variance if variance > 0 else float("nan")
    more = (
        ["every run has the same schedule: what the law says of another rests on its form alone"]
        if len({_signature(r.rates) for r in runs}) == 1
        else []
    )
    return CurveLaw(
        law, target, step, tuple(sizes), fit.constants, float(np.sqrt(np.mean((off / y) ** 2))), r2, level, tried,
        (*notes, *more), fit,
    )  # fmt: skip


def _signature(rates: Rates) -> tuple[int, ...]:
    at = np.linspace(0, len(rates.rate) - 1, 50).astype(int)
    return tuple(np.round(100 * rates.rate[at] / rates.peak).astype(int).tolist())


def _left_out(runs: Sequence[Observed], law: str) -> float:
    """Return the relative error on the last third of the runs of a law that was fitted to the rest."""
    parts = [(r, r.x <= _SPLIT * r.x[-1]) for r in runs]
    early = [
        Observed(r.name, r.size, r.x[m], r.y[m], r.rates, r.noise, r.autocorrelation) for r, m in parts if m.sum() >= 4
    ]
    if len(early) < len(runs):
        return float("inf")
    try:
        constants = fit_annealing(early, law).constants
    except UsageError:  # the rate falls in the last third only
        return float("inf") if law != LAWS[0] else 1.0
    left = [np.abs(constants.at(r.rates, r.x[~m], r.size) / r.y[~m] - 1) for r, m in parts if (~m).any()]
    return float(np.mean(np.concatenate(left)))
