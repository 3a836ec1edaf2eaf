"""Calls that are cancelled, side by side, or at the end of what may be spent."""

import asyncio
import time

import pytest
from llm_asking import MESSAGES, SCHEMA, ask, ask_at_once, chat_at
from llm_server import Answer, Request, Server, reply, silence, status

from sld.chat.client import Chat
from sld.chat.ledger import Ledger, Limit, Price
from sld.chat.record import Record
from sld.chat.reply import Reply


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_cancellation_closes_the_connection_at_once(stream: bool) -> None:
    ledger, record = Ledger(), Record(None)

    async def cancelled(chat: Chat) -> float:
        task = asyncio.create_task(chat.ask(MESSAGES))
        while not server.requests:
            await asyncio.sleep(0.01)
        start = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        took = time.monotonic() - start
        await chat.close()
        return took

    with Server([silence(30)]) as server:
        assert asyncio.run(cancelled(chat_at(server, ledger=ledger, record=record, stream=stream))) < 0.5
        assert server.wait_for_disconnect(1.0)
    # it may have been paid for, so it is written down
    (line,) = record.lines
    assert line.reply.status == "cancelled" and line.reply.tokens_in > 0
    assert ledger.tokens == line.reply.tokens_in + line.reply.tokens_out
    assert ledger.room(10**9) == ""


def test_cancelled_twice_and_closed_in_the_middle_leaves_no_connection() -> None:
    async def cancelled(chat: Chat) -> None:
        task = asyncio.create_task(chat.ask(MESSAGES))
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        asyncio.get_running_loop().call_soon(task.cancel)
        await chat.close()
        await asyncio.gather(task, return_exceptions=True)

    with Server([silence(30)]) as server:
        asyncio.run(cancelled(chat_at(server)))
        assert server.wait_for_disconnect(1.0)


def test_closed_while_a_call_is_on_its_way() -> None:
    async def closed(chat: Chat) -> Reply:
        task = asyncio.create_task(chat.ask(MESSAGES))
        while not server.requests:
            await asyncio.sleep(0.01)
        await chat.close()
        got = await task
        await chat.close()
        return got

    with Server([silence(30)]) as server:
        got = asyncio.run(closed(chat_at(server, max_retries=0)))
    assert got.status.startswith("the connection to 127.0.0.1:") or got.status.startswith("timed out")


def test_what_the_first_call_needs_can_be_done_before() -> None:
    with Server([reply("fine")]) as server:
        chat = chat_at(server)
        chat.prepare()
        assert server.connections == 0
        assert ask(chat)[0].text == "fine"


def test_cancelled_while_waiting_for_the_next_try_costs_nothing() -> None:
    ledger = Ledger()

    async def cancelled(chat: Chat) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(chat.ask(MESSAGES), 0.3)
        await chat.close()

    with Server([status(429, retry_after=20)]) as server:
        asyncio.run(cancelled(chat_at(server, ledger=ledger)))
    assert ledger.tokens == 0


def test_calls_side_by_side_are_all_answered() -> None:
    def late(request: Request) -> Answer:
        return reply(request.prompt, wait_s=0.1)

    ledger = Ledger()
    start = time.monotonic()
    with Server(handler=late) as server:
        got = ask_at_once(chat_at(server, ledger=ledger), 20)
    assert [g.text for g in got] == [str(i) for i in range(20)]
    assert ledger.tokens == 20 * 110 and time.monotonic() - start < 2.0


def test_calls_side_by_side_learn_once() -> None:
    def picky(request: Request) -> Answer:
        if "temperature" in request.json:
            return status(400, "temperature is not supported", wait_s=0.1)
        return reply("fine")

    with Server(handler=picky) as server:
        got = ask_at_once(chat_at(server), 5)
    assert {g.text for g in got} == {"fine"} and len(server.requests) == 10


def test_no_call_is_made_that_could_pass_the_limit() -> None:
    ledger = Ledger(Limit(tokens=600))
    with Server(then=reply("fine", usage=(150, 40))) as server:
        got = ask(chat_at(server, ledger=ledger), times=5)
    assert ledger.tokens <= 600
    usable = [g for g in got if not g.status]
    assert 1 <= len(usable) == len(server.requests) < 5
    assert (
        got[-1].final and got[-1].status.startswith("no further call: ") and "of 600 tokens are used" in got[-1].status
    )


def test_calls_side_by_side_cannot_pass_the_limit_together() -> None:
    ledger = Ledger(Limit(tokens=1000))
    with Server(then=reply("fine", usage=(80, 100), wait_s=0.05)) as server:
        got = ask_at_once(chat_at(server, ledger=ledger), 20)
    assert 1 <= sum(not g.status for g in got) == len(server.requests)
    assert ledger.tokens <= 1000


def test_tries_that_may_have_been_paid_for_count_against_the_limit() -> None:
    with Server(then=silence(30)) as server:
        ledger = Ledger(Limit(tokens=240))
        (got,) = ask(chat_at(server, ledger=ledger, timeout_s=0.1, max_tokens=100))
        assert len(server.requests) == 2
    assert got.final and "no further call" in got.status and ledger.tokens == got.tokens_in <= 240


def test_the_estimate_is_above_what_is_used() -> None:
    with Server(then=reply("fine", usage=(30, 10))) as server:
        ledger = Ledger(price=Price(input=1.0, output=1.0, cached=1.0))
        chat = chat_at(server, ledger=ledger)
        tokens, usd = chat.estimate(MESSAGES, schema=SCHEMA)
        (got,) = ask(chat, schema=SCHEMA)
    assert tokens >= got.tokens_in and usd is not None and got.cost_usd is not None and usd >= got.cost_usd
