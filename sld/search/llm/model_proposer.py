"""A language model as a proposer: calls run in the background, and what arrives is judged like all else.

Between two batches it looks whether a reply has arrived, hands its formulas on as far as the model's credit
goes, breeds from those that did well, and asks again when there is something new to say. All of this is a function of
the candidates so far and of when replies arrived; the latter is written down, so that a run can be repeated.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sld.chat.arrivals import ARRIVALS, Arrival, append, append_arrival
from sld.chat.background import Background
from sld.chat.ledger import Ledger
from sld.chat.reply import Reply
from sld.core.errors import SldError
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.candidates.selection import distinct
from sld.search.judging.judge import Proposal
from sld.search.llm.credit import FLOOR, Credit
from sld.search.llm.dialogue import Dialogue, Question, Waiting
from sld.search.llm.replies import ParsedReply, Rejected
from sld.search.proposing.asynchronous import SearchContext, SearchState
from sld.search.proposing.evolution import children
from sld.search.proposing.proposers import ISLANDS

TRANSCRIPT = Path("llm") / "transcript.md"  # beside the record of the calls
MAX_CALLS = 400  # of one search: a model that answers without an end is not asked without one
_GIVE_UP = 6  # replies in a row that could not be used, after all tries of each
_PARENTS = 32  # as many as the search itself breeds from
_LEAST_BRED = 12  # children in a batch, at least: fewer are not worth a look for parents
_MOST_BRED = 96  # as many as a batch of the search has
_MAX_QUEUE = 256  # formulas that wait, four replies of the most (`MAX_IDEAS`); the rest of a flood is dropped


class Transport(Protocol):
    """What is needed of a client: `sld.chat.client.Chat`, or a script that answers in a test."""

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        schema: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        turn: int | None = None,
    ) -> Reply:
        """Return a reply, whatever happens."""
        ...

    def prepare(self) -> None:
        """Do now what the first call would do first, such as an import of half a second."""

    async def close(self) -> None:
        """Close all connections."""


@dataclass(frozen=True)
class Recorded:
    """Replies of an earlier run, which come again when they came, before anything is asked.

    Attributes:
        replies: With when they arrived, in candidates judged.
        written: How many of them the run folder holds already.
    """

    replies: Sequence[Arrival] = ()
    written: int = 0


NOTHING_RECORDED = Recorded()


class Named(Protocol):
    """What the report says of a model: `LLM`, or whoever stands in for it."""

    @property
    def model(self) -> str:
        """Its name."""
        ...

    @property
    def mode(self) -> str:
        """How it is asked, "propose" or "agent"."""
        ...


@dataclass
class _Tally:
    """What is counted for the report."""

    calls: int = 0
    cancelled: int = 0  # still unanswered when the search ended
    failed: Counter[str] = field(default_factory=Counter)
    proposed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    ignored: int = 0
    known: int = 0
    judged: int = 0
    behind: Counter[str] = field(default_factory=Counter)
    bred: int = 0
    seconds: float = 0.0


class ModelProposer:
    """A language model as an asynchronous proposer, for one search.

    Examples:
        ``sld.discover(table, llm=LLM("gpt-5"))`` makes one by ``LLM("gpt-5").make(context)``; the search calls
        `collect` between two batches, `observe` for each candidate, and `close` at its end.
    """

    def __init__(
        self,
        settings: Named,
        dialogue: Dialogue,
        transport: Transport | None,
        context: SearchContext,
        *,
        ledger: Ledger,
        recorded: Recorded = NOTHING_RECORDED,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            settings: Name and mode of the model, for the report.
            dialogue: How the conversation goes.
            transport: Who is asked; None when only recorded replies count.
            context: The search.
            ledger: What was spent, for the report.
            recorded: Replies of an earlier run.
        """
        self.settings, self.dialogue, self.transport = settings, dialogue, transport
        self.context, self.ledger = context, ledger
        self.recorded = deque(recorded.replies)
        self.written = recorded.written
        self.credit = Credit()
        self.line = HallOfFame()  # the model's formulas and their descendants
        self.tally = _Tally()
        self.queue: deque[Waiting] = deque()
        self.stopped = ""
        self._background = Background()
        self._pending: Future[tuple[Reply, ParsedReply]] | None = None
        self._asked = 0
        self._failures = 0
        self._own: dict[str, str] = {}  # key to text, of what is being judged at the model's expense and from its pen
        self._seen: set[str] = set()
        self._proposed: set[str] = set()
        self._arrivals = 0
        self._best: float = float("inf")

    def prepare(self) -> None:
        """Import the client before the clock starts."""
        if self.transport is not None:
            self.transport.prepare()

    def collect(self, state: SearchState) -> list[Proposal]:
        """Return what of the model's is to be judged next."""
        self._receive(state)
        found = self._next(state)
        self._ask(state)
        return found

    def observe(self, candidate: Candidate, n_fits: int) -> None:
        """Enter a candidate in the account; the conversation learns of its own."""
        self.credit.note(candidate, n_fits, charged=candidate.of_model)
        if candidate.of_model:
            self.line.add(candidate)
        if candidate.of_model and self._own.pop(candidate.key, None) is not None:
            self.tally.judged += 1
            if candidate.status != "ok":
                self.tally.behind[candidate.status] += 1
            self.dialogue.observe(candidate.key, _outcome(candidate, self._best), candidate)
        if candidate.status == "ok" and candidate.admissible:
            self._best = min(self._best, candidate.score)

    def expects(self) -> bool:
        """Whether a reply is on its way, or formulas are waiting."""
        return self._pending is not None or bool(self.queue)

    def close(self) -> None:
        """Cancel the call that is on its way."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
            self.tally.cancelled += 1
            if self.context.folder is not None and not self.transcript:
                note = f"{self.settings.model} was asked; the search ended before it answered.\n"
                with contextlib.suppress(SldError):  # the search is over: a full disk costs no law
                    append(self.context.folder / TRANSCRIPT, note)
        self._background.close(None if self.transport is None else self.transport.close)

    # -- replies

    def _receive(self, state: SearchState) -> None:
        if self.recorded:
            while self.recorded and state.index >= self.recorded[0].arrived:
                arrival = self.recorded.popleft()
                self._take(arrival, self.dialogue.parse(arrival.reply), state)
            return
        if self._pending is None or state.taking_up or not self._pending.done():
            return
        pending, self._pending = self._pending, None
        try:
            reply, parsed = pending.result()
        except CancelledError:
            return
        except SldError as error:  # the record cannot be written
            reply, parsed = Reply(status=str(error), final=True), ParsedReply()
        self._take(Arrival(self._asked, state.index, reply), parsed, state)

    def _take(self, arrival: Arrival, parsed: ParsedReply, state: SearchState) -> None:
        self._arrivals += 1
        if self.context.folder is not None and self._arrivals > self.written:
            append_arrival(self.context.folder / ARRIVALS, arrival)
        reply = arrival.reply
        self.tally.calls += 1
        self.tally.seconds += reply.seconds
        if reply.status:
            self._failures += 1
            self.tally.failed[reply.status] += 1
        else:
            self._failures = 0
        if reply.final or self._failures >= _GIVE_UP:
            self.stopped = reply.status or "the last call said that no further one can succeed"
        waiting = self.dialogue.take(reply, parsed, state, self.credit)
        self.tally.proposed += len(waiting) + len(parsed.rejected)
        self.tally.rejected.update(_kind(r) for r in parsed.rejected)
        self.tally.ignored += parsed.ignored
        self._proposed.update(w.proposal.key for w in waiting)
        self.queue.extend(waiting[: max(0, _MAX_QUEUE - len(self.queue))])
        self._write()

    def _write(self) -> None:
        text = self.dialogue.transcript()
        if text and self.context.folder is not None and self._arrivals > self.written:
            append(self.context.folder / TRANSCRIPT, text)

    # -- questions

    def _ask(self, state: SearchState) -> None:
        if self.transport is None or self._pending is not None or self.recorded or state.taking_up:
            return
        if self.stopped or self.dialogue.finished or self.tally.calls >= MAX_CALLS:
            return
        question = self.dialogue.question(state, len(self.queue))
        if question is not None:
            self._asked = state.index
            self._pending = self._background.submit(self._call(self.transport, question, state.index))

    async def _call(self, transport: Transport, question: Question, turn: int) -> tuple[Reply, ParsedReply]:
        reply = await transport.ask(question.messages, schema=question.schema, tools=question.tools, turn=turn)
        return reply, self.dialogue.parse(reply)

    # -- proposals

    def _next(self, state: SearchState) -> list[Proposal]:
        room = len(self.queue) if state.idle else self.credit.affords
        found: list[Proposal] = []
        while self.queue and len(found) < room:
            waiting = self.queue.popleft()
            proposal = waiting.proposal
            if proposal.key in self._own:
                continue  # it is being judged
            mark = _mark(proposal)
            if mark in self._seen or mark in state.seen:
                self.tally.known += 1
                held = next((c for c in state.hall.ranked() if c.key == proposal.key), None)
                said = "known already" if held is None else f"known already; {_outcome(held, self._best)}"
                self.dialogue.observe(proposal.key, said, held)
                continue
            self._seen.update((mark, proposal.key))
            self._own[proposal.key] = waiting.text
            bar = float("inf") if waiting.fully else state.bar
            island = (self.tally.judged + len(found)) % ISLANDS
            found.append(replace(proposal, bar=bar, island=island))
        breeds = state.evolves and not state.idle and self.credit.share > FLOOR
        if breeds and not found and not self.queue and room >= _LEAST_BRED:
            found = self._bred(state, min(room, _MOST_BRED))
        return found

    def _bred(self, state: SearchState, n: int) -> list[Proposal]:
        """Return children of the model's formulas and their descendants."""
        parents = distinct(self.line.ranked(), _PARENTS)
        partners = distinct(state.hall.ranked(), _PARENTS)
        rng = np.random.default_rng([self.context.seed, state.index, 1])
        seen = _Both(state.seen, self._seen)
        made = list(children(parents, self.context.table, seen, n, rng, self.context.max_constants, partners))
        self.tally.bred += len(made)
        return [replace(p, bar=state.bar, island=ISLANDS) for p in made]

    # -- the report

    @property
    def transcript(self) -> str:
        """Where in the run folder it can be read what was said; "" where that is nowhere."""
        written = self.context.folder is not None and (self.context.folder / TRANSCRIPT).is_file()
        return TRANSCRIPT.as_posix() if written else ""

    def summary(self, chosen: Candidate) -> dict[str, Any]:
        """Return what the report says of the model."""
        credit, tally = self.credit, self.tally
        engine, model = 0, 1
        total = max(1, sum(credit.fits) + credit.looked)
        return {
            "model": self.settings.model,
            "mode": self.settings.mode,
            "calls": tally.calls,
            "cancelled": tally.cancelled,
            "failed": dict(tally.failed),
            "stopped": self.stopped,
            "remark": self.dialogue.remark,
            "transcript": self.transcript,
            "seconds_waited_for": round(tally.seconds, 3),
            "ledger": self.ledger.to_json(),
            "proposed": tally.proposed,
            "rejected": dict(tally.rejected),
            "ignored": tally.ignored,
            "known": tally.known,
            "had_the_law": chosen.key in self._proposed,
            "judged": tally.judged,
            "not_judged_to_the_end": dict(tally.behind),
            "bred": tally.bred,
            "descendants": credit.judged[model] - tally.judged,
            "fits_of_tools": credit.looked,
            "share_of_fits": (credit.fits[model] + credit.looked) / total,
            "share_granted": credit.share,
            "shares": [list(item) for item in credit.shares],
            "gain": {"engine": credit.gains[engine], "model": credit.gains[model]},
            "best_law_improved": {"engine": credit.bests[engine], "model": credit.bests[model]},
        }


@dataclass(frozen=True)
class _Both:
    """What the search has tried and what the model has; new keys are the model's."""

    theirs: Collection[str]
    own: set[str]

    def __contains__(self, key: object, /) -> bool:
        return key in self.own or key in self.theirs

    def add(self, key: str, /) -> None:
        self.own.add(key)


def _mark(proposal: Proposal) -> str:
    """Return what tells proposals apart: the family and where to start from, which may find what others missed."""
    starts = [sorted(next(iter(f.start.values()), {}).items()) for f in proposal.forms]
    return f"{proposal.key} @ {starts}" if any(starts) else proposal.key


def _outcome(candidate: Candidate, best: float) -> str:
    """Return what became of a formula, in a few words."""
    if candidate.status != "ok":
        return candidate.status
    check = "" if candidate.admissible else f", fails a check: {candidate.reasons[0] if candidate.reasons else ''}"
    place = "the best so far" if candidate.score < best else f"the best has {best:.3f}"
    return f"score {candidate.score:.3f} ({place}){check}"


def _kind(rejected: Rejected) -> str:
    """Return the reason without what differs from formula to formula."""
    why = rejected.why
    for begins, short in (
        ("unknown function", "an unknown function"),
        ("unknown operator", "an unknown operator"),
        ("expected", "not a formula"),
        ("it uses none", "no variable"),
        ("it has no constants", "no constants"),
        ("no formula for", "a target without a formula"),
    ):
        if why.startswith(begins):
            return short
    for within, short in (
        ("nodes; at most", "too long"),
        ("characters; at most", "too long"),
        ("constants; at most", "too many constants"),
        ("double underscore", "a name that is not allowed"),
    ):
        if within in why:
            return short
    return "not in the grammar"
