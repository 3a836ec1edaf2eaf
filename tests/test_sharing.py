"""What groups share is decided by the folds, in the search, and survives it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from searches import events, law_bytes, search

from sld.data.splits import rung_folds
from sld.data.table import Table, table_from
from sld.laws.form import Form
from sld.search.candidates.candidate import Candidate
from sld.search.judging.judge import Judge, Proposal

FORM = "E + A*N**-a"


def noisy(apart: float, *, noise: float = 0.05, n_groups: int = 12, n_rows: int = 8, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    x = np.geomspace(1, 1e4, n_rows)
    a = 0.4 + apart * rng.uniform(-1, 1, n_groups)
    y = rng.uniform(1, 3, n_groups)[:, None] + 2 * x ** -a[:, None] + noise * rng.normal(size=(n_groups, n_rows))
    names = np.repeat([f"g{k:02d}" for k in range(n_groups)], n_rows)
    return table_from({"N": np.tile(x, n_groups), "y": y.ravel(), "g": names}, target="y", scale="N", group="g")


def finalist(form: Form) -> Proposal:
    return replace(Proposal.of([form]), thorough=True)


def judged(table: Table, text: str = FORM, shared: tuple[str, ...] = ()) -> Candidate:
    judge = Judge(table, rung_folds(table), seed=0, max_constants=20)
    return judge.judge(finalist(Form(table.parse(text), "test", shared=shared)))[0]


def test_noisy_groups_of_one_shape_do_not_stand_alone() -> None:
    candidate = judged(noisy(0.0))
    assert candidate.status == "ok"
    assert candidate.shared == {"y": ("a",)} or candidate.priors


def test_groups_that_differ_and_say_so_keep_their_own_shape() -> None:
    candidate = judged(noisy(0.3, noise=0.0005))
    assert not candidate.shared
    a = [c["a"] for c in candidate.constants["y"].values()]
    assert np.ptp(a) > 0.3


def test_sharing_never_makes_a_score_worse() -> None:
    for apart in (0.0, 0.1, 0.3):
        table = noisy(apart)
        judge = Judge(table, rung_folds(table), seed=0, max_constants=20)
        form = Form(table.parse(FORM), "test")
        alone = judge._judge_target(form, 0, replace(Proposal.of([form]), thorough=True))
        best = judge.judge(finalist(form))[0]
        worst = np.mean(np.log(np.array(alone.fold_errors) + 1e-8))
        assert np.mean(np.log(np.array(best.fold_errors) + 1e-8)) <= worst + 1e-9


def test_what_a_form_says_is_shared_is_shared() -> None:
    table = noisy(0.0)
    text = "E + A*(N + K)**-a"
    candidate = judged(table, text, shared=("K",))
    assert candidate.shared == {"y": ("K",)}
    assert not candidate.priors
    assert len({c["K"] for c in candidate.constants["y"].values()}) == 1
    assert len({c["a"] for c in candidate.constants["y"].values()}) > 1


def test_groups_with_fewer_rows_than_constants_can_share_a_shape() -> None:
    table = noisy(0.0, noise=0.01, n_rows=5)
    candidate = judged(table, "E + A*(N + K)**-a*exp(-b*N)")
    assert candidate.status == "ok"
    assert candidate.shared or candidate.priors


def test_a_table_without_groups_shares_nothing() -> None:
    x = np.geomspace(1, 1e4, 14)
    table = table_from({"N": x, "y": 2 + 3 * x**-0.5}, target="y", scale="N")
    candidate = judged(table)
    assert candidate.status == "ok"
    assert not candidate.shared
    assert not candidate.priors


def test_the_law_is_fitted_as_its_form_was_judged() -> None:
    table = noisy(0.08, noise=0.03, n_groups=20)
    found = search(table, "2000fits", formulas=[FORM], proposers=[])
    settings = found.law.settings["y"]
    assert (settings.prior is not None) == bool(found.chosen.priors)
    assert bool(settings.shared) == bool(found.chosen.shared)
    known, final = found.hall_of_fame[0].constants["y"], found.law.constants["y"]
    for group in table.groups:
        assert final[group]["a"] == pytest.approx(known[group]["a"], abs=0.01)


@pytest.mark.slow
def test_an_interrupted_search_goes_on_with_the_same_pooling(tmp_path: Path) -> None:
    table = noisy(0.08, noise=0.03)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    search(table, "12000fits", out=whole)
    search(table, "6000fits", out=parts)
    search(table, "12000fits", out=parts)
    assert events(parts) == events(whole)
    assert law_bytes(parts) == law_bytes(whole)


@pytest.mark.slow
def test_a_partially_pooled_law_goes_all_the_way(tmp_path: Path) -> None:
    import sld

    table = noisy(0.1, noise=0.06, n_rows=9)
    found = sld.discover(table, budget="3000fits", workers=1, out=tmp_path / "run", formulas=[FORM], proposers=[])
    prior = found.law.settings["y"].prior
    assert prior is not None and prior.constants == ("a",)
    assert "pulled together" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    again = sld.Law.load(tmp_path / "run" / "law.json")
    predicted = sld.predict(again, {"N": [1e5, 1e5], "g": ["g00", "g11"]})
    assert np.all(predicted["y_low"] < predicted["y"])
    assert np.all(predicted["y"] < predicted["y_high"])
