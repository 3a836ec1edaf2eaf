"""A task's page: its laws, how they compare, what the best look like beside the data, and the data card."""

from __future__ import annotations

from collections.abc import Iterator

from sld.analysis.pages.formulas import NONE, badge, cell, count, r2, small
from sld.analysis.pages.html import Html, cited, cut, el, join, outward, said, visible, words
from sld.analysis.pages.laws import MOST_CONSTANTS, constants_of, formulas_of
from sld.analysis.pages.tables import MOST_ROWS, left_out, table_of, th, tools
from sld.board.entries.standings import TaskStandings
from sld.board.site.data_card import data_card
from sld.board.site.figures import Ranked, front_figure, intervals_figure, together_figure
from sld.board.site.overview import how_to_submit, submit_section
from sld.board.site.page import page
from sld.board.site.places import Placement
from sld.laws.law import Law

_TOP_LAWS = 3  # whose charts are shown
_MOST_OPEN = 6  # groups whose constants are not folded away


def task_page(place: Placement) -> str:
    """Return the page of one task."""
    table = place.table
    content = join(
        el(
            "section",
            el("h1", said(place.title, 200)),
            el("p", el("code", words(cut(table.name, 100))), f" · version {table.version}", class_="quiet"),
            _what_is_asked(table),
            None if table.task is not None else _rows_elsewhere(table),
        ),
        _verified_section(place),
        _comparison(place),
        *_top_laws(place),
        _reported_section(place),
        data_card(place),
        submit_section(table.name),
    )
    crumbs = (("Overview", "../index.html"), (place.title, None))
    return page(f"{place.title} · sld leaderboard", content, home="../index.html", crumbs=crumbs)


def _what_is_asked(table: TaskStandings) -> Html | None:
    if table.card is None or not table.card.extrapolation:
        return None
    return el("p", "Held out: ", said(table.card.extrapolation, 500), class_="lead")


def _rows_elsewhere(table: TaskStandings) -> Html:
    fetch = f"sld tasks fetch {table.suite}" if table.suite not in ("", "bundled") else ""
    way = join("; ", el("code", fetch), " brings them") if fetch else None
    return el("p", "The rows of this task are not here, so nothing could be verified here", way, ".", class_="empty")


def _verified_section(place: Placement) -> Html | None:
    rowless = place.table.task is None
    name = "Laws, with the scores that their entries record" if rowless else "Laws, verified"
    heading = el("h2", name)
    if not place.verified:
        text = join("No law has been submitted yet. ", how_to_submit(place.table.name))
        return None if rowless else el("section", heading, el("p", text, class_="empty"))
    grouped = any(p.row.r2_within is not None and place.grouped for p in place.verified)
    columns: list[tuple[str, str]] = [("NMSE", "nmse"), ("NMAE", "nmae"), ("ARE", "are")]
    head = [
        th("#", "number", now="ascending"),
        th("Law", "text"),
        th("R²", "number", first="descending"),
        th("90 % interval", None, kind="num"),
        th("R² within groups", "number", first="descending") if grouped else None,
        th("Complexity", "number"),
        th("Constants", "number"),
        *(th(name, "number") for name, _ in columns),
    ]
    body = []
    for placed in place.verified[:MOST_ROWS]:
        row = placed.row
        link = el("a", said(placed.name, 120), href=f"../laws/{place.stem}/{placed.stem}.html", class_="name")
        by = el("span", "by ", said(row.author, 80), class_="quiet by") if row.author else None
        low_high = NONE if row.r2_low is None or row.r2_high is None else f"{r2(row.r2_low)} to {r2(row.r2_high)}"
        body.append(
            el(
                "tr",
                cell(NONE if row.rank is None else str(row.rank), row.rank),
                el("th", link, badge(row.label), by, scope="row", data_v=visible(placed.name)),
                cell("failed" if placed.failed else r2(row.r2), row.r2),
                el("td", low_high, class_="num range"),
                cell(r2(row.r2_within), row.r2_within) if grouped else None,
                cell(count(row.complexity), row.complexity),
                cell(count(row.n_constants), row.n_constants),
                *(cell(small(getattr(row, key)), getattr(row, key)) for _, key in columns),
            )
        )
    n_rows = next((p.row.entry.scores.get("n_rows") for p in place.verified if p.row.entry is not None), None)
    hint = (
        f"Scores on {count(n_rows)} held-out rows; the interval comes from resampling them. Constants are counted per "
        "group and target. NMSE is 1 − R²; NMAE and ARE are explained on each law's page."
    )
    return el(
        "section",
        heading,
        el("p", hint, class_="hint"),
        tools(len(body)),
        table_of(name, head, body),
        left_out(len(place.verified), len(body)),
    )


def _comparison(place: Placement) -> Html | None:
    laws: list[Ranked] = []
    formulas: list[tuple[Ranked, Law]] = []
    for p in place.verified[:MOST_ROWS]:
        row = p.row
        if row.r2 is not None and row.rank is not None and not p.failed:
            interval = None if row.r2_low is None or row.r2_high is None else (row.r2_low, row.r2_high)
            href = f"../laws/{place.stem}/{p.stem}.html"
            laws.append(Ranked(row.rank, p.name, href, row.r2, interval, row.complexity))
            if p.law is not None:
                formulas.append((laws[-1], p.law))
    drawn = [front_figure(laws, "all"), intervals_figure(laws, "all")]
    if place.table.task is not None:
        drawn.append(together_figure(formulas, place.table.task.train, place.held_out, "all"))
    figures = [figure for figure in drawn if figure is not None]
    return el("section", el("h2", "Side by side"), el("div", *figures, class_="pair")) if figures else None


def _top_laws(place: Placement) -> Iterator[Html]:
    top = [p for p in place.verified if p.law is not None and not p.failed][:_TOP_LAWS]
    if not top:
        return
    yield el("h2", "The best laws" if len(top) > 1 else "The best law", class_="lone")
    for placed in top:
        law = placed.law
        assert law is not None
        href = f"../laws/{place.stem}/{placed.stem}.html"
        n = len(law.targets)
        yield el(
            "section",
            el(
                "h3",
                f"{placed.row.rank}. " if placed.row.rank is not None else None,
                el("a", said(placed.name, 120), href=href),
                el("span", f"R² {r2(placed.row.r2)}", class_="score"),
            ),
            formulas_of(law),
            *placed.figures[:1],
            el("p", el("a", f"Charts of all {n} targets", href=href), class_="more") if n > 1 else None,
            _constants_of_top(law, placed.name),
            class_="law",
        )


def _constants_of_top(law: Law, of: str) -> Html:
    """Return the constants, folded away where they are many."""
    table = constants_of(law, MOST_CONSTANTS // 10, of)
    n_groups, n_targets = len(law.groups), len(law.targets)
    if n_groups <= _MOST_OPEN and n_targets == 1:
        return table
    parts = [count(n, what) for n, what in ((n_targets, "target"), (n_groups, "group")) if n > 1]
    return el("details", el("summary", f"Constants of {' and '.join(parts)}"), table, class_="unfolds")


def _reported_section(place: Placement) -> Html | None:
    if not place.reported:
        return None
    head = [th("Name", "text"), th("R²", "number", now="descending", first="descending"), th("Of", "text")]
    head.append(th("Source", "text"))
    body = [
        el(
            "tr",
            el("th", el("span", said(row.name, 120), class_="name"), scope="row"),
            cell(r2(row.r2), row.r2),
            el("td", said(row.note, 200)),
            el("td", outward(row.url, row.source) if row.url else cited(row.source, 200)),
        )
        for row in place.reported[:MOST_ROWS]
    ]
    return el(
        "section",
        el("h2", "Reported elsewhere, not verified here"),
        el("p", "Figures as their source gives them; what is behind them was not run here.", class_="hint"),
        tools(len(body)),
        table_of("Reported elsewhere, not verified here", head, body),
        left_out(len(place.reported), len(body)),
        class_="reported",
    )
