r"""The lowest point of a function of several variables, on a surface of equal cost or without one, and its certificate.

Variables are looked at as logarithms, unless they can be zero. The cost takes one variable away: given the others, it
is whatever the budget leaves. In what is left the function is looked at on a grid (one variable) or a cloud of points
that leaves no holes (more); from the lowest of these Newton's method goes down with derivatives by central differences.

A minimum is *certified* when what Newton's method would still move is below `CLOSE`, and every second derivative is
positive; or, at a kink, when every step around it goes up. What lies at the end of where was looked is no minimum and
is called an edge.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sld.core.arrays import Array

Value = Callable[[Mapping[str, Array]], Array]
Status = Literal["interior", "kink", "edge", "none", "given"]

CLOSE = 1e-6  # of a coordinate (a relative change, where it is a logarithm): what a certified minimum is known to
_FAR = 1e60  # upper end of a variable that nothing limits but the budget
_GRID = 385  # points along one variable: 30 decades in steps of 0.08 decades
_CLOUD = 1024  # points per variable of the cloud, for two or more
_STARTS = 4  # of the lowest points of a cloud
_STEPS = 40  # of Newton's method
_STENCIL = 2e-3  # of a coordinate: truncation and rounding of five points are equal near this
_NEARBY = _STENCIL * np.array([0.5, 0.1, 0.02])  # inside the five points, where a smooth minimum rises too
_LONGEST = 1.0  # of a coordinate in one step
_SHRINK = 0.5 ** np.arange(12)
_EXACT = 1e-13  # of a cost: rounding of its sum, far below what a loss feels


@dataclass(frozen=True)
class Axis:
    """A variable, and where it is looked for.

    Attributes:
        low: Lower end, in the variable's units.
        high: Upper end; infinite where only the budget ends it.
        log: Looked at as a logarithm, which needs `low` above 0.
    """

    symbol: str
    low: float
    high: float = math.inf
    log: bool = True

    def coordinate(self, quantity: Array | float) -> Array:
        """Return where a quantity is on the axis."""
        with np.errstate(all="ignore"):
            return np.asarray(np.log(quantity) if self.log else quantity, dtype=np.float64)

    def quantity(self, coordinate: Array) -> Array:
        """Return the quantity at a coordinate."""
        with np.errstate(all="ignore"):
            return np.exp(coordinate) if self.log else np.asarray(coordinate)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends as coordinates; finite."""
        return float(self.coordinate(self.low)), float(self.coordinate(min(self.high, _FAR)))


@dataclass(frozen=True)
class Problem:
    """What is to be made small, and what may be chosen.

    Attributes:
        value: From columns (n_points,) of every variable to what is to be small; NaN where it has no value.
        axes: What may be chosen freely.
        held: Symbol to the value of what may not.
        ratios: Symbol to another one and the factor that it is of it.
        cost: From columns to what a run costs; it grows with `closing`.
        closing: What the budget leaves; without one the cost is not looked at.
    """

    value: Value
    axes: tuple[Axis, ...]
    held: Mapping[str, float] = field(default_factory=dict)
    ratios: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    cost: Value | None = None
    closing: Axis | None = None

    def columns(self, z: Array, budget: float = math.nan) -> dict[str, Array]:
        """Return the columns of every variable at coordinates (n_points, n_axes); NaN where the budget allows none."""
        n = len(z)
        columns = {s: np.full(n, float(x)) for s, x in self.held.items()}
        for i, axis in enumerate(self.axes):
            columns[axis.symbol] = axis.quantity(np.ascontiguousarray(z[:, i]))
        if self.closing is not None:
            columns[self.closing.symbol] = self.closing.quantity(self._closed(columns, self.closing, budget))
        return self._with_ratios(columns)

    def values(self, z: Array, budget: float = math.nan) -> Array:
        """Return (n_points,) values at coordinates (n_points, n_axes); infinite where there is none."""
        return finite(self.value(self.columns(z, budget)))

    def _with_ratios(self, columns: dict[str, Array]) -> dict[str, Array]:
        for symbol, (other, factor) in self.ratios.items():
            columns[symbol] = factor * columns[other]
        return columns

    def _closed(self, columns: Mapping[str, Array], closing: Axis, budget: float) -> Array:
        """Return the coordinate of `closing` at which the other columns cost the budget; NaN where none does."""
        assert self.cost is not None
        cost = self.cost

        def excess(z: Array) -> Array:
            with np.errstate(all="ignore"):
                there = self._with_ratios({**columns, closing.symbol: closing.quantity(z)})
                return np.asarray(np.log(cost(there)) - math.log(budget))

        n = len(next(iter(columns.values()))) if columns else 1
        ends = closing.ends
        # most costs are a line in the tokens: two values give it, and a third shows whether it is one
        with np.errstate(all="ignore"):
            # the second is far out: what the others cost would else swallow it
            most = float(closing.quantity(np.array(ends[1])))
            none, far = (cost(self._with_ratios({**columns, closing.symbol: np.full(n, x)})) for x in (0.0, most))
            straight = closing.coordinate(most * ((budget - none) / (far - none)))
            left = excess(np.clip(straight, *ends))
        low, high = np.full(n, ends[0]), np.full(n, ends[1])
        known = (np.abs(left) <= _EXACT) & (straight > low) & (straight < high)
        if not known.all():
            nowhere = ~((excess(low) <= 0) & (excess(high) >= 0))
            straight, known = np.where(nowhere, math.nan, straight), known | nowhere
        return straight if known.all() else crossing(excess, low, high)

    def box(self, budget: float = math.nan) -> tuple[Array, Array]:
        """Return the ends (n_axes,) of what the budget allows each axis, the others being as small as they may."""
        low = np.array([axis.ends[0] for axis in self.axes])
        high = np.array([axis.ends[1] for axis in self.axes])
        if self.closing is None or self.cost is None:
            return low, high
        cost, closing = self.cost, self.closing

        def excess(i: int, least: float) -> Callable[[Array], Array]:
            def at(z: Array) -> Array:
                columns = {s: np.full(len(z), float(x)) for s, x in self.held.items()}
                columns |= {a.symbol: a.quantity(np.full(len(z), low[k])) for k, a in enumerate(self.axes)}
                columns[self.axes[i].symbol] = self.axes[i].quantity(z)
                columns[closing.symbol] = closing.quantity(np.full(len(z), least))
                with np.errstate(all="ignore"):
                    return np.asarray(np.log(cost(self._with_ratios(columns))) - math.log(budget))

            return at

        for i in range(len(self.axes)):
            for end, of in ((closing.ends[0], high), (closing.ends[1], low)):
                found = crossing(excess(i, end), np.array([low[i]]), np.array([high[i]]))
                if math.isfinite(found[0]) and (end == closing.ends[0] or len(self.axes) == 1):
                    of[i] = found[0]
        return low, high


@dataclass(frozen=True)
class Minimum:
    """The lowest point that was found.

    Attributes:
        status: "interior" (certified by derivatives), "kink" (certified by steps around it), "edge" (the function still
            falls where the search ends), "given" (nothing was free) or "none" (no value anywhere).
        point: Symbol to value of every variable; empty without one.
        value: There.
        move: How far Newton's method would still move, in coordinates.
        curvature: The least second derivative, by coordinate, in any direction.
        starts: From how many points the search went down.
        agreed: How many of them came to this minimum.
        falling: Symbols of what was at its end, and whether at the lower one.
        box: Ends (n_axes,) of where was looked.
    """

    status: Status
    point: Mapping[str, float]
    value: float
    z: Array
    move: float = 0.0
    curvature: float = math.nan
    starts: int = 0
    agreed: int = 0
    falling: Mapping[str, bool] = field(default_factory=dict)
    box: tuple[Array, Array] | None = None

    @property
    def certified(self) -> bool:
        """Whether it is a minimum beyond doubt, or nothing was free."""
        return self.status in ("interior", "kink", "given")


def finite(values: Array) -> Array:
    """Return values with infinity where there is none, so that they are never the lowest."""
    return np.where(np.isfinite(values), values, math.inf)


def crossing(
    excess: Callable[[Array], Array], low: Array, high: Array, *, steps: int = 200, small: float = 2e-14
) -> Array:
    """Return where growing functions (n,) cross zero between two ends each; NaN where they do not.

    It stops after so many steps, or where all functions are smaller than `small`.

    Secants through the last two points, held between the ends, and halving where they are slow (Dekker 1969).
    """
    a, b = low.astype(np.float64).copy(), high.astype(np.float64).copy()
    fa, fb = excess(a), excess(b)
    known = (fa <= 0) & (fb >= 0)
    before, f_before, here, f_here = a.copy(), fa, b.copy(), fb
    with np.errstate(all="ignore"):
        for step in range(steps):
            new = here - f_here * (here - before) / (f_here - f_before)
            inside = (new >= a) & (new <= b)
            new = np.where(inside & (step % 6 != 5), new, 0.5 * (a + b))
            f = excess(new)
            a, b = np.where(f < 0, new, a), np.where(f < 0, b, new)
            # where it is known already, rounding would only move it
            still = np.abs(f_here) <= small
            before, f_before = np.where(still, before, here), np.where(still, f_before, f_here)
            here, f_here = np.where(still, here, new), np.where(still, f_here, f)
            done = (np.abs(f_here) <= small) | (b - a <= 1e-15 * (np.abs(a) + np.abs(b))) | ~known
            if done.all():
                break
    return np.where(known, here, math.nan)


def minimum(problem: Problem, budget: float = math.nan, near: Array | None = None) -> Minimum:
    """Return the lowest point that a budget allows.

    >>> value = lambda x: 1.7 + 400 * x["N"] ** -0.34 + 900 * x["D"] ** -0.3
    >>> cost = lambda x: 6 * x["N"] * x["D"]
    >>> found = minimum(Problem(value, (Axis("N", 1.0),), cost=cost, closing=Axis("D", 1.0)), 1e21)
    >>> found.status, float(f"{found.point['N']:.4g}"), float(f"{found.value:.5g}")
    ('interior', 1032000000.0, 2.4353)

    Args:
        problem: What is to be small.
        budget: What a run costs.
        near: (n_axes,) coordinates to go down from as well, such as the minimum of a budget nearby.
    """
    k = len(problem.axes)
    if k == 0:
        z = np.zeros((1, 0))
        value = float(problem.values(z, budget)[0])
        if not math.isfinite(value):
            return Minimum("none", {}, math.inf, z[0])
        return Minimum("given", _point(problem, z[0], budget), value, z[0])
    low, high = problem.box(budget)
    if not (low < high).all():
        return Minimum("none", {}, math.inf, low)
    points = _looked_at(low, high)
    values = problem.values(points, budget)
    if not np.isfinite(values).any():
        return Minimum("none", {}, math.inf, low)
    starts = _starts(points, values, k)
    if near is not None:
        starts = [np.clip(near, low, high), *starts]
    found = [_down(problem, budget, start, low, high) for start in starts]
    best_value = min(value for _, value in found)
    slack = 1e-12 * max(1.0, abs(best_value))
    # of starts that come equally low, the first
    z, value = next(f for f in found if f[1] <= best_value + slack)
    agreed = sum(bool((np.abs(other - z) < 1e-4).all()) for other, _ in found)
    lowest = int(np.argmin(values))
    if values[lowest] < value - slack:
        z, value, agreed = points[lowest], float(values[lowest]), 0
    return _certified(problem, budget, z, value, (low, high), (len(starts), agreed))


def nearby(problem: Problem, budget: float, near: Array) -> float:
    """Return the value (n_axes,) that going down from one point gives: the lowest there is where one knows it is near.

    Infinite where the budget allows nothing.
    """
    low, high = problem.box(budget)
    if not (low < high).all():
        return math.inf
    return _down(problem, budget, np.clip(near, low, high), low, high)[1]


def _looked_at(low: Array, high: Array) -> Array:
    """Return points (n, n_axes) that leave no large holes: a grid, or for more axes an additive recurrence."""
    k = len(low)
    if k == 1:
        return np.linspace(low[0], high[0], _GRID)[:, None]
    n = _CLOUD * k
    root = 2.0
    for _ in range(60):  # the root of x**(k+1) = x + 1
        root = (1.0 + root) ** (1.0 / (k + 1))
    shares = (0.5 + np.arange(n)[:, None] * root ** -np.arange(1.0, k + 1)) % 1.0
    corners = np.array(list(itertools.product((0.0, 0.5, 1.0), repeat=k))) if k <= 4 else np.zeros((0, k))
    return low + (high - low) * np.vstack([shares, corners])


def _starts(points: Array, values: Array, k: int) -> list[Array]:
    """Return the points to go down from: every dip of a grid, or the lowest of a cloud that are not side by side."""
    if k == 1:
        padded = np.concatenate([[math.inf], values, [math.inf]])
        dips = np.flatnonzero((padded[1:-1] <= padded[:-2]) & (padded[1:-1] <= padded[2:]) & np.isfinite(values))
        order = dips[np.argsort(values[dips], kind="stable")]
        return [points[i] for i in order[:_STARTS]]
    size = np.ptp(points, axis=0)
    size = np.where(size > 0, size, 1.0)
    starts: list[Array] = []
    for i in np.argsort(values, kind="stable")[: 40 * k]:
        if np.isfinite(values[i]) and all((np.abs(points[i] - s) / size).max() > 0.05 for s in starts):
            starts.append(points[i])
        if len(starts) == _STARTS:
            break
    return starts


def derivatives(problem: Problem, budget: float, z: Array, width: float) -> tuple[float, Array, Array]:
    """Return value, gradient (k,) and second derivatives (k, k) at coordinates, by differences; NaN at an edge."""
    k = len(z)
    unit = width * np.eye(k)
    shifts = [np.zeros(k), *(s * unit[i] for i in range(k) for s in (-2.0, -1.0, 1.0, 2.0))]
    pairs = list(itertools.combinations(range(k), 2))
    shifts += [a * unit[i] + b * unit[j] for i, j in pairs for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    with np.errstate(all="ignore"):
        f = problem.value(problem.columns(z + np.array(shifts), budget))
        f = np.where(np.isfinite(f), f, math.nan)
        each = f[1 : 1 + 4 * k].reshape(k, 4)
        gradient = (each[:, 0] - 8 * each[:, 1] + 8 * each[:, 2] - each[:, 3]) / (12 * width)
        H = np.diag((-each[:, 0] + 16 * each[:, 1] - 30 * f[0] + 16 * each[:, 2] - each[:, 3]) / (12 * width**2))
        for (i, j), four in zip(pairs, f[1 + 4 * k :].reshape(-1, 4), strict=True):
            H[i, j] = H[j, i] = (four[0] - four[1] - four[2] + four[3]) / (4 * width**2)
    return float(f[0]), gradient, H


def _down(problem: Problem, budget: float, start: Array, low: Array, high: Array) -> tuple[Array, float]:
    """Return where Newton's method comes to from a point, and the value there."""
    z = start.copy()
    value = float(problem.values(z[None], budget)[0])
    for _ in range(_STEPS):
        _, gradient, H = derivatives(problem, budget, z, _STENCIL)
        if not (np.isfinite(gradient).all() and np.isfinite(H).all()):
            break
        step = newton_step(gradient, H)
        if np.abs(step).max() < 1e-11:
            break
        tries = np.clip(z + _SHRINK[:, None] * step, low, high)
        values = problem.values(tries, budget)
        # close to the minimum values say nothing any more, the derivatives still do
        close = np.abs(step).max() < 1e-3 and values[0] <= value + 1e-11 * max(1.0, abs(value))
        best = 0 if close else int(np.argmin(values))
        if not close and values[best] >= value:
            break
        z, value = tries[best], min(float(values[best]), value)
    return _kinked(problem, budget, z, value, low, high)


def newton_step(gradient: Array, H: Array) -> Array:
    """Return a step down: Newton's where second derivatives are positive, along the gradient where they are not."""
    values, vectors = np.linalg.eigh(H)
    least = 1e-3 * max(float(np.abs(values).max()), 1e-300)
    step = -vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), least))
    longest = float(np.abs(step).max())
    return np.asarray(step * min(1.0, _LONGEST / longest) if longest > 0 else step)


def _kinked(problem: Problem, budget: float, z: Array, value: float, low: Array, high: Array) -> tuple[Array, float]:
    """Return a point from which no step along an axis goes down, for functions with kinks; unchanged where smooth."""
    k = len(z)
    directions = np.vstack([np.eye(k), -np.eye(k)])
    _, gradient, H = derivatives(problem, budget, z, _STENCIL)
    if np.isfinite(gradient).all() and np.isfinite(H).all() and np.abs(newton_step(gradient, H)).max() < CLOSE:
        # differences that straddle a kink look like a valley, whose bottom is not where the kink is
        here = float(problem.values(z[None], budget)[0])
        near = np.clip(z + (_NEARBY[:, None, None] * directions).reshape(-1, k), low, high)
        if (problem.values(near, budget) >= here - 1e-11 * max(1.0, abs(here))).all():
            return z, value
        value = here
    size = np.full(k, 0.1)
    for _ in range(400):
        tries = np.clip(z + directions * size, low, high)
        values = problem.values(tries, budget)
        best = int(np.argmin(values))
        if values[best] < value:
            z, value = tries[best], float(values[best])
        else:
            size = size * 0.5
            if size.max() < 1e-9:
                break
    return z, value


def _certified(
    problem: Problem, budget: float, z: Array, value: float, box: tuple[Array, Array], counts: tuple[int, int]
) -> Minimum:
    """Return the minimum with what certifies it, or what it is instead."""
    low, high = box
    k = len(z)
    point = _point(problem, z, budget)
    starts, agreed = counts
    _, gradient, H = derivatives(problem, budget, z, _STENCIL)
    move, curvature = math.inf, math.nan
    if np.isfinite(gradient).all() and np.isfinite(H).all():
        curvature = float(np.linalg.eigvalsh(H)[0])
        if curvature > 0:
            move = float(np.abs(np.linalg.solve(H, gradient)).max())
    falling = _at_ends(problem, z, point, low, high)
    about = {"move": move, "curvature": curvature, "starts": starts, "agreed": agreed, "box": box}
    # a curvature that rounding alone would give is none: the function is flat there
    noise = 1e-13 * max(1.0, abs(value)) / _STENCIL**2
    if move < CLOSE and curvature > noise and not falling:
        return Minimum("interior", point, value, z, **about)  # type: ignore[arg-type]
    if not falling:
        sizes = np.array([1e-6, 1e-4, 1e-2])
        rng = np.random.default_rng(0)
        directions = np.vstack([np.eye(k), -np.eye(k), rng.standard_normal((16, k))])
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        around = (z + sizes[:, None, None] * directions).reshape(-1, k)
        rise = problem.values(around, budget).reshape(len(sizes), -1) - value
        # what rounding alone would give is no rise: the function is flat there
        least = 1e-11 * max(1.0, abs(value))
        if (rise >= 0).all() and (rise[-1] > least).all():
            return Minimum("kink", point, value, z, **about)  # type: ignore[arg-type]
    return Minimum("edge", point, value, z, falling=falling, **about)  # type: ignore[arg-type]


def _at_ends(problem: Problem, z: Array, point: Mapping[str, float], low: Array, high: Array) -> dict[str, bool]:
    """Return what lies at an end of where was looked: symbol to whether it is the lower one."""
    found = {}
    for i, axis in enumerate(problem.axes):
        slack = 1e-3 * min(1.0, high[i] - low[i])
        if z[i] <= low[i] + slack or z[i] >= high[i] - slack:
            found[axis.symbol] = bool(z[i] <= low[i] + slack)
    closing = problem.closing
    if closing is not None:
        at = float(closing.coordinate(point[closing.symbol]))
        if at <= closing.ends[0] + 2 * _STENCIL * len(z) or at >= closing.ends[1] - 2 * _STENCIL * len(z):
            found[closing.symbol] = at <= closing.ends[0] + 1.0
    return found


def _point(problem: Problem, z: Array, budget: float) -> dict[str, float]:
    return {s: float(x[0]) for s, x in problem.columns(z[None], budget).items()}
