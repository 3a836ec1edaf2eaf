"""The chain of laws of value-based reinforcement learning: batch, rate, data, compute, how to spend a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from numpy.typing import NDArray

import sld
from sld.analysis.reinforcement.chain import Chain, Power, Prices
from sld.analysis.reinforcement.steps import rising, steps_to
from sld.core.errors import UsageError

# laws of the catalogue, vbrl_data and vbrl_batch (arXiv:2502.04327), at constants of the size of its tasks
BATCH = Power(float(np.log(512)), 0.3)
RATE = Power(float(np.log(3e-4)), 0.2)
EXPONENT = 0.6
PRICES = Prices(1.0, 300.0)
RATIOS = (0.5, 1.0, 2.0, 4.0, 8.0)


def true_chain(levels: NDArray[Any]) -> Chain:
    """Return the chain for performances 0, 1, 2 ..., each of which takes 1.6 times the floor of the one before."""
    return Chain(BATCH, RATE, 1e5 * 1.6**levels, 6e4 * 2.1**levels, EXPONENT, np.array(RATIOS), 0.0)


def rows(seed: int, noise: float = 0.03, seeds: int = 3, n_levels: int = 4) -> dict[str, list[Any]]:
    """Return the steps that runs of all settings take to each performance, off the bottom by a parabola."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[Any]] = {k: [] for k in ("utd", "batch", "lr", "seed", "return", "steps")}
    chain = true_chain(np.arange(n_levels))
    for s in RATIOS:
        data = chain.data(np.array([s]))[:, 0]
        for batch in (128, 256, 512, 1024):
            for rate in (1e-4, 2e-4, 4e-4, 8e-4):
                off = 0.15 * np.log(batch / BATCH.at(s)) ** 2 + 0.1 * np.log(rate / RATE.at(s)) ** 2
                for k in range(seeds):
                    whole = noise * rng.standard_normal()
                    for j in range(n_levels):
                        found["utd"].append(s)
                        found["batch"].append(batch)
                        found["lr"].append(rate)
                        found["seed"].append(k)
                        found["return"].append(100 * (j + 1))
                        found["steps"].append(data[j] * np.exp(off + whole + 0.5 * noise * rng.standard_normal()))
    return found


def best_ratio(budget: float) -> float:
    """Return the ratio that costs least where that costs `budget`, by the true laws at performances between."""
    ratio, spent, _ = true_chain(np.linspace(0, 12, 600)).cheapest(PRICES)
    return float(np.exp(np.interp(np.log(budget), np.log(spent), np.log(ratio))))


ASKED: dict[str, Any] = {
    "ratio": "utd", "reach": "return", "steps": "steps", "batch": "batch", "lr": "lr", "run": "seed",
    "data_price": PRICES.data,
}  # fmt: skip


@pytest.mark.slow
def test_the_best_ratio_at_five_times_the_budget_is_foretold_within_a_tenth() -> None:
    """The bar for the value-based chain; budgets go up to that of the dearest performance that was run."""
    budget = 5 * float(true_chain(np.array([3])).cheapest(PRICES)[1][0])
    off, inside = [], []
    for seed in range(4):
        spent = sld.utd(rows(seed), budget=budget, **ASKED).budgets[0]
        off.append(abs(spent.ratio.value / best_ratio(budget) - 1))
        inside.append(spent.ratio.low <= best_ratio(budget) <= spent.ratio.high)
    assert np.median(off) <= 0.1 and max(off) <= 0.15
    assert sum(inside) >= 2


def test_laws_come_back_where_nothing_scatters() -> None:
    found = sld.utd(rows(0, noise=0.0, seeds=1), **ASKED)
    chain, true = found.chain, true_chain(np.arange(4))
    assert chain.batch is not None and chain.rate is not None
    assert (chain.batch.level, chain.batch.exponent) == pytest.approx((BATCH.level, BATCH.exponent))
    assert (chain.rate.level, chain.rate.exponent) == pytest.approx((RATE.level, RATE.exponent))
    assert chain.exponent == pytest.approx(EXPONENT, rel=0.03)
    assert chain.floor == pytest.approx(true.floor, rel=0.05) and chain.factor == pytest.approx(true.factor, rel=0.05)
    assert found.check is not None and found.check.foretold == pytest.approx(found.check.measured, rel=0.05)


@pytest.mark.slow
def test_a_budget_pays_for_its_data_and_their_updates() -> None:
    spent = sld.utd(rows(1), budget=[1e9, 4e9], **ASKED).budgets
    for s in spent:
        assert s.batch is not None
        assert s.data.value * (PRICES.data + s.batch.value * s.ratio.value) == pytest.approx(s.budget, rel=1e-9)
        assert s.compute.value == pytest.approx(s.data.value * s.batch.value * s.ratio.value, rel=1e-9)
    assert spent[1].ratio.value > spent[0].ratio.value


def test_the_cheapest_ratio_is_where_the_cost_is_level() -> None:
    chain = true_chain(np.array([2.0]))
    (best,), (spent,), (steps,) = chain.cheapest(PRICES)
    around = np.array([best * 0.99, best, best * 1.01])
    cost = chain.compute(around, PRICES)[0] + PRICES.data * chain.data(around)[0]
    assert cost[1] == cost.min() and cost[1] == pytest.approx(spent)
    assert steps == pytest.approx(chain.data(np.array([best]))[0, 0])


def test_returns_are_made_to_rise_before_a_performance_is_looked_for() -> None:
    assert rising(np.array([5.0, 1, 1, 9, 7])) == pytest.approx([7 / 3] * 3 + [8, 8])
    step = np.array([10.0, 20, 30, 40])
    lucky = np.array([0.0, 90, 10, 100])  # one evaluation that jumps is no performance
    assert steps_to(step, lucky, [60, 100, 101])[:2] == pytest.approx([32, 40])
    assert np.isnan(steps_to(step, lucky, [101])[0])


def test_a_performance_that_runs_have_when_first_evaluated_tells_no_steps() -> None:
    """The steps to it are those of the first evaluation, whatever was done: the law of them would be of rounding."""
    step = np.arange(1, 21) * 1e4
    rows: dict[str, list[float]] = {"utd": [], "step": [], "return": []}
    for s in RATIOS:
        rows["utd"] += [s] * 20
        rows["step"] += step.tolist()
        rows["return"] += (step * s**0.5 / 100).tolist()
    asked: dict[str, Any] = {"ratio": "utd", "step": "step", "target": "return"}
    with pytest.raises(UsageError, match="every run has 50 at its first evaluation"):
        sld.utd(rows, reach=[50, 1000], **asked)
    found = sld.utd(rows, reach=[150, 1000], **asked)
    assert any("2 of 5 runs have 150 at their first evaluation" in note for note in found.notes)
    assert not any("first evaluation" in note for note in sld.utd(rows, reach=[500, 1000], **asked).notes)


def test_runs_that_never_get_there_do_not_praise_their_setting() -> None:
    table = rows(2)
    gone = [
        i for i, (b, s, J) in enumerate(zip(table["batch"], table["seed"], table["return"], strict=True))
        if not (b == 128 and s and J == 400)
    ]  # fmt: skip
    left = {k: [v[i] for i in gone] for k, v in table.items()}
    found = sld.utd(left, **ASKED)
    assert any("do not reach every performance" in note for note in found.notes)
    assert found.chain.batch is not None and found.chain.batch.exponent == pytest.approx(0.3, abs=0.12)


@pytest.mark.slow
def test_a_ratio_that_misses_the_highest_performance_still_tells_of_the_others() -> None:
    table = rows(4)
    kept = [i for i, (s, J) in enumerate(zip(table["utd"], table["return"], strict=True)) if s > 0.5 or J < 400]
    found = sld.utd({k: [v[i] for i in kept] for k, v in table.items()}, **ASKED)
    assert found.ratios[0] == 0.5 and found.chain.floor == pytest.approx(1e5 * 1.6 ** np.arange(4), rel=0.15)


@pytest.mark.slow
def test_with_one_run_of_each_setting_the_law_itself_says_how_far_it_is_off() -> None:
    found = sld.utd(rows(3, seeds=1), **{**ASKED, "run": ()})
    assert any("no setting has two runs" in note for note in found.notes)
    ratio = found.levels[1].ratio
    assert ratio is not None and ratio.low < ratio.value < ratio.high


def evaluations(path: Path) -> Path:
    """Write curves of returns that pass through each performance where the chain says."""
    lines = ["utd,seed,env_steps,score"]
    rng = np.random.default_rng(0)
    chain = true_chain(np.arange(4))
    for s in RATIOS:
        for seed in range(2):
            at = chain.data(np.array([s]))[:, 0] * np.exp(0.03 * rng.standard_normal())
            step = np.linspace(1e4, 2e6, 200)
            score = np.interp(step, [0, *at], [0, 100, 200, 300, 400]) + 4 * rng.standard_normal(200)
            lines += [f"{s},{seed},{x:.0f},{y:.2f}" for x, y in zip(step, score, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.slow
def test_the_command_reads_curves_and_spends_a_budget(sld: Run, tmp_path: Path) -> None:
    evaluations(tmp_path / "runs.csv")
    asked = ("utd", "runs.csv", "--ratio", "utd", "--target", "score", "--step", "env_steps", "--run", "seed")
    words = ("--reach", "100,200,300", "--data-price", "2", "--budget", "10M")
    done = sld(*asked, *words, "--plot", "u.png", "--out", "u.csv")
    assert done.code == 0, done.err
    for said in ("D_min", "how to spend a budget", "check: foretold from the other performances"):
        assert said in done.out
    assert (tmp_path / "u.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "u.csv").read_text(encoding="utf-8").count("\n") == 2
    document = sld(*asked, *words, "--json").document
    floors = [v["floor"]["value"] for v in document["performances"]]
    assert floors == pytest.approx([1e5 * 1.6**j for j in range(3)], rel=0.15)
    assert "--data-price" in sld(*asked, "--reach", "100,200").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--reach", "high"), "--reach wants numbers"),
        (("--reach", "900"), "0 ratios of updates to data reach any performance"),
        (("--reach", "100,500"), "0 ratios of updates to data reach the highest"),
        (("--reach", "100,200", "--budget", "1e9"), "data_price"),
        (("--reach", "100", "--budget", "1e9", "--data-price", "1"), "two performances"),
        (("--reach", "100,200", "--data-price", "-1"), "must be above 0"),
        (("--reach", "100,200", "--steps", "env_steps"), "name the columns"),
        (("--reach", "100,200", "--batch", "bach"), "no column 'bach'"),
        (("--reach", "100,200", "--batch", "utd"), "named twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(
    sld: Run, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    evaluations(tmp_path / "runs.csv")
    done = sld("utd", "runs.csv", "--ratio", "utd", "--target", "score", "--step", "env_steps", "--run", "seed", *words)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1 and done.out == ""


def test_a_table_of_steps_wants_the_column_of_performances() -> None:
    with pytest.raises(UsageError, match="which performance a row is about"):
        sld.utd(rows(0), **{**ASKED, "reach": [100, 200]})
