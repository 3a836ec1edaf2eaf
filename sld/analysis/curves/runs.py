"""Curves as they come out of a table: one for each run, in the order of its steps, thinned where points are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array, Mask
from sld.core.errors import DataError, UsageError, suggest
from sld.data.numbers import label_of
from sld.data.reading import Columns, open_source, read_columns

MOST_POINTS = 40  # a curve is thinned to so many: 40 in even steps of log(x) show every bend that can be extrapolated
_YES, _NO = ("1", "true", "yes", "y", "1.0"), ("", "0", "false", "no", "n", "0.0")
ONE = "the run"  # the name of a run where the table has no column of runs


@dataclass(frozen=True, eq=False)
class Curve:
    """One run: what was measured along it.

    Attributes:
        name: Of the run.
        x: Steps, tokens, samples, rows of data ... (n_points,), rising, above 0.
        y: What was measured there (n_points,).
        rate: Learning rate at each point (n_points,), where the table has it.
    """

    name: str
    x: Array
    y: Array
    rate: Array | None = None

    def until(self, end: float) -> Curve:
        """Return the part up to `end`, included."""
        kept = self.x <= end * (1 + 1e-12)
        return Curve(self.name, self.x[kept], self.y[kept], None if self.rate is None else self.rate[kept])


def read_curves(
    data: object,
    *,
    target: str,
    step: str,
    run: Sequence[str] = (),
    rate: str | None = None,
    only: Mask | None = None,
) -> tuple[list[Curve], list[str]]:
    """Return the curves of a table, in the order in which their runs appear, and what was noticed, in sentences.

    Rows without a value of the target are left out (trackers log steps at which nothing was measured), rows of the same
    run and step are averaged, and so are rows at step 0 left out, since everything goes by the logarithm of the step.

    Args:
        data: What `sld.data.reading.open_source` takes, already melted and filtered.
        target: Column of the values.
        step: Column of the steps, tokens, samples or rows of training data.
        run: Columns that tell the runs apart; none for a single run.
        rate: Column of the learning rate.
        only: Which rows count (n_rows,); all if not given.

    Raises:
        DataError: A column is missing, a cell is no number, or nothing is left.
    """
    numbers = [step, target, *([rate] if rate else [])]
    doubled = [name for name in numbers if numbers.count(name) > 1 or name in run]
    if doubled:
        raise UsageError(f"column {doubled[0]!r} is named twice (target, step, rate and run must differ)")
    read = read_columns(data, numbers, run[0] if run else None)
    names = _names(data, read, run)
    x, y = read.values[step], read.values[target]
    notes = list(read.notes)
    used = np.isfinite(x) & np.isfinite(y) & (x > 0)
    if rate:
        used &= np.isfinite(read.values[rate])
    n_rows = read.n_rows
    if only is not None:
        used &= only
        n_rows = int(only.sum())
    if not used.any():
        raise DataError(f"{read.where}: no row has both {step!r} above 0 and a value of {target!r}")
    if (n := n_rows - int(used.sum())) > 0:
        notes.append(f"{n} of {n_rows} rows have no {target}, or {step} = 0, and were left out")
    labels = list(dict.fromkeys(names))
    pairs = len({pair for pair, kept in zip(zip(names, x.tolist(), strict=True), used.tolist(), strict=True) if kept})
    if (n := int(used.sum()) - pairs) > 0:
        several = "" if run else "; if they are of several runs, name the column that tells these apart (run)"
        notes.append(f"{n} rows have a {step} that another row of their run has too, and were averaged{several}")
    number = {name: k for k, name in enumerate(labels)}
    index = np.array([number[name] for name in names])
    curves = []
    kept = np.flatnonzero(used)
    kept = kept[np.argsort(index[kept], kind="stable")]
    of = index[kept]
    for k, name in enumerate(labels):
        rows = kept[np.searchsorted(of, k) : np.searchsorted(of, k, side="right")]
        if len(rows):
            curves.append(_curve(name, x[rows], y[rows], read.values[rate][rows] if rate else None))
    return curves, notes


def read_marks(data: object, column: str) -> Mask:
    """Return which rows (n_rows,) of a table are marked in a column: 1, true or yes; 0, false, no and nothing are not.

    Raises:
        DataError: The column is missing, or a cell is another word.
    """
    found = [text.casefold() for text in _texts(data, column)]
    if unknown := [text for text in found if text not in (*_YES, *_NO)]:
        raise DataError(f"column {column!r} marks rows with yes or no, got {unknown[0]!r}")
    return np.array([text in _YES for text in found], dtype=np.bool_)


def label_of_runs(data: object, column: str, run: Sequence[str]) -> dict[str, str]:
    """Return run to what stands in a column for it, for those that have something there.

    Raises:
        DataError: The column is missing.
        UsageError: The rows of a run say different things.
    """
    texts = _texts(data, column)
    read = read_columns(data, [], run[0] if run else None)
    found: dict[str, str] = {}
    for name, text in zip(_names(data, read, run) if run else [ONE] * len(texts), texts, strict=True):
        if text and found.setdefault(name, text) != text:
            raise UsageError(f"run {name!r} has more than one {column}: {found[name]} and {text}")
    return found


def _texts(data: object, column: str) -> list[str]:
    """Return the cells of a column as text, empty ones too."""
    source = open_source(data)
    if column not in source.names:
        raise DataError(f"{source.where}: {suggest(column, source.names, kind='column')}")
    found: list[str] = []
    for batch in source.batches([source.names.index(column)]):
        cells = batch.columns[0]
        found += [label_of(cell) for cell in (cells.tolist() if isinstance(cells, np.ndarray) else cells)]
    return found


def _names(data: object, read: Columns, run: Sequence[str]) -> list[str]:
    if not run:
        return [ONE] * read.n_rows
    parts = [[read.labels[i] for i in read.label_index]]
    for column in run[1:]:
        other = read_columns(data, [], column)
        parts.append([other.labels[i] for i in other.label_index])
    if len(run) == 1:
        return parts[0]
    return [", ".join(f"{c}={v}" for c, v in zip(run, values, strict=True)) for values in zip(*parts, strict=True)]


def _curve(name: str, x: Array, y: Array, rate: Array | None) -> Curve:
    steps, where = np.unique(x, return_inverse=True)
    counts = np.bincount(where)
    mean = np.bincount(where, weights=y) / counts
    return Curve(name, steps, mean, None if rate is None else np.bincount(where, weights=rate) / counts)


@dataclass(frozen=True, eq=False)
class Thinned:
    """A curve in at most `MOST_POINTS` points, evenly in log x, and what its noise is like.

    Attributes:
        x: Mean step of each bin (n_bins,), the last point its own bin's mean.
        y: Mean value of each bin (n_bins,).
        precision: How exact the mean of a bin is beside a single point (n_bins,): 1 for a single point.
        noise: Standard deviation of a single point about the curve; NaN where points are too few to say.
        autocorrelation: Of neighbouring points about the curve, between 0 and 0.95.
    """

    x: Array
    y: Array
    precision: Array
    noise: float
    autocorrelation: float


def thinned(x: Array, y: Array, most: int = MOST_POINTS) -> Thinned:
    r"""Return a curve with its points averaged in bins of log x.

    The mean of $m$ neighbouring points with autocorrelation $\rho$ has the variance of
    $m_{\text{eff}} = m (1-\rho)/(1+\rho)$ independent ones: points that follow each other closely do not count as so
    many. $\rho$ and the noise come from what is left of the points when the line through neighbouring bins is taken
    away.
    """
    n = len(x)
    if n <= most:
        noise, rho = _noise(x, y, x, y) if n >= 8 else (np.nan, 0.0)
        return Thinned(x, y, np.ones(n), noise, rho)
    edges = np.geomspace(x[0], x[-1] * (1 + 1e-9), most + 1)
    where = np.unique(np.clip(np.searchsorted(edges, x, side="right") - 1, 0, most - 1), return_inverse=True)[1]
    counts = np.bincount(where)
    X, Y = np.bincount(where, weights=x) / counts, np.bincount(where, weights=y) / counts
    noise, rho = _noise(x, y, X, Y)
    return Thinned(X, Y, np.maximum(counts * (1 - rho) / (1 + rho), 1.0), noise, rho)


def _noise(x: Array, y: Array, X: Array, Y: Array) -> tuple[float, float]:
    """Return standard deviation and first autocorrelation of the second half of a curve about a smooth one."""
    late = x >= np.sqrt(x[0] * x[-1])
    if late.sum() < 8:
        late = np.arange(len(x)) >= len(x) - 8
    if len(X) == len(x):
        # a point beside the line through its neighbours: variance 1.5 times that of a point, if noise is white
        u = np.log(x)
        share = (u[1:-1] - u[:-2]) / (u[2:] - u[:-2])
        left = y[1:-1] - ((1 - share) * y[:-2] + share * y[2:])
        left, factor = left[late[1:-1]], np.sqrt(1 + (1 - share) ** 2 + share**2)[late[1:-1]]
        return float(np.sqrt(np.mean((left / factor) ** 2))), 0.0
    left = (y - np.interp(np.log(x), np.log(X), Y))[late]
    # the bins follow their own points: of n points in b bins, n - b are free
    bins = int((X >= x[late][0]).sum())
    spread = float(np.std(left)) / np.sqrt(max(1 - bins / len(left), 0.25))
    if len(left) < 20 or spread == 0:
        return spread, 0.0
    d = left - left.mean()
    return spread, float(np.clip(np.mean(d[1:] * d[:-1]) / np.mean(d**2), 0.0, 0.95))
