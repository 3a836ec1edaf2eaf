"""The part of YAML that settings of runs are written in: nested keys with plain values.

Read are block mappings, quoted and plain scalars, and one-line lists (as text). Block lists, anchors and tags are
passed
over: they hold no number that a table of runs has a column for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from sld.data.importers.attempt import Cell, cell_of

_LINE = re.compile(
    r"(?P<indent> *)(?P<key>\"[^\"]*\"|'[^']*'|[^\s#:'\"\-\[\]{}][^:#]*?|-?\d[^:#]*?):(?:\s+(?P<value>.*))?"
)


def settings_of(text: str) -> dict[str, Cell]:
    r"""Return settings as `outer.inner` to value.

    >>> settings_of("model:\n  n_layer: 2\n  name: 'tiny'\nlr: 1.0e-3\n")
    {'model.n_layer': 2, 'model.name': 'tiny', 'lr': 0.001}
    """
    return dict(_pairs(text))


def _pairs(text: str) -> Iterator[tuple[str, Cell]]:
    above: list[tuple[int, str]] = []  # indents and keys that the line stands under
    for line in text.splitlines():
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            continue
        indent = len(match["indent"])
        while above and above[-1][0] >= indent:
            above.pop()
        key = match["key"].strip().strip("\"'")
        value = _without_comment((match["value"] or "").strip())
        if value == "" or value.startswith(("!", "&", "|", ">")):
            above.append((indent, key))
            if value == "":
                continue
            continue
        yield ".".join([*(name for _, name in above), key]), _scalar(value)


def _without_comment(value: str) -> str:
    if value[:1] in "\"'":
        return value
    return re.split(r"(?:^|\s)#", value, maxsplit=1)[0].strip()


def _scalar(value: str) -> Cell:
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        try:
            return str(json.loads(value))
        except ValueError:
            return value[1:-1]
    if value.startswith("'") and value.endswith("'") and len(value) > 1:
        return value[1:-1].replace("''", "'")
    if value.casefold() in (".nan", ".inf", "-.inf"):
        return cell_of(value.replace(".", ""))
    return None if value == "~" else cell_of(value)
