"""Asking the scripted server on loopback through the client, for the tests of the client."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from llm_server import Answer, Request, Server

from sld.chat.client import Chat
from sld.chat.ledger import Ledger
from sld.chat.record import Record
from sld.chat.reply import Reply
from sld.chat.settings import ChatSettings

KEY = "sk-test-0123456789abcdef"
MESSAGES = [{"role": "user", "content": "How does loss fall with N?"}]
SCHEMA = {"type": "object", "properties": {"formulas": {"type": "array", "items": {"type": "string"}}}}
TOOL = {"type": "function", "function": {"name": "try_formula", "parameters": {"type": "object"}}}
QUICK = ChatSettings(model="m", timeout_s=5.0, idle_s=0.2, backoff_s=0.01, max_retries=3, max_tokens=100)


def chat_at(server: Server, *, ledger: Ledger | None = None, record: Record | None = None, **changes: Any) -> Chat:
    stream = changes.pop("stream", False)
    settings = replace(QUICK, base_url=server.url, **changes)
    return Chat(settings, api_key=KEY, ledger=ledger or Ledger(), record=record or Record(None), stream=stream)


def ask_at_once(chat: Chat, times: int) -> list[Reply]:
    """Ask the numbers from 0, all at the same time."""

    async def conversation() -> list[Reply]:
        try:
            return list(await asyncio.gather(*(chat.ask([{"role": "user", "content": f"{i}"}]) for i in range(times))))
        finally:
            await chat.close()

    return asyncio.run(conversation())


def ask(chat: Chat, times: int = 1, **arguments: Any) -> list[Reply]:
    """Ask `times` different questions, one after the other."""

    async def conversation() -> list[Reply]:
        try:
            return [
                await chat.ask([*MESSAGES, {"role": "user", "content": f"question {i}"}], turn=i, **arguments)
                for i in range(times)
            ]
        finally:
            await chat.close()

    return asyncio.run(conversation())


def ask_once(script: Sequence[Answer | Callable[[Request], Answer]], **changes: Any) -> Reply:
    arguments = {name: changes.pop(name) for name in ("schema", "tools", "within_s") if name in changes}
    with Server(script) as server:
        return ask(chat_at(server, **changes), **arguments)[0]
