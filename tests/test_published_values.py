"""Numbers that papers print, recomputed from the laws of the catalogue."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from sld.fit.kernel import evaluate
from sld.laws.catalogue import get_law

LAW_CONSTANTS = {
    # Hoffmann et al. 2022 (arXiv 2203.15556), the digits of the TeX source
    "original": {"E": 1.6934, "A": 406.4, "B": 410.7, "alpha": 0.3392, "beta": 0.2849},
    # Besiroglu et al. 2024 (arXiv 2404.10102), as printed
    "replication": {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658},
}


def value(law_id: str, label: str | None = None, /, **given: float) -> float:
    """Return the value of a law at one point, with the published constants called `label` unless given."""
    law = get_law(law_id)
    published = next((p.values for p in law.published if p.label == label), {})
    assert label is None or published
    constants = {c: given.get(c, published.get(c, law.examples[c])) for c in law.expression.constants}
    columns = {v.symbol: np.array([given[v.symbol]]) for v in law.variables}
    return float(evaluate(law.expression, columns, constants)[0])


def minimiser(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the place of the minimum of a unimodal function of log x, by golden section."""
    a, b, ratio = math.log(low), math.log(high), (math.sqrt(5) - 1) / 2
    for _ in range(90):
        c, d = b - ratio * (b - a), a + ratio * (b - a)
        a, b = (a, d) if function(math.exp(c)) < function(math.exp(d)) else (c, b)
    return math.exp((a + b) / 2)


def test_chinchilla_and_gopher_losses() -> None:
    # constants as printed in Hoffmann et al. 2022 eq. 10; sums 1.69 + 0.083 + 0.163 and 1.69 + 0.052 + 0.251
    assert value("chinchilla", "as printed", N=70e9, D=1.4e12) == pytest.approx(1.936, abs=1e-3)
    assert value("chinchilla", "as printed", N=280e9, D=300e9) == pytest.approx(1.993, abs=1e-3)


@pytest.mark.parametrize(
    ("constants", "size", "tokens_per_parameter"), [("replication", 7.2e10, 18.4), ("original", 4.0e10, 59)]
)
def test_chinchilla_optimum(constants: str, size: float, tokens_per_parameter: float) -> None:
    # 5.76e23 FLOP is Gopher's budget. Besiroglu et al. 2024 find about 20 tokens per parameter for their refit
    # and about 70 for the constants as printed; the digits here are recomputed from unrounded constants
    values = LAW_CONSTANTS[constants]
    best = value("chinchilla_frontier", C=5.76e23, **values)
    assert best == pytest.approx(size, rel=0.02)
    assert 5.76e23 / 6 / best**2 == pytest.approx(tokens_per_parameter, rel=0.02)
    assert minimiser(lambda n: value("chinchilla", N=n, D=5.76e23 / 6 / n, **values), 1e8, 1e13) == pytest.approx(
        best, rel=1e-5
    )


@pytest.mark.parametrize(("constants", "exponent"), [("replication", 0.513), ("original", 0.46)])
def test_chinchilla_allocation_exponent(constants: str, exponent: float) -> None:
    # a = 0.46 in Hoffmann et al. 2022, table 2 (approach 3); 0.513 in Besiroglu et al. 2024
    values = LAW_CONSTANTS[constants]
    ratio = value("chinchilla_frontier", C=1e22, **values) / value("chinchilla_frontier", C=1e21, **values)
    assert math.log10(ratio) == pytest.approx(exponent, abs=0.005)


def test_kaplan_allocation_grows_the_model_five_and_a_half_fold_per_decade_of_compute() -> None:
    # Hoffmann et al. 2022, introduction, about Kaplan et al. 2020
    assert value("kaplan_alloc", C=10.0) / value("kaplan_alloc", C=1.0) == pytest.approx(5.5, rel=0.03)


def test_inference_demand_makes_the_best_model_smaller() -> None:
    # Sardana et al. 2023 (arXiv 2401.00448): quality of an optimal 7B model and 1e11 tokens of inference ask for
    # a 6B model on 1.18 times the data
    values = LAW_CONSTANTS["original"]
    budget = 1e22
    for _ in range(60):  # fixed point: the budget whose optimum is 7B, N being nearly a power of C
        budget *= (7e9 / value("chinchilla_frontier", C=budget, **values)) ** 2
    tokens = budget / 6 / 7e9
    quality = value("chinchilla", N=7e9, D=tokens, **values)

    def tokens_for(n: float) -> float:
        rest = quality - value("chinchilla", N=n, D=math.inf, **values)
        return (values["B"] / rest) ** (1 / values["beta"]) if rest > 0 else math.inf

    best = minimiser(lambda n: value("inference_aware", N=n, D_tr=tokens_for(n), D_inf=1e11), 3e9, 2e10)
    assert best == pytest.approx(6.06e9, rel=0.005)
    assert tokens_for(best) / tokens == pytest.approx(1.18, abs=0.02)


@pytest.mark.parametrize(("epochs", "worth"), [(4, 3.73), (16, 10.6), (40, 15.2)])
def test_worth_of_repeated_epochs(epochs: float, worth: float) -> None:
    # Muennighoff et al. 2023 (arXiv 2305.16264), constants fitted on C4, r_D = 15.39
    c = dict(next(iter(get_law("muennighoff").published)).values)
    unique, size = 1e11, 5.1e9
    data_term = value("muennighoff", "C4, exact", N=size, U_N=size, U=unique, D=epochs * unique)
    data_term -= c["E"] + c["A"] * size ** -c["alpha"]
    assert (c["B"] / data_term) ** (1 / c["beta"]) / unique == pytest.approx(worth, rel=0.005)
    for law_id in ("muennighoff_closed", "muennighoff_repeats"):  # equal while the model is not too large
        repeated = value(law_id, N=size, U=unique, D=epochs * unique, **c)
        assert repeated == pytest.approx(data_term + c["E"] + c["A"] * size ** -c["alpha"], rel=1e-12)
    assert value("muennighoff_epochs", N=size, U=unique, R=epochs, **c) == pytest.approx(repeated, rel=1e-12)


def test_step_law_for_seven_billion_parameters() -> None:
    # Li et al. 2025 (arXiv 2503.04715): lr = 1.79 N**-0.713 D**0.307, batch = 0.58 D**0.571 tokens
    assert value("step_law_lr", "paper", N=7e9, D=1.4e12) == pytest.approx(9.2e-4, rel=0.01)
    assert value("step_law_batch", "paper", D=1.4e12) == pytest.approx(5.0e6, rel=0.01)


@pytest.mark.parametrize(("layers", "width", "rate", "sequences"), [(30, 4096, 4.2e-4, 2304), (95, 8192, 3.2e-4, 4608)])
def test_deepseek_hyperparameters(layers: int, width: int, rate: float, sequences: int) -> None:
    # DeepSeek LLM (arXiv 2401.02954), table 2: the 7B and 67B models, 2.0T tokens, context 4096; C = M*D with
    # M = 72 n d**2 + 12 n d l. The paper calls the optimum a broad band; it chose round numbers
    compute = (72 * layers * width**2 + 12 * layers * width * 4096) * 2.0e12
    assert value("deepseek_lr", "paper", C=compute) == pytest.approx(rate, rel=0.03)
    assert value("deepseek_batch", "paper", C=compute) == pytest.approx(sequences * 4096, rel=0.1)


def test_power_lines_timescale_at_twenty_tokens_per_parameter() -> None:
    # Bergsma et al. 2025 (arXiv 2505.13738): about 0.21 measured, 0.22 from the law
    assert value("power_lines_tau", "paper", R=20) == pytest.approx(0.22, abs=0.005)


@pytest.mark.parametrize(("k", "coverage"), [(1, 0.159), (250, 0.56)])
def test_repeated_sampling_coverage(k: float, coverage: float) -> None:
    # Brown et al. 2024 (arXiv 2407.21787), abstract: SWE-bench Lite from 15.9 % with one sample to 56 % with 250
    assert value("monkeys", k=k, a=-1.839, b=-0.209) == pytest.approx(coverage, abs=0.001)


def test_imperfect_verifier_sets_a_ceiling() -> None:
    # Stroebl et al. 2024 (arXiv 2411.17501): p/(p + (1 - p)*f)
    assert value("inference_flaws", k=1e4, p=0.3, f=0.1) == pytest.approx(0.811, abs=5e-4)


def test_routed_model_equals_a_dense_model_ten_times_its_size() -> None:
    # Clark et al. 2022 (arXiv 2202.01169): 5M parameters with 128 experts (S-BASE) are worth 5.5e7 dense ones;
    # 5.2e7 with the constants as printed in table 3
    dense = value("clark_epc", N=5e6, X=128.0)
    assert dense == pytest.approx(5.5e7, rel=0.07)
    routed = value("clark_routed", "S-BASE", N=5e6, X=128.0)
    assert value("clark_routed", "S-BASE", N=dense, X=1.0) == pytest.approx(routed, rel=0.001)


def test_routing_stops_helping_near_a_trillion_parameters() -> None:
    # Clark et al. 2022: 937B for S-BASE; 10**(0.108/0.009) = 1e12 with the constants as printed
    losses = [value("clark_routed", "S-BASE", N=1e12, X=x) for x in (1.0, 8.0, 512.0)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-9)


@pytest.mark.parametrize(("k", "ratio"), [(0.35, 1.49), (0.41, 1.57)])
def test_parallel_streams_count_as_parameters(k: float, ratio: float) -> None:
    # Chen et al. 2025 (arXiv 2505.10475): k = 0.35 on the Pile and 0.41 on Stack-V2, four streams
    four = value("parscale", N=1e9, P=4, k=k)
    assert value("parscale", N=1e9 * ratio, P=1, k=k) == pytest.approx(four, rel=1e-3)
    assert 1 + k * math.log(4) == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize(
    ("exponent_bits", "mantissa_bits", "tokens"), [(8, 7, 1.73e15), (4, 3, 2.73e13), (2, 1, 3.9e11)]
)
def test_low_precision_has_a_critical_amount_of_data(exponent_bits: int, mantissa_bits: int, tokens: float) -> None:
    # Sun et al. 2025 (arXiv 2501.02423), constants of table 2, N = 1e9, block 128: BF16, FP8-E4M3, FP4-E2M1,
    # there rounded to 1730T, 27T and 0.4T
    critical = minimiser(
        lambda d: value("fp_quant", "Table 2", N=1e9, D=d, X=exponent_bits, M=mantissa_bits, B=128), 1e9, 1e18
    )
    assert critical == pytest.approx(tokens, rel=0.01)


def test_tenfold_training_compute_replaces_fifteenfold_search() -> None:
    # Jones 2021 (arXiv 2104.03113), abstract
    elo = value("jones_train_test", "9x9 Hex", T=1e15, I=1e9)
    assert value("jones_train_test", "9x9 Hex", T=1e16, I=1e9 / 15) == pytest.approx(elo, abs=250 * math.log10(16 / 15))


def test_width_scaling_costs_the_square_root_in_activations() -> None:
    # Dollar, Singh, Girshick 2021 (arXiv 2103.06877): O(sqrt(s)) for width alone
    assert value("fast_scaling_acts", s=100.0, a=1.0) == pytest.approx(10.0)
    assert value("fast_scaling_acts", s=100.0, a=0.8) == pytest.approx(100**0.6)


def test_batch_size_laws_at_the_noise_scale() -> None:
    # McCandlish et al. 2018 (arXiv 1812.06162), eqs. 2.7 and 2.11: half of the rate, twice the steps; and the
    # surge of Li et al. 2024 (arXiv 2405.14578), whose best rate peaks there
    assert value("mccandlish_lr", B=1e4, B_noise=1e4, eps_max=0.01) == pytest.approx(0.005)
    assert value("mccandlish_steps", B=1e6, B_crit=1e6, S_min=1e4) == pytest.approx(2e4)
    rates = [value("surge", B=b, B_noise=1e4, eps_max=1e-3) for b in (5e3, 1e4, 2e4)]
    assert rates[1] == pytest.approx(1e-3)
    assert rates[0] == pytest.approx(rates[2])
    assert rates[0] < rates[1]


def test_twice_the_languages() -> None:
    # ATLAS (arXiv 2510.22037): from K to 4K languages costs 1.4 times the parameters and 2.74 times the tokens in
    # all, which fixes the exponents; from K to 2K the authors' summary gives 1.18 and 1.66 times
    alpha = 0.11 * math.log(4) / math.log(1.4)
    beta = -0.04 / (math.log(2.74) / math.log(4) - 1)
    given = {"phi": 0.11, "psi": -0.04, "alpha": alpha, "beta": beta}
    one = value("atlas_curse", K=10, N=1e9, D_t=1e10, **given)
    assert value("atlas_curse", K=20, N=1.18e9, D_t=1e10 * 1.66 / 2, **given) == pytest.approx(one, rel=2e-3)
