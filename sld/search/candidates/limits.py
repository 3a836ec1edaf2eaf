"""Where the judgement of a form may stop: it would be seen in no hall, however its remaining folds come out.

A hall shows its best 200. A form whose score cannot fall below that of the last of them is never bred from, never a
finalist and never on the front, so its remaining folds need no fit. Those that are shown have the scores that they had.

How small the errors on the remaining folds can become is taken from those that are shown: half of the least that any
of them has on that fold, where it would have to be the best of all by far and still be behind on the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sld.search.candidates.candidate import INADMISSIBLE
from sld.search.candidates.hall_of_fame import HallOfFame

_BETTER = 0.5  # times the least error on a fold


@dataclass(frozen=True)
class Limits:
    """What a form has to beat to be seen.

    Attributes:
        last: Checks and score of the last that is shown, see `Candidate.checks`.
        front: (complexity, score) of the Pareto front.
        least: For each fold what no form is thought to stay below.
    """

    last: tuple[int, float]
    front: tuple[tuple[int, float], ...]
    least: tuple[float, ...]

    def exclude(self, checks: int, score: float, complexity: int) -> bool:
        """Return whether a form with such checks, a score of at least `score` and so many nodes stays unseen."""
        if checks >= INADMISSIBLE > self.last[0]:
            return True  # the front has none where there are others
        return (checks, score) > self.last and any(c <= complexity and s <= score for c, s in self.front)

    @staticmethod
    def of(hall: HallOfFame, island: int | None) -> Limits | None:
        """Return the limits for what is bred on an island, or (None) proposed as it stands; None while there are none.

        A form is entered in the hall of all and in that of its island, or of what nobody bred.
        """
        halls = [hall.ranked(), hall.static() if island is None else hall.island(island)]
        if any(len(shown) < hall.size for shown in halls):
            return None
        shown = [c for some in halls for c in some]
        if len({len(c.fold_errors) for c in shown}) > 1:
            return None  # some were judged on other folds, and say nothing of these
        return Limits(
            last=max(some[-1].place[:2] for some in halls),
            front=tuple((c.complexity, c.score) for c in hall.front()),
            least=tuple(_BETTER * _least(errors) for errors in zip(*(c.fold_errors for c in shown), strict=True)),
        )


def _least(errors: Sequence[float]) -> float:
    return min((e for e in errors if not math.isnan(e)), default=0.0)
