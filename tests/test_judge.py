"""Judging one proposal: what it costs, and what falls at which stage."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from searches import two_scales

from sld.data.splits import rung_folds
from sld.data.table import Table
from sld.search.candidates.rejection import Rejection
from sld.search.candidates.selection import early_score
from sld.search.judging.judge import Judge, Proposal
from sld.search.proposing.proposers import from_texts

TABLE = two_scales(0.01)


def judge_of(table: Table = TABLE) -> Judge:
    return Judge(table, rung_folds(table), seed=0, max_constants=9)


def proposal(text: str, table: Table = TABLE) -> Proposal:
    (found,) = from_texts(table, [text], "user")
    return found


def test_the_same_proposal_always_gets_the_same_verdict() -> None:
    form = proposal("E + A*N**-a + B*D**-b")
    assert judge_of().judge(form) == judge_of().judge(form)


def test_a_form_far_behind_is_dropped_at_the_first_look() -> None:
    judge = judge_of()
    good, _ = judge.judge(proposal("E + A*N**-a + B*D**-b"))
    bar = early_score(good.fold_errors, good.n_constants, good.complexity, judge.context.n_points)
    poor = proposal("E + A*N**-a")
    whole, cost = judge.judge(poor)
    dropped, cheap = judge.judge(replace(poor, bar=bar))
    assert whole.status == "ok"
    assert dropped.status == Rejection.BEHIND
    assert cheap < cost / 2


def test_a_good_form_is_judged_to_the_end_whatever_the_bar() -> None:
    judge = judge_of()
    form = proposal("E + A*N**-a + B*D**-b")
    plain, _ = judge.judge(form)
    bar = early_score(plain.fold_errors, plain.n_constants, plain.complexity, judge.context.n_points)
    looked, _ = judge.judge(replace(form, bar=bar))
    assert looked.status == "ok"
    assert looked.score == pytest.approx(plain.score, abs=0.01)


def test_a_thorough_judgement_takes_more_fits_and_agrees() -> None:
    judge = judge_of()
    form = proposal("E + A*N**-a + B*D**-b")
    (quick, n_quick), (thorough, n_thorough) = judge.judge(form), judge.judge(replace(form, thorough=True))
    assert n_thorough > 1.4 * n_quick
    assert thorough.score == pytest.approx(quick.score, abs=0.01)


def test_rows_at_the_frontier_count_more() -> None:
    # no power law fits both halves of this curve; the upper half is where the law will be used
    N = np.geomspace(1e3, 1e9, 40)
    y = np.where(N < 1e6, 5 - 0.1 * np.log10(N), 4.4 - 0.3 * np.log10(N / 1e6))
    table = Table(TABLE.variables[:1], TABLE.targets, N[:, None], y[:, None])
    judge = judge_of(table)
    candidate, _ = judge.judge(proposal("E + A*log(N)", table))
    c = candidate.constants["loss"]["all"]
    residual = y - c["E"] - c["A"] * np.log(N)
    top, bottom = np.mean(residual[30:] ** 2), np.mean(residual[:10] ** 2)
    assert top < bottom / 2
    weights = judge.context.weights[0]
    assert weights is not None
    assert weights.mean() == pytest.approx(1.0)
    assert weights[-1] / weights[0] == pytest.approx(math.exp(2.0))
