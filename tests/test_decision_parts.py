"""What decisions are made of: costs by name and by formula, published laws as laws, surfaces with their limits."""

import numpy as np
import pytest
from many_cases import case

import sld
from sld.analysis.decisions.cost import MODELS, Hardware, cost_of, find, with_demand
from sld.analysis.decisions.estimate import estimate
from sld.analysis.decisions.surface import axis_of, limits, seen, surface_of
from sld.api import as_law
from sld.core.errors import GrammarError, UsageError
from sld.data.card import Variable
from sld.laws.law import Law
from sld.laws.published import named_law

N_D = (Variable("N"), Variable("D"))


def price(text: str | None, variables: tuple[Variable, ...] = N_D, /, **x: float) -> float:
    settings = {k: v for k, v in x.items() if k not in {w.symbol for w in variables}}
    cost = cost_of(text, variables, settings=settings)
    return float(cost({v.symbol: np.array([x[v.symbol]]) for v in variables if v.symbol in x})[0])


def test_named_costs_are_those_of_their_sources() -> None:
    n, d = 12 * 32 * 4096.0**2, 2e12  # a transformer of 32 layers and width 4096, aspect 128
    assert price(None, N=n, D=d) == pytest.approx(6 * n * d)
    # DeepSeek LLM (arXiv 2401.02954), section 3.2: 72 n d**2 + 12 n d l operations per token
    per_token = 72 * 32 * 4096**2 + 12 * 32 * 4096 * 4096
    assert price("attention", N=n, D=d) == pytest.approx(per_token * d)
    # Pearce and Song 2024: parameters with embeddings are N + 47491 N**(1/3) for Chinchilla's vocabulary and shape
    w = 32168 * (38.6 / 12) ** (1 / 3)
    assert price("vocabulary", vocabulary=32168.0, aspect=38.6, N=1e9, D=d) == pytest.approx(6 * (1e9 + w * 1e3) * d)
    assert price("moe", (Variable("N"), Variable("Na"), Variable("D")), N=1e10, Na=1e9, D=d) == pytest.approx(6e9 * d)
    # Korthikanti et al. 2022, equation 2: s b h (34 + 5 a s / h) bytes per layer
    layer = 2048 * 4 * 4096 * (34 + 5 * 32 * 2048 / 4096)
    activations = price("activation-memory", context=2048.0, sequences=4.0, N=n, D=d)
    assert activations == pytest.approx(32 * layer)
    assert price("memory", context=2048.0, sequences=4.0, N=n, D=d) == pytest.approx(16 * n + activations)


def test_letters_of_the_papers_are_found_by_what_columns_mean() -> None:
    size, active = Variable("size", meaning="parameters"), Variable("n_active", meaning="active parameters")
    tokens, logs = Variable("tokens"), Variable("log10_params", log="log10")
    found = find((size, active, tokens), "N"), find((size, active, tokens), "Na"), find((size, active, tokens), "D")
    assert found == (size, active, tokens)
    cost = cost_of(None, (logs, tokens))
    assert float(cost({"log10_params": np.array([9.0]), "tokens": np.array([2e10])})[0]) == pytest.approx(
        6 * 1e9 * 2e10
    )


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        (None, ("x1", "x2"), "what a run costs is not known.*x1, x2.*--cost"),
        ("6*N*T", ("N", "D"), "no variable, setting or model 'T'"),
        ("3*context", ("N", "D"), "no variable, setting or model 'context'"),
        ("7", ("N", "D"), "names no variable of the law"),
        ("moe", ("N", "D"), "needs a variable for active parameters"),
    ],
)
def test_a_cost_that_cannot_be_had_says_what_is_missing(text: str | None, names: tuple[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cost_of(text, tuple(Variable(n) for n in names))


def test_tokens_in_thousands_of_millions_are_noticed() -> None:
    with pytest.raises(UsageError, match=r"D ends at 300.*too few for a count of tokens.*--cost \"6e9\*N\*D\""):
        cost_of(None, N_D, ends={"N": 1e10, "D": 300.0})
    assert cost_of("6e9*N*D", N_D, ends={"D": 300.0}).uses == {"N", "D"}
    for size, data, said in (
        ("params (M)", "Tokens [B]", r'units are 1e6 and 1e9, say --cost "6e15\*N\*D"'),
        ("size_millions", "D_billions", r'units are 1e6 and 1e9, say --cost "6e15\*N\*D"'),
        ("N", "D", r'units are 1e9 and 1e9, say --cost "6e18\*N\*D"'),
    ):
        variables = (Variable(size, symbol="N", meaning="parameters"), Variable(data, symbol="D", meaning="tokens"))
        with pytest.raises(UsageError, match=said):
            cost_of(None, variables, ends={"N": 16.0, "D": 1.6})


def test_serving_adds_two_operations_per_weight_and_token() -> None:
    cost = with_demand(cost_of(None, N_D), N_D, 1e11, 1.0, 0.5)
    assert float(cost({"N": np.array([7e9]), "D": np.array([1e12])})[0]) == pytest.approx(6 * 7e21 + 7e20)


def test_hardware_turns_hours_money_and_days_into_operations() -> None:
    machine = Hardware("a100", mfu=0.5, gpus=64, price=1.5)
    assert machine.flop(64 * 24 * 10, "gpu-hours") == pytest.approx(machine.flop(10, "days"))
    assert machine.flop(64 * 24 * 10 * 1.5, "dollars") == pytest.approx(machine.flop(10, "days"))
    with pytest.raises(UsageError, match="no GPU 'h10'; did you mean 'h100'"):
        Hardware("h10").flop_per_hour()


def test_published_laws_are_laws_with_the_constants_of_a_source() -> None:
    # Hoffmann et al. 2022 (arXiv 2203.15556), equation 10, and the digits of the TeX source
    assert as_law("chinchilla").constants["loss"]["all"] == {
        "E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28,
    }  # fmt: skip
    assert as_law("chinchilla@tex").constants["loss"]["all"]["beta"] == 0.2849
    assert {**as_law("chinchilla@alpha=0.3").constants["loss"]["all"], "alpha": 0.34} == as_law("chinchilla").constants[
        "loss"
    ]["all"]
    assert (
        as_law("muennighoff").targets[0].better == "lower"
        and as_law("monkeys@a=-2,b=-0.4").targets[0].better == "higher"
    )
    law = as_law("406.4*size**-0.34 + 410.7*tokens**-0.28")
    assert [(v.symbol, v.role) for v in law.variables] == [("size", "scale"), ("tokens", "scale")]
    # Hoffmann et al. 2022: 1.937 for their own model
    assert sld.predict("chinchilla", {"N": [70e9], "D": [1.4e12]})["loss"] == pytest.approx(1.937, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chinchilla@nobody", "no constants called 'nobody'; there are: as printed; TeX-source precision"),
        ("chinchilla@gamma=1", "no constant 'gamma'"),
        ("chinchilla@alpha=x", "wants NAME=NUMBER"),
        ("monkeys", "law 'monkeys' has no published value for a, b; give numbers: monkeys@a=...,b=..."),
        ("passk_beta", "Gamma function"),
    ],
)
def test_a_published_law_that_cannot_be_had_says_why(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        named_law(text)


def test_other_texts_are_no_laws() -> None:
    for text in ("runs/law.json", "runs/mine", "sld-runs/nanolm-0", "runs (1)/x", "chincilla"):
        with case(text):
            assert named_law(text) is None
    with pytest.raises(UsageError, match=r"no file 'chincilla' and no law of that name; did you mean 'chinchilla'"):
        as_law("chincilla")
    with pytest.raises(UsageError, match=r"no file 'runs'; wanted a law.json or a run directory"):
        as_law("runs")
    with pytest.raises(GrammarError, match="has no variable"):
        named_law("1 + 2")


def test_every_published_law_with_constants_has_values_in_its_domain() -> None:
    from sld.laws.catalogue import load_catalogue

    complete = 0
    for entry in load_catalogue():
        if not entry.expressible or not any(set(entry.expression.constants) <= set(p.values) for p in entry.published):
            continue
        with case(entry.id):
            law = named_law(entry.id)
            assert law is not None
            points = {v.symbol: np.array(v.domain) for v in entry.variables}
            assert np.isfinite(law.predict(points)).all()
            complete += 1
    assert complete >= 50


def test_a_surface_turns_what_is_better_and_draws_at_points_of_each_draw(fitted_law: Law) -> None:
    surface = surface_of(fitted_law, n=50)
    columns = {"N": np.geomspace(1e7, 1e9, 4), "D": np.geomspace(1e9, 1e10, 4)}
    values = surface.drawn(columns)
    own = surface.own({s: np.tile(x, (50, 1)) for s, x in columns.items()})
    assert values.shape == (50, 4) and own == pytest.approx(values, nan_ok=True)
    assert surface.value(columns) == pytest.approx(fitted_law.predict(columns)[:, 0])
    assert seen(fitted_law) == {"N": (1e6, 1e8), "D": (1e8, 1e10)}
    assert limits(fitted_law).beyond({"N": 2e8, "D": 1e9}) == ["N"]
    axis = axis_of(fitted_law, fitted_law.variables[0])
    assert (axis.low, axis.log) == (1e4, True)


def test_an_estimate_holds_its_value_and_counts_draws_that_have_one() -> None:
    draws = np.array([1.0, 2.0, np.nan] * 30)
    found = estimate(2.5, draws)
    assert (found.low, found.high) == (1.0, 2.5)
    assert estimate(2.5, np.full(100, np.nan)).low is None


def test_models_say_what_they_count() -> None:
    for name, model in MODELS.items():
        with case(name):
            assert model.about and model.unit
