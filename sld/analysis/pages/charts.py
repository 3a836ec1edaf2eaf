"""Charts as SVG that take their colours from the page, so they follow light, dark and print.

Not matplotlib's SVG: it styles every mark with a `style` attribute, which the pages' content security policy refuses,
draws letters as outlines that neither scale nor speak, and knows one theme. Series differ by marker as well as colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sld.analysis.pages.html import Html, el, join
from sld.analysis.sections import WIDE, magnitude, round_positions
from sld.data.table import Array

N_STYLES = 6  # colours and markers
INK = -1  # the style of rows that belong to no series
DASHES = ("d0", "d1", "d2", "d3", "d4")  # kinds of curves that have no markers of their own
MOST_DOTS = 1200  # per chart; more cannot be told apart

_WIDTH, _HEIGHT = 440, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 14, 10, 48
_PLOT_W, _PLOT_H = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_TOLERANCE = 0.12  # of a pixel: what a curve may be off


@dataclass(frozen=True)
class Axis:
    """One axis: its label, range, whether it is logarithmic, and its ticks where they are not to be chosen."""

    label: str
    low: float
    high: float
    logarithmic: bool = False
    given: tuple[float, ...] = ()

    def at(self, values: Array, length: float) -> Array:
        """Return positions in pixels from the low end; NaN where the axis has none."""
        with np.errstate(all="ignore"):
            if self.logarithmic:
                span = math.log(self.high / self.low)
                fraction = np.log(np.asarray(values, dtype=np.float64) / self.low) / span
            else:
                fraction = (np.asarray(values, dtype=np.float64) - self.low) / (self.high - self.low)
        # far outside is as good as just outside, and keeps the numbers short
        return np.clip(fraction, -3.0, 4.0) * length

    def ticks(self) -> list[float]:
        """Return a handful of round positions."""
        if self.given:
            return list(self.given)
        return _log_ticks(self.low, self.high) if self.logarithmic else _linear_ticks(self.low, self.high)


@dataclass(frozen=True)
class Dots:
    """Rows, as markers: filled, or hollow for rows that a law was not fitted to."""

    x: Array
    y: Array
    style: int
    hollow: bool = False


@dataclass(frozen=True)
class Curve:
    """A line: `kind` is solid, dashed, faint, guide, step or one of `DASHES`."""

    x: Array
    y: Array
    style: int = 0
    kind: str = "solid"


@dataclass(frozen=True)
class Spot:
    """One marker with a link, a name for readers and a short label beside it."""

    x: float
    y: float
    style: int
    href: str
    name: str
    label: str = ""
    hollow: bool = False


@dataclass(frozen=True)
class Shade:
    """A range of the horizontal axis."""

    low: float
    high: float


@dataclass(frozen=True)
class Band:
    """What lies between two lines."""

    x: Array
    low: Array
    high: Array
    style: int = 0


Mark = Dots | Curve | Spot | Shade | Band


@dataclass(frozen=True)
class Chart:
    """What one chart shows; `id` is unique within the page."""

    id: str
    title: str
    description: str
    x: Axis
    y: Axis
    marks: Sequence[Mark] = field(default_factory=tuple)


def span(values: Array, label: str, *, logarithmic: bool | None = None, share: float = 0.05) -> Axis:
    """Return an axis that holds all values with a margin; logarithmic where they are positive and wide."""
    low, high = float(values.min()), float(values.max())
    if logarithmic is None:
        logarithmic = low > 0 and high >= WIDE * low
    if low == high:
        room = abs(low) * 0.1 or 1.0
        low, high = (low / 1.1, high * 1.1) if logarithmic else (low - room, high + room)
    elif logarithmic:
        factor = (high / low) ** share
        low, high = low / factor, high * factor
    else:
        low, high = low - share * (high - low), high + share * (high - low)
    return Axis(label, low, high, logarithmic)


def draw(chart: Chart) -> Html:
    """Return the chart as an `<svg>` element."""
    links = any(isinstance(mark, Spot) for mark in chart.marks)
    inside = el(
        "svg",
        *(_mark(mark, chart) for mark in chart.marks),
        x=_LEFT, y=_TOP, width=_PLOT_W, height=_PLOT_H, overflow="hidden",
    )  # fmt: skip
    return el(
        "svg",
        el("title", chart.title, id=f"{chart.id}-t"),
        el("desc", chart.description, id=f"{chart.id}-d"),
        _grid(chart),
        inside,
        # links inside an image cannot be reached
        role="group" if links else "img",
        aria_labelledby=f"{chart.id}-t {chart.id}-d",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        class_="chart",
    )


def key(style: int, *, hollow: bool = False, line: str = "") -> Html:
    """Return the sample of a series for a legend."""
    stroke = el("path", d="M1 7H25", class_=f"l {line} s{style % N_STYLES}") if line else None
    marker = None if line in DASHES else el("path", d=_marker(style, 13.0, 7.0), class_=_class(style, hollow))
    return el("svg", stroke, marker, viewBox="0 0 26 14", class_="key", aria_hidden="true")


def few(n: int, most: int) -> NDArray[np.intp]:
    """Return at most `most` of the indices 0 .. n - 1, evenly spread."""
    return np.arange(n, dtype=np.intp) if n <= most else np.linspace(0, n - 1, most).astype(np.intp)


# --- marks ----------------------------------------------------------------------------------------------------------


def _mark(mark: Mark, chart: Chart) -> Html:
    if isinstance(mark, Band):
        return el("path", d=_between(mark, chart), class_=f"band s{mark.style % N_STYLES}")
    if isinstance(mark, Shade):
        low, high = np.clip(chart.x.at(np.array([mark.low, mark.high]), _PLOT_W), 0, _PLOT_W)
        return el("rect", x=_px(low), y=0, width=_px(high - low), height=_PLOT_H, class_="shade")
    if isinstance(mark, Spot):
        x, y = _positions(np.array([mark.x]), np.array([mark.y]), chart)
        right = float(x[0]) > _PLOT_W - 40
        text = el(
            "text", mark.label, x=_px(x[0] + (-8 if right else 8)), y=_px(max(y[0] - 6, 12)),
            class_="spot", text_anchor="end" if right else "start",
        )  # fmt: skip
        shape = el("path", d=_marker(mark.style, float(x[0]), float(y[0]), 5.0), class_=_class(mark.style, mark.hollow))
        label = text if mark.label else None
        return el("a", el("title", mark.name), shape, label, href=mark.href, aria_label=mark.name)
    x, y = _positions(mark.x, mark.y, chart)
    if isinstance(mark, Curve):
        return el("path", d=_line(x, y, mark.kind == "step"), class_=f"l {mark.kind} s{mark.style % N_STYLES}")
    there = np.isfinite(x) & np.isfinite(y)
    shapes = "".join(_marker(mark.style, float(a), float(b)) for a, b in zip(x[there], y[there], strict=True))
    return el("path", d=shapes, class_=_class(mark.style, mark.hollow)) if shapes else Html("")


def _positions(x: Array, y: Array, chart: Chart) -> tuple[Array, Array]:
    return chart.x.at(x, _PLOT_W), _PLOT_H - chart.y.at(y, _PLOT_H)


def _class(style: int, hollow: bool) -> str:
    return f"m {'ink' if style == INK else f's{style % N_STYLES}'}{' hollow' if hollow else ''}"


def _px(value: float) -> str:
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def _marker(style: int, x: float, y: float, r: float = 3.4) -> str:
    """Return one closed shape of about equal area for each style."""

    def shape(*points: tuple[float, float]) -> str:
        steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(points)]
        first = f"M{_px(x + points[0][0] * r)} {_px(y + points[0][1] * r)}"
        return first + "".join(f"l{_px(dx * r)} {_px(dy * r)}" for dx, dy in steps) + "z"

    kind = 0 if style == INK else style % N_STYLES
    if kind == 0:
        size = _px(r)
        return f"M{_px(x - r)} {_px(y)}a{size} {size} 0 1 0 {_px(2 * r)} 0a{size} {size} 0 1 0 {_px(-2 * r)} 0z"
    if kind == 1:
        return shape((-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88))
    if kind == 2:
        return shape((0, -1.2), (1.15, 0.85), (-1.15, 0.85))
    if kind == 3:
        return shape((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0))
    if kind == 4:
        return shape((0, 1.2), (1.15, -0.85), (-1.15, -0.85))
    arm, gap = 1.25, 0.42
    return shape(
        (-gap, -arm), (gap, -arm), (gap, -gap), (arm, -gap), (arm, gap), (gap, gap),
        (gap, arm), (-gap, arm), (-gap, gap), (-arm, gap), (-arm, -gap), (-gap, -gap),
    )  # fmt: skip


def _line(x: Array, y: Array, step: bool) -> str:
    """Return the path of a curve, with gaps where it has no value."""
    there = np.isfinite(x) & np.isfinite(y)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    parts = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        xs, ys = x[begin:end], y[begin:end]
        if step:
            text = "".join(f"H{_px(a)}V{_px(b)}" for a, b in zip(xs[1:], ys[1:], strict=True))
        else:
            kept = _simplified(xs, ys)
            xs, ys = xs[kept], ys[kept]
            text = "".join(f"L{_px(a)} {_px(b)}" for a, b in zip(xs[1:], ys[1:], strict=True))
        parts.append(f"M{_px(xs[0])} {_px(ys[0])}{text}")
    return "".join(parts)


def _between(band: Band, chart: Chart) -> str:
    """Return the closed path of a band, where it has both ends."""
    there = np.isfinite(band.low) & np.isfinite(band.high)
    x, low = _positions(band.x[there], band.low[there], chart)
    high = _positions(band.x[there], band.high[there], chart)[1]
    if len(x) < 2:
        return ""
    above, below = _simplified(x, high), _simplified(x, low)[::-1]
    points = [(x[k], high[k]) for k in above] + [(x[k], low[k]) for k in below]
    return "M" + "L".join(f"{_px(a)} {_px(b)}" for a, b in points) + "z"


def _simplified(x: Array, y: Array) -> list[int]:
    """Return the points that are enough to draw a curve to a fraction of a pixel (Douglas and Peucker)."""
    kept = {0, len(x) - 1}
    stack = [(0, len(x) - 1)]
    while stack:
        a, b = stack.pop()
        if b - a < 2:
            continue
        dx, dy = x[b] - x[a], y[b] - y[a]
        length = math.hypot(dx, dy) or 1.0
        away = np.abs(dx * (y[a + 1 : b] - y[a]) - dy * (x[a + 1 : b] - x[a])) / length
        farthest = int(away.argmax())
        if away[farthest] > _TOLERANCE:
            middle = a + 1 + farthest
            kept.add(middle)
            stack += [(a, middle), (middle, b)]
    return sorted(kept)


# --- axes -----------------------------------------------------------------------------------------------------------


def _grid(chart: Chart) -> Html:
    right, bottom = _LEFT + _PLOT_W, _TOP + _PLOT_H
    parts = []
    for value in chart.x.ticks():
        x = _LEFT + float(chart.x.at(np.array([value]), _PLOT_W)[0])
        parts.append(el("path", d=f"M{_px(x)} {_TOP}V{bottom}", class_="grid"))
        parts.append(el("text", _tick(value), x=_px(x), y=bottom + 17, text_anchor="middle"))
    for value in chart.y.ticks():
        y = bottom - float(chart.y.at(np.array([value]), _PLOT_H)[0])
        parts.append(el("path", d=f"M{_LEFT} {_px(y)}H{right}", class_="grid"))
        parts.append(el("text", _tick(value), x=_LEFT - 7, y=_px(y + 4.5), text_anchor="end"))
    parts.append(el("path", d=f"M{_LEFT} {_TOP}V{bottom}H{right}", class_="axis"))
    middle_x, middle_y = _LEFT + _PLOT_W / 2, _TOP + _PLOT_H / 2
    parts.append(el("text", _fitting(chart.x.label, 52), x=_px(middle_x), y=_HEIGHT - 8, text_anchor="middle"))
    turned = f"translate(12 {_px(middle_y)}) rotate(-90)"
    parts.append(el("text", _fitting(chart.y.label, 38), transform=turned, text_anchor="middle"))
    return el("g", join(*parts), class_="axes", aria_hidden="true")


def _fitting(label: str, most: int) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


def _tick(value: float) -> str:
    return magnitude(value).replace("-", "−")


def _linear_ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * s for s in (1.0, 2.0, 2.5, 5.0, 10.0) if size * s >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    found = round_positions(low, high)
    if len(found) < 3:
        found = [t for t in _linear_ticks(low, high) if t > 0]
    return found[:: max(1, round(len(found) / 6))]
