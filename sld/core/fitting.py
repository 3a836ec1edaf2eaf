r"""Fit the constants of an expression: linear ones in closed form, the others from many starting points.

Minimises $\sum_i \rho(y_i - \hat y_i)$ over the rows of each group. Linear constants are projected out (variable
projection), so only exponents, shifts and scales are searched; positive ones among those live in log space. The
starting points come from the formula and the data (`starts.py`).

`Fitter` compiles an expression once for a table and then fits any subset of its rows; the search uses it directly.
`fit` is the whole job for one expression, with diagnostics.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sld.core.errors import UsageError, suggest
from sld.core.expression import Expression, Node, call
from sld.core.kernel import Array, Tape, compile_tape, linear_constants
from sld.core.starts import draw_starts
from sld.core.task import Table

Loss = Literal["squared", "huber", "log", "log_huber"]
LOSSES: tuple[Loss, ...] = ("squared", "huber", "log", "log_huber")

_SAMPLE_ROWS = 48  # rows that starting points are drawn from
HUBER_DELTA_LOG = 1e-3  # Hoffmann et al. 2022, section 3.3
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

    @property
    def ok(self) -> bool:
        """Whether the constants can be used."""
        return self.status == "ok"


@dataclass(frozen=True)
class Solution:
    """Constants found by a `Fitter` for a set of rows.

    Attributes:
        values: (n_groups, n_names) in natural units; NaN for groups without rows or without a finite fit.
        sums: (n_groups,) weighted sum of squares; inf where the fit failed, 0 where the group has no rows.
        at_best: (n_groups,) starts that reached the best value.
        n_fits: Local fits run (starts times groups).
    """

    values: Array
    sums: Array
    at_best: NDArray[np.int64]
    n_fits: int

    @property
    def ok(self) -> bool:
        """Whether every group with rows has finite constants."""
        return bool(np.isfinite(self.sums).all())


class Fitter:
    """One expression compiled for one table and target.

    Args:
        shared: Constants that all groups have in common.
        positive: Constants that must be positive.
        bounds: Constant to (lower, upper) in natural units.
        weights: Relative weight of each row (n_rows,), or None.
        log_output: Fit log(expression) to log(y) with every constant nonlinear.
        project: Take linear constants out (False for robust polishing in the full space).
    """

    def __init__(
        self,
        expression: Expression,
        table: Table,
        target: int = 0,
        *,
        shared: Collection[str] = (),
        positive: Collection[str] = (),
        bounds: Mapping[str, tuple[float, float]] | None = None,
        weights: Array | None = None,
        log_output: bool = False,
        project: bool = True,
    ) -> None:
        self.expression = expression
        self.table = table
        self.n_groups = len(table.groups)
        self.n_rows = table.n_rows
        self.shared = tuple(c for c in expression.constants if c in shared) if self.n_groups > 1 else ()
        self.positive = frozenset(positive)
        self.bounds = dict(bounds or {})
        self.log_output = log_output
        self.project = project and not log_output
        if self.n_groups == 1:
            self.order = np.arange(self.n_rows)
            X, y, self.group_of = table.X, table.Y[:, target], table.group_index
        else:
            self.order = np.argsort(table.group_index, kind="stable")
            X, y, self.group_of = table.X[self.order], table.Y[self.order, target], table.group_index[self.order]
        with np.errstate(all="ignore"):
            self.y = np.log(y) if log_output else np.ascontiguousarray(y)
        self.weights = None if weights is None else np.sqrt(weights[self.order])
        self.values_by_symbol = {s: X[:, j] for j, s in enumerate(table.symbols)}
        self.offsets = np.searchsorted(self.group_of, np.arange(self.n_groups + 1))
        self._twins: dict[tuple[str, ...], Fitter] = {}
        self._compile(())

    def _compile(self, nonlinear: Collection[str]) -> None:
        self.tape: Tape = compile_tape(
            self.expression,
            shared=self.shared,
            nonlinear=nonlinear,
            # a linear constant that has to be kept from crossing zero is bounded, not put in log space: its best
            # value may be zero itself
            positive=self.positive - frozenset(nonlinear) if self.project else self._log_space(),
            project=self.project,
            log_output=self.log_output,
        )
        self.names = self.tape.constants + self.tape.linear
        self.n_shared = len(self.shared)
        self.n_local = len(self.tape.constants) - self.n_shared
        self.columns = self.tape.column_values(self.values_by_symbol, self.n_rows)
        lower, upper = [], []
        for c in self.tape.constants:
            low, high = self._limits(c)
            if c in self.tape.positive:
                low, high = math.log(max(low, 1e-200)), math.log(high) if high < math.inf else 230.0
            lower.append(low)
            upper.append(high)
        self.lower, self.upper = np.array(lower, dtype=float), np.array(upper, dtype=float)

    def _limits(self, constant: str) -> tuple[float, float]:
        low, high = self.bounds.get(constant, (-math.inf, math.inf))
        return max(low, 0.0) if constant in self.positive else low, high

    def _log_space(self) -> frozenset[str]:
        if not self.positive:
            return self.positive
        linear = set(linear_constants(self.expression)[1])
        return self.positive - linear

    def starts(self, n_starts: int, rng: np.random.Generator) -> Array:
        """Draw starting points in natural units: (n_starts, n_nonlinear)."""
        if not self.tape.constants:
            return np.zeros((1, 0))
        step = max(1, self.n_rows // _SAMPLE_ROWS)
        pick = np.arange(self.n_rows)[:: step if step % 2 or step == 1 else step + 1][: 2 * _SAMPLE_ROWS]
        sample = {s: v[pick] for s, v in self.values_by_symbol.items()}
        y = np.exp(self.y) if self.log_output else self.y
        scale = float(np.median(np.abs(y))) or 1.0
        rest, bases = (self.tape.rest_tree, self.tape.bases) if self.project else (self.expression.tree, ())
        return draw_starts(rest, bases, self.tape.constants, self.positive, sample, n_starts, rng, scale=scale)

    def _theta(self, natural: Array) -> Array:
        """Return constants (..., n_nonlinear) in the units of the search."""
        theta = np.array(natural, dtype=float, order="C")
        for c in self.tape.positive:
            j = self.tape.constants.index(c)
            theta[..., j] = np.log(np.maximum(np.abs(theta[..., j]), 1e-300))
        return theta

    def solve(
        self,
        starts: Array,
        rows: NDArray[np.intp] | NDArray[np.bool_] | None = None,
        *,
        inherited: Array | None = None,
        max_iterations: int = 60,
        tolerance: float = 1e-9,
        weights: Array | None = None,
        refit_bounds: bool = True,
    ) -> Solution:
        """Fit the given rows (all by default) from the given starts.

        Args:
            starts: (n_starts, n_nonlinear), natural units, tried in every group.
            rows: Row numbers of the table, or a mask.
            inherited: (n_groups, n_nonlinear) one more start, group by group.
            weights: Square-root weights in the fitter's row order, instead of those given at construction.
        """
        from sld.core import machine

        tape = self.tape
        w = self.weights if weights is None else weights
        columns, y, offsets = self.columns, self.y, self.offsets
        present: NDArray[np.intp] | None = None
        if rows is not None:
            chosen = np.zeros(self.n_rows, dtype=bool)
            chosen[rows] = True
            kept = np.flatnonzero(chosen[self.order])
            columns, y, w = columns.take(kept, axis=1), y[kept], None if w is None else w[kept]
            offsets = np.searchsorted(kept, offsets)
            present = np.flatnonzero(offsets[1:] > offsets[:-1])
            offsets = np.append(offsets[present], len(kept))
        n_present, n_theta = len(offsets) - 1, len(tape.constants)
        begin, more = self._theta(starts), machine.NO_JACOBIANS
        if inherited is not None and n_theta:
            more = self._theta(inherited[None] if present is None else inherited[None, present])
        thetas = np.empty((1, n_present, n_theta))
        coefficients = np.empty((1, n_present, len(tape.linear)))
        sums, at_best = np.empty(n_present), np.empty(n_present, dtype=np.int64)
        machine.solve(
            self.n_shared, self.n_local, offsets, tape.literals, tape.scalar_ops, tape.row_ops, tape.outputs,
            tape.rest, columns, y, y if w is None else w, w is not None, begin, more, self.lower, self.upper,
            max_iterations, tolerance, thetas, coefficients, sums, at_best, machine.NO_VALUES, machine.NO_JACOBIANS,
        )  # fmt: skip
        values = np.concatenate([thetas[0], coefficients[0]], axis=1)
        for c in tape.positive:
            j = tape.constants.index(c)
            values[:, j] = np.exp(values[:, j])
        if present is not None and n_present < self.n_groups:
            everywhere = Solution(
                np.full((self.n_groups, values.shape[1]), np.nan),
                np.zeros(self.n_groups),
                np.zeros(self.n_groups, dtype=np.int64),
                0,
            )
            everywhere.values[present], everywhere.sums[present], everywhere.at_best[present] = values, sums, at_best
            values, sums, at_best = everywhere.values, everywhere.sums, everywhere.at_best
        solution = Solution(values, sums, at_best, (len(more) + len(begin)) * n_present)
        if refit_bounds and self.project and (self.positive or self.bounds) and solution.ok:
            return self._with_bounded_linear(
                solution, starts, rows, inherited, max_iterations, tolerance, weights
            )
        return solution

    def _with_bounded_linear(
        self,
        solution: Solution,
        starts: Array,
        rows: NDArray[np.intp] | NDArray[np.bool_] | None,
        inherited: Array | None,
        max_iterations: int,
        tolerance: float,
        weights: Array | None,
    ) -> Solution:
        """Refit with those linear constants in the search whose free optimum breaks a bound."""
        broken = []
        offset = len(self.tape.constants)
        for k, c in enumerate(self.tape.linear):
            low, high = self._limits(c)
            found = solution.values[:, offset + k]
            found = found[np.isfinite(found)]
            if (found < low).any() or (found > high).any():
                broken.append(c)
        if not broken:
            return solution
        twin = self._twins.get(tuple(broken))
        if twin is None:
            twin = Fitter.__new__(Fitter)
            twin.__dict__.update(self.__dict__)
            twin._compile(broken)
            self._twins[tuple(broken)] = twin
        before = {c: j for j, c in enumerate(self.names)}
        column = {c: j for j, c in enumerate(self.tape.constants)}
        size = float(np.median(np.abs(self.y))) or 1.0
        begin = np.empty((len(starts), len(twin.tape.constants)))
        for j, c in enumerate(twin.tape.constants):
            begin[:, j] = starts[:, column[c]] if c in column else 0.3 * size
        inherit = solution.values[:, [before[c] for c in twin.tape.constants]]
        inherit = np.where(np.isfinite(inherit), inherit, 1.0)
        again = twin.solve(
            begin, rows, inherited=inherit, max_iterations=max_iterations, tolerance=tolerance, weights=weights
        )
        after = {c: j for j, c in enumerate(twin.names)}
        values = again.values[:, [after[c] for c in self.names]]
        return Solution(values, again.sums, again.at_best, solution.n_fits + again.n_fits)

    def nonlinear(self, solution: Solution) -> Array:
        """Return the nonlinear part of a solution, to be inherited as a start: (n_groups, n_nonlinear)."""
        return solution.values[:, : len(self.tape.constants)]

    def predict(self, values: Array) -> Array:
        """Return predictions (n_rows,) in the table's row order; NaN for groups without constants."""
        from sld.core import machine

        p = len(self.tape.constants)
        sound = np.isfinite(values).all(axis=1)
        if not sound.all():
            values = np.where(sound[:, None], values, 1.0)
        theta = self._theta(values[None, :, :p])
        found = machine.evaluate(
            self.tape, self.columns, theta, values[None, :, p:], self.offsets, machine.NO_JACOBIANS
        )[0]
        out = np.empty(self.n_rows)
        out[self.order] = found if sound.all() else np.where(sound[self.group_of], found, np.nan)
        return np.exp(out) if self.log_output else out


def text_seed(seed: int, text: str) -> np.random.Generator:
    """Return a generator that depends on the seed and a text, not on the order in which formulas are tried."""
    return np.random.default_rng([seed, zlib.crc32(text.encode())])


def log_of(node: Node) -> Node:
    """Return log(node) with products, powers and exponentials taken apart."""
    match node.op:
        case "exp":
            return node.args[0]
        case "*":
            return call("+", log_of(node.args[0]), log_of(node.args[1]))
        case "/":
            return call("-", log_of(node.args[0]), log_of(node.args[1]))
        case "**":
            return call("*", node.args[1], log_of(node.args[0]))
        case "sqrt":
            return call("/", log_of(node.args[0]), Node("number", value=2.0))
    return call("log", node)


def log_starts(fitter: Fitter, n_starts: int, rng: np.random.Generator) -> Array | None:
    """Return the solution in log space as a start (n_groups, n_nonlinear), for forms that are one product.

    `exp(a + b*log(N))` is nonlinear in every constant, but its logarithm is linear: solved there, it starts at the
    optimum up to the change of weights.
    """
    if fitter.tape.linear or fitter.log_output or not (fitter.y > 0).all():
        return None
    tree = log_of(fitter.expression.tree)
    if tree.op == "log":
        return None
    table = fitter.table
    logs = Table(
        variables=table.variables,
        targets=table.targets[:1],
        X=table.X[fitter.order],
        Y=np.log(fitter.y)[:, None],
        groups=table.groups,
        group_index=fitter.group_of,
        notes=(),
    )
    other = Fitter(
        Expression(tree, fitter.expression.variables), logs, shared=fitter.shared, positive=fitter.positive,
        bounds=fitter.bounds,
    )  # fmt: skip
    solution = other.solve(other.starts(n_starts, rng), max_iterations=30, tolerance=1e-6, refit_bounds=False)
    if not solution.ok:
        return None
    column = {c: j for j, c in enumerate(other.names)}
    if any(c not in column for c in fitter.tape.constants):
        return None
    return solution.values[:, [column[c] for c in fitter.tape.constants]]


def _validate(expression: Expression, table: Table, loss: str, names: Collection[str], target: int) -> None:
    if loss not in LOSSES:
        raise UsageError(suggest(loss, LOSSES, kind="loss"))
    known = set(expression.constants)
    for c in names:
        if c not in known:
            raise UsageError(suggest(c, expression.constants, kind=f"constant of {expression.text}"))
    n_constants = len(expression.constants)
    counts = np.bincount(table.group_index, minlength=len(table.groups))
    for g, count in enumerate(counts):
        if count < n_constants:
            where = "" if len(table.groups) == 1 else f" in group {table.groups[g]!r}"
            message = f"{n_constants} constants need at least {n_constants} rows{where}, got {count}"
            raise UsageError(f"{message}; add runs, use a shorter formula or share constants across groups")
    if loss.startswith("log") and (table.Y[:, target] <= 0).any():
        row = int(np.argmax(table.Y[:, target] <= 0))
        got = f"{table.Y[row, target]:g} in row {row + 1}"
        raise UsageError(f"loss {loss!r} needs a positive target, got {got}; use squared or huber")


def fit(
    expression: Expression,
    table: Table,
    *,
    target: int = 0,
    loss: Loss = "squared",
    delta: float | None = None,
    starts: int = 32,
    seed: int = 0,
    shared: Sequence[str] = (),
    positive: Collection[str] = (),
    bounds: Mapping[str, tuple[float, float]] | None = None,
    inherit: Mapping[str, Mapping[str, float]] | None = None,
) -> FitResult:
    r"""Fit the constants of `expression` to one target of `table`, each group separately.

    Args:
        table: `X` (n_rows, n_variables) and `Y` (n_rows, n_targets), in the card's units.
        target: Column of `Y`.
        loss: "squared" (default) minimises $\sum (y-\hat y)^2$; "log" the same of $\log y - \log\hat y$; "huber" and
            "log_huber" replace the square by Huber's function.
        delta: Where Huber's function turns linear: 1e-3 for "log_huber" (Hoffmann et al. 2022, section 3.3),
            1.345 robust standard deviations of the residuals for "huber".
        starts: Initial points per group.
        seed: Seed of the initial points; the same seed gives the same constants.
        shared: Constants that all groups have in common.
        positive: Constants that must be positive.
        bounds: Constant to (lower, upper).
        inherit: Group to constant to value: one more start, e.g. from an earlier fit.

    Returns:
        The best fit found. Numerical trouble is returned, not raised: read `status`.

    Raises:
        UsageError: Unknown loss or constant, fewer rows than constants in a group, or a non-positive target with a
            logarithmic loss.
    """
    _validate(expression, table, loss, {*shared, *positive, *(bounds or {})} - set(expression.variables), target)
    rng = text_seed(seed, expression.text)
    y = table.Y[:, target]
    weights = 1.0 / y**2 if loss.startswith("log") else None
    fitter = Fitter(expression, table, target, shared=shared, positive=positive, bounds=bounds, weights=weights)
    points = fitter.starts(starts, rng)
    inherited = log_starts(fitter, min(starts, 8), rng)
    solution = fitter.solve(points, inherited=inherited, max_iterations=100)
    if inherit is not None:
        solution = _better(solution, _from_inherited(fitter, points[:1], inherit), bool(fitter.shared))
    if not solution.ok:
        return FitResult(_why_not(fitter, points), {}, n_starts=len(points), n_rows=table.n_rows)
    n_fits = solution.n_fits
    polished = fitter.solve(
        points[:1], inherited=fitter.nonlinear(solution), max_iterations=300, tolerance=1e-14
    )
    if polished.ok and polished.sums.sum() <= solution.sums.sum():
        solution = Solution(polished.values, polished.sums, solution.at_best, n_fits)
    objective = float(solution.sums.sum())
    if loss != "squared":
        fitter, solution, objective = _robust(fitter, solution, table, target, loss, delta)
        if not solution.ok:
            return FitResult("the robust fit left the domain of the formula", {}, n_rows=table.n_rows)
    prediction = fitter.predict(solution.values)
    residual = y - prediction
    if not np.isfinite(prediction).all():
        return FitResult("the fitted formula is not finite on every row", {}, n_rows=table.n_rows)
    constants = {
        group: {c: float(solution.values[g, fitter.names.index(c)]) for c in expression.constants}
        for g, group in enumerate(table.groups)
    }
    variance = float(np.var(y))
    return FitResult(
        status="ok",
        constants=constants,
        loss=objective,
        nmse=float(np.mean(residual**2)) / variance if variance > 0 else math.nan,
        n_starts=len(points) + (inherited is not None),
        n_at_best=int(solution.at_best.min()) if len(solution.at_best) else 0,
        at_bounds=_at_bounds(constants, positive, bounds or {}),
        condition=_condition(expression, table, constants),
        residual_sd=float(np.sqrt(np.mean(residual**2))),
        prediction=prediction,
        n_rows=table.n_rows,
        n_fits=n_fits,
    )


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
    fitter: Fitter, solution: Solution, table: Table, target: int, loss: Loss, delta: float | None
) -> tuple[Fitter, Solution, float]:
    """Polish in the full space of constants: squared log residuals, or Huber's function by reweighting."""
    full = Fitter(
        fitter.expression, table, target, shared=fitter.shared, positive=fitter.positive, bounds=fitter.bounds,
        log_output=loss.startswith("log"), project=False,
    )  # fmt: skip
    order = [fitter.names.index(c) for c in full.names]
    values = solution.values[:, order]
    dummy = values[:1]
    huber = loss.endswith("huber")
    weights: Array | None = None
    best, best_objective, at_best = values, math.inf, solution.at_best
    sigma_delta = delta
    for _ in range(100 if huber else 1):
        found = full.solve(dummy, inherited=values, max_iterations=200, tolerance=1e-13, weights=weights)
        if not found.ok:
            break
        prediction = full.predict(found.values)[full.order]
        with np.errstate(all="ignore"):
            residual = full.y - (np.log(prediction) if full.log_output else prediction)
        if huber and sigma_delta is None:
            scale = 1.4826 * float(np.median(np.abs(residual)))
            sigma_delta = HUBER_DELTA_LOG if full.log_output else HUBER_DELTA_SIGMA * max(scale, 1e-300)
        objective = _huber_sum(residual, sigma_delta) if huber and sigma_delta else float(np.sum(residual**2))
        if not objective < best_objective * (1 - 1e-12):
            break
        best, best_objective, values = found.values, objective, found.values
        if huber and sigma_delta:
            weights = np.sqrt(np.minimum(1.0, sigma_delta / np.maximum(np.abs(residual), 1e-300)))
    sums = np.where(np.isfinite(best).all(axis=1), best_objective / max(len(best), 1), math.inf)
    return full, Solution(best, sums, at_best, solution.n_fits), best_objective


def _huber_sum(residual: Array, delta: float) -> float:
    a = np.abs(residual)
    return float(np.sum(np.where(a <= delta, 0.5 * a * a, delta * (a - 0.5 * delta))))


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


def _condition(expression: Expression, table: Table, constants: Mapping[str, Mapping[str, float]]) -> float:
    """Return the worst group's condition number of the Jacobian times the constants' absolute values."""
    from sld.core import machine

    if not expression.constants:
        return 1.0
    tape = compile_tape(expression, project=False)
    worst = 1.0
    for g, group in enumerate(table.groups):
        rows = table.group_index == g
        columns = tape.column_values({s: table.X[rows, j] for j, s in enumerate(table.symbols)}, int(rows.sum()))
        theta = np.array([[constants[group][c] for c in tape.constants]])
        _, jacobian = machine.value_and_jacobian(tape, columns, theta, np.zeros((1, 0)))
        scaled = jacobian[0] * np.where(theta[0] == 0.0, 1.0, np.abs(theta[0]))[:, None]
        if not np.isfinite(scaled).all():
            return math.inf
        singular = np.linalg.svd(scaled, compute_uv=False)
        worst = max(worst, float(singular[0] / singular[-1]) if singular[-1] > 0 else math.inf)
    return worst
