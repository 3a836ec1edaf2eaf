"""What a search hands out on random tables of known origin keeps the properties that hold for every table."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from many_cases import each
from property_tables import WATCHED, Violation, _along, _false_law, check, judge, walks
from random_tables import FORMS, TARGET, Array, Drawn, draw

SEEDS = (3, 7, 19, 35, 41, 54, 58, 65, 148, 151, 177, 197)  # on nine of them 0.5.0 handed out laws that break


def found_along(predict: Callable[[Mapping[str, Array]], Array], drawn: Drawn) -> set[str]:
    """The kinds of what is wrong with a law along all walks."""
    law = SimpleNamespace(predict=lambda points: np.asarray(predict(points))[:, None])
    with np.errstate(all="ignore"):
        return {violation.kind for walk in walks(drawn) for violation in _along(law, drawn, walk)}


def ladder(n_rows: int = 9) -> Drawn:
    """A power law in one variable, from 1e6 to 1e9."""
    n = np.geomspace(1e6, 1e9, n_rows)
    y = 1 + 10 * n**-0.2
    roles = {"target": TARGET, "scale": ["N"]}
    return Drawn(0, "", {"N": n, TARGET: y}, roles, y, np.zeros(n_rows, dtype=np.bool_), ())


def test_a_table_is_a_function_of_its_number() -> None:
    one, two = draw(11), draw(11)
    assert one.about == two.about
    assert all((np.asarray(one.columns[n]) == np.asarray(two.columns[n])).all() for n in one.columns)


def test_every_form_comes_and_tables_are_of_the_promised_sizes() -> None:
    tables = [draw(seed) for seed in range(200)]
    assert {t.about.split(":")[0] for t in tables} == {form.name for form in FORMS}
    assert all(5 <= len(t.truth) <= 160 for t in tables)
    assert all(np.isfinite(t.y).all() and (t.y[~t.failed] > 0).all() for t in tables)
    for word in ("repeats", "isoflop", "single ratio", "uneven", "groups", "failed", "falling with scale"):
        assert sum(word in t.about for t in tables) >= 5, word


@pytest.mark.parametrize("seed", range(len(FORMS)))  # forms come in turn
def test_the_laws_behind_the_tables_have_the_properties_themselves(seed: int) -> None:
    drawn = draw(seed)
    with np.errstate(all="ignore"):
        assert [v for walk in walks(drawn) for v in _along(drawn, drawn, walk)] == []


def test_noise_alone_is_no_reason_against_a_law() -> None:
    for seed in range(60):
        drawn = draw(seed)
        found = SimpleNamespace(verdict=SimpleNamespace(kind="law"), law=drawn)
        assert list(_false_law(found, drawn)) == []


@each(
    ("predict", "kind"),
    [
        (lambda x: 1 + 1e5 / (x["N"] - 3.1234e7), "pole"),
        (lambda x: 1 + (1e4 / (x["N"] - 2.7e5)) ** 2, "pole"),  # below the smallest
        (lambda x: 1 + np.where(x["N"] > 7e9, 1.0, 0.0), "pole"),  # a jump
        (lambda x: 1 + (x["N"] - 1e6) ** -0.2, "not finite"),
        (lambda x: 1 + np.log(2e10 - x["N"]), "not finite"),
        (lambda x: 1 + np.exp(-((np.log(x["N"] / 2e7) / 0.1) ** 2)), "spike"),
        (lambda x: 1 + np.exp(x["N"] / 2e9), "runs away"),
    ],
)
def test_a_law_that_breaks_is_found_out(predict: Callable[[Mapping[str, Array]], Array], kind: str) -> None:
    assert kind in found_along(predict, ladder())


@each(
    "predict",
    [
        lambda x: 1 + 10 * x["N"] ** -0.2,
        lambda x: 1 + 10 * x["N"] ** -0.9,
        lambda x: 1 / (1 + np.exp(-3 * np.log(x["N"] / 1e8))),  # steep, and wider than the rungs are apart
        lambda x: 1 + (x["N"] / 1e11),
        lambda x: 1 + 0.1 * np.log(x["N"] / 3e7) ** 2,
    ],
)
def test_a_law_that_is_merely_wrong_is_not_said_to_break(predict: Callable[[Mapping[str, Array]], Array]) -> None:
    assert found_along(predict, ladder()) == set()


def test_a_flat_law_is_no_law() -> None:
    drawn = ladder()
    flat = SimpleNamespace(predict=lambda points: np.full((len(points["N"]), 1), drawn.y.mean()))
    found = SimpleNamespace(verdict=SimpleNamespace(kind="law"), law=flat)
    assert [v.kind for v in _false_law(found, drawn)] == ["false law"]
    found.verdict.kind = "weak"
    assert list(_false_law(found, drawn)) == []


def test_estimates_outside_their_intervals_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import sld

    drawn = ladder()
    columns: dict[str, Any] = dict(drawn.columns)
    found = sld.discover(columns, budget="300fits", workers=1, target=TARGET, scale="N")
    assert check(found, drawn) == []
    monkeypatch.setattr("sld.analysis.intervals.constant_intervals", lambda law: _moved(law))
    told = sld.predict(found.law, columns)
    monkeypatch.setattr("sld.predict", lambda law, points: told | {"y_low": told["y"] + 1.0}, raising=False)
    assert {v.kind for v in check(found, drawn)} == {"constant outside", "prediction outside"}


def _moved(law: Any) -> dict[str, dict[str, dict[str, tuple[float, float]]]]:
    constants = law.constants[TARGET]
    return {TARGET: {g: {c: (abs(v) + 1.0, abs(v) + 2.0) for c, v in by.items()} for g, by in constants.items()}}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_no_law_of_a_random_table_breaks(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, violations = judge(seed, "2000fits")
    assert [v for v in violations if v.kind not in WATCHED] == [], draw(seed).about


def test_a_violation_says_where() -> None:
    drawn = ladder()
    law = SimpleNamespace(predict=lambda points: 1e7 / (points["N"] - 2e8)[:, None])
    with np.errstate(all="ignore"):
        (found,) = [v for walk in walks(drawn) for v in _along(law, drawn, walk) if v.kind == "pole"][:1]
    assert isinstance(found, Violation) and "N=2" in found.where
