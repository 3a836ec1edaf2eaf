"""The consensus of many laws, and the one formula that follows it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from candidates import rejudged
from searches import search, two_scales

from sld.data.scoring import scores
from sld.data.splits import rung_folds
from sld.data.table import Table, table_from
from sld.fit.kernel import Array, evaluate
from sld.search import finishing
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.candidates.selection import is_exact
from sld.search.choosing.consensus import Consensus
from sld.search.choosing.finalists import MEMBERS, Finalists
from sld.search.judging.admissible import HARD_REACH
from sld.search.judging.judge import Judge
from sld.search.proposing.proposers import from_texts

FORMS = ("E + A*N**-a", "A*N**-a", "E + A*log(N)", "E + A*N**-a + B*log(N)", "E + A*(N + K)**-a", "E + A*exp(-N/K)")


def curve(noise: float = 0.02, n: int = 24) -> Table:
    N = np.geomspace(1e3, 1e6, n)
    y = 1.5 + 40 * N**-0.4 + noise * np.random.default_rng(0).normal(size=n)
    return table_from({"N": N, "loss": y}, target="loss", scale="N")


def judged(table: Table, forms: tuple[str, ...] = FORMS) -> tuple[Judge, HallOfFame]:
    judge = Judge(table, rung_folds(table), seed=0, max_constants=9)
    hall = HallOfFame()
    for proposal in from_texts(table, forms, "user"):
        hall.add(judge.judge(proposal)[0])
    return judge, hall


def _values(candidate: Candidate, N: Array) -> Array:
    return np.broadcast_to(
        evaluate(candidate.expressions["loss"], {"N": N}, candidate.constants["loss"]["all"]), N.shape
    )


def test_the_common_prediction_lies_between_those_of_the_members() -> None:
    judge, hall = judged(curve())
    consensus = Consensus.of(judge.context, Finalists.of(hall), 0)
    assert consensus is not None
    assert consensus.weights.sum() == pytest.approx(1.0)
    assert len(consensus.members) > 3
    each = np.array([_values(m, consensus.points.X[:, 0]) for m in consensus.members])
    assert (each.min(axis=0) <= consensus.points.Y[:, 0] + 1e-12).all()
    assert (each.max(axis=0) >= consensus.points.Y[:, 0] - 1e-12).all()


def test_its_points_lie_beyond_the_data_and_not_far() -> None:
    table = curve()
    judge, hall = judged(table)
    consensus = Consensus.of(judge.context, Finalists.of(hall), 0)
    assert consensus is not None
    N = consensus.points.X[:, 0]
    reach = np.log(N.max() / 1e6) / np.log(1e6 / 1e3)
    assert N.min() > 1e6
    assert 0.2 < reach <= HARD_REACH


def test_a_better_score_weighs_more() -> None:
    judge, hall = judged(curve())
    finalists = Finalists.of(hall)
    consensus = Consensus.of(judge.context, finalists, 0)
    assert consensus is not None
    by_weight = [m.score for m in consensus.members]
    assert by_weight == sorted(by_weight)
    assert consensus.weights[0] < 0.9


def test_bred_forms_alone_do_not_outvote_the_others() -> None:
    judge, hall = judged(curve())
    finalists = Finalists.of(hall)
    bred = tuple(
        replace(rejudged(c, score=c.score - 0.1), origin="evolution", key=f"bred {k}")
        for k, c in enumerate(finalists.best)
    )
    consensus = Consensus.of(judge.context, Finalists(bred, finalists.static), 0)
    assert consensus is not None
    shares = {m.key: w for m, w in zip(consensus.members, consensus.weights, strict=True)}
    own = sum(w for key, w in shares.items() if not key.startswith("bred"))
    assert 0.45 < own < 0.5


def test_an_exact_law_needs_no_consensus() -> None:
    judge, hall = judged(curve(noise=0.0))
    assert Consensus.of(judge.context, Finalists.of(hall), 0) is None


def test_an_exact_law_needs_no_consensus_even_where_a_check_fails() -> None:
    judge, hall = judged(curve(noise=0.0))
    finalists = Finalists.of(hall)
    best, static = (
        tuple(rejudged(c, admissible=not is_exact(c)) for c in h) for h in (finalists.best, finalists.static)
    )
    refused = Finalists(best, static)
    assert any(is_exact(c) and not c.admissible for c in refused.members)
    assert Consensus.of(judge.context, refused, 0) is None


def test_two_laws_are_no_consensus() -> None:
    judge, hall = judged(curve(), FORMS[:2])
    assert Consensus.of(judge.context, Finalists.of(hall), 0) is None


def test_the_formula_follows_rows_and_common_prediction() -> None:
    table = curve()
    judge, hall = judged(table)
    consensus = Consensus.of(judge.context, Finalists.of(hall), 0)
    assert consensus is not None
    law = consensus.distilled(judge.context, 0)
    assert law is not None
    assert law.judgements[0].consensus == len(consensus.members)
    at_rows = _values(law, table.X[:, 0])
    beyond = _values(law, consensus.points.X[:, 0])
    assert scores(table.Y[:, 0], at_rows).r2 > 0.95
    assert np.abs(beyond - consensus.points.Y[:, 0]).max() < 0.05 * np.ptp(table.Y)
    # the judgement on the folds stays that of the form by itself
    (own,) = (m for m in consensus.members if m.key == law.key)
    assert law.fold_errors == own.fold_errors
    assert law.constants != own.constants


def test_mixtures_without_a_scale_are_judged_outside_their_own_range() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([2.0, 2.0, 2.0], 40)
    y = 2 + np.exp(-1.5 * p[:, 0]) + 0.3 * p[:, 1] + 0.01 * rng.normal(size=40)
    data = {"a": p[:, 0], "b": p[:, 1], "c": p[:, 2], "loss": y}
    table = table_from(data, target="loss", proportion=["a", "b", "c"])
    judge, hall = judged(table, ("E + A*a + B*b", "E + A*exp(-k*a)", "E + A*exp(-k*a) + B*b", "E + A*a*b + B*c"))
    consensus = Consensus.of(judge.context, Finalists.of(hall), 0)
    assert consensus is not None
    X = consensus.points.X
    assert (X >= 0).all()
    np.testing.assert_allclose(X.sum(axis=1), 1.0, atol=1e-9)
    assert X.std() > 1.1 * table.X.std()


def test_a_discovery_offers_both_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = two_scales(0.01)
    # a form that explained the table would be handed out alone
    monkeypatch.setattr(finishing, "explanation", lambda *_: None)
    found = search(table, "2500fits", out=tmp_path)
    assert found.chosen.consensus > 3
    assert found.single is not None
    assert found.best is not None
    assert found.best.consensus == 0
    assert found.law.constants != found.single.constants
    assert found.chosen.n_constants <= 20
    members = found.law.provenance["consensus"]["loss"]
    assert len(members) == found.chosen.consensus <= 2 * MEMBERS
    assert "consensus" not in found.single.provenance
    assert json.loads((tmp_path / "law.json").read_text())["provenance"]["consensus"]["loss"] == members
    for law in (found.law, found.single):
        assert scores(table.Y, law.predict(table)).r2 > 0.98


def test_every_group_keeps_constants_of_its_own() -> None:
    N = np.tile(np.geomspace(1e3, 1e6, 14), 2)
    g = np.repeat(["a", "b"], 14)
    y = np.where(g == "a", 1.0, 4.0) + 30 * N**-0.3 + 0.02 * np.random.default_rng(1).normal(size=28)
    table = table_from({"N": N, "g": g, "loss": y}, target="loss", scale="N", group="g")
    judge, hall = judged(table)
    consensus = Consensus.of(judge.context, Finalists.of(hall), 0)
    assert consensus is not None
    assert set(consensus.points.group_index.tolist()) == {0, 1}
    law = consensus.distilled(judge.context, 0)
    assert law is not None
    assert law.constants["loss"]["a"] != law.constants["loss"]["b"]
