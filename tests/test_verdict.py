"""The right to say no: noise is refused, laws are not, and how far a law may be taken follows from the folds."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_cases import each
from searches import grouped, mixture, one_scale, search, two_scales

from sld import api
from sld.__main__ import main
from sld.data.table import Table, table_from
from sld.laws.law import Law
from sld.search.choosing.verdict import LEVEL
from sld.search.screening.dependence import dependence


def shuffled(table: Table, seed: int) -> Table:
    order, rng = np.arange(table.n_rows), np.random.default_rng(seed)
    for g in range(len(table.groups)):
        rows = np.flatnonzero(table.group_index == g)
        order[rows] = rng.permutation(rows)
    return table.with_targets(table.Y[order])


TABLES: dict[str, Callable[[], Table]] = {
    "one scale": one_scale,
    "two scales": two_scales,
    "groups": grouped,
    "mixture": mixture,
}


# -- is there anything to explain ------------------------------------------------------------------------------------


@each("name", TABLES)
def test_a_law_is_told_from_chance(name: str) -> None:
    found = dependence(TABLES[name](), 0)
    assert found.p_value <= LEVEL
    assert all(p <= LEVEL for p in found.p_values)


@pytest.mark.parametrize("name", TABLES)
def test_p_values_of_shuffled_tables_are_uniform(name: str) -> None:
    # of 100 uniform p-values, 36 to 64 lie below one half with 99.7 % probability, and at most 8 below 0.02
    p = np.array([dependence(shuffled(TABLES[name](), seed), 0, shuffles=99).p_value for seed in range(100)])
    assert 36 <= (p <= 0.5).sum() <= 64
    assert (p <= 0.02).sum() <= 8


def test_a_target_of_noise_beside_one_with_a_law() -> None:
    x = np.geomspace(1, 1e4, 24)
    data = {"N": x, "loss": 2 + 3 * x**-0.5, "luck": np.random.default_rng(3).normal(size=24)}
    found = dependence(table_from(data, target=["loss", "luck"], scale="N"), 0)
    assert found.p_value <= LEVEL and found.p_values[0] <= LEVEL < found.p_values[1]


def test_a_search_says_which_target_has_no_law() -> None:
    x = np.geomspace(1, 1e4, 24)
    data = {"N": x, "loss": 2 + 3 * x**-0.5, "luck": np.random.default_rng(3).normal(size=24)}
    found = search(table_from(data, target=["loss", "luck"], scale="N"), "300fits").verdict
    assert found.kind == "weak"
    assert "nothing shows that luck depends on any variable" in found.reasons


@pytest.mark.parametrize("seed", [1, 2])
def test_the_seed_decides_the_shuffles(seed: int) -> None:
    table = shuffled(two_scales(), 5)
    assert dependence(table, seed) == dependence(table, seed)
    assert dependence(table, seed).p_value != dependence(table, seed + 7).p_value


def test_copies_of_rows_are_no_evidence() -> None:
    rng = np.random.default_rng(0)
    x, y = np.geomspace(1, 1e4, 5), rng.normal(size=5)
    once = table_from({"N": x, "y": y}, target="y", scale="N")
    often = table_from({"N": np.tile(x, 8), "y": np.tile(y, 8)}, target="y", scale="N")
    assert dependence(often, 0) == dependence(once, 0)
    assert dependence(often, 0).n_rows == 5


def test_units_do_not_matter() -> None:
    table = two_scales(noise=0.3)
    assert dependence(table.with_targets(1e-9 * table.Y + 5e-9), 0).p_value == dependence(table, 0).p_value


# -- the verdict of a search -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_searches_of_shuffled_tables_end_with_no_law(name: str) -> None:
    kinds = [search(shuffled(TABLES[name](), seed), "60fits").verdict.kind for seed in range(5)]
    # each is refused with a probability of 98 %
    assert kinds.count("no law") >= 4


@pytest.mark.parametrize("name", ["one scale", "two scales", "groups"])
def test_searches_of_laws_end_with_a_law(name: str) -> None:
    found = search(TABLES[name](), "1500fits")
    assert found.verdict.kind == "law", found.verdict.sentence
    for symbol, edge in found.verdict.edge.items():
        assert edge == found.table.column(symbol).max()
        assert edge <= found.verdict.reach[symbol]
    assert any(found.verdict.reach[s] > 2 * e for s, e in found.verdict.edge.items())
    assert found.verdict.versus_mean < 0.1


def test_four_rows_are_too_few_to_tell() -> None:
    x = np.geomspace(1, 1e4, 4)
    found = search(table_from({"N": x, "y": 2 + 3 * x**-0.5}, target="y", scale="N"), "60fits")
    assert found.verdict.kind == "no law"
    assert "4 rows are too few to tell" in found.verdict.sentence


def test_too_little_range_forbids_to_extrapolate() -> None:
    x = np.geomspace(1e8, 1.5e8, 12)
    found = search(table_from({"N": x, "y": 2 + 300 * x**-0.3}, target="y", scale="N"), "500fits")
    assert found.verdict.kind == "weak"
    assert found.verdict.sentence.startswith("weak law, do not extrapolate beyond N = 1.5e8: ")
    assert "too little range: N spans a factor of 1.5" in found.verdict.sentence
    assert found.verdict.reach == {"N": pytest.approx(1.5e8)}


def test_a_law_worse_than_the_last_value_is_not_to_be_extrapolated() -> None:
    # falls, then is flat: a straight line in log N is the only form allowed, and it goes on falling
    x = np.geomspace(1, 1e6, 24)
    y = np.maximum(5 - np.log10(x), 0.5) + 0.001 * np.random.default_rng(0).normal(size=24)
    table = table_from({"N": x, "y": y}, target="y", scale="N")
    found = search(table, "50fits", formulas=["E - A*log(N)"], proposers=[])
    assert found.verdict.kind == "weak"
    assert "nearest run's value does better" in found.verdict.sentence
    assert found.verdict.versus_nearest > 2
    assert found.verdict.reach == found.verdict.edge


def test_no_step_is_supported_that_is_longer_than_the_folds_tested() -> None:
    found = search(one_scale(), "1500fits")
    z = np.log(found.table.X[:, 0])
    tested = max((z[f.test].max() - z[f.train].max()) / np.ptp(z[f.train]) for f in found.folds)
    assert math.log(found.verdict.reach["N"]) <= z.max() + tested * np.ptp(z) + 1e-9


def test_columns_that_are_logarithms_reach_in_their_own_units() -> None:
    x = np.linspace(0, 4, 14)
    data = {"logN": x, "y": 2 + 3 * 10 ** (-0.5 * x)}
    found = search(table_from(data, target="y", scale="logN", log={"logN": "log10"}), "500fits")
    assert found.verdict.kind == "law"
    assert 4.3 < found.verdict.reach["logN"] < 8.1  # decades, not factors


def test_the_verdict_is_part_of_the_law() -> None:
    found = search(one_scale(), "300fits")
    assert found.law.provenance["verdict"] == found.verdict.to_json()
    assert Law.from_json(json.loads(json.dumps(found.law.to_json()))).provenance["verdict"]["kind"] == "law"


# -- where it is said ------------------------------------------------------------------------------------------------


def write(path: Path, columns: dict[str, Any]) -> Path:
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(f"{x!r}" for x in map(float, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


ROLES = ("--target", "y", "--scale", "N", "--budget", "100fits", "--workers", "1")


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A table of noise, what a search left of it, and what the search said."""
    folder = tmp_path_factory.mktemp("noise")
    y = np.random.default_rng(1).normal(size=24)
    csv = write(folder / "noise.csv", {"N": np.geomspace(1e6, 1e9, 24), "y": 3 + 0.1 * y})
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["discover", str(csv), *ROLES, "--out", str(folder / "run")]) == 0
    return csv, folder / "run", said.getvalue()


def test_no_law_is_the_first_thing_said(noise: tuple[Path, Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    csv, run, said = noise
    assert said.startswith("no law: y does not depend on the variables")
    report = (run / "report.md").read_text(encoding="utf-8").splitlines()
    assert report[2].startswith("**No law: y does not depend")
    assert main(["discover", str(csv), *ROLES, "--out", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["kind"] == "no law"


def test_predicting_with_no_law_warns_once(noise: tuple[Path, Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    csv, run, _ = noise
    assert main(["predict", str(run), str(csv)]) == 0
    shown = capsys.readouterr()
    assert " ".join(shown.err.split()).startswith("warning: no law: y does not depend")
    assert "warning" not in shown.out


def test_predicting_beyond_the_supported_reach_warns() -> None:
    found = search(one_scale(), "1500fits")
    end = found.verdict.reach["N"]
    assert api.caution(found, {"N": [1.0, end * 0.99]}) == ""
    assert api.caution(found, {"N": [1.0, end * 1.01]}).endswith("is not supported, and 1 of 2 points lie there")
    fitted = api.fit({"N": [1.0, 2.0, 3.0, 4.0], "y": [4.0, 3.0, 2.0, 1.0]}, "E + A*N", target="y", scale="N")
    assert api.caution(fitted, {"N": [1e9]}) == ""  # no search, no verdict
