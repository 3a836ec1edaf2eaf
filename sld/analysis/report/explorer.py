"""Charts of the page that can be explored: drawn here once, whole without a script, and by the script from their data.

A chart is an `<svg>` in a holder that names its data. The script reads the data and draws the chart anew on other
scales, and says in words what lies under the pointer or the keyboard's cursor. Nothing is told only by it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sld.analysis import sections
from sld.analysis.pages.charts import MOST_DOTS, Axis, Band, Chart, Curve, Dots, Shade, draw, few, key, span
from sld.analysis.pages.figures import legend
from sld.analysis.pages.html import Html, el, said, visible
from sld.analysis.sections import Line, Section, axis_label, magnitude, near, range_of
from sld.core.numbers import short
from sld.data.axes import levels, position
from sld.data.table import Array, Table
from sld.laws.law import Law

_MOST_CURVES = 6  # with intervals; more cannot be told apart


@dataclass(frozen=True)
class Explorable:
    """A chart as elements, and the data that the script draws it from."""

    figure: Html
    data: dict[str, Any]


def data_block(charts: Sequence[Explorable]) -> Html:
    """Return the data of all charts as an element that no browser runs."""
    text = json.dumps([chart.data for chart in charts], ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # text of others must not end the element
    return el("script", Html(text.replace("<", "\\u003c")), type="application/json", id="charts")


def curves_chart(law: Law, table: Table, j: int, held_out: Table | None, ident: str) -> Explorable | None:
    """Return a law's curves past the data with its rows and intervals; None where no curve has a finite value."""
    section = sections.section(law, table, j, held_out)
    lines = [line for line in section.lines if not line.faint][:_MOST_CURVES]
    finite = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])
    if not len(finite):
        return None
    rows = np.concatenate([np.concatenate([line.measured[1], line.held_out[1]]) for line in lines])
    x_all = np.concatenate([line.x for line in section.lines])
    x = span(
        x_all, axis_label(section.variable), logarithmic=sections.is_logarithmic(section.variable, x_all), share=0.02
    )
    y = span(np.concatenate([rows, near(finite, rows, 0.25)]) if len(rows) else finite, axis_label(section.target))
    bands = [_band(law, section, line) for line in lines]
    marks: list[Shade | Band | Curve | Dots] = [] if section.beyond is None else [Shade(*section.beyond)]
    series, entries = [], []
    share = MOST_DOTS / max(len(rows), MOST_DOTS)
    for k, (line, band) in enumerate(zip(lines, bands, strict=True)):
        if band is not None:
            marks.append(Band(line.x, *band, k))
    for k, (line, band) in enumerate(zip(lines, bands, strict=True)):
        inside = _inside(line)
        marks.append(Curve(line.x, line.y, k, "dashed"))
        marks.append(Curve(line.x, np.where(inside, line.y, np.nan), k, "solid"))
        dots = []
        for values, hollow in ((line.measured, False), (line.held_out, True)):
            n = values.shape[1]
            if n:
                chosen = few(n, max(1, int(n * share)))
                marks.append(Dots(values[0, chosen], values[1, chosen], k, hollow))
                dots += [[_number(a), _number(b), int(hollow)] for a, b in values[:, chosen].T.tolist()]
        entries.append((key(k, line="solid"), line.label or "the law"))
        known = None if line.known is None else [_number(end) for end in line.known]
        series.append(
            {
                "name": visible(line.label or "the law"),
                "x": _numbers(line.x),
                "y": _numbers(line.y),
                "low": None if band is None else _numbers(band[0]),
                "high": None if band is None else _numbers(band[1]),
                "known": known,
                "dots": dots,
            }
        )
    marks.sort(key=lambda mark: isinstance(mark, Dots))
    if any(line.held_out.shape[1] for line in lines):
        entries.append((key(0, hollow=True), "hollow: held out"))
    caption = _caption(section, law.intervals is not None)
    title = f"{section.target.column} along {section.variable.column}"
    chart = Chart(ident, title, caption, x, y, marks)
    data = _data(chart, "curves", section.told_apart_by, series)
    data["beyond"] = None if section.beyond is None else [_number(end) for end in section.beyond]
    return Explorable(_figure(chart, caption, section.told_apart_by, entries), data)


def residuals_chart(law: Law, table: Table, j: int, held_out: Table | None, ident: str) -> Explorable | None:
    """Return what the law leaves of each row, as a share of what it predicts; None where nothing is finite."""
    both = sections.joined(table, held_out)
    predicted, measured = law.by_formula(both)[:, j], both.Y[:, j]
    relative = bool((predicted[np.isfinite(predicted)] > 0).all() and (measured > 0).all())
    with np.errstate(all="ignore"):
        left = 100 * (measured / predicted - 1) if relative else measured - predicted
    finite = np.isfinite(left)
    if not finite.any():
        return None
    main = sections.main_variable(law, table, held_out)
    along = both.column(main.symbol)
    level = levels(*position(both, main), sections.MAX_LINES)
    hollow = np.arange(both.n_rows) >= table.n_rows
    target = law.targets[j]
    x = span(along, axis_label(main), logarithmic=sections.is_logarithmic(main, along))
    label = "residual (%)" if relative else f"residual of {target.column}"
    y = span(np.concatenate([left[finite], [0.0]]), label, logarithmic=False)
    marks: list[Curve | Dots] = [Curve(np.array([x.low, x.high]), np.zeros(2), 0, "guide")]
    series, entries = [], []
    share = MOST_DOTS / max(both.n_rows, MOST_DOTS)
    for k in range(int(level.max()) + 1):
        dots = []
        for is_hollow in (False, True):
            rows = np.flatnonzero((level == k) & finite & (hollow == is_hollow))
            if len(rows):
                rows = rows[few(len(rows), max(1, int(len(rows) * share)))]
                marks.append(Dots(along[rows], left[rows], k, is_hollow))
                dots += [
                    [
                        _number(along[i]),
                        _number(left[i]),
                        int(is_hollow),
                        _told(law, both, i, measured[i], predicted[i]),
                    ]
                    for i in rows.tolist()
                ]
        name = range_of(along[level == k])
        entries.append((key(k), name))
        series.append({"name": name, "dots": dots})
    if hollow.any():
        entries.append((key(0, hollow=True), "hollow: held out"))
    spread = float(np.sqrt(np.mean(left[finite & ~hollow] ** 2))) if (finite & ~hollow).any() else math.nan
    unit = " %" if relative else ""
    caption = (
        "What the law leaves of each run; rows that it was fitted to lie "
        f"{short(spread, 2)}{unit} off it (root mean square)"
    )
    chart = Chart(ident, f"Residuals of {target.column}", caption, x, y, marks)
    return Explorable(_figure(chart, caption + ".", main.column, entries), _data(chart, "dots", main.column, series))


def _told(law: Law, table: Table, row: int, measured: float, predicted: float) -> str:
    """Return a row in words."""
    parts = [f"{v.column} {magnitude(float(table.column(v.column)[row]))}" for v in law.variables]
    if law.grouped:
        parts.insert(0, table.groups[table.group_index[row]])
    return visible(f"{', '.join(parts)}: measured {short(measured, 5)}, predicted {short(predicted, 5)}")


def _inside(line: Line) -> NDArray[np.bool_]:
    if line.known is None:
        return np.zeros(len(line.x), dtype=np.bool_)
    return (line.x >= line.known[0] * (1 - 1e-9)) & (line.x <= line.known[1] * (1 + 1e-9))


def _band(law: Law, section: Section, line: Line) -> tuple[Array, Array] | None:
    if law.intervals is None:
        return None
    from sld.analysis.intervals import predict_intervals

    j = [t.column for t in law.targets].index(section.target.column)
    lower, upper = predict_intervals(law.bare, line.points)
    return lower[:, j], upper[:, j]


def _caption(section: Section, intervals: bool) -> str:
    held_out = any(line.held_out.shape[1] for line in section.lines if not line.faint)
    notes = ["Lines are the law, solid where it has runs and dashed beyond"]
    notes += ["bands are where a new run is expected"] if intervals else []
    if section.beyond is not None:
        what = "held-out region" if held_out else "beyond the data"
        notes.append(f"shaded: {what}, {magnitude(section.beyond[0])} to {magnitude(section.beyond[1])}")
    return "; ".join([*notes, *section.notes])


def _figure(chart: Chart, caption: str, heading: str, entries: list[tuple[Html, str]]) -> Html:
    return el(
        "figure",
        el("figcaption", said(caption, 600)),
        el("div", draw(chart), class_="plot", data_chart=chart.id),
        legend(heading, entries),
        class_="explorer",
    )


def _data(chart: Chart, kind: str, by: str, series: list[dict[str, Any]]) -> dict[str, Any]:
    def axis(one: Axis) -> dict[str, Any]:
        return {"label": visible(one.label), "low": one.low, "high": one.high, "log": one.logarithmic}

    return {
        "id": chart.id, "kind": kind, "title": visible(chart.title), "by": visible(by),
        "x": axis(chart.x), "y": axis(chart.y), "series": series,
    }  # fmt: skip


def _number(value: float) -> float | None:
    # six digits are more than a screen shows, and half the bytes
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _numbers(values: Array) -> list[float | None]:
    return [_number(value) for value in values.tolist()]
