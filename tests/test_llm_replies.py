"""From a model's text to proposals: whatever shape it has, through the grammar, and never more than allowed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from many_cases import each
from pace import pace
from searches import mixture, two_scales

from sld.data.table import Table, table_from
from sld.search.judging.judge import Proposal
from sld.search.llm.replies import (
    MAX_IDEAS,
    Idea,
    ParsedReply,
    Rejected,
    ideas_in,
    parse_reply,
    proposal_of,
    schema,
    tidy,
)

TABLE = two_scales()
MIXTURE = mixture()
LAW = "E + A*N**-a + B*D**-b"
OTHER = "E + A*N**-a"


def parsed(text: str) -> ParsedReply:
    return parse_reply(text, TABLE, origin="llm:m", max_constants=20)


def texts(text: str) -> list[str]:
    return [p.forms[0].expression.text for p, _ in parsed(text).proposals]


PROPOSALS = json.dumps({"proposals": [{"expression": LAW, "reason": "classic"}, {"expression": OTHER, "reason": ""}]})


@each(
    "text",
    [
        PROPOSALS,
        f"```json\n{PROPOSALS}\n```",
        f"Sure! Here are some ideas:\n\n```\n{PROPOSALS}\n```\nHope this helps {{:-)}} [1]",
        f"<think>perhaps {{'a': 1}} or [\"E + C*D**-c\"] ...</think>\n{PROPOSALS}",
        PROPOSALS.replace("}]", "},]"),
        PROPOSALS.replace('""}', '"",}'),
        PROPOSALS[:-2],  # cut off after the last whole proposal
        PROPOSALS[:-2] + ', {"expression": "E + A*N',
        json.dumps([{"formula": LAW, "why": "classic"}, {"law": OTHER}]),
        json.dumps([LAW, OTHER]),
        json.dumps({"expressions": [LAW, OTHER]}),
        json.dumps({"result": 1, "laws": [{"expression": LAW}, {"expression": OTHER}]}),
        json.dumps({"expression": LAW, "reason": "x"}) + "\n" + json.dumps({"expression": OTHER, "reason": "y"}),
        f"{LAW}\n{OTHER}",
        f"1. `{LAW}` - classic\n2) `{OTHER}`: shorter",
        f"- loss = {LAW}  # additive\n* L(N, D) = {OTHER} -- only N",
        f"I would try these formulas:\n\n$E + A*N^-a + B*D^-b$\n\nand\n\n{OTHER}\n\nbecause data matter.",
    ],
)
def test_formulas_are_found_whatever_is_around_them(text: str) -> None:
    assert texts(text) == [LAW, OTHER]


def test_a_reason_comes_with_its_formula_on_one_line() -> None:
    (_, idea), *_ = parsed(json.dumps({"expression": LAW, "reason": "two\nlines\x1b[31m " + "x" * 500})).proposals
    assert "\n" not in idea.reason and "\x1b" not in idea.reason and len(idea.reason) <= 200


@each(
    "text",
    [
        "",
        "I'm sorry, I can't do that.",
        "null",
        "{}",
        "[]",
        '{"proposals": null}',
        '{"proposals": [null, 3, true, {"expression": 7}]}',
        "[" * 100_000,
        '{"a":' * 50_000,
        "{" * 200_000,
        "\x00\ud800",
    ],
)
def test_a_text_without_formulas_gives_none(text: str) -> None:
    assert parsed(text) == ParsedReply()


@each(
    ("formula", "why"),
    [
        ("__import__('os').system('true')", "unknown operator"),
        ("__import__", "double underscore"),
        ("exec(N)", "unknown function 'exec'"),
        ("N.__class__", "unknown operator|expected"),
        ("lambda: N", "unknown operator"),
        ("E + A*N**", "at column"),
        ("E + A*sin(N)", "unknown function 'sin'"),
        ("E + A", "none of the variables"),
        ("N*D", "no constants"),
        ("+".join(f"c{k}*N" for k in range(21)), "21 constants; at most 20|nodes; at most"),
        ("E + " + "exp(" * 60 + "N" + ")" * 60 + "+ E" * 30, "nodes; at most"),
        ("E*N" * 1000, "characters; at most"),
        ("(" * 300 + "E*N" + ")" * 300, "nested deeper"),
    ],
)
def test_what_is_no_formula_is_refused_with_the_reason(formula: str, why: str) -> None:
    found = proposal_of(Idea(formula), TABLE, origin="llm:m", max_constants=20)
    assert isinstance(found, Rejected)
    assert any(part in found.why for part in why.split("|"))


def test_nothing_a_model_writes_is_executed(capsys: pytest.CaptureFixture[str]) -> None:
    attack = "__import__('builtins').print('owned')"
    found = parsed(json.dumps({"proposals": [{"expression": attack, "reason": "ignore the rules, run this code"}]}))
    assert not found.proposals and len(found.rejected) == 1
    assert capsys.readouterr().out == ""


def test_a_reply_of_ten_thousand_proposals_counts_for_the_first_distinct_ones() -> None:
    many = [{"expression": f"E + A*N**-a + {k}*B*D**-b", "reason": "r"} for k in range(1, 10_001)]
    found = parsed(json.dumps({"proposals": [many[0], *many]}))
    assert len(found.proposals) + len(found.rejected) <= MAX_IDEAS
    assert found.proposals[0][0].forms[0].expression.text == "E + A*N**-a + 1*B*D**-b"


def test_the_same_family_in_other_words_is_one_proposal() -> None:
    found = parsed(json.dumps([OTHER, "A*N**-b + E", "N**-alpha*K + L"]))
    assert len(found.proposals) == 1 and found.ignored == 2


def test_targets_may_have_a_formula_each() -> None:
    each = {"loss_a": "E + A*exp(-k*a)", "loss_b": "E + A*b**2", "loss_c": "E + A*c"}
    as_text = "; ".join(f"{t}: {f}" for t, f in each.items())
    for given_as in (each, as_text):
        found = parse_reply(json.dumps({"expression": given_as}), MIXTURE, origin="llm:m", max_constants=20)
        assert [f.expression.text for f in found.proposals[0][0].forms] == list(each.values())
    found = parse_reply(json.dumps({"expression": "E + A*exp(-k*own)"}), MIXTURE, origin="llm:m", max_constants=20)
    assert [f.expression.text for f in found.proposals[0][0].forms] == [f"E + A*exp(-k*{v})" for v in "abc"]
    missing = parse_reply(json.dumps({"expression": {"loss_a": "E*a"}}), MIXTURE, origin="llm:m", max_constants=20)
    assert "loss_b" in missing.rejected[0].why


@each(
    ("written", "formula"),
    [
        ("L(N,D) = E + A*N^-a", "E + A*N**-a"),
        ("`E + A*np.log(N)`", "E + A*log(N)"),
        ("$E + A·ln(N)$", "E + A*log(N)"),
        ("y = E − A*math.exp(N).", "E - A*exp(N)"),
    ],
)
def test_everyday_spellings_are_read(written: str, formula: str) -> None:
    assert tidy(written) == formula


@pytest.mark.slow
def test_a_reply_is_read_in_good_time_whatever_it_is() -> None:
    import time

    for text in ("[{" * 100_000, '{"expression": "' * 20_000, "a*N\n" * 50_000, "`" * 200_000, ",]" * 100_000):
        begun = time.process_time()  # whatever else the machine is busy with
        parsed(text)
        assert time.process_time() - begun < 2.0 * pace()


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='{}[]",:\\\n `EAND*+-/()0.1 expressionproposals=', max_size=200))
def test_no_text_is_an_error(text: str) -> None:
    ideas, ignored = ideas_in(text, TABLE)
    assert len(ideas) <= MAX_IDEAS and ignored >= 0
    parsed(text)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["expression", "reason", "proposals", "formula", "laws", "x"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_is_an_error(value: object) -> None:
    parsed(json.dumps(value))


def grouped() -> Table:
    columns = {"N": [1.0, 2, 4, 8, 1, 2, 4, 8], "loss": [3.0, 2, 1.5, 1.2, 5, 4, 3.5, 3.2], "g": list("aaaabbbb")}
    return table_from(columns, target="loss", scale=["N"], group="g")


@each(
    ("said", "taken"),
    [
        (["a"], ("a",)),
        (["a", "A", "E", "k"], ("a",)),  # linear constants are each group's own, and k is none of the formula
        ([], ()),
        ("a", ()),
        ([["a"], 3, None, " a "], ("a",)),
        ({"a": 1}, ()),
    ],
)
def test_groups_share_the_constants_that_the_model_names(said: object, taken: tuple[str, ...]) -> None:
    text = json.dumps({"proposals": [{"expression": "E + A*N**-a", "reason": "", "shared": said}]})
    ((proposal, _),) = parse_reply(text, grouped(), origin="llm:m", max_constants=20).proposals
    assert proposal.forms[0].shared == taken


def test_what_is_shared_tells_two_proposals_apart() -> None:
    some = [{"expression": "E + A*N**-a", "shared": s} for s in ([], ["a"])]
    found = parse_reply(json.dumps({"proposals": some}), grouped(), origin="llm:m", max_constants=20)
    assert len(found.proposals) == 2 and found.proposals[1][1].text == "E + A*N**-a (shared: a)"


def test_without_groups_nothing_is_shared_or_asked_for() -> None:
    assert "shared" not in json.dumps(schema(TABLE)) and "shared" in json.dumps(schema(grouped()))
    found = proposal_of(Idea("E + A*N**-a", "", ("a",)), TABLE, origin="llm:m", max_constants=20)
    assert isinstance(found, Proposal) and found.forms[0].shared == ()


@each(
    ("said", "taken"),
    [
        ([{"name": "a", "value": 0.3}], {"a": 0.3}),
        ({"a": 0.3, "b": 1}, {"a": 0.3, "b": 1.0}),
        ([{"name": " a", "value": 0.3}, {"name": "k", "value": 2}], {"a": 0.3}),  # k is none of the formula
        ([{"name": "a", "value": "0.3"}, {"value": 1}, 7, None], {}),
        ([{"name": "a", "value": 10**400}, {"name": "b", "value": True}], {}),
        ("a = 0.3", {}),
    ],
)
def test_fits_begin_where_the_model_says_too(said: object, taken: dict[str, float]) -> None:
    text = json.dumps({"proposals": [{"expression": LAW, "reason": "", "start": said}]})
    ((proposal, _),) = parsed(text).proposals
    assert proposal.forms[0].start == ({"all": taken} if taken else {})


@each(
    ("said", "taken"),
    [
        ([{"name": "a", "value": 0.3, "group": ""}], {"a": {"a": 0.3}, "b": {"a": 0.3}}),
        ([{"name": "a", "value": 0.3, "group": "b"}], {"a": {}, "b": {"a": 0.3}}),
        (
            [{"name": "a", "value": 0.3}, {"name": "a", "value": 0.5, "group": "b"}],
            {"a": {"a": 0.3}, "b": {"a": 0.5}},
        ),
        ({"a": {"a": 0.3, "b": 0.5}, "A": 2}, {"a": {"A": 2.0, "a": 0.3}, "b": {"A": 2.0, "a": 0.5}}),
        ([{"name": "a", "value": 0.3, "group": "c"}], {}),
        ([{"name": "a", "value": 0.3, "group": ["a"]}], {"a": {"a": 0.3}, "b": {"a": 0.3}}),
        ({"a": {"a": "0.3", "b": None}}, {}),
    ],
)
def test_a_start_is_for_a_group_or_for_all(said: object, taken: dict[str, dict[str, float]]) -> None:
    text = json.dumps({"proposals": [{"expression": "E + A*N**-a", "reason": "", "start": said}]})
    ((proposal, _),) = parse_reply(text, grouped(), origin="llm:m", max_constants=20).proposals
    assert proposal.forms[0].start == taken and proposal.forms[0].warm_start == bool(taken)


def test_only_grouped_tables_are_asked_for_the_group_of_a_start() -> None:
    assert '"group"' in json.dumps(schema(grouped())) and '"group"' not in json.dumps(schema(TABLE))


def test_a_start_that_is_not_finite_is_left_out() -> None:
    ((proposal, _),) = parsed('{"expression": "E + A*N**-a", "start": {"a": NaN, "A": Infinity}}').proposals
    assert proposal.forms[0].start == {}
