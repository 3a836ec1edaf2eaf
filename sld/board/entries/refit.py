"""The constants of an entry: fitted here to the training rows until they rest, and verified by the same functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.core.errors import SldError
from sld.fit.noise import FRONTIER
from sld.laws.fit_settings import FitSettings

if TYPE_CHECKING:
    from sld.board.entries.scored_task import ScoredTask
    from sld.fit.fitting import FitResult
    from sld.formula.expression import Expression
    from sld.laws.form import Form
    from sld.laws.law import Law

STARTS = 64
SETTLED = 1e-7  # of the target's deviation: a refit that moves no prediction by more has arrived
MAX_DRIFT = 1e-4  # the most that the last of many refits may move; some forms have their optimum at infinity
MAX_GAIN = 1e-7  # and the most by which it may lower the loss; both a tenth of what verifying allows

_ROUNDS = 300  # of refits until the predictions rest


@dataclass(frozen=True)
class FitPlan:
    """What is minimised for each target, and from where.

    Attributes:
        settings: Target to how its constants are fitted; least squares where nothing is said. Of the weights an entry
            knows those of the frontier (`sld discover` takes them), for squared errors only.
        starts: Initial points of each target.
        seed: Of these points.
    """

    settings: Mapping[str, FitSettings] = field(default_factory=dict)
    starts: int = STARTS
    seed: int = 0

    def of(self, target: str) -> FitSettings:
        """Return how the constants of one target are fitted."""
        return self.settings.get(target, FitSettings())

    @property
    def by_frontier(self) -> bool:
        """Whether rows next to the extrapolation count more."""
        return any(FRONTIER in own.weights for own in self.settings.values())

    @staticmethod
    def of_law(law: Law) -> FitPlan:
        """Return what a law says that it minimises; points beside the rows are not part of a submission."""
        weights = (FRONTIER,) if FitPlan(law.settings).by_frontier else ()
        return FitPlan(
            {
                column: FitSettings(
                    loss=own.loss, delta=own.delta, weights=weights, pooling=own.pooling, shared=own.shared,
                    positive=own.positive, bounds=own.bounds, pinned=own.pinned, tied=own.tied,
                )
                for column, own in law.settings.items()
            }
        )  # fmt: skip

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> FitPlan:
        """Read what `to_json` gave."""
        weights = (FRONTIER,) if data["weights"] == "frontier" else ()
        settings = {
            target: FitSettings(
                loss=loss,
                delta=data.get("delta", {}).get(target),
                weights=weights,
                pooling=data["pooling"].get(target, "none"),
                shared=tuple(data["shared"].get(target, ())),
                positive=tuple(data["positive"].get(target, ())),
                bounds=_open_ended(data["bounds"].get(target, {})),
                pinned=data.get("pinned", {}).get(target, {}),
                tied=data.get("tied", {}).get(target, {}),
            )
            for target, loss in data["loss"].items()
        }
        return FitPlan(settings, data["starts"], data["seed"])

    def to_json(self, targets: Sequence[str]) -> dict[str, Any]:
        """Return what an entry records, every target named.

        Of delta, pinned and tied constants it says something only where there are any: other entries stay as they were.
        """

        def end(value: float) -> float | None:
            return value if math.isfinite(value) else None

        own = {t: self.of(t) for t in targets}
        return {
            "loss": {t: own[t].loss for t in targets},
            "weights": "frontier" if self.by_frontier else "equal",
            "pooling": {t: own[t].pooling for t in targets},
            "shared": {t: sorted(own[t].shared) for t in targets},
            "positive": {t: sorted(own[t].positive) for t in targets},
            "bounds": {
                t: {c: [end(low), end(high)] for c, (low, high) in sorted(own[t].bounds.items())} for t in targets
            },
            **{key: of for key, of in self._rarely_said(own).items() if of},
            "starts": self.starts,
            "seed": self.seed,
        }

    @staticmethod
    def _rarely_said(own: Mapping[str, FitSettings]) -> dict[str, dict[str, Any]]:
        return {
            "delta": {t: s.delta for t, s in own.items() if s.delta is not None},
            "pinned": {t: dict(sorted(s.pinned.items())) for t, s in own.items() if s.pinned},
            "tied": {t: dict(sorted(s.tied.items())) for t, s in own.items() if s.tied},
        }


def _open_ended(bounds: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    return {
        name: (-math.inf if low is None else float(low), math.inf if high is None else float(high))
        for name, (low, high) in bounds.items()
    }


def fit_target(
    scored: ScoredTask, expression: Expression, target: int, plan: FitPlan, starts: int, inherit: Any = None
) -> FitResult:
    """Fit one target as the plan says; no starts means from `inherit` alone."""
    from sld.fit import fitting

    own = plan.of(scored.targets[target])
    free = own.free
    found = fitting.fit(
        own.formula(expression),
        scored.train,
        target=target,
        loss=own.loss,
        delta=own.delta,
        pooling=own.pooling,
        starts=starts,
        seed=plan.seed,
        shared=free.shared,
        positive=free.positive,
        bounds=free.bounds,
        weights=scored.frontier if FRONTIER in own.weights and own.loss == "squared" else None,
        inherit=inherit,
    )
    return own.completed(found, expression)


def refitted(scored: ScoredTask, forms: Mapping[str, Form], plan: FitPlan) -> tuple[Law, dict[str, float]]:
    """Return the law of the forms with constants fitted to the training rows, and the objective of each target.

    Args:
        scored: The task.
        forms: Target to form. Where one has a start for every group of the task, it is one more start.
        plan: What to minimise.

    Raises:
        UsageError: A setting does not suit the form, or there are fewer rows than constants.
        SldError: The fit failed, or never comes to rest.
    """
    from sld.laws.law import Law

    constants, objectives = {}, {}
    for j, column in enumerate(scored.targets):
        expression, start = forms[column].expression, forms[column].start
        inherit = start if set(scored.train.groups) <= set(start) else None
        found = fit_target(scored, expression, j, plan, plan.starts, inherit)
        if not found.ok:
            raise SldError(f"could not fit {expression.text} to {column!r}: {found.status}")
        constants[column], objectives[column] = found.constants, found.loss
    train = scored.train
    expressions = {column: forms[column].expression for column in scored.targets}
    fitted = Law(expressions, constants, train.variables, train.targets, train.group_column)
    moved = gain = math.inf
    for _ in range(_ROUNDS):
        again = improved(scored, fitted, plan)
        if again is None:
            break
        moved = distance(scored, fitted, again[0])
        gain = max(1.0 - again[1][c] / objectives[c] if objectives[c] > 0 else 0.0 for c in scored.targets)
        fitted, objectives = again
        if moved < SETTLED:
            break
    if moved < MAX_DRIFT and gain < MAX_GAIN:
        return fitted, objectives
    # what drifts along a valley would fail its verification, and could stop wherever it scores best
    way_out = "use a form with fewer constants, or bounds (sld fit --bounds, then submit its law.json)"
    raise SldError(f"the fit does not come to rest, since the training rows leave the constants open; {way_out}")


def improved(scored: ScoredTask, law: Law, plan: FitPlan) -> tuple[Law, dict[str, float]] | None:
    """Return the law after one more fit from its own constants, with the objectives; None where that fails."""
    constants, objectives = {}, {}
    for j, column in enumerate(scored.targets):
        found = fit_target(scored, law.expressions[column], j, plan, 0, law.constants[column])
        if not found.ok:
            return None
        constants[column], objectives[column] = found.constants, found.loss
    return replace(law, constants=constants), objectives


def distance(scored: ScoredTask, one: Law, other: Law) -> float:
    """Return the largest difference of two laws' predictions on any row, in the targets' standard deviations."""
    worst = 0.0
    for table in (scored.train, scored.held_out):
        with np.errstate(all="ignore"):
            a, b = one.by_formula(table), other.by_formula(table)
            apart = np.abs(a - b) / scored.deviation
        # where both leave the domain they agree
        both = ~np.isfinite(a) & ~np.isfinite(b)
        apart = np.where(both, 0.0, np.where(np.isfinite(apart), apart, math.inf))
        worst = max(worst, float(apart.max(initial=0.0)))
    return worst
