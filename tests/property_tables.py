"""What no law found on any random table of `random_tables.py` may do.

A table is drawn from a seed and searched. What the search hands out is then checked against properties that hold for
every table, so no answer is needed to find a fault:

- between a tenth of the smallest and a hundred times the largest value of each scale variable, also larger in one and
  smaller in another, predictions are finite and without pole or spike;
- "law" is not said of what misses its own rows: R² on the training rows is at least half of what the noise allows;
- the estimate of a constant lies inside its interval, a prediction between its low and its high.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from random_tables import GROUP, TARGET, Array, Drawn, draw


@dataclass(frozen=True)
class Violation:
    """A property that does not hold: its kind, and where."""

    kind: str
    where: str


KINDS = ("crash", "not finite", "pole", "spike", "false law", "constant outside", "prediction outside")
WATCHED = ("runs away",)  # counted beside them: a law may be wrong far out without being undefined there

_WALK = 500  # points of a walk
_ZOOMS = 3  # each looks ten times as closely
_STEEPEST = 3  # places of a walk that are looked at
_JUMP = 0.3  # of the span of the data, and of the step before the zooms: a smooth law has a thousandth of that left
_SPIKE = 0.5  # of the span of the data, within the spacing of rungs
_AWAY = 1e6  # times the largest value of the table
_MOST_BASES = 5


def check(found: Any, drawn: Drawn) -> list[Violation]:
    """Return what is wrong with a discovery (`sld.Discovery`, with intervals) on its own table; [] if nothing is."""
    import sld

    violations: dict[str, Violation] = {}
    with np.errstate(all="ignore"):
        for walk in walks(drawn):
            for violation in _along(found.law, drawn, walk):
                violations.setdefault(violation.kind, violation)
        for violation in (*_false_law(found, drawn), *_constants(found.law), *_predictions(sld, found.law, drawn)):
            violations.setdefault(violation.kind, violation)
    return list(violations.values())


@dataclass(frozen=True)
class Walk:
    """A straight line in the logarithms of the scale variables, between two points, all else kept.

    Attributes:
        start, end: Values of the scale variables.
        rest: The other columns.
        spacing: Between neighbouring rungs of what moves, as a part of the walk.
    """

    start: Mapping[str, float]
    end: Mapping[str, float]
    rest: Mapping[str, Any]
    spacing: float

    def columns(self, part: Array) -> dict[str, Any]:
        """Return the points at so many parts of the way."""
        moved = {n: self.start[n] ** (1 - part) * self.end[n] ** part for n in self.start}
        return moved | {n: np.repeat(v, len(part)) for n, v in self.rest.items()}

    @property
    def text(self) -> str:
        """Where it goes."""
        moving = [n for n in self.start if self.start[n] != self.end[n]]
        ends = ", ".join(f"{n} {self.start[n]:.3g} to {self.end[n]:.3g}" for n in moving)
        kept = ", ".join(f"{n}={self.start[n]:.3g}" for n in self.start if n not in moving)
        rest = ", ".join(f"{n}={v if isinstance(v, str) else format(v, '.3g')}" for n, v in self.rest.items())
        return "; ".join(part for part in (ends, kept, rest) if part)


def walks(drawn: Drawn) -> Iterator[Walk]:
    """Yield the walks: each variable from a tenth to a hundred times, then one up with another down, then all up."""
    names = drawn.scale
    if not names:
        return
    X = {n: np.asarray(drawn.columns[n], dtype=np.float64) for n in names}
    low = {n: float(x.min()) / 10 for n, x in X.items()}
    high = {n: float(x.max()) * 100 for n, x in X.items()}
    others = [n for n in drawn.columns if n not in names and n != TARGET]
    for row in _bases(drawn):
        at = {n: float(X[n][row]) for n in names}
        rest = {n: _plain(drawn.columns[n][row]) for n in others}
        moves = [({**at, n: low[n]}, {**at, n: high[n]}) for n in names]
        for i, n in enumerate(names):
            moves += [({**at, n: low[n], m: high[m]}, {**at, n: high[n], m: low[m]}) for m in names[i + 1 :]]
        moves += [(low, high)] if len(names) > 1 else []
        for start, end in moves:
            moving = [n for n in names if start[n] != end[n]]
            spacing = min(_spacing(X[n]) / math.log(high[n] / low[n]) for n in moving)
            yield Walk(start, end, rest, spacing)


def _bases(drawn: Drawn) -> list[int]:
    """Return a few rows of each group: the cheapest, the dearest, and some between."""
    size = sum(np.log(np.asarray(drawn.columns[n], dtype=np.float64)) for n in drawn.scale)
    groups = np.asarray(drawn.columns.get(GROUP, np.zeros(len(drawn.truth))))
    rows: list[int] = []
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        own = own[np.argsort(np.asarray(size)[own], kind="stable")]
        rows += [int(own[k]) for k in sorted(set(np.linspace(0, len(own) - 1, _MOST_BASES).astype(int)))]
    return rows


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else float(value)


def _spacing(x: Array) -> float:
    levels = np.unique(np.log(x))
    return float(np.median(np.diff(levels))) if len(levels) > 1 else 1.0


def _along(law: Any, drawn: Drawn, walk: Walk) -> Iterator[Violation]:
    part = np.linspace(0.0, 1.0, _WALK)
    value = law.predict(walk.columns(part))[:, 0]
    if not np.isfinite(value).all():
        first = part[int(np.argmin(np.isfinite(value)))]
        yield Violation("not finite", f"{_point(walk, first)} ({walk.text})")
        return
    span = float(np.ptp(drawn.y[~drawn.failed])) or 1.0
    for at in _jumps(law, walk, float(np.median(value)), span):
        yield Violation("pole", f"{_point(walk, at)} ({walk.text})")
    if np.abs(value).max() > _AWAY * np.abs(drawn.y).max():
        k = int(np.argmax(np.abs(value)))
        yield Violation("runs away", f"{value[k]:.3g} at {_point(walk, part[k])} ({walk.text})")
    half = int(walk.spacing * (_WALK - 1) / 2)
    if half >= 2:
        left, middle, right = value[: -2 * half], value[half:-half], value[2 * half :]
        out = np.maximum(middle - np.maximum(left, right), np.minimum(left, right) - middle)
        k = int(np.argmax(out))
        if out[k] > _SPIKE * span:
            yield Violation("spike", f"{out[k]:.3g} high at {_point(walk, part[half + k])} ({walk.text})")


def _jumps(law: Any, walk: Walk, middle: float, span: float) -> Iterator[float]:
    """Yield where neighbours stay apart however closely they are looked at.

    Seen through asinh, a law that merely grows without end has no large steps, and a pole has them on all scales: its
    two sides never meet, and values on one side differ by a constant factor from point to point.
    """

    def steps(start: float, end: float) -> tuple[Array, Array]:
        part = np.linspace(start, end, _WALK)
        value = law.predict(walk.columns(part))[:, 0]
        seen = np.where(np.isfinite(value), np.arcsinh((value - middle) / span), np.inf)
        return part, np.abs(np.diff(seen))

    part, first = steps(0.0, 1.0)
    for k in np.argsort(-first, kind="stable")[:_STEEPEST]:
        at, before = float(part[k]), float(first[k])
        step, width = before, 1.0
        for _ in range(_ZOOMS):
            width /= 10
            closer, found = steps(max(0.0, at - width / 2), min(1.0, at + width / 2))
            found = np.where(np.isnan(found), np.inf, found)
            at, step = float(closer[int(np.argmax(found))]), float(found.max())
        if step > _JUMP * max(before, 1.0):
            yield at
            return


def _point(walk: Walk, part: float) -> str:
    return ", ".join(f"{n}={float(walk.columns(np.array([part]))[n][0]):.4g}" for n in walk.start)


def r_squared(y: Array, predicted: Array, groups: NDArray[Any]) -> float:
    """Return R² within groups, pooled: what is left of the squares around each group's mean."""
    centred = sum(float(((y[groups == g] - y[groups == g].mean()) ** 2).sum()) for g in np.unique(groups))
    return 1.0 - float(((y - predicted) ** 2).sum()) / centred if centred > 0 else math.nan


def _false_law(found: Any, drawn: Drawn) -> Iterator[Violation]:
    if found.verdict.kind != "law":
        return
    good = ~drawn.failed
    points = {n: np.asarray(v)[good] for n, v in drawn.columns.items() if n != TARGET}
    groups = np.asarray(points.get(GROUP, np.zeros(int(good.sum()))))
    allowed = r_squared(drawn.y[good], drawn.truth[good], groups)
    reached = r_squared(drawn.y[good], found.law.predict(points)[:, 0], groups)
    if allowed > 0 and not reached >= 0.5 * allowed:
        yield Violation("false law", f"R² {reached:.3f} on its own rows; the noise allows {allowed:.3f}")


def _constants(law: Any) -> Iterator[Violation]:
    from sld.analysis.intervals import constant_intervals

    if law.intervals is None:
        return
    for target, by_group in constant_intervals(law).items():
        for group, spans in by_group.items():
            for name, ends in spans.items():
                value = law.constants[target][group][name]
                if ends is None or not all(math.isfinite(e) for e in ends):
                    continue  # said to be unknown
                slack = 1e-9 * abs(value)
                if not ends[0] - slack <= value <= ends[1] + slack:
                    text = f"{name} = {value:.6g} [{ends[0]:.6g}, {ends[1]:.6g}]"
                    yield Violation("constant outside", f"{text}, group {group}")


def _predictions(sld: Any, law: Any, drawn: Drawn) -> Iterator[Violation]:
    if law.intervals is None:
        return
    for points in (
        {n: v for n, v in drawn.columns.items() if n != TARGET},
        *(walk.columns(np.linspace(0.0, 1.0, 23)) for walk in walks(drawn)),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sld.SldWarning)  # points far beyond the data are the point
            told = sld.predict(law, points)
        value, low, high = (np.asarray(told[f"{TARGET}{end}"], dtype=np.float64) for end in ("", "_low", "_high"))
        known = np.isfinite(value) & ~np.isnan(low) & ~np.isnan(high)
        slack = 1e-9 * np.abs(value)
        wrong = known & ~((low - slack <= value) & (value <= high + slack))
        if wrong.any():
            k = int(np.argmax(wrong))
            at = ", ".join(f"{n}={_plain(v[k])}" for n, v in points.items())
            yield Violation("prediction outside", f"{value[k]:.6g} [{low[k]:.6g}, {high[k]:.6g}] at {at}")
            return


def judge(seed: int, budget: str = "800fits") -> tuple[str, list[Violation]]:
    """Search table `seed`; return the verdict ("refused" where the table is) and what is wrong with the law."""
    import sld
    from sld.core.errors import SldError

    drawn = draw(seed)
    try:
        found = sld.discover(dict(drawn.columns), budget=budget, workers=1, **drawn.roles)
    except SldError as error:
        return f"refused: {error}", []
    return found.verdict.kind, check(found, drawn)
