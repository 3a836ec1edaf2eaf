"""What a user asks of runs, read from text: `--summary min:eval/loss`, `--scale D=step*config.batch`.

    last:eval/loss               the last value; also first, min, max, mean, median
    mean(last 100):loss          over the last 100 points; `last 10%` for a share of them
    at(tokens=1e9):loss          where a counter has this value; between two logged points on the line through them
    final=last:eval/loss         the same, in a column `final`

A scale is a product of numbers and names: `step`, a metric (its value where the first summary was taken), a setting as
`config.NAME`, or a name that is either. Nothing else is read, so a text from outside cannot do more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact
from sld.data.collecting.counters import folded
from sld.data.numbers import number

Way = Literal["last", "first", "min", "max", "mean", "median", "at"]
STEP = "step"
CONFIG = "config."

_SUMMARY = re.compile(
    r"(?:(?P<name>[^\s:(),=]+)\s*=\s*)?(?P<way>\w+)\s*(?:\((?P<argument>[^()]*)\))?\s*:\s*(?P<metric>.+)"
)
_WINDOW = re.compile(r"last\s+(\d+(?:\.\d+)?)\s*(%?)")
_LISTED = 12  # names that a refusal shows: what a terminal holds in two lines
_AT = re.compile(r"([^=]+?)\s*=\s*(.+)")


@dataclass(frozen=True)
class Summary:
    """How a curve becomes one number.

    Attributes:
        metric: As the user wrote it.
        way: What is taken.
        column: Its column; empty for the metric's own name.
        window: Only the last so many points; a share of them where below 1.
        counter: With "at", what is to have the value `value`.
    """

    metric: str
    way: Way = "last"
    column: str = ""
    window: float | None = None
    counter: str = STEP
    value: float = 0.0

    @property
    def text(self) -> str:
        """How it is written."""
        argument = f"({self.counter}={exact(self.value)})" if self.way == "at" else ""
        if self.window is not None:
            argument = f"(last {exact(self.window)})" if self.window >= 1 else f"(last {100 * self.window:g}%)"
        return f"{self.way}{argument}:{self.metric}"


@dataclass(frozen=True)
class Scale:
    """A column that is a product.

    Attributes:
        column: Its name.
        factors: Numbers and names.
    """

    column: str
    factors: tuple[float | str, ...]

    @property
    def text(self) -> str:
        """How it is written."""
        return "*".join(exact(f) if isinstance(f, float) else f for f in self.factors)


def split_outside(text: str, by: str = ",") -> list[str]:
    """Return the parts of a list; what stands in brackets is not split.

    >>> split_outside("mean(last 100):loss,at(tokens=1e9):acc")
    ['mean(last 100):loss', 'at(tokens=1e9):acc']
    """
    parts, depth, current = [], 0, ""
    for c in text:
        depth += (c == "(") - (c == ")")
        if c == by and depth <= 0:
            parts.append(current)
            current = ""
        else:
            current += c
    return [part.strip() for part in (*parts, current) if part.strip()]


def read_summaries(texts: str | Iterable[str]) -> list[Summary]:
    """Read summaries, several in a text or several texts.

    >>> [s.text for s in read_summaries("min:eval/loss, mean(last 10%):train/loss")]
    ['min:eval/loss', 'mean(last 10%):train/loss']

    Raises:
        UsageError: A text is no summary.
    """
    given = [texts] if isinstance(texts, str) else list(texts)
    return [_summary(part) for text in given for part in _with_filters(split_outside(text))]


def _with_filters(parts: Sequence[str]) -> list[str]:
    """Put the names of filters back to the metrics of lm-eval that they belong to: gsm8k/exact_match,strict-match."""
    whole: list[str] = []
    for part in parts:
        if whole and "/" in whole[-1] and re.fullmatch(r"[a-z]+-[a-z-]+", part):
            whole[-1] += f",{part}"
        else:
            whole.append(part)
    return whole


def _summary(text: str) -> Summary:
    match = _SUMMARY.fullmatch(text)
    ways = get_args(Way)
    if match is None or (match["way"] not in ways and match["argument"] is None and match["name"] is None):
        name, equals, metric = text.partition("=")
        if ":" in text and (word := text.partition(":")[0]).isalpha() and len(word) < 8:
            raise UsageError(f"--summary {text}: {suggest(word, ways, kind='summary')}")
        return Summary(metric.strip(), column=name.strip()) if equals and metric.strip() else Summary(text.strip())
    way, argument, metric, column = match["way"], match["argument"], match["metric"].strip(), match["name"] or ""
    if way not in ways:
        raise UsageError(f"--summary {text}: {suggest(way, ways, kind='summary')}")
    if way == "at":
        at = _AT.fullmatch((argument or "").strip())
        if at is None:
            raise UsageError(f"--summary {text}: at needs a counter and its value, e.g. at(tokens=1e9):{metric}")
        return Summary(metric, "at", column, counter=at[1], value=_value(at[2], text))
    if argument is None:
        return Summary(metric, way, column)  # type: ignore[arg-type]
    window = _WINDOW.fullmatch(argument.strip())
    if window is None or not float(window[1]) > 0 or (window[2] and float(window[1]) >= 100):
        raise UsageError(f"--summary {text}: wanted (last 100) or (last 10%) after {way}, got ({argument})")
    size = float(window[1])
    if not window[2] and size != int(size):
        raise UsageError(f"--summary {text}: a number of points is whole, got {window[1]}")
    return Summary(metric, way, column, window=size / 100 if window[2] else size)  # type: ignore[arg-type]


def _value(text: str, where: str) -> float:
    try:
        return number(text)
    except ValueError:
        raise UsageError(f"--summary {where}: {text!r} is not a number") from None


def read_scales(texts: str | Iterable[str]) -> list[Scale]:
    """Read scales, several in a text or several texts.

    >>> read_scales("N=config.n_params, D=step*config.batch*1024")[1].factors
    ('step', 'config.batch', 1024.0)

    Raises:
        UsageError: A text is no `COLUMN=PRODUCT`.
    """
    given = [texts] if isinstance(texts, str) else list(texts)
    found = []
    for part in (part for text in given for part in split_outside(text)):
        column, equals, product = (word.strip() for word in part.partition("="))
        if not (column and equals and product):
            raise UsageError(f"--scale wants COLUMN=NAME, e.g. N=config.n_params, got {part!r}")
        found.append(Scale(column, tuple(_factor(f, part) for f in product.split("*"))))
    columns = [scale.column for scale in found]
    for column in columns:
        if columns.count(column) > 1:
            raise UsageError(f"--scale says two things of {column!r}")
    return found


def _factor(text: str, where: str) -> float | str:
    bare = text.strip()
    if not bare:
        raise UsageError(f"--scale {where}: a factor is missing beside a *")
    try:
        return number(bare) if bare[0].isdigit() or bare[0] in ".+" else bare
    except ValueError:
        return bare


def found_name(wanted: str, there: Sequence[str], kind: str) -> str:
    """Return the name that is meant: as it stands, by its last part, or without regard to case and separators.

    Raises:
        UsageError: There is none, or there are several.
    """
    if wanted in there:
        return wanted
    for same in (lambda n: n.endswith((f".{wanted}", f"/{wanted}")), lambda n: folded(n) == folded(wanted)):
        close = [name for name in there if same(name)]
        if len(close) == 1:
            return close[0]
        if close:
            raise UsageError(f"{kind} {wanted!r} may be {' or '.join(map(repr, close[:4]))}; name it in full")
    raise UsageError(unknown_name(wanted, there, kind))


def unknown_name(wanted: str, there: Sequence[str], kind: str) -> str:
    """Return that there is no such name, with names that are near and some of those that there are."""
    text = suggest(wanted, there, kind=kind)
    if not there:
        return f"{text}; these runs have no {kind}"
    if "there are" in text:
        return text
    more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    return f"{text} (there are {', '.join(there[:_LISTED])}{more})"
