"""Arithmetic on intervals: what a value may be when its arguments run through whole ranges at once (Moore 1966).

An interval is a pair (low, high) that holds every value; it may be wider than needed, never narrower. Each function
here takes one interval per argument and knows nothing of formulas; `operators.py` says which operator uses which.
"""

from __future__ import annotations

import math

Interval = tuple[float, float]

EVERYTHING: Interval = (-math.inf, math.inf)  # nothing is known
_LARGEST_EXPONENT = 709.0  # exp beyond 709.78 is above the largest float


def add(a: Interval, b: Interval) -> Interval:
    """Return where a sum lies."""
    return sound(a[0] + b[0], a[1] + b[1])


def subtract(a: Interval, b: Interval) -> Interval:
    """Return where a difference lies."""
    return sound(a[0] - b[1], a[1] - b[0])


def multiply(a: Interval, b: Interval) -> Interval:
    """Return where a product lies; zero times infinity is zero, since the factor is zero throughout."""
    corners = [
        0.0 if x == 0.0 or y == 0.0 else x * y for x, y in ((a[0], b[0]), (a[0], b[1]), (a[1], b[0]), (a[1], b[1]))
    ]
    return sound(min(corners), max(corners))


def divide(a: Interval, b: Interval) -> Interval:
    """Return where a quotient lies; anywhere if the divisor may be zero."""
    return EVERYTHING if b[0] <= 0.0 <= b[1] else multiply(a, (1.0 / b[1], 1.0 / b[0]))


def minimum(a: Interval, b: Interval) -> Interval:
    """Return where the smaller of two lies."""
    return min(a[0], b[0]), min(a[1], b[1])


def maximum(a: Interval, b: Interval) -> Interval:
    """Return where the larger of two lies."""
    return max(a[0], b[0]), max(a[1], b[1])


def negate(a: Interval) -> Interval:
    """Return where minus a value lies."""
    return -a[1], -a[0]


def exp(a: Interval) -> Interval:
    """Return where an exponential lies."""
    return exp_of(a[0]), exp_of(a[1])


def log(a: Interval) -> Interval:
    """Return where a logarithm lies; minus infinity stands for what has none."""
    return math.log(a[0]) if a[0] > 0.0 else -math.inf, math.log(a[1]) if a[1] > 0.0 else -math.inf


def sqrt(a: Interval) -> Interval:
    """Return where a root lies; zero stands for what has none."""
    return math.sqrt(max(a[0], 0.0)), math.sqrt(max(a[1], 0.0))


def tanh(a: Interval) -> Interval:
    """Return where a hyperbolic tangent lies."""
    return math.tanh(a[0]), math.tanh(a[1])


def sigmoid(a: Interval) -> Interval:
    """Return where a logistic function lies."""
    return 1.0 / (1.0 + exp_of(-a[0])), 1.0 / (1.0 + exp_of(-a[1]))


def absolute(a: Interval) -> Interval:
    """Return where an absolute value lies."""
    low, high = a
    return (0.0, max(-low, high)) if low < 0.0 < high else (min(abs(low), abs(high)), max(abs(low), abs(high)))


def exp_of(x: float) -> float:
    """Return exp(x), infinity where it is too large for a float."""
    return math.inf if x > _LARGEST_EXPONENT else math.exp(x)


def sound(low: float, high: float) -> Interval:
    """Return an interval; infinity less infinity may be anything."""
    return low if low == low else -math.inf, high if high == high else math.inf
