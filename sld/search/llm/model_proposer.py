"""A language model as the guest of a search: calls run in the background, and what arrives is judged like all else.

Between two batches the visitor looks whether a reply has arrived, hands its formulas on as far as the model's credit
goes, breeds from those that did well, and asks again when there is something new to say. All of this is a function of
the candidates so far and of when replies arrived; the latter is written down, so that a run can be repeated.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
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
from sld.data.table import Table
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.candidates.selection import distinct
from sld.search.judging.judge import Proposal
from sld.search.llm.credit import FLOOR, Credit
from sld.search.llm.replies import Heard, Rejected
from sld.search.proposing.asynchronous import Moment
from sld.search.proposing.evolution import children
from sld.search.proposing.proposers import ISLANDS

TRANSCRIPT = Path("llm") / "transcript.md"
MAX_CALLS = 400
_GIVE_UP = 6  # replies in a row that could not be used
_PARENTS = 32
_LEAST_BRED = 12  # children in a batch, at least: fewer are not worth a look for parents
_MOST_BRED = 96
_MAX_QUEUE = 256


@dataclass(frozen=True)
class Question:
    """What is sent to the model."""

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


class Mind(Protocol):
    """How a conversation goes: what is asked, and what becomes of the reply."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to ask."""
        ...

    @property
    def remark(self) -> str:
        """What the report has to say of how it went; "" where all went as asked for."""
        ...

    def question(self, moment: Moment, credit: Credit, n_waiting: int) -> Question | None:
        """Return what to ask now, or None while there is nothing to ask."""
        ...

    def hears(self, reply: Reply) -> Heard:
        """Return what a reply comes to; runs in the background and changes nothing."""
        ...

    def takes(self, reply: Reply, heard: Heard, moment: Moment, credit: Credit) -> list[Waiting]:
        """Take a reply in, between two batches; return what is to be judged."""
        ...

    def judged(self, key: str, outcome: str, candidate: Candidate | None) -> None:
        """Hear what became of a proposal."""

    def transcript(self) -> str:
        """Return what was said since the last call, as Markdown."""
        ...


class Chat(Protocol):
    """What is needed of a client, see `sld.chat.client`."""

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

    async def close(self) -> None:
        """Close all connections."""


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


class Visitor:
    """The guest of one search."""

    def __init__(
        self,
        mind: Mind,
        chat: Chat | None,
        table: Table,
        ledger: Ledger,
        *,
        model: str,
        mode: str,
        seed: int,
        max_constants: int,
        folder: Path | None = None,
        recorded: Sequence[Arrival] = (),
        written: int = 0,
        warm: Callable[[], None] | None = None,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            mind: How the conversation goes.
            chat: Who is asked; None when only recorded replies count.
            table: The rows of the search.
            ledger: What was spent, for the report.
            model: Its name.
            mode: "propose" or "agent".
            seed: Of the search.
            max_constants: Limit per group and target.
            folder: Run folder; None writes nothing.
            recorded: Replies that come again when they came, before anything is asked.
            written: How many of them the run folder holds already.
            warm: Called before the clock starts.
        """
        self.mind, self.chat, self.table, self.ledger = mind, chat, table, ledger
        self.model, self.mode, self.seed, self.max_constants = model, mode, seed, max_constants
        self.folder = folder
        self.recorded = deque(recorded)
        self.written = written
        self.warm = warm
        self.credit = Credit()
        self.line = HallOfFame()  # the model's formulas and their descendants
        self.tally = _Tally()
        self.queue: deque[Waiting] = deque()
        self.stopped = ""
        self._background = Background()
        self._pending: Future[tuple[Reply, Heard]] | None = None
        self._asked = 0
        self._failures = 0
        self._own: dict[str, str] = {}  # key to text, of what is being judged at the model's expense and from its pen
        self._seen: set[str] = set()
        self._proposed: set[str] = set()
        self._arrivals = 0
        self._best: float = float("inf")

    def prepare(self) -> None:
        """Import the client before the clock starts."""
        if self.warm is not None:
            self.warm()

    def collect(self, moment: Moment) -> list[Proposal]:
        """Return what of the model's is to be judged next."""
        self._receive(moment)
        found = self._next(moment)
        self._ask(moment)
        return found

    def told(self, candidate: Candidate, n_fits: int) -> None:
        """Enter a candidate in the account; the model hears of its own."""
        self.credit.note(candidate, n_fits, charged=candidate.of_model)
        if candidate.of_model:
            self.line.add(candidate)
        if candidate.of_model and self._own.pop(candidate.key, None) is not None:
            self.tally.judged += 1
            if candidate.status != "ok":
                self.tally.behind[candidate.status] += 1
            self.mind.judged(candidate.key, _outcome(candidate, self._best), candidate)
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
            if self.folder is not None and not self.transcript:
                with contextlib.suppress(SldError):  # the search is over: a full disk costs no law
                    append(self.folder / TRANSCRIPT, f"{self.model} was asked; the search ended before it answered.\n")
        self._background.close(None if self.chat is None else self.chat.close)

    # -- replies

    def _receive(self, moment: Moment) -> None:
        if self.recorded:
            while self.recorded and moment.index >= self.recorded[0].arrived:
                arrival = self.recorded.popleft()
                self._take(arrival, self.mind.hears(arrival.reply), moment)
            return
        if self._pending is None or moment.taking_up or not self._pending.done():
            return
        pending, self._pending = self._pending, None
        try:
            reply, heard = pending.result()
        except CancelledError:
            return
        except SldError as error:  # the record cannot be written
            reply, heard = Reply(status=str(error), final=True), Heard()
        self._take(Arrival(self._asked, moment.index, reply), heard, moment)

    def _take(self, arrival: Arrival, heard: Heard, moment: Moment) -> None:
        self._arrivals += 1
        if self.folder is not None and self._arrivals > self.written:
            append_arrival(self.folder / ARRIVALS, arrival)
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
        waiting = self.mind.takes(reply, heard, moment, self.credit)
        self.tally.proposed += len(waiting) + len(heard.rejected)
        self.tally.rejected.update(_kind(r) for r in heard.rejected)
        self.tally.ignored += heard.ignored
        self._proposed.update(w.proposal.key for w in waiting)
        self.queue.extend(waiting[: max(0, _MAX_QUEUE - len(self.queue))])
        self._write()

    def _write(self) -> None:
        text = self.mind.transcript()
        if text and self.folder is not None and self._arrivals > self.written:
            append(self.folder / TRANSCRIPT, text)

    # -- questions

    def _ask(self, moment: Moment) -> None:
        if self.chat is None or self._pending is not None or self.recorded or moment.taking_up:
            return
        if self.stopped or self.mind.finished or self.tally.calls >= MAX_CALLS:
            return
        question = self.mind.question(moment, self.credit, len(self.queue))
        if question is not None:
            self._asked = moment.index
            self._pending = self._background.submit(self._call(self.chat, question, moment.index))

    async def _call(self, chat: Chat, question: Question, turn: int) -> tuple[Reply, Heard]:
        reply = await chat.ask(question.messages, schema=question.schema, tools=question.tools, turn=turn)
        return reply, self.mind.hears(reply)

    # -- proposals

    def _next(self, moment: Moment) -> list[Proposal]:
        room = len(self.queue) if moment.idle else self.credit.affords
        found: list[Proposal] = []
        while self.queue and len(found) < room:
            waiting = self.queue.popleft()
            proposal = waiting.proposal
            if proposal.key in self._own:
                continue  # it is being judged
            mark = _mark(proposal)
            if mark in self._seen or mark in moment.seen:
                self.tally.known += 1
                held = next((c for c in moment.hall.ranked() if c.key == proposal.key), None)
                said = "known already" if held is None else f"known already; {_outcome(held, self._best)}"
                self.mind.judged(proposal.key, said, held)
                continue
            self._seen.update((mark, proposal.key))
            self._own[proposal.key] = waiting.text
            bar = float("inf") if waiting.fully else moment.bar
            island = (self.tally.judged + len(found)) % ISLANDS
            found.append(replace(proposal, bar=bar, island=island))
        breeds = moment.evolves and not moment.idle and self.credit.share > FLOOR
        if breeds and not found and not self.queue and room >= _LEAST_BRED:
            found = self._bred(moment, min(room, _MOST_BRED))
        return found

    def _bred(self, moment: Moment, n: int) -> list[Proposal]:
        """Return children of the model's formulas and their descendants."""
        parents = distinct(self.line.ranked(), _PARENTS)
        partners = distinct(moment.hall.ranked(), _PARENTS)
        rng = np.random.default_rng([self.seed, moment.index, 1])
        seen = _Both(moment.seen, self._seen)
        made = list(children(parents, self.table, seen, n, rng, self.max_constants, partners))
        self.tally.bred += len(made)
        return [replace(p, bar=moment.bar, island=ISLANDS) for p in made]

    # -- the report

    @property
    def transcript(self) -> str:
        """Where in the run folder it can be read what was said; "" where that is nowhere."""
        written = self.folder is not None and (self.folder / TRANSCRIPT).is_file()
        return TRANSCRIPT.as_posix() if written else ""

    def summary(self, chosen: Candidate) -> dict[str, Any]:
        """Return what the report says of the model."""
        credit, tally = self.credit, self.tally
        engine, model = 0, 1
        total = max(1, sum(credit.fits))
        return {
            "model": self.model,
            "mode": self.mode,
            "calls": tally.calls,
            "cancelled": tally.cancelled,
            "failed": dict(tally.failed),
            "stopped": self.stopped,
            "remark": self.mind.remark,
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
            "share_of_fits": credit.fits[model] / total,
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
