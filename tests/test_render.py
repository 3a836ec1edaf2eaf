"""Formulas as LaTeX, MathML and sympy."""

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from many_cases import each
from trees import formula, trees, value

from sld.core.errors import GrammarError
from sld.formula.expression import Expression, Node, call, name, number, parse
from sld.formula.render import shown, to_latex, to_mathml
from sld.formula.symbolic import from_sympy, to_sympy

VARIABLES = ("N", "D", "x", "lr")


@each(
    ("text", "latex"),
    [
        # Hoffmann et al. 2022, eq. 2, as it is printed
        ("E + A*N**-alpha + B*D**-beta", r"E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}"),
        # Kaplan et al. 2020, eq. 1.1
        ("(N_c/N)**alpha_N", r"\left(\frac{N_{c}}{N}\right)^{\alpha_{N}}"),
        ("A_1*x", r"A_{1} \, x"),
        ("A1*x", r"A_{1} \, x"),
        ("lam_0*x + α", r"\lambda_{0} \, x + \alpha"),
        ("lr_max*lr", r"\mathrm{lr}_{\mathrm{max}} \, \mathrm{lr}"),
        ("Delta*größe", r"\Delta \, \mathrm{größe}"),
        ("a_b_c", r"a_{b,c}"),
        ("-x**2", r"-x^{2}"),
        ("(-x)**2", r"\left(-x\right)^{2}"),
        ("(x**a)**b", r"\left(x^{a}\right)^{b}"),
        ("x**a**b", r"x^{a^{b}}"),
        ("x**(a/b)", r"x^{a/b}"),
        ("x**(a/(b*c))", r"x^{a/\left(b \, c\right)}"),
        ("x**-(a/b)", r"x^{-a/b}"),
        ("1/x", r"\frac{1}{x}"),
        ("x**-2", r"x^{-2}"),
        ("a*x**-1", r"\frac{a}{x}"),
        ("a/(b/c)", r"\frac{a \, c}{b}"),
        ("a/b*c", r"\frac{a \, c}{b}"),
        ("(a + b)/(a - b)", r"\frac{a + b}{a - b}"),
        ("(a + b)*(a - b)", r"\left(a + b\right) \, \left(a - b\right)"),
        ("a - (b - c)", r"a - \left(b - c\right)"),
        ("a - b - c", r"a - b - c"),
        ("a*-b", r"a \, \left(-b\right)"),
        ("-(a + b)", r"-\left(a + b\right)"),
        ("-a*b", r"-a \, b"),
        ("2*3*x", r"2 \cdot 3 \, x"),
        ("x*2", r"x \cdot 2"),
        ("1.5e-7*x", r"1.5 \times 10^{-7} \, x"),
        ("1e9*x", r"10^{9} \, x"),
        ("(1.5e9*x)**2e-8", r"\left(1.5 \times 10^{9} \, x\right)^{2 \times 10^{-8}}"),
        ("1234567*x", r"1234567 \, x"),
        ("sqrt(abs(x - 1))", r"\sqrt{\left|x - 1\right|}"),
        ("exp(-k*x)", r"\exp\left(-k \, x\right)"),
        ("log(x)**2", r"\left(\log\left(x\right)\right)^{2}"),
        ("h*sigmoid(x)", r"h \, \operatorname{sigmoid}\left(x\right)"),
        ("max(a, max(b, x))", r"\max\left(a, b, x\right)"),
        ("max(a, min(b, x))", r"\max\left(a, \min\left(b, x\right)\right)"),
        ("tanh(x)", r"\tanh\left(x\right)"),
    ],
)
def test_latex_is_set_as_papers_set_it(text: str, latex: str) -> None:
    assert to_latex(parse(text, VARIABLES)) == latex


def test_constants_are_filled_in_with_four_digits_and_their_signs() -> None:
    law = parse("E + A*N**-alpha - B*D**beta", ("N", "D"))
    values = {"E": -1.69123456, "A": 406.4123, "alpha": -0.33921, "B": -2.0, "beta": -0.5}
    assert to_latex(law, values) == r"-1.691 + 406.4 \, N^{0.3392} + \frac{2}{D^{0.5}}"
    assert to_latex(law, {"E": 1.5e-9}) == r"1.5 \times 10^{-9} + \frac{A}{N^{\alpha}} - B \, D^{\beta}"
    assert to_latex(law, {"A": 1234567.8}).startswith(r"E + \frac{1.235 \times 10^{6}}{N")


def test_values_never_replace_variables() -> None:
    assert to_latex(parse("A*N", ("N",)), {"N": 3.0, "A": 2.0}) == r"2 \, N"


def test_values_that_are_not_numbers_are_shown_as_such() -> None:
    assert to_latex(parse("A*N + B", ("N",)), {"A": -math.inf, "B": math.nan}) == r"-\infty \, N + \mathrm{nan}"


def test_mathml_is_well_formed_and_reads_like_the_formula() -> None:
    markup = to_mathml(parse("E + A*N**-alpha_1", ("N",)), {"A": 4e-7})
    math_ = ET.fromstring(markup)
    assert math_.tag == "{http://www.w3.org/1998/Math/MathML}math"
    assert "".join(math_.itertext()) == "E+4×10−7Nα1"
    assert len(math_.findall(".//{*}mfrac")) == 1


def test_mathml_escapes_names() -> None:
    evil = Expression(call("+", name("<script>alert(1)</script>"), name('a&"b')))
    markup = to_mathml(evil)
    assert "<script" not in markup
    assert ET.fromstring(markup) is not None


@given(trees(("N", "A", "alpha_1", "B"), max_leaves=15), st.floats(-1e6, 1e6))
@settings(deadline=None)
def test_any_formula_can_be_set(tree: Node, filled: float) -> None:
    expression = formula(tree, VARIABLES)
    assume(expression is not None)
    assert expression is not None
    for values in (None, {"A": filled, "B": -filled}):
        latex = to_latex(expression, values)
        assert latex.count("{") == latex.count("}")
        assert latex.count(r"\left") == latex.count(r"\right")
        assert "--" not in latex and "+ -" not in latex.replace(r"+ -\left", "")
        ET.fromstring(to_mathml(expression, values))


@pytest.mark.slow
@given(trees(("N", "D", "A", "a"), numbers=(1.0, 2.0, 3.0, 0.5, -1.0), max_leaves=8), st.floats(0.2, 3))
@settings(deadline=None, max_examples=60)
def test_sympy_and_back_keeps_the_values(tree: Node, size: float) -> None:
    expression = formula(tree, VARIABLES)
    assume(expression is not None)
    assert expression is not None
    values = {"N": size, "D": 1.3 * size, "A": 0.7, "a": 1.1}
    expected = value(expression.tree, values)
    assume(math.isfinite(expected) and abs(expected) < 1e12)
    symbolic = to_sympy(expression)
    try:
        back = from_sympy(symbolic, VARIABLES)
    except GrammarError:  # sympy found that it is nowhere a real number, or wrote a number beyond the limits
        assume(False)
        raise
    found = value(back.tree, values)
    assume(math.isfinite(found))  # sympy may write a power of a negative number in two steps
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


@each(
    ("text", "back"),
    [
        ("E + A*N**-alpha", "A*N**-alpha + E"),
        ("A/N**2", "A/N**2"),
        ("sqrt(x)*exp(-k*x)", "sqrt(x)*exp(-(k*x))"),
        ("max(a, min(b, x))", "max(a, min(b, x))"),
        ("sigmoid(x)", "1/(1 + exp(-x))"),
        ("abs(x - a)", "abs(a - x)"),
    ],
)
def test_sympy_writes_readable_formulas(text: str, back: str) -> None:
    from sld.formula.canonical import canonical_key

    read = from_sympy(to_sympy(parse(text, VARIABLES)), VARIABLES)
    assert canonical_key(read) == canonical_key(parse(back, VARIABLES))
    assert read.complexity <= parse(back, VARIABLES).complexity + 1


def test_names_that_sympy_has_of_its_own_stay_names() -> None:
    symbolic = to_sympy(parse("E*I + pi*S + beta*gamma*N", ("N",)))
    assert {s.name for s in symbolic.free_symbols} == {"E", "I", "pi", "S", "beta", "gamma", "N"}


def test_powers_of_powers_do_not_explode_in_sympy() -> None:
    tower = "((((((2*x)**99)**99)**99)**99)**99)**99"
    assert to_sympy(parse(tower, ("x",))) is not None
    assert to_sympy(parse("(2*x)**1e99", ("x",))) is not None
    assert to_sympy(parse("2**-1e99*x", ("x",))) == 0


def test_what_the_grammar_lacks_is_refused() -> None:
    import sympy

    x = sympy.Symbol("x")
    for bad in (sympy.sin(x), sympy.I * x, sympy.oo, sympy.nan, sympy.Piecewise((x, x > 0), (1, True)), sympy.true):
        with pytest.raises(GrammarError):
            from_sympy(bad, ("x",))
    with pytest.raises(GrammarError, match="name 'a b'"):
        from_sympy(sympy.Symbol("a b") + x, ("x",))
    with pytest.raises(GrammarError, match="is a function"):
        from_sympy(sympy.Symbol("max") + x, ("x",))


def test_numbers_of_sympy_become_numbers() -> None:
    import sympy

    x = sympy.Symbol("x", positive=True)
    assert from_sympy(sympy.Rational(2, 3) * x, ("x",)).text == "2/3*x"
    assert from_sympy(sympy.pi * x, ("x",)).text == f"{math.pi!r}*x"
    assert from_sympy(-x / 2, ("x",)).tree == parse("-(x/2)", ("x",)).tree
    assert from_sympy(sympy.E**x, ("x",)).text == "exp(x)"
    assert from_sympy(sympy.Integer(7)).tree == number(7.0)


@pytest.mark.slow
@given(trees(("N", "A", "b"), numbers=(1.0, 2.0, 0.5, -1.0, -3.0), max_leaves=6), st.sampled_from([-2.0, 0.5, 3.0]))
@settings(deadline=None, max_examples=40)
def test_what_is_shown_is_equal_to_the_formula_says_sympy(tree: Node, value_of_a: float) -> None:
    import sympy

    expression = formula(tree, VARIABLES)
    assume(expression is not None)
    assert expression is not None
    values = {"A": value_of_a, "b": 1.5}  # short enough that nothing is rounded
    try:
        symbols = {s.name: s for s in to_sympy(expression).free_symbols}
        as_shown = to_sympy(Expression(shown(expression, values), VARIABLES))
        wanted = to_sympy(expression).subs({symbols[c]: v for c, v in values.items() if c in symbols})
    except ValueError:  # the lesser of a number and of log(-2), or of log(-N), which has no place on the line
        reject()
    found = [side.subs({s: 1.25 for s in side.free_symbols}) for side in (as_shown, wanted)]
    assume(all(side.is_finite and side.is_real for side in found))
    assert sympy.Abs(found[0] - found[1]) < 1e-9 * (1 + sympy.Abs(found[1]))
