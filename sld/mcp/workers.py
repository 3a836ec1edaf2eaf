"""The child processes that do the work: kept warm between calls, ended when a call is cancelled or takes too long."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from sld.core.errors import SldError, UsageError

Report = Callable[[float, str], Awaitable[None]]

_MOST_WAITING = 64  # calls; more is no session but a flood
_LONGEST_LINE = 50_000_000  # bytes of an answer
_PATIENCE_S = 5.0  # for a process that was killed to be gone


@dataclass(frozen=True)
class Limits:
    """What one call may use.

    Attributes:
        seconds: Wall time.
        memory: Bytes of each process, 0 for any number; where the system can hold a process to it (Linux).
        at_once: Calls that are worked on at the same time; others wait.
    """

    seconds: float = 600.0
    memory: int = 4_000_000_000
    at_once: int = 4


class Worker:
    """One child process, which does one job after another."""

    def __init__(self, process: Process) -> None:
        """Take a process that was started."""
        assert process.stdout is not None
        self._process = process
        self._answers = BufferedByteReceiveStream(process.stdout)

    @staticmethod
    async def start(memory: int, tasks: Sequence[str]) -> Worker:
        """Start a process that has that many bytes, and knows the tasks in these folders by name."""
        return Worker(
            await anyio.open_process(
                [sys.executable, "-m", "sld.mcp.worker", str(memory), *tasks],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None,  # what libraries print is for who runs the server
                start_new_session=True,  # a search has processes of its own, which end with it
            )
        )

    @property
    def alive(self) -> bool:
        """Whether it can take another job."""
        return self._process.returncode is None

    async def do(self, verb: str, arguments: Mapping[str, Any], report: Report) -> tuple[str, dict[str, Any]]:
        """Do one job and report how far it is; return its text and record.

        Raises:
            SldError: The job was refused or failed, or the process has died.
        """
        assert self._process.stdin is not None
        try:
            job = json.dumps({"verb": verb, "arguments": arguments})
            await self._process.stdin.send(job.encode() + b"\n")
            while True:
                answer = json.loads(await self._answers.receive_until(b"\n", _LONGEST_LINE))
                if "progress" not in answer:
                    break
                await report(answer["progress"], answer["message"])
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise Died("the work ended without an answer: its process was killed, or ran out of memory") from None
        if "error" in answer:
            raise SldError(answer["error"])
        return answer["text"], answer["data"]

    async def end(self) -> None:
        """End the process, with all that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        with anyio.CancelScope(shield=True), anyio.move_on_after(_PATIENCE_S):
            await self._process.aclose()


class Died(SldError):
    """A worker that has ended by itself."""


class Workers:
    """Workers as they are needed; those that have nothing to do wait, with everything imported and compiled."""

    def __init__(self, limits: Limits, tasks: Sequence[str] = ()) -> None:
        """Start nothing yet."""
        self.limits = limits
        self._tasks = tasks
        self._idle: list[Worker] = []
        self._waiting = 0
        self._turn = anyio.CapacityLimiter(limits.at_once)

    async def call(self, verb: str, arguments: Mapping[str, Any], report: Report) -> tuple[str, dict[str, Any]]:
        """Do one job; when it is cancelled, or takes longer than a call may, its processes are ended.

        Raises:
            SldError: It was refused or failed, took too long, or too many wait already.
        """
        if self._waiting >= _MOST_WAITING:
            raise UsageError(f"{_MOST_WAITING} calls are waiting already; ask again when some are done")
        self._waiting += 1
        try:
            # the request, not its task: one task may be at several calls
            async with self._turn_of(object()):
                return await self._done(verb, arguments, report)
        finally:
            self._waiting -= 1

    @contextlib.asynccontextmanager
    async def _turn_of(self, borrower: object) -> AsyncIterator[None]:
        await self._turn.acquire_on_behalf_of(borrower)
        try:
            yield
        finally:
            self._turn.release_on_behalf_of(borrower)

    async def _done(self, verb: str, arguments: Mapping[str, Any], report: Report) -> tuple[str, dict[str, Any]]:
        worker = await self._ready()
        free = False
        try:
            with anyio.fail_after(self.limits.seconds):
                done = await worker.do(verb, arguments, report)
            free = True
            return done
        except TimeoutError:
            limit = f"{self.limits.seconds:g} s that a call may take (--time-limit)"
            raise SldError(f"{verb} was ended after the {limit}; ask for less, e.g. a smaller budget") from None
        except Died:
            raise
        except SldError:  # refused: the process is as good as before
            free = True
            raise
        finally:
            if free:
                self._idle.append(worker)
            else:
                await worker.end()

    async def _ready(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            await worker.end()  # killed by somebody else
        return await Worker.start(self.limits.memory, self._tasks)

    async def warm_up(self) -> None:
        """Have one worker ready, so that the first call waits for no import; what goes wrong is said by that call."""

        async def nobody(_share: float, _message: str) -> None:
            pass

        with contextlib.suppress(SldError):
            await self.call("warm_up", {}, nobody)

    async def close(self) -> None:
        """End the workers that have nothing to do; the others end with their calls."""
        while self._idle:
            await self._idle.pop().end()
