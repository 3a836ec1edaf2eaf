"""`sld.next_runs` and `sld next`: what a run teaches is what arithmetic says, and a plan keeps to what was said."""

import json
import math
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runs import one_line
from commands import Run
from many_cases import case
from pace import pace

import sld
from sld.analysis.decisions.allocation import Allocator, Question
from sld.analysis.decisions.asked import Side, exponents, optima, prediction
from sld.analysis.decisions.belief import Answer, Belief, Known, Parts, Points
from sld.analysis.decisions.candidates import Levels, grid_columns, read_grid
from sld.analysis.decisions.choosing_runs import Rules, choose
from sld.analysis.decisions.cost import cost_of
from sld.analysis.decisions.surface import surface_of
from sld.core.errors import SldError, UsageError
from sld.data.card import Variable
from sld.laws.law import Law

FORM = "E + A*N**-a + B*D**-b"
TRUE = {"E": 1.7, "A": 400.0, "a": 0.34, "B": 900.0, "b": 0.30}
GRID = "N=1e7:1e9:6,D=5N:500N:5"


def loss(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    return TRUE["E"] + TRUE["A"] * n ** -TRUE["a"] + TRUE["B"] * d ** -TRUE["b"]


def runs_on(n: np.ndarray, d: np.ndarray, seed: int, noise: float = 0.003) -> dict[str, np.ndarray]:
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return {"N": n, "D": d, "loss": loss(n, d) * scatter}


def first_runs(seed: int = 0) -> dict[str, np.ndarray]:
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e8, 5), np.geomspace(1e8, 1e10, 5)))
    return runs_on(n, d, seed)


def fitted(runs: dict[str, np.ndarray]) -> Law:
    return sld.fit(runs, FORM, target="loss", scale=["N", "D"], starts=8, loss="log")


@pytest.fixture(scope="module")
def law() -> Law:
    return fitted(first_runs())


def some_belief(seed: int = 0, n: int = 12, k: int = 4) -> Belief:
    """Return candidates and two answers with random deviations, as rows of everything that is believed."""
    rng = np.random.default_rng(seed)
    points = Points(rng.standard_normal((n, k)), rng.uniform(0, 3, (n, 2)), rng.uniform(0.1, 1, n), np.zeros(n, int))
    probe = Points(rng.standard_normal((3, k)), rng.uniform(0, 3, (3, 2)), rng.uniform(0.1, 1, 3), np.zeros(3, int))
    answers = (
        Answer("a", 1.0, "value", probe, rng.standard_normal(3), None, 0.0, 2.0),
        Answer("b", 1.0, "value", None, np.zeros(0), rng.standard_normal(k), 0.0, 2.0),
    )
    return Belief(points, rng.uniform(0.05, 0.5, n), answers, np.array([1.0, 2.0]))


def test_what_runs_take_is_the_variance_of_a_conditioned_normal_distribution() -> None:
    belief = some_belief()
    state = Known.before(belief)
    chosen = [3, 7, 3, 0]
    for i in chosen:
        before = state
        state = state.seen(i)
        assert before.total - state.total == pytest.approx(before.gains()[i], rel=1e-9)
    K = belief.points.together(belief.points)
    seen = K[np.ix_(chosen, chosen)] + np.diag(belief.noise[chosen])
    cross = belief.cross[:, chosen]
    wanted = belief.prior - np.einsum("ai,ij,aj->a", cross, np.linalg.inv(seen), cross)
    assert state.left == pytest.approx(wanted, rel=1e-9)


def test_a_plan_for_one_run_is_the_best_run_and_a_plan_for_two_is_near_the_best_pair() -> None:
    for seed in range(6):
        with case(seed):
            belief = some_belief(seed)
            cost = np.random.default_rng(100 + seed).uniform(1, 1.2, 12)
            place, known = belief.points.place, np.zeros((0, 2))
            one = choose(belief, cost, place, known, Rules(1.3, guard=0.0))
            assert one.chosen == (int(np.argmax(Known.before(belief).gains())),)
            two = choose(belief, cost, place, known, Rules(2.4, guard=0.0))
            total = [Known.before(belief).seen(i).seen(j).total for i in range(12) for j in range(12) if i != j]
            reached = float(belief.importance @ two.left[-1])
            whole = float(belief.importance @ belief.prior)
            assert whole - reached >= 0.9 * (whole - min(total))


def test_a_grid_is_read_as_it_is_written() -> None:
    levels = read_grid("N=1e7:1e9:3, D=20N:200N:2, lr=1e-3/3e-3, k=4", ["N", "D", "lr", "k"])
    assert levels["D"] == Levels(((20.0, "N"), (200.0, "N")), 2)
    columns = grid_columns(levels, [Variable(s) for s in ("N", "D", "lr", "k")])
    assert len(columns["N"]) == 12 and set(columns["k"]) == {4.0}
    assert sorted({float(f"{x:.6g}") for x in columns["N"]}) == [1e7, 1e8, 1e9]
    assert sorted({float(f"{x:.6g}") for x in columns["D"] / columns["N"]}) == [20.0, 200.0]


def test_a_run_is_worth_something_where_the_law_has_no_value() -> None:
    n = np.geomspace(1e6, 4e8, 20)
    scatter = np.exp(0.003 * np.random.default_rng(0).standard_normal(20))
    # errors are relative, and the root has no value beyond 5e8
    beyond = sld.fit({"N": n, "loss": 30 * np.sqrt(1 - n / 5e8) * scatter}, "A*sqrt(1 - N/5e8)", scale=["N"],
                     target="loss", starts=4, loss="log")  # fmt: skip
    parts = Parts(beyond.variables, {"N": (1e6, 1e10)})
    inside, outside = prediction(parts, Side("all", beyond, "loss", "all"), {"N": np.array([1e8, 1e10])})
    assert math.isnan(outside.value) and math.isnan(outside.low), "nothing is said of a value that is none"
    points, noise, _ = parts.points(parts.part(beyond, "loss", "all"), {"N": np.array([3e8, 1e9])})
    state = Known.before(Belief(points, noise, (inside, outside), np.ones(2)))
    assert np.isfinite(state.total) and (state.gains() > 0).all()
    unknown = Belief(points, noise, (Answer("a", 1.0, "value", points, np.array([math.nan] * 2)),), np.ones(1))
    assert choose(unknown, np.ones(2), np.zeros((2, 0)), np.zeros((0, 0)), Rules(2.0, guard=0.0)).chosen == ()


def test_answers_move_as_draws_of_the_law_do(law: Law) -> None:
    parts = Parts(law.variables, {"N": (1e6, 1e11), "D": (1e8, 1e13)})
    side = Side("all", law, "loss", "all")
    parts.part(law, "loss", "all")
    surface = surface_of(law, n=2000)
    allocator = Allocator(surface, cost_of(None, law.variables), Question())
    answer = optima(parts, side, allocator, 1e21)[0]
    curves = allocator.drawn(allocator.solve(1e21))
    assert curves is not None
    low, high = np.quantile(np.log(curves.point["N"][curves.inside]), [0.1587, 0.8413])
    drawn = (high - low) / 2
    right = Belief(answer.probes.take(np.array([0])), np.ones(1), (answer,), np.ones(1)).stated()  # type: ignore[union-attr]
    assert math.sqrt(float(right.prior[0])) == pytest.approx(drawn, rel=0.15)
    named = {a.name: a for a in exponents(parts, side)}
    assert set(named) == {"a", "b"}
    about = law.intervals["targets"]["loss"]["constants"]["all"]["a"].split()  # type: ignore[index]
    moved = np.abs(np.array([float(x) for x in about]) - named["a"].value)
    spread = math.sqrt(25 / 20) * np.quantile(moved, 0.6827)
    widening = law.intervals["targets"]["loss"]["widening"]  # type: ignore[index]
    assert math.sqrt(named["a"].variance()) == pytest.approx(widening * spread, rel=0.02)


def test_a_plan_keeps_to_what_was_said_and_the_same_seed_gives_the_same(law: Law) -> None:
    asked: dict[str, Any] = dict(
        grid=GRID, runs=7, slots=3, minimum={"N": 3e7}, maximum={"cost": 4e18}, rows=first_runs()
    )
    plan = sld.next_runs(law, 1e19, {"N": 1e10, "D": 1e12}, **asked)
    assert 0 < len(plan.runs) <= 7 and plan.spent <= 1e19
    assert all(run.point["N"] >= 3e7 * (1 - 1e-9) and run.cost <= 4e18 * (1 + 1e-9) for run in plan.runs)
    assert all(run.cost == pytest.approx(6 * run.point["N"] * run.point["D"]) for run in plan.runs)
    assert [run.batch for run in plan.runs] == [k // 3 + 1 for k in range(len(plan.runs))]
    widths = [plan.asked[0].width, *(run.widths[0] for run in plan.runs)]
    assert all(b <= a for a, b in pairwise(widths)) and plan.asked[0].expected == widths[-1]
    assert sld.next_runs(law, 1e19, {"N": 1e10, "D": 1e12}, **asked) == plan
    assert any(run.fills for run in plan.runs)
    unguarded = sld.next_runs(law, 1e19, {"N": 1e10, "D": 1e12}, guard=0.0, **asked)
    assert not any(run.fills for run in unguarded.runs)
    once = sld.next_runs(law, 1e19, {"N": 1e10, "D": 1e12}, repeats=1, **asked)
    assert len({tuple(run.point.values()) for run in once.runs}) == len(once.runs)
    frame = plan.to_frame()
    assert list(frame["cost"]) == [run.cost for run in plan.runs] and "width" in frame.columns[-1]
    assert "expected width" in plan.summary() and repr(plan).startswith("<NextRuns: ")
    assert plan._repr_html_().startswith("<table")
    assert json.loads(json.dumps(plan.to_json()))["runs"][0]["batch"] == 1


def test_a_plan_stops_where_the_interval_is_narrow_enough(law: Law) -> None:
    point = {"N": 1e10, "D": 1e12}
    now = sld.next_runs(law, 1e20, point, grid=GRID, runs=30).asked[0]
    part = sld.next_runs(law, 1e20, point, grid=GRID, runs=30, until=0.7 * now.width)
    assert part.reached and part.runs and part.asked[0].expected <= 0.7 * now.width and part.spent < 1e20
    assert all(run.widths[0] > 0.7 * now.width for run in part.runs[:-1])
    done = sld.next_runs(law, 1e20, point, grid=GRID, until=1.1 * now.width)
    assert done.done and not done.runs and "nothing to run" in done.summary()
    short = sld.next_runs(law, 1e17, point, grid=GRID, until=1e-4)
    assert short.reached is False and short.runs


@pytest.mark.slow
def test_what_is_stated_is_what_the_next_fit_finds_up_to_a_third() -> None:
    ratios = []
    for seed in range(5):
        runs = first_runs(seed)
        before = fitted(runs)
        plan = sld.next_runs(before, 3e19, "allocation", at=1e22, grid=GRID, runs=10, rows=runs)
        n, d = (np.array([run.point[s] for run in plan.runs]) for s in ("N", "D"))
        more = runs_on(n, d, 50 + seed)
        after = sld.next_runs(
            fitted({c: np.concatenate([runs[c], more[c]]) for c in runs}),
            1e19,
            "allocation",
            at=1e22,
            grid=GRID,
            runs=1,
        )
        ratios.append(math.log1p(plan.asked[0].expected) / math.log1p(after.asked[0].width))
        assert plan.asked[0].expected < 0.7 * plan.asked[0].width
    assert 0.7 < float(np.median(ratios)) < 1.3


@pytest.mark.slow
def test_rows_of_a_pool_are_paid_for_once_by_their_own_column_of_costs(law: Law, tmp_path: Path) -> None:
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 3e9, 60), np.geomspace(1e8, 1e11, 50)))
    hours = 6 * n * d / 1e18
    pool = tmp_path / "pool.csv"
    lines = [f"{a:.8g},{b:.8g},{h:.8g}" for a, b, h in zip(n, d, hours, strict=True)]
    pool.write_text("N,D,hours\n" + "\n".join(lines) + "\n", encoding="utf-8")
    start = time.process_time()
    plan = sld.next_runs(law, 300.0, {"N": 1e10, "D": 1e12}, pool=pool, cost="hours", runs=20)
    assert time.process_time() - start < 10.0 * pace()  # measured at 1 s; the limit is a promise
    assert len(plan.runs) == 20 and plan.candidates > 2500
    rows = [run.row for run in plan.runs]
    assert len(set(rows)) == 20
    for run in plan.runs:
        assert run.row is not None and run.point["N"] == pytest.approx(n[run.row - 1], rel=1e-6)
        assert run.cost == pytest.approx(hours[run.row - 1], rel=1e-6)
    twice = sld.next_runs(law, 600.0, {"N": 1e10, "D": 1e12}, pool=pool, cost="2*hours", runs=20)
    assert [run.row for run in twice.runs] == rows


def test_two_laws_are_compared_where_they_are_asked_about(law: Law) -> None:
    other = {**first_runs(3)}
    other["loss"] = other["loss"] - 0.03
    plan = sld.next_runs(law, 1e20, "comparison", against=fitted(other), at=1e21, grid=GRID, runs=8)
    (asked,) = plan.asked
    assert {run.group for run in plan.runs} == {"A", "B"} and asked.expected < asked.width
    assert asked.low is not None and asked.high is not None and asked.low < 0.03 < asked.high


@pytest.mark.slow
def test_a_first_design_has_several_ratios_of_tokens_to_parameters() -> None:
    goals = {"allocation": {"goal": "allocation", "at": 1e23}, "a point": {"goal": {"N": 1e10, "D": 2e11}},
             "exponents": {"goal": "exponents"}}  # fmt: skip
    for name, asked in goals.items():
        with case(name):
            plan = sld.next_runs(None, 1e20, runs=12, **asked)  # type: ignore[arg-type]
            ratio = [run.point["D"] / run.point["N"] for run in plan.runs]
            assert plan.spent <= 1e20 and len(plan.runs) <= 12
            assert len({round(math.log(r), 3) for r in ratio}) >= 3 and max(ratio) / min(ratio) >= 4
            assert plan.asked[0].expected < 0.7 * plan.asked[0].width
    with pytest.raises(UsageError, match="ratios of tokens to parameters"):
        sld.next_runs(None, 1e20, "allocation", at=1e23, grid="N=1e7:1e9:9,D=20N")
    other = sld.next_runs("kaplan_d", 1e11, {"D": 1e12}, grid="D=1e8:1e10:9", cost="D", runs=5)
    assert other.runs and "kaplan_d" in other.notes[0]


def test_a_design_check_tells_a_line_from_a_grid_and_names_runs_off_it() -> None:
    n = np.geomspace(1e6, 1e9, 9)
    line = runs_on(n, 20 * n, 1)
    found = sld.check_design(line, target="loss", scale=["N", "D"], law=FORM)
    assert found.ratios == 1 and found.condition > 1e3 and found.law_condition > 1e3 and found.repeats == 0
    assert {c.known for c in found.constants} != {"determined"}
    assert found.mends and {m.point["D"] / m.point["N"] > 20 for m in found.mends} == {True, False}
    assert any("size and data cannot be told apart" in w for w in found.words)
    crossed = first_runs()
    crossed = {c: np.concatenate([x, x[:2]]) for c, x in crossed.items()}
    good = sld.check_design(crossed, target="loss", scale=["N", "D"], law=FORM)
    assert good.repeats == 2 and good.condition < 1.5
    spread = {c.name: c.spread for c in good.constants}
    assert max(spread[c] for c in ("E", "a", "b")) < 0.1 < max(c.spread for c in found.constants)
    assert list(good.to_frame()["name"]) == list(TRUE) and "determined" in repr(good)


def test_a_picture_is_drawn_and_a_plan_is_written(law: Law, law_file: Path, sld: Run, tmp_path: Path) -> None:
    picture, table = tmp_path / "plan.png", tmp_path / "plan.csv"
    said = sld("next", law_file, "--budget", "1e19", "--for", "N=1e10,D=1e12", "--grid", GRID, "--runs", "3",
               "--plot", picture, "--out", table)  # fmt: skip
    assert said.code == 0 and picture.stat().st_size > 5000, said.err
    assert table.read_text(encoding="utf-8").startswith('run,batch,N,D,cost,spent,fills,"width loss at N = 1e10')
    assert "\n1,1,10000000.0,50000000.0,3000000000000000.0," in table.read_text(encoding="utf-8")
    assert "expected after the plan" in said.out and "written to" in said.err


def test_an_agent_reads_the_plan_and_when_to_stop(law_file: Path, runs: Path, sld: Run) -> None:
    asked = ("next", law_file, "--budget", "1e19", "--for", "N=1e9,D=1e11", "--grid", GRID, "--rows", runs, "--json")
    plan = sld(*asked, "--runs", "3").document
    assert plan["done"] is False and plan["runs"][0]["point"]["N"] > 0 and plan["unit"] == "FLOP"
    assert sld(*asked, "--until", "5").document["done"] is True
    checked = sld("next", runs, "--target", "loss", "--scale", "N,D", "--law", FORM, "--check", "--json").document
    assert checked["ratios"] > 3 and {c["name"] for c in checked["constants"]} == set(TRUE)
    first = sld("next", "--budget", "1e20", "--for", "allocation", "--at", "1e23", "--runs", "6", "--json").document
    assert len(first["runs"]) == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "next needs --budget"),
        (("--budget", "0"), "a budget above 0"),
        (("--budget", "1e19", "--for", "size"), "--for wants a point such as N=1e11,D=2e12"),
        (("--budget", "1e19", "--for", "M=3"), "no variable 'M'"),
        (("--budget", "1e19", "--for", "N=1e9"), "the point names no D"),
        (("--budget", "1e19", "--for", "allocation"), "--at 1e24"),
        (("--budget", "1e19", "--for", "comparison"), "say one of the two"),
        (("--budget", "1e19", "--for", "comparison", "--at", "1e21"), "--against LAW"),
        (("--budget", "1e19", "--grid", "N=1e7"), "D is"),
        (("--budget", "1e19", "--grid", "D=20N:200N:3"), "has to stand before it"),
        (("--budget", "1e19", "--grid", "N=1:2"), "NAME=LOW:HIGH:COUNT"),
        (("--budget", "1e3"), "the cheapest costs"),
        (("--budget", "1e19", "--cost", "6*N*M"), "no variable, setting or model 'M'"),
        (("--budget", "1e19", "--grid", GRID, "--fix", "N=1e8"), "neither fixed nor swept"),
        (("--budget", "1e19", "--until", "-1"), "until is a width above 0"),
        (("--budget", "1e19", "--runs", "0"), "runs must be 1 or more"),
        (("--budget", "1e19", "--law", "chinchilla"), "law is for a table"),
        (("--budget", "1e19", "--plot", "x.jpg"), "a picture is a .png, .svg or .pdf file"),
    ],
)
def test_misuse_is_one_line(law_file: Path, sld: Run, arguments: tuple[str, ...], said: str) -> None:
    if said == "D is":
        outcome = sld("next", law_file, *arguments)
        assert outcome.code == 0 and "D is 1e9 in every run" in outcome.err
        return
    one_line(sld("next", law_file, *arguments), said)


def test_a_law_that_names_no_best_run_is_one_line(sld: Run, law_file: Path) -> None:
    one_line(sld("next", law_file, "--budget", "1e19", "--for", "allocation", "--at", "1e3"), "buys no run", code=1)
    one_line(sld("next", "1.7 + 400*N**-0.34", "--budget", "1e19"), "carries no intervals")
    one_line(sld("next", "--check"), "a check needs runs")
    with pytest.raises(SldError):
        sld_next_without_budget()


def sld_next_without_budget() -> None:
    sld.next_runs(None, None)


def test_a_run_folder_has_its_rows_at_hand(tmp_path: Path, law_file: Path) -> None:
    folder = tmp_path / "run"
    sld.discover(first_runs(), target="loss", scale=["N", "D"], budget="150fits", workers=1, out=folder)
    plan = sld.next_runs(folder, 1e19, {"N": 1e9, "D": 1e11}, grid=GRID, runs=2)
    assert plan.runs and not any("not at hand" in note for note in plan.notes)
    alone = sld.next_runs(law_file, 1e19, {"N": 1e9, "D": 1e11}, grid=GRID, runs=2)
    assert any("not at hand" in note for note in alone.notes)
