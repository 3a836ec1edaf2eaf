"""Declared directions hold for the law that is handed out, as far as its predictions may be supported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from searches import chinchilla, search

from sld.data.card import Monotone
from sld.data.splits import rung_folds
from sld.data.table import Table, table_from
from sld.search.choosing.directions import Directions
from sld.search.choosing.reach import steps_tested
from sld.search.judging.judge import Judge
from sld.search.proposing.proposers import from_texts

N = np.geomspace(1e6, 1e9, 7)
D = np.geomspace(1e8, 1e11, 7)


def two_scales(noise: float = 0.0, **monotone: Monotone) -> Table:
    n, d = (a.ravel() for a in np.meshgrid(N, D))
    loss = chinchilla(n, d) * (1 + noise * np.random.default_rng(0).normal(size=len(n)))
    return table_from({"N": n, "D": d, "loss": loss}, target="loss", scale=["N", "D"], monotone=monotone)


def directions_of(table: Table) -> Directions | None:
    return Directions.of(table, rung_folds(table))


def broken(table: Table, text: str, **constants: float) -> str | None:
    directions = directions_of(table)
    assert directions is not None
    return directions.broken(table.parse(text), {g: constants for g in table.groups})


DECLARED: Any = {"N": "decreasing", "D": "decreasing"}
GOOD = {"E": 1.7, "A": 400.0, "a": 0.34, "B": 400.0, "b": 0.28}


def test_nothing_is_walked_where_nothing_is_declared() -> None:
    assert directions_of(two_scales()) is None


def test_a_law_that_runs_the_declared_way_passes() -> None:
    assert broken(two_scales(**DECLARED), "E + A*N**-a + B*D**-b", **GOOD) is None
    # a variable that the formula leaves out, and a flat stretch, go no way at all
    assert broken(two_scales(**DECLARED), "E + B*D**-b", E=1.7, B=400.0, b=0.28) is None
    assert broken(two_scales(**DECLARED), "E + A*exp(-N/K)", E=1.7, A=1.0, K=1e6) is None


@pytest.mark.parametrize("factor", [0.01, 2.0, 5.0])
def test_a_turn_is_found_within_the_data_and_as_far_as_a_verdict_supports(factor: float) -> None:
    text = "E + A*(log(N) - m)**2 + B*D**-b"
    found = broken(two_scales(**DECLARED), text, E=2.0, A=1e-4, m=np.log(1e9 * factor), B=400.0, b=0.28)
    assert found is not None and found.startswith("not decreasing in N at N = ")


def test_a_turn_beyond_all_support_is_not_looked_for() -> None:
    table = two_scales(N="decreasing")
    (tested,) = steps_tested(table, rung_folds(table), table.variables[0])
    far = np.log(1e9) + tested + 0.1
    assert broken(table, "E + A*(log(N) - m)**2", E=2.0, A=1e-3, m=far) is None


def test_a_rise_that_is_small_beside_the_range_of_the_target_counts() -> None:
    # up by a thousandth of the target's range after a fall as small
    assert broken(two_scales(N="decreasing"), "E + A*(log(N) - m)**2", E=2.0, A=1e-5, m=np.log(1e8)) is not None


def test_a_law_that_turns_only_where_the_other_variable_is_small_is_found() -> None:
    # overfitting: more parameters hurt at 1e8 tokens and help at 1e11
    text = "1.7 + 400*N**-0.34 + B*N**0.5*D**-1.2"
    assert broken(two_scales(N="decreasing"), text, B=1e5) is not None
    assert broken(two_scales(N="increasing"), text, B=1e5) is not None


def test_increasing_is_the_other_way() -> None:
    assert broken(two_scales(N="increasing"), "E + A*N**-a", E=1.7, A=400.0, a=0.34) is not None
    assert broken(two_scales(N="increasing"), "E - A*N**-a", E=1.7, A=400.0, a=0.34) is None


def test_every_group_has_to_keep_to_it() -> None:
    x = np.tile(np.geomspace(1e6, 1e9, 8), 2)
    table = table_from(
        {"N": x, "g": ["a"] * 8 + ["b"] * 8, "loss": 2 + 300 * x**-0.4}, target="loss", scale="N", group="g",
        monotone={"N": "decreasing"},
    )  # fmt: skip
    directions = directions_of(table)
    assert directions is not None
    good, bad = {"E": 2.0, "A": 300.0, "a": 0.4}, {"E": 2.0, "A": -300.0, "a": 0.4}
    law = table.parse("E + A*N**-a")
    assert directions.broken(law, {"a": good, "b": good}) is None
    assert directions.broken(law, {"a": good, "b": bad}) is not None


def test_a_covariate_is_walked_within_the_data() -> None:
    rng = np.random.default_rng(0)
    n, depth = np.geomspace(1e6, 1e9, 12), rng.uniform(2, 20, 12)
    table = table_from(
        {"N": n, "depth": depth, "loss": 3 - 0.01 * depth + n**-0.3}, target="loss", scale="N", covariate="depth",
        monotone={"depth": "decreasing"},
    )  # fmt: skip
    assert broken(table, "E + A*(depth - m)**2", E=2.0, A=1.0, m=float(depth.max()) + 1) is None
    assert broken(table, "E + A*(depth - m)**2", E=2.0, A=1.0, m=10.0) is not None


def test_columns_of_logarithms_are_walked_as_far() -> None:
    n = np.geomspace(1e6, 1e9, 12)
    columns = {"loss": 2 + 300 * n**-0.4}
    plain = directions_of(table_from({"N": n, **columns}, target="loss", scale="N", monotone={"N": "decreasing"}))
    logged = directions_of(
        table_from(
            {"logN": np.log10(n), **columns}, target="loss", scale="logN", log="logN",
            monotone={"logN": "decreasing"},
        )
    )  # fmt: skip
    assert plain is not None and logged is not None
    assert np.allclose(np.log10(plain.columns["N"]), logged.columns["logN"])


def test_signs_of_constants_set_a_law_right() -> None:
    table = two_scales(0.002, **DECLARED)
    judge = Judge(table, rung_folds(table), seed=0, max_constants=9)
    (proposal,) = from_texts(table, ["E + A*N**-a + B*D**-b + C*N**-c"], "user")
    law, _ = judge.judge(proposal)
    bent = replace(law, constants={"loss": {"all": {**law.constants["loss"]["all"], "C": 0.4, "c": -0.05}}})
    directions = directions_of(table)
    assert directions is not None and not directions.keeps(bent, 0)
    straight = directions.straightened(bent, 0, judge.context.weights[0], {})
    assert straight is not None and directions.keeps(straight, 0)
    assert all(v >= 0 for v in straight.constants["loss"]["all"].values())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_law_that_is_handed_out_keeps_to_the_declared_directions(seed: int) -> None:
    # few noisy runs at the largest sizes: forms that turn fit them better
    rng = np.random.default_rng(seed)
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    loss = chinchilla(n, d) + 0.02 * rng.normal(size=len(n)) + 0.08 * (n > 9e8)
    table = table_from({"N": n, "D": d, "loss": loss}, target="loss", scale=["N", "D"], monotone=DECLARED)
    found = search(table, "6000fits", seed=seed)
    directions = directions_of(table)
    assert directions is not None
    for law in (found.law, found.single or found.law):
        assert directions.broken(law.expressions["loss"], law.constants["loss"]) is None
    size = np.geomspace(1e7, 1e10, 50)
    for tokens in (1e9, 1e10, 1e12):
        points = {"N": size, "D": np.full(50, tokens)}
        assert (np.diff(found.law.by_formula(points)[:, 0]) <= 1e-9).all()
        predicted = found.law.predict(points)[:, 0]
        assert (predicted - np.minimum.accumulate(predicted)).max() <= 0.05 * np.ptp(loss)


def test_where_no_law_can_keep_to_it_that_is_said() -> None:
    n = np.geomspace(1e6, 1e9, 14)
    y = 1 + 0.3 * np.log10(n) + 0.01 * np.random.default_rng(0).normal(size=14)
    table = table_from({"N": n, "loss": y}, target="loss", scale="N", monotone={"N": "decreasing"})
    found = search(table, formulas=["E + A*log(N)"], proposers=(), budget="200fits")
    assert any("keeps to the declared directions" in note for note in found.notes)
    assert found.verdict.kind != "law"


def test_a_valley_that_moves_with_scale_turns_at_a_fixed_rate() -> None:
    rng = np.random.default_rng(0)
    n, lr = rng.choice(np.geomspace(1e6, 1e9, 6), 40), np.geomspace(1e-4, 1e-1, 40)
    loss = 2 + 100 * n**-0.3 + 0.02 * (np.log(lr) + 0.3 * np.log(n)) ** 2
    table = table_from(
        {"N": n, "lr": lr, "loss": loss}, target="loss", scale="N", hyper="lr", monotone={"N": "decreasing"}
    )
    assert broken(table, "2 + 100*N**-0.3 + k*(log(lr) + 0.3*log(N))**2", k=0.02) is None
    assert broken(table, "2 + k*(log(N) - 15)**2", k=0.02) is not None
