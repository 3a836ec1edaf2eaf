r"""What to train for a budget: the run of least loss that a cost allows, and everything around it.

A run is a point $x$ of the law's variables, and the question is

$$ \min_x L(x) \quad \text{with} \quad C(x) = \text{budget} , $$

with the variables that somebody gave held, those that have a limit below it, and hyperparameters at their best. The
least cost of a loss, and the budget at which a given size is the best one, are found on the path of these optima, since
along it the loss falls as the budget grows. Chinchilla's closed form (Hoffmann et al. 2022, equation 4) is what the
numerical optimum gives for its law; any other law and cost is treated alike.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sld.analysis.decisions.cost import MODELS, Cost, cost_of, find
from sld.analysis.decisions.minima import Curves, minima
from sld.analysis.decisions.minimise import Minimum, Problem, crossing, minimum, nearby
from sld.analysis.decisions.surface import Surface, axis_of, check_shares, seen
from sld.core.arrays import Array
from sld.core.errors import SldError, UsageError, suggest
from sld.core.numbers import exact, short
from sld.data.card import Variable
from sld.formula.evaluation import evaluate
from sld.formula.expression import Expression, parse

FLAT = 1e-3  # of the loss: sizes that cost no more are as good as the best
_MOST_CHOICES = 400  # combinations of listed values that are tried
_DECADES = 30  # that a budget is looked for, up and down


class NoOptimum(SldError):
    """The law has no best run under this cost; the message says where it keeps getting better."""


@dataclass(frozen=True)
class Question:
    """What may be chosen, and what may not.

    Attributes:
        held: Symbol to the value that it has.
        ratios: Symbol to another one and the factor that it is of it.
        most: Symbol to the largest value that it may have.
        most_of: Text to a cost that may not be larger than a value.
        choices: Symbol to the values among which it may be chosen.
    """

    held: Mapping[str, float] = field(default_factory=dict)
    ratios: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)
    most_of: Mapping[str, tuple[Cost, float]] = field(default_factory=dict)
    choices: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def free(self) -> Question:
        """The question without what somebody asked for, except what has to be known (held covariates)."""
        return Question()


@dataclass(frozen=True)
class Found:
    """The best run for a budget.

    Attributes:
        problem: What was free.
        best: The run.
        limited: What a limit holds: symbols, or texts of limits.
        chosen: What was chosen among listed values.
        tried: For each combination of listed values what it gives.
        refused: Those that give no run, and why.
    """

    problem: Problem
    best: Minimum
    budget: float
    limited: tuple[str, ...] = ()
    chosen: Mapping[str, float] = field(default_factory=dict)
    tried: tuple[tuple[Mapping[str, float], Problem, Minimum], ...] = ()
    refused: tuple[tuple[Mapping[str, float], str], ...] = ()


class Allocator:
    """Best runs of one surface under one cost, for any budget."""

    def __init__(self, surface: Surface, cost: Cost, question: Question) -> None:
        """Check that the question can be asked of the law.

        Raises:
            UsageError: Names that are no variables, nothing that the budget can be spent on, or a variable of which
                nobody says what it is and that costs nothing.
        """
        self.surface, self.cost, self.question = surface, cost, question
        self.law = surface.law
        used = {s for c in surface.weights for s in self.law.expressions[c].used_variables} | cost.uses
        self.variables = [v for v in self.law.variables if v.symbol in used]
        self.axes = {v.symbol: axis_of(self.law, v, surface.group) for v in self.variables}
        self._check_names()
        self._check_roles()

    def _check_names(self) -> None:
        q = self.question
        symbols = [v.symbol for v in self.variables]
        named = [*q.held, *q.most, *q.choices, *q.ratios, *(other for other, _ in q.ratios.values())]
        for name in named:
            if name not in symbols:
                raise UsageError(suggest(name, symbols, kind="variable of the law and its cost"))
        twice = [s for s in symbols if (s in q.held) + (s in q.choices) + (s in q.ratios) > 1]
        if twice:
            raise UsageError(f"{twice[0]} is given twice: as a value, as a list of choices or by a ratio, take one")
        if circle := [s for s, (other, _) in q.ratios.items() if other == s or other in q.ratios]:
            raise UsageError(
                f"the ratio {circle[0]}/{q.ratios[circle[0]][0]} hangs on a variable that has a ratio itself"
            )
        for text, (cost, value) in q.most_of.items():
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"the limit on {text} must be a number above 0, got {exact(value)} {cost.unit}")
        for name, value in [*q.held.items(), *q.most.items(), *((n, v) for n, c in q.choices.items() for v in c)]:
            axis = self.axes[name]
            if not math.isfinite(value) or (axis.log and value <= 0):
                raise UsageError(f"{name} must be a number above 0, got {exact(value)}")

    def _check_roles(self) -> None:
        q = self.question
        settled = {*q.held, *q.ratios, *q.choices}
        shares = [v.symbol for v in self.variables if v.role == "proportion"]
        check_shares({s: q.held[s] for s in shares if s in q.held}, len(shares), "what is given")
        open_ = [v for v in self.variables if v.symbol not in settled]
        for role, way_out in (("covariate", "--given {}=VALUE"), ("proportion", "sld optimum, or --given {}=SHARE")):
            for v in open_:
                if v.role == role:
                    raise UsageError(f"{v.symbol} is no choice of a budget ({role}): say {way_out.format(v.symbol)}")
        for v in open_:
            if v.role == "scale" and v.symbol not in self.cost.uses:
                raise UsageError(
                    f"{v.symbol} costs nothing under {self.cost.text}, so no budget ends it: say --given "
                    f"{v.symbol}=VALUE, or a --cost with it"
                )
        self.payers = [v.symbol for v in open_ if v.symbol in self.cost.uses]
        if not self.payers and not q.choices and not q.ratios:
            known = ", ".join(f"{s}={short(x, 4)}" for s, x in q.held.items())
            raise UsageError(f"with {known} given, nothing is left that the budget could buy; leave one of them free")

    # --- one budget -------------------------------------------------------------------------------------------------

    def problem(self, held: Mapping[str, float]) -> Problem:
        """Return what is free when some variables have values."""
        q = self.question
        fixed = {**q.held, **held}
        open_ = [v for v in self.variables if v.symbol not in fixed and v.symbol not in q.ratios]
        payers = [v for v in open_ if v.symbol in self.cost.uses or any(o == v.symbol for o, _ in q.ratios.values())]
        closing = self._closing(payers)
        axes = tuple(self.axes[v.symbol] for v in open_ if closing is None or v.symbol != closing.symbol)
        return Problem(
            self.surface.value,
            axes,
            fixed,
            q.ratios,
            self.cost if closing is not None else None,
            None if closing is None else self.axes[closing.symbol],
        )

    def _closing(self, payers: Sequence[Variable]) -> Variable | None:
        """Return the variable that takes what the others leave: tokens, or the last that the cost grows with."""
        if not payers:
            return None
        data = find(payers, "D")
        return data if data is not None and data.role == "scale" else payers[-1]

    def solve(self, budget: float, near: Array | None = None) -> Found:
        """Return the best run for a budget.

        Raises:
            NoOptimum: There is none.
        """
        if not (math.isfinite(budget) and budget > 0):
            raise UsageError(f"a budget must be a number above 0, got {exact(budget)}")
        choices = self.question.choices
        combinations = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
        if len(combinations) > _MOST_CHOICES:
            raise UsageError(f"{len(combinations)} combinations of choices are too many; at most {_MOST_CHOICES}")
        tried: list[tuple[dict[str, float], Found]] = []
        refused: list[tuple[dict[str, float], NoOptimum]] = []
        for chosen in combinations:
            try:
                tried.append((chosen, self._limited(budget, chosen, near)))
            except NoOptimum as error:
                refused.append((chosen, error))
        if not tried:
            raise refused[0][1]
        chosen, best = min(tried, key=lambda t: t[1].best.value)
        if not choices:
            return best
        return replace(
            best,
            chosen=chosen,
            tried=tuple((c, f.problem, f.best) for c, f in tried),
            refused=tuple((c, str(error)) for c, error in refused),
        )

    def _limited(self, budget: float, held: Mapping[str, float], near: Array | None) -> Found:
        """Return the best run with limits: one that the free optimum breaks becomes a value, one after the other."""
        q = self.question
        fixed: dict[str, float] = dict(held)
        limited: list[str] = []
        for _ in range(1 + len(q.most) + len(q.most_of)):
            problem = self.problem(fixed)
            if problem.closing is None:
                self._affordable(problem, budget)
            fits = near is not None and len(near) == len(problem.axes)
            best = minimum(problem, budget, near if fits else None)
            broken = self._broken(best, fixed)
            if not broken:
                break
            symbol, value, text = broken
            fixed[symbol] = value
            limited.append(text)
        if not best.certified:
            raise NoOptimum(self._refusal(best, budget))
        return Found(problem, best, budget, tuple(limited))

    def _affordable(self, problem: Problem, budget: float) -> None:
        """Refuse a run of which everything is given and that costs more than the budget."""
        columns = problem.columns(np.zeros((1, 0))) if not problem.axes else None
        if columns is None:
            return
        price = float(self.cost(columns)[0])
        if price > budget * (1 + 1e-9):
            known = ", ".join(f"{s} = {short(x[0], 4)}" for s, x in columns.items())
            raise NoOptimum(
                f"{known} costs {short(price, 4)} {self.cost.unit}, more than the budget of {short(budget, 4)}"
            )

    def _broken(self, best: Minimum, fixed: Mapping[str, float]) -> tuple[str, float, str] | None:
        """Return what a limit asks for that the best run breaks: symbol, its value and the limit's text."""
        if not best.point:
            return None
        for symbol, value in self.question.most.items():
            if symbol not in fixed and best.point[symbol] > value * (1 + 1e-12):
                return symbol, value, symbol
        for text, (cost, value) in self.question.most_of.items():
            free = [s for s in cost.uses if s not in fixed and s not in self.question.held]
            columns = {s: np.array([x]) for s, x in best.point.items()}
            if float(cost(columns)[0]) <= value * (1 + 1e-9):
                continue
            if len(free) != 1:
                raise UsageError(
                    f"the limit on {text} holds {len(free)} variables that are free ({', '.join(free)}); a limit may "
                    "hold one, so give the others"
                )
            return free[0], self._largest(cost, value, free[0], best.point), text
        return None

    def _largest(self, cost: Cost, value: float, symbol: str, point: Mapping[str, float]) -> float:
        axis = self.axes[symbol]

        def excess(z: Array) -> Array:
            columns = {s: np.full(len(z), x) for s, x in point.items()} | {symbol: axis.quantity(z)}
            with np.errstate(all="ignore"):
                return np.asarray(np.log(cost(columns)) - math.log(value))

        found = float(axis.quantity(crossing(excess, np.array([axis.ends[0]]), np.array([axis.ends[1]])))[0])
        if math.isnan(found):
            raise NoOptimum(f"no {symbol} keeps {cost.text} at or below {short(value, 4)} {cost.unit}")
        return found

    def _refusal(self, best: Minimum, budget: float) -> str:
        of = f"for a budget of {short(budget, 4)}"
        if best.status == "none":
            least = self.least_cost()
            if math.isfinite(least) and budget < least:
                smallest = f"the smallest that was looked at costs {short(least, 4)}"
                return f"a budget of {short(budget, 4)} {self.cost.unit} buys no run: {smallest}"
            return f"the law has no value anywhere {of}"
        word = "falls" if self.surface.sign > 0 else "rises"
        if not best.falling:
            return f"no minimum that can be certified was found {of}: {self.surface.name} is flat or has a jump there"
        ends = " and ".join(
            f"{s} goes {'down' if lower else 'up'} (to {short(best.point[s])})" for s, lower in best.falling.items()
        )
        return (
            f"no interior optimum {of}: {self.surface.name} still {word} where {ends}, so the law names no best run; "
            "hold a variable with --given, or limit it with --max"
        )

    def least_cost(self) -> float:
        """Return what the smallest run that is looked at costs."""
        point = {s: np.array([axis.low]) for s, axis in self.axes.items()}
        point |= {s: np.array([x]) for s, x in self.question.held.items()}
        for symbol, (other, factor) in self.question.ratios.items():
            point[symbol] = factor * point[other]
        return float(self.cost(point)[0])

    # --- along budgets ----------------------------------------------------------------------------------------------

    def start(self) -> float:
        """Return a budget in the middle of what the law is about, to begin a search with."""
        ranges = seen(self.law, self.surface.group)
        domain = self.law.provenance.get("domain")
        point = {}
        for symbol, axis in self.axes.items():
            ends = ranges.get(symbol) or (domain.get(symbol) if isinstance(domain, Mapping) else None)
            known = ends is not None and (float(ends[0]) > 0 or not axis.log)
            low, high = (float(ends[0]), float(ends[1])) if known and ends else (axis.low, axis.low * 1e6)
            point[symbol] = np.array([math.sqrt(low * high) if axis.log else 0.5 * (low + high)])
        point |= {s: np.array([x]) for s, x in self.question.held.items()}
        for symbol, (other, factor) in self.question.ratios.items():
            point[symbol] = factor * point[other]
        return max(float(self.cost(point)[0]), 1e-300)

    def budget_where(self, excess: Callable[[Found], float], what: str) -> Found:
        """Return the optimum on the path of budgets at which `excess`, which grows with the budget, is zero.

        Raises:
            NoOptimum: It is so nowhere on the path.
        """
        found: dict[float, Found] = {}

        def at(log_budget: float) -> float:
            try:
                found[log_budget] = self.solve(math.exp(log_budget))
            except NoOptimum:
                return math.nan
            return excess(found[log_budget])

        low = high = math.log(self.start())
        f = at(low)
        down, step = f > 0, math.log(10.0)
        edge, end = (low, f), f
        for _ in range(_DECADES):
            new = edge[0] + (-step if down else step)
            f = at(new)
            if math.isnan(f):
                break
            end = f
            if (f > 0) != down:
                low, high = (new, edge[0]) if down else (edge[0], new)
                break
            edge = (new, f)
        if not low < high:
            seen_at = found[min(found) if down else max(found)] if found else None
            raise NoOptimum(self._nowhere(what, seen_at, end))
        z = crossing(
            lambda x: np.array([at(float(v)) for v in x]), np.array([low]), np.array([high]), steps=60, small=1e-12
        )
        if math.isnan(z[0]):
            raise NoOptimum(self._nowhere(what, None, math.nan))
        return found.get(float(z[0])) or self.solve(math.exp(float(z[0])))

    def _nowhere(self, what: str, last: Found | None, _: float) -> str:
        if last is None:
            return f"{what} is reached by no budget: the law has no best run around there"
        shown = self.surface.sign * last.best.value
        run = ", ".join(f"{s} = {short(x)}" for s, x in last.best.point.items())
        return (
            f"{what} is reached by no budget that was looked at; the last, {short(last.budget)} {self.cost.unit}, has "
            f"{self.surface.name} = {short(shown, 5)} at {run}"
        )

    # --- draws ------------------------------------------------------------------------------------------------------

    def drawn(self, found: Found) -> Curves | None:
        """Return the best runs of all draws for the budget of a run; None for a law without intervals."""
        if not self.surface.n:
            return None
        if not found.tried:
            return minima(found.problem, self.surface.drawn, self.surface.own, found.budget, found.best)
        each = [minima(p, self.surface.drawn, self.surface.own, found.budget, m) for _, p, m in found.tried]
        values = np.array([np.where(np.isfinite(c.value), c.value, math.inf) for c in each])
        best = values.argmin(axis=0)
        rows = np.arange(values.shape[1])
        point = {s: np.array([c.point[s] for c in each])[best, rows] for s in each[0].point}
        inside = np.isfinite(values.min(axis=0))
        return Curves(point, np.where(inside, values.min(axis=0), math.nan), inside)

    def how_often(self, found: Found) -> list[tuple[Mapping[str, float], float, float]]:
        """Return for each combination of listed values what it gives, and the share of draws in which it is best."""
        values = np.array([m.value for _, _, m in found.tried])
        shares = np.full(len(values), math.nan)
        if self.surface.n:
            each = np.array([
                minima(p, self.surface.drawn, self.surface.own, found.budget, m).value for _, p, m in found.tried
            ])  # fmt: skip
            wins = np.where(np.isfinite(each), each, math.inf).argmin(axis=0)
            shares = np.bincount(wins, minlength=len(values)) / each.shape[1]
        given = self.surface.sign * values
        return [(c, float(v), float(s)) for (c, _, _), v, s in zip(found.tried, given, shares, strict=True)]

    # --- how flat ---------------------------------------------------------------------------------------------------

    def flat(self, found: Found) -> tuple[str, float, float] | None:
        """Return a variable and between which values of it the loss is at most `FLAT` above the best, others at theirs.

        Infinite or zero at an end that is never reached; None where nothing is free.
        """
        scale = [a for a in found.problem.axes if self._role(a.symbol) == "scale"]
        if not scale or found.limited:
            return None
        axis = scale[0]
        k = found.problem.axes.index(axis)
        rest = tuple(a for a in found.problem.axes if a is not axis)
        most = found.best.value + FLAT * abs(found.best.value)
        near = np.delete(found.best.z, k)
        low, high = (float(x[k]) for x in found.best.box or found.problem.box(found.budget))

        def excess(z: Array) -> Array:
            if not rest:
                return found.problem.values(z[:, None], found.budget) - most
            out = []
            for one in z:
                held = {**found.problem.held, axis.symbol: float(axis.quantity(np.array(one)))}
                problem = replace(found.problem, axes=rest, held=held)
                out.append(nearby(problem, found.budget, near) - most)
            return np.array(out)

        here = float(found.best.z[k])
        about: Any = {"steps": 60, "small": 1e-3 * FLAT * abs(found.best.value)}
        up = crossing(excess, np.array([here]), np.array([high]), **about)[0]
        down = -crossing(lambda z: excess(-z), np.array([-here]), np.array([-low]), **about)[0]
        ends = [float(axis.quantity(np.array(z))) for z in (down, up)]
        return axis.symbol, 0.0 if math.isnan(ends[0]) else ends[0], math.inf if math.isnan(ends[1]) else ends[1]

    def _role(self, symbol: str) -> str:
        return next(v.role for v in self.variables if v.symbol == symbol)


def limit_of(text: str, variables: Sequence[Variable], settings: Mapping[str, float]) -> Cost:
    """Return what a limit is on when it is no variable: a named cost or a formula, over the law's symbols."""
    if text in MODELS:
        return cost_of(text, variables, settings=settings)
    expression = parse(text, [v.symbol for v in variables])
    if not expression.used_variables:
        raise UsageError(suggest(text, [*(v.symbol for v in variables), *MODELS], kind="variable or cost"))
    return cost_of(text, variables, settings=settings)


def at_point(expression: Expression, point: Mapping[str, float]) -> float:
    """Return the value of a formula without constants at one point."""
    return float(evaluate(expression, {s: np.array([x]) for s, x in point.items()}, {})[0])
