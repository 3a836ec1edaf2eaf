"""Tables with known constants, and fits by other means, for the tests of fitting."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.optimize import minimize

from sld.data.card import Target, Variable
from sld.data.table import Table
from sld.fit.fitting import FitResult, fit
from sld.fit.kernel import Array, evaluate
from sld.formula.expression import parse

VARIABLES = ("N", "D", "lr", "p", "x")


def points(n: int = 120, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    low_high = {"N": (1e7, 1e10), "D": (1e9, 1e12), "lr": (1e-4, 1e-2)}
    out = {v: np.exp(rng.uniform(math.log(a), math.log(b), n)) for v, (a, b) in low_high.items()}
    return out | {"p": rng.uniform(0, 1, n), "x": rng.normal(0, 2, n)}


def table_of(
    columns: Mapping[str, Array],
    y: Array,
    groups: Sequence[str] | None = None,
) -> Table:
    """Return a table without the checks of `table_from`, so that bad numbers get through."""
    names = tuple(dict.fromkeys(groups)) if groups else ("all",)
    index = np.array([names.index(g) for g in groups]) if groups else np.zeros(len(y), dtype=np.intp)
    return Table(
        variables=tuple(Variable(column=c, role="covariate") for c in columns),
        targets=(Target(column="y"),),
        X=np.column_stack(list(columns.values())),
        Y=y[:, None],
        groups=names,
        group_index=index,
    )


def planted(form: str, truth: Mapping[str, float], *, noise: float = 0.0, n: int = 120, seed: int = 0) -> Table:
    v = points(n, seed)
    y = evaluate(parse(form, VARIABLES), v, truth)
    return table_of(v, y + noise * np.random.default_rng(seed + 1).normal(size=n))


def fitted(form: str, table: Table, **options: object) -> FitResult:
    return fit(table.parse(form), table, **options)  # type: ignore[arg-type]


CHINCHILLA = "E + A*N**-a + B*D**-b"
TRUTH = {"E": 1.69, "A": 406.4, "a": 0.34, "B": 410.7, "b": 0.28}


def chinchilla(c: Array, N: Array, D: Array) -> Array:
    """E, log A, a, log B, b: written once more, so that the reference shares nothing with the package."""
    return np.asarray(c[0] + np.exp(c[1] - c[2] * np.log(N)) + np.exp(c[3] - c[4] * np.log(D)))


def independent(loss: Callable[[Array], float], begin: Array) -> Array:
    """Minimise without derivatives, restarted until nothing moves."""
    best = begin
    for _ in range(8):
        options = {"maxiter": 40000, "maxfev": 40000, "xatol": 1e-12, "fatol": 1e-16, "adaptive": True}
        best = minimize(loss, best, method="Nelder-Mead", options=options).x
    return best


def as_scipy(constants: Mapping[str, float]) -> Array:
    c = constants
    return np.array([c["E"], math.log(c["A"]), c["a"], math.log(c["B"]), c["b"]])


def huber_sum(r: Array, delta: float) -> float:
    a = np.abs(r)
    return float(np.where(a <= delta, 0.5 * a * a, delta * (a - 0.5 * delta)).sum())


GROUPED = ["b", "a", "c", "a"]


def grouped_table(noise: float = 0.002) -> tuple[Table, list[str]]:
    rng = np.random.default_rng(5)
    v = {k: u[:100] for k, u in points(100).items()}
    groups = [GROUPED[i % 4] for i in range(100)]
    E = np.array([{"a": 1.5, "b": 1.8, "c": 2.1}[g] for g in groups])
    A = np.array([{"a": 300.0, "b": 400.0, "c": 500.0}[g] for g in groups])
    y = E + A * v["N"] ** -0.33 + noise * rng.normal(size=100)
    return table_of(v, y, groups), groups
