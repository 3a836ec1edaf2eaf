"""The scale on which the errors of a law are counted, and what spread means there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array
from sld.laws.interval_record import LEAST_REFITS

LEAST_SPREAD = 0.25  # of the noise: a law of few constants on many rows hardly moves, yet misfits


@dataclass(frozen=True)
class Scale:
    """Where errors are counted: as they are, or as logarithms."""

    log: bool

    @staticmethod
    def of(y: Array, fitted: Array, changes: bool = False) -> Scale:
        """Return the scale on which a normal distribution gives the residuals the higher likelihood.

        Noise that changes is known on either; then positive values have logarithms, so that their ends are positive.
        """
        if not ((y > 0).all() and (fitted > 0).all()):
            return Scale(False)
        if changes:
            return Scale(True)
        n = len(y)
        absolute, relative = float(np.std(y - fitted)), float(np.std(np.log(y / fitted)))
        if absolute == 0 or relative == 0:
            return Scale(True)
        return Scale(-n * math.log(relative) - float(np.log(y).sum()) > -n * math.log(absolute))

    def to(self, values: Array) -> Array:
        """Return values on this scale; NaN where they have no logarithm."""
        with np.errstate(all="ignore"):
            return np.log(values) if self.log else values

    def spread(self, middle: Array, others: Array) -> Array:
        """Return how far `others` (n_replicates, n) lie from `middle` (n,): one standard deviation if normal."""
        with np.errstate(all="ignore"):
            distance = np.abs(self.to(others) - self.to(middle))
        # refits that leave the domain of the formula count as infinitely far; failed refits do not count
        failed = np.isnan(others).all(axis=1) if len(others) else np.zeros(0, dtype=np.bool_)
        distance = np.where(np.isnan(distance), math.inf, distance)[~failed]
        if len(distance) < LEAST_REFITS:
            return np.full(middle.shape, math.inf)
        k = min(math.ceil(0.6827 * len(distance)), len(distance)) - 1
        return np.asarray(np.partition(distance, k, axis=0)[k])

    def together(self, middle: Array, spread: Array, choices: Sequence[Array] | Array, noise: Array) -> Array:
        """Return the spread of refits with the distance to the runners-up; at least a share of the noise."""
        # far out the squares of what formulas say may be too large for a number
        with np.errstate(all="ignore"):
            squares = spread**2 + (LEAST_SPREAD * noise) ** 2
            if len(choices):
                distance = self.to(np.array(choices)) - self.to(middle)
                # where a rival has no value it says nothing
                known = np.isfinite(distance)
                total = np.square(np.where(known, distance, 0.0)).sum(axis=0)
                squares = squares + total / np.maximum(known.sum(axis=0), 1)
            return np.asarray(np.sqrt(squares))

    def ends(self, middle: Array, half: Array) -> tuple[Array, Array]:
        """Return the ends of intervals, in the units of the target, `half` (n,) on either side of `middle` (n,)."""
        with np.errstate(all="ignore"):
            if not self.log:
                lower, upper = middle - half, middle + half
            else:
                lower, upper = middle * np.exp(-half), middle * np.exp(half)
                # a law for positive values that turns negative says nothing there
                lost = ~(middle > 0)
                lower, upper = np.where(lost, -math.inf, lower), np.where(lost, math.inf, upper)
        # an infinite prediction, or nothing known of refits: no ends
        lost = np.isinf(middle) | np.isnan(lower) | np.isnan(upper)
        lower, upper = np.where(lost, -math.inf, lower), np.where(lost, math.inf, upper)
        unknown = np.isnan(middle)
        return np.where(unknown, math.nan, lower), np.where(unknown, math.nan, upper)
