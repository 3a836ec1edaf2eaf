"""Intervals from draws that may be infinite, and how an estimate with an open end is written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sld.analysis.decisions.estimate import Estimate
from sld.core.arrays import Array
from sld.core.numbers import short

UNKNOWN = Estimate(math.nan)


def from_draws(value: float, draws: Array, level: float) -> Estimate:
    """Return a value with the quantiles of its draws (n,); draws may be infinite, and NaN counts for nothing.

    The value is never outside its own interval. With fewer than half of the draws known there is none.

    >>> from_draws(50.0, np.arange(101.0), 0.9)
    Estimate(value=50.0, low=5.0, high=95.0)
    >>> from_draws(0.5, np.array([0.1, 0.4, 0.6, np.inf]), 0.9)
    Estimate(value=0.5, low=0.1, high=inf)
    """
    known = np.sort(draws[~np.isnan(draws)])
    if len(known) < max(2, len(draws) / 2) or math.isnan(value):
        return Estimate(value)
    tail = (1.0 - level) / 2
    # an order statistic, not a mean of two: a mean with an infinite neighbour would be infinite
    low = known[round(tail * (len(known) - 1))]
    high = known[round((1.0 - tail) * (len(known) - 1))]
    return Estimate(value, min(float(low), value), max(float(high), value))


def closed(estimate: Estimate) -> bool:
    """Tell whether an interval has two finite ends."""
    return all(e is not None and math.isfinite(e) for e in (estimate.low, estimate.high))


def spoken(estimate: Estimate, digits: int = 3) -> str:
    """Return an estimate for people, with words for what is open.

    >>> spoken(Estimate(0.46, 0.44, 0.5)), spoken(Estimate(2e20, 1e20, math.inf)), spoken(Estimate(3e9))
    ('0.46 (0.44 to 0.5)', '2e20 (above 1e20)', '3e9')
    """
    return " ".join(filter(None, [short(estimate.value, digits), span(estimate, digits)]))


def span(estimate: Estimate, digits: int = 3) -> str:
    """Return the interval for people, or nothing where nothing is known."""
    if estimate.low is None or estimate.high is None:
        return ""
    # a size of nothing is no better known than one below all bounds
    open_low = math.isinf(estimate.low) or estimate.low == 0 < estimate.value
    if open_low and math.isinf(estimate.high):
        return "(unknown)"
    if open_low:
        return f"(below {short(estimate.high, digits)})"
    if math.isinf(estimate.high):
        return f"(above {short(estimate.low, digits)})"
    return f"({short(estimate.low, digits)} to {short(estimate.high, digits)})"


def as_json(estimate: Estimate) -> dict[str, Any]:
    """Return what JSON holds of an estimate; an open end is infinite, which the writer makes null."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
