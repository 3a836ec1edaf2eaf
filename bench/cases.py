"""Small real tables that went wrong, searched by two versions: what each makes of them, and whether that is right.

    python bench/cases.py [--sld DIR] [--before DIR] [--only NAME,NAME] [--budget 3000fits] [--jobs 1]

Runs the commands of `../shared/cases/README.md` with the `sld` of a checkout (`--sld`, this one if not given), and with
that of another one for the column "before". Every cell is made from what the commands wrote: exit codes, lines on the
terminal, law.json, predictions; a check of `case_list.py` says "ok" or "not ok" from the same output. Results are kept
in `results/cases.json` by version, so a run that was cut off goes on (`--again` forgets them). Writes `cases.md`. The
tables are third-party rows and no part of the project: without the folder nothing is run. A few minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import case_list  # noqa: F401  its cases enter themselves
from case_runs import CASES, HERE, LIST, ROOT, Case, Outcome, Trial, short

RESULTS = HERE / "results" / "cases.json"
_MOST = 260  # characters of a cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sld", type=Path, default=ROOT, help="checkout whose sld is tried (this one)")
    parser.add_argument("--before", type=Path, help="another checkout, for the column 'before'")
    parser.add_argument("--only", default="", help="cases whose names contain one of these words")
    parser.add_argument("--budget", default="3000fits")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="forget earlier results of --sld")
    options = parser.parse_args()
    if not CASES.is_dir():
        print(f"{CASES} is not here: its tables are third-party rows and no part of the project; nothing was run")
        return
    words = [word for word in options.only.split(",") if word]
    chosen = [c for c in LIST if not words or any(w in c.name for w in words)]
    results: dict[str, dict[str, dict[str, Any]]] = {}
    if options.before:
        results["before"] = tried(options.before.resolve(), chosen, options.budget, options.jobs, again=False)
    results["after"] = tried(options.sld.resolve(), chosen, options.budget, options.jobs, again=options.again)
    write(results, chosen, options)


def tried(tree: Path, chosen: Sequence[Case], budget: str, jobs: int, *, again: bool) -> dict[str, dict[str, Any]]:
    """Return the outcome of each case with the sld of one tree, those of earlier runs included."""
    from property import digest, version_of

    stored: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    checks = digest(*(HERE / f"{name}.py" for name in ("cases", "case_list", "case_runs")))
    stored = {k: v for k, v in stored.items() if k.endswith(checks)}  # other checks gave the others
    key = f"{version_of(tree)} {budget} {checks}"
    if again:
        stored.pop(key, None)
    kept: dict[str, dict[str, Any]] = stored.setdefault(key, {})

    def one(item: Case) -> tuple[str, dict[str, Any]]:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as place:
            trial = Trial(tree, Path(place), budget)
            try:
                outcome = item.judge(trial)
            except Exception as error:  # noqa: BLE001  a version without what the check asks for
                outcome = Outcome(False, f"the check found no {type(error).__name__}: {error}")
        cell = short(outcome.cell.replace("|", "/"), _MOST)
        print(f"{'ok    ' if outcome.ok else 'not ok'} {item.name}: {cell}", file=sys.stderr)
        seconds = round(time.monotonic() - started, 1)
        return item.name, {"ok": bool(outcome.ok), "cell": cell, "seconds": seconds, "commands": trial.commands}

    print(f"{key}:", file=sys.stderr)
    left = [c for c in chosen if c.name not in kept]
    RESULTS.parent.mkdir(exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        for name, outcome in pool.map(one, left):
            kept[name] = outcome
            RESULTS.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return {c.name: kept[c.name] for c in chosen}


def write(results: Mapping[str, Mapping[str, Any]], chosen: Sequence[Case], options: argparse.Namespace) -> None:
    """Write the table."""
    lines = [
        "# Small real tables that went wrong",
        "",
        f"`python bench/cases.py{' --before DIR' if options.before else ''} --budget {options.budget}`: each row is "
        "made from what the commands below wrote, and its check is a function of `bench/case_list.py`. Seeds are 0. "
        "The tables are third-party rows that are no part of the project.",
        "",
        f"| case | {' | '.join(results)} | right |",
        "|---" * (len(results) + 2) + "|",
    ]
    for c in chosen:
        cells = [f"{'**ok**' if r[c.name]['ok'] else 'not ok'}: {_cell(r[c.name]['cell'])}" for r in results.values()]
        lines.append(f"| {c.name} | {' | '.join(cells)} | {c.right} |")
    for label, by in results.items():
        seconds = sum(r["seconds"] for r in by.values())
        lines += ["", f"{label}: {sum(r['ok'] for r in by.values())} of {len(by)} ok, {seconds:.0f} s of work."]
    lines += ["", "## Commands", "", f"Each `sld discover` with `--budget {options.budget} --workers 1`:", ""]
    for c in chosen:
        lines += [f"- {c.name}:", *(f"  - `{_plain(command)}`" for command in results["after"][c.name]["commands"])]
    if not options.only:
        (HERE / "cases.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for label, by in results.items():
        bad = [name for name, r in by.items() if not r["ok"]]
        print(f"{label}: {len(by) - len(bad)} of {len(by)} ok" + (f"; not: {', '.join(bad)}" if bad else ""))


def _plain(command: str) -> str:
    """Return a command without what all have in common."""
    return re.sub(r" --(budget \S+|workers 1|out \S+)", "", command)


def _cell(text: str) -> str:
    """Return text as Markdown shows it, formulas with their stars."""
    return text.replace("*", "\\*").replace("<", "&lt;")


if __name__ == "__main__":
    main()
