"""From rows to settings: which ratio, batch size and learning rate took how many steps to which performance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sld.analysis.reinforcement.chain import Settings
from sld.analysis.reinforcement.steps import steps_to
from sld.core.arrays import Array
from sld.core.errors import DataError, UsageError
from sld.core.numbers import exact


def gathered(
    columns: Mapping[str, Array], key: Array, levels: tuple[float, ...], named: bool
) -> tuple[Settings, tuple[float, ...], list[str]]:
    """Return the settings, the performances in rising order, and what was noticed.

    Args:
        columns: `ratio`, `batch`, `lr`, and `a`, `b`: steps and returns, or (`named`) steps taken and performance.
        key: Number of the run within its setting (n_rows,).
        levels: The performances; empty if `named`.
        named: Whether a row is a run and a performance, not an evaluation.

    Raises:
        DataError: No row is whole.
        UsageError: Every run has a performance from its first evaluation on.
    """
    hyper = np.stack([columns["ratio"], columns["batch"], columns["lr"]], axis=1)
    notes = []
    whole = np.isfinite(columns["ratio"]) & np.isfinite(columns["b"])
    whole &= (columns["a"] > 0) if not named else (columns["a"] > 0) | np.isnan(columns["a"])
    if not whole.any():
        raise DataError("no row has a ratio of updates to data, steps above 0 and a performance")
    if n := int((~whole).sum()):
        notes.append(f"{n} rows lack a ratio, a performance, or steps above 0, and were left out")
    levels = tuple(sorted(set(columns["b"][whole].tolist()))) if named else tuple(sorted(set(levels)))
    where: dict[tuple[float, ...], dict[int, list[int]]] = {}
    for i in np.flatnonzero(whole).tolist():
        # NaN is not equal to itself: a column that is not there is one value
        setting = tuple(-1.0 if np.isnan(v) else float(v) for v in hyper[i])
        where.setdefault(setting, {}).setdefault(int(key[i]), []).append(i)
    steps, runs, deviations, never = [], [], [], 0
    at_once = np.zeros(len(levels), dtype=int)  # runs that have a performance when they are first evaluated
    if doubled := _doubled(columns["b" if named else "a"], where):
        notes.append(
            f"{doubled} rows are of the same run and {'performance' if named else 'step'} as another, and were "
            "averaged: if they are of several runs or settings, name the columns that tell these apart (run, batch, lr)"
        )
    for of in where.values():
        taken = np.log([_taken(columns, np.array(rows), levels, named) for rows in of.values()])  # (n_runs, n_levels)
        reached = ~np.isnan(taken)
        first = np.log([columns["a"][rows].min() for rows in of.values()])
        at_once += 0 if named else (taken <= first[:, None]).sum(0)
        never += int((~reached).any(1).sum())
        runs.append(len(taken))
        # a mean over the runs that got there would praise what half of the runs fail at
        steps.append(np.where(reached.all(0), np.nan_to_num(taken).mean(0), np.inf))
        if len(taken) > 1 and reached.all():
            deviations.append((taken - taken.mean(0)) * np.sqrt(len(taken) / (len(taken) - 1)))
    if never:
        notes.append(
            f"{never} of {int(sum(runs))} runs do not reach every performance: their settings do not count there"
        )
    notes += _at_once(at_once, int(sum(runs)), levels)
    found = np.array(list(where))
    settings = Settings(
        ratio=found[:, 0], batch=np.where(found[:, 1] < 0, np.nan, found[:, 1]),
        rate=np.where(found[:, 2] < 0, np.nan, found[:, 2]), steps=np.array(steps), runs=np.array(runs, dtype=float),
        deviations=np.concatenate(deviations) if deviations else np.zeros((0, len(levels))),
    )  # fmt: skip
    return settings, levels, notes


def _at_once(found: Array, n_runs: int, levels: tuple[float, ...]) -> list[str]:
    """Say which performances runs have when they are first evaluated: how many steps these took is not known.

    Raises:
        UsageError: All runs have one.
    """
    notes = []
    for n, level in zip(found.tolist(), levels, strict=True):
        if n == n_runs:
            raise UsageError(
                f"every run has {exact(level)} at its first evaluation, so nothing tells the steps to it; ask for "
                "higher performances (reach)"
            )
        if n:
            notes.append(f"{n} of {n_runs} runs have {exact(level)} at their first evaluation: it may take fewer steps")
    return notes


def _doubled(values: Array, where: Mapping[tuple[float, ...], Mapping[int, list[int]]]) -> int:
    """Return how many rows another row of their run is like in `values`."""
    each = [rows for of in where.values() for rows in of.values()]
    return sum(len(rows) - len(np.unique(values[rows])) for rows in each)


def _taken(columns: Mapping[str, Array], rows: Array, levels: tuple[float, ...], named: bool) -> Array:
    """Return the steps (n_levels,) of one run to each performance; NaN where it never gets there."""
    a, b = columns["a"][rows], columns["b"][rows]
    if named:
        with np.errstate(invalid="ignore"):
            return np.array([a[b == v].mean() if (b == v).any() else np.nan for v in levels])
    steps, which = np.unique(a, return_inverse=True)
    return steps_to(steps, np.bincount(which, weights=b) / np.bincount(which), levels)
