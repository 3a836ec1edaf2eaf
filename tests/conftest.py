"""What every test has: folders of its own in place of the user's data, cache and login; and what several ask for."""

from __future__ import annotations

import functools
import gc
import os
import re
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer.main
from hypothesis import settings

if TYPE_CHECKING:
    from commands import Run
    from fetching import Get
    from hub_server import Hub

    from sld.board.entries.scored_task import ScoredTask
    from sld.laws.law import Law


# workers share the cores, so how long an example takes is no property of what is tried
settings.register_profile("side by side", deadline=None)
settings.load_profile("side by side")

# trees of formulas by the hundred thousand live through a session; looked through as often as Python does by itself,
# they take an eighth of its time
gc.set_threshold(100_000, 20, 20)


# of a file in which all tests are left out by default
_LEFT_OUT = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.(slow|outputs|real_model)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import a file whose tests are left out anyway: the driver of a browser alone takes half a second."""
    if collection_path.suffix != ".py" or any(collection_path.name in argument for argument in config.args):
        return None
    found = _LEFT_OUT.search(collection_path.read_text(encoding="utf-8"))
    return True if found and f"not {found[1]}" in (config.option.markexpr or "") else None


def pytest_runtest_setup() -> None:
    """Begin no test after SLD_TESTS_END, in seconds since 1970: a part of the slow ones says more than none."""
    if time.time() > float(os.environ.get("SLD_TESTS_END", "inf")):
        pytest.skip("the time that tests have is over")


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end, so nobody has to look whether they are still used."""
    gc.collect()
    gc.freeze()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Files are numbered, not shown: a compressed one has the time in it, and workers must agree on names of tests."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True, scope="session")
def _no_test_sees_the_users_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLD_DATA", str(tmp_path_factory.mktemp("data")))
        # the hub's client reads its home once, when it is imported
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "XDG_DATA_HOME", "COLUMNS"):
            patch.delenv(name, raising=False)
        # hundreds of children start; from byte code in half the time
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_test_waits_for_the_disk() -> Iterator[None]:
    """No test survives a power cut, so none has to; what is done where the disk is full replaces this for itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _commands_are_built_once() -> Iterator[None]:
    """It takes 40 ms, which a program pays once and tests hundreds of times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
        yield


@pytest.fixture(autouse=True, scope="session")
def _pictures_have_few_points() -> Iterator[None]:
    """No test looks at how sharp a picture is, and the points of one take a third of its time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("sld.analysis.plot", "sld.analysis.decisions.style", "sld.analysis.report.decided"):
            patch.setattr(import_module(module), "_DPI", 50)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_client_reads_certificates() -> Iterator[None]:
    """Servers here are on loopback and speak plain HTTP; a client reads 30 ms of certificates before it knows that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssl.SSLContext.load_verify_locations", lambda *_, **__: None)
        yield


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> ScoredTask:
    """The small task of the leaderboard's tests."""
    from boards import rows_in

    return rows_in(tmp_path_factory.mktemp("task"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    """The benchmark on a hub on loopback, with made-up rows."""
    from fetching import benchmark_hub

    with benchmark_hub() as served:
        yield served


@pytest.fixture
def get(hub: Hub, tmp_path: Path) -> Get:
    """Fetches from the loopback hub into `tmp_path / "tasks"`, with a cache of its own."""
    from fetching import getter

    return getter(hub, tmp_path)


@pytest.fixture
def sld(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in an empty folder."""
    from commands import runner

    return runner(capsys, monkeypatch, tmp_path)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A table of runs."""
    from cli_runs import write_runs

    return write_runs(tmp_path / "runs.csv")


@pytest.fixture(scope="module")
def fitted_law(tmp_path_factory: pytest.TempPathFactory) -> Law:
    """The law of these runs."""
    from cli_runs import write_runs

    from sld import api

    runs = write_runs(tmp_path_factory.mktemp("fitted") / "runs.csv")
    return api.fit(runs, "E + A*N**-a + B*D**-b", target="loss", scale=["N", "D"])


@pytest.fixture
def law_file(runs: Path, fitted_law: Law) -> Path:
    """The file of this law, beside the runs."""
    path = runs.with_name("law.json")
    fitted_law.save(path)
    return path
