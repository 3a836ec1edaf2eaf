"""Rows of one run are no independent witnesses: not in folds, not in the test for dependence, not in intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import Run, runner

from sld import api
from sld.analysis.intervals import compute, constant_intervals
from sld.core.errors import DataError, UsageError
from sld.data.card import Card
from sld.data.splits import rung_folds
from sld.data.table import LEAST_RUNS, Table, table_from
from sld.data.task import load_task
from sld.search.screening.dependence import dependence


def curves(
    seed: int = 0, *, effect: bool = True, wander: float = 0.02, n_runs: int = 8, n: int = 15, named: bool = True
) -> Table:
    """Loss along runs of four sizes, with errors that carry on from one checkpoint to the next."""
    rng = np.random.default_rng(seed)
    size = np.repeat(10.0 ** (6 + 0.4 * (np.arange(n_runs) // 2)), n)
    step = np.tile(np.geomspace(100, 1e4, n), n_runs)
    errors = np.empty((n_runs, n))
    errors[:, 0] = rng.normal(size=n_runs)
    for k in range(1, n):  # a stationary sequence in which neighbours agree
        errors[:, k] = 0.9 * errors[:, k - 1] + np.sqrt(1 - 0.81) * rng.normal(size=n_runs)
    loss = 3 + wander * errors.ravel() + (20 * size**-0.2 + 5 * step**-0.3 if effect else 0.0)
    columns = {"N": size, "step": step, "loss": loss, "name": np.repeat([f"r{k}" for k in range(n_runs)], n)}
    return table_from(columns, target="loss", scale=["N", "step"], run="name" if named else None)


@pytest.fixture
def sld(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return runner(capsys, monkeypatch, tmp_path)


# -- folds -----------------------------------------------------------------------------------------------------------


def test_a_fold_between_runs_never_splits_one() -> None:
    table = curves()
    folds = {fold.name: fold for fold in rung_folds(table)}
    between = [f for name, f in folds.items() if name.startswith(("N:", "N*step: top 6", "N high"))]
    assert len(between) >= 3
    for fold in between:
        assert not set(table.run_index[fold.train]) & set(table.run_index[fold.test])


def test_a_fold_along_the_steps_asks_how_runs_go_on() -> None:
    table = curves(n=60)
    fold = next(f for f in rung_folds(table) if f.name.startswith("step: top"))
    assert set(table.run_index[fold.test]) <= set(table.run_index[fold.train])
    for run in range(len(table.runs)):
        last = table.column("step")[fold.train[table.run_index[fold.train] == run]].max()
        first = table.column("step")[fold.test[table.run_index[fold.test] == run]].min()
        # a twentieth of the two decades lies between them
        assert np.log(first / last) >= 0.05 * np.log(100)


def test_folds_without_runs_are_as_before() -> None:
    one, other = curves(named=False), replace(curves(), runs=(), run_index=np.zeros(0, dtype=np.intp))
    for a, b in zip(rung_folds(one), rung_folds(other), strict=True):
        assert a.name == b.name
        assert (a.train == b.train).all()
        assert (a.test == b.test).all()


# -- dependence ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_checkpoints_that_agree_with_their_neighbours_are_no_law() -> None:
    false = {True: 0, False: 0}
    for seed in range(40):
        for named in false:
            table = curves(seed, effect=False, named=named)
            false[named] += dependence(table, 0, shuffles=99).p_value <= 0.02
    assert false[True] <= 4
    assert false[False] >= 20


def test_a_law_of_runs_is_seen() -> None:
    assert all(dependence(curves(seed), 0, shuffles=99).p_value <= 0.02 for seed in range(5))


# -- intervals -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_intervals_resample_runs() -> None:
    table, plain = curves(1, wander=0.05), curves(1, wander=0.05, named=False)
    law = api.fit(plain, "E + A*N**-a + B*step**-b", starts=8)
    widths = []
    for rows in (table, plain):
        known = replace(law, intervals=compute(law, rows, rung_folds(plain)))
        span = constant_intervals(known)["loss"]["all"]["E"]
        assert span is not None
        low, high = span
        widths.append(high - low)
    assert widths[0] > 1.3 * widths[1]


def test_clusters_are_runs_unless_a_group_has_too_few() -> None:
    table = curves()
    assert len(np.unique(table.clusters())) == len(table.runs)
    few = table.take(table.run_index < LEAST_RUNS - 1)
    assert len(np.unique(few.clusters())) == len(np.unique(few.points()))
    assert len(np.unique(curves(named=False).clusters())) == 4 * 15


# -- where runs are named --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_takes_a_run_column(sld: Run, tmp_path: Path) -> None:
    table = curves()
    names = [table.runs[k] for k in table.run_index]
    rows = [f"{n},{s},{y},{r}" for (n, s), (y,), r in zip(table.X.tolist(), table.Y.tolist(), names, strict=True)]
    (tmp_path / "runs.csv").write_text("\n".join(["N,step,loss,name", *rows]))
    given = ("discover", "runs.csv", "--target", "loss", "--scale", "N,step", "--budget", "150fits", "--workers", "1")
    assert sld(*given, "--run", "name").code == 0
    wrong = sld(*given, "--run", "nam", "--out", "other")
    assert (wrong.code, wrong.err.strip().splitlines()[-1]) == (2, wrong.err.strip())
    assert "did you mean 'name'?" in wrong.err


def test_a_missing_name_of_a_run_is_refused() -> None:
    columns = {"N": [1.0, 2.0, 3.0], "y": [3.0, 2.0, 1.0], "name": ["a", "", "b"]}
    with pytest.raises(DataError, match="row 2: run column 'name' is empty"):
        table_from(columns, target="y", scale="N", run="name")


def test_rows_left_out_keep_runs_errors_and_weights_with_theirs() -> None:
    columns = {
        "N": [1.0, 2.0, 3.0, 4.0], "y": [4.0, float("nan"), 2.0, 1.0], "name": ["a", "b", "c", "a"],
        "se": [0.1, 0.2, 0.3, 0.4], "w": [1.0, 2.0, 3.0, 4.0],
    }  # fmt: skip
    table = table_from(columns, target="y", scale="N", run="name", yerr="se", weights="w", missing="drop")
    assert [table.runs[k] for k in table.run_index] == ["a", "c", "a"]
    assert table.yerr is not None
    assert table.weights is not None
    assert table.yerr[:, 0].tolist() == [0.1, 0.3, 0.4]
    assert table.weights.tolist() == [1.0, 3.0, 4.0]
    last = table.take([2])
    assert (last.runs, last.weights.tolist() if last.weights is not None else None) == (("a",), [4.0])


CARD = """
name = "mine"
row = "a checkpoint"
run = "name"
weights = "w"

[files]
train = "train.csv"
held_out = "held_out.csv"

[[variable]]
column = "N"

[[target]]
column = "y"
yerr = "se"
"""


def test_a_card_says_it_and_held_out_rows_need_none_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "task.toml").write_text(CARD)
    (folder / "train.csv").write_text("N,y,se,w,name\n1,4,0.1,1,a\n2,3,0.1,2,a\n3,2,0.2,3,b\n")
    (folder / "held_out.csv").write_text("N,y\n9,1\n")
    task = load_task(folder)
    assert (task.train.runs, task.train.run_column, task.train.weights_column) == (("a", "b"), "name", "w")
    assert task.train.yerr is not None
    assert task.train.yerr[:, 0].tolist() == [0.1, 0.1, 0.2]
    held_out = task.held_out()
    assert held_out is not None
    assert (held_out.runs, held_out.weights, held_out.yerr) == ((), None, None)
    (tmp_path / "again.toml").write_text(task.card.to_toml())
    assert Card.read(tmp_path / "again.toml") == task.card


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('run = "name"', 'run = "y"', "column 'y' is declared twice"),
        ('yerr = "se"', 'yerr = "N"', "column 'N' is declared twice"),
        ('weights = "w"', "weights = 3", "weights"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "task.toml").write_text(CARD.replace(old, new))
    with pytest.raises(DataError, match=message):
        Card.read(tmp_path)


def test_runs_change_the_digest_of_a_table() -> None:
    assert curves().digest() != curves(named=False).digest()


def test_roles_of_runs_go_with_bare_tables_only() -> None:
    with pytest.raises(UsageError):
        api.as_task(curves(), run="name")
