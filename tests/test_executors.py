"""Executors: the same results in the same order with any number of workers, and no worker left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import cast

import pytest
from many_cases import case

from sld.core.errors import SldError
from sld.formula.expression import parse
from sld.laws.form import Form
from sld.search.candidates.candidate import Candidate, Judgement
from sld.search.judging.executors import Executor, chunks
from sld.search.judging.judge import Judge, Proposal

ROOT = Path(__file__).parents[1]
forks = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in for a judge travels by fork")


@dataclass(frozen=True)
class Stub:
    """Judges a proposal by doing something to the process it is in."""

    act: Callable[[int], None] = lambda n: None

    def judge(self, proposal: Proposal) -> tuple[Candidate, int]:
        n = int(proposal.key)
        self.act(n)
        candidate = Candidate(
            expressions={"y": proposal.forms[0].expression}, key=proposal.key, origin="test",
            judgements=(Judgement(float(os.getpid()), (), 0.0),),
        )  # fmt: skip
        return candidate, n


def proposals(n: int) -> list[Proposal]:
    form = Form(parse("E + A*x", ["x"]), "test")
    return [Proposal((form,), str(i)) for i in range(n)]


def executor(workers: int, act: Callable[[int], None] = lambda n: None) -> Executor:
    return Executor(cast(Judge, Stub(act)), workers)


def nobody_is_left() -> bool:
    deadline = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not multiprocessing.active_children()


@forks
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("n", [0, 1, 8, 101])
def test_results_come_in_the_order_of_the_proposals(workers: int, n: int) -> None:
    with executor(workers, lambda i: time.sleep(0.002 * (i % 5 == 0))) as pool:
        results = list(pool.map(proposals(n)))
    assert [p.key for p, _, _ in results] == [str(i) for i in range(n)]
    assert [c.key for _, c, _ in results] == [str(i) for i in range(n)]
    assert [fits for _, _, fits in results] == list(range(n))
    assert nobody_is_left()


@forks
def test_workers_are_other_processes_and_one_worker_is_this_one() -> None:
    with executor(1) as pool:
        assert {c.score for _, c, _ in pool.map(proposals(20))} == {float(os.getpid())}
    with executor(2, lambda _: time.sleep(0.01)) as pool:
        pids = {c.score for _, c, _ in pool.map(proposals(40))}
    assert len(pids) == 2
    assert float(os.getpid()) not in pids


@forks
def test_one_pool_judges_many_batches() -> None:
    with executor(2) as pool:
        for n in (5, 0, 30):
            assert len(list(pool.map(proposals(n)))) == n


def test_chunks_hold_every_proposal_once_in_order_and_end_with_single_ones() -> None:
    for n, workers in product((0, 1, 5, 96, 97), (1, 2, 7, 1000)):
        with case((n, workers)):
            parts = list(chunks(proposals(n), workers, 16))
            assert [p.key for part in parts for p in part] == [str(i) for i in range(n)]
            sizes = [len(part) for part in parts]
            assert sizes == sorted(sizes, reverse=True) and max(sizes, default=1) <= 16
            assert sizes[-workers:] == [1] * min(n, workers, len(sizes))


@forks
def test_what_is_to_be_done_meanwhile_is_done_before_the_first_result() -> None:
    done: list[str] = []
    with executor(2, lambda n: time.sleep(0.2 if n == 0 else 0)) as pool:
        for proposal, _, _ in pool.map(proposals(20), lambda: done.append("meanwhile")):
            done.append(proposal.key)
    assert done == ["meanwhile", *(str(i) for i in range(20))]


@forks
def test_leaving_in_the_middle_ends_the_workers_at_once() -> None:
    began = time.monotonic()
    with executor(2, lambda n: time.sleep(0 if n < 8 else 60)) as pool:
        next(iter(pool.map(proposals(100))))
    assert nobody_is_left()
    assert time.monotonic() - began < 10


@forks
def test_a_killed_worker_is_one_sentence() -> None:
    def die(n: int) -> None:
        if n == 20:
            os.kill(os.getpid(), signal.SIGKILL)

    seen = []
    with pytest.raises(SldError, match=r"a worker process died .*run the same command again") as caught:
        with executor(2, die) as pool:
            for proposal, _, _ in pool.map(proposals(100)):
                seen.append(int(proposal.key))
    assert "\n" not in str(caught.value)
    assert seen == list(range(len(seen)))
    assert nobody_is_left()


@forks
def test_an_error_in_a_worker_is_raised_here() -> None:
    def fail(n: int) -> None:
        if n == 20:
            raise SldError("cannot judge this")

    for workers in (1, 2):
        with pytest.raises(SldError, match="cannot judge this"):
            with executor(workers, fail) as pool:
                list(pool.map(proposals(100)))
    assert nobody_is_left()


@forks
def test_ctrl_c_is_not_for_workers() -> None:
    def interrupt(n: int) -> None:
        if n == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with executor(2, interrupt) as pool:
        assert len(list(pool.map(proposals(20)))) == 20


ORPHANS = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, "tests")
from test_executors import executor, proposals

def report(n):
    (Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(0.2)

with executor(2, report) as pool:
    list(pool.map(proposals(100000)))
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # a process that has ended but that nobody has waited for does not count
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.slow
@forks
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_of_a_killed_search_end_too(tmp_path: Path, how: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", ORPHANS, str(tmp_path)], cwd=ROOT, start_new_session=True)
    deadline = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = [int(p.name) for p in tmp_path.iterdir()]
    assert len(workers) == 2
    process.send_signal(how)
    process.wait()
    deadline = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = [pid for pid in workers if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
