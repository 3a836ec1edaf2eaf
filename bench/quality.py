"""Held-out R² on every task: sld beside a log-linear power law, the published laws refitted, and pyoperon.

    python bench/quality.py [--budget 60s] [--seeds 0,1,2] [--methods sld,nearest,loglinear,published,operon]
                            [--data DIR] [--tasks NAME,NAME] [--name quality]

Writes bench/results/NAME.json after every task (an interrupted run goes on where it stopped) and bench/NAME.md at the
end. The tables under DIR (default: shared/data beside the repository) are third-party and not part of the project;
without them only the bundled tasks are measured.

* nearest: the value of the nearest training row of the group (in logarithms, scaled by their spread).
* loglinear: log y (or y, when it is not positive) linear in the logarithms of the variables, per group.
* published: each law of the card, constants refitted by us; the best of them on the held-out rows, which favours it.
* operon: pyoperon's SymbolicRegressor in a child process with the same wall time, groups sharing it equally, inputs
  given as logarithms where they are positive.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sld.core.errors import SldError
from sld.data.scoring import scores
from sld.data.table import Table
from sld.data.task import Task, load_task
from sld.fit.fitting import fit
from sld.fit.kernel import evaluate
from sld.search.budget import Budget
from sld.search.discovery import SearchSettings, discover

Array = NDArray[np.float64]
HERE = Path(__file__).resolve().parent
SUITES = ("sldbench-train", "open", "open2", "synthetic")
METHODS = ("nearest", "loglinear", "published", "operon", "sld")
PARTS = {"formula": "formula", "by itself": "single"}  # what is shown of sld besides, and its key

_OPERON = """
import json, sys
import numpy as np
from pyoperon.sklearn import SymbolicRegressor
job = json.load(sys.stdin)
out = []
for part in job["parts"]:
    X, y, Z = (np.array(part[k]) for k in ("X", "y", "Z"))
    model = SymbolicRegressor(
        allowed_symbols="add,sub,mul,div,constant,variable,exp,log,pow,sqrt", optimizer_iterations=5, max_length=40,
        max_time=job["seconds"], generations=10**9, max_evaluations=10**12, population_size=1000,
        n_threads=job["threads"], random_state=job["seed"], model_selection_criterion="minimum_description_length",
    )
    model.fit(X, y)
    out.append([float(v) for v in model.predict(Z)])
json.dump(out, sys.stdout)
"""


def find_tasks(data: Path) -> list[tuple[str, Path]]:
    """Return (suite, folder) of the open suites and the bundled tasks."""
    found = [(suite, card.parent) for suite in SUITES for card in sorted((data / suite).glob("*/task.toml"))]
    return found + [("bundled", card.parent) for card in sorted((HERE.parent / "tasks").glob("*/task.toml"))]


def rated(rows: Table, prediction: Array) -> dict[str, Any]:
    """Return the scores of a prediction as plain numbers."""
    return scores(rows.Y, prediction, rows.group_index).to_json()


def by_sld(task: Task, rows: Table, seed: int, budget: str, workers: int) -> dict[str, Any]:
    """Discover on the training rows, predict the held-out points."""
    found = discover(
        task.train, SearchSettings(seed=seed, budget=budget, workers=workers, max_constants=task.card.max_constants)
    )
    single = found.law if found.single is None else found.single
    return rated(rows, found.law.predict(rows)) | {
        "formula": rated(rows, found.law.by_formula(rows))["r2"],
        "single": rated(rows, single.predict(rows))["r2"],
        "verdict": found.verdict.kind,
        "consensus": found.chosen.consensus,
        "law": found.chosen.text,
        "origin": found.chosen.origin,
        "tried": found.counts["tried"],
        "fits": found.n_fits,
    }


def _features(table: Table, positive: Sequence[bool]) -> Array:
    return np.column_stack([np.log(x) if p else x for x, p in zip(table.X.T, positive, strict=True)])


def _positive(task: Task, rows: Table) -> list[bool]:
    both = np.concatenate([task.train.X, rows.X])
    return [bool((x > 0).all()) and v.log is None for x, v in zip(both.T, task.train.variables, strict=True)]


def by_nearest(task: Task, rows: Table) -> dict[str, Any]:
    """Carry the value of the nearest training row of the group over."""
    positive = _positive(task, rows)
    X, Z = _features(task.train, positive), _features(rows, positive)
    size = np.maximum(X.std(axis=0), 1e-12)
    prediction = np.full(rows.Y.shape, np.nan)
    for g, group in enumerate(rows.groups):
        train = np.flatnonzero(task.train.group_index == task.train.groups.index(group))
        for i in np.flatnonzero(rows.group_index == g):
            prediction[i] = task.train.Y[train[int(np.argmin((((X[train] - Z[i]) / size) ** 2).sum(axis=1)))]]
    return rated(rows, prediction)


def by_loglinear(task: Task, rows: Table) -> dict[str, Any]:
    """Fit log y = c0 + sum c_i log x_i by least squares in each group."""
    positive = _positive(task, rows)
    X, Z = _features(task.train, positive), _features(rows, positive)
    prediction = np.full(rows.Y.shape, np.nan)
    for j in range(rows.Y.shape[1]):
        y = task.train.Y[:, j]
        logs = bool((y > 0).all())
        for g, group in enumerate(rows.groups):
            train = task.train.group_index == task.train.groups.index(group)
            test = rows.group_index == g
            A = np.column_stack([np.ones(train.sum()), X[train]])
            c = np.linalg.lstsq(A, np.log(y[train]) if logs else y[train], rcond=None)[0]
            line = np.column_stack([np.ones(test.sum()), Z[test]]) @ c
            prediction[test, j] = np.exp(line) if logs else line
    return rated(rows, prediction)


def by_published(task: Task, rows: Table, seed: int) -> dict[str, Any]:
    """Refit every law of the card; return the best on the held-out rows, with all scores."""
    every: dict[str, float] = {}
    best: dict[str, Any] = {}
    for law in task.card.laws:
        expressions = task.card.expressions(law)
        prediction = np.full(rows.Y.shape, np.nan)
        for j, target in enumerate(task.train.targets):
            expression = expressions[target.column]
            try:
                result = fit(expression, task.train, target=j, starts=64, seed=seed)
            except SldError:
                continue
            if not result.ok:
                continue
            for g, group in enumerate(rows.groups):
                test = rows.group_index == g
                columns = {s: rows.X[test, i] for i, s in enumerate(rows.symbols)}
                prediction[test, j] = evaluate(expression, columns, result.constants[group])
        score = rated(rows, prediction)
        every[law.name] = score["r2"]
        if not best or score["r2"] > best["r2"]:
            best = score | {"law": law.name}
    return best | {"laws": every}


def by_operon(task: Task, rows: Table, seed: int, seconds: float, workers: int) -> dict[str, Any]:
    """Run pyoperon in a child process; its crash is a failed score, not ours."""
    positive = _positive(task, rows)
    X, Z = _features(task.train, positive), _features(rows, positive)
    jobs, places = [], []
    for j in range(rows.Y.shape[1]):
        for g, group in enumerate(rows.groups):
            train = task.train.group_index == task.train.groups.index(group)
            test = rows.group_index == g
            jobs.append({"X": X[train].tolist(), "y": task.train.Y[train, j].tolist(), "Z": Z[test].tolist()})
            places.append((test, j))
    share = max(1, round(seconds / len(jobs)))  # pyoperon takes whole seconds
    job = {"parts": jobs, "seconds": share, "seed": seed, "threads": workers}
    prediction = np.full(rows.Y.shape, np.nan)
    try:
        child = subprocess.run(
            [sys.executable, "-c", _OPERON],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=3 * share * len(jobs) + 120,
            check=True,
        )
        for (test, j), values in zip(places, json.loads(child.stdout), strict=True):
            prediction[test, j] = values
    except (subprocess.SubprocessError, ValueError) as error:
        return rated(rows, prediction) | {"error": str(error)[:200]}
    return rated(rows, prediction)


def measure(args: argparse.Namespace, results: dict[str, Any], save: Callable[[], None]) -> None:
    """Run what is missing in `results`."""
    seconds = Budget.parse(args.budget).seconds or 60.0
    wanted = set(args.tasks.split(",")) if args.tasks else None
    for suite, folder in find_tasks(args.data):
        if wanted and folder.name not in wanted:
            continue
        task = load_task(folder)
        rows = task.held_out()
        if rows is None:
            continue
        entry = results["tasks"].setdefault(f"{suite}/{task.name}", {})
        jobs: list[tuple[str, Callable[[], dict[str, Any]]]] = []
        if "nearest" in args.methods:
            jobs.append(("nearest", partial(by_nearest, task, rows)))
        if "loglinear" in args.methods:
            jobs.append(("loglinear", partial(by_loglinear, task, rows)))
        if "published" in args.methods and task.card.laws:
            jobs.append(("published", partial(by_published, task, rows, 0)))
        for seed in args.seeds:
            if "sld" in args.methods:
                jobs.append((f"sld-{seed}", partial(by_sld, task, rows, seed, args.budget, args.workers)))
            if "operon" in args.methods:
                jobs.append((f"operon-{seed}", partial(by_operon, task, rows, seed, seconds, args.workers)))
        for name, job in jobs:
            if name in entry:
                continue
            start = time.monotonic()
            entry[name] = job() | {"seconds": round(time.monotonic() - start, 1)}
            print(f"{suite}/{task.name} {name}: R² {entry[name]['r2']:.4f}", file=sys.stderr, flush=True)
            save()


def summarise(results: Mapping[str, Any]) -> str:
    """Return the tables of NAME.md."""
    seeds = results["seeds"]
    lines = [
        "# Held-out R² by task",
        "",
        f"`{results['command']}` · {results['machine']}.",
        "Pooled R² as the benchmark counts it (a failed prediction is −1; for the means every score is cut at −1),",
        "with the mean of the R² within groups in brackets. sld, operon: mean over seeds, ± their standard deviation.",
        "Formula: what the law's formula has alone. By itself: the best form, without the consensus.",
        "",
        "| task | nearest run | log-linear | published, refitted | operon | sld | ± | formula | by itself |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    means: dict[str, dict[str, list[float]]] = {}
    spread: dict[int, list[float]] = {s: [] for s in seeds}
    ahead: dict[str, list[float]] = {}
    for name, entry in results["tasks"].items():
        suite = name.split("/")[0]
        cells = [name]
        own = [_cut(entry[f"sld-{s}"]["r2"]) for s in seeds if f"sld-{s}" in entry]
        for method in METHODS:
            found = [entry[k] for k in entry if k == method or (k.startswith(method + "-"))]
            if not found:
                cells.append("")
                continue
            value = statistics.fmean(_cut(f["r2"]) for f in found)
            means.setdefault(suite, {}).setdefault(method, []).append(value)
            within = [f["r2_within"] for f in found if f.get("r2_within") is not None]
            bracket = f" ({statistics.fmean(_cut(w) for w in within):.3f})" if within else ""
            cells.append(f"{value:.3f}{bracket}")
            if own:
                ahead.setdefault(method, []).append(statistics.fmean(own) - value)
        cells.append(f"{statistics.pstdev(own):.3f}" if own else "")
        for shown, key in PARTS.items():
            part = [_cut(entry[f"sld-{s}"][key]) for s in seeds if key in entry.get(f"sld-{s}", {})]
            cells.append(f"{statistics.fmean(part):.3f}" if part else "")
            if part:
                means.setdefault(suite, {}).setdefault(shown, []).append(statistics.fmean(part))
        for s in seeds:
            if f"sld-{s}" in entry:
                spread[s].append(_cut(entry[f"sld-{s}"]["r2"]))
        lines.append("| " + " | ".join(cells) + " |")
    columns_shown = (*METHODS, *PARTS)
    shown = "nearest run | log-linear | published, refitted | operon | sld | formula | by itself"
    lines += ["", f"| suite | tasks | {shown} |", "|---" * 9 + "|"]
    for suite, columns in means.items():
        n = max(len(v) for v in columns.values())
        cells = [f"{statistics.fmean(columns[m]):.3f}" if m in columns else "" for m in columns_shown]
        lines.append(f"| {suite} | {n} | " + " | ".join(cells) + " |")
    every = {m: [v for columns in means.values() for v in columns.get(m, [])] for m in columns_shown}
    cells = [f"{statistics.fmean(v):.3f}" if v else "" for v in every.values()]
    lines.append(f"| all | {max(map(len, every.values()))} | " + " | ".join(cells) + " |")
    overall = [statistics.fmean(v) for v in spread.values() if v]
    lines += ["", f"Mean of all tasks by seed: {', '.join(f'{v:.4f}' for v in overall)}."]
    for method, slack, what in (
        ("published", 0.005, "equals or beats the best refitted published law (within 0.005)"),
        ("operon", 0.0, "equals or beats pyoperon at equal time"),
        ("operon", 0.005, "equals or beats pyoperon at equal time, within 0.005,"),
        ("loglinear", 0.02, "is not below the log-linear law by more than 0.02"),
        ("nearest", 0.0, "equals or beats the nearest run's value"),
    ):
        if method in ahead:
            n = sum(difference >= -slack for difference in ahead[method])
            lines.append(f"sld {what} on {n} of {len(ahead[method])} tasks.")
    return "\n".join(lines) + "\n"


def _cut(r2: float) -> float:
    return max(-1.0, r2)


def main() -> None:
    """Read the arguments, measure, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--seeds", default="0,1,2", type=lambda t: [int(s) for s in t.split(",")])
    parser.add_argument("--methods", default=",".join(METHODS), type=lambda t: t.split(","))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tasks", default="")
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--name", default="quality")
    args = parser.parse_args()
    file = HERE / "results" / f"{args.name}.json"
    file.parent.mkdir(exist_ok=True)
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"tasks": {}}
    # the place of the tables is nobody else's business
    told = {"budget": args.budget, "seeds": ",".join(map(str, args.seeds)), "methods": ",".join(args.methods)}
    results["command"] = "python bench/quality.py " + " ".join(f"--{k} {v}" for k, v in told.items())
    results["seeds"] = args.seeds
    results["machine"] = (
        f"{args.workers} worker{'s' * (args.workers > 1)}, Python {platform.python_version()}, numpy {np.__version__}"
    )

    def save() -> None:
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    measure(args, results, save)
    save()
    text = summarise(results)
    (HERE / f"{args.name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
