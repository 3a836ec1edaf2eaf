"""How `sld laws` looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sld.cli.output import remark, say, say_json, say_table, shown

if TYPE_CHECKING:
    from sld.laws.catalogue import CatalogueLaw, LawVariable


def laws(catalogue: Sequence[CatalogueLaw], json: bool) -> None:
    """Show `sld laws`."""
    if json:
        say_json({"laws": [_law_summary(law) for law in catalogue]})
        return
    say_table([[law.id, law.formula] for law in catalogue], ("law", "formula"), indent="")
    remark("\nsld laws show NAME tells more\nsld fit TASK --law NAME fits one")


def _law_summary(law: CatalogueLaw) -> dict[str, Any]:
    return {
        "id": law.id,
        "name": law.name,
        "category": law.category,
        "formula": law.formula,
        "variables": [v.symbol for v in law.variables],
        "constants": [c.symbol for c in law.constants],
        "status": law.status,
    }


def law(entry: CatalogueLaw, json: bool) -> None:
    """Show `sld laws show`."""
    if json:
        from dataclasses import asdict

        say_json(asdict(entry))
        return
    say(f"{entry.id}: {entry.name} ({entry.category})")
    print()
    say(f"  {entry.response} = {entry.formula}")
    if entry.general:
        say(f"  for any number of shares: {entry.general}")
    print()
    say_table([_law_variable_row(v) for v in entry.variables], ("variable", "role", "from", "to", "meaning"))
    print()
    say_table(
        [[c.symbol, shown(c.example), c.sign, c.meaning] for c in (*entry.constants, *entry.share_constants)],
        ("constant", "example", "sign", "meaning"),
    )
    for published in entry.published:
        print()
        say(f"published ({published.label}; {published.source}):")
        for name, value in published.values.items():
            interval = published.intervals.get(name)
            span = f" ({shown(interval[0])} to {shown(interval[1])})" if interval else ""
            say(f"  {name} = {shown(value, 6)}{span}")
    print()
    paper = entry.paper
    arxiv = f", arXiv:{paper.arxiv}" if paper.arxiv else ""
    say(f"source: {paper.authors} ({paper.year}). {paper.title}{arxiv} [{entry.status.replace('_', ' ')}]")
    for label, text in (("limits", entry.asymptotics), ("notes", entry.notes), ("not in the grammar", entry.reason)):
        if text:
            say(f"{label}: {text}")


def _law_variable_row(variable: LawVariable) -> list[str]:
    low, high = variable.domain
    unit = f" [{variable.unit}]" if variable.unit else ""
    return [variable.symbol, variable.role, shown(low), shown(high), variable.meaning + unit]
