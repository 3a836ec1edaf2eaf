"""Where entries lie: folders of JSON files, one per entry, written so that nobody's file is ever lost or halved."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sld.board.entries.entry import MAX_BYTES, Entry
from sld.core.errors import DataError, UsageError

SUBMISSIONS = "submissions"


def bundled_board() -> Path | None:
    """Return the folder that comes with the package: inside the wheel, or `leaderboard/` of a checkout."""
    package = Path(__file__).resolve().parents[2]
    inside, beside = package / "_leaderboard", package.parent / "leaderboard"
    return inside if inside.is_dir() else beside if beside.is_dir() else None


@dataclass(frozen=True)
class Added:
    """What became of a submission: its file, or the file and entry of the same law which was there before."""

    path: Path
    new: bool
    entry: Entry


@dataclass(frozen=True)
class Board:
    """Folders that hold `submissions/<task>/<name>.json`; the first is written to, all are read."""

    roots: tuple[Path, ...]

    @staticmethod
    def at(folder: str | Path | None = None, *, data: Path | None = None, reading: bool = False) -> Board:
        """Return the board in `folder`, or else that of the checkout, or else the one among the user's `data`.

        The entries that come with the package are read in every case.

        Args:
            folder: Where somebody said that it is.
            data: Where the user's own data are.
            reading: Whether it is only looked at, so that `folder` has to be there.

        Raises:
            UsageError: There is nowhere to write to, or no such folder to read.
        """
        bundled = bundled_board()
        if folder is not None:
            first = Path(folder)
            if first.exists() and not first.is_dir():
                raise UsageError(f"the leaderboard {str(folder)!r} is not a folder")
            if reading and not first.exists():
                raise UsageError(f"there is no leaderboard {str(folder)!r}; `sld submit --board` begins one")
        elif bundled is not None and bundled.name == "leaderboard":
            first = bundled
        elif data is not None:
            first = data / "leaderboard"
        else:
            raise UsageError("say which folder holds the leaderboard (--board DIR, or board=... in Python)")
        return Board((first,) if bundled is None or bundled == first.resolve() else (first, bundled))

    def entries(self, task: str | None = None) -> Iterator[tuple[Path, Entry | DataError]]:
        """Yield every file of a task (of all tasks by default) and its entry, or what is wrong with the file."""
        seen: set[Path] = set()
        for root in self.roots:
            for path in _files(root, task):
                real = path.parent.resolve() / path.name
                if real not in seen:
                    seen.add(real)
                    yield path, _read(path)

    def add(self, entry: Entry) -> Added:
        """Write an entry to the first root, unless the same law is there already; no file is ever overwritten.

        Raises:
            UsageError: The folder cannot be made or written to.
        """
        folder = self.roots[0] / SUBMISSIONS / str(entry.task["name"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder):
                for root in self.roots:
                    for path in _files(root, str(entry.task["name"])):
                        if _identity(path) != entry.identity:
                            continue
                        known = _read(path)
                        if isinstance(known, Entry):
                            return Added(path, False, known)
                return Added(_write_new(folder, entry), True, entry)
        except OSError as error:
            raise UsageError(f"could not write to {folder}: {error.strerror or error}") from error


def _files(root: Path, task: str | None) -> list[Path]:
    folder = root / SUBMISSIONS
    pattern = "*/*.json" if task is None else f"{task}/*.json"
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _read(path: Path) -> Entry | DataError:
    where = f"{path.parent.name}/{path.name}"
    try:
        # neither a link (out of the folder) nor a pipe (that never ends)
        if not stat.S_ISREG(path.lstat().st_mode):
            return DataError(f"{where} is not a plain file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        entry = Entry.from_bytes(content, where)
    except OSError as error:
        return DataError(f"could not read {where}: {error.strerror or error}")
    except DataError as error:
        return error
    if path.parent.name != entry.task["name"]:
        return DataError(f"{where} is an entry of task {entry.task['name']!r} and lies in another folder")
    if path.stem != entry.file_stem:
        return DataError(f"{where} should be called {entry.file_stem}.json")
    return entry


def _identity(path: Path) -> str | None:
    """Return what says which law a file holds; None if it holds none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return _identity_at(path, (found.st_ino, found.st_mtime_ns, found.st_size))


@lru_cache(maxsize=10_000)
def _identity_at(path: Path, _stamp: tuple[int, int, int]) -> str | None:
    # who submits many laws would otherwise read all of them again for each
    entry = _read(path)
    return entry.identity if isinstance(entry, Entry) else None


def _write_new(folder: Path, entry: Entry) -> Path:
    for left in folder.glob(".*.tmp"):  # of writers that were killed: the lock is ours, so nobody is writing
        left.unlink(missing_ok=True)
    path = folder / f"{entry.file_stem}.json"
    temporary = folder / f".{entry.file_stem}.{os.getpid()}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(entry.file_bytes())
            file.flush()
            os.fsync(file.fileno())
        # a link fails where a file is; a rename would take its place
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one writer at a time; the system lets go of it when the process ends in any way."""
    try:
        import fcntl
    except ImportError:  # no such locks here: two writers may then add one law twice, but harm no file
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
