"""How a result is shown by what stands above it.

A law is drawn, told in HTML and laid out in a DataFrame by rooms above its own, yet in a notebook the law is what is
asked: `law.plot()`. So its methods ask for a function by name, and who stands above all floors (`sld/__init__.py`,
which Python runs before any module of the package) says once in which module these functions are. Nothing low imports
anything high, and the module is loaded when something is first shown.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_home = ""


def shown_by(module: str) -> None:
    """Say which module shows results; it is not imported yet."""
    global _home  # one package, one place
    _home = module


def view(name: str) -> Any:
    """Return the function of that name which shows a result."""
    return getattr(import_module(_home), name)
