"""`sld mcp`: sessions of the SDK's client; what is refused, cancelled and cut."""

import json
import math
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cli_runs import REPOSITORY, child, loss, one_line, surroundings, write_runs
from commands import Run
from many_cases import case
from mcp_sessions import called, here, over_http, over_stdio, refusal, workers_of
from pace import pace

anyio = pytest.importorskip("anyio")
# the SDK takes most of a second to import: who runs none of these tests does without
pytestmark = pytest.mark.skipif(
    find_spec("mcp") is None, reason="the MCP SDK is not installed (pip install 'sld[mcp]')"
)

ROLES = {"target": "loss", "scale": ["N", "D"]}
FORM = "E + A*N**-a + B*D**-b"
INLINE = {"N": [1e6, 1e7, 1e8, 1e9, 1e10], "loss": [3.9, 3.1, 2.6, 2.3, 2.1]}


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    anyio.run(main)


@pytest.mark.slow
def test_from_a_csv_to_a_plan_of_next_runs_over_stdio_in_eight_calls(tmp_path: Path) -> None:
    """A scripted client: every argument of a later call is in an earlier answer."""
    from mcp import Client

    write_runs(tmp_path / "runs.csv")

    async def main() -> None:
        async with Client(over_stdio("--root", tmp_path)) as session:
            seen = await called(session, "describe_table", data="runs.csv")
            columns = {c["quantity"]: c["name"] for c in seen["columns"]}
            roles = {"target": columns["loss"], "scale": [columns["N"], columns["D"]]}
            form = (await called(session, "read_catalogue", law="chinchilla"))["laws"][0]["id"]
            fitted = await called(session, "fit", data="runs.csv", law=form, columns=roles)
            assert {c["name"]: round(c["value"], 2) for c in fitted["constants"]}["alpha"] == 0.34
            law = fitted["law"]
            found = await called(session, "diagnose", law=law, data="runs.csv")
            assert max(abs(r["missed"]) for r in found["rungs"]) < 10
            compared = await called(session, "compare", laws={"mine": law, "published": "chinchilla"})
            assert compared["pairs"][0]["one"] == "mine"
            plan = (await called(session, "allocate", law=law, budgets=[1e20]))["runs"][0]
            best = {symbol: [interval["value"]] for symbol, interval in plan["run"].items()}
            predicted = await called(session, "predict", law=law, points=best)
            row = dict(zip(predicted["columns"], predicted["rows"][0], strict=True))
            assert row["loss"] == pytest.approx(loss(best["N"][0], best["D"][0]), rel=1e-3)
            assert row["loss_low"] <= row["loss"] <= row["loss_high"]
            asked = {"goal": "allocation", "at": [1e20], "grid": "N=1e7:3e8:4,D=20N:200N:3", "runs": 3}
            design = await called(session, "plan_next_runs", law=law, data="runs.csv", budget=3e18, asked=asked)
            assert 1 <= len(design["runs"]) <= 3 and design["spent"] <= 3e18
            assert design["asked"][0]["expected"] <= design["asked"][0]["width"]

    run(main)


@pytest.mark.slow
def test_a_search_reports_progress_and_is_ended_with_its_processes_when_cancelled() -> None:
    async def main() -> None:
        async with here() as session:
            seen: list[float] = []
            with anyio.fail_after(60), anyio.CancelScope() as scope:

                async def noted(progress: float, total: float | None, message: str | None) -> None:
                    assert message and "formulas" in message
                    seen.append(progress)
                    scope.cancel()

                search = {"budget": "250s", "workers": 2}
                await session.call_tool(
                    "discover", {"data": "nanolm_chinchilla", "search": search}, progress_callback=noted
                )
            assert scope.cancelled_caught and 0 <= seen[0] < 0.5
            with anyio.fail_after(10):
                while len(workers_of()) > 1:  # one that waits for the next call may have been started beside it
                    await anyio.sleep(0.05)
            assert (await called(session, "list_tasks"))["tasks"]

    run(main)
    assert workers_of() == []


def hostile(root: Path, outside: Path) -> list[tuple[str, Any, str]]:
    """Return calls that no client should make, with a part of what they are told."""
    fit: dict[str, Any] = {"law": "E + A*N**-a", "columns": {"target": "loss", "scale": "N"}}
    open_ = "outside the folders"
    many = {"N": [1.0] * 60_000}
    return [
        ("fit", {**fit, "data": str(outside / "secret.csv")}, open_),
        ("fit", {**fit, "data": f"../{outside.name}/secret.csv"}, open_),
        ("fit", {**fit, "data": "/etc/passwd"}, open_),
        ("fit", {**fit, "data": "~/.ssh/id_rsa"}, "no file"),
        ("fit", {**fit, "data": "link.csv"}, open_),
        ("fit", {**fit, "data": "linked/secret.csv"}, open_),
        ("fit", {**fit, "data": "linked"}, open_),
        ("fit", {**fit, "data": "folder"}, "leads outside"),
        ("fit", {**fit, "data": "li*.csv"}, "leads outside"),
        ("fit", {**fit, "data": "**/*.csv"}, "one folder"),
        ("fit", {**fit, "data": str(root / "pipe.csv")}, "no regular file"),
        ("fit", {**fit, "data": "runs.csv\0"}, "null character"),
        ("fit", {**fit, "data": ""}, "empty text"),
        ("fit", {**fit, "data": "a" * 100_000}, "100,000 letters"),
        ("fit", {**fit, "data": "huge.csv"}, "too much for one call"),
        ("fit", {**fit, "data": many}, "too many for a call"),
        ("fit", {**fit, "data": {"N": [1.0], "loss": [1.0, 2.0]}}, "different lengths"),
        ("fit", {**fit, "data": 7}, "valid string"),
        ("fit", {**fit, "data": INLINE, "out": str(outside / "law.json")}, open_),
        ("fit", {**fit, "data": INLINE, "out": "../law.json"}, open_),
        ("fit", {**fit, "data": INLINE, "out": "runs.csv"}, ".json"),
        ("fit", {**fit, "data": INLINE, "out": "no/such/folder/law.json"}, "no folder"),
        ("fit", {**fit, "data": INLINE, "how": {"starts": 10**9}}, "less than or equal"),
        ("fit", {**fit, "data": INLINE, "how": {"loss": "cubic"}}, "how.loss"),
        ("fit", {**fit, "data": INLINE, "columns": {"aim": "loss"}}, "columns.aim"),
        ("fit", {**fit, "data": INLINE, "unsafe": True}, "no argument 'unsafe'"),
        ("fit", {**fit, "data": INLINE, "law": "__import__('os').system('touch pwned')"}, ""),
        ("fit", {**fit, "data": INLINE, "law": "E + (lambda: 1)()*N"}, ""),
        ("fit", {**fit, "data": INLINE, "law": "9**9**9**9**9**9*N + E"}, ""),
        ("fit", {**fit, "data": INLINE, "law": "(" * 5000 + "N" + ")" * 5000}, ""),
        ("fit", {**fit, "data": INLINE, "law": "N+" * 20_000 + "N"}, ""),
        ("fit", {**fit, "data": {"N": ["=cmd()"] * 5, "loss": [1.0] * 5}}, "N"),
        ("predict", {"law": "law:000000000000", "points": {"N": [1.0]}}, "no law"),
        ("predict", {"law": "/etc/passwd.json", "points": {"N": [1.0]}}, open_),
        ("predict", {"law": "1.7 + 400*N**-0.34", "points": {"N": [1.0]}, "out": "/tmp/predicted.csv"}, open_),
        ("predict", {"law": "1.7 + 400*N**-0.34", "points": {"N": [1.0]}, "level": 7}, "level"),
        ("predict", {"law": {"a": 1}, "points": {"N": [1.0]}}, "law"),
        ("discover", {"data": "runs.csv", "columns": ROLES, "search": {"budget": "100h"}}, "--time-limit"),
        ("discover", {"data": "runs.csv", "columns": ROLES, "search": {"budget": "$(reboot)"}}, "budget"),
        ("discover", {"data": "runs.csv", "columns": ROLES, "run_folder": str(outside / "run")}, open_),
        ("discover", {"data": "runs.csv", "columns": ROLES, "search": {"workers": 10_000}}, "workers"),
        ("compare", {}, "one of the two"),
        ("allocate", {"law": "chinchilla", "budgets": ["1e22; rm -rf /"]}, "budgets"),
        ("allocate", {"law": "chinchilla", "budgets": [1e22], "asked": {"cost": "open('/etc/passwd')"}}, ""),
        ("count_parameters", {"config": "../config.json"}, open_),
        ("count_parameters", {"config": {"model_type": "gpt2", "n_layer": 1e400}}, ""),
        ("submit", {"law": "bad.py", "task": "nanolm_chinchilla", "name": "x", "board": "board"}, "programs"),
        ("submit", {"law": "E*N", "task": "nanolm_chinchilla", "name": "x", "board": "/etc"}, open_),
        ("read_catalogue", {"law": "../../laws"}, "no law"),
        ("shell", {"command": "ls"}, "no tool"),
    ]  # fmt: skip


@pytest.mark.slow
def test_hostile_calls_are_refused_in_one_line_and_change_nothing(tmp_path: Path) -> None:
    root, outside = tmp_path / "open", tmp_path / "closed"
    for folder in (root, outside, root / "folder"):
        folder.mkdir()
    write_runs(root / "runs.csv")
    write_runs(outside / "secret.csv")
    (root / "bad.py").write_text("open('pwned', 'w')")
    (root / "link.csv").symlink_to(outside / "secret.csv")
    (root / "linked").symlink_to(outside)
    (root / "folder" / "more.csv").symlink_to(outside / "secret.csv")
    with (root / "huge.csv").open("wb") as file:
        file.truncate(10**9)  # a hole: takes no place on the disk
    import os

    os.mkfifo(root / "pipe.csv")
    before = sorted(tmp_path.rglob("*"))

    async def main() -> None:
        async with here(root) as session:
            calls = hostile(root, outside)
            assert len(calls) >= 40
            for tool, arguments, part in calls:
                with case((tool, str(arguments)[:80])), anyio.fail_after(60):
                    assert part in await refusal(session, tool, arguments)
            assert (await called(session, "describe_table", data="runs.csv"))["n_rows"] == 25

    run(main)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("pwned").exists()


@pytest.mark.slow
def test_a_client_grants_folders_and_can_only_make_less_of_those_that_are_open(tmp_path: Path) -> None:
    from mcp_types import ListRootsResult, Root

    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        write_runs(tmp_path / name / "runs.csv")

    async def grants(_context: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=(tmp_path / "mine").as_uri())])  # type: ignore[arg-type]

    async def main() -> None:
        async with here(tmp_path, list_roots_callback=grants) as session:
            assert (await called(session, "describe_table", data="runs.csv"))["n_rows"] == 25
            said = await refusal(session, "describe_table", {"data": str(tmp_path / "other" / "runs.csv")})
            assert "outside the folders" in said
        async with here(tmp_path / "other", list_roots_callback=grants) as session:
            said = await refusal(session, "describe_table", {"data": str(tmp_path / "mine" / "runs.csv")})
            assert "nothing in common" in said
        async with here() as session:
            assert "--root" in await refusal(session, "describe_table", {"data": "runs.csv"})

    run(main)


def test_a_call_is_held_to_its_time(tmp_path: Path) -> None:
    from sld.mcp.workers import Limits

    async def main() -> None:
        async with here(limits=Limits(seconds=0.3)) as session:
            said = await refusal(session, "discover", {"data": "nanolm_chinchilla", "search": {"budget": "9000fits"}})
            assert "--time-limit" in said and "budget" in said

    run(main)
    assert workers_of() == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its memory")
def test_a_call_is_held_to_its_memory(tmp_path: Path) -> None:
    from sld.mcp.workers import Limits

    # a hundred thousand long cells, and then again as Python's numbers: more than there is
    (tmp_path / "runs.csv").write_text("N,loss\n" + f"{'1' * 2000}.5,3.125\n" * 150_000)

    async def main() -> None:
        async with here(tmp_path, limits=Limits(memory=700_000_000)) as session:
            said = await refusal(session, "describe_table", {"data": "runs.csv"})
            assert "memory" in said

    run(main)


def test_results_are_finite_and_short_and_say_where_the_rest_is(tmp_path: Path) -> None:
    """What is not finite is a text that the schema knows: the SDK's client checks each answer against it."""

    async def main() -> None:
        async with here(tmp_path) as session:
            found = await called(session, "predict", law="1.7 + 400*(N - 5e6)**-0.5", points={"N": [1e6, 5e6, 1e8]})
            assert [row[1] for row in found["rows"]][:2] == ["nan", "inf"]
            assert math.isfinite(found["rows"][2][1])
            assert any("no finite prediction" in w for w in found["warnings"])
            points = {"N": [float(n) for n in range(1, 501)]}
            asked = {"law": "1.7 + 400*N**-0.34", "points": points, "out": "predicted.csv"}
            found = await called(session, "predict", **asked)
            assert found["n_rows"] == 500 and len(found["rows"]) == 40
            assert found["warnings"] == [f"40 of 500 points are shown; all are in {tmp_path / 'predicted.csv'}"]
            assert len((tmp_path / "predicted.csv").read_text().splitlines()) == 501
            answer = await session.call_tool("predict", asked)
            assert len(json.dumps(answer.model_dump(mode="json"))) < 10_000

    run(main)


@pytest.mark.slow
def test_two_sessions_over_http_do_not_wait_for_or_see_each_other(tmp_path: Path) -> None:
    from mcp import Client

    write_runs(tmp_path / "runs.csv")

    async def main(url: str) -> None:
        async with Client(url) as one, Client(url) as other, anyio.create_task_group() as beside:
            search = {"budget": "12s", "workers": 1}
            run_folder = {"data": "runs.csv", "columns": ROLES, "search": search, "run_folder": "run"}
            done: list[dict[str, Any]] = []

            async def long() -> None:
                done.append(await called(one, "discover", **run_folder))

            beside.start_soon(long)
            laws = set()
            for _ in range(3):
                fitted = await called(other, "fit", data="runs.csv", law=FORM, columns=ROLES)
                laws.add(fitted["law"])
            assert len(laws) == 3 and not done
            while not done:
                await anyio.sleep(0.1)
            assert done[0]["verdict"] == "law" and done[0]["law"] == str(tmp_path / "run")
            assert {"report.md", "law.json"} <= {p.name for p in (tmp_path / "run").iterdir()}
            predicted = await called(other, "predict", law="run", points={"N": [1e9], "D": [1e11]})
            assert predicted["rows"][0][2] == pytest.approx(loss(1e9, 1e11), rel=0.02)

    with over_http("--root", tmp_path) as url:
        anyio.run(main, url)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a console's Ctrl-C reaches no single process")
def test_ctrl_c_ends_the_server_although_it_waits_for_a_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sld", "mcp", "--root", str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=surroundings(), **pipes) as server:  # type: ignore[call-overload]
        hello = '{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n'
        server.stdin.write(hello.encode())
        server.stdin.flush()
        assert json.loads(server.stdout.readline())["id"] == 1
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 130
        assert server.stderr.read() == b""


@pytest.mark.slow
def test_fits_after_the_first_answer_within_half_a_second(tmp_path: Path) -> None:
    import time

    from mcp import Client

    write_runs(tmp_path / "runs.csv")

    async def main() -> None:
        async with Client(over_stdio("--root", tmp_path)) as session:
            times = []
            for k in range(41):
                began = time.perf_counter()
                await called(session, "fit", data="runs.csv", law=FORM, columns=ROLES, how={"seed": k})
                times.append(time.perf_counter() - began)
            assert sorted(times[1:])[37] < 0.5 * pace()  # the 95th per cent of forty

    run(main)


def test_a_tool_says_what_it_takes_and_returns(sld: Run) -> None:
    printed = json.loads(sld("mcp", "--json").out)["tools"]
    assert len(json.dumps([t["inputSchema"] for t in printed])) < 25_000  # stands in the context of every session

    async def main() -> None:
        async with here() as session:
            tools = (await session.list_tools()).tools
            assert {"discover", "fit", "predict", "allocate", "submit"} <= {t.name for t in tools}
            for tool in tools:
                assert tool.description and tool.output_schema and tool.annotations
                for name, about in tool.input_schema["properties"].items():
                    said = json.dumps(about)
                    assert "description" in said or "$ref" in said or name in ("author", "note"), (tool.name, name)

    run(main)


def test_without_the_sdk_the_command_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['mcp'] = None; from sld.__main__ import main; sys.exit(main(['mcp']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=surroundings())
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "pip install 'sld[mcp]'" in done.stderr


@pytest.mark.slow
def test_every_command_of_the_skill_works(tmp_path: Path) -> None:
    text = (REPOSITORY / "skills/sld/SKILL.md").read_text(encoding="utf-8")
    head, body = text.split("---\n", 2)[1:]
    assert head.startswith("name: sld\n") and "description: " in head
    write_runs(tmp_path / "runs.csv")
    (tmp_path / "points.csv").write_text("N,D\n1e9,1e11\n")
    blocks = re.findall(r"```bash\n(.*?)```", body, flags=re.DOTALL)
    commands = [line.strip() for block in blocks for line in block.splitlines() if line.strip()]
    assert len(commands) >= 7
    for command in commands:
        with case(command):
            program, *words = shlex.split(command)
            assert program == "sld"
            done = child(*words, cwd=tmp_path)
            assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_session_of_the_guide_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (REPOSITORY / "docs/guides/agents.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    write_runs(tmp_path / "runs.csv")
    command = f'command={sys.executable!r}, args=["-m", "sld", "mcp", "--root", "."], env={surroundings()!r}'
    code = code.replace('command="sld", args=["mcp", "--root", "."]', command)
    assert command in code
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "verdict: law" in done.stdout and "1e19" in done.stdout and "expected width" in done.stdout


def test_folders_and_limits_that_cannot_be_are_refused(sld: Run, tmp_path: Path) -> None:
    one_line(sld("mcp", "--root", tmp_path / "none"), "--root wants a folder")
    one_line(sld("mcp", "--time-limit", "0"), "above 0")
    one_line(sld("mcp", "--http", "99999"), "cannot listen")
