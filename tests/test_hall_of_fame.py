"""Hall of fame: the best, the best of each complexity, and the front between them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from candidates import candidate, formula, rejudged

from sld.search.candidates.candidate import Candidate
from sld.search.candidates.hall_of_fame import HallOfFame


def many(n: int, seed: int = 0) -> list[Candidate]:
    rng = random.Random(seed)
    return [candidate(f"k{i}", rng.gauss(0, 3), rng.randrange(3, 40), admissible=rng.random() < 0.7) for i in range(n)]


def filled(candidates: list[Candidate], size: int = 200) -> HallOfFame:
    hall = HallOfFame(size)
    for c in candidates:
        hall.add(c)
    return hall


def test_an_empty_hall_has_nobody() -> None:
    hall = HallOfFame()
    assert hall.best is None
    assert hall.ranked() == ()
    assert hall.front() == ()


def test_failed_candidates_are_never_ranked() -> None:
    hall = HallOfFame()
    assert not hall.add(candidate("failed", -99.0, status="explains nothing"))
    assert hall.best is None
    assert hall.ranked() == ()


def test_add_says_when_there_is_a_new_best() -> None:
    hall = HallOfFame()
    assert hall.add(candidate("first", 0.0))
    assert not hall.add(candidate("worse", 1.0))
    assert hall.add(candidate("better", -1.0, 9))
    assert not hall.add(candidate("wild", -5.0, admissible=False))
    assert hall.best is not None and hall.best.key == candidate("better", -1.0, 9).key


def test_an_admissible_candidate_replaces_a_better_wild_one() -> None:
    hall = HallOfFame()
    hall.add(candidate("wild", -5.0, admissible=False))
    assert hall.add(candidate("tame", 0.0))
    assert hall.best is not None
    assert hall.best.key == "tame"


def test_ranked_is_best_first_whatever_the_order_of_arrival() -> None:
    pool = many(60)
    wanted = [c.key for c in sorted(pool, key=lambda c: (not c.admissible, c.score))]
    for seed in range(3):
        random.Random(seed).shuffle(pool)
        assert [c.key for c in filled(pool).ranked()] == wanted
    assert [c.key for c in filled(pool).ranked(5)] == wanted[:5]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 5, 20])
def test_a_small_hall_keeps_the_best_and_the_whole_front(size: int) -> None:
    pool = many(500, seed=size)
    small, large = filled(pool, size), filled(pool, 10_000)
    assert small.ranked(1) == large.ranked(1)
    assert small.best == large.best
    assert small.front() == large.front()
    assert len(small.ranked()) <= size


def test_the_front_gets_better_as_it_gets_longer() -> None:
    pool = many(300)
    front = filled(pool).front()
    assert [c.complexity for c in front] == sorted({c.complexity for c in front})
    assert [c.score for c in front] == sorted((c.score for c in front), reverse=True)
    admissible = [c for c in pool if c.admissible]
    for c in front:
        assert c.admissible
        assert not any(o.complexity <= c.complexity and o.score < c.score for o in admissible)
    assert front[-1].score == min(c.score for c in admissible)
    assert front[0].complexity == min(c.complexity for c in admissible)


def test_a_front_of_wild_candidates_is_better_than_none() -> None:
    hall = filled([candidate("a", 0.0, 5, admissible=False), candidate("b", -1.0, 9, admissible=False)])
    assert [c.key for c in hall.front()] == ["a", "b"]
    hall.add(candidate("tame", 3.0, 7))
    assert [c.key for c in hall.front()] == ["tame"]


def test_a_wild_candidate_does_not_push_a_tame_one_of_its_complexity_off_the_front() -> None:
    hall = filled([candidate("tame", 0.0, 5), candidate("wild", -9.0, 5, admissible=False)])
    assert [c.key for c in hall.front()] == ["tame"]


def test_what_nobody_bred_is_kept_apart() -> None:
    bred = [replace(candidate(f"b{i}", -10.0 - i), origin="evolution", island=i % 2) for i in range(50)]
    plain = [candidate(f"p{i}", float(i)) for i in range(5)]
    hall = filled([*bred, *plain], size=10)
    assert [c.key for c in hall.static()] == ["p0", "p1", "p2", "p3", "p4"]
    assert not any(c.static for c in hall.ranked())


def test_an_island_has_its_own_children_and_what_nobody_bred() -> None:
    bred = [replace(candidate(f"b{i}", -float(i)), origin="evolution", island=i % 3) for i in range(9)]
    hall = filled([*bred, candidate("plain", -4.5)])
    assert [c.key for c in hall.island(1)] == ["b7", "plain", "b4", "b1"]
    assert [c.key for c in hall.island(7)] == ["plain"]


def test_a_candidate_of_several_targets_is_the_mean_of_its_judgements() -> None:
    one, other = candidate("a", -2.0, fold_errors=(0.1, 1e308)), candidate("b", -1.0, fold_errors=(0.3, 1e308))
    both = replace(one, expressions={"x": formula(), "y": formula(9, 4)}, judgements=one.judgements + other.judgements)
    assert (both.score, both.complexity, both.n_constants) == (-1.5, 7, 4)
    assert both.fold_errors == (0.2, float("inf"))
    failing = replace(
        both, judgements=(*one.judgements, rejudged(other, admissible=False, reasons=("bad",)).judgements[0])
    )
    assert not failing.admissible and failing.reasons == ("bad",)
    unjudged = candidate("c", 0.0, status="explains nothing")
    assert not unjudged.ok and unjudged.score == float("inf") and unjudged.fold_errors == ()
