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

ROUNDING = 1e-9  # of a value: a law is the same to that whichever way it is written, and an optimum is found to it
_SHARE = 0.01  # of an interval's width: so near to nothing either law is as likely the better one


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


def least_gap(one: Track, other: Track, drawn: Array, level: float) -> Array:
    """Return how far (n_points,) two laws have to be apart to be told apart at all.

    Args:
        one: A law along a scale.
        other: Another on the same places.
        drawn: (n, n_points) draws of their difference; none for laws without intervals.
        level: Of the intervals.
    """
    with np.errstate(invalid="ignore"):
        least = ROUNDING * np.fmax(np.abs(one.y), np.abs(other.y))
    if len(drawn):
        tail = (1.0 - level) / 2
        order = np.sort(np.where(np.isfinite(drawn), drawn, math.inf), axis=0)
        low, high = (order[round(share * (len(order) - 1))] for share in (tail, 1.0 - tail))
        with np.errstate(invalid="ignore"):
            width = high - low
        least = np.fmax(least, np.where(np.isfinite(width), _SHARE * width, 0.0))
    return np.asarray(least)


def told_apart(gap: Array, least: Array) -> bool:
    """Tell whether two laws are anywhere as far apart as they have to be."""
    with np.errstate(invalid="ignore"):
        return bool((np.isfinite(gap) & (np.abs(gap) > least)).any())


def zeros(x: Array, gap: Array, least: Array | float = 0.0) -> list[tuple[float, float]]:
    """Return where a gap changes its sign, and the sign after it: a line in log x between the two places.

    Where a gap of one sign is nowhere more than `least`, up to its next change of sign, it is none: the changes that
    begin and end it do not count.

    >>> x = np.geomspace(1, 1e4, 9)
    >>> [(round(at), sign) for at, sign in zeros(x, np.log10(x) - 2.25)]
    [(178, 1.0)]
    >>> zeros(x, np.where(x == 100.0, -1e-16, 1.0), 1e-12)
    []
    """
    known = np.flatnonzero(np.isfinite(gap) & (gap != 0))
    stretches = np.split(known, np.flatnonzero(np.diff(np.sign(gap[known]))) + 1)
    clear = [s for s in stretches if len(s) and (np.abs(gap[s]) > np.broadcast_to(least, gap.shape)[s]).any()]
    known = np.concatenate(clear) if clear else known[:0]
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
    for at, after in zeros(x, sign * (one.y - other.y), least_gap(one, other, drawn, level)):
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
