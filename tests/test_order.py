"""The order in which a file lists rows and groups changes nothing, in memory and from disk, to the last bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from searches import search

from sld import api
from sld.analysis.intervals import Rival, compute, predict_intervals, with_intervals
from sld.core.errors import SldWarning
from sld.data.splits import rung_folds
from sld.data.table import Array, Table, table_from
from sld.fit.fitting import fit
from sld.laws.law import Law

CASES = Path(__file__).resolve().parents[1].parent / "shared" / "cases"
ROLES: dict[str, Any] = {"target": "loss", "scale": "N", "group": "family"}
LEVELS = {"zeta": 3.0, "alpha": 1.0, "mu": 2.0}


def columns(order: Any = None) -> dict[str, Any]:
    """Three groups of noisy rows with repeats, in the order of their numbers or in another."""
    rng = np.random.default_rng(4)
    N = np.tile(np.repeat(np.geomspace(1e6, 1e9, 8), 2), len(LEVELS))
    family = np.repeat(list(LEVELS), 16)
    loss = np.repeat(list(LEVELS.values()), 16) * (1 + 40 * N**-0.35) * np.exp(0.01 * rng.standard_normal(len(N)))
    order = np.arange(len(N)) if order is None else order
    return {"N": N[order], "loss": loss[order], "family": family[order]}


def shuffles(n: int) -> list[Any]:
    return [np.random.default_rng(seed).permutation(16 * len(LEVELS)) for seed in range(n)]


def table_of(order: Any = None) -> Table:
    return table_from(columns(order), **ROLES)


def points_of(order: Any) -> dict[str, Any]:
    N, family = np.tile([1e5, 3e7, 1e10, 1e12], 3), np.repeat(["mu", "zeta", "alpha"], 4)
    return {"N": N[order], "family": family[order]}


def content(law: dict[str, Any]) -> str:
    """What law.json holds, but for the digest of the rows as they stand in the file."""
    said = {key: value for key, value in law["provenance"].items() if key not in ("rows", "table")}
    return json.dumps({**law, "provenance": said}, sort_keys=True)


def everything(law: Law, points: Any) -> Array:
    return np.column_stack([law.predict(points), *predict_intervals(law, points)])


def with_rivals(table: Table) -> Law:
    """A law with intervals, and with a runner-up that says something else in every group."""
    forms = [table.parse("E + A*N**-alpha"), table.parse("A*N**-alpha")]
    found = [fit(form, table.canonical(), starts=8).constants for form in forms]
    law = Law({"loss": forms[0]}, {"loss": found[0]}, table.variables, table.targets, "family")
    rivals = [Rival({"loss": forms[1]}, {"loss": found[1]})]
    return replace(law, intervals=compute(law, table, rung_folds(table), rivals=rivals))


def test_rows_in_their_own_order_are_the_table_itself() -> None:
    table = table_of().canonical()
    assert table.canonical() is table
    # a group that lost its rows is dropped all the same
    empty = replace(table, groups=(*table.groups, "zz"))
    assert empty.canonical().groups == table.groups


def test_a_canonical_table_has_the_same_rows_in_one_order() -> None:
    wanted = table_of().canonical()
    assert wanted.groups == ("alpha", "mu", "zeta")
    for order in shuffles(5):
        again = table_of(order).canonical()
        assert again.groups == wanted.groups and again.digest() == wanted.digest()
    own = {(n, y, g) for n, y, g in zip(*columns().values(), strict=True)}
    names = np.array(wanted.groups)[wanted.group_index]
    assert {(n, y, g) for n, y, g in zip(wanted.X[:, 0], wanted.Y[:, 0], names, strict=True)} == own


def test_a_canonical_table_takes_along_what_belongs_to_a_row() -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(48)
    table = table_of()
    full = replace(
        table, weights=rng.uniform(1, 2, 48), yerr=rng.uniform(1, 2, (48, 1)), runs=("b", "a"),
        run_index=np.arange(48) % 2, notes=("kept",),
    )  # fmt: skip
    one, other = full.canonical(), replace(full.take(order), notes=("kept",)).canonical()
    assert one.notes == ("kept",) and one.runs == other.runs == ("a", "b")
    for name in ("X", "Y", "weights", "yerr", "run_index", "group_index"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    row = int(np.flatnonzero(one.Y[:, 0] == table.Y[7, 0])[0])
    assert one.weights is not None and full.weights is not None and one.weights[row] == full.weights[7]
    assert one.runs[one.run_index[row]] == full.runs[full.run_index[7]]


@pytest.mark.parametrize("order", shuffles(3), ids=range(3))
def test_intervals_do_not_depend_on_the_order_of_rows_and_groups(order: Any, tmp_path: Path) -> None:
    one, other = with_rivals(table_of()), with_rivals(table_of(order))
    assert json.dumps(one.to_json(), sort_keys=True) == json.dumps(other.to_json(), sort_keys=True)
    other.save(tmp_path / "law.json")
    there = np.arange(12)
    wanted = everything(one, points_of(there))
    for seed in range(3):
        mixed = np.random.default_rng(seed).permutation(12)
        for law in (other, Law.load(tmp_path / "law.json")):
            np.testing.assert_array_equal(everything(law, points_of(mixed)), wanted[mixed])


def test_every_group_has_the_say_of_its_own_runner_up() -> None:
    law = with_rivals(table_of())
    assert law.intervals is not None
    (rival,) = law.intervals["targets"]["loss"]["rivals"]
    assert set(rival["constants"]) == set(LEVELS)
    # the levels differ by far more than the noise: another group's runner-up would widen the interval to the level
    points = {"N": [3e7] * 3, "family": list(LEVELS)}
    lower, upper = predict_intervals(law, points)
    assert ((upper - lower)[:, 0] < 0.3 * np.array(list(LEVELS.values()))).all()


@pytest.mark.parametrize("order", shuffles(2), ids=range(2))
def test_a_fit_does_not_depend_on_the_order_of_the_file(order: Any) -> None:
    one, other = (api.fit(columns(o), "E + A*N**-alpha", starts=8, **ROLES) for o in (None, order))
    assert content(one.to_json()) == content(other.to_json())
    assert one.groups == other.groups == tuple(sorted(LEVELS))


def test_a_discovery_does_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    (order,) = shuffles(1)
    found = [
        search(table_of(o), "300fits", out=tmp_path / f"{k}", complete=with_intervals)
        for k, o in enumerate((None, order))
    ]
    texts = [(tmp_path / name / "law.json").read_text(encoding="utf-8") for name in "01"]
    assert content(json.loads(texts[0])) == content(json.loads(texts[1]))
    points = points_of(np.arange(12))
    wanted = everything(found[0].law, points)
    assert np.isfinite(wanted).all()
    for law in (found[1].law, Law.load(tmp_path / "0"), Law.load(tmp_path / "1")):
        np.testing.assert_array_equal(everything(law, points), wanted)


@pytest.mark.skipif(not CASES.exists(), reason="the tables of ../shared/cases are not here")
def test_the_case_of_groups_in_two_orders(tmp_path: Path) -> None:
    points = CASES / "groups_points.csv"
    found = {}
    for first in ("alpha", "zeta"):
        law = api.discover(CASES / f"groups_{first}_first.csv", budget="300fits", workers=1, **ROLES).law
        law.save(tmp_path / f"{first}.json")
        for name, one in ((f"{first} in memory", law), (f"{first} from disk", Law.load(tmp_path / f"{first}.json"))):
            found[name] = everything(one, points)
    wanted = found["alpha in memory"]
    for values in found.values():
        np.testing.assert_array_equal(values, wanted)
    zeta, lower, upper = wanted[0]
    assert lower < zeta < upper < 1.3 * lower


def as_before_060(law: Law) -> dict[str, Any]:
    """What 0.5.0 wrote: constants of runners-up by position of the group in the table, and no settings."""
    data: dict[str, Any] = json.loads(json.dumps(law.to_json()))
    del data["settings"]
    for about in data["intervals"]["targets"].values():
        del about["range"]
        for rival in about["rivals"]:
            by_group = rival["constants"]
            first = next(iter(by_group.values()))
            rival["constants"] = {c: " ".join(f"{of[c]:.12g}" for of in by_group.values()) for c in first}
    return data


def test_an_old_law_of_one_group_keeps_its_intervals() -> None:
    N = np.geomspace(1e6, 1e9, 10)
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(10))
    table = table_from({"N": N, "loss": (2 + 40 * N**-0.35) * noise}, target="loss", scale="N")
    forms = [table.parse("E + A*N**-alpha"), table.parse("A*N**-alpha")]
    found = [fit(form, table, starts=8).constants for form in forms]
    law = Law({"loss": forms[0]}, {"loss": found[0]}, table.variables, table.targets)
    rivals = [Rival({"loss": forms[1]}, {"loss": found[1]})]
    law = replace(law, intervals=compute(law, table, rung_folds(table), rivals=rivals))
    old = Law.from_json(as_before_060(law))
    assert old.notes == ()
    np.testing.assert_array_equal(everything(old, {"N": [1e10]}), everything(law, {"N": [1e10]}))


def test_an_old_law_whose_groups_cannot_be_told_apart_has_no_intervals_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "law.json"
    path.write_text(json.dumps(as_before_060(with_rivals(table_of()))), encoding="utf-8")
    points = points_of(np.arange(12))
    with pytest.warns(SldWarning, match="discover again"):
        assert set(api.predict(path, points)) == {"loss"}
    (note,) = Law.load(path).notes
    assert "discover again" in note and "\n" not in note
    assert api.caution(path, points) == note
    assert Law.load(path).to_json()["intervals"] is None


def test_an_old_law_of_several_groups_without_runners_up_keeps_its_intervals() -> None:
    data = as_before_060(with_rivals(table_of()))
    data["intervals"]["targets"]["loss"]["rivals"] = []
    old = Law.from_json(data)
    assert old.notes == () and np.isfinite(everything(old, points_of(np.arange(12)))).all()
