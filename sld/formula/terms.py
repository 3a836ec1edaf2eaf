"""Sums of terms in which constants are anonymous: what a canonical key is made of.

A value is a sum of terms; a term is (number, absorber, factors with variables, factors of constants only); a factor is
(text of its base, exponent, flags of its base, what the base is made of). The absorber is the term's free constant,
if it has one: it takes up every other constant of the term. Tuples instead of classes, and factors that carry their
text: thousands of candidates are keyed per second in one search.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Factor: TypeAlias = "tuple[str, float | Exponent, int, Value | None]"
Term: TypeAlias = "tuple[float, int, tuple[Factor, ...], tuple[Factor, ...]]"
Value: TypeAlias = "list[Term]"

NONE, POSITIVE, REAL = 0, 1, 2  # absorbers: a free constant of any positive value `@`, or of any value `$`
# flags of a base: not negative; contains an absorber; no variables; a sum (payload: its terms); log (payload: of what);
# of any sign, as a free constant in it can turn it
POS, FREE, CONST, SUM, LOG, TURNS = 1, 2, 4, 8, 16, 32
_ABSORBER_TEXT = ("", "@", "$")  # by absorber


class UnkeyableError(ArithmeticError):
    """A literal left the range of floats on the way, or the root or logarithm of something negative was met."""


class Exponent:
    """An exponent that is not a literal."""

    __slots__ = ("const", "free", "text", "value")

    def __init__(self, value: Value) -> None:
        """Keep what is asked of it again and again."""
        self.value = value
        self.text = value_text(value)
        self.free = is_free(value)
        self.const = is_const(value)


FREE_CONSTANT: Value = [(1.0, REAL, (), ())]
ONE: Value = [(1.0, NONE, (), ())]
ANY_EXPONENT = Exponent.__new__(Exponent)
ANY_EXPONENT.value, ANY_EXPONENT.text, ANY_EXPONENT.free, ANY_EXPONENT.const = FREE_CONSTANT, "$", True, True


def literal(value: Value) -> float | None:
    """Return the number that a value is, or None."""
    if not value:
        return 0.0
    if len(value) == 1:
        number, absorber, v, c = value[0]
        if not absorber and not v and not c:
            return number
    return None


def exponent_of(value: Value) -> float | Exponent:
    """Return a value as an exponent: a literal where it is one."""
    number = literal(value)
    if number is not None:
        return number
    if len(value) == 1 and value[0][1] == REAL and not value[0][2]:
        return ANY_EXPONENT
    return Exponent(value)


def _number_text(number: float) -> str:
    return f"{number:.12g}"  # 12 digits: folding must not tell 0.1 + 0.2 from 0.3


def _factor_text(factor: Factor) -> str:
    base, exponent = factor[0], factor[1]
    if isinstance(exponent, float):
        return base if exponent == 1.0 else f"{base}^{exponent:.12g}"
    if base == "exp":
        return f"exp({exponent.text})"
    return base + "^$" if exponent is ANY_EXPONENT else f"{base}^({exponent.text})"


def product_text(factors: Sequence[Factor]) -> str:
    """Return the text of a product."""
    if len(factors) == 1:
        return _factor_text(factors[0])
    return "*".join(sorted([_factor_text(f) for f in factors]))


def term_text(term: Term) -> str:
    """Return the text of a term, its number last."""
    number, absorber, v, c = term
    parts = []
    if v:
        parts.append(product_text(v))
    if c:
        parts.append(product_text(c))
    if absorber:
        parts.append(_ABSORBER_TEXT[absorber])
    if number != 1.0 or not parts:
        parts.append(_number_text(number))
    return "*".join(parts)


def value_text(value: Value) -> str:
    """Return the text of a sum."""
    if len(value) == 1:
        return term_text(value[0])
    return "+".join(sorted([term_text(t) for t in value])) or "0"


def _factor_is_free(factor: Factor) -> bool:
    exponent = factor[1]
    return bool(factor[2] & FREE) or (not isinstance(exponent, float) and exponent.free)


def factor_is_const(factor: Factor) -> bool:
    """Whether base and exponent are without variables."""
    exponent = factor[1]
    return bool(factor[2] & CONST) and (isinstance(exponent, float) or exponent.const)


def are_free(factors: Iterable[Factor]) -> bool:
    """Whether a free constant stands inside a factor: such factors equal no other."""
    return any(_factor_is_free(f) for f in factors)


def is_free(value: Value) -> bool:
    """Whether a free constant stands anywhere in a sum."""
    return any(t[1] or are_free(t[2]) or are_free(t[3]) for t in value)


def is_const(value: Value) -> bool:
    """Whether a sum is without variables."""
    return not any(t[2] for t in value)


def is_positive(term: Term) -> bool:
    """Whether a term is never negative."""
    number, absorber, v, c = term
    return number > 0 and absorber != REAL and all(f[2] & POS for f in v) and all(f[2] & POS for f in c)


def negated(value: Value) -> Value:
    """Return a sum times -1."""
    return [t if t[1] == REAL else (-t[0], t[1], t[2], t[3]) for t in value]


def collect(terms: list[Term]) -> Value:
    """Add like terms; an absorber takes up every term with the same variables."""
    if len(terms) < 2:
        return terms
    groups: dict[object, list[Term]] = {}
    for i, term in enumerate(terms):
        v = term[2]
        # a free constant inside (N**a) makes the term unlike every other (N**b)
        key: object = "" if not v else i if are_free(v) else product_text(v)
        groups.setdefault(key, []).append(term)
    if len(groups) == len(terms):
        return terms
    out: Value = []
    for group in groups.values():
        out.extend(group if len(group) == 1 else _collect_alike(group))
    return out


def _collect_alike(group: list[Term]) -> list[Term]:
    v = group[0][2]
    lone = [t[0] for t in group if t[1] == POSITIVE and not t[3]]
    if any(t[1] == REAL for t in group) or (lone and min(lone) < 0 < max(lone)):
        return [(1.0, REAL, v, ())]
    out: list[Term] = []
    sums: dict[str, tuple[float, tuple[Factor, ...]]] = {}
    for term in group:
        number, absorber, _, c = term
        if absorber or are_free(c):
            if c or not absorber:
                out.append(term)
        else:
            text = product_text(c) if c else ""
            sums[text] = (sums[text][0] + number if text in sums else number, c)
    if lone:
        out.append((math.copysign(1.0, lone[0]), POSITIVE, v, ()))
    out.extend((number, NONE, v, c) for number, c in sums.values() if number)
    return out


def leading_term(value: Value) -> Term | None:
    """The term whose number is made 1 in a sum that is a factor; not one of any value, whose number is free."""
    fixed = [t for t in value if t[1] != REAL]
    if len(fixed) < 2:
        return fixed[0] if fixed else None
    return min(fixed, key=lambda t: (term_text((1.0, t[1], t[2], t[3])), abs(t[0]), t[0]))


def divided(value: Value, scale: float) -> Value:
    """Return a sum over a number."""
    if scale == 1.0:
        return value
    out: Value = []
    for number, absorber, v, c in value:
        if absorber:  # an absorber takes up the scale; a positive one keeps its sign
            number = -number if scale < 0 and absorber == POSITIVE else number
        else:
            number /= scale
        out.append((number, absorber, v, c))
    return out


def sum_factor(value: Value, exponent: float | Exponent) -> Factor:
    """Return a sum to a power as one factor."""
    flags = SUM
    if all(is_positive(t) for t in value):
        flags |= POS
    if is_free(value):
        flags |= FREE
    if is_const(value):
        flags |= CONST
    return (f"({value_text(value)})", exponent, flags, value)
