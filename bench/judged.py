"""Formulas judged per CPU second by a whole search, beside other builds in the same run; and whether scores agree.

    python bench/judged.py --tree ../before --tree .          # about 8 minutes; writes judged.md
    python bench/judged.py --tree ../before --tree . --scores # the same formulas judged by each: differences of scores

A tree is a checkout of the project. For each task, budget and tree, in turn, a process of its own searches the training
rows with one worker and seed 0; what counts is the CPU time of the loop (proposing, judging, remembering), children
included, without reading the table, screening it, and the final fits. Trees alternate within each block, since the
speed of a machine that others use swings; medians over blocks.

`--scores` takes the formulas that the first tree tries within a budget, and has every tree judge their texts one by
one, to the end: largest difference of score and of fold errors (relative), and verdicts that differ.

Tables under DIR (default: shared/data beside the repository) are third-party; without them the bundled tasks are
measured.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TASKS = ("nanolm_chinchilla", "nanolm_lr_batch", "open/sae", "open/clip_mammut_best", "sldbench-train/moe")
WANTED, WANTED_EACH = 3.0, 2.0
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

# runs in every tree, so it names only what all of them have
_CHILD = """
import json, math, resource, sys, time
job = json.load(sys.stdin)
from sld.data.task import load_task
from sld.search.discovery import SearchSettings, discover
from sld.search.judging.judge import Judge, Proposal
from sld.search.loop import Search

task = load_task(job["task"])

def cpu():
    mine, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime

def search(budget):
    settings = SearchSettings(budget=budget, workers=1, max_constants=task.card.max_constants)
    return discover(task.train, settings)

if job["kind"] == "search":
    search("200fits")  # compile, load, warm up
    taken, loop = [0.0], Search._loop
    def timed(self, *given):
        began = cpu()
        try:
            return loop(self, *given)
        finally:
            taken[0] = cpu() - began
            taken.append(self.population.n_tried)
            taken.append(self.population.n_fits)
    Search._loop = timed
    began = cpu()
    found = search(job["budget"])
    out = {"cpu": taken[0], "tried": taken[1], "fits": taken[2], "whole": cpu() - began,
           "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "law": found.chosen.text}
else:
    seen, judges = {}, []
    plain = Judge.judge
    if job["kind"] == "texts":
        def noted(self, proposal):
            seen.setdefault(tuple(f.expression.text for f in proposal.forms), proposal.forms[0].shared)
            return plain(self, proposal)
        Judge.judge = noted
        search(job["budget"])
        step = max(1, len(seen) // job["n"])
        out = [[list(texts), list(shared)] for texts, shared in list(seen.items())[::step]]
    else:
        class Found(Exception):
            pass
        def stop(self, *given):
            raise Found(self.judge)
        Search._loop = stop
        try:
            search("200fits")
        except Found as error:
            judge = error.args[0]
        out = []
        from sld.laws.form import Form
        for texts, shared in job["texts"]:
            forms = [
                Form(judge.table.parse(text, j), "enumeration", needs_simplify=True, shared=tuple(shared))
                for j, text in enumerate(texts)
            ]
            candidate, fits = judge.judge(Proposal.of(forms))
            out.append([candidate.status, candidate.score if candidate.ok else None,
                        list(candidate.fold_errors), candidate.key, fits])
json.dump(out, sys.stdout)
"""


def child(tree: Path, job: dict[str, Any]) -> Any:
    """Run a job with the code of a tree in a process with one thread; return its answer."""
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1"), "PYTHONPATH": str(tree)}
    command = [sys.executable, "-c", _CHILD]
    done = subprocess.run(
        command, env=environment, cwd=tree, input=json.dumps(job), check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def folders(data: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """Return the folder of each wanted task that is here."""
    places = {name: (data if "/" in name else ROOT / "tasks") / name for name in wanted}
    return {name: path for name, path in places.items() if (path / "task.toml").is_file()}


def speeds(trees: Sequence[Path], tasks: dict[str, Path], budgets: Sequence[str], blocks: int) -> list[dict[str, Any]]:
    """Return one row for each task and budget: the medians of each tree."""
    rows = []
    for budget in budgets:
        for name, path in tasks.items():
            every: list[list[dict[str, Any]]] = [[] for _ in trees]
            for _ in range(blocks):
                for found, tree in zip(every, trees, strict=True):
                    found.append(child(tree, {"kind": "search", "task": str(path), "budget": budget}))
            rates = [statistics.median(f["tried"] / f["cpu"] for f in found) for found in every]
            row = {
                "task": name,
                "budget": budget,
                "rates": rates,
                "tried": [found[-1]["tried"] for found in every],
                "ms_per_fit": [statistics.median(1e3 * f["cpu"] / f["fits"] for f in found) for found in every],
                "mb": [max(f["mb"] for f in found) for found in every],
                "same_law": len({found[-1]["law"] for found in every}) == 1,
            }
            print(name, budget, *(f"{r:,.0f}/s" for r in rates), f"{rates[-1] / rates[0]:.2f}x", row, file=sys.stderr)
            rows.append(row)
    return rows


def score_differences(trees: Sequence[Path], tasks: dict[str, Path], budget: str, n: int) -> list[dict[str, Any]]:
    """Return for each task how far the last tree's verdicts are from the first's on the same texts."""
    rows = []
    for name, path in tasks.items():
        job = {"task": str(path), "budget": budget, "n": n}
        texts = child(trees[0], {**job, "kind": "texts"})
        before, after = (child(tree, {**job, "kind": "scores", "texts": texts}) for tree in (trees[0], trees[-1]))
        score = fold = 0.0
        other: list[str] = []
        for (text, _), a, b in zip(texts, before, after, strict=True):
            if a[0] != b[0] or a[3] != b[3]:
                other.append(f"{' | '.join(text)}: {a[0]} / {b[0]}")
                continue
            if a[1] is not None:
                gap = abs(a[1] - b[1])
                score = max(score, gap)
                if gap > 1e-9:
                    other.append(f"{' | '.join(text)}: score {a[1]!r} / {b[1]!r}")
                for x, y in zip(a[2], b[2], strict=True):
                    if x is not None and y is not None and math.isfinite(x) and math.isfinite(y):
                        fold = max(fold, abs(x - y) / max(abs(x), 1e-12))
        judged = sum(a[1] is not None for a in before)
        row = {"task": name, "formulas": len(texts), "judged": judged, "score": score, "fold": fold, "other": other}
        print(row, file=sys.stderr)
        rows.append(row)
    return rows


def report(command: str, rows: Sequence[dict[str, Any]], n_trees: int) -> str:
    """Return the rates as Markdown."""
    lines = [
        "# Formulas judged per CPU second",
        "",
        f"`{command}` · one worker, seed 0, CPU time of the loop; ratio: the last tree over the first.",
        "",
        "| task | budget |" + "".join(f" tree {k + 1}: per CPU s | MB |" for k in range(n_trees)) + " ratio |",
        "|---|---|" + "---|---|" * n_trees + "---|",
    ]
    for row in rows:
        cells = "".join(f" {rate:,.0f} | {mb:,.0f} |" for rate, mb in zip(row["rates"], row["mb"], strict=True))
        lines.append(f"| {row['task']} | {row['budget']} |{cells} {row['rates'][-1] / row['rates'][0]:.2f} |")
    if n_trees > 1:
        for budget in dict.fromkeys(row["budget"] for row in rows):
            ratios = [row["rates"][-1] / row["rates"][0] for row in rows if row["budget"] == budget]
            mean = statistics.geometric_mean(ratios)
            met = mean >= WANTED and min(ratios) >= WANTED_EACH
            wanted = f"≥ {WANTED:g} and none below {WANTED_EACH:g}"
            lines += [
                "",
                f"{budget}: geometric mean {mean:.2f}, least {min(ratios):.2f} (wanted {wanted}: "
                f"{'met' if met else 'missed'}).",
            ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tree", action="append", type=Path, help="a checkout; the first is compared with the last")
    parser.add_argument("--budget", default="3000fits,20s", help="budgets, separated by commas")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--scores", action="store_true", help="compare scores instead of speed")
    parser.add_argument("--n", type=int, default=400, help="formulas whose scores are compared, for each task")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args()
    trees = [tree.resolve() for tree in options.tree or [ROOT]]
    tasks = folders(options.data.resolve(), options.tasks.split(","))
    if options.scores:
        found = score_differences(trees, tasks, options.budget.split(",")[0], options.n)
        raise SystemExit(any(row["other"] for row in found))
    rows = speeds(trees, tasks, options.budget.split(","), options.blocks)
    text = report(f"python bench/judged.py --budget {options.budget} --blocks {options.blocks}", rows, len(trees))
    print(text)
    if not options.dry:
        (ROOT / "bench" / "judged.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
