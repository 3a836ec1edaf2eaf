"""Dask as the place of a search: the same results in the same order, and workers that die cost time alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest
from cli_runs import COLUMNS, child, one_line, surroundings, write_runs
from commands import Run
from many_cases import case
from test_executors import proposals

import sld
from sld.core.errors import SldError, UsageError
from sld.search.candidates.candidate import Candidate
from sld.search.judging.cluster import Cluster, ClusterExecutor
from sld.search.judging.judge import Judge, Proposal
from sld.search.loop import Progress

pytestmark = [
    pytest.mark.skipif(find_spec("distributed") is None, reason="Dask is not installed (pip install 'sld[dask]')"),
    # of Dask's own doing, and nothing that a search could see to
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


class Stub:
    """Judges a proposal by its number."""

    def judge(self, proposal: Proposal) -> tuple[Candidate, int]:
        return Candidate({"y": proposal.forms[0].expression}, proposal.key, "test", ()), int(proposal.key)


@contextmanager
def scheduler(workers: int, **how: Any) -> Iterator[tuple[str, Any]]:
    """Run a scheduler and workers as somebody else would have; gives its address for --executor."""
    dask: Any = import_module("distributed")
    with dask.LocalCluster(n_workers=workers, dashboard_address=None, silence_logs=50, **how) as cluster:
        yield cluster.scheduler_address.replace("tcp://", "dask://"), cluster


def test_results_come_in_the_order_of_the_proposals_whatever_the_workers_threads() -> None:
    with (
        scheduler(2, processes=False, protocol="tcp://", threads_per_worker=2) as (address, _),
        Cluster(address) as place,
    ):
        assert place.n_workers() == 2
        with ClusterExecutor(cast(Judge, Stub()), place) as executor:
            found = [(proposal.key, candidate.key, n) for proposal, candidate, n in executor.map(proposals(50))]
        assert found == [(str(n), str(n), n) for n in range(50)]
        done = dict(place.each(divmod, [(n, 3) for n in range(9)]))
        assert done == {n: divmod(n, 3) for n in range(9)}


def test_addresses_that_are_none_and_schedulers_that_are_not_there_are_refused(sld: Run, tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs.csv")
    for address in ("ray://here:1", "dask://here", "here:8786", "dask://"):
        with case(address):
            one_line(sld("discover", runs, *COLUMNS, "--executor", address), "dask://HOST:PORT")
    one_line(sld("discover", runs, runs, *COLUMNS, "--executor", "dask", "--out", "here"), "--out")
    one_line(sld("discover", runs, "-", *COLUMNS, "--executor", "dask"), "standard input")
    one_line(sld("discover", runs, runs, *COLUMNS, "--executor", "dask", "--llm", "m"), "one search at a time")


@pytest.mark.slow
def test_without_dask_the_command_says_how_to_get_it(tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs.csv")
    words = ["discover", str(runs), *COLUMNS, "--executor", "dask"]
    code = f"import sys; sys.modules['distributed'] = None; from sld.__main__ import main; sys.exit(main({words!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=surroundings(), cwd=tmp_path
    )
    assert done.returncode == 2 and "pip install 'sld[dask]'" in done.stderr


def law_of(table: Any, **where: Any) -> dict[str, Any]:
    """Return a law, less the number of its workers."""
    found = sld.discover(table, budget="6000fits", **where)
    return {"law": found.law.to_json(), "front": [c.text for c in found.front], "tried": found.counts["tried"]}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_a_search_whose_workers_are_killed_has_the_law_of_one_process() -> None:
    task = sld.load_task("nanolm_chinchilla")
    chance = random.Random(0)
    killed: list[int] = []
    with scheduler(2, threads_per_worker=1) as (address, cluster):

        def kill_now_and_then(state: Progress) -> None:
            there = [nanny.pid for nanny in cluster.workers.values() if nanny.pid is not None]
            if there and state.fraction > 0.15 * (len(killed) + 1):
                killed.append(chance.choice(there))
                os.kill(killed[-1], signal.SIGKILL)

        found = law_of(task, executor=address, progress=kill_now_and_then)
    assert len(killed) >= 3
    assert found == law_of(task, workers=1)


@pytest.mark.slow
def test_several_tables_have_the_laws_and_folders_that_they_have_alone(tmp_path: Path) -> None:
    tables = []
    for k, name in enumerate(("one", "two")):
        tables.append(write_runs(tmp_path / f"{name}.csv", f"1e9,1e9,{2.3 + k / 100}\n"))
    (tmp_path / "few.csv").write_text("N,D,loss\n1e6,1e8,3.2\n3e6,3e8,3.0\n1e6,3e8,3.1\n")
    names = ["one.csv", "few.csv", "two.csv"]
    with scheduler(2, threads_per_worker=1) as (address, _):
        words = ("--budget", "300fits", "--executor", address, "--json")
        done = child("discover", *names, *COLUMNS, *words, cwd=tmp_path)
    assert done.returncode == 1 and "1 of 3 searches failed; few: " in done.stderr, done.stderr
    searches = json.loads(done.stdout)["searches"]
    assert [s["source"] for s in searches] == names and "failed" in searches.pop(1)
    for table, search in zip(tables, searches, strict=True):
        folder = tmp_path / search["run_dir"]
        assert {"law.json", "report.md", "plot.png", "events.jsonl", "config.json"} <= set(search["files"])
        alone = sld.discover(table, target="loss", scale=["N", "D"], budget="300fits", workers=1)
        assert sld.Law.load(folder).to_json()["constants"] == alone.law.to_json()["constants"]


def test_a_task_that_kills_every_worker_is_given_up_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with scheduler(1, processes=False, protocol="tcp://") as (address, _), Cluster(address) as place:

        class Lost:
            def done(self) -> bool:
                return True

            def result(self, timeout: float | None) -> None:
                raise CancelledError("its worker is gone")

        with pytest.raises(SldError, match="killed its worker 30 times"):
            place.result(Lost(), Lost)
        assert place.result(place.send(divmod, 7, 3), Lost) == (2, 1)
    with pytest.raises(UsageError, match="no scheduler answers"):
        monkeypatch.setattr("sld.search.judging.cluster._ANSWER_S", 0.2)
        Cluster(address).__enter__()


@pytest.mark.slow
def test_workers_that_a_queue_of_jobs_starts_have_the_law_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dask-jobqueue's own stand-in for a batch system runs the job scripts that SLURM would be given."""
    queue: Any = pytest.importorskip("dask_jobqueue.local", reason="no queue of jobs (pip install dask-jobqueue)")
    monkeypatch.chdir(tmp_path)
    task = sld.load_task("nanolm_chinchilla")
    how = {"cores": 2, "processes": 2, "memory": "2GB", "walltime": "00:10:00"}
    with queue.LocalCluster(**how, scheduler_options={"dashboard_address": ":0"}) as cluster:
        cluster.scale(jobs=1)
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        found = sld.discover(task, budget="1000fits", executor=address)
    alone = sld.discover(task, budget="1000fits", workers=1)
    assert found.law.to_json()["constants"] == alone.law.to_json()["constants"]
    assert found.counts == alone.counts


# submitted jobs run at once, each in a session of its own, and what is asked of the queue is written down
SBATCH = """#!/bin/sh
cp "$1" job.sh
setsid sh job.sh > "job$$.log" 2>&1 < /dev/null &
echo "$!" >> submitted
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
echo "$1" >> cancelled
kill -- "-$1"
"""
# the first job waits in the queue for ever, and no other is let in
FULL = """#!/bin/sh
if [ -e submitted ]; then echo "sbatch: error: no more jobs" >&2; exit 1; fi
echo 4000001 >> submitted
echo "Submitted batch job 4000001"
"""
JOBS = """
cluster: {cluster}
jobs: 2
options:
  cores: 1
  memory: 1GB
  walltime: "00:10:00"
"""


def queue_in(folder: Path, monkeypatch: pytest.MonkeyPatch, sbatch: str) -> Path:
    """Give this process a SLURM of two commands; returns the file that asks it for jobs."""
    for name, script in (("sbatch", sbatch), ("scancel", SCANCEL)):
        (folder / name).write_text(script, encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.chdir(folder)
    file = folder / "dask-slurm.yaml"
    file.write_text(JOBS.format(cluster="slurm"), encoding="utf-8")
    return file


@pytest.mark.slow
def test_a_file_that_starts_jobs_gives_the_law_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue", reason="no queue of jobs (pip install dask-jobqueue)")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "dask-local.yaml"
    file.write_text(JOBS.format(cluster="local"), encoding="utf-8")
    task, told = sld.load_task("nanolm_chinchilla"), list[str]()
    found = sld.discover(task, budget="1500fits", executor=file, tell=told.append)
    alone = sld.discover(task, budget="1500fits", workers=1)
    assert found.law.to_json()["constants"] == alone.law.to_json()["constants"]
    assert found.counts == alone.counts
    assert told == ["asking local for 2 jobs of 1 worker each; waiting up to 60 minutes for the first"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for SLURM's commands are shell scripts")
def test_jobs_are_cancelled_with_the_search_and_when_the_queue_refuses_one(
    sld: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask_jobqueue", reason="no queue of jobs (pip install dask-jobqueue)")
    file = queue_in(tmp_path, monkeypatch, SBATCH)
    done = sld("discover", write_runs(tmp_path / "runs.csv"), *COLUMNS, "--budget", "300fits", "--executor", file)
    assert done.code == 0 and done.err.startswith("asking slurm for 2 jobs of 1 worker each"), done.err
    submitted = (tmp_path / "submitted").read_text().split()
    assert len(submitted) == 2 and sorted((tmp_path / "cancelled").read_text().split()) == sorted(submitted)
    script = (tmp_path / "job.sh").read_text(encoding="utf-8")
    assert "#SBATCH -t 00:10:00" in script and "--nthreads 1 " in script
    for name in ("submitted", "cancelled"):
        (tmp_path / name).unlink()
    queue_in(tmp_path, monkeypatch, FULL)
    with pytest.raises(UsageError, match=r"slurm takes no job: sbatch: error: no more jobs$"), Cluster(str(file)):
        pass
    assert (tmp_path / "cancelled").read_text().split() == ["4000001"]
