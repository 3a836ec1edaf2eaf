"""What every reader hands on: attempts, one per recording of a run, with configuration and curves as they were written.

Nothing is judged here. That two attempts are one run, that one diverged or was cut short, is decided once for all
sources in `sld/data/collecting/`. A reader is a module with two functions:

    claims(folder: Folder) -> list[Unit]     what in a folder it knows, told by names and first bytes
    read(unit: Unit) -> list[Attempt]        raises DataError, in one line, for what it cannot read
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sld.core.arrays import Array
from sld.core.errors import DataError, SldError
from sld.data.numbers import number

Cell = str | int | float | bool | None
State = Literal["finished", "unfinished", "unknown"]

_DEEPEST = 20  # tables inside tables of a configuration; real ones have three or four
_LARGEST_TRUE = 1.79e308  # MLflow stores infinity as 1.797...e308; no loss is that large
_LARGEST_TEXT = 2**28  # bytes of a text or JSON file that is read whole; logs of months have some 10 MB

# folders and files that are called so in every project: the run has the name of the folder above
_GENERIC = re.compile(
    r"logs?|metrics?|tensorboard|tb|tb_?logs?|lightning_logs|csv_logs?|events?|history|train|training|train_?log"
    r"|training_log|results?|outputs?|out|progress|trainer_state|stdout|stderr|version_\d+|checkpoint-\d+|runs?",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Series:
    """A metric along a run, in the order in which it was written.

    Attributes:
        steps: (n,) the counter that the source keeps beside the metric.
        values: (n,) NaN and infinity as they were logged.
    """

    steps: NDArray[Any]
    values: NDArray[Any]

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.steps)

    @staticmethod
    def of(steps: Iterable[float] | Array, values: Iterable[float] | Array) -> Series:
        """Return a series; what a source wrote for infinity becomes infinity, and numbers take the room they need."""
        x = _array(steps)
        y = _array(values)
        with np.errstate(over="ignore"):
            y = np.where(np.abs(y) >= _LARGEST_TRUE, np.copysign(np.inf, y), y)
            short = y.astype(np.float32)
        whole = len(x) and np.isfinite(x).all() and (np.abs(x) < 2**31).all() and (x == np.floor(x)).all()
        exact = bool(((short == y) | np.isnan(y)).all())
        return Series(x.astype(np.int32) if whole else x, short if exact else y)

    def pairs(self) -> tuple[Array, Array]:
        """Return steps and values as float64."""
        return self.steps.astype(np.float64), self.values.astype(np.float64)


def _array(values: Iterable[float] | Array) -> Array:
    found = values if isinstance(values, np.ndarray) else np.array(list(values), dtype=np.float64)
    return found.astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class Attempt:
    """One recording of a run: all of it, or one stretch between two starts.

    Attributes:
        id: What the source knows the run by; attempts of one id are stretches of one run.
        name: What people call it.
        place: Where it was found, for messages.
        config: Settings, nested ones as `outer.inner`.
        series: Metric to curve.
        summary: Metric to a single value, where the source has no curve of it.
        state: What the source says of its end.
        order: Grows from one stretch of a run to the next (a time, or a number of a file).
        follows: Id or name of the run that this one says it continues.
        part_of: Id of the run whose settings or metrics these are, where a source splits them in two.
        resumes_at: The step from which on earlier stretches do not count, where the source says so.
        notes: What was noticed while it was read, in sentences.
    """

    id: str
    name: str
    place: str
    config: Mapping[str, Cell] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    summary: Mapping[str, Cell] = field(default_factory=dict)
    state: State = "unknown"
    order: float = 0.0
    follows: str = ""
    part_of: str = ""
    resumes_at: float | None = None
    notes: tuple[str, ...] = ()


class Unreachable(SldError):
    """A place that is not on this machine does not answer: nothing else that is there can be read either."""


@dataclass(frozen=True)
class Unit:
    """Something that is read by itself: a change of one of its files is a change of it and of nothing else.

    Attributes:
        reader: Name of the reader in the registry.
        base: The folder or file that it is called by.
        files: What is read.
        whole: Nothing else in the folder is looked at, nor in those below it.
        root: The source that the user named; a run is not called by a folder above it.
        address: Where it is, if it is no file.
        stamp: What changes when it does, if it is no file; empty while it is still written.
        handle: What its reader needs to read it, if it is no file.
    """

    reader: str
    base: Path
    files: tuple[Path, ...]
    whole: bool = False
    root: Path | None = None
    address: str = ""
    stamp: str = ""
    handle: Any = field(default=None, compare=False, repr=False)

    @property
    def where(self) -> str:
        """The one place where it is, however it was named."""
        return self.address or str(self.base.resolve())


@dataclass(frozen=True)
class Folder:
    """A folder as readers see it.

    Attributes:
        path: The folder.
        files: Names of its files, in order.
        folders: Names of the folders in it, in order.
        forced: The user named the reader, so that contents need not be recognised.
    """

    path: Path
    files: tuple[str, ...]
    folders: tuple[str, ...] = ()
    forced: bool = False

    @cached_property
    def _heads(self) -> dict[str, bytes]:
        return {}

    def head(self, name: str) -> bytes:
        """Return the first bytes of a file; none of one that cannot be read."""
        if name not in self._heads:
            try:
                with (self.path / name).open("rb") as file:
                    self._heads[name] = file.read(8192)
            except OSError:
                self._heads[name] = b""
        return self._heads[name]

    def ending(self, *suffixes: str) -> list[str]:
        """Return the files with one of these ends."""
        return [name for name in self.files if name.lower().endswith(suffixes)]


def run_name(path: Path, root: Path | None = None) -> str:
    """Return what a run found at a path is called: the nearest folder or file whose name says something.

    >>> run_name(Path("sweep/size-1/lightning_logs/version_0")), run_name(Path("sweep/base.csv"))
    ('size-1', 'base')

    Args:
        path: A file, or a folder.
        root: The highest folder that may give its name: the one that the user named.
    """
    path = path if path.name else path.resolve()
    first = path.name if path.is_dir() or not path.suffix else path.stem
    if not _GENERIC.fullmatch(first) or path == root:
        return first
    for parent in path.parents[:3]:
        name = parent.name or (parent.resolve().name if parent == root else "")
        if name and not _GENERIC.fullmatch(name):
            return name
        if parent == root:
            break
    return first


def flat(settings: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Cell]]:
    """Yield settings as `outer.inner` and a plain value; lists as text, and what is nested beyond reason not at all."""
    if isinstance(settings, Mapping):
        if depth > _DEEPEST:
            return
        for key, value in settings.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key), depth + 1)
    elif prefix:
        yield prefix, plain(settings)


def plain(value: Any) -> Cell:
    """Return a value as a cell: numbers, texts, yes and no as they are; lists and other things as text."""
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):
        return value if value.bit_length() < 1024 else float("inf")
    try:
        return json.dumps(value)[:200]
    except (TypeError, ValueError, RecursionError):
        return str(value)[:200]


_WHOLE = re.compile(r"[+-]?\d{1,300}")
_WORDS: Mapping[str, Cell] = {
    "": None, "none": None, "null": None, "na": None, "n/a": None, "<na>": None, "true": True, "false": False,
    "nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf,
}  # fmt: skip


def cell_of(text: str) -> Cell:
    """Return what a text of a log, sheet or database stands for.

    >>> cell_of("12"), cell_of("1e-3"), cell_of("NaN"), cell_of("None"), cell_of("llama")
    (12, 0.001, nan, None, 'llama')
    """
    bare = text.strip()
    folded = bare.casefold()
    if folded in _WORDS:
        return _WORDS[folded]
    if _WHOLE.fullmatch(bare):
        return int(bare)
    if bare[:1].isalpha() or "_" in bare:
        return bare
    try:
        return float(bare)
    except ValueError:
        return bare


def as_number(value: Any) -> float | None:
    """Return a logged value as a number, or None for what is none; texts that are one, or stand for NaN, count."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        found = cell_of(value)
        if isinstance(found, str):
            try:
                return number(found)  # 1.05M
            except ValueError:
                return None
        return None if isinstance(found, bool) or found is None else as_number(found)
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return None


class Rows:
    """Rows of metrics as they are read, gathered into series."""

    def __init__(self) -> None:
        """Begin without any."""
        self._points: dict[str, tuple[list[float], list[float]]] = {}

    def add(self, step: float, metrics: Iterable[tuple[str, Any]]) -> None:
        """Take a row; what is no number is passed over."""
        for name, value in metrics:
            number = as_number(value)
            if number is not None:
                steps, values = self._points.setdefault(name, ([], []))
                steps.append(step)
                values.append(number)

    def series(self) -> dict[str, Series]:
        """Return what was gathered."""
        return {name: Series.of(steps, values) for name, (steps, values) in self._points.items()}

    def __len__(self) -> int:
        """Return the number of metrics."""
        return len(self._points)


def read_bytes(path: Path) -> bytes:
    """Return what is in a file; raises DataError."""
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            raise DataError(
                f"{path} has {path.stat().st_size / 2**20:.0f} MB, too much to be read whole; cut it in parts"
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"could not read {path}: {error.strerror or error}") from None


def read_text(path: Path) -> str:
    """Return the text in a file; raises DataError."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start})") from None


def read_json(path: Path) -> Any:
    """Return a JSON document; NaN and Infinity, which JSON does not have and trackers write, are read."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        cut = "it is cut off" if error.pos >= len(text.rstrip()) else f"{error.msg}, line {error.lineno}"
        raise DataError(f"{path} is not whole JSON: {cut}") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, nesting beyond reason
        raise DataError(f"{path} cannot be read as JSON: {str(error).splitlines()[0]}") from None


def read_object(path: Path) -> dict[str, Any]:
    """Return a JSON document that is an object; raises DataError for any other."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise DataError(f"{path} holds no object with keys")
    return document


def one_line(error: BaseException) -> str:
    """Return the first line of an error of a library."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def beside(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return those of the files that exist."""
    return [folder / name for name in names if (folder / name).is_file()]
