"""Proposers: every family once, through the one door, in an order that does not depend on timing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from many_cases import each

from sld.core.errors import GrammarError, UsageError
from sld.data.card import Role, Target, Variable
from sld.data.table import Table
from sld.formula.canonical import canonical_key
from sld.search.candidates.candidate import Candidate, Judgement
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.judging.judge import Proposal
from sld.search.proposing import proposers
from sld.search.proposing.proposers import (
    ALL,
    EVOLUTION,
    PROPOSERS,
    Source,
    from_catalogue,
    from_enumeration,
    from_texts,
)


def table_of(*columns: tuple[str, Role], targets: Sequence[str] = ("loss",), groups: int = 1) -> Table:
    x, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5)))
    base = [x, d, np.sqrt(x * d), 1e3 * x / d]
    X = np.column_stack(base[: len(columns)])
    if columns[-1][1] == "proportion":
        X = np.random.default_rng(0).dirichlet(np.ones(len(columns)), len(x))
    y = 1.7 + 400 * X[:, 0] ** -0.34
    names = ("all",) if groups == 1 else tuple(f"g{i}" for i in range(groups))
    return Table(
        tuple(Variable(c, role=r) for c, r in columns),
        tuple(Target(t) for t in targets),
        np.tile(X, (groups, 1)),
        np.tile(np.column_stack([y * (j + 1) for j in range(len(targets))]), (groups, 1)),
        names,
        np.repeat(np.arange(groups), len(x)),
    )


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring evolution in early: the real batches take seconds to breed."""
    monkeypatch.setattr(proposers, "_BATCH", 8)
    monkeypatch.setattr(proposers, "_HEAD", 24)


TWO = table_of(("N", "scale"), ("D", "scale"))
TABLES = {
    "two scales": TWO,
    "one scale": table_of(("N", "scale")),
    "three scales": table_of(("N", "scale"), ("D", "scale"), ("C", "scale")),
    "scale and hyperparameter": table_of(("N", "scale"), ("lr", "hyperparameter")),
    "two targets": table_of(("N", "scale"), ("D", "scale"), targets=("train", "valid")),
    "a share per target": table_of(*((s, "proportion") for s in "abc"), targets=("x", "y", "z")),
    "names like constants": table_of(("E", "scale"), ("alpha", "scale")),
    "groups": table_of(("N", "scale"), ("D", "scale"), groups=2),
}


def judged(proposal: Proposal, table: Table, score: float) -> Candidate:
    columns = [t.column for t in table.targets]
    expressions = {c: f.expression for c, f in zip(columns, proposal.forms, strict=True)}
    errors = (10**score, 10 ** (score / 2))
    return Candidate(
        expressions=expressions,
        key=proposal.key,
        origin=proposal.forms[0].origin,
        judgements=(Judgement(score, errors, 0.01),) * len(columns),
        constants={c: {g: dict.fromkeys(e.constants, 1.0) for g in table.groups} for c, e in expressions.items()},
        island=proposal.island,
    )


def drawn(
    table: Table,
    names: Sequence[str],
    n_batches: int,
    seed: int = 0,
    max_constants: int = 20,
    ahead: list[bool] | None = None,
) -> list[Proposal]:
    """Draw batches as a search does, with scores made up from the key; says which were drawn ahead, if asked."""
    source = Source(table, names, iter(()), seed=seed, max_constants=max_constants)
    hall = HallOfFame()
    found: list[Proposal] = []
    for _ in range(n_batches):
        batch = source.batch(hall)
        found.extend(batch)
        if ahead is not None:
            source.draw_ahead(hall)
            ahead.append(source._ahead is not None)
        for proposal in batch:
            hall.add(judged(proposal, table, -(sum(map(ord, proposal.key)) % 997) / 100))
    return found


@cache
def of_kind(kind: str) -> tuple[Proposal, ...]:
    return tuple(drawn(TABLES[kind], ALL, 7))


@pytest.mark.parametrize("kind", TABLES)
def test_every_proposal_is_over_the_tables_variables_with_a_form_per_target(kind: str) -> None:
    table = TABLES[kind]
    for proposal in of_kind(kind):
        assert len(proposal.forms) == len(table.targets)
        for j, form in enumerate(proposal.forms):
            assert form.expression.variables == table.symbols
            assert form.expression.used_variables, form.expression.text
            assert table.parse(form.expression.text, j) == form.expression
            assert set(form.shared) <= set(form.expression.constants)
            assert form.origin.split(":")[0] in ("catalogue", "enumeration", "evolution")


@each("kind", TABLES)
def test_no_family_is_proposed_twice(kind: str) -> None:
    keys = [p.key for p in of_kind(kind)]
    assert len(set(keys)) == len(keys)


def test_the_key_is_that_of_the_forms() -> None:
    for proposal in drawn(TABLES["two targets"], list(PROPOSERS), 2):
        assert proposal.key == " | ".join(canonical_key(f.expression) for f in proposal.forms)


@pytest.mark.parametrize("kind", ["two scales", "two targets", "groups"])
def test_the_same_seed_and_scores_give_the_same_proposals(kind: str) -> None:
    one, other = of_kind(kind), drawn(TABLES[kind], ALL, 7)
    assert [(p.key, p.forms) for p in one] == [(p.key, p.forms) for p in other]


@pytest.mark.slow
@each("names", [ALL, [EVOLUTION, "catalogue"]])  # the second runs out of static ones
def test_batches_drawn_while_the_one_before_is_judged_are_those_drawn_after(names: Sequence[str]) -> None:
    ahead: list[bool] = []
    one, other = drawn(TWO, names, 40), drawn(TWO, names, 40, ahead=ahead)
    assert [(p.key, p.island, p.bar, p.limits) for p in one] == [(p.key, p.island, p.bar, p.limits) for p in other]
    assert 15 < sum(ahead) < 40


def test_another_seed_breeds_others_and_leaves_the_rest_alone() -> None:
    one, other = drawn(TWO, ALL, 7, seed=0), drawn(TWO, ALL, 7, seed=1)
    bred = [{p.key for p in found if p.forms[0].origin == EVOLUTION} for found in (one, other)]
    assert bred[0] != bred[1]
    assert drawn(TWO, list(PROPOSERS), 4, seed=0) == drawn(TWO, list(PROPOSERS), 4, seed=1)


@each("kind", TABLES)
@each("name", PROPOSERS)
def test_no_proposer_is_empty(kind: str, name: str) -> None:
    assert list(itertools.islice(PROPOSERS[name](TABLES[kind]), 3))


def test_the_catalogue_comes_first_with_laws_that_use_every_variable() -> None:
    used = [len(p.forms[0].expression.used_variables) for p in from_catalogue(TWO)]
    assert used[0] == 2
    assert used == sorted(used, reverse=True)
    chinchilla = canonical_key(TWO.parse("E + A*N**-a + B*D**-b"))
    assert chinchilla in [p.key for p in from_catalogue(TWO)]


def test_formulas_too_long_for_the_grammar_are_left_out() -> None:
    x = np.random.default_rng(0).dirichlet(np.ones(120), 130)
    table = Table(tuple(Variable(f"p{i}", role="proportion") for i in range(120)), (Target("y"),), x, x[:, :1])
    assert all(p.forms[0].expression.complexity <= 600 for p in from_enumeration(table))


def test_evolution_takes_turns_once_there_is_something_to_breed() -> None:
    origins = [p.forms[0].origin.split(":")[0] for p in drawn(TABLES["three scales"], ["enumeration", EVOLUTION], 8)]
    first = origins.index("evolution")
    assert first >= 24
    assert {"evolution", "enumeration"} <= set(origins[first:])


def test_without_evolution_a_source_runs_dry() -> None:
    one = table_of(("N", "scale"))
    source = Source(one, list(PROPOSERS), iter(()), seed=0, max_constants=20)
    sizes = [len(source.batch(HallOfFame())) for _ in range(100)]
    assert sizes[0] > 0
    assert sizes[-1] == 0


def test_evolution_without_parents_has_nothing_to_say() -> None:
    assert Source(TWO, [EVOLUTION], iter(()), seed=0, max_constants=20).batch(HallOfFame()) == []


def test_children_keep_to_the_limit_of_constants() -> None:
    for proposal in drawn(TWO, ALL, 8, max_constants=5):
        if proposal.forms[0].origin == EVOLUTION:
            assert len(proposal.forms[0].expression.constants) <= 5


def test_an_unknown_proposer_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="no proposer 'catalog'; did you mean 'catalogue'"):
        Source(TWO, ["catalog"], iter(()), seed=0, max_constants=20)


def test_given_formulas_come_first_and_are_not_proposed_again() -> None:
    given = list(from_texts(TWO, ["E + A*D**-b + C*N**-a", "A*N*D"], "user"))
    source = Source(TWO, list(PROPOSERS), iter(given), seed=0, max_constants=20)
    batches = [source.batch(HallOfFame()) for _ in range(5)]
    keys = [p.key for batch in batches for p in batch]
    assert keys[:2] == [p.key for p in given]
    assert keys.count(keys[0]) == 1


def test_a_formula_for_all_targets_or_one_for_each() -> None:
    table = TABLES["two targets"]
    same, own = from_texts(table, ["E + A*N**-a", {"train": "A*N**-a", "valid": "A*D**-a"}], "user")
    assert [f.expression.text for f in same.forms] == ["E + A*N**-a"] * 2
    assert [f.expression.text for f in own.forms] == ["A*N**-a", "A*D**-a"]


def test_own_is_the_share_of_each_target() -> None:
    (proposal,) = from_texts(TABLES["a share per target"], ["E + k*exp(-g*own)"], "user")
    assert [f.expression.used_variables for f in proposal.forms] == [("a",), ("b",), ("c",)]


def test_a_formula_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(GrammarError, match="at column 12"):
        list(from_texts(TWO, ["__import__('os')"], "user"))
    with pytest.raises(UsageError, match="needs one for 'valid'; got train"):
        list(from_texts(TABLES["two targets"], [{"train": "A*N"}], "user"))


@pytest.mark.slow
def test_children_stay_on_the_island_of_their_parents() -> None:
    bred = [p for p in drawn(TWO, ALL, 30) if p.forms[0].origin == EVOLUTION]
    assert {p.island for p in bred} == {0, 1, 2, 3}
    assert {p.island for p in drawn(TWO, list(PROPOSERS), 3)} == {0}


@pytest.mark.slow
def test_only_bred_forms_have_to_come_near_the_best() -> None:
    found = drawn(TWO, ALL, 30)
    late = [p for p in found if p.forms[0].origin == EVOLUTION][-50:]
    assert all(math.isinf(p.bar) for p in found if p.forms[0].origin != EVOLUTION)
    # these candidates have two folds each, too few for a first look
    assert all(math.isinf(p.bar) for p in late)
