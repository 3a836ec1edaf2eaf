"""The estimator for scikit-learn passes the checks that scikit-learn has for estimators."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'sld[sklearn]'")

from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import sld

pytestmark = pytest.mark.slow

# a search takes seconds for the ten columns that some of the checks have: these are the ones in which it could differ
SEARCHED = (
    "check_fit_idempotent",
    "check_estimators_pickle",
    "check_dict_unchanged",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_regressors_int",
    "check_methods_sample_order_invariance",
)


@pytest.mark.filterwarnings("ignore")  # of scikit-learn, about its own data
@parametrize_with_checks([sld.ScalingLawRegressor("E + A*x0")])  # type: ignore[untyped-decorator]
def test_a_formula_passes_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_passes_checks_of_scikit_learn(name: str) -> None:
    getattr(estimator_checks, name)("ScalingLawRegressor", sld.ScalingLawRegressor(budget="20fits"))
