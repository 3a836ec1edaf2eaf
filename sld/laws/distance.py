r"""How far points lie beyond the rows that a law was fitted to.

With $z$ the position of a point along a variable (its logarithm where it grows by factors) and $[l, h]$ what the rows
of its group span, the distance along that variable is $\max(0, z - h, l - z) / (h - l)$, in ranges of the data; the
distance of a point is the root of the sum of squares over the variables. Inside the rows it is 0. Held-out sets that
people publish lie at 0.1 to 0.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sld.core.arrays import Array
from sld.data.card import Variable

FARTHEST = 30.0  # ranges beyond the data; farther out nothing changes but the number


def distance(
    variables: Sequence[Variable], spans: Mapping[str, Sequence[float]], columns: Mapping[str, Array]
) -> Array:
    """Return how far points lie beyond the rows of their group, in ranges of these.

    >>> from sld.data.card import Variable
    >>> import numpy as np
    >>> distance((Variable("N"),), {"N": (1e6, 1e9)}, {"N": np.array([1e7, 1e9, 1e12])})
    array([0., 0., 1.])

    Args:
        variables: Those of the law.
        spans: Symbol to least and largest value in the rows; a variable that is absent counts for nothing.
        columns: Symbol to values (n_points,).

    Returns:
        (n_points,) from 0 to `FARTHEST`.
    """
    found = np.zeros(len(next(iter(columns.values()))) if columns else 0)
    for variable in variables:
        if variable.symbol not in spans:
            continue
        low, high = spans[variable.symbol]
        x = columns[variable.symbol]
        by_factors = variable.log is None and variable.role in ("scale", "hyperparameter") and low > 0
        with np.errstate(all="ignore"):
            if by_factors:
                z, low, high = np.log(x), float(np.log(low)), float(np.log(high))
            else:
                z = x
            beyond = np.maximum(np.maximum(z - high, low - z), 0.0)
            # a variable that never varied: any other value of it is as far as can be
            along = beyond / (high - low) if high > low else np.where(beyond > 0, FARTHEST, 0.0)
        found += np.square(np.minimum(np.nan_to_num(along, nan=FARTHEST), FARTHEST))
    return np.asarray(np.minimum(np.sqrt(found), FARTHEST))
