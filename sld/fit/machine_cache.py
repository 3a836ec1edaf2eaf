"""The machine's compiled code on disk: made once, by one process, and never believed where it is damaged.

A file has the key of what the code was made from, the code, and a seal at its end, the SHA-256 of what stands before.
A power cut, a full disk or an interrupted copy leaves a file that is empty or short: the seal does not fit, which is
said once, and the machine is compiled again. Code of another version is compiled again as well, and nothing is said.

Processes that start together on an empty cache wait for the first of them. It holds a lock, which the system takes back
when the process ends, however it ends. Nothing about the cache stops the work: where no folder can be written, where
the file system has no locks, or where the first process takes longer than `_WAIT_S`, each compiles for itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sld.fit import native, parts, translation, values

_MARK = b"sld machine\n"
_SEAL = 32  # bytes at the end
_KEY = 32  # bytes after the mark
_WAIT_S = 120.0  # for another process that compiles; a busy computer takes ten times as long as an idle one
_LOOK_S = 0.02  # between two looks at the lock
_TAKES = "about 3 s"


class Compiled:
    """A function of the machine, read from the disk or compiled at its first call."""

    def __init__(self, function: Callable[..., None], also: str) -> None:
        """Take the function, a part of the machine that returns nothing; `also` as for `compiled`."""
        self.function, self.also = function, also
        self.compilations = 0  # in this process
        self._entry: Callable[..., int] | None = None
        self.__doc__ = function.__doc__

    def __call__(self, *arguments: Any) -> None:
        """Call it.

        Raises:
            TypeError: An array is not contiguous, or has other elements or another number of axes than its parameter.
            MemoryError: There is no room for the arrays that it makes.
        """
        entry = self._entry or self._ready()
        if status := entry(*arguments):
            raise self._error(status)

    def _error(self, status: int) -> Exception:
        name, names = self.function.__name__, parts.parameters(self.function)
        if status == parts.NO_MEMORY:
            return MemoryError("no room for the arrays of the fitting machine")
        if status == parts.WRONG_NUMBER:
            return TypeError(f"{name} takes {len(names)} arguments")
        argument = names[status - parts.FIRST_ARGUMENT][0]
        return TypeError(f"{name}: {argument} is no contiguous array of the type that it should have")

    def _ready(self) -> Callable[..., int]:
        code = kept(self._files(), self._key(), self._make)
        self._entry = native.load(code, self.function.__name__)
        return self._entry

    def _make(self) -> bytes:
        self.compilations += 1
        return native.compile_text(native.translate(self.function))

    def _key(self) -> bytes:
        """Return a hash of all that the code depends on."""
        files = (*parts.files_of(self.function), *(str(m.__file__) for m in (parts, values, translation, native)))
        rest = repr((self.function.__name__, self.also, native.processor(), native.layout()))
        return hashlib.sha256(b"\0".join([*(Path(f).read_bytes() for f in files), rest.encode()])).digest()

    def _files(self) -> list[Path]:
        """Return where the code may be kept: one file for each kind of processor, since homes are shared."""
        source = Path(self.function.__code__.co_filename)
        kind = hashlib.sha256(repr((native.processor(), native.layout())).encode()).hexdigest()[:12]
        return [folder / f"{source.stem}.{kind}.bin" for folder in folders(source)]


def compiled(also: str = "") -> Callable[[Callable[..., None]], Compiled]:
    """Return a decorator that compiles a function of the machine, and keeps the code on disk.

    Args:
        also: What the code depends on besides its own file; code that was compiled for another text is compiled again.
    """
    return lambda function: Compiled(function, also)


def folders(source: Path) -> list[Path]:
    """Return the folders where code that is made from a file may be kept, the first choice first.

    The folder that SLD_CACHE_DIR names; without it `__pycache__` beside the file, or else the user's folder for such
    files.
    """
    own = Path("sld") / hashlib.sha256(str(source.parent.resolve()).encode()).hexdigest()[:12]
    if named := os.environ.get("SLD_CACHE_DIR", ""):
        return [Path(named) / own]
    found = [source.parent / "__pycache__"]
    with contextlib.suppress(RuntimeError):  # a user without a home
        home = Path.home()
        of_system = {"darwin": home / "Library" / "Caches", "win32": home / "AppData" / "Local"}
        found.append(Path(os.environ.get("XDG_CACHE_HOME") or of_system.get(sys.platform, home / ".cache")) / own)
    return found


def kept(files: list[Path], key: bytes, make: Callable[[], bytes]) -> bytes:
    """Return the code that one of some files keeps, or make it and keep it in the first that can be written.

    Args:
        files: Where the code may be.
        key: 32 bytes; a file with another key is replaced.
        make: Compiles. Of several processes that call this at once, one does.
    """
    for path in files:
        if (code := _read(path, key)) is not None:
            return code
    for path in files:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = open(path.with_suffix(".lock"), "ab")  # noqa: SIM115  # closing it gives the lock back
        except OSError:
            continue
        with lock:
            _wait_for(lock.fileno())
            code = _read(path, key)  # another process may have made it meanwhile
            if code is None:
                code = make()
                _write(path, key, code)
            return code
    _say("there is no folder to keep the compiled fitting machine in: every start compiles it, "
         f"{_TAKES} (SLD_CACHE_DIR can name one)")  # fmt: skip
    return make()


def _read(path: Path, key: bytes) -> bytes | None:
    """Return the code of a file; None where there is none, or another. One that is damaged is removed."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        content = b""
    body, seal = content[:-_SEAL], content[-_SEAL:]
    begin = len(_MARK) + _KEY
    if len(content) < begin + _SEAL or hashlib.sha256(body).digest() != seal:
        with contextlib.suppress(OSError):  # of somebody else, or gone: `_write` replaces what it can
            path.unlink()
        _say(f"the compiled fitting machine was damaged; compiling it again, {_TAKES}")
        return None
    return body[begin:] if body[:begin] == _MARK + key else None


def _write(path: Path, key: bytes, code: bytes) -> None:
    """Keep code, whole or not at all, also where the power fails: the bytes are on the disk before the name is."""
    body = _MARK + key + code
    part = path.with_name(f"{path.name}.tmp.{uuid.uuid4().hex[:16]}")
    try:
        try:
            with open(part, "wb") as file:
                file.write(body + hashlib.sha256(body).digest())
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
    except OSError as error:
        _say(f"the compiled fitting machine could not be kept in {path.parent} ({error.strerror or error}): "
             f"the next start compiles it again, {_TAKES}")  # fmt: skip


def _wait_for(descriptor: int) -> None:
    """Wait for the lock of a file; go on without it on a file system that has none, or after a long wait.

    Then several processes may compile at once, and each replaces the file of the other by the same.
    """
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        try:
            _lock(descriptor)
            return
        except (BlockingIOError, PermissionError):  # another process has it
            time.sleep(_LOOK_S)
        except OSError:  # no locks here
            return


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_said: set[str] = set()


def _say(sentence: str) -> None:
    """Say it on standard error, once in a process."""
    if sentence not in _said and sys.stderr is not None:
        _said.add(sentence)
        with contextlib.suppress(OSError, ValueError):  # closed
            print(f"sld: {sentence}", file=sys.stderr, flush=True)
