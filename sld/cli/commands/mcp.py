"""`sld mcp`: the verbs as tools for agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sld.cli import output
from sld.cli.base import command
from sld.core.errors import UsageError

_GB = 1_000_000_000


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "mcp",
        "sld mcp --root ~/runs",
        "claude mcp add sld -- sld mcp --root ~/runs",
        "sld mcp --http 8765 --root ~/runs --root ~/laws",
        "sld mcp --json",
    )(mcp)


def mcp(
    root: Annotated[
        list[Path] | None,
        typer.Option(
            "--root",
            metavar="FOLDER",
            help="A folder that clients may read and write; repeatable. Without it, what the client on stdin grants.",
        ),
    ] = None,
    http: Annotated[
        int | None,
        typer.Option("--http", metavar="PORT", help="Serve over HTTP at this port (0 takes a free one), not on stdin."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address for --http; others than this machine's are open.")
    ] = "127.0.0.1",
    time_limit: Annotated[
        float, typer.Option("--time-limit", metavar="SECONDS", help="What one call may take.")
    ] = 600.0,
    memory: Annotated[
        float, typer.Option("--memory", metavar="GB", help="What each process of a call may take (on Linux).")
    ] = 4.0,
    at_once: Annotated[
        int, typer.Option("--at-once", metavar="N", help="Calls that are worked on at the same time.")
    ] = 4,
    json: Annotated[
        bool, typer.Option("--json", help="Print the tools with their schemas as one JSON document, and stop.")
    ] = False,
) -> None:
    """How can an agent use all this, over the Model Context Protocol?

    Serves discovery, fits and decisions as tools. An agent's program starts this
    command and talks to it over stdin and stdout; nothing is printed there. Files are read and written inside the open
    folders only, and no text of a client is ever executed.
    """
    try:
        from sld.mcp.serve import LOOPBACK, described, serve_http, serve_stdio
        from sld.mcp.workers import Limits
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sld"):
            raise
        raise UsageError("sld mcp needs the package mcp (2.0 or later); pip install 'sld[mcp]'") from None
    if not (time_limit > 0 and memory >= 0 and at_once > 0):
        raise UsageError("--time-limit and --at-once must be above 0, and --memory at least 0")
    limits = Limits(time_limit, int(memory * _GB), at_once)
    if json:
        output.say_json({"tools": described()})
        return
    if http is None:
        serve_stdio(root or [], limits)
        return
    if host not in LOOPBACK:
        output.remark(f"warning: whoever reaches {host} can call the tools, and read and write in the open folders")
    serve_http(root or [], limits, host=host, port=http, listening=lambda url: output.remark(f"serving at {url}"))
