"""The tornado: what moves an answer, the largest on top, beside the law's own interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sld.analysis.decisions import style
from sld.analysis.decisions.answers import FACTORS, Effects
from sld.analysis.decisions.spans import closed
from sld.core.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE = 3.0  # ratio of the highest to the lowest value from which the axis is logarithmic
_HAIR = 2e-3  # of the width of the picture: a shorter bar has no label
_LONGEST = 34  # letters of a label at the end of a bar


def draw(found: Effects, ax: Axes | None = None, answer: str | None = None) -> Axes:
    """Draw a tornado on axes, or in a figure of its own."""
    own = ax is None
    ax = style.axes(ax)
    with style.style():
        _draw(found, ax, found.answer if answer is None else answer, own)
    return ax


def _draw(found: Effects, ax: Axes, name: str, own: bool) -> None:
    base, effects = found.base[name], found.effects(name)
    value = base.value
    lows, highs = [e.low[0] for e in effects], [e.high[0] for e in effects]
    ends = [value, *lows, *highs]
    if closed(base):
        low, high = np.array([base.low, base.high], dtype=np.float64)
        ax.axvspan(low, high, color=style.FAINT, alpha=style.BAND, lw=0, label=f"{100 * found.level:g} % interval")
        ends += [float(low), float(high)]
    logarithmic = min(ends) > 0 and max(ends) > _WIDE * min(ends)
    if logarithmic:
        ax.set_xscale("log")
    below, above = style.colours(3)[0], style.colours(3)[2]
    for k, e in enumerate(effects):
        ax.barh(k, e.low[0] - value, left=value, height=0.55, color=below, zorder=3)
        ax.barh(
            k, e.high[0] - value, left=value, height=0.55, color=above, hatch="///", edgecolor="white", lw=0, zorder=3
        )
        for (end, who), side in ((e.low, "right"), (e.high, "left")):
            if abs(end - value) > _HAIR * (max(ends) - min(ends)):
                text = who if len(who) <= _LONGEST else who[: _LONGEST - 1] + "…"
                away = -4 if side == "right" else 4
                ax.annotate(text, (end, k), xytext=(away, 0), textcoords="offset points", ha=side, va="center",
                            fontsize=7.5, color=style.INK, zorder=5)  # fmt: skip
    ax.axvline(value, color=style.ACCENT, lw=1.4, zorder=4, label=f"as fitted: {short(value)}")
    ax.set_yticks(range(len(effects)), [FACTORS[e.factor] for e in effects])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    _room(ax, min(ends), max(ends), logarithmic)
    ax.set_xlabel(name)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    if own:
        figure = ax.get_figure()
        assert figure is not None
        figure.set_size_inches(style.SIZE[0] * 1.25, 1.2 + 0.42 * max(len(effects), 3))  # type: ignore[union-attr]


def _room(ax: Axes, low: float, high: float, logarithmic: bool) -> None:
    """Leave room for the labels beside the bars."""
    if logarithmic:
        span = np.log(high / low)
        ax.set_xlim(low * np.exp(-0.45 * span), high * np.exp(0.45 * span))
    else:
        span = max(high - low, 1e-12 * abs(high))
        ax.set_xlim(low - 0.45 * span, high + 0.45 * span)
