r"""The form that explains the rows down to their noise, where there is one: the shortest account of the table.

Where rows hold a law and noise, many forms are equally good on the folds, and the lowest score is luck. Every row tells
them apart better than the few rows of the folds do, so the forms are compared by how many nats it takes to write the
table down with each (Rissanen 1978): the errors, the constants, and the form itself,

    -log likelihood + K (log(n)/2 + 1) + nats that name the form.

The first two are Schwarz's criterion (1978) with one nat more for each constant, for the luck of the best of many
fits. A form that somebody published is named by its place among some 250 of them, sooner the more laws of these
quantities are that form; one put together from parts by its nodes. The noise is what repeats or standard errors say,
where they show that it changes (`noise.py`); else it is the same everywhere or in proportion to the value, whichever
suits the form.

The account says nothing about rows beyond the data when no form is the truth: then it prefers the one with the most
constants. So it only counts when its form may be the truth: when it predicts the rows that a fold judges no worse than
the noise and the uncertainty of its constants allow (the predictive test of Chow 1960), and when its errors at
neighbouring rows do not go together. And when nobody bred its form: what was bred on these very rows for thousands of
formulas gives a short account of them by luck, and where it is the shortest, nothing is claimed. A form that turns
around in a scale variable where no rows show it is never claimed, and where it is shorter by far than all that do not,
the rows hold something that none of the forms says: then nothing is claimed either. Last, where published laws speak
of just these quantities, a form that nobody published has to predict the judged rows better than they do together, by
more than luck (`evidence.py`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array, Rows
from sld.core.numbers import short
from sld.data.table import Table
from sld.fit.fitter import FITTING
from sld.fit.fitting import Fitter
from sld.formula.canonical import canonical_key
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.selection import is_exact
from sld.search.choosing.evidence import WON, advantage, turn_not_shown
from sld.search.judging.context import JudgingContext
from sld.search.proposing.proposers import from_catalogue

_PUBLISHED = math.log(250.0)  # nats that name one of the published forms
_POPULAR = 0.5  # weight of how many published laws are a form; the rest counts all forms alike
_PER_NODE = 1.0  # nats for a node of a form put together from parts
_PER_CONSTANT = 1.0  # nats, for the luck of the best of many fits
_TURNS = 10.0  # nats by which a form that turns where no rows show it has to be shorter for nothing to be claimed
_LEVEL = 0.05  # of both tests and all folds together
_ROWS_PER_CONSTANT = 4  # with fewer the test passes whatever the form
_LEAST_FREEDOM = 2  # rows more than constants, below which the test has no power
_EXACT = 1e-14  # NMSE: rounding


@dataclass(frozen=True)
class Explanation:
    """A form that explains the rows down to their noise.

    Attributes:
        candidate: Its candidate.
        proportional: Whether the noise is in proportion to the value; else it is the same everywhere.
        known: Whether repeats or standard errors tell the noise of each row instead.
        p: Of the tests that its errors are noise, together; at most 1.
    """

    candidate: Candidate
    proportional: bool
    p: float
    known: bool = False

    @property
    def sentence(self) -> str:
        """What the user should know."""
        noise = "in proportion to the value" if self.proportional else "the same everywhere"
        noise = "what repeats or standard errors show" if self.known else noise
        return (
            f"the formula explains the table and its folds down to the noise, which is {noise} (p = "
            f"{short(self.p, 2)}): "
            "of the forms that are equal within it the one with the shortest description was chosen"
        )


def explanation(
    context: JudgingContext, members: Sequence[Candidate], target: int, published: Sequence[Candidate] = ()
) -> Explanation | None:
    """Return the shortest account of the rows, if nobody bred it and it passes the tests; None where a form is exact.

    Args:
        context: Of the search, with its rows and folds.
        members: Candidates of this one target.
        target: Its number.
        published: Published laws of just these quantities, if there are some (`Finalists.published`).
    """
    if not members or any(is_exact(c) for c in members):
        return None
    usable = [c for c in members if c.admissible] or list(members)
    with np.errstate(all="ignore"):
        popular = _popularity(context.table, target)
        best = _shortest(context, [_account(context, c, target, popular) for c in usable], target)
        if best is None or not best.candidate.static or not math.isfinite(best.nats):
            return None
        if context.table.n_rows < _ROWS_PER_CONSTANT * best.n_constants:
            return None
        p = 2.0 * min(_predictive_test(context, best, target), _neighbour_test(best, target))
        if p < _LEVEL:
            return None
        new = published and not _is_published(best.candidate)
        if new and advantage(context, target, [best.candidate], published) < WON:
            return None
    known = context.deviations[target] is not None
    return Explanation(best.candidate, best.proportional, min(p, 1.0), known)


def _shortest(context: JudgingContext, accounts: Sequence[_Account], target: int) -> _Account | None:
    """Return the shortest account by a form that does not turn unseen; None where one that does is far shorter."""
    ranked = sorted(accounts, key=lambda a: (a.nats, a.candidate.key))
    for account in ranked:
        if account.nats > ranked[0].nats + _TURNS:
            return None
        if not turn_not_shown(context, target, account.candidate):
            return account
    return None


@dataclass(frozen=True)
class _Account:
    """What it takes to write the table down with one form; `fitter` weighs the rows as its noise asks."""

    candidate: Candidate
    nats: float
    proportional: bool
    n_constants: int
    fitter: Fitter
    values: Array
    weights: Array


def _popularity(table: Table, target: int) -> Mapping[str, float]:
    """Return how many published laws are each form over this table's variables, by key, relative to the mean.

    A law that is read with other quantities than it speaks of counts the less the farther they are.
    """
    laws: dict[str, dict[str, float]] = defaultdict(dict)
    for proposal in from_catalogue(table):
        form = proposal.forms[target]
        held = laws[canonical_key(form.expression)]
        held[form.origin] = max(held.get(form.origin, 0.0), math.exp(-form.mismatch))
    numbers = {key: sum(held.values()) for key, held in laws.items()}
    mean = sum(numbers.values()) / max(len(numbers), 1)
    return {key: n / mean for key, n in numbers.items()}


def _account(context: JudgingContext, candidate: Candidate, target: int, popular: Mapping[str, float]) -> _Account:
    table = context.table
    (column, expression), *_ = candidate.expressions.items()
    shared = candidate.shared.get(column, ())
    y, n = table.Y[:, target], table.n_rows
    bounds = context.soundness.bounds(expression) | context.soundness.floor(expression, target)
    even = Fitter(expression, table, target, shared=shared, bounds=bounds)
    values = _fitted(even, _known(candidate, even, column))
    prediction = even.predict(values)
    nats = _even_nats(y - prediction, context.variance[target])
    fitter, proportional, weights = even, False, np.ones(n)
    size, deviations = np.abs(prediction), context.deviations[target]
    if deviations is not None:
        precise = (deviations.min() / deviations) ** 2
        weights = np.asarray(precise / precise.mean())
        fitter = Fitter(expression, table, target, shared=shared, weights=weights)
        values = _fitted(fitter, values)
        # a density in units of its own noise: the logarithms of these units are part of it
        miss = np.sqrt(weights) * (y - fitter.predict(values))
        nats = _even_nats(miss, context.variance[target]) - 0.5 * float(np.log(weights).sum())
    elif np.isfinite(size).all() and (size > 0).all():
        by_size = np.maximum(size, 1e-12 * size.max()) ** -2.0
        by_size /= by_size.mean()
        relative = Fitter(expression, table, target, shared=shared, weights=by_size, bounds=bounds)
        found = _fitted(relative, values)
        other = _relative_nats(y, relative.predict(found), context.variance[target])
        if other < nats:
            nats, fitter, values, proportional, weights = other, relative, found, True, by_size
    n_shared = len(shared)
    n_constants = (len(expression.constants) - n_shared) * len(table.groups) + n_shared
    named = _PER_NODE * expression.complexity
    if _is_published(candidate):
        named = _PUBLISHED - math.log(1.0 - _POPULAR + _POPULAR * popular.get(candidate.key, 1.0))
    total = nats + n_constants * (0.5 * math.log(n) + _PER_CONSTANT) + named
    return _Account(candidate, total, proportional, n_constants, fitter, values, weights)


def _even_nats(residuals: Array, variance: float) -> float:
    found = 0.5 * len(residuals) * math.log(float(np.mean(residuals**2)) / variance + _EXACT)
    return found if math.isfinite(found) else math.inf


def _relative_nats(y: Array, prediction: Array, variance: float) -> float:
    size = np.abs(prediction)
    if not (np.isfinite(size).all() and (size > 0).all()):
        return math.inf
    errors = float(np.mean(((y - prediction) / size) ** 2))
    return float(0.5 * len(y) * math.log(errors + _EXACT) + np.log(size).sum() - 0.5 * len(y) * math.log(variance))


def _is_published(candidate: Candidate) -> bool:
    """Whether somebody wrote the form down: the catalogue, or whoever asked for the search."""
    return candidate.static and not candidate.origin.startswith("enumeration")


def _known(candidate: Candidate, fitter: Fitter, column: str) -> Array:
    """Return the search's constants in the fitter's order: (n_groups, n_constants)."""
    constants = candidate.constants[column]
    rows = [[constants[g][c] for c in fitter.names] for g in fitter.table.groups]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(fitter.names))


def _fitted(fitter: Fitter, values: Array) -> Array:
    """Return the optimum next to known constants, or these where none is found."""
    start = values[:, : len(fitter.tape.constants)]
    found = fitter.solve(start[:1], inherited=start)
    return found.values if found.ok and np.isfinite(fitter.predict(found.values)).all() else values


def _predictive_test(context: JudgingContext, account: _Account, target: int) -> float:
    """Return the p-value, times the number of folds that could be tested; 0 where none could.

    On each fold the sum of squares of a fit to both parts is compared with that of a fit to the lower rungs alone.
    """
    from scipy.special import fdtrc

    fitter, table = account.fitter, context.table
    own = len(account.candidate.expressions[table.targets[target].column].constants) - fitter.n_shared
    first = account.values[:, : len(fitter.tape.constants)]
    found: list[float] = []
    for fold in context.folds:
        freedom = len(fold.train) - own * len(np.unique(table.group_index[fold.train])) - fitter.n_shared
        if freedom < _LEAST_FREEDOM:
            continue
        both, start = _squares(account, np.concatenate([fold.train, fold.test]), first, target)
        lower, _ = _squares(account, fold.train, start, target)
        if not (math.isfinite(both) and lower > 0):
            continue
        n = len(fold.test)
        found.append(float(fdtrc(n, freedom, max(both - lower, 0.0) / n / (lower / freedom))))
    return min(found) * len(found) if found else 0.0


def _neighbour_test(account: _Account, target: int) -> float:
    """Return the p-value of the residuals being independent, against neighbours with residuals of one sign.

    The neighbour of a row is the one next to it in its group, by rank in every variable.
    """
    from scipy.special import ndtr

    fitter, table = account.fitter, account.fitter.table
    residuals = np.sqrt(account.weights) * (table.Y[:, target] - fitter.predict(account.values))
    ranks = [np.unique(x, return_inverse=True)[1] for x in table.X.T]
    apart = sum((np.abs(r[:, None] - r) / max(int(r.max()), 1) for r in ranks), np.zeros((table.n_rows, table.n_rows)))
    apart[table.group_index[:, None] != table.group_index] += len(ranks) + 1
    np.fill_diagonal(apart, np.inf)
    next_to = apart.argmin(axis=1)
    n = len(residuals)
    mutual = int((next_to[next_to] == np.arange(n)).sum())
    z = float(residuals @ residuals[next_to]) / float(residuals @ residuals) * n / math.sqrt(n + mutual)
    return float(ndtr(-z))


def _squares(account: _Account, rows: Rows, start: Array, target: int) -> tuple[float, Array]:
    """Return the weighted sum of squares of a fit to some rows, infinity where it failed, and where it ended."""
    fitter = account.fitter
    solution = fitter.solve(start[:1], rows, inherited=start, max_iterations=80, tolerance=FITTING)
    if not solution.ok:
        return math.inf, start
    residuals = fitter.table.Y[:, target] - fitter.predict(solution.values)
    ended = solution.values[:, : start.shape[1]]
    return float((account.weights * residuals**2)[rows].sum()), np.where(np.isfinite(ended), ended, start)
