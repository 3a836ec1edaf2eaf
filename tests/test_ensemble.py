"""What predicts beside a law's formula: several formulas, and the rows near a point."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from candidates import rejudged
from commands import Run

import sld as api
from sld.analysis.intervals import predict_intervals
from sld.core.arrays import Array, spread_out
from sld.core.errors import DataError
from sld.data.card import Target, Variable
from sld.data.table import Table, table_from
from sld.data.task import load_task, tasks_root
from sld.formula.expression import parse
from sld.laws.ensemble import Ensemble, Member
from sld.laws.kriging import MOST, Kriging, Place, correlation, places_of
from sld.laws.law import Law
from sld.search.choosing.ensembles import Electorate
from sld.search.choosing.finalists import Finalists
from sld.search.discovery import SearchSettings, discover
from sld.search.finishing import finish
from sld.search.outcome import Discovery

N = np.geomspace(1e6, 1e9, 10)
Searched = tuple[dict[str, Array], Discovery]


def law_of(groups: tuple[str, ...] = ("all",)) -> Law:
    by_group = {g: {"E": 2.0, "A": 40.0, "a": 0.25} for g in groups}
    return Law(
        {"loss": parse("E + A*N**-a", ["N"])}, {"loss": by_group}, (Variable("N"),), (Target("loss", lower=0.0),),
        group_column=None if groups == ("all",) else "g",
    )  # fmt: skip


def rows_off(by: float | Array) -> Table:
    """Return rows that lie `by` above the formula of `law_of`."""
    return table_from({"N": N, "loss": 2.0 + 40 * N**-0.25 + by}, target="loss", scale="N")


def kriging_of(table: Table, law: Law, length: float = 3.0, nugget: float = 0.1) -> Kriging:
    residual = table.Y[:, 0] - law.by_formula(table)[:, 0]
    return Kriging.of(table, residual, places_of(table), length, nugget)


def test_a_prediction_takes_off_what_the_formula_misses_nearby() -> None:
    law, table = law_of(), rows_off(0.5)
    corrected = replace(law, ensembles={"loss": Ensemble((), kriging=kriging_of(table, law))})
    near, far = corrected.predict({"N": [2e9, 1e30]})[:, 0] - corrected.by_formula({"N": [2e9, 1e30]})[:, 0]
    assert 0.3 < near < 0.5
    assert abs(far) < 0.01


def test_the_weights_are_the_best_linear_prediction() -> None:
    law, table = law_of(), rows_off(np.sin(np.arange(10.0)))
    kriging = kriging_of(table, law)
    z = (np.log(N) / np.log(N).std())[:, None]
    at = np.log(np.array([3e7, 5e9]))[:, None] / np.log(N).std()
    r = np.sin(np.arange(10.0))
    covariance = np.exp(-np.abs(z - z.T) / 3.0) + 0.1 * np.eye(10)
    wanted = np.exp(-np.abs(at - z.T) / 3.0) @ np.linalg.solve(covariance, r)
    np.testing.assert_allclose(kriging.at({"N": np.array([3e7, 5e9])}, "all"), wanted, rtol=1e-6)


def test_rows_of_another_group_have_no_say() -> None:
    law = law_of(groups=("one", "two"))
    table = table_from(
        {
            "N": np.tile(N, 2),
            "loss": np.tile(2 + 40 * N**-0.25, 2) + np.repeat([0.5, 0.0], 10),
            "g": ["one"] * 10 + ["two"] * 10,
        },
        target="loss",
        scale="N",
        group="g",
    )
    kriging = kriging_of(table, law)
    at = {"N": np.array([2e9])}
    assert kriging.at(at, "one")[0] > 0.3
    assert kriging.at(at, "two")[0] == pytest.approx(0.0, abs=1e-9)
    assert kriging.at(at, "unheard of")[0] == 0.0


def test_a_value_without_a_logarithm_has_nothing_added() -> None:
    law, table = law_of(), rows_off(0.5)
    assert kriging_of(table, law).at({"N": np.array([0.0, -1.0])}, "all").tolist() == [0.0, 0.0]


def test_the_mean_is_of_the_members_that_have_a_value() -> None:
    ensemble = Ensemble(
        (
            Member(parse("k*N", ["N"]), {"all": {"k": 1.0}}, 0.75),
            Member(parse("k*log(N - 2)", ["N"]), {"all": {"k": 0.0}}, 0.25),
        )
    )
    own, at = np.array([9.0, 9.0]), {"N": np.array([1.0, 4.0])}
    np.testing.assert_allclose(ensemble.mean(own, at, "all"), [1.0, 3.0])
    np.testing.assert_allclose(replace(ensemble, own=0.5).mean(own, at, "all"), [5.0, 6.0])
    np.testing.assert_allclose(ensemble.mean(own, at, "a group that none has"), own)


def test_a_formula_far_from_all_others_pulls_no_farther_than_the_fence() -> None:
    weights, powers = (0.4, 0.3, 0.2, 0.1), (1.0, 1.1, 1.2, 40.0)
    members = tuple(Member(parse("k*N", ["N"]), {"all": {"k": k}}, w) for k, w in zip(powers, weights, strict=True))
    n = np.array([1.0, 10.0])
    (found, scaled) = Ensemble(members, own=0.0).mean(n, {"N": n}, "all")
    # each value is in the middle of its own weight: 0.2, 0.55, 0.8, 0.95
    low, high = np.interp([0.25, 0.75], [0.2, 0.55, 0.8, 0.95], powers)
    assert found == pytest.approx(0.4 * 1.0 + 0.3 * 1.1 + 0.2 * 1.2 + 0.1 * (high + 3 * (high - low)))
    assert scaled == pytest.approx(10 * found)
    near = Ensemble(members[:3], own=0.0).mean(n, {"N": n}, "all")
    assert near[0] == pytest.approx((0.4 * 1.0 + 0.3 * 1.1 + 0.2 * 1.2) / 0.9)


def test_a_mean_of_many_points_is_that_of_each() -> None:
    members = (Member(parse("E + A*N**-a", ["N"]), {"all": {"E": 1.0, "A": 30.0, "a": 0.2}}, 1.0),)
    n = np.geomspace(1e5, 1e12, 9000)
    both = Ensemble(members, own=0.25)
    many = both.mean(n**0.1, {"N": n}, "all")
    for k in (0, 4095, 4096, 8999):
        assert both.mean(n[k : k + 1] ** 0.1, {"N": n[k : k + 1]}, "all")[0] == many[k]


def test_predictions_keep_bounds_and_stay_positive() -> None:
    below = Kriging(3.0, 0.1, (Place("N", True, 1.0),), {"all": (np.log(N)[:, None], np.full(10, -50.0))})
    own = np.array([2.0])
    at = {"N": np.array([1e9])}
    assert Ensemble((), kriging=below).predict(own, at, "all", Target("loss", lower=1.5))[0] == 1.5
    assert Ensemble((), kriging=below, floor=0.25).predict(own, at, "all", Target("loss"))[0] == 0.25
    # a formula that is beyond a bound itself is not moved into it
    assert Ensemble((), kriging=below).predict(np.array([1.0]), at, "all", Target("loss", lower=1.5))[0] == 1.0


def test_where_the_formula_has_no_value_there_is_no_prediction() -> None:
    ensemble = Ensemble((Member(parse("k*N", ["N"]), {"all": {"k": 1.0}}, 1.0),))
    assert np.isnan(ensemble.predict(np.array([np.nan]), {"N": np.array([1.0])}, "all", Target("loss"))[0])


def test_law_json_gives_the_predictions_back(tmp_path: Path) -> None:
    law, table = law_of(), rows_off(0.5)
    member = Member(parse("E + A*N**-a + b*log(N)", ["N"]), {"all": {"E": 1.0, "A": 30.0, "a": 0.2, "b": 0.01}}, 0.4)
    law = replace(law, ensembles={"loss": Ensemble((member,), 0.25, kriging_of(table, law), 0.5)})
    law.save(tmp_path / "law.json")
    again = Law.load(tmp_path / "law.json")
    points = {"N": np.geomspace(1e5, 1e11, 7)}
    assert (again.predict(points) == law.predict(points)).all()
    assert (again.predict(points) != law.by_formula(points)).all()
    assert (again.bare.predict(points) == law.by_formula(points)).all()
    assert not again.bare.ensembles
    assert again == law
    assert again != replace(law, ensembles={"loss": replace(law.ensembles["loss"], own=0.5)})
    assert again != law.bare


@pytest.mark.parametrize(
    "spoil",
    [
        lambda e: e.pop("members"),
        lambda e: e.pop("own"),
        lambda e: e["members"][0].update(expression="E + rm(N)"),
        lambda e: e["members"][0]["constants"]["all"].pop("E"),
        lambda e: e["members"][0]["constants"]["all"].update(E=float("nan")),
        lambda e: e["kriging"]["rows"]["all"][0].pop(),
        lambda e: e["kriging"].update(length="far"),
        lambda e: e.update(kriging=3),
    ],
)
def test_a_damaged_record_is_refused_in_one_line(spoil: Callable[[Any], object]) -> None:
    law, table = law_of(), rows_off(0.5)
    member = Member(law.expressions["loss"], law.constants["loss"], 1.0)
    data = replace(law, ensembles={"loss": Ensemble((member,), kriging=kriging_of(table, law))}).to_json()
    spoil(data["ensembles"]["loss"])
    with pytest.raises(DataError) as error:
        Law.from_json(json.loads(json.dumps(data)))
    assert "\n" not in str(error.value)
    assert "ensemble of 'loss'" in str(error.value)


def test_an_ensemble_of_no_target_is_refused() -> None:
    data = law_of().to_json() | {"ensembles": {"lost": {}}}
    with pytest.raises(DataError, match="lost"):
        Law.from_json(data)


def test_many_rows_are_thinned_evenly() -> None:
    rows = np.arange(1000)
    kept = spread_out(rows, 11)
    assert kept.tolist() == sorted({round(i * 99.9) for i in range(11)})
    assert spread_out(rows[:5], 11).tolist() == [0, 1, 2, 3, 4]
    x = np.geomspace(1e3, 1e9, MOST + 50)
    table = table_from({"N": x, "loss": 3 + 40 * x**-0.25}, target="loss", scale="N")
    assert len(kriging_of(table, law_of()).rows["all"][1]) == MOST


def test_many_points_are_asked_in_blocks() -> None:
    law, table = law_of(), rows_off(0.5)
    kriging = kriging_of(table, law)
    points = np.geomspace(1e5, 1e12, 10_000)
    one_by_one = [kriging.at({"N": points[k : k + 1]}, "all")[0] for k in (0, 255, 256, 9999)]
    np.testing.assert_allclose(kriging.at({"N": points}, "all")[[0, 255, 256, 9999]], one_by_one)


def test_correlation_falls_from_one() -> None:
    z = np.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(correlation(z, z, 5.0), [[1.0, np.exp(-1.0)], [np.exp(-1.0), 1.0]])


def test_intervals_and_draws_are_where_the_prediction_is() -> None:
    loss = 1.7 + 400 * N**-0.34 + 0.02 * np.cos(np.arange(10))
    law = api.fit({"N": N, "loss": loss}, "E + A*N**-a", target="loss", scale="N", starts=8)
    rows = table_from({"N": N, "loss": loss + 0.3}, target="loss", scale="N")
    moved = replace(law, ensembles={"loss": Ensemble((), kriging=kriging_of(rows, law))})
    points = {"N": [2e9, 1e10]}
    off = moved.predict(points) - law.predict(points)
    assert (off > 0.1).all()
    for before, after in zip(predict_intervals(law, points), predict_intervals(moved, points), strict=True):
        shift = after - before
        assert (np.abs(shift - off) < 0.35 * off).all()
    assert (predict_intervals(moved, points)[0] <= moved.predict(points)).all()
    drawn = np.median(moved.draws(points, n=400)[:, :, 0], axis=0) - np.median(
        law.draws(points, n=400)[:, :, 0], axis=0
    )
    assert (np.abs(drawn - off[:, 0]) < 0.35 * off[:, 0]).all()


def noisy_rows() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e8, 5), np.geomspace(1e8, 1e10, 5)))
    # a law that is in no search space of so few fits, and noise
    loss = 1.8 + 60 * n**-0.3 + 400 * d**-0.28 + 0.05 * np.sin(1.5 * np.log(n)) + 0.003 * rng.standard_normal(25)
    return {"n": n, "d": d, "loss": loss}


@pytest.fixture(scope="module")
def searched() -> Searched:
    rows = noisy_rows()
    return rows, api.discover(rows, target="loss", scale=["n", "d"], budget="1500fits", seed=3, workers=1)


def test_a_search_predicts_with_several_formulas(searched: Searched) -> None:
    _, found = searched
    ensemble = found.law.ensembles["loss"]
    assert 3 <= len(ensemble.members) <= 40
    assert sum(m.weight for m in ensemble.members) == pytest.approx(1.0, abs=0.7)
    weights = [m.weight for m in ensemble.members]
    assert weights == sorted(weights, reverse=True)
    assert any("predictions are the mean of the formula and of" in note for note in found.notes)
    assert "predictions are the mean" in repr(found.law)
    points = {"n": [2e8], "d": [2e10]}
    assert api.predict(found.law, points)["loss"][0] == found.law.predict(points)[0, 0]
    assert api.predict(found.law, points, by_formula=True)["loss"][0] == found.law.by_formula(points)[0, 0]


def test_predictions_of_the_rows_are_closer_than_the_formula_where_rows_near_a_point_count(searched: Searched) -> None:
    rows, found = searched
    if found.law.ensembles["loss"].kriging is None:
        pytest.skip("the folds of this search carry nothing over")
    points = {k: rows[k] for k in ("n", "d")}
    by = [np.mean((f(points)[:, 0] - rows["loss"]) ** 2) for f in (found.law.predict, found.law.by_formula)]
    assert by[0] < by[1]


def test_who_led_earlier_in_the_search_has_a_say() -> None:
    rows, points = noisy_rows(), {"n": [2e8], "d": [2e10]}
    table = table_from(rows, target="loss", scale=["n", "d"])
    with mock.patch("sld.search.discovery.finish", wraps=finish) as spy, mock.patch("sld.search.loop._RIPE", 10):
        found = discover(table, SearchSettings(seed=3, budget="1500fits", workers=1))
    search, *rest = spy.call_args.args
    (early,), (late,) = search.early, search.finalists
    assert early.best
    assert {c.key for c in early.members} != {c.key for c in late.members}
    assert max(c.score for c in late.best[:5]) <= max(c.score for c in early.best[:5])
    assert finish(replace(search, early=()), *rest).law.predict(points) != found.law.predict(points)

    both = Electorate(late, early).parts(search.context, 0)
    alone = Electorate(late).parts(search.context, 0)
    assert [share for _, share in alone] == [0.5, 0.5]
    assert [share for _, share in both] == [0.25] * 4
    assert [c.key for c in both[0][0]] == [c.key for c in alone[0][0]]
    # who is in both counts with the later judgement
    known = {c.key: c for c in late.members}
    assert all(c is known.get(c.key, c) for members, _ in both for c in members)
    # with laws that pass every check at the end, those that do not have no say, whenever they led
    spoilt = Finalists(tuple(rejudged(c, admissible=False) for c in early.best if c.key not in known), ())
    assert spoilt.best and not any(c.admissible for c in spoilt.best)
    assert all(c.admissible for members, _ in Electorate(late, spoilt).parts(search.context, 0) for c in members)


def test_who_led_early_in_a_short_search_has_none() -> None:
    table = table_from(noisy_rows(), target="loss", scale=["n", "d"])
    with mock.patch("sld.search.discovery.finish", wraps=finish) as spy:
        discover(table, SearchSettings(seed=3, budget="1500fits", workers=1))
    assert spy.call_args.args[0].early == ()


def test_an_exact_law_predicts_alone() -> None:
    x = np.geomspace(1e6, 1e9, 12)
    found = api.discover({"N": x, "loss": 1.7 + 400 * x**-0.34}, target="loss", scale="N", budget="300fits", workers=1)
    assert not found.law.ensembles


def test_by_formula_in_the_shell(searched: Searched, sld: Run, tmp_path: Path) -> None:
    _, found = searched
    found.law.save(tmp_path / "law.json")
    (tmp_path / "points.csv").write_text("n,d,loss\n200000000,20000000000,2.1\n300000000,20000000000,2.0\n")
    points = {"n": [2e8, 3e8], "d": [2e10, 2e10]}
    for option, wanted in (((), found.law.predict), (("--by-formula",), found.law.by_formula)):
        told = sld("predict", "law.json", "points.csv", "--out", "out.csv", *option)
        assert told.code == 0
        with open(tmp_path / "out.csv", encoding="utf-8") as stream:
            predicted = [
                float(row["loss_predicted" if "loss_predicted" in row else "loss"]) for row in csv.DictReader(stream)
            ]
        np.testing.assert_allclose(predicted, wanted(points)[:, 0], rtol=1e-6)
    scored = [json.loads(sld("score", "law.json", "points.csv", "--json", *o).out) for o in ((), ("--by-formula",))]
    assert scored[0] != scored[1]


@pytest.mark.slow
def test_discover_says_what_the_formula_alone_has(sld: Run, tmp_path: Path) -> None:
    asked = ("discover", "nanolm_data_repeat", "--budget", "600fits", "--workers", "1", "--out", str(tmp_path / "run"))
    told = sld(*asked)
    assert told.code == 0
    assert "; the formula alone has " in told.out
    assert "note: predictions are the mean of" in told.out
    record = json.loads(sld(*asked, "--json").out)
    law = Law.load(tmp_path / "run")
    task = load_task(tasks_root() / "nanolm_data_repeat")
    for key, one in (("held_out", law), ("held_out_by_formula", law.bare)):
        assert record[key]["r2"] == pytest.approx(api.score(one, task).r2)
