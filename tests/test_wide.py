"""Exports with a column per run become rows, and are recognised where nobody said so."""

from pathlib import Path
from typing import Any

import pytest
from many_cases import each

from sld.core.errors import DataError
from sld.data.table import Table, table_from

METRICS = ("eval/loss", "eval/loss__MIN", "eval/loss__MAX")
HEADER = [*(f"{run} - {metric}" for run in ("big", "small") for metric in METRICS), "big - _step", "small - _step"]
WANDB = f"""\
"Step",{",".join(f'"{name}"' for name in HEADER)}
"0","9.5","9.5","9.5","","","","0",""
"100","3.5","3.4","3.6","4.5","4.5","4.5","100","100"
"200","3.0","3.0","3.0","","","","200",""
"300","","","","4.0","4.0","4.0","","300"
"""
BARE = "Step,0.6b,14b\n0,9,8\n1,4,\n2,3.5,2.5\n4,3.25,2\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "export.csv"
    path.write_text(text)
    return path


def melt(data: Any, **given: Any) -> Table:
    usual = {"target": "loss", "scale": "Step", "group": "run", "melt": True, "drop": "Step==0"}
    return table_from(data, **{**usual, **given})


def test_an_export_of_a_chart_becomes_rows(tmp_path: Path) -> None:
    table = melt(write(tmp_path, WANDB))
    assert table.groups == ("big", "small")
    assert table.column("Step").tolist() == [100, 200, 100, 300]
    assert table.column("loss").tolist() == [3.5, 3.0, 4.5, 4.0]
    assert table.notes == (
        "melted: the columns of 2 runs became 5 rows of loss, named in column 'run'",
        "1 row was left out by drop 'Step==0'",
    )
    whole = melt(write(tmp_path, WANDB), target=["eval/loss", "eval/loss__MIN"])
    assert whole.Y.tolist() == [[3.5, 3.4], [3.0, 3.0], [4.5, 4.5], [4.0, 4.0]]


def test_bare_names_of_runs_become_rows(tmp_path: Path) -> None:
    table = melt(write(tmp_path, BARE))
    assert (table.groups, table.column("loss").tolist()) == (("0.6b", "14b"), [4, 3.5, 3.25, 2.5, 2])
    assert melt({"Step": [1, 2, 3], "a": [3.0, 2.0, 1.0], "b": [4.0, None, 3.0]}).n_rows == 5
    ends = melt({"Step": [1, 2], "a": [3.0, 2.0], "a__MIN": [2.9, 1.9], "b": [4.0, None], "b__MIN": [4.0, None]})
    assert ends.n_rows == 3 and ends.groups == ("a", "b")
    sizes = melt(write(tmp_path, BARE), scale=["Step", "run"], group=None)
    assert sizes.column("run").tolist() == [6e8, 6e8, 6e8, 1.4e10, 1.4e10]


def test_columns_that_are_named_or_are_no_numbers_belong_to_all_runs(tmp_path: Path) -> None:
    text = "width,note,a,b\n1,x,4,5\n2,y,3,4\n3,z,2,3.5\n"
    table = melt(write(tmp_path, text), scale="width", drop=())
    assert table.column("width").tolist() == [1, 2, 3, 1, 2, 3] and table.groups == ("a", "b")


def test_rows_are_named_by_line_and_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"export.csv line 2 of run '0.6b': scale variable 'Step' must be positive"):
        melt(write(tmp_path, BARE), drop=())


@each(
    ("text", "message"),
    [
        ("Step,note\n1,x\n", "no columns of runs to melt"),
        ("Step,a,b\n1,,\n2,,\n", "no columns of runs to melt"),
        ("Step,a - loss,b - loss\n1,,\n", "every cell of the columns of runs is empty"),
        ("run,Step,a,b\nx,1,2,3\n", "melting makes a column 'run', and there is one already"),
        ("Step,a - loss,a -  loss\n1,2,3\n", "two columns of run 'a' and metric 'loss'"),
    ],
)
def test_what_cannot_be_melted_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        melt(write(tmp_path, text), drop=())


@each(
    ("text", "given", "offered"),
    [
        (WANDB, {}, True),
        (BARE, {}, True),
        (BARE, {"target": "14b"}, True),  # Step 0 is refused first
        (BARE.replace("\n0,9,8", ""), {"target": "14b"}, True),  # an empty cell
        (WANDB, {"scale": "Stp"}, False),
        ("Step,loss,lr\n0,3,1\n1,2,2\n", {}, False),
        ("Step,loss,lr\n1,,1\n2,2,2\n", {}, False),
        ("N,losss\n1,3\n2,2\n", {"scale": "N"}, False),
    ],
)
def test_a_wide_table_offers_to_be_melted(tmp_path: Path, text: str, given: dict[str, Any], offered: bool) -> None:
    with pytest.raises(DataError) as caught:
        table_from(write(tmp_path, text), **{"target": "loss", "scale": "Step", **given})
    assert ("--melt makes rows with columns Step, run and" in str(caught.value)) == offered
    assert "\n" not in str(caught.value)
