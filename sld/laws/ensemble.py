r"""What a law predicts where one formula cannot say all that is known: several formulas, and the rows near a point.

A formula that can be read is one of many that are nearly as good, and what they say together is steadier. So a law of
a search predicts with their weighted mean, and adds what this mean misses at rows near the point (`kriging.py`):

$$ \hat y(x) = v f(x; \hat\theta) + (1 - v) \sum_m w_m f_m(x; \hat\theta_m) + k(x)^\top (K + \eta I)^{-1} r . $$

The law's own formula $f$ is the summary of this: decisions, exponents and plots of curves rest on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import DataError, GrammarError, suggest
from sld.core.toml import Keys
from sld.data.card import Target, Variable, parse_for
from sld.fit.kernel import evaluate
from sld.formula.expression import Expression
from sld.laws.kriging import Kriging

Columns = Mapping[str, Array]


@dataclass(frozen=True)
class Member:
    """A formula that takes part, with its constants by group and its weight."""

    expression: Expression
    constants: Mapping[str, Mapping[str, float]]
    weight: float

    def to_json(self) -> dict[str, Any]:
        """Return what law.json holds."""
        constants = {group: dict(values) for group, values in self.constants.items()}
        return {"expression": self.expression.text, "weight": self.weight, "constants": constants}


@dataclass(frozen=True)
class Ensemble:
    """What predicts one target.

    Attributes:
        members: The other formulas; in a group that none of them has, the law's own takes their place.
        own: The weight of the law's own formula, from 0 to 1; the members share the rest.
        kriging: What rows near a point add; None where the folds speak against it.
        floor: Positive predictions stay at or above this, where all measured values are positive; None where not.
    """

    members: tuple[Member, ...]
    own: float = 0.0
    kriging: Kriging | None = None
    floor: float | None = None

    def mean(self, own: Array, columns: Columns, group: str) -> Array:
        """Return the weighted mean (n_points,) of the formulas in a group; `own` (n_points,) are the law's values."""
        total, weight = np.zeros(len(own)), np.zeros(len(own))
        for member in self.members:
            if group in member.constants:
                values = evaluate(member.expression, columns, member.constants[group])
                known = np.isfinite(values)
                total[known] += member.weight * values[known]
                weight[known] += member.weight
        others = total / np.where(weight > 0, weight, 1.0)
        return np.where(weight > 0, self.own * own + (1.0 - self.own) * others, own)

    def predict(self, own: Array, columns: Columns, group: str, target: Target) -> Array:
        """Return predictions (n_points,) in a group; where the law's own formula has no value there is none.

        They are within the bounds of the target, unless the mean of the formulas is not.

        Args:
            own: What the law's own formula says (n_points,).
            columns: Symbol of each variable to its column (n_points,).
            group: Whose constants and rows are meant.
            target: For its bounds.
        """
        mean = self.mean(own, columns, group)
        low = max(-math.inf if target.lower is None else target.lower, -math.inf if self.floor is None else self.floor)
        high = math.inf if target.upper is None else target.upper
        with np.errstate(invalid="ignore"):
            found = mean if self.kriging is None else mean + self.kriging.at(columns, group)
            found = np.clip(found, np.minimum(mean, low), np.maximum(mean, high))
        return np.where(np.isfinite(own), found, own)

    def to_json(self) -> dict[str, Any]:
        """Return what law.json holds; `from_json` gives it back."""
        return {
            "members": [m.to_json() for m in self.members],
            "own": self.own,
            "kriging": None if self.kriging is None else self.kriging.to_json(),
            "floor": self.floor,
        }  # fmt: skip

    @staticmethod
    def from_json(data: object, where: str, variables: Sequence[Variable], targets: int, number: int) -> Ensemble:
        """Read what `to_json` gave.

        Args:
            data: Of one target.
            where: What to call it in a message.
            variables: Of the law.
            targets: How many targets the law has.
            number: Which of them this is.

        Raises:
            DataError: It is not that.
        """
        try:
            if not isinstance(data, Mapping):
                raise TypeError("no table")
            members = tuple(_member(m, variables, targets, number) for m in data["members"])
            kriging = data.get("kriging")
            floor = data.get("floor")
            return Ensemble(
                members,
                float(data["own"]),
                None if kriging is None else Kriging.from_json(kriging, where),
                None if floor is None else float(floor),
            )
        except KeyError as error:
            raise DataError(f"{where}: wanted the formulas that predict, as sld writes them, got no {error}") from error
        except (AttributeError, GrammarError, TypeError, ValueError) as error:
            raise DataError(f"{where}: wanted the formulas that predict, as sld writes them, got {error}") from error


def read_ensembles(keys: Keys, variables: Sequence[Variable], targets: Sequence[Target]) -> dict[str, Ensemble]:
    """Return the ensembles of a law.json by target; none for a law that predicts by its formula alone.

    Raises:
        DataError: One is damaged, or of no target of the law.
    """
    names = [t.column for t in targets]
    found = {}
    for column, data in (keys.table("ensembles") if "ensembles" in keys.data else {}).items():
        if column not in names:
            raise DataError(f"{keys.where}: " + suggest(str(column), names, kind="target"))
        where = f"{keys.where}: ensemble of {column!r}"
        found[str(column)] = Ensemble.from_json(data, where, variables, len(targets), names.index(column))
    return found


def _member(data: Mapping[str, Any], variables: Sequence[Variable], targets: int, number: int) -> Member:
    expression = parse_for(data["expression"], tuple(variables), targets, number)
    constants = {
        str(group): {c: float(values[c]) for c in expression.constants} for group, values in data["constants"].items()
    }
    if not all(math.isfinite(v) for of in constants.values() for v in of.values()):
        raise ValueError("a constant that is not finite")
    return Member(expression, constants, float(data["weight"]))
