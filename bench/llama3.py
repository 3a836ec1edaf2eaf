"""The isoFLOP runs of Llama 3: fit to budgets up to 1e20 FLOPs, asked at 6e20 and above, with growing searches.

    python bench/llama3.py [--budgets 2000,20000,60000] [--seeds 0,1,2,3] [--checkout DIR] [--monotone] [--jobs 1]

More search must not be worse: held-out R² at least 0.75 at every budget and seed, and the 90 % intervals hold 70 % of
the rows or more. `--checkout` searches with another version as well, for the rows "before"; `--monotone` declares that
loss falls with both variables. Results are kept in `results/llama3.json` by version, so a run that was cut off goes on.
Writes `llama3.md`. Figures are those of Dubey et al. (2024), read off by others; the rows are third-party and no part
of the project, so without `../shared/cases` nothing is run. About a quarter of an hour for each version on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ROWS = ROOT.parent / "shared" / "cases" / "llama3_isoflops.csv"
RESULTS = HERE / "results" / "llama3.json"
FITTED, ASKED = 1e20, 6e20  # FLOPs: up to here, and from here on
_R2, _COVERED = 0.75, 0.70
_FORM = "E + A*params**-a + B*tokens**-b"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", default="2000,20000,60000", help="numbers of fits")
    parser.add_argument("--seeds", default="0,1,2,3")
    parser.add_argument("--checkout", type=Path, help="the tree of another version, for the rows 'before'")
    parser.add_argument("--monotone", action="store_true", help="declare that loss falls with both variables")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(one(**json.loads(options.child))))
        return
    if not ROWS.exists():
        print(f"{ROWS} is not here: its rows are third-party and no part of the project; nothing was run")
        return
    trees = {"before": options.checkout.resolve()} if options.checkout else {}
    trees["after"] = ROOT
    results = {label: searched(tree, options) for label, tree in trees.items()}
    write(results, options)


def one(budget: int, seed: int, monotone: bool) -> dict[str, Any]:
    """Search once with the sld that PYTHONPATH names; budget 0 fits the Chinchilla form instead."""
    import numpy as np
    import pandas as pd

    import sld

    frame = pd.read_csv(ROWS)
    train, held = frame[frame.budget <= FITTED], frame[frame.budget >= ASKED]
    roles: dict[str, Any] = {"target": "loss", "scale": ["params", "tokens"]}
    if monotone:
        roles["monotone"] = {"params": "decreasing", "tokens": "decreasing"}
    started = time.monotonic()
    names = ["params", "tokens"]
    if not budget:
        law: Any = sld.fit(train[[*names, "loss"]], _FORM, **roles)
        form, verdict, notes = _FORM, "", []
    else:
        found = sld.discover(train[[*names, "loss"]], seed=seed, budget=f"{budget}fits", workers=1, **roles)
        law, form, verdict, notes = found.law, found.chosen.text, found.verdict.kind, list(found.notes)
    told = sld.predict(law, held[names])
    y = held.loss.to_numpy()
    value = np.asarray(told["loss"])
    r2 = 1 - float(((y - value) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    low, high = told.get("loss_low"), told.get("loss_high")
    covered = None if low is None or high is None else float(np.mean((low <= y) & (y <= high)))
    width = None if low is None or high is None else float(np.median((high - low) / value))
    sizes = np.geomspace(1e8, 1e13, 2001)
    at = np.asarray(sld.predict(law, {"params": sizes, "tokens": 1e24 / 6 / sizes})["loss"])
    best = float(sizes[int(np.nanargmin(at))])
    return {
        "r2": r2, "covered": covered, "width": width, "best_size": best, "form": form, "verdict": verdict,
        "notes": notes, "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip


def searched(tree: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the results of one version by "budget seed", those of earlier runs included."""
    from property import version_of

    key = f"{version_of(tree)}{' monotone' if options.monotone else ''}"
    wanted = [(0, 0), *((int(b), int(s)) for b in options.budgets.split(",") for s in options.seeds.split(","))]
    stored: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    kept: dict[str, dict[str, Any]] = stored.setdefault(key, {})
    RESULTS.parent.mkdir(exist_ok=True)

    def run(budget: int, seed: int) -> tuple[str, dict[str, Any]]:
        asked = json.dumps({"budget": budget, "seed": seed, "monotone": options.monotone})
        done = subprocess.run(
            [sys.executable, str(HERE / "llama3.py"), "--child", asked],
            env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            cwd=tree,
        )
        if done.returncode:
            raise SystemExit(f"{key}, {budget} fits, seed {seed}: {done.stderr.strip().splitlines()[-1]}")
        return f"{budget} {seed}", json.loads(done.stdout)

    left = [(b, s) for b, s in wanted if f"{b} {s}" not in kept]
    with ThreadPoolExecutor(options.jobs) as pool:
        for name, result in pool.map(lambda w: run(*w), left):
            kept[name] = result
            RESULTS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
            covered = "" if result["covered"] is None else f", {100 * result['covered']:.0f} % covered"
            said = f"{name} (fits, seed): R² {result['r2']:.3f}{covered}; {result['form']}"
            print(f"{key}, {said} ({result['seconds']:.0f} s)", file=sys.stderr)
    return {f"{b} {s}": kept[f"{b} {s}"] for b, s in wanted}


def write(results: Mapping[str, Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Write the table."""
    budgets, seeds = options.budgets.split(","), options.seeds.split(",")
    more = f"{' --checkout DIR' if options.checkout else ''}{' --monotone' if options.monotone else ''}"
    lines = [
        "# Llama 3's isoFLOP runs, extrapolated",
        "",
        f"`python bench/llama3.py --budgets {options.budgets} --seeds {options.seeds}{more}`: fitted to budgets up to "
        f"{FITTED:.0e} FLOPs, asked at {ASKED:.0e} and above. Wanted: R² of at least {_R2} and coverage of the 90 % "
        f"interval of at least {100 * _COVERED:.0f} %, at every budget and seed. Widths are those of the intervals; "
        "the size is the compute-optimal one at 1e24 FLOPs that the law gives. Figures of Dubey et al. (2024).",
        "",
        "| version | fits | held-out R² by seed | covered by seed | median width | size at 1e24 | wanted |",
        "|---" * 7 + "|",
    ]
    for label, by in results.items():
        for budget in budgets:
            runs = [by[f"{budget} {seed}"] for seed in seeds]
            lines.append(f"| {label} | {int(budget):,} | {_row(runs)} |")
        form = by["0 0"]
        lines.append(f"| {label} | Chinchilla form | {form['r2']:.3f} |  |  | {form['best_size']:.2g} |  |")
    for label, by in results.items():
        lines += ["", f"Forms, {label}:", ""]
        for name, run in by.items():
            if not name.startswith("0 "):
                budget, seed = name.split()
                lines.append(f"- {int(budget):,} fits, seed {seed}: `{run['form']}` ({run['verdict']})")
    HERE.joinpath("llama3-monotone.md" if options.monotone else "llama3.md").write_text(
        "\n".join(lines) + "\n", "utf-8"
    )
    print("\n".join(line for line in lines if line.startswith("|")))


def _row(runs: list[dict[str, Any]]) -> str:
    good = all(r["r2"] >= _R2 and (r["covered"] or 0.0) >= _COVERED for r in runs)
    cells = [
        ", ".join(f"{r['r2']:.3f}" for r in runs),
        ", ".join("-" if r["covered"] is None else f"{100 * r['covered']:.0f} %" for r in runs),
        f"{100 * statistics.median(list(_widths(runs)) or [0.0]):.1f} %",
        ", ".join(f"{r['best_size']:.2g}" for r in runs),
        "yes" if good else "no",
    ]
    return " | ".join(cells)


def _widths(runs: list[dict[str, Any]]) -> Iterator[float]:
    yield from (r["width"] for r in runs if r["width"] is not None)


if __name__ == "__main__":
    main()
