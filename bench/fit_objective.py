"""The objective that `sld fit` reaches beside that of a grid over both exponents, and the time of both.

    python bench/fit_objective.py --data DIR [DIR ...]     # minutes; writes fit_objective.md and its .json in results/
    python bench/fit_objective.py --dry                    # the bundled table alone, nothing written

Every table has a loss over parameters N and tokens D, isoFLOP curves among them; the form is E + A*N**-a + B*D**-b,
each group with its own constants. Tables that are not part of the project are read from the folders given (folders of
task folders); without any, the bundled `nanolm_chinchilla` is the only one. Training rows only.

The grid is how the field fits this form carefully (vpnls; Besiroglu et al. 2024 search from a grid, too): for every
pair of exponents from 0.01 to 1 in steps of 0.01 the other constants are solved for: in closed form, non-negative, for
squared errors; by 30 reweighted Gauss-Newton steps, all cells at once, for Huber's loss of the logarithm with delta
1e-3 (Hoffmann et al. 2022). The eight best local minima are then refined in all five constants by scipy until nothing
moves the objective any more. The grid's time is that without intervals; sld's is that of `sld.fit` from columns to a
law, with its intervals, exponents in [0, 1] and positive constants as on the grid (`--bounds exponents=0:1 --positive
E,A,B`). "free" is `sld.fit` without these conditions, whose objective may be lower and must not be higher. Objectives
of all are computed here from their constants, rows weighted as sld weighs them where repeats show that noise changes.
CPU time of one thread, the faster of two runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = "1"

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

import sld  # noqa: E402
from sld.data.table import Table  # noqa: E402
from sld.data.task import load_task  # noqa: E402
from sld.fit.noise import NOISE, row_weights  # noqa: E402

Array = NDArray[np.float64]
T = TypeVar("T")
FORM = "E + A*{N}**-a + B*{D}**-b"
TABLES = (
    *("llama3_isoflop", "marin_isoflop", "xlstm_isoflop", "char_isoflop", "farseer", "misfitting_nd"),
    *("gemstones_shape", "pythia_lambada_logppl", "kempner_own_loss", "kempner_hellaswag_ce", "jax_gpt_curves"),
    *("mlp_teacher_student", "tiny_grid_nine_runs"),
)
STEP = 0.01
DELTA = 1e-3
SAME = 1e-6  # relative difference of objectives that counts as none
_CANDIDATES = 8  # local minima of the grid that are refined
_FLOOR = 1e-12  # in place of zero, where a logarithm is taken


@dataclass(frozen=True)
class Rows:
    """Rows of one group: logarithms of N and D about their mean, the loss, and the roots of the rows' weights."""

    n: Array
    d: Array
    y: Array
    w: Array


def value(c: Array, rows: Rows) -> Array:
    """Return E + A*exp(-a*n) + B*exp(-b*d) for c = (E, A, a, B, b) over centred logarithms."""
    return np.asarray(c[0] + c[1] * np.exp(-c[2] * rows.n) + c[3] * np.exp(-c[4] * rows.d))


def objective(residual: Array, loss: str) -> Array:
    """Return the sum over the last axis that is minimised."""
    if loss == "squared":
        return np.asarray(np.square(residual).sum(axis=-1))
    size = np.abs(residual)
    return np.asarray(np.where(size <= DELTA, 0.5 * size * size, DELTA * (size - 0.5 * DELTA)).sum(axis=-1))


def missed(c: Array, rows: Rows, loss: str) -> float:
    """Return the objective of constants."""
    found = value(c, rows)
    if loss == "squared":
        return float(objective(rows.w * (rows.y - found), loss))
    return float(objective(np.log(rows.y) - np.log(np.maximum(found, _FLOOR)), loss))


# --- the grid -------------------------------------------------------------------------------------------------------


def grid_fit(rows: Rows, loss: str) -> tuple[float, Array]:
    """Return the objective and the constants of the refined grid."""
    ends = np.arange(1, 101) * STEP
    a, b = (x.ravel() for x in np.meshgrid(ends, ends, indexing="ij"))
    solved = nonnegative(a, b, rows) if loss == "squared" else robust(a, b, rows)
    costs, linear = solved
    surface = costs.reshape(len(ends), len(ends))
    best: tuple[float, Array] = (np.inf, np.empty(0))
    for i, j in lowest(surface):
        k = i * len(ends) + j
        c = np.array([linear[k, 0], linear[k, 1], a[k], linear[k, 2], b[k]])
        found = refined(c, rows, loss)
        if found[0] < best[0]:
            best = found
    return best


def lowest(surface: Array) -> list[tuple[int, int]]:
    """Return the cells with the lowest local minima of a surface."""
    padded = np.pad(surface, 1, constant_values=np.inf)
    n, m = surface.shape
    around = np.min(
        [padded[1 + i : 1 + i + n, 1 + j : 1 + j + m] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j], axis=0
    )
    cells = np.argwhere(surface <= around)
    order = np.argsort(surface[cells[:, 0], cells[:, 1]], kind="stable")
    return [(int(i), int(j)) for i, j in cells[order[:_CANDIDATES]]]


def bases(a: Array, b: Array, rows: Rows) -> Array:
    """Return what E, A and B are multiplied by (n_cells, 3, n_rows)."""
    return np.stack(
        [np.ones((len(a), len(rows.y))), np.exp(-a[:, None] * rows.n), np.exp(-b[:, None] * rows.d)], axis=1
    )


def nonnegative(a: Array, b: Array, rows: Rows) -> tuple[Array, Array]:
    """Return least squares (n_cells,) and E, A, B >= 0 (n_cells, 3) for given exponents.

    Of the eight sets of constants that may be positive, the best whose solution is: three constants need no more.
    """
    X = bases(a, b, rows) * rows.w
    y = rows.w * rows.y
    G, v = X @ X.transpose(0, 2, 1), X @ y
    costs, best = np.full(len(a), np.inf), np.zeros((len(a), 3))
    for free in ([0, 1, 2], [0, 1], [0, 2], [1, 2], [0], [1], [2]):
        scale = np.sqrt(np.einsum("cii->ci", G[:, free][:, :, free]))
        system = G[:, free][:, :, free] / (scale[:, :, None] * scale[:, None, :])
        c = np.zeros((len(a), 3))
        c[:, free] = (np.linalg.pinv(system, hermitian=True) @ (v[:, free] / scale)[:, :, None])[:, :, 0] / scale
        # by the residuals: differences of sums would lose the digits that matter
        cost = objective(y - (c[:, None, :] @ X)[:, 0], "squared")
        wins = (c >= 0).all(axis=1) & (cost < costs)
        costs, best = np.where(wins, cost, costs), np.where(wins[:, None], c, best)
    return costs, best


def robust(a: Array, b: Array, rows: Rows, steps: int = 30) -> tuple[Array, Array]:
    """Return Huber's loss of the logarithm (n_cells,) and E, A, B (n_cells, 3) for given exponents, nearly solved."""
    X = bases(a, b, rows)
    _, c = nonnegative(a, b, rows)
    log_y = np.log(rows.y)
    costs, best = np.full(len(a), np.inf), c
    for _ in range(steps):
        f = np.maximum((c[:, None, :] @ X)[:, 0], _FLOOR)
        r = log_y - np.log(f)
        cost = objective(r, "log_huber")
        wins = cost < costs
        costs, best = np.where(wins, cost, costs), np.where(wins[:, None], c, best)
        J = X / f[:, None, :]
        W = np.minimum(1.0, DELTA / np.maximum(np.abs(r), 1e-300))
        JW = J * W[:, None, :]
        H, g = JW @ J.transpose(0, 2, 1), (JW @ r[:, :, None])[:, :, 0]
        scale = np.sqrt(np.maximum(np.einsum("cii->ci", H), 1e-300))
        H = H / (scale[:, :, None] * scale[:, None, :]) + 1e-10 * np.eye(3)
        c = np.maximum(c + np.linalg.solve(H, (g / scale)[:, :, None])[:, :, 0] / scale, 0.0)
    return costs, best


def refined(c: Array, rows: Rows, loss: str) -> tuple[float, Array]:
    """Follow all five constants to the end, exponents in [0, 1], the others positive: L-BFGS-B, then the simplex."""
    from scipy.optimize import minimize

    size = float(np.median(rows.y))
    unit = np.array([size, size, 1.0, size, 1.0])
    limits = [(0.0, None), (0.0, None), (0.0, 1.0), (0.0, None), (0.0, 1.0)]
    scale = max(missed(c, rows, loss), 1e-300)

    def at(u: Array) -> float:
        return missed(np.maximum(u, 0.0) * unit, rows, loss) / scale

    u, best = c / unit, 1.0
    for _ in range(20):
        before = best
        for method, options in (
            ("L-BFGS-B", {"maxiter": 500, "ftol": 1e-15, "gtol": 1e-12}),
            ("Nelder-Mead", {"maxiter": 2000, "maxfev": 4000, "xatol": 1e-12, "fatol": 1e-14, "adaptive": True}),
        ):
            found = minimize(at, u, method=method, bounds=limits, options=options)
            if found.fun < best:
                u, best = found.x, float(found.fun)
        if best > before * (1.0 - 1e-9):
            break
    return best * scale, np.asarray(np.maximum(u, 0.0) * unit)


# --- sld ------------------------------------------------------------------------------------------------------------


def sld_fit(table: Table, loss: str, free: bool = False) -> dict[str, Array]:
    """Return E, A, a, B, b by group, A and B for inputs as they are."""
    N, D = table.symbols[:2]
    options: dict[str, Any] = {"delta": DELTA} if loss == "log_huber" else {}
    if not free:
        options |= {"bounds": {"exponents": (0.0, 1.0)}, "positive": ["E", "A", "B"]}
    law = sld.fit(
        columns_of(table), FORM.format(N=N, D=D), loss=loss, target=table.targets[0].column, scale=[N, D],
        group=table.group_column, **options,
    )  # fmt: skip
    return {g: np.array([of[k] for k in "EAaBb"]) for g, of in law.constants[table.targets[0].column].items()}


def columns_of(table: Table) -> dict[str, object]:
    """Return a table's columns, as a person has them."""
    found: dict[str, object] = {v.column: table.X[:, i] for i, v in enumerate(table.variables)}
    found[table.targets[0].column] = table.Y[:, 0]
    if table.group_column:
        found[table.group_column] = [table.groups[g] for g in table.group_index]
    return found


def by_group(table: Table) -> Iterator[tuple[str, Rows, Array]]:
    """Yield each group's name, its rows, and the means of the logarithms."""
    weights = row_weights(table, 0, (NOISE,))
    for g, group in enumerate(table.groups):
        own = table.group_index == g
        x, y = np.log(table.X[own, :2]), table.Y[own, 0]
        centre = x.mean(axis=0)
        w = np.ones(len(y)) if weights is None else np.sqrt(weights[own])
        n, d = (x - centre).T
        yield group, Rows(n, d, y, w), centre


def centred(c: Array, centre: Array) -> Array:
    """Return constants over centred logarithms."""
    out = c.copy()
    out[1] *= np.exp(-c[2] * centre[0])
    out[3] *= np.exp(-c[4] * centre[1])
    return out


# --- the comparison -------------------------------------------------------------------------------------------------


def timed(job: Callable[[], T], times: int = 2) -> tuple[T, float]:
    """Return what a job gives, and the CPU seconds of its fastest run."""
    seconds = []
    for _ in range(times):
        began = time.process_time()
        result = job()
        seconds.append(time.process_time() - began)
    return result, min(seconds)


def compare(name: str, table: Table, loss: str) -> dict[str, Any]:
    """Return the objectives and the times of both."""
    groups = list(by_group(table))
    ours, seconds = timed(lambda: sld_fit(table, loss))
    free, _ = timed(lambda: sld_fit(table, loss, True), 1)
    grid, grid_seconds = timed(lambda: [grid_fit(rows, loss)[0] for _, rows, _ in groups], 1)

    def reached(found: dict[str, Array]) -> list[float]:
        return [missed(centred(found[group], centre), rows, loss) for group, rows, centre in groups]

    def worst(costs: list[float]) -> float:
        # of each group: a gain in one does not make up for another
        return max(own / max(other, 1e-300) - 1.0 for own, other in zip(costs, grid, strict=True))

    own, without = reached(ours), reached(free)
    return {
        "table": name,
        "rows": table.n_rows,
        "groups": len(groups),
        "loss": loss,
        "sld": sum(own),
        "grid": sum(grid),
        "worst": worst(own),
        "free": worst(without),
        "seconds": seconds,
        "grid_seconds": grid_seconds,
    }


def tables(folders: list[Path]) -> Iterator[tuple[str, Table]]:
    """Yield the tables that are there, with the bundled one."""
    yield "nanolm_chinchilla", load_task("nanolm_chinchilla").train
    for name in TABLES:
        place = next((folder / name for folder in folders if (folder / name).is_dir()), None)
        if place is not None:
            yield name, load_task(place).train


def two_sizes(table: Table) -> Table:
    """Return a table of its parameters and tokens alone."""
    symbols = [v.symbol for v in table.variables]
    kept = [next(i for i, s in enumerate(symbols) if s.startswith(letter)) for letter in "ND"]
    return replace(table, variables=tuple(table.variables[i] for i in kept), X=table.X[:, kept], notes=())


def report(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    found = result["found"]
    below = [r for r in found if max(r["worst"], r["free"]) <= SAME]
    faster = [r for r in found if r["seconds"] < r["grid_seconds"]]
    head = "| table | rows | groups | loss | sld | grid | worst group, over the grid's | free | sld | grid |"
    lines = [
        "# The objective of `sld fit` beside a refined grid",
        "",
        f"`{result['command']}` · one thread · {result['machine']}.",
        "",
        *(__doc__ or "").split("\n\n", 2)[2].strip().splitlines(),
        "",
        f"At or below the grid (within {SAME:g}, every group): {len(below)} of {len(found)}; faster: {len(faster)}"
        f" of {len(found)}, by a factor of {np.exp(np.mean(ratios(found))):.0f} in the geometric mean.",
        "",
        head,
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in found:
        lines.append(
            f"| {r['table']} | {r['rows']} | {r['groups']} | {r['loss']} | {r['sld']:.9g} | {r['grid']:.9g} "
            f"| {r['worst']:+.1e} | {r['free']:+.1e} "
            f"| {1e3 * r['seconds']:.0f} ms | {1e3 * r['grid_seconds']:,.0f} ms |"
        )
    return "\n".join(lines) + "\n"


def ratios(found: list[dict[str, Any]]) -> Array:
    """Return the logarithms of how many times longer the grid takes."""
    return np.log([r["grid_seconds"] / r["seconds"] for r in found])


def main() -> None:
    """Compare, and write what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders of task folders")
    parser.add_argument("--only", nargs="*", help="names of tables")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args()
    found = []
    for name, table in tables(options.data):
        if options.only and name not in options.only:
            continue
        for loss in ("squared", "log_huber"):
            sld_fit(two_sizes(table), loss)  # compile, load, warm up
            row = compare(name, two_sizes(table), loss)
            found.append(row)
            print(
                f"{name:24} {loss:10} sld {row['sld']:.9g} grid {row['grid']:.9g} worst {row['worst']:+.1e} "
                f"free {row['free']:+.1e} {1e3 * row['seconds']:.0f} ms, grid {1e3 * row['grid_seconds']:.0f} ms",
                flush=True,
            )
    result = {
        "command": "python bench/fit_objective.py" + (" --data DIR ..." if options.data else ""),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}",
        "found": found,
    }
    if not options.dry:
        here = Path(__file__).resolve().parent
        (here / "fit_objective.md").write_text(report(result))
        (here / "results" / "fit_objective.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
