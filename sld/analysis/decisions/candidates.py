"""Runs that could be made: from a grid, a table, or a pool of rows, each with what it costs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.core.arrays import Array, Rows
from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact, short
from sld.data.card import Variable
from sld.formula.evaluation import evaluate
from sld.formula.expression import parse

MOST = 5000  # candidates that are weighed; of more an even share is taken
LEVELS = 8  # of each scale variable where nobody names candidates
SWEPT = 5  # of a hyperparameter that is to be swept
_LARGEST_GRID = 2_000_000  # points of a grid before what costs too much is left out
_PRODUCT = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*\*?\s*([A-Za-z_]\w*)")


@dataclass(frozen=True)
class Candidates:
    """Runs that could be made.

    Attributes:
        columns: Symbol of each variable to its column (n,).
        groups: Names of the groups that occur, `group_index` (n,) into it.
        cost: (n,) what each costs.
        most: How often one may be made.
        source: What they are, for people.
        numbers: (n,) where each stands in its table; None on a grid.
    """

    columns: Mapping[str, Array]
    groups: tuple[str, ...]
    group_index: Rows
    cost: Array
    most: int = 1
    source: str = "candidates"
    numbers: Rows | None = None

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.cost)

    def take(self, kept: Rows | Array) -> Candidates:
        """Return some of them."""
        return replace(
            self,
            columns={s: x[kept] for s, x in self.columns.items()},
            group_index=self.group_index[kept],
            cost=self.cost[kept],
            numbers=None if self.numbers is None else self.numbers[kept],
        )

    def point(self, i: int) -> dict[str, float]:
        """Return one of them."""
        return {s: float(x[i]) for s, x in self.columns.items()}

    def group(self, i: int) -> str:
        """Return whose constants one of them has."""
        return self.groups[int(self.group_index[i])]

    def within(
        self,
        budget: float,
        least: Mapping[str, float] | None = None,
        most: Mapping[str, float] | None = None,
    ) -> Candidates:
        """Return those that the budget can pay, within limits of variables or of `cost`; an even share of very many.

        Raises:
            UsageError: None is left, or a limit is of no variable.
        """
        if self.n and not (np.isfinite(self.cost) & (self.cost > 0)).all():
            bad = float(self.cost[~(np.isfinite(self.cost) & (self.cost > 0))][0])
            raise UsageError(
                f"the cost of a run must be a number above 0, got {exact(bad)} for one of the {self.source}"
            )
        kept = self.cost <= budget * (1 + 1e-9)
        for limits, sign in ((least or {}, 1.0), (most or {}, -1.0)):
            for name, value in limits.items():
                if name not in self.columns and name != "cost":
                    raise UsageError(suggest(name, [*self.columns, "cost"], kind="variable"))
                column = self.cost if name == "cost" else self.columns[name]
                kept &= sign * (column - value) >= -1e-12 * abs(value)
        if not kept.any():
            cheapest = f"; the cheapest costs {short(self.cost.min())}" if self.n else ""
            raise UsageError(
                f"none of the {self.n} {self.source} is within the budget of {short(budget)} and the limits{cheapest}"
            )
        rows = np.flatnonzero(kept)
        if len(rows) > MOST:
            # sorted by cost, every k-th: cheap and dear ones alike stay
            ordered = rows[np.argsort(self.cost[rows], kind="stable")]
            rows = np.sort(ordered[np.linspace(0, len(ordered) - 1, MOST).round().astype(np.intp)])
        return self.take(rows)


@dataclass(frozen=True)
class Levels:
    """The values of one variable on a grid: listed, or from one end to the other in equal ratios.

    Attributes:
        ends: Numbers, or "20*N": a multiple of a variable that stands before it.
        n: How many; 0 where values are listed.
    """

    ends: tuple[tuple[float, str], ...]
    n: int = 0

    def values(self, columns: Mapping[str, Array], size: int, log: bool) -> Array:
        """Return (size, n_levels) values beside the columns (size,) of variables before it."""
        return tidy(self._values(columns, size, log))

    def _values(self, columns: Mapping[str, Array], size: int, log: bool) -> Array:
        there = [factor * (columns[of] if of else np.ones(size)) for factor, of in self.ends]
        if not self.n:
            return np.column_stack(there)
        share = np.linspace(0.0, 1.0, self.n)
        low, high = there[0][:, None], there[1][:, None]
        if log and (low > 0).all() and (high > 0).all():
            return np.asarray(np.exp(np.log(low) * (1 - share) + np.log(high) * share))
        return np.asarray(low * (1 - share) + high * share)


def tidy(values: Array) -> Array:
    """Return numbers to ten digits: 1e7, not 10000000.000000006."""
    with np.errstate(all="ignore"):
        unit = 10.0 ** (np.floor(np.log10(np.abs(values))) - 9)
        # dividing by a whole number is exact where multiplying by its inverse is not
        short = np.where(unit >= 1, np.round(values / unit) * unit, np.round(values / unit) / np.round(1 / unit))
    return np.asarray(np.where((values == 0) | ~np.isfinite(short), values, short))


def read_grid(text: str, symbols: Sequence[str]) -> dict[str, Levels]:
    """Return the levels that a text names: `N=1e7:1e9:8,D=20N:200N:5,lr=1e-3`.

    Each variable has `low:high:count`, one value, or values separated by `/`; a number may be a multiple of a variable
    that stands before it.

    >>> read_grid("N=1e7:1e9:8,D=20N:200N:5", ["N", "D"])["D"]
    Levels(ends=((20.0, 'N'), (200.0, 'N')), n=5)

    Raises:
        UsageError: It cannot be read.
    """
    found: dict[str, Levels] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, rest = (p.strip() for p in part.partition("="))
        if not equals or not rest:
            raise UsageError(f"a grid is NAME=LOW:HIGH:COUNT, e.g. N=1e7:1e9:8,D=20N:200N:5, got {part!r}")
        if name not in symbols:
            raise UsageError(suggest(name, symbols, kind="variable"))
        if name in found:
            raise UsageError(f"the grid names {name!r} twice")
        pieces = rest.split(":")
        if len(pieces) == 3:
            try:
                n = int(pieces[2])
            except ValueError:
                n = 0
            if n < 1:
                raise UsageError(f"the count of a grid must be a whole number above 0, got {pieces[2]!r} in {part!r}")
            ends = (_end(pieces[0], found, part), _end(pieces[1], found, part))
            if ends[0][1] == ends[1][1] and ends[0][0] > ends[1][0]:
                raise UsageError(f"a grid goes from the smaller to the larger value, got {part!r}")
            found[name] = Levels(ends[:1] if n == 1 else ends, 0 if n == 1 else n)
        elif len(pieces) == 1:
            found[name] = Levels(tuple(_end(p, found, part) for p in rest.split("/")))
        else:
            raise UsageError(f"a grid is NAME=LOW:HIGH:COUNT, e.g. N=1e7:1e9:8, got {part!r}")
    if not found:
        raise UsageError("the grid is empty; say e.g. N=1e7:1e9:8,D=20N:200N:5")
    return found


def _end(text: str, before: Mapping[str, Levels], part: str) -> tuple[float, str]:
    try:
        value, of = float(text), ""
    except ValueError:
        match = _PRODUCT.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"wanted a number or a multiple such as 20N, got {text!r} in {part!r}") from None
        value, of = float(match[1]), match[2]
        if of not in before:
            known = f"; before it stand {', '.join(before)}" if before else "; no variable stands before it"
            raise UsageError(f"{part!r} is a multiple of {of!r}, which has to stand before it{known}") from None
    if not math.isfinite(value):
        raise UsageError(f"wanted a finite number, got {text!r} in {part!r}")
    return value, of


def grid_columns(levels: Mapping[str, Levels], variables: Sequence[Variable]) -> dict[str, Array]:
    """Return the columns of every combination of levels.

    Raises:
        UsageError: There are too many.
    """
    total = math.prod(max(level.n, 1) if level.n else len(level.ends) for level in levels.values())
    if total > _LARGEST_GRID:
        raise UsageError(f"the grid has {total} points, more than {_LARGEST_GRID}; take fewer levels")
    by_factors = {v.symbol: v.log is None for v in variables}
    columns: dict[str, Array] = {}
    size = 1
    for symbol, level in levels.items():
        values = level.values(columns, size, by_factors.get(symbol, True))
        n = values.shape[1]
        columns = {s: np.repeat(x, n) for s, x in columns.items()}
        columns[symbol] = values.ravel()
        size *= n
    return columns


def costs_of(text: str, columns: Mapping[str, Array], extra: Mapping[str, Array]) -> Array:
    """Return (n,) costs by a formula over a pool's columns.

    Raises:
        GrammarError: The formula cannot be read.
        UsageError: It names something that is no column.
    """
    known = {**extra, **columns}
    if text.strip() in known:
        return np.asarray(known[text.strip()], dtype=np.float64)
    expression = parse(text, list(known))
    if expression.constants:
        raise UsageError(f"in the cost {text!r}: " + suggest(expression.constants[0], list(known), kind="column"))
    found = evaluate(expression, known, {})
    return np.asarray(np.broadcast_to(found, (len(next(iter(known.values()))),)), dtype=np.float64)
