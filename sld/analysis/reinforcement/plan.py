"""What `sld utd` found: the chain of laws with intervals, what each performance takes, how to spend a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.reinforcement.chain import LEAST_LEVELS, Chain, Optimum, Prices, Settings, drawn, fit_chain
from sld.analysis.reinforcement.frames import frame
from sld.analysis.reinforcement.recipes import Span
from sld.core.arrays import Array
from sld.core.numbers import exact, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

DRAWS = 300  # chains from other runs: the ends of a 90 % interval are known to a tenth of its width


@dataclass(frozen=True)
class PowerLaw:
    """A power law of the chain, value = factor * x^-exponent.

    Attributes:
        name: `batch`, `rate`, `data` or `ratio`.
        factor: The value at x = 1.
        exponent: How fast it falls.
    """

    name: str
    factor: Span
    exponent: Span


@dataclass(frozen=True)
class Level:
    """What one performance takes.

    Attributes:
        reach: The performance.
        floor: Steps that no ratio saves, $D_J^{min}$.
        factor: Steps above it at a ratio of 1.
        ratio: The ratio of updates to data that costs least; None where no price of data was given.
        data: Steps at that ratio.
        compute: Compute at that ratio.
        budget: Both together, data at its price.
    """

    reach: float
    floor: Span
    factor: Span
    ratio: Span | None = None
    data: Span | None = None
    compute: Span | None = None
    budget: Span | None = None


@dataclass(frozen=True)
class Spent:
    """How to spend a budget.

    Attributes:
        budget: Compute, and data at its price.
        ratio: The best ratio of updates to data.
        batch: The best batch size there; None where the table has none.
        rate: The best learning rate there; None where the table has none.
        data: Steps of data.
        compute: What is left for compute.
        times: The budget over that of the dearest performance that was measured.
    """

    budget: float
    ratio: Span
    batch: Span | None
    rate: Span | None
    data: Span
    compute: Span
    times: float


@dataclass(frozen=True)
class Check:
    """The highest performance, foretold from the others.

    Attributes:
        reach: It.
        foretold: Its best ratio by what the other performances say.
        measured: Its best ratio by its own runs.
    """

    reach: float
    foretold: float
    measured: float


@dataclass(frozen=True, eq=False)
class UpdatePlan:
    """The chain of laws, and what follows from it.

    Attributes:
        ratio: Column of updates to data.
        level: Level of the intervals.
        laws: The power laws: of the best batch size and learning rate in the ratio, of the part of the steps that more
            updates save, and of the best ratio in the budget.
        levels: What each performance takes, by rising performance.
        budgets: How to spend each budget that was asked for.
        ratios: The lowest and the highest ratio that were run.
        n_settings: Combinations of ratio, batch size and learning rate.
        n_runs: Runs.
        check: The highest performance foretold from the others; None with fewer than three.
        notes: What was noticed, in sentences.
        chain: The laws as fitted to all runs.
        settings: What was run.
    """

    ratio: str
    level: float
    laws: tuple[PowerLaw, ...]
    levels: tuple[Level, ...]
    budgets: tuple[Spent, ...]
    ratios: tuple[float, float]
    n_settings: int
    n_runs: int
    check: Check | None
    notes: tuple[str, ...]
    chain: Chain = field(repr=False)
    settings: Settings = field(repr=False)

    def __repr__(self) -> str:
        """Return a short form."""
        return f"UpdatePlan({len(self.levels)} performances, {len(self.budgets)} budgets, {self.level:.0%} intervals)"

    def to_frame(self) -> DataFrame:
        """Return a row for each budget, or for each performance where no budget was asked for."""
        return frame(self.budgets or self.levels)

    def to_json(self) -> dict[str, Any]:
        """Return everything but what was run, in JSON's types."""
        return {
            "ratio": self.ratio,
            "level": self.level,
            "ratios": list(self.ratios),
            "settings": self.n_settings,
            "runs": self.n_runs,
            "laws": [asdict(law) for law in self.laws],
            "performances": [asdict(level) for level in self.levels],
            "budgets": [asdict(spent) for spent in self.budgets],
            "check": None if self.check is None else asdict(self.check),
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """Return the budgets, or what each performance takes, as lines of text."""
        lines = [
            f"budget {short(s.budget, 4)}: {self.ratio} {short(s.ratio.value)} ({short(s.ratio.low)} "
            f"to {short(s.ratio.high)}), "
            f"{short(s.data.value)} steps"
            for s in self.budgets
        ]
        return "\n".join(lines or [f"{v.reach:g}: at least {v.floor.value:.3g} steps" for v in self.levels])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the steps to each performance over the ratio, measured and by the law; returns the axes."""
        from matplotlib import colormaps
        from matplotlib.figure import Figure

        ax = Figure(figsize=(6.5, 4.3), layout="constrained").subplots() if ax is None else ax
        ratio = np.geomspace(self.ratios[0] / 1.5, self.ratios[1] * 1.5, 120)
        data = self.chain.data(ratio)
        steps = np.where(np.isfinite(self.settings.steps), self.settings.steps, np.nan)
        for j, level in enumerate(self.levels):
            colour = colormaps["viridis"](0.05 + 0.85 * j / max(len(self.levels) - 1, 1))
            ax.plot(ratio, data[j], color=colour, linewidth=1.3, label=f"{level.reach:g}")
            ax.plot(self.settings.ratio, np.exp(steps[:, j]), ".", color=colour, markersize=3, alpha=0.5)
            if level.ratio is not None and level.data is not None:
                x, y = level.ratio, level.data.value
                ax.errorbar([x.value], [y], xerr=[[x.value - x.low], [x.high - x.value]], color=colour, marker="D",
                            markersize=5, capsize=3)  # fmt: skip
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel(f"updates to data ({self.ratio})")
        ax.set_ylabel("steps to the performance")
        diamonds = "; diamonds: least cost" if self.levels[0].ratio is not None else ""
        ax.set_title(f"lines: best settings; dots: all that were run{diamonds}", fontsize=10)
        ax.legend(frameon=False, fontsize=8, title="performance", title_fontsize=8)
        return ax


@dataclass(frozen=True)
class Question:
    """What is asked of a chain.

    Attributes:
        reach: The performances, rising.
        prices: What a budget is charged with; None where data has no price.
        budgets: What there is to spend.
        level: Level of the intervals.
        seed: Of the draws.
    """

    reach: tuple[float, ...]
    prices: Prices | None = None
    budgets: tuple[float, ...] = ()
    level: float = 0.9
    seed: int = 0


def plan(settings: Settings, ratio: str, asked: Question, notes: Sequence[str]) -> UpdatePlan:
    """Return the chain of laws of what was run, and what follows from it.

    Raises:
        UsageError: Fewer than three ratios reach every performance.
    """
    chain = fit_chain(settings)
    rng = np.random.default_rng(asked.seed)
    others = drawn(settings, chain, DRAWS, rng)
    said = list(notes)
    if not len(settings.deviations):
        said.append(
            "no setting has two runs (name the column that tells them apart: run): the intervals come from how far "
            "the steps lie from the law"
        )

    def span(value: float, draws: Sequence[float]) -> Span:
        around = Span.of(np.asarray(draws, dtype=float), asked.level)
        return Span(float(value), min(around.low, float(value)), max(around.high, float(value)))

    laws = [
        PowerLaw(
            name, span(float(law.at(1.0)), [float(getattr(c, name).at(1.0)) for c in others]),
            span(law.exponent, [getattr(c, name).exponent for c in others]),
        )
        for name in ("batch", "rate") if (law := getattr(chain, name)) is not None
    ]  # fmt: skip
    floors, factors = np.array([c.floor for c in others]), np.array([c.factor for c in others])
    laws.append(PowerLaw("data", span(1.0, [1.0]), span(chain.exponent, [c.exponent for c in others])))
    levels = [
        Level(v, span(chain.floor[j], floors[:, j].tolist()), span(chain.factor[j], factors[:, j].tolist()))
        for j, v in enumerate(asked.reach)
    ]
    budgets: list[Spent] = []
    check = None
    if (prices := asked.prices) is not None:
        found, around = chain.cheapest(prices), [c.cheapest(prices) for c in others]
        levels = [_priced(level, j, found, around, (prices, span)) for j, level in enumerate(levels)]
        said += _at_ends(found[0], chain, asked)
        if len(levels) >= LEAST_LEVELS:
            best, each = Optimum.of(chain, prices), [Optimum.of(c, prices) for c in others]
            laws.append(
                PowerLaw(
                    "ratio", span(float(best.ratio.at(1.0)), [float(o.ratio.at(1.0)) for o in each]),
                    span(best.ratio.exponent, [o.ratio.exponent for o in each]),
                )
            )  # fmt: skip
            most = float(found[1].max())
            budgets = [_spent(b, (chain, others), (best, each), prices, (most, span)) for b in asked.budgets]
        if len(levels) > LEAST_LEVELS:
            top = len(levels) - 1
            before = Optimum.of(chain, prices, range(top))
            check = Check(asked.reach[top], _between(before.at(float(found[1][top]))), float(found[0][top]))
    ends = float(chain.ratios.min()), float(chain.ratios.max())
    n_runs = int(settings.runs.sum())
    return UpdatePlan(
        ratio, asked.level, tuple(laws), tuple(levels), tuple(budgets), ends, len(settings.ratio), n_runs, check,
        tuple(said), chain, settings,
    )  # fmt: skip


def _priced(level: Level, j: int, found: Any, around: Any, given: tuple[Prices, Any]) -> Level:
    """Return what a performance takes at the ratio that costs least."""
    prices, span = given
    ratio, budget, data = (span(found[i][j], [a[i][j] for a in around]) for i in range(3))
    compute = span(found[1][j] - prices.data * found[2][j], [float(a[1][j] - prices.data * a[2][j]) for a in around])
    return Level(level.reach, level.floor, level.factor, ratio, data, compute, budget)


def _spent(
    budget: float, chains: tuple[Chain, Sequence[Chain]], optima: tuple[Optimum, Sequence[Optimum]], prices: Prices,
    given: tuple[float, Any],
) -> Spent:  # fmt: skip
    """Return how to spend a budget: the ratio by its law, and batch size, rate and steps at that ratio."""
    most, span = given
    (chain, others), (best, each) = chains, optima
    # half of the draws go on in one way, half in the other
    ratio, ratios = _between(best.at(budget)), [o.at(budget)[k % 2] for k, o in enumerate(each)]

    def there(name: str) -> Span | None:
        law = getattr(chain, name)
        if law is None:
            return None
        return span(law.at(ratio), [getattr(c, name).at(s) for c, s in zip(others, ratios, strict=True)])  # type: ignore[no-any-return]

    steps = [float(_steps(c, s, budget, prices)) for c, s in zip((chain, *others), (ratio, *ratios), strict=True)]
    left = [budget - prices.data * d for d in steps]
    return Spent(
        budget, span(ratio, ratios), there("batch"), there("rate"), span(steps[0], steps[1:]), span(left[0], left[1:]),
        budget / most,
    )  # fmt: skip


def _between(ratios: tuple[float, float]) -> float:
    return float(np.sqrt(ratios[0] * ratios[1]))


def _steps(chain: Chain, ratio: float, budget: float, prices: Prices) -> float:
    """Return the steps that a budget pays for at a ratio: each costs its price and that of its updates."""
    batch = 1.0 if chain.batch is None else float(chain.batch.at(ratio))
    return budget / (prices.data + prices.sample * batch * ratio)


def _at_ends(best: Array, chain: Chain, asked: Question) -> list[str]:
    """Return a sentence where the cheapest ratio lies beyond those that were run."""
    low, high = chain.ratios.min(), chain.ratios.max()
    beyond = [exact(v) for v, s in zip(asked.reach, best, strict=True) if not low <= s <= high]
    if not beyond:
        return []
    return [
        f"the cheapest ratio lies beyond those that were run ({exact(low)} to {exact(high)}) for {', '.join(beyond)}: "
        "run more ratios there"
    ]
