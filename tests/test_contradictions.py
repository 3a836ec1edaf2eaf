"""Rows that go against a declared direction: counted, said, and followed by predictions near them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from searches import chinchilla

import sld
from sld.data.contradictions import contradictions, sentence_of
from sld.data.splits import rung_folds
from sld.data.table import Table, table_from
from sld.search.choosing.directions import Directions

N, D = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e9, 8), np.geomspace(1e8, 1e11, 6)))
DECLARED: Any = {"N": "decreasing", "D": "decreasing"}


def table_of(loss: np.ndarray, **declared: Any) -> Table:
    columns = {"N": N, "D": D, "loss": loss}
    return table_from(columns, target="loss", scale=["N", "D"], monotone=declared or DECLARED)


def overfitted() -> np.ndarray:
    """Return losses (48,) that rise from some 3e7 parameters on."""
    return chinchilla(N, D) + 1.0 * np.maximum(np.log10(N / 1e7), 0.0)


def test_rows_that_run_the_declared_way_contradict_nothing() -> None:
    assert contradictions(table_of(chinchilla(N, D))) == ()


def test_pairs_that_differ_in_one_variable_alone_are_counted() -> None:
    (found,) = contradictions(table_of(overfitted()))
    by_hand = 0
    for d in np.unique(D):
        loss = overfitted()[d == D]
        by_hand += sum(loss[j] > loss[i] for i in range(8) for j in range(i + 1, 8))
    assert (found.variable.symbol, found.target.column) == ("N", "loss")
    assert (found.wrong, found.pairs) == (by_hand, 6 * 28)
    assert sentence_of([found], grouped=False) == (
        "loss is declared decreasing in N, but rows go against that: of 168 pairs that differ in N alone "
        f"{by_hand} have the higher loss where N is larger"
    )


def test_the_other_direction_is_counted_the_other_way() -> None:
    (found,) = contradictions(table_of(-overfitted(), N="increasing", D="increasing"))
    assert found.variable.symbol == "N" and "have the lower loss where N" in sentence_of([found], grouped=False)
    assert len(contradictions(table_of(chinchilla(N, D), N="increasing"))) == 1


def test_a_few_wrong_pairs_and_a_few_pairs_say_nothing() -> None:
    failed = chinchilla(N, D) + 9.0 * (N == N.max())  # seven of 28 pairs of each line
    (found,) = contradictions(table_of(failed))
    assert (found.wrong, found.pairs) == (6 * 7, 6 * 28)
    assert contradictions(table_of(chinchilla(N, D) + 9.0 * ((N == N.max()) & (D > 1e9)))) == ()  # 28 of 168
    few = np.r_[0:6, 8:10, 16:18, 24:26]  # 18 pairs in N
    columns = {"N": N[few], "D": D[few], "loss": overfitted()[few]}
    assert contradictions(table_from(columns, target="loss", scale=["N", "D"], monotone=DECLARED)) == ()


def test_rows_of_other_groups_and_other_runs_make_no_pair() -> None:
    columns = {"N": N, "D": D, "g": [str(i) for i in range(len(N))], "loss": overfitted()}
    assert contradictions(table_from(columns, target="loss", scale=["N", "D"], group="g", monotone=DECLARED)) == ()
    scattered = D * np.exp(1e-6 * np.arange(len(N)))
    columns = {"N": N, "D": scattered, "loss": overfitted()}
    assert contradictions(table_from(columns, target="loss", scale=["N", "D"], monotone=DECLARED)) == ()


def test_each_group_speaks_for_itself() -> None:
    n, d = np.tile(N, 3), np.tile(D, 3)
    group = np.repeat(["a", "b", "c"], len(N))
    loss = np.concatenate([chinchilla(N, D), overfitted(), chinchilla(N, D)])
    columns = {"N": n, "D": d, "g": group, "loss": loss}
    table = table_from(columns, target="loss", scale=["N", "D"], group="g", monotone=DECLARED)
    (found,) = contradictions(table)
    assert found.group == "b" and found.pairs == 168
    assert "rows go against that (b): of 168 pairs" in sentence_of([found], grouped=True)
    directions = Directions.of(table, rung_folds(table))
    assert directions is not None
    rising = np.log(directions.columns["N"])
    form = table.parse("E + A*N**-a + B*D**-b")
    b = table.groups.index("b")
    assert directions.wrong_way(np.where(directions.group_index == b, rising, 0.0), form, 0) == 0.0
    assert directions.wrong_way(np.where(directions.group_index != b, rising, 0.0), form, 0) > 0.5


def test_rows_without_weight_and_rungs_of_nearly_one_size_have_no_say() -> None:
    wrong = overfitted()
    weighed = {"N": np.tile(N, 2), "D": np.tile(D, 2), "loss": np.concatenate([chinchilla(N, D), wrong])}
    weighed["w"] = np.repeat([1.0, 0.0], len(N))
    table = table_from(weighed, target="loss", scale=["N", "D"], weights="w", monotone=DECLARED)
    assert contradictions(table) == ()
    rng = np.random.default_rng(0)
    sizes = np.concatenate([1e7 * rng.uniform(0.99, 1.01, 10), 1e9 * rng.uniform(0.99, 1.01, 10)])
    n, d = (a.ravel() for a in np.meshgrid(sizes, np.geomspace(1e9, 1e11, 3)))
    loss = chinchilla(n, d) + 0.01 * rng.normal(size=len(n))
    assert (
        contradictions(table_from({"N": n, "D": d, "loss": loss}, target="loss", scale=["N", "D"], monotone=DECLARED))
        == ()
    )


def test_noise_that_repeats_show_goes_no_way() -> None:
    rng = np.random.default_rng(1)
    n, d = np.tile(N, 4), np.tile(D, 4)
    noisy = 2.0 - 0.01 * np.log10(n) + 0.1 * rng.normal(size=len(n))
    single = {"N": N, "D": D, "loss": noisy[: len(N)]}
    assert contradictions(table_from(single, target="loss", scale=["N", "D"], monotone={"N": "decreasing"}))
    repeated = {"N": n, "D": d, "loss": noisy}
    assert contradictions(table_from(repeated, target="loss", scale=["N", "D"], monotone={"N": "decreasing"})) == ()


def test_long_lines_are_compared_by_a_part_of_their_rows() -> None:
    x = np.geomspace(1.0, 1e6, 20_000)
    table = table_from({"x": x, "y": np.log(x)}, target="y", scale=["x"], monotone={"x": "decreasing"})
    (found,) = contradictions(table)
    assert 0.99 * 500 * 499 / 2 < found.pairs <= 500 * 499 / 2 and found.wrong == found.pairs


def test_a_walk_along_what_rows_contradict_is_not_held_against_predictions() -> None:
    table = table_of(overfitted())
    directions = Directions.of(table, rung_folds(table))
    assert directions is not None
    form = table.parse("E + A*N**-a + B*D**-b")
    rising = np.log(directions.columns["N"])
    assert directions.wrong_way(rising, form, 0) == 0.0
    assert directions.wrong_way(np.log(directions.columns["D"]), form, 0) > 0.5
    sound = Directions.of(table_of(chinchilla(N, D)), rung_folds(table))
    assert sound is not None and sound.wrong_way(rising, form, 0) > 0.5
    # a formula is held to what was declared all the same
    assert directions.broken(form, {"all": {"E": 1.0, "A": -1.0, "a": 0.1, "B": 1.0, "b": 0.3}}) is not None


@pytest.mark.parametrize("declared", [True, False])
def test_a_search_says_so_and_predicts_what_was_measured(declared: bool) -> None:
    table = {"N": N, "D": D, "loss": overfitted()}
    known: Any = {"monotone": DECLARED} if declared else {}
    run = sld.discover(table, target="loss", scale=["N", "D"], budget="400fits", **known)
    said = [note for note in run.notes if "is declared decreasing in N, but rows go against that" in note]
    assert len(said) == declared
    assert all(note.endswith("predictions near such rows may go their way") for note in said)
    predicted = run.law.predict({"N": N, "D": D})[:, 0]
    assert 1 - np.mean((predicted - overfitted()) ** 2) / np.var(overfitted()) > 0.9
    if declared:
        formula = run.law.by_formula({"N": np.unique(N), "D": np.full(8, D.max())})[:, 0]
        assert (np.diff(formula) <= 1e-9).all()


def test_nothing_is_said_of_a_direction_that_a_formula_need_not_keep() -> None:
    """Of two runs at one learning rate the larger one may be worse, where the best rate moves with size."""
    n, lr = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e9, 8), np.geomspace(1e-4, 1e-1, 6)))
    loss = 1.7 + 40 * n**-0.2 + 0.1 * (np.log(lr) - np.log(1e-2) + 0.6 * np.log(n / 1e6)) ** 2
    table = table_from(
        {"N": n, "lr": lr, "loss": loss}, target="loss", scale="N", hyper="lr", monotone={"N": "decreasing"}
    )
    directions = Directions.of(table, rung_folds(table))
    assert directions is not None and directions.contradicted
    tuned = table.parse("E + A*N**-a + k*(log(lr) - c + b*log(N))**2")
    assert directions.remarks({"loss": tuned}, ["loss"]) == []
    assert len(directions.remarks({"loss": table.parse("E + A*N**-a")}, [])) == 1
