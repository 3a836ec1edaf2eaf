"""Tables of thousands of rows, which the machine works on in tiles."""

from collections.abc import Sequence

import numpy as np
import pytest
from fits import TRUTH, fitted, planted, table_of
from scipy.optimize import least_squares

from sld.data.table import Table
from sld.fit.fitter import Fitter
from sld.fit.fitting import fit
from sld.fit.kernel import Array


def test_many_rows() -> None:
    form = "E + A*N**-a + B*D**-b + k*(log(lr) - c - g*log(N))**2"
    truth = TRUTH | {"k": 0.02, "c": -0.2, "g": -0.25}
    result = fitted(form, planted(form, truth, noise=0.01, n=3000), starts=8)
    assert result.ok and result.residual_sd == pytest.approx(0.01, rel=0.05)
    assert result.constants["all"]["a"] == pytest.approx(0.34, rel=0.05)


def tall(n: int, groups: Sequence[str] | None = None) -> Table:
    """Return n rows, sorted, so that x is nearly a multiple of 1 within a tile of them."""
    rng = np.random.default_rng(3)
    v = {"N": np.sort(np.exp(rng.uniform(16, 23, n))), "x": np.repeat(np.arange(n // 500 + 1), 500)[:n].astype(float)}
    return table_of(v, 2.0 + 300.0 * v["N"] ** -0.3 + 0.1 * v["x"] + rng.normal(0, 0.02, n), groups)


@pytest.mark.parametrize("weighted", [False, True])
def test_linear_constants_of_thousands_of_rows_are_those_of_least_squares(weighted: bool) -> None:
    table = tall(4000)
    N, x = table.X.T
    w = np.random.default_rng(0).uniform(0.5, 2.0, 4000) if weighted else np.ones(4000)
    fitter = Fitter(table.parse("E + A*log(N) + B*x + C*x*log(N)"), table, weights=w if weighted else None)
    found = fitter.solve(fitter.starts(1, np.random.default_rng(0)))
    design = np.column_stack([np.ones(4000), np.log(N), x, x * np.log(N)]) * np.sqrt(w)[:, None]
    wanted, left, *_ = np.linalg.lstsq(design, table.Y[:, 0] * np.sqrt(w))
    by_name = dict(zip(fitter.names, found.values[0], strict=True))
    assert [by_name[c] for c in "EABC"] == pytest.approx(wanted, rel=1e-9)
    assert found.sums[0] == pytest.approx(left[0], rel=1e-12)


def test_thousands_of_rows_are_fitted_as_scipy_fits_them() -> None:
    table = tall(3000)
    found = fit(table.parse("E + A*N**-a + B*x"), table)
    N, x = table.X.T

    def miss(p: Array) -> Array:
        return np.asarray(p[0] + np.exp(p[1]) * N ** -p[2] + p[3] * x - table.Y[:, 0])

    other = least_squares(miss, [2.0, 5.7, 0.3, 0.1], x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14)
    assert found.loss == pytest.approx(2 * other.cost, rel=1e-9)
    assert found.constants["all"]["a"] == pytest.approx(other.x[2], rel=1e-4)


def test_a_row_without_weight_beyond_a_tile_changes_nothing() -> None:
    table = tall(1025)
    form = table.parse("E + A*N**-a + B*x")
    w = np.ones(1025)
    w[-1] = 0.0
    whole, tile = Fitter(form, table, weights=w), Fitter(form, table.take(np.arange(1024)))
    start = np.array([[0.5]])
    one, other = (f.solve(start, max_iterations=200, tolerance=1e-14) for f in (whole, tile))
    assert one.sums == pytest.approx(other.sums, rel=1e-10)
    assert one.values == pytest.approx(other.values, rel=1e-5)


def test_a_shared_exponent_of_groups_of_many_tiles() -> None:
    table = tall(6000, ["p", "q", "r"] * 2000)
    fitter = Fitter(table.parse("E + A*N**-a + B*x"), table, shared=("a",))
    found = fitter.solve(np.array([[0.5]]), max_iterations=200, tolerance=1e-13)
    steps = 1e-5 * np.array([-1.0, 1.0])
    around = [fitter.solve(found.values[:1, :1] + s, max_iterations=0).sums.sum() for s in steps]
    assert min(around) >= found.sums.sum()
    assert np.ptp(found.values[:, 0]) == 0.0
    assert np.mean((fitter.predict(found.values) - table.Y[:, 0]) ** 2) < 0.025**2
