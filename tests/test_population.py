"""What a search remembers of all forms, and what of that it breeds from."""

from __future__ import annotations

from dataclasses import replace

from candidates import candidate, formula

from sld.search.candidates.candidate import Candidate
from sld.search.candidates.population import Population


def by_model(key: str, score: float) -> Candidate:
    return replace(candidate(key, score), origin="llm:m")


def test_counts_are_of_all_that_was_tried_by_what_became_of_it() -> None:
    population = Population(1)
    for c in (
        candidate("a", 0.0),
        candidate("b", -1.0, admissible=False),
        candidate("c", 0.0, status="explains nothing"),
    ):
        population.add(c, 7)
    assert population.counts == {"tried": 3, "judged": 2, "inadmissible": 1, "explains nothing": 1}
    assert (population.n_tried, population.n_fits) == (3, 21)


def test_what_a_model_had_a_part_in_never_enters_what_the_search_breeds_from() -> None:
    population = Population(1)
    population.add(candidate("before", -1.0), 1)
    assert not population.aided and population.unaided is population.everything
    population.add(by_model("model", -3.0), 1)
    population.add(replace(candidate("child", -4.0), lineage=("llm:m: E",)), 1)
    population.add(candidate("after", -2.0), 1)
    assert population.aided
    assert [c.key for c in population.everything.together.ranked()] == ["child", "model", "after", "before"]
    assert [c.key for c in population.unaided.together.ranked()] == ["after", "before"]


def test_a_failed_form_of_a_model_changes_nothing() -> None:
    population = Population(1)
    population.add(replace(candidate("model", 0.0, status="explains nothing"), origin="llm:m"), 1)
    assert not population.aided


def test_each_target_has_a_hall_of_its_own_parts() -> None:
    population = Population(2)
    one, other = candidate("a | b", -1.0), candidate("c | d", -2.0)
    for c, scores in ((one, (-3.0, 0.0)), (other, (-1.0, -2.0))):
        judgements = tuple(replace(c.judgements[0], score=s) for s in scores)
        constants: dict[str, dict[str, dict[str, float]]] = {"x": {}, "y": {}}
        both = replace(
            c, expressions={"x": formula(), "y": formula()}, judgements=judgements, constants=constants,
            origin="llm:m" if c is other else "test",
        )  # fmt: skip
        population.add(both, 1)
    assert [h.ranked()[0].key for h in population.everything.by_target] == ["a", "d"]
    assert [h.ranked()[0].key for h in population.unaided.by_target] == ["a", "b"]
    assert population.unaided.together.ranked()[0].key == "a | b"
