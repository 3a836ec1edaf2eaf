"""A child process for programs that nobody has read.

What is protected, when `Protection` names Landlock and seccomp, or bubblewrap and seccomp:

- Files: the child reads Python's library, installed packages and system libraries, and nothing else: no task, no
  held-out rows, no home folder, no /etc/passwd, no /proc. `sld` itself and its bundled tasks are left out of the
  installed packages. It writes plain files in an empty folder of its own only, which is removed afterwards; no links,
  no folders, no change of owner, mode or times anywhere.
- The parent and other processes: a fresh interpreter, so no memory, descriptors or environment are inherited; tracing,
  reading other processes and every signal are refused; the environment has a handful of fixed entries and no key.
- New processes and programs, the network (TCP, UDP, Unix), namespaces, mounts, keys, kernel interfaces: refused by a
  list of the system calls that are allowed (`seccomp.py`). Threads are allowed, up to 256. Capabilities are dropped.
- Time, memory, files, output: the wall clock counts, and the child is killed with all its threads, whatever it does
  with signals; the address space is limited and the parent watches what is in memory; at most 32 MB in the folder; what
  is printed is read and cut; the answer has a size limit, is JSON and is checked value by value. Nothing is unpickled.
- The scores: they are computed in the parent, from numbers that were checked, so nothing that a program changes in its
  own process (numpy, this package's driver, the answer) does more than what returning other numbers would.

What is not protected:

- Holes in the kernel, and what processors leak from process to process by timing.
- Without bubblewrap a program can ask whether a path exists and how large a file is (not what is in it), and sees the
  machine's process numbers.
- The machine's load: one program can keep all cores busy until its time is up.
- Honesty: a program can carry in its text whatever its author knew, held-out values included. Its text is kept with the
  entry so that anyone can read it.
- With `unsafe` on a system that offers neither: then the program is merely another process of the same user, and can do
  anything that the user can. Limits of time, and of memory where the system has them, still hold.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import re
import selectors
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sld.board.programs.seccomp import ARCHITECTURES, filter_program
from sld.core.errors import SldError, UsageError
from sld.data.bundled import tasks_root

START_S = 60.0  # for the interpreter and numpy, on a slow disk; the program's own clock starts after that
OUTPUT_KEPT = 20_000  # bytes of what a program prints
FOLDER_BYTES, FOLDER_FILES, FILE_BYTES = 32 * 2**20, 200, 16 * 2**20
MAX_THREADS = 256
_WATCH_S = 0.05
_MB = 2**20

DRIVER = Path(__file__).with_name("child.py")
PACKAGE = Path(__file__).resolve().parents[2]
_SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


@dataclass(frozen=True)
class Protection:
    """What this system offers.

    Attributes:
        bubblewrap: Path of bwrap, when it works here.
        landlock: Version of Landlock's interface; 0 is none.
        seccomp: The kernel takes our filter.
        missing: Why something is not there, in words.
    """

    bubblewrap: str | None
    landlock: int
    seccomp: bool
    missing: tuple[str, ...] = ()

    @property
    def enough(self) -> bool:
        """Whether programs may run."""
        return self.seccomp and (self.bubblewrap is not None or self.landlock > 0)

    def __str__(self) -> str:
        """What held, for an entry's provenance; half a protection counts as none."""
        held = ("bubblewrap", self.bubblewrap), ("landlock", self.landlock), ("seccomp", self.seccomp)
        text = " + ".join(name for name, there in held if there) if self.enough else "none"
        return f"{text} ({'; '.join(self.missing)})" if self.missing else text


@dataclass(frozen=True)
class Outcome:
    """What came of one child.

    Attributes:
        answer: What it answered, parsed from JSON and not yet checked; None when `status` says why there is none.
        status: Empty, or one printable sentence.
        stdout: The beginning of what it printed.
        seconds: How long the program ran, the interpreter's start not counted.
    """

    answer: Any
    status: str
    stdout: str
    seconds: float


@functools.cache
def detect() -> Protection:
    """Find out what this system offers; takes a fraction of a second, once."""
    if sys.platform != "linux":
        return Protection(None, 0, False, (f"Landlock, seccomp and bubblewrap are Linux's, this is {sys.platform}",))
    import ctypes

    missing = []
    libc = ctypes.CDLL(None, use_errno=True)
    abi = max(0, libc.syscall(ctypes.c_long(444), None, ctypes.c_long(0), ctypes.c_long(1)))
    if not abi:
        missing.append(f"Landlock: not in this kernel ({platform.release()})")
    machine = platform.machine()
    # without a filter the kernel says EFAULT (14) when it has seccomp, EINVAL when it does not
    seccomp = machine in ARCHITECTURES and libc.prctl(22, 2, None, 0, 0) < 0 and ctypes.get_errno() == 14
    if not seccomp:
        known = machine in ARCHITECTURES
        missing.append("seccomp: not in this kernel" if known else f"seccomp: no list of system calls for {machine}")
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        missing.append("bubblewrap: no bwrap on the PATH")
    elif why := _bubblewrap_fails(bwrap):
        bwrap = None
        missing.append(f"bubblewrap: {why}")
    return Protection(bwrap, abi, seccomp, tuple(missing))


def _bubblewrap_fails(bwrap: str) -> str:
    """Return why bwrap cannot start a Python here; empty when it can."""
    with tempfile.TemporaryDirectory(prefix="sld-") as folder:
        command = [*_bubblewrap(bwrap, Path(folder), _hidden(())), sys.executable, "-sPB", "-c", "import numpy"]
        environment = _environment(Path(folder))
        try:
            run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_S, cwd=folder)
        except (OSError, subprocess.TimeoutExpired) as error:
            return _sentence(str(error))
    return "" if run.returncode == 0 else _sentence((run.stderr.strip().splitlines() or ["it failed"])[-1])


def require(protection: Protection, *, unsafe: bool) -> None:
    """Refuse to go on where nothing would protect; raises UsageError with the reason."""
    if os.name != "posix":
        raise UsageError("programs run on Linux only (on macOS with --unsafe); submit a formula instead")
    if not protection.enough and not unsafe:
        raise UsageError(
            "a program runs only where it can be locked up, with seccomp and either Landlock or bubblewrap; here: "
            f"{'; '.join(protection.missing)}. --unsafe runs it all the same, with all rights of your account"
        )


def run_child(
    question: Mapping[str, Any],
    *,
    doing: str,
    timeout_s: float,
    memory_mb: int,
    answer_bytes: int,
    protection: Protection,
    hidden: Sequence[Path] = (),
) -> Outcome:
    """Ask one question of a program in a child process, and wait for the answer no longer than `timeout_s`.

    Args:
        question: What `child.answer_to` takes; holds everything that the child gets to know.
        doing: What the program is doing, for messages ("fit_scaling_law").
        timeout_s: Wall-clock limit of the program; the interpreter's start has one of its own.
        memory_mb: Limit of the address space and of what is in memory.
        answer_bytes: Size from which an answer is refused.
        protection: What to use; see `detect`.
        hidden: Folders and files that the child must not read, even where they lie among installed packages.

    Raises:
        SldError: The sandbox itself could not be set up.
    """
    folder = Path(tempfile.mkdtemp(prefix="sld-")).resolve()
    try:
        with tempfile.TemporaryFile() as stdin:
            job = {"lock": _lock(folder, timeout_s, memory_mb, protection, _hidden(hidden)), "question": question}
            stdin.write(json.dumps(job, allow_nan=False).encode())
            stdin.seek(0)
            child = _Child(folder, stdin, protection, _hidden(hidden))
            try:
                return child.wait(doing, timeout_s, memory_mb, answer_bytes)
            finally:
                child.close()
    except OSError as error:
        raise SldError(f"could not start the program's process: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lock(
    folder: Path, timeout_s: float, memory_mb: int, protection: Protection, hidden: Sequence[Path]
) -> dict[str, Any]:
    landlock = None
    if protection.landlock:
        read, listed = readable(hidden)
        paths = {"read": read, "list": listed, "device": _DEVICES, "write": [folder]}
        landlock = {"abi": protection.landlock, "paths": {k: [str(p) for p in v] for k, v in paths.items()}}
    limits = {
        "RLIMIT_AS": memory_mb * _MB,
        "RLIMIT_CPU": int(timeout_s + START_S) * (os.cpu_count() or 1) + 1,  # should the parent be killed
        "RLIMIT_FSIZE": FILE_BYTES,
        "RLIMIT_NOFILE": 128,
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 0,
    }
    return {
        "strict": protection.enough,
        "limits": limits,
        "landlock": landlock,
        "seccomp": filter_program(platform.machine()).hex() if protection.seccomp else None,
        "parent": None if protection.bubblewrap else os.getpid(),  # bubblewrap has a death signal of its own
    }


def _hidden(more: Sequence[Path]) -> list[Path]:
    return [Path(os.path.realpath(p)) for p in (PACKAGE, tasks_root(), *more)]


def _library_roots() -> Iterator[Path]:
    """Yield the folders and files that a Python with installed packages is made of."""
    yield from map(Path, _SYSTEM)
    for prefix in (sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix):
        yield from (Path(prefix) / name for name in ("bin", "lib", "lib64", "pyvenv.cfg"))
    yield from (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    yield from map(Path, site.getsitepackages())


def readable(hidden: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return what the child may read (with everything beneath) and what it may only list, so that `hidden` is neither.

    Landlock knows no exceptions: a folder with something hidden in it is replaced by its other entries.
    """
    read: list[Path] = []
    listed: list[Path] = []

    def add(path: Path) -> None:
        real = Path(os.path.realpath(path))
        if any(real.is_relative_to(h) for h in hidden) or any(path.is_relative_to(p) for p in read):
            return
        if any(h.is_relative_to(real) for h in hidden):
            listed.append(path)
            for entry in sorted(path.iterdir()):
                add(entry)
        else:
            read.append(path)

    for root in dict.fromkeys(_library_roots()):
        if root.exists():
            add(root)
    return read, listed


def _bubblewrap(bwrap: str, folder: Path, hidden: Sequence[Path]) -> list[str]:
    """Return the command before the command: a file system of libraries, no network, no other processes."""
    command = [bwrap, "--unshare-all", "--die-with-parent", "--cap-drop", "ALL"]
    roots = [root for root in dict.fromkeys(_library_roots()) if root.exists()]
    for root in roots:
        command += ["--ro-bind", str(root), str(root)]
    for device in _DEVICES:
        command += ["--dev-bind-try", device, device]
    for path in hidden:  # an empty folder over what lies among the libraries
        for root in roots:
            real = Path(os.path.realpath(root))
            if path.is_relative_to(real) and path.exists():
                seen = str(root / path.relative_to(real))
                command += ["--tmpfs", seen] if path.is_dir() else ["--ro-bind", os.devnull, seen]
    command += ["--bind", str(folder), str(folder), "--chdir", str(folder)]
    return [*command, "--ro-bind", str(DRIVER), str(DRIVER), "--"]


def _environment(folder: Path) -> dict[str, str]:
    one = ("OPENBLAS", "OMP", "MKL", "BLIS", "NUMEXPR", "VECLIB_MAXIMUM")
    places = dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "SLD_CACHE_DIR"), str(folder))
    python = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    joblib = {"JOBLIB_MULTIPROCESSING": "0", "LOKY_MAX_CPU_COUNT": "1"}  # it would ask other programs
    threads = {f"{name}_NUM_THREADS": "1" for name in one}
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **places, **python, **threads, **joblib}


class _Child:
    """One child process and the two pipes that come out of it: what it prints, and what it answers."""

    def __init__(self, folder: Path, stdin: IO[bytes], protection: Protection, hidden: Sequence[Path]) -> None:
        self.folder = folder
        self.printed, self.answered = bytearray(), bytearray()
        before = _bubblewrap(protection.bubblewrap, folder, hidden) if protection.bubblewrap else []
        self._print_end, print_in = os.pipe()
        self._answer_end, answer_in = os.pipe()
        try:
            # -s -P -B: no user packages, no folder of the script in sys.path, no .pyc files
            self.process = subprocess.Popen(
                [*before, sys.executable, "-sPB", str(DRIVER), str(answer_in)],
                stdin=stdin,
                stdout=print_in,
                stderr=print_in,
                env=_environment(folder),
                cwd=folder,
                pass_fds=(answer_in,),
                start_new_session=True,
            )
        except OSError:
            os.close(self._print_end)
            os.close(self._answer_end)
            raise
        finally:
            os.close(print_in)
            os.close(answer_in)
        self._selector = selectors.DefaultSelector()
        for end in (self._print_end, self._answer_end):
            os.set_blocking(end, False)
            self._selector.register(end, selectors.EVENT_READ)

    def close(self) -> None:
        """End the child and let go of the pipes."""
        self._end()
        self._selector.close()
        os.close(self._print_end)
        os.close(self._answer_end)

    def _end(self) -> int:
        """Kill what still runs, all of the group, and return the exit code."""
        if self.process.returncode is None:  # not reaped: its number, which is the group's, belongs to nobody else
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: not permitted once it has ended
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()

    def wait(self, doing: str, timeout_s: float, memory_mb: int, answer_bytes: int) -> Outcome:
        """Read what comes until the child has ended or has to."""
        begun, ready_at = time.monotonic(), None
        next_look = begun
        while True:
            now = time.monotonic()
            if ready_at is None and b"\n" in self.answered:
                ready_at = now
                self._check_ready()
            deadline = begun + START_S if ready_at is None else ready_at + timeout_s
            seconds = 0.0 if ready_at is None else now - ready_at
            status = ""
            if now >= deadline:
                if ready_at is None:
                    raise SldError(
                        f"the program's process was not ready after {START_S:g} s; the machine is overloaded"
                    )
                status = f"{doing} did not finish within {timeout_s:g} s"
            elif len(self.answered) > answer_bytes:
                status = f"{doing} answered with more than {answer_bytes} bytes"
            elif now >= next_look:
                next_look = now + _WATCH_S
                status = self._excess(doing, memory_mb)
            if status:
                return Outcome(None, status, self._text(), seconds)
            open_pipes = self._read(min(_WATCH_S, max(0.0, deadline - now)))
            if self._ended() and not open_pipes:
                break
        return self._finished(doing, 0.0 if ready_at is None else time.monotonic() - ready_at)

    def _read(self, wait_s: float) -> bool:
        """Read what is there, of the output no more than is kept; tell whether more may come."""
        if not self._selector.get_map():
            time.sleep(wait_s)
            return False
        # once the process has ended nothing new comes, and a pipe that is still open is held by nobody of ours
        ended = self._ended()
        events = self._selector.select(0.0 if ended else wait_s)
        for key, _ in events:
            data = os.read(key.fd, 1 << 16)
            if not data:
                self._selector.unregister(key.fd)
            elif key.fd == self._answer_end:
                self.answered += data
            elif len(self.printed) < OUTPUT_KEPT:
                self.printed += data[: OUTPUT_KEPT - len(self.printed)]
        return bool(events) or not ended

    def _ended(self) -> bool:
        if not hasattr(os, "waitid"):
            return self.process.poll() is not None
        if self.process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _check_ready(self) -> None:
        try:
            first = json.loads(self.answered.partition(b"\n")[0])
        except ValueError:
            first = {}
        if first.get("ready") is not True:
            raise SldError(f"the sandbox could not be set up: {_sentence(str(first.get('why', 'no reason given')))}")

    def _excess(self, doing: str, memory_mb: int) -> str:
        """Return what the child has too much of, if anything."""
        size = count = 0
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    size, count = size + entry.stat(follow_symlinks=False).st_size, count + 1
                    if count > FOLDER_FILES or size > FOLDER_BYTES:
                        return f"{doing} wrote more than {FOLDER_FILES} files or {FOLDER_BYTES // _MB} MB"
        except FileNotFoundError:  # a file that went while we looked
            pass
        memory = threads = 0
        for pid in _tree(self.process.pid):
            resident, running = _usage(pid)
            memory, threads = memory + resident, threads + running
        if memory > memory_mb * _MB:
            return f"{doing} took more than {memory_mb} MB of memory"
        return f"{doing} started more than {MAX_THREADS} threads" if threads > MAX_THREADS else ""

    def _finished(self, doing: str, seconds: float) -> Outcome:
        code = self._end()
        first, _, rest = bytes(self.answered).partition(b"\n")
        if not first:
            why = self._text().strip().splitlines()[-1:] or [f"exit code {code}"]
            raise SldError(f"the sandbox could not be set up: {_sentence(why[0])}")
        self._check_ready()
        if not rest:
            return Outcome(
                None, f"{doing} ended its process ({_ending(code)}) without an answer", self._text(), seconds
            )
        try:
            reply = json.loads(rest, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            reply = None
        if isinstance(reply, dict) and isinstance(reply.get("status"), str):
            return Outcome(None, _sentence(reply["status"]), self._text(), seconds)
        if not isinstance(reply, dict) or "answer" not in reply:
            return Outcome(None, f"{doing} wrote something else in place of the answer", self._text(), seconds)
        return Outcome(reply["answer"], "", self._text(), seconds)

    def _text(self) -> str:
        text = printable(self.printed.decode("utf-8", "replace"), keep="\n\t")
        return text + "\n[cut here]" if len(self.printed) >= OUTPUT_KEPT else text


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _ending(code: int) -> str:
    number = -code if code < 0 else code - 128  # bubblewrap passes signals on as a shell does
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"exit code {code}"


def _tree(pid: int) -> list[int]:
    """Return a process and its descendants, as far as /proc tells."""
    found = [pid]
    for known in found:
        try:
            found += map(int, Path(f"/proc/{known}/task/{known}/children").read_text().split())
        except OSError:  # ended meanwhile, or no /proc
            continue
    return found


def _usage(pid: int) -> tuple[int, int]:
    """Return bytes in memory and the number of threads."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    values = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", text, flags=re.MULTILINE))
    return int(values.get("VmRSS", 0)) * 1024, int(values.get("Threads", 0))


def printable(text: str, keep: str = "") -> str:
    """Return the text without what steers a terminal or the direction of writing."""
    return "".join(c if c in keep or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _sentence(text: str, limit: int = 400) -> str:
    one_line = printable(" ".join(text.split()))
    return one_line if len(one_line) <= limit else one_line[: limit - 3] + "..."
