"""What the agent may call: each tool has a schema, takes arguments that may be anything, and answers with text.

All of them see the training rows of the search and what the search has found, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sld.core.errors import suggest
from sld.data.table import Table
from sld.laws.catalogue import load_catalogue, match
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.selection import distinct
from sld.search.llm.digest import along, digest, rows
from sld.search.llm.prompt import describe
from sld.search.llm.replies import START, START_OF_GROUP, tidy
from sld.search.proposing.asynchronous import Moment

MAX_ANSWER = 4000  # characters
_MAX_ROWS = 40
_MAX_LAWS = 15


class ToolError(Exception):
    """What the model did wrong, for the model."""


def _tool(name: str, about: str, properties: Mapping[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": about, "parameters": parameters}}


_FORMULA = {"type": "string", "description": "In the grammar, e.g. E + A*N**-a"}
_START = {
    "type": "array",
    "items": {"type": "object", "properties": dict(START_OF_GROUP), "required": list(START)},
    "description": "Where the fit may begin, for exponents and scales that you know about, of one group or of all; "
    "optional",
}
_SHARED = {"type": "array", "items": {"type": "string"}, "description": "Constants with one value for all groups"}
TOOLS: tuple[dict[str, Any], ...] = (
    _tool(
        "describe_data",
        "Training rows of a slice: ranges, levels of groups, and up to 40 rows. All arguments are optional.",
        {
            "group": {"type": "string", "description": "Only this group"},
            "where": {
                "type": "object",
                "description": 'Ranges of variables or targets, e.g. {"N": [1e7, 1e9]}',
                "additionalProperties": {"type": "array", "items": {"type": "number"}},
            },
        },
    ),
    _tool(
        "try_expression",
        "Fit a formula and judge it: score (lower is better), error on unseen rungs, fit error, checks, constants.",
        {"expression": _FORMULA, "shared": _SHARED, "start": _START},
        ["expression"],
    ),
    _tool(
        "show_residuals",
        "Measured minus fitted along a variable, for a formula that was tried or stands in the list of the best.",
        {"variable": {"type": "string"}, "expression": {**_FORMULA, "description": "The best one if left out"}},
        ["variable"],
    ),
    _tool(
        "published_laws",
        "Published laws written over the variables of this table.",
        {"words": {"type": "string", "description": "Words to look for in name, formula and category; optional"}},
    ),
    _tool("show_best", "The best formulas of the search so far, yours and the engine's.", {}),
    _tool(
        "propose_finals",
        "Your final proposals; the engine goes on with them, and your work ends.",
        {
            "proposals": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "expression": _FORMULA,
                        "shared": _SHARED,
                        "start": _START,
                        "reason": {"type": "string"},
                    },
                    "required": ["expression", "reason"],
                },
            }
        },
        ["proposals"],
    ),
)
NAMES = tuple(t["function"]["name"] for t in TOOLS)


def arguments_of(name: str, text: str) -> dict[str, Any]:
    """Return the arguments of a call; raises ToolError where they are not what the tool takes."""
    if name not in NAMES:
        raise ToolError(suggest(name[:60], NAMES, kind="tool"))
    parameters = next(t for t in TOOLS if t["function"]["name"] == name)["function"]["parameters"]
    try:
        given = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise ToolError(f"the arguments of {name} are not JSON: {text[:80]!r}") from None
    if not isinstance(given, dict):
        raise ToolError(f"the arguments of {name} must be an object, got {text[:80]!r}")
    known = parameters["properties"]
    for key in given:
        if key not in known:
            raise ToolError(f"{name}: {suggest(str(key)[:60], known, kind='argument')}")
    for key in parameters["required"]:
        if key not in given:
            raise ToolError(f"{name} needs {key!r}")
    kinds = {"string": str, "object": dict, "array": list}
    for key, value in given.items():
        wanted = known[key]["type"]
        if not isinstance(value, kinds[wanted]):
            raise ToolError(f"{name}: {key!r} must be of type {wanted}, got {json.dumps(value)[:60]}")
    return given


def describe_data(table: Table, group: str = "", where: Mapping[str, Any] | None = None) -> str:
    """Return a slice of the training rows."""
    keep = np.ones(table.n_rows, dtype=np.bool_)
    if group:
        if group not in table.groups:
            raise ToolError(suggest(group[:60], table.groups, kind="group"))
        keep &= table.group_index == table.groups.index(group)
    for name, ends in (where or {}).items():
        names = (*table.symbols, *(v.column for v in table.variables), *(t.column for t in table.targets))
        if name not in names:
            raise ToolError(suggest(str(name)[:60], names, kind="column"))
        try:
            low, high = (float(e) for e in ends)
        except (TypeError, ValueError):
            raise ToolError(f"where: {name} needs [low, high], got {json.dumps(ends)[:60]}") from None
        values = table.column(name)
        keep &= (values >= low) & (values <= high)
    if not keep.any():
        raise ToolError("no training row lies there")
    part = table if keep.all() else table.take(keep)
    return digest(part, _MAX_ROWS) if keep.all() or group else rows(part, _MAX_ROWS)


def show_residuals(table: Table, moment: Moment, tried: Mapping[str, Candidate], variable: str, expression: str) -> str:
    """Return residuals along a variable; `tried` holds the model's own candidates by text."""
    symbols = {v.column: v.symbol for v in table.variables} | {s: s for s in table.symbols}
    if variable not in symbols:
        raise ToolError(suggest(variable[:60], table.symbols, kind="variable"))
    candidate = moment.hall.best
    if expression:
        text = tidy(expression)
        held = {c.text: c for c in (*moment.hall.ranked(), *moment.hall.front())}
        candidate = tried.get(text) or held.get(text)
        if candidate is None:
            raise ToolError(f"{text[:100]} was not judged or fell out of the list; call try_expression first")
    if candidate is None:
        raise ToolError("nothing has been judged yet")
    parts = [along(candidate, table, symbols[variable], j) for j in range(min(4, len(table.targets)))]
    return "\n".join([candidate.text, *parts])


def published_laws(table: Table, words: str = "") -> str:
    """Return laws of the catalogue over the table's variables, those with all the words only."""
    wanted = words.casefold().split()
    lines = []
    for law in load_catalogue():
        about = f"{law.id} {law.name} {law.category} {law.formula} {law.paper.title}".casefold()
        if not all(w in about for w in wanted):
            continue
        form = next(match(law, table.variables, own=table.own_share(0)), None)
        if form is not None:
            lines.append(f"- {form.expression.text} | {law.name} ({law.paper.authors}, {law.paper.year})")
    if not lines:
        return "no published law has these words and suits the variables of this table"
    more = f"\nand {len(lines) - _MAX_LAWS} more; give words to narrow it" if len(lines) > _MAX_LAWS else ""
    return "\n".join(lines[:_MAX_LAWS]) + more


def show_best(moment: Moment) -> str:
    """Return the front, and others that behave differently."""
    front = moment.hall.front()
    if not front:
        return "nothing has been judged yet"
    others = [c for c in distinct(moment.hall.ranked(), 10) if c.key not in {f.key for f in front}]
    lines = [f"{moment.index} formulas tried; budget left: {moment.left}", "best of each size:"]
    lines += [f"- {describe(c)}" for c in front[-10:]]
    return "\n".join([*lines, *(["others:"] if others else []), *(f"- {describe(c)}" for c in others[:6])])


def told(candidate: Candidate, outcome: str) -> str:
    """Return what `try_expression` answers."""
    if candidate.status != "ok":
        return f"{candidate.text}: {candidate.status}"
    lines = [describe(candidate), outcome]
    for reason in candidate.reasons[:3]:
        lines.append(f"fails beyond the data: {reason}")
    for column, by_group in list(candidate.constants.items())[:2]:
        for group, values in list(by_group.items())[:3]:
            numbers = ", ".join(f"{c} = {v:.4g}" for c, v in values.items())
            where = f"{column}, {group}" if len(by_group) > 1 else column
            lines.append(f"constants ({where}): {numbers}")
    return "\n".join(lines)
