r"""How noisy each row is, how much it weighs in a fit, and on what scale errors are counted.

Noise rarely is the same everywhere: repeats of small runs scatter widely where large ones agree to a digit more.
Where a table holds repeats, the standard deviation is estimated as a power of a scale variable or of the value itself,

    log sd = level + slope * (z - centre) + offset of the group,

with $z$ the logarithm of that variable. A point with $n$ runs tells its variance with $\nu = n - 1$ degrees of freedom,
so the constants come from the likelihood of $s^2 \sim \sigma^2 \chi^2_\nu / \nu$, a regression with gamma errors
(McCullagh and Nelder 1989, chapter 8). A point that scatters far more than its neighbours counts only up to what chance
allows. Constant noise stands unless an F test against it, widened where repeats scatter more than chi-squared does, is
significant at 1 %; and the slope is shrunk by what of it chance explains. Beyond the repeats noise does not fall any
further.

A row weighs the inverse of its variance, plus that of what no short formula follows: without the latter a few rows that
were measured exactly would stand for the whole table, and no law is exact. Declared standard errors (`Table.yerr`)
take the place of the estimate, declared weights (`Table.weights`) multiply it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from sld.core.numbers import short
from sld.data.card import Variable
from sld.data.splits import frontier_weights
from sld.data.table import Array, Table

FRONTIER = "frontier"  # rows next to where the law will be used count more, see `splits.frontier_weights`
NOISE = "noise"  # the inverse variance: declared, or estimated where it changes; with the misfit of a law
YERR = "yerr"  # the inverse of the squared standard errors, as they were declared
COLUMN = "column"  # as the table declares
OF_SEARCH = (FRONTIER, NOISE, COLUMN)

MISFIT = 0.03  # of the spread of the target: what a good law misses on unseen rungs (an NMSE of 1e-3)
_LEVEL = 0.01  # of the test against constant noise
_LEVEL_WITHOUT = 0.05  # and without the point that scatters most, and without the one that scatters least
_LEAST_POINTS = 4  # with repeats
_LEAST_FREEDOM = 6  # degrees of freedom of repeats; with fewer a variance is uncertain by a factor of five and more
_LEAST_CHANGE = 1.5  # factor between the noisiest and the quietest repeats that is worth a thought
_OWN = 8.0  # degrees of freedom that a group needs to have half a say in its own level
_BEYOND = 0.25  # of the range of the repeats: so far noise that grows is extrapolated
_CHANCE = 10  # points that scatter as chi-squared does, before any is seen
_STEPS = 50  # of Fisher scoring, at most
_ROUNDS = 5  # of groups' levels and the common slope in turn
_TINY = 1e-300  # in place of zero, under a logarithm or a fraction line

VALUE = ""  # driver: noise changes with the value itself

Points = NDArray[np.intp]


@dataclass(frozen=True)
class Noise:
    """Noise that changes, as repeats or declared standard errors show it.

    Attributes:
        driver: Symbol of the scale variable that it changes with; `VALUE` for the value of the target.
        level: Log of the standard deviation at `centre`.
        slope: Its change per unit of the logarithm of the driver.
        centre: Of these logarithms.
        low: The smallest of them where there are repeats.
        high: The largest.
        offsets: Group to what is added to the level.
        n_points: Points with repeats; rows, where standard errors were declared.
        p_value: Of constant noise; 0 where standard errors were declared.
    """

    driver: str
    level: float
    slope: float
    centre: float
    low: float
    high: float
    offsets: Mapping[str, float] = field(default_factory=dict)
    n_points: int = 0
    p_value: float = 0.0

    def sd(self, z: Array, group: str | None = None) -> Array:
        """Return the standard deviation at logarithms `z` of the driver; it does not fall beyond the repeats."""
        beyond = _BEYOND * (self.high - self.low)
        low, high = (self.low, self.high + beyond) if self.slope > 0 else (self.low - beyond, self.high)
        level = self.level + (0.0 if group is None else self.offsets.get(group, 0.0))
        return np.asarray(np.exp(level + self.slope * (np.clip(z, low, high) - self.centre)))

    def of(self, variables: Collection[Variable], inputs: Mapping[str, Array], values: Array, group: str) -> Array:
        """Return the standard deviation at points of one group; `values` are what a law predicts there."""
        by_symbol = {v.symbol: v for v in variables}
        z = _log(values) if self.driver == VALUE else _logarithm(by_symbol[self.driver], inputs[self.driver])
        return self.sd(z, group)

    @property
    def factor(self) -> float:
        """Of the largest standard deviation over the smallest, between the repeats."""
        return math.exp(min(abs(self.slope) * (self.high - self.low), 700.0))

    def to_json(self) -> dict[str, Any]:
        """Return what law.json holds; `from_json` gives it back, to nine digits."""
        numbers = {k: getattr(self, k) for k in ("level", "slope", "centre", "low", "high", "p_value")}
        rounded = {k: float(f"{v:.9g}") for k, v in numbers.items()}
        offsets = {g: float(f"{v:.9g}") for g, v in self.offsets.items()}
        return {"driver": self.driver, **rounded, "offsets": offsets, "n_points": self.n_points}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Noise:
        """Read what `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: It is not that.
        """
        numbers = {k: float(data[k]) for k in ("level", "slope", "centre", "low", "high", "p_value")}
        offsets = {str(g): float(v) for g, v in data["offsets"].items()}
        return Noise(driver=str(data["driver"]), offsets=offsets, n_points=int(data["n_points"]), **numbers)


def noise_model(table: Table, target: int = 0) -> Noise | None:
    """Return how the noise of a target changes; None where it is the same everywhere, as far as the rows can tell.

    Args:
        table: The rows; rows that agree in all columns are copies, and count once.
        target: Column of the targets.
    """
    known = _KNOWN.setdefault(table, {})
    if target not in known:
        known[target] = _noise_model(table, target)
    return known[target]


# a fit asks four times: for what to say, for weights, for its intervals and for the record
_KNOWN: WeakKeyDictionary[Table, dict[int, Noise | None]] = WeakKeyDictionary()


def _noise_model(table: Table, target: int) -> Noise | None:
    if table.yerr is not None and np.isfinite(table.yerr[:, target]).all():
        return _declared(table, target)
    repeats = _Repeats.of(table, target)
    if repeats is None or not repeats.drivers:
        return None
    driver, best = repeats.best()
    if not best.p_value < _LEVEL or best.gain <= 1.0:
        return None
    z = repeats.drivers[driver]
    found = Noise(
        driver, best.level, best.slope * (1.0 - 1.0 / best.gain), best.centre, float(z.min()), float(z.max()),
        dict(zip(table.groups, best.offsets.tolist(), strict=True)) if len(table.groups) > 1 else {},
        len(repeats.variance), best.p_value,
    )  # fmt: skip
    # one point that scatters for a reason of its own is no trend
    alone = (repeats.without(k).best(driver)[1].p_value for k in repeats.extremes())
    return found if found.factor >= _LEAST_CHANGE and all(p < _LEVEL_WITHOUT for p in alone) else None


def standard_deviations(table: Table, target: int = 0) -> Array | None:
    """Return the standard deviation of each row's noise (n_rows,); None where it is the same everywhere or unknown."""
    if table.yerr is not None and np.isfinite(table.yerr[:, target]).all():
        return table.yerr[:, target]
    model = noise_model(table, target)
    if model is None:
        return None
    values = _point_means(table.points(), table.Y[:, target])
    found = np.empty(table.n_rows)
    for g, group in enumerate(table.groups):
        rows = table.group_index == g
        inputs = {symbol: column[rows] for symbol, column in table.inputs.items()}
        found[rows] = model.of(table.variables, inputs, values[rows], group)
    return found


def row_weights(table: Table, target: int = 0, kinds: Collection[str] = OF_SEARCH) -> Array | None:
    """Return how much each row counts in a fit (n_rows,), mean 1; None when all count alike.

    Whoever fits a law asks here, so that a fit, its refits and what is said of them agree.

    Args:
        table: The rows.
        target: Column of the targets.
        kinds: What the weight is the product of: `FRONTIER`, `NOISE` or `YERR`, `COLUMN`.
    """
    factors = []
    if FRONTIER in kinds:
        factors.append(frontier_weights(table))
    if NOISE in kinds:
        factors.append(noise_weights(table, target))
    if YERR in kinds and table.yerr is not None and np.isfinite(table.yerr[:, target]).all():
        factors.append((table.yerr[:, target].min() / table.yerr[:, target]) ** 2)
    if COLUMN in kinds:
        factors.append(table.weights)
    known = [f for f in factors if f is not None]
    if len(known) == 1 and known[0] is factors[0] and FRONTIER in kinds:
        return known[0]
    if not known:
        return None
    product = np.prod(known, axis=0)
    mean = float(product.mean())
    return np.asarray(product / mean) if mean > 0 else None


def active_kinds(table: Table, target: int = 0, kinds: Collection[str] = OF_SEARCH) -> tuple[str, ...]:
    """Return those of `kinds` that make a difference to what rows of this table weigh."""
    return tuple(kind for kind in kinds if row_weights(table, target, (kind,)) is not None)


@dataclass(frozen=True)
class NoiseShape:
    """How noisy points are relative to each other, for intervals: the changing noise with the misfit of a law.

    Attributes:
        noise: How the noise changes.
        misfit: Added to every standard deviation, in squares.
    """

    noise: Noise
    misfit: float

    @staticmethod
    def of(table: Table, target: int, prediction: Array) -> NoiseShape | None:
        """Return the shape that a table shows around a law's predictions; None for noise that is the same everywhere.

        The misfit is what makes the residuals most likely as normal errors, up to a common factor.
        """
        model = noise_model(table, target)
        if model is None:
            return None
        miss = table.Y[:, target] - prediction
        sd = NoiseShape(model, 0.0).at(table, prediction, False)
        known = np.isfinite(miss) & np.isfinite(sd)
        miss, sd = miss[known], np.maximum(sd[known], _TINY)
        tried = np.append(0.0, np.geomspace(1e-3, 10.0, 41) * misfit(table, target) / MISFIT)

        def cost(extra: float) -> float:
            shape = np.hypot(sd, extra)
            return 0.5 * math.log(float(np.mean((miss / shape) ** 2)) + _TINY) + float(np.mean(np.log(shape)))

        costs = [cost(float(extra)) for extra in tried] if len(miss) else [0.0]
        return NoiseShape(model, float(tried[int(np.argmin(costs))]))

    def at(self, table: Table, values: Array, log: bool) -> Array:
        """Return the standard deviation of rows for which a law predicts `values`; of their logarithms if `log`."""
        found = np.empty(table.n_rows)
        for g, group in enumerate(table.groups):
            rows = table.group_index == g
            inputs = {symbol: column[rows] for symbol, column in table.inputs.items()}
            found[rows] = self.at_points(table.variables, inputs, values[rows], group, log)
        return found

    def at_points(
        self, variables: Collection[Variable], inputs: Mapping[str, Array], values: Array, group: str, log: bool
    ) -> Array:
        """Return the same at points of one group: symbol to column (n_points,)."""
        found = np.hypot(self.noise.of(variables, inputs, values, group), self.misfit)
        with np.errstate(all="ignore"):
            return np.asarray(found / np.maximum(np.abs(values), _TINY)) if log else found

    def to_json(self) -> dict[str, Any]:
        """Return what law.json holds; `from_json` gives it back."""
        return {**self.noise.to_json(), "misfit": float(f"{self.misfit:.9g}")}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> NoiseShape:
        """Read what `to_json` gave; raises KeyError, TypeError or ValueError where it is not that."""
        return NoiseShape(Noise.from_json(data), float(data["misfit"]))


def noise_weights(table: Table, target: int = 0) -> Array | None:
    """Return the inverse variance of each row (n_rows,), with the misfit of a law, mean 1; None for constant noise."""
    sd = standard_deviations(table, target)
    if sd is None:
        return None
    weights = 1.0 / (sd**2 + misfit(table, target) ** 2)
    return np.asarray(weights / weights.mean())


def misfit(table: Table, target: int = 0) -> float:
    """Return what a law is expected to miss anyway, in the target's units: a share of the bulk of the values."""
    y = table.Y[:, target]
    bulk = float(np.subtract(*np.percentile(y, [90, 10]))) / 2.563  # a standard deviation, if normal
    return max(MISFIT * (bulk if bulk > 0 else float(np.std(y))), 1e-150)


@dataclass(frozen=True)
class ErrorScale:
    """In what unit squared errors are counted: the variance of the target, so that 1 is no better than its mean.

    Where noise changes, rows count by their precision, both in an error and in the variance that it is divided by. A
    few values far from all others, which may be failed runs that nobody recognised, do not set the unit.

    Attributes:
        variance: The unit.
        weights: (n_rows,) by noise and as declared; None when all rows count alike.
        noise: (n_rows,) variance of the noise of each row in this unit; None where no repeat and no error tells it.
    """

    variance: float
    weights: Array | None = None
    noise: Array | None = None

    @staticmethod
    def of(table: Table, target: int = 0) -> ErrorScale:
        """Return the scale of a table's target."""
        y = table.Y[:, target]
        weights = row_weights(table, target, (NOISE, COLUMN))
        variance = max(_bulk_variance(y, weights), _TINY)
        sd = standard_deviations(table, target)
        if sd is not None:
            return ErrorScale(variance, weights, sd**2 / variance)
        repeats = pooled_variance(table, target)
        noise = None if repeats is None else np.full(len(y), repeats / variance)
        return ErrorScale(variance, weights, noise)

    def nmse(self, miss: Array, rows: Points | None = None) -> float:
        """Return the mean squared error over the variance; `miss` (n_rows,) has all rows, of which `rows` count."""
        weights = self.weights
        if rows is not None:
            miss, weights = miss[rows], None if weights is None else weights[rows]
        if weights is None or not weights.any():
            return float(np.mean(miss**2)) / self.variance
        return float(np.average(miss**2, weights=weights)) / self.variance

    def floor(self, rows: Points) -> float:
        """Return the error that noise alone makes on some rows; 0 where it is unknown."""
        if self.noise is None:
            return 0.0
        weights = None if self.weights is None or not self.weights[rows].any() else self.weights[rows]
        return float(np.average(self.noise[rows], weights=weights))


def pooled_variance(table: Table, target: int = 0) -> float | None:
    """Return the variance between repeats of a point, all points together; None where no point is repeated."""
    index = table.points()
    counts = np.bincount(index)
    repeated = counts[index] > 1
    freedom = int(repeated.sum()) - int((counts > 1).sum())
    if freedom <= 0:
        return None
    y = table.Y[:, target]
    return float(np.sum((y - _point_means(index, y))[repeated] ** 2) / freedom)


def about_noise(table: Table, kinds: Collection[str] = OF_SEARCH) -> list[str]:
    """Return a sentence for each target whose noise changes, and so decides what rows weigh."""
    found = []
    for j, target in enumerate(table.targets):
        if target.yerr is not None and table.yerr is not None:
            found.append(f"rows weigh what the standard errors of {target.column} ({target.yerr}) say")
        elif NOISE in kinds and (model := noise_model(table, j)) is not None:
            sd = sorted(float(model.sd(np.array(z))) for z in (model.low, model.high))
            ends = f"{short(sd[0], 2)} to {short(sd[1], 2)}"
            along = {v.symbol: v.column for v in table.variables}.get(model.driver, f"the value of {target.column}")
            found.append(
                f"the noise of {target.column} changes with {along}, {short(model.factor, 2)}-fold between the "
                f"{model.n_points} repeated points (standard deviation {ends}, p = "
                f"{short(model.p_value, 1)}): rows weigh by "
                "how exact they are"
            )
    if table.weights_column is not None:
        found.append(f"rows weigh what column {table.weights_column} says")
    return found


def weights_record(table: Table, kinds: Collection[str]) -> dict[str, Any]:
    """Return what the weights of rows were made of, for the record of a law."""
    record: dict[str, Any] = {FRONTIER: True} if FRONTIER in kinds and frontier_weights(table) is not None else {}
    if errors := [t.yerr for t in table.targets if t.yerr is not None and table.yerr is not None]:
        record[YERR] = errors
    elif NOISE in kinds:
        models = {t.column: noise_model(table, j) for j, t in enumerate(table.targets)}
        record |= {NOISE: known} if (known := {c: m.to_json() for c, m in models.items() if m is not None}) else {}
    return record | ({COLUMN: table.weights_column} if table.weights is not None and COLUMN in kinds else {})


# --- how it is estimated --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fit:
    """A power fitted to variances: what it gains over constant noise, its constants, the offsets of the groups."""

    gain: float
    p_value: float
    level: float
    slope: float
    centre: float
    offsets: Array  # (n_groups,)


@dataclass(frozen=True)
class _Repeats:
    """Points with repeats: their variances (n_points,), degrees of freedom, groups, and what noise may change with."""

    variance: Array
    freedom: Array
    group: Points
    n_groups: int
    drivers: Mapping[str, Array]

    @staticmethod
    def of(table: Table, target: int) -> _Repeats | None:
        index = table.points()
        rows = np.column_stack([index, table.Y])
        first = np.sort(np.unique(rows, axis=0, return_index=True)[1])  # exact copies are no repeats
        y, at = table.Y[first, target], index[first]
        counts = np.bincount(at, minlength=int(index.max()) + 1)
        means = np.bincount(at, weights=y, minlength=len(counts)) / np.maximum(counts, 1)
        squares = np.bincount(at, weights=(y - means[at]) ** 2, minlength=len(counts))
        several = np.flatnonzero(counts > 1)
        freedom: Array = (counts[several] - 1).astype(np.float64)
        if len(several) < _LEAST_POINTS or freedom.sum() < _LEAST_FREEDOM or not squares[several].any():
            return None
        _, example = np.unique(index, return_index=True)
        X = table.X[example[several]]
        drivers = {v.symbol: _logarithm(v, X[:, i]) for i, v in enumerate(table.variables) if v.role == "scale"}
        if (np.abs(means[several]) > 0).all() and (means[several] > 0).all() | (means[several] < 0).all():
            drivers[VALUE] = _log(means[several])
        drivers = {d: z for d, z in drivers.items() if len(np.unique(z)) > 2}
        group = table.group_index[example[several]]
        return _Repeats(squares[several] / freedom, freedom, group, len(table.groups), drivers)

    def without(self, k: int) -> _Repeats:
        """Return all points but one."""
        return _Repeats(
            np.delete(self.variance, k), np.delete(self.freedom, k), np.delete(self.group, k), self.n_groups,
            {driver: np.delete(z, k) for driver, z in self.drivers.items()},
        )  # fmt: skip

    def extremes(self) -> tuple[int, int]:
        """Return the points that scatter most and least."""
        return int(np.argmax(self.variance)), int(np.argmin(self.variance))

    def best(self, driver: str | None = None) -> tuple[str, _Fit]:
        """Return what noise changes with, of all drivers unless one is named, and how."""
        named = [driver] if driver is not None else [*self.drivers]
        tried = [(d, self.fitted(self.drivers[d], 1.0 if d == VALUE else None)) for d in named]
        driver, fit = max(tried, key=lambda found: found[1].gain)
        return driver, replace(fit, p_value=min(fit.p_value * len(tried), 1.0))

    def fitted(self, z: Array, slope: float | None = None) -> _Fit:
        """Fit the variances to a power, exuberant ones held down; `slope` is its exponent where that is known.

        Levels of the groups could make a trend out of a few points. So there has to be one with and without them.
        """
        offsets = np.zeros(self.n_groups)
        found = self._at(z, slope, offsets)
        p_value = found.p_value
        for _ in range(_ROUNDS if self.n_groups > 1 else 0):
            # a regression at the groups' levels, then the levels about the regression
            _, held, expected = self._less(offsets)._regression(z, slope)
            sums, excess = (
                np.bincount(self.group, weights=w, minlength=self.n_groups)
                for w in (self.freedom, self.freedom * held / expected)
            )
            ratio = np.where(sums > 0, np.maximum(excess, 1e-12) / np.maximum(sums, 1.0), 1.0)
            # a group with few repeats has the level of all
            offsets = offsets + 0.5 * sums / (sums + _OWN) * np.log(ratio)
            found = self._at(z, slope, offsets)
        return replace(found, p_value=max(found.p_value, p_value))

    def _less(self, offsets: Array) -> _Repeats:
        return replace(self, variance=self.variance * np.exp(-2.0 * offsets[self.group]))

    def _at(self, z: Array, slope: float | None, offsets: Array) -> _Fit:
        """Fit the power at known levels of the groups, and compare it with constant noise."""
        beta, held, expected = self._less(offsets)._regression(z, slope)
        mean = float(np.average(held, weights=self.freedom))
        even = float(np.sum(self.freedom * (math.log(mean) + held / mean)))
        power = float(np.sum(self.freedom * (np.log(expected) + held / expected)))
        # of a chi-squared variable over its degrees of freedom the variance is 2 / freedom
        pearson = float(np.sum(self.freedom * (held / expected - 1.0) ** 2 / 2.0))
        dispersion = (pearson + _CHANCE) / (max(len(z) - 2, 0) + _CHANCE)
        gain = max((even - power) / max(dispersion, 1.0), 0.0)
        p_value = _f_tail(gain, len(z) - 2 + _CHANCE)
        centre = float(np.average(z, weights=self.freedom))
        return _Fit(gain, p_value, 0.5 * float(beta[0]), 0.5 * float(beta[1]), centre, offsets)

    def _regression(self, z: Array, slope: float | None) -> tuple[Array, Array, Array]:
        """Return the two constants of the log variance, the variances held down to it, and those that it expects."""
        design = np.column_stack([np.ones(len(z)), z - np.average(z, weights=self.freedom)])
        s2 = np.maximum(self.variance, 1e-12 * float(np.median(self.variance[self.variance > 0])))
        root = np.sqrt(self.freedom)
        # a start that the largest variances do not set
        beta = np.linalg.lstsq(design * root[:, None], np.log(s2) * root)[0]
        most = _quantile(self.freedom) / self.freedom
        for _ in range(_STEPS):
            ratio = np.minimum(s2 / np.exp(design @ beta), most)
            # Fisher scoring of the gamma likelihood with a logarithmic link
            step = np.clip(np.linalg.lstsq(design * root[:, None], (ratio - 1.0) * root)[0], -2.0, 2.0)
            if slope is not None:
                step[1] = 2.0 * slope - beta[1]
            beta = beta + step
            if np.abs(step).max() < 1e-10:
                break
        expected = np.exp(design @ beta)
        return beta, np.minimum(s2, most * expected), expected


def _declared(table: Table, target: int) -> Noise:
    """Return the power of a scale variable that declared standard errors follow best."""
    assert table.yerr is not None
    log_sd = np.log(table.yerr[:, target])
    scales = [v for v in table.variables if v.role == "scale"]
    drivers = {v.symbol: _logarithm(v, table.column(v.symbol)) for v in scales}
    if (table.Y[:, target] > 0).all():
        drivers[VALUE] = _log(table.Y[:, target])
    best: tuple[float, str, float, float] | None = None
    for driver, z in drivers.items():
        centre = float(z.mean())
        spread = float(np.sum((z - centre) ** 2))
        slope = float(np.sum((z - centre) * log_sd)) / spread if spread > 0 else 0.0
        left = float(np.sum((log_sd - log_sd.mean() - slope * (z - centre)) ** 2))
        if best is None or left < best[0] * (1.0 - 1e-9):
            best = left, driver, slope, centre
    if best is None:  # no scale variable and no value to follow
        return Noise(VALUE, float(log_sd.mean()), 0.0, 0.0, 0.0, 0.0, {}, table.n_rows)
    _, driver, slope, centre = best
    z = drivers[driver]
    return Noise(
        driver, float(log_sd.mean()), slope, centre, float(z.min()), float(z.max()), {}, table.n_rows
    )  # fmt: skip


def _point_means(index: Points, y: Array) -> Array:
    return np.asarray((np.bincount(index, weights=y) / np.maximum(np.bincount(index), 1))[index])


def _logarithm(variable: Variable, x: Array) -> Array:
    if variable.log:
        return np.asarray(x * variable.nats_per_unit)
    return _log(x)


def _log(x: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(np.log(np.maximum(np.abs(x), _TINY)))


def _bulk_variance(y: Array, weights: Array | None) -> float:
    """Return the variance with values far beyond the bulk brought back to its edge."""
    low, middle, high = np.percentile(y, [10, 50, 90])
    edge = _EDGE * (high - low)
    held = np.clip(y, middle - edge, middle + edge) if edge > 0 else y
    mean = float(np.average(held, weights=weights))
    return float(np.average((held - mean) ** 2, weights=weights))


_EDGE = 5.0  # ranges from the 10th to the 90th percentile


def _quantile(freedom: Array) -> Array:
    """Return the 99.9 % quantile of chi-squared."""
    from scipy.special import chdtri

    return np.asarray(chdtri(freedom, 1e-3))


def _f_tail(statistic: float, freedom: int) -> float:
    from scipy.special import fdtrc

    return float(fdtrc(1, freedom, statistic))
