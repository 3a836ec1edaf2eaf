"""The candidates that a law is chosen from: the best of all, the best that nobody bred, and the published laws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sld.search.candidates.candidate import Candidate
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.candidates.population import Population
from sld.search.candidates.selection import distinct, rank

MEMBERS = 25  # of the best, and as many of those that nobody bred; what is farther behind weighs next to nothing
_MISREAD = 0.5  # units of score that a published law loses for each unit of mismatch with the table's quantities
_BINS = 15.0  # per decade of fold error: what is closer on every fold is one form in other words


@dataclass(frozen=True)
class Finalists:
    """Candidates for one target that take part: the best of all, and the best that nobody bred.

    Attributes:
        best: The best of all.
        static: The best that nobody bred.
        published: The best published laws, where there are several of just these quantities; else none.
        mismatch: How far the quantities of each published law are from the table's, by key.
    """

    best: tuple[Candidate, ...]
    static: tuple[Candidate, ...]
    published: tuple[Candidate, ...] = ()
    mismatch: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def of(
        hall: HallOfFame, unaided: HallOfFame | None = None, *, known: Mapping[str, float] | None = None
    ) -> Finalists:
        """Return the finalists of a search: candidates that behave differently, best first.

        Args:
            hall: What was judged.
            unaided: The same without a language model's proposals and their descendants, which take nobody's place;
                None where there are none.
            known: The published laws, where there are several of just these quantities (`evidence.published_laws`).
        """
        own = hall if unaided is None else unaided
        best = distinct(hall.ranked(), MEMBERS, _BINS)
        if unaided is not None:
            best = rank({c.key: c for c in (*distinct(own.ranked(), MEMBERS, _BINS), *best)}.values())
        # laws of other quantities come in too: read with these they are forms that somebody needed
        published = distinct(own.published(), MEMBERS, _BINS) if known else ()
        return Finalists(tuple(best), tuple(distinct(own.static(), MEMBERS, _BINS)), tuple(published), known or {})

    @staticmethod
    def of_population(population: Population, target: int, known: Mapping[str, float]) -> Finalists:
        """Return the finalists for one target (its number), see `of`."""
        unaided = population.unaided.by_target[target] if population.aided else None
        return Finalists.of(population.everything.by_target[target], unaided, known=known)

    @property
    def members(self) -> tuple[Candidate, ...]:
        """Every candidate once, the best of all first."""
        return tuple({c.key: c for c in (*self.best, *self.static, *self.published)}.values())

    def replaced(self, candidates: Mapping[str, Candidate]) -> Finalists:
        """Return the same with newer judgements, by key."""
        best, static, published = (
            tuple(candidates.get(c.key, c) for c in part) for part in (self.best, self.static, self.published)
        )
        return Finalists(best, static, published, self.mismatch)

    def in_reading(self, candidate: Candidate) -> float:
        """Return a published law's score, the worse the farther its quantities are from the table's."""
        return candidate.score + _MISREAD * self.mismatch.get(candidate.key, 0.0)
