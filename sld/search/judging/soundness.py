"""What makes constants usable at all, whatever they fit: bounds to fit them within, and the checks afterwards.

Bounds keep most forms usable at no cost: K >= 0 in `(N + K)**-a` (`formula/domain.py`), and an irreducible loss that
is not negative where the loss cannot be. What they cannot keep is refused by `Domain` and `Degeneracy`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from sld.core.arrays import Array
from sld.data.table import Table
from sld.formula.domain import Limits, is_even
from sld.formula.evaluation import walk
from sld.formula.expression import Expression, Node
from sld.search.candidates.rejection import Rejection
from sld.search.judging.degenerate import Degeneracy
from sld.search.judging.domain import Domain

_FAR = 1e60  # times the data: what vanishes there vanishes with scale
_GONE = 1e-6  # a term with constants of ordinary size is below it there, or it does not vanish
_FALLS = 0.05  # of the range of the loss, over the range of a scale variable


class Soundness:
    """Bounds and checks for the laws of one table."""

    def __init__(self, table: Table) -> None:
        """Prepare what all forms share; the points of the checks are laid out when they are first needed."""
        self.table = table
        self.domain, self.degeneracy = Domain(table), Degeneracy(table)
        self._floors = [_least(table, j) for j in range(len(table.targets))]

    def bounds(self, expression: Expression) -> dict[str, Limits]:
        """Return the bounds that keep a formula defined; none of them is on a constant that enters linearly."""
        return self.domain.bounds(expression)

    def floor(self, expression: Expression, target: int) -> dict[str, Limits]:
        """Return the bound of the constant that a positive loss falls to with scale, if the formula has one.

        The loss has to be better when lower, positive in all rows and falling with a scale variable. The constant
        stands alone in the outermost sum, and everything else there vanishes with scale, or has its least value zero
        (a valley).
        """
        least = self._floors[target]
        if least is None:
            return {}
        constant = floor_constant(expression, self.table)
        return {} if constant is None else {constant: (least, math.inf)}

    def refusal(
        self, expression: Expression, constants: Sequence[Mapping[str, float]], target: int
    ) -> Rejection | None:
        """Return why fitted constants (by group, in the table's order) make no law, or None."""
        with np.errstate(all="ignore"):
            return self.degeneracy.refusal(expression, constants) or self.domain.refusal(expression, constants, target)

    def below_floor(self, expression: Expression, constants: Sequence[Mapping[str, float]], target: int) -> bool:
        """Whether some group's irreducible loss is below what the loss can be."""
        return any(of[c] < low for c, (low, _) in self.floor(expression, target).items() for of in constants)


def floor_constant(expression: Expression, table: Table) -> str | None:
    """Return the constant that stands alone in the outermost sum while all else there vanishes with scale, or None."""
    terms = _summands(expression.tree)
    alone = [t.name for t in terms if t.op == "name" and t.name not in expression.variables]
    if len(alone) != 1 or len(terms) < 2 or sum(n.name == alone[0] for n in expression.tree.walk()) != 1:
        return None
    others = [t for t in terms if t.op != "name"]
    if len(others) != len(terms) - 1 or not all(_is_valley(t) or _vanishes(t, expression, table) for t in others):
        return None
    return alone[0]


def _summands(node: Node) -> list[Node]:
    if node.op == "+":
        return _summands(node.args[0]) + _summands(node.args[1])
    if node.op == "-":  # signs do not matter for what vanishes; a constant that is taken away is no floor
        return [*_summands(node.args[0]), Node("neg", (node.args[1],))]
    return [node]


def _is_valley(node: Node) -> bool:
    if node.op == "*":
        return any(_is_valley(a) for a in node.args)
    return node.op == "abs" or (node.op == "**" and is_even(node.args[1]))


_FAR_OUT: WeakKeyDictionary[Table, dict[str, Array]] = WeakKeyDictionary()


def _far_out(table: Table) -> dict[str, Array]:
    """Return the one point (symbol to (1,)) where all scale variables are very large, the others at their largest."""
    known = _FAR_OUT.get(table)
    if known is None:
        known = _FAR_OUT[table] = {}
        for i, v in enumerate(table.variables):
            x = table.X[:, i].max()
            far = math.log(_FAR) / v.nats_per_unit
            known[v.symbol] = np.array([x if v.role != "scale" else x + far if v.log else x * _FAR])
    return known


def _vanishes(term: Node, expression: Expression, table: Table) -> bool:
    """Whether a term with constants of ordinary size is gone when all scale variables are very large."""
    if not any(v.role == "scale" and v.symbol in term.names for v in table.variables):
        return False
    with np.errstate(all="ignore"):
        value = np.asarray(walk(term, _far_out(table), dict.fromkeys(expression.constants, 0.5)))
    return bool((np.abs(value) < _GONE).all())


def _least(table: Table, target: int) -> float | None:
    """Return what a loss cannot fall below, or None where the target is no loss that falls with some scale variable."""
    declared, y = table.targets[target], table.Y[:, target]
    if declared.better != "lower" or not (y > 0).all() or (declared.lower is not None and declared.lower < 0.0):
        return None
    scales = [i for i, v in enumerate(table.variables) if v.role == "scale"]
    if not scales:
        return None
    logs = np.column_stack(
        [table.X[:, i] if table.variables[i].log else np.log(np.maximum(table.X[:, i], 1e-300)) for i in scales]
    )
    size = np.maximum(np.ptp(logs, axis=0), 1e-300)
    x, change = logs / size, y.copy()
    for g in range(len(table.groups)):  # groups differ in level
        mine = table.group_index == g
        x[mine] -= x[mine].mean(axis=0)
        change[mine] -= change[mine].mean()
    slopes = np.linalg.lstsq(x, change, rcond=1e-8)[0]
    return (declared.lower or 0.0) if (slopes < -_FALLS * np.ptp(y)).any() else None
