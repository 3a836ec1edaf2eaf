"""Questions that make no sense are refused in a sentence, and careless ones do not get a wrong number."""

import math
from dataclasses import replace

import numpy as np
import pytest
from cli_runs import one_line
from commands import Run
from many_cases import case

import sld as api
from sld.analysis.decisions.estimate import estimate
from sld.analysis.intervals import predict_intervals
from sld.core.errors import DataError, UsageError
from sld.laws.law import Law

TWO = "1.7 + 400*N**-0.34 + 900*D**-0.3"


@pytest.fixture(scope="module")
def score() -> Law:
    """A law of a score with a ceiling, which few of its draws name alike."""
    rng = np.random.default_rng(0)
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(2e8, 2e10, 6)))
    acc = 0.95 - 2 * n**-0.12 - 3 * d**-0.12 + 0.002 * rng.standard_normal(len(n))
    rows = {"N": n, "D": d, "acc": acc}
    form = "E - A*N**-a - B*D**-b"
    return api.fit(rows, form, target="acc", scale=["N", "D"], upper=1.0, higher_is_better=True, starts=8)


@pytest.fixture(scope="module")
def mixed() -> Law:
    """A law of two targets over a size that is a logarithm, and the shares of a mixture."""
    rng = np.random.default_rng(1)
    n, web = (x.ravel() for x in np.meshgrid(np.linspace(7, 9, 4), np.linspace(0.1, 0.9, 5)))
    loss = 1.7 + 400 * 10 ** (-0.34 * n) + 0.3 * web**2 + 0.2 * (1 - web) ** 2 + 0.002 * rng.standard_normal(len(n))
    rows = {"lgN": n, "web": web, "code": 1 - web, "loss": loss}
    form = "E + exp(A - a*lgN) + b*web**2 + c*code**2"
    return api.fit(rows, form, target="loss", scale="lgN", log="lgN", proportion=["web", "code"], starts=8)


REFUSED = {
    "a ratio to itself": ({"given": {"D/D": 1.0}}, "hangs on"),
    "ratios in a circle": ({"given": {"D/N": 20.0, "N/D": 3.0}}, "hangs on"),
    "a limit below 0": ({"maximum": {"memory": -1.0}}, "above 0"),
    "a limit that is no number": ({"maximum": {"memory": math.nan}}, "above 0"),
    "a setting misspelt": ({"cost": "attention", "settings": {"contexts": 1.0}}, "did you mean 'context'"),
    "a setting that nothing uses": ({"settings": {"context": 8192.0}}, "no setting"),
    "a variable as a setting": ({"settings": {"N": 1e9}}, "--given"),
    "a setting below 0": ({"cost": "attention", "settings": {"context": -5.0}}, "above 0"),
    "a setting that is no number": ({"cost": "attention", "settings": {"context": math.nan}}, "number"),
    "prices without end": ({"demand": 1e13, "prices": {"inference": math.inf}}, "prices above 0"),
    "no weight": ({"weights": {"loss": 0.0}}, "above 0"),
    "a weight that is no number": ({"weights": {"loss": math.nan}}, "weights"),
}


def test_allocations_that_make_no_sense_are_misuse() -> None:
    for name, (options, part) in REFUSED.items():
        with case(name), pytest.raises(UsageError, match=part):
            api.allocate(TWO, 1e22, **options)  # type: ignore[arg-type]
    for wanted in (math.nan, math.inf):
        with pytest.raises(UsageError, match="must be a number"):
            api.allocate(TWO, target_loss=wanted)


def test_a_seed_below_zero_is_misuse(sld: Run, score: Law) -> None:
    one_line(sld("allocate", TWO, "--budget", "1e22", "--seed", "-1"), "--seed", "0")
    with pytest.raises(UsageError, match="seed"):
        api.allocate(score, 1e20, seed=-1)


def test_shares_that_are_no_mixture_are_misuse(mixed: Law) -> None:
    run = {"lgN": 9.0, "web": 0.5, "code": 0.5}
    with pytest.raises(UsageError, match="sum to 1"):
        api.allocate(mixed, 9.0, given={"web": 0.9, "code": 0.9})
    with pytest.raises(UsageError, match=r"the run: .*sum to 1"):
        api.worth(mixed, run | {"web": 0.9}, "lgN")
    with pytest.raises(UsageError, match=r"the reference: .*sum to 1"):
        api.worth(mixed, run, "lgN", reference={"web": 0.2})


def test_an_equal_of_a_logarithm_says_how_much_of_the_quantity(mixed: Law) -> None:
    found = api.worth(mixed, {"lgN": 9.0, "web": 0.5, "code": 0.5}, "lgN", reference={"web": 0.2, "code": 0.8})
    assert found.factor is not None and found.equal.low is not None
    assert found.factor.value == pytest.approx(10 ** (found.equal.value - 9.0), rel=1e-9)
    assert found.factor.low == pytest.approx(10 ** (found.equal.low - 9.0), rel=1e-6)


def test_a_run_is_worth_itself_wherever_rounding_puts_it() -> None:
    for k, n in enumerate(np.geomspace(1e6, 1e12, 25)):
        law = f"{1.7 + 0.01 * k} + {400 + k}*N**-0.{33 + k} + 900*D**-0.3"
        found = api.worth(law, {"N": float(n), "D": 3.0 * float(n)}, "D")
        assert found.factor is not None and found.factor.value == pytest.approx(1.0, rel=1e-6)


def test_a_loss_is_worth_no_score(score: Law) -> None:
    with pytest.raises(UsageError, match=r"'loss'.*'acc'"):
        api.worth(TWO, {"N": 1e9, "D": 1e10}, "D", against=score)


def test_ends_of_draws_beyond_what_was_looked_at_are_looked_for(score: Law) -> None:
    (plan,) = api.allocate(score, target_loss=0.92, draws=100).plans
    # at this score draws differ by more than 100 times in what it costs: the lower end is a number and not 0
    assert plan.budget.low is not None and plan.budget.high is not None
    assert 0 < plan.budget.low < plan.budget.value / 100 < plan.budget.value < plan.budget.high


def test_infinite_draws_open_an_interval() -> None:
    draws = np.concatenate([np.linspace(0.5, 2.0, 90), np.full(10, math.inf)])
    found = estimate(1.0, draws)
    assert found.low is not None and 0.5 <= found.low < 0.7 and found.high == math.inf
    assert estimate(1.0, -draws[::-1]).low == -math.inf


def test_bounds_that_the_values_break_are_misuse() -> None:
    step = np.arange(1.0, 40.0)
    curve = {"step": step, "loss": 2 + 30 * step**-0.5}
    scores = {"C": np.geomspace(1e18, 1e21, 8), "acc": np.linspace(0.3, 0.7, 8)}
    for bounds in ({"lower": 8.0}, {"upper": 20.0}, {"upper": math.nan}):
        with case(bounds), pytest.raises(UsageError, match="lower and upper"):
            api.curve(curve, target="loss", step="step", until=1000, **bounds)  # type: ignore[arg-type]
    for bounds in ({"ceiling": 0.5}, {"floor": math.nan}, {"floor": 0.8, "ceiling": 0.75}, {"floor": math.inf}):
        with case(bounds), pytest.raises(UsageError, match="best"):
            api.downstream(scores, scale="C", metric="acc", at={"C": 1e23}, **bounds)  # type: ignore[arg-type]


def test_points_and_constants_that_are_no_numbers_are_misuse() -> None:
    n = np.geomspace(1e7, 1e9, 8)
    rows = {"N": n, "loss": 1.7 + 400 * n**-0.34 + 0.002 * np.cos(np.arange(8))}
    law = api.fit(rows, "E + A*N**-a", target="loss", scale="N", starts=8)
    for bad in (math.nan, 0.0, -1.0):
        with case(bad), pytest.raises(UsageError, match="no value at N"):
            api.diagnose(law, rows, at={"N": bad})
    with pytest.raises(UsageError, match="hold: E"):
        api.sensitivity(rows, "E + A*N**-a", target="loss", scale="N", hold={"E": [math.nan]})


def test_a_sweep_is_read_for_a_budget_beyond_all_numbers_that_make_sense() -> None:
    c, by = (x.ravel() for x in np.meshgrid(np.geomspace(1e18, 1e20, 5), np.geomspace(0.25, 4, 7)))
    n = np.sqrt(c / 120) * by
    d = c / 6 / n
    loss = (1.7 + 400 * n**-0.34 + 900 * d**-0.3) * (1 + 0.001 * np.cos(np.arange(35)))
    found = api.isoflop({"N": n, "D": d, "loss": loss}, target="loss", scale=["N", "D"], budget=1e300)
    assert "1e300" in found.summary() or "1e+300" in found.summary()


def test_a_kink_is_found_where_it_is_lowest() -> None:
    # max(A N^-a, B D^-b) is lowest where both are equal; with D = C/(6 N) that is A N^-a = B (C / (6 N))^-b
    found = api.allocate("1.7 + max(400*N**-0.34, 900*D**-0.3)", 1e22, cost="6*N*D + 2e12*N").plans[0]
    n = np.exp(np.linspace(np.log(1e8), np.log(3e9), 2_000_001))
    gap = 400 * n**-0.34 - 900 * ((1e22 - 2e12 * n) / (6 * n)) ** -0.3
    best = float(n[np.abs(gap).argmin()])
    assert found.point["N"].value == pytest.approx(best, rel=1e-5) and found.status == "kink"
    assert found.loss.value == pytest.approx(1.7 + 400 * best**-0.34, rel=1e-7)


def test_a_damaged_record_of_intervals_is_one_clear_error(score: Law) -> None:
    damage: dict[str, object] = {
        "free": {"all": None}, "noise": 3, "range": [], "rivals": None, "widening": math.inf, "constants": {"all": [1]},
        "rows": {"all": -1.0}, "spans": {"all": {}},
    }  # fmt: skip
    assert score.intervals is not None
    points = {"N": np.array([1e9]), "D": np.array([1e10])}
    for part, value in damage.items():
        about = {**score.intervals["targets"]["acc"], part: value}
        law = replace(score, intervals={**score.intervals, "targets": {"acc": about}})
        with case(part), pytest.raises(DataError, match="the law's intervals"):
            predict_intervals(law, points)
    with pytest.raises(DataError, match="level"):
        predict_intervals(replace(score, intervals={**score.intervals, "level": "x"}), points)


def test_a_damaged_record_of_rows_is_as_none_at_all(score: Law) -> None:
    record = {"ranges": {"N": [1e7, None], "D": "x"}, "digits": {"acc": None}, "verdict": {"reach_by_group": 3}}
    law = replace(score, provenance={**score.provenance, **record})
    (plan,) = api.allocate(law, 1e20, draws=0).plans
    (whole,) = api.allocate(score, 1e20, draws=0).plans
    assert plan.point["N"].value == pytest.approx(whole.point["N"].value, rel=1e-6) and not plan.beyond


def test_numbers_at_the_end_of_what_a_computer_has_do_not_warn() -> None:
    n = np.geomspace(1e299, 1e301, 8)
    rows = {"N": n, "loss": 1.7 + 400 * (n / 1e292) ** -0.34 + 0.001 * np.cos(np.arange(8))}
    law = api.fit(rows, "E + A*N**-a", target="loss", scale="N", starts=8)  # warnings are errors here
    assert law.predict({"N": [1e300]})[0, 0] == pytest.approx(1.7 + 400 * 1e8**-0.34, rel=0.01)


def test_budgets_may_be_numpy_arrays_and_draws_whole_numbers(score: Law) -> None:
    found = api.allocate(TWO, np.array([1e22, 1e21]))  # type: ignore[arg-type]
    assert [p.budget.value for p in found.plans] == pytest.approx([1e21, 1e22])
    with pytest.raises(UsageError, match="budget must be a number or a list of numbers"):
        api.allocate(TWO, "much")  # type: ignore[arg-type]
    for wrong in ({"n": -1}, {"n": 1.5}, {"seed": -1}, {"n": 10**9}):
        with case(wrong), pytest.raises(UsageError, match=r"draws|seed"):
            score.draws({"N": [1e9], "D": [1e10]}, **wrong)


def test_laws_of_a_size_alone_are_compared_at_sizes_that_there_are() -> None:
    found = api.compare("1.7 + 400*N**-0.34", "1.8 + 300*N**-0.34").only
    assert found.places[0].x == pytest.approx(1e7, rel=0.01) and found.places[-1].x == pytest.approx(1e12, rel=0.01)
    assert [c.at.value for c in found.crossings] == pytest.approx([1000 ** (1 / 0.34)], rel=1e-3)


def test_choices_may_be_given_in_several_options(sld: Run) -> None:
    asked = sld("allocate", TWO, "--budget", "1e22", "--choices", "N=1e9,3e9", "--choices", "N=7e9", "--json")
    assert [option[0]["N"] for option in asked.document["plans"][0]["options"]] == [1e9, 3e9, 7e9]


def test_texts_that_no_file_can_be_called_and_scales_that_are_no_number_are_misuse(sld: Run) -> None:
    one_line(sld("allocate", "x" * 5000, "--budget", "1e22"), "could not read xxx")
    with pytest.raises(UsageError, match="must be a number"):
        api.optimum("2 + 400*N**-0.3 + 0.02*(log(lr) + 0.3*log(N) - 2)**2", of="lr", at={"N": math.nan})
