"""Answers to single items: classes of difficulty, each foretold by its own law, and the score that follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from many_cases import each

import sld
from sld.analysis.curves.difficulty import find_classes
from sld.analysis.curves.downstream import DIRECT, fit_chain
from sld.analysis.curves.items import CLASSES, ItemRows, fit_whole, forecast_items
from sld.analysis.curves.links import Bounds
from sld.core.arrays import Array, Rows

AT = np.array([[3e23]])  # thirty times the largest model


def answers(
    seed: int, samples: int = 20, n_items: int = 400, shares: tuple[float, ...] = (0.3, 0.35, 0.0, 0.25, 0.1)
) -> tuple[ItemRows, Rows, float]:
    """Return answers of twelve models, the kind of each item, and the true score at `AT`.

    Kinds of items, by their shares: easy, middle, hard, guessed by all, and solved less by larger models (0 to 4).
    """
    rng = np.random.default_rng(seed)
    C = np.geomspace(1e19, 1e22, 12)
    kind = rng.choice(5, n_items, p=shares)
    place = np.array([18.8, 21.3, 22.6])[np.minimum(kind, 2)] + 0.2 * rng.standard_normal(n_items)

    def rate(C: Array) -> Array:
        z = np.log10(C)[:, None]
        up = 0.25 + 0.75 / (1 + np.exp(-3 * (z - place)))
        down = 0.25 + 0.5 / (1 + np.exp(1.2 * (z - 20.5))) + 0 * place
        return np.where(kind == 3, 0.25, np.where(kind == 4, down, up))

    right = rng.binomial(samples, rate(C)) / samples
    return ItemRows(C[:, None], right, bounds=Bounds(0.25, 1.0, 0.0)), kind, float(rate(AT[:, 0]).mean())


def test_classes_are_the_kinds_that_answers_come_from() -> None:
    rows, kind, _ = answers(0)
    found = find_classes(rows.right)
    own = found.belongs.argmax(1)
    purity = sum(np.bincount(kind[own == k]).max() for k in range(len(found.share)) if (own == k).any()) / len(kind)
    assert purity > 0.95 and found.share.sum() == pytest.approx(1)
    assert found.belongs.sum(1) == pytest.approx(1) and (np.diff(found.rate.mean(1)) >= 0).all()
    # answers at random are of one class, whether single ones or means of twenty
    rng = np.random.default_rng(1)
    for n in (1, 20):
        assert len(find_classes(rng.binomial(n, 0.4, (8, 300)) / n).share) == 1
    gone = np.where(rng.random(rows.right.shape) < 0.2, np.nan, rows.right)
    again = find_classes(gone).belongs.argmax(1)
    assert np.mean([len(set(again[own == k].tolist())) for k in range(3)]) < 4


def test_classes_foretell_what_the_mean_of_all_items_hides() -> None:
    """Items that nobody solves end the rise of the mean, which the mean itself cannot tell (arXiv:2502.17262)."""
    missed = []
    for seed in range(3):
        rows, _, truth = answers(seed)
        whole = fit_whole(rows, DIRECT)
        assert {1, 0, -1} == set(whole.trend.tolist())
        drawn = whole.whole(whole.draws(AT, 400, np.random.default_rng(0)))
        pooled = fit_chain(rows.task("all", rows.score), DIRECT).at(AT)[0]
        missed.append((abs(np.median(drawn) - truth), abs(pooled - truth)))
    classes, one = np.mean(missed, axis=0)
    assert classes < 0.5 * one


@pytest.mark.slow
def test_both_laws_count_by_what_they_missed_and_the_interval_holds_the_score() -> None:
    rows, _, truth = answers(4)
    names = [f"q{k}" for k in range(rows.right.shape[1])]
    found = forecast_items(rows, names, np.concatenate([AT, AT / 10]), ["C"])
    assert found.scores[0].low < truth < found.scores[0].high and sum(found.counts.values()) == pytest.approx(1)
    less, more = sorted(found.errors, key=lambda name: found.errors[name])
    assert found.counts[less] >= found.counts[more] and found.n_foretold > 0
    assert [c.number for c in found.classes] == list(range(1, len(found.classes) + 1))
    assert sum(c.n_items for c in found.classes) == pytest.approx(400)
    for s in found.scores:
        assert 0.25 <= s.low <= s.law_low <= s.value <= s.law_high <= s.high <= 1
    again = forecast_items(rows, names, np.concatenate([AT, AT / 10]), ["C"])
    assert again.to_json() == found.to_json() and len(found.to_frame()) == 2


def test_items_that_nobody_solves_more_are_left_to_the_law_of_the_whole() -> None:
    rng = np.random.default_rng(3)
    C = np.geomspace(1e18, 1e21, 8)[:, None]
    rows = ItemRows(C, rng.binomial(1, 0.3, (8, 60)).astype(float))
    found = forecast_items(rows, [str(k) for k in range(60)], AT, ["C"])
    assert CLASSES not in found.counts or all(c.trend != "falls" for c in found.classes)
    assert 0.2 < found.scores[0].value < 0.5


def columns_of(rows: ItemRows) -> dict[str, Any]:
    m, n = rows.right.shape
    return {
        "C": np.repeat(rows.X[:, 0], n), "item": np.tile([f"q{k}" for k in range(n)], m), "solved": rows.right.ravel(),
        "loss": np.repeat(4 - 0.1 * np.log(rows.X[:, 0]) / np.log(2), n),
    }  # fmt: skip


@each(
    ("change", "message"),
    [
        ({"metric": "C"}, "'C' is named twice"),
        ({"items": "quiz"}, "no column 'quiz'"),
        ({"metric": "loss"}, r"'loss' must lie between 0 and 1, got -?\d"),
        ({"at": {"D": 1.0}}, "a value of 'C' is missing"),
        ({"floor": 1.0}, "floor is the share solved by guessing"),
        ({"level": 0.0}, "level must lie between 0 and 1"),
        ({"drop": ["C>2e20"]}, "5 models of different scale are too few for classes of items; 6 at least"),
        ({"drop": [f"item==q{k}" for k in range(15)]}, "15 items are too few for classes of difficulty; 20 at least"),
        ({"task": "item"}, "no keyword 'task'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(change: dict[str, Any], message: str) -> None:
    rows, _, _ = answers(0, n_items=30)
    given: dict[str, Any] = {"scale": "C", "metric": "solved", "items": "item", "at": {"C": 1e23}}
    with pytest.raises(sld.SldError, match=message) as caught:
        sld.downstream_items(columns_of(rows), **(given | change))
    assert "\n" not in str(caught.value)


def test_answers_may_be_true_and_false(tmp_path: Path) -> None:
    rows, _, _ = answers(0, samples=1, n_items=30)
    table = columns_of(rows)
    solved = np.asarray(table["solved"], dtype=float) > 0.5
    given: dict[str, Any] = {"scale": "C", "metric": "solved", "items": "item", "at": {"C": 1e23}}
    scores = [sld.downstream_items(table | {"solved": way}, **given).scores[0].value for way in (solved, solved * 1.0)]
    lines = [
        f"{float(c)!r},{i},{'True' if y else 'false'}"
        for c, i, y in zip(table["C"], table["item"], solved, strict=True)
    ]
    (tmp_path / "a.csv").write_text("\n".join(["C,item,solved", *lines]) + "\n", encoding="utf-8")
    scores.append(sld.downstream_items(tmp_path / "a.csv", **given).scores[0].value)
    assert len(set(scores)) == 1


@pytest.mark.slow
def test_the_command_shows_classes_also_through_a_loss(sld: Run, tmp_path: Path) -> None:
    rows, _, _ = answers(0, n_items=60)
    table = columns_of(rows) | {"loss": np.repeat(1.8 + 60 * rows.X[:, 0] ** -0.09, 60)}
    lines = [",".join(table)] + [",".join(map(str, row)) for row in zip(*table.values(), strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = ("downstream", "a.csv", "--scale", "C", "--metric", "solved", "--items", "item", "--at", "C=1e23")
    done = sld(*asked, "--floor", "0.25", "--out", "o.csv", "--plot", "o.png")
    assert done.code == 0, done.err
    assert "60 items by how hard they are for 12 models" in done.out and "the score counts the sum of" in done.out
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "o.csv").read_text(encoding="utf-8").count("\n") == 2
    through = sld(*asked, "--through", "loss", "--json").document
    assert 0.5 < through["scores"][0]["value"] <= 1 and len(through["item"]) == 60
    for words, message in (
        (("--trials", "loss"), "--trials is for scores of whole benchmarks"),
        (("--better", "lower"), "with --items there is one --metric"),
    ):
        refused = sld(*asked, *words)
        assert refused.code == 2 and message in refused.err and refused.err.count("\n") == 1 and refused.out == ""
