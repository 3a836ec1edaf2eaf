"""What more time brings: the same tasks at growing budgets.

    python bench/anytime.py [--budgets 10s,30s,60s,300s,600s] [--seeds 0] [--tasks NAME,NAME] [--data DIR] [--runs DIR]
                            [--name anytime]

For each budget the score of the best form on the folds (lower is better; it must not rise with the budget) and the R²
of the law on held-out rows, which the search never sees. A task is searched once, for the longest budget; a shorter
one takes that search up where it was at its share of the time, and ends it as always. `--runs` keeps the searches.
Writes bench/results/NAME.json after every search (an interrupted run goes on where it stopped), bench/NAME.md and
NAME.png.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from sld.data.scoring import scores
from sld.data.task import Task, load_task
from sld.search.budget import SEARCH_SHARE, Budget
from sld.search.discovery import SearchSettings, discover
from sld.search.outcome import Discovery
from sld.search.run_folder import CONFIG, EVENTS

HERE = Path(__file__).resolve().parent
SUITES = ("sldbench-train", "open", "open2", "synthetic")
_SLACK = 0.01  # of the score on the folds: a finalist that is judged again from more starts may come out a little worse


def measured(folder: Path, budgets: list[str], seed: int, workers: int, runs: Path) -> dict[str, dict[str, Any]]:
    """Search one task for the longest budget, and end that search early for each of the others."""
    task = load_task(folder)
    rows = task.held_out()
    assert rows is not None
    whole = runs / f"{task.name}-{seed}"
    longest = max(budgets, key=seconds_of)
    search(task, longest, seed, workers, whole)
    found = {}
    for budget in budgets:
        with tempfile.TemporaryDirectory() as place:
            part = Path(place) / "run"
            part.mkdir()
            shutil.copy(whole / CONFIG, part)
            with open(whole / EVENTS, encoding="utf-8") as events, open(part / EVENTS, "w", encoding="utf-8") as kept:
                kept.writelines(e for e in events if json.loads(e)["t"] <= SEARCH_SHARE * seconds_of(budget))
            ended = search(task, budget, seed, workers, part)
        r2 = scores(rows.Y, ended.law.predict(rows), rows.group_index).r2
        found[budget] = {
            "score": ended.hall_of_fame[0].score,
            "r2": max(-1.0, r2),
            "tried": ended.counts["tried"],
            "law": ended.chosen.text,
        }
    return found


def search(task: Task, budget: str, seed: int, workers: int, out: Path) -> Discovery:
    """Run or take up one search in its folder."""
    return discover(
        task.train,
        SearchSettings(seed=seed, budget=budget, workers=workers, max_constants=task.card.max_constants),
        out=out,
        task={"name": task.card.name, "version": task.card.version},
    )


def seconds_of(budget: str) -> float:
    """Return a budget in seconds."""
    seconds = Budget.parse(budget).seconds
    assert seconds is not None, "budgets are times"
    return seconds


def plotted(results: dict[str, dict[str, dict[str, Any]]], seconds: list[float], file: Path) -> None:
    """Draw both against the budget, a thin line per task and the mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, key, label in ((axes[0], "score", "gain of the score on the folds"), (axes[1], "r2", "held-out R²")):
        lines = []
        for runs in results.values():
            values = [runs[b][key] for b in runs]
            lines.append([values[0] - v for v in values] if key == "score" else values)
            axis.plot(seconds, lines[-1], color="0.75", linewidth=0.8)
        axis.plot(seconds, [statistics.fmean(column) for column in zip(*lines, strict=True)], color="C0", marker="o")
        axis.set(xscale="log", xlabel="budget in seconds", ylabel=label)
        axis.set_xticks(seconds, [f"{s:g}" for s in seconds])
        axis.minorticks_off()
    axes[1].set_ylim(0, 1.02)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Read the arguments, measure, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", default="10s,30s,60s,300s,600s", type=lambda t: t.split(","))
    parser.add_argument("--seeds", default="0", type=lambda t: [int(s) for s in t.split(",")])
    parser.add_argument("--tasks", default="")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--runs", type=Path, help="where searches are kept; a temporary folder by default")
    parser.add_argument("--name", default="anytime")
    args = parser.parse_args()
    folders = [f.parent for suite in SUITES for f in sorted((args.data / suite).glob("*/task.toml"))]
    folders += [f.parent for f in sorted((HERE.parent / "tasks").glob("*/task.toml"))]
    wanted = set(args.tasks.split(",")) - {""}
    told = f"--budgets {','.join(args.budgets)} --seeds {','.join(map(str, args.seeds))}"
    told += f" --workers {args.workers}" + (f" --tasks {args.tasks}" if args.tasks else "")
    machine = f"Python {platform.python_version()}"
    saved: dict[str, Any] = {"command": f"python bench/anytime.py {told}", "machine": machine, "tasks": {}}
    file = HERE / "results" / f"{args.name}.json"
    if file.is_file() and (before := json.loads(file.read_text(encoding="utf-8")))["command"] == saved["command"]:
        saved = before
    results: dict[str, dict[str, dict[str, Any]]] = saved["tasks"]
    with tempfile.TemporaryDirectory() as place:
        for folder in folders:
            for seed in args.seeds:
                name = f"{folder.parent.name}/{folder.name} {seed}"
                if name not in results and (not wanted or folder.name in wanted):
                    results[name] = measured(folder, args.budgets, seed, args.workers, args.runs or Path(place))
                    file.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
                    print(name, [(r["score"], r["r2"]) for r in results[name].values()], flush=True)
    plotted(results, [seconds_of(b) for b in args.budgets], HERE / f"{args.name}.png")
    steps = [(runs[a]["score"], runs[b]["score"]) for runs in results.values()
             for a, b in zip(args.budgets, args.budgets[1:], strict=False)]  # fmt: skip
    worse = sum(after > before + _SLACK for before, after in steps)
    lines = [
        "# What more time brings",
        "",
        f"`{saved['command']}` · {machine}.",
        "Score on the folds of the best form (lower is better), and held-out R² of the law.",
        f"The score on the folds rose in {worse} of {len(steps)} steps to a larger budget.",
        "",
        f"![gain of the score on the folds, and held-out R², against the budget]({args.name}.png)",
        "",
        "| task, seed | " + " | ".join(args.budgets) + " |",
        "|---" * (len(args.budgets) + 1) + "|",
    ]
    for name, runs in results.items():
        lines.append(f"| {name} | " + " | ".join(f"{r['score']:.3f}, {r['r2']:.3f}" for r in runs.values()) + " |")
    means = [statistics.fmean(runs[b]["r2"] for runs in results.values()) for b in args.budgets]
    lines.append("| mean R² | " + " | ".join(f"{m:.3f}" for m in means) + " |")
    text = "\n".join(lines) + "\n"
    (HERE / f"{args.name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
