"""Stretches of one run joined: what was logged before a resume counts up to where the later stretch begins.

A later stretch whose counter begins anew is either the rest of the run or a new start of it. A counter that went on
(`global_step`, tokens) decides; without one the loss does: where the later stretch begins nearer to the end of the
earlier one than to its beginning, it is the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sld.core.arrays import Array
from sld.core.numbers import exact
from sld.data.collecting.account import Kind, Remark, listed
from sld.data.collecting.counters import PROGRESS, TOKENS, first_known, folded
from sld.data.importers.attempt import Attempt, Cell, Series

_FEW = 2  # points on both sides of a fall of the counter that make two stretches of a series


@dataclass(frozen=True)
class Joined:
    """An attempt made of several, and what was done, for the account."""

    attempt: Attempt
    remarks: tuple[tuple[Kind, str], ...] = ()


def joined(attempts: Sequence[Attempt]) -> Joined:
    """Join the stretches of one run in their order."""
    ordered = sorted(attempts, key=lambda a: a.order)
    remarks: list[tuple[Kind, str]] = []
    whole = _settled(ordered[0], remarks)
    for later in ordered[1:]:
        whole = _pair(whole, _settled(later, remarks), remarks)
    return Joined(whole, tuple(remarks))


def as_remarks(found: Joined, run: str) -> list[Remark]:
    """Return what was done as remarks on a run."""
    return [Remark(kind, run, sentence) for kind, sentence in found.remarks]


def _pair(a: Attempt, b: Attempt, remarks: list[tuple[Kind, str]]) -> Attempt:
    """Return two stretches as one."""
    shared = [name for name in b.series if name in a.series and len(a.series[name]) and len(b.series[name])]
    config = _merged(a.config, b.config, remarks if shared else [])
    base = replace(
        b,
        name=a.name,
        place=a.place,
        config=config,
        summary={**a.summary, **b.summary},
        order=a.order,
        follows=a.follows,
        part_of=a.part_of,
        notes=(*a.notes, *b.notes),
        state=b.state if b.series or not a.series else a.state,
    )
    if not shared:  # other metrics, or one of them has none at all
        return replace(base, series={**a.series, **b.series})
    if all(_extends(a.series[name], b.series[name]) for name in shared):
        return replace(base, series={**a.series, **b.series})
    first = min(float(b.series[name].steps.min()) for name in shared)
    begin = min(float(a.series[name].steps.min()) for name in shared)
    end = max(float(a.series[name].steps.max()) for name in shared)
    if b.resumes_at is not None and b.resumes_at > begin:
        first = min(first, b.resumes_at)
    if first <= begin:
        shift = _shift(a, b, shared)
        if shift is None:
            remarks.append(
                (
                    "restarted",
                    f"started anew at step {exact(first)} after {exact(end)}; the earlier start does not count",
                )
            )
            return replace(base, config=dict(b.config) or config)
        remarks.append(
            (
                "resumed",
                f"its counter began again at {exact(first)} after {exact(end)}; moved on by {exact(shift)} steps",
            )
        )
        b = replace(b, series={k: Series.of(s.pairs()[0] + shift, s.pairs()[1]) for k, s in b.series.items()})
        first += shift
    elif first <= end:
        gone = sum(int((a.series[name].steps >= first).sum()) for name in shared)
        remarks.append(
            ("resumed", f"resumed at step {exact(first)}; {gone} points logged before from there on do not count")
        )
    else:
        remarks.append(("resumed", f"resumed at step {exact(first)}, after {exact(end)}"))
    kept = {name: _before(series, first) for name, series in a.series.items()}
    return replace(base, series={**kept, **{k: _after(kept.get(k), s, k) for k, s in b.series.items()}})


def _before(series: Series, step: float) -> Series:
    keep = series.steps < step
    return series if keep.all() else Series(series.steps[keep], series.values[keep])


def _after(earlier: Series | None, later: Series, name: str) -> Series:
    """Return a series with its later stretch, whose counts of tokens go on where they began again."""
    if earlier is None or not len(earlier):
        return later
    (x, y), (u, v) = earlier.pairs(), later.pairs()
    if first_known((*TOKENS, *PROGRESS), [name]) and len(v) and v[0] < y[-1] and (np.diff(y) >= 0).all():
        v = v + y[-1]
    return Series.of(np.concatenate([x, u]), np.concatenate([y, v]))


def _extends(a: Series, b: Series) -> bool:
    """Whether b holds all of a: a file that was copied while it grew, or a history that every checkpoint repeats."""
    n = len(a)
    return (
        len(b) >= n and np.array_equal(a.steps, b.steps[:n]) and np.array_equal(a.values, b.values[:n], equal_nan=True)
    )


def _shift(a: Attempt, b: Attempt, shared: Sequence[str]) -> float | None:
    """Return by how many steps a stretch whose counter began again is to be moved; None if it is a new start."""
    for wanted in PROGRESS:
        name = first_known((wanted,), shared)
        if name is None:
            continue
        (x, counter), (u, v) = a.series[name].pairs(), b.series[name].pairs()
        if not len(v) or v[0] <= counter[0] or len(x) < 2 or not (np.diff(counter) > 0).all():
            continue
        # where in the earlier stretch the counter had this value, beyond its end at the same pace
        at = float(np.interp(v[0], counter, x))
        if v[0] > counter[-1]:
            at = float(x[-1] + (v[0] - counter[-1]) * (x[-1] - x[0]) / (counter[-1] - counter[0]))
        return float(round(at - u[0]))
    name = next((n for n in shared if "loss" in folded(n)), shared[0])
    (x, y), (u, v) = a.series[name].pairs(), b.series[name].pairs()
    y, v = y[np.isfinite(y)], v[np.isfinite(v)]
    if len(y) < 2 or not len(v) or not abs(v[0] - y[-1]) < abs(v[0] - y[0]):
        return None
    return float(x[-1] + _spacing(x) - u[0])


def _spacing(steps: Array) -> float:
    return float(np.median(np.diff(steps))) if len(steps) > 1 else 1.0


def _merged(a: Mapping[str, Cell], b: Mapping[str, Cell], remarks: list[tuple[Kind, str]]) -> dict[str, Cell]:
    """Return the settings of both: a resume may have dropped some, and the later ones count."""
    given = {k: v for k, v in b.items() if v is not None}
    changed = [
        f"{k} from {a[k]} to {v}" for k, v in given.items() if a.get(k) is not None and a[k] != v and a[k] == a[k]
    ]
    if changed:
        remarks.append(("changed", f"settings changed at a resume: {listed(changed, 4)}"))
    return {**a, **given}


def _settled(attempt: Attempt, remarks: list[tuple[Kind, str]]) -> Attempt:
    """Return an attempt whose metrics have each step once, in order; what came later counts."""
    heads: dict[str, Series] = {}
    tails: dict[str, Series] = {}
    alone: dict[str, Series] = {}
    again = twice = 0
    for name, series in attempt.series.items():
        k = _new_start(series.steps)
        if k:
            heads[name] = Series(series.steps[:k], series.values[:k])
            tails[name] = Series(series.steps[k:], series.values[k:])
        else:
            alone[name], gone = _ordered(series)
            falls = bool((series.steps[1:] < series.steps[:-1]).any())
            again, twice = again + gone * falls, twice + gone * (not falls)
    if again:
        text = f"{again} points were logged again from an earlier step on; the later ones count"
        remarks.append(("resumed", text))
    if twice:
        remarks.append(("repeated", f"{twice} points have a second value at the same step; the later one counts"))
    if not tails:
        return replace(attempt, series=alone)
    first = _settled(replace(attempt, series=heads, notes=()), remarks)
    second = _settled(replace(attempt, series=tails), remarks)
    both = _pair(first, second, remarks)
    return replace(both, series={**both.series, **alone})


def _new_start(steps: Array) -> int:
    """Return where a series begins again at or before its first step; 0 where it does not."""
    if len(steps) < 2 * _FEW or (steps[1:] > steps[:-1]).all():
        return 0
    falls = np.flatnonzero((steps[1:] <= steps[0]) & (steps[1:] < steps[:-1])) + 1
    falls = falls[(falls >= _FEW) & (falls <= len(steps) - _FEW)]
    return int(falls[-1]) if len(falls) else 0


def _ordered(series: Series) -> tuple[Series, int]:
    """Return a series with each step once, and how many points with another value that leaves out.

    Where steps are logged again, everything logged before from the first of them on is void. Points that only come
    late, at steps of their own, are put in their place.
    """
    steps = series.steps
    if len(steps) < 2 or (steps[1:] > steps[:-1]).all():
        return series, 0
    if len(np.unique(steps)) == len(steps):
        order = np.argsort(steps, kind="stable")
        return Series(steps[order], series.values[order]), 0
    later = np.minimum.accumulate(steps[::-1])[::-1]  # (n,) the least step from here on
    keep = np.ones(len(steps), dtype=np.bool_)
    keep[:-1] = steps[:-1] < later[1:]
    # the same number twice is nothing: a tool that writes several records of a step repeats its counters
    same = (steps[:-1] == steps[1:]) & (series.values[:-1] == series.values[1:])
    return Series(steps[keep], series.values[keep]), int((~keep[:-1] & ~same).sum())
