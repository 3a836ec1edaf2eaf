"""Which column of a bare table is what: the keywords of `table_from`, checked, as variables and targets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypedDict, get_args

from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact
from sld.data.card import Log, Monotone, Role, Target, Variable, unique_symbols
from sld.data.logarithms import NO_LOG


class RoleOptions(TypedDict, total=False):
    """The keywords of `table_from` that say what columns are; `Roles` describes them."""

    scale: str | Sequence[str]
    hyper: str | Sequence[str]
    proportion: str | Sequence[str]
    covariate: str | Sequence[str]
    group: str | None
    log: str | Sequence[str] | Mapping[str, str]
    lower: float | None
    upper: float | None
    higher_is_better: bool
    monotone: Mapping[str, Monotone] | None
    run: str | None
    yerr: str | Sequence[str]
    weights: str | None


@dataclass(frozen=True)
class Roles:
    """What the columns of a bare table are, as its reader says.

    Attributes:
        target: Column(s) to predict.
        scale: Columns that grow with money; positive, unless in `log`.
        hyper: Columns with an interior optimum.
        proportion: Shares of a mixture; together they sum to 1.
        covariate: Any other columns that a law may use.
        group: Column naming the group of rows that share one set of constants.
        log: Columns that already are logarithms: to base 10, unless a mapping says otherwise ("log2", "log" for the
            natural one; "none" for a column whose name only looks like one).
        lower: Bound that no target can fall below.
        upper: Bound that no target can exceed.
        higher_is_better: The targets are scores, not losses.
        monotone: Declared effect of a column on the target: "increasing" or "decreasing".
        run: Column naming the run that a row is a checkpoint of; rows of one run are not independent.
        yerr: Columns with the standard errors of the targets, in their order and units.
        weights: Column with the relative weight of each row in a fit.
    """

    target: str | Sequence[str]
    scale: str | Sequence[str] = ()
    hyper: str | Sequence[str] = ()
    proportion: str | Sequence[str] = ()
    covariate: str | Sequence[str] = ()
    group: str | None = None
    log: str | Sequence[str] | Mapping[str, str] = ()
    lower: float | None = None
    upper: float | None = None
    higher_is_better: bool = False
    monotone: Mapping[str, Monotone] | None = None
    run: str | None = None
    yerr: str | Sequence[str] = ()
    weights: str | None = None

    @cached_property
    def targets(self) -> list[str]:
        """The columns to predict."""
        return listed(self.target)

    @cached_property
    def of_column(self) -> dict[str, Role]:
        """Column to role, for the variables; raises UsageError for one that is named twice."""
        roles: dict[str, Role] = {}
        kinds: tuple[tuple[str | Sequence[str], Role], ...] = (
            (self.scale, "scale"),
            (self.hyper, "hyperparameter"),
            (self.proportion, "proportion"),
            (self.covariate, "covariate"),
        )
        for columns, role in kinds:
            for column in listed(columns):
                if column in roles:
                    raise UsageError(f"column {column!r} is named twice ({roles[column]} and {role})")
                roles[column] = role
        return roles

    @cached_property
    def logs(self) -> Mapping[str, Any]:
        """Column to logarithm, "none" included."""
        return self.log if isinstance(self.log, Mapping) else dict.fromkeys(listed(self.log), "log10")

    @cached_property
    def errors(self) -> list[str]:
        """The columns of standard errors: none, or one for each target."""
        return listed(self.yerr)

    def named(self) -> list[str]:
        """Return every column that is named, but for the targets."""
        return [*self.of_column, *self.errors, *(c for c in (self.group, self.run, self.weights) if c)]

    def check(self) -> None:
        """Raise UsageError, in one sentence, for what cannot be meant."""
        for problem in (*self._named_twice(), *self._not_of_a_variable()):
            raise UsageError(problem)
        for name, bound in (("lower", self.lower), ("upper", self.upper)):
            if bound is not None and math.isnan(bound):
                raise UsageError(f"{name} must be a number, got nan; leave it out where there is no bound")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise UsageError(f"lower = {exact(self.lower)} must be below upper = {exact(self.upper)}")

    def _named_twice(self) -> Iterator[str]:
        targets, errors = self.targets, self.errors
        used = [*self.of_column, *targets, *(() if self.group is None else (self.group,))]
        for column in used:
            if used.count(column) > 1:
                yield f"column {column!r} is named twice (variable, target and group must differ)"
        if errors and len(errors) != len(targets):
            yield f"yerr needs one column per target, in their order: {len(targets)} wanted, got {len(errors)}"
        for column in errors:
            if column in used or errors.count(column) > 1:
                yield f"column {column!r} is named twice (standard errors must be columns of their own)"
        for kind, other in (("weights", self.weights), ("run", self.run)):
            # a group may be a run, and a run or a weight is no number that a law uses
            taken = other is not None and other in (*targets, *errors)
            if taken or (kind == "weights" and other == self.run is not None):
                yield f"column {other!r} is named twice ({kind} must be a column of its own)"

    def _not_of_a_variable(self) -> Iterator[str]:
        roles = self.of_column
        kinds: tuple[tuple[str, Mapping[str, Any], tuple[str, ...]], ...] = (
            ("log", self.logs, get_args(Log)),
            ("monotone", self.monotone or {}, get_args(Monotone)),
        )
        for kind, chosen, options in kinds:
            for column, value in chosen.items():
                if column not in roles:
                    yield f"{kind}: {suggest(column, roles, kind='variable')}"
                if value not in options and (kind, value) != ("log", NO_LOG):
                    yield f"{kind} of {column!r} must be one of {', '.join(options)}, got {value!r}"

    def columns(self) -> tuple[tuple[Variable, ...], tuple[Target, ...]]:
        """Return variables and targets, with names for formulas that differ."""
        effects: Mapping[str, Any] = self.monotone or {}
        logs = {column: base for column, base in self.logs.items() if base != NO_LOG}
        better: Literal["lower", "higher"] = "higher" if self.higher_is_better else "lower"
        errors = self.errors or (None,) * len(self.targets)
        return unique_symbols(
            [Variable(c, role=r, monotone=effects.get(c), log=logs.get(c)) for c, r in self.of_column.items()],
            [
                Target(c, better=better, lower=self.lower, upper=self.upper, yerr=e)
                for c, e in zip(self.targets, errors, strict=True)
            ],
        )


def listed(columns: str | Iterable[str]) -> list[str]:
    """Return one or several columns as a list."""
    return [columns] if isinstance(columns, str) else list(columns)
