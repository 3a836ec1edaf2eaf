"""Which charts of a task the pages show beside those of its laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sld.analysis import sections
from sld.analysis.pages.charts import (
    DASHES,
    INK,
    MOST_DOTS,
    Axis,
    Chart,
    Curve,
    Dots,
    Shade,
    Spot,
    draw,
    few,
    key,
    span,
)
from sld.analysis.pages.figures import legend, rows_for
from sld.analysis.pages.formulas import r2
from sld.analysis.pages.html import Html, cut, el, said
from sld.analysis.sections import axis_label, near
from sld.core.numbers import short
from sld.data.table import Table
from sld.laws.law import Law

_MOST_INTERVALS = 20
_LEAST_R2 = -1e6  # worse is off every chart


@dataclass(frozen=True)
class Ranked:
    """One law in the charts of a task: place, score with its interval, complexity, and the page it leads to."""

    place: int
    name: str
    href: str
    r2: float
    interval: tuple[float, float] | None
    complexity: int | None


def together_figure(laws: Sequence[tuple[Ranked, Law]], train: Table, held_out: Table | None, stem: str) -> Html | None:
    """Return the best laws' curves through one slice of the rows, that of the best law with most held-out rows."""
    laws = laws[: len(DASHES)]
    if len(laws) < 2:
        return None
    best = laws[0][1]
    train, held_out = rows_for(best, train, held_out)
    section = sections.section(best, train, 0, held_out)
    line = max((one for one in section.lines if not one.faint), key=lambda one: one.held_out.shape[1])
    curves = [law.by_formula(line.points)[:, 0] for _, law in laws]
    finite = np.concatenate(curves)
    finite = finite[np.isfinite(finite)]
    rows = np.concatenate([line.measured[1], line.held_out[1]])
    if not len(finite) or not len(rows):
        return None
    y = span(np.concatenate([rows, near(finite, rows, 0.25)]), axis_label(section.target))
    wide = sections.is_logarithmic(section.variable, line.x)
    x = span(line.x, axis_label(section.variable), logarithmic=wide, share=0.02)
    marks: list[Shade | Curve | Dots] = [] if section.beyond is None else [Shade(*section.beyond)]
    marks += [Curve(line.x, curve, k, DASHES[k]) for k, curve in enumerate(curves)]
    for values, hollow in ((line.measured, False), (line.held_out, True)):
        chosen = few(values.shape[1], MOST_DOTS // 2)
        marks.append(Dots(values[0, chosen], values[1, chosen], INK, hollow))
    entries = [(key(k, line=DASHES[k]), f"{one.place}. {cut(one.name, 40)}") for k, (one, _) in enumerate(laws)]
    entries += [(key(INK, hollow=True), "held out")] if line.held_out.shape[1] else []
    where = f" at {section.told_apart_by} = {line.label}" if section.told_apart_by else ""
    target = f" of {section.target.column}" if len(best.targets) > 1 else ""
    moved = any("moved along the law" in note for note in section.notes)
    notes = f"The best laws{target} along {section.variable.column}{where}" + (
        "; measured values are moved along the first law to these values of the other variables." if moved else "."
    )
    chart = Chart(f"{stem}-together", f"The best laws along {section.variable.column}{where}", notes, x, y, marks)
    return el("figure", el("figcaption", el("b", "Curves. "), said(notes)), draw(chart), legend("", entries))


def intervals_figure(laws: Sequence[Ranked], stem: str) -> Html | None:
    """Return the best laws' R² with their intervals, so that equals are seen as such; None where none is known."""
    # a law that is worse than a constant by far would squeeze the others together
    shown = [law for law in laws[:_MOST_INTERVALS] if law.interval is not None and law.r2 >= -1]
    if len(shown) < 2:
        return None
    centres = np.array([law.r2 for law in shown])
    ends = np.array([law.interval for law in shown])  # (n_laws, 2)
    x = span(np.concatenate([centres, near(ends.ravel(), centres, 1.5)]), "R² on held-out rows", logarithmic=False)
    places = np.array([float(law.place) for law in shown])
    # the first place is on top
    ticks = tuple(places[:: max(1, len(places) // 10)].tolist())
    y = Axis("place", places.max() + 0.7, places.min() - 0.7, given=ticks)
    marks: list[Curve | Spot] = [
        Curve(np.asarray(law.interval), np.full(2, float(law.place)), 0, "solid") for law in shown
    ]
    for law in shown:
        assert law.interval is not None
        low, high = (r2(end) for end in law.interval)
        name = f"{law.place}. {cut(law.name, 80)}: R² {r2(law.r2)}, 90 % interval {low} to {high}"
        marks.append(Spot(law.r2, float(law.place), 0, law.href, name))
    description = f"R² of the {len(shown)} best laws, each with its interval. The table has the same numbers."
    chart = Chart(f"{stem}-intervals", "R² with its interval", description, x, y, marks)
    caption = "90 % intervals, from resampling the held-out rows: laws whose intervals overlap are hard to tell apart."
    caption += " Laws below −1 are left out." if any(law.r2 < -1 for law in laws[:_MOST_INTERVALS]) else ""
    return el("figure", el("figcaption", el("b", "Scores. "), caption), draw(chart))


def front_figure(laws: Sequence[Ranked], stem: str) -> Html | None:
    """Return error against complexity, with a line through the laws that no shorter one beats; None without laws."""
    known = [law for law in laws if law.complexity is not None and law.r2 > _LEAST_R2]
    if not known:
        return None
    # a perfect law has no place on a logarithmic axis
    errors = np.array([max(1.0 - law.r2, 1e-12) for law in known])
    sizes = np.array([float(law.complexity or 0) for law in known])
    order = np.lexsort((errors, sizes))
    best: list[int] = []
    for k in order.tolist():
        if not best or errors[k] < errors[best[-1]]:
            best.append(k)
    y = span(errors, "error on held-out rows, 1 − R²", share=0.1)
    x = span(sizes, "complexity (nodes of the formula)", logarithmic=False, share=0.07)
    # the line goes on to the right edge: longer laws have to beat it
    stairs = Curve(np.append(sizes[best], x.high), np.append(errors[best], errors[best[-1]]), 0, "step")
    behind = [k for k in order.tolist() if k not in best]
    spots = []
    for k in (*behind, *best):
        law, ahead = known[k], k in best
        name = f"{law.place}. {cut(law.name, 80)}: complexity {law.complexity}, error {short(errors[k])}"
        label = str(law.place) if ahead else ""
        spots.append(Spot(sizes[k], errors[k], 0 if ahead else 3, law.href, name, label, not ahead))
    words = "1 law" if len(known) == 1 else f"{len(known)} laws"
    description = f"{words}; a step line joins those that no shorter law beats. The table has the same numbers."
    chart = Chart(f"{stem}-front", "Error against complexity", description, x, y, [stairs, *spots])
    samples = legend("", [(key(0), "no shorter law is better")] + ([(key(3, hollow=True), "others")] if behind else []))
    caption = "Numbers are places in the table; each marker leads to its law."
    return el("figure", el("figcaption", el("b", "Error against complexity. "), caption), draw(chart), samples)
