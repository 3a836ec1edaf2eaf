"""The picture of a comparison: each law with its band, where they cross, and the rows that reach there."""

from __future__ import annotations

import math
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from sld.analysis.decisions import style
from sld.analysis.decisions.comparison_words import lead
from sld.analysis.decisions.findings import Findings
from sld.analysis.decisions.spans import closed, span
from sld.core.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLE = 76  # letters in a line of the title: what a picture of the usual width has room for
_WIDE = 1.8  # ratio of the largest to the smallest value from which the axis of the target is logarithmic


def draw(found: Findings, ax: Axes | None = None) -> Axes:
    """Draw a comparison on axes, or in a figure of its own."""
    ax = style.axes(ax)
    with style.style():
        _draw(found, ax)
    return ax


def _draw(found: Findings, ax: Axes) -> None:
    low, high = found.shown
    tail = (1 - found.level) / 2
    colours = style.colours(len(found.tracks))
    lowest, highest = math.inf, -math.inf
    for k, track in enumerate(found.tracks):
        shown = (track.x >= low * 0.999) & (track.x <= high * 1.001)
        x, y = track.x[shown], track.y[shown]
        if len(track.drawn):
            drawn = track.drawn[:, shown]
            known = np.isfinite(drawn).mean(axis=0) > 0.5
            ends = np.full((2, len(x)), np.nan)
            if known.any():
                ends[:, known] = np.nanquantile(drawn[:, known], [tail, 1 - tail], axis=0)
            style.band(ax, x, ends[0], ends[1], colours[k])
        inside = track.inside[shown]
        line = style.LINES[k % len(style.LINES)]
        ax.plot(x, y, ls=line, color=colours[k], lw=1.8, label=track.curve.name)
        # where its own rows reach the line is strong
        ax.plot(x, np.where(inside, y, np.nan), ls="-", color=colours[k], lw=4.5, alpha=0.35, solid_capstyle="round")
        lowest = min(lowest, float(np.nanmin(y)))
        highest = max(highest, float(np.nanmax(y)))
    margin = 0.06 * (highest - lowest)
    logarithmic = lowest > 0 and highest > _WIDE * lowest
    ax.set_ylim(*((lowest / 1.05, highest * 1.05) if logarithmic else (lowest - margin, highest + margin)))
    _crossings(found, ax)
    ax.set_xscale("log")
    if logarithmic:
        ax.set_yscale("log")
        from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(low, high)
    ax.set_xlabel("compute C" if found.way.scale == "C" else found.way.scale)
    ax.set_ylabel(found.target)
    if any(len(t.drawn) for t in found.tracks):
        ax.fill_between(
            [], [], [], color=style.FAINT, alpha=style.BAND, lw=0, label=f"{100 * found.level:g} % interval"
        )
    if any(t.inside.any() for t in found.tracks):
        ax.plot([], [], color=style.FAINT, lw=4.5, alpha=0.35, label="where its rows reach")
    ax.legend(loc="best")
    how = {"optimum": "each at its own optimum", "settings": f"all at {found.way.setting}"}.get(found.way.mode, "")
    if len(found.tracks) == 2 and found.only.apart:
        ahead = lead(found.only, found.way.scale)
        # what a reader takes away; names may be long
        how = "\n".join(filter(None, [how, *wrap(ahead, _TITLE)]))
    ax.set_title(how or None)  # type: ignore[arg-type]


def _crossings(found: Findings, ax: Axes) -> None:
    """Mark where two laws cross, or, of several, where the best one changes."""
    low, high = found.shown
    places = found.only.crossings if len(found.tracks) == 2 else found.switches
    for place in places:
        at = place.at.value
        if not low <= at <= high:
            continue
        track = next(t for t in found.tracks if t.curve.name == place.after)
        known = np.isfinite(track.y)
        y = float(np.interp(math.log(at), np.log(track.x[known]), track.y[known]))
        ax.plot(at, y, "o", color=style.ACCENT, ms=6, zorder=6, mec="white", mew=0.7)
        text = short(at, 2)
        if closed(place.at):
            ends = np.clip(np.array([place.at.low, place.at.high], dtype=np.float64), low, high)
            ax.plot(ends, [y, y], color=style.ACCENT, lw=1.6, zorder=5)
        if span(place.at):
            text += f"\n{span(place.at, 2)}"
        ax.annotate(text, (at, y), xytext=(6, 8), textcoords="offset points", fontsize=8, color=style.ACCENT, zorder=7)
