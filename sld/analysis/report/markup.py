"""The report's own Markdown as HTML: headings, lists, tables, code, bold; every text in it is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sld.analysis.pages.html import Html, el, escape, join
from sld.analysis.pages.tables import table_of, th

_INLINE = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*")
_NUMBER = re.compile(r"[-−]?[\d.,]+(e[-+]?\d+)?( %)?", re.IGNORECASE)
_LONG = 16  # characters of a cell that may break
_ORDERED = re.compile(r"\d+\. ")


def inline(text: str) -> Html:
    """Return a line with its code and bold words as elements."""
    parts: list[object] = []
    begin = 0
    for match in _INLINE.finditer(text):
        parts.append(escape(text[begin : match.start()]))
        parts.append(el("code", match[1]) if match[1] is not None else el("b", inline(match[2])))
        begin = match.end()
    return join(*parts, escape(text[begin:]))


def html_of(lines: Sequence[str], name: str) -> Html:
    """Return lines of the report as elements.

    Args:
        lines: The lines, without their first heading.
        name: What they are about, for readers of the tables' names.
    """
    return join(*_blocks(list(lines), name))


def _blocks(lines: list[str], name: str) -> Iterator[Html]:
    at = 0
    names: list[str] = []

    def named() -> str:
        """Return a name that no other table of the page has."""
        about = f"{name}: {heading}" if heading else name
        n = sum(other == about for other in names)
        names.append(about)
        return about if n == 0 else f"{about} ({n + 1})"

    heading = ""

    def taken(prefix: str) -> list[str]:
        nonlocal at
        begin = at
        while at < len(lines) and lines[at].startswith(prefix):
            at += 1
        return lines[begin:at]

    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif line.startswith("```"):
            end = next((k for k in range(at + 1, len(lines)) if lines[k].startswith("```")), len(lines))
            yield el("pre", el("code", "\n".join(lines[at + 1 : end])), tabindex="0")
            at = end + 1
        elif line.startswith("#"):
            level = min(len(line) - len(line.lstrip("#")), 4)
            heading = line.lstrip("# ")
            yield el(f"h{level}", inline(heading))
            at += 1
        elif line.startswith("|"):
            yield _table(taken("|"), named())
        elif line.startswith("- "):
            yield el("ul", *(el("li", inline(item[2:])) for item in taken("- ")))
        elif line.startswith("> "):
            yield el("blockquote", el("p", inline(" ".join(item[2:] for item in taken("> ")))))
        elif _ORDERED.match(line):
            items = []
            while at < len(lines) and _ORDERED.match(lines[at]):
                items.append(el("li", inline(_ORDERED.sub("", lines[at], count=1))))
                at += 1
            yield el("ol", *items)
        else:
            yield el("p", inline(line))
            at += 1


def _cells(line: str) -> list[str]:
    # a bar inside a cell is written with a backslash
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _table(lines: list[str], name: str) -> Html:
    head, body = _cells(lines[0]), [_cells(line) for line in lines[2:]]
    width = len(head)
    numeric = [
        k > 0
        and bool(body)
        and all(_NUMBER.fullmatch(_bare(row[k])) or row[k] in ("", "-") for row in body if k < len(row))
        for k in range(width)
    ]
    rows = []
    for row in body:
        cells = [*row, *[""] * (width - len(row))][:width]
        first = el("th", inline(cells[0]), scope="row", class_=_kind(cells[0], False))
        others = zip(cells[1:], numeric[1:], strict=True)
        rows.append(el("tr", first, *(el("td", inline(cell), class_=_kind(cell, n)) for cell, n in others)))
    heads = [
        th(inline(text), None, kind="num" if n else None) if text else el("td")
        for text, n in zip(head, numeric, strict=True)
    ]
    return table_of(name, heads, rows, sortable=False, kind="data")


def _kind(cell: str, number: bool) -> str | None:
    """Return the class of a cell: a formula wants room, a number none."""
    return "num" if number else "long" if len(cell) > _LONG else None


def _bare(cell: str) -> str:
    return cell.replace("*", "").replace("`", "")
