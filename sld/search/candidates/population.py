"""What a search has judged so far: the halls of fame that it breeds and chooses from, and how many forms it tried."""

from __future__ import annotations

from collections import Counter

from sld.search.candidates.candidate import Candidate
from sld.search.candidates.hall_of_fame import HallOfFame


class Halls:
    """A hall of fame for all targets together, and one for each target: a form may suit one and not the others."""

    def __init__(self, n_targets: int) -> None:
        """Start empty."""
        self.together = HallOfFame()
        self.by_target = [HallOfFame() for _ in range(n_targets)] if n_targets > 1 else [self.together]

    def copy(self) -> Halls:
        """Return halls with the same candidates, which go their own way from here."""
        other = Halls(len(self.by_target))
        other.by_target = [hall.copy() for hall in self.by_target]
        other.together = self.together.copy() if len(self.by_target) > 1 else other.by_target[0]
        return other

    def add(self, candidate: Candidate) -> None:
        """Register a candidate, and with several targets each of its parts."""
        self.together.add(candidate)
        if candidate.ok and len(self.by_target) > 1:
            for j, hall in enumerate(self.by_target):
                hall.add(candidate.of_target(j))


class Population:
    """All that was judged, and apart from it what the search came to unaided.

    A language model's proposals and their descendants compete for the choice, but the search never breeds from them:
    what it finds is what it would have found alone, so that a model takes nothing away from it.
    """

    def __init__(self, n_targets: int) -> None:
        """Start empty."""
        self.everything = Halls(n_targets)
        self.counts: Counter[str] = Counter()  # "tried", "judged", "inadmissible", and each reason of rejection
        self.n_fits = 0
        self._unaided: Halls | None = None  # kept from the first form on that a model had a part in

    @property
    def n_tried(self) -> int:
        """Candidates judged so far."""
        return self.counts["tried"]

    @property
    def aided(self) -> bool:
        """Whether some form that a language model had a part in is here."""
        return self._unaided is not None

    @property
    def unaided(self) -> Halls:
        """What the search breeds from: nothing that a language model had a part in."""
        return self.everything if self._unaided is None else self._unaided

    def add(self, candidate: Candidate, n_fits: int) -> None:
        """Enter a candidate and the fits it took."""
        self.n_fits += n_fits
        self.counts["tried"] += 1
        self.counts["judged" if candidate.ok else str(candidate.status)] += 1
        if candidate.ok and not candidate.admissible:
            self.counts["inadmissible"] += 1
        if candidate.of_model and candidate.ok and self._unaided is None:
            self._unaided = self.everything.copy()
        self.everything.add(candidate)
        if self._unaided is not None and not candidate.of_model:
            self._unaided.add(candidate)
