"""How laws and discoveries show themselves in Python and in notebooks; their methods find these functions by name.

Nothing is imported before it is asked for: `repr(law)` needs neither pandas nor matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sld.data.table import Table
    from sld.laws.law import Law
    from sld.search.outcome import Discovery


def law_repr(law: Law) -> str:
    """Return a law in a few lines."""
    from sld.analysis.showing.text import law_lines

    return "\n".join(law_lines(law))


def law_latex(law: Law) -> str:
    """Return a law's formulas in LaTeX."""
    from sld.analysis.showing.text import latex

    return latex(law)


def law_html(law: Law) -> str:
    """Return a law as a notebook shows it."""
    from sld.analysis.showing.notebook import law_card

    return law_card(law)


def law_summary(law: Law) -> Any:
    """Return a law's constants as a DataFrame."""
    from sld.analysis.showing.frames import constants_frame

    return constants_frame(law)


def law_residuals(law: Law, table: Table) -> Any:
    """Return what a law leaves of measured values, as a DataFrame."""
    from sld.analysis.showing.frames import residuals_frame

    return residuals_frame(law, table)


def law_plot(law: Law, ax: Any, *, table: Table | None, target: str) -> Any:
    """Draw a law on axes and return them."""
    from sld.analysis.showing.drawing import drawn

    return drawn(law, ax, table, target)


def discovery_repr(found: Discovery) -> str:
    """Return a discovery in a few lines."""
    from sld.analysis.showing.text import discovery_lines

    return "\n".join(discovery_lines(found))


def discovery_html(found: Discovery) -> str:
    """Return a discovery as a notebook shows it."""
    from sld.analysis.showing.notebook import discovery_card

    return discovery_card(found)


def discovery_summary(found: Discovery) -> Any:
    """Return the formulas of a discovery as a DataFrame."""
    from sld.analysis.showing.frames import formulas_frame

    return formulas_frame(found)
