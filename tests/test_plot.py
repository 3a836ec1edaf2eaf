"""The picture of a law: whole and sane for every kind of task, the same bytes every time, never a warning."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_cases import each

from sld.analysis.plot import plot_law
from sld.analysis.sections import magnitude, main_variable, section
from sld.core.errors import UsageError
from sld.data.splits import extrapolation_split, rung_folds
from sld.data.table import Table, table_from
from sld.fit.fitting import fit
from sld.laws.law import Law

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _as_sharp_as_for_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sld.analysis.plot._DPI", 130)  # the other tests draw with fewer points


def fitted(table: Table, text: str | Mapping[str, str]) -> Law:
    expressions, constants = {}, {}
    for j, target in enumerate(table.targets):
        expression = table.parse(text if isinstance(text, str) else text[target.column], j)
        result = fit(expression, table, target=j, starts=6)
        assert result.ok, result.status
        expressions[target.column], constants[target.column] = expression, result.constants
    return Law(expressions, constants, table.variables, table.targets, table.group_column)


def noisy(values: Any, size: float = 0.01) -> Any:
    return values * (1 + size * RNG.standard_normal(np.shape(values)))


def mesh(*axes: Any) -> list[Any]:
    return [x.ravel() for x in np.meshgrid(*axes)]


def grid() -> tuple[Table, str]:
    N, D = mesh(np.geomspace(1e6, 1e9, 8), np.geomspace(1e8, 1e11, 7))
    loss = noisy(1.8 + 480 / N**0.35 + 2000 / D**0.37)
    return table_from({"N": N, "D": D, "loss": loss}, target="loss", scale=["N", "D"]), "E + A/N**alpha + B/D**beta"


def isoflop() -> tuple[Table, str]:
    C, ratio = mesh(np.geomspace(1e18, 1e21, 4), np.geomspace(0.1, 10, 9))
    N = noisy(np.sqrt(C / 120) * ratio, 1e-4)
    D = C / 6 / N
    loss = noisy(1.8 + 480 / N**0.35 + 2000 / D**0.37, 1e-3)
    return table_from({"N": N, "D": D, "loss": loss}, target="loss", scale=["N", "D"]), "E + A/N**alpha + B/D**beta"


def groups() -> tuple[Table, str]:
    size = np.tile(np.geomspace(200, 1e5, 8), 42)
    family = np.repeat([f"model {k}" for k in range(42)], 8)
    loss = noisy(np.repeat(np.linspace(1, 4, 42), 8) + 20 * size**-0.5)
    return table_from(
        {"n": size, "family": family, "loss": loss}, target="loss", scale="n", group="family"
    ), "E + A/n**a"


def mixture() -> tuple[Table, str]:
    shares = RNG.dirichlet([1, 1, 1, 1, 1], 40)
    data: dict[str, Any] = {f"p{k}": shares[:, k] for k in range(5)}
    data |= {f"l{k}": noisy(2 + np.exp(-3 * shares[:, k])) for k in range(5)}
    return (
        table_from(data, target=[f"l{k}" for k in range(5)], proportion=[f"p{k}" for k in range(5)]),
        "c + k*exp(sum(t_share*share))",
    )


def valley() -> tuple[Table, str]:
    lr, batch, N = mesh(np.geomspace(1e-4, 1e-2, 7), [16.0, 64.0, 256.0], np.geomspace(1e6, 1e8, 4))
    loss = noisy(2 + 100 / N**0.3 + 0.05 * (np.log(lr) + 3 + 0.2 * np.log(N)) ** 2 + 0.01 * np.log(batch / 64) ** 2)
    table = table_from(
        {"lr": lr, "batch": batch, "N": N, "loss": loss}, target="loss", scale="N", hyper=["lr", "batch"]
    )
    return table, "E + A/N**a + k*(log(lr) - c - d*log(N))**2 + m*(log(batch) - q)**2"


def log_column() -> tuple[Table, str]:
    flops = np.linspace(-2, 2, 30)
    score = -1 / (1 + np.exp(flops))
    table = table_from(
        {"log_flops": flops, "brier": noisy(score)}, target="brier", scale="log_flops", log="log_flops",
        lower=-1.0, upper=0.0, higher_is_better=True,
    )  # fmt: skip
    return table, "0 - sigmoid(a - b*log_flops)"


def negative() -> tuple[Table, str]:
    N, V = mesh(np.geomspace(1e7, 1e9, 6), np.geomspace(4e3, 6e4, 6))
    loss = -5 + 1e3 / N**0.5 + 0.1 * np.log(V / 2e4) ** 2
    return table_from({"N": N, "V": V, "u": loss}, target="u", scale=["N", "V"]), "E + A/N**a + k*(log(V) - c)**2"


def one_variable() -> tuple[Table, str]:
    N = np.geomspace(1e3, 1e9, 12)
    return table_from({"N": N, "err": noisy(0.9 * N**-0.1)}, target="err", scale="N", lower=0, upper=1), "A*N**-a"


KINDS = {f.__name__: f for f in (grid, isoflop, groups, mixture, valley, log_column, negative, one_variable)}


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


# held-out rows are in the picture of every other kind
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "with_held_out"), [(kind, i % 2 == 0) for i, kind in enumerate(KINDS)])
def test_every_kind_of_task_has_a_picture(kind: str, with_held_out: bool, tmp_path: Path) -> None:
    table, text = KINDS[kind]()
    split = extrapolation_split(table)
    train, held_out = (table.take(split.train), table.take(split.test)) if with_held_out else (table, None)
    law = fitted(train, text)
    plot_law(law, train, tmp_path / "plot.png", folds=rung_folds(train), held_out=held_out)
    width, height = png_size(tmp_path / "plot.png")
    assert 1000 < width < 3000 and 450 < height < 800 * len(table.targets) + 300
    assert 20_000 < (tmp_path / "plot.png").stat().st_size < 2_000_000
    assert [p.name for p in tmp_path.iterdir()] == ["plot.png"]


@pytest.mark.slow
def test_same_law_same_bytes(tmp_path: Path) -> None:
    table, text = grid()
    law = fitted(table, text)
    for name in ("a.png", "b.png"):
        plot_law(law, table, tmp_path / name, folds=rung_folds(table))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.slow
def test_names_in_any_script_and_signs_of_mathematics_are_set_as_they_stand(tmp_path: Path) -> None:
    N = np.tile(np.geomspace(1e6, 1e9, 8), 3)
    data = {
        "größe $N_0$ {a}^2": N,
        "家族": np.repeat(["модель", "模型", "a$b_1"], 8),
        "потеря %": noisy(2 + 300 / N**0.4),
    }
    table = table_from(data, target="потеря %", scale="größe $N_0$ {a}^2", group="家族")
    law = fitted(table, f"E + A/{table.symbols[0]}**a")
    plot_law(law, table, tmp_path / "ünï 模.png")
    assert png_size(tmp_path / "ünï 模.png")[0] > 1000


@pytest.mark.slow
def test_a_formula_too_wide_for_a_line_is_broken_and_one_beyond_mathtext_is_text(tmp_path: Path) -> None:
    table, _ = grid()
    wide = "E + A/N**alpha + B/D**beta + C*log(N)**c1*log(D)**c2/(1 + exp(g - h*log(N*D)))"
    law = fitted(table, wide)
    plot_law(law, table, tmp_path / "wide.png")
    assert png_size(tmp_path / "wide.png")[0] < 1600


@pytest.mark.slow
def test_a_law_that_leaves_its_domain_beyond_the_data_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    N = np.geomspace(1e6, 1e9, 10)
    table = table_from({"N": N, "loss": 3 - 0.1 * np.log(N)}, target="loss", scale="N")
    expression = table.parse("sqrt(a - b*log(N))")
    law = Law({"loss": expression}, {"loss": {"all": {"a": 3.0, "b": 0.14}}}, table.variables, table.targets)
    plot_law(law, table, tmp_path / "plot.png")
    assert png_size(tmp_path / "plot.png")[0] > 1000
    nothing = Law({"loss": expression}, {"loss": {"all": {"a": -3.0, "b": 0.14}}}, table.variables, table.targets)
    plot_law(nothing, table, tmp_path / "nothing.png")


@pytest.mark.slow
def test_many_rows_and_flat_targets_are_no_trouble(tmp_path: Path) -> None:
    n = 200_000
    N = 10 ** RNG.uniform(6, 9, n)
    table = table_from({"N": N, "x": RNG.uniform(0, 1, n), "loss": noisy(2 + 300 / N**0.4)}, target="loss", scale="N",
                       covariate="x")  # fmt: skip
    result = fit(table.parse("E + A/N**a + b*x"), table.take(np.arange(500)), starts=4)
    law = Law({"loss": table.parse("E + A/N**a + b*x")}, {"loss": result.constants}, table.variables, table.targets)
    plot_law(law, table, tmp_path / "many.png")
    flat = table.take(np.arange(12)).with_targets(np.full(12, 2.0))
    plot_law(law, flat, tmp_path / "flat.png")
    assert png_size(tmp_path / "flat.png") == png_size(tmp_path / "many.png")


@pytest.mark.slow
def test_held_out_rows_of_groups_without_constants_are_left_out(tmp_path: Path) -> None:
    table, text = groups()
    law = fitted(table.take(table.group_index < 30), text)
    plot_law(law, table.take(table.group_index < 30), tmp_path / "plot.png", held_out=table)
    plot_law(
        law, table.take(table.group_index < 30), tmp_path / "none.png", held_out=table.take(table.group_index > 35)
    )
    assert png_size(tmp_path / "none.png")[0] > 1000


@pytest.mark.slow
def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    table, text = one_variable()
    with pytest.raises(UsageError, match="could not write"):
        plot_law(fitted(table, text), table, tmp_path / "no" / "plot.png")


def test_isoflop_rows_lie_on_lines_of_equal_compute() -> None:
    table, text = isoflop()
    shown = section(fitted(table, text), table)
    assert " × " in shown.told_apart_by and len(shown.lines) == 4
    for line in shown.lines:
        on_line = np.interp(np.log(line.measured[0]), np.log(line.x), line.y)
        np.testing.assert_allclose(line.measured[1], on_line, rtol=0.02)


def test_lines_of_a_grid_are_rungs_and_run_ten_times_past_the_data() -> None:
    table, text = grid()
    shown = section(fitted(table, text), table)
    assert shown.told_apart_by in ("N", "D") and len(shown.lines) == 6
    x = table.column(shown.variable.symbol)
    assert shown.beyond == (x.max(), 10 * x.max())
    for line in shown.lines:
        assert set(line.measured[1]) <= set(table.Y[:, 0])  # nothing had to be moved


def test_hyperparameters_show_valleys_and_proportions_stay_shares() -> None:
    table, text = valley()
    shown = section(fitted(table, text), table)
    assert shown.variable.symbol == "lr" and shown.told_apart_by == "N"
    assert main_variable(fitted(table, text), table).symbol == "N"
    table, text = mixture()
    law = fitted(table, text)
    for j in range(5):
        shown = section(law, table, j)
        assert shown.variable.symbol == f"p{j}"
        np.testing.assert_allclose(shown.lines[0].points.X.sum(axis=1), 1.0)


def test_measured_values_are_moved_by_what_the_law_says_about_the_other_variables() -> None:
    # with the true law and no noise, every row lies on its line wherever the other variables were
    N, batch = 10 ** RNG.uniform(6, 9, 60), 10 ** RNG.uniform(1, 3, 60)
    table = table_from(
        {"N": N, "b": batch, "loss": 2 + 300 / N**0.4 + 10 / batch}, target="loss", scale="N", covariate="b"
    )
    law = fitted(table, "E + A/N**a + c/b")
    for line in section(law, table).lines:
        on_line = np.interp(np.log(line.measured[0]), np.log(line.x), line.y)
        np.testing.assert_allclose(line.measured[1], on_line, rtol=0.02)


@each(
    ("value", "text"),
    [
        (1.3e6, "1.3M"),
        (7e10, "70B"),
        (6144, "6144"),
        (12800, "12.8k"),
        (3e-4, "0.0003"),
        (1e18, "1e18"),
        (-0.5, "-0.5"),
    ],
)
def test_numbers_are_written_as_people_write_them(value: float, text: str) -> None:
    assert magnitude(value) == text
