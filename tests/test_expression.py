"""The grammar: what it accepts, what it refuses and how it says so."""

import math
import pickle

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from many_cases import case, each
from trees import formula, trees, value

from sld.core.errors import GrammarError
from sld.formula.expression import (
    MAX_DEPTH,
    MAX_LENGTH,
    Node,
    as_parsed,
    call,
    name,
    number,
    parse,
    substitute,
    to_text,
)
from sld.formula.operators import evaluate_scalar

VARIABLES = ("N", "D")
NAMES = ("N", "D", "E", "A", "alpha", "größe", "x_1")


@pytest.mark.slow
@given(trees(NAMES, max_leaves=30))
def test_text_reads_back_as_the_same_tree(tree: Node) -> None:
    expression = formula(tree, VARIABLES)
    assume(expression is not None)
    assert expression is not None
    assert expression.tree == tree
    assert parse(expression.text, VARIABLES) == expression


@given(trees(NAMES, max_leaves=30))
def test_a_tree_is_as_its_text_would_be_read(tree: Node) -> None:
    read, refused = None, False
    try:
        read = parse(to_text(tree), VARIABLES)
    except GrammarError:
        refused = True
    try:
        assert as_parsed(tree, VARIABLES) == read
        assert as_parsed(tree, VARIABLES).text == to_text(tree)
    except GrammarError:
        assert refused


def test_a_tree_has_the_limits_of_the_grammar() -> None:
    deep = name("x")
    for _ in range(MAX_DEPTH + 1):
        deep = call("exp", deep)
    with pytest.raises(GrammarError, match="nested deeper"):
        as_parsed(deep)
    wide = name("x")
    for k in range(10):
        wide = call("+", wide, wide) if k else wide
    with pytest.raises(GrammarError, match="nodes; at most"):
        as_parsed(wide)
    with pytest.raises(GrammarError, match="no finite value"):
        as_parsed(call("/", number(1.0), number(0.0)))


@given(trees(NAMES, max_leaves=30))
def test_parentheses_that_change_nothing_change_nothing(tree: Node) -> None:
    assume(formula(tree, VARIABLES) is not None)
    assert parse(bracketed(tree), VARIABLES).tree == tree


def bracketed(node: Node) -> str:
    """The text with parentheses around everything: no precedence needed to read it."""
    if not node.args:
        return f"({to_text(node)})"
    args = [bracketed(arg) for arg in node.args]
    if node.op == "neg":
        return f"(-{args[0]})"
    if node.op.isalpha():
        return f"({node.op}({','.join(args)}))"
    return f"({args[0]}{node.op}{args[1]})"


a, b, c, x = 1.7, 0.6, 2.3, 3.1
PRECEDENCE = [
    # Python's own arithmetic on the right, on the same numbers
    ("a - b - c", a - b - c),
    ("a - (b - c)", a - (b - c)),
    ("a/b/c", a / b / c),
    ("a/(b/c)", a / (b / c)),
    ("a/b*c", a / b * c),
    ("a*b/c", a * b / c),
    ("a + b*c", a + b * c),
    ("(a + b)*c", (a + b) * c),
    ("a**b**c", a**b**c),
    ("(a**b)**c", (a**b) ** c),
    ("-a**b", -(a**b)),
    ("(-a)**2", (-a) ** 2),
    ("-a**2", -(a**2)),
    ("-2**2", -(2**2)),
    ("2**-a", 2**-a),
    ("2**-a**b", 2 ** -(a**b)),
    ("a*-b", a * -b),
    ("a - -b", a - -b),
    ("--a", a),
    ("-a*b", -a * b),
    ("a*b**c*x", a * b**c * x),
    ("a/b**c", a / b**c),
    ("-a/b", -a / b),
    ("1e-3*x + .5", 1e-3 * x + 0.5),
    ("2.*x", 2.0 * x),
    ("exp(-a)*log(x)", math.exp(-a) * math.log(x)),
    ("sqrt(a)**2*tanh(b)", math.sqrt(a) ** 2 * math.tanh(b)),
    ("sigmoid(a - b)", 1 / (1 + math.exp(-(a - b)))),
    ("min(a, b, c) + max(a, b, c)", min(a, b, c) + max(a, b, c)),
    ("abs(b - a)", abs(b - a)),
    ("Abs(b - a) + Min(a, b)", abs(b - a) + min(a, b)),
    (" a\n+ b ", a + b),
]


def test_operators_bind_as_in_python() -> None:
    for text, expected in PRECEDENCE:
        with case(text):
            tree = parse(text).tree
            assert value(tree, {"a": a, "b": b, "c": c, "x": x}) == pytest.approx(expected, rel=1e-15)


def test_names_that_are_not_variables_are_constants_in_order_of_appearance() -> None:
    expression = parse("E + A*N**-alpha + A*D", ("D", "N", "C"))
    assert expression.constants == ("E", "A", "alpha")
    assert expression.used_variables == ("D", "N")
    assert expression.complexity == 12


def test_python_words_and_other_alphabets_are_names() -> None:
    assert parse("lambda*größe + α").constants == ("lambda", "größe", "α")


def test_a_variable_may_be_called_like_a_function() -> None:
    assert parse("log(log)", ("log",)).used_variables == ("log",)


def test_sum_runs_over_the_proportions() -> None:
    expression = parse("c + sum(k_share*share**g)", ("r1", "r2"), shares=("r1", "r2"))
    assert expression.text == "c + (k_1*r1**g + k_2*r2**g)"


def test_own_is_the_proportion_of_the_target() -> None:
    assert parse("c*own", ("r1", "r2"), shares=("r1", "r2"), own="r2").text == "c*r2"


def test_substitution_is_simultaneous_and_folds_signs() -> None:
    swapped = substitute(parse("a - b").tree, {"a": name("b"), "b": name("a")})
    assert to_text(swapped) == "b - a"
    assert substitute(parse("-a").tree, {"a": number(2.0)}) == number(-2.0)


# (formula, column of the error or None, a part of the message)
BAD = [
    ("", None, "empty"),
    ("   ", None, "empty"),
    ("E + sinh(N)", 5, "unknown function 'sinh' at column 5; did you mean"),
    ("ln(N)", 1, "did you mean log"),
    ("N(2)", 1, "unknown function 'N'"),
    ("A*N^2", 4, "write ** for powers"),
    ("A×N", 2, "write *"),
    ("A − N", 3, "write -"),
    ("A*N²", 3, "neither letter nor digit"),
    ("a % b", 3, "unknown operator '%'"),
    ("a // b", 4, "got '/'"),
    ("a = 1", 3, "unknown operator '='"),
    ("N[0]", 2, "unknown operator '['"),
    ("a.b", 2, "unknown operator '.'"),
    ("E; A", 2, "unknown operator ';'"),
    ("lambda: 1", 7, "unknown operator ':'"),
    ("E + 'A'", 5, "unknown operator"),
    ("2N", 2, "products are written with *"),
    ("A N", 3, "products are written with *"),
    ("A(N + 1)", 1, "unknown function 'A'"),
    ("(A)(N)", 4, "products are written with *"),
    ("1.2.3", 4, "products are written with *"),
    ("E +", 4, "the end of the formula"),
    ("E + * A", 5, "got '*'"),
    ("(E + A", 7, "to close the one at column 1"),
    ("E + A)", 6, "expected an operator or the end"),
    ("()", 2, "got ')'"),
    ("exp()", 5, "got ')'"),
    ("exp", 1, "write exp(...)"),
    ("exp + 1", 1, "write exp(...)"),
    ("exp(a, b)", 1, "takes one argument, got 2"),
    ("1 + max(a)", 5, "two arguments or more"),
    ("max(a,)", 7, "got ')'"),
    ("a, b", 2, "got ','"),
    ("share", 1, "only known inside sum"),
    ("1 + own", 5, "one proportion per target"),
    ("sum(N)", 1, "needs a task with proportions"),
    ("__import__", 1, "double underscore"),
    ("E + __import__(os)", 5, "unknown function '__import__'"),
    ("__import__('os').system('true')", 12, "unknown operator"),
    ("().__class__", 3, "unknown operator '.'"),
    ("1e101*N", 1, "too large"),
    ("1e999", 1, "too large"),
    ("9" * 400, 1, "too large"),
    ("9**9**9", None, "no finite value"),
    ("N + 9**9**9**9*a", None, "no finite value"),
    ("N + 1/0", None, "no finite value"),
    ("N + log(0 - 1)", None, "no finite value"),
    ("N*exp(exp(9))", None, "no finite value"),
    ("a" * 65, 1, "at most 64"),
    ("a*" * 5000 + "a", None, f"at most {MAX_LENGTH}"),
    ("(" * 3000, MAX_DEPTH + 1, "nested deeper"),
    ("-" * 3000 + "a", MAX_DEPTH + 1, "nested deeper"),
    ("exp(" * 600 + "a" + ")" * 600, 4 * MAX_DEPTH + 1, "nested deeper"),
    ("a**" * 1000 + "a", 3 * MAX_DEPTH + 1, "nested deeper"),
    ("+".join("a" * 1000), None, "nested deeper"),
    ("\x00", 1, "unknown operator"),
    ("N + \u202e", 5, "unknown operator"),
    ("\U0001f600", 1, "unknown operator"),
]


def test_bad_formula_is_refused_in_one_short_line_that_points_at_the_column() -> None:
    for text, column, message in BAD:
        with case(text[:40]):
            with pytest.raises(GrammarError) as caught:
                parse(text, VARIABLES)
            said = str(caught.value)
            assert message in said
            assert caught.value.column == column
            assert column is None or f"column {column}" in said
            assert "\n" not in said and len(said) < 200
            assert caught.value.exit_code == 2


@each(
    ("text", "column", "message"),
    [
        ("sum(share) + share", 14, "only known inside sum"),
        ("sum(sum(share))", 5, "inside another sum"),
        ("sum share", 1, "write sum(...)"),
        ("sum(share", 10, "after the body of sum"),
        ("sum(r_share*share)", 1, "'r_1', which is a variable"),
    ],
)
def test_bad_use_of_proportions_is_refused(text: str, column: int, message: str) -> None:
    with pytest.raises(GrammarError, match="column") as caught:
        parse(text, ("r_1", "r_2"), shares=("r_1", "r_2"))
    assert message in str(caught.value)
    assert caught.value.column == column


@pytest.mark.parametrize("opening", ["(", "-", "exp("])
def test_nesting_is_accepted_up_to_the_limit(opening: str) -> None:
    n = MAX_DEPTH - 1
    assert parse(opening * n + "a" + ")" * n * (opening != "-")).constants == ("a",)


def test_the_deepest_tree_reads_back() -> None:
    tree = name("a")
    for _ in range(MAX_DEPTH - 1):
        tree = call("-", name("b"), tree)
    assert parse(to_text(tree)).tree == tree


@given(st.text(alphabet="NDEab0123456789.e+-*/()^_, explogmaxsumshare\t", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_with_a_column_inside_it(text: str) -> None:
    try:
        expression = parse(text, VARIABLES, shares=VARIABLES)
    except GrammarError as error:
        assert error.column is None or 1 <= error.column <= len(text) + 1
    else:
        assert parse(expression.text, VARIABLES) == expression


@given(st.floats(min_value=-1e100, max_value=1e100))
def test_numbers_read_back_exactly(number_: float) -> None:
    assert parse(to_text(number(number_))).tree == number(number_)


@each(("op", "args"), [("log", (-1.0,)), ("log", (0.0,)), ("/", (1.0, 0.0)), ("**", (-8.0, 1 / 3)), ("sqrt", (-1.0,))])
def test_scalar_outside_its_domain_is_nan(op: str, args: tuple[float, ...]) -> None:
    assert math.isnan(evaluate_scalar(op, *args))


def test_scalar_overflow_is_infinite() -> None:
    assert evaluate_scalar("exp", 1e4) == math.inf
    assert evaluate_scalar("sigmoid", -1e4) == 0.0


def test_a_hash_is_no_part_of_what_is_pickled() -> None:
    # texts hash differently in another process: a remembered hash would make equal trees unequal keys there
    tree = parse("E + A*N**-a", ("N",)).tree
    before = pickle.dumps(tree)
    remembered = hash(tree), tree.names
    assert pickle.dumps(tree) == before
    again = pickle.loads(before)
    assert again == tree
    assert (hash(again), again.names) == remembered
    assert tree.names == {"E", "A", "N", "a"}


def test_a_name_and_a_function_of_it_are_the_same_node_each_time() -> None:
    first, second = parse("A*log(N) + N**-a", ("N",)).tree, parse("E + log(N)*B**-a", ("N",)).tree
    assert first.args[0].args[1] is second.args[1].args[0]
    assert first.args[1].args[1] is second.args[1].args[1].args[1]


def test_nodes_have_no_other_attributes() -> None:
    with pytest.raises(AttributeError):
        _ = parse("A", ()).tree.nmaes  # type: ignore[attr-defined]
