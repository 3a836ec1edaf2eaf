"""What predicts beside the formula of a law, part by part: several formulas, the rows near a point, both.

    python bench/ensembles.py [--tables build,old,measured] [--budget 12000fits] [--seeds 0] [--measured DIR]
                              [--data DIR] [--name ensembles]

For every table: one search, and the held-out R² (a failed prediction is −1, and every score is cut at −1) of

* formula: the law's formula by itself, which is what versions before 0.11.0 predict with;
* formula, rows near: the same, corrected by what it misses at rows near a point;
* formulas: the mean of the members, nothing corrected;
* both: what the law predicts.

Writes bench/results/NAME.json after every table (an interrupted run goes on where it stopped) and bench/NAME.md at the
end. `measured` are the tables of `measure_systems.py` and `measure_learning.py` under DIR; the others are third-party
and lie under the data folder (default: shared/data beside the repository). `bench/split.md` says which are which.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import intervals
import numpy as np
from numpy.typing import NDArray

import sld.search.discovery as searching
from sld.core.errors import SldError
from sld.data.scoring import scores
from sld.data.table import Table
from sld.data.task import Task, load_task
from sld.laws.law import Law
from sld.search.choosing.ensembles import Electorate, ensemble
from sld.search.discovery import SearchSettings, discover
from sld.search.finishing import finish
from sld.search.outcome import Discovery

HERE = Path(__file__).resolve().parent
WAYS = ("formula", "formula, rows near", "formulas", "both")


def folders(which: str, measured: Path | None, data: Path) -> list[Path]:
    """Return the task folders of one kind of tables."""
    if which == "measured":
        return [] if measured is None else sorted(card.parent for card in measured.glob("*/task.toml"))
    return intervals.tables(which, data)


def searched(task: Task, budget: str, seed: int) -> tuple[Discovery, tuple[Any, ...]]:
    """Return the outcome of a search, and what it was finished with."""
    settings = SearchSettings(seed=seed, budget=budget, workers=1, max_constants=task.card.max_constants)
    with patch.object(searching, "finish", wraps=finish) as spy:
        found = discover(task.train, settings)
    return found, spy.call_args.args


def alone(law: Law, found: Discovery, finished: tuple[Any, ...]) -> Law:
    """Return the law with its own formula as the only one that predicts, corrected by rows near a point."""
    search, _, everything, *_ = finished
    told = {}
    for j, target in enumerate(law.targets):
        own = ensemble(search.context, Electorate(None), j, found.chosen.of_target(j), law.bare, everything)
        if own is not None:
            told[target.column] = own
    return replace(law, ensembles=told)


def measured_on(task: Task, held: Table, budget: str, seed: int) -> dict[str, float]:
    """Return the R² of each way."""
    found, finished = searched(task, budget, seed)
    law = found.law
    plain = {c: replace(e, kriging=None) for c, e in law.ensembles.items()}
    ways = (law.bare, alone(law, found, finished), replace(law, ensembles=plain), law)
    return {way: r2(held, one.predict(held)) for way, one in zip(WAYS, ways, strict=True)}


def r2(held: Table, prediction: NDArray[np.float64]) -> float:
    """Return the score of a prediction, cut at −1."""
    found = scores(held.Y, prediction, held.group_index)
    return -1.0 if found.failed else max(-1.0, found.r2)


def table_of(rows: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """Return the means by kind, and every table."""
    kinds: dict[str, list[Mapping[str, Sequence[float]]]] = {}
    for name, row in rows.items():
        kinds.setdefault(name.partition("/")[0], []).append(row)
    mean: Callable[[Sequence[float]], float] = statistics.fmean
    head = "| | tables | " + " | ".join(WAYS) + " |\n" + "|---" * (2 + len(WAYS)) + "|"
    lines = [head]
    for kind, found in [*kinds.items(), ("all", list(rows.values()))]:
        cells = " | ".join(f"{mean([mean(r[way]) for r in found]):.3f}" for way in WAYS)
        lines.append(f"| {kind} | {len(found)} | {cells} |")
    lines += ["", "| table | " + " | ".join(WAYS) + " |\n" + "|---" * (1 + len(WAYS)) + "|"]
    return lines + [
        f"| {name} | " + " | ".join(f"{mean(row[way]):.3f}" for way in WAYS) + " |" for name, row in rows.items()
    ]


def main() -> None:
    """Search, measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default="build,old,measured")
    parser.add_argument("--budget", default="12000fits")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--measured", type=Path)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--name", default="ensembles")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    file = HERE / "results" / f"{args.name}.json"
    rows: dict[str, dict[str, list[float]]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for which in args.tables.split(","):
        for folder in folders(which, args.measured, args.data):
            name = f"{folder.parent.name}/{folder.name}"
            task = load_task(folder)
            held = task.held_out()
            if name in rows or held is None:
                continue
            try:
                each = [measured_on(task, held, args.budget, int(seed)) for seed in args.seeds.split(",")]
            except SldError as error:
                print(f"{name}: {error}", flush=True)
                continue
            rows[name] = {way: [one[way] for one in each] for way in WAYS}
            file.write_text(json.dumps(rows, indent=1), encoding="utf-8")
            print(name, *(f"{statistics.fmean(rows[name][way]):.3f}" for way in WAYS), flush=True)
    lines = [
        "# What predicts beside the formula",
        "",
        f"`python bench/ensembles.py --tables {args.tables} --budget {args.budget} --seeds {args.seeds}"
        f"{' --measured DIR' if args.measured else ''}` · one worker. Held-out R², cut at −1.",
        "",
        *table_of(rows),
    ]
    (HERE / f"{args.name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
