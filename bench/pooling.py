"""What groups should share: each alone, one shape, or partial pooling, for ten common forms on the grouped tasks.

    python bench/pooling.py [--data DIR] [--tasks NAME,NAME] [--starts 8] [--proposals 300]

Every form is fitted to the training rows in each of the three ways and predicts the held-out rows; "chosen" is the way
that the search takes, which sees the folds of the training rows only. Printed are R² pooled and within groups, both cut
at -1 (each group by itself), as means over forms, then over tasks: all of them, and every other one.

With --proposals the first so many families of the enumeration and half as many of the catalogue are judged instead,
in three heaps, once with every group alone and once as the search does; shown is what the best by the folds in each
heap predicts, and the time.

The tables under DIR (default: shared/data beside the repository) are third-party and not part of the project.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from sld.core.errors import SldError
from sld.data.splits import rung_folds
from sld.data.table import Table
from sld.data.task import load_task
from sld.fit.fitting import FitResult, fit
from sld.fit.kernel import Array, evaluate
from sld.fit.pooling import LEAST_GROUPS, shape_constants
from sld.formula.expression import Expression
from sld.laws.form import Form
from sld.search.candidates.selection import RULES
from sld.search.judging.judge import Judge, Proposal
from sld.search.proposing.proposers import from_catalogue, from_enumeration

HERE = Path(__file__).resolve().parent
SUITES = ("sldbench-train", "open")
WAYS = ("alone", "shared", "partial", "chosen")


def common_forms(table: Table) -> list[str]:
    """Return ten forms over the logarithms of all variables, from a straight line to a saturating curve."""
    logs = [v.symbol if v.log else f"log({v.symbol})" for v in table.variables]

    def line(c: str) -> str:
        return " + ".join(f"{c}{i}*{x}" for i, x in enumerate(logs))

    bends = " + ".join(f"q{i}*{x}**2" for i, x in enumerate(logs))
    terms = " + ".join(f"A{i}*exp(-b{i}*{x})" for i, x in enumerate(logs))
    return [
        f"a + {line('b')}",
        f"a + {line('b')} + {bends}",
        f"A*exp(-({line('b')}))",
        f"E + A*exp(-({line('b')}))",
        f"E + {terms}" if len(logs) > 1 else f"exp(a*exp(-({line('b')})))",
        f"E + A/(exp({line('k')}) + K)",
        f"sigmoid(c + {line('k')})",
        f"E + A*sigmoid(c + {line('k')})",
        f"E + A*exp(-exp(c + {line('k')}))",
        f"E + A*exp(-exp(c + {line('k')})) + B*{logs[0]}",
    ]


def held_out_scores(expression: Expression, constants: Mapping[str, Mapping[str, float]], rows: Table) -> Array:
    """Return R² pooled, and the mean of R² within groups, every one of them at least -1."""
    y, within = rows.Y[:, 0], []
    prediction = np.full(rows.n_rows, np.nan)
    for g, group in enumerate(rows.groups):
        mask = rows.group_index == g
        columns = {s: rows.X[mask, i] for i, s in enumerate(rows.symbols)}
        prediction[mask] = evaluate(expression, columns, constants[group])
        if np.ptp(y[mask]) > 0:
            within.append(_r2(y[mask], prediction[mask]))
    return np.array([_r2(y, prediction), np.mean(within)])


def _r2(y: Array, prediction: Array) -> float:
    r2 = 1.0 - float(np.mean((y - prediction) ** 2) / np.var(y))
    return max(r2, -1.0) if np.isfinite(r2) else -1.0


def fits(expression: Expression, table: Table, starts: int) -> dict[str, FitResult]:
    """Return the fit of each way that the form and the rows allow."""
    shape = shape_constants(expression)
    found = {"alone": fit(expression, table, starts=starts)}
    if shape:
        found["shared"] = fit(expression, table, starts=starts, shared=shape)
    if len(table.groups) >= LEAST_GROUPS:
        found["partial"] = fit(expression, table, starts=starts, pooling="partial")
    return {way: result for way, result in found.items() if result.ok}


def measure(folder: Path, starts: int) -> dict[str, Array]:
    """Return way to (R² pooled, R² within), the means over forms."""
    task = load_task(folder)
    table, rows = task.train.for_target(0), task.held_out()
    assert rows is not None
    judge = Judge(table, rung_folds(table), seed=0, max_constants=task.card.max_constants)
    means: dict[str, list[Array]] = {way: [] for way in WAYS}
    for text in common_forms(table):
        expression = table.parse(text)
        if len(expression.constants) > task.card.max_constants:
            continue
        try:
            found = fits(expression, table, starts)
        except SldError:
            continue  # fewer rows than constants
        if "alone" not in found:
            continue
        candidate, _ = judge.judge(replace(Proposal.of([Form(expression, "bench")]), thorough=True))
        way = "partial" if candidate.priors else "shared" if candidate.shared else "alone"
        score = {w: held_out_scores(expression, r.constants, rows) for w, r in found.items()}
        score["chosen"] = score.get(way, score["alone"])
        for w in WAYS:
            # a way that the form or the rows do not allow is left as each group alone
            means[w].append(score.get(w, score["alone"]))
    return {way: np.mean(values, axis=0) for way, values in means.items() if values}


def by_proposals(folder: Path, n: int) -> dict[str, Array]:
    """Return way to (R² pooled, R² within, seconds): the mean over heaps of what the chosen candidate predicts."""
    task = load_task(folder)
    table, rows = task.train.for_target(0), task.held_out()
    assert rows is not None
    proposals = [*islice(from_catalogue(table), n // 2), *islice(from_enumeration(table), n)]
    found = {}
    judge = Judge(table, rung_folds(table), seed=0, max_constants=task.card.max_constants)
    for way, thorough in (("alone", False), ("chosen", True)):
        started = time.monotonic()
        heaps = [[replace(p, thorough=thorough) for p in proposals[k::3]] for k in range(3)]
        chosen = [RULES["one_standard_error"](judge.judge(p)[0] for p in heap) for heap in heaps]
        seconds = time.monotonic() - started
        column = table.targets[0].column
        scores = [held_out_scores(c.expressions[column], c.constants[column], rows) for c in chosen if c is not None]
        found[way] = np.append(np.mean(scores, axis=0), seconds)
    return found


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--tasks", default="")
    parser.add_argument("--starts", type=int, default=8)
    parser.add_argument("--proposals", type=int, default=0)
    args = parser.parse_args()
    wanted = set(args.tasks.split(",")) - {""}
    folders = [c.parent for suite in SUITES for c in sorted((args.data / suite).glob("*/task.toml"))]
    found: dict[str, dict[str, Array]] = {}
    for folder in folders:
        if (wanted and folder.name not in wanted) or len(load_task(folder).train.groups) < 2:
            continue
        started = time.monotonic()
        with np.errstate(all="ignore"):
            means = by_proposals(folder, args.proposals) if args.proposals else measure(folder, args.starts)
        if means:
            found[folder.name] = means
            _show(folder.name, means, f"{time.monotonic() - started:.1f} s")
    names = list(found)
    for title, some in (("all", names), ("every other", names[::2]), ("the rest", names[1::2])):
        if some:
            _show(
                f"{title} ({len(some)})", {w: np.mean([found[n][w] for n in some], axis=0) for w in found[some[0]]}, ""
            )


def _show(name: str, means: Mapping[str, Array], more: str) -> None:
    numbers = (f"{way} " + " / ".join(f"{x:6.3f}" for x in values) for way, values in means.items())
    print(f"{name:26s}", *numbers, more, sep="   ", flush=True)


if __name__ == "__main__":
    main()
