"""Selection: what scores mean, and how one candidate is chosen."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from sld.core.card import Target, Variable
from sld.core.expression import parse
from sld.core.table import Table
from sld.search.admissible import Problem
from sld.search.candidate import Candidate
from sld.search.selection import (
    FAILED_FOLD,
    RULES,
    best_admissible,
    fold_score,
    is_exact,
    noise_floor,
    one_standard_error,
    rank,
)


def candidate(key: str, score: float, *, admissible: bool = True, status: str = "ok", complexity: int = 5) -> Candidate:
    return Candidate(
        expressions={"y": parse("E + A*x", ["x"])},
        key=key,
        origin="test",
        complexity=complexity,
        n_constants=2,
        score=score,
        fold_errors=(0.1, 0.2),
        admissible=admissible,
        status=status,
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


def test_halving_the_error_counts_the_same_on_an_easy_fold_and_on_a_hard_one() -> None:
    base = fold_score([1e-4, 1e-1], 0.0, 3, 10)
    assert fold_score([5e-5, 1e-1], 0.0, 3, 10) - base == pytest.approx(
        fold_score([1e-4, 5e-2], 0.0, 3, 10) - base, rel=1e-3
    )


def test_constants_nodes_and_problems_have_a_price() -> None:
    base = fold_score([0.1, 0.2], 0.0, 3, 10)
    assert fold_score([0.1, 0.2], 0.0, 4, 10) > base
    assert fold_score([0.1, 0.2], 0.0, 3, 11) > base
    assert fold_score([0.1, 0.2], 0.0, 3, 10, [Problem("not finite at N = 1", 2.0)]) > base
    # a constant that takes a tenth off every error is worth it
    assert fold_score([0.09, 0.18], 0.0, 4, 12) < base


def test_a_failed_fold_counts_as_a_very_bad_one_not_as_infinity() -> None:
    failed = fold_score([0.1, math.nan], 0.0, 3, 10)
    assert failed == fold_score([0.1, FAILED_FOLD], 0.0, 3, 10)
    assert failed == fold_score([0.1, math.inf], 0.0, 3, 10)
    assert failed == fold_score([0.1, 1e300], 0.0, 3, 10)
    assert math.isfinite(fold_score([math.nan, math.nan], 0.0, 3, 10))


def test_differences_below_the_noise_hardly_count() -> None:
    quiet = fold_score([1e-4], 0.0, 3, 10) - fold_score([1e-6], 0.0, 3, 10)
    noisy = fold_score([1e-4], 1e-2, 3, 10) - fold_score([1e-6], 1e-2, 3, 10)
    assert noisy < 0.05 < 1 < quiet


def test_perfect_folds_have_a_finite_score() -> None:
    assert math.isfinite(fold_score([0.0, 0.0], 0.0, 3, 10))


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
    score = fold_score(errors, 0.0, n_constants, 10)
    return replace(candidate(key, score, admissible=admissible), fold_errors=errors, n_constants=n_constants)


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
    found = with_folds(key, EXACT, n_constants, admissible=admissible)
    return replace(found, complexity=complexity, train_nmse=1e-31)


def test_among_exact_laws_the_one_with_fewest_constants_is_chosen() -> None:
    # b**k - 1 against E - A*exp(-g*k): long to write, but nothing in it is free
    law, general = exact("law", 2, 27), exact("general", 3, 9)
    near = replace(with_folds("near", (1e-10, 1e-10, 1e-10), 1), train_nmse=1e-10)
    assert one_standard_error([near, general, law]) is law


def test_an_exact_law_passes_whatever_a_check_says() -> None:
    law = exact("law", 4, 10, admissible=False)
    tame = replace(with_folds("tame", (1e-4, 1e-4, 1e-4), 3), train_nmse=1e-5)
    assert is_exact(law)
    assert not is_exact(tame)
    assert one_standard_error([tame, law]) is law
    assert rank([tame, law]) == [law, tame]


def test_a_law_that_is_exact_on_the_folds_alone_is_not_exact() -> None:
    # a flat top rung is met to the last digit by anything that saturates
    assert not is_exact(replace(exact("flat", 2, 5), train_nmse=1e-3))
    assert not is_exact(replace(exact("failed", 2, 5), fold_errors=(1e-30, math.nan)))
    assert not is_exact(replace(exact("unjudged", 2, 5), fold_errors=()))


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
