r"""What one thing is worth in terms of another: streams as parameters, experts as dense size, repeats as fresh tokens.

A run $x$ has a value of the law, and something else would have given the same: the $y$ of one variable at which

$$ f(x_\mathrm{ref}, y) = f(x) , $$

with the other variables of the reference as they are in the run, unless they are given otherwise (one stream, one
expert, full precision) or tied to $y$ (as many unique tokens as tokens). Run and reference may have laws of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.decisions.allocation import NoOptimum
from sld.analysis.decisions.estimate import Estimate, estimate
from sld.analysis.decisions.minimise import crossing
from sld.analysis.decisions.surface import Surface, axis_of, check_shares
from sld.core.arrays import Array
from sld.core.errors import UsageError, suggest
from sld.core.numbers import short

if TYPE_CHECKING:
    import pandas as pd

_WIDE = 1e15  # times smaller and larger than the run: where the equal is looked for
_GRID = 1201  # points of it
_NEAR = 1e3  # times around the law's own answer: where that of each draw is looked for
_FINE = 801


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

    def summary(self) -> str:
        """Return what was found, in a sentence."""
        run = ", ".join(f"{s} = {short(x)}" for s, x in self.run.items())
        other = ", ".join(f"{s} = {short(x)}" for s, x in self.reference.items())
        times = f", {self.factor.text()} times as much" if self.factor is not None else ""
        among = f" where {other}" if other else ""
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
    _check(surface, run, "the run")
    used = {s for c in there.weights for s in there.law.expressions[c].used_variables}
    held = {s: x for s, x in {**run, **reference}.items() if s in used and s != symbol and s not in ties}
    _check(there, {**held, symbol: 1.0, **dict.fromkeys(ties, 1.0)}, "the reference")
    if symbol not in used:
        raise UsageError(f"{symbol} plays no part in the law of the reference: {there.law.text()}")
    _check_shares(surface, run, "the run")
    if symbol not in {v.symbol for v in there.law.variables if v.role == "proportion"}:
        _check_shares(there, held, "the reference")
    value = float(surface.value({s: np.array([float(x)]) for s, x in run.items()})[0])
    if not math.isfinite(value):
        raise UsageError("the law has no value for the run; is it within its domain?")

    def columns(y: Array) -> dict[str, Array]:
        return {s: np.full(len(y), float(x)) for s, x in held.items()} | {symbol: y} | dict.fromkeys(ties, y)

    grid, log = _looked_at(there, symbol, run)
    equal = _nearest(grid, there.value(columns(grid)) - value, run.get(symbol), log)
    if equal is None:
        reached = there.sign * there.value(columns(grid))
        known = reached[np.isfinite(reached)]
        span = f"{short(float(known.min()), 5)} to {short(float(known.max()), 5)}" if len(known) else "no value at all"
        at = ", ".join(f"{s} = {short(x)}" for s, x in held.items())
        raise NoEqual(
            f"no {symbol} gives {surface.name} = {short(surface.sign * value, 5)}{f' at {at}' if at else ''}: from "
            f"{short(grid[0])} to {short(grid[-1])} it gives {span}"
        )
    low, high = equal
    # both ends are asked: where the run's own value lies on the grid, one of them may be the equal itself
    at_low, at_high = (float(x) for x in there.value(columns(np.array([low, high]))))
    sign = 1.0 if at_high > at_low else -1.0

    def excess(z: Array) -> Array:
        y = np.exp(z) if log else z
        return np.asarray(sign * (there.value(columns(y)) - value))

    ends = [np.array([math.log(e) if log else e]) for e in (low, high)]
    found = float(crossing(excess, *ends)[0])
    if math.isnan(found):  # rounding may put the equal a step outside, then the nearer end is it
        found = float(ends[0 if abs(at_low - value) <= abs(at_high - value) else 1][0])
    y = math.exp(found) if log else found
    drawn, values = _drawn(surface, there, run, columns, y, log)
    shown = None if values is None else surface.sign * values
    return Worth(
        law="; ".join(surface.law.text(c) for c in surface.weights),
        target=surface.name,
        run=dict(run),
        symbol=symbol,
        reference={s: x for s, x in held.items() if run.get(s) != x},
        equal=estimate(y, drawn),
        factor=_factor(there, symbol, run.get(symbol), y, drawn),
        value=estimate(surface.sign * value, shown),
        draws=0 if drawn is None else surface.n,
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
    middle = here if here is not None else axis.low * 1e3
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
    surface: Surface, there: Surface, run: Mapping[str, float], columns: Any, y: float, log: bool
) -> tuple[Array | None, Array | None]:
    """Return what the run is worth in each draw, and its value; None for laws without intervals."""
    if not (surface.n and there.n):
        return None, None
    value = surface.drawn({s: np.array([float(x)]) for s, x in run.items()})[:, 0]
    z = np.linspace(-1.0, 1.0, _FINE)
    grid = y * _NEAR**z if log else y + z * max(abs(y), 1e-300)
    excess = there.drawn(columns(grid)) - value[:, None]
    found = np.full(len(value), math.nan)
    for k, f in enumerate(excess):
        at = _nearest(grid, f, y, log)
        if at is None:
            continue
        i = int(np.searchsorted(grid, at[0]))
        share = f[i] / (f[i] - f[i + 1])
        found[k] = grid[i] * (grid[i + 1] / grid[i]) ** share if log else grid[i] + share * (grid[i + 1] - grid[i])
    return found, value
