"""Sentences written for the command line, said to agents: they have arguments and tools where a person has options.

>>> for_agents("name the column to predict (--target) and the variables (--scale, ...); sld tasks lists all 7")
'name the column to predict (`target`) and the variables (`scale`, ...); list_tasks lists all 7'
>>> for_agents("no N keeps the cost at or below 3: hold a variable with --given, or limit it with --max")
'no N keeps the cost at or below 3: hold a variable with `given`, or limit it with `maximum`'
"""

from __future__ import annotations

import re
from typing import Any

# option to argument, where one is not the other with underscores
_ARGUMENTS = {
    "better": "higher_is_better", "fix": "fixed", "for": "goal", "max": "maximum", "min": "minimum", "pin": "pins",
    "rows": "data", "seq": "sequence", "set": "settings", "sweep": "swept", "try": "formulas",
}  # fmt: skip
# what only whoever starts the server can say
_OF_THE_SERVER = frozenset({"root", "http", "host", "time-limit", "memory", "at-once"})
_TOOLS = {
    "tasks": "list_tasks", "laws": "read_catalogue", "discover": "discover", "fit": "fit", "predict": "predict",
    "count": "count_parameters", "allocate": "allocate", "compare": "compare", "next": "plan_next_runs",
    "diagnose": "diagnose",
}  # fmt: skip
_COMMAND = re.compile(r"the command `[^`]*`")  # is meant as one, for the person behind the agent
_POINT = re.compile(r"(?<![^\s(])--for (?=[A-Za-z_]\w*=)")  # runs to predict, where other values are goals
_OPTION = re.compile(r"(?<![^\s(])--([a-z][a-z0-9-]*)")
_CALL = re.compile(rf"`?\bsld ({'|'.join(_TOOLS)})\b(?! (?:fetch|show|check))`?")


def for_agents(text: str) -> str:
    """Return a sentence with arguments in place of options, and tools in place of commands."""
    kept = _COMMAND.findall(text)
    parts = _COMMAND.split(text)
    said = [_CALL.sub(_tool, _OPTION.sub(_argument, _POINT.sub("`points` ", part))) for part in parts]
    return "".join(part + command for part, command in zip(said, [*kept, ""], strict=True))


def notes_for_agents(record: Any) -> Any:
    """Return a record in JSON's own types in which every sentence of a list of sentences is for agents."""
    if isinstance(record, dict):
        return {name: notes_for_agents(value) for name, value in record.items()}
    if isinstance(record, list):
        # names of columns and the like have no spaces, and stay as they are
        return [for_agents(v) if isinstance(v, str) and " " in v else notes_for_agents(v) for v in record]
    return record


def _argument(found: re.Match[str]) -> str:
    name = found[1]
    return found[0] if name in _OF_THE_SERVER else f"`{_ARGUMENTS.get(name, name.replace('-', '_'))}`"


def _tool(found: re.Match[str]) -> str:
    return _TOOLS[found[1]]
