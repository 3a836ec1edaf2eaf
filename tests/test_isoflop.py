"""Isoflop sweeps: three approaches, what they refuse, and how far parabolas are off, against published numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run, runner

import sld
from sld.analysis.decisions.budgets import clustered
from sld.analysis.decisions.parabola import line_through
from sld.core.arrays import Array

SHARED = Path(__file__).resolve().parents[2] / "shared"
LAWS = {
    # Hoffmann et al. 2022, equation 10, rounded; the two others as in the article beside arXiv 2603.22339
    "chinchilla": {"A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28, "E": 1.69},
    "asymmetric": {"A": 406.4, "B": 410.7, "alpha": 0.465, "beta": 0.155, "E": 1.69},
    "symmetric": {"A": 400.0, "B": 400.0, "alpha": 0.31, "beta": 0.31, "E": 1.69},
}
BUDGETS = np.geomspace(1e17, 1e21, 5)
COLUMNS: dict[str, Any] = {"target": "loss", "scale": ["N", "D"]}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return runner(capsys, monkeypatch, tmp_path)


def best_data(law: str, C: Array | float) -> Any:
    """Return the closed form of the best data: Hoffmann et al. 2022, equation 4."""
    p = LAWS[law]
    G = (p["alpha"] * p["A"] / (p["beta"] * p["B"])) ** (1 / (p["alpha"] + p["beta"]))
    N = G * (C / 6) ** (p["beta"] / (p["alpha"] + p["beta"]))
    return C / (6 * N)


def loss(law: str, N: Array, D: Array) -> Array:
    p = LAWS[law]
    return np.asarray(p["E"] + p["A"] * N ** -p["alpha"] + p["B"] * D ** -p["beta"])


def sweep(law: str, width: float, *, centre: Any = 1.0, n: int = 15, noise: float = 0.0, seed: int = 0) -> Any:
    """Return runs of five budgets: n sizes each, from 1/width to width times the best data times the centre."""
    share = np.geomspace(1 / width, width, n)
    D = (best_data(law, BUDGETS) * np.broadcast_to(centre, 5))[:, None] * share
    N = BUDGETS[:, None] / 6 / D
    y = loss(law, N, D) + noise * np.random.default_rng(seed).standard_normal(N.shape)
    return {"N": N.ravel(), "D": D.ravel(), "loss": y.ravel()}


# arXiv 2603.22339, the article beside it: how far D at 1e24 is off, noise-free, extrapolated from 1e17 to 1e21
PUBLISHED = [
    *[("chinchilla", w, 1.0, off) for w, off in ((2, -0.0033), (4, -0.0130), (8, -0.0290), (16, -0.0510))],
    *[("asymmetric", w, 1.0, off) for w, off in ((2, -0.0167), (4, -0.0650), (8, -0.1391), (16, -0.2312))],
    *[("symmetric", w, 1.0, 0.0) for w in (2, 16)],
    # every budget centred at three times the best data: narrow grids are off by more
    *[("symmetric", w, 3.0, off) for w, off in ((2, 0.0397), (4, 0.0347), (8, 0.0265), (16, 0.0151))],
    ("symmetric", 8, np.geomspace(1, 3, 5), 0.0370),  # the middle drifts with the budget
]


@pytest.mark.parametrize(("law", "width", "centre", "off"), PUBLISHED)
def test_parabolas_are_off_by_as_much_as_published(law: str, width: float, centre: Any, off: float) -> None:
    from sld.analysis.decisions.budgets import sweep_of
    from sld.analysis.decisions.cost import cost_of
    from sld.analysis.decisions.isoflop import lines_of
    from sld.analysis.decisions.parabola import parabolas

    table = sld.table_from(sweep(law, width, centre=centre), **COLUMNS)
    for_N, for_D = lines_of(parabolas(sweep_of(table, cost_of(None, table.variables))), 0.9)
    p = LAWS[law]
    exponent = p["alpha"] / (p["alpha"] + p["beta"])
    assert for_D.at(1e24).value / best_data(law, 1e24) - 1 == pytest.approx(off, abs=1e-3 if np.ptp(centre) else 1e-4)
    # a constant shift leaves the slope as it is; a drifting one adds 0.0027
    assert for_D.slope.value - exponent == pytest.approx(0.0027 if np.ptp(centre) else 0.0, abs=1e-4)
    assert for_N.slope.value + for_D.slope.value == pytest.approx(1.0, abs=1e-9)


def test_the_bias_is_found_from_noisy_runs_of_an_asymmetric_law_and_taken_off() -> None:
    exact = sld.isoflop(sweep("asymmetric", 8), **COLUMNS, budget=1e24).only
    assert exact.bias is not None and exact.bias.D[0] == pytest.approx(-0.1391, rel=0.1)
    noisy = sld.isoflop(sweep("asymmetric", 8, noise=2e-3), **COLUMNS, budget=1e24).only
    assert noisy.bias is not None and noisy.bias.D[0] == pytest.approx(-0.1391, rel=0.1)
    assert noisy.believe == "law" and "too large" in noisy.why
    a = noisy.law.a
    assert a.low is not None and a.high is not None
    assert a.low < 0.155 / 0.62 < a.high and noisy.law.a.value == pytest.approx(0.25, abs=0.01)


def test_the_law_recovers_the_published_constants_from_exact_runs() -> None:
    # vpnls, README: 8 budgets from 1e17 to 1e22, 16 sizes each
    C = np.geomspace(1e17, 1e22, 8)[:, None]
    N = C / 6 / (best_data("chinchilla", C) * np.geomspace(1 / 8, 8, 16))
    runs = {"N": N.ravel(), "D": (C / 6 / N).ravel(), "loss": loss("chinchilla", N, C / 6 / N).ravel()}
    found = sld.isoflop(runs, **COLUMNS, budget=[1e24, 5.76e23]).only
    constants = dict(found.curve.constants)
    assert constants == pytest.approx(LAWS["chinchilla"], rel=1e-3)
    assert found.law.at[0].D.value == pytest.approx(4.036e12, rel=1e-3)
    assert found.law.at[0].loss.value == pytest.approx(1.9112, abs=1e-4)


def test_a_line_through_published_optima_has_their_exponents() -> None:
    """Optima of nanochat, dev/LOG.md, at 1e18, 2e18, 5e18 and 1e19; the log prints 0.54 and 0.49."""
    C = np.array([1e18, 2e18, 5e18, 1e19])
    N = np.array([110678115.0, 167797457.0, 250650865.0, 381758347.0])  # projections and head
    D = np.array([1241505403.0, 1785336422.0, 2642234152.0, 3806871243.0])
    found = [line_through(C, of, np.full(4, math.nan), 0.9).slope for of in (N, D)]
    assert [line.value for line in found] == pytest.approx([0.524, 0.479], abs=1e-3)
    for line, printed in zip(found, (0.54, 0.49), strict=True):
        assert line.low is not None and line.high is not None and line.low < printed < line.high
    # what is counted as a parameter moves the exponent: all of them, and the transformer alone (first and last printed)
    for ends, printed in (((416320605.0, 988644331.0), 0.366), ((80259665.0, 401213504.0), 0.681)):
        line = line_through(C[[0, 3]], np.array(ends), np.full(2, math.nan), 0.9).slope
        assert line.value == pytest.approx(printed, abs=0.02) and line.low is None


def test_intervals_of_parabolas_and_law_hold_the_exponents() -> None:
    """The parabola's own bias of the exponent is 0 for a centred sweep, so both intervals are of the same number."""
    exponent = 0.28 / 0.62
    inside = {"parabolas": 0, "law": 0}
    for seed in range(8):
        found = sld.isoflop(sweep("chinchilla", 4, n=7, noise=3e-3, seed=seed), **COLUMNS, level=0.9).only
        for a in (found.quadratic, found.law):
            assert a.a.low is not None and a.a.high is not None
            inside[a.name] += a.a.low <= exponent <= a.a.high
    assert inside["parabolas"] >= 6 and inside["law"] >= 6


def refused(**change: Any) -> Any:
    runs = sweep("chinchilla", 8, **change)
    return sld.isoflop(runs, **COLUMNS).only


def test_what_has_no_minimum_is_refused_and_says_why() -> None:
    # trained with twenty times too much data throughout: the lowest loss is at the largest size
    found = refused(centre=20.0)
    assert {p.status for p in found.parabolas} == {"no interior minimum"}
    assert all("train larger ones" in p.reason for p in found.parabolas)
    assert found.quadratic.status == "budgets too few" and found.envelope.status == "budgets too few"
    assert "no interior minimum" in found.quadratic.reason and not found.quadratic.at
    # the law still answers, and is believed for that
    assert found.believe == "law" and found.law.a.value == pytest.approx(0.28 / 0.62, abs=1e-3)
    next_to = refused(centre=7.0)
    assert {p.status for p in next_to.parabolas} == {"off-centre"}


def test_a_law_without_an_optimum_between_is_refused_not_invented() -> None:
    N = np.geomspace(1e7, 1e9, 6)
    C = np.repeat([1e18, 1e19, 1e20], 6)
    N = np.tile(N, 3)
    runs = {"N": N, "D": C / 6 / N, "loss": 5.0 * N**-0.05}
    found = sld.isoflop(runs, "A*N**-a*D**-b", **COLUMNS).only
    assert found.law.status == "no interior minimum" and not found.law.at
    assert found.believe is None and "both sides" in found.why


def test_budgets_are_found_where_computes_differ_by_a_few_per_cent_and_three_sizes_are_needed() -> None:
    rng = np.random.default_rng(0)
    C = np.repeat([1e18, 3e18, 1e19], 6) * np.exp(rng.uniform(-0.03, 0.03, 18))
    sizes = np.tile(np.geomspace(1e8, 1e9, 6), 3)
    assert clustered(C, sizes).tolist() == [0] * 6 + [1] * 6 + [2] * 6
    # a cloud of runs is no sweep
    assert clustered(np.exp(rng.uniform(40, 45, 60)), rng.uniform(1e8, 1e9, 60)).max() == -1
    two = clustered(np.repeat([1e18, 1e19], [2, 4]), np.array([1.0, 2, 1, 2, 3, 4]))
    assert two.tolist() == [0, 0, 1, 1, 1, 1]
    runs = sweep("chinchilla", 8)
    few = {k: np.concatenate([v[:2], v[15:]]) for k, v in runs.items()}
    first, *others = sld.isoflop(few, **COLUMNS).only.parabolas
    assert first.status == "too few sizes" and "needs 3 or more" in first.reason
    assert {p.status for p in others} == {"ok"}


def test_the_budget_may_be_a_column_and_the_data_follow_from_it() -> None:
    runs = sweep("chinchilla", 8)
    flops = 6 * runs["N"] * runs["D"]
    by_cost = sld.isoflop(runs, **COLUMNS, budget=1e24).only
    named = sld.isoflop({**runs, "flops": flops}, target="loss", scale=["N", "D", "flops"], budget=1e24).only
    alone = {"N": runs["N"], "work": flops, "loss": runs["loss"]}
    derived = sld.isoflop(alone, target="loss", scale="N", budget_column="work", budget=1e24).only
    for found in (named, derived):
        assert found.law.at[0].N.value == pytest.approx(by_cost.law.at[0].N.value, rel=1e-6)
        assert found.quadratic.a.value == pytest.approx(by_cost.quadratic.a.value, abs=1e-9)


def test_along_training_curves_the_envelope_has_the_exponents() -> None:
    N, share = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 3e9, 14), np.geomspace(1, 300, 40), indexing="ij"))
    D = 3e8 * (N / 1e7) ** 0.5 * share
    runs = {"N": N, "D": D, "loss": loss("chinchilla", N, D), "name": [f"run {n:.3g}" for n in N]}
    # the last checkpoints of such runs share no budget, so there is no sweep
    with pytest.raises(sld.DataError, match="no 3 sizes share a budget"):
        sld.isoflop(runs, **COLUMNS, run="name")
    # curves that end at common budgets
    C = np.repeat([1e19, 1e20, 1e21], 7)
    ends = C / 6 / np.ravel([C0**0.5 * 0.08 * np.geomspace(0.2, 5, 7) for C0 in (1e19, 1e20, 1e21)])
    sizes = C / 6 / ends
    share = np.geomspace(0.02, 1.0, 30)
    rows = {"N": np.repeat(sizes, 30), "D": (ends[:, None] * share).ravel()}
    rows["name"] = np.repeat(np.arange(21), 30).astype(str)
    rows["loss"] = loss("chinchilla", rows["N"], rows["D"])
    curves = sld.isoflop(rows, **COLUMNS, run="name").only
    assert curves.envelope.ok and curves.envelope.a.value == pytest.approx(0.28 / 0.62, abs=0.06)
    assert curves.law.a.value == pytest.approx(0.28 / 0.62, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": "N"}, "two scale columns"),
        ({"budget": 0.0}, "a budget must be a number above 0, got 0"),
        ({"budget_column": "flop"}, "flop"),
        ({"cost": "6*N"}, "must use both N and D"),
        ({"cost": "6*N*T"}, "T"),
        ({"level": 1.5}, "level"),
        ({"higher_is_better": True}, "higher is better"),
    ],
)
def test_bad_input_is_one_clear_line(change: dict[str, Any], words: str) -> None:
    with pytest.raises(sld.UsageError, match=words) as caught:
        sld.isoflop(sweep("chinchilla", 8), **{**COLUMNS, **change})
    assert "\n" not in str(caught.value)


def test_data_in_billions_are_noticed() -> None:
    runs = sweep("chinchilla", 8)
    with pytest.raises(sld.UsageError, match="too few for a count of tokens"):
        sld.isoflop({**runs, "D": runs["D"] / 1e9}, **COLUMNS)


@pytest.mark.slow
def test_the_command_says_the_same_as_python_and_draws_it(run: Run, tmp_path: Path) -> None:
    runs = sweep("asymmetric", 8, noise=2e-3)
    lines = ["N,D,loss", *(",".join(map(repr, row)) for row in zip(*(x.tolist() for x in runs.values()), strict=True))]
    (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ("isoflop", "runs.csv", "--target", "loss", "--scale", "N,D", "--budget", "1e24")
    document = run(*words, "--json", "--plot", "sweep.png").document
    found = sld.isoflop(runs, **COLUMNS, budget=1e24).only
    (part,) = document["sweeps"]
    assert part["approaches"]["law"]["a"]["value"] == pytest.approx(found.law.a.value, rel=1e-9)
    assert part["bias"]["D"][0] == pytest.approx(found.bias.D[0] if found.bias else None, rel=1e-9)
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    text = found.summary()
    assert "believe 3" in text and "3 law fitted to all runs" in text and "2 without its bias" in text
    assert found.to_frame().shape[0] == 5
    assert "sweep of 5 budgets" in repr(found)


def test_a_law_that_was_fitted_already_is_asked_as_it_is(tmp_path: Path) -> None:
    runs = sweep("chinchilla", 8)
    law = sld.fit(runs, "E + A*N**-a + B*D**-b", **COLUMNS, out=tmp_path / "mine")
    for given in (law, tmp_path / "mine"):
        found = sld.isoflop(runs, given, **COLUMNS, budget=1e24).only
        assert found.law.at[0].N.value == pytest.approx(4.130e10, rel=1e-3)  # published-optima: rounded Hoffmann
    with pytest.raises(sld.UsageError, match="the law uses D, which the sweep does not have"):
        other = {"params": runs["N"], "tokens": runs["D"], "loss": runs["loss"]}
        sld.isoflop(other, law, target="loss", scale=["params", "tokens"])


def test_groups_have_sweeps_of_their_own() -> None:
    first, second = sweep("chinchilla", 8), sweep("asymmetric", 8)
    both = {k: np.concatenate([first[k], second[k]]) for k in first} | {"recipe": ["one"] * 75 + ["two"] * 75}
    found = sld.isoflop(both, **COLUMNS, group="recipe")
    assert found["one"].law.a.value == pytest.approx(0.28 / 0.62, abs=1e-3)
    assert found["two"].law.a.value == pytest.approx(0.155 / 0.62, abs=1e-3)
    with pytest.raises(sld.UsageError, match="there are 2 groups"):
        _ = found.only
    assert set(found.to_frame()["group"]) == {"one", "two"}


def test_llama_3_is_close_to_what_its_paper_says() -> None:
    """Llama Team 2024, section 3.2.1: 402B parameters and 16.55T tokens at 3.8e25, exponent 0.53 of the tokens."""
    path = SHARED / "cases" / "llama3_isoflops.csv"
    if not path.is_file():
        pytest.skip("the digitised runs of Llama 3 are not part of the project")
    found = sld.isoflop(
        str(path), target="loss", scale=["params", "tokens"], budget_column="budget", budget=3.8e25
    ).only
    b = found.quadratic.b
    assert b.low is not None and b.high is not None and b.low < 0.53 < b.high
    D = found.quadratic.at[0].D
    assert D.low is not None and D.high is not None and D.low < 16.55e12 < D.high * 1.05
