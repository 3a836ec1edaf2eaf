"""Names in a formula: a misspelt column is refused with a suggestion, and what constants are called is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_cases import each

import sld
from sld.core.errors import UsageError
from sld.data.card import Log, Target, Variable
from sld.data.table import Table, table_from
from sld.laws.catalogue import get_law, load_catalogue
from sld.laws.names import check_names, unused_columns
from sld.laws.responses import law_predicts, target_is, unsuited

ROWS = {
    "params": [1e6, 1e7, 1e8, 1e6, 1e7, 1e8],
    "tokens": [1e8, 1e8, 1e8, 1e9, 1e9, 1e9],
    "loss": [4.0, 3.5, 3.2, 3.6, 3.1, 2.7],
}


def table_of(*columns: str) -> Table:
    logs: dict[str, Log] = {c: "log10" for c in columns if c.startswith("log10")}
    values = [[float(2 ** (i * (k + 1))) for i in range(6)] for k in range(len(columns))]
    return table_from(
        {**dict(zip(columns, values, strict=True)), "loss": ROWS["loss"]}, target="loss", scale=columns, log=logs
    )


def check(formula: str, table: Table, allowed: tuple[str, ...] = (), unnamed: tuple[str, ...] = ()) -> None:
    check_names([table.parse(formula)], table, where="runs.csv", allowed=allowed, unnamed=unnamed)


@each(
    ("columns", "formula", "wrong", "meant"),
    [
        (("params", "tokens"), "E + A*N**-a", "N", "params"),
        (("params", "tokens"), "E + A*params**-a + B*D**-b", "D", "tokens"),
        (("params", "tokens"), "E + A*(6*N*tokens)**-a", "N", "params"),
        (("params", "tokens"), "E + A*(params/N_c)**-a + B*token**-b", "token", "tokens"),
        (("params", "tokens"), "E + A*parmas**-a", "parmas", "params"),
        (("params", "tokens"), "E + A*Params**-a", "Params", "params"),
        (("params", "tokens"), "E - A*log_params", "log_params", "log(params)"),
        (("N", "D"), "E + A*n**-a", "n", "N"),
        (("N", "D"), "E + A*params**-a", "params", "N"),
        (("N", "D"), "E + A*N**-a + B*d**-b", "d", "D"),
        (("N", "D"), "E - A*logN", "logN", "log(N)"),
        (("N", "D"), "E + A*log(C)", "C", None),
        (("n", "width"), "E + A*N**-a", "N", "n"),
        (("log10_N",), "E - A*N", "N", "log10_N"),
        (("width", "lr"), "E + A*width**-a + B*learning_rate", "learning_rate", "lr"),
        (("width",), "E + A*x**-a", "x", "width"),
        (("width",), "E + A*size_of_it**-a", "size_of_it", "width"),
    ],
)
def test_a_misspelt_column_is_refused_with_a_suggestion(
    columns: tuple[str, ...], formula: str, wrong: str, meant: str | None
) -> None:
    table = table_of(*columns)
    with pytest.raises(UsageError) as caught:
        check(formula, table)
    text = str(caught.value)
    assert text.startswith(f"{wrong!r} is no column of runs.csv ({', '.join(columns)})")
    assert text.endswith(f"If it is a constant to be fitted, say --constants {wrong}")
    assert "\n" not in text
    if meant is not None:
        assert f"did you mean {meant!r}?" in text
    check(formula, table, allowed=(wrong,))


@each(
    "formula",
    [
        "E + A*N**-a + B*D**-b",
        "E + A*N**-alpha + B*D**-beta + C*(N*D)**-c",
        "L_inf + (N_c/N)**alpha_N + (D_c/D)**alpha_D",
        "E + k*(log(N) - m)**2 + g*log(D + K)",
        "h*sigmoid(w*(theta*log(N) + nu) + b)",
        "K**a/(K**a + N**a)",
        "E0 + A1*N**-a1 + A2*D**-a2",
        "floor + scale*N**-rate",
        "(c + N**-s)**t + p*D**-q",
        "E + e*N**-a + d*D**-b",
    ],
)
def test_what_constants_are_called_is_never_refused(formula: str) -> None:
    check(formula, table_of("N", "D", "E_column"))


def test_coefficients_c_and_d_are_no_variables_where_they_stand_as_coefficients() -> None:
    check("E + A*params**-a + C*tokens**-c + D", table_of("params", "tokens"))


def test_a_constant_that_differs_from_a_column_in_case_is_one_where_both_are_used() -> None:
    check("A*d**-a + D*N**-b", table_of("d", "N"))


def test_every_law_of_the_catalogue_passes_over_its_own_variables() -> None:
    for law in load_catalogue():
        if law.expressible:
            columns = tuple(v.symbol for v in law.variables)
            table = Table(
                tuple(Variable(c) for c in columns), (Target("y"),), np.ones((2, len(columns))), np.ones((2, 1))
            )
            check_names([law.expression], table, where="x")


def test_a_column_without_a_role_and_the_target_are_named_as_such() -> None:
    with pytest.raises(UsageError, match=r"'lr' is a column of runs.csv that has no role; give it one .*--hyper lr"):
        check("E + A*N**-a + B*lr", table_of("N"), unnamed=("lr", "seed"))
    with pytest.raises(UsageError, match="'loss' is the column to predict"):
        check("loss*N**-a", table_of("N"))


def test_a_formula_over_no_column_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match=r"uses no column of runs.csv \(N, D\)"):
        check("E + A*exp(b)", table_of("N", "D"))


def test_constants_that_are_in_no_formula_or_are_columns_are_refused() -> None:
    with pytest.raises(UsageError, match="no constant 'M'"):
        check("E + A*N**-a", table_of("N"), allowed=("M",))
    with pytest.raises(UsageError, match="'N' is a column"):
        check("E + A*N**-a", table_of("N"), allowed=("N",))


def test_columns_that_no_formula_uses_are_named() -> None:
    table = table_of("N", "D")
    assert unused_columns({"loss": table.parse("E + A*N**-a")}, table) == ("D",)


def test_the_api_and_the_commands_refuse_misspelt_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sld.__main__ import main

    file = tmp_path / "runs.csv"
    lines = ["params,tokens,lr,loss", *(f"{p},{t},0.1,{y}" for p, t, y in zip(*ROWS.values(), strict=True))]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    roles = [str(file), "--target", "loss", "--scale", "params,tokens"]
    for command in (["fit", *roles, "--law"], ["discover", *roles, "--out", str(tmp_path / "out"), "--try"]):
        assert main([*command, "E + A*N**-a"]) == 2
        said = capsys.readouterr().err
        assert "'N' is no column of runs.csv (params, tokens); did you mean 'params'?" in said
        assert said.count("\n") == 1
    assert main(["fit", *roles, "--law", "E + A*params**-a + B*lr"]) == 2
    assert "has no role" in capsys.readouterr().err
    assert main(["fit", *roles, "--law", "E + A*params**-a + N", "--constants", "N", "--json"]) == 0
    capsys.readouterr()
    assert main(["fit", *roles, "--law", "E + A*params**-a"]) == 0
    assert "note: the formula does not use tokens" in capsys.readouterr().out


def test_a_law_of_settings_is_not_fitted_to_a_loss_nor_the_other_way_round() -> None:
    refused = unsuited(get_law("chinchilla_alloc"), Target("val_loss"))
    assert "predicts compute-optimal N from C" in refused
    assert "'val_loss' is a loss" in refused
    assert "k*C**a" in refused
    assert "'lr_opt' is a setting of runs" in unsuited(get_law("chinchilla"), Target("lr_opt"))
    for law, target in (
        ("chinchilla", "loss"), ("chinchilla", "y"), ("chinchilla_alloc", "N_opt"), ("chinchilla_alloc", "tokens"),
        ("observational", "loss"), ("m2_offset", "tokens"), ("chinchilla", "token_accuracy"),
    ):  # fmt: skip
        assert not unsuited(get_law(law), Target(target)), (law, target)


def test_the_kinds_of_law_and_target_are_told_from_words() -> None:
    assert law_predicts(get_law("deepseek_lr")) == "a setting of runs"
    assert law_predicts(get_law("diloco_loss")) == "a loss"
    assert law_predicts(get_law("observational")) == ""
    kinds = {"obj_loss_bits": "a loss", "valLoss": "a loss", "learning rate": "a setting of runs", "acc": "", "y": ""}
    assert {c: target_is(Target(c)) for c in kinds} == kinds


def test_what_is_no_formula_as_text_is_refused_with_where_the_text_is() -> None:
    rows = {"N": [1e6, 2e6, 4e6, 8e6, 1.6e7, 3.2e7], "loss": [3.0, 2.8, 2.6, 2.5, 2.4, 2.35]}
    law: Any = sld.fit(rows, "A*N**-a", target="loss", scale="N")
    wrong: list[Any] = [law, law.expressions["loss"], {"loss": law.expressions["loss"]}, None]
    for given in wrong:
        with pytest.raises(UsageError, match=r"formula as text.*law.expressions\[target\].text"):
            sld.fit(rows, given, target="loss", scale="N")
    assert sld.fit(rows, law.expressions["loss"].text, target="loss", scale="N").constants == law.constants
