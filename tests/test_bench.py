"""`sld bench`: every task of a suite searched and scored, the same on a cluster as here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_runs import REPOSITORY, child, one_line
from commands import Run
from many_cases import case

import sld as package

SMALL = ("nanolm_context", "nanolm_moe")


def suite(folder: Path) -> Path:
    """Write a suite of two small tasks, and one whose rows no search can use."""
    for name in SMALL:
        shutil.copytree(REPOSITORY / "tasks" / name, folder / name)
    few = folder / "few"
    few.mkdir()
    (few / "task.toml").write_text(
        'name = "few"\nversion = 1\ntitle = "Too few runs"\n[files]\ntrain = "train.csv"\n'
        '[[variable]]\ncolumn = "N"\nrole = "scale"\n[[target]]\ncolumn = "loss"\n',
        encoding="utf-8",
    )
    (few / "train.csv").write_text("N,loss\n1e6,3.0\n1e7,2.5\n", encoding="utf-8")
    return folder


def test_suites_that_are_none_are_refused(sld: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, said in (("bundle", "bundled"), ("sldbench", "tasks fetch sldbench"), (tmp_path / "empty", "task.toml")):
        with case(name):
            one_line(sld("bench", name), said)


def test_what_no_search_can_take_is_refused_before_any_is_made(sld: Run, tmp_path: Path) -> None:
    """It was a failed search of every task, and a mean of -1."""
    folder = suite(tmp_path / "suite")
    for words, said in (
        (("--budget", "0fits"), "budget is a time or a number of fits"),
        (("--budget", "200fits", "--workers", "0"), "workers must be 1 or more"),
    ):
        with case(said):
            one_line(sld("bench", folder, *words, "--out", tmp_path / "out"), said)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_suite_has_the_scores_on_a_cluster_that_its_searches_have_alone(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed (pip install 'sld[dask]')")
    folder = suite(tmp_path / "suite")
    words = ("bench", folder, "--budget", "300fits", "--json")
    here = child(*words, "--workers", 1, "--out", "here", cwd=tmp_path)
    there = child(*words, "--executor", "dask", "--out", "there", cwd=tmp_path)
    assert "1 of 3 searches failed; few: " in here.stderr and here.returncode == there.returncode == 1, there.stderr
    one, other = json.loads(here.stdout), json.loads(there.stdout)
    for document in (one, other):
        for task in document["tasks"]:
            assert Path(task.pop("run_dir")).name == f"{task['task']}-0"
    assert one == other
    assert [task["task"] for task in one["tasks"]] == sorted(["few", *SMALL])
    assert "failed" in one["tasks"][0] and one["n_scored"] == 3
    for task in one["tasks"][1:]:
        alone = package.discover(REPOSITORY / "tasks" / task["task"], budget="300fits", workers=1)
        assert task["scores"] == package.score(alone.law, task["task"]).to_json()
    assert one["mean_r2"] == pytest.approx((-1.0 + sum(max(-1.0, t["scores"]["r2"]) for t in one["tasks"][1:])) / 3)
    plain = child("bench", folder, "--budget", "300fits", "--workers", 1, "--out", "here", cwd=tmp_path)
    assert "mean R² over 3 tasks" in plain.stdout and "few" in plain.stdout
