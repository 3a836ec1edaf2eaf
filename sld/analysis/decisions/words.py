"""What a decision says, as paragraphs and small tables: the same for a notebook and for a terminal of any width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_NOTHING = 5e-5  # of a share: less than nothing that anybody acts on
_LONG = 1e5  # per cent from which a power of ten is easier to read


@dataclass(frozen=True)
class Block:
    """A small table: a header, and rows of as many cells."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Said = Sequence[str | Block]


def as_text(said: Said) -> str:
    """Return paragraphs and tables as lines of text.

    >>> print(as_text(["two sizes:", Block(("size", "loss"), (("1e6", "3.1"), ("1e7", "2.9")))]))
    two sizes:
      size  loss
      1e6   3.1
      1e7   2.9
    """
    lines: list[str] = []
    for part in said:
        if isinstance(part, str):
            lines.append(part)
            continue
        rows = [part.header, *part.rows]
        widths = [max(len(row[k]) for row in rows) for k in range(len(part.header))]
        lines += [
            ("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
            for row in rows
        ]
    return "\n".join(lines)


def percent(share: float, digits: int = 2) -> str:
    """Return a share as percent with its sign.

    >>> percent(-0.1391), percent(0.0002), percent(-3e-9), percent(-4.24)
    ('-14 %', '+0.02 %', '0 %', '-420 %')
    """
    if abs(share) < _NOTHING:
        return "0 %"
    rounded = float(f"{100 * share:.{digits}g}")
    return f"{rounded:+.0f} %" if 10 ** (digits - 1) <= abs(rounded) < _LONG else f"{rounded:+.{digits}g} %"
