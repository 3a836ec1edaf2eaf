"""A Dask cluster as the place where proposals are judged, or whole searches are made.

Tasks are sent to a scheduler that exists already, or to processes of this machine or jobs of a queue that are started
for it. A worker that dies costs time alone: what it was at is sent again, and what it held is computed again elsewhere.
Nothing is read from a disk that only one machine has, and nothing leaves the cluster.
"""

from __future__ import annotations

import logging
import pickle
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from sld.core.errors import SldError, UsageError
from sld.core.version import __version__
from sld.search.candidates.candidate import Candidate
from sld.search.judging.executors import Result, chunks, nothing
from sld.search.judging.judge import Judge, Proposal
from sld.search.judging.launchers import Launch, is_launch_file

LOCAL = "dask"  # processes of this machine
SCHEME = "dask://"  # how the address of a scheduler begins
_CHUNK = 16  # proposals sent at once, at most: a task costs some milliseconds, whatever is in it
_TRIES = 30  # how often one task is sent before it counts as what kills workers
_ANSWER_S = 10.0  # for the scheduler
_WAIT_S = 60.0  # for the first worker, and for another when all are gone
_LOOK_EVERY_S = 5.0  # for how many workers there are: some join late
_HUNG_S = 300.0  # after which a task is given to another worker as well; a chunk takes a second
# of processes of this machine: what Dask measures of itself many times a second takes a tenth of two cores
_QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.scheduler.active-memory-manager.start": False,  # it takes from idle workers what all will need again
}

# the machine that fits has one set of buffers in a process, and workers may have several threads
_one_at_a_time = threading.Lock()
_judges: dict[str, Judge] = {}  # of the search that this process works for


def _bytes(judge: bytes) -> bytes:
    """Return a judge as it travels: workers hand on bytes, since one that is at work changes while it is copied."""
    return judge


def _judged(search: str, judge: bytes, proposals: Sequence[Proposal]) -> list[tuple[Candidate, int]]:
    with _one_at_a_time:
        if search not in _judges:
            _judges.clear()
            _judges[search] = pickle.loads(judge)  # from our own client, as all of a task is
        return [_judges[search].judge(p) for p in proposals]


def _alone(work: Callable[..., Any], *given: Any) -> Any:
    with _one_at_a_time:
        return work(*given)


def _version() -> str:
    from sld.core.version import __version__

    return __version__


class Cluster:
    """A connection to a Dask scheduler, for as long as the context lasts."""

    def __init__(self, address: str, workers: int = 2) -> None:
        """Take an address; the connection begins with the context.

        Args:
            address: "dask://HOST:PORT" of a scheduler, "dask" for processes of this machine, or the name of a file
                that says how a queue of jobs starts them: see `launchers.Launch`.
            workers: How many processes of this machine.

        Raises:
            UsageError: The address is none, the file says something else, or Dask is not installed.
        """
        place, in_file = address.removeprefix(SCHEME), is_launch_file(address)
        if not in_file and address != LOCAL and (place == address or not place.rpartition(":")[2].isdigit()):
            wanted = f"{SCHEME}HOST:PORT of a scheduler, {LOCAL}, or a file such as dask-slurm.yaml"
            raise UsageError(f"--executor wants {wanted}, got {address!r}")
        try:
            self._dask: Any = import_module("distributed")
        except ModuleNotFoundError:
            raise UsageError("an executor of Dask needs the package distributed; pip install 'sld[dask]'") from None
        self.address, self._place, self._wanted = address, place, workers
        self._launch = Launch.read(Path(address)) if in_file else None
        self._client: Any = None
        self._own: Any = None
        self._n_workers, self._looked = 0, 0.0

    def __enter__(self) -> Cluster:
        """Connect, and wait for the first worker.

        Raises:
            UsageError: Nobody answers, no worker comes, the workers have another sld, or the queue takes no job.
        """
        if self.address == LOCAL:
            self._own = self._started()
        wait_s = _WAIT_S if self._launch is None else self._launch.wait_s
        try:
            if self._launch is not None:
                with import_module("dask").config.set(_QUIET):
                    self._own = self._launch.start()
                self._launch.submit(self._own)
            where = self._own if self._own is not None else f"tcp://{self._place}"
            self._client = self._dask.Client(where, timeout=_ANSWER_S, set_as_default=False)
            self._client.wait_for_workers(1, timeout=wait_s)
            self._check()
        except (OSError, TimeoutError) as error:
            self.__exit__()
            if self._launch is not None and self._client is not None and isinstance(error, TimeoutError):
                raise UsageError(self._launch.too_late) from None
            what = "no worker came" if self._client is not None else "no scheduler answers"
            raise UsageError(f"{what} at {self.address}: {_line(error)}") from None
        except BaseException:
            self.__exit__()
            raise
        return self

    def _started(self) -> Any:
        """Start workers on this machine.

        Raises:
            UsageError: They cannot start.
        """
        with import_module("dask").config.set(_QUIET):
            try:
                return self._dask.LocalCluster(
                    n_workers=self._wanted,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=":0",  # a port that is free, for what the scheduler serves without a page too
                    scheduler_kwargs={"dashboard": False},
                    silence_logs=logging.ERROR,
                )
            except (RuntimeError, OSError) as error:
                way_out = 'in a script, call from under if __name__ == "__main__": workers read the script anew'
                raise UsageError(f"no Dask worker starts on this machine: {_line(error)}; {way_out}") from None

    def __exit__(self, *exc: object) -> None:
        """Leave the cluster as it was; processes and jobs that were started for it end."""
        for one in (self._client, self._own):
            if one is not None:
                one.close()

    def _check(self) -> None:
        """Refuse workers on which searches would fail or differ."""
        if self._launch is not None and (most := max(self._client.nthreads().values())) > 1:
            raise UsageError(f"the workers of {self.address} have {most} threads; sld fits one thread per process")
        try:
            versions = self._client.run(_version)
        except (ImportError, AttributeError) as error:
            raise UsageError(f"the workers at {self.address} cannot import sld {__version__}: {_line(error)}") from None
        other = sorted({v for v in versions.values() if v != __version__})
        if other:
            raise UsageError(f"the workers at {self.address} have sld {', '.join(other)}, this is {__version__}")

    @property
    def _lost(self) -> tuple[type[BaseException], ...]:
        """What a task ends with whose worker, or whose judge's worker, has died."""
        killed = import_module("distributed.scheduler").KilledWorker
        return killed, import_module("distributed.client").FutureCancelledError, CancelledError

    @property
    def dashboard(self) -> str:
        """Address of the scheduler's own page; empty where it has none."""
        return "" if self.address == LOCAL else str(self._client.dashboard_link or "")

    @property
    def asks(self) -> str:
        """What the context will ask of a queue of jobs, in a sentence; empty where it asks nothing."""
        return "" if self._launch is None else self._launch.sentence

    def n_workers(self) -> int:
        """Return how many workers there are, as of a few seconds ago."""
        if (now := time.monotonic()) - self._looked > _LOOK_EVERY_S:
            self._n_workers, self._looked = len(self._client.nthreads()), now
        return self._n_workers

    def send(self, work: Callable[..., Any], *given: Any) -> Any:
        """Send a task, and return its future for `result`."""
        return self._client.submit(work, *given, pure=False)

    def send_each(self, work: Callable[..., Any], *given: Sequence[Any]) -> list[Any]:
        """Send a task for each element of the arguments, which costs half of sending one after the other."""
        found: list[Any] = self._client.map(work, *given, pure=False)
        return found

    def result(self, future: Any, again: Callable[[], Any]) -> Any:
        """Wait for a task, and send it again where its workers die.

        Args:
            future: Of the task.
            again: Sends it once more.

        Raises:
            SldError: The scheduler is gone, or no worker is left, or the task kills every worker that it is given to.
        """
        futures, tries, began = [future], 1, time.monotonic()
        while True:
            done = next((f for f in futures if f.done()), futures[0])
            try:
                # one that is done may be on its way for longer
                return done.result(timeout=None if done.done() else _LOOK_EVERY_S)
            except self._lost as error:
                futures.remove(done)
                if tries >= _TRIES:
                    raise SldError(
                        f"a task killed its worker {tries} times: {_line(error)}; is there memory?"
                    ) from None
                if not futures:
                    futures.append(again())
                    tries += 1
            except TimeoutError:
                if done.status == "error":
                    raise  # of the task itself
                self._check_workers()
                if time.monotonic() - began > _HUNG_S * tries:
                    futures.append(again())
                    tries += 1
            except OSError as error:
                raise SldError(
                    f"lost the scheduler at {self.address}: {_line(error)}; the same command goes on"
                ) from None

    def _check_workers(self) -> None:
        """Wait for another worker when all are gone; raises SldError where none comes."""
        self._looked = 0.0
        if self.n_workers() == 0:
            try:
                self._client.wait_for_workers(1, timeout=_WAIT_S)
            except TimeoutError:
                left = f"no worker is left at {self.address}"
                raise SldError(f"{left}; the same command goes on from here when there are some") from None

    def _wait(self, futures: Sequence[Any]) -> None:
        """Wait a little for one of several tasks; raises SldError where nobody is left to do them."""
        try:
            with self._client.as_current():
                self._dask.wait(futures, timeout=_LOOK_EVERY_S, return_when="FIRST_COMPLETED")
        except TimeoutError:
            self._check_workers()
        except self._lost:
            pass  # the task says so itself

    def each(self, work: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
        """Do every task on a worker that does nothing else meanwhile; yield number and result as they come."""
        waiting = {k: self.send(_alone, work, *given) for k, given in enumerate(tasks)}
        while waiting:
            for k in [k for k, future in waiting.items() if future.done()]:
                again = partial(self.send, _alone, work, *tasks[k])
                yield k, self.result(waiting.pop(k), again)
            if waiting and not any(future.done() for future in waiting.values()):
                self._wait(list(waiting.values()))


class ClusterExecutor:
    """Judges proposals in order on a cluster: see `executors.Executor`."""

    def __init__(self, judge: Judge, cluster: Cluster) -> None:
        """Keep the judge; it is sent with the context."""
        self.judge, self.cluster = judge, cluster
        self._search = secrets.token_hex(8)
        self._kept: Any = None

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return max(1, self.cluster.n_workers())

    def __enter__(self) -> ClusterExecutor:
        """Send the judge once: workers give it to each other, and one whose holder has died reads it anew."""
        self._kept = self.cluster.send(_bytes, pickle.dumps(self.judge))
        return self

    def __exit__(self, *exc: object) -> None:
        """Let go of it; tasks that nobody waits for are dropped."""
        self._kept = None

    def map(self, proposals: Sequence[Proposal], meanwhile: Callable[[], None] = nothing) -> Iterator[Result]:
        """Yield (proposal, candidate, fits) in order; `meanwhile` is called while the workers judge."""
        parts = list(chunks(proposals, self.workers, _CHUNK))
        waiting = deque(zip(parts, self._sent(parts), strict=True))
        meanwhile()
        while waiting:
            chunk, future = waiting.popleft()
            judged = self.cluster.result(future, partial(self._sent_again, chunk))
            for proposal, (candidate, n_fits) in zip(chunk, judged, strict=True):
                yield proposal, candidate, n_fits

    def _sent(self, parts: Sequence[list[Proposal]]) -> list[Any]:
        if self._kept.status in ("error", "cancelled", "lost"):  # too many workers died while they read it
            self._kept = self.cluster.send(_bytes, pickle.dumps(self.judge))
        if not parts:
            return []
        n = len(parts)
        return self.cluster.send_each(_judged, [self._search] * n, [self._kept] * n, parts)

    def _sent_again(self, chunk: list[Proposal]) -> Any:
        return self._sent([chunk])[0]


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
