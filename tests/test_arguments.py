"""A value of another type than a public function takes is refused in one line; what is as good is taken."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd
import pytest
from many_cases import each
from numpy.typing import NDArray

import sld
from sld.core.arguments import Misfit, fitted, hints_of

if TYPE_CHECKING:
    from fractions import Fraction as Something

    import pandas as pd

untyped = cast("Any", sld)
RUNS = {"N": [1.0, 2.0, 4.0, 8.0], "loss": [3.0, 2.0, 1.5, 1.2]}


@each(
    ("value", "hint"),
    [
        (3, int),
        (3, float),
        (3.5, float),
        (True, bool),
        ("a", str),
        (np.str_("a"), str),
        (None, int | None),
        (["a"], str | Sequence[str]),
        (("a", "b"), Sequence[str]),
        ({"a"}, Collection[str]),
        ((0, 1.5), tuple[float, float]),
        ((1.0, 2.0, 3.0), tuple[float, ...]),
        ({"a": (0, 1)}, Mapping[str, tuple[float, float]]),
        ({"a": [1, 2]}, Mapping[str, Any]),
        (len, Callable[[str], int]),
        (len, Callable[[str], int] | bool | None),
        (True, Callable[[str], int] | bool | None),
        (1, bool | float),
        (Path("x"), str | Path),
        ("anything", Literal["a", "b"]),
        ([1, 2], NDArray[np.float64]),
        (object(), Any),
        (object(), object),
        (object(), sld.Law),
    ],
)
def test_what_fits_stays_what_it_is(value: object, hint: Any) -> None:
    assert fitted(value, hint) is value


@each(
    ("value", "hint", "taken"),
    [
        (np.int64(3), int, 3),
        (np.array(3), int, 3),
        (512.0, int, 512),
        (np.float32(0.5), float, 0.5),
        (np.float64(0.5), float | None, 0.5),
        (np.array(3.0), float, 3.0),
        (np.int64(3), float, 3.0),
        (Decimal("0.5"), float | str, 0.5),
        ("1e21", float, 1e21),
        ("4", int, 4),
        ("alpha", Collection[str], ["alpha"]),
        (np.True_, bool, True),
        (0, bool, False),
        ({"a": 1}.keys(), Collection[str], ["a"]),
        ((x for x in "ab"), Collection[str], ["a", "b"]),
        (np.array(["a"]), str | Sequence[str], ["a"]),
        (pd.Index(["a", "b"]), str | Sequence[str], ["a", "b"]),
        (np.array([1.0, 2.0]), float | Sequence[float], [1.0, 2.0]),
        ([1, 1e2], Sequence[int], [1, 100]),
        ((np.int64(1), np.float32(2)), tuple[float, float], (1.0, 2.0)),
        ({"E": np.int64(1), "a": "b"}, Mapping[str, float | str], {"E": 1.0, "a": "b"}),
        (pd.Series({"N": 1.5}), Mapping[str, float], {"N": 1.5}),
        (pd.DataFrame({"N": [1.5, 2.5]}), Mapping[str, Sequence[float]], {"N": [1.5, 2.5]}),
        ([{"N": np.int64(1)}], Mapping[str, float] | Sequence[Mapping[str, float]], [{"N": 1.0}]),
    ],
)
def test_what_is_as_good_is_made_plain(value: Any, hint: Any, taken: Any) -> None:
    found = fitted(value, hint)
    assert found == taken and type(found) is type(taken)
    if isinstance(taken, list | tuple):
        assert [type(x) for x in found] == [type(x) for x in taken]
    if isinstance(taken, dict):
        assert [type(x) for x in found.values()] == [type(x) for x in taken.values()]


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@each(
    ("value", "hint", "said"),
    [
        ("3.5", int, "a whole number, got '3.5'"),
        ("few", int, "a whole number, got 'few'"),
        (3.5, int, "a whole number, got 3.5"),
        (float("nan"), int, "a whole number, got nan"),
        (np.array(3.5), int, "a whole number, got array(3.5)"),
        (np.array([3.0]), float, "a number, got a ndarray"),
        (True, int, "a whole number, got True"),
        (np.True_, float, "a number, got np.True_"),
        (1j, float, "a number, got 1j"),
        ("a", float | None, "a number, got 'a'"),
        (2, bool, "True or False, got 2"),
        (5, str | Path | None, "text or a path, got 5"),
        ("alpha", Sequence[float], "a list of numbers, got 'alpha'"),
        ("alpha", Sequence[Mapping[str, float]], "a list of mappings of text to a number, got 'alpha'"),
        ({"a": 1}, Collection[str], "a list of text, got {'a': 1}"),
        (["a", 1], Sequence[str], "a list of text, got ['a', 1]"),
        ([1.0, "x"], float | Sequence[float], "a number or a list of numbers, got [1.0, 'x']"),
        (np.ones((2, 2)), float | Sequence[float], "a number or a list of numbers, got a ndarray"),
        ((1.0,), tuple[float, float], "a tuple (a number, a number), got (1.0,)"),
        ("ab", tuple[str, str], "a tuple (text, text), got 'ab'"),
        ("down", Mapping[str, str], "a mapping of text to text, got 'down'"),
        ({"a": "b"}, Mapping[str, float], "a mapping of text to a number, got {'a': 'b'}"),
        (
            {"C": [1, 2]},
            Mapping[str, float] | Sequence[Mapping[str, float]],
            "a mapping of text to a number or a list of mappings of text to a number, got {'C': [1, 2]}",
        ),
        (5, Callable[[str], None] | bool | None, "a function or True or False, got 5"),
        (5, Literal["a", "b"], "'a' or 'b', got 5"),
        (5, Sequence[object], "a list, got 5"),
        (5, sld.Law, "a Law, got 5"),
        ("x" * 100, int, "a whole number, got '" + "x" * 56 + "..."),
        (pd.DataFrame({"N": [1]}), int, "a whole number, got a DataFrame"),
        (Odd(), int, "a whole number, got a Odd"),
    ],
)
def test_what_does_not_fit(value: object, hint: Any, said: str) -> None:
    with pytest.raises(Misfit) as caught:
        fitted(value, hint)
    assert str(caught.value) == said


def test_names_for_type_checkers_only_take_anything_and_keep_their_name() -> None:
    def function(frame: pd.DataFrame, other: Something | int | None, text: str) -> Something:
        raise NotImplementedError

    hints = hints_of(function)
    frame = object()
    assert fitted(frame, hints["frame"]) is frame
    with pytest.raises(Misfit, match="a Something or a whole number, got 'x'"):
        fitted("x", hints["other"])
    assert hints["text"] is str and hints["return"].__name__ == "Something"


@each(
    ("call", "message"),
    [
        (lambda: untyped.discover(RUNS, target="loss", scale="N", out=False), r"discover: out must be .* got False"),
        (lambda: untyped.discover(RUNS, target=5, scale="N"), "discover: target must be text or a list of text, got 5"),
        (lambda: untyped.discover(RUNS, target="loss", scale="N", seed="x"), "seed must be a whole number, got 'x'"),
        (
            lambda: untyped.discover(RUNS, target="loss", scale="N", formulas=5),
            "formulas must be a list of text or map",
        ),
        (lambda: untyped.fit(RUNS, "E*N**-a", target="loss", scale="N", shared=5), "shared must be a list of text"),
        (lambda: untyped.fit(RUNS, "E*N**-a", target="loss", scale="N", starts="few"), "fit: starts must be a whole"),
        (lambda: untyped.allocate("E*N**-a", "much"), "allocate: budget must be a number or a list of numbers, got"),
        (lambda: untyped.score("x", RUNS, melt="no"), "score: melt must be True or False, got 'no'"),
        (lambda: untyped.load_run(5), "load_run: folder must be text or a path, got 5"),
        (lambda: untyped.leaderboard(tasks=5), "leaderboard: tasks must be a list of"),
    ],
)
def test_a_value_of_another_type_is_refused_in_a_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(sld.UsageError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value) and str(caught.value).startswith("sld.")


def test_a_missing_argument_is_said_by_python() -> None:
    with pytest.raises(TypeError, match="missing 2 required"):
        untyped.fit()
    with pytest.raises(TypeError, match="takes 2 positional"):
        untyped.fit(RUNS, "E", "loss")


@each(
    ("call", "message"),
    [
        (
            lambda: untyped.fit(RUNS, "E*N**-a", target="loss", scale="N", seed=-1),
            "fit: seed must be 0 or more, got -1",
        ),
        (lambda: untyped.fit(RUNS, laws="E*N**-a"), "fit: no keyword 'laws'; did you mean 'law'"),
        (lambda: untyped.count(configs={}), "count: no keyword 'configs'; did you mean 'config'"),
        (lambda: untyped.next_runs(RUNS, bugdet=1e20), "next_runs: no keyword 'bugdet'; did you mean 'budget'"),
        (lambda: untyped.compare(laws=["a", "b"]), "compare: no keyword 'laws'"),
        (lambda: untyped.fit(RUNS, "E", target="loss", **{"return": 1}), "fit: no keyword 'return'"),
        (
            lambda: untyped.downstream(RUNS, scale="N", metric="loss", at={"N": [1, 2]}),
            "downstream: at must be a mapping",
        ),
    ],
)
def test_names_and_numbers_that_cannot_be(call: Callable[[], object], message: str) -> None:
    with pytest.raises(sld.UsageError, match=message):
        call()


def test_what_need_not_be_given_may_be_none_and_numbers_may_be_of_numpy() -> None:
    law = untyped.fit({"N": np.geomspace(1, 100, 6), "loss": 2 + 1 / np.geomspace(1, 100, 6)}, "E + A*N**-a",
                  target="loss", scale=pd.Index(["N"]), upper=np.float64(9), pins={"E": np.int64(2)}, shared=None,
                  melt=np.False_, starts=np.int64(4), seed=np.array(0))  # fmt: skip
    assert law.constants["loss"]["all"]["E"] == 2
    plan = untyped.allocate(law, np.int64(10**6), cost="N", target=None, draws=100.0)
    assert plan.plans[0].budget.value == pytest.approx(1e6)


def test_a_generator_of_names_is_read_once_and_kept() -> None:
    two = {
        "N": [1.0, 2.0, 4.0, 8.0] * 2,
        "loss": [3.0, 2.0, 1.5, 1.2, 3.3, 2.2, 1.65, 1.32],
        "g": ["a"] * 4 + ["b"] * 4,
    }
    law = untyped.fit(two, "A*N**-a", target="loss", scale="N", group="g", shared=(x for x in ["a"]))
    assert law.settings["loss"].shared == ("a",)


def test_a_warning_points_at_the_line_of_the_caller() -> None:
    for _ in range(2):
        with pytest.warns(sld.SldWarning) as caught:
            sld.predict("1.7 + 300*log(N - 5e9)", {"N": [1e9]})
        assert {w.filename for w in caught} == {__file__}


def test_every_verb_is_checked() -> None:
    from sld import _HOMES

    for name in _HOMES["sld.api"]:
        assert hasattr(getattr(sld, name), "__wrapped__"), name
