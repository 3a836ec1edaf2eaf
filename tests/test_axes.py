from collections.abc import Sequence

import numpy as np
import pytest
from many_cases import each

from sld.data.axes import Axis, axis_along, levels


def ladder(z: Sequence[float], max_rungs: int = 32) -> Axis:
    return axis_along("z", np.array(z, dtype=np.float64), 0.0, [np.arange(len(z))], max_rungs)


def test_reach_is_the_step_over_the_training_range() -> None:
    # rungs at 0 to 4: from 0..3 to 4 is a step of 1 over 3, from 0..2 two over two, from 0..1 three over one
    (part,) = ladder([0, 1, 2, 3, 4, 4]).parts
    assert part.reach == pytest.approx([1 / 3, 1.0, 3.0, np.inf])
    assert part.kept == pytest.approx([4 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert part.blur == pytest.approx([0, 1 / 2, 2 / 3, 3 / 4])


@pytest.mark.parametrize(("reach", "n_top"), [(0.125, 1), (0.35, 2), (0.6, 3)])
def test_top_is_cut_at_the_asked_reach(reach: float, n_top: int) -> None:
    mask, size = ladder(list(range(9))).top(reach, least=3, need=1)
    assert np.flatnonzero(mask).tolist() == list(range(9 - n_top, 9))
    assert size == f"{n_top} of 9 rungs"


def test_cut_falls_between_clusters_and_not_through_one() -> None:
    clusters = [c + d for c in (0, 3, 6, 9) for d in (0.0, 0.4, 0.8)]
    mask, _ = ladder(clusters).top(0.6, least=3, need=1)
    assert np.flatnonzero(mask).tolist() == [9, 10, 11]


def test_top_goes_deeper_until_there_are_rows_enough() -> None:
    mask, _ = ladder(list(range(9))).top(0.1, least=3, need=4)
    assert mask.sum() == 4
    mask, _ = ladder(list(range(9))).top(0.1, least=3, need=100)
    assert mask.sum() == 4  # half of the rows stay below the cut


def test_flipped_axis_takes_the_bottom() -> None:
    mask, size = ladder([0, 1, 2, 3, 3]).flipped().top(0.3, least=3, need=1)
    assert np.flatnonzero(mask).tolist() == [0]
    assert size == "1 of 4 rungs"


def test_axis_without_its_top_is_a_shorter_axis() -> None:
    axis = ladder([0, 1, 2, 3, 4, 5])
    above, _ = axis.top(0.1, least=3, need=1)
    mask, size = axis.without(above).top(0.1, least=3, need=1)
    assert np.flatnonzero(mask).tolist() == [4]
    assert size == "1 of 5 rungs"


def test_groups_are_cut_alone_and_a_single_rung_is_not_cut() -> None:
    z = np.array([0.0, 1, 2, 3, 10, 11, 12, 13, 99])
    axis = axis_along("z", z, 0.0, [np.arange(4), np.arange(4, 8), np.array([8])], 12)
    mask, _ = axis.top(0.3, least=3, need=1)
    assert np.flatnonzero(mask).tolist() == [3, 7]
    assert axis.varies
    assert not axis_along("z", z[:2], 0.0, [np.array([0]), np.array([1])], 12).varies


@each("n", [1, 2, 12, 13, 500, 5000])
@each("max_rungs", [2, 3, 12, 32])
def test_levels_are_numbered_in_order_without_gaps_and_not_too_many(n: int, max_rungs: int) -> None:
    rng = np.random.default_rng(n)
    for z in (rng.normal(size=n), np.exp(5 * rng.normal(size=n)), rng.integers(0, 9, n) / 3.0, np.arange(n) / 7.0):
        number = levels(z, 0.015 * float(np.ptp(z)), max_rungs)
        assert set(number) == set(range(number.max() + 1))
        assert number.max() < max_rungs
        assert np.all(np.diff(number[np.argsort(z, kind="stable")]) >= 0)
        for k in range(number.max()):
            assert z[number == k].max() < z[number == k + 1].min()
