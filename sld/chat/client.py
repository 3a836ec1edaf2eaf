"""Asks a language model behind any endpoint that speaks OpenAI's chat completions.

Nothing that a server does raises: what cannot be used is a `Reply` whose status says why in one sentence.
The key goes to the configured server and nowhere else: redirects are not followed, plain http takes no proxy, and it is
cut out of every text that a server sends back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import random
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sld.chat.fields import Fields
from sld.chat.ledger import Booking, Ledger, Reservation
from sld.chat.record import Record
from sld.chat.refusals import parts_of, reason_of, retry_after
from sld.chat.reply import Gathering, Reply
from sld.chat.reply import ToolCall as ToolCall
from sld.chat.settings import ChatSettings, check
from sld.core.errors import UsageError

if TYPE_CHECKING:
    import httpx2
    import openai

# no later call can do better, whatever is changed in it
_FINAL = {401: "the server refuses the key", 403: "the server refuses access", 402: "the account has no credit"}
_RETRIED = (408, 409, 425, 429)  # what passes by itself; so does 500 and above
_MAX_PAID_TRIES = 3  # of those that time out or break, since each may have been paid for
_SECRET_LENGTH = 8  # shorter keys are words for local servers ("none", "EMPTY"), and may stand in any text


class _Secret:
    """The key, kept from every text."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __repr__(self) -> str:
        return "[key]"

    def clean(self, text: str) -> str:
        """Return `text` without the key, and as text that can be written to a file."""
        if len(self.key) >= _SECRET_LENGTH:
            text = text.replace(self.key, "[key]")
        return text.encode("utf-8", "replace").decode("utf-8")

    def line(self, text: str, length: int = 200) -> str:
        """Return the beginning of `text` on one printable line, without the key or what looks like one."""
        text = re.sub(r"\b(sk|key)-[\w*.-]{6,}", "[key]", self.clean(text[:20_000]))
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:length]


@dataclass(frozen=True)
class _Failure:
    """Why a try brought nothing."""

    sentence: str
    retry: bool = False
    final: bool = False
    unpaid: bool = False  # no model has worked for it
    wait_s: float | None = None  # what the server asks for
    code: int = 0
    message: str = ""  # the server's, for what it says of the fields
    param: str = ""


@dataclass
class _Call:
    """One call on its way, with all its tries."""

    started: float
    until: float
    tries: int = 0
    lost_in: int = 0  # tokens of tries that brought nothing
    lost_out: int = 0
    on_its_way: Gathering | None = None
    reservation: Reservation | None = None
    notes: list[str] = field(default_factory=list)


class Chat:
    """One model behind one endpoint: never raises for anything a server does; a cancelled call closes its connection.

    Examples:
        Settings and key from the environment, the record in a file::

            settings, key = from_environment("gpt-5-mini")
            chat = Chat(settings, api_key=key, ledger=Ledger(), record=Record("exchange.jsonl"))
            reply = await chat.ask([{"role": "user", "content": "Which law does a loss follow?"}])

    It belongs to the event loop of its first call. Calls may run side by side.
    """

    def __init__(
        self, settings: ChatSettings, *, api_key: str, ledger: Ledger, record: Record, stream: bool = False
    ) -> None:
        """Check what is given; `openai` is imported and a connection made with the first call.

        Raises:
            UsageError: Key, model or address cannot be used, or the package is not installed.
        """
        check(settings, api_key)
        self.settings = settings
        self.fields = Fields(max_tokens=settings.max_tokens)
        self._secret = _Secret(api_key)
        self._ledger = ledger
        self._record = record
        self._stream = stream
        self._random = random.Random(settings.seed or 0)
        self._client: openai.AsyncOpenAI | None = None
        self._tokens_per_byte: list[float] = []  # as counted by the server

    @property
    def host(self) -> str:
        """The server's address, for messages."""
        return urlsplit(self.settings.base_url).netloc if self.settings.base_url else "api.openai.com"

    def estimate(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        schema: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> tuple[int, float | None]:
        """Return the tokens of a prompt and the most that the call may cost, answer included."""
        tokens = self._at_most(_size(messages, schema, tools))
        return tokens, self._ledger.cost(tokens, self.settings.max_tokens)

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        schema: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        must_call: bool = False,
        turn: int | None = None,
        within_s: float | None = None,
    ) -> Reply:
        """Ask; tries and waits take `within_s` seconds at most, and `turn` goes into the record.

        With `must_call` the server is asked to make the model call one of the tools.

        Raises:
            UsageError: The record cannot be written.
        """
        asked = {
            "model": self.settings.model,
            "messages": list(messages),
            "schema": schema,
            "tools": list(tools),
            **({"must_call": True} if must_call and tools else {}),
            "settings": {
                "max_tokens": self.settings.max_tokens,
                "temperature": self.settings.temperature,
                "seed": self.settings.seed,
            },
        }
        # a copy, and without the key: it is in the environment, and a prompt may quote anything
        request: dict[str, Any] = json.loads(self._secret.clean(json.dumps(asked, ensure_ascii=False)))
        hash = self._record.hash_of(request)
        if (recorded := self._record.answer(hash)) is not None:
            self._ledger.settle(None, Booking.of(recorded))
            self._record.add(request, hash, recorded, turn=turn)
            return recorded
        if self._record.replay:
            return Reply(status="the record has no answer to this request")
        now = time.monotonic()
        call = _Call(now, math.inf if within_s is None else now + within_s)
        size = _size(messages, schema, tools)
        try:
            reply = await self._tries(call, request, size)
        except asyncio.CancelledError:
            if call.on_its_way is not None:
                self._lose(call, call.on_its_way, size)
            reply = self._finish(call, Reply(status="cancelled", finish="cut", truncated=True))
            with contextlib.suppress(UsageError):  # what cancels does not wait for a full disk
                self._keep(call, request, hash, reply, turn)
            raise
        except BaseException:
            self._ledger.settle(call.reservation, None)
            raise
        reply = self._finish(call, reply)
        self._keep(call, request, hash, reply, turn)
        return reply

    def prepare(self) -> None:
        """Do now what the first call would do first: import `openai`, half a second of work; no connection is made."""
        with contextlib.suppress(ValueError, ImportError):  # the first call says what is wrong
            _ = self._open().chat.completions.with_streaming_response

    async def close(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _keep(self, call: _Call, request: Mapping[str, Any], hash: str, reply: Reply, turn: int | None) -> None:
        self._ledger.settle(call.reservation, Booking.of(reply))
        sent = {"tries": call.tries, "left_out": self.fields.left_out, "notes": call.notes}
        self._record.add(request, hash, reply, turn=turn, sent=sent)

    def _finish(self, call: _Call, reply: Reply) -> Reply:
        """Return the reply with what all tries together used, and without the key."""
        tokens_in, tokens_out = reply.tokens_in + call.lost_in, reply.tokens_out + call.lost_out
        calls = tuple(
            ToolCall(self._secret.clean(c.id), self._secret.clean(c.name), self._secret.clean(c.arguments))
            for c in reply.tool_calls
        )
        return replace(
            reply,
            text=self._secret.clean(reply.text),
            tool_calls=calls,
            finish=self._secret.clean(reply.finish),
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost_usd=self._ledger.cost(tokens_in, tokens_out, reply.tokens_cached),
            estimated=reply.estimated or bool(call.lost_in),
            seconds=round(time.monotonic() - call.started, 3),
        )

    async def _tries(self, call: _Call, request: Mapping[str, Any], size: int) -> Reply:
        waits = 0
        most = self._at_most(size), self.settings.max_tokens
        while True:
            # before every try: one that timed out may have been paid for
            if reason := self._reserve(call, *most):
                return Reply(status=f"no further call: {reason}", final=True)
            version = self.fields.version
            body = self.fields.body(request, stream=self._stream)
            outcome = await self._try(call, body, size)
            if isinstance(outcome, Gathering):
                self.fields.worked()
                return self._reply(outcome, size)
            call.notes.append(outcome.sentence)
            if self._adapt(outcome, body, version):
                continue
            if not outcome.retry or waits >= self.settings.max_retries:
                tries = f" (after {call.tries} tries)" if call.tries > 1 else ""
                return Reply(status=f"{outcome.sentence}{tries}", final=outcome.final)
            wait = self.settings.backoff_s * 2**waits * self._random.uniform(0.5, 1.0)
            if outcome.wait_s is not None:
                wait = max(outcome.wait_s, 0.0) + wait * 0.1  # not all at the same instant
            left = call.until - time.monotonic()
            if wait > min(left, self.settings.max_wait_s):
                more = f"{left:.0f} s remain" if wait > left else f"{self.settings.max_wait_s:.0f} s is the most"
                return Reply(status=f"{outcome.sentence}; the next try would be in {wait:.0f} s and {more}")
            waits += 1
            await asyncio.sleep(wait)

    def _reserve(self, call: _Call, tokens_in: int, tokens_out: int) -> str:
        self._ledger.settle(call.reservation, None)
        reserved = self._ledger.reserve(tokens_in + call.lost_in, tokens_out + call.lost_out)
        call.reservation = None if isinstance(reserved, str) else reserved
        return reserved if isinstance(reserved, str) else ""

    def _adapt(self, failure: _Failure, body: Mapping[str, Any], version: int) -> bool:
        """Return whether the request can be changed so that the server may take it."""
        if self.fields.version != version:
            # a call beside this one has learned something meanwhile
            return failure.code in (400, 404, 422)
        return self.fields.learn(body, failure.code, failure.message, failure.param)

    def _lose(self, call: _Call, gathering: Gathering, size: int) -> None:
        """Count the tokens of a try that brought nothing: the model may have worked for it."""
        call.lost_in += self._about(size)
        call.lost_out += math.ceil(gathering.size / 4)

    async def _try(self, call: _Call, body: Mapping[str, Any], size: int) -> Gathering | _Failure:
        """Send the request once."""
        try:
            client = self._open()
        except (ValueError, ImportError):
            return _Failure("the proxy that the environment names cannot be used (HTTPS_PROXY, ALL_PROXY)", final=True)
        call.tries += 1
        gathering = Gathering(streaming=bool(body.get("stream")), max_bytes=self.settings.max_reply_bytes)
        call.on_its_way = gathering
        failure = await self._receive(client, body, gathering, call.until - time.monotonic())
        call.on_its_way = None
        if failure is not None and failure.unpaid:
            return failure
        gathering.end()
        lost, in_time = ("", True) if failure is None else (failure.sentence, failure.retry)
        outcome = self._judge(gathering, lost, retry=in_time and call.tries < _MAX_PAID_TRIES)
        if isinstance(outcome, _Failure):
            self._lose(call, gathering, size)
        return outcome

    async def _receive(
        self, client: openai.AsyncOpenAI, body: Mapping[str, Any], gathering: Gathering, left: float
    ) -> _Failure | None:
        """Send a request and gather what comes in the `left` seconds; return why it ended early, if it did."""
        import httpx2
        import openai

        clock = asyncio.get_running_loop().time
        end = clock() + min(self.settings.timeout_s, left)
        try:
            async with (
                asyncio.timeout_at(end) as timeout,
                client.chat.completions.with_streaming_response.create(**body) as response,
            ):
                kind = response.headers.get("content-type", "")
                gathering.streaming = gathering.streaming or "event-stream" in kind  # unasked
                async for chunk in response.iter_bytes():
                    gathering.feed(chunk)
                    if gathering.full:
                        break
                    if gathering.streaming:
                        timeout.reschedule(min(end, clock() + self.settings.idle_s))
        except TimeoutError:
            if clock() < end - 0.001:
                return _Failure(f"the reply stopped for {self.settings.idle_s:g} s", retry=True)
            if left < self.settings.timeout_s:
                return _Failure(f"no answer in the {max(left, 0.0):.0f} s that remained")
            return _Failure(f"timed out after {self.settings.timeout_s:g} s", retry=True)
        except openai.APIStatusError as error:
            return self._refused(error)
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
            reason = self._secret.line(_reason(error))
            if isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
                return _Failure(f"no connection to {self.host}: {reason}", retry=True, unpaid=True)
            return _Failure(f"the connection to {self.host} broke: {reason}", retry=True)
        return None

    def _judge(self, gathering: Gathering, lost: str, *, retry: bool) -> Gathering | _Failure:
        """Return what was gathered if it is an answer, were it a salvaged or an empty one."""
        if gathering.usable:
            return gathering
        if gathering.error is not None:
            code, message, _ = parts_of(gathering.error)
            text = f"the server reports an error: {self._secret.line(reason_of(gathering.error) or message)}"
            return _Failure(text, retry=retry and (code in _RETRIED or code >= 500), code=code, message=message)
        if lost:
            return _Failure(lost, retry=retry)
        if gathering.garbage and not gathering.choices:
            text = f"the answer is not that of a chat server: {self._secret.line(gathering.garbage, 80)!r}"
            return _Failure(text, retry=retry)
        return gathering

    def _reply(self, gathering: Gathering, size: int) -> Reply:
        """Turn an answer into a reply; one without text or tool calls says what is wrong."""
        out = sum(len(c.name) + len(c.arguments) for c in gathering.tool_calls) + len(gathering.text)
        usage = gathering.usage
        if usage is None:
            tokens_in, tokens_out, tokens_cached = self._about(size), math.ceil(out / 4), 0
        else:
            tokens_in, tokens_out, tokens_cached = usage.tokens_in, usage.tokens_out, usage.tokens_cached
            self._tokens_per_byte = [*self._tokens_per_byte[-19:], tokens_in / max(size, 1)]
        status = ""
        if not gathering.usable:
            if gathering.refusal:
                status = f"the model refused: {self._secret.line(gathering.refusal)}"
            elif gathering.finish == "content_filter":
                status = "the provider's filter held the answer back"
            elif gathering.thought or gathering.finish == "length":
                status = f"the model used up its {self.settings.max_tokens} tokens before it answered"
            elif not gathering.choices:
                status = "the model answered nothing: there are no choices in the reply"
            else:
                status = "the model answered nothing: the reply is empty"
        truncated = gathering.cut or gathering.finish == "length"
        return Reply(
            status=status,
            text=gathering.text,
            tool_calls=gathering.tool_calls,
            finish="cut" if gathering.cut else gathering.finish or "stop",
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            tokens_cached=tokens_cached,
            truncated=truncated,
            estimated=usage is None,
        )

    def _refused(self, error: openai.APIStatusError) -> _Failure:
        """Read an answer with an error code."""
        code = error.status_code
        told = self._body(error)
        inner = told.get("error", told) if isinstance(told, Mapping) else told
        _, message, param = parts_of(inner)
        kind = str(inner.get("code") or inner.get("type") or "") if isinstance(inner, Mapping) else ""
        reason = self._secret.line(reason_of(told))
        said = f": {reason}" if reason else ""
        if 300 <= code < 400:
            to = self._secret.line(_host_of(error.response.headers.get("location", ""))) or "another address"
            text = f"{self.host} redirects to {to} ({code}), and the key is not sent there; set OPENAI_BASE_URL to it"
            return _Failure(text, final=True, unpaid=True, code=code)
        if code == 429 and "quota" in kind:
            return _Failure(f"the account's quota is used up (429){said}", final=True, unpaid=True, code=code)
        if code in _FINAL:
            return _Failure(f"{_FINAL[code]} ({code}){said}; check OPENAI_API_KEY", final=True, unpaid=True, code=code)
        if code in (404, 405, 410):
            text = f"no model {self.settings.model!r} at {self.host} ({code}){said}; check its name and OPENAI_BASE_URL"
            return _Failure(
                self._secret.line(text, 400), final=True, unpaid=True, code=code, message=message, param=param
            )
        retry = code in _RETRIED or code >= 500
        text = f"the server answers {code}{said}"
        wait = retry_after(error.response.headers) if retry else None
        return _Failure(text, retry=retry, wait_s=wait, unpaid=True, code=code, message=message, param=param)

    def _body(self, error: openai.APIStatusError) -> Any:
        """Return what a server wrote beside its code: decoded JSON, or text."""
        import httpx2

        try:
            content = error.response.content.decode("utf-8", "replace")
        except httpx2.StreamError:  # it was never read; the package may have kept what it made of it
            return error.body
        content = self._secret.clean(content)  # whole: what is cut later must not end in half a key
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            return content

    def _open(self) -> openai.AsyncOpenAI:
        if self._client is None:
            import httpx2
            import openai

            for name in ("httpcore2", "httpx2", "openai"):
                # their finer lines show what servers send, which may be the key
                if (logger := logging.getLogger(name)).level == logging.NOTSET:
                    logger.setLevel(logging.WARNING)
            most = self.settings.max_reply_bytes * 16  # a stream says each word in some 200 bytes

            class Capped(httpx2.AsyncByteStream):
                """A response's bytes up to a limit; the rest is never read."""

                def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
                    self._stream = stream
                    self._limit = limit

                async def __aiter__(self) -> AsyncIterator[bytes]:
                    size = 0
                    async for chunk in self._stream:
                        yield chunk
                        size += len(chunk)
                        if size > self._limit:
                            return

                async def aclose(self) -> None:
                    await self._stream.aclose()

            async def cap(response: httpx2.Response) -> None:
                assert isinstance(response.stream, httpx2.AsyncByteStream)
                response.stream = Capped(response.stream, most if response.is_success else 65_536)

            encrypted = self.settings.base_url is None or self.settings.base_url.startswith("https:")
            http = httpx2.AsyncClient(
                timeout=httpx2.Timeout(None, connect=min(self.settings.timeout_s, 20.0)),
                follow_redirects=False,
                trust_env=encrypted,  # a proxy could read what is not encrypted
                event_hooks={"response": [cap]},
            )
            self._client = openai.AsyncOpenAI(
                api_key=self._secret.key,
                base_url=self.settings.base_url or "https://api.openai.com/v1",
                max_retries=0,  # tries are ours: they have to end with the search
                default_headers={"Accept-Encoding": "identity"},  # a small answer cannot unpack to a large one
                http_client=http,
            )
        return self._client

    def _about(self, size: int) -> int:
        """Return the likely tokens of a prompt of `size` bytes."""
        seen = self._tokens_per_byte
        return math.ceil(size * (sum(seen) / len(seen) if seen else 0.25))

    def _at_most(self, size: int) -> int:
        """Return the most tokens that a prompt of `size` bytes may have."""
        # numbers take about a token for two characters, prose one for four
        return math.ceil(size * (max(self._tokens_per_byte) * 1.15 if self._tokens_per_byte else 0.5)) + 50


def _size(messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None, tools: Sequence[Any]) -> int:
    """Return the bytes of what the model reads."""
    parts = [list(messages), *([schema] if schema else []), *([list(tools)] if tools else [])]
    return sum(len(json.dumps(part, ensure_ascii=False).encode("utf-8", "replace")) for part in parts)


def _host_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _reason(error: BaseException) -> str:
    """Return what lies behind an error, without its objects: what the server said, if it said something."""
    cause = error.__cause__ or error
    return reason_of(getattr(error, "body", None)) or str(cause) or type(cause).__name__
