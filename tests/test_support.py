"""A verdict agrees with the numbers that come with it: support ends where the law says nothing or breaks its word."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from many_cases import each
from searches import grouped, one_scale, search, two_scales

from sld import api
from sld.analysis.intervals import add_intervals, predict_intervals
from sld.analysis.support import FACTOR, limit_by_intervals, longest_step_down, supported
from sld.data.card import Target, Variable
from sld.data.splits import Fold, rung_folds
from sld.data.table import ALL_ROWS, Array, Table, table_from
from sld.laws.law import Law
from sld.search.candidates.candidate import Candidate, Judgement
from sld.search.choosing.reach import MOST, support
from sld.search.choosing.verdict import Verdict, verdict
from sld.search.judging.baselines import baselines
from sld.search.outcome import Discovery


def outcome(table: Table, text: str, constants: dict[str, float], errors: tuple[float, ...] | None = None) -> Verdict:
    """The verdict on a law that is given, with fold errors that are given."""
    folds = rung_folds(table)
    errors = (1e-3,) * len(folds) if errors is None else errors
    law, chosen = of(table, text, constants, errors)
    return verdict(table, folds, chosen, [chosen], law)


def of(table: Table, text: str, constants: dict[str, float], errors: tuple[float, ...]) -> tuple[Law, Candidate]:
    expressions = {t.column: table.parse(text) for t in table.targets}
    by_target = {t.column: dict.fromkeys(table.groups, constants) for t in table.targets}
    law = Law(expressions, by_target, table.variables, table.targets, table.group_column)
    judgements = (Judgement(-3.0, errors, 1e-3),) * len(table.targets)
    chosen = Candidate(expressions, "k", "test", judgements, constants=by_target)
    return law, chosen


def reach_of(table: Table, text: str, constants: dict[str, float], folds: tuple[Fold, ...] | None = None) -> Any:
    law, chosen = of(table, text, constants, (1e-3,))
    return support(table, rung_folds(table) if folds is None else folds, chosen, [chosen], law)


POWER = {"E": 2.0, "A": 3.0, "a": 0.5}
FORM = "E + A*N**-a"


# -- what speaks against a law ---------------------------------------------------------------------------------------


def test_a_good_law_is_a_law() -> None:
    assert outcome(one_scale(), FORM, POWER).kind == "law"


@each("error", [math.nan, math.inf, 2e7, 30.0])
@each("which", [0, -1])
def test_one_fold_that_failed_speaks_against_the_verdict(error: float, which: int) -> None:
    errors = [1e-3] * len(rung_folds(one_scale()))
    errors[which] = error
    found = outcome(one_scale(), FORM, POWER, tuple(errors))
    assert found.kind == "weak"
    assert f"on 1 of {len(errors)} folds a fit to the lower rungs predicts nothing usable" in found.sentence
    assert rung_folds(one_scale())[which].name in found.sentence
    assert found.reach == found.edge


def test_a_fold_that_one_of_two_targets_fails_speaks_against_the_verdict() -> None:
    x = np.geomspace(1, 1e4, 14)
    table = table_from({"N": x, "y": 2 + 3 * x**-0.5, "w": 2 + 3 * x**-0.5}, target=["y", "w"], scale="N")
    folds = rung_folds(table)
    law, chosen = of(table, FORM, POWER, (1e-3,) * len(folds))
    bad = replace(chosen.judgements[1], fold_errors=(40.0, *chosen.judgements[1].fold_errors[1:]))
    # the mean over the targets hides it
    chosen = replace(chosen, judgements=(chosen.judgements[0], bad))
    found = verdict(table, folds, chosen, [chosen], law)
    assert found.kind == "weak" and f"{folds[0].name}: w, error 40" in found.sentence


def test_a_law_no_better_than_the_mean_on_most_folds_is_weak() -> None:
    table = one_scale()
    trivial = baselines(table, rung_folds(table)).mean[:, 0]
    errors = tuple(1e-9 if k < len(trivial) // 2 else 1.1 * float(e) for k, e in enumerate(trivial))
    found = outcome(table, FORM, POWER, errors)
    assert found.kind == "weak" and " folds " in found.sentence
    assert found.versus_mean < 0.01  # the mean over the folds alone would not tell


@pytest.mark.parametrize("a", [0.0, -0.02])
def test_a_law_that_misses_its_own_rows_is_weak(a: float) -> None:
    found = outcome(one_scale(), FORM, {"E": 0.0, "A": 2.3, "a": a})
    assert found.kind == "weak"
    assert "of the variation of its own rows" in found.sentence


def test_rows_are_missed_within_groups() -> None:
    # three levels with the right mean: nearly all of the variance, and nothing of what happens in a group
    table = grouped()
    by_group = {g: {"E": float(table.Y[table.group_index == k].mean())} for k, g in enumerate(table.groups)}
    law, chosen = of(table, "E + 0*N", {"E": 1.0}, (1e-3,) * len(rung_folds(table)))
    law = replace(law, constants={"loss": by_group})
    found = verdict(table, rung_folds(table), replace(chosen, constants=law.constants), [chosen], law)
    assert found.kind == "weak"
    assert "it explains nothing of the variation of its own rows within groups" in found.sentence


def test_noise_that_repeats_show_excuses_a_law() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(np.geomspace(1, 1e4, 12), 6)
    y = 2 + 0.3 * np.log10(x) + rng.normal(0, 0.6, len(x))
    table = table_from({"N": x, "y": y}, target="y", scale="N")
    law = {"E": 2.0, "A": 0.3 / math.log(10)}
    assert 1 - np.sum((y - 2 - 0.3 * np.log10(x)) ** 2) / np.sum((y - y.mean()) ** 2) < 0.45
    n = len(rung_folds(table))
    assert outcome(table, "E + A*log(N)", law, (0.2,) * n).kind == "law"
    # the same rows at points of their own: nothing says that this is noise
    apart = table_from({"N": x * 1.2 ** np.tile(np.arange(6), 12), "y": y}, target="y", scale="N")
    found = outcome(apart, "E + A*log(N)", law, (0.2,) * len(rung_folds(apart)))
    assert found.kind == "weak" and "no repeats tell whether the rest is noise" in found.sentence


# -- how far ---------------------------------------------------------------------------------------------------------


def test_support_ends_a_thousand_times_beyond_the_data_at_most() -> None:
    x = np.geomspace(1, 1e12, 13)
    table = table_from({"N": x, "y": 2 + 3 * x**-0.1}, target="y", scale="N")
    train, test = np.arange(6), np.arange(6, 13)
    reach = reach_of(table, FORM, {"E": 2.0, "A": 3.0, "a": 0.1}, (Fold("far", train, test),)).reach["N"]
    assert reach == pytest.approx(MOST * 1e12)


@pytest.mark.parametrize("log", ["log10", "log2", "log"])
def test_a_thousand_times_in_columns_that_are_logarithms(log: Any) -> None:
    z = np.linspace(0.0, 12.0, 13)
    unit = {"log10": 1.0, "log2": math.log2(10.0), "log": math.log(10.0)}[log]
    y = (2 + 3 * 10 ** (-0.1 * z))[:, None]
    table = Table((Variable("n", log=log, role="scale"),), (Target("y"),), (unit * z)[:, None], y)
    law = {"E": 2.0, "A": 3.0, "a": 0.1 * math.log(10.0) / unit}
    folds = (Fold("far", np.arange(6), np.arange(6, 13)),)
    assert reach_of(table, "E + A*exp(-a*n)", law, folds).reach["n"] == pytest.approx(15.0 * unit)


def test_each_group_is_taken_beyond_its_own_runs() -> None:
    x = np.concatenate([np.geomspace(1e3, 1e6, 10), np.geomspace(1e5, 1e9, 10)])
    columns = {"N": x, "y": 2 + 3 * x**-0.2, "g": np.repeat(["small", "large"], 10)}
    table = table_from(columns, target="y", scale="N", group="g")
    far = reach_of(table, FORM, {"E": 2.0, "A": 3.0, "a": 0.2})
    assert far.edges == {"small": {"N": 1e6}, "large": {"N": 1e9}}
    assert 2e6 < far.by_group["small"]["N"] <= 1e9
    assert 2e9 < far.by_group["large"]["N"] <= 1e13
    assert far.reach == far.by_group["large"]
    found = outcome(table, FORM, {"E": 2.0, "A": 3.0, "a": 0.2})
    assert "in the group that goes farthest" in found.sentence
    assert found.to_json()["reach_by_group"]["small"]["N"] == pytest.approx(far.by_group["small"]["N"], rel=1e-5)


def test_predicting_beyond_the_reach_of_a_group_warns() -> None:
    x = np.concatenate([np.geomspace(1e3, 1e6, 10), np.geomspace(1e5, 1e9, 10)])
    columns = {"N": x, "y": 2 + 3 * x**-0.2, "g": np.repeat(["small", "large"], 10)}
    table = table_from(columns, target="y", scale="N", group="g")
    found = outcome(table, FORM, {"E": 2.0, "A": 3.0, "a": 0.2})
    law, _ = of(table, FORM, {"E": 2.0, "A": 3.0, "a": 0.2}, ())
    law = replace(law, provenance={"verdict": json.loads(json.dumps(found.to_json()))})
    assert api.caution(law, {"N": [1e9], "g": ["large"]}) == ""
    assert "1 of 2 points lie there" in api.caution(law, {"N": [1.1e9, 1.1e9], "g": ["large", "small"]})
    assert "by group" in api.caution(law, {"N": [1e14, 1e14], "g": ["large", "small"]})
    # a record of an earlier version has one reach for all
    old = {k: v for k, v in found.to_json().items() if k != "reach_by_group"}
    assert api.caution(replace(law, provenance={"verdict": old}), {"N": [1.1e9], "g": ["small"]}) == ""


@pytest.mark.parametrize(("bound", "text"), [("upper", "1.1 - 3*n**-0.2"), ("lower", "3*n**-0.2 - 0.1")])
def test_support_ends_where_a_declared_bound_is_broken(bound: str, text: str) -> None:
    # both cross their bound at n = 30**5
    n = np.geomspace(1e3, 2e6, 10)
    target = Target("y", upper=1.0) if bound == "upper" else Target("y", lower=0.0)
    table = Table((Variable("n", role="scale"),), (target,), n[:, None], n[:, None])
    table = table.with_targets(
        Law({"y": table.parse(text)}, {"y": {"all": {}}}, table.variables, table.targets).predict(table)
    )
    reach = reach_of(table, text, {}).reach["n"]
    assert 1.2 * 2e6 < reach < 30.0**5
    free = table_from({"n": n, "y": table.Y[:, 0]}, target="y", scale="n")
    assert reach_of(free, text, {}).reach["n"] > 30.0**5


def test_a_bound_that_is_broken_within_the_data_makes_a_law_weak() -> None:
    n = np.geomspace(1e3, 1e6, 10)
    y = np.minimum(1.05 - 3 * n**-0.3, 1.0)
    table = table_from({"n": n, "acc": y}, target="acc", scale="n", upper=1.0, higher_is_better=True)
    found = outcome(table, "1.05 - 3*n**-0.3", {})
    assert found.kind == "weak"
    assert "it exceeds 1 within the data (acc = " in found.sentence


def test_bounds_hold_in_the_corner_of_the_supported_box() -> None:
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
    text = "3.2 - 0.04*log(N) - 0.05*log(D)"
    y = 3.2 - 0.04 * np.log(n) - 0.05 * np.log(d)
    table = table_from({"N": n, "D": d, "y": y}, target="y", scale=["N", "D"], lower=1.0)
    reach = reach_of(table, text, {}).reach
    assert reach["N"] >= 1e9 and reach["D"] >= 1e11
    assert 3.2 - 0.04 * math.log(reach["N"]) - 0.05 * math.log(reach["D"]) >= 1.0 - 1e-6
    assert max(reach["N"] / 1e9, reach["D"] / 1e11) > 1.05


def test_support_ends_where_a_declared_direction_is_broken() -> None:
    n = np.geomspace(1e3, 1e6, 12)
    y = 2 + 0.02 * (np.log(n) - math.log(5e6)) ** 2
    table = table_from({"n": n, "y": y}, target="y", scale="n", monotone={"n": "decreasing"})
    text = "2 + 0.02*(log(n) - 15.42495)**2"
    assert 2e6 < reach_of(table, text, {}).reach["n"] < 6e6
    free = table_from({"n": n, "y": y}, target="y", scale="n")
    assert reach_of(free, text, {}).reach["n"] > 2e7


# -- the law's own interval ------------------------------------------------------------------------------------------


def bent(seed: int = 0) -> Table:
    """Growth that has not yet reached its ceiling."""
    t = np.arange(1, 32) * 0.25
    y = 1.2 / (1 + 3000 * np.exp(-t)) * (1 + 0.02 * np.random.default_rng(seed).normal(size=len(t)))
    return table_from({"t": t, "y": y}, target="y", scale="t")


def with_intervals(table: Table, budget: str = "1000fits", **options: Any) -> Discovery:
    found = search(table, budget, **options)
    return replace(found, law=add_intervals(found))


def says_something(law: Law, table: Table, points: dict[str, Any], y: Array) -> bool:
    lower, upper = predict_intervals(law, points)
    narrow = (upper - lower) <= np.ptp(y)
    return bool((narrow | ((lower > 0) & (upper <= FACTOR * lower))).all())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_support_ends_where_the_interval_spans_more_than_the_data(seed: int) -> None:
    found = supported(with_intervals(bent(seed)))
    end = found.verdict.reach["t"]
    assert says_something(found.law, found.table, {"t": np.linspace(7.75, end, 9)}, found.table.Y[:, 0])
    assert found.law.provenance["verdict"] == found.verdict.to_json()
    before = search(bent(seed), "1000fits").verdict
    assert end <= before.reach["t"]


def test_an_interval_that_says_nothing_where_the_data_end_makes_a_law_weak() -> None:
    found = with_intervals(one_scale())
    wide = json.loads(json.dumps(found.law.intervals))
    wide["targets"]["y"]["noise"][ALL_ROWS] = 100.0
    law = replace(found.law, intervals=wide)
    judged = limit_by_intervals(found.verdict, law, found.table)
    assert found.verdict.kind == "law" and judged.kind == "weak"
    assert judged.reach == judged.edge
    assert "its 90 % interval spans more than the data do, already where the data end" in judged.sentence


@pytest.mark.slow
def test_narrow_intervals_leave_the_verdict_as_it_is() -> None:
    found = with_intervals(two_scales(0.002), "2000fits")
    judged = limit_by_intervals(found.verdict, found.law, found.table)
    assert judged.kind == found.verdict.kind == "law"
    assert all(judged.reach[s] > 3 * judged.edge[s] for s in "ND")


def test_what_grows_by_factors_may_leave_its_range() -> None:
    # batch sizes over three decades: 10 % wide intervals far above the data are no reason to stop
    x = np.geomspace(1e18, 1e24, 16)
    y = 1e-7 * x**0.5 * (1 + 0.02 * np.random.default_rng(1).normal(size=16))
    found = with_intervals(table_from({"C": x, "B": y}, target="B", scale="C"))
    judged = limit_by_intervals(found.verdict, found.law, found.table)
    assert judged.kind == "law"
    assert judged.reach["C"] > 10 * 1e24


def test_only_a_law_loses_by_its_interval() -> None:
    found = with_intervals(one_scale())
    for kind in ("weak", "no law"):
        judged = replace(found.verdict, kind=kind, reasons=("because",))
        assert limit_by_intervals(judged, found.law, found.table) is judged
    assert limit_by_intervals(found.verdict, replace(found.law, intervals=None), found.table) is found.verdict


@pytest.mark.slow
def test_what_a_search_writes_knows_its_intervals(tmp_path: Any) -> None:
    table = bent()
    found = api.discover(
        {"t": table.X[:, 0], "y": table.Y[:, 0]}, target="y", scale="t", budget="1000fits", workers=1, out=tmp_path
    )
    law = Law.load(tmp_path)
    assert law.provenance["verdict"] == found.verdict.to_json()
    assert limit_by_intervals(found.verdict, law, found.table) == found.verdict


# -- downwards, and one up while another goes down ---------------------------------------------------------------------


def judged_law(columns: dict[str, Array], form: str, scale: Any, **options: Any) -> tuple[Law, Table, Verdict]:
    """A form that was fitted, and its verdict if the search had said "law, up to 30 times the largest"."""
    table = table_from(columns, target="y", scale=scale, **options)
    law = api.fit(columns, form, target="y", scale=scale, starts=8, **options)
    ends = {v.symbol: float(table.column(v.symbol).max()) for v in table.variables}
    said = Verdict("law", (), 0.001, (0.001,), 0.1, 0.1, reach={s: 30 * x for s, x in ends.items()}, edge=ends)
    judged = limit_by_intervals(said, law, table)
    return replace(law, provenance={**law.provenance, "verdict": judged.to_json()}), table, judged


def scattered(seed: int, n: int) -> Array:
    return np.asarray(1 + 0.004 * np.random.default_rng(seed).normal(size=n))


def test_a_law_is_carried_down_as_far_as_a_refit_without_the_lowest_third_predicts() -> None:
    x = np.geomspace(1e3, 1e6, 16)
    _, _, judged = judged_law({"N": x, "y": (2 + 30 * x**-0.4) * scattered(0, 16)}, "E + A*N**-a", "N")
    # five of sixteen rungs are left out
    assert judged.down["N"] == pytest.approx(1e3 * x[0] / x[5], rel=1e-6)
    assert judged.start == {"N": 1e3}
    assert judged.downwards == "downwards, supported to N = 100 (the runs begin at N = 1000)"
    assert judged.to_json()["down"] == {"N": pytest.approx(100.0)}


def test_a_law_that_the_smallest_runs_do_not_follow_is_not_carried_down() -> None:
    # training that has not begun: the smallest runs know nothing yet, and a power law through the others overshoots
    x = np.geomspace(1e3, 1e6, 16)
    columns = {"N": x, "y": np.minimum(2 + 300 * x**-0.5, 4.5) * scattered(1, 16)}
    table = table_from(columns, target="y", scale="N")
    law = api.fit(columns, "E + A*N**-a", target="y", scale="N", starts=8)
    assert longest_step_down(law, table, table.variables[0]) == 0.0
    columns["y"] = (2 + 300 * x**-0.5) * scattered(1, 16)
    table = table_from(columns, target="y", scale="N")
    law = api.fit(columns, "E + A*N**-a", target="y", scale="N", starts=8)
    assert longest_step_down(law, table, table.variables[0]) == pytest.approx(math.log(10.0))


def test_support_ends_downwards_where_a_bound_is_broken() -> None:
    x = np.geomspace(1e3, 1e6, 16)
    law, _, judged = judged_law({"N": x, "y": (0.1 + 5 * x**-0.27) * scattered(2, 16)}, "E + A*N**-a", "N", upper=1.0)
    assert 100 < judged.down["N"] < 1e3
    assert law.predict({"N": [judged.down["N"]]})[0, 0] <= 1.0 < 0.1 + 5 * 100**-0.27


def test_points_below_the_runs_and_between_directions_are_warned_of() -> None:
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e8, 5), np.geomspace(1e8, 1e10, 5)))
    y = (1.7 + 400 * n**-0.34 + 400 * d**-0.28) * (1 + 5 * (scattered(3, 25) - 1))
    law, _, _ = judged_law({"N": n, "D": d, "y": y}, "E + A*N**-a + B*D**-b", ["N", "D"])
    assert api.caution(law, {"N": [1e7], "D": [1e9]}) == ""
    assert "below N = " in api.caution(law, {"N": [1e3, 1e7], "D": [1e9, 1e9]})
    assert "1 of 2 points lie there" in api.caution(law, {"N": [1e3, 1e7], "D": [1e9, 1e9]})
    assert "beyond the runs in one variable and below them in another" in api.caution(law, {"N": [1e16], "D": [1.0]})


# -- declared bounds in the choice -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_saturating_score_gets_a_law_that_keeps_its_bound_as_far_as_it_is_supported() -> None:
    n = np.array([500, 1000, 2000, 4000, 8000, 16000, 32000, 50000.0])
    rng = np.random.default_rng(4)
    acc = 1 - 1.5 * n**-0.16 / 1.0 + 0.002 * rng.normal(size=8)
    found = api.discover(
        {"n": n, "acc": acc}, target="acc", scale="n", upper=1.0, higher_is_better=True, budget="1500fits", workers=1
    )
    end = found.verdict.reach["n"]
    assert (found.law.predict({"n": np.geomspace(500, end, 50)})[:, 0] <= 1.0 + 1e-6).all()
