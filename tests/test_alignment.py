"""Runs laid over one another: by which column their curves fall together, how far apart they are, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runs import REPOSITORY
from commands import Run
from many_cases import case

import sld
from sld.analysis.curves.overlay import CurveAlignment
from sld.core.errors import DataError, UsageError

NOISE = 0.004
SIZES = {"S": 1e8, "M": 4e8, "L": 1.6e9, "XL": 6.4e9}


def family(by: str, noise: float = NOISE, points: tuple[int, ...] = (20, 15, 24, 12)) -> dict[str, list[Any]]:
    """Return checkpoints of four sizes, each on its own steps, whose score is a sigmoid of one column alone."""
    rng = np.random.default_rng(7)
    rows: dict[str, list[Any]] = {"size": [], "tokens": [], "flops": [], "acc": []}
    for n, (name, size) in zip(points, SIZES.items(), strict=True):
        tokens = np.geomspace(1e9, 2e11, n)
        columns = {"tokens": tokens, "flops": 6 * size * tokens, "both": np.sqrt(size) * tokens}
        u = np.log10(columns[by])
        middle = {"tokens": 10.2, "flops": 20.0, "both": 14.7}[by]
        rows["size"] += [name] * n
        rows["tokens"] += tokens.tolist()
        rows["flops"] += columns["flops"].tolist()
        rows["acc"] += (0.25 + 0.6 / (1 + np.exp(-1.5 * (u - middle))) + noise * rng.standard_normal(n)).tolist()
    return rows


def laid(rows: object, **words: Any) -> CurveAlignment:
    asked = {"target": "acc", "step": "tokens", "run": "size", "align": ["tokens", "flops"], **words}
    return sld.curve_alignment(rows, **asked)


@pytest.mark.parametrize(("by", "other"), [("flops", "tokens"), ("tokens", "flops")])
def test_a_score_of_one_column_alone_lies_closest_by_it_at_the_level_of_noise(by: str, other: str) -> None:
    found = laid(family(by))
    assert found.closest == by and found.told_apart and f"closest by {by}" in found.sentence
    near, far = found[by], found[other]
    assert near.noise is not None and far.noise is not None
    # the noise of both runs, a little less between checkpoints than at them
    assert near.noise == pytest.approx(np.sqrt(2) * NOISE, rel=0.3)
    assert near.distance == pytest.approx(near.noise, rel=0.35)
    assert far.distance > 10 * far.noise and far.offset_share > 0.5 > near.offset_share
    assert {(p.first, p.second) for p in near.pairs} == {(p.first, p.second) for p in found.to_frame().itertuples()}


def test_columns_that_are_equally_good_are_not_told_apart() -> None:
    halfway = laid(family("both"))
    assert not halfway.told_apart and halfway["flops"].distance > 1.05 * halfway["tokens"].distance
    rows = family("flops")
    rows["joules"] = [3 * f for f in rows["flops"]]
    same = laid(rows, align=["flops", "joules"])
    assert not same.told_apart and "not told apart" in same.sentence


def test_columns_are_told_apart_where_one_is_better_and_hardly_ever_where_none_is() -> None:
    """A score of tokens times a power of the size: half of it is as far from tokens as from compute."""
    for power, closest, at_most in ((0.5, None, 1), (0.25, "tokens", 10), (0.75, "flops", 10)):
        told = []
        for seed in range(10):
            rng = np.random.default_rng(seed)
            sizes = 1e8 * np.cumprod([1.0, *rng.uniform(1.5, 5, rng.integers(1, 5))])
            tokens = np.geomspace(1e9, 2e11, rng.integers(8, 30))
            u = np.log10(tokens) + power * np.log10(sizes / sizes[len(sizes) // 2])[:, None]
            score = 1 / (1 + np.exp(-rng.uniform(0.7, 3) * (u - rng.uniform(9.2, 11.2))))
            rows = {
                "size": np.repeat([f"{s:.4g}" for s in sizes], len(tokens)),
                "tokens": np.tile(tokens, len(sizes)),
                "flops": np.outer(6 * sizes, tokens).ravel(),
                "acc": (score + 0.003 * rng.standard_normal(score.shape)).ravel(),
            }
            found = laid(rows)
            told += [found.closest] if found.told_apart else []
        with case(power):
            assert len(told) <= at_most and (closest is None or told.count(closest) >= 9)


def test_two_runs_of_few_checkpoints_tell_nothing_apart() -> None:
    x = [1.0, 10.0, 100.0]
    rows = {"tokens": x + x, "flops": [*x, 5.0, 50.0, 500.0], "size": ["a"] * 3 + ["b"] * 3, "acc": list(range(6))}
    found = laid(rows)
    assert not found.told_apart and found["flops"].noise is None and "how surely is not known" in found.sentence
    assert any("noise" in note for note in found.notes)


def test_distance_and_offset_are_those_of_the_common_part() -> None:
    x = np.geomspace(1, 1000, 31)
    rows = {
        "tokens": np.concatenate([x, 10 * x]),
        "size": ["a"] * 31 + ["b"] * 31,
        "acc": np.concatenate([np.log10(x), np.log10(10 * x) + 0.5]),
    }
    (pair,) = laid(rows, align="tokens")["tokens"].pairs
    assert [pair.low, pair.high] == pytest.approx([10, 1000])
    assert pair.distance == pytest.approx(0.5) and pair.offset == pytest.approx(0.5)
    assert pair.offset_share == pytest.approx(1) and pair.noise == pytest.approx(0, abs=1e-9)
    # from 1 at 10 to 3.5 at 1000, but for half a cell at each end
    assert pair.share == pytest.approx(0.2, rel=0.02)
    rows["acc"] = np.concatenate([np.log10(x), 2 * np.log10(10 * x) - 2])
    (pair,) = laid(rows, align="tokens")["tokens"].pairs
    # v - 2 over v from 1 to 3: mean 0, root mean square 1/sqrt(3)
    assert pair.distance == pytest.approx(3**-0.5, rel=1e-3) and pair.offset == pytest.approx(0, abs=1e-9)


def test_pairs_without_a_common_part_are_named_and_what_cannot_be_laid_is_refused() -> None:
    rows = family("flops")
    late = [k for k, (s, t) in enumerate(zip(rows["size"], rows["tokens"], strict=True)) if s != "XL" or t > 1e11]
    found = laid({name: [values[k] for k in late] for name, values in rows.items()})
    assert any("of flops in common" in note and "S and XL" in note for note in found.notes)
    assert len(found["flops"].pairs) < len(found["tokens"].pairs) == 6
    assert found.closest == "flops"
    n = len(rows["acc"])
    apart = [f * {"S": 1, "M": 1e4, "L": 1e8, "XL": 1e12}[s] for f, s in zip(rows["flops"], rows["size"], strict=True)]
    for changed, words, message in (
        ({}, {"run": ()}, "at least two, got 1"),
        ({}, {"align": ["tokens", "flop"]}, "flops"),
        ({}, {"align": []}, "align names the columns"),
        ({}, {"align": ["flops", "flops"]}, "twice"),
        ({}, {"align": ["tokens", "size"]}, "'size' is named for something else"),
        ({}, {"align": "acc"}, "'acc' is named for something else"),
        ({}, {"seed": -1}, "seed"),
        ({"flops": apart}, {}, "no two runs have a part of flops in common"),
        ({"flops": [0.0, *rows["flops"][1:]]}, {}, "above 0"),
        ({"flops": [-x for x in rows["flops"]]}, {}, "above 0"),
        ({"flops": [1 / x for x in rows["flops"]]}, {}, "falls along run 'S'"),
        ({"flops": [3.0] * n}, {}, "is 3 all along run 'S'"),
        ({"tokens": [-1.0, *rows["tokens"][1:]]}, {}, "not below 0"),
        ({"size": [f"r{k}" for k in range(n - 1)] + ["r0"]}, {}, "no two runs have a part"),
    ):
        with case((sorted(changed), words)), pytest.raises((UsageError, DataError), match=message) as caught:
            laid({**rows, **changed}, **words)
        assert "\n" not in str(caught.value)


def test_the_command_writes_an_overlay_and_a_report_of_distances(sld: Run, tmp_path: Path) -> None:
    rows = family("flops")
    lines = [",".join(rows), *(",".join(map(str, row)) for row in zip(*rows.values(), strict=True))]
    (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = ("curve", "runs.csv", "--target", "acc", "--step", "tokens", "--run", "size", "--align", "tokens,flops")
    done = sld(*asked, "--plot", "overlay.png", "--out", "distances.csv")
    assert done.code == 0, done.err
    assert "the curves lie closest by flops" in done.out and "told apart from tokens" in done.out
    assert (tmp_path / "overlay.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "distances.csv").read_text(encoding="utf-8").count("\n") == 13
    document = sld(*asked, "--json").document
    assert document["closest"] == "flops" and len(document["alignments"][0]["pairs"]) == 6
    assert document == json.loads(json.dumps(laid(rows).to_json()))
    for words, message in (
        (("--until", "1e12"), "--until says nothing of runs laid over one another"),
        (("--alone",), "--alone says nothing"),
        (("--skip", "0.1"), "--skip says nothing"),
    ):
        refused = sld(*asked, *words)
        assert refused.code == 2 and message in refused.err and refused.err.count("\n") == 1
    table = REPOSITORY / "examples" / "curves.csv"
    done = sld("curve", table, "--melt", "--target", "loss", "--step", "Step", "--align", "Step")
    assert done.code == 0 and "size-6.14k, size-24.6k" in done.out and "laid over one another" in done.out
