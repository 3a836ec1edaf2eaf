"""What larger models will score, on many tasks at once: which scale, how each is foretold, and where to be careful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.curves.downstream import (
    DIRECT,
    NONE,
    TWO_STAGES,
    Chain,
    Judged,
    TaskRows,
    alarm,
    fit_chain,
    judge,
    noise_of,
)
from sld.core.arrays import Array
from sld.core.errors import UsageError
from sld.core.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

DRAWS = 2000  # ends of a 90 % interval are known to a twentieth of its width
MISFIT = 0.1  # of the change: chosen on the runs of `kempner_own_loss`, a hundred times beyond their compute
_LATE = 3  # rows at least that stand for a task that does not scale: the largest models


@dataclass(frozen=True)
class Score:
    """What a model will score.

    Attributes:
        task: The task.
        point: Number of the point that was asked for, from 0.
        scales: Where it is: column to value.
        loss: The loss foretold there; None if it is not gone through.
        value: The score: the middle one.
        low: Lower end of the interval of a measured score.
        high: Upper end.
        law_low: Lower end of the interval of the law itself.
        law_high: Upper end.
    """

    task: str
    point: int
    scales: Mapping[str, float]
    loss: float | None
    value: float
    low: float
    high: float
    law_low: float
    law_high: float


@dataclass(frozen=True)
class TaskForecast:
    """One task.

    Attributes:
        task: Its name.
        n_rows: Models that were measured.
        kind: `two stages`, `direct`, or `does not scale`.
        shape: Shape of the curve with the most weight: sigmoid, exponential, line or pass-rate; empty if none.
        errors: Mean absolute error of each kind when smaller models foretell larger ones.
        n_foretold: Scores that were foretold for it.
        alarm: What is wrong between loss and score, in a sentence; empty if nothing.
        follows: Rank correlation of each step of the chain with compute.
        scores: What was asked for.
    """

    task: str
    n_rows: int
    kind: str
    shape: str
    errors: Mapping[str, float]
    n_foretold: int
    alarm: str
    follows: Mapping[str, float]
    scores: tuple[Score, ...]


@dataclass(frozen=True, eq=False)
class Downstream:
    """Scores of all tasks.

    Attributes:
        tasks: A forecast for each.
        better: `higher` or `lower`.
        through: Column of the loss; None without one.
        level: Level of the intervals.
        notes: What was noticed, in sentences.
        rows: What was measured, by task.
    """

    tasks: tuple[TaskForecast, ...]
    better: str
    through: str | None
    level: float
    notes: tuple[str, ...] = ()
    rows: Mapping[str, TaskRows] = field(default_factory=dict, repr=False)
    sign: float = field(default=1.0, repr=False)

    def __repr__(self) -> str:
        """Return a short form."""
        return f"Downstream({len(self.tasks)} tasks, {len(self.not_scaling)} do not scale)"

    @property
    def not_scaling(self) -> tuple[str, ...]:
        """The tasks whose scores do not rise with compute by more than chance."""
        return tuple(t.task for t in self.tasks if t.kind == NONE)

    def __getitem__(self, task: str) -> TaskForecast:
        """Return a task by its name."""
        for t in self.tasks:
            if t.task == task:
                return t
        raise KeyError(task)

    def to_frame(self) -> DataFrame:
        """Return a row for each task and point."""
        import pandas as pd

        rows = []
        for t in self.tasks:
            for s in t.scores:
                own = {k: v for k, v in asdict(s).items() if k not in ("scales", "task")}
                rows.append({"task": t.task, "kind": t.kind, **s.scales, **own})
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the rows, in JSON's types."""
        return {
            "better": self.better,
            "through": self.through,
            "level": self.level,
            "tasks": [asdict(t) for t in self.tasks],
            "not_scaling": list(self.not_scaling),
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """Return the scores as lines of text."""
        lines = []
        for t in self.tasks:
            lines += [
                f"{t.task}: {short(s.value, 4)} ({short(s.low, 4)} to {short(s.high, 4)}), {t.kind}" for s in t.scores
            ]
        return "\n".join(lines)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw scores over compute, measured and foretold, of at most eight tasks; returns the axes."""
        from matplotlib import colormaps
        from matplotlib.figure import Figure

        ax = Figure(figsize=(6.5, 4.3), layout="constrained").subplots() if ax is None else ax
        drawn = self.tasks[:8]
        for k, t in enumerate(drawn):
            colour = colormaps["viridis"](0.05 + 0.85 * k / max(len(drawn) - 1, 1))
            rows = self.rows[t.task]
            share = self.sign * rows.share if rows.trials is None else rows.share
            ax.plot(np.exp(rows.compute), share, "o", markersize=3, color=colour, label=t.task)
            for s in t.scores:
                at = float(np.prod(list(s.scales.values())))
                ends = [[max(s.value - s.low, 0)], [max(s.high - s.value, 0)]]
                ax.errorbar([at], [s.value], ends, color=colour, marker="s", markersize=5, capsize=3, mfc="white")
        ax.set_xscale("log")
        ax.set_xlabel("product of the scale columns")
        ax.set_ylabel("score")
        ax.set_title(f"filled: measured; hollow: foretold, {100 * self.level:g} % intervals", fontsize=10)
        # beside the axes: scores of many tasks leave no free corner
        ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return ax


def forecast(
    rows: TaskRows,
    points: Array,
    columns: Sequence[str],
    *,
    sign: float = 1.0,
    chain: Mapping[str, float] | None = None,
    level: float = 0.9,
    seed: int = 0,
) -> TaskForecast:
    """Foretell a task's scores.

    Args:
        rows: What was measured, higher being better.
        points: Scales asked for (n_points, n_scales).
        columns: Names of the scales.
        sign: What scores are multiplied by in the end: -1 where lower is better.
        chain: Rank correlations of the steps from log-likelihood to score, if they are known.
        level: Level of the intervals.
        seed: Of the draws.

    Raises:
        UsageError: There are too few rows.
    """
    judged = judge(rows, seed=seed)
    kind = judged.chosen
    rng = np.random.default_rng(seed)
    if kind == NONE:
        scores = _constant(rows, points, level)
        shape = ""
    else:
        try:
            fitted = fit_chain(rows, kind)
        except UsageError:
            # a loss that does not fall with scale cannot be gone through
            kind = DIRECT
            fitted = fit_chain(rows, kind)
        scores = _scores(rows, fitted, judged, points, level, rng)
        shape = fitted.link.shape
    named = [
        _signed(replace(s, scales=dict(zip(columns, x.tolist(), strict=True))), sign)
        for s, x in zip(scores, points, strict=True)
    ]
    return TaskForecast(
        rows.name, len(rows.score), kind, shape, judged.errors, judged.n_rows, alarm(rows), chain or {}, tuple(named)
    )


def _scores(
    rows: TaskRows, chain: Chain, judged: Judged, points: Array, level: float, rng: np.random.Generator
) -> list[Score]:
    ends = [0.5 - level / 2, 0.5, 0.5 + level / 2]
    law = chain.draws(points, DRAWS, rng)
    run = chain.draws(points, DRAWS, rng, run=True)
    trials = rows.trials
    run = run + noise_of(chain, run.mean(0), trials) * rng.standard_normal(run.shape)
    wider = judged.wider.get(chain.kind, 1.0)
    # shapes are not the truth: what is foretold to change is off by a share of the change, as curves are
    late = np.argsort(rows.compute)[-max(_LATE, len(rows.score) // 3) :]
    change = np.abs(np.median(law, axis=0) - rows.share[late].mean())
    off = MISFIT * change * rng.standard_normal(law.shape)
    law, run = law + off, run + off
    loss = None if chain.scales is None else chain.scales.at(points)
    found = []
    for j in range(len(points)):
        law_low, value, law_high = np.quantile(chain.link.clipped(law[:, j]), ends)
        spread = chain.link.clipped(value + wider * (run[:, j] - value))
        low, _, high = np.quantile(spread, ends)
        # the two are of different draws: rounding must not put the wider interval inside the narrower
        low, high = min(low, law_low), max(high, law_high)
        found.append(
            Score(
                rows.name, j, {}, None if loss is None else float(loss[j]), float(value), float(low),
                float(high), float(law_low), float(law_high),
            )
        )  # fmt: skip
    return found


def _constant(rows: TaskRows, points: Array, level: float) -> list[Score]:
    """Return the mean of the larger models, with an interval as wide as their scores are scattered."""
    from scipy.special import stdtrit

    late = np.argsort(rows.compute)[-max(_LATE, len(rows.score) // 3) :]
    share = rows.share[late]
    sd = float(np.std(share, ddof=1)) if len(share) > 1 else 0.0
    half = float(stdtrit(max(len(share) - 1, 1), 0.5 + level / 2)) * sd
    middle, narrow = float(share.mean()), half / np.sqrt(len(share))
    wide = half * np.sqrt(1 + 1 / len(share))
    return [
        Score(rows.name, j, {}, None, middle, middle - wide, middle + wide, middle - narrow, middle + narrow)
        for j in range(len(points))
    ]


def _signed(s: Score, sign: float) -> Score:
    if sign > 0:
        return s
    # 0 - x and not -x: a score of -0 is none
    return replace(s, value=0 - s.value, low=0 - s.high, high=0 - s.low, law_low=0 - s.law_high, law_high=0 - s.law_low)


__all__ = ["DIRECT", "NONE", "TWO_STAGES", "Downstream", "Score", "TaskForecast", "forecast"]
