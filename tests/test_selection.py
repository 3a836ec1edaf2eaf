"""Selection: what scores mean, and how one candidate is chosen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from candidates import candidate, rejudged

from sld.data.card import Target, Variable
from sld.data.table import Table
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.selection import (
    FAILED_FOLD,
    RULES,
    bar,
    best_admissible,
    distinct,
    early_score,
    fold_score,
    is_exact,
    noise_floor,
    one_standard_error,
    price,
    rank,
)


def repeated(sd: float, n_points: int = 200, times: int = 3, groups: bool = False) -> Table:
    rng = np.random.default_rng(0)
    x = np.repeat(np.geomspace(1, 1000, n_points), times)
    y = np.log(x) + rng.normal(0, sd, len(x))
    index = np.tile([0, 1], len(x))[: len(x)] if groups else np.zeros(len(x), dtype=np.intp)
    names = ("a", "b") if groups else ("all",)
    return Table((Variable("N"),), (Target("y"), Target("z")), x[:, None], np.column_stack([y, 5 * y]), names, index)


def test_no_noise_floor_without_repeats() -> None:
    x = np.arange(1.0, 9.0)
    assert noise_floor(Table((Variable("N"),), (Target("y"),), x[:, None], x[:, None])) is None


def test_noise_floor_is_the_planted_noise() -> None:
    table = repeated(0.1)
    noise = noise_floor(table)
    assert noise is not None
    assert noise["nmse"] == pytest.approx(0.01 / np.var(table.Y[:, 0]), rel=0.1)
    assert noise["relative_sd"] == pytest.approx(0.1 / np.abs(table.Y[:, 0]).mean(), rel=0.1)
    assert noise["n_points"] == 200


def test_noise_floor_is_the_targets_own() -> None:
    one, other = noise_floor(repeated(0.1), 0), noise_floor(repeated(0.1), 1)
    assert one is not None
    assert other is not None
    # five times the values: the same noise relative to the spread
    assert one["nmse"] == pytest.approx(other["nmse"])


def test_points_of_different_groups_are_no_repeats() -> None:
    assert noise_floor(repeated(0.1, times=2, groups=True)) is None
    assert noise_floor(repeated(0.1, times=4, groups=True)) is not None


def test_exact_copies_have_no_noise() -> None:
    noise = noise_floor(repeated(0.0))
    assert noise is not None
    assert noise["nmse"] == pytest.approx(0.0, abs=1e-12)


def score_of(
    errors: Sequence[float], *, noise: float = 0.0, n_constants: int = 3, complexity: int = 10, rows: int = 1000,
    train_nmse: float = 1e-6, n_points: int = 100, n_problems: int = 0,
) -> float:  # fmt: skip
    return fold_score(errors, [rows] * len(errors), train_nmse, noise, n_constants, complexity, n_points, n_problems)


def test_halving_the_error_counts_the_same_on_an_easy_fold_and_on_a_hard_one() -> None:
    base = score_of([1e-4, 1e-1])
    assert score_of([5e-5, 1e-1]) - base == pytest.approx(score_of([1e-4, 5e-2]) - base, rel=1e-3)


def test_constants_nodes_and_problems_have_a_price() -> None:
    base = score_of([0.1, 0.2])
    assert score_of([0.1, 0.2], n_constants=4) > base
    assert score_of([0.1, 0.2], complexity=11) > base
    assert score_of([0.1, 0.2], n_problems=1) > base
    # a constant that takes a tenth off every error is worth it
    assert score_of([0.09, 0.18], n_constants=4, complexity=12) < base


def test_a_constant_costs_less_the_more_points_there_are() -> None:
    prices = [price(1, 0, n) for n in (8, 30, 100, 1000, 10000)]
    assert prices == sorted(prices, reverse=True)
    assert prices[2] == pytest.approx(math.log(100) / 100)
    assert price(1, 0, 3) == price(1, 0, 8)
    assert price(2, 10, 100) == pytest.approx(3 * price(1, 0, 100))


def test_luck_on_a_few_rows_counts_for_little() -> None:
    few, many = [fold_score([1e-9], [rows], 0.01, 0.0, 3, 10, 100) for rows in (4, 4000)]
    assert many < few - 5
    assert few == pytest.approx(fold_score([0.005], [10**9], 0.01, 0.0, 3, 10, 100), rel=1e-6)


def test_a_failed_fold_counts_as_a_very_bad_one_not_as_infinity() -> None:
    failed = score_of([0.1, math.nan])
    assert failed == score_of([0.1, FAILED_FOLD])
    assert failed == score_of([0.1, math.inf])
    assert failed == score_of([0.1, 1e300])
    assert math.isfinite(score_of([math.nan, math.nan]))


def test_differences_below_the_noise_hardly_count() -> None:
    quiet = score_of([1e-4]) - score_of([1e-6])
    noisy = score_of([1e-4], noise=1e-2) - score_of([1e-6], noise=1e-2)
    assert noisy < 0.05 < 1 < quiet


def test_perfect_folds_have_a_finite_score() -> None:
    assert math.isfinite(score_of([0.0, 0.0], train_nmse=0.0))


def test_rank_puts_admissible_candidates_first_and_leaves_failures_out() -> None:
    good, better, wild = candidate("good", -1.0), candidate("better", -2.0), candidate("wild", -9.0, admissible=False)
    failed = candidate("failed", -99.0, status="explains nothing")
    unscored = candidate("unscored", math.inf)
    lost = candidate("lost", math.nan)
    for order in itertools.permutations([good, better, wild, failed, unscored, lost]):
        assert rank(order) == [better, good, wild]


def test_ties_go_to_the_simpler_then_to_the_first_key() -> None:
    a, b, c = candidate("a", -1.0), candidate("b", -1.0), candidate("c", -1.0, complexity=3)
    for order in itertools.permutations([a, b, c]):
        assert [x.key for x in rank(order)] == ["c", "a", "b"]


def test_best_admissible_falls_back_to_the_best_of_all() -> None:
    wild, wilder = candidate("wild", -1.0, admissible=False), candidate("wilder", -2.0, admissible=False)
    assert best_admissible([wild, wilder]) is wilder
    tame = candidate("tame", 3.0)
    assert best_admissible([wild, wilder, tame]) is tame


def with_folds(key: str, errors: tuple[float, ...], n_constants: int, *, admissible: bool = True) -> Candidate:
    score = score_of(errors, n_constants=n_constants)
    return candidate(key, score, n_constants=n_constants, fold_errors=errors, admissible=admissible)


def test_the_simplest_of_equals_is_chosen() -> None:
    # a little better on the whole, but not on every fold: luck
    long = with_folds("long", (0.010, 0.020, 0.010, 0.02), 7)
    short = with_folds("short", (0.011, 0.019, 0.012, 0.02), 4)
    assert one_standard_error([long, short]) is short


def test_a_steady_gain_is_worth_its_constants() -> None:
    long = with_folds("long", (0.010, 0.020, 0.010, 0.02), 7)
    short = with_folds("short", (0.020, 0.041, 0.019, 0.04), 4)
    assert one_standard_error([long, short]) is long


def test_folds_that_disagree_wildly_excuse_only_so_much() -> None:
    # on average far worse, with a spread that would cover anything
    long = with_folds("long", (0.01, 0.01, 0.01, 0.01), 7)
    short = with_folds("short", (1.0, 0.0001, 10.0, 0.01), 4)
    assert one_standard_error([long, short]) is long


def test_simplicity_does_not_outweigh_a_failed_check() -> None:
    long = with_folds("long", (0.01, 0.01), 7)
    wild = with_folds("wild", (0.01, 0.01), 2, admissible=False)
    assert one_standard_error([wild, long]) is long


def test_failed_folds_do_not_confuse_the_choice() -> None:
    sound = with_folds("sound", (0.01, 0.02, 0.01), 6)
    failed = with_folds("failed", (0.01, math.nan, 0.01), 3)
    assert one_standard_error([sound, failed]) is sound
    assert one_standard_error([failed]) is failed


def test_one_fold_is_enough_to_choose() -> None:
    better, worse = with_folds("better", (0.01,), 6), with_folds("worse", (0.02,), 3)
    assert one_standard_error([better, worse]) is better


EXACT = (1e-30, 3e-31, 1e-29)


def exact(key: str, n_constants: int, complexity: int, *, admissible: bool = True) -> Candidate:
    score = score_of(EXACT, n_constants=n_constants)
    return candidate(
        key, score, complexity, n_constants=n_constants, fold_errors=EXACT, train_nmse=1e-31, admissible=admissible
    )


def test_among_exact_laws_the_one_with_fewest_constants_is_chosen() -> None:
    # b**k - 1 against E - A*exp(-g*k): long to write, but nothing in it is free
    law, general = exact("law", 2, 27), exact("general", 3, 9)
    near = rejudged(with_folds("near", (1e-10, 1e-10, 1e-10), 1), train_nmse=1e-10)
    assert one_standard_error([near, general, law]) is law


def test_an_exact_law_passes_whatever_a_check_says() -> None:
    law = exact("law", 4, 10, admissible=False)
    tame = rejudged(with_folds("tame", (1e-4, 1e-4, 1e-4), 3), train_nmse=1e-5)
    assert is_exact(law)
    assert not is_exact(tame)
    assert one_standard_error([tame, law]) is law
    assert rank([tame, law]) == [law, tame]


def test_a_law_that_is_exact_on_the_folds_alone_is_not_exact() -> None:
    # a flat top rung is met to the last digit by anything that saturates
    assert not is_exact(rejudged(exact("flat", 2, 5), train_nmse=1e-3))
    assert not is_exact(rejudged(exact("failed", 2, 5), fold_errors=(1e-30, math.nan, math.nan)))
    assert not is_exact(rejudged(exact("unjudged", 2, 5), fold_errors=()))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_chooses_a_usable_candidate_or_none(rule: str) -> None:
    pool = [candidate(str(i), -i / 10, complexity=i + 1, admissible=i % 3 > 0) for i in range(12)]
    chosen = RULES[rule](pool)
    assert chosen in pool
    assert chosen is not None
    assert chosen.admissible
    assert RULES[rule]([]) is None
    assert RULES[rule]([candidate("failed", 0.0, status="explains nothing")]) is None


@pytest.mark.parametrize("rule", RULES)
def test_the_choice_does_not_depend_on_the_order_of_discovery(rule: str) -> None:
    pool = [candidate(str(i), -((i * 7) % 5) / 10, complexity=5 + i % 3, admissible=i % 2 > 0) for i in range(6)]
    assert len({id(RULES[rule](order)) for order in itertools.permutations(pool)}) == 1


def test_of_forms_that_do_the_same_on_every_fold_the_simplest_stays() -> None:
    long = rejudged(candidate("long", -1.0, complexity=9), fold_errors=(0.1, 0.01))
    short = rejudged(candidate("short", -0.9, complexity=5), fold_errors=(0.1, 0.01))
    other = rejudged(candidate("other", -0.8), fold_errors=(0.5, 0.01))
    assert distinct([long, short, other], 10) == [short, other]
    assert distinct([long, short, other], 1) == [short]


def test_failed_folds_are_no_trouble_to_tell_apart() -> None:
    failed = rejudged(candidate("failed", 0.0), fold_errors=(math.nan, 0.0))
    assert distinct([failed], 5) == [failed]


def test_the_bar_is_the_worst_early_score_of_those_that_count() -> None:
    pool = [rejudged(candidate(str(i), float(i)), fold_errors=(10.0**-i,) * 5) for i in range(6)]
    assert bar(pool, 7, 100) == math.inf
    assert bar(pool, 3, 100) == early_score(pool[0].fold_errors, 2, 5, 100)
    assert bar(pool[3:], 2, 100) == early_score(pool[3].fold_errors, 2, 5, 100)
    few = [rejudged(c, fold_errors=c.fold_errors[:3]) for c in pool]
    assert bar(few, 3, 100) == math.inf


def test_the_early_score_sees_the_first_folds_only() -> None:
    assert early_score((0.1, 0.1, 0.1, 9.0), 2, 5, 100) == early_score((0.1, 0.1, 0.1), 2, 5, 100)
    assert early_score((0.1, 0.1, math.nan), 2, 5, 100) > early_score((0.1, 0.1, 0.2), 2, 5, 100)
