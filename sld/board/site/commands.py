"""The commands that derive an entry's numbers again, quoted so that nothing in an entry can become a command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from sld.board.entries.entry import Entry


@dataclass(frozen=True)
class Commands:
    """Lines to paste, and what they do."""

    explained: str
    lines: tuple[str, ...]


def reproduce(entry: Entry) -> Commands:
    """Return how to get an entry's scores again from its task's rows."""
    verify = "sld leaderboard verify"
    if entry.kind == "program":
        return Commands(
            "This runs every program again, in its sandbox, and compares the scores:", (f"{verify} --programs",)
        )
    if entry.constants_from != "refitted":
        return Commands("This predicts the held-out rows with its constants and compares every score:", (verify,))
    refit = f"{verify} --refit"
    if not _is_plain(entry):
        return Commands("This repeats every fit, as it is described above, and compares the scores:", (refit,))
    task, name = shlex.quote(str(entry.task["name"])), shlex.quote(entry.name)
    # a formula may begin with a minus, and is no option then
    submit = f"sld submit --task {task} --name {name} -- {shlex.quote(_form(entry))}"
    explained = (
        "The first fits the formula to the training rows and scores it; the second repeats every fit and compares:"
    )
    return Commands(explained, (submit, refit))


def _is_plain(entry: Entry) -> bool:
    """Whether a formula by itself says how it was fitted."""

    def all_are(key: str, *values: object) -> bool:
        return all(value in values for value in entry.fit.get(key, {}).values())

    return (
        entry.fit.get("weights", "equal") == "equal"
        and all_are("loss", "squared")
        and all_are("pooling", "none")
        and all(all_are(key, [], {}) for key in ("shared", "positive", "bounds"))
    )


def _form(entry: Entry) -> str:
    """Return the formula as the command line takes it: one text, or `target: formula; target: formula`."""
    texts = set(entry.expressions.values())
    return texts.pop() if len(texts) == 1 else "; ".join(f"{t}: {text}" for t, text in entry.expressions.items())
