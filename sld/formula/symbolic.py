"""Formulas to and from sympy, node by node: no text is ever evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sld.core.errors import GrammarError
from sld.formula.expression import Expression, Node, call, name, number, parse, to_text
from sld.formula.operators import OPERATORS, evaluate_scalar

if TYPE_CHECKING:
    import sympy

_READ = {row.sympy_class: row for row in OPERATORS.values() if row.sympy_class}
_MAX_EXACT_POWER = 1000  # sympy multiplies whole numbers out: 2**(10**9) would take all memory


def to_sympy(expression: Expression) -> Any:
    """Return the formula as a sympy expression, built node by node; no text is evaluated.

    >>> to_sympy(parse("E + A/N**a", ["N"]))
    A/N**a + E

    Variables are positive symbols, constants real ones. Whole numbers stay exact unless powers of powers would make
    them explode.
    """
    import sympy

    symbols = {v: sympy.Symbol(v, positive=True) for v in expression.variables}
    symbols |= {c: sympy.Symbol(c, real=True) for c in expression.constants}
    tree = _literals_folded(expression.tree)
    return _to_sympy(tree, symbols, exact=_largest_power(tree) <= _MAX_EXACT_POWER)


def _literals_folded(node: Node) -> Node:
    args = tuple(_literals_folded(arg) for arg in node.args)
    if node.op == "**" and all(arg.op == "number" for arg in args):
        return number(evaluate_scalar("**", args[0].value, args[1].value))
    return Node(node.op, args) if args else node


def _largest_power(node: Node) -> float:
    """Return the largest product of literal exponents that stand above one another."""
    inner = max((_largest_power(arg) for arg in node.args), default=1.0)
    if node.op == "**" and node.args[1].op == "number":
        return inner * max(1.0, abs(node.args[1].value))
    return inner


def _to_sympy(node: Node, symbols: Mapping[str, sympy.Symbol], exact: bool) -> Any:
    import sympy

    if node.op == "name":
        return symbols[node.name]
    if node.op == "number":
        small = exact and node.value.is_integer() and abs(node.value) < 1e15
        return sympy.Integer(int(node.value)) if small else sympy.Float(node.value)
    args = [_to_sympy(arg, symbols, exact) for arg in node.args]
    return OPERATORS[node.op].sympy(sympy, *args)


def from_sympy(expression: Any, variables: Sequence[str] = ()) -> Expression:
    """Read a sympy expression.

    >>> import sympy
    >>> N, A, a = sympy.symbols("N A a")
    >>> from_sympy(A * N**-a + sympy.Rational(1, 2), ["N"]).text
    'A*N**-a + 1/2'

    Args:
        expression: Any sympy expression whose functions the grammar has.
        variables: Names that are variables; every other symbol is a constant.

    Raises:
        GrammarError: It has a function, number or name that the grammar does not have, or is beyond its limits.
    """
    return parse(to_text(_from_sympy(expression)), variables)


def _from_sympy(expression: Any) -> Node:
    import sympy

    if not isinstance(expression, sympy.Expr):
        raise GrammarError(f"{expression!r} is not a formula of sympy")
    if isinstance(expression, sympy.Symbol):
        if not re.fullmatch(r"[^\W\d]\w*", expression.name):
            raise GrammarError(f"name {expression.name!r} is not one of the grammar; use letters, digits and _")
        return name(expression.name)
    if isinstance(expression, sympy.Rational) and not expression.is_Integer:
        return call("/", number(float(expression.p)), number(float(expression.q)))
    if expression.is_Number or isinstance(expression, sympy.NumberSymbol):
        if not expression.is_finite:
            raise GrammarError(f"{expression} is not a number of the grammar")
        return number(float(expression))
    if isinstance(expression, sympy.Add):
        return _from_sum(expression)
    if isinstance(expression, sympy.Mul):
        return _from_product(expression)
    if isinstance(expression, sympy.Pow):
        return _from_power(*expression.args)
    return _from_function(expression)


def _from_function(expression: Any) -> Node:
    import sympy

    word, args = expression.func.__name__, expression.args
    row = _READ.get(word)
    own = row is not None and expression.func is getattr(sympy, word, None)  # not a function that somebody calls `exp`
    if row is None or not own or not (row.folds or len(args) == row.n_args):
        raise GrammarError(f"sympy's {word} is not in the grammar, which has + - * / ** and more")
    # sympy's own order of arguments hangs on hashes
    parts = [_from_sympy(arg) for arg in (sorted(args, key=sympy.default_sort_key) if row.commutes else args)]
    if not row.folds:
        return call(row.name, *parts)
    out = parts[0]
    for part in parts[1:]:
        out = call(row.name, out, part)
    return out


def _from_sum(expression: Any) -> Node:
    out: Node | None = None
    for term in expression.as_ordered_terms():
        negative = term.could_extract_minus_sign()
        node = _from_sympy(-term if negative else term)
        first = call("neg", node) if negative else node
        out = first if out is None else call("-" if negative else "+", out, node)
    assert out is not None
    return out


def _from_product(expression: Any) -> Node:
    import sympy

    if expression.could_extract_minus_sign() and not (-expression).could_extract_minus_sign():
        return call("neg", _from_sympy(-expression))
    above: Node | None = None
    below: Node | None = None
    for factor in expression.as_ordered_factors():
        base, exponent = factor.as_base_exp()
        if isinstance(factor, sympy.Rational) and not factor.is_Integer and factor.p == 1:
            node = number(float(factor.q))
            below = node if below is None else call("*", below, node)
        elif isinstance(factor, sympy.Pow) and exponent.is_Number and exponent.is_negative:
            node = _from_power(base, -exponent)
            below = node if below is None else call("*", below, node)
        else:
            node = _from_sympy(factor)
            above = node if above is None else call("*", above, node)
    above = number(1.0) if above is None else above
    return above if below is None else call("/", above, below)


def _from_power(base: Any, exponent: Any) -> Node:
    import sympy

    if base == sympy.E:
        return call("exp", _from_sympy(exponent))
    if exponent == sympy.Rational(1, 2):
        return call("sqrt", _from_sympy(base))
    if exponent == 1:
        return _from_sympy(base)
    if exponent == -1:
        return call("/", number(1.0), _from_sympy(base))
    return call("**", _from_sympy(base), _from_sympy(exponent))
