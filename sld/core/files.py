"""Writing files whole or not at all: a reader never sees half of one, and a failure is one line."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

from sld.core.errors import UsageError


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` through a temporary file beside it: the old content stays until the new is whole.

    A link is followed; what is not a regular file (a terminal, a pipe) is written to directly.

    Raises:
        UsageError: The folder does not exist, the disk is full, permission is missing; nothing is left behind.
    """
    try:
        # a link keeps pointing at its target: replacing the link itself would silently detach it
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(data)
            return
        _replace(target, data)
    except FileNotFoundError as error:
        raise UsageError(f"could not write {path}: no folder {Path(path).parent}; create it first") from error
    except OSError as error:
        raise UsageError(f"could not write {path}: {error.strerror or error}") from error
    except ValueError as error:  # a path with a null byte
        raise UsageError(f"could not write {str(path)!r}: {error}") from error


def check_file(path: str | Path) -> None:
    """Refuse, before any work is done, a file that could not be written.

    Raises:
        UsageError: It is a folder, or there is no folder to write it in, or not the permission.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise UsageError(f"could not write {path}: it is a folder")
        if target.exists() and not target.is_file():
            return
        if not target.parent.is_dir():
            raise UsageError(f"could not write {path}: no folder {Path(path).parent}; create it first")
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise UsageError(f"could not write {path}: {os.strerror(errno.EACCES)}")
    except (OSError, ValueError) as error:  # a name that is too long, or with a null byte
        raise UsageError(f"could not write {str(path)!r}: {getattr(error, 'strerror', None) or error}") from error


def check_folder(path: str | Path) -> None:
    """Refuse, before any work is done, a folder that could not be made or written in.

    Raises:
        UsageError: It is a file, or lies below one, or permission is missing.
    """
    try:
        there = Path(os.path.realpath(path))
        while not there.exists():
            there = there.parent
        if not there.is_dir():
            raise UsageError(f"could not write to {path}: {there.name} is a file, not a folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UsageError(f"could not write to {path}: {os.strerror(errno.EACCES)}")
    except (OSError, ValueError) as error:
        raise UsageError(f"could not write to {str(path)!r}: {getattr(error, 'strerror', None) or error}") from error


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 with plain newlines, as `write_bytes_atomic` does."""
    write_bytes_atomic(path, text.encode("utf-8"))


def _replace(target: Path, data: bytes) -> None:
    if target.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    temporary, descriptor = _open_beside(target)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _open_beside(target: Path) -> tuple[Path, int]:
    # os.open and not tempfile: the permissions then follow the umask like those of any other new file
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    for attempt in itertools.count():
        temporary = target.with_name(f".{target.name[:100]}.{os.getpid()}.{attempt}.tmp")
        try:
            return temporary, os.open(temporary, flags, 0o666)
        except FileExistsError:
            if attempt > 100:
                raise
    raise AssertionError("unreachable")
