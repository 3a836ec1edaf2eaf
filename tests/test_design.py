"""The design of a table: redundant columns are left out and named, and effects that go together are said to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from many_cases import each

from sld.data.table import Array, Table, table_from
from sld.laws.form import Form
from sld.search.screening.design import design_notes, notes_for, redundancy_notes, rewritten, without_redundant

RNG = np.random.default_rng(7)
N = 10 ** RNG.uniform(6, 9, 40)
D = 10 ** RNG.uniform(8, 11, 40)


def table_of(group: bool = False, log: tuple[str, ...] = (), **columns: Array) -> Table:
    y = 1.5 + 400 * columns[next(iter(columns))] ** -0.3 + RNG.normal(size=len(next(iter(columns.values())))) * 1e-3
    data = {**columns, "loss": y, **({"g": ["a", "b"] * (len(y) // 2)} if group else {})}
    return table_from(data, target="loss", scale=list(columns), group="g" if group else None, log=log)


def left_out(table: Table) -> tuple[list[str], list[str]]:
    reduced, relations = without_redundant(table)
    return [v.column for v in reduced.variables], [r.text for r in relations]


def rounded(x: Array, digits: int) -> Array:
    return np.array([float(f"{value:.{digits - 1}e}") for value in x])


@each(
    ("columns", "kept", "text"),
    [
        ({"N": N, "D": D, "budget": 6 * N * D}, ["N", "D"], "budget = 6*N*D"),
        ({"C": 6 * N * D, "N": N, "D": D}, ["N", "D"], "C = 6*N*D"),
        ({"params": N, "tokens": rounded(D, 3), "flops": rounded(6 * N * D, 3)}, ["params", "tokens"], "flops = 6*"),
        ({"params": N, "ratio": D / N, "tokens": D}, ["params", "tokens"], "ratio = tokens/params"),
        (
            {"params": N, "tokens_per_param": D / N, "tokens": D},
            ["params", "tokens"],
            "tokens_per_param = tokens/params",
        ),
        ({"N": N, "D": 20 * N}, ["N"], "D = 20*N"),
        ({"width": N, "params": 12 * N**2}, ["params"], "width = 0.289*params**0.5"),
        ({"x": N, "y": D, "z": (N * D) ** 0.5}, ["x", "y"], "z = x**0.5*y**0.5"),
        ({"N": N, "N_millions": N / 1e6, "D": D}, ["N", "D"], "N_millions = 1e-6*N"),
    ],
)
def test_a_column_that_others_determine_is_left_out(columns: dict[str, Array], kept: list[str], text: str) -> None:
    names, texts = left_out(table_of(False, (), **columns))
    assert names == kept
    assert len(texts) == 1
    assert texts[0].startswith(text)


def test_a_logarithm_of_another_column_is_redundant() -> None:
    names, texts = left_out(table_of(log=("log10_N",), N=N, log10_N=np.log10(N), D=D))
    assert names == ["N", "D"]
    assert texts == ["10**log10_N = N"]


def test_what_is_left_out_is_said_with_the_way_to_choose_otherwise() -> None:
    (note,) = redundancy_notes(without_redundant(table_of(N=N, D=D, budget=6 * N * D))[1])
    assert note.startswith(
        "budget = 6*N*D in every row, so budget says nothing that N and D do not; budget was left out"
    )
    (note,) = redundancy_notes(without_redundant(table_of(N=N, D=20 * N))[1])
    assert "N and D cannot be told apart" in note


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_columns_that_are_near_a_product_stay(noise: float) -> None:
    C = 6 * N * D * np.exp(noise * RNG.normal(size=40))
    assert left_out(table_of(N=N, D=D, C=C)) == (["N", "D", "C"], [])


def test_an_odd_exponent_is_no_relation() -> None:
    assert left_out(table_of(N=N, D=D, C=N**0.73 * D**0.41))[1] == []


def test_few_points_are_no_relation() -> None:
    assert left_out(table_of(N=np.array([1e6, 1e7, 1e8]), D=np.array([2e7, 2e8, 2e9])))[1] == []


def test_a_formula_over_a_column_that_was_left_out_keeps_its_values() -> None:
    table = table_of(log=("log10_C",), N=N, D=D, log10_C=np.log10(6 * N * D))
    reduced, relations = without_redundant(table)
    form = Form(table.parse("E + A*exp(-a*log10_C) + B*N**-b"), "user")
    new = rewritten(form, relations, reduced, 0)
    constants = {"E": 1.5, "A": 30.0, "a": 0.2, "B": 4.0, "b": 0.1}
    from sld.fit.kernel import evaluate

    before = evaluate(form.expression, table.inputs, constants)
    np.testing.assert_allclose(evaluate(new.expression, reduced.inputs, constants), before, rtol=1e-6)


def test_effects_on_one_line_are_said_to_go_together_with_numbers_and_runs() -> None:
    (note,) = design_notes(table_of(N=N, D=20 * N * np.exp(0.1 * RNG.normal(size=40))))
    assert note.startswith("the design hardly tells N and D apart: correlation of their logarithms 0.99")
    assert "condition number" in note
    assert "add runs off that line, towards N = " in note
    budget = 1e18 * np.exp(0.1 * RNG.normal(size=40))
    (note,) = design_notes(table_of(N=N, D=budget / (6 * N)))
    assert "correlation of their logarithms -0.99" in note


def test_a_line_within_each_group_is_found_although_groups_lie_apart() -> None:
    apart = np.where(np.arange(40) % 2, 1e3, 1.0)
    table = table_of(group=True, N=N, D=20 * N * apart)
    assert any("N and D apart" in note and "within groups" in note for note in design_notes(table))


def test_three_columns_on_a_plane_are_found_although_no_two_are_on_a_line() -> None:
    C = N * D * np.exp(0.3 * RNG.normal(size=40))
    (note,) = design_notes(table_of(N=N, D=D, width=C))
    assert "N, D, width apart: together they move on a plane" in note


def test_a_crossed_design_over_decades_has_no_note() -> None:
    assert design_notes(table_of(N=N, D=D)) == []


def test_a_short_span_is_not_told_from_the_irreducible_loss() -> None:
    sizes, grid = np.meshgrid([5e7, 1e8, 2e8, 4e8], np.geomspace(1e8, 4e9, 12))
    (note,) = design_notes(table_of(N=sizes.ravel(), D=grid.ravel()))
    assert note.startswith("N spans a factor of 8 in 4 levels (less than a decade): the design hardly tells its effect")
    assert "every N is on the same 12 values of D" in note
    assert "add runs at N = 1.3e7 or less (cheap), or at 1.5e9 or more" in note


def test_a_given_formula_over_redundant_columns_is_warned_of() -> None:
    table = table_of(N=N, D=D, C=6 * N * D)
    both = {"loss": table.parse("E + A*N**-a + B*D**-b + F*C**-c")}
    assert notes_for(both, table) == [
        "C = 6*N*D in every row, and the formula uses all of them: their effects cannot be told apart"
    ]
    assert notes_for({"loss": table.parse("E + A*N**-a + B*C**-c")}, table) == []


@pytest.mark.slow
def test_a_search_uses_one_set_and_says_so(tmp_path: Path) -> None:
    from sld import api

    law = 1.7 + 400 * N**-0.34 + 410 * D**-0.28
    data = {"N": N, "D": D, "budget": 6 * N * D, "loss": law}
    found = api.discover(
        data, target="loss", scale=["N", "D", "budget"], budget="300fits", workers=1, formulas=["E + A*budget**-a"],
        out=tmp_path / "run",
    )  # fmt: skip
    assert [v.column for v in found.law.variables] == ["N", "D"]
    assert any(note.startswith("budget = 6*N*D in every row") for note in found.notes)
    assert found.law.provenance["left_out"][0]["text"] == "budget = 6*N*D"
    assert any("6*N*D" in c.text for c in found.hall_of_fame)
    assert api.predict(tmp_path / "run", {"N": [1e9], "D": [1e10], "budget": [6e19]})["loss"].shape == (1,)
