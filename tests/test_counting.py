"""Constants are counted against distinct points: repeats tell the noise, not the shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
from many_cases import each
from searches import one_scale, search, two_scales

from sld import api
from sld.core.errors import SldError, UsageError
from sld.data.splits import rung_folds
from sld.data.table import Array, Table, table_from
from sld.fit.fitting import fit
from sld.laws.form import Form
from sld.search.candidates.rejection import Rejection
from sld.search.judging.judge import Judge, Proposal
from sld.search.screening.counting import Counting, distinct_points, points_per_group
from sld.search.screening.rows import check, with_enough_rows


def repeated(n_points: int, n_repeats: int, *, groups: int = 1, noise: float = 0.01, jitter: float = 0.0) -> Table:
    rng = np.random.default_rng(n_points)
    x = np.tile(np.repeat(np.geomspace(3e4, 5e5, n_points), n_repeats), groups)
    g = np.repeat([f"g{k}" for k in range(groups)], n_points * n_repeats)
    y = 0.24 * (1 + 40 * x**-0.5 + noise * rng.normal(size=len(x)))
    x = x * (1 + jitter * rng.uniform(-1, 1, len(x)))
    columns = {"n": x, "y": y, **({"g": g} if groups > 1 else {})}
    return table_from(columns, target="y", scale="n", group="g" if groups > 1 else None)


def counting(table: Table) -> Counting:
    return Counting.of(table, rung_folds(table))


def status(table: Table, text: str, shared: tuple[str, ...] = ()) -> str:
    judge = Judge(table, rung_folds(table), seed=0, max_constants=20)
    return judge.judge(Proposal.of([Form(table.parse(text), "test", shared=shared)]))[0].status


@each(("n_points", "most"), [(3, 1), (4, 2), (5, 3), (6, 3), (8, 4), (9, 5), (24, 12), (400, 200)])
def test_constants_leave_half_of_the_points_and_two_at_least(n_points: int, most: int) -> None:
    assert Counting(np.array([n_points]), (), (), 1, 1).most == most


def test_repeats_are_no_points() -> None:
    once, often = counting(repeated(5, 1)), counting(repeated(5, 12))
    assert often.points.tolist() == once.points.tolist() == [5]
    assert often.most == once.most
    assert often.missing == once.missing


def test_sizes_that_differ_by_counting_are_one_point() -> None:
    # tokens or rows that a run really saw, a little different from seed to seed
    assert points_per_group(repeated(6, 5, jitter=0.003)).tolist() == [6]
    # the same for a group beside others
    assert points_per_group(repeated(6, 5, groups=3, jitter=0.003)).tolist() == [6, 6, 6]


def test_close_points_of_a_narrow_table_are_several() -> None:
    x = np.geomspace(1e8, 1.3e8, 8)
    assert points_per_group(table_from({"n": x, "y": x**-0.5}, target="y", scale="n")).tolist() == [8]


def test_rows_that_differ_in_one_variable_are_different_points() -> None:
    table = two_scales()
    assert len(np.unique(distinct_points(table))) == table.n_rows


def test_points_are_numbered_alike_in_any_order_of_rows() -> None:
    table = repeated(7, 3, groups=2)
    order = np.random.default_rng(0).permutation(table.n_rows)
    a, b = distinct_points(table)[order], distinct_points(table.take(order))
    assert len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(np.unique(a)) == len(np.unique(b))


@each(
    ("n_points", "n_repeats", "form", "fits"),
    [
        (5, 1, "E + A*n**-a", True),
        (5, 20, "E + A*n**-a", True),
        (4, 20, "E + A*n**-a", False),
        (4, 20, "A*n**-a", True),
        (5, 20, "E + A*n**-a + B*n**-b", False),
        (24, 1, "E + A*n**-a + B*n**-b", True),
    ],
)
def test_a_form_is_judged_where_its_constants_are_few_beside_the_points(
    n_points: int, n_repeats: int, form: str, fits: bool
) -> None:
    assert (status(repeated(n_points, n_repeats), form) != Rejection.TOO_MANY_CONSTANTS) == fits


def test_the_response_surface_stays_where_points_are_many() -> None:
    table = two_scales(0.01, 12, 10)
    quadratic = "+".join(["E", "a*N**-p", "b*D**-q", "c*log(N)*log(D)", "d*log(N)**2", "f*log(D)**2"])
    text = quadratic + "+ g*(log(N) - h*log(D) - i)**2 + j*log(D)"
    assert len(table.parse(text).constants) == 12
    assert not counting(table).refuses(12, 12)
    assert counting(table).judged_by_all(12, 12)


def test_a_fold_without_a_point_to_spare_says_nothing() -> None:
    table = repeated(5, 4)
    judge = Judge(table, rung_folds(table), seed=0, max_constants=20)
    candidate, _ = judge.judge(Proposal.of([Form(table.parse("E + A*n**-a"), "test")]))
    points = distinct_points(table)
    for fold, error in zip(judge.folds, candidate.fold_errors, strict=True):
        assert math.isfinite(error) == (len(np.unique(points[fold.train])) > 3)
    assert any(map(math.isfinite, candidate.fold_errors)) and not all(map(math.isfinite, candidate.fold_errors))


def test_groups_count_together() -> None:
    table = repeated(5, 3, groups=5)
    # 15 of 25 points for constants of their own would leave each group two
    assert counting(table).refuses(3, 15)
    assert not counting(table).refuses(2, 10)
    assert not counting(table).refuses(2, 11)
    candidate = status(table, "E + A*n**-a", shared=("a",))
    assert candidate == "ok"


def test_groups_with_too_few_points_to_stand_alone_share_a_shape_at_the_first_look() -> None:
    table = repeated(5, 3, groups=5)
    judge = Judge(table, rung_folds(table), seed=0, max_constants=20)
    candidate, _ = judge.judge(Proposal.of([Form(table.parse("E + A*n**-a"), "test")]))
    assert candidate.status == "ok"
    assert candidate.shared == {"y": ("a",)}
    assert candidate.effective("y") == pytest.approx(2.2)


def test_a_group_of_repeats_borrows_the_shape() -> None:
    table = repeated(8, 4, groups=3)
    few = np.flatnonzero((table.group_index != 2) | (table.X[:, 0] < 5e4))  # 2 sizes, 8 rows
    assert with_enough_rows(table.take(few), 20).groups == ("g0", "g1")


def test_a_table_of_repeats_is_refused() -> None:
    with pytest.raises(UsageError, match=r"at least 3 distinct points, got 2 in 20 rows \(repeats do not count\)"):
        check(repeated(2, 10))


# -- what is chosen, and what is said --------------------------------------------------------------------------------


def test_the_sentence_says_what_is_missing() -> None:
    said = "5 distinct points per group: enough for 2 constants; add runs at 3 further sizes"
    assert counting(repeated(5, 3, groups=5)).missing == said
    assert counting(repeated(5, 3)).missing == said.replace(" per group", "")
    assert counting(repeated(8, 1)).missing == ""
    assert counting(two_scales(n_n=3, n_d=3)).missing.startswith("9 distinct points: enough for 5 constants; add runs")
    assert counting(two_scales(n_n=4, n_d=3)).missing == ""
    assert counting(one_scale()).missing == ""


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.003, 0.03])
def test_few_points_get_the_fewest_constants_that_the_folds_support(noise: float) -> None:
    table = repeated(5, 4, groups=4, noise=noise)
    found = search(table, "1500fits")
    assert found.config["rule"] == "fewest_constants"
    assert found.chosen.consensus == 0
    assert found.chosen.effective("y") <= 2.5
    assert "5 distinct points per group: enough for 2 constants" in found.verdict.sentence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_points", "noise"),
    [(5, 0.002), (6, 0.0), *(pytest.param(*other, marks=pytest.mark.slow) for other in ((5, 0.0), (6, 0.002)))],
)
def test_a_law_of_three_constants_is_found_on_five_points_that_show_it(n_points: int, noise: float) -> None:
    x = np.geomspace(1, 1e4, n_points)
    y = (2 + 3 * x**-0.5) * (1 + noise * np.random.default_rng(3).normal(size=n_points))
    found = search(table_from({"N": x, "y": y}, target="y", scale="N"), "1500fits")
    assert found.law.predict({"N": [1e6]})[0, 0] == pytest.approx(2.003, abs=0.01)


@pytest.mark.slow
def test_rounded_numbers_do_not_ask_for_more_constants() -> None:
    # a rate of c/width, printed with three digits as a sweep over powers of two would be
    width = 2.0 ** np.arange(7, 12)
    lr = [0.000977, 0.000488, 0.000244, 0.000122, 0.000061]
    found = search(table_from({"width": width, "lr": lr}, target="lr", scale="width"), "1500fits")
    assert found.chosen.n_constants <= 2
    assert found.law.predict({"width": [4096.0]})[0, 0] == pytest.approx(0.125 / 4096, rel=0.02)


def test_where_nothing_can_be_fitted_the_error_says_what_is_missing() -> None:
    table = table_from({"N": [1.0, 10.0, 100.0], "y": [3.0, 2.3, 2.1]}, target="y", scale="N")
    with pytest.raises(SldError, match=r"3 distinct points: enough for 1 constant; add runs at 5 further sizes"):
        search(table, "300fits", formulas=["E + A*N**-a"], proposers=[])


# -- a form that is given --------------------------------------------------------------------------------------------


def columns_of(table: Table) -> dict[str, Array]:
    return {"n": table.X[:, 0], "y": table.Y[:, 0]}


def test_a_given_form_with_more_constants_than_points_is_refused() -> None:
    table = repeated(4, 10)
    text = "E + A*n**-a + B*n**-b"
    with pytest.raises(UsageError, match=r"5 constants need at least 5 distinct points, got 4 in 40 rows"):
        fit(table.parse(text), table)
    with pytest.raises(UsageError, match=r"repeats do not count\); add runs, use a shorter formula"):
        api.fit(columns_of(table), text, target="y", scale="n")
    assert fit(table.parse("E + A*n**-a"), table).ok


def test_shared_constants_are_counted_once() -> None:
    table = repeated(3, 4, groups=2)
    form = table.parse("E + A*n**-a*exp(-b*n)")
    with pytest.raises(UsageError, match="4 constants need at least 4 distinct points in group 'g0', got 3 in 12 rows"):
        fit(form, table)
    assert fit(form, table, shared=("a", "b")).n_rows == 24
