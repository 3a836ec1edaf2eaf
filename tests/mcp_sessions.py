"""What the tests of `sld mcp` share: sessions of the SDK's own client, in this process, over stdio and over HTTP."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli_runs import surroundings

if TYPE_CHECKING:
    from mcp import Client, StdioServerParameters

    from sld.mcp.workers import Limits


@contextlib.asynccontextmanager
async def here(*folders: Path, limits: Limits | None = None, **client: Any) -> AsyncIterator[Client]:
    """Open a session with a server in this process; the work is done in children, as always."""
    from mcp import Client

    from sld.mcp.roots import Roots
    from sld.mcp.serve import running
    from sld.mcp.workers import Limits

    async with running(Roots.of(folders, ("nanolm_chinchilla",)), limits or Limits(), warm=False) as server:
        async with Client(server, **client) as session:
            yield session


def over_stdio(*options: object) -> StdioServerParameters:
    """Return how a client starts the command."""
    from mcp import StdioServerParameters

    return StdioServerParameters(
        command=sys.executable, args=["-m", "sld", "mcp", *map(str, options)], env=surroundings()
    )


@contextlib.contextmanager
def over_http(*options: object) -> Iterator[str]:
    """Run the command as a server on a free port; gives its address."""
    command = [sys.executable, "-m", "sld", "mcp", "--http", "0", *map(str, options)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", env=surroundings())
    try:
        assert server.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/mcp", server.stderr.readline())
        assert found is not None
        yield found[0]
    finally:
        server.terminate()
        server.communicate(timeout=20)


async def called(session: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that shall work, and return its record."""
    answer = await session.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    assert isinstance(answer.structured_content, dict)
    return answer.structured_content


async def refusal(session: Client, tool: str, arguments: Any) -> str:
    """Call a tool that shall refuse, and return the one line that it says."""
    answer = await session.call_tool(tool, arguments)
    assert answer.is_error and answer.structured_content is None, answer
    (block,) = answer.content
    text: str = block.text  # type: ignore[union-attr]
    assert text and "\n" not in text and "Traceback" not in text and len(text) < 1200
    return text


def workers_of(processes: Sequence[str] = ("sld.mcp.worker",)) -> list[int]:
    """Return the ids of the workers that this process has started and that are still there."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            words = (folder / "cmdline").read_bytes().decode().split("\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and any(name in words for name in processes):
                found.append(int(folder.name))
    return found
