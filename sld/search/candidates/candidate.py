"""What the search remembers: forms that were judged, with what was found about them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean

from sld.fit.fitting import Prior
from sld.formula.expression import Expression
from sld.search.candidates.rejection import OK

INADMISSIBLE = 2  # the last place by checks
MODEL = "llm:"  # how the origin of a language model's proposal begins
_COMPOSED = "composed: "  # how the origin of parts from several candidates begins
_SINGLE_PRECISION = 1e-12  # NMSE of its rounding: no approximation is that good on every rung that it has not seen
_LINEAGE = 6  # ancestors that are remembered, beside the first: a line of a hundred would fill the run folder


@dataclass(frozen=True)
class Judgement:
    """How one form did on one target.

    Attributes:
        score: What selection minimises: mean log error over the folds plus prices (see selection.py).
        fold_errors: NMSE on each rung fold; NaN where a fold could not be fitted.
        train_nmse: Mean squared error over variance on all training rows.
        admissible: Whether every check passed as far beyond the data as the law will be used.
        reasons: The checks that failed, there or farther out, as sentences.
        consensus: Laws whose common prediction beyond the data the constants also follow; 0 for a form by itself.
        effective: Constants per group that the rows decide, shared ones in parts; 0 where that is not known.
        within_bounds: Whether it keeps the declared bounds of the target up to rounding, too.
    """

    score: float
    fold_errors: tuple[float, ...]
    train_nmse: float
    admissible: bool = True
    reasons: tuple[str, ...] = ()
    consensus: int = 0
    effective: float = 0.0
    within_bounds: bool = True


@dataclass(frozen=True)
class Candidate:
    """One form, judged on each target; what it says of all targets are means over the judgements.

    Attributes:
        expressions: Target column to expression.
        key: Canonical key; two candidates with the same key are the same family.
        origin: Who proposed it, e.g. "catalogue:chinchilla" or "enumeration".
        judgements: How it did on each target, as the table's targets; empty without a score.
        shared: Target column to the constants that all groups have in common.
        priors: Target column to what the shape of its groups is pulled to, where they are partially pooled.
        status: "ok", or why the candidate has no score: a `Rejection`, or what an earlier version called one.
        constants: Target to group to constant to value, fitted on all training rows.
        island: Where it was bred; what is bred there has its parents from there.
        lineage: Of what descends from a language model's proposal: that proposal with its origin, then its descendants
            down to the parent (the oldest and the latest few).
    """

    expressions: Mapping[str, Expression]
    key: str
    origin: str
    judgements: tuple[Judgement, ...] = ()
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    priors: Mapping[str, Prior] = field(default_factory=dict)
    status: str = OK
    constants: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    island: int = 0
    lineage: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it has a score."""
        return self.status == OK

    @cached_property
    def complexity(self) -> int:
        """Nodes of the expression (mean over targets, rounded)."""
        return round(sum(e.complexity for e in self.expressions.values()) / len(self.expressions))

    @cached_property
    def n_constants(self) -> int:
        """Fitted constants per group and target (the largest)."""
        return max(len(e.constants) for e in self.expressions.values())

    @cached_property
    def score(self) -> float:
        """What selection minimises; infinity without a judgement."""
        return _mean([j.score for j in self.judgements], math.inf)

    @cached_property
    def train_nmse(self) -> float:
        """Mean squared error over variance on all training rows; NaN without a judgement."""
        return _mean([j.train_nmse for j in self.judgements], math.nan)

    @cached_property
    def fold_errors(self) -> tuple[float, ...]:
        """NMSE on each rung fold, as Discovery.folds; NaN where a fold could not be fitted for some target."""
        if len(self.judgements) == 1:
            return self.judgements[0].fold_errors
        return tuple(_mean(errors, math.nan) for errors in zip(*(j.fold_errors for j in self.judgements), strict=True))

    @cached_property
    def admissible(self) -> bool:
        """Whether every check passed as far beyond the data as the law will be used, for every target."""
        return all(j.admissible for j in self.judgements)

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """The checks that failed, there or farther out, as sentences."""
        return tuple(dict.fromkeys(r for j in self.judgements for r in j.reasons))

    @cached_property
    def exact(self) -> bool:
        """Whether it reproduces every fold to rounding: it is the law that made the data.

        Such data are computed, not measured. Then a check that fails beyond them speaks against the check. Folds with
        too few points for its constants do not speak against it, as long as half of them speak.
        """
        errors = [e for e in self.fold_errors if not math.isnan(e)]
        return 2 * len(errors) >= max(len(self.fold_errors), 1) and all(
            e < _SINGLE_PRECISION for e in (*errors, self.train_nmse)
        )

    @cached_property
    def checks(self) -> int:
        """How it passes the checks: 0 in every way or exact, 1 with bounds kept up to noise only, `INADMISSIBLE`."""
        if self.exact:
            return 0
        return INADMISSIBLE if not self.admissible else 0 if self.within_bounds else 1

    @cached_property
    def place(self) -> tuple[int, float, int, str]:
        """What candidates are ranked by, the best first."""
        return self.checks, self.score, self.complexity, self.key

    @property
    def consensus(self) -> int:
        """Laws whose common prediction some target's constants also follow; 0 for a form by itself."""
        return max((j.consensus for j in self.judgements), default=0)

    @property
    def within_bounds(self) -> bool:
        """Whether it keeps declared bounds up to rounding as far as it will be used; noise near one may excuse it."""
        return all(j.within_bounds for j in self.judgements)

    def effective(self, target: str) -> float:
        """Return how many constants per group the rows decide, of those that n groups share one n-th each."""
        if len(self.judgements) == len(self.expressions):
            known = self.judgements[list(self.expressions).index(target)].effective
            if known > 0:
                return known
        n_shared = len(self.shared.get(target, ()))
        return len(self.expressions[target].constants) - n_shared * (
            1 - 1 / max(len(self.constants.get(target, ())), 1)
        )

    @property
    def static(self) -> bool:
        """Whether it was proposed as it stands, not bred from what did well on the folds (a model is told what did)."""
        return not self.origin.startswith(("evolution", MODEL))

    @property
    def published(self) -> bool:
        """Whether it is a law of the catalogue."""
        return self.origin.startswith("catalogue:")

    @property
    def of_model(self) -> bool:
        """Whether a language model proposed it, or something that it descends from."""
        return bool(self.lineage) or self.origin.startswith(MODEL)

    @property
    def descent(self) -> tuple[str, ...]:
        """The lineage of its children."""
        if not self.of_model:
            return ()
        if not self.lineage:
            return (f"{self.origin}: {self.text}",)
        return (self.lineage[0], *self.lineage[1:][1 - _LINEAGE :], self.text)

    def of_target(self, target: int) -> Candidate:
        """Return the candidate of one target by itself (number of the table's target)."""
        if len(self.expressions) == 1:
            return self
        column = list(self.expressions)[target]
        return replace(
            self,
            expressions={column: self.expressions[column]},
            key=self.key.split(" | ")[target],
            judgements=(self.judgements[target],),
            shared={t: c for t, c in self.shared.items() if t == column},
            priors={t: p for t, p in self.priors.items() if t == column},
            constants={column: self.constants[column]},
        )

    @staticmethod
    def joined(parts: Sequence[Candidate]) -> Candidate:
        """Return candidates of one target each, in the table's order, as one candidate of all targets."""
        if len(parts) == 1:
            return parts[0]
        return Candidate(
            expressions={t: e for p in parts for t, e in p.expressions.items()},
            key=" | ".join(p.key for p in parts),
            # parts may be composed themselves
            origin=_COMPOSED
            + ", ".join(dict.fromkeys(o for p in parts for o in p.origin.removeprefix(_COMPOSED).split(", "))),
            judgements=tuple(p.judgements[0] for p in parts),
            shared={t: c for p in parts for t, c in p.shared.items()},
            priors={t: q for p in parts for t, q in p.priors.items()},
            constants={t: c for p in parts for t, c in p.constants.items()},
            lineage=next((p.lineage for p in parts if p.lineage), ()),
        )

    @property
    def text(self) -> str:
        """The formula, or "target: formula" per target when they differ."""
        texts = {t: e.text for t, e in self.expressions.items()}
        if len(set(texts.values())) == 1:
            return next(iter(texts.values()))
        return "; ".join(f"{t}: {x}" for t, x in texts.items())


def _mean(values: Sequence[float], of_none: float) -> float:
    if len(values) == 1:
        return values[0]
    if not values:
        return of_none
    try:
        return fmean(values)  # summed exactly: the same to the last bit in whatever order the targets come
    except OverflowError:  # two errors near the largest float
        return math.inf
