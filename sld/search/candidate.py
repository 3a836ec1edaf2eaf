"""What the search remembers: candidates with their scores, and the outcome of a whole discovery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sld.core.expression import Expression
from sld.core.fitting import Prior
from sld.core.law import Law
from sld.core.splits import Fold
from sld.core.table import Table


@dataclass(frozen=True)
class Candidate:
    """One form, judged.

    Attributes:
        expressions: Target column to expression.
        key: Canonical key; two candidates with the same key are the same family.
        origin: Who proposed it, e.g. "catalogue:chinchilla" or "enumeration".
        complexity: Nodes of the expression (mean over targets).
        n_constants: Fitted constants per group and target (the largest).
        fold_errors: NMSE on each rung fold, as Discovery.folds; NaN where a fold could not be fitted.
        score: What selection minimises: mean log error over the folds plus prices (see selection.py).
        train_nmse: Mean squared error over variance on all training rows.
        admissible: Whether every check passed as far beyond the data as the law will be used.
        reasons: The checks that failed, there or farther out, as sentences.
        target_scores: The score of each target by itself, as the table's targets.
        shared: Target column to the constants that all groups have in common.
        priors: Target column to what the shape of its groups is pulled to, where they are partially pooled.
        status: "ok", or why the candidate has no score.
        constants: Target to group to constant to value, fitted on all training rows.
    """

    expressions: Mapping[str, Expression]
    key: str
    origin: str
    complexity: int
    n_constants: int
    fold_errors: tuple[float, ...] = ()
    score: float = float("inf")
    train_nmse: float = float("nan")
    admissible: bool = True
    reasons: tuple[str, ...] = ()
    target_scores: tuple[float, ...] = ()
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    priors: Mapping[str, Prior] = field(default_factory=dict)
    status: str = "ok"
    constants: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The formula, or "target: formula" per target when they differ."""
        texts = {t: e.text for t, e in self.expressions.items()}
        if len(set(texts.values())) == 1:
            return next(iter(texts.values()))
        return "; ".join(f"{t}: {x}" for t, x in texts.items())


@dataclass(frozen=True)
class Discovery:
    """The outcome of a discovery.

    Attributes:
        law: The chosen form fitted on all training rows.
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
        table: The training rows.
        config: Seed, budget, workers, proposers.
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
    config: Mapping[str, Any]
