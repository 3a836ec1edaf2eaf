"""One expression compiled for one table, and fitted to any subset of its rows.

Linear constants are projected out (variable projection), so only exponents, shifts and scales are searched; positive
ones among those live in log space. The starting points come from the formula and the data (`starts.py`).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from sld.core.arrays import Mask, Rows
from sld.data.table import Table
from sld.fit.kernel import NO_MATRIX, NO_STACK, NO_VECTOR, Array, evaluate_tape
from sld.fit.prepared import median, prepared
from sld.fit.separation import linear_constants
from sld.fit.starts import draw_starts
from sld.fit.tape import Tape, compile_tape
from sld.formula.expression import Expression, Node, call, name, substitute, to_text

# How closely a fit is followed: steps end when they lower the sum of squares by less than this fraction. An error that
# is compared with other errors needs three digits, constants that are shown need five to six, and a fit that others
# are measured against is followed until rounding stops it.
SCREENING, FITTING, POLISHING = 1e-6, 1e-9, 1e-14


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


@dataclass(frozen=True)
class Prior:
    """A Gaussian prior on constants of each group: with d the difference to the mean, d' weight d is added to the sum.

    Attributes:
        constants: Names; linear ones among them are then searched like the others.
        mean: One value each.
        weight: One row each, symmetric: variance of the noise times the inverse covariance between groups.
    """

    constants: tuple[str, ...]
    mean: tuple[float, ...]
    weight: tuple[tuple[float, ...], ...]

    def to_json(self) -> dict[str, list[object]]:
        """Return what `from_json` takes."""
        return {"constants": [*self.constants], "mean": [*self.mean], "weight": [list(row) for row in self.weight]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Prior:
        """Read back a prior; numbers survive bit for bit.

        Raises:
            KeyError, TypeError, ValueError: It is not one.
        """
        weight = tuple(tuple(float(w) for w in row) for row in data["weight"])
        return Prior(tuple(map(str, data["constants"])), tuple(float(m) for m in data["mean"]), weight)


class FitterOptions(TypedDict, total=False):
    """Keywords of `Fitter` that few callers give; `Fitter` describes them."""

    log_output: bool
    project: bool
    prior: Prior | None


@dataclass(frozen=True)
class _Options:
    log_output: bool = False
    project: bool = True
    prior: Prior | None = None


class Fitter:
    """One expression compiled for one table and target.

    >>> from sld.data.table import table_from
    >>> N = [1e6, 4e6, 16e6, 64e6]
    >>> table = table_from({"N": N, "loss": [1.7 + 40 * n**-0.25 for n in N]}, target="loss", scale="N")
    >>> fitter = Fitter(table.parse("E + A*N**-a"), table)
    >>> solution = fitter.solve(np.array([[0.1]]))  # one start: a is searched, E and A are solved for
    >>> dict(zip(fitter.names, solution.values[0].round(4).tolist()))
    {'a': 0.25, 'E': 1.7, 'A': 40.0}

    Attributes:
        tape: The compiled expression.
        names: Its constants in the order of a solution's columns: nonlinear ones, then linear ones.
        columns: Values of the tape's columns (n_columns, n_rows), rows ordered by group.

    Args:
        expression: The formula.
        table: Its rows.
        target: Column of the table's targets.
        shared: Constants that all groups have in common.
        positive: Constants that must be positive.
        bounds: Constant to (lower, upper) in natural units.
        weights: Relative weight of each row (n_rows,), or None.
        log_output: Fit log(expression) to log(y) with every constant nonlinear.
        project: Take linear constants out (False for robust polishing in the full space).
        prior: Pulls the constants of every group towards a mean; its cost is part of a solution's sums.
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
        **options: Unpack[FitterOptions],
    ) -> None:
        """Compile `expression` for `table`; the arguments are described with the class."""
        chosen = _Options(**options)
        log_output = chosen.log_output
        self.expression = expression
        self.table = table
        self.n_groups = len(table.groups)
        self.n_rows = table.n_rows
        self.shared = tuple(c for c in expression.constants if c in shared) if self.n_groups > 1 else ()
        self.positive = frozenset(positive)
        self.bounds = dict(bounds or {})
        self.log_output = log_output
        self.project = chosen.project and not log_output
        self.prepared = prepared(table)
        self.order, self.group_of, self.offsets = self.prepared.order, self.prepared.group_of, self.prepared.offsets
        self.y, self.scale = self.prepared.target(target, log_output)
        self.prior = chosen.prior
        self.weights = None if weights is None else np.sqrt(weights[self.order])
        self._held: tuple[str, ...] = ()  # linear constants kept in the search because of their bounds
        self._twins: dict[tuple[str, ...], Fitter] = {}
        self._copied: tuple[Fitter, int, Rows | Mask] | None = None  # what this fitter has copies of
        self._compile(())

    def _compile(self, nonlinear: Collection[str]) -> None:
        pulled = () if self.prior is None else self.prior.constants
        nonlinear = (*nonlinear, *pulled)
        self.tape: Tape = compile_tape(
            self.expression,
            shared=self.shared,
            nonlinear=nonlinear,
            # a linear constant that has to be kept from crossing zero is bounded, not put in log space: its best
            # value may be zero itself
            positive=self._log_space() - frozenset(nonlinear) - frozenset(pulled),
            project=self.project,
            log_output=self.log_output,
        )
        self.names = self.tape.constants + self.tape.linear
        self.n_shared = len(self.shared)
        self.n_local = len(self.tape.constants) - self.n_shared
        self.columns = self.prepared.columns(self.tape.columns)
        self.lower, self.upper = _unbounded(len(self.tape.constants))
        if self.positive or self.bounds:
            self._set_bounds()
        self._set_prior()

    def _set_bounds(self) -> None:
        self.lower, self.upper = self.lower.copy(), self.upper.copy()
        for j, c in enumerate(self.tape.constants):
            low, high = self._limits(c)
            if c in self.tape.positive:
                low, high = math.log(max(low, 1e-200)), math.log(high) if high < math.inf else 230.0
            self.lower[j], self.upper[j] = low, high

    def _set_prior(self) -> None:
        self._mean, self._weight = NO_VECTOR, NO_MATRIX
        if self.prior is None:
            return
        own = self.tape.constants[self.n_shared :]
        at = [own.index(c) for c in self.prior.constants]
        self._mean, self._weight = np.zeros(len(own)), np.zeros((len(own), len(own)))
        self._mean[at] = self.prior.mean
        self._weight[np.ix_(at, at)] = self.prior.weight

    def with_prior(self, prior: Prior) -> Fitter:
        """Return this fitter with another prior on the same constants; nothing is compiled again."""
        twin = Fitter.__new__(Fitter)
        twin.__dict__.update(self.__dict__)
        twin.prior, twin._twins = prior, {}
        twin._set_prior()
        return twin

    def with_targets(self, y: Array) -> Fitter:
        """Return this fitter for other measured values (n_rows,) of the same rows; nothing is compiled again."""
        twin = Fitter.__new__(Fitter)
        twin.__dict__.update(self.__dict__)
        with np.errstate(all="ignore"):
            twin.y = np.ascontiguousarray(np.log(y) if self.log_output else y, dtype=np.float64)[self.order]
        twin._twins = {}
        return twin

    def copies(self, n: int, rows: Rows | Mask) -> Fitter:
        """Return this fitter for `n` copies of some rows, whose fits are then one call; nothing is compiled again.

        Group g of copy k is group k * n_groups + g there, with constants of its own; rows are in the order of groups,
        copy by copy. Not for constants that groups share, nor where a group has none of the rows.
        """
        chosen = np.zeros(self.n_rows, dtype=bool)
        chosen[rows] = True
        kept = np.flatnonzero(chosen[self.order])
        ends, m = np.searchsorted(kept, self.offsets), len(kept)
        twin = Fitter.__new__(Fitter)
        twin.__dict__.update(self.__dict__)
        twin.n_groups, twin.n_rows, twin.order = n * self.n_groups, n * m, np.arange(n * m)
        twin.columns, twin.y = np.tile(self.columns.take(kept, axis=1), (1, n)), np.tile(self.y[kept], n)
        twin.offsets = np.append((np.arange(n)[:, None] * m + ends[:-1]).ravel(), n * m)
        twin.group_of = np.repeat(np.arange(n * self.n_groups), np.diff(twin.offsets))
        twin.weights = None if self.weights is None else np.tile(self.weights[kept], n)
        twin._twins, twin._copied = {}, (self, n, rows)
        return twin

    def _limits(self, constant: str) -> tuple[float, float]:
        low, high = self.bounds.get(constant, (-math.inf, math.inf))
        return max(low, 0.0) if constant in self.positive else low, high

    def _log_space(self) -> frozenset[str]:
        """Return the positive constants that are searched as logarithms: those that scale something.

        An exponent or a shift that comes near zero there never comes back, since its derivative vanishes; those are
        bounded instead.
        """
        if not self.positive:
            return self.positive
        linear = set() if self.project else set(linear_constants(self.expression)[1])
        return (self.positive & frozenset(_factors(self.expression.tree))) - linear

    def starts(self, n_starts: int, rng: np.random.Generator) -> Array:
        """Draw starting points in natural units: (n_starts, n_nonlinear)."""
        if not self.tape.constants:
            return np.zeros((1, 0))
        rest, bases = (self.tape.rest_tree, self.tape.bases) if self.project else (self.expression.tree, ())
        sample = self.prepared.sample
        return draw_starts(rest, bases, self.tape.constants, self.positive, sample, n_starts, rng, scale=self.scale)

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
        rows: Rows | Mask | None = None,
        *,
        inherited: Array | None = None,
        max_iterations: int = 60,
        tolerance: float = FITTING,
        weights: Array | None = None,
        refit_bounds: bool = True,
    ) -> Solution:
        """Fit the given rows (all by default) from the given starts.

        Args:
            starts: (n_starts, n_nonlinear), natural units, tried in every group.
            rows: Row numbers of the table, or a mask.
            inherited: (n_groups, n_nonlinear) one more start, group by group.
            max_iterations: Levenberg-Marquardt steps per start.
            tolerance: SCREENING, FITTING or POLISHING.
            weights: Square-root weights in the fitter's row order, instead of those given at construction.
            refit_bounds: Fit again with linear constants in the search where the free optimum breaks a bound.
        """
        tape = self.tape
        w = self.weights if weights is None else weights
        columns, y, offsets = self.columns, self.y, self.offsets
        present: Rows | None = None
        if rows is not None:
            kept, present, offsets = self.prepared.subset(rows)
            columns, y, w = columns.take(kept, axis=1), y[kept], None if w is None else w[kept]
        n_present, n_theta = len(offsets) - 1, len(tape.constants)
        begin, more = self._theta(starts), NO_STACK
        if inherited is not None and n_theta:
            more = self._theta(inherited[None] if present is None else inherited[None, present])
        thetas = np.empty((1, n_present, n_theta))
        coefficients = np.empty((1, n_present, len(tape.linear)))
        sums, at_best = np.empty(n_present), np.empty(n_present, dtype=np.int64)
        _solve()(
            self.n_shared, self.n_local, offsets, tape.literals, tape.scalar_ops, tape.row_ops, tape.outputs,
            tape.rest, columns, y, y if w is None else w, w is not None, begin, more, self.lower, self.upper,
            max_iterations, tolerance, thetas, coefficients, sums, at_best, NO_MATRIX, NO_STACK,
            self._mean, self._weight,
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
            return self._with_bounded_linear(solution, starts, rows, max_iterations, tolerance, weights)
        return solution

    def _with_bounded_linear(
        self,
        solution: Solution,
        starts: Array,
        rows: Rows | Mask | None,
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
            if bool(np.any((found < low) | (found > high))):
                broken.append(c)
        if not broken:
            return solution
        twin = self.holding(broken)
        begin, inherit = self.carried(twin, starts, solution)
        again = twin.solve(
            begin, rows, inherited=inherit, max_iterations=max_iterations, tolerance=tolerance, weights=weights
        )
        after = {c: j for j, c in enumerate(twin.names)}
        values = again.values[:, [after[c] for c in self.names]]
        return Solution(values, again.sums, again.at_best, solution.n_fits + again.n_fits)

    def holding(self, constants: Collection[str]) -> Fitter:
        """Return this fitter with some linear constants in the search, where their bounds hold."""
        twin = self._twins.get(tuple(constants))
        if twin is None and self._copied is not None:
            origin, n, rows = self._copied
            twin = self._twins[tuple(constants)] = origin.holding(constants).copies(n, rows)
        if twin is None:
            twin = Fitter.__new__(Fitter)
            twin.__dict__.update(self.__dict__)
            # what is bounded already stays so: two constants may break their bounds in turn
            twin._held = (*self._held, *constants)
            twin._twins = {}
            twin._compile(twin._held)
            self._twins[tuple(constants)] = twin
        return twin

    def carried(self, twin: Fitter, starts: Array, solution: Solution) -> tuple[Array, Array]:
        """Return starting points, and a solution as one more, for a fitter that `holding` gave."""
        before = {c: j for j, c in enumerate(self.names)}
        column = {c: j for j, c in enumerate(self.tape.constants)}
        size = median(np.abs(self.y)) or 1.0
        begin = np.empty((len(starts), len(twin.tape.constants)))
        for j, c in enumerate(twin.tape.constants):
            begin[:, j] = starts[:, column[c]] if c in column else 0.3 * size
        inherit = solution.values[:, [before[c] for c in twin.tape.constants]]
        return begin, np.where(np.isfinite(inherit), inherit, 1.0)

    def nonlinear(self, solution: Solution) -> Array:
        """Return the nonlinear part of a solution, to be inherited as a start: (n_groups, n_nonlinear)."""
        return solution.values[:, : len(self.tape.constants)]

    def predict(self, values: Array) -> Array:
        """Return predictions (n_rows,) in the table's row order; NaN for groups without constants.

        For many sets of constants (n_sets, n_groups, n_names) they are (n_sets, n_rows).
        """
        p = len(self.tape.constants)
        stack = values if values.ndim == 3 else values[None]
        sound = np.asarray(np.isfinite(stack).all(axis=2))
        everywhere = bool(sound.all())
        if not everywhere:
            stack = np.where(sound[:, :, None], stack, 1.0)
        theta = self._theta(stack[:, :, :p])
        found = evaluate_tape(self.tape, self.columns, theta, stack[:, :, p:], self.offsets)
        out = np.empty_like(found)
        out[:, self.order] = found if everywhere else np.where(sound[:, self.group_of], found, np.nan)
        out = out if values.ndim == 3 else out[0]
        return np.exp(out) if self.log_output else out


@lru_cache
def _solve() -> Callable[..., None]:
    """Return the machine's entry; LLVM is slow to import, and an import statement in each fit is not free either."""
    from sld.fit import machine

    return machine.solve


@lru_cache
def _unbounded(n: int) -> tuple[Array, Array]:
    return np.full(n, -math.inf), np.full(n, math.inf)


def _factors(tree: Node) -> Iterator[str]:
    """Yield the names that multiply or divide something, outside exponents."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if node.op in ("*", "/"):
            yield from (arg.name for arg in node.args if arg.op == "name")
        stack.extend(node.args[:1] if node.op == "**" else node.args)


def text_seed(seed: int, text: str) -> np.random.Generator:
    """Return a generator that depends on the seed and a text, not on the order in which formulas are tried."""
    return np.random.default_rng([seed, zlib.crc32(text.encode())])


def form_seed(seed: int, expression: Expression) -> np.random.Generator:
    """Return a generator that depends on the seed and on the form, not on how columns and constants are called."""
    names = {v: f"x{k}" for k, v in enumerate(expression.variables)}
    names |= {c: f"c{k}" for k, c in enumerate(expression.constants)}
    tree = substitute(expression.tree, {old: name(new) for old, new in names.items()})
    return text_seed(seed, to_text(tree))


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
    solution = other.solve(other.starts(n_starts, rng), max_iterations=30, tolerance=SCREENING, refit_bounds=False)
    if not solution.ok:
        return None
    column = {c: j for j, c in enumerate(other.names)}
    if any(c not in column for c in fitter.tape.constants):
        return None
    return solution.values[:, [column[c] for c in fitter.tape.constants]]
