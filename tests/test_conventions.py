"""Two laws whose N are counted differently are told apart, and what a card does not say raises no alarm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import write_task
from commands import runner
from many_cases import case

from sld.data.card import Card, Target, Variable
from sld.data.counting.counted import CONVENTIONS
from sld.data.counting.settings import count_of_settings, counted_settings
from sld.formula.expression import parse
from sld.laws.conventions import convention_of, conventions_differ
from sld.laws.law import Law


def law(*variables: Variable, unit: str = "nats/token") -> Law:
    symbols = [v.symbol for v in variables]
    text = "E + " + " + ".join(f"A{k}*{s}**-a{k}" for k, s in enumerate(symbols))
    values = {name: 0.5 for name in parse(text, symbols).constants}
    return Law({"loss": parse(text, symbols)}, {"loss": {"all": values}}, variables, (Target("loss", unit=unit),))


TOTAL, OTHER = Variable("N", convention="total"), Variable("N", convention="non-embedding")
TOKENS = Variable("D", unit="tokens")


def test_laws_that_count_n_differently_are_told_apart() -> None:
    (sentence,) = conventions_differ(law(TOTAL, TOKENS), law(OTHER, TOKENS))
    assert sentence.startswith(
        "N is counted as total in one law and as non-embedding in the other: one N means two models"
    )
    assert "sld count" in sentence


def test_the_same_quantity_is_known_under_two_names() -> None:
    params = Variable("params", meaning="non-embedding parameters")
    (sentence,) = conventions_differ(law(TOTAL), law(params))
    assert sentence.startswith("N (of the other law params) is counted as total")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Variable("N"), TOTAL),  # a card that does not say
        (TOTAL, Variable("N", convention="Total")),
        (Variable("N", unit="parameters"), Variable("N", unit="parameter")),
        (TOTAL, Variable("experts", convention="all")),  # another quantity
    ],
)
def test_what_agrees_or_is_not_said_raises_no_alarm(a: Variable, b: Variable) -> None:
    assert conventions_differ(law(a), law(b)) == ()


def test_units_that_differ_are_said() -> None:
    words = law(Variable("D", unit="words"))
    assert conventions_differ(law(TOKENS), words) == ("D is in tokens in one law and in words in the other",)
    bytes_ = law(TOKENS, unit="nats/byte")
    assert conventions_differ(law(TOKENS), bytes_) == (
        "loss is in nats/token in one law and in nats/byte in the other",
    )


def test_a_meaning_says_the_convention_where_the_card_has_no_key() -> None:
    meanings = {
        "non-embedding parameters, 12 x depth x width^2": "non-embedding",
        "active non-embedding parameters": "active-non-embedding",
        "parameters, embeddings included": "",
        "parameters including embeddings": "total",
        "total parameters of all experts": "total",
        "activated parameters": "active",
        "": "",
    }
    for meaning, convention in meanings.items():
        with case(meaning):
            assert convention_of(Variable("N", meaning=meaning)) == convention
            assert convention in ("", *CONVENTIONS)
    assert convention_of(Variable("D", meaning="total tokens")) == ""  # of tokens nothing is guessed


def test_a_law_and_a_card_keep_the_convention(tmp_path: Path) -> None:
    saved = json.loads(json.dumps(law(OTHER).to_json()))
    assert Law.from_json(saved).variables[0].convention == "non-embedding"
    card = Card("mine", variables=(OTHER,), targets=(Target("loss"),))
    (tmp_path / "task.toml").write_text(card.to_toml(), encoding="utf-8")
    assert Card.read(tmp_path).variables == (OTHER,)


def test_the_command_shows_the_convention_of_a_card(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_task(tmp_path / "mine", 'convention = "non-embedding"')
    assert "counted as non-embedding" in runner(capsys, monkeypatch, tmp_path)("tasks", "show", "mine").out


def test_settings_of_a_run_are_counted_where_they_describe_a_model() -> None:
    """As trackers keep them: flat, in a folder of their own, beside settings of the training."""
    sizes = {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
    gpt2 = {"model_type": "gpt2", **sizes}
    training = {"lr": 1e-3, "run/seed": 1, "other_model_type": "x"}
    for prefix in ("", "model.", "config/model/"):
        found = counted_settings({**training, **{prefix + key: value for key, value in gpt2.items()}})
        assert found["count.total"] == 124_439_808 and found["count.active_non_embedding"] == 85_056_000
        assert len(found) == len(CONVENTIONS)
    assert counted_settings(training) == {}
    assert counted_settings({"model_type": "gpt2"}) == {}  # sizes were not kept
    assert count_of_settings({"model_type": "rwkv", **sizes}) is None
