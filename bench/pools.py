"""Save every candidate of a search on every task, with its held-out score, for comparing selection rules.

    python bench/pools.py --out POOLS [--budget 25s] [--seed 0] [--data DIR] [TASK ...]

The search itself sees training rows only; the held-out score of each candidate is computed afterwards, here, from the
constants that the search recorded. `bench/rules.py` reads the pools.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from sld.core.kernel import evaluate
from sld.core.scoring import scores
from sld.core.task import Task, load_task
from sld.search.candidate import Candidate
from sld.search.discovery import discover
from sld.search.run_folder import from_event

SUITES = ("open", "sldbench-train", "synthetic")


def find_tasks(data: Path) -> list[Path]:
    """Return the task folders of the open suites and the bundled tasks."""
    found = [card.parent for suite in SUITES for card in sorted((data / suite).glob("*/task.toml"))]
    bundled = Path(__file__).resolve().parents[1] / "tasks"
    return found + [card.parent for card in sorted(bundled.glob("*/task.toml"))]


def held_out_r2(task: Task, candidate: Candidate) -> tuple[float, list[float]]:
    """Return pooled R² over targets, and of each target, with the constants that the search found."""
    rows = task.held_out()
    assert rows is not None
    prediction = np.full(rows.Y.shape, np.nan)
    for j, target in enumerate(rows.targets):
        for g, group in enumerate(rows.groups):
            mask = rows.group_index == g
            columns = {s: rows.X[mask, i] for i, s in enumerate(rows.symbols)}
            constants = candidate.constants[target.column][group]
            prediction[mask, j] = evaluate(candidate.expressions[target.column], columns, constants)
    per_target = [scores(rows.Y[:, [j]], prediction[:, [j]], rows.group_index).r2 for j in range(rows.Y.shape[1])]
    return scores(rows.Y, prediction, rows.group_index).r2, per_target


def save_pool(folder: Path, out: Path, budget: str, seed: int) -> None:
    """Search one task and write its pool as JSON lines."""
    task = load_task(folder)
    run = out / "runs" / f"{folder.parent.name}-{task.name}-{seed}"
    discover(task.train, seed=seed, budget=budget, workers=1, out=run, max_constants=task.card.max_constants)
    rows = []
    with open(run / "events.jsonl", encoding="utf-8") as stream:
        for line in stream:
            event = json.loads(line)
            if event["status"] != "ok":
                continue
            candidate, _ = from_event(event, task.train)
            r2, per_target = held_out_r2(task, candidate)
            kept = ("i", "origin", "key", "folds", "train_nmse", "admissible", "reasons", "expression")
            rows.append(
                {k: event[k] for k in kept}
                | {"complexity": candidate.complexity, "constants": candidate.n_constants}
                | {"r2": r2, "r2_targets": per_target}
            )
    (out / f"{folder.parent.name}-{task.name}-{seed}.json").write_text(json.dumps(rows), encoding="utf-8")
    best = max((r["r2"] for r in rows if r["admissible"]), default=float("nan"))
    print(
        f"{folder.parent.name}/{task.name}: {len(rows)} candidates, best admissible held-out R² {best:.4f}", flush=True
    )


def main() -> None:
    """Read the arguments and save the pools."""
    here = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", default="25s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=here.parent / "shared" / "data")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for folder in args.tasks or find_tasks(args.data):
        save_pool(folder, args.out, args.budget, args.seed)


if __name__ == "__main__":
    main()
