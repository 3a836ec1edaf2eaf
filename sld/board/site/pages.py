"""All pages of a site."""

from __future__ import annotations

from collections.abc import Iterator

from sld.board.entries.standings import Standings
from sld.board.site.law_page import law_page
from sld.board.site.overview import overview
from sld.board.site.places import place_of
from sld.board.site.task_page import task_page


def site(standings: Standings) -> Iterator[tuple[str, str]]:
    """Yield every page: its path below the site's folder, with forward slashes, and its text."""
    taken: set[str] = set()
    places = [place_of(table, taken) for table in standings.tasks]
    yield "index.html", overview(standings, places)
    for place in places:
        yield f"tasks/{place.stem}.html", task_page(place)
        for placed in place.verified:
            yield f"laws/{place.stem}/{placed.stem}.html", law_page(place, placed)
