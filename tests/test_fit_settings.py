"""The record of how a law was fitted: it survives law.json, refits with it repeat the fit, old laws are read."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from many_cases import each

from sld.core.errors import DataError
from sld.data.splits import frontier_weights
from sld.data.table import Table, table_from
from sld.fit.fitting import Prior, fit
from sld.laws.fit_settings import FitSettings, settings_of
from sld.laws.law import Law

PRIOR = Prior(("alpha",), (0.1 + 0.2,), ((1 / 3,),))
ALL = FitSettings(
    loss="huber", delta=0.1, weights=("frontier", "column"), pooling="none", shared=("alpha",), positive=("A",),
    bounds={"E": (0.0, math.inf), "alpha": (0.1, 0.9)}, pinned={"E": 1.69}, tied={"B": "A"},
    prior=PRIOR, points=300, set_aside=2, learned="1",
)  # fmt: skip


def rows(seed: int = 0) -> Table:
    N = np.geomspace(1e6, 1e9, 12)
    noise = np.random.default_rng(seed).standard_normal(12)
    return table_from({"N": N, "loss": 1.7 + 40 * N**-0.3 + 0.01 * noise}, target="loss", scale="N")


def a_law(table: Table, **keys: Any) -> Law:
    expression = table.parse("E + A*N**-alpha")
    constants = {"loss": {"all": {"E": 1.7, "A": 40.0, "alpha": 0.3}}}
    return Law({"loss": expression}, constants, table.variables, table.targets, **keys)


@pytest.mark.parametrize("settings", [FitSettings(), ALL], ids=["as they come", "everything said"])
def test_settings_survive_law_json(settings: FitSettings) -> None:
    law = a_law(rows(), settings={"loss": settings})
    again = Law.from_json(json.loads(json.dumps(law.to_json())))
    assert again.settings == {"loss": settings}


def test_every_field_is_written() -> None:
    assert set(ALL.to_json()) == set(FitSettings.__dataclass_fields__)


def test_a_law_without_settings_has_those_that_its_provenance_told_before() -> None:
    said = {
        "fold_errors": [0.1],
        "loss": {"b": "huber"},
        "shared": {"a": ["alpha"]},
        "positive": {"a": ["A"]},
        "bounds": {"a": {"E": [0.0, None]}},
        "priors": {"b": PRIOR.to_json()},
    }
    found = settings_of(said, ["a", "b"])
    assert found["a"] == FitSettings(
        weights=("frontier",), shared=("alpha",), positive=("A",), bounds={"E": (0.0, math.inf)}
    )
    assert found["b"] == FitSettings(loss="huber", pooling="partial", prior=PRIOR)
    assert a_law(rows(), provenance={"loss": "log"}).settings == {"loss": FitSettings(loss="log")}
    assert a_law(rows()).settings == {"loss": FitSettings()}
    assert replace(a_law(rows()), provenance={"loss": "log"}).loss("loss") == "squared"  # what it was fitted with


@each(
    ("broken", "message"),
    [
        ({"loss": "cubed"}, "loss"),
        ({"weights": ["by hand"]}, "by hand"),
        ({"weights": "frontier"}, "list"),
        ({"bounds": {"E": [1]}}, "lower and an upper"),
        ({"bounds": {"E": ["a", 2]}}, "number"),
        ({"prior": {"mean": []}}, "prior"),
        ({"points": -1}, "points"),
        ({"colour": 1}, "colour"),
        ([], "table"),
    ],
)
def test_settings_that_cannot_be_read_are_refused_in_one_line(broken: Any, message: str) -> None:
    data = json.loads(json.dumps(a_law(rows()).to_json()))
    data["settings"] = {"loss": broken}
    with pytest.raises(DataError, match=message) as refused:
        Law.from_json(data)
    assert "\n" not in str(refused.value)


@each("said", [{"shared": {"loss": 3}}, {"bounds": {"loss": 3}}, {"loss": 3}, {"priors": {"loss": 1}}])
def test_provenance_that_cannot_be_read_is_refused_in_one_line(said: Any) -> None:
    with pytest.raises(DataError):
        a_law(rows(), provenance=said)


def test_a_refit_repeats_the_fit() -> None:
    table = rows()
    expression = table.parse("E + A*N**-alpha")
    weights = frontier_weights(table)
    assert weights is not None
    once = fit(expression, table, weights=weights, bounds={"E": (1.75, 2.0)}, starts=8)
    settings = FitSettings(weights=("frontier",), bounds={"E": (1.75, 2.0)})
    assert settings.fit(expression, table, starts=8).constants["all"] == pytest.approx(once.constants["all"], rel=1e-6)
    assert settings.at_bounds(once.constants) == ("E",)
    fitter = settings.fitter(expression, table)
    begin = np.array([[once.constants["all"][c] for c in fitter.tape.constants]])
    found = fitter.solve(begin).values[0]
    assert dict(zip(fitter.names, found, strict=True)) == pytest.approx(once.constants["all"], rel=1e-4)


def test_pinned_constants_stay_where_they_are() -> None:
    table = rows()
    expression = table.parse("E + A*N**-alpha")
    found = FitSettings(pinned={"E": 1.5}).fit(expression, table, starts=8)
    assert found.ok and found.constants["all"]["E"] == 1.5
    alone = fit(table.parse("1.5 + A*N**-alpha"), table, starts=8).constants["all"]
    assert found.constants["all"] == pytest.approx({**alone, "E": 1.5}, rel=1e-6)


def test_a_fit_does_not_depend_on_names() -> None:
    found = []
    for column, constants in (("N", "E A alpha"), ("zebra", "E A alpha"), ("N", "c0 c1 c2")):
        table = rows()
        renamed = replace(table.variables[0], column=column, symbol=column)
        table = replace(table, variables=(renamed,))
        one, two, three = constants.split()
        result = FitSettings().fit(table.parse(f"{one} + {two}*{column}**-{three}"), table, starts=8)
        found.append([*result.constants["all"].values()])
    assert found[0] == found[1] == found[2]


def test_declared_weights_and_those_of_the_frontier_multiply() -> None:
    table = replace(rows(), weights=np.linspace(1.0, 3.0, 12))
    near = frontier_weights(table)
    assert near is not None and table.weights is not None
    both = FitSettings(weights=("frontier", "column")).row_weights(table)
    assert both is not None
    np.testing.assert_allclose(both / both[0], near * table.weights / (near * table.weights)[0])
    assert both.mean() == pytest.approx(1.0)
    assert FitSettings().row_weights(table) is None
