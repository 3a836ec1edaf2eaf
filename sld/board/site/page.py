"""The frame of every page of the site: the way to here above, and what the numbers are below."""

from __future__ import annotations

from sld.analysis.pages.html import Html, cut, document, el

GENERATOR = "sld leaderboard"


def page(title: str, content: Html, *, home: str, crumbs: tuple[tuple[str, str | None], ...] = ()) -> str:
    """Return a whole page.

    Args:
        title: Of the window.
        content: What stands inside `<main>`.
        home: Relative address of the overview.
        crumbs: The way from the overview to here, as (name, address); the last has None.
    """
    trail = [el("li", el("a", cut(name, 60), href=href)) for name, href in crumbs if href is not None]
    trail += [el("li", el("bdi", cut(name, 60)), aria_current="page") for name, href in crumbs if href is None]
    header = el(
        "header",
        el("a", "sld", el("span", " leaderboard"), href=home, class_="brand"),
        el("nav", el("ol", *trail), aria_label="Breadcrumb") if trail else None,
        el("a", "Submit yours", href="#submit", class_="submit") if 'id="submit"' in content else None,
        class_="top",
    )
    footer = el(
        "footer",
        el(
            "p",
            "Every verified number was derived from the task's rows by ",
            el("code", "sld"),
            "; ",
            el("code", "sld leaderboard verify"),
            " does it again.",
        ),
    )
    return document(title, content, generator=GENERATOR, header=header, footer=footer)
