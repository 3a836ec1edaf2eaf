"""Products, powers and functions of sums of terms (`terms.py`), each brought to one form.

The conventions, and why no two different families get the same form, are at the top of `canonical.py`.
Throughout: a free constant is never written twice, so rules that would copy one do not apply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sld.formula.operators import OPERATORS, evaluate_scalar
from sld.formula.terms import (
    CONST,
    FREE,
    FREE_CONSTANT,
    LOG,
    NONE,
    ONE,
    POS,
    POSITIVE,
    REAL,
    SUM,
    TURNS,
    Exponent,
    Factor,
    Term,
    UnkeyableError,
    Value,
    are_free,
    collect,
    divided,
    exponent_of,
    factor_is_const,
    is_const,
    is_free,
    is_positive,
    leading_term,
    literal,
    sum_factor,
    value_text,
)

_MAX_EXPANDED = 12  # terms; longer products of sums stay products


def _single(number: float, absorber: int = NONE) -> Value:
    return [(number, absorber, (), ())]


def _as_value(exponent: float | Exponent) -> Value:
    if isinstance(exponent, float):
        return _single(exponent) if exponent else []
    return exponent.value


def _is_integer(exponent: float | Exponent) -> bool:
    return isinstance(exponent, float) and exponent.is_integer()


def product(values: Sequence[Value]) -> Value:
    """Return the product of sums."""
    number, absorber = 1.0, NONE
    factors: list[Factor] = []
    for value in values:
        if not value:
            return []
        if len(value) > 1:
            scale, pulled = _pulled(value, 1.0)
            number *= scale
            factors.extend(pulled)
            continue
        term = value[0]
        number *= term[0]
        if term[1] > absorber:
            absorber = term[1]
        factors.extend(term[2])
        factors.extend(term[3])
    return _merge(number, absorber, factors)


def _pulled(value: Value, exponent: float | Exponent) -> tuple[float, list[Factor]]:
    """Return a sum of two terms or more to a power, its scale and common factors outside where that is allowed."""
    if not isinstance(exponent, float) and exponent.free:
        return 1.0, [sum_factor(value, exponent)]
    number = 1.0
    outside: list[Factor] = []
    if common := _common(value):
        inverse: list[Factor] = [(base, -least, flags, payload) for base, least, flags, payload in common]
        value = collect([p for t in value for p in _merge(t[0], t[1], [*t[2], *t[3], *inverse])])
        for base, least, flags, payload in common:
            outside.append((base, exponent_of(product([_single(least), _as_value(exponent)])), flags, payload))
    leading = leading_term(value)
    if leading is not None and isinstance(exponent, float):
        scale = leading[0] if exponent.is_integer() else abs(leading[0])
        if scale != 1.0:
            number = scale**exponent
            value = divided(value, scale)
    return number, [sum_factor(value, exponent), *outside]


def _common(value: Value) -> list[tuple[str, float, int, Value | None]]:
    """Return powers of non-negative bases that divide every term."""
    out: list[tuple[str, float, int, Value | None]] = []
    for base, least, flags, payload in value[0][2]:
        if flags & FREE or not flags & POS or not isinstance(least, float):
            continue
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


def _merge(number: float, absorber: int, factors: Sequence[Factor]) -> Value:
    """Return a product of factors: equal bases joined, constants absorbed."""
    if len(factors) > 1:
        joined: dict[object, Factor] = {}
        for i, factor in enumerate(factors):
            base, exponent, flags, payload = factor
            key: object = i if flags & FREE else base
            other = joined.get(key)
            if other is None:
                joined[key] = factor
                continue
            total = _added(other[1], exponent)
            if not flags & POS and not _same_domain(other[1], exponent, total):
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
        (c if factor[2] & CONST and factor_is_const(factor) else v).append(factor)
    return _finish((number, absorber, tuple(v), tuple(c)))


def _added(a: float | Exponent, b: float | Exponent) -> float | Exponent:
    if isinstance(a, float) and isinstance(b, float):
        return a + b
    return exponent_of(collect(_as_value(a) + _as_value(b)))


def _same_domain(a: float | Exponent, b: float | Exponent, total: float | Exponent) -> bool:
    """Whether u**a * u**b is u**total for negative u too (sqrt(u)*sqrt(u) is not u)."""
    return not _is_integer(total) or (_is_integer(a) and _is_integer(b))


def with_any_sign(value: Value) -> Value:
    """Let the positive free constants that scale a term have any sign."""
    return collect([p for t in value for p in _finish((t[0], t[1] and REAL, t[2], t[3]))])


def _finish(term: Term) -> Value:
    """Let the absorber of a product take up what it can, and expand products of one sum."""
    number, absorber, v, c = term
    if not number or not math.isfinite(number):
        raise UnkeyableError
    if number < 0 and any(f[2] & TURNS and isinstance(f[1], float) and f[1] % 2.0 == 1.0 for f in (*v, *c)):
        number = -number
    if absorber == REAL:
        number, c = 1.0, ()
    elif absorber == POSITIVE:
        number = math.copysign(1.0, number)
        if c:
            c = tuple(f for f in c if not f[2] & POS)
    for factor in (*v, *c):
        if factor[2] & SUM:
            return _finish_sums(number, absorber, v, c)
    return [(number, absorber, v, c)]


def _finish_sums(number: float, absorber: int, v: tuple[Factor, ...], c: tuple[Factor, ...]) -> Value:
    if absorber:
        v = tuple(_unscaled(factor) for factor in v)
    if absorber or c or number != 1.0:
        odd = [f for f in v if f[2] & SUM and isinstance(f[1], float) and f[1] % 2.0 == 1.0]
        for factor in sorted(odd, key=lambda f: f[0]):
            value = factor[3]
            assert value is not None
            lacking = sum(t[1] != REAL for t in value)
            # C*(1 + B*x)**-1 is (c + b*x)**-1: at most one term waits for a coefficient
            if lacking == 0 or (lacking == 1 and absorber == REAL and len(value) > 1):
                full = sum_factor([(1.0, REAL, t[2], ()) for t in value], factor[1])
                v = tuple(full if f is factor else f for f in v)
                number, absorber, c = 1.0, NONE, ()
                break
    factors = (*v, *c)
    sums = [f for f in factors if f[2] & SUM]
    if absorber or len(sums) != 1 or sums[0][1] != 1.0:
        return [(number, absorber, v, c)]
    value = sums[0][3]
    assert value is not None
    if len(factors) == 1 and number == 1.0:
        return value
    others = [f for f in factors if f is not sums[0]]
    if len(value) > _MAX_EXPANDED or are_free(others):
        return [(number, absorber, v, c)]
    return collect([p for t in value for p in _merge(number * t[0], t[1], [*t[2], *t[3], *others])])


def _unscaled(factor: Factor) -> Factor:
    """Return A*(2 + 2*x)**a without the scale 2**a, which A takes up."""
    _, exponent, flags, value = factor
    if not flags & SUM or value is None or isinstance(exponent, float) or not exponent.const:
        return factor
    leading = leading_term(value)
    if leading is None or abs(leading[0]) == 1.0:
        return factor
    value = divided(value, abs(leading[0]))
    if len(value) == 1:
        number, absorber, v, c = value[0]
        if number == 1.0 and not absorber and not c and len(v) == 1:
            (only,) = power(value, exponent)
            if only[:2] == (1.0, NONE) and len(only[2]) == 1 and not only[3]:
                return only[2][0]
    return sum_factor(value, exponent)


def power(value: Value, exponent: float | Exponent) -> Value:
    """Return a sum to a power."""
    if exponent == 1.0:
        return value
    if exponent == 0.0:
        return ONE
    if not value:
        if isinstance(exponent, float) and exponent > 0:
            return []
        raise UnkeyableError
    if len(value) > 1:
        scale, pulled = _pulled(value, exponent)
        return _merge(scale, NONE, pulled)
    if isinstance(exponent, float):
        return _literal_power(value[0], exponent)
    number, absorber, v, c = value[0]
    factors = (*v, *c)
    if not factors:
        return _constant_power(value, exponent)
    if number > 0 and all(f[2] & POS for f in factors):
        if absorber and not exponent.const:
            return _merge(1.0, NONE, [sum_factor(value, exponent)])
        # (A*x)**a needs A > 0, so A**a is any positive constant
        outside = _single(1.0, absorber and POSITIVE)
        if len(factors) == 1 and number == 1.0:
            base, inner, flags, payload = factors[0]
            total = product([_as_value(inner), exponent.value])
            own = (
                exponential(total) if base == "exp" else _merge(1.0, NONE, [(base, exponent_of(total), flags, payload)])
            )
            return product([outside, own]) if absorber else own
        if exponent.free:
            # the exponent is a free constant, which must not be written twice
            return product([outside, [(1.0, NONE, (sum_factor([(number, NONE, v, c)], exponent),), ())]])
        parts = [power([(1.0, NONE, (f,), ())], exponent) for f in factors]
        return product([outside, _constant_power(_single(number), exponent), *parts])
    if number == 1.0 and not absorber and len(factors) == 1 and factors[0][1] == 1.0:
        base, _, flags, payload = factors[0]
        return _merge(1.0, NONE, [(base, exponent, flags, payload)])
    return _merge(1.0, NONE, [sum_factor(value, exponent)])


def _constant_power(value: Value, exponent: Exponent) -> Value:
    """Return a number or free constant to a power: an exponential."""
    number, absorber = value[0][:2]
    if absorber == REAL or (absorber and number > 0):
        return exponential(product([FREE_CONSTANT, exponent.value]))
    if number == 1.0:
        return ONE
    if number > 0:
        return exponential(product([_single(math.log(number)), exponent.value]))
    raise UnkeyableError


def _literal_power(term: Term, exponent: float) -> Value:
    number, absorber, v, c = term
    integer = exponent.is_integer()
    whole: list[Factor] = []
    kept: list[Factor] = []  # bases whose sign is not known
    for factor in (*v, *c):
        base, inner, flags, payload = factor
        if flags & POS or (integer and _is_integer(inner)):
            if isinstance(inner, float):
                whole.append((base, inner * exponent, flags, payload))
            elif base == "exp":
                whole.append((base, Exponent(product([_single(exponent), inner.value])), flags, payload))
            else:
                whole.append((base, exponent_of(product([_single(exponent), inner.value])), flags, payload))
        else:
            kept.append(factor)
    if integer:
        if absorber == REAL and exponent % 2.0 == 0.0:
            absorber = POSITIVE
        whole.extend(sum_factor(_merge(1.0, NONE, [f]), exponent) for f in kept)
        return _merge(number**exponent, absorber, whole)
    if not kept and (number > 0 or absorber == REAL):
        return _merge(number**exponent, absorber and POSITIVE, whole)
    if not kept:
        raise UnkeyableError  # a root of what is never positive
    inside = _merge(math.copysign(1.0, number), REAL if absorber == REAL else NONE, kept)
    outside = _merge(abs(number) ** exponent, POSITIVE if absorber == POSITIVE else NONE, whole)
    return product([outside, _merge(1.0, NONE, [sum_factor(inside, exponent)])])


def exponential(value: Value) -> Value:
    """Return exp of a sum: constants become a coefficient, `b*log(N)` becomes `N**b`."""
    number, absorber = 1.0, NONE
    rest: Value = []
    powers: list[Value] = []
    for term in value:
        coefficient, kind, v, c = term
        if not v and kind == REAL:
            absorber = POSITIVE
            continue
        if not v and not c and not kind:
            number *= math.exp(coefficient)
            continue
        logs = [f for f in v if f[2] & LOG and f[1] == 1.0]
        if len(logs) == 1:
            argument = logs[0][3]
            assert argument is not None
            exponent = exponent_of([(coefficient, kind, tuple(f for f in v if f is not logs[0]), c)])
            # log(u) keeps u positive, u**2 does not
            if not _is_integer(exponent) or all(is_positive(t) for t in argument):
                powers.append(power(argument, exponent))
                continue
        rest.append(term)
    factors: list[Factor] = []
    if rest:
        whole = Exponent(rest)
        factors.append(("exp", whole, POS | (CONST if whole.const else 0), None))
    own = _merge(number, absorber, factors)
    return product([own, *powers]) if powers else own


def logarithm(value: Value) -> Value:
    """Return log of a sum; of a product it is a sum, as far as the factors are known to be positive."""
    if not value:
        raise UnkeyableError
    if len(value) > 1:
        leading = leading_term(value)
        scale = abs(leading[0]) if leading is not None else 1.0
        out = _atom("log", [divided(value, scale)], LOG)
        return out if scale == 1.0 else collect([*out, *_single(math.log(scale))])
    number, absorber, v, c = value[0]
    factors = [*v, *c]
    unknown = [f for f in factors if not f[2] & POS]
    terms: list[Term] = []
    if absorber == POSITIVE or (absorber == REAL and not unknown):
        terms.extend(FREE_CONSTANT)
    elif abs(number) != 1.0:
        terms.extend(_single(math.log(abs(number))))
    for base, exponent, flags, payload in factors:
        if not flags & POS:
            continue
        if base == "exp":
            terms.extend(_as_value(exponent))
        elif flags & SUM and payload is not None:
            terms.extend(product([_as_value(exponent), logarithm(payload)]))
        else:
            own = _merge(1.0, NONE, [(base, 1.0, flags, payload)])
            terms.extend(product([_as_value(exponent), _atom("log", [own], LOG)]))
    if number < 0 and absorber != REAL and not unknown:
        raise UnkeyableError
    if unknown:
        kept = _merge(math.copysign(1.0, number), absorber if absorber == REAL else NONE, unknown)
        terms.extend(_atom("log", [kept], LOG))
    return collect(terms)


def _atom(op: str, values: Sequence[Value], flags: int = 0) -> Value:
    text = f"{op}({','.join([value_text(value) for value in values])})"
    payload = values[0] if len(values) == 1 else None
    if any([is_free(value) for value in values]):
        flags |= FREE
    if all([is_const(value) for value in values]):
        return [(1.0, NONE, (), ((text, 1.0, flags | CONST, payload),))]
    return [(1.0, NONE, ((text, 1.0, flags, payload),), ())]


def absolute(value: Value) -> Value:
    """Return abs of a sum; of a product it is a product."""
    if not value:
        return []
    if len(value) > 1:
        leading = leading_term(value)
        scale = leading[0] if leading is not None else 1.0
        return product([_single(abs(scale)), _atom("abs", [divided(value, scale)], POS)])
    number, absorber, v, c = value[0]
    whole = [f for f in (*v, *c) if f[2] & POS]
    rest = [f for f in (*v, *c) if not f[2] & POS]
    outside = _merge(abs(number), absorber and POSITIVE, whole)
    return product([outside, _atom("abs", [_merge(1.0, NONE, rest)], POS)]) if rest else outside


def function_of(op: str, values: Sequence[Value]) -> Value:
    """Return an operator of which no identity is known; of an odd one the leading term is made positive."""
    row = OPERATORS[op]
    numbers = [literal(value) for value in values]
    if all(n is not None for n in numbers):
        number = evaluate_scalar(op, *(n for n in numbers if n is not None))
        if not math.isfinite(number):
            raise UnkeyableError
        return _single(number) if number else []
    if row.sign == "odd" and row.n_args == 1:
        (value,) = values
        leading = leading_term(value)
        sign = -1.0 if leading is not None and leading[0] < 0 else 1.0
        flags = TURNS if leading is None else 0
        return product([_single(sign), _atom(op, [divided(value, sign)], flags)])
    return _atom(op, values, POS if row.sign == "never_negative" else 0)


def logistic(value: Value) -> Value:
    """Return sigmoid of a sum, as 1/(1 + exp(-u))."""
    minus = [t if t[1] == REAL else (-t[0], t[1], t[2], t[3]) for t in value]
    return power(collect([*ONE, *exponential(minus)]), -1.0)


def extreme(op: str, values: Sequence[Value]) -> Value:
    """Return min or max over values in canonical order, equal ones once."""
    numbers = [n for n in map(literal, values) if n is not None]
    values = [value for value in values if literal(value) is None]
    if numbers:
        least = min(numbers) if op == "min" else max(numbers)
        values.append(_single(least) if least else [])
    distinct: dict[object, Value] = {}
    for i, value in enumerate(values):
        distinct[i if is_free(value) else value_text(value)] = value
    kept = list(distinct.values())
    if len(kept) == 1:
        return kept[0]
    positive = [all(is_positive(t) for t in value) for value in kept]
    flags = POS if (all(positive) if op == "min" else any(positive)) else 0
    if any(is_free(value) for value in kept):
        flags |= FREE
    text = f"{op}({','.join(sorted(value_text(value) for value in kept))})"
    if all(is_const(value) for value in kept):
        return [(1.0, NONE, (), ((text, 1.0, flags | CONST, None),))]
    return [(1.0, NONE, ((text, 1.0, flags, None),), ())]
