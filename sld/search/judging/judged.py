"""What was found about one form on one target, before it becomes part of a candidate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sld.core.arrays import Array
from sld.fit.fitting import Fitter, Prior
from sld.formula.expression import Expression
from sld.search.candidates.rejection import OK
from sld.search.judging.admissible import Problem


@dataclass(frozen=True)
class Judged:
    """How one form did on one target, with one way for groups to share constants.

    Attributes:
        status: "ok", or why it has no score: a `Rejection`, with more behind a colon where it is not compiled.
        n_fits: Local fits it took.
        fold_errors: NMSE on each fold; NaN where a fold could not be fitted.
        train_nmse: Mean squared error over variance on all rows.
        problems: Checks that fail on the grid beyond the data.
        constants: Group to constant to value.
        shared: Constants that all groups have in common.
        prior: What the shape of the groups is pulled to, where they are partially pooled.
        effective: Constants per group; one that n groups share counts one n-th.
        silent: Folds with too few points for its constants, by number.
    """

    status: str
    n_fits: int
    fold_errors: tuple[float, ...] = ()
    train_nmse: float = math.nan
    problems: tuple[Problem, ...] = ()
    constants: Mapping[str, Mapping[str, float]] | None = None
    shared: tuple[str, ...] = ()
    prior: Prior | None = None
    effective: float = 0.0
    silent: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it has a score."""
        return self.status == OK

    @property
    def checks(self) -> tuple[bool, bool]:
        """Whether a check fails where the law will be used, and whether one does so slightly."""
        return any(p.hard for p in self.problems), any(p.slight for p in self.problems)


def constants_by_group(expression: Expression, fitter: Fitter, values: Array) -> list[dict[str, float]]:
    """Return the constants of a solution (n_groups, n_names), a mapping for each group."""
    column = {c: i for i, c in enumerate(fitter.names)}
    return [{c: float(row[column[c]]) for c in expression.constants} for row in values]
