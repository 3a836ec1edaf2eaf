"""How many constants an entry may have: what counts as one, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sld.core.errors import UsageError

if TYPE_CHECKING:
    from sld.board.entries.scored_task import ScoredTask
    from sld.formula.expression import Expression

Constants = Mapping[str, Mapping[str, Mapping[str, float]]]  # target to group to constant to value

MAX_NUMBERS = 40  # written into one formula
_FREE_UP_TO = 12  # whole numbers up to here belong to a form: 6*N*D, N**2, 1 + ...


def numbers_that_count(expression: Expression) -> int:
    """Return how many different numbers of a formula count as constants.

    Whole numbers up to 12, one half and powers of ten (units) are part of a form; any other number is a constant that
    somebody has chosen.
    """
    found = {abs(node.value) for node in expression.tree.walk() if node.op == "number"}
    return sum(not _is_structural(value) for value in found)


def _is_structural(value: float) -> bool:
    if value == 0.5 or (value == round(value) and value <= _FREE_UP_TO):
        return True
    power = round(math.log10(value)) if value > 0 else 0
    return abs(power) <= 30 and float(f"1e{power}") == value


def n_constants_of(expressions: Mapping[str, Expression]) -> int:
    """Return constants per group of the target that has most, numbers that count included."""
    return max(len(e.constants) + numbers_that_count(e) for e in expressions.values())


def check_limits(scored: ScoredTask, expressions: Mapping[str, Expression], constants: Constants | None = None) -> None:
    """Refuse a law that has more constants than the task allows, or so many that it could hold the rows themselves.

    A formula cannot name a statistic of the data (there is no such function in the grammar, and names are variables or
    constants), so constants are the only way by which rows enter a law.

    Args:
        scored: The task.
        expressions: Target to formula.
        constants: Their values, where there are any yet; those that differ from group to group count for each.

    Raises:
        UsageError: There are too many; the message says of what.
    """
    most = scored.task.card.max_constants
    for column, expression in expressions.items():
        where = f" for target {column!r}" if len(expressions) > 1 else ""
        written = numbers_that_count(expression)
        n = len(expression.constants) + written
        if n > most:
            how = f"{len(expression.constants)} and {written} numbers that count as such" if written else f"{n}"
            raise UsageError(f"the task allows {most} constants per group and target, the formula has {how}{where}")
        if (count := sum(node.op == "number" for node in expression.tree.walk())) > MAX_NUMBERS:
            raise UsageError(f"a formula may hold {MAX_NUMBERS} numbers, this one holds {count}{where}")
        values = (constants or {}).get(column, {}).values()
        different = sum(max(1, len({of[c] for of in values})) for c in expression.constants) + written
        if different > scored.train.n_rows:
            have = f"there are {scored.train.n_rows} training rows"
            raise UsageError(f"the law has {different} constants in all groups{where}, and {have}; share some")
    groups = dict.fromkeys(group for of in (constants or {}).values() for group in of)
    if extra := [g for g in groups if g not in scored.train.groups]:
        raise UsageError(f"the law has constants for group {extra[0]!r}, which the task lacks")
