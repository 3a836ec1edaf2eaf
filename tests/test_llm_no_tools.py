"""A server that drops tools without a word, and a report that names only what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from llm_server import Answer, Request, Server, body, reply, silence, status
from searches import two_scales

from sld.__main__ import main
from sld.search.llm.agent import NO_TOOLS

LAW = "E + A*N**-a + B*D**-b"
PROSE = "A scaling law describes how the loss of a model falls as it grows. To find one, first plot the data."


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A search beside a model in agent mode."""
    monkeypatch.setenv("OPENAI_API_KEY", "local")
    monkeypatch.chdir(tmp_path)
    table = two_scales(0.01)
    rows = "".join(f"{x[0]},{x[1]},{y}\n" for x, y in zip(table.X, table.Y[:, 0], strict=True))
    Path("runs.csv").write_text(f"N,D,loss\n{rows}", encoding="utf-8")
    options = ["--target", "loss", "--scale", "N,D", "--workers", "1", "--llm", "smollm2", "--llm-mode", "agent"]
    return ["discover", "runs.csv", *options]


# the catalogue is soon tried, and then the search waits for the model, however slow the machine is
WAITING = ("--proposers", "catalogue", "--budget", "200000fits")


def dropping(request: Request) -> Answer:
    """Answer as a model whose template has no place for tools: prose, unless the prompt itself asks for JSON."""
    if "response_format" in request.json:
        return reply(json.dumps({"proposals": [{"expression": LAW, "start": [], "reason": "additive"}]}))
    return reply(PROSE)


def files_named(report: str) -> list[str]:
    named = re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:json|jsonl|md|csv|png))`", report)
    return named + [link for link in re.findall(r"\]\(([^)#]+)\)", report) if not link.startswith("http")]


@pytest.mark.slow
def test_a_server_that_drops_tools_is_noticed_after_one_reply(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(handler=dropping) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert main([*command, *WAITING, "--out", "run"]) == 0
        sent = server.bodies
    assert "tools" in sent[0] and not any("tools" in asked for asked in sent[1:])
    assert len(sent) > 1 and "response_format" in sent[1]
    said = capsys.readouterr().out
    report = Path("run/report.md").read_text(encoding="utf-8")
    transcript = Path("run/llm/transcript.md").read_text(encoding="utf-8")
    for text in (said, report):
        assert text.count(NO_TOOLS) == 1
    assert transcript.count(NO_TOOLS[1:]) == 1
    assert "(as a proposer)" in report and PROSE in transcript
    assert all((Path("run") / name).exists() for name in files_named(report)), files_named(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(silence(60.0), id="silent"),
        pytest.param(status(500, "no"), id="500", marks=pytest.mark.slow),
        pytest.param(body("", code=503), id="503", marks=pytest.mark.slow),
        pytest.param(reply(PROSE), id="prose", marks=pytest.mark.slow),
    ],
)
def test_a_report_names_files_that_are_there(
    answer: Answer, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(then=answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert main([*command, "--budget", "600fits", "--out", "run"]) == 0
    report = Path("run/report.md").read_text(encoding="utf-8")
    named = files_named(report)
    assert "llm/transcript.md" in named
    assert all((Path("run") / name).exists() for name in named), named
    transcript = Path("run/llm/transcript.md").read_text(encoding="utf-8")
    assert transcript.strip()
    for name in re.findall(r"in (\w+\.jsonl)", transcript):
        assert (Path("run/llm") / name).exists()


@pytest.mark.slow
def test_a_replayed_run_names_files_that_are_there(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay asks nobody, so it has no record of calls; a long reply is to be read where it is."""
    with Server(then=reply("word " * 10_000)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert main([*command, *WAITING, "--out", "run"]) == 0
    assert main([*command, *WAITING, "--out", "again", "--llm-replay", "run"]) == 0
    transcript = Path("again/llm/transcript.md").read_text(encoding="utf-8")
    names = re.findall(r"more characters, in ([\w.]+)\)", transcript)
    assert names and all((Path("again/llm") / name).exists() for name in names)
    report = Path("again/report.md").read_text(encoding="utf-8")
    assert NO_TOOLS in report, "a repeated run ends its turns where the first one did"
    assert all((Path("again") / name).exists() for name in files_named(report))
