"""What a reader of a law should know beside its formula: its limit at infinite scale, and enough digits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from many_cases import each
from searches import grouped, search

import sld
from sld.data.table import Table, table_from
from sld.fit.fitting import fit
from sld.laws.digits import digits_needed
from sld.laws.law import Law
from sld.laws.limits import floor_of, limits
from sld.laws.remarks import about_limit, with_remarks

N, D = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 6)))
TABLE = table_from({"N": N, "D": D, "loss": 1.7 + 400 * N**-0.34}, target="loss", scale=["N", "D"])
AT_LARGEST = 0.01  # N / D of the largest run


@each(
    ("text", "constants", "limit"),
    [
        ("E + A*N**-a", {"E": 1.7, "A": 400, "a": 0.3}, 1.7),
        ("E + A*N**-a + B*D**-b", {"E": 1.7, "A": 400, "a": 0.3, "B": 7, "b": 0.03}, 1.7),  # slow
        ("A*N**-a", {"A": 400, "a": 0.3}, 0.0),
        ("E + B*exp(-(N/D)**k)", {"E": -0.026, "B": 1.7, "k": 0.5}, -0.026 + 1.7 * np.exp(-(AT_LARGEST**0.5))),
        ("E + A*sigmoid(k*(log(N) - m))", {"E": 3.0, "A": -1.2, "k": 0.5, "m": 18}, 1.8),
        ("E + A*N**-a", {"E": 5.0, "A": -0.1, "a": -0.1}, None),
        ("E + A*log(N)", {"E": 5.0, "A": -0.1}, None),
        ("E + (A + N**-a)**-b", {"E": 1.0, "A": 4.0, "a": 0.2, "b": 0.5}, 1.5),
    ],
)
def test_the_limit_is_what_the_law_tends_to(text: str, constants: dict[str, float], limit: float | None) -> None:
    found = limits(TABLE.parse(text), {"all": constants}, TABLE)["all"]
    assert found == (None if limit is None else pytest.approx(limit, abs=1e-4))


def test_nothing_is_said_of_a_limit_that_numbers_do_not_come_near() -> None:
    assert limits(TABLE.parse("E + A*log(N)**-a"), {"all": {"E": 1.0, "A": 3.0, "a": 0.5}}, TABLE) == {}


def test_a_law_without_scale_has_no_limit() -> None:
    lr = np.geomspace(1e-4, 1e-2, 9)
    table = table_from({"lr": lr, "loss": 2 + (np.log(lr) + 7) ** 2}, target="loss", hyper="lr")
    assert limits(table.parse("E + k*(log(lr) - m)**2"), {"all": {"E": 2, "k": 1, "m": -7}}, table) == {}


@pytest.mark.parametrize(("text", "name"), [("E + A*N**-a", "E"), ("A*N**-a + L_M", "L_M"), ("a*log(N) + e", None)])
def test_what_reads_like_an_irreducible_loss(text: str, name: str | None) -> None:
    assert floor_of(TABLE.parse(text)) == name


def law_of(text: str, table: Table) -> Law:
    result = fit(table.parse(text), table)
    assert result.ok
    law = Law({"loss": table.parse(text)}, {"loss": result.constants}, table.variables, table.targets)
    return replace(with_remarks(law, table), group_column=table.group_column)


def test_the_limit_is_said_where_the_constant_is_not_it() -> None:
    ratio = 1.0 + np.exp(-((N / D) ** 0.5)) * 0.7
    table = table_from({"N": N, "D": D, "loss": ratio + 40 * N**-0.3}, target="loss", scale=["N", "D"])
    said = about_limit(law_of("E + A*N**-a + B*exp(-(N/D)**k)", table), "loss")
    assert said.startswith("irreducible loss (limit at infinite scale): 1.63")
    assert said.endswith("(the constant E is 1)")
    assert about_limit(law_of("E + A*N**-a", TABLE), "loss") == ""


def test_a_law_that_falls_without_end_says_so() -> None:
    table = table_from({"N": N, "loss": 9 - 0.2 * np.log(N)}, target="loss", scale="N")
    said = about_limit(law_of("E + A*log(N)", table), "loss")
    assert "none, the law has no finite limit (the constant E is 9)" in said


def test_limits_are_by_group() -> None:
    table = grouped()
    text = "E + A*sigmoid(k*log(N))"
    constants = {g: {"E": 1.0 + i, "A": -0.5, "k": 1.0} for i, g in enumerate(table.groups)}
    law = with_remarks(
        Law({"loss": table.parse(text)}, {"loss": constants}, table.variables, table.targets, "family"), table
    )
    assert law.provenance["limit"]["loss"] == pytest.approx({g: 0.5 + i for i, g in enumerate(table.groups)})
    assert about_limit(law, "loss").endswith("which is not the constant E: b 0.5, a 1.5, ü 2.5")


LAWS = [
    ("E + A*N**-a + B*D**-b", {"E": 1.69, "A": 406.4, "a": 0.34, "B": 410.7, "b": 0.28}),
    ("E + A*N**-a", {"E": -812.345678, "A": 850.123456, "a": 0.00123456789}),
    ("10**(a*log(N) + b*log(D) + c)", {"a": 3.123456789, "b": -3.012345678, "c": 5.0123456789}),
    ("a*log(N)**3 + b*log(N)**2 + c*log(N) + d", {"a": 0.0123456, "b": -0.654321, "c": 11.234567, "d": -60.9876}),
    ("E + A*exp(-(N/K)**s)", {"E": 2.1, "A": 1.3, "K": 123456789.0, "s": 0.7}),
]


@each(("text", "constants"), LAWS)
@each("noise", [0.0, 0.01])
def test_printed_constants_predict_what_the_law_predicts(text: str, constants: dict[str, float], noise: float) -> None:
    expression = TABLE.parse(text)
    bare = Law({"loss": expression}, {"loss": {"all": constants}}, TABLE.variables, TABLE.targets)
    y = bare.predict(TABLE)
    y = y + noise * np.ptp(y) * np.random.default_rng(0).normal(size=y.shape)
    table = TABLE.with_targets(y)
    law = with_remarks(bare, table)
    from sld.formula.evaluation import evaluate

    printed = evaluate(table.parse(law.text()), table.inputs, {})
    assert np.abs(printed - law.predict(table)[:, 0]).max() <= 1e-4 * np.ptp(y)
    assert digits_needed(expression, {"all": constants}, table, 0) == law.provenance["digits"]["loss"]


def test_few_digits_are_shown_where_few_do() -> None:
    assert law_of("E + A*N**-a", TABLE.with_targets(np.round(TABLE.Y, 2))).text().count(".") <= 3
    assert law_of("E + A*N**-a", TABLE).digits("loss") >= 6


@pytest.mark.parametrize("group", [None, "g"])
def test_the_tables_of_the_commands_print_as_many_digits(group: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    from sld.cli.show import law as show_law

    x = np.tile(np.geomspace(10, 1e4, 12), 2)
    g = np.repeat(["p", "q"], 12)
    y = 812.3456789 - 800.123456789 * x**0.00123456789 + (g == "q") * 0.01
    columns = {"x": x[:12], "loss": y[:12]} if group is None else {"x": x, "loss": y, "g": g}
    law = sld.fit(columns, "E + A*x**a", target="loss", scale="x", group=group)
    show_law.law_text(law)
    out = capsys.readouterr().out
    for values in law.constants["loss"].values():
        assert f"{values['E']:.{law.digits('loss', 4)}g}" in out
    assert law.digits("loss", 4) > 6


def test_fit_says_where_a_given_form_has_a_pole(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    from sld.cli.show import law as show_law

    n = np.array([1e4, 3e4, 1e5, 3e5, 1e6])
    law = sld.fit({"n": n, "loss": 0.24 / (1 - 800 / n)}, "A/(1 + C/n)", target="loss", scale="n")
    assert law.provenance["gaps"] == {"loss": "a pole at n = 800"}
    show_law.fitted(law, None, None, "t.csv", False)
    assert "beware: the fitted law has a pole at n = 800" in capsys.readouterr().out


def test_the_law_of_a_search_carries_its_limit_and_digits() -> None:
    found = search(TABLE, "200fits", proposers=[], formulas=["E + A*N**-a"])
    assert found.law.provenance["limit"]["loss"]["all"] == pytest.approx(1.7, abs=1e-6)
    assert found.law.provenance["digits"]["loss"] >= 4
