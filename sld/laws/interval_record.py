"""What law.json holds of a law's intervals, under `intervals`: read, with a clear word where it cannot be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sld.core.errors import DataError, GrammarError, UsageError
from sld.data.card import parse_for
from sld.fit.noise import NoiseShape
from sld.formula.expression import Expression
from sld.laws.fitted import Fitted

LEAST_REFITS = 5  # that succeeded; fewer say nothing
STILL = 1e-9  # relative: a refit that moves a constant by less has not moved it
_EXACT = 1e-7  # of the range: smaller residuals are rounding errors of an exact law, whose refits need not move


def level_of(law: Fitted) -> float:
    """Return the share of new runs that the intervals shall cover; raises UsageError for a law without intervals."""
    level = entry(_record(law), "level")
    if not isinstance(level, int | float) or not 0 < level < 1:
        raise DataError(
            f"the level in the law's intervals must lie between 0 and 1, got {level!r}; fit or discover again"
        )
    return float(level)


def about_target(law: Fitted, target: str) -> Mapping[str, Any]:
    """Return what is known of one target; raises UsageError without a record, DataError without a part."""
    about = entry(entry(_record(law), "targets"), target)
    for key in ("scale", "widening", "noise", "rows", "free", "constants"):
        entry(about, key)
    return dict(about)


def _record(law: Fitted) -> Mapping[str, Any]:
    if law.intervals is None:
        raise UsageError("this law carries no intervals; discover or fit it again to get them")
    return law.intervals


def entry(data: Any, key: str) -> Any:
    """Return one entry of the record; raises DataError where it is absent."""
    if not isinstance(data, Mapping) or key not in data:
        raise DataError(f"the law's intervals lack {key!r}; discover or fit it again")
    return data[key]


def tails_of(about: Mapping[str, Any]) -> float:
    """Return the degrees of freedom of Student's t with which a spread is meant; infinite for a normal distribution."""
    return float(about.get("tails", math.inf))


def spans_of(about: Mapping[str, Any], group: str) -> tuple[dict[str, tuple[float, float]], tuple[float, float]]:
    """Return between which ends the rows of a group lie: of each variable (by symbol), and of the target.

    A record from before 0.9.0 does not say: then no variable, and infinite ends.
    """
    if "spans" not in about:
        return {}, (-math.inf, math.inf)
    try:
        spans = entry(about["spans"], group)
        low, high = spans["target"]
        return {s: (float(a), float(b)) for s, (a, b) in spans["variables"].items()}, (float(low), float(high))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the spans in the law's intervals cannot be read: {error!r}") from error


def noise_shape(about: Mapping[str, Any]) -> NoiseShape | None:
    """Return how the noise changes; None where it is the same everywhere."""
    if "noise_shape" not in about:
        return None
    try:
        return NoiseShape.from_json(about["noise_shape"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the noise in the law's intervals cannot be read: {error!r}") from error


def replicates_of(about: Mapping[str, Any], target: str, group: str) -> list[dict[str, float]]:
    """Return the constants of each refit in a group."""
    columns = entry(about["constants"], group)
    if not columns:
        return [{}] * LEAST_REFITS  # nothing to refit
    try:
        values = {name: [float(x) for x in str(text).split()] for name, text in columns.items()}
        return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    except (AttributeError, ValueError) as error:
        raise DataError(f"the law's intervals of {target!r}, group {group!r}, cannot be read: {error}") from error


def moving(about: Mapping[str, Any], target: str, group: str, values: Mapping[str, float]) -> list[dict[str, float]]:
    """Return the refits that moved: one that left every constant where it was has failed, unless the law is exact."""
    found = replicates_of(about, target, group)
    if not found[0] or is_exact(about, group):
        return found
    return [r for r in found if any(not abs(r[c] - values[c]) <= STILL * abs(values[c]) for c in r)]


def rivals_of(
    law: Fitted, about: Mapping[str, Any], target: int, group: str
) -> list[tuple[Expression, dict[str, float], float]]:
    """Return what runners-up say in a group, those that have constants for it, and by what share each counts."""
    found = []
    for rival in about.get("rivals", ()):
        try:
            expression = parse_for(entry(rival, "expression"), law.variables, len(law.targets), target)
            said = entry(rival, "constants")
            if all(isinstance(of, str) for of in said.values()):  # before 0.6.0, of one group
                said = {group: {c: text.split()[0] for c, text in said.items()}}
            if group not in said:
                continue
            constants = {c: float(entry(said[group], c)) for c in expression.constants}
            share = float(rival.get("share", 1.0))
        except (AttributeError, TypeError, ValueError, IndexError, GrammarError) as error:
            raise DataError(f"a rival in the law's intervals cannot be read: {error}") from error
        found.append((expression, constants, share))
    return found


def inflation_of(about: Mapping[str, Any], group: str) -> float:
    """Return how much larger errors are than residuals: the root of the rows over those that no constant takes."""
    return math.sqrt(float(entry(about["rows"], group)) / float(entry(about["free"], group)))


def is_exact(about: Mapping[str, Any], group: str) -> bool:
    """Tell whether the law misses its rows by no more than rounding errors."""
    low, high = about.get("range", {}).get(group, (0.0, 0.0))
    return known_size(about["noise"][group]) <= (_EXACT if about["scale"] == "log" else _EXACT * (high - low))


def six_digits(value: float) -> float | None:
    """Return a size as law.json has it; null where it is infinite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def known_size(noise: Any) -> float:
    """Return a size as law.json has it, where null stands for one that nothing bounds."""
    return math.inf if noise is None else float(noise)
