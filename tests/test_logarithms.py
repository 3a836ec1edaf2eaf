"""A column that is called a logarithm and looks like one is asked about; others are left alone."""

from typing import Any

import pytest
from many_cases import each

from sld.core.errors import DataError
from sld.data.table import Table, table_from

LOSS = [3.0, 2.5, 2.25, 2.0]


def read(data: dict[str, list[float]], role: str, **given: Any) -> Table:
    options: dict[str, Any] = {role: next(iter(data)), **given}
    return table_from(data, target="loss", **options)


@each(
    ("name", "base"),
    [
        ("log10_N", "log10"),
        ("log10N", "log10"),
        ("Log10(params)", "log10"),
        ("N_log10", "log10"),
        ("log_N", None),
        ("logFLOPs", None),
        ("log D", None),
        ("ln_tokens", "log"),
        ("lnD", "log"),
        ("log2_batch", "log2"),
    ],
)
@each("role", ["scale", "hyper"])
def test_a_logarithm_that_is_not_declared_is_asked_about(name: str, base: str | None, role: str) -> None:
    data = {name: [6.0, 7.5, 9.0, 12.0], "loss": LOSS}
    with pytest.raises(DataError, match=r"looks like a logarithm \(values 6 to 12\): say --log") as caught:
        read(data, role)
    assert base is None or f"={base}," in str(caught.value)
    assert "\n" not in str(caught.value)
    declared = read(data, role, log=name)
    assert declared.variables[0].log == "log10"
    denied = read(data, role, log={name: "none"})
    assert denied.variables[0].log is None


def test_a_negative_logarithm_is_asked_about_as_one() -> None:
    with pytest.raises(DataError, match=r"row 1: column 'log10_N' looks like a logarithm \(values -1 to 9\)"):
        table_from({"log10_N": [-1.0, 7, 8, 9], "loss": LOSS}, target="loss", scale="log10_N")


@each("name", ["N", "logits", "catalog", "logging", "lng", "dialog_turns", "blog_posts"])
def test_other_names_are_not_asked_about(name: str) -> None:
    assert table_from({name: [6.0, 7, 8, 9], "loss": LOSS}, target="loss", scale=name).n_rows == 4


def test_values_that_no_logarithm_has_are_not_asked_about() -> None:
    assert table_from({"log_steps": [100, 200, 300, 400], "loss": LOSS}, target="loss", scale="log_steps").n_rows == 4
    data = {"log10_N": [6.0, 7, 8, 9], "N": [1, 2, 3, 4], "loss": LOSS}
    assert table_from(data, target="loss", scale="N", covariate="log10_N").n_rows == 4
