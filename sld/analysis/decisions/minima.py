"""Where many curves have their minimum: the best run of each draw of a law, on one surface of equal cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sld.analysis.decisions.minimise import Minimum, Problem, finite, newton_step
from sld.core.arrays import Array, Mask, Rows

_FIRST, _SECOND = 65, 49  # points along one variable: over all of it, and over where the curves have their minima
SHARE_INSIDE = 0.5  # of the curves that must have a minimum inside for their quantiles to mean anything


@dataclass(frozen=True)
class Curves:
    """Where many curves have their minimum on one surface of equal cost.

    Attributes:
        point: Symbol to (n_curves,) values; NaN for a curve without a minimum inside.
        value: (n_curves,) there.
        inside: (n_curves,) which of them have one.
    """

    point: Mapping[str, Array]
    value: Array
    inside: Mask

    @property
    def share(self) -> float:
        """Share of the curves that have a minimum inside."""
        return float(self.inside.mean())

    @property
    def tell(self) -> bool:
        """Whether enough of them have one."""
        return self.share >= SHARE_INSIDE


Drawn = Callable[[Mapping[str, Array]], Array]  # columns (n_points,) to values (n_curves, n_points)
Own = Callable[[Mapping[str, Array]], Array]  # columns (n_curves, n_points) to values (n_curves, n_points)


def minima(problem: Problem, drawn: Drawn, own: Own, budget: float, centre: Minimum) -> Curves:
    """Return where each of many curves has its minimum.

    One free variable: all curves on one grid, downhill from the minimum of the centre, then on a finer one where they
    have their minima; three points of it give a parabola. More: each curve goes down from the minimum of the centre by
    steps of its own, with differences wide enough that kinks of a curve's uncertainty do not count.

    Args:
        problem: Its `value` is that of the centre and is not asked.
        drawn: Every curve at the same points.
        own: Every curve at points of its own.
        budget: What a run costs.
        centre: The minimum of the law itself.
    """
    k = len(problem.axes)
    if k == 0:
        columns = problem.columns(np.zeros((1, 0)), budget)
        value = drawn(columns)[:, 0]
        inside = np.isfinite(value)
        return Curves({s: np.where(inside, x[0], math.nan) for s, x in columns.items()}, value, inside)
    low, high = problem.box(budget) if centre.box is None else centre.box
    if k > 1:
        return _own_minima(problem, own, budget, centre, (low, high))
    z = np.linspace(low[0], high[0], _FIRST)
    values = finite(drawn(problem.columns(z[:, None], budget)))
    at = _downhill(values, int(np.argmin(np.abs(z - centre.z[0]))))
    inside = (at > 0) & (at < len(z) - 1)
    step = z[1] - z[0]
    if inside.any():
        coarse = z[at]
        first = max(low[0], float(coarse[inside].min()) - step)
        last = min(high[0], float(coarse[inside].max()) + step)
        z = np.linspace(first, last, _SECOND)
        values = finite(drawn(problem.columns(z[:, None], budget)))
        # the finer grid holds the minima of all curves, and each has to stay in its own valley
        near = np.abs(z - coarse[:, None]) <= 1.001 * step
        at = np.where(near, values, math.inf).argmin(axis=1)
        inside &= (at > 0) & (at < len(z) - 1) & near.any(axis=1)
    vertex, value = _vertices(z, values, np.clip(at, 1, len(z) - 2))
    columns = problem.columns(np.where(inside, vertex, z[0])[:, None], budget)
    point = {s: np.where(inside, x, math.nan) for s, x in columns.items()}
    return Curves(point, np.where(inside, value, math.nan), inside)


def _downhill(values: Array, start: int) -> Rows:
    """Return for each curve (n, n_points) where going down from one point ends: its minimum next to the law's own.

    Far from the runs a curve that might as well be the law is hardly known, and may have a lower point that means
    nothing.
    """
    n, m = values.shape
    at, rows = np.full(n, start), np.arange(n)
    for _ in range(m):
        left, right = np.maximum(at - 1, 0), np.minimum(at + 1, m - 1)
        best = np.where(values[rows, left] < values[rows, right], left, right)
        lower = values[rows, best] < values[rows, at]
        if not lower.any():
            break
        at = np.where(lower, best, at)
    return at


def _vertices(z: Array, values: Array, at: Array) -> tuple[Array, Array]:
    """Return place and value of the vertex of the parabola through three points of each curve."""
    rows = np.arange(len(values))
    a, b, c = (values[rows, at + s] for s in (-1, 0, 1))
    with np.errstate(all="ignore"):
        bend = a - 2 * b + c
        shift = np.where(bend > 0, 0.5 * (a - c) / bend, 0.0)
        shift = np.clip(np.where(np.isfinite(shift), shift, 0.0), -1.0, 1.0)
        value = b - 0.25 * (a - c) * shift
    return z[at] + shift * (z[1] - z[0]), np.where(np.isfinite(value), value, b)


_WIDTHS = (0.3, 0.2, 0.15, 0.1, 0.1, 0.1, 0.1, 0.1)  # of the differences of a curve, step by step


def _own_minima(problem: Problem, own: Own, budget: float, centre: Minimum, box: tuple[Array, Array]) -> Curves:
    """Return the minima of curves that each go down from the centre's by themselves."""
    low, high = box
    k = len(problem.axes)
    n = len(own({s: np.array([[x]]) for s, x in centre.point.items()}))
    z = np.tile(centre.z, (n, 1))
    scale = np.array([1.0 if axis.log else max(axis.ends[1] - axis.ends[0], 1e-300) / 10 for axis in problem.axes])
    pairs = list(itertools.combinations(range(k), 2))
    unit = np.eye(k)
    shifts = np.array([
        np.zeros(k), *(s * unit[i] for i in range(k) for s in (-1.0, 1.0)),
        *(a * unit[i] + b * unit[j] for i, j in pairs for a in (-1.0, 1.0) for b in (-1.0, 1.0)),
    ])  # fmt: skip
    for width in _WIDTHS:
        points = np.clip(z[:, None, :] + width * scale * shifts, low, high)  # (n, n_shifts, k)
        columns = problem.columns(points.reshape(-1, k), budget)
        f = finite(own({s: x.reshape(n, len(shifts)) for s, x in columns.items()}))
        with np.errstate(all="ignore"):
            gradient = (f[:, 2 : 2 * k + 1 : 2] - f[:, 1 : 2 * k : 2]) / (2 * width)
            H = np.zeros((n, k, k))
            for i in range(k):
                H[:, i, i] = (f[:, 1 + 2 * i] - 2 * f[:, 0] + f[:, 2 + 2 * i]) / width**2
            for p, (i, j) in enumerate(pairs):
                four = f[:, 1 + 2 * k + 4 * p : 5 + 2 * k + 4 * p]
                H[:, i, j] = H[:, j, i] = (four[:, 0] - four[:, 1] - four[:, 2] + four[:, 3]) / (4 * width**2)
        known = np.isfinite(gradient).all(axis=1) & np.isfinite(H).all(axis=(1, 2))
        step = np.zeros((n, k))
        for row in np.flatnonzero(known):
            step[row] = newton_step(gradient[row], H[row])
        z = np.clip(z + step * scale, low, high)
    z, value = _settled(problem, own, budget, (z, centre.z), (low, high), scale)
    edge = ((z <= low + 1e-3) | (z >= high - 1e-3)).any(axis=1)
    inside = np.isfinite(value) & ~edge
    columns = problem.columns(np.where(inside[:, None], z, centre.z), budget)
    point = {s: np.where(inside, x, math.nan) for s, x in columns.items()}
    return Curves(point, np.where(inside, value, math.nan), inside)


_FIRST_STEP, _LAST_STEP, _MOST_STEPS = 0.2, 0.01, 24  # of a coordinate, of a curve that looks around itself


def _settled(
    problem: Problem, own: Own, budget: float, starts: tuple[Array, Array], box: tuple[Array, Array], scale: Array
) -> tuple[Array, Array]:
    """Return where no small step along an axis goes down for each curve, and the values there.

    Each begins at its own point (n_curves, n_axes) or at the centre's (n_axes,), whichever is lower.
    """
    z, centre = starts
    low, high = box
    n, k = z.shape
    rows = np.arange(n)

    def at(points: Array) -> Array:
        shape = points.shape[:2]
        columns = problem.columns(points.reshape(-1, k), budget)
        return finite(own({s: x.reshape(shape) for s, x in columns.items()}))

    both = np.stack([z, np.broadcast_to(centre, z.shape)], axis=1)
    values = at(both)
    first = values.argmin(axis=1)
    z, value = both[rows, first], values[rows, first]
    size = np.full(n, _FIRST_STEP)
    directions = np.vstack([np.eye(k), -np.eye(k)]) * scale
    for _ in range(_MOST_STEPS):
        points = np.clip(z[:, None, :] + size[:, None, None] * directions, low, high)
        values = at(points)
        best = values.argmin(axis=1)
        lower = values[rows, best] < value
        z = np.where(lower[:, None], points[rows, best], z)
        value = np.where(lower, values[rows, best], value)
        size = np.where(lower, size, size * 0.5)
        if (size < _LAST_STEP).all():
            break
    return z, np.where(np.isfinite(value), value, math.nan)
