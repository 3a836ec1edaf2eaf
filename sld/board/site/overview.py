"""The overview: who leads over all tasks, and a card for each."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from sld.analysis.pages.formulas import badge, cell, count, r2
from sld.analysis.pages.html import Html, cut, el, join, said, words
from sld.analysis.pages.tables import MOST_ROWS, left_out, table_of, th, tools
from sld.board.entries.markdown import short_name, suite_title
from sld.board.entries.standings import REPORTED, OverallRow, Standings
from sld.board.site.page import page
from sld.board.site.places import Placement


def overview(standings: Standings, places: Sequence[Placement]) -> str:
    """Return the first page."""
    here = [place for place in places if place.table.task is not None]
    elsewhere = [place for place in places if place.table.task is None]
    n_laws = sum(len(place.verified) for place in here)
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
        submit_section("TASK"),
    )
    return page("sld leaderboard", content, home="index.html")


def _overall_sections(rows: Sequence[OverallRow], places: Sequence[Placement], *, reported: bool) -> Iterator[Html]:
    stems = {place.table.name: place.stem for place in places}
    chosen = [row for row in rows if (row.label == REPORTED) == reported]
    if not chosen and not reported:
        yield el(
            "section",
            el("h2", "Overall, verified"),
            el("p", "No name has verified laws on several tasks yet. ", how_to_submit("TASK"), class_="empty"),
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
        th("Name", "text"),
        th("Mean R²", "number", first="descending"),
        th("Tasks", "number", first="descending"),
        *(th(_task_heading(t, tasks, suite, stems), "number", first="descending") for t in tasks),
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
        tools(len(body)),
        table_of(heading, head, body, kind="matrix"),
        left_out(len(rows), len(body)),
        class_="reported" if reported else None,
    )


def _task_heading(name: str, names: Sequence[str], suite: str, stems: Mapping[str, str]) -> Html:
    bare = {name: name.removeprefix(f"{suite}_") if suite else name for name in names}
    shown = words(cut(short_name(bare[name], list(bare.values())), 60))
    # the sort button takes the heading's place in the tab order, so the link to the task is in its card
    return el("span", shown, title=name) if name in stems else shown


def _cards(heading: str, places: Sequence[Placement]) -> Html:
    empty = el("p", "There are no tasks here.", class_="empty") if not places else None
    return el(
        "section",
        el("h2", heading),
        empty,
        el("ul", *(_card(place) for place in places), class_="cards") if places else None,
    )


def _card(place: Placement) -> Html:
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
    # without the rows nothing was checked
    kind = "law recorded" if table.task is None else "verified law"
    many = "laws recorded" if table.task is None else "verified laws"
    numbers = [count(len(place.verified), kind, many)] if place.verified or table.task is not None else []
    numbers += [f"{len(place.reported)} reported"] if place.reported else []
    return el(
        "li",
        el("h3", el("a", said(place.title, 120), href=f"tasks/{place.stem}.html")),
        el("p", el("code", words(cut(table.name, 100))), class_="quiet") if place.title != table.name else None,
        leader,
        el("p", " · ".join(part for part in (rows, *numbers) if part), class_="quiet"),
    )


def _problems(problems: Sequence[str]) -> Html | None:
    if not problems:
        return None
    items = [el("li", said(problem, 400)) for problem in problems[:50]]
    more = el("p", f"and {count(len(problems) - 50)} more", class_="quiet") if len(problems) > 50 else None
    return el("section", el("h2", "Files that were left out"), el("ul", *items), more)


def submit_section(task: str) -> Html:
    """Return the section that says how a law of the reader's gets onto this site."""
    name = "TASK" if task == "TASK" else shlex.quote(task)
    given = [
        ("A formula, whose constants are fitted for you:", f'sld submit "E + A*N**-a" --task {name} --name "my law"'),
        ("A run folder of a search, or a law.json:", f'sld submit RUN_DIR --task {name} --name "my law"'),
        ("A program that fits itself and predicts bare points:", f'sld submit law.py --task {name} --name "my law"'),
    ]
    commands = []
    for k, (what, command) in enumerate(given):
        holder = el("span", data_copy=f"submit-{k}", data_what="the command", class_="copy")
        code = el("pre", el("code", command), id=f"submit-{k}", tabindex="0")
        commands += [el("p", what, class_="hint"), el("div", code, holder, class_="copyable")]
    last = join(
        "Each writes one file among the submissions. ", el("code", "sld leaderboard verify"), " computes it again, as "
        "it does for every row here; ", el("code", "leaderboard/README.md"), " has the rules and how to send it in.",
    )  # fmt: skip
    return el("section", el("h2", "Submit yours"), *commands, el("p", last), id="submit")


def how_to_submit(task: str) -> Html:
    """Return a hint for where nothing stands yet."""
    return join("To add one: ", el("code", f'sld submit "E + A*N**-a" --task {shlex.quote(task)} --name "..."'))
