r"""How far a law may be off at points: one standard deviation, and the directions in which it may move.

What is known of a law's errors stands in its record (`interval_record.py`): constants of refits to reweighted rows,
formulas that were nearly chosen, and the noise. At a point $x$ each refit, each rival and a share of the noise is a
*deviation* $\delta_b(x)$ from the law, on the scale where errors are counted. The law's own spread is

$$ s(x) = \kappa \sqrt{\textstyle\sum_b \delta_b^2(x)} , \qquad 1 / S^2(x) = 1 / s^2(x) + 1 / m^2(x) , $$

with $\kappa$ what spread has to be stretched by to hold what it shall (`calibration.py`; measured on the folds for a
form that was given), and $m(x)$ what anybody knows without a law: a value lies within what the rows span, give or take
that span times the distance from the data, or does not where the law says so. A curve that might as well be the law is

$$ \hat y(x) + t_k \frac{S(x)}{s(x)} \kappa \sum_b w_{kb} \delta_b(x) , $$

with standard normal $w_{kb}$ and, where tails are heavy, $t_k^2$ inverse chi-squared: at each point it has the spread
$S(x)$, and between points it moves as refits and rivals do. Everything that is said of a law's uncertainty, an interval
or a decision, is made from these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import DataError, UsageError, suggest
from sld.data.table import ALL_ROWS
from sld.fit.kernel import evaluate
from sld.fit.noise import NoiseShape
from sld.formula.expression import Expression
from sld.laws.calibration import AT_EDGE, LEVEL, MOST, RIVALS
from sld.laws.distance import distance
from sld.laws.error_scale import Scale
from sld.laws.fitted import Fitted
from sld.laws.interval_record import (
    about_target,
    entry,
    inflation_of,
    known_size,
    moving,
    noise_shape,
    rivals_of,
    spans_of,
    tails_of,
)

_FAR = 3.0  # a refit that lies this many spreads away lies no farther: one that explodes would stand for all others
_RIVAL_FAR = 3.0  # spans of the group's rows, likewise for a rival


@dataclass(frozen=True)
class Deviations:
    """A law's prediction at points of one group, and how it may be off there, on the scale of its errors.

    Attributes:
        middle: (n_points,) the prediction, in the units of the target.
        centre: (n_points,) the same on the scale of the errors; the nearest value that the rows have where the law, or
            its refits, have none.
        noise: (n_points,) standard deviation of a single run about the law.
        spread: (n_points,) of the law itself: one standard deviation, but for heavy tails.
        curves: (n_deviations, n_points) deviations whose squares sum to `spread` squared; NaN where nothing is known.
    """

    middle: Array
    centre: Array
    noise: Array
    spread: Array
    curves: Array


class Surroundings:
    """What surrounds a law for one target in one group: its refits and rivals, read from the record once.

    Attributes:
        scale: Where errors are counted.
        tails: Degrees of freedom of Student's t that the spread is one of; infinite for a normal distribution.
    """

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
        try:
            self._read(law, about, target)
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError, ZeroDivisionError) as error:
            raise DataError(
                f"the law's intervals of {column!r} cannot be read ({error!r}): it is damaged; fit again"
            ) from error

    def _read(self, law: Fitted, about: Mapping[str, Any], target: int) -> None:
        column, group = law.targets[target].column, self.group
        self.refits = [{**self.values, **r} for r in moving(about, column, group, self.values)]
        self.rivals = rivals_of(law, about, target, group)
        self.sigma = known_size(entry(about["noise"], group))
        self.inflation = inflation_of(about, group)
        self.shape: NoiseShape | None = noise_shape(about)
        self.widening = float(about["widening"])
        self.tails = tails_of(about)
        if not (0 <= self.widening < math.inf and self.sigma >= 0 and self.tails > 0 and self.inflation > 0):
            raise ValueError(f"widening {about['widening']}, noise {self.sigma}, tails {self.tails}")
        # a record from before 0.9.0 counts rivals in full
        self.share = RIVALS if math.isfinite(self.tails) else 1.0
        self.scale = Scale(about["scale"] == "log")
        self.spans, ends = spans_of(about, group)
        self.ends = self.scale.to(np.array(ends)) if math.isfinite(ends[0]) else np.array(ends)  # (2,)
        self.span = float(self.ends[1] - self.ends[0])
        if math.isinf(self.sigma) and math.isfinite(self.span):
            self.sigma = self.span  # nothing is left over to tell it by: anything between the ends

    @property
    def n_deviations(self) -> int:
        """Deviations that `at` gives: the refits, the rivals, and one for the level."""
        return len(self.refits) + len(self.rivals) + 1

    def quantile(self, level: float) -> float:
        """Return how many spreads on either side hold a share `level`."""
        if math.isinf(self.tails):
            return NormalDist().inv_cdf(0.5 + level / 2)
        from scipy.special import stdtrit

        return float(stdtrit(self.tails, 0.5 + level / 2))

    def at(self, columns: Mapping[str, Array]) -> Deviations:
        """Return the law and its deviations at points: symbol to column (n_points,) of each variable."""
        scale = self.scale
        middle = evaluate(self.expression, columns, self.values)
        noise = np.full(middle.shape, self.sigma)
        if self.shape is not None:
            noise = self.sigma * self.shape.at_points(self.variables, columns, middle, self.group, scale.log)
        refits = np.array([evaluate(self.expression, columns, r) for r in self.refits]).reshape(-1, len(middle))
        rivals = np.array([evaluate(e, columns, c) for e, c, _ in self.rivals]).reshape(-1, len(middle))
        shares = np.sqrt([[share] for *_, share in self.rivals]).reshape(-1, 1)
        moved = scale.apart(middle, refits)
        curves = np.vstack([
            _scaled(moved, self.inflation * scale.spread(middle, refits)),
            self.share * shares * _shared(scale.apart(middle, rivals), _RIVAL_FAR * self.span),
            LEVEL * noise,
        ])  # fmt: skip
        with np.errstate(all="ignore"):
            curves = self.widening * curves
            spread = _root_of_squares(curves)
            centre = scale.to(middle)
            if math.isfinite(self.span):
                most = MOST * self.span * (AT_EDGE + distance(self.variables, self.spans, columns))
                # where the law leaves what the rows span, nobody knows that the value does not stay there
                most += np.nan_to_num(
                    np.maximum(np.maximum(centre - self.ends[1], self.ends[0] - centre), 0.0), posinf=0.0
                )
                kept = most / np.hypot(spread, most)
                # refits fail there, or the law does: what is known is what the rows span
                lost = ~(np.isfinite(spread) & np.isfinite(centre))
                nearest = np.clip(np.where(np.isnan(centre), self.ends[0], centre), *self.ends)
                centre = np.where(lost, nearest, centre)
                curves = np.where(lost, most / math.sqrt(len(curves)), curves * kept)
                spread = np.where(lost, most, spread * kept)
        return Deviations(middle, centre, noise, spread, curves)


def _root_of_squares(values: Array) -> Array:
    """Return the root of the sum of squares over the first axis, which may be larger than the squares of numbers."""
    most = np.abs(values).max(axis=0)
    return np.asarray(most * np.sqrt(np.square(values / np.where(most > 0, most, 1.0)).sum(axis=0)))


def _scaled(moved: Array, spread: Array) -> Array:
    """Return deviations (n, n_points) whose squares sum to `spread` squared, those far out cut off."""
    if not len(moved):
        return np.asarray(spread)[None]
    with np.errstate(all="ignore"):
        cut = np.clip(np.where(np.isnan(moved), 0.0, moved), -_FAR * spread, _FAR * spread)
        size = _root_of_squares(cut)
        moves = (size > 0) & np.isfinite(spread)
        return np.asarray(np.where(moves, cut * (spread / size), spread / math.sqrt(len(moved))))


def _shared(moved: Array, most: float) -> Array:
    """Return deviations (n, n_points) of rivals, of which each that has a value has its share."""
    known = np.isfinite(moved)
    with np.errstate(all="ignore"):
        cut = np.clip(np.where(known, moved, 0.0), -most, most)
        return np.asarray(cut / np.sqrt(np.maximum(known.sum(axis=0), 1)))


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
