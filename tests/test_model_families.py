"""Scores of models of several families: components, skills, folds that choose, a new family from one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from many_cases import each

import sld
from sld.analysis.families.components import components, explained
from sld.analysis.families.draws import Asked, drawn
from sld.analysis.families.judging import Together, folds, forms, judge_forms
from sld.analysis.families.latent import (
    BY_FAMILY,
    COMPONENTS,
    ONE,
    SKILLS,
    Constants,
    Ends,
    Form,
    Rated,
    _curve,
    _jacobian,
    _skills,
    fit_latent,
    model_posterior,
)
from sld.analysis.families.scores import ScoreTable
from sld.core.arrays import Array, Mask, Rows
from sld.core.errors import UsageError

BENCHMARKS = ("quiz", "read", "sums", "code")
SIZES = (3, 4, 2, 3, 1, 4, 2, 3)  # models of each family; the fifth has one


def world(
    seed: int = 0, *, level: float = 0.5, interaction: float = 0.3, skills: int = 1, noise: float = 0.008
) -> tuple[ScoreTable, ScoreTable]:
    """Return models of the law of arXiv:2412.06540, and larger ones of each family, with all scores."""
    rng = np.random.default_rng(seed)
    F, m = len(SIZES), len(BENCHMARKS)
    index = np.concatenate([np.repeat(np.arange(F), SIZES), np.arange(F)]).astype(np.intp)
    n = np.concatenate([np.sort(rng.uniform(-1.5, 1.0, k)) for k in SIZES])
    top = np.array([n[index[: len(n)] == f].max() for f in range(F)])
    n, d = np.concatenate([n, top + 1.0]), rng.uniform(-1, 1, F)[index]
    slope = np.array([[1.0, 0.5, interaction], [0.4, -0.3, 0.1]])[:skills]
    own = level * rng.standard_normal((F, skills))
    theta = np.stack([n, d, n * d], 1) @ slope.T + own[index]
    load = np.array([[1.0, 0.3], [0.8, -0.2], [1.3, 0.6], [1.1, -0.7]])[:, :skills]
    floor = np.array([0.25, 0.25, 0.0, 0.0])
    share = floor + (1 - floor) / (1 + np.exp(-(np.array([0.3, 0.6, -0.5, -1.0]) + theta @ load.T)))
    share = np.clip(share + noise * rng.standard_normal(share.shape), 0, 1)
    logs = np.stack([22 + n, 28 + d], axis=1)
    table = ScoreTable(tuple("abcdefgh"), index, logs, share, BENCHMARKS, floor)
    larger = np.arange(len(index)) >= sum(SIZES)
    assert m == share.shape[1]
    return table.take(~larger), table.take(larger)


def holes(table: ScoreTable, share: float, seed: int = 0) -> ScoreTable:
    out = np.random.default_rng(seed).random(table.share.shape) < share
    return ScoreTable(
        table.family, table.index, table.logs, np.where(out, np.nan, table.share), table.benchmarks, table.floor
    )  # fmt: skip


def columns_of(table: ScoreTable) -> dict[str, Any]:
    scores = {name: table.share[:, j] for j, name in enumerate(table.benchmarks)}
    return (
        {"family": [table.family[f] for f in table.index], "N": np.exp(table.logs[:, 0])}
        | scores
        | {"D": np.exp(table.logs[:, 1])}
    )


FLOORS = {"quiz": 0.25, "read": 0.25, "sums": 0.0, "code": 0.0}


def ask(table: ScoreTable, at: Sequence[dict[str, Any]] | dict[str, Any], **options: Any) -> Any:
    given = {"floor": FLOORS, **options}
    return sld.families(columns_of(table), family="family", scale=["N", "D"], metric=BENCHMARKS, at=at, **given)


def test_components_are_those_of_the_decomposition_where_nothing_is_missing() -> None:
    Y = np.random.default_rng(0).standard_normal((12, 5))
    found = components(Y, 5)
    assert found.mean + found.scores @ found.loadings.T == pytest.approx(Y, abs=0.01)
    d = np.linalg.svd(Y - Y.mean(0), compute_uv=False)
    assert explained(Y, 5) == pytest.approx(d**2 / (d**2).sum(), abs=1e-3)


def test_components_fill_what_is_missing_of_a_table_with_few() -> None:
    rng = np.random.default_rng(1)
    Y = 0.3 + rng.standard_normal((40, 2)) @ rng.standard_normal((2, 6))
    found = components(np.where(rng.random(Y.shape) < 0.2, np.nan, Y), 2)
    assert found.mean + found.scores @ found.loadings.T == pytest.approx(Y, abs=0.05)
    assert explained(np.where(rng.random(Y.shape) < 0.2, np.nan, Y))[:2].sum() > 0.99


def test_derivatives_match_finite_differences() -> None:
    rng = np.random.default_rng(2)
    for floor in (np.array([0.1, 0.2, np.nan]), np.full(3, np.nan)):
        c = Constants(
            rng.normal(size=3), rng.normal(size=(3, 2)), rng.normal(size=(2, 3)), rng.normal(size=(2, 4, 2)),
            rng.normal(size=3), rng.normal(size=3), 0.2,
        )  # fmt: skip
        ends = Ends(floor, np.array([0.2, 0.3, 0.15]), np.array([0.8, 0.9, 0.7]))
        family: Rows = np.array([0, 1, 2, 3, 1])
        rows = Rated(rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), family)

        def scores(packed: Array, c: Constants = c, ends: Ends = ends, rows: Rated = rows) -> Array:
            there = c.unpacked(packed)
            return _curve(there, ends, _skills(there, rows))[0]

        J, _, _ = _jacobian(c, ends, rows)
        at, h = c.packed(), 1e-6
        for k in range(at.size):
            step = h * (np.arange(at.size) == k)
            assert J[:, :, k] == pytest.approx((scores(at + step) - scores(at - step)) / (2 * h), abs=1e-7)


def test_a_new_family_is_foretold_from_one_model() -> None:
    table, larger = world(0)
    found = ask(table, {"family": "e", "N": np.exp(larger.logs[4, 0]), "D": np.exp(larger.logs[4, 1])}, law="skills")
    value = np.array([s.value for s in found.scores])
    assert value == pytest.approx(larger.share[4], abs=0.05)
    assert sum(s.low <= y <= s.high for s, y in zip(found.scores, larger.share[4], strict=True)) >= 3
    # a family without any model: the middle of all, and far less certain
    wide = ask(table, {"N": np.exp(larger.logs[4, 0]), "D": np.exp(larger.logs[4, 1])}, law="skills", skills=1)
    assert all(w.high - w.low > 1.5 * (s.high - s.low) for w, s in zip(wide.scores[2:], found.scores[2:], strict=True))
    assert found.gains[0].low < found.gains[0].value < found.gains[0].high and wide.gains == ()


@pytest.mark.slow
def test_folds_take_the_law_with_the_fewest_constants_that_holds() -> None:
    alike, _ = world(3, level=0.0, interaction=0.0)
    assert forms(alike)[0] == Form(ONE) and forms(alike)[-1] == Form(COMPONENTS, 3)
    assert judge_forms(alike, forms(alike, rank=1)).chosen == Form(ONE)
    differ, larger = world(3, skills=2, noise=0.004)
    judged = judge_forms(differ, [Form(ONE), Form(BY_FAMILY), Form(SKILLS, 2)])
    assert judged.chosen != Form(ONE) and judged.errors[Form(SKILLS, 2)] < 0.6 * judged.errors[Form(ONE)]
    missed = {}
    for form in (Form(SKILLS, 1), Form(SKILLS, 2)):
        law = fit_latent(differ, form)
        missed[form.rank] = np.abs(law.shares(law.skills(law.rated(larger.logs, larger.index))) - larger.share).mean()
    assert missed[2] < missed[1]


def test_folds_leave_out_larger_models_of_families_and_keep_one() -> None:
    table, _ = world(0)
    left_out = np.zeros(len(table.index), dtype=int)
    *by_family, top = folds(table)
    for inside, outside in by_family:
        assert not (inside & outside).any()
        for f in set(table.index[outside].tolist()):
            own = table.index == f
            assert (own & inside).any() and table.compute[own & outside].min() > table.compute[own & inside].max()
        left_out += outside
    assert left_out.max() == 1 and left_out[table.index == 4].sum() == 0  # the fifth family has one model
    assert table.compute[top[1]].min() > table.compute[top[0]].max()


def test_slopes_of_families_are_found_where_they_differ() -> None:
    """The law of arXiv:2405.10938: components follow the logarithm of compute, with a slope for each family."""
    rng = np.random.default_rng(4)
    index = np.repeat(np.arange(8), 5)
    v = np.tile(np.linspace(-1.5, 1.5, 5), 8)
    s = (1 + 0.5 * rng.standard_normal(8))[index] * v + 0.3 * rng.standard_normal(8)[index]
    share = 1 / (1 + np.exp(-(s[:, None] * [1.0, 0.7, 1.2] + [0, 0.5, -0.5]))) + 0.005 * rng.standard_normal((40, 3))
    table = ScoreTable(tuple("abcdefgh"), index, 40 + v[:, None], share, ("x", "y", "z"), np.zeros(3))
    judged = judge_forms(table, [Form(SKILLS, 1), Form(COMPONENTS, 1)])
    assert judged.chosen == Form(COMPONENTS, 1)


@pytest.mark.slow
def test_missing_scores_are_filled_from_the_others_of_a_model() -> None:
    whole, larger = world(5, skills=2)
    table = holes(whole, 0.15)
    at = {"family": "a", "N": np.exp(larger.logs[0, 0]), "D": np.exp(larger.logs[0, 1])}
    found = ask(table, at, law="skills", skills=2, fill=True)
    gone = [(i, j) for i, j in zip(*np.where(np.isnan(table.share)), strict=True)]
    assert len(found.filled) == len(gone) > 8
    truth = np.array([whole.share[i, j] for i, j in gone])
    assert np.abs(np.array([f.value for f in found.filled]) - truth).mean() < 0.03
    inside = [f.low <= y <= f.high for f, y in zip(found.filled, truth, strict=True)]
    assert np.mean(inside) > 0.7 and found.filled[0].row.startswith("row")
    law = fit_latent(table, Form(SKILLS, 2))
    delta, C = model_posterior(law, np.zeros(2), np.full(4, np.nan))
    assert delta == pytest.approx(0) and np.diag(C) == pytest.approx(law.variances.model)


@pytest.mark.slow
def test_scores_are_the_same_upside_down_and_in_per_cent() -> None:
    table, larger = world(6)
    at = {"family": "b", "N": np.exp(larger.logs[1, 0]), "D": np.exp(larger.logs[1, 1])}
    rows = columns_of(table)
    options: dict[str, Any] = {"law": "skills", "skills": 1}
    found = ask(table, at, **options)
    errors = rows | {b: 1 - rows[b] for b in BENCHMARKS}
    lower = sld.families(
        errors, family="family", scale=["N", "D"], metric=BENCHMARKS, at=at, better="lower",
        floor={b: 1 - x for b, x in FLOORS.items()}, **options,
    )  # fmt: skip
    per_cent = rows | {b: 100 * rows[b] for b in BENCHMARKS}
    hundred = sld.families(
        per_cent, family="family", scale=["N", "D"], metric=BENCHMARKS, at=at, ceiling=100,
        floor={b: 100 * x for b, x in FLOORS.items()}, **options,
    )  # fmt: skip
    for s, low, cent in zip(found.scores, lower.scores, hundred.scores, strict=True):
        assert (1 - low.value, 1 - low.high, 1 - low.low) == pytest.approx((s.value, s.low, s.high), abs=1e-4)
        assert (cent.value, cent.low) == pytest.approx((100 * s.value, 100 * s.low), abs=1e-2)
        assert 0 <= s.low <= s.law_low <= s.value <= s.law_high <= s.high <= 1
    again = ask(table, at, **options)
    assert again.to_json() == found.to_json() and "2 families" not in repr(found)


@pytest.mark.slow
def test_intervals_follow_how_much_models_scatter() -> None:
    widths = []
    for noise in (0.004, 0.06):
        table, larger = world(7, noise=noise)
        law = Together(Form(SKILLS, 1), (fit_latent(table, Form(SKILLS, 1)),))
        draws = drawn(law, table, Asked(larger.index, larger.logs), np.random.default_rng(0))
        widths.append(np.ptp(np.quantile(draws.run, [0.05, 0.95], axis=0), axis=0).mean())
    assert widths[1] > 2 * widths[0]


@pytest.mark.slow
def test_intervals_hold_larger_models_of_simulated_families() -> None:
    """The bar is 85 to 95 % for an interval of 90 %; of 320 scores that hang together, some more room is left."""
    inside = []
    for seed in range(10):
        table, larger = world(100 + seed, skills=2, noise=0.012)
        at = [
            {"family": table.family[f], "N": np.exp(x[0]), "D": np.exp(x[1])}
            for f, x in zip(larger.index, larger.logs, strict=True)
        ]
        found = ask(holes(table, 0.1, seed), at, law="skills", skills=2)
        inside += [s.low <= y <= s.high for s, y in zip(found.scores, larger.share.ravel(), strict=True)]
    assert 0.82 <= np.mean(inside) <= 0.98


@each(
    ("change", "message"),
    [
        ({"metric": ["quiz"]}, "what benchmarks have in common needs 2 of them.*use sld downstream"),
        ({"drop": ["N<1e12"]}, "no row|0 families|no rows"),
        ({"at": {"family": "z", "N": 1e9, "D": 1e11}}, "no family 'z'.*leave family out for a family of which no"),
        ({"at": {"family": "a", "N": 1e9}}, "a value of 'D' is missing"),
        ({"at": {"family": "a", "N": -1.0, "D": 1e11}}, "scales must be above 0, got N=-1"),
        ({"at": {"family": "a", "N": "much", "D": 1e11}}, "N wants a number"),
        ({"at": {"M": 1.0, "N": 1e9, "D": 1e11}}, "'M' is neither the family nor a scale"),
        ({"at": []}, "say whose scores are asked for"),
        ({"scale": ["N", "D", "quiz"]}, "one or two columns"),
        ({"scale": ["N", "quiz"]}, "'quiz' is named twice"),
        ({"floor": 1.2}, "floor is the score of a guess"),
        ({"floor": {"quizz": 0.2}}, "no benchmark 'quizz'; did you mean 'quiz'"),
        ({"law": "skill"}, "no law of families 'skill'; did you mean 'skills'"),
        ({"law": "one curve", "skills": 2}, "for the laws components and skills"),
        ({"skills": 9}, "from 1 to the number of benchmarks"),
        ({"ceiling": 0.5}, "scores must lie between 0 and 0.5"),
        ({"better": "up"}, "better must be higher or lower"),
        ({"level": 1.5}, "level must lie between 0 and 1"),
        ({"colour": 1}, "no keyword 'colour'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(change: dict[str, Any], message: str) -> None:
    table, _ = world(0)
    given: dict[str, Any] = {
        "family": "family", "scale": ["N", "D"], "metric": list(BENCHMARKS), "at": {"family": "a", "N": 1e10, "D": 1e12}
    }  # fmt: skip
    with pytest.raises(sld.SldError, match=message) as caught:
        sld.families(columns_of(table), **(given | change))
    assert "\n" not in str(caught.value)


def test_scales_that_grew_together_are_not_told_apart() -> None:
    table, _ = world(2)
    together = replace(table, logs=np.stack([table.logs[:, 0], table.logs[:, 0] + 3], axis=1))
    widths = []
    for ratio in (3.0, 9.0):  # the second asked model has 400 times the tokens for its size that all others have
        at = np.exp(np.array([22.0, 22 + ratio]))
        found = ask(together, {"family": "a", "N": at[0], "D": at[1]}, law="skills", skills=1)
        widths.append(np.mean([s.law_high - s.law_low for s in found.scores]))
    assert widths[1] > 3 * widths[0]
    assert "times that of the largest model" in found.notes[0]
    still = replace(table, logs=np.stack([table.logs[:, 0], np.full(len(table.logs), 25.0)], axis=1))
    with pytest.raises(UsageError, match=r"D is the same for all models.*leave it out"):
        ask(still, {"family": "a", "N": 1e10, "D": 1e12})


def test_too_few_models_and_families_are_refused_by_name() -> None:
    table, _ = world(0)

    def refused(keep: Mask) -> str:
        with pytest.raises(UsageError) as caught:
            ask(table.take(keep), {"family": "b", "N": 1e10, "D": 1e12})
        return str(caught.value)

    assert "2 families are too few to say how families differ; 3 at least" in refused(table.index < 2)
    assert "7 models are too few for laws of families; 8 at least" in refused(np.isin(table.index, [1, 2, 4]))
    first = np.concatenate([[True], np.diff(table.index) > 0])
    assert "0 of 8 families have models of more than one size" in refused(first)


@pytest.mark.slow
def test_the_command_shows_models_and_laws(sld: Run, tmp_path: Path) -> None:
    table, larger = world(8)
    rows = columns_of(table)
    names = list(rows)
    lines = [",".join(names)] + [",".join(str(rows[c][i]) for c in names) for i in range(len(table.index))]
    lines[3] = lines[3].rsplit(",", 2)[0] + ",," + lines[3].rsplit(",", 1)[1]  # no score on code
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    n, d = np.exp(larger.logs[4])
    asked = ("families", "m.csv", "--family", "family", "--scale", "N,D", "--metric", "quiz,read,sums,code")
    more = ("--floor", "quiz=0.25,read=0.25", "--law", "skills", "--skills", "1")
    done = sld(*asked, "--at", f"family=e,N={n},D={d}", *more, "--fill", "--out", "o.csv", "--plot", "o.png")
    assert done.code == 0, done.err
    assert "e scores there as a typical family does with" in done.out and "used: skills behind all scores" in done.out
    assert "missing in the table" in done.out and "line 4" in done.out
    assert (tmp_path / "o.csv").read_text(encoding="utf-8").count("\n") == 5
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")
    told = sld(*asked, "--at", f"N={n},D={d}", *more, "--json").document
    assert told["kind"] == "skills" and told["scores"][0]["family"] == "" and told["gains"] == []
    for words, message in (
        (("--at", "N"), "--at wants COLUMN=VALUE"),
        (("--at", "family=e,N=much,D=1"), "--at wants COLUMN=NUMBER for a scale"),
        (("--at", "N=1,D=1", "--floor", "1,2"), "--floor wants one number"),
    ):
        refused = sld(*asked, *words)
        assert refused.code == 2 and message in refused.err and refused.err.count("\n") == 1 and refused.out == ""
