r"""What a model has earned, and what it may spend.

Every candidate that raises the Pareto front earns: the best law by as much as it lowers the best score (in units of log
error), a law of some size a little. The engine goes its own way and is measured on its own front: it earns by getting
on there, even while the model is ahead, so that a model that led once and then brings nothing more loses its share.
What the model's proposals and their descendants earn per local fit is held against what the engine's own earn, both
over the recent past, and decides the model's share of the fits to come, descendants included:

    share = floor + (cap - floor) * rate_model / (rate_model + rate_engine).

A new model may spend as much as a few formulas cost; one that earns nothing keeps the floor. Fits that a tool of the
model takes to look at formulas are spent like those of its proposals. The whole is a function of the candidates and
looks in their order: no clock, no chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sld.search.candidates.candidate import Candidate

FLOOR = 0.01  # a model that earns nothing costs the search next to nothing, and may still surprise
CAP = 0.5  # the engine keeps half, however good the model is: a lead at the start may end
WELCOME = 24  # formulas that a new model may have judged before it has earned anything: a reply and a half
_MEMORY = 10_000.0  # fits after which what was earned counts 1/e: what counts is the recent past
_FRONT = 0.02  # earned by a law that is the best of its size only: a fiftieth of the most
_MOST = 1.0  # earned by one candidate: a first law is not worth more than e times less error
_AT_MOST = 96  # formulas that may be saved up: a batch of the search


@dataclass
class _Front:
    """The best score for each size so far."""

    scores: dict[int, float] = field(default_factory=dict)
    best: float = float("inf")

    def gain(self, candidate: Candidate) -> tuple[float, bool]:
        """Enter a candidate; return what it earns, and whether it is better than an earlier best."""
        if candidate.status != "ok" or not candidate.admissible or not candidate.score < float("inf"):
            return 0.0, False
        score, size = candidate.score, candidate.complexity
        gain, improved = 0.0, False
        if score < self.best:
            if self.best < float("inf"):
                gain, improved = min(_MOST, self.best - score), True
            self.best = score
        if all(score < s for n, s in self.scores.items() if n <= size):
            gain = max(gain, _FRONT) if self.scores else gain
            self.scores = {n: s for n, s in self.scores.items() if n < size or s < score} | {size: score}
        return gain, improved


@dataclass
class Credit:
    """The account of one model.

    Examples:
        >>> credit = Credit()
        >>> credit.share, credit.affords  # a new model
        (0.01, 24)
    """

    earned: list[float] = field(default_factory=lambda: [0.0, 0.0])  # by the engine, by the model; fading
    spent: list[float] = field(default_factory=lambda: [0.0, 0.0])
    fits: list[int] = field(default_factory=lambda: [0, 0])  # in all
    judged: list[int] = field(default_factory=lambda: [0, 0])
    gains: list[float] = field(default_factory=lambda: [0.0, 0.0])
    bests: list[int] = field(default_factory=lambda: [0, 0])  # how often one became the best law
    shares: list[tuple[int, float]] = field(default_factory=list)  # candidates, share; where it changed
    saved: float = 0.0  # fits
    free: int = WELCOME  # formulas of the welcome that are left
    looked: int = 0  # fits of looks at formulas that are judged already
    _all: _Front = field(default_factory=_Front)
    _own: _Front = field(default_factory=_Front)  # of the engine's line alone

    @property
    def share(self) -> float:
        """The share of the fits to come, FLOOR to CAP."""
        engine, model = (e / s if s > 0 else 0.0 for e, s in zip(self.earned, self.spent, strict=True))
        return FLOOR if model <= 0.0 else FLOOR + (CAP - FLOOR) * model / (model + engine)

    @property
    def price(self) -> float:
        """Fits that a formula takes on average."""
        return max(1.0, sum(self.fits) / max(1, sum(self.judged)))

    @property
    def affords(self) -> int:
        """How many formulas the model may have judged now."""
        return max(0, self.free + int(self.saved / self.price))

    def note(self, candidate: Candidate, n_fits: int, *, charged: bool) -> None:
        """Enter one candidate; `charged` when it was judged at the model's expense."""
        who = int(candidate.of_model)
        gain, best = self._all.gain(candidate)
        self.bests[who] += best
        fading = max(0.0, 1.0 - n_fits / _MEMORY)
        for account in (self.earned, self.spent):
            account[:] = [v * fading for v in account]
        self.earned[who] += gain if candidate.of_model else self._own.gain(candidate)[0]
        self.spent[who] += n_fits
        self.gains[who] += gain
        self.fits[who] += n_fits
        self.judged[who] += 1
        share = self.share
        if not charged:
            self.saved += n_fits * share / (1.0 - share)
        elif self.free:
            self.free -= 1
        else:
            self.saved -= n_fits
        self.saved = min(self.saved, _AT_MOST * self.price)
        if not self.shares or abs(self.shares[-1][1] - share) > 0.02:
            self.shares.append((sum(self.judged), round(share, 4)))

    def charge(self, n_fits: int) -> None:
        """Enter fits that were run for the model and judged nothing: they earn nothing and are saved up for.

        >>> credit = Credit(saved=100.0)
        >>> credit.charge(40)
        >>> credit.looked, credit.saved, credit.spent[1]
        (40, 60.0, 40.0)
        """
        self.looked += n_fits
        self.spent[1] += n_fits
        self.saved -= n_fits
