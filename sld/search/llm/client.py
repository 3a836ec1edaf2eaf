"""Asks a language model behind any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sld.search.llm.ledger import Ledger
from sld.search.llm.record import Record
from sld.search.llm.reply import Reply as Reply
from sld.search.llm.reply import ToolCall as ToolCall


@dataclass(frozen=True)
class Settings:
    """Which model, and how it is asked.

    Attributes:
        base_url: None is OpenAI's.
        timeout_s: For one try, from sending to the last byte.
        idle_s: The longest silence within a reply that has begun.
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


class Chat:
    """One conversation partner: never raises for anything a server does; cancelling a call closes its connection."""

    def __init__(
        self, settings: Settings, *, api_key: str, ledger: Ledger, record: Record, stream: bool = False
    ) -> None:
        """Keep what is needed; the `openai` package is imported and a connection made with the first call."""
        raise NotImplementedError

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        schema: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        turn: int | None = None,
        within_s: float | None = None,
    ) -> Reply:
        """Ask, with tries and waits taking `within_s` seconds at most; `turn` goes into the record."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close all connections."""
        raise NotImplementedError


def from_environment(model: str) -> tuple[Settings, str]:
    """Return settings and key from OPENAI_BASE_URL and OPENAI_API_KEY; raises UsageError where there is no key."""
    raise NotImplementedError
