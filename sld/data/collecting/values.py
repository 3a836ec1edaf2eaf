"""Numbers of one run: a curve's summary, a counter beside it, a product of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array
from sld.data.collecting.asked import CONFIG, STEP, Scale, Summary
from sld.data.collecting.resolve import Run
from sld.data.importers.attempt import Cell, as_number
from sld.data.numbers import number

_EVEN = 1e-6  # a counter that leaves a line by less than this share grew evenly: event files keep seven digits


@dataclass(frozen=True)
class Taken:
    """A number taken from a curve.

    Attributes:
        value: None where there is none.
        step: Where it was taken; None for a value without a curve.
        not_finite: How many NaN and infinite values of the curve did not count.
        diverged: The curve ends in NaN or infinity.
        between: It lies between two logged points.
    """

    value: float | None
    step: float | None = None
    not_finite: int = 0
    diverged: bool = False
    between: bool = False


def take(run: Run, metric: str | None, asked: Summary, counter: str | None = None) -> Taken:
    """Return the summary of a metric (as the run calls it).

    A curve whose last value is not finite has diverged, and gives no value unless it was asked for at an earlier point.
    Values that are not finite before that do not count: a "best" value is never NaN.
    """
    if metric is None:
        return Taken(None)
    if metric not in run.series or not len(run.series[metric]):
        value = as_number(run.summary.get(metric, run.config.get(metric)))
        if value is None:
            return Taken(None)
        return Taken(value if np.isfinite(value) else None, diverged=not np.isfinite(value))
    steps, values = run.series[metric].pairs()
    finite = np.isfinite(values)
    diverged = not finite[-1]
    bad = int((~finite).sum())
    if asked.way == "at":
        return _at(run, steps, values, asked, counter)
    if diverged:
        return Taken(None, float(steps[-1]), bad, True)
    if asked.window is not None:
        n = int(asked.window) if asked.window >= 1 else max(1, round(asked.window * len(values)))
        steps, values, finite = steps[-n:], values[-n:], finite[-n:]
    steps, values = steps[finite], values[finite]
    if asked.way in ("mean", "median"):
        value = values.mean() if asked.way == "mean" else np.median(values)
        return Taken(float(value), float(steps[-1]), bad)
    k = {"last": -1, "first": 0, "min": int(values.argmin()), "max": int(values.argmax())}[asked.way]
    return Taken(float(values[k]), float(steps[k]), bad)


def _at(run: Run, steps: Array, values: Array, asked: Summary, counter: str | None) -> Taken:
    """Return the value where a counter has the value asked for; none outside what was logged."""
    if counter is None or asked.counter == STEP:
        at: Array | None = steps
    else:
        at = along(run, counter, steps)
    if at is None:
        return Taken(None)
    there = np.isfinite(at)
    steps, values, at = steps[there], values[there], at[there]
    if not len(at) or not at.min() <= asked.value <= at.max() or (np.diff(at) < 0).any():
        return Taken(None)
    k = int(np.searchsorted(at, asked.value))
    if at[k] == asked.value:
        value = float(values[k])
        return Taken(value if np.isfinite(value) else None, float(steps[k]), diverged=not np.isfinite(value))
    value = float(np.interp(asked.value, at[k - 1 : k + 1], values[k - 1 : k + 1]))
    step = float(np.interp(asked.value, at[k - 1 : k + 1], steps[k - 1 : k + 1]))
    return Taken(value if np.isfinite(value) else None, step, diverged=not np.isfinite(value), between=True)


def along(run: Run, counter: str, steps: Array) -> Array | None:
    """Return a counter at steps at which it may not have been logged: exact there, on the line between two neighbours.

    Beyond the first and last logged ones it is known where it grew by the same amount a step all along, and NaN where
    it did not. None for a run without the counter.
    """
    if counter not in run.series or not len(run.series[counter]):
        return None
    x, y = run.series[counter].pairs()
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    if not len(y):
        return None
    found = np.interp(steps, x, y, left=np.nan, right=np.nan)
    if len(y) > 2 and np.isnan(found).any():
        pace = (y[-1] - y[0]) / (x[-1] - x[0])
        if np.allclose(y[0] + pace * (x - x[0]), y, rtol=_EVEN, atol=0):
            found = np.where(np.isnan(found), np.round(y[0] + pace * (steps - x[0]), 6), found)
    return found


def product(run: Run, scale: Scale, step: float | None, names: Mapping[str, str]) -> tuple[float | int | None, bool]:
    """Return a scale of a run, and whether a counter in it had to be read between two logged points.

    Args:
        run: The run.
        scale: The product.
        step: Where the counters in it are read: None for their last value.
        names: What each name in it is called, "config." before a setting.
    """
    total: float | int = 1
    between = False
    for factor in scale.factors:
        value: float | int | None
        if isinstance(factor, float):
            value = int(factor) if factor == int(factor) else factor
        else:
            value, inside = _named(run, names[factor], step)
            between = between or inside
        if value is None:
            return None, False
        total = total * value
    return total, between


def _named(run: Run, name: str, step: float | None) -> tuple[float | int | None, bool]:
    if name == STEP:
        return _whole(step if step is not None else run.last_step), False
    if not name.startswith(CONFIG):
        if name not in run.series or not len(run.series[name]):
            return _whole(as_number(run.summary.get(name))), False
        x, y = run.series[name].pairs()
        if step is None:
            return _whole(float(y[-1])), False
        found = along(run, name, np.array([step]))
        if found is None or not np.isfinite(found[0]):
            # logged before the counter's first or after its last value: the nearest one is not its value there
            return None, False
        return _whole(float(found[0])), step not in x
    return setting(run.config.get(name.removeprefix(CONFIG))), False


def setting(value: Cell) -> float | int | None:
    """Return a setting as a number: as it is, or as people write it (125M)."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        try:
            return _whole(number(value))
        except ValueError:
            return None
    return value


def _whole(value: float | None) -> float | int | None:
    if value is None or not np.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 2**53 else value
