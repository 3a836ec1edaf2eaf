"""Errors of approximations: rounding, sketches, filters, random features."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from measuring import other, scale, target
from systems_tables import Array, Registry, Rows, doubling

TABLES = Registry()


@TABLES.table(
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


@TABLES.table(
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


@TABLES.table(
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


@TABLES.table(
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
