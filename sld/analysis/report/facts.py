"""What a report is made from: a discovery, and what is computed from it once for all its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sld.analysis import effects
from sld.analysis.diagnosis import diagnose
from sld.analysis.intervals import constant_intervals, predict_intervals, unknown_constants
from sld.core.errors import SldError
from sld.data.scoring import Scores, scores
from sld.data.table import Table
from sld.laws.law import Law

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.search.candidates.candidate import Candidate
    from sld.search.outcome import Discovery

RUNNERS_UP = 5
_MOST_TARGETS = 6


class Facts:
    """A discovery with its rivals, its scores on held-out rows, its diagnosis and its intervals."""

    def __init__(self, found: Discovery, task: Task | None, held_out: Table | None) -> None:
        """Refit and predict what the parts need."""
        self.found, self.task, self.law, self.table = found, task, found.law, found.table
        self.targets = self.law.targets[:_MOST_TARGETS]
        self.rivals = _rivals(found)
        self.held = held_out
        self.scores, self.covered = judge(self.law, held_out)
        self.diagnoses = [diagnose(found, j) for j in range(len(self.targets))]
        self.intervals = constant_intervals(self.law) if self.law.intervals is not None else {}
        self.unknown = unknown_constants(self.law) if self.law.intervals is not None else {}
        self.level = 100 * float(self.law.intervals["level"]) if self.law.intervals is not None else 0.0
        self.reach = effects.beyond([self.law, *(law for law, _ in self.rivals)], self.table)


def _rivals(found: Discovery) -> list[tuple[Law, Candidate]]:
    rivals: list[tuple[Law, Candidate]] = []
    for c in found.hall_of_fame:
        if c.key != found.chosen.key and c.constants and len(rivals) < RUNNERS_UP:
            try:
                law = effects.with_formula(found.law, c.expressions, c.constants)
            except SldError:  # constants of a thinned table may lack a group
                continue
            rivals.append((law, c))
    return rivals


def judge(law: Law, held_out: Table | None) -> tuple[Scores | None, float | None]:
    """Return the scores on held-out rows of known groups, and the share of them inside the intervals."""
    if held_out is not None and law.grouped:
        held_out = held_out.take(np.isin(np.array(held_out.groups), law.groups)[held_out.group_index])
    if held_out is None or not held_out.n_rows:
        return None, None
    columns = [t.column for t in held_out.targets]
    measured = held_out.Y[:, [columns.index(t.column) for t in law.targets]]
    covered = None
    if law.intervals is not None:
        lower, upper = predict_intervals(law, held_out)
        covered = float(np.mean((lower <= measured) & (measured <= upper)))
    return scores(measured, law.predict(held_out), held_out.group_index), covered
