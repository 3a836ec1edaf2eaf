"""Comparisons and sweeps on simulated runs: crossings, multipliers, switch points, exponents, against what is known.

    python bench/comparing.py [--seeds 200] [--out bench/comparing.md]

Runs of laws with known constants and noise are fitted and compared as a user would. Counted is how often an interval
holds the true value, and how far the estimates are off.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

import sld
from sld.core.arrays import Array
from sld.laws.law import Law

HERE = Path(__file__).resolve().parent
LEVEL = 0.95
COMPUTE = np.repeat(np.geomspace(1e17, 1e20, 10), 2)
FIRST, SECOND, THIRD = (1.7, 42.0, 0.08), (1.7, 240.0, 0.12), (1.7, 800.0, 0.1452)
HOFFMANN = {"E": 1.69, "A": 406.4, "B": 410.7, "a": 0.34, "b": 0.28}  # Hoffmann et al. 2022, equation 10, rounded
BETTER = {"E": 1.69, "A": 300.0, "B": 500.0, "a": 0.34, "b": 0.28}


def equal(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """Return where two laws E + A C^-a of one E are equal."""
    return float((other[1] / one[1]) ** (1 / (other[2] - one[2])))


def along_compute(of: tuple[float, float, float], seed: int, noise: float) -> Law:
    """Return a law fitted to noisy runs of E + A C^-a."""
    E, A, a = of
    y = (E + A * COMPUTE**-a) * (1 + noise * np.random.default_rng(seed).standard_normal(len(COMPUTE)))
    return sld.fit({"C": COMPUTE, "loss": y}, "E + A*C**-a", target="loss", scale="C", starts=8, seed=seed)


def grid(of: dict[str, float], seed: int, noise: float) -> tuple[Array, Array, Array]:
    """Return sizes, data and noisy losses on a grid of 6 times 6."""
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6)))
    y = of["E"] + of["A"] * N ** -of["a"] + of["B"] * D ** -of["b"]
    return N, D, y * (1 + noise * np.random.default_rng(seed).standard_normal(len(N)))


def crossings(seeds: int, noise: float) -> dict[str, Any]:
    """Return how crossings and multipliers of laws along compute are recovered."""
    truth = equal(FIRST, SECOND)
    inside, off, widths, multipliers, held, seconds = 0, [], [], [], 0, []
    for seed in range(seeds):
        one, two = along_compute(FIRST, 2 * seed, noise), along_compute(SECOND, 2 * seed + 1, noise)
        start = time.process_time()
        pair = sld.compare({"one": one, "two": two}, level=LEVEL).only
        seconds.append(time.process_time() - start)
        near = min(pair.crossings, key=lambda c: abs(math.log(c.at.value / truth)), default=None)
        if near is not None and near.at.low is not None and near.at.high is not None:
            inside += near.at.low <= truth <= near.at.high
            off.append(math.log10(near.at.value / truth))
            widths.append(math.log10(near.at.high / max(near.at.low, 1e-300)))
        place = min(pair.places, key=lambda p: abs(math.log(p.x / 1e20)))
        exact = (SECOND[1] / FIRST[1] * place.x ** (FIRST[2] - SECOND[2])) ** (1 / SECOND[2])
        multipliers.append(place.multiplier.value / exact - 1)
        m = place.multiplier
        held += m.low is not None and m.high is not None and m.low <= exact <= m.high
    return {
        "inside": inside / seeds,
        "median error of the crossing (decades)": float(np.median(np.abs(off))),
        "median width of its interval (decades)": float(np.median(widths)),
        "mean error of the multiplier": float(np.mean(multipliers)),
        "median |error| of the multiplier": float(np.median(np.abs(multipliers))),
        "multiplier inside": held / seeds,
        "CPU seconds of a comparison": float(np.median(seconds)),
    }


def at_own_optima(seeds: int, noise: float) -> dict[str, Any]:
    """Return how the multiplier of two laws of size and data is recovered, each at its own optimum."""
    exact = sld.compare(*(f"{o['E']} + {o['A']}*N**-{o['a']} + {o['B']}*D**-{o['b']}" for o in (HOFFMANN, BETTER)),
                        between=(1e18, 1e21)).only.offset.value  # fmt: skip
    rows, inside, seconds = [], 0, []
    for seed in range(seeds):
        laws = []
        for k, of in enumerate((HOFFMANN, BETTER)):
            N, D, y = grid(of, 2 * seed + k, noise)
            laws.append(sld.fit({"N": N, "D": D, "loss": y}, "E + A*N**-a + B*D**-b", target="loss",
                                scale=["N", "D"], starts=8, seed=seed))  # fmt: skip
        start = time.process_time()
        m = sld.compare(*laws, between=(1e18, 1e21), level=LEVEL).only.offset
        seconds.append(time.process_time() - start)
        rows.append(m.value / exact - 1)
        inside += m.low is not None and m.high is not None and m.low <= exact <= m.high
    return {
        "true multiplier": exact,
        "mean error": float(np.mean(rows)),
        "median |error|": float(np.median(np.abs(rows))),
        "inside": inside / seeds,
        "CPU seconds of a comparison": float(np.median(seconds)),
    }


def switches(seeds: int, noise: float) -> dict[str, Any]:
    """Return how the two switch points of three fitted laws are recovered, and those of the exact ones."""
    truth = [equal(FIRST, SECOND), equal(SECOND, THIRD)]
    exact = sld.compare(*(f"{E} + {A}*C**-{a}" for E, A, a in (FIRST, SECOND, THIRD)), between=(1e15, 1e28))
    errors = [s.at.value / t - 1 for s, t in zip(exact.switches, truth, strict=True)]
    inside = total = 0
    for seed in range(seeds):
        laws = {str(k): along_compute(of, 1000 + 3 * seed + k, noise) for k, of in enumerate((FIRST, SECOND, THIRD))}
        found = sld.compare(laws, between=(1e15, 1e28), level=LEVEL)
        for s in found.switches:
            known = {("0", "1"): truth[0], ("1", "2"): truth[1]}.get((s.before, s.after))
            if known is not None and s.at.low is not None and s.at.high is not None:
                total += 1
                inside += s.at.low <= known <= s.at.high
    return {"largest error without noise": float(np.max(np.abs(errors))), "found": total, "inside": inside / total}


def sweeps(seeds: int, noise: float, width: float) -> dict[str, Any]:
    """Return how often the 90 % interval of each approach holds the exponent, and how well the bias is known."""
    H = HOFFMANN
    exponent = H["b"] / (H["a"] + H["b"])
    C = np.geomspace(1e17, 1e21, 5)[:, None]
    G = (H["a"] * H["A"] / (H["b"] * H["B"])) ** (1 / (H["a"] + H["b"]))
    N = G * (C / 6) ** exponent * np.geomspace(1 / width, width, 9)
    D = C / 6 / N
    y = H["E"] + H["A"] * N ** -H["a"] + H["B"] * D ** -H["b"]
    inside = dict.fromkeys(("envelope", "parabolas", "law"), 0)
    bias, corrected, plain = [], [], []
    for seed in range(seeds):
        noisy = y + noise * np.random.default_rng(seed).standard_normal(y.shape)
        runs = {"N": N.ravel(), "D": D.ravel(), "loss": noisy.ravel()}
        found = sld.isoflop(runs, target="loss", scale=["N", "D"], budget=1e24, seed=seed).only
        for a in found.approaches:
            inside[a.name] += a.a.low is not None and a.a.high is not None and a.a.low <= exponent <= a.a.high
        true = G * (1e24 / 6) ** exponent
        if found.bias is not None and found.quadratic.ok:
            bias.append(found.bias.N[0])
            value = found.quadratic.at[0].N.value
            plain.append(math.log(value / true))
            corrected.append(math.log(value / (1 + found.bias.N[0]) / true))
    return {
        **{f"exponent inside, {k}": v / seeds for k, v in inside.items()},
        "bias of the size, mean over seeds": float(np.mean(bias)),
        "its spread": float(np.std(bias)),
        "parabolas at 1e24 too large by": float(np.mean(plain)),
        "without their bias": float(np.mean(corrected)),
    }


def main() -> None:
    """Print the tables, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--noise", type=float, default=4e-3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    n = given.seeds
    tables = {
        f"Crossing of two laws along compute, {LEVEL:.0%} intervals, {n} seeds": crossings(n, given.noise),
        f"Compute multiplier, each at its own optimum, {n // 4} seeds": at_own_optima(n // 4, given.noise),
        f"Switch points of three laws, {n // 4} seeds": switches(n // 4, given.noise),
        f"isoFLOP sweep of five budgets, sizes within a factor of 8, {n // 4} seeds": sweeps(n // 4, given.noise, 8.0),
    }
    lines = ["# Comparisons and sweeps", "", f"`python bench/comparing.py --seeds {n} --noise {given.noise:g}`", ""]
    for title, rows in tables.items():
        lines += [f"## {title}", "", "| what | value |", "|---|---|"]
        lines += [f"| {k} | {v:.3g} |" for k, v in rows.items()] + [""]
    text = "\n".join(lines)
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
