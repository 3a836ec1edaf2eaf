"""Forms that are no laws whatever they fit: cancelling terms, runaway constants, constants with two roles."""

from __future__ import annotations

import numpy as np
import pytest
from many_cases import each
from searches import search

from sld.data.table import Table, table_from
from sld.search.candidates.rejection import Rejection
from sld.search.judging.degenerate import Degeneracy, plays_two_roles
from sld.search.judging.resolution import rounding_nmse

N, D = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 6)))
TABLE = table_from({"N": N, "D": D, "loss": 1.7 + 400 * N**-0.34}, target="loss", scale=["N", "D"])


@each(
    "text",
    [
        "sigmoid(k*(N - k)) + b",  # a rate and a place
        "E + E*N**-a",  # a loss, and a loss times a power of N
        "E + exp(E + N**-a)",
        "(N + K)**-K",
        "exp(-(N/K)**K)",
        "E + A*(log(N) - m)**2 + B*D**-m",  # the logarithm of a size, and an exponent
        "A*N**-a + A*D**-b",
        "E + A*(N + K)**-a + B*(D + K)**-b",  # a number of parameters and a number of tokens
    ],
)
def test_a_constant_has_one_role(text: str) -> None:
    assert plays_two_roles(TABLE.parse(text), TABLE)


@each(
    "text",
    [
        "E + A*N**-a + B*D**-b",
        "E0 + exp(E + N**-a)",
        "E + A*N**-a + B*D**-a",  # exponents are numbers
        "E + A*N**-a + B*D**-b*(1 + k*N**-a)",
        "N**-a*(1 + (N/K)**a)**-b",
        "A*N**-a*(1 + (N/K)**s)**-a",
        "E + (A*N**-a + B*D**-b)**a",
        "E + A*sigmoid(a*(log(N) - m)) + B*sigmoid(a*(log(D) - n))",
    ],
)
def test_a_constant_may_come_again_in_the_same_role(text: str) -> None:
    assert not plays_two_roles(TABLE.parse(text), TABLE)


def test_what_a_person_asks_for_is_not_refused_for_its_roles() -> None:
    x = np.linspace(0.5, 12, 24)
    y = 1 / (1 + np.exp(-1.3 * (x - 1.3)))
    table = table_from({"x": x, "y": y}, target="y", scale="x")
    form = "sigmoid(k*(x - k)) + b"
    assert plays_two_roles(table.parse(form), table)
    found = search(table, "300fits", proposers=[], formulas=[form])
    assert Rejection.TWO_ROLES not in found.counts
    assert found.law.constants["y"]["all"]["k"] == pytest.approx(1.3, rel=1e-3)


@each(
    ("text", "constants", "why"),
    [
        ("E + A*N**-a", {"E": 1, "A": 400, "a": 0.3}, ""),
        ("E + k*(log(N) - m)**2", {"E": 1, "k": 0.1, "m": 18.4}, ""),  # log(N) - m is zero at the optimum
        ("E + A*N**-a", {"E": 1, "A": 1e20, "a": 2.6}, ""),  # large, but it stands before a small number
        ("E + A*N**-a", {"E": -1e4, "A": 1e4, "a": 1e-5}, Rejection.CANCELS),
        ("E0 + k*sigmoid(E + N**-a)", {"E0": 2.55e9, "k": -2.55e9, "E": 21, "a": 0.3}, Rejection.CANCELS),
        ("E0 + exp(E + N**-a)", {"E0": -1e6, "E": 13.8155105, "a": 1.0}, Rejection.CANCELS),
        ("k*(1 - sigmoid(a*log(N)))", {"k": 1e9, "a": 1.0}, Rejection.CANCELS),
        ("E + A*N**-a", {"E": 1, "A": 7e41, "a": 5.3}, Rejection.TOO_LARGE),
        ("E + A/(1 + N/K)", {"E": 1, "A": 1, "K": 1.86e58}, Rejection.TOO_LARGE),
        ("E + A/(1 + k*N)", {"E": 1, "A": 1, "k": 1e-40}, Rejection.TOO_LARGE),
        ("E + A/(1 + k*N)", {"E": 1, "A": 1, "k": 0.0}, ""),
    ],
)
def test_terms_do_not_cancel_and_constants_stay_within_sizes(text: str, constants: dict[str, float], why: str) -> None:
    assert Degeneracy(TABLE).refusal(TABLE.parse(text), [constants]) == (why or None)


def rounded_inverse() -> Table:
    width = 2.0 ** np.arange(6, 12)
    return table_from({"width": width, "lr": [float(f"{0.125 / w:.3g}") for w in width]}, target="lr", scale="width")


def test_rounding_is_read_off_the_last_digit() -> None:
    x = np.arange(1.0, 5.0)
    for y, step in (([0.1, 0.25, 0.3, 0.4], 0.01), ([1.5, 2.25, 3.0, 10.0], None)):
        table = table_from({"x": x, "y": y}, target="y", scale="x")
        wanted = step**2 / np.var(y) if step else np.mean(np.array([0.01, 0.01, 0.01, 0.1]) ** 2) / np.var(y)
        assert rounding_nmse(table, 0) == pytest.approx(wanted) or step is None
    exact = table_from({"x": x, "y": x**-0.3}, target="y", scale="x")
    assert rounding_nmse(exact, 0) == 0.0
    assert rounding_nmse(table_from({"x": x, "y": [1.0, 2, 4, 8]}, target="y", scale="x"), 0) == 0.0


@pytest.mark.slow
def test_an_inverse_law_with_three_digits_comes_out_as_one() -> None:
    assert search(rounded_inverse(), "4000fits").law.expressions["lr"].text == "A*width**-1"
