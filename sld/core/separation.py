r"""Which constants of a formula can be solved for in closed form, and the formula taken apart accordingly."""

from __future__ import annotations

from collections.abc import Collection

from sld.core.expression import Expression, Node, call, number

ONE = number(1.0)


def linear_constants(expression: Expression, exclude: Collection[str] = ()) -> tuple[Node | None, dict[str, Node]]:
    r"""Split an expression into $\varphi_0 + \sum_k c_k \varphi_k$.

    Args:
        expression: The formula.
        exclude: Constants that must stay nonlinear (shared across groups, or bounded).

    Returns:
        `(rest, bases)`: the part without linear constants (None when there is none) and the factor of each
        linear constant. Together with the remaining constants they reproduce the expression exactly.
    """
    candidates = frozenset(expression.constants).difference(exclude)
    while True:
        conflict = _conflicts(expression.tree, candidates)
        if not conflict:
            return _split(expression.tree, candidates)
        candidates -= conflict


_NOTHING: frozenset[str] = frozenset()


def _conflicts(node: Node, candidates: frozenset[str]) -> frozenset[str]:
    """Return candidates that `node` is not jointly linear in (those of the smaller factor of a product)."""
    op = node.op
    if op == "name" or candidates.isdisjoint(node.names):
        return _NOTHING
    if op == "+" or op == "-" or op == "neg":
        found = _NOTHING
        for arg in node.args:
            if arg.op != "name" and (under := _conflicts(arg, candidates)):
                found |= under
        return found
    if op == "*":
        a, b = node.args
        if candidates.isdisjoint(a.names):
            return _conflicts(b, candidates)
        if candidates.isdisjoint(b.names):
            return _conflicts(a, candidates)
        left, right = a.names & candidates, b.names & candidates
        if _is_valley(b):
            return left
        if _is_valley(a):
            return right
        found = _conflicts(a, candidates) | _conflicts(b, candidates)
        return found or (left if len(left) < len(right) else right)
    if op == "/":
        return (node.args[1].names & candidates) | _conflicts(node.args[0], candidates)
    return node.names & candidates


def _is_valley(node: Node) -> bool:
    """Return whether node is an even power or an absolute value.

    The factor before one with constants inside stays in the search: solved for while the valley's centre is still
    wrong it comes out as almost nothing, and the centre then drifts away from the data.
    """
    return node.op == "abs" or (node.op == "**" and node.args[1].op == "number" and node.args[1].value in (2.0, 4.0))


def _split(node: Node, linear: frozenset[str]) -> tuple[Node | None, dict[str, Node]]:
    if node.op == "name" and node.name in linear:
        return None, {node.name: ONE}
    if linear.isdisjoint(node.names):
        return node, {}
    if node.op == "neg":
        rest, bases = _split(node.args[0], linear)
        return None if rest is None else call("neg", rest), {c: call("neg", b) for c, b in bases.items()}
    if node.op in ("+", "-"):
        (rest_a, bases_a), (rest_b, bases_b) = (_split(arg, linear) for arg in node.args)
        rest = _combine(node.op, rest_a, rest_b)
        bases = dict(bases_a)
        for c, b in bases_b.items():
            combined = _combine(node.op, bases.get(c), b)
            assert combined is not None
            bases[c] = combined
        return rest, bases
    if node.op == "*":
        holder, factor = (1, 0) if linear.isdisjoint(node.args[0].names) else (0, 1)
        rest, bases = _split(node.args[holder], linear)
        other = node.args[factor]
        return None if rest is None else _times(rest, other), {c: _times(b, other) for c, b in bases.items()}
    rest, bases = _split(node.args[0], linear)
    divisor = node.args[1]
    return (
        None if rest is None else call("/", rest, divisor),
        {c: call("/", b, divisor) for c, b in bases.items()},
    )


def _combine(op: str, a: Node | None, b: Node | None) -> Node | None:
    if b is None:
        return a
    if a is None:
        return b if op == "+" else call("neg", b)
    return call(op, a, b)


def _times(a: Node, b: Node) -> Node:
    return b if a == ONE else a if b == ONE else call("*", a, b)
