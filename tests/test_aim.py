"""Planned runs: what they are read from, and that folds, weights, checks and the verdict are about them."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_runs import one_line
from commands import Run
from many_cases import each

import sld
from sld.api.runs import load_run
from sld.core.errors import DataError, UsageError
from sld.data.aim import record, with_aim
from sld.data.asked import asked_of, asked_points
from sld.data.splits import _Layout, frontier_weights, planned_beyond, rung_folds
from sld.data.table import Table, table_from
from sld.search.choosing.consensus import _beyond
from sld.search.judging.admissible import HARD_REACH, Grid
from sld.search.judging.context import JudgingContext
from sld.search.screening.rows import of_few_groups

N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e8, 9), np.geomspace(1e8, 1e10, 9)))
LOSS = 1.7 + 400 * N**-0.34 + 900 * D**-0.3


def plain() -> Table:
    return table_from({"N": N, "D": D, "loss": LOSS}, target="loss", scale=["N", "D"])


def grouped() -> Table:
    """Two groups of seven runs; the second goes on to a hundred times the first one's sizes."""
    rows = [(g, n * k) for g, k in (("web", 1.0), ("code", 100.0)) for n in np.geomspace(1e6, 1e7, 7)]
    columns = {"data": [g for g, _ in rows], "N": [n for _, n in rows], "loss": [1.7 + 40 * n**-0.25 for _, n in rows]}
    return table_from(columns, target="loss", scale="N", group="data")


def aimed(points: object, table: Table | None = None) -> Table:
    return with_aim(plain() if table is None else table, points).table


@each(
    "points",
    [
        "N=1e9,D=1e11",
        ["D=1e11,N=1e9"],
        {"N": 1e9, "D": 1e11},
        {"N": [1e9], "D": [1e11], "loss": [7.0]},
        [{"N": 1e9, "D": 1e11}],
        aimed("N=1e9,D=1e11").aim,
    ],
)
def test_a_planned_run_is_read_however_it_is_given(points: object) -> None:
    aim = aimed(points).aim
    assert aim is not None and aim.Y.shape == (1, 0)
    assert aim.X.tolist() == [[1e9, 1e11]]


@each(
    "points, said",
    [
        ("", "got nothing"),
        ("N=1e9,D=1e9,d=3", "no variable 'd'; did you mean 'D'"),
        ("N=1e9", "every planned run needs D, a scale variable; there is N"),
        ("N=1e9;D=3", "NAME=NUMBER"),
        ("N=1e9,D", "NAME=NUMBER"),
        ("N=x,D=1e9", "column 'N' must be a number"),
        ("N=-1,D=1e9", "must be positive"),
        (["N=1e9,D=1e9", "N=1e9"], "name the same variables each"),
        (["N=1e9,D=1e9", "nowhere.csv"], "not both"),
        ("nowhere.csv", "no file"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(points: object, said: str) -> None:
    with pytest.raises((UsageError, DataError), match=said) as caught:
        aimed(points)
    assert "\n" not in str(caught.value)


def test_groups_of_planned_runs_are_those_of_the_table() -> None:
    with pytest.raises(UsageError, match="no group 'wbe'; did you mean 'web'"):
        aimed({"N": 1e9, "data": "wbe"}, grouped())
    everywhere = with_aim(grouped(), "N=1e10")
    assert everywhere.table.aim is not None and everywhere.table.aim.groups == ("web", "code")
    assert "planned in all 2 groups" in everywhere.notes[0]


def test_notes_say_what_was_not_taken_from_the_planned_runs() -> None:
    assert "loss was not read" in with_aim(plain(), {"N": 1e9, "D": 1e11, "loss": 3.0}).notes[0]
    inside = with_aim(plain(), "N=2e7,D=1e9")
    assert inside.table.aim is None and "within the rows" in inside.notes[0]
    assert "1 of 2 planned runs lie beyond" in with_aim(plain(), ["N=2e7,D=1e9", "N=1e9,D=1e9"]).notes[0]
    far = with_aim(plain(), "N=1e13,D=1e9").notes
    assert len(far) == 1 and "1e5 times the largest N" in far[0]
    table = table_from({"N": N, "lr": D, "loss": LOSS}, target="loss", scale="N", hyper="lr")
    filled = with_aim(table, "N=1e9")
    assert filled.table.aim is not None and filled.table.aim.column("lr")[0] == D[np.argmax(N)]
    assert "lr is taken as in the largest run" in filled.notes[0]


@each(
    "points, label, test",
    [
        # 9 rungs of 2 decades: one beyond by a third of the range is imitated by two rungs above the other seven
        ("N=4.7e8,D=1e9", "N: top 2 of 9 rungs", N > 5e7),
        ("N=1e7,D=4.7e10", "D: top 2 of 9 rungs", D > 5e9),
        ("N=1e7,D=2.1e7", "D: bottom 2 of 9 rungs", D < 2e8),
    ],
)
def test_the_first_fold_is_the_step_that_is_asked_for(points: str, label: str, test: np.ndarray) -> None:
    first = rung_folds(aimed(points))[0]
    assert first.name == label
    assert first.test.tolist() == np.flatnonzero(test).tolist()
    assert sorted([*first.train, *first.test]) == list(range(len(N)))


def test_runs_beyond_in_two_variables_are_judged_from_rows_below_in_both() -> None:
    first = rung_folds(aimed("N=4.7e8,D=2.1e7"))[0]
    assert first.name == "N top and D bottom, from below in all"
    assert N[first.test].min() > N[first.train].max()
    assert D[first.test].max() < D[first.train].min()


def test_runs_beyond_the_cost_alone_are_judged_along_the_cost() -> None:
    # no row has both at their largest
    kept = N * D < 1e17
    table = table_from({"N": N[kept], "D": D[kept], "loss": LOSS[kept]}, target="loss", scale=["N", "D"])
    there = aimed("N=1e8,D=1e10", table)
    assert rung_folds(there)[0].name.startswith("N*D: top")
    weights = frontier_weights(there)
    assert weights is not None and np.corrcoef(np.log(weights), np.log(N[kept] * D[kept]))[0, 1] > 0.999


def test_each_group_has_its_own_reach() -> None:
    # asked are a tenth of a decade beyond "web", whose rows span one, and half a decade beyond "code"
    table = aimed({"N": [10**7.1, 10**9.5], "data": ["web", "code"]}, grouped())
    layout = _Layout(table)
    assert layout.asked is not None
    assert layout.asked.steps[0] == pytest.approx([0.1, 0.5])
    judged = rung_folds(table)[0].test
    assert [int((table.group_index[judged] == g).sum()) for g in range(2)] == [1, 2]


def test_rows_weigh_more_on_the_side_of_the_planned_runs() -> None:
    for points, along in (("N=1e9,D=1e9", N), ("N=1e6,D=1e12", D), ("N=1e7,D=1e6", -D)):
        weights = frontier_weights(aimed(points))
        assert weights is not None and weights.mean() == pytest.approx(1.0)
        assert (np.diff(weights[np.argsort(along, kind="stable")]) > -1e-9).all()
        assert weights.max() / weights.min() == pytest.approx(np.exp(2.0))
    both = frontier_weights(aimed("N=1e9,D=1e11"))
    assert both == pytest.approx(frontier_weights(plain()))


def test_the_grid_ends_where_runs_are_planned_and_a_little_beyond() -> None:
    table = aimed(["N=1e13,D=1e10", "N=1e7,D=3e10"])
    grid, before = Grid.of(table), Grid.of(plain())
    X = np.column_stack([grid.columns["N"], grid.columns["D"]])[grid.planned]
    for run_ in ([1e13, 1e10], [1e7, 3e10]):
        assert np.isclose(X, run_).all(axis=1).any()
    assert (grid.reach[grid.planned] <= HARD_REACH).all()
    assert grid.farthest == pytest.approx(2.5)
    n = len(before.reach)
    assert not before.planned.any() and not grid.planned[:n].any()
    assert (grid.columns["N"][:n] == before.columns["N"]).all()
    # finite in all rows and where a law is checked otherwise, but not at the planned run of 1e13
    values = np.where(grid.columns["N"] > 5e12, np.nan, 2.0)
    assert any(p.hard for p in grid.problems(0, values))
    assert not any(p.hard for p in before.problems(0, np.where(before.columns["N"] > 5e12, np.nan, 2.0)))


def test_what_is_agreed_on_is_about_the_planned_runs_too() -> None:
    table = aimed("N=1e9,D=1e12")
    context = JudgingContext(table, rung_folds(table), seed=0, max_constants=8)
    columns, _ = _beyond(context)
    X = np.column_stack([columns["N"], columns["D"]])
    assert np.isclose(X, [1e9, 1e12]).all(axis=1).sum() == 1
    assert len(X) == 300


def test_an_aim_goes_with_the_rows_and_not_into_their_digest() -> None:
    table = aimed({"N": [1e9, 1e9], "data": ["web", "code"]}, grouped())
    assert table.digest() == grouped().digest()
    one = table.of_group("code")
    points = asked_points(one)
    assert points is not None and points[0].tolist() == [[1e9]] and points[1].tolist() == [0]
    assert asked_points(plain()) is None and planned_beyond(plain()) == 0
    assert asked_of(plain(), {}, None, ()) is None


def test_groups_with_planned_runs_are_searched_however_many_there_are() -> None:
    sizes = [(f"g{k}", n, 2.0 + k + n**-0.3) for k in range(9) for n in (1e6, 1e7, 1e8)]
    columns = dict(zip(("data", "N", "loss"), map(list, zip(*sizes, strict=True)), strict=True))
    table = table_from(columns, target="loss", scale="N", group="data")
    missed = next(g for g in table.groups if g not in of_few_groups(table, 4).groups)
    assert missed in of_few_groups(aimed({"N": 1e9, "data": missed}, table), 4).groups


@pytest.mark.slow
def test_measured_values_of_planned_runs_never_reach_a_search(tmp_path: Path) -> None:
    runs = {"N": N, "D": D, "loss": LOSS}
    laws = []
    for name, loss in (("a", 3.0), ("b", -1e9)):
        planned = {"N": [1e9], "D": [1e11], "loss": [loss]}
        found = sld.discover(
            runs, target="loss", scale=["N", "D"], aim=planned, out=tmp_path / name, budget="60fits", workers=1
        )
        laws.append((tmp_path / name / "law.json").read_text())
    assert laws[0] == laws[1]
    # the record says what was asked, and the run folder gives it back
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["aim"]["from_to"] == {"N": [1e9, 1e9], "D": [1e11, 1e11]}
    assert found.law.provenance["aim"] == config["aim"]
    assert "the planned run" in found.verdict.sentence
    assert "--for N=1000000000.0,D=100000000000.0" in (tmp_path / "a" / "report.md").read_text()
    again = load_run(tmp_path / "a")
    assert again.table.aim is not None and record(again.table.aim) == config["aim"]
    assert again.verdict == found.verdict


@pytest.mark.slow
def test_the_command_takes_planned_runs(sld: Run, tmp_path: Path) -> None:
    one_line(sld("discover", "-", "--target", "loss", "--scale", "N", "--for", "-"), "standard input holds one table")
    table, plan = tmp_path / "runs.csv", tmp_path / "plan.csv"
    table.write_text("N,D,loss\n" + "".join(f"{n},{d},{y}\n" for n, d, y in zip(N, D, LOSS, strict=True)))
    plan.write_text("N,D\n2e8,1e10\n1e13,1e10\n")
    words = ["discover", str(table), "--target", "loss", "--scale", "N,D", "--budget", "100fits", "--workers", "1"]
    done = sld(*words, "--for", str(plan), "--out", str(tmp_path / "out"))
    assert "1 of 2 planned runs lies beyond that, the farthest at N = 1e13, D = 1e10" in done.out
