"""Which model is asked, where and how; and what of it comes from the environment."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from sld.core.errors import UsageError


@dataclass(frozen=True)
class ChatSettings:
    """Which model, and how it is asked.

    Examples:
        A local server; all else is as for OpenAI's.

        >>> ChatSettings("smollm2", base_url="http://127.0.0.1:8080/v1", max_tokens=500).timeout_s
        60.0

    Attributes:
        base_url: None is OpenAI's.
        timeout_s: For one try, from sending to the last byte.
        idle_s: The longest silence within a streamed reply that has begun.
        max_retries: Tries after the first.
        backoff_s: The first wait between tries; it doubles each time, with jitter.
        max_wait_s: The longest wait that a server's Retry-After may ask for.
        max_reply_bytes: More is cut off.
        seed: Sent to the server where given, and the seed of the jitter.
    """

    model: str
    base_url: str | None = None
    timeout_s: float = 60.0
    max_retries: int = 5
    max_tokens: int = 4096
    temperature: float | None = 0.8
    seed: int | None = None
    idle_s: float = 30.0
    backoff_s: float = 0.5
    max_wait_s: float = 120.0
    max_reply_bytes: int = 2_000_000


def from_environment(model: str) -> tuple[ChatSettings, str]:
    """Return settings and key from OPENAI_BASE_URL and OPENAI_API_KEY.

    Raises:
        UsageError: There is no key, or one of them cannot be used.
    """
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        raise UsageError(
            "--llm needs a key: set OPENAI_API_KEY (for a local server also OPENAI_BASE_URL, and any word as the key)"
        )
    settings = ChatSettings(model=model, base_url=os.environ.get("OPENAI_BASE_URL", "").strip() or None)
    check(settings, key)
    return settings, key


def check(settings: ChatSettings, key: str) -> None:
    """Refuse what cannot work before anything is sent; raises UsageError."""
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError("the key (OPENAI_API_KEY) has characters that no key has; was something else pasted with it?")
    if not settings.model.strip() or not settings.model.isprintable():
        raise UsageError(f"--llm wants the name of a model, got {settings.model[:80]!r}")
    if settings.base_url is not None:
        wanted = "OPENAI_BASE_URL wants an address such as http://127.0.0.1:8080/v1"
        try:
            parts = urlsplit(settings.base_url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            good = False
        if not good:
            raise UsageError(f"{wanted}, got {settings.base_url[:80]!r}")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError(f"{wanted}, without user, password, '?' or '#'")
    if importlib.util.find_spec("openai") is None:
        raise UsageError("asking a language model needs the openai package: pip install 'sld[llm]'")
