"""Learning curves of classical learners: examples, trees, depth, noise, votes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from learning_tables import Registry, Split, built_in, error_rate, friedman, ladder, misclassified, over
from measuring import Row, other, scale, target
from numpy.random import Generator, default_rng

TABLES = Registry()


def digit_learners() -> dict[str, Any]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    return {
        "logistic regression": LogisticRegression(max_iter=200),
        "3 nearest neighbours": KNeighborsClassifier(3),
        "random forest": RandomForestClassifier(40, random_state=0),
        "naive Bayes": GaussianNB(var_smoothing=1e-2),
        "SVM": SVC(C=5.0),
    }


def mean_error(learner: Any, data: Split, n: int, rngs: Sequence[Generator]) -> float:
    """Return the mean test error of a learner on `n` rows drawn by each generator, two of each class at least."""
    found = []
    for rng in rngs:
        order = rng.permutation(len(data.X))
        pairs = [order[data.y[order] == label][:2] for label in np.unique(data.y)]
        rows = np.array(list(dict.fromkeys([*np.concatenate(pairs), *order])))[:n]
        found.append(misclassified(learner.fit(data.X[rows], data.y[rows]), data.test_X, data.test_y))
    return float(np.mean(found))


@TABLES.table(
    "curves_digits", "Learning curves of five classifiers on handwritten digits",
    "mean test error of one learner over three random training sets of one size",
    [scale("n", "training examples", "examples", up=True)], error_rate(),
    group=("learner", "learner"), max_constants=6, extrapolation="up in examples: 684 to 1280, training 30 to 500",
    notes=["test set of 500 images, the same for all"],
    held=over(n=650), needs="sklearn",
)  # fmt: skip
def curves_digits() -> Iterator[Row]:
    data = built_in("digits", 500)
    for (name, learner), n in itertools.product(digit_learners().items(), ladder(30, 1280, 13)):
        yield {"learner": name, "n": n, "err": mean_error(learner, data, n, [default_rng((n, s)) for s in range(3)])}


@TABLES.table(
    "curves_breast_cancer", "Learning curves of three classifiers on breast cancer, seed by seed",
    "test error of one learner on one random training set (three a size)",
    [scale("n", "training examples", "examples", up=True)], error_rate(),
    group=("learner", "learner"), max_constants=6, extrapolation="up in examples: over 200, training 12 to 160",
    notes=["169 test examples, so that errors come in steps of 0.006", "three rows a point"],
    held=over(n=200), needs="sklearn",
)  # fmt: skip
def curves_breast_cancer() -> Iterator[Row]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.tree import DecisionTreeClassifier

    data = built_in("breast_cancer", 169)
    learners = {
        "logistic regression": LogisticRegression(max_iter=500),
        "naive Bayes": GaussianNB(),
        "tree": DecisionTreeClassifier(random_state=0),
    }
    for (name, learner), n, seed in itertools.product(learners.items(), ladder(12, 400, 12), range(3)):
        yield {"learner": name, "n": n, "err": mean_error(learner, data, n, [default_rng((n, seed))])}


@TABLES.table(
    "curve_wine", "Learning curve of linear discriminants on the wine data",
    "mean test error over 40 random training sets of one size",
    [scale("n", "training examples", "examples", up=True, monotone="decreasing")], error_rate(),
    max_constants=4, extrapolation="up in examples: 55 to 90, training 8 to 47",
    notes=["shrunk covariance (Ledoit and Wolf)"],
    held=over(n=50), needs="sklearn",
)  # fmt: skip
def curve_wine() -> Iterator[Row]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    data, learner = built_in("wine", 60), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    for n in ladder(8, 90, 16):
        yield {"n": n, "err": mean_error(learner, data, n, [default_rng((n, s)) for s in range(40)])}


def regressors() -> dict[str, Any]:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.neighbors import KNeighborsRegressor

    return {
        "forest": RandomForestRegressor(20, max_features=1 / 3, random_state=0),
        "5 nearest neighbours": KNeighborsRegressor(5),
        "kernel ridge": KernelRidge(kernel="rbf", alpha=0.05),
    }


@TABLES.table(
    "friedman_regression", "Regression of Friedman's function: examples, inputs and noise",
    "one learner on one training set",
    [
        scale("n", "training examples", "examples", up=True),
        other("d", "inputs, five of which count", "inputs", up=True),
        other("noise", "standard deviation of the noise in the training values", "1"),
    ],
    target("mse", "mean squared error against the noiseless function", "1"),
    group=("learner", "learner"), max_constants=8,
    extrapolation="up: 1600 examples, or 40 inputs with 400 examples and more", notes=["a single seed a point"],
    held=lambda row: float(row["n"]) >= 1600 or (float(row["d"]) >= 40 and float(row["n"]) >= 400), needs="sklearn",
)  # fmt: skip
def friedman_regression() -> Iterator[Row]:
    grid = itertools.product((50, 100, 200, 400, 800, 1600), (5, 10, 20, 40), (0.0, 1.0, 3.0))
    for seed, (n, d, noise) in enumerate(grid):
        rng = default_rng(seed)
        X, y = friedman(n, d, noise, rng)
        test_X, test_y = friedman(1000, d, 0.0, rng)
        for name, learner in regressors().items():
            off = learner.fit(X, y - y.mean()).predict(test_X) + y.mean() - test_y
            yield {"learner": name, "n": n, "d": d, "noise": noise, "mse": float(np.mean(off**2))}


@TABLES.table(
    "boosting_rounds", "Gradient boosting: trees, depth and examples", "one run, read off after some of its trees",
    [
        scale("trees", "boosting rounds", "trees", up=True),
        scale("n", "training examples", "examples", up=True, monotone="decreasing"),
        other("depth", "depth of a tree", "levels", "hyperparameter"),
    ],
    target("rmse", "root mean squared error against the noiseless function", "1"),
    max_constants=10, extrapolation="up: 256 trees, or 1280 examples",
    notes=["Friedman's function of ten inputs, noise 1", "rate of 0.1", "deep trees overfit small samples"],
    held=over(trees=256, n=1280), needs="sklearn",
)  # fmt: skip
def boosting_rounds() -> Iterator[Row]:
    from sklearn.ensemble import GradientBoostingRegressor

    test_X, test_y = friedman(2000, 10, 0.0, default_rng(99))
    for n, depth in itertools.product((80, 160, 320, 640, 1280), (1, 2, 3, 5)):
        X, y = friedman(n, 10, 1.0, default_rng(n))
        model = GradientBoostingRegressor(n_estimators=256, max_depth=depth, random_state=0).fit(X, y)
        for trees, predicted in enumerate(model.staged_predict(test_X), start=1):
            if trees in (4, 8, 16, 32, 64, 128, 256):
                rmse = math.sqrt(np.mean((predicted - test_y) ** 2))
                yield {"trees": trees, "n": n, "depth": depth, "rmse": rmse}


@TABLES.table(
    "forest_size", "Random forests on digits: trees, examples and features tried", "one forest, its first trees",
    [
        scale("trees", "trees that vote", "trees", up=True),
        scale("n", "training examples", "examples", up=True),
        other("features", "features tried at a split, of 64", "features", "hyperparameter"),
    ],
    error_rate(), max_constants=9, extrapolation="up: 128 trees, or 1280 examples",
    notes=["the rows of one forest share its trees: the errors of two sizes are not independent"],
    held=over(trees=128, n=1280), needs="sklearn",
)  # fmt: skip
def forest_size() -> Iterator[Row]:
    from sklearn.ensemble import RandomForestClassifier

    data = built_in("digits", 500)
    for n, features in itertools.product((80, 160, 320, 640, 1280), (1, 4, 16, 64)):
        forest = RandomForestClassifier(128, max_features=features, random_state=n + features)
        forest.fit(data.X[:n], data.y[:n])
        votes = np.cumsum([tree.predict_proba(data.test_X) for tree in forest.estimators_], axis=0)
        for trees in (1, 2, 4, 8, 16, 32, 64, 128):
            wrong = forest.classes_[votes[trees - 1].argmax(axis=1)] != data.test_y
            yield {"trees": trees, "n": n, "features": features, "err": float(np.mean(wrong))}


@TABLES.table(
    "label_noise_digits", "Wrong labels among the digits: three learners",
    "mean test error over two training sets",
    [
        scale("n", "training examples", "examples", up=True),
        other("wrong", "share of the training labels drawn anew at random", "fraction"),
    ],
    error_rate("error rate on clean test labels"), group=("learner", "learner"), max_constants=6,
    extrapolation="up in examples: 800 and more",
    held=over(n=800), needs="sklearn",
)  # fmt: skip
def label_noise_digits() -> Iterator[Row]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import RidgeClassifier
    from sklearn.neighbors import KNeighborsClassifier

    data = built_in("digits", 500)
    learners = {
        "forest": RandomForestClassifier(30, random_state=0),
        "5 nearest neighbours": KNeighborsClassifier(5),
        "ridge": RidgeClassifier(1.0),
    }
    for (name, learner), n, wrong in itertools.product(
        learners.items(), ladder(60, 1280, 8), (0.0, 0.1, 0.2, 0.4, 0.6)
    ):
        rng = default_rng((n, round(100 * wrong)))
        found = []
        for _ in range(2):
            rows = rng.permutation(len(data.X))[:n]
            y = np.where(rng.random(n) < wrong, rng.integers(0, 10, n), data.y[rows])
            found.append(misclassified(learner.fit(data.X[rows], y), data.test_X, data.test_y))
        yield {"learner": name, "n": n, "wrong": wrong, "err": float(np.mean(found))}


@TABLES.table(
    "sampled_votes", "Majority of sampled answers: votes, training of the voter and temperature",
    "accuracy on 600 images, answers of one seed (two a point)",
    [
        scale("votes", "answers sampled for each question", "answers", up=True),
        scale("n", "examples that the voter was trained on", "examples", up=True),
        other("temperature", "temperature at which answers are sampled", "1"),
    ],
    target("accuracy", "share of images whose most frequent answer is right", "fraction", "higher", upper=1.0),
    max_constants=9, extrapolation="up: 255 votes, or 800 examples",
    notes=["logistic regression on digits answers", "ties go to the lowest digit", "two rows a point"],
    held=over(votes=255, n=800), needs="sklearn",
)  # fmt: skip
def sampled_votes() -> Iterator[Row]:
    from sklearn.linear_model import LogisticRegression

    data, sizes = built_in("digits", 600), (1, 3, 7, 15, 31, 63, 127, 255)
    for n in (50, 100, 200, 400, 800):
        log_p = LogisticRegression(max_iter=300).fit(data.X[:n], data.y[:n]).predict_log_proba(data.test_X)
        for temperature, seed in itertools.product((1.0, 2.0, 4.0), range(2)):
            gumbel = default_rng((n, int(temperature), seed)).gumbel(size=(max(sizes), *log_p.shape))
            counts = np.cumsum(np.eye(10)[(log_p / temperature + gumbel).argmax(axis=2)], axis=0)
            for votes in sizes:
                right = float(np.mean(counts[votes - 1].argmax(axis=1) == data.test_y))
                yield {"votes": votes, "n": n, "temperature": temperature, "accuracy": right}
