"""Runs: repeatable bit for bit, taken up after a kill, ended by Ctrl-C or the clock, and given training rows only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pace import pace
from searches import CATALOGUE, events, grouped, law_bytes, mixture, one_scale, search, two_scales

from sld.data.table import Table
from sld.laws.law import LAW_FILE, Law
from sld.search import loop
from sld.search.loop import Progress
from sld.search.run_folder import CONFIG, EVENTS, FRONT, LOCK

ROOT = Path(__file__).parents[1]


# -- the same again ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("table", [two_scales(0.01), grouped(), mixture()], ids=["two scales", "groups", "targets"])
def test_one_and_two_workers_write_the_same_law(tmp_path: Path, table: Table) -> None:
    for name, workers in (("one", 1), ("two", 2), ("again", 1)):
        search(table, "800fits", workers=workers, out=tmp_path / name)
    assert law_bytes(tmp_path / "one") == law_bytes(tmp_path / "two") == law_bytes(tmp_path / "again")
    assert events(tmp_path / "one") == events(tmp_path / "two") == events(tmp_path / "again")
    assert (tmp_path / "one" / FRONT).read_bytes() == (tmp_path / "two" / FRONT).read_bytes()


@pytest.mark.slow
def test_another_seed_is_another_search_of_the_same_formulas(tmp_path: Path) -> None:
    for seed in (0, 1):
        search(two_scales(0.01), out=tmp_path / str(seed), seed=seed)
    one, other = events(tmp_path / "0"), events(tmp_path / "1")
    n = min(len(one), len(other))
    assert [e["key"] for e in one[:n]] == [e["key"] for e in other[:n]]
    assert one[:n] != other[:n]


@pytest.mark.slow
@pytest.mark.parametrize("proposers", [CATALOGUE, ("catalogue", "evolution")])
def test_taking_a_run_up_again_is_the_same_as_one_long_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proposers: Sequence[str]
) -> None:
    # evolution after one small batch, so that a short run breeds
    monkeypatch.setattr("sld.search.proposing.proposers._HEAD", 16)
    monkeypatch.setattr("sld.search.proposing.proposers._BATCH", 16)
    table = two_scales(0.01)
    search(table, "1200fits", out=tmp_path / "long", proposers=proposers)
    for budget in ("300fits", "700fits", "1200fits"):
        found = search(table, budget, out=tmp_path / "short", proposers=proposers)
    assert found.n_fits >= 1200
    assert law_bytes(tmp_path / "short") == law_bytes(tmp_path / "long")
    assert events(tmp_path / "short") == events(tmp_path / "long")
    if "evolution" in proposers:
        assert any(e["origin"] == "evolution" for e in events(tmp_path / "long"))


@pytest.mark.slow
def test_a_smaller_budget_in_the_same_folder_gives_its_own_law(tmp_path: Path) -> None:
    table = two_scales(0.01)
    search(table, "300fits", out=tmp_path / "small")
    search(table, "1500fits", out=tmp_path / "large")
    recorded = events(tmp_path / "large")
    search(table, "300fits", out=tmp_path / "large")
    assert law_bytes(tmp_path / "large") == law_bytes(tmp_path / "small")
    # nothing that was worked out is thrown away
    assert events(tmp_path / "large") == recorded


@pytest.mark.slow
def test_a_run_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    table = two_scales(0.01)
    first = search(table, out=tmp_path)
    recorded = (tmp_path / EVENTS).read_bytes()
    second = search(table, out=tmp_path)
    assert (tmp_path / EVENTS).read_bytes() == recorded
    assert second.n_fits == first.n_fits
    assert second.counts == first.counts
    assert [c.key for c in second.hall_of_fame] == [c.key for c in first.hall_of_fame]


def test_events_of_another_version_are_set_aside_and_said(tmp_path: Path) -> None:
    search(one_scale(), out=tmp_path, proposers=["catalogue"])
    lines = (tmp_path / EVENTS).read_text(encoding="utf-8").splitlines()
    (tmp_path / EVENTS).write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    found = search(one_scale(), "900fits", out=tmp_path, proposers=["catalogue"])
    assert any("another version of sld" in note for note in found.notes)
    assert (tmp_path / "earlier-1" / EVENTS).read_text(encoding="utf-8").splitlines() == lines[1:]


def test_a_run_folder_holds_what_was_promised(tmp_path: Path) -> None:
    found = search(grouped(), out=tmp_path / "run", task={"name": "t", "version": 3})
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == sorted([CONFIG, EVENTS, FRONT, LAW_FILE])
    law = Law.load(tmp_path / "run")
    assert law.task == {"name": "t", "version": 3}
    assert np.array_equal(law.predict(grouped()), found.law.predict(grouped()))
    config = json.loads((tmp_path / "run" / CONFIG).read_text(encoding="utf-8"))
    assert config["seed"] == 0
    assert config["rows"] == grouped().canonical().digest()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"max_constants": 3}, {"formulas": ["E + A*N"]}, {"proposers": CATALOGUE}]
)
def test_a_folder_belongs_to_one_question_and_an_earlier_one_is_kept(tmp_path: Path, change: dict[str, Any]) -> None:
    search(one_scale(), "200fits", out=tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    found = search(one_scale(), "200fits", out=tmp_path, **change)
    assert any("held a search with other" in note for note in found.notes)
    search(one_scale(15), "200fits", out=tmp_path, **change)
    assert {p.name: p.read_bytes() for p in (tmp_path / "earlier-1").iterdir()} == before
    assert (tmp_path / "earlier-2" / CONFIG).exists()


# -- stopping ----------------------------------------------------------------------------------------------------------

SEARCHER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
sys.path.insert(0, "tests")
from searches import two_scales
from sld.search.discovery import SearchSettings, discover
print("begun", flush=True)
found = discover(two_scales(0.01), SearchSettings(budget="600s", workers=int(sys.argv[2])), out=sys.argv[1])
print("interrupted" if found.interrupted else "done", found.counts["tried"], flush=True)
"""


def start(folder: Path, workers: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SEARCHER, str(folder), str(workers)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        file = folder / EVENTS
        if file.exists() and file.read_bytes().count(b"\n") >= 10:
            return process
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"the search did not start: {process.communicate()[1]}")


def left_of(process: subprocess.Popen[str]) -> bool:
    """Whether any process of its group is left after a few seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    return True


# one worker takes a shorter way through the same loop
WORKERS = [pytest.param(1, marks=pytest.mark.slow), 2]
posix = pytest.mark.skipif(os.name != "posix", reason="signals")


@pytest.mark.slow
@posix
@pytest.mark.parametrize("workers", WORKERS)
def test_a_killed_search_goes_on_as_if_nothing_had_happened(tmp_path: Path, workers: int) -> None:
    killed = tmp_path / "killed"
    process = start(killed, workers)
    process.kill()
    process.communicate()
    assert not left_of(process)
    assert not (killed / LAW_FILE).exists()
    recorded = (killed / EVENTS).read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    n_fits = sum(json.loads(line)["fits"] for line in recorded)
    budget = f"{2 * n_fits + 500}fits"  # more than was recorded goes into the search
    search(two_scales(0.01), budget, out=killed)
    search(two_scales(0.01), budget, out=tmp_path / "whole")
    whole = events(tmp_path / "whole")
    for line, event in zip(recorded, whole, strict=False):
        assert {k: v for k, v in json.loads(line).items() if k != "t"} == event
    assert events(killed) == whole
    assert law_bytes(killed) == law_bytes(tmp_path / "whole")


@pytest.mark.slow
@posix
@pytest.mark.parametrize("workers", WORKERS)
def test_ctrl_c_keeps_the_best_law_so_far(tmp_path: Path, workers: int) -> None:
    process = start(tmp_path, workers)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert err == ""
    word, tried = out.split()[-2:]
    assert word == "interrupted"
    # what was worked out is all there, and the next run takes it up
    assert abs(len(events(tmp_path)) - int(tried)) <= 1
    assert np.isfinite(Law.load(tmp_path).predict(two_scales())).all()
    assert not (tmp_path / LOCK).exists()
    assert not left_of(process)
    found = search(two_scales(0.01), "1fits", out=tmp_path)
    assert not found.interrupted


def test_ctrl_c_before_anything_was_found_is_ctrl_c() -> None:
    def press(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(one_scale(), progress=press, proposers=["evolution"])


@pytest.mark.slow
def test_ctrl_c_in_the_progress_bar_keeps_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_PROGRESS_EVERY_S", 0.0)
    pressed: list[Progress] = []

    def press(state: Progress) -> None:
        if state.tried == 30 and not pressed:
            pressed.append(state)
            raise KeyboardInterrupt

    found = search(two_scales(0.01), "100000fits", progress=press)
    assert found.interrupted
    assert found.counts["tried"] == 30
    assert np.isfinite(found.law.predict(two_scales())).all()


@pytest.mark.slow
def test_ctrl_c_while_writing_events_leaves_a_run_that_can_be_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sld.search.run_folder import RunFolder

    record = RunFolder.record

    def interrupted(self: RunFolder, rows: Sequence[Mapping[str, Any]]) -> None:
        record(self, rows)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "record", interrupted)
    assert search(two_scales(0.01), "100000fits", out=tmp_path).interrupted
    search(two_scales(0.01), "900fits", out=tmp_path)
    assert [e["i"] for e in events(tmp_path)] == list(range(len(events(tmp_path))))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_budget_in_seconds_is_kept(workers: int) -> None:
    search(two_scales(0.01), "1fits")  # compiled
    began = time.monotonic()
    found = search(two_scales(0.01), "1s", workers=workers)
    assert 0.9 < time.monotonic() - began < 6 * pace()  # 2 s on an idle machine
    assert found.counts["tried"] > 3


def test_progress_is_told_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_PROGRESS_EVERY_S", 0.0)
    told: list[Progress] = []
    found = search(two_scales(0.01), progress=told.append)
    assert [p.tried for p in told] == sorted(p.tried for p in told)
    assert [p.fraction for p in told] == sorted(p.fraction for p in told)
    assert all(0 <= p.fraction <= 1 for p in told)
    assert told[-1].fraction == 1
    assert told[-1].tried == found.counts["tried"]
    assert told[-1].n_fits == found.n_fits
    best = [p.best.score for p in told if p.best is not None and p.best.admissible]
    assert best == sorted(best, reverse=True)


# -- training rows only ------------------------------------------------------------------------------------------------

CARD = """
name = "poisoned"
files = {train = "train.csv", held_out = "held_out.csv"}
[[variable]]
column = "N"
role = "scale"
extrapolate = true
[[target]]
column = "y"
"""

WATCHED = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from sld.data.task import load_task
from sld.search.discovery import SearchSettings, discover
task = load_task(sys.argv[1])
found = discover(task.train, SearchSettings(budget="60fits", workers=int(sys.argv[2])), out=sys.argv[3])
assert any(name.endswith("train.csv") for name in opened)
assert not any(name.endswith("held_out.csv") for name in opened)
print(found.law.text())
"""


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    """A task whose held-out rows would fail loudly, if anybody read them."""
    table = one_scale()
    rows = "\n".join(f"{n!r},{y!r}" for n, y in zip(table.X[:, 0].tolist(), table.Y[:, 0].tolist(), strict=True))
    (tmp_path / "task.toml").write_text(CARD, encoding="utf-8")
    (tmp_path / "train.csv").write_text(f"N,y\n{rows}\n", encoding="utf-8")
    (tmp_path / "held_out.csv").mkdir()
    return tmp_path


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_held_out_rows_never_reach_discovery(poisoned: Path, tmp_path: Path, workers: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(poisoned), workers, str(tmp_path / "run")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_search_is_given_a_table_that_does_not_know_its_task(poisoned: Path) -> None:
    from sld.data.task import Task, load_task

    train = load_task(poisoned).train
    values = [getattr(train, name) for name in train.__dataclass_fields__]
    assert not any(isinstance(v, Task | Path) or "held_out" in repr(v) for v in values)
