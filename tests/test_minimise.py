"""Optima on a surface of equal cost agree with brute force, and what is no optimum is not taken for one."""

import math
from collections.abc import Mapping

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from many_cases import case

from sld.analysis.decisions.allocation import Allocator, NoOptimum, Question
from sld.analysis.decisions.cost import Cost, cost_of
from sld.analysis.decisions.minima import minima
from sld.analysis.decisions.minimise import Axis, Problem, crossing, minimum
from sld.analysis.decisions.surface import surface_of
from sld.formula.symbolic import to_sympy
from sld.laws.law import Law
from sld.laws.published import formula_law, named_law

CHINCHILLA = "1.69 + 406.4*N**-0.34 + 410.7*D**-0.28"
# law, budget, cost, what is held: closed forms, none, kinks, couplings, costs of several terms
LAWS: list[tuple[str, float, str | None, dict[str, float]]] = [
    ("chinchilla", 1e24, None, {}),
    ("chinchilla@tex", 5.76e23, None, {}),
    ("chinchilla_replication", 5.76e23, None, {}),
    ("chinchilla", 1e21, "attention", {}),
    ("chinchilla", 1e20, "vocabulary", {}),
    ("chinchilla", 1e22, "6*N*D + 2*N*1e12", {}),
    ("chinchilla", 1e22, "6*N**1.1*D + 1e12*N", {}),
    ("kaplan_nd", 1e21, None, {}),
    ("muennighoff_repeats@E=1.87,A=521,alpha=0.353,B=1488,beta=0.353,r_D=15.4", 1e22, None, {"U": 1e11}),
    ("muennighoff_closed@E=1.87,A=521,alpha=0.353,B=1488,beta=0.353,g=0.051,r_N=5.3,r_D=15.4", 1e22, None, {"U": 1e11}),
    ("fp_quant", 1e22, None, {"X": 4.0, "M": 3.0, "B": 128.0}),
    ("(482.01*N**-0.3478 + 2085.43*D**-0.3658)**0.62 + 1.2", 1e22, None, {}),
    ("1.5 + 400*N**-0.35 + 900*D**-0.33 + 0.3*(N*D)**-0.02", 1e21, None, {}),
    ("1.5 + 400*N**-0.35*(1 + 20*D**-0.1) + 900*D**-0.33", 1e21, None, {}),
    ("1.5 + exp(6 - 0.35*log(N)) + 3*exp(-0.01*log(D)**1.8)", 1e21, None, {}),
    ("1.5 + 20/log(N)**1.5 + 40/log(D)**1.6", 1e21, None, {}),
    ("log(exp(400*N**-0.34) + exp(410*D**-0.28)) + 1.2", 1e22, None, {}),
    ("1.6 + 300*(N + 1e7)**-0.34 + 700*(D + 3e8)**-0.31", 1e20, None, {}),
    ("1.6 + max(406*N**-0.34, 410*D**-0.28)", 1e22, None, {}),
    ("1 - sigmoid(log(N)/8 + log(D)/9 - 0.02*(log(N) - log(D)/1.3)**2 - 4)", 1e21, None, {}),
]


def brute_force(law: Law, cost: Cost, budget: float, held: Mapping[str, float]) -> float:
    """Return the logarithm of the best N by golden section with 30 digits, from what sympy makes of the formulas."""
    with mpmath.workdps(30):
        import sympy

        loss = law.to_sympy().subs({s: v for s in law.to_sympy().free_symbols for n, v in held.items() if s.name == n})
        symbols = {s.name: s for s in loss.free_symbols} | {s.name: s for s in to_sympy(cost.expression).free_symbols}
        f = sympy.lambdify([symbols["N"], symbols["D"]], loss, "mpmath")
        price = sympy.lambdify([symbols["N"], symbols["D"]], to_sympy(cost.expression), "mpmath")
        exact = mpmath.mpf(budget)

        def tokens(n: mpmath.mpf) -> mpmath.mpf:
            # the costs here are linear in D
            fixed = price(n, mpmath.mpf(0))
            return (exact - fixed) / (price(n, mpmath.mpf(1)) - fixed)

        def at(x: mpmath.mpf) -> mpmath.mpf:
            n = mpmath.exp(x)
            d = tokens(n)
            value = f(n, d) if d > 1 else mpmath.inf
            return value if mpmath.im(value) == 0 else mpmath.inf

        grid = [mpmath.mpf(v) for v in np.linspace(math.log(1e5), math.log(budget / 6 / 1e5), 40)]
        values = [at(x) for x in grid]
        k = values.index(min(values))
        a, b, ratio = grid[k - 1], grid[k + 1], (mpmath.sqrt(5) - 1) / 2
        c, d = b - ratio * (b - a), a + ratio * (b - a)
        fc, fd = at(c), at(d)
        for _ in range(37):
            if fc < fd:
                b, d, fd = d, c, fc
                c = b - ratio * (b - a)
                fc = at(c)
            else:
                a, c, fc = c, d, fd
                d = a + ratio * (b - a)
                fd = at(d)
        return float((a + b) / 2)


@pytest.mark.slow
def test_the_optimum_of_twenty_laws_is_that_of_brute_force() -> None:
    assert len(LAWS) == 20
    for text, budget, cost_text, held in LAWS:
        law = named_law(text)
        assert law is not None
        cost = cost_of(cost_text, law.variables)
        with case(f"{text} {cost_text}"):
            found = Allocator(surface_of(law), cost, Question(held=held)).solve(budget)
            assert found.best.certified
            assert math.log(found.best.point["N"]) == pytest.approx(brute_force(law, cost, budget, held), abs=1e-6)
            assert float(cost({s: np.array([x]) for s, x in found.best.point.items()})[0]) == pytest.approx(budget)


@pytest.mark.parametrize(
    ("formula", "word"),
    [
        ("1.7 + 400*N**-0.34 + 0*D", "N goes up"),  # tokens do not help
        ("1.7 + 400*(N*D)**-0.2", "no minimum that can be certified|N goes"),  # only the product counts: no split
        ("1.7 - 400*N**-0.34 - 410*D**-0.28", "N goes|D goes"),  # best at either end
        ("1.7 + 1e-9*N + 410*D**-0.28", "N goes down"),
    ],
)
def test_no_interior_optimum_is_refused(formula: str, word: str) -> None:
    law = formula_law(formula)
    with pytest.raises(NoOptimum, match=word):
        Allocator(surface_of(law), cost_of("6*N*D", formula_law("N*D").variables), Question()).solve(1e21)


def test_several_variables_come_to_their_common_minimum() -> None:
    # lr and batch have their optimum at exp(-0.3 log N + 2) and 1e6 whatever the split is, which then is Chinchilla's
    law = formula_law(
        f"{CHINCHILLA} + 0.02*(log(lr) + 0.3*log(N) - 2)**2 + 0.01*(log(batch) - log(1e6))**2 + "
        "0.005*(log(lr) + 0.3*log(N) - 2)*(log(batch) - log(1e6))"
    )
    found = Allocator(surface_of(law), cost_of(None, law.variables), Question()).solve(1e21)
    alone = Allocator(surface_of(formula_law(CHINCHILLA)), cost_of(None, law.variables), Question()).solve(1e21)
    assert found.best.status == "interior" and found.best.agreed >= 2
    n = found.best.point["N"]
    assert math.log(n) == pytest.approx(math.log(alone.best.point["N"]), abs=1e-6)
    assert math.log(found.best.point["lr"]) == pytest.approx(2 - 0.3 * math.log(n), abs=1e-6)
    assert found.best.point["batch"] == pytest.approx(1e6, rel=1e-6)


def test_crossings_are_found_side_by_side() -> None:
    at = np.array([0.3, 1.7, 2.5])
    found = crossing(lambda z: np.tanh(5 * (z - at)), np.full(3, 0.0), np.full(3, 2.0))
    assert found[:2] == pytest.approx(at[:2], abs=1e-12) and math.isnan(found[2])


@pytest.mark.parametrize("more", [(), (Axis("lr", 1e-6, 1.0),)], ids=["on a grid", "each by itself"])
def test_many_curves_have_their_own_minima(more: tuple[Axis, ...]) -> None:
    rng = np.random.default_rng(0)
    alpha, beta = 0.34 + 0.02 * rng.standard_normal(200), 0.28 + 0.02 * rng.standard_normal(200)

    def loss(x: Mapping[str, np.ndarray], a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
        rate = 0.05 * (np.log(x["lr"]) + 5) ** 2 if "lr" in x else 0.0
        return np.asarray(1.69 + 406.4 * x["N"] ** -a + 410.7 * x["D"] ** -b + rate)

    problem = Problem(
        lambda x: loss(x, 0.34, 0.28),
        (Axis("N", 1e4), *more),
        cost=lambda x: 6 * x["N"] * x["D"],
        closing=Axis("D", 1e4),
    )
    centre = minimum(problem, 1e21)
    each = (alpha[:, None], beta[:, None])
    found = minima(problem, lambda x: loss(x, *each), lambda x: loss(x, *each), 1e21, centre)
    ratio = alpha * 406.4 / (beta * 410.7)
    exact = ratio ** (1 / (alpha + beta)) * (1e21 / 6) ** (beta / (alpha + beta))  # Hoffmann et al. 2022, equation 4
    assert found.inside.all()
    assert np.log(found.point["N"]) == pytest.approx(np.log(exact), abs=5e-3)


def test_what_a_budget_leaves_is_found_for_lines_and_curves_and_is_nothing_where_the_rest_costs_more() -> None:
    """Costs 6ND + 1e12 N and 6ND**1.2 + 1e12 N: D follows in closed form, and there is none where 1e12 N is above C."""
    budget, N = 1e20, np.array([1e6, 1e7, 9.9999e7, 1e8, 2e8])
    for power in (1.0, 1.2):
        with case(power):
            problem = Problem(
                lambda x: x["N"], (Axis("N", 1.0),), closing=Axis("D", 1.0),
                cost=lambda x, p=power: 6 * x["N"] * x["D"] ** p + 1e12 * x["N"],  # type: ignore[misc]
            )  # fmt: skip
            found = problem.columns(np.log(N)[:, None], budget)["D"]
            assert found[:3] == pytest.approx(((budget - 1e12 * N[:3]) / 6 / N[:3]) ** (1 / power), rel=1e-7)
            assert np.isnan(found[3:]).all()
