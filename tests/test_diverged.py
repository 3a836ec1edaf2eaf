"""Diverged runs are set aside before the search, and nothing else is; other outliers do not pull the final fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from searches import chinchilla, grouped, mixture, one_scale, search, two_scales

from sld.core.fitting import FitResult, fit, huber_weights
from sld.core.splits import rung_folds
from sld.core.table import Array, Table, table_from
from sld.core.task import load_task
from sld.search.diverged import MOST, diverged_rows, sentence
from sld.search.robust import far_rows, robust_fit

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"  # third-party rows, where they are at hand
FOLDERS = [card.parent for root in (SHARED, ROOT / "tasks") for card in sorted(root.glob("**/task.toml"))]
TABLES = {"one scale": lambda: one_scale(24), "two scales": two_scales, "groups": grouped, "mixture": mixture}


def valley() -> Table:
    """A sweep whose ends are meant to be bad, the more so the larger the model."""
    n, lr = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e-4, 1e-1, 9)))
    loss = 2 + 50 * n**-0.25 + 0.2 * (np.log(lr) + 1 + 0.3 * np.log(n)) ** 2
    return table_from({"N": n, "lr": lr, "loss": loss}, target="loss", scale="N", hyper="lr")


def with_rows(table: Table, values: dict[int, float]) -> Table:
    Y: Array = table.Y.copy()
    for row, value in values.items():
        Y[row, 0] = value
    return table.with_targets(Y)


# -- set aside -------------------------------------------------------------------------------------------------------


def test_a_diverged_run_inside_the_grid_is_found_and_named() -> None:
    table = two_scales(noise=0.003, n_n=8, n_d=6)
    found = diverged_rows(with_rows(table, {20: 9.8}))
    assert [d.row for d in found] == [20]
    assert "row 21 (loss 9.8 where its neighbours have 2." in sentence(table, found)


def test_a_diverged_run_at_the_top_is_found() -> None:
    table = two_scales(noise=0.003, n_n=8, n_d=6)
    largest = int(np.argmax(table.X.prod(axis=1)))
    assert [d.row for d in diverged_rows(with_rows(table, {largest: 7.0}))] == [largest]


def test_the_smallest_run_may_be_as_bad_as_it_likes() -> None:
    table = two_scales(noise=0.003, n_n=8, n_d=6)
    smallest = int(np.argmin(table.X.prod(axis=1)))
    assert diverged_rows(with_rows(table, {smallest: 50.0})) == ()


def test_a_run_that_is_too_good_is_not_diverged() -> None:
    table = two_scales(noise=0.003, n_n=8, n_d=6)
    assert diverged_rows(with_rows(table, {20: 0.1})) == ()
    scores = table_from(
        {"N": table.X[:, 0], "D": table.X[:, 1], "acc": 1 / table.Y[:, 0]},
        target="acc", scale=["N", "D"], higher_is_better=True,
    )  # fmt: skip
    assert [d.row for d in diverged_rows(with_rows(scores, {20: -1.0}))] == [20]
    assert diverged_rows(with_rows(scores, {20: 2.0})) == ()


def test_the_ends_of_a_sweep_stay() -> None:
    table = valley()
    top_lr = np.flatnonzero(table.X[:, 1] == table.X[:, 1].max())
    assert diverged_rows(table) == ()
    assert diverged_rows(with_rows(table, {int(r): 60.0 for r in top_lr[-1:]})) == ()
    inside = int(np.flatnonzero((np.abs(np.log10(table.X[:, 1]) + 2.5) < 0.01) & (table.X[:, 0] > 3e7))[0])
    assert [d.row for d in diverged_rows(with_rows(table, {inside: 60.0}))] == [inside]


def test_never_more_than_a_twentieth() -> None:
    table = two_scales(noise=0.003, n_n=10, n_d=8)
    for n, expected in ((4, 4), (5, 0)):
        rows = {int(r): 9.0 for r in np.linspace(24, 70, n)}
        assert len(diverged_rows(with_rows(table, rows))) == expected
    assert pytest.approx(0.05) == MOST


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.3])
def test_clean_tables_are_untouched(name: str, noise: float) -> None:
    table = TABLES[name]()
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert diverged_rows(table.with_targets(table.Y + noise * table.Y.std() * rng.normal(size=table.Y.shape))) == ()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f"{f.parent.name}/{f.name}")
def test_nothing_fires_on_measured_tables(folder: Path) -> None:
    assert diverged_rows(load_task(folder).train) == ()


def test_the_search_leaves_them_out_and_says_so() -> None:
    clean = two_scales(n_n=8, n_d=6)
    found = search(with_rows(clean, {20: 9.8}), "1500fits", proposers=["catalogue"])
    assert found.table.n_rows == clean.n_rows - 1
    assert any(note.startswith("1 run looks diverged: row 21 (loss 9.8") for note in found.notes)
    assert all(max(fold.test) < found.table.n_rows for fold in found.folds)
    far = {"N": np.array([1e12]), "D": np.array([1e14])}
    assert found.law.predict(far)[0, 0] == pytest.approx(chinchilla(far["N"], far["D"])[0], rel=0.01)


def test_the_record_is_of_the_table_that_was_given() -> None:
    table = with_rows(two_scales(n_n=8, n_d=6), {20: 9.8})
    assert search(table, "100fits").config["rows"] == table.digest()


# -- a final fit that outliers do not pull ---------------------------------------------------------------------------


def heavy(seed: int = 0, n_far: int = 3) -> Table:
    """A power law with a few rows far off on either side, none of them absurd."""
    rng = np.random.default_rng(seed)
    x = np.geomspace(1, 1e4, 60)
    y = 2 + 3 * x**-0.5 + 0.003 * rng.normal(size=60)
    y[rng.choice(np.arange(5, 40), n_far, replace=False)] += 0.5
    return table_from({"N": x, "y": y}, target="y", scale="N")


def test_far_rows_are_counted() -> None:
    rng = np.random.default_rng(0)
    normal = rng.normal(size=500)
    assert far_rows(normal, 10.0) == 0
    assert far_rows(np.append(normal, [9.0, -12.0]), 10.0) == 2
    assert far_rows(np.append(normal, np.full(80, 30.0)), 10.0) == 0  # a misfit, not an accident
    assert far_rows(1e-12 * np.append(normal, 40.0), 1.0) == 0  # rounding errors of an exact law


def test_huber_is_kept_where_it_extrapolates_better() -> None:
    misses = []
    for seed in range(5):
        table = heavy(seed)
        expression = table.parse("E + A*N**-a")
        squared = fit(expression, table)
        found = robust_fit(expression, table, rung_folds(table), squared, table, target=0, seed=0)
        if found is not None:
            assert "3 rows lie far off" in found[1]
            x = 1e6  # a hundred times beyond the data; there the law is 2.003
            misses.append([abs(c["E"] + c["A"] * x ** -c["a"] - 2.003) for c in _constants(squared, found[0])])
    assert len(misses) >= 4
    plain, robust = np.mean(misses, axis=0)
    assert robust < 0.5 * plain


def _constants(*results: FitResult) -> list[dict[str, float]]:
    return [result.constants["all"] for result in results]


def test_squares_are_kept_without_outliers() -> None:
    table = heavy(n_far=0)
    expression = table.parse("E + A*N**-a")
    assert robust_fit(expression, table, rung_folds(table), fit(expression, table), table, target=0, seed=0) is None


def test_a_search_says_which_loss_it_used() -> None:
    options = {"formulas": ["E + A*N**-a"], "proposers": []}
    found = search(heavy(), "50fits", **options)
    assert found.law.loss("y") == "huber"
    assert any("fitted with Huber's loss" in note for note in found.notes)
    assert search(heavy(n_far=0), "50fits", **options).law.loss("y") == "squared"


def test_huber_weights_leave_the_bulk_alone() -> None:
    residual = np.append(np.random.default_rng(0).normal(size=200), [50.0, np.nan])
    weights = huber_weights(residual)
    assert (weights[np.abs(residual) < 1] == 1.0).all()
    assert weights[200] == pytest.approx(1.345 * 1.4826 * np.nanmedian(np.abs(residual)) / 50)
    assert weights[201] == 0.0
