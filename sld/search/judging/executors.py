"""Where proposals are judged: in this process, or in worker processes that each hold their own judge.

Results come back in the order of the proposals, whatever the number of workers, so that a search with a budget in fits
is repeatable bit for bit.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Protocol

from sld.core.errors import SldError
from sld.search.candidates.candidate import Candidate
from sld.search.judging.judge import Judge, Proposal

Result = tuple[Proposal, Candidate, int]

_CHUNK = 8  # proposals sent at once, at most: most fall at an early check, and sending takes time too
_ROUNDS = 2  # a worker is sent this part of its share of what is left: the last ones judge one proposal each
_AHEAD = 3  # chunks in flight per worker
_LOOK_EVERY_S = 0.2  # for whether the parent is still there

_judge: Judge | None = None


def _begin(judge: Judge, parent: int) -> None:
    global _judge
    # Ctrl-C is the parent's business: it keeps the best law and ends the workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    _judge = judge


def _follow(parent: int) -> None:
    """End this process with its parent: one that is killed outright cannot end its workers."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)


def _work(proposals: list[Proposal]) -> list[tuple[Candidate, int]]:
    assert _judge is not None
    return [_judge.judge(p) for p in proposals]


def chunks(proposals: Sequence[Proposal], workers: int, most: int) -> Iterator[list[Proposal]]:
    """Cut proposals into chunks that become smaller towards the end, so that all workers are done at about one time.

    A chunk is half of a worker's share of what is left (guided self-scheduling: Polychronopoulos and Kuck 1987).

    Args:
        proposals: All of them, in order.
        workers: Who share them.
        most: The largest chunk.
    """
    done = 0
    while left := len(proposals) - done:
        n = min(most, -(-left // (_ROUNDS * workers)))
        yield list(proposals[done : done + n])
        done += n


def nothing() -> None:
    """Do nothing while proposals are judged."""


class Executes(Protocol):
    """Judges proposals in order, in whatever place; the same results everywhere."""

    @property
    def workers(self) -> int:
        """How many judge at a time."""

    def __enter__(self) -> object:
        """Make ready."""

    def __exit__(self, *exc: object) -> None:
        """End what is under way."""

    def map(self, proposals: Sequence[Proposal], meanwhile: Callable[[], None] = nothing, /) -> Iterator[Result]:
        """Yield (proposal, candidate, fits) in the order of the proposals.

        Args:
            proposals: What to judge.
            meanwhile: Called once where others judge, when they have enough to do.
        """


class Executor:
    """Judges proposals in order, in `workers` processes (1: in this process)."""

    def __init__(self, judge: Judge, workers: int) -> None:
        """Keep the judge; worker processes start with the context."""
        self.judge = judge
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    @property
    def workers(self) -> int:
        """How many processes judge."""
        return self._workers

    def __enter__(self) -> Executor:
        """Start the workers."""
        if self.workers > 1:
            method = "fork" if sys.platform == "linux" else "spawn"
            self._pool = ProcessPoolExecutor(
                self.workers,
                mp_context=multiprocessing.get_context(method),
                initializer=_begin,
                initargs=(self.judge, os.getpid()),
            )
            # the processes start with the first job, and they have to start before any proposer's thread
            self._pool.submit(_work, [])
        return self

    def __exit__(self, *exc: object) -> None:
        """End the workers at once: what they are judging is not wanted any more."""
        if self._pool is not None:
            processes = list((self._pool._processes or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()

    def map(self, proposals: Sequence[Proposal], meanwhile: Callable[[], None] = nothing) -> Iterator[Result]:
        """Yield (proposal, candidate, fits) in order; with worker processes, `meanwhile` is called while they judge."""
        if self._pool is None:
            for proposal in proposals:
                candidate, n_fits = self.judge.judge(proposal)
                yield proposal, candidate, n_fits
            return
        parts = chunks(proposals, self.workers, _CHUNK)
        waiting: deque[tuple[list[Proposal], Future[list[tuple[Candidate, int]]]]] = deque()

        def send() -> None:
            assert self._pool is not None
            for chunk in islice(parts, _AHEAD * self.workers - len(waiting)):
                waiting.append((chunk, self._pool.submit(_work, chunk)))

        try:
            send()
            meanwhile()
            while waiting:
                chunk, future = waiting.popleft()
                judged = future.result()
                send()
                for proposal, (candidate, n_fits) in zip(chunk, judged, strict=True):
                    yield proposal, candidate, n_fits
        except BrokenProcessPool as error:
            message = "a worker process died (killed, or out of memory); run the same command again to go on from here"
            raise SldError(f"{message}, perhaps with --workers 1") from error
