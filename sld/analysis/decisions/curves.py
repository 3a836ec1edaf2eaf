"""A law as curves for decisions: its centre and its draws, for one target in one group, and its optimum at a cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sld.analysis.decisions.cost import Cost
from sld.analysis.decisions.surface import seen
from sld.core.arrays import Array
from sld.core.errors import UsageError, suggest
from sld.data.card import Target, Variable
from sld.formula.evaluation import evaluate
from sld.formula.expression import Expression, number, substitute, to_text
from sld.laws.draws import CurveDraws, curve_draws
from sld.laws.law import Law

DRAWS = 400  # enough for the 5 % and 95 % quantiles to a few per cent of the interval, and quick

Columns = Mapping[str, Array]


@dataclass(frozen=True)
class Curve:
    """One target of a law in one group.

    Attributes:
        name: What the curve is called in what is printed.
        law: The law.
        target: Its target.
        group: The group; None where rows are not grouped.
        fixed: Symbol to value of the variables that are held.
    """

    name: str
    law: Law
    target: Target
    group: str
    fixed: Mapping[str, float]

    @property
    def expression(self) -> Expression:
        """The formula."""
        return self.law.expressions[self.target.column]

    @property
    def constants(self) -> Mapping[str, float]:
        """Values of the constants."""
        return self.law.constants[self.target.column][self.group]

    @property
    def text(self) -> str:
        """The formula with the constants filled in."""
        filled = {c: number(float(f"{v:.6g}")) for c, v in self.constants.items()}
        return to_text(substitute(self.expression.tree, filled))

    @cached_property
    def free(self) -> tuple[Variable, ...]:
        """The variables of the formula that are not held."""
        used = self.expression.used_variables
        return tuple(v for v in self.law.variables if v.symbol in used and v.symbol not in self.fixed)

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Symbol to least and largest value among the rows that the law was fitted to; empty where it does not say."""
        return seen(self.law, self.group)

    def values(self, columns: Columns) -> Array:
        """Return the law at points (n_points,); NaN or infinite outside its domain."""
        return evaluate(self.expression, self._all(columns), self.constants)

    def draws(self, n: int = DRAWS, seed: int = 0) -> CurveDraws | None:
        """Return curves that might as well be this one; None for a law without intervals."""
        if self.law.intervals is None:
            return None
        return curve_draws(self.law, self.target.column, self.group, n=n, seed=seed)

    def drawn(self, draws: CurveDraws, columns: Columns) -> Array:
        """Return draws at points (n, n_points)."""
        return draws.values(self._all(columns))

    def _all(self, columns: Columns) -> dict[str, Array]:
        n = len(next(iter(columns.values())))
        held = {s: np.full(n, v) for s, v in self.fixed.items()}
        # variables that the formula does not use may still be asked for by the noise
        idle = {v.symbol: np.full(n, self._middle(v)) for v in self.law.variables}
        return {**idle, **held, **columns}

    def _middle(self, variable: Variable) -> float:
        low, high = self.ranges.get(variable.symbol, (1.0, 1.0))
        return math.sqrt(low * high) if low > 0 else (low + high) / 2


def curve_of(
    law: Law, *, name: str = "the law", target: str | None = None, group: str | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Curve:  # fmt: skip
    """Return one target of a law in one group as a curve.

    Args:
        law: The law.
        name: What to call it.
        target: Column of the target; needed only where there are several.
        group: The group; needed only where there are several.
        fixed: Column or symbol to the value at which a variable is held.

    Raises:
        UsageError: There is no such target, group or variable, or several and none is named.
    """
    columns = [t.column for t in law.targets]
    if target is None and len(columns) > 1:
        raise UsageError(f"{name} has {len(columns)} targets; name one of {', '.join(columns)}")
    if target is not None and target not in columns:
        raise UsageError(f"{name}: " + suggest(target, columns, kind="target"))
    if group is None and len(law.groups) > 1:
        some = ", ".join(law.groups[:5]) + (" ..." if len(law.groups) > 5 else "")
        raise UsageError(f"{name} has {len(law.groups)} groups ({some}); name one")
    if group is not None and group not in law.groups:
        raise UsageError(f"{name}: " + suggest(group, law.groups, kind="group"))
    held = {}
    for column, value in (fixed or {}).items():
        found = [v.symbol for v in law.variables if column in (v.column, v.symbol)]
        if not found:
            raise UsageError(f"{name}: " + suggest(column, [v.column for v in law.variables], kind="variable"))
        held[found[0]] = float(value)
    aimed = law.targets[0 if target is None else columns.index(target)]
    return Curve(name, law, aimed, law.groups[0] if group is None else group, held)


# --- the optimum at a cost -----------------------------------------------------------------------------------------

_GRID = 400  # sizes of the first look, from one parameter to one token: a tenth of a decade at 1e24
_FINE = 61  # sizes about the optimum of the law, for its draws
_REACH = math.log(300.0)  # how far from the law's own optimum those of its draws are looked for, either side
_SMOOTH = 3  # grid points on either side of the lowest one through which a parabola is laid
_FLAT = 1e-9  # of a value: what is smaller is rounding
_HALVINGS = 55  # of an interval of sizes by the golden section: to 1e-12 of it, far beyond what a flat minimum shows


@dataclass(frozen=True)
class Optima:
    """Where a law is best at each cost.

    Attributes:
        C: (n_costs,) the costs.
        N: (n_costs,) the first variable at the optimum; NaN where there is none between the ends.
        D: (n_costs,) the second one.
        value: (n_costs,) of the target there.
        drawn_N: (n, n_costs) of the draws; 0 or infinite where a draw falls towards an end. Empty without draws.
        drawn_D: (n, n_costs).
        drawn: (n, n_costs) the values of the draws at their own optima.
    """

    C: Array
    N: Array
    D: Array
    value: Array
    drawn_N: Array
    drawn_D: Array
    drawn: Array


Second = Callable[[Array, Array], Array]  # cost and first variable to the second one


def second_of(cost: Cost, first: str, second: str) -> Second:
    """Return what gives the second variable from a cost and the first one; NaN where nothing costs so little or much.

    >>> from sld.analysis.decisions.cost import cost_of
    >>> from sld.data.card import Variable
    >>> D = second_of(cost_of("6*N*D", [Variable("N"), Variable("D")]), "N", "D")
    >>> D(np.array([6e18]), np.array([1e9])).round(-3)
    array([1.e+09])
    """
    if (power := _power(cost, first, second)) is not None:
        scale, p, q = power
        return lambda C, N: np.exp((np.log(C) - scale - p * np.log(N)) / q)

    def found(C: Array, N: Array) -> Array:
        C, N = np.broadcast_arrays(C, N)
        return inverse(lambda x: cost({first: N.ravel(), second: x.ravel()}).reshape(C.shape), C)

    return found


def _power(cost: Cost, first: str, second: str) -> tuple[float, float, float] | None:
    """Return logarithm of the factor and the powers of a cost that is a product of powers; None for any other."""
    z = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [25.0, 20.0], [3.0, 40.0]])  # of log sizes and log data
    with np.errstate(all="ignore"):
        spent = np.log(cost({first: np.exp(z[:, 0]), second: np.exp(z[:, 1])}))
    scale, p, q = float(spent[0]), float(spent[1] - spent[0]), float(spent[2] - spent[0])
    if not np.isfinite(spent).all() or not q > 0 or np.abs(scale + z @ [p, q] - spent).max() > _SAME:
        return None
    return scale, p, q


_SAME = 1e-10  # of a logarithm: rounding
_LOW, _HIGH = -40.0, 120.0  # of a logarithm: from less than a token to more than anybody could count
_HALVED = 70  # times, from there to rounding


def inverse(spent: Callable[[Array], Array], C: Array) -> Array:
    """Return where a growing cost reaches C, any shape; NaN where it never does.

    Args:
        spent: From values, shaped as C, to their cost.
        C: What to reach.
    """
    with np.errstate(all="ignore"):
        zero = np.zeros(C.shape)
        below, above = zero + _LOW, zero + _HIGH

        def at(z: Array) -> Array:
            return spent(np.exp(z))

        inside = (at(below) <= C) & (at(above) >= C)
        # what is a power of the variable is solved by one step on the log axis
        start = at(zero)
        z = np.log(C / start) / np.log(at(zero + 1.0) / start)
        exact = np.abs(np.log(at(z) / C)) < 1e-12
        if not exact[inside].all():
            for _ in range(_HALVED):
                middle = (below + above) / 2
                more = at(middle) > C
                below, above = np.where(more, below, middle), np.where(more, middle, above)
            z = np.where(exact, z, (below + above) / 2)
        return np.where(inside, np.exp(z), math.nan)


def optima(curve: Curve, C: Array, names: Sequence[str], second: Second, draws: CurveDraws | None = None) -> Optima:
    """Return where a curve is best at each cost, and where its draws are.

    The law's own optimum is found on a grid and then by the golden section, so to rounding. Draws are looked at on one
    grid about it, and a parabola through the points around the lowest one gives the minimum between them.

    Args:
        curve: A law of two variables.
        C: (n_costs,) the costs.
        names: Symbols of the two.
        second: What gives the second one from a cost and the first one.
        draws: Its draws.
    """
    sign = 1.0 if curve.target.better == "lower" else -1.0
    one, other = names

    def value(z: Array) -> Array:
        """Return the target at log sizes (n_costs, n), to be made small; infinite where the law has none."""
        N = np.exp(z)
        columns = {one: N.ravel(), other: second(C[:, None], N).ravel()}
        found = sign * curve.values(columns).reshape(z.shape)
        return np.where(np.isfinite(found), found, math.inf)

    # from one unit of the first variable to one of the second
    with np.errstate(all="ignore"):
        most = np.log(C / np.maximum(C / second(C, np.ones(len(C))), 1e-300))
    most = np.where(np.isfinite(most) & (most > 1.0), most, 60.0)
    shares = np.linspace(0.0, 1.0, _GRID)
    z = most[:, None] * shares
    grid = value(z)
    k = np.argmin(grid, axis=1)
    low, edges = grid[np.arange(len(C)), k], np.minimum(grid[:, 0], grid[:, -1])
    # a law that is as good at every size has its lowest point where rounding puts it
    with np.errstate(invalid="ignore"):
        inside = (k > 0) & (k < _GRID - 1) & np.isfinite(low) & (edges - low > _FLAT * np.abs(low))
    k = np.clip(k, 1, _GRID - 2)
    rows = np.arange(len(C))
    best = _golden(value, z[rows, k - 1], z[rows, k + 1])
    N = np.where(inside, np.exp(best), math.nan)
    D = second(C, N)
    least = np.where(inside, sign * value(best[:, None])[:, 0], math.nan)
    none = np.empty((0, len(C)))
    if draws is None or not inside.any():
        return Optima(C, N, D, least, none, none, none)
    steps = np.linspace(-_REACH, _REACH, _FINE)
    about = np.where(inside, best, 0.0)[:, None] + steps
    sizes = np.exp(about)
    columns = {one: sizes.ravel(), other: second(C[:, None], sizes).ravel()}
    drawn = sign * curve.drawn(draws, columns).reshape(draws.n, len(C), _FINE)
    at, lowest = _lowest(np.where(np.isfinite(drawn), drawn, math.inf), steps)
    with np.errstate(all="ignore"):
        drawn_N = np.where(inside, np.exp(best + at), math.nan)
        drawn_D = np.where(np.isfinite(drawn_N) & (drawn_N > 0), second(C, drawn_N), math.nan)
    drawn_D = np.where(drawn_N == 0.0, math.inf, np.where(np.isposinf(drawn_N), 0.0, drawn_D))
    return Optima(C, N, D, least, drawn_N, drawn_D, sign * lowest)


def _golden(value: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Return minima between brackets (n_costs,), by the golden section (Kiefer 1953)."""
    ratio = (math.sqrt(5.0) - 1) / 2
    for _ in range(_HALVINGS):
        width = ratio * (high - low)
        left, right = high - width, low + width
        both = value(np.column_stack([left, right]))
        falls = both[:, 0] > both[:, 1]
        low, high = np.where(falls, left, low), np.where(falls, high, right)
    return (low + high) / 2


def _lowest(values: Array, steps: Array) -> tuple[Array, Array]:
    """Return where values (n, n_costs, n_steps) are lowest next to the middle, and how low; infinite towards an end.

    Each curve is followed downhill from the middle step, where the law itself is lowest: a draw that turns down once
    more far outside has not its optimum there.
    """
    last = len(steps) - 1
    centre = last // 2
    with np.errstate(all="ignore"):
        rises = np.diff(values, axis=2) >= 0
    right, left = rises[:, :, centre:], ~rises[:, :, :centre][:, :, ::-1]
    n_right = np.where(right.any(axis=2), np.argmax(right, axis=2), last - centre)
    n_left = np.where(left.any(axis=2), np.argmax(left, axis=2), centre)
    ends = np.stack([centre + n_right, centre - n_left], axis=2)
    there = np.take_along_axis(values, ends, axis=2)
    k = np.take_along_axis(ends, np.argmin(there, axis=2)[:, :, None], axis=2)[:, :, 0]
    least = np.min(there, axis=2)
    near = np.clip(k, _SMOOTH, last - _SMOOTH)[:, :, None] + np.arange(-_SMOOTH, _SMOOTH + 1)
    x, y = steps[near], np.take_along_axis(values, near, axis=2)
    u = steps[: 2 * _SMOOTH + 1] - steps[_SMOOTH]
    solve = np.linalg.pinv(np.vander(u, 3, increasing=True))
    with np.errstate(all="ignore"):
        c0, c1, c2 = np.moveaxis(y @ solve.T, 2, 0)
        vertex = -c1 / (2 * c2)
        sound = (c2 > 0) & (np.abs(vertex) <= u[-1])
        at = np.where(sound, x[:, :, _SMOOTH] + vertex, steps[k])
        low = np.where(sound, np.minimum(c0 - c1 * c1 / (4 * c2), least), least)
    at = np.where(k == 0, -math.inf, np.where(k == last, math.inf, at))
    lost = ~np.isfinite(least)
    return np.where(lost, math.nan, at), np.where(lost, math.nan, low)
