"""Which files an agent may name: those in folders that the person who started the server and the client allow."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from sld.core.errors import UsageError

_MOST_BYTES = 500_000_000  # of files in one argument: more is no table for an agent, and fills the memory of a worker
_MOST_FILES = 10_000  # looked at in a folder: whoever names a home folder by mistake gets an answer all the same
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")  # how an absolute path begins on Windows


@dataclass(frozen=True)
class Roots:
    """Folders that files may be read from and written to, all links followed.

    Attributes:
        folders: Absolute paths; relative names are looked for in them, one after another.
        wanted: What to do where there is none, for messages.
        named: Names that are no paths: of tasks that `sld` knows.
        trusting: Whoever starts the server is the client and named no folder: those that it grants are open.
    """

    folders: tuple[Path, ...] = ()
    wanted: str = "start the server with --root FOLDER"
    named: frozenset[str] = field(default_factory=frozenset)
    trusting: bool = False

    @staticmethod
    def of(folders: Iterable[str | Path], named: Iterable[str] = (), *, trusting: bool = False) -> Roots:
        """Return the roots that these folders are; without any, those of a client that is trusted.

        Raises:
            UsageError: One is no folder.
        """
        found = []
        for folder in folders:
            path = Path(os.path.realpath(os.path.expanduser(folder)))
            if not path.is_dir():
                raise UsageError(f"--root wants a folder, got {str(folder)!r}")
            found.append(path)
        return Roots(tuple(dict.fromkeys(found)), named=frozenset(named), trusting=trusting and not found)

    def within(self, granted: Sequence[Path]) -> Roots:
        """Return what both these roots and the folders that a client grants allow; its own where it is trusted."""
        real = [Path(os.path.realpath(folder)) for folder in granted]
        if self.trusting:
            return replace(self, folders=tuple(dict.fromkeys(f for f in real if f.is_dir())))
        both = [g for g in real for r in self.folders if g.is_relative_to(r)]
        both += [r for r in self.folders for g in real if r.is_relative_to(g)]
        wanted = "the folders that the client grants and those of --root have nothing in common"
        return replace(self, folders=tuple(dict.fromkeys(both)), wanted=wanted)

    def source(self, text: str) -> str:
        """Return what an argument that names rows or a law stands for: a name, a formula, or an absolute path inside.

        A path may be a pattern or a folder: then every file of it has to be inside.

        Raises:
            UsageError: It names what is outside, or more than one argument may hold.
        """
        _check_text(text)
        if text in self.named or not self._is_path(text):
            return text
        path = self._inside(text)
        self._check_size(self._files(path))
        return str(path)

    def target(self, text: str, *, folder: bool = False) -> str:
        """Return the absolute path of what shall be written.

        Raises:
            UsageError: It is outside, or the folder that it shall be in does not exist.
        """
        _check_text(text)
        path = self._inside(text)
        if path in self.folders:
            raise UsageError(f"{text!r} is a root itself: name a file or folder inside it")
        if not folder and not path.parent.is_dir():
            raise UsageError(f"no folder {str(path.parent)!r} to write {path.name} to")
        if folder and path.is_dir():
            self._files(path)  # a link in it could lead what is written outside
        return str(path)

    def _is_path(self, text: str) -> bool:
        """Whether a text can only be meant as a path, or is one that there is; else it is a name or a formula."""
        if os.path.isabs(text) or _DRIVE.match(text) or text.startswith(("~", "\\")) or ".." in Path(text).parts:
            return True
        if text.lower().endswith((".json", ".csv", ".tsv", ".jsonl", ".parquet", ".xlsx", ".gz", ".toml", ".py")):
            return True
        return any(_exists(root / text) or (_has_magic(text) and _matches(root / text)) for root in self.folders)

    def _inside(self, text: str) -> Path:
        if not self.folders:
            raise UsageError(f"no folder is open to this client, so {_short(text)} cannot be used; {self.wanted}")
        places = [Path(text)] if os.path.isabs(text) else [root / text for root in self.folders]
        there = [p for p in places if _exists(p)] or places
        path = Path(os.path.realpath(there[0]))
        if not self._holds(path):
            allowed = ", ".join(map(str, self.folders[:3]))
            raise UsageError(f"{_short(text)} is outside the folders that are open to this client ({allowed})")
        return path

    def _holds(self, real: Path) -> bool:
        return any(real.is_relative_to(root) for root in self.folders)

    def _files(self, path: Path) -> list[Path]:
        """Return every file that reading `path` may open; raises UsageError where one is outside."""
        if path.is_dir():
            below: Iterator[Path] = (
                Path(top) / name for top, folders, files in os.walk(path) for name in (*files, *folders)
            )
        elif _has_magic(str(path)) and not path.exists():
            if "**" in path.parts:
                raise UsageError(
                    f"a pattern names the files of one folder, such as runs/*.csv; got {_short(str(path))}"
                )
            below = map(Path, glob.iglob(str(path)))
        else:
            below = iter([path])
        found = list(islice(below, _MOST_FILES + 1))
        if len(found) > _MOST_FILES:
            raise UsageError(f"{path} holds more than {_MOST_FILES:,} files; name one of them, or a smaller folder")
        for one in found:
            if not self._holds(Path(os.path.realpath(one))):
                raise UsageError(f"{one} leads outside the folders that are open to this client")
        return found

    def _check_size(self, files: Sequence[Path]) -> None:
        for one in files:
            if one.exists() and not (one.is_file() or one.is_dir()):
                raise UsageError(f"{one} is no regular file")
        size = sum(one.stat().st_size for one in files if one.is_file())
        if size > _MOST_BYTES:
            limit = _MOST_BYTES / 1e6
            raise UsageError(
                f"{size / 1e6:.0f} MB are too much for one call (at most {limit:.0f}); use the command sld"
            )


def _check_text(text: str) -> None:
    if not text.strip():
        raise UsageError("wanted the name of a file, a task, a law or a formula, got an empty text")
    if "\0" in text:
        raise UsageError(f"a name has no null character, got {text[:60]!r}")


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except (OSError, ValueError):  # too long for a file's name, as a formula may be
        return False


def _has_magic(text: str) -> bool:
    # a star alone is a product in a formula, so it counts only where files match
    return any(c in text for c in "*?[")


def _matches(pattern: Path) -> bool:
    try:
        return next(glob.iglob(str(pattern)), None) is not None
    except (OSError, ValueError):
        return False


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
