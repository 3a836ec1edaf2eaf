"""What the commands print: results on stdout as text or as one JSON document, progress and remarks on stderr.

Nothing here writes a control character unless the stream is a terminal, and nothing uses colour.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from sld.core.numbers import short

_NARROWEST = 24  # columns; what is narrower wraps at this and lets the terminal break lines
_UNBROKEN = 1_000_000  # no terminal: lines stay whole for grep and for other programs
_SECONDS_BETWEEN_LINES = 10.0  # of progress, where there is no terminal to redraw
_SECONDS_BETWEEN_FRAMES = 0.2


def use_utf8() -> None:
    """Make stdout and stderr take any name, whatever the locale says."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace")


def is_terminal(stream: TextIO) -> bool:
    """Whether lines can be redrawn."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def columns(stream: TextIO | None = None) -> int:
    """Return how wide text may be: the terminal's columns, or without end where there is no terminal."""
    stream = stream or sys.stdout
    if "COLUMNS" not in os.environ and not stream.isatty():
        return _UNBROKEN
    return max(_NARROWEST, shutil.get_terminal_size().columns)


def say(text: str = "") -> None:
    """Print a paragraph of the result, broken at spaces to the terminal's width; further lines are indented."""
    indent = " " * (len(text) - len(text.lstrip()))
    print(fill(text.strip(), indent, indent + "  "))


def fill(text: str, first: str = "", rest: str = "") -> str:
    """Return `text` broken at spaces; names, formulas and paths stay whole."""
    wrapped = textwrap.fill(
        text,
        columns(),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped or first.rstrip()


def say_json(document: object) -> None:
    """Print the one JSON document of a command."""
    print(json.dumps(plain(document), ensure_ascii=False, indent=2, allow_nan=False))


def remark(text: str) -> None:
    """Print a line for the reader, not part of the result, on stderr; nobody reading it is no reason to stop."""
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr)


def notes(texts: Iterable[str]) -> None:
    """Print what a reader should know beside the result, on stderr."""
    for text in texts:
        remark(f"note: {text}")


def plain(value: Any) -> Any:
    """Return `value` in JSON's own types; what is not finite becomes None, since JSON has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "tolist"):  # arrays and numbers of numpy
        return plain(value.tolist())
    return str(value)


def say_table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), indent: str = "  ") -> None:
    """Print rows in columns; the last column is broken, and where even that does not fit, rows become blocks."""
    everything = [header, *rows] if header else [*rows]
    if not rows:
        return
    widths = [max(len(row[k]) for row in everything) for k in range(len(everything[0]))]
    room = columns() - len(indent)
    fixed = sum(width + 2 for width in widths[:-1])
    if fixed + min(widths[-1], 20) <= room:
        for row in everything:
            start = indent + "".join(cell.ljust(width + 2) for cell, width in zip(row[:-1], widths, strict=False))
            print(fill(row[-1], start, " " * len(start)).rstrip())
        return
    for row in rows:
        print(fill(row[0], indent, indent + "  "))
        for k, cell in enumerate(row[1:], start=1):
            label = f"{header[k]} " if header and header[k] else ""
            if cell:
                print(fill(label + cell, indent + "  ", indent + "    "))


def shown(value: float | None, digits: int = 4) -> str:
    """Return a number for people, rounded to so many digits: 1600 and 1.28e5, as decisions write them."""
    return short(value, digits)


def duration(seconds: float) -> str:
    """Return a time for people."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


class ProgressLine:
    """Progress on stderr: one line redrawn on a terminal, elsewhere a line every ten seconds."""

    def __init__(self, title: str) -> None:
        """Look at stderr; the title is shown with the first state, so that a refusal stays one line."""
        self._title = title
        self._redraw = is_terminal(sys.stderr)
        self._last = time.monotonic() if not self._redraw else 0.0
        self._drawn = False

    def show(self, text: str) -> None:
        """Show the latest state, unless the last one is too fresh; a reader that has left does not stop the work."""
        with contextlib.suppress(BrokenPipeError):
            self._show(text)

    def _show(self, text: str) -> None:
        if self._title:
            remark(self._title)
            self._title = ""
        now = time.monotonic()
        if now - self._last < (_SECONDS_BETWEEN_FRAMES if self._redraw else _SECONDS_BETWEEN_LINES):
            return
        self._last = now
        if self._redraw:
            room = max(_NARROWEST, shutil.get_terminal_size().columns) - 1
            line = text if len(text) <= room else text[: room - 1] + "…"
            sys.stderr.write(f"\r\x1b[K{line}")
            self._drawn = True
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Wipe the line, so that what follows starts on a clean one."""
        if self._drawn:
            with contextlib.suppress(BrokenPipeError):
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
            self._drawn = False
