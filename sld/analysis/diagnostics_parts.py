"""What is found of one rung, one run and one level of a variable; see `diagnostics.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LeftOut:
    """One rung, predicted by a law that was refitted without it.

    Attributes:
        variable: Symbol of the scale variable.
        low: Least value on the rung.
        high: Largest value.
        n_rows: Rows on it.
        measured: Mean of what they have.
        predicted: Mean of what the refit says.
        error: Mean of measured less predicted, in standard deviations of the residuals.
        missed: Root mean square of these errors; NaN where no refit was possible.
        outermost: Whether it is the lowest or the highest: predicting it is extrapolation.
    """

    variable: str
    low: float
    high: float
    n_rows: int
    measured: float
    predicted: float
    error: float
    missed: float
    outermost: bool


@dataclass(frozen=True)
class Influence:
    """What a law says at the point in question without one run.

    Attributes:
        run: The run's name, or its row.
        group: Its group.
        at: Its values, by symbol.
        without: The prediction without it.
        moved: The change in spreads of the law at the point.
    """

    run: str
    group: str
    at: Mapping[str, float]
    without: float
    moved: float


@dataclass(frozen=True)
class Level:
    """Residuals at one level of a variable, in standard deviations of all residuals.

    Attributes:
        variable: Symbol.
        value: The middle of the level.
        n_rows: Rows on it.
        mean: Their mean residual.
        band: What the mean may be off by chance: two standard errors.
    """

    variable: str
    value: float
    n_rows: int
    mean: float
    band: float

    @property
    def outside(self) -> bool:
        """Whether the form does not follow the rows there."""
        return abs(self.mean) > self.band
