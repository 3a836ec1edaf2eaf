"""How `sld tasks` looks."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.cli.output import remark, say, say_json, say_table, shown

if TYPE_CHECKING:
    from sld.board.suites.fetch import Fetched


def tasks(summaries: Sequence[Mapping[str, Any]], json: bool) -> None:
    """Show `sld tasks`."""
    if json:
        say_json({"tasks": summaries})
        return
    rows = []
    for task in summaries:
        name = task["name"] if task["origin"] == "bundled" else f"{task['name']} ({task['origin']})"
        if "problem" in task:
            remark(f"skipped {task['path']}: {task['problem']}")
            continue
        size = f"{task['n_rows']} + {task['n_held_out_rows'] or 0}"
        rows.append([name, size, _relation(task), task["title"]])
    say_table(rows, ("task", "rows + held out", "law", "what"), indent="")
    remark("\nsld tasks show NAME tells more\nsld discover NAME searches its law")


def _relation(task: Mapping[str, Any]) -> str:
    group = f" per {task['group']}" if task["group"] else ""
    return f"{_some(task['targets'])} from {_some(task['variables'])}{group}"


def _some(names: Sequence[str], most: int = 4) -> str:
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"


def task(details: Mapping[str, Any], json: bool) -> None:
    """Show `sld tasks show`."""
    if json:
        say_json(details)
        return
    card = details["card"]
    title = f": {card['title']}" if card.get("title") else ""
    say(f"{card['name']} (version {card['version']}){title}")
    held_out = details["n_held_out_rows"]
    say(f"  {details['n_rows']} training rows, {held_out if held_out is not None else 'no'} held-out rows")
    for label, key in (("one row", "row"), ("held out", "extrapolation"), ("cost of a row", "cost")):
        if card.get(key):
            say(f"  {label}: {card[key]}")
    print()
    _columns_and_groups(details)
    if card.get("law"):
        print()
        say("published laws (sld fit TASK --law NAME):")
        for law in card["law"]:
            say(f"  {law['name']}: {_formula_text(law['expression'])}")
    remarks = [*card.get("notes", ()), *details["notes"]]
    if remarks:
        print()
        say("notes:")
        for text in remarks:
            say(f"  {text}")
    print()
    for key in ("licence", "provenance"):
        if card.get(key):
            say(f"{key}: {card[key]}")


def _columns_and_groups(details: Mapping[str, Any]) -> None:
    card = details["card"]
    rows = [_column_row("variable", v, details["ranges"][v["column"]]) for v in card["variable"]]
    rows += [_column_row("target", t, details["ranges"][t["column"]]) for t in card["target"]]
    say_table(rows, ("column", "role", "from", "to", "values", "meaning"))
    if details["groups"]:
        print()
        meaning = f" ({card['group']['meaning']})" if card["group"].get("meaning") else ""
        say(f"groups by {card['group']['column']}{meaning}:")
        say_table([[name, f"{n} rows"] for name, n in details["groups"].items()])


def _column_row(kind: str, column: Mapping[str, Any], span: Mapping[str, Any]) -> list[str]:
    role = column.get("role", kind)
    unit = f" [{column['unit']}]" if column.get("unit") else ""
    notes = [column.get("meaning", "") + unit]
    if column.get("monotone"):
        notes.append(f"target {column['monotone']}")
    if column.get("convention"):
        notes.append(f"counted as {column['convention']}")
    if column.get("extrapolate"):
        notes.append("extrapolated")
    if kind == "target":
        notes.append(f"{column['better']} is better")
    text = "; ".join(note.strip() for note in notes if note.strip())
    return [column["column"], role, shown(span["min"]), shown(span["max"]), str(span["n_values"]), text]


def _formula_text(expression: str | Mapping[str, str]) -> str:
    if isinstance(expression, str):
        return expression
    if len(set(expression.values())) == 1:
        return next(iter(expression.values()))
    return "; ".join(f"{target}: {text}" for target, text in expression.items())


def problems(path: str, sentences: Sequence[str], json: bool) -> None:
    """Show `sld tasks check`."""
    if json:
        say_json({"path": path, "ok": not sentences, "problems": sentences})
        return
    for sentence in sentences:
        say(sentence)
    if not sentences:
        say(f"{path}: nothing wrong")


def fetched(tasks: Sequence[Fetched], suite: str, folder: Path, by_name: bool, json: bool) -> None:
    """Show `sld tasks fetch`."""
    if json:
        listed = [{**asdict(task), "path": str(task.path)} for task in tasks]
        say_json({"suite": suite, "folder": str(folder), "tasks": listed})
        return
    rows = [[task.name, f"{task.n_rows} + {task.n_held_out_rows}", task.state] for task in tasks]
    say_table(rows, ("task", "rows + held out", "now"), indent="")
    named = tasks[0].name if by_name else shlex.quote(str(tasks[0].path))
    remark(f"\nin {folder}; each has a README.md with its origin\nsld discover {named} searches its law")
