"""An envelope follows the best runs; where residuals lie on one side, a hint says that there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sld import api
from sld.core.errors import UsageError
from sld.data.table import Table, table_from
from sld.fit.fitting import envelope_weights, fit
from sld.laws.law import Law

TRUTH = {"E": 1.7, "A": 400.0, "a": 0.34, "B": 410.0, "b": 0.28}
FORMULA = "E + A*N**-a + B*D**-b"


def law_at(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    return np.asarray(TRUTH["E"] + TRUTH["A"] * n ** -TRUTH["a"] + TRUTH["B"] * d ** -TRUTH["b"])


def runs(kind: str, size: float = 0.03, seed: int = 0, higher: bool = False) -> Table:
    """Three runs at each of twenty points, worse than the law by a random share of it (or off it both ways)."""
    rng = np.random.default_rng(seed)
    n = np.repeat(np.geomspace(2e7, 4e8, 5), 12)
    d = n * np.tile(np.repeat([20, 40, 80, 160], 3), 5)
    draws = {"both": rng.normal(size=60), "worse": rng.exponential(size=60)}
    loss = law_at(n, d) * np.exp(size * draws[kind])
    y = 10.0 - loss if higher else loss
    return table_from({"N": n, "D": d, "y": y}, target="y", scale=["N", "D"], higher_is_better=higher)


def notes(law: Law) -> list[str]:
    return [text for text in law.provenance.get("notes", ()) if "one-sided" in text]


@pytest.mark.parametrize("seed", range(3))
def test_an_envelope_is_nearer_to_the_law_of_well_tuned_runs_than_squares(seed: int) -> None:
    table = runs("worse", seed=seed)
    truth = law_at(table.X[:, 0], table.X[:, 1])
    expression = table.parse(FORMULA)
    squared = fit(expression, table, starts=8)
    envelope = fit(expression, table, loss="envelope", starts=8)
    assert envelope.ok
    assert abs(np.mean(envelope.prediction / truth - 1)) < 0.35 * abs(np.mean(squared.prediction / truth - 1))
    assert (table.Y[:, 0] > envelope.prediction).mean() > 0.7 > (table.Y[:, 0] > squared.prediction).mean()


def test_where_higher_is_better_the_envelope_is_the_upper_edge() -> None:
    table = runs("worse", higher=True)
    found = fit(table.parse("E - A*N**-a - B*D**-b"), table, loss="envelope", starts=8)
    assert (table.Y[:, 0] < found.prediction).mean() > 0.7


def test_of_rows_without_errors_the_envelope_is_the_law() -> None:
    table = runs("both", size=0.0)
    found = fit(table.parse(FORMULA), table, loss="envelope", starts=8)
    np.testing.assert_allclose(found.prediction, table.Y[:, 0], rtol=1e-7)


def test_the_optimum_is_stationary_with_the_weights_at_the_optimum() -> None:
    """Of a constant, the envelope is the expectile: the weighted residuals sum to zero."""
    table = runs("worse")
    found = fit(table.parse("E"), table, loss="envelope", delta=0.1, starts=1)
    excess = table.Y[:, 0] - found.prediction
    assert abs(float(np.sum(envelope_weights(excess, 0.1) * excess))) < 1e-9 * float(np.abs(excess).sum())


def test_groups_have_envelopes_of_their_own() -> None:
    one, other = runs("worse", seed=1), runs("worse", seed=2)
    data = {
        "N": [*one.X[:, 0], *other.X[:, 0]], "D": [*one.X[:, 1], *other.X[:, 1]],
        "y": [*one.Y[:, 0], *(other.Y[:, 0] + 1.0)], "g": ["a"] * 60 + ["b"] * 60,
    }  # fmt: skip
    both = table_from(data, target="y", scale=["N", "D"], group="g")
    together = fit(both.parse(FORMULA), both, loss="envelope", starts=8)
    alone = fit(one.parse(FORMULA), one, loss="envelope", starts=8)
    np.testing.assert_allclose(together.prediction[:60], alone.prediction, rtol=1e-4)


def test_an_unknown_loss_is_refused_with_a_suggestion() -> None:
    table = runs("worse")
    with pytest.raises(UsageError, match="did you mean 'envelope'"):
        fit(table.parse(FORMULA), table, loss="envelop")  # type: ignore[arg-type]


def test_the_law_records_its_loss_and_its_intervals_are_refits_of_it(tmp_path: Path) -> None:
    law = api.fit(runs("worse"), FORMULA, loss="envelope", starts=8, out=tmp_path / "law.json")
    assert law.loss("y") == "envelope"
    assert Law.load(tmp_path / "law.json").loss("y") == "envelope"
    from sld.analysis.intervals import constant_intervals

    ends = constant_intervals(law)["y"]["all"]
    for name, value in law.constants["y"]["all"].items():
        low, high = ends[name]  # type: ignore[misc]
        assert low <= value <= high
        assert low < high
    refits = law.intervals["targets"]["y"]["constants"]["all"]  # type: ignore[index]
    columns = {c: np.array(text.split(), dtype=float) for c, text in refits.items()}
    n, d = 1e8, 4e9
    there = columns["E"] + columns["A"] * n ** -columns["a"] + columns["B"] * d ** -columns["b"]
    point = {"N": [n], "D": [d]}
    middle = float(api.fit(runs("worse"), FORMULA, starts=8).predict(point)[0, 0])
    edge = float(law.predict(point)[0, 0])
    assert abs(np.nanmedian(there) - edge) < 0.25 * (middle - edge)
    assert notes(law) == []


@pytest.mark.parametrize("higher", [False, True])
def test_runs_on_one_side_give_a_hint(higher: bool) -> None:
    formula = "E - A*N**-a - B*D**-b" if higher else FORMULA
    (note,) = notes(api.fit(runs("worse", higher=higher), formula, starts=8))
    assert note.startswith("the residuals of y are one-sided (")
    assert f"rows lie {'above' if higher else 'below'} the law" in note
    assert "--loss envelope" in note


@pytest.mark.slow
def test_runs_on_both_sides_and_single_outliers_give_none() -> None:
    hints = 0
    for seed in range(8):
        hints += bool(notes(api.fit(runs("both", seed=seed), FORMULA, starts=4)))
    assert hints <= 1
    table = runs("both", size=0.01, seed=3)
    y = table.Y[:, 0].copy()
    y[7] *= 1.5
    assert notes(api.fit(table.with_targets(y), FORMULA, starts=4)) == []


@pytest.mark.slow
def test_a_search_gives_the_hint_too() -> None:
    found = api.discover(runs("worse", size=0.05), budget="400fits", workers=1, proposers=["catalogue"])
    assert any("one-sided" in text for text in found.notes)
