"""What a fit is given and what it says: bounds, weights, starts, misuse, trouble, diagnostics."""

import math

import numpy as np
import pytest
from fits import CHINCHILLA, TRUTH, fitted, grouped_table, planted, table_of
from many_cases import each

from sld.core.errors import UsageError
from sld.data.table import table_from
from sld.fit.fitter import Fitter
from sld.fit.fitting import fit
from sld.fit.kernel import Array
from sld.formula.expression import parse


def test_bounds_hold_and_are_reported() -> None:
    table = planted("E + A*N**-a", {"E": 1.7, "A": 400.0, "a": 0.34}, noise=0.01)
    free = fitted("E + A*N**-a", table)
    assert free.at_bounds == ()
    for c, bounds in (("a", (0.4, 0.6)), ("a", (0.1, 0.3)), ("E", (1.8, 3.0)), ("A", (0.0, 100.0))):
        result = fitted("E + A*N**-a", table, bounds={c: bounds})
        value = result.constants["all"][c]
        assert bounds[0] <= value <= bounds[1] and result.at_bounds == (c,)
        assert result.loss > free.loss
    inside = fitted("E + A*N**-a", table, bounds={"a": (0.1, 0.9), "E": (0, 5), "A": (1, 1e6)})
    assert inside.at_bounds == () and inside.constants["all"] == pytest.approx(free.constants["all"], rel=1e-6)


def test_a_bounded_linear_constant_is_the_constrained_optimum() -> None:
    # y falls along x: with A >= 0 the best is A = 0 and E the mean
    table = table_of({"x": np.arange(10.0)}, 5.0 - np.arange(10.0))
    result = fitted("E + A*x", table, positive=("A",))
    assert result.constants["all"] == pytest.approx({"E": 0.5, "A": 0.0}, abs=1e-7)
    assert result.at_bounds == ("A",)


def test_positive_constants_are_positive() -> None:
    table = planted("L + U*sigmoid(k*(log(N) - c))", {"L": 0.25, "U": 0.6, "k": 1.3, "c": 19.0}, noise=0.01)
    for seed in range(3):
        result = fitted("L + U*sigmoid(k*(log(N) - c))", table, positive=("k", "U"), seed=seed)
        assert result.constants["all"]["k"] > 0 and result.constants["all"]["U"] > 0
        assert result.constants["all"]["k"] == pytest.approx(1.3, rel=0.1)


def test_weights_count_as_repetitions() -> None:
    table = planted("E + A*N**-a", {"E": 1.7, "A": 400.0, "a": 0.34}, noise=0.01, n=40)
    times = np.random.default_rng(0).integers(1, 4, 40)
    expression = table.parse("E + A*N**-a")
    weighted = Fitter(expression, table, weights=times.astype(float))
    repeated = Fitter(expression, table.take(np.repeat(np.arange(40), times)))
    starts = weighted.starts(8, np.random.default_rng(0))
    one, other = (f.solve(starts, max_iterations=200, tolerance=1e-13) for f in (weighted, repeated))
    assert one.sums[0] == pytest.approx(other.sums[0], rel=1e-10)
    assert one.values[0] == pytest.approx(other.values[0], rel=1e-6)


def test_some_rows_are_fitted_as_a_smaller_table_would_be() -> None:
    table, _ = grouped_table()
    expression = table.parse("E + A*N**-a")
    fitter = Fitter(expression, table)
    starts = fitter.starts(8, np.random.default_rng(0))
    rows = np.flatnonzero((np.arange(100) % 3 != 0) & (table.group_index != 1))
    part = fitter.solve(starts, rows)
    smaller = table.take(rows)
    whole = Fitter(expression, smaller).solve(starts)
    for k, group in enumerate(table.groups):
        if group in smaller.groups:
            j = smaller.groups.index(group)
            np.testing.assert_array_equal(part.values[k], whole.values[j])
            assert part.sums[k] == whole.sums[j] and part.at_best[k] == whole.at_best[j]
        else:
            assert np.isnan(part.values[k]).all() and part.sums[k] == 0.0
    mask = np.zeros(100, dtype=bool)
    mask[rows] = True
    np.testing.assert_array_equal(fitter.solve(starts, mask).values, part.values)
    assert np.isnan(fitter.predict(part.values)[table.group_index == 1]).all()


def test_no_starts_are_enough_where_nothing_is_searched() -> None:
    table = planted(CHINCHILLA, TRUTH, noise=0.01)
    form = table.parse("E + A*log(N) + B*log(D)")
    whole = fit(form, table)
    again = fit(form, table, starts=0, inherit={"all": {"E": 0.0, "A": 7.0, "B": 7.0}})
    assert again.ok and again.constants["all"] == pytest.approx(whole.constants["all"])


def test_an_inherited_start_is_used() -> None:
    table = planted(CHINCHILLA, TRUTH, noise=0.01)
    fitter = Fitter(table.parse(CHINCHILLA), table)
    best = fitter.solve(fitter.starts(16, np.random.default_rng(0)))
    lost = np.full((1, len(fitter.tape.constants)), 30.0)
    again = fitter.solve(lost, inherited=fitter.nonlinear(best))
    assert again.sums[0] <= best.sums[0] * (1 + 1e-9) and again.at_best[0] == 1
    ignored = fitter.solve(lost, inherited=np.full((1, len(fitter.tape.constants)), np.nan))
    assert ignored.ok


@each(
    ("rows", "form", "options", "message"),
    [
        (4, CHINCHILLA, {}, "5 constants need at least 5 distinct points, got 4"),
        (40, CHINCHILLA, {"loss": "hubber"}, "no loss 'hubber'; did you mean 'huber'"),
        (40, CHINCHILLA, {"shared": ("a", "q")}, "'q'"),
        (40, CHINCHILLA, {"positive": ("alpha",)}, "'alpha'"),
        (40, CHINCHILLA, {"bounds": {"z": (0, 1)}}, "'z'"),
        (40, CHINCHILLA, {"bounds": {"a": (1.0, 0.5)}}, "bounds of 'a' leave no room: from 1 to 0.5"),
        (40, CHINCHILLA, {"bounds": {"a": (-2.0, 0.0)}, "positive": ("a",)}, "it must be positive"),
        (40, "E + A*x", {"loss": "log"}, "needs a positive target, got -"),
    ],
)
def test_misuse_is_refused(rows: int, form: str, options: dict[str, object], message: str) -> None:
    table = planted(CHINCHILLA, TRUTH).take(np.arange(rows))
    if options.get("loss") == "log":
        table = table.with_targets(table.column("x"))
    with pytest.raises(UsageError, match=message):
        fitted(form, table, **options)


def test_rows_are_counted_by_group_and_shared_constants_once() -> None:
    table, _ = grouped_table()
    few = table.take(
        np.concatenate([np.flatnonzero(table.group_index != 2), np.flatnonzero(table.group_index == 2)[:2]])
    )
    with pytest.raises(UsageError, match="3 constants need at least 3 distinct points in group 'c', got 2"):
        fitted("E + A*N**-a", few)
    assert fitted("E + A*N**-a", few, shared=("a",)).ok


HARD: dict[str, tuple[Array, Array]] = {
    "not a number": (np.arange(1.0, 21), np.full(20, np.nan)),
    "one nan": (np.arange(1.0, 21), np.where(np.arange(20) == 3, np.nan, 1.0)),
    "infinite": (np.arange(1.0, 21), np.full(20, np.inf)),
    "huge": (np.geomspace(1e200, 1e300, 20), np.geomspace(1e200, 1e300, 20)),
    "tiny": (np.geomspace(1e-300, 1e-200, 20), np.geomspace(1e-300, 1e-200, 20)),
    "zero": (np.zeros(20), np.zeros(20)),
    "negative": (-np.arange(1.0, 21), np.arange(20.0)),
    "one point": (np.full(20, 3.0), np.full(20, 2.0)),
    "huge target": (np.arange(1.0, 21), np.geomspace(1e150, 1e308, 20)),
}


@each("data", HARD)
@each(
    "form", ["E + A*x**-a", "exp(exp(a*x)) + b", "log(a*x) + b", "A*(x - c)**a", "sigmoid(k*x)/E", "a*x", "max(a, b*x)"]
)
def test_numerical_trouble_is_a_status_not_an_exception(form: str, data: str) -> None:
    x, y = HARD[data]
    if len(np.unique(x)) < len(table_of({"x": x}, y).parse(form).constants):
        with pytest.raises(UsageError, match=r"distinct points, got 1 in 20 rows \(repeats do not count\)"):
            fitted(form, table_of({"x": x}, y))
        return
    for loss in ("squared", "huber"):
        result = fitted(form, table_of({"x": x}, y), loss=loss, starts=4)
        if result.ok:
            assert np.isfinite(result.prediction).all() and all(map(math.isfinite, result.constants["all"].values()))
        else:
            assert len(result.status) > 10 and not result.constants and math.isnan(result.nmse)


def test_status_names_what_is_not_finite() -> None:
    table = table_of({"x": np.array([-1.0, 1.0, 2.0, 3.0])}, np.arange(4.0))
    assert fitted("a + b*log(x)", table).status == "log(x) is not finite on every row"
    assert "no starting point" in fitted("a + b*log(x - 9 - exp(c))", table).status


def test_groups_that_fail_do_not_harm_the_others() -> None:
    table, _ = grouped_table()
    y = np.where(table.group_index == 1, np.nan, table.Y[:, 0])
    broken = table.with_targets(y)
    fitter, sound = (Fitter(t.parse("E + A*N**-a"), t) for t in (broken, table))
    starts = sound.starts(8, np.random.default_rng(0))
    solution = fitter.solve(starts)
    assert not solution.ok and solution.sums[1] == math.inf and solution.at_best[1] == 0
    np.testing.assert_array_equal(solution.values[[0, 2]], sound.solve(starts).values[[0, 2]])


def test_same_seed_same_constants() -> None:
    table = planted(CHINCHILLA, TRUTH, noise=0.02)
    first = fitted(CHINCHILLA, table, seed=3)
    fitted("E + A*N**-a", table)  # what else was fitted does not matter
    again = fitted(CHINCHILLA, table, seed=3)
    assert first.constants == again.constants and first.loss == again.loss
    np.testing.assert_array_equal(first.prediction, again.prediction)


def test_diagnostics() -> None:
    table = planted(CHINCHILLA, TRUTH, noise=0.01)
    result = fitted(CHINCHILLA, table)
    residual = table.Y[:, 0] - result.prediction
    assert result.loss == pytest.approx(residual @ residual, rel=1e-9)
    assert result.nmse == pytest.approx(np.mean(residual**2) / table.Y[:, 0].var(), rel=1e-9)
    assert result.n_starts == 32 and result.n_at_best >= 31 and result.n_rows == 120
    assert 10 < result.condition < 1e5
    redundant = fitted("E + F + A*N**-a", table)
    assert redundant.condition > 1e12


def test_a_formula_without_constants_is_only_measured() -> None:
    table = table_of({"x": np.arange(1.0, 6)}, 2 * np.arange(1.0, 6))
    result = fitted("x + x", table)
    assert result.ok and result.constants == {"all": {}} and result.loss == 0.0


def test_every_kind_of_call_has_the_types_that_the_machine_takes() -> None:
    """Another type is an error: the machine is compiled for these alone."""
    from sld.fit import machine

    table, _ = grouped_table()
    single = planted(CHINCHILLA, TRUTH)
    fitted("E + A*N**-a", table, shared=("a",), loss="log_huber", starts=2)
    fitted("E + A*x", single, bounds={"A": (0, 1)}, starts=2)
    fitted(CHINCHILLA, single.take(np.arange(0, 120, 2)), positive=("a",), starts=2)
    frame = table_from({"N": [1, 2, 3, 4], "y": [1, 2, 3, 5]}, target="y", scale=["N"])
    fitted("E + A*N**a", frame, starts=2)
    fitter = Fitter(table.parse("E + A*N**-a"), table, weights=np.ones(100))
    fitter.solve(fitter.starts(2, np.random.default_rng(0)), np.arange(50), inherited=np.ones((3, 1)))
    assert machine.solve.compilations <= 1


def test_constants_that_break_their_bounds_in_turn_are_all_held() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(1.0, 5.0, 30)
    for _ in range(10):
        y = rng.normal(size=30) + rng.normal() * x + rng.normal() * np.log(x)
        table = table_from({"x": x, "z": x ** rng.uniform(0.2, 2.0), "y": y}, target="y", scale=["x", "z"])
        expression = parse("A*x + B*log(x) + C*z + F*x**2 + E*x**-a", table.symbols)
        result = fit(expression, table, positive=["A", "B", "C", "F", "E"])
        assert result.ok
        assert all(v >= 0.0 for name, v in result.constants["all"].items() if name != "a")


def test_giving_up_a_start_never_costs_the_best_result() -> None:
    rng = np.random.default_rng(5)
    n, d = np.exp(rng.uniform(0, 8, 80)), np.exp(rng.uniform(0, 8, 80))
    y = (1.5 + 3.0 * n**-0.4 + 2.0 * d**-0.3) * rng.normal(1, 0.01, 80)
    table = table_from({"N": n, "D": d, "y": y}, target="y", scale=["N", "D"])
    for text in ("E + A*N**-a + B*D**-b + C*N**-c*D**-d", "E + A*(1 + (N/K)**s)**-b*D**-a", "(A*N**-a + B*D**-b)**g"):
        fitter = Fitter(table.parse(text), table)
        starts = fitter.starts(24, np.random.default_rng(0))
        alone = [float(fitter.solve(starts[i : i + 1]).sums[0]) for i in range(24)]
        together = fitter.solve(starts)
        assert together.sums[0] == pytest.approx(min(alone), rel=1e-5)
        assert together.at_best[0] >= 1
