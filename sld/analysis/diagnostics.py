r"""What a law's own runs say against it: rungs left out, runs that move the answer, residuals by variable.

* *Left out.* Each rung of a scale variable is left out, the form is refitted to the others and predicts it. A law that
  misses a rung in the middle by far more than its residuals hangs on that rung.
* *Influence.* Each run (all checkpoints of one run together) is left out, the form refitted, and the law asked again at
  the point in question. The change is counted in spreads of the law there (`uncertainty.py`): one run that moves the
  answer by a whole spread is worth a second look, or a repeat (Cook 1977 counts in the same way).
* *Residuals.* At each level of a variable the mean of $n$ residuals should lie within $\pm 2 \sigma / \sqrt n$; levels
  outside tell what the form does not follow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.diagnostics_parts import Influence, LeftOut, Level
from sld.analysis.refits import Refits
from sld.core.arrays import Rows
from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact, short, signed
from sld.data.axes import levels, position
from sld.data.card import Variable
from sld.data.table import Array, Table
from sld.fit.kernel import evaluate
from sld.laws.error_scale import Scale
from sld.laws.law import Law
from sld.laws.uncertainty import Surroundings
from sld.search.screening.design import design_notes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RUNGS = 12  # of one variable; more are put together
_MOST_RUNS = 300  # refits for influence; of more runs those with the largest residuals are left out one by one
_SHOWN = 5  # runs in the text
_STEPS = 60  # of a refit from the law's constants
_BEYOND = 0.35  # of what the scale variables span: where the answer is asked for if nobody says, a typical step
_BAND = 2.0  # standard errors that the mean of a level may lie off
_STRONG = 0.5  # spreads of the law: a run that moves the answer by more is named


@dataclass(frozen=True)
class Diagnostics:
    """What the runs behind a law say against it.

    Attributes:
        target: Column of the target.
        residual_sd: Standard deviation of the residuals, on the scale of the errors.
        log: Whether that is the scale of logarithms.
        rungs: Every rung, left out in turn.
        where: The point in question, by symbol.
        group: Its group.
        predicted: What the law says there.
        spread: One spread of the law there, in the units of the target.
        runs: Runs by how far the answer moves without them, the strongest first.
        levels: Mean residuals by variable and level.
        design: What the runs cannot tell apart, in sentences.
    """

    target: str
    residual_sd: float
    log: bool
    rungs: tuple[LeftOut, ...]
    where: Mapping[str, float]
    group: str
    predicted: float
    spread: float
    runs: tuple[Influence, ...]
    levels: tuple[Level, ...]
    design: tuple[str, ...]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw mean residuals and left-out rungs of the first variable; on `ax`, or in a figure of its own."""
        from sld.analysis.diagnostics_picture import draw

        return draw(self.levels, self.rungs, ax)

    def to_frame(self) -> Any:
        """Return the rungs as a DataFrame."""
        import pandas as pd

        return pd.DataFrame([vars(rung) for rung in self.rungs])

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and words."""
        return {
            "target": self.target,
            "residual_sd": self.residual_sd,
            "scale": "log" if self.log else "linear",
            "rungs": [vars(r) for r in self.rungs],
            "where": dict(self.where),
            "group": self.group,
            "predicted": self.predicted,
            "spread": self.spread,
            "runs": [{**vars(r), "at": dict(r.at)} for r in self.runs],
            "levels": [{**vars(v), "outside": v.outside} for v in self.levels],
            "design": list(self.design),
        }

    def summary(self) -> str:
        """Return what matters, in sentences."""
        unit = "of its logarithm" if self.log else "in its own units"
        lines = [f"{self.target}: residuals have a standard deviation of {short(self.residual_sd)} {unit}."]
        inner = [r for r in self.rungs if not r.outermost and math.isfinite(r.missed)]
        if inner:
            worst = max(inner, key=lambda r: r.missed)
            lines.append(
                "Left out and predicted by the others, rungs between the ends are missed by "
                f"{short(worst.missed, 2)} of "
                f"these at most ({worst.variable} = {short(worst.low)} to {short(worst.high)})."
            )
        for rung in self.rungs:
            if rung.outermost and math.isfinite(rung.missed):
                end = "highest" if rung.low > 0 and rung is _last(self.rungs, rung.variable) else "lowest"
                lines.append(f"The {end} rung of {rung.variable} is missed by {short(rung.missed, 2)} of these.")
        strong = [r for r in self.runs if abs(r.moved) > _STRONG]
        place = ", ".join(f"{s} = {short(v)}" for s, v in self.where.items())
        if strong:
            named = ", ".join(f"{r.run} ({signed(r.moved)})" for r in strong[:_SHOWN])
            lines.append(
                f"At {place}, leaving out one run moves the law by more than {_STRONG} of its spread: {named}."
            )
        elif self.runs:
            most = self.runs[0]
            lines.append(
                f"At {place} no single run moves the law by more than {short(abs(most.moved), 2)} of its spread."
            )
        off = [v for v in self.levels if v.outside]
        if off:
            named = ", ".join(f"{v.variable} = {short(v.value)} ({signed(v.mean)})" for v in off[:_SHOWN])
            lines.append(f"Mean residuals outside their band, in standard deviations: {named}.")
        else:
            lines.append("At every level of every variable the residuals average out.")
        lines += [f"{sentence[0].upper()}{sentence[1:]}." for sentence in self.design]
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Return the summary: what one wants to see of it."""
        return self.summary()


def _last(rungs: Sequence[LeftOut], variable: str) -> LeftOut:
    return max((r for r in rungs if r.variable == variable), key=lambda r: r.high)


def diagnostics(
    law: Law,
    table: Table,
    target: str | None = None,
    *,
    at: Mapping[str, float] | None = None,
    group: str | None = None,
    seed: int = 0,
) -> Diagnostics:
    """Return what the rows that a law was fitted to say against it.

    Args:
        law: A law with intervals.
        table: The rows that it was fitted to.
        target: Column of the target; needed only where there are several.
        at: Symbol to value of the point in question; what is absent is taken from the largest run of the group, and if
            nothing is given that run is moved outwards in every scale variable by a typical step.
        group: Group of the point; the one with the most rows if not given.
        seed: Of the starting points of refits.

    Raises:
        UsageError: There is no such target, group or variable, or the law carries no intervals.
    """
    column = _target(law, target)
    j = [t.column for t in law.targets].index(column)
    group = _group(law, table, group)
    constants = {g: law.constants[column][g] for g in table.groups}
    refits = Refits(law.expressions[column], table, j, constants, law.settings[column], seed)
    around = Surroundings(law, j, group)
    scale = around.scale
    fitted = law.by_formula(table)[:, j]
    residual = scale.to(table.Y[:, j]) - scale.to(fitted)
    sd = float(np.sqrt(np.nanmean(residual**2)))
    where = _point(law, table, group, at)
    point = {s: np.array([v]) for s, v in where.items()}
    there = around.at(point)
    if not math.isfinite(there.middle[0]):
        raise UsageError(f"the law has no value at {', '.join(f'{s} = {exact(x)}' for s, x in where.items())}")
    spread = float(there.spread[0])
    used = [v for v in table.variables if v.symbol in law.expressions[column].used_variables]
    return Diagnostics(
        target=column,
        residual_sd=sd,
        log=scale.log,
        rungs=tuple(r for v in used if v.role == "scale" for r in _rungs(v, table, table.Y[:, j], refits, scale, sd)),
        where=where,
        group=group,
        predicted=float(there.middle[0]),
        spread=float(there.middle[0] * math.expm1(spread)) if scale.log else spread,
        runs=tuple(_influences(table, refits, around, point)),
        levels=tuple(v for variable in used for v in _levels(variable, table, residual, sd)),
        design=tuple(design_notes(table)),
    )


def _target(law: Law, target: str | None) -> str:
    columns = [t.column for t in law.targets]
    if target is None and len(columns) > 1:
        raise UsageError(f"the law has {len(columns)} targets ({', '.join(columns)}); name one")
    if target is not None and target not in columns:
        raise UsageError(suggest(target, columns, kind="target"))
    return target or columns[0]


def _group(law: Law, table: Table, group: str | None) -> str:
    if missing := [g for g in table.groups if g not in law.groups]:
        raise UsageError(suggest(missing[0], law.groups, kind="group"))
    if group is None:
        return table.groups[int(np.argmax(np.bincount(table.group_index, minlength=len(table.groups))))]
    if group not in table.groups:
        raise UsageError(suggest(group, table.groups, kind="group"))
    return group


def _point(law: Law, table: Table, group: str, at: Mapping[str, float] | None) -> dict[str, float]:
    """Return the point in question: the largest run of the group, with what was asked for, or moved a typical step."""
    symbols = {name: v for v in table.variables for name in (v.symbol, v.column)}
    if unknown := [s for s in at or {} if s not in symbols]:
        raise UsageError(suggest(unknown[0], symbols, kind="variable"))
    rows = np.flatnonzero(table.group_index == table.groups.index(group))
    scales = [v for v in table.variables if v.role == "scale" and v.symbol in law.used_variables]
    place = {v.symbol: position(table, v)[0] for v in scales}
    size = np.sum([place[v.symbol][rows] for v in scales], axis=0) if scales else np.zeros(len(rows))
    top = rows[int(np.argmax(size))]
    found = {v.symbol: float(table.X[top, i]) for i, v in enumerate(table.variables)}
    if at:
        return found | {symbols[s].symbol: float(v) for s, v in at.items()}
    for v in scales:
        z = place[v.symbol][top] + _BEYOND * float(np.ptp(place[v.symbol][rows]))
        found[v.symbol] = float(z / v.nats_per_unit if v.log else np.exp(z))
    return found


def _rungs(variable: Variable, table: Table, y: Array, refits: Refits, scale: Scale, sd: float) -> list[LeftOut]:
    z, same = position(table, variable)
    rung = levels(z, same, _RUNGS)
    x = table.column(variable.column)
    found = []
    for k in range(int(rung.max()) + 1):
        rows = np.flatnonzero(rung == k)
        values = _without(refits, rows)
        said = np.full(len(rows), np.nan) if values is None else refits.fitter.predict(values)[rows]
        error = scale.to(y[rows]) - scale.to(said)
        found.append(
            LeftOut(
                variable.symbol, float(x[rows].min()), float(x[rows].max()), len(rows),
                float(y[rows].mean()), float(said.mean()), float(error.mean()) / (sd or 1.0),
                float(np.sqrt(np.mean(error**2))) / (sd or 1.0),
                k in (0, int(rung.max())),
            )
        )  # fmt: skip
    return found


def _without(refits: Refits, rows: Rows) -> Array | None:
    """Return the constants (n_groups, n_names) fitted to all rows but these; None where that leaves too little."""
    kept = np.setdiff1d(np.arange(refits.table.n_rows), rows)
    left = np.bincount(refits.table.group_index[kept], minlength=len(refits.table.groups))
    if (left == 0).any():
        return None
    n_nonlinear = len(refits.fitter.tape.constants)
    start = refits.values[:1, :n_nonlinear]
    solution = refits.solved(start, refits.values, np.ones(refits.table.n_rows), kept, _STEPS)
    return np.asarray(solution.values) if solution.ok else None


def _influences(table: Table, refits: Refits, around: Surroundings, point: Mapping[str, Array]) -> list[Influence]:
    clusters = table.clusters()
    numbers = np.unique(clusters)
    if len(numbers) > _MOST_RUNS:
        off = np.zeros(int(clusters.max()) + 1)
        np.maximum.at(off, clusters, np.abs(np.nan_to_num(refits.residual(refits.values))))
        numbers = np.sort(numbers[np.argsort(-off[numbers], kind="stable")[:_MOST_RUNS]])
    usual = around.at(point)
    g = table.groups.index(around.group)
    expression, names = around.expression, refits.fitter.names
    # refitted in the same way with every row, so that what the refit itself moves is not laid to the run
    everything = _without(refits, np.zeros(0, dtype=np.intp))
    if everything is None:
        return []

    def said(values: Array) -> float:
        constants = {**around.values, **dict(zip(names, values[g].tolist(), strict=True))}
        return float(evaluate(expression, point, constants)[0])

    before = around.scale.to(np.array([said(everything)]))
    found = []
    for number in numbers:
        rows = np.flatnonzero(clusters == number)
        if around.group not in {table.groups[k] for k in table.group_index[rows]} and not refits.fitter.shared:
            continue  # constants of its own: another group's run cannot move them
        values = _without(refits, rows)
        if values is None:
            continue
        without = said(values)
        moved = float((around.scale.to(np.array([without])) - before)[0] / (usual.spread[0] or math.inf))
        if math.isfinite(moved):
            at = {v.symbol: float(table.X[rows[-1], i]) for i, v in enumerate(table.variables)}
            name = table.runs[table.run_index[rows[0]]] if table.runs else f"row {rows[0] + 1}"
            found.append(Influence(str(name), table.groups[table.group_index[rows[0]]], at, without, moved))
    return sorted(found, key=lambda r: (-abs(r.moved), r.run))


def _levels(variable: Variable, table: Table, residual: Array, sd: float) -> list[Level]:
    z, same = position(table, variable)
    level = levels(z, same, _RUNGS)
    x = table.column(variable.column)
    found = []
    for k in range(int(level.max()) + 1):
        rows = np.flatnonzero((level == k) & np.isfinite(residual))
        if len(rows):
            mean = float(residual[rows].mean()) / (sd or 1.0)
            found.append(
                Level(variable.symbol, float(np.median(x[rows])), len(rows), mean, _BAND / math.sqrt(len(rows)))
            )
    return found
