"""Runs that could be made beside a law: from its own range, a grid, a table of candidates or a pool."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sld.analysis.decisions.candidates import LEVELS, SWEPT, Candidates, Levels, costs_of, grid_columns, read_grid
from sld.analysis.decisions.cost import Cost
from sld.analysis.decisions.surface import seen
from sld.core.arrays import Array
from sld.core.errors import DataError, UsageError, suggest
from sld.core.numbers import short
from sld.data.reading import column_names, read_columns
from sld.data.table import Table, read_points
from sld.laws.law import Law

TEN_TIMES = 10.0  # the largest runs: how far candidates go where nobody names any, and what is asked
_COUNTED = 10_000  # whole numbers below this are counts of things that have no half
_REPEATS = 2  # of a run that may be repeated


@dataclass(frozen=True)
class Offer:
    """Which runs could be made, as somebody said it.

    Attributes:
        grid: As text, see `candidates.read_grid`.
        candidates: A table of runs that may be repeated.
        pool: A table of runs that can be made once each.
        cost_text: The cost as it was written, for one over columns of a pool.
        fixed: Symbol to the value that it has in every run.
        swept: Hyperparameters to be tried at several values.
        repeats: How often a run may be made; None for twice, and once in a pool.
    """

    grid: str | None = None
    candidates: object = None
    pool: object = None
    cost_text: str | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    swept: Sequence[str] = ()
    repeats: int | None = None

    def source(self) -> object:
        """Return the table that was named, if one was; raises UsageError where several were."""
        named = [n for n in ("grid", "candidates", "pool") if getattr(self, n) is not None]
        if len(named) > 1:
            raise UsageError(f"say which runs could be made in one way, not as {' and '.join(named)}")
        return None if not named or named[0] == "grid" else getattr(self, named[0])


def ends_of(law: Law, table: Table | None, *more: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return between which values of each variable things are looked at: rows, and what is asked."""
    ends = dict(seen(law))
    for v in law.variables:
        if table is not None:
            x = table.column(v.symbol)
            ends[v.symbol] = (float(x.min()), float(x.max()))
        for columns in more:
            if v.symbol in columns and len(np.atleast_1d(columns[v.symbol])):
                x = np.atleast_1d(columns[v.symbol])
                low, high = ends.get(v.symbol, (math.inf, -math.inf))
                ends[v.symbol] = (min(low, float(x.min())), max(high, float(x.max())))
        if v.symbol not in ends:
            raise UsageError(f"nothing is known of {v.symbol}: name values of it in a grid, e.g. {v.symbol}=LOW:HIGH:5")
    return ends


def candidates_of(
    law: Law, names: tuple[str, ...], cost: Cost | None, offer: Offer, ends: Mapping[str, tuple[float, float]]
) -> tuple[Candidates, list[str]]:
    """Return the runs that could be made, and what is to be said of them.

    Args:
        law: The law; its variables are the columns.
        names: Groups that are asked about, or the sides of a comparison; a grid is offered to each.
        cost: Over the variables; None where `offer.cost_text` is over the columns of a pool.
        offer: What was said.
        ends: Symbol to the ends of what the rows have.

    Raises:
        UsageError: What was said is no grid or table of this law, or what a run costs is not known.
    """
    source = offer.source()
    if source is None:
        if cost is None:
            raise UsageError("what a run costs is not known; say it with cost (--cost)")
        columns, notes = _grid(law, cost, offer, ends)
        n = len(next(iter(columns.values())))
        most = _REPEATS if offer.repeats is None else offer.repeats
        found = Candidates(columns, names, np.zeros(n, dtype=np.intp), cost(columns), most, "runs of the grid")
        return _for_each(found, names), notes
    columns, groups = _points_of(law, source)
    if cost is None and offer.cost_text is None:
        raise UsageError("what a run costs is not known; say it with cost (--cost), a formula over the columns")
    price = cost(columns) if cost is not None else costs_of(str(offer.cost_text), columns, _extra(source, law))
    usual = 1 if offer.pool is not None else _REPEATS
    most = usual if offer.repeats is None else offer.repeats
    numbers = np.arange(len(price))
    if groups is None:
        alone = Candidates(columns, names, np.zeros(len(price), dtype=np.intp), price, most, "candidates", numbers)
        return _for_each(alone, names), []
    index = np.array([names.index(g) if g in names else -1 for g in groups], dtype=np.intp)
    kept = np.flatnonzero(index >= 0)
    if not len(kept):
        raise UsageError(f"no candidate is of {' or '.join(names[:5])}; they are of {', '.join(dict.fromkeys(groups))}")
    away = len(index) - len(kept)
    notes = [f"{away} candidates are of groups that are not asked about"] if away else []
    return Candidates(columns, names, index, price, most, "candidates", numbers).take(kept), notes


def _for_each(found: Candidates, names: tuple[str, ...]) -> Candidates:
    """Return candidates once for every group."""
    k, n = len(names), found.n
    return replace(
        found,
        columns={s: np.tile(x, k) for s, x in found.columns.items()},
        group_index=np.repeat(np.arange(k), n),
        cost=np.tile(found.cost, k),
        numbers=None if found.numbers is None else np.tile(found.numbers, k),
    )


def _points_of(law: Law, source: object) -> tuple[dict[str, Array], list[str] | None]:
    """Return the columns of a table of candidates, and the group of each row; None where it names none."""
    column = law.group_column if law.grouped and law.group_column in column_names(source) else None
    table = read_points(source, law.variables, column)
    columns = {v.symbol: np.ascontiguousarray(table.column(v.symbol)) for v in law.variables}
    return columns, None if column is None else [table.groups[g] for g in table.group_index]


def _extra(source: object, law: Law) -> dict[str, Array]:
    """Return the columns of numbers that a pool has beside the variables."""
    taken = {v.column for v in law.variables} | {law.group_column}
    found = {}
    for name in column_names(source):
        if name not in taken and name.isidentifier():
            try:
                found[name] = read_columns(source, [name]).values[name]
            except DataError:  # labels
                continue
    return found


def _grid(
    law: Law, cost: Cost, offer: Offer, ends: Mapping[str, tuple[float, float]]
) -> tuple[dict[str, Array], list[str]]:
    """Return the columns of a grid that was named, or of one from the smallest runs up to ten times the largest."""
    symbols = [v.symbol for v in law.variables]
    text = offer.grid
    levels = {} if text is None else read_grid(text, symbols)
    fixed, swept = dict(offer.fixed), offer.swept
    for name in (*fixed, *swept):
        if name not in symbols:
            raise UsageError(suggest(name, symbols, kind="variable"))
        if name in levels:
            raise UsageError(f"{name} is in the grid already, so it is neither fixed nor swept")
    notes = []
    needed = law.used_variables | cost.uses
    open_ = [v for v in law.variables if v.symbol not in levels and v.symbol not in fixed]
    if any(v.role == "proportion" for v in open_):
        raise UsageError("shares of a mixture have no grid: give the runs that could be made as a table (--candidates)")
    for v in open_:
        low, high = ends[v.symbol]
        if v.role == "scale" and v.symbol in needed and text is None:
            if v.log is None:
                levels[v.symbol] = _from_to(low, TEN_TIMES * high)
            else:
                levels[v.symbol] = Levels(((low, ""), (high + v.units_per_decade, "")), LEVELS + 1)
        elif v.symbol in swept:
            levels[v.symbol] = _from_to(low, high, SWEPT) if v.log is None else Levels(((low, ""), (high, "")), SWEPT)
        else:
            middle = math.sqrt(low * high) if low > 0 and v.log is None else 0.5 * (low + high)
            fixed = {**fixed, v.symbol: middle}
            if v.symbol in needed:
                notes.append(
                    f"{v.symbol} is {short(middle, 4)} in every run, the middle of the rows (fix or sweep it otherwise)"
                )
    if text is None:
        shown = ", ".join(f"{s} {short(x.ends[0][0])} to {short(x.ends[-1][0])}" for s, x in levels.items())
        notes.append(f"no candidates were given: a grid of {shown} (--grid, --candidates or --pool say otherwise)")
    levels |= {s: Levels(((float(x), ""),)) for s, x in fixed.items()}
    columns = grid_columns(levels, law.variables)
    return {s: columns[s] for s in symbols}, notes


def _from_to(low: float, high: float, n: int = LEVELS + 1) -> Levels:
    """Return levels from one value to another; whole numbers where both ends are small ones: layers, experts."""
    if low > 0 and high < _COUNTED and low == round(low) and high == round(high):
        return Levels(tuple((float(x), "") for x in sorted({round(x) for x in np.geomspace(low, high, n)})))
    return Levels(((low, ""), (high, "")), n)
