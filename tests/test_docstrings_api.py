"""The docstrings of the public verbs: what they promise stands there, and their examples run."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import pytest
from many_cases import each

import sld
from sld.api import options
from sld.api.allocation import AllocateOptions
from sld.api.next_options import NextOptions
from sld.api.settings import OptimumOptions

VERBS = (
    *(sld.collect, sld.diagnose, sld.discover, sld.fit, sld.predict, sld.score, sld.submit, sld.leaderboard),
    *(sld.count, sld.plausibility, sld.allocate, sld.compare, sld.isoflop, sld.optimum, sld.sensitivity, sld.worth),
    *(
        sld.curve,
        sld.curve_alignment,
        sld.curve_law,
        sld.downstream,
        sld.downstream_items,
        sld.families,
        sld.passk,
        sld.rl,
        sld.utd,
        sld.next_runs,
        sld.check_design,
    ),
)


@pytest.mark.slow
@each("verb", VERBS)
def test_the_example_of_a_verb_gives_what_it_shows(verb: Callable[..., Any]) -> None:
    (example,) = doctest.DocTestFinder(recurse=False).find(verb, verb.__name__)
    runner = doctest.DocTestRunner()
    said: list[str] = []
    runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).attempted >= 3 and not runner.failures, "".join(said)


@each("verb", VERBS)
def test_a_verb_says_every_argument_its_result_and_its_failures(verb: Callable[..., Any]) -> None:
    text = inspect.getdoc(verb) or ""
    arguments = text.partition("\nArgs:\n")[2].partition("\n\n")[0]
    told = re.findall(r"^    \**(\w+): ", arguments, flags=re.MULTILINE)
    assert told == list(inspect.signature(verb).parameters)
    assert all(f"\n{part}:\n" in text for part in ("Returns", "Raises", "Examples"))


@each(
    "record",
    [
        *(options.ColumnOptions, options.SearchOptions, options.FormOptions, options.EntryOptions),
        *(AllocateOptions, NextOptions, OptimumOptions),
    ],
)
def test_every_option_says_what_it_is(record: type) -> None:
    told = re.findall(r"^    (\w+): ", inspect.getdoc(record) or "", flags=re.MULTILINE)
    own = options.keys_of(record) - (options.keys_of(options.ColumnOptions) if record in TABLE_VERBS else set())
    assert set(told) == own and len(told) == len(own)


TABLE_VERBS = (options.SearchOptions, options.FormOptions, NextOptions)


def keywords_of(function: Callable[..., Any]) -> frozenset[str]:
    """Return the keywords of a function, those of a record behind its ** included."""
    found: frozenset[str] = frozenset()
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            found |= {parameter.name}
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            (record,) = get_args(get_type_hints(function)[parameter.name])
            found |= options.keys_of(record)
    return found


def test_options_of_columns_are_those_of_a_bare_table() -> None:
    columns = keywords_of(sld.table_from)
    assert {"target", "scale", "melt"} <= columns
    assert options.keys_of(options.ColumnOptions) == columns | {"name"}


untyped: Any = sld  # a type checker finds these mistakes as well
RUNS = {"N": [1.0, 2.0, 4.0], "loss": [3.0, 2.0, 1.5]}


@each(
    ("call", "message"),
    [
        (
            lambda: untyped.discover(RUNS, target="loss", scale="N", budgt="20s"),
            "sld.discover: no keyword 'budgt'.*'budget'",
        ),
        (lambda: untyped.discover(RUNS, target="loss", scales="N"), "sld.discover: no keyword 'scales'.*'scale'"),
        (lambda: untyped.fit(RUNS, "E", target="loss", bound={}), "sld.fit: no keyword 'bound'.*'bounds'"),
        (lambda: untyped.fit(RUNS, "E", target="loss", start=3), "sld.fit: no keyword 'start'.*'starts'"),
        (
            lambda: untyped.submit("E", "nanolm_chinchilla", name="x", athor="y"),
            "sld.submit: no keyword 'athor'.*'author'",
        ),
        (lambda: untyped.discover(RUNS, zzz=1), r"no keyword 'zzz' \(help\(sld.discover\) lists all\)"),
    ],
)
def test_a_wrong_keyword_names_the_nearest(call: Callable[[], object], message: str) -> None:
    with pytest.raises(sld.UsageError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
