"""Diverged runs are set aside before the search, and nothing else is; other outliers do not pull the final fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from many_cases import each
from searches import chinchilla, grouped, mixture, one_scale, search, two_scales

from sld import api
from sld.core.errors import UsageError
from sld.data.splits import rung_folds
from sld.data.table import Array, Table, table_from
from sld.data.task import load_task
from sld.fit.fitting import FitResult, fit, huber_weights
from sld.search.choosing.robust import Constrained, far_rows, robust_fit
from sld.search.screening.diverged import MOST, diverged_rows, sentence

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"  # third-party rows, where they are at hand
FOLDERS = [card.parent for root in (SHARED, ROOT / "tasks") for card in sorted(root.glob("**/task.toml"))]
# a look at a hundred tables takes ten seconds
MARKED = [f if ROOT in f.parents else pytest.param(f, marks=pytest.mark.slow) for f in FOLDERS]
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


def test_what_is_no_accident_stays() -> None:
    table = two_scales(noise=0.003, n_n=10, n_d=8)
    for n, expected in ((4, 4), (8, 8), (30, 0)):
        rows = {int(r): 9.0 for r in np.linspace(12, 78, n)}
        assert len(diverged_rows(with_rows(table, rows))) == expected
    assert pytest.approx(0.2) == MOST


@each("n", [8, 12, 24])
@each("factor", [6.0, 60.0])
def test_one_failed_run_of_a_small_table_is_found(n: int, factor: float) -> None:
    for row in range(1, n):
        rng = np.random.default_rng(row)
        x = np.geomspace(1e6, 1e9, n)
        y = (2 + 400 * x**-0.35) * (1 + 0.003 * rng.normal(size=n))
        table = table_from({"N": x, "loss": y}, target="loss", scale="N")
        assert [d.row for d in diverged_rows(with_rows(table, {row: factor * y[row]}))] == [row]


def test_failed_runs_do_not_hide_each_other() -> None:
    table = two_scales(noise=0.003, n_n=5, n_d=5)
    exact = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rows = sorted(rng.choice(np.arange(1, 25), 3, replace=False).tolist())
        found = [d.row for d in diverged_rows(with_rows(table, {r: 12 + 5 * rng.random() for r in rows}))]
        assert set(found) <= set(rows)
        exact += found == rows
    assert exact >= 27


def test_what_was_given_less_than_a_failed_run_and_is_as_bad_has_failed_too() -> None:
    table = two_scales(noise=0.003, n_n=5, n_d=5)
    assert (table.X[0] == table.X.min(axis=0)).all()
    assert diverged_rows(with_rows(table, {0: 50.0})) == ()
    # the sixth of the second row has neighbours that were given less and did well
    assert [d.row for d in diverged_rows(with_rows(table, {0: 50.0, 6: 49.0}))] == [0, 6]


def small_groups(n_groups: int = 6) -> Table:
    """Groups of four rows: too few for any of them to say what is absurd."""
    rng = np.random.default_rng(0)
    n = np.tile([5.0, 25.0, 125.0, 250.0], n_groups)
    level = np.repeat(rng.uniform(0.5, 2.0, n_groups), 4)
    y = level * (0.05 + n**-0.5) * (1 + 0.05 * rng.normal(size=len(n)))
    return table_from(
        {"n": n, "y": y, "g": np.repeat([f"g{k}" for k in range(n_groups)], 4)}, target="y", scale="n", group="g"
    )


def test_a_failed_run_of_a_small_group_is_found_beside_other_groups() -> None:
    table = small_groups()
    assert diverged_rows(table) == ()
    for row in range(table.n_rows):
        found = diverged_rows(with_rows(table, {row: 50 * float(table.Y[row, 0])}))
        assert [d.row for d in found] == [row]  # the smallest of its group, too: others were as small
        assert found[0].usual < 5 * float(table.Y[row, 0])


def test_a_group_at_another_level_has_not_failed() -> None:
    table = small_groups()
    one = {int(r): 40 * float(table.Y[r, 0]) for r in np.flatnonzero(table.group_index == 2)}
    assert diverged_rows(with_rows(table, one)) == ()


def test_steep_laws_stay() -> None:
    for n in (6, 8, 12, 30):
        x = np.geomspace(1, 1e4, n)
        for power in (1.0, 2.0, 3.0):
            assert diverged_rows(table_from({"N": x, "y": 1 + 1e3 * x**-power}, target="y", scale="N")) == ()


def test_a_peak_with_shoulders_stays() -> None:
    x = np.arange(5.0, 100.0, 5.0)
    peak = 0.5 + 5 / (1 + ((x - 50) / 4) ** 2)  # double descent at its threshold
    assert diverged_rows(table_from({"n": x, "y": peak}, target="y", scale="n")) == ()
    wide = 0.5 + 2 * np.exp(-(((x - 50) / 12) ** 2))
    assert diverged_rows(table_from({"n": x, "y": wide}, target="y", scale="n")) == ()
    lone = np.where(x == 50, 5.0, 0.5 + 1 / x)
    assert [d.row for d in diverged_rows(table_from({"n": x, "y": lone}, target="y", scale="n"))] == [9]


def test_a_region_of_bad_runs_is_no_accident() -> None:
    n, lr = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e9, 8), np.geomspace(1e-4, 1e-1, 8)))
    loss = 2 + 50 * n**-0.25
    bad = (n > 1e7) & (n < 5e8) & (lr > 1e-3) & (lr < 2e-2)
    table = table_from({"N": n, "lr": lr, "loss": np.where(bad, 11.0, loss)}, target="loss", scale="N", hyper="lr")
    assert diverged_rows(table) == ()


def test_heavy_tails_at_small_sizes_are_noise() -> None:
    rng = np.random.default_rng(0)
    n = np.repeat(np.geomspace(10, 1e4, 12), 15)
    failed = (rng.random(len(n)) < 0.3) & (n < 100)
    y = 0.05 + 0.1 * n**-0.3 + 0.001 * rng.normal(size=len(n)) + failed * rng.uniform(0.1, 0.4, len(n))
    assert diverged_rows(table_from({"n": n, "y": y}, target="y", scale="n")) == ()


# -- numbers that a trainer lost -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_loss_that_was_lost_is_set_aside(value: float) -> None:
    table = two_scales(noise=0.003)
    for row in (0, 7, 29):
        found = diverged_rows(with_rows(table, {row: value}))
        assert [(d.row, d.value) for d in found] == [(row, value)]
    assert f"(loss {value:g} where its neighbours have" in sentence(table, diverged_rows(with_rows(table, {3: value})))


def test_zeros_that_losses_come_near_stay() -> None:
    n = np.geomspace(1, 1e4, 10)
    near = {"n": n, "err": np.append(np.round(0.5 / n[:-1], 3) + 0.001, 0.0)}  # three digits, and zero is one of them
    assert diverged_rows(table_from(near, target="err", scale="n")) == ()
    counted = {"n": n, "err": np.array([40, 35, 28, 22, 17, 12, 8, 5, 3, 0]) / 1319}
    assert diverged_rows(table_from(counted, target="err", scale="n")) == ()
    signed = {"n": n, "y": np.append(np.linspace(3, -3, 9), 0.0)}
    assert diverged_rows(table_from(signed, target="y", scale="n")) == ()
    scores = {"n": n, "acc": np.append(0.0, np.linspace(0.5, 0.9, 9))}
    assert diverged_rows(table_from(scores, target="acc", scale="n", higher_is_better=True)) == ()


# -- whole runs ------------------------------------------------------------------------------------------------------


def checkpoints(n_runs: int = 6, n: int = 8) -> Table:
    rng = np.random.default_rng(0)
    steps = np.tile(np.geomspace(100, 1e4, n), n_runs)
    y = (2 + 5 * steps**-0.3) * (1 + 0.003 * rng.normal(size=len(steps)))
    runs = np.repeat([f"run {k}" for k in range(n_runs)], n)
    return table_from({"step": steps, "loss": y, "name": runs}, target="loss", scale="step", run="name")


def test_a_run_that_mostly_diverged_is_set_aside_by_name() -> None:
    table = checkpoints()
    late = {int(r): 11.0 + 0.1 * k for k, r in enumerate(np.flatnonzero(table.run_index == 2)[3:])}
    found = diverged_rows(with_rows(table, late))
    assert {d.row for d in found} == set(np.flatnonzero(table.run_index == 2).tolist())
    assert {d.run for d in found} == {"run 2"}
    text = sentence(with_rows(table, late), found)
    assert text.startswith("1 run looks diverged: name 'run 2' (8 rows, loss 11.4 where others have 2.")
    assert text.endswith("it was left out of the search and of the fit")


def test_one_bad_checkpoint_is_a_row() -> None:
    table = checkpoints()
    found = diverged_rows(with_rows(table, {20: 11.0}))
    assert [(d.row, d.run) for d in found] == [(20, "")]


@each("name", TABLES)
@each("noise", [0.0, 0.01, 0.3])
def test_clean_tables_are_untouched(name: str, noise: float) -> None:
    table = TABLES[name]()
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert diverged_rows(table.with_targets(table.Y + noise * table.Y.std() * rng.normal(size=table.Y.shape))) == ()


@pytest.mark.parametrize("folder", MARKED, ids=lambda f: f"{f.parent.name}/{f.name}")
def test_nothing_fires_on_measured_tables(folder: Path) -> None:
    table = load_task(folder).train
    # an agent that never finished an episode has the lowest reward there is
    assert all(d.value == -500.0 for d in diverged_rows(table) if folder.name == "rl_learning_rate_sweep")
    assert folder.name == "rl_learning_rate_sweep" or diverged_rows(table) == ()


@pytest.mark.slow
def test_next_to_nothing_fires_on_small_parts_of_measured_tables() -> None:
    fired, tried = 0, 0
    for folder in FOLDERS:
        table = load_task(folder).train
        for k, n in enumerate((8, 12, 16, 24, 40, 60)):
            rng = np.random.default_rng(k)
            rows = rng.choice(table.n_rows, min(n, table.n_rows), replace=False)
            tried, fired = tried + 1, fired + bool(diverged_rows(table.take(np.sort(rows))))
    assert fired <= max(0.01 * tried, 1)


def test_the_search_leaves_them_out_and_says_so() -> None:
    clean = two_scales(n_n=8, n_d=6)
    found = search(with_rows(clean, {20: 9.8}), "1500fits", proposers=["catalogue"])
    assert found.table.n_rows == clean.n_rows - 1
    assert any(note.startswith("1 run looks diverged: row 21 (loss 9.8") for note in found.notes)
    assert all(max(fold.test) < found.table.n_rows for fold in found.folds)
    far = {"N": np.array([1e12]), "D": np.array([1e14])}
    assert found.law.predict(far)[0, 0] == pytest.approx(chinchilla(far["N"], far["D"])[0], rel=0.01)


@pytest.mark.slow
def test_rows_set_aside_are_on_the_record() -> None:
    table = with_rows(two_scales(n_n=8, n_d=6), {20: 9.8})
    found = search(table, "100fits")
    (row,) = found.law.provenance["set_aside"]
    assert (row["row"], row["target"], row["value"]) == (21, "loss", 9.8)
    kept = search(table, "100fits", outliers="keep")
    assert kept.table.n_rows == table.n_rows
    assert "set_aside" not in kept.law.provenance
    with pytest.raises(UsageError, match="outliers must be 'drop' or 'keep', got 'none'"):
        search(table, "100fits", outliers="none")


def test_rows_are_numbered_as_they_were_given() -> None:
    # a group of two rows stands before the others, and is left out of the search
    table = small_groups()
    y = table.Y[:, 0].copy()
    y[10] *= 50
    few = {"n": [5.0, 25.0, *table.X[:, 0]], "y": [0.4, 0.3, *y], "g": ["few", "few", *np.repeat(table.groups, 4)]}
    found = search(table_from(few, target="y", scale="n", group="g"), "100fits")
    assert [d["row"] for d in found.law.provenance["set_aside"]] == [13]


def test_a_fit_of_one_form_names_them_and_leaves_the_choice() -> None:
    table = with_rows(two_scales(n_n=8, n_d=6), {20: 9.8})
    form = "E + A*N**-a + B*D**-b"
    kept, dropped = (api.fit(table, form, outliers=o, starts=4) for o in ("keep", "drop"))
    assert "row 21 (loss 9.8" in kept.provenance["notes"][0]
    assert "--outliers drop" in kept.provenance["notes"][0]
    assert dropped.constants["loss"]["all"]["E"] == pytest.approx(1.69, abs=0.01)
    assert abs(kept.constants["loss"]["all"]["E"] - 1.69) > 0.02


def test_the_record_is_of_the_table_that_was_given() -> None:
    table = with_rows(two_scales(n_n=8, n_d=6), {20: 9.8})
    assert search(table, "100fits").config["rows"] == table.canonical().digest()


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
        found = robust_fit(Constrained(expression), table, rung_folds(table), squared, table, seed=0)
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
    assert robust_fit(Constrained(expression), table, rung_folds(table), fit(expression, table), table, seed=0) is None


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
