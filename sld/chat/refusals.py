"""Why a server refused, in its own words and on one line, whatever it wrapped them in."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

_WORDS = ("message", "error_description", "detail", "msg", "reason", "error", "errors", "title", "description")
_KINDS = ("type", "code", "status")  # where there are no words: "overloaded_error" says more than a number
_DEEPEST = 6
_MOST = 20_000


def reason_of(body: Any, depth: int = 0) -> str:
    """Return the reason in the body of an error: decoded JSON of any shape, a page, or plain text; "" where none is.

    `{"error": {"message": "model not found"}}`, `[{"error": {...}}]`, `{"detail": [{"loc": [...], "msg": "..."}]}`,
    `{"errors": [...]}`, JSON within a message, and a proxy's page all give their sentence.
    """
    if depth > _DEEPEST:
        return ""
    if isinstance(body, str):
        return _of_text(body[:_MOST], depth)
    if isinstance(body, list):
        return "; ".join(dict.fromkeys(text for item in body[:3] if (text := reason_of(item, depth + 1))))
    if not isinstance(body, Mapping):
        return ""
    said = next((text for name in _WORDS if (text := reason_of(body.get(name), depth + 1))), "")
    place = body.get("loc")  # FastAPI: which field the sentence is about
    if said and isinstance(place, list):
        names = ".".join(str(part) for part in place if part != "body")
        return f"{names}: {said}" if names else said
    return said or next((str(body[k]) for k in _KINDS if isinstance(body.get(k), str) and body[k].strip()), "")


def _of_text(text: str, depth: int) -> str:
    text = text.strip()
    if text[:1] in ("{", "["):
        try:
            return reason_of(json.loads(text), depth + 1) or text
        except (ValueError, RecursionError):
            return text
    if re.match(r"<(!doctype|html|head|body|\?xml|h1|p|center)\b", text, flags=re.IGNORECASE):
        return _of_page(text)
    return text


def _of_page(page: str) -> str:
    """Return the title of a page and its first words."""
    found = re.search(r"<title[^>]*>(.*?)</title>", page, flags=re.IGNORECASE | re.DOTALL)
    title = _words(found[1]) if found else ""
    rest = re.sub(r"<(head|script|style)\b.*?(</\1>|$)", " ", page, flags=re.IGNORECASE | re.DOTALL)
    text = _words(re.sub(r"<title[^>]*>.*?</title>", " ", rest, flags=re.IGNORECASE | re.DOTALL))
    said = text if not title or text.startswith(title) else f"{title}: {text}" if text else title
    return f"a web page, {said!r}" if said else "a web page"


def _words(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>?", " ", markup)).split())
