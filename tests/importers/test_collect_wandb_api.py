"""Runs read over W&B's API: the same table as from its files, nothing asked twice, and every refusal in one line.

Against a server of our own that speaks the queries of the client (`wandb_server.py`), never the hosted service; most
tests with a stand-in for the client (`wandb_client.py`), those at the end with the real one where it is installed.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from commands import Run
from many_cases import each
from recorded_runs import rows_of, unpacked
from scenario import RUNS, truth
from wandb_client import installed
from wandb_server import KEY, Served, Tracker, scenario, serving

import sld
from sld.core.errors import DataError, SldError, UsageError
from sld.data.importers.attempt import Unreachable
from sld.data.importers.wandb_api import _page_size, _refusal

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "wandb://me/ladder"


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """A server with the scenario, and a client that knows it."""
    tracker = Tracker({"me/ladder": scenario(), "me/empty": []})
    installed(tracker, monkeypatch)
    return tracker


def test_the_api_gives_the_table_that_the_files_give(tracker: Tracker, tmp_path: Path) -> None:
    frame = sld.collect(SOURCE)
    rows, true = rows_of(frame), truth()
    assert rows.keys() == true.keys()
    for name, wanted in true.items():
        for key, value in wanted.items():
            assert rows[name][key] == value or (value is None and rows[name][key] != rows[name][key]), (name, key)
    assert frame.attrs["counts"] == {"resumed": 1, "renamed": 1, "diverged": 1, "unfinished": 1, "note": 3}
    files = sld.collect(unpacked("wandb", tmp_path))
    assert frame.drop(columns="wandb.group").equals(files)  # a file does not say what a run was filed under


def test_what_a_run_was_filed_under_is_a_setting_and_every_checkpoint_is_there(tracker: Tracker) -> None:
    rows = rows_of(sld.collect(SOURCE, keep="group,tags,seed", keep_unfinished=True))
    assert rows["small-2"]["group"] == "seed-1" and rows["small"]["tags"] == "ladder"
    assert rows["large-cut"]["status"] == "unfinished"
    points = sld.collect(f"{SOURCE}/run2", per="step")
    assert points["loss"].tolist() == [RUNS[2].eval_loss(s) for s in range(10, 121, 10)]
    assert tracker.requests[-3:] == ["Viewer", "Run", "HistoryPage"]


def test_nested_metrics_and_values_without_a_curve(tracker: Tracker) -> None:
    nested = {"_step": 3, "eval": {"loss": 2.5}, "grad": {"_type": "histogram", "values": [1]}, "note": "text"}
    summary = {"eval": {"loss": 9.0}, "best": {"min": 2.25}, "_runtime": 5, "table": {"_type": "table-file", "n": 1}}
    flat = {"_step": 1, "eval.loss": 3.0, "grad": None}
    tracker.projects["me/x"] = [
        Served(f"r{k}", f"size-{k}", config={"n_params": 10**k, "x": [1, 2]}, summary=summary, rows=[flat, nested])
        for k in (6, 7)
    ]
    frame = sld.collect("wandb://me/x", summary=["end=eval.loss", "best=best.min", "first=first:eval.loss"])
    assert frame[["end", "best", "first"]].values.tolist() == [[2.5, 2.25, 3.0]] * 2


def test_a_second_call_reads_only_what_changed(sld: Run, tracker: Tracker) -> None:
    def histories() -> list[Any]:
        asked = zip(tracker.requests, tracker.variables, strict=True)
        found = [variables["run"] for name, variables in asked if name == "HistoryPage"]
        tracker.requests.clear()
        tracker.variables.clear()
        return found

    runs = tracker.projects["me/ladder"]
    assert sld("collect", SOURCE, "--out", "runs.csv").code == 0 and len(histories()) == 6
    table = Path("runs.csv").read_bytes()
    again = sld("collect", SOURCE, "--out", "runs.csv")
    assert histories() == [] and "6 sources had not changed" in again.out and Path("runs.csv").read_bytes() == table
    # another value of a setting, a later sign of life, a new run, and one that still runs
    runs[0] = replace(runs[0], config={**runs[0].config, "lr": 0.002})
    runs[4] = replace(runs[4], heartbeat="2026-02-01T00:00:00")
    runs.append(replace(runs[4], id="new", name="new", state="running"))
    sld("collect", SOURCE, "--out", "runs.csv")
    assert histories() == ["run0", "run4", "new"]
    assert "small,1000000,100000000,0,0.002," in Path("runs.csv").read_text(encoding="utf-8")
    sld("collect", SOURCE, "--out", "runs.csv")
    assert histories() == ["new"]


@pytest.mark.parametrize("ends", ["no answer", "Ctrl-C"])
def test_what_was_read_before_the_end_is_kept_and_nothing_else_is_written(
    sld: Run, tracker: Tracker, ends: str
) -> None:
    def fails(name: str, variables: Any) -> None:
        if name == "HistoryPage" and variables["run"] == "run3":
            raise KeyboardInterrupt if ends == "Ctrl-C" else OSError("POST /graphql giving up after 21 attempt(s)")

    tracker.fails = fails
    before = set(Path().iterdir())
    done = sld("collect", SOURCE, "--out", "runs.csv")
    assert done.code == (130 if ends == "Ctrl-C" else 1) and done.out == ""
    assert {path.name for path in set(Path().iterdir()) - before} == {".runs.collected"}
    if ends == "no answer":
        assert "does not answer" in done.err and "the next call goes on from there" in done.err.splitlines()[-1]
    tracker.fails = lambda name, variables: None
    tracker.requests.clear()
    done = sld("collect", SOURCE, "--out", "runs.csv")
    assert tracker.requests.count("HistoryPage") == 3 and "3 sources had not changed" in done.out


def test_rows_that_are_counted_and_not_sent_are_told(tracker: Tracker) -> None:
    runs = tracker.projects["me/ladder"]
    runs[4] = replace(runs[4], lost=2)
    frame = sld.collect(SOURCE)
    assert "large: W&B counts 14 rows and sent 12; points may be missing" in frame.attrs["account"]


def test_steps_that_are_tokens_do_not_take_a_million_requests() -> None:
    assert _page_size(50_000, 50_001) == 1000 and _page_size(-1, 0) == 1000
    assert 1e12 / _page_size(1e12, 1000) < 500 and _page_size(1e15, 1) == 2**31 - 1


def test_nobody_is_asked_for_anything_else(sld: Run, tracker: Tracker) -> None:
    """An address in another spelling is no address, and a folder of runs is read as it lies."""
    for words in (["https://wandb.ai/me/ladder"], ["me/ladder"], ["wandb:/me/ladder"], ["nowhere", "--as", "wandb"]):
        done = sld("collect", *words)
        assert done.code == 2 and "no file or folder" in done.err and len(done.err.splitlines()) == 1
    unpacked("wandb", Path())
    assert sld("collect", "wandb").code == 0 and tracker.requests == []
    assert sld("collect", "me/ladder", "--as", "wandb-api").code == 0 and tracker.requests


@each(
    ("words", "parts"),
    [
        (["wandb://me"], ["wanted wandb://ENTITY/PROJECT", "got 'wandb://me'"]),
        (["wandb://"], ["wanted wandb://ENTITY/PROJECT"]),
        (["wandb://me/ladder/run0/more"], ["wanted wandb://ENTITY/PROJECT"]),
        (["wandb://me/laddr"], ["W&B has no me/laddr, or you may not see it"]),
        (["wandb://me/ladder/run9"], ["W&B has no me/ladder/run9"]),
        (["wandb://me/empty"], ["wandb://me/empty has no runs"]),
        (["wandb://me/ladder", "--as", "jsonl"], ["is read as wandb-api", "leave --as out"]),
    ],
)
def test_what_is_not_there_is_one_line(sld: Run, tracker: Tracker, words: list[str], parts: list[str]) -> None:
    done = sld("collect", *words)
    assert done.code == 2 and done.out == "" and len(done.err.splitlines()) == 1, done.err
    assert all(part in done.err for part in parts), done.err


# what wandb 0.31.0 said when the server, or the lack of one, gave it the reason
SAID: list[tuple[str, type[SldError], str]] = [
    ("No API key configured. Use `wandb login` to log in.", UsageError, "not logged in"),
    ("WANDB_API_KEY invalid: API key must have 40+ characters, has 5.", UsageError, "does not accept your key"),
    ('Failed to verify credentials with http://h: returned error 401: {"data":null}', UsageError, "does not accept"),
    (
        "Failed to verify credentials with http://h: Failed to execute API request: the service process is busy and "
        "did not respond in time.",
        Unreachable,
        "no network",
    ),
    ("POST http://h/graphql giving up after 21 attempt(s)\nwhile retrying: dial tcp", Unreachable, "no network"),
    ("POST http://h giving up after 21 attempt(s)\nwhile retrying: HTTP 429: {}", Unreachable, "fewer requests"),
    ("Could not find project p", DataError, "has no me/p"),
    ("Could not find run <Run me/p/zz (not found)>", DataError, "has no me/p"),
    ("returned error 403: forbidden", DataError, "does not hand out me/p: returned error 403"),
]


@each(("said", "kind", "part"), SAID)
def test_what_the_client_says_becomes_one_line(said: str, kind: type[SldError], part: str) -> None:
    error = _refusal(" ".join(said.split()), "me/p")
    assert type(error) is kind and part in str(error) and "\n" not in str(error)


def test_a_run_that_is_refused_is_left_out_and_named(tracker: Tracker) -> None:
    def fails(name: str, variables: Any) -> None:
        if name == "HistoryPage" and variables["run"] == "run4":
            raise RuntimeError("returned error 403: forbidden")

    tracker.fails = fails
    frame = sld.collect(SOURCE)
    assert frame.attrs["counts"]["unreadable"] == 1 and "large" not in rows_of(frame)
    assert any("does not hand out me/ladder/run4" in line for line in frame.attrs["account"])


def test_a_folder_of_runs_is_not_taken_for_the_client(sld: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside runs, Python finds `wandb/` and imports it as a package, empty."""
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    done = sld("collect", SOURCE)
    assert done.code == 2 and "pip install 'sld[wandb]'" in done.err and len(done.err.splitlines()) == 1


# -- with the real client ---------------------------------------------------------------------------------------------

needs_client = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="W&B's client is not installed (pip install 'sld[wandb]')"
)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `sld collect` with the real client, which knows only what it is given."""

    def run(url: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
        own = {"HOME": str(tmp_path), "WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-m", "sld", "collect", *words],
            env={**kept, **own, **more},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.mark.slow
@needs_client
def test_the_real_client_brings_every_row(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were exported and rows that were not, runs on several pages, and only what changed a second time."""
    far = [{"_step": k * 10**9, "tokens": k * 10**9, "loss": 5.0 - k} for k in range(4)]
    changed = [{"_step": k, "loss": 1.0} for k in range(3)]
    settings = {"n_params": 10**6}
    odd = [Served("far", "far", rows=far, config=settings)]
    odd.append(Served("kept", "kept", rows=changed, exported=3, config=settings))
    with serving(Tracker({"me/ladder": scenario(), "me/odd": odd}, page=2)) as tracker:
        done = command(tracker.url, SOURCE, "--out", "runs.csv")
        assert done.returncode == 0, done.stderr
        assert tracker.requests.count("Runs") == 3 and tracker.requests.count("HistoryPage") == 6
        installed(tracker, monkeypatch)
        assert (tmp_path / "runs.csv").read_text(encoding="utf-8") == _csv(SOURCE)
        tracker.requests.clear()
        again = command(tracker.url, SOURCE, "--out", "runs.csv")
        assert "6 sources had not changed" in again.stdout and "HistoryPage" not in tracker.requests
        tracker.requests.clear()
        assert command(tracker.url, "wandb://me/odd", "--summary", "loss", "--out", "odd.csv").returncode == 0
        assert tracker.requests.count("HistoryPage") < 30  # and not 3,000,000
        odd[1] = replace(odd[1], rows=[{"_step": k, "loss": 2.0} for k in range(4)], exported=4)
        assert command(tracker.url, "wandb://me/odd", "--summary", "loss", "--out", "odd.csv").returncode == 0
        assert (tmp_path / "odd.csv").read_text(encoding="utf-8").splitlines()[-1].startswith("kept,1000000,")
        assert ",2.0,finished" in (tmp_path / "odd.csv").read_text(encoding="utf-8")


def _csv(source: str) -> str:
    from sld.api.collecting import collected

    return collected(source).to_csv()


@pytest.mark.slow
@needs_client
def test_the_real_client_is_understood_where_it_refuses(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    with serving(Tracker({"me/ladder": scenario()})) as tracker:
        cases: list[tuple[str, dict[str, str], int, str]] = [
            (SOURCE, {"WANDB_API_KEY": ""}, 2, "not logged in"),
            (SOURCE, {"WANDB_API_KEY": "short"}, 2, "does not accept your key"),
            ("wandb://me/laddr", {}, 2, "has no me/laddr"),
            (f"{SOURCE}/run9", {}, 2, "has no me/ladder/run9"),
        ]
        for source, more, code, part in cases:
            done = command(tracker.url, source, **more)
            assert done.returncode == code and part in done.stderr and "Traceback" not in done.stderr, done.stderr
        tracker.answers["Viewer"] = (401, {}, {"error": "unauthorised"})
        done = command(tracker.url, SOURCE)
        assert done.returncode == 2 and "does not accept your key" in done.stderr
        tracker.answers = {"HistoryPage": (403, {}, {"errors": [{"message": "forbidden"}]})}
        done = command(tracker.url, f"{SOURCE}/run0")
        assert done.returncode == 2 and "does not hand out me/ladder/run0" in done.stderr
