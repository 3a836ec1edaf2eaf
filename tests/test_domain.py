"""Laws have a finite value for every positive size: bounds, intervals, and the check of fitted constants."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from many_cases import each
from searches import search, two_scales

from sld.data.table import Table, table_from
from sld.fit.fitting import Fitter
from sld.formula.domain import domain_bounds, ranges
from sld.formula.evaluation import evaluate
from sld.formula.expression import parse
from sld.search.candidates.rejection import Rejection
from sld.search.judging.domain import Domain
from sld.search.judging.soundness import Soundness

POSITIVE = ("N", "D")


def grid() -> Table:
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 6)))
    return table_from({"N": n, "D": d, "loss": 1.7 + 400 * n**-0.34 + 400 * d**-0.28}, target="loss", scale=["N", "D"])


TABLE = grid()
RUNGS = np.unique(TABLE.column("D"))
HALFWAY = math.sqrt(RUNGS[2] * RUNGS[3])


# --- bounds


@each(
    ("text", "wanted"),
    [
        ("E + A*(N + K)**-a", {"K": 1}),
        ("E + A*(N - K)**-a", {"K": -1}),
        ("A/(1 + C/N)", {"C": 1}),
        ("A/(1 + C*N**b)", {"C": 1}),
        ("A/(1 - C/N)", {"C": -1}),
        ("A*log(N + K)", {"K": 1}),
        ("E + (A*N**-a + B*D**-b)**g", {"A": 1, "B": 1}),
        ("A*(N*D + K*(D + L))**-a", {"K": 1, "L": 1}),
        ("A*log(1 + log(1 + N/K))**-a", {"K": 1}),
        ("A*(1 + exp(k*N))**-a", {}),  # positive whatever k is
        ("A*(log(N) - m)**-1", {}),  # no sign of m keeps it from zero
        ("A*N**-a + K", {}),  # nothing is forbidden
        ("A/(1 + K*N) + B/(1 - K*N)", {}),  # either sign breaks one of them
    ],
)
def test_bounds_keep_sums_under_powers_logs_and_fraction_lines_positive(text: str, wanted: Mapping[str, int]) -> None:
    ends = {1: (0.0, math.inf), -1: (-math.inf, 0.0)}
    assert domain_bounds(parse(text, POSITIVE), POSITIVE) == {c: ends[sign] for c, sign in wanted.items()}


def test_bounds_are_for_positive_variables_only() -> None:
    assert domain_bounds(parse("A*(x + K)**-a", ["x"]), ()) == {}


def test_a_bounded_shift_is_fitted_where_the_free_one_ends_the_domain() -> None:
    x = np.geomspace(1e3, 1e6, 12)
    table = table_from({"n": x, "loss": 0.2 + (x - 900.0) ** -0.3}, target="loss", scale="n")
    form = table.parse("E + A*(n + K)**-a")
    rng = np.random.default_rng(0)
    free = Fitter(form, table)
    bounded = Fitter(form, table, bounds=Domain(table).bounds(form))
    shift = {f: f.solve(f.starts(16, rng)).values[0, f.names.index("K")] for f in (free, bounded)}
    assert shift[free] == pytest.approx(-900.0, rel=1e-3)
    assert shift[bounded] == 0.0


# --- intervals


@each(
    "text",
    [
        "E + A*N**-a + B*D**-b",
        "E + (A*N**-a + B/D)**a",
        "exp(-(N/D)**a) + tanh(A*log(N)) - sigmoid(log(D) - B)",
        "min(log(N), B) + max(N**-a, D**-b) + abs(log(N) - B)",
        "E + a*(log(N) - B)**2 - b*(log(D) - B)**3",
        "A/(1 + B*N**-a) + sqrt(E + D**-b)",
        "log(1 + N/D)**-a + (N*D)**-2",
    ],
)
def test_intervals_hold_every_value(text: str) -> None:
    rng = np.random.default_rng(0)
    box = {"N": (1e2, 1e6), "D": (1e3, 1e5), "E": (0.5, 1.0), "A": (1.0, 20.0), "B": (2.0, 9.0)}
    box |= {"a": (0.1, 0.5), "b": (0.2, 0.3)}
    expression = parse(text, POSITIVE)
    known = ranges(expression.tree, box)
    assert known.proven
    for _ in range(200):
        drawn = {c: rng.uniform(*box[c]) for c in box}
        columns = {s: np.array([math.exp(rng.uniform(*np.log(box[s])))]) for s in POSITIVE}
        value = float(evaluate(expression, columns, drawn)[0])
        assert known.value[0] - 1e-9 <= value <= known.value[1] + 1e-9


@each("text", ["1/(log(N) - A)", "(N - A)**-a", "log(N - A)", "sqrt(N - A)", "(N - A)**-2"])
def test_intervals_do_not_prove_what_has_gaps(text: str) -> None:
    box = {"N": (1.0, 1e6), "A": (5.0, 5.0), "a": (0.3, 0.3)}
    assert not ranges(parse(text, ["N"]).tree, box).proven


# --- the check

SOUND = [
    ("E + A*N**-a", {"E": 1, "A": 400, "a": 0.3}),
    ("E + A*(N + K)**-a", {"E": 1, "A": 400, "a": 0.3, "K": 1e6}),
    ("A/(1 + C/N)", {"A": 1, "C": 1e6}),
    ("E + (c/N)**a", {"E": 1, "c": 1e7, "a": 3.0}),
    ("E + A*(log(N) - m)**2", {"E": 1, "A": 0.1, "m": 18.5}),  # a valley in the data
    ("E + A*(1 + ((log(N) - m)**2)**s)", {"E": 1, "A": 0.1, "m": 18.5, "s": 1.0}),
    ("E + A*exp(-((log(D) - m)/w)**2)", {"E": 1, "A": 1, "m": math.log(RUNGS[2]), "w": 2.0}),  # a wide hill
    ("E + A*(log(D) - m)**-1", {"E": 1, "A": 1, "m": 2.0}),  # its pole is at eight tokens
    ("E + A*exp(-(N/D)**k)", {"E": 1, "A": 1, "k": 1.0}),
    ("E + A*sigmoid(k*(log(N) - m))", {"E": 1, "A": 1, "k": 3.0, "m": 18.0}),
]
UNSOUND = [
    ("E + A*(N + K)**-a", {"E": 1, "A": 400, "a": 0.3, "K": -9e6}, "NO_VALUE"),  # ends below the smallest run
    ("E + A*(N + K)**-a", {"E": 1, "A": 400, "a": 0.3, "K": -20.0}, "NO_VALUE"),
    ("A/(1 + C/N)", {"A": 1, "C": -math.sqrt(1e7 * 1e9) * 1.01}, "NO_VALUE"),  # a pole between two rungs
    ("A/(1 + C/N)", {"A": 1, "C": -2e10}, "NO_VALUE"),  # beyond them
    ("A/(N - k*D)", {"A": 1, "k": 1e4}, "NO_VALUE"),  # only for large N with small D
    ("E + A*(log(D) - m)**-1", {"E": 1, "A": 1, "m": math.log(HALFWAY)}, "NO_VALUE"),
    ("E + A*(log(D) - m)**-2", {"E": 1, "A": 1, "m": math.log(HALFWAY)}, "NO_VALUE"),
    ("E + A*abs(log(D) - m)**s", {"E": 1, "A": 1, "m": math.log(HALFWAY), "s": -0.3}, "NO_VALUE"),
    ("E + A*log(N - K)", {"E": 1, "A": 1, "K": 1e6}, "NO_VALUE"),
    # for a hundred times the N with a tenth of the D
    ("E + A*exp(k*N/D)", {"E": 1, "A": 1, "k": 1.0}, "NOT_FINITE"),
    ("E + A*abs(log(D) - m)**s", {"E": 1, "A": 1, "m": math.log(HALFWAY), "s": 0.3}, "SPIKE"),
    ("E + A*(1 + ((log(D) - m)**2)**s)", {"E": 1, "A": 1, "m": math.log(HALFWAY), "s": 0.1}, "SPIKE"),
    ("E + A*exp(-((log(D) - m)/w)**2)", {"E": 1, "A": 1, "m": math.log(HALFWAY), "w": 0.02}, "SPIKE"),
    # at a rung
    ("E + A*exp(-((log(D) - m)/w)**2)", {"E": 1, "A": 1, "m": math.log(RUNGS[2]), "w": 0.05}, "SPIKE"),
    # beyond the data
    ("E + A*exp(-((log(D) - m)/w)**2)", {"E": 1, "A": 1, "m": math.log(5e12), "w": 0.05}, "SPIKE"),
    ("E + A/(1 + ((log(D) - m)/w)**2)", {"E": 1, "A": -1, "m": math.log(HALFWAY), "w": 1e-3}, "SPIKE"),
    ("E + (c/N)**a", {"E": 1, "c": 1e7, "a": 30.0}, "EXPLODES"),  # 1e30 for a tenth of the smallest N
]


@each(("text", "constants"), SOUND)
def test_sound_laws_pass(text: str, constants: dict[str, float]) -> None:
    assert Domain(TABLE).refusal(TABLE.parse(text), [constants], 0) is None


@each(("text", "constants", "why"), UNSOUND)
def test_laws_with_poles_gaps_and_spikes_are_refused(text: str, constants: dict[str, float], why: str) -> None:
    assert Domain(TABLE).refusal(TABLE.parse(text), [constants], 0) is Rejection[why]


@pytest.mark.parametrize("seed", range(3))
def test_a_spike_is_found_wherever_it_lies(seed: int) -> None:
    domain, form = Domain(TABLE), TABLE.parse("E + A*exp(-((log(D) - m)/w)**2)")
    for m in np.random.default_rng(seed).uniform(math.log(1e9), math.log(1e11), 30):
        assert domain.refusal(form, [{"E": 1, "A": 1, "m": m, "w": 1e-3}], 0) == Rejection.SPIKE


def test_a_pole_between_the_rungs_of_another_group_is_refused() -> None:
    n = np.concatenate([[1e6, 1e8, 1e10], [1e6, 3e6, 9e6, 2.7e7]])
    table = table_from({"n": n, "loss": 1 + n**-0.1, "g": ["a"] * 3 + ["b"] * 4}, target="loss", scale="n", group="g")
    form = table.parse("A/(1 + C/n)")
    sound, pole = {"A": 1.0, "C": 10.0}, {"A": 1.0, "C": -1e9}
    assert Domain(table).refusal(form, [sound, sound], 0) is None
    assert Domain(table).refusal(form, [sound, pole], 0) == Rejection.NO_VALUE  # b has no runs beyond 2.7e7, a has


def test_a_covariate_that_touches_zero_may_have_powers() -> None:
    x = np.arange(12.0)
    table = table_from({"x": x, "y": 1 + np.sqrt(x)}, target="y", covariate="x")
    assert Domain(table).refusal(table.parse("E + A*x**a"), [{"E": 1, "A": 1, "a": 0.5}], 0) is None
    assert Domain(table).refusal(table.parse("E + A*x**a"), [{"E": 1, "A": 1, "a": -0.5}], 0) == Rejection.NO_VALUE


def test_what_is_no_scale_is_checked_within_its_data() -> None:
    lr = np.geomspace(1e-4, 1e-2, 9)
    table = table_from({"lr": lr, "loss": 2 + (np.log(lr) + 7) ** 2}, target="loss", hyper="lr")
    form = table.parse("E + A/(lr + K)")
    assert Domain(table).refusal(form, [{"E": 1, "A": 1, "K": -1e-6}], 0) is None
    assert Domain(table).refusal(form, [{"E": 1, "A": 1, "K": -2e-3}], 0) == Rejection.NO_VALUE


def test_columns_of_logarithms_are_walked_as_they_are() -> None:
    log_n = np.linspace(7, 9, 8)
    table = table_from({"x": log_n, "loss": 2 - 0.1 * log_n}, target="loss", scale="x", log="x")
    form = table.parse("E + A*exp(-((x - m)/w)**2)")
    assert Domain(table).refusal(form, [{"E": 1, "A": 1, "m": 8.05, "w": 0.02}], 0) == Rejection.SPIKE
    assert Domain(table).refusal(form, [{"E": 1, "A": 1, "m": 8.05, "w": 3.0}], 0) is None


@pytest.mark.parametrize(
    ("text", "constants", "said"),
    [
        ("A/(1 + C/N)", {"A": 1, "C": -1e8}, "a pole at N = 1e8"),
        ("A*(N + K)**-a", {"A": 1, "a": 0.3, "K": -1e6}, "no value beyond N = 1e6"),
        ("E + A*N**-a", {"E": 1, "A": 1, "a": 0.3}, ""),
    ],
)
def test_a_gap_is_described_by_its_place(text: str, constants: dict[str, float], said: str) -> None:
    assert Domain(TABLE).gap(TABLE.parse(text), [constants]) == said


# --- the search


def refits(table: Table, law_constants: Mapping[str, Mapping[str, float]], text: str) -> Rejection | None:
    return Soundness(table).refusal(table.parse(text), [law_constants[g] for g in table.groups], 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_every_law_of_a_search_is_sound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = np.repeat(np.geomspace(3e4, 5e5, 5), 3)
    # errors that a shift or a pole next to the data would fit better than a power law does
    loss = 0.24 + 20 * (n - 2.5e4) ** -0.7 + rng.normal(0, 2e-4, len(n))
    table = table_from({"n": n, "loss": loss}, target="loss", scale="n")
    found = search(table, "2500fits", seed=seed)
    for candidate in (found.chosen, *found.hall_of_fame):
        assert refits(table, candidate.constants["loss"], candidate.text) is None
    for law in (found.law, found.single or found.law):
        assert refits(table, law.constants["loss"], law.expressions["loss"].text) is None
        far = np.geomspace(3e-2, 5e8, 400)
        assert np.isfinite(law.predict({"n": far})).all()


def test_refused_forms_are_counted_by_their_reason() -> None:
    table = two_scales(0.01)
    found = search(table, "100fits", proposers=[], formulas=["A/(log(N) - 17.3) + E", "E + A*N**-a + B*D**-b"])
    assert found.counts[Rejection.NO_VALUE] == 1
    assert found.chosen.text == "E + A*N**-a + B*D**-b"


def test_a_positive_loss_keeps_a_floor_that_is_not_negative() -> None:
    n = np.repeat(np.geomspace(1e6, 1e9, 8), 2)
    rng = np.random.default_rng(0)
    loss = (8 * n**-0.05 - 1.5) * (1 + 0.003 * rng.normal(size=len(n)))
    table = table_from({"n": n, "loss": loss}, target="loss", scale="n")
    found = search(table, "400fits", proposers=[], formulas=["E + A*n**-a"])
    assert found.law.constants["loss"]["all"]["E"] == 0.0
    assert found.law.settings["loss"].bounds == {"E": (0.0, math.inf)}
    higher = table_from({"n": n, "loss": loss}, target="loss", scale="n", lower=-5.0)
    assert search(higher, "400fits", proposers=[], formulas=["E + A*n**-a"]).law.constants["loss"]["all"]["E"] < -0.5


@each(
    ("text", "constant"),
    [
        ("E + A*N**-a + B*D**-b", "E"),
        ("A*N**-a + L_M", "L_M"),
        ("E + (A/N)**a*(B/D)**b", "E"),
        ("E + A*N**-a + k*(log(D) - m)**2", "E"),
        ("E + A*log(N)", None),
        ("E + A*N**-a + B*exp(-(N/D)**k)", None),  # falls to E + B/e, or E, as the ratio goes
        ("E - A*sigmoid(k*log(N))", None),
        ("A*N**-a", None),
        ("E*(1 + A*N**-a)", None),
        ("E + A*N**-a + E*D**-b", None),
    ],
)
def test_the_floor_is_what_everything_else_vanishes_beside(text: str, constant: str | None) -> None:
    from sld.search.judging.soundness import floor_constant

    assert floor_constant(TABLE.parse(text), TABLE) == constant
