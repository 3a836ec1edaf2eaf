"""The estimator for scikit-learn: groups, weights, intervals, copies, pipelines."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import sld

pytestmark = pytest.mark.skipif(
    find_spec("sklearn") is None, reason="scikit-learn is not installed: pip install 'sld[sklearn]'"
)

N = np.geomspace(1e6, 1e9, 8)
X, Y = N[:, None], 1.7 + 400 * N**-0.34
LAW = "E + A*x0**-a"


def copy_of(model: Any) -> Any:
    from sklearn.base import clone

    return clone(model)


def test_a_formula_is_fitted_and_predicts() -> None:
    model = sld.ScalingLawRegressor(LAW)
    assert model.fit(X, Y) is model and model.n_features_in_ == 1 and model.discovery_ is None
    np.testing.assert_allclose(model.predict([[1e10], [1e11]]), 1.7 + 400 * np.array([1e10, 1e11]) ** -0.34, rtol=1e-6)
    assert model.score(X, Y) > 0.999999


def test_a_search_finds_the_law_and_the_same_one_again() -> None:
    model = sld.ScalingLawRegressor(budget="100fits").fit(X, Y)
    assert model.discovery_ is not None and model.discovery_.verdict.kind == "law"
    np.testing.assert_allclose(model.predict([[1e10]]), 1.7 + 400 * 1e10**-0.34, rtol=1e-3)
    assert copy_of(model).fit(X, Y).law_.to_json()["constants"] == model.law_.to_json()["constants"]


def test_intervals_hold_the_prediction() -> None:
    noisy = Y + 0.01 * np.random.default_rng(0).normal(size=len(Y))
    model = sld.ScalingLawRegressor(LAW).fit(X, noisy)
    values, ends = model.predict([[3e6], [1e10]], return_interval=True)
    assert ends.shape == (2, 2) and (ends[:, 0] < values).all() and (values < ends[:, 1]).all()


def test_groups_have_constants_of_their_own() -> None:
    both, groups = np.tile(X, (2, 1)), np.repeat(["web", "code"], len(N))
    model = sld.ScalingLawRegressor(LAW).fit(both, np.concatenate([Y, Y + 1]), groups=groups)
    web, code = model.predict([[1e9], [1e9]], groups=["web", "code"])
    assert code - web == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="predict wants groups where fit had groups"):
        model.predict(X)
    with pytest.raises(ValueError, match="no group 'wob'; did you mean 'web'"):
        model.predict([[1e9]], groups=["wob"])
    with pytest.raises(ValueError, match="groups has 1 entries for 8 rows"):
        sld.ScalingLawRegressor(LAW).fit(X, Y, groups=["a"])


def test_weights_count() -> None:
    wrong = Y.copy()
    wrong[3] += 1
    weights = np.ones(len(N))
    weights[3] = 1e-9
    model = sld.ScalingLawRegressor(LAW).fit(X, wrong, sample_weight=weights)
    np.testing.assert_allclose(model.predict(X), Y, rtol=1e-3)


def test_names_of_a_frame_are_those_of_the_formula() -> None:
    import pandas

    frame = pandas.DataFrame({"params": N, "noise": np.arange(8.0)})
    named = sld.ScalingLawRegressor("E + A*params**-a").fit(frame, Y)
    by_number = sld.ScalingLawRegressor(LAW).fit(frame, Y)
    assert list(named.feature_names_in_) == ["params", "noise"]
    np.testing.assert_allclose(named.predict(frame), by_number.predict(frame), rtol=1e-6)


def test_copies_are_the_same_estimator() -> None:
    model = sld.ScalingLawRegressor(LAW, loss="log_huber", random_state=3)
    assert copy_of(model).get_params() == model.get_params()
    assert model.set_params(law="E + A*x0").get_params()["law"] == "E + A*x0"
    fitted = sld.ScalingLawRegressor(LAW).fit(X, Y)
    back = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(back.predict(X), fitted.predict(X))
    assert back.law_.text() == fitted.law_.text()


def test_it_stands_in_a_pipeline_and_in_cross_validation() -> None:
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    thousands = FunctionTransformer(lambda x: x * 1e3)
    pipeline = make_pipeline(thousands, sld.ScalingLawRegressor(LAW)).fit(X / 1e3, Y)
    np.testing.assert_allclose(pipeline.predict(X / 1e3), Y, rtol=1e-6)
    both, sizes = np.repeat(X, 2, axis=0), np.repeat(np.arange(8), 2)
    scores = cross_val_score(sld.ScalingLawRegressor(LAW), both, np.repeat(Y, 2), groups=sizes, cv=GroupKFold(4))
    assert (scores > 0.99).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"law": "E + A*x1**-a"}, "x1"),
        ({"law": "E +"}, "end of the formula at column 4"),
        ({"roles": {0: "size"}}, "no role 'size'; there are scale, hyperparameter"),
        ({"roles": "scale"}, 'roles is "auto" or a mapping'),
        ({"law": LAW, "loss": "square"}, "squared"),
        ({"budget": 20}, "budget is text with a unit"),
    ],
)
def test_what_cannot_be_is_a_value_error_in_a_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        sld.ScalingLawRegressor(**settings).fit(X, Y)
    assert "\n" not in str(caught.value)


def test_a_table_in_which_nothing_varies_is_refused() -> None:
    with pytest.raises(ValueError, match="no column of X varies"):
        sld.ScalingLawRegressor(LAW).fit(np.ones((8, 2)), Y)


def test_columns_are_scales_where_they_are_positive_and_wide() -> None:
    rng = np.random.default_rng(0)
    columns = {f"x{i}": rng.uniform(1, 10 ** (1 + i), 50) for i in range(4)}
    columns |= {"narrow": rng.uniform(1, 2, 50), "signed": rng.normal(size=50), "same": np.ones(50)}
    roles = sld.ScalingLawRegressor()._roles_of(columns)
    assert roles == {"scale": ["x1", "x2", "x3"], "covariate": ["x0", "narrow", "signed"]}
    own = sld.ScalingLawRegressor(roles={"x0": "hyperparameter", 1: "scale"})._roles_of(columns)
    assert own["hyper"] == ["x0"] and own["scale"] == ["x1"] and "same" not in own["covariate"]
