"""Huber's loss with a width far below the noise: the end of the fit is a minimum, whoever looks for it."""

from __future__ import annotations

import numpy as np
import pytest
from fits import CHINCHILLA, TRUTH, as_scipy, chinchilla, huber_sum, independent, points, table_of
from many_cases import each

from sld.data.table import Table
from sld.fit.fitter import Fitter
from sld.fit.fitting import fit
from sld.fit.kernel import Array
from sld.fit.robust import _newton, _Problem, finished, huber

DELTA = 1e-3


def rows(groups: int = 1, seed: int = 0) -> Table:
    inputs = {name: values for name, values in points(100 * groups, seed).items() if name in "ND"}
    y = chinchilla(as_scipy(TRUTH), inputs["N"], inputs["D"])
    rng = np.random.default_rng(seed + 1)
    y *= np.exp(0.01 * rng.standard_normal(len(y)) + np.where(rng.random(len(y)) < 0.1, 0.3, 0.0))
    return table_of(inputs, y, None if groups == 1 else [f"g{k % groups}" for k in range(len(y))])


def searched(table: Table, shared: tuple[str, ...] = (), positive: tuple[str, ...] = ()) -> Fitter:
    return Fitter(
        table.parse(CHINCHILLA), table, shared=shared, positive=positive, log_output=True, project=False
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_minimum_is_that_of_an_independent_search(seed: int) -> None:
    table = rows(seed=seed)
    N, D, y = table.column("N"), table.column("D"), table.Y[:, 0]

    def objective(c: Array) -> float:
        return huber_sum(np.log(y) - np.log(np.maximum(chinchilla(c, N, D), 1e-12)), DELTA)

    found = fit(table.parse(CHINCHILLA), table, loss="log_huber", delta=DELTA)
    ours = objective(as_scipy(found.constants["all"]))
    assert found.loss == pytest.approx(ours, rel=1e-9)
    assert ours <= objective(independent(objective, as_scipy(TRUTH))) * (1 + 1e-7)


@each("positive", [(), ("A", "B")])
@each("shared", [(), ("a", "E")])
def test_gradient_and_hessian_match_finite_differences(shared: tuple[str, ...], positive: tuple[str, ...]) -> None:
    table = rows(groups=2)
    fitter = searched(table, shared, positive)
    stop = 2 if shared else 1
    problem = _Problem(fitter, 0, stop, np.linspace(0.5, 1.5, table.n_rows), 0.05)
    names = fitter.tape.constants
    theta = np.array([np.log(TRUTH[c]) if c in fitter.tape.positive else TRUTH[c] for c in names]) * 1.01
    x = np.concatenate([theta[: len(fitter.shared)], np.tile(theta[len(fitter.shared) :], stop)])
    gradient, hessian, _ = problem.equations(x)
    step = 1e-5 * np.abs(x)
    for k in range(len(x)):
        away = np.zeros(len(x))
        away[k] = step[k]
        slope = (problem.loss(x + away) - problem.loss(x - away)) / (2 * step[k])
        assert gradient[k] == pytest.approx(slope, rel=1e-4, abs=1e-6 * np.abs(gradient).max())
    # along one direction, short enough that no residual crosses delta
    away = 1e-7 * np.abs(x)
    before, after = problem.equations(x - away)[0], problem.equations(x + away)[0]
    np.testing.assert_allclose(
        hessian @ away, (after - before) / 2, rtol=1e-2, atol=1e-4 * np.abs(after - before).max()
    )


def test_newton_ends_what_reweighting_leaves() -> None:
    table = rows()
    fitter = searched(table)
    near = np.array([[1.02 * TRUTH[c] if c in "ab" else TRUTH[c] for c in fitter.names]])
    root = np.ones(table.n_rows)
    problem = _Problem(fitter, 0, 1, root, DELTA)
    end = finished(fitter, near, root, DELTA)
    assert problem.loss(end[0]) < 0.99 * problem.loss(near[0])
    # no step of any constant lowers it any more
    for k in range(5):
        for factor in (1 - 1e-6, 1 + 1e-6):
            other = end[0].copy()
            other[k] *= factor
            assert problem.loss(other) >= problem.loss(end[0]) * (1 - 1e-9)


def test_newton_ends_on_the_bounds() -> None:
    table = rows()
    fitter = Fitter(
        table.parse(CHINCHILLA), table, bounds={"a": (0.0, 0.3)}, log_output=True, project=False
    )  # fmt: skip
    problem = _Problem(fitter, 0, 1, np.ones(table.n_rows), DELTA)
    begin = np.array([{**TRUTH, "a": 0.29}[c] for c in fitter.names])
    assert _newton(problem, begin)[fitter.names.index("a")] == 0.3


def test_groups_are_fitted_to_the_end_each_by_itself() -> None:
    table = rows(groups=3)
    found = fit(table.parse(CHINCHILLA), table, loss="log_huber", delta=DELTA)
    alone = 0.0
    for g, group in enumerate(table.groups):
        own = table.take(table.group_index == g)
        alone += fit(own.parse(CHINCHILLA), own, loss="log_huber", delta=DELTA).loss
        predicted = chinchilla(as_scipy(found.constants[group]), own.column("N"), own.column("D"))
        assert np.isfinite(predicted).all()
    assert found.loss == pytest.approx(alone, rel=1e-6)


def test_shared_constants_are_the_same_in_all_groups_at_the_end() -> None:
    table = rows(groups=3)
    found = fit(table.parse(CHINCHILLA), table, loss="log_huber", delta=DELTA, shared=("a",))
    assert len({of["a"] for of in found.constants.values()}) == 1


def test_a_narrow_huber_loss_in_units_of_the_target_is_followed_to_the_end() -> None:
    table = rows()
    found = fit(table.parse(CHINCHILLA), table, loss="huber", delta=1e-3)
    again = fit(
        table.parse(CHINCHILLA), table, loss="huber", delta=1e-3, starts=0, inherit=found.constants
    )  # fmt: skip
    assert again.loss == pytest.approx(found.loss, rel=1e-9)


def test_hubers_function() -> None:
    np.testing.assert_allclose(huber(np.array([0.5, -1.0, 3.0]), 1.0), [0.125, 0.5, 2.5])
