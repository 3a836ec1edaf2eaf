"""A conversation with a language model, as far as a search sees it: what is asked, and what becomes of a reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sld.chat.reply import Reply
from sld.search.candidates.candidate import Candidate
from sld.search.judging.judge import Proposal
from sld.search.llm.credit import Credit
from sld.search.llm.replies import ParsedReply
from sld.search.proposing.asynchronous import SearchState


@dataclass(frozen=True)
class Question:
    """What is sent to the model.

    Attributes:
        messages: Role and content of each, as chat completions have them.
        schema: JSON schema of the reply; None for text.
        tools: What the model may call, as chat completions have it.
    """

    messages: Sequence[Mapping[str, Any]]
    schema: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Waiting:
    """A proposal that is to be judged.

    Attributes:
        text: As the model wrote it.
        fully: It is judged to the end even where it is far behind.
    """

    proposal: Proposal
    text: str
    fully: bool = False


class Dialogue(Protocol):
    """How a conversation goes: `question` and `take` by turns, `observe` in between.

    Examples:
        The least there can be asks for JSON again and again, and takes what is in it::

            class Plain:
                finished, remark = False, ""

                def __init__(self, table: Table) -> None:
                    self.table = table

                def question(self, state: SearchState, n_waiting: int) -> Question | None:
                    return None if n_waiting else Question([{"role": "user", "content": "A law of N, please."}])

                def parse(self, reply: Reply) -> ParsedReply:
                    return parse_reply(reply.text, self.table, origin="llm:plain", max_constants=8)

                def take(self, reply, parsed, state, credit) -> list[Waiting]:
                    return [Waiting(proposal, idea.text) for proposal, idea in parsed.proposals]

                def observe(self, key, outcome, candidate) -> None: ...

                def transcript(self) -> str:
                    return ""
    """

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to ask."""
        ...

    @property
    def remark(self) -> str:
        """What the report has to say of how it went; "" where all went as asked for."""
        ...

    def question(self, state: SearchState, n_waiting: int, /) -> Question | None:
        """Return what to ask now, or None while there is nothing to ask; `n_waiting` formulas are to be judged yet."""
        ...

    def parse(self, reply: Reply, /) -> ParsedReply:
        """Return what a reply comes to; runs in the background and changes nothing."""
        ...

    def take(self, reply: Reply, parsed: ParsedReply, state: SearchState, credit: Credit, /) -> list[Waiting]:
        """Take a reply in, between two batches; return what is to be judged."""
        ...

    def observe(self, key: str, outcome: str, candidate: Candidate | None, /) -> None:
        """Take note of what became of a proposal."""

    def transcript(self) -> str:
        """Return what was said since the last call, as Markdown."""
        ...
