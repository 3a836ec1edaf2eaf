"""The scale on which the errors of a law are counted, and what spread means there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array
from sld.laws.interval_record import LEAST_REFITS


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

    def difference(self, values: Array, others: Array) -> Array:
        """Return by how much `values` (n,) are above `others` (n,) on this scale; 0 where that is no number."""
        with np.errstate(all="ignore"):
            found = self.to(values) - self.to(others)
        return np.where(np.isfinite(found), found, 0.0)

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

    def apart(self, middle: Array, choices: Array) -> Array:
        """Return how far `choices` (n_choices, n) lie from `middle` (n,), NaN where one has no value."""
        with np.errstate(all="ignore"):
            found = self.to(choices) - self.to(middle)
        return np.asarray(np.where(np.isfinite(found), found, math.nan)).reshape(-1, len(middle))

    def ends(self, middle: Array, centre: Array, half: Array) -> tuple[Array, Array]:
        """Return the ends of intervals, in the units of the target: `half` (n,) on either side of `centre` (n,).

        Args:
            middle: The prediction, in the units of the target; the interval holds it.
            centre: On this scale, as `half` is.
            half: Half of the width.

        Returns:
            Lower and upper ends; infinite where nothing is known, NaN where there is no prediction.
        """
        with np.errstate(all="ignore"):
            lower, upper = centre - half, centre + half
            if self.log:
                lower, upper = np.exp(lower), np.exp(upper)
            lost = np.isnan(lower) | np.isnan(upper)
            lower, upper = np.where(lost, -math.inf, lower), np.where(lost, math.inf, upper)
            # NaN passes through
            return np.minimum(lower, middle), np.maximum(upper, middle)
