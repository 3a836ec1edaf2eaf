"""What runs laid over one another look like: the distances of pairs, the columns side by side, and their picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.curves.runs import Curve
from sld.core.arrays import Array
from sld.core.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

_NAMES = 12  # runs that a legend names


@dataclass(frozen=True)
class Pair:
    """Two runs over the part of a column that both cover.

    Attributes:
        first: Name of a run.
        second: Name of the other.
        low: Where the common part starts.
        high: Where it ends.
        points: Checkpoints of both within.
        distance: Root mean square of second less first, evenly in the logarithm of the column, in units of the target.
        span: Highest less lowest value of both there.
        share: Distance as a share of the span, 0 to 1.
        offset: Mean of second less first.
        offset_share: Share of the squared distance that the offset makes up.
        noise: Distance that two runs alike would have by their noise alone; None where noise is not known.
    """

    first: str
    second: str
    low: float
    high: float
    points: int
    distance: float
    span: float
    share: float
    offset: float
    offset_share: float
    noise: float | None


def pair_of(
    names: tuple[str, str], part: tuple[float, float], points: int, apart: Array, about: tuple[float, float | None]
) -> Pair:
    """Return two runs compared.

    Args:
        names: Of the runs.
        part: Where the common part starts and ends.
        points: Checkpoints within.
        apart: Second less first, at even steps of the logarithm (n_steps,).
        about: Span of the values, and the distance by noise alone.
    """
    square, offset = float(np.mean(apart**2)), float(apart.mean())
    span, noise = about
    distance = float(np.sqrt(square))
    share = distance / span if span > 0 else 0.0
    of_offset = min(offset**2 / square, 1.0) if square > 0 else 0.0
    return Pair(*names, *part, points, distance, span, share, offset, of_offset, noise)


@dataclass(frozen=True)
class Alignment:
    """Runs laid over one another by one column.

    Attributes:
        column: Its name.
        pairs: Every two runs with a part of it in common.
        distance: Mean over the pairs, in units of the target.
        share: Mean of the distances as shares of the spans.
        offset_share: Share of the squared distances, summed, that offsets make up.
        noise: Mean distance by noise alone; None where noise is not known.
    """

    column: str
    pairs: tuple[Pair, ...]
    distance: float
    share: float
    offset_share: float
    noise: float | None

    @classmethod
    def of(cls, column: str, pairs: Sequence[Pair]) -> Alignment:
        """Return the means over pairs, at least one."""
        square = sum(p.distance**2 for p in pairs)
        offset = sum(p.offset**2 for p in pairs) / square if square > 0 else 0.0
        noises = [p.noise for p in pairs if p.noise is not None]
        return cls(
            column,
            tuple(pairs),
            float(np.mean([p.distance for p in pairs])),
            float(np.mean([p.share for p in pairs])),
            min(offset, 1.0),
            float(np.mean(noises)) if noises else None,
        )


@dataclass(frozen=True)
class Versus:
    """The closest column beside another, at the same checkpoints: those in the common part of every column.

    Attributes:
        column: The other column.
        closest: Mean distance by the closest column, there.
        distance: Mean distance by the other, there.
        probability: Share of redraws of runs and noise in which the closest column was closer by at least a tenth;
            None for two runs whose noise is not known.
        told_apart: Whether that is at least 95 %.
    """

    column: str
    closest: float
    distance: float
    probability: float | None
    told_apart: bool


@dataclass(frozen=True, eq=False)
class CurveAlignment:
    """Runs laid over one another by each of several columns.

    Attributes:
        target: What was measured.
        step: What orders the checkpoints of a run.
        alignments: One for each column.
        closest: The column by which the curves lie closest; None with one column, or without pairs to tell from.
        versus: How surely, beside each other column.
        notes: What was noticed, in sentences.
        runs: Names of the runs.
        curves: Column and run to what was measured over it.
    """

    target: str
    step: str
    alignments: tuple[Alignment, ...]
    closest: str | None
    versus: tuple[Versus, ...]
    notes: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    curves: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """Return a short form."""
        columns = ", ".join(f"{a.column}: {short(a.distance)}" for a in self.alignments)
        return f"CurveAlignment({len(self.runs)} runs, {columns}, closest={self.closest!r})"

    def __getitem__(self, column: str) -> Alignment:
        """Return the alignment by a column."""
        for a in self.alignments:
            if a.column == column:
                return a
        raise KeyError(column)

    @property
    def told_apart(self) -> bool:
        """Whether the closest column is told apart from every other."""
        return bool(self.versus) and all(v.told_apart for v in self.versus)

    @property
    def sentence(self) -> str:
        """By which column the curves lie closest, and how surely."""
        if self.closest is None:
            each = ", ".join(f"{short(a.distance)} apart by {a.column}" for a in self.alignments)
            noise = self.alignments[0].noise
            beside = f" (noise alone gives {short(noise)})" if len(self.alignments) == 1 and noise is not None else ""
            rest = (
                ""
                if len(self.alignments) == 1
                else ", not told apart: no pair has checkpoints in common parts of every column"
            )
            return f"the curves lie {each}{beside}{rest}"
        surely = [v for v in self.versus if v.told_apart]
        unsure = [v for v in self.versus if not v.told_apart]
        said = f"the curves lie closest by {self.closest} ({short(self.versus[0].closest)} apart)"
        if surely:
            said += f", told apart from {_listed(surely)}"
        if unsure:
            said += f", {'but ' if surely else ''}not told apart from {_listed(unsure)}"
        return said

    def to_frame(self) -> DataFrame:
        """Return a row for each column and pair."""
        import pandas as pd

        return pd.DataFrame([{"align": a.column, **asdict(p)} for a in self.alignments for p in a.pairs])

    def to_json(self) -> dict[str, Any]:
        """Return everything but the rows, in JSON's types."""
        return {
            "target": self.target,
            "step": self.step,
            "runs": list(self.runs),
            "closest": self.closest,
            "told_apart": self.told_apart,
            "sentence": self.sentence,
            "versus": [asdict(v) for v in self.versus],
            "alignments": [asdict(a) for a in self.alignments],
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """Return distances and the sentence as lines of text."""
        lines = [
            f"by {a.column}: {short(a.distance)} apart ({100 * a.share:.0f} % of the span), noise alone "
            f"{short(a.noise)}, {len(a.pairs)} pairs"
            for a in self.alignments
        ]
        return "\n".join([*lines, self.sentence])

    def plot(self, ax: Axes | None = None, column: str | None = None) -> Axes:
        """Draw the runs over each column side by side, or over one column into `ax`; returns the (first) axes.

        Args:
            ax: Where to draw; a new figure if not given.
            column: The only one to draw: with `ax` the closest if not given, or the first.
        """
        from matplotlib.figure import Figure

        if ax is not None or column is not None:
            named = self[column or self.closest or self.alignments[0].column]
            ax = Figure(figsize=(6.5, 4.3), layout="constrained").subplots() if ax is None else ax
            self._draw(ax, named, legend=True)
            return ax
        n = len(self.alignments)
        figure = Figure(figsize=(1.9 + 3.9 * n, 4.0), layout="constrained")
        panels = figure.subplots(1, n, sharey=True, squeeze=False)[0]
        for k, (panel, a) in enumerate(zip(panels, self.alignments, strict=True)):
            self._draw(panel, a, legend=k == n - 1)
            if k:
                panel.set_ylabel("")
        first: Axes = panels[0]
        return first

    def _draw(self, ax: Axes, alignment: Alignment, *, legend: bool) -> None:
        from matplotlib import colormaps

        for k, name in enumerate(self.runs):
            colour = colormaps["viridis"](0.05 + 0.85 * k / max(len(self.runs) - 1, 1))
            curve = self.curves[alignment.column][name]
            marker = "o" if len(curve.x) <= 40 else None
            label = name if k < _NAMES else None
            ax.plot(curve.x, curve.y, color=colour, linewidth=1.1, marker=marker, markersize=3, label=label)
        ax.set_xscale("log")
        ax.set_xlabel(alignment.column)
        ax.set_ylabel(self.target)
        noise = "" if alignment.noise is None else f" (noise alone {short(alignment.noise)})"
        ax.set_title(f"by {alignment.column}: {short(alignment.distance)} apart{noise}", fontsize=10)
        if legend:
            more = f"{len(self.runs) - _NAMES} further runs not named" if len(self.runs) > _NAMES else None
            # beside the axes: curves of many runs leave no free corner
            ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), title=more)


def _listed(those: Sequence[Versus]) -> str:
    return ", ".join(f"{v.column} ({short(v.distance)} apart; {_redrawn(v.probability)})" for v in those)


def _redrawn(share: float | None) -> str:
    if share is None:
        return "how surely is not known"
    # rounded down: 99.6 % is not all of them
    return f"a tenth closer in {int(100 * share + 1e-9)} % of redraws"
