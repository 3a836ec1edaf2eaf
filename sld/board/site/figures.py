"""Which charts of a law and of a task the pages show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sld.analysis import sections
from sld.analysis.sections import Section, axis_label, near, range_of, short
from sld.board.site.charts import (
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
from sld.board.site.formulas import NONE, r2
from sld.board.site.html import Html, cut, el, join, said
from sld.data.axes import levels, position
from sld.data.scoring import scores
from sld.data.table import Array, Table
from sld.laws.law import Law

MOST_TARGETS = 6  # of a law, drawn
_MOST_SAMPLED = 20_000  # rows that are looked at
_MOST_DOTS_OF_LAW = 5000
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


def law_figures(law: Law, train: Table, held_out: Table | None, name: str, stem: str) -> tuple[Html, ...]:
    """Return, for each target, measured against predicted values beside the law's curves.

    Args:
        law: The law.
        train: Rows that it was fitted to.
        held_out: Rows that it was not fitted to.
        name: Of the law, for readers of the charts' names.
        stem: Beginning of the charts' ids.

    Raises:
        SldError: The law does not suit the rows.
    """
    train, held_out = _rows_for(law, train, held_out)
    n = min(len(law.targets), MOST_TARGETS)
    most = max(100, min(MOST_DOTS, _MOST_DOTS_OF_LAW // n))
    found = []
    for j in range(n):
        target = law.targets[j].column if len(law.targets) > 1 else ""
        about = f"{cut(name, 80)}{f', {target}' if target else ''}"
        pair = [
            _measured_against_predicted(law, train, j, held_out, about, f"{stem}-{j}a", most),
            _curves(law, train, j, held_out, about, f"{stem}-{j}b", most),
        ]
        if shown := [figure for figure in pair if figure is not None]:
            heading = el("h3", "Target ", said(target)) if target else None
            found.append(el("div", heading, el("div", *shown, class_="pair"), class_="figures"))
    return tuple(found)


def _rows_for(law: Law, train: Table, held_out: Table | None) -> tuple[Table, Table | None]:
    """Return the rows that a law can be drawn beside: of groups that it knows, and not too many."""
    if held_out is not None:
        known = np.isin(np.array(held_out.groups), law.groups)[held_out.group_index]
        held_out = held_out.take(known) if law.grouped and not known.all() else held_out
        held_out = held_out if held_out.n_rows else None
    if train.n_rows > _MOST_SAMPLED:
        train = train.take(few(train.n_rows, _MOST_SAMPLED))
    return train, held_out


def together_figure(laws: Sequence[tuple[Ranked, Law]], train: Table, held_out: Table | None, stem: str) -> Html | None:
    """Return the best laws' curves through one slice of the rows, that of the best law with most held-out rows."""
    laws = laws[: len(DASHES)]
    if len(laws) < 2:
        return None
    best = laws[0][1]
    train, held_out = _rows_for(best, train, held_out)
    section = sections.section(best, train, 0, held_out)
    line = max((one for one in section.lines if not one.faint), key=lambda one: one.held_out.shape[1])
    curves = [law.predict(line.points)[:, 0] for _, law in laws]
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
    return el("figure", el("figcaption", el("b", "Curves. "), said(notes)), draw(chart), _legend("", entries))


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
        name = f"{law.place}. {cut(law.name, 80)}: complexity {law.complexity}, error {errors[k]:.3g}"
        label = str(law.place) if ahead else ""
        spots.append(Spot(sizes[k], errors[k], 0 if ahead else 3, law.href, name, label, not ahead))
    words = "1 law" if len(known) == 1 else f"{len(known)} laws"
    description = f"{words}; a step line joins those that no shorter law beats. The table has the same numbers."
    chart = Chart(f"{stem}-front", "Error against complexity", description, x, y, [stairs, *spots])
    legend = _legend("", [(key(0), "no shorter law is better")] + ([(key(3, hollow=True), "others")] if behind else []))
    caption = "Numbers are places in the table; each marker leads to its law."
    return el("figure", el("figcaption", el("b", "Error against complexity. "), caption), draw(chart), legend)


# --- measured against predicted -------------------------------------------------------------------------------------


def _measured_against_predicted(
    law: Law, train: Table, j: int, held_out: Table | None, about: str, stem: str, most: int
) -> Html | None:
    main = sections.main_variable(law, train, held_out)
    both = sections.joined(train, held_out)
    z, same = position(both, main)
    level = levels(z, same, sections.MAX_LINES)
    along = both.column(main.symbol)
    measured, predicted = both.Y[:, j], law.predict(both)[:, j]
    hollow = np.arange(both.n_rows) >= train.n_rows
    finite = np.isfinite(predicted)
    if not finite.any():
        return None
    shown = np.concatenate([measured, near(predicted[finite], measured)])
    axis = span(shown, "")
    target = law.targets[j]
    x = Axis(f"measured {axis_label(target)}", axis.low, axis.high, axis.logarithmic)
    y = Axis(f"predicted {target.column}", axis.low, axis.high, axis.logarithmic)
    ends = np.array([axis.low, axis.high])
    marks: list[Dots | Curve] = [Curve(ends, ends, 0, "guide")]
    entries = []
    share = most / max(len(measured), most)
    for k in range(int(level.max()) + 1):
        label = range_of(along[level == k])
        for is_hollow in (False, True):
            rows = np.flatnonzero((level == k) & finite & (hollow == is_hollow))
            rows = rows[few(len(rows), max(1, int(len(rows) * share)))] if len(rows) else rows
            if len(rows):
                marks.append(Dots(measured[rows], np.clip(predicted[rows], axis.low, axis.high), k, is_hollow))
        entries.append((key(k), label))
    # what is held out lies above what is fitted
    marks.sort(key=lambda mark: isinstance(mark, Dots) and mark.hollow)
    quality = [_quality("rows it was fitted to", measured[~hollow], predicted[~hollow])]
    if hollow.any():
        quality.append(_quality("held-out rows", measured[hollow], predicted[hollow]))
        entries.append((key(0, hollow=True), "hollow: held out"))
    lost = int((~finite).sum())
    notes = [*quality, *([f"{lost} rows have no finite prediction"] if lost else [])]
    chart = Chart(stem, f"Measured against predicted: {about}", "; ".join(notes), x, y, marks)
    caption = el("figcaption", el("b", "Measured against predicted. "), "; ".join(notes))
    return el("figure", caption, draw(chart), _legend(main.column, entries))


def _quality(rows: str, measured: Array, predicted: Array) -> str:
    found = scores(measured, predicted)
    quality = "failed" if found.failed else r2(found.r2)
    return f"{len(measured)} {rows}" if quality == NONE else f"{len(measured)} {rows}, R² {quality}"


# --- curves ---------------------------------------------------------------------------------------------------------


def _curves(law: Law, train: Table, j: int, held_out: Table | None, about: str, stem: str, most: int) -> Html | None:
    section = sections.section(law, train, j, held_out)
    bold = [line for line in section.lines if not line.faint]
    rows = np.concatenate([np.concatenate([line.measured[1], line.held_out[1]]) for line in bold])
    curves = np.concatenate([line.y for line in bold])
    curves = curves[np.isfinite(curves)]
    if not len(curves):
        return None
    y = span(np.concatenate([rows, near(curves, rows, 0.25)]) if len(rows) else curves, axis_label(section.target))
    positions = np.concatenate([line.x for line in section.lines])
    wide = sections.is_logarithmic(section.variable, positions)
    x = span(positions, axis_label(section.variable), logarithmic=wide, share=0.02)
    marks: list[Shade | Curve | Dots] = [] if section.beyond is None else [Shade(*section.beyond)]
    marks += [Curve(line.x, line.y, 0, "faint") for line in section.lines if line.faint]
    dots: list[Dots] = []
    entries = []
    share = most / max(len(rows), most)
    for k, line in enumerate(bold):
        inside = np.zeros(len(line.x), dtype=np.bool_)
        if line.known is not None:
            inside = (line.x >= line.known[0] * (1 - 1e-9)) & (line.x <= line.known[1] * (1 + 1e-9))
        marks.append(Curve(line.x, line.y, k, "dashed"))
        marks.append(Curve(line.x, np.where(inside, line.y, np.nan), k, "solid"))
        for values, hollow in ((line.measured, False), (line.held_out, True)):
            n = values.shape[1]
            if n:
                chosen = few(n, max(1, int(n * share)))
                dots.append(Dots(values[0, chosen], values[1, chosen], k, hollow))
        entries.append((key(k, line="solid"), line.label or "the law"))
    dots.sort(key=lambda mark: mark.hollow)
    return _curves_figure(section, Chart(stem, "", "", x, y, [*marks, *dots]), entries, about)


def _curves_figure(section: Section, chart: Chart, entries: list[tuple[Html, str]], about: str) -> Html:
    held_out = any(line.held_out.shape[1] for line in section.lines if not line.faint)
    if held_out:
        entries.append((key(0, hollow=True), "hollow: held out"))
    notes = []
    if section.beyond is not None:
        shade = "held-out region" if held_out else "beyond the data"
        notes.append(f"shaded: {shade}, {short(section.beyond[0])} to {short(section.beyond[1])}")
    notes += ["dashed where the line has no rows that it was fitted to", *section.notes]
    by = f" for {len(section.lines)} values of {section.told_apart_by}" if section.told_apart_by else ""
    title = f"{section.target.column} along {section.variable.column}: {about}"
    named = Chart(chart.id, title, f"Curves of the law{by}; {'; '.join(notes)}.", chart.x, chart.y, chart.marks)
    caption = el("figcaption", el("b", "Extrapolation. "), _sentence("; ".join(notes)))
    return el("figure", caption, draw(named), _legend(section.told_apart_by, entries))


# --- pieces ---------------------------------------------------------------------------------------------------------


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _legend(heading: str, entries: Sequence[tuple[Html, str]]) -> Html:
    items = [el("li", sample, said(label, 60)) for sample, label in entries]
    return el("ul", join(el("li", said(heading, 40), class_="of") if heading else None, *items), class_="legend")
