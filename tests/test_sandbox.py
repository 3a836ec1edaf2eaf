"""Hostile programs are refused or contained, each with a clear line, under every protection that is there."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from many_cases import case, each
from programs import GOOD, PROTECTIONS, TRAIN, VARIANTS, law, run, variant

import sld
from sld.board.entries.submission import points_of
from sld.board.programs import sandbox
from sld.board.programs.program import program_from, run_program
from sld.board.programs.sandbox import Protection, detect, readable
from sld.core.errors import SldError

pytestmark = pytest.mark.skipif(not detect().enough, reason=f"programs cannot be locked up here: {detect()}")

SECRET = "sk-do-not-leak"
HELD_OUT = sld.load_task("nanolm_chinchilla")
assert HELD_OUT.path is not None
HELD_OUT_FILE = HELD_OUT.path / "held_out.csv"

# What a program tries. Each line either raises or prints nothing worse than what the test below allows; none does harm
# where it succeeds. `pid` is the process that runs the tests, `outside` a folder of its own, `port` a server's.
ATTEMPTS = {
    "held-out rows": "print(open(held_out).read())",
    "held-out folder": "print(os.listdir(os.path.dirname(held_out)))",
    "the package": "import sld.data.task",
    "/etc/passwd": "print(open('/etc/passwd').read())",
    "file of the same user": "print(open(outside + '/file').read())",
    "folder of the same user": "print(os.listdir(outside))",
    "settings of the system": "print(open('/etc/hostname').read())",
    "environment of the parent": "print(open(f'/proc/{pid}/environ').read())",
    "memory of the parent": "open(f'/proc/{pid}/mem', 'rb')",
    "memory of its parent": "open(f'/proc/{os.getppid()}/mem', 'rb')",
    "maps of itself": "print(open('/proc/self/maps').read())",
    "process_vm_readv": "must(libc.process_vm_readv(pid, io, 1, io, 1, 0))",
    "process_vm_writev": "must(libc.process_vm_writev(pid, io, 0, io, 0, 0))",
    "ptrace": "must(libc.ptrace(0x4206, pid, 0, 0))",
    "new file outside": "open(outside + '/new', 'w')",
    "append outside": "open(outside + '/file', 'a')",
    "empty outside": "os.truncate(outside + '/file', 0)",
    "delete outside": "os.remove(outside + '/file')",
    "rename outside": "os.rename(outside + '/file', outside + '/other')",
    "move in": "os.rename(outside + '/file', 'file')",
    "move out": "open('mine', 'w').close(); os.rename('mine', outside + '/mine')",
    "folder outside": "os.mkdir(outside + '/folder')",
    "mode outside": "os.chmod(outside + '/file', 0o777)",
    "owner outside": "os.chown(outside + '/file', 0, 0)",
    "times outside": "os.utime(outside + '/file', (0, 0))",
    "attribute outside": "os.setxattr(outside + '/file', 'user.a', b'1')",
    "path with dots": "open('../' * 20 + outside + '/new', 'w')",
    "symlink out": "os.symlink(held_out, 'link'); print(open('link').read())",
    "hard link in": "os.link(outside + '/file', 'link')",
    "pipe in the file system": "os.mkfifo('pipe')",
    "installed package": "open(np.__file__, 'a')",
    "interpreter": "open(os.path.realpath(sys.executable), 'r+b')",
    "signal to the parent": "os.kill(pid, signal.SIGWINCH)",
    "signal to its parent": "os.kill(os.getppid(), signal.SIGWINCH)",
    "signal to its group": "os.killpg(0, signal.SIGWINCH)",
    "signal to all": "os.kill(-1, signal.SIGWINCH)",
    "signal by file owner": "fcntl.fcntl(1, fcntl.F_SETOWN, pid)",
    "fork": "os.fork() or os._exit(0)",
    "vfork by number": "must(libc.syscall(58 if os.uname().machine == 'x86_64' else 1071))",
    "subprocess": "subprocess.run([sys.executable, '-c', 'print(1)'])",
    "posix_spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "shell": "assert os.system('true') == 0",
    "exec": "os.execv(sys.executable, [sys.executable, '-c', 'print(1)'])",
    "multiprocessing": "multiprocessing.get_context('fork').Process(target=print).start()",
    "TCP": "socket.create_connection(('127.0.0.1', port), 1)",
    "TCP server": "socket.create_server(('127.0.0.1', 0))",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', port))",
    "Unix socket": "socket.socket(socket.AF_UNIX)",
    "socket pair": "socket.socketpair()",
    "name resolution": "socket.getaddrinfo('localhost', 80); socket.create_connection(('localhost', port))",
    "memory file": "os.memfd_create('x')",
    "shared memory": "must(libc.shmget(0, 4096, 0o1600))",
    "unshare": "must(libc.unshare(0x10000000))",
    "mount": "must(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))",
    "chroot": "os.chroot('.')",
    "keys": "must(libc.syscall(250 if os.uname().machine == 'x86_64' else 219, 0, -3, 0))",
    "bpf": "must(libc.syscall(321 if os.uname().machine == 'x86_64' else 280, 0, 0, 0))",
    "io_uring": "must(libc.syscall(425, 1, 0))",
    "pidfd": "must(libc.syscall(434, pid, 0))",
    "larger limits": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "limits of the parent": "resource.prlimit(pid, resource.RLIMIT_NOFILE)",
    "other user": "os.setuid(65534)",
    "new session": "os.setsid()",
    "priority": "os.nice(-5)",
    "clock": "time.clock_settime(time.CLOCK_REALTIME, 0)",
    "host name": "socket.sethostname('x')",
    "typing into a terminal": "fcntl.ioctl(0, 0x5412, b'x')",
    "large file": "open('large', 'wb').write(bytes(20 * 2**20))",
    "many descriptors": "kept = [open('/dev/null') for _ in range(300)]",
}
_PROGRAM = """
import ctypes, fcntl, json, multiprocessing, os, resource, signal, socket, subprocess, sys, time
import numpy as np

libc = ctypes.CDLL(None, use_errno=True)
io = ctypes.create_string_buffer(64)

def must(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def law(input_data, group):
    seen = {"environment": dict(os.environ), "stdin": sys.stdin.read(), "descriptors": [], "capabilities": 0}
    for fd in range(128):
        try:
            seen["descriptors"].append(os.fstat(fd).st_mode)
        except OSError:
            pass
    header, held = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    must(libc.capget(header, held))
    seen["capabilities"] = list(held)
    for name, attempt in ATTEMPTS.items():
        try:
            exec(attempt, globals())
            print("@", json.dumps([name, "done"]), flush=True)
        except BaseException as error:
            print("@", json.dumps([name, "refused: " + type(error).__name__]), flush=True)
    # an empty folder may stand where the package was: it can be imported, without any file
    of_sld = [(name, module) for name, module in sys.modules.items() if name.split(".")[0] == "sld"]
    seen["modules"] = sorted(name for name, module in of_sld if getattr(module, "__file__", None))
    open("mine", "w").write("text")
    seen["own file"] = open("mine").read()
    print("@", json.dumps(["seen", seen]), flush=True)
    return [{"loss": 1.0} for _ in input_data]
"""


@pytest.fixture(scope="module", params=VARIANTS)
def attempts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """Run all attempts in one child; what came of each, by name."""
    protection = variant(request.param)
    outside = tmp_path_factory.mktemp("outside")
    (outside / "file").write_text("untouched")
    os.environ["OPENAI_API_KEY"] = SECRET
    with socket.create_server(("127.0.0.1", 0)) as server:
        values = {
            "held_out": str(HELD_OUT_FILE),
            "outside": str(outside),
            "pid": os.getpid(),
            "port": server.getsockname()[1],
            "ATTEMPTS": ATTEMPTS,
        }
        head = "\n".join(f"{name} = {value!r}" for name, value in values.items())
        try:
            result = run_program(program_from(head + _PROGRAM), TRAIN, points_of(TRAIN), protection=protection)
        finally:
            del os.environ["OPENAI_API_KEY"]
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert result.status == "" and result.predictions is not None
    lines = [json.loads(line[2:]) for line in result.stdout.splitlines() if line.startswith("@ ")]
    yield {**dict(lines), "outside": outside, "stdout": result.stdout}


def test_an_attempt_is_refused(attempts: dict[str, object]) -> None:
    for name in ATTEMPTS:
        with case(name):
            assert str(attempts[name]).startswith("refused: ")


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5, 6])
def test_older_landlocks_hold_as_well(abi: int, tmp_path: Path) -> None:
    if variant("landlock + seccomp").landlock < abi:
        pytest.skip(f"this kernel's Landlock is older than {abi}")
    (tmp_path / "file").write_text("untouched")
    names = (
        "held-out rows",
        "/etc/passwd",
        "append outside",
        "empty outside",
        "move out",
        "memory of the parent",
        "TCP",
    )
    head = f"held_out, outside, pid, port = {str(HELD_OUT_FILE)!r}, {str(tmp_path)!r}, {os.getpid()}, 9\n"
    head += f"ATTEMPTS = { {name: ATTEMPTS[name] for name in names}!r}\n"
    result = run(head + _PROGRAM, protection=Protection(None, abi, True))
    assert result.status == "" and result.stdout.count("refused: ") == len(names)
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "untouched"


def test_nothing_outside_was_touched(attempts: dict[str, object]) -> None:
    outside = attempts["outside"]
    assert isinstance(outside, Path)
    assert [p.name for p in outside.iterdir()] == ["file"] and (outside / "file").read_text() == "untouched"
    assert (outside / "file").stat().st_mtime > 0


def test_nothing_secret_was_printed(attempts: dict[str, object]) -> None:
    text = str(attempts["stdout"])
    assert SECRET not in text and "root:" not in text and "N,D,loss" not in text


def test_the_child_knows_only_what_it_needs(attempts: dict[str, object]) -> None:
    seen = attempts["seen"]
    assert isinstance(seen, dict)
    allowed = {"PATH", "LANG", "HOME", "TMPDIR", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "SLD_CACHE_DIR", "PWD", "LC_CTYPE"}
    allowed |= {"JOBLIB_MULTIPROCESSING", "LOKY_MAX_CPU_COUNT"}
    others = {n for n in seen["environment"] if not n.startswith("PYTHON") and not n.endswith("_NUM_THREADS")}
    assert others <= allowed
    assert seen["stdin"] == "" and seen["modules"] == [] and seen["capabilities"] == [0] * 6
    # stdin (/dev/null), what it prints (twice), the answer: and nothing else was inherited
    kinds = sorted(mode & 0o170000 for mode in seen["descriptors"])
    assert kinds == [0o010000, 0o010000, 0o010000, 0o020000]


def test_the_child_may_write_in_its_own_folder(attempts: dict[str, object]) -> None:
    seen = attempts["seen"]
    assert isinstance(seen, dict) and seen["own file"] == "text"


@pytest.fixture(params=PROTECTIONS)
def protection(request: pytest.FixtureRequest) -> Protection:
    return variant(request.param)


def test_deleting_everything_it_can_changes_nothing(protection: Protection) -> None:
    body = """
    import os, shutil, sys
    for folder in (".", "/tmp", os.path.dirname(sys.argv[0]), sys.prefix):
        shutil.rmtree(folder, ignore_errors=True)
    for fd in (0, 1, 2):
        os.close(fd)
    """
    assert run(law(body), protection=protection).status == ""
    assert sandbox.DRIVER.exists() and Path(sys.prefix).exists()


def test_closing_the_answer_is_no_answer() -> None:
    result = run(law("import os\nos.closerange(0, 128)"))
    assert result.predictions is None and "without an answer" in result.status


@pytest.mark.slow
def test_closing_everything_does_not_dodge_the_clock() -> None:
    result = run(law("import os\nos.closerange(0, 128)\nwhile True: pass"), predict_timeout_s=0.3)
    assert result.status == "law did not finish within 0.3 s"


def test_the_folder_is_removed_and_was_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = run(law("import os\nassert os.listdir('.') == []\nopen('x', 'w').write('y')\nos.chmod"))
    assert result.status == "" and list(tmp_path.iterdir()) == []


def test_hidden_rows_among_the_libraries_stay_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protection: Protection
) -> None:
    (tmp_path / "lib" / "tasks").mkdir(parents=True)
    (tmp_path / "lib" / "tasks" / "held_out.csv").write_text("secret")
    (tmp_path / "lib" / "module.txt").write_text("open")
    (tmp_path / "lib" / "single.csv").write_text("secret")
    roots = [*sandbox._library_roots(), tmp_path / "lib"]
    monkeypatch.setattr(sandbox, "_library_roots", lambda: iter(roots))
    source = f"""
    import os
    def law(input_data, group):
        os.chdir({str(tmp_path / "lib")!r})
        assert open("module.txt").read() == "open"
        for name in ("tasks/held_out.csv", "single.csv"):
            try:
                print(open(name).read())
            except OSError:
                print("hidden")
        return [{{"loss": 1.0}} for _ in input_data]
    """
    hidden = [tmp_path / "lib" / "tasks", tmp_path / "lib" / "single.csv"]
    result = run(source, protection=protection, hidden=hidden)
    assert result.status == ""
    assert "secret" not in result.stdout and result.stdout.count("\n") == 2


def test_an_installed_package_with_bundled_tasks_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tmp_path / "site-packages"
    for name in ("numpy", "sld/_tasks/task"):
        (packages / name).mkdir(parents=True)
    monkeypatch.setattr(sandbox, "_library_roots", lambda: iter([packages]))
    assert readable([packages / "sld"]) == ([packages / "numpy"], [packages])
    read, listed = readable([packages / "sld" / "_tasks"])
    assert read == [packages / "numpy"] and listed == [packages, packages / "sld"]


@pytest.mark.slow
def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    script = f"""
    import sys, tempfile, threading
    sys.path[:0] = {sys.path!r}
    tempfile.tempdir = {str(tmp_path)!r}
    from programs import PROTECTIONS, law, run
    run(law("open('here', 'w')\\nwhile True: pass"), predict_timeout_s=100)
    """
    parent = subprocess.Popen([sys.executable, "-c", dedent(script)], cwd=Path(__file__).parent)
    try:
        _wait_until(lambda: any(tmp_path.glob("*/here")))
        folder = next(tmp_path.glob("*/here")).parent
        assert _running_in(folder)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    _wait_until(lambda: not _running_in(folder))


def test_an_interrupt_ends_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def interrupted(*arguments: object) -> str:
        if any(tmp_path.glob("*/here")):
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(sandbox._Child, "_excess", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(law("open('here', 'w')\nwhile True: pass"))
    assert list(tmp_path.iterdir()) == []


def _wait_until(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited 20 s in vain"
        time.sleep(0.02)


def _running_in(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found += [entry.parent.name] if os.readlink(entry).startswith(str(folder)) else []
        except OSError:
            continue
    return found


def test_a_sandbox_that_cannot_be_set_up_is_an_error_and_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = sandbox._lock
    monkeypatch.setattr(sandbox, "_lock", lambda *a: {**lock(*a), "seccomp": "0000"})
    with pytest.raises(SldError, match=r"could not be set up: .*seccomp"):
        run(law("print('ran')"))


@each(
    ("protection", "words"),
    [
        (Protection("/usr/bin/bwrap", 7, True), "bubblewrap + landlock + seccomp"),
        (Protection(None, 7, True, ("bubblewrap: none",)), "landlock + seccomp (bubblewrap: none)"),
        (Protection(None, 0, True, ("Landlock: none",)), "none (Landlock: none)"),
        (Protection(None, 7, False), "none"),
    ],
)
def test_half_a_protection_is_none(protection: Protection, words: str) -> None:
    assert str(protection) == words and protection.enough == ("none" not in words.split()[0])


def test_bubblewrap_that_does_not_work_is_passed_over_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = detect.__wrapped__()
    assert found.bubblewrap is None
    assert found.missing == ("bubblewrap: bwrap: No permissions to create new namespace",)
    assert found.enough == bool(found.landlock and found.seccomp)


@pytest.mark.slow
def test_the_good_program_next_to_them_still_scores(protection: Protection) -> None:
    result = run(GOOD, protection=protection)
    assert result.status == "" and result.predictions == pytest.approx(TRAIN.Y)


@pytest.mark.slow
def test_scipy_works_inside(protection: Protection) -> None:
    source = """
    import numpy as np
    from scipy.optimize import curve_fit
    def f(x, a, b):
        return a / x + b
    def fit_scaling_law(data_points, loss_values):
        return curve_fit(f, data_points[:, 0], loss_values)[0]
    def scaling_law_func(data_points, params):
        return f(data_points[:, 0], *params)
    """
    result = run(source, protection=protection)
    assert result.status == "" and result.predictions == pytest.approx(TRAIN.Y)
