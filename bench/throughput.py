"""Candidates fitted per second on one core, beside pyoperon in the same run; growth with rows and groups; memory.

    python bench/throughput.py                      # about 2 minutes; writes throughput.md and results/throughput.json
    python bench/throughput.py --blocks 2 --dry     # a quick look, nothing written

Candidates: distinct forms that enumeration and evolution propose for a table of 1,000 rows and three scale variables,
each taken from its tree to fitted constants and error: split into linear and nonlinear constants, compiled, one start
drawn, fitted. Reading the formula's text is not counted. Two limits: 5 steps of the local optimiser, as many as
pyoperon is given, and up to 40, to convergence. pyoperon's SymbolicRegressor searches the same rows (inputs as
logarithms) with one thread; its number is the individuals evaluated, each after up to 5 steps of its own optimiser, by
CPU time, its breeding included. Blocks of both alternate and medians over the blocks are reported; sld computes in
double precision.

Growth: the time of 5 steps for the same forms by rows, and of one form from 8 starts by groups of 12 rows. Memory and
time of `discover`: a process of its own for each large table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from sld.data.splits import rung_folds  # noqa: E402
from sld.data.table import Table, table_from  # noqa: E402
from sld.fit.fitting import Fitter  # noqa: E402
from sld.search.candidates.hall_of_fame import HallOfFame  # noqa: E402
from sld.search.discovery import SearchSettings, discover  # noqa: E402
from sld.search.judging.judge import Judge  # noqa: E402
from sld.search.proposing.proposers import Source  # noqa: E402

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
N_FORMS = 300
STEPS = {"5 steps": 5, "to convergence": 40}
TOLERANCE = 1e-6  # as in the search
ROWS = (250, 1000, 5000, 20_000)
GROUPS = (1, 10, 100, 500)
WANTED_PER_S = 5000
WANTED_MB = 1500
OPERON_SECONDS = 4
SEARCHES = {"20,000 rows, 3 variables": (20_000, 1), "500 groups of 12 rows": (12, 500)}

_OPERON = """
import json, sys, time
import numpy as np
from pyoperon.sklearn import SymbolicRegressor
job = json.load(sys.stdin)
X, y = np.array(job["X"]), np.array(job["y"])
model = SymbolicRegressor(
    allowed_symbols="add,sub,mul,div,constant,variable,exp,log,pow,sqrt", optimizer_iterations=5, max_length=40,
    max_time=job["seconds"], generations=10**9, max_evaluations=10**12, population_size=1000, n_threads=1,
    random_state=job["seed"],
)
began = time.process_time()
model.fit(X, y)
json.dump(model.stats_["evaluation_count"] / (time.process_time() - began), sys.stdout)
"""


def rows_of(n: int, groups: int = 1, seed: int = 0) -> Table:
    """Return n rows in each group of a law in three scale variables (one, when there are groups), noise 0.5 %."""
    rng = np.random.default_rng(seed)
    size = n * groups
    N, D, L = (
        np.exp(rng.uniform(np.log(low), np.log(high), size)) for low, high in ((1e7, 1e10), (1e9, 1e12), (16, 4096))
    )
    noise = rng.normal(1.0, 0.005, size)
    if groups == 1:
        y = (1.69 + 406.4 * N**-0.34 + 410.7 * D**-0.28 + 0.3 * L**-0.5) * noise
        return table_from({"N": N, "D": D, "L": L, "y": y}, target="y", scale=["N", "D", "L"])
    group = np.repeat(np.arange(groups), n)
    y = (1.69 + 0.3 * np.sin(group) + (400 + 100 * np.cos(group)) * N**-0.34) * noise
    return table_from({"N": N, "y": y, "g": [f"g{k:03d}" for k in group]}, target="y", scale=["N"], group="g")


def pool(n: int = N_FORMS) -> list[str]:
    """Return texts of distinct forms that enumeration and evolution propose, judged on 200 rows to breed from."""
    table = rows_of(200)
    judge = Judge(table, rung_folds(table)[:1], seed=0, max_constants=12)
    source = Source(table, ["enumeration", "evolution"], iter(()), seed=0, max_constants=12)
    hall = HallOfFame()
    found: dict[str, None] = {}
    while len(found) < 2 * n:
        for proposal in source.batch(hall):
            candidate, _ = judge.judge(proposal)
            hall.add(candidate)
            if candidate.status == "ok":
                found[candidate.text] = None
    return list(found)[: 2 * n : 2]


def seconds_of(texts: list[str], table: Table, steps: int, tolerance: float = TOLERANCE) -> float:
    """Return the CPU seconds that compiling and fitting the forms takes, one start each."""
    rng = np.random.default_rng(0)
    total = 0.0
    for text in texts:
        expression = table.parse(text)
        began = time.thread_time()
        fitter = Fitter(expression, table)
        fitter.solve(fitter.starts(1, rng), max_iterations=steps, tolerance=tolerance, refit_bounds=False)
        total += time.thread_time() - began
    return total


def throughput(blocks: int) -> dict[str, Any]:
    """Return candidates per second of sld by steps, and individuals per second of pyoperon."""
    table, texts = rows_of(1000), pool()
    job = {"X": np.log(table.X).tolist(), "y": table.Y[:, 0].tolist(), "seconds": OPERON_SECONDS}
    rates: dict[str, list[float]] = {name: [] for name in (*STEPS, "pyoperon")}
    for steps in STEPS.values():
        seconds_of(texts, table, steps)  # compile, load, warm up
    for block in range(blocks):
        for name, steps in STEPS.items():
            rates[name].append(len(texts) / float(np.median([seconds_of(texts, table, steps) for _ in range(5)])))
        child = subprocess.run(
            [sys.executable, "-c", _OPERON], input=json.dumps(job | {"seed": block}), capture_output=True, text=True
        )
        if child.returncode == 0:
            rates["pyoperon"].append(float(json.loads(child.stdout)))
    return {
        "forms": len(texts),
        "per_s": {name: float(np.median(r)) for name, r in rates.items() if r},
        "blocks": rates,
    }


def stages(repeats: int = 5) -> dict[str, float]:
    """Return microseconds per candidate by stage, 5 steps."""
    table, texts = rows_of(1000), pool()
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {"compile": [], "draw one start": [], "fit, 5 steps": []}
    for _ in range(repeats):
        took = np.zeros(3)
        for text in texts:
            expression = table.parse(text)
            times = [time.thread_time()]
            fitter = Fitter(expression, table)
            times.append(time.thread_time())
            start = fitter.starts(1, rng)
            times.append(time.thread_time())
            fitter.solve(start, max_iterations=5, tolerance=TOLERANCE, refit_bounds=False)
            times.append(time.thread_time())
            took += np.diff(times)
        for name, seconds in zip(found, took, strict=True):
            found[name].append(float(seconds) / len(texts) * 1e6)
    return {name: float(np.median(many)) for name, many in found.items()}


def growth() -> dict[str, dict[str, float]]:
    """Return microseconds per candidate by rows and by groups; tolerance 0, so that each takes its 5 steps."""
    texts = pool(60)
    by_rows: dict[str, float] = {}
    by_groups: dict[str, float] = {}
    tied: dict[str, float] = {}
    for n in ROWS:
        table = rows_of(n)
        seconds_of(texts, table, 5, 0.0)
        by_rows[str(n)] = float(np.median([seconds_of(texts, table, 5, 0.0) for _ in range(5)])) / len(texts) * 1e6
    for groups in GROUPS:
        table = rows_of(12, groups)
        form = table.parse("E + A*N**-a")
        for found, shared in ((by_groups, ()), (tied, ("a",))):
            times = []
            for _ in range(9):
                began = time.thread_time()
                fitter = Fitter(form, table, shared=shared)
                start = fitter.starts(8, np.random.default_rng(0))
                fitter.solve(start, max_iterations=5, tolerance=0.0, refit_bounds=False)
                times.append(time.thread_time() - began)
            found[str(groups)] = float(np.median(times)) * 1e6
    return {"rows": by_rows, "groups": by_groups, "groups, one exponent shared": tied}


def search(name: str, budget: int) -> dict[str, Any]:
    """Search a large table in this process; return what it took (run in a process of its own)."""
    table = rows_of(*SEARCHES[name])
    discover(rows_of(50), SearchSettings(budget="200fits", workers=1))  # compile before the clock starts
    began = time.monotonic()
    found = discover(table, SearchSettings(budget=f"{budget}s", workers=1))
    return {
        "seconds": time.monotonic() - began,
        "tried": found.counts["tried"],
        "law": found.chosen.text,
        "note": "; ".join(n for n in found.notes if "search used" in n),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # kB on Linux
    }


def child(*arguments: str) -> Any:
    """Run this file in a process with one thread and return what it prints."""
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def machine() -> dict[str, object]:
    """Return what the numbers were measured on, in general words."""
    from importlib.metadata import PackageNotFoundError, version

    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "absent"

    model = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        model = next((s.split(":", 1)[1].strip() for s in info.read_text().splitlines() if "model name" in s), "")
    packages = {p: of(p) for p in ("numpy", "llvmlite", "pyoperon")}
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **packages,
    }


def exponent(by_size: dict[str, float]) -> float:
    """Return the power of size with which the time grows over its upper half, where fixed costs are small."""
    sizes = np.log([float(k) for k in by_size][-2:])
    times = np.log(list(by_size.values())[-2:])
    return float((times[1] - times[0]) / (sizes[1] - sizes[0]))


def bars(result: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Return (bar, wanted, measured, met)."""
    rates = result["throughput"]["per_s"]
    out = [
        (
            "candidates per second, 5 steps",
            f"≥ {WANTED_PER_S:,}",
            f"{rates['5 steps']:,.0f}",
            rates["5 steps"] >= WANTED_PER_S,
        )
    ]
    if "pyoperon" in rates:
        ratio = rates["5 steps"] / rates["pyoperon"]
        out.append(("against pyoperon, 5 steps each", "> 1 ×", f"{ratio:.2f} ×", ratio > 1))
    for name, by_size in result["growth_us"].items():
        power = exponent(by_size)
        out.append((f"growth with {name}", "at most linear (power ≤ 1.1)", f"{power:.2f}", power <= 1.1))
    for name, found in result["searches"].items():
        took, limit = found["seconds"], result["budget_s"] + 5
        out.append((f"discover, {name}", f"≤ {limit} s", f"{took:.1f} s", took <= limit))
        out.append(
            (f"memory, {name}", f"≤ {WANTED_MB:,} MB", f"{found['peak_mb']:,.0f} MB", found["peak_mb"] <= WANTED_MB)
        )
    return out


def report(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    where = ", ".join(f"{k} {v}" if k != "cpu" else str(v) for k, v in result["machine"].items())
    rates = result["throughput"]["per_s"]
    lines = [
        "# Candidates per second",
        "",
        f"`{result['command']}` · one thread · {where}.",
        f"{result['throughput']['forms']} distinct forms of enumeration and evolution, 1,000 rows, 3 variables, one",
        "start each, from the tree to constants and error in double precision. CPU time, since other programs may use",
        "the same cores, and medians over blocks that alternate with pyoperon's, whose number is the individuals",
        "evaluated.",
        "",
        "| | candidates per second |",
        "|---|---|",
        *(f"| {name if name == 'pyoperon' else 'sld, ' + name} | {rate:,.0f} |" for name, rate in rates.items()),
        "",
        "| stage | µs per candidate |",
        "|---|---|",
        *(f"| {name} | {value:,.0f} |" for name, value in result["stages_us"].items()),
    ]
    for name, by_size in result["growth_us"].items():
        what = name.split(",")[0]
        lines += [
            "",
            f"Growth with {name}, 5 steps:",
            "",
            f"| {what} | µs per candidate | µs per 1,000 {what} |",
            "|---|---|---|",
        ]
        lines += [f"| {int(k):,} | {v:,.0f} | {1000 * v / float(k):,.0f} |" for k, v in by_size.items()]
    lines += [
        "",
        f"Searches of {result['budget_s']} s with one worker:",
        "",
        "| table | seconds | tried | peak memory | note |",
        "|---|---|---|---|---|",
    ]
    for name, found in result["searches"].items():
        lines.append(
            f"| {name} | {found['seconds']:.1f} | {found['tried']:,} | {found['peak_mb']:,.0f} MB | {found['note']} |"
        )
    lines += ["", "## Bars", "", "| bar | wanted | measured | |", "|---|---|---|---|"]
    lines += [f"| {name} | {want} | {got} | {'met' if ok else 'missed'} |" for name, want, got, ok in bars(result)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure in child processes, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--budget", type=int, default=10, help="seconds of each search of a large table")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        job, *name = options.child
        jobs = {"throughput": lambda: throughput(options.blocks), "stages": stages, "growth": growth}
        print(json.dumps(search(name[0], options.budget) if job == "search" else jobs[job]()))
        return
    result: dict[str, Any] = {
        "command": "python bench/throughput.py" + ("" if options.blocks == 7 else f" --blocks {options.blocks}"),
        "machine": machine(),
        "budget_s": options.budget,
        "throughput": child("--blocks", str(options.blocks), "--child", "throughput"),
        "stages_us": child("--child", "stages"),
        "growth_us": child("--child", "growth"),
        "searches": {name: child("--budget", str(options.budget), "--child", "search", name) for name in SEARCHES},
    }
    text = report(result)
    print(text)
    if not options.dry:
        (ROOT / "bench" / "results").mkdir(exist_ok=True)
        (ROOT / "bench" / "results" / "throughput.json").write_text(
            json.dumps(result, indent=1) + "\n", encoding="utf-8"
        )
        (ROOT / "bench" / "throughput.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
