"""The search as a whole: finds planted laws whatever the table looks like, and refuses what cannot be searched."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_cases import each
from pace import pace
from searches import CATALOGUE, chinchilla, grouped, mixture, one_scale, search, two_scales

from sld.analysis.intervals import add_intervals, predict_intervals
from sld.core.errors import SldError, UsageError
from sld.data.card import Role, Target, Variable
from sld.data.scoring import scores
from sld.data.table import Table, table_from
from sld.laws.equivalence import equivalent
from sld.laws.law import LAW_FILE
from sld.search.budget import Budget
from sld.search.candidates.candidate import Candidate
from sld.search.choosing.final_fit import with_absent
from sld.search.screening.rows import of_few_groups, thinned

# -- finding -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_planted_law_is_found_with_its_constants() -> None:
    found = search(two_scales(), "3000fits")
    law = found.chosen.expressions["loss"]
    assert equivalent(law, two_scales().parse("E + A*N**-a + B*D**-b"))
    assert sorted(found.law.constants["loss"]["all"].values()) == pytest.approx(
        [0.28, 0.34, 1.69, 406.4, 410.7], rel=0.01
    )
    assert found.chosen.admissible
    far = {"N": np.array([1e12]), "D": np.array([1e14])}
    assert found.law.predict(far)[0, 0] == pytest.approx(chinchilla(far["N"], far["D"])[0], rel=1e-3)


def test_groups_get_constants_of_their_own() -> None:
    table = grouped()
    found = search(table, "2000fits", proposers=CATALOGUE)
    assert found.law.groups == ("a", "b", "ü")
    assert scores(table.Y, found.law.predict(table), table.group_index).r2 > 0.999
    assert len({json.dumps(c, sort_keys=True) for c in found.law.constants["loss"].values()}) == 3


@pytest.mark.slow
def test_each_target_has_a_formula_and_its_own_share() -> None:
    table = mixture()
    found = search(table, "4000fits", proposers=CATALOGUE)
    assert list(found.law.expressions) == ["loss_a", "loss_b", "loss_c"]
    assert scores(table.Y, found.law.predict(table), table.group_index).r2 > 0.99
    for share, expression in zip("abc", found.law.expressions.values(), strict=True):
        assert share in expression.used_variables


def test_targets_without_shares_of_their_own() -> None:
    found = search(mixture(own=False), "500fits")
    assert found.law.predict(mixture(own=False)).shape == (40, 2)
    assert len(found.chosen.judgements) == 2


def test_targets_may_end_with_different_formulas() -> None:
    x = np.geomspace(1, 1e4, 16)
    data = {"N": x, "power": 2 + 3 * x**-0.5, "log": 5 - 0.3 * np.log(x)}
    table = table_from(data, target=["power", "log"], scale="N")
    formulas = [{"power": "E + A*N**-a", "log": "E + A/N"}, {"power": "E + A/N", "log": "E + A*log(N)"}]
    found = search(table, "5000fits", formulas=formulas, proposers=[])
    assert found.law.expressions["log"].text != found.law.expressions["power"].text
    assert found.chosen.origin.startswith("composed")
    assert Candidate.joined([found.chosen.of_target(j) for j in range(2)]).origin == found.chosen.origin
    assert scores(table.Y, found.law.predict(table), table.group_index).r2 > 0.999


def test_a_formula_of_ones_own_is_tried_first() -> None:
    found = search(one_scale(), "1fits", formulas=["E + A*N**-a"])
    assert found.counts["tried"] == 1
    assert found.chosen.origin == "user"
    assert found.law.expressions["y"].text == "E + A*N**-a"


def test_what_the_outcome_rests_on_is_handed_back() -> None:
    found = search(two_scales(0.01))
    assert found.chosen.key in [c.key for c in found.hall_of_fame]
    assert found.front
    assert len(found.chosen.fold_errors) == len(found.folds) > 1
    assert found.counts["tried"] >= found.counts["judged"] > 0
    assert found.n_fits >= 300
    assert found.noise is None
    assert not found.interrupted
    assert found.config["budget"] == "300fits"
    assert found.law.provenance["seed"] == 0


def test_a_search_that_tried_everything_says_so() -> None:
    found = search(one_scale(), "100000fits", proposers=["catalogue"])
    assert found.n_fits < 100000
    assert any("every formula" in note for note in found.notes)


# -- bad input ---------------------------------------------------------------------------------------------------------


@each("text", ["", "30", "s", "0s", "-3s", "nans", "1e3s", "2.5fits", "0.2fits", "9" * 400 + "fits", "1d"])
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"e\.g\. 60s, 5min or 20000fits; got"):
        Budget.parse(text)


@each(
    ("text", "budget"),
    [
        ("60s", Budget(seconds=60)),
        ("1.5min", Budget(seconds=90)),
        (" 2 h ", Budget(seconds=7200)),
        ("0.5s", Budget(seconds=0.5)),
        ("20000fits", Budget(fits=20000)),
        ("1fit", Budget(fits=1)),
    ],
)
def test_budgets_are_times_or_fits(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@each(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be 1 or more, got 0"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"budget": "soon"}, "budget is a time"),
        ({"proposers": ["evolutoin"]}, "no proposer 'evolutoin'; did you mean 'evolution'"),
        ({"proposers": []}, "nothing to try"),
        ({"formulas": ["E + A*N**"]}, "at column"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        search(one_scale(), out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def table_of(x: Sequence[float], y: Sequence[float], role: Role = "scale") -> Table:
    X, Y = np.array(x, dtype=float)[:, None], np.array(y, dtype=float)[:, None]
    return Table((Variable("N", role=role),), (Target("y"),), X, Y)


@each(
    ("table", "message"),
    [
        (table_of([1, 2], [3, 4]), "at least 3 distinct points, got 2; add runs"),
        (table_of([5, 5, 5, 5], [1, 2, 3, 4]), r"at least 3 distinct points, got 1 in 4 rows \(repeats do not count\)"),
        (
            table_of([1, 1, 2, 2], [1, 2, 3, 4]),
            r"got 2 in 4 rows \(repeats do not count\); add runs",
        ),
        (table_of([1, 2, 3, 4], [7, 7, 7, 7]), "target 'y' is 7 in every row"),
    ],
)
def test_a_table_that_cannot_be_searched_is_refused_and_nothing_is_written(
    tmp_path: Path, table: Table, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        search(table, out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_groups_that_all_have_too_few_rows_are_named() -> None:
    table = grouped().take(np.r_[0:2, 10:11, 20:22])
    with pytest.raises(UsageError, match="at least 3 distinct points in group 'a', got 1; add runs"):
        search(table)


@pytest.mark.parametrize("n_rows", [1, 2])
def test_a_group_with_few_rows_borrows_the_shape_of_the_law(n_rows: int) -> None:
    x = np.tile(np.geomspace(1, 1e4, 10), 4)
    g = np.repeat(["a", "b", "c", "d"], 10)
    level = np.repeat([1.0, 2.0, 3.0, 4.0], 10)
    y = level + (1 + level) * x**-0.4
    table = table_from({"N": x, "loss": y, "family": g}, target="loss", scale="N", group="family")
    few = table.take(np.r_[0:30, [35, 31][:n_rows]])
    found = search(few, "3000fits", formulas=["E + A*N**-a"])
    assert set(found.law.groups) == {"a", "b", "c", "d"}
    assert set(found.chosen.constants["loss"]) == {"a", "b", "c"}
    assert any("borrow the shape" in note and f"d ({n_rows})" in note for note in found.notes)
    assert found.law.provenance["borrowed"] == ["d"]
    assert found.single is None or found.single.groups == found.law.groups
    beyond = {"N": [1e6], "family": ["d"]}
    assert found.law.predict(beyond)[0, 0] == pytest.approx(4 + 5 * 1e6**-0.4, rel=0.05)
    lower, upper = predict_intervals(add_intervals(found), beyond)
    assert lower[0, 0] <= found.law.predict(beyond)[0, 0] <= upper[0, 0]


@pytest.mark.parametrize(("n_rows", "most"), [(4, 2), (5, 3), (6, 3)])
def test_few_rows_get_a_formula_with_fewer_constants(n_rows: int, most: int) -> None:
    x = np.geomspace(1, 1000, n_rows)
    found = search(table_of(x.tolist(), (2 + x**-0.5).tolist()), "500fits")
    assert found.chosen.n_constants <= most
    assert any("more constants than the distinct points" in reason for reason in found.counts)


def test_formulas_that_cannot_be_fitted_are_one_sentence_with_the_counts() -> None:
    with pytest.raises(SldError, match=r"no formula could be fitted: 2 tried \(.*not finite") as caught:
        search(one_scale(), formulas=["A*log(-N)", "E + A*sqrt(-N)"], proposers=[])
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_variables_may_have_any_name() -> None:
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 5)))
    data = {"E": n, "größe (10⁹)": d, "A": chinchilla(n, d)}
    found = search(table_from(data, target="A", scale=["E", "größe (10⁹)"]), "3000fits", proposers=CATALOGUE)
    assert found.law.predict({"E": [1e11], "größe (10⁹)": [1e13]})[0, 0] == pytest.approx(
        chinchilla(np.array([1e11]), np.array([1e13]))[0], rel=1e-2
    )


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_the_unit_of_the_target_does_not_matter(unit: float) -> None:
    x = np.geomspace(1, 1e4, 14)
    found = search(table_of(x.tolist(), (unit * (2 + 3 * x**-0.5)).tolist()), "600fits", proposers=CATALOGUE)
    assert found.chosen.train_nmse < 1e-6
    assert found.law.predict({"N": [1e6]})[0, 0] / unit == pytest.approx(2.003, rel=1e-3)


def test_negative_and_zero_targets_are_no_trouble() -> None:
    x = np.geomspace(1, 1e4, 14)
    found = search(table_of(x.tolist(), (3 * x**-0.5 - 1).tolist()), "600fits", proposers=CATALOGUE)
    assert found.law.predict({"N": [1e6]})[0, 0] == pytest.approx(-0.997, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("role", ["covariate", "hyperparameter"])
def test_a_table_without_scales(role: Role) -> None:
    x = np.geomspace(0.1, 10, 15)
    found = search(table_of(x.tolist(), (1 + np.log(x) ** 2).tolist(), role), "2000fits", proposers=CATALOGUE)
    assert found.chosen.train_nmse < 0.05


@pytest.mark.slow
def test_a_covariate_of_zeros_and_ones() -> None:
    x = np.tile(np.geomspace(1, 1e4, 8), 2)
    flag = np.repeat([0.0, 1.0], 8)
    table = table_from({"N": x, "flag": flag, "y": 2 + 3 * x**-0.5 + flag}, target="y", scale="N", covariate="flag")
    assert search(table, "2500fits", proposers=["enumeration"]).chosen.train_nmse < 1e-3


@pytest.mark.slow
def test_a_large_table_is_thinned_and_the_user_is_told() -> None:
    rng = np.random.default_rng(0)
    x = 10 ** rng.uniform(0, 4, 20_000)
    g = rng.integers(0, 3, len(x))
    y = g + 2 + 3 * x**-0.5 + 0.01 * rng.normal(size=len(x))
    table = table_from({"N": x, "y": y, "g": [f"g{k}" for k in g]}, target="y", scale="N", group="g")
    found = search(table, "1fits", formulas=["E + A*N**-a"])
    (note,) = [note for note in found.notes if "rows" in note]
    assert "of 20000 rows" in note
    assert found.law.groups == tuple(sorted(table.groups))
    # the constants come from all rows: a hundred times closer than the noise of one
    for group, constants in found.law.constants["y"].items():
        assert constants["E"] == pytest.approx(int(group[1]) + 2, abs=1e-3)


def test_thinning_keeps_every_group_and_both_ends() -> None:
    rng = np.random.default_rng(0)
    x = 10 ** rng.uniform(0, 4, 5000)
    index = np.where(np.arange(5000) < 4990, 0, 1)
    table = Table((Variable("N"),), (Target("y"),), x[:, None], x[:, None], ("many", "few"), index)
    thin = thinned(table, 300)
    assert 300 <= thin.n_rows <= 320
    assert thin.groups == ("many", "few")
    for group in thin.groups:
        assert thin.of_group(group).X.min() == table.of_group(group).X.min()
        assert thin.of_group(group).X.max() == table.of_group(group).X.max()
    assert (thin.group_index == 1).sum() >= 6
    assert thinned(table, 5000) is table


def many_groups(n_groups: int, n_rows: int = 12) -> Table:
    """One power law; levels and coefficients differ by group, and the last group has half the rows."""
    group = np.repeat(np.arange(n_groups), n_rows)[: n_groups * n_rows - n_rows // 2]
    x = np.tile(np.geomspace(1, 1e4, n_rows), n_groups)[: len(group)]
    rng = np.random.default_rng(0)
    y = (group % 97) / 50 + 2 + (3 + np.cos(group)) * x**-0.5 + 1e-4 * rng.normal(size=len(x))
    return table_from({"N": x, "y": y, "g": [f"g{k}" for k in group]}, target="y", scale="N", group="g")


@pytest.mark.slow
def test_of_many_groups_the_search_sees_some_and_the_law_has_all() -> None:
    table = many_groups(120)
    found = search(table, "1fits", formulas=["E + A*N**-a"])
    (note,) = [note for note in found.notes if "groups" in note]
    n_rows, n_groups = re.findall(r"\d+ of \d+", note)
    assert (n_rows, n_groups) == (f"{59 * 12 - 6} of {table.n_rows}", "59 of 120")
    assert "fitted on all of them" in note
    assert found.law.groups == tuple(sorted(table.groups))
    for group, constants in found.law.constants["y"].items():
        assert constants["E"] == pytest.approx(int(group[1:]) % 97 / 50 + 2, abs=0.01)
        assert constants["a"] == pytest.approx(0.5, abs=0.02)


def test_groups_are_left_out_evenly_and_never_the_smallest() -> None:
    table = many_groups(120)
    few = of_few_groups(table, 10)
    assert len(few.groups) in (9, 10)
    assert "g119" in few.groups
    levels = {g: float(table.of_group(g).Y.mean()) for g in table.groups}
    kept = sorted(levels[g] for g in few.groups if g != "g119")
    assert (kept[0], kept[-1]) == (min(levels.values()), max(levels.values()))
    assert np.diff(kept).max() < 2.5 * np.ptp(kept) / len(kept)
    for group in few.groups:
        assert few.of_group(group).n_rows == table.of_group(group).n_rows
    assert of_few_groups(table, 120) is table


def test_shared_constants_of_a_part_of_the_groups_start_the_fit_of_all() -> None:
    known = {"a": {"E": 1.0, "k": 0.5}, "b": {"E": 3.0, "k": 0.5}, "c": {"E": 8.0, "k": 0.5}}
    filled = with_absent(known, ("a", "x", "b", "c"))
    assert filled == known | {"x": {"E": 3.0, "k": 0.5}}
    assert with_absent(known, ("a", "b", "c")) is known


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rows", "groups"])
def test_a_large_table_is_searched_within_its_budget(kind: str) -> None:
    if kind == "groups":
        table = many_groups(500)
    else:
        rng = np.random.default_rng(0)
        n, d, b = (np.exp(rng.uniform(0, 8, 20_000)) * low for low in (1e7, 1e9, 16))
        data = {"N": n, "D": d, "b": b, "y": (chinchilla(n, d) + 0.3 * b**-0.5) * rng.normal(1, 0.005, len(n))}
        table = table_from(data, target="y", scale=["N", "D", "b"])
    began = time.monotonic()
    found = search(table, "5s")
    # the screening before it and the fit of all rows after it included; a busy machine takes more than twice as long
    assert time.monotonic() - began < 60 * pace()
    assert found.law.groups == tuple(sorted(table.groups))
    assert scores(table.Y, found.law.predict(table), table.group_index).r2 > 0.99
    assert [note for note in found.notes if f"of {table.n_rows} rows" in note]


def test_repeats_give_the_noise_floor() -> None:
    x = np.repeat(np.geomspace(1, 1e4, 8), 3)
    y = 2 + 3 * x**-0.5 + 0.01 * np.random.default_rng(0).normal(size=len(x))
    found = search(table_of(x.tolist(), y.tolist()))
    assert found.noise is not None
    assert found.noise["relative_sd"] == pytest.approx(0.01 / np.mean(y), rel=0.5)


def test_nothing_in_an_outcome_is_infinite_or_lost(tmp_path: Path) -> None:
    found = search(two_scales(0.01), out=tmp_path)
    for candidate in (*found.hall_of_fame, *found.front):
        assert candidate.status == "ok"
        assert math.isfinite(candidate.score)
    text = (tmp_path / LAW_FILE).read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
