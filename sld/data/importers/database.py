"""SQLite files, opened for reading only: what can go wrong is one line."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sld.core.errors import DataError
from sld.data.importers.attempt import Folder, one_line

MAGIC = b"SQLite format 3\x00"
_PATIENCE = 5.0  # seconds to wait for a tracker that is writing
SUFFIXES = (".db", ".sqlite", ".sqlite3")


@contextlib.contextmanager
def opened(path: Path, what: str) -> Iterator[sqlite3.Connection]:
    """Open a database that is not written to; raises DataError for what is none, is damaged or stays locked."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    try:
        if not path.stat().st_size:
            raise DataError(f"{path} is empty; wanted a database of {what}")
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as connection:
            connection.text_factory = _text
            yield connection
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise DataError(f"{path} is locked by another program; try again when it is done") from None
        raise DataError(f"{path} is not a database of {what} that can be read: {one_line(error)}") from None
    except sqlite3.Error as error:
        raise DataError(f"{path} is a damaged database, or none: {one_line(error)}") from None
    except OSError as error:
        raise DataError(f"could not read {path}: {error.strerror or error}") from None
    except (UnicodeError, OverflowError, TypeError, ValueError) as error:  # cells of another type than their column's
        raise DataError(f"{path} holds what no database of {what} holds: {one_line(error)}") from None


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def databases(folder: Folder, *tables: bytes) -> list[Path]:
    """Return the databases of a folder that have tables of these names, told by their first pages."""
    found = []
    for name in folder.files:
        if (folder.forced or name.lower().endswith(SUFFIXES)) and folder.head(name).startswith(MAGIC):
            path = folder.path / name
            if folder.forced or all(has_table(path, table.decode()) for table in tables):
                found.append(path)
    return found


def has_table(path: Path, table: str) -> bool:
    """Whether a database has a table; not one that cannot be read."""
    try:
        with opened(path, "runs") as connection:
            query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
            return connection.execute(query, (table,)).fetchone() is not None
    except DataError:
        return False
