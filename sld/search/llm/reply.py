"""What comes back from a call to a language model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ToolCall:
    """A tool the model wants called; `arguments` is text as it came, perhaps not JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Reply:
    """One answer, or why there is none.

    Attributes:
        status: Empty when `text` or `tool_calls` can be used, else one sentence.
        finish: Why the model stopped: "stop", "length", "tool_calls", ...; "cut" when the rest never came.
        tokens_in: Of the call with all its tries, estimated where the server did not say.
        cost_usd: By the price table; None when it has no price for the model.
        cached: Answered from the record of the run; nothing was paid.
        truncated: The text ends early.
        final: No later call can do better (wrong key, no such model, nothing left to spend): stop asking.
        estimated: The tokens are counted from characters, since the server did not say.
    """

    status: str = ""
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float | None = 0.0
    seconds: float = 0.0
    cached: bool = False
    truncated: bool = False
    final: bool = False
    estimated: bool = False
    tokens_cached: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return what a line of the record holds."""
        from dataclasses import asdict

        return asdict(self) | {"tool_calls": [asdict(call) for call in self.tool_calls]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reply:
        """Rebuild a reply; raises TypeError, KeyError or ValueError for what is none."""
        fields = dict(data)
        calls = tuple(ToolCall(str(c["id"]), str(c["name"]), str(c["arguments"])) for c in fields.pop("tool_calls"))
        return cls(tool_calls=calls, **fields)
