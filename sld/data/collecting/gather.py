"""The whole way from sources to a table with its account: recognise, read, resolve, tidy."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sld.core.errors import DataError
from sld.data.collecting.account import Account, Remark
from sld.data.collecting.cache import Cache
from sld.data.collecting.recognise import recognised
from sld.data.collecting.resolve import Run, resolve
from sld.data.collecting.tidy import STATUS, Tidy, Wanted, tidy
from sld.data.importers.attempt import Attempt, Unit, Unreachable, one_line
from sld.data.importers.registry import BY_NAME

Progress = Callable[[int, int, str], None]

# what a reader may meet in a damaged file: any assumption of it may be broken there
_BROKEN = (
    *(ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, ArithmeticError, RecursionError),
    *(struct.error, AssertionError, EOFError),
)


@dataclass(frozen=True)
class Gathered:
    """A table, the runs behind it, and the account.

    Attributes:
        table: The tidy table.
        runs: Every run that was read, also those that have no row.
        account: What was done.
        n_cached: How many things were taken from the cache.
        n_read: How many things were read.
    """

    table: Tidy
    runs: tuple[Run, ...]
    account: Account
    n_cached: int
    n_read: int


@dataclass(frozen=True)
class Where:
    """Where runs come from, and how they are joined.

    Attributes:
        sources: Files and folders.
        reader: The reader to use; None for whichever recognises them.
        join: The key by which runs of several sources are one.
        own: Files that are written by the collection itself.
    """

    sources: tuple[str | Path, ...]
    reader: str | None = None
    join: str | None = None
    own: tuple[Path, ...] = ()


def gather(where: Where, wanted: Wanted, cache: Cache, progress: Progress | None = None) -> Gathered:
    """Return the table of the runs in some places.

    Raises:
        UsageError: A name is nowhere.
        DataError: A place does not exist, or nothing in it can be read.
        Unreachable: A server does not answer; what it sent before is in the cache.
    """
    own = {path.resolve() for path in where.own}
    units, remarks = recognised(where.sources, where.reader, own)
    found: list[tuple[str, Attempt]] = []
    for k, unit in enumerate(units):
        if progress is not None:
            progress(k, len(units), unit.base.name)
        try:
            attempts = cache.get(unit)
            if attempts is None:
                attempts = _read(unit)
                cache.put(unit, attempts)
            found += [(unit.reader, attempt) for attempt in attempts]
        except DataError as error:
            remarks.append(Remark("unreadable", "", str(error)))
        except (Unreachable, KeyboardInterrupt) as error:
            if unit.address and cache.path is not None:  # what came over a network is not asked for twice
                cache.keep()
                if isinstance(error, Unreachable):
                    raise Unreachable(f"{error}; what was read is kept, and the next call goes on from there") from None
            raise
    if not found:
        more = f" (and {len(remarks) - 1} more)" if len(remarks) > 1 else ""
        raise DataError((remarks[0].sentence if remarks else f"{where.sources[0]} has no run in it") + more)
    runs, more_remarks = resolve(found, where.join)
    remarks += more_remarks
    table = tidy(runs, wanted, remarks)
    account = Account(
        n_runs=len(runs),
        n_attempts=len(found),
        n_rows=table.n_rows,
        sources=tuple(dict.fromkeys(BY_NAME[reader].title for reader, _ in found)),
        remarks=tuple(remarks),
        keeps_unfinished=wanted.keep_unfinished,
    )
    if not table.n_rows:
        raise DataError(f"no run is left for the table: {account.headline}")
    return Gathered(table, tuple(runs), account, cache.hits, len(units) - cache.hits)


def _read(unit: Unit) -> list[Attempt]:
    try:
        return BY_NAME[unit.reader].read(unit)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"could not read {error.filename or unit.base}: {error.strerror or error}") from None
    except _BROKEN as error:
        raise DataError(f"{unit.base} is damaged, or not what it looks like: {one_line(error)}") from None


def roles_of(table: Tidy) -> dict[str, str]:
    """Return column to what it is for: "target", "scale", "group", "run", "status", "step" or "setting"."""
    roles = {column: "setting" for column in table.kept}
    roles |= dict.fromkeys(table.scales, "scale") | dict.fromkeys(table.targets, "target")
    if table.group is not None:
        roles[table.group] = "group"
    return roles | {"run": "run", STATUS: "status"}
