import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from many_cases import each
from trees import formula, trees

from sld.core.errors import DataError
from sld.fit.kernel import (
    Array,
    Tape,
    compile_tape,
    evaluate,
    linear_constants,
    run_numpy,
    value_and_jacobian,
)
from sld.formula.evaluation import apply_operator
from sld.formula.expression import Expression, Node, parse

VARIABLES = ("N", "D", "x")
CONSTANTS = ("a", "b", "c", "E")
FORMS = (
    "E + a*N**-b",
    "a*N**-b + c*D**-E",
    "E + a/(N**b + c)",
    "exp(a + b*log(N) + c*log(N)*log(D))",
    "sigmoid(a + b*log(N)) - tanh(c*x)",
    "min(a*N, b*D) + max(c, x)",
    "sqrt(a*N + b*D) - abs(c*x - E)",
    "N**a*D**b/(c + N**a) - x/a",
    "E*(1 - exp(-a*N)) + b*x**2 - c*x**3",
    "exp(-a)*N + exp(b)*log(N + exp(c)) + a/b - min(a, b)*max(a, c)",
    "-a/x + b/(x - c) - N/E",
    "a**N + log(b)*sqrt(c)*tanh(E)*sigmoid(a)*abs(b)*N",
)
THETA = {"a": 0.7, "b": 0.4, "c": 1.3, "E": 0.9}


def columns(n_rows: int = 37, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "N": np.exp(rng.uniform(-1, 3, n_rows)),
        "D": np.exp(rng.uniform(0, 4, n_rows)),
        "x": rng.normal(0, 2, n_rows),
    }


def on_tape(
    tape: Tape, values: Mapping[str, Array], constants: Mapping[str, float], backend: str = "machine"
) -> tuple[Array, Array]:
    """Return the value (n_rows,) and the derivatives by the tape's own parameters (n_constants, n_rows)."""
    theta = np.array([[math.log(constants[c]) if c in tape.positive else constants[c] for c in tape.constants]])
    linear = np.array([[constants[c] for c in tape.linear]])
    slots = tape.column_values(values, len(values["N"]))
    value, jacobian = value_and_jacobian(tape, slots, theta, linear, backend=backend)
    return value[0], jacobian[0]


def wobbled(node: Node, values: Mapping[str, Array], constants: Mapping[str, float], rng: np.random.Generator) -> Array:
    """Evaluate with every intermediate result off by a relative 1e-13, to see which rows rounding can spoil."""
    if node.op == "number":
        return np.full(len(values["N"]), node.value)
    if node.op == "name":
        v = values[node.name] if node.name in values else np.full(len(values["N"]), constants[node.name])
    else:
        v = apply_operator(node.op, [wobbled(arg, values, constants, rng) for arg in node.args])
    return np.asarray(v * (1 + 1e-13 * rng.choice([-1.0, 1.0], len(v))))


NUMBERS = (0.5, 1.0, 2.0, 3.0, 1.7, 0.01, -2.0, -1.0, -0.3)
random_trees = trees([*VARIABLES, *CONSTANTS], numbers=NUMBERS, max_leaves=9)
thorough = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def grammatical(tree: Node) -> Expression:
    """Return the tree as the grammar reads it; trees it refuses (9**9**9) are not tested."""
    expression = formula(tree, VARIABLES)
    assume(expression is not None)
    assert expression is not None
    return expression


def test_value_is_that_of_plain_numpy() -> None:
    v = columns()
    expression = parse("E + a*N**-b + c*sqrt(D)*tanh(x)/max(N, D)", VARIABLES)
    E, a, b, c = (THETA[name] for name in ("E", "a", "b", "c"))
    N, D, x = v["N"], v["D"], v["x"]
    expected = E + a * N**-b + c * np.sqrt(D) * np.tanh(x) / np.maximum(N, D)
    assert evaluate(expression, v, THETA) == pytest.approx(expected, rel=1e-14)


def test_evaluate_fills_every_row_with_a_constant_formula() -> None:
    assert evaluate(parse("E + 1", VARIABLES), columns(5), {"E": 2.0}).tolist() == [3.0] * 5
    assert evaluate(parse("E + 1", VARIABLES), {}, {"E": 2.0}).tolist() == [3.0]


def test_evaluate_names_a_missing_value() -> None:
    with pytest.raises(DataError, match="needs a value for 'b'"):
        evaluate(parse("a*N**b", VARIABLES), columns(), {"a": 1.0})


@each("backend", ["machine", "numpy"])
@each("project", [True, False])
@each("form", FORMS)
def test_tape_has_the_value_of_the_formula(form: str, project: bool, backend: str) -> None:
    expression, v = parse(form, VARIABLES), columns()
    value, _ = on_tape(compile_tape(expression, project=project), v, THETA, backend)
    np.testing.assert_allclose(value, evaluate(expression, v, THETA), rtol=1e-11, atol=1e-12)


@each("form", FORMS)
def test_positive_constants_live_in_log_space(form: str) -> None:
    expression, v = parse(form, VARIABLES), columns()
    plain, by_value = on_tape(compile_tape(expression, project=False), v, THETA)
    tape = compile_tape(expression, positive=expression.constants, project=False)
    assert tape.positive == tape.constants
    value, by_log = on_tape(tape, v, THETA)
    np.testing.assert_allclose(value, plain, rtol=1e-11, atol=1e-12)
    scale = np.array([THETA[c] for c in tape.constants])[:, None]
    np.testing.assert_allclose(by_log, by_value * scale, rtol=1e-9, atol=1e-11)


def test_log_output_is_the_logarithm() -> None:
    expression, v = parse("E + a*N**-b", VARIABLES), columns()
    value, _ = on_tape(compile_tape(expression, log_output=True), v, THETA)
    np.testing.assert_allclose(value, np.log(evaluate(expression, v, THETA)), rtol=1e-12)


def test_shared_constants_come_first_and_are_not_projected_out() -> None:
    tape = compile_tape(parse("E + a*N**-b + c*D**-d", VARIABLES), shared=("d", "a"), nonlinear=("c",))
    assert tape.constants[:2] == ("d", "a")
    assert set(tape.linear) == {"E"}


def test_many_vectors_at_once_are_each_their_own() -> None:
    expression, v = parse("E + a/(N**b + c)", VARIABLES), columns(600)
    tape = compile_tape(expression)
    rng = np.random.default_rng(3)
    theta, linear = rng.uniform(0.2, 1.0, (9, len(tape.constants))), rng.normal(size=(9, len(tape.linear)))
    values, jacobians = value_and_jacobian(tape, tape.column_values(v, 600), theta, linear)
    for i in range(9):
        constants = dict(zip((*tape.constants, *tape.linear), (*theta[i], *linear[i]), strict=True))
        value, jacobian = on_tape(tape, v, constants)
        np.testing.assert_array_equal(values[i], value)
        np.testing.assert_array_equal(jacobians[i], jacobian)


@pytest.mark.slow
@thorough
@given(tree=random_trees, seed=st.integers(0, 99))
def test_tape_and_tree_agree_on_random_trees(tree: Node, seed: int) -> None:
    expression, v = grammatical(tree), columns(11, seed)
    constants = dict(zip(CONSTANTS, np.random.default_rng(seed).uniform(0.2, 2.0, 4).tolist(), strict=True))
    expected = evaluate(expression, v, constants)
    with np.errstate(all="ignore"):
        shaken = wobbled(expression.tree, v, constants, np.random.default_rng(seed))
        size = np.abs(expected)
        sound = np.isfinite(expected) & (np.abs(shaken - expected) <= 1e-10 * size)
        sound &= ((size > 1e-100) & (size < 1e100)) | (size == 0)
    for backend in ("machine", "numpy"):
        value, _ = on_tape(compile_tape(expression), v, constants, backend)
        np.testing.assert_allclose(value[sound], expected[sound], rtol=1e-9)


@pytest.mark.slow
@thorough
@given(tree=random_trees, seed=st.integers(0, 99), project=st.booleans(), positive=st.booleans())
def test_machine_and_numpy_agree_on_random_trees(tree: Node, seed: int, project: bool, positive: bool) -> None:
    expression, v = grammatical(tree), columns(11, seed)
    rng = np.random.default_rng(seed)
    constants = dict(zip(CONSTANTS, rng.uniform(0.2, 2.0, 4).tolist(), strict=True))
    tape = compile_tape(expression, project=project, positive=CONSTANTS if positive else ())
    value, jacobian = on_tape(tape, v, constants, "machine")
    plain_value, plain_jacobian = on_tape(tape, v, constants, "numpy")
    # rows where rounding decides (cancellation, kinks) are told by a change of the inputs' last digits
    nudged = {s: u * (1 + 1e-13 * rng.choice([-1.0, 1.0], len(u))) for s, u in v.items()}
    moved = {c: u * (1 + 1e-13) for c, u in constants.items()}
    near_value, near_jacobian = on_tape(tape, nudged, moved, "numpy")
    for got, wanted, near in ((value, plain_value, near_value), (jacobian, plain_jacobian, near_jacobian)):
        with np.errstate(all="ignore"):
            size = np.abs(wanted)
            sound = np.isfinite(wanted) & (np.abs(near - wanted) <= 1e-10 * size)
            sound &= ((size > 1e-100) & (size < 1e100)) | (size == 0)
            sound &= np.isfinite(plain_value) & (np.abs(plain_value) < 1e100)
        # 1 - tanh**2 and the like keep their absolute, not their relative, precision where they vanish
        tolerance = 1e-9 * size + 1e-13 * np.maximum(1.0, np.abs(plain_value))
        np.testing.assert_array_less(np.abs(got[sound] - wanted[sound]), tolerance[sound])


@pytest.mark.slow
@thorough
@given(tree=random_trees, seed=st.integers(0, 99))
def test_jacobian_matches_finite_difference(tree: Node, seed: int) -> None:
    expression, v = grammatical(tree), columns(11, seed)
    assume(expression.constants)
    constants = dict(zip(CONSTANTS, np.random.default_rng(seed).uniform(0.3, 2.0, 4).tolist(), strict=True))
    tape = compile_tape(expression, project=False)
    value, jacobian = on_tape(tape, v, constants)
    for j, c in enumerate(tape.constants):
        h = 1e-5 * constants[c]
        slopes = []
        with np.errstate(all="ignore"):
            for step in (h, 2 * h):
                up = evaluate(expression, v, constants | {c: constants[c] + step})
                down = evaluate(expression, v, constants | {c: constants[c] - step})
                slopes.append((up - down) / (2 * step))
            size = np.abs(slopes[0]) + np.abs(value)
            # where the two steps disagree there is a kink, or the formula is too curved for this test
            smooth = (np.abs(slopes[0] - slopes[1]) < 1e-7 * size) & (size < 1e50)
        np.testing.assert_array_less(np.abs(jacobian[j] - slopes[0])[smooth], 1e-5 * size[smooth])


@pytest.mark.slow
@thorough
@given(tree=random_trees, seed=st.integers(0, 99))
def test_linear_constants_reproduce_the_expression(tree: Node, seed: int) -> None:
    expression, v = grammatical(tree), columns(11, seed)
    constants = dict(zip(CONSTANTS, np.random.default_rng(seed).uniform(0.3, 2.0, 4).tolist(), strict=True))
    rest, bases = linear_constants(expression)
    total = np.zeros(11) if rest is None else evaluate(Expression(rest, VARIABLES), v, constants)
    with np.errstate(all="ignore"):
        for c, basis in bases.items():
            assert not set(Expression(basis, VARIABLES).constants) & set(bases)
            total = total + constants[c] * evaluate(Expression(basis, VARIABLES), v, constants)
        expected = evaluate(expression, v, constants)
        shaken = wobbled(expression.tree, v, constants, np.random.default_rng(seed))
        sound = np.isfinite(expected) & np.isfinite(total) & (np.abs(expected) < 1e100)
        sound &= np.abs(shaken - expected) <= 1e-10 * np.abs(expected)
    np.testing.assert_allclose(total[sound], expected[sound], rtol=1e-9, atol=1e-12)


@each(
    ("form", "linear"),
    [
        ("E + A*N**-a + B*D**-b", {"E", "A", "B"}),
        ("-(A*N - B)/N**a", {"A", "B"}),
        ("A*B*N", {"A"}),  # a product of two: only one can be solved for
        ("exp(A*N)", set()),
        ("A*N + A*D", {"A"}),
        ("A*N + exp(A)", set()),
        ("E + A*(N**-a + r*D**-b)", {"E", "A"}),  # or r: both families are the same
        ("E + A*exp(-a*N - b*D)", {"E", "A"}),
        ("E + A*(N + c)**-a", {"E", "A"}),
        ("E + k*(log(N) - c)**2", {"E"}),  # k and c trade off: projected out, k hides where the valley is
        ("E + k*abs(log(N) - c - g*x)", {"E"}),
        ("(E + A*N)**2", set()),
        ("min(A, N) + B*max(N, D)", {"B"}),
    ],
)
def test_linear_constants_of_known_forms(form: str, linear: set[str]) -> None:
    _, bases = linear_constants(parse(form, VARIABLES))
    assert len(bases) == len(linear)
    if form != "A*B*N":
        assert set(bases) == linear


def test_excluded_constants_stay_in_the_formula() -> None:
    rest, bases = linear_constants(parse("E + A*N**-a", VARIABLES), {"A"})
    assert set(bases) == {"E"}
    assert rest is not None and Expression(rest, VARIABLES).text == "A*N**-a"


@pytest.mark.parametrize("backend", ["machine", "numpy"])
def test_zero_base_powers(backend: str) -> None:
    v = {"N": np.array([0.0, 0.0, 1.0, 2.0]), "D": np.ones(4), "x": np.ones(4)}
    value, jacobian = on_tape(compile_tape(parse("N**a", VARIABLES)), v, {"a": 0.5}, backend)
    np.testing.assert_allclose(value, [0, 0, 1, math.sqrt(2)], rtol=1e-14)
    np.testing.assert_allclose(jacobian[0], [0, 0, 0, math.sqrt(2) * math.log(2)], rtol=1e-14, atol=0)
    value, _ = on_tape(compile_tape(parse("N**a", VARIABLES)), v, {"a": -0.5}, backend)
    assert value[0] == math.inf


@pytest.mark.parametrize("backend", ["machine", "numpy"])
def test_powers_of_a_shifted_base_that_reaches_zero(backend: str) -> None:
    v = {"N": np.array([1.0, 2.0]), "D": np.ones(2), "x": np.ones(2)}
    value, jacobian = on_tape(compile_tape(parse("(N - c)**a", VARIABLES)), v, {"c": 1.0, "a": 1.5}, backend)
    np.testing.assert_allclose(value, [0.0, 1.0], atol=1e-15)
    assert np.isfinite(value).all()
    assert jacobian[1, 1] == pytest.approx(-1.5) or jacobian[0, 1] == pytest.approx(-1.5)


@each("backend", ["machine", "numpy"])
@each(("op", "keeps"), [("min", 1.0), ("max", 1.0)])
def test_ties_belong_to_the_first_argument(op: str, keeps: float, backend: str) -> None:
    v = {"N": np.array([2.0, 2.0]), "D": np.ones(2), "x": np.ones(2)}
    value, jacobian = on_tape(compile_tape(parse(f"{op}(a*N, b*N)", VARIABLES)), v, {"a": 1.0, "b": 1.0}, backend)
    assert value.tolist() == [2.0, 2.0]
    assert jacobian[:, 0].tolist() == [2.0 * keeps, 0.0]


@each("backend", ["machine", "numpy"])
@each("op", ["min", "max"])
@each("form", ["{}(log(x), c)", "{}(c, log(x))", "{}(log(x), c*N)", "{}(c*N, log(x))"])
def test_minimum_and_maximum_do_not_hide_nan(op: str, form: str, backend: str) -> None:
    v = {"N": np.ones(2), "D": np.ones(2), "x": np.array([-1.0, 1.0])}
    expression = parse(form.format(op), VARIABLES)
    value, _ = on_tape(compile_tape(expression), v, {"c": 0.5}, backend)
    assert np.isnan(value[0]) and value[1] == (0.0 if op == "min" else 0.5)
    assert np.isnan(evaluate(expression, v, {"c": 0.5})[0])


@each("backend", ["machine", "numpy"])
@each("power", [-4, -3, -2, -1, 2, 3, 5, 16])
def test_whole_powers_keep_the_sign_of_a_negative_base(power: int, backend: str) -> None:
    v = columns(20)
    value, jacobian = on_tape(compile_tape(parse(f"(x - c)**{power}", VARIABLES)), v, {"c": 0.3}, backend)
    np.testing.assert_allclose(value, (v["x"] - 0.3) ** float(power), rtol=1e-12)
    np.testing.assert_allclose(jacobian[0], -power * (v["x"] - 0.3) ** float(power - 1), rtol=1e-12)


@each("backend", ["machine", "numpy"])
@each(
    ("form", "expected"),
    [
        ("exp(a*N)", math.inf),
        ("exp(-a*N)", 0.0),
        ("log(a - N)", math.nan),
        ("sqrt(a - N)", math.nan),
        ("(a - N)**b", math.nan),
        ("N/(a - a)", math.inf),
        ("exp(exp(a))*N", math.inf),
        ("a*N - exp(a*N)", -math.inf),
        ("exp(a*N)/exp(a*N)", math.nan),
        ("log(a*N - a*N)", -math.inf),
    ],
)
def test_overflow_and_domain_errors_are_values_not_exceptions(form: str, expected: float, backend: str) -> None:
    v = {"N": np.full(3, 1e6), "D": np.ones(3), "x": np.ones(3)}
    value, _ = on_tape(compile_tape(parse(form, VARIABLES), project=False), v, {"a": 9.5, "b": 0.5}, backend)
    np.testing.assert_array_equal(value, np.full(3, expected))


def test_exponential_and_logarithm_of_the_machine_are_accurate() -> None:
    u = np.concatenate([np.linspace(-700, 700, 20001), np.linspace(-1e-3, 1e-3, 2001)])
    v = {"N": np.abs(u) + 1e-12, "D": np.exp(u * 0.9), "x": u}
    value, _ = on_tape(compile_tape(parse("exp(a*x)", VARIABLES)), v, {"a": 1.0})
    np.testing.assert_allclose(value, np.exp(u), rtol=5e-16 * 2)
    value, _ = on_tape(compile_tape(parse("log(D + a)", VARIABLES)), v, {"a": 0.0})
    np.testing.assert_allclose(value, np.log(v["D"]), rtol=1e-15, atol=1e-16)
    for function, exact in (("tanh", np.tanh(u)), ("sigmoid", 1 / (1 + np.exp(-u)))):
        value, _ = on_tape(compile_tape(parse(f"{function}(a*x)", VARIABLES)), v, {"a": 1.0})
        np.testing.assert_allclose(value, exact, rtol=2e-13)


def test_equal_parts_are_computed_once() -> None:
    once = compile_tape(parse("exp(a*N)", VARIABLES))
    twice = compile_tape(parse("exp(a*N) + b*D*exp(a*N)", VARIABLES), nonlinear=("b",))
    assert len(twice.row_ops) <= len(once.row_ops) + 3


def test_parts_without_constants_are_columns() -> None:
    tape = compile_tape(parse("E + a*log(N)*sqrt(D) + b*(N/D)**2", VARIABLES))
    assert len(tape.row_ops) == 0 and tape.constants == ()


def test_numpy_interpreter_returns_all_slots() -> None:
    tape = compile_tape(parse("exp(a*N) + exp(b)", VARIABLES), project=False)
    rows, scalars = run_numpy(tape, tape.column_values(columns(4), 4), np.array([[0.1, 0.2], [0.3, 0.4]]))
    assert rows.shape == (tape.n_slots, 2, 4) and scalars.shape[1] == 2


@each(
    ("form", "linear"),
    [
        # a chain of factors is looked at again once the exponents are out of the way
        ("A*N**-a*D**-b", {"A"}),
        ("A*N**-a*(log(D) - c)**2 + E", {"E"}),
        ("A*(B + C*N**a)/(D + G)", {"B", "C"}),
        ("A + A*N**A", set()),
    ],
)
def test_what_stays_in_the_search_of_a_product(form: str, linear: set[str]) -> None:
    assert set(linear_constants(parse(form, VARIABLES))[1]) == linear


def test_a_root_of_a_column_is_a_column() -> None:
    tape = compile_tape(parse("A*N**0.5 + B*sqrt(N) + C*(2*N)", VARIABLES))
    assert [str(c) for c in tape.columns] == ["sqrt(N)", "2*N"]
    assert len(tape.row_ops) == 0 and len(tape.literals) == 0
