"""Which shortenings of a formula cannot keep its canonical key, told from the tree: most, at a hundredth of the cost.

`simplify` puts an argument in the place of a node wherever the key stays the same. Nine trials in ten change the key
for a reason that is seen without computing it:

* A key holds each free constant at most once. Where the key of the tree has one for every name, a shorter tree whose
  constants meet (`A*k`, or `E + k` in one sum) has too few.
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


class Shortenings:
    """What is known of one tree and its key before any part of it is left out."""

    def __init__(self, tree: Node, variables: Collection[str], key: str, total: Mapping[str, int], spare: int) -> None:
        """Keep what the rules rest on.

        Args:
            tree: The formula.
            variables: Names that are no constants.
            key: Its canonical key.
            total: Name to how often it occurs in the tree.
            spare: Names of constants in the tree less free constants in the key.
        """
        self.tree, self.variables, self.key, self.spare = tree, frozenset(variables), key, spare
        self.once = frozenset(n for n, count in total.items() if count == 1 and n not in self.variables)

    def hopeless(self, path: Sequence[int], node: Node, heir: Node) -> bool:
        """Return whether the key changes for certain if `heir` takes the place of `node`, which `path` leads to."""
        if node.op == "log":
            return self._loses_log(node)
        if node.op == "**" and heir is node.args[0]:
            return self._loses_power(node)
        return self.spare <= 0 and self._meets(path, heir)

    # --- constants that meet

    def _meets(self, path: Sequence[int], heir: Node) -> bool:
        """Return whether a free constant of the heir meets another one in the sum or product around it."""
        sums, products = self._free_in(heir, _SUMS), self._free_in(heir, _PRODUCTS)
        if not sums and not products:
            return False
        node, ancestors = self.tree, []
        for i in path:
            ancestors.append((node, i))
            node = node.args[i]
        for parent, i in reversed(ancestors):
            op = parent.op
            sums, products = sums and op in _SUMS, products and op in _PRODUCTS
            if not sums and not products:
                return False
            if op != "neg" and self._holds_constant(parent.args[1 - i], _SUMS if sums else _PRODUCTS):
                return True
        return False

    def _free_in(self, node: Node, ops: Sequence[str]) -> bool:
        """Return whether a constant that is used once is a term of a sum (a factor of a product) by itself."""
        if node.op in ops:
            return any(self._free_in(arg, ops) for arg in node.args)
        return node.op == "name" and node.name in self.once

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
