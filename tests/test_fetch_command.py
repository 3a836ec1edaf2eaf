"""`sld tasks fetch` as a process: interruptions, several at once, misuse, and what it says."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import Run, runner
from fetching import NAMES, folders
from hub_server import Handler, Hub

import sld
from sld.data.task import check_task

REPOSITORY = Path(__file__).resolve().parents[1]


# several processes, interruptions


def surroundings(hub: Hub, tmp_path: Path) -> dict[str, str]:
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    return {**os.environ, **own, "SLD_DATA": str(tmp_path / "data")}


def start(hub: Hub, tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sld", "tasks", "fetch", "sldbench", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=surroundings(hub, tmp_path), cwd=tmp_path, text=True, stdout=pipe, stderr=pipe)


@pytest.mark.slow
def test_ctrl_c_leaves_finished_tasks_and_nothing_half(hub: Hub, tmp_path: Path) -> None:
    resolve = Handler.resolve
    waiting = False

    def slow(self: Handler, revision: str, path: str) -> None:
        nonlocal waiting
        if path.startswith("sft"):
            waiting = True
            for _ in range(1000):
                time.sleep(0.01)
                if not waiting:
                    return
        resolve(self, revision, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "resolve", slow)
        child = start(hub, tmp_path)
        end = time.monotonic() + 60
        while not waiting and time.monotonic() < end and child.poll() is None:
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        waiting = False
    assert (child.returncode, out) == (130, "") and err.strip().splitlines()[-1] == "sld: interrupted"
    assert "Traceback" not in err
    assert folders(tmp_path / "data" / "tasks") == ["sldbench_parallel", "sldbench_vocab"]
    child = start(hub, tmp_path, "--json")
    out, err = child.communicate(timeout=60)
    assert [t["state"] for t in json.loads(out)["tasks"]] == ["unchanged"] * 2 + ["fetched"] * 6, err


@pytest.mark.slow
def test_two_at_once_do_not_disturb_each_other(hub: Hub, tmp_path: Path) -> None:
    children = [start(hub, tmp_path) for _ in range(2)]
    ends = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], ends
    assert folders(tmp_path / "data" / "tasks") == sorted(NAMES)
    assert all(check_task(tmp_path / "data" / "tasks" / name) == [] for name in NAMES)


@pytest.mark.slow
def test_killed_at_any_moment_every_task_is_whole(hub: Hub, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    root = tmp_path / "data" / "tasks"
    killed = 0
    for k in range(15):
        hub.requests.clear()
        child = start(hub, tmp_path, *(["--force"] if k % 2 else []))
        wanted, end = random.integers(5, 20), time.monotonic() + 60
        while len(hub.requests) < wanted and child.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(float(random.uniform(0, 0.02)))
        child.kill()
        child.communicate()
        killed += child.returncode == -signal.SIGKILL
        for name in folders(root):
            if not name.startswith("."):
                assert check_task(root / name) == [], name
    assert killed > 5
    child = start(hub, tmp_path)
    err = child.communicate(timeout=60)[1]
    assert child.returncode == 0, err
    assert [name for name in folders(root) if not name.startswith(".")] == sorted(NAMES)


# the command


@pytest.fixture
def run(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLD_DATA", str(tmp_path / "data"))
    return runner(capsys, monkeypatch, tmp_path)


@pytest.mark.slow
def test_fetched_tasks_go_by_their_names(run: Run, tmp_path: Path) -> None:
    done = run("tasks", "fetch", "sldbench")
    assert done.code == 0 and all(part in done.out for part in ("sldbench_parallel", "36 + 12", "fetched"))
    assert "sld discover sldbench_parallel" in done.err and str(tmp_path / "data") in done.err
    assert (tmp_path / "home" / "hub").is_dir()
    tasks = run("tasks", "--json").document["tasks"]
    assert [t["name"] for t in tasks if t["origin"] == "fetched"] == sorted(NAMES)
    assert "sldbench_parallel (fetched)" in run("tasks").out
    assert "parallel_size" in run("tasks", "show", "sldbench_parallel").out
    checked = run("tasks", "check", "sldbench_parallel")
    assert (checked.code, checked.out) == (0, "sldbench_parallel: nothing wrong\n")
    assert run("fit", "sldbench_parallel", "--law", "ParScale", "--out", "law.json").code == 0
    assert run("score", "law.json", "sldbench_parallel", "--json").document["n_rows"] == 12
    quick = ("--budget", "300fits", "--workers", "1")
    assert run("discover", "sldbench_parallel", *quick).code == 0
    assert "sld discover sldbench_parallel" in (tmp_path / "sld-runs/sldbench_parallel-0/report.md").read_text()
    assert "sldbench_parallel" not in sld.bundled_tasks()


@pytest.mark.slow
def test_fetch_in_json(run: Run, hub: Hub) -> None:
    done = run("tasks", "fetch", "sldbench", "--to", "here", "--json")
    assert (done.code, done.err, done.document["suite"], done.document["folder"]) == (0, "", "sldbench", "here")
    assert done.document["tasks"][0] == {
        "name": "sldbench_parallel",
        "path": "here/sldbench_parallel",
        "state": "fetched",
        "n_rows": 36,
        "n_held_out_rows": 12,
        "revision": hub.commit("main"),
    }
    assert run("tasks", "show", "here/sldbench_parallel").code == 0


@pytest.mark.slow
def test_tasks_elsewhere_are_named_by_their_path(run: Run) -> None:
    assert "sld discover here/sldbench_parallel" in run("tasks", "fetch", "sldbench", "--to", "here").err


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["sldbnch"], 2, "no suite 'sldbnch'; did you mean 'sldbench'?"),
        (["x"], 2, "no suite 'x'; there are sldbench"),
        (["sldbench", "--from", "nowhere"], 2, "nowhere is not there"),
        (["sldbench", "--from", "."], 1, "8 of 8 tasks were not fetched"),
        (["sldbench", "--revision", "v9"], 2, "no revision 'v9'"),
        (["sldbench", "--to", "file/tasks"], 2, "--to"),
        ([], 2, "SUITE"),
    ],
)
def test_misuse_is_one_line(run: Run, tmp_path: Path, arguments: list[str], code: int, part: str) -> None:
    (tmp_path / "file").write_text("")
    refused = run("tasks", "fetch", *arguments)
    assert (refused.code, refused.out, refused.err.count("\n")) == (code, "", 1)
    assert refused.err.startswith("sld: ") and part in refused.err


def test_a_failure_in_the_command_is_one_line(run: Run, hub: Hub) -> None:
    hub.cut.add("vocab_scaling_law/train-00000-of-00001.parquet")
    failed = run("tasks", "fetch", "sldbench")
    assert (failed.code, failed.out, failed.err.count("\n")) == (1, "", 1) and "1 of 8 tasks are in" in failed.err


@pytest.mark.parametrize("package", ["huggingface_hub", "pyarrow"])
def test_a_missing_package_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    from importlib import util

    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    monkeypatch.setitem(sys.modules, package, None)
    failed = run("tasks", "fetch", "sldbench")
    assert (failed.code, failed.out) == (2, "") and "pip install 'sld[sldbench]'" in failed.err


def test_where_the_data_folder_is(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sld.cli.base import tasks_folder

    assert tasks_folder() == tmp_path / "data" / "tasks"
    monkeypatch.delenv("SLD_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert tasks_folder() == tmp_path / "xdg" / "sld" / "tasks"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert tasks_folder() == tmp_path / "me" / ".local" / "share" / "sld" / "tasks"
