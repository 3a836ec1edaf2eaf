"""The final loss of the largest model of a family from the smaller ones, with learned priors and without.

    python bench/largest.py [--data DIR]

Of each family with four sizes or more (a table of losses along runs, a group of it) the largest is left out, and its
last value is asked for; shown is the absolute relative error (ARE) of each way, in per cent. *finals*: the last value
of each smaller model, fitted with `E + A*N**-a`. *checkpoints*: all values of their runs but the first tenth, with
`E + A*N**-a + B*D**-b`. *its own 30 %*: `sld curve` from the first 30 % of the largest run itself, beside the others.
*40 % of the others*: `sld curve --larger` from the first 40 % of the smaller runs.
A Hitchhiker's Guide to Scaling Law Estimation (arXiv:2410.11840) takes 4 % as what can be had, since seeds differ by so
much; borrowed exponents are its advice where a family has few models.
The tables are among those that the priors were learned from (`priors.py`), each as one of 62.
The tables under DIR (default: shared/data beside the repository) are not part of the project.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from slices import tables

import sld
from sld.core.arrays import Array
from sld.core.errors import SldError

HERE = Path(__file__).resolve().parent
FAMILIES = {
    "jax_gpt_curves": ("open2", "N", "D"),
    "gpt2_width_curves": ("open2", "width", "step"),
    "astropt_galaxies": ("open2", "N", "step"),
    "pythia_lambada_logppl": ("open", "N", "D"),
    "gemstones_shape": ("open", "N", "D"),
}
SKIP, OWN, PART = 0.1, 0.3, 0.4
WAYS = (
    "finals, priors none", "finals, priors learned", "checkpoints, priors none", "checkpoints, priors learned",
    "its own 30 %", "40 % of the others",
)  # fmt: skip


def families(data: Path) -> Iterator[tuple[str, Array, Array, Array]]:
    """Yield name, size, step and value (n_rows,) of each family."""
    for name, (suite, size, step) in FAMILIES.items():
        parts = tables(data / suite / name)
        columns = [v.column for v in parts[0].variables]
        X, y = np.concatenate([p.X for p in parts]), np.concatenate([p.Y[:, 0] for p in parts])
        groups = np.concatenate([np.array(p.groups)[p.group_index] for p in parts])
        for group in sorted(set(groups)):
            rows = groups == group
            called = name if len(set(groups)) == 1 else f"{name}, {group}"
            yield called, X[rows, columns.index(size)], X[rows, columns.index(step)], y[rows]


def told(way: str, N: Array, D: Array, y: Array) -> float:
    """Return the ARE of the largest model's last value in per cent; NaN where a way is refused."""
    top = N.max()
    end = D[N == top].max()
    last = np.array([D[n == N].max() for n in N])
    small, at = N < top, {"N": [float(top)]}
    kind, _, priors = way.partition(", priors ")
    columns: dict[str, Any] = {"target": "loss"}
    runs: dict[str, Any]
    try:
        if kind == "finals":
            sizes = np.unique(N[small])
            ends = np.array([y[(n == N) & (last == D)].min() for n in sizes])
            law = sld.fit({"N": sizes, "loss": ends}, "E + A*N**-a", priors=priors, scale="N", **columns)
            found = float(sld.predict(law, at)["loss"][0])
        elif kind == "checkpoints":
            rows = small & (D >= SKIP * last)
            runs = {"N": N[rows], "D": D[rows], "loss": y[rows]}
            law = sld.fit(runs, "E + A*N**-a + B*D**-b", priors=priors, scale=["N", "D"], **columns)
            found = float(sld.predict(law, {**at, "D": [float(end)]})["loss"][0])
        elif kind == WAYS[-1]:
            rows = small & (D >= SKIP * last) & (D <= PART * last * (1 + 1e-9))
            runs = {"N": N[rows], "D": D[rows], "end": last[rows], "run": [f"size {n:.9g}" for n in N[rows]]}
            runs["loss"] = y[rows]
            larger = sld.curve(runs, step="D", run="run", until="end", larger={"N": [float(top)]}, **columns).larger
            found = larger[0].value
        else:
            rows = (D >= SKIP * last) & (small | (D <= OWN * last * (1 + 1e-9)))
            runs = {"N": [f"size {n:.9g}" for n in N[rows]], "D": D[rows], "loss": y[rows]}
            found = sld.curve(runs, step="D", run="N", until=float(end), **columns)[f"size {top:.9g}"].value
    except (SldError, KeyError):
        return float("nan")
    true = float(y[(N == top) & (end == D)].mean())
    return 100 * abs(found / true - 1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    args = parser.parse_args()
    print(f"| family | sizes | {' | '.join(WAYS)} |\n|---|---|{'---|' * len(WAYS)}")
    every = []
    for name, N, D, y in families(args.data):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            errors = [told(way, N, D, y) for way in WAYS]
        every.append(errors)
        shown = [f"{e:.2f}" if np.isfinite(e) else "-" for e in errors]  # too few points of a run
        print(f"| {name} | {len(set(N))} | {' | '.join(shown)} |", flush=True)
    print(f"| **median** | | {' | '.join(f'{e:.2f}' for e in np.nanmedian(every, axis=0))} |")


if __name__ == "__main__":
    main()
