"""Which model proposes beside a search, and how: the settings, and the proposer that is made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from sld.core.errors import UsageError, suggest

if TYPE_CHECKING:
    from sld.chat.arrivals import Arrival
    from sld.chat.ledger import Ledger
    from sld.data.table import Table
    from sld.search.llm.dialogue import Dialogue
    from sld.search.llm.model_proposer import ModelProposer
    from sld.search.proposing.asynchronous import SearchContext

Mode = Literal["propose", "agent"]
MODES: tuple[str, ...] = get_args(Mode)

_MAX_NAME = 200  # characters; what is longer was pasted by mistake
_MAX_QUESTION = 500  # characters: a question, not a paper
_ANSWER = 8192  # tokens at most: models that reason count that as well
_TIMEOUT_S = 180.0  # nobody waits for it


@dataclass(frozen=True)
class LLM:
    """A language model that proposes formulas beside the engine; pass it to `sld.discover(..., llm=LLM("gpt-5"))`.

    The key is read from OPENAI_API_KEY and the server's address from OPENAI_BASE_URL.

    Attributes:
        model: Its name, as the server knows it.
        mode: "propose": it is shown the state of the search and answers with formulas. "agent": it works in turns with
            tools.
        budget: What may be spent in all, e.g. "0.50usd" or "200ktok".
        replay: A run folder (or its exchange.jsonl) whose replies come again, with no server asked.
        prices: A price table of your own, see `sld/chat/prices.toml`.
        question: What the law is for, in your words: the model reads it with the data. It changes nothing else.

    Examples:
        >>> LLM("gpt-5", mode="agent", budget="0.50usd").config
        {'llm': {'model': 'gpt-5', 'mode': 'agent'}}
    """

    model: str
    mode: str = "propose"
    budget: str | None = None
    replay: str | Path | None = None
    prices: str | Path | None = None
    question: str = ""

    def __post_init__(self) -> None:
        """Check what can be checked without the network; raises UsageError."""
        if self.mode not in MODES:
            raise UsageError(suggest(self.mode, MODES, kind="mode of the language model"))
        if not self.model.strip() or not self.model.isprintable() or len(self.model) > _MAX_NAME:
            raise UsageError(f"the language model needs a name, e.g. gpt-5; got {self.model[:40]!r}")
        if len(self.question) > _MAX_QUESTION:
            raise UsageError(
                f"the question to the language model has at most {_MAX_QUESTION} characters, got {len(self.question)}"
            )
        if self.budget is not None:
            from sld.chat.ledger import Limit

            Limit.parse(self.budget)

    @staticmethod
    def replayed(path: str | Path, *, model: str | None = None, mode: str | None = None) -> LLM:
        """Return the settings of a run whose replies are to come again.

        Args:
            path: The run folder, or a file in its `llm` folder.
            model: Where the run folder does not say.
            mode: Likewise.

        Raises:
            UsageError: There is no such run, or it had no language model.
        """
        file = _replies_of(Path(path))
        said: Mapping[str, Any] = {}
        for folder in (file.parent.parent, file.parent):
            try:
                config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(config, dict) and isinstance(config.get("llm"), dict):
                said = config["llm"]
                break
        name = model or said.get("model")
        if not isinstance(name, str):
            raise UsageError(f"{path} does not say which model it was; name it with --llm MODEL")
        asked = said.get("question", "")
        asked = asked if isinstance(asked, str) else ""
        return LLM(name, str(mode or said.get("mode", "propose")), replay=path, question=asked)

    @property
    def config(self) -> Mapping[str, Any]:
        """What belongs to the question that a run folder answers."""
        asked = {"question": self.question} if self.question else {}
        return {"llm": {"model": self.model, "mode": self.mode, **asked}}

    def check(self) -> None:
        """Refuse what cannot work before anything is searched.

        Raises:
            UsageError: There is no key, no `openai` package, no price for a limit in dollars, or nothing to replay.
        """
        self._ledger()
        if self.replay is not None:
            _recorded(Path(self.replay))
            return
        from sld.chat.settings import from_environment

        from_environment(self.model)

    def make(self, context: SearchContext) -> ModelProposer:
        """Return the proposer of one search.

        Raises:
            UsageError: As `check`.
        """
        from sld.chat.arrivals import ARRIVALS, read_arrivals
        from sld.chat.ledger import Booking
        from sld.search.llm.model_proposer import ModelProposer, Recorded

        folder = context.folder
        own = folder / ARRIVALS if folder is not None else None
        earlier = read_arrivals(own, mend=True) if own is not None and own.exists() else []
        recorded: list[Arrival] = earlier
        chat = None
        if self.replay is not None:
            recorded = _recorded(Path(self.replay))
            ledger = self._ledger()
            for arrival in recorded:
                ledger.settle(None, Booking(0, 0, 0.0, cached=True, failed=bool(arrival.reply.status)))
        else:
            from sld.chat.client import Chat
            from sld.chat.record import EXCHANGE, Record
            from sld.chat.settings import from_environment

            settings, key = from_environment(self.model)
            record = Record(None if folder is None else folder / EXCHANGE)
            ledger = self._ledger(record.bookings())
            settings = replace(settings, timeout_s=_TIMEOUT_S, max_tokens=_ANSWER)
            chat = Chat(settings, api_key=key, ledger=ledger, record=record)
        recorded_replies = Recorded(recorded, written=len(earlier))
        return ModelProposer(self, self.dialogue(context), chat, context, ledger=ledger, recorded=recorded_replies)

    def dialogue(self, context: SearchContext) -> Dialogue:
        """Return how the conversation goes."""
        if self.mode == "agent":
            from sld.search.llm.agent import AgentDialogue

            return AgentDialogue(context, model=self.model, question=self.question)
        from sld.search.llm.propose import ProposeDialogue

        return ProposeDialogue(context, model=self.model, question=self.question)

    def dry_run(self, table: Table, task: Mapping[str, Any], max_constants: int) -> dict[str, Any]:
        """Return the first prompt and what it may cost; nothing is sent.

        Returns:
            "messages", "tools" (names), "tokens_in" (estimate), "tokens_out" and "cost_usd" (at most; no cost without a
            price).

        Raises:
            UsageError: The table cannot be searched, or the price table cannot be read.
        """
        from sld.chat.client import Chat
        from sld.chat.record import Record
        from sld.chat.settings import ChatSettings
        from sld.data.splits import rung_folds
        from sld.search.candidates.hall_of_fame import HallOfFame
        from sld.search.proposing.asynchronous import SearchContext, SearchState
        from sld.search.screening.rows import (
            SEARCH_GROUPS,
            SEARCH_ROWS,
            check,
            of_few_groups,
            thinned,
            with_enough_rows,
        )

        table = with_enough_rows(table, max_constants)
        check(table)
        table = thinned(of_few_groups(table, SEARCH_GROUPS), SEARCH_ROWS)
        context = SearchContext(table, rung_folds(table), 0, max_constants, str(task.get("name") or ""))
        state = SearchState(HallOfFame(), 0, 0, "all of it", float("inf"), set(), {})
        question = self.dialogue(context).question(state, 0)
        assert question is not None
        asked = ChatSettings(self.model, max_tokens=_ANSWER)
        chat = Chat(asked, api_key="none", ledger=self._ledger(), record=Record(None))
        tokens, cost = chat.estimate(question.messages, schema=question.schema, tools=question.tools)
        return {
            "model": self.model,
            "mode": self.mode,
            "messages": [dict(m) for m in question.messages],
            "tools": [t["function"]["name"] for t in question.tools],
            "tokens_in": tokens,
            "tokens_out": _ANSWER,
            "cost_usd": cost,
            "budget": self.budget,
        }

    def _ledger(self, earlier: Sequence[Any] = ()) -> Ledger:
        from sld.chat.ledger import Ledger, Limit, price_of

        limit = None if self.budget is None else Limit.parse(self.budget)
        return Ledger(limit, price_of(self.model, None if self.prices is None else Path(self.prices)), earlier)


def _replies_of(path: Path) -> Path:
    """Return the file with the replies of a run: the one that says when they arrived where there is one."""
    from sld.chat.arrivals import ARRIVALS
    from sld.chat.record import EXCHANGE

    folders = [path, path / ARRIVALS.parent] if path.is_dir() else [path.parent]
    for name in (ARRIVALS.name, EXCHANGE.name):
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
    if path.is_file():
        return path
    raise UsageError(f"no recorded replies in {path}; give the run folder of a search with a language model")


def _recorded(path: Path) -> list[Arrival]:
    from sld.chat.arrivals import ARRIVALS, Arrival, read_arrivals
    from sld.chat.record import Record

    file = _replies_of(path)
    if file.name == ARRIVALS.name:
        return read_arrivals(file)
    # nothing says when they arrived: each reply comes as soon as it was asked for
    lines = Record(file, replay=True).lines
    return [Arrival(line.turn or 0, line.turn or 0, line.reply) for line in lines]
