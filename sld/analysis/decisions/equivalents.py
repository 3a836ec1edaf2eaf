r"""What one thing is worth in terms of another: streams as parameters, experts as dense size, repeats as fresh tokens.

A run $x$ has a value of the law, and something else would have given the same: the $y$ of one variable at which

$$ f(x_\mathrm{ref}, y) = f(x) , $$

with the other variables of the reference as they are in the run, unless they are given otherwise (one stream, one
expert, full precision) or tied to $y$ (as many unique tokens as tokens). Run and reference may have laws of their own.
In compute, $f(x_\mathrm{ref}, y)$ is what the best run of the reference for a compute $y$ gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.decisions.allocation import NoOptimum
from sld.analysis.decisions.cost import Cost, cost_of, find
from sld.analysis.decisions.curves import curve_of, optima, second_of
from sld.analysis.decisions.estimate import Estimate, estimate
from sld.analysis.decisions.minimise import crossing
from sld.analysis.decisions.surface import Surface, axis_of, check_shares
from sld.core.arrays import Array
from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact, short
from sld.laws.catalogue import kind_of

if TYPE_CHECKING:
    import pandas as pd

_WIDE = 1e15  # times smaller and larger than the run: where the equal is looked for
_GRID = 1201  # points of it
_TRAINING = 1e21  # operations: in the middle of trainings, small and large
_NEAR = 1e3  # times around the law's own answer: where that of each draw is looked for
_FINE = 801
_PER_DECADE = 12  # of compute, where every point is an optimum of its own: lines between are right to 1e-4 of a loss
COMPUTE = "C"  # what a run is worth of in compute, where the law of the reference has no such variable


class NoEqual(NoOptimum):
    """No value of the variable gives the same; the message says what it can give."""


@dataclass(frozen=True)
class Worth:
    """What a run is worth in one variable.

    Attributes:
        law: The formula of the run with its constants.
        target: What is equal.
        run: Symbol to value of the run.
        symbol: The variable that it is said in.
        reference: Symbol to value of what else the reference has.
        equal: The value of the variable at which the reference gives the same.
        factor: That in terms of the run's own value, where it has one.
        value: Of the target, in both.
        draws: How many draws the intervals are made from; 0 for laws without intervals.
        cost: What compute counts, where it is said in compute; else nothing.
    """

    law: str
    target: str
    run: Mapping[str, float]
    symbol: str
    reference: Mapping[str, float]
    equal: Estimate
    factor: Estimate | None
    value: Estimate
    draws: int
    cost: str = ""

    def summary(self) -> str:
        """Return what was found, in a sentence."""
        run = ", ".join(f"{s} = {short(x)}" for s, x in self.run.items())
        other = ", ".join(f"{s} = {short(x)}" for s, x in self.reference.items())
        times = f", {self.factor.text()} times as much" if self.factor is not None else ""
        among = f" where {other}" if other else ""
        if self.cost:
            among += f" ({self.cost}, split at its best)"
        return f"{run} is worth {self.symbol} = {self.equal.text()}{among}{times} ({self.target} {self.value.text(5)})"

    def to_frame(self) -> pd.DataFrame:
        """Return one row: the run, what it is worth, and the ends of the interval."""
        import pandas as pd

        row: dict[str, Any] = {**self.run, "worth": self.symbol, "equal": self.equal.value}
        if self.equal.low is not None:
            row |= {"equal_low": self.equal.low, "equal_high": self.equal.high}
        if self.factor is not None:
            row["factor"] = self.factor.value
        return pd.DataFrame([row | {self.target: self.value.value}])

    def to_json(self) -> dict[str, Any]:
        """Return everything in JSON's own types."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the sentence."""
        return self.summary()


def worth(
    surface: Surface,
    run: Mapping[str, float],
    symbol: str,
    reference: Mapping[str, float],
    ties: Mapping[str, str],
    other: Surface | None = None,
) -> Worth:
    """Return what a run is worth in one variable of a reference.

    Args:
        surface: The law of the run.
        run: Symbol to value of every variable of the law.
        symbol: The variable of the reference that is looked for.
        reference: What the reference has otherwise than the run.
        ties: Variables of the reference that are as large as `symbol`.
        other: The law of the reference, if not that of the run.

    Raises:
        UsageError: A variable is unknown, or has no value.
        NoEqual: No value of the variable gives the same.
    """
    there = other or surface
    held = _held(surface, run, symbol, reference, ties, there)

    def columns(y: Array) -> dict[str, Array]:
        return {s: np.full(len(y), float(x)) for s, x in held.items()} | {symbol: y} | dict.fromkeys(ties, y)

    grid, log = _looked_at(there, symbol, run)
    near = _NEAR ** np.linspace(-1.0, 1.0, _FINE) if log else np.linspace(-1.0, 1.0, _FINE)
    along = _Along(
        lambda y: there.value(columns(y)), lambda y: there.drawn(columns(y)), grid, near, log, held, symbol,
        run.get(symbol),
    )  # fmt: skip
    y, drawn, value = _equal(surface, run, along, there)
    return _worth(surface, run, along, y, _factor(there, symbol, run.get(symbol), y.value, drawn), value, drawn)


def worth_in_compute(
    surface: Surface, run: Mapping[str, float], reference: Mapping[str, float], other: Surface | None, cost: str | None
) -> Worth:
    """Return what a run is worth in compute: for how much the best run of a reference gives the same.

    Args:
        surface: The law of the run.
        run: Symbol to value of every variable of the law.
        reference: What the reference has otherwise than the run, beside its size and data.
        other: The law of the reference, if not that of the run.
        cost: What the run costs, as `sld.allocate` takes it; the best runs of the reference cost 6*N*D.

    Raises:
        UsageError: The law of the reference is not one of a size and data, or a variable has no value.
        NoEqual: No compute gives the same.
    """
    there = other or surface
    if len(surface.weights) > 1:
        raise UsageError(f"what a run is worth in compute is said of one target, not of {surface.name}")
    (column,) = surface.weights
    used = {s for c in there.weights for s in there.law.expressions[c].used_variables}
    variables = [v for v in there.law.variables if v.symbol in used]
    names = [v.symbol for v in (find(variables, "N"), find(variables, "D")) if v is not None]
    if len(names) < 2:
        raise UsageError(
            "worth in compute needs a law of the reference in parameters and tokens, whose best split of a compute "
            f"is known; it has {', '.join(sorted(used))}"
        )
    if given := [s for s in names if s in reference]:
        raise UsageError(f"the best runs of a compute have sizes of their own: leave {given[0]} of the reference out")
    held = {s: x for s, x in _held(surface, run, names[0], reference, {}, there).items() if s not in names}
    curve = curve_of(there.law, target=next(iter(there.weights)), group=there.group, fixed=held)
    paid = cost_of(None, [v for v in variables if v.symbol in names])
    second = second_of(paid, *names)
    own = _paid(surface, run, cost)

    def best(C: Array) -> Array:
        return there.sign * optima(curve, C, names, second).value

    def drawn(C: Array) -> Array:
        return there.sign * optima(curve, C, names, second, there.draws[column]).drawn

    wide, near = math.log10(_WIDE), math.log10(_NEAR)
    grid = own * np.logspace(-wide, wide, int(2 * wide * _PER_DECADE) + 1)
    steps = np.logspace(-near, near, int(2 * near * _PER_DECADE) + 1)
    along = _Along(best, drawn, grid, steps, True, held, COMPUTE, own)
    y, draws, value = _equal(surface, run, along, there)
    factor = estimate(y.value / own, None if draws is None else draws / own)
    return _worth(surface, run, along, y, factor, value, draws, paid.formula)


def _paid(surface: Surface, run: Mapping[str, float], cost: str | None) -> float:
    """Return what a run costs."""
    law = surface.law
    model: Cost = cost_of(cost, [v for v in law.variables if v.symbol in run])
    own = float(model({s: np.array([float(x)]) for s, x in run.items()})[0])
    if not (math.isfinite(own) and own > 0):
        raise UsageError(f"the run costs {exact(own)} by {model.formula}; it must be above 0")
    return own


@dataclass(frozen=True)
class _Along:
    """A reference along what is looked for.

    Attributes:
        value: From (n,) values of the variable to what the reference gives, to be small.
        drawn: The same for each draw, (n_draws, n).
        grid: Where the equal is looked for.
        near: Times its value (or beside it, in terms of it) where that of each draw is looked for.
        log: Whether these are spaced by factors.
        held: What the reference has otherwise.
        symbol: The variable.
        here: The run's own value, where it has one.
    """

    value: Callable[[Array], Array]
    drawn: Callable[[Array], Array]
    grid: Array
    near: Array
    log: bool
    held: Mapping[str, float]
    symbol: str
    here: float | None


def _held(
    surface: Surface, run: Mapping[str, float], symbol: str, reference: Mapping[str, float], ties: Mapping[str, str],
    there: Surface,
) -> dict[str, float]:  # fmt: skip
    """Return the values of the reference's other variables, when run and reference are what can be compared."""
    _check(surface, run, "the run")
    used = {s for c in there.weights for s in there.law.expressions[c].used_variables}
    held = {s: x for s, x in {**run, **reference}.items() if s in used and s != symbol and s not in ties}
    _check(there, {**held, symbol: 1.0, **dict.fromkeys(ties, 1.0)}, "the reference")
    if symbol not in used:
        raise UsageError(f"{symbol} plays no part in the law of the reference: {there.law.text()}")
    _check_shares(surface, run, "the run")
    if symbol not in {v.symbol for v in there.law.variables if v.role == "proportion"}:
        _check_shares(there, held, "the reference")
    return held


def _equal(
    surface: Surface, run: Mapping[str, float], along: _Along, there: Surface
) -> tuple[Estimate, Array | None, Estimate]:
    """Return where the reference gives what the run does, where that is in each draw, and what both give."""
    value = float(surface.value({s: np.array([float(x)]) for s, x in run.items()})[0])
    if not math.isfinite(value):
        raise UsageError("the law has no value for the run; is it within its domain?")
    grid, log = along.grid, along.log
    given = along.value(grid)
    equal = _nearest(grid, given - value, along.here, log)
    if equal is None:
        reached = there.sign * given
        known = reached[np.isfinite(reached)]
        span = f"{short(float(known.min()), 5)} to {short(float(known.max()), 5)}" if len(known) else "no value at all"
        at = ", ".join(f"{s} = {short(x)}" for s, x in along.held.items())
        raise NoEqual(
            f"no {along.symbol} gives {surface.name} = {short(surface.sign * value, 5)}{f' at {at}' if at else ''}: "
            f"from {short(grid[0])} to {short(grid[-1])} it gives {span}"
        )
    low, high = equal
    # both ends are asked: where the run's own value lies on the grid, one of them may be the equal itself
    at_low, at_high = (float(x) for x in along.value(np.array([low, high])))
    sign = 1.0 if at_high > at_low else -1.0

    def excess(z: Array) -> Array:
        y = np.exp(z) if log else z
        return np.asarray(sign * (along.value(y) - value))

    ends = [np.array([math.log(e) if log else e]) for e in (low, high)]
    found = float(crossing(excess, *ends)[0])
    if math.isnan(found):  # rounding may put the equal a step outside, then the nearer end is it
        found = float(ends[0 if abs(at_low - value) <= abs(at_high - value) else 1][0])
    y = math.exp(found) if log else found
    drawn, values = _drawn(surface, there, run, along, y)
    shown = None if values is None else surface.sign * values
    return estimate(y, drawn), drawn, estimate(surface.sign * value, shown)


def _worth(
    surface: Surface, run: Mapping[str, float], along: _Along, equal: Estimate, factor: Estimate | None,
    value: Estimate, drawn: Array | None, cost: str = "",
) -> Worth:  # fmt: skip
    return Worth(
        law="; ".join(surface.law.text(c) for c in surface.weights),
        target=surface.name,
        run=dict(run),
        symbol=along.symbol,
        reference={s: x for s, x in along.held.items() if run.get(s) != x},
        equal=equal,
        factor=factor,
        value=value,
        draws=0 if drawn is None else surface.n,
        cost=cost,
    )


def _factor(surface: Surface, symbol: str, own: float | None, y: float, drawn: Array | None) -> Estimate | None:
    """Return how many times the run's own value the equal is; of the quantity where a column is its logarithm."""
    if own is None:
        return None
    variable = next(v for v in surface.law.variables if v.symbol == symbol)
    if variable.log is not None:
        nats = variable.nats_per_unit
        with np.errstate(over="ignore"):
            return estimate(float(np.exp(nats * (y - own))), None if drawn is None else np.exp(nats * (drawn - own)))
    return estimate(y / own, None if drawn is None else drawn / own) if own else None


def _check_shares(surface: Surface, point: Mapping[str, float], whose: str) -> None:
    """Refuse a mixture whose shares, all of them known, do not sum to one."""
    shares = [v.symbol for v in surface.law.variables if v.role == "proportion"]
    check_shares({s: point[s] for s in shares if s in point}, len(shares), whose)


def _check(surface: Surface, point: Mapping[str, float], whose: str) -> None:
    used = sorted({s for c in surface.weights for s in surface.law.expressions[c].used_variables})
    for name in point:
        if name not in [v.symbol for v in surface.law.variables]:
            raise UsageError(f"{whose}: " + suggest(name, [v.symbol for v in surface.law.variables], kind="variable"))
    if missing := [s for s in used if s not in point]:
        raise UsageError(f"{whose} needs a value for {', '.join(missing)}")
    if bad := [s for s, x in point.items() if not math.isfinite(x)]:
        raise UsageError(f"{whose}: {bad[0]} must be a number, got {point[bad[0]]}")


def _looked_at(surface: Surface, symbol: str, run: Mapping[str, float]) -> tuple[Array, bool]:
    """Return the values of a variable at which the equal is looked for, and whether they are spaced by factors."""
    variable = next(v for v in surface.law.variables if v.symbol == symbol)
    axis = axis_of(surface.law, variable, surface.group)
    here = run.get(symbol)
    if variable.log is not None or not axis.log or (here is not None and here <= 0):
        low, high = axis.ends
        return np.linspace(low, high, _GRID), False
    # of a reference in compute alone nothing says where to look; trainings cost 1e15 to 1e27
    usual = _TRAINING if kind_of(variable) == "compute" else axis.low * 1e3
    middle = here if here is not None else usual
    return np.geomspace(middle / _WIDE, middle * _WIDE, _GRID), True


def _nearest(grid: Array, excess: Array, here: float | None, log: bool) -> tuple[float, float] | None:
    """Return the two points between which the excess changes its sign, those nearest to the run's own value."""
    with np.errstate(all="ignore"):
        changes = np.flatnonzero(np.isfinite(excess[:-1]) & np.isfinite(excess[1:]) & (excess[:-1] * excess[1:] <= 0))
        changes = changes[excess[changes] != excess[changes + 1]]
    if not len(changes):
        return None
    z = np.log(grid) if log else grid
    middle = 0.5 * (z[0] + z[-1]) if here is None else (math.log(here) if log else here)
    k = int(changes[np.argmin(np.abs(z[changes] - middle))])
    return float(grid[k]), float(grid[k + 1])


def _drawn(
    surface: Surface, there: Surface, run: Mapping[str, float], along: _Along, y: float
) -> tuple[Array | None, Array | None]:
    """Return what the run is worth in each draw, and its value; None for laws without intervals."""
    if not (surface.n and there.n):
        return None, None
    value = surface.drawn({s: np.array([float(x)]) for s, x in run.items()})[:, 0]
    log = along.log
    grid = y * along.near if log else y + along.near * max(abs(y), 1e-300)
    excess = along.drawn(grid) - value[:, None]
    found = np.full(len(value), math.nan)
    for k, f in enumerate(excess):
        at = _nearest(grid, f, y, log)
        if at is None:
            continue
        i = int(np.searchsorted(grid, at[0]))
        share = f[i] / (f[i] - f[i + 1])
        found[k] = grid[i] * (grid[i + 1] / grid[i]) ** share if log else grid[i] + share * (grid[i + 1] - grid[i])
    return found, value
