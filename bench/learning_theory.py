"""Toy theory and estimates: random features, kernels, sparse and low-rank recovery, integration, one-pass SGD."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from learning_tables import Registry, friedman, ladder, log_uniform, over
from measuring import Row, other, scale, target
from numpy.random import Generator, default_rng
from scipy.stats import qmc

from sld.core.arrays import Array

TABLES = Registry()


@TABLES.table(
    "random_features_peak", "Least squares on random features: examples, features and noise", "mean of three draws",
    [
        scale("n", "training examples", "examples", up=True),
        scale("p", "random ReLU features", "features", up=True),
        other("noise", "standard deviation of the noise in the training values", "1"),
    ],
    target("mse", "test error against the noiseless function", "1"),
    max_constants=10, extrapolation="up: 800 examples, or 1600 features",
    notes=["least norm where there are more features than examples", "not monotone: a peak where both are equal"],
    held=over(n=800, p=1600),
)  # fmt: skip
def random_features_peak() -> Iterator[Row]:
    noises = (0.0, 0.2, 1.0)
    for n, p in itertools.product((50, 100, 200, 400, 800), (12, 25, 50, 100, 200, 400, 800, 1600)):
        found = np.zeros(len(noises))
        for seed in range(3):
            rng = default_rng((n, p, seed))
            A, X, W = (rng.normal(size=shape) for shape in ((20,), (n + 500, 20), (20, p)))
            y = np.tanh(X @ A / math.sqrt(20)) + 0.3 * X[:, 0] * X[:, 1]
            F = np.maximum(X @ W, 0) / math.sqrt(p)
            noisy = y[:n, None] + rng.normal(size=(n, 1)) * np.array(noises)
            weights = np.linalg.lstsq(F[:n], noisy, rcond=1e-10)[0]
            found += ((F[n:] @ weights - y[n:, None]) ** 2).mean(axis=0) / 3
        for noise, mse in zip(noises, found, strict=True):
            yield {"n": n, "p": p, "noise": noise, "mse": float(mse)}


@TABLES.table(
    "spectrum_ridge", "Ridge regression with a power spectrum: examples, ridge and the target's exponent",
    "one training set",
    [
        scale("n", "training examples", "examples", up=True),
        other("ridge", "ridge of the kernel matrix over n", "1", "hyperparameter"),
    ],
    target("mse", "test error, of a variance of 1", "1"),
    group=("source", "exponent at which the target's weights fall beyond those of the kernel"),
    max_constants=7, extrapolation="up in examples: 512 and 1024, training 16 to 256",
    notes=["2000 Gaussian features of variance i**-1.5", "noise of standard deviation 0.1 in the training values"],
    held=over(n=512),
)  # fmt: skip
def spectrum_ridge() -> Iterator[Row]:
    size = np.arange(1, 2001.0) ** -0.75
    for n, source in itertools.product((16, 32, 64, 128, 256, 512, 1024), (0.25, 0.5, 1.0)):
        rng = default_rng((n, round(100 * source)))
        power = size * np.arange(1, 2001.0) ** -source
        X = rng.normal(size=(n + 1000, 2000))
        y = X @ power / math.sqrt(np.sum(power**2))
        K = (X * size**2) @ X[:n].T
        noisy = y[:n] + 0.1 * rng.normal(size=n)
        for ridge in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
            off = K[n:] @ np.linalg.solve(K[:n] + n * ridge * np.eye(n), noisy) - y[n:]
            yield {"source": f"{source:g}", "n": n, "ridge": ridge, "mse": float(np.mean(off**2))}


@TABLES.table(
    "kernel_approximation", "Approximate kernel ridge: examples and features, two kinds", "mean of two draws",
    [
        scale("n", "training examples", "examples", up=True, monotone="decreasing"),
        scale("m", "features or landmarks", "features", up=True, monotone="decreasing"),
    ],
    target("mse", "test error against the noiseless function", "1"),
    group=("kind", "random Fourier features, or landmarks (Nystroem)"), max_constants=7,
    extrapolation="up: 4096 examples and more, or 512 features",
    notes=["Friedman's function of five inputs, noise 1", "Gaussian kernel, fixed ridge"],
    held=over(n=4096, m=512), needs="sklearn",
)  # fmt: skip
def kernel_approximation() -> Iterator[Row]:
    from sklearn.kernel_approximation import Nystroem, RBFSampler
    from sklearn.linear_model import Ridge

    kinds = {"Fourier": RBFSampler, "landmarks": Nystroem}
    for (kind, features), i, m in itertools.product(kinds.items(), range(7, 14), (8, 16, 32, 64, 128, 256, 512)):
        n, found = 2**i, []
        for seed in range(2):
            rng = default_rng((n, m, seed))
            X, y = friedman(n, 5, 1.0, rng)
            test_X, test_y = friedman(1000, 5, 0.0, rng)
            maker = features(gamma=1.0, n_components=min(m, n) if kind == "landmarks" else m, random_state=seed)
            off = Ridge(1e-2).fit(maker.fit_transform(X), y).predict(maker.transform(test_X)) - test_y
            found.append(np.mean(off**2))
        if kind == "Fourier" or m <= n:
            yield {"kind": kind, "n": n, "m": m, "mse": float(np.mean(found))}


@TABLES.table(
    "lasso_support", "When the lasso finds the right variables", "share of 20 trials",
    [
        scale("n", "measurements", "measurements", monotone="increasing"),
        other("d", "variables", "variables", up=True),
        other("k", "variables that count", "variables"),
    ],
    target("success", "share of the trials that find just the right variables", "fraction", "higher", upper=1.0),
    max_constants=8, extrapolation="up in variables: 256, training 32 to 128",
    notes=["Gaussian design, weights of 1 and -1, noise 0.5", "a sharp rise from 0 to 1; many rows are 0 or 1"],
    held=over(d=256), needs="sklearn",
)  # fmt: skip
def lasso_support() -> Iterator[Row]:
    from sklearn.linear_model import Lasso

    for d, k, n in itertools.product((32, 64, 128, 256), (2, 4, 8), ladder(10, 320, 11)):
        rng, found = default_rng((d, k, n)), 0
        for _ in range(20):
            X, w = rng.normal(size=(n, d)), np.zeros(d)
            w[:k] = rng.choice([-1.0, 1.0], k)
            model = Lasso(0.5 * 2 * math.sqrt(math.log(d) / n), fit_intercept=False, max_iter=500)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # small samples do not converge in that many rounds
                model.fit(X, X @ w + 0.5 * rng.normal(size=n))
            found += bool(np.all((np.abs(model.coef_) > 1e-6) == (w != 0)))
        yield {"n": n, "d": d, "k": k, "success": found / 20}


@TABLES.table(
    "kmeans_distortion", "k-means: clusters, examples and dimension", "one run",
    [
        scale("k", "clusters", "clusters", up=True),
        scale("n", "training points", "points", up=True, monotone="decreasing"),
        other("d", "dimension of the points", "1"),
    ],
    target("distortion", "mean squared distance of new points to their centre, over d", "1"),
    max_constants=8, extrapolation="up: 128 clusters, or 6400 points",
    notes=["Gaussian points of variance 1", "one start of k-means++", "four points a cluster at least"],
    held=over(k=128, n=6400), needs="sklearn",
)  # fmt: skip
def kmeans_distortion() -> Iterator[Row]:
    from sklearn.cluster import KMeans

    for n, k, d in itertools.product((200, 400, 800, 1600, 3200, 6400), (2, 4, 8, 16, 32, 64, 128), (2, 4, 8, 16)):
        if n >= 4 * k:
            rng = default_rng((n, k, d))
            model = KMeans(k, n_init=1, max_iter=100, random_state=0).fit(rng.normal(size=(n, d)))
            distortion = -float(model.score(rng.normal(size=(2000, d)))) / (2000 * d)
            yield {"k": k, "n": n, "d": d, "distortion": distortion}


def completed(M: Array, seen: Array, rank: int, rng: Generator) -> Array:
    """Return the matrix of a rank that fits the seen entries, by 40 rounds of ridge regressions in turn."""

    def fitted(values: Array, mask: Array, factor: Array) -> Array:
        squares = np.einsum("ij,jr,js->irs", mask, factor, factor, optimize=True) + 0.05 * np.eye(rank)
        return np.asarray(np.linalg.solve(squares, (values @ factor)[..., None])[..., 0])

    V = rng.normal(size=(M.shape[1], rank))
    for _ in range(40):
        U = fitted(M * seen, seen, V)
        V = fitted((M * seen).T, seen.T, U)
    return U @ V.T


@TABLES.table(
    "matrix_completion", "Matrix completion: share of entries, rank and size", "one matrix",
    [
        scale("size", "rows, and columns, of the matrix", "rows", up=True),
        scale("share", "share of the entries that is seen", "fraction", up=True),
        other("rank", "rank of the matrix, known to the method", "1"),
    ],
    target("error", "relative error of the unseen entries, root mean square", "1"),
    max_constants=9, extrapolation="up: 160 rows, or a share of 0.6",
    notes=["alternating least squares, noise 0.05", "the error jumps where too few entries are seen"],
    held=over(size=160, share=0.6),
)  # fmt: skip
def matrix_completion() -> Iterator[Row]:
    grid = itertools.product((28, 40, 57, 80, 113, 160), (0.08, 0.12, 0.18, 0.27, 0.4, 0.6), (1, 2, 4))
    for seed, (size, share, rank) in enumerate(grid):
        rng = default_rng(seed)
        exact = rng.normal(size=(size, rank)) @ rng.normal(size=(rank, size)) / math.sqrt(rank)
        seen = (rng.random((size, size)) < share).astype(float)
        off = completed(exact + 0.05 * rng.normal(size=exact.shape), seen, rank, rng) - exact
        error = math.sqrt(np.mean(off[seen == 0] ** 2) / np.mean(exact[seen == 0] ** 2))
        yield {"size": size, "share": share, "rank": rank, "error": error}


@TABLES.table(
    "integration_error", "Numerical integration by points: count and dimension, three kinds",
    "root mean square over 12 sets of points",
    [
        scale("n", "points", "points", up=True, monotone="decreasing"),
        other("d", "dimension", "1"),
    ],
    target("error", "relative error of the integral", "1"),
    group=("kind", "kind of points"), max_constants=6, extrapolation="up in points: 4096 and more",
    notes=["a product of d Gaussian bumps on the unit cube"],
    held=over(n=4096),
)  # fmt: skip
def integration_error() -> Iterator[Row]:
    makers: dict[str, Callable[[int, Generator], Any]] = {
        "Latin hypercube": lambda d, rng: qmc.LatinHypercube(d, rng=rng),
        "Sobol": lambda d, rng: qmc.Sobol(d, rng=rng),
    }
    for kind, d, i in itertools.product(("independent", *makers), (1, 2, 4, 8, 16), range(4, 14)):
        n, off = 2**i, []
        exact = (math.sqrt(math.pi) / 2 * (math.erf(0.4) + math.erf(0.6))) ** d
        for seed in range(12):
            rng = default_rng((d, i, seed))
            X = makers[kind](d, rng).random(n) if kind in makers else rng.random((n, d))
            off.append(np.exp(-((X - 0.4) ** 2).sum(axis=1)).mean() / exact - 1)
        yield {"kind": kind, "n": n, "d": d, "error": math.sqrt(np.mean(np.square(off)))}


@TABLES.table(
    "context_ridge", "Regression in context with what earlier tasks taught",
    "mean over 60 new tasks, one set of earlier tasks",
    [
        scale("tasks", "earlier tasks", "tasks", up=True),
        scale("context", "examples of the new task", "examples", up=True, monotone="decreasing"),
        other("d", "inputs", "inputs"),
    ],
    target("mse", "squared error of the weights over their mean square", "1"),
    max_constants=9, extrapolation="up: 1024 tasks, or 64 examples",
    notes=["mean and covariance of the weights are estimated from the earlier tasks", "noise 0.5"],
    held=over(tasks=1024, context=64),
)  # fmt: skip
def context_ridge() -> Iterator[Row]:
    for d, i, context in itertools.product((8, 16, 32), range(2, 11), (2, 4, 8, 16, 32, 64)):
        tasks = 2**i
        rng = default_rng((d, tasks, context))
        spread = np.arange(1, d + 1.0) ** -0.7
        earlier = 0.3 + spread * rng.normal(size=(tasks, d)) + 0.3 * rng.normal(size=(tasks, d))  # as estimated
        prior = np.linalg.inv(np.cov(earlier.T) + 0.05 * np.eye(d))
        middle, off, size = earlier.mean(axis=0), 0.0, 0.0
        for _ in range(60):
            w, X = 0.3 + spread * rng.normal(size=d), rng.normal(size=(context, d))
            rest = X @ (w - middle) + 0.5 * rng.normal(size=context)
            guess = middle + np.linalg.solve(X.T @ X + 0.25 * prior, X.T @ rest)
            off, size = off + float(np.sum((guess - w) ** 2)), size + float(np.sum(w**2))
        yield {"tasks": tasks, "context": context, "d": d, "mse": off / size}


@TABLES.table(
    "one_pass_sgd", "One pass of SGD on least squares: six knobs at random", "one run",
    [
        scale("n", "training examples, seen once", "examples", up=True),
        scale("d", "weights that are trained, the first of 256", "weights", up=True),
        other("lr", "learning rate", "1", "hyperparameter"),
        other("batch", "examples of a step", "examples", "hyperparameter"),
        other("decay", "exponent at which the inputs' variances fall", "1"),
        other("noise", "standard deviation of the noise in the values", "1"),
    ],
    target("excess", "expected squared error beyond the noise", "1"),
    max_constants=12, extrapolation="up: 5000 examples and more, or 100 weights and more",
    notes=["random design, one seed a point", "runs that diverged (excess over 10) are left out"],
    held=over(n=5000, d=100),
)  # fmt: skip
def one_pass_sgd() -> Iterator[Row]:
    rng = default_rng(66)
    for _ in range(320):
        n, d = round(log_uniform(rng, 200, 8000)), round(log_uniform(rng, 8, 128))
        batch, lr = round(log_uniform(rng, 1, 64)), float(f"{log_uniform(rng, 0.01, 1):.3g}")
        decay, noise = float(rng.choice([1.2, 1.5, 2.0])), float(rng.choice([0.1, 0.5, 1.0]))
        variance = np.arange(1, 257.0) ** -decay
        w, truth = np.zeros(256), rng.choice([-1.0, 1.0], 256)
        with np.errstate(all="ignore"):
            for _step in range(n // batch):
                X = rng.normal(size=(batch, 256)) * np.sqrt(variance)
                off = X @ (w - truth) - noise * rng.normal(size=batch)
                w[:d] -= lr * (off @ X[:, :d]) / batch
            excess = float(np.sum(variance * (w - truth) ** 2))
        if excess < 10:
            yield {"n": n, "d": d, "lr": lr, "batch": batch, "decay": decay, "noise": noise, "excess": excess}


@TABLES.table(
    "hopfield_recall", "Recall of a Hopfield network: neurons and patterns", "one network (two a point)",
    [
        scale("neurons", "neurons", "neurons", up=True),
        scale("patterns", "random patterns stored", "patterns", up=True),
    ],
    target("wrong", "share of wrong bits after ten sweeps from a tenth of the bits flipped", "fraction", upper=1.0),
    max_constants=7, extrapolation="up in neurons: 800, with up to 240 patterns",
    notes=["Hebb's rule", "an abrupt rise near 0.14 patterns a neuron; zeros below it"],
    held=over(neurons=800),
)  # fmt: skip
def hopfield_recall() -> Iterator[Row]:
    loads = (0.04, 0.08, 0.1, 0.12, 0.14, 0.16, 0.2, 0.3)
    for neurons, load, seed in itertools.product((50, 100, 200, 400, 800), loads, range(2)):
        rng, patterns = default_rng((neurons, round(100 * load), seed)), round(load * neurons)
        stored = rng.choice([-1.0, 1.0], (patterns, neurons))
        weights = stored.T @ stored / neurons - patterns / neurons * np.eye(neurons)
        state = np.where(rng.random(stored.shape) < 0.1, -stored, stored)
        for _ in range(10):
            for part in np.array_split(rng.permutation(neurons), 10):  # a tenth of the neurons at a time
                state[:, part] = np.where(state @ weights[:, part] >= 0, 1.0, -1.0)
        yield {"neurons": neurons, "patterns": patterns, "wrong": float(np.mean(state != stored))}
