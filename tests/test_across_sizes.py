"""Runs of several sizes that are under way, and the end of a run of a larger model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run, runner

import sld
from sld.core.errors import DataError, SldError, UsageError

ASKED: dict[str, Any] = {"target": "loss", "step": "D", "run": "run"}
SIZES = (1e6, 3e6, 1e7, 3e7)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return runner(capsys, monkeypatch, tmp_path)


def rows(sizes: tuple[float, ...] = SIZES, noise: float = 0.002) -> dict[str, Any]:
    """Return the first 40 % of runs to D = 1e9 under E = 1.7, A = 406, a = 0.34, B = 411, b = 0.28."""
    rng, found = np.random.default_rng(0), {"run": [], "N": [], "D": [], "loss": []}  # type: ignore[var-annotated]
    for N in sizes:
        D = np.geomspace(4e7, 4e8, 12)
        found["run"] += [f"r{N:g}"] * len(D)
        found["N"] += [N] * len(D)
        found["D"] += D.tolist()
        found["loss"] += (truth(N, D) * np.exp(noise * rng.standard_normal(len(D)))).tolist()
    return found


def truth(N: float, D: Any) -> Any:
    return 1.7 + 406 * N**-0.34 + 411 * D**-0.28


def test_the_end_of_a_larger_model_follows_from_runs_that_are_under_way() -> None:
    found = sld.curve(rows(), until=1e9, larger={"N": [1e8]}, **ASKED)
    (end,) = found.larger
    true = truth(1e8, 1e9)
    assert end.low < true < end.high and end.value == pytest.approx(true, rel=0.03)
    assert end.horizon == pytest.approx(3e7 * 30)
    assert found.to_json()["larger"][0]["size"] == 1e8
    last = found.to_frame().iloc[-1]  # what --out writes
    assert (last["size"], last["value"], last["at"]) == (1e8, end.value, 1e9) and last["run"] != last["run"]
    assert "size" not in sld.curve(rows(), until=1e9, **ASKED).to_frame()
    assert sld.curve(rows(), until=1e9, **ASKED).finals == found.finals  # the runs themselves are told as before


def test_two_sizes_say_less_than_four() -> None:
    four, two = (
        sld.curve(rows(sizes), until=1e9, larger={"N": [1e8]}, **ASKED).larger[0] for sizes in (SIZES, SIZES[2:])
    )
    assert two.high / two.low > four.high / four.low


def test_other_sizes_are_refused_in_words() -> None:
    cases: list[tuple[dict[str, Any], dict[str, list[float]], str]] = [
        (rows(SIZES[:1]), {"N": [1e8]}, "at least 2 sizes"),
        (rows(), {"N": [-1e8]}, "N must be above 0"),
        (rows(), {"M": [1e8]}, "no column 'M'"),
        (rows(), {"N": [1e8], "D": [1.0]}, "one column of sizes"),
        (rows(), {"loss": [1e8]}, "has more than one loss"),
        ({**rows(), "N": ["big"] * 48}, {"N": [1e8]}, "no number for every run"),
    ]
    for data, larger, words in cases:
        with pytest.raises((DataError, UsageError), match=words):
            sld.curve(data, until=1e9, larger=larger, **ASKED)
    with pytest.raises(SldError, match="0 or below"):
        sld.curve({**rows(), "loss": [-x for x in rows()["loss"]]}, until=1e9, larger={"N": [1e8]}, **ASKED)


def test_the_command_shows_larger_models_and_where_nothing_is_promised(tmp_path: Path, run: Run) -> None:
    import pandas as pd

    pd.DataFrame(rows()).to_csv(tmp_path / "runs.csv", index=False)
    asked = ("curve", "runs.csv", "--target", "loss", "--step", "D", "--run", "run", "--until", "1e9")
    told = run(*asked, "--larger", "N=1e8,1e12")
    assert told.code == 0 and "models of other sizes" in told.out
    assert "nothing is promised beyond N = 9e8, and 1e12 lies there" in told.err
    assert [m["size"] for m in run(*asked, "--larger", "N=1e8,1e12", "--json").document["larger"]] == [1e8, 1e12]
