r"""Forms that are no laws whatever they fit: what cancels, what leaves the range of numbers, constants with two roles.

* *Cancelling terms.* `2.5e9 - 2.5e9*sigmoid(...)` for a target near 1 keeps nine digits of its constants from being
  seen; neither the constants nor what they predict elsewhere mean anything. A sum may be a thousandth of its terms.
* *Sizes.* A constant beyond 1e30, or below 1e-30 and not zero, has run away along a direction that the rows do not see.
* *Roles.* In `sigmoid(k*(x - k))` one constant is a rate in 1/x and a place in x: measured in other units, x = 1000 u,
  there is no k that gives the same curve. A family of laws must not depend on units, so this is what is tested: the
  change of the formula f when the unit of a variable (or of the target) changes a little, $x\,\partial f/\partial x$,
  has to be made up for by a small change of the constants, that is, lie in the span of the $\partial f/\partial c$. A
  form that passes when each occurrence of a constant is a constant by itself, and fails as it stands, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from sld.core.arrays import Array
from sld.data.table import Table
from sld.fit.kernel import compile_tape, value_and_jacobian
from sld.formula.evaluation import apply_operator
from sld.formula.expression import Expression, Node, call, name
from sld.search.candidates.rejection import Rejection

_MOST, _LEAST = 1e30, 1e-30  # sizes beyond which products of two constants and a row soon leave the range of a float
_CANCELLED = 1e3  # times the sum: three digits of every constant are then lost in it
_ROWS = 96  # of the table that are looked at; each candidate is
_FARTHER = 4.0  # times the largest rows: the edge of what a law is used for
_POINTS = 40  # at which a change of units is compared with changes of the constants
_MISSED = 1e-6  # relative; rounding leaves 1e-12
_NUMBERED = "__"  # in no name of the grammar


class Degeneracy:
    """The checks of laws on one table."""

    def __init__(self, table: Table) -> None:
        """Choose the rows: some of the table, and the largest of each group a little farther out."""
        rows = np.unique(np.linspace(0, table.n_rows - 1, min(table.n_rows, _ROWS)).astype(np.intp))
        scale = [i for i, v in enumerate(table.variables) if v.role == "scale" and v.log is None]
        largest = [_largest(table, g, scale) for g in range(len(table.groups))] if scale else []
        farther = table.X[largest].copy()
        farther[:, scale] *= _FARTHER
        X = np.concatenate([table.X[rows], farther])
        self.n_rows = len(rows)
        self.columns = {s: np.ascontiguousarray(X[:, i]) for i, s in enumerate(table.symbols)}
        self.group_index = np.concatenate([table.group_index[rows], table.group_index[largest]]).astype(np.intp)
        self.table = table

    def refusal(self, expression: Expression, constants: Sequence[Mapping[str, float]]) -> Rejection | None:
        """Return why a law is none; None where nothing is wrong. `constants` are by group."""
        values = np.array([[of[c] for c in expression.constants] for of in constants])
        size = np.abs(values)
        if ((size > _MOST) | ((size < _LEAST) & (size > 0.0))).any():
            return Rejection.TOO_LARGE
        known: dict[str, Array] = {**self.columns}
        known |= {c: values[self.group_index, j] for j, c in enumerate(expression.constants)}
        worst = [0.0]
        self._value(expression.tree, known, worst)
        return Rejection.CANCELS if worst[0] > _CANCELLED else None

    def _value(self, node: Node, known: Mapping[str, Array], worst: list[float]) -> Array:
        """Return the value of a node; `worst` becomes the largest ratio of a sum's terms to the sum."""
        if node.op == "name":
            return known[node.name]
        if node.op == "number":
            return np.asarray(node.value)
        if node.op in ("+", "-"):
            terms = [sign * self._value(term, known, worst) for sign, term in _terms(node, 1.0)]
            total = sum(terms[1:], terms[0])
            if total.ndim:
                worst[0] = max(worst[0], self._cancelled(total, terms))
            return total
        return apply_operator(node.op, [self._value(a, known, worst) for a in node.args])

    def _cancelled(self, total: Array, terms: Sequence[Array]) -> float:
        """Return by how much the terms are larger than their sum, in the rows or beyond them.

        A sum may cross zero, as `log(lr) - m` does at the optimum: largest is compared with largest, not row by row.
        """
        size = np.abs(total)
        largest = np.zeros_like(size)
        for t in terms:
            np.maximum(largest, np.abs(t), out=largest)
        parts = (slice(0, self.n_rows), slice(self.n_rows, None))
        ratios = [float(largest[p].max() / max(size[p].max(), 1e-300)) for p in parts if len(size[p])]
        return max((r for r in ratios if r == r), default=0.0)


def _largest(table: Table, group: int, scale: Sequence[int]) -> int:
    rows = np.flatnonzero(table.group_index == group)
    return int(rows[np.argmax(np.log(np.maximum(table.X[rows][:, scale], 1e-300)).sum(axis=1))])


def _terms(node: Node, sign: float) -> list[tuple[float, Node]]:
    if node.op in ("+", "-"):
        second = sign if node.op == "+" else -sign
        return _terms(node.args[0], sign) + _terms(node.args[1], second)
    return [(sign, node)]


# --- roles ----------------------------------------------------------------------------------------------------------


def plays_two_roles(expression: Expression, table: Table) -> bool:
    """Whether a constant stands in several places of the formula whose units differ."""
    repeated = _repeated(expression)
    if not repeated:
        return False
    units = [unit for unit in (*expression.used_variables, "") if _has_units(unit, table)]
    with np.errstate(all="ignore"):
        tied = _Changes(expression, units, table)
        apart: _Changes | None = None
        for unit in units:
            needed = tied.not_made_up_for(unit)
            if not any(needed):
                continue
            if apart is None:
                free = Expression(_untied(expression.tree, repeated, {}), expression.variables)
                apart = _Changes(free, units, table)
            if any(t and not a for t, a in zip(needed, apart.not_made_up_for(unit), strict=True)):
                return True
    return False


def _has_units(symbol: str, table: Table) -> bool:
    if not symbol:
        return True  # the target's
    return table.variables[table.symbols.index(symbol)].role != "proportion"


def _repeated(expression: Expression) -> frozenset[str]:
    seen: set[str] = set()
    again: set[str] = set()
    for node in expression.tree.walk():
        if node.op == "name" and node.name not in expression.variables:
            (again if node.name in seen else seen).add(node.name)
    return frozenset(again)


def _untied(node: Node, repeated: frozenset[str], counts: dict[str, int]) -> Node:
    """Return the tree with every occurrence of a repeated constant renamed."""
    if node.op == "name" and node.name in repeated:
        counts[node.name] = counts.get(node.name, 0) + 1
        return name(f"{node.name}{_NUMBERED}{counts[node.name]}")
    return call(node.op, *(_untied(a, repeated, counts) for a in node.args)) if node.args else node


@lru_cache
def _generic(n_constants: int, n_variables: int) -> tuple[tuple[float, ...], tuple[Array, ...]]:
    """Return sizes around 1 for constants and (n_points,) for variables; most formulas ask for the same."""
    rng = np.random.default_rng(n_variables)
    sizes = tuple(float(rng.uniform(0.4, 1.6)) for _ in range(n_constants))
    return sizes, tuple(rng.uniform(0.5, 3.0, _POINTS) for _ in range(n_variables))


class _Changes:
    """How a formula changes with its constants and with units, at some points: all derivatives from one tape."""

    def __init__(self, expression: Expression, units: Sequence[str], table: Table) -> None:
        tree, base = expression.tree, {}
        for unit in filter(None, units):
            # a new unit multiplies the quantity, and shifts a column of its logarithms
            moved = table.variables[table.symbols.index(unit)].log is not None
            factor = f"unit{_NUMBERED}{unit}"
            tree = _replaced(tree, unit, call("+" if moved else "*", name(unit), name(factor)))
            base[factor] = 0.0 if moved else 1.0
        tape = compile_tape(Expression(tree, expression.variables), project=False)
        words = sorted(
            {c.split(_NUMBERED)[0] for c in tape.constants}
        )  # all occurrences of a constant are worth the same
        sizes, points = _generic(len(words), len(expression.variables))
        drawn = dict(zip(words, sizes, strict=True))
        theta = np.array([[base[c] if c in base else drawn[c.split(_NUMBERED)[0]] for c in tape.constants]])
        columns = dict(zip(expression.variables, points, strict=True))
        values, jacobian = value_and_jacobian(tape, tape.column_values(columns, _POINTS), theta)
        rows = dict(zip(tape.constants, jacobian[0], strict=True))
        # the target's unit multiplies the formula
        self.by_unit = {"": values[0]} | {factor.split(_NUMBERED)[1]: rows[factor] for factor in base}
        self.basis = np.array([row for c, row in rows.items() if c not in base]).reshape(-1, _POINTS)
        self.around = np.concatenate([self.basis, values, np.ones((1, _POINTS))])

    def not_made_up_for(self, unit: str) -> tuple[bool, bool]:
        """Whether no change of the constants makes up for a small change of the unit of a variable, or of the target.

        The second answer is for the formula with a free factor and a free constant around it: `(x + K)**-a` needs a
        factor to be the same in all units, which says nothing against its K.
        """
        wanted = self.by_unit[unit]
        if not (np.isfinite(self.around).all() and np.isfinite(wanted).all()):
            return False, False
        lies_outside = _outside(wanted, self.basis)
        return lies_outside, lies_outside and _outside(wanted, self.around)  # more functions span no less


def _outside(wanted: Array, basis: Array) -> bool:
    """Whether a function (n_points,) lies outside the span of others (n_functions, n_points)."""
    size = np.abs(basis).max(axis=1, keepdims=True)
    spanned = (basis / np.maximum(size, 1e-300)).T
    found = np.linalg.lstsq(spanned, wanted, rcond=1e-10)[0]
    return bool(np.abs(wanted - spanned @ found).max() > _MISSED * np.abs(wanted).max())


def _replaced(node: Node, symbol: str, new: Node) -> Node:
    if node.op == "name":
        return new if node.name == symbol else node
    return call(node.op, *(_replaced(a, symbol, new) for a in node.args)) if node.args else node
