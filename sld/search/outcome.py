"""The outcome of a whole discovery: the law, what it was chosen from, and what the choice rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sld.data.splits import Fold
from sld.data.table import Table
from sld.laws.law import Law
from sld.search.candidates.candidate import Candidate
from sld.search.choosing.verdict import Verdict


@dataclass(frozen=True)
class Discovery:
    """The outcome of a discovery.

    Attributes:
        law: The chosen form fitted on all training rows (and, if `chosen.consensus`, to the common prediction).
        chosen: Its candidate.
        front: Best score by complexity (the Pareto front), simplest first.
        hall_of_fame: The best candidates, best first; the first is usually, not always, the chosen one.
        folds: The rung folds that candidates were judged on. Their row numbers are those of `table`, unless the notes
            say that the search used fewer rows: then they belong to the thinned table.
        counts: How many candidates were tried, fitted, rejected and why.
        seconds: Wall time of the search.
        n_fits: Local fits (one start, one group, one set of rows each).
        interrupted: Whether it was stopped by Ctrl-C before the budget was used.
        noise: Spread between repeated points ("relative_sd", "nmse", "n_points"), or None without repeats.
        notes: What the user should know (rows subsampled, duplicates, folds missing, ...).
        table: The training rows, less those that look diverged.
        verdict: Whether there is a law at all, and how far it may be extrapolated.
        config: Seed, budget, workers, proposers.
        single: The law of the best form by itself, when `law` follows a consensus instead; else None.
        best: The candidate of `single`; None with it.
        llm: What a language model took part in: calls, cost, credit; empty without one.
    """

    law: Law
    chosen: Candidate
    front: tuple[Candidate, ...]
    hall_of_fame: tuple[Candidate, ...]
    folds: tuple[Fold, ...]
    counts: Mapping[str, int]
    seconds: float
    n_fits: int
    interrupted: bool
    noise: Mapping[str, float] | None
    notes: tuple[str, ...]
    table: Table
    verdict: Verdict
    config: Mapping[str, Any]
    single: Law | None = None
    best: Candidate | None = None
    llm: Mapping[str, Any] = field(default_factory=dict)

    def with_set_aside(self, rows: Sequence[Mapping[str, Any]]) -> Discovery:
        """Return the outcome with rows that were set aside on the record of its laws (`diverged.set_aside`)."""

        def with_record(law: Law) -> Law:
            settings = {column: replace(own, set_aside=len(rows)) for column, own in law.settings.items()}
            return replace(law, provenance={**law.provenance, "set_aside": list(rows)}, settings=settings)

        single = None if self.single is None else with_record(self.single)
        return replace(self, law=with_record(self.law), single=single)
