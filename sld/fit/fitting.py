r"""Fit the constants of an expression: the whole job for one formula, with diagnostics.

Minimises $\sum_i \rho(y_i - \hat y_i)$ over the rows of each group, from many starting points. `Fitter` (fitter.py)
compiles an expression once for a table and then fits any subset of its rows; the search uses it directly.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict, Unpack

import numpy as np

from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact
from sld.data.table import Table
from sld.fit import robust
from sld.fit.fitter import POLISHING, Fitter, Prior, Solution, form_seed, log_starts, text_seed
from sld.fit.kernel import Array, value_and_jacobian
from sld.fit.pooling import LEAST_GROUPS, Pool, shape_constants
from sld.fit.tape import compile_tape
from sld.formula.expression import Expression

__all__ = [
    "LOSSES",
    "POOLINGS",
    "FitResult",
    "Fitter",
    "Loss",
    "Pooling",
    "Prior",
    "Solution",
    "envelope_weights",
    "fit",
    "form_seed",
    "huber_weights",
    "log_starts",
    "text_seed",
    "worse_sign",
]

Loss = Literal["squared", "huber", "log", "log_huber", "envelope"]
LOSSES: tuple[Loss, ...] = ("squared", "huber", "log", "log_huber", "envelope")

Pooling = Literal["none", "partial"]
POOLINGS: tuple[Pooling, ...] = ("none", "partial")

HUBER_DELTA_LOG = 1e-3  # Hoffmann et al. 2022, section 3.3
ENVELOPE_SHARE = 0.02  # weight of a row on the worse side of an envelope, of both sides together
_MAX_DENSE = 200  # columns of a Jacobian whose singular values are all computed: beyond, that takes longer than the fit
_POWER_STEPS = 60  # of power iteration: a few per cent, which is enough for a condition number
_MOST_REWEIGHTINGS = 100  # each lowers the objective; most end within ten
_ENOUGH = 1e-5  # of the objective: reweighting that gains less in a round is left to Newton's method
_ROBUST_SD = 1.4826  # a normal's standard deviation over its median absolute deviation
HUBER_DELTA_SIGMA = 1.345  # 95 % efficiency at the normal; Huber 1981


@dataclass(frozen=True)
class FitResult:
    """The outcome of fitting one expression to one target.

    Attributes:
        status: "ok", or a sentence that says why the fit is not usable.
        constants: Group to constant to value.
        loss: Value of the objective (sum over rows).
        nmse: Mean squared error over the variance of the target, all groups together.
        n_starts: Starting points tried per group.
        n_at_best: Of those, how many reached the best value (the worst group counts).
        at_bounds: Constants that ended on a declared bound.
        condition: Condition number of the Jacobian scaled by the constants (relative sensitivities); large values
            mean that some combination of constants is not determined by the data.
        residual_sd: Root mean square of the residuals.
        prediction: Fitted values (n_rows,) in the table's row order.
        prior: What the groups' shapes were pulled to, when they are partially pooled.
        delta: Where the loss turns linear (the share of an envelope), for the losses that have one: as it was asked for
            or, where nothing was, as it was taken.
    """

    status: str
    constants: dict[str, dict[str, float]]
    loss: float = math.nan
    nmse: float = math.nan
    n_starts: int = 0
    n_at_best: int = 0
    at_bounds: tuple[str, ...] = ()
    condition: float = math.nan
    residual_sd: float = math.nan
    prediction: Array = field(default_factory=lambda: np.empty(0))
    n_rows: int = 0
    n_fits: int = 0
    prior: Prior | None = None
    delta: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the constants can be used."""
        return self.status == "ok"


class FitOptions(TypedDict, total=False):
    """Keywords of `fit` that say how constants are held and rows count; `fit` describes them."""

    delta: float | None
    shared: Sequence[str]
    positive: Collection[str]
    bounds: Mapping[str, tuple[float, float]] | None
    weights: Array | None
    pooling: Pooling


@dataclass(frozen=True)
class _Options:
    delta: float | None = None
    shared: Sequence[str] = ()
    positive: Collection[str] = ()
    bounds: Mapping[str, tuple[float, float]] | None = None
    weights: Array | None = None
    pooling: Pooling = "none"


def _validate(expression: Expression, table: Table, target: int, loss: str, chosen: _Options) -> None:
    shared, bounds = chosen.shared, chosen.bounds or {}
    if chosen.pooling not in POOLINGS:
        raise UsageError(suggest(chosen.pooling, POOLINGS, kind="pooling"))
    if loss not in LOSSES:
        raise UsageError(suggest(loss, LOSSES, kind="loss"))
    for c in (*shared, *chosen.positive, *bounds):
        if c not in expression.constants:
            raise UsageError(suggest(c, expression.constants, kind=f"constant of {expression.text}"))
    _validate_bounds(bounds, chosen.positive)
    if chosen.pooling == "partial":
        _validate_pooling(expression, table, loss, chosen)
        shared = shape_constants(expression)
    _need_rows(expression, table, shared if len(table.groups) > 1 else ())
    if loss.startswith("log") and (table.Y[:, target] <= 0).any():
        row = int(np.argmax(table.Y[:, target] <= 0))
        got = f"{exact(table.Y[row, target])} in row {row + 1}"
        raise UsageError(f"loss {loss!r} needs a positive target, got {got}; use squared or huber")


def _validate_bounds(bounds: Mapping[str, tuple[float, float]], positive: Collection[str]) -> None:
    for c, (low, high) in bounds.items():
        low = max(low, 0.0) if c in positive else low
        if not low < high:
            why = f"bounds of {c!r} leave no room: from {exact(low)} to {exact(high)}"
            raise UsageError(f"{why}, and it must be positive" if c in positive else why)


def _validate_pooling(expression: Expression, table: Table, loss: str, chosen: _Options) -> None:
    linear = set(expression.constants) - set(shape_constants(expression))
    if loss != "squared" or chosen.shared or chosen.positive or not linear.isdisjoint(chosen.bounds or {}):
        why = "and without shared, positive and bounds on constants that enter linearly"
        raise UsageError(f"partial pooling goes with squared errors, {why}")
    if len(table.groups) < LEAST_GROUPS:
        raise UsageError(f"partial pooling needs at least {LEAST_GROUPS} groups, got {len(table.groups)}")


def _need_rows(expression: Expression, table: Table, shared: Collection[str]) -> None:
    """Refuse more constants than distinct points: a point that is measured again decides nothing more."""
    n_own = len(set(expression.constants) - set(shared))
    ways = "add runs, use a shorter formula or share constants across groups"
    first = np.unique(table.points(), return_index=True)[1]
    points, rows = (
        np.bincount(of, minlength=len(table.groups)) for of in (table.group_index[first], table.group_index)
    )
    for group, count, n_rows in zip(table.groups, points.tolist(), rows.tolist(), strict=True):
        if count < n_own:
            where = "" if len(table.groups) == 1 else f" in group {group!r}"
            got = _counted(count, n_rows)
            raise UsageError(f"{n_own} constants need at least {n_own} distinct points{where}, got {got}; {ways}")
    n = len(set(shared)) + n_own * len(table.groups)
    if len(first) < n:
        got = _counted(len(first), table.n_rows)
        raise UsageError(
            f"{n} constants (shared and of all groups) need at least {n} distinct points, got {got}; {ways}"
        )


def _counted(n_points: int, n_rows: int) -> str:
    return f"{n_points}" if n_points == n_rows else f"{n_points} in {n_rows} rows (repeats do not count)"


def fit(
    expression: Expression,
    table: Table,
    *,
    target: int = 0,
    loss: Loss = "squared",
    starts: int = 32,
    seed: int | np.random.Generator = 0,
    inherit: Mapping[str, Mapping[str, float]] | None = None,
    **options: Unpack[FitOptions],
) -> FitResult:
    r"""Fit the constants of `expression` to one target of `table`, each group separately.

    Minimises $\sum_i w_i \, \rho(y_i - f(x_i; \theta))$ over the constants $\theta$. Those that enter linearly are
    solved for in closed form at every step (variable projection, Golub and Pereyra 1973); the others are found by
    Levenberg-Marquardt from many starting points.

    >>> from sld.data.table import table_from
    >>> N = [1e6, 4e6, 16e6, 64e6, 256e6]
    >>> table = table_from({"N": N, "loss": [1.7 + 40 * n**-0.25 for n in N]}, target="loss", scale="N")
    >>> found = fit(table.parse("E + A*N**-a"), table)
    >>> {c: round(v, 6) for c, v in found.constants["all"].items()}
    {'E': 1.7, 'A': 40.0, 'a': 0.25}
    >>> found.status, f"{found.n_at_best} of {found.n_starts} starts"
    ('ok', '32 of 32 starts')

    Args:
        expression: The formula.
        table: `X` (n_rows, n_variables) and `Y` (n_rows, n_targets), in the card's units.
        target: Column of `Y`.
        loss: "squared" (default) minimises $\sum (y-\hat y)^2$; "log" the same of $\log y - \log\hat y$; "huber" and
            "log_huber" replace the square by Huber's function; "envelope" follows the best runs (`envelope_weights`).
        starts: Initial points per group; 0 improves `inherit` and looks nowhere else.
        seed: Seed of the initial points; the same seed gives the same constants. They also depend on how columns and
            constants are called, unless they are drawn from a generator that does not (`form_seed`).
        inherit: Group to constant to value: one more start, e.g. from an earlier fit.
        **options: `delta`: where Huber's function turns linear: 1e-3 for "log_huber" (Hoffmann et al. 2022, section
            3.3), 1.345 robust standard deviations of the residuals for "huber". For "envelope" the weight of a row on
            the worse side as a share of both sides, 0.02.
            `shared`: constants that all groups have in common. `positive`: constants that must be positive.
            `bounds`: constant to (lower, upper).
            `weights`: relative weight of each row (n_rows,); equal if not given. A row of weight w counts as one whose
            noise is smaller by the square root of w, so Huber's function is that of the residual times this root. With
            logarithmic losses they weigh the residuals of the logarithm.
            `pooling`: "partial" pulls the groups' shapes together by as much as the rows say (see `pooling.py`); groups
            then need rows for their linear constants only. It goes with squared errors alone, and without `shared`,
            `positive` and `bounds` on constants that enter linearly.

    Returns:
        The best fit found. Numerical trouble is returned, not raised: read `status`.

    Raises:
        UsageError: Unknown loss or constant, fewer distinct points than constants in a group, or a non-positive target
            with a logarithmic loss.
    """
    chosen = _Options(**options)
    _validate(expression, table, target, loss, chosen)
    if chosen.pooling == "partial":
        return _partially_pooled(expression, table, target, max(starts, 4), seed, inherit, chosen)
    own = weights = chosen.weights
    if loss.startswith("log"):
        weights = (1.0 if own is None else own) / table.Y[:, target] ** 2
    fitter = Fitter(
        expression, table, target, shared=chosen.shared, positive=chosen.positive, bounds=chosen.bounds, weights=weights
    )
    solution, points, n_starts = _searched(fitter, starts, _generator(seed, expression), inherit)
    if not solution.ok:
        return FitResult(_why_not(fitter, points), {}, n_starts=len(points), n_rows=table.n_rows)
    n_fits = solution.n_fits
    polished = fitter.solve(points[:1], inherited=fitter.nonlinear(solution), max_iterations=300, tolerance=POLISHING)
    if polished.ok and polished.sums.sum() <= solution.sums.sum():
        solution = Solution(polished.values, polished.sums, solution.at_best, n_fits)
    objective, delta = float(solution.sums.sum()), None
    if loss == "envelope":
        delta = ENVELOPE_SHARE if chosen.delta is None else chosen.delta
        solution, objective = _envelope(fitter, solution, table, target, delta, own)
    elif loss != "squared":
        fitter, solution, objective, delta = _robust(fitter, solution, table, target, loss, chosen.delta, own)
        if not solution.ok:
            return FitResult("the robust fit left the domain of the formula", {}, n_rows=table.n_rows)
    result = _result(expression, table, target, fitter, solution, objective, n_starts)
    at_bounds = _at_bounds(result.constants, chosen.positive, chosen.bounds or {})
    return replace(result, n_fits=n_fits, at_bounds=at_bounds, delta=delta)


def _searched(
    fitter: Fitter, starts: int, rng: np.random.Generator, inherit: Mapping[str, Mapping[str, float]] | None
) -> tuple[Solution, Array, int]:
    """Return the best solution from all starting points, the points drawn (n, n_nonlinear), and how many there were."""
    if not fitter.tape.constants:
        starts = max(starts, 1)  # nothing is searched: the one start is the solution, and there is nothing to inherit
    points = fitter.starts(max(starts, 1), rng)[:starts]
    inherited = log_starts(fitter, min(starts, 8), rng) if starts else None
    n_starts = len(points) + (inherited is not None)
    if inherit is not None:
        solution = _from_inherited(fitter, points[:1], inherit)
        if not starts:
            return solution, points, n_starts
    fresh = fitter.solve(points, inherited=inherited, max_iterations=100)
    return fresh if inherit is None else _better(fresh, solution, bool(fitter.shared)), points, n_starts


def _generator(seed: int | np.random.Generator, expression: Expression) -> np.random.Generator:
    # entries of the leaderboard rest on these starts: a whole fit of one has to find what it found
    return seed if isinstance(seed, np.random.Generator) else text_seed(seed, expression.text)


def _result(
    expression: Expression,
    table: Table,
    target: int,
    fitter: Fitter,
    solution: Solution,
    objective: float,
    n_starts: int,
) -> FitResult:
    """Return a solution with its diagnostics."""
    y = table.Y[:, target]
    prediction = fitter.predict(solution.values)
    if not np.isfinite(prediction).all():
        return FitResult("the fitted formula is not finite on every row", {}, n_rows=table.n_rows)
    constants = {
        group: {c: float(solution.values[g, fitter.names.index(c)]) for c in expression.constants}
        for g, group in enumerate(table.groups)
    }
    variance = float(np.var(y))
    mse = float(np.mean((y - prediction) ** 2))
    return FitResult(
        status="ok",
        constants=constants,
        loss=objective,
        nmse=mse / variance if variance > 0 else math.nan,
        n_starts=n_starts,
        n_at_best=int(solution.at_best.min()) if len(solution.at_best) else 0,
        condition=_condition(expression, table, constants, fitter.shared),
        residual_sd=float(np.sqrt(mse)),
        prediction=prediction,
        n_rows=table.n_rows,
    )


def _partially_pooled(
    expression: Expression,
    table: Table,
    target: int,
    starts: int,
    seed: int | np.random.Generator,
    inherit: Mapping[str, Mapping[str, float]] | None,
    chosen: _Options,
) -> FitResult:
    pool = Pool(expression, table, target, chosen.weights, bounds=chosen.bounds)
    points = pool.joint.starts(starts, _generator(seed, expression))
    joint = pool.joint.solve(points, max_iterations=100)
    if inherit is not None:
        joint = _better(joint, _from_inherited(pool.joint, points[:1], inherit), joint=True)
    if not joint.ok:
        return FitResult(_why_not(pool.joint, points), {}, n_starts=len(points), n_rows=table.n_rows)
    pooled = pool.solve(joint, max_iterations=300, tolerance=POLISHING)
    if pooled is None:
        return FitResult("the groups could not be pooled partially", {}, n_rows=table.n_rows)
    solution, fitter = pooled.solution, pool.fitter
    result = _result(expression, table, target, fitter, solution, float(solution.sums.sum()), len(points))
    return replace(result, n_fits=joint.n_fits + solution.n_fits, prior=pooled.prior)


def _from_inherited(fitter: Fitter, points: Array, inherit: Mapping[str, Mapping[str, float]]) -> Solution:
    values = np.array(
        [[inherit.get(g, {}).get(c, math.nan) for c in fitter.tape.constants] for g in fitter.table.groups]
    ).reshape(fitter.n_groups, len(fitter.tape.constants))
    return fitter.solve(points, inherited=values, max_iterations=100)


def _better(one: Solution, other: Solution, joint: bool) -> Solution:
    """Return the better solution, group by group unless groups share constants."""
    if joint:
        return other if other.sums.sum() < one.sums.sum() else one
    wins = other.sums < one.sums
    return Solution(
        np.where(wins[:, None], other.values, one.values),
        np.where(wins, other.sums, one.sums),
        # found by this start alone, unless it is the same optimum a little closer
        np.where(wins & (other.sums < one.sums * (1 - 1e-6)), 1, one.at_best),
        one.n_fits + other.n_fits,
    )


def _why_not(fitter: Fitter, points: Array) -> str:
    with np.errstate(all="ignore"):
        if fitter.columns.size and not np.isfinite(fitter.columns).all():
            bad = next(n for n, v in zip(fitter.tape.columns, fitter.columns, strict=True) if not np.isfinite(v).all())
            return f"{bad} is not finite on every row"
    return f"no starting point of {len(points)} gave finite values on every row"


def _robust(
    fitter: Fitter,
    solution: Solution,
    table: Table,
    target: int,
    loss: Loss,
    delta: float | None,
    own: Array | None,
) -> tuple[Fitter, Solution, float, float | None]:
    """Polish in the full space of constants: squared log residuals, or Huber's function by reweighting."""
    full = Fitter(
        fitter.expression, table, target, shared=fitter.shared, positive=fitter.positive, bounds=fitter.bounds,
        log_output=loss.startswith("log"), project=False,
    )  # fmt: skip
    order = [fitter.names.index(c) for c in full.names]
    values = solution.values[:, order]
    dummy = values[:1]
    huber = loss.endswith("huber")
    root = 1.0 if own is None else np.sqrt(own)[full.order]
    weights: Array | None = None if own is None else np.asarray(root)
    best, best_objective, at_best = values, math.inf, solution.at_best
    # far below the noise reweighting gets slow, and Newton's method ends it; a width that follows the noise is not
    narrow = huber and (delta is not None or full.log_output)
    sigma_delta = delta
    for _ in range(_MOST_REWEIGHTINGS if huber else 1):
        found = full.solve(dummy, inherited=values, max_iterations=200, tolerance=POLISHING, weights=weights)
        if not found.ok:
            break
        prediction = full.predict(found.values)[full.order]
        with np.errstate(all="ignore"):
            residual = root * (full.y - (np.log(prediction) if full.log_output else prediction))
        if huber and sigma_delta is None:
            scale = _ROBUST_SD * float(np.median(np.abs(residual)))
            sigma_delta = HUBER_DELTA_LOG if full.log_output else HUBER_DELTA_SIGMA * max(scale, 1e-300)
        costs = robust.huber(residual, sigma_delta) if huber and sigma_delta else residual**2
        objective = float(np.sum(costs))
        if not objective < best_objective * (1 - (_ENOUGH if narrow else 1e-12)):
            break
        best, best_objective, values = found.values, objective, found.values
        if huber and sigma_delta:
            weights = root * np.sqrt(np.minimum(1.0, sigma_delta / np.maximum(np.abs(residual), 1e-300)))
    if narrow and sigma_delta and np.isfinite(best).all():
        best = robust.finished(full, best, np.broadcast_to(root, full.y.shape), sigma_delta)
        prediction = full.predict(best)[full.order]
        residual = root * (full.y - (np.log(prediction) if full.log_output else prediction))
        best_objective = float(np.sum(robust.huber(residual, sigma_delta)))
    sums = np.where(np.isfinite(best).all(axis=1), best_objective / max(len(best), 1), math.inf)
    return full, Solution(best, sums, at_best, solution.n_fits), best_objective, sigma_delta if huber else None


def _envelope(
    fitter: Fitter, solution: Solution, table: Table, target: int, share: float | None, own: Array | None
) -> tuple[Solution, float]:
    """Reweight rows by the side that they lie on until none changes sides; the objective falls in every step."""
    sign = worse_sign(table, target)
    best, objective = solution, math.inf
    for _ in range(_MOST_REWEIGHTINGS):
        residual = sign * (table.Y[:, target] - fitter.predict(solution.values))
        weights = envelope_weights(residual, share) * (1.0 if own is None else own)
        cost = float(np.sum(weights * residual**2))
        if not cost < objective * (1 - 1e-12):
            break
        best, objective = solution, cost
        start = fitter.nonlinear(solution)
        solution = fitter.solve(
            start[:1], inherited=start, max_iterations=200, tolerance=POLISHING, weights=np.sqrt(weights)[fitter.order]
        )
        if not solution.ok:
            break
    sums = np.full(len(solution.sums), objective / max(len(solution.sums), 1))
    return Solution(best.values, sums, best.at_best, best.n_fits), objective


def worse_sign(table: Table, target: int) -> float:
    """Return 1 where larger values of a target are worse, else -1."""
    return 1.0 if table.targets[target].better == "lower" else -1.0


def envelope_weights(excess: Array, share: float | None = None) -> Array:
    r"""Return the weights (n_rows,) with which least squares is asymmetric: it then follows the rows that did best.

    Runs that were tuned badly, or stopped early, lie on one side of the law of runs that were not. Minimising
    $\sum_i |\tau - 1[e_i > 0]|\, e_i^2$ with a small $\tau$ (expectiles: Newey and Powell 1987) lets rows on the worse
    side count $\tau/(1-\tau)$ of those on the better side.

    >>> envelope_weights(np.array([-0.1, 0.1]), 0.2)
    array([1.  , 0.25])

    Args:
        excess: How much worse than the law each row is; negative where it is better.
        share: $\tau$, between 0 and 1; 0.02 if not given.
    """
    tau = ENVELOPE_SHARE if share is None else share
    return np.where(excess > 0, tau / (1.0 - tau), 1.0)


def huber_weights(residual: Array) -> Array:
    """Return the weights (n_rows,) with which least squares is Huber's loss at these residuals; 1 for the bulk.

    >>> huber_weights(np.array([0.1, -0.1, 0.1, -2.0]))
    array([1.      , 1.      , 1.      , 0.099705])
    """
    with np.errstate(invalid="ignore"):
        size = np.abs(residual)
        delta = (
            HUBER_DELTA_SIGMA * _ROBUST_SD * float(np.median(size[np.isfinite(size)]))
            if np.isfinite(size).any()
            else 0.0
        )
        weights: Array = np.minimum(1.0, delta / np.maximum(size, 1e-300))
    return np.where(np.isfinite(weights), weights, 0.0)


def _at_bounds(
    constants: Mapping[str, Mapping[str, float]],
    positive: Collection[str],
    bounds: Mapping[str, tuple[float, float]],
) -> tuple[str, ...]:
    found: list[str] = []
    for values in constants.values():
        for c, v in values.items():
            low, high = bounds.get(c, (-math.inf, math.inf))
            low = max(low, 0.0) if c in positive else low
            span = max(abs(v), 1e-12)
            near = abs(v - low) <= 1e-9 * span or abs(v - high) <= 1e-9 * span or (low == 0.0 and v <= 1e-150)
            if near and c not in found:
                found.append(c)
    return tuple(found)


def _condition(
    expression: Expression, table: Table, constants: Mapping[str, Mapping[str, float]], shared: Collection[str]
) -> float:
    """Return the condition number of the Jacobian times the constants' sizes; the worst group's, unless they share."""
    if not expression.constants:
        return 1.0
    tape = compile_tape(expression, shared=tuple(shared), project=False)
    columns = tape.column_values(table.inputs, table.n_rows)
    n_shared = len(shared)
    own: list[Array] = []
    common: list[Array] = []
    for g, group in enumerate(table.groups):
        rows = np.flatnonzero(table.group_index == g)
        theta = np.array([[constants[group][c] for c in tape.constants]])
        _, jacobian = value_and_jacobian(tape, columns.take(rows, axis=1), theta)
        scaled = (jacobian[0] * np.where(theta[0] == 0.0, 1.0, np.abs(theta[0]))[:, None]).T
        if not np.isfinite(scaled).all():
            return math.inf
        common.append(scaled[:, :n_shared])
        own.append(scaled[:, n_shared:])
    if not n_shared:
        return max(1.0, *(_ratio(block) for block in own))
    return arrow_condition(own, common)


def arrow_condition(own: Sequence[Array], common: Sequence[Array]) -> float:
    """Return the condition number of a Jacobian whose groups have columns of their own and columns in common.

    Beyond 200 columns it is found by power iteration, to a few per cent and never too large: the cost then grows with
    the number of groups, not with its cube.

    Args:
        own: For each group (n_rows, n_own), at least as many rows as columns.
        common: For each group (n_rows, n_common).
    """
    n_groups, n_own, n_common = len(own), own[0].shape[1], common[0].shape[1]
    # an orthogonal factor per group leaves small triangles: [R_g S_g] for its own columns, T for the common ones
    R, S = np.empty((n_groups, n_own, n_own)), np.empty((n_groups, n_own, n_common))
    rest = []
    for g, (a, b) in enumerate(zip(own, common, strict=True)):
        q, R[g] = np.linalg.qr(a)
        S[g] = q.T @ b
        rest.append(b - q @ S[g])
    T: Array = np.zeros((n_common, n_common))
    top = np.asarray(np.linalg.qr(np.concatenate(rest), mode="r"))
    T[: len(top)] = top
    n = n_groups * n_own
    if n + n_common <= _MAX_DENSE:
        joint = np.zeros((n + n_common, n + n_common))
        for g in range(n_groups):
            joint[g * n_own : (g + 1) * n_own, g * n_own : (g + 1) * n_own] = R[g]
            joint[g * n_own : (g + 1) * n_own, n:] = S[g]
        joint[n:, n:] = T
        return _ratio(joint)

    def times(x: Array, y: Array) -> tuple[Array, Array]:
        """Multiply by the triangle and its transpose."""
        u, v = R @ x + S @ y, T @ y
        return R.transpose(0, 2, 1) @ u, (S.transpose(0, 2, 1) @ u).sum(axis=0) + T.T @ v

    def over(x: Array, y: Array) -> tuple[Array, Array]:
        """Solve the same."""
        u = np.linalg.solve(R.transpose(0, 2, 1), x)
        v = np.linalg.solve(T.T, y - (S.transpose(0, 2, 1) @ u).sum(axis=0))
        below = np.linalg.solve(T, v)
        return np.asarray(np.linalg.solve(R, u - S @ below)), np.asarray(below)

    rng = np.random.default_rng(0)
    ratio = 1.0
    for step in (times, over):
        x, y = rng.normal(size=(n_groups, n_own, 1)), rng.normal(size=(n_common, 1))
        size = 1.0
        for _ in range(_POWER_STEPS):
            length = math.sqrt(float((x * x).sum() + (y * y).sum()))
            try:
                x, y = step(x / length, y / length)
            except np.linalg.LinAlgError:
                return math.inf
            size = math.sqrt(float((x * x).sum() + (y * y).sum()))
            if not 0.0 < size < math.inf:
                return math.inf
        ratio *= math.sqrt(size)
    return ratio


def _ratio(matrix: Array) -> float:
    singular = np.linalg.svd(matrix, compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0 else math.inf
