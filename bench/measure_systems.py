"""Measurements of systems: seconds, rates, bytes and errors over the sizes of a job, each a table with held-out rows.

    python bench/measure_systems.py OUT [--only NAME,NAME]

Every table is one function below: its design (a grid, sweeps of one variable, random sizes, a ladder), with seeds that
are fixed, and its split, which holds out the largest jobs. What is timed is CPU time on the machine at hand, on one
thread (the server's alone is wall-clock time), so that the rows differ from one machine, and from one call, to the
next; the counts of bytes and the errors of approximations do not. Noise stays in: whether a row is one timing or a
median, its card says.

Needs numpy and scipy; further scikit-learn, polars and torch for the tables that use them, which are left out with a
line where those are absent. About five minutes on one core, and 2 GB of memory.
"""

from __future__ import annotations

import bz2
import contextlib
import itertools
import json
import lzma
import os
import pickle
import socket
import socketserver
import sqlite3
import statistics
import sysconfig
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "POLARS_MAX"):  # read when numpy and polars are first imported
    os.environ.setdefault(f"{_name}_THREADS", "1")

import numpy as np  # noqa: E402
from measuring import Experiment, Row, card_of, main, other, scale, target  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

Array = NDArray[Any]
Rows = Iterator[Row]

EXPERIMENTS: list[Experiment] = []
SECONDS = target("seconds", "CPU time", "s")


def table(
    held: Callable[[Any], bool], needs: Iterable[str] = (), *, timed: bool = True, **card: Any
) -> Callable[[Callable[[], Rows]], Callable[[], Rows]]:
    """Enter a measurement into the registry under the name of its function."""

    def enter(measure: Callable[[], Rows]) -> Callable[[], Rows]:
        notes = [*card.pop("notes", []), *(["seconds are CPU time of one process on one thread"] if timed else [])]
        entered = card_of(measure.__name__, notes=notes, **card)
        EXPERIMENTS.append(Experiment(entered, measure, held, tuple(needs)))
        return measure

    return enter


def seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Return the median CPU seconds of `repeats` calls: other jobs of the machine wait in wall-clock time alone."""

    def once() -> float:
        begun = time.process_time()
        call()
        return time.process_time() - begun

    return statistics.median(once() for _ in range(repeats))


def drawn(rng: np.random.Generator, low: float, high: float) -> int:
    """Return a whole number, even in its logarithm between `low` and `high`, rounded to two digits as people do."""
    value = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return int(float(f"{value:.1e}"))


def doubling(low: int, high: int, factor: int = 2) -> list[int]:
    """Return the ladder low, low * factor, ... up to high."""
    steps = [low]
    while steps[-1] * factor <= high:
        steps.append(steps[-1] * factor)
    return steps


def torch_on_one_thread() -> Any:
    """Return torch, with its own threads off."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    return torch


# Linear algebra and arrays


@table(
    lambda r: r["M"] * r["N"] * r["K"] > 2.5e7,
    title="Matrix product: seconds over its three sides",
    row="one product of random matrices, median of three timings",
    variables=[
        scale("M", "rows of the left matrix", "1", up=True),
        scale("N", "columns of the right matrix", "1", up=True),
        scale("K", "inner side", "1", up=True),
    ],
    targets=[SECONDS],
    group="dtype",
    group_meaning="type of the numbers",
    max_constants=6,
    extrapolation="up: products of more than 2.5e7 multiply-adds",
    cost="M*N*K",
    notes=["sides drawn at random, even in log from 16 to 1536", "numpy on one thread"],
)
def matmul_seconds() -> Rows:
    rng = np.random.default_rng(1)
    for _ in range(50):
        m, n, k = (drawn(rng, 16, 1536) for _ in range(3))
        for dtype in ("float32", "float64"):
            a, b = (rng.normal(size=shape).astype(dtype) for shape in ((m, k), (k, n)))
            yield {"dtype": dtype, "M": m, "N": n, "K": k, "seconds": seconds(partial(np.matmul, a, b), 3)}


@table(
    lambda r: r["batch"] >= 16 or r["heads"] >= 16 or r["seq"] >= 1024 or r["head_dim"] >= 256,
    title="Attention written out in numpy: seconds over four sizes",
    row="one timing",
    variables=[
        scale("batch", "sequences", "sequences", up=True),
        scale("heads", "attention heads", "heads", up=True),
        scale("seq", "length of a sequence", "tokens", up=True),
        scale("head_dim", "width of a head", "units", up=True),
    ],
    targets=[SECONDS],
    max_constants=8,
    extrapolation="up, one variable at a time: batch 16, 16 heads, 1024 tokens or head width 256",
    notes=[
        "sweeps of one variable around batch 2, 4 heads, 256 tokens, head width 64; three timings of each setting",
        "scores, softmax and weighted sum on float32, with all scores in memory",
    ],
)
def attention_numpy() -> Rows:
    rng = np.random.default_rng(2)
    centre = {"batch": 2, "heads": 4, "seq": 256, "head_dim": 64}
    sweeps = {
        "batch": [1, 2, 3, 4, 6, 8, 16],
        "heads": [1, 2, 3, 6, 8, 12, 16],
        "seq": [32, 64, 128, 384, 512, 1024],
        "head_dim": [8, 16, 32, 96, 128, 256],
    }

    def attend(q: Array, k: Array, v: Array) -> Array:
        scores = q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(q.shape[-1]))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(scores / scores.sum(axis=-1, keepdims=True) @ v)

    for name, levels in sweeps.items():
        for level in levels:
            at = centre | {name: level}
            q, k, v = (rng.normal(size=tuple(at.values())).astype(np.float32) for _ in range(3))
            for _ in range(3):
                yield {**at, "seconds": seconds(partial(attend, q, k, v))}


@table(
    lambda r: r["n"] >= 2**15,
    title="Fast Fourier transform: seconds over length and batch",
    row="one batch of transforms, timed once",
    variables=[
        scale("n", "length of a transform, a power of two", "points", up=True, monotone="increasing"),
        scale("batch", "transforms in one call", "1", monotone="increasing"),
    ],
    targets=[SECONDS],
    max_constants=6,
    extrapolation="up in length: 32768 to 131072 points",
)
def fft_batches() -> Rows:
    rng = np.random.default_rng(3)
    np.fft.rfft(rng.normal(size=(2, 64)))
    for n, batch in itertools.product(doubling(64, 2**17), (1, 8, 64)):
        x = rng.normal(size=(batch, n))
        yield {"n": n, "batch": batch, "seconds": seconds(partial(np.fft.rfft, x))}


@table(
    lambda r: r["n"] >= 512,
    title="Batched Cholesky factorisation: seconds",
    row="one call, median of three",
    variables=[
        scale("n", "side of a matrix", "1", up=True),
        scale("batch", "matrices in one call", "1"),
    ],
    targets=[SECONDS],
    max_constants=6,
    extrapolation="up in the side of a matrix: 512 to 2048",
    notes=["only those pairs that fit 64 MB, so that large matrices come in small batches"],
)
def cholesky_batches() -> Rows:
    rng = np.random.default_rng(4)
    for n, batch in itertools.product(doubling(8, 2048), (1, 16, 256)):
        if n * n * batch * 8 <= 64e6:
            a = rng.normal(size=(batch, n, n)) / np.sqrt(n)
            a = a @ a.swapaxes(-1, -2) + np.eye(n)
            yield {"n": n, "batch": batch, "seconds": seconds(partial(np.linalg.cholesky, a), 3)}


@table(
    lambda r: r["n"] * r["n"] * r["density"] * r["columns"] > 1e6,
    ["scipy"],
    title="Sparse times dense matrix: seconds",
    row="one product, timed once",
    variables=[
        scale("n", "side of the square sparse matrix", "1", up=True),
        scale("density", "share of entries that are not zero", "1", up=True),
        scale("columns", "columns of the dense matrix", "1", up=True),
    ],
    targets=[SECONDS],
    max_constants=7,
    extrapolation="up: more than 1e6 multiply-adds",
    notes=["sizes drawn at random, even in log", "compressed rows, float64"],
)
def sparse_product() -> Rows:
    from scipy import sparse

    rng = np.random.default_rng(5)
    for _ in range(90):
        n, columns = drawn(rng, 200, 2e4), drawn(rng, 1, 64)
        density = float(f"{np.exp(rng.uniform(np.log(1e-4), np.log(2e-2))):.1e}")
        a = sparse.random(n, n, density, format="csr", rng=rng)
        b = rng.normal(size=(n, columns))
        yield {"n": n, "density": density, "columns": columns, "seconds": seconds(partial(a.dot, b))}


@table(
    lambda r: r["bytes"] >= 2**23,
    title="Bandwidth of a strided copy over its size",
    row="one copy, median of 25 timings",
    variables=[
        scale("bytes", "bytes written", "bytes", up=True),
        other("stride", "distance of the float64 values read", "values"),
    ],
    targets=[target("rate", "bytes written per second", "GB/s", "higher")],
    max_constants=10,
    extrapolation="up in size: 8 to 32 MiB",
    notes=["the levels of the cache show as steps", "the call itself rules the smallest sizes"],
)
def strided_copy() -> Rows:
    for stride, size in itertools.product((1, 2, 4, 8, 16), doubling(2**10, 2**25)):
        source = np.ones(size // 8 * stride)[::stride]
        into = np.empty(size // 8)
        np.copyto(into, source)
        taken = seconds(partial(np.copyto, into, source), 25)
        yield {"bytes": size, "stride": stride, "rate": size / taken / 1e9}


# Neural networks


@table(
    lambda r: r["width"] >= 384 or r["depth"] >= 8,
    ["torch"],
    title="Transformer on a CPU: seconds of a step over six sizes",
    row="one step after one to warm up",
    variables=[
        scale("width", "width of the model", "units", up=True),
        scale("depth", "layers", "layers", up=True),
        other("heads", "attention heads", "heads"),
        scale("batch", "sequences", "sequences"),
        scale("seq", "length of a sequence", "tokens"),
        scale("vocab", "entries of the vocabulary", "tokens"),
    ],
    targets=[SECONDS],
    group="pass",
    group_meaning="forward alone, or forward and backward",
    max_constants=12,
    extrapolation="up in size: width 384, or 8 layers",
    notes=["settings drawn at random from short lists", "feed-forward width four times the width"],
)
def transformer_step() -> Rows:
    torch = torch_on_one_thread()
    rng = np.random.default_rng(6)
    for _ in range(60):
        at = {
            "width": int(rng.choice([64, 96, 128, 192, 256, 384])),
            "depth": int(rng.choice([1, 2, 3, 4, 6, 8])),
            "heads": int(rng.choice([2, 4, 8])),
            "batch": int(rng.choice([1, 2, 4, 8])),
            "seq": int(rng.choice([32, 64, 128])),
            "vocab": int(rng.choice([500, 2000, 8000])),
        }
        embed, body, head = _transformer(torch, at["width"], at["depth"], at["heads"], at["vocab"])
        tokens = torch.randint(at["vocab"], (at["batch"], at["seq"]))

        def forward(embed: Any = embed, body: Any = body, head: Any = head, tokens: Any = tokens) -> Any:
            logits = head(body(embed(tokens)))
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())

        def inference(forward: Callable[[], Any] = forward) -> None:
            with torch.no_grad():
                forward()

        def training(forward: Callable[[], Any] = forward) -> None:
            forward().backward()

        for name, call in (("forward", inference), ("forward and backward", training)):
            call()
            yield {"pass": name, **at, "seconds": seconds(call)}


def _transformer(torch: Any, width: int, depth: int, heads: int, vocab: int) -> tuple[Any, Any, Any]:
    nn = torch.nn
    layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
    body = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
    return nn.Embedding(vocab, width), body, nn.Linear(width, vocab)


@table(
    lambda r: r["width"] * r["depth"] >= 1024,
    ["torch"],
    timed=False,
    title="Bytes that a transformer keeps for its backward pass",
    row="one forward pass, counted",
    variables=[
        scale("width", "width of the model", "units", up=True, monotone="increasing"),
        scale("depth", "layers", "layers", up=True, monotone="increasing"),
        scale("batch", "sequences", "sequences", monotone="increasing"),
        scale("seq", "length of a sequence", "tokens", monotone="increasing"),
    ],
    targets=[target("bytes", "activations kept for the backward pass, each once, without weights", "bytes")],
    max_constants=8,
    extrapolation="up in size: width x depth of 1024 and more",
    notes=["exact: a second count gives the same", "attention keeps its scores", "4 heads, vocabulary of 1000"],
)
def saved_activations() -> Rows:
    torch = torch_on_one_thread()
    for width, depth in itertools.product((32, 64, 128, 256), (1, 2, 4, 8)):
        parts = _transformer(torch, width, depth, 4, 1000)
        weights = {p.untyped_storage().data_ptr() for part in parts for p in part.parameters()}
        for batch, seq in itertools.product((1, 3, 8), (16, 64, 128)):
            kept = _kept(torch, parts, torch.randint(1000, (batch, seq)))
            total = sum(size for at, size in kept.items() if at not in weights)
            yield {"width": width, "depth": depth, "batch": batch, "seq": seq, "bytes": total}


def _kept(torch: Any, parts: tuple[Any, Any, Any], tokens: Any) -> dict[int, int]:
    """Return the bytes of every storage that autograd keeps, by its address."""
    embed, body, head = parts
    kept: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    whole_scores = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), whole_scores:
        logits = head(body(embed(tokens)))
        # the result holds what was kept, so that no address is used twice before the count is done
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
    del loss
    return kept


@table(
    lambda r: r["hidden"] >= 512,
    ["torch"],
    title="LSTM on a CPU: seconds of a training step",
    row="one step after one to warm up",
    variables=[
        scale("hidden", "units of the one layer, and of its input", "units", up=True),
        scale("batch", "sequences", "sequences"),
        scale("seq", "steps of a sequence", "steps"),
    ],
    targets=[SECONDS],
    max_constants=8,
    extrapolation="up in units: 512",
)
def lstm_step() -> Rows:
    torch = torch_on_one_thread()
    for hidden, batch, seq in itertools.product((32, 64, 128, 256, 512), (1, 4, 16, 64), (8, 32, 64)):
        layer = torch.nn.LSTM(hidden, hidden, batch_first=True)
        x = torch.randn(batch, seq, hidden)

        def step(layer: Any = layer, x: Any = x) -> None:
            layer(x)[0].square().mean().backward()

        step()
        yield {"hidden": hidden, "batch": batch, "seq": seq, "seconds": seconds(step)}


@table(
    lambda r: r["context"] >= 2048 or r["batch"] >= 16,
    ["torch"],
    title="Decoding with a cache: tokens per second over context and batch",
    row="four tokens of each sequence, median of five timings",
    variables=[
        scale("context", "tokens in the cache", "tokens", up=True),
        scale("batch", "sequences decoded together", "sequences", up=True),
    ],
    targets=[target("rate", "tokens per second, of all sequences together", "tokens/s", "higher")],
    group="width",
    group_meaning="width of the model, four layers",
    max_constants=6,
    extrapolation="up: contexts of 2048 and 4096, or batch 16",
)
def cached_decoding() -> Rows:
    torch = torch_on_one_thread()
    contexts = [16, 64, 128, 256, 512, 1024, 2048, 4096]
    for width, batch, context in itertools.product((128, 256), (1, 2, 4, 8, 16), contexts):
        if context * batch <= 32768:
            decode = _decoder(torch, width, batch, context)
            decode(1)
            rate = 4 * batch / seconds(partial(decode, 4), 5)
            yield {"width": f"w{width}", "context": context, "batch": batch, "rate": rate}


def _decoder(torch: Any, width: int, batch: int, context: int, depth: int = 4, heads: int = 4) -> Callable[[int], None]:
    """Return a call that decodes so many tokens of each sequence, against caches of a fixed length."""
    shapes = ((3 * width, width), (width, width), (4 * width, width), (width, 4 * width))
    layers = [[torch.randn(shape) / width**0.5 for shape in shapes] for _ in range(depth)]
    caches = [torch.randn(2, batch, heads, context, width // heads) for _ in range(depth)]
    unembed = torch.randn(4000, width)

    def token() -> Any:
        x = torch.ones(batch, width)
        for (qkv, out, up, down), cache in zip(layers, caches, strict=True):
            q, k, v = (x @ qkv.T).view(batch, 3, heads, 1, width // heads).unbind(1)
            cache[0][:, :, -1:], cache[1][:, :, -1:] = k, v
            mixed = torch.nn.functional.scaled_dot_product_attention(q, cache[0], cache[1])
            x = x + mixed.reshape(batch, width) @ out.T
            x = x + torch.relu(x @ up.T) @ down.T
            x = torch.nn.functional.layer_norm(x, (width,))
        return (x @ unembed.T).argmax(-1)

    def decode(tokens: int) -> None:
        for _ in range(tokens):
            token()

    return decode


# Learning algorithms as jobs


@table(
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


@table(
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


@table(
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


@table(
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


# Data: tables, databases, files


@table(
    lambda r: r["rows"] >= 400_000,
    ["polars"],
    title="Group-by of a data frame: rows per second",
    row="one query, timed once",
    variables=[
        scale("rows", "rows of the table", "rows", up=True),
        scale("groups", "different keys", "keys"),
        scale("columns", "columns that are averaged", "columns"),
    ],
    targets=[target("rate", "rows per second", "rows/s", "higher")],
    max_constants=9,
    extrapolation="up in rows: 4e5 to 3e6",
    notes=["sizes drawn at random, even in log", "one thread"],
)
def group_by_rate() -> Rows:
    import polars as pl

    rng = np.random.default_rng(11)
    for _ in range(80):
        rows, groups, columns = drawn(rng, 1e3, 3e6), drawn(rng, 2, 1e5), drawn(rng, 1, 8)
        data = {f"x{i}": rng.normal(size=rows) for i in range(columns)}
        frame = pl.DataFrame({"key": rng.integers(groups, size=rows), **data})
        taken = seconds(partial(frame.group_by("key").agg, pl.all().mean()))
        yield {"rows": rows, "groups": groups, "columns": columns, "rate": rows / taken}


@table(
    lambda r: r["left"] + r["right"] > 250_000,
    title="Hash join in plain Python: seconds",
    row="one join, timed once",
    variables=[
        scale("left", "rows of the table that is hashed", "rows", up=True),
        scale("right", "rows of the table that is looked up", "rows", up=True),
        other("matching", "share of the looked-up rows that have a partner", "fraction"),
    ],
    targets=[SECONDS],
    max_constants=8,
    extrapolation="up: more than 250000 rows in both tables together",
    notes=["sizes drawn at random, even in log"],
)
def hash_join() -> Rows:
    rng = np.random.default_rng(12)
    for _ in range(60):
        n_left, n_right = drawn(rng, 1e3, 6e5), drawn(rng, 1e3, 6e5)
        matching = float(rng.choice([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]))
        left = list(zip(rng.permutation(n_left).tolist(), range(n_left), strict=True))
        keys = rng.integers(n_left, size=n_right) + n_left * (rng.random(n_right) >= matching)
        right = list(zip(keys.tolist(), range(n_right), strict=True))

        def join(left: list[tuple[int, int]] = left, right: list[tuple[int, int]] = right) -> list[Any]:
            index = dict(left)
            return [(key, value, index[key]) for key, value in right if key in index]

        yield {"left": n_left, "right": n_right, "matching": matching, "seconds": seconds(join)}


@table(
    lambda r: r["rows"] >= 30000,
    title="SQLite in memory: rows inserted per second",
    row="one table filled, timed once",
    variables=[
        scale("rows", "rows inserted", "rows", up=True),
        scale("batch", "rows of a transaction", "rows"),
        other("indices", "indices kept", "indices"),
    ],
    targets=[target("rate", "rows per second", "rows/s", "higher")],
    max_constants=9,
    extrapolation="up in rows: 30000",
)
def sqlite_inserts() -> Rows:
    rng = np.random.default_rng(13)
    for rows, batch, indices in itertools.product((300, 1000, 3000, 10000, 30000), (1, 10, 100, 1000), range(4)):
        values = [tuple(row) for row in rng.integers(10**6, size=(rows, 4)).tolist()]
        with contextlib.closing(sqlite3.connect(":memory:")) as base:
            base.execute("create table t (a integer, b integer, c integer, d integer)")
            for column in "abc"[:indices]:
                base.execute(f"create index i{column} on t ({column})")

            def fill(base: sqlite3.Connection = base, values: list[Any] = values, batch: int = batch) -> None:
                for begin in range(0, len(values), batch):
                    with base:
                        base.executemany("insert into t values (?, ?, ?, ?)", values[begin : begin + batch])

            yield {"rows": rows, "batch": batch, "indices": indices, "rate": rows / seconds(fill)}


@table(
    lambda r: r["n"] >= 500_000,
    title="Sorting: seconds over the length",
    row="one sort of random numbers; three of each length",
    variables=[scale("n", "numbers", "numbers", up=True, monotone="increasing")],
    targets=[SECONDS],
    group="method",
    group_meaning="what sorts",
    max_constants=4,
    extrapolation="up in length: 5e5 to 2e6",
)
def sort_methods() -> Rows:
    rng = np.random.default_rng(14)
    methods: dict[str, Callable[[Array], Callable[[], object]]] = {
        "list": lambda x: partial(sorted, x.tolist()),
        "numpy float64": lambda x: partial(np.sort, x),
        "numpy float64 stable": lambda x: partial(np.sort, x, kind="stable"),
        "numpy int16 stable": lambda x: partial(np.sort, (x * 3e4).astype(np.int16), kind="stable"),
        "numpy text": lambda x: partial(np.sort, x.astype("S12")),
    }
    lengths = [500, 1000, 2000, 5000, 10000, 20000, 50000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000]
    for (name, prepare), n in itertools.product(methods.items(), lengths):
        for _ in range(3 if name != "numpy text" else 1):
            yield {"method": name, "n": n, "seconds": seconds(prepare(rng.random(n)))}


@table(
    lambda r: r["n"] >= 400_000,
    title="Filling a dictionary: keys per second",
    row="one dictionary filled, median of three",
    variables=[scale("n", "keys", "keys", up=True)],
    targets=[target("rate", "keys per second", "keys/s", "higher")],
    group="key",
    group_meaning="kind of the keys",
    max_constants=6,
    extrapolation="up in keys: 4e5 to 1.6e6",
    notes=["falls in steps where the table no longer fits a cache"],
)
def dictionary_fill() -> Rows:
    rng = np.random.default_rng(15)
    kinds: dict[str, Callable[[list[int]], list[Any]]] = {
        "int": lambda numbers: numbers,
        "text": lambda numbers: [f"{number:x}" for number in numbers],
        "pair": lambda numbers: [(number, -number) for number in numbers],
    }
    for (name, make), n in itertools.product(kinds.items(), doubling(100, 1_638_400)):
        keys = make(rng.integers(2**60, size=n).tolist())
        yield {"key": name, "n": n, "rate": n / seconds(partial(dict.fromkeys, keys), 3)}


@table(
    lambda r: r["records"] >= 16000,
    title="Writing objects out: megabytes per second",
    row="one object, timed once",
    variables=[
        scale("records", "records in a list", "records", up=True),
        scale("fields", "fields of a record", "fields"),
    ],
    targets=[target("rate", "bytes written per second", "MB/s", "higher")],
    group="format",
    group_meaning="pickle or JSON",
    max_constants=6,
    extrapolation="up in records: 16000 and 64000",
)
def serialising_rate() -> Rows:
    rng = np.random.default_rng(16)
    formats: dict[str, Callable[[Any], bytes | str]] = {"pickle": pickle.dumps, "json": json.dumps}
    for records, fields in itertools.product((4, 16, 60, 250, 1000, 4000, 16000, 64000), (2, 6, 18)):
        thing = [{f"field_{i}": value for i, value in enumerate(row)} for row in rng.random((records, fields)).tolist()]
        for name, dump in formats.items():
            size = len(dump(thing))
            rate = size / seconds(partial(dump, thing)) / 1e6
            yield {"format": name, "records": records, "fields": fields, "rate": rate}


# Compression


def _contents(size: int) -> dict[str, bytes]:
    """Return `size` bytes each of program text, of numbers as text and of slowly changing binary numbers."""
    rng = np.random.default_rng(17)
    text = b""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text += path.read_bytes()
        if len(text) >= size:
            break
    walk = rng.normal(size=size // 4 + 1).cumsum()
    return {
        "program text": text[:size],
        "numbers as text": "\n".join(f"{value:.3f}" for value in walk).encode()[:size],
        "binary numbers": walk.astype(np.float32).tobytes()[:size],
    }


@table(
    lambda r: r["size"] >= 2**19,
    timed=False,
    title="Deflate: compression ratio over size and level",
    row="one content compressed",
    variables=[
        scale("size", "bytes of the content", "bytes", up=True),
        scale("level", "level of compression", "1"),
    ],
    targets=[target("ratio", "bytes before over bytes after", "1", "higher")],
    group="content",
    group_meaning="kind of the content",
    max_constants=6,
    extrapolation="up in size: 512 KiB to 2 MiB",
    notes=["exact for one content; a longer content begins with the shorter ones"],
)
def deflate_ratio() -> Rows:
    whole = _contents(2**21)
    for (name, data), size, level in itertools.product(whole.items(), doubling(2**9, 2**21), (1, 3, 6, 9)):
        packed = len(zlib.compress(data[:size], level))
        yield {"content": name, "size": size, "level": level, "ratio": size / packed}


@table(
    lambda r: r["size"] >= 2**19,
    title="Three ways to compress program text: seconds",
    row="one content compressed, timed once",
    variables=[
        scale("size", "bytes of the content", "bytes", up=True, monotone="increasing"),
        scale("level", "level of compression", "1"),
    ],
    targets=[SECONDS],
    group="method",
    group_meaning="compression method",
    max_constants=6,
    extrapolation="up in size: 512 KiB and 1 MiB",
)
def compression_seconds() -> Rows:
    data = _contents(2**20)["program text"]
    methods: dict[str, Callable[[bytes, int], bytes]] = {
        "zlib": zlib.compress,
        "bz2": bz2.compress,
        "lzma": lambda content, level: lzma.compress(content, preset=level),
    }
    for (name, pack), size, level in itertools.product(methods.items(), doubling(2**12, 2**20), (1, 5, 9)):
        part = data[:size]
        taken = seconds(partial(pack, part, level))
        yield {"method": name, "size": size, "level": level, "seconds": taken}


# A server


class _Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets, after a delay that only a few requests at a time can spend."""

    delay = 0.0
    places = threading.Semaphore(4)

    def handle(self) -> None:
        """Serve one client until it leaves."""
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := self.request.recv(2**17):
            if self.delay:
                with self.places:
                    time.sleep(self.delay)
            self.request.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


@table(
    lambda r: r["clients"] >= 16,
    timed=False,
    title="Echo server on the loopback: requests per second",
    row="one run of 0.2 seconds",
    variables=[
        scale("clients", "clients, each with one request at a time", "clients", up=True),
        other("payload", "bytes of a request", "bytes"),
        other("delay", "time of service", "ms"),
    ],
    targets=[target("rate", "requests per second", "1/s", "higher")],
    max_constants=8,
    extrapolation="up in clients: 16 and 32",
    notes=["four requests are served at a time where there is a delay", "threads of one interpreter on both sides"],
)
def echo_server() -> Rows:
    with _Server(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for delay, payload, clients in itertools.product((0, 1, 3, 10), (64, 2048, 32768), (1, 2, 3, 4, 6, 8, 16, 32)):
            _Echo.delay = delay / 1000
            rate = _requests(server.server_address, clients, payload, 0.2)
            yield {"clients": clients, "payload": payload, "delay": delay, "rate": rate}
        server.shutdown()


def _requests(address: Any, clients: int, payload: int, duration: float) -> float:
    """Return how many requests all clients together get answered in a second."""
    done = [0] * clients
    last = [0.0] * clients
    ready = threading.Barrier(clients + 1)

    def client(i: int) -> None:
        with socket.create_connection(address) as to:
            to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.wait()
            end = time.perf_counter() + duration
            while time.perf_counter() < end:
                to.sendall(b"x" * payload)
                got = 0
                while got < payload:
                    got += len(to.recv(payload))
                done[i] += 1
            last[i] = time.perf_counter()

    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    return sum(done) / (max(last) - begun)


# Errors of approximations


@table(
    lambda r: r["bits"] >= 7,
    timed=False,
    title="Rounding weights to few bits: error",
    row="one random matrix of 256 x 1024",
    variables=[
        scale("bits", "bits of a weight", "bits", up=True, monotone="decreasing"),
        other("block", "weights that share a scale", "weights"),
    ],
    targets=[target("error", "root mean square error over that of the weights", "1")],
    group="weights",
    group_meaning="distribution of the weights",
    max_constants=5,
    extrapolation="up in bits: 7 and 8",
    notes=["symmetric levels up to the largest weight of a block", "a new matrix for every row"],
)
def rounding_error() -> Rows:
    rng = np.random.default_rng(18)
    kinds: dict[str, Callable[[], Array]] = {
        "normal": lambda: rng.normal(size=2**18),
        "laplace": lambda: rng.laplace(size=2**18),
        "student t": lambda: rng.standard_t(4, size=2**18),
    }
    for (name, draw), bits, block in itertools.product(kinds.items(), range(2, 9), (16, 32, 64, 128, 512)):
        w = draw().reshape(-1, block)
        step = np.abs(w).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
        error = np.sqrt(np.mean((w - np.round(w / step) * step) ** 2) / np.mean(w**2))
        yield {"weights": name, "bits": bits, "block": block, "error": float(error)}


@table(
    lambda r: r["rank"] >= 32 or r["n"] >= 512,
    timed=False,
    title="Randomised low-rank approximation: error",
    row="one random matrix, one sketch",
    variables=[
        scale("rank", "columns of the sketch", "1", up=True, monotone="decreasing"),
        scale("n", "side of the matrix", "1", up=True),
    ],
    targets=[target("error", "Frobenius norm of the rest over that of the matrix", "1", upper=1.0)],
    group="spectrum",
    group_meaning="how the singular values fall",
    max_constants=6,
    extrapolation="up: sketches of 32 and 48 columns, or matrices of side 512",
    notes=["a Gaussian sketch without further rounds"],
)
def sketch_error() -> Rows:
    rng = np.random.default_rng(19)
    kinds: dict[str, Callable[[Array], Array]] = {
        "i^-0.5": lambda i: i**-0.5,
        "i^-1": lambda i: i**-1.0,
        "2^-(i/8)": lambda i: 2.0 ** (-i / 8),
        "ten and noise": lambda i: np.where(i <= 10, 1.0, 0.05),
    }
    ranks, sides = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48), (64, 96, 128, 192, 256, 384, 512)
    for (name, values), n in itertools.product(kinds.items(), sides):
        left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0] for _ in range(2))
        a = left * values(np.arange(1.0, n + 1)) @ right
        for rank in ranks:
            basis = np.linalg.qr(a @ rng.normal(size=(n, rank)))[0]
            error = np.linalg.norm(a - basis @ (basis.T @ a)) / np.linalg.norm(a)
            yield {"spectrum": name, "rank": rank, "n": n, "error": float(error)}


@table(
    lambda r: r["bits_per_key"] >= 12,
    timed=False,
    title="Bloom filter: rate of false positives",
    row="one filter, asked for 200000 keys that it does not hold",
    variables=[
        scale("n", "keys in the filter", "keys"),
        scale("bits_per_key", "bits of the filter over its keys", "bits", up=True, monotone="decreasing"),
        other("hashes", "hash functions", "1", "hyperparameter"),
    ],
    targets=[target("rate", "share of false positives", "fraction", upper=1.0)],
    max_constants=6,
    extrapolation="up in bits: 12 and 14 per key",
    notes=["the best number of hash functions grows with the bits"],
)
def bloom_filter() -> Rows:
    rng = np.random.default_rng(20)
    for n, bits, hashes in itertools.product((1000, 20000), (2, 3, 4, 6, 8, 10, 12, 14), (1, 2, 3, 4, 6, 8, 12)):
        size = n * bits
        held = np.zeros(size, dtype=bool)
        held[rng.integers(size, size=(hashes, n)).ravel()] = True
        # a hash of a key that was never seen is a number drawn at random
        wrong = held[rng.integers(size, size=(hashes, 200_000))].all(axis=0).mean()
        yield {"n": n, "bits_per_key": bits, "hashes": hashes, "rate": float(wrong)}


@table(
    lambda r: r["features"] >= 1024,
    timed=False,
    title="Random Fourier features: error of a kernel matrix",
    row="one draw of the features; four of each setting",
    variables=[
        scale("features", "random features", "features", up=True, monotone="decreasing"),
        other("dim", "dimensions of the points", "1"),
    ],
    targets=[target("error", "root mean square error of the entries of the kernel matrix", "1")],
    max_constants=5,
    extrapolation="up in features: 1024 to 4096",
    notes=["300 normal points; the width of the kernel is the square root of the dimensions"],
)
def random_features() -> Rows:
    rng = np.random.default_rng(21)
    for dim, features in itertools.product((1, 4, 16), doubling(8, 4096)):
        for _ in range(4):
            x = rng.normal(size=(300, dim)) / np.sqrt(dim)
            exact = np.exp(-0.5 * ((x[:, None] - x) ** 2).sum(-1))
            z = np.cos(x @ rng.normal(size=(dim, features)) + rng.uniform(0, 2 * np.pi, features))
            error = np.sqrt(np.mean((2 / features * z @ z.T - exact) ** 2))
            yield {"features": features, "dim": dim, "error": float(error)}


if __name__ == "__main__":
    main(__doc__, EXPERIMENTS)
