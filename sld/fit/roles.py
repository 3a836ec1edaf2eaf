"""What each constant of a formula is for: where it levels off, how much a term is worth, how fast a term falls.

Constants of different tables can be compared by role alone: an exponent has no unit, the level is a share of the
smallest value, and a term is a share of it as well. That is what is learned of constants from other tables
(`priors.py`). Roles are known of sums of powers, each of them a constant times powers of columns, with or without a
constant that stands alone; of other formulas nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sld.data.quantities import quantity_of
from sld.fit.separation import is_one, linear_constants
from sld.formula.expression import Expression, Node

KINDS = ("data", "parameters", "compute", "steps", "other")  # of what a power is taken

# as tables call them; in words that stand by themselves
_WORDS = {
    "data": r"samples?|examples?|rows?|images?|sentences?|pairs?|tokens?|characters?|trainset|dataset|"
    r"train_size|data|n_train|sft_data_size|samples_seen",
    "parameters": r"params?|parameters?|width|model_size|size|weights",
    "compute": r"flops?|gflops|flop|compute|c_flops?|exaflops?|gpu_hours",
    "steps": r"steps?|epochs?|iterations?|iters?|frames?|updates?",
}
_QUANTITIES = {"N": "parameters", "D": "data", "C": "compute", "steps": "steps"}


@dataclass(frozen=True)
class Term:
    """A constant times powers of columns.

    Attributes:
        amplitude: The constant.
        basis: What it is multiplied by.
        exponents: Constant to the kind of its column (see `KINDS`) and to the sign with which its value is how fast
            the term falls: 1 for a of `N**-a`.
    """

    amplitude: str
    basis: Node
    exponents: Mapping[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Roles:
    """A formula as a sum of powers.

    Attributes:
        offset: The constant that stands alone; None without one.
        terms: The powers.
    """

    offset: str | None
    terms: tuple[Term, ...]

    def form(self, rising: bool) -> str:
        """Return what kind of sum it is, by which constants of other tables are told apart.

        `power`, `power with offset`, `power to a ceiling` where the target rises, or `sum` of several powers.
        """
        if len(self.terms) > 1:
            return "sum"
        return "power" if self.offset is None else "power to a ceiling" if rising else "power with offset"


def kind_of(column: str) -> str:
    """Return of what a column is a count, by its name: one of `KINDS`.

    >>> [kind_of(name) for name in ("N", "tokens", "train_rows", "log_C", "lr", "eval/step")]
    ['parameters', 'data', 'data', 'other', 'other', 'steps']
    """
    if (quantity := quantity_of(column)) in _QUANTITIES:
        return _QUANTITIES[quantity]
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", re.split(r"[./]", column)[-1]).casefold()
    parts = {words, *re.split(r"[\s_\d-]+", words)}
    for kind, pattern in _WORDS.items():
        if any(re.fullmatch(pattern, part) for part in parts):
            return kind
    return "data" if column in ("n", "d") else "other"


def roles_of(expression: Expression, kinds: Mapping[str, str]) -> Roles | str:
    """Return the roles of a formula's constants, or why they are not known, in words that go on from "the formula".

    >>> from sld.formula.expression import parse
    >>> found = roles_of(parse("E + A*N**-a + B/D**b", ["N", "D"]), {"N": "parameters", "D": "data"})
    >>> found.offset, [(t.amplitude, dict(t.exponents)) for t in found.terms]
    ('E', [('A', {'a': ('parameters', 1)}), ('B', {'b': ('data', 1)})])
    >>> roles_of(parse("E + A*exp(-N)", ["N"]), {"N": "parameters"})
    'is no sum of powers: exp(-N)'

    Args:
        expression: The formula.
        kinds: Symbol of each variable to its kind.
    """
    rest, bases = linear_constants(expression)
    if rest is not None:
        return f"has a part without a factor to fit: {rest}"
    offset: str | None = None
    terms: list[Term] = []
    seen: set[str] = set()
    for constant, basis in bases.items():
        if is_one(basis):
            offset = constant
            continue
        found: dict[str, tuple[str, int]] = {}
        if not _powers(basis, 1, kinds, frozenset(expression.constants), found) or not found:
            return f"is no sum of powers: {basis}"
        if seen & set(found):
            return "has one exponent in two terms"
        seen |= set(found)
        terms.append(Term(constant, basis, found))
    return Roles(offset, tuple(terms)) if terms else "has no power in it"


def _powers(
    node: Node, turn: int, kinds: Mapping[str, str], constants: frozenset[str], found: dict[str, tuple[str, int]]
) -> bool:
    """Fill in the exponents of a product of powers; False where it is none."""
    if constants.isdisjoint(node.names):
        return node.op != "neg"
    if node.op == "*":
        return all(_powers(arg, turn, kinds, constants, found) for arg in node.args)
    if node.op == "/":
        first, second = node.args
        return _powers(first, turn, kinds, constants, found) and _powers(second, -turn, kinds, constants, found)
    if node.op != "**" or not constants.isdisjoint(node.args[0].names):
        return False
    exponent, sign = node.args[1], -turn
    while exponent.op == "neg":
        exponent, sign = exponent.args[0], -sign
    if exponent.op != "name" or exponent.name in found:
        return False
    used = node.args[0].names
    kind = kinds.get(next(iter(used)), "other") if len(used) == 1 else "other"
    found[exponent.name] = kind, sign
    return True
