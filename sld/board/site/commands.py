"""The commands that derive an entry's numbers again, quoted so that nothing in an entry can become a command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from sld.board.entry import Entry


@dataclass(frozen=True)
class Commands:
    """Lines to paste, and what they do."""

    explained: str
    lines: tuple[str, ...]


def reproduce(entry: Entry) -> Commands:
    """Return how to get an entry's scores again from its task's rows."""
    verify = "sld leaderboard verify"
    if entry.kind == "program":
        return Commands("This runs the program again, in its sandbox, and compares every score:", (verify,))
    if entry.constants_from != "refitted":
        return Commands("This predicts the held-out rows with its constants and compares every score:", (verify,))
    task = shlex.quote(str(entry.task["name"]))
    submit = f"sld submit {shlex.quote(_form(entry))} --task {task} --name {shlex.quote(entry.name)}"
    explained = "The first fits the formula to the training rows and scores it; the second checks every stored entry:"
    return Commands(explained, (submit, verify))


def _form(entry: Entry) -> str:
    """Return the formula as the command line takes it: one text, or `target: formula; target: formula`."""
    texts = set(entry.expressions.values())
    return texts.pop() if len(texts) == 1 else "; ".join(f"{t}: {text}" for t, text in entry.expressions.items())
