"""From answers to single items: what larger models will score on a benchmark, by classes of difficulty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack

from sld.api.downstream import asked_points
from sld.core.arguments import checked
from sld.core.errors import DataError, UsageError
from sld.core.numbers import exact

if TYPE_CHECKING:
    from sld.analysis.curves.items import ItemForecast, ItemRows
    from sld.data.reading import Columns


class ItemOptions(TypedDict, total=False):
    """What is known of the answers, and what the rows of the table are.

    Attributes:
        through: Column of the loss of each model: classes are then foretold through it, in two stages.
        floor: Share that a model solves by guessing (chance).
        level: Level of the intervals, 0.9 if not given.
        drop: Rows to leave out.
    """

    through: str | None
    floor: float | None
    level: float
    drop: str | Sequence[str]


@checked()
def downstream_items(
    data: object,
    *,
    scale: str | Sequence[str],
    metric: str,
    items: str,
    at: Mapping[str, float] | Sequence[Mapping[str, float]],
    seed: int = 0,
    **options: Unpack[ItemOptions],
) -> ItemForecast:
    r"""Foretell the score of larger models on a benchmark from their answers to its items.

    Items are put into classes by how hard they are for models of each size (arXiv:2502.17262). Classes whose rate
    $p_k$ rises or falls with compute are foretold, each by its own law. The other classes stay as they are, unless
    their larger models say that they may rise. The score is the sum

    $$ s = \sum_k \pi_k \, p_k(C) . $$

    Beside it stands one law of the whole score. Both laws of the smaller models foretell the larger ones, and each
    counts by the square of what it misses; the interval holds both.

    Args:
        data: A table with a row for each model and item.
        scale: One or two columns, e.g. "C", or ["N", "D"]; rows of the same scale are one model.
        metric: Column that says whether the item was solved, 0 or 1 (or false and true), or how often, a share between
            them.
        items: Column with the name of the item.
        at: Where scores are asked for: scale to value, or several of these.
        seed: Of the draws.
        **options: `through`, `floor`, `level`, `drop`: see `sld.api.items.ItemOptions`.

    Returns:
        Scores with intervals, the classes with what is foretold of each, and what each law missed.

    Raises:
        UsageError: Fewer than six models or twenty items, a score that does not rise, a point without a scale.
        DataError: A column is missing, a cell is no number, or an answer is not between 0 and 1.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> C, place = np.repeat(np.geomspace(1e18, 1e21, 8), 40), np.tile(np.repeat([18.5, 20.5], 20), 8)
        >>> rate = lambda C, place: 1 / (1 + np.exp(3 * (place - np.log10(C))))
        >>> rows = {"C": C, "item": np.tile(np.arange(40), 8).astype(str), "solved": rate(C, place)}
        >>> found = sld.downstream_items(rows, scale="C", metric="solved", items="item", at={"C": 1e22}, floor=0.0)
        >>> true = float(np.mean([rate(1e22, 18.5), rate(1e22, 20.5)]))
        >>> len(found.classes) > 1, bool(abs(found.scores[0].value - true) < 0.02)
        (True, True)
    """
    from sld.analysis.curves.items import forecast_items
    from sld.data.reading import prepared, read_columns
    from sld.data.roles import listed

    level, through = options.get("level", 0.9), options.get("through")
    scales = listed(scale)
    if not 0 < level < 1:
        raise UsageError(f"level must lie between 0 and 1, got {level:g}")
    if len(scales) not in (1, 2):
        raise UsageError(f"scale wants one or two columns, e.g. C or N,D; got {len(scales)}")
    named = [*scales, metric, items, *([through] if through is not None else [])]
    doubled = [c for k, c in enumerate(named) if c in named[:k]]
    if doubled:
        raise UsageError(f"column {doubled[0]!r} is named twice (scale, metric, items and through must differ)")
    points = asked_points(at, scales)
    numbers = [name for name in named if name != items]
    read = read_columns(prepared(data, drop=listed(options.get("drop", ()))), numbers, items, answers=metric)
    rows, notes = _rows(read, scales, metric, through, options)
    return forecast_items(rows, read.labels, points, scales, level=level, seed=seed, notes=notes)


def _rows(
    read: Columns, scales: Sequence[str], metric: str, through: str | None, options: ItemOptions
) -> tuple[ItemRows, list[str]]:
    """Return the answers of each model to each item, and what was noticed."""
    import numpy as np

    from sld.analysis.curves.items import ItemRows
    from sld.analysis.curves.links import Bounds

    notes = list(read.notes)
    X = np.stack([read.values[s] for s in scales], axis=1)
    y = read.values[metric]
    loss = None if through is None else read.values[through]
    used = np.isfinite(X).all(1) & np.isfinite(y) & (True if loss is None else np.isfinite(loss))
    if (~used).any():
        notes.append(f"{int((~used).sum())} rows with an empty cell are left out")
    if not used.any():
        raise DataError(f"{read.where}: no row has a scale and an answer")
    if not (X[used] > 0).all():
        raise DataError(f"{read.where}: scales must be above 0")
    wrong = used & ((y < 0) | (y > 1))
    if wrong.any():
        k = int(np.argmax(wrong))
        raise DataError(f"{read.where} {read.row_name(k)}: {metric!r} must lie between 0 and 1, got {exact(y[k])}")
    if loss is not None and (loss[used] <= 0).any():
        raise DataError(f"{read.where}: column {through!r} must be above 0 to be a loss that falls with scale")
    floor = options.get("floor")
    if floor is not None and not 0 <= floor < 1:
        raise UsageError(f"floor is the share solved by guessing, from 0 to below 1, got {exact(floor)}")
    models, model = np.unique(X[used], axis=0, return_inverse=True)
    model = model.ravel()
    shape = len(models), len(read.labels)
    at = model * shape[1] + read.label_index[used]
    count = np.bincount(at, minlength=shape[0] * shape[1]).reshape(shape)
    total = np.bincount(at, weights=y[used], minlength=shape[0] * shape[1]).reshape(shape)
    right = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
    losses = None
    if loss is not None:
        losses = np.bincount(model, weights=loss[used], minlength=shape[0]) / np.bincount(model, minlength=shape[0])
    return ItemRows(models, right, losses, Bounds(floor, 1.0, 0.0)), notes
