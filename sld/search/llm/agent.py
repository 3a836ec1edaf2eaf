"""The model as an agent: it works in turns with tools, and the engine judges what it tries between two batches.

Not every server hands tools on: a chat template may drop them, or the description of one, without a word, and the
model, which has not seen any, answers in prose with status 200. So a first reply without a call of a tool ends the
turns, and the model goes on as a proposer, which needs nothing but text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sld.chat.reply import Reply, ToolCall
from sld.data.splits import Fold
from sld.data.table import Table
from sld.search.candidates.candidate import MODEL, Candidate
from sld.search.candidates.selection import distinct
from sld.search.llm import tools, transcript
from sld.search.llm.credit import Credit
from sld.search.llm.model_proposer import Question, Waiting
from sld.search.llm.prompt import View, about, system
from sld.search.llm.propose import Propose
from sld.search.llm.replies import Heard, Idea, Rejected, by_target, hear, proposal_of, shared_in, start_in
from sld.search.llm.tools import MAX_ANSWER, ToolError
from sld.search.proposing.asynchronous import Moment

NO_TOOLS = (
    "its first reply called no tool (the server, or the model's chat template, may not hand tools on); from then on it "
    "was asked as with --llm-mode propose"
)
MAX_TURNS = 32
MAX_CALLS_A_TURN = 8
_MAX_SILENT = 2  # turns in a row without a call of a tool
_MAX_KEPT = 60_000  # characters of earlier turns that are sent again

_TASK = """\
Work in turns with the tools: look at the data, try formulas, look at their residuals, compare with published laws. \
Everything is judged on training rows. Several calls in one turn are answered together. You have {turns} turns. When \
you have found what you can, call propose_finals with your best formulas."""


@dataclass
class _Call:
    """A tool call of the current turn, and its answer once there is one."""

    id: str
    name: str
    arguments: str
    answer: str | None = None
    key: str = ""  # of the formula whose judgement is the answer


class Agent:
    """One conversation with tools."""

    def __init__(
        self, table: Table, folds: Sequence[Fold], *, model: str, task: str = "", max_constants: int = 20
    ) -> None:
        """Keep what the conversation is about."""
        self.table, self.folds, self.task, self.max_constants = table, folds, task, max_constants
        self.origin = f"{MODEL}{model}"
        self.turns = 0
        self._done = False
        self._silent = 0
        self._messages: list[dict[str, Any]] = []
        self._calls: list[_Call] = []
        self._tried: dict[str, Candidate] = {}  # by text
        self._said: list[str] = []
        self._called = False  # whether any reply has called a tool
        self._instead: Propose | None = None  # who asks, once the model turned out to have no tools
        self._make_proposer = partial(Propose, table, folds, model=model, task=task, max_constants=max_constants)

    @property
    def finished(self) -> bool:
        """Whether the model has proposed its finals, has no turns left, or will not use the tools any more."""
        if self._instead is not None:
            return self._instead.finished
        return self._done or self.turns >= MAX_TURNS or self._silent >= _MAX_SILENT

    @property
    def remark(self) -> str:
        """What the report has to say of how the conversation went."""
        return "" if self._instead is None else NO_TOOLS

    def question(self, moment: Moment, credit: Credit, n_waiting: int) -> Question | None:
        """Return the next turn when every call of the last one has its answer."""
        if self._instead is not None:
            return self._instead.question(moment, credit, n_waiting)
        self._begin(moment)
        if any(c.answer is None for c in self._calls):
            return None
        self._answer()
        return Question(_recent(self._messages), tools=tools.TOOLS)

    def hears(self, reply: Reply) -> Heard:
        """Read formulas in a reply that calls no tool."""
        if reply.status or reply.tool_calls or not reply.text:
            return Heard()
        return hear(reply.text, self.table, origin=self.origin, max_constants=self.max_constants)

    def takes(self, reply: Reply, heard: Heard, moment: Moment, credit: Credit) -> list[Waiting]:
        """Answer what can be answered at once; what is to be judged is answered when it has been."""
        if self._instead is not None:
            return self._instead.takes(reply, heard, moment, credit)
        self._begin(moment)
        self._answer()  # of a recorded turn, for which nobody asked
        self.turns += 1
        self._said.append(f"\n## Turn {self.turns}, after {moment.index} candidates\n\n{transcript.answer(reply)}")
        if reply.status:
            return []  # the same turn is asked for again
        if not reply.tool_calls and not self._called:
            return self._go_on_without_tools(heard)
        self._called = True
        self._calls = _numbered(reply.tool_calls, self.turns)
        self._messages.append(_as_message(reply, self._calls))
        self._silent = 0 if self._calls else self._silent + 1
        if not self._calls:
            self._said.append("\n".join(transcript.outcome(heard)) + "\n")
            n = len(heard.proposals)
            note = f"{n} formulas were taken from your text. " if n else ""
            note += "".join(f"{r.text}: {r.why}. " for r in heard.rejected[:5])
            self._messages.append({"role": "user", "content": f"{note}Use the tools, or end with propose_finals."})
            return [Waiting(proposal, idea.text) for proposal, idea in heard.proposals]
        waiting: list[Waiting] = []
        for call in self._calls[MAX_CALLS_A_TURN:]:
            call.answer = f"not done: at most {MAX_CALLS_A_TURN} calls in one turn"
        for call in self._calls[:MAX_CALLS_A_TURN]:
            try:
                waiting += self._run(call, moment)
            except ToolError as error:
                call.answer = f"error: {error}"
        return waiting

    def _go_on_without_tools(self, heard: Heard) -> list[Waiting]:
        self._instead = self._make_proposer()
        self._said.append("\n".join(transcript.outcome(heard)) + f"\n{NO_TOOLS[:1].upper()}{NO_TOOLS[1:]}.\n")
        return self._instead.keep(heard)

    def judged(self, key: str, outcome: str, candidate: Candidate | None) -> None:
        """Answer the calls that waited for this formula."""
        if self._instead is not None:
            self._instead.judged(key, outcome, candidate)
        if candidate is not None and candidate.status == "ok":
            self._tried[candidate.text] = candidate
        for call in self._calls:
            if call.key == key and call.answer is None:
                call.answer = outcome if candidate is None else tools.told(candidate, outcome)

    def transcript(self) -> str:
        """Return what was said since the last call."""
        said, self._said = self._said, []
        return "".join(said) + ("" if self._instead is None else self._instead.transcript())

    def _begin(self, moment: Moment) -> None:
        if self._messages:
            return
        view = View(
            table=self.table,
            folds=self.folds,
            max_constants=self.max_constants,
            task=self.task,
            front=moment.hall.front(),
            diverse=distinct(moment.hall.ranked(), 8),
            tried=moment.index,
            left=moment.left,
        )
        text = "\n\n".join(part for part in (*about(view), _TASK.format(turns=MAX_TURNS)) if part)
        self._messages = [{"role": "system", "content": system(self.table)}, {"role": "user", "content": text}]
        self._said.append(f"\n## The task\n\n{transcript.quoted(text)}")

    def _answer(self) -> None:
        """Put the answers of the last turn into the conversation."""
        for call in self._calls:
            text = call.answer if call.answer is not None else "not judged: the budget of the search ran out"
            if len(text) > MAX_ANSWER:
                text = text[:MAX_ANSWER] + "\n(cut)"
            self._messages.append({"role": "tool", "tool_call_id": call.id, "content": text})
            self._said.append(f"\nAnswer of `{transcript.line(call.name, 80)}`:\n\n{transcript.quoted(text)}")
        self._calls = []

    def _run(self, call: _Call, moment: Moment) -> list[Waiting]:
        given = tools.arguments_of(call.name, call.arguments)
        match call.name:
            case "describe_data":
                call.answer = tools.describe_data(self.table, given.get("group", ""), given.get("where"))
            case "show_residuals":
                expression = given.get("expression", "")
                call.answer = tools.show_residuals(self.table, moment, self._tried, given["variable"], expression)
            case "published_laws":
                call.answer = tools.published_laws(self.table, given.get("words", ""))
            case "show_best":
                call.answer = tools.show_best(moment)
            case "try_expression":
                return self._try(call, given)
            case "propose_finals":
                return self._finals(call, given)
        return []

    def _try(self, call: _Call, given: Mapping[str, Any]) -> list[Waiting]:
        expression = by_target(given["expression"], [t.column for t in self.table.targets])
        idea = Idea(expression, shared=shared_in(given), start=start_in(given))
        found = proposal_of(idea, self.table, origin=self.origin, max_constants=self.max_constants)
        if isinstance(found, Rejected):
            raise ToolError(f"{found.text}: {found.why}")
        call.key = found.key
        return [Waiting(found, idea.text, fully=True)]

    def _finals(self, call: _Call, given: Mapping[str, Any]) -> list[Waiting]:
        heard = hear(
            json.dumps(given, ensure_ascii=False), self.table, origin=self.origin, max_constants=self.max_constants
        )
        self._said.append("\n".join(transcript.outcome(heard)) + "\n")
        call.answer = f"{len(heard.proposals)} taken"
        if heard.rejected:
            call.answer += "; not taken: " + "; ".join(f"{r.text}: {r.why}" for r in heard.rejected[:8])
        if not heard.proposals:
            raise ToolError(f"no proposal could be read; {call.answer}")
        self._done = True
        return [Waiting(proposal, idea.text) for proposal, idea in heard.proposals]


def _numbered(calls: Sequence[ToolCall], turn: int) -> list[_Call]:
    """Return the calls with ids of our own where the model's are missing or not unique."""
    ids = [c.id for c in calls]
    good = len(set(ids)) == len(ids) and all(0 < len(i) <= 100 and i.isprintable() for i in ids)
    return [_Call(c.id if good else f"call_{turn}_{k}", c.name, c.arguments) for k, c in enumerate(calls)]


def _as_message(reply: Reply, calls: Sequence[_Call]) -> dict[str, Any]:
    """Return the model's turn as it is sent back to it."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text[:MAX_ANSWER]}
    if calls:
        message["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": _plain(c.name), "arguments": _whole(c.arguments)}}
            for c in calls
        ]
    return message


def _plain(name: str) -> str:
    """Return a name that every server takes back."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)[:64] or "unknown"


def _whole(arguments: str) -> str:
    """Return the arguments if they are a JSON object, else an empty one: servers refuse a conversation with others."""
    try:
        return arguments if len(arguments) <= MAX_ANSWER and isinstance(json.loads(arguments), dict) else "{}"
    except (ValueError, RecursionError):
        return "{}"


def _recent(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the conversation without its oldest turns where it has become long; a call stays with its answers."""
    head, rest = list(messages[:2]), list(messages[2:])
    starts = [i for i, m in enumerate(rest) if m["role"] == "assistant"]
    for start in starts:
        kept = rest[start:]
        if sum(len(str(m)) for m in kept) <= _MAX_KEPT:
            return [*head, *kept]
    return [*head, *(rest[starts[-1] :] if starts else rest)]
