"""What is known of a law's constants before any row is seen: means and spreads by form and role, from other tables.

The numbers stand in `priors.toml`, which `bench/priors.py` writes; they are statistics of constants, no rows.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sld.fit.roles import Roles

FILE = Path(__file__).with_name("priors.toml")

Normal = tuple[float, float]  # mean and standard deviation


@dataclass(frozen=True)
class ConstantPriors:
    """What is known of the constants of one formula; every entry a mean and a standard deviation.

    Attributes:
        exponents: Constant to the logarithm of how fast its power falls.
        offset: Logit of where the law levels off, as a share of the smallest value (of a rising target: of the largest
            value as a share of where it levels off).
        terms: Amplitude to the logarithm of its term in the middle of the rows, as a share of the smallest value.
        noise: Logarithm of how far rows scatter about the law, relative to their values.
        stretch: What the spread of draws is multiplied by, so that intervals hold what they say: a short formula is
            not the truth.
    """

    exponents: Mapping[str, Normal]
    offset: Normal
    terms: Mapping[str, Normal]
    noise: Normal
    stretch: float = 1.0


@dataclass(frozen=True)
class PriorLibrary:
    """What the file holds.

    Attributes:
        version: Of its numbers; a law that was fitted with them names it.
        tables: How many tables they were learned from.
        spans: How far beyond the largest row something is promised, in spans of the rows (on a logarithmic scale).
        factor: The same as a multiple of the largest row, where the rows span less.
        data: The numbers, by form.
    """

    version: str
    tables: int
    spans: float
    factor: float
    data: Mapping[str, Any]

    def of(self, roles: Roles, rising: bool) -> ConstantPriors:
        """Return what is known of a formula's constants."""
        own = self.data[roles.form(rising)]

        def known(role: str, kind: str) -> Normal:
            mean, sd = own[role].get(kind, own[role]["other"])
            return float(mean), float(sd)

        exponents: dict[str, Normal] = {}
        terms: dict[str, Normal] = {}
        for term in roles.terms:
            kinds = {c: kind for c, (kind, _) in term.exponents.items()}
            exponents |= {c: known("exponent", kind) for c, kind in kinds.items()}
            terms[term.amplitude] = known("term", next(iter(kinds.values())) if len(kinds) == 1 else "other")
        return ConstantPriors(
            exponents, known("offset", "other"), terms, known("noise", "other"), float(own.get("stretch", 1.0))
        )


def horizon(low: float, high: float) -> float:
    """Return up to which value of a scale anything is promised, from few rows.

    As far beyond the largest row as the rows reach (as many times the largest as that is of the smallest), or four
    times: so far priors and intervals were judged (`bench/few_points.py`).

    >>> horizon(1e6, 1e8), horizon(1e6, 2e6)
    (10000000000.0, 8000000.0)

    Args:
        low: The smallest value in the rows, above 0.
        high: The largest.
    """
    known = library()
    return float(f"{high * max((high / low) ** known.spans, known.factor):.12g}")


@lru_cache
def library() -> PriorLibrary:
    """Return the numbers that come with the package."""
    data = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return PriorLibrary(
        str(data["version"]), int(data["tables"]), float(data["spans"]), float(data["factor"]), data["form"]
    )  # fmt: skip
