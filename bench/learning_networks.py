"""Small networks, trained in numpy: width, examples, steps and rates, and what rounding and pruning do to them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from learning_tables import Registry, built_in, error_rate, ladder, log_uniform, over
from measuring import Row, other, scale, target
from numpy.random import Generator, default_rng

from sld.core.arrays import Array, Rows

TABLES = Registry()

Net = list[Array]  # weights and biases of the layers, in turn


@dataclass(frozen=True)
class Training:
    """How a network is trained: optimiser "sgd", "momentum" or "adam", rate, batch, and loss "square" or "class"."""

    lr: float
    batch: int = 32
    way: str = "adam"
    loss: str = "class"


@dataclass
class Optimiser:
    """The state of an optimiser: first and second moments of the gradients."""

    training: Training
    first: Net = field(default_factory=list)
    second: Net = field(default_factory=list)
    step: int = 0

    def update(self, net: Net, gradients: Net) -> None:
        """Change the weights in place by one step."""
        self.step += 1
        if not self.first:
            self.first, self.second = ([np.zeros_like(g) for g in gradients] for _ in range(2))
        for w, g, m, v in zip(net, gradients, self.first, self.second, strict=True):
            w -= self.training.lr * self._direction(g, m, v)

    def _direction(self, g: Array, m: Array, v: Array) -> Array:
        if self.training.way == "sgd":
            return g
        if self.training.way == "momentum":
            m *= 0.9
            m += g
            return m
        m += 0.1 * (g - m)
        v += 0.001 * (g * g - v)
        unbiased = np.sqrt(v / (1 - 0.999**self.step)) + 1e-8
        return np.asarray(m / (1 - 0.9**self.step) / unbiased)


def fresh(rng: Generator, *sizes: int) -> Net:
    """Return the initial weights of a ReLU network (He et al. 2015), zero biases."""
    net: Net = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        net += [rng.normal(0, math.sqrt(2 / fan_in), (fan_in, fan_out)), np.zeros(fan_out)]
    return net


def layers(net: Net, X: Array) -> list[Array]:
    """Return the input and the output of each layer, the last one linear."""
    values = [X]
    for i in range(0, len(net), 2):
        z = values[-1] @ net[i] + net[i + 1]
        values.append(np.maximum(z, 0) if i + 2 < len(net) else z)
    return values


def log_softmax(z: Array) -> Array:
    z = z - z.max(axis=1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))


def gradients(net: Net, X: Array, Y: Array, loss: str) -> Net:
    """Return the gradients of half the squared error, or of the cross-entropy (rows of Y sum to 1)."""
    values = layers(net, X)
    delta = (values[-1] - Y if loss == "square" else np.exp(log_softmax(values[-1])) - Y) / len(X)
    found: Net = []
    for i in range(len(net) - 2, -1, -2):
        below = values[i // 2]
        found = [below.T @ delta, delta.sum(axis=0), *found]
        if i:
            delta = (delta @ net[i].T) * (below > 0)
    return found


def trained(net: Net, X: Array, Y: Array, training: Training, rng: Generator, at: Sequence[int]) -> Iterator[int]:
    """Train `net` in place on random batches and yield each step of `at` once it is reached."""
    optimiser = Optimiser(training)
    for step in range(1, max(at) + 1):
        rows = rng.integers(0, len(X), training.batch)
        optimiser.update(net, gradients(net, X[rows], Y[rows], training.loss))
        if step in at:
            yield step


def cross_entropy(net: Net, X: Array, y: Rows) -> float:
    return float(-log_softmax(layers(net, X)[-1])[np.arange(len(y)), y].mean())


@TABLES.table(
    "student_six_knobs", "Students of a network teacher: six knobs at random", "one training run",
    [
        scale("width", "hidden units of the student", "units", up=True),
        scale("n", "training examples, drawn again and again", "examples", up=True),
        scale("steps", "optimiser steps", "steps", up=True),
        other("lr", "learning rate of Adam", "1", "hyperparameter"),
        other("batch", "examples of a step", "examples", "hyperparameter"),
        other("noise", "standard deviation of the noise in the training values", "1"),
    ],
    target("loss", "mean squared error against the noiseless teacher", "1"),
    max_constants=12, extrapolation="up: over 64 units, 4000 examples or 1400 steps",
    notes=["random design, even in the logarithm, one seed a point", "teacher of variance near 1 with eight inputs"],
    held=over(width=64, n=4000, steps=1400),
)  # fmt: skip
def student_six_knobs() -> Iterator[Row]:
    rng = default_rng(6)
    teacher = fresh(rng, 8, 24, 1)
    test_X = rng.normal(size=(2000, 8))
    size = float(layers(teacher, test_X)[-1].std())
    test_Y = layers(teacher, test_X)[-1] / size
    for _ in range(200):
        width, n = (round(log_uniform(rng, 4, 96)), round(log_uniform(rng, 100, 8000)))
        steps, batch = round(log_uniform(rng, 60, 2000)), round(log_uniform(rng, 8, 128))
        lr, noise = float(f"{log_uniform(rng, 3e-4, 0.1):.3g}"), float(rng.choice([0.0, 0.3, 1.0]))
        X = rng.normal(size=(n, 8))
        Y = layers(teacher, X)[-1] / size + noise * rng.normal(size=(n, 1))
        net = fresh(rng, 8, width, 1)
        for _step in trained(net, X, Y, Training(lr, batch, loss="square"), rng, [steps]):
            loss = float(np.mean((layers(net, test_X)[-1] - test_Y) ** 2))
            yield {"width": width, "n": n, "steps": steps, "lr": lr, "batch": batch, "noise": noise, "loss": loss}


@TABLES.table(
    "mlp_rate_sweep", "Sweep of learning rates at several widths and training lengths",
    "one run at a constant rate, read off at one step",
    [
        scale("width", "hidden units", "units", up=True),
        scale("steps", "optimiser steps", "steps", up=True),
        other("lr", "learning rate of SGD", "1", "hyperparameter"),
    ],
    target("loss", "cross-entropy on 500 test digits", "nats"),
    max_constants=10, extrapolation="up: 256 units, or 1600 steps",
    notes=["runs that had diverged at a step (loss over 5) are left out", "one seed a run"],
    held=over(width=256, steps=1600), needs="sklearn",
)  # fmt: skip
def mlp_rate_sweep() -> Iterator[Row]:
    data = built_in("digits", 500)
    for width, lr in itertools.product((8, 16, 32, 64, 128, 256), (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 2.0)):
        rng = default_rng((width, round(1000 * lr)))
        net = fresh(rng, 64, width, 10)
        with np.errstate(all="ignore"):
            for steps in trained(net, data.X, data.one_hot(), Training(lr, way="sgd"), rng, (100, 200, 400, 800, 1600)):
                loss = cross_entropy(net, data.test_X, data.test_y)
                if loss < 5:
                    yield {"width": width, "steps": steps, "lr": lr, "loss": loss}


@TABLES.table(
    "optimiser_curves", "SGD, momentum and Adam: training loss over steps",
    "loss of one run (two seeds) on the whole training set at one step",
    [scale("steps", "optimiser steps", "steps", up=True)],
    target("loss", "cross-entropy on 1000 training digits", "nats"),
    group=("optimiser", "optimiser"), run="run", max_constants=6,
    extrapolation="up in steps: 1200 to 5000, training 10 to 1000",
    notes=["64 hidden units, batch of 32, constant rates", "steps are even in the logarithm"],
    held=over(steps=1200), needs="sklearn",
)  # fmt: skip
def optimiser_curves() -> Iterator[Row]:
    data = built_in("digits", 797)
    rates = {"sgd": 0.05, "momentum": 0.02, "adam": 0.001}
    for (way, lr), seed in itertools.product(rates.items(), range(2)):
        rng = default_rng(seed)
        net = fresh(rng, 64, 64, 10)
        for steps in trained(net, data.X, data.one_hot(), Training(lr, way=way), rng, ladder(10, 5000, 24)):
            loss = cross_entropy(net, data.X, data.y)
            yield {"optimiser": way, "run": f"{way} {seed}", "steps": steps, "loss": loss}


WIDTHS = (8, 16, 32, 64, 128, 256)


@cache
def digit_network(width: int, seed: int) -> tuple[Array, ...]:
    """Return a network of two hidden layers, trained on 1297 digits for 1200 steps of Adam."""
    data, rng = built_in("digits", 500), default_rng((width, seed))
    net = fresh(rng, 64, width, width, 10)
    for _ in trained(net, data.X, data.one_hot(), Training(2e-3), rng, [1200]):
        pass
    return tuple(net)


def rounded(weights: Array, bits: int, *, by_unit: bool) -> Array:
    """Return weights rounded to 2**bits - 1 even levels around zero, with one scale a unit or one for all."""
    top = np.abs(weights).max(axis=0, keepdims=True) if by_unit else np.abs(weights).max()
    step = top / (2 ** (bits - 1) - 1) + 1e-12
    return np.asarray(np.round(weights / step) * step)


@TABLES.table(
    "quantised_network", "A trained network with rounded weights: bits and width",
    "mean over two networks of one width",
    [
        scale("bits", "bits of a weight", "bits", up=True),
        scale("width", "units of each of the two hidden layers", "units", up=True),
    ],
    target("change", "mean squared change of the logits over their variance, test digits", "1"),
    group=("scheme", "one scale for a matrix, or one for each unit"), max_constants=6,
    extrapolation="up: 8 bits, or 256 units", notes=["biases stay as they are"],
    held=over(bits=8, width=256), needs="sklearn",
)  # fmt: skip
def quantised_network() -> Iterator[Row]:
    X = built_in("digits", 500).test_X
    for scheme, width, bits in itertools.product(("matrix", "unit"), WIDTHS, range(2, 9)):
        found = []
        for seed in range(2):
            net = list(digit_network(width, seed))
            coarse = [rounded(w, bits, by_unit=scheme == "unit") if w.ndim == 2 else w for w in net]
            exact = layers(net, X)[-1]
            found.append(np.mean((layers(coarse, X)[-1] - exact) ** 2) / exact.var())
        yield {"scheme": scheme, "bits": bits, "width": width, "change": float(np.mean(found))}


def pruned(weights: Array, kept: float, way: str, rng: Generator) -> Array:
    """Return weights of which a share `kept` stays: the largest ones, or any."""
    rank = np.abs(weights) if way == "magnitude" else rng.random(weights.shape)
    return np.asarray(np.where(rank >= np.quantile(rank, 1 - kept), weights, 0.0))


@TABLES.table(
    "pruned_network", "A trained network without its smallest weights", "one network (two a width), not retrained",
    [
        scale("width", "units of each of the two hidden layers", "units", up=True),
        other("kept", "share of the weights of each matrix that stays", "fraction"),
    ],
    error_rate(), group=("way", "which weights go: the smallest, or random ones"), max_constants=8,
    extrapolation="up in width: 256 units", notes=["two rows a point", "chance is an error of 0.9"],
    held=over(width=256), needs="sklearn",
)  # fmt: skip
def pruned_network() -> Iterator[Row]:
    data = built_in("digits", 500)
    shares = (0.03, 0.06, 0.12, 0.2, 0.3, 0.5, 0.75, 1.0)
    for way, width, kept, seed in itertools.product(("magnitude", "random"), WIDTHS, shares, range(2)):
        rng = default_rng((width, seed))
        net = [pruned(w, kept, way, rng) if w.ndim == 2 else w for w in digit_network(width, seed)]
        wrong = layers(net, data.test_X)[-1].argmax(axis=1) != data.test_y
        yield {"way": way, "width": width, "kept": kept, "err": float(np.mean(wrong))}
