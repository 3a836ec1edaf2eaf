"""Pins, ties, bounds of all exponents, the delta of a robust loss: what is asked of a fit holds in all that follows."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boards import edited, entry_of
from cli_runs import one_line
from commands import Run
from fits import CHINCHILLA, TRUTH, planted
from many_cases import each

from sld import api
from sld.analysis.intervals import PINNED, constant_intervals, unknown_constants
from sld.board.entries.entry import Entry
from sld.board.entries.refit import FitPlan
from sld.board.entries.scored_task import ScoredTask
from sld.board.entries.store import Board
from sld.board.entries.verify import verify
from sld.core.errors import DataError, UsageError
from sld.data.table import table_from
from sld.fit.fitting import fit
from sld.laws.conditions import check_loss, exponents_of, read_bounds, read_pins
from sld.laws.fit_settings import FitSettings
from sld.laws.law import Law

COLUMNS: dict[str, Any] = {"target": "loss", "scale": ["N", "D"]}
FAMILIES = ("x", "y", "z")


def runs(seed: int = 0, noise: float = 0.005) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 7), np.geomspace(1e9, 1e12, 6)))
    return {"N": N, "D": D, "loss": (1.69 + 406 * N**-0.34 + 411 * D**-0.28) * (1 + noise * rng.standard_normal(42))}


def families() -> dict[str, Any]:
    parts = [runs(seed) for seed in range(3)]
    levels = np.repeat([0.0, 0.2, 0.4], 42)
    found = {c: np.concatenate([part[c] for part in parts]) for c in parts[0]}
    return {**found, "loss": found["loss"] + levels, "family": np.repeat(FAMILIES, 42).tolist()}


def huber(residual: Any, delta: float) -> float:
    size = np.abs(residual)
    return float(np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)).sum())


# --- pins and ties --------------------------------------------------------------------------------------------------


def test_a_pinned_and_a_tied_fit_is_that_of_the_shorter_formula() -> None:
    law = api.fit(runs(), CHINCHILLA, pins={"E": 1.69, "b": "a"}, **COLUMNS)
    found = law.constants["loss"]["all"]
    alone = api.fit(runs(), "1.69 + A*N**-a + B*D**-a", **COLUMNS).constants["loss"]["all"]
    assert found["E"] == 1.69 and found["a"] == found["b"]
    assert {c: found[c] for c in "AaB"} == pytest.approx(alone, rel=1e-6)
    assert law.expressions["loss"].text == CHINCHILLA


def test_pins_and_delta_survive_law_json_and_are_refitted_with() -> None:
    law = api.fit(runs(), CHINCHILLA, loss="log_huber", delta=2e-3, pins={"E": 1.69, "b": "a"}, **COLUMNS)
    again = Law.from_json(json.loads(json.dumps(law.to_json())))
    settings = again.settings["loss"]
    assert (settings.loss, settings.delta, settings.pinned, settings.tied) == (
        "log_huber",
        2e-3,
        {"E": 1.69},
        {"b": "a"},
    )
    table = table_from(runs(), **COLUMNS)
    refit = settings.fit(again.expressions["loss"], table, starts=4)
    assert refit.constants["all"] == pytest.approx(law.constants["loss"]["all"], rel=1e-4)


def test_the_terminal_says_what_was_held_and_minimised(sld: Run) -> None:
    pins = ("--pin", "E=0.7", "--pin", "b=a", "--loss", "log_huber", "--delta", "2e-3")
    shown = sld("fit", "nanolm_chinchilla", "--law", CHINCHILLA, *pins).out
    assert re.search(r"E +0.7 +held at this value", shown)
    assert "held equal: b = a" in shown and "delta 0.002" in shown


def test_a_law_without_ties_is_written_as_before() -> None:
    assert "tied" not in FitSettings(pinned={"E": 1.0}).to_json()


def test_a_pinned_constant_has_no_interval_and_a_tied_pair_has_one() -> None:
    law = api.fit(runs(), CHINCHILLA, pins={"E": 1.69, "b": "a"}, **COLUMNS)
    spans = constant_intervals(law)["loss"]["all"]
    assert spans["E"] is None and unknown_constants(law)["loss"]["all"] == {"E": PINNED}
    assert spans["a"] is not None and spans["a"] == spans["b"] and spans["a"][0] < spans["a"][1]
    replicates = law.intervals["targets"]["loss"]["constants"]["all"]  # type: ignore[index]
    assert "E" not in replicates and replicates["a"] == replicates["b"]
    # predictions follow: of a tied law they are narrower than without
    points = {"N": [1e12], "D": [1e14]}
    free = api.predict(api.fit(runs(), CHINCHILLA, **COLUMNS), points)
    held = api.predict(law, points)
    assert held["loss_high"] - held["loss_low"] < free["loss_high"] - free["loss_low"]


def test_all_constants_may_be_pinned() -> None:
    law = api.fit(runs(), CHINCHILLA, pins=TRUTH, **COLUMNS)
    assert law.constants["loss"]["all"] == TRUTH
    assert set(unknown_constants(law)["loss"]["all"].values()) == {PINNED}
    low, high = (api.predict(law, {"N": [1e9], "D": [1e11]})[f"loss_{end}"][0] for end in ("low", "high"))
    assert low < law.predict({"N": [1e9], "D": [1e11]})[0, 0] < high


@pytest.mark.parametrize("shared", [(), ("b",)], ids=["of each group", "of all groups"])
def test_pins_hold_in_every_group(shared: tuple[str, ...]) -> None:
    law = api.fit(families(), CHINCHILLA, pins={"A": 406.4, "a": "b"}, shared=shared, group="family", **COLUMNS)
    values = law.constants["loss"]
    assert all(of["A"] == 406.4 and of["a"] == of["b"] for of in values.values())
    assert len({of["a"] for of in values.values()}) == (1 if shared else 3)
    spans = constant_intervals(law)["loss"]
    assert all(of["A"] is None and of["a"] == of["b"] for of in spans.values())


def test_sharing_one_of_a_tied_pair_shares_both() -> None:
    free = FitSettings(shared=("a",), positive=("a",), tied={"a": "b"}).free
    assert (free.shared, free.positive) == (("b",), ("b",))


def test_pins_hold_when_groups_are_pooled() -> None:
    table = table_from(families(), group="family", **COLUMNS)
    expression = table.parse(CHINCHILLA)
    settings = FitSettings(pooling="partial", pinned={"E": 1.7}, tied={"b": "a"})
    found = settings.fit(expression, table, starts=4)
    assert found.ok and found.prior is not None and found.prior.constants == ("a",)
    alone = fit(table.parse("1.7 + A*N**-a + B*D**-a"), table, pooling="partial", starts=4)
    for group, of in alone.constants.items():
        assert found.constants[group] == pytest.approx({**of, "E": 1.7, "b": of["a"]}, rel=1e-3)


def test_a_pin_may_follow_a_pin() -> None:
    expression = planted(CHINCHILLA, TRUTH).parse(CHINCHILLA)
    assert read_pins({"a": "b", "b": 0.3}, expression) == ({"a": 0.3, "b": 0.3}, {})
    assert read_pins({"A": "B", "B": "E", "Z": 1.0}, expression) == ({}, {"A": "E", "B": "E"})


def test_of_several_targets_each_has_the_pins_of_its_constants() -> None:
    one = runs()
    data = {**one, "half": one["loss"] / 2}
    law = api.fit(
        data, {"loss": "E + A*N**-a", "half": "F + A*N**-a"}, pins={"E": 1.8, "A": 400}, target=["loss", "half"],
        scale=["N", "D"],
    )  # fmt: skip
    assert law.settings["loss"].pinned == {"E": 1.8, "A": 400.0} and law.settings["half"].pinned == {"A": 400.0}


# --- bounds of all exponents ----------------------------------------------------------------------------------------


def test_one_bound_for_all_exponents() -> None:
    law = api.fit(runs(), CHINCHILLA, bounds={"exponents": (0.0, 0.3), "b": (0.0, 0.2)}, **COLUMNS)
    assert law.settings["loss"].bounds == {"a": (0.0, 0.3), "b": (0.0, 0.2)}
    found = law.constants["loss"]["all"]
    assert found["a"] <= 0.3 and found["b"] == pytest.approx(0.2)


@each(
    ("text", "names"),
    [
        ("E + A/N**a + B*D**(-b)", ("a", "b")),
        ("E + (A*N**-a + B*D**-2)**g", ("a", "g")),
        ("E + exp(c - a*log(N))", ()),
        ("E + A*N**(a - 1) + 2**(k*D)", ()),
    ],
)
def test_exponents_are_those_of_powers(text: str, names: tuple[str, ...]) -> None:
    assert exponents_of(planted(CHINCHILLA, TRUTH).parse(text)) == names


def test_a_constant_that_is_called_exponents_is_one() -> None:
    expression = planted(CHINCHILLA, TRUTH).parse("E + A*N**-a + exponents*D")
    assert read_bounds({"exponents": (0.0, 1.0)}, expression) == {"exponents": (0.0, 1.0)}


# --- delta ----------------------------------------------------------------------------------------------------------


@each(("loss", "delta"), [("huber", 0.01), ("huber", 0.1), ("log_huber", 1e-3), ("log_huber", 0.02)])
def test_delta_is_where_the_loss_turns_linear(loss: str, delta: float) -> None:
    data = runs()
    data["loss"][::9] *= 1.05
    law = api.fit(data, CHINCHILLA, loss=loss, delta=delta, **COLUMNS)

    def objective(values: Any) -> float:
        residual = data["loss"] - values if loss == "huber" else np.log(data["loss"] / values)
        return huber(residual, delta)

    own = objective(law.predict(data)[:, 0])
    for other in (delta / 4, 4 * delta):
        elsewhere = api.fit(data, CHINCHILLA, loss=loss, delta=other, **COLUMNS)
        assert own < objective(elsewhere.predict(data)[:, 0])
    assert law.settings["loss"].delta == law.provenance["fit"]["loss"]["delta"] == delta
    assert f"delta {delta:g}" in law.settings["loss"].objective


def test_the_delta_that_was_taken_is_said_where_none_was_given() -> None:
    data = runs()
    log = api.fit(data, CHINCHILLA, loss="log_huber", **COLUMNS)
    assert log.settings["loss"].delta is None and log.provenance["fit"]["loss"]["delta"] == 1e-3
    plain = api.fit(data, CHINCHILLA, loss="huber", **COLUMNS)
    residual = data["loss"] - plain.predict(data)[:, 0]
    taken = 1.345 * 1.4826 * float(np.median(np.abs(residual)))
    assert plain.provenance["fit"]["loss"]["delta"] == pytest.approx(taken, rel=0.1)
    assert "1.345 robust standard deviations" in plain.settings["loss"].objective
    assert api.fit(data, CHINCHILLA, **COLUMNS).provenance["fit"]["loss"].get("delta") is None


# --- what is refused ------------------------------------------------------------------------------------------------


@each(
    ("options", "words"),
    [
        (["--pin", "q=3"], ["no constant 'q'", "E, A, a"]),
        (["--pin", "alpa=1"], ["no constant 'alpa'"]),
        (["--pin", "a=bb"], ["no constant 'bb'", "did you mean 'b'?"]),
        (["--pin", "N=3"], ["no constant 'N'"]),
        (["--pin", "E"], ["--pin wants NAME=NUMBER", "got E"]),
        (["--pin", "E="], ["--pin wants NAME=NUMBER"]),
        (["--pin", "E=nan"], ["pin of 'E'", "finite"]),
        (["--pin", "E=1.69", "--pin", "E=1.7"], ["two things of 'E'", "1.69", "1.7"]),
        (["--pin", "a=b,b=a"], ["circle", "a = b = a"]),
        (["--pin", "a=a"], ["circle", "a = a"]),
        (["--pin", "a=2", "--bounds", "a=0:1"], ["'a' is pinned to 2", "from 0 to 1"]),
        (["--pin", "a=2", "--bounds", "exponents=0:1"], ["'a' is pinned to 2", "from 0 to 1"]),
        (["--pin", "E=-1", "--positive", "E"], ["'E' is pinned to -1", "positive"]),
        (["--pin", "a=b", "--bounds", "a=0:0.2,b=0.3:1"], ["no room"]),
        (["--bounds", "exponent=0:1"], ["no constant 'exponent'"]),
        (["--delta", "1e-3"], ["'squared' has no delta", "log_huber"]),
        (["--loss", "log", "--delta", "1e-3"], ["'log' has no delta"]),
        (["--loss", "huber", "--delta", "0"], ["delta must be", "above 0"]),
        (["--loss", "log_huber", "--delta", "-1"], ["delta must be", "above 0"]),
        (["--loss", "log_huber", "--delta", "inf"], ["delta must be", "finite"]),
        (["--loss", "envelope", "--delta", "2"], ["share between 0 and 1"]),
        (["--loss", "hubr", "--delta", "1"], ["no loss 'hubr'", "huber"]),
    ],
)
def test_a_condition_that_cannot_be_kept_is_refused_in_one_line(sld: Run, options: list[str], words: list[str]) -> None:
    one_line(sld("fit", "nanolm_chinchilla", "--law", CHINCHILLA, *options), *words)


def test_a_formula_without_exponents_has_no_bounds_of_them() -> None:
    with pytest.raises(UsageError, match="is an exponent by itself"):
        api.fit(runs(), "E + A*log(N)", bounds={"exponents": (0.0, 1.0)}, **COLUMNS)


def test_a_logarithmic_loss_needs_positive_targets() -> None:
    data = runs()
    data["loss"][3] = -0.5
    with pytest.raises(UsageError, match="needs a positive target, got"):
        api.fit(data, CHINCHILLA, loss="log_huber", delta=1e-3, **COLUMNS)


@pytest.mark.parametrize("delta", [True, "1", math.nan])
def test_a_delta_that_is_no_number_is_refused(delta: Any) -> None:
    with pytest.raises(UsageError, match="delta must be a finite number above 0"):
        check_loss("huber", delta)


def test_a_column_cannot_be_pinned() -> None:
    table = planted(CHINCHILLA, TRUTH)
    for settings in (
        FitSettings(pinned={"N": 1.0}),
        FitSettings(tied={"a": "N"}),
        FitSettings(tied={"a": "b", "b": "E"}),
    ):
        with pytest.raises(UsageError):
            settings.fit(table.parse(CHINCHILLA), table)


# --- the leaderboard ------------------------------------------------------------------------------------------------

PINNED_FIT = FitSettings(loss="log_huber", delta=2e-3, pinned={"E": 1.45}, tied={"c": "a"})


@pytest.fixture(scope="module")
def pinned(rows: ScoredTask) -> Entry:
    return entry_of(rows, "E + A*N**-a/(1 + N**-c)", plan=FitPlan({"loss": PINNED_FIT}))


def problem(folder: Path, rows: ScoredTask, entry: Entry) -> str:
    board = Board.at(folder / "board")
    board.add(entry)
    return next(f.problem for f in verify(board, [rows.task], refit=True) if "powers" in f.path)


def test_an_entry_keeps_pins_and_delta_and_verifies(tmp_path: Path, rows: ScoredTask, pinned: Entry) -> None:
    assert pinned.fit["pinned"] == {"loss": {"E": 1.45}} and pinned.fit["tied"] == {"loss": {"c": "a"}}
    assert pinned.fit["delta"] == {"loss": 2e-3}
    values = pinned.constants["loss"]["all"]
    assert values["E"] == 1.45 and values["a"] == values["c"]
    assert pinned.n_constants == 4  # a number that somebody chose counts as one
    assert Entry.from_json(json.loads(pinned.file_bytes()), "entry").settings == {"loss": PINNED_FIT}
    assert problem(tmp_path, rows, pinned) == ""


def test_an_entry_that_says_nothing_of_pins_is_written_as_before(rows: ScoredTask) -> None:
    assert not {"delta", "pinned", "tied"} & set(entry_of(rows, "E + A*N**-a").fit)


def test_a_submitted_law_brings_its_pins(tmp_path: Path) -> None:
    law = api.fit("nanolm_chinchilla", CHINCHILLA, loss="huber", delta=0.01, pins={"b": "a"})
    entry = api.submit(law, "nanolm_chinchilla", name="tied", board=tmp_path).entry
    assert entry.fit["tied"] == {"loss": {"b": "a"}} and entry.fit["delta"] == {"loss": 0.01}
    values = entry.constants["loss"]["all"]
    assert values["a"] == values["b"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pinned", {"loss": {"E": 1.4}}, "optimum"),
        ("pinned", {"loss": {"N": 1e8}}, "no constant of .* 'N'"),
        ("tied", {"loss": {"c": "a", "a": "E"}}, "tied"),
        ("delta", {"loss": 1.0}, "optimum"),
    ],
)
def test_an_entry_with_other_conditions_than_its_constants_is_refused(
    tmp_path: Path, rows: ScoredTask, pinned: Entry, key: str, value: object, message: str
) -> None:
    found = problem(tmp_path, rows, edited(pinned, "fit", key, value=value))
    assert re.search(message, found), found


@each(
    ("key", "value"),
    [("delta", {"loss": 0}), ("delta", {"x": 1.0}), ("pinned", {"loss": {"E": "a"}}), ("tied", {"loss": {"a": 1}})],
)
def test_an_entry_whose_conditions_cannot_be_read_is_refused(pinned: Entry, key: str, value: object) -> None:
    data = pinned.to_json() | {"fit": {**pinned.fit, key: value}}
    with pytest.raises(DataError, match=key):
        Entry.from_json(data, "entry")
