"""Where a law's own interval ends what it says: the last of the limits of a verdict (see sld/search/choosing/reach.py).

Two things are asked. The interval of a new run at a point says something as long as it is narrower than what the runs
of the group span, which anybody knows without a law, or leaves the value open by a factor of two at most (what grows by
factors leaves its range soon, and may be well known still). Where residuals are counted as logarithms, the ranges are
those of the logarithms as well.

The same is asked of smaller runs than there are, as far down as the folds have tested steps up.

And the law has to tell points beyond the data apart: the larger half of all runs is moved outwards, and the interval of
the law itself there (root mean square of its widths) may be as wide as what the law says varies (one standard
deviation of its predictions for these runs, where they are and where they are moved to). On the tables to build on, of
the laws that pass at 0.35 of the range, a typical step to runs held out, 96 % had an R² of 0.5 or more there, and of
those with an R² of 0.9 or more 15 % did not pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sld.analysis.intervals import predict_intervals, refit_to
from sld.core.arrays import Rows
from sld.core.numbers import short
from sld.data.axes import position, positions_of
from sld.data.card import Variable
from sld.data.splits import Fold
from sld.data.table import ALL_ROWS, Array, Table
from sld.fit.noise import ErrorScale
from sld.fit.parts import Flags
from sld.laws.interval_record import about_target, spans_of
from sld.laws.law import Law
from sld.search.choosing.reach import Frontier, farther, goes_beyond, largest
from sld.search.choosing.verdict import Verdict
from sld.search.judging.baselines import baselines
from sld.search.outcome import Discovery

SPANS = 1.0  # ranges of the target in the group's data that an interval may span
FACTOR = 2.0  # between the ends of an interval that says something in any case
TOLD = 1.0  # standard deviations of the predictions that the law's interval may be wide
_LEAST_TOLD = 0.1  # of the range: who cannot be told so far beyond the data should not be asked there
_MOVES = tuple(0.05 * 1.5**k for k in range(15))  # of the range: to 15 times, nearly a thousand for a few rungs
_LOWEST = 1 / 3  # of what a variable spans, left out to see whether the form can be carried down
_MOVED = 200  # rows, evenly spread: more tell nothing new
_STEPS = 24
_AT_THE_EDGE = 1e-6  # of the range: what was printed and read again is at the edge, not beyond it
_LARGEST = 700.0  # logarithm of the largest number


def supported(found: Discovery) -> Discovery:
    """Return a discovery whose verdict, and the law's record of it, take the law's intervals into account."""
    judged = limit_by_intervals(found.verdict, found.law, found.table)
    law = replace(found.law, provenance={**found.law.provenance, "verdict": judged.to_json()})
    return replace(found, verdict=judged, law=law)


def about_planned(found: Discovery) -> Discovery:
    """Return a discovery whose verdict says whether the planned runs lie within what is supported, if any are."""
    sentence = _planned(found)
    if not sentence:
        return found
    judged = replace(found.verdict, planned=sentence)
    law = replace(found.law, provenance={**found.law.provenance, "verdict": judged.to_json()})
    return replace(found, verdict=judged, law=law)


def _planned(found: Discovery) -> str:
    table, aim = found.table, found.table.aim
    if aim is None:
        return ""
    unsupported = [k for k in range(aim.n_rows) if not _holds(found, aim, k)]
    every = "the planned run" if aim.n_rows == 1 else "both planned runs" if aim.n_rows == 2 else ""
    every = every or f"all {aim.n_rows} planned runs"
    if found.verdict.kind != "law":
        return "so do not rely on it for " + ("the planned run" if aim.n_rows == 1 else "any of the planned runs")
    if not unsupported:
        return f"{every} {'lies' if aim.n_rows == 1 else 'lie'} within that"
    worst = max(unsupported, key=lambda k: _size(table, aim, k))
    group = f" (group {aim.groups[aim.group_index[worst]]})" if len(table.groups) > 1 else ""
    where = ", ".join(f"{v.symbol} = {short(aim.column(v.symbol)[worst])}" for v in table.variables)
    if aim.n_rows == 1:
        return f"{every} at {where}{group} lies beyond that"
    many = every if len(unsupported) == aim.n_rows else f"{len(unsupported)} of {aim.n_rows} planned runs"
    return f"{many} {'lies' if len(unsupported) == 1 else 'lie'} beyond that, the farthest at {where}{group}"


def _holds(found: Discovery, aim: Table, k: int) -> bool:
    """Return whether a planned run lies within what is supported, and within the rows in what is no scale."""
    table, judged, group = found.table, found.verdict, aim.groups[aim.group_index[k]]
    if judged.kind != "law" or group not in table.groups:
        return False
    ends = judged.by_group.get(group, judged.reach)
    rows = table.group_index == table.groups.index(group)
    for i, v in enumerate(table.variables):
        if v.symbol not in found.law.used_variables:
            continue
        x, own = float(aim.column(v.symbol)[k]), table.X[rows, i]
        slack = _AT_THE_EDGE * max(float(np.ptp(own)), abs(x))
        top = ends[v.symbol] if v.symbol in ends else float(own.max())
        if not float(own.min()) - slack <= x <= top + slack:
            return False
    return True


def _size(table: Table, aim: Table, k: int) -> float:
    """Return how large a planned run is, beside the others: the logarithm of the product of its scale variables."""
    return sum(
        float(positions_of(table, v, aim.column(v.symbol)[k : k + 1])[0]) for v in table.variables if v.role == "scale"
    )


def limit_by_intervals(judged: Verdict, law: Law, table: Table) -> Verdict:
    """Return the verdict with support that ends where the law's interval spans more than the data do.

    From the largest runs of each group every scale variable is taken outwards, by itself and all together, and so is
    the point with the largest value of each.

    Args:
        judged: The verdict of the search; only a "law" can lose by it.
        law: The law with its intervals; without any nothing changes.
        table: The rows that it was fitted to.
    """
    if judged.kind != "law" or law.intervals is None or not judged.reach:
        return judged
    reach = judged.by_group or {ALL_ROWS: judged.reach}
    edges = judged.edges or {ALL_ROWS: judged.edge}
    limited: dict[str, dict[str, float]] = {}
    tested: dict[str, dict[str, float]] = {}
    steps_kept: list[dict[str, float]] = []
    silent = []
    for group, ends in reach.items():
        if group not in table.groups:
            continue
        variables = [v for v in table.variables if v.symbol in ends]
        steps = {v.symbol: _step(v, edges[group][v.symbol], ends[v.symbol]) for v in variables}
        kept = _kept(law, table, table.groups.index(group), variables, steps)
        steps_kept.append(kept or {})
        tested[group] = steps
        if kept is None:
            silent.append(group)
            limited[group] = dict(edges[group])
        else:
            limited[group] = {
                v.symbol: farther(v, edges[group][v.symbol], kept[v.symbol]) if kept[v.symbol] < steps[v.symbol]
                else ends[v.symbol]
                for v in variables
            }  # fmt: skip
    level = 100 * float(law.intervals.get("level", 0.9))
    if not goes_beyond(steps_kept):
        where = "where the data end" if 2 * len(silent) > len(limited) else "just beyond the data"
        why = f"its {level:g} % interval spans more than the data do, already {where}"
        return replace(
            judged,
            kind="weak",
            reasons=(*judged.reasons, why),
            reach=judged.edge,
            by_group=judged.edges,
        )
    told = told_apart(law, table)
    if told < _LEAST_TOLD:
        why = f"its {level:g} % interval is wider than its predictions differ, already just beyond the data"
        return replace(judged, kind="weak", reasons=(*judged.reasons, why), reach=judged.edge, by_group=judged.edges)
    judged = _with_down(judged, law, table, {g: tested[g] for g in reach if g in tested})
    by_group = {g: limited.get(g, dict(reach[g])) for g in reach}
    by_group = {
        g: _within(table, g, edges[g], ends, told) if g in table.groups else ends for g, ends in by_group.items()
    }
    return replace(judged, reach=largest(by_group), by_group=by_group if judged.by_group else {})


def _with_down(judged: Verdict, law: Law, table: Table, tested: Mapping[str, Mapping[str, float]]) -> Verdict:
    """Return the verdict with how far down the law is supported.

    Nothing in the folds asks for smaller runs, so the form is refitted without the lowest third of what each variable
    spans. If it then predicts these rows better than the nearest run's value does, a step down may be as long as that
    one, and no longer than the step up that the folds have tested.

    Args:
        judged: The verdict.
        law: The law with its intervals.
        table: The rows that it was fitted to.
        tested: Group to symbol of each scale variable to the natural logarithm of the step up.
    """
    longest = {v.symbol: longest_step_down(law, table, v) for v in table.variables if v.symbol in judged.reach}
    starts: dict[str, dict[str, float]] = {}
    down: dict[str, dict[str, float]] = {}
    for group, steps in tested.items():
        g = table.groups.index(group)
        variables = [v for v in table.variables if v.symbol in steps]
        kept = _kept_down(law, table, g, variables, {s: min(step, longest[s]) for s, step in steps.items()})
        rows = table.group_index == g
        starts[group] = {v.symbol: float(table.column(v.symbol)[rows].min()) for v in variables}
        down[group] = {v.symbol: farther(v, starts[group][v.symbol], -kept[v.symbol]) for v in variables}
    grouped = bool(judged.by_group)
    return replace(judged, down=_smallest(down), start=_smallest(starts), down_by_group=down if grouped else {})


def longest_step_down(law: Law, table: Table, variable: Variable) -> float:
    """Return the longest step down (natural logarithm) in which a refit predicts better than the nearest run does."""
    z = position(table, variable)[0]
    low = np.zeros(table.n_rows, dtype=np.bool_)
    steps = []
    for g in range(len(table.groups)):
        rows = np.flatnonzero(table.group_index == g)
        below = z[rows] < z[rows].min() + _LOWEST * float(np.ptp(z[rows]))
        if below.any() and not below.all():
            low[rows[below]] = True
            steps.append(float(z[rows[~below]].min() - z[rows].min()))
    kept = np.flatnonzero(~low)
    if not steps or np.bincount(table.group_index[kept], minlength=len(table.groups)).min() < 1:
        return 0.0
    test = np.flatnonzero(low)
    nearest = baselines(table, [Fold("lowest", kept, test)]).nearest[0]
    for j in range(len(table.targets)):
        said = refit_to(law, table, j, kept)
        if said is None or not ErrorScale.of(table, j).nmse(table.Y[:, j] - said, test) < nearest[j]:
            return 0.0
    return max(steps)


def _smallest(by_group: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    symbols = dict.fromkeys(s for ends in by_group.values() for s in ends)
    return {s: min(ends[s] for ends in by_group.values() if s in ends) for s in symbols}


def _kept_down(
    law: Law, table: Table, group: int, variables: Sequence[Variable], steps: Mapping[str, float]
) -> dict[str, float]:
    """Return the steps down within which the interval says something and the law keeps within its bounds.

    From the smallest runs along each variable and in their product, each variable by itself and all together.
    """
    frontier = Frontier(table, variables, group)
    names = [v.symbol for v in variables]
    size = np.sum([frontier.z[s][frontier.rows] for s in names], axis=0)
    lowest = [int(frontier.rows[np.argmin(frontier.z[s][frontier.rows])]) for s in names]
    rows = np.array(list(dict.fromkeys([*lowest, int(frontier.rows[np.argmin(size)])])), dtype=np.intp)
    shares = np.linspace(0.0, 1.0, _STEPS + 1)
    z = {s: frontier.z[s][rows][:, None] for s in names}
    X = np.stack([
        frontier.points({s: z[s] - (steps[s] if s in moved else 0.0) * shares for s in names}, rows)
        for moved in (*([s] for s in names), names)
    ])  # fmt: skip
    says = _says(law, table, group, X) & _within_bounds(law, table, group, X)
    first = np.where(says.all(axis=1), _STEPS + 1, np.argmin(says, axis=1))
    last = np.maximum(first - 1, 0)
    together = float(shares[last[len(names)]])
    return {s: min(float(shares[last[i]]), together) * steps[s] for i, s in enumerate(names)}


def _within_bounds(law: Law, table: Table, group: int, X: Array) -> Flags:
    """Return whether the law lies within the declared bounds at points, as `_says` does."""
    predicted = law.by_formula(_points(table, group, X))
    kept: Flags = np.asarray(np.isfinite(predicted).all(axis=1))
    for j, target in enumerate(table.targets):
        if target.lower is not None:
            kept &= predicted[:, j] >= target.lower
        if target.upper is not None:
            kept &= predicted[:, j] <= target.upper
    return np.asarray(kept.reshape(X.shape[:-1]).all(axis=1))


def _points(table: Table, group: int, X: Array) -> Table:
    """Return points (..., n_variables) of a group as a table without targets."""
    flat = X.reshape(-1, X.shape[-1])
    return replace(
        table.take(np.flatnonzero(table.group_index == group)[:1]),
        targets=(), X=flat, Y=np.empty((len(flat), 0)), group_index=np.zeros(len(flat), dtype=np.intp),
        own_shares=(), weights=None, yerr=None, runs=(), run_index=np.zeros(0, dtype=np.intp),
    )  # fmt: skip


def _step(variable: Variable, edge: float, end: float) -> float:
    """Return how far an end lies beyond an edge, as a natural logarithm."""
    if variable.log:
        return (end - edge) * variable.nats_per_unit
    return math.log(end / edge) if edge > 0 else 0.0


def _kept(
    law: Law, table: Table, group: int, variables: Sequence[Variable], steps: Mapping[str, float]
) -> dict[str, float] | None:
    """Return the steps within which the interval says something; None where it does not where the data end."""
    frontier = Frontier(table, variables, group)
    names = [v.symbol for v in variables]
    shares = np.linspace(0.0, 1.0, _STEPS + 1)
    z = {s: frontier.z[s][frontier.tops][:, None] for s in names}
    walks = [
        frontier.points({s: z[s] + (steps[s] if s in moved else 0.0) * shares for s in names}, frontier.tops)
        for moved in (*([s] for s in names), names)
    ]
    # a limit in several variables is read as a box, so its corner counts, whether or not there are runs near it
    walks.append(
        frontier.points(
            {
                s: np.broadcast_to(frontier.edge[s] + steps[s] * shares, (len(frontier.tops), len(shares)))
                for s in names
            },
            frontier.tops,
        )
    )
    X = np.stack(walks)  # (n_walks, n_rows, n_steps, n_variables)
    says = _says(law, table, group, X)  # (n_walks, n_steps)
    first = np.where(says.all(axis=1), _STEPS + 1, np.argmin(says, axis=1))
    if (first == 0).any():
        return None
    alone = {s: float(shares[first[i] - 1]) for i, s in enumerate(names)}
    together = float(shares[first[len(names) :].min() - 1])
    # each by itself as far as it goes is no claim on all of them at once
    return {s: min(alone[s], together) * steps[s] for s in names}


def _says(law: Law, table: Table, group: int, X: Array) -> Flags:
    """Return whether the interval says something at points (n_walks, n_rows, n_steps, n_variables), over the rows."""
    lower, upper = predict_intervals(law.bare, _points(table, group, X))
    says = np.ones(len(lower), dtype=np.bool_)
    rows = table.group_index == group
    assert law.intervals is not None
    for j, target in enumerate(table.targets):
        y = table.Y[rows, j]
        log = law.intervals["targets"][target.column].get("scale") == "log"
        says &= _narrow(lower[:, j], upper[:, j], float(y.min()), float(y.max()), log)
    return np.asarray(says.reshape(X.shape[:-1]).all(axis=1))


def lost_between(law: Law, points: Table) -> Flags:
    """Return where (n_points,) a law says nothing, of points beyond the runs in one variable and below in another.

    What a verdict says of each direction says nothing of a large model on few tokens.

    Args:
        law: A law with intervals; of one without nothing is known, and no point is named.
        points: The points that predictions are asked for, with the law's variables.
    """
    found = np.zeros(points.n_rows, dtype=np.bool_)
    scales = [v for v in law.variables if v.role == "scale" and v.symbol in law.used_variables]
    if law.intervals is None or len(scales) < 2:
        return found
    lower, upper = predict_intervals(law.bare, points)
    for g, group in enumerate(points.groups):
        rows = np.flatnonzero(points.group_index == g)
        for j, target in enumerate(law.targets):
            about = about_target(law, target.column)
            spans, (low, high) = spans_of(about, group if law.grouped else ALL_ROWS)
            above = np.zeros(len(rows), dtype=np.bool_)
            below = np.zeros(len(rows), dtype=np.bool_)
            for v in (v for v in scales if v.symbol in spans):
                x, (least, most) = points.column(v.column)[rows], spans[v.symbol]
                above |= x > most + _AT_THE_EDGE * abs(most)
                below |= x < least - _AT_THE_EDGE * abs(least)
            found[rows] |= above & below & ~_narrow(lower[rows, j], upper[rows, j], low, high, about["scale"] == "log")
    return found


def _narrow(lower: Array, upper: Array, low: float, high: float, log: bool) -> Flags:
    """Return whether intervals (n,) say more than that values lie between `low` and `high`."""
    with np.errstate(all="ignore"):
        width = upper - lower
        narrow = width <= SPANS * (high - low)
        ratio = np.where((lower > 0) & (upper > 0), np.log(upper / lower), np.inf)
        if log and low > 0:
            narrow &= ratio <= SPANS * math.log(high / low)
        return np.asarray(np.isfinite(width) & (narrow | (ratio <= math.log(FACTOR))))


def told_apart(law: Law, table: Table) -> float:
    """Return how far beyond the data a law tells runs apart, in ranges of the scale variables; infinite if always."""
    scales = [i for i, v in enumerate(table.variables) if v.role == "scale" and v.symbol in law.used_variables]
    rows = _larger_half(table, scales)
    if not scales or len(rows) < 2:
        return math.inf
    here = law.by_formula(_moved(table, rows, scales, 0.0))
    told = 0.0
    for move in _MOVES:
        points = _moved(table, rows, scales, move)
        low, high = predict_intervals(law.bare, points, of="law")
        there = law.by_formula(points)
        with np.errstate(all="ignore"):
            width = np.sqrt(np.mean(np.square(high - low), axis=0))
            if not (width <= TOLD * np.std(np.concatenate([here, there]), axis=0)).all():
                return told
        told = move
    return math.inf


def _larger_half(table: Table, scales: Sequence[int]) -> Rows:
    """Return the rows in the larger half of their group, by the product of the scale variables."""
    size = np.zeros(table.n_rows)
    for i in scales:
        z = position(table, table.variables[i])[0]
        for g in range(len(table.groups)):
            rows = table.group_index == g
            span = float(np.ptp(z[rows]))
            size[rows] += (z[rows] - z[rows].min()) / (span or 1.0)
    middle = np.array([np.median(size[table.group_index == g]) for g in range(len(table.groups))])
    rows = np.flatnonzero(size >= middle[table.group_index])
    return rows[np.linspace(0, len(rows) - 1, min(_MOVED, len(rows))).astype(np.intp)]


def _moved(table: Table, rows: Rows, scales: Sequence[int], move: float) -> Table:
    """Return rows with their scale variables moved outwards, by a share of what each spans in the group."""
    X = table.X[rows].copy()
    for i in scales:
        variable = table.variables[i]
        z = position(table, variable)[0]
        for g in range(len(table.groups)):
            own = table.group_index[rows] == g
            z_new = z[rows][own] + move * float(np.ptp(z[table.group_index == g]))
            X[own, i] = z_new / variable.nats_per_unit if variable.log else np.exp(np.minimum(z_new, _LARGEST))
    return replace(table.take(rows), X=X)


def _within(
    table: Table, group: str, edge: Mapping[str, float], ends: Mapping[str, float], told: float
) -> dict[str, float]:
    """Return where support ends in a group, if no farther than the law tells runs apart."""
    rows = table.group_index == table.groups.index(group)
    kept = {}
    for symbol, end in ends.items():
        variable = next(v for v in table.variables if v.symbol == symbol)
        most = told * float(np.ptp(position(table, variable)[0][rows]))
        kept[symbol] = end if math.isinf(most) else min(end, farther(variable, edge[symbol], most))
    return kept
