"""What a task says of itself: columns, rows, licence, provenance, defects, published laws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sld.analysis.pages.formulas import count, lines, small
from sld.analysis.pages.html import Html, cited, el, join, outward, safe_url, said, words
from sld.analysis.pages.tables import MOST_ROWS, table_of, th
from sld.board.site.places import Placement


def data_card(place: Placement) -> Html | None:
    """Return the section on a task's data; None where there is no card."""
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
    head = [th(name, None) for name in ("Column", "Role", "Meaning", "Unit", "Known of it")]
    task = place.table.task
    train = None if task is None else count(task.train.n_rows)
    grouped = None
    if card.group is not None:
        n = "" if task is None else f", {count(len(task.train.groups), 'group')}"
        grouped = join(el("code", words(card.group)), n, f": {card.group_meaning}" if card.group_meaning else "")
    paper = join(*(el("div", f"{key}: ", _paper(key, value)) for key, value in sorted(card.paper.items()))) or None
    facts = lines(
        ("A row is", said(card.row, 300) if card.row else None),
        ("Rows to fit", train),
        ("Held-out rows", None if place.held_out is None else count(place.held_out.n_rows)),
        ("Held out", said(card.extrapolation, 500) if card.extrapolation else None),
        ("Groups", grouped),
        ("Constants allowed", f"{card.max_constants} per group and target"),
        ("Cost of a row", el("code", card.cost) if card.cost else None),
        ("Licence", said(card.licence, 200) if card.licence else None),
        ("Provenance", cited(card.provenance, 600) if card.provenance else None),
        ("Paper", paper),
    )
    notes = [*card.notes, *(task.train.notes if task is not None else ())]
    defects = el("ul", *(el("li", said(note, 500)) for note in notes[:60])) if notes else None
    laws = [
        el("li", el("b", said(law.name)), join(": ", cited(law.source)) if law.source else None)
        for law in card.laws[:60]
    ]
    return el(
        "section",
        el("h2", "The data"),
        table_of("Columns", head, [*targets, *variables], sortable=False),
        facts,
        join(el("h3", "Defects and remarks"), defects) if defects else None,
        join(el("h3", "Published laws for it"), el("ul", *laws)) if laws else None,
        class_="data",
    )


def _paper(key: str, value: Any) -> Html:
    text = str(value)
    if isinstance(value, list | tuple):
        text = ", ".join(map(str, value))
    if key.lower() == "arxiv" and text[:4].isdigit():
        text = f"arXiv:{text}"
    return outward(text) if safe_url(text) else cited(text)


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
