"""What more samples of a problem bring: pass@k from counts, beyond the samples that were drawn, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.curves.counts import (
    BestSamples,
    Ceiling,
    Difficulty,
    best_samples,
    check_counts,
    fit_difficulty,
    pass_at_k,
)
from sld.core.arrays import Array
from sld.core.errors import UsageError
from sld.core.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

REFITTED = 60  # sets of problems whose difficulty is fitted anew: slow, and 60 fix the ends to a fifth
RESAMPLED = 300  # sets of problems: ends of a 90 % interval are known to a tenth of its width
RATES = 500  # problems of a fitted difficulty that costs are averaged over


@dataclass(frozen=True)
class Coverage:
    """The share of problems with a right one among k samples.

    Attributes:
        group: Which model, or which set of problems.
        k: Samples of each problem.
        value: pass@k.
        low: Lower end of its interval, over problems drawn anew.
        high: Upper end.
        measured: Whether enough samples were drawn: the unbiased estimate; otherwise it is what the fitted difficulty
            of the problems says.
    """

    group: str
    k: int
    value: float
    low: float
    high: float
    measured: bool


@dataclass(frozen=True)
class Sampled:
    """What is known of one group's problems.

    Attributes:
        group: Its name.
        n_problems: How many.
        n_samples: Samples drawn in all.
        rate: Share of right samples, each problem weighing the same.
        unsolved: Problems without a right sample.
        difficulty: How often problems are solved, as a distribution over problems.
        limit: Share of right answers among those that the verifier accepts, with no end of samples; None without one.
        best: How many samples pay; None where no cost is given.
    """

    group: str
    n_problems: int
    n_samples: int
    rate: float
    unsolved: int
    difficulty: Difficulty
    limit: float | None = None
    best: BestSamples | None = None


@dataclass(frozen=True, eq=False)
class PassAtK:
    """pass@k of all groups.

    Attributes:
        coverage: A row for each group and k.
        groups: What is known of each group.
        level: Level of the intervals.
    """

    coverage: tuple[Coverage, ...]
    groups: tuple[Sampled, ...]
    level: float

    def __repr__(self) -> str:
        """Return a short form."""
        return f"PassAtK({len(self.groups)} groups, {len(self.coverage)} values)"

    def to_frame(self) -> DataFrame:
        """Return a row for each group and k."""
        import pandas as pd

        return pd.DataFrame([asdict(c) for c in self.coverage])

    def to_json(self) -> dict[str, Any]:
        """Return everything in JSON's types."""
        return {
            "level": self.level,
            "coverage": [asdict(c) for c in self.coverage],
            "groups": [asdict(g) for g in self.groups],
        }

    def summary(self) -> str:
        """Return the values as lines of text."""
        return "\n".join(
            f"{c.group} pass@{c.k}: {short(c.value, 4)} ({short(c.low, 4)} to {short(c.high, 4)})"
            for c in self.coverage
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw coverage over k with intervals; hollow where not so many samples were drawn; returns the axes."""
        from matplotlib import colormaps
        from matplotlib.figure import Figure

        ax = Figure(figsize=(6.5, 4.3), layout="constrained").subplots() if ax is None else ax
        for i, group in enumerate(self.groups[:8]):
            colour = colormaps["viridis"](0.05 + 0.85 * i / max(len(self.groups[:8]) - 1, 1))
            rows = [c for c in self.coverage if c.group == group.group]
            k = np.geomspace(rows[0].k, rows[-1].k, 60)
            ax.plot(k, group.difficulty.coverage(k), color=colour, linewidth=1.1, label=group.group)
            for c in rows:
                ends = [[c.value - c.low], [c.high - c.value]]
                face = colour if c.measured else "white"
                ax.errorbar([c.k], [c.value], ends, color=colour, marker="o", markersize=4, capsize=2, mfc=face)
        ax.set_xscale("log")
        ax.set_xlabel("samples of each problem")
        ax.set_ylabel("share of problems solved")
        ax.set_title("filled: measured; hollow: from the fitted difficulty", fontsize=10)
        if len(self.groups) > 1:
            ax.legend(frameon=False, fontsize=8)
        return ax


@dataclass(frozen=True)
class Costs:
    """What sampling costs, in units of a right answer, and how good the verifier is.

    Attributes:
        sample: Of one sample; None asks for no best number.
        wrong: Of a wrong answer that was accepted.
        false_positive: How often a wrong answer is accepted.
        stop: Whether sampling ends at the first accepted sample.
    """

    sample: float | None = None
    wrong: float = 0.0
    false_positive: float = 0.0
    stop: bool = False


def sampled(
    group: str,
    solved: Array,
    tried: Array,
    ks: Sequence[int],
    *,
    costs: Costs = Costs(),
    level: float = 0.9,
    seed: int = 0,
) -> tuple[list[Coverage], Sampled]:
    """Return pass@k of one group, and what is known of its problems.

    Args:
        group: Its name.
        solved: Right samples of each problem (n_problems,).
        tried: Samples of each problem (n_problems,).
        ks: Numbers of samples.
        costs: What sampling costs.
        level: Level of the intervals.
        seed: Of the problems that are drawn anew.

    Raises:
        UsageError: Counts are not possible, or there is only one problem.
    """
    check_counts(solved, tried)
    if len(solved) < 2:
        raise UsageError(f"group {group!r} has one problem: a share of problems needs two at least, one row for each")
    rng = np.random.default_rng(seed)
    difficulty = fit_difficulty(solved, tried)
    n = len(solved)
    drawn = rng.integers(0, n, (RESAMPLED, n))
    ends = [0.5 - level / 2, 0.5 + level / 2]
    beyond: list[Difficulty] = []
    if max(ks) > tried.min():
        beyond = [fit_difficulty(solved[d], tried[d], difficulty) for d in drawn[:REFITTED]]
    rows = []
    for k in sorted(set(ks)):
        if k <= tried.min():
            each = pass_at_k(solved, tried, k)
            value, means = float(each.mean()), each[drawn].mean(1)
        else:
            value = float(difficulty.coverage(k))
            means = np.array([d.coverage(k) for d in beyond], dtype=float)
        low, high = (float(x) for x in np.quantile(means, ends))
        if not solved.any():
            # nothing was solved: so many problems could hide this share, and beyond the samples drawn nothing is known
            value, low, high = 0.0, 0.0, 1 - (1 - level) ** (1 / n) if k <= tried.min() else 1.0
        rows.append(Coverage(group, int(k), value, min(low, value), max(high, value), bool(k <= tried.min())))
    return rows, Sampled(
        group=group, n_problems=n, n_samples=int(tried.sum()), rate=float((solved / tried).mean()),
        unsolved=int((solved == 0).sum()), difficulty=difficulty, limit=_limit(difficulty, costs),
        best=_best(difficulty, costs),
    )  # fmt: skip


def _limit(difficulty: Difficulty, costs: Costs) -> float | None:
    if costs.false_positive == 0:
        return None
    return float(np.mean([Ceiling(float(p), costs.false_positive).limit for p in difficulty.rates(RATES)]))


def _best(difficulty: Difficulty, costs: Costs) -> BestSamples | None:
    if costs.sample is None:
        return None
    return best_samples(
        difficulty.rates(RATES), sample_cost=costs.sample, wrong_cost=costs.wrong, false_positive=costs.false_positive,
        stop=costs.stop, most=1_000_000,
    )  # fmt: skip
