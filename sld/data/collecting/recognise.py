"""What is in the places that a user names: the readers of the registry are shown every folder, in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from sld.core.errors import DataError, UsageError, suggest
from sld.data.collecting.account import Remark, listed
from sld.data.importers.attempt import Folder, Unit
from sld.data.importers.registry import BY_NAME, READERS, Reader

_SKIPPED = {"__pycache__", "node_modules", ".git", ".venv", "venv"}
_MOST_FOLDERS = 200_000  # below one source; a whole disk was named by mistake


def recognised(
    sources: Sequence[str | Path], wanted: str | None, own: Collection[Path] = ()
) -> tuple[list[Unit], list[Remark]]:
    """Return what is to be read, each thing once.

    Args:
        sources: Files and folders, and addresses such as `wandb://ENTITY/PROJECT`.
        wanted: Name of the reader that is to be used; None for whichever recognises them.
        own: Files that an earlier collection wrote, which are no source.

    Raises:
        UsageError: There is no such reader.
        DataError: A source does not exist, or nothing in it is recognised.
        Unreachable: A source is on a server that does not answer.
    """
    readers: Sequence[Reader] = READERS
    if wanted is not None:
        if wanted not in BY_NAME:
            raise UsageError(f"--as: {suggest(wanted, BY_NAME, kind='source')}; there are {', '.join(BY_NAME)}")
        readers = [BY_NAME[wanted]]
    units: dict[tuple[str, str], Unit] = {}
    remarks: list[Remark] = []
    for source in sources:
        away = _away(str(source), wanted)
        if away is not None:
            for unit in away(str(source)):
                units.setdefault((unit.reader, unit.where), unit)
            continue
        path = Path(source)
        try:
            there = path.exists()
        except (OSError, ValueError):
            there = False
        if not there:
            raise DataError(_not_there(str(source)))
        found = _in_source(path, readers, wanted is not None, set(own), remarks)
        if not found:
            raise DataError(_nothing(path, wanted))
        for unit in found:
            root = path if path.is_dir() else path.parent
            units.setdefault((unit.reader, unit.where), replace(unit, root=root))
    return list(units.values()), remarks


def _away(source: str, wanted: str | None) -> Callable[[str], list[Unit]] | None:
    """Return what lists the runs at an address; None for a place on this machine."""
    for reader in READERS:
        if reader.listed is not None and (wanted == reader.name or source.startswith(reader.scheme)):
            if wanted not in (None, reader.name):
                raise UsageError(f"{source} is read as {reader.name}, and not as {wanted}; leave --as out")
            return reader.listed
    return None


def _not_there(source: str) -> str:
    schemes = " or ".join(f"{reader.scheme}..." for reader in READERS if reader.scheme)
    hint = f"; of what is not on this machine only {schemes} is read" if "://" in source else ""
    return f"no file or folder {source!r}{hint}"


def _in_source(
    path: Path, readers: Sequence[Reader], forced: bool, own: set[Path], remarks: list[Remark]
) -> list[Unit]:
    if not path.is_dir():
        if not path.is_file():
            raise DataError(f"{path} is neither a file nor a folder; a pipe cannot be collected from")
        folder = Folder(path.parent, (path.name,), (), forced)
        return _claimed(folder, readers)[0]
    sure = readers if forced else [reader for reader in readers if reader.sure]
    unsure = [] if forced else [reader for reader in readers if not reader.sure]
    seen: list[Folder] = []
    found: list[Unit] = []
    for folder in _walk(path, sure, forced, own, found, remarks):
        seen.append(folder)
    if not found:
        for folder in seen:
            found += _claimed(folder, unsure)[0]
    return found


def _walk(
    path: Path, readers: Sequence[Reader], forced: bool, own: set[Path], found: list[Unit], remarks: list[Remark]
) -> list[Folder]:
    """Return the folders below a source, and put what the readers claim into `found`."""
    seen: list[Folder] = []

    def failed(error: OSError) -> None:
        remarks.append(Remark("unreadable", "", f"could not look into {error.filename}: {error.strerror or error}"))

    for place, folders, files in os.walk(path, onerror=failed):
        folders[:] = sorted(n for n in folders if n not in _SKIPPED and not n.startswith("."))
        here = Path(place)
        # regular files only: to look into a pipe is to wait for ever
        there = (n for n in files if not n.startswith(".") and (here / n).is_file())
        names = tuple(sorted(n for n in there if here / n not in own and (here / n).resolve() not in own))
        # a forced reader takes any file of the folder by its name, not all that lies around
        folder = Folder(here, names, tuple(folders), forced=False)
        seen.append(folder)
        units, whole = _claimed(folder, readers)
        if forced and not units and here == path:
            units, whole = _claimed(Folder(here, names, tuple(folders), forced=True), readers)
        found += units
        if whole:
            folders[:] = []
        if len(seen) > _MOST_FOLDERS:
            raise DataError(f"{path} has more than {_MOST_FOLDERS} folders below it; name the one with the runs")
    return seen


def _claimed(folder: Folder, readers: Sequence[Reader]) -> tuple[list[Unit], bool]:
    """Return what readers know of a folder: a file goes to the first that claims it; and whether all of it is taken."""
    units: list[Unit] = []
    taken: set[Path] = set()
    for reader in readers:
        for unit in reader.claims(folder):
            if unit.base not in taken and not (taken & set(unit.files[:1])):
                units.append(unit)
                taken |= {unit.base, unit.files[0]}
                if unit.whole:
                    return units, True
    return units, False


def _nothing(path: Path, wanted: str | None) -> str:
    if wanted is not None:
        return f"{path} has nothing of {BY_NAME[wanted].title}"
    kinds = sorted({p.suffix or p.name for p in _some(path)})
    there = f"; it has {listed(kinds)} files" if kinds else "; it is empty" if path.is_dir() else ""
    return f"nothing in {path} is recognised{there}. Read are: {', '.join(BY_NAME)} (name one with --as)"


def _some(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = []
    for place, folders, files in os.walk(path):
        folders[:] = [n for n in folders if not n.startswith(".")]
        found += [Path(place) / n for n in files]
        if len(found) > 1000:
            break
    return found
