"""One key per family of functions: forms that differ only in how they are written get the same text.

`canonical_key` rewrites a formula as a sum of terms, each a coefficient times powers, and replaces every group of
constants that can take any value by one anonymous constant `$`:

    A/N**a + E  ->  $+N^$*$         E - 2*B*N**(-c/d)  ->  $+N^$*$

Equal keys mean the same family; the converse does not hold (`equivalence.equivalent` is the thorough judge).

Conventions, each chosen so that no two different families are merged:

- A constant absorbs its surroundings only when it occurs once; constants used twice keep their identity.
- Variables are taken as non-negative, as scales, shares and hyperparameters are: `(x*y)**0.5` is `x**0.5*y**0.5`.
  Anything else (a sum with a free constant, a logarithm) may be negative: `((x - A)**2)**0.5` stays.
- A group of constants that is positive for all their values (`exp(A)`, `A**2`) is `@`, not `$`, because a sign can
  make a pole: `1/(1 + exp(A)*N**b)` has none, `1/(1 + A*N**b)` may. Only where it scales a term of the outermost
  sum is it `$`: there the sign is all that it loses, so `exp(a + b*log(N))` is `A*N**b`.
- Isolated parameter values do not count (`A*B` with `B` used elsewhere is `A` although `B` may be zero).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import permutations
from typing import TypeAlias

from sld.core.expression import Expression, Node, name, substitute, to_text

# A value is a sum of terms; a term is (number, absorber, factors with variables, factors of constants only);
# a factor is (text of its base, exponent, flags of its base, what the base is made of).
# Tuples instead of classes: thousands of candidates are keyed per second in one search.
Factor: TypeAlias = "tuple[str, float | _Exponent, int, Value | None]"
Term: TypeAlias = "tuple[float, int, tuple[Factor, ...], tuple[Factor, ...]]"
Value: TypeAlias = "list[Term]"

_NONE, _POSITIVE, _REAL = 0, 1, 2  # absorbers: a free constant of any positive value `@`, or of any value `$`
_POS, _FREE, _CONST, _SUM, _LOG = 1, 2, 4, 8, 16  # flags of a base; _FREE: contains an absorber
_ABSORBER_TEXT = ("", "@", "$")
_MAX_EXPANDED = 12  # terms; longer products of sums stay products


class _Unkeyable(ArithmeticError):
    """A literal left the range of floats on the way."""


class _Exponent:
    """An exponent that is not a literal."""

    __slots__ = ("const", "free", "text", "value")

    def __init__(self, value: Value) -> None:
        self.value = value
        self.text = _text(value)
        self.free = _is_free(value)
        self.const = _is_const(value)


_R: Value = [(1.0, _REAL, (), ())]
_ONE: Value = [(1.0, _NONE, (), ())]
_ANY = _Exponent.__new__(_Exponent)
_ANY.value, _ANY.text, _ANY.free, _ANY.const = _R, "$", True, True


def _literal(value: Value) -> float | None:
    if not value:
        return 0.0
    if len(value) == 1:
        number, absorber, v, c = value[0]
        if not absorber and not v and not c:
            return number
    return None


def _exponent(value: Value) -> float | _Exponent:
    literal = _literal(value)
    if literal is not None:
        return literal
    if len(value) == 1 and value[0][1] == _REAL and not value[0][2]:
        return _ANY
    return _Exponent(value)


def _number_text(number: float) -> str:
    return f"{number:.12g}"  # 12 digits: folding must not tell 0.1 + 0.2 from 0.3


def _factor_text(factor: Factor) -> str:
    base, exponent = factor[0], factor[1]
    if isinstance(exponent, float):
        return base if exponent == 1.0 else f"{base}^{exponent:.12g}"
    if base == "exp":
        return f"exp({exponent.text})"
    return base + "^$" if exponent is _ANY else f"{base}^({exponent.text})"


def _product_text(factors: Sequence[Factor]) -> str:
    if len(factors) == 1:
        return _factor_text(factors[0])
    return "*".join(sorted([_factor_text(f) for f in factors]))


def _term_text(term: Term) -> str:
    number, absorber, v, c = term
    parts = []
    if v:
        parts.append(_product_text(v))
    if c:
        parts.append(_product_text(c))
    if absorber:
        parts.append(_ABSORBER_TEXT[absorber])
    if number != 1.0 or not parts:
        parts.append(_number_text(number))
    return "*".join(parts)


def _text(value: Value) -> str:
    if len(value) == 1:
        return _term_text(value[0])
    return "+".join(sorted([_term_text(t) for t in value])) or "0"


def _factor_is_free(factor: Factor) -> bool:
    exponent = factor[1]
    return bool(factor[2] & _FREE) or (not isinstance(exponent, float) and exponent.free)


def _factor_is_const(factor: Factor) -> bool:
    exponent = factor[1]
    return bool(factor[2] & _CONST) and (isinstance(exponent, float) or exponent.const)


def _are_free(factors: Iterable[Factor]) -> bool:
    return any(_factor_is_free(f) for f in factors)


def _is_free(value: Value) -> bool:
    return any(t[1] or _are_free(t[2]) or _are_free(t[3]) for t in value)


def _is_const(value: Value) -> bool:
    return not any(t[2] for t in value)


def _is_positive(term: Term) -> bool:
    number, absorber, v, c = term
    return number > 0 and absorber != _REAL and all(f[2] & _POS for f in v) and all(f[2] & _POS for f in c)


def _negated(value: Value) -> Value:
    return [t if t[1] == _REAL else (-t[0], t[1], t[2], t[3]) for t in value]


def _collect(terms: list[Term]) -> Value:
    """Add like terms; an absorber takes up every term with the same variables."""
    if len(terms) < 2:
        return terms
    groups: dict[object, list[Term]] = {}
    for i, term in enumerate(terms):
        v = term[2]
        # a free constant inside (N**a) makes the term unlike every other (N**b)
        key: object = "" if not v else i if _are_free(v) else _product_text(v)
        groups.setdefault(key, []).append(term)
    if len(groups) == len(terms):
        return terms
    out: Value = []
    for group in groups.values():
        out.extend(group if len(group) == 1 else _collect_alike(group))
    return out


def _collect_alike(group: list[Term]) -> list[Term]:
    v = group[0][2]
    lone = [t[0] for t in group if t[1] == _POSITIVE and not t[3]]
    if any(t[1] == _REAL for t in group) or (lone and min(lone) < 0 < max(lone)):
        return [(1.0, _REAL, v, ())]
    out: list[Term] = []
    sums: dict[str, tuple[float, tuple[Factor, ...]]] = {}
    for term in group:
        number, absorber, _, c = term
        if absorber or _are_free(c):
            if c or not absorber:
                out.append(term)
        else:
            text = _product_text(c) if c else ""
            sums[text] = (sums[text][0] + number if text in sums else number, c)
    if lone:
        out.append((math.copysign(1.0, lone[0]), _POSITIVE, v, ()))
    out.extend((number, _NONE, v, c) for number, c in sums.values() if number)
    return out


def _leading(value: Value) -> Term | None:
    """The term whose number is made 1 in a sum that is a factor; not one of any value, whose number is free."""
    fixed = [t for t in value if t[1] != _REAL]
    if len(fixed) < 2:
        return fixed[0] if fixed else None
    return min(fixed, key=lambda t: (_term_text((1.0, t[1], t[2], t[3])), abs(t[0]), t[0]))


def _divided(value: Value, scale: float) -> Value:
    if scale == 1.0:
        return value
    out: Value = []
    for number, absorber, v, c in value:
        if absorber:  # an absorber takes up the scale; a positive one keeps its sign
            number = -number if scale < 0 and absorber == _POSITIVE else number
        else:
            number /= scale
        out.append((number, absorber, v, c))
    return out


def _sum_factor(value: Value, exponent: float | _Exponent) -> Factor:
    flags = _SUM
    if all(_is_positive(t) for t in value):
        flags |= _POS
    if _is_free(value):
        flags |= _FREE
    if _is_const(value):
        flags |= _CONST
    return (f"({_text(value)})", exponent, flags, value)


def _common(value: Value) -> list[Factor]:
    """Powers of non-negative bases that divide every term."""
    first = [f for f in value[0][2] if f[2] & _POS and not f[2] & _FREE and isinstance(f[1], float)]
    out: list[Factor] = []
    for base, exponent, flags, payload in first:
        assert isinstance(exponent, float)
        least = exponent
        for term in value[1:]:
            for other in term[2]:
                if other[0] == base and isinstance(other[1], float):
                    least = min(least, other[1])
                    break
            else:
                break
        else:
            out.append((base, least, flags, payload))
    return out


def _sum_power(value: Value, exponent: float | _Exponent) -> Value:
    """A sum of two terms or more to a power, its common factors and scale outside where that is allowed."""
    linked = not isinstance(exponent, float) and exponent.free
    if linked:
        # the same free constant would stand on both factors
        return [(1.0, _NONE, (_sum_factor(value, exponent),), ())]
    outside: Value = []
    if common := _common(value):
        inverse = _power([(1.0, _NONE, tuple(common), ())], -1.0)[0][2]
        value = [_merge(t[0], t[1], [*t[2], *t[3], *inverse])[0] for t in value]
        outside = _power([(1.0, _NONE, tuple(common), ())], exponent)
    number = 1.0
    leading = _leading(value)
    if leading is not None:
        scale = abs(leading[0])
        integer = isinstance(exponent, float) and exponent.is_integer()
        if leading[0] < 0 and integer:
            scale = -scale
        if scale != 1.0 and isinstance(exponent, float):
            number = scale**exponent
            value = _divided(value, scale)
    factor = _sum_factor(value, exponent)
    alone: Term = (number, _NONE, (), (factor,)) if _factor_is_const(factor) else (number, _NONE, (factor,), ())
    return _product([[alone], outside]) if outside else _finish(alone)


def _merge(number: float, absorber: int, factors: list[Factor]) -> Value:
    """The product of factors: equal bases joined, constants absorbed."""
    if len(factors) > 1:
        joined: dict[object, Factor] = {}
        for i, factor in enumerate(factors):
            base, exponent, flags, payload = factor
            key: object = i if flags & _FREE else base
            other = joined.get(key)
            if other is None:
                joined[key] = factor
                continue
            total = _added(other[1], exponent)
            if not flags & _POS and not _same_domain(other[1], exponent, total):
                joined[i] = factor
            elif total == 0.0:
                del joined[key]
            else:
                joined[key] = (base, total, flags, payload)
        if len(joined) != len(factors):
            factors = list(joined.values())
    v: list[Factor] = []
    c: list[Factor] = []
    for factor in factors:
        (c if factor[2] & _CONST and _factor_is_const(factor) else v).append(factor)
    return _finish((number, absorber, tuple(v), tuple(c)))


def _added(a: float | _Exponent, b: float | _Exponent) -> float | _Exponent:
    if isinstance(a, float) and isinstance(b, float):
        return a + b
    return _exponent(_collect(_as_value(a) + _as_value(b)))


def _as_value(exponent: float | _Exponent) -> Value:
    if isinstance(exponent, float):
        return [(exponent, _NONE, (), ())] if exponent else []
    return exponent.value


def _same_domain(a: float | _Exponent, b: float | _Exponent, total: float | _Exponent) -> bool:
    """Whether u**a * u**b is u**total for negative u too (sqrt(u)*sqrt(u) is not u)."""
    if not isinstance(total, float) or not total.is_integer():
        return True
    return isinstance(a, float) and isinstance(b, float) and a.is_integer() and b.is_integer()


def _finish(term: Term) -> Value:
    """Let the absorber of a product take up what it can, and expand products of one sum."""
    number, absorber, v, c = term
    if not math.isfinite(number):
        raise _Unkeyable
    if absorber == _REAL:
        number, c = 1.0, ()
    elif absorber == _POSITIVE:
        number = math.copysign(1.0, number)
        if c:
            c = tuple(f for f in c if not f[2] & _POS)
    for i, factor in enumerate(v):
        if factor[2] & _SUM:
            return _finish_sum(number, absorber, v, c, i)
    return [(number, absorber, v, c)]


def _finish_sum(number: float, absorber: int, v: tuple[Factor, ...], c: tuple[Factor, ...], i: int) -> Value:
    if absorber:
        # A*(2 + 2*x)**a: A takes up the scale 2**a whatever the exponent
        v = tuple(f for factor in v for f in _unscaled(factor))
    sums = [f for f in v if f[2] & _SUM]
    odd = [f for f in sums if isinstance(f[1], float) and f[1] % 2.0 == 1.0]
    for factor in sorted(odd, key=lambda f: f[0]) if absorber or c or number != 1.0 else ():
        value = factor[3]
        assert value is not None
        lacking = sum(t[1] != _REAL for t in value)
        # C*(1 + B*x)**-1 is (c + b*x)**-1: at most one term waits for a coefficient
        if lacking == 0 or (lacking == 1 and absorber == _REAL):
            full: Value = [(1.0, _REAL, t[2], ()) for t in value]
            replaced = _sum_factor(full, factor[1])
            v = tuple(replaced if f is factor else f for f in v)
            number, absorber, c = 1.0, _NONE, ()
            break
    sums = [f for f in v if f[2] & _SUM]
    if len(sums) == 1 and sums[0][1] == 1.0 and not absorber:
        others = [f for f in v if f is not sums[0]]
        value = sums[0][3]
        assert value is not None
        if not others and not c and number == 1.0:
            return value
        if len(value) <= _MAX_EXPANDED and not _are_free(others) and not _are_free(c):
            rest = [*others, *c]
            return _collect([p for t in value for p in _merge(number * t[0], t[1], [*t[2], *t[3], *rest])])
    return [(number, absorber, v, c)]


def _unscaled(factor: Factor) -> Iterable[Factor]:
    value, exponent = factor[3], factor[1]
    if not factor[2] & _SUM or value is None or isinstance(exponent, float):
        return (factor,)
    leading = _leading(value)
    if leading is None or abs(leading[0]) == 1.0:
        return (factor,)
    value = _divided(value, abs(leading[0]))
    if len(value) == 1 and value[0][0] == 1.0 and not value[0][1] and len(value[0][2]) == 1 and not value[0][3]:
        power = _power(value, exponent)
        if len(power) == 1 and power[0][:2] == (1.0, _NONE):
            return power[0][2]
    return (_sum_factor(value, exponent),)


def _product(values: Sequence[Value]) -> Value:
    number, absorber = 1.0, _NONE
    factors: list[Factor] = []
    for value in values:
        if not value:
            return []
        if len(value) > 1:
            value = _sum_power(value, 1.0) if len(values) > 1 else value
            if len(value) > 1:
                value = [(1.0, _NONE, (_sum_factor(value, 1.0),), ())]
        term = value[0]
        number *= term[0]
        if term[1] > absorber:
            absorber = term[1]
        factors.extend(term[2])
        factors.extend(term[3])
    return _merge(number, absorber, factors)


def _power(value: Value, exponent: float | _Exponent) -> Value:
    if exponent == 1.0:
        return value
    if exponent == 0.0:
        return _ONE
    if len(value) > 1:
        return _sum_power(value, exponent)
    if not value:
        if isinstance(exponent, float) and exponent > 0:
            return []
        raise _Unkeyable
    number, absorber, v, c = value[0]
    if isinstance(exponent, float):
        return _literal_power(value[0], exponent)
    if not v and not c:
        # a number or a free constant to a power: an exponential, or one constant
        if absorber:
            rate = _R
        elif number > 0:
            rate = [(math.log(number), _NONE, (), ())] if number != 1.0 else []
        else:
            return [(1.0, _NONE, (_sum_factor(value, exponent),), ())]
        return _exp(_product([rate, exponent.value]))
    factors = [*v, *c]
    known = absorber == _POSITIVE or (absorber == _NONE and number == 1.0)
    if all(f[2] & _POS for f in factors) and number > 0:
        # (A*x)**a needs A > 0, so A**a is any positive constant
        if absorber == _REAL:
            absorber, known = _POSITIVE, True
        if known and len(factors) == 1:
            base, inner, flags, payload = factors[0]
            if base == "exp":
                return _product([[(1.0, absorber, (), ())], _exp(_product([_as_value(inner), exponent.value]))])
            outer = _exponent(_product([_as_value(inner), exponent.value]))
            return _merge(1.0, absorber, [(base, outer, flags, payload)])
        if not exponent.free:
            parts = [_power([(1.0, _NONE, (f,), ())], exponent) for f in factors]
            scale = _exp(_product([[(math.log(number), _NONE, (), ())], exponent.value])) if number != 1.0 else _ONE
            return _product([[(1.0, absorber, (), ())], scale, *parts])
        # the exponent is a free constant, which must not be written twice
        inside: Value = [(number, _NONE, v, c)]
        return _product([[(1.0, absorber, (), ())], [(1.0, _NONE, (_sum_factor(inside, exponent),), ())]])
    if known and len(factors) == 1 and not absorber and factors[0][1] == 1.0:
        base, _, flags, payload = factors[0]
        return _merge(1.0, _NONE, [(base, exponent, flags, payload)])
    return _merge(1.0, _NONE, [_sum_factor(value, exponent)])


def _literal_power(term: Term, exponent: float) -> Value:
    number, absorber, v, c = term
    integer = exponent.is_integer()
    whole: list[Factor] = []
    kept: list[Factor] = []  # bases whose sign is not known
    for factor in (*v, *c):
        base, inner, flags, payload = factor
        if flags & _POS or (integer and isinstance(inner, float) and inner.is_integer()):
            if isinstance(inner, float):
                whole.append((base, inner * exponent, flags, payload))
            else:
                whole.append((base, _exponent(_product([[(exponent, _NONE, (), ())], inner.value])), flags, payload))
        else:
            kept.append(factor)
    if integer:
        if absorber == _REAL and exponent % 2.0 == 0.0:
            absorber = _POSITIVE
        if len(kept) == 1 or all(isinstance(f[1], float) for f in kept):
            whole.extend(_sum_factor([(1.0, _NONE, (f,), ())], exponent) for f in kept)
        elif kept:
            whole.append(_sum_factor(_merge(1.0, _NONE, kept), exponent))
        return _merge(number**exponent, absorber, whole)
    if not kept and (number > 0 or absorber == _REAL):
        return _merge(number**exponent if absorber != _REAL else 1.0, absorber and _POSITIVE, whole)
    sign = math.copysign(1.0, number)
    inside = _merge(sign, _REAL if absorber == _REAL else _NONE, kept)
    outside = _merge(abs(number) ** exponent, _POSITIVE if absorber == _POSITIVE else _NONE, whole)
    return _product([outside, _merge(1.0, _NONE, [_sum_factor(inside, exponent)])])


def _exp(value: Value) -> Value:
    """Exponential of a sum: constants become a coefficient, `b*log(N)` becomes `N**b`."""
    number, absorber = 1.0, _NONE
    rest: Value = []
    powers: list[Value] = []
    for term in value:
        coefficient, kind, v, c = term
        if not v and kind == _REAL:
            absorber = _POSITIVE
        elif not v and not c and not kind:
            number *= math.exp(coefficient)
        else:
            logs = [f for f in v if f[2] & _LOG and f[1] == 1.0]
            if len(logs) == 1:
                argument = logs[0][3]
                assert argument is not None
                others: Value = [(coefficient, kind, tuple(f for f in v if f is not logs[0]), c)]
                exponent = _exponent(others)
                integer = isinstance(exponent, float) and exponent.is_integer()
                # log(u) keeps u positive, u**2 does not
                if not integer or all(_is_positive(t) for t in argument):
                    powers.append(_power(argument, exponent))
                    continue
            rest.append(term)
    if not rest and not powers:
        return [(number, absorber, (), ())]
    factors: list[Factor] = []
    if rest:
        exponent = _Exponent(rest)
        factors.append(("exp", exponent, _POS | (_CONST if exponent.const else 0), None))
    own = _merge(number, absorber, factors)
    return _product([own, *powers]) if powers else own


def _log(value: Value) -> Value:
    """Logarithm of a product, which is a sum, as far as the factors are known to be positive."""
    if len(value) != 1:
        if not value:
            raise _Unkeyable
        leading = _leading(value)
        scale = abs(leading[0]) if leading is not None else 1.0
        scaled = _divided(value, scale)
        return _collect([*_log_atom(scaled), *([(math.log(scale), _NONE, (), ())] if scale != 1.0 else [])])
    number, absorber, v, c = value[0]
    factors = [*v, *c]
    unknown = [f for f in factors if not f[2] & _POS]
    out: Value = []
    if absorber == _POSITIVE or (absorber == _REAL and not unknown):
        out.extend(_R)
    elif abs(number) != 1.0:
        out.append((math.log(abs(number)), _NONE, (), ()))
    for base, exponent, flags, payload in factors:
        if not flags & _POS:
            continue
        if base == "exp":
            out.extend(_as_value(exponent))
        elif flags & _SUM and payload is not None:
            out.extend(_product([_as_value(exponent), _log(payload)]))
        else:
            atom: Value = [(1.0, _NONE, ((base, 1.0, flags, payload),), ())]
            out.extend(_product([_as_value(exponent), _log_atom(atom)]))
    if unknown or (number < 0 and absorber != _REAL):
        kept = _merge(math.copysign(1.0, number), absorber if absorber == _REAL else _NONE, unknown)
        out.extend(_log_atom(kept))
    return _collect(out)


def _log_atom(value: Value) -> Value:
    return _atom(f"log({_text(value)})", value, _LOG)


def _atom(text: str, value: Value, flags: int = 0) -> Value:
    if _is_free(value):
        flags |= _FREE
    factor: Factor
    if _is_const(value):
        factor = (text, 1.0, flags | _CONST, value)
        return [(1.0, _NONE, (), (factor,))]
    factor = (text, 1.0, flags, value)
    return [(1.0, _NONE, (factor,), ())]


def _odd_or_even(op: str, value: Value) -> Value:
    """tanh(-u) is -tanh(u); abs(-u) is abs(u), and abs of a product is a product."""
    if op == "abs" and len(value) == 1:
        number, absorber, v, c = value[0]
        factors = [*v, *c]
        whole = [f for f in factors if f[2] & _POS]
        rest = [f for f in factors if not f[2] & _POS]
        outside = _merge(abs(number) if absorber != _REAL else 1.0, absorber and _POSITIVE, whole)
        if not rest:
            return outside
        inner = _merge(1.0, _NONE, rest)
        return _product([outside, _atom(f"abs({_text(inner)})", inner, _POS)])
    leading = _leading(value)
    sign = -1.0 if leading is not None and leading[0] < 0 else 1.0
    value = _divided(value, sign)
    if op == "abs":
        return _atom(f"abs({_text(value)})", value, _POS)
    return _product([[(sign, _NONE, (), ())], _atom(f"tanh({_text(value)})", value)])


def _extreme(node: Node, names: dict[str, Value]) -> Value:
    """A min or max over all its arguments in canonical order, equal ones once."""
    op = node.op
    found: dict[object, Value] = {}
    stack = [node]
    while stack:
        node = stack.pop()
        if node.op == op:
            stack.extend(node.args)
            continue
        value = _normal(node, names)
        text = _text(value)
        found[len(found) if _is_free(value) else text] = value
    if len(found) == 1:
        return next(iter(found.values()))
    values = list(found.values())
    every = [all(_is_positive(t) for t in v) for v in values]
    flags = _POS if (all(every) if op == "min" else any(every)) else 0
    if any(_is_free(v) for v in values):
        flags |= _FREE
    text = f"{op}({','.join(sorted(_text(v) for v in values))})"
    if all(_is_const(v) for v in values):
        return [(1.0, _NONE, (), ((text, 1.0, flags | _CONST, None),))]
    return [(1.0, _NONE, ((text, 1.0, flags, None),), ())]


def _normal(node: Node, names: dict[str, Value]) -> Value:
    op = node.op
    if op == "name":
        return names[node.name]
    if op == "number":
        return [(node.value, _NONE, (), ())] if node.value else []
    if op == "*" or op == "/":
        values: list[Value] = []
        stack = [(node, False)]
        while stack:
            node, inverse = stack.pop()
            if node.op == "*":
                stack.append((node.args[1], inverse))
                stack.append((node.args[0], inverse))
            elif node.op == "/":
                stack.append((node.args[1], not inverse))
                stack.append((node.args[0], inverse))
            else:
                value = _normal(node, names)
                values.append(_power(value, -1.0) if inverse else value)
        return _product(values)
    if op == "+" or op == "-" or op == "neg":
        terms: list[Term] = []
        signed = [(node, True)]
        while signed:
            node, plus = signed.pop()
            if node.op == "+":
                signed.append((node.args[1], plus))
                signed.append((node.args[0], plus))
            elif node.op == "-":
                signed.append((node.args[1], not plus))
                signed.append((node.args[0], plus))
            elif node.op == "neg":
                signed.append((node.args[0], not plus))
            else:
                value = _normal(node, names)
                terms.extend(value if plus else _negated(value))
        return _collect(terms)
    if op == "**":
        return _power(_normal(node.args[0], names), _exponent(_normal(node.args[1], names)))
    if op == "min" or op == "max":
        return _extreme(node, names)
    value = _normal(node.args[0], names)
    if op == "exp":
        return _exp(value)
    if op == "log":
        return _log(value)
    if op == "sqrt":
        return _power(value, 0.5)
    if op == "sigmoid":
        return _power(_collect([*_ONE, *_exp(_negated(value))]), -1.0)
    return _odd_or_even(op, value)


def _named_key(tree: Node, names: dict[str, Value]) -> str:
    value = _normal(tree, names)
    if any(t[1] == _POSITIVE for t in value):
        value = _collect([p for t in value for p in _finish((t[0], t[1] and _REAL, t[2], t[3]))])
    return _text(value)


@lru_cache(maxsize=1 << 16)
def canonical_key(expression: Expression) -> str:
    """Return a text that is the same for every way of writing one family of functions (see the module's top)."""
    variables = expression.variables
    counts: dict[str, int] = {}
    stack = [expression.tree]
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
            names[word] = [(1.0, _NONE, ((word, 1.0, _POS, None),), ())]
        elif count == 1:
            names[word] = _R
        else:
            shared.append(word)
    try:
        if not shared:
            return _named_key(expression.tree, names)
        # constants used twice are numbered; the numbering that gives the least text is the canonical one
        orders: Iterable[Sequence[str]] = permutations(shared) if len(shared) <= 3 else [shared]
        keys = []
        for order in orders:
            for i, word in enumerate(order):
                names[word] = [(1.0, _NONE, (), ((f"${i}", 1.0, _CONST, None),))]
            keys.append(_named_key(expression.tree, names))
        return min(keys)
    except (ArithmeticError, ValueError, RecursionError):
        # literals beyond the range of floats: the text itself, constants numbered as they come
        renamed = {word: name(f"_{i}") for i, word in enumerate(expression.constants)}
        return to_text(substitute(expression.tree, renamed))
