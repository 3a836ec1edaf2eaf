"""What an answer is, and how far each other way of fitting moves it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sld.analysis.decisions.estimate import Estimate
from sld.analysis.decisions.spans import as_json
from sld.core.errors import UsageError, suggest

if TYPE_CHECKING:
    from pandas import DataFrame

FACTORS = {
    "loss": "other losses",
    "pinned": "a constant held",
    "rung": "a rung left out",
    "budget": "a budget left out",
    "group": "a group left out",
    "seed": "a seed left out",
    "run": "runs left out",
    "start": "one starting point alone",
    "column": "another count",
    "rows": "other rows",
}


@dataclass(frozen=True)
class Variant:
    """What one other way of fitting gives.

    Attributes:
        factor: What was changed, a key of `FACTORS`.
        name: To what.
        answers: Answer to value; empty where the fit failed.
        problem: Why it failed, or nothing.
    """

    factor: str
    name: str
    answers: Mapping[str, float]
    problem: str = ""


@dataclass(frozen=True)
class Effect:
    """How far one factor moves an answer.

    Attributes:
        factor: A key of `FACTORS`.
        low: The lowest value, and the variant that gave it.
        high: The highest value, and the variant that gave it.
        n: Variants with a value.
        failed: Variants without one.
    """

    factor: str
    low: tuple[float, str]
    high: tuple[float, str]
    n: int
    failed: int

    @property
    def width(self) -> float:
        """How far apart they are."""
        return self.high[0] - self.low[0]


@dataclass(frozen=True, repr=False)
class Effects:
    """An answer under other ways of fitting.

    Attributes:
        formula: The form.
        base: Answer to the value of the fit as it was asked for, with its interval.
        answer: The one that matters most: what effects are sorted by if nothing else is said.
        variants: Every other way.
        about: What the answers are about: the budget, the point, the group.
        level: Of the intervals of the base.
        notes: Remarks, in sentences.
    """

    formula: str
    base: Mapping[str, Estimate]
    answer: str
    variants: tuple[Variant, ...]
    about: str
    level: float
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        """Return what moves the answer most, in a line."""
        effects = self.effects()
        most = f"{FACTORS[effects[0].factor]} most" if effects else "nothing"
        return f"<sensitivity of {self.answer} to {len(self.variants)} other fits: moved by {most}>"

    def effects(self, answer: str | None = None) -> list[Effect]:
        """Return what each factor does to an answer, the largest first; raises UsageError for an unknown one."""
        name = self.answer if answer is None else answer
        if name not in self.base:
            raise UsageError(suggest(name, self.base, kind="answer"))
        value = self.base[name].value
        found = []
        for factor in FACTORS:
            own = [v for v in self.variants if v.factor == factor]
            known = [(v.answers[name], v.name) for v in own if math.isfinite(v.answers.get(name, math.nan))]
            if known:
                low, high = min(known), max(known)
                # the fit itself is one of the ways
                low, high = min(low, (value, "as fitted")), max(high, (value, "as fitted"))
                found.append(Effect(factor, low, high, len(known), len(own) - len(known)))
        return sorted(found, key=lambda e: -e.width)

    def to_frame(self) -> DataFrame:
        """Return a row for each other way, with every answer, sorted by how far it moves the main one."""
        import pandas as pd

        rows: list[dict[str, Any]] = [{"factor": "", "name": "as fitted", **{k: e.value for k, e in self.base.items()}}]
        value = self.base[self.answer].value

        def moved(v: Variant) -> float:
            there = v.answers.get(self.answer, math.nan)
            return -abs(there - value) if math.isfinite(there) else 1.0

        for v in sorted(self.variants, key=moved):
            rows.append({"factor": v.factor, "name": v.name, **{k: v.answers.get(k, math.nan) for k in self.base}})
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {
            "formula": self.formula,
            "about": self.about,
            "answer": self.answer,
            "base": {k: as_json(e) for k, e in self.base.items()},
            "effects": {
                answer: [
                    {
                        "factor": e.factor,
                        "low": e.low[0],
                        "low_by": e.low[1],
                        "high": e.high[0],
                        "high_by": e.high[1],
                        "n": e.n,
                        "failed": e.failed,
                    }
                    for e in self.effects(answer)
                ]
                for answer in self.base
            },
            "variants": [
                {"factor": v.factor, "name": v.name, "answers": dict(v.answers), "problem": v.problem}
                for v in self.variants
            ],
            "level": self.level,
            "notes": [*self.notes],
        }
