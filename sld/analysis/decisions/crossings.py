"""Where two curves cross, with an interval, or that they never do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sld.analysis.decisions.estimate import Estimate
from sld.analysis.decisions.spans import as_json, from_draws
from sld.analysis.decisions.tracks import Track
from sld.core.arrays import Array


@dataclass(frozen=True)
class Crossing:
    """A place where another law gets better.

    Attributes:
        at: The place with its interval; an open end lies beyond what was looked at.
        before: Name of the better one below it.
        after: Name of the better one above it.
        supported: Whether the rows of both reach there.
        share: Share of draws that cross so, somewhere in what was looked at; NaN without draws.
    """

    at: Estimate
    before: str
    after: str
    supported: bool
    share: float

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {
            "at": as_json(self.at),
            "before": self.before,
            "after": self.after,
            "supported": self.supported,
            "share_of_draws": self.share,
        }


def zeros(x: Array, gap: Array) -> list[tuple[float, float]]:
    """Return where a gap changes its sign, and the sign after it: a line in log x between the two places.

    >>> x = np.geomspace(1, 1e4, 9)
    >>> [(round(at), sign) for at, sign in zeros(x, np.log10(x) - 2.25)]
    [(178, 1.0)]
    """
    known = np.flatnonzero(np.isfinite(gap) & (gap != 0))
    z, g = np.log(x[known]), gap[known]
    turns = np.flatnonzero(np.sign(g[1:]) != np.sign(g[:-1]))
    return [
        (
            math.exp(float(z[k] + (z[k + 1] - z[k]) * g[k] / (g[k] - g[k + 1]))),
            float(np.sign(g[k + 1])),
        )
        for k in turns.tolist()
    ]


def crossings(one: Track, other: Track, level: float) -> list[Crossing]:
    """Return where two laws cross, with intervals.

    For each draw that crosses the same way the nearest such place counts. A draw whose order is everywhere that before
    the crossing has it beyond the end of what was looked at; one whose order is that after it, before the begin.

    Args:
        one: A law along a scale.
        other: Another on the same places.
        level: Of the intervals.
    """
    x, sign = one.x, one.sign
    drawn = gaps(one, other)
    names = one.curve.name, other.curve.name
    places = [zeros(x, row) for row in drawn]
    found = []
    for at, after in zeros(x, sign * (one.y - other.y)):
        own = np.array([_of_draw(row, place, at, after) for row, place in zip(drawn, places, strict=True)])
        k = int(np.searchsorted(x, at))
        inside = bool(all(t.inside[k - 1] and t.inside[min(k, len(x) - 1)] for t in (one, other)))
        # the gap is of what should be small: above zero the other is better
        better = names if after > 0 else names[::-1]
        share = float(np.isfinite(own).mean()) if len(own) else math.nan
        found.append(Crossing(from_draws(at, own, level), *better, inside, share))
    return found


def gaps(one: Track, other: Track) -> Array:
    """Return draws (n, n_points) of what one has more than the other, less being better; none without draws."""
    if not (len(one.drawn) or len(other.drawn)):
        return np.empty((0, len(one.x)))
    mine = one.drawn if len(one.drawn) else one.y
    theirs = other.drawn if len(other.drawn) else other.y
    return np.asarray(one.sign * (mine - theirs))


def _of_draw(gap: Array, places: list[tuple[float, float]], near: float, after: float) -> float:
    """Return where a draw crosses the same way; 0 or infinite where its order never changes; NaN for another way."""
    alike = [at for at, sign in places if sign == after]
    if alike:
        return min(alike, key=lambda at: abs(math.log(at / near)))
    if places or not np.isfinite(gap).any():
        return math.nan
    always = float(np.sign(gap[np.isfinite(gap)][-1]))
    return 0.0 if always == after else math.inf
