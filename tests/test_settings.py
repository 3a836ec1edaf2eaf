"""`optimum` and `worth`: best settings and mixtures with intervals, what things are worth, and what is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from cli_runs import one_line
from commands import Run

import sld
from sld.analysis.decisions.allocation import NoOptimum
from sld.core.errors import UsageError
from sld.laws.law import Law

RULE = "2 + 1e3*N**-0.3 + 30*D**-0.2 + 0.05*(log(lr) + 0.25*log(N) - 0.1*log(D) - 1)**2"


def test_best_settings_follow_the_power_law_that_was_put_in() -> None:
    found = sld.optimum(RULE, at={"N": [1e8, 1e9, 1e10], "D": [1e9, 1e11]})
    power = found.powers["lr"]
    assert {s: e.value for s, e in power.exponents.items()} == pytest.approx({"N": -0.25, "D": 0.1}, abs=1e-6)
    assert power.factor.value == pytest.approx(math.e, rel=1e-5) and power.miss == pytest.approx(1.0, abs=1e-6)
    for point in found.points:
        assert point.best["lr"].value == pytest.approx(power.at(point.scale), rel=1e-5)
        half, twice = point.off["lr"]
        assert half.value == pytest.approx(0.05 * math.log(2) ** 2) and twice.value == pytest.approx(half.value)


@pytest.fixture(scope="module")
def tuned() -> Law:
    """A law with a best learning rate, fitted to 60 runs with errors of 0.2 %."""
    rng = np.random.default_rng(0)
    n, lr = np.exp(rng.uniform(np.log(1e7), np.log(1e9), 60)), np.exp(rng.uniform(np.log(1e-4), np.log(1e-1), 60))
    y = (1.7 + 400 * n**-0.34 + 0.02 * (np.log(lr) + 0.3 * np.log(n)) ** 2) * np.exp(0.002 * rng.standard_normal(60))
    form = "E + A*N**-a + c*(log(lr) + k*log(N) - m)**2"
    return sld.fit({"N": n, "lr": lr, "loss": y}, form, target="loss", scale="N", hyper="lr", starts=8)


def test_intervals_of_best_settings_hold_the_truth(tuned: Law) -> None:
    found = sld.optimum(tuned, draws=80)
    assert len(found.points) == 3 and len(found.grid) == 4 and found.draws == 80
    for point in found.points:
        best = point.best["lr"]
        assert best.low is not None and best.high is not None
        assert best.low < best.value < best.high
        # of three intervals of 90 % one may miss the truth: by half its width at most here
        slack = 0.5 * (best.high - best.low)
        assert best.low - slack < point.scale["N"] ** -0.3 < best.high + slack
    exponent = found.powers["lr"].exponents["N"]
    assert exponent.low is not None and exponent.high is not None and exponent.low < -0.3 < exponent.high
    assert "half the best lr adds" in found.summary() and list(found.to_frame())[:2] == ["N", "lr"]
    far = sld.optimum(tuned, at={"N": 1e11}, draws=50)
    assert far.points[0].beyond == ("N",) and any("beyond the grid, that power law gives" in s for s in far.sentences())


MIXTURE = "2 + N**-0.3 + 0.6*exp(-2*p - q) + 0.3*exp(-3*r)"
CODE = "1 + N**-0.3 + 0.5*exp(-p - 3*q) + 0.2*exp(-2*r)"


def mixture_law() -> Law:
    from sld.data.card import Target, Variable
    from sld.formula.expression import parse

    names = ["N", "p", "q", "r"]
    variables = (Variable("N"), *(Variable(s, role="proportion") for s in names[1:]))
    texts = {"web": MIXTURE, "code": CODE}
    constants: dict[str, dict[str, dict[str, float]]] = {t: {"all": {}} for t in texts}
    return Law({t: parse(f, names) for t, f in texts.items()}, constants, variables, (Target("web"), Target("code")))


@pytest.mark.parametrize("weights", [{"web": 1.0}, {"code": 1.0}, {"web": 0.5, "code": 0.5}, {"web": 0.2, "code": 2.0}])
def test_the_best_mixture_is_that_of_brute_force(weights: dict[str, float]) -> None:
    law = mixture_law()
    shares = np.linspace(0, 1, 401)
    p, q = (x.ravel() for x in np.meshgrid(shares, shares))
    inside = p + q <= 1 + 1e-12
    r = np.abs(1 - p - q)  # rounding may leave less than nothing
    points = {"N": np.full(inside.sum(), 1e9), "p": p[inside], "q": q[inside], "r": r[inside]}
    total = law.predict(points) @ np.array([weights.get("web", 0.0), weights.get("code", 0.0)])
    k = int(total.argmin())
    found = sld.optimum(law, at={"N": 1e9}, weights=weights).points[0]
    assert [found.best[s].value for s in "pqr"] == pytest.approx([points[s][k] for s in "pqr"], abs=2.6e-3)
    assert found.value.value <= total[k] + 1e-12 and sum(e.value for e in found.best.values()) == pytest.approx(1.0)
    assert (found.status == "edge of the mixture") == (min(points[s][k] for s in "pqr") < 1e-9)


def test_an_additive_mixture_does_not_move_with_scale_and_a_joint_one_does() -> None:
    # arXiv 2507.09404: the optimum of the additive law depends on the target alone
    additive = mixture_law()
    moved = [sld.optimum(additive, at={"N": n}, target="web").points[0].best["p"].value for n in (1e8, 1e11)]
    assert moved[0] == pytest.approx(moved[1], abs=1e-6)
    from dataclasses import replace

    from sld.formula.expression import parse

    joint = parse("2 + 0.6*exp(-2*p - q)*N**-0.05 + 0.3*exp(-3*r)", ["N", "p", "q", "r"])
    law = replace(additive, expressions={**additive.expressions, "web": joint})
    drifted = [sld.optimum(law, at={"N": n}, target="web").points[0].best["r"].value for n in (1e8, 1e11)]
    assert drifted[1] > drifted[0] + 0.05


def test_a_run_is_worth_what_gives_the_same(fitted_law: Law) -> None:
    run = {"N": 1e8, "D": 1e10}
    found = sld.worth(fitted_law, run, "D", reference={"N": 5e7}, draws=200)
    d = found.equal.value
    values = sld.predict(fitted_law, {"N": [1e8, 5e7], "D": [1e10, d]})["loss"]
    assert values[0] == pytest.approx(values[1], abs=1e-9) and found.factor is not None
    assert found.factor.value == pytest.approx(d / 1e10) and found.draws == 200
    assert found.equal.low is not None and found.equal.high is not None
    assert found.equal.low <= d <= found.equal.high and "is worth D" in str(found)
    assert found.to_frame()["worth"].tolist() == ["D"]
    same = sld.worth(fitted_law, run, "D", draws=0)
    assert same.equal.value == pytest.approx(1e10) and same.draws == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sld.optimum("chinchilla"), "no hyperparameter and no share to choose"),
        (lambda: sld.optimum(RULE, "lr", {"N": 1e9, "Q": 1}), "no variable of the law 'Q'"),
        (lambda: sld.optimum(RULE, "lr", {"lr": 1e9}), "both chosen .* and given"),
        (lambda: sld.optimum(RULE, "lr", {"N": 1e9}), "say at which D"),
        (lambda: sld.optimum(mixture_law(), at={"N": 1e9}), "name one, or weights"),
        (lambda: sld.optimum(mixture_law(), at={"N": 1e9, "p": 0.7, "q": 0.6}, target="web"), "shares .* sum to 1.3"),
        (lambda: sld.worth("parscale", {"N": 1e9}, "N"), "the run needs a value for P"),
        (lambda: sld.worth("parscale", {"N": 1e9, "P": 4}, "Q"), "no variable 'Q'"),
        (lambda: sld.worth("parscale", {"N": 1e9, "P": 4}, "N", reference={"P": "D"}), "a number or N, got 'D'"),
    ],
)
def test_what_does_not_fit_the_law_is_misuse(call: object, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        call()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_what_the_law_does_not_tell_is_refused() -> None:
    with pytest.raises(NoOptimum, match="no interior optimum at N = 1e9: loss still falls towards lr"):
        sld.optimum("2 + N**-0.3 + lr**-0.1", at={"N": 1e9})
    with pytest.raises(NoOptimum, match=r"no N gives loss = 2.69\d* at D = 1e7"):
        sld.worth("chinchilla", {"N": 1e9, "D": 1e10}, "N", reference={"D": 1e7})


@pytest.mark.slow  # the PDF writer looks for fonts
def test_pictures_are_pdf_files_too(sld: Run, tmp_path: Path) -> None:
    where = ("--at", "N=1e8,D=1e10", "--at", "N=1e9")
    assert sld("optimum", RULE, *where, "--plot", tmp_path / "x.pdf").code == 0
    assert sld("allocate", "chinchilla", "--budget", "1e21", "--plot", tmp_path / "y.pdf").code == 0
    for name in "xy":
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_the_commands_answer(sld: Run) -> None:
    shown = sld("optimum", RULE, "--of", "lr", "--at", "N=1e8,D=1e10", "--at", "N=1e9")
    assert shown.code == 0 and "best lr" in shown.out and "N**-0.25" in shown.out
    told = sld("optimum", RULE, "--at", "N=1e8,D=1e10", "--at", "N=1e9", "--json")
    assert json.loads(told.out)["points"][0]["best"]["lr"]["value"] > 0
    shown = sld("worth", "muennighoff_repeats", "--at", "N=5e9,D=4e11,U=1e11", "--into", "D", "--with", "U=D")
    assert "is worth D = 3.73e11" in shown.out
    one_line(sld("worth", "parscale", "--at", "N=1e9,P=4", "--into", "N", "--with", "P=x"), "--with wants NAME=NUMBER")
    run = ("worth", "chinchilla", "--at", "N=1B,D=20B", "--into", "D", "--with")
    assert sld(*run, "N=500M").out == sld(*run, "N=5e8").out != ""
    one_line(
        sld("worth", "muennighoff_repeats", "--at", "N=5e9,D=4e11,U=1e11", "--into", "C", "--with", "U=D"),
        "NUMBER, got",
    )
    one_line(sld("optimum", "chinchilla", "--plot", "x.gif"), "a picture is a .png")
