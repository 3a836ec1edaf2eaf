"""The hall of fame: the best so far, the best that nobody bred, the published laws, and the best per complexity."""

from __future__ import annotations

from sld.search.candidates.candidate import Candidate
from sld.search.candidates.selection import best_admissible, rank


class HallOfFame:
    """Keeps the best `size` candidates, as many static ones and published laws, and the best of each complexity."""

    def __init__(self, size: int = 200) -> None:
        """Start empty."""
        self.size = size
        self._best: dict[str, Candidate] = {}
        self._static: dict[str, Candidate] = {}
        self._published: dict[str, Candidate] = {}
        self._islands: dict[int, dict[str, Candidate]] = {}
        self._by_complexity: dict[int, Candidate] = {}

    def copy(self) -> HallOfFame:
        """Return a hall with the same candidates, which goes its own way from here."""
        other = HallOfFame(self.size)
        other._best, other._static, other._published = dict(self._best), dict(self._static), dict(self._published)
        other._islands = {number: dict(held) for number, held in self._islands.items()}
        other._by_complexity = dict(self._by_complexity)
        return other

    def add(self, candidate: Candidate) -> bool:
        """Register a candidate; return whether it is the new best."""
        if not candidate.ok:
            return False
        before = self.best
        held = self._by_complexity.get(candidate.complexity)
        if held is None or rank([held, candidate])[0] is candidate:
            self._by_complexity[candidate.complexity] = candidate
        self._best = self._with(self._best, candidate)
        if candidate.static:
            self._static = self._with(self._static, candidate)
            if candidate.published:
                self._published = self._with(self._published, candidate)
        else:
            self._islands[candidate.island] = self._with(self._islands.get(candidate.island, {}), candidate)
        return before is None or rank([before, candidate])[0] is candidate

    def _with(self, held: dict[str, Candidate], candidate: Candidate) -> dict[str, Candidate]:
        before = held.get(candidate.key)
        if before is None or before.of_model == candidate.of_model or rank([before, candidate])[0] is candidate:
            held[candidate.key] = candidate  # where a model and the search come to the same form, the better stays
        return {c.key: c for c in rank(held.values())[: self.size]} if len(held) > 2 * self.size else held

    @property
    def best(self) -> Candidate | None:
        """The best candidate so far, or None."""
        return best_admissible(self._by_complexity.values())

    def ranked(self, n: int | None = None) -> tuple[Candidate, ...]:
        """The best candidates, best first."""
        return tuple(rank(self._best.values())[: n or self.size])

    def static(self, n: int | None = None) -> tuple[Candidate, ...]:
        """The best candidates that were proposed as they stand, not bred from others, best first."""
        return tuple(rank(self._static.values())[: n or self.size])

    def published(self, n: int | None = None) -> tuple[Candidate, ...]:
        """The published laws, best first: they stay in sight however many forms a long search finds."""
        return tuple(rank(self._published.values())[: n or self.size])

    def island(self, number: int) -> tuple[Candidate, ...]:
        """What may breed on an island: its own children and the static candidates, best first."""
        return tuple(rank({**self._static, **self._islands.get(number, {})}.values())[: self.size])

    def front(self) -> tuple[Candidate, ...]:
        """The Pareto front: admissible candidates that no simpler one equals in score, simplest first."""
        front: list[Candidate] = []
        admissible = [c for c in self._by_complexity.values() if c.admissible]
        for candidate in sorted(admissible or self._by_complexity.values(), key=lambda c: c.complexity):
            if not front or candidate.score < front[-1].score:
                front.append(candidate)
        return tuple(front)
