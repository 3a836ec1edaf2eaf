"""Comparisons of laws: differences, crossings, multipliers and switch points, against closed forms and simulations."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run, runner

import sld
from sld.analysis.decisions.crossings import zeros
from sld.analysis.decisions.findings import Pair
from sld.core.arrays import Array
from sld.laws.law import Law

BASE = "1.69 + 406.4*N**-0.34 + 410.7*D**-0.28"  # Hoffmann et al. 2022, equation 10
COLUMNS: dict[str, Any] = {"target": "loss", "scale": "C"}
C = np.geomspace(1e17, 1e20, 10)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return runner(capsys, monkeypatch, tmp_path)


def truth(E: float, A: float, a: float, x: Array) -> Array:
    return np.asarray(E + A * x**-a)


FIRST, SECOND = (1.7, 42.0, 0.08), (1.7, 240.0, 0.12)
CROSS = (240.0 / 42.0) ** (1 / 0.04)  # 8.2e18: where 42 C^-0.08 = 240 C^-0.12


def fitted(of: tuple[float, float, float], seed: int, noise: float = 4e-3) -> Law:
    x = np.repeat(C, 2)
    y = truth(*of, x) * (1 + noise * np.random.default_rng(seed).standard_normal(len(x)))
    return sld.fit({"C": x, "loss": y}, "E + A*C**-a", starts=8, seed=seed, **COLUMNS)


def holds(pair: Pair) -> bool:
    """Whether the interval of the crossing holds the true one."""
    return any(
        c.at.low is not None and c.at.high is not None and c.at.low <= CROSS <= c.at.high for c in pair.crossings
    )


def test_data_worth_more_are_a_multiplier_of_compute() -> None:
    """Tokens worth 2.08 times as much by the optimiser (arXiv 2602.07712): at one compute N x 1.392, D x 0.718."""
    found = sld.compare({"Muon": "1.69 + 406.4*N**-0.34 + 410.7*(2.08*D)**-0.28", "base": BASE}, between=(1e20, 1e24))
    pair = found.only
    for place in pair.places:
        assert place.multiplier.value == pytest.approx(2.08, rel=5e-3)
        assert place.data.value == pytest.approx(2.08, rel=5e-3)
    assert pair.slope.value == pytest.approx(0.0, abs=1e-3) and not pair.crossings
    N, D = ([t.columns[s][50] for t in found.tracks] for s in "ND")
    assert N[0] / N[1] == pytest.approx(1.392, rel=5e-3) and D[0] / D[1] == pytest.approx(0.718, rel=5e-3)
    assert "never cross" in found.summary() and "Muon is better everywhere" in found.summary()


def test_a_crossing_of_two_powers_is_where_they_are_equal() -> None:
    pair = sld.compare("1.7 + 42*C**-0.08", "1.7 + 240*C**-0.12", between=(1e17, 1e21)).only
    (crossing,) = pair.crossings
    assert crossing.at.value == pytest.approx(CROSS, rel=2e-3)
    assert (crossing.before, crossing.after) == ("A", "B")
    # B(mC) = A(C): 240 (mC)^-0.12 = 42 C^-0.08
    for place in pair.places:
        exact = (240 / 42 * place.x**-0.04) ** (1 / 0.12)
        assert place.multiplier.value == pytest.approx(exact, rel=2e-3)
    assert pair.slope.value == pytest.approx(-0.04 / 0.12, rel=1e-2)


def test_a_law_above_the_other_s_irreducible_loss_is_never_equalled() -> None:
    pair = sld.compare("1.5 + 42*C**-0.08", "2.0 + 42*C**-0.08", between=(1e20, 1e24)).only
    assert pair.places[-1].multiplier.value == math.inf
    back = sld.compare("2.0 + 42*C**-0.08", "1.5 + 42*C**-0.08", between=(1e20, 1e24)).only
    assert back.offset.value < 0.01


def test_switch_points_of_several_laws_are_where_neighbours_cross() -> None:
    laws = {"flat": "2.3 + 30*C**-0.1", "middle": "1.9 + 90*C**-0.12", "steep": "1.5 + 900*C**-0.15"}
    found = sld.compare(laws, between=(1e16, 1e26))
    x = np.geomspace(1e16, 1e26, 400_001)
    values = np.array([2.3 + 30 * x**-0.1, 1.9 + 90 * x**-0.12, 1.5 + 900 * x**-0.15])
    winner = np.argmin(values, axis=0)
    at = np.flatnonzero(np.diff(winner))
    assert [s.at.value for s in found.switches] == pytest.approx(x[at].tolist(), rel=0.02)
    names = list(laws)
    assert [s.after for s in found.switches] == [names[k] for k in winner[at + 1]] and found.best == names[winner[0]]
    assert len(found.pairs) == 3 and "best of all" in found.summary()


def test_differences_that_are_rounding_or_noise_are_no_crossings() -> None:
    """One law in three ways of writing, and two fits of one truth: no crossing, and no law is said to be better."""
    same = ["1.7 + 300*C**-0.12", "1.7 + exp(log(300) - 0.12*log(C))", "1.7 + 300/C**0.12"]
    found = sld.compare(*same)
    assert not found.switches and not any(p.crossings or p.apart for p in found.pairs)
    assert found.summary().count("no difference told apart") == 3
    two = sld.compare(BASE, "1.69 + 406.4/N**0.34 + 410.7/D**0.28")  # the optimum is found anew for each
    assert "no difference told apart" in two.summary() and "better" not in two.summary().split("\n", 4)[-1]
    assert two.to_json()["pairs"][0]["told_apart"] is False
    assert {p.difference.value for p in two.only.places} == {0.0}
    # 1e-5 of the loss: far above rounding, far below what rows with a noise of 4e-3 can tell
    law = fitted(FIRST, 0)
    constants = {"loss": {g: {**c, "E": c["E"] * (1 + 1e-7)} for g, c in law.constants["loss"].items()}}
    noisy = sld.compare({"law": law, "shifted": replace(law, constants=constants)}).only
    assert not noisy.crossings and not noisy.apart
    # without intervals the same shift is a difference, the same everywhere
    exact = sld.compare("1.7 + 300*C**-0.12", "1.7000001 + 300*C**-0.12").only
    assert exact.apart and not exact.crossings


def test_a_law_that_is_better_for_a_stretch_only_by_rounding_stays_the_best_where_it_was() -> None:
    x = np.geomspace(1.0, 1e6, 25)
    gap = np.log10(x) - 3.1
    touched = np.where(np.arange(25) == 4, 1e-15, gap)
    assert zeros(x, touched, 1e-9) == zeros(x, gap)
    assert len(zeros(x, touched)) == 3


def test_simulated_crossings_multipliers_and_probabilities_are_recovered() -> None:
    inside, off = 0, []
    for seed in range(3):
        found = sld.compare({"one": fitted(FIRST, seed), "two": fitted(SECOND, 100 + seed)}, level=0.95)
        inside += holds(found.only)
        place = min(found.only.places, key=lambda p: abs(math.log(p.x / 1e20)))
        exact = ((240 / 42) * place.x**-0.04) ** (1 / 0.12)
        off.append(place.multiplier.value / exact - 1)
        first, last = found.only.places[0], found.only.places[-1]
        assert first.better > 0.9 and last.better < 0.1  # each wins where it should
        assert found.only.looked_at[0] < 1e15
    assert inside >= 2
    assert abs(float(np.mean(off))) < 0.05


def test_a_crossing_outside_the_rows_is_warned_of() -> None:
    far = sld.compare({"one": fitted(FIRST, 0), "two": fitted((1.7, 300.0, 0.12), 1)}, between=(1e17, 1e26))
    assert any(not c.supported for c in far.only.crossings)
    assert any("lies outside the rows of both" in w for w in far.warnings)


def recipes(exponents: tuple[float, float], seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x = np.tile(np.geomspace(1e17, 1e21, 14), 2)
    rows: dict[str, Any] = {"C": [*x, *x], "loss": [], "recipe": ["old"] * 28 + ["new"] * 28}
    for factor, a in zip((1.0, 0.8), exponents, strict=True):
        y = truth(1.7, 100 * factor * 1e18 ** (a - 0.1), a, x)
        rows["loss"] += (y * (1 + 2e-3 * rng.standard_normal(len(x)))).tolist()
    return rows


TABLE: dict[str, Any] = {**COLUMNS, "by": "recipe", "law": "E + A*C**-a"}


def test_one_exponent_serves_where_it_is_one_and_not_where_there_are_two() -> None:
    same = sld.compare(recipes((0.1, 0.1)), **TABLE)
    assert same.exponents is not None and same.exponents.serves and "one a serves all" in same.summary()
    # new is better: 0.8 of the reducible loss is worth 0.8^(-1/0.1) = 9.3 times the compute
    ahead = same.only
    assert ahead.one == "new"  # groups are in alphabetical order
    assert ahead.better == pytest.approx(1.0) and ahead.offset.value == pytest.approx(9.3, rel=0.2)
    two = sld.compare(recipes((0.07, 0.16)), **TABLE)
    assert two.exponents is not None and not two.exponents.serves and two.exponents.separate < two.exponents.shared


def test_equal_settings_compare_at_one_split() -> None:
    other = "1.69 + 300*N**-0.34 + 410.7*D**-0.28"
    pair = sld.compare(BASE, other, given={"D/N": 20}, between=(1e20, 1e22)).only
    place = pair.places[0]
    N = (place.x / 120) ** 0.5
    assert place.one.value == pytest.approx(1.69 + 406.4 * N**-0.34 + 410.7 * (20 * N) ** -0.28, rel=1e-9)
    assert place.difference.value == pytest.approx(106.4 * N**-0.34, rel=1e-6)
    held = sld.compare(BASE, other, setting="D=1e11", between=(1e20, 1e22)).only.places[0]
    assert held.difference.value == pytest.approx(106.4 * (held.x / 6e11) ** -0.34, rel=1e-6)


def test_what_one_law_has_not_is_held_in_the_other_alone() -> None:
    tuned = "1.69 + 406.4*N**-0.34 + 410.7*D**-0.28 + 0.1*(log(lr/0.003))**2"
    pair = sld.compare(BASE, tuned, given={"lr": 0.003}, between=(1e20, 1e22)).only
    assert [p.difference.value for p in pair.places] == pytest.approx([0.0] * len(pair.places), abs=1e-9)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_answer_and_groups_of_a_law_are_its_recipes() -> None:
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    y = 1.7 + 400 * N**-0.34 + 410 * D**-0.28
    y = np.concatenate([y, 0.9 * y]) * (1 + 2e-3 * np.random.default_rng(0).standard_normal(50))
    rows = {"N": np.tile(N, 2), "D": np.tile(D, 2), "loss": y, "recipe": ["old"] * 25 + ["new"] * 25}
    law = sld.fit(rows, "E + A*N**-a + B*D**-b", target="loss", scale=["N", "D"], group="recipe", starts=8)
    one, two = (sld.compare(law, between=(1e19, 1e20)) for _ in range(2))
    assert one.to_json() == two.to_json() and set(one.names) == {"old", "new"}
    assert one.to_frame().shape[0] == len(one.only.places)


REFUSED: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((BASE,), {}, "two laws or more"),
    ((BASE, "A*N**-0.3"), {}, "."),
    ((BASE, "2 + 40*N**-0.3"), {}, "compare laws over the same variables"),
    (("2 + 40*N**-0.3*lr**0.1*D**-0.2", BASE), {}, "hold the others with --given"),
    ((BASE, BASE), {"given": {"lrate": 1.0}}, "no variable of these laws 'lrate'"),
    ((BASE, BASE), {"setting": "D:20"}, "wanted a rule such as"),
    ((BASE, BASE), {"given": {"D/N": 20}, "setting": "D=20*N"}, "one rule shares out the compute"),
    ((BASE, BASE), {"given": {"D/N": 0}}, "the ratio D/N must be a number above 0"),
    ((BASE, BASE), {"between": (1e22, 1e20)}, "from a number above 0 to a larger one"),
    ((BASE, "1.7 + 40*N**-0.1*D**-0.1"), {}, "no best split"),
    ((BASE, BASE), {"law": "chinchilla"}, "tells recipes apart"),
]


@pytest.mark.parametrize(("laws", "how", "words"), REFUSED)
def test_what_cannot_be_compared_is_one_clear_line(laws: Any, how: dict[str, Any], words: str) -> None:
    with pytest.raises(sld.UsageError, match=words) as caught:
        sld.compare(*laws, **how)
    assert "\n" not in str(caught.value)


def test_targets_and_units_that_differ_are_refused() -> None:
    one = fitted(FIRST, 0)
    accuracy = sld.fit(
        {"C": C, "acc": 0.1 + 0.02 * np.log10(C)}, "a + b*log(C)", target="acc", scale="C", higher_is_better=True
    )
    with pytest.raises(sld.UsageError, match="predicts 'loss', B predicts 'acc'"):
        sld.compare(one, accuracy)
    with pytest.raises(sld.UsageError, match="lower is better"):
        sld.compare(one, accuracy, target=["loss", "acc"])
    x = C / 1e18
    billions = sld.fit({"C": x, "loss": truth(1.7, 1.0, 0.1, x)}, "E + A*C**-a", starts=8, **COLUMNS)
    with pytest.raises(sld.UsageError, match="millions or billions"):
        sld.compare(one, billions)


@pytest.mark.slow
def test_units_that_differ_are_refused_before_the_cost_of_one_which_would_be_charged_to_both() -> None:
    N, D = (a.ravel() for a in np.meshgrid([1e6, 4e6, 1.6e7], [1e8, 4e8, 1.6e9]))
    rows = {"N": N, "D": D, "loss": 1.7 + 400 * N**-0.34 + 410 * D**-0.28}
    columns: dict[str, Any] = {"target": "loss", "scale": ["N", "D"], "law": "2 + A*N**-0.3 + B*D**-0.3"}
    with pytest.raises(sld.UsageError, match="millions or billions"):
        sld.compare({"base": rows, "other": {**rows, "D": D / 1e9}}, **columns)


def test_laws_that_count_differently_are_warned_of() -> None:
    laws = {}
    for name, convention in (("ours", "total"), ("theirs", "non-embedding")):
        law = fitted(FIRST, 0)
        (C_,) = law.variables
        laws[name] = replace(law, variables=(replace(C_, convention=convention),))
    found = sld.compare(laws)
    assert any("is counted as total in one law and as non-embedding in the other" in w for w in found.warnings)


@pytest.mark.slow
def test_the_command_compares_run_folders_and_draws(run: Run, tmp_path: Path) -> None:
    for name, of in (("dense", FIRST), ("sparse", SECOND)):
        (tmp_path / name).mkdir()
        fitted(of, 3).save(tmp_path / name / "law.json")
    document = run("compare", "dense", "sparse", "--json", "--plot", "both.svg", "--level", "0.95").document
    assert document["laws"] == ["dense", "sparse"] and document["pairs"][0]["crossings"]
    assert json.dumps(document) and "<svg" in (tmp_path / "both.svg").read_text(encoding="utf-8")
    # per cent and shares are the same, and a held variable has the name that it has in `allocate`
    per_cent = run("compare", "dense", "sparse", "--json", "--plot", "both.svg", "--level", "95").document
    assert per_cent == document
    text = run("compare", "dense", "sparse").out
    assert "they cross at C = " in text and "dense is better below, sparse above" in text
    for words in (("dense", "nowhere"), ("dense", "sparse", "--plot", "both.jpg"), ("dense", "sparse", "--level", "x")):
        outcome = run("compare", *words)
        assert outcome.code == 2 and outcome.err.count("\n") == 1 and not outcome.out


@pytest.mark.slow
def test_few_rows_are_told_of_and_nothing_is_surer_than_sure() -> None:
    """Four rows get constants from other tables: `sld.fit` says so, and so does a comparison that fits them."""
    N, D = (a.ravel() for a in np.meshgrid([1e6, 4e6, 1.6e7], [1e8, 4e8, 1.6e9]))
    rows = {"N": N, "D": D, "loss": 1.7 + 400 * N**-0.34 + 410 * D**-0.28}
    few = {k: (1.05 * v if k == "loss" else v)[[0, 1, 3, 4]] for k, v in rows.items()}
    found = sld.compare({"many": rows, "few": few}, target="loss", scale=["N", "D"])
    (said,) = [note for note in found.notes if note.startswith("few: 4 rows cannot tell every constant")]
    assert "nothing is promised beyond N = 1.6e7 or D = 1.6e9" in said
    noisy = rows | {"loss": rows["loss"] * (1 + 1e-3 * np.random.default_rng(0).standard_normal(9))}
    sure = sld.compare({"a": noisy, "b": noisy | {"loss": 1.2 * noisy["loss"]}}, target="loss", scale=["N", "D"])
    assert "a is better everywhere (more than 99 % sure within the rows of both)" in sure.summary()


@pytest.mark.slow
def test_tables_are_compared_as_recipes_with_one_form_fitted_to_each(run: Run, tmp_path: Path) -> None:
    """Tokens worth 1.6 times as much in one of two isoFLOP sweeps: the multiplier of compute is 1.6, whoever fits."""
    rng = np.random.default_rng(5)
    C, share = (a.ravel() for a in np.meshgrid(np.geomspace(1e19, 1e21, 5), np.geomspace(0.25, 4, 8)))
    N = 0.09 * C**0.5 * share
    D = C / 6 / N
    for name, gain in (("base", 1.0), ("new", 1.6)):
        loss = (1.69 + 406.4 * N**-0.34 + 410.7 * (gain * D) ** -0.28) * (1 + 1.5e-3 * rng.standard_normal(40))
        rows = [f"{n},{d},{c},{y}" for n, d, c, y in zip(N, D, C, loss, strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["params,tokens,flops,loss", *rows]) + "\n", encoding="utf-8")
    columns = ("--target", "loss", "--scale", "params,tokens")
    done = run("compare", "base.csv", "new.csv", *columns, "--plot", "slide.png", "--json")
    assert done.code == 0, done.err
    (pair,) = done.document["pairs"]
    assert (pair["one"], pair["other"]) == ("base", "new") and not pair["crossings"]
    assert pair["offset"]["low"] < 1 / 1.6 < pair["offset"]["high"]
    assert pair["offset"]["value"] == pytest.approx(1 / 1.6, rel=0.05)
    assert pair["places"][0]["supported"] and not pair["places"][-1]["supported"]
    assert (tmp_path / "slide.png").read_bytes()[:4] == b"\x89PNG"
    # one of them may be a law
    mixed = run("compare", "new.csv", "chinchilla", *columns, "--json").document["pairs"][0]
    assert mixed["offset"]["value"] == pytest.approx(1.6, rel=0.05)
    for words, said in (
        (("base.csv", "new.csv"), "base is a table: say what its columns are"),
        (("base.csv", "new.csv", *columns, "--shared", "alpha"), "put both into one"),
        (("base.csv", *columns), "needs two laws or more"),
        (("chinchilla", "kaplan_nd", *columns), "is for tables: name two of them"),
    ):
        refused = run("compare", *words)
        assert refused.code == 2 and said in refused.err and refused.err.count("\n") == 1
    refused = run("allocate", "base.csv", "--budget", "1e24")
    assert refused.code == 2 and "is a table, not a law" in refused.err
