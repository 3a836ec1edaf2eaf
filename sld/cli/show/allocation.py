"""How `sld allocate` looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sld.cli.show.decisions import best

if TYPE_CHECKING:
    from sld.analysis.decisions.plan import Allocation


def allocation(found: Allocation, json: bool) -> None:
    """Show what to train."""
    best(found, json, f"cost = {found.cost_formula} ({found.unit})")
