r"""Compute and data multipliers: how many times as much the other needs for the same loss.

With $L_A(C)$ and $L_B(C)$ along a scale, A's multiplier over B at $C$ is the $m$ with $L_B(m\,C) = L_A(C)$: above 1, A
is worth that many times its compute. It is infinite where B never gets there. The data multiplier holds the size of A's
run fixed and asks how many times its data B needs.
"""

from __future__ import annotations

import math

import numpy as np

from sld.analysis.decisions.curves import DRAWS
from sld.analysis.decisions.estimate import Estimate
from sld.analysis.decisions.spans import from_draws
from sld.analysis.decisions.tracks import Contender, Track
from sld.core.arrays import Array, Rows

_DECADES = 4.0  # of data to either side in which an equal is looked for
_STEPS = 161  # a step of 1/20 decade: lines between them are right to a thousandth


def reached(x: Array, y: Array, wanted: Array, start: int, sign: float) -> Array:
    """Return where on a scale curves reach values (n,), the place next to where one starts to look.

    A curve that is worse there is followed upwards until it is as good, a better one downwards until it is no better:
    infinite and 0 where that never happens. What draws do far away so does not count.

    >>> x = np.geomspace(1, 1e4, 81)
    >>> reached(x, np.tile(x**-0.5, (3, 1)), np.array([0.1, 2.0, 1e-3]), 40, 1.0).round(3)
    array([100.,   0.,  inf])

    Args:
        x: (n_points,) ascending.
        y: (n, n_points) the curves.
        wanted: (n,) values to reach.
        start: Number of the place where to begin.
        sign: 1 where less is better, else -1.
    """
    z = np.log(x)
    with np.errstate(invalid="ignore"):
        excess = sign * (y - wanted[:, None])  # above zero the curve is worse than what is wanted
        up, down = excess[:, start:] <= 0, excess[:, : start + 1][:, ::-1] > 0
    worse = excess[:, start] > 0
    steps = np.where(worse, np.argmax(up, axis=1), np.argmax(down, axis=1))
    found = np.where(worse, up.any(axis=1), down.any(axis=1))
    rows = np.arange(len(y))
    here = np.where(worse, start + steps, start - steps)
    before = np.clip(np.where(worse, here - 1, here + 1), 0, len(x) - 1)
    e0, e1 = excess[rows, before], excess[rows, here]
    with np.errstate(all="ignore"):
        share = np.where(e1 == e0, 0.0, e0 / (e0 - e1))
        at = np.exp(z[before] + share * (z[here] - z[before]))
    never = np.where(worse, math.inf, 0.0)
    return np.where(np.isnan(excess[:, start]), math.nan, np.where(found, at, never))


def multipliers(one: Track, other: Track, at: Rows) -> tuple[Array, Array]:
    """Return how many times the scale the other needs to equal the one, at places: the centre (n_at,), draws (n, n_at).

    Args:
        one: Whose values are to be equalled.
        other: Who needs more or less.
        at: (n_at,) numbers of the places on their common scale.
    """
    x, n = one.x, max(len(one.drawn), len(other.drawn))
    mine = one.drawn if len(one.drawn) else np.tile(one.y, (n, 1))
    theirs = other.drawn if len(other.drawn) else np.tile(other.y, (n, 1))
    centre, drawn = np.empty(len(at)), np.empty((n, len(at)))
    for i, k in enumerate(at.tolist()):
        centre[i] = reached(x, other.y[None], one.y[[k]], k, one.sign)[0] / x[k]
        drawn[:, i] = reached(x, theirs, mine[:, k], k, one.sign) / x[k]
    return centre, drawn


def data_multipliers(one: Contender, other: Contender, track: Track, at: Rows, level: float) -> list[Estimate]:
    """Return how many times the data the other needs, with the same size as the one, at places of the one's track.

    Args:
        one: Whose values are to be equalled.
        other: Who needs more or less.
        track: The one's.
        at: (n_at,) numbers of places.
        level: Of the intervals.
    """
    sign, n = track.sign, DRAWS
    mine, theirs = one.curve.draws(n, one.seed), other.curve.draws(n, other.seed)
    factors = np.geomspace(10.0**-_DECADES, 10.0**_DECADES, _STEPS)
    found = []
    for k in at.tolist():
        N, D = (float(track.columns[s][k]) for s in one.names)
        if not (math.isfinite(N) and math.isfinite(D)):
            found.append(Estimate(math.nan))
            continue
        here = {one.names[0]: np.array([N]), one.names[1]: np.array([D])}
        there = {other.names[0]: np.full(_STEPS, N), other.names[1]: D * factors}
        goal, ladder = one.curve.values(here), other.curve.values(there)
        centre = float(reached(factors, ladder[None], goal, _STEPS // 2, sign)[0])
        if mine is None and theirs is None:
            found.append(Estimate(centre))
            continue
        goals = np.tile(goal, (n, 1)) if mine is None else one.curve.drawn(mine, here)
        ladders = np.tile(ladder, (n, 1)) if theirs is None else other.curve.drawn(theirs, there)
        draws = reached(factors, ladders, goals[:, 0], _STEPS // 2, sign)
        found.append(from_draws(centre, draws, level))
    return found
