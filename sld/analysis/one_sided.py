"""Residuals on one side: runs that were tuned badly, or stopped early, lie above the law of those that were not.

A loss can be too high for many reasons and too low for none. Where that shows, least squares goes through the middle of
the bad runs, and the law of what can be reached is the lower edge (`--loss envelope`). The sign is skewness: many rows
a little better than the law and few much worse, beyond what chance does to normal errors.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from sld.core.numbers import short
from sld.data.table import Array, Table
from sld.fit.fitting import worse_sign
from sld.laws.law import Law

_LEAST_ROWS = 20  # fewer do not tell skewness from chance
_FAR = 6.0  # robust standard deviations; what lies beyond is an outlier, and a tale of its own
_CHANCE = 0.05  # with which normal errors would be as skewed
_LEAST_RATIO = 1.4  # of the farthest row on the worse side to that on the better side
_SHARE = 0.52  # of the rows at least that are better than the law


def one_sided_notes(law: Law, table: Table) -> list[str]:
    """Return a hint for each target whose residuals lie on one side, unless the law is an envelope already."""
    notes = []
    prediction = law.by_formula(table)
    for j, target in enumerate(law.targets):
        y = table.column(target.column)
        if law.loss(target.column) == "envelope":
            continue
        excess = worse_sign(table, j) * _residuals(y, prediction[:, j])
        found = _skewness(excess, float(np.std(y)))
        if found is None:
            continue
        skewness, chance = found
        n = int((excess < 0).sum())
        far = float(excess.max() / max(-excess.min(), 1e-300))
        if chance > _CHANCE or n < _SHARE * len(excess) or far < _LEAST_RATIO:
            continue
        side = "below" if target.better == "lower" else "above"
        notes.append(
            f"the residuals of {target.column} are one-sided ({n} of {len(excess)} rows lie {side} the law, the others "
            f"up to {short(far, 2)} times as far on the other side; skewness {short(skewness, 2)}, p = "
            f"{short(chance, 1)}): "
            f"runs may be under-tuned or cut short; sld fit --loss envelope follows the best ones"
        )
    return notes


def _residuals(y: Array, prediction: Array) -> Array:
    """Return residuals of the logarithm where there is one: what bad tuning costs grows with the loss."""
    with np.errstate(all="ignore"):
        if (y > 0).all() and (prediction > 0).all():
            return np.asarray(np.log(y / prediction))
        return np.asarray(y - prediction)


def _skewness(residuals: Array, spread: float) -> tuple[float, float] | None:
    """Return the skewness without outliers, and the chance of one as large; None where nobody can say.

    Joanes and Gill (1998) give its standard error for normal errors.
    """
    if not np.isfinite(residuals).all():
        return None
    middle = float(np.median(residuals))
    sigma = 1.4826 * float(np.median(np.abs(residuals - middle)))
    kept = residuals[np.abs(residuals - middle) <= _FAR * sigma]
    n = len(kept)
    if n < _LEAST_ROWS or not sigma > 1e-9 * max(spread, 1e-300):
        return None
    centred = kept - kept.mean()
    skewness = float(np.mean(centred**3) / np.mean(centred**2) ** 1.5)
    error = math.sqrt(6.0 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    return skewness, 1.0 - NormalDist().cdf(skewness / error)
