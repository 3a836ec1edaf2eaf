"""The three kinds of page: the overview, a task, a law."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sld.board.markdown import short_name, suite_title
from sld.board.site.commands import reproduce
from sld.board.site.figures import MOST_TARGETS, Ranked, front_figure, intervals_figure, law_figures
from sld.board.site.formulas import NONE, badge, cell, constant, count, formula, lines, r2, small, symbol
from sld.board.site.html import Html, cut, el, join, outward, page, said, visible, words
from sld.board.standings import REPORTED, OverallRow, Row, Standings, TaskStandings
from sld.core.errors import SldError
from sld.core.law import Law
from sld.core.table import ALL_ROWS, Table

MOST_ROWS = 400  # of a table on a page
_TOP_LAWS = 3  # whose charts a task's page shows
_MOST_JSON = 250_000  # characters
_MOST_CONSTANTS = 4000  # cells of the tables of constants
_MOST_OPEN = 6  # groups whose constants are not folded away
_MOST_SOURCE = 60_000  # characters of a program
_SAFE_STEM = re.compile(r"[a-z0-9][a-z0-9_-]{0,90}")


@dataclass(frozen=True)
class _Placed:
    """A row with the page of its law and what is drawn there."""

    row: Row
    stem: str
    law: Law | None
    figures: tuple[Html, ...]
    trouble: str = ""

    @property
    def name(self) -> str:
        return self.row.name or "a law without a name"


@dataclass(frozen=True)
class _Placement:
    """A task with its page and the rows it has here."""

    table: TaskStandings
    stem: str
    held_out: Table | None
    verified: tuple[_Placed, ...]
    reported: tuple[Row, ...]

    @property
    def title(self) -> str:
        return self.table.title or self.table.name


def site(standings: Standings) -> Iterator[tuple[str, str]]:
    """Yield every page: its path below the site's folder, with forward slashes, and its text."""
    taken: set[str] = set()
    places = [_place(table, taken) for table in standings.tasks]
    yield "index.html", _overview(standings, places)
    for place in places:
        yield f"tasks/{place.stem}.html", _task_page(place)
        for placed in place.verified:
            yield f"laws/{place.stem}/{placed.stem}.html", _law_page(place, placed)


def _place(table: TaskStandings, taken: set[str]) -> _Placement:
    held_out, trouble = None, ""
    if table.task is not None:
        try:
            held_out = table.task.held_out()
        except SldError as error:
            trouble = str(error)
    used: set[str] = set()
    verified = [_placed(row, table, held_out, used, trouble) for row in table.rows if row.entry is not None]
    reported = tuple(row for row in table.rows if row.entry is None)
    return _Placement(table, stem_of(table.name, taken), held_out, tuple(verified), reported)


def _placed(row: Row, table: TaskStandings, held_out: Table | None, used: set[str], trouble: str) -> _Placed:
    stem = stem_of(row.slug, used)
    if row.entry is None or row.kind != "formula" or table.task is None:
        return _Placed(row, stem, None, ())
    try:
        law = row.entry.law(table.task)
        return _Placed(row, stem, law, law_figures(law, table.task.train, held_out, row.name, stem), trouble)
    except SldError as error:
        return _Placed(row, stem, None, (), str(error))


def stem_of(name: str, taken: set[str]) -> str:
    """Return a file name without suffix for a name, safe in every file system and URL, and not yet in `taken`."""
    stem = name
    if not _SAFE_STEM.fullmatch(name) or name in taken:
        plain = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[:60]
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        stem = next(s for n in range(8, 65) if (s := f"{plain}-{digest[:n]}".lstrip("-")) not in taken)
    taken.add(stem)
    return stem


# --- the overview ---------------------------------------------------------------------------------------------------


def _overview(standings: Standings, places: Sequence[_Placement]) -> str:
    here = [place for place in places if place.table.task is not None]
    elsewhere = [place for place in places if place.table.task is None]
    n_laws = sum(len(place.verified) for place in places)
    n_reported = sum(len(place.reported) for place in places)
    facts = [(count(len(places)), "task" if len(places) == 1 else "tasks"), (count(n_laws), "verified")]
    facts.append((count(n_reported), "reported"))
    intro = el(
        "section",
        el("h1", "Scaling laws, ranked by how well they extrapolate"),
        el(
            "p",
            "Each task is a table of training runs. A law is fitted to the smaller runs and predicts the larger ones, "
            "which were held out; its R² on those rows is its score. Verified rows were fitted, predicted and scored "
            "here, from a formula or a program that was submitted. Reported figures come from their source and were "
            "not run here.",
            class_="lead",
        ),
        el("ul", *(el("li", el("b", number), f" {name}") for number, name in facts), class_="facts"),
    )
    content = join(
        intro,
        *_overall_sections(standings.overall, places, reported=False),
        _cards("Tasks", here) if here or not elsewhere else None,
        *_overall_sections(standings.overall, places, reported=True),
        _cards("Tasks whose rows are not here", elsewhere) if elsewhere else None,
        _problems(standings.problems),
    )
    return page("sld leaderboard", content, home="index.html")


def _overall_sections(rows: Sequence[OverallRow], places: Sequence[_Placement], *, reported: bool) -> Iterator[Html]:
    stems = {place.table.name: place.stem for place in places}
    chosen = [row for row in rows if (row.label == REPORTED) == reported]
    if not chosen and not reported:
        yield el(
            "section",
            el("h2", "Overall, verified"),
            el("p", "No name has verified laws on several tasks yet. ", _how_to_submit("TASK"), class_="empty"),
        )
    for suite in dict.fromkeys(row.suite for row in chosen):
        yield _overall([row for row in chosen if row.suite == suite], suite, reported, stems)


def _overall(rows: Sequence[OverallRow], suite: str, reported: bool, stems: Mapping[str, str]) -> Html:
    tasks = list(dict.fromkeys(t for row in rows for t, value in row.per_task.items() if value is not None))
    what = cut(suite_title(suite), 80)
    heading = f"Reported elsewhere, not verified here: {what}" if reported else f"Overall, verified: {what}"
    explained = (
        "Mean R² as its source gives it; the laws and programs behind these figures were not run here."
        if reported
        else "Mean R² on held-out rows over the tasks that a name has laws for, each at least −1. "
        "Means over different numbers of tasks do not compare."
    )
    head = [
        _th("Name", "text"),
        _th("Mean R²", "number", first="descending"),
        _th("Tasks", "number", first="descending"),
        *(_th(_task_heading(t, tasks, suite, stems), "number", first="descending") for t in tasks),
    ]
    body = []
    for row in rows[:MOST_ROWS]:
        label = None if reported else badge(row.label)
        per_task = [cell(r2(row.per_task.get(t)), row.per_task.get(t)) for t in tasks]
        head_cell = el("th", el("span", said(row.name, 120), class_="name"), label, scope="row")
        mean = cell(r2(row.mean_r2), row.mean_r2, title=None)
        body.append(el("tr", head_cell, mean, cell(count(row.n_tasks), row.n_tasks), *per_task))
    return el(
        "section",
        el("h2", heading),
        el("p", explained, class_="hint"),
        _tools(len(body)),
        _table(heading, head, body),
        _left_out(len(rows), len(body)),
        class_="reported" if reported else None,
    )


def _task_heading(name: str, names: Sequence[str], suite: str, stems: Mapping[str, str]) -> Html:
    bare = {name: name.removeprefix(f"{suite}_") if suite else name for name in names}
    shown = words(cut(short_name(bare[name], list(bare.values())), 60))
    # the sort button takes the heading's place in the tab order, so the link to the task is in its card
    return el("span", shown, title=name) if name in stems else shown


def _cards(heading: str, places: Sequence[_Placement]) -> Html:
    empty = el("p", "There are no tasks here.", class_="empty") if not places else None
    return el(
        "section",
        el("h2", heading),
        empty,
        el("ul", *(_card(place) for place in places), class_="cards") if places else None,
    )


def _card(place: _Placement) -> Html:
    table = place.table
    best, told = next(iter(place.verified), None), next(iter(place.reported), None)
    rows = None
    if table.task is not None:
        held_out = "no held-out rows" if place.held_out is None else f"{count(place.held_out.n_rows)} held out"
        rows = f"{count(table.task.train.n_rows)} rows to fit, {held_out}"
    leader: Html
    if best is not None:
        href = f"laws/{place.stem}/{best.stem}.html"
        leader = el(
            "p", el("b", r2(best.row.r2), class_="big"), " ", el("a", said(best.name, 60), href=href), class_="best"
        )
    elif told is not None:
        leader = el(
            "p", el("b", r2(told.r2), class_="big"), " ", said(told.name, 60), el("br"),
            el("span", REPORTED, class_="quiet"), class_="best",
        )  # fmt: skip
    else:
        leader = el("p", "No law yet", class_="best quiet")
    numbers = [count(len(place.verified), "verified law")] if place.verified or table.task is not None else []
    numbers += [f"{len(place.reported)} reported"] if place.reported else []
    return el(
        "li",
        el("h3", el("a", said(place.title, 120), href=f"tasks/{place.stem}.html")),
        el("p", el("code", words(cut(table.name, 100))), class_="quiet"),
        leader,
        el("p", " · ".join(part for part in (rows, *numbers) if part), class_="quiet"),
    )


def _problems(problems: Sequence[str]) -> Html | None:
    if not problems:
        return None
    items = [el("li", said(problem, 400)) for problem in problems[:50]]
    more = el("p", f"and {count(len(problems) - 50)} more", class_="quiet") if len(problems) > 50 else None
    return el("section", el("h2", "Files that were left out"), el("ul", *items), more)


def _how_to_submit(task: str) -> Html:
    return join("To add one: ", el("code", f'sld submit "E + A*N**-a" --task {task} --name "..."'))


# --- a task ---------------------------------------------------------------------------------------------------------


def _task_page(place: _Placement) -> str:
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
        _data_card(place),
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
    return el("p", "The rows of this task are not here, so nothing could be verified", way, ".", class_="empty")


def _verified_section(place: _Placement) -> Html:
    heading = el("h2", "Laws, verified")
    if not place.verified:
        rowless = place.table.task is None
        text = "Nothing is verified without the rows." if rowless else "No law has been submitted yet. "
        way = None if rowless else _how_to_submit(place.table.name)
        return el("section", heading, el("p", text, way, class_="empty"))
    grouped = any(p.row.r2_within is not None and _grouped(place) for p in place.verified)
    columns: list[tuple[str, str]] = [("NMSE", "nmse"), ("NMAE", "nmae"), ("ARE", "are")]
    head = [
        _th("#", "number", now="ascending"),
        _th("Law", "text"),
        _th("R²", "number", first="descending"),
        _th("90 % interval", None, kind="num"),
        _th("R² within groups", "number", first="descending") if grouped else None,
        _th("Complexity", "number"),
        _th("Constants", "number"),
        *(_th(name, "number") for name, _ in columns),
    ]
    body = []
    for placed in place.verified[:MOST_ROWS]:
        row = placed.row
        link = el("a", said(placed.name, 120), href=f"../laws/{place.stem}/{placed.stem}.html", class_="name")
        by = el("span", "by ", said(row.author, 80), class_="quiet by") if row.author else None
        low_high = NONE if row.r2_low is None or row.r2_high is None else f"{r2(row.r2_low)} to {r2(row.r2_high)}"
        failed = bool(row.entry is not None and row.entry.scores.get("failed"))
        body.append(
            el(
                "tr",
                cell(NONE if row.rank is None else str(row.rank), row.rank),
                el("th", link, badge(row.label), by, scope="row", data_v=visible(placed.name)),
                cell("failed" if failed else r2(row.r2), row.r2),
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
        _tools(len(body)),
        _table("Laws, verified", head, body),
        _left_out(len(place.verified), len(body)),
    )


def _grouped(place: _Placement) -> bool:
    task = place.table.task
    return task is not None and len(task.train.groups) > 1


def _comparison(place: _Placement) -> Html | None:
    laws = []
    for p in place.verified[:MOST_ROWS]:
        row = p.row
        if row.r2 is not None and row.rank is not None and not _failed(row):
            interval = None if row.r2_low is None or row.r2_high is None else (row.r2_low, row.r2_high)
            href = f"../laws/{place.stem}/{p.stem}.html"
            laws.append(Ranked(row.rank, p.name, href, row.r2, interval, row.complexity))
    figures = [figure for figure in (front_figure(laws, "all"), intervals_figure(laws, "all")) if figure is not None]
    return el("section", el("h2", "Side by side"), el("div", *figures, class_="pair")) if figures else None


def _failed(row: Row) -> bool:
    return bool(row.entry is not None and row.entry.scores.get("failed"))


def _top_laws(place: _Placement) -> Iterator[Html]:
    top = [p for p in place.verified if p.law is not None and not _failed(p.row)][:_TOP_LAWS]
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
            _formulas(law),
            *placed.figures[:1],
            el("p", el("a", f"Charts of all {n} targets", href=href), class_="more") if n > 1 else None,
            _constants_of_top(law, placed.name),
            class_="law",
        )


def _constants_of_top(law: Law, of: str) -> Html:
    """Return the constants, folded away where they are many."""
    table = _constants(law, _MOST_CONSTANTS // 10, of)
    n_groups, n_targets = len(law.groups), len(law.targets)
    if n_groups <= _MOST_OPEN and n_targets == 1:
        return table
    parts = [count(n, what) for n, what in ((n_targets, "target"), (n_groups, "group")) if n > 1]
    return el("details", el("summary", f"Constants of {' and '.join(parts)}"), table, class_="unfolds")


def _formulas(law: Law, filled: bool = False) -> Html:
    """Return the formula of every target, one where all have the same."""
    columns = [t.column for t in law.targets]
    texts = {law.expressions[c].text for c in columns}
    single = len(law.groups) == 1
    if len(texts) == 1 and len(columns) > 1 and not filled:
        return join(formula(law.expressions[columns[0]], "y"), el("p", "The same form for each target.", class_="hint"))
    shown = columns[:12]
    symbols = {t.column: t.symbol for t in law.targets}
    return join(
        *(
            formula(
                law.expressions[c], symbols[c], dict(law.constants[c][law.groups[0]]) if filled and single else None
            )
            for c in shown
        )
    )


def _reported_section(place: _Placement) -> Html | None:
    if not place.reported:
        return None
    head = [_th("Name", "text"), _th("R²", "number", now="descending", first="descending"), _th("Of", "text")]
    head.append(_th("Source", "text"))
    body = [
        el(
            "tr",
            el("th", el("span", said(row.name, 120), class_="name"), scope="row"),
            cell(r2(row.r2), row.r2),
            el("td", said(row.note, 200)),
            el("td", outward(row.url, row.source) if row.url else said(row.source, 200)),
        )
        for row in place.reported[:MOST_ROWS]
    ]
    return el(
        "section",
        el("h2", "Reported elsewhere, not verified here"),
        el("p", "Figures as their source gives them; what is behind them was not run here.", class_="hint"),
        _tools(len(body)),
        _table("Reported elsewhere, not verified here", head, body),
        _left_out(len(place.reported), len(body)),
        class_="reported",
    )


# --- the data card --------------------------------------------------------------------------------------------------


def _data_card(place: _Placement) -> Html | None:
    card = place.table.card
    if card is None:
        return None
    variables = [
        el(
            "tr",
            el("th", el("code", words(v.column)), scope="row"),
            el("td", v.role),
            el("td", said(v.meaning)),
            el("td", said(v.unit, 80)),
            el("td", "; ".join(_known_of(v))),
        )
        for v in card.variables[:MOST_ROWS]
    ]
    targets = [
        el(
            "tr",
            el("th", el("code", words(t.column)), scope="row"),
            el("td", "target"),
            el("td", said(t.meaning)),
            el("td", said(t.unit, 80)),
            el("td", "; ".join([f"{t.better} is better", *_bounds(t.lower, t.upper)])),
        )
        for t in card.targets[:MOST_ROWS]
    ]
    head = [_th(name, None) for name in ("Column", "Role", "Meaning", "Unit", "Known of it")]
    task = place.table.task
    train = None if task is None else count(task.train.n_rows)
    grouped = None
    if card.group is not None:
        n = "" if task is None else f", {count(len(task.train.groups), 'group')}"
        grouped = join(el("code", words(card.group)), n, f": {card.group_meaning}" if card.group_meaning else "")
    paper = join(*(el("div", f"{key}: ", _paper(value)) for key, value in sorted(card.paper.items()))) or None
    facts = lines(
        ("A row is", said(card.row, 300) if card.row else None),
        ("Rows to fit", train),
        ("Held-out rows", None if place.held_out is None else count(place.held_out.n_rows)),
        ("Held out", said(card.extrapolation, 500) if card.extrapolation else None),
        ("Groups", grouped),
        ("Constants allowed", f"{card.max_constants} per group and target"),
        ("Cost of a row", el("code", card.cost) if card.cost else None),
        ("Licence", said(card.licence, 200) if card.licence else None),
        ("Provenance", said(card.provenance, 600) if card.provenance else None),
        ("Paper", paper),
    )
    notes = [*card.notes, *(task.train.notes if task is not None else ())]
    defects = el("ul", *(el("li", said(note, 500)) for note in notes[:60])) if notes else None
    laws = [el("li", el("b", said(law.name)), f": {law.source}" if law.source else None) for law in card.laws[:60]]
    return el(
        "section",
        el("h2", "The data"),
        _table("Columns", head, [*targets, *variables], sortable=False),
        facts,
        join(el("h3", "Defects and remarks"), defects) if defects else None,
        join(el("h3", "Published laws for it"), el("ul", *laws)) if laws else None,
        class_="data",
    )


def _paper(value: Any) -> Html:
    return outward(value) if isinstance(value, str) else said(str(value))


def _known_of(variable: Any) -> Iterator[str]:
    if variable.extrapolate:
        yield "held-out rows go beyond"
    if variable.monotone:
        yield f"target is {variable.monotone} in it"
    if variable.log:
        yield f"already a {variable.log}"
    yield from _bounds(variable.lower, variable.upper)


def _bounds(lower: float | None, upper: float | None) -> Iterator[str]:
    if lower is not None and upper is not None:
        yield f"{small(lower)} to {small(upper)}"
    elif lower is not None or upper is not None:
        yield f"at least {small(lower)}" if lower is not None else f"at most {small(upper)}"


# --- a law ----------------------------------------------------------------------------------------------------------


def _law_page(place: _Placement, placed: _Placed) -> str:
    row, entry, law = placed.row, placed.row.entry, placed.law
    assert entry is not None
    task_page = f"../../tasks/{place.stem}.html"
    by = join("by ", said(row.author, 80)) if row.author else None
    where = outward(row.url) if row.url else None
    head = el(
        "section",
        el("h1", said(placed.name, 200)),
        el("p", badge(row.label), " ", by, " · " if by and where else None, where, class_="byline"),
        el("p", said(row.note, 2000), class_="lead") if row.note else None,
        _score_panel(place, placed, task_page),
    )
    broken = el("p", said(placed.trouble, 400), class_="empty") if placed.trouble else None
    content = join(
        head,
        el("section", el("h2", "Formula"), *_formula_parts(place, placed), broken) if row.kind == "formula" else None,
        el("section", el("h2", "Beside the data"), *placed.figures, _not_drawn(law)) if placed.figures else None,
        el("section", el("h2", "Constants"), _constants(law, _MOST_CONSTANTS, placed.name))
        if law is not None
        else None,
        _program_section(entry.provenance) if row.kind == "program" else None,
        _origin_section(placed),
        _reproduce_section(place, placed),
        _json_section(entry.to_json()),
    )
    crumbs = (("Overview", "../../index.html"), (place.title, task_page), (placed.name, None))
    return page(f"{placed.name} · {place.title}", content, home="../../index.html", crumbs=crumbs)


def _score_panel(place: _Placement, placed: _Placed, task_page: str) -> Html:
    row, entry = placed.row, placed.row.entry
    assert entry is not None
    n = len(place.verified)
    rank = None if row.rank is None else f"{row.rank} of {n}"
    interval = None if row.r2_low is None or row.r2_high is None else f"{r2(row.r2_low)} to {r2(row.r2_high)}"
    train = entry.scores.get("train_nmse")
    tiles: list[tuple[str, str | None, str]] = [
        (
            "R² on held-out rows",
            "failed" if _failed(row) else r2(row.r2),
            "pooled over groups; 1 is perfect" if _grouped(place) else "1 is perfect",
        ),
        ("90 % interval", interval, "held-out rows resampled"),
        ("R² within groups", r2(row.r2_within) if _grouped(place) else None, "mean over groups"),
        ("NMSE", small(row.nmse), "squared error over variance"),
        ("NMAE", small(row.nmae), "absolute error over deviation from the median"),
        ("ARE", small(row.are), "mean relative error"),
        ("NMSE, rows fitted to", small(train) if isinstance(train, float) else None, "what is left after the fit"),
        ("Complexity", count(row.complexity) if row.complexity is not None else None, "nodes of the formula"),
        ("Constants", count(row.n_constants) if row.n_constants is not None else None, "per group and target"),
        ("Place", rank, "among verified laws"),
    ]
    shown = [
        el("div", el("dt", name), el("dd", el("b", value), el("span", hint, class_="quiet")))
        for name, value, hint in tiles
        if value not in (None, NONE)
    ]
    task = el("p", "Task: ", el("a", said(place.title, 120), href=task_page), f", version {place.table.version}")
    return join(task, el("dl", *shown, class_="tiles"))


def _formula_parts(place: _Placement, placed: _Placed) -> Iterator[Html]:
    law, entry = placed.law, placed.row.entry
    assert entry is not None
    if law is not None:
        yield _formulas(law)
        if len(law.groups) == 1 and len(law.targets) <= 3:
            yield el("p", "With its constants:", class_="hint")
            yield _formulas(law, filled=True)
    texts = list(entry.expressions.items())
    shown = [el("pre", el("code", text), tabindex="0") for _, text in texts[:1]]
    if len({text for _, text in texts}) > 1:
        shown = [
            join(el("p", said(column), class_="hint"), el("pre", el("code", text), tabindex="0"))
            for column, text in texts[:60]
        ]
    yield el("p", "As text, in the grammar of ", el("code", "sld"), ":", class_="hint")
    yield from shown


def _not_drawn(law: Law | None) -> Html | None:
    n = 0 if law is None else len(law.targets) - MOST_TARGETS
    return el("p", f"{count(n, 'further target')} not drawn.", class_="hint") if n > 0 else None


def _constants(law: Law, most: int, of: str) -> Html:
    """Return the constants per group, a table per target, with at most so many cells."""
    tables, left = [], most
    for target in law.targets:
        names = law.expressions[target.column].constants
        groups = law.constants[target.column]
        if not names:
            tables.append(el("p", said(target.column), " has no constants.", class_="hint"))
            continue
        n = min(len(groups), max(left // len(names), 1))
        if left <= 0:
            tables.append(el("p", "The other targets' constants are in the entry.", class_="hint"))
            break
        left -= n * len(names)
        heading = law.group_column or "group"
        grouped = tuple(groups) != (ALL_ROWS,)
        head = [_th(heading, None) if grouped else None, *(_th(symbol(name), None, kind="num") for name in names)]
        body = [
            el(
                "tr",
                el("th", said(group, 80), scope="row") if grouped else None,
                *(el("td", constant(values[name]), class_="num") for name in names),
            )
            for group, values in list(groups.items())[:n]
        ]
        name = f"Constants of {target.column if len(law.targets) > 1 else cut(of, 80)}"
        tables.append(_table(name, head, body, sortable=False, caption=len(law.targets) > 1))
        if n < len(groups):
            tables.append(el("p", f"{n} of {count(len(groups), 'group')}; the entry has all.", class_="hint"))
    return join(*tables)


def _program_section(provenance: Mapping[str, Any]) -> Html:
    program = provenance.get("program")
    program = program if isinstance(program, Mapping) else {}
    source = program.get("source")
    digest = program.get("sha256")
    parts = [el("p", "A program fits itself to the training rows and predicts bare points, in a process of its own.")]
    parts.append(lines(("sha256 of its source", el("code", digest) if isinstance(digest, str) else None)))
    if isinstance(source, str) and source:
        text = source if len(source) <= _MOST_SOURCE else source[:_MOST_SOURCE] + "\n…"
        parts.append(el("pre", el("code", text), tabindex="0"))
    return el("section", el("h2", "Program"), *parts)


def _origin_section(placed: _Placed) -> Html:
    entry = placed.row.entry
    assert entry is not None
    provenance = {k: v for k, v in entry.provenance.items() if k not in ("program", "command")}
    rows = [("Constants are", entry.constants_from), ("Made by", entry.tool)]
    rows += [(_spoken(key), value) for key, value in _flat(provenance)]
    shown = lines(*((name, said(str(value), 400)) for name, value in rows if value not in (None, "")))
    fit = [(_spoken(key), said(value, 300)) for key, value in _flat(entry.fit) if value not in ("", "[]", "{}", "none")]
    return el(
        "section",
        el("h2", "Where it came from"),
        shown,
        join(el("h3", "How the constants were fitted"), lines(*fit[:80])) if fit else None,
    )


def _spoken(key: str) -> str:
    text = cut(key.replace("_", " "), 80)
    return text[:1].upper() + text[1:]


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield names and values of a nested table, one level of names joined."""
    for key, value in list(data.items())[:60]:
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and not prefix:
            same = {json.dumps(item, sort_keys=True, default=str) for item in value.values()}
            if len(same) == 1 and len(value) > 0 and not any(isinstance(i, Mapping) and i for i in value.values()):
                # what holds for every target is said once
                yield name, _plain(next(iter(value.values())))
            else:
                yield from _flat(value, f"{name}, ")
        else:
            yield name, _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(str(item) for item in value)
    if isinstance(value, float):
        return constant(value)
    return "" if value in (None, {}) else cut(json.dumps(value, sort_keys=True, default=str), 300)


def _reproduce_section(place: _Placement, placed: _Placed) -> Html:
    entry = placed.row.entry
    assert entry is not None
    command = reproduce(entry)
    said_command = entry.provenance.get("command")
    parts: list[Html] = [el("p", command.explained)]
    for number, text in enumerate(command.lines):
        ident = f"command-{number}"
        holder = el("span", data_copy=ident, data_what="the command", class_="copy")
        parts.append(el("div", el("pre", el("code", text), id=ident, tabindex="0"), holder, class_="copyable"))
    if isinstance(said_command, str) and said_command:
        parts.append(el("p", "How its author says it was found (free text: read it before you run it):", class_="hint"))
        parts.append(el("pre", el("code", cut(said_command, 2000)), tabindex="0"))
    return el("section", el("h2", "Reproduce it"), *parts)


def _json_section(data: Mapping[str, Any]) -> Html:
    text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False)
    # what could hide or reorder the text is written as JSON writes it, so that a copy is still the same entry
    text = "".join(c if c == "\n" or visible(c) == c else json.dumps(c)[1:-1] for c in text)
    heading = el("h2", "The entry")
    if len(text) > _MOST_JSON:
        size = f"The entry has {count(len(text))} characters, too many for a page; its file is among the submissions."
        return el("section", heading, el("p", size, class_="hint"))
    holder = el("span", data_copy="entry", data_what="the entry", class_="copy")
    body = el("div", el("pre", el("code", text), id="entry", tabindex="0"), holder, class_="copyable")
    return el("section", heading, el("details", el("summary", f"JSON, {count(len(text))} characters"), body))


# --- tables ---------------------------------------------------------------------------------------------------------


def _th(
    text: object, sort: str | None, *, first: str | None = None, now: str | None = None, kind: str | None = None
) -> Html:
    kind = "num" if sort == "number" else kind
    return el("th", text, scope="col", class_=kind, data_sort=sort, data_first=first, aria_sort=now)


def _table(
    name: str,
    head: Sequence[Html | None],
    body: Sequence[Html],
    *,
    sortable: bool = True,
    caption: bool = False,
) -> Html:
    table = el(
        "table",
        el("caption", name, class_=None if caption else "hidden"),
        el("thead", el("tr", *head)),
        el("tbody", Html("\n".join(body))),
        class_="sortable" if sortable else None,
    )
    # what does not fit scrolls inside its frame, not the page; a frame that scrolls has to be reachable by keyboard
    return el("div", table, class_="frame", tabindex="0", role="region", aria_label=name)


def _tools(n: int) -> Html:
    """Return the search field of a section and the place where results are announced."""
    field = el("label", "Search ", el("input", type="search", autocomplete="off", spellcheck="false"))
    tools = el("div", field, class_="tools", hidden=True) if n > 1 else None
    return join(tools, el("p", role="status", class_="status"))


def _left_out(n: int, shown: int) -> Html | None:
    text = f"The first {count(shown)} of {count(n)}; sld leaderboard --json has all."
    return el("p", text, class_="hint") if n > shown else None
