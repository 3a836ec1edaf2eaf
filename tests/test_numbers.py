"""Numbers as people write them are read, noted, and refused where they may mean two things."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from many_cases import each

from sld.core.errors import DataError
from sld.data.numbers import NumberColumn, number


def read(cells: Sequence[object]) -> tuple[list[float], list[str]]:
    column = NumberColumn("N", "runs.csv")
    half = len(cells) // 2
    for start, end in ((0, half), (half, len(cells))):  # a convention may show in any batch
        column.add(cells[start:end], lambda i, start=start: f"line {start + i + 2}")  # type: ignore[misc]
    values, notes = column.finish(lambda i: f"line {i + 2}")
    return values.tolist(), notes


@each(
    ("text", "value"),
    [
        ("125M", 1.25e8),
        ("1.5B", 1.5e9),
        ("1.5 b", 1.5e9),
        ("2K", 2e3),
        ("350k", 3.5e5),
        ("1.5T", 1.5e12),
        ("7 G", 7e9),
        ("7bn", 7e9),
        ("-3M", -3e6),
        ("1.1 million", 1.1e6),
        ("125,000,000", 1.25e8),
        ("1,234.5", 1234.5),
        ("125 000 000", 1.25e8),
        ("125\u202f000\u00a0", 125_000),
        ("12.5 %", 0.125),
        ("12.5%", 0.125),
        ("10^9", 1e9),
        ("1.5×10^-3", 1.5e-3),
        ("3x10**8", 3e8),
        ("2^20", 2.0**20),
        ("\u22120.5", -0.5),
        ("7e9", 7e9),
    ],
)
def test_notations_of_people_are_read_to_the_last_digit(text: str, value: float) -> None:
    assert number(text) == value


@each(
    "text",
    ["1_000", "1,5", "0,125", "1,23,456", "1.234.567", "1e3K", "5 GB", "$5", "M", "%", "~3M", "3M5", "1 5", "2^x"],
)
def test_other_texts_are_no_numbers(text: str) -> None:
    with pytest.raises(ValueError):
        number(text)
    with pytest.raises(DataError, match=r"runs.csv line 3: column 'N' must be a number, got"):
        read(["1", text])


@given(st.integers(1, 10**15))
def test_groups_of_three_and_suffixes_are_exact(value: int) -> None:
    assert number(f"{value:,}") == value
    assert number(f"{value}K") == float(value * 1000)


def test_what_was_read_as_what_is_noted() -> None:
    values, notes = read(["135M", "1.7B", "256M", "7e9"])
    assert values == [1.35e8, 1.7e9, 2.56e8, 7e9]
    assert notes == [
        "column 'N': 135M was read as 1.35e8 (2 values), 1.7B was read as 1.7e9 (1 value); "
        "1 stands there without a suffix (7e9, line 5)"
    ]
    assert read(["1e6", "", "3"])[1] == [] and np.isnan(read(["1e6", "", "3"])[0][1])


@each(
    ("cells", "message"),
    [
        (["125M", "0.125"], r"has 125M \(line 2\) beside 0.125 \(line 3\); write all of them in one unit"),
        (["2K", "0.5"], r"has 2K \(line 2\) beside 0.5"),
        ([0.125, "125M"], r"has 125M \(line 3\) beside 0.125 \(line 2\)"),
        (["12.5%", "0.125"], r"mixes percent \(12.5%, line 2\) with numbers that are none \(0.125, line 3\)"),
        (["12.5%", "3K"], r"mixes percent \(12.5%, line 2\) with numbers that are none \(3K, line 3\)"),
        (["70m", "160m"], r"has 70m \(line 2\), which may be millions or thousandths; write 70M or 0.07"),
        (["70M", "160m"], r"has both 70M and 160m \(line 3\)"),
        (["4,123", "3,982"], r"has 4,123 \(line 2\), which may be 4123 or 4.123; write one of these"),
        (["4,123", "3,9"], r"must be a number, got '3,9'; write decimals with a point"),
    ],
)
def test_a_column_that_may_mean_two_things_is_refused(cells: list[object], message: str) -> None:
    with pytest.raises(DataError, match=f"^runs.csv.*: column 'N' {message}"):
        read(cells)


@each(
    ("cells", "values"),
    [
        (["70m", "160m", "1b"], [7e7, 1.6e8, 1e9]),  # a column of sizes, as its other suffix says
        (["512", "1,024"], [512, 1024]),
        (["131,072", "1,048,576"], [131072, 1048576]),
        (["100,000", "131,072"], [100000, 131072]),
        (["0", "12.5%"], [0, 0.125]),
        (["0", "1M"], [0, 1e6]),
        (["512", "1K"], [512, 1000]),
        ([350000000, "125M"], [3.5e8, 1.25e8]),
    ],
)
def test_what_the_rest_of_the_column_settles_is_read(cells: list[object], values: list[float]) -> None:
    assert read(cells)[0] == values


@given(st.lists(st.text("0123456789.,%kKmMbB e-+_×^xX\u2212\u00a0", max_size=8), max_size=5))
def test_any_text_is_a_number_or_a_refusal(cells: list[str]) -> None:
    try:
        values, notes = read(cells)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert len(values) == len(cells) and all("\n" not in note for note in notes)
