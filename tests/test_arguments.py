"""A value of another type than a public function takes is refused in one line; what is as good is taken."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pytest
from many_cases import each
from numpy.typing import NDArray

import sld
from sld.core.arguments import hints_of, misfit

if TYPE_CHECKING:
    from fractions import Fraction as Something

    import pandas as pd

untyped = cast("Any", sld)
RUNS = {"N": [1.0, 2.0, 4.0, 8.0], "loss": [3.0, 2.0, 1.5, 1.2]}


@each(
    ("value", "hint"),
    [
        (3, int),
        (np.int64(3), int),
        (np.array(3), int),
        (3, float),
        (Decimal("0.5"), float),
        (np.float32(3), float),
        (np.array(3.0), float),
        (np.True_, bool),
        ("a", str),
        (np.str_("a"), str),
        (None, int | None),
        (["a"], str | Sequence[str]),
        (("a", "b"), Sequence[str]),
        ({"a": 1}.keys(), Collection[str]),
        (np.array(["a"]), Sequence[str]),
        ({"a"}, Collection[str]),
        ([0, 1], tuple[float, float]),
        ((1.0, 2.0, 3.0), tuple[float, ...]),
        ({"a": (0, 1)}, Mapping[str, tuple[float, float]]),
        (len, Callable[[str], int]),
        (Path("x"), str | Path),
        ("anything", Literal["a", "b"]),
        ([1, 2], NDArray[np.float64]),
        (object(), Any),
        (object(), object),
        (object(), sld.Law),
    ],
)
def test_what_fits(value: object, hint: Any) -> None:
    assert misfit(value, hint) is None


@each(
    ("value", "hint", "said"),
    [
        (np.array(3.0), int, "a whole number, got array(3.)"),
        (np.array([3.0]), float, "a number, got array([3.])"),
        ("3", int, "a whole number, got '3'"),
        (3.0, int, "a whole number, got 3.0"),
        (True, int, "a whole number, got True"),
        (True, float, "a number, got True"),
        ("3", float | None, "a number or None, got '3'"),
        (1, bool, "True or False, got 1"),
        (5, str | Path | None, "text or a path or None, got 5"),
        ("alpha", Collection[str], "a list of text, got 'alpha'"),
        (["a", 1], Sequence[str], "a list of text, got ['a', 1]"),
        ([1.0, "x"], float | Sequence[float], "a number or a list of numbers, got [1.0, 'x']"),
        ((1.0,), tuple[float, float], "a tuple (a number, a number), got (1.0,)"),
        ("ab", tuple[str, str], "a tuple (text, text), got 'ab'"),
        ("down", Mapping[str, str], "a mapping of text to text, got 'down'"),
        ({"a": "b"}, Mapping[str, float], "a mapping of text to a number, got {'a': 'b'}"),
        ([{"a": "b"}], Sequence[Mapping[str, float]], "a list of mappings of text to a number, got [{'a': 'b'}]"),
        (5, Callable[[str], None] | bool | None, "a function or True or False or None, got 5"),
        (5, Literal["a", "b"], "'a' or 'b', got 5"),
        ("x" * 100, int, "a whole number, got '" + "x" * 56 + "..."),
    ],
)
def test_what_does_not_fit(value: object, hint: Any, said: str) -> None:
    assert misfit(value, hint) == said


def test_an_endless_list_is_not_read() -> None:
    def endless() -> Iterator[str]:
        raise AssertionError("read")
        yield ""

    assert misfit(endless(), Sequence[str]) is None


def test_names_for_type_checkers_only_take_anything_and_keep_their_name() -> None:
    def function(frame: pd.DataFrame, other: Something | int | None, text: str) -> Something:
        raise NotImplementedError

    hints = hints_of(function)
    assert misfit(object(), hints["frame"]) is None and misfit("x", hints["other"]) is None
    assert hints["text"] is str and hints["return"].__name__ == "Something"


@each(
    ("call", "message"),
    [
        (lambda: untyped.discover(RUNS, target="loss", scale="N", out=False), r"discover: out must be .* got False"),
        (lambda: untyped.discover(RUNS, target=5, scale="N"), "discover: target must be text or a list of text, got 5"),
        (lambda: untyped.discover(RUNS, target="loss", scale="N", seed="x"), "seed must be a whole number, got 'x'"),
        (lambda: untyped.discover(RUNS, target="loss", scale="N", formulas="E + N"), "formulas must be a list"),
        (lambda: untyped.fit(RUNS, "E*N**-a", target="loss", scale="N", shared="a"), "shared must be a list of text"),
        (lambda: untyped.fit(RUNS, "E*N**-a", target="loss", scale="N", starts="8"), "fit: starts must be a whole"),
        (lambda: untyped.allocate("E*N**-a", "1e9"), "allocate: budget must be a number or a list of numbers or None"),
        (lambda: untyped.score("x", RUNS, melt="no"), "score: melt must be True or False, got 'no'"),
        (lambda: untyped.load_run(5), "load_run: folder must be text or a path, got 5"),
        (lambda: untyped.leaderboard(tasks="nanolm_moe"), "leaderboard: tasks must be a list of"),
    ],
)
def test_a_value_of_another_type_is_refused_in_a_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(sld.UsageError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value) and str(caught.value).startswith("sld.")


def test_a_missing_argument_is_said_by_python() -> None:
    with pytest.raises(TypeError, match="missing 2 required"):
        untyped.fit()


def test_every_verb_is_checked() -> None:
    from sld import _HOMES

    for name in _HOMES["sld.api"]:
        assert hasattr(getattr(sld, name), "__wrapped__"), name
