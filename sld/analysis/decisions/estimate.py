"""A number with its interval: what a law says, and between what its draws lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array
from sld.core.numbers import short

LEVEL = 0.9  # of intervals, as those of predictions
_LEAST = 20  # draws with a value, below which quantiles say nothing


@dataclass(frozen=True)
class Estimate:
    """A number, and the ends of its interval; infinite where one is open, None where nothing is known of it.

    >>> Estimate(7.2e10, 6.1e10, 8.5e10).text()
    '7.2e10 (6.1e10 to 8.5e10)'
    """

    value: float
    low: float | None = None
    high: float | None = None

    def text(self, digits: int = 3) -> str:
        """Return the number and its interval for people."""
        if self.low is None or self.high is None or self.high - self.low <= 1e-9 * abs(self.value):
            return short(self.value, digits)
        low = "open" if math.isinf(self.low) else short(self.low, digits)
        high = "open" if math.isinf(self.high) else short(self.high, digits)
        return f"{short(self.value, digits)} ({low} to {high})"

    def factor(self, by: float) -> Estimate:
        """Return the number and its ends times something above 0."""
        ends = (None if e is None else e * by for e in (self.low, self.high))
        return Estimate(self.value * by, *ends)


def estimate(value: float, draws: Array | None, level: float = LEVEL) -> Estimate:
    """Return a number with the central `level` of its draws (n,); the number is always inside.

    Draws without a value do not count; where fewer than half have one, nothing is said.
    """
    if draws is None:
        return Estimate(value)
    known = draws[~np.isnan(draws)]
    if len(known) < max(_LEAST, len(draws) / 2) or math.isnan(value):
        return Estimate(value)
    tail = 0.5 - level / 2
    # between a number and infinity there is nothing to interpolate
    low_by, high_by = ("linear", "linear") if np.isfinite(known).all() else ("lower", "higher")
    low, high = np.quantile(known, tail, method=low_by), np.quantile(known, 1 - tail, method=high_by)  # type: ignore[call-overload]
    return Estimate(value, min(float(low), value), max(float(high), value))
