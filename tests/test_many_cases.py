"""Cases that are folded into one test: each is tried, and the one that fails is named."""

from pathlib import Path

import pytest
from many_cases import case, each

TRIED: list[tuple[str, int, bool]] = []


@each("word, length", [("one", 3), ("three", 5)])
@each("there", [True, False])
def test_every_case_is_tried_with_the_fixtures(tmp_path: Path, word: str, length: int, there: bool) -> None:
    assert tmp_path.is_dir() and len(word) == length
    TRIED.append((word, length, there))
    assert TRIED == [(w, n, t) for w, n in (("one", 3), ("three", 5)) for t in (True, False)][: len(TRIED)]
    assert len(TRIED) == 4 or (word, there) != ("three", False)


def test_the_case_that_fails_is_named() -> None:
    @each("number", [2, 4, 5, 6])
    def even(number: int) -> None:
        assert number % 2 == 0

    with pytest.raises(AssertionError) as failed:
        even()
    assert failed.value.__notes__ == ["in the case number=5"]
    with pytest.raises(KeyError) as failed_too:
        with case("chinchilla"):
            _ = dict[str, int]()["x"]
    assert failed_too.value.__notes__ == ["in the case 'chinchilla'"]


def test_no_case_at_all_is_a_failure() -> None:
    @each("number", [])
    def even(number: int) -> None:
        assert number % 2 == 0

    with pytest.raises(AssertionError, match="no case at all"):
        even()


def test_marks_of_a_case_are_refused_as_they_would_be_lost() -> None:
    with pytest.raises(AssertionError, match="no marks"):
        each("number", [1, pytest.param(2, marks=pytest.mark.slow)])
