"""Steps of the environment that a run needs to reach a performance, from its curve of returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sld.core.arrays import Array


def rising(values: Array) -> Array:
    """Return the nearest curve (n,) that never falls, by least squares: pools of neighbours that fall are averaged.

    Returns of single evaluations jump, and the first that exceeds a value would do so by luck.

    >>> import numpy as np
    >>> rising(np.array([1.0, 3.0, 2.0, 4.0])).tolist()
    [1.0, 2.5, 2.5, 4.0]
    """
    levels: list[float] = []
    counts: list[int] = []
    for value in values.tolist():
        levels.append(value)
        counts.append(1)
        while len(levels) > 1 and levels[-2] > levels[-1]:
            count = counts[-2] + counts[-1]
            levels[-2:] = [(levels[-2] * counts[-2] + levels[-1] * counts[-1]) / count]
            counts[-2:] = [count]
    return np.repeat(levels, counts)


def steps_to(step: Array, returns: Array, reach: Sequence[float]) -> Array:
    """Return the steps (n_values,) at which a curve made `rising` first has each value; NaN where it never does.

    Between two evaluations the curve is taken to be straight.
    """
    curve = rising(returns)
    found = np.full(len(reach), np.nan)
    for k, value in enumerate(reach):
        above = np.flatnonzero(curve >= value)
        if not len(above):
            continue
        i = int(above[0])
        if i == 0:
            found[k] = step[0]
            continue
        share = (value - curve[i - 1]) / (curve[i] - curve[i - 1])
        found[k] = step[i - 1] + share * (step[i] - step[i - 1])
    return found
