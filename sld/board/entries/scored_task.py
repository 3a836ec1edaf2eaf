"""A task whose held-out rows score an entry, and what all entries scored on them share."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.board.entries.entry import task_digest
from sld.core.errors import UsageError
from sld.data.scoring import Scores, scores

if TYPE_CHECKING:
    from sld.data.table import Array
    from sld.data.task import Task
    from sld.laws.law import Law

_REPLICATES = 1000
_MAX_DRAWS = 2_000_000  # rows drawn for an interval, unless that leaves fewer than a few hundred replicates
_LEAST_REPLICATES = 200
_LEVEL = 0.9


class ScoredTask:
    """A task with its held-out rows, and what all entries scored on them share."""

    def __init__(self, task: Task) -> None:
        """Read the held-out rows; raises UsageError where the task has none."""
        held_out = task.held_out()
        if held_out is None:
            way_out = "a leaderboard needs rows that no fit has seen"
            raise UsageError(f"task {task.name!r} has no held-out rows (files.held_out in its card); {way_out}")
        self.task, self.train, self.held_out = task, task.train, held_out
        self.targets = [t.column for t in self.train.targets]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What an entry says of its task."""
        return {"name": self.task.name, "version": self.task.card.version, "digest": task_digest(self.task)}

    @cached_property
    def deviation(self) -> Array:
        """Standard deviation of each target over the training rows (n_targets,)."""
        spread = self.train.Y.std(axis=0)
        return np.asarray(np.where(spread > 0, spread, 1.0))

    @cached_property
    def frontier(self) -> Array | None:
        """Weights of the training rows where those next to the extrapolation count more."""
        from sld.data.splits import frontier_weights

        return frontier_weights(self.train)

    @cached_property
    def draws(self) -> Array:
        """How often each held-out row occurs in each replicate (n_replicates, n_rows), drawn within groups."""
        index, n = self.held_out.group_index, self.held_out.n_rows
        replicates = min(_REPLICATES, max(_LEAST_REPLICATES, _MAX_DRAWS // n))
        counts = np.zeros((replicates, n))
        # the raw stream of the bit generator never changes, unlike what is made of it from version to version
        stream = np.random.PCG64(0)
        shift = np.uint64(32)
        for g in range(len(self.held_out.groups)):
            rows = np.flatnonzero(index == g)
            raw = np.asarray(stream.random_raw(replicates * len(rows))) >> shift
            picked = rows[((raw * np.uint64(len(rows))) >> shift).astype(np.intp)]
            flat = np.repeat(np.arange(replicates), len(rows)) * n + picked
            counts += np.bincount(flat, minlength=replicates * n).reshape(replicates, n)
        return counts

    @cached_property
    def variances(self) -> Array:
        """Variance of each target in each replicate (n_replicates, n_targets)."""
        Y = self.held_out.Y - self.held_out.Y.mean(axis=0)
        n = len(Y)
        spread = self.draws @ (Y * Y) / n - (self.draws @ Y / n) ** 2
        return np.asarray(np.where(spread > 1e-12 * (Y * Y).mean(axis=0), spread, np.nan))

    def score(self, predictions: Array) -> dict[str, Any]:
        """Return the held-out scores of predictions (n_rows, n_targets), with the interval of R²."""
        found = scores(self.held_out.Y, predictions, self.held_out.group_index)
        return {**found.to_json(), "r2_interval": self._interval(predictions, found)}

    def _interval(self, predictions: Array, found: Scores) -> list[float] | None:
        if found.failed or not math.isfinite(found.r2):
            return None
        with np.errstate(all="ignore"):
            ratio = self.draws @ ((self.held_out.Y - predictions) ** 2) / len(predictions) / self.variances
            defined = np.isfinite(ratio)
            r2 = 1.0 - np.where(defined, ratio, 0.0).sum(axis=1) / defined.sum(axis=1)
        r2 = r2[np.isfinite(r2)]
        if len(r2) < _LEAST_REPLICATES // 2:
            return None
        low, high = np.quantile(r2, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        return [float(low), float(high)]

    def scores_of(self, law: Law) -> dict[str, Any]:
        """Return the scores of a law, and its error on the training rows."""
        found = self.score(law.by_formula(self.held_out))
        trained = scores(self.train.Y, law.by_formula(self.train), self.train.group_index).nmse
        return {**found, "train_nmse": trained if math.isfinite(trained) else None}
