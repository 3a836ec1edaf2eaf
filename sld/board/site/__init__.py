"""The static site of a leaderboard: pages that open from disk, with no network and nothing to run but a sort.

`sld leaderboard --html DIR` writes an overview, a page per task and a page per law. Every page is one file: its style
and script stand inside, allowed by their hash, and everything else is forbidden by the page's own policy.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sld.board.entries.standings import Standings
from sld.core.errors import UsageError
from sld.core.files import write_text_atomic

MARKER = ".sld-site"
_HEAD = "Pages written by `sld leaderboard --html`; those listed here are replaced or removed by the next one.\n"
_OWN = re.compile(r"index\.html|tasks/[\w-]+\.html|laws/[\w-]+/[\w-]+\.html", re.ASCII)
_SIGN = '<meta name="generator" content="sld leaderboard">'


def write_site(standings: Standings, folder: Path) -> list[Path]:
    """Write the site, page by page, and return the pages.

    Pages of an earlier site are replaced, or removed when nothing stands behind them any more; other files are left
    alone. The same standings give the same bytes.

    Args:
        standings: What to show; all text in it counts as foreign.
        folder: A new or empty folder, or one that holds an earlier site.

    Raises:
        UsageError: The folder holds something else, or cannot be written to.
    """
    from sld.board.site.pages import site

    folder = Path(folder)
    earlier = _earlier_pages(folder)
    pages = list(site(standings))
    paths = [name for name, _ in pages]
    # the list of pages comes first: a site that was stopped halfway is still known as one
    _make(folder)
    write_text_atomic(folder / MARKER, _HEAD + "".join(f"{name}\n" for name in sorted({*paths, *earlier})))
    for name, text in pages:
        _make((folder / name).parent)
        write_text_atomic(folder / name, text)
    for name in earlier:
        if name not in paths:
            _remove(folder, name)
    write_text_atomic(folder / MARKER, _HEAD + "".join(f"{name}\n" for name in sorted(paths)))
    return [folder / name for name in paths]


def _earlier_pages(folder: Path) -> list[str]:
    """Return the pages of the site that is there; raises UsageError if something else is."""
    try:
        if not folder.exists():
            return []
        if not folder.is_dir():
            raise UsageError(f"wanted a folder for the site, got the file {folder}")
        if (folder / MARKER).is_file():
            listed = (folder / MARKER).read_text(encoding="utf-8", errors="replace").splitlines()
            return [name for name in listed if _OWN.fullmatch(name)]
        found = next(iter(sorted(os.listdir(folder))), None)
    except OSError as error:
        raise UsageError(f"could not read {folder}: {error.strerror or error}") from error
    except ValueError as error:  # a path with a null byte
        raise UsageError(f"could not read {str(folder)!r}: {error}") from error
    if found is not None:
        raise UsageError(f"{folder} holds other files ({found!r} for one) and no earlier site; name a new folder")
    return []


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"could not make folder {folder}: {error.strerror or error}") from error


def _remove(folder: Path, name: str) -> None:
    """Remove a page of an earlier site, and its folder when that was the last one."""
    path = folder / name
    try:
        if path.is_file() and _SIGN in path.read_text(encoding="utf-8", errors="replace")[:6000]:
            path.unlink()
            if path.parent != folder and not any(path.parent.iterdir()):
                path.parent.rmdir()
    except OSError as error:
        raise UsageError(f"could not remove {path}: {error.strerror or error}") from error
