"""A guest of the search: somebody who thinks beside the engine and is asked between batches, and never waited for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sld.search.candidates.candidate import Candidate
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.judging.judge import Judge, Proposal


@dataclass(frozen=True)
class Moment:
    """The state of a search between two batches.

    Attributes:
        index: Candidates judged so far; it tells moments apart.
        n_fits: Local fits so far.
        left: The budget that is left, in words.
        bar: Early score that a form has to come near to be judged to the end.
        seen: Keys of all families that the search itself has tried. What a guest tried may come again from the search,
            so that a guest takes nothing away from it.
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


class Guest(Protocol):
    """What the search knows of its guest. None of these may take longer than a few milliseconds, but `prepare`."""

    def prepare(self) -> None:
        """Get ready; called before the clock starts."""

    def collect(self, moment: Moment) -> list[Proposal]:
        """Return what is to be judged next, often nothing. The same moments and arrivals give the same proposals."""
        ...

    def told(self, candidate: Candidate, n_fits: int) -> None:
        """Hear how a candidate did, its own or another's, in order."""

    def expects(self) -> bool:
        """Whether something may still arrive, so that a search that has nothing else left to try looks again."""
        ...

    def close(self) -> None:
        """Stop at once, whatever is under way; called when the search ends, however it ends."""

    def summary(self, chosen: Candidate) -> Mapping[str, Any]:
        """Return what it did, for the report of a search that ended with `chosen`."""
        ...


class Invitation(Protocol):
    """Settings from which a guest is made."""

    @property
    def config(self) -> Mapping[str, Any]:
        """What belongs to the question that a run folder answers; never a secret."""
        ...

    def accept(self, judge: Judge, folder: Path | None, task: Mapping[str, Any]) -> Guest:
        """Return the guest of one search."""
        ...
