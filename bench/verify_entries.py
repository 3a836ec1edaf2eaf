"""How fast entries are verified, on one core: 200 formula entries of the bundled tasks.

The laws of every bundled card are made into 200 entries (each with a term of its own, so that no two are the same law),
and verified with and without repeating the whole fit.

    OMP_NUM_THREADS=1 python bench/verify_entries.py
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from datetime import date
from pathlib import Path

import sld
from sld.board.entries.refit import FitPlan
from sld.board.entries.scored_task import ScoredTask
from sld.board.entries.store import Board
from sld.board.entries.submission import Signature, refitted_entry
from sld.board.entries.verify import verify
from sld.core.errors import SldError
from sld.data.card import parse_for
from sld.data.task import Task, load_task
from sld.laws.form import Form

N_ENTRIES = 200
OUT = Path(__file__).with_name("verify_entries.md")


def entries(board: Board, tasks: list[Task]) -> int:
    """Fill the board; return how many entries it has."""
    rows = [ScoredTask(task) for task in tasks]
    n = k = 0
    while n < N_ENTRIES:
        k += 1
        for one in rows:
            train, card = one.train, one.task.card
            for law in card.laws:
                # a term of its own, too small to matter, makes each another family
                term = f"{train.symbols[0]}*1e-{k + 12}"
                given = card.expressions(law)
                forms = {
                    c: parse_for(f"{e.text} + {term}", train.variables, len(given), j)
                    for j, (c, e) in enumerate(given.items())
                }
                try:
                    entry = refitted_entry(
                        one,
                        {c: Form(expression, "card") for c, expression in forms.items()},
                        Signature(f"{law.name} {k}"),
                        plan=FitPlan(starts=16),
                        provenance={"origin": "bench"},
                    )
                except SldError:
                    continue
                n += board.add(entry).new
                if n == N_ENTRIES:
                    return n
    return n


def main() -> None:
    """Measure and write the table."""
    tasks = [load_task(name) for name in sld.bundled_tasks()]
    with tempfile.TemporaryDirectory() as folder:
        board = Board((Path(folder),))
        n = entries(board, tasks)
        lines = []
        for refit in (False, True):
            started, cpu = time.perf_counter(), time.process_time()
            findings = list(verify(board, tasks, refit=refit))
            seconds, used = time.perf_counter() - started, time.process_time() - cpu
            bad = sum(not finding.ok for finding in findings)
            what = "the whole fit (16 starts)" if refit else "file, limits, scores, optimum"
            lines.append(
                f"| {what} | {len(findings)} | {bad} | {seconds:.2f} | {used:.2f} | {len(findings) / used:.0f} |"
            )
            print(lines[-1], *(finding.problem for finding in findings if not finding.ok), sep="\n")
    head = [
        "# Verifying entries",
        "",
        f"`OMP_NUM_THREADS=1 python bench/verify_entries.py`, {date.today()}, {platform.machine()}: {n} formula",
        "entries made from the published laws of the seven bundled tasks, after import. The bar is 50 a second.",
        "",
        "| checked | entries | wrong | seconds | CPU seconds | entries per CPU second |",
        "|---|---|---|---|---|---|",
    ]
    OUT.write_text("\n".join([*head, *lines, ""]), encoding="utf-8")
    print(json.dumps({"entries": n}))


if __name__ == "__main__":
    main()
