"""Checkpoints that were cooled, and trunks that several runs share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run, runner

import sld
from sld.analysis.curves.schedules import Rates, read_schedule
from sld.core.arrays import Array
from sld.core.errors import DataError, UsageError

# the annealing law at constants of the size that its paper prints (arXiv:2408.11029)
L0, A, ALPHA, C, MEMORY = 2.63, 0.43, 0.55, 0.41, 0.999
ASKED: dict[str, Any] = {"target": "loss", "step": "step", "run": "run", "cooled": "cooled"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return runner(capsys, monkeypatch, tmp_path)


def loss(schedule: str, step: Array) -> Array:
    rates = Rates.of(read_schedule(schedule))
    return np.asarray(L0 + A * rates.forward(step) ** -ALPHA - C * rates.annealing(step, MEMORY))


def cooled_at(total: float) -> float:
    """Return the loss after a run whose rate fell over its last fifth."""
    return float(loss(f"wsd:peak=3e-4,warmup=100,total={total:g},decay=0.2", np.array([total]))[0])


def trunk_rows(ends: tuple[float, ...] = (2000.0, 4000.0, 8000.0)) -> dict[str, list[Any]]:
    """Return a trunk of a constant rate up to step 8000, and cooled checkpoints."""
    step = np.geomspace(400, 8000, 30)
    values = loss("constant:peak=3e-4,warmup=100,total=8000", step)
    return {
        "run": ["a"] * (len(step) + len(ends)),
        "step": [*step.tolist(), *ends],
        "loss": [*values.tolist(), *(cooled_at(x) for x in ends)],
        "cooled": ["no"] * len(step) + ["yes"] * len(ends),
    }


def branches() -> dict[str, list[Any]]:
    """Return a trunk of 24 and ends at 10, 20 and 30 whose rate falls over their last fifth."""
    rows: dict[str, list[Any]] = {"run": [], "step": [], "loss": [], "trunk": []}
    runs = {"trunk": np.arange(1.0, 25), "10": np.arange(8.5, 10.1, 0.5), "20": np.arange(16.5, 20.1, 0.5)}
    for name, step in {**runs, "30": np.arange(24.5, 30.1, 0.5)}.items():
        rows["run"] += [name] * len(step)
        rows["step"] += step.tolist()
        rows["loss"] += (2 + step**-0.5).tolist()
        rows["trunk"] += ["" if name == "trunk" else "trunk"] * len(step)
    return rows


def test_a_cooled_value_is_foretold_from_the_trunk_and_what_cooling_gained_on_it() -> None:
    end = sld.curve(trunk_rows(), until=16000, **ASKED).finals[0]
    true = cooled_at(16000)
    assert end.cooled and end.low < true < end.high
    assert end.value == pytest.approx(true, rel=0.01)
    mixed = {**trunk_rows(), "cooled": ["no"] * 33}  # the same rows, taken for one curve
    with pytest.raises(UsageError, match="marks no row as cooled"):
        sld.curve(mixed, until=16000, **ASKED)
    blind = sld.curve(trunk_rows(), until=16000, target="loss", step="step", run="run").finals[0]
    assert abs(end.value - true) < 0.5 * abs(blind.value - true)


def test_a_cooled_value_can_be_asked_for_where_the_trunk_stands() -> None:
    """The trunk is at its end; what it would be cooled is still foretold."""
    end = sld.curve(trunk_rows((2000.0, 4000.0)), until=8000, **ASKED).finals[0]
    assert not end.over and end.value == pytest.approx(cooled_at(8000), rel=0.01)


def test_shared_trunks_cost_once() -> None:
    """Three ratios of 10, 20 and 30: 24 + 2 + 4 + 6 of 60 (Hägele et al. 2024 print about a half)."""
    found = sld.curve(branches(), target="loss", step="step", run="run", trunk="trunk", until="2x")
    assert found.cost is not None and (found.cost.once, found.cost.apart) == (36.0, 60.0)
    assert found.to_json()["cost"] == {"once": 36.0, "apart": 60.0}


def test_branches_that_are_runs_of_their_own_say_what_cooling_gained_on_their_trunk() -> None:
    """The same cooled checkpoints, under the name of the trunk or of branches that have points on their way down."""
    rows = trunk_rows()
    rows["trunk"] = [""] * len(rows["run"])
    told = sld.curve(rows, until=16000, **ASKED).finals
    n = len(rows["run"]) - 3
    for k, end in enumerate((2000.0, 4000.0, 8000.0)):
        rows["run"][n + k], rows["trunk"][n + k] = f"to {end:g}", "a"
        for share in (0.85, 0.9, 0.95):
            for column, value in (("run", f"to {end:g}"), ("step", share * end), ("loss", 3.0), ("cooled", "no")):
                rows[column].append(value)
            rows["trunk"].append("a")
    found = sld.curve(rows, until=16000, trunk="trunk", **ASKED)
    assert [f.run for f in found.finals] == ["a"] and found.cost is not None
    assert (found.finals[0].value, found.finals[0].low) == (told[0].value, told[0].low)


def test_bad_trunks_and_marks_are_refused_in_words() -> None:
    rows, of_run = branches(), {"trunk": "trunk", "run": "run"}
    asked: dict[str, Any] = {"target": "loss", "step": "step", "until": "2x"}
    round_about = ["10" if r == "20" else "20" for r in rows["run"]]
    cases: list[tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = [
        ({**rows, "trunk": ["b"] * len(rows["run"])}, of_run, UsageError, "no run of the table"),
        ({**rows, "trunk": round_about}, of_run, UsageError, "in a circle"),
        (rows, {"trunk": "trunk"}, UsageError, "one column has to tell them apart"),
        (rows, {"cooled": "trunk", "run": "run"}, DataError, "marks rows with yes or no, got 'trunk'"),
        (rows, {"cooled": "cool", "run": "run"}, DataError, "no column 'cool'"),
        (trunk_rows((200.0,)), {"cooled": "cooled", "run": "run"}, DataError, "no cooled checkpoint lies between"),
        (trunk_rows(), {"cooled": "cooled", "run": "run", "schedule": "cosine"}, UsageError, "leave schedule out"),
    ]  # fmt: skip
    for data, more, kind, words in cases:
        with pytest.raises(kind, match=words):
            sld.curve(data, **asked, **more)


def test_the_command_tells_the_cost_and_what_is_cooled(tmp_path: Path, run: Run) -> None:
    import pandas as pd

    pd.DataFrame(branches()).to_csv(tmp_path / "branches.csv", index=False)
    pd.DataFrame(trunk_rows()).to_csv(tmp_path / "trunk.csv", index=False)
    asked = ("--target", "loss", "--step", "step", "--run", "run")
    said = run("curve", "branches.csv", *asked, "--trunk", "trunk", "--until", "2x")
    assert said.code == 0 and "cost so far, in step: 36 with every shared trunk counted once; 60" in said.out
    told = run("curve", "trunk.csv", *asked, "--cooled", "cooled", "--until", "16000")
    assert told.code == 0 and "cooled, after the learning rate has fallen" in told.out
    as_json = run("curve", "trunk.csv", *asked, "--cooled", "cooled", "--until", "16000", "--json")
    assert json.loads(as_json.out)["runs"][0]["cooled"] is True
