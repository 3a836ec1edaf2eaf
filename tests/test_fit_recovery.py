"""Constants are recovered: planted ones, NIST's certified values, published ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fits import fitted, planted, table_of
from many_cases import each

from sld.data.task import load_task
from sld.fit.fitting import fit
from sld.fit.kernel import evaluate

SYNTHETIC = Path(__file__).resolve().parents[2] / "shared" / "data" / "synthetic"


FORMS: list[tuple[str, dict[str, float], tuple[str, ...]]] = [
    ("E + A*N**-a", {"E": 1.69, "A": 406.4, "a": 0.34}, ()),
    ("E + A*N**-a + B*D**-b", {"E": 1.69, "A": 406.4, "a": 0.34, "B": 410.7, "b": 0.28}, ()),
    ("E + A*(N + c)**-a", {"E": 1.7, "A": 400.0, "a": 0.34, "c": 3e7}, ()),
    ("E + A/(N**a + c)", {"E": 1.7, "A": 400.0, "a": 0.34, "c": 300.0}, ()),
    ("(c/N)**a", {"c": 8.8e13, "a": 0.076}, ("c",)),
    ("E + A*N**-a*D**-b", {"E": 0.5, "A": 900.0, "a": 0.2, "b": 0.1}, ()),
    ("exp(a + b*log(N) + c*log(N)*log(D))", {"a": 2.4, "b": -0.19, "c": 0.0045}, ()),
    (
        "E + A*N**-a + k*(log(lr) - c - g*log(N))**2",
        {"E": 1.8, "A": 30, "a": 0.2, "k": 0.02, "c": -0.2, "g": -0.25},
        (),
    ),
    ("L + U*sigmoid(k*(log(N) - c))", {"L": 0.25, "U": 0.6, "k": 1.3, "c": 19.0}, ("k",)),
    ("E + A*tanh(k*(log(N) - c))", {"E": 2.0, "A": 1.0, "k": 0.5, "c": 19.0}, ("k",)),
    ("E + A*exp(-s*p)", {"E": 1.5, "A": 2.0, "s": 3.0}, ()),
    ("E + A*max(log(N) - c, 0)", {"E": 1.5, "A": -0.2, "c": 19.0}, ()),
    ("log(A*N**a + c)", {"A": 0.1, "a": 0.4, "c": 30.0}, ("A", "c")),
    ("E + A*abs(x - m)", {"E": 0.3, "A": 2.0, "m": 0.7}, ()),
    ("E + A*N**(-a + b*log(D))", {"E": 1.5, "A": 30.0, "a": 0.3, "b": 0.005}, ()),
    ("sqrt(a + b*p**2) + c*p", {"a": 1.5, "b": 2.0, "c": -0.5}, ()),
]


@each(("form", "truth", "positive"), FORMS)
def test_noise_free_constants_are_recovered(form: str, truth: dict[str, float], positive: tuple[str, ...]) -> None:
    result = fitted(form, planted(form, truth), positive=positive)
    assert result.ok and result.nmse < 1e-18
    for c, wanted in truth.items():
        assert result.constants["all"][c] == pytest.approx(wanted, rel=1e-6), c


# NIST StRD, nonlinear regression: data and certified values to all printed digits
# https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml
MISRA1_X = [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]
MISRA1_Y = [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]
MGH09_X = [4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625]
MGH09_Y = [0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
MGH10_Y = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872]
MGH17_Y = """0.844 0.908 0.932 0.936 0.925 0.908 0.881 0.850 0.818 0.784 0.751 0.718 0.685 0.658 0.628 0.603 0.580 0.558
    0.538 0.522 0.506 0.490 0.478 0.467 0.457 0.448 0.438 0.431 0.424 0.420 0.414 0.411 0.406"""
RAT43_Y = """16.08 33.83 65.80 97.20 191.55 326.20 386.87 520.53 590.03 651.92 724.93 699.56 689.96 637.56 717.41"""
LANCZOS3_Y = """2.5134 2.0443 1.6684 1.3664 1.1232 0.9269 0.7679 0.6389 0.5338 0.4479 0.3776 0.3197 0.2720 0.2325 0.1997
    0.1723 0.1493 0.1301 0.1138 0.1000 0.0883 0.0783 0.0698 0.0624"""
ECKERLE4 = """400 .0001575 405 .0001699 410 .0002350 415 .0003102 420 .0004917 425 .0008710 430 .0017418 435 .0046400
    436.5 .0065895 438 .0097302 439.5 .0149002 441 .0237310 442.5 .0401683 444 .0712559 445.5 .1264458 447 .2073413
    448.5 .2902366 450 .3445623 451.5 .3698049 453 .3668534 454.5 .3106727 456 .2078154 457.5 .1164354 459 .0616764
    460.5 .0337200 462 .0194023 463.5 .0117831 465 .0074357 470 .0022732 475 .0008800 480 .0004579 485 .0002345
    490 .0001586 495 .0001143 500 .0000710"""
THURBER_X = """-3.067 -2.981 -2.921 -2.912 -2.840 -2.797 -2.702 -2.699 -2.633 -2.481 -2.363 -2.322 -1.501 -1.460 -1.274
    -1.212 -1.100 -1.046 -0.915 -0.714 -0.566 -0.545 -0.400 -0.309 -0.109 -0.103 0.010 0.119 0.377 0.790 0.963 1.006
    1.115 1.572 1.841 2.047 2.200"""
THURBER_Y = """80.574 84.248 87.264 87.195 89.076 89.608 89.868 90.101 92.405 95.854 100.696 101.060 401.672 390.724
    567.534 635.316 733.054 759.087 894.206 990.785 1090.109 1080.914 1122.643 1178.351 1260.531 1273.514 1288.339
    1327.543 1353.863 1414.509 1425.208 1421.384 1442.962 1464.350 1468.705 1447.894 1457.628"""


def _numbers(text: str) -> list[float]:
    return [float(t) for t in text.split()]


NIST: dict[str, tuple[str, Sequence[float], Sequence[float], dict[str, float], float]] = {
    "Misra1a": ("b1*(1 - exp(-b2*x))", MISRA1_X, MISRA1_Y, {"b1": 238.94212918, "b2": 5.5015643181e-4}, 0.12455138894),
    "Misra1b": (
        "b1*(1 - (1 + b2*x/2)**-2)", MISRA1_X, MISRA1_Y, {"b1": 337.99746163, "b2": 3.9039091287e-4}, 0.075464681533,
    ),
    "Misra1c": (
        "b1*(1 - (1 + 2*b2*x)**-0.5)", MISRA1_X, MISRA1_Y, {"b1": 636.42725809, "b2": 2.0813627256e-4}, 0.040966836971,
    ),
    "Misra1d": (
        "b1*b2*x*(1 + b2*x)**-1", MISRA1_X, MISRA1_Y, {"b1": 437.36970754, "b2": 3.0227324449e-4}, 0.056419295283,
    ),
    "DanWood": (
        "b1*x**b2", [1.309, 1.471, 1.490, 1.565, 1.611, 1.680], [2.138, 3.421, 3.597, 4.340, 4.882, 5.660],
        {"b1": 0.76886226176, "b2": 3.8604055871}, 0.0043173084083,
    ),
    "BoxBOD": (
        "b1*(1 - exp(-b2*x))", [1, 2, 3, 5, 7, 10], [109, 149, 149, 191, 213, 224],
        {"b1": 213.80940889, "b2": 0.54723748542}, 1168.0088766,
    ),
    "Rat42": (
        "b1/(1 + exp(b2 - b3*x))", [9, 14, 21, 28, 42, 57, 63, 70, 79],
        [8.93, 10.8, 18.59, 22.33, 39.35, 56.11, 61.73, 64.62, 67.08],
        {"b1": 72.462237576, "b2": 2.6180768402, "b3": 0.067359200066}, 8.0565229338,
    ),
    "Rat43": (
        "b1/(1 + exp(b2 - b3*x))**(1/b4)", [float(i) for i in range(1, 16)], _numbers(RAT43_Y),
        {"b1": 699.6415127, "b2": 5.2771253025, "b3": 0.75962938329, "b4": 1.2792483859}, 8786.404908,
    ),
    "MGH09": (
        "b1*(x**2 + x*b2)/(x**2 + x*b3 + b4)", MGH09_X, MGH09_Y,
        {"b1": 0.19280693458, "b2": 0.19128232873, "b3": 0.12305650693, "b4": 0.13606233068}, 3.0750560385e-4,
    ),
    "MGH10": (
        "b1*exp(b2/(x + b3))", [50.0 + 5 * i for i in range(16)], [float(v) for v in MGH10_Y],
        {"b1": 0.0056096364710, "b2": 6181.3463463, "b3": 345.22363462}, 87.945855171,
    ),
    "MGH17": (
        "b1 + b2*exp(-x*b4) + b3*exp(-x*b5)", [10.0 * i for i in range(33)], _numbers(MGH17_Y),
        {"b1": 0.37541005211, "b2": 1.9358469127, "b3": -1.4646871366, "b4": 0.012867534640, "b5": 0.022122699662},
        5.4648946975e-5,
    ),
    "Lanczos3": (
        "b1*exp(-b2*x) + b3*exp(-b4*x) + b5*exp(-b6*x)", [0.05 * i for i in range(24)], _numbers(LANCZOS3_Y),
        {"b1": 0.086816414977, "b2": 0.95498101505, "b3": 0.84400777463, "b4": 2.9515951832, "b5": 1.5825685901,
         "b6": 4.9863565084}, 1.6117193594e-8,
    ),
    "Eckerle4": (
        "b1/b2*exp(-0.5*((x - b3)/b2)**2)", _numbers(ECKERLE4)[::2], _numbers(ECKERLE4)[1::2],
        {"b1": 1.5543827178, "b2": 4.0888321754, "b3": 451.54121844}, 1.4635887487e-3,
    ),
    "Thurber": (
        "(b1 + b2*x + b3*x**2 + b4*x**3)/(1 + b5*x + b6*x**2 + b7*x**3)", _numbers(THURBER_X), _numbers(THURBER_Y),
        {"b1": 1288.1396800, "b2": 1491.0792535, "b3": 583.23836877, "b4": 75.416644291, "b5": 0.96629502864,
         "b6": 0.39797285797, "b7": 0.049727297349}, 5642.7082397,
    ),
}  # fmt: skip


@each("problem", NIST)
def test_certified_values(problem: str) -> None:
    form, x, y, certified, sum_of_squares = NIST[problem]
    table = table_of({"x": np.array(x, dtype=float)}, np.array(y, dtype=float))
    result = fitted(form, table)
    assert result.ok
    assert result.loss == pytest.approx(sum_of_squares, rel=1e-9 if problem != "Lanczos3" else 1e-6)
    found = sorted(result.constants["all"].values()) if problem in ("MGH17", "Lanczos3") else None
    if found is not None:  # the exponentials may come in any order
        assert found == pytest.approx(sorted(certified.values()), rel=1e-5)
    else:
        assert result.constants["all"] == pytest.approx(certified, rel=1e-6)


# The constants that the cards state, and where they state none, round numbers near the fits to the tables.
PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "chinchilla": {"": {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}},
    "constrained": {"": {"E": 1.87, "A": 521, "alpha": 0.35, "B": 1488, "beta": 0.35, "Rd": 15.4}},
    "finetune": {
        f"model{i}": {"E": 0.6 + 0.15 * i, "A": 4.5 + i / 2, "alpha": 0.39 + 0.02 * i, "B": 11.0 - i} for i in range(6)
    },
    "kaplan": {g: {"Nc": n, "alpha": 0.076} for g, n in {"web": 8.8e13, "code": 2.1e13, "books": 4.2e14}.items()},
    "lr": {"": {"E": 1.8, "A": 30, "alpha": 0.2, "k": 0.02, "c0": 0.8, "g": 0.25}},
    "lrbsz": {
        "": {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28, "k1": 0.015, "c1": 0.3118, "g1": 0.125,
             "k2": 0.011, "c2": 0.292, "g2": 0.3271},
    },
    "moe": {"": {"a": -0.082, "b": -0.193, "c": 0.0088, "d": 2.44}},
}  # fmt: skip


@pytest.mark.skipif(not SYNTHETIC.exists(), reason="the synthetic tables are not part of the repository")
@each("task", PUBLISHED)
def test_published_constants_are_recovered_from_noise_free_data(task: str) -> None:
    loaded = load_task(str(SYNTHETIC / task))
    table, text = loaded.train, loaded.card.laws[0].expression
    assert isinstance(text, str)
    expression = table.parse(text)
    truth = {g: PUBLISHED[task].get(g, next(iter(PUBLISHED[task].values()))) for g in table.groups}
    y = np.empty(table.n_rows)
    for k, group in enumerate(table.groups):
        rows = table.group_index == k
        y[rows] = evaluate(expression, {s: table.column(s)[rows] for s in table.symbols}, truth[group])
    result = fit(expression, table.with_targets(y))
    assert result.ok and result.nmse < 1e-12
    for group in table.groups:
        assert result.constants[group] == pytest.approx(truth[group], rel=0.01), group
