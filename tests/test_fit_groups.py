"""Groups are fitted each on their own rows, and share the constants that they are told to share."""

import math

import numpy as np
import pytest
from fits import fitted, grouped_table, table_of
from scipy.optimize import least_squares

from sld.fit.fitting import arrow_condition
from sld.fit.kernel import Array, evaluate


def test_groups_are_fitted_each_on_their_own_rows() -> None:
    table, groups = grouped_table()
    result = fitted("E + A*N**-a", table)
    assert tuple(result.constants) == table.groups == ("b", "a", "c")
    for group in table.groups:
        alone = fitted("E + A*N**-a", table.of_group(group))
        assert result.constants[group] == pytest.approx(next(iter(alone.constants.values())), rel=1e-7)
    each = [evaluate(table.parse("E + A*N**-a"), table.inputs, result.constants[g]) for g in groups]
    assert result.prediction == pytest.approx([u[i] for i, u in enumerate(each)], rel=1e-12)


def test_shared_constants_equal_a_dense_joint_fit() -> None:
    table, groups = grouped_table()
    N, y = table.column("N"), table.Y[:, 0]
    index = np.array([table.groups.index(g) for g in groups])
    result = fitted("E + A*N**-a", table, shared=("a",))

    def residual(c: Array) -> Array:
        return np.asarray(c[1:4][index] + np.exp(c[4:7][index]) * N ** -c[0] - y)

    reference = least_squares(
        residual, [0.3, 1.5, 1.5, 1.5, 6, 6, 6], xtol=1e-15, ftol=1e-15, gtol=1e-15, x_scale="jac"
    )
    assert result.loss == pytest.approx(2 * reference.cost, rel=1e-10)
    assert len({result.constants[g]["a"] for g in table.groups}) == 1
    for k, g in enumerate(table.groups):
        found = result.constants[g]
        assert [found["a"], found["E"], found["A"]] == pytest.approx(
            [reference.x[0], reference.x[1 + k], math.exp(reference.x[4 + k])], rel=1e-5
        )


@pytest.mark.parametrize("shared", [("E", "A", "a"), ("E",), ("A", "a")])
def test_any_constants_can_be_shared(shared: tuple[str, ...]) -> None:
    table, _ = grouped_table()
    result = fitted("E + A*N**-a", table, shared=shared)
    for c in ("E", "A", "a"):
        assert (len({result.constants[g][c] for g in table.groups}) == 1) == (c in shared)
    if len(shared) == 3:
        pooled = fitted("E + A*N**-a", table_of(dict(table.inputs), table.Y[:, 0]))
        assert result.loss == pytest.approx(pooled.loss, rel=1e-9)


def test_condition_number_of_shared_constants_is_that_of_the_joint_fit() -> None:
    table, _ = grouped_table()
    # one group has one point only: alone its constants are undetermined, with a shared exponent and A they are not
    rows = (table.group_index != 2) | (np.cumsum(table.group_index == 2) == 1)
    assert fitted("E + A*N**-a", table.take(rows), shared=("A", "a")).condition < 1e4


@pytest.mark.parametrize(("n_groups", "scale"), [(5, 1.0), (5, 1e-4), (120, 1e-4)])
def test_condition_number_of_many_groups(n_groups: int, scale: float) -> None:
    rng = np.random.default_rng(n_groups)
    own = [rng.normal(size=(8, 2)) * [1.0, scale] + 1.0 for _ in range(n_groups)]
    common = [rng.normal(size=(8, 2)) for _ in range(n_groups)]
    joint = np.zeros((8 * n_groups, 2 * n_groups + 2))
    for g in range(n_groups):
        joint[8 * g : 8 * g + 8, 2 * g : 2 * g + 2] = own[g]
        joint[8 * g : 8 * g + 8, -2:] = common[g]
    assert arrow_condition(own, common) == pytest.approx(np.linalg.cond(joint), rel=0.05)
    # a column that is a multiple of another
    twice = [block[:, [0, 0]] for block in own]
    assert arrow_condition(twice, common) > 1e12
