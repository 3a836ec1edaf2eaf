"""How finely the target of a table is written: what a law misses by less than the last digit, it does not miss.

A published learning rate of 0.000122 has three digits. Among forms that meet such rows to their last digit the one that
meets the rounding errors too is not better, and a hinge may reproduce them exactly.
"""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np

from sld.core.arrays import Array
from sld.data.table import Table

_MOST_DIGITS = 8  # more digits than that were not rounded for print


def rounding_nmse(table: Table, target: int) -> float:
    """Return the mean squared error of a step in the last digit, over the variance of the target; 0 if not rounded.

    The last digit of a row follows from the most significant digits and the most decimals that any row has, since
    zeros at the end are not written. Whole numbers are taken as exact.
    """
    y = table.Y[:, target]
    variance = float(np.var(y))
    if not variance > 0.0 or (y == np.round(y)).all():
        return 0.0
    written = [_written(value) for value in y]
    digits = max(d for d, _ in written)
    decimals = max(d for _, d in written)
    if digits > _MOST_DIGITS:
        return 0.0
    size = np.where(y == 0.0, 1.0, np.abs(y))
    steps: Array = np.maximum(10.0**-decimals, 10.0 ** (np.floor(np.log10(size)) + 1 - digits))
    return float(np.mean(steps**2)) / variance


def _written(value: float) -> tuple[int, int]:
    """Return the significant digits and the decimals of the shortest text that reads back as a value."""
    if not math.isfinite(value) or value == 0.0:
        return 0, 0
    _, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    return len(digits), max(-int(exponent), 0)
