"""Rows are left out by one comparison at a time, read by a grammar and never evaluated."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from many_cases import each

from sld.core.errors import DataError, UsageError
from sld.data.row_filter import parse_filter
from sld.data.table import table_from

DATA: dict[str, Any] = {
    "Step": [0, 1, 2, 3, 4],
    "loss": [9.0, 4.0, 3.0, 2.5, 2.25],
    "status": ["ok", "crashed", "ok", "ok", "ok"],
    "size (M)": ["70M", "160M", None, "1B", "70M"],
    "done": [True, False, True, True, True],
}


def steps(*drop: str) -> list[float]:
    data = {**DATA, "x": [1.0, 2.0, 3.0, 4.0, 5.0]}
    table = table_from(data, target="loss", covariate=["Step", "x"], drop=drop)
    left: list[float] = table.column("Step").tolist()
    return left


@each(
    ("drop", "left"),
    [
        ("Step==0", [1, 2, 3, 4]),
        ("Step == 0.0", [1, 2, 3, 4]),
        ("Step!=0", None),
        ("Step<2", [2, 3, 4]),
        ("Step>=3", [0, 1, 2]),
        ("loss>1e0", None),
        ("status==crashed", [0, 2, 3, 4]),
        ("status!=ok", [0, 2, 3, 4]),
        ("status == 'crashed'", [0, 2, 3, 4]),
        ("size (M)==70M", [1, 2, 3]),
        ("size (M)<100M", [1, 2, 3]),
        ("'size (M)'>=160000000", [0, 2, 4]),
        ("size (M)==", [0, 1, 3, 4]),
        ("size (M)!=", [2]),
        ("done==false", [0, 2, 3, 4]),
        ("status==Step", [0, 1, 2, 3, 4]),
    ],
)
def test_rows_that_meet_a_comparison_go(drop: str, left: list[float] | None) -> None:
    if left is None or len(left) == 1:
        with pytest.raises(DataError, match=r"leaves no row of 5|is constant"):
            steps(drop)
    else:
        assert steps(drop) == left


def test_a_row_that_meets_any_of_several_goes_and_the_rows_are_counted() -> None:
    table = table_from(DATA, target="loss", scale="Step", drop=["Step==0", "status==crashed", "loss>100"])
    assert table.column("Step").tolist() == [2, 3, 4]
    assert table.notes == (
        "1 row was left out by drop 'Step==0'",
        "1 row was left out by drop 'status==crashed'",
        "no row was left out by drop 'loss>100'",
    )


def test_a_row_that_is_left_out_may_hold_anything() -> None:
    data = {"Step": [0, 1, 2], "loss": ["diverged", 2.0, 1.0]}
    assert table_from(data, target="loss", scale="Step", drop="loss==diverged").n_rows == 2


def test_a_value_that_is_not_positive_offers_to_leave_its_rows_out() -> None:
    with pytest.raises(DataError, match=r'must be positive, got 0; leave such rows out with --drop "Step==0"$'):
        table_from(DATA, target="loss", scale="Step")
    with pytest.raises(DataError, match=r'got -1; if the column is a logarithm, .*, or .* --drop "N<=0"$'):
        table_from({"N": [-1, 0, 2], "loss": [3, 2, 1]}, target="loss", scale="N")


@each(
    ("drop", "message"),
    [
        ("", "cannot read drop"),
        ("Step", "wanted COLUMN OP VALUE"),
        ("==0", "wanted COLUMN OP VALUE"),
        ("Step=0", "did you mean 'Step==0'"),
        ("Stp==0", "no column 'Stp'; did you mean 'Step'"),
        ("Step<x", "< needs a number, got 'x'"),
        ("Step<'1'", "< needs a number"),
        ("status<3", "row 1: column 'status': .* < needs numbers, got 'ok'"),
        ("Step==0 and loss>3", "one comparison at a time"),
        ("0<Step<3", "no column '0'"),
        ("__import__('os')==1", "no column"),
    ],
)
def test_other_filters_are_refused_in_one_line(drop: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        steps(drop)
    assert "\n" not in str(caught.value)


@given(st.text("Step=<>!0. '\"()xandor|&", max_size=14))
def test_any_text_is_a_filter_or_a_refusal(text: str) -> None:
    try:
        found = parse_filter(text, ["Step", "x"], "runs.csv")
    except UsageError:
        return
    assert found.column in ("Step", "x")
    assert found.holds(["0", "", "1"], str).shape == (3,)
