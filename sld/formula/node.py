"""The nodes that formulas are made of, and what can be done with a tree that knows no variables.

A search makes and walks millions of nodes, and asks each for its names and its hash again and again; so nodes have
slots, never change, and share their parts. `expression.py` says what a formula is, and reads it from text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_NO_NAMES: frozenset[str] = frozenset()  # one object for all literals: compared by identity


class Node:
    """One node: a number (`op == "number"`), a name (`op == "name"`) or an operator with arguments; it never changes.

    Attributes:
        op: What it is, or which operator.
        args: What the operator takes.
        value: Of a number.
        name: Of a variable or constant.
    """

    __slots__ = ("_hash", "_names", "_repeated", "args", "name", "op", "value")

    def __init__(self, op: str, args: tuple[Node, ...] = (), value: float = 0.0, name: str = "") -> None:
        """Make a node; `number`, `name` and `call` are the ways to it that fold what is one and the same."""
        self.op: Final = op
        self.args: Final = args
        self.value: Final = value
        self.name: Final = name
        # what is asked again and again, once it is known
        self._names: frozenset[str] | None = None
        self._repeated: frozenset[str] | None = None
        self._hash: int | None = None

    @property
    def names(self) -> frozenset[str]:
        """Names of the variables and constants in this node and below."""
        found = self._names
        if found is None:
            found = self._names = _names_of(self)
        return found

    @property
    def repeated(self) -> frozenset[str]:
        """Names that occur more than once in this node and below."""
        found = self._repeated
        if found is None:
            found = self._repeated = _repeated_of(self)
        return found

    def walk(self) -> list[Node]:
        """Return this node and all below it, parents first, left to right."""
        found: list[Node] = []
        stack = [self]
        while stack:
            node = stack.pop()
            found.append(node)
            if node.args:
                stack.extend(node.args[::-1])
        return found

    def __hash__(self) -> int:
        """Return a hash that is computed once: trees share their parts."""
        found = self._hash
        if found is None:
            found = self._hash = hash((self.op, self.args, self.value, self.name))
        return found

    def __eq__(self, other: object) -> bool:
        """Whether other is the same tree."""
        if self is other:
            return True
        if not isinstance(other, Node):
            return NotImplemented
        return self.op == other.op and self.value == other.value and self.name == other.name and self.args == other.args

    def __reduce__(self) -> tuple[type[Node], tuple[str, tuple[Node, ...], float, str]]:
        """Return what makes an equal node in another process."""
        return Node, (self.op, self.args, self.value, self.name)

    def __str__(self) -> str:
        """Return the text of the tree."""
        return to_text(self)

    def __repr__(self) -> str:
        """Return the text of the tree, marked as one."""
        return f"<Node {to_text(self)}>"


def _names_of(node: Node) -> frozenset[str]:
    if len(node.args) == 2:
        left, right = node.args[0].names, node.args[1].names
        return left if not right or left is right else right if not left else left | right
    if node.args:
        return node.args[0].names
    return frozenset((node.name,)) if node.op == "name" else _NO_NAMES


def _repeated_of(node: Node) -> frozenset[str]:
    if not node.args:
        return _NO_NAMES
    first = node.args[0]
    if len(node.args) == 1:
        return first.repeated
    last = node.args[1]
    found = first.names & last.names
    for part in (first, last):
        if part.repeated:
            found = found | part.repeated
    return found or _NO_NAMES


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

    >>> print(substitute(call("*", name("a"), name("b")), {"a": name("b"), "b": number(2.0)}))
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
