"""HTML from values: whatever is not markup already is escaped, so nothing that a submission says becomes markup.

`el("td", name)` escapes `name`; only an `Html` goes in as it is. Characters that would hide or turn around what is
written (controls, bidirectional overrides) are shown by their number, and `said` isolates the direction of the rest.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

_VOID = frozenset({"meta", "link", "br", "img", "input"})
_SHAPES = frozenset({"path", "rect"})  # of SVG: closed as in XML
_URL = re.compile(r"https?://[A-Za-z0-9.\-]+(?::\d{1,5})?(?:[/?#][A-Za-z0-9\-._~:/?#@!$&()*+,;=%]*)?", re.IGNORECASE)
_MOST_URL = 2000
_PREPRINT = re.compile(r"arXiv:(\d{4}\.\d{4,5})(?!\d)")
# controls, invisible separators, what turns the direction of writing, lone surrogates, non-characters
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u180e\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\ufffe\uffff]"
    "|[\U000e0000-\U000e007f]"
)


class Html(str):
    """Markup: goes into a page as it is."""

    __slots__ = ()


def visible(text: str) -> str:
    """Return the text with characters that hide or reorder shown as `[U+202E]`."""
    return _HIDDEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)


def cut(text: str, most: int) -> str:
    """Return at most so many characters of a text, with an ellipsis where some are left out."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def escape(text: object) -> Html:
    """Return text as markup, safe inside elements and quoted attributes; `Html` comes back unchanged."""
    return text if isinstance(text, Html) else Html(html.escape(visible(str(text)), quote=True))


def join(*parts: object) -> Html:
    """Return the parts one after the other, escaped."""
    return Html("".join(escape(part) for part in parts if part is not None))


def el(tag: str, *children: object, **attributes: object) -> Html:
    """Return an element.

    Args:
        tag: Its name.
        *children: Text (escaped), markup (as it is), None (left out).
        **attributes: `class_` is `class`, `data_v` is `data-v`; True is an attribute without a value, False and None
            leave it out.
    """
    head = tag
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        # an Html as the value would be markup in a place where only text can stand
        head += f" {name}" if value is True else f' {name}="{html.escape(visible(str(value)), quote=True)}"'
    if tag in _VOID or tag in _SHAPES:
        return Html(f"<{head}>" if tag in _VOID else f"<{head}/>")
    return Html(f"<{head}>{join(*children)}</{tag}>")


def said(text: str, most: int = 300) -> Html:
    """Return what a submission says of itself, with its writing direction kept to itself."""
    return el("bdi", cut(text, most))


def safe_url(text: str) -> str | None:
    """Return a plain http or https address, or None for anything else (other schemes, credentials, odd characters)."""
    text = text.strip()
    if len(text) > _MOST_URL or not _URL.fullmatch(text):
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    return text if parts.hostname and port != 0 and "@" not in parts.netloc else None


def outward(url: str, label: str | None = None) -> Html:
    """Return a link that leaves the site, or the text alone where it is no plain http(s) address."""
    safe = safe_url(url)
    shown = said(label or re.sub(r"^https?://", "", url.strip(), flags=re.IGNORECASE), 120)
    return shown if safe is None else el("a", shown, href=safe, rel="nofollow noopener noreferrer external")


def cited(text: str, most: int = 300) -> Html:
    """Return a source with its preprints linked (`arXiv:2203.15556`)."""
    parts = _PREPRINT.split(cut(text, most))  # text, number, text, number, ..., text
    linked = [outward(f"https://arxiv.org/abs/{n}", f"arXiv:{n}") if k % 2 else escape(n) for k, n in enumerate(parts)]
    return el("bdi", *linked)


def words(name: str) -> Html:
    """Return a name that may break after each underscore."""
    return Html(escape(name).replace("_", "_<wbr>"))


# --- the page -------------------------------------------------------------------------------------------------------


@cache
def asset(name: str) -> str:
    """Return a style sheet or script of this folder."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _policy(style: str, script: str) -> str:
    # hashes and not 'self': a page opened from disk has no origin of its own that 'self' could mean
    return (
        f"default-src 'none'; style-src 'sha256-{_hash(style)}'; script-src 'sha256-{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' "
    "rx='3' fill='%231f5fa8'/%3E%3Cpath d='M3 3c1 6 4 9 10 9.500' fill='none' stroke='white' stroke-width='1.800' "
    "stroke-linecap='round'/%3E%3C/svg%3E"
)


def document(
    title: str, content: Html, *, generator: str, header: Html, footer: Html, style: str = "", script: str = ""
) -> str:
    """Return a whole page, one file that asks nothing of a network.

    Args:
        title: Of the window.
        content: What stands inside `<main>`.
        generator: What wrote the page.
        header: What stands above.
        footer: What stands below.
        style: A style sheet beside the common one.
        script: A script beside the common one.
    """
    styles, scripts = asset("page.css") + style, asset("page.js") + script
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_policy(styles, scripts)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("meta", name="generator", content=generator),
        el("title", cut(title, 200)),
        el("link", rel="icon", href=_ICON),
        el("style", Html(styles)),
    )
    body = el(
        "body",
        el("a", "Skip to content", href="#content", class_="skip"),
        header,
        el("main", content, id="content", tabindex="-1"),
        footer,
        el("script", Html(scripts)),
    )
    return "<!DOCTYPE html>\n" + el("html", head, "\n", body, lang="en") + "\n"
