"""Losses other than least squares are minimised as independent minimisers do it."""

import numpy as np
import pytest
from fits import CHINCHILLA, TRUTH, as_scipy, chinchilla, fitted, huber_sum, independent, planted
from scipy.optimize import least_squares

from sld.data.table import Table
from sld.fit.fitting import HUBER_DELTA_LOG, Loss
from sld.fit.kernel import Array


def with_outliers() -> Table:
    table = planted(CHINCHILLA, TRUTH, noise=0.01)
    y = table.Y[:, 0].copy()
    y[::17] += 0.5
    return table.with_targets(y)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "delta"), [("huber", 0.02), ("log_huber", HUBER_DELTA_LOG)])
def test_robust_losses_equal_an_independent_minimisation(loss: Loss, delta: float) -> None:
    table = with_outliers()
    N, D, y = table.column("N"), table.column("D"), table.Y[:, 0]

    def objective(c: Array) -> float:
        model = np.maximum(chinchilla(c, N, D), 1e-12)
        return huber_sum(y - model if loss == "huber" else np.log(y) - np.log(model), delta)

    result = fitted(CHINCHILLA, table, loss=loss, delta=delta)
    reference = independent(objective, as_scipy(TRUTH))
    ours = objective(as_scipy(result.constants["all"]))
    assert result.loss == pytest.approx(ours, rel=1e-9)
    assert ours <= objective(reference) * (1 + 1e-7)
    assert as_scipy(result.constants["all"]) == pytest.approx(reference, rel=2e-3)


def test_log_loss_equals_least_squares_of_logarithms() -> None:
    table = with_outliers()
    N, D, y = table.column("N"), table.column("D"), table.Y[:, 0]
    result = fitted(CHINCHILLA, table, loss="log")
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15}
    reference = least_squares(
        lambda c: np.log(y) - np.log(chinchilla(c, N, D)), as_scipy(TRUTH), x_scale="jac", **tight
    )
    assert result.loss == pytest.approx(2 * reference.cost, rel=1e-9)
    assert as_scipy(result.constants["all"]) == pytest.approx(reference.x, rel=1e-4)


def test_huber_equals_scipys_and_resists_outliers() -> None:
    table = with_outliers()
    N, D, y = table.column("N"), table.column("D"), table.Y[:, 0]
    result = fitted(CHINCHILLA, table, loss="huber", delta=0.02)
    reference = least_squares(
        lambda c: y - chinchilla(c, N, D),
        as_scipy(TRUTH),
        loss="huber",
        f_scale=0.02,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    assert result.loss == pytest.approx(reference.cost, rel=1e-8)
    squared = fitted(CHINCHILLA, table)
    assert abs(result.constants["all"]["E"] - 1.69) < 0.03 < abs(squared.constants["all"]["E"] - 1.69)


@pytest.mark.parametrize("noise", [0.001, 0.1])
def test_default_huber_width_follows_the_noise(noise: float) -> None:
    table = planted(CHINCHILLA, TRUTH, noise=noise)
    variance = fitted(CHINCHILLA, table).residual_sd ** 2
    # Huber's function of a standard normal with width 1.345 is 0.466 on average, by the normal integrals
    assert fitted(CHINCHILLA, table, loss="huber").loss == pytest.approx(0.466 * 120 * variance, rel=0.1)
