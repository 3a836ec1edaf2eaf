r"""Joint draws of a law: curves that might as well be the law, and runs that might be seen.

Draw $k$ is one function of the variables,

$$ f_k(x) = \hat y(x) \oplus t_k \sum_b w_{kb} \, \delta_b(x), \qquad w_{kb} \sim N(0, 1) , $$

with the deviations $\delta_b$ of `uncertainty.py`, $t_k$ for heavy tails (1 where they are normal), and $\oplus$ a sum
on the scale of the law's errors (a product for logarithms). The same $w$ and $t$ serve all points, groups and targets
of a law, so an optimum, a crossing or a difference is computed draw by draw and summarised by quantiles. The shares of
draws at a point agree with the law's interval there.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import UsageError
from sld.data.table import Table
from sld.fit.kernel import evaluate
from sld.laws.error_scale import Scale
from sld.laws.fitted import Fitted
from sld.laws.uncertainty import Surroundings, surroundings

Of = Literal["law", "run"]

_MOST = 100_000  # draws; more than anybody can use, and each costs memory for every point
_STREAMS = 64  # deviations at most: refits, rivals and a level; numbers of a draw do not depend on how many there are


class CurveDraws:
    """Curves that might as well be the law, for one target in one group.

    Attributes:
        n: How many.
        log: Whether errors are counted as logarithms.
        tails: (n,) how far out each draw is, where tails are heavy; its runs scatter by as much.
    """

    def __init__(self, around: Surroundings, bounds: tuple[float, float], weights: Array, tails: Array) -> None:
        """Take the deviations, how much of each a draw has, weights (n, n_deviations), and how far it is out (n,)."""
        self.n = len(weights)
        self.log = around.scale.log
        self.tails = tails
        self._around, self._bounds, self._weights = around, bounds, weights * tails[:, None]

    def values(self, columns: Mapping[str, Array], shift: Array | float = 0.0) -> Array:
        """Return (n, n_points) values; row k is one curve, also between calls. NaN where a curve has none.

        Args:
            columns: Symbol of each variable to its column (n_points,).
            shift: By how much the prediction (n_points,) is above the formula, of the logarithms if `log`.
        """
        at = self._around.at(columns)
        with np.errstate(all="ignore"):
            moved = self._weights @ at.curves
            found = at.centre + shift + moved
            found = np.exp(found) if self.log else found
        known = np.isfinite(found) & ~np.isnan(at.middle)
        return np.asarray(np.clip(np.where(known, found, math.nan), *self._bounds))

    def own(self, columns: Mapping[str, Array]) -> Array:
        """Return (n, n_points) values at columns (n, n_points) of each variable: draw k at points of its own, row k.

        Where each draw looks for its own optimum, `values` would ask every draw at the points of all others.
        """
        shape = np.broadcast_shapes(*(np.shape(x) for x in columns.values()))
        flat = {s: np.ascontiguousarray(np.broadcast_to(x, shape)).ravel() for s, x in columns.items()}
        at = self._around.at(flat)
        with np.errstate(all="ignore"):
            moved = np.einsum("kb,bkp->kp", self._weights, at.curves.reshape(-1, *shape))
            found = at.centre.reshape(shape) + moved
            found = np.exp(found) if self.log else found
        known = np.isfinite(found) & ~np.isnan(at.middle.reshape(shape))
        return np.asarray(np.clip(np.where(known, found, math.nan), *self._bounds))

    def noise(self, columns: Mapping[str, Array]) -> Array:
        """Return (n_points,) the standard deviation of single runs about the law, of their logarithms if `log`."""
        return self._around.at(columns).noise


def curve_draws(law: Fitted, target: str, group: str | None = None, *, n: int = 1000, seed: int = 0) -> CurveDraws:
    """Return `n` curves that might as well be the law, for a target (its column) in a group.

    >>> import numpy as np
    >>> import sld
    >>> N = np.geomspace(1e6, 1e9, 8)
    >>> loss = 1.7 + 400 * N**-0.34 + 0.01 * np.cos(np.arange(8))
    >>> law = sld.fit({"N": N, "loss": loss}, "E + A*N**-a", target="loss", scale="N", starts=8)
    >>> curves = curve_draws(law, "loss", n=200)
    >>> values = curves.values({"N": np.array([1e9, 1e10])})
    >>> values.shape
    (200, 2)
    >>> bool(values[:, 1].std() > 0)
    True

    Args:
        law: A law with intervals.
        target: Column of the target.
        group: The group; needed only where there are several.
        n: How many draws.
        seed: Of the draws; the same seed and `n` give the same curves, and two laws have draws of their own.

    Raises:
        UsageError: The law carries no intervals, or there is no such target or group, or `n` is out of range.
    """
    _check(n, seed)
    around = surroundings(law, target, group)
    aimed = next(t for t in law.targets if t.column == target)
    bounds = (-math.inf if aimed.lower is None else aimed.lower, math.inf if aimed.upper is None else aimed.upper)
    rng = np.random.default_rng([seed, _number_of(law)])
    count = max(around.n_deviations, _STREAMS)
    weights = rng.standard_normal((n, count))[:, : around.n_deviations]
    return CurveDraws(around, bounds, weights, _tails(rng, around.tails, n))


def _check(n: int, seed: int) -> None:
    if not isinstance(n, int | np.integer) or not 1 <= n <= _MOST:
        raise UsageError(f"the number of draws must be between 1 and {_MOST}, got {n}")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError(f"a seed is a whole number from 0 on, got {seed}")


def _tails(rng: np.random.Generator, freedom: float, n: int) -> Array:
    """Return factors (n,) that make normal numbers ones of Student's t."""
    return np.ones(n) if math.isinf(freedom) else np.sqrt(freedom / rng.chisquare(freedom, n))


def draws(law: Fitted, table: Table, *, n: int = 1000, seed: int = 0, of: Of = "law") -> Array:
    """Return draws (n, n_points, n_targets) at the rows of a table; see `Law.draws`."""
    if of not in ("law", "run"):
        raise UsageError(f"draws are of 'law' (where is the curve?) or 'run' (where will a run be?), got {of!r}")
    _check(n, seed)
    found = np.full((n, table.n_rows, len(law.targets)), math.nan)
    inputs = {v.symbol: np.ascontiguousarray(table.column(v.column)) for v in law.variables}
    rng = np.random.default_rng([seed, _number_of(law), 1])
    for j, target in enumerate(law.targets):
        single = rng.standard_normal((n, table.n_rows)) if of == "run" else None
        for g, group in enumerate(table.groups):
            rows = np.flatnonzero(table.group_index == g)
            columns = {symbol: values[rows] for symbol, values in inputs.items()}
            name = group if len(law.constants[target.column]) > 1 or group in law.constants[target.column] else None
            curves = curve_draws(law, target.column, name, n=n, seed=seed)
            values = curves.values(columns, _shift(law, j, group, columns, curves.log))
            if single is not None:
                off = curves.noise(columns) * curves.tails[:, None] * single[:, rows]
                with np.errstate(all="ignore"):
                    values = values * np.exp(off) if curves.log else values + off
            found[:, rows, j] = values
    return found


def _shift(law: Fitted, target: int, group: str, columns: Mapping[str, Array], log: bool) -> Array | float:
    """Return by how much the prediction is above the formula at points (n_points,), of the logarithms if `log`."""
    aimed = law.targets[target]
    ensemble = law.ensembles.get(aimed.column)
    by_group = law.constants[aimed.column]
    if ensemble is None or group not in by_group:
        return 0.0
    own = evaluate(law.expressions[aimed.column], columns, by_group[group])
    predicted = ensemble.predict(own, columns, group, aimed)
    return Scale(log).difference(predicted, own)


def _number_of(law: Fitted) -> int:
    """Return a number that two laws do not share, the same on every machine."""
    text = repr([(c, law.expressions[c].text, sorted(law.constants[c].items())) for c in sorted(law.expressions)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
