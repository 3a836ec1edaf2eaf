"""Published laws come back from rows that they generated (`bench/rediscovery.py` does it for all of them)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "bench" / "rediscovery.py"
    spec = importlib.util.spec_from_file_location("rediscovery", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["rediscovery"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# one whose writing has a constant too many, one that grows over decades, one whose constants are few and formula long
@pytest.mark.slow
@pytest.mark.parametrize("law", ["bimix", "hernandez_transfer", "inference_flaws"])
def test_a_published_law_is_found_again_with_its_constants(bench: ModuleType, law: str) -> None:
    ((problem,), _) = bench.problems([law])
    (result,) = bench.measure([problem], "exact", "2500fits", 0)
    assert result["found"], result
    assert result["miss"] < 1e-6
    assert result["constant_error"] < 0.01


@pytest.mark.slow
def test_a_law_is_not_found_in_what_is_not_it(bench: ModuleType) -> None:
    ((problem,), _) = bench.problems(["chinchilla"])
    ((other,), _) = bench.problems(["kaplan_ns"])
    found = bench.search(other, "exact", "300fits", 0)
    assert bench.check(other, "exact", found)["found"]
    assert not bench.is_the_law(problem, found.chosen)


def test_rows_for_checking_lie_beyond_those_of_the_search(bench: ModuleType) -> None:
    problems, left_out = bench.problems()
    assert len(problems) >= 40
    assert len(problems) + len(left_out) == 152
    for problem in problems:
        scales = [i for i, v in enumerate(problem.train.variables) if v.role == "scale"]
        if scales:
            top = problem.train.X[:, scales].max(axis=0)
            assert (problem.beyond.X[:, scales] > top).any(axis=1).all()
        assert problem.condition < 1e6
        assert np.array_equal(problem.noisy(0).Y, problem.noisy(0).Y)
        assert not np.array_equal(problem.noisy(0).Y, problem.noisy(1).Y)


@pytest.mark.slow
def test_a_family_left_out_of_the_catalogue_is_not_proposed_by_it(bench: ModuleType) -> None:
    ((problem,), _) = bench.problems(["chinchilla"])
    found = bench.search(problem, "exact without its family", "6000fits", 0)
    assert bench.is_the_law(problem, found.chosen)
    assert not found.chosen.origin.startswith("catalogue")
