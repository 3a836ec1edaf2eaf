"""The report of a discovery: complete, the same text every time, and readable as Markdown whatever names it meets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from candidates import rejudged

from sld.analysis.effects import beyond, sentences
from sld.analysis.intervals import add_intervals
from sld.analysis.report.checklist import FIELDS, filled
from sld.analysis.report.report import report, write_report
from sld.core.errors import UsageError
from sld.data.card import Card
from sld.data.splits import rung_folds
from sld.data.table import Table, table_from
from sld.data.task import Task
from sld.fit.fitting import fit
from sld.formula.canonical import canonical_key
from sld.laws.fit_settings import FitSettings
from sld.laws.law import Law
from sld.search.candidates.candidate import Candidate, Judgement
from sld.search.choosing.verdict import verdict
from sld.search.outcome import Discovery

RNG = np.random.default_rng(0)
CHINCHILLA = ("E + A/N**alpha + B/D**beta", "A*N**-a*D**-b", "E + A*(N*D)**-a")


def candidate(table: Table, text: str, score: float) -> Candidate:
    expressions = {t.column: table.parse(text, j) for j, t in enumerate(table.targets)}
    constants = {}
    for j, (column, expression) in enumerate(expressions.items()):
        result = fit(expression, table, target=j, starts=6)
        assert result.ok, result.status
        constants[column] = result.constants
    first = next(iter(expressions.values()))
    reasons = ("not decreasing in N at N = 1e12",) if "*N**-a*" in text else ()
    judgement = Judgement(score, (0.01, float("nan"), 0.04), 0.001, reasons=reasons)
    judgements = (judgement,) * len(table.targets)
    return Candidate(expressions, canonical_key(first), "enumeration", judgements, constants=constants)


def discovery(table: Table, texts: Sequence[str], **changes: Any) -> Discovery:
    candidates = tuple(candidate(table, text, float(k) - 4) for k, text in enumerate(texts))
    chosen = candidates[0]
    law = Law(chosen.expressions, chosen.constants, table.variables, table.targets, table.group_column)
    judged = verdict(table, rung_folds(table)[:3], chosen, candidates, law)
    found = Discovery(
        law=law, chosen=chosen, front=candidates[::-1], hall_of_fame=candidates, folds=rung_folds(table)[:3],
        counts={"tried": 41, "judged": 30, "inadmissible": 7, "explains nothing": 11}, seconds=12.3, n_fits=4100,
        interrupted=False, noise={"relative_sd": 0.01, "nmse": 0.002, "n_points": 9.0}, notes=("one note",),
        table=table, verdict=judged,
        config={"seed": 3, "budget": "4000fits", "workers": 2, "proposers": ["catalogue"], "formulas": []},
    )  # fmt: skip
    found = replace(found, law=add_intervals(found))
    return replace(found, **changes)


def grid() -> Table:
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 7), np.geomspace(1e8, 1e11, 6)))
    loss = (1.8 + 480 / N**0.35 + 2000 / D**0.37) * (1 + 0.003 * RNG.standard_normal(len(N)))
    return table_from({"N": N, "D": D, "loss": loss}, target="loss", scale=["N", "D"])


def grouped(n: int, name: str = "g") -> Table:
    N = np.tile(np.geomspace(1e6, 1e9, 6), n)
    family = np.repeat([f"{name}{k}" for k in range(n)], 6)
    err = np.repeat(np.linspace(0.1, 0.3, n), 6) + 30 * N**-0.4 + 0.001 * RNG.standard_normal(len(N))
    return table_from(
        {"N": N, "family": family, "err": err, "miss": err / 2}, target=["err", "miss"], scale="N", group="family",
        lower=0, upper=1,
    )  # fmt: skip


def mixture() -> Table:
    shares = RNG.dirichlet([1, 1, 1], 40)
    data: dict[str, Any] = {f"p{k}": shares[:, k] for k in range(3)} | {"loss": 2 + np.exp(-3 * shares[:, 0])}
    return table_from(data, target="loss", proportion=["p0", "p1", "p2"])


@pytest.fixture(scope="module")
def found() -> Discovery:
    return discovery(grid(), CHINCHILLA)


@pytest.fixture(scope="module")
def text(found: Discovery) -> str:
    return report(found)


def test_the_report_says_everything_a_check_needs(found: Discovery, text: str) -> None:
    for heading in (
        "# Scaling law of `loss`", "## The law", "## Constants", "## Whether to believe it",
        "## How well it extrapolates",
        "## Where the runners-up disagree", "## Physical checks", "## How firm the fit is", "## The search",
        "## The data", "## To reproduce", "## Checklist",
    ):  # fmt: skip
        assert f"\n{heading}\n" in f"\n{text}"
    assert "E + A/N**alpha + B/D**beta" in text and r"\frac{A}{N^{\alpha}}" in text
    for name, value in found.law.constants["loss"]["all"].items():
        assert re.search(rf"\| `{name}` \| {re.escape(f'{value:.6g}')} \| \(.+ to .+\) \|", text)
    for fold in found.folds:
        assert f"| {fold.name} | {len(fold.test)} | " in text
    assert "11 rejected: explains nothing" in text and "7 judged, but failing" in text
    assert "not decreasing in N at N = 1e12" not in text.split("## Physical checks")[1].split("##")[0]
    assert "N and D ×100" in text and "apart by" in text
    assert "one note" in text and found.table.digest() in text
    assert all(f"`{key}`" in text for key in FIELDS)
    assert "not reported" in text


def test_a_robust_fit_is_compared_with_itself(found: Discovery) -> None:
    robust = replace(found, law=replace(found.law, settings={"loss": FitSettings(loss="huber")}))
    text = report(robust)
    assert "sum of Huber's loss of the errors" in text and re.search("% with squared errors[,.]", text)
    usual = report(found)
    assert "sum of squared errors" in usual and "Huber's loss of" not in usual
    assert not re.search("% with squared errors[,.]", usual)
    assert "another optimum has an error" not in text


def test_doubling_a_variable_is_told_in_per_cent(found: Discovery) -> None:
    said = sentences(found.law, found.table, 0)
    x = found.table.X.max(axis=0)
    here, there = found.law.predict({"N": [x[0], 2 * x[0]], "D": [x[1], x[1]]})[:, 0]
    assert f"Doubling `N` lowers the loss by {100 * (1 - there / here):.2g} %." in said
    assert any("approaches 1.8" in sentence for sentence in said)


def test_predictions_beyond_the_data_are_those_of_the_laws(found: Discovery) -> None:
    reach = beyond([found.law], found.table)
    assert reach is not None and reach.where[0] == "the largest run"
    np.testing.assert_array_equal(reach.predictions[0], found.law.predict(reach.points))
    at = found.table.symbols.index(reach.where[1].split(" ")[0])
    assert reach.points.X[1, at] == pytest.approx(10 * found.table.X[:, at].max())


def test_same_discovery_same_text_but_for_the_seconds(found: Discovery, text: str) -> None:
    assert report(found) == text
    other = report(replace(found, seconds=99.0))
    changed = [(a, b) for a, b in zip(text.splitlines(), other.splitlines(), strict=True) if a != b]
    assert changed == [("The search took 12 seconds.", "The search took 99 seconds.")]


def test_tables_are_whole_whatever_names_contain() -> None:
    found = discovery(grouped(3, name="a|b\n模 $"), ("E + A*N**-a", "A*N**-a"))
    text = report(found)
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block
    assert "a\\|b 模 $0" in text
    assert "### miss" in text


@pytest.mark.slow
def test_many_groups_are_summed_up() -> None:
    text = report(discovery(grouped(15), ("E + A*N**-a",)))
    assert "median of the groups" in text and "Every one of the 15 groups is in `law.json`." in text


def test_a_task_without_scales_has_a_report_too() -> None:
    text = report(discovery(mixture(), ("c + k*exp(t*p0)", "c + t*p0")))
    assert "no scale variable to go beyond the data in" in text
    assert "A tenth more of `p0`" in text


def test_valleys_tell_the_best_value() -> None:
    lr, N = (x.ravel() for x in np.meshgrid(np.geomspace(1e-4, 1e-1, 9), np.geomspace(1e6, 1e8, 5)))
    loss = 2 + 100 / N**0.4 + 0.05 * np.log(lr / 3e-3) ** 2
    table = table_from({"lr": lr, "N": N, "loss": loss}, target="loss", scale="N", hyper="lr")
    said = sentences(discovery(table, ("E + A/N**a + k*(log(lr) - c)**2",)).law, table, 0)
    best = next(s for s in said if "best `lr`" in s)
    assert float(re.findall(r"about ([\d.e-]+)", best)[0].rstrip(".")) == pytest.approx(3e-3, rel=0.03)


def test_logarithmic_columns_go_ten_times_farther_by_adding() -> None:
    flops = np.linspace(-2, 2, 30)
    table = table_from(
        {"lf": flops, "brier": -1 / (1 + np.exp(flops))}, target="brier", scale="lf", log="lf", higher_is_better=True
    )
    found = discovery(table, ("0 - sigmoid(a - b*lf)",))
    reach = beyond([found.law], table)
    assert reach is not None
    np.testing.assert_allclose(reach.points.X[:, 0], [2, 3, 4])


def test_held_out_rows_are_scored_beside_the_promise_of_the_intervals(found: Discovery) -> None:
    N, D = np.array([2e9, 4e9, 8e9]), np.array([2e11, 3e11, 4e11])
    held_out = table_from(
        {"N": N, "D": D, "loss": 1.8 + 480 / N**0.35 + 2000 / D**0.37}, target="loss", scale=["N", "D"]
    )
    text = report(found, held_out=held_out)
    assert "on 3 held-out rows R² = 0.9" in text
    assert "| 3 | 0.9" in text and "(promised: 90 %) |" in text


def test_without_intervals_noise_rivals_or_success_it_still_says_what_there_is(found: Discovery) -> None:
    failing = {"admissible": False, "reasons": ("leaves the bounds",), "fold_errors": (float("nan"),) * 3}
    alone = replace(
        found, law=replace(found.law, intervals=None), hall_of_fame=(found.chosen,), noise=None, interrupted=True,
        chosen=rejudged(found.chosen, **failing),
    )  # fmt: skip
    text = report(alone)
    assert "no point was measured twice" in text and "interrupted before its budget" in text
    assert "fails a check where it will be used" in text and "- leaves the bounds" in text
    assert "nan" not in text.replace("explains nothing", "")


def test_the_command_repeats_the_search(found: Discovery, tmp_path: Path) -> None:
    options = "--seed 3 --budget 4000fits --workers 2 --proposers catalogue"
    bare = Task(Card(name="runs", provenance="my runs.csv", variables=found.table.variables), found.table)
    assert f"sld discover 'my runs.csv' --target loss --scale N,D {options}" in report(found, task=bare)
    bundled = Task(Card(name="nanolm_chinchilla"), found.table, tmp_path)
    assert f"sld discover nanolm_chinchilla {options}" in report(found, task=bundled)
    other = Task(Card(name="mine"), found.table, tmp_path / "mine")
    assert f"sld discover {tmp_path / 'mine'} {options}" in report(found, task=other)


def test_the_card_fills_what_rows_cannot_tell(found: Discovery) -> None:
    card = Card(name="mine", row="one run", paper={"checklist": {"train.optimizer": "AdamW", "train": {"data": "web"}}})
    text = report(found, task=Task(card, found.table))
    assert "| `train.optimizer` | AdamW |" in text and "| `train.data` | web |" in text
    assert "| `train.precision` | not reported |" in text
    assert filled({}, {})["form.purpose"] == "not reported"


def test_the_file_shows_the_plot_beside_it(found: Discovery, tmp_path: Path) -> None:
    write_report(found, tmp_path / "report.md")
    assert "](plot.png)" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    (tmp_path / "plot.png").write_bytes(b"")
    write_report(found, tmp_path / "report.md")
    assert "](plot.png)" in (tmp_path / "report.md").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="could not write"):
        write_report(found, tmp_path / "no" / "report.md")
