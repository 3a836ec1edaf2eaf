"""Cards: what is read is what is written; what does not fit is refused with its key."""

import copy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from many_cases import case, each

from sld.core.errors import DataError
from sld.data.card import Card, PublishedLaw, Target, Variable, symbol_of, unique_symbols
from sld.formula.expression import parse

DATA = Path(__file__).parents[2] / "shared" / "data"
CARDS = sorted(DATA.glob("*/*/task.toml"))
BUNDLED = sorted((Path(__file__).parents[1] / "tasks").glob("*/task.toml"))

VALID: dict[str, Any] = {
    "name": "chinchilla",
    "version": 2,
    "title": "Loss vs. N and D",
    "row": "one run",
    "licence": "CC0-1.0",
    "provenance": "made up",
    "max_constants": 7,
    "extrapolation": "up",
    "cost": "6*N*D",
    "notes": ["a note", 'with "quotes", \\ and \t tabs\nand lines'],
    "paper": {"authors": "A and B", "year": 2022, "arxiv": "2203.15556", "checked": True, "pages": [1, 2]},
    "group": {"column": "family", "meaning": "architecture"},
    "files": {"train": "train.csv", "held_out": "held_out.csv"},
    "variable": [
        {"column": "N (params)", "meaning": "size", "unit": "parameters", "role": "scale", "monotone": "decreasing"},
        {"column": "D", "role": "scale", "extrapolate": True, "lower": 1.0, "upper": 1e15},
        {"column": "log", "role": "covariate", "log": "log10"},
    ],
    "target": [{"column": "loss", "better": "lower", "lower": 0}, {"column": "acc", "better": "higher", "upper": 1.0}],
    "law": [
        {
            "name": "Chinchilla",
            "expression": "E + A/N_params**a + B/D**b",
            "constants": ["E", "A", "a", "B", "b"],
            "source": "Hoffmann et al. 2022",
            "values": {"MassiveText": {"E": 1.69, "A": 406.4}, "C4": {"E": 1.8}},
        },
        {"name": "each", "expression": {"loss": "E + k*log_", "acc": "E"}, "constants": ["E", "k"], "values": {"E": 2}},
    ],
}


def mutated(*path: Any, value: Any) -> dict[str, Any]:
    data: Any = copy.deepcopy(VALID)
    at = data
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return data  # type: ignore[no-any-return]


def test_card_is_read_with_its_types() -> None:
    card = Card.from_dict(VALID)
    assert (card.name, card.version, card.max_constants, card.group) == ("chinchilla", 2, 7, "family")
    assert [v.symbol for v in card.variables] == ["N_params", "D", "log_"]
    assert card.variables[1].extrapolate and card.variables[2].log == "log10"
    assert card.targets[0].lower == 0.0 and isinstance(card.targets[0].lower, float)
    assert card.columns == ("family", "N (params)", "D", "log", "loss", "acc")
    assert card.held_out_file == "held_out.csv"


def test_defaults_of_a_minimal_card() -> None:
    card = Card.from_dict({"name": "t", "variable": [{"column": "N"}], "target": [{"column": "loss"}]})
    assert (card.version, card.max_constants, card.train_file, card.held_out_file) == (1, 20, "train.csv", None)
    assert card.variables[0].role == "scale" and card.targets[0].better == "lower"


def test_card_round_trips_through_toml() -> None:
    card = Card.from_dict(VALID)
    assert Card.from_dict(tomllib.loads(card.to_toml())) == card


def test_laws_are_parsed_one_formula_per_target() -> None:
    card = Card.from_dict(VALID)
    shared, each = (card.expressions(law) for law in card.laws)
    assert shared["loss"] == shared["acc"] == parse("E + A/N_params**a + B/D**b", ["N_params", "D", "log_"])
    assert each["loss"].used_variables == ("log_",)


def test_own_and_sum_run_over_the_proportions() -> None:
    card = Card(
        "mix",
        variables=(Variable("p1", role="proportion"), Variable("p2", role="proportion")),
        targets=(Target("l1"), Target("l2")),
        laws=(PublishedLaw("mixing", "c + k*exp(t*own) + sum(u_share*share)"),),
    )
    formulas = card.expressions(card.laws[0])
    assert formulas["l1"].text == "c + k*exp(t*p1) + (u_1*p1 + u_2*p2)"
    assert formulas["l2"].text == "c + k*exp(t*p2) + (u_1*p1 + u_2*p2)"


@each(
    ("data", "message"),
    [
        (mutated("licens", value="MIT"), "task.toml: no key 'licens'; did you mean 'licence'?"),
        (mutated("variable", 0, "colum", value="N"), "variable 1: no key 'colum'; did you mean 'column'?"),
        (mutated("group", "name", value="x"), r"\[group\]: no key 'name'; there are column, meaning"),
        (mutated("max_constants", value="six"), r"'max_constants' must be a whole number .*, got 'six' \(text\)"),
        (mutated("max_constants", value=0), r"'max_constants' must be a whole number of at least 1, got 0"),
        (mutated("version", value=True), "'version' must be a whole number .*, got True"),
        (mutated("version", value=10**5000), "'version' must be a whole number .* very many digits"),
        (mutated("variable", 1, "role", value="scales"), "'role' must be 'scale' or .*did you mean 'scale'"),
        (mutated("variable", 1, "extrapolate", value="yes"), "'extrapolate' must be true or false, got 'yes'"),
        (mutated("variable", 1, "lower", value=float("nan")), "'lower' must be a finite number"),
        (mutated("variable", 1, "lower", value=1e16), "lower = 1e16 must be below upper = 1e15"),
        (mutated("variable", 1, "symbol", value="exp"), "'symbol' must be a name"),
        (mutated("variable", 1, "column", value="acc"), "column 'acc' is declared twice"),
        (mutated("variable", value={"column": "N"}), r"'variable' must be a list of tables \(\[\[variable\]\]\)"),
        (mutated("variable", value=[]), "needs at least one .*variable"),
        (mutated("target", value=[]), "needs at least one .*target"),
        (mutated("name", value=""), "'name' must be a name"),
        (mutated("name", value="a/b"), "'name' must be a name that can also be a folder's"),
        (mutated("notes", value="one"), "'notes' must be a list of texts, got 'one'"),
        (mutated("paper", value="2203.15556"), "'paper' must be a table, got '2203.15556'"),
        (mutated("files", "held_out", value="../../answers.csv"), "'held_out' must be a file inside the task folder"),
        (mutated("files", "train", value="/etc/passwd"), "'train' must be a file inside the task folder"),
        (mutated("law", 0, "expression", value="E + A/N_params**"), "law 'Chinchilla': expected a number"),
        (mutated("law", 0, "expression", value="__import__('os')"), "law 'Chinchilla': .* at column"),
        (mutated("law", 0, "expression", value=3), "law 1: key 'expression' must be a formula"),
        (mutated("law", 1, "expression", value={"loss": "E"}), "law 'each': no formula for target 'acc'"),
        (mutated("law", 1, "expression", "los", value="E"), "law 'each': no target 'los'; did you mean 'loss'"),
        (mutated("law", 0, "values", value={"E": "1.69"}), "'values' must be a table of numbers by constant"),
        (mutated("law", 0, "name", value="each"), "two laws are named 'each'"),
        ([], "task.toml: wanted a table of keys, got a list"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_key(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Card.from_dict(data)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_cards(tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    with pytest.raises(DataError, match="no card"):
        Card.read(path)
    for content, message in (
        (b'name = "a', "is not valid TOML"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"version = " + b"9" * 5000, "is not valid TOML"),
        (b"x = " + b"[" * 5000, "is not valid TOML"),
        (b"", "'name' must be a name"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            Card.read(path)


def test_symbols_are_names_of_the_grammar_and_differ() -> None:
    columns = ["N (params)", "N_params", "N params", "exp", "share", "2nd", "%", "Größe", "学习率", "a__b", "x" * 80]
    variables, (target,) = unique_symbols([Variable(c) for c in columns], [Target("N-params")])
    symbols = [v.symbol for v in variables]
    assert symbols[:9] == ["N_params", "N_params_", "N_params_2_", "exp_", "share_", "x_2nd", "x", "Größe", "学习率"]
    assert len({*symbols, target.symbol}) == len(columns) + 1
    for symbol in symbols:
        assert parse(symbol, symbols).used_variables == (symbol,)
    assert parse(" + ".join(symbols), symbols).constants == ()


@pytest.mark.slow
@given(st.text(min_size=1))
def test_any_column_has_a_symbol(column: str) -> None:
    symbol = symbol_of(column)
    assert parse(f"2*{symbol}", [symbol]).used_variables == (symbol,)
    assert symbol_of(symbol) == symbol


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["N", "D", "loss", "E + A*N**-a", "../x", "scale", "\ud800", "9**9**9", "N_params"])
)
JUNK = st.recursive(SCALARS, lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=8), c, max_size=3))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every key and item below `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_arbitrary_changes_of_a_card_raise_nothing_but_data_errors(data: st.DataObject) -> None:
    card = copy.deepcopy(VALID)
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(list(places(card))))
        at: Any = card
        for key in path:
            at = at[key]
        match data.draw(st.sampled_from(["replace", "delete", "add", "swap"])):
            case "replace":
                at[last] = data.draw(JUNK)
            case "delete" if len(at) > 1:
                del at[last]
            case "add" if isinstance(at, dict):
                at[data.draw(st.text(max_size=8) | st.sampled_from(list(VALID)))] = data.draw(JUNK)
            case _:
                at[last] = copy.deepcopy(VALID[data.draw(st.sampled_from(list(VALID)))])
    try:
        read = Card.from_dict(card)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert Card.from_dict(tomllib.loads(read.to_toml())) == read


@given(st.text(), st.lists(st.text()), st.dictionaries(st.text(min_size=1), st.text() | st.floats(-1e9, 1e9)))
def test_free_texts_round_trip(title: str, notes: list[str], paper: dict[str, Any]) -> None:
    card = Card.from_dict({**VALID, "title": title, "notes": notes, "paper": paper})
    assert Card.from_dict(tomllib.loads(card.to_toml())) == card


def test_real_cards_are_read_and_round_trip() -> None:
    for path in (*BUNDLED, *CARDS):
        with case(path.parent.name):
            card = Card.read(path)
            assert Card.from_dict(tomllib.loads(card.to_toml())) == card
            for law in card.laws:
                formulas = card.expressions(law)
                assert set(formulas) == {t.column for t in card.targets}
                assert {name for f in formulas.values() for name in f.constants} == set(law.constants)


def test_all_published_tables_have_cards_that_can_be_read() -> None:
    if not DATA.is_dir():
        pytest.skip("the folder of published tables is not beside this checkout")
    assert len(CARDS) >= 36
