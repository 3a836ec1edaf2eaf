"""Which shortenings of a formula cannot keep its canonical key, told from the tree: most, at a hundredth of the cost.

`simplify` puts an argument in the place of a node wherever the key stays the same. Nine trials in ten change the key
for a reason that is seen without computing it:

* A key holds each free constant at most once. Where the key of the tree has one for every name, a shorter tree whose
  constants meet (`A*k`, `E + k` in one sum, `(N**a)**b`, or K and A in `A*(N/K)**a`) has too few.
* Nothing turns into `log(N)` or an exponential but itself. Where besides no constant is used twice and every part with
  variables has some in its value (`N**0` and `N/N` have none), a key that loses one changes. A factor `log(N)` may
  still be taken up by `log(N)**a`.
* `log(v)` stands in a key only if some logarithm of the tree holds v.
* Where every sum holds a constant that is used once, no two sums are alike, so none merge, and each `(...)^k` of the
  key comes from one power of the tree.

What is not refused here is tried; so a rule may only refuse what is certain.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

from sld.formula.expression import Node

_SUMS, _PRODUCTS = ("+", "-", "neg"), ("*", "/", "neg")
_KEEPS_FREE = ("+", "-", "*", "/", "neg", "**", "exp", "log", "sqrt")  # of one free constant and numbers: one constant


class Shortenings:
    """What is known of one tree and its key before any part of it is left out."""

    def __init__(
        self, tree: Node, variables: Collection[str], key: str, total: Mapping[str, int], spare: int, counts: bool
    ) -> None:
        """Keep what the rules rest on.

        Args:
            tree: The formula.
            variables: Names that are no constants.
            key: Its canonical key.
            total: Name to how often it occurs in the tree.
            spare: Names of constants in the tree less free constants in the key.
            counts: Whether no constant is used twice, and no part loses all its variables, as `N**0` does.
        """
        self.counts = counts
        self.tree, self.variables, self.key, self.spare = tree, frozenset(variables), key, spare
        self.once = frozenset(n for n, count in total.items() if count == 1 and n not in self.variables)

    def hopeless(self, path: Sequence[int], node: Node, heir: Node) -> bool:
        """Return whether the key changes for certain if `heir` takes the place of `node`, which `path` leads to."""
        if self.spare <= 0 and self.counts and self._loses_function(path, node, heir):
            return True
        if node.op == "log":
            return self._loses_log(node)
        if node.op == "**" and heir is node.args[0] and self._loses_power(node):
            return True
        return self.spare <= 0 and self._meets(path, heir)

    # --- constants that meet

    def _meets(self, path: Sequence[int], heir: Node) -> bool:
        """Return whether a free constant of the heir meets another one in the sum, product or power around it."""
        node, ancestors = self.tree, []
        for i in path:
            ancestors.append((node, i))
            node = node.args[i]
        if heir.op == "**" and path and path[-1] == 0 and ancestors[-1][0].op == "**":
            exponents = heir.args[1], ancestors[-1][0].args[1]
            if all(self._is_free(e) for e in exponents) and self._is_scaled(heir.args[0]):
                return True  # (N**a)**b has one exponent
        sums, products, alone = self._free_in(heir, _SUMS), self._free_in(heir, _PRODUCTS), self._is_free(heir)
        if not sums and not products:
            return False
        for parent, i in reversed(ancestors):
            op = parent.op
            other = parent.args[1 - i] if len(parent.args) == 2 else None
            if alone and (other is None or other.op == "number") and op in _KEEPS_FREE:
                continue  # what has nothing but a free constant in it is one
            if op == "**" and other is not None:
                return alone and self._is_free(other)  # K**a is one constant
            sums, products, alone = sums and op in _SUMS, products and op in _PRODUCTS, False
            if not sums and not products:
                return False
            if other is not None and self._holds_constant(other, _SUMS if sums else _PRODUCTS):
                return True
        return False

    def _is_free(self, node: Node) -> bool:
        """Return whether a node is a constant that is used once, or minus it."""
        return (node.args[0] if node.op == "neg" else node).name in self.once

    def _free_in(self, node: Node, ops: Sequence[str]) -> bool:
        """Return whether a constant that is used once is a term of a sum (a factor of a product) by itself."""
        if node.op in ops:
            return any(self._free_in(arg, ops) for arg in node.args)
        if node.op == "**" and ops is _PRODUCTS:  # (k/K)**a is a free constant times k**a
            base, exponent = node.args
            return self.variables.isdisjoint(exponent.names) and self._is_scaled(base) and self._free_in(base, ops)
        return node.op == "name" and node.name in self.once

    def _is_scaled(self, node: Node) -> bool:
        """Return whether a node is a product of variables, constants that are used once and numbers above zero."""
        if node.op in ("*", "/"):
            return self._is_scaled(node.args[0]) and self._is_scaled(node.args[1])
        return node.value > 0.0 if node.op == "number" else node.name in self.variables or node.name in self.once

    def _holds_constant(self, node: Node, ops: Sequence[str]) -> bool:
        """Return whether a term of a sum (a factor of a product) is made of constants, one of them used once."""
        if node.op in ops:
            return any(self._holds_constant(arg, ops) for arg in node.args)
        return not self.once.isdisjoint(node.names) and self.variables.isdisjoint(node.names)

    # --- logarithms and powers that the key shows

    @cached_property
    def _nodes(self) -> list[Node]:
        return list(self.tree.walk())

    @cached_property
    def _logs_of(self) -> Counter[str]:
        """Variable to the number of logarithms that hold it."""
        logs = [n for n in self._nodes if n.op == "log"]
        return Counter([v for n in logs for v in n.names & self.variables])

    def _loses_function(self, path: Sequence[int], node: Node, heir: Node) -> bool:
        """Return whether a logarithm or an exponential goes, or a factor that is a logarithm; see the module's top."""
        op, args = node.op, node.args
        if self.variables.isdisjoint(node.names):
            return False
        if op in ("exp", "log"):  # log(exp(u)) is neither
            return heir is args[0] and args[0].op not in ("exp", "log") and self._parent(path) not in ("exp", "log")
        if op == "**":
            return args[1].op == "number" and self._is_log(args[0]) and not self._takes_logs
        if op in ("*", "/"):
            return self._is_log(args[1] if heir is args[0] else args[0]) and not self._takes_logs
        # log(1 + N), with no constant that could take up the 1
        return op in ("+", "-") and self._parent(path) == "log" and node.names <= self.variables

    @cached_property
    def _takes_logs(self) -> bool:
        """Whether some log(N)**a could take up another log(N)."""
        powers = [n for n in self._nodes if n.op == "**" and n.args[1].op != "number"]
        return any(part.op == "log" for n in powers for part in n.args[0].walk())

    def _parent(self, path: Sequence[int]) -> str:
        """Return the operator above the node that a path leads to."""
        node = self.tree
        for i in path[:-1]:
            node = node.args[i]
        return node.op if path else ""

    def _is_log(self, node: Node) -> bool:
        """Return whether a node is the logarithm of something with variables, or a literal power of one."""
        if node.op == "**" and node.args[1].op == "number":
            node = node.args[0]
        return node.op == "log" and not self.variables.isdisjoint(node.names)

    def _loses_log(self, node: Node) -> bool:
        alone = [v for v in node.names & self.variables if self._logs_of[v] == 1]
        return any(re.search(rf"\blog\((?:[^()]*\W)?{re.escape(v)}\b", self.key) for v in alone)

    def _loses_power(self, node: Node) -> bool:
        return node.args[1].op == "number" and self._power_shown == node.args[1].value

    @cached_property
    def _power_shown(self) -> float | None:
        """The literal exponent that all powers of sums have, where the key shows each of them; else None."""
        powers = []
        for n in self._nodes:
            if n.op == "sqrt" or (n.op in ("+", "-") and self.once.isdisjoint(n.names)):
                return None
            if n.op == "**" and n.args[1].op == "number":
                powers.append(n)
        exponents = {n.args[1].value for n in powers}
        if len(exponents) != 1 or any(n.args[0].op not in ("+", "-") for n in powers):
            return None
        (exponent,) = exponents
        return exponent if _sums_to(self.key, f"^{exponent:.12g}") == len(powers) else None


def _sums_to(key: str, power: str) -> int:
    """Return how many sums in brackets are raised to a power; the argument of a function is none."""
    found, opened = 0, []
    for i, letter in enumerate(key):
        if letter == "(":
            opened.append(i)
        elif letter == ")":
            before = key[opened[-1] - 1 : opened[-1]] if opened else ""
            if opened:
                opened.pop()
            rest = key[i + 1 : i + 2 + len(power)]
            whole = rest[: len(power)] == power and not rest[len(power) :].isdigit() and rest[len(power) :] != "."
            found += whole and not (before.isalnum() or before == "_")
    return found
