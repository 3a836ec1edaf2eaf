"""Joint draws of a law: they are curves, they agree with the intervals, and they are the same every time."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

import sld
from sld.laws.draws import curve_draws

FAR = {"N": np.array([1e9, 1e10, 1e11])}


@pytest.fixture(scope="module")
def law() -> sld.Law:
    N = np.geomspace(1e6, 1e9, 10)
    loss = 1.7 + 400 * N**-0.34 + 0.01 * np.random.default_rng(0).standard_normal(10)
    return sld.fit({"N": N, "loss": loss}, "E + A*N**-a", target="loss", scale="N", starts=8)


def test_shares_of_draws_are_those_of_the_interval(law: sld.Law) -> None:
    predicted = sld.predict(law, FAR)
    runs = law.draws(FAR, n=20_000, of="run")[:, :, 0]
    inside = ((runs > predicted["loss_low"]) & (runs < predicted["loss_high"])).mean(axis=0)
    assert np.abs(inside - 0.9).max() < 0.01


def test_the_law_is_the_centre_of_its_draws_and_a_run_scatters_more(law: sld.Law) -> None:
    curves, runs = (law.draws(FAR, n=20_000, of=of)[:, :, 0] for of in ("law", "run"))
    spread = curves.std(axis=0)
    assert np.abs(np.median(curves, axis=0) - law.predict(FAR)[:, 0]).max() < 0.03 * spread.max()
    assert (runs.std(axis=0) > spread).all()


def test_a_draw_is_one_curve_also_between_calls(law: sld.Law) -> None:
    curves = curve_draws(law, "loss", n=50, seed=3)
    together = curves.values(FAR)
    apart = np.hstack([curve_draws(law, "loss", n=50, seed=3).values({"N": FAR["N"][[i]]}) for i in range(3)])
    np.testing.assert_allclose(together, apart, rtol=1e-12)
    assert np.corrcoef(together[:, 1], together[:, 2])[0, 1] > 0.9
    assert not np.allclose(together, curve_draws(law, "loss", n=50, seed=4).values(FAR))


def test_groups_and_targets_share_the_numbers_of_a_draw_and_laws_do_not() -> None:
    N = np.tile(np.geomspace(1e6, 1e9, 10), 2)
    rng = np.random.default_rng(1)
    rows = {"N": N, "data": ["a"] * 10 + ["b"] * 10, "loss": 1.7 + 400 * N**-0.34 + 0.01 * rng.standard_normal(20)}
    law = sld.fit(rows, "E + A*N**-a", target="loss", scale="N", group="data", starts=8)
    points = {"N": [1e10, 1e10], "data": ["b", "a"]}
    both = law.draws(points, n=40)[:, :, 0]
    for i, group in enumerate(("b", "a")):
        alone = curve_draws(law, "loss", group, n=40).values({"N": np.array([1e10])})[:, 0]
        np.testing.assert_allclose(both[:, i], alone, rtol=1e-12)


def test_draws_keep_to_declared_bounds() -> None:
    N = np.geomspace(1e6, 1e9, 10)
    score = 0.98 - 20 * N**-0.3 + 0.01 * np.random.default_rng(0).standard_normal(10)
    target = sld.Target("score", upper=1.0, lower=0.0)
    table = sld.Table((sld.Variable("N"),), (target,), N[:, None], score[:, None])
    law = sld.fit(table, "E - A*N**-a", starts=8)
    values = law.draws({"N": [1e12]}, n=2000)
    assert values.max() == 1.0
    assert values.min() >= 0.0


def test_misuse_is_named(law: sld.Law) -> None:
    from dataclasses import replace

    with pytest.raises(sld.UsageError, match="carries no intervals"):
        replace(law, intervals=None).draws(FAR)
    with pytest.raises(sld.UsageError, match="between 1 and"):
        law.draws(FAR, n=0)
    with pytest.raises(sld.UsageError, match="where will a run be"):
        law.draws(FAR, of="noise")  # type: ignore[arg-type]
    with pytest.raises(sld.UsageError, match="no target 'los'"):
        curve_draws(law, "los")


def test_normal_draws_have_normal_tails(law: sld.Law) -> None:
    values = np.log(law.draws({"N": [1e11]}, n=50_000)[:, 0, 0])
    standard = (values - values.mean()) / values.std()
    assert abs(np.quantile(standard, 0.95) - NormalDist().inv_cdf(0.95)) < 0.1
