"""What a model has earned decides what it may spend."""

from __future__ import annotations

from dataclasses import replace

import pytest
from candidates import candidate as made_up

from sld.search.candidates.candidate import Candidate
from sld.search.llm.credit import CAP, FLOOR, WELCOME, Credit


def candidate(score: float, origin: str = "evolution", complexity: int = 5, status: str = "ok") -> Candidate:
    return replace(made_up("k", score, complexity, status=status), origin=origin)


def after(*noted: tuple[Candidate, int]) -> Credit:
    credit = Credit()
    for c, n_fits in noted:
        credit.note(c, n_fits, charged=c.of_model)
    return credit


ENGINE = [(candidate(-1.0 - k / 100), 30) for k in range(50)]


def test_a_new_model_may_have_a_few_formulas_judged_before_anything_is_known() -> None:
    assert Credit().affords == WELCOME and Credit().share == FLOOR


@pytest.mark.slow
def test_a_model_that_earns_nothing_keeps_the_floor_and_its_fits_stay_within_it() -> None:
    credit = after(*ENGINE)
    spent = 0
    for _ in range(20_000):
        if credit.affords:
            credit.note(candidate(5.0, "llm:m"), 30, charged=True)
            spent += 1
        credit.note(candidate(5.0), 30, charged=False)
    assert credit.share == FLOOR
    assert credit.fits[1] / sum(credit.fits) == pytest.approx(FLOOR, abs=0.002)
    assert spent > WELCOME


def test_a_model_that_finds_the_best_laws_gets_a_large_share() -> None:
    credit = after(*ENGINE, *[(candidate(-3.0 - k / 5, "llm:m"), 30) for k in range(5)])
    assert 0.3 < credit.share <= CAP


def test_old_merits_fade_when_nothing_follows() -> None:
    credit = after(*ENGINE, (candidate(-9.0, "llm:m"), 30))
    high = credit.share
    for k in range(200):
        credit.note(candidate(0.0, "llm:m"), 300, charged=True)
        credit.note(candidate(-9.0 - (k + 1) / 100), 300, charged=False)
    assert credit.share < 0.2 * high


def test_a_model_that_led_once_loses_its_share_to_an_engine_that_catches_up() -> None:
    credit = after(*ENGINE, (candidate(-9.0, "llm:m"), 30))
    high = credit.share
    for k in range(200):
        credit.note(candidate(0.0, "llm:m"), 300, charged=True)
        credit.note(candidate(-2.0 - k / 50), 300, charged=False)  # still behind the model
    assert credit.bests[0] == 49
    assert credit.share < 0.1 * high


@pytest.mark.parametrize("status", ["far behind the best", "not finite on the data"])
def test_failures_earn_nothing(status: str) -> None:
    assert after(*ENGINE, (candidate(-99.0, "llm:m", status=status), 30)).gains[1] == 0


def test_one_candidate_earns_a_bounded_amount_and_the_best_of_its_size_a_little() -> None:
    assert after(*ENGINE, (candidate(-1e9, "llm:m"), 30)).gains[1] == 1.0
    assert 0 < after(*ENGINE, (candidate(-0.5, "llm:m", complexity=2), 30)).gains[1] < 0.1


def test_descendants_count_as_the_models() -> None:
    child = replace(candidate(-5.0), lineage=("llm:m: E + A*N**-a",))
    assert after(*ENGINE, (child, 30)).bests == [49, 1]


def test_the_same_candidates_give_the_same_account() -> None:
    noted = [*ENGINE, (candidate(-4.0, "llm:m"), 30), *ENGINE]
    assert after(*noted) == after(*noted)
