"""The outcome of a whole discovery: the law, what it was chosen from, and what the choice rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sld.core.views import view
from sld.data.splits import Fold
from sld.data.table import Table
from sld.laws.law import Law
from sld.search.candidates.candidate import Candidate
from sld.search.choosing.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        """Return the law, the verdict and what was tried, in a few lines."""
        return str(view("discovery_repr")(self))

    def _repr_latex_(self) -> str:
        return str(view("law_latex")(self.law))

    def _repr_html_(self) -> str:
        return str(view("discovery_html")(self))

    def summary(self) -> DataFrame:
        """Return the chosen formula and the best of each size as a DataFrame, the simplest first.

        Returns:
            Columns `formula`, `chosen`, `complexity` (nodes of the formula), `n_constants` (per group and target),
            `score` (what selection minimises), `fold_error` (mean squared error on unseen rungs over the variance of
            the data, geometric mean over the folds), `train_error` (the same on the rows fitted to), `sound` (whether
            it passes the physical checks) and `origin` (who proposed it).
        """
        frame: DataFrame = view("discovery_summary")(self)
        return frame

    def residuals(self, data: object = None) -> DataFrame:
        """Return measured minus predicted values of the training rows, or of other rows; see `Law.residuals`."""
        return self.law.residuals(self.table if data is None else data)

    def plot(self, ax: Axes | None = None, *, data: object = None, target: str | None = None) -> Axes:
        """Draw the law's curves beside the training rows, or other rows; see `Law.plot`."""
        return self.law.plot(ax, data=self.table if data is None else data, target=target)

    def with_set_aside(self, rows: Sequence[Mapping[str, Any]]) -> Discovery:
        """Return the outcome with rows that were set aside on the record of its laws (`diverged.set_aside`)."""

        def with_record(law: Law) -> Law:
            settings = {column: replace(own, set_aside=len(rows)) for column, own in law.settings.items()}
            return replace(law, provenance={**law.provenance, "set_aside": list(rows)}, settings=settings)

        single = None if self.single is None else with_record(self.single)
        return replace(self, law=with_record(self.law), single=single)
