"""Intervals of a law from few rows, made of draws of its constants, and how far beyond the rows anything is promised.

The draws take the place of refits in the law's record (`sld/laws/uncertainty.py`): to reweight three rows tells
nothing. Their spread is stretched by what intervals needed on tables from which the priors were not learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import DataError
from sld.core.numbers import short
from sld.data.card import Variable
from sld.data.table import Table
from sld.fit.few_points import FEW, FewFit
from sld.fit.posterior import TAILS
from sld.fit.priors import horizon, library
from sld.formula.expression import Expression
from sld.laws.fitted import Fitted
from sld.laws.interval_record import six_digits

_KEPT = 100  # draws in a law's record: a standard deviation is then known to 7 %
_SLACK = 1e-6  # relative: what was printed and read again lies at the horizon, not beyond it


def record(
    law: Fitted, table: Table, fits: Mapping[str, FewFit], *, level: float = 0.9, seed: int = 0
) -> dict[str, Any]:
    """Return what stands under `intervals` in `law.json`.

    Args:
        law: The law.
        table: The rows that it was fitted to.
        fits: Target to its fit.
        level: Share of new runs that the intervals shall cover.
        seed: That of the draws.
    """
    targets = {}
    counts = np.bincount(table.group_index, minlength=len(table.groups))
    for target in law.targets:
        column = target.column
        fit = fits[column]
        own = table.Y[:, [t.column for t in table.targets].index(column)]
        draws = {
            g: {c: p.draws[c][:: max(len(p.noise) // _KEPT, 1)] for c in p.draws} for g, p in fit.posteriors.items()
        }
        targets[column] = {
            "scale": "log",
            "widening": fit.stretch,
            "tails": TAILS,
            "judged_rows": 0,
            "noise": {g: six_digits(float(np.median(p.noise))) for g, p in fit.posteriors.items()},
            "rows": dict(zip(table.groups, counts.tolist(), strict=True)),
            # the draws know how few the rows are
            "free": dict(zip(table.groups, counts.tolist(), strict=True)),
            "open": {},
            "constants": {
                g: {c: " ".join(f"{x:.12g}" for x in of[c]) for c in law.expressions[column].constants}
                for g, of in draws.items()
            },
            "range": {
                g: [float(f"{x:.12g}") for x in (own[table.group_index == k].min(), own[table.group_index == k].max())]
                for k, g in enumerate(table.groups)
            },
            "rivals": [],
        }  # fmt: skip
    return {"level": level, "replicates": _KEPT, "seed": seed, "targets": targets}


def promise(expressions: Mapping[str, Expression], table: Table) -> dict[str, Any]:
    """Return what a law's provenance says of its priors: which, from how many tables, and up to where it is promised.

    `horizon` is group to symbol of a scale variable to the value beyond which nothing is promised.
    """
    used = {s for e in expressions.values() for s in e.used_variables}
    scales = [v for v in table.variables if v.symbol in used]
    ends = {
        group: {v.symbol: horizon(float(x.min()), float(x.max())) for v, x in _columns(scales, table, g)}
        for g, group in enumerate(table.groups)
    }
    rows = int(np.bincount(table.group_index).max())
    return {"version": library().version, "tables": library().tables, "rows": rows, "horizon": ends}


def _columns(variables: Sequence[Variable], table: Table, group: int) -> Iterator[tuple[Variable, Array]]:
    for v in variables:
        yield v, table.column(v.column)[table.group_index == group]


def promised_by(provenance: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what `promise` gave for a law, from its provenance; None for a law that was fitted without priors.

    Raises:
        DataError: It is not as it was written.
    """
    found = provenance.get("priors")
    if not isinstance(found, Mapping) or "horizon" not in found:
        return None  # before 0.6.0 the same key said how groups were pooled
    try:
        ends = [x for of in found["horizon"].values() for x in of.values()]
    except AttributeError:
        ends = []
    whole = all(isinstance(found.get(k), int) for k in ("rows", "tables"))
    if not ends or not whole or not all(isinstance(x, int | float) for x in ends):
        raise DataError(
            "the law's provenance: priors must have rows, tables and a horizon for each group, as sld fit writes them"
        )
    return found


def in_words(promised: Mapping[str, Any]) -> list[str]:
    """Return what `promise` gave as sentences for whoever reads a law."""
    n, of_group = promised["rows"], promised["horizon"]
    group = " of a group" if len(of_group) > 1 else ""
    rows = f"{n} row{'s' if n > 1 else ''}{group}"
    ends = next(iter(of_group.values()))
    where = " or ".join(f"{s} = {short(x, 4)}" for s, x in ends.items())
    more = " (that of the first group; law.json has all)" if len(of_group) > 1 else ""
    why = f"{rows} cannot tell every constant: they are" if n <= FEW else f"as asked, the constants of {rows} are"
    return [
        f"{why} drawn towards what constants of their kind are in "
        f"{promised['tables']} other tables, and so are the intervals (priors: none leaves that out)",
        f"nothing is promised beyond {where}{more}",
    ]


def beyond(law: Fitted, points: Table, provenance: Mapping[str, Any]) -> list[str]:
    """Return a sentence where points lie beyond the horizon of a law from few rows; nothing for other laws."""
    promised = promised_by(provenance)
    if promised is None:
        return []
    of_group: Mapping[str, Mapping[str, float]] = promised["horizon"]
    first = next(iter(of_group.values()))
    away = np.zeros(points.n_rows, dtype=np.bool_)
    for g, group in enumerate(points.groups):
        ends = of_group.get(group, first)
        rows = points.group_index == g
        for v in law.variables:
            if v.symbol in ends:
                away |= rows & (points.column(v.column) > ends[v.symbol] * (1 + _SLACK))
    if not away.any():
        return []
    where = " or ".join(f"{s} = {short(x, 4)}" for s, x in first.items())
    which = "the point lies" if points.n_rows == 1 else f"{int(away.sum())} of {points.n_rows} points lie"
    return [f"{which} beyond {where}: there a law from {promised['rows']} rows promises nothing"]
