"""A law as an estimator of scikit-learn, for whoever has pipelines, cross-validation and grids there already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from sld.core.errors import SldError, UsageError
from sld.data.table import Array

try:
    from sklearn.base import BaseEstimator, RegressorMixin
except ImportError:  # the class is there to be read of; to make one needs the extra

    class RegressorMixin:  # type: ignore[no-redef]  # noqa: D101
        pass

    class BaseEstimator:  # type: ignore[no-redef]  # noqa: D101
        def __init__(self, *_: Any, **__: Any) -> None:  # noqa: D107
            raise UsageError("sld.ScalingLawRegressor needs scikit-learn: pip install 'sld[sklearn]'")


if TYPE_CHECKING:
    from sld.laws.law import Law

_WIDE = 4.0  # ratio of the largest to the smallest value from which a positive column is taken for a scale
_MOST_SCALES = 3  # taken for scales unasked: published forms are tried in every order of them
_TARGET, _GROUP, _WEIGHT = "target", "group_of_row", "weight_of_row"  # columns beside those of X


class ScalingLawRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""A scaling law as an estimator: `fit(X, y)` searches it or fits a given formula, `predict(X)` says what it says.

    With a formula $f(x; \theta)$ the constants minimise the loss as `sld.fit` does; without one, `sld.discover`
    searches the formula that best predicts runs larger than those it was fitted to. Columns of `X` go by their names,
    or `x0`, `x1`, ... where they have none.

    Args:
        law: A formula such as `"E + A*N**-a"` over the names of the columns, or over `x0`, `x1`, ... by their number;
            None searches.
        roles: Column name (or number) to "scale", "hyperparameter", "proportion" or "covariate"; a column without a
            role is a covariate. "auto" takes positive columns whose largest value is at least four times the smallest
            for scales, the three widest of them if there are more, and the others for covariates.
        budget: Of a search, in fits (the same law each time) or as a time.
        loss: What is minimised for a given formula: "squared", "huber", "log", "log_huber" or "envelope".
        random_state: Seed, a whole number.
        workers: Processes that judge candidates in a search.

    Attributes:
        law_: The law, an `sld.Law`.
        discovery_: What the search found, an `sld.Discovery`; None where a formula was given.
        n_features_in_: Columns of `X`.
        feature_names_in_: Their names, where `X` had names.

    Examples:
        >>> import numpy as np
        >>> from sld import ScalingLawRegressor
        >>> N = np.geomspace(1e6, 1e9, 8)
        >>> model = ScalingLawRegressor("E + A*x0**-a").fit(N[:, None], 1.7 + 400 * N**-0.34)
        >>> model.predict([[1e10], [1e11]]).round(4)
        array([1.8592, 1.7728])
        >>> predicted, interval = model.predict([[1e10]], return_interval=True)
        >>> predicted.shape, interval.shape
        ((1,), (1, 2))
    """

    def __init__(
        self,
        law: str | None = None,
        *,
        roles: str | Mapping[Any, str] = "auto",
        budget: str = "2000fits",
        loss: str = "squared",
        random_state: int | None = 0,
        workers: int = 1,
    ) -> None:
        """Keep the settings; `fit` reads them."""
        super().__init__()
        self.law = law
        self.roles = roles
        self.budget = budget
        self.loss = loss
        self.random_state = random_state
        self.workers = workers

    def fit(
        self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> ScalingLawRegressor:
        """Search or fit the law.

        Args:
            X: (n_rows, n_features) runs; a DataFrame's column names are those of the formula.
            y: (n_rows,) what is predicted.
            groups: (n_rows,) names of the groups that have constants of their own; None for one set of constants.
            sample_weight: (n_rows,) relative weights.

        Returns:
            The estimator.

        Raises:
            ValueError: The rows, a role or the formula cannot be used; the message says why.
        """
        from sklearn.utils.validation import _check_sample_weight, validate_data

        rows, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        names = self._names()
        columns: dict[str, Any] = {name: rows[:, i] for i, name in enumerate(names)}
        roles = self._roles_of(columns)
        options: dict[str, Any] = {"target": _TARGET, **roles}
        columns[_TARGET] = np.asarray(y, dtype=np.float64)
        if groups is not None:
            columns[_GROUP], options["group"] = _labels(groups, len(rows)), _GROUP
        if sample_weight is not None:
            columns[_WEIGHT], options["weights"] = _check_sample_weight(sample_weight, rows, dtype=np.float64), _WEIGHT
        try:
            self._find(columns, options)
        except SldError as error:  # scikit-learn's callers look for ValueError
            raise ValueError(str(error)) from error
        self.grouped_ = groups is not None
        return self

    def _find(self, columns: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        from sld.api.discovery import discover
        from sld.api.fitting import fit

        seed = 0 if self.random_state is None else int(self.random_state)
        self.law_: Law
        if self.law is not None:
            self.discovery_ = None
            self.law_ = fit(columns, self.law, loss=self.loss, seed=seed, **options)
            return
        self.discovery_ = discover(columns, seed=seed, budget=self.budget, workers=self.workers, **options)
        self.law_ = self.discovery_.law

    def predict(
        self, X: ArrayLike, groups: ArrayLike | None = None, return_interval: bool = False
    ) -> Array | tuple[Array, Array]:
        """Return what the law says of runs.

        Args:
            X: (n_rows, n_features) runs, with the columns that `fit` had.
            groups: (n_rows,) names of their groups, where `fit` had groups.
            return_interval: Return the ends of the 90 % intervals of new runs as well.

        Returns:
            (n_rows,) predictions; with `return_interval` also (n_rows, 2) lower and upper ends, NaN where the law has
            no intervals. A run outside the domain of the formula gives NaN or infinity.

        Raises:
            ValueError: A group has no constants in the law, or groups are missing or not wanted.
        """
        from sklearn.utils.validation import check_is_fitted, validate_data

        check_is_fitted(self, "law_")
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        if (groups is not None) != self.grouped_:
            raise ValueError("predict wants groups where fit had groups, and none where it had none")
        points: dict[str, Any] = {name: rows[:, i] for i, name in enumerate(self._names())}
        if groups is not None:
            points[_GROUP] = _labels(groups, len(rows))
        try:
            return self._predicted(points, return_interval)
        except SldError as error:
            raise ValueError(str(error)) from error

    def _predicted(self, points: Mapping[str, Any], return_interval: bool) -> Array | tuple[Array, Array]:
        from sld.api.laws import predicted_columns

        n = len(next(iter(points.values())))
        if not return_interval:
            values: Array = self.law_.predict(points)[:, 0]
            return values
        predicted = predicted_columns(self.law_, points)
        unknown = np.full(n, np.nan)
        ends = [predicted.get(f"{_TARGET}_{end}", unknown) for end in ("low", "high")]
        return predicted[_TARGET], np.column_stack(ends)

    def _names(self) -> list[str]:
        """Return the columns' names."""
        by_number = [f"x{i}" for i in range(self.n_features_in_)]
        named = getattr(self, "feature_names_in_", None)
        if named is None:
            return by_number
        names = [str(name) for name in named]
        used = set(re.findall(r"[^\W\d]\w*", self.law or ""))
        return by_number if used & set(by_number) and not used & set(names) else names

    def _roles_of(self, columns: Mapping[str, Array]) -> dict[str, list[str]]:
        """Return the roles of the columns that vary, as keywords of the verbs."""
        given = self.roles
        if given != "auto" and not isinstance(given, Mapping):
            raise ValueError(f'roles is "auto" or a mapping of column to role, got {given!r}')
        keywords = {"scale": "scale", "hyperparameter": "hyper", "proportion": "proportion", "covariate": "covariate"}
        wide = {name: x.max() / x.min() for name, x in columns.items() if (x > 0).all() and x.max() >= _WIDE * x.min()}
        scales = sorted(wide, key=lambda name: -wide[name])[:_MOST_SCALES]
        found: dict[str, list[str]] = {}
        for i, (name, x) in enumerate(columns.items()):
            if (x == x[0]).all():  # nothing can be learnt from it
                continue
            role = "scale" if name in scales else "covariate"
            if isinstance(given, Mapping):
                role = given.get(name, given.get(i, "covariate"))
            if role not in keywords:
                raise ValueError(f"no role {role!r}; there are {', '.join(keywords)}")
            found.setdefault(keywords[role], []).append(name)
        if not found:
            raise ValueError("no column of X varies, so there is nothing that a law could depend on")
        return found

    def __sklearn_tags__(self) -> Any:
        """Say what scikit-learn's checks have to know."""
        tags = super().__sklearn_tags__()
        # a short formula of few variables is no approximation of any function
        tags.regressor_tags.poor_score = True
        return tags


def _labels(groups: ArrayLike, n: int) -> list[str]:
    labels = [str(group) for group in np.asarray(groups).ravel().tolist()]
    if len(labels) != n:
        raise ValueError(f"groups has {len(labels)} entries for {n} rows")
    return labels
