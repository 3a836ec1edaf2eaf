import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from many_cases import each
from trees import trees

from sld.data.table import table_from
from sld.fit.fitter import Fitter
from sld.fit.kernel import Array, evaluate, linear_constants
from sld.fit.starts import Sample, draw_starts
from sld.formula.expression import Expression, Node, parse

VARIABLES = ("N", "D", "lr", "x")
N_STARTS = 200


def columns(n: int = 60) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {
        "N": np.exp(rng.uniform(np.log(1e6), np.log(1e10), n)),
        "D": np.exp(rng.uniform(np.log(1e8), np.log(1e12), n)),
        "lr": np.exp(rng.uniform(np.log(1e-4), np.log(1e-2), n)),
        "x": rng.normal(0, 2, n),
    }


def drawn(form: str, *, positive: tuple[str, ...] = (), scale: float = 1.0, seed: int = 0) -> dict[str, Array]:
    """Return constant -> (n_starts,) for the nonlinear constants of a form."""
    expression = parse(form, VARIABLES)
    rest, bases = linear_constants(expression)
    names = [c for c in expression.constants if c not in bases]
    rng = np.random.default_rng(seed)
    values = draw_starts(rest, list(bases.values()), names, positive, Sample(columns()), N_STARTS, rng, scale=scale)
    assert values.shape == (N_STARTS, len(names)) and np.isfinite(values).all()
    return dict(zip(names, values.T, strict=True))


def values_of(form: str, constants: dict[str, Array]) -> Array:
    """Return the form at every start: (n_starts, n_rows)."""
    expression, v = parse(form, VARIABLES), columns()
    rows = [evaluate(expression, v, {c: float(u[i]) for c, u in constants.items()}) for i in range(N_STARTS)]
    return np.array(rows)


def test_exponents_are_of_order_one_and_mostly_of_the_written_sign() -> None:
    a = drawn("E + A*N**-a")["a"]
    assert np.abs(a).max() < 2 and np.median(np.abs(a)) < 0.5
    assert 0.8 < (a > 0).mean() < 0.95


def test_same_seed_same_starts() -> None:
    first, second, third = (drawn("E + A/(N**a + c)", seed=s) for s in (4, 4, 5))
    assert all((first[c] == second[c]).all() for c in first)
    assert (first["a"] != third["a"]).all()


def test_positive_constants_are_positive() -> None:
    found = drawn("(c/N)**a + k*abs(x - m)", positive=("c", "a", "k", "m"))
    assert all((v > 0).all() for v in found.values())


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_a_term_that_cannot_be_solved_for_has_the_size_of_the_target(scale: float) -> None:
    form = "k*(log(lr) - c)**2"
    value = np.abs(values_of(form, drawn(form, scale=scale)))
    assert 0.1 * scale < np.median(value) < 10 * scale


@each(
    "centre",
    [
        "log(lr) - c",
        "log(lr) - c - g*log(N)",
        "log(lr) - c + g*log(N) + h*log(D)",
        "log(lr) - log(c*N**-g)",
        "-x/3 + c",
    ],
)
def test_centres_lie_among_the_data_whatever_the_slopes(centre: str) -> None:
    found = drawn(f"k*({centre})**2")
    value = values_of(centre, {c: v for c, v in found.items() if c != "k"})
    inside = (value.min(axis=1) < 0) & (value.max(axis=1) > 0)
    assert inside.mean() > 0.85


@pytest.mark.parametrize(
    "form", ["sigmoid(k*(log(N) - c))", "sigmoid(k*log(N) + m*log(D) + c)", "tanh(k*(log(N) - c))"]
)
def test_transitions_happen_within_the_data(form: str) -> None:
    value = values_of(form, drawn(f"L + U*{form}"))
    assert (np.ptp(value, axis=1) > 0.1).mean() > 0.8


def test_hinges_bend_among_the_data() -> None:
    found = drawn("E + A*max(log(N) - c, 0)")["c"]
    logs = np.log(columns()["N"])
    assert ((found > logs.min()) & (found < logs.max())).mean() > 0.8


@each("base", ["N + c", "c + N", "N - c", "c - N"])
def test_shifted_bases_stay_positive(base: str) -> None:
    assert (values_of(base, drawn(f"E + A*({base})**-a")) > 0).all()


@each("form", ["exp(-k*N)", "exp(N/k)", "N**-a*D**-b", "(N**a + c)**-b", "a**(N/k)"])
def test_starts_do_not_overflow(form: str) -> None:
    value = values_of(form, drawn(f"E + A*{form}"))
    assert (np.isfinite(value).all(axis=1)).mean() > 0.95


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(tree=trees([*VARIABLES, "a", "b", "c", "d"], max_leaves=10), positive=st.booleans())
def test_any_formula_gets_finite_starts(tree: Node, positive: bool) -> None:
    expression = Expression(tree, VARIABLES)
    rest, bases = linear_constants(expression)
    names = [c for c in expression.constants if c not in bases]
    signs = names if positive else []
    found = draw_starts(
        rest, list(bases.values()), names, signs, Sample(columns()), 5, np.random.default_rng(0), scale=3.0
    )
    assert found.shape == (5, len(names)) and np.isfinite(found).all()
    assert not positive or (found > 0).all()


@each(
    ("form", "truth", "least"),
    [
        ("E + A*N**-a + B*D**-b", {"E": 1.7, "A": 400, "a": 0.34, "B": 410, "b": 0.28}, 0.99),
        ("E + A*(N + c)**-a", {"E": 1.7, "A": 400, "a": 0.34, "c": 3e7}, 0.85),
        (
            "E + A*N**-a + k*(log(lr) - c - g*log(N))**2",
            {"E": 1.7, "A": 400, "a": 0.34, "k": 0.05, "c": -1, "g": -0.25},
            0.8,
        ),
        ("L + U*sigmoid(k*(log(N) - c))", {"L": 0.25, "U": 0.6, "k": 1.3, "c": 19.0}, 0.85),
        ("E + A*max(log(N) - c, 0)", {"E": 1.5, "A": 0.2, "c": 19.0}, 0.8),
    ],
)
def test_most_starts_reach_the_optimum(form: str, truth: dict[str, float], least: float) -> None:
    v = columns(150)
    rng = np.random.default_rng(3)
    y = evaluate(parse(form, VARIABLES), v, truth)
    y += rng.normal(0, 0.003 * y.std(), len(y))
    table = table_from({**v, "y": y}, target="y", scale=["N", "D", "lr"], covariate=["x"])
    fitter = Fitter(table.parse(form), table)
    solution = fitter.solve(fitter.starts(100, rng))
    assert solution.at_best[0] >= 100 * least
