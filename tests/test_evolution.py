"""Evolution: children are formulas of the grammar, and depend on parents and chance alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from many_cases import case, each

from sld.data.card import Role, Target, Variable
from sld.data.table import Table
from sld.formula.expression import Expression, Node, name, substitute, to_text
from sld.search.candidates.candidate import Candidate, Judgement
from sld.search.judging.judge import Proposal
from sld.search.proposing.evolution import MAX_COMPLEXITY, MUTATIONS, Context, Mutation, children
from sld.search.run_folder import from_event, to_event

TEXTS = (
    "E",
    "A*N**-a",
    "E + A*N**-a + B*D**-b",
    "exp(c0 + c1*log(N) + c2*log(D))",
    "E + A*sigmoid(m - a*log(N))*D**-b",
    "(E + A*(N + K)**-a)*(1 + k*(log(lr) - p - q*log(N))**2)",
    "max(E, A*N**-a) + sqrt(abs(B*D)) - tanh(lr)/2",
    "E + A*N**-a + B*D**-a + C*(N*D)**-a",
)


def table_of(*columns: tuple[str, Role], n_targets: int = 1, n_groups: int = 1, log: bool = False) -> Table:
    n = 12
    return Table(
        tuple(Variable(c, role=r, log="log10" if log and r == "scale" else None) for c, r in columns),
        tuple(Target(f"y{j}") for j in range(n_targets)),
        np.ones((n, len(columns))),
        np.ones((n, n_targets)),
        ("all",) if n_groups == 1 else tuple(f"g{i}" for i in range(n_groups)),
        np.arange(n) % n_groups,
    )


THREE = table_of(("N", "scale"), ("D", "scale"), ("lr", "hyperparameter"))
TABLES = {
    "scales": THREE,
    "log columns": table_of(("N", "scale"), ("D", "scale"), ("lr", "hyperparameter"), log=True),
    "shares": table_of(("N", "scale"), ("D", "proportion"), ("lr", "proportion")),
    "groups": table_of(("N", "scale"), ("D", "scale"), ("lr", "covariate"), n_groups=2),
    "targets": table_of(("N", "scale"), ("D", "scale"), ("lr", "covariate"), n_targets=2),
}


def candidate(text: str, table: Table, score: float = 0.0, errors: tuple[float, ...] = (0.1, 0.2)) -> Candidate:
    expression = table.parse(text)
    columns = [t.column for t in table.targets]
    return Candidate(
        expressions=dict.fromkeys(columns, expression),
        key=text,
        origin="test",
        judgements=(Judgement(score, errors, 0.01),) * len(columns),
        constants={c: {g: dict.fromkeys(expression.constants, 0.5) for g in table.groups} for c in columns},
    )


def parents_of(table: Table) -> list[Candidate]:
    return [candidate(text, table, score=float(i)) for i, text in enumerate(TEXTS[1:])]


def bred(table: Table, parents: list[Candidate], n: int = 40, seed: int = 0, max_constants: int = 20) -> list[Proposal]:
    return list(children(parents, table, set(), n, np.random.default_rng(seed), max_constants))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.__name__)
def test_a_mutation_makes_a_formula_of_the_grammar_or_gives_up(mutation: Mutation) -> None:
    for text in TEXTS:
        with case(text):
            for kind in ("scales", "log columns", "shares"):
                table = TABLES[kind]
                expression = table.parse(text)
                for seed in range(12):
                    other = table.parse(TEXTS[seed % len(TEXTS)])
                    taken = {*table.symbols, *expression.constants}
                    ctx = Context(np.random.default_rng(seed), table, taken, other.tree)
                    changed = mutation(expression.tree, ctx)
                    assert to_text(expression.tree) == text
                    if changed is not None:
                        child = table.parse(to_text(changed))
                        # no name comes out of nowhere, and none that is new is a variable's
                        assert set(child.constants) <= ctx.taken


@each("mutation", MUTATIONS)
def test_every_mutation_finds_something_to_do(mutation: Mutation) -> None:
    found = 0
    for seed in range(60):
        tree = THREE.parse(TEXTS[1 + seed % (len(TEXTS) - 1)]).tree
        ctx = Context(np.random.default_rng(seed), THREE, {"N", "D", "lr", "E", "A", "a"}, THREE.parse(TEXTS[2]).tree)
        found += mutation(tree, ctx) is not None
    assert found >= 5


@each("kind", TABLES)
def test_children_are_new_short_and_over_the_tables_variables(kind: str) -> None:
    table = TABLES[kind]
    found = bred(table, parents_of(table))
    assert len(found) == 40
    assert len({p.key for p in found}) == 40
    for proposal in found:
        assert len(proposal.forms) == len(table.targets)
        for j, form in enumerate(proposal.forms):
            assert form.origin == "evolution"
            assert table.parse(form.expression.text, j) == form.expression
            assert form.expression.used_variables
            assert 1 <= len(form.expression.constants) <= 20
            assert form.expression.complexity <= MAX_COMPLEXITY
            assert set(form.shared) <= set(form.expression.constants)


def test_the_same_chance_makes_the_same_children() -> None:
    parents = parents_of(THREE)
    assert bred(THREE, parents) == bred(THREE, parents)
    assert bred(THREE, parents) != bred(THREE, parents, seed=1)


def test_parents_read_back_from_a_run_folder_have_the_same_children() -> None:
    table = TABLES["groups"]
    parents = parents_of(table)
    # a tree that was put together may hold one node in two places; one that was read never does
    shared = name("A")
    tree = substitute(table.parse("E + X*N**-a + X*D**-X").tree, {"X": shared})
    expression = Expression(tree, table.symbols)
    parents[0] = replace(candidate(expression.text, table), expressions={"y0": expression}, shared={"y0": ("a",)})
    again = [from_event(json.loads(json.dumps(to_event(i, c, 1, 0.0))), table)[0] for i, c in enumerate(parents)]
    assert bred(table, parents, 80) == bred(table, again, 80)


def test_every_target_changes_in_the_same_way() -> None:
    for proposal in bred(TABLES["targets"], parents_of(TABLES["targets"])):
        assert len({f.expression.text for f in proposal.forms}) == 1


def test_children_start_from_their_parents_constants() -> None:
    form = bred(THREE, [candidate("E + A*N**-a + B*D**-b", THREE)])[0].forms[0]
    assert form.start == {"all": dict.fromkeys(["E", "A", "a", "B", "b"], 0.5)}


def test_children_keep_to_the_limit_of_constants_and_never_come_twice() -> None:
    parents = parents_of(THREE)
    seen = {p.key for p in bred(THREE, parents)}
    more = list(children(parents, THREE, set(seen), 40, np.random.default_rng(0), 4))
    assert not {p.key for p in more} & seen
    assert all(len(p.forms[0].expression.constants) <= 4 for p in more)


def test_only_groups_share_constants() -> None:
    assert not any(f.shared for p in bred(THREE, parents_of(THREE)) for f in p.forms)
    assert any(f.shared for p in bred(TABLES["groups"], parents_of(TABLES["groups"])) for f in p.forms)


def test_without_parents_there_are_no_children() -> None:
    assert bred(THREE, []) == []


def test_trees_are_left_as_they_were() -> None:
    parents = parents_of(THREE)
    before: list[Node] = [p.expressions["y0"].tree for p in parents]
    texts = [to_text(t) for t in before]
    bred(THREE, parents)
    assert [to_text(t) for t in before] == texts
