"""The picture of an allocation: best runs on contours of equal loss and lines of equal cost, or the loss along budgets.

Size runs to the right and tokens upwards, both as logarithms. Thin grey lines are equal loss, dashed ones equal cost;
the best runs lie on the line through them, and the band holds the best runs of the law's draws. What else the law
depends on has the values of the middle run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.decisions import style
from sld.analysis.decisions.allocation import Allocator, Found, NoOptimum
from sld.analysis.decisions.estimate import LEVEL
from sld.analysis.decisions.minima import Curves
from sld.analysis.decisions.minimise import crossing
from sld.core.arrays import Array
from sld.core.errors import UsageError, suggest
from sld.core.numbers import short
from sld.data.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PATH = 15  # budgets along the line of best runs
_CONTOURS = 9
_GRID = 120  # points of the contours along an axis
_BEYOND = 4.0  # factor by which the picture goes past what it shows
_MOST_LINES = 6  # of equal cost
_MOST_PANELS = 6  # more cannot be read on a page


@dataclass(frozen=True)
class Spot:
    """A run that is marked: what it costs, where it is, and what the law says of it."""

    budget: float
    point: Mapping[str, float]
    value: float


@dataclass(frozen=True)
class Panel:
    """What one picture shows: the runs of a group, best first along its budgets."""

    group: str
    allocator: Allocator
    spots: Sequence[Spot]


def draw(panel: Panel, ax: Axes | None, runs: Table | None) -> Axes:
    """Draw on axes, new ones if not given; return them."""
    with style.style():
        ax = style.axes(ax)
        _draw(panel, ax, runs)
    return ax


def save(panels: Sequence[Panel], path: str | Path, runs: Table | None) -> None:
    """Write the picture as PNG, SVG or PDF, a panel for each group up to six; raises UsageError."""
    style.format_of(path)
    panels = panels[:_MOST_PANELS]
    with style.style():
        columns = min(len(panels), 2)
        figure, places = style.new_figure(-(-len(panels) // columns), columns)
        for ax in places.ravel()[len(panels) :]:
            ax.set_visible(False)
        for ax, panel in zip(places.ravel(), panels, strict=False):
            _draw(panel, ax, runs)
            if len(panels) > 1:
                ax.set_title(panel.group)
        style.save(figure, path)


def _draw(panel: Panel, ax: Axes, runs: Table | None) -> None:
    allocator, spots = panel.allocator, panel.spots
    two = [s for s in (v.symbol for v in allocator.variables) if s in allocator.cost.uses and allocator.axes[s].log]
    if len(two) >= 2 and all(s in spots[0].point for s in two[:2]):
        _contours(allocator, spots, ax, (two[0], two[1]), runs)
    else:
        _along(allocator, spots, ax)


def _budgets(spots: Sequence[Spot]) -> Array:
    middle = np.array([s.budget for s in spots])
    low, high = middle.min() / _BEYOND**2, middle.max() * _BEYOND**2
    return np.geomspace(low, high, _PATH)


def _path(allocator: Allocator, budgets: Array) -> list[tuple[Found, Curves | None]]:
    found = []
    for budget in budgets:
        try:
            run = allocator.solve(float(budget))
        except NoOptimum:
            continue
        found.append((run, allocator.drawn(run)))
    return found


def _contours(
    allocator: Allocator, spots: Sequence[Spot], ax: Axes, names: tuple[str, str], runs: Table | None
) -> None:
    x, y = names
    path = _path(allocator, _budgets(spots))
    points = {s: np.array([f.best.point[s] for f, _ in path]) for s in names}
    shown = {s: [points[s].min(), points[s].max()] for s in names}
    if runs is not None:
        for s in names:
            column = _column(runs, s, allocator)
            shown[s] = [min(shown[s][0], column.min()), max(shown[s][1], column.max())]
    ends = {s: (low / _BEYOND, high * _BEYOND) for s, (low, high) in shown.items()}
    middle = spots[len(spots) // 2]
    gx, gy = (np.geomspace(*ends[s], _GRID) for s in names)
    columns = {s: np.full(_GRID * _GRID, v) for s, v in middle.point.items()}
    X, Y = np.meshgrid(gx, gy)
    columns |= {x: X.ravel(), y: Y.ravel()}
    Z = (allocator.surface.sign * allocator.surface.value(columns)).reshape(X.shape)
    if np.isfinite(Z).any():
        _lines_of_loss(ax, X, Y, Z, path, allocator)
    _lines_of_cost(ax, allocator, spots, names, ends)
    if runs is not None:
        ax.plot(_column(runs, x, allocator), _column(runs, y, allocator), "o", ms=3, mfc="none", mec="0.35", mew=0.7,
                label="runs", zorder=3)  # fmt: skip
    _band(ax, path, names)
    ax.plot(points[x], points[y], color=style.ACCENT, lw=2, label="best runs", zorder=4)
    for k, spot in enumerate(spots):
        at = (spot.point[x], spot.point[y])
        ax.plot([at[0]], [at[1]], style.MARKERS[k % len(style.MARKERS)], ms=7, zorder=5, color=style.ACCENT,
                mec="white", mew=0.8)  # fmt: skip
        if len(spots) <= _MOST_LINES:
            ax.annotate(f"{x} = {short(at[0], 2)}, {y} = {short(at[1], 2)}", at, xytext=(9, -4), fontsize=8.5, va="top",
                        textcoords="offset points", zorder=6,
                        bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1})  # fmt: skip
    ax.set(
        xscale="log", yscale="log", xlim=ends[x], ylim=ends[y], xlabel=_label(allocator, x), ylabel=_label(allocator, y)
    )
    ax.legend(loc="upper left", facecolor="white", framealpha=0.85, frameon=True, edgecolor="none")


def _lines_of_loss(
    ax: Axes, X: Array, Y: Array, Z: Array, path: list[tuple[Found, Curves | None]], allocator: Allocator
) -> None:
    values = np.sort([allocator.surface.sign * f.best.value for f, _ in path])
    # lines through evenly spaced best runs, and a few of runs that are worse than all of them
    known = Z[np.isfinite(Z)]
    far = np.quantile(known, [0.7, 0.85, 0.95] if allocator.surface.sign > 0 else [0.3, 0.15, 0.05])
    levels = np.unique(
        np.concatenate([np.interp(np.linspace(0, 1, _CONTOURS), np.linspace(0, 1, len(values)), values), far])
    )
    lines: Any = ax.contour(X, Y, Z, levels=levels, colors="0.62", linewidths=0.8)
    # as many digits as tell the lines apart
    gap = float(np.diff(levels).min()) if len(levels) > 1 else 1.0
    digits = int(np.clip(1 - np.floor(np.log10(max(gap, 1e-6))), 1, 4))
    ax.clabel(lines, fontsize=7.5, fmt=f"%.{digits}f", colors="0.4")
    ax.plot([], [], color="0.62", lw=0.8, label=f"equal {allocator.surface.name}")


def _lines_of_cost(
    ax: Axes, allocator: Allocator, spots: Sequence[Spot], names: tuple[str, str], ends: dict[str, tuple[float, float]]
) -> None:
    x, y = names
    gx = np.geomspace(*ends[x], 200)
    axis = allocator.axes[y]
    for k, spot in enumerate(spots[:: max(1, len(spots) // _MOST_LINES)]):
        held = {s: v for s, v in spot.point.items() if s not in names}
        budget = spot.budget

        def excess(z: Array, held: dict[str, float] = held, budget: float = budget) -> Array:
            columns = {s: np.full(len(z), v) for s, v in held.items()} | {x: gx, y: axis.quantity(z)}
            with np.errstate(all="ignore"):
                return np.asarray(np.log(allocator.cost(columns) / budget))

        low, high = (np.full(len(gx), float(axis.coordinate(e))) for e in (ends[y][0] / 1e9, ends[y][1] * 1e9))
        gy = axis.quantity(crossing(excess, low, high))
        ax.plot(gx, gy, ls="--", lw=1.0, color="0.25", label="equal cost" if k == 0 else None, zorder=2)
        inside = np.flatnonzero((gy > ends[y][0]) & (gy < ends[y][1]) & (gx > ends[x][0] * 1.15))
        if len(inside):
            at = inside[-1 - len(inside) // 12]  # at the lower end, where no legend is
            ax.annotate(short(budget), (gx[at], gy[at]), fontsize=8, color="0.25", xytext=(2, 3),
                        textcoords="offset points")  # fmt: skip


def _band(ax: Axes, path: list[tuple[Found, Curves | None]], names: tuple[str, str]) -> None:
    """Fill between the best runs of the draws: on each line of equal cost from the smallest size to the largest."""
    low, high = [], []
    for _, curves in path:
        if curves is None or not curves.tell:
            return
        inside = np.flatnonzero(curves.inside)
        order = inside[np.argsort(curves.point[names[0]][inside])]
        ends = [order[int(q * (len(order) - 1))] for q in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)]
        low.append([curves.point[s][ends[0]] for s in names])
        high.append([curves.point[s][ends[1]] for s in names])
    outline = np.array([*low, *high[::-1]])
    ax.fill(outline[:, 0], outline[:, 1], color=style.ACCENT, alpha=style.BAND, lw=0, zorder=3,
            label=f"{100 * LEVEL:g} % of the draws")  # fmt: skip


def _along(allocator: Allocator, spots: Sequence[Spot], ax: Axes) -> None:
    """Draw the target of the best runs along budgets, for laws without two variables to spend on."""
    path = _path(allocator, _budgets(spots))
    sign = allocator.surface.sign
    budgets = np.array([f.budget for f, _ in path])
    if all(c is not None and c.tell for _, c in path):
        ends = np.array([np.nanquantile(sign * c.value, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]) for _, c in path if c])
        style.band(ax, budgets, ends[:, 0], ends[:, 1], style.ACCENT, f"{100 * LEVEL:g} % of the draws")
    ax.plot(budgets, [sign * f.best.value for f, _ in path], color=style.ACCENT, lw=2, label="best runs")
    ax.plot([s.budget for s in spots], [s.value for s in spots], "o", color=style.ACCENT, mec="white", ms=7)
    ax.set(xscale="log", xlabel=f"cost ({allocator.cost.unit})", ylabel=allocator.surface.name)
    ax.legend()


def _label(allocator: Allocator, symbol: str) -> str:
    variable = next(v for v in allocator.variables if v.symbol == symbol)
    meaning = variable.meaning.partition(" (")[0]
    return f"{variable.column} ({meaning})" if meaning and meaning != variable.column else variable.column


def _column(runs: Table, symbol: str, allocator: Allocator) -> Array:
    variable = next(v for v in allocator.variables if v.symbol == symbol)
    known = {v.column for v in runs.variables}
    if variable.column not in known:
        raise UsageError("the runs to show: " + suggest(variable.column, known, kind="column"))
    return runs.column(variable.column)
