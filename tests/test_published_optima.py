"""Numbers of decisions that papers print or that follow from their constants, from the verbs that users call.

Each row states its source. H are Hoffmann's rounded constants (arXiv 2203.15556, equation 10), HX those of the TeX
source, EP the refit by Epoch (arXiv 2404.10102).
"""

import math

import numpy as np
import pytest
from many_cases import case

import sld
from sld.laws.catalogue import get_law

H, HX, EP = "chinchilla", "chinchilla@tex", "chinchilla_replication"


def value(law: str, **point: float) -> float:
    """Return what a law says at one point."""
    (column,) = sld.predict(law, {s: [x] for s, x in point.items()})
    return float(sld.predict(law, {s: [x] for s, x in point.items()})[column][0])


def best(law: str, budget: float, **options: object) -> dict[str, float]:
    """Return the best run, its tokens per parameter and loss, without intervals."""
    (plan,) = sld.allocate(law, budget, **options).plans  # type: ignore[arg-type]
    point = {s: e.value for s, e in plan.point.items()}
    return point | {"ratio": plan.ratio.value if plan.ratio else math.nan, "loss": plan.loss.value}


def test_best_runs_of_published_constants() -> None:
    # 1.1 and 1.9 are printed in the Open Athena article on arXiv 2603.22339; the others follow from the constants
    asymmetric = "chinchilla@alpha=0.465,beta=0.155"
    symmetric = "chinchilla@alpha=0.31,beta=0.31,A=400,B=400"
    rows = [
        ("1.1", H, 1e24, {"D": 4.04e12}, 5e-3),
        ("1.2", H, 1e24, {"N": 4.130e10, "D": 4.036e12, "loss": 1.9112}, 1e-3),
        ("1.3", H, 1e21, {"N": 1.824e9, "D": 9.136e10, "ratio": 50.1, "loss": 2.3289}, 1e-3),
        ("1.4", HX, 5.76e23, {"N": 4.031e10, "D": 2.382e12, "ratio": 59.1}, 1e-3),
        ("1.5", EP, 5.76e23, {"N": 7.225e10, "D": 1.329e12, "ratio": 18.4}, 1e-3),
        ("1.8", symmetric, 1e24, {"D": 4.082e11}, 1e-3),
        ("1.9", asymmetric, 1e24, {"D": 4.51e16}, 1e-3),
    ]
    for row, law, budget, wanted, tolerance in rows:
        with case(row):
            found = best(law, budget)
            assert {k: found[k] for k in wanted} == pytest.approx(wanted, rel=tolerance)


def test_growth_of_the_best_size_with_compute() -> None:
    # 1.6: Epoch's refit; 1.7: the three families of OLMo Hybrid, figure 8
    rows = [(EP, 0.5126, 1e-3)]
    olmo = ((0.252, 0.213, 0.458), (0.226, 0.219, 0.492), (0.183, 0.227, 0.554))
    rows += [(f"chinchilla@alpha={a},beta={b}", want, 2e-3) for a, b, want in olmo]
    for law, wanted, tolerance in rows:
        with case(law):
            exponent = sld.allocate(law, 1e21).growth["all"].exponents["N"].value
            assert exponent == pytest.approx(wanted, rel=tolerance)


def test_allocations_that_are_printed_as_powers_of_compute() -> None:
    # 1.10, 1.11: xLSTM (arXiv 2510.02228), output of the released notebook
    transformer = value("chinchilla_alloc@xLSTM: Transformer", C=1e22)
    assert transformer == pytest.approx(1.014e10, rel=5e-3)
    assert value("58.460259*C**0.424271", C=1e22) == pytest.approx(1.261e11, rel=5e-3)
    mlstm = value("chinchilla_alloc@xLSTM: mLSTM", C=1e22)
    assert mlstm == pytest.approx(1.319e10, rel=5e-3) and mlstm > transformer
    # 1.12: DeepSeek LLM (arXiv 2401.02954), the 67B model's budget
    model, data = value("deepseek_model", C=4.5e23), value("deepseek_data", C=4.5e23)
    assert [model, data] == pytest.approx([4.3e11, 1.04e12], rel=1e-2)
    assert model * data == pytest.approx(4.5e23, rel=1e-2)
    # 1.14: Kaplan et al. 2020 by Hoffmann et al. 2022: ten times the compute, about 5.5 times N and 1.8 times D
    grown = value("kaplan_alloc", C=10.0) / value("kaplan_alloc", C=1.0)
    assert grown == pytest.approx(5.37, rel=4e-2) and 10 / grown == pytest.approx(1.86, rel=4e-2)
    # 8.8: Wan et al. 2026 (arXiv 2603.21862): tokens times operations per token are the compute, in both units
    pair = ("moe_holistic_alloc", "moe_holistic_alloc@operations")
    assert [math.prod(value(law, C=c) for law in pair) / c for c in (1.0, 1e4)] == pytest.approx([1, 1], rel=1e-3)


def test_the_coupling_of_skaling_does_not_move_the_optimum() -> None:
    # 1.15: Videau et al. 2026 (arXiv 2608.07222)
    found = [best(f"skaling@A=5.6e6,alpha=0.75,B=8e6,beta=0.7,E=0.5,k={k}", 1e22) for k in (0.31, 0.45, 1.0)]
    assert [f["N"] for f in found] == pytest.approx([found[0]["N"]] * 3, rel=1e-7)


def test_serving_moves_the_best_size() -> None:
    # 2401.00448: what an optimal 7B model reaches, with 1e11 tokens served: 6.06e9 parameters on 1.164 times the data
    alone = sld.allocate(HX, given={"N": 7e9}).plans[0]
    served = sld.allocate(HX, target_loss=alone.loss.value, demand=1e11).plans[0]
    assert served.point["N"].value == pytest.approx(6.06e9, rel=5e-3)
    assert served.point["D"].value / alone.point["D"].value == pytest.approx(1.164, rel=2e-3)
    # equation 2 and below: the elasticities of the loss are as 1 + D_inf/(3 D_tr)
    c = get_law("chinchilla").published[1].values
    n, d = served.point["N"].value, served.point["D"].value
    elasticity = (c["alpha"] * c["A"] * n ** -c["alpha"]) / (c["beta"] * c["B"] * d ** -c["beta"])
    assert elasticity == pytest.approx(1 + 1e11 / (3 * d), abs=1e-6)


@pytest.mark.parametrize(
    ("law", "saved", "share", "tolerance"),
    [(HX, 1.63e22, 0.163, 1e-2), (HX, 1.7e22, 0.17, 6e-2), (H, 1.18e22, 0.091, 1e-2)],
)
def test_what_a_smaller_model_saves_over_its_life(law: str, saved: float, share: float, tolerance: float) -> None:
    # 5.1 to 5.3: a 13B model at its optimum against a 7B one of equal loss, 2e12 tokens served; 1.7e22 is printed
    big = sld.allocate(law, given={"N": 13e9}).plans[0]
    price = big.budget.value + 2 * 13e9 * 2e12
    small = sld.allocate(law, target_loss=big.loss.value, demand=2e12, given={"N": 7e9}).plans[0]
    assert price - small.budget.value == pytest.approx(saved, rel=tolerance)
    assert 1 - small.budget.value / price == pytest.approx(share, rel=tolerance)
    if law == HX and tolerance < 5e-2:
        assert small.point["D"].value == pytest.approx(1.333e12, rel=1e-2)
        least = sld.allocate(law, target_loss=big.loss.value, demand=2e12).plans[0]
        wanted = {"N": 7.12e9, "D": 1.298e12}
        assert {s: least.point[s].value for s in wanted} == pytest.approx(wanted, rel=1e-2)
        assert least.budget.value == pytest.approx(8.396e22, rel=1e-2)


def test_substitution_of_size_and_data_along_best_runs() -> None:
    # 5.5: arXiv 2605.16430: 2/(2 + alpha + beta)
    run = best(HX, 1e23)
    law = "nd_elasticity@A=406.4,alpha=0.3392,B=410.7,beta=0.2849"
    assert value(law, N=run["N"], D=run["D"]) == pytest.approx(0.7622, abs=1e-4)


def test_an_optimiser_that_is_worth_twice_the_data() -> None:
    # 5.6: arXiv 2602.07712, Muon, rho_D = 2.08 and rho_N = 1 on H: 2.08 times the compute; N x 1.392, D x 0.718
    muon = "optimizer_rho@E=1.69,A=406.4,alpha=0.34,B=410.7,beta=0.28,rho_N=1,rho_D=2.08"
    faster, plain = best(muon, 1e22), best(H, 1e22)
    assert faster["N"] / plain["N"] == pytest.approx(1.392, rel=5e-3)
    assert faster["D"] / plain["D"] == pytest.approx(0.718, rel=5e-3)
    same = sld.allocate(H, target_loss=faster["loss"]).plans[0]
    assert same.budget.value / 1e22 == pytest.approx(2.08, rel=5e-3)
    assert sld.worth(muon, {"N": 1e9, "D": 2e10}, "D", against=H).equal.value == pytest.approx(2.08 * 2e10)


def factor(law: str, run: dict[str, float], into: str, **reference: float | str) -> float:
    found = sld.worth(law, run, into, reference=reference)
    assert found.factor is not None
    return found.factor.value


def test_what_things_are_worth() -> None:
    # ParScale (arXiv 2505.10475): k of about 0.35 and 0.41, so that 4 streams are 1.49 and 1.57 times the parameters
    for label, want in (("Pile", 1.49), ("Stack", 1.57)):
        with case(label):
            found = factor(f"parscale@SLDBench reference, {label}", {"N": 1.6e9, "P": 4}, "N", P=1)
            assert found == pytest.approx(want, rel=1e-2)
    # Clark et al. 2022 (arXiv 2202.01169), S-BASE: 5M parameters with 128 experts are 5.2e7 dense ones
    dense = sld.worth("clark_routed", {"N": 5e6, "X": 128}, "N", reference={"X": 1})
    assert dense.equal.value == pytest.approx(5.2e7, rel=1e-2)
    # with these rounded constants experts stop helping near 1e12 parameters; the paper says 9.37e11
    for size, more in ((3e11, True), (1e12, None), (3e12, False)):
        with case(size):
            gain = factor("clark_routed", {"N": size, "X": 128}, "N", X=1)
            assert gain == pytest.approx(1.0, abs=1e-6) if more is None else (gain > 1) is more
    # Muennighoff et al. 2023 (arXiv 2305.16264), C4: 4, 16 and 40 epochs
    for epochs, want in ((4, 3.73), (16, 10.6), (40, 15.2)):
        with case(epochs):
            run = {"N": 5e9, "D": epochs * 1e11, "U": 1e11}
            fresh = sld.worth("muennighoff_repeats", run, "D", reference={"U": "D"})
            assert fresh.equal.value / 1e11 == pytest.approx(want, rel=5e-3)
    # 5.9 to 5.11, Frantar et al. 2023 (arXiv 2309.08520): 75 % sparse, and the limit
    for label, sparsity, want, tolerance in (
        ("T5/C4", 0.75, 2.160, 5e-3), ("ViT/JFT", 0.75, 2.172, 5e-3), ("T5/C4", 1 - 1e-9, 3.65, 5e-2),
    ):  # fmt: skip
        with case((label, sparsity)):
            run = {"S": sparsity, "N": 1e7, "D": 1e11}
            assert factor(f"frantar_sparsity@{label}", run, "N", S=0.0) == pytest.approx(want, rel=tolerance)


def test_loops_are_worth_less_than_blocks() -> None:
    # 5.16 to 5.18, arXiv 2604.21106: phi = 0.46; 48 + 192/r + 2 units of d**2, of which 50 are used once
    law = "looped_iso_depth@E=1.57,A=28,alpha=0.199,B=950,beta=0.369,phi=0.46"
    for r, want in ((4, 1.89), (8, 2.60)):
        run = {"N1": 1e6, "N2": 1e9, "r": r, "D": 1e10}
        assert factor(law, run, "N2", r=1) == pytest.approx(want, rel=5e-3)
    unit, plain = 1e7, 242e7
    for r, stored, effective in ((2, 0.61, 0.75), (4, 0.41, 0.58), (8, 0.31, 0.47)):
        with case(r):
            once, loop = 50 * unit, 192 * unit / r
            run = {"N1": once, "N2": loop, "r": r, "D": 1e10}
            worth = once + sld.worth(law, run, "N2", reference={"r": 1}).equal.value
            assert (once + loop) / plain == pytest.approx(stored, rel=3e-2)
            assert worth / plain == pytest.approx(effective, rel=3e-2)
    # a model of 410M stored parameters at r = 4 is worth 580M and costs as much as 1B
    d2 = 410e6 / 98
    run = {"N1": 50 * d2, "N2": 48 * d2, "r": 4, "D": 1e10}
    worth = 50 * d2 + sld.worth(law, run, "N2", reference={"r": 1}).equal.value
    assert worth == pytest.approx(580e6, rel=5e-2) and 242 * d2 == pytest.approx(1e9, rel=5e-2)


@pytest.mark.slow
def test_best_experts_and_shares() -> None:
    # 5.14 and 5.15, Zhao et al. 2025 (arXiv 2509.23678): about 7 and 0.31; 40 % active at 30B, 22 % at 671B
    at = {"N": 3e10, "D": 1e12, "Na": 8e8}
    found = sld.optimum("moe_five_factor", ("G", "S"), at).points[0].best
    assert found["G"].value == pytest.approx(6.78, rel=4e-2) and found["S"].value == pytest.approx(0.315, rel=4e-2)
    # minimised over the active parameters alone at the best granularity and share, from the terms with Na
    c = get_law("moe_five_factor").published[0].values
    for size, share in ((30e9, 0.401), (671e9, 0.220)):
        with case(size):
            bend = 2 * math.sqrt(c["e"] * c["f"]) - c["n"] ** 2 / (4 * c["m"])
            per = f"{bend}*({c['k']}*Na**-{c['alpha']} + {c['h']}*Na/{size}) + {c['c']}*Na**-{c['alpha']}"
            active = sld.optimum(per, "Na").points[0].best["Na"].value
            assert active / size == pytest.approx(share, rel=1e-2)
    # kumar_precision and fp_quant: critical data of three formats at N = 1e9 and blocks of 128 (arXiv 2501.02423)
    for name, exponent, mantissa, want in (("BF16", 8, 7, 1.73e15), ("E4M3", 4, 3, 2.73e13), ("E2M1", 2, 1, 3.9e11)):
        with case(name):
            at = {"N": 1e9, "X": exponent, "M": mantissa, "B": 128}
            critical = sld.optimum("fp_quant", "D", at).points[0].best["D"].value
            assert critical == pytest.approx(want, rel=1e-2)


def test_rules_for_hyperparameters() -> None:
    rows = [
        # 6.1: Step Law (arXiv 2503.04715); 6.2: arXiv 2607.01487
        ("step_law_lr", {"N": 1e9, "D": 1e11}, 1.632e-3, 1e-3),
        ("step_law_batch", {"D": 1e11}, 1.108e6, 1e-3),
        ("three_term_bopt", {"D": 1e11}, 1.122e6, 1e-3),
        ("three_term_bopt@DeepSeek", {"D": 1e11}, 3.18e6, 2e-3),
        # 6.4 and 6.5: DeepSeek LLM, 7B and 67B
        ("deepseek_lr", {"C": 8.4e22}, 4.2e-4, 1.5e-2),
        ("deepseek_lr", {"C": 8.6e23}, 3.2e-4, 1.5e-2),
        ("deepseek_batch", {"C": 8.4e22}, 9.2e6, 1.5e-2),
        ("deepseek_batch", {"C": 8.6e23}, 19.7e6, 1.5e-2),
        # 6.6: Power Lines (arXiv 2505.13738)
        ("power_lines_tau", {"R": 1.0}, 1.08, 5e-2),
        ("power_lines_tau", {"R": 20.0}, 0.224, 5e-2),
        ("power_lines_tau", {"R": 1000.0}, 0.0284, 5e-2),
        # 6.8: arXiv 2409.19913, LLaMA-7B at 1e12 tokens
        ("token_horizon_lr@LLaMA", {"D": 1000.0}, 1.15e-4, 1e-1),
        # 6.10 and 6.11: the Delphi post
        ("delphi_lr", {"B": 64.0, "T": 2.5e9}, 6.30e-3, 1e-3),
        ("delphi_lr", {"B": 64.0, "T": 6e11}, 1.217e-3, 1e-3),
        ("delphi_batch", {"T": 6e11, "l": 4096.0}, 2235.0, 2e-3),
        ("delphi_lr", {"B": 2235.2, "T": 6e11}, 7.19e-3, 2e-3),
        ("delphi_adam_lr", {"B": 2235.2, "T": 6e11}, 2.50e-4, 2e-3),
        ("delphi_epsilon", {"B": 2235.2, "T": 6e11}, 4.85e-8, 2e-3),
        ("delphi_beta2", {"B": 2235.2}, 0.9965, 2e-3),
        # 6.14: arXiv 2509.22935
        ("qat_fraction", {"S": 10.0}, 0.0538, 5e-3),
        ("qat_fraction", {"S": 100.0}, 0.2319, 5e-3),
        ("qat_fraction", {"S": 1000.0}, 0.3775, 5e-3),
        ("qat_fraction", {"S": 5000.0}, 0.4538, 5e-3),
        # 8.1: Pearce and Song 2024
        ("embedding_count", {"N": 1e9}, 1.0475e9, 1e-3),
        ("embedding_count", {"N": 1e6}, 5.749e6, 1e-3),
    ]  # fmt: skip
    for law, point, want, tolerance in rows:
        with case((law, point)):
            assert value(law, **point) == pytest.approx(want, rel=tolerance)
    # 6.7: the development log of nanochat: ten times the tokens, 2.4 times the batch
    assert 10**0.383 == pytest.approx(2.42, rel=1e-2)
    # 6.9: against the 3e-4 that LLaMA-7B had
    assert 3e-4 / 1.15e-4 == pytest.approx(2.6, rel=5e-2)
    # 6.12: layers of the released Delphi models, and 6.13: their batches go up to the next power of two
    assert [round(value("delphi_depth", H=h)) for h in (640.0, 896.0, 1280.0)] == [7, 10, 13]
    batches = [value("delphi_batch", T=t, l=4096.0) for t in (2336227328.0, 18195939328.0)]
    assert [2 ** math.ceil(math.log2(b)) for b in batches] == [16, 128]


def test_counting_embeddings_changes_the_apparent_exponent() -> None:
    # 8.2 and 8.3, Pearce and Song 2024 (arXiv 2406.12907): about 0.73 on Kaplan's range, beta/(alpha+beta) far above
    n = np.geomspace(768, 1.5e9, 400)
    for own, apparent, local in (
        ("", 0.794, 0.514),
        ("@w=47491,alpha=0.3392,beta=0.2849,A=406.4,B=410.7", 0.759, 0.458),
    ):
        law = f"kaplan_chinchilla_compute{own}"
        with case(law):
            (compute,) = sld.predict(law, {"N": n}).values()
            assert np.polyfit(np.log(compute), np.log(n), 1)[0] == pytest.approx(apparent, rel=1e-2)
            low, high = (value(law, N=x) for x in (0.99e11, 1.01e11))
            assert math.log(1.01 / 0.99) / math.log(high / low) == pytest.approx(local, rel=1e-2)


def test_samples_and_imperfect_verifiers() -> None:
    # Brown et al. 2024 (arXiv 2407.21787): 15.9 % with one sample and 56 % with 250
    monkeys = "monkeys@a=-1.839,b=-0.209"
    assert value(monkeys, k=1.0) == pytest.approx(0.159, abs=1e-3)
    assert value(monkeys, k=250.0) == pytest.approx(0.56, abs=2e-3)
    samples = sld.worth(monkeys, {"k": 250.0}, "k", against="monkeys@a=-1.2,b=-0.209").factor
    assert samples is not None and samples.value < 1  # a model that solves more at once needs fewer
    # Stroebl et al. 2024 (arXiv 2411.17501): p = 0.3 and 10 % false positives end at 0.811
    assert value("inference_flaws@p=0.3,f=0.1", k=1e6) == pytest.approx(0.811, abs=1e-3)
