"""What a person asks of a fit, read and checked: pins and bounds of constants, where a robust loss turns linear."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact
from sld.fit.fitting import LOSSES
from sld.formula.domain import Limits
from sld.formula.expression import Expression, Node

EXPONENTS = "exponents"  # in bounds: all of a formula's exponents
WITH_DELTA = ("huber", "log_huber", "envelope")


def check_loss(loss: str, delta: float | None) -> None:
    """Refuse a loss that there is not, and a delta that is none or that the loss has no use for.

    >>> check_loss("log_huber", 1e-3)
    >>> check_loss("squared", 1e-3)
    Traceback (most recent call last):
    sld.core.errors.UsageError: loss 'squared' has no delta; those with one are huber, log_huber, envelope

    Args:
        loss: One of `fitting.LOSSES`.
        delta: Where Huber's function turns linear, or the share of an envelope; None for what the fit takes.

    Raises:
        UsageError: It is so.
    """
    if loss not in LOSSES:
        raise UsageError(suggest(loss, LOSSES, kind="loss"))
    if delta is None:
        return
    if loss not in WITH_DELTA:
        raise UsageError(f"loss {loss!r} has no delta; those with one are {', '.join(WITH_DELTA)}")
    if isinstance(delta, bool) or not isinstance(delta, int | float) or not 0.0 < delta < math.inf:
        raise UsageError(f"delta must be a finite number above 0, got {delta}")
    if loss == "envelope" and not delta < 1.0:
        raise UsageError(f"the delta of an envelope is a share between 0 and 1, got {exact(delta)}")


def read_pins(pins: Mapping[str, float | str], expression: Expression) -> tuple[dict[str, float], dict[str, str]]:
    """Return constant to value, and constant to the one that it equals, for those that an expression has.

    >>> from sld.formula.expression import parse
    >>> form = parse("E + A*N**-a + B*D**-b", ["N", "D"])
    >>> read_pins({"E": 1.69, "a": "b"}, form)
    ({'E': 1.69}, {'a': 'b'})

    Args:
        pins: Constant to a value or to another constant, which may be pinned as well.
        expression: The formula; constants that it does not have are left out, since other targets may have them.

    Raises:
        UsageError: A value is not finite, pins go round in a circle, or a constant is tied to one of another formula.
    """
    own = expression.constants
    values: dict[str, float] = {}
    tied: dict[str, str] = {}
    for constant in pins:
        path, end = [constant], pins[constant]
        while isinstance(end, str) and end in pins:
            if end in path:
                raise UsageError(f"pins go round in a circle: {' = '.join([*path, end])}")
            path.append(end)
            end = pins[end]
        if constant not in own:
            continue
        if not isinstance(end, str):
            if isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end):
                raise UsageError(f"pin of {path[-1]!r} must be a finite number or the name of a constant, got {end}")
            values[constant] = float(end)
        elif end not in own:
            raise UsageError(f"{constant!r} is pinned to {end!r}, which {expression.text} does not have")
        elif end == constant:
            raise UsageError(f"pins go round in a circle: {constant} = {constant}")
        else:
            tied[constant] = end
    return values, tied


def read_bounds(bounds: Mapping[str, Limits], expression: Expression) -> dict[str, Limits]:
    """Return the bounds of an expression's constants: those said by name, and those of all exponents for the others.

    >>> from sld.formula.expression import parse
    >>> read_bounds({"exponents": (0.0, 1.0), "b": (0.0, 2.0)}, parse("E + A*N**-a + B*D**-b", ["N", "D"]))
    {'a': (0.0, 1.0), 'b': (0.0, 2.0)}

    Args:
        bounds: Constant to (lower, upper); `"exponents"` stands for all of `exponents_of`, unless it is a constant.
        expression: The formula; bounds of constants that it does not have are left out.
    """
    own = expression.constants
    everywhere = bounds.get(EXPONENTS) if EXPONENTS not in own else None
    found = {} if everywhere is None else dict.fromkeys(exponents_of(expression), everywhere)
    return {**found, **{c: b for c, b in bounds.items() if c in own}}


def exponents_of(expression: Expression) -> tuple[str, ...]:
    """Return the constants that are, but for the sign, the exponent of a power, in order of appearance.

    >>> from sld.formula.expression import parse
    >>> exponents_of(parse("E + (A*N**-a + B*D**(-2*b))**c", ["N", "D"]))
    ('a', 'c')
    """
    found = {_plain_name(node.args[1]) for node in expression.tree.walk() if node.op == "**"}
    return tuple(c for c in expression.constants if c in found)


def _plain_name(node: Node) -> str:
    while node.op == "neg":
        node = node.args[0]
    return node.name if node.op == "name" else ""


def check_room(
    pinned: Mapping[str, float], tied: Mapping[str, str], bounds: Mapping[str, Limits], positive: frozenset[str]
) -> None:
    """Refuse pins outside the bounds of what they pin, and tied constants whose bounds have nothing in common.

    >>> check_room({"E": 1.69}, {}, {"E": (0.0, 1.0)}, frozenset())
    Traceback (most recent call last):
    sld.core.errors.UsageError: 'E' is pinned to 1.69, outside its bounds from 0 to 1

    Args:
        pinned: Constant to value.
        tied: Constant to the one that it equals.
        bounds: Constant to (lower, upper).
        positive: Constants that must be positive.

    Raises:
        UsageError: It is so.
    """
    for c, value in pinned.items():
        low, high = bounds.get(c, (-math.inf, math.inf))
        if not low <= value <= high:
            raise UsageError(
                f"{c!r} is pinned to {exact(value)}, outside its bounds from {exact(low)} to {exact(high)}"
            )
        if c in positive and not value > 0.0:
            raise UsageError(f"{c!r} is pinned to {exact(value)}, and it must be positive")
    for c, leader in tied.items():
        ends = [bounds.get(of, (-math.inf, math.inf)) for of in (c, leader)]
        low, high = max(low for low, _ in ends), min(high for _, high in ends)
        if not low < high:
            raise UsageError(f"{c!r} = {leader!r}, but their bounds leave no room: from {exact(low)} to {exact(high)}")
