"""Every operator of the grammar: all that the program knows of it agrees, whoever is asked."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import sympy
from many_cases import each

from sld.fit.kernel import compile_tape, evaluate, value_and_jacobian
from sld.fit.opcodes import ONE_OPERAND, ROW_ROW, ROW_SCALAR, SCALAR_ROW
from sld.formula.canonical import canonical_key
from sld.formula.domain import ranges, restricted
from sld.formula.expression import RESERVED, Expression, Node, call, name, number, parse
from sld.formula.operators import ALIASES, OPERATORS, Operator, evaluate_scalar
from sld.formula.render import to_latex, to_mathml
from sld.formula.symbolic import from_sympy, to_sympy

X = np.array([0.3, 0.6, 1.1, 1.9])
CONSTANTS = {"a": 0.7, "b": 1.3}
each_operator = each("row", OPERATORS.values())


def forms(row: Operator) -> list[Expression]:
    """Return the operator on rows, on scalars and on one of each, as far as it has arguments."""
    a, b, x = name("a"), name("b"), name("x")
    on_rows = (call("*", a, x), call("*", b, x))
    ways = [on_rows[: row.n_args]]
    if row.n_args == 2:
        ways += [(on_rows[0], b), (a, on_rows[1])]
    trees = [Node(row.name, way) for way in ways]
    return [Expression(tree, ("x",)) for tree in (*trees, call("*", Node(row.name, (a, b)[: row.n_args]), x))]


def interval_of(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


@each_operator
def test_machine_numpy_and_sympy_agree_in_value_and_derivative(row: Operator) -> None:
    for form in forms(row):
        tape = compile_tape(form, project=False)
        columns = tape.column_values({"x": X}, len(X))
        theta = np.array([[CONSTANTS[c] for c in tape.constants]])
        symbolic = to_sympy(form)
        at = [{s: CONSTANTS.get(s.name, x) for s in symbolic.free_symbols} for x in X.tolist()]
        values = [float(symbolic.subs(where)) for where in at]
        slopes = [
            [float(sympy.diff(symbolic, sympy.Symbol(c, real=True)).subs(where)) for where in at]
            for c in tape.constants
        ]
        for backend in ("machine", "numpy"):
            value, jacobian = value_and_jacobian(tape, columns, theta, backend=backend)
            np.testing.assert_allclose(value[0], values, rtol=1e-12, err_msg=f"{form} with {backend}")
            np.testing.assert_allclose(jacobian[0], slopes, rtol=1e-11, err_msg=f"{form} with {backend}")
        np.testing.assert_allclose(evaluate(form, {"x": X}, CONSTANTS), values, rtol=1e-12)


@each_operator
def test_floats_and_arrays_agree(row: Operator) -> None:
    for x, y in ((0.4, 1.7), (1.7, 0.4), (2.0, 2.0)):
        args = (x, y)[: row.n_args]
        assert evaluate_scalar(row.name, *args) == pytest.approx(float(row.array(*map(np.float64, args))), rel=1e-14)


@each_operator
def test_partials_are_the_slopes_of_the_value(row: Operator) -> None:
    step = 1e-6
    for point in ((0.4, 1.7), (1.7, 0.4)):
        args = [np.array([v]) for v in point[: row.n_args]]
        found = row.partials(*args, row.array(*args))
        assert len(found) == row.n_args
        for i, slope in enumerate(found):
            up, down = ([v + s * (i == j) for j, v in enumerate(args)] for s in (step, -step))
            wanted = (row.array(*up) - row.array(*down)) / (2 * step)
            np.testing.assert_allclose(slope, wanted, rtol=1e-7)


@each_operator
def test_text_latex_and_mathml_show_it(row: Operator) -> None:
    for form in forms(row):
        assert parse(form.text, ("x",)).tree == form.tree
        latex, mathml = to_latex(form), to_mathml(form)
        assert "a" in latex and latex.count("{") == latex.count("}")
        ElementTree.fromstring(mathml)  # well formed
        if row.is_function:
            assert row.name in RESERVED and f"{row.name}(" in form.text
        if row.is_function and row.name not in ("sqrt", "abs"):
            assert (row.latex or rf"\operatorname{{{row.name}}}") in latex
            assert f"<mi>{row.name}</mi>" in mathml


@each_operator
def test_sympy_reads_and_writes_it(row: Operator) -> None:
    for form in forms(row):
        back = from_sympy(to_sympy(form), ("x",))
        np.testing.assert_allclose(evaluate(back, {"x": X}, CONSTANTS), evaluate(form, {"x": X}, CONSTANTS), rtol=1e-12)
    if row.sympy_class:
        of_class = getattr(sympy, row.sympy_class)(*sympy.symbols("a b")[: row.n_args])
        assert from_sympy(of_class).tree.op == row.name


@each_operator
def test_the_interval_holds_every_value(row: Operator) -> None:
    box = {"x": (0.3, 1.9), "a": (0.7, 0.7), "b": (1.3, 1.3)}
    for form in forms(row):
        found = ranges(form.tree, box)
        assert found.proven
        low, high = interval_of(evaluate(form, {"x": np.linspace(0.3, 1.9, 50)}, CONSTANTS))
        assert found.value[0] <= low + 1e-12 and high <= found.value[1] + 1e-12


@each_operator
def test_where_it_has_no_value_is_known(row: Operator) -> None:
    if row.name == "**":  # what the exponent is decides
        return
    bad = {"positive": 0.0, "not_negative": -1.0, "nonzero": 0.0}.get(row.needs)
    args = (name("a"), name("x"))[-row.n_args :]
    assert restricted(Node(row.name, args)) == (None if bad is None else name("x"))
    if bad is not None:
        assert not row.has_value((1.0, 1.0), (bad, 1.0)) and row.has_value((1.0, 1.0), (0.5, 1.0))
        assert not np.isfinite(evaluate_scalar(row.name, *(1.0, bad)[-row.n_args :]))


@each_operator
def test_declared_signs_hold(row: Operator) -> None:
    values = np.linspace(-3.0, 3.0, 21)[: None if row.needs == "" else 21]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = row.array(*[values][: row.n_args]) if row.n_args == 1 else np.zeros(0)
    found = found[np.isfinite(found)]
    if row.sign == "never_negative":
        assert (found >= 0).all()
    if row.sign == "odd":
        np.testing.assert_allclose(found, -found[::-1], atol=1e-15)


@each_operator
def test_starting_points_can_be_drawn_through_it(row: Operator) -> None:
    if row.inverse is not None:
        wanted = np.array([0.2, 0.5, 0.8])
        np.testing.assert_allclose(row.array(row.inverse(wanted)), wanted, rtol=1e-12)
    else:
        assert row.n_args == 2  # the sampler solves these for the free operand


@each_operator
def test_the_key_tells_it_from_its_argument(row: Operator) -> None:
    args = (call("+", name("x"), number(2.0)), call("*", name("x"), name("x")))[: row.n_args]
    keys = {canonical_key(Expression(tree, ("x",))) for tree in (*args, Node(row.name, args))}
    assert len(keys) == row.n_args + 1


@each_operator
def test_commuting_is_declared_as_it_is(row: Operator) -> None:
    if row.n_args == 2:
        same = row.scalar(0.4, 1.7) == row.scalar(1.7, 0.4)
        assert row.commutes == same
        assert (row.name in SCALAR_ROW) == (not row.commutes and row.name != "**")


def test_every_instruction_has_a_number_of_its_own() -> None:
    numbers = [code for codes in (ROW_ROW, ROW_SCALAR, SCALAR_ROW, ONE_OPERAND) for code in codes.values()]
    assert len(set(numbers)) == len(numbers)
    assert {*ONE_OPERAND, *ROW_ROW, "**"} == set(OPERATORS)


def test_other_spellings_read_as_the_same() -> None:
    for alias, op in ALIASES.items():
        args = ", ".join("xy"[: OPERATORS[op].n_args])
        assert parse(f"{alias}({args})", ("x", "y")) == parse(f"{op}({args})", ("x", "y"))
