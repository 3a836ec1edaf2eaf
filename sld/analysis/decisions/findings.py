"""What a comparison says: laws along a scale, every two of them, and which is best where."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sld.analysis.decisions.crossings import Crossing
from sld.analysis.decisions.estimate import Estimate
from sld.analysis.decisions.exponents import ExponentTest
from sld.analysis.decisions.spans import as_json, spoken
from sld.analysis.decisions.tracks import Track, Way
from sld.core.errors import UsageError
from sld.core.numbers import short

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Place:
    """Two laws at one place of the scale.

    Attributes:
        x: The place.
        one: What the first law says.
        other: What the second one says.
        difference: The first minus the second.
        better: Probability that the first is better; NaN without draws.
        multiplier: How many times the scale the second needs to equal the first.
        data: How many times the data, at the size of the first; unknown where the laws have no data.
        supported: Whether the rows of both reach there.
    """

    x: float
    one: Estimate
    other: Estimate
    difference: Estimate
    better: float
    multiplier: Estimate
    data: Estimate
    supported: bool

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {
            "x": self.x,
            **{k: as_json(getattr(self, k)) for k in ("one", "other", "difference", "multiplier", "data")},
            "better": self.better,
            "supported": self.supported,
        }


@dataclass(frozen=True)
class Pair:
    """Two laws.

    Attributes:
        one: Name of the first.
        other: Name of the second.
        places: Both along the scale.
        crossings: Where they cross, in what was looked at.
        offset: Multiplier of the first over the second at `reference`.
        slope: Power of the scale with which the multiplier grows, there.
        better: Probability that the first is better there; NaN without draws.
        reference: Where the rows of both end; the middle of what was looked at where they have none in common.
        looked_at: From where to where a crossing was looked for.
        apart: Whether they are told apart anywhere there, beyond rounding and a hundredth of the interval of their
            difference.
    """

    one: str
    other: str
    places: tuple[Place, ...]
    crossings: tuple[Crossing, ...]
    offset: Estimate
    slope: Estimate
    better: float
    reference: float
    looked_at: tuple[float, float]
    apart: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {
            "one": self.one,
            "other": self.other,
            "places": [p.to_json() for p in self.places],
            "crossings": [c.to_json() for c in self.crossings],
            "looked_at": [*self.looked_at],
            "told_apart": self.apart,
            "offset": as_json(self.offset),
            "slope": as_json(self.slope),
            "better": self.better,
            "reference": self.reference,
        }


@dataclass(frozen=True)
class Switch:
    """Where the best of several laws changes."""

    at: Estimate
    before: str
    after: str
    supported: bool

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {"at": as_json(self.at), "before": self.before, "after": self.after, "supported": self.supported}


@dataclass(frozen=True, repr=False)
class Findings:
    """Several laws along a scale.

    Attributes:
        way: Along what, and how runs are chosen.
        target: What is predicted.
        shown: From where to where.
        tracks: Each law, over more than what is shown.
        pairs: Every two of them, in the order in which they were given.
        best: Name of the best law where the scale begins.
        switches: Where another one becomes the best, from small to large.
        exponents: Whether one exponent serves all; None where the rows are not at hand.
        level: Of all intervals.
        warnings: What speaks against it, in sentences.
        notes: What else is to be said, in sentences.
    """

    way: Way
    target: str
    shown: tuple[float, float]
    tracks: tuple[Track, ...]
    pairs: tuple[Pair, ...]
    best: str
    switches: tuple[Switch, ...]
    exponents: ExponentTest | None = None
    level: float = 0.9
    warnings: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        """What the laws are called."""
        return tuple(t.curve.name for t in self.tracks)

    @property
    def only(self) -> Pair:
        """The one pair; raises UsageError where there are more than two laws."""
        if len(self.pairs) > 1:
            raise UsageError(f"there are {len(self.pairs)} pairs of {len(self.tracks)} laws; take one of `pairs`")
        return self.pairs[0]

    def __repr__(self) -> str:
        """Return who is best from where on, in a line."""
        text = f"{self.best} is best from {short(self.shown[0])}"
        text += "".join(f", {s.after} from {spoken(s.at)}" for s in self.switches)
        return f"<comparison along {self.way.scale}: {text}>"

    def to_frame(self) -> DataFrame:
        """Return a row for each pair and place: both laws, difference, probability, multipliers, with their ends."""
        import pandas as pd

        rows = []
        for pair in self.pairs:
            for p in pair.places:
                row: dict[str, Any] = {"one": pair.one, "other": pair.other, self.way.scale: p.x}
                for name in ("one", "other", "difference", "multiplier", "data"):
                    e: Estimate = getattr(p, name)
                    label = {"one": "value_one", "other": "value_other", "data": "data_multiplier"}.get(name, name)
                    row |= {label: e.value, f"{label}_low": e.low, f"{label}_high": e.high}
                rows.append({**row, "probability_one_better": p.better, "supported": p.supported})
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {
            "along": self.way.scale,
            "how": self.way.words,
            "target": self.target,
            "from": self.shown[0],
            "to": self.shown[1],
            "laws": [*self.names],
            "pairs": [p.to_json() for p in self.pairs],
            "best_at_first": self.best,
            "switches": [s.to_json() for s in self.switches],
            "exponents": None if self.exponents is None else self.exponents.to_json(),
            "level": self.level,
            "warnings": [*self.warnings],
            "notes": [*self.notes],
        }
