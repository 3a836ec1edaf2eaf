"""How two formulas of a search differ, what moves the answer of one, and what its own rows say against it.

For the model, in words and numbers: at most `MAX_LOOK` characters each, whatever the table. Each says how many local
fits it took, since they are charged to the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sld.core.arrays import Array, Rows
from sld.data.axes import levels, position
from sld.data.card import Variable
from sld.data.splits import Fold, rungs
from sld.data.table import Table
from sld.search.candidates.candidate import Candidate
from sld.search.judging.admissible import walks_away
from sld.search.llm.digest import short
from sld.search.llm.trials import Constants, Trial, edge, times

MAX_LOOK = 1500  # characters: a look at a formula should cost a model fewer tokens than the table did
_MAX_FORMULA = 160  # characters of a formula that heads an answer: the model knows it
_MAX_FOLDS = 8  # as many as a search makes
_FACTORS = (3.0, 10.0, 100.0)  # beyond the largest run: a typical step, a decade, far out
_MAX_DIRECTIONS = 4  # scale variables that are walked by themselves
_MAX_CONSTANTS = 8  # of a formula, in the table of refits
_MAX_TOPS = 4  # scale variables whose top rung is left out
_MAX_RUNGS = 12  # of one variable, as in `sld diagnose`
_WORST_RUNGS = 3  # between the ends, that are shown
_MAX_INFLUENCES = 24  # runs that are left out one by one: those that count most to first order
_LEAST_INFLUENCES = 6  # however many rows there are
_ROW_FITS = 12_000  # rows times refits of one look: some 0.1 s of the machine, for six constants
_SHOWN_RUNS = 5
_SHOWN_RUNGS_OF = 3  # variables


@dataclass(frozen=True)
class Look:
    """What the model is told, and the local fits it took."""

    text: str
    n_fits: int = 0


def compared(first: Candidate, second: Candidate, table: Table, folds: Sequence[Fold], target: int, group: str) -> Look:
    """Return where and by how much two formulas differ: on the folds, within the data of a group, and beyond it."""
    one, other = (Trial(c, table, target, group) for c in (first, second))
    name = short(table.targets[target].column)
    symbols = tuple(dict.fromkeys((*one.expression.used_variables, *other.expression.used_variables)))
    top, _, scales = edge(table, group, symbols)
    mine = table.X[table.group_index == table.groups.index(group)]
    both = _Both(one, other, name)
    lines = [f"A: {_formula(one)}", f"B: {_formula(other)}", *_on_folds(first, second, folds, target)]
    inside = both.apart(mine)
    lines.append(
        f"within the data{_of(table, group)}: root mean square of B - A {_number(_rms(inside))}, "
        f"of the residuals of A {_number(one.sd)}, of B {_number(other.sd)}"
    )
    if not scales:
        lines.append(both.farthest(_away(table, group), "up to 2.5 times as far from the middle of the data"))
        return Look(_bounded(lines), one.n_fits + other.n_fits)
    lines.append(f"beyond the largest run ({_place(table, top)}), {name} by A, by B, and B - A in {_unit(one)} of A:")
    walks: list[tuple[tuple[str, ...], str]] = [((v.symbol,), v.symbol) for v in scales[:_MAX_DIRECTIONS]]
    if len(scales) > 1:
        walks.append((tuple(v.symbol for v in scales), "all of them"))
    for which, label in walks:
        steps = [times(table, top, dict.fromkeys(which, f)) for f in _FACTORS]
        said = [both.pair(x) for x in steps]
        lines.append(f"- {label} " + "; ".join(f"x{f:g}: {s}" for f, s in zip(_FACTORS, said, strict=True)))
    if len(scales) > 1:
        # where held-out runs often lie, and where a shift that the rows never tested shows: large in one, small in all
        for v in scales[:2]:
            corner = times(table, top, {v.symbol: _FACTORS[1]})
            for w in scales:
                if w is not v:
                    i = table.symbols.index(w.symbol)
                    corner[i] = mine[:, i].min()
            lines.append(f"- {v.symbol} x{_FACTORS[1]:g}, the others at their smallest: {both.pair(corner)}")
    return Look(_bounded(lines), one.n_fits + other.n_fits)


def swayed(candidate: Candidate, table: Table, target: int, group: str) -> Look:
    """Return how the constants, and the prediction at the edge, move under other losses and without top rungs."""
    trial = Trial(candidate, table, target, group)
    name = short(table.targets[target].column)
    _, point, scales = edge(table, group, trial.expression.used_variables)
    names = trial.expression.constants[:_MAX_CONSTANTS]
    ways: list[tuple[str, Constants | None]] = [("as it is", trial.fitted)]
    ways += [(label, trial.refitted(loss=loss, delta=delta)) for label, loss, delta in trial.losses()]
    for v in scales[:_MAX_TOPS]:
        rung = rungs(trial.table, v.symbol)
        ways.append(_without_top(trial, rung, f"without the top rung of {v.symbol}"))
    if len(scales) > 1:
        cost = np.sum([position(trial.table, v)[0] for v in scales], axis=0)
        label = "*".join(v.symbol for v in scales[:_MAX_TOPS])
        ways.append(_without_top(trial, levels(cost, 0.05, _MAX_RUNGS), f"without the top rung of {label}"))
    said = [math.nan if k is None else float(trial.said(k, point[None])[0]) for _, k in ways]
    more = len(trial.expression.constants) - len(names)
    lines = [
        _formula(trial) + _of(table, group),
        f"the edge: {_place(table, point)}" + (" (the largest run, moved a typical step outwards)" if scales else ""),
        f"way of fitting | {name} at the edge | " + " | ".join(names) + (f" | and {more} more" if more > 0 else ""),
    ]
    for (label, constants), value in zip(ways, said, strict=True):
        if constants is None:
            lines.append(f"{label} | no fit: too few rows are left, or the formula has no value")
        else:
            lines.append(f"{label} | {_number(value)} | " + " | ".join(_number(constants[c]) for c in names))
    changes = [abs(v - said[0]) / trial.unit for v in said]
    known = [k for k, change in enumerate(changes) if k and math.isfinite(change)]
    if known:
        most = max(known, key=lambda k: changes[k])
        lines.append(f"the prediction moves by {_number(changes[most])} {_unit(trial)} at most ({ways[most][0]})")
        shares = {c: max(_change(ways[k][1], trial.fitted, c) for k in known) for c in names}
        loosest = max(names, key=lambda c: shares[c])
        lines.append(f"{loosest} moves most of the constants: by {_number(100 * shares[loosest])} % of itself")
    return Look(_bounded(lines), trial.n_fits)


def diagnosed(candidate: Candidate, table: Table, target: int, group: str) -> Look:
    """Return how each rung is predicted by the others, and which runs move the prediction at the edge."""
    trial = Trial(candidate, table, target, group)
    name = short(table.targets[target].column)
    _, point, scales = edge(table, group, trial.expression.used_variables)
    lines = [
        _formula(trial) + _of(table, group),
        f"residuals of {name}, root mean square: {_number(trial.sd)}; all that follows is counted in {_unit(trial)}",
    ]
    shown = [v for v in scales if np.ptp(trial.table.column(v.symbol)[trial.mine]) > 0][:_SHOWN_RUNGS_OF]
    if shown:
        lines.append(
            "rungs left out and predicted by the others: mean miss (measured less predicted), root mean square"
        )
    for v in shown:
        lines += _left_out(trial, v)
    found, n_left_out, n_runs = _influences(trial, point)
    if not found:
        return Look(_bounded([*lines, "no run could be left out: too few rows"]), trial.n_fits)
    which = "each run" if n_left_out == n_runs else f"each of the {n_left_out} of {n_runs} runs that count most"
    lines.append(f"{which} left out in turn: how far the prediction at {_place(table, point)} moves without it")
    for moves, label in found[:_SHOWN_RUNS]:
        lines.append(f"- {label}: {moves:+.2g}")
    return Look(_bounded(lines), trial.n_fits)


@dataclass(frozen=True)
class _Both:
    """Two formulas side by side."""

    one: Trial
    other: Trial
    name: str

    def apart(self, X: Array) -> Array:
        """Return B less A at points (n_points, n_variables)."""
        with np.errstate(invalid="ignore"):
            return self.other.said(self.other.fitted, X) - self.one.said(self.one.fitted, X)

    def pair(self, x: Array) -> str:
        """Return what both say at a point (n_variables,)."""
        a, b = (float(t.said(t.fitted, x[None])[0]) for t in (self.one, self.other))
        return f"{_number(a)}, {_number(b)} ({_signed((b - a) / self.one.unit)})"

    def farthest(self, X: Array, where: str) -> str:
        """Return where they differ most among points."""
        apart = np.abs(self.apart(X))
        if not np.isfinite(apart).any():
            return f"{where}: one of them has no value anywhere"
        k = int(np.nanargmax(np.where(np.isfinite(apart), apart, np.nan)))
        return f"{where} they differ most at {_place(self.one.table, X[k])}: {self.name} by A, by B {self.pair(X[k])}"


def _on_folds(first: Candidate, second: Candidate, folds: Sequence[Fold], target: int) -> list[str]:
    """Return the errors on unseen rungs, fold by fold, of one target."""
    a, b = (c.judgements[target].fold_errors for c in (first, second))
    if not len(a) == len(b) == len(folds):
        return []
    told = [
        f"{short(fold.name)}: {_number(x)}, {_number(y)}" for fold, x, y in zip(folds[:_MAX_FOLDS], a, b, strict=False)
    ]
    known = [(x, y) for x, y in zip(a, b, strict=True) if math.isfinite(x) and math.isfinite(y)]
    better = sum(x < y for x, y in known)
    count = f"A has the lower error on {better} of {len(known)}"
    return [f"error on unseen rungs, A then B ({count}): " + "; ".join(told)]


def _without_top(trial: Trial, rung: Rows, label: str) -> tuple[str, Constants | None]:
    """Return the fit without the top rung of the group."""
    top = int(rung[trial.mine].max())
    return label, trial.refitted(np.flatnonzero(~(trial.mine & (rung == top))))


def _left_out(trial: Trial, variable: Variable) -> list[str]:
    """Return the ends and the worst rungs between them, each left out and predicted by the others."""
    z, same = position(trial.table, variable)
    rung = np.full(trial.table.n_rows, -1)
    rung[trial.mine] = levels(z[trial.mine], same, _MAX_RUNGS)
    x = trial.table.column(variable.symbol)
    last = int(rung.max())
    ends, between = [], []
    for k in range(last + 1):
        out = rung == k
        constants = trial.refitted(np.flatnonzero(~out))
        low, high = float(x[out].min()), float(x[out].max())
        place = f"{variable.symbol} = {low:.3g}" + (f" to {high:.3g}" if high > 1.001 * low else "")
        place += " (lowest)" if k == 0 else " (highest)" if k == last else ""
        if constants is None:
            ends.append(f"- {place}: no fit without it")
            continue
        miss = (trial.y[out] - trial.said(constants, trial.table.X[out])) / trial.unit
        told = f"- {place}: {_signed(float(miss.mean()))}, {_number(_rms(miss))}"
        if k in (0, last):
            ends.append(told)
        else:
            between.append((-np.nan_to_num(_rms(miss), nan=np.inf), k, told))
    worst = [told for _, _, told in sorted(between)[:_WORST_RUNGS]]
    return [*ends[-2:], *worst]


def _influences(trial: Trial, point: Array) -> tuple[list[tuple[float, str]], int, int]:
    """Return by how much runs move the prediction at a point, the strongest first; how many were left out; of how many.

    Each of those that count most to first order is left out, and the formula fitted again.
    """
    guess = np.abs(trial.influences(point)) if not trial.joint else np.abs(np.nan_to_num(trial.residual())) * trial.mine
    numbers = np.unique(trial.clusters[trial.mine])
    total = np.zeros(int(trial.clusters.max()) + 1)
    np.add.at(total, trial.clusters, guess)
    most = int(np.clip(_ROW_FITS // max(trial.table.n_rows, 1), _LEAST_INFLUENCES, _MAX_INFLUENCES))
    chosen = numbers[np.argsort(-total[numbers], kind="stable")[:most]]
    before = float(trial.said(trial.fitted, point[None])[0])
    found = []
    for number in chosen.tolist():
        rows = np.flatnonzero((trial.clusters == number) & trial.mine)
        constants = trial.refitted(np.setdiff1d(np.arange(trial.table.n_rows), rows))
        if constants is None:
            continue
        moves = (float(trial.said(constants, point[None])[0]) - before) / trial.unit
        if math.isfinite(moves):
            found.append((moves, _run(trial, rows)))
    return sorted(found, key=lambda item: (-abs(item[0]), item[1])), len(chosen), len(numbers)


def _run(trial: Trial, rows: Rows) -> str:
    """Return a run's name, where it lies and what was measured last."""
    table, last = trial.table, rows[-1]
    name = f"run {short(str(table.runs[table.run_index[last]]))}: " if table.runs else ""
    return f"{name}{_place(table, table.X[last])}, measured {_number(float(trial.y[last]))}"


def _away(table: Table, group: str) -> Array:
    """Return points (n_points, n_variables) away from the middle of the data through the rows of a group."""
    X, _, rows = walks_away(table)
    points: Array = np.array(X).reshape(-1, len(table.variables))
    mine: Array = points[table.group_index[rows] == table.groups.index(group)]
    return mine


def _formula(trial: Trial) -> str:
    text = trial.expression.text
    shared = f" (shared: {', '.join(trial.shared[:_MAX_CONSTANTS])})" if trial.shared else ""
    return (text if len(text) <= _MAX_FORMULA else text[: _MAX_FORMULA - 1] + "…") + shared[:80]


def _unit(trial: Trial) -> str:
    return "standard deviations of the target" if trial.exact else "root mean squares of the residuals"


def _of(table: Table, group: str) -> str:
    return f", {short(table.group_column or 'group')} {short(group)}" if len(table.groups) > 1 else ""


def _place(table: Table, x: Array) -> str:
    """Return a point on a line; of many variables the first ones."""
    shown = [f"{s} = {v:.3g}" for s, v in zip(table.symbols[:_MAX_DIRECTIONS], x.tolist(), strict=False)]
    return ", ".join(shown) + (", ..." if len(table.symbols) > len(shown) else "")


def _change(constants: Constants | None, usual: Constants, name: str) -> float:
    """Return by which share of itself a constant has moved; 0 where it is zero in both."""
    if constants is None:
        return 0.0
    size = max(abs(usual[name]), 1e-300)
    return abs(constants[name] - usual[name]) / size


def _rms(x: Array) -> float:
    return math.sqrt(float(np.mean(x**2))) if len(x) else math.nan


def _number(x: float) -> str:
    return f"{x:.4g}" if math.isfinite(x) else "no value"


def _signed(x: float) -> str:
    return f"{x:+.2g}" if math.isfinite(x) else "no value"


def _bounded(lines: Sequence[str]) -> str:
    """Return whole lines up to `MAX_LOOK` characters, and a word where some had to go."""
    text, cut = "", "(cut)"
    for k, line in enumerate(lines):
        room = MAX_LOOK - len(text) - (0 if k == len(lines) - 1 else len(cut) + 1)
        if len(line) + 1 > room:
            return text + cut
        text += line + "\n"
    return text.rstrip("\n")
