r"""What a law predicts where one formula cannot say all that is known: several formulas, and the rows near a point.

A formula that can be read is one of many that are nearly as good, and what they say together is steadier. So a law of
a search predicts with their weighted mean, and adds what this mean misses at rows near the point (`kriging.py`):

$$ \hat y(x) = v f(x; \hat\theta) + (1 - v) \sum_m w_m f_m(x; \hat\theta_m) + k(x)^\top (K + \eta I)^{-1} r . $$

Beyond the rows one formula may be far from all others. It counts as three times the width of the middle half of them
away from that half (the outer fence of Tukey 1977).

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

_FAR = 3.0  # widths of the middle half: Tukey's outer fence (1977), where a value is far out
_BLOCK = 4096  # points at a time, so that a million of them fit into memory


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
        """Return the weighted mean (n_points,) of the formulas in a group; `own` (n_points,) are the law's values.

        A value far from the middle half of all counts as if it were three widths of that half from it.
        """
        taking = [m for m in self.members if group in m.constants]
        if not taking:
            return own
        found = np.empty(len(own))
        for start in range(0, len(own), _BLOCK):
            at = slice(start, start + _BLOCK)
            some = {symbol: column[at] for symbol, column in columns.items()}
            others = np.array([evaluate(m.expression, some, m.constants[group]) for m in taking])
            found[at] = _steady_mean(own[at], self.own, others, np.array([m.weight for m in taking]))
        return found

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


def _steady_mean(own: Array, share: float, others: Array, weights: Array) -> Array:
    """Return the mean (n_points,) of `own` with a share of the whole, and of others (n_others, n_points) by weight."""
    known = np.isfinite(others)
    each = np.where(known, weights[:, None], 0.0)
    total = each.sum(axis=0)
    each *= (1.0 - share) / np.where(total > 0, total, 1.0)
    values = np.vstack([own[None, :], np.where(known, others, own)])
    each = np.vstack([np.where(total > 0, share, 1.0)[None, :], each])
    with np.errstate(invalid="ignore", over="ignore"):
        low, high = _quantiles(values, each, (0.25, 0.75))
        width = _FAR * (high - low)
        return np.asarray((each * np.clip(values, low - width, high + width)).sum(axis=0))


def _quantiles(values: Array, weights: Array, asked: Sequence[float]) -> list[Array]:
    """Return weighted quantiles (n_points,) of values (n, n_points), each value in the middle of its own weight."""
    order = np.argsort(values, axis=0)
    values, weights = np.take_along_axis(values, order, axis=0), np.take_along_axis(weights, order, axis=0)
    reached = np.cumsum(weights, axis=0) - weights / 2
    found = []
    for q in asked:
        above = np.clip((reached < q).sum(axis=0), 1, len(values) - 1)[None, :]
        (x0,), (x1,) = (np.take_along_axis(values, k, axis=0) for k in (above - 1, above))
        (p0,), (p1,) = (np.take_along_axis(reached, k, axis=0) for k in (above - 1, above))
        part = np.clip((q - p0) / np.where(p1 > p0, p1 - p0, 1.0), 0.0, 1.0)
        found.append(x0 + part * (x1 - x0))
    return found


def _member(data: Mapping[str, Any], variables: Sequence[Variable], targets: int, number: int) -> Member:
    expression = parse_for(data["expression"], tuple(variables), targets, number)
    constants = {
        str(group): {c: float(values[c]) for c in expression.constants} for group, values in data["constants"].items()
    }
    if not all(math.isfinite(v) for of in constants.values() for v in of.values()):
        raise ValueError("a constant that is not finite")
    return Member(expression, constants, float(data["weight"]))
