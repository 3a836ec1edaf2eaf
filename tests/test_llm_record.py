"""What a run's calls leave on disk, and what can be made of it: cache, resume, replay."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llm_server import Answer, Server, empty_choices, reply, reset, silence, status
from many_cases import each

from sld.chat.client import Chat
from sld.chat.ledger import Ledger, Limit, Price
from sld.chat.record import Record
from sld.chat.reply import Reply, ToolCall
from sld.chat.settings import ChatSettings
from sld.core.errors import UsageError

QUICK = ChatSettings(model="m", timeout_s=0.3, backoff_s=0.01, max_retries=1, max_tokens=50)
PRICE = Price(input=1.0, output=3.0, cached=0.1)
REPLY = Reply(text="a*N**-b", finish="stop", tokens_in=10, tokens_out=5, cost_usd=1e-5, seconds=0.5)


def run(questions: Sequence[str], server: Server | None, record: Record, ledger: Ledger, **changes: Any) -> list[Reply]:
    """Ask the questions one after the other."""

    async def conversation() -> list[Reply]:
        settings = replace(QUICK, base_url=server.url if server else "http://127.0.0.1:1/v1", **changes)
        chat = Chat(settings, api_key="sk-0123456789", ledger=ledger, record=record)
        try:
            return [await chat.ask([{"role": "user", "content": q}], turn=i) for i, q in enumerate(questions)]
        finally:
            await chat.close()

    return asyncio.run(conversation())


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


MIXED: list[Answer] = [
    reply("one", usage=(100, 7)),
    status(500),
    reply("two", usage=None),
    status(401, "no"),
    silence(),
    silence(),
    empty_choices(),
    reset(after=5),
    reply(None, tool_calls=[("f", "{")], usage=(50, 3)),
]


def test_a_line_says_what_was_asked_when_and_what_came(tmp_path: Path) -> None:
    path = tmp_path / "llm" / "exchange.jsonl"
    with Server([status(429), reply("a*N**-b", usage=(100, 7))]) as server:
        (got,) = run(["what?"], server, Record(path), Ledger())
    (line,) = lines_of(path)
    assert line["turn"] == 0 and line["i"] == 0
    assert line["request"]["messages"] == [{"role": "user", "content": "what?"}] and line["request"]["model"] == "m"
    assert Reply.from_json(line["reply"]) == got and line["reply"]["text"] == "a*N**-b"
    assert line["sent"]["tries"] == 2 and line["sent"]["notes"] == ["the server answers 429: error 429"]


@pytest.mark.slow
def test_the_record_and_the_ledger_add_up(tmp_path: Path) -> None:
    path = tmp_path / "exchange.jsonl"
    ledger = Ledger(price=PRICE)
    with Server(MIXED) as server:
        run([*"abcdefg", "a"], server, Record(path), ledger)
    replies = [line["reply"] for line in lines_of(path)]
    totals = ledger.to_json()
    assert len(replies) == totals["calls"] == 8
    assert totals["cached"] == 1 and totals["failed"] > 1 and totals["estimated"] > 1
    for key in ("tokens_in", "tokens_out"):
        assert sum(r[key] for r in replies) == totals[key] > 0
    assert sum(r["cost_usd"] for r in replies) == pytest.approx(totals["cost_usd"])
    assert Ledger(price=PRICE, earlier=Record(path).bookings()).to_json() == totals


def test_a_run_taken_up_again_does_not_pay_twice(tmp_path: Path) -> None:
    path = tmp_path / "exchange.jsonl"
    with Server([reply("one"), status(401), reply("three")]) as server:
        first = run("abc", server, Record(path), Ledger())
    with Server([reply("two"), reply("four")]) as server:
        record = Record(path)
        ledger = Ledger(earlier=record.bookings())
        before = ledger.tokens
        again = run("abcd", server, record, ledger)
        assert len(server.requests) == 2  # what failed, and what is new
    assert [g.text for g in again] == ["one", "two", "three", "four"]
    assert [g.cached for g in again] == [True, False, True, False]
    assert again[0].cost_usd == 0.0 and again[0].tokens_in == 0
    assert again[0].text == first[0].text and before == 220
    assert ledger.tokens == 440 and ledger.to_json()["cached"] == 2
    assert Ledger(earlier=Record(path).bookings()).tokens == 440


def test_an_identical_call_is_answered_once() -> None:
    ledger = Ledger()
    with Server([reply("one"), reply("two")]) as server:
        got = run(["same", "same", "other"], server, Record(None), ledger)
    assert [g.text for g in got] == ["one", "one", "two"] and got[1].cached and ledger.tokens == 220


@each("change", [{"model": "n"}, {"temperature": 0.1}, {"max_tokens": 51}, {"seed": 1}])
def test_another_model_or_setting_is_another_call(change: dict[str, Any]) -> None:
    record = Record(None)
    with Server([reply("one"), reply("two")]) as server:
        run("a", server, record, Ledger())
        assert run("a", server, record, Ledger(), **change)[0].text == "two"


@pytest.mark.slow
def test_a_replay_is_the_same_bit_for_bit_without_a_server(tmp_path: Path) -> None:
    path = tmp_path / "exchange.jsonl"
    ledger = Ledger(Limit(tokens=1000), PRICE)
    with Server(MIXED) as server:
        first = run([*"abcdefg", "a", "h", "h"], server, Record(path), ledger)
    assert len({g.status for g in first}) > 4 and first[-1].final
    content = path.read_bytes()
    replayed = Ledger(Limit(tokens=1000), PRICE)
    again = run([*"abcdefg", "a", "h", "h"], None, Record(path, replay=True), replayed)
    assert again == first
    assert path.read_bytes() == content
    assert replayed.to_json() == ledger.to_json()


def test_a_replay_does_not_know_what_was_not_asked(tmp_path: Path) -> None:
    path = tmp_path / "exchange.jsonl"
    with Server([reply("one")]) as server:
        run("a", server, Record(path), Ledger())
        got = run(["b", "a", "a"], server, Record(path, replay=True), Ledger())
        assert len(server.requests) == 1
    assert [g.text for g in got] == ["", "one", ""]
    assert got[0].status == got[2].status == "the record has no answer to this request"


@pytest.mark.parametrize("cut", [1, 2, 50])
def test_a_torn_last_line_is_left_out(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "exchange.jsonl"
    record = Record(path)
    for i in range(3):
        record.add({"q": i}, f"{i}", REPLY, turn=i)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert len(Record(path, replay=True).lines) == 2 and path.read_bytes() == whole[:-cut]
    again = Record(path)
    assert len(again.lines) == 2
    again.add({"q": 2}, "2", REPLY, turn=2)
    assert len(lines_of(path)) == 3


@pytest.mark.parametrize(
    "line", ["{", "[]", "5", '{"turn": 1}', '{"turn": "x", "hash": "h", "reply": {}}', "[" * 100_000, "\x00", '"x"']
)
def test_a_damaged_line_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "exchange.jsonl"
    Record(path).add({}, "h", REPLY)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(UsageError, match="line 2 is no recorded call") as error:
        Record(path)
    assert "\n" not in str(error.value)


@each("field", [{"tokens_in": "many"}, {"text": 5}, {"tool_calls": [5]}, {"unknown": 1}, {"cost_usd": "x"}])
def test_a_reply_of_another_kind_is_not_read(field: dict[str, Any]) -> None:
    with pytest.raises((TypeError, KeyError)):
        Reply.from_json({**REPLY.to_json(), **field})


def test_a_reply_round_trips() -> None:
    full = replace(REPLY, tool_calls=(ToolCall("1", "f", "{"),), cost_usd=None, estimated=True, status="é\ud800")
    assert Reply.from_json(json.loads(json.dumps(full.to_json()))) == full


def test_a_replay_without_a_record_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*exchange\.jsonl"):
        Record(tmp_path / "exchange.jsonl", replay=True)


def test_a_record_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "llm").write_text("a file where a folder should be")
    with pytest.raises(UsageError, match="could not write"):
        Record(tmp_path / "llm" / "exchange.jsonl").add({}, "h", REPLY)


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "exchange.jsonl"
    record = Record(path)

    def work(k: int) -> None:
        for i in range(10):
            record.add({"k": k, "i": i}, f"{k}-{i}", REPLY, turn=i)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line["i"] for line in lines_of(path)] == list(range(80))


def test_a_killed_run_forgets_no_reply_that_it_has_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "exchange.jsonl"
    code = (
        "import sys\nfrom sld.chat.record import Record\nfrom sld.chat.reply import Reply\n"
        "record = Record(sys.argv[1])\n"
        "for i in range(100000):\n"
        "    record.add({'i': i}, str(i), Reply(text='x' * 5000))\n"
        "    print(i, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    handed_on = [child.stdout.readline() for _ in range(20)][-1]
    child.kill()
    handed_on = (child.stdout.read().splitlines() or [handed_on])[-1]
    child.stdout.close()
    child.wait()
    assert len(Record(path).lines) >= int(handed_on) + 1


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert Record.hash_of({"a": 1, "b": [{"c": 2, "d": 3}]}) == Record.hash_of({"b": [{"d": 3, "c": 2}], "a": 1})
    assert Record.hash_of({"a": 1}) != Record.hash_of({"a": 2})


def test_the_file_is_readable_by_its_owner_and_grows_only(tmp_path: Path) -> None:
    path = tmp_path / "exchange.jsonl"
    record, before = Record(path), b""
    for i in range(3):
        record.add({"i": i}, str(i), REPLY)
        after = path.read_bytes()
        assert after.startswith(before) and len(after) > len(before)
        before = after
    assert os.access(path, os.R_OK)
