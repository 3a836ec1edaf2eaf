"""Physical checks: a law that goes wrong beyond the data is caught, and the sentence names the point."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from many_cases import each

from sld.data.card import Role, Target, Variable
from sld.data.table import Array, Table
from sld.fit.kernel import evaluate
from sld.search.judging.admissible import HARD_REACH, REACH, Grid, Problem

N = np.geomspace(1e6, 1e9, 7)
D = np.geomspace(1e8, 1e11, 7)


def two_scales(target: Target | None = None, **n: Any) -> Table:
    x, d = (a.ravel() for a in np.meshgrid(N, D))
    loss = 1.7 + 400 * x**-0.34 + 800 * d**-0.3
    return Table(
        (Variable("N", **n), Variable("D", monotone="decreasing")),
        (target or Target("loss", lower=0.0),),
        np.column_stack([x, d]),
        loss[:, None],
    )


def problems(
    table: Table, text: str, constants: Mapping[str, float] | Sequence[Mapping[str, float]] = ()
) -> tuple[Problem, ...]:
    grid = Grid.of(table)
    each = [constants] * len(table.groups) if isinstance(constants, Mapping) else list(constants)
    values = grid.predict(table.parse(text), each or [{}] * len(table.groups))
    return grid.problems(0, values)


def sentences(*args: Any) -> str:
    return "; ".join(p.sentence for p in problems(*args))


def test_the_true_law_passes_every_check() -> None:
    table = two_scales(monotone="decreasing")
    law = {"E": 1.7, "A": 400.0, "a": 0.34, "B": 800.0, "b": 0.3}
    assert problems(table, "E + A*N**-a + B*D**-b", law) == ()


@each(
    ("text", "wanted"),
    [
        ("1.7 + 2*(log(N) - 17)**2", "runs away"),
        ("1.7 + 1e-9*N", "runs away"),
        ("2.5 - 0.05*log(N)", ""),
        ("3 - 0.3*log(N/1000000)", "falls below 0"),
        ("1.7 + 1/(N/2.99e10 - 1)", "runs away"),
        ("1.7 + 1/sqrt(5e10 - N)", "not finite"),
        ("log(9e11 - N)/10", "not finite"),
        ("1.7 + 400*N**-0.34 + 0.1*log(D)", "not decreasing in D"),
        ("1.7 + 20/log(D)*(1.5 + tanh((log(D) - 31)*4))", "not decreasing in D"),
    ],
)
def test_a_law_that_goes_wrong_beyond_the_data_is_caught(text: str, wanted: str) -> None:
    found = sentences(two_scales(), text)
    assert re.search(wanted, found) if wanted else not found


@pytest.mark.parametrize("text", ["1.7 + 1e-9*N", "log(9e11 - N)/10", "3 - 0.3*log(N/1000000)"])
def test_the_sentence_names_the_point_where_it_first_goes_wrong(text: str) -> None:
    table = two_scales()
    found = problems(table, text)
    assert found
    for problem in found:
        match = re.search(r" at N = (\S+), D = (\S+)$", problem.sentence)
        assert match is not None, problem.sentence
        n, d = float(match[1]), float(match[2])
        assert N[-1] * 0.99 < n < N[-1] * REACH * 1.01
        assert D[0] * 0.99 < d < D[-1] * REACH * 1.01
        value = float(evaluate(table.parse(text), {"N": np.array([n]), "D": np.array([d])}, {})[0])
        assert not 0 <= value <= 50


def test_the_nearest_problem_comes_first_and_decides() -> None:
    table = two_scales()
    # wrong by ten times the data: where a law will be used
    near = problems(table, "1.7 + sqrt(1e10 - N)*0")
    assert near[0].hard
    assert near[0].reach <= HARD_REACH
    # wrong only hundreds of times beyond three decades of data: reported
    far = problems(table, "1.7 + sqrt(5e11 - N)*0")
    assert far
    assert not far[0].hard
    found = problems(table, "1.7 + sqrt(1e10 - N)*0 + 0.1*log(D)")
    assert [p.reach for p in found] == sorted(p.reach for p in found)


def test_a_gap_between_the_rows_is_found() -> None:
    # rows are at 1e7 and 3.2e7
    found = problems(two_scales(), "1.7 + 0*sqrt((N - 20000000)*(N - 28000000))")
    assert found[0].sentence.startswith("not finite")
    assert found[0].reach == 0


def test_bounds_hold_up_to_a_rounding_error() -> None:
    table = two_scales(Target("accuracy", better="higher", lower=0.0, upper=1.0))
    assert "exceeds 1" in sentences(table, "0.5 + 0.05*log(N/1000000)")
    assert "falls below 0" in sentences(table, "0.1 - 0.05*log(N/1000000)")
    # approaching the best bound is a legitimate asymptote
    assert problems(table, "1 - 0.5*D**-0.01*0 - 0.3*(N/1000000)**-0.5") == ()
    assert problems(table, "1 + 0*N") == ()


def test_without_declared_bounds_or_monotonicity_only_running_away_counts() -> None:
    x = np.geomspace(1, 100, 10)
    table = Table((Variable("N"),), (Target("y"),), x[:, None], (np.sin(x) * 3)[:, None])
    assert problems(table, "3*exp(-log(N)**2) - 2") == ()
    assert "runs away" in sentences(table, "N**2")


def test_what_spans_decades_may_grow_by_factors() -> None:
    # compute-optimal parameters, Hoffmann et al. 2022: three decades in the data, one more half as far again
    C = np.geomspace(1e18, 1e24, 13)
    table = Table((Variable("C"),), (Target("N"),), C[:, None], (0.09 * C**0.5)[:, None])
    assert not any(p.hard for p in problems(table, "0.09*C**0.5"))
    # but a rate that the data do not show is running away still
    assert problems(table, "0.09*C**0.5*(1 + (C/1e24)**4)")[0].hard
    assert problems(table, "0.09*C**0.5 - 0.09*1e12*(C/1e24)**4")[0].hard


def test_the_target_is_measured_by_its_own_range() -> None:
    # the same law in other units is as good or bad as before
    for unit in (1e-6, 1.0, 1e6):
        x = np.geomspace(1e6, 1e9, 10)
        table = Table((Variable("N"),), (Target("y"),), x[:, None], unit * (2 + 30 * x**-0.3)[:, None])
        assert problems(table, "u*(2 + 30*N**-0.3)", {"u": unit}) == ()
        assert "runs away" in sentences(table, "u*(2 + N**0.3/100)", {"u": unit})


@pytest.mark.parametrize(("log", "step"), [("log10", 1.0), ("log2", np.log2(10.0)), ("log", np.log(10.0))])
def test_a_column_of_logarithms_walks_as_far_as_the_plain_one(log: Any, step: float) -> None:
    decades = np.linspace(6, 9, 8)
    y = (2 + 30 * 10 ** (-0.1 * decades))[:, None]
    plain = Table((Variable("N", monotone="decreasing"),), (Target("y", lower=0.0),), 10 ** decades[:, None], y)
    logged = Table(
        (Variable("n", log=log, monotone="decreasing"),), (Target("y", lower=0.0),), step * decades[:, None], y
    )
    assert np.allclose(np.log10(Grid.of(plain).columns["N"]), Grid.of(logged).columns["n"] / step)
    assert Grid.of(logged).columns["n"].max() == pytest.approx(step * (9 + np.log10(REACH)))
    for exponent, passes in ((-0.1, True), (0.01, False), (0.4, False)):
        a = problems(plain, "2 + 3*N**a", {"a": exponent})
        b = problems(logged, "2 + 3*exp(a*n)", {"a": exponent * np.log(10.0) / step})
        assert [p.sentence.split()[:2] for p in a] == [p.sentence.split()[:2] for p in b]
        assert [p.reach for p in a] == pytest.approx([p.reach for p in b])
        assert (a == ()) is passes


def grouped() -> Table:
    x = np.concatenate([np.geomspace(1e6, 1e8, 6), np.geomspace(1e7, 1e9, 6)])
    index = np.repeat([0, 1], 6)
    y = np.where(index == 0, 2 + 40 * x**-0.3, 3 + 90 * x**-0.3)
    return Table((Variable("N"),), (Target("y", lower=0.0),), x[:, None], y[:, None], ("a", "b"), index)


def test_every_group_is_walked_with_its_own_constants() -> None:
    table = grouped()
    good = {"E": 2.0, "A": 40.0, "a": 0.3}
    assert set(Grid.of(table).group_index) == {0, 1}
    assert problems(table, "E + A*N**-a", [good, {**good, "E": 3.0}]) == ()
    for bad in (0, 1):
        constants = [dict(good), dict(good)]
        constants[bad]["a"] = -0.3
        assert "runs away" in sentences(table, "E + A*N**-a", constants)


def test_a_group_that_is_never_walked_does_not_exist() -> None:
    n_groups = 500
    x = np.tile(np.geomspace(1, 8, 4), n_groups)
    index = np.repeat(np.arange(n_groups), 4)
    table = Table(
        (Variable("N"),), (Target("y"),), x[:, None], (1 + 1 / x)[:, None], tuple(map(str, range(n_groups))), index
    )
    assert len(set(Grid.of(table).group_index)) == n_groups


def test_a_group_goes_on_from_its_own_data() -> None:
    # the other group's rows lie three decades beyond: for this one that is far away
    x = np.concatenate([np.geomspace(1, 100, 8), np.geomspace(1e3, 1e5, 8)])
    y = np.concatenate([2.5 - 0.25 * np.log(x[:8]), 2 - 0.01 * np.log(x[8:])])
    table = Table((Variable("N"),), (Target("y", lower=0.0),), x[:, None], y[:, None], ("a", "b"), np.repeat([0, 1], 8))
    (problem,) = problems(table, "E - k*log(N)", [{"E": 2.5, "k": 0.25}, {"E": 2.0, "k": 0.01}])
    assert problem.sentence.startswith("falls below 0")
    assert not problem.hard
    grid = Grid.of(table)
    assert grid.columns["N"][grid.group_index == 0].max() == pytest.approx(100 * REACH)


@pytest.mark.parametrize("role", ["hyperparameter", "covariate"])
def test_a_table_without_scales_is_walked_away_from_its_middle(role: Role) -> None:
    x = np.linspace(0.0, 1.0, 6)
    table = Table((Variable("p", role=role),), (Target("y"),), x[:, None], (1 + x)[:, None])
    nearest, *_ = problems(table, "1 + log(p + 0.2)")
    assert "at p = -0." in nearest.sentence
    assert nearest.hard
    assert problems(table, "1 + p") == ()
    grid = Grid.of(table)
    assert grid.columns["p"][grid.reach <= HARD_REACH].max() == pytest.approx(0.5 + 0.5 * (1 + HARD_REACH))


def test_shares_that_are_walked_outwards_stay_shares() -> None:
    shares = np.random.default_rng(0).dirichlet([2, 2, 2], 9)
    table = Table(tuple(Variable(c, role="proportion") for c in "abc"), (Target("y"),), shares, shares[:, :1])
    grid = Grid.of(table)
    points = np.column_stack([grid.columns[c] for c in "abc"])
    assert (points >= 0).all()
    np.testing.assert_allclose(points.sum(axis=1), 1.0, atol=1e-12)
    assert points.max() > shares.max()


@each("first", [1.0, 0.0, -3.0, -9.0])
@each("with_scale", [True, False])
def test_a_declared_covariate_is_walked_within_the_data(first: float, with_scale: bool) -> None:
    depth = np.linspace(first, first + 4, 6)
    scale = (Variable("N"),) if with_scale else ()
    columns = [np.geomspace(1, 100, 6)] * with_scale + [depth]
    table = Table(
        (*scale, Variable("depth", role="covariate", monotone="decreasing")),
        (Target("y"),),
        np.column_stack(columns),
        (1 - depth)[:, None],
    )
    assert problems(table, "1 - depth/5") == ()
    found = problems(table, "1 + depth/5")
    assert [p.sentence.partition(" at ")[0] for p in found] == ["not decreasing in depth"]
    assert found[0].hard
    # a bend inside the data is seen as well
    assert problems(table, f"(depth - {first + 2!r})**2/9")
    grid = Grid.of(table)
    points = grid.columns["depth"][np.repeat(grid.direction == len(scale), 12)]
    assert (points.min(), points.max()) == pytest.approx((first, first + 4))


def test_a_share_is_not_walked_alone() -> None:
    shares = np.random.default_rng(0).dirichlet([1, 1], 9)
    table = Table(
        tuple(Variable(c, role="proportion", monotone="decreasing") for c in "ab"),
        (Target("y"),),
        shares,
        shares[:, :1],
    )
    assert problems(table, "1 + a") == ()


def test_a_covariate_alone_is_walked_where_it_was_seen() -> None:
    x = np.linspace(1.0, 5.0, 6)
    table = Table(
        (Variable("depth", role="covariate", monotone="decreasing"),), (Target("y"),), x[:, None], (1 + 1 / x)[:, None]
    )
    assert problems(table, "1 + 1/depth") == ()
    assert "not decreasing in depth" in sentences(table, "1 + depth/5")


def test_a_constant_target_does_not_divide_by_zero() -> None:
    table = Table((Variable("N"),), (Target("y"),), N[:, None], np.full((len(N), 1), 2.0))
    assert problems(table, "2 + 0*N") == ()


def test_walks_start_in_the_data_and_each_moves_one_way() -> None:
    grid = Grid.of(two_scales())
    columns: list[Array] = [np.log(grid.columns["N"]), np.log(grid.columns["D"])]
    for w, moving in enumerate(grid.direction):
        rows = np.flatnonzero(grid.walk == w)
        assert (np.diff(rows) == 1).all()
        for i, column in enumerate(columns):
            steps = np.diff(column[rows])
            if moving in (i, -1):
                assert (steps >= -1e-9).all()
                assert column[rows[-1]] == pytest.approx(np.log([N, D][i][-1] * REACH))
            else:
                assert np.allclose(steps, 0)


@each(
    ("text", "constants", "turns"),
    [
        ("E + A*N**-a + B*D**-b", {"E": 1.7, "A": 400, "a": 0.34, "B": 800, "b": 0.3}, False),
        ("E + k*(log(N) - m)**2", {"E": 2.0, "k": 0.01, "m": 21.0}, True),  # the bottom is a little beyond 1e9
        ("E + k*(log(N) - m)**2", {"E": 2.0, "k": 0.01, "m": 60.0}, False),  # so far out that no walk comes there
        ("E + k*(log(N) - m)**2", {"E": 2.0, "k": 0.01, "m": 17.0}, False),  # it turns within the data
        ("E - k*log(N) - k*log(D)", {"E": 9.0, "k": 0.1}, False),
        ("E + k*(log(D) - m)**2 + 0*N", {"E": 2.0, "k": 0.01, "m": 26.0}, False),  # its direction is declared
    ],
)
def test_a_law_that_turns_around_beyond_the_data_is_known(text: str, constants: dict[str, float], turns: bool) -> None:
    table = two_scales()
    grid = Grid.of(table)
    assert grid.turns(0, grid.predict(table.parse(text), [constants])) is turns


def test_where_a_direction_is_declared_turning_is_another_check() -> None:
    table = two_scales(monotone="decreasing")
    grid = Grid.of(table)
    values = grid.predict(table.parse("E + k*(log(N) - m)**2"), [{"E": 2.0, "k": 0.01, "m": 21.0}])
    assert not grid.turns(0, values) and grid.problems(0, values)
