"""The client against a real server on loopback that misbehaves in every way."""

import asyncio
import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from llm_asking import KEY, SCHEMA, TOOL, ask, ask_once, chat_at
from llm_server import (
    Answer,
    Request,
    Server,
    body,
    empty_choices,
    huge,
    loading,
    reply,
    reset,
    retry_at,
    silence,
    status,
    stops,
)
from many_cases import each
from pace import pace

from sld.chat.client import Chat
from sld.chat.ledger import Ledger, Price
from sld.chat.record import Record
from sld.chat.reply import Reply, ToolCall


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_comes_with_text_tokens_and_cost(stream: bool) -> None:
    ledger = Ledger(price=Price(input=1.0, output=2.0, cached=0.5))
    with Server([reply("a*N**-b — é", usage=(1000, 50))]) as server:
        (got,) = ask(chat_at(server, ledger=ledger, stream=stream))
    assert (got.status, got.text, got.finish, got.truncated, got.cached) == ("", "a*N**-b — é", "stop", False, False)
    assert (got.tokens_in, got.tokens_out, got.estimated) == (1000, 50, False)
    assert got.cost_usd == pytest.approx(1.1e-3) and ledger.cost_usd == got.cost_usd
    sent = server.requests[0]
    assert sent.path == "/v1/chat/completions" and sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.json["max_tokens"] == 100 and sent.json["temperature"] == 0.8 and sent.json["model"] == "m"


@pytest.mark.parametrize("stream", [False, True])
def test_tool_calls_keep_their_arguments_as_text(stream: bool) -> None:
    calls = [("try_formula", '{"formula": "a*N**-b"}'), ("no_such_tool", "{not json")]
    got = ask_once([reply(None, tool_calls=calls)], stream=stream, tools=[TOOL])
    assert got.tool_calls == tuple(ToolCall(f"call_{i}", name, text) for i, (name, text) in enumerate(calls))
    assert (got.status, got.finish) == ("", "tool_calls")


def test_a_schema_is_sent_as_such() -> None:
    with Server([reply("{}")]) as server:
        ask(chat_at(server), schema=SCHEMA)
    form = server.bodies[0]["response_format"]
    assert form["type"] == "json_schema" and form["json_schema"]["schema"] == SCHEMA


@each(
    ("refusal", "changed"),
    [
        (status(400, "Unsupported value: 'temperature' does not support 0.8", param="temperature"), "temperature"),
        (status(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."), "max_tokens"),
        (status(422, "Extra inputs are not permitted: seed"), "seed"),
        (status(400, "json_schema is not supported, only json_object"), "response_format"),
        (status(400, "This server was not compiled with grammar support"), "response_format"),
        (status(400, "Tool use is not supported with this model"), "tools"),
        (status(404, "No endpoints found that support tool use"), "tools"),
        (status(400, "tool_choice required is not supported"), "tool_choice"),
        (status(500, "tools param requires --jinja flag"), "tools"),
        (status(400, "stream_options is unknown"), "stream_options"),
        (status(400, "Streaming is not available"), "stream"),
        (body('{"detail": [{"loc": ["body", "temperature"], "msg": "extra fields"}]}', code=422), "temperature"),
        (body('{"detail": "Unknown field: seed"}', code=400), "seed"),
    ],
)
def test_a_refused_field_is_left_out_from_then_on(refusal: Answer, changed: str) -> None:
    with Server([refusal], then=reply("fine")) as server:
        got = ask(chat_at(server, seed=1, stream=True), times=2, schema=SCHEMA, tools=[TOOL], must_call=True)
    assert [g.text for g in got] == ["fine", "fine"]
    first, *later = server.bodies
    assert len(later) == 2
    for sent in later:
        different = {name for name in first.keys() | sent.keys() if first.get(name) != sent.get(name)} - {"messages"}
        extra = {"max_tokens": {"max_completion_tokens"}, "stream": {"stream_options"}, "tools": {"tool_choice"}}.get(
            changed, set()
        )
        assert different == {changed} | extra


def test_a_schema_falls_back_in_steps() -> None:
    refusal = status(400, "response_format is not supported")
    with Server([refusal, refusal], then=reply("{}")) as server:
        ask(chat_at(server), schema=SCHEMA)
    kinds = [sent.get("response_format", {}).get("type") for sent in server.bodies]
    assert kinds == ["json_schema", "json_object", None]


def test_where_no_field_is_named_the_guilty_one_is_found() -> None:
    def picky(request: Request) -> Answer:
        return status(400, "Bad Request") if "seed" in request.json else reply("fine")

    with Server(handler=picky) as server:
        chat = chat_at(server, seed=3)
        got = ask(chat, times=2, schema=SCHEMA)
        n_requests = len(server.requests)
    assert [g.text for g in got] == ["fine", "fine"]
    assert n_requests == 5 and "tools" not in server.bodies[-1]


def test_where_no_field_was_to_blame_all_are_sent_again() -> None:
    with Server([status(400, "Bad Request")] * 5, then=reply("fine")) as server:
        got = ask(chat_at(server, seed=3), times=2, schema=SCHEMA)
    assert "400" in got[0].status and not got[0].final and got[1].text == "fine"
    assert {"seed", "temperature", "response_format"} <= server.bodies[-1].keys()


def test_an_answer_too_long_for_the_context_is_asked_shorter() -> None:
    text = "This model's maximum context length is 200 tokens. However, you requested 2000 in the completion"
    with Server([status(400, text)], then=reply("fine")) as server:
        got = ask(chat_at(server, max_tokens=1024))
    assert got[0].text == "fine" and [b["max_tokens"] for b in server.bodies] == [1024, 512]


@each("bad", [status(429), status(500), loading(), status(408), body("<html>", code=502)])
def test_what_passes_is_tried_again(bad: Answer) -> None:
    with Server([bad, bad, reply("at last")]) as server:
        (got,) = ask(chat_at(server))
    assert got.text == "at last" and len(server.requests) == 3


def test_tries_end() -> None:
    with Server(then=status(503, "Loading model")) as server:
        (got,) = ask(chat_at(server, max_retries=2))
    assert got.status == "the server answers 503: Loading model (after 3 tries)" and not got.final
    assert len(server.requests) == 3


@pytest.mark.slow
@pytest.mark.parametrize("retry_after", [0.3, "date"])
def test_retry_after_is_honoured(retry_after: float | str) -> None:
    when = retry_at(1.6) if retry_after == "date" else retry_after  # dates have whole seconds
    with Server([status(429, retry_after=when), reply("fine")]) as server:
        (got,) = ask(chat_at(server))
    assert got.text == "fine"
    assert server.requests[1].at - server.requests[0].at >= 0.3


@pytest.mark.parametrize("retry_after", ["60", retry_at(3600), "1e9"], ids=["seconds", "a date", "very many"])
def test_no_wait_beyond_what_remains(retry_after: str) -> None:
    start = time.monotonic()
    got = ask_once([status(429, "slow down", retry_after=retry_after)], within_s=5.0)
    assert time.monotonic() - start < 2.0
    assert got.status.startswith("the server answers 429: slow down; the next try would be in") and not got.final


@each("retry_after", ["soon", "-5", "nan", "inf", "Wed, 99 Foo 2026", ""])
def test_a_retry_after_that_means_nothing_is_ignored(retry_after: str) -> None:
    assert ask_once([status(429, retry_after=retry_after), reply("fine")], within_s=5.0).text == "fine"


@pytest.mark.slow
def test_waits_grow_and_are_the_same_with_the_same_seed() -> None:
    def waits(seed: int) -> list[float]:
        with Server(then=status(500)) as server:
            ask(chat_at(server, seed=seed, backoff_s=0.05))
            at = [request.at for request in server.requests]
        return [b - a for a, b in itertools.pairwise(at)]

    first = waits(1)
    assert len(first) == 3 and first[2] > first[0]
    assert waits(1) == pytest.approx(first, abs=0.04)


@each(
    ("code", "words"),
    [
        (401, "the server refuses the key (401): bad key; check OPENAI_API_KEY"),
        (403, "the server refuses access (403)"),
        (404, "no model 'm' at 127.0.0.1:"),
        (402, "the account has no credit (402)"),
    ],
)
def test_a_wrong_key_or_model_is_final(code: int, words: str) -> None:
    with Server(then=status(code, "bad key")) as server:
        (got,) = ask(chat_at(server))
    assert got.status.startswith(words) and got.final and "\n" not in got.status
    assert len(server.requests) == 1


def test_an_empty_account_is_final() -> None:
    got = ask_once([status(429, "You exceeded your current quota", error_code="insufficient_quota")])
    assert got.final and "quota" in got.status


def test_a_server_that_is_not_there() -> None:
    with Server() as server:
        pass
    (got,) = ask(chat_at(server, max_retries=1))
    assert got.status.startswith("no connection to 127.0.0.1:") and got.tokens_in == 0


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_silence_ends_with_the_time_out(stream: bool) -> None:
    start = time.monotonic()
    with Server(then=silence(30)) as server:
        (got,) = ask(chat_at(server, timeout_s=0.2, stream=stream, max_retries=1))
        assert server.wait_for_disconnect()
    assert got.status == "timed out after 0.2 s (after 2 tries)"
    assert time.monotonic() - start < 3.0 * pace()
    assert got.tokens_in > 0 and got.estimated  # both tries may have been paid for


def test_nothing_takes_longer_than_what_remains() -> None:
    start = time.monotonic()
    got = ask_once([silence(30)], within_s=0.3)
    assert got.status == "no answer in the 0 s that remained" and time.monotonic() - start < 2.0


def test_a_stream_that_breaks_is_salvaged() -> None:
    got = ask_once([reset(after=3)], stream=True)
    assert got.status == "" and got.truncated and got.finish == "cut"
    assert got.text and "a*N**-b + c, and much more that is lost".startswith(got.text)
    assert got.estimated and got.tokens_in > 0


def test_a_stream_that_stops_is_salvaged_after_the_idle_time() -> None:
    with Server([stops(after=3)]) as server:
        (got,) = ask(chat_at(server, stream=True))
        assert server.wait_for_disconnect()
    assert got.truncated and got.text and got.seconds < 2.0


def test_a_stream_that_stops_before_any_text_is_tried_again() -> None:
    assert ask_once([stops(after=1), reply("fine")], stream=True).text == "fine"


def test_a_stream_that_says_it_is_done_is_whole_although_it_never_ends() -> None:
    got = ask_once([stops(after=8, text="a*N**-b")], stream=True)
    assert (got.text, got.truncated) == ("a*N**-b", False)


@each("lost", [1, 22, 24, 30, 33, 35, 40, 41, 46, 49, 60, 75, 112])
def test_a_body_that_breaks_is_salvaged(lost: int) -> None:
    text = 'say "a*N**-b"\n\u00e9 and more'
    whole = json.dumps({"choices": [{"message": {"role": "assistant", "content": text, "refusal": None}}]})
    got = ask_once([body(whole[:-lost])], max_retries=0)
    if lost >= 60:
        assert got.status.startswith("the answer is not that of a chat server")
    else:
        assert got.status == "" and got.truncated and got.text and text.startswith(got.text)
        assert (got.text == text) == (lost <= 22)


def test_a_connection_reset_before_any_text_is_tried_again() -> None:
    assert ask_once([reset(after=10), reply("fine")]).text == "fine"


def test_a_reply_cut_by_the_token_limit_is_marked() -> None:
    got = ask_once([reply('{"formulas": ["a*N**', finish="length")])
    assert got.status == "" and got.truncated and got.finish == "length"


@each("stream", [False, True])
@each("max_bytes", [300_000, 20_000])  # the scripted stream's events have 100,000 bytes
def test_a_huge_reply_is_cut(stream: bool, max_bytes: int) -> None:
    got = ask_once([huge(5_000_000)], stream=stream, max_reply_bytes=max_bytes)
    assert got.truncated and got.finish == "cut" and got.status == ""
    assert max_bytes / 2 < len(got.text) <= max_bytes


def test_a_huge_error_is_not_read() -> None:
    got = ask_once([body("x" * 5_000_000, code=418)])
    assert got.status.startswith("the server answers 418: xxx") and len(got.status) < 400


@each(
    ("answer", "words"),
    [
        (empty_choices(), "the model answered nothing: there are no choices in the reply"),
        (reply(None), "the model answered nothing: the reply is empty"),
        (reply("  \n"), "the model answered nothing: the reply is empty"),
        (reply(None, message={"refusal": "I cannot help with that"}), "the model refused: I cannot help with that"),
        (reply(None, finish="content_filter"), "the provider's filter held the answer back"),
        (reply("", finish="length", message={"reasoning_content": "hm"}), "the model used up its 100 tokens"),
        (body("not json at all"), "the answer is not that of a chat server: 'not json at all'"),
        (body("<html><body>Sign in</body></html>", content_type="text/html"), "the answer is not that of a chat"),
        (body(""), "the answer is not that of a chat server: 'nothing'"),
        (body("[" * 100_000), "the answer is not that of a chat server"),
        (body("[1, 2]"), "the answer is not that of a chat server: '[1, 2]'"),
        (body('{"error": {"message": "out of\\nmemory", "code": 5}}'), "the server reports an error: out of memory"),
        (body('{"choices": [null]}'), "the model answered nothing"),
        (body('{"choices": [{"message": {"content": 5, "tool_calls": [1, {"function": 2}]}}]}'), "the model answered"),
    ],
)
@pytest.mark.slow
@each("stream", [False, True])
def test_an_answer_without_use_says_why(answer: Answer, words: str, stream: bool) -> None:
    got = ask_once([answer, answer], stream=stream, max_retries=1)
    assert got.status.startswith(words) and got.text.strip() == "" and not got.final


def test_content_in_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "a*N"}, {"type": "image_url"}, {"type": "output_text", "text": "**-b"}]
    assert ask_once([reply(None, message={"content": parts})]).text == "a*N**-b"


def test_arguments_that_are_not_text_become_text() -> None:
    message = {"tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}], "content": None}
    assert ask_once([reply(None, message=message)]).tool_calls == (ToolCall("call_0", "f", '{"x": 1}'),)


@each("usage", [None, (0, 0)])
@each("stream", [False, True])
def test_tokens_are_estimated_where_the_server_does_not_say(usage: tuple[int, int] | None, stream: bool) -> None:
    ledger = Ledger()
    with Server([reply("four words or so of text", usage=usage)]) as server:
        (got,) = ask(chat_at(server, ledger=ledger, stream=stream))
    assert got.estimated and got.tokens_in > 10 and got.tokens_out == 6
    assert ledger.to_json()["estimated"] == 1


@each("usage", ["many", [1], {"prompt_tokens": -5, "completion_tokens": "x"}, {"prompt_tokens": 1e400}])
def test_usage_that_makes_no_sense_is_not_believed(usage: Any) -> None:
    completion = {**(reply("text").completion or {}), "usage": usage}
    got = ask_once([body(json.dumps(completion))])
    assert got.text == "text" and got.estimated


def test_a_server_that_streams_unasked_and_one_that_does_not() -> None:
    stream = 'data: {"choices": [{"delta": {"content": "a*N"}}]}\r\n\r\n: ping\r\n\r\ndata: {"choices": [{"delta": '
    stream += '{"content": "**-b"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    assert ask_once([body(stream, content_type="text/event-stream")]).text == "a*N**-b"
    assert ask_once([body(json.dumps(reply("a*N").completion))], stream=True).text == "a*N"


def test_text_that_no_file_can_hold_is_mended(tmp_path: Path) -> None:
    record = Record(tmp_path / "exchange.jsonl")
    with Server([body('{"choices": [{"message": {"content": "a\\ud800b\\u0000"}}]}')]) as server:
        (got,) = ask(chat_at(server, record=record))
    assert got.text == "a?b\x00"
    assert Record(tmp_path / "exchange.jsonl").lines[0].reply == got

    async def surrogate(chat: Chat) -> Reply:
        try:
            return await chat.ask([{"role": "user", "content": "\ud800"}])
        finally:
            await chat.close()

    with Server([reply("fine")]) as server:
        assert asyncio.run(surrogate(chat_at(server))).text == "fine"


def test_ten_thousand_proposals_arrive_whole() -> None:
    text = json.dumps({"formulas": [f"a*N**-b + {i}*c" for i in range(10_000)]})
    for stream in (False, True):
        got = ask_once([reply(text)], stream=stream)
        assert got.text == text and not got.truncated
