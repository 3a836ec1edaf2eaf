"""What intervals hold on rows that no search saw, how wide they are, and what they hold in simulations.

    python bench/intervals.py [--tables confirm] [--budget 20s] [--seed 0] [--keep DIR] [--beside FILE] [--data DIR]
    python bench/intervals.py --simulate [--laws 120] [--seed 0]
    python bench/intervals.py --calibrate --keep DIR

For every table: a search, then the intervals of 50, 80 and 90 % at its held-out rows. Counted per table and level: the
share inside, the median width, and the interval score of Winkler (1972), width + 2/α times what a row lies outside,
both in standard deviations of the held-out values. Three other ways to make intervals stand beside it:

* delta: the law's form refitted by `scipy.optimize.curve_fit` in each group, with its covariance and residual variance;
* bootstrap: the card's first published law (log-linear without one) refitted to 100 resamples of rows, with residuals;
* conformal: quantiles of the errors of refits to the lower rungs on the rungs above, at any distance.

`--keep DIR` keeps the outcome of each search and takes up what is there. `--beside FILE` adds a line of another
version: a JSON of table to [share, score, width] at 90 %. `--simulate` fits laws with known constants on five
designs and counts how often their exponents, and N* at a hundred times the largest budget, lie inside. `--calibrate`
tries stretches and tails on the tables to build on (`bench/split.md`) and the older ones: what
`sld/laws/calibration.py` has was chosen so. The tables under DIR (default: shared/data beside the repository) are
third-party and not part of the project.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sld
from sld.analysis.intervals import add_intervals, constant_intervals, predict_intervals
from sld.analysis.refits import Refits
from sld.analysis.support import supported
from sld.api.laws import caution
from sld.core.errors import SldError
from sld.data.splits import rung_folds
from sld.data.table import Table
from sld.data.task import Task, load_task
from sld.fit.fitting import fit
from sld.fit.kernel import evaluate
from sld.laws.draws import curve_draws
from sld.laws.law import Law
from sld.search.discovery import SearchSettings, discover
from sld.search.outcome import Discovery

Array = NDArray[np.float64]
Ends = tuple[Array, Array]
HERE = Path(__file__).resolve().parent
LEVELS = (0.5, 0.8, 0.9)
OLD = ("open", "sldbench-train", "synthetic")
RESAMPLES = 100  # of the bootstrap
LOST = 1e6  # score of a table where an interval is endless or absent, so that a mean exists


# --- tables -----------------------------------------------------------------------------------------------------------


def tables(which: str, data: Path) -> list[Path]:
    """Return the folders of the tables to build on, to confirm on (`bench/split.md`), or the older ones."""
    if which == "old":
        bundled = sorted((HERE.parent / "tasks").glob("*/task.toml"))
        return [c.parent for suite in OLD for c in sorted((data / suite).glob("*/task.toml"))] + [
            c.parent for c in bundled
        ]
    _, build, confirm = re.split(r"\*\*To (?:build|confirm) on", (HERE / "split.md").read_text(encoding="utf-8"))
    names = re.findall(r"`(\w+)`", {"build": build, "confirm": confirm}[which])
    return [data / "open2" / name for name in names if (data / "open2" / name / "task.toml").is_file()]


def searched(folder: Path, args: argparse.Namespace) -> tuple[Task, Discovery, float]:
    """Return a task, the outcome of a search on its training rows, and the share of time that intervals took."""
    task = load_task(folder)
    kept = None if args.keep is None else args.keep / f"{folder.parent.name}-{folder.name}-{args.seed}.pkl"
    if kept is not None and kept.is_file():
        found: Discovery = pickle.loads(kept.read_bytes())  # written by this script
    else:
        settings = SearchSettings(seed=args.seed, budget=args.budget, workers=1, max_constants=task.card.max_constants)
        found = discover(task.train, settings)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(pickle.dumps(found))
    began = time.process_time()
    found = supported(replace(found, law=add_intervals(found)))
    return task, found, (time.process_time() - began) / max(found.seconds, 1e-9)


# --- other ways -------------------------------------------------------------------------------------------------------


def by_delta(found: Discovery, held: Table, j: int, level: float) -> Ends:
    """Return ends by the covariance of `curve_fit`, in each group."""
    from scipy.optimize import curve_fit
    from scipy.special import stdtrit

    law, table = found.law, found.table
    column = law.targets[j].column
    expression = law.expressions[column]
    names = expression.constants
    low, high = np.full(held.n_rows, np.nan), np.full(held.n_rows, np.nan)
    for g, group in enumerate(held.groups):
        rows = np.flatnonzero(held.group_index == g)
        own = np.flatnonzero(table.group_index == table.groups.index(group)) if group in table.groups else rows[:0]
        if not len(rows) or len(own) <= len(names):
            continue
        start = np.array([law.constants[column][group][c] for c in names])

        def values(part: Table, at: Any, theta: Array) -> Array:
            columns = {s: np.ascontiguousarray(x[at]) for s, x in part.inputs.items()}
            return evaluate(expression, columns, dict(zip(names, theta.tolist(), strict=True)))

        try:
            theta, covariance = curve_fit(
                lambda _, *c: values(table, own, np.array(c)),  # noqa: B023
                own, table.Y[own, j], p0=start, maxfev=2000,
            ) if names else (start, np.zeros((0, 0)))  # fmt: skip
        except (RuntimeError, ValueError, TypeError):
            continue
        residual = table.Y[own, j] - values(table, own, theta)
        free = max(len(own) - len(names), 1)
        step = 1e-5 * np.maximum(np.abs(theta), 1e-8)
        middle = values(held, rows, theta)
        J = np.array([(values(held, rows, theta + s) - middle) / s.sum() for s in np.diag(step)]).reshape(-1, len(rows))
        half = float(stdtrit(free, 0.5 + level / 2)) * np.sqrt(
            np.einsum("ki,kl,li->i", J, covariance, J) + (residual**2).sum() / free
        )
        low[rows], high[rows] = middle - half, middle + half
    return low, high


def published(task: Task, target: int) -> str:
    """Return a published law of the card that predicts a target, or a log-linear one."""
    column = task.train.targets[target].column
    for law in task.card.laws:
        texts = law.expression if isinstance(law.expression, Mapping) else {column: law.expression}
        if column in texts:
            return str(texts[column])
    return " + ".join(["c0", *(f"c{i + 1}*log({v.symbol})" for i, v in enumerate(task.train.variables))])


def bootstrap(task: Task, table: Table, held: Table, j: int, seed: int) -> Callable[[float], Ends]:
    """Return ends by quantiles of refits of a published law to resampled rows, each with a residual."""
    rng = np.random.default_rng(seed)
    column = table.targets[j].column
    expression = table.parse(published(task, j), j)
    usual = fit(expression, table, target=j, starts=8)
    drawn = np.full((RESAMPLES, held.n_rows), np.nan)
    if usual.ok:
        law = Law(
            {column: expression}, {column: usual.constants}, table.variables, (table.targets[j],), table.group_column
        )
        residual = table.Y[:, j] - law.predict(table)[:, 0]
        for k in range(RESAMPLES):
            times = np.bincount(rng.integers(table.n_rows, size=table.n_rows), minlength=table.n_rows)
            weights = np.asarray(times + 1e-9, dtype=np.float64)
            again = fit(expression, table, target=j, starts=2, weights=weights, inherit=usual.constants)
            if again.ok:
                drawn[k] = replace(law, constants={column: again.constants}).predict(held)[:, 0]
                drawn[k] += rng.choice(residual, held.n_rows)

    def ends(level: float) -> Ends:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            low, high = np.nanquantile(drawn, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        return low, high

    return ends


def conformal(found: Discovery, held: Table, j: int) -> Callable[[float], Ends]:
    """Return ends by the errors of refits of the law to the lower rungs on the rungs above."""
    table = found.table.canonical()
    law = found.law
    column = law.targets[j].column
    known = {g: law.constants[column][g] for g in table.groups}
    refits = Refits(law.expressions[column], table, j, known, law.settings[column], 0)
    errors = []
    for fold in rung_folds(table):
        values = refits.refitted(fold.train)
        if values is not None:
            errors.append(np.abs(table.Y[fold.test, j] - refits.fitter.predict(values)[fold.test]))
    every = np.concatenate(errors) if errors else np.array([np.inf])
    every = np.where(np.isnan(every), np.inf, every)
    middle = law.predict(held)[:, j]

    def ends(level: float) -> Ends:
        half = float(np.quantile(every, level, method="higher"))
        return middle - half, middle + half

    return ends


# --- counting ---------------------------------------------------------------------------------------------------------


def counted(y: Array, ends: Ends, level: float) -> tuple[float, float, float]:
    """Return the share inside, the interval score and the median width, the latter two in standard deviations of y."""
    low, high = ends
    size = float(np.std(y)) or 1e-12
    with np.errstate(all="ignore"):
        score = (high - low) + 2 / (1 - level) * (np.maximum(low - y, 0) + np.maximum(y - high, 0))
    score = np.minimum(np.nan_to_num(score / size, nan=LOST, posinf=LOST), LOST)
    width = np.nan_to_num((high - low) / size, nan=LOST, posinf=LOST)
    return float(np.mean((y >= low) & (y <= high))), float(score.mean()), float(np.median(width))


def measured(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the counts of one table: method to level to means over its targets."""
    task, found, share = searched(folder, args)
    held = task.held_out()
    assert held is not None
    found_at: dict[str, dict[str, list[tuple[float, float, float]]]] = {}

    def note(method: str, level: float, y: Array, ends: Ends) -> None:
        found_at.setdefault(method, {}).setdefault(f"{level:g}", []).append(counted(y, ends, level))

    for j in range(len(held.targets)):
        y = held.Y[:, j]
        resampled = bootstrap(task, found.table, held, j, args.seed) if args.others else None
        judged = conformal(found, held, j) if args.others else None
        for level in LEVELS:
            low, high = predict_intervals(found.law, held, level=level)
            note("sld", level, y, (low[:, j], high[:, j]))
            if resampled is not None and judged is not None:
                note("delta", level, y, by_delta(found, held, j, level))
                note("bootstrap", level, y, resampled(level))
                note("conformal", level, y, judged(level))
    r2 = sld.score(found.law, held).r2
    verdict = found.verdict.kind
    beyond = bool(caution(replace(found.law, notes=()), held))
    counts = {m: {v: np.mean(c, axis=0).tolist() for v, c in by.items()} for m, by in found_at.items()}
    return {
        "methods": counts,
        "r2": r2 if np.isfinite(r2) else -1.0,
        "verdict": verdict,
        "beyond": beyond,
        "time": share,
    }


def summary(rows: Mapping[str, Mapping[str, Any]], beside: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Yield lines of a table: method and level, shares, scores and widths over the tables."""
    yield (
        "| method | level | inside, mean | tables with ≥ 75 % | interval score: mean | geometric mean | median | "
        "width, median |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    methods = list(next(iter(rows.values()))["methods"])
    for method in methods:
        for level in LEVELS:
            counts = np.array([r["methods"][method][f"{level:g}"] for r in rows.values()])
            yield _line(method, level, counts)
    both = [name for name in rows if name in beside]
    if both:
        yield _line("the other version, on the same tables", 0.9, np.array([beside[name] for name in both]))
        yield _line("sld, on these", 0.9, np.array([rows[n]["methods"]["sld"]["0.9"] for n in both]))


def _line(method: str, level: float, counts: Array) -> str:
    share, score, width = counts.T
    return (
        f"| {method} | {level:.0%} | {share.mean():.3f} | {np.mean(share >= 0.75):.2f} | {score.mean():.4g} | "
        f"{np.exp(np.log(np.maximum(score, 1e-12)).mean()):.3f} | {np.median(score):.3g} | {np.median(width):.3g} |"
    )


# --- calibration ------------------------------------------------------------------------------------------------------


def calibrate(args: argparse.Namespace) -> None:
    """Print coverage and scores of the tables to build on for a few stretches and tails."""
    found = []
    for which in ("build", "old"):
        for folder in tables(which, args.data):
            try:
                found.append((which, *searched(folder, args)[:2]))
            except SldError as error:
                print(f"{folder.name}: {error}", file=sys.stderr)
    print("| tails | stretch | tables | inside 50 % | 80 % | 90 % | score 90 %, geometric mean |\n" + "|---" * 7 + "|")
    for tails in (3.0, 4.0, 6.0, 16.0):
        for stretch in (1.0, 1.1, 1.25, 1.4):
            for which in ("build", "old"):
                counts = []
                for kind, task, one in found:
                    held = task.held_out()
                    if kind != which or held is None:
                        continue
                    law = _stretched(one.law, tails, stretch)
                    for level in LEVELS:
                        low, high = predict_intervals(law, held, level=level)
                        counts.append(
                            np.mean(
                                [counted(y, (a, b), level) for y, a, b in zip(held.Y.T, low.T, high.T, strict=True)],
                                axis=0,
                            )
                        )
                by = np.array(counts).reshape(-1, len(LEVELS), 3)
                inside = " | ".join(f"{x:.3f}" for x in by[:, :, 0].mean(axis=0))
                score = np.exp(np.log(np.maximum(by[:, -1, 1], 1e-12)).mean())
                print(f"| {tails:g} | {stretch:g} | {which} | {inside} | {score:.3f} |", flush=True)


def _stretched(law: Law, tails: float, stretch: float) -> Law:
    assert law.intervals is not None
    targets = {
        t: {**about, "widening": stretch, "tails": tails} if "tails" in about else about
        for t, about in law.intervals["targets"].items()
    }
    return replace(law, intervals={**law.intervals, "targets": targets})


# --- simulation -------------------------------------------------------------------------------------------------------

FORMS = ("E + A*N**-a + B*D**-b", "E + (A*N**-a + D0/D)**b", "E + A*N**-a + B*D**-b + G*(N*D)**-0.2")


def designs() -> dict[str, tuple[Array, Array]]:
    """Return five designs of runs: sizes and tokens."""
    N, D = np.meshgrid(np.geomspace(3e7, 3e9, 6), np.geomspace(1e9, 1e11, 6))
    few = np.meshgrid(np.geomspace(5e7, 1e9, 4), np.geomspace(2e9, 5e10, 4))
    rng = np.random.default_rng(3)
    C, k = (x.ravel() for x in np.meshgrid(np.geomspace(1e18, 1e21, 5), np.geomspace(1 / 6, 6, 7)))
    n = np.sqrt(C / 120) * k
    sizes, ratios = (x.ravel() for x in np.meshgrid(np.geomspace(5e7, 2e9, 6), [10.0, 20.0, 40.0, 80.0]))
    return {
        "grid": (N.ravel(), D.ravel()),
        "few": (few[0].ravel(), few[1].ravel()),
        "isoflop": (n, C / 6 / n),
        "scattered": (10 ** rng.uniform(7.5, 9.5, 40), 10 ** rng.uniform(9, 11, 40)),
        "ratios": (sizes, sizes * ratios),
    }


def simulate(n_laws: int, seed: int, noise: float = 0.005) -> None:
    """Print how often exponents and N* of simulated laws lie inside their 90 % intervals."""
    inside: dict[str, dict[str, list[bool]]] = {"exponents": {}, "N*": {}}
    for i in range(n_laws):
        rng = np.random.default_rng([7 + seed, i])
        form = FORMS[i % len(FORMS)]
        known = {
            "E": rng.uniform(1.2, 2.2), "A": 10 ** rng.uniform(1.8, 2.9), "a": rng.uniform(0.25, 0.45),
            "B": 10 ** rng.uniform(2.2, 3.6), "b": rng.uniform(0.25, 0.45), "G": 10 ** rng.uniform(2.0, 2.6),
        }  # fmt: skip
        if "D0" in form:  # Kaplan et al. 2020, equation 1.5, with a floor
            known |= {"b": rng.uniform(0.4, 0.9), "A": 10 ** rng.uniform(2.0, 3.0), "D0": 10 ** rng.uniform(8.5, 9.5)}
        for j, (design, (N, D)) in enumerate(designs().items()):
            own = np.random.default_rng([11 + seed, i, j])
            expression = sld.parse(form, ["N", "D"])
            truth = {c: known[c] for c in expression.constants}
            loss = evaluate(expression, {"N": N, "D": D}, truth) * np.exp(noise * own.standard_normal(len(N)))
            law = sld.fit({"N": N, "D": D, "loss": loss}, form, target="loss", scale=["N", "D"], starts=16)
            for name, ends in constant_intervals(law)["loss"]["all"].items():
                if name in "ab" and ends is not None:
                    inside["exponents"].setdefault(design, []).append(ends[0] <= truth[name] <= ends[1])
            C = 600 * float((N * D).max())
            sizes = np.geomspace(1e6, C / 6e6, 2001)
            line = {"N": sizes, "D": C / 6 / sizes}
            best = sizes[np.nanargmin(curve_draws(law, "loss", n=400).values(line), axis=1)]
            low, high = np.quantile(best, [0.05, 0.95])
            where = sizes[np.argmin(evaluate(expression, line, truth))]
            inside["N*"].setdefault(design, []).append(bool(low <= where <= high))
    print("| 90 % interval of | " + " | ".join(designs()) + " | all |\n" + "|---" * (len(designs()) + 2) + "|")
    for what, by in inside.items():
        every = [x for of in by.values() for x in of]
        print(f"| {what} | " + " | ".join(f"{np.mean(of):.2f}" for of in by.values()) + f" | {np.mean(every):.3f} |")


def main() -> None:
    """Measure, and write what the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default="confirm", choices=("confirm", "build", "old"))
    parser.add_argument("--budget", default="20s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--no-others", dest="others", action="store_false")
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--laws", type=int, default=30)
    parser.add_argument("--calibrate", action="store_true")
    args = parser.parse_args()
    if args.simulate:
        return simulate(args.laws, args.seed)
    if args.calibrate:
        return calibrate(args)
    rows: dict[str, dict[str, Any]] = {}
    for folder in tables(args.tables, args.data):
        try:
            rows[folder.name] = measured(folder, args)
        except SldError as error:
            print(f"{folder.name}: {error}", file=sys.stderr)
            continue
        one = rows[folder.name]
        share, score, _ = one["methods"]["sld"]["0.9"]
        print(
            f"{folder.name}: R² {one['r2']:.3f} {one['verdict']}, {share:.2f} inside, score {score:.3g}",
            file=sys.stderr,
        )
    beside = {} if args.beside is None else json.loads(args.beside.read_text(encoding="utf-8"))
    print("\n".join(summary(rows, beside)))
    laws = [r for r in rows.values() if r["verdict"] == "law" and not r["beyond"]]
    good = [r for r in rows.values() if r["r2"] >= 0.9]
    print(
        f"\nverdicts: {sum(r['verdict'] == 'law' for r in rows.values())} of {len(rows)} are laws; of {len(laws)} laws "
        f"whose held-out rows are in the supported range {sum(r['r2'] >= 0.5 for r in laws)} have R² ≥ 0.5; "
        f"of {len(good)} with R² ≥ 0.9, {sum(r['verdict'] != 'law' for r in good)} are called weak; "
        f"intervals took {max(r['time'] for r in rows.values()):.1%} of the search at most"
    )


if __name__ == "__main__":
    main()
