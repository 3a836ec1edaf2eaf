r"""Which constants of a formula can be solved for in closed form, and the formula taken apart accordingly."""

from __future__ import annotations

from collections.abc import Collection

from sld.formula.expression import Expression, Node, call, number

ONE = number(1.0)  # the basis of a constant that stands alone


def linear_constants(expression: Expression, exclude: Collection[str] = ()) -> tuple[Node | None, dict[str, Node]]:
    r"""Split an expression into $\varphi_0 + \sum_k c_k \varphi_k$.

    >>> from sld.formula.expression import parse
    >>> rest, bases = linear_constants(parse("E + A*N**-a + log(N)", ["N"]))
    >>> str(rest), {c: str(basis) for c, basis in bases.items()}
    ('log(N)', {'E': '1', 'A': 'N**-a'})

    Args:
        expression: The formula.
        exclude: Constants that must stay nonlinear (shared across groups, or bounded).

    Returns:
        `(rest, bases)`: the part without linear constants (None when there is none) and the factor of each
        linear constant. Together with the remaining constants they reproduce the expression exactly.
    """
    candidates = frozenset(expression.constants).difference(exclude)
    again = True
    while again:
        conflict, again = _conflicts(expression.tree, candidates)
        candidates -= conflict
    return _split(expression.tree, candidates)


def _conflicts(tree: Node, candidates: frozenset[str]) -> tuple[set[str], bool]:
    """Return candidates that `tree` is not jointly linear in (those of the smaller factor of a product).

    The second value says whether more may come to light once these are gone.
    """
    found: set[str] = set()
    again = False
    stack = [tree]
    while stack:
        node = stack.pop()
        op = node.op
        if op == "name" or candidates.isdisjoint(node.names):
            continue
        if op == "+" or op == "-" or op == "neg":
            stack += node.args
        elif op == "*":
            a, b = node.args
            if candidates.isdisjoint(a.names):
                stack.append(b)
            elif candidates.isdisjoint(b.names):
                stack.append(a)
            elif _is_valley(b):
                found.update(a.names & candidates)
                again = True
            elif _is_valley(a):
                found.update(b.names & candidates)
                again = True
            elif under := _conflicts(a, candidates)[0] | _conflicts(b, candidates)[0]:
                found |= under
                again = True
            else:
                left, right = a.names & candidates, b.names & candidates
                found |= left if len(left) < len(right) else right
        elif op == "/":
            found.update(node.args[1].names & candidates)
            stack.append(node.args[0])
        else:
            found.update(node.names & candidates)
    return found, again


def _is_valley(node: Node) -> bool:
    """Return whether node is an even power or an absolute value.

    The factor before one with constants inside stays in the search: solved for while the valley's centre is still
    wrong it comes out as almost nothing, and the centre then drifts away from the data.
    """
    return node.op == "abs" or (node.op == "**" and node.args[1].op == "number" and node.args[1].value in (2.0, 4.0))


def _split(node: Node, linear: frozenset[str]) -> tuple[Node | None, dict[str, Node]]:
    op = node.op
    if op == "name" and node.name in linear:
        return None, {node.name: ONE}
    if linear.isdisjoint(node.names):
        return node, {}
    if op == "neg":
        rest, bases = _split(node.args[0], linear)
        return None if rest is None else call("neg", rest), {c: call("neg", b) for c, b in bases.items()}
    if op == "+" or op == "-":
        rest, bases = _split(node.args[0], linear)
        rest_b, bases_b = _split(node.args[1], linear)
        if rest_b is not None:
            rest = _combine(op, rest, rest_b)
        for c, b in bases_b.items():
            combined = _combine(op, bases.get(c), b)
            assert combined is not None
            bases[c] = combined
        return rest, bases
    if op == "*":
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
    return b if is_one(a) else a if is_one(b) else call("*", a, b)


def is_one(node: Node) -> bool:
    """Return whether node is the literal 1."""
    return node.op == "number" and node.value == 1.0
