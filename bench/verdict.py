"""Measure the right to say no: refusals of tables without a law, and acceptance of real laws under growing noise.

    python bench/verdict.py [--shuffles 400] [--repeats 5] [--budget 300fits] [--seed 0]      # three minutes

Tables are the bundled tasks and small ones made from known laws; third-party rows are not needed. Every number is that
of a whole `discover`, with a budget in fits, so it repeats bit for bit. Writes `verdict.md` and `results/verdict.json`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sld.data.bundled import bundled_tasks
from sld.data.table import Table, table_from
from sld.data.task import load_task
from sld.search.discovery import SearchSettings, discover

Array = NDArray[np.float64]
HERE = Path(__file__).resolve().parent
NOISE = (0.0, 0.1, 0.3, 0.6, 1.0, 2.0)  # standard deviations of the table's own targets within groups


def _grid(*axes: Array) -> list[Array]:
    return [a.ravel() for a in np.meshgrid(*axes)]


def _power(n_rows: int = 10) -> tuple[dict[str, Any], Array, dict[str, Any]]:
    """Kaplan et al. 2020, with an offset."""
    N = np.geomspace(1e6, 1e9, n_rows)
    return {"N": N}, 1.7 + 400 * N**-0.34, {"scale": "N"}


def _chinchilla() -> tuple[dict[str, Any], Array, dict[str, Any]]:
    """Hoffmann et al. 2022, approach 3."""
    N, D = _grid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e11, 5))
    return {"N": N, "D": D}, 1.69 + 406.4 * N**-0.34 + 410.7 * D**-0.28, {"scale": ["N", "D"]}


def _valley() -> tuple[dict[str, Any], Array, dict[str, Any]]:
    """A learning rate whose optimum falls with scale."""
    N, lr = _grid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e-4, 1e-2, 7))
    return (
        {"N": N, "lr": lr},
        2 + 50 * N**-0.25 + 0.1 * (np.log(lr) + 1 + 0.3 * np.log(N)) ** 2,
        {"scale": "N", "hyper": "lr"},
    )


def _families() -> tuple[dict[str, Any], Array, dict[str, Any]]:
    """One form, constants per group."""
    N = np.tile(np.geomspace(1e6, 1e9, 8), 4)
    k = np.repeat(np.arange(4.0), 8)
    family = [f"f{int(i)}" for i in k]
    return {"N": N, "family": family}, 1 + k / 3 + (20 + 5 * k) * N**-0.25, {"scale": "N", "group": "family"}


def _accuracy() -> tuple[dict[str, Any], Array, dict[str, Any]]:
    """A score between chance and one."""
    C = np.geomspace(1e18, 1e23, 16)
    accuracy = 0.25 + 0.7 / (1 + np.exp(-0.8 * (np.log(C) - np.log(1e21))))
    return {"C": C}, accuracy, {"scale": "C", "higher_is_better": True}


def _mixture() -> tuple[dict[str, Any], Array, dict[str, Any]]:
    """Ye et al. 2024: exponential in the shares."""
    p = np.random.default_rng(0).dirichlet([1.0, 1.0, 1.0], 30)
    shares = {f"p{i}": p[:, i] for i in range(3)}
    return shares, 2 + np.exp(-2 * p[:, 0] + 0.5 * p[:, 1]), {"proportion": list(shares)}


LAWS: Mapping[str, Callable[[], tuple[dict[str, Any], Array, dict[str, Any]]]] = {
    "power law, 10 rows": _power,
    "power law, 30 rows": lambda: _power(30),
    "Chinchilla, 30 rows": _chinchilla,
    "learning rate, 35 rows": _valley,
    "4 families, 32 rows": _families,
    "accuracy, 16 rows": _accuracy,
    "mixture, 30 rows": _mixture,
}


def made(name: str) -> Table:
    """Return the table of a known law, without noise."""
    columns, y, roles = LAWS[name]()
    return table_from({**columns, "y": y}, target="y", **roles)


def tables() -> dict[str, Table]:
    """Return all tables by name: the bundled tasks' training rows, then those of known laws."""
    return {name: load_task(name).train for name in bundled_tasks()} | {name: made(name) for name in LAWS}


def noisy(table: Table, noise: float, rng: np.random.Generator) -> Table:
    """Return the table with normal noise, in standard deviations of the targets within groups."""
    groups = [table.Y[table.group_index == g] for g in range(len(table.groups))]
    spread = np.sqrt(np.mean([rows.var(axis=0) for rows in groups], axis=0))
    return table.with_targets(table.Y + noise * spread * rng.normal(size=table.Y.shape))


def narrow(name: str, factor: float, seed: int) -> Table:
    """Return a law without noise whose first scale variable spans only `factor`, at 12 values."""
    x = np.geomspace(1e8, 1e8 * factor, 12)
    rng = np.random.default_rng(seed)
    y = {"power law": 1.7 + 400 * x**-0.34, "logarithm": 5 - 0.2 * np.log(x)}[name]
    return table_from({"N": x, "y": y * (1 + 1e-4 * rng.normal(size=12))}, target="y", scale="N")


def shuffled(table: Table, rng: np.random.Generator, how: str) -> Table:
    """Return the table with its targets shuffled, whole rows at a time, or replaced by normal noise."""
    if how == "noise":
        return table.with_targets(table.Y.mean(axis=0) + table.Y.std(axis=0) * rng.normal(size=table.Y.shape))
    order = np.arange(table.n_rows)
    for g in range(len(table.groups)):
        rows = np.flatnonzero(table.group_index == g)
        order[rows] = rng.permutation(rows)
    return table.with_targets(table.Y[order])


def kind(table: Table, budget: str, max_constants: int = 20) -> str:
    """Search and return the kind of the verdict."""
    found = discover(table, SearchSettings(budget=budget, workers=1, max_constants=max_constants))
    return found.verdict.kind


def refusals(n: int, budget: str, seed: int, how: str) -> dict[str, dict[str, int]]:
    """Return how often each verdict was given to shuffled tables, spread over all of them."""
    given: dict[str, dict[str, int]] = {}
    every = tables()
    for t, (name, table) in enumerate(every.items()):
        share = n // len(every) + (t < n % len(every))
        kinds = Counter(
            kind(shuffled(table, np.random.default_rng([seed, t, k, how == "noise"]), how), budget)
            for k in range(share)
        )
        given[name] = dict(kinds)
        print(how, name, given[name], flush=True)
    return given


def power(budget: str, seed: int, repeats: int) -> dict[str, dict[str, dict[str, int]]]:
    """Return how often each verdict was given to each table at each level of added noise."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for t, (name, table) in enumerate(tables().items()):
        found[name] = {}
        for level, noise in enumerate(NOISE):
            drawn = (np.random.default_rng([seed, t, level, k]) for k in range(repeats if noise else 1))
            found[name][f"{noise:g}"] = dict(Counter(kind(noisy(table, noise, rng), budget) for rng in drawn))
        print(name, found[name], flush=True)
    return found


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shuffles", type=int, default=400)
    parser.add_argument("--budget", default="300fits")
    parser.add_argument("--bundled-budget", default="3000fits")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    begun = time.perf_counter()
    bundled = {}
    for name in bundled_tasks():
        task = load_task(name)
        bundled[name] = discover(
            task.train, SearchSettings(budget=args.bundled_budget, workers=1, max_constants=task.card.max_constants)
        ).verdict.to_json()
        print(name, bundled[name]["sentence"], flush=True)
    results = {
        "command": f"python bench/verdict.py --shuffles {args.shuffles} --budget {args.budget} "
        f"--bundled-budget {args.bundled_budget} --repeats {args.repeats} --seed {args.seed}",
        "versions": f"Python {platform.python_version()}, numpy {np.__version__}",
        "bundled": bundled,
        "shuffled": refusals(args.shuffles, args.budget, args.seed, "shuffled"),
        "noise": refusals(args.shuffles // 2, args.budget, args.seed, "noise"),
        "narrow": {
            f"{name}, N spans {factor:g}": kind(narrow(name, factor, args.seed), args.budget)
            for name in ("power law", "logarithm")
            for factor in (1.2, 1.5, 1.9, 10.0)
        },
        "power": power(args.budget, args.seed, args.repeats),
        "seconds": round(time.perf_counter() - begun),
    }
    (HERE / "results" / "verdict.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (HERE / "verdict.md").write_text(_page(results), encoding="utf-8")


def _page(results: Mapping[str, Any]) -> str:
    lines = [
        "# The right to say no",
        "",
        f"`{results['command']}` · {results['versions']}, {results['seconds']} s.",
        "",
    ]
    lines += ["| tables without a law | searches | no law | weak | law |", "|---|---|---|---|---|"]
    for how, what in (("shuffled", "targets shuffled within groups"), ("noise", "targets replaced by normal noise")):
        total: Counter[str] = Counter()
        for kinds in results[how].values():
            total.update(kinds)
        n = total.total()
        share = f"{total['no law']} ({100 * total['no law'] / n:.1f} %)"
        lines.append(f"| {what} | {n} | {share} | {total['weak']} | {total['law']} |")
    lines += ["", "| bundled task | verdict |", "|---|---|"]
    lines += [f"| {name} | {verdict['sentence']} |" for name, verdict in results["bundled"].items()]
    lines += ["", "Too little range (a law without noise, 12 rows):", ""]
    lines += [f"- {name}: {verdict}" for name, verdict in results["narrow"].items()]
    lines += [
        "",
        "The same tables with noise added, in standard deviations of their targets within groups: the share not",
        "refused, and in brackets the share that is a plain law (first column: one search each).",
        "",
    ]
    lines += ["| table | " + " | ".join(f"{noise:g}" for noise in NOISE) + " |", "|---" * (len(NOISE) + 1) + "|"]
    for name, levels in results["power"].items():
        cells = []
        for kinds in levels.values():
            n = sum(kinds.values())
            cells.append(f"{100 * (n - kinds.get('no law', 0)) / n:.0f} % ({100 * kinds.get('law', 0) / n:.0f} %)")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
