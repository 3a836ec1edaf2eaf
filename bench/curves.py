"""Curves: ends of runs, learning curves, the best of several models, two stages, pass rates, schedules, time.

    python bench/curves.py [--data DIR] [--parts ends,learning,chains,rates,schedules,scores,time] [--cap 60]

*ends*: of every run the first 40 % are known (of its last step) and the last value is asked for. Beside the forecast of
`sld curve` stand a power law with offset fitted to the same points by least squares, and the last value carried
forward. Errors are mean absolute relative ones, over at most --cap runs of a table (of each experiment of nanolm);
shown are the ratios, and how many last values the intervals hold. A schedule is given where the source states one.
*learning*: tables of the database of learning curves (LCDB), each learner up to its training rows; the error at its
largest size, beside the best of pow3, pow4, mmf4, exp3 and a line in log n, chosen by its own last training point. Then
the learner that is best at ten times the data (also of the models of the table sft), from 1/10, 1/30 and 1/100 of the
largest size: how often the choice is within 1 % of the best. *chains*, *rates*, *schedules*: simulations with known
truth. *scores*: error on ARC-easy of the runs of `kempner_own_loss`, from compute up to 1e19. *time*: 500 curves.

Rules were chosen on the tables that `split.md` names to build on, and on simulations. The others were looked
at seven times while details were made.
At the first look the geometric means were 0.15 and 0.53, and 0.74 of the values lay inside; a table of clean power laws
was missed by 2.4 times what a fitted power law misses. Simulated power laws showed a grid of exponents too coarse;
it was refined on these and on the tables to build on, where the intervals were then widened by a tenth.
Since the sixth look, all on the tables to build on: a finer grid of sigmoids, logarithms of values that rise, falls of
the learning rate that bring most at their end, and no narrower intervals for a fall that nothing like was seen of.
The tables under DIR (default: shared/data beside the repository) are not part of the project.
"""

from __future__ import annotations

import argparse
import ast
import csv
import resource
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit, minimize_scalar

import sld
from sld.analysis.curves.annealing import CurveConstants
from sld.analysis.curves.counts import fit_rate
from sld.analysis.curves.downstream import TWO_STAGES, TaskRows, fit_chain
from sld.analysis.curves.finals import Asked, Final, final_values
from sld.analysis.curves.forecast import forecast
from sld.analysis.curves.links import Bounds
from sld.analysis.curves.runs import Curve
from sld.analysis.curves.schedules import Rates, read_schedule
from sld.core.arrays import Array

HERE = Path(__file__).resolve().parent
FIRST = 0.4
BUILD: dict[str, tuple[str, str, str, tuple[str, ...], str | None]] = {
    "openclip_learning_curves": ("open", "samples_seen", "err", ("group",), "cosine"),
    "rl_gsm8k_curves": ("open", "step1", "err", ("group",), None),
    "jax_gpt_curves": ("open2", "D", "val_loss", ("N",), "cosine"),
    "gpt2_width_curves": ("open2", "step", "loss", ("width",), None),
    "wikitext_toy_k": ("open2", "tokens", "loss", ("k",), None),
    "astropt_galaxies": ("open2", "step", "val", ("N",), None),
    "crl_depth_batch": ("open2", "epoch", "y", ("depth", "batch"), None),
    "crl_depth_envs": ("open2", "epoch", "y", ("env", "depth"), None),
    "gbigbench_262M": ("open2", "n", "err", ("task",), None),
    "rl_tdmpc2_tasks": ("open2", "step", "reward", ("group",), None),
    "dopamine_seaquest_agents": ("open2", "frames", "ret", ("agent",), None),
}
CONFIRM: dict[str, tuple[str, str, str, tuple[str, ...], str | None]] = {
    "protein_mask_ratio": ("open2", "step", "loss", ("size", "mask"), None),
    "toy_transformer_adam": ("open2", "step", "loss", ("schedule",), None),
    "random_features_optimizers": ("open2", "step", "excess_risk", ("optimizer", "lr"), None),
    "gvision_bird5_mixer": ("open2", "n", "err", (), None),
    "gvision_caltech_vit_s16": ("open2", "n", "err", ("group",), None),
    "rl_dmc_vision_scores": ("open2", "step", "score", ("group",), None),
    "rl_dmlab_dreamer_scores": ("open2", "step", "score", ("level",), None),
    "rl_minecraft_methods": ("open2", "step", "score", ("method",), None),
    "td3_mujoco_returns": ("open2", "step", "ret", ("env",), None),
}
EXPERIMENTS = ("chinchilla", "lr_batch", "data_repeat", "mixture", "moe", "context", "shape")
FORMS: dict[str, tuple[Callable[..., Any], list[tuple[float, ...]]]] = {
    "pow3": (lambda x, a, b, c: a + b * x**-c, [(0.1, 1, 0.3), (0.1, 1, 1.0), (0.0, 1, 0.1)]),
    "pow4": (lambda x, a, b, c, d: a + b * (x + d) ** -c, [(0.1, 1, 0.3, 0.1), (0.1, 1, 1.0, 1.0)]),
    "mmf4": (lambda x, a, b, c, d: (a * b + c * x**d) / (b + x**d), [(0.9, 10, 0.1, 1.0), (0.9, 100, 0.1, 0.5)]),
    "exp3": (lambda x, a, b, c: a + b * np.exp(-c * x), [(0.1, 0.5, 0.01), (0.1, 0.5, 1.0)]),
    "line": (lambda x, a, b: a + b * np.log(x), [(0.5, -0.05)]),
}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def curves_of(folder: Path, x: str, y: str, by: Sequence[str]) -> list[Curve]:
    """Return the runs of a table, all of its rows; values of one run and step are averaged."""
    found: dict[str, list[tuple[float, float]]] = {}
    for name in ("train.csv", "held_out.csv"):
        for row in rows_of(folder / name):
            found.setdefault(", ".join(row.get(b, "") for b in by), []).append((float(row[x]), float(row[y])))
    curves = []
    for name, pairs in found.items():
        steps, values = np.array(sorted(pairs)).T
        X, where = np.unique(steps, return_inverse=True)
        Y = np.bincount(where, weights=values) / np.bincount(where)
        if (X > 0).sum() >= 8:
            curves.append(Curve(name, X[X > 0], Y[X > 0]))
    return curves


def nanolm(data: Path) -> Iterator[tuple[str, list[Curve]]]:
    """Yield the experiments of nanolm; their schedule is a cosine to zero after a warm-up of 5 %."""
    of = {row["run_id"]: e for e in EXPERIMENTS for row in rows_of(data / "nanolm" / f"{e}.csv")}
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows_of(data / "nanolm" / "curves.csv"):
        points.setdefault(row["run_id"], []).append((float(row["step"]), float(row["train_loss"])))
    for experiment in EXPERIMENTS:
        pairs = [(run, np.array(p).T) for run, p in points.items() if of.get(run) == experiment]
        yield f"nanolm, {experiment}", [Curve(run, p[0], p[1]) for run, p in pairs]


def offset_power(x: Array, y: Array, at: float) -> float:
    """Return E + A x^-a at `at`, by least squares: a grid over the exponent, refined."""
    u = x / x[-1]

    def solved(log_a: float) -> tuple[float, Array]:
        X = np.stack([np.ones_like(u), u ** -np.exp(log_a)], axis=1)
        c = np.linalg.lstsq(X, y, rcond=None)[0]
        return float(np.sum((y - X @ c) ** 2)), c

    grid = np.log(np.geomspace(0.01, 5, 80))
    k = int(np.argmin([solved(a)[0] for a in grid]))
    ends = (float(grid[max(k - 1, 0)]), float(grid[min(k + 1, 79)]))
    best = float(minimize_scalar(lambda a: solved(a)[0], bounds=ends, method="bounded").x)
    c = solved(best)[1]
    return float(c[0] + c[1] * (at / x[-1]) ** -np.exp(best))


def ends_of(name: str, curves: Sequence[Curve], schedule: str | None, cap: int) -> dict[str, Any] | None:
    """Return the errors on one table, and which intervals hold."""
    rng = np.random.default_rng(0)
    if len(curves) > cap:
        curves = [curves[i] for i in sorted(rng.choice(len(curves), cap, replace=False))]
    known = [(c, c.until(FIRST * c.x[-1])) for c in curves]
    known = [(c, part) for c, part in known if len(part.x) >= 4]
    if not known:
        return None
    ends = {c.name: float(c.x[-1]) for c, _ in known}
    rates = None
    if schedule is not None:
        rates = {c: Rates.of(read_schedule(schedule, end)) for c, end in ends.items()}
    finals, _, _ = final_values([part for _, part in known], ends, rates=rates, asked=Asked())
    y = np.array([c.y[-1] for c, _ in known])
    # a relative error of a score near zero says nothing
    told = np.abs(y) > 0 if (y > 0).all() else y > 0.02 * np.abs(y).max()
    power = np.array([offset_power(part.x, part.y, ends[c.name]) for c, part in known])
    last = np.array([part.y[-1] for _, part in known])
    found = np.array([f.value for f in finals])
    tried = {"sld": found, "power": power, "last": last}
    error = {k: float(np.mean(np.abs(v - y)[told] / np.abs(y)[told])) for k, v in tried.items()}
    inside = [bool(f.low <= v <= f.high) for f, v in zip(finals, y, strict=True)]
    width = float(np.median([(f.high - f.low) / abs(v) for f, v in zip(finals, y, strict=True) if v]))
    return {"name": name, "n": len(known), **error, "inside": float(np.mean(inside)), "width": width}


def ends_part(data: Path, cap: int) -> list[str]:
    """Return the lines about ends of runs."""
    lines = [
        "## The end of runs from their first 40 %", "",
        "| table | runs | error | / power law with offset | / last value | inside 90 % | width |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for title, tables in (("to build on", BUILD), ("to confirm on", CONFIRM)):
        rows = []
        for name, (suite, x, y, by, kind) in tables.items():
            rows.append(ends_of(name, curves_of(data / suite / name, x, y, by), kind, cap))
        if tables is BUILD:
            rows += [ends_of(name, curves, "cosine:warmup=0.05", cap) for name, curves in nanolm(data)]
        known = [r for r in rows if r is not None]
        for r in known:
            lines.append(
                f"| {r['name']} | {r['n']} | {r['sld']:.4f} | {r['sld'] / r['power']:.2f} | {r['sld'] / r['last']:.2f} "
                f"| {r['inside']:.2f} | {r['width']:.3f} |"
            )
        to = {k: np.exp(np.mean([np.log(r["sld"] / r[k]) for r in known])) for k in ("power", "last")}
        inside = np.mean([r["inside"] for r in known])
        by_run = np.average([r["inside"] for r in known], weights=[r["n"] for r in known])
        lines.append(
            f"| **{title}, geometric mean of {len(known)} tables** | | | {to['power']:.2f} | {to['last']:.2f} "
            f"| {inside:.2f} (by run {by_run:.2f}) | |"
        )
    return lines


def fitted_form(form: str, x: Array, y: Array) -> Callable[[Any], Any]:
    function, starts = FORMS[form]
    scale = float(np.exp(np.mean(np.log(x))))
    best: tuple[float, Any] | None = None
    for start in starts:
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", OptimizeWarning)
                p, _ = curve_fit(function, x / scale, y, p0=start, maxfev=4000)
                rest = float(np.sum((function(x / scale, *p) - y) ** 2))
        except RuntimeError:  # no convergence from here
            continue
        if np.isfinite(rest) and (best is None or rest < best[0]):
            best = (rest, p)
    if best is None:
        return lambda z: np.full(np.shape(z), np.nan)
    constants = best[1]
    return lambda z: function(np.asarray(z) / scale, *constants)


def best_form(x: Array, y: Array, at: float) -> float:
    """Return what the form says that best foretells the last training point from the others, fitted to all."""
    errors = {f: float(np.abs(fitted_form(f, x[:-1], y[:-1])(x[-1]) - y[-1])) for f in FORMS if len(x) > 4}
    known = {f: e for f, e in errors.items() if np.isfinite(e)}
    if not known:
        return float(y[-1])
    with np.errstate(all="ignore"):
        value = float(fitted_form(min(known, key=lambda f: known[f]), x, y)(at))
    # an error rate, as ours is told as well
    return float(np.clip(value, 0, 1)) if np.isfinite(value) else float(y[-1])


def learning_tables(data: Path) -> dict[str, dict[str, tuple[Array, Array, Array]]]:
    """Return for each table and learner sizes, errors, and which rows are training rows."""
    found: dict[str, dict[str, tuple[Array, Array, Array]]] = {}
    for folder in sorted((data / "open2").glob("lcdb_*")):
        points: dict[str, list[tuple[float, float, bool]]] = {}
        for name in ("train.csv", "held_out.csv"):
            for row in rows_of(folder / name):
                point = (float(row["n"]), float(row["err"]), name == "train.csv")
                points.setdefault(row.get("learner") or "all", []).append(point)
        found[folder.name] = {
            g: (np.array([v[0] for v in p]), np.array([v[1] for v in p]), np.array([v[2] for v in p]))
            for g, p in ((g, sorted(p)) for g, p in points.items())
        }
    return found


def learning_part(data: Path) -> list[str]:
    """Return the lines about learning curves."""
    lines = [
        "## Learning curves (LCDB): the error at the largest size", "",
        "| table | learners | error | best form by its validation point | last value | inside 90 % |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    errors: list[Array] = []
    inside: list[bool] = []
    tables = learning_tables(data)
    for name, groups in tables.items():
        curves = [Curve(g, x[t], y[t]) for g, (x, y, t) in groups.items()]
        ends = {g: float(x[-1]) for g, (x, _, _) in groups.items()}
        truth = np.array([y[-1] for _, y, _ in groups.values()])
        finals, _, _ = final_values(curves, ends, asked=Asked(lower=0.0, upper=1.0, pooled=False))
        ours = np.array([f.value for f in finals])
        form = np.array([best_form(c.x, c.y, ends[c.name]) for c in curves])
        last = np.array([c.y[-1] for c in curves])
        off = np.abs(np.stack([ours, form, last]) - truth)
        hold = [bool(f.low <= v <= f.high) for f, v in zip(finals, truth, strict=True)]
        errors.append(off)
        inside += hold
        a, b, c = off.mean(1)
        lines.append(f"| {name} | {len(curves)} | {a:.4f} | {b:.4f} | {c:.4f} | {np.mean(hold):.2f} |")
    joined = np.concatenate(errors, axis=1)
    by_table = np.exp(np.mean([np.log(e[0].mean() / e[1].mean()) for e in errors]))
    a, b, c = joined.mean(1)
    lines += [
        f"| **all {joined.shape[1]} learners** | | {a:.4f} | {b:.4f} | {c:.4f} | {np.mean(inside):.2f} |",
        "",
        f"Error over that of the best form: {by_table:.2f} as a geometric mean over tables, "
        f"{np.median(joined[0]) / np.median(joined[1]):.2f} of the medians, {a / b:.2f} of the means, which four "
        "learners of lcdb_aloi make up half of.",
    ]
    return [*lines, "", *picks(data, tables)]


def picks(data: Path, tables: Mapping[str, Mapping[str, tuple[Array, Array, Array]]]) -> list[str]:
    """Return the lines about the best of several models at ten times the data."""
    sets: dict[str, dict[str, tuple[Array, Array]]] = {
        name: {g: (x, y) for g, (x, y, _) in of.items()} for name, of in tables.items()
    }
    sft: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name in ("train.csv", "held_out.csv"):
        for row in rows_of(data / "sldbench-train" / "sft" / name):
            model, corpus = ast.literal_eval(row["group"])
            point = (float(row["sft_data_size"]), float(row["sft_loss"]))
            sft.setdefault(f"sft, {corpus}", {}).setdefault(model, []).append(point)
    for corpus, each in sft.items():
        sets[corpus] = {m: (np.array(sorted(p))[:, 0], np.array(sorted(p))[:, 1]) for m, p in each.items()}
    right: dict[str, list[tuple[bool, bool]]] = {"LCDB": [], "sft": [], "sft, from the smaller half": []}
    stopped: list[float] = []
    for name, models in sets.items():
        end = min(float(x[-1]) for x, _ in models.values())
        for share in (1 / 10, 1 / 30, 1 / 100):
            parts = [Curve(m, x[x <= end * share * 1.001], y[x <= end * share * 1.001]) for m, (x, y) in models.items()]
            if len(parts) < 2 or any(len(c.x) < (5 if name.startswith("lcdb") else 3) for c in parts):
                continue
            truth, ends = {}, {}
            for m, (x, y) in models.items():
                k = int(np.argmin(np.abs(np.log(x / (10 * end * share)))))
                truth[m], ends[m] = float(y[k]), float(10 * end * share)
            finals, _, _ = final_values(parts, ends, asked=Asked(lower=0.0, pooled=False))
            best = 1.01 * min(truth.values())
            chosen = min(finals, key=lambda f: f.worse).run
            now = min(parts, key=lambda c: float(c.y[-1])).name
            right["LCDB" if name.startswith("lcdb") else "sft"].append((truth[chosen] <= best, truth[now] <= best))
            stopped += [float(truth[f.run] > best) for f in finals if hopeless(f)]
    for corpus in sft:
        models = sets[corpus]
        sizes = sorted(set.intersection(*(set(x.tolist()) for x, _ in models.values())))
        known = sizes[: len(sizes) // 2]
        for size in sizes[len(known) :]:
            parts = [Curve(m, x[x <= known[-1]], y[x <= known[-1]]) for m, (x, y) in models.items()]
            truth = {m: float(y[x == size][0]) for m, (x, y) in models.items()}
            finals, _, _ = final_values(parts, dict.fromkeys(models, size), asked=Asked(lower=0.0, pooled=False))
            chosen, now = (
                min(finals, key=lambda f: f.worse).run,
                min(parts, key=lambda c: float(c.y[-1])).name,
            )
            best = 1.01 * min(truth.values())
            right["sft, from the smaller half"].append((truth[chosen] <= best, truth[now] <= best))
    lines = ["The best of several models at ten times the data: chosen within 1 % of the best.", ""]
    lines += ["| tables | cases | sld | best so far |", "|---|---|---|---|"]
    for name, cases in (*right.items(), ("LCDB and sft", right["LCDB"] + right["sft"])):
        ours, now = np.mean(cases, axis=0)
        lines.append(f"| {name} | {len(cases)} | {ours:.0%} | {now:.0%} |")
    right_to = f"{np.mean(stopped):.0%} were not within 1 %"
    return [*lines, "", f"Of {len(stopped)} models that were said to need no more data, {right_to}."]


def hopeless(final: Final) -> bool:
    return final.as_good is not None and final.as_good < 0.05


def chains_part(n: int = 200) -> list[str]:
    """Return the lines about simulated chains of two stages."""
    rng = np.random.default_rng(17)
    law, run, width = [], [], []
    for k in range(n):
        N, D = (x.ravel() for x in np.meshgrid(np.geomspace(2e7, 2e9, 6), np.array([5.0, 20, 80])))
        X, at = np.stack([N, N * D], axis=1), np.array([[7e9, 1.4e11]])
        E, a, b = rng.uniform(1.6, 2.2), rng.uniform(0.25, 0.4), rng.uniform(0.25, 0.4)
        A, B = rng.uniform(0.5, 1.5) * 1e8**a, rng.uniform(0.5, 1.5) * 2e9**b
        loss, true = (E + A * x[:, 0] ** -a + B * x[:, 1] ** -b for x in (X, at))
        seen, new = (x * np.exp(0.005 * rng.standard_normal(len(x))) for x in (loss, true))
        height, slope = rng.uniform(0.5, 0.75), rng.uniform(2, 6)
        place = rng.uniform(seen.min() - 0.2, np.median(seen))
        score, truth, measured = (0.25 + height / (1 + np.exp(slope * (x - place))) for x in (seen, true, new))
        bounds = Bounds(0.25 if k % 2 else None, 1.0, 0.0)
        rows = TaskRows("t", X, seen, score + 0.01 * rng.standard_normal(len(score)), bounds=bounds)
        told = forecast(rows, at, ["N", "D"]).scores[0]
        run.append(told.low <= measured[0] + 0.01 * rng.standard_normal() <= told.high)
        width.append(told.high - told.low)
        drawn = fit_chain(rows, TWO_STAGES).draws(at, 1000, rng)[:, 0]
        low, high = np.quantile(drawn, [0.05, 0.95])
        law.append(low <= truth[0] <= high)
    return [
        "## Simulated chains of two stages", "",
        f"18 models of 2e7 to 2e9 parameters, 0.5 % of noise in the loss and 0.01 in the score, asked for at 7e9: the "
        f"interval of 90 % that is printed holds the measured score of {np.mean(run):.1%} of {n} chains (median width "
        f"{np.median(width):.3f}); that of the draws alone holds the law's score in {np.mean(law):.1%}.",
    ]  # fmt: skip


def rates_part(n: int = 300) -> list[str]:
    """Return the lines about pass rates near 1e-4."""
    rng = np.random.default_rng(23)
    inside = []
    for _ in range(n):
        N = np.geomspace(1e7, 1e9, 7)
        c, alpha = rng.uniform(7.0, 9.5), rng.uniform(0.1, 0.3)
        tried = rng.integers(3000, 20000, len(N)).astype(float)
        solved = rng.binomial(tried.astype(int), np.exp(-c * (N / 1e7) ** -alpha)).astype(float)
        drawn = fit_rate(np.log(N), solved, tried).drawn(np.full((1000, 1), np.log(2.4e9)), rng)[:, 0]
        low, high = np.quantile(drawn, [0.05, 0.95])
        inside.append(low <= np.exp(-c * 240.0**-alpha) <= high)
    return [
        "## Pass rates that begin at 1e-4", "",
        f"Seven sizes, 3,000 to 20,000 samples each, rates of 7e-5 to 1e-3 at the smallest, asked for at 2.4 times the "
        f"largest: the interval of 90 % holds {np.mean(inside):.1%} of {n} rates.",
    ]  # fmt: skip


def schedules_part() -> list[str]:
    """Return the lines about laws of curves: fitted on cosine, asked about others."""
    published = {  # README of github.com/thu-yao-01-luo/MultiPowerLaw
        "25M": (3.04, 0.525, 0.508, 363.788, 2.066, 0.583, 0.641),
        "100M": (2.651, 0.601, 0.453, 437.946, 2.132, 0.598, 0.655),
        "400M": (2.375, 0.654, 0.429, 523.425, 2.025, 0.594, 0.635),
    }
    words = "peak=3e-4,warmup=2160,total=24000,end=0.1"
    cosine = read_schedule(f"cosine:{words}")
    others = {"wsd": f"wsd:{words},decay=4000", "linear": f"linear:{words}"}
    others["multistep"] = "multistep:peak=3e-4,warmup=2160,total=24000,drops=0.6/0.8,factor=0.316"
    step = np.arange(2300, 24001, 64.0)
    lines = [
        "## Fitted on cosine, asked about other schedules", "",
        "Curves of the published multi-power constants with noise of 0.003.", "",
        "| model | law | asked | R² | mean absolute error | inside 90 % |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    for model, (L0, A, alpha, B, C, beta, gamma) in published.items():
        shared = {"alpha": alpha, "S_W": 0.324, "B": B, "C": C, "beta": beta, "gamma": gamma}
        true = CurveConstants("multi-power", shared, {0: (L0, A)})
        loss = true.at(Rates.of(cosine), step) + 0.003 * rng.standard_normal(len(step))
        rows = {"step": step, "loss": loss}
        for name in ("annealing", "multi-power"):
            law = sld.curve_law(rows, target="loss", step="step", law=name, schedule=cosine.text())
            for other, text in others.items():
                wanted = true.at(Rates.of(read_schedule(text)), step)
                told = law.at(text, step)
                off = told.value - wanted
                r2 = 1 - float(np.mean(off**2) / np.var(wanted))
                hold = float(np.mean((told.low <= wanted) & (wanted <= told.high)))
                lines.append(f"| {model} | {name} | {other} | {r2:.4f} | {np.abs(off).mean():.4f} | {hold:.2f} |")
    return lines


def scores_part(data: Path) -> list[str]:
    """Return the lines about benchmark scores of real runs."""
    lines = [
        "## Error on ARC-easy at 2 to 100 times the compute", "",
        "| pre-training data | kind | rows asked | error | / nearest run | inside 90 % |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    tables = {}
    for split in ("train", "held_out"):
        loss = rows_of(data / "open2" / "kempner_own_loss" / f"{split}.csv")
        err = rows_of(data / "open2" / "kempner_arc_easy_err" / f"{split}.csv")
        tables[split] = [{**a, "err": b["err"]} for a, b in zip(loss, err, strict=True)]
    ratios, holds = [], []
    for group in dict.fromkeys(r["group"] for r in tables["train"]):
        train, asked = (
            {c: np.array([float(r[c]) for r in tables[s] if r["group"] == group]) for c in ("N", "D", "loss", "err")}
            for s in ("train", "held_out")
        )
        at = [{"N": n, "D": d} for n, d in zip(asked["N"], asked["D"], strict=True)]
        found = sld.downstream(
            train, scale=["N", "D"], metric="err", through="loss", better="lower", floor=0.75, at=at
        )["err"]  # fmt: skip
        value = np.array([s.value for s in found.scores])
        hold = np.mean([s.low <= y <= s.high for s, y in zip(found.scores, asked["err"], strict=True)])
        best = train["err"][np.argmax(train["N"] * train["D"])]
        error = float(np.mean(np.abs(value - asked["err"])))
        ratio = error / float(np.mean(np.abs(best - asked["err"])))
        ratios.append(ratio)
        holds.append(hold)
        lines.append(f"| {group} | {found.kind} | {len(at)} | {error:.4f} | {ratio:.2f} | {hold:.2f} |")
    return [*lines, f"| **mean** | | | | {np.mean(ratios):.2f} | {np.mean(holds):.2f} |"]


def time_part(n_runs: int = 500, n_points: int = 1000) -> list[str]:
    """Return the lines about time."""
    rng = np.random.default_rng(0)
    step = np.arange(1, n_points + 1) * 20.0
    curves = [
        1.5 + rng.random() + rng.uniform(20, 40) * step ** -rng.uniform(0.3, 0.6) + 0.02 * rng.standard_normal(n_points)
        for _ in range(n_runs)
    ]
    rows = {
        "step": np.tile(step, n_runs),
        "loss": np.concatenate(curves),
        "run": np.repeat([f"r{k}" for k in range(n_runs)], n_points),
    }
    took = {}
    for name, schedule in (("without a schedule", None), ("with a cosine", "cosine:warmup=200")):
        start = time.perf_counter()
        sld.curve(rows, target="loss", step="step", run="run", until=50000, schedule=schedule)
        took[name] = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    each = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items())
    return ["## Time", "", f"{n_runs} curves of {n_points} points: {each}; {peak:.2f} GB at most in this process."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--parts", default="ends,learning,chains,rates,schedules,scores,time")
    parser.add_argument("--cap", type=int, default=60)
    given = parser.parse_args()
    parts: dict[str, Callable[[], list[str]]] = {
        "ends": lambda: ends_part(given.data, given.cap),
        "learning": lambda: learning_part(given.data),
        "chains": chains_part,
        "rates": rates_part,
        "schedules": schedules_part,
        "scores": lambda: scores_part(given.data),
        "time": time_part,
    }
    print("# Curves\n\n`python bench/curves.py`; what each part is stands at the head of the script.")
    for name in given.parts.split(","):
        print("\n" + "\n".join(parts[name]()), flush=True)


if __name__ == "__main__":
    main()
