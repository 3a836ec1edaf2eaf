"""The run folder: what a search writes as it goes, and how it is taken up again after a kill.

    config.json    what was asked: seed, proposers, digest of the rows (a folder belongs to one question)
    events.jsonl   one line per candidate in the order of proposal, append-only
    front.csv      the Pareto front
    law.json       the chosen law
    outcome.json   rows, folds, runners-up and verdict, for `sld report` (saved.py)
    earlier-1/     an earlier search of the same task with other options, whole; then earlier-2/, ...

A line that was cut off by a kill is ignored; everything before it is taken over. A larger or smaller budget and another
number of workers go on with the search. Any other option changes what is proposed, and in which order, or what is
admissible: the earlier search is then set aside in the folder, never lost, and a new one begins. A folder of another
task is refused.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from sld.core.errors import SldError, UsageError
from sld.core.files import write_text_atomic
from sld.data.table import Table
from sld.laws.law import LAW_FILE, SINGLE_FILE
from sld.search.candidates.candidate import Candidate, Judgement
from sld.search.candidates.rejection import OK

# names of files that users and tests of earlier versions know
EVENTS = "events.jsonl"
CONFIG = "config.json"
FRONT = "front.csv"
OUTCOME = "outcome.json"
LOCK = "run.lock"
EARLIER = "earlier"
_LATER_KEYS = ("columns",)  # not in a config.json before 0.6.0
_LONGEST_NAME = 60  # characters of targets or variables in the name of a folder: file systems take 255 in all
# what belongs to one search; whatever else lies in the folder is the user's
_OF_A_SEARCH = (
    *(CONFIG, EVENTS, FRONT, LAW_FILE, SINGLE_FILE, OUTCOME),
    *("plot.png", "report.md", "report.html", "llm", "asynchronous"),
)
# key of config.json to what it is called in a sentence
_SAID = {
    "rows": "rows",
    "columns": "roles, bounds or directions of columns",
    "formulas": "formulas to try",
    "proposers": "proposers",
    "max_constants": "limit of constants",
    "llm": "language model",
    "aim": "planned runs",
    "seed": "seed",
}
_WRITE_EVERY_S = 1.0  # a kill loses no more than that
_MOST_WAITING = 500  # events; fast searches judge as many in a second
_TAIL_BYTES = 1 << 20  # an event has a few kilobytes


class StaleRun(SldError):
    """What the folder holds cannot be gone on with, though the question is the same."""


class RunFolder:
    """A locked run folder; use it as a context."""

    def __init__(self, path: str | Path, config: Mapping[str, Any], tell: Callable[[str], None] | None = None) -> None:
        """Keep path and question; nothing is touched before the context is entered.

        Args:
            path: The folder.
            config: What is asked.
            tell: Called with a sentence when an earlier search is taken up or set aside.
        """
        self.path = Path(path)
        self.config = dict(config)
        self.tell = tell or (lambda _: None)
        self._lock: IO[str] | None = None
        self._events: IO[str] | None = None

    def __enter__(self) -> RunFolder:
        """Create or take up the folder; raises UsageError if it is in use or holds another run."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot use run folder {self.path}: {error.strerror or error}") from error
        while not self._take_lock():
            pass  # the run that held the file has just ended
        try:
            self._check_config()
        except BaseException:
            self._free_lock()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the events and give the folder free."""
        if self._events is not None:
            with contextlib.suppress(OSError):
                self._events.close()
        self._free_lock()

    def _take_lock(self) -> bool:
        """Lock the folder; return False if the lock file was taken away meanwhile: such a lock is worth nothing."""
        try:
            self._lock = open(self.path / LOCK, "a+", encoding="utf-8")  # noqa: SIM115  held until the search ends
        except OSError as error:
            raise UsageError(f"cannot use run folder {self.path}: {error.strerror or error}") from error
        try:
            import fcntl
        except ImportError:  # not on this system: two runs in one folder are then the user's care
            return True
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            self._lock = None
            raise UsageError(
                f"run folder {self.path} is in use by another process; wait for it or choose another --out"
            ) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._lock.fileno()), os.stat(self.path / LOCK)):
                return True
        self._lock.close()
        self._lock = None
        return False

    def _free_lock(self) -> None:
        if self._lock is not None:
            # taken away while still locked, so that nobody locks a file that is about to go
            with contextlib.suppress(OSError):
                (self.path / LOCK).unlink()
            self._lock.close()
            self._lock = None

    def _check_config(self) -> None:
        file = self.path / CONFIG
        text = _as_text(self.config)
        if not file.exists():
            if (self.path / EVENTS).exists():
                raise UsageError(f"{self.path} has {EVENTS} but no {CONFIG}; choose another --out")
            write_text_atomic(file, text)
            return
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read {file}: {error}; choose another --out") from error
        mine = json.loads(text)
        different = _different(before, mine)
        if different and (not isinstance(before, dict) or _task_of(before) != _task_of(mine)):
            raise UsageError(
                f"{self.path} holds another run (different: {', '.join(different)}); "
                "choose another --out, or give the same arguments to go on with it"
            )
        if different:
            # whatever follows from other roles or bounds is said by them
            named = [k for k in different if k != "rows" or "columns" not in different]
            self.set_aside(f"held a search with other {' and other '.join(_SAID.get(k, k) for k in named)}")

    def set_aside(self, why: str) -> None:
        """Move what an earlier search wrote to a folder of its own in this one, and record the question anew.

        Args:
            why: What the folder did or was, for the sentence that is told.

        Raises:
            UsageError: The files cannot be moved.
        """
        if self._events is not None:
            self._events.close()
            self._events = None
        n = next(k for k in itertools.count(1) if not (self.path / f"{EARLIER}-{k}").exists())
        kept = self.path / f"{EARLIER}-{n}"
        try:
            kept.mkdir()
            # the question last: until it has gone, a kill leaves a folder that is set aside again
            for name in (*(f for f in _OF_A_SEARCH if f != CONFIG), CONFIG):
                if (self.path / name).exists():
                    os.replace(self.path / name, kept / name)
        except OSError as error:
            raise UsageError(f"could not set the search in {self.path} aside: {error.strerror or error}") from error
        write_text_atomic(self.path / CONFIG, _as_text(self.config))
        self.tell(f"{self.path} {why}; that is kept in {kept}, and a new search begins")

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what earlier runs in this folder recorded, up to the first damaged line."""
        file = self.path / EVENTS
        if not file.exists():
            return
        good = 0
        with open(file, "rb") as stream:
            for line in stream:
                try:
                    event = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n") or not isinstance(event, dict):
                    break
                good += len(line)
                yield event
        if good < file.stat().st_size:
            os.truncate(file, good)

    def record(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Append events and hand them to the operating system."""
        try:
            if self._events is None:
                self._events = open(self.path / EVENTS, "a", encoding="utf-8")  # noqa: SIM115  as long
            self._events.write("".join(json.dumps(e, ensure_ascii=False) + "\n" for e in events))
            self._events.flush()
        except OSError as error:
            raise UsageError(f"could not write {self.path / EVENTS}: {error.strerror or error}") from error

    def write_front(self, front: Sequence[Candidate]) -> None:
        """Write front.csv whole."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["complexity", "n_constants", "score", "train_nmse", "admissible", "origin", "expression"])
        for c in front:
            row = [c.complexity, c.n_constants, f"{c.score:.6g}", f"{c.train_nmse:.6g}", c.admissible, c.origin, c.text]
            writer.writerow(row)
        write_text_atomic(self.path / FRONT, buffer.getvalue())


class EventLog:
    """Writes events in bundles, so that the disk is asked once a second and not for every formula."""

    def __init__(self, folder: RunFolder | None) -> None:
        """Begin; without a folder nothing is written."""
        self._folder = folder
        self._waiting: list[Mapping[str, Any]] = []
        self._written = 0.0

    def note(self, event: Mapping[str, Any], seconds: float) -> None:
        """Take an event in; what waits is written every second, and before it grows long."""
        self._waiting.append(event)
        if seconds - self._written > _WRITE_EVERY_S or len(self._waiting) >= _MOST_WAITING:
            self.flush(seconds)

    def flush(self, seconds: float) -> None:
        """Write what waits."""
        # forgotten before they are written: Ctrl-C in between loses a second, but never writes a line twice
        events, self._waiting, self._written = self._waiting, [], seconds
        if self._folder is not None and events:
            self._folder.record(events)


def _as_text(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _different(before: object, mine: Mapping[str, Any]) -> list[str]:
    """Return the keys in which two questions differ; a key that an earlier version did not write says nothing."""
    if not isinstance(before, dict):
        return ["everything"]
    unknown = {k for k in _LATER_KEYS if k not in before}
    return [k for k in sorted({*before, *mine}) if k not in unknown and before.get(k) != mine.get(k)]


def _task_of(config: Mapping[str, Any]) -> object:
    task = config.get("task")
    return task.get("name") if isinstance(task, Mapping) else None


def columns_record(table: Table) -> dict[str, Any]:
    """Return targets, variables and group of a table, as config.json holds them."""
    return {
        "targets": [t.to_dict() for t in table.targets],
        "variables": [v.to_dict() for v in table.variables],
        "group": table.group_column,
    }


def default_folder(root: str | Path, name: str, table: Table, seed: int) -> Path:
    """Return where the results of a table go when nobody says: `ROOT/NAME-SEED`.

    Where that folder holds another target of the same file, or other columns, it is `NAME-TARGET-SEED`, and then
    `NAME-TARGET-VARIABLES-SEED`: the results of two questions lie side by side.
    """
    targets, variables = (
        re.sub(r"[^\w.-]+", "_", "-".join(c.column for c in columns))[:_LONGEST_NAME]
        for columns in (table.targets, table.variables)
    )
    folders = [Path(root) / f"{stem}-{seed}" for stem in (name, f"{name}-{targets}", f"{name}-{targets}-{variables}")]
    mine = _question(columns_record(table))
    return next((folder for folder in folders if _question_in(folder) in (None, mine)), folders[-1])


def _question(columns: Any) -> tuple[Any, ...] | None:
    """Return what is predicted from what, without bounds and directions."""
    try:
        targets = tuple(t["column"] for t in columns["targets"])
        variables = frozenset((v["column"], v["role"], v.get("log")) for v in columns["variables"])
        return (targets, variables, columns["group"])
    except (KeyError, TypeError, AttributeError):
        return None


def _question_in(folder: Path) -> tuple[Any, ...] | None:
    """Return what is predicted from what in a folder; None where nothing is, or nobody can say."""
    for file, key in ((CONFIG, "columns"), (LAW_FILE, None)):
        try:
            data = json.loads((folder / file).read_text(encoding="utf-8"))
            found = _question({**data, "group": data.get("group_column")} if key is None else data.get(key))
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        if found is not None:
            return found
    return None


def summary_of(path: str | Path) -> dict[str, Any]:
    """Return what a run folder says of its search: config, seconds, formulas tried; nothing where it says nothing."""
    folder = Path(path)
    found: dict[str, Any] = {}
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        with (folder / EVENTS).open("rb") as events:
            events.seek(max(0, events.seek(0, os.SEEK_END) - _TAIL_BYTES))
            last = json.loads(events.read().splitlines()[-1])
        found = {"config": dict(config), "seconds": float(last["t"]), "tried": int(last["i"]) + 1}
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError):  # moved, cut short, another's file
        return found
    return found


def to_event(index: int, candidate: Candidate, n_fits: int, seconds: float) -> dict[str, Any]:
    """Return one line of events.jsonl; what groups are pulled to is decided for finalists, which are not written."""
    event: dict[str, Any] = {
        "i": index,
        "t": round(seconds, 3),
        "fits": n_fits,
        "origin": candidate.origin,
        "expression": {t: e.text for t, e in candidate.expressions.items()},
        **({"shared": {t: list(c) for t, c in candidate.shared.items()}} if candidate.shared else {}),
        **({"island": candidate.island} if candidate.island else {}),
        **({"lineage": list(candidate.lineage)} if candidate.lineage else {}),
        "key": candidate.key,
        "status": candidate.status,
    }
    if candidate.ok:
        event |= {
            "score": candidate.score,
            "folds": _numbers(candidate.fold_errors),
            "train_nmse": candidate.train_nmse,
            "admissible": candidate.admissible,
            "reasons": list(candidate.reasons),
            **({} if candidate.within_bounds else {"within_bounds": False}),
            "constants": candidate.constants,
        }
        if len(candidate.judgements) > 1:
            event["targets"] = [
                {
                    "score": j.score,
                    "folds": _numbers(j.fold_errors),
                    "train_nmse": j.train_nmse,
                    "admissible": j.admissible,
                    "reasons": list(j.reasons),
                    **({} if j.within_bounds else {"within_bounds": False}),
                }
                for j in candidate.judgements
            ]
    return event


def from_event(event: Mapping[str, Any], table: Table) -> tuple[Candidate, int]:
    """Rebuild a candidate and its number of fits from a line of events.jsonl.

    Raises:
        SldError: The line does not belong to this table.
    """
    try:
        texts: Mapping[str, str] = event["expression"]
        expressions = {t.column: table.parse(texts[t.column], j) for j, t in enumerate(table.targets)}
        ok = event["status"] == OK
        candidate = Candidate(
            expressions=expressions,
            key=event["key"],
            origin=event["origin"],
            judgements=tuple(_judgement(j) for j in event.get("targets", [event])) if ok else (),
            shared={t: tuple(c) for t, c in event.get("shared", {}).items()},
            status=event["status"],
            constants=event["constants"] if ok else {},
            island=event.get("island", 0),
            lineage=tuple(event.get("lineage", ())),
        )
        return candidate, int(event["fits"])
    except (KeyError, TypeError, ValueError) as error:
        raise SldError(f"{EVENTS} has a line that does not fit this task: {error!r}") from error


def _numbers(errors: Sequence[float]) -> list[float | None]:
    return [e if math.isfinite(e) else None for e in errors]  # JSON has no NaN


def _errors(numbers: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if e is None else e for e in numbers)


def _judgement(event: Mapping[str, Any]) -> Judgement:
    return Judgement(
        event["score"], _errors(event["folds"]), event["train_nmse"], event["admissible"], tuple(event["reasons"]),
        within_bounds=event.get("within_bounds", True),
    )  # fmt: skip
