"""The agent: turns with tools that see training rows only, and answers to whatever it calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llm_fakes import FakeChat, Played, calls, playing, proposes, says
from many_cases import each
from searches import CATALOGUE, grouped, search, two_scales

from sld.chat.reply import Reply
from sld.data.table import Table
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.llm import agent
from sld.search.llm.agent import MAX_CALLS_A_TURN, MAX_TURNS, NO_TOOLS
from sld.search.llm.model_proposer import TRANSCRIPT
from sld.search.llm.replies import schema
from sld.search.llm.tools import TOOLS, ToolContext, ToolError, describe_data, published_laws, schemas
from sld.search.outcome import Discovery
from sld.search.proposing import proposers
from sld.search.proposing.asynchronous import SearchState

TABLE = two_scales(0.01)
LAW = "E + A*N**-a + B*D**-b"
FINALS = calls(("propose_finals", {"proposals": [{"expression": LAW, "reason": "additive"}]}))


def play(*script: Any, table: Table = TABLE, **options: Any) -> tuple[Discovery, FakeChat]:
    model = playing(*script, mode="agent")
    # the engine has one formula of its own: the search goes on as long as the agent works
    found = search(table, "60000fits", asynchronous=model, formulas=["E + A*N**-a"], proposers=[], **options)
    assert model.chat is not None
    return found, model.chat


def answers(chat: FakeChat, turn: int) -> list[str]:
    """What the tools answered to the calls of a turn, counted from 1."""
    last = chat.asked[turn]
    start = max(i for i, m in enumerate(last) if m["role"] == "assistant")
    return [m["content"] for m in last[start + 1 :]]


@pytest.mark.slow
def test_an_agent_works_in_turns_and_its_finals_are_judged(tmp_path: Any) -> None:
    found, chat = play(
        calls(("describe_data", {}), ("show_best", {})),
        calls(("try_expression", {"expression": "E + A*N**-a*D**-b"})),
        calls(("show_residuals", {"variable": "N", "expression": "E + A*N**-a*D**-b"})),
        FINALS,
        out=tmp_path,
    )
    assert found.chosen.text == LAW and found.chosen.origin == "llm:fake"
    assert len(chat.asked) == 4 and found.llm["calls"] == 4
    assert all([t["function"]["name"] for t in sent] == list(TOOLS) for sent in chat.tools)
    data, best = answers(chat, 1)
    assert "all 30 rows" in data and "E + A*N**-a | score" in best
    (tried,) = answers(chat, 2)
    assert tried.startswith("E + A*N**-a*D**-b | score") and "folds" in tried and "constants" in tried
    (residuals,) = answers(chat, 3)
    assert "measured minus fitted along N" in residuals
    text = (tmp_path / TRANSCRIPT).read_text(encoding="utf-8")
    assert "## Turn 4" in text and "Tool `try_expression`" in text and "Answer of `show_residuals`" in text


WRONG: list[tuple[tuple[str, Any], str]] = [
    (("delete_everything", {}), "no tool 'delete_everything'; there are describe_data"),
    (("try_expresion", {"expression": LAW}), "did you mean 'try_expression'"),
    (("try_expression", {}), "try_expression needs 'expression'"),
    (("try_expression", '{"expression": "E + A*N'), "are not JSON"),
    (("try_expression", "[1]"), "must be an object"),
    (("try_expression", {"expression": 7}), "must be of type string"),
    (("try_expression", {"expression": "__import__('os')"}), "unknown operator"),
    (("try_expression", {"expression": LAW, "file": "/etc/passwd"}), "no argument 'file'"),
    (("describe_data", {"group": "x"}), "no group 'x'"),
    (("describe_data", {"where": {"M": [0, 1]}}), "no column 'M'"),
    (("describe_data", {"where": {"N": "all"}}), "needs [low, high]"),
    (("describe_data", {"where": {"N": [5, 6]}}), "no training row lies there"),
    (("show_residuals", {"variable": "Z"}), "no variable 'Z'"),
    (("show_residuals", {"variable": "N", "expression": "E+A*D**2"}), "call try_expression first"),
    (("published_laws", {"words": "zzz"}), "no published law has these words"),
    (("propose_finals", {"proposals": []}), "no proposal could be read"),
    (("propose_finals", {"proposals": [{"expression": "sin(N)"}]}), "unknown function 'sin'"),
    (("", "\x00"), "no tool ''"),
]


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What is answered to each of the wrong calls, all made in one conversation that ends well."""
    turns = [WRONG[k : k + MAX_CALLS_A_TURN] for k in range(0, len(WRONG), MAX_CALLS_A_TURN)]
    found, chat = play(*(calls(*(call for call, _ in turn)) for turn in turns), FINALS)
    assert found.chosen.text == LAW
    return [answer for k in range(len(turns)) for answer in answers(chat, k + 1)]


@each("k", range(len(WRONG)))
def test_a_call_that_is_wrong_is_answered_with_what_is_wrong(k: int, told: list[str]) -> None:
    assert len(told) == len(WRONG)
    assert WRONG[k][1] in told[k]


def test_the_conversation_that_is_sent_back_is_one_that_servers_take() -> None:
    _, chat = play(calls(("bad name\n", '{"x": '), ("show_best", {}), ("show_best", "{}")), FINALS)
    sent = chat.asked[1]
    made = next(m for m in sent if m["role"] == "assistant")["tool_calls"]
    assert [json.loads(c["function"]["arguments"]) for c in made] == [{}, {}, {}]
    assert made[0]["function"]["name"] == "bad_name_"
    assert [m["tool_call_id"] for m in sent if m["role"] == "tool"] == [c["id"] for c in made]
    assert len({c["id"] for c in made}) == 3


def test_more_calls_than_a_turn_may_have_are_not_done() -> None:
    _, chat = play(calls(*[("show_best", {})] * (MAX_CALLS_A_TURN + 2)), FINALS)
    assert [a.startswith("not done") for a in answers(chat, 1)] == [False] * MAX_CALLS_A_TURN + [True] * 2


def test_a_formula_in_plain_text_is_taken_and_the_model_reminded_of_the_tools() -> None:
    found, chat = play(calls(("show_best", {})), says(f"I think it is `{LAW}`"), FINALS)
    assert "1 formulas were taken" in chat.asked[2][-1]["content"]
    assert found.chosen.text == LAW


def test_a_model_that_stops_using_the_tools_is_left_alone_soon() -> None:
    found, chat = play(calls(("show_best", {})), says("Let me think."))
    assert len(chat.asked) == 3 and found.chosen.text == "E + A*N**-a"
    assert found.llm["remark"] == ""


@pytest.mark.slow
def test_a_model_without_tools_goes_on_as_a_proposer_after_its_first_reply() -> None:
    found, chat = play(says("Scaling laws are power laws. Let me think."), proposes(LAW))
    assert chat.schemas[0] is None and all(s is not None for s in chat.schemas[1:])
    assert [m["role"] for m in chat.asked[1]] == ["system", "user"], "a new conversation, without the prose"
    assert found.chosen.text == LAW and found.llm["remark"] == NO_TOOLS
    assert found.llm["mode"] == "agent", "what was asked for"


@pytest.mark.slow
def test_formulas_in_the_prose_of_a_model_without_tools_are_judged() -> None:
    found, _ = play(says(f"I cannot call tools, but it is `{LAW}`"), says("no idea"))
    assert found.chosen.text == LAW


def test_a_failed_first_call_says_nothing_about_tools() -> None:
    found, chat = play(Reply(status="500"), FINALS)
    assert found.llm["remark"] == "" and chat.schemas == [None, None]


@pytest.mark.slow
def test_a_model_that_never_ends_has_its_turns() -> None:
    _, chat = play(calls(("show_best", {})))
    assert len(chat.asked) == MAX_TURNS


@pytest.mark.slow
def test_a_failed_call_is_made_again_and_too_many_are_not() -> None:
    found, _ = play(Reply(status="500"), FINALS)
    assert found.chosen.text == LAW and found.llm["failed"] == {"500": 1}
    found, chat = play(Reply(status="500"))
    assert len(chat.asked) == 6 and found.llm["stopped"] == "500"


def test_a_formula_tried_twice_is_answered_twice() -> None:
    _, chat = play(calls(*[("try_expression", {"expression": "E + A*D**-a"})] * 2), FINALS)
    first, second = answers(chat, 1)
    assert first == second and "score" in first


def test_a_formula_that_the_engine_has_tried_is_answered_at_once() -> None:
    _, chat = play(calls(("try_expression", {"expression": "E + A*N**-a"})), FINALS)
    assert "known already; score" in answers(chat, 1)[0]


@pytest.mark.slow
def test_a_long_conversation_loses_its_oldest_turns_and_keeps_calls_with_their_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent, "_MAX_KEPT", 3000)
    _, chat = play(*[calls(("describe_data", {}))] * 8, FINALS)
    last = chat.asked[-1]
    assert [m["role"] for m in last[:3]] == ["system", "user", "assistant"] and len(last) < 8
    for k, m in enumerate(last):
        if m["role"] == "tool":
            assert last[k - 1]["role"] in ("assistant", "tool")


def seen(table: Table) -> ToolContext:
    state = SearchState(HallOfFame(), 0, 0, "all of it", float("inf"), set(), {})
    return ToolContext(table, state, {}, "llm:fake", 20)


def test_a_slice_is_described_by_group_and_range() -> None:
    text = describe_data(seen(grouped()), {"group": "a", "where": {"N": [10, 200]}})
    assert "all 3 rows" in text and "\nb," not in text


def test_published_laws_are_written_over_the_table() -> None:
    assert "E + A*N**-alpha + B*D**-beta | Chinchilla" in published_laws(seen(TABLE), {"words": "chinchilla"})


def test_every_tool_is_a_schema_that_its_own_arguments_pass() -> None:
    for name, sent in zip(TOOLS, schemas(), strict=True):
        parameters = sent["function"]["parameters"]
        assert sent["type"] == "function" and sent["function"]["name"] == name
        assert parameters["additionalProperties"] is False
        assert set(parameters["required"]) <= set(parameters["properties"])
    assert TOOLS["show_best"].arguments("") == {}
    with pytest.raises(ToolError):
        TOOLS["try_expression"].arguments("{" * 10_000)


def test_no_schema_asks_for_a_pattern() -> None:
    """Servers that turn schemas into grammars drop a tool with `\\d` in a pattern without a word (llama.cpp)."""
    for sent in (schemas(), schema(TABLE), schema(grouped())):
        text = json.dumps(sent)
        assert '"pattern"' not in text and "\\\\" not in text


def test_tools_see_the_rows_of_the_search_only() -> None:
    model = Played(FakeChat([calls(("describe_data", {})), FINALS]))
    assert model.settings.mode == "propose"
    _, chat = play(calls(("describe_data", {})), proposes("E + A*N"), FINALS)
    shown = answers(chat, 1)[0]
    numbers = {line.split(",")[-1] for line in shown.splitlines() if line.count(",") == 2}
    measured = {f"{y:.5g}" for y in TABLE.Y[:, 0]}
    assert numbers - {"loss"} == measured


@pytest.mark.slow
def test_agents_and_engine_work_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposers, "_BATCH", 16)  # the agent's turns come between batches
    model = playing(calls(("try_expression", {"expression": "E + A*(N*D)**-a*log(N)"})), FINALS, mode="agent")
    found = search(TABLE, "3000fits", asynchronous=model, proposers=CATALOGUE)
    assert found.counts["tried"] > 3 * 16 and found.llm["judged"] >= 1 and found.llm["calls"] == 2
