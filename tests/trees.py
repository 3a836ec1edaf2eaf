"""Random formulas for hypothesis, and a second way to evaluate one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from sld.core.errors import GrammarError
from sld.formula.expression import Expression, Node, call, name, number, parse, to_text
from sld.formula.operators import BINARY, UNARY, evaluate_scalar

NUMBERS = (0.0, 1.0, 2.0, 3.0, 0.5, 0.1, -1.0, -2.5, 1e9, 1e-7)


def trees(
    names: Sequence[str],
    *,
    numbers: Sequence[float] = NUMBERS,
    unary: Sequence[str] = UNARY,
    binary: Sequence[str] = BINARY,
    max_leaves: int = 12,
) -> st.SearchStrategy[Node]:
    """Random trees, literal nonsense such as 1/0 included."""
    leaves = st.sampled_from(names).map(name) | st.sampled_from(numbers).map(number)

    def grow(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        one = st.builds(lambda op, a: call(op, a), st.sampled_from(unary), children)
        two = st.builds(lambda op, a, b: call(op, a, b), st.sampled_from(binary), children, children)
        return one | two

    return st.recursive(st.sampled_from(names).map(name) | leaves, grow, max_leaves=max_leaves)


def formula(tree: Node, variables: Sequence[str]) -> Expression | None:
    """The tree as the grammar accepts it, or None for literal nonsense."""
    try:
        return parse(to_text(tree), variables)
    except GrammarError:
        return None


def value(node: Node, values: Mapping[str, float]) -> float:
    """One number, without numpy and without the kernel."""
    if node.op == "number":
        return node.value
    if node.op == "name":
        return values[node.name]
    return evaluate_scalar(node.op, *(value(arg, values) for arg in node.args))
