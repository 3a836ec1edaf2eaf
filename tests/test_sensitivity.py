"""How far answers depend on the way of fitting: each other way gives what a fit of its own gives."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run, runner

import sld

FORM = "E + A*N**-a + B*D**-b"
COLUMNS: dict[str, Any] = {"target": "loss", "scale": ["N", "D"]}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return runner(capsys, monkeypatch, tmp_path)


def table(noise: float = 2e-3, seed: int = 0) -> dict[str, Any]:
    """Return 25 runs of a law whose constants are known, with seeds, steps and another count of parameters."""
    rng = np.random.default_rng(seed)
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    y = (1.7 + 400 * N**-0.34 + 410 * D**-0.28) * (1 + noise * rng.standard_normal(len(N)))
    return {
        "N": N,
        "D": D,
        "loss": y,
        "N_total": N + 47491 * N ** (1 / 3),  # Pearce and Song 2024
        "seed": np.where(np.arange(len(N)) % 2, "b", "a").tolist(),
    }


def of(found: Any, name: str) -> Any:
    (variant,) = [v for v in found.variants if v.name == name]
    return variant


@pytest.mark.slow
def test_each_other_way_gives_what_a_fit_of_its_own_gives() -> None:
    rows = table()
    found = sld.sensitivity(
        rows, FORM, **COLUMNS, budget=1e22, hold={"E": [1.6, 1.75]}, alternatives={"N": "N_total"},
        seed_column="seed", where=["N>=3e7"], at={"N": 1e10, "D": 1e12},
    )  # fmt: skip
    plain = {k: v for k, v in rows.items() if k != "seed"}

    def fit(data: Any = plain, **how: Any) -> dict[str, float]:
        law = sld.fit(data, FORM, **{**COLUMNS, **how}, starts=8)
        return dict(law.constants["loss"]["all"])

    own = {
        "E held at 1.6": fit(pins={"E": 1.6}),
        "loss log": fit(loss="log"),
        "loss log_huber, delta 0.001": fit(loss="log_huber"),
        "only rows with N>=3e7": fit(drop="N<3e7"),
        "without N = 1e7": fit(drop="N<2e7"),
        "without seed a": fit(rows, drop="seed==a"),
        "without row 1": fit({k: v[1:] for k, v in plain.items()}),
        "start 3 alone": fit(),
    }
    for name, constants in own.items():
        got = {c: of(found, name).answers[c] for c in constants}
        assert got == pytest.approx(constants, rel=2e-3), name
    other = fit({**plain, "N": rows["N_total"]})
    assert of(found, "N counted as N_total").answers["a"] == pytest.approx(other["a"], rel=2e-3)
    c = own["loss log"]
    N, D = 1e10, 1e12
    at_the_point = c["E"] + c["A"] * N ** -c["a"] + c["B"] * D ** -c["b"]
    assert of(found, "loss log").answers["loss at the point"] == pytest.approx(at_the_point, rel=1e-4)
    assert of(found, "loss log").answers["exponent of best N"] == pytest.approx(c["b"] / (c["a"] + c["b"]), rel=1e-4)
    assert found.about == "the best split of C = 1e22 (cost 6*N*D); the point N = 1e10, D = 1e12"
    frame = found.to_frame()
    assert frame.shape[0] == len(found.variants) + 1 and {"E", "best N"} <= set(frame.columns)
    moved = (frame["best N"] - frame["best N"][0]).abs()[1:].dropna().tolist()
    assert moved == sorted(moved, reverse=True)


def test_the_largest_effect_is_on_top_and_a_run_that_went_wrong_is_named() -> None:
    rows = table(noise=5e-4)
    rows["loss"][17] *= 1.25
    found = sld.sensitivity({k: rows[k] for k in ("N", "D", "loss")}, FORM, **COLUMNS, budget=1e22)
    widths = [e.width for e in found.effects()]
    assert widths == sorted(widths, reverse=True)
    (runs,) = [e for e in found.effects() if e.factor == "run"]
    assert "without row 18" in (runs.low[1], runs.high[1])
    truth = (0.34 * 400 / (0.28 * 410)) ** (1 / 0.62) * (1e22 / 6) ** (0.28 / 0.62)
    robust, fitted = of(found, "loss log_huber, delta 0.001").answers["best N"], found.base["best N"].value
    assert abs(math.log(robust / truth)) < abs(math.log(fitted / truth))


def test_exact_runs_are_moved_by_nothing_that_keeps_the_form() -> None:
    rows = table(noise=0.0)
    found = sld.sensitivity({k: rows[k] for k in ("N", "D", "loss")}, FORM, **COLUMNS, budget=1e22)
    for e in found.effects("exponent of best N"):
        if e.factor not in ("pinned",):
            assert e.width < 1e-3, e
    assert found.base["exponent of best N"].value == pytest.approx(0.28 / 0.62, abs=1e-4)


def test_a_law_of_one_variable_is_asked_for_a_prediction() -> None:
    N = np.geomspace(1e6, 1e9, 8)
    runs = {"N": N, "loss": 1.7 + 400 * N**-0.34 + 0.005 * np.cos(np.arange(8.0))}
    found = sld.sensitivity(runs, "E + A*N**-a", target="loss", scale="N")
    assert found.answer == "loss at the point" and found.about == "the point N = 1e10"
    assert {e.factor for e in found.effects()} >= {"loss", "run", "rung", "start", "pinned"}
    assert "out of its interval" in found.summary() or "outside the interval" in found.summary()


def test_a_law_without_a_best_split_says_what_is_looked_at_instead() -> None:
    rows = table()
    found = sld.sensitivity({k: rows[k] for k in ("N", "D", "loss")}, "A*N**-a*D**-b", **COLUMNS, budget=1e22)
    assert f"the law as fitted has no best split, so {found.answer} is looked at instead" in found.summary()


def test_of_checkpoints_the_last_ones_alone_are_tried() -> None:
    rows = table(noise=1e-3)
    runs: dict[str, Any] = {k: np.concatenate([rows[k], rows[k]]) for k in ("N", "D", "loss")}
    runs["D"] = np.concatenate([rows["D"] / 4, rows["D"]])
    runs["loss"] = np.concatenate([rows["loss"] + 0.2, rows["loss"]])  # before its schedule ends a run is worse
    runs["name"] = [f"run {k}" for k in range(25)] * 2
    found = sld.sensitivity(runs, FORM, **COLUMNS, run="name", budget=1e22)
    last = of(found, "last checkpoint of each run").answers
    assert last["E"] == pytest.approx(1.7, abs=0.05) and abs(found.base["E"].value - 1.7) > abs(last["E"] - 1.7)
    assert sum(v.factor == "run" for v in found.variants) == 25


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"answer": "best M"}, "no answer 'best M'"),
    ({"hold": {"F": [1.0]}}, "hold: no constant 'F'"),
    ({"alternatives": {"N": "N_totl"}}, "N_totl"),
    ({"alternatives": {"M": "N_total"}}, "alternatives: no variable 'M'"),
    ({"where": ["step>=10"]}, "step"),
    ({"seed_column": "sed"}, "sed"),
    ({"budget": -1.0}, "a budget must be a number above 0"),
    ({"at": {"N": 1e9}}, "a value is missing of D"),
    ({"of": "x"}, "x"),
]


@pytest.mark.parametrize(("how", "words"), REFUSED)
def test_bad_input_is_one_clear_line(how: dict[str, Any], words: str) -> None:
    with pytest.raises(sld.UsageError, match=words) as caught:
        sld.sensitivity(table(), FORM, **{**COLUMNS, **how})
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_command_says_the_same_as_python_and_draws_a_tornado(run: Run, tmp_path: Path) -> None:
    rows = table()
    lines = [",".join(rows), *(",".join(map(str, row)) for row in zip(*rows.values(), strict=True))]
    (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ("sensitivity", "runs.csv", "--target", "loss", "--scale", "N,D", "--law", FORM, "--budget", "1e22")
    more = ("--hold", "E=1.6,1.75", "--alternative", "N=N_total", "--seed-column", "seed")
    document = run(*words, *more, "--json").document
    law = sld.fit({k: rows[k] for k in ("N", "D", "loss")}, FORM, **COLUMNS)
    assert document["base"]["E"]["value"] == pytest.approx(law.constants["loss"]["all"]["E"], rel=1e-6)
    assert {"loss", "pinned", "rung", "seed", "run", "start", "column"} <= {v["factor"] for v in document["variants"]}
    assert json.dumps(document)
    text = run(*words, "--alternative", "N=N_total", "--plot", "tornado.png").out
    assert "what is changed" in text and "another count" in text and "N counted as N_total" in text
    assert (tmp_path / "tornado.png").read_bytes().startswith(b"\x89PNG")
