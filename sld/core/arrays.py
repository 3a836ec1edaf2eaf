"""The kinds of numpy arrays that flow through the program, by name; and a choice of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.intp]  # numbers of rows, or one whole number for each row: its group, level, point ...
Mask = NDArray[np.bool_]  # which rows


def spread_out(rows: Rows, most: int) -> Rows:
    """Return at most so many of some rows, evenly spread over their order."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(np.intp)]
