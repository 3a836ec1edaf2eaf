"""Partial pooling: what small groups gain, what zero weight changes (nothing), and groups that only borrow."""

from __future__ import annotations

import numpy as np
import pytest
from many_cases import each

from sld.core.errors import UsageError
from sld.data.table import Array, Table, table_from
from sld.fit.fitter import Fitter, Prior
from sld.fit.fitting import fit
from sld.fit.pooling import Pool, fit_small_groups, shape_constants, spread_of

FORM = "E + A*N**-a"


def groups(
    n_groups: int, n_rows: int, *, noise: float, apart: float, seed: int = 0, low: float = 1.0, high: float = 1e3
) -> tuple[Table, Array, Array]:
    """Groups of E + A*N**-a with exponents around 0.5 that differ by `apart`; also a point beyond, and its value."""
    rng = np.random.default_rng(seed)
    x = np.geomspace(low, high, n_rows)
    level, scale = rng.uniform(1, 3, n_groups), rng.uniform(2, 4, n_groups)
    a = 0.5 + apart * rng.normal(size=n_groups)
    y = level[:, None] + scale[:, None] * x ** -a[:, None] + noise * rng.normal(size=(n_groups, n_rows))
    names = np.repeat([f"g{k:02d}" for k in range(n_groups)], n_rows)
    table = table_from({"N": np.tile(x, n_groups), "y": y.ravel(), "g": names}, target="y", scale="N", group="g")
    return table, a, level + scale * (100 * high) ** -a


def beyond(table: Table, constants: dict[str, dict[str, float]], at: float = 1e5) -> Array:
    return np.array([c["E"] + c["A"] * at ** -c["a"] for c in (constants[g] for g in table.groups)])


@pytest.mark.parametrize(("apart", "exponents", "predictions"), [(0.0, 0.4, 0.75), (0.05, 0.8, 0.85)])
def test_small_noisy_groups_borrow_their_exponent(apart: float, exponents: float, predictions: float) -> None:
    table, a, far = groups(20, 6, noise=0.15, apart=apart)
    expression = table.parse(FORM)
    alone = fit(expression, table, starts=8)
    pooled = fit(expression, table, starts=8, pooling="partial")
    assert pooled.ok

    def misses(constants: dict[str, dict[str, float]]) -> tuple[float, float]:
        found = np.array([constants[g]["a"] for g in table.groups])
        return float(np.std(found - a)), float(np.sqrt(np.mean((beyond(table, constants) - far) ** 2)))

    mine, theirs = misses(pooled.constants), misses(alone.constants)
    assert mine[0] < exponents * theirs[0]
    # the level of a group is its own affair, so what lies beyond gains less
    assert mine[1] < predictions * theirs[1]


def test_groups_that_truly_differ_keep_their_exponents() -> None:
    table, a, _ = groups(20, 12, noise=0.002, apart=0.1)
    pooled = fit(table.parse(FORM), table, starts=8, pooling="partial")
    assert np.array([pooled.constants[g]["a"] for g in table.groups]) == pytest.approx(a, abs=0.02)


def test_the_spread_between_groups_is_found() -> None:
    table, _, _ = groups(60, 12, noise=0.01, apart=0.1, seed=3)
    pool = Pool(table.parse(FORM), table)
    joint = pool.joint.solve(np.array([[0.5]]))
    pooled = pool.solve(joint)
    assert pooled is not None
    assert pooled.spread.mean == pytest.approx([0.5], abs=0.04)
    assert np.sqrt(pooled.spread.covariance[0, 0]) == pytest.approx(0.1, rel=0.25)
    assert np.sqrt(pooled.spread.noise) == pytest.approx(0.01, rel=0.1)
    assert 2.5 < pooled.effective <= 3.0


def test_equal_groups_cost_hardly_more_than_a_shared_shape() -> None:
    table, _, _ = groups(30, 8, noise=0.05, apart=0.0)
    pool = Pool(table.parse(FORM), table)
    pooled = pool.solve(pool.joint.solve(np.array([[0.5]])))
    assert pooled is not None
    assert 2.0 < pooled.effective < 2.3


def test_a_prior_of_weight_zero_changes_no_bit() -> None:
    table, _, _ = groups(5, 8, noise=0.05, apart=0.1)
    expression = table.parse(FORM)
    free = Fitter(expression, table)
    pulled = Fitter(expression, table, prior=Prior(("a",), (7.0,), ((0.0,),)))
    starts = free.starts(6, np.random.default_rng(0))
    one, other = free.solve(starts), pulled.solve(starts)
    assert one.values.tobytes() == other.values.tobytes()
    assert one.sums.tobytes() == other.sums.tobytes()


@pytest.mark.parametrize("shared", [(), ("a",)])
def test_the_pulled_solution_is_where_the_gradient_vanishes(shared: tuple[str, ...]) -> None:
    table, _, _ = groups(4, 8, noise=0.05, apart=0.1)
    expression = table.parse("E + A*(N + K)**-a")
    names = ("K",) if shared else ("a", "K")
    mean, weight = (0.6, 0.3)[-len(names) :], ((0.5, 0.1), (0.1, 0.2))
    own = tuple(row[-len(names) :] for row in weight[-len(names) :])
    fitter = Fitter(expression, table, shared=shared, prior=Prior(names, mean, own))
    starts = np.array([[{"a": 0.5, "K": 0.5}[c] for c in fitter.tape.constants]])
    solution = fitter.solve(starts, max_iterations=300, tolerance=1e-15)
    assert solution.ok

    def objective(values: Array) -> float:
        apart = values[:, [fitter.names.index(c) for c in names]] - np.array(mean)
        squares = np.sum((table.Y[:, 0] - fitter.predict(values)) ** 2)
        return float(squares + np.einsum("gi,ij,gj->", apart, np.array(own), apart))

    best = objective(solution.values)
    assert best == pytest.approx(solution.sums.sum(), rel=1e-9)
    for g in range(4):
        for j, c in enumerate(fitter.names):
            step = np.zeros_like(solution.values)
            step[slice(None) if c in shared else g, j] = 1e-4
            slope = (objective(solution.values + step) - objective(solution.values - step)) / 2e-4
            assert abs(slope) < 2e-4, (c, g)


def test_a_strong_prior_wins_and_a_weak_one_loses() -> None:
    table, _, _ = groups(4, 8, noise=0.01, apart=0.1)
    expression = table.parse(FORM)
    start = np.array([[0.5]])
    free = Fitter(expression, table).solve(start).values[:, 0]
    strong = Fitter(expression, table, prior=Prior(("a",), (0.7,), ((1e9,),))).solve(start).values[:, 0]
    weak = Fitter(expression, table, prior=Prior(("a",), (0.7,), ((1e-9,),))).solve(start).values[:, 0]
    assert strong == pytest.approx(np.full(4, 0.7), abs=1e-5)
    assert weak == pytest.approx(free, rel=1e-6)


def test_linear_constants_of_a_formula_without_others_are_pooled() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 6)
    curve = 0.5 + 0.02 * rng.normal(size=30)
    y = rng.normal(size=(30, 1)) + 2 * x + curve[:, None] * x**2 + 0.3 * rng.normal(size=(30, 6))
    table = table_from(
        {"x": np.tile(x, 30), "y": y.ravel(), "g": np.repeat([f"g{k}" for k in range(30)], 6)},
        target="y", covariate="x", group="g",
    )  # fmt: skip
    expression = table.parse("a0 + a1*x + a2*x**2")
    assert shape_constants(expression) == ()
    alone, pooled = fit(expression, table), fit(expression, table, pooling="partial")

    def miss(result: dict[str, dict[str, float]]) -> float:
        return float(np.sqrt(np.mean((np.array([result[g]["a2"] for g in table.groups]) - curve) ** 2)))

    assert miss(pooled.constants) < 0.4 * miss(alone.constants)


def test_pooling_works_in_the_units_of_the_table() -> None:
    table, _, _ = groups(12, 8, noise=0.02, apart=0.05)
    small = fit(table.parse(FORM), table, starts=8, pooling="partial")
    scaled = table.with_targets(table.Y * 1e6)
    large = fit(scaled.parse(FORM), scaled, starts=8, pooling="partial")
    for g in table.groups:
        assert large.constants[g]["a"] == pytest.approx(small.constants[g]["a"], rel=1e-3)
        assert large.constants[g]["E"] == pytest.approx(1e6 * small.constants[g]["E"], rel=1e-3)


def test_a_prior_survives_json() -> None:
    import json

    prior = Prior(("a", "K"), (1 / 3, 1e-300), ((0.1, 0.2), (0.2, 1e300)))
    assert Prior.from_json(json.loads(json.dumps(prior.to_json()))) == prior


@each(
    ("options", "why"),
    [
        ({"pooling": "some"}, "no pooling 'some'"),
        ({"pooling": "partial", "loss": "huber"}, "squared errors"),
        ({"pooling": "partial", "shared": ("a",)}, "squared errors"),
        ({"pooling": "partial", "positive": ("A",)}, "squared errors"),
    ],
)
def test_what_pooling_does_not_go_with_is_said(options: dict[str, object], why: str) -> None:
    table, _, _ = groups(4, 8, noise=0.01, apart=0.1)
    with pytest.raises(UsageError, match=why):
        fit(table.parse(FORM), table, **options)  # type: ignore[arg-type]


def test_two_groups_are_too_few_to_say_how_far_groups_are_apart() -> None:
    table, _, _ = groups(2, 8, noise=0.01, apart=0.1)
    with pytest.raises(UsageError, match="at least 3 groups, got 2"):
        fit(table.parse(FORM), table, pooling="partial")


def test_pooled_groups_need_rows_for_their_linear_constants_only() -> None:
    table, _, _ = groups(6, 2, noise=0.001, apart=0.0)
    expression = table.parse(FORM)
    with pytest.raises(UsageError, match="3 constants need at least 3 distinct points"):
        fit(expression, table)
    more, _, _ = groups(6, 8, noise=0.001, apart=0.0)
    rows = np.concatenate([np.arange(40), [40, 47]])  # the last group has two rows
    assert fit(expression, more.take(rows), pooling="partial").ok


@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_a_group_with_few_rows_takes_the_others_shape_and_its_own_level(n_rows: int) -> None:
    table, _, far = groups(13, 8, noise=0.002, apart=0.0)
    rows = np.flatnonzero(table.group_index < 12)
    few = table.take(np.flatnonzero(table.group_index == 12)[[7, 0, 4][:n_rows]])
    others = table.take(rows)
    expression = table.parse(FORM)
    known = fit(expression, others, starts=8)
    small = fit_small_groups(expression, others, 0, known.constants, few)["g12"]
    assert small["a"] == pytest.approx(0.5, abs=0.01)
    assert small["E"] + small["A"] * 1e5 ** -small["a"] == pytest.approx(far[12], abs=0.1 if n_rows == 1 else 0.02)


def test_a_group_with_few_rows_is_pulled_where_nothing_is_linear() -> None:
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 100, 8)
    b = rng.uniform(1, 2, 13)
    y = np.exp(-b[:, None] * x**-0.4) + 0.002 * rng.normal(size=(13, 8))
    names = np.repeat([f"g{k:02d}" for k in range(13)], 8)
    table = table_from({"k": np.tile(x, 13), "y": y.ravel(), "g": names}, target="y", scale="k", group="g")
    expression = table.parse("exp(-b*k**-c)")
    others, few = table.take(table.group_index < 12), table.take([96])
    known = fit(expression, others, starts=8)
    small = fit_small_groups(expression, others, 0, known.constants, few)["g12"]
    assert small["b"] == pytest.approx(b[12], abs=0.05)
    assert small["c"] == pytest.approx(0.4, abs=0.05)


def test_one_other_group_lends_its_shape() -> None:
    table, _, far = groups(2, 8, noise=0.001, apart=0.0)
    few = table.take([8, 15])
    others = table.take(np.arange(8))
    known = fit(table.parse(FORM), others, starts=8)
    small = fit_small_groups(table.parse(FORM), others, 0, known.constants, few)["g01"]
    assert small["a"] == pytest.approx(known.constants["g00"]["a"], rel=1e-3)
    assert small["E"] + small["A"] * 1e5 ** -small["a"] == pytest.approx(far[1], abs=0.02)


def test_the_mean_of_a_fold_owes_nothing_to_the_spread_it_starts_from() -> None:
    table, _, _ = groups(20, 12, noise=0.01, apart=0.05)
    pool = Pool(table.parse(FORM), table)
    joint = pool.joint.solve(np.array([[0.5]]))
    at = pool.linearise(joint.values[:, [pool.joint.names.index(c) for c in pool.fitter.names]])
    start = spread_of(at)
    moved = type(start)(start.mean + 5.0, start.covariance, start.noise, start.decided)
    assert spread_of(at, moved).mean == pytest.approx(spread_of(at, start).mean, rel=1e-12)
