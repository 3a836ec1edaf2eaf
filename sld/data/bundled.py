"""Where tasks are that go by a name: the bundled ones and those in added folders; reads no rows, imports no numpy."""

from __future__ import annotations

from pathlib import Path

from sld.core.arguments import checked
from sld.data.card import CARD_FILE

ORIGIN_FILE = "origin.json"  # what `sld tasks fetch` leaves beside the card: where the rows came from, digests
SUITES = ("sldbench",)  # what it can download; the names of their tasks begin so, and no bundled task's does

_added: list[Path] = []


def tasks_root() -> Path:
    """Return the folder of the bundled tasks: inside the wheel, or `tasks/` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_tasks"
    return inside if inside.is_dir() else package.parent / "tasks"


@checked()
def add_tasks_root(folder: str | Path) -> None:
    """Make the task folders inside `folder` known by their names, after those of folders added earlier.

    The folder need not exist yet; adding it twice changes nothing. A bundled task keeps its name.
    """
    path = Path(folder).absolute()
    if path not in _added:
        _added.append(path)


def remove_tasks_root(folder: str | Path) -> None:
    """Forget a folder that `add_tasks_root` was given."""
    path = Path(folder).absolute()
    if path in _added:
        _added.remove(path)


def task_roots() -> tuple[Path, ...]:
    """Return the folders that hold tasks by name: that of the bundled ones first."""
    return (tasks_root(), *_added)


def bundled_tasks() -> tuple[str, ...]:
    """Return the names of the bundled tasks."""
    return tuple(_tasks_in(tasks_root()))


def named_tasks() -> dict[str, Path]:
    """Return the folder of every task that goes by a name: bundled ones first, then the others by root and name."""
    found: dict[str, Path] = {}
    for root in task_roots():
        for name, folder in _tasks_in(root).items():
            found.setdefault(name, folder)
    return found


def _tasks_in(root: Path) -> dict[str, Path]:
    try:
        folders = sorted(card.parent for card in root.glob(f"*/{CARD_FILE}"))
    except OSError:  # a folder that may not be listed has no tasks for us
        return {}
    # a name never begins with a dot: such folders are being written
    return {folder.name: folder for folder in folders if not folder.name.startswith(".")}
