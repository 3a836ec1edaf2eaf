"""Reinforcement learning: bounded curves and the chain of laws of value-based methods, simulated and on runs of others.

    python bench/reinforcement.py [--data DIR]

Simulated runs have constants of the size that the papers print (arXiv 2510.13786, 2502.04327) and errors that remember.
Runs on GSM8K are those of `rl_gsm8k_curves`, which is not part of the project; it lies under DIR (default: shared/data
beside the repository), and is left out without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from curves import curves_of

import sld
from sld.analysis.reinforcement.chain import Chain, Optimum, Power, Prices
from sld.core.arrays import Array

HERE = Path(__file__).resolve().parent


def bounded_lines(data: Path, n: int = 100) -> list[str]:
    """Return the lines about bounded curves."""
    rng = np.random.default_rng(23)
    C = np.arange(1, 101) * 1000.0

    def bounded(A: float, middle: float, B: float) -> Array:
        e = np.zeros(len(C))
        for i in range(1, len(C)):
            e[i] = 0.4 * e[i - 1] + 0.007 * rng.standard_normal()
        return np.asarray(0.2 + (A - 0.2) / (1 + (middle / C) ** B) + e)

    off, ends, alike = [], [], []
    for _ in range(n):
        A, middle, B = rng.uniform(0.45, 0.8), rng.uniform(1000, 8000), rng.uniform(0.8, 2.2)
        y = bounded(A, middle, B)
        found = sld.rl({"C": C, "y": y}, target="y", compute="C", first=0.5, until=1e5).recipes[0]
        assert found.at is not None
        off.append(abs(found.at.value - (0.2 + (A - 0.2) / (1 + (middle / 1e5) ** B))))
        ends.append(found.asymptote.low <= A <= found.asymptote.high)
        rows = {
            "C": np.tile(C[:50], 2), "y": np.concatenate([y[:50], bounded(A, middle, B)[:50]]),
            "recipe": np.repeat(["a", "b"], 50).tolist(),
        }  # fmt: skip
        pair = sld.rl(rows, target="y", compute="C", recipe="recipe").compared.differences
        alike += [d.apart for d in pair]
    lines = [
        "## Bounded curves", "",
        f"Asymptotes of 0.45 to 0.8, noise of 0.008 that remembers, fitted to the first half of {n} "
        f"runs: the value at the end is missed by {np.median(off):.4f} in the median, by {np.quantile(off, 0.9):.4f} "
        f"in nine of ten, by {max(off):.4f} at most; the interval of 90 % holds {np.mean(ends):.0%} of the asymptotes. "
        f"Of pairs of runs of one recipe, {np.mean(alike):.0%} are told apart by asymptote or efficiency, at 90 %.", "",
    ]  # fmt: skip
    if not (data / "open" / "rl_gsm8k_curves").is_dir():
        return lines
    lines += [
        "Runs on GSM8K, the error at the end from the first half:", "",
        "| model | error at the end | bounded curve | interval | sld curve | interval |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for c in curves_of(data / "open" / "rl_gsm8k_curves", "step1", "err", ("group",)):
        half, end = c.until(0.5 * c.x[-1]), float(c.x[-1])
        rows = {"C": half.x, "err": half.y}
        told = sld.rl(rows, target="err", compute="C", better="lower", until=end).recipes[0]
        other = sld.curve(rows, target="err", step="C", until=end, lower=0.0, upper=1.0).finals[0]
        assert told.at is not None and told.run_at is not None
        lines.append(
            f"| {c.name} | {c.y[-1]:.3f} | {told.at.value:.3f} | {told.run_at.low:.3f} to {told.run_at.high:.3f} "
            f"| {other.value:.3f} | {other.low:.3f} to {other.high:.3f} |"
        )
    return lines


def chain_lines(n: int = 40) -> list[str]:
    """Return the lines about the chain of laws of value-based methods."""
    batch, rate, prices = Power(float(np.log(512)), 0.3), Power(float(np.log(3e-4)), 0.2), Prices(1.0, 300.0)
    ratios = np.array([0.5, 1.0, 2.0, 4.0, 8.0])

    def chain(levels: Array) -> Chain:
        return Chain(batch, rate, 1e5 * 1.6**levels, 6e4 * 2.1**levels, 0.6, ratios, 0.0)

    best, spent, _ = chain(np.linspace(0, 14, 800)).cheapest(prices)
    budget = 5 * float(chain(np.array([3.0])).cheapest(prices)[1][0])
    want = float(np.exp(np.interp(np.log(budget), np.log(spent), np.log(best))))
    data = chain(np.arange(4.0)).data(ratios)  # (n_levels, n_ratios)
    off: dict[str, list[float]] = {"parabola": [], "best": []}
    inside = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        rows: dict[str, list[float]] = {k: [] for k in ("utd", "batch", "lr", "seed", "J", "steps")}
        for i, s in enumerate(ratios):
            for B, lr in ((b, r) for b in (128, 256, 512, 1024) for r in (1e-4, 2e-4, 4e-4, 8e-4)):
                lost = 0.15 * np.log(B / batch.at(s)) ** 2 + 0.1 * np.log(lr / rate.at(s)) ** 2
                for k in range(3):
                    luck = 0.03 * rng.standard_normal()
                    for j in range(4):
                        steps = data[j, i] * np.exp(lost + luck + 0.015 * rng.standard_normal())
                        for name, v in zip(rows, (s, B, lr, k, j + 1, steps), strict=True):
                            rows[name].append(float(v))
        asked: dict[str, Any] = {"ratio": "utd", "reach": "J", "steps": "steps", "data_price": 300.0, "run": "seed"}
        told = sld.utd(rows, budget=budget, batch="batch", lr="lr", **asked).budgets[0].ratio
        off["parabola"].append(abs(told.value / want - 1))
        inside.append(told.low <= want <= told.high)
        off["best"].append(abs(_by_best(rows, prices, budget) / want - 1))
    return [
        "## The chain of value-based methods",
        "",
        f"{n} simulated tables of five ratios, four batch sizes, four learning rates "
        f"and three runs with 3 % of noise: the best ratio at five times the budget is off by "
        f"{np.median(off['parabola']):.1%} in the median, {np.quantile(off['parabola'], 0.9):.1%} in nine of ten; by "
        f"{np.median(off['best']):.1%} and {np.quantile(off['best'], 0.9):.1%} where the best setting of each ratio is "
        f"taken as it is. The interval of 90 % holds {np.mean(inside):.0%}.",
    ]


def _by_best(rows: Mapping[str, Sequence[float]], prices: Prices, budget: float) -> float:
    """Return the best ratio of a budget where each ratio has the setting with the fewest steps, by hand."""
    utd, batch, lr, level, steps = (np.array(rows[k]) for k in ("utd", "batch", "lr", "J", "steps"))
    kept, ratios, batches = [], np.unique(utd), []
    for s in ratios:
        mean = {
            (b, r): float(np.log(steps[(utd == s) & (batch == b) & (lr == r)]).mean())
            for b in np.unique(batch) for r in np.unique(lr)
        }  # fmt: skip
        b, r = min(mean, key=lambda k: mean[k])
        at = (utd == s) & (batch == b) & (lr == r)
        kept.append([float(np.exp(np.log(steps[at & (level == j)]).mean())) for j in np.unique(level)])
        batches.append(float(b))
    table = {"s": np.repeat(ratios, len(kept[0])), "J": np.tile(np.unique(level), len(ratios)), "D": np.ravel(kept)}
    laws = sld.utd(table, ratio="s", reach="J", steps="D").chain
    law = Power.through(ratios, np.array(batches))
    whole = Chain(law, None, laws.floor, laws.factor, laws.exponent, ratios, 0.0)
    return Optimum.of(whole, prices).at(budget)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    given = parser.parse_args()
    print("# Reinforcement learning\n\n`python bench/reinforcement.py`; its head says what is measured.")
    for lines in (bounded_lines(given.data), chain_lines()):
        print("\n" + "\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
