r"""Formulas: an immutable tree, the grammar that reads it from text, and the text it writes back.

The grammar is the one door through which every proposed formula enters, whoever wrote it (a person, the
catalogue, a symbolic-regression engine, a language model). Nothing is ever evaluated as code.

    sum      := product (('+' | '-') product)*
    product  := unary (('*' | '/') unary)*
    unary    := '-' unary | power
    power    := atom ('**' unary)?                      right-associative, binds tighter than unary minus
    atom     := number | name | function '(' sum (',' sum)* ')' | '(' sum ')'

A name that is a variable of the table is that variable; every other name is a constant to be fitted.
In a task with proportions, `sum(k_share*share)` stands for the sum over all proportion variables: `share` is
each of them in turn, and a constant that ends in `_share` becomes one constant per proportion (`k_1`, `k_2`, ...).
`own` is the proportion that belongs to the target (the j-th proportion for the j-th target).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from sld.core.errors import GrammarError, suggest
from sld.formula.operators import ALIASES, FUNCTIONS, OPERATORS, evaluate_scalar

RESERVED = frozenset(FUNCTIONS) | {"sum", "share", "own"}  # names that no column and no constant may have

_MEANT = {"^": "** for powers", "×": "*", "·": "*", "÷": "/", "−": "-", chr(0x2013): "-"}  # pasted from a paper
# what others call these
_HINTS = {"ln": "log", "log10": "log(x)/log(10)", "pow": "**", "logistic": "sigmoid", "expit": "sigmoid"}

MAX_LENGTH = 4000  # characters; the longest law of the catalogue has 207, and no text may stall the parser
MAX_DEPTH = 100  # recursion over trees stays far from Python's limit of 1000 frames
MAX_NODES = 600  # the largest law of the catalogue has 77, which leaves room for sums over many proportions
MAX_NAME = 64  # a column called by a whole sentence is still one name
MAX_LITERAL = 1e100  # in absolute value; constants beyond this are never meant


class _Remembered:
    """Slots for what a node is asked again and again; they are empty until then, and no part of its value.

    Attributes:
        names: Names of the variables and constants in this node and below.
    """

    __slots__ = ("_hash", "names")
    _hash: int
    names: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Node(_Remembered):
    """One node: a number (`op == "number"`), a name (`op == "name"`) or an operator with arguments."""

    op: str
    args: tuple[Node, ...] = ()
    value: float = 0.0
    name: str = ""

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it, parents first, left to right."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            if node.args:
                stack.extend(node.args[::-1])

    if not TYPE_CHECKING:

        def __getattr__(self, wanted):
            """Fill a slot that is still empty; a property in its place would be asked every time."""
            if wanted == "names":
                found = _names_of(self)
            elif wanted == "_hash":
                found = hash((self.op, self.args, self.value, self.name))
            else:
                raise AttributeError(f"a node has no {wanted!r}")
            object.__setattr__(self, wanted, found)
            return found

    def __hash__(self) -> int:
        """Return a hash that is computed once: trees share their parts."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Whether other is the same tree."""
        if self is other:
            return True
        if not isinstance(other, Node):
            return NotImplemented
        return self.op == other.op and self.value == other.value and self.name == other.name and self.args == other.args

    def __str__(self) -> str:
        """Return the text of the tree."""
        return to_text(self)


def _names_of(node: Node) -> frozenset[str]:
    if len(node.args) == 2:
        left, right = node.args[0].names, node.args[1].names
        return left if not right or left is right else right if not left else left | right
    if node.args:
        return node.args[0].names
    return frozenset((node.name,)) if node.op == "name" else _NO_NAMES


_NO_NAMES: frozenset[str] = frozenset()  # one object for all literals: compared by identity


def number(value: float) -> Node:
    """Return a literal."""
    return Node("number", value=float(value))


@lru_cache(maxsize=1 << 12)
def name(text: str) -> Node:
    """Return a variable or constant: the same node for the same name, so that what is known of it is known once."""
    return Node("name", name=text)


def call(op: str, *args: Node) -> Node:
    """Return an operator node; a negated literal is folded so that text and tree agree one to one."""
    if len(args) == 1:
        (arg,) = args
        if arg.op == "name":
            return _of_name(op, arg.name)
        if op == "neg" and arg.op == "number":
            return number(-arg.value)
    return Node(op, args)


@lru_cache(maxsize=1 << 12)
def _of_name(op: str, text: str) -> Node:
    """Return a function of a name, the same node each time: `log(N)` and `-a` stand in most formulas."""
    return Node(op, (name(text),))


def substitute(node: Node, replacement: Mapping[str, Node]) -> Node:
    """Return `node` with every name in `replacement` replaced, all at once.

    >>> print(substitute(parse("a*b", []).tree, {"a": name("b"), "b": number(2.0)}))
    b*2
    """
    if node.op == "name":
        return replacement.get(node.name, node)
    if not node.args:
        return node
    return call(node.op, *(substitute(arg, replacement) for arg in node.args))


def without_sign(node: Node) -> Node | None:
    """Return minus the node if its text starts with a minus (`-3`, `-a*x`), else None."""
    if node.op == "number":
        return number(-node.value) if node.value < 0 else None
    if node.op == "neg":
        return node.args[0]
    if node.op in ("*", "/") and (first := without_sign(node.args[0])) is not None:
        return Node(node.op, (first, node.args[1]))
    return None


_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "**": 4}  # how tightly an operator holds its arguments
_ATOM = 5  # what never needs brackets


def format_number(value: float) -> str:
    """Return the shortest text that reads back as `value`, its power of ten as in every other number: 6e15, 2e-7.

    >>> format_number(6e15), format_number(2e-7), format_number(1.5e300), format_number(98304.0), format_number(0.25)
    ('6e15', '2e-7', '1.5e300', '98304', '0.25')
    """
    whole = value == int(value)
    if whole and abs(value) < 1e15:
        return str(int(value)) if value or math.copysign(1.0, value) > 0 else "-0.0"
    text = repr(float(value))
    if whole and "e" not in text:  # from 1e15 to 1e16 Python still writes all digits
        digits = text.removesuffix(".0").lstrip("-")
        power = len(digits) - 1
        digits = digits.rstrip("0")
        text = f"{'-' if value < 0 else ''}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{power}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def _precedence(node: Node) -> int:
    if node.op == "number":
        return _PRECEDENCE["neg"] if math.copysign(1.0, node.value) < 0 else _ATOM
    return _PRECEDENCE.get(node.op, _ATOM)


def to_text(node: Node) -> str:
    """Return the text of `node` with as few parentheses as the grammar allows; `parse` gives the tree back."""
    if node.op == "number":
        return format_number(node.value)
    if node.op == "name":
        return node.name
    if node.op == "neg":
        return "-" + _wrapped(node.args[0], _PRECEDENCE["neg"])
    if node.op == "**":
        return f"{_wrapped(node.args[0], _ATOM)}**{_wrapped(node.args[1], _PRECEDENCE['neg'])}"
    if node.op in _PRECEDENCE:
        rank = _PRECEDENCE[node.op]
        gap = " " if rank == 1 else ""
        return f"{_wrapped(node.args[0], rank)}{gap}{node.op}{gap}{_wrapped(node.args[1], rank + 1)}"
    return f"{node.op}({', '.join(to_text(arg) for arg in node.args)})"


def _wrapped(node: Node, least: int) -> str:
    text = to_text(node)
    return text if _precedence(node) >= least else f"({text})"


@dataclass(frozen=True)
class Expression:
    """A formula over named variables with free constants.

    >>> formula = parse("E + A*N**-a", ["N", "D"])
    >>> formula.constants, formula.used_variables, formula.complexity
    (('E', 'A', 'a'), ('N',), 8)

    Attributes:
        tree: The root node.
        variables: Names that are variables of the table, in the table's order (used or not).
    """

    tree: Node
    variables: tuple[str, ...] = field(default=())

    @cached_property
    def text(self) -> str:
        """The formula as text; `parse(text, variables)` gives an equal expression."""
        return to_text(self.tree)

    @cached_property
    def constants(self) -> tuple[str, ...]:
        """Names of the constants in order of first appearance."""
        known = self.variables
        found: dict[str, None] = {}
        stack = [self.tree]
        while stack:
            node = stack.pop()
            if node.args:
                stack.extend(node.args[::-1])
            elif node.op == "name" and node.name not in known:
                found[node.name] = None
        return tuple(found)

    @cached_property
    def used_variables(self) -> tuple[str, ...]:
        """Variables that occur in the formula, in the table's order."""
        return tuple(v for v in self.variables if v in self.tree.names)

    @cached_property
    def complexity(self) -> int:
        """Number of nodes."""
        return sum(1 for _ in self.tree.walk())

    def __str__(self) -> str:
        """Return `text`."""
        return self.text


_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([^\W\d]\w*)|(\*\*|[-+*/(),])|(\S))")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # "number", "name", "symbol" or "end"
    text: str
    column: int  # 1-based


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        assert match is not None  # the pattern's last branch takes any character
        digits, word, symbol, other = match.groups()
        column = match.end() - len(digits or word or symbol or other) + 1
        if other:
            known = "the grammar has + - * / ** and " + " ".join(FUNCTIONS)
            hint = f"write {_MEANT[other]}" if other in _MEANT else known
            raise GrammarError(f"unknown operator {other!r} at column {column}; {hint}", column)
        if word and not word.isidentifier():
            message = f"name {word!r} at column {column} has a character that is neither letter nor digit"
            raise GrammarError(f"{message}; powers are written with **", column)
        if word and len(word) > MAX_NAME:
            raise GrammarError(f"name of {len(word)} characters at column {column}; at most {MAX_NAME}", column)
        tokens.append(_Token("number" if digits else "name" if word else "symbol", digits or word or symbol, column))
        position = match.end()
    tokens.append(_Token("end", "", len(text) + 1))
    return tokens


class _Parser:
    """Recursive descent over the tokens of one formula."""

    def __init__(self, text: str, variables: Sequence[str], shares: Sequence[str], own: str | None) -> None:
        self.tokens = _tokens(text)
        self.position = 0
        self.level = 0
        self.variables = frozenset(variables)
        self.shares = tuple(shares)
        self.own = own
        self.in_sum = False

    def peek(self) -> _Token:
        return self.tokens[self.position]

    def take(self) -> _Token:
        token = self.tokens[self.position]
        self.position += 1
        return token

    def accept(self, *symbols: str) -> _Token | None:
        token = self.peek()
        return self.take() if token.kind == "symbol" and token.text in symbols else None

    def expect(self, symbol: str, why: str) -> None:
        if not self.accept(symbol):
            raise self.unexpected(self.peek(), f"expected {symbol!r} {why}")

    @staticmethod
    def unexpected(token: _Token, wanted: str) -> GrammarError:
        got = "the end of the formula" if token.kind == "end" else repr(token.text)
        return GrammarError(f"{wanted}, got {got} at column {token.column}", token.column)

    def parse(self) -> Node:
        tree = self.sum()
        token = self.peek()
        if token.kind != "end":
            if token.kind in ("name", "number") or token.text == "(":
                raise self.unexpected(token, "expected an operator (products are written with *)")
            raise self.unexpected(token, "expected an operator or the end")
        return tree

    def nested(self, token: _Token) -> None:
        self.level += 1
        if self.level > MAX_DEPTH:
            raise GrammarError(f"formula is nested deeper than {MAX_DEPTH} at column {token.column}", token.column)

    def sum(self) -> Node:
        left = self.product()
        while token := self.accept("+", "-"):
            left = call(token.text, left, self.product())
        return left

    def product(self) -> Node:
        left = self.unary()
        while token := self.accept("*", "/"):
            left = call(token.text, left, self.unary())
        return left

    def unary(self) -> Node:
        # every parenthesis, function, sign and exponent comes through here: one level each, as in the tree
        self.nested(self.peek())
        # -2**x is -(2**x): only a literal that is not a base folds into a negative number
        node = call("neg", self.unary()) if self.accept("-") else self.power()
        self.level -= 1
        return node

    def power(self) -> Node:
        base = self.atom()
        if self.accept("**"):
            return call("**", base, self.unary())
        return base

    def atom(self) -> Node:
        token = self.take()
        if token.kind == "number":
            value = float(token.text)
            if abs(value) > MAX_LITERAL:
                message = f"number {token.text[:20]} at column {token.column} is too large; at most {MAX_LITERAL:g}"
                raise GrammarError(message, token.column)
            return number(value)
        if token.kind == "name":
            return self.named(token)
        if token.kind == "symbol" and token.text == "(":
            node = self.sum()
            self.expect(")", f"to close the one at column {token.column}")
            return node
        raise self.unexpected(token, "expected a number, a name or '('")

    def named(self, token: _Token) -> Node:
        is_call = self.peek().kind == "symbol" and self.peek().text == "("
        if token.text in self.variables and not is_call:
            return name(token.text)
        word = ALIASES.get(token.text, token.text)
        if not is_call:
            return self.plain_name(token, word)
        if word == "sum":
            return self.sum_over_shares(token)
        if word not in FUNCTIONS:
            if word in _HINTS:
                hint = f"; did you mean {_HINTS[word]}?"
            else:
                hint = suggest(word, FUNCTIONS, kind="function").removeprefix(f"no function {word!r}")
            raise GrammarError(f"unknown function {word!r} at column {token.column}{hint}", token.column)
        self.take()
        args = [self.sum()]
        while self.accept(","):
            args.append(self.sum())
        self.expect(")", f"after the arguments of {word}")
        return self.applied(token, word, args)

    @staticmethod
    def applied(token: _Token, word: str, args: Sequence[Node]) -> Node:
        operator = OPERATORS[word]
        if operator.folds:
            if len(args) < 2:
                raise GrammarError(f"{word} at column {token.column} needs two arguments or more", token.column)
            node = args[0]
            for arg in args[1:]:
                node = call(word, node, arg)
            return node
        if len(args) != operator.n_args:
            wanted = "one argument" if operator.n_args == 1 else "two arguments"
            raise GrammarError(f"{word} at column {token.column} takes {wanted}, got {len(args)}", token.column)
        return call(word, *args)

    def plain_name(self, token: _Token, word: str) -> Node:
        if word == "own":
            if self.own is None:
                message = f"'own' at column {token.column} needs a task with one proportion per target"
                raise GrammarError(message, token.column)
            return name(self.own)
        if word == "share" and not self.in_sum:
            raise GrammarError(f"'share' at column {token.column} is only known inside sum(...)", token.column)
        if word in FUNCTIONS or word == "sum":
            raise GrammarError(f"{word!r} at column {token.column} is a function: write {word}(...)", token.column)
        if "__" in word:
            raise GrammarError(f"name {word!r} at column {token.column} has a double underscore", token.column)
        return name(word)

    def sum_over_shares(self, token: _Token) -> Node:
        if not self.shares:
            raise GrammarError(f"sum(...) at column {token.column} needs a task with proportions", token.column)
        if self.in_sum:
            raise GrammarError(f"sum(...) at column {token.column} stands inside another sum", token.column)
        self.take()
        self.in_sum = True
        body = self.sum()
        self.in_sum = False
        self.expect(")", "after the body of sum")
        names = {n.name for n in body.walk() if n.op == "name"}
        indexed = [n for n in sorted(names) if n.endswith("_share") and n not in self.variables]
        node: Node | None = None
        for k, share in enumerate(self.shares, start=1):
            own_names = {n: f"{n.removesuffix('_share')}_{k}" for n in indexed}
            for word in own_names.values():
                if word in self.variables:
                    message = f"sum(...) at column {token.column} would name a constant {word!r}, which is a variable"
                    raise GrammarError(f"{message}; choose another name before _share", token.column)
            replaced = {"share": name(share)} | {n: name(word) for n, word in own_names.items()}
            term = substitute(body, replaced)
            node = term if node is None else call("+", node, term)
        assert node is not None
        return node


def _check(node: Node, depth: int = 1) -> tuple[int, bool, float]:
    """Return (nodes, is a literal expression, its value), refusing what is too deep, too large or not finite."""
    if depth > MAX_DEPTH:
        raise GrammarError(f"formula is nested deeper than {MAX_DEPTH}")
    if node.op == "number":
        return 1, True, node.value
    if node.op == "name":
        return 1, False, 0.0
    parts = [_check(arg, depth + 1) for arg in node.args]
    size = 1 + sum(p[0] for p in parts)
    if not all(p[1] for p in parts):
        return size, False, 0.0
    value = evaluate_scalar(node.op, *(p[2] for p in parts))
    if not math.isfinite(value) or abs(value) > MAX_LITERAL:
        text = to_text(node)
        raise GrammarError(f"{text if len(text) <= 40 else text[:37] + '...'} has no finite value of sensible size")
    return size, True, value


_SHALLOW = 40  # levels of a tree that no text of it can bring near MAX_DEPTH: a sign and a bracket for each


def as_parsed(tree: Node, variables: Sequence[str] = ()) -> Expression:
    """Return what `parse(to_text(tree), variables)` gives, without the text where that makes no difference.

    The grammar's limits hold for trees that were put together in memory too; and no two parts of the result are one
    node, except names and functions of a name.

    >>> half = parse("a*x", ["x"]).tree
    >>> as_parsed(call("+", half, half), ["x"]).text
    'a*x + a*x'

    Raises:
        GrammarError: The tree is beyond the limits of the grammar.
    """
    depth = 0
    level = [tree]
    while level and depth <= _SHALLOW:
        level = [arg for node in level for arg in node.args]
        depth += 1
    if level:
        return parse(to_text(tree), variables)
    if (size := _check(tree)[0]) > MAX_NODES:
        raise GrammarError(f"formula has {size} nodes; at most {MAX_NODES}")
    return Expression(_rebuilt(tree), tuple(variables))


def _rebuilt(node: Node) -> Node:
    if node.args:
        return call(node.op, *[_rebuilt(arg) for arg in node.args])
    return number(node.value) if node.op == "number" else name(node.name)


def parse(
    text: str, variables: Sequence[str] = (), *, shares: Sequence[str] = (), own: str | None = None
) -> Expression:
    """Read a formula.

    >>> parse("E + A/N**a", ["N"]).text
    'E + A/N**a'
    >>> parse("sum(k_share*share)", ["p", "q"], shares=["p", "q"]).text
    'k_1*p + k_2*q'
    >>> parse("E + A*N^-a", ["N"])
    Traceback (most recent call last):
    sld.core.errors.GrammarError: unknown operator '^' at column 8; write ** for powers

    Args:
        text: The formula, e.g. `"E + A*N**-a + B*D**-b"`.
        variables: Names that are variables; every other name is a constant.
        shares: The proportion variables that `sum(...)` runs over.
        own: The proportion variable that `own` stands for.

    Raises:
        GrammarError: The text is not in the grammar or beyond its limits; the message points at the column.
    """
    if len(text) > MAX_LENGTH:
        raise GrammarError(f"formula has {len(text)} characters; at most {MAX_LENGTH}")
    if not text.strip():
        raise GrammarError("the formula is empty; write e.g. E + A*N**-a")
    tree = _Parser(text, variables, shares, own).parse()
    if (size := _check(tree)[0]) > MAX_NODES:
        raise GrammarError(f"formula has {size} nodes; at most {MAX_NODES}")
    return Expression(tree, tuple(variables))
