"""What a search has to show: beating the published laws, and turns that rows show."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from candidates import rejudged
from searches import chinchilla, search, two_scales

from sld.data.scoring import scores
from sld.data.splits import rung_folds
from sld.data.table import Table, table_from
from sld.fit.kernel import Array
from sld.search.candidates.candidate import Candidate
from sld.search.choosing.consensus import Consensus
from sld.search.choosing.evidence import WON, advantage, in_standard_errors, published_laws, turn_not_shown
from sld.search.choosing.explanation import explanation
from sld.search.choosing.finalists import Finalists
from sld.search.judging.judge import Judge
from sld.search.proposing.proposers import from_texts

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"
CHINCHILLA = "E + A*N**-a + B*D**-b"
SATURATED = "E + A*exp(-(N/K)**a) + B*D**-b"
PARABOLA = "E + A*(log(N) - m)**2 + B*D**-b"


def isoflops(noise: float = 0.003, seed: int = 0, odd: float = 0.0) -> Table:
    """Four budgets, thirteen sizes each; the three largest models of the largest budget are worse by `odd`."""
    rng = np.random.default_rng(seed)
    N, D = [], []
    for budget in (6e18, 2e19, 6e19, 2e20):
        n = np.sqrt(budget / 120) * np.geomspace(0.25, 4, 13)
        N += [*n]
        D += [*(budget / 6 / n)]
    n, d = np.array(N), np.array(D)
    loss = chinchilla(n, d) * (1 + noise * rng.normal(size=len(n)))
    loss[-3:] += odd
    return table_from({"N": n, "D": d, "loss": loss}, target="loss", scale=["N", "D"])


def judged(table: Table, *forms: str, origin: str = "user") -> tuple[Judge, list[Candidate]]:
    judge = Judge(table, rung_folds(table), seed=0, max_constants=9)
    return judge, [judge.judge(replace(p, thorough=True))[0] for p in from_texts(table, forms, origin)]


def curve(y: Array, N: Array) -> Table:
    return table_from({"N": N, "loss": y}, target="loss", scale="N")


def test_laws_of_parameters_and_tokens_are_known_and_those_of_nameless_columns_are_not() -> None:
    known = published_laws(isoflops())
    assert sum(mismatch == 0.0 for mismatch in known.values()) >= 5
    nameless = table_from({"u": [1.0, 2, 4], "v": [1.0, 3, 9], "y": [3.0, 2, 1]}, target="y", scale=["u", "v"])
    assert not published_laws(nameless)


def test_one_variable_shows_its_own_curve() -> None:
    N = np.geomspace(1e6, 1e9, 12)
    assert not published_laws(curve(2 + 100 * N**-0.3, N))


def test_a_form_that_is_right_wins_and_one_that_is_wrong_does_not() -> None:
    table = isoflops(noise=0.001)
    judge, (right, wrong) = judged(table, CHINCHILLA, "E + A*N**-a")
    assert advantage(judge.context, 0, [right], [wrong]) > WON
    assert advantage(judge.context, 0, [wrong], [right]) < -WON


@pytest.mark.parametrize("odd", [0.01, 1.0, 1e6])
def test_a_few_odd_rows_are_no_win_however_odd_they_are(odd: float) -> None:
    gain = np.zeros(17)
    gain[-3:] = odd
    assert 1.0 < in_standard_errors(gain, np.arange(17)) < 2.5 < WON
    # as many rows again of the same kind are one
    assert in_standard_errors(np.full(40, odd), np.zeros(40, dtype=np.intp)) == 0.0
    assert in_standard_errors(gain[:0], np.arange(0)) == 0.0


def test_equal_forms_differ_by_nothing() -> None:
    judge, (law,) = judged(isoflops(), CHINCHILLA)
    assert advantage(judge.context, 0, [law], [law]) == 0.0


def test_checkpoints_of_one_run_count_as_one() -> None:
    table = isoflops(noise=0.001)
    judge, (right, wrong) = judged(table, CHINCHILLA, "E + A*N**-a")
    one_run = np.arange(table.n_rows) // 13
    of_runs = replace(table, runs=("a", "b", "c", "d"), run_index=one_run, run_column="run")
    runs = Judge(of_runs, judge.folds, seed=0, max_constants=9)
    assert abs(advantage(runs.context, 0, [right], [wrong])) < advantage(judge.context, 0, [right], [wrong])


@pytest.mark.parametrize(
    ("text", "shown"),
    [("E + A*(log(N) - m)**2", True), ("E + A*N**-a + B*N**b", True), ("E + A*N**-a", True)],
)
def test_a_valley_that_rows_lie_in_is_shown(text: str, shown: bool) -> None:
    N = np.geomspace(1e3, 1e7, 40)
    y = 1 + 0.05 * (np.log(N) - np.log(1e5)) ** 2 + 0.01 * np.random.default_rng(0).normal(size=40)
    judge, (law,) = judged(curve(y, N), text)
    assert turn_not_shown(judge.context, 0, law) is not shown


def test_a_turn_beyond_the_data_is_not_shown() -> None:
    N = np.geomspace(1e3, 1e4, 24)
    y = (0.5 + 300 * N**-0.5) * (1 + 0.03 * np.random.default_rng(0).normal(size=24))
    judge, (parabola, power) = judged(curve(y, N), "E + k*(log(N) - m)**2", "E + A*N**-a")
    assert turn_not_shown(judge.context, 0, parabola)
    assert not turn_not_shown(judge.context, 0, power)


def test_a_turn_within_the_data_that_one_row_speaks_for_is_not_shown() -> None:
    # the last run is worse: a law that bends to meet it has one row past its turn
    N = np.geomspace(1e3, 1e6, 20)
    y = 1 + 30 * N**-0.5
    y[-1] += 0.3
    judge, (law,) = judged(curve(y, N), "E + A*N**-a + B*(N/1000000)**b")
    assert law.constants["loss"]["all"]["b"] > 1
    assert turn_not_shown(judge.context, 0, law)


def test_a_declared_direction_is_another_matter() -> None:
    N = np.geomspace(1e3, 1e4, 24)
    table = table_from({"N": N, "loss": 0.5 + 300 * N**-0.5}, target="loss", scale="N", monotone={"N": "decreasing"})
    judge, (parabola,) = judged(table, "E + k*(log(N) - m)**2")
    assert not turn_not_shown(judge.context, 0, parabola)


def test_what_is_known_speaks_alone_until_the_search_has_won() -> None:
    judge, candidates = judged(isoflops(), CHINCHILLA, SATURATED, "E + A*N**-a/D**b", "E + (A*N**-a + B*D**-b)**g")
    law, *others = candidates
    published = (replace(law, origin="catalogue:chinchilla"),)
    lucky = tuple(rejudged(c, score=law.score - 1.0) for c in others)
    alone = Consensus.of(judge.context, Finalists(lucky, lucky, published), 0)
    assert alone is not None and [m.key for m in alone.members] == [law.key]
    # a published law that is wrong is beaten, and then all have a say
    judge, (wrong, *right) = judged(isoflops(noise=0.001), "E + A*N**-a", CHINCHILLA, "E + (A*N**-a + B*D**-b)**g",
                                    "E + A*N**-a + B*D**-b + C*N**-c*D**-d")  # fmt: skip
    both = Consensus.of(judge.context, Finalists(tuple(right), tuple(right), (rejudged(wrong, score=-2.0),)), 0)
    assert both is not None and wrong.key not in {m.key for m in both.members}


def test_published_laws_that_explain_nothing_are_not_what_is_known() -> None:
    judge, candidates = judged(isoflops(), CHINCHILLA, SATURATED, "E + (A*N**-a + B*D**-b)**g")
    useless = replace(rejudged(candidates[0], score=-0.3), key="?")
    found = Consensus.of(judge.context, Finalists(tuple(candidates), tuple(candidates), (useless,)), 0)
    assert found is not None and "?" not in {m.key for m in found.members}


def test_a_law_read_with_other_quantities_weighs_less() -> None:
    judge, candidates = judged(isoflops(), CHINCHILLA, "E + (A*N**-a + B*D**-b)**g", "E + A*N**-a + B*D**-a")
    published = tuple(rejudged(c, score=-5.0) for c in candidates)
    misread = {published[0].key: 2.0}
    found = Consensus.of(judge.context, Finalists(published, published, published, misread), 0)
    assert found is not None
    weight = {m.key: w for m, w in zip(found.members, found.weights, strict=True)}
    assert weight[published[0].key] == pytest.approx(np.exp(-1.0) * weight[published[1].key])


def test_an_account_of_a_turning_form_is_never_claimed() -> None:
    # a narrow range of sizes: a parabola is as good an account as a power law
    N = np.geomspace(1e3, 1e4, 30)
    y = (0.5 + 300 * N**-0.5) * (1 + 0.02 * np.random.default_rng(1).normal(size=30))
    judge, (parabola,) = judged(curve(y, N), "E + k*(log(N) - m)**2", origin="catalogue:x")
    assert explanation(judge.context, [parabola], 0) is None


def test_an_unpublished_account_has_to_beat_the_published_laws() -> None:
    judge, (law, same) = judged(isoflops(), CHINCHILLA, "E + A*N**-a + B*D**-b + 0*N", origin="enumeration")
    assert explanation(judge.context, [law], 0) is not None
    assert explanation(judge.context, [law], 0, published=[same]) is None
    named = replace(law, origin="catalogue:chinchilla")
    assert explanation(judge.context, [named], 0, published=[same]) is not None


@pytest.mark.slow
def test_more_search_does_not_end_in_a_law_that_turns() -> None:
    table = isoflops(odd=0.02)
    for budget in ("2000fits", "12000fits"):
        law = search(table, budget).law
        N = np.geomspace(1e9, 3e10, 30)
        low, high = (law.predict({"N": N, "D": np.full(30, d)})[:, 0] for d in (2e10, 1e11))
        assert (np.diff(low) < 1e-9).all() and (np.diff(high) < 1e-9).all()
        assert low[0] > high[0]


@pytest.mark.slow
@pytest.mark.skipif(not CASES.is_dir(), reason="the third-party cases are not here")
@pytest.mark.parametrize("budget", ["2000fits", "20000fits"])
def test_curves_of_llama_3_are_predicted_six_times_beyond(budget: str) -> None:
    with open(CASES / "llama3_isoflops.csv", encoding="utf-8") as stream:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]
    low, high = (
        table_from(
            {k: [r[k] for r in part] for k in ("params", "tokens", "loss")}, target="loss", scale=["params", "tokens"]
        )
        for part in ([r for r in rows if r["budget"] < 2e20], [r for r in rows if r["budget"] > 5e20])
    )
    found = search(low, budget)
    assert scores(high.Y, found.law.predict(high)).r2 >= 0.75
    assert not any("down to the noise" in note for note in found.notes)


@pytest.mark.slow
def test_two_scales_are_known_territory_and_still_explained() -> None:
    found = search(two_scales(0.01, 8, 8), "2000fits")
    assert found.config["rule"] == "shortest_account"
