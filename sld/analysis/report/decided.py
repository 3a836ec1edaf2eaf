"""What was decided with a law, as the page tells it: heading, text, picture and table, from the result of any verb."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sld.core.errors import SldError, UsageError
from sld.core.numbers import short

_MOST_ROWS = 60  # of a table on the page
_MOST_COLUMNS = 14
_MOST_TABLES = 6  # of a document
_MOST_TEXT = 20_000  # characters
_SIZE, _DPI = (7.0, 4.4), 100  # of a picture, inches
_SAYING = ("summary", "sentence", "verdict")  # keys of a command's document that are sentences
_REMARKS = ("notes", "warnings")
_NO_CONTENT = ("title", "command", "law", "run_dir", "out", "files", *_SAYING, *_REMARKS)


@dataclass(frozen=True)
class Tabled:
    """One table of a decision.

    Attributes:
        name: What its rows are; empty where the decision has no other table.
        head: Names of its columns.
        rows: The cells.
    """

    name: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Decided:
    """One decision.

    Attributes:
        title: Its heading.
        text: What was decided, laid out as on a terminal.
        tables: Its numbers.
        picture: An address that holds the picture itself (`data:`); empty without one.
    """

    title: str
    text: str = ""
    tables: tuple[Tabled, ...] = ()
    picture: str = ""


def decided(given: object) -> Decided:
    """Return a decision from a result with `summary()` (`to_frame()`, `plot()`), or from the document of a command.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(given, Decided):
        return given
    if isinstance(given, Mapping):
        return _from_document(given)
    summary = getattr(given, "summary", None)
    if not callable(summary):
        wanted = "a decision has a method summary(), or is the JSON document of a command"
        raise UsageError(f"{wanted}; got {type(given).__name__}")
    said = summary()
    to_frame = getattr(given, "to_frame", None)
    frame = to_frame() if callable(to_frame) else None
    if not isinstance(said, str):  # a DataFrame: the table itself
        said, frame = "", said
    title, text = " ".join(_words(type(given).__name__)), said[:_MOST_TEXT].strip("\n")
    return Decided(title, text, _of_frame(frame), _picture(given))


def _of_frame(frame: Any) -> tuple[Tabled, ...]:
    if frame is None or not len(frame):
        return ()
    head = tuple(str(name) for name in frame.columns[:_MOST_COLUMNS])
    some = frame.iloc[:_MOST_ROWS, :_MOST_COLUMNS]
    return (Tabled("", head, tuple(tuple(_cell(value) for value in row) for row in some.itertuples(index=False))),)


def _picture(given: object) -> str:
    """Return what a result draws of itself on axes; nothing where it draws nothing."""
    plot = getattr(given, "plot", None)
    if not callable(plot):
        return ""
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    with matplotlib.style.context("default"):
        figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        try:
            plot(figure.subplots())
        except SldError:  # there is nothing to draw; the text says what there is
            return ""
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _from_document(document: Mapping[str, Any]) -> Decided:
    title = str(document.get("title") or document.get("command") or "Decision")
    lines = [str(document[key]) for key in _SAYING if isinstance(document.get(key), str)]
    lines += [str(note) for key in _REMARKS for note in _list(document.get(key)) if isinstance(note, str)]
    text = "\n".join(lines)[:_MOST_TEXT]
    if tables := tuple(_tables(document))[:_MOST_TABLES]:
        return Decided(title, text, tables if len(tables) > 1 else (replace(tables[0], name=""),))
    facts = tuple(_flat({key: value for key, value in document.items() if key not in _NO_CONTENT}))
    if not facts and not text:
        raise UsageError("a decision's document says nothing: wanted what a command printed with --json")
    return Decided(title, text, (Tabled("", ("what", "value"), facts[:_MOST_ROWS]),) if facts else ())


def _tables(document: Mapping[str, Any], prefix: str = "") -> Iterator[Tabled]:
    """Yield the lists of records of a document, each as a table, and those inside its records after it.

    Which of them holds the answer is not known here, so all are told: the scores as well as the classes of items.
    """
    for key, value in document.items():
        rows = _list(value)
        if not rows or not all(isinstance(row, Mapping) for row in rows):
            continue
        name = f"{prefix}{str(key).replace('_', ' ')}"
        flat = [dict(_flat(row)) for row in rows[:_MOST_ROWS]]
        head = tuple(dict.fromkeys(of for row in flat for of in row))[:_MOST_COLUMNS]
        if head:
            yield Tabled(name, head, tuple(tuple(row.get(of, "-") for of in head) for row in flat))
        inner: dict[str, list[Any]] = {}
        for row in rows:
            for of, records in row.items():
                inner.setdefault(str(of), []).extend(_list(records))
        yield from _tables(inner, f"{name}: ")


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield names and values, those of inner mappings with both names; a value with its interval is one."""
    for key, value in document.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            if "value" in value and set(value) <= {"value", "low", "high"}:
                ends = [value.get("low"), value.get("high")]
                between = f" ({_cell(ends)})" if all(end is not None for end in ends) else ""
                yield name, f"{_cell(value['value'])}{between}"
            else:
                yield from _flat(value, f"{name} ")
        elif value not in (None, "", [], ()) and not any(isinstance(item, Mapping) for item in _list(value)):
            yield name, _cell(value)


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return short(value, 5) if math.isfinite(value) else "-"
    if isinstance(value, list | tuple):
        return " to ".join(_cell(v) for v in value) if len(value) == 2 else ", ".join(_cell(v) for v in value)
    item = getattr(value, "item", None)  # a number of numpy
    return _cell(item()) if callable(item) and not isinstance(value, int) else str(value)


def _words(name: str) -> Iterator[str]:
    """Yield the words of a class's name: OptimalAllocation is "Optimal", "allocation"."""
    begin = 0
    for k in range(1, len(name) + 1):
        if k == len(name) or name[k].isupper():
            yield name[begin:k] if begin == 0 else name[begin:k].lower()
            begin = k
