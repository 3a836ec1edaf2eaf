"""Intervals cover what they say they cover, on data whose truth is known; shapes, seeds and refusals."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from many_cases import each

from sld.analysis.intervals import Interval, Rival, compute, constant_intervals, predict_intervals, unknown_constants
from sld.analysis.linearised import standard_errors
from sld.core.errors import DataError, UsageError
from sld.data.splits import rung_folds
from sld.data.table import Table, table_from
from sld.fit.fitting import fit
from sld.laws.fit_settings import FitSettings
from sld.laws.law import Law

# Hoffmann et al. 2022 as refitted by Besiroglu et al. 2024
E, A, ALPHA, B, BETA = 1.8172, 482.01, 0.3478, 2085.43, 0.3658
CHINCHILLA = "E + A/N**alpha + B/D**beta"


def chinchilla(N: Any, D: Any) -> Any:
    return E + A / N**ALPHA + B / D**BETA


def grid(seed: int, noise: float = 0.005) -> Table:
    rng = np.random.default_rng(seed)
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 7), np.geomspace(1e9, 1e11, 6)))
    loss = chinchilla(N, D) * np.exp(noise * rng.standard_normal(len(N)))
    return table_from({"N": N, "D": D, "loss": loss}, target="loss", scale=["N", "D"])


def fitted(text: str, table: Table, settings: FitSettings | None = None, **options: Any) -> Law:
    settings = settings or FitSettings()
    constants, expressions = {}, {}
    for j, target in enumerate(table.targets):
        expressions[target.column] = table.parse(text, j)
        result = settings.fit(expressions[target.column], table, target=j, starts=8)
        assert result.ok, result.status
        constants[target.column] = result.constants
    law = Law(
        expressions, constants, table.variables, table.targets, table.group_column,
        settings={t.column: settings for t in table.targets},
    )  # fmt: skip
    return replace(law, intervals=compute(law, table, rung_folds(table), **options))


def known(law: Law) -> dict[str, dict[str, dict[str, Interval]]]:
    """Return the intervals of constants, of which none is unknown."""
    found = constant_intervals(law)
    assert all(ends is not None for of in found.values() for by_name in of.values() for ends in by_name.values())
    return found  # type: ignore[return-value]


def share_inside(law: Law, points: Any, truth: Any) -> float:
    lower, upper = predict_intervals(law, points)
    return float(np.mean((lower[:, 0] <= truth) & (truth <= upper[:, 0])))


@pytest.mark.slow
def test_new_runs_inside_and_far_beyond_the_data_are_covered_as_often_as_promised() -> None:
    inside: list[float] = []
    beyond: list[float] = []
    for seed in range(24):
        law = fitted(CHINCHILLA, grid(seed))
        rng = np.random.default_rng(1000 + seed)
        for shares, top in ((inside, 0.0), (beyond, 1.5)):
            N, D = 10 ** rng.uniform(7 + 2 * (top > 0), 9 + top, 50), 10 ** rng.uniform(9 + 2 * (top > 0), 11 + top, 50)
            new = chinchilla(N, D) * np.exp(0.005 * rng.standard_normal(50))
            shares.append(share_inside(law, {"N": N, "D": D}, new))
    assert 0.87 <= np.mean(inside) <= 0.97
    assert 0.87 <= np.mean(beyond) <= 1.0


@pytest.mark.slow
def test_constants_are_covered_as_often_as_promised() -> None:
    truth = {"E": E, "A": A, "alpha": ALPHA, "B": B, "beta": BETA}
    hits = []
    for seed in range(60):
        intervals = known(fitted(CHINCHILLA, grid(seed)))["loss"]["all"]
        hits.append([intervals[c][0] <= value <= intervals[c][1] for c, value in truth.items()])
    assert 0.82 <= np.mean(hits) <= 0.97


def test_intervals_hold_where_the_form_is_wrong_and_would_not_without_the_folds() -> None:
    N = np.repeat(np.geomspace(1e6, 1e9, 13), 3)
    rng = np.random.default_rng(0)
    loss = (1.5 + 90 * N**-0.3 + 4e3 * N**-0.6) * np.exp(0.001 * rng.standard_normal(len(N)))
    table = table_from({"N": N, "loss": loss}, target="loss", scale="N")
    law = fitted("A*N**-alpha", table)
    beyond = np.geomspace(2e9, 2e10, 20)
    truth = 1.5 + 90 * beyond**-0.3 + 4e3 * beyond**-0.6
    assert law.intervals is not None and law.intervals["targets"]["loss"]["widening"] > 2
    folded = share_inside(law, {"N": beyond}, truth)
    targets = {"loss": {**law.intervals["targets"]["loss"], "widening": 1.0}}
    bare = share_inside(replace(law, intervals={**law.intervals, "targets": targets}), {"N": beyond}, truth)
    assert folded > bare + 0.3


def test_a_prediction_lies_inside_its_interval_and_intervals_grow_away_from_the_data() -> None:
    law = fitted(CHINCHILLA, grid(1))
    points = {"N": [1e8, 1e9, 1e10, 1e12], "D": [1e10, 1e11, 1e12, 1e13]}
    lower, upper = predict_intervals(law, points)
    predicted = law.predict(points)
    assert lower.shape == upper.shape == (4, 1)
    assert (lower < predicted).all() and (predicted < upper).all()
    width = ((upper - lower) / predicted)[:, 0]
    assert (np.diff(width) > 0).all()


def test_same_seed_same_intervals_through_law_json(tmp_path: Any) -> None:
    table = grid(2)
    law = fitted(CHINCHILLA, table, seed=3)
    again = compute(law, table, rung_folds(table), seed=3)
    assert json.dumps(again) == json.dumps(law.intervals)
    assert compute(law, table, rung_folds(table), seed=4) != again
    law.save(tmp_path / "law.json")
    for one, other in zip(
        predict_intervals(law, table), predict_intervals(Law.load(tmp_path / "law.json"), table), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_higher_level_gives_wider_intervals() -> None:
    table = grid(3)
    points = {"N": [1e10], "D": [1e12]}
    widths = []
    for level in (0.5, 0.8, 0.95):
        lower, upper = predict_intervals(fitted(CHINCHILLA, table, level=level), points)
        widths.append(float(upper[0, 0] - lower[0, 0]))
    assert widths == sorted(widths)


def grouped() -> Table:
    rng = np.random.default_rng(5)
    N = np.tile(np.geomspace(1e6, 1e9, 8), 6)
    family = np.repeat([f"g{k}" for k in range(6)], 8)
    level = np.repeat(np.linspace(0.1, 0.4, 6), 8)
    error = level + 30 * N**-0.4 + 0.004 * rng.standard_normal(len(N))
    return table_from(
        {"N": N, "family": family, "err": error, "acc": 1 - error},
        target=["err", "acc"], scale="N", group="family", lower=0.0, upper=1.0,
    )  # fmt: skip


def test_groups_and_targets_have_intervals_of_their_own_within_declared_bounds() -> None:
    table = grouped()
    law = fitted("E + A*N**-alpha", table)
    lower, upper = predict_intervals(law, {"N": [1e4, 1e10], "family": ["g0", "g5"]})
    assert lower.shape == (2, 2)
    assert (lower >= 0).all() and (upper <= 1).all() and (lower <= upper).all()
    intervals = known(law)
    assert set(intervals) == {"err", "acc"} and set(intervals["err"]) == set(table.groups)
    for low, high in intervals["err"]["g3"].values():
        assert low < high
    with pytest.raises(UsageError, match="g5"):
        predict_intervals(law, {"N": [1e9], "family": ["g55"]})


def test_shared_constants_are_refitted_together() -> None:
    law = fitted("E + A*N**-alpha", grouped().for_target(0), FitSettings(shared=("alpha",)))
    assert law.intervals is not None
    columns = law.intervals["targets"]["err"]["constants"]
    assert len({columns[g]["alpha"] for g in law.groups}) == 1
    assert len({columns[g]["E"] for g in law.groups}) == len(law.groups)


def test_where_a_law_is_lost_its_interval_ends_all_the_same() -> None:
    table = grid(4)
    law = fitted("E - A*log(N)", table)
    lower, upper = predict_intervals(law, {"N": [1e300], "D": [1e10]})
    if law.predict({"N": [1e300], "D": [1e10]})[0, 0] <= 0:
        assert np.isfinite([lower[0, 0], upper[0, 0]]).all() and upper[0, 0] > table.Y.min()
    rows = table.take(np.arange(table.n_rows))
    broken = replace(rows, X=rows.X * np.array([-1.0, 1.0]))
    assert np.isnan(predict_intervals(law, broken)[0]).all()


def test_exact_data_and_laws_without_constants_give_finite_intervals() -> None:
    N = np.geomspace(1e6, 1e9, 12)
    table = table_from({"N": N, "loss": 2 + 5e3 / N**0.5}, target="loss", scale="N")
    law = fitted("E + A*N**-alpha", table)
    lower, upper = predict_intervals(law, {"N": [1e10]})
    assert 0 <= upper[0, 0] - lower[0, 0] < 1e-4
    fixed = fitted("2 + 5000/sqrt(N)", table)
    lower, upper = predict_intervals(fixed, {"N": [1e10]})
    assert np.isfinite(lower).all() and np.isfinite(upper).all()
    assert constant_intervals(fixed) == {"loss": {"all": {}}}


def test_large_tables_are_thinned_within_every_group() -> None:
    rng = np.random.default_rng(6)
    n = 60_000
    N = 10 ** rng.uniform(6, 9, n)
    group = np.where(np.arange(n) < n - 40, "many", "few")
    loss = 2 + 1e3 * N**-0.4 + 0.01 * rng.standard_normal(n)
    table = table_from({"N": N, "g": group, "loss": loss}, target="loss", scale="N", group="g")
    law = fitted("E + A*N**-alpha", table, replicates=10)
    assert law.intervals is not None
    rows = law.intervals["targets"]["loss"]["rows"]
    assert 30 <= rows["few"] <= 40 and rows["many"] < 4000


def test_what_intervals_need_is_said() -> None:
    table = grid(7)
    law = fitted(CHINCHILLA, table)
    for options, message in (({"level": 1.5}, "level"), ({"replicates": 2}, "replicates")):
        with pytest.raises(UsageError, match=message):
            compute(law, table, (), **options)
    with pytest.raises(UsageError, match="no intervals"):
        predict_intervals(replace(law, intervals=None), table)
    with pytest.raises(DataError, match="lack 'targets'"):
        predict_intervals(replace(law, intervals={"level": 0.9}), table)
    with pytest.raises(DataError, match="'N'"):
        predict_intervals(law, {"M": [1e9], "D": [1e9]})


def test_without_folds_the_spread_is_widened_all_the_same() -> None:
    table = grid(8)
    law = fitted(CHINCHILLA, table)
    about = compute(law, table, ())["targets"]["loss"]
    assert about["widening"] == 2.5 and about["judged_rows"] == 0


def test_runners_up_that_disagree_beyond_the_data_widen_the_intervals_there(tmp_path: Any) -> None:
    table = grid(9)
    law = fitted(CHINCHILLA, table)
    other = table.parse("A*N**-a + B*D**-b")
    result = fit(other, table, starts=8)
    rivals = [Rival({"loss": other}, {"loss": result.constants})]
    doubtful = replace(law, intervals=compute(law, table, rung_folds(table), rivals=rivals))
    doubtful.save(tmp_path / "law.json")
    inside, far = {"N": [1e8], "D": [1e10]}, {"N": [1e12], "D": [1e14]}
    for points, least in ((inside, 0.9), (far, 3.0)):
        lower, upper = predict_intervals(law, points)
        low, high = predict_intervals(Law.load(tmp_path / "law.json"), points)
        assert (high - low)[0, 0] > least * (upper - lower)[0, 0]
    rival = Law({"loss": other}, {"loss": result.constants}, table.variables, table.targets)
    assert low[0, 0] < rival.predict(far)[0, 0] < high[0, 0]
    broken = {**doubtful.intervals["targets"]["loss"], "rivals": [{"expression": "1 +", "constants": {}}]}  # type: ignore[index]
    with pytest.raises(DataError, match="rival"):
        predict_intervals(replace(law, intervals={"level": 0.9, "targets": {"loss": broken}}), inside)


def test_intervals_of_a_robust_fit_leave_outliers_out() -> None:
    table = grid(0)
    Y = table.Y.copy()
    Y[[9, 17, 30]] *= 1.15
    table = table.with_targets(Y)
    expression = table.parse(CHINCHILLA)
    robust = fit(expression, table, loss="huber", starts=8)
    widths = []
    for settings in (FitSettings(loss="huber"), FitSettings()):
        law = Law(
            {"loss": expression}, {"loss": robust.constants}, table.variables, table.targets,
            settings={"loss": settings},
        )  # fmt: skip
        law = replace(law, intervals=compute(law, table, rung_folds(table)))
        low, high = known(law)["loss"]["all"]["E"]
        widths.append(high - low)
    assert widths[0] < 0.5 * widths[1]


# --- a prediction lies in its interval, whatever is asked -------------------------------------------------------------

FORMS = ("E + A*N**-alpha", "E + A*log(N)", "E - A*sqrt(N)", "A*N**alpha", "exp(E + A*log(N))", "log(E + A*N)")


@each("text", FORMS)
@each(("lower", "upper"), [(None, None), (0.0, None), (None, 1.5), (0.5, 1.2)])
def test_a_prediction_never_leaves_its_interval(text: str, lower: float | None, upper: float | None) -> None:
    rng = np.random.default_rng(3)
    N = np.geomspace(1e2, 1e5, 12)
    y = 0.6 + 4 * N**-0.5 + 0.02 * rng.standard_normal(12)
    table = table_from({"N": N, "y": y}, target="y", scale="N")
    law = fitted(text, table)
    target = replace(table.targets[0], lower=lower, upper=upper)
    law = replace(law, targets=(target,))
    points = {"N": [1e-300, 1e-9, 1.0, 3e3, 1e7, 1e15, 1e100, 1e300]}
    low, high = predict_intervals(law, points)
    predicted = law.predict(points)
    known = ~np.isnan(predicted)
    assert known.any() and (low[known] <= predicted[known]).all() and (predicted[known] <= high[known]).all()
    assert np.isnan(low[~known]).all() and np.isnan(high[~known]).all()
    assert (high > low)[np.isfinite(predicted)].all()
    least, most = -math.inf if lower is None else lower, math.inf if upper is None else upper
    inside = known & (predicted >= least) & (predicted <= most)
    assert (low[inside] >= least).all() and (high[inside] <= most).all()


def test_without_a_law_an_interval_is_as_wide_as_the_rows_of_its_group() -> None:
    rng = np.random.default_rng(8)
    N, g = np.tile(np.geomspace(1e6, 1e9, 12), 2), np.repeat(["b", "a"], 12)
    y = np.where(g == "a", 5.0, 1.0) * np.exp(0.1 * rng.standard_normal(24))
    table = table_from({"N": N, "y": y, "g": g}, target="y", scale="N", group="g")
    law = fitted("E + A*log(N)", table)
    lawless = replace(law, provenance={"verdict": {"kind": "no law", "sentence": "no law: it is noise"}})
    asked = ["a", "b"]
    points = {"N": [3e7, 3e7], "g": asked}
    low, high = predict_intervals(lawless, points)
    for k, group in enumerate(asked):
        own = y[g == group]
        assert low[k, 0] <= np.sort(own)[1] and high[k, 0] >= np.sort(own)[-2]
        assert low[k, 0] <= predict_intervals(law, points)[0][k, 0]
    assert high[1, 0] < low[0, 0]  # the other group's rows say nothing here


def test_as_many_constants_as_rows_leave_a_run_anywhere_between_them() -> None:
    N = np.geomspace(1e6, 1e9, 3)
    table = table_from({"N": N, "y": [0.5, 0.4, 0.38]}, target="y", scale="N", lower=0.0)
    expression = table.parse("E + A*N**-alpha")
    result = fit(expression, table, starts=8)
    law = Law({"y": expression}, {"y": result.constants}, table.variables, table.targets)
    law = replace(law, intervals=compute(law, table, ()))
    low, high = predict_intervals(law, {"N": [1e8]})
    assert low[0, 0] < 0.38 and 0.5 < high[0, 0] < 1.0


def test_where_refits_fail_or_stand_still_only_the_span_of_the_rows_is_known() -> None:
    table = grid(0)
    law = fitted(CHINCHILLA, table)
    assert law.intervals is not None
    about = law.intervals["targets"]["loss"]
    values = law.constants["loss"]["all"]
    for text in ("nan", None):
        still = {"all": {c: " ".join([text or f"{v:.12g}"] * 40) for c, v in values.items()}}
        broken = replace(law, intervals={**law.intervals, "targets": {"loss": {**about, "constants": still}}})
        low, high = predict_intervals(broken, {"N": [1e8], "D": [1e10]})
        assert np.ptp(table.Y) < high[0, 0] - low[0, 0] < 2 * np.ptp(table.Y)
        assert set(constant_intervals(broken)["loss"]["all"].values()) == {None}
        reasons = set(unknown_constants(broken)["loss"]["all"].values())
        assert reasons == {"refits fail" if text else "refits do not move it"}


# --- constants --------------------------------------------------------------------------------------------------------


def test_the_interval_of_a_constant_that_no_row_feels_is_unknown() -> None:
    N = np.geomspace(1e3, 1e6, 16)
    noise = 0.01 * np.random.default_rng(0).standard_normal(16)
    table = table_from({"N": N, "y": 1 + 20 * N**-0.4 + noise}, target="y", scale="N")
    expression = table.parse("E + A*N**-alpha + exp(-N/K)")
    values = {**fit(table.parse("E + A*N**-alpha"), table, starts=8).constants["all"], "K": 0.5}
    law = Law({"y": expression}, {"y": {"all": values}}, table.variables, table.targets)
    law = replace(law, intervals=compute(law, table, rung_folds(table)))
    found = constant_intervals(law)["y"]["all"]
    assert found["K"] is None and all(found[c] is not None for c in ("E", "A", "alpha"))
    assert unknown_constants(law)["y"]["all"] == {"K": "refits do not move it"}


def test_a_constant_that_is_held_has_no_interval() -> None:
    pinned = fitted("E + A*N**-alpha", grid(0), FitSettings(pinned={"E": 1.9}))
    assert constant_intervals(pinned)["loss"]["all"]["E"] is None
    assert unknown_constants(pinned)["loss"]["all"] == {"E": "held at this value"}
    low, high = predict_intervals(pinned, {"N": [1e8], "D": [1e10]})
    assert low[0, 0] < pinned.predict({"N": [1e8], "D": [1e10]})[0, 0] < high[0, 0]
    bounded = fitted("E + A*N**-alpha", grid(0), FitSettings(bounds={"E": (5.0, 6.0)}))
    assert unknown_constants(bounded)["loss"]["all"]["E"] == "held by its bound"


@each(
    "settings",
    [
        FitSettings(loss="log"),
        FitSettings(loss="huber"),
        FitSettings(loss="log_huber", delta=0.01),
        FitSettings(weights=("frontier",)),
        FitSettings(positive=("A",), bounds={"alpha": (0.0, 1.0)}),
        FitSettings(weights=("frontier",), loss="huber"),
    ],
)
def test_refits_lie_around_the_estimate_they_are_made_for(settings: FitSettings) -> None:
    table = grid(5, noise=0.01)
    outliers = table.Y.copy()
    outliers[[3, 20]] *= 1.1
    law = fitted("E + A*N**-alpha", table.with_targets(outliers), settings, replicates=60)
    assert law.intervals is not None
    values = law.constants["loss"]["all"]
    for name, text in law.intervals["targets"]["loss"]["constants"]["all"].items():
        below = np.mean(np.array([float(x) for x in text.split()]) < values[name])
        assert 0.2 < below < 0.8, (name, below)
    for low, high in known(law)["loss"]["all"].values():
        assert low < high


def test_intervals_do_not_depend_on_names() -> None:
    found = []
    for column, constants in (("N", "E A alpha"), ("zebra", "E A alpha"), ("N", "c0 c1 c2")):
        table = grid(6)
        renamed = replace(table.variables[0], column=column, symbol=column)
        table = replace(table, variables=(renamed, table.variables[1]))
        E_, A_, alpha = constants.split()
        law = fitted(f"{E_} + {A_}*{column}**-{alpha}", table)
        ends = predict_intervals(law, {column: [1e8], "D": [1e10]})
        found.append([*known(law)["loss"]["all"].values(), *(float(e[0, 0]) for e in ends)])
    assert found[0] == found[1] == found[2]


def test_runs_are_resampled_as_wholes() -> None:
    rng = np.random.default_rng(2)
    run = np.repeat(np.arange(8), 12)
    step = (np.geomspace(1e3, 1e5, 12)[:, None] * np.geomspace(1.0, 1.3, 8)).T.ravel()  # every run has steps of its own
    loss = 2 + 30 * step**-0.4 + 0.05 * rng.standard_normal(8)[run] + 0.001 * rng.standard_normal(96)
    table = table_from({"step": step, "loss": loss}, target="loss", scale="step")
    named = replace(table, runs=tuple(f"r{k}" for k in range(8)), run_index=run.astype(np.intp), run_column="run")
    widths = []
    for rows in (table, named):
        low, high = known(fitted("E + 30*step**-0.4", rows))["loss"]["all"]["E"]
        widths.append(high - low)
    assert 2.0 < widths[1] / widths[0] < 5.0  # the root of 12 rows per run is 3.5


def test_a_constant_that_trades_off_against_another_is_not_determined() -> None:
    # of K and A only the ratio is seen: refits from one pair stay at that pair
    rng = np.random.default_rng(1)
    N = np.geomspace(1e2, 1e5, 20)
    table = table_from({"N": N, "y": 1 + 3 * N**-0.3 + 0.01 * rng.standard_normal(20)}, target="y", scale="N")
    expression = table.parse("E + exp(A - K)*N**-alpha")
    own = fit(table.parse("E + B*N**-alpha"), table, starts=8).constants["all"]
    values = {"E": own["E"], "A": 100.0 + math.log(own["B"]), "K": 100.0, "alpha": own["alpha"]}
    law = Law({"y": expression}, {"y": {"all": values}}, table.variables, table.targets)
    law = replace(law, intervals=compute(law, table, rung_folds(table)))
    reasons = unknown_constants(law)["y"]["all"]
    assert reasons == dict.fromkeys(("A", "K"), "the rows do not determine it")


def test_standard_errors_of_a_straight_line_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(1.0, 4.0, 15)
    table = table_from({"x": x, "y": 2 + 3 * x + 0.1 * rng.standard_normal(15)}, target="y", scale="x")
    expression = table.parse("a + b*x")
    found = fit(expression, table)
    residual = table.Y[:, 0] - found.prediction
    for clusters in (np.arange(15), np.arange(15) // 3):
        errors = standard_errors(
            expression, FitSettings(), table, np.ones(15), residual, clusters.astype(np.intp), found.constants
        )
        assert errors is not None
        # White (1980), Liang and Zeger (1986): (X'X)^-1 (sum over clusters of X'r r'X) (X'X)^-1
        X = np.column_stack([np.ones(15), x])
        inverse = np.linalg.inv(X.T @ X)
        scores = [X[clusters == c].T @ residual[clusters == c] for c in np.unique(clusters)]
        covariance = inverse @ sum(np.outer(s, s) for s in scores) @ inverse
        assert errors["all"]["a"] == pytest.approx(math.sqrt(covariance[0, 0]), rel=1e-6)
        assert errors["all"]["b"] == pytest.approx(math.sqrt(covariance[1, 1]), rel=1e-6)
