r"""Which of several laws wins, and from where on.

Laws are followed along a scale (`tracks.py`), each with its joint draws, and everything is computed draw by draw: the
difference, the probability that one is better, where they cross, and the multiplier, which is how many times as much
compute the other needs (`multiplier.py`). A lead that stays the same factor of compute is an *offset*; one that grows
or shrinks with scale is a *slope*. With $m(C)$ the multiplier, the offset is $m$ where the rows end, and the slope is
$d \log m / d \log C$ over the last decade of the rows: a slope of zero makes two laws one law with more compute.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.decisions.comparison_words import said
from sld.analysis.decisions.crossings import ROUNDING, Crossing, crossings, gaps, least_gap, told_apart
from sld.analysis.decisions.curves import Curve
from sld.analysis.decisions.estimate import Estimate
from sld.analysis.decisions.exponents import ExponentTest
from sld.analysis.decisions.findings import Findings, Pair, Place, Switch
from sld.analysis.decisions.multiplier import data_multipliers, multipliers
from sld.analysis.decisions.spans import UNKNOWN, from_draws, spoken
from sld.analysis.decisions.tracks import Contender, Track, Way, along
from sld.analysis.decisions.words import as_text
from sld.core.arrays import Array
from sld.core.errors import UsageError
from sld.core.numbers import exact, short
from sld.laws.catalogue import kind_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PER_DECADE = 12  # places of the scale: lines between them are right to 1e-4 of a loss
_AROUND = 3  # decades beyond what is shown, in which equals are looked for
_MOST_DECADES = 40  # of what is shown: more is a mistyped number
_SHOWN = 9  # places in tables
_ROUNDING = 1e-9  # of a slope: two laws with the same exponents have none
_HORIZON = 100.0  # times beyond the rows: what is shown if nobody says how far
_NOWHERE_OF = {"parameters": (1e7, 1e12), "data": (1e9, 1e14)}  # the same along a size or tokens alone
_NOWHERE = (1e18, 1e26)  # what is shown of laws without rows: the compute of small and of the largest trainings


@dataclass(frozen=True, repr=False)
class Comparison(Findings):
    """Several laws along a scale: see `Findings` for what it has."""

    def summary(self) -> str:
        """Return what it says, as text."""
        return as_text(said(self))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the laws with their bands and where they cross; on `ax`, or in a figure of its own."""
        from sld.analysis.decisions.comparison_picture import draw

        return draw(self, ax)


def compare(
    contenders: Sequence[Contender],
    way: Way,
    *,
    between: tuple[float, float] | None = None,
    level: float = 0.9,
    exponents: ExponentTest | None = None,
    warnings: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Comparison:
    """Compare laws along a scale.

    Args:
        contenders: Two or more, with names that differ.
        way: Along what.
        between: From where to where; from the smallest of their rows to a hundred times the largest if not given.
        level: Of the intervals.
        exponents: What the rows say of shared exponents, where they were asked.
        warnings: What is known to speak against it, to carry along.
        notes: Remarks to carry along.

    Raises:
        UsageError: There are fewer than two, two have one name, they cannot be compared, or the range is none.
    """
    names = [c.curve.name for c in contenders]
    if len(names) < 2:
        raise UsageError(f"a comparison needs two laws or more, got {len(names)}")
    if twice := [n for n in names if names.count(n) > 1]:
        raise UsageError(f"two laws are called {twice[0]!r}; give them different names")
    check_alike(contenders)
    low, high = between or _range(contenders)
    if not (0 < low < high < math.inf):
        raise UsageError(f"a range runs from a number above 0 to a larger one, got {exact(low)} to {exact(high)}")
    if math.log10(high / low) > _MOST_DECADES:
        raise UsageError(
            f"a range of more than {_MOST_DECADES} decades is not compared, got {exact(low)} to {exact(high)}"
        )
    first, last = math.log10(low) - _AROUND, math.log10(high) + _AROUND
    x = np.logspace(first, last, int((last - first) * _PER_DECADE) + 1)
    tracks = [along(c, way, x) for c in contenders]
    for track in tracks:
        shown = (x >= low) & (x <= high)
        if not np.isfinite(track.y[shown]).any():
            where = f"between {short(low)} and {short(high)} along {way.scale}"
            if way.mode == "optimum":
                raise UsageError(
                    f"{track.curve.name} has no best split of a compute {where}; compare at one split, e.g. "
                    "--given D/N=20"
                )
            raise UsageError(f"{track.curve.name} has no value {where}")
    pairs = [
        _pair(contenders[i], contenders[j], tracks[i], tracks[j], low, high, level)
        for i, j in itertools.combinations(range(len(tracks)), 2)
    ]
    best, switches = _envelope(tracks, pairs, low, high)
    remarks = [*warnings, *_warnings(contenders, pairs, switches, way)]
    return Comparison(
        way, tracks[0].curve.target.column, (low, high), tuple(tracks), tuple(pairs), best, tuple(switches), exponents,
        level, tuple(dict.fromkeys(remarks)), tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def check_alike(contenders: Sequence[Contender]) -> None:
    """Refuse laws of different targets, or over variables in different units.

    Raises:
        UsageError: They cannot be compared.
    """
    for one, other in itertools.combinations(contenders, 2):
        a, b = one.curve, other.curve
        s, t = a.target, b.target
        if s.better != t.better:
            raise UsageError(f"of {s.column!r} ({a.name}) {s.better} is better, of {t.column!r} ({b.name}) {t.better}")
        if s.unit and t.unit and s.unit != t.unit:
            raise UsageError(
                f"{s.column!r} is in {s.unit} in {a.name}, in {t.unit} in {b.name}: bring both to one unit"
            )
        for u, v in zip(one.names, other.names, strict=False):
            _check_unit(a, b, u, v)


def check_units(curves: Sequence[Curve]) -> None:
    """Refuse laws whose scales of one name are counted in different units, before anything is said of what runs cost.

    Raises:
        UsageError: The units differ, or the rows say so.
    """
    for one, other in itertools.combinations(curves, 2):
        both = {v.symbol for v in other.law.variables}
        for v in one.law.variables:
            if v.role == "scale" and v.symbol in both:
                _check_unit(one, other, v.symbol, v.symbol)


_OTHER_UNIT = 1e4  # times: rows of one law that begin so far above where those of the other end


def _check_unit(a: Any, b: Any, u: str, v: str) -> None:
    units = [next(x.unit for x in c.law.variables if x.symbol == s) for c, s in ((a, u), (b, v))]
    if all(units) and units[0] != units[1]:
        raise UsageError(f"{u} is in {units[0]} in {a.name}, {v} in {units[1]} in {b.name}: bring both to one unit")
    if u not in a.ranges or v not in b.ranges:
        return
    first, second = a.ranges[u], b.ranges[v]
    for (low, high), (least, most), who, s, whom, t in (
        (first, second, a.name, u, b.name, v),
        (second, first, b.name, v, a.name, u),
    ):
        if high * _OTHER_UNIT < least:
            raise UsageError(
                f"{s} of {who} runs from {short(low)} to {short(high)}, {t} of {whom} from "
                f"{short(least)} to {short(most)}: is one "
                "of them in millions or billions? Bring both to one unit"
            )


def _range(contenders: Sequence[Contender]) -> tuple[float, float]:
    """Return what is shown if nobody says: from the smallest of all rows to well beyond the largest."""
    reaches = [r for r in (c.reach for c in contenders) if r is not None]
    if not reaches:
        alone = next((c.curve.free[0] for c in contenders if c.cost is None), None)
        return _NOWHERE if alone is None else _NOWHERE_OF.get(kind_of(alone), _NOWHERE)
    return min(low for low, _ in reaches), _HORIZON * max(high for _, high in reaches)


def _pair(a: Contender, b: Contender, one: Track, other: Track, low: float, high: float, level: float) -> Pair:
    x = one.x
    at = np.unique(np.searchsorted(x, np.geomspace(low, high, _SHOWN) * (1 - 1e-9)))
    at = at[(at < len(x)) & np.isfinite(one.y[np.minimum(at, len(x) - 1)] - other.y[np.minimum(at, len(x) - 1)])]
    gap, drawn = one.y - other.y, one.sign * gaps(one, other)
    gap = np.where(np.abs(gap) <= ROUNDING * np.abs(one.y), 0.0, gap)
    centre, factors = multipliers(one, other, at)
    if a.cost is not None and b.cost is not None:
        data = data_multipliers(a, b, one, at, level)
    else:
        data = [UNKNOWN] * len(at)
    places = []
    for i, k in enumerate(at.tolist()):
        places.append(
            Place(
                float(x[k]),
                _with(one.y, one.drawn, k, level),
                _with(other.y, other.drawn, k, level),
                _with(gap, drawn, k, level),
                _better(drawn[:, k], one.sign),
                _with(centre, factors, i, level),
                data[i],
                bool(one.inside[k] and other.inside[k]),
            )
        )
    reference = _reference(one, other, low, high)
    offset, slope = _offset_and_slope(one, other, reference, level)
    ends = float(x[0]), float(x[-1])
    found = tuple(crossings(one, other, level))
    better = _better(drawn[:, int(np.argmin(np.abs(np.log(x / reference))))], one.sign)
    apart = told_apart(gap, least_gap(one, other, drawn, level))
    return Pair(a.curve.name, b.curve.name, tuple(places), found, offset, slope, better, reference, ends, apart)


def _better(drawn: Array, sign: float) -> float:
    """Return the share of differences (n,) in which the first is better; NaN without draws."""
    known = drawn[np.isfinite(drawn)]
    return float((sign * known < 0).mean()) if len(known) else math.nan


def _with(values: Array, drawn: Array, k: int, level: float) -> Estimate:
    """Return the k-th of values (n_places,) with what their draws (n, n_places) say of it."""
    value = float(values[k])
    return from_draws(value, drawn[:, k], level) if len(drawn) else Estimate(value)


def _reference(one: Track, other: Track, low: float, high: float) -> float:
    """Return the largest place that the rows of both reach, or the middle of what is shown."""
    both = np.flatnonzero(one.inside & other.inside)
    return float(one.x[both[-1]]) if len(both) else math.sqrt(low * high)


def _offset_and_slope(one: Track, other: Track, reference: float, level: float) -> tuple[Estimate, Estimate]:
    """Return the multiplier at a place and its power of the scale, from the decade below it."""
    k = int(np.argmin(np.abs(np.log(one.x / reference))))
    at = np.array([max(k - _PER_DECADE, 0), k])
    centre, drawn = multipliers(one, other, at)
    step = math.log(float(one.x[at[1]] / one.x[at[0]]))
    with np.errstate(all="ignore"):
        slope = float(np.log(centre[1] / centre[0]) / step)
        slope = 0.0 if abs(slope) < _ROUNDING else slope
        slopes = np.log(drawn[:, 1] / drawn[:, 0]) / step
    slopes = np.where(np.isfinite(slopes), slopes, math.nan)
    if not len(drawn):
        return Estimate(float(centre[1])), Estimate(slope)
    return from_draws(float(centre[1]), drawn[:, 1], level), from_draws(slope, slopes, level)


def _envelope(tracks: Sequence[Track], pairs: Sequence[Pair], low: float, high: float) -> tuple[str, list[Switch]]:
    """Return the best law at the begin, and where the best one changes in what is shown."""
    x, sign = tracks[0].x, tracks[0].sign
    shown = np.flatnonzero((x >= low * 0.999) & (x <= high * 1.001))
    values = np.array([np.where(np.isfinite(t.y), sign * t.y, math.inf) for t in tracks])[:, shown]
    winner = np.argmin(values, axis=0)
    names = [t.curve.name for t in tracks]
    found = []
    i, last = int(winner[0]), 0  # who is best, and the last place where nobody was better
    for k in range(1, len(shown)):
        j = int(winner[k])
        if i != j:
            x0, x1 = x[shown[last]], x[shown[k]]
            pair = next(p for p in pairs if {p.one, p.other} == {names[i], names[j]})
            there = [c for c in pair.crossings if x0 * 0.999 <= c.at.value <= x1 * 1.001 and c.after == names[j]]
            if there:
                found.append(Switch(there[0].at, names[i], names[j], there[0].supported))
            elif np.isfinite(values[[i, i, j, j], [last, k, last, k]]).all():
                continue  # they are not told apart here: who was best stays so
            else:  # one of them has no value on one side
                inside = bool(tracks[i].inside[shown[k - 1]] and tracks[j].inside[shown[k - 1]])
                found.append(Switch(Estimate(math.sqrt(x[shown[k - 1]] * x1)), names[i], names[j], inside))
        i, last = j, k
    return names[int(winner[0])], found


def _warnings(
    contenders: Sequence[Contender], pairs: Sequence[Pair], switches: Sequence[Switch], way: Way
) -> list[str]:
    """Return what to beware of, in sentences."""
    remarks = []
    if bare := [c.curve.name for c in contenders if c.curve.law.intervals is None]:
        remarks.append(f"{_and(bare)}: no intervals, since no rows are behind {'it' if len(bare) == 1 else 'them'}")
    # of several laws the crossings that nobody would act on are left to the table
    places: Sequence[Crossing | Switch] = pairs[0].crossings if len(pairs) == 1 else switches
    for c in places if any(c.reach is not None for c in contenders) else ():
        if not c.supported:
            remarks.append(
                f"the crossing of {c.before} and {c.after} at {way.scale} = {spoken(Estimate(c.at.value))} lies "
                "outside the rows of both: it rests on the formulas"
            )
    for who in contenders:
        verdict = who.curve.law.provenance.get("verdict", {})
        if verdict.get("kind") == "no law":
            remarks.append(f"{who.curve.name}: {verdict.get('sentence', 'the search found no law')}")
    return remarks


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
