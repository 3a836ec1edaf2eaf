import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_cases import each
from numpy.typing import ArrayLike, NDArray

from sld.core.errors import UsageError
from sld.data.card import Role, Target, Variable
from sld.data.splits import Fold, extrapolation_split, rung_folds, rungs
from sld.data.table import Table
from sld.data.task import load_task

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
OPEN_TASKS = sorted(
    p.parent for folder in ("open", "sldbench-train", "synthetic") for p in SHARED.glob(f"{folder}/*/task.toml")
)


def table(
    columns: Mapping[str, ArrayLike],
    groups: Sequence[str] | None = None,
    roles: Mapping[str, Role] | None = None,
    extrapolate: Sequence[str] = (),
    log10: Sequence[str] = (),
) -> Table:
    roles = roles or {}
    variables = tuple(
        Variable(c, role=roles.get(c, "scale"), extrapolate=c in extrapolate, log="log10" if c in log10 else None)
        for c in columns
    )
    X = np.column_stack([np.asarray(v, dtype=np.float64) for v in columns.values()])
    names = tuple(dict.fromkeys(groups)) if groups is not None else ("all",)
    index = np.array([names.index(g) for g in groups]) if groups is not None else np.zeros(len(X), dtype=np.intp)
    return Table(variables, (Target("loss"),), X, np.ones((len(X), 1)), names, index)


def grid(**levels: Iterable[float]) -> dict[str, ArrayLike]:
    rows = list(itertools.product(*levels.values()))
    return {name: [row[i] for row in rows] for i, name in enumerate(levels)}


def isoflop() -> Table:
    """Nine sizes at each of six budgets, 1e18 to 1e21, sizes centred on the optimum: no two N are equal."""
    budgets = np.repeat(10.0 ** np.linspace(18, 21, 6), 9)
    N = 0.1 * np.sqrt(budgets / 6) * 2.0 ** np.tile(np.linspace(-2, 2, 9), 6)
    return table({"N": N, "D": budgets / (6 * N)})


def hyperparameters() -> Table:
    columns = grid(N=[1e7, 3e7, 1e8, 3e8, 1e9], lr=np.geomspace(1e-4, 3e-2, 7), bsz=[32, 128, 512])
    return table(columns, roles={"lr": "hyperparameter", "bsz": "hyperparameter"})


def mixtures() -> Table:
    shares = np.array([s for s in itertools.product(range(5), repeat=4) if sum(s) == 4]) / 4
    columns = {f"p{i}": shares[:, i].tolist() for i in range(4)}
    return table(columns, roles=dict.fromkeys(columns, "proportion"))


def groups_of_different_range() -> Table:
    sizes = {"small": [1e6, 2e6, 4e6, 8e6, 1.6e7, 3.2e7], "large": [1e9, 2e9, 4e9, 8e9, 1.6e10, 3.2e10], "one": [1e8]}
    rows = [(n, g) for g, ns in sizes.items() for n in ns for _ in range(2)]
    return table({"N": [n for n, _ in rows]}, [g for _, g in rows])


def many_groups(n_rows: int = 2_000, n_groups: int = 50) -> Table:
    rng = np.random.default_rng(0)
    columns = {"N": 10 ** rng.uniform(6, 10, n_rows), "D": 10 ** rng.uniform(9, 12, n_rows)}
    return table(columns, [f"g{i % n_groups}" for i in range(n_rows)])


TABLES: dict[str, Callable[[], Table]] = {
    "five levels": lambda: table(grid(N=[1e6, 1e7, 1e8, 1e9, 1e10], repeat=[1, 2, 3])),
    "five rows": lambda: table({"N": [1e6, 1e7, 1e8, 1e9, 1e10]}),
    "grid": lambda: table(grid(N=np.geomspace(1e7, 1e9, 9), D=np.geomspace(1e9, 1e11, 7)), extrapolate=["N"]),
    "both marked": lambda: table(grid(N=np.geomspace(1e7, 1e9, 9), D=np.geomspace(1e9, 1e11, 7))),
    "isoflop": isoflop,
    "hyperparameters": hyperparameters,
    "mixtures": mixtures,
    "groups of different range": groups_of_different_range,
    "log column": lambda: table({"C": np.repeat(np.linspace(-1, 3, 12), 2)}, log10=["C"]),
    "24 rows": lambda: table(
        grid(N=[5.358e8, 6.938e8, 1.088e9, 1.571e9, 2.775e9, 4.353e9], P=[1, 2]) | {},
        extrapolate=["P"],
    ),
    "learning curves": lambda: table({"step": np.tile(np.arange(1, 29), 6)}, np.repeat(list("abcdef"), 28).tolist()),
    "covariate": lambda: table(
        grid(N=[1e6, 1e7, 1e8, 1e9, 1e10], T=[1.9, 2.1, 2.4, 2.8]), roles={"T": "covariate"}, extrapolate=["N"]
    ),
    "sweep without scale": lambda: table(
        grid(lr=np.geomspace(1e-4, 1e-1, 8), wd=[0.0, 0.1, 0.2, 0.4]),
        roles={"lr": "hyperparameter", "wd": "hyperparameter"},
    ),
    "many groups": many_groups,
}


def _overlap(one: Fold, other: Fold) -> float:
    return len(np.intersect1d(one.test, other.test)) / len(np.union1d(one.test, other.test))


@pytest.fixture(params=TABLES)
def data(request: pytest.FixtureRequest) -> Table:
    return TABLES[request.param]()


def test_there_are_five_folds_or_more_and_they_differ(data: Table) -> None:
    folds = rung_folds(data)
    assert (5 if data.n_rows > 5 else 4) <= len(folds) <= 8
    assert len({fold.name for fold in folds}) == len(folds)
    assert all(_overlap(a, b) <= 0.75 for a, b in itertools.combinations(folds, 2))


def test_folds_train_on_about_half_or_more_and_judge_other_rows(data: Table) -> None:
    for fold in rung_folds(data):
        assert len(np.intersect1d(fold.train, fold.test)) == 0
        assert len(fold.train) >= 0.45 * data.n_rows
        assert len(fold.test) >= (3 if data.n_rows > 10 else 1)
        for rows in (fold.train, fold.test):
            assert np.all(np.diff(rows) > 0)
            assert rows[0] >= 0
            assert rows[-1] < data.n_rows


def test_judged_groups_are_trained_on_two_levels_of_every_variable(data: Table) -> None:
    for fold in rung_folds(data):
        for g in np.unique(data.group_index[fold.test]):
            rows = data.X[data.group_index == g]
            train = data.X[fold.train][data.group_index[fold.train] == g]
            assert len(train) >= len(rows) / 3
            for i in range(data.X.shape[1]):
                assert np.ptp(rows[:, i]) == 0 or np.ptp(train[:, i]) > 0


def test_folds_are_the_same_every_time_and_in_any_row_order(data: Table) -> None:
    folds = rung_folds(data)
    order = np.random.default_rng(3).permutation(data.n_rows)
    for fold, again, shuffled in zip(folds, rung_folds(data), rung_folds(data.take(order)), strict=True):
        assert np.array_equal(fold.test, again.test)
        assert fold.name == shuffled.name
        assert np.array_equal(fold.test, np.sort(order[shuffled.test]))
        assert np.array_equal(fold.train, np.sort(order[shuffled.train]))


def test_units_do_not_change_folds() -> None:
    one = table(grid(N=[1e7, 2e7, 4e7, 9e7, 2e8, 5e8], D=[1e9, 4e9, 1e10, 5e10]))
    other = table({"N": one.X[:, 0] / 1e6, "D": np.log10(one.X[:, 1])}, log10=["D"])
    for a, b in zip(rung_folds(one), rung_folds(other), strict=True):
        assert np.array_equal(a.test, b.test)


def test_targets_play_no_part() -> None:
    data = TABLES["grid"]()
    other = data.with_targets(np.random.default_rng(0).normal(size=data.Y.shape))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(rung_folds(data), rung_folds(other), strict=True))


def test_marked_variable_is_extrapolated_at_three_reaches_and_one_step_earlier() -> None:
    data = table({"N": np.repeat(np.geomspace(1e7, 1e9, 9), 3)})
    top = [np.unique(data.X[f.test, 0]).size for f in rung_folds(data)[:4]]
    assert top == [2, 3, 1, 2]
    earlier = rung_folds(data)[3]
    assert data.X[earlier.test].max() < data.X.max()
    assert data.X[earlier.train].max() < data.X[earlier.test].min()


def test_first_fold_of_a_compute_table_holds_out_the_largest_budgets() -> None:
    data = isoflop()
    fold = rung_folds(data)[0]
    budget = data.X.prod(axis=1)
    assert fold.name == "N*D: top 1 of 6 rungs"
    assert budget[fold.train].max() * 3 < budget[fold.test].min()


def test_corner_is_seen_high_alone_in_each_variable() -> None:
    data = TABLES["both marked"]()
    (corner,) = [f for f in rung_folds(data) if f.name == "N high and D high"]
    assert data.X[corner.train, 0].max() == data.X[corner.test, 0].max()
    assert data.X[corner.train, 1].max() == data.X[corner.test, 1].max()
    assert (data.X[corner.test] >= data.X[corner.test].min(axis=0)).all()


def test_box_is_left_in_both_variables_at_once() -> None:
    data = TABLES["both marked"]()
    (fold,) = [f for f in rung_folds(data) if f.name.startswith("beyond a box")]
    edge = data.X[fold.train].max(axis=0)
    assert (data.X[fold.test] > edge).any(axis=1).all()
    assert (data.X[fold.test] > edge).all(axis=1).any()


def test_hyperparameters_are_judged_at_both_ends_and_scales_at_the_top() -> None:
    data = hyperparameters()
    folds = {f.name: f for f in rung_folds(data)}
    ends = data.column("lr")[folds["lr: both ends"].test]
    inner = data.column("lr")[folds["lr: both ends"].train]
    assert ends.min() < inner.min()
    assert inner.max() < ends.max()
    assert next(iter(folds)).startswith("N: top")


def test_proportions_are_judged_at_both_ends() -> None:
    names = [f.name for f in rung_folds(mixtures())]
    assert any("top" in n for n in names)
    assert any("bottom" in n for n in names)


def test_each_group_is_cut_within_its_own_range() -> None:
    data = groups_of_different_range()
    fold = rung_folds(data)[0]
    for g in (0, 1):
        of_group = data.group_index == g
        assert data.X[fold.test][of_group[fold.test]].min() > data.X[fold.train][of_group[fold.train]].max()
    assert not (data.group_index[fold.test] == 2).any()  # one rung: nothing to judge in it
    assert (data.group_index[fold.train] == 2).any()


def test_variable_with_two_rungs_is_judged_in_corners() -> None:
    data = TABLES["24 rows"]()
    folds = rung_folds(data)
    assert any(f.name == "P high and N high" for f in folds)
    assert all(np.unique(data.X[f.train, 1]).size == 2 for f in folds)


@pytest.mark.slow
def test_large_table_with_hundreds_of_groups_is_cut_in_each() -> None:
    data = many_groups(20_000, 500)
    folds = rung_folds(data)
    assert len(folds) == 8
    for fold in folds[:3]:
        assert np.unique(data.group_index[fold.test]).size == 500


def test_max_folds_and_n_min_are_kept() -> None:
    data = TABLES["both marked"]()
    assert len(rung_folds(data, max_folds=3)) == 3
    assert [f.name for f in rung_folds(data, max_folds=3)] == [f.name for f in rung_folds(data)][:3]
    short = TABLES["five levels"]()
    assert len(rung_folds(short, n_min=1)) <= len(rung_folds(short, n_min=5))


@each(
    ("columns", "groups", "words"),
    [
        ({"N": [1e8] * 6}, None, "N has 1 and no other"),
        ({"N": [1e8, 1e9] * 6}, None, "N has 2 and no other"),
        ({"N": [1e8, 1e9, 1e10], "D": [1e9, 1e10, 1e11]}, ["a", "b", "c"], "has 1 in any group"),
        ({"N": []}, None, "got no rows"),
    ],
)
def test_too_few_rungs_say_what_to_add(columns: dict[str, list[float]], groups: list[str] | None, words: str) -> None:
    with pytest.raises(UsageError, match=words) as failure:
        rung_folds(table(columns, groups))
    assert "\n" not in str(failure.value)
    with pytest.raises(UsageError, match=words):
        extrapolation_split(table(columns, groups))


def test_levels_are_rungs_when_few() -> None:
    assert rungs(table({"N": [3e9, 1e6, 1e7, 1e6]}), "N").tolist() == [2, 0, 1, 0]


def test_nearly_equal_values_are_one_rung() -> None:
    # parameter counts of one size with and without a few extra parameters
    data = table({"N": [5.358e8, 5.382e8, 6.938e8, 6.967e8, 1.571e9, 1.578e9, 4.353e9, 4.369e9]})
    assert rungs(data, "N").tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_continuous_variable_gets_ordered_rungs_of_one_width() -> None:
    N = 10 ** np.random.default_rng(0).uniform(6, 10, 500)
    number = rungs(table({"N": N}), "N")
    assert number.min() == 0
    assert 6 <= number.max() + 1 <= 12
    assert np.all(np.diff(number[np.argsort(N)]) >= 0)
    widths = [np.ptp(np.log10(N[number == k])) for k in range(number.max() + 1)]
    assert max(widths) <= 4 / 12 + 1e-9
    assert rungs(table({"N": N}), "N", max_rungs=4).max() + 1 <= 4


def test_compute_budgets_are_found_behind_scattered_sizes() -> None:
    data = isoflop()
    budgets = table({"C": data.X.prod(axis=1) * np.random.default_rng(0).uniform(0.97, 1.03, data.n_rows)})
    assert rungs(budgets, "C").tolist() == np.repeat(np.arange(6), 9).tolist()


def test_rungs_of_unknown_variable_are_refused() -> None:
    with pytest.raises(UsageError, match="no variable 'M'"):
        rungs(table({"N": [1.0, 2.0]}), "M")


def test_split_holds_out_the_top_in_every_group(data: Table) -> None:
    fold = extrapolation_split(data)
    assert 0 < len(fold.test) <= 0.5 * data.n_rows
    assert len(fold.train) + len(fold.test) == data.n_rows
    assert fold.name.startswith("top rungs of")


def test_split_comes_near_the_asked_share() -> None:
    data = table({"N": np.repeat(np.geomspace(1e6, 1e10, 10), 4)})
    assert [len(extrapolation_split(data, fraction=f).test) for f in (0.05, 0.1, 0.3, 0.5)] == [4, 4, 12, 20]
    with pytest.raises(UsageError, match="fraction"):
        extrapolation_split(data, fraction=0.9)


@pytest.mark.skipif(not OPEN_TASKS, reason="the collected tables are not beside this checkout")
@each("folder", OPEN_TASKS)
def test_folds_reach_as_far_as_the_held_out_rows_of_published_tables(folder: Path) -> None:
    task = load_task(folder)
    train, held_out = task.train, task.held_out()
    assert held_out is not None
    folds = rung_folds(train)
    assert 5 <= len(folds) <= 8
    scales = [v for v in train.variables if v.role == "scale"]
    marked = [v for v in scales if v.extrapolate]
    axes = [[v] for v in marked] + ([marked if len(marked) > 1 else scales] if len(scales) > 1 else [])
    group = np.array([train.groups.index(held_out.groups[g]) for g in held_out.group_index])
    misses = []
    for axis in axes:
        z, beyond = (
            np.sum([t.column(v.symbol) * np.log(10) if v.log else np.log(t.column(v.symbol)) for v in axis], axis=0)
            for t in (train, held_out)
        )
        real = _reach(z, train.group_index, beyond, group)
        steps = [_reach(z[f.train], train.group_index[f.train], z[f.test], train.group_index[f.test]) for f in folds]
        misses += [abs(np.log(step / real)) for step in steps if step * real > 0]
    assert not axes or min(misses) < np.log(2.5)


def _reach(z: NDArray[Any], group: NDArray[Any], test: NDArray[Any], test_group: NDArray[Any]) -> float:
    """Return how far the tested rows reach beyond the training range, in the median group that they leave; or 0."""
    reaches = []
    for g in np.unique(test_group):
        low, high = z[group == g].min(), z[group == g].max()
        top = test[test_group == g].max()
        if top > high + 1e-9 and high > low:
            reaches.append((top - high) / (high - low))
    return float(np.median(reaches)) if reaches else 0.0
