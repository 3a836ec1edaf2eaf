"""Formulas judged per second by processes of this machine and by Dask workers on it, and what a task costs.

    python bench/cluster.py                     # about 8 minutes on a quiet machine; writes cluster.md
    python bench/cluster.py --count             # bytes and CPU time for each task and formula, a minute; prints them

Each block makes the same searches (a budget in fits, seed 0) in this process alone, with two local processes, and with
one and two Dask workers on this machine; workers are there only while they are measured, and make the first search
twice. What counts is wall time on a quiet machine, of the loop that proposes and judges, and of the whole search, which
also fits the chosen law again. CPU time of the loop, all processes together, says what goes into it on a machine that
others use, too. The law must be the same with all of them.

Tables under DIR (default: shared/data beside the repository) are third-party; without them the bundled tasks are
measured.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # comes with Dask

from sld.data.task import Task, load_task
from sld.search.candidates.candidate import Candidate
from sld.search.discovery import SearchSettings, discover
from sld.search.judging.cluster import Cluster
from sld.search.judging.judge import Judge, Proposal
from sld.search.loop import Search

ROOT = Path(__file__).resolve().parent.parent
TASKS = ("nanolm_lr_batch", "open/farseer", "sldbench-train/lr_bsz")
KINDS = ("local 1", "local 2", "Dask 1", "Dask 2")
WARM_UP = "300fits"
N_TASKS = 400  # that do nothing, for what a task costs
PART = 12  # tasks sent at once and formulas in a task, about as in a search
ME = psutil.Process()


@dataclass(frozen=True)
class Measured:
    """Seconds of one search: wall time of all of it and of its loop, CPU time of the loop in here and in others."""

    whole: float
    loop: float
    here: float
    others: float

    @property
    def cpu(self) -> float:
        """CPU time of the loop in all processes."""
        return self.here + self.others


def cpu() -> tuple[float, float]:
    """Return CPU seconds of this process, and of those that it started."""
    mine = ME.cpu_times()
    others = mine.children_user + mine.children_system
    for child in ME.children(recursive=True):
        times = child.cpu_times()
        others += times.user + times.system
    return mine.user + mine.system, others


@contextmanager
def timed_loop() -> Iterator[list[tuple[float, float, float]]]:
    """Note what each loop takes."""
    found: list[tuple[float, float, float]] = []
    loop = Search._loop

    def timed(self: Search, *given: Any) -> bool:
        before, began = cpu(), time.perf_counter()
        try:
            return loop(self, *given)
        finally:
            wall, after = time.perf_counter() - began, cpu()
            found.append((wall, after[0] - before[0], after[1] - before[1]))

    Search._loop = timed  # type: ignore[method-assign, assignment]
    try:
        yield found
    finally:
        Search._loop = loop  # type: ignore[method-assign]


def here(tables: Path) -> dict[str, Task]:
    """Return the tasks that are on this machine."""
    places = {name: tables / name if "/" in name else ROOT / "tasks" / name for name in TASKS}
    return {name: load_task(str(place)) for name, place in places.items() if place.is_dir()}


def searched(task: Task, kind: str, budget: str, cluster: Cluster | None) -> tuple[float, int, str]:
    """Return wall seconds, formulas tried and the law."""
    settings = SearchSettings(
        budget=budget, workers=int(kind[-1]), cluster=cluster, max_constants=task.card.max_constants
    )
    began = time.perf_counter()
    found = discover(task.train, settings)
    return time.perf_counter() - began, found.counts["tried"], f"{found.law.text()} {found.law.constants!r}"


def rates(tasks: Mapping[str, Task], budget: str, blocks: int) -> list[str]:
    """Return the table of all kinds on all tasks as Markdown."""
    seconds: dict[tuple[str, str], list[Measured]] = {(name, kind): [] for name in tasks for kind in KINDS}
    tried: dict[str, int] = {}
    laws: dict[str, set[str]] = {name: set() for name in tasks}
    with timed_loop() as loops:
        for block in range(blocks):
            for kind in KINDS if block % 2 else KINDS[::-1]:
                with ExitStack() as stack:
                    cluster = stack.enter_context(Cluster("dask", int(kind[-1]))) if kind.startswith("Dask") else None
                    for k, (name, task) in enumerate(tasks.items()):
                        searched(task, kind, WARM_UP if k else budget, cluster)
                        whole, tried[name], law = searched(task, kind, budget, cluster)
                        seconds[name, kind].append(Measured(whole, *loops[-1]))
                        laws[name].add(law)
                        print(f"{name} {kind}: {seconds[name, kind][-1]}", file=sys.stderr)
    same = "yes" if all(len(found) == 1 for found in laws.values()) else f"NO, {laws}"
    lines = [f"Medians over the blocks; the same law with each kind on every table: {same}.", ""]
    for what, title in (("loop", "wall seconds of the loop"), ("whole", "wall seconds of the search")):
        lines += [f"## {title.capitalize()}", "", *table(seconds, tried, what), ""]
    return [*lines, "## CPU seconds of the loop, all processes", "", *table(seconds, tried, "cpu"), ""]


def table(seconds: Mapping[tuple[str, str], Sequence[Measured]], tried: Mapping[str, int], what: str) -> list[str]:
    """Return one figure of all kinds on all tasks."""
    last = ("2 over 1 Dask workers", "2 over 1 local", "Dask 2 over local 2")
    lines = ["| task | formulas | " + " | ".join((*KINDS, *last)) + " |", "|---|" + "---|" * (len(KINDS) + 4)]
    ratios = []
    for name, n in tried.items():
        t = {kind: statistics.median(getattr(m, what) for m in seconds[name, kind]) for kind in KINDS}
        ratios.append((t["Dask 1"] / t["Dask 2"], t["local 1"] / t["local 2"], t["Dask 2"] / t["local 2"]))
        cells = [f"{t[kind]:.2f}" for kind in KINDS] + [f"{r:.2f}" for r in ratios[-1]]
        lines.append(f"| {name} | {n} | " + " | ".join(cells) + " |")
    means = [statistics.geometric_mean(column) for column in zip(*ratios, strict=True)]
    return [*lines, "| geometric mean | | | | | | " + " | ".join(f"{m:.2f}" for m in means) + " |"]


def nothing(_kept: bytes, given: bytes) -> bytes:
    """Do nothing: what a task costs."""
    return given


def formulas(tasks: Mapping[str, Task], budget: str) -> list[str]:
    """Return bytes and CPU time for each formula of the loop, as Markdown."""
    lines = ["| task | bytes to a worker | bytes back | CPU ms, judging | CPU ms, all else |", "|---|---|---|---|---|"]
    judges: list[str] = []
    plain = Judge.judge
    for name, task in tasks.items():
        searched(task, "local 1", WARM_UP, None)
        sent: list[Proposal] = []
        back: list[tuple[Candidate, int]] = []
        taken: list[float] = []

        def noted(
            self: Judge,
            proposal: Proposal,
            sent: list[Proposal] = sent,
            back: list[tuple[Candidate, int]] = back,
            taken: list[float] = taken,
        ) -> tuple[Candidate, int]:
            if not sent:
                judges.append(f"{len(pickle.dumps(self)):,}")
            began = time.process_time()
            found = plain(self, proposal)
            if not proposal.thorough:  # those are the finalists, after the loop
                taken.append(time.process_time() - began)
                sent.append(proposal)
                back.append(found)
            return found

        Judge.judge = noted  # type: ignore[method-assign]
        with timed_loop() as loops:
            searched(task, "local 1", budget, None)
        Judge.judge = plain  # type: ignore[method-assign]
        n, judging = len(sent), sum(taken)
        sizes = [sum(len(pickle.dumps(what[k : k + PART])) for k in range(0, n, PART)) / n for what in (sent, back)]
        cells = [f"{s:,.0f}" for s in sizes] + [f"{1e3 * s / n:.2f}" for s in (judging, loops[-1][1] - judging)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, "", f"The judge, sent once to each worker: {', '.join(judges)} bytes."]


def count(tasks: Mapping[str, Task], budget: str) -> list[str]:
    """Return bytes and CPU time for each formula, and CPU time for each task of Dask, as Markdown."""
    lines = formulas(tasks, budget)
    with Cluster("dask", 2) as cluster:
        kept = cluster.send(bytes, b"x" * 100_000)
        for warm in (True, False):
            before, began = cpu(), time.perf_counter()
            for _ in range(0, N_TASKS, PART):
                for future in cluster.send_each(nothing, [kept] * PART, [b"y" * 1000 * PART] * PART):
                    future.result()
            used = [*(b - a for a, b in zip(before, cpu(), strict=True)), time.perf_counter() - began]
            if not warm:
                mine, others, wall = (1e3 * s / N_TASKS for s in used)
        before, began = cpu(), time.perf_counter()
        time.sleep(5)
        idle = [100 * (b - a) / (time.perf_counter() - began) for a, b in zip(before, cpu(), strict=True)]
    task = f"CPU {mine:.2f} ms in client and scheduler, {others:.2f} ms in workers; {wall:.2f} ms of wall time"
    nobody = f"{idle[0]:.1f} % of a core in client and scheduler, {idle[1] / 2:.1f} % in each worker"
    return [*lines, f"A task that does nothing: {task}.", f"While nothing happens: {nobody}."]


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--budget", default="30000fits")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--count", action="store_true", help="bytes and CPU time instead of rates")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "cluster.md")
    given = parser.parse_args()
    tasks = here(given.tables)
    if given.count:
        print("\n".join(count(tasks, given.budget)))
        return 0
    command = f"`python bench/cluster.py --budget {given.budget} --blocks {given.blocks}`"
    title = f"# Formulas per second, Dask beside local processes\n\n{command}, {psutil.cpu_count()} cores.\n"
    text = "\n".join([title, *rates(tasks, given.budget, given.blocks)]).rstrip() + "\n"
    given.out.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
