"""What is told from the tree about shortenings that change the key: never of one that keeps it."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from many_cases import each
from trees import formula, trees

from sld.formula import shortening
from sld.formula.canonical import canonical_key, simplify
from sld.formula.expression import Expression, Node, call, name, number, parse

VARIABLES = ("N", "D", "x")
# parts as searches put them together: where constants are superfluous, and where only nearly so
PARTS = (
    "E", "A*N**-a", "B*D**-b", "k*log(N)", "k*log(N)*log(D)", "C*(log(x) - m)**2", "exp(-(N/D)**k)", "log(N + K)",
    "c*log(x)**2", "A*B*N", "(2*N)**a", "exp(E + k*log(D))", "1/(1 + (N/K)**g)", "log(N**a)", "N**0", "A*exp(b - c*x)",
    "log(N)**2*log(N)**g", "log(1 + N)", "exp(x)", "((N/K)**s)**g", "N/N", "log(D)**2", "log(exp(N)*D)", "K**h",
    "(N + K)**-a", "log(1 + D)", "sqrt(N**a)", "(A*N)**2", "-N", "a*N*log(N)", "abs(N)", "m", "2",
)  # fmt: skip


def untold(expression: Expression, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what `simplify` comes to when it tries every shortening."""
    with monkeypatch.context() as patch:
        patch.setattr(shortening.Shortenings, "hopeless", lambda *_: False)
        simplify.cache_clear()
        try:
            return simplify(expression).text
        finally:
            simplify.cache_clear()


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(PARTS), min_size=2, max_size=4),
    st.lists(st.sampled_from(("+", "*", "/", "-", "**")), min_size=3, max_size=3),
    st.sampled_from(("{}", "exp({})", "log({})", "E + {}", "({})**g", "A0*({})", "1 + q*({})")),
)
def test_parts_of_laws_are_shortened_as_when_everything_is_tried(
    parts: list[str], joined_by: list[str], around: str
) -> None:
    text = f"({parts[0]})"
    for op, part in zip(joined_by, parts[1:], strict=False):
        text = f"({text} {op} ({part}))"
    expression = parse(around.format(text), VARIABLES)
    with pytest.MonkeyPatch.context() as patch:
        assert simplify(expression).text == untold(expression, patch)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(trees(("N", "D", "a", "b", "c", "E"), numbers=(0.0, 1.0, 2.0, -1.0, 0.5), max_leaves=8))
def test_random_trees_are_shortened_as_when_everything_is_tried(tree: Node) -> None:
    expression = formula(tree, VARIABLES)
    assume(expression is not None)
    assert expression is not None
    with pytest.MonkeyPatch.context() as patch:
        assert simplify(expression).text == untold(expression, patch)


def of(text: str) -> shortening.Shortenings:
    expression = parse(text, VARIABLES)
    total = {n: sum(m.name == n for m in expression.tree.walk()) for n in expression.tree.names}
    every_part_counts = "N**0" not in text
    return shortening.Shortenings(expression.tree, VARIABLES, canonical_key(expression), total, 0, every_part_counts)


@each(
    ("text", "path", "heir", "why"),
    [
        ("E + k*log(N)", (1,), name("k"), "k and E are one constant"),
        ("A*exp(k*N)", (1,), call("*", name("k"), name("N")), "A and k are one constant"),
        ("E + A*log(N)", (1, 1), name("N"), "the key has log(N)"),
        ("E + A*(N - m)**2", (1, 1), call("-", name("N"), name("m")), "the key has (...)^2"),
        ("A/(1 + (N/K)**a)", (1,), parse("(N/K)**a", VARIABLES).tree, "K scales it, and A is one scale more"),
        ("E + (1 + (N/K)**a)**b", (1, 0), parse("(N/K)**a", VARIABLES).tree, "a and b are one exponent"),
        ("E + (N/K)**a", (1, 0), name("K"), "K**a and E are one constant"),
        ("E + A*log(N)*log(N)", (1, 1), name("N"), "the key has log(N)^2"),
        ("E + k*log(N)*log(D)", (1,), parse("k*log(N)", VARIABLES).tree, "the key has log(D)"),
        ("E + k*log(N)**3", (1, 1), parse("log(N)", VARIABLES).tree, "the key has log(N)^3"),
        ("E + exp(-N)", (1,), call("neg", name("N")), "the key has an exponential"),
        ("E + A*log(1 + N)", (1, 1, 0), name("N"), "the key has log(1+N)"),
    ],
)
def test_what_changes_the_key_for_certain_is_hopeless(text: str, path: tuple[int, ...], heir: Node, why: str) -> None:
    known = of(text)
    node = known.tree
    for i in path:
        node = node.args[i]
    heir = next((a for a in node.args if a == heir), heir)  # as `simplify` gives it: the argument itself
    assert known.hopeless(path, node, heir), why


@each(
    ("text", "path", "heir"),
    [
        ("E + A*log(N)*log(N) + N**0", (0, 1, 1), name("N")),  # where some parts vanish, others may make up for it
        ("A*log(N)**2*log(N)**a", (0,), name("A")),  # log(N)**a takes up log(N)**2
        ("log(exp(A*N))", (), parse("A*N", VARIABLES).tree),
        ("E + A*(N - m)**2 + B*(D - n)**4", (0, 1, 1), call("-", name("N"), name("m"))),
        ("k*N", (), name("k")),  # nothing that k could meet
        ("N**-a", (1,), number(1.0)),
    ],
)
def test_what_is_not_certain_is_tried(text: str, path: tuple[int, ...], heir: Node) -> None:
    known = of(text)
    node = known.tree
    for i in path:
        node = node.args[i]
    heir = next((a for a in node.args if a == heir), heir)
    assert not known.hopeless(path, node, heir)
