"""The isoFLOP sweeps of a table: one, or one for each group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sld.analysis.decisions.isoflop import Isoflop
from sld.core.errors import UsageError, suggest
from sld.laws.law import Law

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class Isoflops:
    """What the sweeps of a table say; iterate over them, or take that of a group by its name.

    Attributes:
        parts: A sweep for each group; one where rows are not grouped.
        law: The law that was fitted to all of them.
        notes: What was left out, in sentences.
    """

    parts: tuple[Isoflop, ...]
    law: Law
    notes: tuple[str, ...] = ()

    @property
    def only(self) -> Isoflop:
        """The one sweep; raises UsageError where there are several."""
        if len(self.parts) > 1:
            raise UsageError(f"there are {len(self.parts)} groups ({', '.join(p.group for p in self.parts)}); name one")
        return self.parts[0]

    def __getitem__(self, group: str) -> Isoflop:
        """Return the sweep of a group."""
        found = {p.group: p for p in self.parts}
        if group not in found:
            raise UsageError(suggest(group, found, kind="group"))
        return found[group]

    def __iter__(self) -> Iterator[Isoflop]:
        """Go through the sweeps."""
        return iter(self.parts)

    def __repr__(self) -> str:
        """Return a line for each sweep."""
        return "\n".join(f"{p.group}: {p!r}" if p.group else repr(p) for p in self.parts)

    def to_frame(self) -> DataFrame:
        """Return a row for each budget of each group, see `Isoflop.to_frame`."""
        import pandas as pd

        found: DataFrame = pd.concat([p.to_frame() for p in self.parts], ignore_index=True)
        return found

    def summary(self) -> str:
        """Return what they say, as text."""
        return "\n\n".join([*(p.summary() for p in self.parts), *(f"note: {n}" for n in self.notes)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the sweeps side by side, or the only one on `ax`; return the first of the axes."""
        from sld.analysis.decisions import isoflop_picture

        if ax is not None:
            return isoflop_picture.draw(self.only, ax)
        return isoflop_picture.draw_all(self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of them."""
        return {"sweeps": [p.to_json() for p in self.parts], "notes": [*self.notes]}
