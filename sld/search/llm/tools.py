"""What the agent may call: `TOOLS`, one row for each, with a name, a sentence, a schema and a function.

A tool is a function from where the search stands (`ToolContext`) and the arguments, which are as `properties` says, to
text. It sees the training rows of the search and what the search has found, and nothing else. What the prompt says of
the tools, and what is checked of the arguments, is made from the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sld.core.errors import suggest
from sld.data.splits import Fold
from sld.data.table import Table
from sld.laws.catalogue import load_catalogue, match
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.selection import distinct
from sld.search.llm.dialogue import Waiting
from sld.search.llm.digest import along, digest, rows
from sld.search.llm.looks import Look, compared, diagnosed, swayed
from sld.search.llm.prompt import describe
from sld.search.llm.replies import (
    START,
    START_OF_GROUP,
    Idea,
    ParsedReply,
    Rejected,
    by_target,
    parse_reply,
    proposal_of,
    shared_in,
    start_in,
    tidy,
)
from sld.search.proposing.asynchronous import SearchState

MAX_ANSWER = 4000  # characters: the answers of a whole turn stay below what is sent again of earlier ones
_MAX_ROWS = 40  # of a slice, as in the prompt
_MAX_LAWS = 15  # of the catalogue in one answer; words narrow it
FINALS = "propose_finals"  # how a conversation ends; the prompt names it
_KINDS = {  # what JSON's types are in Python
    "string": (str,),
    "object": (dict,),
    "array": (list,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
}


class ToolError(Exception):
    """What the model did wrong, for the model."""


@dataclass(frozen=True)
class ToolContext:
    """What a tool may look at.

    Attributes:
        table: The training rows.
        state: Where the search stands.
        tried: The model's own candidates by text.
        origin: Of the model's proposals.
        max_constants: Limit per group and target.
        folds: How the rows are split to be judged.
    """

    table: Table
    state: SearchState
    tried: Mapping[str, Candidate]
    origin: str
    max_constants: int
    folds: Sequence[Fold] = ()


@dataclass(frozen=True)
class ToolResult:
    """What a tool did, where that is more than text.

    Attributes:
        text: The answer; None where it is the judgement of the one proposal.
        proposals: Formulas to be judged.
        parsed: What the transcript lists.
        ends: The conversation ends.
        n_fits: Local fits that it took, which the model pays for.
    """

    text: str | None
    proposals: Sequence[Waiting] = ()
    parsed: ParsedReply | None = None
    ends: bool = False
    n_fits: int = 0


Answer = Callable[[ToolContext, Mapping[str, Any]], str | ToolResult]


@dataclass(frozen=True)
class Tool:
    """One thing that the model may call.

    Attributes:
        name: As the model calls it.
        about: One or two sentences for the model.
        properties: JSON schema of each argument; no patterns, since some servers drop a tool that has one.
        answer: Takes the context and the checked arguments; raises ToolError for what the model did wrong.
        required: Arguments that must be given.
        advice: What it is for, in the sentence of the prompt that says how to work; "" is not mentioned.
        fits: It fits formulas, and is not run while the model has no fits left.

    Examples:
        A tool that counts the training rows::

            def count_rows(context: ToolContext, given: Mapping[str, Any]) -> str:
                return f"{context.table.n_rows} rows"

            Tool("count_rows", "How many training rows there are.", {}, count_rows)
    """

    name: str
    about: str
    properties: Mapping[str, Any]
    answer: Answer
    required: Sequence[str] = ()
    advice: str = ""
    fits: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as chat completions have it."""
        parameters = {
            "type": "object",
            "properties": dict(self.properties),
            "required": list(self.required),
            "additionalProperties": False,
        }
        function = {"name": self.name, "description": self.about, "parameters": parameters}
        return {"type": "function", "function": function}

    def arguments(self, text: str) -> dict[str, Any]:
        """Return the arguments of a call; raises ToolError where they are not what the tool takes."""
        try:
            given = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError):
            raise ToolError(f"the arguments of {self.name} are not JSON: {text[:80]!r}") from None
        if not isinstance(given, dict):
            raise ToolError(f"the arguments of {self.name} must be an object, got {text[:80]!r}")
        for key in given:
            if key not in self.properties:
                raise ToolError(f"{self.name}: {suggest(str(key)[:60], list(self.properties), kind='argument')}")
        for key in self.required:
            if key not in given:
                raise ToolError(f"{self.name} needs {key!r}")
        for key, value in given.items():
            wanted = self.properties[key]["type"]
            # a bool is an int to Python
            if not isinstance(value, _KINDS[wanted]) or (isinstance(value, bool) and wanted != "boolean"):
                raise ToolError(f"{self.name}: {key!r} must be of type {wanted}, got {json.dumps(value)[:60]}")
        return given


def tool_named(name: str) -> Tool:
    """Return a tool; raises ToolError with a suggestion."""
    if name not in TOOLS:
        raise ToolError(suggest(name[:60], list(TOOLS), kind="tool"))
    return TOOLS[name]


def schemas() -> tuple[dict[str, Any], ...]:
    """Return all tools as chat completions have them."""
    return tuple(tool.schema for tool in TOOLS.values())


def advice() -> str:
    """Return what the tools are for, as the prompt says it."""
    return ", ".join(tool.advice for tool in TOOLS.values() if tool.advice)


def describe_data(context: ToolContext, given: Mapping[str, Any]) -> str:
    """Return a slice of the training rows."""
    table, group = context.table, given.get("group", "")
    keep = np.ones(table.n_rows, dtype=np.bool_)
    if group:
        if group not in table.groups:
            raise ToolError(suggest(group[:60], table.groups, kind="group"))
        keep &= table.group_index == table.groups.index(group)
    for name, ends in given.get("where", {}).items():
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


def try_expression(context: ToolContext, given: Mapping[str, Any]) -> ToolResult:
    """Have a formula judged, to the end however bad it is; the answer is what came of it."""
    expression = by_target(given["expression"], [t.column for t in context.table.targets])
    idea = Idea(expression, shared=shared_in(given), start=start_in(given))
    found = proposal_of(idea, context.table, origin=context.origin, max_constants=context.max_constants)
    if isinstance(found, Rejected):
        raise ToolError(f"{found.text or repr(found.text)}: {found.why}")
    return ToolResult(None, [Waiting(found, idea.text, fully=True)])


def show_residuals(context: ToolContext, given: Mapping[str, Any]) -> str:
    """Return residuals along a variable, of a formula that was judged or of the best."""
    table, state, variable, expression = context.table, context.state, given["variable"], given.get("expression", "")
    symbols = {v.column: v.symbol for v in table.variables} | {s: s for s in table.symbols}
    if variable not in symbols:
        raise ToolError(suggest(variable[:60], table.symbols, kind="variable"))
    candidate = _judged(context, expression) if expression else state.hall.best
    if candidate is None:
        raise ToolError("nothing has been judged yet")
    parts = [along(candidate, table, symbols[variable], j) for j in range(min(4, len(table.targets)))]
    return "\n".join([candidate.text, *parts])


def _judged(context: ToolContext, expression: str) -> Candidate:
    """Return the candidate with this formula, as it is written or as the grammar reads it; raises ToolError."""
    hall = context.state.hall
    held = (*context.tried.values(), *hall.ranked(), *hall.front())
    text = tidy(expression)
    candidate = next((c for c in held if c.text == text), None)
    if candidate is not None:
        return candidate
    idea = Idea(by_target(expression, [t.column for t in context.table.targets]))
    found = proposal_of(idea, context.table, origin=context.origin, max_constants=context.max_constants)
    if isinstance(found, Rejected):
        raise ToolError(f"{found.text or repr(found.text)}: {found.why}")
    # groups may have been made to share what the formula does not say
    candidate = next((c for c in held if found.key in (c.key, c.key.partition(" ~ ")[0])), None)
    if candidate is None:
        raise ToolError(f"{text[:100]} was not judged or fell out of the list; call try_expression first")
    return candidate


def _target_and_group(context: ToolContext, given: Mapping[str, Any]) -> tuple[int, str]:
    """Return number and name of what is asked about: the first target, and the group with the most rows, if unsaid."""
    table = context.table
    columns = [t.column for t in table.targets]
    target, group = given.get("target", ""), given.get("group", "")
    if target and target not in columns:
        raise ToolError(suggest(target[:60], columns, kind="target"))
    if group and group not in table.groups:
        raise ToolError(suggest(group[:60], table.groups, kind="group"))
    most = table.groups[int(np.argmax(np.bincount(table.group_index, minlength=len(table.groups))))]
    return columns.index(target) if target else 0, group or most


def _looked(look: Callable[[], Look]) -> ToolResult:
    """Return what a look at formulas brings; raises ToolError where a formula cannot be fitted again."""
    with np.errstate(all="ignore"):
        try:
            found = look()
        except (OverflowError, ValueError, np.linalg.LinAlgError):
            raise ToolError("the formula cannot be fitted again in other ways") from None
    return ToolResult(found.text, n_fits=found.n_fits)


def compare(context: ToolContext, given: Mapping[str, Any]) -> ToolResult:
    """Return where and by how much two judged formulas differ."""
    first, second = (_judged(context, given[name]) for name in ("first", "second"))
    target, group = _target_and_group(context, given)
    if first.key == second.key:
        raise ToolError("both are the same formula; name two that differ")
    return _looked(lambda: compared(first, second, context.table, context.folds, target, group))


def sensitivity(context: ToolContext, given: Mapping[str, Any]) -> ToolResult:
    """Return how a judged formula moves when it is fitted in other ways."""
    candidate = _judged(context, given["expression"])
    target, group = _target_and_group(context, given)
    return _looked(lambda: swayed(candidate, context.table, target, group))


def diagnose(context: ToolContext, given: Mapping[str, Any]) -> ToolResult:
    """Return what the training rows say against a judged formula."""
    candidate = _judged(context, given["expression"])
    target, group = _target_and_group(context, given)
    return _looked(lambda: diagnosed(candidate, context.table, target, group))


def published_laws(context: ToolContext, given: Mapping[str, Any]) -> str:
    """Return laws of the catalogue over the table's variables, those with all the words only."""
    table, wanted = context.table, given.get("words", "").casefold().split()
    lines = []
    for law in (law for law in load_catalogue() if law.proposed):
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


def show_best(context: ToolContext, _given: Mapping[str, Any]) -> str:
    """Return the front, and others that behave differently."""
    state = context.state
    front = state.hall.front()
    if not front:
        return "nothing has been judged yet"
    others = [c for c in distinct(state.hall.ranked(), 10) if c.key not in {f.key for f in front}]
    lines = [f"{state.index} formulas tried; budget left: {state.left}", "best of each size:"]
    lines += [f"- {describe(c)}" for c in front[-10:]]
    return "\n".join([*lines, *(["others:"] if others else []), *(f"- {describe(c)}" for c in others[:6])])


def propose_finals(context: ToolContext, given: Mapping[str, Any]) -> ToolResult:
    """Take the final proposals; the conversation ends where one of them can be read."""
    text = json.dumps(given, ensure_ascii=False)
    parsed = parse_reply(text, context.table, origin=context.origin, max_constants=context.max_constants)
    answer = f"{len(parsed.proposals)} taken"
    if parsed.rejected:
        answer += "; not taken: " + "; ".join(f"{r.text}: {r.why}" for r in parsed.rejected[:8])
    if not parsed.proposals:
        return ToolResult(f"error: no proposal could be read; {answer}", parsed=parsed)
    return ToolResult(answer, [Waiting(proposal, idea.text) for proposal, idea in parsed.proposals], parsed, ends=True)


def judgement(candidate: Candidate, outcome: str) -> str:
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


_FORMULA = {"type": "string", "description": "In the grammar, e.g. E + A*N**-a"}
_START = {
    "type": "array",
    "items": {"type": "object", "properties": dict(START_OF_GROUP), "required": list(START)},
    "description": "Where the fit may begin, for exponents and scales that you know about, of one group or of all; "
    "optional",
}
_SHARED = {"type": "array", "items": {"type": "string"}, "description": "Constants with one value for all groups"}
_PROPOSAL = {
    "type": "object",
    "properties": {"expression": _FORMULA, "shared": _SHARED, "start": _START, "reason": {"type": "string"}},
    "required": ["expression", "reason"],
}

_WHOSE = {
    "target": {"type": "string", "description": "The first one if left out"},
    "group": {"type": "string", "description": "The one with the most rows if left out"},
}
_TRIED = {"type": "string", "description": "A formula that was tried or stands in the list of the best"}

# one row a tool, in the order in which the model reads of them
TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
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
            describe_data,
            advice="look at the data",
        ),
        Tool(
            "try_expression",
            "Fit a formula and judge it: score (lower is better), error on unseen rungs, fit error, checks, constants.",
            {"expression": _FORMULA, "shared": _SHARED, "start": _START},
            try_expression,
            ["expression"],
            advice="try formulas",
        ),
        Tool(
            "show_residuals",
            "Measured minus fitted along a variable, for a formula that was tried or stands in the list of the best.",
            {"variable": {"type": "string"}, "expression": {**_FORMULA, "description": "The best one if left out"}},
            show_residuals,
            ["variable"],
            advice="look at their residuals",
        ),
        Tool(
            "compare",
            "Where and by how much two judged formulas differ: on each fold, within the data, beyond the largest run.",
            {"first": _TRIED, "second": _TRIED, **_WHOSE},
            compare,
            ["first", "second"],
            advice="compare two that do well",
            fits=True,
        ),
        Tool(
            "sensitivity",
            "How the constants of a judged formula, and its prediction beyond the data, move under other losses and "
            "without the top rungs.",
            {"expression": _TRIED, **_WHOSE},
            sensitivity,
            ["expression"],
            advice="see what moves them",
            fits=True,
        ),
        Tool(
            "diagnose",
            "What the training rows say against a judged formula: each rung predicted by the others, and the runs that "
            "move the answer.",
            {"expression": _TRIED, **_WHOSE},
            diagnose,
            ["expression"],
            advice="see which rungs and runs they hang on",
            fits=True,
        ),
        Tool(
            "published_laws",
            "Published laws written over the variables of this table.",
            {"words": {"type": "string", "description": "Words to look for in name, formula and category; optional"}},
            published_laws,
            advice="compare with published laws",
        ),
        Tool("show_best", "The best formulas of the search so far, yours and the engine's.", {}, show_best),
        Tool(
            FINALS,
            "Your final proposals; the engine goes on with them, and your work ends.",
            {"proposals": {"type": "array", "items": _PROPOSAL}},
            propose_finals,
            ["proposals"],
        ),
    )
}
