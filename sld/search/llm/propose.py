"""The model as a proposer: it is shown the state of the search, and answers with formulas."""

from __future__ import annotations

from sld.chat.reply import Reply
from sld.search.candidates.candidate import MODEL, Candidate
from sld.search.candidates.selection import distinct
from sld.search.llm.credit import Credit
from sld.search.llm.dialogue import Question, Waiting
from sld.search.llm.prompt import WANTED, View, messages
from sld.search.llm.replies import ParsedReply, Rejected, parse_reply, schema
from sld.search.llm.transcript import exchange
from sld.search.proposing.asynchronous import SearchContext, SearchState

_SOON = 300  # candidates after a reply that the engine tries before the model is asked again, if the best law is new
_LATE = 2000  # if it is not
_PATIENCE = 32  # how many times as long, at most, after replies that brought nothing
_STUBBORN = 4  # patience up to which it is asked at once where the engine has nothing left to try
_SHOWN = 12  # of its own formulas, and of those that behave differently: more is not read


class ProposeDialogue:
    """Asks again and again, with what is new; seldom, where that brought nothing.

    Examples:
        ``ProposeDialogue(context, model="gpt-5").question(state, 0)`` is the first question, and None is the second as
        long as nothing has become of the first.
    """

    finished = False
    remark = ""

    def __init__(self, context: SearchContext, *, model: str, question: str = "") -> None:
        """Keep what every prompt is about; `question` is what the law is for, in a person's words."""
        self.context, self.asked_for = context, question
        self.origin = f"{MODEL}{model}"
        self._own: dict[str, tuple[str, str]] = {}  # key to text and outcome
        self._rejected: list[Rejected] = []
        self._last = -1  # candidates judged when the last reply came
        self._best = ""  # key of the best law then
        self._gain = 0.0
        self._patience = 1
        self._said: list[str] = []
        self._asked = ""

    def question(self, state: SearchState, n_waiting: int) -> Question | None:
        """Return a question when the last answer is used up and there is news."""
        if self._last >= 0:
            since = state.index - self._last
            if state.idle:  # nobody else is at work
                since = _LATE * _PATIENCE if self._patience <= _STUBBORN else 0
            best = state.hall.best if since >= _SOON * self._patience else None
            news = best is not None and best.key != self._best
            if n_waiting > WANTED or not (news or since >= _LATE * self._patience):
                return None
        asked = messages(self.view(state))
        self._asked = str(asked[-1]["content"])
        return Question(asked, schema=schema(self.context.table))

    def view(self, state: SearchState) -> View:
        """Return what the model is shown."""
        return View(
            table=self.context.table,
            folds=self.context.folds,
            max_constants=self.context.max_constants,
            task=self.context.task,
            front=state.hall.front(),
            diverse=distinct(state.hall.ranked(), _SHOWN),
            own=list(self._own.values())[-_SHOWN:],
            rejected=self._rejected,
            tried=state.index,
            left=state.left,
            counts=state.counts,
            question=self.asked_for,
        )

    def parse(self, reply: Reply) -> ParsedReply:
        """Read the formulas in a reply."""
        if reply.status or not reply.text:
            return ParsedReply()
        return parse_reply(reply.text, self.context.table, origin=self.origin, max_constants=self.context.max_constants)

    def take(self, reply: Reply, parsed: ParsedReply, state: SearchState, credit: Credit) -> list[Waiting]:
        """Keep what the next question will say, and hand the proposals on."""
        fruitful = credit.gains[1] > self._gain or self._last < 0
        self._patience = 1 if fruitful and not reply.status else min(_PATIENCE, 2 * self._patience)
        self._gain, self._last = credit.gains[1], state.index
        best = state.hall.best
        self._best = "" if best is None else best.key
        self._said.append(exchange(state.index, self._asked, reply, parsed))
        self._asked = ""
        return self.keep(parsed, rejected=not reply.status)

    def keep(self, parsed: ParsedReply, *, rejected: bool = True) -> list[Waiting]:
        """Remember what a reply proposed, for the next question, and hand it on."""
        if rejected:
            self._rejected = list(parsed.rejected)
        for proposal, idea in parsed.proposals:
            self._own.setdefault(proposal.key, (idea.text, "not judged yet"))
        return [Waiting(proposal, idea.text) for proposal, idea in parsed.proposals]

    def observe(self, key: str, outcome: str, _candidate: Candidate | None) -> None:
        """Remember what became of a proposal, the latest last."""
        text = self._own.pop(key, ("", ""))[0]
        if text:
            self._own[key] = (text, outcome)

    def transcript(self) -> str:
        """Return what was said since the last call."""
        said, self._said = self._said, []
        return "".join(said)
