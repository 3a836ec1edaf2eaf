"""Whether a search should try the newer published laws by itself: the same searches without and with them.

    python bench/proposing.py [--part build|confirm] [--budgets 3000,10000] [--seeds 0,1]
                              [--arms none,curves,others,all,skaling] [--data DIR] [--most SECONDS]

Arms: `none`, the laws that a search tries today; `curves`, those and the newer laws of learning curves (`lc_`);
`others`, those and the newer laws of anything else; `all`, every law that the grammar can express; `skaling`, that law
alone beside those of today. A budget in fits makes a search repeatable, so other work on the machine moves nothing;
`--most` ends the measuring after so many CPU seconds, whatever is missing then. Where an arm proposes for a table just
what `none` does, the searches are the same and are not run again.

Writes bench/results/proposing.json after every table (an interrupted run goes on where it stopped) and
bench/proposing.md. Which tables are to build and which to confirm on: bench/split.md. They are third-party and not
part of the project; this bench needs them.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sld.core.errors import SldError
from sld.data.scoring import scores
from sld.data.task import Task, load_task
from sld.laws.catalogue import CatalogueLaw, load_catalogue
from sld.search.discovery import SearchSettings, discover
from sld.search.proposing import proposers

HERE = Path(__file__).resolve().parent
ARMS: Mapping[str, Callable[[CatalogueLaw], bool]] = {
    "none": lambda law: law.proposed,
    "curves": lambda law: law.proposed or law.id.startswith("lc_"),
    "others": lambda law: not law.id.startswith("lc_"),
    "all": lambda _: True,
    "skaling": lambda law: law.proposed or law.id == "skaling",
}


def tables(part: str, data: Path) -> list[Path]:
    """Return the folders of the tables of one part of the split."""
    text = (HERE / "split.md").read_text(encoding="utf-8")
    build, confirm = (re.findall(r"`(\w+)`", half.split("\n\n")[0]) for half in re.split(r"\*\*To \w+ on", text)[1:])
    if part == "confirm":
        return [data / "open2" / name for name in confirm]
    return [data / "open2" / name for name in build] + sorted(p.parent for p in (data / "open").glob("*/task.toml"))


def arm(name: str) -> None:
    """Let searches of this process try the published laws of an arm."""
    laws = tuple(replace(law, proposed=ARMS[name](law)) for law in load_catalogue())
    proposers.load_catalogue = lambda: laws  # type: ignore[attr-defined, assignment]
    proposers._published.cache_clear()


def proposed(task: Task) -> list[str]:
    """Return what the catalogue gives for a table, in order."""
    return [p.key for p in proposers.from_catalogue(task.train)]


def searched(task: Task, seed: int, fits: int) -> dict[str, Any]:
    """Search the training rows, score the law on the held-out ones."""
    rows = task.held_out()
    assert rows is not None
    settings = SearchSettings(seed=seed, budget=f"{fits}fits", workers=1, max_constants=task.card.max_constants)
    try:
        found = discover(task.train, settings)
    except SldError as error:
        return {"r2": -1.0, "law": f"none: {error}"}
    r2 = scores(rows.Y, found.law.predict(rows), rows.group_index).to_json()["r2"]
    return {"r2": r2, "law": found.chosen.text, "origin": found.chosen.origin}


def measure(args: argparse.Namespace, results: dict[str, Any], save: Callable[[], None]) -> None:
    """Run what is missing in `results`, table by table, all arms of a table one after the other."""
    for fits in args.budgets:
        for folder in tables(args.part, args.data):
            task = load_task(folder)
            if task.held_out() is None:
                continue
            entry = results.setdefault(f"{args.part}-{fits}", {}).setdefault(f"{folder.parent.name}/{folder.name}", {})
            same: list[str] | None = None
            for name in args.arms:
                arm(name)
                keys = proposed(task)
                same = keys if name == "none" else same
                for seed in args.seeds:
                    if f"{name}-{seed}" in entry:
                        continue
                    if time.process_time() > args.most:
                        return
                    again = entry[f"none-{seed}"] if name != "none" and keys == same else None
                    entry[f"{name}-{seed}"] = again or searched(task, seed, fits)
                entry[f"{name}-laws"] = len(keys)
            save()
            shown = {n: [round(_cut(entry[f"{n}-{s}"]["r2"]), 3) for s in args.seeds] for n in args.arms}
            print(f"{fits} {folder.name} {shown} {time.process_time():.0f} s", file=sys.stderr, flush=True)


def _cut(r2: float | None) -> float:
    return -1.0 if r2 is None or not math.isfinite(r2) else max(-1.0, r2)


def _means(entry: Mapping[str, Any], name: str, seeds: Sequence[int]) -> tuple[float, float] | None:
    """Return the means of `none` and an arm over the seeds that both have."""
    both = [s for s in seeds if f"none-{s}" in entry and f"{name}-{s}" in entry]
    if not both:
        return None
    none, arm_ = (statistics.fmean(_cut(entry[f"{n}-{s}"]["r2"]) for s in both) for n in ("none", name))
    return none, arm_


def summarise(results: Mapping[str, Any]) -> str:
    """Return the tables of proposing.md."""
    seeds = results["seeds"]
    lines = [
        "# Newer published laws in the search: without and with them",
        "",
        "`python bench/proposing.py`, in parts, one worker, seeds " + ", ".join(map(str, seeds)) + " as far as run.",
        "Held-out R², cut at −1: mean over tables of the mean over the seeds that `none` and the arm have; difference",
        "to `none` on these, with the standard error over tables. `curves`: and the newer laws of learning curves;",
        "`others`: and the newer laws of anything else; `all`: and both; `skaling`: that law alone, chosen after a",
        "look at these tables. An arm that proposes nothing more has 0.",
        "",
        "| part | fits | arm | seeds | tables | mean R² | difference | standard error | gain > 0.02 | lose > 0.02 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    moved: list[str] = []
    for key, entries in results.items():
        if "-" not in key:
            continue
        part, fits = key.split("-")
        for name in ARMS:
            pairs = {t: _means(e, name, seeds) for t, e in entries.items()}
            both = {t: pair for t, pair in pairs.items() if pair is not None}
            if len(both) < max(2, len(entries)):
                continue  # not run on all tables
            gains = {t: b - a for t, (a, b) in both.items()}
            mean = statistics.fmean(b for _, b in both.values())
            ran = [s for s in seeds if all(f"{name}-{s}" in e for e in entries.values())]
            row = [part, f"{int(fits):,}", name, ", ".join(map(str, ran)), str(len(both)), f"{mean:.4f}"]
            if name != "none":
                error = statistics.stdev(gains.values()) / math.sqrt(len(gains))
                up, down = (sum(sign * g > 0.02 for g in gains.values()) for sign in (1, -1))
                row += [f"{statistics.fmean(gains.values()):+.4f}", f"{error:.4f}", str(up), str(down)]
                moved += [
                    f"| {part} | {int(fits):,} | {name} | {t} | {both[t][0]:.3f} | {both[t][1]:.3f} | {g:+.3f} |"
                    for t, g in sorted(gains.items(), key=lambda item: -abs(item[1]))
                    if abs(g) > 0.005
                ]
            else:
                row += [""] * 4
            lines.append("| " + " | ".join(row) + " |")
    lines += [
        "",
        "Tables that moved by more than 0.005:",
        "",
        "| part | fits | arm | table | none | arm | difference |",
    ]
    lines += ["|---" * 7 + "|", *moved]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the arguments, measure, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("build", "confirm"), default="build")
    parser.add_argument("--budgets", default="3000,10000", type=lambda t: [int(s) for s in t.split(",")])
    parser.add_argument("--seeds", default="0,1", type=lambda t: [int(s) for s in t.split(",")])
    parser.add_argument("--arms", default=",".join(ARMS), type=lambda t: t.split(","))
    parser.add_argument("--most", default=math.inf, type=float)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    args = parser.parse_args()
    file = HERE / "results" / "proposing.json"
    file.parent.mkdir(exist_ok=True)
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    results["seeds"] = sorted({*results.get("seeds", []), *args.seeds})

    def save() -> None:
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    measure(args, results, save)
    save()
    text = summarise(results)
    (HERE / "proposing.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
