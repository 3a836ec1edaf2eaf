"""Charts of a law beside its rows: measured against predicted values, and its curves past the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sld.analysis import sections
from sld.analysis.pages.charts import MOST_DOTS, Axis, Chart, Curve, Dots, Shade, draw, few, key, span
from sld.analysis.pages.formulas import NONE, r2
from sld.analysis.pages.html import Html, cut, el, join, said
from sld.analysis.sections import Section, axis_label, magnitude, near, range_of
from sld.data.axes import levels, position
from sld.data.scoring import scores
from sld.data.table import Array, Table
from sld.laws.law import Law

MOST_TARGETS = 6  # of a law, drawn
_MOST_SAMPLED = 20_000  # rows that are looked at
_MOST_DOTS_OF_LAW = 5000


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
    train, held_out = rows_for(law, train, held_out)
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


def rows_for(law: Law, train: Table, held_out: Table | None) -> tuple[Table, Table | None]:
    """Return the rows that a law can be drawn beside: of groups that it knows, and not too many."""
    if held_out is not None:
        known = np.isin(np.array(held_out.groups), law.groups)[held_out.group_index]
        held_out = held_out.take(known) if law.grouped and not known.all() else held_out
        held_out = held_out if held_out.n_rows else None
    if train.n_rows > _MOST_SAMPLED:
        train = train.take(few(train.n_rows, _MOST_SAMPLED))
    return train, held_out


# --- measured against predicted -------------------------------------------------------------------------------------


def _measured_against_predicted(
    law: Law, train: Table, j: int, held_out: Table | None, about: str, stem: str, most: int
) -> Html | None:
    main = sections.main_variable(law, train, held_out)
    both = sections.joined(train, held_out)
    z, same = position(both, main)
    level = levels(z, same, sections.MAX_LINES)
    along = both.column(main.symbol)
    measured, predicted = both.Y[:, j], law.by_formula(both)[:, j]
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
    return el("figure", caption, draw(chart), legend(main.column, entries))


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
        notes.append(f"shaded: {shade}, {magnitude(section.beyond[0])} to {magnitude(section.beyond[1])}")
    notes += ["dashed where the line has no rows that it was fitted to", *section.notes]
    by = f" for {len(section.lines)} values of {section.told_apart_by}" if section.told_apart_by else ""
    title = f"{section.target.column} along {section.variable.column}: {about}"
    named = Chart(chart.id, title, f"Curves of the law{by}; {'; '.join(notes)}.", chart.x, chart.y, chart.marks)
    caption = el("figcaption", el("b", "Extrapolation. "), _sentence("; ".join(notes)))
    return el("figure", caption, draw(named), legend(section.told_apart_by, entries))


# --- pieces ---------------------------------------------------------------------------------------------------------


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def legend(heading: str, entries: Sequence[tuple[Html, str]]) -> Html:
    """Return the samples of a chart's series with their labels."""
    items = [el("li", sample, said(label, 60)) for sample, label in entries]
    return el("ul", join(el("li", said(heading, 40), class_="of") if heading else None, *items), class_="legend")
