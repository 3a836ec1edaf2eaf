"""What a teacher is worth, and how compute is split with one: Busbridge et al. 2025 (arXiv 2502.08606)."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from many_cases import case

import sld

POINTS = Path(__file__).parents[2] / "shared" / "data" / "open" / "distillation"
TEACHER = {"NT": 7e9, "DT": 1.4e12}
ALONE = "distillation_supervised"


def one(law: str, **point: float) -> float:
    (values,) = sld.predict(law, {s: [x] for s, x in point.items()}).values()
    return float(values[0])


def test_the_law_with_a_teacher_is_made_of_the_two_that_are_printed() -> None:
    student = {"N": 1e9, "D": 2e10}
    teacher, own = one(ALONE, N=TEACHER["NT"], D=TEACHER["DT"]), one(ALONE, **student)
    printed = one("distillation", **student, L_T=teacher, L_S0=own)
    assert one("distillation_teacher", **student, **TEACHER) == pytest.approx(printed, rel=1e-12)
    assert one("distillation_closed", **student, L_T=teacher) == pytest.approx(printed, rel=1e-6)


def test_the_printed_constants_fit_the_published_points() -> None:
    """Mean error of 1.12 % and an R2 of 0.926 on the 354 points of the public table, read off the paper's figures."""
    if not POINTS.exists():
        pytest.skip("the public points are not at hand")
    texts = [(POINTS / name).read_text(encoding="utf-8") for name in ("train.csv", "held_out.csv")]
    rows = [row for text in texts for row in csv.DictReader(text.splitlines())]
    N, D, teacher, wanted = (np.array([float(row[k]) for row in rows]) for k in ("NS", "DS", "LT", "LS"))
    (found,) = sld.predict("distillation_closed", {"N": N, "D": D, "L_T": teacher}).values()
    assert len(rows) == 354
    assert np.abs(found / wanted - 1).mean() == pytest.approx(0.0112, abs=5e-5)
    assert 1 - ((found - wanted) ** 2).sum() / ((wanted - wanted.mean()) ** 2).sum() == pytest.approx(0.926, abs=5e-4)


def taught(N: float, D: float) -> float:
    """Return how many times the tokens a student without a teacher needs."""
    found = sld.worth("distillation_teacher", {"N": N, "D": D, **TEACHER}, "D", against=ALONE).factor
    assert found is not None
    return found.value


def test_a_teacher_that_is_there_pays_up_to_an_amount_that_grows_with_the_student() -> None:
    """Abstract: distillation outperforms pretraining until a compute that "grows predictably with student size"."""
    ends = []
    for size in (3e8, 1e9, 3e9):
        with case(size):
            low, high = 1e10, 4e12
            assert taught(size, low) > 3 and taught(size, high) < 1
            for _ in range(12):
                middle = math.sqrt(low * high)
                low, high = (middle, high) if taught(size, middle) > 1 else (low, middle)
            ends.append(6 * size * low)
    assert ends[0] < ends[1] / 5 and ends[1] < ends[2] / 5


@pytest.mark.slow
@pytest.mark.parametrize(("given", "budgets"), [({}, (1e19, 1e23)), ({"N": 1e9}, (1e21,))])
def test_a_teacher_that_must_be_trained_for_one_student_never_pays(
    given: dict[str, float], budgets: tuple[float, ...]
) -> None:
    """Abstract: "if one student is to be distilled and a teacher also needs training, supervised learning"."""
    best: dict[str, Any] = {"given": given} if given else {}
    for budget in budgets:
        with case(budget):
            (plan,) = sld.allocate("distillation_teacher", budget, cost="distillation", **best).plans
            (alone,) = sld.allocate(ALONE, budget, **best).plans
            assert plan.loss.value > alone.loss.value > 1.22  # the irreducible loss of the law without a teacher
            run = {s: e.value for s, e in plan.point.items()}
            shares = [6 * run["N"] * run["D"], 2 * run["NT"] * run["D"], 6 * run["NT"] * run["DT"]]
            assert [*plan.parts.values()] == pytest.approx([s / budget for s in shares], rel=1e-9)
            assert sum(plan.parts.values()) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.slow
def test_the_split_of_a_budget_is_the_lowest_that_brute_force_finds() -> None:
    """Size of the teacher and its share of the compute on a grid that is made finer about its lowest point."""
    budget, size = 1e21, 1e9
    (plan,) = sld.allocate("distillation_teacher", budget, cost="distillation", given={"N": size}).plans
    middle, width = np.array([9.0, 0.5]), np.array([1.5, 0.45])
    for _ in range(12):
        nt, share = (
            a.ravel()
            for a in np.meshgrid(*(m + w * np.linspace(-1, 1, 25) for m, w in zip(middle, width, strict=True)))
        )
        keep = (share > 0.01) & (share < 0.99)
        nt, share = nt[keep], share[keep]
        NT, DT = 10**nt, share * budget / 6 / 10**nt
        D = (1 - share) * budget / (6 * size + 2 * NT)
        (values,) = sld.predict(
            "distillation_teacher", {"N": np.full(len(D), size), "D": D, "NT": NT, "DT": DT}
        ).values()
        k = int(np.argmin(values))
        middle, width, lowest = np.array([nt[k], share[k]]), width / 3, float(values[k])
    assert plan.loss.value == pytest.approx(lowest, rel=1e-9)
    assert plan.point["NT"].value == pytest.approx(10 ** middle[0], rel=1e-3)
    assert plan.parts["the teacher's training"] == pytest.approx(middle[1], rel=1e-3)


def test_what_is_left_out_of_the_cost_is_not_paid_for(sld: Run) -> None:
    """A teacher that is there: 6ND + 2*NT*D alone; one whose answers were kept: 6ND, the same as without a cost."""
    asked = ("allocate", "distillation_teacher", "--cost", "distillation", "--budget", "1e21", "--json")
    given = ("--given", "N=1e9", "--given", "NT=7e9", "--given", "DT=1.4e12", "--set", "training=0")
    (plan,) = sld(*asked, *given).document["plans"]
    assert plan["point"]["D"]["value"] == pytest.approx(1e21 / (6e9 + 1.4e10)) and len(plan["parts"]) == 2
    (kept,) = sld(*asked, *given, "--set", "answers=0").document["plans"]
    assert kept["point"]["D"]["value"] == pytest.approx(1e21 / 6e9)
    refused = sld(*asked, "--set", "training=0")
    assert refused.code == 2 and "DT costs nothing under distillation" in refused.err


def test_a_teacher_is_worth_size_data_and_compute_that_give_the_same_loss() -> None:
    run = {"N": 1e9, "D": 2e10, **TEACHER}
    loss = one("distillation_teacher", **run)
    size = sld.worth("distillation_teacher", run, "N", against=ALONE)
    data = sld.worth("distillation_teacher", run, "D", against=ALONE)
    assert one(ALONE, N=size.equal.value, D=2e10) == pytest.approx(loss, rel=1e-9)
    assert one(ALONE, N=1e9, D=data.equal.value) == pytest.approx(loss, rel=1e-9)
    own = sld.worth("distillation_teacher", run, "C", against=ALONE)
    paid = sld.worth("distillation_teacher", run, "C", against=ALONE, cost="distillation")
    needed = sld.allocate(ALONE, target_loss=loss).plans[0].budget.value
    assert own.equal.value == pytest.approx(needed, rel=1e-6) and paid.equal.value == pytest.approx(
        own.equal.value, rel=1e-12
    )
    assert own.factor is not None and own.factor.value == pytest.approx(needed / (6 * 1e9 * 2e10), rel=1e-6)
    spent = 6 * 1e9 * 2e10 + 2 * 7e9 * 2e10 + 6 * 7e9 * 1.4e12
    assert paid.factor is not None and paid.factor.value == pytest.approx(needed / spent, rel=1e-6)


def test_worth_in_compute_has_the_interval_of_joint_draws() -> None:
    """A run at its own best split is worth its own compute, and in no draw more: the interval is narrow, below 1."""
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    loss = (1.69 + 406.4 * N**-0.34 + 410.7 * D**-0.28) * (1 + 2e-3 * np.random.default_rng(0).standard_normal(25))
    law = sld.fit({"N": N, "D": D, "loss": loss}, "chinchilla", target="loss", scale=["N", "D"], starts=8)
    best = {s: e.value for s, e in sld.allocate(law, 1e20).plans[0].point.items()}
    factor = sld.worth(law, best, "C").factor
    assert factor is not None and factor.low is not None and factor.high is not None
    assert factor.value == pytest.approx(1.0, abs=1e-5) and 0.5 < factor.low <= 1.0
    assert factor.high == pytest.approx(1.0, abs=1e-2)  # no split is better than the best


def test_misuse_of_worth_in_compute_is_one_line(sld: Run) -> None:
    run = ("worth", "chinchilla", "--at", "N=1e9,D=2e10", "--into", "C")
    for words, said in (
        (("--with", "N=1"), "leave N of the reference out"),
        (("--with", "N=C"), "as large as its compute"),
        (("--cost", "distillation"), "parameters of the teacher"),
        (("--against", "parscale"), "needs a law of the reference in parameters and tokens"),
    ):
        with case(words):
            done = sld(*run, *words)
            assert done.code == 2 and said in done.err and done.err.count("\n") == 1 and not done.out
    done = sld(*run[:-1], "D", "--cost", "6ND")
    assert done.code == 2 and "into C" in done.err
    assert "split at its best" in sld(*run).out
