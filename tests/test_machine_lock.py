"""Processes that start at the same moment compile the machine once; no lock ever stops the work."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sld.fit import machine_cache
from sld.fit.machine_cache import kept

ROOT = Path(__file__).resolve().parents[1]
KEY = bytes(32)

# takes the lock, says so, and compiles for a while
PROCESS = """
import sys, time
from pathlib import Path
from sld.fit.machine_cache import kept

def make():
    print("compiling", flush=True)
    time.sleep(float(sys.argv[2]))
    return b"code"

assert kept([Path(sys.argv[1])], bytes(32), make) == b"code"
"""


def start(path: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(path), str(seconds)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def nothing() -> bytes:
    raise AssertionError("compiled again")


@pytest.mark.slow
def test_of_processes_that_start_together_one_compiles(tmp_path: Path) -> None:
    path = tmp_path / "machine.bin"
    together = [start(path, 2.0) for _ in range(3)]
    said = [process.communicate(timeout=60)[0] for process in together]
    assert sorted(said) == ["", "", "compiling\n"]
    assert [process.returncode for process in together] == [0, 0, 0]
    assert kept([path], KEY, nothing) == b"code"


def test_a_process_that_is_killed_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "machine.bin"
    with start(path, 600.0) as process:
        assert first_line(process) == "compiling\n"
        process.kill()
    assert not path.exists()
    began = time.monotonic()
    assert kept([path], KEY, lambda: b"code") == b"code"
    assert time.monotonic() - began < 10


def test_one_that_takes_too_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "machine.bin"
    monkeypatch.setattr(machine_cache, "_WAIT_S", 0.2)
    with start(path, 600.0) as process:
        assert first_line(process) == "compiling\n"
        try:
            assert kept([path], KEY, lambda: b"code") == b"code"
        finally:
            process.kill()
    assert kept([path], KEY, nothing) == b"code"


def test_a_file_system_without_locks_does_not_stop_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(machine_cache, "_lock", refused)
    assert kept([tmp_path / "machine.bin"], KEY, lambda: b"code") == b"code"
    assert kept([tmp_path / "machine.bin"], KEY, nothing) == b"code"


@pytest.mark.slow
def test_three_processes_compile_the_real_machine_once(tmp_path: Path) -> None:
    program = (
        "import numpy as np\n"
        "from sld.data.table import table_from\n"
        "from sld.fit import machine\n"
        "from sld.fit.fitting import fit\n"
        "x = np.arange(1.0, 9.0)\n"
        "table = table_from({'x': x, 'y': 2 + x**-0.5}, target='y', scale='x')\n"
        "assert abs(fit(table.parse('E + A*x**-a'), table).constants['all']['a'] - 0.5) < 1e-6\n"
        "print(machine.solve.compilations)\n"
    )
    environment = {**os.environ, "SLD_CACHE_DIR": str(tmp_path)}
    together = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=200)[0] for process in together]
    assert sorted(said) == ["0\n", "0\n", "1\n"]
