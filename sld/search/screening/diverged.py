"""Rows that look like diverged or broken runs, recognised from the table alone before any formula is tried.

One run that blew up pulls every formula towards itself, and every fold that judges it counts against the true law. A
row is set aside when its target lies absurdly far on the bad side of the rows around it, though nothing about its place
explains that: there is a good row that was given no more of any scale variable, and good rows on either side of it in
every other variable. The rows at the edge of a sweep, where a high loss is what the sweep was made to show, stay.

Failed runs come in twos and hide each other when each is compared with its neighbours. So the suspects, a share of the
rows that are worst against their neighbours, are all compared with the rest, as in Rosner's test (1983), and the
comparison is repeated until it names the same rows again. A group of a few rows cannot say by itself what is absurd.
Where groups were measured at the same places, their rows are compared once more all together, less the level of each.

Three things look alike and are not. Where several of the nearest rows are suspects, the place explains them: a region
of unstable runs, or noise with heavy tails. A peak, as of double descent, has shoulders. And the smallest run may just
be the steep end of the law, unless it stands beside a failed one and is as bad.

What a trainer writes for a number that it lost is no measurement either: a loss of exactly 0 or -1 among losses that
are far from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sld.core.arrays import Array, Mask, Rows
from sld.core.errors import UsageError
from sld.core.numbers import short
from sld.data.axes import position, same_level
from sld.data.table import Table
from sld.search.screening.dependence import nearest_rows

OUTLIERS = ("drop", "keep")  # what can be asked for

MOST = 0.2  # share of the rows that are compared; more than that is not an accident but the data
_NEIGHBOURS = 8  # enough for a median that a few failed ones among them do not move
_FEW_RUNS = 2  # of so few one may be half of the rows, and is no accident
_LEAST_ROWS = 6  # that are compared with each other
_LEAST_IN_GROUP = 3  # that tell the level of a group
_SIGMAS = 12.0  # beyond its neighbours, in robust standard deviations of all rows from theirs
_RANGES = 3.0  # and in ranges of those neighbours
_ALIKE = 0.15  # of its range: how near a hyperparameter or a share has to be
_MAX_ROWS = 6000  # distances are computed pair by pair
_AS_BAD = 0.8  # of the gap between good rows and a failed one: beyond it a row that was given less has failed too
_WEAK = 1 / 3  # of the distances above, for the other rows of a run that has failed in one
_OF_RUN = 0.5  # share of a run's rows that have failed, beyond which the whole run has
_LEAST_FACTOR = float(np.log(2.0))  # between groups
_MOST_NEAR = ((8, 2), (24, 3))  # of the nearest rows of other runs; where more are suspects, the place explains it
_SHOULDER = 3  # rows on either side that show whether one is on a peak
_RAISED = 0.02  # of the height of the peak
_RIDGE = 1e-6  # of the squared range: neighbours on one level say nothing of a slope
_LOST = (0.0, -1.0)  # what is written for a number that was lost
_MOST_LOST = 1 / 3  # share of the rows: more of one value is a measurement
_FAR_FROM_LOST = 0.3  # of the median: the other losses are at least so large
_STEPS = 20.0  # and as many times the last digit that was written


@dataclass(frozen=True)
class Diverged:
    """One row set aside.

    Attributes:
        row: Its index in the table.
        target: Index of the target that gives it away.
        value: Its value there.
        usual: The median of its neighbours.
        run: The run that is set aside as a whole, where it is more than this row.
    """

    row: int
    target: int
    value: float
    usual: float
    run: str = ""


def diverged_rows(table: Table) -> tuple[Diverged, ...]:
    """Return the rows that look diverged, ascending; whole runs where more than half of a run's rows do."""
    found: dict[int, Diverged] = {}
    weak: dict[int, Diverged] = {}
    z = np.array([position(table, v)[0] for v in table.variables]).reshape(len(table.variables), table.n_rows).T
    for j in range(len(table.targets)):
        lost = _lost(table, z, j)
        usual = float(np.median(table.Y[~lost, j]))
        for row in np.flatnonzero(lost).tolist():
            found.setdefault(row, Diverged(row, j, float(table.Y[row, j]), usual))
        for view in _views(table, z, j, lost):
            for strict, kept in ((1.0, found), (_WEAK, weak)) if table.runs else ((1.0, found),):
                for i, middle in view.failed(strict):
                    row = int(view.rows[i])
                    kept.setdefault(row, Diverged(row, j, float(table.Y[row, j]), view.back(i, middle)))
    return _with_runs(table, found, weak)


def without_diverged(table: Table, outliers: str = "drop") -> tuple[Table, tuple[Diverged, ...]]:
    """Return the table less the rows that look diverged, and these; the table as it is where `outliers` is "keep".

    Raises:
        UsageError: `outliers` is neither.
    """
    if outliers not in OUTLIERS:
        raise UsageError(f"outliers must be {' or '.join(map(repr, OUTLIERS))}, got {outliers!r}")
    found = diverged_rows(table) if outliers == "drop" else ()
    if not found:
        return table, ()
    notes = table.notes
    return replace(table.take(np.delete(np.arange(table.n_rows), [d.row for d in found])), notes=notes), found


def set_aside(table: Table, found: tuple[Diverged, ...]) -> list[dict[str, Any]]:
    """Return the rows set aside as law.json's provenance holds them; rows count from 1."""
    return [
        {
            "row": d.row + 1,
            "target": table.targets[d.target].column,
            "value": d.value,
            "usual": float(f"{d.usual:.6g}"),
            **({"run": d.run} if d.run else {}),
        }
        for d in found
    ]


def warning(table: Table, found: tuple[Diverged, ...]) -> str:
    """Say which rows look diverged, where they were kept."""
    return f"{_named(table, found)}; fitted with the others (--outliers drop leaves out, --loss huber pulls less)"


def sentence(table: Table, found: tuple[Diverged, ...]) -> str:
    """Say which rows were set aside and why."""
    they = "it was" if len({d.run or str(d.row) for d in found}) == 1 else "they were"
    return f"{_named(table, found)}; {they} left out of the search and of the fit"


def _named(table: Table, found: tuple[Diverged, ...]) -> str:
    whole = list(dict.fromkeys(d.run for d in found if d.run))
    alone = [d for d in found if not d.run]
    named = [f"{table.run_column} {run!r} ({_of_run(table, found, run)})" for run in whole[:5]]
    if more := whole[5:]:
        named.append(f"{table.run_column} {', '.join(map(repr, more))}")
    named += [
        f"row {d.row + 1} ({table.targets[d.target].column} {short(d.value, 4)} where its neighbours "
        f"have {short(d.usual, 4)})"
        for d in alone[:5]
    ]
    more_rows = f" and rows {', '.join(str(d.row + 1) for d in alone[5:])}" if len(alone) > 5 else ""
    n = len(alone) + len(whole)
    runs = "1 run looks" if n == 1 else f"{n} runs look"
    return f"{runs} diverged: {', '.join(named)}{more_rows}"


def _of_run(table: Table, found: Iterable[Diverged], run: str) -> str:
    rows = [d for d in found if d.run == run]
    worst = max(rows, key=lambda d: abs(d.value - d.usual))
    several = f"{len(rows)} rows, " if len(rows) > 1 else ""
    return (
        f"{several}{table.targets[worst.target].column} {short(worst.value, 4)} where others "
        f"have {short(worst.usual, 4)}"
    )


def _lost(table: Table, z: Array, target: int) -> Mask:
    """Return a mask of losses that are what a trainer writes for a number it has lost: 0 or -1 among larger ones."""
    y = table.Y[:, target]
    none = np.zeros(len(y), dtype=np.bool_)
    lost: Mask = np.isin(y, _LOST)
    good = np.flatnonzero(~lost)
    if table.targets[target].better != "lower" or not lost.any() or lost.sum() > _MOST_LOST * len(y):
        return none
    if not (y[good] > 0).all() or y[good].min() < _STEPS * _last_digit(y[good]):
        return none  # a loss that gets near zero may be rounded to it
    if y[good].min() >= _FAR_FROM_LOST * float(np.median(y[good])):
        return lost
    # counts of errors do reach zero, but then those of larger runs are next to it
    scale = np.array([variable.role == "scale" for variable in table.variables])
    for i in np.flatnonzero(lost) if scale.any() else ():
        larger = good[(table.group_index[good] == table.group_index[i]) & (z[good] >= z[i])[:, scale].all(axis=1)]
        none[i] = len(larger) > 0 and y[larger].min() >= _FAR_FROM_LOST * float(np.median(y[_nearest(z, good, int(i))]))
    return none


def _nearest(z: Array, rows: Rows, i: int) -> Rows:
    span = np.ptp(z, axis=0)
    step = (z[rows] - z[i]) / np.where(span > 0, span, 1.0)
    return np.asarray(rows[np.argsort(np.square(step).sum(axis=1), kind="stable")[:_NEIGHBOURS]])


def _last_digit(values: Array) -> float:
    """Return the unit of the last decimal that is written for any of the values, at least 1e-9 of the largest."""
    size = float(np.abs(values).max())
    for power in range(12):
        unit = 10.0**-power
        if unit < 1e-9 * size or (np.abs(values / unit - np.round(values / unit)) < 1e-6).all():
            return unit
    return 1e-12


def _with_runs(table: Table, found: dict[int, Diverged], weak: dict[int, Diverged]) -> tuple[Diverged, ...]:
    """Add the other rows of runs that have failed in most of theirs."""
    for run in np.unique(table.run_index[sorted(found)]).tolist() if table.runs and found else ():
        rows = np.flatnonzero(table.run_index == run).tolist()
        bad = [row for row in rows if row in found or row in weak]
        if len(bad) <= _OF_RUN * len(rows) or (table.run_index == run).all():
            continue
        example = next(found[row] for row in rows if row in found)
        for row in rows:
            known = found.get(row) or weak.get(row)
            found[row] = replace(
                known or replace(example, row=row, value=float(table.Y[row, example.target])), run=table.runs[run]
            )
    return tuple(found[row] for row in sorted(found))


# --- rows that are compared -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _View:
    """Rows that are compared with each other.

    Attributes:
        table: Where they are from.
        rows: Their numbers there.
        z: (n, n_variables) positions.
        worse: (n,) the target, growing as runs get worse; less the level of the group where groups are compared.
        level: (n,) what was taken off.
        sign: 1 where a lower target is better, else -1.
        log: Whether `worse` is a logarithm.
        near: How far a neighbour may be, in ranges of each variable.
        least: How far beyond its neighbours a row is at least.
    """

    table: Table
    rows: Rows
    z: Array
    worse: Array
    level: Array
    sign: float
    log: bool = False
    near: float = np.inf
    least: float = 0.0
    _nearest: dict[int, Rows] = field(default_factory=dict)  # row to all rows, from the nearest on

    def back(self, i: int, value: float) -> float:
        """Return a value of `worse` in the target's units, at the level of row i."""
        value = self.sign * (value + float(self.level[i]))
        return float(np.exp(value)) if self.log else value

    def failed(self, strict: float) -> list[tuple[int, float]]:
        """Return (row of the view, median of its neighbours) for rows far worse than the others; see the module."""
        n = len(self.rows)
        run = self.table.run_index[self.rows] if self.table.runs else np.arange(n)
        sizes = np.bincount(run)
        # a run with many checkpoints may be a large share of the rows
        most = max(int(MOST * n), int(sizes.max()) if (sizes > 0).sum() > _FEW_RUNS else 0)
        if n < _LEAST_ROWS or not most:
            return []
        span = np.ptp(self.z, axis=0)
        scaled = self.z / np.where(span > 0, span, 1.0)
        usual = np.median(self.worse[nearest_rows(scaled, min(_NEIGHBOURS, n - 1))], axis=1)
        order = np.argsort(usual - self.worse, kind="stable")
        while most:
            # where a place has few rows, many suspects leave nobody to compare them with
            if (found := self._of_suspects(scaled, run, order[:most], strict)) is not None:
                return found
            most //= 2
        return []

    def _of_suspects(self, scaled: Array, run: Rows, chosen: Rows, strict: float) -> list[tuple[int, float]] | None:
        """Return those of the chosen rows that have failed; None where not even one is absurd beside the others."""
        suspects = {int(i): 0.0 for i in chosen}
        good = np.ones(len(self.rows), dtype=np.bool_)
        while suspects:
            good[:] = True
            good[list(suspects)] = False
            rest = self.worse[good]
            bulk = float(np.subtract(*np.percentile(rest, [90, 10])))  # what the bulk of the runs spans
            # no row is further beyond its neighbours than beyond the best: most tables end here, which costs little
            best, least = float(rest.min()), max(strict * bulk, self.least)
            far = [i for i in suspects if float(self.worse[i]) - best > least]
            far = [i for i in far if self._absurd(scaled, good, i, bulk, strict) is not None]
            # the first rest lacks many good rows; with them back, what was absurd must still be so
            usual = max(_SIGMAS * _scatter(scaled[good], rest), bulk) if far else 0.0
            beside = {i: self._absurd(scaled, good, i, usual, strict) for i in far}
            named = {i: middle for i, middle in beside.items() if middle is not None}
            suspects, settled = named, len(named) == len(suspects)
            if settled:
                break
        if not suspects:
            return None
        peaks = {i for i in suspects if self._on_peak(good, i)}
        explained = {i for i in suspects if not self._alone(scaled, good, run, i) or self._beside(peaks, i)}
        failed = {
            i: m for i, m in suspects.items() if i not in explained and self._enclosed(self._unhurt(scaled, good, i), i)
        }
        return self._with_worse(failed) if failed else []

    def _alone(self, scaled: Array, good: Mask, run: Rows, i: int) -> bool:
        """Tell whether few of the nearest rows of other runs are suspects, too: a region of bad runs is no accident."""
        others = np.flatnonzero(run != run[i])
        distance = np.square(scaled[others] - scaled[i]).sum(axis=1)
        near = others[np.argsort(distance, kind="stable")]
        return all(int((~good[near[:n]]).sum()) <= most for n, most in _MOST_NEAR)

    def _beside(self, peaks: set[int], i: int) -> bool:
        """Tell whether a row is the top of a peak, or differs from one in a single variable."""
        return any(int((np.abs(self.z[k] - self.z[i]) > self._same()).sum()) <= 1 for k in peaks)

    def _close(self, scaled: Array, good: Mask, i: int) -> Rows:
        nearest = self._nearest.get(i)
        if nearest is None:
            distance = np.square(scaled - scaled[i]).sum(axis=1)
            nearest = self._nearest[i] = np.argsort(distance, kind="stable")
        # a few rows are all neighbours, and then the law itself makes them differ
        most = min(_NEIGHBOURS, max(_NEIGHBOURS // 2, len(self.rows) // 3))
        close = nearest[good[nearest]][:most]
        return np.asarray(close[(np.abs(scaled[close] - scaled[i]) <= self.near).all(axis=1)])

    def _unhurt(self, scaled: Array, good: Mask, i: int) -> Mask:
        """Return a mask of the good rows that are no worse than the neighbours of a row."""
        return np.asarray(good & (self.worse <= self.worse[self._close(scaled, good, i)].max()))

    def _absurd(self, scaled: Array, good: Mask, i: int, usual: float, strict: float) -> float | None:
        """Return the median of the good neighbours of a row that is absurd beside them and all good rows, or None.

        `usual` is by how much good rows differ.
        """
        if good.sum() < _LEAST_ROWS - 2:
            return None
        close = self._close(scaled, good, i)
        if len(close) < _LEAST_IN_GROUP:
            return None
        around = self.worse[close]
        worst = float(around.max())
        least = strict * max(usual, _RANGES * (worst - float(around.min())))
        return float(np.median(around)) if float(self.worse[i]) - worst > max(least, self.least) else None

    def _on_peak(self, good: Mask, i: int) -> bool:
        """Tell whether the row is the top of a peak: the rows on either side of it along a variable are raised, too."""
        step, same = self.z - self.z[i], self._same()
        if (good & (np.abs(step) <= same).all(axis=1)).any():
            return False
        for v in range(step.shape[1]):
            line = (np.abs(np.delete(step, v, axis=1)) <= np.delete(same, v)).all(axis=1)
            beyond = [line & (side * step[:, v] > same[v]) for side in (-1.0, 1.0)]
            next_to = [int(np.argmin(np.where(side, np.abs(step[:, v]), np.inf))) for side in beyond if side.any()]
            if len(next_to) == 2 and not good[next_to].any() and self.worse[next_to].max() < self.worse[i]:
                return True  # three in a row, the middle one highest
            sides = [np.flatnonzero(side & good) for side in beyond]
            if min(len(side) for side in sides) < _SHOULDER:
                continue
            rises = []
            for rows in sides:
                rows = rows[np.argsort(np.abs(step[rows, v]), kind="stable")]
                rises.append(float(self.worse[rows[0]] - self.worse[rows[1:_SHOULDER]].max()))
            if min(rises) > _RAISED * (float(self.worse[i]) - float(self.worse[good].min())):
                return True
        return False

    def _enclosed(self, good: Mask, i: int) -> bool:
        """Tell whether good rows show that the place of row `i` does not explain its target."""
        z = self.z
        step = z - z[i]  # (n_rows, n_variables)
        same = self._same()
        alike = np.abs(step) <= np.maximum(same, _ALIKE * np.ptp(z, axis=0))
        scale = self._scale()
        if (good & (np.abs(step) <= same).all(axis=1)).any():
            return True  # the same run again, and it went well
        if scale.any() and not (good & (step <= same)[:, scale].all(axis=1) & alike[:, ~scale].all(axis=1)).any():
            return False  # no run with nearly the same settings was given as little, or less, and did well
        for v in np.flatnonzero(~scale):
            elsewhere_alike = good & np.delete(alike, v, axis=1).all(axis=1)
            below, above = (elsewhere_alike & side for side in (step[:, v] < -same[v], step[:, v] > same[v]))
            if not (below.any() and above.any()):
                return False  # at the edge of a sweep
        return True

    def _same(self) -> Array:
        return np.array([same_level(self.z[:, v], True) for v in range(self.z.shape[1])]) + 1e-12

    def _scale(self) -> Mask:
        return np.array([variable.role == "scale" for variable in self.table.variables])

    def _with_worse(self, middles: dict[int, float]) -> list[tuple[int, float]]:
        """Add rows that were given less than a failed one, in the same place otherwise, and did as badly.

        By themselves they might be the steep end of the law; beside a failed run they are on its level.
        """
        good = np.ones(len(self.rows), dtype=np.bool_)
        good[list(middles)] = False
        same, scale, group = self._same(), self._scale(), self.table.group_index[self.rows]
        for i in np.flatnonzero(good).tolist() if scale.any() else ():
            others = good.copy()
            others[i] = False
            best = float(self.worse[others].max())
            for k, middle in list(middles.items()):
                step = self.z[i] - self.z[k]
                beside = (step[scale] <= same[scale]).all() and (np.abs(step[~scale]) <= same[~scale]).all()
                if group[i] == group[k] and beside and self.worse[i] - best > _AS_BAD * (self.worse[k] - best) > 0:
                    middles[i] = middle
                    break
        return sorted(middles.items())


def _scatter(scaled: Array, worse: Array) -> float:
    """Return the robust standard deviation of rows about the plane through their nearest ones."""
    n, v = scaled.shape
    k = min(max(_NEIGHBOURS // 2, v + 2), n - 1)
    near = nearest_rows(scaled, k)
    design = np.concatenate([np.ones((n, k, 1)), scaled[near] - scaled[:, None, :]], axis=2)  # (n, k, 1 + v)
    square = design.transpose(0, 2, 1) @ design + _RIDGE * np.diag([0.0, *[1.0] * v])
    middle = np.linalg.solve(square, design.transpose(0, 2, 1) @ worse[near][:, :, None])[:, 0, 0]
    return 1.4826 * float(np.median(np.abs(worse - middle)))


def _views(table: Table, z: Array, target: int, lost: Mask) -> Iterator[_View]:
    """Yield the rows that are compared: each group by itself, and all groups less their levels."""
    index, y = table.group_index, table.Y[:, target]
    sign = 1.0 if table.targets[target].better == "lower" else -1.0
    for g in range(len(table.groups)):
        rows = np.flatnonzero((index == g) & ~lost)
        if _LEAST_ROWS <= len(rows) <= _MAX_ROWS:
            yield _View(table, rows, z[rows], sign * y[rows], np.zeros(len(rows)), sign)
    counts = np.bincount(index[~lost], minlength=len(table.groups))
    rows = np.flatnonzero(~lost & (counts >= _LEAST_IN_GROUP)[index])
    # groups differ by factors; where a target has no logarithm their rows cannot be put on one level
    if len(table.groups) > 1 and _LEAST_ROWS <= len(rows) <= _MAX_ROWS and (y[rows] > 0).all():
        worse = sign * np.log(y[rows])
        level = _levels(z[rows], worse, index[rows])
        yield _View(table, rows, z[rows], worse - level, level, sign, True, _ALIKE, _LEAST_FACTOR)


def _levels(z: Array, value: Array, index: Rows) -> Array:
    """Return (n_rows,) the level of each row's group: the median of its rows beside those of other groups there."""
    span = np.ptp(z, axis=0)
    scaled = z / np.where(span > 0, span, 1.0)
    near = nearest_rows(scaled, min(3 * _NEIGHBOURS, len(z) - 1))
    level = np.zeros(len(z))
    for _ in range(3):
        beside = value - np.median((value - level)[near], axis=1)
        for g in np.unique(index):
            own = np.sort(beside[index == g])
            level[index == g] = own[(len(own) - 1) // 2]  # of four rows, two may have failed
    return level
