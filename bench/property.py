"""Search 200 random tables of known origin, and count the laws that break a property which holds for every table.

    python bench/property.py [--tables 200] [--first 0] [--budget 2000fits] [--jobs 2] [--checkout DIR]

Tables are those of `tests/random_tables.py`, properties those of `tests/property_tables.py`: no pole, no prediction
that is not finite between a tenth and a hundred times the table, no "law" that misses its own rows, every estimate
inside its interval. `--checkout` has another version of sld search the same tables, for a column
"before". Results are kept per table and version in `results/property.jsonl`, so that a run that was cut off goes on;
`--again` forgets those of this checkout. Writes `property.md`. Third-party rows are not needed. About five minutes on
two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results" / "property.jsonl"
TABLES = ("random_tables.py", "property_tables.py")  # what is searched, and what is asked of it
_SHARE = 10  # tables that one process searches
_SHOWN = 3  # examples of a kind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--budget", default="2000fits")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--checkout", type=Path, help="the tree of another version, for the column 'before'")
    parser.add_argument("--again", action="store_true", help="forget earlier results of this checkout")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.tables)
    if options.child:
        child([int(seed) for seed in options.child.split(",")], options.budget)
        return
    trees = {"before": options.checkout.resolve()} if options.checkout else {}
    trees["after"] = ROOT
    results = {}
    started = time.monotonic()
    for label, tree in trees.items():
        results[label] = searched(tree, seeds, options.budget, options.jobs, again=options.again and label == "after")
    write(results, options, time.monotonic() - started)


def child(seeds: Iterable[int], budget: str) -> None:
    """Search some tables with the sld that PYTHONPATH names, and print a line of JSON for each."""
    sys.path.insert(0, str(ROOT / "tests"))
    import property_tables
    import random_tables

    for seed in seeds:
        started = time.monotonic()
        about = random_tables.draw(seed).about
        try:
            verdict, violations = property_tables.judge(seed, budget)
            found = {v.kind: v.where for v in violations}
        except Exception as error:  # noqa: BLE001  a bench of an unknown version: whatever it raises is its result
            verdict, found = "crash", {"crash": f"{type(error).__name__}: {error}"}
        line = {"seed": seed, "about": about, "verdict": verdict, "found": found}
        print(json.dumps(line | {"seconds": round(time.monotonic() - started, 2)}), flush=True)


def searched(tree: Path, seeds: Iterable[int], budget: str, jobs: int, *, again: bool) -> dict[int, dict[str, Any]]:
    """Return the results of one version by seed, those of earlier runs included."""
    version = version_of(tree)
    key = {"version": version, "budget": budget, "tables": digest(*(ROOT / "tests" / name for name in TABLES))}
    kept = [line for line in lines_of(RESULTS) if not (again and all(line[k] == v for k, v in key.items()))]
    found = {line["seed"]: line for line in kept if all(line[k] == v for k, v in key.items())}
    if again:
        RESULTS.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    left = [seed for seed in seeds if seed not in found]
    RESULTS.parent.mkdir(exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool, RESULTS.open("a", encoding="utf-8") as file:
        parts = [left[i : i + _SHARE] for i in range(0, len(left), _SHARE)]
        for lines in pool.map(lambda part: list(run(tree, part, budget)), parts):
            for line in lines:
                found[line["seed"]] = line
                file.write(json.dumps(line | key) + "\n")
            file.flush()
            print(f"{version}: {len(found)} tables", end="\r", file=sys.stderr)
    print(file=sys.stderr)
    return {seed: found[seed] for seed in seeds if seed in found}


def run(tree: Path, seeds: Sequence[int], budget: str) -> Iterator[dict[str, Any]]:
    """Yield what a process of its own says of each table; one that dies is the result of the table it died on."""
    left = list(seeds)
    while left:
        done = subprocess.run(
            [sys.executable, str(HERE / "property.py"), "--budget", budget, "--child", ",".join(map(str, left))],
            env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            cwd=tree,
        )
        for text in done.stdout.splitlines():
            line = json.loads(text)
            left.remove(line["seed"])
            yield line
        if left:
            why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            about = {"about": "", "verdict": "crash", "found": {"crash": why}, "seconds": 0.0}
            yield {"seed": left.pop(0), **about}


def version_of(tree: Path) -> str:
    """Return what tells one tree from another: its commit, and a digest of the package's files."""
    files = sorted((tree / "sld").rglob("*.py")) + sorted((tree / "sld").rglob("*.toml"))
    asked = subprocess.run(["git", "-C", str(tree), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return f"{asked.stdout.strip() or 'no git'} ({digest(*files)})"


def digest(*files: Path) -> str:
    """Return eight digits that depend on the content of some files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the results on disk; a line that was cut off does not count."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def write(results: Mapping[str, Mapping[int, dict[str, Any]]], options: argparse.Namespace, seconds: float) -> None:
    """Write the tables of counts and of examples."""
    sys.path.insert(0, str(ROOT / "tests"))
    from property_tables import KINDS, WATCHED

    command = f"python bench/property.py --tables {options.tables} --first {options.first} --budget {options.budget}"
    lines = [
        "# Random tables of known origin",
        "",
        f"`{command}{' --checkout DIR' if options.checkout else ''}`: {options.tables} tables of 30 forms and random "
        "designs (grids, isoFLOP curves, single ratios, uneven grids, repeats, groups with different rungs, failed "
        f"runs, noise that falls with scale; 5 to 150 rows), {options.budget} each. Counted are tables whose law "
        "breaks a property; `tests/property_tables.py` says what each property is.",
        "",
        f"| what | {' | '.join(results)} |",
        "|---" * (1 + len(results)) + "|",
    ]
    bad = {label: Counter(kind for r in by.values() for kind in r["found"]) for label, by in results.items()}
    for kind in (*KINDS, *WATCHED):
        name = f"{kind} (beside the bar)" if kind in WATCHED else kind
        lines.append(f"| {name} | {' | '.join(str(bad[label][kind]) for label in results)} |")
    broken = {k: sum(bool(set(r["found"]) - set(WATCHED)) for r in by.values()) for k, by in results.items()}
    counts = [f"**{broken[label]} of {len(by)}**" for label, by in results.items()]
    lines.append(f"| **tables with any of the bar** | {' | '.join(counts)} |")
    verdicts = {k: Counter(r["verdict"].split(":")[0] for r in by.values()) for k, by in results.items()}
    for verdict in ("law", "weak", "no law", "refused"):
        lines.append(f"| verdict: {verdict} | {' | '.join(str(verdicts[k][verdict]) for k in results)} |")
    lines.append(f"| seconds a table, median | {' | '.join(f'{_median(by):.1f}' for by in results.values())} |")
    for label, by in results.items():
        lines += ["", f"## Which, {label}", ""]
        for kind in (*KINDS, *WATCHED):
            hit = [r for r in by.values() if kind in r["found"]]
            lines += [f"- {kind}: tables {', '.join(str(r['seed']) for r in hit)}"] if hit else []
            lines += [f"  - {r['seed']} ({r['about']}): {_short(r['found'][kind])}" for r in hit[:_SHOWN]]
        if not any(r["found"] for r in by.values()):
            lines.append("None.")
        refused = Counter(_short(r["verdict"]) for r in by.values() if r["verdict"].startswith("refused"))
        lines += [f"- {n} {why}" for why, n in refused.most_common(5)]
    (HERE / "property.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines[5 : 5 + 3 + len(KINDS) + len(WATCHED) + 4]))
    print(f"{seconds:.0f} s; written to bench/property.md")


def _median(results: Mapping[int, dict[str, Any]]) -> float:
    times = sorted(r["seconds"] for r in results.values())
    return float(times[len(times) // 2]) if times else 0.0


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else line[:159] + "…"


if __name__ == "__main__":
    main()
