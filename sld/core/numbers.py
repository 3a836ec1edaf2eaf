"""How a number is written for people: one way in every sentence, table, page and message."""

from __future__ import annotations

import math

_LEAST, _LONG = 1e-4, 1e5  # numbers between these are written without a power of ten


def short(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits: 2.04, 0.0163, 1600, 7.2e10; what is whole keeps its digits up to 1e5.

    >>> short(5.76e23), short(18.39), short(0.00163), short(98304.0), short(123456.0), short(2e-7)
    ('5.76e23', '18.4', '0.00163', '98304', '1.23e5', '2e-7')
    >>> short(None), short(float("nan")), short(-math.inf)
    ('-', '-', '-inf')
    """
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    rounded = float(f"{value:.{digits}g}")
    if value == 0 or _LEAST <= abs(rounded) < _LONG:
        return f"{value:.{digits}g}" if abs(rounded) < 10**digits else f"{value:.0f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def exact(value: float | None) -> str:
    """Return a number with six digits, as a message repeats what came: not a number is nan.

    >>> exact(1e22), exact(0.123456789), exact(float("nan"))
    ('1e22', '0.123457', 'nan')
    """
    return "nan" if value is not None and math.isnan(value) else short(value, 6)


def signed(value: float, digits: int = 2) -> str:
    """Return a number with its sign.

    >>> signed(0.25), signed(-3e-7), signed(0.0)
    ('+0.25', '-3e-7', '0')
    """
    return f"+{short(value, digits)}" if value > 0 else short(value, digits)
