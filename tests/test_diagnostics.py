"""What the runs behind a law say against it: a rung, a run and a level that do not fit are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_runs import one_line
from commands import Run

import sld

N = np.geomspace(1e6, 1e9, 12)
CLEAN = 1.7 + 400 * N**-0.34 + 0.003 * np.random.default_rng(2).standard_normal(12)


def fitted(loss: np.ndarray, **columns: object) -> tuple[sld.Law, dict[str, object]]:
    runs = {"N": N, "loss": loss, **columns}
    return sld.fit(runs, "E + A*N**-a", target="loss", scale="N", starts=8), runs


def test_runs_that_follow_the_law_say_nothing_against_it() -> None:
    found = sld.diagnose(*fitted(CLEAN))
    assert all(rung.missed < 4 for rung in found.rungs)
    assert "average out" in found.summary() and repr(found) == found.summary()
    assert [rung.outermost for rung in found.rungs] == [True, *[False] * (len(found.rungs) - 2), True]
    assert len(found.to_frame()) == len(found.rungs)
    assert found.where["N"] == pytest.approx(1e9 * 1000**0.35)


def test_the_run_that_moves_the_answer_most_is_named_first() -> None:
    loss = CLEAN.copy()
    loss[-1] += 0.05
    found = sld.diagnose(*fitted(loss))
    assert found.runs[0].run == "row 12"
    assert found.runs[0].without < found.predicted and found.runs[0].moved < -0.2
    assert all(abs(run.moved) < 0.2 for run in found.runs[1:])


def test_without_a_run_the_law_is_the_one_fitted_to_the_others() -> None:
    law, runs = fitted(CLEAN)
    found = sld.diagnose(law, runs, at={"N": 1e10})
    others = sld.fit({"N": N[:-1], "loss": CLEAN[:-1]}, "E + A*N**-a", target="loss", scale="N", starts=8)
    (last,) = (run for run in found.runs if run.run == "row 12")
    assert last.without == pytest.approx(float(others.predict({"N": [1e10]})[0, 0]), rel=1e-4)


def test_a_level_that_the_form_does_not_follow_is_outside_its_band() -> None:
    twice = np.repeat(N, 4)
    loss = 1.7 + 400 * twice**-0.34 + 0.003 * np.random.default_rng(3).standard_normal(48)
    loss[20:24] += 0.02
    law = sld.fit({"N": twice, "loss": loss}, "E + A*N**-a", target="loss", scale="N", starts=8)
    found = sld.diagnose(law, {"N": twice, "loss": loss})
    outside = [level for level in found.levels if level.outside]
    assert N[5] in [pytest.approx(level.value) for level in outside]


def test_misuse_is_one_line(sld: Run, tmp_path: object) -> None:
    with open("runs.csv", "w", encoding="utf-8") as file:
        file.write("N,loss\n" + "".join(f"{n},{y}\n" for n, y in zip(N.tolist(), CLEAN.tolist(), strict=True)))
    sld("fit", "runs.csv", "--target", "loss", "--scale", "N", "--law", "E + A*N**-a", "--out", "here")
    shown = sld("diagnose", "here", "runs.csv")
    assert shown.code == 0 and "missed" in shown.out and "moved" in shown.out
    document = sld("diagnose", "here", "runs.csv", "--json").document
    assert len(document["rungs"]) >= 8 and document["runs"][0]["run"].startswith("row")
    assert sld("diagnose", "here", "runs.csv", "--plot", "d.png").code == 0
    assert Path("d.png").read_bytes().startswith(b"\x89PNG")
    one_line(sld("diagnose", "here", "runs.csv", "--plot", "d.txt"), ".png, .svg or .pdf")
    one_line(sld("diagnose", "here", "runs.csv", "--at", "M=3"), "no variable 'M'")
    one_line(sld("diagnose", "here", "runs.csv", "--target", "los"), "no target 'los'", "did you mean 'loss'")
    one_line(sld("diagnose", "here", "nowhere.csv"), "nowhere.csv")
