"""Asynchronous proposers: asked between two batches, never waited for, whatever they are busy with meanwhile.

An ordinary proposer is an iterator of formulas that the search draws from. An asynchronous one works beside the search,
in a thread or at the other end of a network, and hands over what it has when it is asked. A language model is one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sld.data.splits import Fold
from sld.data.table import Table
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.judging.judge import Proposal

FOLDER = "asynchronous"  # in the run folder, for what has to be known when a search is taken up; `llm` is the model's


@dataclass(frozen=True)
class SearchContext:
    """What does not change during a search.

    Attributes:
        table: The training rows that the search judges on.
        folds: How they are split into lower rungs to fit and higher ones to predict.
        seed: Of the search; whatever is drawn at random has to follow from it.
        max_constants: Limit per group and target.
        task: Name of the task; "" for a bare table.
        folder: The run folder; None writes nothing.
    """

    table: Table
    folds: Sequence[Fold]
    seed: int
    max_constants: int
    task: str = ""
    folder: Path | None = None


@dataclass(frozen=True)
class SearchState:
    """The state of a search between two batches.

    Attributes:
        hall: The best candidates so far.
        index: Candidates judged so far; no two states of a search share it, unless the search waits.
        n_fits: Local fits so far.
        left: The budget that is left, in words.
        bar: Early score that a form has to come near to be judged to the end.
        seen: Keys of all families that the search itself has tried. What an asynchronous proposer tried may come again
            from the search, so that it takes nothing away from the search.
        counts: Candidates by what became of them.
        evolves: The search breeds from what does well.
        idle: The search itself has nothing left to try.
        taking_up: An earlier run in the same folder is being taken over; nothing new may come in.
    """

    hall: HallOfFame
    index: int
    n_fits: int
    left: str
    bar: float
    seen: Collection[str]
    counts: Mapping[str, int]
    evolves: bool = True
    idle: bool = False
    taking_up: bool = False


class AsynchronousProposer(Protocol):
    """Proposes formulas beside a search. Only `prepare` may take longer than a few milliseconds.

    Its formulas are judged like all others. Where their origin begins with `MODEL`, their children carry their lineage
    and never enter what the search itself breeds from.

    Examples:
        One formula once a hundred candidates have been judged, or all that there are::

            class Late:
                def __init__(self, context: SearchContext) -> None:
                    self.waiting = list(from_texts(context.table, ["E + A*N**-a*log(D)"], "late"))

                def prepare(self) -> None: ...

                def collect(self, state: SearchState) -> list[Proposal]:
                    if state.index < 100 and not state.idle:
                        return []
                    found, self.waiting = self.waiting, []
                    return found

                def observe(self, candidate: Candidate, n_fits: int) -> None: ...

                def expects(self) -> bool:
                    return bool(self.waiting)

                def close(self) -> None: ...

                def summary(self, _chosen: Candidate) -> Mapping[str, Any]:
                    return {}
    """

    def prepare(self) -> None:
        """Get ready before the clock starts; no thread may start here, as worker processes are forked after it."""

    def collect(self, state: SearchState) -> list[Proposal]:
        """Return what is to be judged next, often nothing.

        The same states and arrivals give the same proposals: a search is repeated, and taken up after a kill, by
        asking again. Whoever depends on when something arrived writes that into `FOLDER` of the run folder.
        """
        ...

    def observe(self, candidate: Candidate, n_fits: int) -> None:
        """Take note of how a candidate did, one of its own or another, in order."""

    def expects(self) -> bool:
        """Whether something may still arrive, so that a search that has nothing else left to try looks again."""
        ...

    def close(self) -> None:
        """Stop at once, whatever is under way; called when the search ends, however it ends, perhaps twice."""

    def summary(self, chosen: Candidate, /) -> Mapping[str, Any]:
        """Return what the report says of a language model in a search that ended with `chosen`; {} for others."""
        ...


Maker = Callable[[SearchContext], AsynchronousProposer]


class AsynchronousSettings(Protocol):
    """Settings from which an asynchronous proposer is made, such as `LLM`."""

    @property
    def config(self) -> Mapping[str, Any]:
        """What belongs to the question that a run folder answers; never a secret."""
        ...

    def make(self, context: SearchContext) -> AsynchronousProposer:
        """Return the proposer of one search."""
        ...


class Together:
    """Several asynchronous proposers as one, asked in their order.

    Examples:
        ``Together([Late(context), model])`` hands over what either has.
    """

    def __init__(self, parts: Sequence[AsynchronousProposer]) -> None:
        """Keep the parts."""
        self.parts = tuple(parts)

    def prepare(self) -> None:
        """Prepare each."""
        for part in self.parts:
            part.prepare()

    def collect(self, state: SearchState) -> list[Proposal]:
        """Return what any of them has; a family that two of them bring is judged once."""
        found: dict[str, Proposal] = {}
        for part in self.parts:
            for proposal in part.collect(state):
                found.setdefault(proposal.key, proposal)
        return list(found.values())

    def observe(self, candidate: Candidate, n_fits: int) -> None:
        """Pass a candidate on to each."""
        for part in self.parts:
            part.observe(candidate, n_fits)

    def expects(self) -> bool:
        """Whether any of them expects something."""
        return any(part.expects() for part in self.parts)

    def close(self) -> None:
        """Stop each."""
        for part in self.parts:
            part.close()

    def summary(self, chosen: Candidate) -> Mapping[str, Any]:
        """Return what the one that is a language model has to report."""
        return {key: value for part in self.parts for key, value in part.summary(chosen).items()}
