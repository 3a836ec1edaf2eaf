r"""How far a law may be off at points: one standard deviation, and the directions in which it may move.

What is known of a law's errors stands in its record (`interval_record.py`): constants of refits to reweighted rows,
formulas that were nearly chosen, the noise, and the factor $\kappa$ by which spread was too small on the folds. At a
point $x$ each refit, each rival and a share of the noise is a *deviation* $\delta_b(x)$ from the law, on the scale
where errors are counted. The law's own standard deviation is

$$ s(x) = \kappa \sqrt{\textstyle\sum_b \delta_b^2(x)} , $$

and a curve that might as well be the law is $\hat y(x) + \kappa \sum_b w_b \delta_b(x)$ with standard normal $w_b$: at
each point it has the standard deviation $s(x)$, and between points it moves as refits and rivals do. Everything that is
said of a law's uncertainty, an interval or a decision, is made from these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import UsageError, suggest
from sld.data.table import ALL_ROWS
from sld.fit.kernel import evaluate
from sld.fit.noise import NoiseShape
from sld.formula.expression import Expression
from sld.laws.error_scale import LEAST_SPREAD, Scale
from sld.laws.fitted import Fitted
from sld.laws.interval_record import (
    about_target,
    entry,
    inflation_of,
    known_size,
    moving,
    noise_shape,
    rivals_of,
)

_FAR = 3.0  # a refit that lies this many spreads away lies no farther: one that explodes would stand for all others


@dataclass(frozen=True)
class Deviations:
    """A law's prediction at points of one group, and how it may be off there, on the scale of its errors.

    Attributes:
        middle: (n_points,) the prediction, in the units of the target.
        noise: (n_points,) standard deviation of a single run about the law.
        spread: (n_points,) standard deviation of the law itself.
        curves: (n_deviations, n_points) deviations whose squares sum to `spread` squared; NaN where nothing is known.
    """

    middle: Array
    noise: Array
    spread: Array
    curves: Array


class Surroundings:
    """What surrounds a law for one target in one group: its refits and rivals, read from the record once."""

    def __init__(self, law: Fitted, target: int, group: str) -> None:
        """Read the record; raises UsageError for a law without intervals or constants of the group, and DataError."""
        column = law.targets[target].column
        about = about_target(law, column)
        constants = law.constants[column]
        if group not in constants:
            raise UsageError(suggest(group, list(constants), kind="group"))
        self.variables = law.variables
        self.group = group
        self.expression: Expression = law.expressions[column]
        self.values = constants[group]
        self.refits = [{**self.values, **r} for r in moving(about, column, group, self.values)]
        self.rivals = rivals_of(law, about, target, group)
        self.sigma = known_size(entry(about["noise"], group))
        self.inflation = inflation_of(about, group)
        self.shape: NoiseShape | None = noise_shape(about)
        self.widening = float(about["widening"])
        self.scale = Scale(about["scale"] == "log")

    @property
    def n_deviations(self) -> int:
        """Deviations that `at` gives: the refits, the rivals, and one for the level."""
        return len(self.refits) + len(self.rivals) + 1

    def at(self, columns: Mapping[str, Array]) -> Deviations:
        """Return the law and its deviations at points: symbol to column (n_points,) of each variable."""
        scale = self.scale
        middle = evaluate(self.expression, columns, self.values)
        noise = np.full(middle.shape, self.sigma)
        if self.shape is not None:
            noise = self.sigma * self.shape.at_points(self.variables, columns, middle, self.group, scale.log)
        refits = np.array([evaluate(self.expression, columns, r) for r in self.refits]).reshape(-1, len(middle))
        rivals = np.array([evaluate(e, columns, c) for e, c in self.rivals]).reshape(-1, len(middle))
        spread = self.inflation * scale.spread(middle, refits)
        together = self.widening * scale.together(middle, spread, rivals, noise)
        curves = np.vstack([
            _scaled(scale.to(refits) - scale.to(middle), spread),
            _shared(scale.to(rivals) - scale.to(middle)),
            LEAST_SPREAD * noise,
        ])  # fmt: skip
        return Deviations(middle, noise, together, self.widening * curves)


def _scaled(moved: Array, spread: Array) -> Array:
    """Return deviations (n, n_points) whose squares sum to `spread` squared, those far out cut off."""
    if not len(moved):
        return moved
    with np.errstate(all="ignore"):
        cut = np.clip(np.where(np.isnan(moved), 0.0, moved), -_FAR * spread, _FAR * spread)
        size = np.sqrt(np.square(cut).sum(axis=0))
        return np.asarray(np.where(size > 0, cut * (spread / size), spread / math.sqrt(len(moved))))


def _shared(moved: Array) -> Array:
    """Return deviations (n, n_points) of rivals, of which each that has a value has its share."""
    known = np.isfinite(moved)
    with np.errstate(all="ignore"):
        return np.asarray(np.where(known, moved, 0.0) / np.sqrt(np.maximum(known.sum(axis=0), 1)))


def surroundings(law: Fitted, target: str, group: str | None = None) -> Surroundings:
    """Return what surrounds a law for a target (its column) in a group, the only one if not given.

    Raises:
        UsageError: There is no such target or group, or several and none named; or the law carries no intervals.
    """
    columns = [t.column for t in law.targets]
    if target not in columns:
        raise UsageError(suggest(target, columns, kind="target"))
    groups = list(law.constants[target])
    if group is None:
        if len(groups) > 1:
            raise UsageError(f"the law has {len(groups)} groups ({', '.join(groups[:3])} ...); name one")
        group = groups[0] if groups else ALL_ROWS
    return Surroundings(law, columns.index(target), group)
