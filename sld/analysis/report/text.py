"""Numbers, sentences and rows of tables, as the report writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sld.analysis.intervals import Interval
from sld.core.numbers import short
from sld.data.scoring import Scores

NONE = "-"


def typical(errors: Sequence[float]) -> float:
    """Return the geometric mean: errors of folds differ by orders of magnitude."""
    known = [e for e in errors if math.isfinite(e) and e > 0]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else math.nan


def percent(share: float) -> str:
    """Return a share in percent."""
    return (
        NONE if not math.isfinite(share) else f"{short(100 * share)} %" if share < 100 else f"{short(100 * share, 2)} %"
    )


def r2_text(found: Scores) -> str:
    """Return R² with the sign and digits of the tables."""
    return "−1 (failed)" if found.failed else f"{found.r2:.4f}"


def interval_text(ends: Interval | None) -> str:
    """Return the ends of an interval in brackets; nothing where there is none."""
    return "" if ends is None else f"({short(ends[0], 4)} to {short(ends[1], 4)})"


def capital(text: str) -> str:
    """Return a sentence with a capital letter."""
    return text[:1].upper() + text[1:]


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    # a bar would end the cell, and a line break the table
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def listed(words: Iterable[str]) -> str:
    """Return words with commas and an "and"."""
    *some, last = words
    return f"{', '.join(some)} and {last}" if some else last


def trimmed(lines: list[str]) -> list[str]:
    """Return lines without the empty ones at the end."""
    while lines and not lines[-1]:
        lines.pop()
    return lines
