"""The machine's loops over rows, which become vector code, and the functions that C has only number by number.

`machine.py` says what these belong to.
"""

from __future__ import annotations

import numpy as np

from sld.fit.parts import Row, bits, double, part

_MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the rounded integer in the low bits
_LOG2E = 1.4426950408889634  # 1/log(2)
_LN2_HI = 6.93147180369123816490e-01  # log(2) to 33 bits, so that k * _LN2_HI is exact for |k| < 2**20; after fdlibm
_LN2_LO = 1.90821492927058770002e-10  # log(2) less those bits


@part(inline=True)
def fast_exp(x: float) -> float:
    """Exp without branches, so that loops over it become vector code; relative error below 3e-16.

    The polynomial interpolates exp at the Chebyshev points of [-log(2)/2, log(2)/2]: two terms fewer than Taylor's.
    """
    t = -708.0 if x < -708.0 else x  # lets NaN pass
    t = 709.0 if t > 709.0 else t
    z = t * _LOG2E + _MAGIC
    k = z - _MAGIC
    r = (t - k * _LN2_HI) - k * _LN2_LO
    p = 2.5110049204818658e-08
    p = p * r + 2.763265472252779e-07
    p = p * r + 2.755724088722987e-06
    p = p * r + 2.4801485441561313e-05
    p = p * r + 1.9841269890076403e-04
    p = p * r + 1.3888888952352863e-03
    p = p * r + 8.333333333319589e-03
    p = p * r + 4.166666666648795e-02
    p = p * r + 1.666666666666668e-01
    p = p * r + 5.000000000000019e-01
    p = p * r + 1.0
    p = p * r + 1.0
    v = p * double((bits(z) + 1023) << 52)
    v = np.inf if x > 709.0 else v
    return 0.0 if x < -708.0 else v


@part(inline=True)
def fast_log(x: float) -> float:
    """Natural logarithm without branches; NaN below zero, -inf at zero."""
    b = bits(x)
    e = double((b >> 52) + 0x4338000000000000) - _MAGIC - 1023.0
    m = double((b & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    big = m > 1.4142135623730951
    m = 0.5 * m if big else m
    e = e + 1.0 if big else e
    s = (m - 1.0) / (m + 1.0)
    q = s * s
    p = 1.0 / 21.0
    p = p * q + 1.0 / 19.0
    p = p * q + 1.0 / 17.0
    p = p * q + 1.0 / 15.0
    p = p * q + 1.0 / 13.0
    p = p * q + 1.0 / 11.0
    p = p * q + 1.0 / 9.0
    p = p * q + 1.0 / 7.0
    p = p * q + 1.0 / 5.0
    p = p * q + 1.0 / 3.0
    v = e * _LN2_HI + (2.0 * s + (2.0 * s * q * p + e * _LN2_LO))
    v = np.inf if x == np.inf else v
    v = -np.inf if x < 2.3e-308 else v
    v = np.nan if x < 0.0 else v
    return v if x == x else x


@part()
def row_fill(x: Row, value: float) -> None:
    """Set all of x to a value."""
    for r in range(x.shape[0]):
        x[r] = value


@part()
def row_copy(x: Row, y: Row) -> None:
    """Set x to y."""
    for r in range(x.shape[0]):
        x[r] = y[r]


@part()
def row_multiply(x: Row, y: Row) -> None:
    """Multiply x by y, element by element."""
    for r in range(x.shape[0]):
        x[r] *= y[r]


@part()
def row_add(x: Row, t: float, y: Row) -> None:
    """Add t * y to x."""
    for r in range(x.shape[0]):
        x[r] += t * y[r]


@part(reassociate=True, inline=False)
def row_dot(x: Row, y: Row) -> float:
    """Return the sum of products."""
    total = 0.0
    for r in range(x.shape[0]):
        total += x[r] * y[r]
    return total
