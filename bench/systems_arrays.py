"""Seconds and rates of linear algebra and of arrays: products, transforms, factorisations, copies."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
from measuring import other, scale, target
from systems_tables import SECONDS, Array, Registry, Rows, doubling, drawn, seconds

TABLES = Registry()


@TABLES.table(
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


@TABLES.table(
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


@TABLES.table(
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


@TABLES.table(
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


@TABLES.table(
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


@TABLES.table(
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
