"""The machine's compiled code on disk, so kept that a damaged file costs one more compilation and nothing else.

numba keeps compiled functions in two kinds of files: an index (`.nbi`) and, for each signature and processor, the code
(`.nbc`). It trusts both. One that a power cut, a full disk or an interrupted copy left empty or short ends every later
start in a traceback, and cut machine code may end the process. Here each file carries a seal at its end, the SHA-256
of what stands before it, and is read only where the seal fits; the code also says which index entry it was written
for. What does not fit is removed, said once, and compiled again.

Nothing about the cache stops the work: where no folder can be written, the machine is compiled for this process alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import IndexDataCacheFile

_MARK = b"sld seal"
_SEAL = len(_MARK) + 32  # bytes at the end of a file; unpickling stops before them
# what reading a file can end in that somebody else wrote in part: no list of exceptions of pickle is complete
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, EOFError, ArithmeticError,
               MemoryError, RuntimeError, pickle.PickleError)  # fmt: skip


class _Damaged(ValueError):
    """A file is not what was written."""


def compiled(also: str = "", **options: Any) -> Callable[[Callable[..., None]], Any]:
    """Return `numba.njit(cache=True, **options)`, with files that are checked before they are believed.

    Args:
        also: What the code depends on besides its own file, which is all that numba looks at; code that was compiled
            for another text is compiled again.
        options: Of `numba.njit`.
    """

    def decorate(function: Callable[..., None]) -> Any:
        try:
            dispatcher = numba.njit(cache=True, **options)(function)
        except (RuntimeError, OSError):  # numba found no folder that it can write
            _say("there is no folder to keep the compiled fitting machine in: every start compiles it, about 20 s "
                 "(NUMBA_CACHE_DIR can name one)")  # fmt: skip
            return numba.njit(**options)(function)
        cache: Any = getattr(dispatcher, "_cache", None)
        files = getattr(cache, "_cache_file", None)
        if isinstance(files, IndexDataCacheFile):  # there is none with NUMBA_DISABLE_JIT
            cache._cache_file = SealedFiles(files, also)
        return dispatcher

    return decorate


class SealedFiles(IndexDataCacheFile):  # type: ignore[misc]
    """Index and code of one function: `load` gives what was saved whole, or None; neither it nor `save` raises."""

    def __init__(self, files: IndexDataCacheFile, also: str = "") -> None:
        """Take the place of numba's own, with the same names of files; `also` as for `compiled`."""
        self.__dict__.update(files.__dict__)
        self._source_stamp: Any = (files._source_stamp, also)

    def load(self, key: Any) -> Any:
        """Return the code saved under `key`; None where there is none that can be believed."""
        try:
            name = self._load_index().get(key)
            if name is None:
                return None
            entry, data = self._load_data(name)
            if entry != (self._source_stamp, key):
                raise _Damaged(name)  # the index is newer than the code, or the other way round
            return data
        except _UNREADABLE:
            self._remove()
            _say("the compiled fitting machine was damaged; compiling it again, about 20 s")
            return None

    def save(self, key: Any, data: Any) -> None:
        """Keep the code; a full disk or a folder that may not be written is said, and costs the next start."""
        try:
            try:
                names = self._load_index()
            except _UNREADABLE:
                names = {}
            free = (self._data_name(i) for i in range(1, len(names) + 2))
            name = names.get(key) or next(n for n in free if n not in names.values())
            # code first: an index never names a file that is not there yet
            self._save_data(name, ((self._source_stamp, key), data))
            self._save_index({**names, key: name})
        except OSError as error:
            _say(f"the compiled fitting machine could not be kept in {self._cache_path} ({error.strerror or error}): "
                 "the next start compiles it again, about 20 s")  # fmt: skip

    def _load_index(self) -> dict[Any, str]:
        if not os.path.lexists(self._index_path):
            return {}
        _check(self._index_path)
        return super()._load_index()  # type: ignore[no-any-return]

    def _load_data(self, name: str) -> Any:
        _check(self._data_path(name))
        return super()._load_data(name)

    def _remove(self) -> None:
        folder, stem = Path(self._cache_path), Path(self._index_path).stem
        for path in (Path(self._index_path), *folder.glob(f"{stem}.*.nbc")):
            with contextlib.suppress(OSError):  # of somebody else, or gone: `save` replaces what it can
                path.unlink()

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        """Write whole or not at all, also where the power fails: the bytes are on the disk before the name is."""
        content = io.BytesIO()
        yield content
        part = f"{filepath}.tmp.{uuid.uuid4().hex[:16]}"
        try:
            with open(part, "wb") as file:
                file.write(content.getvalue() + _seal(content.getvalue()))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, filepath)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(part)


def _seal(content: bytes) -> bytes:
    return _MARK + hashlib.sha256(content).digest()


def _check(path: str) -> None:
    """Raise where a file is not whole."""
    content = Path(path).read_bytes()
    if content[-_SEAL:] != _seal(content[:-_SEAL]):
        raise _Damaged(path)


_said: set[str] = set()


def _say(sentence: str) -> None:
    """Say it on standard error, once in a process."""
    if sentence not in _said and sys.stderr is not None:
        _said.add(sentence)
        with contextlib.suppress(OSError, ValueError):  # closed
            print(f"sld: {sentence}", file=sys.stderr, flush=True)
