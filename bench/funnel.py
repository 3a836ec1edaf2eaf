"""What the first look at a form costs and saves: the same proposals judged with and without it.

    python bench/funnel.py [--candidates 2000] [--seeds 0,1] [--data DIR] [--name funnel]

A form is looked at with a few starts on the first folds and dropped when it is far behind (`judge.py`). Here
every proposal of a search is judged twice, in full and with that first look, and the search goes on from the full
judgements. A dropped form matters when it would have become the best law, a parent or a member of the consensus.
Writes bench/results/NAME.json and bench/NAME.md.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sld.data.splits import rung_folds
from sld.data.task import load_task
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.candidates.rejection import Rejection
from sld.search.candidates.selection import RULES
from sld.search.choosing.finalists import Finalists
from sld.search.judging.judge import Judge
from sld.search.proposing.proposers import ALL, Source
from sld.search.screening.rows import SEARCH_ROWS, thinned

HERE = Path(__file__).resolve().parent
SUITES = ("sldbench-train", "open", "synthetic")


def measured(folder: Path, seed: int, n: int) -> dict[str, Any]:
    """Search with `n` candidates, judging everything twice."""
    task = load_task(folder)
    table = thinned(task.train, SEARCH_ROWS)
    judge = Judge(table, rung_folds(table), seed=seed, max_constants=task.card.max_constants)
    source = Source(table, ALL, iter(()), seed=seed, max_constants=task.card.max_constants)
    hall, dropped = HallOfFame(), set()
    seconds = {"full": 0.0, "first look": 0.0}
    looked = tried = 0
    while tried < n and (batch := source.batch(hall)):
        for proposal in batch:
            start = time.perf_counter()
            candidate, _ = judge.judge(replace(proposal, bar=math.inf))
            middle = time.perf_counter()
            seconds["full"] += middle - start
            if proposal.bar < math.inf:
                looked += 1
                if judge.judge(proposal)[0].status == Rejection.BEHIND:
                    dropped.add(candidate.key)
                seconds["first look"] += time.perf_counter() - middle
            else:
                seconds["first look"] += middle - start
            hall.add(candidate)
            tried += 1
    finalists = Finalists.of(hall)
    chosen = RULES["one_standard_error"](hall.ranked())
    return {
        "tried": tried,
        "looked": looked,
        "dropped": len(dropped),
        "chosen dropped": chosen is not None and chosen.key in dropped,
        "members": len(finalists.members),
        "members dropped": sum(c.key in dropped for c in finalists.members),
        "parents dropped": sum(c.key in dropped for c in hall.ranked(32)),
        "seconds": {k: round(v, 2) for k, v in seconds.items()},
    }


def main() -> None:
    """Read the arguments, measure, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=2000)
    parser.add_argument("--seeds", default="0,1", type=lambda t: [int(s) for s in t.split(",")])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--name", default="funnel")
    args = parser.parse_args()
    folders = [f.parent for suite in SUITES for f in sorted((args.data / suite).glob("*/task.toml"))]
    folders += [f.parent for f in sorted((HERE.parent / "tasks").glob("*/task.toml"))]
    results: dict[str, Any] = {"machine": f"Python {platform.python_version()}, one process", "tasks": {}}
    for folder in folders:
        if len(load_task(folder).train.targets) > 1:
            continue  # a form that is behind for one target may suit another: judged to the end
        for seed in args.seeds:
            results["tasks"][f"{folder.parent.name}/{folder.name} {seed}"] = measured(folder, seed, args.candidates)
    (HERE / "results" / f"{args.name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    runs = results["tasks"].values()
    looked, dropped = (sum(r[k] for r in runs) for k in ("looked", "dropped"))
    saved = [r["seconds"]["full"] / r["seconds"]["first look"] for r in runs]
    lines = [
        "# The first look",
        "",
        f"`python bench/funnel.py --candidates {args.candidates} --seeds {','.join(map(str, args.seeds))}` ·"
        f" {results['machine']}.",
        "",
        f"{len(runs)} searches; of {looked} bred forms {dropped} were dropped at the first look"
        f" ({100 * dropped / max(looked, 1):.0f} %).",
        f"Judging took {sum(saved) / len(saved):.2f} times as long without it (mean;"
        f" {min(saved):.2f} to {max(saved):.2f}).",
        f"The best law was among the dropped in {sum(r['chosen dropped'] for r in runs)} searches,",
        f"{sum(r['members dropped'] for r in runs)} of {sum(r['members'] for r in runs)} members of a consensus and "
        f"{sum(r['parents dropped'] for r in runs)} of {32 * len(runs)} parents at the end were.",
        "",
        "| task, seed | tried | dropped | members dropped | time without / with |",
        "|---|---|---|---|---|",
    ]
    for name, r in results["tasks"].items():
        ratio = r["seconds"]["full"] / r["seconds"]["first look"]
        lines.append(f"| {name} | {r['tried']} | {r['dropped']} | {r['members dropped']} | {ratio:.2f} |")
    text = "\n".join(lines) + "\n"
    (HERE / f"{args.name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
