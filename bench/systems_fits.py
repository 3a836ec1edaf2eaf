"""Learning algorithms as jobs: seconds of a fit, bytes of a model, recall of an index."""

from __future__ import annotations

import itertools
import pickle
from functools import partial
from typing import Any

import numpy as np
from measuring import other, scale, target
from systems_tables import SECONDS, Array, Registry, Rows, drawn, seconds

TABLES = Registry()


@TABLES.table(
    lambda r: r["rows"] >= 20000,
    ["sklearn"],
    title="Boosted trees on histograms: seconds of a fit",
    row="one fit of a regression, timed once",
    variables=[
        scale("rows", "rows of the table", "rows", up=True),
        scale("columns", "columns of the table", "columns"),
        scale("leaves", "leaves of a tree at most", "leaves"),
        scale("trees", "trees", "trees"),
    ],
    targets=[SECONDS],
    max_constants=9,
    extrapolation="up in rows: 20000 to 60000",
    notes=["settings drawn at random, even in log", "no early stopping; 255 bins"],
)
def boosting_fit() -> Rows:
    from sklearn.ensemble import HistGradientBoostingRegressor

    rng = np.random.default_rng(7)
    for _ in range(70):
        rows, columns = drawn(rng, 500, 6e4), drawn(rng, 3, 60)
        leaves, trees = drawn(rng, 4, 64), drawn(rng, 4, 60)
        x, y = _regression(rng, rows, columns)
        model = HistGradientBoostingRegressor(max_iter=trees, max_leaf_nodes=leaves, early_stopping=False)
        taken = seconds(partial(model.fit, x, y))
        yield {"rows": rows, "columns": columns, "leaves": leaves, "trees": trees, "seconds": taken}


def _regression(rng: np.random.Generator, rows: int, columns: int) -> tuple[Array, Array]:
    x = rng.normal(size=(rows, columns))
    return x, np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.3 * rng.normal(size=rows)


@TABLES.table(
    lambda r: r["rows"] >= 4000,
    ["sklearn"],
    title="Random forest: seconds of a fit, and bytes of the model",
    row="one fit of a regression",
    variables=[
        scale("rows", "rows of the table", "rows", up=True),
        scale("columns", "columns of the table", "columns"),
        scale("trees", "trees", "trees"),
        other("min_leaf", "rows in a leaf at least", "rows"),
    ],
    targets=[SECONDS, target("bytes", "length of the pickled model", "bytes")],
    max_constants=8,
    extrapolation="up in rows: 4000 and 8000",
    notes=["half of a full grid, drawn at random", "a third of the columns is tried at a split"],
)
def forest_fit() -> Rows:
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(8)
    grid = list(itertools.product((250, 500, 1000, 2000, 4000, 8000), (4, 10, 25), (3, 10, 30), (1, 5, 20)))
    for i in sorted(rng.choice(len(grid), len(grid) // 2, replace=False)):
        rows, columns, trees, min_leaf = grid[i]
        x, y = _regression(rng, rows, columns)
        model = RandomForestRegressor(trees, min_samples_leaf=min_leaf, max_features=1 / 3, random_state=0)
        taken = seconds(partial(model.fit, x, y))
        at = {"rows": rows, "columns": columns, "trees": trees, "min_leaf": min_leaf}
        yield {**at, "seconds": taken, "bytes": len(pickle.dumps(model))}


@TABLES.table(
    lambda r: r["n"] >= 40000,
    ["sklearn"],
    title="Ten rounds of k-means: seconds",
    row="one fit; two of each setting, from different starts",
    variables=[
        scale("n", "points", "points", up=True),
        scale("k", "clusters", "clusters"),
        scale("d", "dimensions", "1"),
    ],
    targets=[SECONDS],
    max_constants=7,
    extrapolation="up in points: 40000",
)
def kmeans_rounds() -> Rows:
    rng = np.random.default_rng(9)
    for n, k, d in itertools.product((400, 2000, 10000, 40000), (4, 16, 64), (2, 8, 32)):
        x = rng.normal(size=(n, d))
        for start in range(2):
            yield {"n": n, "k": k, "d": d, "seconds": seconds(partial(_kmeans, x, k, start))}


def _kmeans(x: Array, k: int, seed: int) -> Any:
    from sklearn.cluster import KMeans

    return KMeans(k, init="random", n_init=1, max_iter=10, tol=0.0, algorithm="lloyd", random_state=seed).fit(x)


@TABLES.table(
    lambda r: r["nprobe"] >= 16 or (r["n"] >= 24000 and r["nprobe"] >= 4),
    ["sklearn"],
    timed=False,
    title="Nearest neighbours by inverted lists: recall",
    row="one index with 200 queries",
    variables=[
        scale("n", "points in the index", "points", up=True),
        other("nlist", "lists", "lists"),
        scale("nprobe", "lists searched", "lists", up=True, monotone="increasing"),
        other("dim", "dimensions", "1"),
    ],
    targets=[target("recall", "share of the ten nearest that are found", "fraction", "higher", upper=1.0)],
    max_constants=8,
    extrapolation="up: 16 lists searched, or 24000 points with 4 lists and more",
    notes=["points and queries from one normal cloud", "lists from ten rounds of k-means"],
)
def inverted_list_recall() -> Rows:
    rng = np.random.default_rng(10)
    for dim, n, nlist in itertools.product((4, 12, 32), (1500, 6000, 24000), (32, 64, 128, 256)):
        x, queries = (rng.normal(size=(m, dim)) for m in (n, 200))
        lists = _kmeans(x, nlist, 0)
        apart = ((queries**2).sum(1)[:, None] - 2 * queries @ x.T) + (x**2).sum(1)
        nearest = np.argpartition(apart, 10, axis=1)[:, :10]
        # how many lists are nearer to the query than the one that holds the neighbour
        rank = lists.transform(queries).argsort(axis=1).argsort(axis=1)
        found = np.take_along_axis(rank, lists.labels_[nearest].astype(int), axis=1)
        for nprobe in (1, 2, 4, 8, 16):
            recall = float((found < nprobe).mean())
            yield {"n": n, "nlist": nlist, "nprobe": nprobe, "dim": dim, "recall": recall}
