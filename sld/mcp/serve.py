"""Runs the server over stdin and stdout, or over HTTP for clients on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from sld.core.errors import UsageError
from sld.mcp.roots import Roots
from sld.mcp.server import Desk, Server, laws_folder, make_server
from sld.mcp.workers import Limits, Workers

LOOPBACK = ("127.0.0.1", "localhost", "::1")  # addresses that only this machine reaches
_PATH = "/mcp"
_INTERRUPTED = 130  # the exit code of every command


def serve_stdio(folders: Sequence[Path], limits: Limits) -> None:
    """Serve one client over stdin and stdout, until it closes them.

    Args:
        folders: What is open to the client; without any, what it grants itself.
        limits: Of each call.

    Raises:
        UsageError: A folder is none.
    """
    roots = _roots(folders, trusting=True)

    async def run() -> None:
        async with running(roots, limits) as server, anyio.create_task_group() as beside:
            if sys.platform != "win32":
                beside.start_soon(_end_at_signal, server)
            await server.run_stdio_async()
            beside.cancel_scope.cancel()

    anyio.run(run)


async def _end_at_signal(server: Server) -> None:
    """End the program at Ctrl-C: a thread of its waits for a line on stdin, which no exception reaches."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            await server.desk.workers.close()
            shutil.rmtree(server.desk.laws, ignore_errors=True)
            os._exit(_INTERRUPTED)  # workers that are at work follow


def serve_http(
    folders: Sequence[Path], limits: Limits, *, host: str, port: int, listening: Callable[[str], None]
) -> None:
    """Serve any number of clients over HTTP.

    Args:
        folders: What is open to clients; what one grants itself can only make it less.
        limits: Of each call.
        host: Address to listen at.
        port: Port to listen at; 0 takes a free one.
        listening: Called with the address for clients.

    Raises:
        UsageError: A folder is none, or the address cannot be listened at.
    """
    import uvicorn

    roots = _roots(folders, trusting=False)
    place = _listen(host, port)
    where = f"[{host}]" if ":" in host else host

    async def run() -> None:
        async with running(roots, limits) as server:
            app = server.streamable_http_app(streamable_http_path=_PATH, host=host)
            listening(f"http://{where}:{place.getsockname()[1]}{_PATH}")
            config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
            await uvicorn.Server(config).serve(sockets=[place])

    anyio.run(run)


def described() -> list[dict[str, Any]]:
    """Return the tools as a client sees them: name, description, schemas of arguments and results."""

    async def listed() -> list[dict[str, Any]]:
        server = make_server(Desk(Roots(), Workers(Limits()), Path()))
        return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in await server.list_tools()]

    return anyio.run(listed)


def _roots(folders: Sequence[Path], *, trusting: bool) -> Roots:
    from sld.data.bundled import named_tasks

    return Roots.of(folders, named_tasks(), trusting=trusting)


def _listen(host: str, port: int) -> socket.socket:
    place: socket.socket | None = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        place = socket.socket(family, socket.SOCK_STREAM)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((host, port))
        place.listen()  # from here on clients wait; the address is told before the server takes them
    except (OSError, OverflowError) as error:
        if place is not None:
            place.close()
        reason = getattr(error, "strerror", None) or error
        way_out = "try another port (0 takes a free one)"
        raise UsageError(f"cannot listen at {host}, port {port}: {reason}; {way_out}") from None
    return place


@contextlib.asynccontextmanager
async def running(roots: Roots, limits: Limits, *, warm: bool = True) -> AsyncIterator[Server]:
    """Give a server with its workers, one of them made ready beside; they end with the context."""
    from sld.data.bundled import task_roots

    workers = Workers(limits, [str(folder) for folder in task_roots()[1:]])
    with laws_folder() as laws:
        async with anyio.create_task_group() as beside:
            if warm:
                beside.start_soon(workers.warm_up)
            try:
                yield make_server(Desk(roots, workers, Path(laws)))
            finally:
                beside.cancel_scope.cancel()
                await workers.close()
