"""The form that explains the rows down to their noise, and the tables where none does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from candidates import rejudged
from many_cases import each
from searches import law_bytes, search, two_scales

from sld.data.splits import rung_folds
from sld.data.table import Table, table_from
from sld.fit.kernel import Array
from sld.formula.canonical import canonical_key
from sld.search.candidates.candidate import Candidate
from sld.search.choosing.explanation import explanation
from sld.search.judging.context import JudgingContext
from sld.search.judging.judge import Judge
from sld.search.proposing.proposers import from_texts

LAW = "E + A*N**-a"
LONGER = "E + A*N**-a + B*exp(-N/K)"
FORMS = (LAW, LONGER, "A*N**-a", "E + A*log(N)")


def curve(relative: float = 0.0, even: float = 0.0, n: int = 60, seed: int = 0) -> Table:
    N = np.geomspace(1e3, 1e7, n)
    rng = np.random.default_rng(seed)
    y: Array = (0.5 + 300 * N**-0.5) * (1 + relative * rng.normal(size=n)) + even * rng.normal(size=n)
    return table_from({"N": N, "loss": y}, target="loss", scale="N")


def judged(
    table: Table, forms: tuple[str, ...] = FORMS, origin: str = "enumeration"
) -> tuple[JudgingContext, list[Candidate]]:
    judge = Judge(table, rung_folds(table), seed=0, max_constants=9)
    return judge.context, [judge.judge(p)[0] for p in from_texts(table, forms, origin)]


@each("seed", range(5))
def test_the_law_is_told_from_longer_and_from_wrong_forms(seed: int) -> None:
    found = explanation(*judged(curve(0.01, seed=seed)), 0)
    assert found is not None
    assert found.candidate.text == LAW


def test_the_kind_of_noise_is_read_from_the_rows() -> None:
    proportional, even = (explanation(*judged(t), 0) for t in (curve(0.02), curve(0.0, 0.02)))
    assert proportional is not None and proportional.proportional
    assert even is not None and not even.proportional
    assert "in proportion to the value" in proportional.sentence
    assert "the same everywhere" in even.sentence


def test_of_equal_accounts_the_one_that_does_not_turn_around_beyond_the_data_is_chosen() -> None:
    for seed in range(8):
        N = np.geomspace(1e3, 1e4, 24)
        noise = 1 + 0.03 * np.random.default_rng(seed).normal(size=24)
        table = table_from({"N": N, "loss": (0.5 + 300 * N**-0.5) * noise}, target="loss", scale="N")
        found = explanation(*judged(table, (LAW, "E + k*(log(N) - m)**2"), "catalogue:x"), 0)
        assert found is not None and found.candidate.text == LAW


def test_a_table_that_no_form_follows_is_not_explained() -> None:
    table = curve(0.003)
    wave = 1 + 0.1 * np.sin(2 * np.log(table.X))
    assert explanation(*judged(replace(table, Y=table.Y * wave)), 0) is None


def test_of_equal_published_forms_the_one_that_many_have_written_down_is_preferred() -> None:
    context, (usual,) = judged(curve(0.01), (LAW,), "catalogue:henighan")
    rare = replace(usual, key="!")  # comes first where nothing else decides
    found = explanation(context, [rare, usual], 0)
    assert found is not None and found.candidate.key == usual.key


def test_a_law_of_other_quantities_is_less_likely() -> None:
    table = two_scales()
    noise = 1 + 0.01 * np.random.default_rng(0).normal(size=table.Y.shape)
    context, (found,) = judged(replace(table, Y=table.Y * noise), ("E + A*N**-a + B*D**-b",), "catalogue:farseer")
    # one law each; the first speaks of unique tokens, and its key comes first
    misread, read = (
        replace(found, key=canonical_key(table.parse(text)))
        for text in (
            "E + B/(N + N*r*(1 - exp(-(D/N - 1)/r)))**b",
            "exp(s*N**q + S) + exp(B*N**b + Q)*D**-exp(A*N**a + E)",
        )
    )
    chosen = explanation(context, [misread, read], 0)
    assert misread.key < read.key
    assert chosen is not None and chosen.candidate is read


def test_a_published_form_is_preferred_to_an_equal_one_put_together_from_parts() -> None:
    context, (built,) = judged(curve(0.01), (LAW,))
    published = replace(built, origin="catalogue:henighan", key="z")
    found = explanation(context, [built, published], 0)
    assert found is not None
    assert found.candidate is published


def test_rows_outvote_a_published_form_that_is_wrong() -> None:
    context, (built, _, wrong, _) = judged(curve(0.01))
    found = explanation(context, [built, replace(wrong, origin="catalogue:kaplan_n")], 0)
    assert found is not None
    assert found.candidate is built


def test_an_inadmissible_form_explains_nothing_that_an_admissible_one_could() -> None:
    context, (law, longer, *_) = judged(curve(0.01))
    found = explanation(context, [rejudged(law, admissible=False), longer], 0)
    assert found is None or found.candidate is longer


def test_where_a_bred_form_gives_the_shortest_account_nothing_is_claimed() -> None:
    context, (law, *others) = judged(curve(0.01))
    assert explanation(context, [law, *others], 0) is not None
    assert explanation(context, [replace(law, origin="evolution", lineage=("enumeration",)), *others], 0) is None


def test_few_rows_for_each_constant_explain_nothing() -> None:
    assert explanation(*judged(curve(0.01, n=11), (LAW,)), 0) is None


def test_exact_rows_are_left_to_the_rule_for_exact_laws() -> None:
    assert explanation(*judged(curve()), 0) is None


def test_no_candidates_explain_nothing() -> None:
    context, _ = judged(curve(0.01), (LAW,))
    assert explanation(context, [], 0) is None


@pytest.mark.slow
def test_a_discovery_hands_out_the_explanation_alone() -> None:
    found = search(two_scales(0.01, 8, 8), "2000fits")
    assert found.law.provenance["rule"] == "shortest_account"
    assert found.config["rule"] == "shortest_account"
    assert found.single is None
    assert found.chosen.consensus == 0
    assert any("down to the noise" in note for note in found.notes)


@pytest.mark.slow
def test_the_explanation_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        search(two_scales(0.01, 8, 8), "2000fits", workers=workers, out=tmp_path / str(workers))
    assert law_bytes(tmp_path / "1") == law_bytes(tmp_path / "2")
