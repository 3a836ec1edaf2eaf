"""The last fit of a chosen form: on all rows and, where it follows a consensus, on the points of that too.

The search's constants come from quick fits on the rows that it could judge in the time. They are polished here from
where they are, tried with a loss that rows far off do not pull, and made to keep to the declared directions. Whatever
then breaks a check that the search's constants pass is not used, and the search's constants stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array
from sld.data.table import Table
from sld.fit.fitting import FitResult, fit
from sld.fit.noise import OF_SEARCH, active_kinds, row_weights
from sld.laws.fit_settings import FitSettings
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.rejection import Rejection
from sld.search.candidates.selection import is_exact
from sld.search.choosing.consensus import Consensus
from sld.search.choosing.directions import Directions
from sld.search.choosing.robust import Constrained, huber_beside, robust_fit
from sld.search.judging.context import JudgingContext
from sld.search.judging.soundness import Soundness
from sld.search.screening.rows import FIT_ROWS, thinned

_FINAL_STARTS = 12  # for groups that the search has not seen

Constants = Mapping[str, Mapping[str, float]]  # group to constant to value


@dataclass(frozen=True)
class FinalFit:
    """Constants of a chosen form by target, how each was fitted, and what the user should know of it."""

    constants: Mapping[str, Constants]
    settings: Mapping[str, FitSettings]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _OneTarget:
    """What is fitted for one target.

    Attributes:
        formula: The expression with what its constants have to keep; `formula.target` is the target in the rows.
        column: Of the target.
        chosen: The candidate, with the search's constants.
        consensus: Whose points the formula follows beside the rows, or None.
        fitted: The rows, and the points after them.
        number: The target in `fitted`.
        weights: (n_fitted,) of `fitted`, None where all count alike.
        own_weights: (n_rows,) of the rows by themselves.
        partial: Whether the shape of the groups is pulled together.
    """

    formula: Constrained
    column: str
    chosen: Candidate
    consensus: Consensus | None
    fitted: Table
    number: int
    weights: Array | None
    own_weights: Array | None
    partial: bool


class FinalFitter:
    """Fits chosen forms to a whole table."""

    def __init__(self, context: JudgingContext, table: Table, seed: int, directions: Directions | None) -> None:
        """Thin the rows where they are too many even for this.

        Args:
            context: What the search judged on.
            table: The rows; the search may have seen fewer.
            seed: Seed of the starts.
            directions: What is declared, if anything.
        """
        self.context, self.table, self.seed, self.directions = context, table, seed, directions
        self.rows = thinned(table, FIT_ROWS)
        self.soundness = context.soundness if self.rows.groups == context.table.groups else Soundness(self.rows)

    def fit(self, chosen: Candidate, agreed: Sequence[Consensus | None]) -> FinalFit:
        """Return the constants of the chosen forms, fitted to the rows and to what was `agreed` for each target."""
        notes: list[str] = []
        remarks: list[str] = []
        if self.rows is not self.table:
            n, every = self.rows.n_rows, self.table.n_rows
            notes.append(f"the final fit used {n} of {every} rows, spread over all groups and rungs")
        constants: dict[str, Constants] = {}
        settings: dict[str, FitSettings] = {}
        for j, target in enumerate(self.table.targets):
            consensus = agreed[j] if chosen.judgements[j].consensus else None
            one = self._one_target(chosen, consensus, j)
            result, huber = self._with_huber(one, self._squared(one))
            straight, bent = self._straightened(one, result)
            if straight is not None:
                result, huber = straight, ""
            trouble = self._trouble(one, result, bent)
            if trouble:
                notes.extend(self._about_trouble(one, trouble))
                huber = ""
            elif huber:
                remarks.append(huber)
            known = chosen.constants[target.column]
            # the search may have seen a part of the groups only
            constants[target.column] = with_absent(known, self.rows.groups) if trouble else result.constants
            prior = chosen.priors.get(target.column) if trouble else result.prior
            settings[target.column] = FitSettings(
                loss="huber" if huber else "squared",
                weights=active_kinds(self.rows, j, OF_SEARCH),
                pooling="none" if prior is None else "partial",
                shared=tuple(one.formula.shared),
                positive=tuple(one.formula.expression.constants) if straight is not None and not trouble else (),
                bounds=dict(one.formula.bounds),
                prior=prior,
                points=0 if consensus is None else consensus.points.n_rows,
            )
        return FinalFit(constants, settings, (*notes, *remarks))

    def _one_target(self, chosen: Candidate, consensus: Consensus | None, target: int) -> _OneTarget:
        column = self.table.targets[target].column
        expression = chosen.expressions[column]
        own_weights = row_weights(self.rows, target)
        fitted, weights, number = self.rows, own_weights, target
        if consensus is not None:
            (fitted, weights), number = consensus.joined(self.rows, target, own_weights), 0
        partial = column in chosen.priors
        # the shapes of groups are pulled together, levels follow their rows
        floor = {} if partial else self.soundness.floor(expression, target)
        bounds = self.soundness.bounds(expression) | floor
        formula = Constrained(expression, target, tuple(chosen.shared.get(column, ())), bounds)
        return _OneTarget(formula, column, chosen, consensus, fitted, number, weights, own_weights, partial)

    def _squared(self, one: _OneTarget) -> FitResult:
        """Return the fit by least squares, from where the search ended."""
        known = one.chosen.constants[one.column]
        return fit(
            one.formula.expression,
            one.fitted,
            target=one.number,
            weights=one.weights,
            # the optimum that was judged on the folds, not a lower one elsewhere that nobody looked at
            starts=0 if set(self.rows.groups) <= set(known) else _FINAL_STARTS,
            seed=self.seed,
            inherit=with_absent(known, self.rows.groups),
            shared=one.formula.shared,
            pooling="partial" if one.partial else "none",
            bounds=one.formula.bounds,
        )

    def _with_huber(self, one: _OneTarget, squared: FitResult) -> tuple[FitResult, str]:
        """Return the fit with Huber's loss and a sentence on why, or the squared one and nothing where that is better.

        Whether rows lie far off is asked of the rows alone: points of a consensus are never far off.
        """
        if not squared.ok:
            return squared, ""
        formula, target, own = one.formula, one.formula.target, squared
        if one.consensus is not None:
            own = fit(
                formula.expression, self.rows, target=target, starts=0, seed=self.seed, inherit=squared.constants,
                shared=formula.shared, bounds=formula.bounds, weights=one.own_weights,
            )  # fmt: skip
        if not own.ok:
            return squared, ""
        found = robust_fit(formula, self.context.table, self.context.folds, own, self.rows, seed=self.seed)
        if found is None:
            return squared, ""
        robust, why = found
        if one.consensus is not None:
            robust = huber_beside(formula, one.fitted, self.rows, one.weights, squared)
        if self._refusal(one, robust.constants) or not self._as_sound(one, robust.constants):
            return squared, ""
        return robust, why

    def _straightened(self, one: _OneTarget, result: FitResult) -> tuple[FitResult | None, str]:
        """Return a fit that keeps to the declared directions where `result` does not, and where that goes wrong.

        With all constants positive a sum of powers keeps to one direction; the fit is None where that is no way out.
        """
        formula = one.formula
        if not result.ok or self.directions is None or is_exact(one.chosen):
            return None, ""
        bent = self.directions.broken(formula.expression, result.constants, formula.target) or ""
        if not bent:
            return None, ""
        found = fit(
            formula.expression, one.fitted, target=one.number, weights=one.weights, starts=_FINAL_STARTS,
            inherit={g: {c: abs(v) for c, v in by.items()} for g, by in result.constants.items()},
            shared=formula.shared, positive=formula.expression.constants, bounds=formula.bounds,
        )  # fmt: skip
        if not found.ok or self.directions.broken(formula.expression, found.constants, formula.target) is not None:
            return None, bent
        return found, ""

    def _trouble(self, one: _OneTarget, result: FitResult, bent: str) -> str:
        """Return why a fit is not used; empty where it is."""
        if not result.ok:
            return result.status
        target = one.formula.target
        if bent and self.directions is not None:
            bent = bent if self.directions.keeps(one.chosen.of_target(target), target) else ""
        if why := self._refusal(one, result.constants):
            return f"it is no law: {why}"
        if not self._as_sound(one, result.constants):
            # a lower training error is no gain if the law then breaks down beyond the data
            return "it breaks a physical check that the search's constants pass"
        return f"it is {bent}, and the search's constants are not" if bent else ""

    def _about_trouble(self, one: _OneTarget, trouble: str) -> list[str]:
        notes = [f"the final fit of {one.column} was not used ({trouble}); constants are the search's"]
        if absent := len(self.rows.groups) - len(one.chosen.constants[one.column]):
            notes.append(f"{absent} groups that the search left out have the median of the others' constants")
        return notes

    def _refusal(self, one: _OneTarget, constants: Constants) -> Rejection | None:
        by_group = [constants[g] for g in self.soundness.table.groups]
        return self.soundness.refusal(one.formula.expression, by_group, one.formula.target)

    def _as_sound(self, one: _OneTarget, constants: Constants) -> bool:
        """Return whether constants pass every physical check that the search's constants pass."""
        grid, target = self.context.grid, one.formula.target
        by_group = [constants[g] for g in self.context.table.groups]
        problems = grid.problems(target, grid.predict(one.formula.expression, by_group))
        within = one.chosen.judgements[target].within_bounds
        return not (one.chosen.admissible and any(p.hard or (p.slight and within) for p in problems))


def with_absent(constants: Constants, groups: Sequence[str]) -> Constants:
    """Return constants for all groups: those that the search left out get the median of the others."""
    if len(constants) == len(groups):
        return constants
    middle = {c: float(np.median([of[c] for of in constants.values()])) for c in next(iter(constants.values()), {})}
    return {g: constants.get(g, middle) for g in groups}
