r"""What a law tends to when every scale variable grows without end: the irreducible loss, if there is one.

The constant E of `E + A*N**-a + B*exp(-(N/D)**k)` is not what the law falls to, and of `E + A*N**-a` with a < 0 nothing
is. So the limit is computed: all scale variables are multiplied by $10^k, 10^{2k}, 10^{3k}$, ratios kept, and the three
values are extrapolated (Aitken 1926), which is exact for a constant and one power.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from sld.data.table import Table
from sld.formula.evaluation import evaluate
from sld.formula.expression import Expression, Node

_DECADES = (80, 40, 20, 10)  # the first that stays within the range of floating-point numbers
_REACHED = 1e-4  # of the law's change since the data: how close the last value has to be to the limit
_DIFFERS = 1e-3  # relative
_NOTHING = 1e-9  # of the change: rounding, and powers that are not quite gone
_ROUNDING = 1e-12  # of a value: ratios of scales are kept up to this, and how far differs between processors
_FLOOR = re.compile(r"[EL](\d*|_\w+)")


def limits(
    expression: Expression, constants: Mapping[str, Mapping[str, float]], table: Table
) -> dict[str, float | None]:
    """Return what the formula tends to with scale, by group; None where it grows or falls without end.

    >>> from sld.data.table import table_from
    >>> table = table_from({"N": [1e6, 1e7], "loss": [3.9, 3.1]}, target="loss", scale="N")
    >>> constants = {"all": {"E": 1.7, "A": 40.0, "a": 0.25}}
    >>> limits(table.parse("E + A*N**-a"), constants, table)["all"]
    1.7

    It starts from the largest row of each group, whose other variables stay as they are. Groups where it cannot be
    told are left out: `log(N)**-a` is far from its limit at any number that there is. Empty where the formula has no
    scale variable.
    """
    if not any(v.role == "scale" and v.symbol in expression.tree.names for v in table.variables):
        return {}
    found = {g: _limit(expression, constants[g], _largest(table, k), table) for k, g in enumerate(table.groups)}
    return {g: None if math.isinf(v) else v for g, v in found.items() if not math.isnan(v)}


def floor_of(expression: Expression) -> str | None:
    """Return the constant that reads like the irreducible loss: an E or L that stands alone in the outermost sum."""
    names = {t.name for t in _summands(expression.tree) if t.op == "name"} - set(expression.variables)
    alone = [name for name in names if _FLOOR.fullmatch(name)]
    return alone[0] if len(alone) == 1 else None


def differs(limit: float | None, constant: float) -> bool:
    """Whether a limit is not the value of the constant that reads like it."""
    return limit is None or abs(limit - constant) > _DIFFERS * max(abs(limit), abs(constant))


def _summands(node: Node) -> list[Node]:
    if node.op == "+":
        return _summands(node.args[0]) + _summands(node.args[1])
    return _summands(node.args[0]) if node.op == "-" else [node]


def _largest(table: Table, group: int) -> dict[str, float]:
    rows = np.flatnonzero(table.group_index == group)
    size = np.zeros(len(rows))
    for i, v in enumerate(table.variables):
        if v.role == "scale":
            x = table.X[rows, i]
            size += x * math.log(10.0) / v.units_per_decade if v.log else np.log(np.maximum(x, 1e-300))
    return dict(zip(table.symbols, table.X[rows[int(size.argmax())]].tolist(), strict=True))


def _limit(expression: Expression, constants: Mapping[str, float], start: Mapping[str, float], table: Table) -> float:
    """Return the limit, infinity where there is none, NaN where it cannot be told."""
    for decades in _DECADES:
        steps = np.array([0.0, decades, 2 * decades, 3 * decades])
        with np.errstate(over="ignore"):  # a scale that ends so far out that this is infinite has no value there
            columns = {
                v.symbol: np.full(4, start[v.symbol])
                if v.role != "scale"
                else start[v.symbol] + steps * v.units_per_decade
                if v.log
                else start[v.symbol] * 10.0**steps
                for v in table.variables
            }
        here, one, two, three = evaluate(expression, columns, constants).tolist()
        if not all(math.isfinite(v) for v in (here, one, two, three)):
            continue
        first, second = two - one, three - two
        if abs(second) <= _ROUNDING * max(abs(three), abs(here - three)):
            return float(three)
        if not abs(second) < (1.0 - _REACHED) * abs(first):
            return math.inf
        limit = three - second * second / (second - first)
        change = max(abs(here - limit), 1e-300)
        if abs(limit) < _NOTHING * change:
            limit = 0.0
        return limit if abs(limit - three) < max(_REACHED * change, 0.05 * abs(two - limit)) else math.nan
    return math.nan
