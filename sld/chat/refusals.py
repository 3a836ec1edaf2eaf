"""Why a server refused, in its own words and on one line, whatever it wrapped them in."""

from __future__ import annotations

import html
import json
import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

# where servers put their sentence, the most telling first
_WORDS = ("message", "error_description", "detail", "msg", "reason", "error", "errors", "title", "description")
_KINDS = ("type", "code", "status")  # where there are no words: "overloaded_error" says more than a number
_DEEPEST = 6  # levels of JSON in JSON: a server may nest without an end
_MOST = 20_000  # characters that are looked at: a page may be megabytes


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


def parts_of(error: Any) -> tuple[int, str, str]:
    """Return code, message and field of an error as servers word it."""
    if not isinstance(error, Mapping):
        return 0, str(error), ""
    code = error.get("code")
    message = error.get("message") or error.get("detail") or error.get("error") or ""
    param = error.get("param")
    if isinstance(message, list):  # FastAPI: where each field stands, and what is wrong with it
        places = (item.get("loc") for item in message if isinstance(item, Mapping))
        names = [str(name) for place in places if isinstance(place, list) for name in place if name != "body"]
        param = param or (names[0] if names else "")
    text = message if isinstance(message, str) else json.dumps(message)
    return (code if type(code) is int else 0), text[:20_000], param[:200] if isinstance(param, str) else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a server asks to wait, given as seconds or as a date."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        try:
            seconds = float(value) * scale
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, TypeError, IndexError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


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
