"""Columns that are called logarithms: `log10_N`, `logD`, `ln(tokens)`, `batch_log2`."""

from __future__ import annotations

import re
import shlex

from sld.core.numbers import short
from sld.data.card import Log

NO_LOG = "none"  # what `log` says of a column that is no logarithm, whatever it is called
LARGEST = 100.0  # of any number of this field, to any base in use; what is larger is a count

_BASES: dict[str, Log] = {"log10": "log10", "lg": "log10", "log2": "log2", "log": "log", "ln": "log"}
_JOINED = re.compile(r"([Ll]og10|[Ll]og2|[Ll]og|[Ll]n|[Ll]g)(?=[A-Z])|([Ll]og10|[Ll]og2)")  # logN, lnD, log10n


def base_of_name(name: str) -> Log | None:
    """Return the base that a column's name tells, "log" (natural) also where it only says log; None for other names.

    >>> base_of_name("log10_N"), base_of_name("lnD"), base_of_name("catalogue")
    ('log10', 'log', None)
    """
    words = [word.casefold() for word in re.split(r"[^0-9A-Za-z]+", name) if word]
    for word in (*words[:1], *words[-1:]):
        if word in _BASES:
            return _BASES[word]
    joined = _JOINED.match(name)
    return _BASES[(joined[1] or joined[2]).casefold()] if joined else None


def question(name: str, low: float, high: float) -> str | None:
    """Return what to ask about a column that is named like a logarithm and has values like one; None for others.

    As a plain scale variable `log10_N` would be raised to powers, and asked about at a thousand times its range.
    """
    base = base_of_name(name)
    if base is None or max(abs(low), abs(high)) > LARGEST:
        return None
    written = shlex.quote(name)
    either = f"--log {written} (to base 10), --log {written}=log (natural)"
    ways = either if base == "log" and "ln" not in name.casefold() else f"--log {written}={base}"
    return (
        f"column {name!r} looks like a logarithm (values {short(low, 4)} to {short(high, 4)}): "
        f"say {ways}, or --log {written}={NO_LOG} if it is none"
    )
