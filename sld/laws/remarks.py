"""What a reader of a law should know beside its formula: how many digits it takes, and what it tends to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sld.data.table import Table
from sld.laws.digits import digits_needed
from sld.laws.law import Law
from sld.laws.limits import differs, floor_of, limits

_DIGITS = 4  # of a limit
_MANY = 4  # groups that are listed one by one


def with_remarks(law: Law, table: Table) -> Law:
    """Return a law with the digits that its constants need in print and its limits at infinite scale, by target.

    Args:
        law: The law.
        table: The rows that it was fitted to, of all its groups.
    """
    digits, ends = {}, {}
    for j, target in enumerate(law.targets):
        column = target.column
        expression, constants = law.expressions[column], law.constants[column]
        digits[column] = digits_needed(expression, constants, table, j)
        ends[column] = limits(expression, constants, table)
    found = {"digits": digits} | ({"limit": known} if (known := {t: e for t, e in ends.items() if e}) else {})
    return replace(law, provenance={**law.provenance, **found})


def about_prediction(law: Law) -> str:
    """Return in one line what predicts beside the formulas of a law; empty where nothing does."""
    if not law.ensembles:
        return ""
    most = max(len(ensemble.members) for ensemble in law.ensembles.values())
    near = any(ensemble.kriging is not None for ensemble in law.ensembles.values())
    what = f"the mean of the formula and of {most} others" if most else "the formula"
    rows = f", corrected by what {'they miss' if most else 'it misses'} at rows near a point" if near else ""
    return f"predictions are {what}{rows}; the law is their summary (--by-formula predicts with it alone)"


def about_limit(law: Law, target: str) -> str:
    """Return in one line what a law tends to with scale, where its formula reads as if it were something else.

    Empty where the constant that stands alone in the formula is the limit, and for a law that was saved without limits.
    """
    ends: Mapping[str, float | None] = law.provenance.get("limit", {}).get(target, {})
    constant = floor_of(law.expressions[target])
    by_group = law.constants[target]
    if constant is None or not ends or not all(g in by_group for g in ends):
        return ""
    off = {g: limit for g, limit in ends.items() if differs(limit, by_group[g][constant])}
    if not off:
        return ""
    lower = next(t.better for t in law.targets if t.column == target) == "lower"
    name = "irreducible loss (limit at infinite scale)" if lower else "limit at infinite scale"
    if not law.grouped:
        ((group, limit),) = off.items()
        value = f"{by_group[group][constant]:.{_DIGITS}g}"
        if limit is None:
            return f"{name}: none, the law has no finite limit (the constant {constant} is {value})"
        return f"{name}: {limit:.{_DIGITS}g} (the constant {constant} is {value})"
    shown = [f"{g} {_said(limit)}" for g, limit in list(off.items())[:_MANY]]
    more = f" and {len(off) - _MANY} more groups" if len(off) > _MANY else ""
    return f"{name}, which is not the constant {constant}: {', '.join(shown)}{more}"


def _said(limit: float | None) -> str:
    return "none" if limit is None else f"{limit:.{_DIGITS}g}"
