"""From what a language model says to proposals: JSON, JSON somewhere in text, or plain lines, and always the grammar.

Whatever comes is text from a stranger. It is cut to a size, searched for formulas, and each formula is read by the
grammar of `sld.formula.expression`, which evaluates nothing. What is not a formula is counted with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sld.core.errors import GrammarError
from sld.data.table import Table
from sld.fit.kernel import linear_constants
from sld.formula.expression import MAX_LITERAL, MAX_NAME, Expression
from sld.laws.form import Form
from sld.search.judging.judge import Proposal

MAX_IDEAS = 64  # of one reply, four times what is asked for (`WANTED`)
MAX_TEXT = 200_000  # characters of a reply that are looked at: it comes from a stranger, and parsing costs time
MAX_EXPRESSION = 1000  # characters: `MAX_NODES` nodes with long names have fewer
MAX_NODES = 80  # longer formulas take long to judge and are never chosen
EFFORT = 3  # times the usual starting points, without a start: good constants of an engine's formula are its parents'
_MAX_REASON = 200  # characters: one line was asked for
_MAX_SHARED = 40  # names: no formula that passes has as many constants
_MAX_START = 1000  # some constants in each of many groups
_MAX_LOOKS = 200  # places in a text where JSON is looked for: each costs a pass over the rest

_SHARED = {"type": "array", "items": {"type": "string"}}
START: Mapping[str, Any] = {"name": {"type": "string"}, "value": {"type": "number"}}
START_OF_GROUP: Mapping[str, Any] = {**START, "group": {"type": "string"}}


def schema(table: Table) -> Mapping[str, Any]:
    """Return the JSON schema of a reply; with groups a proposal also says which constants they share, and starts whose.

    Every property is required and no other allowed, since some servers take no other schema.
    """
    groups = len(table.groups) > 1
    properties: dict[str, Any] = {
        "expression": {"type": "string"},
        "start": {"type": "array", "items": _object(START_OF_GROUP if groups else START)},
        "reason": {"type": "string"},
    }
    if groups:
        properties["shared"] = _SHARED
    return _object({"proposals": {"type": "array", "items": _object(properties)}})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


# what models call a formula, a reason and a list of formulas, whatever the schema said; the first one found counts
_FORMULA = ("expression", "formula", "law", "equation", "form", "expr")
_WHY = ("reason", "why", "rationale", "comment", "explanation")
_LISTS = ("proposals", "expressions", "formulas", "laws", "candidates", "forms", "finals", "equations")


@dataclass(frozen=True)
class Idea:
    """One formula as it was written, or one per target column, and why.

    Attributes:
        shared: Constants that groups have in common.
        start: Where to start from, by group and constant; group "" speaks for all.

    Examples:
        >>> Idea("E + A*N**-a", shared=("a",), start={"": {"a": 0.3}}).text
        'E + A*N**-a (shared: a)'
    """

    expression: str | Mapping[str, str]
    reason: str = ""
    shared: tuple[str, ...] = ()
    start: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The formula on one line."""
        each = {"": self.expression} if isinstance(self.expression, str) else self.expression
        text = "; ".join(f"{t}: {e}" if t else e for t, e in each.items())
        return text + (f" (shared: {', '.join(self.shared)})" if self.shared else "")


@dataclass(frozen=True)
class Rejected:
    """A formula that could not be taken, and why."""

    text: str
    why: str


@dataclass(frozen=True)
class ParsedReply:
    """What a reply came to.

    Attributes:
        proposals: What can be judged, with the idea behind each.
        rejected: What cannot.
        ignored: Ideas beyond the most that one reply may have, and repetitions.
    """

    proposals: tuple[tuple[Proposal, Idea], ...] = ()
    rejected: tuple[Rejected, ...] = ()
    ignored: int = 0


def parse_reply(text: str, table: Table, *, origin: str, max_constants: int) -> ParsedReply:
    r"""Return the proposals in a reply.

    Examples:
        >>> from sld.data.table import table_from
        >>> table = table_from({"N": [1, 10, 100], "loss": [3, 2, 1.5]}, target="loss", scale="N")
        >>> parsed = parse_reply("- `E + A*N**-a`\n- `A*sin(N)`", table, origin="llm:m", max_constants=8)
        >>> [idea.text for _, idea in parsed.proposals]
        ['E + A*N**-a']
        >>> parsed.rejected[0].why
        "unknown function 'sin' at column 3; did you mean 'min'?"
    """
    ideas, ignored = ideas_in(text, table)
    proposals: dict[str, tuple[Proposal, Idea]] = {}
    rejected = []
    for idea in ideas:
        found = proposal_of(idea, table, origin=origin, max_constants=max_constants)
        if isinstance(found, Rejected):
            rejected.append(found)
        elif found.key in proposals:
            ignored += 1
        else:
            proposals[found.key] = (found, idea)
    return ParsedReply(tuple(proposals.values()), tuple(rejected), ignored)


def ideas_in(text: str, table: Table) -> tuple[list[Idea], int]:
    """Return the first distinct ideas in a text, and how many more there were."""
    text = re.sub(r"<think>.*?(</think>|$)", " ", text[:MAX_TEXT], flags=re.DOTALL)
    found: dict[str, Idea] = {}
    n = 0
    columns = [t.column for t in table.targets]
    for idea in _from_json(text, columns):
        n += 1
        if len(found) < MAX_IDEAS:
            found.setdefault(idea.text, idea)
    if not n:
        for idea in _from_lines(text, columns):
            n += 1
            if len(found) < MAX_IDEAS:
                found.setdefault(idea.text, idea)
    return list(found.values()), n - len(found)


def proposal_of(idea: Idea, table: Table, *, origin: str, max_constants: int) -> Proposal | Rejected:
    """Return what can be judged, or why it cannot."""
    forms = []
    for j, target in enumerate(table.targets):
        expression = idea.expression
        if isinstance(expression, Mapping):
            if target.column not in expression:
                return Rejected(_line(idea.text), f"no formula for target {target.column!r}")
            expression = expression[target.column]
        if len(expression) > MAX_EXPRESSION:
            return Rejected(_line(expression), f"{len(expression)} characters; at most {MAX_EXPRESSION}")
        try:
            parsed = table.parse(expression, j)
        except GrammarError as error:
            return Rejected(_line(expression), str(error))
        if parsed.complexity > MAX_NODES:
            return Rejected(_line(expression), f"{parsed.complexity} nodes; at most {MAX_NODES}")
        if not parsed.used_variables:
            return Rejected(_line(expression), f"it uses none of the variables {', '.join(table.symbols)[:100]}")
        if not parsed.constants:
            return Rejected(_line(expression), "it has no constants to fit")
        if len(parsed.constants) > max_constants:
            return Rejected(_line(expression), f"{len(parsed.constants)} constants; at most {max_constants}")
        shared = _shareable(idea.shared, parsed, table)
        start = _start(idea.start, parsed, table.groups)
        form = Form(parsed, origin, shared=shared, start=start, needs_simplify=True)
        forms.append(replace(form, warm_start=True) if start else replace(form, start_multiplier=EFFORT))
    return Proposal.of(forms)


def _shareable(names: Sequence[str], expression: Expression, table: Table) -> tuple[str, ...]:
    """Return which of the constants groups can have in common: shape, since linear ones are solved for each group."""
    if not names or len(table.groups) < 2:
        return ()
    linear = linear_constants(expression)[1]
    return tuple(c for c in expression.constants if c in names and c not in linear)


def _start(
    given: Mapping[str, Mapping[str, float]], expression: Expression, groups: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return where each group starts; empty where nothing is known of any."""
    common = given.get("", {})
    start = {}
    for group in groups:
        known = {**common, **given.get(group, {})}
        start[group] = {c: known[c] for c in expression.constants if c in known}
    return start if any(start.values()) else {}


def tidy(text: str) -> str:
    """Return a formula without what people and models wrap around it; the grammar has the last word."""
    text = _line(text, len(text)).strip("`$ ;,.")
    # "loss = ..." and "L(N, D) = ...": what stands left of the last equals sign names the target
    text = text.rpartition("=")[2].strip("`$ ;,.")
    text = re.sub(r"\b(?:np|numpy|math|torch)\.(?=[a-z])", "", text)
    text = re.sub(r"\bln\(", "log(", text)
    for wrong, right in (("^", "**"), ("·", "*"), ("×", "*"), ("−", "-")):
        text = text.replace(wrong, right)
    return text


def _from_json(text: str, columns: Sequence[str]) -> Iterator[Idea]:
    """Yield the ideas in every JSON value in a text; of a value that is cut off, those that are whole."""
    decoder = json.JSONDecoder()
    position, looks = 0, 0
    while looks < _MAX_LOOKS and (match := re.search(r"[{\[]", text[position:])):
        looks += 1
        start = position + match.start()
        value, end = _decoded(decoder, text, start)
        position = start + 1 if end is None else end
        if end is not None:
            yield from _from_value(value, columns)


def _decoded(decoder: json.JSONDecoder, text: str, start: int) -> tuple[Any, int | None]:
    try:
        return decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        pass
    # trailing commas: the commonest mistake
    window = text[start : start + 20_000]
    mended = re.sub(r",(\s*[}\]])", lambda m: " " + m[1], window)
    if mended == window:
        return None, None
    try:
        value, end = decoder.raw_decode(mended)
    except (ValueError, RecursionError):
        return None, None
    return value, start + end  # a comma became a blank, so that lengths agree


def _from_value(value: Any, columns: Sequence[str], depth: int = 0) -> Iterator[Idea]:
    if depth > 4:
        return
    if isinstance(value, list):
        for item in value:
            if not isinstance(item, str):
                yield from _from_value(item, columns, depth + 1)
            elif _like_a_formula(tidy(item)):
                yield Idea(tidy(item))
    elif isinstance(value, dict):
        yield from _from_object(value, columns, depth)


def _from_object(value: Mapping[str, Any], columns: Sequence[str], depth: int) -> Iterator[Idea]:
    formula = next((value[k] for k in _FORMULA if k in value), None)
    reason = next((value[k] for k in _WHY if isinstance(value.get(k), str)), "")
    more = (_line(reason, _MAX_REASON), shared_in(value), start_in(value))
    if isinstance(formula, str) and formula.strip():
        yield Idea(by_target(formula, columns), *more)
    elif isinstance(formula, dict) and all(isinstance(e, str) for e in formula.values()):
        yield Idea({str(t): tidy(e) for t, e in formula.items()}, *more)
    elif formula is not None and not isinstance(formula, str):
        yield from _from_value(formula, columns, depth + 1)
    else:
        for key in _LISTS:
            if key in value:
                yield from _from_value(value[key], columns, depth + 1)


def shared_in(value: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names under "shared", whatever else stands there."""
    named = value.get("shared")
    if not isinstance(named, list):
        return ()
    return tuple(dict.fromkeys(n.strip()[:MAX_NAME] for n in named[:_MAX_SHARED] if isinstance(n, str) and n.strip()))


def start_in(value: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the values under "start" by group ("" speaks for all), whether they come as a list or as an object."""
    given = value.get("start")
    entries: list[tuple[Any, Any, Any]] = []
    if isinstance(given, dict):
        for name, v in given.items():
            entries += [(name, x, group) for group, x in v.items()] if isinstance(v, dict) else [(name, v, "")]
    elif isinstance(given, list):
        entries = [(i.get("name"), i.get("value"), i.get("group", "")) for i in given if isinstance(i, dict)]
    found: dict[str, dict[str, float]] = {}
    for name, v, group in entries[:_MAX_START]:
        if isinstance(name, str) and _is_usable(v):
            found.setdefault(group if isinstance(group, str) else "", {})[name.strip()] = float(v)
    return found


def _is_usable(value: object) -> bool:
    # a bool is an int to Python; an int may be too large for a float
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_LITERAL


def by_target(text: str, columns: Sequence[str]) -> str | dict[str, str]:
    """Split "a: formula; b: formula" where a and b are target columns."""
    parts = [part.partition(":") for part in text.split(";") if part.strip()]
    names = [name.strip(" `") for name, colon, _ in parts if colon]
    if len(names) == len(parts) and names and all(n in columns for n in names):
        return {name.strip(" `"): tidy(formula) for name, _, formula in parts}
    return tidy(text)


def _from_lines(text: str, columns: Sequence[str]) -> Iterator[Idea]:
    for line in text.splitlines():
        bare = re.sub(r"^\s*(?:[-*•]\s+|\(?\d{1,3}[.):]\s+)+", "", line).strip()
        quoted = re.search(r"`([^`]{3,})`", bare)
        formula = quoted[1] if quoted else re.split(r"\s+(?:#|//|--|—|:)\s+", bare, maxsplit=1)[0]
        if _like_a_formula(tidy(formula)):
            reason = bare.replace(formula, "").strip(" `:#/—-")
            yield Idea(by_target(formula, columns), _line(reason, _MAX_REASON))


def _like_a_formula(text: str) -> bool:
    """Whether a line is worth showing to the grammar: an operator, and no two words side by side."""
    return bool(re.search(r"[*/+(-]", text)) and not re.search(r"[^\W\d]\w*\s+[^\W\d]\w*", text)


def _line(text: str, most: int = 120) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * most + 100]).split())
    return line if len(line) <= most else line[: most - 1] + "…"
