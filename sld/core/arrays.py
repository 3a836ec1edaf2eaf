"""The kinds of numpy arrays that flow through the program, by name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.intp]  # numbers of rows, or one whole number for each row: its group, level, point ...
Mask = NDArray[np.bool_]  # which rows
