"""Physical checks on the extrapolation grid: a law that explodes a decade beyond the data is no law.

The grid starts at rows of the table and walks far beyond it: along each scale variable by itself, and along all of
them together. On every walk a law has to stay finite, within the declared bounds of the target, monotone where the
card declares it, and must not run away to many times the range seen in the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sld.core.expression import Expression
from sld.core.kernel import Array, evaluate
from sld.core.table import Table

REACH = 1000.0  # how far beyond the data the walks go
_STEPS = (1.0, 1.6, 2.5, 4.0, 6.3, 10.0, 30.0, 100.0, REACH)
_RUNAWAY = 8.0  # ranges of the target seen in the data
_SLACK = 1e-3  # ranges of the target that a monotone law may move the wrong way
_POINTS = 3000
_LOG_STEP = {"log10": np.log(10.0), "log2": np.log(2.0), "log": 1.0}


@dataclass(frozen=True)
class Grid:
    """Points far beyond a table, ordered in walks.

    Attributes:
        columns: Symbol to values (n_points,).
        group_index: (n_points,) group of each point.
        walk: (n_points,) number of the walk; consecutive points of one walk are one step apart.
        direction: (n_walks,) index of the variable that grows along the walk, -1 for all scale variables together.
        spread: Range of each target in the data, (n_targets,), as the scale of what is large.
        centre: Mean of each target in the data, (n_targets,).
    """

    columns: Mapping[str, Array]
    group_index: NDArray[np.intp]
    walk: NDArray[np.intp]
    direction: NDArray[np.intp]
    spread: Array
    centre: Array
    table: Table

    @staticmethod
    def of(table: Table) -> Grid:
        """Build the grid of a table: from the largest rows of each group and from a few others."""
        moving = [i for i, v in enumerate(table.variables) if v.role == "scale"]
        if not moving:
            moving = [i for i, v in enumerate(table.variables) if v.monotone is not None]
        walks_per_row = len(moving) + (1 if len(moving) > 1 else 0)
        budget = max(1, _POINTS // (max(walks_per_row, 1) * len(_STEPS)))
        rows = _spread_rows(table, moving, budget)
        X: list[Array] = []
        walk: list[int] = []
        direction: list[int] = []
        groups: list[int] = []
        top = table.X.max(axis=0)
        for row in rows:
            for which in [[i] for i in moving] + ([moving] if len(moving) > 1 else []):
                for step in _STEPS:
                    x = table.X[row].copy()
                    for i in which:
                        log = table.variables[i].log
                        # a lone variable walks from where the row is to REACH times the largest value seen
                        far = top[i] + np.log(step) / _LOG_STEP[log] if log else top[i] * step
                        here = x[i]
                        share = np.log(step) / np.log(REACH)
                        x[i] = here + (far - here) * share if log else here * (far / here) ** share if here > 0 else far
                    X.append(x)
                    walk.append(len(direction))
                    groups.append(table.group_index[row])
                direction.append(which[0] if len(which) == 1 else -1)
        points = np.array(X).reshape(-1, len(table.variables))
        return Grid(
            columns={s: np.ascontiguousarray(points[:, i]) for i, s in enumerate(table.symbols)},
            group_index=np.array(groups, dtype=np.intp),
            walk=np.array(walk, dtype=np.intp),
            direction=np.array(direction, dtype=np.intp),
            spread=np.ptp(table.Y, axis=0),
            centre=table.Y.mean(axis=0),
            table=table,
        )

    def predict(self, expression: Expression, constants: Sequence[Mapping[str, float]]) -> Array:
        """Return the law's values on the grid (n_points,); `constants` by group, in the table's order."""
        values = {c: np.array([group[c] for group in constants])[self.group_index] for c in expression.constants}
        return evaluate(expression, {**self.columns}, values)  # type: ignore[arg-type]

    def problems(self, target: int, values: Array) -> tuple[str, ...]:
        """Return what is wrong with a law's values on the grid, as sentences; empty if it is admissible."""
        if not len(values):
            return ()
        if not np.isfinite(values).all():
            return (f"not finite {self._where(~np.isfinite(values))}",)
        found = []
        declared = self.table.targets[target]
        spread = self.spread[target] or 1.0
        if declared.lower is not None and (low := values < declared.lower - 1e-9 * spread).any():
            found.append(f"falls below {declared.lower:g} {self._where(low)}")
        if declared.upper is not None and (high := values > declared.upper + 1e-9 * spread).any():
            found.append(f"exceeds {declared.upper:g} {self._where(high)}")
        away = np.abs(values - self.centre[target]) > _RUNAWAY * spread
        if away.any():
            found.append(f"runs away to {values[np.argmax(np.abs(values))]:.3g} {self._where(away)}")
        step = np.diff(values)
        same = self.walk[1:] == self.walk[:-1]
        for i, variable in enumerate(self.table.variables):
            if variable.monotone is None:
                continue
            sign = 1.0 if variable.monotone == "increasing" else -1.0
            wrong = same & (self.direction[self.walk[1:]] == i) & (sign * step < -_SLACK * spread)
            if wrong.any():
                found.append(f"not {variable.monotone} in {variable.symbol} {self._where(np.append(False, wrong))}")
        return tuple(found)

    def _where(self, bad: NDArray[np.bool_]) -> str:
        """Return "at N = 1e+10, D = 3e+11" for the first point that is wrong."""
        first = int(np.argmax(bad))
        point = ", ".join(f"{s} = {v[first]:.3g}" for s, v in self.columns.items())
        return f"at {point}"


def _spread_rows(table: Table, moving: Sequence[int], budget: int) -> list[int]:
    """Choose rows that represent each group: the largest one, then others spread over the group's order of size."""
    if not moving:
        return []
    size = np.zeros(table.n_rows)
    for i in moving:
        x = table.X[:, i]
        if table.variables[i].log:
            size += x * _LOG_STEP[table.variables[i].log or "log"]
        else:
            size += np.log(np.maximum(x, 1e-300))
    per_group = max(1, budget // len(table.groups))
    chosen: list[int] = []
    for g in range(len(table.groups)):
        rows = np.flatnonzero(table.group_index == g)
        order = rows[np.argsort(size[rows], kind="stable")]
        take = np.unique(np.linspace(len(order) - 1, 0, min(per_group, len(order))).astype(int))
        chosen.extend(int(order[t]) for t in take)
    return chosen[: max(budget, len(table.groups))]
