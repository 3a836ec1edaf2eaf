"""The picture of what runs say against a law: mean residuals by level, and how far left-out rungs are missed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sld.analysis.decisions.style import ACCENT, FAINT, INK, axes, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sld.analysis.diagnostics_parts import LeftOut, Level


def draw(
    levels: Sequence[Level], left_out: Sequence[LeftOut], ax: Axes | None = None, variable: str | None = None
) -> Axes:
    """Draw the levels of one variable, the first if not named; on `ax`, or in a figure of its own."""
    named = variable or levels[0].variable
    own = [level for level in levels if level.variable == named]
    rungs = [r for r in left_out if r.variable == named and math.isfinite(r.error)]
    with style():
        ax = axes(ax)
        x, mean, band = (np.array(v) for v in zip(*((v.value, v.mean, v.band) for v in own), strict=True))
        ax.axhline(0.0, color=FAINT, lw=0.8)
        ax.fill_between(x, -band, band, color="0.87", label="mean residuals lie here by chance")
        ax.plot(x, mean, "o", color=INK, ms=5.5, label="mean residual of the law")
        if rungs:
            at = [math.sqrt(r.low * r.high) if r.low > 0 else (r.low + r.high) / 2 for r in rungs]
            ax.plot(at, [r.error for r in rungs], "s", mfc="none", color=ACCENT, ms=7, label="the same, rung left out")
        if (x > 0).all() and x.max() > 10 * x.min():
            ax.set_xscale("log")
        ax.set_xlabel(named)
        ax.set_ylabel("standard deviations of residuals")
        ax.legend(loc="best")
    return ax


def figure(title: str, levels: Sequence[Level], left_out: Sequence[LeftOut]) -> Figure:
    """Return a figure with a panel for each variable."""
    names = list(dict.fromkeys(level.variable for level in levels))
    with style():
        drawn, panels = new_figure(1, len(names))
        for ax, name in zip(panels[0], names, strict=True):
            draw(levels, left_out, ax, name)
        for ax in panels[0][1:]:
            ax.get_legend().remove()
            ax.set_ylabel("")
        panels[0][0].set_title(title)
    assert drawn is not None
    result: Figure = drawn
    return result
