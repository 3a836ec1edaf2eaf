"""Save every candidate of a search on every task, with its held-out predictions, for comparing selection rules.

    python bench/pools.py --out POOLS [--budget 30s] [--seed 0] [--data DIR] [TASK ...]

The search itself sees training rows only; what each candidate predicts for the held-out rows is computed afterwards,
here, from the constants that the search recorded. `bench/rules.py` compares rules on the pools. Of a task with several
targets every target is a pool of its own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from sld.data.scoring import scores
from sld.data.table import Table
from sld.data.task import load_task
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.selection import noise_floor
from sld.search.discovery import SearchSettings, discover
from sld.search.judging.admissible import values_at
from sld.search.run_folder import from_event

SUITES = ("open", "sldbench-train", "synthetic")
KEPT = 1500  # candidates of a pool, the best by score, and the best static ones


def find_tasks(data: Path) -> list[Path]:
    """Return the task folders of the open suites and the bundled tasks."""
    found = [card.parent for suite in SUITES for card in sorted((data / suite).glob("*/task.toml"))]
    bundled = Path(__file__).resolve().parents[1] / "tasks"
    return found + [card.parent for card in sorted(bundled.glob("*/task.toml"))]


def predictions(candidate: Candidate, train: Table, rows: Table) -> list[float | None]:
    """Return what a candidate of one target predicts for `rows`, with the constants that the search found."""
    (column, expression), *_ = candidate.expressions.items()
    constants = [candidate.constants[column][g] for g in rows.groups]
    columns = {s: np.ascontiguousarray(rows.X[:, i]) for i, s in enumerate(train.symbols)}
    with np.errstate(all="ignore"):
        values = values_at(expression, constants, columns, rows.group_index)
    return [float(f"{v:.7g}") if np.isfinite(v) else None for v in values]


def save_pools(folder: Path, out: Path, budget: str, seed: int) -> None:
    """Search one task and write a pool for each target."""
    task = load_task(folder)
    rows = task.held_out()
    assert rows is not None
    name = f"{folder.parent.name}-{task.name}"
    run = out / "runs" / f"{name}-{seed}"
    found = discover(
        task.train, SearchSettings(seed=seed, budget=budget, workers=1, max_constants=task.card.max_constants), out=run
    )
    candidates: list[Candidate] = []
    with open(run / "events.jsonl", encoding="utf-8") as stream:
        for line in stream:
            candidate, _ = from_event(json.loads(line), task.train)
            if candidate.status == "ok":
                candidates.append(candidate)
    for j, target in enumerate(task.train.targets):
        pool = sorted((c.of_target(j) for c in candidates), key=lambda c: c.score)
        pool = [c for k, c in enumerate(pool) if k < KEPT or (c.static and k < 3 * KEPT)]
        data = {
            "task": name,
            "target": target.column,
            "tested": [len(fold.test) for fold in found.folds],
            "noise": (noise_floor(task.train, j) or {}).get("nmse", 0.0),
            "n_points": int(task.train.points().max()) + 1,
            "measured": rows.Y[:, j].tolist(),
            "law": scores(rows.Y[:, j], found.law.predict(rows)[:, j]).r2,
            "candidates": [
                {
                    "form": c.text,
                    "static": c.static,
                    "folds": [e if np.isfinite(e) else None for e in c.fold_errors],
                    "score": c.score,
                    "train_nmse": c.train_nmse,
                    "admissible": c.admissible,
                    "problems": len(c.reasons),
                    "complexity": c.complexity,
                    "constants": c.n_constants,
                    "predicted": predictions(c, task.train, rows),
                }
                for c in pool
            ],
        }
        (out / f"{name}-{j}-{seed}.json").write_text(json.dumps(data), encoding="utf-8")
    print(f"{name}: {len(candidates)} candidates", flush=True)


def main() -> None:
    """Read the arguments and save the pools."""
    here = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", default="30s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=here.parent / "shared" / "data")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for folder in args.tasks or find_tasks(args.data):
        save_pools(folder, args.out, args.budget, args.seed)


if __name__ == "__main__":
    main()
