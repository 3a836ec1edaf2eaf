"""What a language model is told of the training rows, and of where a law misses them: short, and in numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sld.data.axes import Array
from sld.data.splits import rungs
from sld.data.table import Table
from sld.search.candidates.candidate import Candidate
from sld.search.judging.admissible import values_at

# the sizes keep the digest of any table below some 12,000 characters, most of it what a reader looks at first
MAX_ROWS = 40  # spread over groups and variables
_MAX_VALUES = 12  # of a variable, listed one by one; a range where there are more
_MAX_GROUPS = 12  # by their mean, lowest to highest
_MAX_TARGETS = 6  # of a mixture with many, the rest are of the same kind
_MAX_CELLS = 480  # of the table of rows: fewer rows where there are many columns
_RUNGS = 6  # into which a variable is cut to look at residuals
_TELLING = 2.5  # standard errors from which a mean residual is worth a line
_MAX_NAME = 60  # characters of a name or a meaning, which may be anything


def digest(table: Table, max_rows: int = MAX_ROWS) -> str:
    """Return the table in a few lines: columns with their ranges, groups with their levels, rows spread over it all."""
    parts = [columns(table)]
    if len(table.groups) > 1:
        parts.append(levels(table))
    parts.append(rows(table, max_rows))
    return "\n\n".join(parts)


def columns(table: Table) -> str:
    """Return one line for each target and variable."""
    lines = []
    for j, t in enumerate(table.targets[:_MAX_TARGETS]):
        facts = [f"{t.better} is better"]
        facts += [f"never below {t.lower:g}"] if t.lower is not None else []
        facts += [f"never above {t.upper:g}"] if t.upper is not None else []
        lines.append(f"target {_named(t.column, t.meaning, t.unit)}: {_span(table.Y[:, j])}; {', '.join(facts)}")
    if len(table.targets) > _MAX_TARGETS:
        lines.append(f"and {len(table.targets) - _MAX_TARGETS} more targets of the same kind")
    for i, v in enumerate(table.variables):
        facts = [v.role]
        facts += [f"the column holds {v.log} of the quantity"] if v.log else []
        facts += [f"target is {v.monotone} in it"] if v.monotone else []
        facts += ["the law will be used beyond its range"] if v.extrapolate else []
        facts += [f"counted as {short(v.convention)}"] if v.convention else []
        facts += [f"sensible from {v.lower:g}"] if v.lower is not None else []
        facts += [f"sensible up to {v.upper:g}"] if v.upper is not None else []
        about = _named(v.symbol, v.meaning, v.unit)
        lines.append(f"variable {about}: {_values(table.X[:, i])}; {', '.join(facts)}")
    return "\n".join(lines)


def levels(table: Table) -> str:
    """Return one line per group: how many rows, and the range of the first target."""
    name = short(table.group_column or "group")
    lines = [f"{len(table.groups)} groups ({name}):"]
    order = np.argsort([table.Y[table.group_index == g, 0].mean() for g in range(len(table.groups))], kind="stable")
    some = order if len(order) <= _MAX_GROUPS else order[np.linspace(0, len(order) - 1, _MAX_GROUPS).astype(np.intp)]
    for g in some:
        of = table.group_index == g
        lines.append(f"  {short(table.groups[g])}: {int(of.sum())} rows, {_span(table.Y[of, 0])}")
    return "\n".join(lines)


def rows(table: Table, max_rows: int = MAX_ROWS, where: Array | None = None) -> str:
    """Return rows spread evenly over groups and variables, as CSV; `where` (n_rows,) says which may be shown."""
    width = len(table.variables) + min(len(table.targets), _MAX_TARGETS) + (len(table.groups) > 1)
    most = max(4, min(max_rows, _MAX_CELLS // width))
    keys = [table.X[:, i] for i in range(table.X.shape[1] - 1, -1, -1)]
    order = np.lexsort([*keys, table.group_index])
    if where is not None:
        order = order[where[order]]
    n = len(order)
    some = order if n <= most else order[np.unique(np.linspace(0, n - 1, most).round().astype(np.intp))]
    shown = range(min(len(table.targets), _MAX_TARGETS))
    head = [*table.symbols, *(short(table.targets[j].column) for j in shown)]
    group = [short(table.group_column or "group")] if len(table.groups) > 1 else []
    lines = [f"{len(some)} of {n} rows:" if len(some) < n else f"all {n} rows:", ",".join([*group, *head])]
    for r in some:
        cells = [_number(x) for x in (*table.X[r], *table.Y[r, : len(shown)])]
        name = [short(table.groups[table.group_index[r]]).replace(",", ";")] if group else []
        lines.append(",".join([*name, *cells]))
    return "\n".join(lines)


def residuals(candidate: Candidate, table: Table, target: int) -> Array | None:
    """Return measured minus fitted (n_rows,), in standard deviations of the target; None where a value is missing."""
    column = table.targets[target].column
    constants = candidate.constants.get(column, {})
    if any(g not in constants for g in table.groups):
        return None
    with np.errstate(all="ignore"):
        by_group = [constants[g] for g in table.groups]
        fitted = values_at(candidate.expressions[column], by_group, table.inputs, table.group_index)
    miss: Array = (table.Y[:, target] - fitted) / max(float(table.Y[:, target].std()), 1e-300)
    return miss if np.isfinite(miss).all() else None


def structure(candidate: Candidate, table: Table, target: int = 0, most: int = 4) -> list[str]:
    """Return where a law is off on the training rows and in which direction, the most telling first."""
    miss = residuals(candidate, table, target)
    if miss is None or not float(np.abs(miss).max()) > 1e-9:
        return []
    found: list[tuple[float, str]] = []
    for i, v in enumerate(table.variables):
        index = rungs(table, v.symbol, _RUNGS)
        top = int(index.max())
        for k in range(top + 1):
            of = index == k
            where = f"{v.symbol} {_span(table.X[of, i])} (rung {k + 1} of {top + 1})"
            found += _telling(miss, of, where)
    if len(table.groups) > 1:
        for g, name in enumerate(table.groups):
            found += _telling(miss, table.group_index == g, f"group {short(name)}")
    found.sort(key=lambda item: (-item[0], item[1]))
    return [text for _, text in found[:most]]


def along(candidate: Candidate, table: Table, symbol: str, target: int = 0) -> str:
    """Return the residuals of a law along one variable, rung by rung."""
    miss = residuals(candidate, table, target)
    if miss is None:
        return "the law has no finite value on some rows"
    i = table.symbols.index(symbol)
    index = rungs(table, symbol, 2 * _RUNGS)
    lines = [f"measured minus fitted along {symbol}, in standard deviations of {table.targets[target].column}:"]
    for k in range(int(index.max()) + 1):
        of = index == k
        part = miss[of]
        lines.append(
            f"  {symbol} {_span(table.X[of, i])}: mean {part.mean():+.3g}, "
            f"root mean square {math.sqrt(float(np.mean(part**2))):.3g} ({int(of.sum())} rows)"
        )
    return "\n".join(lines)


def _telling(miss: Array, of: Array, where: str) -> list[tuple[float, str]]:
    n = int(of.sum())
    if n < 2 or n == len(miss):
        return []
    part = miss[of]
    mean, everywhere = float(part.mean()), float(np.sqrt(np.mean(miss**2)))
    strength = abs(mean) / (everywhere / math.sqrt(n))
    if strength < _TELLING:
        return []
    way = "low" if mean > 0 else "high"
    return [(strength, f"{where}: predicts too {way} by {abs(mean):.2g} standard deviations on average ({n} rows)")]


def _named(name: str, meaning: str, unit: str) -> str:
    about = [short(text) for text in (meaning, unit) if text]
    return short(name) + (f" ({', '.join(about)})" if about else "")


def short(text: str) -> str:
    """Return a name or phrase on one line, cut to a sensible length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _MAX_NAME else line[: _MAX_NAME - 1] + "…"


def _values(x: Array) -> str:
    distinct = np.unique(x)
    if len(distinct) <= _MAX_VALUES:
        return f"{len(distinct)} values " + " ".join(_number(v) for v in distinct)
    return f"{_number(distinct[0])} to {_number(distinct[-1])} ({len(distinct)} values)"


def _span(x: Array) -> str:
    low, high = float(x.min()), float(x.max())
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"


def _number(x: float) -> str:
    return f"{x:.5g}"


def typical(errors: Sequence[float]) -> float:
    """Return the geometric mean of errors on folds, which differ by orders of magnitude; NaN without any."""
    known = [max(e, 1e-16) for e in errors if math.isfinite(e)]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else math.nan
