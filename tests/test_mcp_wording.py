"""What the tools of `sld mcp` say names their arguments and tools, never options of the command line."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from cli_runs import REPOSITORY, write_runs
from many_cases import case

from sld.mcp.wording import for_agents, notes_for_agents

# of verbs that are no tools: an agent is never told of these
NO_TOOL = {
    "as", "budget_column", "candidates", "discard", "executor", "join", "json", "keep_unfinished", "llm", "llm_mode",
    "llm_question", "monotone", "pool", "proposers", "summary",
}  # fmt: skip


def test_options_become_arguments_and_commands_tools_and_what_is_quoted_stays() -> None:
    for text, said in (
        ("--outliers drop leaves out, --loss huber pulls less", "`outliers` drop leaves out, `loss` huber pulls less"),
        ('leave such rows out with --drop "N==0"', 'leave such rows out with `drop` "N==0"'),
        ("say which run (--for N=1e11,D=2e12)", "say which run (`points` N=1e11,D=2e12)"),
        ("or --for allocation", "or `goal` allocation"),
        ("no law 'x' (sld laws lists all 9)", "no law 'x' (read_catalogue lists all 9)"),
    ):
        with case(text):
            assert for_agents(text) == said
    for text in (
        "`sld tasks fetch sldbench` downloads the tasks",
        "start the server with a larger --time-limit",
        "no file '--scale'",
        "E + A*N**--a",
        "the command `sld diagnose --json` has them",
    ):
        with case(text):
            assert for_agents(text) == text
    record = {"columns": ["--odd"], "law": "a --b", "notes": ["left out, --keep-unfinished"], "n": 3}
    assert notes_for_agents(record) == {**record, "notes": ["left out, `keep_unfinished`"]}


@pytest.mark.slow
def test_every_option_that_a_message_names_is_an_argument_of_some_tool() -> None:
    pytest.importorskip("mcp", reason="the MCP SDK is not installed (pip install 'sld[mcp]')")
    from pydantic import BaseModel

    from sld.mcp import arguments
    from sld.mcp.server import Desk

    models = [m for _, m in inspect.getmembers(arguments, inspect.isclass) if issubclass(m, BaseModel)]
    taken = {name for model in models for name in model.model_fields}
    taken |= {name for _, f in inspect.getmembers(Desk, inspect.isfunction) for name in inspect.signature(f).parameters}
    named: dict[str, str] = {}
    for room in ("api", "analysis", "data", "fit", "formula", "laws", "search"):
        for path in (REPOSITORY / "sld" / room).rglob("*.py"):
            for text in (t for t in _texts(path) if "--" in t):
                for argument in set(re.findall(r"`(\w+)`", for_agents(text))) - set(re.findall(r"`(\w+)`", text)):
                    named[argument] = f"{path.name}: {text}"
    assert {name: where for name, where in named.items() if name not in taken | NO_TOOL} == {}
    assert len(set(named) & taken) > 15


def _texts(path: Path) -> list[str]:
    """Return the texts in a file that are not docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    scopes = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef) and n.body]
    docs = {id(n.body[0].value) for n in scopes if isinstance(n.body[0], ast.Expr)}
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [str(n.value) for n in found if id(n) not in docs]


@pytest.mark.slow
def test_refusals_of_every_tool_name_arguments(tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="the MCP SDK is not installed (pip install 'sld[mcp]')")
    anyio = pytest.importorskip("anyio")
    from mcp_sessions import here, refusal

    write_runs(tmp_path / "runs.csv")
    lr = "1.7 + 400*N**-0.34 + 0.1*log(lr)**2 + 90*D**-0.3"
    runs = {"data": "runs.csv"}
    roles = {"target": "loss", "scale": ["N"]}
    calls: list[tuple[str, dict[str, Any], str]] = [
        ("fit", {**runs, "law": "E + A*N**-a"}, "name the column to predict (`target`) and the variables (`scale`"),
        ("discover", runs, "`target`"),
        ("fit", {**runs, "law": "E + A*B**-a + C*D**-b", "columns": roles}, "`constants` D"),
        ("compare", {"laws": {"a": lr, "b": lr}}, "hold the others with `given`"),
        ("compare", {**runs, "columns": {"target": "loss", "covariate": ["N"]}, "how": {"by": "D"}}, "(`scale`)"),
        ("allocate", {"law": "muennighoff_repeats", "budgets": [1e22]}, "say `given` U="),
        ("plan_next_runs", {"law": lr, "budget": 1e20, "asked": {"goal": "allocation"}}, "at=1e24 (`at` 1e24)"),
        ("read_catalogue", {"law": "zzz"}, "read_catalogue lists all"),
        ("predict", {"law": "zzzz", "points": {"N": [1e9]}}, "'zzzz'"),
    ]

    async def main() -> None:
        async with here(tmp_path) as session:
            for tool, arguments, part in calls:
                with case((tool, arguments)), anyio.fail_after(60):
                    said = await refusal(session, tool, arguments)
                    assert part in said and not re.search(r"(?<!\w)--[a-z]", said) and "sld laws" not in said, said

    anyio.run(main)


def test_a_bad_argument_is_told_by_the_kind_that_it_came_nearest_to() -> None:
    """Points as a list of records were called no text, and those with one value in place of a list as well."""
    pytest.importorskip("mcp", reason="the MCP SDK is not installed (pip install 'sld[mcp]')")
    from pydantic import TypeAdapter, ValidationError

    from sld.mcp.arguments import Data
    from sld.mcp.server import _first_of

    for points, said in (
        ([{"N": 1e9}], ": Input should be a valid string or a valid dictionary, got [{'N': 1000000000.0}]"),
        ({"N": 5}, "N: Input should be a valid list, got 5"),
        ({"N": [[5]]}, "N.0: Input should be a valid number or a valid string, got [5]"),
    ):
        with pytest.raises(ValidationError) as caught:
            TypeAdapter(dict[str, Data]).validate_python({"points": points})
        assert _first_of(caught.value).removeprefix("points").removeprefix(".") == said
