"""Enumeration: every formula is in the grammar, for every kind of table, simplest first."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Sequence

import numpy as np
import pytest
from many_cases import each
from pace import pace

from sld.data.card import Log, Role, Target, Variable, unique_symbols
from sld.data.table import Array, Table
from sld.fit.fitting import fit
from sld.fit.kernel import linear_constants
from sld.formula.canonical import canonical_key
from sld.formula.expression import Expression, substitute
from sld.formula.expression import name as name_node
from sld.search.proposing.enumeration import (
    ATOMS,
    CROSS_SHARE,
    LINKS,
    OUTER,
    OWN_SHARE,
    PAIRS,
    RESPONSES,
    SHARES,
    VALLEYS,
    WITH_SCALE,
    Atom,
    Part,
    Space,
)


def table_of(
    columns: Sequence[tuple[str, Role]],
    logs: Sequence[str] = (),
    targets: Sequence[Target] = (Target("loss"),),
) -> Table:
    variables, outputs = unique_symbols(
        [Variable(c, role=role, log="log10" if c in logs else None) for c, role in columns], targets
    )
    return Table(variables, outputs, np.ones((4, len(variables))), np.ones((4, len(outputs))))


def scales(*names: str) -> list[tuple[str, Role]]:
    return [(n, "scale") for n in names]


def hypers(*names: str) -> list[tuple[str, Role]]:
    return [(n, "hyperparameter") for n in names]


def shares(*names: str) -> list[tuple[str, Role]]:
    return [(n, "proportion") for n in names]


def covariates(*names: str) -> list[tuple[str, Role]]:
    return [(n, "covariate") for n in names]


KINDS = {
    "one scale": table_of(scales("N")),
    "two scales": table_of(scales("N", "D")),
    "three scales": table_of(scales("N", "D", "E_experts")),
    "a log column": table_of(scales("N", "logD"), logs=["logD"]),
    "all log columns": table_of(scales("n", "d"), logs=["n", "d"]),
    "scales and a hyperparameter": table_of(scales("N", "D") + hypers("lr")),
    "a scale and two hyperparameters": table_of(scales("N") + hypers("lr", "batch")),
    "hyperparameters alone": table_of(hypers("lr", "batch")),
    "covariates alone": table_of(covariates("depth", "width")),
    "scale and covariate": table_of(scales("N") + covariates("depth")),
    "proportions alone": table_of(shares("web", "code", "books")),
    "proportions and a scale": table_of(scales("N") + shares("web", "code")),
    "one share per target": table_of(shares("a", "b", "c"), targets=[Target("x"), Target("y"), Target("z")]),
    "a bounded target": table_of(scales("N", "D"), targets=[Target("acc", lower=0.0, upper=1.0)]),
    "everything": table_of(scales("N", "logD") + hypers("lr") + covariates("depth") + shares("p", "q"), logs=["logD"]),
    "names like constants": table_of(scales("E", "A", "alpha")),
    "names like other constants": table_of(scales("g") + hypers("k1", "p1") + covariates("c0")),
    "names like the shares' constants": table_of(scales("b") + shares("t_1", "t_2", "u_1")),
    "names that are no names": table_of(scales("N (params)", "sum", "_0", "1e6")),
    "names in other alphabets": table_of(scales("параметры", "β")),
}


def some(table: Table, n: int = 1500, step: int = 5) -> list[str]:
    """The first 150 formulas, and every fifth of those that follow."""
    texts = list(itertools.islice(Space(table).texts(), n))
    return texts[:150] + texts[150::step]


@pytest.mark.parametrize("kind", KINDS)
def test_every_formula_is_in_the_grammar_and_uses_the_tables_variables(kind: str) -> None:
    table = KINDS[kind]
    for text in some(table):
        expression = table.parse(text)
        assert expression.used_variables, text
        assert expression.constants, text
        # no word is lost on the way: what is not a variable is a constant
        assert not set(expression.constants) & set(table.symbols)


@each("kind", KINDS)
def test_no_space_is_empty_or_repeats_one_family(kind: str) -> None:
    table = KINDS[kind]
    families = {canonical_key(table.parse(text)) for text in itertools.islice(Space(table).texts(), 60)}
    assert len(families) >= 10


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        ("names like constants", scales("x1", "x2", "x3")),
        ("names like other constants", scales("x1") + hypers("x2", "x3") + covariates("x4")),
        ("names like the shares' constants", scales("x1") + shares("x2", "x3", "x4")),
        ("names that are no names", scales("x1", "x2", "x3", "x4")),
        ("names in other alphabets", scales("x1", "x2")),
    ],
)
def test_formulas_do_not_depend_on_what_variables_are_called(kind: str, plain: list[tuple[str, Role]]) -> None:
    table, other = KINDS[kind], table_of(plain)
    rename = {mine: name_node(theirs) for mine, theirs in zip(table.symbols, other.symbols, strict=True)}
    mine, theirs = some(table, 600, 3), some(other, 600, 3)
    assert len(mine) == len(theirs)
    for text, wanted in zip(mine, theirs, strict=True):
        # constants first, so that a constant called x1 is no variable
        expression = table.parse(text)
        constants = {c: name_node(f"free_{i}") for i, c in enumerate(expression.constants)}
        tree = substitute(expression.tree, {**constants, **rename})
        assert canonical_key(Expression(tree, other.symbols)) == canonical_key(other.parse(wanted)), text


def test_the_same_table_gives_the_same_formulas() -> None:
    assert some(KINDS["everything"]) == some(KINDS["everything"])


@each(
    ("kind", "form", "within"),
    [
        ("one scale", "E + A*N**-a", 2),
        ("one scale", "A*N**-a", 4),
        ("two scales", "E + A*N**-a + B*D**-b", 20),
        ("two scales", "E + A*N**-a*D**-b", 20),
        ("three scales", "E + A*N**-a + B*D**-b + C*E_experts**-c", 60),
        ("a log column", "E + A*N**-a + B*exp(-b*logD)", 20),
        ("hyperparameters alone", "E + A*(log(lr) - m)**2 + B*(log(batch) - n)**2", 551),
        ("scales and a hyperparameter", "E + A*N**-a + B*D**-b + k*(log(lr) - p - q*log(N))**2", 400),
        ("proportions alone", "E + k*exp(sum(t_share*share))", 5),
    ],
)
def test_the_usual_laws_come_early(kind: str, form: str, within: int) -> None:
    table = KINDS[kind]
    wanted = canonical_key(table.parse(form))
    keys = (canonical_key(table.parse(text)) for text in itertools.islice(Space(table).texts(), within))
    assert wanted in keys


@each("kind", ["one scale", "two scales", "three scales", "covariates alone"])
def test_the_first_formulas_are_the_simple_ones(kind: str) -> None:
    table = KINDS[kind]
    sizes = [table.parse(text).complexity for text in some(table)]
    assert np.mean(sizes[:10]) < np.median(sizes)
    assert sizes[0] <= np.median(sizes[:10])


def test_terms_have_coefficients_of_their_own() -> None:
    # a coefficient that two terms share by accident is another, narrower family
    for text in some(KINDS["three scales"], 3000, 3):
        for coefficient in ("A", "B", "C", "F"):
            assert len(re.findall(rf"\b{coefficient}\b", text)) <= 1, text


def test_the_spaces_of_all_targets_run_in_step() -> None:
    targets = [Target("loss"), Target("accuracy", lower=0.0, upper=1.0)]
    table = table_of(scales("N", "D"), targets=targets)
    assert list(Space(table, 0).texts()) == list(Space(table, 1).texts())


def test_each_target_gets_its_own_share() -> None:
    table = KINDS["one share per target"]
    firsts = [next(Space(table, j).texts()) for j in range(3)]
    assert [table.parse(text, j).used_variables for j, text in enumerate(firsts)] == [("a",), ("b",), ("c",)]


@each(
    "columns",
    [
        covariates(*(f"c{i}" for i in range(40))),
        scales(*(f"n{i}" for i in range(12))),
        scales("N", "D", "C") + hypers(*(f"h{i}" for i in range(9))),
        scales("N") + shares(*(f"s{i}" for i in range(25))),
    ],
)
def test_many_variables_do_not_stall_the_first_formulas(columns: list[tuple[str, Role]]) -> None:
    began = time.monotonic()
    texts = list(itertools.islice(Space(table_of(columns)).texts(), 30))
    assert len(texts) == 30
    assert time.monotonic() - began < 5 * pace()


# -- atoms -------------------------------------------------------------------------------------------------------------

V = np.geomspace(1.0, 1000.0, 24)
# typical constants where the shape is visible on 1 to 1000
TYPICAL = {"a": 0.5, "b": 0.3, "K": 30.0, "m": 3.0, "w": 1.5, "s": 0.8}


def curve(text: str, v: Array) -> Array:
    """E + A*atom at typical constants: (n,)."""
    from sld.fit.kernel import evaluate

    variables = [Variable("v")]
    table = Table(tuple(variables), (Target("y"),), v[:, None], v[:, None])
    expression = table.parse(f"1.5 + 2*({text})")
    return evaluate(expression, {"v": v}, {c: TYPICAL[c] for c in expression.constants})


def one_variable(x: Array, y: Array, log: Log | None = None) -> Table:
    return Table((Variable("v", log=log),), (Target("y"),), x[:, None], y[:, None])


@each("atom", ATOMS)
def test_atom_is_finite_and_its_constants_can_be_fitted(atom: Atom) -> None:
    text = atom.text
    y = curve(text, V)
    assert np.isfinite(y).all()
    assert np.ptp(y) > 0.1
    table = one_variable(V, y)
    result = fit(table.parse(f"E + A*({text})"), table, starts=24)
    assert result.ok
    assert result.nmse < 1e-5


@each("atom", [a for a in ATOMS if a.on_logs is not None])
def test_atom_on_a_log_column_draws_the_same_curve(atom: Atom) -> None:
    y = curve(atom.text, V)
    table = one_variable(np.log(V), y, "log")
    result = fit(table.parse(f"E + A*({atom.on_logs})"), table, starts=24)
    assert result.ok
    assert result.nmse < 1e-5


def test_atoms_are_told_apart_and_name_their_source() -> None:
    assert len({atom.name for atom in ATOMS}) == len(ATOMS)
    assert len({atom.text for atom in ATOMS}) == len(ATOMS)
    for atom in ATOMS:
        assert atom.source
        assert atom.tier in (0, 1, 2)
        assert re.search(r"\bv\b", atom.text)
    assert [atom.tier for atom in ATOMS].count(0) == 1


TABLES_OF_PARTS = (
    ATOMS, CROSS_SHARE, LINKS, OUTER, OWN_SHARE, PAIRS, RESPONSES, SHARES, VALLEYS, WITH_SCALE,
)  # fmt: skip


@each("parts", TABLES_OF_PARTS)
def test_every_part_has_a_name_of_its_own_and_a_reason(parts: Sequence[Atom | Part]) -> None:
    assert len({part.name for part in parts}) == len({part.text for part in parts}) == len(parts)
    assert all(len(part.source) > 10 for part in parts)


def test_every_response_of_hyperparameters_is_linear_in_its_constants() -> None:
    variables = (Variable("N"), Variable("lr", role="hyperparameter"), Variable("B", role="hyperparameter"))
    table = Table(variables, (Target("y"),), np.ones((9, 3)), np.ones((9, 1)))
    space = Space(table)
    texts = [t for t in map(space._spelled, space.responses()) if t.startswith("E + ")]
    longest = table.parse(max(texts, key=len))
    linear = linear_constants(longest)[1]
    assert set(longest.constants) - set(linear) == {"alpha"}
    assert len(longest.constants) == 3 + 2 * 3 + 1
