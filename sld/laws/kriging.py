r"""What rows lie off a formula near a point, added to what the formula says there: regression kriging.

No formula is the truth, and what it misses at one run it mostly misses at the next one too. So a prediction is the
formula and, beside it, what its errors at the rows of the same group let expect at the point,

$$ \hat y(x) = f(x; \hat\theta) + k(x)^\top (K + \eta I)^{-1} r, \qquad k_i(x) = e^{-|z(x) - z_i| / \ell} , $$

with $r$ the residuals of these rows (n,), $K_{ij} = e^{-|z_i - z_j| / \ell}$, and $z$ the position of a run: the
logarithm of each variable that has one, in standard deviations of the rows. This is the best linear prediction where
residuals are correlated by an exponential variogram of range $\ell$ with a nugget of $\eta$ times its sill (Matheron
1963; Cressie 1993, chapter 3; with a trend that is fitted beforehand: Hengl, Heuvelink and Rossiter 2007). Far from
all rows the addition fades, and the formula is left alone.

Whether anything is added, and with which range and nugget, a search decides by its folds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sld.core.arrays import Array, spread_out
from sld.core.errors import DataError
from sld.data.table import Table

_DIGITS = 10  # of a coefficient: the same on machines whose linear algebra rounds differently
_BLOCK = 256  # points at once, each compared with every row of its group: so that what is worked on stays in the cache
MOST = 400  # rows of a group that are asked; more are alike, and solving for them takes the cube of their number


@dataclass(frozen=True)
class Place:
    """How one variable counts in the distance between runs.

    Attributes:
        symbol: Of the variable.
        log: Whether its logarithm counts.
        unit: Standard deviation over the rows, what distances are counted in.
    """

    symbol: str
    log: bool
    unit: float

    def of(self, x: Array) -> Array:
        """Return positions (n,) of values (n,); NaN for what has no logarithm."""
        if not self.log:
            return np.asarray(x / self.unit)
        return np.asarray(np.log(x, out=np.full(len(x), np.nan), where=x > 0) / self.unit)


@dataclass(frozen=True, eq=False)
class Kriging:
    """What the rows of each group add to the predictions of one target.

    Attributes:
        length: Range of the correlation, in standard deviations of the rows.
        nugget: Of the noise of single rows, in units of the sill.
        places: How distances are counted.
        rows: Group to the positions of its rows (n_rows, n_places) and their coefficients (n_rows,).
    """

    length: float
    nugget: float
    places: tuple[Place, ...]
    rows: Mapping[str, tuple[Array, Array]]

    @staticmethod
    def of(table: Table, residual: Array, places: Sequence[Place], length: float, nugget: float) -> Kriging:
        """Return what residuals (n_rows,) of a table's rows add; rows without a finite one take no part."""
        z = positions(places, table)
        usable = np.isfinite(residual) & np.isfinite(z).all(axis=1)
        rows = {}
        for g, group in enumerate(table.groups):
            mine = spread_out(np.flatnonzero(usable & (table.group_index == g)), MOST)
            alpha = np.linalg.solve(correlation(z[mine], z[mine], length) + nugget * np.eye(len(mine)), residual[mine])
            rows[group] = (_rounded(z[mine]), _rounded(alpha))
        return Kriging(length, nugget, tuple(places), rows)

    def at(self, columns: Mapping[str, Array], group: str) -> Array:
        """Return what is added (n_points,) at columns (n_points,) of each variable, in one group; 0 far from all rows.

        A group that the law has and the record does not has nothing added.
        """
        n = len(next(iter(columns.values())))
        if group not in self.rows or not len(self.rows[group][1]):
            return np.zeros(n)
        z, alpha = self.rows[group]
        here = np.column_stack([p.of(np.asarray(columns[p.symbol], dtype=np.float64)) for p in self.places])
        found = np.zeros(n)
        known = np.flatnonzero(np.isfinite(here).all(axis=1))
        for block in np.split(known, range(_BLOCK, len(known), _BLOCK)):
            found[block] = correlation(here[block], z, self.length) @ alpha
        return found

    def __eq__(self, other: object) -> bool:
        """Tell whether another record adds the same."""
        return self.to_json() == other.to_json() if isinstance(other, Kriging) else NotImplemented

    def __hash__(self) -> int:
        """Return a number that equal records share."""
        return hash((self.length, self.nugget, self.places))

    def to_json(self) -> dict[str, Any]:
        """Return what law.json holds; `from_json` gives it back."""
        return {
            "length": self.length,
            "nugget": self.nugget,
            "places": [{"symbol": p.symbol, "log": p.log, "unit": p.unit} for p in self.places],
            "rows": {g: [[*row, a] for row, a in zip(z.tolist(), alpha.tolist(), strict=True)]
                     for g, (z, alpha) in sorted(self.rows.items())},
        }  # fmt: skip

    @staticmethod
    def from_json(data: object, where: str) -> Kriging:
        """Read what `to_json` gave.

        Raises:
            DataError: It is not that.
        """
        try:
            if not isinstance(data, Mapping):
                raise TypeError("no table")
            places = tuple(Place(str(p["symbol"]), bool(p["log"]), float(p["unit"])) for p in data["places"])
            rows = {}
            for group, listed in data["rows"].items():
                values = np.array(listed, dtype=np.float64).reshape(len(listed), len(places) + 1)
                if not np.isfinite(values).all():
                    raise ValueError("a number is not finite")
                rows[str(group)] = (values[:, :-1], values[:, -1])
            return Kriging(float(data["length"]), float(data["nugget"]), places, rows)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: wanted what rows near a point add, as sld writes it, got {error!r}") from error


def places_of(table: Table) -> tuple[Place, ...]:
    """Return how distances between the rows of a table are counted: the variables that vary."""
    found = []
    for i, variable in enumerate(table.variables):
        x = table.X[:, i]
        log = variable.log is None and variable.role != "proportion" and bool((x > 0).all())
        unit = float((np.log(x) if log else x).std())
        if unit > 0 and math.isfinite(unit):
            found.append(Place(variable.symbol, log, float(f"{unit:.{_DIGITS}g}")))
    return tuple(found)


def positions(places: Sequence[Place], table: Table) -> Array:
    """Return the positions (n_rows, n_places) of the rows of a table."""
    return np.array([p.of(table.column(p.symbol)) for p in places]).reshape(len(places), table.n_rows).T


def correlation(one: Array, other: Array, length: float) -> Array:
    """Return the correlation (n, m) of residuals at positions (n, d) and (m, d): exponential in their distance."""
    squares = np.zeros((len(one), len(other)))
    for a, b in zip(one.T, other.T, strict=True):
        squares += np.subtract.outer(a, b) ** 2
    return np.asarray(np.exp(-np.sqrt(squares) / length))


def _rounded(values: NDArray[np.floating]) -> Array:
    return np.array([float(f"{v:.{_DIGITS}g}") for v in values.ravel()]).reshape(values.shape)
