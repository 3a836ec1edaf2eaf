"""Few points: what is foretold from the first 3, 4 and 5 rows of real tables, with learned priors and without.

    python bench/few_points.py [--data DIR] [--half build|confirm] [--workers 2]

A slice (`slices.py`) is a curve along one column. Its first rows are given to `sld fit` with `E + A*x**-a` and to
`sld curve`, each with `--priors auto` and `--priors none`; asked for are its further rows up to the horizon (as many
times the largest as that is of the smallest, or four times). Beside them stands the last value carried forward. An
error is that of the logarithm, at most 3; a table's error is the mean over its values, and tables are compared by the
geometric mean of what theirs is of that of the last value. Every table counts the same in what intervals hold. The
interval score (Gneiting and Raftery 2007) is that of logarithms, at most 20, where none is known at all: 20.
The priors were learned on the tables to build on (`priors.py`), so what is shown of these is no proof.
The tables under DIR (default: shared/data beside the repository) are not part of the project.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from slices import Slice, folders, slices

import sld
from sld.core.errors import SldError
from sld.fit.priors import horizon

HERE = Path(__file__).resolve().parent
COUNTS = (3, 4, 5)
LEAST, WORST, WORST_SCORE = 1e-3, 3.0, 20.0  # a value of 0 or below counts as a thousandth of the true one
KINDS = (
    "last value", "sld fit, priors none", "sld fit, priors auto", "sld curve, priors none", "sld curve, priors auto",
)  # fmt: skip

Told = tuple[float, float, float]  # value and ends of the interval
Row = tuple[str, int, str, float, float, float, float]


def fitted(s: Slice, n: int, ahead: Sequence[int], priors: str) -> list[Told]:
    """Return what `sld fit` foretells; the last value without an interval where it refuses."""
    columns: dict[str, Any] = {"target": "y", "scale": "x", "higher_is_better": s.better == "higher"}
    try:
        law = sld.fit({"x": s.x[:n], "y": s.y[:n]}, "E + A*x**-a", priors=priors, starts=16, **columns)
        found = sld.predict(law, {"x": s.x[list(ahead)]})
    except SldError:
        return [(float(s.y[n - 1]), -np.inf, np.inf)] * len(ahead)
    return list(zip(*(found[c].tolist() for c in ("y", "y_low", "y_high")), strict=True))


def continued(s: Slice, n: int, ahead: Sequence[int], priors: str) -> list[Told]:
    """Return what `sld curve` foretells."""
    found = []
    for k in ahead:
        end = sld.curve(
            {"x": s.x[:n], "y": s.y[:n]}, target="y", step="x", until=float(s.x[k]), priors=priors,
            better="higher" if s.better == "higher" else "lower",
        ).finals[0]  # fmt: skip
        found.append((end.value, end.low, end.high))
    return found


def foretold(kind: str, s: Slice, n: int, ahead: Sequence[int]) -> list[Told]:
    """Return what one of `KINDS` says of the rows ahead."""
    if kind == KINDS[0]:
        return [(float(s.y[n - 1]), -np.inf, np.inf)] * len(ahead)
    command, priors = kind.split(", priors ")
    return (fitted if command == "sld fit" else continued)(s, n, ahead, priors)


def of_slice(s: Slice) -> list[Row]:
    """Return table, rows given, who foretold, error, whether the interval holds the value, its width and its score."""
    told: list[Row] = []
    for n in COUNTS:
        ahead = [k for k in range(n, len(s.x)) if s.x[k] <= horizon(float(s.x[0]), float(s.x[n - 1])) * (1 + 1e-9)]
        if not ahead:
            continue
        for kind in KINDS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = foretold(kind, s, n, ahead)
            for k, (value, low, high) in zip(ahead, found, strict=True):
                error = abs(float(np.log(max(value, LEAST * s.y[k]) / s.y[k]))) if np.isfinite(value) else WORST
                ends = np.log(max(low, 1e-12) / s.y[k]), np.log(max(high, 1e-12) / s.y[k])
                width = float(ends[1] - ends[0]) if low > 0 else float("inf")
                score = width + 20 * (max(ends[0], 0.0) + max(-ends[1], 0.0))
                held = float(low <= s.y[k] <= high)
                told.append((s.table, n, kind, min(error, WORST), held, width, min(float(score), WORST_SCORE)))
    return told


def lines_of(told: Sequence[Row]) -> list[str]:
    """Return a table in Markdown."""
    lines = [
        "| rows | tables | values | what foretells | error / last value | median error | inside 90 % | width | score |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for n in COUNTS:
        for kind in KINDS:
            by: dict[str, list[tuple[float, ...]]] = {}
            last: dict[str, list[float]] = {}
            for table, m, who, *rest in told:
                if m == n and who == kind:
                    by.setdefault(table, []).append(tuple(rest))
                if m == n and who == KINDS[0]:
                    last.setdefault(table, []).append(rest[0])
            errors = {t: float(np.mean([v[0] for v in each])) for t, each in by.items()}
            ratio = np.exp(
                np.mean([np.log(max(e, 1e-6) / max(float(np.mean(last[t])), 1e-6)) for t, e in errors.items()])
            )
            values = [v for each in by.values() for v in each]
            inside, score = (np.mean([np.mean([v[k] for v in each]) for each in by.values()]) for k in (1, 3))
            width = float(np.median([v[2] for v in values]))
            known = kind != KINDS[0]
            lines.append(
                f"| {n} | {len(by)} | {len(values)} | {kind} | {ratio:.2f} | {np.median([v[0] for v in values]):.4f} "
                + (f"| {inside:.2f} | {width:.3f} | {score:.2f} |" if known else "| | | |")
            )
    return lines


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--half", choices=("build", "confirm"), default="build")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--most", type=int, default=6, help="slices of a table")
    args = parser.parse_args()
    every = [s for folder in folders(args.data, args.half) for s in slices(folder)[: args.most]]
    with Pool(args.workers) as pool:
        told = [row for rows in pool.map(of_slice, every, chunksize=2) for row in rows]
    print(f"{len(every)} curves of {len({s.table for s in every})} tables, half to {args.half} on\n")
    print("\n".join(lines_of(told)))


if __name__ == "__main__":
    main()
