"""How `sld families` looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sld.cli.output import remark, say, say_json, say_table, shown

if TYPE_CHECKING:
    from sld.analysis.families.forecast import Families, FamilyScore

_MEANS = {
    "one curve": "a curve over scale for each benchmark, the same for all families",
    "curve by family": "a curve over scale for each benchmark, with a level for each family",
    "components": "components of all scores, which follow compute with a level and a slope for each family",
    "skills": "skills behind all scores, which follow scale with a level for each family",
}


def scores(found: Families, json: bool) -> None:
    """Show scores of models."""
    if json:
        say_json(found.to_json())
        return
    for p in sorted({s.point for s in found.scores}):
        _model(found, [s for s in found.scores if s.point == p])
    if found.filled:
        say("missing in the table")
        say()
        rows = [
            [f.row, f.family, f.benchmark, shown(f.value), f"{shown(f.low)} to {shown(f.high)}"] for f in found.filled
        ]
        say_table(rows, ["row", "family", "benchmark", "score", _interval(found)])
        say()
    _law(found)
    for note in found.notes:
        remark(f"note: {note}")


def _interval(found: Families) -> str:
    return f"{100 * found.level:g} % interval"


def _model(found: Families, scores: list[FamilyScore]) -> None:
    first = scores[0]
    where = ", ".join(f"{name} = {shown(value)}" for name, value in first.scales.items())
    say(f"{first.family or 'a family of which no model is known'} at {where}")
    say()
    own = any(s.best is not None for s in scores)
    rows = [
        [s.benchmark, shown(s.value), f"{shown(s.low)} to {shown(s.high)}", *([shown(s.best)] if own else [])]
        for s in scores
    ]
    say_table(rows, ["benchmark", "score", _interval(found), *(["best of the family so far"] if own else [])])
    say()
    for g in found.gains:
        if g.point == first.point:
            say(
                f"{g.family} scores there as a typical family does with {shown(g.value, 2)} times the compute "
                f"({shown(g.low, 2)} to {shown(g.high, 2)})"
            )
            say()


def _law(found: Families) -> None:
    rows = []
    for kind, error in found.errors.items():
        used = kind == found.kind
        many = f" ({found.n_skills})" if used and found.n_skills else ""
        rows.append([kind + many, shown(error, 2), ("used: " if used else "") + _MEANS[kind]])
    say(f"laws, of {found.n_models} models of {found.n_families} families")
    say()
    say_table(rows, ["law", "missed by", ""])
    say()
    say(
        f"missed by: on average, where {found.n_foretold} scores of the larger models of {found.n_families_foretold} "
        "families are foretold from smaller ones"
        + (
            ""
            if found.forced
            else "; of laws that miss hardly more than the best, the one with the fewest constants is used"
        )
    )
    shares = ", ".join(f"{100 * share:.0f} %" for share in found.explained)
    say(f"the first {len(found.explained)} principal components hold {shares} of the differences between models")
