"""A model that answers from a script, without a client and without a network, beside a search."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sld.chat.arrivals import ARRIVALS, Arrival, append_arrival, read_arrivals
from sld.chat.ledger import Ledger
from sld.chat.reply import Reply, ToolCall
from sld.search.llm.model_proposer import ModelProposer, Recorded
from sld.search.llm.settings import LLM, _recorded
from sld.search.proposing.asynchronous import SearchContext

Answer = Reply | Callable[[Sequence[Mapping[str, Any]]], Reply]


def says(text: str, **fields: Any) -> Reply:
    return Reply(text=text, finish="stop", tokens_in=100, tokens_out=20, **fields)


def proposes(*formulas: str) -> Reply:
    return says(json.dumps({"proposals": [{"expression": f, "reason": "why not"} for f in formulas]}))


def calls(*named: tuple[str, Any]) -> Reply:
    made = tuple(
        ToolCall(f"c{k}", name, given if isinstance(given, str) else json.dumps(given))
        for k, (name, given) in enumerate(named)
    )
    return Reply(tool_calls=made, finish="tool_calls", tokens_in=100, tokens_out=20)


@dataclass
class FakeChat:
    """Answers in order; the last answer again and again."""

    script: Sequence[Answer]
    wait_s: float = 0.0
    asked: list[list[dict[str, Any]]] = field(default_factory=list)
    closed: bool = False
    cancelled: int = 0
    schemas: list[Mapping[str, Any] | None] = field(default_factory=list)
    tools: list[list[Mapping[str, Any]]] = field(default_factory=list)
    turns: list[int | None] = field(default_factory=list)

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        schema: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        turn: int | None = None,
    ) -> Reply:
        self.asked.append([dict(m) for m in messages])
        self.schemas.append(schema)
        self.tools.append(list(tools))
        self.turns.append(turn)
        try:
            await asyncio.sleep(self.wait_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        answer = self.script[min(len(self.asked), len(self.script)) - 1]
        return answer if isinstance(answer, Reply) else answer(messages)

    def prepare(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True


@dataclass
class Played:
    """The settings: `LLM`, but for who answers."""

    chat: FakeChat | None
    settings: LLM = field(default_factory=lambda: LLM("fake"))
    replay: Path | None = None
    proposer: ModelProposer | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        return self.settings.config

    def make(self, context: SearchContext) -> ModelProposer:
        own = None if context.folder is None else context.folder / ARRIVALS
        earlier = read_arrivals(own, mend=True) if own is not None and own.exists() else []
        replies = earlier if self.replay is None else _recorded(self.replay)
        dialogue = self.settings.dialogue(replace(context, task=""))
        recorded = Recorded(replies, written=len(earlier))
        self.proposer = ModelProposer(self.settings, dialogue, self.chat, context, ledger=Ledger(), recorded=recorded)
        return self.proposer


def arriving(folder: Path, *replies: tuple[int, Reply], mode: str = "propose") -> Played:
    """Return a model whose replies come when so many candidates have been judged."""
    for index, reply in replies:
        append_arrival(folder / ARRIVALS, Arrival(0, index, reply))
    return Played(None, replace(LLM("fake"), mode=mode), replay=folder)


def playing(*script: Answer, wait_s: float = 0.0, mode: str = "propose") -> Played:
    return Played(FakeChat(script, wait_s), replace(LLM("fake"), mode=mode))
