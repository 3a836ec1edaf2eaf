"""Where judging may stop: only for what no hall shows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from candidates import candidate

from sld.api.tasks import as_task
from sld.data.splits import rung_folds
from sld.laws.form import Form
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.candidates.limits import Limits
from sld.search.judging.context import JudgingContext
from sld.search.judging.judge import Judge, Proposal
from sld.search.judging.judged import Judged


def proposal(judge: Judge, text: str) -> Proposal:
    return Proposal.of([Form(judge.table.parse(text), "enumeration", needs_simplify=True)])


def hall(n: int, size: int = 5) -> HallOfFame:
    """A hall of n candidates that nobody bred, the best score -n, errors on two folds that grow with the score."""
    found = HallOfFame(size)
    for k in range(n):
        found.add(candidate(f"k{k}", float(-n + k), 5 + k, fold_errors=(0.1 + k, 0.2 + k), train_nmse=0.1))
    return found


def test_a_hall_that_is_not_full_excludes_nothing() -> None:
    assert Limits.of(hall(4), None) is None
    assert Limits.of(hall(5), None) is not None


def test_the_last_that_is_shown_and_the_front_are_what_has_to_be_beaten() -> None:
    limits = Limits.of(hall(8), None)
    assert limits is not None
    assert limits.last == (0, -4.0)  # the fifth of eight
    assert limits.exclude(0, -3.9, 20)
    assert not limits.exclude(0, -4.1, 20)
    assert limits.exclude(2, -99.0, 20), "one that fails a check comes after all that do not"
    assert not limits.exclude(0, -3.9, 4), "simpler than all: it would be on the front"


def test_candidates_that_were_judged_on_other_folds_set_no_limits() -> None:
    found = hall(8)
    found.add(candidate("other", -9.0, fold_errors=(0.1,), train_nmse=0.1))
    assert Limits.of(found, None) is None


def test_errors_to_come_are_half_of_the_least() -> None:
    limits = Limits.of(hall(8), 0)
    assert limits is not None
    assert limits.least == (0.05, 0.1)


def test_an_excluded_candidate_is_shown_nowhere() -> None:
    rng = np.random.default_rng(0)
    found = HallOfFame(20)
    for k in range(300):
        c = candidate(
            f"k{k}", float(rng.normal()), int(rng.integers(5, 9)), admissible=bool(rng.random() < 0.8), train_nmse=0.1
        )
        limits = Limits.of(found, None)
        excluded = limits is not None and limits.exclude(c.checks, c.score, c.complexity)
        found.add(c)
        if excluded:
            assert all(c.key not in {s.key for s in shown} for shown in (found.ranked(), found.static(), found.front()))


@pytest.fixture(scope="module")
def context() -> JudgingContext:
    table = as_task("nanolm_chinchilla").train
    return JudgingContext(table, rung_folds(table), seed=0, max_constants=12)


def test_the_least_score_is_the_score_or_a_little_less(context: JudgingContext) -> None:
    rng = np.random.default_rng(0)
    expression = context.table.parse("E + A*N**-a")
    for _ in range(50):
        errors = tuple(
            math.nan if rng.random() < 0.1 else float(e) for e in np.exp(rng.normal(-4, 3, len(context.folds)))
        )
        silent = (1,) if rng.random() < 0.3 else ()
        judged = Judged("ok", 0, errors, float(np.exp(rng.normal(-6, 2))), effective=3.0, silent=silent)
        score = context.score(judged, expression, 0)
        least = context.least_score(judged, expression, 0)
        assert score - 1e-8 < least <= score


def test_errors_on_the_folds_are_those_of_the_error_scale(context: JudgingContext) -> None:
    miss = np.random.default_rng(0).normal(size=context.table.n_rows)
    for rows in (None, *(fold.test for fold in context.folds), np.array([0, 3])):
        wanted = max(context.scales[0].nmse(miss, rows), context.rounding[0])
        assert context.nmse(miss, 0, rows) == wanted


def test_a_form_is_judged_to_the_end_or_not_at_all() -> None:
    table = as_task("nanolm_chinchilla").train
    judge = Judge(table, rung_folds(table), seed=0, max_constants=12)
    texts = ("E + A*N**-a + B*D**-b", "E + A*N**-a", "A*D**-b", "E + A*N**-a + B*D**-b + C*log(N)")
    plain = [judge.judge(proposal(judge, text))[0] for text in texts]
    worst = max(plain, key=lambda c: c.place)
    for one in plain:
        limits = Limits((one.checks, one.score), ((1, -99.0),), tuple(e / 2 for e in worst.fold_errors))
        for text, before in zip(texts, plain, strict=True):
            after: Candidate = judge.judge(replace(proposal(judge, text), limits=limits))[0]
            if before.place[:2] <= one.place[:2]:
                assert after.score == before.score
            else:
                assert after.status in ("far behind the best", "ok")
                assert after.status != "ok" or after.score == before.score
    strict = Limits((0, -99.0), ((1, -99.0),), tuple(e / 2 for e in worst.fold_errors))
    assert judge.judge(replace(proposal(judge, "A*D**-b"), limits=strict))[0].status == "far behind the best"
