"""Fits per second on one core, beside scipy's least_squares on the same problems in the same run.

    python bench/fitting.py                      # about 5 minutes; writes fitting.md and results/fitting.json here
    python bench/fitting.py --repeats 3 --dry    # a quick look, nothing written

Three problems: (a) one table of 200 rows, 5 constants; (b) 8 groups of 25 rows, each with its own 5 constants;
(c) 3,000 rows and 12 constants, and the same with 300 rows. scipy gets hand-written numpy derivatives and is run twice:
on the formula as it is written (constants in natural units) and scaled as a careful user would (inputs centred on the
log axis, so that all constants are of order one). Every method runs to its own default tolerance, scipy for at most
100 evaluations, so that starts that wander off do not decide its time. A start has reached the optimum when its sum of
squares is within 1e-6 of the best that any method found. Blocks of each method alternate, and medians over the blocks
are reported, in CPU time of one thread.
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
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from sld.data.table import Table, table_from  # noqa: E402
from sld.fit.fitting import Fitter  # noqa: E402

Array = NDArray[np.float64]
REACHED = 1e-6
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Problem:
    """A form and rows drawn from it.

    Attributes:
        n_starts: Starting points per group for sld; scipy gets `n_scipy` of its own.
        model: Values and derivatives of the form over logarithmic inputs, for (constants, inputs).
        draw: One start for all constants of the form over centred inputs, given the size of the target.
    """

    name: str
    text: str
    table: Table
    n_starts: int
    n_scipy: int
    model: Callable[[Array, Array], tuple[Array, Array]]
    draw: Callable[[np.random.Generator, float], Array]


def chinchilla(c: Array, x: Array) -> tuple[Array, Array]:
    """Return values (n,) and derivatives (n, 5) of E + A*exp(-a*x0) + B*exp(-b*x1); inputs x (2, n) are logarithms."""
    e, f = np.exp(-c[2] * x[0]), np.exp(-c[4] * x[1])
    u, v = c[1] * e, c[3] * f
    return c[0] + u + v, np.stack([np.ones_like(e), e, -u * x[0], f, -v * x[1]], axis=1)


def schedule(c: Array, x: Array) -> tuple[Array, Array]:
    """Return values (n,) and derivatives (n, 12) of the form with two valleys; x (4, n): log N, D, lr, bsz."""
    e, f = np.exp(-c[2] * x[0]), np.exp(-c[4] * x[1])
    u, v = c[1] * e, c[3] * f
    p = x[2] - c[6] + c[7] * x[0] + c[8] * x[1]
    q = x[3] - c[10] - c[11] * x[1]
    dp, dq = 2 * c[5] * p, 2 * c[9] * q
    one = np.ones_like(e)
    columns = [one, e, -u * x[0], f, -v * x[1], p * p, -dp, dp * x[0], dp * x[1], q * q, -dq, -dq * x[1]]
    return c[0] + u + v + c[5] * p * p + c[9] * q * q, np.stack(columns, axis=1)


SCHEDULE = "E + A*N**-a + B*D**-b + k1*(log(lr) - c1 + g1*log(N) + h1*log(D))**2 + k2*(log(bsz) - c2 - g2*log(D))**2"


def draw_chinchilla(rng: np.random.Generator, size: float) -> Array:
    """Return a start for the centred form."""
    a, b = np.exp(rng.uniform(np.log(0.05), np.log(1.5), 2))
    E, A, B = size * np.exp(rng.uniform(np.log(0.1), np.log(2.0), 3))
    return np.array([E, A, a, B, b])


def draw_schedule(rng: np.random.Generator, size: float) -> Array:
    """Return a start for the centred form."""
    k = 0.05 * size * np.exp(rng.uniform(np.log(0.1), np.log(10.0), 2))
    c1, g1, h1, c2, g2 = rng.normal(0.0, 0.5, 5)
    return np.concatenate([draw_chinchilla(rng, size), [k[0], c1, g1, h1, k[1], c2, g2]])


def problems() -> dict[str, Problem]:
    """Return the problems; constants of the power laws after Hoffmann et al. (2022), noise 0.5 %."""
    rng = np.random.default_rng(20261122)

    def log_uniform(low: float, high: float, n: int) -> Array:
        return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), n)))

    out = {}
    N, D = log_uniform(1e7, 1e10, 200), log_uniform(1e9, 1e12, 200)
    y = (1.69 + 406.4 * N**-0.34 + 410.7 * D**-0.28) * rng.normal(1.0, 0.005, 200)
    text = "E + A*N**-a + B*D**-b"
    table = table_from({"N": N, "D": D, "y": y}, target="y", scale=["N", "D"])
    out["a"] = Problem("(a) 5 constants, 200 rows, 32 starts", text, table, 32, 32, chinchilla, draw_chinchilla)

    group = np.repeat(np.arange(8), 25)
    N, D = np.tile(np.repeat(np.geomspace(1e7, 1e10, 5), 5), 8), np.tile(np.geomspace(1e9, 1e12, 5), 40)
    E, A, B = 1.69 + 0.1 * group, 406.4 * (1 + 0.1 * group), 410.7 * (1 - 0.05 * group)
    y = (E + A * N ** -(0.3 + 0.01 * group) + B * D ** -(0.3 - 0.01 * group)) * rng.normal(1.0, 0.002, 200)
    data = {"N": N, "D": D, "y": y, "group": [f"g{k}" for k in group]}
    table = table_from(data, target="y", scale=["N", "D"], group="group")
    out["b"] = Problem(
        "(b) 8 groups × 25 rows, 5 constants each, 32 starts", text, table, 32, 8, chinchilla, draw_chinchilla
    )

    for key, n in (("c", 3000), ("c300", 300)):
        N, D, lr, bsz = (log_uniform(*r, n) for r in ((1e7, 1e10), (1e9, 1e12), (1e-4, 1e-2), (3e4, 3e6)))
        valley = 0.02 * (np.log(lr) - 2.0 + 0.3 * np.log(N) + 0.1 * np.log(D)) ** 2
        valley += 0.01 * (np.log(bsz) - 1.0 - 0.45 * np.log(D)) ** 2
        y = (1.69 + 406.4 * N**-0.34 + 410.7 * D**-0.28 + valley) * rng.normal(1.0, 0.005, n)
        data = {"N": N, "D": D, "lr": lr, "bsz": bsz, "y": y}
        table = table_from(data, target="y", scale=["N", "D"], hyper=["lr", "bsz"])
        out[key] = Problem(f"(c) 12 constants, {n:,} rows, 32 starts", SCHEDULE, table, 32, 8, schedule, draw_schedule)
    return out


@dataclass(frozen=True)
class Outcome:
    """Sums of squares reached, (n_groups, n_starts), and the CPU seconds it took."""

    sums: Array
    seconds: float


def run_sld(problem: Problem, seed: int) -> Outcome:
    """Fit with sld, the formula's compilation and the drawing of starts included."""
    began = time.thread_time()
    fitter = Fitter(problem.table.parse(problem.text), problem.table)
    starts = fitter.starts(problem.n_starts, np.random.default_rng(seed))
    solution = fitter.solve(starts)
    seconds = time.thread_time() - began
    # the fitter reports how many starts came within 1e-6 of its best; the others count as infinitely bad
    reached = np.arange(problem.n_starts)[None, :] < solution.at_best[:, None]
    return Outcome(np.where(reached, solution.sums[:, None], np.inf), seconds)


def run_scipy(problem: Problem, seed: int, method: str, scaled: bool) -> Outcome:
    """Fit with scipy: as written, inputs are logarithms as they are; scaled, they are centred."""
    rng = np.random.default_rng(seed)
    table = problem.table
    sums = np.full((len(table.groups), problem.n_scipy), np.inf)
    seconds = 0.0
    for g in range(len(table.groups)):
        rows = table.group_index == g
        x, y = np.log(table.X[rows]).T.copy(), table.Y[rows, 0]
        centre = x.mean(axis=1, keepdims=True)
        size = float(np.median(np.abs(y)))
        begins = [problem.draw(rng, size) for _ in range(problem.n_scipy)]
        if scaled:
            x = x - centre
        else:
            begins = [natural(b, centre[:, 0]) for b in begins]
        began = time.thread_time()
        for i, begin in enumerate(begins):
            sums[g, i] = sum_reached(problem, begin, x, y, method)
        seconds += time.thread_time() - began
    return Outcome(sums, seconds)


def natural(c: Array, centre: Array) -> Array:
    """Return the constants of the uncentred form that stand for the same curve."""
    out = c.copy()
    out[1] *= np.exp(c[2] * centre[0])
    out[3] *= np.exp(c[4] * centre[1])
    if len(c) == 12:
        out[6] += centre[2] + c[7] * centre[0] + c[8] * centre[1]
        out[10] += centre[3] - c[11] * centre[1]
    return out


def sum_reached(problem: Problem, begin: Array, x: Array, y: Array, method: str) -> float:
    """Return the sum of squares that scipy reaches from one start; inf where it gives up."""
    from scipy.optimize import least_squares

    memo: list[tuple[Array, Array, Array]] = []

    def at(c: Array) -> tuple[Array, Array, Array]:
        # one evaluation for value and derivatives at the same point
        if not memo or not np.array_equal(memo[0][0], c):
            memo[:] = [(c.copy(), *problem.model(c, x))]
        return memo[0]

    with np.errstate(all="ignore"):
        try:
            found = least_squares(lambda c: at(c)[1] - y, begin, jac=lambda c: at(c)[2], method=method, max_nfev=100)
        except (ValueError, np.linalg.LinAlgError):  # residuals that are not finite
            return float("inf")
    return 2.0 * float(found.cost)


METHODS: dict[str, Callable[[Problem, int], Outcome]] = {
    "sld": run_sld,
    "scipy lm, scaled": lambda p, seed: run_scipy(p, seed, "lm", True),
    "scipy lm, as written": lambda p, seed: run_scipy(p, seed, "lm", False),
    "scipy trf, scaled": lambda p, seed: run_scipy(p, seed, "trf", True),
    "scipy trf, as written": lambda p, seed: run_scipy(p, seed, "trf", False),
}


def measure(repeats: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return problem -> method -> numbers."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for key, problem in problems().items():
        for method in METHODS.values():
            method(problem, 0)  # compile, load, warm up
        outcomes: dict[str, list[Outcome]] = {m: [] for m in METHODS}
        for seed in range(repeats):
            for m, method in METHODS.items():
                outcomes[m].append(method(problem, seed))
        best = np.min([o.sums.min(axis=1) for many in outcomes.values() for o in many], axis=0)
        found[key] = {
            m: {
                "fits_per_s": float(np.median([o.sums.size / o.seconds for o in many])),
                "reached": float(np.mean([o.sums <= best[:, None] * (1 + REACHED) for o in many])),
            }
            for m, many in outcomes.items()
        }
        for m in METHODS:
            pairs = zip(outcomes[m], outcomes["sld"], strict=True)
            ratios = [(s.seconds / s.sums.size) / (o.seconds / o.sums.size) for s, o in pairs]
            found[key][m]["sld_is_faster_by"] = float(np.median(ratios))
    return found


def overheads(repeats: int = 200) -> dict[str, float]:
    """Return microseconds per new formula before its first fit, on problem (a) and on 42 groups."""
    problem = problems()["a"]
    expression = problem.table.parse(problem.text)
    rng = np.random.default_rng(0)

    def micro(job: Callable[[], object], n: int = repeats) -> float:
        job()
        times = []
        for _ in range(5):
            began = time.thread_time()
            for _ in range(n):
                job()
            times.append((time.thread_time() - began) / n)
        return float(np.median(times)) * 1e6

    fitter = Fitter(expression, problem.table)
    group = np.repeat(np.arange(42), 12)
    N = np.tile(np.geomspace(1e7, 1e10, 12), 42)
    y = 1.69 + 0.05 * group + (400 + 10 * group) * N**-0.3 * rng.normal(1, 0.01, len(N))
    data = {"N": N, "y": y, "group": [f"g{k}" for k in group]}
    grouped = table_from(data, target="y", scale=["N"], group="group")
    many = Fitter(grouped.parse("E + A*N**-a"), grouped)
    starts = many.starts(8, rng)
    return {
        "compile": micro(lambda: Fitter(expression, problem.table)),
        "draw 32 starts": micro(lambda: fitter.starts(32, rng)),
        "42 groups x 8 starts, one solve": micro(lambda: many.solve(starts), 40),
    }


def memory(problem_key: str, method: str) -> float:
    """Return by how many MB one run raises this process's peak memory (run in a process of its own)."""
    problem = problems()[problem_key]
    rows = np.arange(200)
    small = replace(problem, table=problem.table.take(rows[rows % 25 < 8]), n_starts=1, n_scipy=1)
    METHODS[method](small, 0)  # what is loaded and compiled once does not count
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    METHODS[method](problem, 0)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024  # kB on Linux


def child(*arguments: str) -> str:
    """Run this file in a process with one thread and return what it prints."""
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def machine() -> dict[str, object]:
    """Return what the numbers were measured on, in general words."""
    from importlib.metadata import version

    model = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        model = next((s.split(":", 1)[1].strip() for s in info.read_text().splitlines() if "model name" in s), "")
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{p: version(p) for p in ("numpy", "scipy", "llvmlite")},
    }


def report(result: dict[str, object]) -> str:
    """Return the results as Markdown."""
    found = result["problems"]
    assert isinstance(found, dict)
    names = {k: p.name for k, p in problems().items()}
    where = ", ".join(f"{k} {v}" if k != "cpu" else str(v) for k, v in result["machine"].items())  # type: ignore[attr-defined]
    lines = [
        "# Fits per second",
        "",
        f"`{result['command']}` · one thread · {where}.",
        'Medians over blocks that alternate between the methods; "faster" is the median ratio of CPU times per fit of',
        "the method and sld within a block. sld's time includes compiling the formula and drawing the starts. Reached:",
        "share of starts within 1e-6 of the best sum of squares that any method found. Memory: what one run adds.",
    ]
    for key, methods in found.items():
        lines += [
            "",
            f"## {names[key]}",
            "",
            "| method | fits/s | sld is faster by | reached the optimum | memory |",
        ]
        lines.append("|---|---|---|---|---|")
        for m, row in methods.items():
            ratio = "" if m == "sld" else f"{row['sld_is_faster_by']:.1f} ×"
            mb = f"{row['peak_mb']:.1f} MB" if "peak_mb" in row else ""
            lines.append(f"| {m} | {row['fits_per_s']:,.0f} | {ratio} | {100 * row['reached']:.1f} % | {mb} |")
    lines += ["", "## Bars", "", "| bar | wanted | measured | |", "|---|---|---|---|"]
    lines += [f"| {name} | {want} | {got} | {'met' if ok else 'missed'} |" for name, want, got, ok in bars(found)]
    lines += ["", "## Overheads of one formula", "", "| step | µs |", "|---|---|"]
    micro = result["overheads_us"]
    assert isinstance(micro, dict)
    lines += [f"| {name} | {value:,.0f} |" for name, value in micro.items()]
    return "\n".join(lines) + "\n"


def bars(found: dict[str, dict[str, dict[str, float]]]) -> list[tuple[str, str, str, bool]]:
    """Return (bar, wanted, measured, met)."""
    lm = min(found["a"][m]["sld_is_faster_by"] for m in METHODS if "lm" in m)
    reached = min(found[k]["sld"]["reached"] for k in ("a", "b"))
    growth = found["c300"]["sld"]["fits_per_s"] / found["c"]["sld"]["fits_per_s"] / 10
    return [
        ("(a) against the faster scipy lm", "≥ 10 ×", f"{lm:.1f} ×", lm >= 10),
        ("starts that reach the optimum, (a) and (b)", "≥ 99 %", f"{100 * reached:.1f} %", reached >= 0.99),
        ("(c) 300 → 3,000 rows, against linear growth", "≤ 3 ×", f"{growth:.2f} ×", growth <= 3),
    ]


def main() -> None:
    """Measure in a child process, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--dry", action="store_true", help="write nothing")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        if options.child[0] == "measure":
            print(json.dumps({"problems": measure(options.repeats), "overheads_us": overheads()}))
        else:
            print(memory(options.child[1], options.child[2]))
        return
    measured = json.loads(child("--repeats", str(options.repeats), "--child", "measure"))
    for key, methods in measured["problems"].items():
        for method, row in methods.items():
            row["peak_mb"] = float(child("--child", "memory", key, method))
    command = "python bench/fitting.py" + ("" if options.repeats == 9 else f" --repeats {options.repeats}")
    result = {"command": command, "machine": machine(), **measured}
    text = report(result)
    print(text)
    if not options.dry:
        (ROOT / "bench" / "results").mkdir(exist_ok=True)
        (ROOT / "bench" / "results" / "fitting.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        (ROOT / "bench" / "fitting.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
