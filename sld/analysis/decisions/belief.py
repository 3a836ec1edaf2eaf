r"""What is believed of runs not yet made and of the answer asked for, and what a run would teach.

Every curve that might as well be the law is the law plus deviations (`sld/laws/uncertainty.py`),

$$ f(x) = \hat y(x) + \sum_b w_b \, \delta_b(x) + m(x), \qquad w_b \sim N(0, 1), $$

on the scale of the law's errors. Refits belong to one group, unless constants are shared; rivals are the same forms in
every group. The last term is for the case that no form is right: a smooth function with covariance
$\rho^2 S(x) S(x') \exp(-|z - z'|^2 / 2 \ell^2)$, where $S$ is the spread of the law and $z$ the logarithms of the
variables, so that runs far from what is asked never settle it alone. An answer $a$ is a linear function of values of
$f$ at some points, or of the weights. A run at $x$ with noise $\sigma(x)$ takes

$$ \Delta \operatorname{Var} a = \frac{\operatorname{Cov}(a, f(x))^2}{\operatorname{Var} f(x) + \sigma^2(x)} $$

from its variance (one step of Kalman's filter), and what is known after it has covariances of the same kind.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sld.core.arrays import Array, Rows
from sld.core.errors import UsageError
from sld.data.card import Variable
from sld.laws.law import Law
from sld.laws.uncertainty import Surroundings

MISFIT = 2.0  # times a law's spread: how far the truth may be from every form; chosen on pools (bench/next.py) ...
GIVEN = 0.5  # ... and where a form was given: its folds have stretched its spread already
REACH = 0.3  # of the span of what is looked at: how far apart two misfits have little to do with each other
_EXACT = 1e-4  # of the spread: the least noise, so that a run without noise is no division by zero


@dataclass(frozen=True)
class Points:
    """Values of curves at points, as deviations.

    Attributes:
        features: (n, n_features) deviations of each weight.
        place: (n, n_variables) where they are, in units over which misfits are alike.
        amplitude: (n,) size of the misfit.
        source: (n,) number of the law and group; misfits of two have nothing to do with each other.
    """

    features: Array
    place: Array
    amplitude: Array
    source: Rows

    def together(self, other: Points) -> Array:
        """Return (n, n_other) covariances."""
        found = self.features @ other.features.T
        square = (self.place**2).sum(axis=1)[:, None] + (other.place**2).sum(axis=1) - 2 * self.place @ other.place.T
        near = np.exp(-0.5 * np.maximum(square, 0.0)) * (self.source[:, None] == other.source)
        return np.asarray(found + self.amplitude[:, None] * other.amplitude * near)

    def variance(self) -> Array:
        """Return (n,) variances."""
        return np.asarray((self.features**2).sum(axis=1) + self.amplitude**2)

    def take(self, rows: Rows) -> Points:
        """Return some of them."""
        return Points(self.features[rows], self.place[rows], self.amplitude[rows], self.source[rows])

    def right(self) -> Points:
        """Return the same where some form is right."""
        return replace(self, amplitude=np.zeros(len(self.amplitude)))

    @staticmethod
    def joined(parts: Sequence[Points]) -> Points:
        """Return the points of several, one after the other."""
        return Points(
            np.vstack([p.features for p in parts]),
            np.vstack([p.place for p in parts]),
            np.concatenate([p.amplitude for p in parts]),
            np.concatenate([p.source for p in parts]),
        )


@dataclass(frozen=True)
class Answer:
    """One number that is asked for, as a linear function of what is believed.

    Attributes:
        name: What it is, for people.
        value: What the law says.
        kind: "value" (in its units), "ratio" (a logarithm is believed: its interval is a factor).
        probes: Points whose values it is made of.
        parts: (n_probes,) how much of each.
        weights: (n_features,) what it takes of the weights themselves.
        low: Lower end of its interval now.
        high: Upper end.
    """

    name: str
    value: float
    kind: str
    probes: Points | None
    parts: Array
    weights: Array | None = None
    low: float = math.nan
    high: float = math.nan

    def together(self, points: Points) -> Array:
        """Return (n_points,) covariances with values at points."""
        found = np.zeros(len(points.amplitude))
        if self.probes is not None:
            found = found + self.parts @ self.probes.together(points)
        if self.weights is not None:
            found = found + points.features @ self.weights
        return np.asarray(found)

    def variance(self) -> float:
        """Return its variance."""
        found = 0.0
        if self.probes is not None:
            found += float(self.parts @ self.probes.together(self.probes) @ self.parts)
        if self.weights is not None:
            found += float(self.weights @ self.weights)
        if self.probes is not None and self.weights is not None:
            found += 2 * float(self.parts @ self.probes.features @ self.weights)
        return found


@dataclass(frozen=True)
class Belief:
    """What is believed of candidates and answers.

    Attributes:
        points: The candidates.
        noise: (n,) variance of a single run at each.
        answers: What is asked for.
        importance: (n_answers,) what the variance of each counts.
    """

    points: Points
    noise: Array
    answers: tuple[Answer, ...]
    importance: Array
    cross: Array = field(init=False)
    prior: Array = field(init=False)

    def stated(self) -> Belief:
        """Return the same without misfit: what is expected if one of the forms is right, as intervals have it."""
        answers = [a if a.probes is None else replace(a, probes=a.probes.right()) for a in self.answers]
        return Belief(self.points.right(), self.noise, tuple(answers), self.importance)

    def __post_init__(self) -> None:
        """Work out how candidates and answers go together."""
        object.__setattr__(self, "cross", np.array([a.together(self.points) for a in self.answers]))
        object.__setattr__(self, "prior", np.array([a.variance() for a in self.answers]))


@dataclass(frozen=True)
class Known:
    """What is believed after some runs, whatever they turn out to be.

    Attributes:
        belief: What was believed before.
        variance: (n,) of the candidates' curves.
        cross: (n_answers, n) covariances.
        left: (n_answers,) variances of the answers.
        rows: (n_runs, n) what the runs so far have taken, a row each.
    """

    belief: Belief
    variance: Array
    cross: Array
    left: Array
    rows: tuple[Array, ...] = ()

    @staticmethod
    def before(belief: Belief) -> Known:
        """Return what is believed before any run."""
        return Known(belief, belief.points.variance(), belief.cross, belief.prior)

    @property
    def total(self) -> float:
        """What is left of the variances, each by its importance."""
        return float(self.belief.importance @ self.left)

    def gains(self) -> Array:
        """Return (n,) by how much one run at each candidate would lower `total`."""
        return np.asarray(
            self.belief.importance @ (self.cross**2) / np.maximum(self.variance + self.belief.noise, 1e-300)
        )

    def seen(self, i: int) -> Known:
        """Return what is believed after a run of candidate i."""
        points = self.belief.points
        row = points.take(np.array([i])).together(points)[0]
        for before in self.rows:
            row = row - before * before[i]
        root = math.sqrt(max(float(row[i] + self.belief.noise[i]), 1e-300))
        row = row / root
        share = self.cross[:, i] / root  # (n_answers,)
        return Known(
            self.belief,
            np.maximum(self.variance - row**2, 0.0),
            self.cross - share[:, None] * row,
            np.maximum(self.left - share**2, 0.0),
            (*self.rows, row),
        )


# --- what surrounds laws ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One law, for one target in one group, with the places of its weights among those of all parts."""

    law: Law
    around: Surroundings
    group: str
    number: int
    columns: tuple[Rows, Rows, Rows]  # of refits, rivals, the level


class Parts:
    """Several laws or groups that are looked at together: A and B of a comparison, the groups of a pool.

    Attributes:
        n_features: Weights of all.
    """

    def __init__(self, variables: Sequence[Variable], ends: Mapping[str, tuple[float, float]]) -> None:
        """Take the variables, and between which ends of each (by symbol) misfits are thought of."""
        self.variables = list(variables)
        self.ends = ends
        self.parts: dict[tuple[int, str, str], Part] = {}
        self.n_features = 0
        self._shared: dict[tuple[int, str, str], Rows] = {}

    def part(self, law: Law, target: str, group: str) -> Part:
        """Return the part of a law, target and group; it is added if need be.

        Raises:
            UsageError: The law carries no intervals.
        """
        key = (id(law), target, group)
        if key not in self.parts:
            column = [t.column for t in law.targets].index(target)
            around = Surroundings(law, column, group)
            shared = bool(law.settings[target].shared)
            refits = self._places(key if not shared else (id(law), target, ""), len(around.refits) or 1, "refits")
            rivals = self._places((id(law), target, ""), len(around.rivals), "rivals")
            level = self._places(key, 1, "level")
            self.parts[key] = Part(law, around, group, len(self.parts), (refits, rivals, level))
        return self.parts[key]

    def _places(self, key: tuple[int, str, str], n: int, what: str) -> Rows:
        whole = (key[0], key[1], f"{key[2]}\n{what}")
        if whole not in self._shared or len(self._shared[whole]) < n:
            self._shared[whole] = np.arange(self.n_features, self.n_features + n)
            self.n_features += n
        return self._shared[whole][:n]

    def place(self, columns: Mapping[str, Array]) -> Array:
        """Return (n, n_variables) where points are; misfits a unit apart have little to do with each other."""
        found = []
        for v in self.variables:
            low, high = self.ends[v.symbol]
            by_factors = v.log is None and v.role in ("scale", "hyperparameter") and low > 0
            x = np.asarray(columns[v.symbol], dtype=np.float64)
            with np.errstate(all="ignore"):
                z = np.log(x) if by_factors else x
            span = (math.log(high) - math.log(low)) if by_factors else high - low
            found.append(z / (REACH * span) if span > 0 else np.zeros(len(z)))
        return np.column_stack(found) if found else np.zeros((len(next(iter(columns.values()))), 0))

    def points(self, part: Part, columns: Mapping[str, Array]) -> tuple[Points, Array, Array]:
        """Return the beliefs at points of one part, the variance of single runs there, and the law's values."""
        at = part.around.at(columns)
        refits, rivals, level = part.columns
        features = np.zeros((len(at.middle), self.n_features))
        n_refits = len(at.curves) - len(rivals) - 1
        for places, rows in (
            (refits[:n_refits], at.curves[:n_refits]),
            (rivals, at.curves[n_refits : n_refits + len(rivals)]),
            (level, at.curves[-1:]),
        ):
            if len(places):
                features[:, places] = np.nan_to_num(rows.T, nan=0.0, posinf=0.0, neginf=0.0)
        spread = np.sqrt((features**2).sum(axis=1))
        noise = np.where(np.isfinite(at.noise), at.noise, np.nan) ** 2
        if np.isnan(noise).any():
            raise UsageError(
                "nothing is known of the noise of runs: the table has too few rows for the constants of the law"
            )
        noise = np.maximum(noise, (_EXACT * spread) ** 2 + 1e-24)
        points = Points(
            features,
            self.place(columns),
            (MISFIT if part.around.rivals else GIVEN) * spread,
            np.full(len(spread), part.number),
        )
        return points, noise, at.middle
