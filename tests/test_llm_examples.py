"""The examples in the docstrings of what talks to a language model are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

from many_cases import each

from sld import chat
from sld.search import llm

MODULES = sorted(m.name for room in (chat, llm) for m in pkgutil.iter_modules(room.__path__, f"{room.__name__}."))


@each("name", MODULES)
def test_examples_are_true(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples() -> None:
    found = doctest.DocTestFinder(exclude_empty=True)
    n = sum(len(test.examples) for name in MODULES for test in found.find(importlib.import_module(name)))
    assert n >= 20
