"""From loss to score: two stages with errors carried through, the direct law beside it, tasks that do not scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import Run

import sld
from sld.analysis.curves.downstream import DIRECT, NONE, TWO_STAGES, TaskRows, alarm, fit_chain, judge
from sld.analysis.curves.links import Bounds, fit_link
from sld.analysis.curves.scales import fit_scales
from sld.core.arrays import Array
from sld.core.errors import UsageError

# C4 in arXiv:2403.08540: error = 0.85 - 2.08 exp(-0.756 L), and its loss E + (a M^eta + b M^-eta) C^-eta at M = 20
GADRE_ERROR = (0.85, 2.08, 0.756)


def gadre_loss(C: Array) -> Array:
    return np.asarray(1.51 + (141 * 20**0.121 + 190 * 20**-0.121) * C**-0.121)


def models(seed: int = 0, noise: float = 0.003) -> dict[str, Array]:
    """Return models of the published two stages, at seven sizes with three seeds, and a task at chance."""
    rng = np.random.default_rng(seed)
    C = np.repeat(np.geomspace(1e17, 1e20, 7), 3)
    loss = gadre_loss(C) * np.exp(noise * rng.standard_normal(len(C)))
    e, k, g = GADRE_ERROR
    return {
        "C": C,
        "loss": loss,
        "err": e - k * np.exp(-g * loss) + 0.005 * rng.standard_normal(len(C)),
        "coin": 0.5 + 0.02 * rng.standard_normal(len(C)),
    }


def test_published_two_stages_are_foretold_a_hundredfold_further() -> None:
    found = sld.downstream(models(), scale="C", metric=["err", "coin"], through="loss", better="lower", at={"C": 1e22})
    e, k, g = GADRE_ERROR
    score = found["err"].scores[0]
    truth = e - k * np.exp(-g * gadre_loss(np.array([1e22])))[0]
    assert score.low < truth < score.high and score.value == pytest.approx(truth, abs=0.03)
    stages = fit_chain(TaskRows("err", models()["C"][:, None], models()["loss"], -models()["err"]), TWO_STAGES)
    assert stages.scales is not None
    at = np.array([[1e22]])
    assert stages.scales.at(at)[0] == pytest.approx(gadre_loss(at[:, 0])[0], rel=0.02)
    assert -stages.at(at)[0] == pytest.approx(truth, abs=0.03)
    assert found.not_scaling == ("coin",) and found["coin"].scores[0].value == pytest.approx(0.5, abs=0.02)
    assert score.low <= score.law_low <= score.law_high <= score.high


def test_scores_stay_within_what_is_possible() -> None:
    C = np.geomspace(1e18, 1e21, 10)
    acc = 0.3 + 0.2 * np.log10(C / 1e18)  # a line that would pass 1 at 3e21
    found = sld.downstream({"C": C, "acc": acc}, scale="C", metric="acc", at=[{"C": 1e20}, {"C": 1e26}])
    for score in found["acc"].scores:
        assert 0 <= score.low <= score.value <= score.high <= 1


def test_errors_of_the_first_stage_reach_the_score() -> None:
    rows = models(noise=0.05)
    calm = {**rows, "loss": gadre_loss(rows["C"])}
    widths = []
    for r in (calm, rows):
        C, loss, score = r["C"][:, None], r["loss"], -r["err"]
        chain = fit_chain(TaskRows("err", C, loss, score), TWO_STAGES)
        widths.append(np.std(chain.draws(np.array([[1e22]]), 500, np.random.default_rng(0))))
    assert widths[0] < 0.9 * widths[1]


@pytest.mark.slow
def test_intervals_hold_the_scores_of_simulated_chains() -> None:
    """The bar is 85 to 95 % for an interval of 90 %."""
    rng = np.random.default_rng(5)
    inside = []
    for _ in range(80):
        N, D = (x.ravel() for x in np.meshgrid(np.geomspace(2e7, 2e9, 6), np.array([5.0, 20, 80])))
        X, at = np.stack([N, N * D], axis=1), np.array([[7e9, 1.4e11]])
        E, a, b = rng.uniform(1.6, 2.2), rng.uniform(0.25, 0.4), rng.uniform(0.25, 0.4)
        A, B = rng.uniform(0.5, 1.5) * 1e8**a, rng.uniform(0.5, 1.5) * 2e9**b
        loss, true = (E + A * x[:, 0] ** -a + B * x[:, 1] ** -b for x in (X, at))
        seen = loss * np.exp(0.005 * rng.standard_normal(len(loss)))
        height, slope = rng.uniform(0.5, 0.75), rng.uniform(2, 6)
        place = rng.uniform(seen.min() - 0.2, np.median(seen))
        score, truth = (0.25 + height / (1 + np.exp(slope * (x - place))) for x in (seen, true))
        rows = TaskRows("t", X, seen, score + 0.01 * rng.standard_normal(len(score)), bounds=Bounds(None, 1.0, 0.0))
        low, high = np.quantile(fit_chain(rows, TWO_STAGES).draws(at, 800, rng)[:, 0], [0.05, 0.95])
        inside.append(low <= truth[0] <= high)
    assert 0.82 <= np.mean(inside) <= 0.98


def test_an_alarm_goes_off_where_the_score_leaves_the_loss_and_not_otherwise() -> None:
    """Translation scores that fall or fluctuate while cross-entropy improves (arXiv:2402.04177)."""
    rng = np.random.default_rng(0)
    N = np.geomspace(1e7, 1e10, 24)
    loss = 1.5 + 30 * N**-0.2
    aligned = 60 - 15 * loss + 0.3 * rng.standard_normal(24)
    broken = np.where(np.arange(24) < 12, aligned, aligned[11] - 0.8 * (np.arange(24) - 11))
    erratic = np.where(np.arange(24) < 12, aligned, aligned[11] + 4 * rng.standard_normal(24))
    said = [alarm(TaskRows("bleu", N[:, None], loss, s)) for s in (aligned, broken, erratic)]
    assert said[0] == "" and "falls while the loss improves" in said[1] and said[2]
    near_top = 1 - 0.01 * np.abs(rng.standard_normal(24))
    assert alarm(TaskRows("easy", N[:, None], loss, near_top, bounds=Bounds(0.25, 1.0))) == ""


def test_folds_take_compute_where_the_loss_misleads() -> None:
    rng = np.random.default_rng(1)
    C = np.geomspace(1e17, 1e21, 20)
    acc = 0.2 + 0.7 / (1 + np.exp(-1.2 * (np.log10(C) - 19))) + 0.003 * rng.standard_normal(20)
    loss = 2 + 40 * C**-0.08 * np.exp(0.2 * rng.standard_normal(20))  # another tokenizer each time
    rows = TaskRows("t", C[:, None], loss, acc, bounds=Bounds(None, 1.0, 0.0))
    judged = judge(rows)
    assert judged.chosen == DIRECT and judged.errors[DIRECT] < judged.errors[TWO_STAGES]
    shuffled = TaskRows("t", C[:, None], loss, rng.permutation(acc), bounds=Bounds(None, 1.0, 0.0))
    assert judge(shuffled).chosen == NONE


def test_the_chain_from_log_likelihood_to_accuracy_loses_what_follows_compute() -> None:
    """Each transformation of multiple-choice scores weakens the relation (arXiv:2406.04391)."""
    rng = np.random.default_rng(3)
    C = np.geomspace(1e18, 1e22, 30)
    right = -2.5 + 0.35 * np.log10(C / 1e18) + 0.05 * rng.standard_normal(30)
    wrong = -2.6 + 0.33 * np.log10(C / 1e18)[:, None] + 0.35 * rng.standard_normal((30, 3))
    prob = np.exp(right) / (np.exp(right) + np.exp(wrong).sum(1))
    acc = (right[:, None] > wrong).all(1) * 1.0
    rows = {"C": C, "loglik": right, "prob": prob, "acc": 0.8 * acc + 0.2 * rng.random(30)}
    found = sld.downstream(rows, scale="C", metric="acc", at={"C": 1e23}, chain=["loglik", "prob", "acc"])
    follows = found["acc"].follows
    assert follows["loglik"] > 0.9 and follows["loglik"] > follows["prob"] > follows["acc"]


def test_constants_of_the_loss_are_recovered_without_noise() -> None:
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    X = np.stack([N, D], axis=1)
    law = fit_scales(X, 1.8172 + 482.01 * N**-0.3478 + 2085.43 * D**-0.3658)  # arXiv:2404.10102
    best = int(np.argmax(law.grid.weight))
    assert law.grid.points[best] == pytest.approx([0.3478, 0.3658], abs=2e-3)
    assert law.constants[best, 0] == pytest.approx(1.8172, abs=2e-3)
    at = np.array([[7e10, 1.4e12]])
    assert law.at(at)[0] == pytest.approx(1.8172 + 482.01 * 7e10**-0.3478 + 2085.43 * 1.4e12**-0.3658, rel=1e-4)


def test_a_loss_on_other_data_follows_from_a_handful_of_paired_runs() -> None:
    """The shifted power of arXiv:2411.12925, asked for at twenty times the compute: 1 % is asked."""
    C = np.geomspace(1e17, 1e20, 16)
    loss = 1.7 + 55 * C**-0.1
    other = 1.1 + 0.9 * (loss - 1.5) ** 1.15
    paired = np.where(np.arange(16) % 3 == 0, other, np.nan)  # six of the runs were measured on the other data
    rows = {"C": C, "loss": loss, "other": paired}
    found = sld.downstream(rows, scale="C", metric="other", through="loss", better="lower", at={"C": 2e21})["other"]
    truth = 1.1 + 0.9 * (1.7 + 55 * 2e21**-0.1 - 1.5) ** 1.15
    assert found.n_rows == 6 and found.kind == TWO_STAGES
    assert found.scores[0].value == pytest.approx(truth, rel=0.01)
    assert found.scores[0].low < truth < found.scores[0].high


def test_too_little_is_refused() -> None:
    with pytest.raises(UsageError, match="4 rows"):
        fit_link(np.arange(3.0), np.arange(3.0))
    with pytest.raises(UsageError, match="one or two scales"):
        fit_scales(np.ones((9, 3)), np.ones(9))


def test_the_command_shows_tasks_and_counts(sld: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["N,loss,acc,coin,passed,tried"]
    for n in np.geomspace(1e7, 1e9, 9):
        loss = 1.8 + 60 * n**-0.2
        acc = 0.25 + 0.6 / (1 + np.exp(4 * (loss - 2.6)))
        passed = rng.binomial(5000, np.exp(-8 * (n / 1e7) ** -0.2))
        lines.append(f"{n},{loss},{acc},{0.5 + 0.01 * rng.standard_normal()},{passed},5000")
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = ("downstream", "m.csv", "--scale", "N", "--at", "N=10B")
    words = ("--through", "loss", "--metric", "acc,coin", "--floor", "0.25")
    done = sld(*asked, *words, "--plot", "m.png", "--out", "m2.csv")
    assert done.code == 0, done.err
    assert "through the loss" in done.out and "do not scale: coin" in done.out
    assert (tmp_path / "m2.csv").read_text(encoding="utf-8").count("\n") == 3
    counted = sld(*asked, "--metric", "passed", "--trials", "tried", "--json").document["tasks"][0]["scores"][0]
    assert counted["low"] < np.exp(-8 * 1000**-0.2) < counted["high"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--at", "D=3"), "a value of 'N' is missing"),
        (("--at", "N=much"), "--at wants NAME=NUMBER"),
        (("--at", "N=-1"), "scales must be above 0"),
        (("--at", "N=1,D=3"), "'D' is no scale"),
        (("--at", "N=1", "--better", "up"), "better must be higher or lower"),
        (("--at", "N=1", "--trials", "acc"), "counts must be whole"),
        (("--at", "N=1", "--through", "nothing"), "no column 'nothing'"),
        (("--at", "N=1", "--floor", "25"), "floor is chance, and acc lies between 0 and 1 as shares do, got 25"),
        (("--at", "N=1", "--out", "no/such.csv"), "no folder no; create it first"),
        (("--at", "N=1", "--plot", "no/such.png"), "no folder no; create it first"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(
    sld: Run, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    (tmp_path / "m.csv").write_text("N,acc\n" + "".join(f"{10**k},0.{k}\n" for k in range(1, 8)), encoding="utf-8")
    done = sld("downstream", "m.csv", "--scale", "N", "--metric", "acc", *words)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1 and done.out == ""
