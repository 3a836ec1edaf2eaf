"""Few rows: constants drawn towards what they are in other tables, intervals from draws, and a horizon."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run, runner

import sld
from sld.core.arrays import Array
from sld.core.errors import SldError, UsageError
from sld.data.table import Table, table_from
from sld.fit.few_points import fit_few, is_few, why_not
from sld.fit.posterior import Problem
from sld.fit.priors import horizon, library
from sld.fit.roles import kind_of, roles_of
from sld.formula.expression import parse
from sld.laws.law import Law

FORM = "E + A*N**-a"
SIX = np.arange(6.0)
COLUMNS: dict[str, Any] = {"target": "loss", "scale": "N"}
SIZES = np.geomspace(1e6, 2.7e7, 4)


def runs(n: int = 4, noise: float = 0.003) -> dict[str, Array]:
    """Return runs of E = 1.8, A = 220, a = 0.33."""
    N = np.geomspace(1e6, 2.7e7, n)
    return {"N": N, "loss": (1.8 + 220 * N**-0.33) * np.exp(noise * np.random.default_rng(5).standard_normal(n))}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return runner(capsys, monkeypatch, tmp_path)


def table(rows: dict[str, Array], **columns: Any) -> Table:
    return table_from(rows, **{**COLUMNS, **columns})


def test_more_than_five_rows_are_fitted_as_without_priors() -> None:
    laws = [sld.fit(runs(6), FORM, priors=priors, starts=8, **COLUMNS).to_json() for priors in ("auto", "none")]
    assert laws[0] == laws[1] and "priors" not in laws[0]["provenance"]


def test_two_rows_give_a_law_of_three_constants() -> None:
    few = {c: x[:2] for c, x in runs(4, 0.0).items()}
    with pytest.raises(SldError):
        sld.fit(few, FORM, priors="none", starts=4, **COLUMNS)
    predicted = sld.predict(sld.fit(few, FORM, **COLUMNS), {"N": few["N"][-1:] * 3})
    true = 1.8 + 220 * (few["N"][-1] * 3) ** -0.33
    assert predicted["loss_low"][0] < true < predicted["loss_high"][0]
    assert predicted["loss"][0] == pytest.approx(true, rel=0.08)


@pytest.mark.slow
def test_intervals_hold_what_they_say_where_the_priors_are_true() -> None:
    """Laws are drawn from the priors and rows from the laws: the draws, not stretched, are then exact."""
    expression, N, at = parse(FORM, ["N"]), SIZES, {"N": np.array([2e8])}
    roles = roles_of(expression, {"N": "parameters"})
    assert not isinstance(roles, str)
    priors, rng, inside = library().of(roles, False), np.random.default_rng(3), []
    for _ in range(40):
        blank = Problem(expression, roles, priors, {"N": N}, np.ones(4))
        free = (blank.mean + blank.sd * rng.standard_normal(len(blank.mean)))[None]
        truth = blank.constants(free)
        y = blank.values(truth, {"N": N})[0] * np.exp(math.exp(free[0, -1]) * rng.standard_normal(4))
        # the offset is a share of the smallest value, which the noise has moved
        problem = Problem(expression, roles, priors, {"N": N}, y)
        problem.best = 1.0
        found = problem.values(problem.posterior(120, rng).draws, at)[:, 0]
        low, high = np.quantile(found, [0.05, 0.95])
        inside.append(low <= blank.values(truth, at)[0, 0] <= high)
    assert 0.8 <= np.mean(inside) <= 0.99


def test_refits_with_the_priors_of_a_law_come_back_to_its_constants() -> None:
    rows = table(runs())
    law = sld.fit(runs(), FORM, **COLUMNS)
    settings, constants = law.settings["loss"], law.constants["loss"]["all"]
    assert settings.learned == library().version and settings.prior is not None
    fitter = settings.fitter(law.expressions["loss"], rows)
    begin = np.array([[constants[c] for c in fitter.tape.constants]])
    values = dict(zip(fitter.names, fitter.solve(begin).values[0], strict=True))
    assert {c: float(values[c]) for c in constants} == pytest.approx(constants, rel=5e-3)
    again = settings.fit(law.expressions["loss"], rows)
    assert again.constants["all"] == pytest.approx(constants, rel=1e-9)


def test_groups_have_few_rows_of_their_own() -> None:
    N = np.tile(SIZES, 2)
    loss = np.repeat([1.0, 1.3], 4) * (1.8 + 220 * N**-0.33) * np.tile([1.003, 0.997, 1.002, 0.999], 2)
    law = sld.fit({"N": N, "loss": loss, "family": ["x"] * 4 + ["y"] * 4}, FORM, group="family", **COLUMNS)
    by_group = law.constants["loss"]
    assert by_group["y"]["E"] == pytest.approx(1.3 * by_group["x"]["E"], rel=0.05)
    assert law.provenance["priors"]["horizon"]["x"]["N"] == pytest.approx(2.7e7 * 27)


def test_what_is_exact_needs_no_help_from_other_tables() -> None:
    N = np.geomspace(1e6, 1e8, 5)
    law = sld.fit({"N": N, "loss": 2 + 220 * N**-0.33}, FORM, **COLUMNS)
    assert law.constants["loss"]["all"]["E"] == pytest.approx(2, abs=1e-6) and "priors" not in law.provenance


def test_parameters_and_data_from_five_rows() -> None:
    N, D = np.array([1e6, 4e6, 1.6e7, 4e6, 1.6e7]), np.array([1e8, 1e8, 1e8, 4e8, 4e8])
    rows = {"N": N, "D": D, "loss": 1.7 + 400 * N**-0.34 + 900 * D**-0.3}
    law = sld.fit(rows, "chinchilla", target="loss", scale=["N", "D"])
    at = {"N": [3.2e7], "D": [8e8]}
    found, true = sld.predict(law, at), 1.7 + 400 * 3.2e7**-0.34 + 900 * 8e8**-0.3
    assert found["loss_low"][0] < true < found["loss_high"][0]
    assert found["loss"][0] == pytest.approx(true, rel=0.08)


def test_a_score_rises_to_its_ceiling() -> None:
    law = sld.fit({"N": SIZES, "score": 0.8 - 9.0 * SIZES**-0.25}, "E + A*N**-a", target="score", scale="N")
    found = law.constants["score"]["all"]
    assert found["A"] < 0 and found["E"] > 0.8 - 9.0 * 2.7e7**-0.25


def test_a_law_from_few_rows_survives_its_file_and_decides(tmp_path: Path) -> None:
    law = sld.fit(runs(), FORM, out=tmp_path / "law.json", **COLUMNS)
    again = Law.load(tmp_path / "law.json")
    assert again.settings == law.settings
    points = table({"N": np.array([1e8, 2e8]), "loss": np.array([2.0, 1.9])})
    assert np.array_equal(again.draws(points, n=50, seed=1), law.draws(points, n=50, seed=1))
    assert sld.fit(runs(), FORM, **COLUMNS).to_json() == law.to_json()  # same rows, same law


def test_priors_of_a_law_s_file_are_read_as_written_or_refused(tmp_path: Path, run: Run) -> None:
    """A law of 0.5.0 has under the same key how its groups were pooled; one edited by hand is refused in a line."""
    sld.fit(runs(), FORM, out=tmp_path / "law.json", **COLUMNS)
    document = json.loads((tmp_path / "law.json").read_text(encoding="utf-8"))
    (tmp_path / "points.csv").write_text("N\n1e12\n", encoding="utf-8")
    whole = document["provenance"]["priors"]
    pooled = {"loss": {"constants": ["A"], "centre": [1.0]}}
    wrong = ({**whole, "horizon": {"all": {"N": "far"}}}, {**whole, "rows": None}, {**whole, "horizon": [1]})
    for priors, code in ((whole, 0), (pooled, 0), ({}, 0), *((w, 2) for w in wrong)):
        document["provenance"]["priors"] = priors
        (tmp_path / "law.json").write_text(json.dumps(document), encoding="utf-8")
        for words in (("predict", tmp_path / "law.json", tmp_path / "points.csv", "--json"),
                      ("compare", tmp_path / "law.json", "1.7 + 400*N**-0.34", "--cost", "N")):  # fmt: skip
            said = run(*map(str, words))
            assert said.code == code, (priors, said.err)
            assert not code or ("priors must have rows, tables and a horizon" in said.err and said.err.count("\n") == 1)


def test_priors_say_why_they_have_nothing_to_say() -> None:
    rows, cases = table(runs()), {
        "A*exp(-N)": "is no sum of powers: exp(-N)",
        "E + A*(N + K)**-a": "is no sum of powers",
        "1.7 + A*N**-a": "has a part without a factor to fit: 1.7",
        "E + A*N**-a + B*N**-a": "has one exponent in two terms",
        "E + A*log(N)": "is no sum of powers",
    }  # fmt: skip
    for text, why in cases.items():
        assert why in why_not(rows.parse(text), rows, 0)
    rising = table({"N": SIZES, "loss": SIZES**0.5})
    assert "rises with scale" in why_not(rising.parse("A*N**-a"), rising, 0)
    below = table({"N": SIZES, "loss": np.array([1.0, 0.5, 0.2, -0.1])})
    assert why_not(below.parse(FORM), below, 0) == "loss has values of 0 or below"
    with pytest.raises(UsageError, match="did you mean 'learned'"):
        sld.fit(runs(), FORM, priors="learnt", **COLUMNS)
    with pytest.raises(UsageError, match="do not go with pins"):
        sld.fit(runs(), FORM, priors="learned", pins={"E": 1.7}, **COLUMNS)


def test_columns_are_counted_by_their_names() -> None:
    assert [kind_of(c) for c in ("params", "n_samples", "log10_flops", "width", "lr", "step1")] == [
        "parameters", "data", "compute", "parameters", "other", "steps",
    ]  # fmt: skip


def test_an_exponent_has_the_sign_that_its_formula_gives_it() -> None:
    for text, sign in ("E + A/N**a", 1), ("E + A*N**a", -1), ("E + A/N**-a", -1), ("E + A*N**(-a)", 1):
        law = sld.fit(runs(), text, **COLUMNS)
        assert math.copysign(1, law.constants["loss"]["all"]["a"]) == sign


def test_the_horizon_is_as_far_again_as_the_rows_reach() -> None:
    known = table(runs())
    assert is_few(known) and not is_few(table(runs(6)))
    assert horizon(1e6, 2.7e7) == pytest.approx(2.7e7 * 27)
    assert horizon(1e6, 1e6) == pytest.approx(4e6)  # of one size: four times


def test_draws_depend_on_the_seed_alone() -> None:
    rows = table(runs())
    first, same, other = (fit_few(rows.parse(FORM), rows, 0, seed=s).posteriors["all"] for s in (1, 1, 2))
    assert np.array_equal(first.free, same.free) and not np.array_equal(first.free, other.free)


def test_the_command_says_what_it_rests_on_and_up_to_where(tmp_path: Path, run: Run) -> None:
    (tmp_path / "runs.csv").write_text(
        "N,loss\n" + "".join(f"{n:g},{v:.4f}\n" for n, v in zip(*runs().values(), strict=True))
    )
    (tmp_path / "points.csv").write_text("N\n1e8\n1e12\n")
    form = ("fit", str(tmp_path / "runs.csv"), "--target", "loss", "--scale", "N", "--law", FORM)
    said = run(*form, "--out", str(tmp_path / "law.json"))
    assert said.code == 0 and "nothing is promised beyond N = 7.29e8" in said.out
    assert "other tables" in said.out
    document = run(*form, "--json").document
    assert document["horizon"]["all"]["N"] == pytest.approx(7.29e8)
    told = run("predict", str(tmp_path / "law.json"), str(tmp_path / "points.csv"), "--json")
    assert told.document["horizon"] == document["horizon"]
    assert "1 of 2 points lie beyond N = 7.29e8" in told.err
    assert "horizon" not in run(*form, "--json", "--priors", "none").document
    (tmp_path / "runs.csv").write_text("N,loss\n" + "".join(f"{n:g},{2 + 9 * n**-0.2:.4f}\n" for n in 2e6 * 3**SIX))
    many = run(*form, "--priors", "learned")
    assert "as asked, the constants of 6 rows are drawn towards" in many.out and "cannot tell" not in many.out
    bad = run(*form, "--priors", "learnt")
    assert bad.code == 2 and "did you mean 'learned'" in bad.err


def test_a_curve_of_few_points_has_priors_and_a_horizon_and_a_longer_one_neither() -> None:
    step = np.geomspace(100, 800, 4)
    rows = {"step": step, "loss": 2 + 20 * step**-0.5}
    asked: dict[str, Any] = {"target": "loss", "step": "step"}
    auto, none = (sld.curve(rows, until=6000, priors=p, **asked) for p in ("auto", "none"))
    true = 2 + 20 * 6000**-0.5
    assert abs(auto.finals[0].value - true) < abs(none.finals[0].value - true)
    assert auto.finals[0].horizon == pytest.approx(6400)
    assert json.loads(json.dumps(auto.to_json()))["runs"][0]["horizon"] == pytest.approx(6400)
    beyond = sld.curve(rows, until=7000, **asked)
    assert any("beyond where so few points promise" in note for note in beyond.notes)
    many = {"step": np.geomspace(100, 800, 12), "loss": 2 + 20 * np.geomspace(100, 800, 12) ** -0.5}
    auto, none = (sld.curve(many, until=6000, priors=p, **asked) for p in ("auto", "none"))
    assert auto.finals == none.finals and auto.finals[0].horizon is None
    with pytest.raises(UsageError, match="auto or none"):
        sld.curve(many, until=6000, priors="some", **asked)
