"""`sld.allocate` and `sld allocate`: what is asked is answered, with intervals, and what cannot be is refused."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from cli_runs import one_line
from commands import Run
from many_cases import case
from pace import pace

import sld
from sld.analysis.decisions.allocation import NoOptimum
from sld.core.errors import UsageError
from sld.laws.law import Law

TEX = "chinchilla@tex"  # Hoffmann et al. 2022 (arXiv 2203.15556), the digits of the TeX source
E, A, B, ALPHA, BETA = 1.6934, 406.4, 410.7, 0.3392, 0.2849


def best(compute: float) -> tuple[float, float]:
    """Return N and D of Hoffmann et al. 2022, equation 4."""
    g = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    n = g * (compute / 6) ** (BETA / (ALPHA + BETA))
    return n, compute / 6 / n


def loss(n: float, d: float) -> float:
    return float(E + A * n**-ALPHA + B * d**-BETA)


def test_a_budget_a_loss_a_size_and_a_ratio_lead_to_one_run() -> None:
    n, d = best(1e22)
    wanted = {"N": n, "D": d}
    asked = {
        "a budget": sld.allocate(TEX, 1e22),
        "a loss": sld.allocate(TEX, target_loss=loss(n, d)),
        "a size": sld.allocate(TEX, given={"N": n}),
        "a ratio": sld.allocate(TEX, given={"D/N": d / n}),
        "hours": sld.allocate(TEX, gpu_hours=1e22 / (989e12 * 0.5 * 3600), hardware={"gpu": "h100", "mfu": 0.5}),
    }
    for how, found in asked.items():
        with case(how):
            (plan,) = found.plans
            assert {s: plan.point[s].value for s in "ND"} == pytest.approx(wanted, rel=1e-5)
            assert plan.budget.value == pytest.approx(1e22, rel=1e-5) and plan.loss.value == pytest.approx(loss(n, d))
            assert plan.status == "interior" and plan.move < 1e-6 and plan.curvature > 0
            powers = found.growth["all"].exponents
            assert powers["N"].value == pytest.approx(BETA / (ALPHA + BETA), abs=1e-6)


def test_what_is_given_or_limited_says_what_it_costs() -> None:
    n, d = best(1e22)
    (plan,) = sld.allocate(TEX, 1e22, given={"N": 3 * n}).plans
    worse = loss(3 * n, d / 3) - loss(n, d)
    assert plan.worse == pytest.approx(worse, rel=1e-6) and plan.wasted is not None
    assert loss(*best(1e22 * (1 - plan.wasted))) == pytest.approx(loss(3 * n, d / 3), rel=1e-9)
    (plan,) = sld.allocate(TEX, 1e22, maximum={"D": d / 3}).plans
    assert plan.limited == ("D",) and plan.worse == pytest.approx(worse, rel=1e-6)
    assert plan.point["N"].value == pytest.approx(3 * n)
    (plan,) = sld.allocate(TEX, 1e22, maximum={"D": 3 * d}).plans
    assert plan.limited == () and plan.worse is None
    (plan,) = sld.allocate(TEX, 1e22, maximum={"weights-memory": 8 * n}).plans
    assert plan.limited == ("weights-memory",) and plan.point["N"].value == pytest.approx(n / 2)
    own = sld.allocate("1.7 + 400*params**-0.34 + 410*tokens**-0.28", 1e22)
    assert "tokens/params" in own.rows()[0] and own.sentences()[0].startswith("params within 0.1 %: any params between")
    (plan,) = sld.allocate(TEX, 1e22, given={"D/N": 20}).plans
    assert plan.point["N"].value == pytest.approx(math.sqrt(1e22 / 120))
    (plan,) = sld.allocate(TEX, 1e22, choices={"N": [n / 3, 0.9 * n, 4 * n, 1e30]}).plans
    assert plan.point["N"].value == pytest.approx(0.9 * n) and len(plan.options) == 3 and len(plan.refused) == 1


def test_any_size_between_the_ends_of_flat_costs_a_thousandth_at_most() -> None:
    (plan,) = sld.allocate(TEX, 1e22).plans
    assert plan.flat is not None
    for end in plan.flat[1:]:
        assert loss(end, 1e22 / 6 / end) == pytest.approx(1.001 * plan.loss.value, rel=1e-5)


def test_serving_much_makes_the_best_model_smaller_and_is_counted() -> None:
    alone = sld.allocate(TEX, 1e23).plans[0]
    served = sld.allocate(TEX, 1e23, demand=1e12).plans[0]
    n = served.point["N"].value
    assert n < alone.point["N"].value and served.serving == pytest.approx(2 * n * 1e12 / 1e23)
    dear = sld.allocate(TEX, 1e23, demand=1e12, prices={"inference": 3.0}).plans[0]
    assert dear.point["N"].value < n and dear.budget.value == pytest.approx(1e23)


def test_a_law_that_knows_repetition_is_asked_with_its_unique_tokens() -> None:
    # with 1e11 unique tokens repeats are worth less and less, so that money goes into size sooner
    c4 = "muennighoff_repeats@E=1.8691,A=521,alpha=0.3527,B=1488,beta=0.3527,r_D=15.39"
    few, many = (sld.allocate(c4, 1e22, given={"U": u}).plans[0] for u in (2e10, 1e12))
    assert few.point["D"].value < many.point["D"].value and few.loss.value > many.loss.value


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Law:
    """A law of five constants, fitted to 36 runs with errors of 0.3 %."""
    rng = np.random.default_rng(0)
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(5e8, 5e10, 6)))
    y = (E + A * n**-ALPHA + B * d**-BETA) * np.exp(0.003 * rng.standard_normal(len(n)))
    return sld.fit({"N": n, "D": d, "loss": y}, "E + A*N**-a + B*D**-b", target="loss", scale=["N", "D"], starts=8)


def test_intervals_hold_the_law_and_the_truth(noisy: Law) -> None:
    found = sld.allocate(noisy, [1e20, 1e21], draws=200)
    for plan in found.plans:
        n, d = best(plan.budget.value)
        for estimate, truth in ((plan.point["N"], n), (plan.point["D"], d), (plan.loss, loss(n, d))):
            assert estimate.low is not None and estimate.high is not None
            assert estimate.low < estimate.value < estimate.high and estimate.low < truth < estimate.high
    exponent = found.growth["all"].exponents["N"]
    assert exponent.low is not None and exponent.high is not None
    assert exponent.low < BETA / (ALPHA + BETA) < exponent.high
    assert found.growth["all"].supported is not None and found.plans[1].beyond == ("N", "D")
    assert sld.allocate(noisy, [1e20, 1e21], draws=200) == found  # the same seed gives the same
    cheapest = sld.allocate(noisy, target_loss=2.6, draws=100).plans[0].budget
    assert cheapest.low is not None and cheapest.high is not None and cheapest.low < cheapest.value < cheapest.high
    chosen = sld.allocate(noisy, 1e20, choices={"N": [4e8, 7e8]}, draws=100).plans[0]
    assert sum(share for *_, share in chosen.options) == pytest.approx(1.0)


def test_growth_is_told_from_budgets_that_lie_far_enough_apart(noisy: Law) -> None:
    one, near, wide = (
        sld.allocate(noisy, budgets, draws=200).growth["all"].exponents["N"]
        for budgets in (1e20, [0.9e20, 1e20 / 0.9], [1e19, 1e21])
    )
    for found in (one, near):
        assert (found.value, found.low, found.high) == pytest.approx((wide.value, wide.low, wide.high), rel=1e-6)
    # with two powers it lies between 0 and 1, whatever the constants
    assert wide.low is not None and wide.high is not None and 0 < wide.low < wide.high < 1


@pytest.mark.slow  # it measures time, which other work on the machine makes longer
def test_forty_budgets_of_a_law_take_less_than_two_seconds(noisy: Law) -> None:
    seconds = []
    for _ in range(2):
        start = time.process_time()
        sld.allocate(noisy, list(np.geomspace(1e18, 1e22, 40)))
        seconds.append(time.process_time() - start)
    assert (
        min(seconds) < 2.0 * pace()
    )  # measured at 1.1 s where pace() is 1, also for seven constants; the limit is a promise


def test_hyperparameters_are_at_their_best() -> None:
    tuned = "1.69 + 406.4*N**-0.34 + 410.7*D**-0.28 + 0.02*(log(lr) + 0.3*log(N) - 2)**2"
    (plan,) = sld.allocate(tuned, 1e21).plans
    n = plan.point["N"].value
    assert math.log(plan.point["lr"].value) == pytest.approx(2 - 0.3 * math.log(n), abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--budget", "0"), "a budget must be a number above 0, got 0"),
        (("--budget", "x"), "--budget wants numbers"),
        ((), "say what there is to spend"),
        (("--budget", "1e21", "--cost", "6*N"), "D costs nothing under 6*N"),
        (("--budget", "1e21", "--cost", "7"), "names no variable of the law"),
        (("--budget", "1e21", "--given", "M=3"), "no variable of the law and its cost 'M'"),
        (("--budget", "1e21", "--given", "N=1e9,D=1e9"), "nothing is left that the budget could buy"),
        (("--budget", "1e21", "--gpu-hours", "3"), "in one way, not as gpu_hours and budget"),
        (("--budget", "1e21", "--choices", "N"), "--choices wants NAME=NUMBER"),
        (("--budget", "1e21", "--plot", "x.jpg"), "a picture is a .png, .svg or .pdf file"),
        (("--budget", "1e21", "--price", "train=2"), "prices are for what is served"),
        (("--budget", "1e21", "--max", "D=-1"), "D must be a number above 0, got -1"),
    ],
)
def test_misuse_is_one_line(sld: Run, arguments: tuple[str, ...], said: str) -> None:
    one_line(sld("allocate", "chinchilla", *arguments), said)


def test_what_the_law_does_not_tell_is_one_line_too(sld: Run) -> None:
    one_line(sld("allocate", "chinchilla", "--target-loss", "1.2"), "loss = 1.2 is reached by no budget", code=1)
    one_line(sld("allocate", "chinchilla", "--budget", "1e3"), "the smallest that was looked at costs 6e10", code=1)
    one_line(sld("allocate", "1 + N**-0.3 + 0*D", "--budget", "1e20"), "no interior optimum", code=1)


@pytest.mark.slow
def test_the_command_shows_writes_and_draws(sld: Run, law_file: Path, runs: Path, tmp_path: Path) -> None:
    table, picture = tmp_path / "plans.csv", tmp_path / "plan.svg"
    shown = sld("allocate", law_file, "--budget", "1e19,1e18", "--draws", "30", "--out", table)
    assert shown.code == 0 and "N within 0.1 %" in shown.out and "supported up to a budget of" in shown.out
    rows = table.read_text().splitlines()
    assert len(rows) == 3 and rows[0].startswith("budget,N,N_low,N_high,D,")
    drawn = sld("allocate", law_file, "--budget", "1e18", "--draws", "30", "--plot", picture, "--runs", runs, "--json")
    assert drawn.document["plans"][0]["point"]["N"]["value"] > 0 and "NaN" not in drawn.out
    assert picture.read_text().startswith("<?xml")
    assert json.loads(drawn.out)["unit"] == "FLOP"


@pytest.mark.slow
def test_the_answer_speaks_in_python() -> None:
    found = sld.allocate("chinchilla", 1e21)
    assert list(found.to_frame().columns) == ["budget", "N", "D", "loss", "tokens_per_parameter", "supported"]
    assert "1.82e9" in repr(found) and "<table" in found._repr_html_() and "no intervals" in found.summary()
    with pytest.raises(UsageError, match=r"sld.allocate: no keyword 'maxi'.*'maximum'"):
        sld.allocate("chinchilla", 1e21, maxi={"D": 1e12})  # type: ignore[call-arg]
    with pytest.raises(NoOptimum):
        sld.allocate("chinchilla", target_loss=1.0)


def test_a_column_of_logarithms_leads_to_the_same_run() -> None:
    from sld.data.card import Target, Variable
    from sld.formula.expression import parse

    form = parse(f"{E} + {A}*exp(-{ALPHA}*2.302585092994046*log10_N) + {B}*D**-{BETA}", ["log10_N", "D"])
    variables = (Variable("log10_N", log="log10"), Variable("D"))
    law = Law({"loss": form}, {"loss": {"all": {}}}, variables, (Target("loss"),))
    found = sld.allocate(law, 1e22)
    assert 10 ** found.plans[0].point["log10_N"].value == pytest.approx(best(1e22)[0], rel=1e-6)
    assert found.growth["all"].exponents["N"].value == pytest.approx(BETA / (ALPHA + BETA), abs=1e-6)


def test_groups_have_best_runs_of_their_own() -> None:
    from sld.data.card import Target, Variable
    from sld.formula.expression import parse

    names = ("E", "A", "a", "B", "b")
    constants = {
        "web": (E, A, ALPHA, B, BETA),
        "code": (1.2, 300.0, 0.3, 600.0, 0.35),
        "odd": (1.2, 300.0, -0.3, 1.0, 0.3),
    }
    law = Law(
        {"loss": parse("E + A*N**-a + B*D**-b", ["N", "D"])},
        {"loss": {g: dict(zip(names, values, strict=True)) for g, values in constants.items()}},
        (Variable("N"), Variable("D")),
        (Target("loss"),),
        group_column="data",
    )
    found = sld.allocate(law, [1e21, 1e22])
    assert [p.group for p in found.plans] == ["code", "code", "web", "web"]
    assert found.plans[3].point["N"].value == pytest.approx(best(1e22)[0])
    assert any(
        "odd: no interior optimum" in note for note in found.notes
    )  # one group without a best run loses no other
    alone = sld.allocate(law, 1e22, group="web").plans[0]
    assert alone.point["D"].value == pytest.approx(found.plans[3].point["D"].value)
    with pytest.raises(NoOptimum, match="no interior optimum"):
        sld.allocate(law, 1e22, group="odd")


@pytest.mark.slow  # whole fits, thirty times
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = exponents = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(5e8, 5e10, 6)))
        y = (E + A * n**-ALPHA + B * d**-BETA) * np.exp(0.004 * rng.standard_normal(len(n)))
        form = "E + A*N**-a + B*D**-b"
        law = sld.fit({"N": n, "D": d, "loss": y}, form, target="loss", scale=["N", "D"], starts=4, seed=seed)
        found = sld.allocate(law, [1e21, 1e22], draws=300)
        for plan in found.plans:
            size = plan.point["N"]
            assert size.low is not None and size.high is not None
            held += size.low <= best(plan.budget.value)[0] <= size.high
        exponent = found.growth["all"].exponents["N"]
        assert exponent.low is not None and exponent.high is not None
        exponents += exponent.low <= BETA / (ALPHA + BETA) <= exponent.high
    # 56 of 60 and 30 of 30 when it was measured; by chance fewer than 48 of 60 happen once in a thousand times
    assert held >= 48 and exponents >= 24
