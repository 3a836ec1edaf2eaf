"""Noise that changes is told from noise that does not, and rows weigh what repeats, standard errors and columns say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run, runner
from many_cases import each
from searches import one_scale, search

from sld import api
from sld.analysis.intervals import compute, predict_intervals
from sld.core.errors import DataError, UsageError
from sld.data.splits import frontier_weights, rung_folds
from sld.data.table import Array, Table, table_from
from sld.fit.fitting import fit
from sld.fit.noise import (
    COLUMN,
    FRONTIER,
    NOISE,
    YERR,
    ErrorScale,
    Noise,
    NoiseShape,
    about_noise,
    misfit,
    noise_model,
    noise_weights,
    row_weights,
    standard_deviations,
)
from sld.laws.law import Law

SLOPE = -0.6


def truth(n: Array) -> Array:
    return 2 + 50 * n**-0.25


def falling(seed: int = 0, repeats: int = 5, slope: float = SLOPE, points: int = 10) -> Table:
    """Repeats of a power law whose noise is a power of the size, 1 at the smallest."""
    rng = np.random.default_rng(seed)
    n = np.repeat(np.geomspace(1e3, 1e7, points), repeats)
    y = truth(n) + (n / 1e3) ** slope * rng.normal(size=len(n))
    return table_from({"N": n, "y": y}, target="y", scale="N")


@pytest.fixture
def sld(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return runner(capsys, monkeypatch, tmp_path)


# -- is it estimated? ------------------------------------------------------------------------------------------------


def test_a_power_of_the_size_is_found_again() -> None:
    slopes = []
    for seed in range(20):
        model = noise_model(falling(seed))
        assert model is not None
        assert model.driver == "N"
        slopes.append(model.slope)
        assert model.sd(np.array(model.centre)) == pytest.approx((math.exp(model.centre) / 1e3) ** SLOPE, rel=0.5)
    assert np.mean(slopes) == pytest.approx(SLOPE, abs=0.05)


@pytest.mark.slow
def test_constant_noise_stays_constant() -> None:
    assert sum(noise_model(falling(seed, slope=0.0)) is not None for seed in range(200)) <= 4


@pytest.mark.slow
def test_heavy_tails_are_no_change() -> None:
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n = np.repeat(np.geomspace(1e3, 1e7, 8), 3)
        table = table_from({"N": n, "y": truth(n) + 0.1 * rng.standard_t(3, size=24)}, target="y", scale="N")
        found += noise_model(table) is not None
    assert found <= 8


def test_noise_in_proportion_to_the_value_is_found() -> None:
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(12), 5)  # points whose values do not go with the size
    value = rng.permutation(np.geomspace(1, 1000, 12))[g]
    n = np.geomspace(1e3, 1e7, 12)[g]
    table = table_from({"N": n, "y": value * (1 + 0.02 * rng.normal(size=60))}, target="y", scale="N")
    model = noise_model(table)
    assert model is not None
    assert model.driver == ""
    assert model.slope == pytest.approx(1.0, abs=0.1)
    assert model.sd(np.log([100.0]))[0] == pytest.approx(2.0, rel=0.3)


def test_exact_copies_tell_nothing() -> None:
    x = np.repeat(np.geomspace(1e3, 1e7, 8), 3)
    copies = table_from({"N": x, "y": truth(x)}, target="y", scale="N")
    assert noise_model(copies) is None
    table = falling()
    doubled = table.take(np.concatenate([np.arange(table.n_rows), np.arange(table.n_rows)]))
    one, two = noise_model(table), noise_model(doubled)
    assert one is not None
    assert two is not None
    assert one.slope == pytest.approx(two.slope)
    assert one.n_points == two.n_points


def test_one_wild_repeat_does_not_decide() -> None:
    table = falling(slope=0.0)
    Y = table.Y.copy()
    Y[-1] += 40.0
    assert noise_model(table.with_targets(Y)) is None


def test_without_repeats_nothing_is_claimed() -> None:
    table = one_scale()
    assert noise_model(table) is None
    assert row_weights(table) is not None
    assert np.array_equal(row_weights(table), frontier_weights(table))  # type: ignore[arg-type]  # neither is None
    assert about_noise(table) == []


def test_noise_does_not_fall_beyond_the_repeats() -> None:
    falls = Noise("N", 0.0, -1.0, 0.0, -5.0, 5.0)
    assert falls.sd(np.array([9.0, 50.0])) == pytest.approx(math.exp(-5.0))
    assert falls.sd(np.array([-50.0]))[0] == pytest.approx(math.exp(7.5))  # a quarter of the range more
    rises = Noise("N", 0.0, 1.0, 0.0, -5.0, 5.0)
    assert rises.sd(np.array([-9.0]))[0] == pytest.approx(math.exp(-5.0))
    assert Noise.from_json(json.loads(json.dumps(falls.to_json()))) == falls


def test_groups_have_levels_of_their_own() -> None:
    quiet, loud = falling(0), falling(1)
    both = table_from(
        {
            "N": np.concatenate([quiet.X[:, 0], loud.X[:, 0]]),
            "y": np.concatenate([quiet.Y[:, 0], truth(loud.X[:, 0]) + 10 * (loud.Y[:, 0] - truth(loud.X[:, 0]))]),
            "g": ["quiet"] * quiet.n_rows + ["loud"] * loud.n_rows,
        },
        target="y", scale="N", group="g",
    )  # fmt: skip
    sd = standard_deviations(both)
    assert sd is not None
    ratio = sd[both.group_index == both.groups.index("loud")] / sd[both.group_index == both.groups.index("quiet")]
    assert 5 < ratio[0] < 15


# -- what rows weigh -------------------------------------------------------------------------------------------------


def test_rows_weigh_the_inverse_of_their_variance_as_far_as_a_law_follows_them() -> None:
    table = falling()
    weights, sd = noise_weights(table), standard_deviations(table)
    assert weights is not None
    assert sd is not None
    assert weights.mean() == pytest.approx(1.0)
    noisy = np.argsort(-sd)[:20]
    expected = sd[noisy] ** 2 + misfit(table) ** 2
    assert weights[noisy] * expected == pytest.approx(np.full(20, weights[noisy[0]] * expected[0]))
    quiet = np.argmin(sd)
    assert weights[quiet] < 2 * weights[np.argsort(sd)[table.n_rows // 2]]  # no law is followed that closely
    together, frontier = row_weights(table), frontier_weights(table)
    assert together is not None
    assert frontier is not None
    product = weights * frontier
    assert together == pytest.approx(product / product.mean())


def test_weights_of_repeats_bring_the_law_nearer_to_the_truth() -> None:
    misses = []
    for seed in range(10):
        table = falling(seed)
        expression = table.parse("E + A*N**-a")
        for weights in (None, row_weights(table, 0, (NOISE,))):
            c = fit(expression, table, weights=weights, starts=8).constants["all"]
            misses.append(abs(c["E"] + c["A"] * 1e9 ** -c["a"] - truth(np.array(1e9))))
    plain, weighted = np.median(np.array(misses).reshape(10, 2), axis=0)
    assert weighted < plain / 2


def test_errors_are_counted_by_precision_and_an_absurd_row_does_not_set_the_unit() -> None:
    scale = ErrorScale.of(falling())
    assert scale.weights is not None
    table = falling()
    mean = float(np.average(table.Y[:, 0], weights=scale.weights))
    assert scale.nmse(table.Y[:, 0] - mean) == pytest.approx(1.0, rel=0.05)  # the mean explains nothing
    assert scale.floor(np.arange(5)) > 50 * scale.floor(np.arange(45, 50))
    plain = one_scale()
    Y = plain.Y.copy()
    assert ErrorScale.of(plain).variance == pytest.approx(float(Y.var()))
    Y[0] = 1e6
    assert ErrorScale.of(plain.with_targets(Y)).variance < 30 * Y[1:].var()


def test_huber_with_weights_counts_a_row_twice_as_two_rows() -> None:
    table = one_scale(24)
    expression = table.parse("E + A*N**-a")
    twice = table.take(np.concatenate([np.arange(24), np.arange(12)]))
    weights = np.where(np.arange(24) < 12, 2.0, 1.0)
    for loss in ("squared", "log"):
        a = fit(expression, table, weights=weights, loss=loss, starts=4).constants["all"]
        b = fit(expression, twice, loss=loss, starts=4).constants["all"]
        assert a == pytest.approx(b, rel=1e-4)
    alike = fit(expression, table, weights=np.full(24, 1.0), loss="huber", starts=4).constants["all"]
    assert alike == pytest.approx(fit(expression, table, loss="huber", starts=4).constants["all"], rel=1e-6)


# -- declared errors and weights -------------------------------------------------------------------------------------


def declared(**changes: Any) -> dict[str, Any]:
    n = np.geomspace(1e3, 1e7, 12)
    return {"N": n, "y": truth(n), "se": 0.1 * (n / 1e3) ** -0.3, "w": np.arange(12.0), **changes}


def test_standard_errors_take_the_place_of_the_estimate() -> None:
    table = table_from(declared(), target="y", scale="N", yerr="se")
    assert table.targets[0].yerr == "se"
    assert (standard_deviations(table) == declared()["se"]).all()
    model = noise_model(table)
    assert model is not None
    assert model.driver == "N"
    assert model.slope == pytest.approx(-0.3)
    weights = row_weights(table, 0, (YERR,))
    assert weights is not None
    assert weights[-1] / weights[0] == pytest.approx((declared()["se"][0] / declared()["se"][-1]) ** 2)
    assert ErrorScale.of(table).floor(np.array([0])) == pytest.approx(0.01 / ErrorScale.of(table).variance)


def test_declared_weights_multiply() -> None:
    table = table_from(declared(), target="y", scale="N", weights="w")
    weights, frontier = row_weights(table), frontier_weights(table)
    assert weights is not None
    assert frontier is not None
    assert weights[0] == 0.0
    assert weights[5] / weights[1] == pytest.approx(5 * frontier[5] / frontier[1])


def test_a_row_of_weight_zero_does_not_count() -> None:
    columns = declared()
    columns["y"] = columns["y"].copy()
    columns["y"][0] = 99.0  # and its weight is 0
    law = api.fit(columns, "E + A*N**-a", target="y", scale="N", weights="w")
    assert law.constants["y"]["all"]["E"] == pytest.approx(2.0, abs=1e-3)
    assert law.provenance["weights"] == {COLUMN: "w"}


def test_each_target_has_its_own_errors() -> None:
    columns = {**declared(), "z": declared()["y"] ** 2, "se_z": declared()["se"] * 3}
    table = table_from(columns, target=["y", "z"], scale="N", yerr=["se", "se_z"])
    assert table.yerr is not None
    assert (table.yerr[:, 1] == columns["se_z"]).all()
    assert [t.yerr for t in table.for_target(1).targets] == ["se_z"]
    with pytest.raises(UsageError, match="one column per target, in their order: 2 wanted, got 1"):
        table_from(columns, target=["y", "z"], scale="N", yerr="se")


@each(
    ("option", "column", "value", "message"),
    [
        ("yerr", "se", -0.1, "row 3: column 'se' is -0.1, but a standard error must be above 0"),
        ("yerr", "se", 0.0, "row 3: column 'se' is 0, but a standard error must be above 0"),
        ("yerr", "se", math.nan, "row 3: column 'se' is empty or not a number"),
        ("yerr", "se", "wide", "row 3: column 'se' must be a number, got 'wide'"),
        ("weights", "w", -1.0, "row 3: column 'w' is -1, but a weight cannot be negative"),
        ("weights", "w", math.nan, "row 3: column 'w' is empty or not a number"),
    ],
)
def test_bad_errors_and_weights_are_refused(option: str, column: str, value: object, message: str) -> None:
    columns = declared()
    columns[column] = [*columns[column][:2].tolist(), value, *columns[column][3:].tolist()]
    with pytest.raises(DataError, match=message):
        api.as_task(columns, target="y", scale="N", **{option: column})


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(DataError, match="'w' is 0 in every row; some weight must be above 0"):
        table_from(declared(w=np.zeros(12)), target="y", scale="N", weights="w")


def test_a_group_without_weight_is_refused() -> None:
    columns = {**declared(), "g": ["a"] * 6 + ["b"] * 6, "w": np.repeat([1.0, 0.0], 6)}
    with pytest.raises(DataError, match="'w' is 0 in every row of group 'b'; leave it out"):
        table_from(columns, target="y", scale="N", group="g", weights="w")


def test_tiny_standard_errors_are_numbers_like_others() -> None:
    columns = declared()
    table = table_from({**columns, "se": columns["se"] * 1e-290}, target="y", scale="N", yerr="se")
    plain = table_from(columns, target="y", scale="N", yerr="se")
    assert row_weights(table, 0, (YERR,)) == pytest.approx(row_weights(plain, 0, (YERR,)))


@pytest.mark.parametrize("option", ["yerr", "weights", "run"])
def test_the_target_is_no_column_of_these(option: str) -> None:
    with pytest.raises(UsageError, match="'y' is named twice"):
        api.as_task(declared(), target="y", scale="N", **{option: "y"})


def test_huber_and_logarithms_know_standard_errors() -> None:
    columns = declared()
    rng = np.random.default_rng(0)
    columns["y"] = columns["y"] + columns["se"] * rng.normal(size=12)
    columns["y"][0] += 0.5  # five of its standard errors
    for loss in ("squared", "huber", "log", "log_huber"):
        law = api.fit(columns, "E + A*N**-a", target="y", scale="N", yerr="se", loss=loss)
        assert law.predict({"N": [1e7]})[0, 0] == pytest.approx(truth(np.array(1e7)), rel=0.01)
        assert law.provenance["weights"] == {YERR: ["se"]}


# -- intervals -------------------------------------------------------------------------------------------------------


def law_of(table: Table, weights: Array | None, record: dict[str, Any]) -> Law:
    expression = table.parse("E + A*N**-a")
    result = fit(expression, table, weights=weights, starts=8)
    return Law(
        {"y": expression}, {"y": result.constants}, table.variables, table.targets, provenance={"weights": record}
    )


@pytest.mark.parametrize("repeated", [True, False])
def test_intervals_are_as_wide_as_noise_is_there(repeated: bool, tmp_path: Path) -> None:
    table = falling(3)
    if not repeated:
        columns = {"N": table.X[:, 0], "y": table.Y[:, 0], "se": (table.X[:, 0] / 1e3) ** SLOPE}
        table = table_from(columns, target="y", scale="N", yerr="se")
    law = law_of(table, row_weights(table, 0, (NOISE,)), {NOISE: True} if repeated else {YERR: ["se"]})
    from dataclasses import replace

    law = replace(law, intervals=compute(law, table, rung_folds(table)))
    law.save(tmp_path / "law.json")
    points = {"N": np.repeat([1e3, 1e5, 1e7], 200)}
    for known in (law, Law.load(tmp_path / "law.json")):
        lower, upper = predict_intervals(known, points)
        width = (upper - lower)[:, 0]
        assert width[0] > 20 * width[-1]
        rng = np.random.default_rng(9)
        y = truth(points["N"]) + (points["N"] / 1e3) ** SLOPE * rng.normal(size=600)
        covered = ((y >= lower[:, 0]) & (y <= upper[:, 0])).reshape(3, 200).mean(axis=1)
        assert (covered >= 0.75).all()


def test_a_damaged_shape_is_refused() -> None:
    table = falling(3)
    law = law_of(table, None, {})
    intervals = compute(law, table, rung_folds(table))
    del intervals["targets"]["y"]["noise_shape"]["slope"]
    from dataclasses import replace

    with pytest.raises(DataError, match="the noise in the law's intervals cannot be read"):
        predict_intervals(replace(law, intervals=intervals), {"N": [1e6]})


def test_the_shape_is_read_back() -> None:
    table = falling(3)
    shape = NoiseShape.of(table, 0, truth(table.X[:, 0]))
    assert shape is not None
    assert shape.misfit < 0.01  # the law is right
    off = NoiseShape.of(table, 0, truth(table.X[:, 0]) + 0.3)
    assert off is not None
    assert off.misfit == pytest.approx(0.3, rel=0.3)
    again = NoiseShape.from_json(json.loads(json.dumps(shape.to_json())))
    assert again.at(table, table.Y[:, 0], False) == pytest.approx(shape.at(table, table.Y[:, 0], False))


# -- from end to end -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_search_weighs_rows_by_their_repeats_and_says_so() -> None:
    options = {"formulas": ["E + A*N**-a"], "proposers": []}
    found = search(falling(), "200fits", **options)
    assert any("the noise of y changes with N" in note and "p = " in note for note in found.notes)
    assert set(found.law.provenance["weights"]) == {FRONTIER, NOISE}
    # the noise of the largest is 0.004
    assert found.law.predict({"N": [1e7]})[0, 0] == pytest.approx(float(truth(np.array(1e7))), abs=0.01)
    calm = search(falling(slope=0.0), "200fits", **options)
    assert not any("changes with" in note for note in calm.notes)


@pytest.mark.slow
def test_the_commands_take_errors_and_weights(sld: Run, tmp_path: Path) -> None:
    columns = declared()
    lines = [",".join(columns)] + [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    (tmp_path / "runs.csv").write_text("\n".join(lines))
    named = ("runs.csv", "--target", "y", "--scale", "N", "--yerr", "se", "--weights", "w")
    done = sld("fit", *named, "--law", "E + A*N**-a", "--json")
    assert done.code == 0
    assert done.document["law"]["provenance"]["weights"] == {YERR: ["se"], COLUMN: "w"}
    shown = sld("fit", *named, "--law", "E + A*N**-a")
    assert "note: rows weigh what the standard errors of y (se) say" in shown.out
    assert "note: rows weigh what column w says" in shown.out
    done = sld("discover", *named, "--budget", "100fits", "--workers", "1", "--json")
    assert done.code == 0
    assert done.document["law"]["provenance"]["weights"] == {FRONTIER: True, YERR: ["se"], COLUMN: "w"}
    wrong = sld("fit", *named[:-1], "weight", "--law", "E + A*N**-a")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "no column 'weight'" in wrong.err
