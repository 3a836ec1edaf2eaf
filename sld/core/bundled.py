"""Where the bundled tasks are and what they are called; reads no rows and imports no numpy, so `sld tasks` is quick."""

from __future__ import annotations

from pathlib import Path

from sld.core.card import CARD_FILE


def tasks_root() -> Path:
    """Return the folder of the bundled tasks: inside the wheel, or `tasks/` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_tasks"
    return inside if inside.is_dir() else package.parent / "tasks"


def bundled_tasks() -> tuple[str, ...]:
    """Return the names of the bundled tasks."""
    return tuple(sorted(card.parent.name for card in tasks_root().glob(f"*/{CARD_FILE}")))
