"""When each reply reached the search: `llm/arrivals.jsonl`, from which a run is repeated bit for bit or taken up again.

One line a reply: how many candidates had been judged when it was asked for and when it arrived, and the reply itself.
What the model was asked is in `exchange.jsonl` beside it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from sld.chat.reply import Reply
from sld.core.errors import UsageError

ARRIVALS = Path("llm") / "arrivals.jsonl"  # in the run folder


@dataclass(frozen=True)
class Arrival:
    """One reply, and how many candidates had been judged when it was asked for and when it arrived.

    Examples:
        ``Arrival(asked=0, arrived=480, reply=Reply(text="E + A*N**-a"))``
    """

    asked: int
    arrived: int
    reply: Reply


def read_arrivals(path: Path, *, mend: bool = False) -> list[Arrival]:
    """Return what a file holds, up to a line that was cut off by a kill; `mend` takes such a line away.

    Raises:
        UsageError: The file cannot be read, or a whole line is no arrival.
    """
    found, good = [], 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                found.append(_arrival(line, f"{path}, line {number}"))
                good += len(line)
        if mend and good < path.stat().st_size:
            os.truncate(path, good)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return found


def append_arrival(path: Path, arrival: Arrival) -> None:
    """Write one more line; raises UsageError."""
    line = {"asked": arrival.asked, "arrived": arrival.arrived, "reply": arrival.reply.to_json()}
    append(path, json.dumps(line, ensure_ascii=True) + "\n")


def append(path: Path, text: str) -> None:
    """Append text and hand it to the operating system; raises UsageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8", newline="\n", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"could not write {path}: {error.strerror or error}") from error


def _arrival(line: bytes, where: str) -> Arrival:
    try:
        data = json.loads(line)
        asked, arrived = int(data["asked"]), int(data["arrived"])
        return Arrival(asked, arrived, Reply.from_json(data["reply"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{where} is no recorded reply ({type(error).__name__})") from None
