import json
import math

import numpy as np
import pytest
from many_cases import each

from sld.core.errors import DataError
from sld.data.scoring import scores


def test_perfect_predictions() -> None:
    y = np.array([[1.0], [2.0], [4.0]])
    s = scores(y, y)
    assert (s.r2, s.r2_within, s.nmse, s.nmae, s.are, s.n_rows, s.failed) == (1.0, 1.0, 0.0, 0.0, 0.0, 3, False)


def test_numbers_worked_by_hand() -> None:
    # y = 1, 2, 6: mean 3, variance 14/3; median 2, mean |y - 2| = 5/3; errors 1, 0, 1
    s = scores([1.0, 2.0, 6.0], [2.0, 2.0, 5.0])
    assert s.nmse == pytest.approx((2 / 3) / (14 / 3))
    assert s.r2 == pytest.approx(1 - 1 / 7)
    assert s.nmae == pytest.approx((2 / 3) / (5 / 3))
    assert s.are == pytest.approx((1 + 0 + 1 / 6) / 3)


def test_mean_scores_zero_and_median_has_nmae_one() -> None:
    y = np.array([1.0, 2.0, 3.0, 10.0])
    assert scores(y, np.full(4, y.mean())).r2 == pytest.approx(0.0)
    assert scores(y, np.full(4, np.median(y))).nmae == pytest.approx(1.0)


def test_targets_are_averaged_after_normalising() -> None:
    y = np.array([[0.0, 0.0], [2.0, 2000.0]])
    p = np.array([[0.0, 1000.0], [2.0, 1000.0]])
    assert scores(y, p).r2 == pytest.approx(0.5)  # first target 1, second 0, whatever their units


def test_pooled_flatters_groups_that_differ_in_level() -> None:
    y = np.array([1.0, 2.0, 3.0, 101.0, 102.0, 103.0])
    groups = np.array([0, 0, 0, 1, 1, 1])
    s = scores(y, np.array([2.0, 2.0, 2.0, 102.0, 102.0, 102.0]), groups)
    assert s.r2 > 0.999
    assert s.r2_within == pytest.approx(0.0)


def test_within_is_the_mean_over_groups_and_targets_in_any_row_order() -> None:
    rng = np.random.default_rng(1)
    y, p, g = rng.normal(size=(40, 2)), rng.normal(size=(40, 2)), rng.integers(0, 4, 40)
    by_hand = [
        1 - np.mean((y[g == k, j] - p[g == k, j]) ** 2) / np.var(y[g == k, j]) for k in range(4) for j in range(2)
    ]
    order = rng.permutation(40)
    assert scores(y, p, g).r2_within == pytest.approx(np.mean(by_hand))
    assert scores(y[order], p[order], g[order]).r2_within == pytest.approx(np.mean(by_hand))


def test_groups_without_variance_are_left_out() -> None:
    groups = np.array([0, 0, 1, 2, 2])
    s = scores([1.0, 2.0, 7.0, 5.0, 5.0], [1.0, 2.0, 9.0, 5.0, 6.0], groups)
    assert s.r2_within == pytest.approx(1.0)
    assert scores([1.0, 2.0], [1.0, 3.0], [0, 1]).r2_within is None


def test_equal_values_with_rounding_error_have_no_variance() -> None:
    s = scores(np.full(7, 0.1), np.full(7, 0.2))
    assert math.isnan(s.r2)
    assert s.are == pytest.approx(1.0)
    assert not s.failed


@each("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_prediction_that_is_not_finite_fails(bad: float) -> None:
    s = scores([1.0, 2.0, 3.0], [1.0, bad, 3.0], [0, 0, 1])
    assert (s.r2, s.r2_within, s.failed, s.n_rows) == (-1.0, -1.0, True, 3)
    assert math.isnan(s.nmse)


def test_zero_values_are_left_out_of_relative_error() -> None:
    assert scores([0.0, 2.0], [1.0, 1.0]).are == pytest.approx(0.5)
    assert math.isnan(scores([0.0, 0.0], [1.0, 1.0]).are)


def test_json_has_no_nan() -> None:
    text = json.dumps(scores([1.0, 1.0], [1.0, 2.0]).to_json(), allow_nan=False)
    assert json.loads(text)["r2"] is None
    assert list(json.loads(text)) == ["r2", "r2_within", "nmse", "nmae", "are", "n_rows", "failed"]


@each(
    ("true", "predicted", "groups", "words"),
    [
        ([1.0, 2.0], [1.0], None, "one prediction per measured value"),
        ([], [], None, "at least one row"),
        ([1.0, np.nan], [1.0, 2.0], None, r"must be finite, got nan in row 2"),
        ([1.0, 2.0], [1.0, 2.0], [0], "one group per row"),
        ([1.0, 2.0], ["a", "b"], None, "predictions must be numbers"),
    ],
)
def test_what_cannot_be_scored_is_refused(true: object, predicted: object, groups: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        scores(true, predicted, groups)  # type: ignore[arg-type]
