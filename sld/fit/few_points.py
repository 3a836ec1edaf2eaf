"""Fit a formula to few rows with what other tables say of such constants, group by group.

`posterior.py` has the mathematics, `priors.py` the numbers. What comes out looks like any fit; beside it stand the
draws of the constants, which intervals are made of, and how far beyond the rows anything is promised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sld.core.errors import DataError
from sld.data.table import Table
from sld.fit.fitter import Prior, form_seed
from sld.fit.fitting import FitResult
from sld.fit.posterior import Posterior, Problem, rises
from sld.fit.priors import library
from sld.fit.roles import Roles, kind_of, roles_of
from sld.formula.expression import Expression

FEW = 5  # rows of a group: with more, priors and none were as good where the priors were judged
DRAWS = 400  # an end of a 90 % interval is then known to a twentieth of its width
_SMALL = 1e-4  # step of a derivative, in what is searched (logarithms)


@dataclass(frozen=True, eq=False)
class FewFit:
    """A fit to few rows.

    Attributes:
        result: As any fit has it.
        posteriors: Group to its draws.
        stretch: What the spread of draws is multiplied by in intervals.
        prior: The priors as a Gaussian around the estimate, for whoever refits; None where there are several groups.
    """

    result: FitResult
    posteriors: Mapping[str, Posterior]
    stretch: float
    prior: Prior | None


def why_not(expression: Expression, table: Table, target: int) -> str:
    """Return why learned priors have nothing to say here, in a sentence without its full stop; empty if they have.

    Whether rows are few is another question: see `is_few`.
    """
    found = _roles(expression, table)
    if isinstance(found, str):
        return f"the formula {found}"
    used = [v for v in table.variables if v.symbol in expression.used_variables]
    if logs := [v.column for v in used if v.log is not None]:
        return f"{logs[0]} is a logarithm, and a power of it is none"
    if not (table.Y[:, target] > 0).all():
        return f"{table.targets[target].column} has values of 0 or below"
    for v in used:
        if not (table.column(v.column) > 0).all():
            return f"{v.column} has values of 0 or below"
    for g in range(len(table.groups)):
        if _rising(table, target, g, found) and found.form(True) != "power to a ceiling":
            return "the target rises with scale, which is known of A + B*x**-a only"
    return ""


def is_few(table: Table) -> bool:
    """Return whether every group has at most five rows."""
    return int(np.bincount(table.group_index).max()) <= FEW


def fit_few(expression: Expression, table: Table, target: int, *, seed: int = 0, version: str = "") -> FewFit:
    """Fit a sum of powers under the learned priors; `why_not` must have nothing against it.

    Args:
        expression: The formula.
        table: The rows.
        target: Column of the table's targets.
        seed: Of the draws.
        version: Of the priors that are wanted; any if empty.

    Raises:
        DataError: These priors are of another version.
    """
    if version and version != library().version:
        raise DataError(f"wanted priors of version {version}, and this version of sld has {library().version}")
    roles = _roles(expression, table)
    assert not isinstance(roles, str)
    y = table.Y[:, target]
    posteriors, problems, prediction = {}, {}, np.empty(table.n_rows)
    for g, group in enumerate(table.groups):
        rows = np.flatnonzero(table.group_index == g)
        problem = _problem(expression, roles, table, target, g)
        found = problem.posterior(DRAWS, form_seed(seed + g, expression))
        posteriors[group], problems[group] = found, problem
        at = {c: np.array([v]) for c, v in found.estimate.items()}
        prediction[rows] = problem.values(at, problem.columns)[0]
    mse, variance = float(np.mean((y - prediction) ** 2)), float(np.var(y))
    result = FitResult(
        status="ok" if np.isfinite(prediction).all() else "the fitted formula is not finite on every row",
        constants={g: {c: p.estimate[c] for c in expression.constants} for g, p in posteriors.items()},
        loss=float(np.sum(np.log(y / prediction) ** 2)),
        nmse=mse / variance if variance > 0 else float("nan"),
        residual_sd=float(np.sqrt(mse)), prediction=prediction, n_rows=table.n_rows, n_fits=len(posteriors),
    )  # fmt: skip
    prior = None
    if len(table.groups) == 1:
        group = table.groups[0]
        prior = gaussian(problems[group], posteriors[group], expression)
    stretch = max(problem.stretch for problem in problems.values())
    return FewFit(result, posteriors, stretch, prior)


def gaussian(problem: Problem, found: Posterior, expression: Expression) -> Prior:
    r"""Return the priors as `Fitter` takes them: exact in value and slope at the estimate, a Gaussian around it.

    With $z(\theta)$ the constants as the priors have them, in their standard deviations from the means, the cost is
    $\lVert z \rVert^2$; here $z$ is replaced by its tangent $z_0 + J (\theta - \theta_0)$.
    """
    constants = expression.constants
    estimate = np.array([found.estimate[c] for c in constants])
    noise = float(np.median(np.log(found.noise)))
    free = problem.free_of(found.estimate, noise)
    moved = np.vstack([free + _SMALL * row for row in np.eye(len(free))[:-1]])
    at = problem.constants(moved)
    slopes = np.array([(at[c] - found.estimate[c]) / _SMALL for c in constants])  # (n_constants, n_free)
    J = np.linalg.inv(slopes) / problem.sd[:-1, None]
    z = (free - problem.mean)[:-1] / problem.sd[:-1]
    weight = np.exp(2 * noise) * (J.T @ J)
    mean = estimate - np.linalg.solve(J, z)
    weight = 0.5 * (weight + weight.T)
    return Prior(tuple(constants), tuple(map(float, mean)), tuple(tuple(map(float, row)) for row in weight))


def _problem(expression: Expression, roles: Roles, table: Table, target: int, group: int) -> Problem:
    rows = table.group_index == group
    used = [v for v in table.variables if v.symbol in expression.used_variables]
    columns = {v.symbol: table.column(v.column)[rows] for v in used}
    rising = _rising(table, target, group, roles)
    return Problem(
        expression, roles, library().of(roles, rising), columns, table.Y[rows, target], rising=rising
    )  # fmt: skip


def _roles(expression: Expression, table: Table) -> Roles | str:
    return roles_of(expression, {v.symbol: kind_of(v.column) for v in table.variables})


def _rising(table: Table, target: int, group: int, roles: Roles) -> bool:
    """Return whether a target rises with scale in a group; where one row cannot say, whether higher is better."""
    rows = table.group_index == group
    symbols = {s for term in roles.terms for s in term.basis.names}
    columns = {v.symbol: table.column(v.column)[rows] for v in table.variables if v.symbol in symbols}
    if int(rows.sum()) < 2:
        return table.targets[target].better == "higher"
    return rises(columns, table.Y[rows, target])
