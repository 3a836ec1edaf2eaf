"""What `sld next` is worth where the law is known: how far off N*(1e24) is, beside an isoFLOP grid of the same cost.

    python bench/next_simulated.py [--laws 20] [--seeds 10]

Laws are E + A*N**-a + B*D**-b with E in 1.5 to 2, a in 0.28 to 0.42, b in 0.25 to 0.4, and terms of 0.2 to 0.6 at
N = 1e8 and D = 2e9; runs scatter by 0.3 %. The grid is the usual one: five budgets from 1e18 to 1e20, seven sizes each,
from a quarter to four times the size of 20 tokens per parameter. `sld next` has the money of the grid and as many runs
at most: a quarter goes into a first design, the rest into two plans for the allocation at 1e24. No run of its is dearer
than the dearest of the grid, and tokens per parameter lie between 2 and 512. Both fit the law's form. The figure is the
ratio of the mean squared deviations of log N* from the truth; beside it what plans state (the width after) over what
the next fit says.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sld

Array = NDArray[np.float64]
HERE = Path(__file__).resolve().parent
FORM = "E + A*N**-a + B*D**-b"
ASKED = 1e24
NOISE = 0.003
GRID = "N=1e7:2e10:14,D=2N:512N:9"


def law_of(rng: np.random.Generator) -> dict[str, float]:
    """Return the constants of one law."""
    a, b = rng.uniform(0.28, 0.42), rng.uniform(0.25, 0.40)
    return {
        "E": rng.uniform(1.5, 2.0),
        "A": rng.uniform(0.2, 0.6) * 1e8**a,
        "a": a,
        "B": rng.uniform(0.2, 0.6) * 2e9**b,
        "b": b,
    }


def best(law: dict[str, float]) -> float:
    """Return the parameters of the best run (Hoffmann et al. 2022, equation 4)."""
    g = (law["a"] * law["A"] / (law["b"] * law["B"])) ** (1 / (law["a"] + law["b"]))
    return float(g * (ASKED / 6) ** (law["b"] / (law["a"] + law["b"])))


def run(law: dict[str, float], N: Array, D: Array, rng: np.random.Generator) -> dict[str, Array]:
    """Return runs with their noise."""
    y = law["E"] + law["A"] * N ** -law["a"] + law["B"] * D ** -law["b"]
    return {"N": N, "D": D, "loss": y * np.exp(NOISE * rng.standard_normal(len(N)))}


def fitted(runs: dict[str, Array]) -> Any:
    """Return the law of some runs."""
    return sld.fit(runs, FORM, loss="log", target="loss", scale=["N", "D"], starts=8,
                   positive=["E", "A", "B", "a", "b"])  # fmt: skip


def estimate(law: Any) -> float:
    """Return the size of the best run that a law names; the end of what anybody would train where it names none."""
    c = law.constants["loss"]["all"]
    if not all(c[name] > 0 for name in c):
        return math.log(1e18)
    return min(max(math.log(best(c)), math.log(1e6)), math.log(1e18))


def grid() -> tuple[Array, Array]:
    """Return the runs of the usual grid."""
    C, share = (x.ravel() for x in np.meshgrid(np.geomspace(1e18, 1e20, 5), np.geomspace(0.25, 4.0, 7)))
    N = np.sqrt(C / 120) * share
    return N, C / (6 * N)


def planned(law: dict[str, float], rng: np.random.Generator, seed: int) -> tuple[float, list[tuple[int, float]]]:
    """Return the estimate after spending the money of the grid, and stated over realised widths of each plan."""
    N, D = grid()
    money, dearest, most = float((6 * N * D).sum()), float((6 * N * D).max()), len(N)
    limits = {"cost": dearest}
    first = sld.next_runs(None, 0.25 * money, "allocation", at=ASKED, runs=12, maximum=limits, seed=seed, grid=GRID)
    runs = run(law, *_columns(first), rng)
    spent, ratios = first.spent, list[tuple[int, float]]()
    for number, share in enumerate((0.5, 1.0)):
        found = fitted(runs)
        try:
            plan = sld.next_runs(
                found, share * (money - spent), "allocation", at=ASKED, grid=GRID, maximum=limits, seed=seed,
                runs=(most - len(runs["N"])) if share == 1 else (most - len(runs["N"])) // 2,
            )  # fmt: skip
        except sld.SldError:  # the fit names no best run: plan for its exponents
            plan = sld.next_runs(
                found, share * (money - spent), "exponents", grid=GRID, maximum=limits,
                runs=(most - len(runs["N"])) // 2,
            )  # fmt: skip
        more = run(law, *_columns(plan), rng)
        runs = {c: np.concatenate([runs[c], more[c]]) for c in runs}
        spent += plan.spent
        if plan.goal == "allocation" and plan.runs:
            try:
                now = sld.next_runs(fitted(runs), 1e20, "allocation", at=ASKED, grid=GRID, runs=1).asked[0]
                ratios.append((number, math.log1p(plan.asked[0].expected) / math.log1p(now.width)))
            except sld.SldError:
                continue
    return estimate(fitted(runs)), ratios


def _columns(plan: Any) -> tuple[Array, Array]:
    return np.array([r.point["N"] for r in plan.runs]), np.array([r.point["D"] for r in plan.runs])


def main() -> None:
    """Play laws and seeds, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--laws", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    ours, theirs, ratios = list[float](), list[float](), list[tuple[int, float]]()
    per: list[dict[str, Any]] = []
    for k in range(args.laws):
        law = law_of(np.random.default_rng([1, k]))
        truth = math.log(best(law))
        a, b = [], []
        for s in range(args.seeds):
            rng = np.random.default_rng([2, k, s])
            b.append((estimate(fitted(run(law, *grid(), rng))) - truth) ** 2)
            found, said = planned(law, rng, s)
            a.append((found - truth) ** 2)
            ratios += said
        ours += a
        theirs += b
        per.append({"law": law, "next": float(np.mean(a)), "grid": float(np.mean(b))})
        print(f"law {k}: next {np.mean(a):.4f}, grid {np.mean(b):.4f}", flush=True)
    said_over_found = {}
    for number, name in ((0, "first plan, beside 12 runs"), (1, "second plan, beside 23 runs")):
        own = [r for k, r in ratios if k == number]
        within = float(np.mean([abs(math.log(r)) < math.log(1.3) for r in own])) if own else math.nan
        said_over_found[name] = {"median": median(own) if own else math.nan, "within 30 %": within}
    figures: dict[str, Any] = {
        "laws": args.laws, "seeds": args.seeds, "ratio": float(np.mean(ours) / np.mean(theirs)),
        "median ratio of laws": median(p["next"] / p["grid"] for p in per),
        "stated over realised widths": said_over_found,
        "per law": per,
    }  # fmt: skip
    (HERE / "results" / "next_simulated.json").write_text(json.dumps(figures, indent=1) + "\n")
    told = figures["stated over realised widths"]
    lines = [
        "# " + (__doc__ or "").partition("\n")[0].rstrip("."), "",
        f"`python bench/next_simulated.py --laws {args.laws} --seeds {args.seeds}`", "",
        "| | |", "|---|---|",
        f"| squared deviation of log N* over the grid's | {figures['ratio']:.2f} |",
        f"| the same, median of laws | {figures['median ratio of laws']:.2f} |",
        *(f"| stated over realised width, {k} | median {v['median']:.2f}, within 30 %: {100 * v['within 30 %']:.0f} % |"
          for k, v in told.items()),
    ]  # fmt: skip
    (HERE / "next_simulated.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
