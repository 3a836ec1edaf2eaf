"""report.html: one discovery as a page for a colleague who only gets a link, or the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sld.analysis.pages.figures import law_figures
from sld.analysis.pages.formulas import count, r2
from sld.analysis.pages.html import Html, cut, document, el, join, said, words
from sld.analysis.pages.laws import MOST_CONSTANTS, constants_of, formulas_of
from sld.analysis.pages.tables import table_of, th
from sld.analysis.report import law as law_parts
from sld.analysis.report import origin, trust
from sld.analysis.report.decided import Decided, Tabled, decided
from sld.analysis.report.explorer import Explorable, curves_chart, data_block, residuals_chart
from sld.analysis.report.facts import Facts
from sld.analysis.report.markup import html_of, inline
from sld.analysis.report.text import capital, percent, typical
from sld.core.errors import SldError
from sld.core.version import __version__
from sld.data.table import Table

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.search.outcome import Discovery

PAGE_FILE = "report.html"
_TARGETS = 4  # whose charts can be explored; each has its curves, intervals and residuals in the page
_MOST_GROUPS = 12  # whose constants stand one by one beside their intervals


def report_page(
    found: Discovery, *, task: Task | None = None, held_out: Table | None = None, decisions: Sequence[object] = ()
) -> str:
    """Return the page.

    Args:
        found: The outcome of a search; its law should carry intervals.
        task: Where the rows came from.
        held_out: Rows that the search never saw.
        decisions: What was decided with the law, as `decided` reads it.

    Raises:
        UsageError: A decision is none.
    """
    told = [decided(one) for one in decisions]
    if held_out is not None and found.law.grouped:
        known = [g in found.law.groups for g in held_out.groups]
        held_out = held_out.take([known[g] for g in held_out.group_index.tolist()]) if any(known) else None
    facts = Facts(found, task, held_out)
    curves, residuals = _charts(facts)
    sections = [
        ("law", "The law", _law(facts)),
        ("chart", "Law, runs and intervals", join(*(chart.figure for chart in curves)) if curves else None),
        ("decisions", "Decisions", join(*(_decision(one) for one in told)) if told else None),
        ("constants", "Constants", _constants(facts)),
        ("trust", "Whether to believe it", _converted(_reasons(facts), "verdict")),
        ("folds", "How well it extrapolates", _converted(trust.extrapolation(facts), "errors beyond each cut")),
        ("residuals", "Residuals", _residuals(facts, residuals)),
        ("rivals", "Where the runners-up disagree", _converted(trust.beyond(facts), "predictions of the runners-up")),
        ("many", "One law out of many", _converted(law_parts.consensus(facts), "consensus")),
        ("checks", "Physical checks", _converted(trust.checks(facts), "checks")),
        ("firmness", "How firm the fit is", _converted(trust.firmness(facts), "fit")),
        ("search", "The search", _converted(origin.search(facts), "best form of each size")),
        ("model", "The language model", _converted(origin.model(facts), "the language model")),
        ("data", "The data", _data(facts)),
        ("reproduce", "How to reproduce it", _reproduce(facts)),
    ]
    shown = [(ident, heading, content) for ident, heading, content in sections if content]
    contents = [el("li", el("a", heading, href=f"#{ident}")) for ident, heading, _ in shown]
    body = join(
        el("section", *_head(facts), el("nav", el("ul", *contents, class_="contents"), aria_label="On this page")),
        *(el("section", el("h2", heading), content, id=ident) for ident, heading, content in shown),
        data_block([*curves, *residuals]),
    )
    title = f"Scaling law of {', '.join(t.column for t in facts.targets)}"
    return document(
        title,
        body,
        generator=f"sld {__version__}",
        header=el("header", el("span", "sld", el("span", " report"), class_="brand"), class_="top"),
        footer=el(
            "footer", el("p", f"Written by sld {__version__}. This page is one file: it asks nothing of a network.")
        ),
        style=_asset("report.css"),
        script=_asset("report.js"),
    )


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _head(facts: Facts) -> list[Html | None]:
    """Return title, verdict and what the law claims."""
    judged = facts.found.verdict
    names = join(*(join(", " if k else "", el("code", t.column)) for k, t in enumerate(facts.targets)))
    where = None
    if facts.task is not None:
        title, name = facts.task.card.title, facts.task.name
        where = el(
            "p", join(said(title, 200), " · ") if title else None, el("code", words(cut(name, 100))), class_="quiet"
        )
    kind = {"law": "law", "weak": "weak"}.get(judged.kind, "none")
    numbers = [
        (count(facts.table.n_rows), "runs fitted"),
        (count(facts.found.counts.get("tried", 0)), "formulas tried"),
    ]
    if (error := typical(facts.found.chosen.fold_errors)) == error:
        numbers.append((percent(error**0.5), "of the spread, typical error on larger runs"))
    if facts.scores is not None:
        value = "failed" if facts.scores.failed else r2(facts.scores.r2)
        numbers.append((f"R² {value}", f"on {facts.scores.n_rows} held-out runs"))
    stopped = "The search was interrupted before its budget was used; this is the best law until then."
    return [
        el("h1", "Scaling law of ", names),
        where,
        el("p", el("b", "Verdict: "), inline(judged.sentence), ".", class_=f"verdict {kind}"),
        el("p", inline(law_parts.claim(facts)), class_="lead") if judged.kind != "no law" else None,
        el("p", stopped, class_="empty") if facts.found.interrupted else None,
        el("ul", *(el("li", el("b", number), f" {name}") for number, name in numbers), class_="facts"),
    ]


def _law(facts: Facts) -> Html:
    law = facts.law
    filled = len(law.groups) == 1 and len(law.targets) <= 3
    parts: list[Html | None] = [formulas_of(law)]
    if filled:
        parts += [el("p", "With its constants:", class_="hint"), formulas_of(law, filled=True)]
    texts = dict.fromkeys(e.text for e in law.expressions.values())
    parts.append(el("p", "As text, in the grammar of ", el("code", "sld"), ":", class_="hint"))
    parts += [el("pre", el("code", text), tabindex="0") for text in list(texts)[:_TARGETS]]
    lines = [line for line in law_parts.formulas(facts) if line.startswith("|")]
    said_of_all = [
        line for line in law_parts.formulas(facts) if line.startswith(("All groups", "Held", "Groups", "Too few"))
    ]
    parts += [el("p", inline(line)) for line in said_of_all]
    parts.append(html_of(law_parts.summary(facts)[_after_claim(facts) :], "what the law says"))
    parts.append(html_of(lines, "Variables"))
    return join(*parts)


def _after_claim(facts: Facts) -> int:
    """Return where the summary goes on behind verdict and claim, which the head of the page has."""
    lines = law_parts.summary(facts)
    return next((k for k, line in enumerate(lines) if line.startswith("The formula has")), 0)


def _charts(facts: Facts) -> tuple[list[Explorable], list[Explorable]]:
    curves, residuals = [], []
    for j in range(min(len(facts.law.targets), _TARGETS)):
        try:
            found = curves_chart(facts.law, facts.table, j, facts.held, f"curves-{j}")
            left = residuals_chart(facts.law, facts.table, j, facts.held, f"left-{j}")
        except SldError:  # the law does not suit the rows
            continue
        curves += [] if found is None else [found]
        residuals += [] if left is None else [left]
    return curves, residuals


def _residuals(facts: Facts, charts: Sequence[Explorable]) -> Html | None:
    """Return the residuals, and measured against predicted values beside each other."""
    try:
        both = law_figures(facts.law, facts.table, facts.held, "the law", "fit")
    except SldError:
        both = ()
    return (
        join(*(chart.figure for chart in charts), el("details", el("summary", "Measured against predicted"), *both))
        or None
    )


def _constants(facts: Facts) -> Html:
    if len(facts.law.groups) > _MOST_GROUPS:
        many = constants_of(facts.law, MOST_CONSTANTS, "the law")
        text = f"Constants of {len(facts.law.groups)} groups"
        return join(_converted(law_parts.constants(facts), "constants"), el("details", el("summary", text), many))
    return _converted(law_parts.constants(facts), "constants") or join()


def _converted(lines: Sequence[str], name: str) -> Html | None:
    """Return a part of report.md as elements, without its heading."""
    rest = list(lines)
    if rest and rest[0].startswith("## "):
        rest = rest[1:]
    return html_of(rest, capital(name)) if any(line.strip() for line in rest) else None


def _reasons(facts: Facts) -> list[str]:
    """Return why the law is believed or not; the head of the page has the verdict itself."""
    return [line for line in trust.believed(facts) if not line.startswith("**")]


def _decision(one: Decided) -> Html:
    tables = [_decided_table(one.title, table) for table in one.tables]
    if tables and one.text:
        tables = [el("details", el("summary", "As a table" if len(tables) == 1 else "As tables"), *tables)]
    return join(
        el("h3", one.title),
        el("pre", el("code", one.text), class_="told", tabindex="0") if one.text else None,
        el("p", el("img", src=one.picture, alt=f"{one.title}, drawn")) if one.picture else None,
        *tables,
    )


def _decided_table(title: str, table: Tabled) -> Html:
    head = [th(name, None) for name in table.head]
    rows = [el("tr", el("th", row[0], scope="row"), *(el("td", cell) for cell in row[1:])) for row in table.rows]
    return table_of(table.name or title, head, rows, sortable=False, caption=bool(table.name), kind="data")


def _data(facts: Facts) -> Html:
    return join(_converted(origin.data(facts), "the data"))


def _reproduce(facts: Facts) -> Html:
    lines = origin.reproduce(facts)
    command = lines[lines.index("```bash") + 1]
    config = json.dumps(dict(facts.found.config), indent=2, sort_keys=True, ensure_ascii=False, default=str)
    holder = el("span", data_copy="command", data_what="the command", class_="copy")
    return join(
        el("div", el("pre", el("code", command), id="command", tabindex="0"), holder, class_="copyable"),
        el("p", inline(lines[-1])),
        el("details", el("summary", "The settings of the search"), el("pre", el("code", config), tabindex="0")),
    )
