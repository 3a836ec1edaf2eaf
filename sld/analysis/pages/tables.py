"""Tables that sort and search, in frames that scroll by themselves."""

from __future__ import annotations

from collections.abc import Sequence

from sld.analysis.pages.formulas import count
from sld.analysis.pages.html import Html, el, join

MOST_ROWS = 400  # of a table on a page


def th(
    text: object, sort: str | None, *, first: str | None = None, now: str | None = None, kind: str | None = None
) -> Html:
    """Return the head of a column.

    Args:
        text: The heading.
        sort: "number" or "text" when the column sorts.
        first: Direction of the first click, when it is not ascending.
        now: Direction in which the rows stand as they come.
        kind: Class of a column that does not sort.
    """
    kind = "num" if sort == "number" else kind
    return el("th", text, scope="col", class_=kind, data_sort=sort, data_first=first, aria_sort=now)


def table_of(
    name: str,
    head: Sequence[Html | None],
    body: Sequence[Html],
    *,
    sortable: bool = True,
    caption: bool = False,
    kind: str = "",
) -> Html:
    """Return a table with its name, which is shown as a caption only where the page does not say it already."""
    table = el(
        "table",
        el("caption", name, class_=None if caption else "hidden"),
        el("thead", el("tr", *head)),
        el("tbody", Html("\n".join(body))),
        class_=f"{'sortable' if sortable else ''} {kind}".strip() or None,
    )
    # what does not fit scrolls inside its frame, not the page; a frame that scrolls has to be reachable by keyboard
    return el("div", table, class_="frame", tabindex="0", role="region", aria_label=name)


def tools(n: int) -> Html:
    """Return the search field of a section and the place where results are announced."""
    field = el("label", "Search ", el("input", type="search", autocomplete="off", spellcheck="false"))
    tools = el("div", field, class_="tools", hidden=True) if n > 1 else None
    return join(tools, el("p", role="status", class_="status"))


def left_out(n: int, shown: int) -> Html | None:
    """Return a hint where a table ends before its rows do."""
    text = f"The first {count(shown)} of {count(n)}; sld leaderboard --json has all."
    return el("p", text, class_="hint") if n > shown else None
