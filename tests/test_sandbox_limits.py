"""A program that takes too long, or too much of anything, is stopped, and told why in a sentence."""

import time

import pytest
from programs import GOOD, PROTECTIONS, law, run, variant

from sld.board.programs import sandbox
from sld.board.programs.sandbox import Protection, detect

pytestmark = pytest.mark.skipif(not detect().enough, reason=f"programs cannot be locked up here: {detect()}")


@pytest.fixture(params=PROTECTIONS)
def protection(request: pytest.FixtureRequest) -> Protection:
    return variant(request.param)


IGNORING = "import signal; [signal.signal(s, signal.SIG_IGN) for s in range(1, 65) if s not in (9, 19, 32, 33)]"


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "import time; time.sleep(1000)",
        f"{IGNORING}\nwhile True: pass",
        "import sys; sys.stdin.read(); 0/0 if 0 else [0 for _ in iter(int, 1)]",
    ],
    ids=["endless loop", "sleep", "ignores signals", "stdin, then an endless loop"],
)
def test_the_time_limit_stops_it(protection: Protection, body: str) -> None:
    begun = time.monotonic()
    result = run(law(body), protection=protection, predict_timeout_s=0.3)
    assert result.status == "law did not finish within 0.3 s" and result.predictions is None
    assert time.monotonic() - begun < 10
    assert 0.3 <= result.seconds < 2


@pytest.mark.slow
def test_the_time_limit_of_the_fit_is_its_own() -> None:
    result = run(GOOD.replace("columns =", "while True: pass\n    columns =", 1), fit_timeout_s=0.3)
    assert result.status == "fit_scaling_law did not finish within 0.3 s"


@pytest.mark.slow
def test_a_loop_while_loading_is_stopped() -> None:
    assert run("while True: pass\n" + law("pass"), predict_timeout_s=0.3).status == "law did not finish within 0.3 s"


@pytest.mark.parametrize(
    "body",
    [
        "x = bytearray(8 * 10**9)",
        "import numpy as np; x = np.ones(10**9)",
        "x = []\nwhile True: x.append(bytes(10**7))",
    ],
)
def test_the_memory_limit_holds(protection: Protection, body: str) -> None:
    result = run(law(body), protection=protection, memory_mb=1024)
    assert result.status.startswith("law failed in line") and "MemoryError" in result.status
    assert result.seconds < 15


@pytest.mark.slow
def test_what_is_in_memory_is_watched_as_well(monkeypatch: pytest.MonkeyPatch, protection: Protection) -> None:
    lock = sandbox._lock

    def without_limit(*arguments: object) -> dict[str, object]:
        rules = lock(*arguments)  # type: ignore[arg-type]
        del rules["limits"]["RLIMIT_AS"]
        return rules

    monkeypatch.setattr(sandbox, "_lock", without_limit)
    body = "import time\nx = bytearray(400 * 10**6)\nx[::4096] = b'1' * len(x[::4096])\ntime.sleep(20)"
    result = run(law(body), protection=protection, memory_mb=300)
    assert result.status == "law took more than 300 MB of memory" and result.seconds < 10


@pytest.mark.slow
def test_too_many_threads_are_stopped(protection: Protection) -> None:
    body = """
    import threading, time
    threading.stack_size(65536)
    for _ in range(2000):
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    time.sleep(1000)
    """
    result = run(law(body), protection=protection)
    assert "threads" in result.status or "can't start new thread" in result.status
    assert result.seconds < 10


def test_threads_left_running_do_not_keep_it_alive(protection: Protection) -> None:
    result = run(
        law("import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()"), protection=protection
    )
    assert result.status == "" and result.seconds < 10


def test_much_output_is_read_and_cut(protection: Protection) -> None:
    result = run(law("import os\nfor _ in range(2000): os.write(1, b'x' * 50_000)"), protection=protection)
    assert result.status == "" and result.predictions is not None
    assert len(result.stdout) < sandbox.OUTPUT_KEPT + 100 and result.stdout.endswith("[cut here]")


@pytest.mark.slow
def test_a_gigabyte_of_output_fills_nothing() -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = run(law("import os\nfor _ in range(20_000): os.write(1 + _ % 2, b'x' * 50_000)"), predict_timeout_s=60)
    assert result.status == "" and len(result.stdout) < sandbox.OUTPUT_KEPT + 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_many_files_are_stopped(protection: Protection) -> None:
    body = "i = 0\nwhile True:\n    open(f'f{i}', 'w').write('x')\n    i += 1"
    result = run(law(body), protection=protection)
    assert result.status == "law wrote more than 200 files or 32 MB" and result.seconds < 10


def test_large_files_are_stopped(protection: Protection) -> None:
    body = "import time\nfor i in range(100):\n    open(f'f{i % 20}', 'wb').write(bytes(10**7))\ntime.sleep(1000)"
    result = run(law(body), protection=protection)
    assert result.status == "law wrote more than 200 files or 32 MB" and result.seconds < 10


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("import os; os._exit(0)", "law ended its process (exit code 0) without an answer"),
        ("import os; os._exit(7)", "law ended its process (exit code 7) without an answer"),
        ("import sys; sys.exit()", "law failed in line 2: SystemExit"),
        ("raise KeyboardInterrupt", "law failed in line 2: KeyboardInterrupt"),
        ("import ctypes; ctypes.string_at(0)", "law ended its process (SIGSEGV) without an answer"),
        ("law(input_data, group)", "law failed in line 2: RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_an_end_of_its_own_is_named(protection: Protection, body: str, status: str) -> None:
    result = run(law(body), protection=protection)
    assert result.status.startswith(status) and result.predictions is None
