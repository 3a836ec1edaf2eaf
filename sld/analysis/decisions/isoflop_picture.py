"""The picture of an isoFLOP sweep: the runs of each budget, their parabolas, the law, and the optima of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.decisions import style
from sld.analysis.decisions.readings import Reading
from sld.analysis.decisions.spans import closed, span
from sld.core.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 120  # of a curve
_BEYOND = 0.12  # of the sizes' range, on the log axis: how far curves run past the runs
_ABOVE = 0.35  # of the range of the losses shown: where a curve that rises farther is cut off
_MOST_NAMED = 8  # budgets in the legend; of more, some


def draw(found: Reading, ax: Axes | None = None) -> Axes:
    """Draw a sweep on axes, or in a figure of its own."""
    ax = style.axes(ax)
    with style.style():
        _draw(found, ax)
    return ax


def draw_all(parts: Sequence[Reading]) -> Axes:
    """Draw sweeps side by side, three in a row; return the first of the axes."""
    if len(parts) == 1:
        return draw(parts[0])
    import matplotlib.pyplot as plt

    n_columns = min(3, len(parts))
    n_rows = -(-len(parts) // n_columns)
    with style.style():
        size = (style.SIZE[0] * n_columns * 0.8, style.SIZE[1] * n_rows * 0.9)
        figure, panels = plt.subplots(n_rows, n_columns, squeeze=False, figsize=size, layout="constrained")
        for ax, part in zip(panels.ravel(), parts, strict=False):
            _draw(part, ax)
        for ax in panels.ravel()[len(parts) :]:
            ax.set_axis_off()
    assert figure is not None
    first: Axes = panels[0, 0]
    return first


def _draw(found: Reading, ax: Axes) -> None:
    sweep = found.sweep
    used = sweep.budget >= 0
    losses = sweep.loss[used]
    top = float(losses.max() + _ABOVE * np.ptp(losses))
    colours = style.colours(len(sweep.budgets))
    every = -(-len(sweep.budgets) // _MOST_NAMED)
    for k, p in enumerate(found.parabolas):
        named = k % every == 0 or k == len(found.parabolas) - 1
        label = f"C = {short(float(f'{p.budget:.3g}'))}" if named else None
        marker = style.MARKERS[k % len(style.MARKERS)]
        ax.plot(p.N, p.loss, marker, color=colours[k], ms=4.5, label=label, zorder=3)
        low, high = np.log(p.N.min()), np.log(p.N.max())
        N = np.exp(np.linspace(low - _BEYOND * (high - low), high + _BEYOND * (high - low), _POINTS))
        if np.isfinite(p.coefficients).all():
            _curve(ax, N, p.curve(N), top, color=colours[k], lw=1.3, zorder=2)
        slope, start = np.polyfit(np.log(p.N), np.log(p.D), 1)
        columns = {sweep.size.symbol: N, sweep.data.symbol: np.exp(start + slope * np.log(N))}
        _curve(ax, N, found.curve.values(columns), top, color=colours[k], lw=1.0, ls=":", zorder=2)
        if p.ok:
            ax.plot(p.best_N.value, p.best_loss, "P", color=style.ACCENT, ms=7, mec="white", mew=0.6, zorder=5)
            if closed(p.best_N):
                ends = np.array([p.best_N.low, p.best_N.high], dtype=np.float64)
                ax.plot(ends, [p.best_loss] * 2, color=style.ACCENT, lw=1.6, zorder=4)
    law = found.law.measured
    if law:
        ax.plot([o.N.value for o in law], [o.loss.value for o in law], "--", color=style.INK, lw=1.1, marker="D", ms=4,
                mfc="white", zorder=5)  # fmt: skip
    _legend(found, ax)
    ax.set_xscale("log")
    ax.set_xlabel(sweep.size.column)
    ax.set_ylabel(found.curve.target.column)
    ax.set_ylim(float(losses.min() - 0.12 * np.ptp(losses)), top)
    believed = found.believed
    title = f"{found.group}: " if found.group else ""
    if believed is not None and believed.ok:
        name, symbol = sweep.size.column, believed.name
        title += f"best {name} grows as C^{short(believed.a.value)}"
        title += f" {span(believed.a)} by the {'parabolas' if symbol == 'parabolas' else symbol}"
    ax.set_title(title.strip() or None)  # type: ignore[arg-type]


def _curve(ax: Axes, x: Any, y: Any, top: float, **how: Any) -> None:
    shown = np.isfinite(y) & (y <= top)
    ax.plot(x, np.where(shown, y, np.nan), **how)


def _legend(found: Reading, ax: Axes) -> None:
    ax.plot([], [], color=style.FAINT, lw=1.3, label="parabola")
    ax.plot([], [], color=style.FAINT, lw=1.0, ls=":", label="law")
    if any(p.ok for p in found.parabolas):
        ax.plot([], [], "P", color=style.ACCENT, ms=7, mec="white", label="minimum of parabola")
    if found.law.measured:
        ax.plot([], [], "--D", color=style.INK, mfc="white", ms=4, lw=1.1, label="optimum of law")
    ax.legend(loc="upper right", fontsize=7.5, ncols=2 if len(found.parabolas) > 3 else 1)
