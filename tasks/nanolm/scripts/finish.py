#!/usr/bin/env python3
"""Turn the results of the training jobs into one CSV per experiment.

    python finish.py --raw DIR --corpus-json corpus.json --out DIR

Reads `results_*.csv` and `curves_*.csv` as `run_plan.py` wrote them. Writes one CSV per experiment with the
column `split`, `curves.csv`, `noise.csv` (spread over seeds), `sanity.json` (totals, noise, baseline fits,
comparison with compressors) and plots in `plots/`.
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.optimize import least_squares

M = 1 << 20
N, D = "n_params_non_embedding", "tokens"
DENSE_ONLY = ["exp", "val_loss_python", "val_loss_c", "mix_english", "mix_python", "mix_c"]


def read_all(raw, pattern):
    return pd.concat([pd.read_csv(f) for f in sorted(raw.glob(pattern))], ignore_index=True)


def is_test(experiment, x):
    """The proposed extrapolation split: True for the cells that are held out."""
    if experiment == "chinchilla":
        return (x[N] > 1.0e6) & (x[D] >= 31 * M) | (x[N] > 5e6) | (x[D] >= 127 * M)
    if experiment == "lr_batch":
        return (x[N] > 1e6) | ((x[N] > 4e5) & (x[D] >= 16 * M))
    if experiment == "data_repeat":
        return (x[D] >= 64 * M) | (x[N] > 1e6)
    if experiment == "mixture":
        return x[N] == x.groupby("batch_tokens")[N].transform("max")
    if experiment == "moe":
        return (x.experts == 32) | ((x.d_model == 128) & (x.experts >= 8))
    if experiment == "shape":
        return x[N] > 7e5
    if experiment == "context":
        return (x.context == 1024) | (x.d_model == 192)
    return pd.Series(False, index=x.index)


def split_experiments(runs):
    """One table per experiment, with the column `split` and without the columns that do not vary in it."""
    tables = {}
    for experiment, g in runs.groupby("exp"):
        g = g.copy()
        g.insert(2, "split", np.where(is_test(experiment, g), "test", "train"))
        drop = ["exp"] if experiment == "mixture" else list(DENSE_ONLY)
        if experiment != "moe":
            drop += ["experts", "n_params_active"]
        g = g.drop(columns=drop)
        if experiment == "mixture":
            g = g.rename(columns={"val_loss": "val_loss_english"})
        tables[experiment] = g
    return tables


def seed_noise(runs):
    """Standard deviation and mean of every configuration that was run with several seeds."""
    key = ["exp", "d_model", "n_layers", "context", "experts", D, "unique_tokens", "batch_tokens", "lr"]
    noise = []
    for k, g in runs.groupby([*key, "mix_english", "mix_python"]):
        if g.seed.nunique() > 1:
            noise.append((k[0], g[N].iloc[0], k[5], g.val_loss.std(ddof=1), g.val_loss.mean()))
    return pd.DataFrame(noise, columns=["exp", N, D, "std", "mean"])


def predict(p, n, d):
    """E + A/n^a + B/d^b with p = (log E, log A, a, log B, b)."""
    return np.exp(p[0]) + np.exp(p[1] - p[2] * np.log(n)) + np.exp(p[3] - p[4] * np.log(d))


def fit_chinchilla(n, d, y, restarts=40):
    """Fit `predict` to y in log space under the Huber loss, from random starts."""
    rng, best = np.random.default_rng(0), None
    for _ in range(restarts):
        p0 = [
            rng.uniform(-1.5, 0),
            rng.uniform(0, 4),
            rng.uniform(0.1, 0.6),
            rng.uniform(0, 8),
            rng.uniform(0.1, 0.7),
        ]
        r = least_squares(lambda p: np.log(predict(p, n, d)) - np.log(y), p0, loss="huber", f_scale=0.02, max_nfev=4000)
        if best is None or r.cost < best.cost:
            best = r
    return best.x


def baseline(rows, size):
    """Fit the classical form to the training rows; constants and scores on both parts."""
    train, test = rows[rows.split == "train"], rows[rows.split == "test"]
    p = fit_chinchilla(train[size].values.astype(float), train[D].values.astype(float), train.val_loss.values)

    def r2(x):
        error = ((x.val_loss - predict(p, x[size], x[D])) ** 2).sum()
        return float(1 - error / ((x.val_loss - x.val_loss.mean()) ** 2).sum())

    def relative_error(x):
        return float((abs(x.val_loss - predict(p, x[size], x[D])) / x.val_loss).mean())

    return dict(
        E=float(np.exp(p[0])),
        A=float(np.exp(p[1])),
        alpha=float(p[2]),
        B=float(np.exp(p[3])),
        beta=float(p[4]),
        n_train=len(train),
        n_test=len(test),
        r2_train=r2(train),
        r2_test=r2(test),
        mean_rel_err_train=relative_error(train),
        mean_rel_err_test=relative_error(test),
    )


def report(runs, tables, noise, corpus):
    """The content of sanity.json."""
    rep = {
        "rows": {k: len(v) for k, v in tables.items()},
        "total_flops": float(runs.flops.sum()),
        "total_tokens": int(runs.tokens.sum()),
    }
    rep["noise"] = {
        e: dict(
            cells=len(g),
            rms_std=float(np.sqrt((g["std"] ** 2).mean())),
            rms_relative=float(np.sqrt(((g["std"] / g["mean"]) ** 2).mean())),
        )
        for e, g in noise.groupby("exp")
    }
    if "chinchilla" in tables:
        c = tables["chinchilla"]
        best = c.loc[c.groupby([N, D]).val_loss.idxmin()]
        rep["fit"] = {
            f"{name}/{size}": baseline(rows, size)
            for name, rows in (("min_over_lr_and_seed", best), ("all_rows", c))
            for size in (N, "n_params_total")
        }
        grid = best.pivot(index=N, columns=D, values="val_loss")
        rep["monotone"] = dict(
            up_in_D=int((np.diff(grid.values, axis=1) > 0).sum()),
            up_in_N=int((np.diff(grid.values, axis=0) > 0).sum()),
            cells=int(grid.notna().sum().sum()),
        )
    least = {"english": runs.val_loss.min(), "python": runs.val_loss_python.min(), "c": runs.val_loss_c.min()}
    rep["compress"] = {
        d: dict(
            best_model_bits_per_byte=round(float(least[d] / np.log(2)), 4),
            xz9=corpus[d]["val_xz9_bits_per_byte"],
            gzip9=corpus[d]["val_gzip9_bits_per_byte"],
        )
        for d in corpus
    }
    return rep


def finish_figure(fig, path):
    fig.tight_layout()
    fig.savefig(path, dpi=110)
    plt.close(fig)


def plot_chinchilla(c, folder):
    best = c.loc[c.groupby([N, D]).val_loss.idxmin()]
    fig, ax = plt.subplots(1, 2, figsize=(11, 4.2))
    for n, g in best.groupby(N):
        ax[0].plot(g[D], g.val_loss, "o-", ms=3, label=f"{n:.2e}")
    for d, g in best.groupby(D):
        ax[1].plot(g[N], g.val_loss, "o-", ms=3, label=f"{d / M:.0f}M")
    title = "chinchilla: L against D, one line per N"
    ax[0].set(xscale="log", yscale="log", xlabel="tokens D", ylabel="validation loss (nats/byte)", title=title)
    ax[1].set(xscale="log", yscale="log", xlabel="non-embedding parameters N", title="L against N, one line per D")
    for a in ax:
        a.legend(fontsize=6)
        a.grid(alpha=0.3, which="both")
    finish_figure(fig, folder / "chinchilla.png")


def plot_lr_batch(c, folder):
    cells = list(c.groupby([N, D]))
    columns = (len(cells) + 1) // 2
    fig, ax = plt.subplots(2, columns, figsize=(3 * columns, 6), squeeze=False)
    for a, ((n, d), g) in zip(ax.flat, cells):
        for b, h in g.groupby("batch_tokens"):
            h = h.sort_values("lr")
            a.plot(h.lr, h.val_loss, "o-", ms=2, label=f"B={b}")
        a.set(xscale="log", title=f"N={n} D={d / M:.0f}M", xlabel="lr")
        a.title.set_fontsize(8)
        a.legend(fontsize=5)
    finish_figure(fig, folder / "lr_batch.png")


def plot_data_repeat(c, folder):
    sizes = sorted(c[N].unique())
    fig, ax = plt.subplots(1, len(sizes), figsize=(3.6 * len(sizes), 3.6), squeeze=False)
    for a, n in zip(ax.flat, sizes):
        for u, h in c[c[N] == n].groupby("unique_tokens"):
            h = h.groupby(D).val_loss.mean()
            a.plot(h.index, h.values, "o-", ms=3, label=f"U={u / M:g}M")
        a.set(xscale="log", yscale="log", title=f"data_repeat N={n}", xlabel="tokens D")
        a.legend(fontsize=5)
    finish_figure(fig, folder / "data_repeat.png")


def plot_mixture(c, folder):
    fig, ax = plt.subplots(1, 3, figsize=(11, 3.6))
    for a, domain in zip(ax, ("english", "python", "c")):
        for (n, b), h in c.groupby([N, "batch_tokens"]):
            a.plot(h["mix_" + domain], h["val_loss_" + domain], ".", label=f"N={n} B={b}")
        a.set(title=f"mixture: loss on {domain}", xlabel="share of " + domain)
        a.legend(fontsize=5)
    finish_figure(fig, folder / "mixture.png")


def plot_others(tables, folder):
    fig, ax = plt.subplots(1, 3, figsize=(12, 3.8))
    if "moe" in tables:
        for (d_model, layers, d), h in tables["moe"].groupby(["d_model", "n_layers", D]):
            h = h.groupby("experts").val_loss.mean()
            ax[0].plot(h.index, h.values, "o-", ms=3, label=f"d={d_model} L={layers} D={d / M:.0f}M")
        ax[0].set(xscale="log", yscale="log", xlabel="experts", title="moe")
    if "shape" in tables:
        for (d_model, b), h in tables["shape"].groupby(["d_model", "batch_tokens"]):
            h = h.groupby("n_layers").val_loss.mean()
            ax[1].plot(h.index, h.values, "o-" if b < 8192 else "x:", ms=3, label=f"d={d_model} B={b}")
        ax[1].set(xscale="log", yscale="log", xlabel="layers", title="shape (8M tokens)")
    if "context" in tables:
        for d_model, h in tables["context"].groupby("d_model"):
            h = h.groupby("context").val_loss.mean()
            ax[2].plot(h.index, h.values, "o-", ms=3, label=f"d={d_model}")
        ax[2].set(xscale="log", yscale="log", xlabel="context", title="context (16M tokens)")
    for a in ax:
        if a.lines:
            a.legend(fontsize=5)
    finish_figure(fig, folder / "moe_shape_context.png")


PLOTS = {
    "chinchilla": plot_chinchilla,
    "lr_batch": plot_lr_batch,
    "data_repeat": plot_data_repeat,
    "mixture": plot_mixture,
}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--raw", type=Path, required=True)
    ap.add_argument("--corpus-json", type=Path, required=True)
    ap.add_argument("--out", type=Path, required=True)
    a = ap.parse_args()
    (a.out / "plots").mkdir(parents=True, exist_ok=True)
    runs, curves = read_all(a.raw, "results_*.csv"), read_all(a.raw, "curves_*.csv")
    assert runs.run_id.is_unique, "two runs share a run_id"
    runs[N] = runs[N].astype(int)
    tables = split_experiments(runs)
    for experiment, g in tables.items():
        g.to_csv(a.out / f"{experiment}.csv", index=False)
        held_out = int((g.split == "test").sum())
        print(f"{experiment:12s} rows {len(g):4d} test {held_out:4d} diverged {int(g.diverged.sum())}")
    curves.to_csv(a.out / "curves.csv", index=False)
    noise = seed_noise(runs)
    noise.to_csv(a.out / "noise.csv", index=False)
    rep = report(runs, tables, noise, json.loads(a.corpus_json.read_text()))
    (a.out / "sanity.json").write_text(json.dumps(rep, indent=1))
    for experiment, plot in PLOTS.items():
        if experiment in tables:
            plot(tables[experiment], a.out / "plots")
    plot_others(tables, a.out / "plots")


if __name__ == "__main__":
    main()
