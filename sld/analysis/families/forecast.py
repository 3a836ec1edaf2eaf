"""What models of several families will score: the law that is used and why, scores with intervals, a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.families.components import explained
from sld.analysis.families.draws import Asked, Drawn, drawn
from sld.analysis.families.judging import KINDS, JudgedForms, fit_together, forms, judge_forms
from sld.analysis.families.latent import BY_FAMILY, COMPONENTS, ONE, SKILLS
from sld.analysis.families.scores import ScoreTable, check_enough
from sld.core.arrays import Array
from sld.core.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

_DOTS = 12  # benchmarks in a picture: more names do not fit


@dataclass(frozen=True)
class FamilyScore:
    """What a model will score on a benchmark.

    Attributes:
        point: Number of the model that was asked for, from 0.
        family: Its family; empty for one of which nothing is known.
        benchmark: The benchmark.
        scales: Column to value.
        value: The score: the middle one.
        low: Lower end of the interval of a measured score.
        high: Upper end.
        law_low: Lower end of the interval of the mean score of such models.
        law_high: Upper end.
        best: Best score of this family so far; None without one.
    """

    point: int
    family: str
    benchmark: str
    scales: Mapping[str, float]
    value: float
    low: float
    high: float
    law_low: float
    law_high: float
    best: float | None = None


@dataclass(frozen=True)
class FilledScore:
    """A score that is missing in the table, from the model's other scores, its family and its scale.

    Attributes:
        row: Where the model stands in the table, e.g. `line 7`.
        family: Its family.
        benchmark: The benchmark.
        value: The score: the middle one.
        low: Lower end of the interval.
        high: Upper end.
    """

    row: str
    family: str
    benchmark: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Gain:
    """How good a family is for its compute, at a model that was asked for.

    Attributes:
        point: Number of the model, from 0.
        family: The family.
        value: Compute that a typical family needs for the same scores, over the compute of this family.
        low: Lower end of the interval.
        high: Upper end.
    """

    point: int
    family: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Families:
    """Scores of models of several families.

    Attributes:
        scores: What was asked for, by model and benchmark.
        filled: Missing scores of models in the table, if asked for.
        gains: How good the asked families are for their compute; empty for a law that does not tell families apart.
        kind: Law that is used: `one curve`, `curve by family`, `components` or `skills`.
        n_skills: Number of skills (of components); 0 where each benchmark stands alone.
        errors: Mean absolute error of each kind when larger models of families are foretold, in units of the scores.
        n_foretold: Scores that were foretold for it.
        n_families_foretold: Of so many families.
        forced: Whether the kind was asked for, and not chosen by these errors.
        explained: Share of the variance of scores that each principal component explains.
        n_models: Models that count.
        n_families: Families that count.
        better: `higher` or `lower`.
        level: Level of the intervals.
        notes: What was noticed, in sentences.
    """

    scores: tuple[FamilyScore, ...]
    filled: tuple[FilledScore, ...]
    gains: tuple[Gain, ...]
    kind: str
    n_skills: int
    errors: Mapping[str, float]
    n_foretold: int
    n_families_foretold: int
    forced: bool
    explained: tuple[float, ...]
    n_models: int
    n_families: int
    better: str
    level: float
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        """Return a short form."""
        return f"Families({self.n_models} models of {self.n_families} families, {self.kind}, {len(self.scores)} scores)"

    def __getitem__(self, benchmark: str) -> tuple[FamilyScore, ...]:
        """Return the scores on a benchmark, one for each model that was asked for."""
        found = tuple(s for s in self.scores if s.benchmark == benchmark)
        if not found:
            raise KeyError(benchmark)
        return found

    def to_frame(self) -> DataFrame:
        """Return a row for each model and benchmark."""
        import pandas as pd

        rows = []
        for s in self.scores:
            own = {k: v for k, v in asdict(s).items() if k != "scales"}
            rows.append({"point": own.pop("point"), "family": own.pop("family"), **s.scales, **own})
        return pd.DataFrame(rows)

    def filled_frame(self) -> DataFrame:
        """Return a row for each score that was missing in the table."""
        import pandas as pd

        return pd.DataFrame([asdict(s) for s in self.filled], columns=list(FilledScore.__dataclass_fields__))

    def to_json(self) -> dict[str, Any]:
        """Return everything in JSON's types."""
        return {
            **asdict(self),
            "explained": list(self.explained),
            "notes": list(self.notes),
            **{k: [asdict(s) for s in getattr(self, k)] for k in ("scores", "filled", "gains")},
        }

    def summary(self) -> str:
        """Return the scores as lines of text."""
        return "\n".join(
            f"{s.family or 'a new family'}, {', '.join(f'{k}={short(v, 4)}' for k, v in s.scales.items())}, "
            f"{s.benchmark}: {short(s.value, 4)} ({short(s.low, 4)} to {short(s.high, 4)})"
            for s in self.scores
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the scores of each model that was asked for, with intervals, a line for each benchmark (at most 12)."""
        from matplotlib import colormaps
        from matplotlib.figure import Figure

        names = list(dict.fromkeys(s.benchmark for s in self.scores))[:_DOTS]
        points = sorted({s.point for s in self.scores})
        if ax is None:
            ax = Figure(figsize=(6.5, 1.4 + 0.42 * len(names)), layout="constrained").subplots()
        for k, p in enumerate(points):
            colour = colormaps["viridis"](0.1 + 0.75 * k / max(len(points) - 1, 1))
            own = [s for s in self.scores if s.point == p and s.benchmark in names]
            x = np.array([s.value for s in own])
            y = np.array([names.index(s.benchmark) for s in own]) + 0.5 * (k + 1) / (len(points) + 1) - 0.25
            ends = np.array([[s.value - s.low, s.high - s.value] for s in own]).T
            label = f"{own[0].family or 'a new family'}, " + ", ".join(
                f"{n} = {short(v)}" for n, v in own[0].scales.items()
            )
            ax.errorbar(x, y, xerr=np.maximum(ends, 0), fmt="s", color=colour, capsize=3, markersize=5, label=label)
            best = [(s.best, row) for s, row in zip(own, y, strict=True) if s.best is not None]
            if best:
                ax.plot(*np.array(best).T, "|", color=colour, markersize=13)
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set_xlabel("score")
        ax.set_title(
            f"squares: foretold, {100 * self.level:g} % intervals; strokes: best of that family so far", fontsize=9
        )
        ax.grid(axis="x", alpha=0.3)
        ax.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -1.2 / len(names)))
        return ax


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of a table.

    Attributes:
        family: Number of the family of each model asked for; -1 for one of which nothing is known.
        scales: Their scales (n_asked, n_scales).
        columns: Names of the scales.
        ends: The worst and the best possible score.
        rows: Where each model of the table stands, e.g. `line 7`; empty if missing scores are not asked for.
        kind: The law to use; None lets the errors decide.
        rank: Number of skills; None lets the errors decide.
        level: Level of the intervals.
    """

    family: Sequence[int]
    scales: Array
    columns: Sequence[str]
    ends: tuple[float, float]
    rows: Sequence[str] = ()
    kind: str | None = None
    rank: int | None = None
    level: float = 0.9


def foretell(
    table: ScoreTable,
    asked: Question,
    *,
    notes: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Families:
    """Choose a law by folds, fit it, and foretell scores.

    Args:
        table: What was measured, as shares between the worst and the best possible score.
        asked: The question.
        notes: What was noticed so far.
        seed: Of the draws.
        progress: Called with what is being done.

    Raises:
        UsageError: Too few models, families or benchmarks.
    """
    check_enough(table)
    rng = np.random.default_rng(seed)
    kinds = KINDS if asked.kind is None else (asked.kind,)
    tried = forms(table, kinds, asked.rank)
    judged = judge_forms(table, tried, progress=progress)
    form = judged.chosen
    progress("weighing models anew for the intervals")
    fitted = fit_together(table, form)
    logs = np.log(asked.scales)
    scored = drawn(fitted, table, Asked(np.asarray(asked.family, dtype=np.intp), logs), rng)
    low, high = asked.ends
    unit = abs(high - low)
    filled: list[FilledScore] = []
    if len(asked.rows):
        filled = _filled(table, asked, judged.wider[form], drawn(fitted, table, _incomplete(table), rng))
    return Families(
        tuple(_scores(table, asked, judged.wider[form], scored)),
        tuple(filled),
        tuple(_gains(table, asked, scored)) if form.levels else (),
        form.kind,
        form.rank,
        {kind: unit * error for kind, error in judged.best_of().items()},
        judged.n_foretold,
        judged.n_families,
        asked.kind is not None,
        tuple(explained(table.share).tolist()),
        len(table.index),
        len(set(table.index.tolist())),
        "higher" if high > low else "lower",
        asked.level,
        tuple(notes),
    )


def _ends_of(law: Array, run: Array, wider: float, asked: Question) -> tuple[float, float, float, float, float]:
    """Return value, low, high, and the ends of the law, as scores, from draws of shares (n_draws,)."""
    at = [0.5 - asked.level / 2, 0.5, 0.5 + asked.level / 2]
    law_low, value, law_high = np.quantile(np.clip(law, 0, 1), at)
    low, _, high = np.quantile(np.clip(value + wider * (run - value), 0, 1), at)
    # draws of the two differ: rounding must not put the wider interval inside the narrower
    shares = np.array([value, min(low, law_low), max(high, law_high), law_low, law_high])
    worst, best = asked.ends
    v, a, b, c, d = (worst + (best - worst) * shares).tolist()
    return v, min(a, b), max(a, b), min(c, d), max(c, d)


def _scores(table: ScoreTable, asked: Question, wider: float, draws: Drawn) -> list[FamilyScore]:
    found = []
    worst, best = asked.ends
    for i, f in enumerate(asked.family):
        scales = dict(zip(asked.columns, asked.scales[i].tolist(), strict=True))
        own = table.share[table.index == f] if f >= 0 else table.share[:0]
        for j, benchmark in enumerate(table.benchmarks):
            seen = own[np.isfinite(own[:, j]), j]
            top = float(worst + (best - worst) * seen.max()) if len(seen) else None
            ends = _ends_of(draws.law[:, i, j], draws.run[:, i, j], wider, asked)
            name = table.family[f] if f >= 0 else ""
            found.append(FamilyScore(i, name, benchmark, scales, *ends, top))
    return found


def _gains(table: ScoreTable, asked: Question, draws: Drawn) -> list[Gain]:
    at = [0.5 - asked.level / 2, 0.5, 0.5 + asked.level / 2]
    found = []
    for i, f in enumerate(asked.family):
        if f >= 0 and np.any(draws.gain[:, i]):
            low, value, high = np.exp(np.quantile(np.clip(draws.gain[:, i], -50, 50), at)).tolist()
            found.append(Gain(i, table.family[f], value, low, high))
    return found


def _incomplete(table: ScoreTable) -> Asked:
    rows = ~table.known.all(1)
    return Asked(table.index[rows], table.logs[rows], table.share[rows])


def _filled(table: ScoreTable, asked: Question, wider: float, draws: Drawn) -> list[FilledScore]:
    found = []
    for i, row in enumerate(np.flatnonzero(~table.known.all(1))):
        for j in np.flatnonzero(~table.known[row]):
            v, low, high, _, _ = _ends_of(draws.law[:, i, j], draws.run[:, i, j], wider, asked)
            name = table.family[table.index[row]]
            found.append(FilledScore(asked.rows[int(row)], name, table.benchmarks[j], v, low, high))
    return found


__all__ = [
    "BY_FAMILY", "COMPONENTS", "KINDS", "ONE", "SKILLS", "Families", "FamilyScore", "FilledScore", "Gain",
    "JudgedForms", "Question", "foretell",
]  # fmt: skip
