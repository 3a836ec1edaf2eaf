"""Compare rules that turn many judged candidates into one prediction, on saved pools, in seconds.

    python bench/rules.py --pools POOLS [--name rules]

A rule sees what the search saw (errors on the folds, training error, size, checks) and returns weights for the
candidates; its score is the R² of the weighted prediction on the held-out rows. Every family of rules is compared
nested: the member that is best on one half of the tasks is scored on the other half. Writes bench/NAME.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sld.search.candidates.selection import FAILED_FOLD, PRICE, PRICE_PER_NODE, PRICE_PER_PROBLEM

Array = NDArray[np.float64]
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Pool:
    """The candidates of one search and target; arrays have one entry or row for each."""

    task: str
    folds: Array
    tested: Array
    train: Array
    constants: Array
    complexity: Array
    problems: Array
    usable: NDArray[np.bool_]
    static: NDArray[np.bool_]
    predicted: Array
    measured: Array
    noise: float
    n_points: int

    @staticmethod
    def read(file: Path) -> Pool:
        """Read a pool that bench/pools.py wrote."""
        data = json.loads(file.read_text(encoding="utf-8"))
        rows = data["candidates"]
        errors = [[FAILED_FOLD if e is None else min(e, FAILED_FOLD) for e in r["folds"]] for r in rows]
        predicted = np.array([[np.nan if v is None else v for v in r["predicted"]] for r in rows])
        admissible = np.array([r["admissible"] for r in rows])
        usable = np.isfinite(predicted).all(axis=1) & (admissible if admissible.any() else True)
        return Pool(
            data["task"], np.array(errors), np.array(data["tested"], dtype=float),
            np.array([r["train_nmse"] for r in rows]), np.array([r["constants"] for r in rows], dtype=float),
            np.array([r["complexity"] for r in rows], dtype=float),
            np.array([r["problems"] for r in rows], dtype=float),
            usable if usable.any() else np.ones(len(rows), dtype=bool), np.array([r["static"] for r in rows]),
            predicted, np.array(data["measured"]), data["noise"], data["n_points"],
        )  # fmt: skip

    def score(self, *, luck: float = 4.0, constant: float | None = None) -> Array:
        """Return the score of each candidate: `luck` rows of training error, a fixed price per constant or log(n)/n."""
        n = max(self.n_points, 8)
        price = PRICE * np.log(n) / n if constant is None else constant
        errors = (self.tested * self.folds + luck * self.train[:, None]) / (self.tested + luck)
        size = self.constants + PRICE_PER_NODE * self.complexity
        logs: Array = np.log(errors + 1e-8 + 0.5 * self.noise).mean(axis=1)
        return logs + price * size + PRICE_PER_PROBLEM * self.problems

    def best(self, score: Array, n: int, among: NDArray[np.bool_]) -> list[int]:
        """Return the n best usable candidates that behave differently on the folds."""
        found: dict[tuple[int, ...], int] = {}
        for i in np.argsort(np.where(self.usable & among, score, np.inf), kind="stable"):
            if not (self.usable & among)[i] or len(found) >= n:
                break
            found.setdefault(tuple(np.floor(15 * np.log10(np.maximum(self.folds[i], 1e-12))).astype(int)), int(i))
        return list(found.values())

    def r2(self, weights: Mapping[int, float]) -> float:
        """Return the held-out R² of the weighted prediction, at least -1."""
        i = list(weights)
        w = np.array([weights[k] for k in i])
        prediction = w / w.sum() @ self.predicted[i]
        r2 = 1.0 - float(np.mean((prediction - self.measured) ** 2)) / max(float(self.measured.var()), 1e-300)
        return max(-1.0, r2) if np.isfinite(r2) else -1.0


Rule = Callable[[Pool], float]


def single(pool: Pool, *, luck: float = 4.0, constant: float | None = None, static: bool = False) -> float:
    """The one candidate with the lowest score."""
    among = pool.static if static and (pool.static & pool.usable).any() else np.ones(len(pool.train), dtype=bool)
    return pool.r2(dict.fromkeys(pool.best(pool.score(luck=luck, constant=constant), 1, among), 1.0))


def mean(pool: Pool, *, n: int = 25, temper: float = 1.0, own: float = 0.5) -> float:
    """The mean of the n best and the n best static candidates; the static half weighs `own`."""
    score = pool.score()
    weights: dict[int, float] = {}
    for among, share in ((np.ones(len(pool.train), dtype=bool), 1 - own), (pool.static, own)):
        chosen = pool.best(score, n, among)
        if chosen and share:
            w = np.exp(-(score[chosen] - score[chosen].min()) / temper)
            for i, x in zip(chosen, w / w.sum(), strict=True):
                weights[i] = weights.get(i, 0.0) + share * float(x)
    return pool.r2(weights)


FAMILIES: dict[str, dict[str, Rule]] = {
    "the best by itself: price of a constant": {
        "0.02": partial(single, constant=0.02), "0.06": partial(single, constant=0.06),
        "0.12": partial(single, constant=0.12), "log(n)/n": single,
    },
    "the best by itself: rows of training error": {str(k): partial(single, luck=float(k)) for k in (0, 1, 4, 16)},
    "the best by itself: which": {"all": single, "static only": partial(single, static=True)},
    "the mean: candidates in each half": {str(n): partial(mean, n=n) for n in (3, 8, 16, 25, 50)},
    "the mean: units of score that weigh 1/e": {str(t): partial(mean, temper=t) for t in (0.25, 0.5, 1.0, 2.0, 99.0)},
    "the mean: weight of the static half": {str(w): partial(mean, own=w) for w in (0.0, 0.25, 0.5, 0.75, 1.0)},
}  # fmt: skip


def by_task(pools: list[Pool], rule: Rule) -> dict[str, float]:
    """Return the mean over targets (and seeds) of each task."""
    found: dict[str, list[float]] = {}
    for pool in pools:
        found.setdefault(pool.task, []).append(rule(pool))
    return {task: statistics.fmean(values) for task, values in sorted(found.items())}


def main() -> None:
    """Read the pools, score the rules, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", type=Path, required=True)
    parser.add_argument("--name", default="rules")
    args = parser.parse_args()
    pools = [Pool.read(file) for file in sorted(args.pools.glob("*.json"))]
    tasks = sorted({pool.task for pool in pools})
    lines = [
        "# Rules that choose",
        "",
        f"`python bench/rules.py` on the pools of `python bench/pools.py`: {len(pools)} pools of {len(tasks)} tasks.",
        "Mean held-out R² (each cut at −1), the worst task, and the mean on either half of the tasks. *Nested*: the",
        "member of the family that is best on one half, scored on the other.",
        "",
    ]
    for family, rules in FAMILIES.items():
        scored = {name: by_task(pools, rule) for name, rule in rules.items()}
        halves = [tasks[::2], tasks[1::2]]
        means = {n: [statistics.fmean(v[t] for t in half) for half in halves] for n, v in scored.items()}
        nested = [means[max(means, key=lambda n: means[n][1 - h])][h] for h in (0, 1)]
        ideal = [max(m[h] for m in means.values()) for h in (0, 1)]
        lines += [f"## {family}", "", "| | mean | worst | one half | other half |", "|---|---|---|---|---|"]
        for name, values in scored.items():
            mean_r2, worst = statistics.fmean(values.values()), min(values.values())
            lines.append(f"| {name} | {mean_r2:.3f} | {worst:.2f} | {means[name][0]:.3f} | {means[name][1]:.3f} |")
        lost = statistics.fmean(ideal) - statistics.fmean(nested)
        lines += ["", f"Nested: {statistics.fmean(nested):.3f}, {lost:.3f} below the best of each half.", ""]
    text = "\n".join(lines)
    (HERE / f"{args.name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
