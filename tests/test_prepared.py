"""What is remembered of a table: right for every formula, and forgotten with the table."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from sld.data.table import Table, table_from
from sld.fit.fitter import Fitter
from sld.fit.prepared import median, prepared
from sld.formula.evaluation import walk
from sld.formula.expression import parse


def grouped() -> Table:
    rng = np.random.default_rng(0)
    x, g = np.exp(rng.uniform(0, 5, 60)), rng.integers(0, 3, 60)
    data = {"N": x, "D": x[::-1], "y": g - 1.2 + x**-0.5, "g": [f"g{k}" for k in g]}
    return table_from(data, target="y", scale=["N", "D"], group="g")


def test_rows_stand_group_by_group() -> None:
    table = grouped()
    rows = prepared(table)
    assert (np.diff(rows.group_of) >= 0).all()
    assert np.array_equal(rows.offsets, np.searchsorted(rows.group_of, range(4)))
    assert np.array_equal(rows.values["N"], table.X[rows.order, 0])
    y, scale = rows.target(0, log=False)
    assert np.array_equal(y, table.Y[rows.order, 0])
    assert scale == np.sort(np.abs(y))[30]


def test_columns_are_those_of_the_nodes_asked_for_in_their_order() -> None:
    table = grouped()
    rows = prepared(table)
    nodes = [parse(text, ("N", "D")).tree for text in ("log(N)", "log(D)", "1", "N", "log(N)*log(D)")]
    for some in (nodes[:2], nodes[1::-1], nodes, nodes[2:], nodes[:2]):
        found = rows.columns(tuple(some))
        for values, node in zip(found, some, strict=True):
            assert np.array_equal(values, np.broadcast_to(walk(node, rows.values, {}), 60))


def test_a_second_formula_finds_what_it_would_find_alone() -> None:
    shared, texts = grouped(), ("E + A*N**-a", "E + A*(N + K)**-a", "E + A*N**-a + B*D**-b", "E + k*(log(N) - c)**2")
    for text in texts:
        for table in (shared, grouped()):
            fitter = Fitter(table.parse(text), table)
            starts = fitter.starts(6, np.random.default_rng(1))
            if table is shared:
                first, best = starts, fitter.solve(starts).sums
        assert np.array_equal(starts, first)
        assert np.array_equal(fitter.solve(starts).sums, best)


@pytest.mark.slow
def test_nothing_of_a_table_is_kept_once_it_is_gone() -> None:
    table = grouped()
    assert prepared(table) is prepared(table)
    assert prepared(table) is not prepared(grouped())
    alive = weakref.ref(table), weakref.ref(prepared(table))
    del table
    gc.collect()
    assert [ref() for ref in alive] == [None, None]


def test_the_median_of_an_even_number_of_values_is_the_upper_one() -> None:
    assert median(np.array([4.0, 1.0, 3.0, 2.0])) == 3.0
    assert median(np.array([5.0])) == pytest.approx(5.0)
