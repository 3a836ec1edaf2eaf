"""A tool for the language model and an asynchronous proposer are added as the documentation says, each in one file."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llm_fakes import calls, playing, proposes
from many_cases import each
from searches import events, law_bytes, search, two_scales

from sld.core.errors import UsageError, suggest
from sld.data.table import Table
from sld.laws.form import Form
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.judging.judge import Proposal
from sld.search.llm import tools
from sld.search.llm.tools import TOOLS, Tool, ToolContext, ToolError
from sld.search.outcome import Discovery
from sld.search.proposing.asynchronous import FOLDER, SearchContext, SearchState, Together
from sld.search.proposing.proposers import ASYNCHRONOUS, known
from sld.search.run_folder import EVENTS

TABLE = two_scales(0.01)
LAW = "E + A*N**-a + B*D**-b"
FINALS = calls(("propose_finals", {"proposals": [{"expression": LAW, "reason": "additive"}]}))

# -- a tool: what follows is the example of the documentation ----------------------------------------------------------


def correlation(context: ToolContext, given: Mapping[str, Any]) -> str:
    """Return how strongly the first target follows one variable, both in logarithms."""
    table, variable = context.table, given["variable"]
    if variable not in table.symbols:
        raise ToolError(suggest(variable[:60], table.symbols, kind="variable"))
    x, y = table.X[:, table.symbols.index(variable)], table.Y[:, 0]
    if not (np.all(x > 0) and np.all(y > 0)):
        raise ToolError(f"{variable} or the target is not positive everywhere, so it has no logarithm")
    r = np.corrcoef(np.log(x), np.log(y))[0, 1]
    return f"correlation of log {table.targets[0].column} and log {variable}: {r:.3f}"


CORRELATION = Tool(
    name="correlation",
    about="How strongly the target follows one variable, both in logarithms.",
    properties={"variable": {"type": "string", "description": "A symbol, e.g. N"}},
    answer=correlation,
    required=["variable"],
    advice="look at correlations",
)

# -- and what it comes to ----------------------------------------------------------------------------------------------


def test_a_new_tool_is_a_row_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOOLS, CORRELATION.name, CORRELATION)
    model = playing(
        calls(("correlation", {"variable": "N"}), ("correlation", {"variable": "M"}), ("correlation", {})),
        FINALS,
        mode="agent",
    )
    found = search(TABLE, "60000fits", asynchronous=model, formulas=["E + A*N**-a"], proposers=[])
    assert found.chosen.text == LAW and model.chat is not None
    task, *_, good, wrong, empty = [str(m["content"]) for m in model.chat.asked[1][1:]]
    assert "look at correlations" in task
    assert good.startswith("correlation of log loss and log N: -0.")
    assert wrong.startswith("error: no variable 'M'") and empty == "error: correlation needs 'variable'"
    assert tools.schemas()[-1] == {
        "type": "function",
        "function": {
            "name": "correlation",
            "description": "How strongly the target follows one variable, both in logarithms.",
            "parameters": {
                "type": "object",
                "properties": {"variable": {"type": "string", "description": "A symbol, e.g. N"}},
                "required": ["variable"],
                "additionalProperties": False,
            },
        },
    }


@each(
    ("kind", "good", "wrong"),
    [
        ("string", ["x"], [1, None, True]),
        ("number", [1, 1.5], ["1", True, None]),
        ("integer", [3], [1.5, True, "3"]),
        ("boolean", [True, False], [1, "true"]),
        ("array", [[]], [{}, "x"]),
        ("object", [{}], [[], "x"]),
    ],
)
def test_arguments_are_checked_against_the_schema_of_a_row(kind: str, good: list[Any], wrong: list[Any]) -> None:
    tool = Tool("toy", "A toy.", {"x": {"type": kind}}, lambda _context, given: str(given["x"]))
    for value in good:
        assert tool.arguments(json.dumps({"x": value})) == {"x": value}
    for value in wrong:
        with pytest.raises(ToolError, match=f"'x' must be of type {kind}"):
            tool.arguments(json.dumps({"x": value}))


# -- an asynchronous proposer: what follows is the example of the documentation ----------------------------------------


def powers(table: Table) -> list[str]:
    """Return formulas that take long to find; here, a sum of powers of all variables."""
    names = zip(table.symbols, "ABCDEFGH", strict=False)
    return ["L + " + " + ".join(f"{k}1*{symbol}**-{k}2" for symbol, k in names)]


class Powers:
    """Works out formulas in a thread, and hands them over when they are there."""

    def __init__(self, context: SearchContext) -> None:
        """Look whether a search is taken up that has had the formulas already."""
        self.table = context.table
        self.file = None if context.folder is None else context.folder / FOLDER / "powers.json"
        self.recorded = None
        if self.file is not None and self.file.exists():
            self.recorded = json.loads(self.file.read_text(encoding="utf-8"))
        self.thread: threading.Thread | None = None
        self.found: Sequence[str] = ()
        self.done = False

    def prepare(self) -> None:
        """Nothing to prepare; a thread must not start before the worker processes do."""

    def work(self) -> None:
        """Run in the thread."""
        self.found = powers(self.table)

    def collect(self, state: SearchState) -> list[Proposal]:
        """Return the formulas once they are there."""
        if self.done or (self.recorded is None and state.taking_up):
            return []
        if self.recorded is not None:
            if state.index < self.recorded["index"]:
                return []
            self.found = self.recorded["formulas"]
        else:
            if self.thread is None:
                self.thread = threading.Thread(target=self.work, daemon=True)
                self.thread.start()
            if self.thread.is_alive():
                return []
            if self.file is not None:
                self.file.parent.mkdir(exist_ok=True)
                self.file.write_text(json.dumps({"index": state.index, "formulas": self.found}), encoding="utf-8")
        self.done = True
        targets = range(len(self.table.targets))
        made = [Proposal.of([Form(self.table.parse(text, j), "powers") for j in targets]) for text in self.found]
        return [proposal for proposal in made if proposal.key not in state.seen]

    def observe(self, candidate: Candidate, n_fits: int) -> None:
        """Learn nothing from what was judged."""

    def expects(self) -> bool:
        """Whether the thread is still at work."""
        return not self.done

    def close(self) -> None:
        """Leave the thread alone: it dies with the program."""

    def summary(self, _chosen: Candidate) -> Mapping[str, Any]:
        """Say nothing; this is for language models."""
        return {}


# -- and what it comes to ----------------------------------------------------------------------------------------------


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ASYNCHRONOUS, "powers", Powers)


def with_powers(**options: Any) -> Discovery:
    return search(TABLE, "3000fits", formulas=["E + A*N**-a"], **{"proposers": ["powers"], **options})


def test_without_its_row_a_proposer_is_not_known() -> None:
    with pytest.raises(UsageError, match="no proposer 'powers'"):
        with_powers()


@pytest.mark.usefixtures("_registered")
def test_a_new_asynchronous_proposer_is_a_row_of_the_registry(tmp_path: Path) -> None:
    assert "powers" in known()
    found = with_powers(out=tmp_path)
    assert found.chosen.origin == "powers" and found.chosen.text == "L + A1*N**-A2 + B1*D**-B2"
    assert found.config["proposers"] == ["powers"] and found.llm == {}
    # killed before it had arrived: it comes again where it came
    first, whole = events(tmp_path), (tmp_path / EVENTS).read_bytes()
    law = law_bytes(tmp_path)
    (tmp_path / EVENTS).write_bytes(whole.splitlines(keepends=True)[0])
    with_powers(out=tmp_path)
    assert events(tmp_path) == first and law_bytes(tmp_path) == law


@pytest.mark.slow
@pytest.mark.usefixtures("_registered")
def test_it_works_beside_a_language_model() -> None:
    found = with_powers(asynchronous=playing(proposes("E + A*N**-a*D**-b")))
    assert found.chosen.origin == "powers" and found.llm["judged"] == 1


def test_of_two_proposers_with_one_family_the_first_has_it() -> None:
    context = SearchContext(TABLE, (), 0, 8)
    state = SearchState(HallOfFame(), 0, 0, "all of it", float("inf"), set(), {})
    first, second = Powers(context), Powers(context)
    first.recorded = {"index": 0, "formulas": ["E + A*N**-a", "E + A*D**-a"]}
    second.recorded = {"index": 0, "formulas": ["F + B*N**-b", "F + B*N*D"]}
    both = Together([first, second])
    assert both.expects()
    assert [p.forms[0].expression.text for p in both.collect(state)] == ["E + A*N**-a", "E + A*D**-a", "F + B*N*D"]
    assert not both.expects() and both.collect(state) == []
