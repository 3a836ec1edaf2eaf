"""What a proposer hands to the search: a formula over the table's variables, and what is known about its constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sld.formula.expression import Expression


@dataclass(frozen=True)
class Form:
    """A formula whose constants are still to be fitted.

    Attributes:
        expression: The formula, over the symbols of the table.
        origin: Who proposed it, e.g. `"catalogue:chinchilla"`.
        bounds: Limits that hold in any units, by constant: a sign, never a size.
        positive: Constants that are positive (they are in `bounds` too).
        shared: Constants that all groups have in common; when empty, the judge tries what is best to share.
        needs_simplify: It may hold redundant constants; whoever judges it shortens it first (in a worker, not in the
            proposer).
        start: Group to constant to value, from a parent; one more starting point.
        warm_start: The start is somebody's guess, rounded or far off: it is followed to the end before all else.
        start_multiplier: How many times the usual number of starting points: a form that comes once, from somebody who
            thought about it, is looked at well.
        mismatch: How far the variables are from the quantities that a published law speaks of, 0 where they are those.
        hints: Where to start from, by constant, for those that have no unit (exponents).
    """

    expression: Expression
    origin: str
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    positive: tuple[str, ...] = ()
    hints: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    needs_simplify: bool = False
    start: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    warm_start: bool = False
    start_multiplier: int = 1
    mismatch: float = 0.0

    @property
    def given(self) -> bool:
        """Whether somebody wrote it down, as a law or as a wish: such a form is not refused for how it looks."""
        return self.origin == "user" or self.origin.startswith("catalogue")
