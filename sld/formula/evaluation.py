"""Plain evaluation of a formula with numpy, one operator after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sld.core.arrays import Array as Array
from sld.core.errors import DataError
from sld.formula.expression import Expression, Node
from sld.formula.operators import OPERATORS


def evaluate(expression: Expression, columns: Mapping[str, Array], constants: Mapping[str, Array | float]) -> Array:
    """Return the value of `expression` for every row; NaN or inf outside its domain.

    >>> from sld.formula.expression import parse
    >>> evaluate(parse("E + A*N**-a", ["N"]), {"N": np.array([1e4, 1e8])}, {"E": 1.7, "A": 40.0, "a": 0.25})
    array([5.7, 2.1])

    Args:
        expression: The formula.
        columns: Variable symbol to values (n_rows,).
        constants: Value of every constant, or (n_rows,) values.
    """
    n_rows = len(next(iter(columns.values()))) if columns else 1
    with np.errstate(all="ignore"):
        value = walk(expression.tree, columns, constants)
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (n_rows,)).copy()


def walk(node: Node, columns: Mapping[str, Array], constants: Mapping[str, Array | float]) -> Array | float:
    """Return the value of a tree: an array, or a number where no column takes part. Warnings are the caller's."""
    if node.op == "number":
        return node.value
    if node.op == "name":
        if node.name in columns:
            return columns[node.name]
        if node.name in constants:
            return constants[node.name]
        raise DataError(f"the formula needs a value for {node.name!r}")
    args = [np.asarray(walk(arg, columns, constants), dtype=np.float64) for arg in node.args]
    return apply_operator(node.op, args)


def apply_operator(op: str, args: Sequence[Array]) -> Array:
    """Return the value of one operator, as numpy computes it."""
    return np.asarray(OPERATORS[op].array(*args))
