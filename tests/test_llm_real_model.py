"""The client and a real model over a real server's protocol; it need not be clever (`pytest -m real_model`)."""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from llm_local_model import local_model

from sld import api
from sld.chat.client import Chat
from sld.chat.ledger import Ledger, Limit
from sld.chat.record import Record
from sld.chat.reply import Reply
from sld.chat.settings import ChatSettings
from sld.search.llm.settings import LLM

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(600)]

FORMULAS = ["E + A*N**-a", "E + A*log(N)", "A*exp(-N)"]
SCHEMA = {
    "type": "object",
    "properties": {"formula": {"type": "string", "enum": FORMULAS}, "reason": {"type": "string", "maxLength": 60}},
    "required": ["formula", "reason"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "try_formula",
        "description": "Fit a formula and return its error.",
        "parameters": {"type": "object", "properties": {"formula": {"type": "string"}}, "required": ["formula"]},
    },
}
QUESTION = "Which formula describes how the loss falls with the size N of a model? Answer briefly."


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with local_model() as address:
        yield address


def turns(formulas: list[str]) -> list[dict[str, Any]]:
    """Return an agent's conversation so far, which even a small model can carry on."""
    messages: list[dict[str, Any]] = []
    for i, formula in enumerate(formulas):
        function = {"name": "try_formula", "arguments": json.dumps({"formula": formula})}
        call = {"id": f"call_{i}", "type": "function", "function": function}
        messages += [
            {"role": "user", "content": f"Try the formula {formula}"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{i}", "content": '{"error": 0.03}'},
        ]
    return messages


def ask(
    url: str,
    question: str = QUESTION,
    *,
    before: Sequence[Mapping[str, Any]] = (),
    record: Record | None = None,
    **changes: Any,
) -> Reply:
    arguments = {name: changes.pop(name) for name in ("schema", "tools", "must_call") if name in changes}
    stream = changes.pop("stream", False)
    settings = ChatSettings(
        **{"model": "smollm2", "base_url": url, "max_tokens": 60, "timeout_s": 300, "seed": 1, **changes}
    )
    chat = Chat(settings, api_key="none", ledger=Ledger(), record=record or Record(None), stream=stream)

    async def conversation() -> Reply:
        try:
            return await chat.ask([*before, {"role": "user", "content": question}], **arguments)
        finally:
            await chat.close()

    got = asyncio.run(conversation())
    print(f"\n{got}\nleft out: {chat.fields.left_out}")
    return got


@pytest.mark.parametrize("stream", [False, True])
def test_a_real_model_answers(url: str, stream: bool) -> None:
    got = ask(url, stream=stream)
    assert got.status == "" and len(got.text) > 10 and got.finish in ("stop", "length")
    assert not got.estimated and 10 < got.tokens_in < 200 and 0 < got.tokens_out <= 60


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_is_kept(url: str, stream: bool) -> None:
    got = ask(url, schema=SCHEMA, stream=stream, max_tokens=120)
    assert got.status == "" and not got.truncated
    answer = json.loads(got.text)
    assert answer["formula"] in FORMULAS and isinstance(answer["reason"], str)


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_taken(url: str, stream: bool) -> None:
    got = ask(url, "Try a formula.", tools=[TOOL], stream=stream, max_tokens=100, temperature=0.0)
    assert got.status == "" and (got.tool_calls or got.text)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called(url: str, stream: bool) -> None:
    before = turns(["E + A*log(N)", "A*exp(-N)", "E + A/N"])
    arguments: dict[str, Any] = {"tools": [TOOL], "must_call": True, "stream": stream, "temperature": 0.0}
    got = ask(url, "Try the formula E + A*N**-a", before=before, max_tokens=100, **arguments)
    assert got.status == "" and got.finish == "tool_calls" and not got.truncated
    (call,) = got.tool_calls
    assert call.name == "try_formula" and isinstance(json.loads(call.arguments)["formula"], str) and call.id


def test_a_cancelled_call_frees_the_model(url: str) -> None:
    async def conversation() -> float:
        settings = ChatSettings(model="smollm2", base_url=url, max_tokens=1900, timeout_s=300)
        chat = Chat(settings, api_key="none", ledger=Ledger(), record=Record(None))
        try:
            with pytest.raises(TimeoutError):
                # a poem of 1,900 tokens takes far longer
                await asyncio.wait_for(chat.ask([{"role": "user", "content": "Write a very long poem."}]), 1.0)
            start = time.monotonic()
            short = ChatSettings(model="smollm2", base_url=url, max_tokens=1, timeout_s=300)
            next_chat = Chat(short, api_key="none", ledger=Ledger(), record=Record(None))
            got = await next_chat.ask([{"role": "user", "content": "Hi"}])
            await next_chat.close()
            assert got.status == ""
            return time.monotonic() - start
        finally:
            await chat.close()

    assert asyncio.run(conversation()) < 20.0


def test_a_prompt_that_does_not_fit_is_one_sentence(url: str) -> None:
    got = ask(url, "loss " * 5000)
    assert got.status.startswith("the server answers 400: ") and "context" in got.status and not got.final


def test_a_real_exchange_is_replayed(url: str, tmp_path: Path) -> None:
    path = tmp_path / "exchange.jsonl"
    first = ask(url, record=Record(path), max_tokens=20)
    assert first.status == ""
    assert ask("http://127.0.0.1:1/v1", record=Record(path, replay=True), max_tokens=20) == first


def test_a_limit_holds_against_a_real_count(url: str) -> None:
    ledger = Ledger(Limit(tokens=400))

    async def conversation() -> list[Reply]:
        settings = ChatSettings(model="smollm2", base_url=url, max_tokens=30, timeout_s=300)
        chat = Chat(settings, api_key="none", ledger=ledger, record=Record(None))
        try:
            return [await chat.ask([{"role": "user", "content": f"Count to {i}."}]) for i in range(1, 12)]
        finally:
            await chat.close()

    got = asyncio.run(conversation())
    assert 200 < ledger.tokens <= 400 and got[0].status == "" and got[-1].final


@pytest.mark.parametrize("mode", ["propose", "agent"])
def test_a_search_goes_on_beside_a_real_model(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_model(context=8192) as address:  # the model was trained for this much
        monkeypatch.setenv("OPENAI_BASE_URL", address)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setattr("sld.search.llm.settings._ANSWER", 200)  # it knows no end
        asked = LLM("smollm2", mode=mode, budget="100ktok")
        found = api.discover("nanolm_chinchilla", budget="60s", workers=1, out=tmp_path, llm=asked)
    calls = [json.loads(line) for line in (tmp_path / "llm" / "exchange.jsonl").read_text("utf-8").splitlines()]
    print(json.dumps(found.llm, indent=1), *(call["reply"] for call in calls), sep="\n")
    assert any(call["reply"]["tokens_out"] > 0 for call in calls)
    assert found.counts["judged"] > 100 and found.chosen.score < -3
    assert "The language model" in (tmp_path / "report.md").read_text("utf-8")
