"""A benchmark's score from its items: classes of difficulty, those that can be foretold, and the whole from these.

After Xu et al. (2025, arXiv:2502.17262): items are put into classes by difficulty (`difficulty.py`), and classes whose
rate changes with scale are foretold, each by its own law. They map the score of these to the whole by a smooth curve,
which bends where models solve nearly all of them; here the other classes stay where they are, and the whole is the sum.
Beside it stands the law of the whole score. Smaller models foretell larger ones, and each law counts by what it misses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.curves.difficulty import LEAST_ITEMS, Classes, find_classes
from sld.analysis.curves.downstream import DIRECT, TWO_STAGES, Chain, TaskRows, fit_chain, rises
from sld.analysis.curves.forecast import DRAWS, MISFIT
from sld.analysis.curves.links import Bounds
from sld.core.arrays import Array, Mask, Rows
from sld.core.errors import UsageError
from sld.core.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

LEAST_MODELS = 6  # of different scale: a class needs a place and a steepness, and some models are left out for folds
CLASSES, WHOLE = "classes", "whole score"
TRENDS = {1: "rises", 0: "stays", -1: "falls"}
_CUTS = (0.5, 0.65, 0.8)  # of the models, by compute: what lies below foretells what lies above
_EQUAL = 1e-3  # of a score: laws that miss less than that are equally good
_BEYOND = 4.0  # standard deviations that the largest model leaves the level of the small ones by: no chance
_DOUBT, _MOST_WIDER = 3.0, 4.0  # as for tasks (`downstream.py`)


@dataclass(frozen=True, eq=False)
class ItemRows:
    """Answers of models to items.

    Attributes:
        X: Scales (n_models, n_scales).
        right: Whether an item was solved, or how often (n_models, n_items); NaN where it was not tried.
        loss: Of each model (n_models,), if scores are foretold through it.
        bounds: Floor (chance) and ceiling.
    """

    X: Array
    right: Array
    loss: Array | None = None
    bounds: Bounds = field(default_factory=lambda: Bounds(None, 1.0, 0.0))

    @property
    def compute(self) -> Array:
        """Logarithm of the product of the scales (n_models,)."""
        return np.asarray(np.log(self.X).sum(1))

    @property
    def score(self) -> Array:
        """The score of each model on the items that it tried (n_models,)."""
        return np.asarray(np.nanmean(self.right, axis=1))

    def take(self, rows: Mask) -> ItemRows:
        """Return some of the models."""
        return replace(
            self, X=self.X[rows], right=self.right[rows], loss=None if self.loss is None else self.loss[rows]
        )

    def task(self, name: str, score: Array) -> TaskRows:
        """Return a score of these models as that of a task."""
        return TaskRows(name, self.X, self.loss, score, None, self.bounds)


@dataclass(frozen=True, eq=False)
class Whole:
    """How the whole score follows from classes of items: as their sum.

    Attributes:
        classes: The classes.
        trend: 1 for a class whose rate rises with compute, -1 for one whose rate falls, 0 for others (n_classes,).
        laws: A law of each class that has a trend or may have one; of wrong answers where the rate falls.
        level: Mean rate of the larger models, and its standard error, for classes without a law (n_classes, 2).
        share: Of the items, by class (n_classes,).
    """

    classes: Classes
    trend: Rows
    laws: Mapping[int, Chain]
    level: Array
    share: Array

    def draws(self, X: Array, n: int, rng: np.random.Generator) -> Array:
        """Return rates of each class (n_classes, n, n_points)."""
        found = np.empty((len(self.share), n, len(X)))
        for k, trend in enumerate(self.trend.tolist()):
            if k in self.laws:
                drawn = self.laws[k].draws(X, n, rng)
                found[k] = drawn if trend >= 0 else 1 - drawn
            else:
                mean, error = self.level[k]
                found[k] = np.clip(mean + error * rng.standard_normal((n, 1)), 0, 1)
        return found

    def whole(self, each: Array) -> Array:
        """Return whole scores (n, n_points) from rates of classes."""
        return np.asarray(np.einsum("k,knp->np", self.share, each))

    @property
    def noise(self) -> float:
        """Standard deviation of one more whole score about the law."""
        own = [self.share[k] * law.link.noise for k, law in self.laws.items()]
        still = [self.share[k] * self.level[k, 1] for k in range(len(self.share)) if k not in self.laws]
        return float(np.sqrt(np.sum(np.square([*own, *still]))))


def fit_whole(rows: ItemRows, kind: str) -> Whole:
    """Fit classes of items, a law of each class with a trend, and the whole score that follows.

    Args:
        rows: The answers.
        kind: How each class is foretold: through the loss, or straight from compute.

    Raises:
        UsageError: No class rises with scale.
    """
    classes = find_classes(rows.right)
    late, early = _late(rows), np.argsort(rows.compute)[: max(3, len(rows.X) // 3)]
    laws: dict[int, Chain] = {}
    trend = np.zeros(len(classes.share), dtype=np.intp)
    level = np.zeros((len(classes.share), 2))
    top = 1.0 if rows.bounds.ceiling is None else rows.bounds.ceiling
    wrong = Bounds(None, 1 - max(b for b in (rows.bounds.floor, 0.0) if b is not None), 1 - top)
    for k, rate in enumerate(classes.rate):
        level[k] = rate[late].mean(), rate[late].std(ddof=1) / np.sqrt(len(late))
        up = rows.task("", rate)
        down = replace(rows.task("", 1 - rate), bounds=wrong)
        for sign, task in ((1, up), (-1, down)):
            moves = rises(task) or _lifts(task, classes.error[k])
            # a class that may have begun to rise gets a law as well: it says both, that it stays and that it goes on
            if moves or (sign > 0 and rate[late].mean() > rate[early].mean()):
                try:
                    laws[k] = fit_chain(task, kind)
                except UsageError:
                    continue
                trend[k] = sign if moves else 0
    if not (trend > 0).any():
        raise UsageError("no class of items rises with scale")
    return Whole(classes, trend, laws, level, classes.share)


def _lifts(task: TaskRows, error: Array) -> bool:
    """Whether the last two models leave the level of the smaller half, beyond what answers scatter by.

    Rank correlation needs many models; a class of many items that has just begun to rise has few.
    """
    order = np.argsort(task.compute)
    early = order[: max(3, len(order) // 2)]
    level = task.score[early].mean()
    spread = np.hypot(error[order[-2:]], max(float(task.score[early].std(ddof=1)), float(error[early].mean())))
    gap = (task.score[order[-2:]] - level) / spread
    return bool(gap[0] > 0 and gap[1] > _BEYOND)


def _late(rows: ItemRows) -> Rows:
    """Return the models that stand for what does not move: the third with the most compute, three at least."""
    return np.asarray(np.argsort(rows.compute)[-max(3, len(rows.X) // 3) :])


def _folds(rows: ItemRows) -> Iterator[tuple[ItemRows, ItemRows]]:
    z = np.round(rows.compute, 9)
    rungs = np.unique(z)
    cuts = sorted({float(rungs[int(c * (len(rungs) - 1))]) for c in _CUTS})
    for cut, end in pairwise([*cuts, np.inf]):
        below, above = z <= cut, (z > cut) & (z <= end)
        if len(np.unique(z[below])) >= LEAST_MODELS - 1 and above.any():
            yield rows.take(below), rows.take(above)


@dataclass(frozen=True)
class ItemScore:
    """A score at a point that was asked for.

    Attributes:
        point: Number of the point, from 0.
        scales: Where it is: column to value.
        value: The score: the middle one.
        low: Lower end of the interval of a measured score.
        high: Upper end.
        law_low: Lower end of the interval of the law itself.
        law_high: Upper end.
    """

    point: int
    scales: Mapping[str, float]
    value: float
    low: float
    high: float
    law_low: float
    law_high: float


@dataclass(frozen=True)
class ItemClass:
    """A class of items.

    Attributes:
        number: From 1, the hardest first.
        n_items: Items that it has (a sum of probabilities).
        first: Share that the third of the models with the least compute solves.
        last: Share that the third with the most solves.
        trend: `rises` or `falls` with compute by more than chance, and is foretold; `stays` otherwise.
        foretold: Share that is solved at each point; empty if no class rises.
    """

    number: int
    n_items: float
    first: float
    last: float
    trend: str
    foretold: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class ItemForecast:
    """The score of a benchmark from its items.

    Attributes:
        scores: What was asked for.
        classes: Classes of items.
        item: To which class each item most likely belongs: item to number.
        counts: How much the law of the `classes` counts, and that of the `whole score`; together 1.
        errors: Mean absolute error of both where smaller models foretell larger ones; empty without folds.
        n_foretold: Scores that were foretold for it.
        n_models: Models of different scale.
        level: Level of the intervals.
        notes: What was noticed, in sentences.
        rows: The answers.
    """

    scores: tuple[ItemScore, ...]
    classes: tuple[ItemClass, ...]
    item: Mapping[str, int]
    counts: Mapping[str, float]
    errors: Mapping[str, float]
    n_foretold: int
    n_models: int
    level: float
    notes: tuple[str, ...]
    rows: ItemRows = field(repr=False)

    def __repr__(self) -> str:
        """Return a short form."""
        rising = sum(c.trend == "rises" for c in self.classes)
        return f"ItemForecast({len(self.item)} items in {len(self.classes)} classes, {rising} rise)"

    def to_frame(self) -> DataFrame:
        """Return a row for each point."""
        import pandas as pd

        return pd.DataFrame(
            [{**s.scales, **{k: v for k, v in asdict(s).items() if k != "scales"}} for s in self.scores]
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything but the answers, in JSON's types."""
        return {
            "scores": [asdict(s) for s in self.scores],
            "classes": [asdict(c) for c in self.classes],
            "item": dict(self.item),
            "counts": dict(self.counts),
            "errors": dict(self.errors),
            "n_foretold": self.n_foretold,
            "n_models": self.n_models,
            "level": self.level,
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """Return the scores as lines of text."""
        return "\n".join(
            f"{', '.join(f'{k}={short(v, 4)}' for k, v in s.scales.items())}: {short(s.value, 4)} "
            f"({short(s.low, 4)} to {short(s.high, 4)})"
            for s in self.scores
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the share solved of each class over compute, and the whole score with what is foretold."""
        from matplotlib import colormaps
        from matplotlib.figure import Figure

        ax = Figure(figsize=(6.5, 4.3), layout="constrained").subplots() if ax is None else ax
        order = np.argsort(self.rows.compute)
        x = np.exp(self.rows.compute[order])
        at = [float(np.prod(list(s.scales.values()))) for s in self.scores]
        numbers = np.array(list(self.item.values()))
        ax.plot(x, self.rows.score[order], "o-", color="black", markersize=4, lw=1.5, label="all items")
        for c in self.classes:
            colour = colormaps["viridis"](0.05 + 0.85 * (c.number - 1) / max(len(self.classes) - 1, 1))
            own = self.rows.right[order][:, numbers == c.number]
            if own.shape[1]:
                label = f"class {c.number}, {c.n_items:.0f} items, {c.trend}"
                line = ":" if c.trend == "stays" else "-"
                ax.plot(x, np.nanmean(own, axis=1), line, color=colour, lw=1, label=label)
            if c.foretold:
                ax.plot(at, c.foretold, "s", mfc="white", color=colour, markersize=4)
        value = np.array([s.value for s in self.scores])
        ends = np.array([[s.value - s.low, s.high - s.value] for s in self.scores]).T
        ax.errorbar(at, value, np.maximum(ends, 0), fmt="s", color="black", mfc="white", capsize=3)
        ax.set_xscale("log")
        ax.set_xlabel("product of the scale columns")
        ax.set_ylabel("share solved")
        ax.set_title(f"lines: measured; hollow: foretold, {100 * self.level:g} % interval of the whole", fontsize=10)
        ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return ax


def forecast_items(
    rows: ItemRows,
    names: Sequence[str],
    points: Array,
    columns: Sequence[str],
    *,
    level: float = 0.9,
    seed: int = 0,
    notes: Sequence[str] = (),
) -> ItemForecast:
    """Foretell the score of a benchmark from its items.

    Args:
        rows: The answers of models.
        names: Of the items.
        points: Scales asked for (n_points, n_scales).
        columns: Names of the scales.
        level: Level of the intervals.
        seed: Of the draws.
        notes: What was noticed so far.

    Raises:
        UsageError: Too few models or items, or no score rises with scale.
    """
    n_models, n_items = len(np.unique(np.round(rows.compute, 9))), rows.right.shape[1]
    if n_models < LEAST_MODELS:
        raise UsageError(
            f"{n_models} models of different scale are too few for classes of items; {LEAST_MODELS} at least"
        )
    if n_items < LEAST_ITEMS:
        raise UsageError(f"{n_items} items are too few for classes of difficulty; {LEAST_ITEMS} at least")
    rng = np.random.default_rng(seed)
    kind = DIRECT if rows.loss is None else TWO_STAGES
    missed, unit = _judged(rows, kind, rng)
    told = list(notes)
    chain = fit_chain(rows.task("all items", rows.score), kind)
    laws: dict[str, tuple[Array, float]] = {WHOLE: (chain.draws(points, DRAWS, rng), chain.link.noise)}
    whole: Whole | None = None
    each = np.zeros((0, DRAWS, len(points)))
    try:
        whole = fit_whole(rows, kind)
        each = whole.draws(points, DRAWS, rng)
        laws[CLASSES] = whole.whole(each), whole.noise
    except UsageError as error:
        told.append(f"{error}: only the law of the whole score is used")
    errors = {name: float(np.mean(v)) for name, v in missed.items() if v}
    counts = _counts(laws, errors)
    scores = _scores(rows, laws, counts, unit, level, rng)
    classes = find_classes(rows.right) if whole is None else whole.classes
    return ItemForecast(
        tuple(
            replace(s, scales=dict(zip(columns, x.tolist(), strict=True))) for s, x in zip(scores, points, strict=True)
        ),
        tuple(_classes(rows, classes, whole, each)),
        dict(zip(names, (classes.belongs.argmax(1) + 1).tolist(), strict=True)),
        counts,
        errors,
        len(missed[WHOLE]),
        n_models,
        level,
        tuple(told),
        rows,
    )


def _judged(
    rows: ItemRows, kind: str, rng: np.random.Generator
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return by how much larger models are missed, in scores and in standard deviations, by classes and whole."""
    missed: dict[str, list[float]] = {CLASSES: [], WHOLE: []}
    unit: dict[str, list[float]] = {CLASSES: [], WHOLE: []}
    for some, rest in _folds(rows):
        try:
            whole, chain = fit_whole(some, kind), fit_chain(some.task("all", some.score), kind)
        except UsageError:
            continue
        found = {
            CLASSES: (whole.whole(whole.draws(rest.X, 300, rng)), whole.noise),
            WHOLE: (chain.draws(rest.X, 300, rng), chain.link.noise),
        }
        for name, (draws, noise) in found.items():
            gap = np.abs(rest.score - np.median(draws, axis=0))
            missed[name] += gap.tolist()
            unit[name] += (gap / np.maximum(np.sqrt(draws.var(0) + noise**2), 1e-12)).tolist()
    return missed, unit


def _counts(laws: Mapping[str, object], errors: Mapping[str, float]) -> dict[str, float]:
    """Return what each law counts: by the square of what it misses; alike where nothing was foretold."""
    raw = {name: 1 / max(errors[name], _EQUAL) ** 2 if errors else 1.0 for name in laws}
    return {name: value / sum(raw.values()) for name, value in raw.items()}


def _scores(
    rows: ItemRows,
    laws: Mapping[str, tuple[Array, float]],
    counts: Mapping[str, float],
    unit: Mapping[str, Sequence[float]],
    level: float,
    rng: np.random.Generator,
) -> list[ItemScore]:
    """Return scores from draws of both laws, each as often as it counts."""
    ends = [0.5 - level / 2, 0.5 + level / 2]
    least = max(b for b in (rows.bounds.floor, rows.bounds.lowest, -np.inf) if b is not None)
    most = np.inf if rows.bounds.ceiling is None else rows.bounds.ceiling
    last = rows.score[_late(rows)].mean()
    law_parts, run_parts = [], []
    for name, (draws, noise) in laws.items():
        kept = rng.choice(len(draws), max(1, round(counts[name] * DRAWS)), replace=False)
        law = draws[kept]
        middle = np.median(law, axis=0)
        # shapes are not the truth: what is foretold to change is off by a share of the change, as curves are
        law = law + MISFIT * np.abs(middle - last) * rng.standard_normal(law.shape)
        wider = np.sqrt((_DOUBT + np.sum(np.minimum(unit[name], _MOST_WIDER) ** 2)) / (_DOUBT + len(unit[name])))
        law_parts.append(law)
        run_parts.append(middle + max(1.0, wider) * (law + noise * rng.standard_normal(law.shape) - middle))
    law, run = (np.clip(np.concatenate(parts), least, most) for parts in (law_parts, run_parts))
    found = []
    for j in range(law.shape[1]):
        (law_low, law_high), (low, high) = (np.quantile(part[:, j], ends).tolist() for part in (law, run))
        value = min(max(float(law[:, j].mean()), law_low), law_high)
        found.append(ItemScore(j, {}, value, min(low, law_low), max(high, law_high), law_low, law_high))
    return found


def _classes(rows: ItemRows, classes: Classes, whole: Whole | None, each: Array) -> list[ItemClass]:
    order = np.argsort(rows.compute)
    third = max(1, len(order) // 3)
    found = []
    for k, rate in enumerate(classes.rate):
        trend = TRENDS[int(whole.trend[k])] if whole is not None else TRENDS[0]
        foretold = tuple(np.median(each[k], axis=0).tolist()) if whole is not None else ()
        n_items = float(classes.share[k] * rows.right.shape[1])
        ends = float(rate[order[:third]].mean()), float(rate[order[-third:]].mean())
        found.append(ItemClass(k + 1, n_items, *ends, trend, foretold))
    return found
