"""Benchmark tasks from the hub, or from a copy on disk, as task folders on this machine; no rows ship with `sld`.

A suite is a folder of cards in `suites/`. A task folder is written elsewhere and moved into place when it is complete,
so that no half of one is ever seen; one that is complete and up to date is left alone, so the same command goes on
after an interruption.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sld.board.suites import hub, shards
from sld.board.suites.hub import FolderSource, HubSource, Source
from sld.board.suites.shards import SourceError, SplitRows
from sld.core.errors import SldError, UsageError, suggest
from sld.core.numbers import exact
from sld.core.version import __version__
from sld.data.bundled import ORIGIN_FILE
from sld.data.card import CARD_FILE, Card

SUITES = Path(__file__).parent
README_FILE = "README.md"
SCHEMA = 1  # of origin.json

_FULL = (errno.ENOSPC, errno.EDQUOT)
_STALE_S = 3600.0  # a temporary folder this old belongs to no process that still writes
_TRIES = 5  # of moving a folder into place
_MAX_MEGABYTES = 256  # of one file; those of a benchmark are far smaller
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class SuiteTask:
    """A card, and where the hub has its rows."""

    card: Card
    config: str
    train_rows: int
    test_rows: int
    aliases: Mapping[str, Sequence[str]]

    @property
    def configs(self) -> tuple[str, ...]:
        """Names that the configuration may go by."""
        return (self.config, self.config.removesuffix("_scaling_law"), self.card.name)


@dataclass(frozen=True)
class Suite:
    """A benchmark."""

    name: str
    title: str
    dataset: str
    paper: str
    tasks: tuple[SuiteTask, ...]


@dataclass(frozen=True)
class Fetched:
    """A task folder that is there now: `state` is "fetched", or "unchanged" when it was there already."""

    name: str
    path: Path
    state: str
    n_rows: int
    n_held_out_rows: int
    revision: str


@dataclass(frozen=True)
class Origin:
    """Where the rows of a suite come from.

    Attributes:
        folder: With a copy of the data set, instead of the hub.
        endpoint: URL of the hub or a mirror.
        revision: Branch, tag or commit of the data set; the main branch if not given.
        token: The user's token for the hub; None for the one its client has from a login, False for none.
        cache: Where the hub's client keeps what it downloads; None for its own place.
    """

    folder: str | Path | None = None
    endpoint: str | None = None
    revision: str | None = None
    token: str | bool | None = None
    cache: str | Path | None = None


@dataclass(frozen=True)
class _Located:
    """The files of a task's two splits."""

    source: Source
    train: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        return (*self.train, *self.test)


def suites() -> tuple[str, ...]:
    """Return the names of the suites."""
    return tuple(sorted(path.parent.name for path in SUITES.glob("*/suite.toml")))


def load_suite(name: str) -> Suite:
    """Return a suite by its name; raises UsageError with a suggestion."""
    if name not in suites():
        raise UsageError(suggest(name, suites(), kind="suite"))
    folder = SUITES / name
    about = tomllib.loads((folder / "suite.toml").read_text(encoding="utf-8"))
    tasks = tuple(_suite_task(folder / f"{task}.toml") for task in about["tasks"])
    return Suite(name, about["title"], about["dataset"], about["paper"], tasks)


def _suite_task(path: Path) -> SuiteTask:
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    place = data.pop("hub")
    card = Card.from_dict(data, path.name)
    return SuiteTask(card, place["config"], place["train_rows"], place["test_rows"], place.get("aliases", {}))


def fetch(
    suite: str,
    *,
    to: str | Path,
    origin: Origin | None = None,
    force: bool = False,
    check_counts: bool = True,
    progress: Callable[[str], None] | None = None,
) -> list[Fetched]:
    """Write the tasks of a suite as folders below `to`.

    Args:
        suite: Name of the suite, e.g. "sldbench".
        to: Folder that the task folders go into; made if need be.
        origin: Where the rows come from; the main branch on the hub if not given.
        force: Write every task anew, over whatever is in its folder.
        check_counts: Refuse splits whose number of rows is not the benchmark's; False is for copies known to be split
            in another way.
        progress: Called with one line about what is being done.

    Returns:
        What is there now, task by task.

    Raises:
        UsageError: No such suite, folder or revision, or a folder in the way that was not fetched.
        SldError: The hub cannot be reached or refuses, a file is not as it must be, or the disk is full. Tasks that
            were finished before are there.
    """
    found = load_suite(suite)
    origin = origin or Origin()
    origin = replace(origin, token=hub.checked_token(origin.token))
    say = progress or (lambda _: None)
    root = Path(to)
    if not force:
        for task in found.tasks:
            _refuse_foreign(root / task.card.name)
        if origin.folder is None and origin.revision is not None and _COMMIT.fullmatch(origin.revision):
            there = [_unchanged(task, root, origin.revision) for task in found.tasks]
            if all(there):  # a commit never changes: nothing to ask the hub
                return [task for task in there if task is not None]
    say(f"looking for {found.dataset if origin.folder is None else origin.folder}")
    places = _Places(found.dataset, origin)
    _make_folder(root)
    done: list[Fetched] = []
    wrong: list[str] = []
    try:
        for i, task in enumerate(found.tasks):
            say(f"{task.card.name} ({i + 1} of {len(found.tasks)})")
            try:
                done.append(_fetch_task(found, task, places, root, force=force, check_counts=check_counts))
            except SourceError as error:
                wrong.append(str(error))
    except SldError as error:
        if not done:
            raise
        kept = f"; {len(done)} of {len(found.tasks)} tasks are in {root}, and the same command goes on from there"
        raise type(error)(f"{error}{kept}") from error
    if wrong:
        more = f"; and {len(wrong) - 2} more" if len(wrong) > 2 else ""
        raise SldError(f"{len(wrong)} of {len(found.tasks)} tasks were not fetched: {'; '.join(wrong[:2])}{more}")
    return done


class _Places:
    """Where a data set may be: what was asked for, and beside a main branch the one that the hub converts."""

    def __init__(self, dataset: str, origin: Origin) -> None:
        self._dataset, self._origin = dataset, origin
        folder, revision = origin.folder, origin.revision
        if folder is not None and revision is not None:
            raise UsageError("a folder has no revisions; give --revision or --from, not both")
        if folder is not None:
            self._sources: list[Source] = [FolderSource.open(Path(folder))]
        else:
            if revision is not None and not revision.strip():
                raise UsageError("--revision wants a branch, tag or commit, got nothing")
            hub.need_pyarrow()
            self._sources = [self._open(revision)]
        self._further = folder is None and revision is None

    def __iter__(self) -> Iterator[Source]:
        yield from tuple(self._sources)
        if self._further:
            self._further = False
            try:
                self._sources.append(self._open(hub.CONVERTED))
            except UsageError:  # nothing was converted
                return
            yield self._sources[-1]

    def _open(self, revision: str | None) -> Source:
        cache = None if self._origin.cache is None else Path(self._origin.cache)
        return HubSource.open(
            self._dataset, revision=revision, endpoint=self._origin.endpoint, token=self._origin.token, cache=cache
        )

    def locate(self, task: SuiteTask) -> _Located:
        """Return the files of a task; raises SourceError that says what was looked for."""
        lacking = ""
        for source in self:
            train, test = (shards.find_shards(source.files, task.configs, split) for split in ("train", "test"))
            if train and test:
                return _Located(source, train, test)
            split = "test" if train else "train"
            wanted = shards.LAYOUTS_IN_WORDS.format(config=task.config, split=split)
            shown = ", ".join(list(source.files)[:3]) + (", ..." if len(source.files) > 3 else "")
            lacking = lacking or f"{source.name} has no {split} split of {task.config}: wanted {wanted}; " + (
                f"it has {shown}" if shown else "it is empty"
            )
        raise SourceError(lacking)


def _fetch_task(
    suite: Suite, task: SuiteTask, places: _Places, root: Path, *, force: bool, check_counts: bool
) -> Fetched:
    located = places.locate(task)
    there = None if force else _unchanged(task, root, located.source.revision, _listed_digests(located))
    if there and (not check_counts or (there.n_rows, there.n_held_out_rows) == (task.train_rows, task.test_rows)):
        return there
    card = task.card
    for path in located.paths:
        if (size := located.source.files[path].size) > _MAX_MEGABYTES * 10**6:
            raise SourceError(f"{path} has {size / 1e6:.0f} MB, which no table of {suite.name} has")
    local = {path: located.source.get(path) for path in located.paths}
    splits = [
        shards.read_rows(
            [(local[path], path) for path in paths],
            card,
            aliases=task.aliases,
            n_rows=n_rows if check_counts else None,
        )
        for paths, n_rows in ((located.train, task.train_rows), (located.test, task.test_rows))
    ]
    try:
        files = {path: {"sha256": hub.sha256_of(at), "size": at.stat().st_size} for path, at in local.items()}
    except OSError as error:
        raise SourceError(f"could not read {error.filename}: {error.strerror or error}") from error
    _write_task(root / card.name, _contents(suite, task, located, splits, files))
    train, test = splits
    return Fetched(card.name, root / card.name, "fetched", train.n_rows, test.n_rows, located.source.revision)


def _listed_digests(located: _Located) -> dict[str, str] | None:
    """Return the sha256 of every file as far as it can be known without downloading; None when it cannot."""
    if isinstance(located.source, FolderSource):
        try:
            return {path: hub.sha256_of(located.source.get(path)) for path in located.paths}
        except OSError:  # reading it for its rows will say what is wrong
            return None
    digests = {path: located.source.files[path].sha256 for path in located.paths}
    return digests if all(digests.values()) else None


def _contents(
    suite: Suite,
    task: SuiteTask,
    located: _Located,
    splits: Sequence[SplitRows],
    files: Mapping[str, Mapping[str, Any]],
) -> dict[str, bytes]:
    """Return every file of a task folder."""
    card = task.card
    assert card.held_out_file is not None
    texts = {
        CARD_FILE: card.to_toml(),
        card.train_file: splits[0].to_csv(card),
        card.held_out_file: splits[1].to_csv(card),
        README_FILE: _readme(suite, task, located.source, splits, files),
    }
    contents = {name: text.encode("utf-8") for name, text in texts.items()}
    origin = {
        "schema": SCHEMA,
        "suite": suite.name,
        "dataset": suite.dataset if located.source.revision else None,
        "revision": located.source.revision or None,
        "files": files,
        "n_rows": splits[0].n_rows,
        "n_held_out_rows": splits[1].n_rows,
        "written": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
    }
    contents[ORIGIN_FILE] = (json.dumps(origin, indent=2) + "\n").encode("utf-8")
    return contents


def _readme(
    suite: Suite, task: SuiteTask, source: Source, splits: Sequence[SplitRows], files: Mapping[str, Mapping[str, Any]]
) -> str:
    card = task.card
    train, test = splits
    if source.revision:
        place = f"the data set `{suite.dataset}` of the Hugging Face hub, at revision `{source.revision}`"
    else:
        place = f"a folder with a copy of `{suite.dataset}`"
    lines = [
        f"# {card.name}",
        "",
        f"{card.title}. One row: {card.row}.",
        "",
        f"Written by `sld tasks fetch {suite.name}` (sld {__version__}). The card is part of sld, the rows are not:",
        f"they are those of {place},",
        "all rows of the two splits, in their order, the card's columns only.",
        "",
        "| file | bytes | sha256 |",
        "|---|---|---|",
        *(f"| `{path}` | {about['size']} | `{about['sha256']}` |" for path, about in files.items()),
        "",
        f"Licence of the rows: {card.licence}.",
        "",
        "## Split",
        "",
        f"{train.n_rows} training rows and {test.n_rows} held-out rows: {card.extrapolation}.",
        "",
        "| column | training rows | held-out rows |",
        "|---|---|---|",
        *(f"| `{name}` | {_span(train, name)} | {_span(test, name)} |" for name in train.columns),
        "",
        "## Scores",
        "",
        "As the benchmark counts: R² = 1 − MSE / variance over the held-out rows of all groups together, the mean over",
        "targets where there are several; a prediction that is not finite fails the task and counts as −1. `sld score`",
        "shows the mean of R² within groups beside it, since groups that differ in level flatter the first number.",
        f"At most {card.max_constants} constants per group and target.",
        "",
        "## Known defects",
        "",
        *(f"- {note}" for note in card.notes),
        "",
        "## Sources",
        "",
        f"- benchmark: {suite.paper}",
        f"- runs: {card.paper['authors']} {card.paper['year']}, arXiv:{card.paper['arxiv']}",
    ]
    return "\n".join(lines) + "\n"


def _span(rows: SplitRows, column: str) -> str:
    values = rows.columns[column]
    low, high = float(values.min()), float(values.max())
    return exact(low) if low == high else f"{exact(low)} to {exact(high)}"


def _unchanged(task: SuiteTask, root: Path, revision: str, digests: Mapping[str, str] | None = None) -> Fetched | None:
    """Return the task as it is on disk, if it is whole and of this card, and of this revision or these files."""
    folder = root / task.card.name
    origin = _whole(folder)
    if origin is None:
        return None
    if origin["written"].get(CARD_FILE) != hashlib.sha256(task.card.to_toml().encode("utf-8")).hexdigest():
        return None
    had = {path: about["sha256"] for path, about in origin["files"].items()}
    if digests != had and not (revision and origin["revision"] == revision):
        return None
    return Fetched(
        task.card.name, folder, "unchanged", origin["n_rows"], origin["n_held_out_rows"], origin["revision"] or ""
    )


def _whole(folder: Path) -> dict[str, Any] | None:
    """Return what `origin.json` says if every file that it names is as it was written, else None."""
    try:
        origin = json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8"))
        written = origin["written"]
        if origin["schema"] != SCHEMA or {CARD_FILE, README_FILE} - set(written):
            return None
        if not all(
            Path(name).name == name and hub.sha256_of(folder / name) == wanted for name, wanted in written.items()
        ):
            return None
        counts = [origin[key] for key in ("n_rows", "n_held_out_rows")]
        known = all(isinstance(about["sha256"], str) for about in origin["files"].values())
        return dict(origin) if known and all(isinstance(n, int) for n in counts) and "revision" in origin else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # absent, or edited into something else
        return None


def _refuse_foreign(folder: Path) -> None:
    """Refuse to replace what fetching did not write."""
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"could not read {folder}: {error.strerror or error}; choose another folder with --to"
        ) from error
    way_out = "move it away, choose another folder with --to, or replace it with --force"
    if ORIGIN_FILE not in names:
        if names:
            raise UsageError(f"{folder} is there and was not fetched; {way_out}")
        return
    try:
        known = set(json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8"))["written"])
    except (OSError, ValueError, KeyError, TypeError):
        known = {CARD_FILE, README_FILE, "train.csv", "held_out.csv"}
    if others := sorted(names - known - {ORIGIN_FILE}):
        raise UsageError(f"{folder} holds files of somebody else ({', '.join(others[:3])}); {way_out}")


def _make_folder(root: Path) -> None:
    with _writing(root):
        root.mkdir(parents=True, exist_ok=True)
        for path in root.iterdir():
            if re.fullmatch(r"\..+\.\d+\.(tmp|old)", path.name) and _age(path) > _STALE_S:
                shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # the process that wrote it has finished
        return 0.0


def _write_task(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write a task folder whole or not at all."""
    from sld.data.task import load_task

    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        with _writing(folder.parent):
            temporary.mkdir()
            for name, data in contents.items():
                with open(temporary / name, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
        try:
            load_task(temporary).held_out()
        except UsageError as error:
            raise SourceError(str(error).replace(temporary.name, folder.name)) from error
        with _writing(folder.parent):
            _move_into_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_into_place(temporary: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    for tries_left in reversed(range(_TRIES)):
        try:
            if os.path.lexists(folder):
                os.rename(folder, old)
            os.rename(temporary, folder)
            break
        except BaseException as error:
            if os.path.lexists(old) and not os.path.lexists(folder):
                os.rename(old, folder)
            if not isinstance(error, OSError) or not tries_left:
                raise
            time.sleep(0.02)  # another process may be at the same place
    if old.is_symlink():
        old.unlink()
    else:
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or place
        if error.errno in _FULL:
            raise SldError(
                f"the disk of {place} is full; free some space or choose another folder with --to"
            ) from error
        raise UsageError(
            f"could not write {where}: {error.strerror or error}; choose another folder with --to"
        ) from error
