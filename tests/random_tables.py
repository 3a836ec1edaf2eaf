"""Random tables of known origin.

A table is drawn from a seed: one of 30 forms with constants of its own, a design (grid, isoFLOP curves, a single ratio,
an uneven grid, repeats, groups with different rungs), noise, and perhaps failed runs.

    >>> draw(7).about.split(":")[0]
    'product'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
