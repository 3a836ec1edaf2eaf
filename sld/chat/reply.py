"""What comes back from a call to a language model, and how it is gathered from a body or a stream, whole or not.

A server may send anything: every field is checked where it is read, and what makes no sense is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_MAX_CALLS = 128  # tool calls in one reply: an index of a stream may be any number


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

    Examples:
        >>> reply = Reply(text="E + A*N**-a", tokens_in=100, tokens_out=8)
        >>> Reply.from_json(reply.to_json()) == reply
        True
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
        return asdict(self) | {"tool_calls": [asdict(call) for call in self.tool_calls]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reply:
        """Rebuild a reply; raises TypeError or KeyError for what is none."""
        fields = dict(data)
        for name, value in fields.items():
            if name != "tool_calls" and not isinstance(value, _KINDS[name]):
                raise TypeError(f"{name} is {value!r:.40}")
        calls = tuple(ToolCall(str(c["id"]), str(c["name"]), str(c["arguments"])) for c in fields.pop("tool_calls"))
        return cls(tool_calls=calls, **fields)


_TEXT, _WHOLE, _NUMBER = (str,), (int,), (int, float)
_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("status", "text", "finish"), _TEXT),
    **dict.fromkeys(("tokens_in", "tokens_out", "tokens_cached"), _WHOLE),
    **dict.fromkeys(("cached", "truncated", "final", "estimated"), (bool,)),
    "seconds": _NUMBER,
    "cost_usd": (*_NUMBER, type(None)),
}


@dataclass(frozen=True)
class Usage:
    """Tokens as the server counted them."""

    tokens_in: int
    tokens_out: int
    tokens_cached: int


@dataclass
class _PartialCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class Gathering:
    """Collects one answer of the server, piece by piece, up to `max_bytes` of text.

    Examples:
        >>> gathering = Gathering(streaming=False, max_bytes=1000)
        >>> gathering.feed(b'{"choices": [{"message": {"content": "E + A*N**-a')  # and there the connection broke
        >>> gathering.end()
        >>> gathering.text, gathering.cut
        ('E + A*N**-a', True)
    """

    def __init__(self, *, streaming: bool, max_bytes: int) -> None:
        """Expect server-sent events where `streaming`, else one JSON document."""
        self.streaming = streaming
        self.text = ""
        self.refusal = ""
        self.finish = ""
        self.usage: Usage | None = None
        self.error: Mapping[str, Any] | None = None
        self.garbage = ""  # what was no JSON
        self.choices = 0
        self.thought = False  # there was reasoning beside the text
        self.cut = False  # more came than is kept, or less than was meant
        self.size = 0  # characters of text and arguments
        self.done = False
        self._max_bytes = max_bytes
        self._pieces: list[str] = []
        self._calls: dict[int, _PartialCall] = {}
        self._buffer = bytearray()
        self._searched = 0
        self._begun = False
        self._events = 0
        self._head = b""

    @property
    def full(self) -> bool:
        """Whether nothing more is wanted."""
        return self.cut or (self.streaming and self.done)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that have a name."""
        calls = ((i, call) for i, call in sorted(self._calls.items()) if call.name)
        return tuple(ToolCall(c.id or f"call_{i}", c.name, "".join(c.arguments)) for i, c in calls)

    @property
    def usable(self) -> bool:
        """Whether there is text or a tool call."""
        return bool(self.text.strip() or self.tool_calls)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data
        self._head = self._head or data[:200]
        if self.streaming and not self._begun:
            # a server may answer with a document or a page although a stream was asked for
            self._begun = bool(self._buffer.strip())
            self.streaming = not self._buffer.lstrip().startswith((b"{", b"[", b"<"))
        if self.streaming:
            while (end := self._buffer.find(b"\n", self._searched)) >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                self._event(line.rstrip(b"\r"))
                if self.full:
                    return
            self._searched = len(self._buffer)
        if len(self._buffer) > self._max_bytes or self.size > self._max_bytes:
            self.cut = True

    def end(self) -> None:
        """Say that no more bytes come, wanted or not; what came is then in `text` and `tool_calls`."""
        body = bytes(self._buffer[: self._max_bytes])
        if self.streaming:
            self._event(body.rstrip())
            if not self._events:
                self.garbage = self._head.decode("utf-8", "replace") or "nothing"
        else:
            try:
                self._document(json.loads(body.decode("utf-8", "replace")))
                self.done = True
                self.cut = False
            except (ValueError, RecursionError):
                self._add(_content_of_broken(body))
                self.garbage = body[:200].decode("utf-8", "replace") or "nothing"
        self.cut = self.cut or not (self.done or self.finish)
        self.text = "".join(self._pieces)

    def _event(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        self._events += 1
        data = line[5:].strip()
        if data == b"[DONE]":
            self.done = True
            return
        try:
            self._document(json.loads(data.decode("utf-8", "replace")))
        except (ValueError, RecursionError):
            self._add(_content_of_broken(data))
            self.garbage = self.garbage or data[:200].decode("utf-8", "replace")

    def _document(self, document: Any) -> None:
        if not isinstance(document, Mapping):
            self.garbage = str(document)[:200]
            return
        if document.get("error"):
            error = document["error"]
            self.error = error if isinstance(error, Mapping) else {"message": str(error)}
        self.usage = _usage(document.get("usage")) or self.usage
        choices = document.get("choices")
        for choice in choices[:1] if isinstance(choices, list) else ():
            if isinstance(choice, Mapping):
                self.choices += 1
                self._message(choice.get("delta" if self.streaming else "message") or choice.get("message"))
                if isinstance(choice.get("finish_reason"), str):
                    self.finish = choice["finish_reason"][:40]

    def _message(self, message: Any) -> None:
        if not isinstance(message, Mapping):
            return
        self._add(_text_of(message.get("content")))
        self.refusal = (self.refusal + _text_of(message.get("refusal")))[:1000]
        self.thought = self.thought or bool(message.get("reasoning_content") or message.get("reasoning"))
        calls = message.get("tool_calls")
        for position, call in enumerate(calls[:_MAX_CALLS] if isinstance(calls, list) else ()):
            if isinstance(call, Mapping):
                self._call(call, position)
        if isinstance(message.get("function_call"), Mapping):  # servers of 2023
            self._call({"function": message["function_call"]}, 0)

    def _call(self, call: Mapping[str, Any], position: int) -> None:
        index = call.get("index")
        function = call.get("function")
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < _MAX_CALLS:
            index = position
        if not isinstance(function, Mapping):
            return
        partial = self._calls.setdefault(index, _PartialCall())
        partial.id = partial.id or _short(call.get("id"))
        partial.name = partial.name or _short(function.get("name"))
        arguments = function.get("arguments")
        if arguments is not None:
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            self.size += len(text)
            partial.arguments.append(text)

    def _add(self, text: str) -> None:
        if text:
            self._pieces.append(text[: max(0, self._max_bytes - self.size)])
            self.size += len(text)


def _short(value: Any) -> str:
    return value[:200] if isinstance(value, str) else ""


def _text_of(content: Any) -> str:
    """Return a message's text, which some servers send in parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (p.get("text") if isinstance(p, Mapping) else p for p in content)
        return "".join(p for p in parts if isinstance(p, str))
    return ""


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, Mapping):
        return None
    tokens_in, tokens_out = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if not tokens_in or tokens_out is None:
        return None  # some servers send zeros for "not counted"
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, Mapping) else None
    return Usage(tokens_in, tokens_out, min(cached or 0, tokens_in))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None


def _content_of_broken(body: bytes) -> str:
    """Return what is there of the content in a JSON document that ends too early."""
    match = re.search(rb'"(?:message|delta)"\s*:.*?"content"\s*:\s*"((?:[^"\\]++|\\.)*+)', body, flags=re.DOTALL)
    if match is None:
        return ""
    text = match[1].decode("utf-8", "ignore")
    for end in range(6):  # an escape such as \\u00e9 may be cut in the middle
        try:
            return str(json.loads(f'"{text[: len(text) - end]}"', strict=False))
        except ValueError:
            continue
    return ""
