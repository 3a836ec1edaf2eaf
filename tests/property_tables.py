"""Random tables of known origin, and what no law found on any of them may do.

A table is drawn from a seed: one of 30 forms with constants of its own, a design (grid, isoFLOP curves, a single ratio,
an uneven grid, repeats, groups with different rungs), noise, and perhaps failed runs. What a search hands out is then
checked against properties that hold for every table, so no answer is needed to find a fault:

- between a tenth of the smallest and a hundred times the largest value of each scale variable, also larger in one and
  smaller in another, predictions are finite and without pole or spike;
- "law" is not said of what misses its own rows: R² on the training rows is at least half of what the noise allows;
- the estimate of a constant lies inside its interval, a prediction between its low and its high.

    >>> draw(7).about.split(":")[0]
    'product'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Random = np.random.Generator
Law = Callable[[Mapping[str, Array]], Array]  # columns to the target without noise

TARGET = "y"
GROUP = "family"


# -- the forms ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """A law over named variables.

    Attributes:
        spans: Scale variables with the smallest and largest value that a table may reach.
        make: Draws constants and returns the law; called for each group with a generator in the same state but for a
            perturbation, so that groups are alike and not equal.
        hyper: Hyperparameters with their span.
        shares: How many proportions there are.
        score: The target is a score between 0 and 1, not a loss.
        whole: Variables that are counted, so rounded.
    """

    name: str
    spans: Mapping[str, tuple[float, float]]
    make: Callable[[_Dice], Law]
    hyper: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    shares: int = 0
    score: bool = False
    whole: tuple[str, ...] = ()


class _Dice:
    """Draws constants; the second group gets those of the first, a little changed."""

    def __init__(self, rng: Random, shift: Random | None = None) -> None:
        self._rng, self._shift = rng, shift

    def __call__(self, low: float, high: float) -> float:
        """Return a constant between two values; over a decade and more it is log-uniform."""
        if 0 < low < high / 9:
            value = math.exp(float(self._rng.uniform(math.log(low), math.log(high))))
        else:
            value = float(self._rng.uniform(low, high))
        return value if self._shift is None else value * math.exp(0.15 * float(self._shift.normal()))


_N, _D, _C = (1e6, 1e10), (1e8, 1e12), (1e17, 1e23)


def _power(r: _Dice) -> Law:
    A, a = r(0.5, 6.0), r(0.05, 0.6)
    return lambda x: A * (x["N"] / 1e7) ** -a


def _power_offset(r: _Dice) -> Law:
    E, A, a = r(0.3, 2.5), r(0.3, 4.0), r(0.1, 0.6)
    return lambda x: E + A * (x["N"] / 1e7) ** -a


def _saturating_power(r: _Dice) -> Law:
    E, A, a = r(0.7, 0.97), r(0.2, 0.5), r(0.08, 0.4)
    return lambda x: E - A * (x["N"] / 1e6) ** -a


def _chinchilla(r: _Dice) -> Law:
    E, A, a, B, b = r(1.2, 2.2), r(0.5, 2.0), r(0.25, 0.45), r(0.3, 1.5), r(0.2, 0.45)
    return lambda x: E + A * (x["N"] / 1e7) ** -a + B * (x["D"] / 1e9) ** -b


def _kaplan(r: _Dice) -> Law:
    n, d, a, b = r(1e10, 1e13), r(1e12, 1e14), r(0.05, 0.12), r(0.07, 0.13)
    return lambda x: ((n / x["N"]) ** (a / b) + d / x["D"]) ** b


def _shifted(r: _Dice) -> Law:
    E, A, K, a = r(0.3, 2.0), r(1.0, 4.0), r(3e6, 1e8), r(0.2, 0.7)
    return lambda x: E + A * ((x["N"] + K) / 1e7) ** -a


def _shifted_both(r: _Dice) -> Law:
    A, K, a, B, M, b = r(0.5, 3.0), r(1e6, 3e7), r(0.2, 0.5), r(0.5, 2.0), r(1e8, 3e9), r(0.2, 0.5)
    return lambda x: A * ((x["N"] + K) / 1e7) ** -a + B * ((x["D"] + M) / 1e9) ** -b


def _product(r: _Dice) -> Law:
    A, a, b = r(2.0, 6.0), r(0.04, 0.2), r(0.04, 0.2)
    return lambda x: A * (x["N"] / 1e7) ** -a * (x["D"] / 1e9) ** -b


def _product_offset(r: _Dice) -> Law:
    E, A, a, b = r(0.5, 2.0), r(1.0, 3.0), r(0.1, 0.3), r(0.1, 0.3)
    return lambda x: E + A * (x["N"] / 1e7) ** -a * (x["D"] / 1e9) ** -b


def _cross(r: _Dice) -> Law:
    base, C, c = _chinchilla(r), r(0.1, 0.6), r(0.1, 0.3)
    return lambda x: base(x) + C * (x["N"] * x["D"] / 1e16) ** -c


def _broken(r: _Dice) -> Law:
    # Caballero et al. 2023, one break
    E, A, a, c, n, f = r(0.0, 0.5), r(1.0, 4.0), r(0.02, 0.15), r(0.1, 0.5), r(1e7, 1e9), r(0.1, 0.8)
    return lambda x: E + A * (x["N"] / 1e6) ** -a * (1 + (x["N"] / n) ** (1 / f)) ** (-c * f)


def _two_powers(r: _Dice) -> Law:
    A, a, B, b = r(1.0, 3.0), r(0.4, 0.9), r(1.0, 3.0), r(0.03, 0.15)
    return lambda x: A * (x["N"] / 1e6) ** -a + B * (x["N"] / 1e6) ** -b


def _sigmoid(r: _Dice) -> Law:
    low, high, k, m = r(0.05, 0.3), r(0.7, 0.98), r(0.4, 1.5), r(-2.5, 2.5)
    return lambda x: low + (high - low) / (1 + np.exp(-k * (np.log(x["C"] / 1e20) - m)))


def _saturating_exponential(r: _Dice) -> Law:
    c, k, p = r(0.5, 0.95), r(1e19, 1e22), r(0.2, 0.7)
    return lambda x: c * -np.expm1(-((x["C"] / k) ** p))


def _hill(r: _Dice) -> Law:
    V, K, h = r(0.5, 0.95), r(1e3, 1e5), r(0.5, 1.6)
    return lambda x: V * x["n"] ** h / (K**h + x["n"] ** h)


def _log(r: _Dice) -> Law:
    a, b = r(0.05, 0.2), r(0.02, 0.05)
    return lambda x: a + b * np.log(x["n"])


def _two_logs(r: _Dice) -> Law:
    a, b, c = r(4.0, 6.0), r(0.05, 0.12), r(0.05, 0.12)
    return lambda x: a - b * np.log(x["N"] / 1e6) - c * np.log(x["D"] / 1e8)


def _repeats(r: _Dice) -> Law:
    # Muennighoff et al. 2023: later epochs are worth less
    E, B, b, half = r(1.5, 2.5), r(0.5, 2.0), r(0.2, 0.45), r(3.0, 16.0)
    return lambda x: E + B * (x["U"] / 1e9 * (1 + half * -np.expm1(-(x["epochs"] - 1) / half))) ** -b


def _overfitting(r: _Dice) -> Law:
    # loss that rises again when data are repeated too often
    E, B, b, p, q = r(1.5, 2.5), r(0.5, 1.5), r(0.2, 0.4), r(1e-4, 1e-2), r(1.0, 1.6)
    return lambda x: E + B * (x["U"] * x["epochs"] / 1e9) ** -b + p * x["epochs"] ** q


def _valley(r: _Dice) -> Law:
    E, A, a, c, k, m = r(1.5, 2.5), r(0.5, 2.0), r(0.2, 0.4), r(0.02, 0.15), r(0.1, 0.4), r(-6.5, -5.0)
    return lambda x: E + A * (x["N"] / 1e7) ** -a + c * (np.log(x["lr"]) - m + k * np.log(x["N"] / 1e7)) ** 2


def _two_valleys(r: _Dice) -> Law:
    base, d, j, s = _valley(r), r(0.01, 0.08), r(0.1, 0.3), r(4.0, 6.0)
    return lambda x: base(x) + d * (np.log(x["bs"]) - s - j * np.log(x["N"] / 1e7)) ** 2


def _mixture(r: _Dice) -> Law:
    # Ye et al. 2024
    c, k, t = r(1.0, 2.5), r(0.3, 1.0), [r(-2.5, 0.5) for _ in range(3)]
    return lambda x: c + k * np.exp(sum(t[i] * x[f"p{i}"] for i in range(3)))


def _mixture_scale(r: _Dice) -> Law:
    A, a, mix = r(0.5, 2.0), r(0.2, 0.4), _mixture(r)
    return lambda x: A * (x["N"] / 1e7) ** -a + mix(x)


def _vocabulary(r: _Dice) -> Law:
    E, A, a, B, b = r(1.0, 2.0), r(0.5, 2.0), r(0.2, 0.4), r(0.02, 0.1), r(0.2, 0.5)
    return lambda x: E + A * (x["N"] / 1e7) ** -a + B * (x["V"] / 1e4) ** -b


def _experts(r: _Dice) -> Law:
    # Clark et al. 2022: log-linear with interaction
    a, b, c, d = r(1.2, 1.6), r(0.06, 0.12), r(0.03, 0.08), r(0.002, 0.008)
    return lambda x: np.exp(
        a - b * np.log(x["N"] / 1e7) - c * np.log(x["experts"]) + d * np.log(x["N"] / 1e7) * np.log(x["experts"])
    )


def _parallel(r: _Dice) -> Law:
    E, A, a, k = r(1.0, 2.0), r(0.5, 2.0), r(0.2, 0.4), r(0.1, 0.6)
    return lambda x: E + A * (x["N"] / 1e7 * (1 + k * np.log(x["streams"]))) ** -a


def _precision(r: _Dice) -> Law:
    base, C, g = _chinchilla(r), r(0.3, 2.0), r(0.3, 0.9)
    return lambda x: base(x) + C * np.exp(-g * x["bits"])


def _curve(r: _Dice) -> Law:
    E, A, t, B, b = r(1.5, 2.5), r(0.5, 3.0), r(500.0, 5000.0), r(0.5, 2.0), r(0.2, 0.6)
    return lambda x: E + A * np.exp(-x["steps"] / t) + B * (x["steps"] / 100) ** -b


def _transfer(r: _Dice) -> Law:
    # Hernandez et al. 2021: pre-training is worth so much fine-tuning data
    E, B, b, k, a = r(0.5, 1.5), r(0.8, 2.5), r(0.15, 0.4), r(1e3, 1e5), r(0.1, 0.35)
    return lambda x: E + B * ((x["n"] + k * (x["N"] / 1e7) ** a) / 1e4) ** -b


def _growth(r: _Dice) -> Law:
    K, y, rate = r(0.8, 3.0), r(0.01, 0.1), r(0.6, 1.6)
    return lambda x: K / (1 + (K / y - 1) * np.exp(-rate * x["t"]))


FORMS: tuple[Form, ...] = (
    Form("power", {"N": _N}, _power),
    Form("power with offset", {"N": _N}, _power_offset),
    Form("score, saturating power", {"N": _N}, _saturating_power, score=True),
    Form("Chinchilla", {"N": _N, "D": _D}, _chinchilla),
    Form("Kaplan", {"N": _N, "D": _D}, _kaplan),
    Form("shifted power", {"N": _N}, _shifted),
    Form("two shifted powers", {"N": _N, "D": _D}, _shifted_both),
    Form("product", {"N": _N, "D": _D}, _product),
    Form("product with offset", {"N": _N, "D": _D}, _product_offset),
    Form("Chinchilla with a cross term", {"N": _N, "D": _D}, _cross),
    Form("broken power", {"N": _N}, _broken),
    Form("two powers of one variable", {"N": _N}, _two_powers),
    Form("accuracy, sigmoid of log C", {"C": _C}, _sigmoid, score=True),
    Form("accuracy, saturating exponential", {"C": _C}, _saturating_exponential, score=True),
    Form("accuracy, Hill curve", {"n": (10.0, 1e6)}, _hill, score=True),
    Form("score, logarithm", {"n": (10.0, 1e6)}, _log, score=True),
    Form("two logarithms", {"N": _N, "D": _D}, _two_logs),
    Form("repeated data", {"U": (1e8, 1e10), "epochs": (1.0, 64.0)}, _repeats, whole=("epochs",)),
    Form("repeated too often", {"U": (1e8, 1e10), "epochs": (1.0, 64.0)}, _overfitting, whole=("epochs",)),
    Form("learning rate", {"N": _N}, _valley, hyper={"lr": (1e-4, 2e-2)}),
    Form("learning rate and batch", {"N": _N}, _two_valleys, hyper={"lr": (1e-4, 2e-2), "bs": (16.0, 1024.0)}),
    Form("mixture", {}, _mixture, shares=3),
    Form("mixture and scale", {"N": _N}, _mixture_scale, shares=3),
    Form("vocabulary", {"N": _N, "V": (4e3, 3e5)}, _vocabulary, whole=("V",)),
    Form("experts", {"N": _N, "experts": (1.0, 256.0)}, _experts, whole=("experts",)),
    Form("parallel streams", {"N": _N, "streams": (1.0, 16.0)}, _parallel, whole=("streams",)),
    Form("precision", {"N": _N, "D": _D, "bits": (3.0, 16.0)}, _precision, whole=("bits",)),
    Form("learning curve", {"steps": (100.0, 1e5)}, _curve, whole=("steps",)),
    Form("transfer", {"N": _N, "n": (100.0, 1e6)}, _transfer, whole=("n",)),
    Form("growth below its ceiling", {"t": (0.5, 8.0)}, _growth),
)
assert len(FORMS) == 30


# -- the designs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A table with what is known of it.

    Attributes:
        columns: What is handed to `sld.discover`, as it would stand in a file.
        roles: Its keywords.
        truth: (n_rows,) the target without noise.
        failed: (n_rows,) rows of failed runs.
        laws: The law of each group.
        about: The form, the design and the noise, in a few words.
    """

    seed: int
    about: str
    columns: Mapping[str, Any]
    roles: Mapping[str, Any]
    truth: Array
    failed: NDArray[np.bool_]
    laws: tuple[Law, ...]

    def predict(self, points: Mapping[str, Any]) -> Array:
        """Return the target without noise (n_rows, 1) at any points, as a law's `predict` does."""
        columns = {n: np.asarray(v) for n, v in points.items()}
        family = columns.get(GROUP, np.repeat("f0", len(next(iter(columns.values())))))
        each = [law(columns) for law in self.laws]
        return np.select([family == f"f{g}" for g in range(len(each))], each)[:, None]

    @property
    def scale(self) -> tuple[str, ...]:
        """The scale variables."""
        return tuple(self.roles.get("scale", ()))

    @property
    def y(self) -> Array:
        """(n_rows,) the target as measured."""
        return np.asarray(self.columns[TARGET], dtype=np.float64)


def draw(seed: int) -> Drawn:
    """Return table number `seed`: forms come in turn, all else is drawn from the number."""
    form = FORMS[seed % len(FORMS)]
    rng = np.random.default_rng([20260101, seed])
    n_groups = int(rng.choice([1, 1, 1, 2, 3, 4])) if not form.shares else 1
    most = max(5, int(math.exp(rng.uniform(math.log(5), math.log(150)))) // n_groups)
    spans = {name: _narrowed(span, rng) for name, span in form.spans.items()}
    design, parts = "", []
    for _ in range(n_groups):
        own = {n: _moved(s, rng) for n, s in spans.items()} if n_groups > 1 else spans
        design, points = _points(form, own, most, rng)
        parts.append(points)
    constants = int(rng.integers(2**32))
    laws = tuple(form.make(_Dice(np.random.default_rng(constants), None if g == 0 else rng)) for g in range(n_groups))
    truth = np.concatenate([law(points) for law, points in zip(laws, parts, strict=True)])
    truth = np.minimum(truth, 1.0) if form.score else truth
    columns: dict[str, Any] = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    family = np.repeat([f"f{g}" for g in range(n_groups)], [len(next(iter(p.values()))) for p in parts])
    noise, measured = _noisy(form, truth, columns, rng)
    measured, failed, how = _failed(form, measured, rng)
    if n_groups > 1:
        columns[GROUP] = family
    columns[TARGET] = np.array([float(f"{v:.6g}") for v in measured])  # as a log prints it
    order = rng.permutation(len(truth))  # files are in no order
    columns = {name: values[order] for name, values in columns.items()}
    roles: dict[str, Any] = {"target": TARGET, **({"scale": list(form.spans)} if form.spans else {})}
    roles |= {"hyper": list(form.hyper)} if form.hyper else {}
    roles |= {"proportion": [f"p{i}" for i in range(form.shares)]} if form.shares else {}
    roles |= {"group": GROUP} if n_groups > 1 else {}
    roles |= {"higher_is_better": True} if form.score else {}
    many = f", {n_groups} groups" if n_groups > 1 else ""
    about = f"{form.name}: {design}, {len(truth)} rows{many}, {noise}{how}"
    return Drawn(seed, about, columns, roles, truth[order], failed[order], laws)


def _narrowed(span: tuple[float, float], rng: Random) -> tuple[float, float]:
    """Return a part of a span, half of it at least (in the logarithm): nobody measures all of it."""
    low, high = math.log(span[0]), math.log(span[1])
    width = (high - low) * rng.uniform(0.5, 1.0)
    start = rng.uniform(low, high - width)
    return math.exp(start), math.exp(start + width)


def _moved(span: tuple[float, float], rng: Random) -> tuple[float, float]:
    """Return the span of one group: families come in sizes of their own."""
    factor = math.exp(rng.uniform(-0.7, 0.7))
    return span[0] * factor, span[1] * factor


def _points(
    form: Form, spans: Mapping[str, tuple[float, float]], most: int, rng: Random
) -> tuple[str, dict[str, Array]]:
    """Return the name of a design and its columns."""
    designs: list[Callable[..., dict[str, Array]]] = [_grid, _uneven, _scattered]
    if {"N", "D"} <= set(spans):
        designs += [_isoflop, _single_ratio]
    design = designs[int(rng.integers(len(designs)))]
    columns = design({**spans, **form.hyper}, most, rng)
    n = len(next(iter(columns.values()))) if columns else most
    if form.shares:
        n = max(n, 8)
        p = rng.dirichlet(np.ones(form.shares), n).round(4)
        p[:, -1] = 1.0 - p[:, :-1].sum(axis=1)
        columns = {k: np.resize(v, n) for k, v in columns.items()} | {f"p{i}": p[:, i] for i in range(form.shares)}
    for name in form.whole:
        columns[name] = np.maximum(np.round(columns[name]), 1.0)
    columns = {k: v if k.startswith("p") else _rounded(v) for k, v in columns.items()}
    if rng.random() < 0.3:  # runs with other seeds
        again = np.repeat(np.arange(n), rng.integers(1, 4, n))[: max(most, 8)]
        return f"{design.__name__[1:].replace('_', ' ')} with repeats", {k: v[again] for k, v in columns.items()}
    return design.__name__[1:].replace("_", " "), columns


def _rounded(values: Array) -> Array:
    return np.array([float(f"{v:.4g}") for v in values])


def _grid(spans: Mapping[str, tuple[float, float]], most: int, rng: Random) -> dict[str, Array]:
    """Every level of one variable with every level of the others."""
    levels = zip(spans.items(), _levels(spans, most), strict=True)
    return _product_of({name: np.geomspace(*span, n) for (name, span), n in levels})


def _uneven(spans: Mapping[str, tuple[float, float]], most: int, rng: Random) -> dict[str, Array]:
    """A grid whose levels are at random places, and some of whose points nobody measured."""
    levels = {
        name: np.sort(np.exp(rng.uniform(math.log(span[0]), math.log(span[1]), n)))
        for (name, span), n in zip(spans.items(), _levels(spans, most), strict=True)
    }
    columns = _product_of(levels)
    n = len(next(iter(columns.values()))) if columns else 0
    keep = np.sort(rng.permutation(n)[: max(5, int(n * rng.uniform(0.6, 1.0)))])
    return {name: values[keep] for name, values in columns.items()}


def _scattered(spans: Mapping[str, tuple[float, float]], most: int, rng: Random) -> dict[str, Array]:
    """Runs that happened to be there."""
    return {name: np.exp(rng.uniform(math.log(span[0]), math.log(span[1]), most)) for name, span in spans.items()}


def _isoflop(spans: Mapping[str, tuple[float, float]], most: int, rng: Random) -> dict[str, Array]:
    """Several sizes at each of a few budgets."""
    n = max(2, round(math.sqrt(most)))
    low, high = (math.log(6 * spans["N"][k] * spans["D"][k]) for k in (0, 1))
    budgets = np.exp(np.linspace(low + 0.2 * (high - low), high - 0.2 * (high - low), n))
    middle = math.sqrt(spans["N"][0] * spans["N"][1]) * np.sqrt(budgets / math.exp((low + high) / 2))
    sizes = middle[:, None] * np.geomspace(0.2, 5.0, max(3, most // n))[None, :]
    tokens = budgets[:, None] / (6 * sizes)
    columns = {"N": sizes.ravel(), "D": tokens.ravel()}
    for name, span in spans.items():
        if name not in columns:
            columns[name] = rng.choice(np.geomspace(*span, 4), len(columns["N"]))
    return columns


def _single_ratio(spans: Mapping[str, tuple[float, float]], most: int, rng: Random) -> dict[str, Array]:
    """Every size at the same tokens per parameter."""
    sizes = np.geomspace(*spans["N"], max(5, min(most, 12)))
    columns = {"N": sizes, "D": sizes * math.exp(rng.uniform(math.log(5), math.log(200)))}
    for name, span in spans.items():
        if name not in columns:
            columns[name] = rng.choice(np.geomspace(*span, 4), len(sizes))
    return columns


def _levels(spans: Mapping[str, tuple[float, float]], most: int) -> list[int]:
    """Return how many levels each variable has: more of the first."""
    if not spans:
        return []
    each = max(2, round(most ** (1 / len(spans))))
    first = max(3 if len(spans) > 1 else 5, most // each ** (len(spans) - 1))
    return [first, *[each] * (len(spans) - 1)]


def _product_of(levels: Mapping[str, Array]) -> dict[str, Array]:
    meshes = np.meshgrid(*levels.values(), indexing="ij")
    return {name: mesh.ravel() for name, mesh in zip(levels, meshes, strict=True)}


def _noisy(form: Form, truth: Array, columns: Mapping[str, Array], rng: Random) -> tuple[str, Array]:
    """Return the kind of noise and the target with it: of one size, or falling with the first scale variable."""
    spread = float(np.exp(rng.uniform(math.log(5e-4), math.log(0.05))))
    sigma = np.full(len(truth), spread)
    name = f"noise {spread:.2g}"
    if form.spans and rng.random() < 0.35:
        x = columns[next(iter(form.spans))]
        sigma = 3 * spread * (x / x.min()) ** -rng.uniform(0.2, 0.6)
        name += " falling with scale"
    measured = truth * np.exp(sigma * rng.normal(size=len(truth)))
    return name, np.minimum(measured, 1.0) if form.score else measured


def _failed(form: Form, y: Array, rng: Random) -> tuple[Array, NDArray[np.bool_], str]:
    """Return the target with failed runs, which they are, and how they failed."""
    failed = np.zeros(len(y), dtype=np.bool_)
    if form.score or len(y) < 10 or rng.random() > 0.3:
        return y, failed, ""
    rows = rng.permutation(len(y))[: int(rng.integers(1, max(2, min(4, len(y) // 8)) + 1))]
    failed[rows] = True
    zero = rng.random() < 0.3
    y = y.copy()
    y[rows] = 0.0 if zero else y[rows] * rng.uniform(6.0, 30.0, len(rows))
    return y, failed, f", {len(rows)} failed runs ({'0.0' if zero else 'diverged'})"


# -- the properties ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Violation:
    """A property that does not hold: its kind, and where."""

    kind: str
    where: str


KINDS = ("crash", "not finite", "pole", "spike", "false law", "constant outside", "prediction outside")
WATCHED = ("runs away",)  # counted beside them: a law may be wrong far out without being undefined there

_WALK = 500  # points of a walk
_ZOOMS = 3  # each looks ten times as closely
_STEEPEST = 3  # places of a walk that are looked at
_JUMP = 0.3  # of the span of the data, and of the step before the zooms: a smooth law has a thousandth of that left
_SPIKE = 0.5  # of the span of the data, within the spacing of rungs
_AWAY = 1e6  # times the largest value of the table
_MOST_BASES = 5


def check(found: Any, drawn: Drawn) -> list[Violation]:
    """Return what is wrong with a discovery (`sld.Discovery`, with intervals) on its own table; [] if nothing is."""
    import sld

    violations: dict[str, Violation] = {}
    with np.errstate(all="ignore"):
        for walk in walks(drawn):
            for violation in _along(found.law, drawn, walk):
                violations.setdefault(violation.kind, violation)
        for violation in (*_false_law(found, drawn), *_constants(found.law), *_predictions(sld, found.law, drawn)):
            violations.setdefault(violation.kind, violation)
    return list(violations.values())


@dataclass(frozen=True)
class Walk:
    """A straight line in the logarithms of the scale variables, between two points, all else kept.

    Attributes:
        start, end: Values of the scale variables.
        rest: The other columns.
        spacing: Between neighbouring rungs of what moves, as a part of the walk.
    """

    start: Mapping[str, float]
    end: Mapping[str, float]
    rest: Mapping[str, Any]
    spacing: float

    def columns(self, part: Array) -> dict[str, Any]:
        """Return the points at so many parts of the way."""
        moved = {n: self.start[n] ** (1 - part) * self.end[n] ** part for n in self.start}
        return moved | {n: np.repeat(v, len(part)) for n, v in self.rest.items()}

    @property
    def text(self) -> str:
        """Where it goes."""
        moving = [n for n in self.start if self.start[n] != self.end[n]]
        ends = ", ".join(f"{n} {self.start[n]:.3g} to {self.end[n]:.3g}" for n in moving)
        kept = ", ".join(f"{n}={self.start[n]:.3g}" for n in self.start if n not in moving)
        rest = ", ".join(f"{n}={v if isinstance(v, str) else format(v, '.3g')}" for n, v in self.rest.items())
        return "; ".join(part for part in (ends, kept, rest) if part)


def walks(drawn: Drawn) -> Iterator[Walk]:
    """Yield the walks: each variable from a tenth to a hundred times, then one up with another down, then all up."""
    names = drawn.scale
    if not names:
        return
    X = {n: np.asarray(drawn.columns[n], dtype=np.float64) for n in names}
    low = {n: float(x.min()) / 10 for n, x in X.items()}
    high = {n: float(x.max()) * 100 for n, x in X.items()}
    others = [n for n in drawn.columns if n not in names and n != TARGET]
    for row in _bases(drawn):
        at = {n: float(X[n][row]) for n in names}
        rest = {n: _plain(drawn.columns[n][row]) for n in others}
        moves = [({**at, n: low[n]}, {**at, n: high[n]}) for n in names]
        for i, n in enumerate(names):
            moves += [({**at, n: low[n], m: high[m]}, {**at, n: high[n], m: low[m]}) for m in names[i + 1 :]]
        moves += [(low, high)] if len(names) > 1 else []
        for start, end in moves:
            moving = [n for n in names if start[n] != end[n]]
            spacing = min(_spacing(X[n]) / math.log(high[n] / low[n]) for n in moving)
            yield Walk(start, end, rest, spacing)


def _bases(drawn: Drawn) -> list[int]:
    """Return a few rows of each group: the cheapest, the dearest, and some between."""
    size = sum(np.log(np.asarray(drawn.columns[n], dtype=np.float64)) for n in drawn.scale)
    groups = np.asarray(drawn.columns.get(GROUP, np.zeros(len(drawn.truth))))
    rows: list[int] = []
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        own = own[np.argsort(np.asarray(size)[own], kind="stable")]
        rows += [int(own[k]) for k in sorted(set(np.linspace(0, len(own) - 1, _MOST_BASES).astype(int)))]
    return rows


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else float(value)


def _spacing(x: Array) -> float:
    levels = np.unique(np.log(x))
    return float(np.median(np.diff(levels))) if len(levels) > 1 else 1.0


def _along(law: Any, drawn: Drawn, walk: Walk) -> Iterator[Violation]:
    part = np.linspace(0.0, 1.0, _WALK)
    value = law.predict(walk.columns(part))[:, 0]
    if not np.isfinite(value).all():
        first = part[int(np.argmin(np.isfinite(value)))]
        yield Violation("not finite", f"{_point(walk, first)} ({walk.text})")
        return
    span = float(np.ptp(drawn.y[~drawn.failed])) or 1.0
    for at in _jumps(law, walk, float(np.median(value)), span):
        yield Violation("pole", f"{_point(walk, at)} ({walk.text})")
    if np.abs(value).max() > _AWAY * np.abs(drawn.y).max():
        k = int(np.argmax(np.abs(value)))
        yield Violation("runs away", f"{value[k]:.3g} at {_point(walk, part[k])} ({walk.text})")
    half = int(walk.spacing * (_WALK - 1) / 2)
    if half >= 2:
        left, middle, right = value[: -2 * half], value[half:-half], value[2 * half :]
        out = np.maximum(middle - np.maximum(left, right), np.minimum(left, right) - middle)
        k = int(np.argmax(out))
        if out[k] > _SPIKE * span:
            yield Violation("spike", f"{out[k]:.3g} high at {_point(walk, part[half + k])} ({walk.text})")


def _jumps(law: Any, walk: Walk, middle: float, span: float) -> Iterator[float]:
    """Yield where neighbours stay apart however closely they are looked at.

    Seen through asinh, a law that merely grows without end has no large steps, and a pole has them on all scales: its
    two sides never meet, and values on one side differ by a constant factor from point to point.
    """

    def steps(start: float, end: float) -> tuple[Array, Array]:
        part = np.linspace(start, end, _WALK)
        value = law.predict(walk.columns(part))[:, 0]
        seen = np.where(np.isfinite(value), np.arcsinh((value - middle) / span), np.inf)
        return part, np.abs(np.diff(seen))

    part, first = steps(0.0, 1.0)
    for k in np.argsort(-first, kind="stable")[:_STEEPEST]:
        at, before = float(part[k]), float(first[k])
        step, width = before, 1.0
        for _ in range(_ZOOMS):
            width /= 10
            closer, found = steps(max(0.0, at - width / 2), min(1.0, at + width / 2))
            found = np.where(np.isnan(found), np.inf, found)
            at, step = float(closer[int(np.argmax(found))]), float(found.max())
        if step > _JUMP * max(before, 1.0):
            yield at
            return


def _point(walk: Walk, part: float) -> str:
    return ", ".join(f"{n}={float(walk.columns(np.array([part]))[n][0]):.4g}" for n in walk.start)


def r_squared(y: Array, predicted: Array, groups: NDArray[Any]) -> float:
    """Return R² within groups, pooled: what is left of the squares around each group's mean."""
    centred = sum(float(((y[groups == g] - y[groups == g].mean()) ** 2).sum()) for g in np.unique(groups))
    return 1.0 - float(((y - predicted) ** 2).sum()) / centred if centred > 0 else math.nan


def _false_law(found: Any, drawn: Drawn) -> Iterator[Violation]:
    if found.verdict.kind != "law":
        return
    good = ~drawn.failed
    points = {n: np.asarray(v)[good] for n, v in drawn.columns.items() if n != TARGET}
    groups = np.asarray(points.get(GROUP, np.zeros(int(good.sum()))))
    allowed = r_squared(drawn.y[good], drawn.truth[good], groups)
    reached = r_squared(drawn.y[good], found.law.predict(points)[:, 0], groups)
    if allowed > 0 and not reached >= 0.5 * allowed:
        yield Violation("false law", f"R² {reached:.3f} on its own rows; the noise allows {allowed:.3f}")


def _constants(law: Any) -> Iterator[Violation]:
    from sld.analysis.intervals import constant_intervals

    if law.intervals is None:
        return
    for target, by_group in constant_intervals(law).items():
        for group, spans in by_group.items():
            for name, ends in spans.items():
                value = law.constants[target][group][name]
                if ends is None or not all(math.isfinite(e) for e in ends):
                    continue  # said to be unknown
                slack = 1e-9 * abs(value)
                if not ends[0] - slack <= value <= ends[1] + slack:
                    text = f"{name} = {value:.6g} [{ends[0]:.6g}, {ends[1]:.6g}]"
                    yield Violation("constant outside", f"{text}, group {group}")


def _predictions(sld: Any, law: Any, drawn: Drawn) -> Iterator[Violation]:
    if law.intervals is None:
        return
    for points in (
        {n: v for n, v in drawn.columns.items() if n != TARGET},
        *(walk.columns(np.linspace(0.0, 1.0, 23)) for walk in walks(drawn)),
    ):
        told = sld.predict(law, points)
        value, low, high = (np.asarray(told[f"{TARGET}{end}"], dtype=np.float64) for end in ("", "_low", "_high"))
        known = np.isfinite(value) & ~np.isnan(low) & ~np.isnan(high)
        slack = 1e-9 * np.abs(value)
        wrong = known & ~((low - slack <= value) & (value <= high + slack))
        if wrong.any():
            k = int(np.argmax(wrong))
            at = ", ".join(f"{n}={_plain(v[k])}" for n, v in points.items())
            yield Violation("prediction outside", f"{value[k]:.6g} [{low[k]:.6g}, {high[k]:.6g}] at {at}")
            return


def judge(seed: int, budget: str = "800fits") -> tuple[str, list[Violation]]:
    """Search table `seed`; return the verdict ("refused" where the table is) and what is wrong with the law."""
    import sld
    from sld.core.errors import SldError

    drawn = draw(seed)
    try:
        found = sld.discover(dict(drawn.columns), budget=budget, workers=1, **drawn.roles)
    except SldError as error:
        return f"refused: {error}", []
    return found.verdict.kind, check(found, drawn)
