"""What the tables of learning experiments share: their registry, designs, and data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from measuring import Experiment, Row, card_of, target
from numpy.random import Generator, default_rng

from sld.core.arrays import Array, Rows
from sld.data.card import Target, Variable

Held = Callable[[Row], bool]
Measure = Callable[[], Iterator[Row]]


class Registry(list[Experiment]):
    """The experiments of a module, in order."""

    def table(
        self, name: str, title: str, row: str, variables: list[Variable], measured: Target, *, held: Held, **more: Any
    ) -> Callable[[Measure], Measure]:  # fmt: skip
        """Enter a measurement; `held` tells which rows are held out, the rest are fields of the card.

        Two of them are said otherwise: `group` is a column and its meaning, `needs` a module beyond numpy and scipy.
        """
        needs = (more.pop("needs"),) if "needs" in more else ()
        if "group" in more:
            more["group"], more["group_meaning"] = more["group"]
        card = card_of(name, title=title, row=row, variables=tuple(variables), targets=(measured,), **more)

        def enter(measure: Measure) -> Measure:
            self.append(Experiment(card, measure, held, needs))
            return measure

        return enter


def over(**limits: float) -> Held:
    """Return the rule that holds out rows at or above a limit in any of the columns."""
    return lambda row: any(float(row[column]) >= limit for column, limit in limits.items())


def log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def ladder(low: float, high: float, count: int) -> list[int]:
    """Return whole numbers from `low` to `high`, even in the logarithm, each once."""
    return sorted({round(x) for x in np.geomspace(low, high, count)})


def error_rate(meaning: str = "test error rate") -> Target:
    return target("err", meaning, "fraction", upper=1.0)


def misclassified(model: Any, X: Array, y: Rows) -> float:
    return float(np.mean(model.predict(X) != y))


@dataclass(frozen=True)
class Split:
    """Training and test rows of a classification problem."""

    X: Array
    y: Rows
    test_X: Array
    test_y: Rows

    def one_hot(self) -> Array:
        """Return a row of zeros and a one for each label."""
        return np.eye(int(self.y.max()) + 1)[self.y]


@cache
def built_in(name: str, n_test: int, seed: int = 0) -> Split:
    """Return a data set of scikit-learn, columns standardised but for the digits (0 to 1), shuffled and split."""
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X = X / 16 if name == "digits" else (X - X.mean(axis=0)) / X.std(axis=0)
    order = default_rng(seed).permutation(len(X))
    X, y = X[order], y[order]
    return Split(X[n_test:], y[n_test:], X[:n_test], y[:n_test])


def friedman(n: int, d: int, noise: float, rng: Generator) -> tuple[Array, Array]:
    """Return inputs and values of Friedman's first function (1991), d >= 5, only the first five inputs count."""
    X = rng.random((n, d))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3] + 5 * X[:, 4]
    return X, y + noise * rng.normal(size=n)
