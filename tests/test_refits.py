"""Refits that are solved together are those that are solved one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fits import CHINCHILLA, TRUTH
from many_cases import each

from sld.analysis.refits import Refits
from sld.data.table import Table, table_from
from sld.fit.fitter import Fitter
from sld.laws.fit_settings import FitSettings

GROUPS = ("x", "y", "z")


def rows(groups: int, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    parts = []
    for g in range(groups):
        y = TRUTH["E"] + 0.1 * g + TRUTH["A"] * N ** -TRUTH["a"] + TRUTH["B"] * D ** -TRUTH["b"]
        parts.append(y * (1 + 0.005 * rng.standard_normal(len(N))))
    data = {"N": np.tile(N, groups), "D": np.tile(D, groups), "loss": np.concatenate(parts)}
    if groups == 1:
        return table_from(data, target="loss", scale=["N", "D"])
    return table_from(
        {**data, "group": np.repeat(GROUPS[:groups], len(N)).tolist()}, target="loss", scale=["N", "D"], group="group"
    )


@each("groups", [1, 3])
@each(
    "settings",
    [
        FitSettings(),
        FitSettings(loss="log"),
        FitSettings(loss="huber"),
        FitSettings(loss="log_huber", delta=2e-3),
        FitSettings(loss="envelope"),
        FitSettings(bounds={"a": (0.0, 0.33), "E": (1.7, 3.0)}, positive=("A", "B")),
        FitSettings(pinned={"E": 1.69}, tied={"b": "a"}),
    ],
)
def test_refits_together_are_those_one_by_one(settings: FitSettings, groups: int) -> None:
    table = rows(groups)
    expression = table.parse(CHINCHILLA)
    found = settings.fit(expression, table, starts=8).constants
    train = np.flatnonzero(table.column("N") < 5e9)
    fits = Refits(expression, table, 0, found, settings, seed=3)
    together = fits.replicates(train, fits.values, 12)

    fits = Refits(expression, table, 0, found, settings, seed=3)
    draws = fits.rng.standard_exponential((12, int(fits.clusters.max()) + 1))[:, fits.clusters]
    kept = np.isin(np.arange(table.n_rows), train)
    for own, row in zip(draws, together, strict=True):
        total = np.bincount(table.group_index[kept], weights=own[kept])
        weights = own * (np.bincount(table.group_index[kept]) / total)[table.group_index]
        alone = fits.solved(fits.values[:1, : len(fits.fitter.tape.constants)], fits.values, weights, train, 30)
        # both end where a step gains less than 1e-9, so predictions agree better than constants that trade off
        one, other = (fits.fitter.predict(values) for values in (alone.values, row))
        np.testing.assert_allclose(one, other, rtol=2e-5)


def test_a_form_without_nonlinear_constants_is_refitted() -> None:
    table = rows(1)
    settings = FitSettings()
    expression = table.parse("E + A*N**-0.34 + B*D**-0.28")
    fits = Refits(expression, table, 0, settings.fit(expression, table).constants, settings, seed=0)
    found = fits.replicates(np.arange(table.n_rows), fits.values, 12)
    assert np.isfinite(found).all() and (found.std(axis=0) > 0).all()


def test_copies_of_rows_are_groups_of_their_own() -> None:
    table = rows(2)
    fitter = Fitter(table.parse(CHINCHILLA), table)
    starts = fitter.starts(6, np.random.default_rng(0))
    some = np.flatnonzero(table.column("D") < 5e11)
    once, many = fitter.solve(starts, some), fitter.copies(3, some).solve(starts)
    assert many.values.shape == (6, 5)
    for k in range(3):
        np.testing.assert_array_equal(many.values[2 * k : 2 * k + 2], once.values)
        np.testing.assert_array_equal(many.sums[2 * k : 2 * k + 2], once.sums)


def test_copies_keep_bounds_of_linear_constants() -> None:
    table = rows(1)
    fitter = Fitter(table.parse(CHINCHILLA), table, bounds={"E": (2.0, 3.0)})
    starts = fitter.starts(6, np.random.default_rng(0))
    some = np.flatnonzero(table.column("D") < 5e11)
    once, many = fitter.solve(starts, some), fitter.copies(2, some).solve(starts)
    assert once.values[0, fitter.names.index("E")] == pytest.approx(2.0)
    np.testing.assert_allclose(many.values, np.repeat(once.values, 2, axis=0), rtol=1e-9)


def test_many_sets_of_constants_are_predicted_at_once() -> None:
    table = rows(3)
    order = np.random.default_rng(0).permutation(table.n_rows)  # so that the rows are not in the order of the groups
    table = replace(table.take(order), notes=())
    fitter = Fitter(table.parse(CHINCHILLA), table)
    one = fitter.solve(fitter.starts(6, np.random.default_rng(0))).values
    sets = np.stack([one, 1.01 * one, np.where(np.arange(3)[:, None] == 1, np.nan, one)])
    found = fitter.predict(sets)
    for k, values in enumerate(sets):
        np.testing.assert_array_equal(found[k], fitter.predict(values))
    assert np.isnan(found[2]).sum() == (table.group_index == 1).sum()
