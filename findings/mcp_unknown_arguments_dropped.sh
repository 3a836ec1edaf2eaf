#!/usr/bin/env bash
# A tool of an MCP server is called with a misspelt optional argument: it runs with the default, and nobody is told.
#
# Seen with mcp 2.3.0, the official SDK for Python (Python 3.11). The schema that MCPServer makes of a function does not
# say additionalProperties, and arguments that the function has not are taken out before it is called. One would expect
# an error, as Python gives for an unknown keyword. An agent that writes "learning-rate" for "learning_rate" gets an answer
# that looks right, for another question. Way out: compare the names of a call with the schema in the server, and refuse.
#
# Prints what was seen, and fails if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q mcp==2.3.0
"$place/venv/bin/python" - <<'PYTHON' >"$place/said" 2>&1 || { cat "$place/said"; exit 1; }
import asyncio

from mcp import Client
from mcp.server import MCPServer

server = MCPServer("check")


@server.tool()
def steps(count: int, learning_rate: float = 0.1) -> str:
    return f"{count} steps at {learning_rate}"


async def main():
    async with Client(server) as client:
        (tool,) = (await client.list_tools()).tools
        answer = await client.call_tool("steps", {"count": 3, "learning-rate": 0.5})
    print("SEEN additionalProperties in the schema:", tool.input_schema.get("additionalProperties", "not said"))
    print("SEEN is_error:", answer.is_error)
    print("SEEN answer:", answer.content[0].text)
    assert not answer.is_error
    assert answer.content[0].text == "3 steps at 0.1", "the misspelt argument is no longer dropped"


asyncio.run(main())
PYTHON
grep SEEN "$place/said" | cut -c6-
echo "as described: the tool ran with its default"
