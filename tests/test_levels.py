"""Two values of a hyperparameter are a level, not a shape; outside the fitted range `predict` says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from many_cases import each

from sld import api
from sld.data.card import Target, Variable
from sld.data.levels import as_levels, level_notes, two_valued
from sld.data.table import Table, read_points, table_from
from sld.laws.law import Law
from sld.laws.ranges import outside, ranges_of
from sld.search.judging.admissible import Grid
from sld.search.proposing.enumeration import Space

CASES = Path(__file__).parents[2] / "shared" / "cases"


def rows(values: tuple[float, ...] = (1e-3, 3e-3), shift: float = 0.0) -> dict[str, list[float]]:
    data: dict[str, list[float]] = {"N": [], "lr": [], "loss": []}
    for n in np.geomspace(1e6, 1e9, 8):
        for k, lr in enumerate(values):
            data["N"].append(float(n))
            data["lr"].append(lr)
            data["loss"].append(float(1.5 + 200 * n**-0.3 * (1 + 0.2 * k)) + shift)
    return data


def table_of(**options: object) -> Table:
    return table_from(rows(), target="loss", scale="N", hyper="lr", **options)  # type: ignore[arg-type]


def test_two_values_are_told_from_three() -> None:
    assert two_valued(table_of()) == (1,)
    assert two_valued(table_from(rows((1e-3, 2e-3, 4e-3)), target="loss", scale="N", hyper="lr")) == ()
    assert two_valued(table_from(rows(), target="loss", scale=["N", "lr"])) == ()


def test_two_values_in_each_group_are_two_although_groups_differ() -> None:
    one, other = rows(), rows((1e-2, 3e-2), shift=1.0)
    data = {k: [*one[k], *other[k]] for k in one} | {"g": ["a"] * len(one["N"]) + ["b"] * len(other["N"])}
    table = table_from(data, target="loss", scale="N", hyper="lr", group="g")
    assert two_valued(table) == (1,)
    assert two_valued(table_from(data, target="loss", scale="N", hyper="lr")) == ()
    assert "lr has two values (in each group), which say nothing of a shape" in level_notes(table)[0]


def test_a_level_is_a_covariate_and_the_note_names_the_ways_out() -> None:
    assert [v.role for v in as_levels(table_of()).variables] == ["scale", "covariate"]
    (note,) = level_notes(table_of())
    assert note.startswith("lr has two values (0.001 and 0.003), which say nothing of a shape")
    assert "--group lr" in note


def test_two_values_at_every_setting_of_the_rest_are_said() -> None:
    data = rows()
    data["lr"] = [lr * (n / 1e6) ** -0.5 for lr, n in zip(data["lr"], data["N"], strict=True)]
    (note,) = level_notes(table_from(data, target="loss", scale="N", hyper="lr"))
    assert note.startswith("lr has 16 values, but no more than two where everything else is the same")


def test_the_space_of_a_level_has_no_valley_and_no_square() -> None:
    texts = [text for text, _ in zip(Space(as_levels(table_of())).texts(), range(3000), strict=False)]
    assert any("lr**-" in text for text in texts)
    for text in texts:
        assert "log(lr)**2" not in text and "(log(lr) -" not in text and "exp(-lr" not in text, text


@each(
    ("formula", "constants", "refused"),
    [
        ("E + A*N**-a + k*log(lr)", {"k": 0.02}, False),
        ("E + A*N**-a*lr**b", {"b": 0.1}, False),
        ("E + A*N**-a", {}, False),
        ("E + A*N**-a + k*(log(lr) - m)**2", {"k": 0.1, "m": -6.4}, True),
        ("E + A*N**-a + k*exp(-((log(lr) - m)/w)**2)", {"k": 0.5, "m": -6.4, "w": 0.3}, True),
        ("E + A*N**-a + k*(lr - m)**(-2)", {"k": 1e-8, "m": 5e-4}, True),
        ("E + A*N**-a + k*lr**-8", {"k": 1e-26}, True),
    ],
)
def test_a_law_with_a_shape_in_a_level_is_inadmissible(
    formula: str, constants: dict[str, float], refused: bool
) -> None:
    table = as_levels(table_of())
    grid = Grid.of(table)
    values = grid.predict(table.parse(formula), [{"E": 1.5, "A": 200.0, "a": 0.3, **constants}])
    hard = [p.sentence for p in grid.problems(0, values) if p.hard]
    assert bool(hard) == refused, hard


def test_a_flag_is_not_walked_beyond_its_two_values() -> None:
    data = rows()
    data["lr"] = [float(lr > 2e-3) for lr in data["lr"]]
    table = table_from(data, target="loss", scale="N", covariate="lr")
    grid = Grid.of(table)
    assert grid.columns["lr"].min() == 0.0
    assert grid.columns["lr"].max() == 1.0
    constants = [{"E": 1.5, "A": 200.0, "a": 0.3, "k": 0.1}]
    assert not grid.problems(0, grid.predict(table.parse("E + A*N**-a + k*lr"), constants))


def law_of(table: Table, formula: str = "E + A*N**-a") -> Law:
    constants = {g: {"E": 1.5, "A": 200.0, "a": 0.3} for g in table.groups}
    return Law(
        {"loss": table.parse(formula)}, {"loss": constants}, table.variables, table.targets, table.group_column,
        provenance=ranges_of(table),
    )  # fmt: skip


def test_points_outside_a_hyperparameters_range_are_named_and_scales_are_not() -> None:
    law = law_of(table_of())
    points = {"N": [1e12, 1e3, 1e7], "lr": [1e-5, 2e-3, 0.1]}
    assert outside(law, read_points(points, law.variables)) == (
        "lr = 1e-5 lies outside 0.001..0.003, where the law was fitted (2 of 3 points)",
    )
    assert outside(law, read_points({"N": [1e7, 1e7], "lr": [1e-3, 3e-3]}, law.variables)) == ()
    saved = Law.from_json(law.to_json())
    assert outside(saved, read_points(points, law.variables)) == outside(law, read_points(points, law.variables))


def test_each_group_has_a_range_of_its_own() -> None:
    one, other = rows(), rows((1e-2, 3e-2))
    data = {k: [*one[k], *other[k]] for k in one} | {"g": ["a"] * len(one["N"]) + ["b"] * len(other["N"])}
    law = law_of(table_from(data, target="loss", scale="N", hyper="lr", group="g"))
    points = read_points({"N": [1e7, 1e7], "lr": [2e-2, 2e-2], "g": ["a", "b"]}, law.variables, "g")
    (sentence,) = outside(law, points)
    assert sentence == "lr = 0.02 lies outside 0.001..0.003, where the law of group a was fitted (1 of 2 points)"


def test_shares_and_covariates_are_watched_too_and_old_laws_say_nothing() -> None:
    variables = (Variable("N"), Variable("web", role="proportion"), Variable("depth", role="covariate"))
    X = np.array([[1e6, 0.2, 4.0], [1e7, 0.4, 8.0], [1e8, 0.3, 6.0]])
    table = Table(variables, (Target("loss"),), X, np.array([[3.0], [2.5], [2.2]]))
    law = law_of(table)
    asked = Table(variables, (), np.array([[1e9, 0.9, 32.0]]), np.empty((1, 0)))
    assert [s.split()[0] for s in outside(law, asked)] == ["web", "depth"]
    old = Law(law.expressions, law.constants, law.variables, law.targets)
    assert outside(old, asked) == ()


def test_predict_warns_of_a_fitted_law(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sld.__main__ import main

    lines = ["N,lr,loss", *(",".join(map(str, row)) for row in zip(*rows().values(), strict=True))]
    (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "points.csv").write_text("N,lr\n1e9,1e-5\n", encoding="utf-8")
    roles = ["--target", "loss", "--scale", "N", "--hyper", "lr"]
    law = str(tmp_path / "law.json")
    formula = "E + A*N**-a + k*log(lr)"
    assert main(["fit", str(tmp_path / "runs.csv"), *roles, "--law", formula, "--out", law]) == 0
    assert "note: lr has two values (0.001 and 0.003)" in capsys.readouterr().out
    assert main(["predict", law, str(tmp_path / "points.csv")]) == 0
    said = capsys.readouterr()
    assert said.err == "warning: lr = 1e-5 lies outside 0.001..0.003, where the law was fitted\n"


def test_a_column_that_was_left_out_is_watched(tmp_path: Path) -> None:
    sizes = np.geomspace(1e6, 1e9, 12)
    data = {"N": sizes, "D": 20 * sizes, "loss": 1.5 + 200 * sizes**-0.3}
    found = api.discover(data, target="loss", scale=["N", "D"], budget="200fits", workers=1)
    assert [v.column for v in found.law.variables] == ["N"]
    assert api.warnings(found.law, {"N": [1e10], "D": [2e11]}) == []
    (sentence,) = api.warnings(found.law, {"N": [1e10], "D": [1e13]})
    assert sentence.startswith("D = 1e13 where the law takes D = 20*N = 2e11, as in every row")
    assert api.warnings(found.law, {"N": [1e10]}) == []


@pytest.mark.slow
def test_a_search_over_two_values_stays_sane_outside_them() -> None:
    data = rows()
    found = api.discover(data, target="loss", scale="N", hyper="lr", budget="1500fits", workers=1)
    assert any(note.startswith("lr has two values") for note in found.notes)
    assert {v.column: v.role for v in found.law.variables}["lr"] == "covariate"
    asked = {"N": [1e9] * 5, "lr": [1e-5, 3e-4, 1e-3, 3e-3, 1e-2]}
    assert (np.abs(api.predicted_columns(found.law, asked)["loss"] - 1.9) < 1.5).all()


@pytest.mark.slow
@pytest.mark.skipif(not CASES.is_dir(), reason="needs the cases beside the checkout")
def test_the_sweep_with_two_learning_rates_does_not_explode_below_the_smaller_one() -> None:
    found = api.discover(
        CASES / "bits_lr_sweep.csv", target="obj_loss_bits_indist", scale="docs", hyper="lr", budget="2000fits",
        workers=1,
    )  # fmt: skip
    asked = {"docs": [1e6, 1e6, 1e6], "lr": [1e-5, 1e-4, 1e-2]}
    predicted = api.predicted_columns(found.law, asked)["obj_loss_bits_indist"]
    assert (np.abs(predicted) < 1.5).all()
