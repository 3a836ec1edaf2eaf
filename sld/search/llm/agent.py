"""The model as an agent: it works in turns with tools, and the engine judges what it tries between two batches.

Not every server hands tools on: a chat template may drop them, or the description of one, without a word, and the
model, which has not seen any, answers in prose with status 200. So a first reply without a call of a tool ends the
turns, and the model goes on as a proposer, which needs nothing but text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sld.chat.reply import Reply, ToolCall
from sld.search.candidates.candidate import MODEL, Candidate
from sld.search.candidates.selection import distinct
from sld.search.llm import tools, transcript
from sld.search.llm.credit import Credit
from sld.search.llm.dialogue import Question, Waiting
from sld.search.llm.prompt import View, about, system
from sld.search.llm.propose import ProposeDialogue
from sld.search.llm.replies import ParsedReply, parse_reply
from sld.search.llm.tools import MAX_ANSWER, ToolError
from sld.search.proposing.asynchronous import SearchContext, SearchState

NO_TOOLS = (
    "its first reply called no tool (the server, or the model's chat template, may not hand tools on); from then on it "
    "was asked as with --llm-mode propose"
)
NO_CREDIT = "not now: your share of the fits is used up; it grows with what your formulas earn, so try one"
MAX_TURNS = 32  # said in the prompt, so that the model gets to its finals in time
MAX_CALLS_A_TURN = 8  # the rest is not done: a turn is for thinking about what the last one brought
_MAX_SILENT = 2  # turns in a row without a call of a tool, the reminder between them included
_MAX_KEPT = (
    60_000  # characters of earlier turns that are sent again: more than a full turn of answers (8 of `MAX_ANSWER`)
)

_TASK = """\
Work in turns with the tools: {advice}. Everything is judged on training rows. Several calls in one turn are answered \
together. You have {turns} turns. When you have found what you can, call {finals} with your best formulas."""


@dataclass
class _Call:
    """A tool call of the current turn, and its answer once there is one."""

    id: str
    name: str
    arguments: str
    answer: str | None = None
    key: str = ""  # of the formula whose judgement is the answer


class AgentDialogue:
    """One conversation with tools.

    Examples:
        ``AgentDialogue(context, model="gpt-5")`` asks its first question with the task and the tools; `take` does what
        the reply calls for, and the next `question` carries the answers, once all formulas tried have been judged.
    """

    def __init__(self, context: SearchContext, *, model: str, question: str = "") -> None:
        """Keep what the conversation is about; `question` is what the law is for, in a person's words."""
        self.context, self.model, self.asked_for = context, model, question
        self.origin = f"{MODEL}{model}"
        self.turns = 0
        self._done = False
        self._silent = 0
        self._messages: list[dict[str, Any]] = []
        self._calls: list[_Call] = []
        self._tried: dict[str, Candidate] = {}  # by text
        self._said: list[str] = []
        self._called = False  # whether any reply has called a tool
        self._instead: ProposeDialogue | None = None  # who asks, once the model turned out to have no tools

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

    def question(self, state: SearchState, n_waiting: int) -> Question | None:
        """Return the next turn when every call of the last one has its answer."""
        if self._instead is not None:
            return self._instead.question(state, n_waiting)
        self._begin(state)
        if any(c.answer is None for c in self._calls):
            return None
        self._answer()
        return Question(_recent(self._messages), tools=tools.schemas())

    def parse(self, reply: Reply) -> ParsedReply:
        """Read formulas in a reply that calls no tool."""
        if reply.status or reply.tool_calls or not reply.text:
            return ParsedReply()
        return parse_reply(reply.text, self.context.table, origin=self.origin, max_constants=self.context.max_constants)

    def take(self, reply: Reply, parsed: ParsedReply, state: SearchState, credit: Credit) -> list[Waiting]:
        """Answer what can be answered at once; what is to be judged is answered when it has been."""
        if self._instead is not None:
            return self._instead.take(reply, parsed, state, credit)
        self._begin(state)
        self._answer()  # of a recorded turn, for which nobody asked
        self.turns += 1
        self._said.append(f"\n## Turn {self.turns}, after {state.index} candidates\n\n{transcript.answer(reply)}")
        if reply.status:
            return []  # the same turn is asked for again
        if not reply.tool_calls and not self._called:
            return self._go_on_without_tools(parsed)
        self._called = True
        self._calls = _numbered(reply.tool_calls, self.turns)
        self._messages.append(_as_message(reply, self._calls))
        self._silent = 0 if self._calls else self._silent + 1
        if not self._calls:
            self._said.append("\n".join(transcript.outcome(parsed)) + "\n")
            n = len(parsed.proposals)
            note = f"{n} formulas were taken from your text. " if n else ""
            note += "".join(f"{r.text}: {r.why}. " for r in parsed.rejected[:5])
            self._messages.append({"role": "user", "content": f"{note}Use the tools, or end with {tools.FINALS}."})
            return [Waiting(proposal, idea.text) for proposal, idea in parsed.proposals]
        waiting: list[Waiting] = []
        for call in self._calls[MAX_CALLS_A_TURN:]:
            call.answer = f"not done: at most {MAX_CALLS_A_TURN} calls in one turn"
        for call in self._calls[:MAX_CALLS_A_TURN]:
            try:
                waiting += self._run(call, state, credit)
            except ToolError as error:
                call.answer = f"error: {error}"
        return waiting

    def _go_on_without_tools(self, parsed: ParsedReply) -> list[Waiting]:
        self._instead = ProposeDialogue(self.context, model=self.model, question=self.asked_for)
        self._said.append("\n".join(transcript.outcome(parsed)) + f"\n{NO_TOOLS[:1].upper()}{NO_TOOLS[1:]}.\n")
        return self._instead.keep(parsed)

    def observe(self, key: str, outcome: str, candidate: Candidate | None) -> None:
        """Answer the calls that waited for this formula."""
        if self._instead is not None:
            self._instead.observe(key, outcome, candidate)
        if candidate is not None and candidate.status == "ok":
            self._tried[candidate.text] = candidate
        for call in self._calls:
            if call.key == key and call.answer is None:
                call.answer = outcome if candidate is None else tools.judgement(candidate, outcome)

    def transcript(self) -> str:
        """Return what was said since the last call."""
        said, self._said = self._said, []
        return "".join(said) + ("" if self._instead is None else self._instead.transcript())

    def _begin(self, state: SearchState) -> None:
        if self._messages:
            return
        view = View(
            table=self.context.table,
            folds=self.context.folds,
            max_constants=self.context.max_constants,
            task=self.context.task,
            front=state.hall.front(),
            diverse=distinct(state.hall.ranked(), 8),
            tried=state.index,
            left=state.left,
            question=self.asked_for,
        )
        task = _TASK.format(advice=tools.advice(), turns=MAX_TURNS, finals=tools.FINALS)
        text = "\n\n".join(part for part in (*about(view), task) if part)
        self._messages = [{"role": "system", "content": system(self.context.table)}, {"role": "user", "content": text}]
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

    def _run(self, call: _Call, state: SearchState, credit: Credit) -> list[Waiting]:
        """Do what a call asks for; raises ToolError."""
        tool = tools.tool_named(call.name)
        context = self.context
        seen = tools.ToolContext(
            context.table, state, self._tried, self.origin, context.max_constants, folds=context.folds
        )
        given = tool.arguments(call.arguments)
        if tool.fits and not state.idle and not credit.affords:
            raise ToolError(NO_CREDIT)  # the engine keeps its share of the time, whatever the model asks for
        result = tool.answer(seen, given)
        if isinstance(result, str):
            result = tools.ToolResult(result)
        credit.charge(result.n_fits)
        if result.parsed is not None:
            self._said.append("\n".join(transcript.outcome(result.parsed)) + "\n")
        call.answer = result.text
        if result.text is None:
            call.key = result.proposals[0].proposal.key
        self._done = self._done or result.ends
        return list(result.proposals)


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
