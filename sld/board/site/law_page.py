"""A law's page: scores, formula, constants, charts, where it came from, and how to derive it again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sld.analysis.pages.figures import MOST_TARGETS
from sld.analysis.pages.formulas import NONE, badge, constant, count, lines, r2, small
from sld.analysis.pages.html import Html, cited, cut, el, join, outward, said, visible
from sld.analysis.pages.laws import MOST_CONSTANTS, constants_of, formulas_of
from sld.board.site.commands import reproduce
from sld.board.site.page import page
from sld.board.site.places import Placed, Placement
from sld.laws.law import Law

_MOST_JSON = 250_000  # characters
_MOST_SOURCE = 60_000  # characters of a program


def law_page(place: Placement, placed: Placed) -> str:
    """Return the page of one law."""
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
        el("section", el("h2", "Formula"), *_formula_parts(placed), broken) if row.kind == "formula" else None,
        el("section", el("h2", "Beside the data"), *placed.figures, _not_drawn(law)) if placed.figures else None,
        el("section", el("h2", "Constants"), constants_of(law, MOST_CONSTANTS, placed.name))
        if law is not None
        else None,
        _program_section(entry.provenance) if row.kind == "program" else None,
        _origin_section(placed),
        _reproduce_section(placed),
        _json_section(entry.to_json()),
    )
    crumbs = (("Overview", "../../index.html"), (place.title, task_page), (placed.name, None))
    return page(f"{placed.name} · {place.title}", content, home="../../index.html", crumbs=crumbs)


def _score_panel(place: Placement, placed: Placed, task_page: str) -> Html:
    row, entry = placed.row, placed.row.entry
    assert entry is not None
    n = len(place.verified)
    rank = None if row.rank is None else f"{row.rank} of {n}"
    interval = None if row.r2_low is None or row.r2_high is None else f"{r2(row.r2_low)} to {r2(row.r2_high)}"
    train = entry.scores.get("train_nmse")
    tiles: list[tuple[str, str | None, str]] = [
        (
            "R² on held-out rows",
            "failed" if placed.failed else r2(row.r2),
            "pooled over groups; 1 is perfect" if place.grouped else "1 is perfect",
        ),
        ("90 % interval", interval, "held-out rows resampled"),
        ("R² within groups", r2(row.r2_within) if place.grouped else None, "mean over groups"),
        ("NMSE", small(row.nmse), "squared error over variance"),
        ("NMAE", small(row.nmae), "absolute error over deviation from the median"),
        ("ARE", small(row.are), "mean relative error"),
        ("NMSE, rows fitted to", small(train) if isinstance(train, float) else None, "what is left after the fit"),
        ("Complexity", count(row.complexity) if row.complexity is not None else None, "nodes of the formula"),
        ("Constants", count(row.n_constants) if row.n_constants is not None else None, "per group and target"),
        ("Place", rank, "among verified laws" if place.table.task is not None else "as recorded"),
    ]
    shown = [
        el("div", el("dt", name), el("dd", el("b", value), el("span", hint, class_="quiet")))
        for name, value, hint in tiles
        if value not in (None, NONE)
    ]
    task = el("p", "Task: ", el("a", said(place.title, 120), href=task_page), f", version {place.table.version}")
    return join(task, el("dl", *shown, class_="tiles"))


def _formula_parts(placed: Placed) -> Iterator[Html]:
    law, entry = placed.law, placed.row.entry
    assert entry is not None
    if law is not None:
        yield formulas_of(law)
        if len(law.groups) == 1 and len(law.targets) <= 3:
            yield el("p", "With its constants:", class_="hint")
            yield formulas_of(law, filled=True)
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


def _origin_section(placed: Placed) -> Html:
    entry = placed.row.entry
    assert entry is not None
    provenance = {k: v for k, v in entry.provenance.items() if k not in ("program", "command")}
    rows = [("Constants are", entry.constants_from), ("Made by", entry.tool)]
    rows += [(_spoken(key), value) for key, value in _flat(provenance)]
    shown = lines(*((name, cited(str(value), 400)) for name, value in rows if value not in (None, "")))
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


def _reproduce_section(placed: Placed) -> Html:
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
