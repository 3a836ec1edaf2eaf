"""Decisions on published tables and on laws of papers whose decision is a shape: pools, mixtures, formats, rays.

Each test states the source. What other published numbers are tested, where, and why some cannot be, is listed in
bench/published_optima.md.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from commands import Run
from many_cases import case

import sld
from sld.core.arrays import Array

LLAMA = Path(__file__).parents[2] / "shared" / "cases" / "llama3_isoflops.csv"
EP = "chinchilla_replication"  # arXiv 2404.10102


def one(law: str, **point: float) -> float:
    (values,) = sld.predict(law, {s: [x] for s, x in point.items()}).values()
    return float(values[0])


def test_parabolas_on_llama_3_s_runs_misallocate_six_and_a_half_per_cent_of_its_budget() -> None:
    """3.9, arXiv 2603.22339: about 6.5 % of 3.8e25 FLOP, 1.4 million hours of an H100 at half of its peak."""
    if not LLAMA.is_file():
        pytest.skip("the digitised runs of Llama 3 are not part of the project")
    budget = 3.8e25
    found = sld.isoflop(
        str(LLAMA), target="loss", scale=["params", "tokens"], budget_column="budget", budget=budget, loss="log_huber"
    ).only  # the loss of that paper: Huber's of the logarithm
    law = found.curve.law
    size = found.quadratic.at[0].N.value
    (plan,) = sld.allocate(law, budget, given={"params": size}, draws=0).plans
    assert size < found.law.at[0].N.value  # too small a model
    assert plan.wasted is not None and plan.wasted == pytest.approx(0.065, abs=2e-3)
    assert plan.wasted * budget / (0.5 * 989e12 * 3600) == pytest.approx(1.4e6, rel=2e-2)


def test_what_is_counted_as_a_parameter_flips_the_advice() -> None:
    """2.5, development log of nanochat: optima at 1e18 and 1e19 as tokens for each parameter, by three counts."""
    tokens = np.array([1241505403.0, 3806871243.0])
    ratio = {
        "projections and head": tokens / np.array([110678115.0, 381758347.0]),
        "all": tokens / np.array([416320605.0, 988644331.0]),
        "transformer alone": tokens / np.array([80259665.0, 401213504.0]),
    }
    assert ratio["projections and head"].mean() == pytest.approx(10.5, rel=2e-2)
    assert ratio["all"] == pytest.approx([3.0, 4.0], rel=4e-2)
    assert ratio["all"][1] > ratio["all"][0] and ratio["transformer alone"][1] < ratio["transformer alone"][0]


@pytest.mark.parametrize(("alpha", "beta", "condition", "widening"), [(0.34, 0.28, 278, 17), (0.076, 0.095, 2770, 53)])
def test_a_ray_of_one_ratio_tells_size_and_data_apart_by_their_exponents_alone(
    alpha: float, beta: float, condition: float, widening: float
) -> None:
    """4.1 and 4.2, arXiv 2605.08541: with eps = |alpha - beta| conditions go as 1/eps**2, intervals as 1/eps."""
    eps = abs(alpha - beta)
    assert [eps**-2, 1 / eps] == pytest.approx([condition, widening], rel=2e-2)
    N = np.geomspace(1e7, 1e10, 400)

    def of_terms(a: float, b: float) -> tuple[float, float]:
        """Return the condition number of what A and B do to a loss on D = 20N, and how much wider their interval is."""
        terms = np.column_stack([N**-a, N**-b])
        terms /= np.linalg.norm(terms, axis=0)
        gram = terms.T @ terms
        return float(np.linalg.cond(gram)), math.sqrt(np.linalg.inv(gram)[0, 0])

    # a tenth of the difference: a hundred times the condition number, intervals ten times as wide
    near = (alpha + beta) / 2
    wide, narrow = (of_terms(near + eps * share / 2, near - eps * share / 2) for share in (0.1, 0.01))
    assert narrow[0] / wide[0] == pytest.approx(100, rel=2e-2) and narrow[1] / wide[1] == pytest.approx(10, rel=2e-2)
    check = sld.check_design({"N": N[::40], "D": 20 * N[::40], "loss": 1.7 + N[::40] ** -0.3}, target="loss",
                             scale=["N", "D"], law="E + A*N**-alpha + B*D**-beta")  # fmt: skip
    assert check.ratios == 1 and "size and data cannot be told apart" in check.summary()


def test_a_wide_spread_of_two_ratios_beats_many_close_ones() -> None:
    """4.4, arXiv 2605.08541: what tells size from data is the largest ratio over the least, not how many there are."""

    def condition(ratios: list[float]) -> float:
        N = np.tile(np.geomspace(1e7, 1e10, 12), len(ratios))
        D = N * np.repeat(ratios, 12)
        runs = {"N": N, "D": D, "loss": 1.69 + 406.4 * N**-0.34 + 410.7 * D**-0.28}
        return sld.check_design(runs, target="loss", scale=["N", "D"], law="chinchilla").law_condition

    one_, close, wide = condition([20.0]), condition([14.0, 17.0, 20.0, 24.0, 28.0]), condition([5.0, 80.0])
    assert one_ > 50 * close > 100 * wide


def test_released_models_are_trained_far_past_the_best_ratio() -> None:
    """7.6: Llama 3 8B on 15e12 tokens about 90 times, OLMo 3 7B on 5.93e12 about 40 times, the ratio being about 20."""
    for size, tokens, times in ((8.03e9, 15e12, 90), (7.3e9, 5.93e12, 40)):
        with case(size):
            ratio = sld.allocate(EP, 6 * size * tokens).plans[0].ratio
            assert ratio is not None
            assert tokens / size / 20 == pytest.approx(times, rel=5e-2)
            assert tokens / size / ratio.value == pytest.approx(times, rel=0.15)


def test_repeats_are_nearly_free_up_to_four_and_used_up_near_forty() -> None:
    """8.5, Muennighoff et al. 2023 (arXiv 2305.16264): 4 epochs nearly as good as fresh ones, nothing left near 40."""

    def fresh(epochs: float) -> float:
        run = {"N": 5e9, "D": epochs * 1e11, "U": 1e11}
        return sld.worth("muennighoff_repeats", run, "D", reference={"U": "D"}).equal.value / 1e11

    most = fresh(1000.0)
    assert fresh(4.0) / 4 > 0.93 and fresh(40.0) / most > 0.92 and fresh(80.0) / fresh(40.0) < 1.08


def test_a_best_mixture_stays_or_drifts_with_scale_as_its_law_says() -> None:
    """Shukor et al. 2025 (arXiv 2507.09404): the additive law has one best mixture, that of the joint one drifts."""
    additive = "mixture_additive@E=1.2,C1=2,g1=0.5,C2=1,g2=0.5,A=400,alpha=0.34,B=410,beta=0.28"
    joint = "mixture_joint@E=1.2,C1=2,g1=0.5,C2=1,g2=0.5,A1=300,A2=500,gA=1,alpha=0.34,B1=300,B2=500,gB=1,beta=0.28"
    best: dict[str, list[float]] = {}
    for law in (additive, joint):
        points = [sld.optimum(law, at={"N": n, "D": 20 * n}).points[0] for n in (1e8, 1e9, 1e11)]
        best[law] = [p.best["h1"].value for p in points]
        assert [p.best["h1"].value + p.best["h2"].value for p in points] == pytest.approx([1.0] * 3)
    # C1*h**0.5 + C2*(1 - h)**0.5 is largest at C1**2/(C1**2 + C2**2)
    assert best[additive] == pytest.approx([0.8] * 3, abs=1e-5)
    # the domain with the smaller terms helps most where these terms are large
    assert best[joint][0] > best[joint][1] + 0.01 > best[joint][2] + 0.01 > 0.8


def test_the_best_pool_changes_with_compute_and_pools_last_longer_together() -> None:
    """Goyal et al. 2024 (arXiv 2404.07177): a strict pool wins while it is fresh; half-lives grow with the pools."""
    strict, lax, size = (-0.13, 0.3), (-0.12, 0.6), 1e4
    once = [0.02 * size**b for b, _ in (strict, lax)]
    assert once[0] < once[1]
    thrice = one(f"filtering_pool@a=0.02,b={strict[0]},h={strict[1]},d=0", n=size)
    assert thrice > 0.02 * (3 * size) ** lax[0]  # three times as much of the lax pool, all of it fresh
    half_life, b = 4.0, -0.13
    h = 0.5 ** (1 / half_life)
    for pools in (1, 2, 4):
        with case(pools):
            # so many equal pools: two of them written out stand for all
            law = f"filtering_mix@b1={b},h1={h},b2={b},h2={h},p={pools}"
            assert one(law, k=pools * half_life) / one(law, k=1e-9) == pytest.approx(0.5)


def errors(values: Array, kept: Array) -> float:
    return float(((values - kept) ** 2).mean())


def test_the_capacity_of_four_bits_and_half_of_the_weights_is_the_product_of_both() -> None:
    """Panferov et al. 2025 (arXiv 2506.01863): within 3 %, on Gaussian values; the constants are the catalogue's."""
    values = np.random.default_rng(0).standard_normal((50_000, 4))

    def four_bits(x: Array) -> Array:
        steps = [(errors(x, s * np.clip(np.round(x / s), -8, 7)), s) for s in np.linspace(0.2, 0.5, 31)]
        s = min(steps)[1]
        return np.asarray(s * np.clip(np.round(x / s), -8, 7))

    def two_of_four(x: Array) -> Array:
        least = np.sort(np.abs(x), axis=1)[:, 1:2]
        return np.where(np.abs(x) > least, x, 0.0)

    def capacity(kept: Array) -> float:
        return one("compressed_capacity@L0=1,F=0.6,C0=1", G=errors(values, kept))

    pruned = two_of_four(values)
    both = np.where(pruned != 0, four_bits(pruned), 0.0)
    assert capacity(both) == pytest.approx(capacity(four_bits(values)) * capacity(pruned), rel=3e-2)


def test_mixtures_are_ranked_by_their_distance_to_the_target_at_ten_times_the_size() -> None:
    """projektor (arXiv 2307.02460): nine of ten pairs of mixtures, from the distance as a column and small runs."""
    rng = np.random.default_rng(1)
    shares, apart = rng.dirichlet(np.ones(3), 24), np.array([0.2, 0.7, 1.3])  # distances of three sources
    distance = shares @ apart

    def loss(n: float, d: Array) -> Array:
        return np.asarray(1.2 + 0.4 * d + (300 + 90 * d) * n**-0.3)

    sizes = (1e6, 1e7)
    N = np.repeat(sizes, 24)
    seen = np.concatenate([loss(n, distance) for n in sizes]) * (1 + 2e-3 * rng.standard_normal(48))
    law = sld.fit({"N": N, "distance": np.tile(distance, 2), "loss": seen}, "E + c*distance + A*N**-a", target="loss",
                  scale="N", covariate="distance", starts=8)  # fmt: skip
    predicted = sld.predict(law, {"N": np.full(24, 1e8), "distance": distance})["loss"]
    first, second = np.triu_indices(24, 1)
    true = loss(1e8, distance)
    right = np.sign(predicted[first] - predicted[second]) == np.sign(true[first] - true[second])
    assert right.mean() >= 0.9


def test_gpu_hours_become_a_run_with_its_size_data_cost_and_law(sld: Run) -> None:
    """Le Scao et al. 2022: what to train in a million hours of an A100; the plan has all that a report needs."""
    document = sld("allocate", EP, "--gpu-hours", "1e6", "--gpu", "a100", "--json").document
    (plan,) = document["plans"]
    assert plan["budget"]["value"] == pytest.approx(1e6 * 3600 * 312e12 * 0.4)
    assert 6 * plan["point"]["N"]["value"] * plan["point"]["D"]["value"] == pytest.approx(plan["budget"]["value"])
    assert document["law"].startswith("loss = 1.8172") and document["unit"] == "FLOP"
    assert any("no intervals" in note for note in document["notes"])


@pytest.mark.parametrize("law", ["vit_saturating", "dit_loss", "tsfm_power", "openclip", "decoder_mt"])
def test_laws_of_other_domains_are_fitted_from_a_table_by_their_name(sld: Run, tmp_path: Path, law: str) -> None:
    """Rows that the published form makes come back from `sld fit --law NAME`: no code, whatever the domain."""
    from sld import predict
    from sld.fit.kernel import evaluate
    from sld.laws.catalogue import get_law

    known, rng = get_law(law), np.random.default_rng(0)
    columns = {v.symbol: v.domain[0] * (v.domain[1] / v.domain[0]) ** rng.random(40) for v in known.variables}
    y = evaluate(known.expression, columns, known.examples)
    rows = zip(*columns.values(), y, strict=True)
    lines = [",".join([*columns, "y"]), *(",".join(f"{x:.12g}" for x in row) for row in rows)]
    (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = sld("fit", "runs.csv", "--target", "y", "--scale", ",".join(columns), "--law", law, "--out", "law.json")
    assert done.code == 0, done.err
    assert predict(tmp_path / "law.json", columns)["y"] == pytest.approx(y, rel=1e-3)
