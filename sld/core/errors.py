"""The errors of `sld`: each says what was wanted, what came, and the way out.

Library code raises these; the command line prints the message on one line and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SldError(Exception):
    """Any failure that `sld` can explain in one line."""

    exit_code = 1


class UsageError(SldError):
    """The caller asked for something that does not exist or does not fit (exit code 2)."""

    exit_code = 2


class DataError(UsageError):
    """A table or card cannot be used as it is; the message names file, row and column."""


class GrammarError(UsageError):
    """A formula is not in the grammar; `column` (1-based) points at the offending character."""

    def __init__(self, message: str, column: int | None = None) -> None:
        """Keep the column beside the message."""
        super().__init__(message)
        self.column = column


class SldWarning(UserWarning):
    """What speaks against an answer that is given all the same, such as a prediction beyond what the law supports."""


def suggest(wanted: str, known: Iterable[str], *, kind: str, listing: str = "") -> str:
    """Return "no KIND 'wanted'; did you mean ...?" with the closest of `known`, or all of a short list."""
    names = list(known)
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    if not close:
        folded = {name.casefold(): name for name in names}
        close = [folded[wanted.casefold()]] if wanted.casefold() in folded else []
    if close:
        hint = "; did you mean " + " or ".join(repr(name) for name in close) + "?"
    elif names and len(names) <= 12:
        hint = "; there are " + ", ".join(name if name.isprintable() else repr(name) for name in names)
    else:
        hint = ""
    return f"no {kind} {wanted!r}{hint}" + (f" ({listing})" if listing else "")
