r"""What the runs of a table can tell apart: redundant columns, and effects that move together.

A law's effects are told apart by the design in logarithms, the matrix $\log x$ (n_rows, n_scales). Three things go
wrong.

* *Redundant columns.* Where $\log x_j = c + \sum_k p_k \log x_k$ in every row, with simple exponents $p_k$
  (`budget = 6*N*D`, `tokens = ratio*params`), column j says nothing that the others do not: one set is used.
* *Collinear columns.* Near that, the variance of an effect is $1/(1 - R_j^2)$ times what it would be in a crossed
  design (the variance inflation factor); ten is the usual limit (Marquardt 1970).
* *Short spans.* A power of a quantity that spans less than a decade is nearly a straight line in its logarithm, and so
  are all others: the exponent and the irreducible loss are then determined together, not each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from sld.core.arrays import Array
from sld.core.numbers import short
from sld.data.card import Variable
from sld.data.table import Table
from sld.formula.expression import Expression, Node, call, name, number, substitute, to_text
from sld.laws.catalogue import kind_of
from sld.laws.form import Form

# in which one column is made of others: C = 6 N D, tokens per parameter, square roots of batch sizes
_EXPONENTS = np.array([s * p for p in (1 / 3, 1 / 2, 2 / 3, 1, 3 / 2, 2, 3) for s in (1, -1)])
_ROUNDED = 2e-3  # root mean square error of a relation, relative: columns are printed to three digits or more
_ROUNDED_MOST = 1e-2  # and the largest one: 1.00 stands for 0.995 to 1.005, and two columns are off
_LARGEST_SET = 3  # columns that make up another one
_INFLATION = 10.0  # variance inflation from which columns count as collinear, as textbooks have it (Marquardt 1970)
_DECADE = 10.0  # factor that a scale variable should span
_TYPICAL = 0.3  # exponent of a loss in size or data, for a condition number
_FAR_APART = 30.0  # how many times a short span a new run should be away


@dataclass(frozen=True)
class Relation:
    """A column that is a product of powers of others in every row.

    Attributes:
        variable: The column.
        factor: What the product is multiplied by.
        exponents: Of the other variables.
        error: Largest relative deviation.
    """

    variable: Variable
    factor: float
    exponents: tuple[tuple[Variable, float], ...]
    error: float

    @property
    def product(self) -> str:
        """The product as a formula over the columns."""
        over = [v for v, p in self.exponents if p < 0]
        times = [_power(_shown(v), p) for v, p in self.exponents if p > 0]
        factor = short(self.factor, 4)
        text = "*".join([*([] if factor == "1" and times else [factor]), *times])
        return text + "".join(f"/{_power(_shown(v), -p)}" for v, p in self.exponents if v in over)

    @property
    def text(self) -> str:
        """The relation, e.g. `budget = 6*N*D`."""
        return f"{_shown(self.variable)} = {self.product}"

    def node(self) -> Node:
        """Return what stands for the column's symbol in a formula."""
        product = number(self.factor)
        for variable, p in self.exponents:
            column = name(variable.symbol)
            quantity = call("exp", call("*", number(variable.nats_per_unit), column)) if variable.log else column
            product = call("*", product, quantity if p == 1 else call("**", quantity, number(p)))
        if not self.variable.log:
            return product
        return call("/", call("log", product), number(self.variable.nats_per_unit))


def without_redundant(table: Table) -> tuple[Table, tuple[Relation, ...]]:
    """Return the table without scale columns that the others determine, and what these are.

    Of the columns in a relation what is no size and no data goes first (compute, a ratio), then a product of the
    others, then the last named.
    """
    found: list[Relation] = []
    while relation := _most_redundant(table):
        found.append(relation)
        at = table.variables.index(relation.variable)
        kept = [i for i in range(len(table.variables)) if i != at]
        table = replace(table, variables=tuple(table.variables[i] for i in kept), X=table.X[:, kept])
    return table, tuple(found)


def redundancy_notes(relations: Sequence[Relation]) -> list[str]:
    """Say which columns were left out, why, and how to choose otherwise."""
    notes = []
    for r in relations:
        column, others = r.variable.column, [v.column for v, _ in r.exponents]
        exactly = "in every row" if r.error < 1e-6 else f"in every row (to {short(100 * r.error, 1)} %)"
        if len(others) == 1:
            notes.append(
                f"{r.text} {exactly}: {others[0]} and {column} cannot be told apart, so the law is over {others[0]} "
                f"and holds for such runs only; {column} was left out. Add runs off that line to tell them apart"
            )
            continue
        notes.append(
            f"{r.text} {exactly}, so {column} says nothing that {' and '.join(others)} do not; {column} was left out "
            f"(to have a law over it, name it and one column less)"
        )
    return notes


def rewritten(form: Form, relations: Sequence[Relation], table: Table, target: int) -> Form:
    """Return a form over the table without redundant columns: what stands for one of them is put in its place."""
    tree = form.expression.tree
    for relation in reversed(relations):  # the last that was left out may stand for an earlier one
        tree = substitute(tree, {relation.variable.symbol: relation.node()})
    return replace(form, expression=table.parse(to_text(tree), target))


def record_of(relations: Sequence[Relation]) -> list[dict[str, Any]]:
    """Return relations as law.json holds them."""
    return [
        {"column": r.variable.column, "log": r.variable.log, "factor": float(f"{r.factor:.6g}"),
         "exponents": {v.symbol: float(f"{p:.6g}") for v, p in r.exponents}, "text": r.text}
        for r in relations
    ]  # fmt: skip


def notes_for(expressions: Mapping[str, Expression], table: Table) -> list[str]:
    """Return notes for formulas that somebody gave: redundant columns used together, effects that go together."""
    used = {s for e in expressions.values() for s in e.used_variables}
    notes = []
    least, relations = without_redundant(table)
    for r in relations:
        if {r.variable.symbol, *(v.symbol for v, _ in r.exponents)} <= used:
            notes.append(f"{r.text} in every row, and the formula uses all of them: their effects cannot be told apart")
    kept = [i for i, v in enumerate(table.variables) if v.symbol in used or v.role == "proportion"]
    if len(kept) < len(table.variables):
        part = replace(table, variables=tuple(table.variables[i] for i in kept), X=table.X[:, kept])
        least = without_redundant(part)[0]
    return [*notes, *design_notes(least)]


def design_notes(table: Table) -> list[str]:
    """Return a note for each pair of effects, or effect and constant, that the runs cannot tell apart."""
    scales = [i for i, v in enumerate(table.variables) if v.role == "scale"]
    logs = _within_groups(np.column_stack([_log(table, i) for i in scales]), table) if scales else np.empty((0, 0))
    moving = [k for k in range(len(scales)) if np.ptp(logs[:, k]) > 1e-9]
    names = [table.variables[scales[k]] for k in moving]
    found = _collinear(logs[:, moving], names, table) if len(moving) > 1 else []
    return [*found, *_short_spans(logs[:, moving], names, table)]


# --- redundant columns ------------------------------------------------------------------------------------------------


def _most_redundant(table: Table) -> Relation | None:
    scales = [i for i, v in enumerate(table.variables) if v.role == "scale"]
    if len(scales) < 2:
        return None
    points = np.unique(table.X[:, scales], axis=0)
    logs = {i: _log_of(points[:, k], table.variables[i]) for k, i in enumerate(scales)}
    ranked = []
    for i in scales:
        for relation in _relations(table, i, [k for k in scales if k != i], logs):
            kind = kind_of(relation.variable)
            product = all(p > 0 for _, p in relation.exponents)
            key = (-len(relation.exponents), kind not in ("parameters", "data"), product, i)
            ranked.append((key, relation))
            break
    return max(ranked, key=lambda r: r[0])[1] if ranked else None


def _relations(table: Table, i: int, others: Sequence[int], logs: Mapping[int, Array]) -> Iterator[Relation]:
    y = logs[i]
    if np.ptp(y) < 1e-9:
        return
    # what all other columns together leave, no few of them explain: thousands of sets need not be tried one by one
    everything = np.column_stack([logs[k] for k in others])
    centred = everything - everything.mean(axis=0)
    left = y - y.mean() - centred @ np.linalg.lstsq(centred, y - y.mean(), rcond=None)[0]
    if np.sqrt(np.mean(left**2)) >= _ROUNDED:
        return
    for size in range(1, min(_LARGEST_SET, len(others)) + 1):
        if len(y) < size + 3:  # a line through as many points as it has constants is no relation
            return
        for chosen in combinations(others, size):
            x = np.column_stack([logs[k] for k in chosen])
            centred = x - x.mean(axis=0)
            if np.linalg.matrix_rank(centred, tol=1e-2 * max(float(np.linalg.norm(centred)), 1e-300)) < size:
                continue
            fitted = np.linalg.lstsq(centred, y - y.mean(), rcond=None)[0]
            exponents = _EXPONENTS[np.argmin(np.abs(fitted[:, None] - _EXPONENTS), axis=1)]
            rest = y - x @ exponents
            error = np.abs(rest - np.median(rest))
            if np.sqrt(np.mean(error**2)) < _ROUNDED and error.max() < _ROUNDED_MOST:
                used = tuple((table.variables[k], float(p)) for k, p in zip(chosen, exponents, strict=True))
                yield Relation(table.variables[i], _tidy(math.exp(float(np.median(rest)))), used, float(error.max()))


def _tidy(factor: float) -> float:
    """Return a factor to as many digits as the columns have, so that 5.9998 reads 6."""
    for digits in (1, 2, 3):
        short = float(f"{factor:.{digits}g}")
        if abs(short / factor - 1) < _ROUNDED:
            return short
    return factor


def _power(text: str, p: float) -> str:
    return text if p == 1 else f"{text}**{short(p)}"


def _shown(variable: Variable) -> str:
    return {None: "", "log10": "10**", "log2": "2**", "log": "e**"}[variable.log] + variable.column


# --- effects that move together ---------------------------------------------------------------------------------------


def _log(table: Table, i: int) -> Array:
    return _log_of(table.X[:, i], table.variables[i])


def _log_of(x: Array, variable: Variable) -> Array:
    return np.asarray(x * variable.nats_per_unit if variable.log else np.log(x))


def _within_groups(logs: Array, table: Table) -> Array:
    """Return logarithms as differences from each group's mean: constants per group know nothing of other groups."""
    counts = np.bincount(table.group_index, minlength=len(table.groups))
    means = [np.bincount(table.group_index, weights=column, minlength=len(counts)) / counts for column in logs.T]
    return logs - np.column_stack(means)[table.group_index]


def _collinear(logs: Array, variables: Sequence[Variable], table: Table) -> list[str]:
    correlation: Array = np.atleast_2d(np.corrcoef(logs.T))
    eigenvalues = np.linalg.eigvalsh(correlation)
    condition = math.sqrt(eigenvalues[-1] / eigenvalues[0]) if eigenvalues[0] > 1e-14 else math.inf
    if condition < math.inf and not (np.diag(np.linalg.inv(correlation)) > _INFLATION).any():
        return []
    k, j = divmod(int(np.argmax(np.abs(correlation - np.eye(len(correlation))))), len(correlation))
    k, j = min(k, j), max(k, j)
    u, v, r = variables[k], variables[j], float(correlation[k, j])
    size = "infinite" if condition > 1e6 else short(condition)
    within = " within groups" if len(table.groups) > 1 else ""
    head = f"the design hardly tells {u.column} and {v.column} apart"
    if abs(r) < 0.9:
        head = f"the design hardly tells {', '.join(x.column for x in variables)} apart: together they move on a plane"
    runs = _off_the_line(u, v, table, r > 0)
    return [f"{head}: correlation of their logarithms {r:.4f}{within}, condition number {size}; {runs}"]


def _off_the_line(u: Variable, v: Variable, table: Table, together: bool) -> str:
    """Return which runs would tell two variables apart: the corners that are empty."""
    x, y = table.column(u.column), table.column(v.column)
    low, high = float(x.min()), float(x.max())
    bottom, top = (float(y.min()), float(y.max())) if together else (float(y.max()), float(y.min()))
    corners = ((low, top), (high, bottom))
    shown = [f"{u.column} = {short(a)} with {v.column} = {short(b)}" for a, b in corners]
    return f"add runs off that line, towards {shown[0]} or {shown[1]}"


def _short_spans(logs: Array, variables: Sequence[Variable], table: Table) -> list[str]:
    """Return a note for each scale variable that spans less than a decade within every group, or has two levels."""
    notes = []
    for k, variable in enumerate(variables):
        spans, levels = zip(*(_span(logs[table.group_index == g, k]) for g in range(len(table.groups))), strict=True)
        span, most = math.exp(max(spans)), max(levels)
        if span >= _DECADE * (1 - 1e-9) and most > 2:
            continue
        x = table.column(variable.column)
        one, other = float(x.min()), float(x.max())
        if variable.log:
            base = variable.nats_per_unit
            one, other = math.exp(one * base), math.exp(other * base)
        where = "" if len(table.groups) == 1 else " within a group"
        reach = f"spans a factor of {short(span)}{where} in {most} levels"
        what = "less than a decade" if span < _DECADE else "two levels show no curvature"
        column = _shown(variable)
        smaller = f"{column} = {short(other / _FAR_APART, 2)} or less (cheap), or at "
        if (x == np.round(x)).all() and other / _FAR_APART < 1:
            smaller = f"{column} = "  # layers, devices
        notes.append(
            f"{column} {reach} ({what}): the design hardly tells its effect from a constant, the irreducible loss "
            f"(condition number {short(_condition(logs))} for a sum of powers with exponents of {_TYPICAL:g})"
            f"{_crossed(variable, table)}; add runs at {smaller}{short(one * _FAR_APART, 2)} or more"
        )
    return notes


def _condition(logs: Array) -> float:
    r"""Return the condition number of the design of a law: a constant, and for each variable a power and its exponent.

    The columns are $1$, $x_k^{-a}$ and $x_k^{-a} \log x_k$, each to length one; infinite where they are dependent.
    """
    columns = [np.ones(len(logs))]
    for log in logs.T:
        power = np.exp(-_TYPICAL * log)
        columns += [power, power * log]
    design = np.column_stack(columns)
    singular = np.linalg.svd(design / np.linalg.norm(design, axis=0), compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 1e-12 * singular[0] else math.inf


def _span(logs: Array) -> tuple[float, int]:
    ordered = np.sort(logs)
    return float(ordered[-1] - ordered[0]), 1 + int((np.diff(ordered) > 1e-9).sum())


def _crossed(variable: Variable, table: Table) -> str:
    """Say how far the largest runs went in another quantity than the smallest, where all are on one grid of it."""
    others = [v for v in table.variables if v.role == "scale" and v is not variable]
    if len(table.groups) > 1 or len(others) != 1 or variable.log or others[0].log:
        return ""
    x, y = table.column(variable.column), table.column(others[0].column)
    grids = {tuple(np.unique(y[x == level])) for level in np.unique(x)}
    if len(grids) != 1 or len(next(iter(grids))) < 2:
        return ""
    least, most = float(y.max() / x.max()), float(y.max() / x.min())
    one, other = variable.column, others[0].column
    return (
        f", and every {one} is on the same {len(next(iter(grids)))} values of {other}, so that the largest one reaches "
        f"{other}/{one} = {short(least, 2)} only where the smallest reaches {short(most, 2)}"
    )
