"""A server on loopback that speaks OpenAI's chat completions and plays a script, good or bad.

    with Server([status(429, retry_after=1), reply("a*N**-b")]) as server:
        ...                     # ask server.url
        server.requests         # what was sent, in order

    Server(handler=lambda request: reply(request.prompt.upper()))      # instead of a script
    Server([reply("1")], then=reply("2"))                              # after the script: always this

`reply` streams by itself where the request asks for it. All waits end when the client goes away or the server closes.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Self


@dataclass(frozen=True)
class Request:
    """What the client sent; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    json: Any
    at: float

    @property
    def prompt(self) -> str:
        """All messages as one text."""
        return "\n".join(str(message.get("content")) for message in self.json["messages"])


@dataclass(frozen=True)
class Answer:
    """What the server does with one request."""

    code: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    completion: Mapping[str, Any] | None = None  # instead of a body: streamed or not, as asked
    wait_s: float = 0.0  # silence before anything is sent
    pause_s: float = 0.0  # between the pieces of a stream
    cut_after: int | None = None  # bytes of the body, or pieces of a stream, before `end`
    end: str = "whole"  # "whole" | "close" | "reset" | "hang"


Handler = Callable[[Request], Answer]


def reply(
    text: str | None = "",
    *,
    finish: str | None = None,
    usage: tuple[int, int] | None = (100, 10),
    tool_calls: Sequence[tuple[str, str]] = (),
    model: str = "scripted",
    message: Mapping[str, Any] | None = None,
    **answer: Any,
) -> Answer:
    """Return a completion; `tool_calls` are names with arguments as text, `message` adds raw fields to the message."""
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(tool_calls)
    ]
    body = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {}), **(message or {})}
    completion: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": body, "finish_reason": finish or ("tool_calls" if calls else "stop")}],
    }
    if usage is not None:
        completion["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Answer(completion=completion, **answer)


def status(
    code: int,
    message: str = "",
    *,
    param: str | None = None,
    error_code: str | None = None,
    retry_after: float | str | None = None,
    headers: Mapping[str, str] | None = None,
    **answer: Any,
) -> Answer:
    """Return an error as OpenAI's servers word it."""
    error = {"message": message or f"error {code}", "type": "error", "param": param, "code": error_code}
    wait = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Answer(code, json.dumps({"error": error}).encode(), headers={**wait, **(headers or {})}, **answer)


def retry_at(seconds: float) -> str:
    """Return an HTTP date that many seconds from now, for `status(429, retry_after=...)`."""
    return formatdate(time.time() + seconds, usegmt=True)


def loading() -> Answer:
    """Return what a llama.cpp server says while it reads its model."""
    error = {"message": "Loading model", "type": "unavailable_error", "code": 503}
    return Answer(503, json.dumps({"error": error}).encode())


def body(data: bytes | str, *, content_type: str = "application/json", code: int = 200, **answer: Any) -> Answer:
    """Return raw bytes, whatever they are."""
    return Answer(code, data.encode() if isinstance(data, str) else data, content_type, **answer)


def silence(seconds: float = 30.0) -> Answer:
    """Say nothing for so long, then answer."""
    return reply("late", wait_s=seconds)


def reset(after: int = 40, text: str = "a*N**-b + c, and much more that is lost") -> Answer:
    """Break the connection after so many bytes of the body (pieces, when streaming)."""
    return reply(text, cut_after=after, end="reset")


def stops(after: int = 2, text: str = "a*N**-b + c and more") -> Answer:
    """Stream so many pieces and then nothing more, with the connection left open."""
    return reply(text, cut_after=after, end="hang")


def huge(n_bytes: int = 5_000_000) -> Answer:
    """Return one very long text."""
    return reply("x" * n_bytes)


def empty_choices() -> Answer:
    """Return a completion without choices."""
    return body(json.dumps({"id": "1", "object": "chat.completion", "choices": [], "usage": None}))


class Server:
    """The server, in threads of this process; use it as a context."""

    def __init__(
        self,
        script: Sequence[Answer | Handler] = (),
        *,
        handler: Handler | None = None,
        then: Answer | Handler | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.script = list(script)
        self.handler = handler
        self.then = then
        self.connections = 0
        self.closing = threading.Event()
        self._gone = 0
        self._lock = threading.Condition()
        self._http = _Http(("127.0.0.1", 0), _Handler, self)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """The base URL for the client."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def bodies(self) -> list[Any]:
        """The JSON of all requests."""
        return [request.json for request in self.requests]

    def wait_for_disconnect(self, timeout_s: float = 2.0) -> bool:
        """Return whether a client has gone away in the middle of an answer, waiting for it if need be."""
        with self._lock:
            return self._lock.wait_for(lambda: self._gone > 0, timeout_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def next_answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            item: Answer | Handler | None = self.script.pop(0) if self.script else self.then
        if item is None:
            item = self.handler or status(410, "the script is over")
        return item if isinstance(item, Answer) else item(request)

    def gone(self) -> None:
        with self._lock:
            self._gone += 1
            self._lock.notify_all()


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # many calls at once are part of the play

    def __init__(self, address: tuple[str, int], handler: type[http.server.BaseHTTPRequestHandler], played: Server):
        self.played = played
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are part of the play."""


class _ClientGone(Exception):
    pass


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def setup(self) -> None:
        super().setup()
        self.server.played.connections += 1

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._play(None)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self._play(json.loads(data))
        except ValueError:
            self._play(data.decode("utf-8", "replace"))

    def _play(self, content: Any) -> None:
        played = self.server.played
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = played.next_answer(Request(self.command, self.path, headers, content, time.monotonic()))
        try:
            if self._wait(answer.wait_s):
                self._send(answer, streaming=isinstance(content, dict) and bool(content.get("stream")))
        except (_ClientGone, ConnectionError):
            played.gone()
            self.close_connection = True

    def _wait(self, seconds: float) -> bool:
        """Wait; return False when the server is closed meanwhile, raise when the client goes away."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.server.played.closing.is_set():
                self.close_connection = True
                return False
            readable, _, _ = select.select([self.connection], [], [], min(left, 0.02))
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise _ClientGone
        return True

    def _send(self, answer: Answer, *, streaming: bool) -> None:
        if answer.completion is not None and streaming:
            self._stream(answer)
            return
        data = answer.body if answer.completion is None else json.dumps(answer.completion).encode()
        self._head(answer, answer.content_type, {"Content-Length": str(len(data))})
        whole = answer.end == "whole" and answer.cut_after is None
        self.wfile.write(data if whole else data[: answer.cut_after])
        self.wfile.flush()
        if not whole:
            self._break_off(answer)

    def _stream(self, answer: Answer) -> None:
        assert answer.completion is not None
        self._head(answer, "text/event-stream", {"Transfer-Encoding": "chunked"})
        for i, piece in enumerate(pieces_of(answer.completion)):
            if i == answer.cut_after:
                self._break_off(answer)
                return
            if not self._wait(answer.pause_s):
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _head(self, answer: Answer, content_type: str, framing: Mapping[str, str]) -> None:
        self.send_response(answer.code)
        for name, value in {"Content-Type": content_type, **framing, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _break_off(self, answer: Answer) -> None:
        self.close_connection = True
        if answer.end == "hang":
            self._wait(60.0)
        elif answer.end == "reset":
            # what was sent has to arrive first: a reset throws away what the client has not read
            with contextlib.suppress(_ClientGone):
                self._wait(0.05)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


def pieces_of(completion: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield a completion as the server-sent events of a stream."""
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}

    def event(choices: list[Any], **more: Any) -> bytes:
        return b"data: " + json.dumps({**frame, "choices": choices, **more}).encode() + b"\n\n"

    for choice in completion["choices"]:
        message = choice["message"]
        more = {name: value for name, value in message.items() if name not in ("content", "tool_calls")}
        yield event([{"index": 0, "delta": {**more, "content": ""}, "finish_reason": None}])
        text = message.get("content") or ""
        size = max(8, len(text) // 50)
        for start in range(0, len(text), size):
            delta = {"content": text[start : start + size]}
            yield event([{"index": 0, "delta": delta, "finish_reason": None}])
        for i, call in enumerate(message.get("tool_calls", [])):
            arguments = call["function"]["arguments"]
            middle = len(arguments) // 2
            first = {**call, "index": i, "function": {**call["function"], "arguments": arguments[:middle]}}
            yield event([{"index": 0, "delta": {"tool_calls": [first]}, "finish_reason": None}])
            rest = {"index": i, "function": {"arguments": arguments[middle:]}}
            yield event([{"index": 0, "delta": {"tool_calls": [rest]}, "finish_reason": None}])
        yield event([{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}])
    if completion.get("usage"):
        yield event([], usage=completion["usage"])
    yield b"data: [DONE]\n\n"
