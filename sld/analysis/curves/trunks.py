r"""Runs that share a trunk: checkpoints that were cooled, and what a design costs when the shared part is paid once.

With a constant learning rate one run, the trunk, serves many durations: from its checkpoints branches go off in which
the rate falls to zero (Hägele et al. 2024, arXiv:2405.18392). A branch costs its own steps only. Its last value says
what the trunk would have been, had it ended there: lower by a ratio that changes little along the trunk,

$$ \log y_{\text{cooled}}(x) = \log y_{\text{trunk}}(x) + \bar g + b \log (x / \bar x) , \qquad b \sim N(0, 0.03^2) , $$

with mean and slope of the cooled checkpoints that there are, both with their standard deviations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.analysis.curves.mixture import Mixture
from sld.analysis.curves.runs import Curve
from sld.core.arrays import Array
from sld.core.errors import DataError, UsageError

_USUAL = 0.01  # spread of the gain of single checkpoints, where one or two cannot show it: that of losses of two seeds
_WEIGHT = 2.0  # checkpoints that it counts as
_TREND = 0.03  # how much the gain may change for each factor e in the step: it grows while the fall gets longer
_ROUNDS = 5  # of slope and noise: they settle to three digits


@dataclass(frozen=True)
class Cost:
    """What a design costs, in the unit of the steps.

    Attributes:
        once: With every shared part paid once.
        apart: With a run of its own for each end.
    """

    once: float
    apart: float


@dataclass(frozen=True)
class Gain:
    """What cooling is worth: the logarithm of cooled over uncooled value, mean and standard deviation.

    Attributes:
        mean: Below 0 for a loss.
        sd: For a single checkpoint.
        n: Cooled checkpoints that it rests on.
    """

    mean: float
    sd: float
    n: int


def gains_on(trunk: Curve, x: Array, y: Array) -> tuple[Array, Array]:
    """Return the logarithm of step, and of cooled over uncooled value (n_inside,), where checkpoints lie on a trunk.

    Args:
        trunk: Its uncooled points.
        x: Where cooled checkpoints are (n_cooled,).
        y: Their values (n_cooled,).

    Raises:
        DataError: A value is not above 0, so that there is no ratio.
    """
    if not ((trunk.y > 0).all() and (y > 0).all()):
        raise DataError(f"{trunk.name}: what cooling gains is a ratio, and some values are not above 0")
    inside = (x >= trunk.x[0] * (1 - 1e-9)) & (x <= trunk.x[-1] * (1 + 1e-9))
    at = np.log(x[inside])
    return at, np.asarray(np.log(y[inside]) - np.interp(at, np.log(trunk.x), np.log(trunk.y)))


def on_trunks(
    curves: Sequence[Curve], cooled: Mapping[str, Curve], parents: Mapping[str, str]
) -> tuple[list[Curve], dict[str, Curve]]:
    """Return the runs to be continued, and run to its cooled checkpoints, where branches are runs of their own.

    A branch that has cooled is done: what it measured on its way down is neither of the trunk nor cooled, and is left
    out, and its cooled checkpoints say what its trunk would have been. A run that branched off and goes on at the same
    rate, with cooled checkpoints between its own, stays a run.

    Args:
        curves: The uncooled points of each run.
        cooled: Run to its cooled checkpoints.
        parents: Run to the run that it branched from, for those that did.
    """
    known = {c.name: c for c in curves}
    done = {
        name: parents[name]
        for name, ends in cooled.items()
        if parents.get(name) in known and (name not in known or ends.x[-1] > known[name].x[-1])
    }
    of: dict[str, list[Curve]] = {}
    for name, ends in cooled.items():
        of.setdefault(done.get(name, name), []).append(ends)
    found = {}
    for name, each in of.items():
        x, y = (np.concatenate([getattr(c, axis) for c in each]) for axis in ("x", "y"))
        order = np.argsort(x, kind="stable")
        found[name] = Curve(name, x[order], y[order])
    return [c for c in curves if c.name not in done], found


def gain_at(end: float, at: Array, gained: Array) -> Gain:
    """Return what cooling is worth at a step, from checkpoints (n,) at logarithms `at` that gained so much each.

    >>> found = gain_at(16.0, np.log([2.0, 4.0, 8.0]), np.array([-0.05, -0.05, -0.05]))
    >>> round(found.mean, 6), 0.01 < found.sd < 0.05
    (-0.05, True)
    """
    n, z = len(gained), np.log(end) - float(at.mean())
    off, g = at - at.mean(), gained - gained.mean()
    noise = _USUAL
    for _ in range(_ROUNDS):  # slope and noise follow from each other
        precision = float(np.sum(off * off)) / noise**2 + 1 / _TREND**2
        slope = float(np.sum(off * g)) / noise**2 / precision
        square = float(np.sum((g - slope * off) ** 2))
        noise = float(np.sqrt((square + _WEIGHT * _USUAL**2) / (n - 1 + _WEIGHT)))
    sd = np.sqrt(noise**2 * (1 + 1 / n) + z * z / precision)
    return Gain(float(gained.mean() + slope * z), float(sd), n)


def gains(
    trunks: Sequence[Curve], cooled: Mapping[str, Curve], ends: Mapping[str, float], *, pooled: bool = True
) -> dict[str, Gain]:
    """Return what cooling is worth at the end of each run: its own checkpoints say, or those of all where it has none.

    Args:
        trunks: The uncooled points of each run.
        cooled: Run to its cooled checkpoints.
        ends: Run to the step that is asked for.
        pooled: Whether runs are of one kind; without, a run needs checkpoints of its own.

    Raises:
        DataError: No cooled checkpoint lies within its trunk, or none of a run that stands alone.
    """
    known = {c.name: gains_on(c, cooled[c.name].x, cooled[c.name].y) for c in trunks if c.name in cooled}
    every = tuple(np.concatenate([*(of[k] for of in known.values()), np.empty(0)]) for k in (0, 1))
    if not len(every[0]):
        raise DataError("no cooled checkpoint lies between uncooled ones of its run, which would tell what it gained")
    found = {}
    for c in trunks:
        own = known.get(c.name, (np.empty(0), np.empty(0)))
        if not len(own[0]) and not pooled:
            raise DataError(f"run {c.name!r} has no cooled checkpoint between its uncooled ones, and stands alone")
        at, gained = own if len(own[0]) else every
        found[c.name] = gain_at(ends[c.name], at, gained)
    return found


def cooled_forecast(forecast: Mixture, gain: Gain) -> Mixture:
    """Return what a cooled checkpoint will be, from the forecast of the trunk there."""
    factor = np.exp(gain.mean)
    middle = np.where(forecast.log, forecast.middle + gain.mean, forecast.middle * factor)
    own = np.where(forecast.log, gain.sd, np.abs(middle) * gain.sd)
    spread = np.hypot(np.where(forecast.log, forecast.spread, forecast.spread * factor), own)
    return replace(forecast, middle=middle, spread=spread)


def cost_of(curves: Sequence[Curve], parents: Mapping[str, str]) -> Cost:
    """Return what the runs cost, where some branched from others.

    >>> trunk = Curve("trunk", np.array([8.0, 16.0, 24.0]), np.ones(3))
    >>> ends = [Curve(f"to {x:g}", np.array([0.9 * x, x]), np.ones(2)) for x in (10.0, 20.0, 30.0)]
    >>> cost_of([trunk, *ends], {c.name: "trunk" for c in ends})
    Cost(once=36.0, apart=60.0)

    A branch goes off at the last point of its trunk before its own first one.

    Args:
        curves: All runs.
        parents: Run to the run that it branched from, for those that did.

    Raises:
        UsageError: A trunk is no run of the table, or runs branch from each other in a circle.
    """
    known = {c.name: c for c in curves}
    trunks = set(parents.values())
    once = apart = 0.0
    for c in curves:
        path = [c.name]
        while (parent := parents.get(path[-1])) is not None:
            if parent not in known:
                raise UsageError(f"run {path[-1]!r} branched from {parent!r}, which is no run of the table")
            if parent in path:
                raise UsageError(f"runs branch from each other in a circle: {' from '.join([*path, parent])}")
            path.append(parent)
        begin = 0.0
        if c.name in parents:
            of = known[parents[c.name]]
            before = of.x[of.x <= c.x[0] * (1 + 1e-9)]
            begin = float(before[-1]) if len(before) else 0.0
        once += float(c.x[-1]) - begin
        apart += 0.0 if c.name in trunks else float(c.x[-1])
    return Cost(once, apart)
