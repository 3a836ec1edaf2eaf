"""From loss to score: what larger models will score on benchmarks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from sld.core.arguments import checked
from sld.core.errors import DataError, UsageError
from sld.core.numbers import exact, short

if TYPE_CHECKING:
    from sld.analysis.curves.downstream import TaskRows
    from sld.analysis.curves.forecast import Downstream
    from sld.core.arrays import Array, Mask
    from sld.data.reading import Columns


class ScoreOptions(TypedDict, total=False):
    """What is known of the scores, and what the rows of the table are.

    Attributes:
        task: Column of the task, where a row is one model on one task; every column of `metric` is a task otherwise.
        trials: Column of the number of trials; `metric` is then the number of right answers, and 0 of n counts.
        chain: Columns from log-likelihood to accuracy: how well each follows compute is said.
        better: "higher" (the default) or "lower".
        floor: Score of a model that knows nothing (chance).
        ceiling: Best score that is possible; 1 where all scores lie between 0 and 1, or 0 if lower is better.
        level: Level of the intervals, 0.9 if not given.
        drop: Rows to leave out.
    """

    task: str | None
    trials: str | None
    chain: str | Sequence[str]
    better: Literal["higher", "lower"]
    floor: float | None
    ceiling: float | None
    level: float
    drop: str | Sequence[str]


@checked()
def downstream(
    data: object,
    *,
    scale: str | Sequence[str],
    metric: str | Sequence[str],
    at: Mapping[str, float] | Sequence[Mapping[str, float]],
    through: str | None = None,
    seed: int = 0,
    **options: Unpack[ScoreOptions],
) -> Downstream:
    r"""Foretell benchmark scores of larger models, through the loss or straight from compute.

    In two stages the loss follows scale and the score follows the loss,

    $$ L = E + A N^{-a} + B D^{-b}, \qquad m = f + (c - f)\,\sigma\bigl(k (L_0 - L)\bigr) \ \text{ or } \
       m = a + h\,e^{-\gamma L} , $$

    and draws of the first go through draws of the second. The direct law takes the score from $\log \prod$ scale. Laws
    of the smaller models foretell the larger ones, and the kind that misses less is used. A task whose score does not
    rise with compute by more than chance is said not to scale. The metric may be
    another loss (`better="lower"`): it follows the first as a shifted power, $L' = E' + \kappa (L - E)^\gamma$. Models
    without a metric still tell of the loss.

    Args:
        data: A table with a row for each model, or each model and task.
        scale: One or two columns, e.g. "C", or ["N", "D"].
        metric: Column or columns of scores.
        at: Where scores are asked for: scale to value, or several of these.
        through: Column of the loss; without it only the direct law is used.
        seed: Of the draws.
        **options: `task`, `trials`, `chain`, `better`, `floor`, `ceiling`, `level`, `drop`: see
            `sld.api.downstream.ScoreOptions`.

    Returns:
        The scores of all tasks with their intervals, and what was decided for each task.

    Raises:
        UsageError: Too few rows, no such option, or a point lacks a scale.
        DataError: A column is missing or a cell is no number.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> C = np.geomspace(1e18, 1e21, 12)
        >>> loss = 1.8 + 60 * C**-0.1
        >>> models = {"C": C, "loss": loss, "acc": 0.25 + 0.75 / (1 + np.exp(5 * (loss - 2.4)))}
        >>> found = sld.downstream(models, scale="C", metric="acc", through="loss", at={"C": 1e23}, floor=0.25)
        >>> score, true = found["acc"].scores[0], 0.25 + 0.75 / (1 + np.exp(5 * (1.8 + 60 * 1e23**-0.1 - 2.4)))
        >>> bool(score.low < true < score.high), bool(abs(score.value - true) < 0.02)
        (True, True)
    """
    from sld.analysis.curves.downstream import follows
    from sld.analysis.curves.forecast import Downstream, forecast
    from sld.data.roles import listed

    better, level = options.get("better", "higher"), options.get("level", 0.9)
    if better not in ("higher", "lower"):
        raise UsageError(f"better must be higher or lower, got {better!r}")
    if not 0 < level < 1:
        raise UsageError(f"level must lie between 0 and 1, got {level:g}")
    scales = listed(scale)
    if len(scales) not in (1, 2):
        raise UsageError(f"scale wants one or two columns, e.g. C or N,D; got {len(scales)}")
    points = asked_points(at, scales)
    rows, notes, chains = _rows(data, scales, listed(metric), through, options)
    sign = 1.0 if better == "higher" or options.get("trials") is not None else -1.0
    tasks = []
    for r in rows:
        steps = chains[r.name]
        found = dict(zip(steps, follows(list(steps.values()), r.compute), strict=True)) if steps else {}
        tasks.append(forecast(r, points, scales, sign=sign, chain=found, level=level, seed=seed))
    return Downstream(tuple(tasks), better, through, level, tuple(notes), {r.name: r for r in rows}, sign)


def asked_points(at: Mapping[str, float] | Sequence[Mapping[str, float]], scales: Sequence[str]) -> Array:
    """Return the scales of the points asked for (n_points, n_scales); raises UsageError."""
    import numpy as np

    given = [at] if isinstance(at, Mapping) else list(at)
    if not given:
        raise UsageError(f"say where scores are asked for: at, e.g. {scales[0]}=1e24")
    for point in given:
        lacking = [s for s in scales if s not in point]
        if lacking:
            raise UsageError(f"--at: a value of {lacking[0]!r} is missing; every scale needs one")
        more = [s for s in point if s not in scales]
        if more:
            raise UsageError(f"at: {more[0]!r} is no scale; there are {', '.join(scales)}")
    found = np.array([[float(point[s]) for s in scales] for point in given])
    if not (np.isfinite(found) & (found > 0)).all():
        raise UsageError("at: scales must be above 0")
    return found


def _rows(
    data: object, scales: Sequence[str], metrics: Sequence[str], through: str | None, options: ScoreOptions
) -> tuple[list[TaskRows], list[str], dict[str, dict[str, Array]]]:
    """Return the rows of each task, what was noticed, and the chains by task."""
    import numpy as np

    from sld.analysis.curves.links import LEAST_ROWS
    from sld.data.reading import prepared, read_columns
    from sld.data.roles import listed

    task, trials, chain = options.get("task"), options.get("trials"), listed(options.get("chain", ()))
    if (task is not None or trials is not None) and len(metrics) > 1:
        raise UsageError("with a column of tasks or of trials there is one metric")
    # a step of the chain may be the loss or the metric itself
    numbers = list(dict.fromkeys([*scales, *metrics, *(c for c in (through, trials) if c is not None), *chain]))
    doubled = [c for c in scales if c in metrics or c in (through, trials)] + [c for c in metrics if c == through]
    if doubled:
        raise UsageError(f"column {doubled[0]!r} is named twice (scale, metric, through and trials must differ)")
    read = read_columns(prepared(data, drop=listed(options.get("drop", ()))), numbers, task)
    X = np.stack([read.values[s] for s in scales], axis=1)
    if not (X[np.isfinite(X)] > 0).all():
        raise DataError(f"{read.where}: scales must be above 0")
    found, notes, chains = [], list(read.notes), {}
    names = read.labels if task is not None else tuple(metrics)
    for k, name in enumerate(names):
        m = read.values[metrics[0] if task is not None else name]
        own = read.label_index == k if task is not None else np.ones(read.n_rows, dtype=bool)
        known = own & np.isfinite(m) & np.isfinite(X).all(1)
        for c in (through, trials):
            known &= np.isfinite(read.values[c]) if c is not None else True
        if known.sum() < LEAST_ROWS:
            notes.append(f"{name} has {int(known.sum())} rows, fewer than {LEAST_ROWS}, and is left out")
            continue
        row = _task(name, read, X, m, known, (through, trials), options)
        if through is not None:
            loss = read.values[through]
            others = own & ~known & np.isfinite(loss) & (loss > 0) & np.isfinite(X).all(1)
            row = replace(row, others=(X[others], loss[others])) if others.any() else row
        found.append(row)
        chains[name] = {c: read.values[c][known] for c in chain}
    if not found:
        raise UsageError(f"{read.where}: no task has {LEAST_ROWS} rows; {'; '.join(notes[-2:])}")
    return found, notes, chains


def _task(
    name: str,
    read: Columns,
    X: Array,
    m: Array,
    known: Mask,
    columns: tuple[str | None, str | None],
    options: ScoreOptions,
) -> TaskRows:
    import numpy as np

    from sld.analysis.curves.counts import check_counts
    from sld.analysis.curves.downstream import TaskRows
    from sld.analysis.curves.links import Bounds

    through, trials = columns
    lower = options.get("better") == "lower"
    floor, ceiling = options.get("floor"), options.get("ceiling")
    loss = None if through is None else read.values[through][known]
    if loss is not None and (loss <= 0).any():
        raise DataError(f"{read.where}: column {through!r} must be above 0 to be a loss that falls with scale")
    score = m[known]
    sign = -1.0 if lower else 1.0
    if any(x is not None and not math.isfinite(x) for x in (floor, ceiling)) or (
        floor is not None and ceiling is not None and sign * floor >= sign * ceiling
    ):
        raise UsageError(
            f"floor is chance and ceiling the best score, two numbers with room between, got {floor} and {ceiling}"
        )
    tried = None if trials is None else read.values[trials][known]
    if tried is not None:
        check_counts(score, tried)
    shares = sign * (score if tried is None else score / np.maximum(tried, 1.0))
    if ceiling is not None and (shares > sign * ceiling).any():
        raise DataError(
            f"{read.where}: {name} has {short(sign * shares.max(), 4)}, and the best possible is said "
            f"to be {exact(ceiling)}"
        )
    if tried is not None:
        right = tried - score if lower else score
        known_floor = None if floor is None else (1 - floor if lower else floor)
        return TaskRows(
            name, X[known], loss, right, tried, Bounds(known_floor, 1.0 if ceiling is None else ceiling, 0.0)
        )
    share = bool((score >= 0).all() and (score <= 1).all())
    # a loss below 1 may well have a floor above it; a share of right answers cannot
    if share and not lower and floor is not None and not 0 <= floor < 1:
        raise UsageError(f"floor is chance, and {name} lies between 0 and 1 as shares do, got {exact(floor)}")
    top = ceiling if ceiling is not None else ((0.0 if lower else 1.0) if share else None)
    bounds = Bounds(
        None if floor is None else sign * floor,
        None if top is None else sign * top,
        (-1.0 if lower else 0.0) if share else None,
    )
    return TaskRows(name, X[known], loss, sign * score, None, bounds)
