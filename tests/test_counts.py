"""Counts, not means: pass@k, rates down to 1e-4, verifiers that err, how many samples pay."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from commands import Run

import sld
from sld.analysis.curves.counts import (
    Ceiling,
    Difficulty,
    best_samples,
    fit_difficulty,
    fit_rate,
    monkeys,
    pass_at_k,
    rate_interval,
)
from sld.core.errors import UsageError


def test_pass_at_k_is_the_share_of_all_draws_that_hold_a_right_one() -> None:
    right = [True, True, False, False, False]
    for k in range(1, 6):
        draws = [any(d) for d in combinations(right, k)]
        assert pass_at_k(2, 5, k)[0] == pytest.approx(np.mean(draws))


def test_pass_at_k_is_unbiased_where_putting_in_the_rate_is_not() -> None:
    """1 - (1 - c/n)^k falls short of 1 - (1 - p)^k on average (arXiv:2107.03374, appendix A)."""
    rng = np.random.default_rng(0)
    solved = rng.binomial(20, 0.1, 40000)
    true = 1 - 0.9**10
    assert pass_at_k(solved, 20, 10).mean() == pytest.approx(true, abs=0.005)
    assert (1 - (1 - solved / 20) ** 10).mean() < true - 0.05


@pytest.mark.parametrize(
    ("solved", "tried", "k", "message"),
    [
        ([1, 2], [5, 4], 5, "needs at least 5 samples"),
        ([6], [5], 1, "0 <= solved <= tried"),
        ([1.5], [5], 1, "whole numbers"),
        ([1], [5], 0, "k must be a whole number"),
    ],
)
def test_counts_that_cannot_be_are_refused(solved: list[float], tried: list[float], k: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pass_at_k(solved, tried, k)


def test_two_published_points_of_repeated_sampling_give_their_power() -> None:
    """15.9 % at k = 1 and 56 % at k = 250 (arXiv:2407.21787, abstract)."""
    assert monkeys((0.159, 0.56), (1, 250)) == pytest.approx((-1.839, -0.209), abs=5e-4)


def test_a_verifier_that_accepts_wrong_answers_sets_a_ceiling() -> None:
    """p/(p + (1 - p) f) = 0.811 for p = 0.3, f = 0.1 (catalogue: inference_flaws)."""
    ceiling = Ceiling(0.3, 0.1)
    assert ceiling.limit == pytest.approx(0.811, abs=5e-4)
    k = np.array([1.0, 5.0, 1e6])
    assert ceiling.right(k) == pytest.approx([0.3, ceiling.limit * (1 - 0.63**5), ceiling.limit])
    assert ceiling.right(k) + ceiling.wrong(k) == pytest.approx(1 - 0.63**k)
    assert Ceiling(0.3, 0.0).limit == 1


def test_costs_of_wrong_answers_end_the_sampling_sooner() -> None:
    rates = np.array([0.6, 0.3, 0.01, 0.0])
    free = best_samples(rates, sample_cost=1e-4, false_positive=0.2)
    dear = best_samples(rates, sample_cost=1e-4, false_positive=0.2, wrong_cost=1.0)
    assert dear.k < free.k and dear.wrong < free.wrong
    assert best_samples(np.array([1e-4]), sample_cost=1e-9, most=1000).at_end


def test_difficulty_of_problems_is_found_and_foretells_more_samples() -> None:
    rng = np.random.default_rng(2)
    true = Difficulty(0.4, 3.0, 0.0)
    solved = rng.binomial(50, rng.beta(0.4, 3.0, 600))
    found = fit_difficulty(solved.astype(float), np.full(600, 50.0))
    assert found.coverage([1, 50, 2000]) == pytest.approx(true.coverage([1, 50, 2000]), abs=0.05)
    assert true.rates(2000).mean() == pytest.approx(0.4 / 3.4, abs=2e-3)


def test_a_rate_of_none_has_an_interval() -> None:
    low, high = rate_interval(0, 1000)
    assert low == 0 and 0.0005 < high < 0.003
    assert rate_interval(5, 5)[1] == 1 and rate_interval(1, 4)[0] < 0.25 < rate_interval(1, 4)[1]


@pytest.mark.slow
def test_intervals_hold_pass_rates_that_began_at_1e_4() -> None:
    """The law of arXiv:2310.03262; the bar is 85 to 95 % for an interval of 90 %."""
    rng = np.random.default_rng(11)
    inside = []
    for _ in range(80):
        N = np.geomspace(1e7, 1e9, 7)
        c, alpha = rng.uniform(7.0, 9.5), rng.uniform(0.1, 0.3)
        tried = rng.integers(3000, 20000, len(N)).astype(float)
        solved = rng.binomial(tried.astype(int), np.exp(-c * (N / 1e7) ** -alpha)).astype(float)
        law = fit_rate(np.log(N), solved, tried)
        drawn = law.drawn(np.full((800, 1), np.log(2.4e9)), rng)[:, 0]
        low, high = np.quantile(drawn, [0.05, 0.95])
        inside.append(low <= np.exp(-c * 240.0**-alpha) <= high)
    assert 0.8 <= np.mean(inside) <= 0.98


def test_rows_without_a_success_count_as_they_should() -> None:
    N = np.geomspace(1e7, 1e9, 6)
    tried = np.full(6, 2000.0)
    solved = np.array([0.0, 0, 1, 6, 30, 120])
    with_zeros, without = fit_rate(np.log(N), solved, tried), fit_rate(np.log(N[2:]), solved[2:], tried[2:])
    at = np.log(np.array([1e7]))
    assert with_zeros.at(at)[0] < 1.5 / 2000
    spread = [np.ptp(np.quantile(law.drawn(np.full((500, 1), at[0]), np.random.default_rng(0)), [0.05, 0.95]))
              for law in (with_zeros, without)]  # fmt: skip
    assert spread[0] < spread[1]


@pytest.mark.slow
def test_the_command_counts_and_says_what_lies_beyond_the_samples(sld: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{m},{c},60" for m, a in (("A", 0.3), ("B", 1.0)) for c in rng.binomial(60, rng.beta(a, 3, 40))]
    (tmp_path / "p.csv").write_text("model,right,n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    asked = ("passk", "p.csv", "--solved", "right", "--tried", "n", "--group", "model", "--k", "1,10,500")
    done = sld(*asked, "--sample-cost", "0.001", "--false-positive", "0.05", "--plot", "p.png")
    assert done.code == 0, done.err
    assert done.out.count("beyond the samples drawn") == 3 and "ceiling" in done.out and "pay best" in done.out
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    rows = sld(*asked, "--json").document["coverage"]
    assert [r["measured"] for r in rows] == [True, True, False] * 2
    assert all(r["low"] <= r["value"] <= r["high"] for r in rows)
    for words, message in ((("--k", "ten"), "--k wants whole numbers"), (("--solved", "n"), "named twice")):
        refused = sld(*asked, *words)
        assert refused.code == 2 and message in refused.err and refused.err.count("\n") == 1


def test_where_nothing_was_solved_little_is_known() -> None:
    found = sld.passk({"c": [0, 0, 0], "n": [10, 10, 10]}, solved="c", tried="n", k=[1, 50])
    assert [(c.value, c.low) for c in found.coverage] == [(0, 0), (0, 0)]
    assert 0.3 < found.coverage[0].high < found.coverage[1].high == 1


def test_the_verb_gives_what_the_function_does() -> None:
    found = sld.passk({"c": [0, 3, 10], "n": [10, 10, 10]}, solved="c", tried="n", k=4)
    assert found.coverage[0].value == pytest.approx(pass_at_k([0, 3, 10], 10, 4).mean())
    assert len(found.to_frame()) == 1 and "pass@4" in found.summary()
