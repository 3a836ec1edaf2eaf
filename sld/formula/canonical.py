"""One key per family of functions: forms that differ only in how they are written get the same text.

`canonical_key` rewrites a formula as a sum of terms, each a coefficient times powers, and replaces every group of
constants that can take any value by one anonymous constant `$`:

    A/N**a + E  ->  $+N^$*$         E - 2*B*N**(-c/d)  ->  $+N^$*$

Equal keys mean the same family; the converse does not hold (`equivalence.equivalent` is the thorough judge).

Conventions, each chosen so that no two different families are merged:

- A constant absorbs its surroundings only when it occurs once; constants used twice keep their identity (`$0`).
- Variables are taken as non-negative, as scales, shares and hyperparameters are: `(x*y)**0.5` is `x**0.5*y**0.5`.
  Anything else (a sum with a free constant, a logarithm) may be negative: `((x - A)**2)**0.5` stays.
- A group of constants that is positive for all their values (`exp(A)`, `A**2`) is `@`, not `$`, because a sign can
  make a pole: `1/(1 + exp(A)*N**b)` has none, `1/(1 + A*N**b)` may. Only where it scales a term of the outermost
  sum is it `$`: there the sign is all that it loses, so `exp(a + b*log(N))` is `A*N**b`.
- Isolated parameter values do not count (`A*B` with `B` used elsewhere is `A` although `B` may be zero), and what
  cancels leaves nothing behind (`log(x - A) - log(x - A)` is 0).
- Numbers are compared to 12 digits.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import permutations
from typing import TypeAlias

from sld.core.errors import GrammarError
from sld.formula.algebra import (
    absolute,
    exponential,
    extreme,
    function_of,
    logarithm,
    logistic,
    power,
    product,
    with_any_sign,
)
from sld.formula.expression import (
    Expression,
    Node,
    call,
    name,
    number,
    parse,
    substitute,
    to_text,
    without_sign,
)
from sld.formula.operators import evaluate_scalar
from sld.formula.shortening import Shortenings
from sld.formula.terms import (
    CONST,
    FREE_CONSTANT,
    NONE,
    POS,
    Term,
    Value,
    collect,
    exponent_of,
    is_const,
    negated,
    value_text,
)

_MAX_PERMUTED = 3  # constants used twice or more; beyond, their numbering is that of their first appearance
_MAX_SHORTENED = 120  # nodes; `simplify` tries each, and a form as long as this is not made readable by it
_REMEMBERED = 1 << 11  # formulas: a form is asked about again soon or never, and each takes 10 kB
_TOKENS = re.compile(r"\$\d*|@|[^\W\d]\w*")
_FOLDABLE = 1e15  # beyond this, in absolute value or its inverse, literals stay as they were written


def canonical_key(expression: Expression) -> str:
    """Return a text that is the same for every way of writing one family of functions (see the module's top).

    >>> canonical_key(parse("E + A/N**a", ["N"])) == canonical_key(parse("exp(b)*N**c + d", ["N"]))
    True
    >>> canonical_key(parse("E + A/N**a", ["N"]))
    '$+N^$*$'
    """
    return _keyed(expression)[0]


# Values of nodes by their identity, the node beside it kept alive; one such table for each numbering of the constants
# that are used twice or more: where none below a node changes its number, its value stays.
_Values: TypeAlias = dict[int, tuple[Node, Value]]
_Memory: TypeAlias = dict[tuple[str, ...], _Values]


@lru_cache(maxsize=_REMEMBERED)
def _keyed(expression: Expression) -> tuple[str, int]:
    """Return the key, and how many free constants are positive only, those that scale a term included."""
    return _key_of(expression.tree, expression.variables, {})


def _key_of(tree: Node, variables: tuple[str, ...], memory: _Memory) -> tuple[str, int]:
    """Return what `_keyed` returns; `memory` holds the values of parts of earlier trees, and is added to."""
    counts: dict[str, int] = {}
    stack = [tree]
    while stack:
        node = stack.pop()
        if node.op == "name":
            counts[node.name] = counts.get(node.name, 0) + 1
        elif node.args:
            stack.extend(node.args)
    names: dict[str, Value] = {}
    shared: list[str] = []
    for word, count in counts.items():
        if word in variables:
            names[word] = [(1.0, NONE, ((word, 1.0, POS, None),), ())]
        elif count == 1:
            names[word] = FREE_CONSTANT
        else:
            shared.append(word)
    try:
        if not shared:
            key, strict = _finished(tree, names, memory.setdefault((), {}))
            return key, strict.count("@")
        keys = []
        # the numbering that gives the least text is the canonical one
        for order in permutations(shared) if len(shared) <= _MAX_PERMUTED else [tuple(reversed(shared))]:
            for i, word in enumerate(order):
                names[word] = [(1.0, NONE, (), ((f"${i}", 1.0, CONST, None),))]
            keys.append(_finished(tree, names, memory.setdefault(tuple(order), {})))
    except (ArithmeticError, RecursionError):
        # nowhere finite, or literals beyond the range of floats: the text itself, constants numbered as they come
        renamed = {word: name(f"_{i}") for i, word in enumerate(Expression(tree, variables).constants)}
        return "=" + to_text(substitute(tree, renamed)), 0
    key, strict = min(keys)
    return _released(strict, variables) or (key, strict.count("@"))


def _finished(tree: Node, names: dict[str, Value], known: _Values) -> tuple[str, str]:
    """Return the key, and the same before the positive constants that scale a term lose their sign."""
    value = _value(tree, names, known)
    released, strict = with_any_sign(value), value_text(value)
    return strict if released == value else value_text(released), strict


def _released(text: str, variables: Sequence[str]) -> tuple[str, int] | None:
    """Return the key of a text in which a constant that was used twice is left once, and so can absorb others."""
    left = re.findall(r"\$\d+", text)
    if not left or all(left.count(token) > 1 for token in left):
        return None
    prefix = "_"
    while any(v.startswith(prefix) for v in variables):
        prefix += "k"
    fresh = iter(range(len(text)))

    def written(match: re.Match[str]) -> str:
        token = match[0]
        if token == "^":
            return "**"
        if token == "@":
            return f"exp({prefix}{next(fresh)})"
        return f"{prefix}s{token[1:]}" if token in left else f"{prefix}{next(fresh)}"

    try:
        return _keyed(parse(re.sub(r"\$\d+|[$@^]", written, text), variables))
    except GrammarError:  # longer than the grammar allows
        return None


def _operands(node: Node, plain: str, inverse: str) -> Iterator[tuple[Node, bool]]:
    """Yield what a chain of + and - (or * and /) joins, and whether it is subtracted (divided by)."""
    stack = [(node, False)]
    while stack:
        node, inverted = stack.pop()
        if node.op == plain:
            stack.append((node.args[1], inverted))
            stack.append((node.args[0], inverted))
        elif node.op == inverse:
            stack.append((node.args[1], not inverted))
            stack.append((node.args[0], inverted))
        elif node.op == "neg" and plain == "+":
            stack.append((node.args[0], not inverted))
        else:
            yield node, inverted


def _value(node: Node, names: dict[str, Value], known: _Values) -> Value:
    if not node.args:
        return _compute(node, names, known)
    found = known.get(id(node))
    if found is None:
        found = known[id(node)] = node, _compute(node, names, known)
    return found[1]


def _compute(node: Node, names: dict[str, Value], known: _Values) -> Value:
    op = node.op
    if op == "name":
        return names[node.name]
    if op == "number":
        return [(node.value, NONE, (), ())] if node.value else []
    if op == "*" or op == "/":
        factors: list[Value] = []
        for operand, inverted in _operands(node, "*", "/"):
            value = _value(operand, names, known)
            factors.append(power(value, -1.0) if inverted else value)
        return product(factors)
    if op == "+" or op == "-" or op == "neg":
        terms: list[Term] = []
        for operand, inverted in _operands(node, "+", "-"):
            value = _value(operand, names, known)
            terms.extend(negated(value) if inverted else value)
        return collect(terms)
    if op == "**":
        return power(_value(node.args[0], names, known), exponent_of(_value(node.args[1], names, known)))
    if op == "min" or op == "max":
        return extreme(op, [_value(operand, names, known) for operand, _ in _operands(node, op, op)])
    identity = _IDENTITIES.get(op)
    if identity is not None:
        return identity(_value(node.args[0], names, known))
    return function_of(op, [_value(arg, names, known) for arg in node.args])


# functions of which more is known than their value: what is not here stays as it is written
_IDENTITIES: dict[str, Callable[[Value], Value]] = {
    "exp": exponential,
    "log": logarithm,
    "sqrt": lambda value: power(value, 0.5),
    "sigmoid": logistic,
    "abs": absolute,
}


@lru_cache(maxsize=_REMEMBERED)
def simplify(expression: Expression) -> Expression:
    """Return a shorter form of the same family: numbers folded, constants that another one makes superfluous gone.

    >>> simplify(parse("A*B*N**-a + E + 2*3 - C", ["N"])).text
    'A*N**-a + E'

    Every step keeps the canonical key. So the family stays what it was up to the conventions at the top of this
    module: `exp(A)*x` becomes `A*x`. Signs of decay, as in `N**-a`, are kept as they were written.
    """
    key = _keyed(expression)
    if key[0].startswith("="):
        return expression
    shortener = _Shortener(expression.variables)
    tree = shortener.folded(expression.tree)
    if len(tree.walk()) <= _MAX_SHORTENED:
        key = _key_of(tree, expression.variables, shortener.values)  # the same, and what it was made of
        while (shorter := shortener.hoisted(tree, key)) is not None:
            tree, key = shorter
    return Expression(tree, expression.variables)


class _Shortener:
    """Tries shorter trees; they share most parts, so what was found for a part is remembered by its identity."""

    def __init__(self, variables: tuple[str, ...]) -> None:
        self.variables = variables
        self.values: _Memory = {}
        self.as_folded: dict[int, tuple[Node, Node]] = {}  # the node itself beside the result keeps it alive

    def hoisted(self, tree: Node, key: tuple[str, int]) -> tuple[Node, tuple[str, int]] | None:
        """Put an argument in the place of the first node where the key allows it; return the tree and its key."""
        variables = self.variables
        text, n_positive = key
        # most candidates lose a variable or constant that the key shows: seen without computing theirs
        tokens = _TOKENS.findall(text)
        needed = set(tokens).intersection(variables)
        n_constants = tokens.count("$") + tokens.count("@") + len({t for t in tokens if t[0] == "$" and len(t) > 1})
        total = _names(tree)
        spare = sum(n not in variables for n in total) - n_constants
        known = Shortenings(tree, variables, text, total, spare, spare <= 0 and self._counts(tree, total))
        for path, node, scales in _places(tree):
            if not node.args or (node.op == "neg" and not scales):
                continue
            inside: Counter[str] | None = None
            for arg in _heirs(node, variables):
                lost = node.names - arg.names
                if lost:
                    alone = [n for n in lost if total[n] == 1]
                    if not needed.isdisjoint(alone) or sum(n not in variables for n in alone) > spare:
                        continue
                    inside = inside or _names(node)
                    gone = [n for n in lost if inside[n] == total[n]]
                    if not needed.isdisjoint(gone) or sum(n not in variables for n in gone) > spare:
                        continue
                if known.hopeless(path, node, arg):
                    continue
                shorter = self.folded(_replaced(tree, path, arg))
                found = _key_of(shorter, variables, self.values)
                # A*exp(b + k*x) loses b, not A: a form never gives up a constant's sign
                if found[0] == text and found[1] <= n_positive:
                    return shorter, found
        return None

    def _counts(self, tree: Node, total: Mapping[str, int]) -> bool:
        """Return whether no constant is used twice, and no part loses all its variables, as `N**0` does."""
        if any(count > 1 and n not in self.variables for n, count in total.items()):
            return False
        known = self.values.get((), {})
        if id(tree) not in known:  # a name, or nowhere finite
            return False
        for node in tree.walk():
            found = known.get(id(node))
            if found is not None and is_const(found[1]) and not node.names.isdisjoint(self.variables):
                return False
        return True

    def folded(self, node: Node) -> Node:
        """Compute what has only numbers in it, and drop zeros, ones and double signs."""
        if not node.args:
            return number(0.0) if _is(node, 0.0) else node  # no -0
        found = self.as_folded.get(id(node))
        if found is None:
            found = self.as_folded[id(node)] = node, self._folded(node)
        return found[1]

    def _folded(self, node: Node) -> Node:
        op, before = node.op, node.args
        first = last = self.folded(before[0])
        if len(before) == 2:
            last = self.folded(before[1])
        if first.op == "number" and last.op == "number":
            value = evaluate_scalar(op, *(first.value, last.value)[: len(before)])
            if value == 0.0 or 1.0 / _FOLDABLE < abs(value) < _FOLDABLE:
                return number(value or 0.0)
        shorter: Node | None = None
        if op == "+" or op == "-":
            shorter = self._folded_sum(op, first, last)
        elif op == "neg":
            if first.op == "neg":
                return first.args[0]
            if first.op in ("*", "/"):
                return self.folded(Node(first.op, (call("neg", first.args[0]), first.args[1])))
        elif op == "*" and (_is(first, 0.0) or _is(last, 0.0)):
            return number(0.0)
        elif op == "*" and _is(first, 1.0):
            return last
        elif op in ("*", "/", "**") and _is(last, 1.0):
            return first
        if shorter is not None:
            return shorter
        if op != "neg" and first is before[0] and last is before[-1]:
            return node
        return call(op, first, last) if len(before) == 2 else call(op, first)

    def _folded_sum(self, op: str, first: Node, last: Node) -> Node | None:
        """Return the sum or difference of two folded nodes where it is shorter than that, else None."""
        positive = without_sign(last)
        if positive is not None:
            return self.folded(Node("-" if op == "+" else "+", (first, positive)))
        if _is(last, 0.0):
            return first
        if last.op == "number" and first.op in ("+", "-") and first.args[1].op == "number":
            inner = -first.args[1].value if first.op == "-" else first.args[1].value
            total = inner + (last.value if op == "+" else -last.value)
            return self.folded(Node("+", (first.args[0], number(total))))
        if _is(first, 0.0):
            return last if op == "+" else self.folded(call("neg", last))
        return number(0.0) if op == "-" and first == last else None


def _names(tree: Node) -> Counter[str]:
    found: list[str] = []
    stack = [tree]
    while stack:
        node = stack.pop()
        if node.args:
            stack.extend(node.args)
        elif node.op == "name":
            found.append(node.name)
    return Counter(found)


def _heirs(node: Node, variables: Sequence[str]) -> Sequence[Node]:
    """Return what may take the place of a node: its arguments, each as it grew or fell in it."""
    if node.op in ("exp", "log") and node.args[0].op in ("exp", "log"):
        return (*node.args, *node.args[0].args)
    if len(node.args) < 2:
        return node.args
    first, last = node.args
    varies = not last.names.isdisjoint(variables)
    if node.op == "/" and varies:  # (1/x)**a does not become x**a
        return (first,)
    # b - k*x loses b, and -2*a the number: neither the sign of what is left
    falls = (node.op == "-" and varies) or (node.op in ("*", "/") and without_sign(node) is not None)
    return (first, call("neg", last)) if falls else node.args


def _places(tree: Node) -> Iterator[tuple[tuple[int, ...], Node, bool]]:
    """Yield (path, node, whether it is a term or factor of the outermost sum), parents first, left to right."""
    stack: list[tuple[tuple[int, ...], Node, bool]] = [((), tree, True)]
    while stack:
        path, node, scales = place = stack.pop()
        yield place
        if node.args:
            scales = scales and node.op in ("+", "-", "*", "/", "neg")
            stack += [((*path, i), node.args[i], scales) for i in range(len(node.args) - 1, -1, -1)]


def _replaced(node: Node, path: Sequence[int], new: Node) -> Node:
    if not path:
        return new
    i = path[0]
    return Node(node.op, (*node.args[:i], _replaced(node.args[i], path[1:], new), *node.args[i + 1 :]))


def _is(node: Node, value: float) -> bool:
    return node.op == "number" and node.value == value
