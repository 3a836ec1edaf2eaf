"""A damaged file of the compiled machine costs one compilation and one sentence, never a traceback."""

from __future__ import annotations

import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sld.fit import machine_cache

ROOT = Path(__file__).resolve().parents[1]
SOURCE = """
from sld.fit.machine_cache import compiled

@compiled(error_model="numpy")
def solve(x):
    for i in range(x.shape[0]):
        x[i] += {step}
"""
DAMAGED = "sld: the compiled fitting machine was damaged; compiling it again, about 20 s\n"
_number = count()


@pytest.fixture(autouse=True)
def _beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of a small module is `__pycache__` beside it."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")
    # a module that is written anew within a second, and as long as before, is not read from its byte code
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module with one small compiled function, and no cache yet."""
    path = tmp_path / "small_machine.py"
    path.write_text(SOURCE.format(step="1.0"))
    return path


@pytest.fixture(scope="module")
def _once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same module with its cache, compiled once for all that start from a whole one."""
    path = tmp_path_factory.mktemp("once") / "small_machine.py"
    path.write_text(SOURCE.format(step="1.0"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numba.core.config.CACHE_DIR", "")
        patch.setattr(sys, "dont_write_bytecode", True)
        assert hits(path) == 0
    return path


@pytest.fixture
def kept(_once: Path, tmp_path: Path) -> Path:
    """A copy of that module and its cache, with the times of files that numba looks at."""
    return Path(shutil.copytree(_once.parent, tmp_path / "kept")) / _once.name


def load(path: Path) -> ModuleType:
    """Return the module as a new process would have it."""
    machine_cache._said.clear()
    spec = importlib.util.spec_from_file_location(f"small_machine_{next(_number)}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hits(path: Path, step: float = 1.0) -> int:
    """Run the function in a new module, check its result, and return how often its code came from the disk."""
    solve = load(path).solve
    x = np.zeros(3)
    solve(x)
    assert (x == step).all()
    return sum(solve.stats.cache_hits.values())


def files(path: Path) -> tuple[Path, Path]:
    (index,) = path.parent.glob("__pycache__/*.nbi")
    (code,) = path.parent.glob("__pycache__/*.nbc")
    return index, code


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _last_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _zeros(path: Path) -> None:
    """What a file system leaves that had the length on the disk, and not yet the bytes."""
    path.write_bytes(bytes(path.stat().st_size))


def _garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


def _one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def _unsealed(path: Path) -> None:
    """A whole pickle of something else."""
    path.write_bytes(pickle.dumps("0.1") + pickle.dumps((1, {})))


DAMAGES: tuple[Callable[[Path], None], ...] = (_empty, _half, _last_byte, _zeros, _garbage, _one_bit, _unsealed)


def test_a_whole_cache_is_read_and_nothing_is_said(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hits(kept) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("which", [0, 1], ids=["index", "code"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_damaged_file_is_removed_and_compiled_again(
    kept: Path, capsys: pytest.CaptureFixture[str], which: int, damage: Callable[[Path], None]
) -> None:
    damage(files(kept)[which])
    assert hits(kept) == 0
    assert capsys.readouterr().err == DAMAGED
    assert hits(kept) == 1
    assert capsys.readouterr().err == ""


def test_an_index_that_names_a_missing_file_is_made_anew(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files(kept)[1].unlink()
    assert hits(kept) == 0
    assert hits(kept) == 1
    assert capsys.readouterr().err == DAMAGED


@pytest.mark.slow
def test_code_of_another_version_under_a_new_index_is_not_run(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An update whose index reached the disk and whose code did not: both files are whole."""
    hits(module)
    old = files(module)[1].read_bytes()
    module.write_text(SOURCE.format(step="2.0"))
    assert hits(module, 2.0) == 0
    assert capsys.readouterr().err == "", "an update is no damage"
    files(module)[1].write_bytes(old)
    assert hits(module, 2.0) == 0
    assert capsys.readouterr().err == DAMAGED
    assert hits(module, 2.0) == 1


def test_files_that_cannot_be_removed_do_not_stop_the_work(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index, code = files(kept)
    for path in (index, code):
        path.unlink()
        path.mkdir()
    assert hits(kept) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == DAMAGED.strip()
    assert len(said) == 2 and "could not be kept in" in said[1] and "Is a directory" in said[1]


def test_a_full_disk_is_said_and_does_not_stop_the_work(
    module: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert hits(module) == 0
    assert "(No space left on device): the next start compiles it again" in capsys.readouterr().err
    assert not [p for p in module.parent.glob("__pycache__/*") if ".nb" in p.name], "no part of a file stays"


def test_without_any_folder_for_it_the_machine_is_compiled_in_memory(
    module: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from numba.core.caching import _CacheLocator

    def refused(self: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_CacheLocator, "ensure_cache_path", refused)
    assert hits(module) == 0
    assert "no folder to keep the compiled fitting machine in" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_that_start_together_on_a_damaged_cache_both_work(kept: Path) -> None:
    command = "import numpy as np; from small_machine import solve; x = np.zeros(3); solve(x); assert (x == 1).all()"
    command += "; print(sum(solve.stats.cache_hits.values()))"

    def start(_number: int) -> subprocess.CompletedProcess[str]:
        return in_process(kept.parent, "-c", command)

    for path in files(kept):
        _empty(path)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(start, range(2)))
    assert [done.returncode for done in both] == [0, 0]
    assert {done.stderr for done in both} <= {"", DAMAGED} and DAMAGED in {done.stderr for done in both}
    third = start(2)
    assert (third.stdout, third.stderr) == ("1\n", "")


def in_process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the modules of a folder ahead of the checkout's, and the machine's cache beside its source."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "NUMBA_CACHE_DIR": "", "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=840,
    )


def run_command(folder: Path, table: Path, command: str, *more: str) -> subprocess.CompletedProcess[str]:
    return in_process(folder, "-m", "sld", command, str(table), "--target", "loss", "--scale", "N", *more)


def fit(folder: Path, table: Path) -> subprocess.CompletedProcess[str]:
    return run_command(folder, table, "fit", "--law", "E + A*N**-a")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "runs.csv"
    n = np.geomspace(1e6, 1e9, 8)
    path.write_text("N,loss\n" + "".join(f"{x:g},{2.0 + 90.0 * x**-0.3:.6f}\n" for x in n))
    return path


@pytest.fixture(scope="module")
def said(table: Path) -> str:
    """What a command says with the checkout's machine, which is compiled after this if it was not."""
    first = fit(ROOT, table)
    assert first.returncode == 0, first.stderr
    return first.stdout


@pytest.fixture
def copy(said: str, tmp_path: Path) -> Path:
    """A copy of the package with its compiled machine, to be damaged."""
    shutil.copytree(ROOT / "sld", tmp_path / "copy" / "sld")
    return tmp_path / "copy"


@pytest.mark.slow
@pytest.mark.timeout(900)  # compiles the machine
def test_a_command_mends_the_cache_of_the_real_machine(copy: Path, said: str, table: Path) -> None:
    """Cut machine code is never handed to LLVM, which may end the process on it."""
    (code,) = copy.rglob("*.nbc")
    _half(code)
    for sentence in (DAMAGED, ""):
        again = fit(copy, table)
        assert (again.returncode, again.stderr, again.stdout) == (0, sentence, said)


@pytest.mark.slow
@pytest.mark.timeout(900)  # compiles the machine
def test_a_search_with_workers_mends_the_cache_and_says_so_once(copy: Path, table: Path, tmp_path: Path) -> None:
    (code,) = copy.rglob("*.nbc")
    _garbage(code)
    done = run_command(copy, table, "discover", "--budget", "200fits", "--workers", "2", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("was damaged") == 1
    assert "Traceback" not in done.stderr
