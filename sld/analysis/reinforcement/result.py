"""What `sld rl` found: bounded curves of recipes, and which of them leads in what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.reinforcement.frames import frame
from sld.analysis.reinforcement.recipes import Compared, Recipe
from sld.analysis.reinforcement.sigmoid import Bounded
from sld.core.arrays import Array
from sld.core.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

MOST_DRAWN = 8  # recipes in a picture
HALF = 0.5  # of the gain: a curve that is not there yet has not bent, and its asymptote rests on the form


@dataclass(frozen=True, eq=False)
class RecipeCurves:
    """Bounded curves in compute, by recipe.

    Attributes:
        target: Column of the values.
        compute: Column of compute.
        level: Level of the intervals.
        better: `higher` or `lower`.
        discard: What was left out at the beginning of runs, and by which rule, in words.
        until: Compute at which the curves were asked for; None for nowhere.
        compared: The recipes and what tells them apart.
        notes: What was noticed, in sentences.
        runs: Name of the recipe, compute and value of each run that was measured.
        curves: Draws of each recipe's curve.
    """

    target: str
    compute: str
    level: float
    better: str
    discard: str
    until: float | None
    compared: Compared
    notes: tuple[str, ...] = ()
    runs: tuple[tuple[str, Array, Array], ...] = field(default=(), repr=False)
    curves: Mapping[str, Bounded] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """Return a short form."""
        return f"RecipeCurves({self.target} of {len(self.recipes)} recipes, {self.level:.0%} intervals)"

    def __getitem__(self, name: str) -> Recipe:
        """Return a recipe by its name."""
        for recipe in self.recipes:
            if recipe.name == name:
                return recipe
        raise KeyError(name)

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The recipes, in the order of the table."""
        return self.compared.recipes

    @property
    def highest(self) -> str:
        """The recipe with the best asymptote, by the median."""
        sign = 1 if self.better == "higher" else -1
        return max(self.recipes, key=lambda r: sign * r.asymptote.value).name

    @property
    def quickest(self) -> str:
        """The recipe that reaches the common value with the least compute, by the median."""
        return min(self.recipes, key=lambda r: r.before).name

    @property
    def unbent(self) -> tuple[str, ...]:
        """Recipes that have not shown half of their gain: their asymptotes rest on the form of the curve."""
        return tuple(r.name for r in self.recipes if r.gained.low < HALF)

    def at(self, compute: float | Array) -> dict[str, Array]:
        """Return draws (n, n_points) of each recipe's curve at compute (n_points,)."""
        return {name: b.at(np.atleast_1d(np.asarray(compute, dtype=float))) for name, b in self.curves.items()}

    def to_frame(self) -> DataFrame:
        """Return a row for each recipe, a column for each number and each end of its interval."""
        return frame(self.recipes)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the curves, in JSON's types; what is never reached is null."""
        return {
            "target": self.target,
            "compute": self.compute,
            "level": self.level,
            "better": self.better,
            "discard": self.discard,
            "until": self.until,
            "common_value": self.compared.value,
            "recipes": [asdict(r) for r in self.recipes],
            "best_asymptote": self.highest,
            "most_efficient": self.quickest,
            "differences": [asdict(d) for d in self.compared.differences],
            "crossing": None if self.compared.crossing is None else asdict(self.compared.crossing),
            "not_bent_yet": list(self.unbent),
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """Return the recipes as lines of text."""
        return "\n".join(
            f"{r.name}: asymptote {short(r.asymptote.value, 4)} ({short(r.asymptote.low, 4)} to "
            f"{short(r.asymptote.high, 4)}), "
            f"half of the gain at {short(r.middle.value, 4)}, exponent {short(r.steepness.value)}"
            for r in self.recipes
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw what was measured, the curves with their intervals, and the asymptotes; returns the axes."""
        from matplotlib import colormaps
        from matplotlib.figure import Figure

        ax = Figure(figsize=(6.5, 4.3), layout="constrained").subplots() if ax is None else ax
        drawn = self.recipes[:MOST_DRAWN]
        a = (1 - self.level) / 2
        for k, recipe in enumerate(drawn):
            colour = colormaps["viridis"](0.05 + 0.8 * k / max(len(drawn) - 1, 1))
            measured = [(x, y) for name, x, y in self.runs if name == recipe.name]
            for x, y in measured:
                ax.plot(x[x > 0], y[x > 0], ".", color=colour, markersize=2.5, alpha=0.5)
            first = min(float(x[x > 0].min()) for x, _ in measured)
            end = max(recipe.last * 4, self.until or 0.0)
            C = np.geomspace(first, end, 120)
            low, middle, high = np.quantile(self.curves[recipe.name].at(C), [a, 0.5, 1 - a], axis=0)
            ax.plot(C, middle, color=colour, linewidth=1.4, label=recipe.name)
            ax.fill_between(C, low, high, color=colour, alpha=0.15, linewidth=0)
            ax.axhline(recipe.asymptote.value, color=colour, linewidth=0.8, linestyle=":")
        ax.set_xscale("log")
        ax.set_xlabel(self.compute)
        ax.set_ylabel(self.target)
        more = f" ({len(self.recipes) - len(drawn)} further not drawn)" if len(self.recipes) > len(drawn) else ""
        ax.set_title(f"bounded curves, {100 * self.level:g} % intervals; dotted: asymptotes{more}", fontsize=10)
        if len(drawn) > 1:
            ax.legend(frameon=False, fontsize=8)
        return ax
